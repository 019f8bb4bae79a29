"""The confusion matrix as a figure: shares of each true expression, and the counts behind them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def confusion_figure(matrix: np.ndarray, names: Sequence[str], title: str = "") -> Figure:
    """matrix: (classes, classes) counts, rows true, columns predicted; an empty row stays blank.

    Each cell shows the percentage of its row and, smaller, the count; the title gives the accuracy.
    """
    matrix = np.asarray(matrix)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    accuracy = np.trace(matrix) / max(matrix.sum(), 1)
    figure = Figure(figsize=(7.2, 6.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            colour = "white" if shares[row, column] > 0.5 else "black"
            weight = "bold" if row == column else "normal"
            place: dict[str, Any] = {"ha": "center", "color": colour}
            share, count = f"{shares[row, column]:.0%}", f"{matrix[row, column]:,}"
            axes.text(column, row - 0.05, share, va="center", fontsize=11, weight=weight, **place)
            axes.text(column, row + 0.27, count, va="center", fontsize=7, alpha=0.8, **place)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    true = [f"{name} ({int(total):,})" for name, total in zip(names, totals[:, 0], strict=True)]
    axes.set_yticks(range(len(names)), true)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (images)")
    title += "   " if title else ""
    axes.set_title(f"{title}accuracy {accuracy:.2%} of {matrix.sum():,}", loc="left", fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
