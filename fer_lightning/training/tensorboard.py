"""The pictures of a run in TensorBoard: callbacks decide when, `figures` draws.

Filters and activation maps are drawn before validation, when the network is in evaluation mode and has the weights that
are validated (averaged ones, where a moving average is kept).
"""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import VAL
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.activations import (
    activation_maps,
    activation_sheet,
    conv_layers,
    one_face_each,
    sparsity_and_locality,
)
from fer_lightning.figures.confusion import confusion_picture
from fer_lightning.figures.deepdream import CERTAIN, dream, dream_picture, towards_emotion
from fer_lightning.figures.filters import filter_grid, first_filters
from fer_lightning.figures.sheets import faces_to_rgb
from fer_lightning.networks import ExpressionNetwork
from fer_lightning.pixels import reduced
from fer_lightning.settings import DrawSettings
from fer_lightning.training.classifiers import classifier_of
from fer_lightning.training.ranks import of_each_process

CLASSES = len(EXPRESSIONS)

THUMBNAIL = 48
"""Largest side of a face in the projector, pixels: all are in one picture, whose side is limited."""


def drawing_callbacks(settings: DrawSettings, prefix: str = "") -> list[Callback]:
    """The callbacks that the `draw` settings ask for; none at all for `draw.every=0`.

    prefix: what tags that depend on the labels begin with.
    """
    if not settings.every:
        return []
    pace = Pace(settings.every, settings.share)
    at_end = DrawAtEnd(settings.deepdream, settings.embedding)
    return [DrawNetwork(pace, prefix), DrawConfusion(pace, prefix), at_end]


