"""Contact sheets: small pictures in rows and columns, enlarged by repeating pixels, with names and captions.

Drawn by Pillow, in a tenth of matplotlib's time.
"""

import io
import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

INK, FAINT = "#1a1a1a", "#666666"
"""Colours of text."""

GAP, MARGIN = 6, 16
"""Between pictures, and around a sheet, pixels."""

FACE, HEADING, CAPTION, SHEET_WIDTH = 96, 20, 34, 1300
"""Of a sheet of groups, pixels: side of a face, heights of the text above and below it, width of the sheet."""

SHOWN = 12
"""Faces of one group that a sheet shows at most."""

FRAME, CONFLICT, HELD_OUT = "#c8c8c8", "#b3261e", "#1f5fa8"
"""Colours of a sheet of groups: frames, labels that differ within a group, splits other than train."""


class Group(NamedTuple):
    """Faces that belong together. images: (k, H, H) or (k, H, H, 3) uint8; splits, labels: their k names."""

    images: np.ndarray
    splits: Sequence[str]
    labels: Sequence[str]
    heading: str = ""


def faces_to_rgb(faces: Tensor) -> Tensor:
    """Faces (N, 1, H, W) grey or (N, 3, H, W), 0 to 255, as colours (N, 3, H, W), 0 to 1."""
    return (faces.detach().float().cpu() / 255).clamp(0, 1).expand(-1, 3, -1, -1)


def apply_colormap(values: Tensor, name: str = "magma") -> Tensor:
    """(..., H, W) values from 0 to 1 as colours (..., 3, H, W) of a matplotlib colour map."""
    table = torch.tensor(matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3], dtype=torch.float32)
    return table[(values.detach().float().cpu().clamp(0, 1) * 255).round().long()].movedim(-1, -3)


def signed_to_rgb(values: Tensor) -> Tensor:
    """Changes (N, C, H, W) as colours (N, 3, H, W), scaled to a picture's largest magnitude.

    Of one channel: 0 white, the largest full red or (below 0) blue. Of three: 0 mid grey, each channel up or down.
    """
    shares = 0.5 + 0.5 * values / values.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    return shares.detach().float().cpu() if values.shape[1] == 3 else apply_colormap(shares[:, 0], "RdBu_r")


def overlay_heat(faces: Tensor, heat: Tensor) -> Tensor:
    """Faces (N, C, H, W), 0 to 255, under heat (N, H, W) of 0 or more, scaled to each face's largest; (N, 3, H, W)."""
    heat = heat.detach().float().cpu()
    share = heat / heat.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    opacity = 0.6 * share[:, None]
    return faces_to_rgb(faces) * (1 - opacity) + apply_colormap(share, "inferno") * opacity


def png(picture: Figure | Tensor) -> bytes:
    """A PNG file of a figure, or of a picture (C, H, W) of uint8 or of values 0 to 1."""
    content = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(content, format="png")
    else:
        to_image(picture).save(content, format="png")
    return content.getvalue()


def to_image(picture: Tensor) -> Image.Image:
    """A picture (C, H, W) of uint8 or of values 0 to 1 for Pillow."""
    pixels = picture if picture.dtype == torch.uint8 else (picture.clamp(0, 1) * 255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy().squeeze())


def scaled(image: Image.Image, side: int) -> Image.Image:
    """A picture as side x side pixels: those of small ones repeated, larger ones resampled."""
    method = Image.Resampling.NEAREST if 2 * max(image.size) <= side else Image.Resampling.LANCZOS
    return image.resize((side, side), method)


def to_tensor(image: Image.Image) -> Tensor:
    """A colour picture of Pillow as (3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def contact_sheet(
    rows: Sequence[Iterable[Tensor]],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    title: str = "",
    side: int = 144,
) -> Tensor:
    """Rows of pictures (3, h, w), colours 0 to 1, as one picture (3, H, W) uint8.

    captions: for each row the text under each of its pictures, or none. side: of a picture in the sheet, pixels; by
    default three times that of a face.
    """
    pictures = [list(row) for row in rows]
    below = [18 * max((len(text.splitlines()) for text in line), default=0) for line in captions]
    below += [0] * (len(pictures) - len(below))
    left = MARGIN + max((math.ceil(font(16).getlength(name)) + 12 for name in row_names), default=0)
    top = GAP + (38 if title else 0) + (26 if column_names else 0)
    width = left + max(len(row) for row in pictures) * (side + GAP)
    width = max(width, math.ceil(font(18).getlength(title))) + MARGIN - GAP
    sheet = Image.new("RGB", (width, top + sum(below) + len(pictures) * (side + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 22), title, INK, font(18), anchor="lm")
    for number, row in enumerate(pictures):
        if row_names:
            pen.text((left - 12, top + side / 2), row_names[number], INK, font(16), anchor="rm")
        for column, picture in enumerate(row):
            x = left + column * (side + GAP)
            sheet.paste(scaled(to_image(picture), side), (x, top))
            if column_names and number == 0:
                pen.text((x + side / 2, top - 7), column_names[column], INK, font(16, bold=True), anchor="ms")
            if below[number]:
                text, place = captions[number][column], (x + side / 2, top + side + 3)
                pen.multiline_text(place, text, INK, font(12), anchor="ma", spacing=4, align="center")
        top += side + GAP + below[number]
    return to_tensor(sheet)


def sheet_of_groups(groups: Iterable[Group], title: str) -> Tensor:
    """Groups of faces from left to right in lines, each group in a frame; (3, H, W) uint8.

    Labels of a group that has several are red, splits other than train blue.
    """
    line = HEADING + FACE + CAPTION + GAP + 10
    placed, left, top = [], MARGIN, 52
    for group in groups:
        width = min(len(group.images), SHOWN) * (FACE + GAP) + GAP
        if left + width > SHEET_WIDTH - MARGIN and left > MARGIN:
            left, top = MARGIN, top + line
        placed.append((group, (left, top, left + width, top + line - 10)))
        left += width + 10
    sheet = Image.new("RGB", (SHEET_WIDTH, top + line + 4), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 26), title, INK, font(18), anchor="lm")
    for group, frame in placed:
        pen.rectangle(frame, outline=FRAME)
        _draw_group(sheet, pen, group, *frame[:2])
    return to_tensor(sheet)


def _draw_group(sheet: Image.Image, pen: ImageDraw.ImageDraw, group: Group, left: int, top: int) -> None:
    more = f"{len(group.images)} images, {SHOWN} shown" if len(group.images) > SHOWN else ""
    pen.text((left + GAP, top + 3), "  ".join(filter(None, (group.heading, more))), FAINT, font(12), anchor="la")
    ink = CONFLICT if len(set(group.labels)) > 1 else INK
    for number, face in enumerate(group.images[:SHOWN]):
        x, y, split = left + GAP + number * (FACE + GAP), top + HEADING, group.splits[number]
        sheet.paste(scaled(Image.fromarray(face), FACE), (x, y))
        pen.text((x + FACE / 2, y + FACE + 3), group.labels[number], ink, font(13), anchor="ma")
        pen.text((x + FACE / 2, y + FACE + 19), split, FAINT if split == "train" else HELD_OUT, font(12), anchor="ma")
