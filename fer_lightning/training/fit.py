"""`fit`: one network trained on one set of faces into one folder, from the beginning or from where it stopped."""

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from rich.console import Console

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.ferplus import prefix_of, prefixed, title_of
from fer_lightning.errors import InputError
from fer_lightning.files import write_json
from fer_lightning.settings import TrainSettings, TrainerSettings
from fer_lightning.training.checkpoints import AtomicCheckpointIO, BestAndLastCheckpoint
from fer_lightning.training.classifiers import ExpressionClassifier
from fer_lightning.training.early_stopping import StopEarly, StopWhenDiverged
from fer_lightning.training.hardware import choose_memory_format, choose_precision
from fer_lightning.training.history import QUANTITIES, History
from fer_lightning.training.loggers import build_loggers, log_hyperparameters
from fer_lightning.training.progress import ShowProgress
from fer_lightning.training.resume import (
    METRICS,
    EnsureTrainEnd,
    ResumeWithinEpoch,
    checkpoint_to_resume,
    finished_metrics,
)
from fer_lightning.training.tensorboard import drawing_callbacks


def fit(
    settings: TrainSettings,
    folder: Path,
    console: Console,
    datamodule: FaceDataModule | None = None,
    callbacks: Sequence[Callback] = (),
    begin: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Train into `folder`, or go on there; returns what metrics.json holds. A finished run is left as it is.

    datamodule: the faces and rows to train on; None opens those of `settings.data`. callbacks: further ones. begin: is
    called once nothing is left to refuse, before the first epoch. Raises InputError.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # here: importing Lightning sets it to INFO
    warnings.filterwarnings("ignore", module="lightning.*")
    if settings.resume and (finished := finished_metrics(settings, folder)):
        return finished
    checkpoint = checkpoint_to_resume(settings, folder)
    if settings.resume and checkpoint is None:
        console.print(f"resume=true: there is no checkpoint in {folder}, so training begins at the beginning.")
    lightning.seed_everything(settings.seed, verbose=False)
    classifier = ExpressionClassifier(settings)  # first, since it is quick to refuse
    datamodule = datamodule or FaceDataModule(settings.data, classifier.network.uses_hog, settings.seed)
    datamodule.setup()
    classifier.network.preprocessing.set_statistics(*datamodule.statistics())
    if settings.model.class_weights:
        classifier.set_class_weights(datamodule.class_counts())
    classifier.to(memory_format=choose_memory_format(settings.memory_format))
    announce(console, settings, datamodule, classifier)
    trainer, history = build_trainer(settings, folder, console, [CallAtStart(begin), *callbacks])
    log_hyperparameters(trainer, settings)
    trainer.fit(classifier, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    metrics = {
        **history.summary(),
        "parameters": classifier.network.parameter_count,
        "seed": settings.seed,
        "split_sizes": datamodule.split_sizes,
        "model": settings.model.name,
        "data": settings.data.name,
        "finished": True,
    }
    if trainer.is_global_zero:
        write_json(folder / METRICS, prefixed(metrics, QUANTITIES, prefix_of(settings.data.name)))
    return metrics


class CallAtStart(Callback):
    """Calls a function before the first epoch, in the process that writes."""

    def __init__(self, function: Callable[[], object]):
        self.function = function

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            self.function()


def build_trainer(
    settings: TrainSettings, folder: Path, console: Console, more: Sequence[Callback] = ()
) -> tuple[lightning.Trainer, History]:
    """Lightning's trainer with this project's callbacks, and `more` after them. Raises InputError."""
    prefix = prefix_of(settings.data.name)
    history = History(folder, prefix)
    callbacks: list[Callback] = [EnsureTrainEnd(), ResumeWithinEpoch(), StopWhenDiverged(), history]
    callbacks.append(ShowProgress(console))
    if settings.ema.decay:
        callbacks.insert(0, EMAWeightAveraging(decay=settings.ema.decay))
    callbacks += drawing_callbacks(settings.draw)
    if settings.early_stopping.patience:
        callbacks.append(StopEarly(settings.early_stopping.patience))
    callbacks += [BestAndLastCheckpoint(folder / "checkpoints", settings), *more]
    try:
        trainer = lightning.Trainer(
            **trainer_arguments(settings.trainer),
            callbacks=callbacks,
            logger=build_loggers(settings.logger, folder, prefix),
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"trainer: Lightning refuses these settings: {error}") from error
    return trainer, history


def trainer_arguments(settings: TrainerSettings) -> dict[str, Any]:
    """Lightning's arguments: those that were given, `auto` resolved for this machine."""
    arguments = settings.model_dump(exclude_unset=True)
    arguments["precision"] = choose_precision(settings.precision, settings.accelerator)
    if settings.devices == "auto" and settings.accelerator == "cpu":
        arguments["devices"] = 1
    return arguments


def announce(
    console: Console, settings: TrainSettings, datamodule: FaceDataModule, classifier: ExpressionClassifier
) -> None:
    """What is trained on what, before the first epoch."""
    sizes = ", ".join(f"{name} {size:,}" for name, size in datamodule.split_sizes.items())
    console.print(
        f"{settings.model.name}: {classifier.network.parameter_count:,} parameters; "
        f"{title_of(settings.data.name)}: {sizes} images"
    )
    for note in datamodule.notes:
        console.print(f"  note: {note}")
