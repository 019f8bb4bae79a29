"""Where randomness comes from: every draw of an epoch is a function of (seed, epoch, purpose), so nothing is stored.

Lightning keeps no random state in a checkpoint; a run that is resumed at the start of an epoch draws again what the
uninterrupted one drew, because that is all it depends on.
"""

import numpy as np
import torch

ORDER, AUGMENTATION, DROPOUT = range(3)
"""What a stream of random numbers is for; streams of one (seed, epoch) are independent."""


def stream_seed(seed: int, epoch: int, purpose: int) -> int:
    """A 63-bit seed for one purpose in one epoch, well mixed, so that neighbouring seeds have nothing in common."""
    return int(np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, epoch: int, purpose: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for one purpose in one epoch."""
    return torch.Generator(device).manual_seed(stream_seed(seed, epoch, purpose))
