"""Probabilities by one network or an ensemble, from each face alone or several views of it (test-time augmentation)."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.errors import InputError
from fer_lightning.networks import ExpressionNetwork
from fer_lightning.networks.preprocessing import SIDE, Form
from fer_lightning.networks.weight_files import TrainedNetwork, load_network
from fer_lightning.weights import BUNDLED, weights_path

CROP = 44
"""Side of the ten crops of a 48-pixel face, pixels."""

BATCH = 256
"""Faces classified at once."""


@dataclass(frozen=True)
class Ensemble:
    """One network or several; its prediction is the mean of their probabilities.

    names: of their files, or `bundled`; checksums: the files' SHA-256.
    """

    members: list[TrainedNetwork]
    names: list[str]
    checksums: list[str]

    @property
    def networks(self) -> list[ExpressionNetwork]:
        """The members' networks."""
        return [member.network for member in self.members]

    @property
    def form(self) -> Form:
        """The faces that the networks are best given: in colour where one was trained so, of the largest side."""
        return Form(*(max(values) for values in zip(*(network.form for network in self.networks), strict=True)))

    @property
    def name(self) -> str:
        """The members' models, as in `conv_deep + 2 x hybrid_deep`."""
        counts = Counter(member.model.name for member in self.members)
        return " + ".join(model if count == 1 else f"{count} x {model}" for model, count in counts.items())

    @property
    def provenance(self) -> dict[str, Any]:
        """Files, checksums and names of training data, as evaluation.json has them: lists, or values of one network."""
        columns: dict[str, list[Any]] = {
            "checkpoint": self.names,
            "checkpoint_sha256": self.checksums,
            "trained_on": [member.data.name if member.data else None for member in self.members],
        }
        return {key: column if len(column) > 1 else column[0] for key, column in columns.items()}


def load_ensemble(checkpoint: str | list[str], device: str) -> Ensemble:
    """The networks of one checkpoint or several, on `device`: cpu, cuda, or auto for the GPU where there is one.

    checkpoint: paths; the text `bundled` is the package's own weights.
    Raises InputError for a file that is no checkpoint, for the same one twice, and without a GPU for cuda.
    """
    given = [checkpoint] if isinstance(checkpoint, str) else checkpoint
    paths = [weights_path(name) for name in given]
    members = [load_network(path) for path in paths]
    checksums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    if repeated := [path for number, path in enumerate(paths) if checksums[number] in checksums[:number]]:
        raise InputError(f"checkpoint: {repeated[0]} is given twice; an ensemble is of different checkpoints")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda: torch sees no CUDA GPU here; device=cpu works everywhere")
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    for member in members:
        member.network.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    names = [name if name == BUNDLED else str(path) for name, path in zip(given, paths, strict=True)]
    return Ensemble(members, names, checksums)


def views(faces: Tensor, tta: str) -> list[Tensor]:
    """The pictures of (B, C, H, W) faces that a network classifies, each (B, C, H, W).

    tta: none (the face), flip (and its mirror image), or tencrop (Krizhevsky et al., NIPS 2012): four corners and the
    centre, CROP 48ths of the face wide, and their mirror images, enlarged to the face's size, since a network's input
    is fixed.
    """
    if tta == "none":
        return [faces]
    if tta == "flip":
        return [faces, faces.flip(-1)]
    if tta != "tencrop":
        raise ValueError(f"tta={tta!r}: expected none, flip or tencrop")
    side = round(faces.shape[-1] * CROP / SIDE)
    far_y, far_x = faces.shape[-2] - side, faces.shape[-1] - side
    corners = ((0, 0), (0, far_x), (far_y, 0), (far_y, far_x), (far_y // 2, far_x // 2))
    crops = [faces[..., top : top + side, left : left + side] for top, left in corners]
    enlarged = [F.interpolate(crop, size=faces.shape[-2:], mode="bilinear", align_corners=False) for crop in crops]
    return [view for crop in enlarged for view in (crop, crop.flip(-1))]


@torch.inference_mode()
def predict_probabilities(
    networks: Sequence[ExpressionNetwork], faces: Tensor, tta: str = "none", progress: bool = False
) -> Tensor:
    """Probabilities (networks, N, 7) on the CPU, of each network the mean over the views of a face.

    faces: (N, C, H, H), values 0 to 255, brought to what each network was trained on; tta: as in `views`; progress:
    whether to show a bar. HOG is the view's.
    """
    done = []
    for batch in track(faces.split(BATCH), "classifying", transient=True, disable=not progress):
        per_network = []
        for network in networks:
            pictures = views(network.preprocessing.as_trained(batch.to(network.temperature.device)).float(), tta)
            per_network.append(torch.stack([network.probabilities(view) for view in pictures]).mean(dim=0).cpu())
        done.append(torch.stack(per_network))
    return torch.cat(done, dim=1)
