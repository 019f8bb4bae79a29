"""What the page says of its networks: the model card of the bundled one, or what the files of others tell."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.networks.onnx_files import load_onnx
from fer_lightning.networks.weight_files import load_network
from fer_lightning.weights import BUNDLED, weights_path
from fer_lightning.weights.card import model_card, read_card


def cards_of(weights: Sequence[str]) -> str:
    """The cards (Markdown) of weights files, or of the bundled network where none is named."""
    return "\n\n---\n\n".join(_card(name, weights_path(name)) for name in weights or [BUNDLED])


def _card(name: str, path: Path) -> str:
    if name == BUNDLED:
        return for_page(model_card(read_card(path.with_suffix(".json"))))
    if path.suffix == ".onnx":
        model = load_onnx(path).card["hyper_parameters"]["model"]["name"]
        parameters = "not stated in the file"
    else:
        trained = load_network(path)
        model = trained.model.name
        parameters = f"{sum(value.numel() for value in trained.network.parameters()):,}"
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return (
        f"# {path.name}\n\n| | |\n|:--|:--|\n| network | `{model}` |\n| parameters | {parameters} |\n"
        f"| SHA-256 of the file | `{checksum}` |\n\n"
        "These weights were given on the command line; the file does not say how accurate they are. "
        "`python -m fer_lightning.evaluate` measures it."
    )


def for_page(card: str) -> str:
    """A model card without its links into the repository and without how it was made."""
    card = re.sub(r"\nMade by .*?\n\n", "\n", card, flags=re.DOTALL)
    return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"`\1`", card)
