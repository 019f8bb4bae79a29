"""Networks from files as one function, from faces to the mean of their probabilities. Imports torch."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fer_lightning.data.tensors import picture_tensor
from fer_lightning.errors import InputError
from fer_lightning.evaluation.inference import load_ensemble, views
from fer_lightning.networks.onnx_files import OnnxNetwork, load_onnx, write_onnx
from fer_lightning.networks.weight_files import load_network
from fer_lightning.recognition.crops import CropForm
from fer_lightning.weights import BUNDLED, weights_path

BATCH = 32
"""Faces classified at once: their maps stay in a processor's cache, which makes them twice as fast as 256."""


class Ensemble:
    """An ensemble of networks, run by torch or by onnxruntime. Threads may share it."""

    def __init__(self, weights: Sequence[str | Path], tta: str, runtime: str, device: str):
        paths = [weights_path(path) for path in weights or [BUNDLED]]
        in_onnx = [path for path in paths if path.suffix == ".onnx" or runtime == "onnx"]
        in_torch = [path for path in paths if path not in in_onnx]
        if runtime == "torch" and in_onnx:
            raise InputError(f"{in_onnx[0]}: an .onnx file is run by onnxruntime; leave runtime out, or give onnx")
        if device == "cuda" and in_onnx:
            raise InputError("device cuda: onnxruntime is used on the CPU here; give runtime torch and no .onnx file")
        self._tta = tta
        self._sessions = [_session(path) for path in in_onnx]
        self._networks = load_ensemble([str(path) for path in in_torch], device).networks if in_torch else []
        for network in self._networks:
            fold_batch_norm(network)
        forms = [network.form for network in self._networks] + [session.form for session in self._sessions]
        self.form = CropForm(max(form.channels for form in forms), max(form.side for form in forms))
        """The faces that it takes: in colour where a network was trained so, of the largest side."""

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Probabilities (N, 7) float32 of faces (N, side, side) or (N, side, side, 3), uint8."""
        batches = [self._probabilities(faces[start : start + BATCH]) for start in range(0, len(faces), BATCH)]
        return np.concatenate(batches)

    @torch.inference_mode()
    def _probabilities(self, faces: np.ndarray) -> np.ndarray:
        flipped = [faces] if self._tta == "none" else [faces, faces[:, :, ::-1]]
        members = [np.mean([session.probabilities(view) for view in flipped], axis=0) for session in self._sessions]
        for network in self._networks:  # `predict_probabilities` without its bar, a tenth of the time of one face
            given = network.preprocessing.as_trained(picture_tensor(faces).to(network.temperature.device))
            pictures = views(given.float(), self._tta)
            both = torch.stack([network.probabilities(view) for view in pictures])
            members.append(both.mean(dim=0).cpu().numpy())
        return np.asarray(np.mean(members, axis=0, dtype=np.float32))


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each batch normalisation into the convolution or linear layer before it: the same function, faster."""
    for block in list(network.modules()):
        named = list(block.named_children())
        for (name, layer), (name_of_norm, norm) in itertools.pairwise(named):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                folded: nn.Module = fuse_conv_bn_eval(layer, norm)
            elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                folded = fuse_linear_bn_eval(layer, norm)
            else:
                continue
            setattr(block, name, folded.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
            setattr(block, name_of_norm, nn.Identity())


def _session(path: Path) -> OnnxNetwork:
    """The network of an .onnx file, or of other weights by way of a temporary one."""
    if path.suffix == ".onnx":
        return load_onnx(path)
    with tempfile.TemporaryDirectory(prefix="fer_lightning-") as folder:
        file = Path(folder) / f"{path.stem}.onnx"
        network = load_network(path)
        channels, side = network.network.form
        shape = (8, side, side) if channels == 1 else (8, side, side, 3)
        write_onnx(file, network, {}, [np.random.default_rng(0).integers(0, 256, shape, np.uint8)])
        return load_onnx(file)
