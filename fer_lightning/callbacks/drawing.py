"""What is drawn as training goes on: confusion matrices, filters, activation maps.

Filters and activation maps are drawn before validation, when the network is as it is validated: evaluating, and with
averaged weights where a moving average is kept.
"""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fer_lightning.callbacks.board import Pace, board, figure_prefix
from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import VAL
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.visualize.activations import (
    activation_maps,
    activation_sheet,
    conv_layers,
    one_face_each,
    sparsity_and_locality,
)
from fer_lightning.visualize.confusion import confusion_picture
from fer_lightning.visualize.filters import filter_grid, first_filters


def val_faces(trainer: lightning.Trainer) -> tuple[Tensor, Tensor]:
    """All validation faces (N, 1, 48, 48), grey values 0 to 255, and their labels (N,), on the device."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, FaceDataModule)
    assert datamodule.tensors is not None
    rows = datamodule.rows[VAL].to(datamodule.tensors.images.device)
    return datamodule.tensors.images[rows], datamodule.tensors.labels[rows]


class DrawFilters(Callback):
    """The first conv layer's filters as `filters/<layer>`; nothing for a network without conv layers."""

    def __init__(self, pace: Pace | None = None):
        self.pace = pace or Pace()

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        drawn, writer = self.pace.draws(trainer), board(trainer)
        weights = first_filters(pl_module)
        if drawn and writer is not None and weights is not None:
            with self.pace.timed():
                name = next(iter(conv_layers(pl_module.network)))  # type: ignore[arg-type]
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
        drawn, writer = self.pace.draws(trainer), board(trainer)
        if trainer.sanity_checking or writer is None or first_filters(pl_module) is None:
            return
        assert isinstance(pl_module, ExpressionClassifier)
        assert self.faces is not None
        with self.pace.timed():
            maps = activation_maps(pl_module.network, pl_module.classify, self.faces)
            for tag, value in sparsity_and_locality(maps).items():
                writer.add_scalar(tag, value, trainer.current_epoch)
            for name, of_layer in maps.items() if drawn else ():
                writer.add_image(f"activations/{name}", activation_sheet(self.faces, of_layer), trainer.current_epoch)


class DrawConfusion(Callback):
    """Confusion matrices as `confusion_matrix/train` and `confusion_matrix/val`, both from answers that were at hand.

    That of train is of the faces as they were shown to the network, augmented and under dropout, while it changed.
    Their counts are kept as tensors `confusion_counts/...`, for the report. Every epoch that is due has its matrices,
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

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
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
        writer = board(trainer)
        if writer is None:
            return
        with self.pace.timed():
            for split, matrix in matrices.items():
                picture = confusion_picture(matrix.cpu().numpy(), EXPRESSIONS, split)
                writer.add_image(f"{figure_prefix(trainer)}confusion_matrix/{split}", picture, trainer.current_epoch)
                writer.add_tensor(
                    f"{figure_prefix(trainer)}confusion_counts/{split}", matrix.cpu(), trainer.current_epoch
                )
