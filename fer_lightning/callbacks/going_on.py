"""What a run that was stopped within an epoch, or after the last, needs to go on as if it had not been."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torchmetrics import Metric

from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.data.batches import Batches

KEY = "unfinished_epoch"
"""Where it stands in a checkpoint; one made at the end of an epoch has no such key."""


class GoOnWithinEpoch(Callback):
    """Keeps how many batches are done, the training metrics so far, and the state of the generator of dropout.

    Order and augmentation follow (seed, epoch). (Lightning hands `Batches` its state by itself, but not where the
    schedule asked for the number of steps before.) A run that goes on with another kind of device cannot end with the
    same weights; dropout there draws as at the beginning of the epoch.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if unfinished(trainer):
            device = pl_module.device
            checkpoint[KEY] = {
                "batches": batches_of(trainer).state_dict(),
                "device": device.type,
                "random": _generators(device).get_rng_state(),
                "metrics": {name: _state(metric) for name, metric in training_metrics(pl_module).items()},
            }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.kept = checkpoint.get(KEY)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.kept is None:
            return
        assert isinstance(pl_module, ExpressionClassifier)
        batches_of(trainer).load_state_dict(self.kept["batches"])
        pl_module.seed_dropout()
        device = pl_module.device
        if self.kept["device"] == device.type:
            _generators(device).set_rng_state(self.kept["random"])
        for name, metric in training_metrics(pl_module).items():
            metric.load_state_dict({key: value.to(device) for key, value in self.kept["metrics"][name].items()})
        self.kept = None


class EndAnyway(Callback):
    """Ends a run that is resumed after its last epoch: Lightning calls nobody's `on_train_end` then."""

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


def unfinished(trainer: lightning.Trainer) -> bool:
    """Whether some batches of the epoch were trained, and not all that are to be."""
    return 0 < batches_of(trainer).done < trainer.num_training_batches


def training_metrics(module: lightning.LightningModule) -> dict[str, Metric]:
    """What adds up over the batches of an epoch."""
    assert isinstance(module, ExpressionClassifier)
    return {"loss": module.train_loss, "accuracy": module.train_accuracy}


def _generators(device: torch.device) -> Any:
    """Where torch keeps the global generator of a kind of device."""
    return torch if device.type == "cpu" else torch.get_device_module(device)


def _state(metric: Metric) -> dict[str, Tensor]:
    return {name: value for name, value in metric.metric_state.items() if isinstance(value, Tensor)}
