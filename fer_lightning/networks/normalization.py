"""What is done to a face before the network sees it: the training part's mean image is subtracted."""

import torch
from torch import Tensor, nn


class Normalization(nn.Module):
    """Subtract the mean image and divide by the pixels' standard deviation; the same for HOG, value by value.

    The numbers are buffers, so they travel in the checkpoint and whoever loads it can give raw grey values. Until they
    are set, nothing is changed. images: (B, channels, size, size), grey values 0 to 255; hog: (B, hog_length).
    """

    mean: Tensor
    std: Tensor
    hog_mean: Tensor
    hog_std: Tensor

    def __init__(self, size: int, hog_length: int = 0):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, size, size))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("hog_mean", torch.zeros(hog_length))
        self.register_buffer("hog_std", torch.ones(hog_length))

    def images(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

    def hog(self, hog: Tensor) -> Tensor:
        return (hog - self.hog_mean) / self.hog_std
