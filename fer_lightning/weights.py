"""Weights for others: a .safetensors file of tensors alone, and beside it a .json card that says what network it is.

Neither can run code. The card holds the checksum of the weights, so that a flipped bit is seen.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.errors import InputError
from fer_lightning.whole_files import write_json, write_whole

SUFFIX = ".safetensors"
LARGEST_CARD = 64 << 10
"""Bytes of a card; ours have two thousand."""


def card_of(path: Path) -> Path:
    """Where the card of a weights file stands."""
    return path.with_suffix(".json")


def write_weights(path: Path, classifier: ExpressionClassifier, about: dict[str, Any]) -> None:
    """Write a classifier's weights and its card, each whole or not at all, the card last.

    about: what else the card says, plain values such as the data that it was trained with. Raises InputError where the
    files cannot be written, or stand there already.
    """
    for file in (path, card_of(path)):
        if file.exists():
            raise InputError(f"{file}: it exists; name another file, or remove it")
    data = save({name: value.contiguous() for name, value in classifier.state_dict().items()})
    card = {
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "hyper_parameters": dict(classifier.hparams),
        **about,
    }
    write_whole(path, data)
    write_json(card_of(path), card)


def read_weights(path: Path) -> dict[str, Any]:
    """What a checkpoint of the same weights holds: `state_dict`, and the card's other entries.

    Raises ValueError, OSError or what safetensors raises for files that are not a pair of weights and card.
    """
    card, data = read_card(path), path.read_bytes()
    if hashlib.sha256(data).hexdigest() != card["weights_sha256"]:
        raise ValueError(f"it fails the checksum in {card_of(path).name}")
    return card | {"state_dict": load(data)}


def read_card(path: Path) -> dict[str, Any]:
    """The card of a weights file."""
    file = card_of(path)
    if not file.is_file():
        raise ValueError(f"there is no card {file.name} beside it")
    with file.open("rb") as opened:
        text = opened.read(LARGEST_CARD + 1)
    if len(text) > LARGEST_CARD:
        raise ValueError(f"{file.name} has more than {LARGEST_CARD:,} bytes")
    card = json.loads(text)
    if not isinstance(card, dict) or not isinstance(card.get("weights_sha256"), str):
        raise ValueError(f"{file.name} is no card of weights")
    return card
