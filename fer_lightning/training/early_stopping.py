"""Ending a run before its last epoch: no gain in validation accuracy, a number of steps, a loss that is not finite."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping

from fer_lightning.errors import InputError


class StopEarly(EarlyStopping):
    """Stop after `patience` epochs without a better validation accuracy.

    A run that was killed after it had stopped, but before that was recorded, stops again at once when it is resumed.
    """

    def __init__(self, patience: int):
        super().__init__("val/accuracy", mode="max", patience=patience, check_on_train_epoch_end=True, verbose=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class StopAtMaxSteps(Callback):
    """Has an epoch that ends early, by `trainer.max_steps`, validated like any other: Lightning would leave it out."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True


class Diverged(InputError):
    """The loss is NaN or infinite."""


class StopWhenDiverged(Callback):
    """Raise `Diverged` at the first step whose loss is NaN or infinite, before a checkpoint could keep the damage.

    On a GPU the losses are checked every `every` steps, before validation and before each checkpoint, so that no step
    waits for the device.
    """

    def __init__(self, every: int = 50):
        self.every = every
        self.losses: list[torch.Tensor] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(outputs["of_batch"])  # the same in all processes, so that all of them raise
        if len(self.losses) == self.every or self.losses[-1].device.type == "cpu":
            self._check(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if not self.losses:
            return
        finite = torch.isfinite(torch.stack(self.losses)).tolist()
        first = trainer.global_step - len(finite) + 1
        self.losses = []
        if not all(finite):
            step = first + finite.index(False)
            raise Diverged(
                f"the loss became NaN or infinite at step {step} (epoch {trainer.current_epoch}). "
                "The checkpoints of the epochs before are kept. "
                "A smaller optimizer.lr, or trainer.gradient_clip_val=1, usually helps"
            )
