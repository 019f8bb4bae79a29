"""Going on with a run: where to begin, which settings must be the same, and what an unfinished epoch needs."""

import json
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torchmetrics import Metric

from fer_lightning.data.ferplus import unprefixed
from fer_lightning.data.loader import Batches
from fer_lightning.errors import InputError
from fer_lightning.networks.weight_files import read_checkpoint
from fer_lightning.settings import MAY_CHANGE, TrainSettings, require_same, restore
from fer_lightning.training.checkpoints import LAST
from fer_lightning.training.classifiers import ExpressionClassifier

METRICS = "metrics.json"

MAY_CHANGE_IN_A_RUN = MAY_CHANGE | {"trainer.max_epochs"}

KEY = "unfinished_epoch"
"""Of a checkpoint; one made at the end of an epoch has no such key."""


def checkpoint_to_resume(settings: TrainSettings, folder: Path) -> Path | None:
    """`last.ckpt` of the run to go on with, None to begin. Raises InputError where runs would be overwritten or mixed."""
    last = folder / "checkpoints" / LAST
    if not settings.resume:
        require_no_run(folder, last.exists() or (folder / METRICS).exists())
        return None
    if not last.exists():
        return None
    content = read_checkpoint(last)
    version = content.get("settings_version", 1)
    before = restore(TrainSettings, content.get("config", {}), version, str(last))
    require_same(before, settings, f"the run in {folder}", MAY_CHANGE_IN_A_RUN)
    return last


def require_no_run(folder: Path, begun: bool) -> None:
    """Raise InputError where a folder already holds a run that is not to be resumed."""
    if begun:
        raise InputError(f"{folder} already holds a run. Add resume=true to go on with it, or name another hydra.run.dir")


def finished_metrics(settings: TrainSettings, folder: Path) -> dict[str, Any] | None:
    """metrics.json of a run that reached its end, or None where something is left to train."""
    if not (folder / METRICS).exists():
        return None
    try:
        metrics = unprefixed(json.loads((folder / METRICS).read_text()))
        more = metrics["epochs"] < settings.trainer.max_epochs and not settings.early_stopping.patience
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / METRICS}: damaged ({error}). Remove it, and resume=true makes it anew from {LAST}"
        ) from error
    return None if more else metrics


class ResumeWithinEpoch(Callback):
    """Saves how many batches are done, the training metrics so far, and the state of the generator of dropout.

    Order and augmentation follow (seed, epoch). (Lightning gives `Batches` its state itself, but not where the schedule
    asked for the number of steps before.) A run that is resumed on another kind of device cannot end with the same
    weights; dropout there draws as at the beginning of the epoch.
    """

    def __init__(self) -> None:
        self.saved: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if is_unfinished(trainer):
            device = pl_module.device
            checkpoint[KEY] = {
                "batches": batches_of(trainer).state_dict(),
                "device": device.type,
                "random": _generators(device).get_rng_state(),
                "metrics": {name: _state(metric) for name, metric in _training_metrics(pl_module).items()},
            }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.saved = checkpoint.get(KEY)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.saved is None:
            return
        assert isinstance(pl_module, ExpressionClassifier)
        batches_of(trainer).load_state_dict(self.saved["batches"])
        pl_module.seed_dropout()
        device = pl_module.device
        if self.saved["device"] == device.type:
            _generators(device).set_rng_state(self.saved["random"])
        for name, metric in _training_metrics(pl_module).items():
            metric.load_state_dict({key: value.to(device) for key, value in self.saved["metrics"][name].items()})
        self.saved = None


class EnsureTrainEnd(Callback):
    """Calls the callbacks' `on_train_end` of a run that is resumed after its last epoch: Lightning skips it then."""

    ended = False

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.ended = True

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not self.ended:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                callback.on_train_end(trainer, pl_module)


def batches_of(trainer: lightning.Trainer) -> Batches:
    """The training batches of a run."""
    batches = trainer.train_dataloader
    assert isinstance(batches, Batches)
    return batches


def is_unfinished(trainer: lightning.Trainer) -> bool:
    """Whether some batches of the epoch were trained, and not all that are to be."""
    return 0 < batches_of(trainer).done < trainer.num_training_batches


def _training_metrics(module: lightning.LightningModule) -> dict[str, Metric]:
    """The metrics that add up over the batches of an epoch."""
    assert isinstance(module, ExpressionClassifier)
    return {"loss": module.train_loss, "accuracy": module.train_accuracy}


def _generators(device: torch.device) -> Any:
    """Where torch keeps the global generator of a kind of device."""
    return torch if device.type == "cpu" else torch.get_device_module(device)


def _state(metric: Metric) -> dict[str, Tensor]:
    return {name: value for name, value in metric.metric_state.items() if isinstance(value, Tensor)}
