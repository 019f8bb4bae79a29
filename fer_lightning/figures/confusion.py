"""The confusion matrix as a picture: shares of each true expression, and the counts behind them.

Drawn by hand rather than with matplotlib, in a tenth of the time, so that every epoch can have one.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

CELL = 84
LEFT, TOP, BELOW, RIGHT = 168, 48, 62, 14
INK, FAINT = "#1a1a1a", "#666666"


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
    matrix, classes = np.asarray(matrix), len(names)
    shares, side = row_shares(matrix), CELL * len(names)
    sheet = Image.new("RGB", (LEFT + side + RIGHT, TOP + side + BELOW), "white")
    pen = ImageDraw.Draw(sheet)
    words = f"accuracy {accuracy_of(matrix):.2%} of {int(matrix.sum()):,}"
    pen.text((LEFT, TOP / 2), f"{title}   {words}" if title else words, INK, font(18), anchor="lm")
    for row in range(classes):
        middle = TOP + CELL * row + CELL / 2
        pen.text((LEFT - 12, middle - 9), names[row], INK, font(18), anchor="rm")
        pen.text((LEFT - 12, middle + 13), f"{int(matrix[row].sum()):,} images", FAINT, font(13), anchor="rm")
        pen.text((LEFT + CELL * row + CELL / 2, TOP + side + 8), names[row], INK, font(18), anchor="ma")
        for column in range(classes):
            x, y = LEFT + CELL * column, TOP + CELL * row
            share, count = shares[row, column], int(matrix[row, column])
            pen.rectangle((x, y, x + CELL - 2, y + CELL - 2), shade(share))
            colour, faint = ("white", "#e8eef5") if share > 0.5 else (INK, FAINT)
            pen.text((x + CELL / 2, y + 34), f"{share:.0%}", colour, font(20, row == column), anchor="mm")
            pen.text((x + CELL / 2, y + 59), f"{count:,}", faint, font(14), anchor="mm")
    pen.text((LEFT + side / 2, TOP + side + 34), "predicted", FAINT, font(16), anchor="ma")
    pen.text((LEFT - 12, TOP / 2), "true", FAINT, font(16), anchor="rm")
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1)


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """matplotlib's own font, which is where matplotlib is."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def shade(share: float) -> tuple[int, int, int]:
    """White for 0 to dark blue for 1."""
    red, green, blue = _blues()[round(share * 255)]
    return int(red), int(green), int(blue)


@cache
def _blues() -> np.ndarray:
    return matplotlib.colormaps["Blues"](np.linspace(0, 1, 256), bytes=True)[:, :3]
