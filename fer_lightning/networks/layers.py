"""The layers that a network's config lists: what each may hold, and the modules made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from fer_lightning.errors import InputError, near_misses


@dataclass(frozen=True)
class ConvLayer:
    """One convolution of a network's config. Sizes in pixels; `padding=None` keeps the size (odd kernel, stride 1)."""

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    pool: int = 1
    batch_norm: bool = True
    dropout: float = 0.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str) -> "ConvLayer":
        """Check one item of `model.conv`; `where` names it in messages (`model.conv[2]`)."""
        valid = [field.name for field in fields(cls)]
        if not isinstance(config, Mapping):
            raise InputError(f"{where}={config!r}: expected a layer such as {{filters: 64, kernel: 3, pool: 2}}")
        for key in config:
            if key not in valid:
                raise InputError(f"{where}: no such key {key!r}.{near_misses(key, valid)} Keys: {', '.join(valid)}")
        if "filters" not in config:
            raise InputError(f"{where}: the number of filters is missing, as in {{filters: 64, kernel: 3, pool: 2}}")
        layer = cls(**config)
        for key, least in (("filters", 1), ("kernel", 1), ("stride", 1), ("pool", 1), ("padding", 0)):
            value = getattr(layer, key)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if not whole and not (key == "padding" and value is None):
                raise InputError(f"{where}.{key}={value!r}: expected a whole number of {least} or more")
        check_dropout(layer.dropout, f"{where}.dropout")
        if not isinstance(layer.batch_norm, bool):
            raise InputError(f"{where}.batch_norm={layer.batch_norm!r}: expected true or false")
        return layer

    def out_side(self, side: int, where: str) -> int:
        """Height and width of this layer's output for an input of `side` x `side`; InputError where nothing is left."""
        padding = self.kernel // 2 if self.padding is None else self.padding
        after_conv = (side + 2 * padding - self.kernel) // self.stride + 1
        if side + 2 * padding < self.kernel:
            raise InputError(
                f"{where}: a {self.kernel}x{self.kernel} kernel does not fit its {side}x{side} input "
                f"with a padding of {padding}"
            )
        if after_conv < self.pool:
            raise InputError(
                f"{where}: pooling by {self.pool} leaves nothing of the {after_conv}x{after_conv} output "
                f"(input {side}x{side}, kernel {self.kernel}, stride {self.stride}, padding {padding})"
            )
        return after_conv // self.pool


def check_dropout(value: Any, where: str) -> float:
    """A probability below 1, or InputError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InputError(f"{where}={value!r}: expected a number from 0 to below 1")
    return float(value)


class ConvBlock(nn.Module):
    """Zero-padded convolution, batch normalisation, ReLU, dropout, max-pooling: one conv layer of the paper.

    (B, channels, H, W) to (B, filters, H', W'). The activation map of the layer is the ReLU of what `norm` gives.
    """

    def __init__(self, channels: int, layer: ConvLayer):
        super().__init__()
        padding = layer.kernel // 2 if layer.padding is None else layer.padding
        self.conv = nn.Conv2d(channels, layer.filters, layer.kernel, layer.stride, padding)
        self.norm = nn.BatchNorm2d(layer.filters) if layer.batch_norm else nn.Identity()
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(layer.dropout) if layer.dropout else nn.Identity()
        self.pool = nn.MaxPool2d(layer.pool) if layer.pool > 1 else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.norm(self.conv(maps))
        if isinstance(self.dropout, nn.Identity):
            # a maximum and a ReLU may change places: the same numbers, and a sixth faster to train on a CPU
            return self.relu(self.pool(maps))
        return self.pool(self.dropout(self.relu(maps)))


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
