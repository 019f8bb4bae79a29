"""torch.compile in training: where it pays, and whether what it needs is there."""

import os
import shutil
from typing import Literal

from fer_lightning.errors import InputError


def is_compiled(switch: bool | Literal["auto"], on_gpu: bool) -> bool:
    """Whether a run is compiled, by its setting `compile`. Raises InputError where it must be and no compiler is there.

    auto: on CUDA alone. On two CPU cores a compiled vgg_pooled trained at 0.8 times the speed (benchmarks/README.md).
    """
    if switch == "auto":
        return on_gpu and _missing(on_gpu) is None
    if switch and (missing := _missing(on_gpu)) is not None:
        raise InputError(f"compile=true: torch.compile needs {missing}. Install it, or give compile=auto")
    return switch


def _missing(on_gpu: bool) -> str | None:
    """What torch.compile lacks on this machine, None where nothing."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    if not any(shutil.which(name) for name in names if name):
        return "a C++ compiler (g++ or clang++)"
    if on_gpu:
        from torch.utils._triton import has_triton

        if not has_triton():
            return "Triton"
    return None
