"""Training runs and cross-validations, read from their folders."""

import csv
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_lightning.data.ferplus import prefix_of, unprefixed
from fer_lightning.errors import InputError
from fer_lightning.evaluation.metrics import wilson_interval
from fer_lightning.report.events import Events, read_events

METRICS, HISTORY = "metrics.json", "history.csv"
QUANTITIES = ("val/accuracy", "val/loss", "val/macro_f1", "train/accuracy", "train/loss")


class Record(BaseModel):
    """What a JSON file of this project holds. Keys that the report does not use are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def read(cls, path: Path, defaults: Mapping[str, Any]) -> Self:
        """The record in a JSON file, whose keys may have the prefix of FER+. Raises InputError."""
        try:
            return cls.model_validate({**defaults, **unprefixed(json.loads(path.read_text(encoding="utf-8")))})
        except ValidationError as error:
            missing = [str(one["loc"][0]) for one in error.errors() if one["type"] == "missing"]
            wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            reason = f"it holds no {', '.join(missing)}" if missing else wrong[0]
            raise InputError(f"{path}: not written by this project; {reason}") from error
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from error


class Evaluation(Record):
    """`evaluation.json` of `fer_lightning.evaluate`; what older files lack is empty."""

    folder: Path
    split: str
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    confusion_matrix: list[list[int]]
    model: str
    data: str
    tta: str = "none"
    accuracy_unique: float | None = None
    macro_f1: float | None = None
    ece: float | None = None


class CrossValidation(Record):
    """`metrics.json` of a cross-validation: mean, standard deviation and score of each fold."""

    folder: Path
    model: str
    data: str
    mean: float = Field(alias="cv/mean")
    std: float = Field(alias="cv/std")
    scores: list[float] = Field(alias="cv/scores")


class Run(Record):
    """A training run: best epoch by validation accuracy and totals (`metrics.json`), all epochs (`history.csv`)."""

    folder: Path
    history: dict[str, list[float]]
    model: str
    data: str
    seed: int
    accuracy: float = Field(alias="val/accuracy")
    macro_f1: float = Field(alias="val/macro_f1")
    train_accuracy: float = Field(alias="train/accuracy")
    best_epoch: int
    epochs: int
    finished: bool = True
    parameters: int | None = None
    seconds: float | None = None
    split_sizes: dict[str, int] = {}

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the accuracy; None where the number of validation faces is unknown."""
        faces = self.split_sizes.get("val")
        return wilson_interval(round(self.accuracy * faces), faces) if faces else None

    @cached_property
    def events(self) -> Events:
        """Scalars, pictures and tensors of the run's TensorBoard files."""
        return read_events(self.folder / "tensorboard")

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations in the run's folder, without those on labels of another task than the run's (FER+)."""
        paths = sorted([*self.folder.glob("evaluation.json"), *self.folder.glob("*/evaluation.json")])
        defaults = {"model": self.model, "data": self.data}
        found = [Evaluation.read(path, {"folder": path.parent, **defaults}) for path in paths]
        return [evaluation for evaluation in found if prefix_of(evaluation.data) == prefix_of(self.data)]

    @property
    def validation(self) -> Evaluation | None:
        """The evaluation on the validation split without test-time augmentation."""
        return next((one for one in self.evaluations if (one.split, one.tta) == ("val", "none")), None)

    @property
    def confusion(self) -> np.ndarray | None:
        """Counts on the validation faces, rows true: of `validation`, else of the best epoch in training, or None."""
        if self.validation:
            return np.array(self.validation.confusion_matrix)
        return self.events.tensors.get("confusion_counts/val", {}).get(self.best_epoch)

    @property
    def layers(self) -> list[str]:
        """The conv layers whose activation maps were drawn."""
        return [tag.partition("/")[2] for tag in self.events.pictures if tag.startswith("activations/")]

    @property
    def dreamed(self) -> bool:
        """Whether dreams of the emotions were drawn."""
        return any(tag.startswith("deepdream/") for tag in self.events.pictures)


def read_run(folder: Path) -> Run:
    """The run in a folder, finished or not. Raises InputError for damaged files and before the end of epoch 1."""
    history = read_history(folder / HISTORY)
    accuracies = history["val/accuracy"]
    if not accuracies:
        raise InputError(f"{folder}: this run has not ended its first epoch")
    if (folder / METRICS).exists():
        return Run.read(folder / METRICS, {"folder": folder, "history": history})
    try:
        config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
        settings = {"model": config["model"]["name"], "data": config["data"]["name"], "seed": config["seed"]}
        best = accuracies.index(max(accuracies))
        totals = {"best_epoch": history["epoch"][best], "epochs": len(accuracies), "seconds": sum(history["seconds"])}
        quantities = {name: history[name][best] for name in QUANTITIES}
        run = {"folder": folder, "history": history, "finished": False, **settings, **totals, **quantities}
        return Run.model_validate(run)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: no {METRICS}, and .hydra/config.yaml does not say what was trained") from error


def read_history(path: Path) -> dict[str, list[float]]:
    """The columns of a run's `history.csv`: one value an epoch. Raises InputError."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file)
        history = unprefixed({name: [float(row[column]) for row in rows] for column, name in enumerate(names)})
        if missing := {"epoch", "seconds", *QUANTITIES} - history.keys():
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        return history
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not the history of a run ({error})") from error
