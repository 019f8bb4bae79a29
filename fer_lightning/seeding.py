"""Random streams: everything drawn in an epoch is a function of (seed, epoch, purpose), so no state is stored.

Lightning keeps no random state in a checkpoint (issue 17543). A run that is resumed at the start of an epoch draws what
the uninterrupted run drew, because the draws depend on nothing else.
"""

import numpy as np
import torch

ORDER, AUGMENTATION, DROPOUT, SUBSET = range(4)
"""Purposes; the streams of one (seed, epoch) are independent."""


def stream_seed(seed: int, epoch: int, purpose: int) -> int:
    """A 63-bit seed for one purpose in one epoch; seeds of neighbouring arguments are unrelated."""
    return int(np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, epoch: int, purpose: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for one purpose in one epoch."""
    return torch.Generator(device).manual_seed(stream_seed(seed, epoch, purpose))
