"""The network that comes with the package: bundled.safetensors, and bundled.json, its card.

May import errors and files, nothing heavy. `python -m fer_lightning.weights` prints the card for reading.
"""

from importlib.resources import files
from pathlib import Path

from fer_lightning.errors import InputError

BUNDLED = "bundled"
"""What a command calls the weights in the package."""


def bundled() -> Path:
    """The weights file of the package; its card stands beside it. Raises InputError where it was left out."""
    path = Path(str(files(__name__) / f"{BUNDLED}.safetensors"))
    if not path.is_file():
        raise InputError(f"{path}: this installation has no bundled weights; name a checkpoint or a weights file")
    return path


def weights_path(given: str | Path) -> Path:
    """The file that a command was given: the text `bundled` is the package's own, anything else a path.

    A file called bundled in the working folder is given as ./bundled.
    """
    return bundled() if given == BUNDLED else Path(given).expanduser()
