"""Mistakes of a network: the most confident ones, the most confused pairs, and labels that are probably wrong."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fer_lightning.figures.sheets import contact_sheet, faces_to_rgb

COLUMNS = 8
"""Faces in a row of the sheet."""


class Pair(NamedTuple):
    """Faces of one emotion that were classified as another: their number, and share of the true emotion's faces."""

    true: int
    predicted: int
    faces: int
    share: float


def confident_mistakes(probabilities: Tensor, labels: Tensor, most: int = 24) -> Tensor:
    """Rows of the wrongly classified faces, the most confident first. probabilities: (N, 7); labels: (N,)."""
    confidence, predicted = probabilities.max(dim=1)
    wrong = (predicted != labels).nonzero()[:, 0]
    return wrong[confidence[wrong].argsort(descending=True, stable=True)][:most]


def probably_mislabelled(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Rows whose label is probably wrong, the least likely label first: the off-diagonal of the confident joint.

    A face counts to a class when its probability for it reaches the mean probability of that class over the faces with
    that label; where it reaches several, to the most probable of them. Its label is probably wrong when it is another
    class (Northcutt, Jiang & Chuang, JAIR 2021, sec. 3.1). The network must not have been trained on these faces.
    """
    own = probabilities.gather(1, labels[:, None])[:, 0]
    thresholds = torch.full_like(probabilities[0], torch.inf)
    for number in labels.unique().tolist():
        thresholds[number] = own[labels == number].mean()
    reached = torch.where(probabilities >= thresholds, probabilities, -torch.inf)
    counted = reached.argmax(dim=1)
    suspects = ((reached.amax(dim=1) > -torch.inf) & (counted != labels)).nonzero()[:, 0]
    return suspects[own[suspects].argsort(stable=True)]


def confused_pairs(matrix: np.ndarray, most: int = 10) -> list[Pair]:
    """Pairs by falling share of the true emotion's faces. matrix: (classes, classes) counts, rows true."""
    matrix = np.asarray(matrix)
    pairs = [
        Pair(true, predicted, int(matrix[true, predicted]), float(matrix[true, predicted] / matrix[true].sum()))
        for true, predicted in np.argwhere(matrix).tolist()
        if true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair.share)[:most]


def mistakes_sheet(
    faces: Tensor, probabilities: Tensor, labels: Tensor, rows: Tensor, names: Sequence[str], title: str
) -> Tensor:
    """The faces of `rows`, each with its predicted and its true name and their probabilities. faces: (N, C, H, H)."""
    captions = []
    for label, answer in zip(labels[rows].tolist(), probabilities[rows].tolist(), strict=True):
        predicted = int(np.argmax(answer))
        first = f"predicted {names[predicted]} {answer[predicted]:.0%}"
        captions.append(f"{first}\nlabel {names[label]} {answer[label]:.0%}")
    lines = [captions[begin : begin + COLUMNS] for begin in range(0, len(rows), COLUMNS)]
    pictures = faces_to_rgb(faces[rows]).split(COLUMNS) if len(rows) else [torch.ones(COLUMNS, 3, 1, 1)]
    return contact_sheet(pictures, captions=lines, title=title if len(rows) else f"{title}: none")


def pairs_figure(pairs: Sequence[Pair], names: Sequence[str]) -> Figure:
    """The most confused pairs as bars: the share of the true emotion's faces, with the count."""
    figure = Figure(figsize=(7, 0.6 + 0.34 * max(len(pairs), 3)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    words = [f"{names[pair.true]} taken for {names[pair.predicted]}" for pair in pairs]
    bars = axes.barh(words, [pair.share for pair in pairs], color="#4878a8")
    axes.bar_label(bars, [f" {pair.share:.0%} ({pair.faces:,})" for pair in pairs], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("of the faces of the true emotion")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Most confused pairs", loc="left", fontsize=11)
    return figure
