"""A network's files: Lightning checkpoints (.ckpt), and weights for others (.safetensors with a .json card).

Reading either runs no code of the file, and checks every byte against the checksums in it.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load, save
from torch import Tensor

from fer_lightning.errors import InputError
from fer_lightning.files import write_atomic, write_json
from fer_lightning.networks import ExpressionNetwork, build_network
from fer_lightning.networks.preprocessing import SIDE
from fer_lightning.settings import VERSION, DataOnly, DataSettings, ModelSettings, NetworkSettings, dump, restore

SUFFIX = ".safetensors"
Precision = Literal["full", "half"]
"""Of weights in a file: as they are, or 16 bits for those of conv and linear layers, nearly all; read as 32 bits."""

LARGEST_CARD = 64 << 10
"""Bytes of a card; ours have two thousand."""

PREFIX = "network."
"""Of the network's parameters in a checkpoint, where it is a part of the LightningModule."""

NOT_OF_THE_NETWORK = {"class_weights"}

_RENAMED = {
    "normalization.": "network.preprocessing.",
    "network.hidden.": "network.head.hidden.",
    "network.scores.": "network.head.scores.",
}
"""Prefixes of parameters in files of version 1."""

_RENAMED_CALLBACKS = {"KeepBestAndLast": "BestAndLastCheckpoint"}


@dataclass(frozen=True)
class TrainedNetwork:
    """A network ready to use, on the CPU and in evaluation mode, and what its file says of it.

    data: the settings of the data that it was trained with, None where the file does not say. pretrained: of the
    weights that training began with, file name and SHA-256; None: random ones.
    """

    network: ExpressionNetwork
    model: ModelSettings
    seed: int
    data: DataSettings | None
    epoch: int | None
    pretrained: dict[str, Any] | None = None


