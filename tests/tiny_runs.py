"""Training runs of a second or less: settings, `fit` without a screen, stops by signal, and comparison of two runs."""

import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch.nn import functional as F

from fer_lightning.cli import settings_of
from fer_lightning.networks.weight_files import read_checkpoint
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.signals import Stopped, stop_signals
from fer_lightning.training.fit import fit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "reliability"))
from kills import equal, outcome

NO_FINALE = ["draw.deepdream=false", "draw.embedding=0"]
ON_CPU = ["trainer.accelerator=cpu", "trainer.precision=32-true"]
FC = ["data.images=70", "data.batch_size=14", "model=fc", "model.hidden=[16]", *ON_CPU, *NO_FINALE]
"""56 training images in 4 steps an epoch, 7 validation images."""

RANDOM = [
    "data.images=70",
    "data.batch_size=11",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "model=hybrid_poster",
    "model.conv=[{filters: 4, kernel: 7, pool: 4, dropout: 0.1}]",
    "model.hidden=[16]",
    "model.dropout=0.3",
    "optimizer.lr=0.05",
    "schedule=one_cycle",
    "ema.decay=0.9",
    "data.augment={flip: 0.5, shift: 2, rotate: 10, scale: 0.1, erase: 0.3, mixup: 0.2}",
    *NO_FINALE,
]
"""Every kind of randomness, and a moving average; 5 steps an epoch, in the precision that is chosen for the machine."""

STEPS = 5
"""Of an epoch of RANDOM."""


@cache
def settings_from(*overrides: str) -> TrainSettings:
    """The checked settings of a training run."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return settings_of(compose("config", list(overrides)), TrainSettings)


def run_fit(
    folder: Path, *overrides: str, callbacks: Sequence[Callback] = (), console: Console | None = None
) -> dict[str, Any]:
    """`fit` in a folder; returns its metrics."""
    return fit(settings_from(*overrides), folder, console or Console(quiet=True), callbacks=callbacks)


class SignalAt(Callback):
    """Sends this process a signal before one step of training (counted over epochs), or at the end of a validation."""

    def __init__(self, step: int | None = None, validation: int | None = None, signum: int = signal.SIGTERM):
        self.step, self.validation, self.signum = step, validation, signum

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch * trainer.num_training_batches + batch_idx == self.step:
            os.kill(os.getpid(), self.signum)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.validation:
            os.kill(os.getpid(), self.signum)


def stop_fit(folder: Path, *overrides: str, **moment: int) -> str:
    """Run `fit` until a signal (see `SignalAt`) stops it; returns the signal's name."""
    with stop_signals.listen(), pytest.raises(Stopped) as stopped:
        run_fit(folder, *overrides, callbacks=[SignalAt(**moment)])
    return str(stopped.value)


class ScriptedAccuracy(Callback):
    """Makes the network's answers right for a given share of the validation images, one share an epoch."""

    def __init__(self, shares: Sequence[float]):
        self.shares = shares

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        faces = trainer.val_dataloaders
        answers = faces.faces.labels[faces.rows].clone()
        wrong = slice(round(self.shares[trainer.current_epoch] * len(answers)), None)
        answers[wrong] = (answers[wrong] + 1) % 7
        self.hook = pl_module.network.register_forward_hook(lambda *_: 5.0 * F.one_hot(answers, 7))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.hook.remove()


def weights(folder: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    """The weights of a run's checkpoint."""
    return read_checkpoint(folder / "checkpoints" / name)["state_dict"]


def differences(first: Path, second: Path) -> list[str]:
    """What differs between two runs, of weights, optimizer, metrics, history, curves and confusion matrices."""
    expected, found = outcome(first), outcome(second)
    return [name for name in expected if not equal(expected[name], found[name])]
