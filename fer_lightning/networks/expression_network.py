"""ExpressionNetwork: what every network here is to its users, from faces to logits and probabilities."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from fer_lightning.networks.layers import Head
from fer_lightning.networks.preprocessing import Form, Normalization, Preprocessing
from fer_lightning.pixels import reduced
from fer_lightning.settings import InputSettings


class ExpressionNetwork(nn.Module, ABC):
    """Faces (B, 1 or 3, H, H), values 0 to 255, to logits (B, 7). Subclasses set `head` and define `embed`.

    fixed: the normalisation of pretrained weights, instead of the training part's.
    """

    head: Head
    temperature: Tensor

    def __init__(self, inputs: InputSettings, with_hog: bool, fixed: Normalization | None = None):
        super().__init__()
        self.preprocessing = Preprocessing(inputs, with_hog, fixed)
        self.register_buffer("temperature", torch.ones(()))

    @property
    def uses_hog(self) -> bool:
        return self.preprocessing.with_hog

    @property
    def form(self) -> Form:
        """The faces that it was trained on, and is best given."""
        return self.preprocessing.form

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    @abstractmethod
    def stages(self) -> list[list[nn.Module]]:
        """All layers below the head, in groups from the first to the last: none where the head is the network."""

    @abstractmethod
    def embed(self, images: Tensor, hog: Tensor | None) -> Tensor:
        """Output of the last hidden layer, (B, width), for what `preprocessing` gives."""

    def forward(self, faces: Tensor, hog: Tensor | None = None, side: int | None = None) -> Tensor:
        """Logits (B, 7). hog: (B, hog_length) of the faces where it is known (a cache); else it is computed.

        side: of the pictures that the first layer gets, pixels, at most `inputs.size`; None: `inputs.size`. HOG is that
        of the faces.
        """
        images, features = self.preprocessing(faces, hog)
        return self.head.scores(self.embed(images if side is None else reduced(images, side), features))

    def probabilities(self, faces: Tensor) -> Tensor:
        """Probabilities (B, 7), float32: softmax of the logits divided by the network's temperature."""
        return (self(faces).float() / self.temperature).softmax(dim=1)
