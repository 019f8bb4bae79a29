"""Confusion matrices of the runs side by side, and what is confused most."""

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.report.blocks import Block, Matrix, Missing, Picture, Row, Section, Table
from fer_lightning.report.book import SOURCES, Book
from fer_lightning.report.results import percent
from fer_lightning.figures.mistakes import confused_pairs

FIRST = ("conv_shallow", "conv_deep")


def confusion_section(book: Book) -> Section:
    """A matrix for each network, the poster's two first."""
    section = Section("confusion", "Confusion matrices")
    models = [model for model in FIRST if model in book.chosen] + [name for name in book.chosen if name not in FIRST]
    shown: list[Block] = []
    rows = []
    for model in models:
        run = book.chosen[model]
        if run.confusion is not None:
            shown.append(Matrix(f"confusion-{model}", run.confusion, f"`{model}`, val"))
            for pair in confused_pairs(run.confusion, most=3):
                words = f"{EXPRESSIONS[pair.true]} taken for {EXPRESSIONS[pair.predicted]}"
                rows.append([f"`{model}`", words, percent(pair.share, 0), f"{pair.faces:,}"])
        elif drawn := run.events.pictures.get("confusion_matrix/val"):
            epoch = min(drawn, key=lambda epoch: abs(epoch - run.metrics["best_epoch"]))
            shown.append(Picture(f"confusion-{model}", drawn[epoch], f"`{model}`, val, epoch {epoch + 1}"))
        else:
            shown.append(
                Missing(
                    f"`{model}`: this run kept no confusion matrix. This makes one:",
                    f"python -m fer_lightning.evaluate checkpoint={run.folder}/checkpoints/best.ckpt data={run.data}"
                    + SOURCES.get(run.data, ""),
                )
            )
    if shown:
        section.blocks.append(Row(shown, 32))
    if rows:
        headings = ["network", "most confused", "of the true emotion's faces", "faces"]
        section.blocks.append(Table(headings, rows, left=True))
    if missing := book.missing("Confusion matrices of the poster", *FIRST):
        section.blocks.append(missing)
    return section
