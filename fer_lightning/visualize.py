"""Pictures of a trained network: its filters, activation maps, dreams, saliency, and errors on the validation faces.

python -m fer_lightning.visualize checkpoint=RUN/checkpoints/best.ckpt
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from fer_lightning.checkpoints import load_classifier, trained_data
from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.commands import hydra_command
from fer_lightning.config import number, one_of, or_null, plain, whole
from fer_lightning.data.faces import VAL
from fer_lightning.data.sources import open_source
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures import activations, deepdream
from fer_lightning.figures.gallery import Subject, gallery
from fer_lightning.figures.sheet import png
from fer_lightning.files import write_atomic

CHECKS = {
    "channel": or_null(whole(0)),
    "images": whole(1),
    "dream.start": one_of("own", *EXPRESSIONS),
    "dream.octaves": whole(1, 5),
    "dream.steps": whole(1),
    "dream.rate": number(0, above=True),
    "dream.jitter": whole(0, 16),
    "dream.smoothness": number(0),
}


def visualize(config: dict[str, Any], folder: Path | None) -> Path:
    """Draw by a checked, plain config into `folder`, or beside the checkpoint; returns the folder."""
    if not isinstance(config["checkpoint"], str):
        given = config["checkpoint"]
        raise InputError(f"checkpoint={given}: expected a checkpoint such as runs/R/checkpoints/best.ckpt")
    console, path = Console(highlight=False), Path(config["checkpoint"]).expanduser()
    classifier = load_classifier(path)
    layer = require_layer(classifier, config["layer"], config["channel"])
    images, labels = val_faces(config, path)
    name = classifier.model["name"]
    subject = Subject(name, classifier.network, classifier.classify, images, labels, layer)
    in_run = path.parent.parent if path.parent.name == "checkpoints" else Path("runs") / path.stem
    folder = folder or in_run / "pictures"
    if layer is None:
        console.print(f"{name} has no conv layers: no filters, activation maps or Grad-CAM are drawn.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, picture in gallery(subject, config["dream"], config["layer"], config["channel"]):
            write_atomic(folder / f"{file}.png", png(picture))
            console.print(f"  {folder / file}.png", soft_wrap=True)
    except OSError as error:
        raise InputError(f"{folder}: the pictures cannot be written ({error.strerror or error})") from error
    return folder


def require_layer(classifier: ExpressionClassifier, layer: str | None, channel: int | None) -> str | None:
    """The layer of Grad-CAM, None for a network without any; InputError for a layer or channel it does not have."""
    if channel is not None and layer is None:
        raise InputError(f"channel={channel}: of which layer? Name one, as in layer=conv1 channel={channel}")
    if layer is None and not activations.conv_layers(classifier.network):
        return None
    layer = activations.require_layer(classifier.network, layer)
    deepdream.towards_layer(classifier.network, classifier.classify, layer, channel)
    return layer


def val_faces(config: dict[str, Any], path: Path) -> tuple[Tensor, Tensor]:
    """Validation faces (N, 1, 48, 48) and labels (N,): of the named data, or of that of the checkpoint's training."""
    data = config["data"]
    if "name" not in data:
        trained = trained_data(path)
        if not trained:
            raise InputError(f"{path} does not say what it was trained with; name the data, as in data=synthetic")
        data = trained | {key: value for key, value in data.items() if value is not None}
    try:
        faces = open_source(data)
    except KeyError as error:
        raise InputError(f"{path}: its settings of data lack {error}; name the data, as in data=synthetic") from error
    rows = faces.rows(VAL)[: config["images"]]
    if not len(rows):
        raise InputError(f"data.path={data['path']}: there is no validation face in it")
    return torch.from_numpy(faces.images[rows])[:, None], torch.from_numpy(faces.labels[rows].astype(np.int64))


def require_valid(config: dict[str, Any]) -> None:
    """Raise InputError for a value out of range."""
    for key, (check, expected) in CHECKS.items():
        value = config
        for name in key.split("."):
            value = value[name]
        if not check(value):
            raise InputError(f"{key}={value!r}: expected {expected}")


@hydra_command("visualize")
def main(config: DictConfig) -> None:
    values, hydra = plain(config), HydraConfig.get()
    require_valid(values)
    told = any(override.startswith("hydra.run.dir=") for override in hydra.overrides.hydra)
    visualize(values, Path(hydra.runtime.output_dir) if told else None)


if __name__ == "__main__":
    main()
