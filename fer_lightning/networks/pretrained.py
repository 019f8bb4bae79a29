"""Weights to begin with (`model.weights`): PyTorch's ImageNet weights, a state dict of torchvision's, or our own.

Reading them runs no code of the file, and everything is compared with the network before any weight is changed.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from fer_lightning.errors import InputError
from fer_lightning.networks.backbones import BACKBONES
from fer_lightning.networks.expression_network import ExpressionNetwork
from fer_lightning.networks.weight_files import SUFFIX, card_of, load_network, verify
from fer_lightning.settings import IMAGENET, ModelSettings

HOST = "https://download.pytorch.org/models/"

NAMED = 3
"""Parameters of each kind that a message names, at most."""


def load_pretrained(network: ExpressionNetwork, model: ModelSettings) -> dict[str, str]:
    """Give a network the weights of `model.weights`; returns the file's name and SHA-256, and what became of its head.

    The head of our own files is kept, unless `model.new_head`; that of a state dict of torchvision's is left out,
    whatever classes it is of. Raises InputError, with the network as it was, where the file cannot be fetched or read,
    and where its parameters are not those of the network.
    """
    assert model.weights is not None
    path = imagenet_file(model.kind) if model.weights == IMAGENET else Path(model.weights).expanduser()
    if not path.is_file():
        raise InputError(f"model.weights={model.weights}: no such file")
    content = None if is_our_own(path) else read_tensors(path)
    if content is None or "hyper_parameters" in content:
        weights, keeps_head = own_weights(path, model, network), not model.new_head
    else:
        weights, keeps_head = published_weights(path, model, network, content), False
    network.load_state_dict(weights, strict=False)
    return {"weights": path.name, "sha256": sha256_of(path), "head": "kept" if keeps_head else "new"}


def imagenet_file(kind: str) -> Path:
    """PyTorch's file of ImageNet weights, fetched into torch's cache where it is not there yet.

    Raises InputError where it cannot be fetched, and for a damaged one.
    """
    name = BACKBONES[kind].file
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    try:
        torch.hub.load_state_dict_from_url(HOST + name, map_location="meta", check_hash=True, weights_only=True)
    except Exception as error:  # of the network, of a proxy, of the file
        raise InputError(
            f"model.weights={IMAGENET}: {HOST}{name} cannot be fetched or read ({reason_of(error)}). Put the file at "
            f"{path}, or name a file by model.weights=FILE"
        ) from error
    prefix = path.stem.rpartition("-")[2]
    if not (digest := sha256_of(path)).startswith(prefix):  # torch checks what it fetches, not what is in its cache
        raise InputError(f"{path}: damaged (its SHA-256 begins with {digest[:8]}, not {prefix}). Remove it")
    return path


def is_our_own(path: Path) -> bool:
    """Whether a file's name, or the card beside it, says that it is of this project."""
    return path.suffix == ".ckpt" or (path.suffix == SUFFIX and card_of(path).is_file())


def read_tensors(path: Path) -> dict[str, Any]:
    """The content of a .safetensors file, or of torch's in its new or old form. Raises InputError for any other."""
    try:
        if path.suffix == SUFFIX:
            return safetensors.torch.load(path.read_bytes())
        if zipfile.is_zipfile(path):
            verify(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes raise anything
        raise InputError(f"{path}: not weights that can be read safely, or damaged ({reason_of(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: a torch file, but not the parameters of a network by name")
    return content


def own_weights(path: Path, model: ModelSettings, network: ExpressionNetwork) -> dict[str, Tensor]:
    """The parameters of a checkpoint or of exported weights, the head's where it is kept.

    Raises InputError where they are of another network.
    """
    trained = load_network(path)
    if trained.model.kind != model.kind:
        raise InputError(f"{path}: a network of model.kind={trained.model.kind}; model={model.name} is {model.kind}")
    taken = ("features.",) if model.new_head else ("features.", "head.")
    wanted, found = (
        {name: value for name, value in each.state_dict().items() if name.startswith(taken)}
        for each in (network, trained.network)
    )
    require_same_parameters(f"{path}: not the layers of model={model.name}", wanted, found)
    return found


def published_weights(
    path: Path, model: ModelSettings, network: ExpressionNetwork, content: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The parameters of a state dict with torchvision's names, by our names, without its last layer.

    It may stand under `state_dict` or `model`, with names that begin with `module.` (torch's DataParallel). Raises
    InputError where it is of another network.
    """
    if (backbone := BACKBONES.get(model.kind)) is None:
        raise InputError(
            f"{path}: no checkpoint or exported weights of fer_lightning, the only ones that model={model.name} takes"
        )
    content = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), content)
    found = {str(name).removeprefix("module."): value for name, value in content.items()}
    if not found or not all(isinstance(value, Tensor) and value.layout == torch.strided for value in found.values()):
        raise InputError(f"{path}: a torch file, but not the parameters of a network by name")
    own = network.state_dict()
    wanted = {name.removeprefix("features."): own[name] for name in own if name.startswith("features.")}
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):  # older files have none, which torch itself allows
            found.setdefault(name, torch.zeros_like(value))
    classes = len(scores) if (scores := found.get(f"{backbone.scores}.bias")) is not None and scores.ndim else 1000
    last = {"weight": (classes, backbone.width), "bias": (classes,)}
    shapes = {f"{backbone.scores}.{part}": torch.empty(shape, device="meta") for part, shape in last.items()}
    require_same_parameters(f"{path}: not torchvision's {model.kind}", wanted | shapes, found)
    return {f"features.{name}": found[name] for name in wanted}


def require_same_parameters(what: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise InputError, beginning with `what`, where names, shapes or kinds of number differ, and for NaN."""
    shared = [name for name in wanted if name in found]
    faults = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {tuple(found[name].shape)}, expected {tuple(wanted[name].shape)}"
            for name in shared
            if found[name].shape != wanted[name].shape
        ],
        "of another type": [
            name for name in shared if found[name].is_floating_point() != wanted[name].is_floating_point()
        ],
        "not finite": [name for name in shared if not found[name].isfinite().all()],
    }
    told = [
        f"{fault}: {', '.join(names[:NAMED])}" + f" and {len(names) - NAMED} more" * (len(names) > NAMED)
        for fault, names in faults.items()
        if names
    ]
    if told:
        raise InputError(f"{what} ({'; '.join(told)})")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason_of(error: Exception) -> str:
    """The first line of an error's message, or its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
