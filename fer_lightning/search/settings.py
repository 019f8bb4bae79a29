"""The settings of a search, conf/hydra/sweeper/study.yaml, as Optuna's samplers, pruners and storages."""

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from sqlalchemy import event

from fer_lightning.errors import InputError, near_misses
from fer_lightning.search.locks import FileLocks, Locks, ServerLocks

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
    "latency": Objective("minimize", "latency", "latency"),
    "seconds": Objective("minimize", "seconds", "seconds"),
}
GRID = "grid"
SAMPLERS: dict[str, type[BaseSampler]] = {
    "tpe": TPESampler,
    "random": RandomSampler,
    "gp": GPSampler,
    "cmaes": CmaEsSampler,
    GRID: RandomSampler,  # of nothing: the setting of each trial number is given
}
BY_EPOCH = ("median", "hyperband")
PRUNERS = ("none", "wilcoxon", *BY_EPOCH)
SQLITE, JOURNAL = "sqlite", "journal"
POSTGRES = ("postgres://", "postgresql://", "postgresql+psycopg://")


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
    if settings["objectives"][0] in ("parameters", "latency", "seconds") and settings["pruner"] != "none":
        raise InputError(
            f"hydra.sweeper.objectives={settings['objectives']}: pruning needs a score of each fold: accuracy, "
            "macro_f1 or loss; or add hydra.sweeper.pruner=none"
        )
    if len(settings["objectives"]) > 1 and settings["sampler"] == "cmaes":
        raise InputError("hydra.sweeper.sampler=cmaes: for a single objective. For several: tpe, gp, random, grid")


def open_storage(settings: Mapping[str, Any], folder: Path) -> BaseStorage:
    """The study's storage: a SQLite or journal file in the sweep folder, or a database by URL."""
    try:
        return _storage(str(settings["storage"]), folder)
    except Exception as error:
        raise unreachable(settings, error) from error


@lru_cache(maxsize=4)
def _storage(name: str, folder: Path) -> BaseStorage:
    with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
        if name == JOURNAL:
            file = str(folder / "study.journal")
            return JournalStorage(JournalFileBackend(file, JournalLock(f"{file}.lock")))
        url = f"sqlite:///{folder / 'study.db'}" if name == SQLITE else with_driver(name)
        if not url.startswith("sqlite"):
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
        event.listen(storage.engine, "connect", append_to_a_log)
        storage.engine.dispose()
        return storage


def append_to_a_log(connection: Any, record: Any) -> None:
    """Have SQLite write ahead into a log, which needs no wait for the disk at each of a trial's twenty small writes.

    What a power cut takes are the last of them, not the database; what the kill of a process takes is nothing.
    """
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=normal")


class JournalLock(BaseJournalFileLock):
    """A lock that ends with its process; the ones of Optuna stay for 30 s after a kill."""

    def __init__(self, file: str):
        self.lock = FileLock(file)

    def acquire(self) -> bool:
        self.lock.acquire(poll_interval=0.01)
        return True

    def release(self) -> None:
        self.lock.release()


def with_driver(url: str) -> str:
    """The URL of a database for SQLAlchemy, PostgreSQL by the driver of the extra `postgres`."""
    return "postgresql+psycopg://" + url.partition("://")[2] if url.startswith(POSTGRES) else url


def open_locks(settings: Mapping[str, Any], folder: Path) -> Locks:
    """Locks that all processes of the study see: the server's with PostgreSQL, files in the sweep folder otherwise."""
    if not str(settings["storage"]).startswith(POSTGRES):
        return FileLocks(folder / "locks")
    try:
        return ServerLocks(with_driver(settings["storage"]), settings["study_name"])
    except InputError:
        raise
    except Exception as error:
        raise unreachable(settings, error) from error


def unreachable(settings: Mapping[str, Any], error: Exception) -> InputError:
    """What to say of a storage that cannot be opened."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"hydra.sweeper.storage={settings['storage']}: cannot be opened ({reason[:200]}). Valid: {SQLITE}, {JOURNAL}, "
        "or the URL of a database that is running, as postgresql://user@host/name"
    )


def build_sampler(settings: Mapping[str, Any], number: int, grid: Sequence[dict[str, Any]] = ()) -> BaseSampler:
    """The sampler for the trial of that number: its draws depend on (seed, number) and the study alone."""
    seed = int(np.random.SeedSequence([settings["seed"], number]).generate_state(1)[0])
    try:
        with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
            if settings["sampler"] == "cmaes":
                import cmaes  # noqa: F401  (Optuna would find out only at the second trial)

                return CmaEsSampler(seed=seed, warn_independent_sampling=False)
            sampler = SAMPLERS[settings["sampler"]](seed=seed)  # type: ignore[call-arg]
            return PartialFixedSampler(grid[number], sampler) if grid else sampler
    except ImportError as error:
        raise InputError(
            f"hydra.sweeper.sampler={settings['sampler']} needs a package that is not installed: "
            "pip install 'fer_lightning[cmaes]'"
        ) from error


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
