"""Write the network of a checkpoint for use elsewhere, and check that its logits stay the same.

python -m fer_lightning.export --checkpoint RUN/checkpoints/best.ckpt --format safetensors [--out FILE]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.cli import fail
from fer_lightning.errors import InputError

SUFFIXES = {"safetensors": ".safetensors"}
"""File name suffix of each format."""

PROBES = 70
"""Synthetic faces that both networks classify."""


def export(checkpoint: Path, format: str = "safetensors", out: Path | None = None) -> tuple[Path, float]:
    """Write the weights of a checkpoint and their card; returns the file and the largest difference of its logits.

    out: default MODEL.SUFFIX in the checkpoint's run folder. Raises InputError for a file that is no checkpoint, and
    where the files exist or cannot be written.
    """
    import torch

    from fer_lightning import __version__
    from fer_lightning.data.synthetic import synthetic_faces
    from fer_lightning.networks.weight_files import load_network, write_weights
    from fer_lightning.settings import dump

    trained, folder, suffix = load_network(checkpoint), checkpoint.parent, SUFFIXES[format]
    path = out or (folder.parent if folder.name == "checkpoints" else folder) / f"{trained.model.name}{suffix}"
    if path.suffix != suffix:
        raise InputError(f"--out {path}: expected a name that ends in {suffix}")
    values = dump(trained.data).items() if trained.data else ()
    data = {key: None if key in ("path", "votes", "cache_dir") else value for key, value in values} or None
    write_weights(path, trained, {"fer_lightning": __version__, "epoch": trained.epoch, "config": {"data": data}})
    faces = torch.from_numpy(synthetic_faces(PROBES).images)[:, None]
    with torch.inference_mode():
        return path, float((load_network(path).network(faces) - trained.network(faces)).abs().max())


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, export, and print the file and the difference."""
    parser = argparse.ArgumentParser(
        prog="python -m fer_lightning.export",
        description="Write the network of a checkpoint for use elsewhere, and check that its logits stay the same.",
        epilog="safetensors: the weights alone, and beside them a .json card with the network's settings and the "
        "weights' checksum. Neither file can run code; checkpoint=FILE.safetensors works in evaluate and visualize.",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="C", help="a checkpoint of a run")
    parser.add_argument("--format", choices=list(SUFFIXES), default="safetensors", help="default: safetensors")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: MODEL.safetensors in the checkpoint's run")
    given = parser.parse_args(arguments)
    try:
        path, difference = export(given.checkpoint, given.format, given.out)
    except InputError as error:
        fail(str(error))
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB) and {path.with_suffix('.json').name}")
    print(f"largest difference of its logits on {PROBES} faces: {difference:.1e}")


if __name__ == "__main__":
    main()
