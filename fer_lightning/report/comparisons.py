"""Two networks against each other: their curves, and how much one gains over the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fer_lightning.errors import InputError
from fer_lightning.evaluation_files import read_evaluation
from fer_lightning.report.blocks import Chart, Section, Table, Words
from fer_lightning.report.book import Book
from fer_lightning.report.charts import Line, Panel, colour_of, curves
from fer_lightning.report.results import percent
from fer_lightning.report.runs import Run
from fer_lightning.scores import mcnemar

POSTER = {"shallow": 0.55, "deep": 0.6515, "gain": 0.1846}
"""Validation accuracies in the paper, and its "+18.46 %" of deep over shallow, which is their ratio."""


class Gain(NamedTuple):
    """One accuracy over another: the difference with its 95 % interval (None where unknown), the ratio less 1."""

    difference: float
    interval: tuple[float, float] | None
    relative: float


def gain(better: Run, worse: Run) -> Gain:
    """Accuracy of one run over another. The interval takes the two for independent (Newcombe 1998, method 10)."""
    first, second = better.accuracy, worse.accuracy
    interval = None
    if better.interval and worse.interval:
        (low1, high1), (low2, high2) = better.interval, worse.interval
        below = ((first - low1) ** 2 + (high2 - second) ** 2) ** 0.5
        above = ((high1 - first) ** 2 + (second - low2) ** 2) ** 0.5
        interval = (first - second - below, first - second + above)
    return Gain(first - second, interval, first / second - 1 if second else float("nan"))


def paired(first: Run, second: Run) -> dict[str, Any] | None:
    """McNemar's test of two runs, where both were evaluated on the same validation faces; else None."""
    answers = [validation_answers(run) for run in (first, second)]
    if answers[0] is None or answers[1] is None or answers[0][0] != answers[1][0]:
        return None
    return mcnemar(answers[0][1], answers[1][1])


def validation_answers(run: Run) -> tuple[str, Any] | None:
    for path, figures in run.evaluations:
        if figures["split"] == "val" and figures.get("tta") == "none":
            try:
                kept, labels, probabilities = read_evaluation(Path(path))
            except InputError:
                return None
            return kept["images_sha256"], probabilities.argmax(axis=1) == labels
    return None


def curve_panels(runs: list[Run]) -> list[Panel]:
    """Accuracy and loss of some runs over epochs, on train dashed."""
    panels = []
    for quantity in ("accuracy", "loss"):
        lines = []
        for run in runs:
            epochs = [epoch + 1 for epoch in run.history["epoch"]]
            for split in ("val", "train"):
                values = run.history[f"{split}/{quantity}"]
                dashed = split == "train"
                lines.append(Line("" if dashed else run.model, epochs, values, colour_of(run.model), dashed))
        panels.append(Panel(f"{quantity} on val, dashed on train", lines, percent=quantity == "accuracy"))
    return panels


def curve_section(book: Book) -> Section:
    """Accuracy and loss of the shallow and the deep network, and of all networks."""
    section = Section("curves", "Shallow against deep, epoch by epoch")
    pair = [book.chosen[model] for model in ("conv_shallow", "conv_deep") if model in book.chosen]
    if pair:
        section.blocks.append(Chart("curves-shallow-deep", curves(curve_panels(pair))))
        section.blocks += [gap(pair)]
    if missing := book.missing("Shallow against deep", "conv_shallow", "conv_deep"):
        section.blocks.append(missing)
    others = [run for run in book.chosen.values() if run not in pair]
    if others:
        section.blocks.append(Chart("curves-others", curves(curve_panels(others)), "The other networks."))
    return section


def gap(runs: list[Run]) -> Table:
    """How far train and validation are apart at the end: how much each network overfits."""
    rows = []
    for run in runs:
        train, val = (run.history[f"{split}/accuracy"][-1] for split in ("train", "val"))
        peak = max(range(len(run.history["epoch"])), key=lambda row: run.history["val/accuracy"][row])
        rows.append(
            [f"`{run.model}`", percent(train, 1), percent(val, 1), f"{100 * (train - val):+.1f} points", str(peak + 1)]
        )
    headings = ["network", "train, last epoch", "val, last epoch", "train less val", "best epoch"]
    return Table(
        headings, rows, "Overfitting: train accuracy is of the faces as they were shown, augmented, under dropout."
    )


def gain_section(book: Book) -> Section:
    """The poster's gain of deep over shallow, beside ours."""
    section = Section("gain", "Gain of deep over shallow")
    if missing := book.missing("Gain of deep over shallow", "conv_shallow", "conv_deep"):
        section.blocks.append(missing)
        return section
    deep, shallow = book.chosen["conv_deep"], book.chosen["conv_shallow"]
    section.blocks.append(gain_table([("deep over shallow", deep, shallow)], paper=True))
    section.blocks += [*paired_words(deep, shallow)]
    section.blocks.append(
        Words(
            "The poster's “+18.46 %” is the relative gain: 65.15 / 55 less 1. The difference is in percentage points."
        )
    )
    return section


def gain_table(pairs: list[tuple[str, Run, Run]], paper: bool = False) -> Table:
    """A row for each pair: both accuracies, the difference with its interval, the relative gain."""
    rows = []
    for name, first, second in pairs:
        of = gain(first, second)
        spread = "" if of.interval is None else f"{100 * of.interval[0]:+.1f} to {100 * of.interval[1]:+.1f}"
        difference = f"{100 * of.difference:+.2f}"
        rows.append(
            [name, percent(first.accuracy), percent(second.accuracy), difference, spread, f"{of.relative:+.2%}"]
        )
    if paper:
        deep, shallow = POSTER["deep"], POSTER["shallow"]
        points = f"{100 * (deep - shallow):+.2f}"
        rows.append(["the paper's", percent(deep), percent(shallow), points, "", f"{POSTER['gain']:+.2%}"])
    return Table(
        ["", "the first's accuracy", "the second's", "difference, points", "95 % interval", "relative gain"], rows
    )


def paired_words(first: Run, second: Run) -> Iterator[Words]:
    if test := paired(first, second):
        yield Words(
            f"On the same faces only `{first.model}` is right {test['only_first_right']:,} times, only "
            f"`{second.model}` {test['only_second_right']:,} times: McNemar's exact test, p = {test['p_value']:.2g}."
        )


def hybrid_section(book: Book) -> Section:
    """HOG beside the conv features, against pixels alone."""
    section = Section("hybrid", "Hybrid against raw pixels")
    pairs: list[tuple[str, Run, Run]] = []
    for size in ("shallow", "deep", "poster"):
        hybrid, raw = f"hybrid_{size}", f"conv_{size}"
        if hybrid in book.chosen and raw in book.chosen:
            pairs.append((size, book.chosen[hybrid], book.chosen[raw]))
            section.blocks.append(
                Chart(f"curves-hybrid-{size}", curves(curve_panels([*pairs[-1][1:]])), f"{size}: with HOG and without")
            )
    if pairs:
        section.blocks.append(
            gain_table([(f"{size}: hybrid over raw", first, second) for size, first, second in pairs])
        )
        section.blocks += [words for _, first, second in pairs for words in paired_words(first, second)]
        section.blocks.append(Words("The paper found the hybrid networks about equal to those on raw pixels."))
    needed = ("conv_shallow", "hybrid_shallow", "conv_deep", "hybrid_deep")
    if missing := book.missing("Hybrid against raw", *needed):
        section.blocks.append(missing)
    return section
