"""The convolutional network and the hybrid one, whose features are joined by the HOG vector."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fer_lightning.errors import InputError
from fer_lightning.networks.fully_connected import FullyConnectedNetwork
from fer_lightning.networks.layers import ConvBlock, ConvLayer


class ConvFeatures(nn.Sequential):
    """The conv part: blocks `conv1`, `conv2`, ... (B, channels, side, side) to (B, filters, out_side, out_side).

    Raises InputError, naming the layer and its sizes, where kernels or pooling leave nothing of the image.
    """

    def __init__(self, conv: Sequence[Mapping[str, Any]], channels: int, side: int):
        super().__init__()
        if not isinstance(conv, Sequence) or isinstance(conv, str) or not conv:
            raise InputError(f"model.conv={conv!r}: expected a list of layers such as [{{filters: 64, pool: 2}}]")
        for index, config in enumerate(conv):
            where = f"model.conv[{index}]"
            layer = ConvLayer.from_config(config, where)
            side = layer.out_side(side, where)
            self.add_module(f"conv{index + 1}", ConvBlock(channels, layer))
            channels = layer.filters
        self.length = channels * side * side
        """Values of the features of one image."""


class ConvNetwork(nn.Module):
    """Conv layers, then the fully connected network. images (B, channels, side, side) to logits (B, 7)."""

    def __init__(
        self,
        conv: Sequence[Mapping[str, Any]],
        hidden: Sequence[int],
        channels: int = 1,
        side: int = 48,
        batch_norm: bool = True,
        dropout: float = 0.0,
        extra_inputs: int = 0,
    ):
        super().__init__()
        self.features = ConvFeatures(conv, channels, side)
        self.head = FullyConnectedNetwork(self.features.length + extra_inputs, hidden, batch_norm, dropout)

    def embed(self, images: Tensor) -> Tensor:
        """Output of the last hidden layer, (B, width)."""
        return self.head.embed(self.features(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.head.scores(self.embed(images))


class HybridNetwork(ConvNetwork):
    """Conv features concatenated with the HOG vector go into the fully connected network (Alizadeh & Fazel, sec. 4).

    images (B, channels, side, side) and hog (B, hog_length) to logits (B, 7).
    """

    def __init__(self, conv: Sequence[Mapping[str, Any]], hidden: Sequence[int], hog_length: int, **others: Any):
        super().__init__(conv, hidden, extra_inputs=hog_length, **others)

    def embed(self, images: Tensor, hog: Tensor) -> Tensor:  # type: ignore[override]
        """Output of the last hidden layer, (B, width)."""
        return self.head.embed(torch.cat([self.features(images).flatten(1), hog], dim=1))

    def forward(self, images: Tensor, hog: Tensor) -> Tensor:  # type: ignore[override]
        return self.head.scores(self.embed(images, hog))
