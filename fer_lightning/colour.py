"""Grey from colour, and faces brought to another side: what the data and the networks share. Batches, on any device."""

import torch
from torch import Tensor
from torch.nn import functional as F

WEIGHTS = (19595, 38470, 7471)
"""Of red, green and blue in the luma, in 65536ths: ITU-R 601 as Pillow's `convert("L")` has it."""


def luma(pictures: Tensor) -> Tensor:
    """Luma (B, 1, H, W) float, not rounded, of colour pictures (B, 3, H, W), 0 to 255; grey ones (B, 1, H, W) as given.

    Exact for whole numbers: a grey picture repeated in three channels has its own grey values.
    """
    if pictures.shape[1] == 1:
        return pictures
    red, green, blue = (pictures if pictures.is_floating_point() else pictures.float()).split(1, dim=1)
    return (WEIGHTS[0] * red + WEIGHTS[1] * green + WEIGHTS[2] * blue) / 65536


def grey(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) made grey as Pillow does it, (B, 1, H, W): whole grey values. Grey ones as given."""
    return pictures if pictures.shape[1] == 1 else (luma(pictures) + 0.5).floor()


def reduced(pictures: Tensor, side: int) -> Tensor:
    """Pictures (B, C, H, W) brought to `side` x `side`, bilinear and antialiased; those of this size as given."""
    if pictures.shape[-2:] == (side, side):
        return pictures
    pictures = pictures if pictures.is_floating_point() else pictures.float()
    return F.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


def has_colour(pictures: Tensor) -> Tensor:
    """Which of the pictures (B, C, H, W) hold a pixel whose channels differ, (B,) bool."""
    return torch.any((pictures != pictures[:, :1]).flatten(1), dim=1)
