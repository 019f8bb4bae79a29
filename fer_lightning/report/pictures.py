"""Pictures that training and `fer_lightning.visualize` left in the runs: filters, activation maps, dreams, saliency."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.report.charts import OTHERS, Line, Panel
from fer_lightning.report.runs import Run


class Picture(NamedTuple):
    """A PNG, the name of its file without `.png`, and its caption."""

    name: str
    png: bytes
    caption: str


def drawn_confusion(run: Run) -> Picture | None:
    """The confusion matrix that was drawn nearest to the best epoch, for a run whose counts are unknown."""
    drawn = run.events.pictures.get("confusion_matrix/val")
    if not drawn:
        return None
    epoch = min(drawn, key=lambda epoch: abs(epoch - run.best_epoch))
    return Picture(f"confusion-{run.model}", drawn[epoch], f"`{run.model}`, val, epoch {epoch + 1}")


def filter_pictures(runs: Sequence[Run]) -> list[Picture]:
    """The first layer's filters of each run, in the first and in the last epoch that was drawn."""
    return [
        Picture(f"filters-{run.model}-epoch-{epoch + 1}", drawn[epoch], f"`{run.model}`, epoch {epoch + 1}")
        for run in runs
        for tag, drawn in run.events.pictures.items()
        if tag.startswith("filters/")
        for epoch in spread(drawn, 2)
    ]


def activation_pictures(run: Run) -> list[Picture]:
    """The activation maps of each conv layer, in three epochs from the first to the last that was drawn."""
    shown = []
    for layer in run.layers:
        drawn = run.events.pictures[f"activations/{layer}"]
        for epoch in spread(drawn, 3):
            name = f"activations-{run.model}-{layer}-epoch-{epoch + 1}"
            shown.append(Picture(name, drawn[epoch], f"{layer}, epoch {epoch + 1}"))
    return shown


def spread(epochs: Iterable[int], most: int) -> list[int]:
    """At most `most` (2 or more) of some epochs: the first, the last, and evenly between them."""
    known = sorted(epochs)
    return known if len(known) <= most else [known[round(k * (len(known) - 1) / (most - 1))] for k in range(most)]


def activation_panels(run: Run) -> list[Panel]:
    """Sparsity and locality of each conv layer over epochs, as far as they were measured."""
    panels = []
    for measure, title in (("sparsity", "share of zero activations"), ("locality", "locality (Hoyer's sparseness)")):
        lines = []
        for number, layer in enumerate(run.layers):
            if values := run.events.scalars.get(f"{measure}/{layer}"):
                epochs, colour = sorted(values), OTHERS[number % len(OTHERS)]
                lines.append(Line(layer, [k + 1 for k in epochs], [values[k] for k in epochs], colour))
        if lines:
            panels.append(Panel(title, lines, percent=measure == "sparsity"))
    return panels


def dream_pictures(run: Run) -> list[Picture]:
    """The dream of each emotion, with the probability of the emotion before and after."""
    shown, probabilities = [], run.events.tensors.get("deepdream_probabilities")
    for number, emotion in enumerate(EXPRESSIONS):
        if drawn := run.events.pictures.get(f"deepdream/{emotion}"):
            caption = emotion
            if probabilities:
                before, after = probabilities[max(probabilities)][:, number]
                caption += f": probability {before:.1%} before, {after:.1%} after"
            shown.append(Picture(f"deepdream-{run.model}-{emotion}", drawn[max(drawn)], caption))
    return shown


def visualizations(runs: Iterable[Run], captions: Mapping[str, str]) -> list[Picture]:
    """What `fer_lightning.visualize` drew of the first run that has any. captions: by file name without `.png`."""
    for run in runs:
        paths = {name: run.folder / "pictures" / f"{name}.png" for name in captions}
        there = {name: path.read_bytes() for name, path in paths.items() if path.exists()}
        if there:
            return [
                Picture(f"{name}-{run.model}", png, f"{captions[name]}: `{run.model}`") for name, png in there.items()
            ]
    return []
