"""The report's charts: curves over epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

INK = "#6b7075"
"""Of axes and words: read on white as on black, and replaced by the page's own colour there."""

COLOURS = {
    "conv_shallow": "#dd8a29",
    "conv_deep": "#2f7fc1",
    "hybrid_shallow": "#b0568f",
    "hybrid_deep": "#2a9d77",
    "conv_poster": "#7a6fd0",
    "hybrid_poster": "#c04f4f",
    "fc": "#8a8f3c",
}
"""A network has the same colour in every chart; they are told apart on white and on black."""
OTHERS = ("#4f97a3", "#a3794f", "#7d9b4a", "#a05fb0", "#cc6f6f")


@dataclass(frozen=True)
class Line:
    """One curve: its name (none: not in the legend), the number of the epoch (from 1) and the value of each point."""

    name: str
    epochs: Sequence[float]
    values: Sequence[float]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart of several lines."""

    title: str
    lines: Sequence[Line]
    percent: bool = False


def colour_of(model: str) -> str:
    """The colour of a network's curves."""
    return COLOURS.get(model) or OTHERS[sum(map(ord, model)) % len(OTHERS)]


def curves(panels: Sequence[Panel], columns: int = 2) -> Figure:
    """Charts beside each other, one legend for each."""
    rows = -(-len(panels) // columns)
    columns = min(columns, len(panels))
    look: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    )
    with matplotlib.rc_context(look | {"font.size": 9.5, "axes.titlesize": 10.5}):
        figure = Figure(figsize=(4.9 * columns, 3.1 * rows), dpi=130, layout="constrained")
        for place, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, place + 1)
            for line in panel.lines:
                style: dict[str, Any] = (
                    {"linestyle": (0, (4, 2)), "linewidth": 1.4} if line.dashed else {"linewidth": 1.9}
                )
                few: dict[str, Any] = {"marker": "o", "markersize": 3} if len(line.epochs) <= 12 else {}
                axes.plot(line.epochs, line.values, color=line.colour, label=line.name or "_", **style, **few)
            axes.set_title(panel.title, loc="left")
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if panel.percent:
                axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.grid(color=INK, alpha=0.18, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.patch.set_visible(False)
            axes.legend(frameon=False, fontsize=8.5, loc="best")
        figure.patch.set_visible(False)
    return figure
