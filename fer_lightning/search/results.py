"""What a search leaves to be used: trials.csv, best.yaml, and the trials in TensorBoard's HParams tab."""

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState
from torch.utils.tensorboard.summary import hparams, scalar
from torch.utils.tensorboard.writer import FileWriter

from fer_lightning.files import write_atomic
from fer_lightning.search.space import Compose, Value, hydra_text
from fer_lightning.search.study import FOLDER, FOLDS, OBJECTIVES, Outcome, Study, attempts
from fer_lightning.settings import TrainSettings, dump, flatten
from fer_lightning.settings.labels import labels_text

BEST, TRIALS, HPARAMS = "best.yaml", "trials.csv", "hparams"
GROUPS = ("data", "model", "optimizer", "schedule")
OF_THE_SEARCH = ("cv.", "resume", "draw.")


def best_trials(study: Study) -> list[FrozenTrial]:
    """The complete trials, the best first by the first objective; of several objectives, the Pareto front alone."""
    complete = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if len(study.settings.objectives) > 1:
        front = {trial.number for trial in study.study.best_trials}
        complete = [trial for trial in complete if trial.number in front]
    sign = 1 if OBJECTIVES[study.settings.objectives[0]].direction == "minimize" else -1
    return sorted(complete, key=lambda trial: sign * trial.values[0])


def write_trials(study: Study) -> None:
    """trials.csv: one row a trial, with its state, objectives, settings, the score of each fold, and why it failed."""
    table = io.StringIO()
    names = ["trial", "state", *study.settings.objectives, *study.space.dimensions]
    writer = csv.writer(table)
    writer.writerow([*names, "cv/std", "fold_scores", "wall_seconds", "tries", "reason", "folder"])
    for trial in study.trials():
        kept = trial.user_attrs
        values = trial.values if trial.state == TrialState.COMPLETE else [""] * len(study.settings.objectives)
        settings = [trial.params.get(key, "") for key in study.space.dimensions]
        scores = " ".join(f"{fold['val/accuracy']:.6f}" for fold in kept.get(FOLDS, []))
        others = [kept.get("cv/std", ""), scores, kept.get("wall_seconds", ""), attempts(trial), kept.get("reason", "")]
        writer.writerow([trial.number, trial.state.name, *values, *settings, *others, FOLDER.format(trial.number)])
    write_atomic(study.folder / TRIALS, table.getvalue())


def write_best(study: Study, compose: Compose) -> TrainSettings | None:
    """best.yaml: the best setting as overrides, for `+best=PATH`; returns it for training, None without any.

    It names the choice of each group, what was searched, and each other key that has not its default.
    """
    if not (best := next(iter(best_trials(study)), None)):
        return None
    settings = compose(study.space.overrides(best.params), False)
    groups = [f"{group}={getattr(settings, group).name}" for group in GROUPS]
    usual, values = map(_flat, (compose(groups, True), settings))
    differing = [
        f"++{key}={hydra_text(value)}"
        for key, value in values.items()
        if (key in study.space.dimensions or key not in usual or usual[key] != value)
        and not key.startswith(OF_THE_SEARCH)
    ]
    pairs = zip(study.settings.objectives, best.values, strict=True)
    objectives = ", ".join(f"{name} {value:.6g}" for name, value in pairs)
    head = (
        f"# Trial {best.number}, the best of {len(study.trials())}: {objectives} ({settings.cv.folds} folds).\n"
        f"#   python -m fer_lightning.train +best={study.folder / BEST}\n"
    )
    content = yaml.safe_dump({"overrides": groups + differing}, allow_unicode=True, width=200)
    write_atomic(study.folder / BEST, head + content)
    return settings.model_copy(update={"cv": settings.cv.model_copy(update={"folds": 0}), "resume": False})


def _flat(settings: TrainSettings) -> dict[str, Any]:
    """Settings by their dotted keys; `data.labels`, whose names are the source's own, as one text."""
    values = flatten(dump(settings))
    if pairs := getattr(settings.data, "labels", None):
        values = {key: value for key, value in values.items() if not key.startswith("data.labels.")}
        values["data.labels"] = labels_text(dict(pairs))
    return values


def write_hyperparameters(
    folder: Path, settings: Mapping[str, Value], scores: Sequence[float], outcome: Outcome
) -> None:
    """Write a trial into `hparams/` of its sweep folder: settings, mean and deviation, accuracy of each fold."""
    place = folder.parent / HPARAMS / folder.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    writer = FileWriter(str(place))
    shown = {key: value if isinstance(value, int | float) else str(value) for key, value in settings.items()}
    for summary in hparams({**shown, "state": outcome.state.lower()}, {"cv/mean": 0.0, "cv/std": 0.0}):
        writer.add_summary(summary)
    for name in {"cv/mean", "cv/std"} & outcome.attributes.keys():
        writer.add_summary(scalar(name, float(outcome.attributes[name])), 0)
    for number, score in enumerate(scores, start=1):
        writer.add_summary(scalar("fold/accuracy", score), number)
    writer.close()
