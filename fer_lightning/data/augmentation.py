"""Augmentation of whole batches: flips, shifts, rotations, scales, changes of colour, erased rectangles, mixed pairs.

Each image of a batch draws its own values from the generator that is given, so one call replaces a worker process.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from fer_lightning.data.faces import SIDE
from fer_lightning.pixels import luma
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

    images: (B, C, H, W) float. A shift is in 48ths of the picture.
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
    theta[:, 0, 2] = right * settings.shift * 2 / SIDE  # affine_grid counts in half widths
    theta[:, 1, 2] = down * settings.shift * 2 / SIDE
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def recolour(images: Tensor, settings: AugmentSettings, generator: Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image by its own random amounts, in this order.

    images: (B, C, H, W) float, 0 to 255; after each change, values are cut off at 0 and 255.
    """
    changes = {
        "brightness": lambda pictures, amount: pictures * (1 + amount),
        "contrast": lambda pictures, amount: blend(luma(pictures).mean(dim=(2, 3), keepdim=True), pictures, 1 + amount),
        "saturation": lambda pictures, amount: blend(luma(pictures), pictures, 1 + amount),
        "hue": turn_hue,
    }
    for name, change in changes.items():
        if largest := getattr(settings, name):
            amount = 2 * torch.rand(len(images), 1, 1, 1, generator=generator, device=generator.device) - 1
            images = change(images, largest * amount).clamp(0, 255)
    return images


def blend(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """`first` where the share is 0, `second` where it is 1, beyond it above: as Pillow's ImageEnhance has it."""
    return first + share * (second - first)


def turn_hue(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn the hues of (B, 3, H, W) images; saturation and value in the HSV space (Smith, SIGGRAPH 1978) stay.

    degrees: (B, 1, 1, 1). Grey images (B, 1, H, W) stay as they are.
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    by_red, by_green, by_blue = (pair / chroma.clamp_min(1e-6) for pair in (green - blue, blue - red, red - green))
    sextant = torch.where(value == red, by_red, torch.where(value == green, by_green + 2, by_blue + 4)) + degrees / 60
    shares = [(number + sextant) % 6 for number in (5, 3, 1)]  # of red, green and blue
    return torch.cat([value - chroma * torch.minimum(share, 4 - share).clamp(0, 1) for share in shares], dim=1)


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
