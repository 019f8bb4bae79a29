"""Charts of curves over epochs, in colours that are read on white as on black."""

import hashlib
import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

INK = "#6b7075"
"""Of axes and words; `svg` replaces it by the colour of the text around the chart."""

COLOURS = {
    "conv_shallow": "#dd8a29",
    "conv_deep": "#2f7fc1",
    "hybrid_shallow": "#b0568f",
    "hybrid_deep": "#2a9d77",
    "conv_poster": "#7a6fd0",
    "hybrid_poster": "#c04f4f",
    "fc": "#8a8f3c",
}
OTHERS = ("#4f97a3", "#a3794f", "#7d9b4a", "#a05fb0", "#cc6f6f")


class Line(NamedTuple):
    """A curve: its name in the legend (empty: not there), epochs from 1, and the value of each."""

    name: str
    epochs: Sequence[float]
    values: Sequence[float]
    colour: str
    dashed: bool = False


class Panel(NamedTuple):
    """Several curves over one axis."""

    title: str
    lines: Sequence[Line]
    percent: bool = False


def colour_of(model: str) -> str:
    """The colour of a network's curves, the same in every chart."""
    return COLOURS.get(model) or OTHERS[sum(map(ord, model)) % len(OTHERS)]


def curves(panels: Sequence[Panel]) -> Figure:
    """Panels side by side, each with its legend."""
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    look: dict[Any, Any] = {**dict.fromkeys(inked, INK), "font.size": 9.5, "axes.titlesize": 10.5}
    with matplotlib.rc_context(look):
        figure = Figure(figsize=(4.9 * len(panels), 3.1), dpi=130, layout="constrained")
        figure.patch.set_visible(False)
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), place)
            for line in panel.lines:
                (curve,) = axes.plot(line.epochs, line.values, color=line.colour, label=line.name or "_", linewidth=1.9)
                if line.dashed:
                    curve.set(linestyle=(0, (4, 2)), linewidth=1.4)
                if len(line.epochs) <= 12:
                    curve.set(marker="o", markersize=3)
            axes.set_title(panel.title, loc="left")
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            if panel.percent:
                axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.grid(color=INK, alpha=0.18, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.patch.set_visible(False)
            axes.legend(frameon=False, fontsize=8.5, loc="best")
    return figure


def svg(figure: Figure, name: str) -> str:
    """A figure as inline SVG in the colour of the text around it. `name` keeps its ids apart from those of others."""
    content = io.StringIO()
    salt = hashlib.sha256(name.encode()).hexdigest()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    drawn = content.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(INK, "currentColor")
    drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'<g id="[^"]*">', "<g>", drawn)  # these ids are not salted and nothing refers to them
    opening = rf'<svg role="img" aria-label="{escape(name)}" viewBox="\1">'
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', opening, drawn, count=1)
