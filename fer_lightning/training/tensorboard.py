"""What a run shows in TensorBoard beside its curves: a callback decides when, `figures` draws.

Filters and activation maps are drawn before validation, when the network is as it is validated: evaluating, and with
averaged weights where a moving average is kept.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.tensorboard.writer import SummaryWriter

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import VAL
from fer_lightning.data.ferplus import prefix_of
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.activations import (
    activation_maps,
    activation_sheet,
    conv_layers,
    last_hidden,
    one_face_each,
    sparsity_and_locality,
)
from fer_lightning.figures.confusion import confusion_picture
from fer_lightning.figures.deepdream import CERTAIN, dream, dream_picture, towards_emotion
from fer_lightning.figures.filters import filter_grid, first_filters
from fer_lightning.figures.sheet import grey
from fer_lightning.networks import ExpressionNetwork
from fer_lightning.settings import DrawSettings
from fer_lightning.training.classifiers import ExpressionClassifier


def drawing_callbacks(settings: DrawSettings) -> list[Callback]:
    """The callbacks that the `draw` settings ask for; none at all for `draw.every=0`."""
    if not settings.every:
        return []
    pace = Pace(settings.every, settings.share)
    callbacks: list[Callback] = [LayOutScalars(), DrawFilters(pace), DrawActivations(pace), DrawConfusion(pace)]
    if settings.deepdream:
        callbacks.append(DrawDreams())
    if settings.embedding:
        callbacks.append(DrawEmbedding(settings.embedding))
    return callbacks


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


def summary_writer(trainer: lightning.Trainer) -> SummaryWriter | None:
    """The run's TensorBoard writer, in the process that writes; None elsewhere."""
    if not trainer.is_global_zero:
        return None
    return next((logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


def datamodule_of(trainer: lightning.Trainer) -> FaceDataModule:
    """The faces of a run."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, FaceDataModule)
    return datamodule


def tag_prefix(trainer: lightning.Trainer) -> str:
    """What the tags of figures begin with: nothing, or the name of labels that are not FER2013's."""
    return prefix_of(datamodule_of(trainer).settings.name)


def network_of(module: lightning.LightningModule) -> ExpressionNetwork:
    """The network that a run trains."""
    assert isinstance(module, ExpressionClassifier)
    return module.network


def val_faces(trainer: lightning.Trainer) -> tuple[Tensor, Tensor]:
    """All validation faces (N, 1, 48, 48), grey values 0 to 255, and their labels (N,), on the device."""
    datamodule = datamodule_of(trainer)
    rows = datamodule.rows[VAL].to(datamodule.loaded.images.device)
    return datamodule.loaded.images[rows], datamodule.loaded.labels[rows]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Batch normalisation and dropout as in evaluation; each module's mode is restored."""
    before = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


class Pace:
    """In which epochs pictures are drawn: every `every`-th (`due`), while they took no more than `share` of the time.

    The first epoch of a run (or of a resumed one) and the last planned one are drawn whatever they cost. One pace is
    shared by all callbacks. Epochs of a second on a GPU are thinned out, epochs of a minute are not; confusion matrices
    cost little and keep to `due` alone. All processes of a run get the same answer.
    """

    def __init__(self, every: int = 1, share: float = 1.0):
        self.every, self.share = every, share
        self.spent = 0.0
        """Seconds that drawing has taken."""
        self._began: float | None = None
        self._epoch, self._answer = -1, False

    def due(self, trainer: lightning.Trainer) -> bool:
        """Whether the trainer's epoch is an `every`-th or the last planned one."""
        epoch = trainer.current_epoch
        return not trainer.sanity_checking and (epoch % self.every == 0 or epoch + 1 == trainer.max_epochs)

    def draws(self, trainer: lightning.Trainer) -> bool:
        """Whether the trainer's epoch is drawn. To be asked by every process."""
        if trainer.sanity_checking:
            return False
        if trainer.current_epoch != self._epoch:
            now = time.perf_counter()
            first = self._began is None
            self._began = began = now if self._began is None else self._began
            self._epoch = trainer.current_epoch
            edge = first or self._epoch + 1 == trainer.max_epochs
            answer = edge or (self.due(trainer) and self.spent <= self.share * (now - began))
            self._answer = bool(trainer.strategy.broadcast(answer))
        return self._answer

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Counts what is done inside as drawing."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - begin


class LayOutScalars(Callback):
    """Train and val on one chart in TensorBoard's "custom scalars"."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if (writer := summary_writer(trainer)) is not None:
            writer.add_custom_scalars(scalar_layout(tag_prefix(trainer)))


class DrawFilters(Callback):
    """The first conv layer's filters as `filters/<layer>`; nothing for a network without conv layers."""

    def __init__(self, pace: Pace | None = None):
        self.pace = pace or Pace()

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        drawn, writer = self.pace.draws(trainer), summary_writer(trainer)
        network = network_of(pl_module)
        weights = first_filters(network)
        if drawn and writer is not None and weights is not None:
            with self.pace.timed():
                name = next(iter(conv_layers(network)))
                writer.add_image(f"filters/{name}", filter_grid(weights), trainer.current_epoch)


class DrawActivations(Callback):
    """Activation maps of one validation face of each emotion as `activations/<layer>`, the same faces in every epoch.

    `sparsity/<layer>` (share of zero activations) and `locality/<layer>` (Hoyer's sparseness over space) of these faces
    are curves, of every epoch.
    """

    def __init__(self, pace: Pace | None = None):
        self.pace = pace or Pace()
        self.faces: Tensor | None = None

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        images, labels = val_faces(trainer)
        self.faces = images[one_face_each(images, labels, len(EXPRESSIONS)).to(images.device)]

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        drawn, writer, network = self.pace.draws(trainer), summary_writer(trainer), network_of(pl_module)
        if trainer.sanity_checking or writer is None or first_filters(network) is None:
            return
        assert self.faces is not None
        with self.pace.timed():
            maps = activation_maps(network, self.faces)
            for tag, value in sparsity_and_locality(maps).items():
                writer.add_scalar(tag, value, trainer.current_epoch)
            for name, of_layer in maps.items() if drawn else ():
                writer.add_image(f"activations/{name}", activation_sheet(self.faces, of_layer), trainer.current_epoch)


class DrawConfusion(Callback):
    """Confusion matrices as `confusion_matrix/train` and `confusion_matrix/val`, from predictions already computed.

    That of train is of the faces as they were shown to the network, augmented and under dropout, while it changed.
    The counts are kept as tensors `confusion_counts/...`, for the report. Every epoch that is due has its matrices,
    whatever share of the time other pictures may take.
    """

    def __init__(self, pace: Pace | None = None):
        self.pace = pace or Pace()
        self.cells: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        return {"cells": torch.cat(self.cells).to("cpu", torch.uint8)} if self.cells else {}  # of an unfinished epoch

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.cells = list(state_dict.values())

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.cells = [cells.to(pl_module.device, torch.int64) for cells in self.cells]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.cells = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.pace.due(trainer):
            self.cells.append(outputs["labels"] * len(EXPRESSIONS) + outputs["logits"].argmax(dim=1))

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not self.pace.due(trainer):
            return
        assert isinstance(pl_module, ExpressionClassifier)
        classes = len(EXPRESSIONS)
        matrices = {"val": pl_module.val_confusion.compute()}  # every process takes part
        if self.cells:
            counts = torch.bincount(torch.cat(self.cells), minlength=classes**2).view(classes, classes)
            matrices["train"] = trainer.strategy.reduce(counts, reduce_op="sum")
        self.cells = []
        if (writer := summary_writer(trainer)) is None:
            return
        prefix, epoch = tag_prefix(trainer), trainer.current_epoch
        with self.pace.timed():
            for split, matrix in matrices.items():
                picture = confusion_picture(matrix.cpu().numpy(), EXPRESSIONS, split)
                writer.add_image(f"{prefix}confusion_matrix/{split}", picture, epoch)
                writer.add_tensor(f"{prefix}confusion_counts/{split}", matrix.cpu(), epoch)


class DrawDreams(Callback):
    """One real validation face dreamed towards each emotion as `deepdream/<emotion>`: face, dream and the change.

    The face is a neutral one, where there is one. Networks with HOG dream through it too. The tensor
    `deepdream_probabilities` (2, emotions) holds each target's probability for the face and for the dream.
    """

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if (writer := summary_writer(trainer)) is None:
            return
        network = network_of(pl_module)
        images, labels = val_faces(trainer)
        chosen = one_face_each(images, labels, len(EXPRESSIONS))
        if not len(chosen):
            return
        faces = images[chosen[-1]].float().expand(len(EXPRESSIONS), -1, -1, -1)
        targets = torch.arange(len(EXPRESSIONS), device=faces.device)
        with evaluating(network), torch.enable_grad():
            dreams = dream(faces, towards_emotion(network, targets), least=CERTAIN)
            answers = torch.stack([network(pictures).float().softmax(dim=1) for pictures in (faces, dreams)])
        reached = answers.detach().diagonal(dim1=1, dim2=2).cpu()
        writer.add_tensor("deepdream_probabilities", reached, trainer.current_epoch)
        for name, face, dreamed in zip(EXPRESSIONS, faces, dreams, strict=True):
            writer.add_image(f"deepdream/{name}", dream_picture(face, dreamed), trainer.current_epoch)


class DrawEmbedding(Callback):
    """The last hidden layer for the first `faces` validation faces, with thumbnails, for TensorBoard's projector."""

    def __init__(self, faces: int = 300):
        self.faces = faces

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if (writer := summary_writer(trainer)) is None:
            return
        network = network_of(pl_module)
        images, labels = (values[: self.faces] for values in val_faces(trainer))
        with evaluating(network):
            hidden, logits = last_hidden(network, images)
        predicted = logits.argmax(dim=1).tolist()
        words = [
            [EXPRESSIONS[label], EXPRESSIONS[answer], "right" if label == answer else "wrong"]
            for label, answer in zip(labels.tolist(), predicted, strict=True)
        ]
        writer.add_embedding(
            hidden.cpu(),
            metadata=words,
            metadata_header=["label", "seen", "answer"],
            label_img=grey(images),
            global_step=trainer.current_epoch,
            tag="last_hidden",
        )
