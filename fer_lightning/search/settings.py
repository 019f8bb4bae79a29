"""The settings of a search, conf/hydra/sweeper/study.yaml, as Optuna's samplers, pruners and storages."""

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from fer_lightning.errors import InputError, near_misses

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Objective(NamedTuple):
    """direction: Optuna's. of_fold: the entry of a fold's metrics; of_trial: that of the cross-validation's."""

    direction: Literal["maximize", "minimize"]
    of_fold: str
    of_trial: str


OBJECTIVES = {
    "accuracy": Objective("maximize", "val/accuracy", "cv/mean"),
    "macro_f1": Objective("maximize", "val/macro_f1", "cv/macro_f1"),
    "loss": Objective("minimize", "val/loss", "cv/loss"),
    "parameters": Objective("minimize", "parameters", "parameters"),
    "seconds": Objective("minimize", "seconds", "seconds"),
}
GRID = "grid"
SAMPLERS: dict[str, type[BaseSampler]] = {
    "tpe": TPESampler,
    "random": RandomSampler,
    "gp": GPSampler,
    "cmaes": CmaEsSampler,
    GRID: RandomSampler,  # the grid is queued by the study itself: Optuna's stops only inside `optimize`
}
BY_EPOCH = ("median", "hyperband")
PRUNERS = ("none", "wilcoxon", *BY_EPOCH)
SQLITE, JOURNAL = "sqlite", "journal"


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise InputError for a setting that names nothing, or that does not go with another."""
    for key, given, valid in [
        ("sampler", [settings["sampler"]], list(SAMPLERS)),
        ("pruner", [settings["pruner"]], list(PRUNERS)),
        ("objectives", settings["objectives"], list(OBJECTIVES)),
    ]:
        for name in given:
            if name not in valid:
                hint = near_misses(str(name), valid)
                raise InputError(f"hydra.sweeper.{key}={name}: no such choice.{hint} Valid: {', '.join(valid)}")
    for key, least in (("n_trials", 1), ("jobs", 1), ("retries", 0), ("seed", 0)):
        if not isinstance(settings[key], int) or settings[key] < least:
            raise InputError(f"hydra.sweeper.{key}={settings[key]!r}: expected a whole number of {least} or more")
    if not settings["objectives"]:
        raise InputError(f"hydra.sweeper.objectives is empty. Valid: {', '.join(OBJECTIVES)}")
    if len(settings["objectives"]) > 1 and settings["pruner"] != "none":
        raise InputError("hydra.sweeper.objectives: pruning needs a single objective; add hydra.sweeper.pruner=none")


def open_storage(settings: Mapping[str, Any], folder: Path) -> BaseStorage:
    """The study's storage: a SQLite or journal file in the sweep folder, or a database by URL."""
    return _storage(str(settings["storage"]), folder)


@lru_cache(maxsize=4)
def _storage(name: str, folder: Path) -> BaseStorage:
    try:
        with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
            if name == JOURNAL:
                return JournalStorage(JournalFileBackend(str(folder / "study.journal")))
            url = f"sqlite:///{folder / 'study.db'}" if name == SQLITE else name
            waits = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
            return RDBStorage(url, engine_kwargs=waits)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"hydra.sweeper.storage={name}: cannot be opened ({reason[:200]}). Valid: {SQLITE}, {JOURNAL}, or the URL "
            "of a database that is running, as postgresql://user@host/name"
        ) from error


def build_sampler(settings: Mapping[str, Any], number: int) -> BaseSampler:
    """The sampler for the trial of that number: its draws depend on (seed, number) and the study alone."""
    seed = int(np.random.SeedSequence([settings["seed"], number]).generate_state(1)[0])
    try:
        with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
            return SAMPLERS[settings["sampler"]](seed=seed)  # type: ignore[call-arg]
    except ImportError as error:
        raise InputError(f"hydra.sweeper.sampler={settings['sampler']}: {str(error).splitlines()[0]}") from error


def build_pruner(settings: Mapping[str, Any], folds: int, epochs: int) -> BasePruner:
    """Wilcoxon's test across folds, or median or Hyperband over the epochs of all folds."""
    options: dict[str, Any] = dict(settings["pruner_options"])
    try:
        with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
            match settings["pruner"]:
                case "wilcoxon":
                    return WilcoxonPruner(**{"p_threshold": 0.13, **options})
                case "median":
                    return MedianPruner(**options)
                case "hyperband":
                    return HyperbandPruner(**({"min_resource": 1, "max_resource": folds * epochs} | options))
                case _:
                    return NopPruner()
    except (TypeError, ValueError) as error:
        raise InputError(f"hydra.sweeper.pruner_options={options}: {settings['pruner']}: {error}") from error
