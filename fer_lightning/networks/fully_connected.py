"""The fully connected network: hidden layers and seven scores. Alone on HOG or pixels, and the others' head."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.networks.layers import HiddenBlock, check_dropout


class FullyConnectedNetwork(nn.Module):
    """(B, inputs), or (B, ...) with as many values an item, to logits (B, 7).

    hidden: width of each hidden layer; none is a linear classifier. Raises InputError for a width below 1.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], batch_norm: bool = True, dropout: float = 0.0):
        super().__init__()
        widths = check_widths(hidden)
        dropout = check_dropout(dropout, "model.dropout")
        self.hidden = nn.Sequential()
        for number, (before, width) in enumerate(zip([inputs, *widths], widths, strict=False), start=1):
            self.hidden.add_module(f"hidden{number}", HiddenBlock(before, width, batch_norm, dropout))
        self.scores = nn.Linear(widths[-1] if widths else inputs, len(EXPRESSIONS))
        # an untrained network finds all expressions equally likely: a loss of ln 7
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)

    def embed(self, features: Tensor) -> Tensor:
        """Output of the last hidden layer, (B, width)."""
        return self.hidden(features.flatten(1))

    def forward(self, features: Tensor) -> Tensor:
        return self.scores(self.embed(features))


def check_widths(hidden: Any) -> list[int]:
    """`model.hidden` as a list of whole numbers of 1 or more, or InputError."""
    if isinstance(hidden, str | bytes) or not isinstance(hidden, Sequence):
        raise InputError(f"model.hidden={hidden!r}: expected a list of widths such as [256,512]")
    for width in hidden:
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise InputError(f"model.hidden={list(hidden)!r}: expected whole numbers of 1 or more, as in [256,512]")
    return list(hidden)
