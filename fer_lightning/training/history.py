"""The history of a run: one row an epoch, and the summary in metrics.json."""

import csv
import io
import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from fer_lightning.data.ferplus import prefixed
from fer_lightning.errors import InputError
from fer_lightning.files import write_atomic
from fer_lightning.training.classifiers import batches_of

QUANTITIES = ("val/accuracy", "val/loss", "val/macro_f1", "train/accuracy", "train/loss")


class History(Callback):
    """Keeps each epoch's quantities, also across a resumed run, and writes them to `history.csv` as they come.

    `seconds` counts training and validation, `images_per_second` training alone; both leave out start-up and the time
    between a stop and its resumption. prefix: what the names of quantities begin with in the file.
    """

    def __init__(self, folder: Path, prefix: str = ""):
        self.folder, self.prefix = folder, prefix
        self.rows: list[dict[str, float]] = []
        self._epoch_began: float | None = None
        self._batches_ended = self._spent = 0.0

    def state_dict(self) -> dict[str, Any]:
        spent = 0.0 if self._epoch_began is None else time.perf_counter() - self._epoch_began
        return {"rows": self.rows, "seconds_of_unfinished_epoch": spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self._spent = state_dict.get("seconds_of_unfinished_epoch", 0.0)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.rows:  # Lightning logs an epoch after its checkpoint; a run killed between the two did not log it
            last = {name: self.rows[-1][name] for name in (*QUANTITIES, "lr")}
            for logger in trainer.loggers:
                logger.log_metrics(last, step=int(self.rows[-1]["epoch"]))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_began = time.perf_counter() - self._spent

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_began = time.perf_counter()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batches_ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._epoch_began is not None
        batches = batches_of(trainer)  # an epoch may end early, by trainer.max_steps or max_time
        images = min(batches.done * batches.batch_size, len(batches.rows))
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                **{name: float(trainer.callback_metrics[name]) for name in QUANTITIES},
                "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
                "images_per_second": images / (self._batches_ended - self._epoch_began),
                "seconds": time.perf_counter() - self._epoch_began,
            }
        )
        self._epoch_began = None
        if trainer.is_global_zero:
            table, rows = io.StringIO(), [prefixed(row, QUANTITIES, self.prefix) for row in self.rows]
            writer = csv.DictWriter(table, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
            write_atomic(self.folder / "history.csv", table.getvalue())

    def summary(self) -> dict[str, float]:
        """The quantities of the best epoch (by validation accuracy, the first of equals), and the run's totals.

        Raises InputError where nothing was trained.
        """
        if not self.rows:
            raise InputError("the run ended before its first step: trainer.max_time is too short")
        best = max(self.rows, key=lambda row: row["val/accuracy"])
        rates = [row["images_per_second"] for row in self.rows]
        return {
            **{name: best[name] for name in QUANTITIES},
            "best_epoch": int(best["epoch"]),
            "epochs": len(self.rows),
            "images_per_second": len(rates) / sum(1 / rate for rate in rates),
            "seconds": sum(row["seconds"] for row in self.rows),
        }
