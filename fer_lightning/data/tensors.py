"""Images of a set as tensors."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fer_lightning.data.faces import SIDE

CHUNK = 4096
"""Faces of FER2013's size worked on at once."""


def picture_tensor(images: np.ndarray) -> Tensor:
    """A copy of images (N, H, W) or (N, H, W, 3) as (N, 1, H, W) or (N, 3, H, W), uint8.

    Colour keeps its order in memory, which is `channels_last`.
    """
    pictures = torch.tensor(images)
    return pictures[:, None] if pictures.ndim == 3 else pictures.permute(0, 3, 1, 2)


def chunks_of_rows(images: np.ndarray) -> Iterator[slice]:
    """All rows of some images, in parts of as much memory as CHUNK faces of FER2013."""
    step = max(1, CHUNK * SIDE**2 // images[:1].size) if len(images) else 1
    for start in range(0, len(images), step):
        yield slice(start, start + step)
