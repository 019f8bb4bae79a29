"""Progress of a training run on the screen: one line an epoch, and on a terminal a bar with the time left."""

import time
from datetime import timedelta
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fer_lightning.training.classifiers import batches_of
from fer_lightning.training.resume import is_unfinished

HEADER = "  epoch   train loss  train acc    val loss    val acc    images/s   time left"


class ShowProgress(Callback):
    """Prints a line an epoch; on a terminal also a bar over all steps of the run, below the lines."""

    def __init__(self, console: Console):
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._run_began = self._epoch_began = 0.0
        self._first_epoch = self._images = 0
        self._rate = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._run_began, self._first_epoch = time.perf_counter(), trainer.current_epoch
        steps, done = int(trainer.num_training_batches), batches_of(trainer).done if is_unfinished(trainer) else 0
        total, completed = steps * (trainer.max_epochs or 1), steps * self._first_epoch + done
        if trainer.is_global_zero:
            if done:
                self.console.print(f"resumes in epoch {self._first_epoch + 1}, step {done + 1} of {steps}")
            self.console.print(HEADER, highlight=False)
            self.bar.start()
            self.task = self.bar.add_task("", total=total, completed=completed, rate="")
            self._begin_epoch(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin_epoch(trainer)

    def _begin_epoch(self, trainer: Trainer) -> None:
        self._epoch_began, self._images = time.perf_counter(), 0
        if trainer.is_global_zero:
            self.bar.update(self.task, description=f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch.images) * trainer.world_size
        self._rate = self._images / (time.perf_counter() - self._epoch_began)
        if trainer.is_global_zero and self.console.is_terminal:
            self.bar.update(self.task, advance=1, rate=f"{self._rate:,.0f} images/s")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics, done = trainer.callback_metrics, trainer.current_epoch + 1
        spent = time.perf_counter() - self._run_began
        left = spent / (done - self._first_epoch) * ((trainer.max_epochs or done) - done)
        self.console.print(
            f"{done:>4}/{trainer.max_epochs:<4}"
            f"{metrics['train/loss']:>10.4f} {metrics['train/accuracy']:>10.2%} {metrics['val/loss']:>11.4f} "
            f"{metrics['val/accuracy']:>10.2%} {self._rate:>11,.0f} {timedelta(seconds=round(left))!s:>11}",
            highlight=False,
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.bar.stop()
