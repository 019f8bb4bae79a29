"""The filters of a convolution as one picture."""

import math

import torch
from skimage.util import montage
from torch import Tensor, nn

LEAST_SIDE = 56
"""Side of one filter in the picture, pixels, at least."""


def first_filters(network: nn.Module) -> Tensor | None:
    """Weights (filters, channels, k, k) of a network's first convolution; None where it has none."""
    return next((module.weight for module in network.modules() if isinstance(module, nn.Conv2d)), None)


def filter_grid(weights: Tensor, most: int | None = None, columns: int | None = None) -> Tensor:
    """weights: (filters, channels, k, k) to a picture (1, H, W), of three channels (3, H, W), values 0 to 1, on white.

    Filters over three channels are drawn in colour, those over any other number are averaged over it. Each is scaled by
    its largest magnitude: 0 is mid grey, the largest weight black or white (in colour, of its channel). most: the
    number of filters drawn, from the first (the poster shows 30).
    """
    filters = weights.detach().float().cpu()[:most]
    filters = filters if filters.shape[1] == 3 else filters.mean(dim=1, keepdim=True)
    filters = 0.5 + 0.5 * filters / filters.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    times = math.ceil(LEAST_SIDE / filters.shape[-1])
    filters = filters.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    columns = columns or math.ceil(math.sqrt(len(filters) * 1.6))
    layout = {"grid_shape": (math.ceil(len(filters) / columns), columns), "padding_width": 4}
    pictures = filters.movedim(1, -1).numpy()
    sheet = montage(pictures, fill=[1.0] * pictures.shape[-1], channel_axis=-1, **layout)
    return torch.from_numpy(sheet).movedim(-1, 0)
