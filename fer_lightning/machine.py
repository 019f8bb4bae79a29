"""Where a result was made: machine, versions, commit. metrics.json of a run keeps it."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fer_lightning import __version__

PACKAGES = ("lightning", "numpy")


def provenance(device: str, precision: str) -> dict[str, Any]:
    """`machine`, `versions` and `commit` of this process.

    device: what computes, as torch writes it (`cpu`, `cuda:0`); precision: as Lightning writes it. commit: of this
    code, with `-dirty` where files have changed since; None outside a checkout.
    """
    import torch

    machine = {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "precision": precision,
    }
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}  # with +cpu or +cu130
    versions |= {name: version(name) for name in PACKAGES}
    versions["fer_lightning"] = __version__
    return {"machine": machine, "versions": versions, "commit": commit()}


def processor() -> str:
    """The processor's name."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the checkout that this code lies in; None for an installed package, and without git."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
