"""`fit`: one network trained on one set of faces into one folder, from the beginning or from where it stopped."""

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback
from rich.console import Console

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.ferplus import prefix_of, prefixed, title_of
from fer_lightning.errors import InputError
from fer_lightning.files import run_lock, write_json
from fer_lightning.machine import provenance
from fer_lightning.networks.pretrained import load_pretrained
from fer_lightning.settings import BackboneModel, TrainerSettings, TrainSettings
from fer_lightning.training.classifiers import ExpressionClassifier
from fer_lightning.training.compilation import is_compiled
from fer_lightning.training.history import QUANTITIES
from fer_lightning.training.ranks import other_processes, process_rank
from fer_lightning.training.resume import (
    METRICS,
    KeepFaces,
    checkpoint_to_resume,
    checksum_of_faces,
    finished_metrics,
)
from fer_lightning.training.trainer import build_trainer, describe_device, has_gpu, log_hyperparameters


def fit(
    settings: TrainSettings,
    folder: Path,
    console: Console,
    datamodule: FaceDataModule | None = None,
    callbacks: Sequence[Callback] = (),
    begin: Callable[[], object] = lambda: None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Train into `folder`, or go on there; returns what metrics.json holds. A finished run is left as it is.

    datamodule: the faces and rows to train on; None opens those of `settings.data`. callbacks: further ones. begin: is
    called once nothing is left to refuse, before the first epoch, in the process that writes. command: as of
    `ranks.other_processes`, for a run on several devices. Raises InputError, also where another process trains in
    `folder`, and where one of the run's own was lost.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)  # here: importing Lightning sets it to INFO
    warnings.filterwarnings("ignore", module="lightning.*")
    lock = nullcontext() if process_rank() else run_lock(folder, console.print)
    with lock:
        if settings.resume and (finished := finished_metrics(settings, folder)):
            return finished
        return _train(settings, folder, console, datamodule, callbacks, begin, command)


def _train(
    settings: TrainSettings,
    folder: Path,
    console: Console,
    datamodule: FaceDataModule | None,
    callbacks: Sequence[Callback],
    begin: Callable[[], object],
    command: Sequence[str],
) -> dict[str, Any]:
    """What `fit` does once the folder is locked and something is left to train."""
    resumed = checkpoint_to_resume(settings, folder)
    if settings.resume and resumed is None:
        console.print(f"resume=true: there is no checkpoint in {folder}, so training begins at the beginning.")
    lightning.seed_everything(settings.seed, verbose=False)
    classifier = ExpressionClassifier(settings)  # first, since it is quick to refuse
    if settings.model.weights and resumed is None:
        classifier.pretrained = load_pretrained(classifier.network, settings.model)
    datamodule = datamodule or FaceDataModule(settings.data, classifier.network.uses_hog, settings.seed)
    classifier.is_compiled = is_compiled(settings.compile, has_gpu(settings.trainer.accelerator))
    prepare(classifier, datamodule)
    faces = checksum_of_faces(datamodule)
    source = f"data.path={settings.data.path}" if settings.data.path else f"data={settings.data.name}"
    if resumed and (note := resumed.require_faces(faces, source)):
        console.print(f"note: {note}")
    announce(console, classifier, datamodule)
    begins = LambdaCallback(on_fit_start=lambda trainer, _: begin() if trainer.is_global_zero else None)
    trainer, history = build_trainer(settings, folder, console, [begins, KeepFaces(faces), *callbacks])
    require_batches(settings.trainer, datamodule, trainer.num_devices * trainer.num_nodes)
    log_hyperparameters(trainer, settings)
    checkpoint = None if resumed is None else resumed.checkpoint
    with other_processes(trainer.num_devices, trainer.num_nodes, command):
        trainer.fit(classifier, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    metrics = {
        **history.summary(),
        "parameters": classifier.network.parameter_count,
        "seed": settings.seed,
        "split_sizes": datamodule.split_sizes,
        "model": settings.model.name,
        "data": settings.data.name,
        **provenance(str(trainer.strategy.root_device), str(trainer.precision)),
        **({"pretrained": classifier.pretrained} if classifier.pretrained else {}),
        "finished": True,
    }
    if trainer.is_global_zero:
        write_json(folder / METRICS, prefixed(metrics, QUANTITIES, prefix_of(settings.data.name)))
    return metrics


def prepare(classifier: ExpressionClassifier, datamodule: FaceDataModule) -> None:
    """Open the faces, and give the classifier what it needs of them: statistics, class weights, memory format."""
    datamodule.setup()
    classifier.network.preprocessing.set_statistics(*datamodule.statistics())
    if classifier.settings.model.class_weights:
        classifier.set_class_weights(datamodule.class_counts())
    contiguous = classifier.settings.memory_format == "contiguous"  # auto: channels_last is the faster one everywhere
    classifier.to(memory_format=torch.contiguous_format if contiguous else torch.channels_last)


def require_batches(settings: TrainerSettings, datamodule: FaceDataModule, processes: int) -> None:
    """Raise InputError where a share of the batches, by `limit_train_batches` or `_val_batches`, is less than one."""
    for part, batches in (("train", datamodule.train_dataloader()), ("val", datamodule.val_dataloader())):
        batches.world, limit = processes, getattr(settings, f"limit_{part}_batches")
        if isinstance(limit, float) and int(limit * len(batches)) < 1:
            several = f"{len(batches)} batches" if len(batches) > 1 else "one batch"
            raise InputError(
                f"trainer.limit_{part}_batches={limit}: of {several} this is less than one. Give a number of batches, "
                f"as 1, or a share of at least {math.ceil(1000 / len(batches)) / 1000:g}"
            )


def announce(console: Console, classifier: ExpressionClassifier, datamodule: FaceDataModule) -> None:
    """Print what is trained on what, before the first epoch."""
    settings = classifier.settings
    sizes = ", ".join(f"{name} {size:,}" for name, size in datamodule.split_sizes.items())
    console.print(
        f"{settings.model.name}: {classifier.network.parameter_count:,} parameters; "
        f"{title_of(settings.data.name)}: {sizes} images"
    )
    if (found := classifier.pretrained) is not None:
        console.print(f"  begins with {found['weights']} (sha256 {found['sha256'][:12]}), {found['head']} head")
    console.print(f"  on {describe_device(settings.trainer)}")
    if settings.trainer.sync_batchnorm and settings.trainer.has_one_device:
        console.print("  note: trainer.sync_batchnorm has no effect on one device.")
    if isinstance(settings.model, BackboneModel) and settings.data.channels == 1:
        grey = f"data.channels=1: {settings.model.name} gets grey pictures, the same in each channel"
        console.print(f"  note: {grey}; data.channels=3 reads colour.", soft_wrap=True)
    for note in datamodule.notes:
        console.print(f"  note: {note}")
