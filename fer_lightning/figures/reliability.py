"""The reliability diagram: is the network right as often as it says?"""

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor


class Reliability(NamedTuple):
    """Of each confidence bin: mean confidence, share of right answers (NaN in an empty bin), number of faces; `ece`.

    Bin k of n holds confidences above k / n, up to and with (k + 1) / n. ece: expected calibration error, the mean
    distance of the two, weighted by the bins' faces (Guo et al., ICML 2017, eq. 3).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    faces: np.ndarray
    ece: float


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Bins of equal width of the predicted class's probability. probabilities: (N, classes); labels: (N,)."""
    confidence, predicted = probabilities.double().cpu().max(dim=1)
    right = (predicted == labels.cpu()).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1]
    numbers = torch.bucketize(confidence, edges)
    faces = torch.bincount(numbers, minlength=bins)
    sums = [torch.bincount(numbers, weights=values, minlength=bins) for values in (confidence, right)]
    mean_confidence, accuracy = (total / faces for total in sums)
    distance = (sums[0] - sums[1]).abs().sum() / max(len(labels), 1)
    return Reliability(mean_confidence.numpy(), accuracy.numpy(), faces.numpy(), float(distance))


def reliability_figure(measured: Reliability, title: str = "") -> Figure:
    """Accuracy over confidence, with the line of a network that is right as often as it says; faces in each bin."""
    figure = Figure(figsize=(5.6, 6.2), dpi=110, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    bins = len(measured.faces)
    held = measured.faces > 0
    centres = (np.arange(bins)[held] + 0.5) / bins
    above.bar(centres, measured.accuracy[held], width=0.94 / bins, color="#4878a8", label="right answers")
    above.plot([0, 1], [0, 1], color="#888888", linestyle="--", linewidth=1, label="as often as it says")
    points = (measured.confidence[held], measured.accuracy[held])
    above.plot(*points, "o", color="#c2452d", markersize=4, label="mean of a bin")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of right answers")
    above.legend(frameon=False, loc="upper left", fontsize=9)
    below.bar(centres, measured.faces[held], width=0.94 / bins, color="#999999")
    below.set(xlabel="confidence: probability of the predicted emotion", ylabel="faces")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    above.set_title(f"{title}{'   ' if title else ''}ECE {measured.ece:.3f}", loc="left", fontsize=11)
    return figure
