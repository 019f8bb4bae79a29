"""The moving average of the weights, without a GPU that waits in each step."""

from itertools import chain
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging


class MovingAverage(EMAWeightAveraging):
    """Lightning's exponential moving average: the same numbers, and the same name in checkpoints.

    torch's AveragedModel reads from the device in each step how many were averaged (`if n_averaged == 0`).
    """

    def __init__(self, decay: float):
        super().__init__(decay=decay)

    @property
    def state_key(self) -> str:
        return EMAWeightAveraging.__qualname__

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._latest_update_step:  # the first step copies the weights
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        elif trainer.global_step > self._latest_update_step:
            average = self._average_model
            assert average is not None
            assert average.avg_fn is not None
            averaged = chain(average.module.parameters(), average.module.buffers())
            for of_average, now in zip(averaged, chain(pl_module.parameters(), pl_module.buffers()), strict=True):
                of_average.copy_(average.avg_fn(of_average, now, average.n_averaged))
            average.n_averaged += 1
            self._latest_update_step = trainer.global_step
