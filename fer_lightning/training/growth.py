"""Pictures that grow during a run: the side that the network gets in each epoch (progressive resizing)."""

from collections.abc import Sequence

import torch

from fer_lightning.errors import InputError
from fer_lightning.networks import ExpressionNetwork


def side_in(epoch: int, epochs: int, grow: Sequence[int], size: int) -> int:
    """The side of the pictures, pixels, in an epoch (from 0) of a run of `epochs`.

    The run has len(grow) + 1 parts, equally long but for rounding; the last, with the last epoch, is at `size`.
    """
    sides = [*grow, size]
    return sides[((epoch + 1) * len(sides) - 1) // epochs]


@torch.no_grad()
def require_sides(network: ExpressionNetwork, grow: Sequence[int]) -> None:
    """Raise InputError where a network cannot take pictures of one of these sides."""
    network.eval()
    for side in grow:
        try:
            network(torch.zeros(1, 1, 48, 48), side=side)
        except RuntimeError as error:  # torch's, of a layer that has no output
            raise InputError(
                f"data.grow: pictures of {side} x {side} pixels are too small for this network, whose layers leave "
                f"nothing of them ({str(error).splitlines()[0]})"
            ) from error
    network.train()