def load_network(path: Path) -> TrainedNetwork:
    """The network of a checkpoint or of exported weights.

    Raises InputError where the file's settings name no network, or one of other sizes than its weights, before anything
    of these sizes is allocated.
    """
    content = read_checkpoint(path)
    version, given = content.get("settings_version", 1), content["hyper_parameters"]
    values = {key: given[key] for key in NetworkSettings.model_fields if key in given}
    data = content.get("config", {}).get("data")
    trained_with = None if data is None else restore(DataOnly, {"data": data}, version, str(path)).data
    weights, pretrained = content["state_dict"], content.get("pretrained")
    if not (
        isinstance(pretrained, dict) and all(isinstance(word, str) for pair in pretrained.items() for word in pair)
    ):
        pretrained = None
    try:
        settings = restore(NetworkSettings, values, version, "its settings")
        with torch.device("meta"):
            sketch = build_network(settings.model, settings.inputs).state_dict()
    except Exception as error:
        raise InputError(
            f"{path}: its settings name no network ({str(error)[:200] or type(error).__name__})"
        ) from error
    sizes = {f"{PREFIX}{name}": tuple(value.shape) for name, value in sketch.items()}
    kept = {name: tuple(value.shape) for name, value in weights.items() if _is_whole(value)} if _named(weights) else {}
    wrong = [name for name in sizes.keys() | kept.keys() - NOT_OF_THE_NETWORK if sizes.get(name) != kept.get(name)]
    if wrong:
        raise InputError(f"{path}: its weights do not fit the network it names ({', '.join(sorted(wrong)[:3])})")
    network = build_network(settings.model, settings.inputs)
    network.load_state_dict({name.removeprefix(PREFIX): weights[name] for name in sizes})
    return TrainedNetwork(network.eval(), settings.model, settings.seed, trained_with, content.get("epoch"), pretrained)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, or of exported weights in the same form, on the CPU, as the newest version has it.

    Every byte is checked against the checksums that torch writes (and does not verify itself), or the card's. Raises
    InputError for any other file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        if path.suffix == SUFFIX:
            content = _read_weights(path)
        else:
            verify(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes raise anything
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
    return migrate(content)


def migrate(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's content with the names and shapes that this version of the project uses; changes `content`."""
    if content.get("settings_version", 1) == 1:
        _rename(content)
    for key in ("state_dict", "current_model_state"):
        weights = content.get(key)
        if isinstance(weights, dict) and _named(weights):
            _add_form(weights, content["hyper_parameters"]["inputs"])
    return content


def _rename(content: dict[str, Any]) -> None:
    """Names of version 1 made those of this one."""
    for key in ("state_dict", "current_model_state"):  # the second: the weights themselves, beside their average
        weights = content.get(key)
        if isinstance(weights, dict) and _named(weights):
            content[key] = {_renamed(name): value for name, value in weights.items()}
            content[key].setdefault(f"{PREFIX}temperature", torch.ones(()))
    if isinstance(callbacks := content.get("callbacks"), dict):
        content["callbacks"] = {_RENAMED_CALLBACKS.get(name, name): state for name, state in callbacks.items()}


def _add_form(weights: dict[str, Any], inputs: Any) -> None:
    """What files of earlier versions do not say: faces were grey, of 48 pixels, with one statistic for all channels."""
    place = f"{PREFIX}preprocessing."
    if f"{place}trained_on" in weights:
        return
    weights[f"{place}trained_on"] = torch.tensor([1.0, SIDE])
    if not isinstance(inputs, Mapping) or inputs.get("channels") != 3:
        return
    mean, std = weights.get(f"{place}mean"), weights.get(f"{place}std")
    if mean is not None and _is_whole(mean) and mean.ndim == 3:
        weights[f"{place}mean"] = mean[:1].repeat(3, 1, 1)
    if std is not None and _is_whole(std) and std.ndim == 0:
        weights[f"{place}std"] = std.repeat(3).view(3, 1, 1)


def _renamed(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def verify(path: Path) -> None:
    """Raise ValueError where a byte is not what torch wrote, or where a member would unpack to more than the file."""
    with zipfile.ZipFile(path) as archive:
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("its members are compressed, which torch does not do")
        if (name := archive.testzip()) is not None:
            raise ValueError(f"{name} fails its checksum")


def card_of(path: Path) -> Path:
    """Where the card of a weights file stands."""
    return path.with_suffix(".json")


def write_weights(path: Path, trained: TrainedNetwork, about: Mapping[str, Any], precision: Precision = "full") -> None:
    """Write a network's weights and its card, each atomically, the card last.

    about: what else the card says, plain values such as the data that the network was trained with. Raises InputError
    where the files cannot be written, or exist, and where a weight is too large for 16 bits.
    """
    for file in (path, card_of(path)):
        if file.exists():
            raise InputError(f"{file}: it exists; name another file, or remove it")
    weights = {name: value.contiguous() for name, value in trained.network.state_dict().items()}
    if precision == "half":
        for name, value in trained.network.named_parameters():
            if value.ndim > 1:  # not biases, statistics and the mean face: they are few, and some are large
                weights[name] = value.detach().half().contiguous()
                if not weights[name].isfinite().all():
                    raise InputError(f"--precision half: {name} holds values that 16 bits cannot; use full")
    content = save(weights)
    write_atomic(path, content)
    write_json(card_of(path), card_content(trained, hashlib.sha256(content).hexdigest(), about))


def card_content(trained: TrainedNetwork, weights_sha256: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """What the card of a network says: how to build it, the checksum of its weights, and `about`."""
    inputs = trained.network.preprocessing.inputs
    model = trained.model.model_copy(update={"weights": None, "new_head": False})  # a path of this machine
    settings = NetworkSettings(model=model, inputs=inputs, seed=trained.seed)
    own = {"weights_sha256": weights_sha256, "settings_version": VERSION, "hyper_parameters": dump(settings)}
    return {**own, **({"pretrained": trained.pretrained} if trained.pretrained else {}), **about}


def _read_weights(path: Path) -> dict[str, Any]:
    """Exported weights in the form of a checkpoint. Raises anything for files that are no pair of weights and card."""
    card, content = read_card(card_of(path)), path.read_bytes()
    if hashlib.sha256(content).hexdigest() != card["weights_sha256"]:
        raise ValueError(f"it fails the checksum in {card_of(path).name}")
    prefix = "" if card.get("settings_version", 1) == 1 else PREFIX
    return card | {"state_dict": {f"{prefix}{name}": value for name, value in load(content).items()}}


def read_card(path: Path) -> dict[str, Any]:
    """The card of a weights file, from the card's own path. Raises anything for a file that is no card."""
    if not path.is_file():
        raise ValueError(f"there is no card {path.name} beside it")
    with path.open("rb") as file:
        text = file.read(LARGEST_CARD + 1)
    if len(text) > LARGEST_CARD:
        raise ValueError(f"{path.name} has more than {LARGEST_CARD:,} bytes")
    card = json.loads(text)
    if not isinstance(card, dict) or not isinstance(card.get("weights_sha256"), str):
        raise ValueError(f"{path.name} is no card of weights")
    return card


def _named(weights: Any) -> bool:
    return isinstance(weights, dict) and all(isinstance(name, str) for name in weights)


def _is_whole(value: Any) -> bool:
    """Whether this is a plain tensor whose every value stands in the file."""
    return type(value) is Tensor and value.untyped_storage().nbytes() >= value.nbytes
