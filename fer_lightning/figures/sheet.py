"""The contact sheet: small pictures in rows and columns, enlarged without blur, with names and captions."""

import io
import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

CELL = 112
"""Side of one picture in a figure, in picture elements of the sheet: 48-pixel faces and 7-pixel filters fit evenly."""


def enlarge(pictures: Tensor, side: int) -> Tensor:
    """(N, C, H, W) to (N, C, side, side) by repeating pixels: nothing is blurred, and nothing is invented."""
    return F.interpolate(pictures, size=(side, side), mode="nearest-exact")


def tile(pictures: Tensor, columns: int | None = None, gap: int = 4) -> Tensor:
    """(N, C, H, W) pictures to one (C, rows, columns) picture on white, row by row, as square as can be by default."""
    count, channels, height, width = pictures.shape
    columns = columns or math.ceil(math.sqrt(count * 1.6))
    rows = math.ceil(count / columns)
    sheet = torch.ones(channels, rows * (height + gap) + gap, columns * (width + gap) + gap)
    for number, picture in enumerate(pictures):
        top = gap + number // columns * (height + gap)
        left = gap + number % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = picture
    return sheet


def grey(faces: Tensor) -> Tensor:
    """Grey faces (N, 1, H, W), 0 to 255, as colours (N, 3, H, W), 0 to 1."""
    return (faces.detach().float().cpu() / 255).clamp(0, 1).expand(-1, 3, -1, -1)


def coloured(values: Tensor, colours: str = "magma") -> Tensor:
    """(..., H, W) values from 0 to 1 as colours (..., 3, H, W) of a matplotlib colour map."""
    table = torch.tensor(matplotlib.colormaps[colours](np.linspace(0, 1, 256))[:, :3], dtype=torch.float32)
    chosen = table[(values.detach().float().cpu().clamp(0, 1) * 255).round().long()]
    return chosen.movedim(-1, -3)


def signed(values: Tensor) -> Tensor:
    """(N, H, W) values around zero as colours (N, 3, H, W): zero white, its largest red or (below zero) blue."""
    largest = values.abs().amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    return coloured(0.5 + 0.5 * values / largest, "RdBu_r")


def overlaid(faces: Tensor, heat: Tensor) -> Tensor:
    """Faces (N, 1, H, W), 0 to 255, under heat (N, H, W) of 0 or more; a face's largest heat is full. (N, 3, H, W)."""
    heat = heat.detach().float().cpu()
    share = (heat / heat.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12))[:, None]
    return grey(faces) * (1 - 0.6 * share) + coloured(share[:, 0], "inferno") * 0.6 * share


def png(picture: Figure | Tensor) -> bytes:
    """A PNG file of a figure, or of a picture (C, H, W) of uint8 or of values 0 to 1."""
    content = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(content, format="png")
    else:
        pixels = picture if picture.dtype == torch.uint8 else (picture * 255).round().byte()
        Image.fromarray(pixels.permute(1, 2, 0).numpy().squeeze()).save(content, format="png")
    return content.getvalue()


def sheet_figure(
    rows: Sequence[Tensor],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    title: str = "",
) -> Figure:
    """Rows of pictures as a figure. Each row: (columns, 3, H, W), colours 0 to 1; rows may differ in size.

    captions: for each row the words under each of its pictures; no words, no space for them.
    """
    columns = max(len(row) for row in rows)
    spaces = [CELL + (34 if number < len(captions) and any(captions[number]) else 6) for number in range(len(rows))]
    tops, total, width = np.cumsum([0, *spaces]).tolist(), sum(spaces), CELL + 6
    side_space = 14 + 8 * max((len(name) for name in row_names), default=0)
    top_space = (26 if title else 0) + (22 if column_names else 0) + 6
    paper = np.ones((total, columns * width, 3), dtype=np.float32)
    for number, row in enumerate(rows):
        for column, picture in enumerate(enlarge(row.detach().float().cpu(), CELL)):
            place = (slice(tops[number], tops[number] + CELL), slice(column * width, column * width + CELL))
            paper[place] = picture.clamp(0, 1).permute(1, 2, 0).numpy()
    inches = ((side_space + columns * width + 6) / 100, (top_space + total + 6) / 100)
    figure = Figure(figsize=inches, dpi=140)
    total_width, total_height = inches[0] * 100, inches[1] * 100
    axes = figure.add_axes(
        (side_space / total_width, 6 / total_height, columns * width / total_width, total / total_height)
    )
    axes.imshow(paper, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for number, name in enumerate(row_names):
        axes.text(-8, tops[number] + CELL / 2, name, ha="right", va="center", fontsize=9)
    for column, name in enumerate(column_names):
        axes.text(column * width + CELL / 2, -8, name, ha="center", va="bottom", fontsize=9, weight="bold")
    for number, line in enumerate(captions):
        for column, words in enumerate(line):
            spot = (column * width + CELL / 2, tops[number] + CELL + 3)
            axes.text(*spot, words, ha="center", va="top", fontsize=7, linespacing=1.1)
    if title:
        figure.text(8 / total_width, 1 - 5 / total_height, title, ha="left", va="top", fontsize=10.5)
    return figure
