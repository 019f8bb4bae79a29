"""The filters of a convolution as one picture."""

import math

from torch import Tensor, nn

from fer_lightning.figures.sheet import enlarge, tile

TILE = 56
"""Side of one filter in the picture, pixels, at least."""


def filter_grid(weights: Tensor, most: int | None = None, columns: int | None = None) -> Tensor:
    """weights: (filters, channels, k, k) to a picture (1, H, W) with values 0 to 1.

    Each filter is averaged over its input channels and stretched by itself, so that its zero is mid grey and its
    largest weight black or white; enlarged without blur. `most`: only the first so many (the poster shows 30).
    """
    filters = weights.detach().float().cpu().mean(dim=1)[:most]
    largest = filters.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    filters = 0.5 + 0.5 * filters / largest
    side = filters.shape[-1]
    return tile(enlarge(filters[:, None], side * max(1, math.ceil(TILE / side))), columns)


def first_filters(network: nn.Module) -> Tensor | None:
    """Weights (filters, channels, k, k) of a network's first convolution; None where it has none."""
    return next((module.weight for module in network.modules() if isinstance(module, nn.Conv2d)), None)
