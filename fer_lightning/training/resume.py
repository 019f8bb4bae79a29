"""Resuming a run: from which checkpoint, with which settings, and the state that an unfinished epoch needs."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torchmetrics import Metric

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import SPLITS, TRAIN, VAL
from fer_lightning.data.ferplus import unprefixed
from fer_lightning.errors import InputError
from fer_lightning.networks.weight_files import read_checkpoint
from fer_lightning.settings import MAY_CHANGE, OPEN_ENDED, TrainSettings, require_same, restore
from fer_lightning.training.checkpoints import LAST
from fer_lightning.training.classifiers import ExpressionClassifier, batches_of, classifier_of
from fer_lightning.training.ranks import of_each_process

METRICS = "metrics.json"

MAY_CHANGE_IN_A_RUN = MAY_CHANGE | {"trainer.max_epochs"}

KEY = "unfinished_epoch"
"""Key of a checkpoint that was made within an epoch."""

FACES = "faces"
"""Key of a checkpoint: what `checksum_of_faces` returned for the run's data."""


@dataclass(frozen=True)
class Resumption:
    """The checkpoint that a run goes on from. faces: of which faces it was made; None in those of earlier versions."""

    checkpoint: Path
    faces: dict[str, Any] | None

    def require_faces(self, faces: dict[str, Any], source: str) -> str | None:
        """Raise InputError for other faces than the run's; returns a note where the checkpoint does not tell.

        faces: what `checksum_of_faces` returns for those of now; source: the setting that names them.
        """
        if self.faces is None:
            return f"{self.checkpoint} is of an earlier version and does not say which faces it was trained on."
        if self.faces != faces:
            was, becomes = (
                ", ".join(f"{split} {found[split]:,}" for split in SPLITS if split in found)
                for found in (self.faces, faces)
            )
            counts = f" (now {becomes}; then {was})" if was != becomes else f" ({was}, but other images or labels)"
            raise InputError(
                f"{source}: these are not the faces that {self.checkpoint} was trained on{counts}. "
                "Give the same data, or another folder"
            )
        return None


def checksum_of_faces(datamodule: FaceDataModule, splits: Sequence[int] = (TRAIN, VAL)) -> dict[str, Any]:
    """What tells the faces of a run from others: `checksum` of images and targets in order, and images by split.

    splits: those that are used; a run never uses test.
    """
    faces, shares, digest = datamodule.faces, datamodule.loaded.shares, hashlib.sha256()
    assert faces is not None
    sizes = {}
    for split in splits:
        rows = datamodule.rows[split].cpu()
        sizes[SPLITS[split]] = len(rows)
        digest.update(faces.images[rows.numpy()].data)
        digest.update(faces.labels[rows.numpy()].data)
        if shares is not None:
            digest.update(shares[rows.to(shares.device)].cpu().numpy().data)
    return {"checksum": digest.hexdigest(), **sizes}


class KeepFaces(Callback):
    """Saves in each checkpoint what `checksum_of_faces` returned."""

    def __init__(self, faces: dict[str, Any]):
        self.faces = faces

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[FACES] = self.faces


def checkpoint_to_resume(settings: TrainSettings, folder: Path) -> Resumption | None:
    """The run to resume, None to begin. Raises InputError where runs would be overwritten or mixed."""
    last = folder / "checkpoints" / LAST
    if not settings.resume:
        require_no_run(folder, last.exists() or (folder / METRICS).exists())
        return None
    if not last.exists():
        return None
    content = read_checkpoint(last)
    before = restore(TrainSettings, content.get("config", {}), content.get("settings_version", 1), str(last))
    require_resumable(before, settings, f"the run in {folder}")
    begun = content.get("epoch", 0) + 1
    if 0 < settings.trainer.max_epochs < begun:
        raise InputError(
            f"trainer.max_epochs={settings.trainer.max_epochs}: the run in {folder} is in its epoch {begun} already"
        )
    faces = content.get(FACES)
    return Resumption(last, faces if isinstance(faces, dict) else None)


