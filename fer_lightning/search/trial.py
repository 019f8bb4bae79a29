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
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState
from rich.console import Console

from fer_lightning.config import plain
from fer_lightning.cross_validation import fold_metrics, open_faces, summary
from fer_lightning.history import write_json
from fer_lightning.run import METRICS
from fer_lightning.search.settings import BY_EPOCH, OBJECTIVES, build_pruner, open_storage

THREADS = torch.get_num_threads()


def run_trial(config: DictConfig) -> dict[str, Any]:
    """The job of one trial, started by a Hydra launcher; returns how it ended, for `Study.tell`.

    Which trial it is stands in `hydra.sweeper.trial`. A trial that fails by its own fault (it diverges, memory runs
    out, its settings do not go together) is returned as failed with the reason, so that the search goes on.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    hydra = HydraConfig.get()
    settings: Any = OmegaConf.to_container(hydra.sweeper, resolve=True)
    folder = Path(hydra.runtime.output_dir)
    outcome = {"folder": folder.name}
    try:
        values = plain(config)
        study = optuna.load_study(
            study_name=settings["study_name"],
            storage=open_storage(settings, folder.parent),
            sampler=RandomSampler(),
            pruner=build_pruner(settings, values["cv"]["folds"], values["trainer"]["max_epochs"]),
        )
        return outcome | search_trial(values, folder, Trial(study, settings["trial"]), settings)
    except Exception as error:
        (folder / "failure.txt").write_text(traceback.format_exc())
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return outcome | {"state": "FAIL", "reason": f"{type(error).__name__}: {reason[:500]}"}


def search_trial(config: dict[str, Any], folder: Path, trial: Trial, settings: dict[str, Any]) -> dict[str, Any]:
    """Cross-validate a trial's config in `folder`, fold by fold, until the pruner stops it; finished folds are kept."""
    objectives = [OBJECTIVES[name] for name in settings["objectives"]]
    judged, may_prune = objectives[0], len(objectives) == 1
    by_epoch, epochs = settings["pruner"] in BY_EPOCH, config["trainer"]["max_epochs"]
    folds: list[dict[str, Any]] = []

    def callbacks(number: int) -> list[Callback]:
        share_threads(trial)
        earlier = [fold[judged.of_fold] for fold in folds]
        return [ReportEpochs(trial, judged.of_fold, earlier, epochs)] if by_epoch and may_prune else []

    began = time.perf_counter()
    outcome: dict[str, Any] = {"state": "COMPLETE"}
    try:
        for number, metrics in fold_metrics(config, folder, open_faces(config), Console(quiet=True), callbacks):
            folds.append(metrics)
            if may_prune and not by_epoch:
                trial.report(metrics[judged.of_fold], number)
                if number < config["cv"]["folds"] and trial.should_prune():
                    raise optuna.TrialPruned
    except optuna.TrialPruned:
        outcome = {"state": "PRUNED"}
    scores = [fold["val/accuracy"] for fold in folds]
    outcome |= {"scores": scores, "wall_seconds": time.perf_counter() - began}
    if outcome["state"] == "COMPLETE":
        metrics = {"model": config["model"]["name"], "data": config["data"]["name"], **summary(folds)}
        write_json(folder / METRICS, metrics)
        outcome |= {"values": [metrics[objective.of_trial] for objective in objectives]}
        outcome |= {name: metrics[name] for name in ("cv/mean", "cv/std", "parameters")}
    return outcome


class ReportEpochs(Callback):
    """Reports each epoch to the study and stops the trial where the pruner says so.

    The step counts the epochs of all folds; the value is the mean of the finished folds' scores and the best of this
    one so far, so that values of different trials at one step are of the same folds and comparable.
    """

    def __init__(self, trial: Trial, quantity: str, earlier: list[float], epochs: int):
        self.trial, self.quantity, self.earlier, self.epochs = trial, quantity, earlier, epochs
        self.better: Callable[[list[float]], float] = min if quantity == "val/loss" else max
        self.seen: list[float] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.quantity not in trainer.callback_metrics:
            return
        self.seen.append(float(trainer.callback_metrics[self.quantity]))
        running = [*self.earlier, self.better(self.seen)]
        step = len(self.earlier) * self.epochs + trainer.current_epoch + 1
        self.trial.report(sum(running) / len(running), step)
        if step < self.epochs * len(running) and self.trial.should_prune():
            raise optuna.TrialPruned


def share_threads(trial: Trial) -> None:
    """Divide the CPU's threads by the trials that run here, since processes that each use all slow one another down."""
    host = platform.node()
    running = trial.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    here = sum(other.user_attrs.get("host") == host for other in running)
    torch.set_num_threads(max(1, THREADS // max(here, 1)))
