"""The paper's networks: convolutional, hybrid (conv features and HOG), fully connected."""

import torch
from torch import Tensor, nn

from fer_lightning.networks.expression_network import ExpressionNetwork
from fer_lightning.networks.layers import ConvFeatures, Head
from fer_lightning.settings import ConvModel, FullyConnectedModel, InputSettings


class ConvNetwork(ExpressionNetwork):
    """Conv layers, then hidden layers; the hybrid one puts the HOG vector beside the conv features (sec. 4)."""

    def __init__(self, model: ConvModel, inputs: InputSettings):
        super().__init__(inputs, with_hog=model.kind == "hybrid")
        self.features = ConvFeatures(model.conv, inputs.channels, inputs.size)
        values = self.features.length + self.preprocessing.hog_length
        self.head = Head(values, model.hidden, model.batch_norm, model.dropout)

    @property
    def stages(self) -> list[list[nn.Module]]:
        return [[block] for block in self.features]

    def embed(self, images: Tensor, hog: Tensor | None) -> Tensor:
        features = self.features(images).flatten(1)
        return self.head.embed(features if hog is None else torch.cat([features, hog], dim=1))


class FullyConnectedNetwork(ExpressionNetwork):
    """Hidden layers alone, on HOG or on pixels."""

    def __init__(self, model: FullyConnectedModel, inputs: InputSettings):
        super().__init__(inputs, with_hog=model.input == "hog")
        values = self.preprocessing.hog_length or inputs.channels * inputs.size**2
        self.head = Head(values, model.hidden, model.batch_norm, model.dropout)

    @property
    def stages(self) -> list[list[nn.Module]]:
        return []

    def embed(self, images: Tensor, hog: Tensor | None) -> Tensor:
        return self.head.embed(images.flatten(1) if hog is None else hog)
