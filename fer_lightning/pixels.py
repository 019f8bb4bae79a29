"""Grey from colour, and pictures of another size, as Pillow makes them and as readers of data have them; in torch.

`grey` and `fit` give whole grey values by exact sums, the same on every device and in an exported network. Gradients
pass through the rounding as if there were none.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue in 65536ths: ITU-R 601 as Pillow's `convert("L")` has it."""

ONE = 2.0**22
"""Pillow's weights of pixels are whole multiples of 1 / ONE, so that its sums, and these, are exact."""


def luma(pictures: Tensor) -> Tensor:
    """Luma (B, 1, H, W) float, not rounded, of colour pictures (B, 3, H, W), 0 to 255; grey ones (B, 1, H, W) as given.

    Exact for whole numbers: a grey picture repeated in three channels has its own grey values.
    """
    if pictures.shape[1] == 1:
        return pictures
    red, green, blue = (pictures if pictures.is_floating_point() else pictures.float()).split(1, dim=1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue) / 65536


def grey(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) made grey bit for bit as Pillow does it, (B, 1, H, W); grey ones as given."""
    return pictures if pictures.shape[1] == 1 else _rounded(luma(pictures))


def fit(pictures: Tensor, side: int) -> Tensor:
    """The middle square of pictures, resized: bit for bit `PIL.ImageOps.fit(picture, (side, side))`.

    That is bicubic and antialiased; pictures of this size stay as they are. pictures: (..., H, W) uint8, or floats, 0
    to 255. Returns (..., side, side) float32, whole values from 0 to 255.
    """
    height, width = pictures.shape[-2:]
    square = torch.sym_min(height, width)
    rows = _weights(height, square, side, pictures.device)
    columns = _weights(width, square, side, pictures.device)
    across = _rounded(pictures.double() @ columns.mT / ONE).clamp(0, 255)
    return _rounded(rows @ across / ONE).clamp(0, 255).float()


def reduced(pictures: Tensor, side: int) -> Tensor:
    """Pictures (B, C, H, W) of any values at `side` x `side`, bilinear and antialiased; those of this size as given."""
    if pictures.shape[-2:] == (side, side):
        return pictures
    pictures = pictures if pictures.is_floating_point() else pictures.float()
    return F.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


def _rounded(values: Tensor) -> Tensor:
    return values + ((values + 0.5).floor() - values).detach()


def _weights(length: int, square: int, side: int, device: torch.device) -> Tensor:
    """Weight of each of `length` pixels in each of `side` new ones, (side, length) float64, in units of 1 / ONE.

    The new ones cover the middle `square` pixels. Keys' cubic kernel, a = -0.5 (IEEE ASSP 29, 1981), widened by the
    scale where it reduces. Float64 holds the products and their sums exactly, in whatever order they are added.
    """
    whole: dict[str, Any] = {"dtype": torch.float64, "device": device}
    scale = torch.full((), square, **whole) / side
    centers = (torch.full((), length, **whole) - square) / 2 + (torch.arange(side, **whole) + 0.5) * scale
    pixels = torch.arange(length, **whole)
    distance = ((pixels - centers[:, None] + 0.5) / scale.clamp_min(1)).abs()
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    kernel = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    weights = kernel / kernel.sum(1, keepdim=True) * ONE
    return weights.sign() * (weights.abs() + 0.5).floor()
