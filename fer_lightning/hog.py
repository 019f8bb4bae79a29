"""Histograms of oriented gradients in torch, whole batches: scikit-image's values, differentiable, on any device."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.errors import InputError

BlockNorm = Literal["L1", "L1-sqrt", "L2", "L2-Hys"]
BLOCK_NORMS: tuple[str, ...] = get_args(BlockNorm)

CHUNK = 64
"""Images that a thread works on at a time: they then stay in its core's cache, which doubles the speed on a CPU."""


def hog(
    images: Tensor,
    orientations: int = 9,
    pixels_per_cell: int = 8,
    cells_per_block: int = 2,
    block_norm: BlockNorm = "L2-Hys",
) -> Tensor:
    """Histograms of oriented gradients (Dalal & Triggs, CVPR 2005), equal to `skimage.feature.hog`.

    images: (B, H, W) grey, any real dtype; grey values are not rescaled. Gradients are unsigned: angles in [0, 180)
    degrees, each pixel voting with its magnitude for one orientation, without interpolation, as scikit-image does.
    Returns (B, n) with n = `hog_length(H, W, ...)`, 900 for 48x48 and the defaults; float64 for float64 images,
    otherwise float32. Differentiable with respect to the images, through the magnitudes: the choice of bin is constant.
    Raises InputError for a parameter out of range or an image that holds fewer cells than one block.
    """
    if images.ndim != 3:
        raise InputError(f"hog: images of shape {tuple(images.shape)}, expected (B, H, W)")
    hog_length(images.shape[1], images.shape[2], orientations, pixels_per_cell, cells_per_block, block_norm)
    images = images if images.dtype == torch.float64 else images.float()

    def features(chunk: Tensor) -> Tensor:
        return _normalize_blocks(_cell_histograms(chunk, orientations, pixels_per_cell), cells_per_block, block_norm)

    if torch.compiler.is_compiling() or images.device.type != "cpu":
        return features(images)  # an exported graph takes any number of images
    return torch.cat([features(chunk) for chunk in images.split(CHUNK * torch.get_num_threads())])


def hog_length(
    height: int,
    width: int,
    orientations: int = 9,
    pixels_per_cell: int = 8,
    cells_per_block: int = 2,
    block_norm: BlockNorm = "L2-Hys",
) -> int:
    """Length of the HOG vector of one (height, width) image. Raises InputError where `hog` does."""
    for name, value, most in (
        ("orientations", orientations, 18),
        ("pixels_per_cell", pixels_per_cell, min(height, width)),
        ("cells_per_block", cells_per_block, min(height, width)),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise InputError(f"hog.{name}={value!r}: expected a whole number from 1 to {most}")
    if block_norm not in BLOCK_NORMS:
        raise InputError(f"hog.block_norm={block_norm!r}: expected one of {', '.join(BLOCK_NORMS)}")
    blocks = [side // pixels_per_cell - cells_per_block + 1 for side in (height, width)]
    if min(blocks) < 1:
        raise InputError(
            f"hog: a {height}x{width} image holds {height // pixels_per_cell}x{width // pixels_per_cell} cells of "
            f"{pixels_per_cell} pixels, too few for a block of {cells_per_block}x{cells_per_block} cells; "
            "make hog.pixels_per_cell or hog.cells_per_block smaller"
        )
    return blocks[0] * blocks[1] * cells_per_block**2 * orientations


def _cell_histograms(images: Tensor, orientations: int, pixels_per_cell: int) -> Tensor:
    """(B, H, W) to (B, cells_y, cells_x, orientations): mean magnitude of each orientation over each cell."""
    count, height, width = images.shape
    cells_y, cells_x = height // pixels_per_cell, width // pixels_per_cell
    used = (slice(None), slice(cells_y * pixels_per_cell), slice(cells_x * pixels_per_cell))
    # central differences, zero at the border; only the pixels that lie in a whole cell
    gradient_y = F.pad(images[:, 2:] - images[:, :-2], (0, 0, 1, 1))[used]
    gradient_x = F.pad(images[:, :, 2:] - images[:, :, :-2], (1, 1))[used]
    # the smallest normal number instead of 0: the root's slope at 0 is infinite
    magnitude = (gradient_y.square() + gradient_x.square()).clamp_min(torch.finfo(images.dtype).tiny).sqrt()
    row = torch.arange(cells_y * pixels_per_cell, device=images.device) // pixels_per_cell
    column = torch.arange(cells_x * pixels_per_cell, device=images.device) // pixels_per_cell
    first_bin = (row[:, None] * cells_x + column) * orientations
    place = _orientation_bins(gradient_y, gradient_x, orientations).long() + first_bin
    histograms = images.new_zeros(count, cells_y * cells_x * orientations)
    histograms = histograms.scatter_add(1, place.flatten(1), magnitude.flatten(1))
    return histograms.view(count, cells_y, cells_x, orientations) / pixels_per_cell**2


@torch.no_grad()
def _orientation_bins(gradient_y: Tensor, gradient_x: Tensor, orientations: int) -> Tensor:
    """Bin of each pixel's unsigned angle, as whole numbers in the gradients' dtype.

    A pixel lies in bin k or above when the cotangent of its angle is at most that of k * 180 / orientations degrees:
    comparisons instead of an arc tangent, and exact at 45 and 90 degrees, where whole-numbered gradients often fall.
    """
    # a cotangent of infinity, of whatever sign, is the angle 0; 0 / 0 has no magnitude
    cotangent = torch.nan_to_num(gradient_x / gradient_y, nan=math.inf, posinf=math.inf, neginf=math.inf)
    bins, reached = torch.zeros_like(cotangent), torch.empty_like(cotangent)
    for boundary in range(1, orientations):
        least = round(1 / math.tan(math.pi * boundary / orientations), 15)  # rounded: cot 90 is 0, not 6e-17
        bins += torch.le(cotangent, least, out=reached)  # into floats: on a CPU four times as fast as into bools
    return bins


def _normalize_blocks(cells: Tensor, cells_per_block: int, block_norm: BlockNorm) -> Tensor:
    """(B, cells_y, cells_x, orientations) to (B, n): overlapping blocks, each normalised by itself."""
    epsilon = 1e-5
    blocks = cells.unfold(1, cells_per_block, 1).unfold(
        2, cells_per_block, 1
    )  # (B, y, x, orientations, cell y, cell x)
    blocks = blocks.permute(0, 1, 2, 4, 5, 3).flatten(3)
    if block_norm in ("L1", "L1-sqrt"):
        blocks = blocks / (blocks.sum(-1, keepdim=True) + epsilon)
        blocks = blocks.clamp_min(torch.finfo(blocks.dtype).tiny).sqrt() if block_norm == "L1-sqrt" else blocks
    else:
        blocks = blocks / (blocks.square().sum(-1, keepdim=True) + epsilon**2).sqrt()
        if block_norm == "L2-Hys":
            blocks = blocks.clamp(max=0.2)
            blocks = blocks / (blocks.square().sum(-1, keepdim=True) + epsilon**2).sqrt()
    return blocks.flatten(1)
