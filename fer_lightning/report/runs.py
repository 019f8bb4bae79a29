"""A run as a report sees it, read from its folder."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fer_lightning.data.ferplus import prefix_of, unprefixed
from fer_lightning.errors import InputError
from fer_lightning.report.events import Events, read_events
from fer_lightning.scores import wilson_interval

METRICS, HISTORY = "metrics.json", "history.csv"


@dataclass(frozen=True)
class Run:
    """A training run: its best epoch and totals (`metrics.json`), and every epoch (`history.csv`)."""

    folder: Path
    metrics: dict[str, Any]
    history: dict[str, list[float]]

    @property
    def model(self) -> str:
        return self.metrics["model"]

    @property
    def data(self) -> str:
        return self.metrics["data"]

    @property
    def accuracy(self) -> float:
        """Of the best epoch on the validation faces."""
        return self.metrics["val/accuracy"]

    @property
    def faces(self) -> int | None:
        """Number of validation faces, None where the run did not get far enough to say."""
        return self.metrics.get("split_sizes", {}).get("val")

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(round(self.accuracy * self.faces), self.faces) if self.faces else None

    @cached_property
    def events(self) -> Events:
        return read_events(self.folder / "tensorboard")

    @cached_property
    def evaluations(self) -> list[tuple[Path, dict[str, Any]]]:
        """Every `evaluation.json` of `fer_lightning.evaluate` in the run's folder, with its path.

        FER+ evaluations of a run on FER2013's labels are left out, as are FER2013's of a run on FER+: other tasks.
        """
        paths = sorted([*self.folder.glob("evaluation.json"), *self.folder.glob("*/evaluation.json")])
        needed = ("split", "n", "accuracy", "accuracy_ci95", "confusion_matrix")
        found = [(path, read_json(path, needed)) for path in paths]
        return [one for one in found if prefix_of(one[1].get("data", "")) == prefix_of(self.data)]

    @cached_property
    def confusion(self) -> np.ndarray | None:
        """Counts on the validation faces: of the evaluation of best.ckpt, else of the best epoch while training."""
        for _, figures in self.evaluations:
            if figures["split"] == "val" and figures.get("tta", "none") == "none":
                return np.array(figures["confusion_matrix"])
        return self.events.tensors.get("confusion_counts/val", {}).get(self.metrics["best_epoch"])

    @property
    def layers(self) -> list[str]:
        """The conv layers whose activation maps were drawn."""
        return [tag.partition("/")[2] for tag in self.events.pictures if tag.startswith("activations/")]


@dataclass(frozen=True)
class CrossValidation:
    """A cross-validated setting: mean, standard deviation and folds (`metrics.json`)."""

    folder: Path
    metrics: dict[str, Any]


def read_run(folder: Path) -> Run:
    """A run that ended, or as far as it came."""
    history: dict[str, list[float]] = {}
    try:
        with open(folder / HISTORY, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    history.setdefault(name, []).append(float(value))
        history = unprefixed(history)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / HISTORY}: not the history of a run ({error})") from error
    if (folder / METRICS).exists():
        needed = ("model", "data", "val/accuracy", "val/macro_f1", "train/accuracy", "best_epoch", "epochs", "seed")
        return Run(folder, read_json(folder / METRICS, needed), history)
    if not history.get("val/accuracy"):
        raise InputError(f"{folder}: this run has not ended its first epoch")
    return Run(folder, so_far(folder, history), history)


def so_far(folder: Path, history: dict[str, list[float]]) -> dict[str, Any]:
    """What metrics.json would hold of a run that is not finished."""
    try:
        config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
        names = {"model": config["model"]["name"], "data": config["data"]["name"], "seed": config["seed"]}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: no {METRICS}, and .hydra/config.yaml does not say what was trained") from error
    best = max(range(len(history["val/accuracy"])), key=lambda row: history["val/accuracy"][row])
    return {
        **names,
        **{name: values[best] for name, values in history.items() if "/" in name},
        "best_epoch": int(history["epoch"][best]),
        "epochs": len(history["epoch"]),
        "seconds": sum(history["seconds"]),
        "finished": False,
    }


def read_json(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    """A JSON file that holds these keys, with or without the prefix of FER+; InputError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content = unprefixed(content) if isinstance(content, dict) else content
        missing = [key for key in needed if key not in content]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if missing:
        raise InputError(f"{path}: not written by this project; it holds no {', '.join(missing)}")
    return content
