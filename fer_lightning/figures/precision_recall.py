"""Precision-recall curves, one for each emotion against all others."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, precision_recall_curve

COLOURS = ("#c2452d", "#7a9a3b", "#8a5aa8", "#e0a21b", "#4878a8", "#2f9a8f", "#777777")
"""One for each emotion, told apart in print and by most colour-blind readers through their order in the legend too."""


def average_precisions(probabilities: np.ndarray, labels: np.ndarray) -> list[float]:
    """Area under each class's curve, as scikit-learn's `average_precision_score`; NaN for a class without faces."""

    def area(number: int) -> float:
        own = labels == number
        return float(average_precision_score(own, probabilities[:, number])) if own.any() else float("nan")

    return [area(number) for number in range(probabilities.shape[1])]


def precision_recall_figure(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str], title: str = ""
) -> Figure:
    """probabilities: (N, classes); labels: (N,). The legend gives each class's average precision, the best first."""
    figure = Figure(figsize=(7, 5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    areas = average_precisions(probabilities, labels)
    for number in sorted(range(len(names)), key=lambda number: -np.nan_to_num(areas[number])):
        if np.isnan(areas[number]):
            continue
        precision, recall, _ = precision_recall_curve(labels == number, probabilities[:, number])
        words = f"{names[number]}  {areas[number]:.2f}"
        axes.step(recall, precision, where="post", label=words, color=COLOURS[number % len(COLOURS)], linewidth=1.6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="average precision", frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.set_title(f"{title}{'   ' if title else ''}mean {np.nanmean(areas):.3f}", loc="left", fontsize=11)
    return figure
