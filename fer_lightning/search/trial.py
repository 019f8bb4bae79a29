"""One trial of a search: a cross-validation that reports to the study and can be pruned, in whatever process."""

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
from lightning.pytorch.callbacks import Callback
from optuna.exceptions import StorageInternalError
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError
from torch.utils.benchmark import Timer

from fer_lightning.files import write_json
from fer_lightning.networks import build_network
from fer_lightning.search.results import write_hyperparameters
from fer_lightning.search.samplers import BY_EPOCH, build_pruner
from fer_lightning.search.storage import JOB_LOCK, open_storage
from fer_lightning.search.study import FOLDS, HOST, OBJECTIVES, WORKER, Outcome, open_trial
from fer_lightning.settings import SearchSettings, TrainSettings
from fer_lightning.training.cross_validation import fold_metrics, open_shared_faces, summary
from fer_lightning.training.history import History
from fer_lightning.training.processes import this_worker
from fer_lightning.training.resume import METRICS

THREADS = torch.get_num_threads()
"""Of this process before any are shared: OMP_NUM_THREADS, or the cores."""


def run_trial(compose: Callable[[], TrainSettings], search: SearchSettings, folder: Path) -> Outcome:
    """Run the trial of number `search.trial` in `folder`; returns how it ended.

    compose: gives the trial's settings. A trial that fails by its own fault (it diverges, memory runs out, its settings
    do not go together) is returned as failed with the reason, so that the search goes on; a full disk or a lost storage
    is raised, as it would fail all others too.
    """
    assert search.study_name is not None
    assert search.trial is not None
    storage, locks = open_storage(search, folder.parent)
    try:
        settings = compose()
        pruner = build_pruner(search, settings.cv.folds, settings.trainer.max_epochs)
        study = optuna.load_study(study_name=search.study_name, storage=storage, sampler=RandomSampler(), pruner=pruner)
        trial = open_trial(study, storage, search.trial)
        locks.acquire(JOB_LOCK.format(trial.number))
        trial.set_user_attr(HOST, platform.node())
        trial.set_user_attr(WORKER, worker.number if (worker := this_worker()) else None)
        return cross_validate_trial(settings, folder, trial, search)
    except Exception as error:
        if is_environment_error(error):
            raise
        (folder / "failure.txt").write_text(traceback.format_exc())
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return Outcome("FAIL", attributes={"reason": f"{type(error).__name__}: {reason[:500]}"})
    finally:
        locks.close()


def is_environment_error(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a full disk, a lost storage or the like, and not the trial's own."""
    while error is not None:
        if isinstance(error, OSError | StorageInternalError | SQLAlchemyError):
            return True
        error = error.__cause__
    return False


def cross_validate_trial(settings: TrainSettings, folder: Path, trial: Trial, search: SearchSettings) -> Outcome:
    """Cross-validate in `folder`, fold by fold, until the pruner stops it; finished folds are kept in the study."""
    objectives = [OBJECTIVES[name] for name in search.objectives]
    quantity, by_epoch = objectives[0].of_fold, search.pruner in BY_EPOCH
    folds: list[dict[str, Any]] = []
    restore_folds(trial.user_attrs.get(FOLDS, []), folder)

    def callbacks(_: int) -> list[Callback]:
        earlier = [fold[quantity] for fold in folds]
        reports = [ReportEpochs(trial, quantity, earlier, settings.trainer.max_epochs)] if by_epoch else []
        return [ShareThreads(trial), *reports]

    began = time.perf_counter()
    attributes: dict[str, float | str] = {}
    values: list[float] | None = None
    try:
        datamodule = open_shared_faces(settings)
        for number, metrics in fold_metrics(settings, folder, datamodule, Console(quiet=True), callbacks):
            folds.append(metrics)
            trial.set_user_attr(FOLDS, folds)
            if len(objectives) == 1 and not by_epoch:
                report(trial, metrics[quantity], number)
                if number < settings.cv.folds and trial.should_prune():
                    raise optuna.TrialPruned
        metrics = {"model": settings.model.name, "data": settings.data.name, **summary(folds)}
        if "latency" in search.objectives:
            metrics["latency"] = milliseconds(settings)
        write_json(folder / METRICS, metrics)
        values = [metrics[objective.of_trial] for objective in objectives]
        attributes = {name: metrics[name] for name in ("cv/mean", "cv/std", "parameters")}
    except optuna.TrialPruned:
        pass
    attributes["wall_seconds"] = time.perf_counter() - began
    outcome = Outcome("COMPLETE" if values else "PRUNED", values, attributes)
    write_hyperparameters(folder, trial.params, [fold["val/accuracy"] for fold in folds], outcome)
    return outcome


def milliseconds(settings: TrainSettings) -> float:
    """The median time in ms from one face (48x48) to its logits, HOG included, on the CPU with one thread.

    The weights do not matter, so an untrained network is measured.
    """
    network = build_network(settings.model, settings.data.inputs).eval()
    scope = {"network": network, "face": torch.full((1, 1, 48, 48), 128.0)}
    with torch.inference_mode():
        return 1000 * Timer("network(face)", globals=scope, num_threads=1).blocked_autorange(min_run_time=0.2).median


def restore_folds(folds: list[dict[str, Any]], folder: Path) -> None:
    """Write the metrics of folds that the storage knows and the folder lacks: they were trained on another machine."""
    for number, metrics in enumerate(folds, start=1):
        place = folder / f"fold-{number}" / METRICS
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            write_json(place, metrics)


def report(trial: Trial, value: float, step: int) -> None:
    """Report a value to the pruner. Optuna ignores, with a warning, a step that an earlier attempt has reported."""
    with warnings.catch_warnings(action="ignore"):
        trial.report(value, step)


class ReportEpochs(Callback):
    """Reports each epoch to the study, and stops the trial where the pruner says so.

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
    """Divides the CPU's threads by the trials that run on this machine, since threads beyond its cores are slow.

    The workers of one command have divided them among each other at their start.
    """

    def __init__(self, trial: Trial):
        self.trial = trial

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        running = self.trial.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        here = sum(other.user_attrs.get(HOST) == platform.node() for other in running)
        workers = worker.siblings if (worker := this_worker()) else 1
        torch.set_num_threads(max(1, THREADS * workers // max(here, workers)))

    on_train_start = on_train_epoch_start  # an epoch that is resumed has begun before
