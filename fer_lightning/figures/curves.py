"""Precision-recall curves and the reliability diagram."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import PrecisionRecallDisplay
from torch import Tensor

from fer_lightning.figures.palette import COLOURS


def precision_recall_figure(probabilities: Tensor, labels: Tensor, names: Sequence[str], title: str = "") -> Figure:
    """A curve for each class against all others, classes without faces left out; the title gives the mean of the areas.

    probabilities: (N, classes); labels: (N,). The legend gives each class's average precision, the best first.
    """
    figure = Figure(figsize=(7, 5), dpi=110, layout="constrained")
    axes, present = figure.add_subplot(), labels.unique().tolist()
    axes.set_prop_cycle(color=[COLOURS[number % len(COLOURS)] for number in present])
    curves = [
        PrecisionRecallDisplay.from_predictions(
            (labels == number).numpy(), probabilities[:, number].numpy(), name=names[number], ax=axes
        )
        for number in present
    ]
    curves.sort(key=lambda curve: -curve.average_precision)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", aspect="auto")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(handles=[curve.line_ for curve in curves], frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    mean = fmean(curve.average_precision for curve in curves)
    axes.set_title(f"{title}{'   ' if title else ''}mean AP {mean:.3f}", loc="left", fontsize=11)
    return figure


def reliability_figure(
    confidence: np.ndarray, accuracy: np.ndarray, images: np.ndarray, ece: float, title: str = ""
) -> Figure:
    """Accuracy over confidence, beside the diagonal of perfect calibration; below, the number of images in each bin.

    confidence, accuracy: means over each of the bins, which have equal width, NaN where one holds no image; images:
    numbers of images. ece: the expected calibration error, for the title.
    """
    figure = Figure(figsize=(5.6, 6.2), dpi=110, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    centres, width = (np.arange(len(images)) + 0.5) / len(images), 0.94 / len(images)
    above.bar(centres, np.nan_to_num(accuracy), width=width, color="#4878a8", label="accuracy")
    above.plot([0, 1], [0, 1], color="#888888", linestyle="--", linewidth=1, label="perfect calibration")
    above.plot(confidence, accuracy, "o", color="#c2452d", markersize=4, label="mean confidence of a bin")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    above.legend(frameon=False, loc="upper left", fontsize=9)
    below.bar(centres, images, width=width, color="#999999")
    below.set(xlabel="confidence: probability of the predicted emotion", ylabel="images")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    above.set_title(f"{title}{'   ' if title else ''}ECE {ece:.3f}", loc="left", fontsize=11)
    return figure
