"""Mistakes: the most confident ones, the most confused pairs, and labels that are probably wrong."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fer_lightning.figures.sheet import grey, sheet_figure


class Pair(NamedTuple):
    """Faces of one emotion that were taken for another: how many, and their share of the true emotion's faces."""

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

    A face is counted to a class when its probability for it reaches the mean probability of that class over the faces
    that carry its label; where it reaches several, the likeliest of them. It is probably mislabelled when that class is
    not its label (Northcutt, Jiang & Chuang, JAIR 2021, sec. 3.1). The network must not have been trained on the faces.
    """
    classes = probabilities.shape[1]
    own = probabilities.gather(1, labels[:, None])[:, 0]
    threshold = torch.stack(
        [own[labels == k].mean() if (labels == k).any() else own.new_tensor(torch.inf) for k in range(classes)]
    )
    reached = torch.where(probabilities >= threshold, probabilities, -torch.inf)
    counted = reached.argmax(dim=1)
    suspects = ((reached.amax(dim=1) > -torch.inf) & (counted != labels)).nonzero()[:, 0]
    return suspects[own[suspects].argsort(stable=True)]


def confused_pairs(matrix: np.ndarray, most: int = 10) -> list[Pair]:
    """Pairs by falling share of the true emotion's faces. matrix: (classes, classes) counts, rows true."""
    matrix = np.asarray(matrix)
    totals = matrix.sum(axis=1)
    pairs = [
        Pair(int(true), int(predicted), int(matrix[true, predicted]), float(matrix[true, predicted] / totals[true]))
        for true, predicted in np.argwhere(matrix)
        if true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair.share)[:most]


def mistakes_figure(
    faces: Tensor, probabilities: Tensor, labels: Tensor, rows: Tensor, names: Sequence[str], title: str
) -> Figure:
    """The faces of `rows`, each with its predicted and its true name and their probabilities. faces: (N, 1, 48, 48)."""
    columns = 8
    probabilities = probabilities.cpu()
    pictures: list[Tensor] = []
    captions: list[list[str]] = []
    for line in rows.split(columns) if len(rows) else ():
        pictures.append(grey(faces[line]))
        captions.append([])
        for row, label in zip(line.tolist(), labels[line].tolist(), strict=True):
            best = int(probabilities[row].argmax())
            likeliest, own = probabilities[row, best], probabilities[row, label]
            captions[-1].append(f"seen: {names[best]} {likeliest:.0%}\nlabel: {names[label]} {own:.0%}")
    if not pictures:
        pictures, captions, title = [torch.ones(columns, 3, 1, 1)], [[""] * columns], f"{title}: none"
    return sheet_figure(pictures, captions=captions, title=title)


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
