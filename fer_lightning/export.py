"""Write the network of a checkpoint for use elsewhere, and compare its probabilities with the checkpoint's.

python -m fer_lightning.export --checkpoint RUN/checkpoints/best.ckpt --format safetensors|onnx [--output FILE]
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_lightning.cli import fail
from fer_lightning.errors import InputError
from fer_lightning.weights import weights_path

if TYPE_CHECKING:
    import numpy as np

    from fer_lightning.networks.preprocessing import Form
    from fer_lightning.networks.weight_files import Precision, TrainedNetwork

SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx"}
"""File name suffix of each format."""

PROBES = 64
"""Synthetic faces that both networks classify: half of the size that the networks take, half of 96x80."""


def export(
    checkpoint: str | Path,
    format: str = "safetensors",
    output: Path | None = None,
    precision: "Precision" = "full",
    calibration: Path | None = None,
) -> tuple[Path, float]:
    """Write a checkpoint's network in another form; returns the file and the largest difference of a probability.

    checkpoint: also `bundled`. output: default MODEL.SUFFIX in the checkpoint's run folder. precision: full or half,
    of safetensors. calibration: an evaluation.json of the checkpoint, whose temperature the file gets. Raises
    InputError for a file that is no checkpoint, where files exist or cannot be written, for an evaluation of another
    network, and where an ONNX file would give other probabilities than torch; no file is kept then.
    """
    from fer_lightning.networks.onnx_files import write_onnx
    from fer_lightning.networks.weight_files import load_network, write_weights

    file, suffix = weights_path(checkpoint), SUFFIXES[format]
    trained = load_network(file)
    path = output or default_folder(checkpoint, file) / f"{trained.model.name}{suffix}"
    if path.suffix != suffix:
        raise InputError(f"--output {path}: expected a name that ends in {suffix}")
    if format == "onnx" and precision == "half":
        raise InputError("--precision half: of safetensors alone; an ONNX file holds 32 bits")
    about = card_of_export(file, trained, unchanged=precision == "full" and calibration is None)
    if calibration is not None:
        trained.network.temperature.mul_(temperature_of(calibration, file))
    about |= {"temperature": float(trained.network.temperature)}
    if format == "onnx":
        return path, write_onnx(path, trained, about, probes(trained.network.form))
    write_weights(path, trained, about | {"precision": precision}, precision)
    return path, difference(trained, load_network(path))


def default_folder(checkpoint: str | Path, file: Path) -> Path:
    """The run folder of a checkpoint, else the folder of the file; the working folder for the bundled weights."""
    if file != Path(checkpoint).expanduser():
        return Path()
    return file.parent.parent if file.parent.name == "checkpoints" else file.parent


def card_of_export(file: Path, trained: "TrainedNetwork", unchanged: bool) -> dict[str, Any]:
    """What the new card says of the network beside its settings, without paths of this machine.

    unchanged: whether the network stays as it is, so that what its own card says of it (its accuracy) holds on.
    """
    from fer_lightning import __version__
    from fer_lightning.networks.weight_files import SUFFIX, card_content, card_of, read_card
    from fer_lightning.settings import DataOnly, dump, path_keys

    kept = read_card(card_of(file)) if unchanged and file.suffix == SUFFIX else {}
    kept = {key: value for key, value in kept.items() if key not in card_content(trained, "", {})}
    private, values = path_keys(DataOnly), dump(trained.data).items() if trained.data else ()
    data = {key: None if f"data.{key}" in private else value for key, value in values} or None
    return kept | {"fer_lightning": __version__, "epoch": trained.epoch, "config": {"data": data}}


def temperature_of(calibration: Path, checkpoint: Path) -> float:
    """The temperature that an evaluation.json fitted for this checkpoint. Raises InputError for any other file."""
    try:
        evaluation = json.loads(calibration.read_text(encoding="utf-8"))
        temperature, checksum, tta = (evaluation[key] for key in ("temperature", "checkpoint_sha256", "tta"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--calibration {calibration}: not an evaluation.json of fer_lightning.evaluate") from error
    if checksum != hashlib.sha256(checkpoint.read_bytes()).hexdigest():
        raise InputError(f"--calibration {calibration}: it is of another network than {checkpoint}")
    if tta != "none":
        raise InputError(f"--calibration {calibration}: its temperature is of tta={tta}; expected tta=none")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
        raise InputError(f"--calibration {calibration}: its temperature is {temperature}; expected a number above 0")
    return float(temperature)


def probes(form: "Form") -> "list[np.ndarray]":
    """PROBES faces of a form in two arrays, uint8, (N, H, W) or (N, H, W, 3): as drawn, and enlarged to 96x80."""
    import numpy as np
    from skimage.transform import resize

    from fer_lightning.data.synthetic import SMALLEST, synthetic_faces

    side = None if form.channels == 1 else form.side
    faces = synthetic_faces(max(PROBES, SMALLEST), side=side).images[:PROBES]
    half = PROBES // 2
    large = resize(faces[half:], (PROBES - half, 96, 80, *faces.shape[3:]), preserve_range=True)
    faces[0] = 128  # a flat one has no gradient
    return [faces[:half], large.round().astype(np.uint8)]


def difference(first: "TrainedNetwork", second: "TrainedNetwork") -> float:
    """Largest difference of two networks' probabilities on the probes."""
    import torch

    from fer_lightning.networks.onnx_files import AnySize

    given = probes(first.network.form)
    with torch.inference_mode():
        pairs = [[AnySize(one.network)(torch.from_numpy(faces)) for one in (first, second)] for faces in given]
    return max(float((before - after).abs().max()) for before, after in pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, export, and print the file and the difference."""
    parser = argparse.ArgumentParser(
        prog="python -m fer_lightning.export",
        description="Write the network of a checkpoint for use elsewhere, and compare its probabilities.",
        epilog="safetensors: the weights alone, and beside them a .json card with the network's settings and the "
        "weights' checksum. Neither file can run code; checkpoint=FILE.safetensors works in evaluate and visualize. "
        "onnx: one file from faces of any size to probabilities (N, 7), with the classes' names and the card in its "
        "metadata; the faces are uint8, grey (N, H, W), or RGB (N, H, W, 3) for a network that was trained on colour. "
        "It is kept only where it gives torch's probabilities within 1e-5.",
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="C", help="a checkpoint, a weights file, or bundled: the package's own"
    )
    parser.add_argument("--format", choices=list(SUFFIXES), default="safetensors", help="default: safetensors")
    parser.add_argument(
        "--output", "--out", type=Path, metavar="FILE", help="default: MODEL.SUFFIX in the checkpoint's run folder"
    )
    parser.add_argument(
        "--precision",
        choices=("full", "half"),
        default="full",
        help="of safetensors: half keeps 16 bits of a weight, half the file, and is read as 32 bits (default: full)",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="F", help="evaluation.json of this checkpoint (tta=none): its temperature"
    )
    given = parser.parse_args(arguments)
    try:
        path, largest = export(given.checkpoint, given.format, given.output, given.precision, given.calibration)
    except InputError as error:
        fail(str(error))
    beside = "" if given.format == "onnx" else f" and {path.with_suffix('.json').name}"
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB){beside}")
    print(f"largest difference of its probabilities on {PROBES} faces of two sizes: {largest:.1e}")


if __name__ == "__main__":
    main()