def summary_writer(trainer: Trainer) -> SummaryWriter | None:
    """The run's TensorBoard writer, in the process that writes; None elsewhere."""
    if not trainer.is_global_zero:
        return None
    return next((logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


class Pace:
    """In which epochs pictures are drawn: every `every`-th (`is_due`), while they take at most `share` of the time.

    The first epoch of a run (or of a resumed one) and the last planned one are drawn whatever they cost. Epochs of a
    second on a GPU are thinned out, epochs of a minute are not; confusion matrices cost little and follow `is_due`.
    """

    def __init__(self, every: int = 1, share: float = 1.0):
        self.every, self.share = every, share
        self.spent = 0.0
        """Seconds that drawing has taken."""
        self._began: float | None = None

    def is_due(self, trainer: Trainer) -> bool:
        """Whether the trainer's epoch is an `every`-th or the last planned one."""
        return trainer.current_epoch % self.every == 0 or trainer.current_epoch + 1 == trainer.max_epochs

    def draws(self, trainer: Trainer) -> bool:
        """Whether the trainer's epoch is drawn; the same answer in all processes of a run, each of which must ask."""
        now = time.perf_counter()
        is_first, self._began = self._began is None, now if self._began is None else self._began
        is_affordable = self.is_due(trainer) and self.spent <= self.share * (now - self._began)
        answer = is_first or is_affordable or trainer.current_epoch + 1 == trainer.max_epochs
        return bool(trainer.strategy.broadcast(answer))

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time inside the block as drawing."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - begin


class DrawNetwork(Callback):
    """The first conv layer's filters as `filters/<layer>`, and `activations/<layer>` of one validation face an emotion.

    The faces are the same in every epoch. `sparsity/<layer>` (share of zero activations) and `locality/<layer>`
    (Hoyer's sparseness over space) of these faces are curves, of every epoch. Networks without conv layers have none.
    """

    def __init__(self, pace: Pace, prefix: str = ""):
        self.pace, self.prefix = pace, prefix
        self.faces = torch.empty(0)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        images, labels = val_faces(trainer)
        self.faces = images[one_face_each(images, labels, CLASSES).to(images.device)]
        if (writer := summary_writer(trainer)) is not None:
            writer.add_custom_scalars(scalar_layout(self.prefix))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        draws, network, epoch = self.pace.draws(trainer), classifier_of(pl_module).network, trainer.current_epoch
        writer, weights = summary_writer(trainer), first_filters(network)
        if writer is None or weights is None:
            return
        with self.pace.timed():
            maps = activation_maps(network, self.faces)
            for tag, value in sparsity_and_locality(maps).items():
                writer.add_scalar(tag, value, epoch)
            if draws:
                writer.add_image(f"filters/{next(iter(conv_layers(network)))}", filter_grid(weights), epoch)
                for name, of_layer in maps.items():
                    writer.add_image(f"activations/{name}", activation_sheet(self.faces, of_layer), epoch)


class DrawConfusion(Callback):
    """Confusion matrices as `confusion_matrix/train` and `confusion_matrix/val`, from predictions already computed.

    That of train is of the augmented training batches, under dropout, while the network changed. The counts are written
    as tensors `confusion_counts/...`, for the report. Every epoch that is due has its matrices.
    """

    def __init__(self, pace: Pace, prefix: str = ""):
        self.pace, self.prefix = pace, prefix
        self.cells: list[Tensor] = []
        """Label * 7 + prediction of each training image of the epoch so far, in this process."""
        self._resumed: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        if not self.cells:
            return {}
        return {"cells": of_each_process(torch.cat(self.cells).to("cpu", torch.uint8))}  # of an unfinished epoch

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        cells = state_dict.get("cells", [])
        self._resumed = [cells] if isinstance(cells, Tensor) else cells  # earlier versions: of the only process

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._resumed:
            self.cells = [self._resumed[trainer.global_rank].to(pl_module.device, torch.int64)]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.cells = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.pace.is_due(trainer):
            self.cells.append(outputs["labels"] * CLASSES + outputs["logits"].argmax(dim=1))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.pace.is_due(trainer):
            return
        matrices = {"val": classifier_of(pl_module).val_confusion.compute()}  # in every process
        if self.cells:
            counts = torch.bincount(torch.cat(self.cells), minlength=CLASSES**2).view(CLASSES, CLASSES)
            matrices["train"] = trainer.strategy.reduce(counts, reduce_op="sum")
        self.cells = []
        if (writer := summary_writer(trainer)) is None:
            return
        with self.pace.timed():
            for split, matrix in matrices.items():
                picture = confusion_picture(matrix.cpu().numpy(), EXPRESSIONS, split)
                writer.add_image(f"{self.prefix}confusion_matrix/{split}", picture, trainer.current_epoch)
                writer.add_tensor(f"{self.prefix}confusion_counts/{split}", matrix.cpu(), trainer.current_epoch)


class DrawAtEnd(Callback):
    """At the end of a run: a face dreamed towards each emotion, and the projector for the first `embedding` faces."""

    def __init__(self, deepdream: bool = True, embedding: int = 300):
        self.deepdream, self.embedding = deepdream, embedding

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (writer := summary_writer(trainer)) is None:
            return
        network = copy.deepcopy(classifier_of(pl_module).network).eval()  # the run's own network keeps its modes
        images, labels = val_faces(trainer)
        if self.deepdream:
            draw_dreams(writer, trainer.current_epoch, network, images, labels)
        if self.embedding:
            faces, classes = images[: self.embedding], labels[: self.embedding]
            draw_embedding(writer, trainer.current_epoch, network, faces, classes)


def draw_dreams(writer: SummaryWriter, step: int, network: ExpressionNetwork, images: Tensor, labels: Tensor) -> None:
    """One of some faces (N, C, H, H) dreamed towards each emotion as `deepdream/<emotion>`: face, dream, change.

    It is a neutral face, where there is one. The tensor `deepdream_probabilities` (2, emotions) holds each target's
    probability for the face and for the dream.
    """
    face = images[one_face_each(images, labels, CLASSES)[-1]]
    faces = face.float().expand(CLASSES, -1, -1, -1)
    targets = torch.arange(CLASSES, device=faces.device)
    with torch.enable_grad():
        dreams = dream(faces, towards_emotion(network, targets), least=CERTAIN)
    with torch.no_grad():
        probabilities = torch.stack([network(pictures).float().softmax(dim=1) for pictures in (faces, dreams)])
    writer.add_tensor("deepdream_probabilities", probabilities.diagonal(dim1=1, dim2=2).cpu(), step)
    for name, dreamed in zip(EXPRESSIONS, dreams, strict=True):
        writer.add_image(f"deepdream/{name}", dream_picture(face, dreamed), step)


@torch.no_grad()
def draw_embedding(writer: SummaryWriter, step: int, network: ExpressionNetwork, faces: Tensor, labels: Tensor) -> None:
    """The last hidden layer for some faces (N, C, H, H), with thumbnails, for TensorBoard's projector."""
    hidden = torch.cat([network.embed(*network.preprocessing(chunk)) for chunk in torch.split(faces, 256)])
    words = [
        [EXPRESSIONS[label], EXPRESSIONS[predicted], "right" if label == predicted else "wrong"]
        for label, predicted in zip(labels.tolist(), network.head.scores(hidden).argmax(dim=1).tolist(), strict=True)
    ]
    thumbnails = reduced(faces_to_rgb(faces), min(THUMBNAIL, faces.shape[-1]))
    header = ["label", "seen", "answer"]
    writer.add_embedding(hidden.float().cpu(), words, thumbnails, step, tag="last_hidden", metadata_header=header)


def scalar_layout(prefix: str) -> dict[str, dict[str, list[Any]]]:
    """TensorBoard's "custom scalars": the charts, and the tags (regular expressions) that share each."""
    return {
        "training": {
            "accuracy": ["Multiline", [f"^{prefix}train/accuracy$", f"^{prefix}val/accuracy$"]],
            "loss": ["Multiline", [f"^{prefix}train/loss$", f"^{prefix}val/loss$"]],
            "macro F1": ["Multiline", [f"^{prefix}val/macro_f1$"]],
            "learning rate": ["Multiline", [f"^{prefix}lr$"]],
        },
        "activation maps": {
            "share of zero activations": ["Multiline", [f"^({prefix})?sparsity/"]],
            "locality (Hoyer)": ["Multiline", [f"^({prefix})?locality/"]],
        },
    }


def val_faces(trainer: Trainer) -> tuple[Tensor, Tensor]:
    """All validation faces (N, C, H, H), values 0 to 255, and their labels (N,), on the device."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, FaceDataModule)
    rows = datamodule.rows[VAL].to(datamodule.loaded.images.device)
    return datamodule.loaded.images[rows], datamodule.loaded.labels[rows]
