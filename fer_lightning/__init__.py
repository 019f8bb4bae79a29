"""Facial-expression recognition on FER2013: an experiment suite on PyTorch Lightning with Hydra sweeps."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_EXPORTS = {
    "EXPRESSIONS": "fer_lightning.expressions",
    "Face": "fer_lightning.recognition.recognizer",
    "Recognizer": "fer_lightning.recognition.recognizer",
    "build_network": "fer_lightning.networks",
    "load_network": "fer_lightning.networks.weight_files",
}
"""Public names, imported on first use, so that `import fer_lightning` loads neither torch nor Hydra."""

__all__ = ["EXPRESSIONS", "Face", "Recognizer", "__version__", "build_network", "load_network"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
