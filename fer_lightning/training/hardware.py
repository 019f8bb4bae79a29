"""What this machine is good at: precision and memory format, unless the user names them."""

import torch

from fer_lightning.errors import InputError

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def has_gpu(accelerator: str) -> bool:
    """Whether Lightning's `trainer.accelerator` means a CUDA GPU here."""
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def choose_precision(precision: str | int, accelerator: str) -> str | int:
    """Lightning's precision for `auto`: bf16 where the hardware computes in it, 16 bits with scaling on older GPUs."""
    if precision != "auto":
        return precision
    if has_gpu(accelerator):
        return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "16-mixed"
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available() and cpu_computes_in_bf16():
        return "bf16-mixed"
    return "32-true"


def cpu_computes_in_bf16() -> bool:
    """Whether the CPU has bf16 instructions (AVX512-BF16, AMX or Arm's); emulated bf16 is slower than 32 bits."""
    x86 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(x86 or torch.backends.cpu.get_cpu_capability() == "SVE256")


def choose_memory_format(memory_format: str) -> torch.memory_format:
    """Layout of the feature maps. `auto` is channels_last: faster with mixed precision, and on CPUs in 32 bits too."""
    if memory_format == "auto":
        return torch.channels_last
    if memory_format not in MEMORY_FORMATS:
        raise InputError(f"memory_format={memory_format!r}: expected auto, {' or '.join(MEMORY_FORMATS)}")
    return MEMORY_FORMATS[memory_format]
