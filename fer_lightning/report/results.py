"""Results: every run with its interval, evaluations, seeds together, cross-validations."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

from fer_lightning.data.ferplus import NAME, TITLE, title_of
from fer_lightning.progress import duration
from fer_lightning.report.blocks import Block, Missing, Section, Table, Words
from fer_lightning.report.book import SOURCES, Book
from fer_lightning.report.runs import Run
from fer_lightning.scores import mean_and_sd


def results(book: Book) -> Section:
    """Tables of all that was measured, and what to keep in mind while reading them."""
    section = Section("results", "Results")
    if book.found.runs:
        section.blocks += [*training_tables(book.found.runs), *notes(book)]
    else:
        section.blocks.append(
            Missing("No training run is among these folders. This makes one:", book.command("conv_deep"))
        )
    section.blocks += [*seeds(book.found.runs), *evaluations(book), *cross_validations(book)]
    return section


def percent(share: float | None, digits: int = 2) -> str:
    return "" if share is None else f"{share:.{digits}%}"


def between(interval: tuple[float, float] | list[float] | None) -> str:
    """An interval in percent: `62.7 to 65.9 %`."""
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def apart(rows: dict[str, list[list[str]]]) -> Iterator[tuple[list[list[str]], str]]:
    """Rows by data set as one table, and those of FER+ as another: other labels, so never in one column."""
    if usual := [row for data, own in sorted(rows.items()) if data != NAME for row in own]:
        yield usual, ""
    if other := rows.get(NAME):
        yield other, f"{TITLE} labels, another task than FER2013's. "


def training_tables(runs: list[Run]) -> Iterator[Table]:
    """A row a run, the most accurate of a data set first."""
    headings = [
        "network",
        "data",
        "parameters",
        "epochs",
        "best at",
        "val accuracy",
        "95 % interval",
        "macro F1",
        "train",
    ]
    rows: dict[str, list[list[str]]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.data, -run.accuracy)):
        kept = run.metrics
        ended = f"{kept['epochs']}" if kept.get("finished", True) else f"{kept['epochs']}, unfinished"
        rows[run.data].append(
            [
                f"`{run.model}`\n{run.folder}",
                title_of(run.data),
                f"{kept['parameters']:,}" if "parameters" in kept else "",
                ended,
                str(kept["best_epoch"] + 1),
                percent(run.accuracy),
                between(run.interval),
                f"{kept['val/macro_f1']:.3f}",
                percent(kept["train/accuracy"], 1),
                str(kept["seed"]),
                duration(kept["seconds"]) if "seconds" in kept else "",
            ]
        )
    for held, labels in apart(rows):
        words = f"{labels}Best epoch by validation accuracy; Wilson's score interval."
        yield Table([*headings, "seed", "time"], held, words)


def notes(book: Book) -> Iterator[Words]:
    """How far these figures can be trusted."""
    yield Words(
        "The best epoch is chosen on the same validation faces that the accuracy is of, which flatters it a little. "
        "`fer_lightning.evaluate` scores a checkpoint on the test split, and without copies of training images."
    )
    if book.data == "fer2013":
        yield Words(
            "Validation is PublicTest. For comparison: always answering happy is right for 25 % of FER2013, people are "
            "for 65 ± 5 % (Goodfellow et al. 2013), and 7.8 % of PublicTest also stands in Training."
        )
    if any(run.data == "synthetic" for run in book.found.runs):
        yield Words("Synthetic faces are drawn by the program; accuracies on them say nothing about people.")


def seeds(runs: list[Run]) -> Iterator[Table]:
    """Mean and standard deviation over seeds, for networks that were trained with several."""
    groups: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for run in runs:
        seed, accuracies = run.metrics["seed"], groups[run.model, run.data]
        accuracies[seed] = max(run.accuracy, accuracies.get(seed, 0.0))
    rows: dict[str, list[list[str]]] = defaultdict(list)
    for (model, data), accuracies in groups.items():
        if len(accuracies) > 1:
            spread = mean_and_sd(list(accuracies.values()))
            rows[data].append(
                [f"`{model}`", title_of(data), str(len(accuracies)), percent(spread["mean"]), percent(spread["sd"])]
            )
    for held, labels in apart(rows):
        headings = ["network", "data", "seeds", "mean accuracy", "standard deviation"]
        yield Table(headings, held, f"{labels}Over seeds.")


def evaluations(book: Book) -> Iterator[Block]:
    """What `fer_lightning.evaluate` left in the runs."""
    rows: dict[str, list[list[str]]] = defaultdict(list)
    for run, (path, figures) in chain.from_iterable(((run, one) for one in run.evaluations) for run in book.found.runs):
        data = figures.get("data", run.data)
        rows[data].append(
            [
                f"`{figures.get('model', run.model)}`\n{path.parent}",
                title_of(data),
                figures["split"],
                figures.get("tta", "none"),
                percent(figures["accuracy"]),
                between(figures["accuracy_ci95"]),
                percent(figures.get("accuracy_unique")),
                f"{figures['macro_f1']:.3f}" if "macro_f1" in figures else "",
                f"{figures['ece']:.3f}" if "ece" in figures else "",
                f"{figures['n']:,}",
            ]
        )
    headings = ["network", "data", "split", "views", "accuracy", "95 % interval", "without copies", "macro F1", "ECE"]
    for held, labels in apart(rows):
        caption = "Evaluations. Without copies: of images that do not stand in train. ECE: expected calibration error."
        yield Table([*headings, "images"], held, labels + caption)
    if not rows and book.found.runs:
        best = max(book.found.runs, key=lambda run: run.accuracy)
        data = f"data={best.data}{SOURCES.get(best.data, '')}"
        yield Missing(
            "No run has been evaluated yet: accuracy without copies, calibration, the test split. This does it:",
            f"python -m fer_lightning.evaluate checkpoint={best.folder}/checkpoints/best.ckpt {data} split=val",
        )


def cross_validations(book: Book) -> Iterator[Table]:
    """Cross-validated settings with their spread."""
    rows: dict[str, list[list[str]]] = defaultdict(list)
    for one in book.found.validations:
        kept = one.metrics
        rows[kept["data"]].append(
            [
                f"`{kept['model']}`\n{one.folder}",
                title_of(kept["data"]),
                str(len(kept["cv/scores"])),
                percent(kept["cv/mean"]),
                percent(kept["cv/std"]),
                " ".join(percent(score, 1) for score in kept["cv/scores"]),
            ]
        )
    headings = ["network", "data", "folds", "mean accuracy", "standard deviation", "each fold"]
    for held, labels in apart(rows):
        yield Table(headings, held, f"{labels}Cross-validation on the training part.")
