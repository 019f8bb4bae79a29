"""What the networks see: filters, activation maps over epochs, dreams, and what `fer_lightning.visualize` drew."""

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.report.blocks import Block, Chart, Missing, Picture, Row, Section, Table, Words
from fer_lightning.report.book import Book
from fer_lightning.report.charts import OTHERS, Line, Panel, curves
from fer_lightning.report.runs import Run

LOOKS = {
    "saliency": "Where it looks, face by face",
    "grad-cam-means": "Where it looks on average",
    "confused-pairs": "The most confused pairs",
    "mistakes": "The most confident mistakes",
    "doubtful-labels": "Labels that are probably wrong",
    "precision-recall": "Precision and recall",
    "reliability": "Reliability",
}
"""Pictures of `fer_lightning.visualize` that show more than training does."""


def nothing_drawn(book: Book, what: str) -> Missing:
    """There is no run with pictures: how to get one."""
    if any(run.model != "fc" for run in book.chosen.values()):
        words = f"{what}: these runs kept no pictures (`draw.every=0`?). This makes one that does:"
    else:
        words = f"{what}: no run of a network with conv layers on {book.data} is among these. This makes one:"
    return Missing(words, book.command("conv_poster"))


def some(epochs: list[int], most: int = 3) -> list[int]:
    """The first, the last, and evenly between them."""
    if len(epochs) <= most:
        return epochs
    return [epochs[round(number * (len(epochs) - 1) / (most - 1))] for number in range(most)]


def filter_section(book: Book) -> Section:
    """The first layer's filters of each network, at first and at last."""
    section = Section("filters", "Filters of the first layer")
    pictures: list[Block] = []
    for run in book.drawn:
        for tag, drawn in run.events.pictures.items():
            if tag.startswith("filters/"):
                for epoch in some(sorted(drawn), 2):
                    name = f"filters-{run.model}-epoch-{epoch + 1}"
                    pictures.append(Picture(name, drawn[epoch], f"`{run.model}`, epoch {epoch + 1}"))
    if pictures:
        words = "Each filter is scaled by itself; mid grey is zero. The poster's are smooth, without noise."
        section.blocks += [Words(words), Row(pictures, 26)]
    else:
        section.blocks.append(nothing_drawn(book, "Filters"))
    return section


def activation_section(book: Book) -> Section:
    """Activation maps of every layer of the best network over epochs, and the curves of sparsity and locality."""
    section = Section("activations", "Activation maps as training goes on")
    for run in book.drawn[:1]:
        section.blocks.append(
            Words(
                f"`{run.model}`: a validation face of each emotion, and its maps of the first filters. Black is zero; "
                "a filter has one scale for all faces of a picture."
            )
        )
        for layer in run.layers:
            drawn = run.events.pictures[f"activations/{layer}"]
            for epoch in some(sorted(drawn)):
                name = f"activations-{run.model}-{layer}-epoch-{epoch + 1}"
                section.blocks.append(Picture(name, drawn[epoch], f"{layer}, epoch {epoch + 1}"))
    for run in book.drawn:
        section.blocks += sparsity(run)
    if not section.blocks:
        section.blocks.append(nothing_drawn(book, "Activation maps"))
    return section


def sparsity(run: Run) -> list[Block]:
    """The poster's claim, "sparser and more localised", as curves and as first and last values."""
    panels, rows = [], []
    for measure, title in (("sparsity", "share of zero activations"), ("locality", "locality (Hoyer's sparseness)")):
        lines = []
        for number, layer in enumerate(run.layers):
            curve = sorted(run.events.scalars.get(f"{measure}/{layer}", {}).items())
            if curve:
                epochs, values = [epoch + 1 for epoch, _ in curve], [value for _, value in curve]
                lines.append(Line(layer, epochs, values, OTHERS[number % len(OTHERS)]))
                rows.append([layer, title, f"{values[0]:.3f}", f"{values[-1]:.3f}", f"{values[-1] - values[0]:+.3f}"])
        if lines:
            panels.append(Panel(f"{run.model}: {title}", lines, percent=measure == "sparsity"))
    if not panels:
        return []
    headings = ["layer", "measure", "first epoch", "last epoch", "change"]
    return [
        Chart(f"sparsity-{run.model}", curves(panels), "Of the same faces in every epoch, before pooling."),
        Table(
            headings, rows, f"`{run.model}`: the poster says sparser and more localised, which would be rising values."
        ),
    ]


def dream_section(book: Book) -> Section:
    """A real face dreamed towards each emotion by the best network that has dreams."""
    section = Section("dreams", "DeepDream of each emotion")
    ranked = sorted(book.chosen.values(), key=lambda run: -run.accuracy)
    for run in ranked:
        pictures: list[Block] = []
        reached = run.events.tensors.get("deepdream_probabilities", {})
        for number, emotion in enumerate(EXPRESSIONS):
            if png := run.events.last_picture(f"deepdream/{emotion}"):
                words = emotion
                if reached:
                    before, after = reached[max(reached)][:, number]
                    words += f": probability {before:.1%} before, {after:.1%} after"
                pictures.append(Picture(f"deepdream-{run.model}-{emotion}", png, words))
        if pictures:
            words = "the real face, the face dreamed towards an emotion, and the change (red brighter, blue darker)."
            section.blocks += [Words(f"`{run.model}`: {words}"), Row(pictures, 30)]
            return section
    section.blocks.append(nothing_drawn(book, "Dreams"))
    return section


def look_section(book: Book) -> Section:
    """Saliency and errors of the best network, as `fer_lightning.visualize` drew them."""
    section = Section("looks", "Where it looks and where it errs")
    for run in sorted(book.chosen.values(), key=lambda run: -run.accuracy):
        paths = {name: run.folder / "pictures" / f"{name}.png" for name in LOOKS}
        there = [name for name, path in paths.items() if path.exists()]
        if there:
            for name in there:
                picture = Picture(f"{name}-{run.model}", paths[name].read_bytes(), f"{LOOKS[name]}: `{run.model}`")
                section.blocks.append(picture)
            return section
    best = max(book.chosen.values(), key=lambda run: run.accuracy, default=None)
    checkpoint = f"{best.folder}/checkpoints/best.ckpt" if best else "runs/R/checkpoints/best.ckpt"
    section.blocks.append(
        Missing(
            "Grad-CAM, occlusion, mistakes and doubtful labels are not drawn in training. This draws them:",
            f"python -m fer_lightning.visualize checkpoint={checkpoint}",
        )
    )
    return section
