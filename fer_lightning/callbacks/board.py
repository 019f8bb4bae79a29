"""The TensorBoard of a run: where pictures go, how often, and which curves lie on one chart."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.ferplus import prefix_of

LAYOUT = {
    "training": {
        "accuracy": ["Multiline", ["^train/accuracy$", "^val/accuracy$"]],
        "loss": ["Multiline", ["^train/loss$", "^val/loss$"]],
        "macro F1": ["Multiline", ["^val/macro_f1$"]],
        "FER+ accuracy": ["Multiline", ["^ferplus-train/accuracy$", "^ferplus-val/accuracy$"]],
        "FER+ loss": ["Multiline", ["^ferplus-train/loss$", "^ferplus-val/loss$"]],
        "learning rate": ["Multiline", ["^(ferplus-)?lr$"]],
    },
    "activation maps": {
        "share of zero activations": ["Multiline", ["^(ferplus-)?sparsity/"]],
        "locality (Hoyer)": ["Multiline", ["^(ferplus-)?locality/"]],
    },
}
"""TensorBoard's "custom scalars": the charts, and the tags (regular expressions) that lie on each."""


def board(trainer: lightning.Trainer) -> Any | None:
    """The run's TensorBoard writer, on the process that writes; None elsewhere."""
    if not trainer.is_global_zero:
        return None
    return next((logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


def figure_prefix(trainer: lightning.Trainer) -> str:
    """What the tags of figures begin with: nothing, or the name of labels that are not FER2013's."""
    datamodule = getattr(trainer, "datamodule", None)
    return prefix_of(datamodule.config["name"]) if isinstance(datamodule, FaceDataModule) else ""


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
        if (writer := board(trainer)) is not None:
            writer.add_custom_scalars(LAYOUT)
