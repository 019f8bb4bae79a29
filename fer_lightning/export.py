"""Write the network of a checkpoint for use elsewhere, and check that it gives the same answers.

python -m fer_lightning.export --checkpoint RUN/checkpoints/best.ckpt --format safetensors [--out FILE]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from fer_lightning import __version__
from fer_lightning.checkpoints import load_classifier, read_checkpoint, trained_data
from fer_lightning.commands import fail
from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.errors import InputError
from fer_lightning.weights import SUFFIX, card_of, write_weights

PROBES = 70
"""Drawn faces that both networks classify."""

PLACES = {"path", "votes", "cache_dir"}


def export(checkpoint: Path, out: Path | None) -> tuple[Path, float]:
    """Write the weights of a checkpoint and their card; the file, and the largest difference of its logits.

    Raises InputError for a file that is no checkpoint, and where the files stand already or cannot be written.
    """
    classifier = load_classifier(checkpoint)
    path = out or default_place(checkpoint, classifier.model["name"])
    if path.suffix != SUFFIX:
        raise InputError(f"--out {path}: expected a name that ends in {SUFFIX}")
    write_weights(path, classifier, about(checkpoint))
    faces = torch.from_numpy(synthetic_faces(PROBES).images)[:, None]
    with torch.inference_mode():
        difference = (load_classifier(path).classify(faces) - classifier.classify(faces)).abs().max()
    return path, float(difference)


def default_place(checkpoint: Path, name: str) -> Path:
    """Unless told: within the run of a checkpoint, named for its network."""
    folder = checkpoint.parent
    return (folder.parent if folder.name == "checkpoints" else folder) / f"{name}{SUFFIX}"


def about(checkpoint: Path) -> dict[str, Any]:
    """What the card says of where the weights come from; no path of this machine."""
    content, data = read_checkpoint(checkpoint), trained_data(checkpoint) or {}
    shown = {key: None if key in PLACES else value for key, value in data.items()}
    return {"fer_lightning": __version__, "epoch": content.get("epoch"), "config": {"data": shown or None}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fer_lightning.export",
        description="Write the network of a checkpoint for use elsewhere, and check that it gives the same answers.",
        epilog="safetensors: the weights alone, and beside them a .json card with the network's settings and the "
        "weights' checksum. Neither file can run code; checkpoint=FILE.safetensors works in evaluate and visualize.",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="C", help="a checkpoint of a run")
    parser.add_argument("--format", choices=["safetensors"], default="safetensors", help="default: safetensors")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: MODEL.safetensors in the checkpoint's run")
    given = parser.parse_args(arguments)
    try:
        path, difference = export(given.checkpoint, given.out)
    except InputError as error:
        fail(str(error))
    console = Console(highlight=False)
    console.print(f"{path} ({path.stat().st_size / 1e6:.1f} MB) and {card_of(path).name}", soft_wrap=True)
    console.print(f"largest difference of its logits on {PROBES} faces: {difference:.1e}")


if __name__ == "__main__":
    main()
