"""The layers of the paper's networks: conv block, hidden block, the conv part and the fully connected head."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.settings import ConvLayer


def out_side(layer: ConvLayer, side: int, where: str) -> int:
    """Height and width of a layer's output for an input of `side` x `side`; InputError where nothing is left."""
    padding = padding_of(layer)
    after_conv = (side + 2 * padding - layer.kernel) // layer.stride + 1
    if side + 2 * padding < layer.kernel:
        raise InputError(
            f"{where}: a {layer.kernel}x{layer.kernel} kernel does not fit its {side}x{side} input "
            f"with a padding of {padding}"
        )
    if after_conv < layer.pool:
        raise InputError(
            f"{where}: pooling by {layer.pool} leaves nothing of the {after_conv}x{after_conv} output "
            f"(input {side}x{side}, kernel {layer.kernel}, stride {layer.stride}, padding {padding})"
        )
    return after_conv // layer.pool


def padding_of(layer: ConvLayer) -> int:
    """Zero padding in pixels; None keeps the size of the input for odd kernels and stride 1."""
    return layer.kernel // 2 if layer.padding is None else layer.padding


class ConvBlock(nn.Module):
    """Zero-padded convolution, batch normalisation, ReLU, dropout, max-pooling: one conv layer of the paper.

    (B, channels, H, W) to (B, filters, H', W'). The activation map of the layer is the ReLU of what `norm` gives.
    """

    def __init__(self, channels: int, layer: ConvLayer):
        super().__init__()
        self.conv = nn.Conv2d(channels, layer.filters, layer.kernel, layer.stride, padding_of(layer))
        self.norm = nn.BatchNorm2d(layer.filters) if layer.batch_norm else nn.Identity()
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(layer.dropout) if layer.dropout else nn.Identity()
        self.pool = nn.MaxPool2d(layer.pool) if layer.pool > 1 else nn.Identity()

    def forward(self, maps: Tensor, grid: int | None = None) -> Tensor:
        """grid: height and width of what is given, whatever the size of `maps`; None: what the pooling gives."""
        maps = self.norm(self.conv(maps))
        if isinstance(self.dropout, nn.Identity):
            # maximum and ReLU commute: the same numbers, and a sixth faster to train on a CPU
            return self.relu(self._pooled(maps, grid))
        return self._pooled(self.dropout(self.relu(maps)), grid)

    def _pooled(self, maps: Tensor, grid: int | None) -> Tensor:
        return self.pool(maps) if grid is None else F.adaptive_max_pool2d(maps, grid)


class ConvFeatures(nn.Sequential):
    """The conv part: blocks `conv1`, `conv2`, ... (B, channels, side, side) to (B, filters, out_side, out_side).

    Smaller images than those of `side` x `side` give features of the same size: the pooling of the last layer adapts.
    Raises InputError, naming the layer and its sizes, where kernels or pooling leave nothing of the image.
    """

    def __init__(self, conv: Sequence[ConvLayer], channels: int, side: int):
        super().__init__()
        self.side = side
        for index, layer in enumerate(conv):
            side = out_side(layer, side, f"model.conv[{index}]")
            self.add_module(f"conv{index + 1}", ConvBlock(channels, layer))
            channels = layer.filters
        self.out_side = side
        self.length = channels * side * side
        """Values of the features of one image."""

    def forward(self, maps: Tensor) -> Tensor:
        if maps.shape[-1] == self.side:
            return super().forward(maps)
        *blocks, last = self
        for block in blocks:
            maps = block(maps)
        return last(maps, self.out_side)


class HiddenBlock(nn.Module):
    """Linear, batch normalisation, ReLU, dropout: one hidden layer of the paper. (B, inputs) to (B, width)."""

    def __init__(self, inputs: int, width: int, batch_norm: bool, dropout: float):
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.norm = nn.BatchNorm1d(width) if batch_norm else nn.Identity()
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        return self.dropout(self.relu(self.norm(self.linear(features))))


class Head(nn.Module):
    """Hidden layers `hidden1`, `hidden2`, ... of these widths, and seven scores. (B, inputs) to logits (B, 7)."""

    def __init__(self, inputs: int, widths: Sequence[int], batch_norm: bool, dropout: float):
        super().__init__()
        self.hidden = nn.Sequential()
        for number, width in enumerate(widths, start=1):
            self.hidden.add_module(f"hidden{number}", HiddenBlock(inputs, width, batch_norm, dropout))
            inputs = width
        self.scores = nn.Linear(inputs, len(EXPRESSIONS))
        # an untrained network finds all expressions equally likely: a loss of ln 7
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)

    def embed(self, features: Tensor) -> Tensor:
        """Output of the last hidden layer, (B, width)."""
        return self.hidden(features)

    def forward(self, features: Tensor) -> Tensor:
        return self.scores(self.embed(features))
