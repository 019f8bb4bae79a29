"""When a run is saved: its best epoch, its last one, and what was trained when it is asked to stop."""

import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint

from fer_lightning.checkpoints import BEST, LAST
from fer_lightning.stopping import signals


class KeepBestAndLast(Checkpoint):
    """`best.ckpt` by validation accuracy (the first of equals), and `last.ckpt` at the start and after each epoch.

    The best is written before the last, and the last knows of it: a run killed between the two repeats the epoch and
    writes the same best again. `config`, the run's settings, goes into both. `last.ckpt` is also written between two
    steps of an epoch: where `minutes` have passed since it was (None: never), where one has and validation comes next,
    and where a signal asks the run to stop, which it then does. (Runs of several processes stop at once, unsaved.)
    """

    def __init__(self, folder: Path, config: dict[str, Any], minutes: float | None = None):
        self.folder, self.config, self.minutes = folder, config, minutes
        self.best_accuracy = -1.0
        self.best_epoch = -1
        self._saved = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best_accuracy": self.best_accuracy, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_accuracy, self.best_epoch = state_dict["best_accuracy"], state_dict["best_epoch"]

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["config"] = self.config

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._saved = time.monotonic()
        if trainer.global_step == 0:
            self._save_last(trainer)
        if trainer.world_size == 1:
            signals.wait()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done, steps = batch_idx + 1, trainer.num_training_batches
        accumulated = trainer.accumulate_grad_batches  # gradients that wait for a step are in no checkpoint
        if done >= steps or done % accumulated or trainer.world_size > 1 or trainer.val_check_batch != steps:
            return
        if signals.heard or self._due(before_validation=done + accumulated >= steps):
            signals.hold()
            self._save_last(trainer)
        signals.follow()

    def _due(self, before_validation: bool) -> bool:
        if self.minutes is None:
            return False
        return time.monotonic() - self._saved >= 60 * (min(self.minutes, 1) if before_validation else self.minutes)

    def _save_last(self, trainer: lightning.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()  # what a killed run had in memory would be missing from its curves
        trainer.save_checkpoint(self.folder / LAST)
        self._saved = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if signals.heard:
            signals.hold()
        accuracy = float(trainer.callback_metrics["val/accuracy"])
        if accuracy > self.best_accuracy:
            self.best_accuracy, self.best_epoch = accuracy, trainer.current_epoch
            trainer.save_checkpoint(self.folder / BEST)
        self._save_last(trainer)
        signals.follow()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        signals.no_longer_wait()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        signals.no_longer_wait()
