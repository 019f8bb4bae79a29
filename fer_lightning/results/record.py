"""A result as docs/results keeps it: what was trained by which command, how good it is, where it was made."""

import json
import re
from pathlib import Path
from typing import Any

from pydantic import Field

from fer_lightning.errors import InputError
from fer_lightning.files import write_atomic
from fer_lightning.report.runs import Record


class Comparison(Record):
    """McNemar's test against the predictions of another evaluation, named by run folder and evaluation folder."""

    other: str = Field(alias="with")
    model: str
    only_first_right: int
    only_second_right: int
    p_value: float
    difference: float
    difference_ci95: tuple[float, float]


class Score(Record):
    """An `evaluation.json`; rows of the confusion matrix are the true expressions."""

    split: str
    tta: str
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    accuracy_unique: float | None
    n_unique: int | None
    macro_f1: float
    ece: float
    confusion_matrix: list[list[int]]
    checkpoint_sha256: str | list[str]
    command: str
    mcnemar: Comparison | None = None


class Training(Record):
    """A run's `metrics.json`."""

    seed: int
    parameters: int
    epochs: int
    best_epoch: int
    seconds: float
    images_per_second: float


class Machine(Record):
    """What computed, as `machine.provenance` names it."""

    processor: str
    cores: int
    threads: int
    gpu: str | None
    precision: str

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.gpu or f'{self.processor}, {threads}'}, {self.precision}"


class Activations(Record):
    """Sparsity and locality of each conv layer in some epochs (from 0), as TensorBoard has them."""

    epochs: list[int]
    sparsity: dict[str, list[float]]
    locality: dict[str, list[float]]


class Filters(Record):
    """Smoothness of the first layer's filters, as `adding.smoothness` measures it."""

    side: int
    filters: int
    autocorrelation: float
    of_noise: float
    smooth: int


class Result(Record):
    """A run with its evaluations; or an ensemble, which has evaluations alone."""

    name: str
    model: str
    overrides: list[str] = []
    settings: dict[str, Any] = {}
    metrics: Training | None = None
    history: dict[str, list[float]] = {}
    activations: Activations | None = None
    filters: Filters | None = None
    evaluations: list[Score]
    machine: Machine | None = None
    versions: dict[str, str] = {}
    commit: str | None = None

    def score(self, split: str, tta: str = "none") -> Score | None:
        """The evaluation on a split with a test-time augmentation."""
        return next((one for one in self.evaluations if (one.split, one.tta) == (split, tta)), None)


def read_results(folder: Path) -> list[Result]:
    """The results in a folder by name. Raises InputError."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return [Result.read(path, {}) for path in sorted(folder.glob("*.json"))]


def write_result(path: Path, content: dict[str, Any]) -> None:
    """Write a result atomically, each list and group of plain values on one line. Raises InputError."""
    text = json.dumps(content, indent=1)
    for innermost in (r"\[[^\[\]{}]*\]", r"\{[^\[\]{}]*\}"):
        text = re.sub(innermost, lambda found: " ".join(found[0].split()), text)
    write_atomic(path, text + "\n")
