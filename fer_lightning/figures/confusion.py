"""The confusion matrix as a picture: percentages of each true expression, and the counts behind them.

Drawn by Pillow in a tenth of matplotlib's time, so that every epoch of a training run can have one.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from fer_lightning.figures.sheets import FAINT, INK, font, to_tensor

CELL = 84
LEFT, TOP, BELOW, RIGHT = 168, 48, 62, 14
"""Side of a cell, and the margins around the matrix, pixels."""


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """Each cell's share of its row, (classes, classes); an empty row stays 0."""
    matrix = np.asarray(matrix)
    totals = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)


def accuracy_of(matrix: np.ndarray) -> float:
    """Share of the diagonal; 0 for an empty matrix."""
    return float(np.trace(matrix) / max(np.sum(matrix), 1))


def confusion_picture(matrix: np.ndarray, names: Sequence[str], title: str = "") -> Tensor:
    """matrix: (classes, classes) counts, rows true, columns predicted. Returns (3, H, W) uint8.

    Each cell shows the percentage of its row and, smaller, the count; the title gives the accuracy.
    """
    matrix, side = np.asarray(matrix), CELL * len(names)
    shares = row_shares(matrix)
    blues = matplotlib.colormaps["Blues"](shares, bytes=True)[..., :3].tolist()
    sheet = Image.new("RGB", (LEFT + side + RIGHT, TOP + side + BELOW), "white")
    pen = ImageDraw.Draw(sheet)
    accuracy = f"accuracy {accuracy_of(matrix):.2%} of {int(matrix.sum()):,}"
    pen.text((LEFT, TOP / 2), f"{title}   {accuracy}" if title else accuracy, INK, font(18), anchor="lm")
    for row, name in enumerate(names):
        middle = TOP + CELL * row + CELL / 2
        pen.text((LEFT - 12, middle - 9), name, INK, font(18), anchor="rm")
        pen.text((LEFT - 12, middle + 13), f"{int(matrix[row].sum()):,} images", FAINT, font(13), anchor="rm")
        pen.text((LEFT + CELL * row + CELL / 2, TOP + side + 8), name, INK, font(18), anchor="ma")
        for column in range(len(names)):
            x, y = LEFT + CELL * column, TOP + CELL * row
            share, count = shares[row, column], int(matrix[row, column])
            pen.rectangle((x, y, x + CELL - 2, y + CELL - 2), tuple(blues[row][column]))
            ink, faint = ("white", "#e8eef5") if share > 0.5 else (INK, FAINT)
            pen.text((x + CELL / 2, y + 34), f"{share:.0%}", ink, font(20, row == column), anchor="mm")
            pen.text((x + CELL / 2, y + 59), f"{count:,}", faint, font(14), anchor="mm")
    pen.text((LEFT + side / 2, TOP + side + 34), "predicted", FAINT, font(16), anchor="ma")
    pen.text((LEFT - 12, TOP / 2), "true", FAINT, font(16), anchor="rm")
    return to_tensor(sheet)
