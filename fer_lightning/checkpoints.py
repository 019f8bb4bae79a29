"""Checkpoints: written whole or not at all, and read back without running code."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fer_lightning.classifiers import ExpressionClassifier, build_classifier
from fer_lightning.config import checked
from fer_lightning.errors import InputError
from fer_lightning.weights import SUFFIX, read_weights
from fer_lightning.whole_files import whole_file

BEST, LAST = "best.ckpt", "last.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to disk and renames: a checkpoint is the old one or the new one, never half."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch makes a RuntimeError of a full disk, with the cause as context
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            raise InputError(
                f"{path}: the checkpoint could not be written ({getattr(cause, 'strerror', None) or cause}); "
                "the earlier one is kept"
            ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of this project, or of weights with their card, on the CPU.

    Runs no code of it. Every byte is checked against the checksums that torch writes, and does not verify itself, or
    the card's. Raises InputError for any other file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        if path.suffix == SUFFIX:
            content = read_weights(path)
        else:
            _verify(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes raise whatever they like
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a checkpoint that can be read safely, or damaged ({reason[:200]})") from error
    if not isinstance(content, dict) or not {"state_dict", "hyper_parameters"} <= content.keys():
        raise InputError(
            f"{path}: a torch file, but not a checkpoint of fer_lightning (no state_dict and hyper_parameters)"
        )
    settings = content["hyper_parameters"]
    if not isinstance(settings, dict) or not {"model", "inputs"} <= settings.keys():
        raise InputError(f"{path}: a Lightning checkpoint of another project (it names no model and inputs)")
    if not isinstance(content.get("config", {}), dict):
        raise InputError(f"{path}: its `config` holds no settings")
    return content


def trained_data(path: Path) -> dict[str, Any] | None:
    """The checked `data` settings that a checkpoint was trained with, or None where it does not say."""
    data = read_checkpoint(path).get("config", {}).get("data")
    try:
        return None if data is None else checked({"data": data})["data"]
    except InputError as error:
        raise InputError(f"{path}: its settings cannot be used: {error}") from error


def _verify(path: Path) -> None:
    """Raise ValueError where a byte is not what torch wrote, or where a member would unpack to more than the file."""
    with zipfile.ZipFile(path) as archive:
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("its members are compressed, which torch does not do")
        if (name := archive.testzip()) is not None:
            raise ValueError(f"{name} fails its checksum")


def load_classifier(path: Path) -> ExpressionClassifier:
    """The classifier that a checkpoint holds, ready to classify, on the CPU.

    Raises InputError where its settings name no network, or one of other sizes than its weights, before anything of
    these sizes is allocated.
    """
    content = read_checkpoint(path)
    weights = content["state_dict"]
    try:
        with torch.device("meta"):
            sketch = build_classifier(**content["hyper_parameters"]).state_dict()
    except Exception as error:
        raise InputError(
            f"{path}: its settings name no network ({str(error)[:200] or type(error).__name__})"
        ) from error
    sizes = {name: tuple(value.shape) for name, value in sketch.items()}
    kept = {name: tuple(value.shape) for name, value in weights.items() if _whole(value)} if _named(weights) else {}
    if sizes != kept:
        wrong = sorted(name for name in sizes.keys() | kept.keys() if sizes.get(name) != kept.get(name))
        raise InputError(f"{path}: its weights do not fit the network it names ({', '.join(wrong[:3])})")
    classifier = build_classifier(**content["hyper_parameters"])
    classifier.load_state_dict(weights)
    return classifier.eval()


def _named(weights: Any) -> bool:
    return isinstance(weights, dict) and all(isinstance(name, str) for name in weights)


def _whole(value: Any) -> bool:
    """Whether this is a plain tensor whose every value stands in the file."""
    return type(value) is torch.Tensor and value.untyped_storage().nbytes() >= value.nbytes
