"""Contact sheets of copies: the faces of a group side by side, under each where it stands and what it is labelled."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from fer_lightning.figures.confusion import FAINT, INK, font

FACE, GAP, CAPTION, HEADING, MARGIN = 96, 6, 34, 20, 16
"""Picture elements: side of an enlarged face, space between faces, and the heights of the words."""

WIDTH, SHOWN = 1300, 12
"""Of a sheet, in picture elements; faces of one group that are shown, as many as go side by side."""

FRAME, CONFLICT, HELD_OUT = "#c8c8c8", "#b3261e", "#1f5fa8"


class Group(NamedTuple):
    """Faces that belong together. images: (k, 48, 48) uint8; splits and labels: their names, k of each."""

    images: np.ndarray
    splits: Sequence[str]
    labels: Sequence[str]
    heading: str = ""


def sheet_of_groups(groups: Sequence[Group], title: str) -> Tensor:
    """All groups in lines from left to right, each in a frame; (3, H, W) uint8.

    The labels of a group that has several are red, splits other than train are blue.
    """
    places, left, top = [], MARGIN, 52
    for group in groups:
        width = min(len(group.images), SHOWN) * (FACE + GAP) + GAP
        if left + width > WIDTH - MARGIN and left > MARGIN:
            left, top = MARGIN, top + _line_height()
        places.append((left, top))
        left += width + 10
    sheet = Image.new("RGB", (WIDTH, top + _line_height() + 4), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 26), title, INK, font(18), anchor="lm")
    for group, place in zip(groups, places, strict=True):
        _draw(sheet, pen, group, *place)
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1)


def _line_height() -> int:
    return HEADING + FACE + CAPTION + GAP + 10


def _draw(sheet: Image.Image, pen: ImageDraw.ImageDraw, group: Group, left: int, top: int) -> None:
    shown = group.images[:SHOWN]
    right = left + len(shown) * (FACE + GAP) + GAP
    pen.rectangle((left, top, right, top + _line_height() - 10), outline=FRAME)
    more = f"{len(group.images)} images, {SHOWN} shown" if len(group.images) > SHOWN else ""
    pen.text((left + GAP, top + 3), "  ".join(filter(None, (group.heading, more))), FAINT, font(12), anchor="la")
    conflict = len(set(group.labels)) > 1
    for number, face in enumerate(shown):
        x, y = left + GAP + number * (FACE + GAP), top + HEADING
        sheet.paste(Image.fromarray(face).resize((FACE, FACE), Image.Resampling.NEAREST), (x, y))
        split, label = group.splits[number], group.labels[number]
        middle = x + FACE / 2
        pen.text((middle, y + FACE + 3), label, CONFLICT if conflict else INK, font(13), anchor="ma")
        pen.text((middle, y + FACE + 19), split, FAINT if split == "train" else HELD_OUT, font(12), anchor="ma")