def require_resumable(before: TrainSettings, now: TrainSettings, what: str) -> None:
    """Raise InputError where `what`, a run or the folds of one, cannot go on with the settings of now.

    Most schedules are functions of the progress through the run, so another number of epochs would make the learning
    rate jump.
    """
    require_same(before, now, what, MAY_CHANGE_IN_A_RUN)
    was, becomes = before.trainer.max_epochs, now.trainer.max_epochs
    if was != becomes and now.data.grow:
        raise InputError(
            f"trainer.max_epochs was {was} in {what} and is {becomes} now, and the sides of data.grow depend on it. "
            f"Give trainer.max_epochs={was}, or another folder"
        )
    if was != becomes and now.schedule.name not in OPEN_ENDED:
        raise InputError(
            f"trainer.max_epochs was {was} in {what} and is {becomes} now, and schedule={now.schedule.name} depends on "
            f"it: the learning rate would jump. Schedules that can go on: {', '.join(OPEN_ENDED)}. "
            f"Give trainer.max_epochs={was}, or another folder"
        )


def require_no_run(folder: Path, begun: bool) -> None:
    """Raise InputError where a folder already holds a run that is not to be resumed."""
    if begun:
        raise InputError(
            f"{folder} already holds a run. Add resume=true to go on with it, or name another hydra.run.dir"
        )


def finished_metrics(settings: TrainSettings, folder: Path) -> dict[str, Any] | None:
    """metrics.json of a run that reached its end, or None where something is left to train."""
    if not (folder / METRICS).exists():
        return None
    try:
        metrics = unprefixed(json.loads((folder / METRICS).read_text()))
        shortened = (
            settings.early_stopping.patience or settings.trainer.max_time or (settings.trainer.max_steps or -1) > 0
        )
        more = metrics["epochs"] < settings.trainer.max_epochs and not shortened
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / METRICS}: damaged ({error}). Remove it, and resume=true makes it anew from {LAST}"
        ) from error
    return None if more else metrics


class ResumeWithinEpoch(Callback):
    """Saves how many batches are done, and of each process the training metrics so far and the generator of dropout.

    Order and augmentation follow (seed, epoch). (Lightning restores the state of `Batches` itself, but not where the
    schedule asked for the number of steps before.) On another kind of device than before, dropout draws from the
    beginning of its epoch's stream, and the weights differ anyway.
    """

    def __init__(self) -> None:
        self.saved: dict[str, Any] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if is_unfinished(trainer):
            metrics = _training_metrics(classifier_of(pl_module))
            own = {
                "random": _generators(pl_module.device).get_rng_state(),
                "metrics": {
                    name: {key: value.cpu() for key, value in metric.metric_state.items()}  # type: ignore[union-attr]
                    for name, metric in metrics.items()
                },
            }
            checkpoint[KEY] = {
                "batches": batches_of(trainer).state_dict(),
                "device": pl_module.device.type,
                "processes": of_each_process(own),
            }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.saved = checkpoint.get(KEY)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.saved is None:
            return
        classifier, device = classifier_of(pl_module), pl_module.device
        batches_of(trainer).load_state_dict(self.saved["batches"])
        classifier.seed_dropout()
        own = self.saved.get("processes", [self.saved])[trainer.global_rank]  # earlier versions: of the only process
        if self.saved["device"] == device.type:
            _generators(device).set_rng_state(own["random"])
        for name, metric in _training_metrics(classifier).items():
            metric.load_state_dict({key: value.to(device) for key, value in own["metrics"][name].items()})
        self.saved = None


class EnsureTrainEnd(Callback):
    """Calls the callbacks' `on_train_end` of a run that is resumed after its last epoch: Lightning skips it then."""

    ended = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.ended:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                callback.on_train_end(trainer, pl_module)


def is_unfinished(trainer: Trainer) -> bool:
    """Whether some batches of the epoch were trained, and not all that are to be."""
    return 0 < batches_of(trainer).done < trainer.num_training_batches


def _training_metrics(classifier: ExpressionClassifier) -> dict[str, Metric]:
    """The metrics that accumulate over the batches of an epoch."""
    return {"loss": classifier.train_loss, "accuracy": classifier.train_accuracy}


def _generators(device: torch.device) -> Any:
    """The module of torch with the global generator of a kind of device."""
    return torch if device.type == "cpu" else torch.get_device_module(device)
