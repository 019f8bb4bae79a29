"""One trial of a search: a cross-validation that reports to the study and can be pruned, in whatever process."""

import logging
import platform
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import optuna
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from optuna.exceptions import StorageInternalError
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from fer_lightning.config import plain
from fer_lightning.cross_validation import fold_metrics, open_faces, summary
from fer_lightning.history import History
from fer_lightning.run import METRICS
from fer_lightning.search.board import write_hyperparameters
from fer_lightning.search.latency import milliseconds
from fer_lightning.search.settings import BY_EPOCH, OBJECTIVES, build_pruner, open_locks, open_storage
from fer_lightning.search.study import at_work
from fer_lightning.files import write_json

THREADS = torch.get_num_threads()
FOLDS, HOST = "folds", "host"
"""User attributes of a running trial: the metrics of its finished folds, and the machine that runs it."""


def run_trial(config: DictConfig) -> dict[str, Any]:
    """The job of one trial, started by a Hydra launcher; returns how it ended, for `Study.tell`.

    Which trial it is stands in `hydra.sweeper.trial`. A trial that fails by its own fault (it diverges, memory runs
    out, its settings do not go together) is returned as failed with the reason, so that the search goes on; a full disk
    or a lost storage is raised, as it would fail all others too.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    hydra = HydraConfig.get()
    settings: Any = OmegaConf.to_container(hydra.sweeper, resolve=True)
    folder = Path(hydra.runtime.output_dir)
    outcome: dict[str, Any] = {"folder": folder.name}
    locks = open_locks(settings, folder.parent)
    try:
        values = plain(config)
        study = optuna.load_study(
            study_name=settings["study_name"],
            storage=open_storage(settings, folder.parent),
            sampler=RandomSampler(),
            pruner=build_pruner(settings, values["cv"]["folds"], values["trainer"]["max_epochs"]),
        )
        trial = Trial(study, settings["trial"])
        locks.hold(at_work(trial))
        trial.set_user_attr(HOST, platform.node())
        return outcome | search_trial(values, folder, trial, settings)
    except Exception as error:
        if of_the_machine(error):
            raise
        (folder / "failure.txt").write_text(traceback.format_exc())
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return outcome | {"state": "FAIL", "reason": f"{type(error).__name__}: {reason[:500]}"}
    finally:
        locks.close()


def of_the_machine(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a full disk, a lost storage or the like, and not the trial's own."""
    while error is not None:
        if isinstance(error, OSError | StorageInternalError | SQLAlchemyError):
            return True
        error = error.__cause__
    return False


def search_trial(config: dict[str, Any], folder: Path, trial: Trial, settings: dict[str, Any]) -> dict[str, Any]:
    """Cross-validate a trial's config in `folder`, fold by fold, until the pruner stops it; finished folds are kept."""
    objectives = [OBJECTIVES[name] for name in settings["objectives"]]
    judged, may_prune = objectives[0], len(objectives) == 1
    by_epoch, epochs = settings["pruner"] in BY_EPOCH, config["trainer"]["max_epochs"]
    folds: list[dict[str, Any]] = []
    bring_back(trial.user_attrs.get(FOLDS, []), folder)

    def callbacks(number: int) -> list[Callback]:
        earlier = [fold[judged.of_fold] for fold in folds]
        reports = [ReportEpochs(trial, judged.of_fold, earlier, epochs)] if by_epoch and may_prune else []
        return [ShareThreads(trial), *reports]

    began = time.perf_counter()
    outcome: dict[str, Any] = {"state": "COMPLETE"}
    try:
        for number, metrics in fold_metrics(config, folder, open_faces(config), Console(quiet=True), callbacks):
            folds.append(metrics)
            trial.set_user_attr(FOLDS, folds)
            if may_prune and not by_epoch:
                report(trial, metrics[judged.of_fold], number)
                if number < config["cv"]["folds"] and trial.should_prune():
                    raise optuna.TrialPruned
    except optuna.TrialPruned:
        outcome = {"state": "PRUNED"}
    outcome["wall_seconds"] = time.perf_counter() - began
    if outcome["state"] == "COMPLETE":
        metrics = {"model": config["model"]["name"], "data": config["data"]["name"], **summary(folds)}
        if "latency" in settings["objectives"]:
            metrics["latency"] = milliseconds(config)
        write_json(folder / METRICS, metrics)
        outcome["values"] = [metrics[objective.of_trial] for objective in objectives]
        outcome |= {name: metrics[name] for name in ("cv/mean", "cv/std", "parameters")}
    write_hyperparameters(folder, trial.params, [fold["val/accuracy"] for fold in folds], outcome)
    return outcome


def bring_back(folds: list[dict[str, Any]], folder: Path) -> None:
    """Put the metrics of folds that the storage knows where they are missing: they were trained on another machine."""
    for number, metrics in enumerate(folds, start=1):
        place = folder / f"fold-{number}" / METRICS
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            write_json(place, metrics)


def report(trial: Trial, value: float, step: int) -> None:
    """Report a value to the pruner, unless an earlier try of the trial has reported that step."""
    if step not in trial.study._storage.get_trial(trial._trial_id).intermediate_values:
        trial.report(value, step)


class ReportEpochs(Callback):
    """Reports each epoch to the study and stops the trial where the pruner says so.

    The step counts the epochs of all folds; the value is the mean of the finished folds' scores and the best of this
    one so far, so that values of different trials at one step are of the same folds and comparable.
    """

    def __init__(self, trial: Trial, quantity: str, earlier: list[float], epochs: int):
        self.trial, self.quantity, self.earlier, self.epochs = trial, quantity, earlier, epochs
        self.better: Callable[[list[float]], float] = min if quantity == "val/loss" else max

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        history = next(callback for callback in trainer.callbacks if isinstance(callback, History))  # type: ignore
        running = [*self.earlier, self.better([row[self.quantity] for row in history.rows])]
        step = len(self.earlier) * self.epochs + trainer.current_epoch + 1
        report(self.trial, sum(running) / len(running), step)
        if step < self.epochs * len(running) and self.trial.should_prune():
            raise optuna.TrialPruned


class ShareThreads(Callback):
    """Divides the CPU's threads, each epoch, by the trials that run here, as processes that each use all are slow."""

    def __init__(self, trial: Trial):
        self.trial = trial

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._share()  # an epoch that is gone on with has begun before

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._share()

    def _share(self) -> None:
        running = self.trial.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        here = sum(other.user_attrs.get(HOST) == platform.node() for other in running)
        torch.set_num_threads(max(1, THREADS // max(here, 1)))
