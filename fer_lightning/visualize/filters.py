"""The filters of a convolution as one picture."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

TILE = 56
"""Side of one filter in the picture, pixels, at least."""


def filter_grid(weights: Tensor, most: int | None = None) -> Tensor:
    """weights: (filters, channels, k, k) to a picture (1, H, W) with values 0 to 1.

    Each filter is averaged over its input channels and stretched by itself, so that its zero is mid grey and its largest
    weight black or white; enlarged without blur. `most`: only the first so many (the poster shows 30).
    """
    filters = weights.detach().float().cpu().mean(dim=1)[:most]
    largest = filters.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    filters = 0.5 + 0.5 * filters / largest
    times = max(1, math.ceil(TILE / filters.shape[-1]))
    tiles = F.interpolate(filters[:, None], scale_factor=times, mode="nearest")
    return tile(tiles)


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
