"""Augmentation of whole batches: flips, shifts, rotations, scales, erased rectangles and mixed pairs, on any device.

Each image of a batch draws its own values from the generator that is given, so one call replaces a worker process.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from fer_lightning.settings import AugmentSettings

ERASED_AREA = (0.02, 0.2)
"""Smallest and largest share of the picture that random erasing covers (Zhong et al., AAAI 2020, sl and sh)."""


def draw_flips(count: int, probability: float, generator: Generator) -> Tensor:
    """Which of `count` images are mirrored: (B,) bool on the generator's device."""
    return torch.rand(count, generator=generator, device=generator.device) < probability


def flip(images: Tensor, flipped: Tensor) -> Tensor:
    """Mirror the chosen images left to right. images: (B, C, H, W); flipped: (B,) bool."""
    return torch.where(flipped[:, None, None, None], images.flip(-1), images)


def warp(images: Tensor, settings: AugmentSettings, generator: Generator) -> Tensor:
    """Rotate, scale and shift each image by its own random amount, bilinear; the border is the picture's reflection.

    images: (B, C, H, W) float.
    """
    if not (settings.shift or settings.rotate or settings.scale):
        return images
    count, _, height, width = images.shape
    angle, size, down, right = 2 * torch.rand(4, count, generator=generator, device=generator.device) - 1
    angle, size = angle * math.radians(settings.rotate), 1 + size * settings.scale
    theta = images.new_zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.cos(angle) / size
    theta[:, 0, 1] = -torch.sin(angle) / size * (height / width)
    theta[:, 1, 0] = torch.sin(angle) / size * (width / height)
    theta[:, 0, 2] = right * settings.shift * 2 / width  # affine_grid counts in half widths
    theta[:, 1, 2] = down * settings.shift * 2 / height
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def erase(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Cover a random rectangle of some images by the image's own mean (random erasing, Zhong et al., AAAI 2020).

    images: (B, C, H, W) float. Area and aspect (1:3 to 3:1) are drawn for each image; the border may cut the rectangle.
    """
    if not probability:
        return images
    count, _, height, width = images.shape
    chosen, area, aspect, y, x = torch.rand(5, count, generator=generator, device=generator.device)
    area = (ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0])) * height * width
    aspect = torch.exp((2 * aspect - 1) * math.log(3))
    half_height, half_width = (area * aspect).sqrt() / 2, (area / aspect).sqrt() / 2
    rows = torch.arange(height, device=images.device) + 0.5
    columns = torch.arange(width, device=images.device) + 0.5
    inside_y = (rows - y[:, None] * height).abs() < half_height[:, None]
    inside_x = (columns - x[:, None] * width).abs() < half_width[:, None]
    erased = (inside_y[:, :, None] & inside_x[:, None, :] & (chosen < probability)[:, None, None])[:, None]
    return torch.where(erased, images.mean(dim=(2, 3), keepdim=True), images)


def mixup(images: Tensor, targets: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Mix each image with another of the batch, and their targets by the same share (Zhang et al., ICLR 2018).

    images: (B, C, H, W) float; targets: (B, classes) float, rows summing to 1. The share is Beta(alpha, alpha), one
    for the batch as in the authors' code. alpha 0 changes nothing.
    """
    if not alpha:
        return images, targets
    uniform = torch.full((2,), float(alpha), device=generator.device)
    share = torch._standard_gamma(uniform, generator=generator).clamp_min(1e-12)  # noqa: SLF001 (Beta takes no generator)
    keep = share[0] / share.sum()
    other = torch.randperm(len(images), generator=generator, device=generator.device)
    return keep * images + (1 - keep) * images[other], keep * targets + (1 - keep) * targets[other]
