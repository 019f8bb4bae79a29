"""What a search leaves to be used: trials.csv and best.yaml."""

import csv
import io
from collections.abc import Callable
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState

from fer_lightning.config import flat
from fer_lightning.search.settings import OBJECTIVES
from fer_lightning.search.space import hydra_text
from fer_lightning.search.study import Study, folder_of, tries
from fer_lightning.files import write_atomic

BEST, TRIALS = "best.yaml", "trials.csv"
GROUPS = ("data", "model", "optimizer", "schedule")
OF_THE_SEARCH = ("cv.", "resume", "draw.")


def best_trials(study: Study) -> list[FrozenTrial]:
    """The complete trials, the best first by the first objective; of several objectives, the Pareto front alone."""
    complete = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if len(study.settings["objectives"]) > 1:
        front = {trial.number for trial in study.study.best_trials}
        complete = [trial for trial in complete if trial.number in front]
    upwards = OBJECTIVES[study.settings["objectives"][0]].direction == "minimize"
    return sorted(complete, key=lambda trial: trial.values[0] if upwards else -trial.values[0])


def write_trials(study: Study) -> None:
    """trials.csv: one row a trial, with its state, objectives, settings, the score of each fold, and why it failed."""
    table = io.StringIO()
    names = ["trial", "state", *study.settings["objectives"], *study.space.dimensions]
    writer = csv.writer(table)
    writer.writerow([*names, "cv/std", "fold_scores", "wall_seconds", "tries", "reason", "folder"])
    for trial in study.trials():
        kept = trial.user_attrs
        objectives = trial.values if trial.state == TrialState.COMPLETE else [""] * len(study.settings["objectives"])
        settings = [trial.params.get(key, "") for key in study.space.dimensions]
        scores = " ".join(f"{fold['val/accuracy']:.6f}" for fold in kept.get("folds", []))
        others = [kept.get("cv/std", ""), scores, kept.get("wall_seconds", ""), tries(trial), kept.get("reason", "")]
        writer.writerow([trial.number, trial.state.name, *objectives, *settings, *others, folder_of(trial)])
    write_atomic(study.folder / TRIALS, table.getvalue())


def write_best(study: Study, compose: Callable[..., dict[str, Any]]) -> dict[str, Any] | None:
    """best.yaml: the best setting as overrides, for `+best=PATH`; returns its config, or None without a complete trial.

    compose: the plain config of some overrides. best.yaml names the choice of each group, what was searched, and each
    other key that is not as usual.
    """
    best = next(iter(best_trials(study)), None)
    if best is None:
        return None
    config = compose(study.space.overrides(best.params))
    groups = [f"{group}={config[group]['name']}" for group in GROUPS]
    usual, found = flat(compose(groups, alone=True)), flat(config)
    differing = [
        f"++{key}={hydra_text(value)}"
        for key, value in found.items()
        if (key in study.space.dimensions or key not in usual or usual[key] != value)
        and not key.startswith(OF_THE_SEARCH)
        and key not in GROUPS
    ]
    objectives = ", ".join(
        f"{name} {value:.6g}" for name, value in zip(study.settings["objectives"], best.values, strict=True)
    )
    head = (
        f"# Trial {best.number}, the best of {len(study.trials())}: {objectives} ({config['cv']['folds']} folds).\n"
        f"#   python -m fer_lightning.train +best={study.folder / BEST}\n"
    )
    write_atomic(
        study.folder / BEST, head + yaml.safe_dump({"overrides": groups + differing}, allow_unicode=True, width=200)
    )
    return config | {"cv": {**config["cv"], "folds": 0}, "resume": False}
