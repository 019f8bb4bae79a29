"""From grey values to the input of the first layer: size, channels, mean subtraction, HOG. The only place for it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.hog import hog, hog_length
from fer_lightning.settings import InputSettings

SIDE = 48
"""Height and width of a face, pixels. HOG is taken at this size, whatever size the network gets."""


class Preprocessing(nn.Module):
    """Resize, repeat channels, subtract the training part's mean image, divide by its pixels' standard deviation.

    HOG is normalised value by value. The statistics are buffers, so they travel in the checkpoint; until
    `set_statistics` they change nothing. with_hog: whether the network uses HOG features.
    """

    mean: Tensor
    std: Tensor
    hog_mean: Tensor
    hog_std: Tensor

    def __init__(self, inputs: InputSettings, with_hog: bool):
        super().__init__()
        self.inputs, self.with_hog = inputs, with_hog
        self.hog_length = hog_length(SIDE, SIDE, **dict(inputs.hog)) if with_hog else 0
        self.register_buffer("mean", torch.zeros(1, inputs.size, inputs.size))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("hog_mean", torch.zeros(self.hog_length))
        self.register_buffer("hog_std", torch.ones(self.hog_length))

    def set_statistics(self, mean: Tensor, std: Tensor, hog_mean: Tensor, hog_std: Tensor) -> None:
        """Statistics of the training part: mean image (1, 48, 48), std () of its pixels, HOG (hog_length,) each."""
        self.mean.copy_(self._resize(mean[None])[0])  # resizing is linear: the mean of the resized faces
        self.std.copy_(std)
        self.hog_mean.copy_(hog_mean)
        self.hog_std.copy_(hog_std)

    def forward(self, faces: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Images (B, channels, size, size), and HOG (B, hog_length) where the network uses it, both normalised.

        faces: (B, 1, 48, 48), grey values 0 to 255, any real dtype. features: their HOG where it is known, else it is
        computed.
        """
        with torch.autocast(faces.device.type, enabled=False):
            faces = faces if faces.is_floating_point() else faces.float()
            if self.with_hog:
                features = hog(faces[:, 0], **dict(self.inputs.hog)) if features is None else features
                features = ((features - self.hog_mean) / self.hog_std).to(self.std.dtype)
            images = self._resize(faces)
            images = images.expand(-1, self.inputs.channels, -1, -1) if self.inputs.channels > 1 else images
            images = ((images - self.mean) / self.std).to(self.std.dtype)  # of the weights, where all are 16-bit
            return images, features if self.with_hog else None

    def _resize(self, images: Tensor) -> Tensor:
        size = self.inputs.size
        if images.shape[-1] == size:
            return images
        return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
