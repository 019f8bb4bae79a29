"""Two networks against each other: the gain of one over the other, and their curves over epochs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from fer_lightning.errors import InputError
from fer_lightning.evaluation.metrics import mcnemar
from fer_lightning.evaluation.records import read_evaluation
from fer_lightning.report.charts import Line, Panel, colour_of
from fer_lightning.report.runs import Run


class Gain(NamedTuple):
    """One accuracy over another: the difference with its 95 % interval (None where unknown), the ratio less 1."""

    difference: float
    interval: tuple[float, float] | None
    relative: float


def gain(first: Run, second: Run) -> Gain:
    """Accuracy of one run over another. The interval takes the two for independent (Newcombe 1998, method 10)."""
    difference, interval = first.accuracy - second.accuracy, None
    if first.interval and second.interval:
        (low1, high1), (low2, high2) = first.interval, second.interval
        below = ((first.accuracy - low1) ** 2 + (high2 - second.accuracy) ** 2) ** 0.5
        above = ((high1 - first.accuracy) ** 2 + (second.accuracy - low2) ** 2) ** 0.5
        interval = (difference - below, difference + above)
    return Gain(difference, interval, first.accuracy / second.accuracy - 1 if second.accuracy else float("nan"))


def paired_test(first: Run, second: Run) -> dict[str, Any] | None:
    """McNemar's test of two runs, where both were evaluated on the same validation faces; else None."""
    if not first.validation or not second.validation:
        return None
    try:
        figures1, labels, probabilities1 = read_evaluation(first.validation.folder)
        figures2, _, probabilities2 = read_evaluation(second.validation.folder)
    except InputError:
        return None
    if figures1["images_sha256"] != figures2["images_sha256"]:
        return None
    return mcnemar(probabilities1.argmax(axis=1) == labels, probabilities2.argmax(axis=1) == labels)


def training_panels(runs: Sequence[Run]) -> list[Panel]:
    """Accuracy and loss of some runs over epochs, those on train dashed."""
    panels = []
    for quantity in ("accuracy", "loss"):
        lines = []
        for run in runs:
            epochs, colour = [epoch + 1 for epoch in run.history["epoch"]], colour_of(run.model)
            lines.append(Line(run.model, epochs, run.history[f"val/{quantity}"], colour))
            lines.append(Line("", epochs, run.history[f"train/{quantity}"], colour, dashed=True))
        panels.append(Panel(f"{quantity} on val, dashed on train", lines, percent=quantity == "accuracy"))
    return panels
