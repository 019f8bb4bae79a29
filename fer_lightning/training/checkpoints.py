"""Checkpoints of a run: its best epoch, its last one, and what was trained when a signal asks it to stop."""

import time
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fer_lightning.errors import InputError
from fer_lightning.files import atomic_file
from fer_lightning.networks.weight_files import read_checkpoint
from fer_lightning.settings import VERSION, TrainSettings, dump
from fer_lightning.signals import stop_signals
from fer_lightning.training.ranks import largest

BEST, LAST = "best.ckpt", "last.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically; reads them with every byte verified and old names migrated."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch makes a RuntimeError of a full disk, with the cause as context
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            raise InputError(
                f"{path}: the checkpoint could not be written ({getattr(cause, 'strerror', None) or cause}); "
                "the earlier one is kept"
            ) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return read_checkpoint(Path(path))


class BestAndLastCheckpoint(Checkpoint):
    """`best.ckpt` by validation accuracy (the first of equals), and `last.ckpt` at the start and after each epoch.

    The best is written before the last: a run killed between the two repeats the epoch and writes the same best again.
    The run's settings are saved in both. `last.ckpt` is also written between two steps of an epoch: after
    `checkpoint_minutes` without one, before a validation where a minute has passed, and after a stop signal, which is
    then raised. The processes of a run agree on it: a signal to one of them stops all after the same step.
    """

    def __init__(self, folder: Path, settings: TrainSettings):
        self.folder, self.settings, self.minutes = folder, settings, settings.checkpoint_minutes
        self.best_accuracy = -1.0
        self.best_epoch = -1
        self._saved_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best_accuracy": self.best_accuracy, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_accuracy, self.best_epoch = state_dict["best_accuracy"], state_dict["best_epoch"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"], checkpoint["settings_version"] = dump(self.settings), VERSION

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        if trainer.global_step == 0:
            self._save_last(trainer)
        stop_signals.defer()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done, steps = batch_idx + 1, trainer.num_training_batches
        accumulated = trainer.accumulate_grad_batches  # accumulated gradients are in no checkpoint
        if done >= steps or done % accumulated or trainer.should_stop:
            return  # with should_stop, the epoch ends here
        is_due = self._is_due(before_validation=done + accumulated >= steps)
        signum, due = largest(trainer, stop_signals.number, is_due)
        if signum or due:
            stop_signals.cancel_timer()
            self._save_last(trainer)
        stop_signals.raise_signal(signum)

    def _is_due(self, before_validation: bool) -> bool:
        if self.minutes is None:
            return False
        return time.monotonic() - self._saved_at >= 60 * (min(self.minutes, 1) if before_validation else self.minutes)

    def _save_last(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder / LAST)  # loggers need no flush: Lightning does it whenever it logs
        self._saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stop_signals.cancel_timer()
        (signum,) = largest(trainer, stop_signals.number)
        accuracy = float(trainer.callback_metrics["val/accuracy"])
        if accuracy > self.best_accuracy:
            self.best_accuracy, self.best_epoch = accuracy, trainer.current_epoch
            trainer.save_checkpoint(self.folder / BEST)
        self._save_last(trainer)
        stop_signals.raise_signal(signum)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stop_signals.resume_raising()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        stop_signals.resume_raising()
