"""Stop at the first loss that is no number."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from fer_lightning.errors import InputError


class Diverged(InputError):
    """The loss is no longer a number."""


class StopWhenDiverged(Callback):
    """Raise `Diverged` at the first step whose loss is NaN or infinite, before a checkpoint could keep the damage.

    On a GPU the losses of an epoch are looked at together, every `every` steps and before each checkpoint, so that the
    device is not waited for.
    """

    def __init__(self, every: int = 50):
        self.every = every
        self.losses: list[torch.Tensor] = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.losses.append(outputs["loss"].detach())
        if len(self.losses) == self.every or self.losses[-1].device.type == "cpu":
            self._look(trainer)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._look(trainer)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look(trainer)

    def _look(self, trainer: lightning.Trainer) -> None:
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
