"""Emotions of the faces of a video over time."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fer_lightning.figures.palette import COLOURS

PANELS = 8
"""Faces that are shown, those seen most often."""

BINS = 1200
"""Moments of the figure: of longer videos, each is a mean."""

GAP_SECONDS = 1.0
"""A face that was not seen for longer leaves its panel empty for this time."""


def emotion_timeline_figure(
    tracks: Mapping[int, tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
    seconds: float,
    title: str = "",
    step: float = 0.0,
) -> Figure:
    """A panel for each face: the probabilities of its emotions, one upon the other, over time; empty where it is away.

    tracks: of each face, by its number, when it was seen, seconds (N,), and its probabilities (N, classes). seconds:
    length of the video; step: usual time between two looks at a face, so that it is not taken for away between them.
    """
    shown = sorted(sorted(tracks, key=lambda one: -len(tracks[one][0]))[:PANELS])
    rows = max(1, len(shown))
    figure = Figure(figsize=(10, 1.35 + 1.3 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for number, axes in zip(shown, panels, strict=False):
        for times, values in _stretches(*tracks[number], max(GAP_SECONDS, 2.5 * step), seconds / BINS):
            axes.stackplot(times, values.T, colors=COLOURS, linewidth=0)
        axes.set_ylabel(f"face {number}", rotation=0, ha="right", va="center")
    for axes in panels:
        axes.set(xlim=(0, max(seconds, 1e-3)), ylim=(0, 1), yticks=(0, 0.5, 1), yticklabels=("0", "", "1"))
        axes.set_facecolor("#f6f6f6")
        axes.spines[["top", "right"]].set_visible(False)
    if not shown:
        panels[0].text(0.5, 0.5, "no face", transform=panels[0].transAxes, ha="center", va="center", color="#777777")
    panels[-1].set_xlabel("seconds" if seconds < 180 else "minutes : seconds")
    panels[-1].xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10] if seconds < 180 else [1, 1.5, 3, 6, 10]))
    if seconds >= 180:
        panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value // 60:.0f}:{value % 60:02.0f}"))
    hidden = f"; {len(tracks) - len(shown)} faces seen less often are left out" if len(tracks) > len(shown) else ""
    panels[0].set_title(f"{title}{'   ' if title else ''}probability of each emotion{hidden}", loc="left", fontsize=11)
    handles = [Patch(color=colour, label=name) for name, colour in zip(names, COLOURS, strict=True)]
    figure.legend(handles=handles[::-1], frameon=False, loc="outside right upper", handlelength=1, handleheight=1)
    return figure


def _stretches(times: np.ndarray, values: np.ndarray, gap: float, width: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """The parts without a gap, each reduced to one mean for every `width` seconds."""
    parts = []
    for part in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > gap) + 1):
        moments, sums = times[part], values[part]
        if len(part) > 1 and width > 0:
            bins = np.unique((moments - moments[0]) // width, return_inverse=True)[1]
            counts = np.bincount(bins)
            sums = np.stack([np.bincount(bins, column) / counts for column in sums.T], axis=1)
            ends = moments[0], moments[-1]
            moments = np.bincount(bins, moments) / counts
            moments[0], moments[-1] = ends
        if len(moments) == 1:  # seen once, or within one moment: as wide as can be seen
            moments, sums = moments + np.array([0.0, 4 * width]), np.repeat(sums, 2, axis=0)
        parts.append((moments, sums))
    return parts
