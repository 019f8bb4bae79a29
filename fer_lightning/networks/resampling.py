"""Faces of any size brought to the size of FER2013's, as readers of data do it: Pillow's `ImageOps.fit`, in torch."""

from typing import Any

import torch
from torch import Tensor

ONE = 2.0**22
"""Pillow's weights are whole multiples of 1 / ONE, so that its sums, and these, are exact."""


def fit(faces: Tensor, side: int) -> Tensor:
    """The middle square of grey faces, resized: bit for bit `PIL.ImageOps.fit(face, (side, side))`.

    That is bicubic and antialiased; faces of this size stay as they are. faces: (N, H, W) uint8. Returns
    (N, side, side) float32, whole grey values from 0 to 255.
    """
    height, width = faces.shape[-2:]
    square = torch.sym_min(height, width)
    rows = _weights(height, square, side, faces.device)
    columns = _weights(width, square, side, faces.device)
    return _rounded(rows @ _rounded(faces.double() @ columns.mT)).float()


def _rounded(sums: Tensor) -> Tensor:
    return (sums / ONE + 0.5).floor().clamp(0, 255)


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
