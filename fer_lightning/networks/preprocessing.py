"""From faces to the input of the first layer: size, channels, normalisation, HOG. The only place for it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.hog import hog, hog_length
from fer_lightning.pixels import fit, grey
from fer_lightning.settings import InputSettings

SIDE = 48
"""Height and width of FER2013's faces, pixels. HOG is taken at this size, whatever size the network gets."""


class Form(NamedTuple):
    """Faces as a network was trained on them. channels: 1 grey, 3 colour; side: height and width, pixels."""

    channels: int
    side: int


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, in grey values 0 to 255, that pretrained weights expect."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Preprocessing(nn.Module):
    """Resize, fit channels, subtract the training part's mean image, divide by the deviation of each channel's pixels.

    HOG, of the grey face at 48 x 48, is normalised value by value. The statistics are buffers, so they travel in the
    checkpoint; until `set_statistics` they change nothing. with_hog: whether the network uses HOG features.
    fixed: a normalisation that takes the place of the training part's.
    """

    mean: Tensor
    std: Tensor
    hog_mean: Tensor
    hog_std: Tensor
    trained_on: Tensor

    def __init__(self, inputs: InputSettings, with_hog: bool, fixed: Normalization | None = None):
        super().__init__()
        self.inputs, self.with_hog, self.fixed = inputs, with_hog, fixed
        self.hog_length = hog_length(SIDE, SIDE, **dict(inputs.hog)) if with_hog else 0
        self.register_buffer("mean", torch.zeros(inputs.channels, inputs.size, inputs.size))
        self.register_buffer("std", torch.ones(()) if inputs.channels == 1 else torch.ones(inputs.channels, 1, 1))
        self.register_buffer("hog_mean", torch.zeros(self.hog_length))
        self.register_buffer("hog_std", torch.ones(self.hog_length))
        self.register_buffer("trained_on", torch.tensor([1.0, SIDE]))  # Form, in floats, which averages of weights keep
        if fixed is not None:
            self.mean += self.mean.new_tensor(fixed.mean)[:, None, None]
            self.std *= self.std.new_tensor(fixed.std).view(self.std.shape)

    @property
    def form(self) -> Form:
        """The faces that the network was trained on: what it is best given. On a GPU, reading it waits."""
        channels, side = self.trained_on.round().long().tolist()
        return Form(channels, side)

    def set_statistics(self, mean: Tensor, std: Tensor, hog_mean: Tensor, hog_std: Tensor) -> None:
        """Statistics of the training part, and its form.

        mean: image (C, side, side), with C 1 or 3; std: () or (3,), of its pixels; HOG: (hog_length,) each.
        """
        if self.fixed is None:
            self.mean.copy_(self._resize(mean[None])[0])  # resizing is linear: the mean of the resized faces
            self.std.copy_(std[:, None, None] if std.ndim else std)
        self.hog_mean.copy_(hog_mean)
        self.hog_std.copy_(hog_std)
        self.trained_on.copy_(torch.tensor([float(mean.shape[0]), float(mean.shape[-1])]))

    def as_trained(self, faces: Tensor) -> Tensor:
        """Faces (B, C, H, W) as those that the network was trained on: no colour where it saw none, no finer detail."""
        form = self.form
        faces = grey(faces) if form.channels == 1 else faces
        return fit(faces, form.side) if faces.shape[-1] > form.side else faces

    def forward(self, faces: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Images (B, channels, size, size), and HOG (B, hog_length) where the network uses it, both normalised.

        faces: (B, 1, H, H) grey or (B, 3, H, H) colour, values 0 to 255, any real dtype. features: their HOG where it
        is known, else it is computed. Grey is repeated for three channels, and colour made grey for one.
        """
        with torch.autocast(faces.device.type, enabled=False):
            faces = faces if faces.is_floating_point() else faces.float()
            if self.with_hog:
                features = hog_of_faces(faces, self.inputs) if features is None else features
                features = ((features - self.hog_mean) / self.hog_std).to(self.std.dtype)
            images = self._resize(faces if self.inputs.channels == 3 else grey(faces))
            images = images.expand(-1, self.inputs.channels, -1, -1) if self.inputs.channels > 1 else images
            images = ((images - self.mean) / self.std).to(self.std.dtype)  # of the weights, where all are 16-bit
            return images, features if self.with_hog else None

    def _resize(self, images: Tensor) -> Tensor:
        size = self.inputs.size
        if images.shape[-1] == size:
            return images
        return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


def hog_of_faces(faces: Tensor, inputs: InputSettings) -> Tensor:
    """HOG (B, hog_length) of faces (B, 1 or 3, H, H), made grey and 48 x 48 as Pillow does both."""
    faces = grey(faces)[:, 0]
    return hog(faces if faces.shape[-1] == SIDE else fit(faces, SIDE), **dict(inputs.hog))
