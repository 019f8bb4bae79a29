"""A run: one network trained on one set of faces into one folder, from the beginning or from where it stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from rich.console import Console

from fer_lightning.callbacks import (
    EndAnyway,
    GoOnWithinEpoch,
    KeepBestAndLast,
    StopEarly,
    StopWhenDiverged,
    drawing_callbacks,
)
from fer_lightning.checkpoints import LAST, AtomicCheckpointIO, read_checkpoint
from fer_lightning.classifiers import ExpressionClassifier, build_classifier
from fer_lightning.config import flat
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.ferplus import prefix_of, prefixed, title_of, unprefixed
from fer_lightning.errors import InputError
from fer_lightning.hardware import choose_memory_format, choose_precision
from fer_lightning.history import QUANTITIES, History
from fer_lightning.loggers import build_loggers, log_hyperparameters
from fer_lightning.progress import ShowProgress
from fer_lightning.whole_files import write_json

METRICS = "metrics.json"
MAY_CHANGE = {"resume", "checkpoint_minutes", "trainer.max_epochs", "data.path", "data.votes", "data.cache_dir"} | {
    f"draw.{key}" for key in ("every", "share", "deepdream", "embedding")
}
MAY_CHANGE |= {f"logger.{key}" for key in ("name", "experiment", "tracking_uri", "project", "offline")}
"""Settings that a resumed run may have otherwise than the run it goes on with."""


def fit(
    config: dict[str, Any],
    folder: Path,
    console: Console,
    datamodule: FaceDataModule | None = None,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Train by a checked, plain config into `folder`, or go on there; returns what metrics.json holds.

    datamodule: the faces and rows to train on; None opens those of `config["data"]`. A finished run is left as it is.
    """
    if config["resume"] and (finished := finished_metrics(config, folder)):
        return finished
    resume_from = checkpoint_to_resume(config, folder, console)
    lightning.seed_everything(config["seed"], verbose=False)
    datamodule, classifier = build(config, datamodule)
    announce(console, config, datamodule, classifier)
    trainer, history = build_trainer(config, folder, console, callbacks)
    log_hyperparameters(trainer, config)
    trainer.fit(classifier, datamodule=datamodule, ckpt_path=resume_from, weights_only=True)
    metrics = {
        **history.summary(),
        "parameters": sum(parameter.numel() for parameter in classifier.network.parameters()),
        "seed": config["seed"],
        "split_sizes": datamodule.split_sizes,
        "model": config["model"]["name"],
        "data": config["data"]["name"],
        "finished": True,
    }
    if trainer.is_global_zero:
        write_json(folder / METRICS, prefixed(metrics, QUANTITIES, prefix_of(config["data"]["name"])))
    return metrics


def build(
    config: dict[str, Any], datamodule: FaceDataModule | None = None
) -> tuple[FaceDataModule, ExpressionClassifier]:
    """The data and the network, with the training part's statistics; the network first, since it is quick to refuse."""
    classifier = new_classifier(config)
    datamodule = datamodule or FaceDataModule(config["data"], classifier.uses_hog, config["seed"])
    datamodule.setup()
    classifier.set_statistics(datamodule.statistics(), datamodule.class_counts())
    return datamodule, classifier.to(memory_format=choose_memory_format(config["memory_format"]))


def new_classifier(config: dict[str, Any]) -> ExpressionClassifier:
    """The untrained network of a config, still without statistics of the data."""
    data = config["data"]
    return build_classifier(
        config["model"],
        inputs={"channels": data["channels"], "size": data["size"], "hog": data["hog"]},
        optimizer=config["optimizer"],
        schedule=config["schedule"],
        seed=config["seed"],
    )


def build_trainer(
    config: dict[str, Any], folder: Path, console: Console, more: Sequence[Callback] = ()
) -> tuple[lightning.Trainer, History]:
    """Lightning's trainer with this project's callbacks, and `more` after them."""
    settings = dict(config["trainer"])
    settings["precision"] = choose_precision(settings["precision"], settings["accelerator"])
    if settings["devices"] == "auto" and settings["accelerator"] == "cpu":
        settings["devices"] = 1
    prefix = prefix_of(config["data"]["name"])
    history = History(folder, prefix)
    callbacks: list[Callback] = [EndAnyway(), GoOnWithinEpoch(), StopWhenDiverged(), history, ShowProgress(console)]
    if config["ema"]["decay"]:
        callbacks.insert(0, EMAWeightAveraging(decay=config["ema"]["decay"]))
    callbacks += drawing_callbacks(config["draw"])
    if patience := config["early_stopping"]["patience"]:
        callbacks.append(StopEarly(patience))
    callbacks += [KeepBestAndLast(folder / "checkpoints", config, config["checkpoint_minutes"]), *more]
    loggers = build_loggers(config["logger"], folder, prefix)
    try:
        trainer = lightning.Trainer(
            **settings,
            callbacks=callbacks,
            logger=loggers,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except Exception as error:
        raise InputError(f"trainer: Lightning refuses these settings: {error}") from error
    return trainer, history


def checkpoint_to_resume(config: dict[str, Any], folder: Path, console: Console) -> Path | None:
    """`last.ckpt` of the run to go on with, or None. Raises InputError where a run would be overwritten or mixed."""
    last = folder / "checkpoints" / LAST
    if not config["resume"]:
        if last.exists() or (folder / METRICS).exists():
            raise InputError(
                f"{folder} already holds a run. Add resume=true to go on with it, or name another hydra.run.dir"
            )
        return None
    if not last.exists():
        console.print(f"resume=true: no {last}, so training begins at the beginning.")
        return None
    before, now = flat(read_checkpoint(last).get("config", {})), flat(config)
    for key in sorted((before.keys() | now.keys()) - MAY_CHANGE):
        if before.get(key) != now.get(key):
            raise InputError(
                f"resume=true: {key} was {before.get(key)!r} in the run in {folder} and is {now.get(key)!r} now. "
                "Give the same settings, or start a new run in another hydra.run.dir"
            )
    return last


def finished_metrics(config: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """metrics.json of a run that reached its end, or None when there is still something to train."""
    if not (folder / METRICS).exists():
        return None
    try:
        metrics = unprefixed(json.loads((folder / METRICS).read_text()))
        more = metrics["epochs"] < config["trainer"]["max_epochs"] and not config["early_stopping"]["patience"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / METRICS}: damaged ({error}). Remove it, and resume=true makes it anew from {LAST}"
        ) from error
    return None if more else metrics


def announce(
    console: Console, config: dict[str, Any], datamodule: FaceDataModule, classifier: ExpressionClassifier
) -> None:
    """What is trained on what, before the first epoch."""
    parameters = sum(parameter.numel() for parameter in classifier.network.parameters())
    sizes = ", ".join(f"{name} {size:,}" for name, size in datamodule.split_sizes.items())
    console.print(
        f"{config['model']['name']}: {parameters:,} parameters; {title_of(config['data']['name'])}: {sizes} images"
    )
    for note in datamodule.notes:
        console.print(f"  note: {note}")
