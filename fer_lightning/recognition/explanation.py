"""What in a face speaks for its emotion: Grad-CAM of the networks that a recognizer uses. Imports torch."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.data.tensors import picture_tensor
from fer_lightning.evaluation.inference import load_ensemble
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.activations import conv_layers
from fer_lightning.figures.saliency import grad_cam
from fer_lightning.networks import ExpressionNetwork
from fer_lightning.weights import BUNDLED, weights_path


class Explanation:
    """Element-wise Grad-CAM (HiResCAM) of networks, of their last conv layer. Threads may share it.

    missing: why there is none, for people, or None: onnxruntime computes no gradients, and a network of fully connected
    layers has no maps. Of an ensemble, the mean over the networks that have one.
    """

    def __init__(self, weights: Sequence[str | Path], device: str = "auto"):
        """weights, device and errors: as in `Recognizer.load`."""
        in_torch = [str(path) for path in weights or [BUNDLED] if weights_path(path).suffix != ".onnx"]
        trained = load_ensemble(in_torch, device).networks if in_torch else []
        self._networks = [network for network in trained if conv_layers(network)]
        self._lock = threading.Lock()  # a network's maps are recorded while it runs
        self.missing: str | None = None
        if not in_torch:
            self.missing = (
                "Grad-CAM needs gradients, which onnxruntime does not compute: give a .safetensors or .ckpt file"
            )
        elif not self._networks:
            self.missing = "Grad-CAM shows a conv layer, and this network has none"

    def heat(self, crops: np.ndarray, emotions: Sequence[str]) -> np.ndarray | None:
        """Grad-CAM (N, side, side) float32 for each face's emotion, its largest value 1; None where it is missing.

        crops: (N, side, side) or (N, side, side, 3) uint8. A face in which nothing speaks for its emotion is all 0.
        """
        if self.missing:
            return None
        if not len(crops):
            return np.zeros(crops.shape[:3], np.float32)
        faces, labels = picture_tensor(crops), torch.tensor([EXPRESSIONS.index(emotion) for emotion in emotions])
        with self._lock:
            shares = [_shares(self._map(network, faces, labels)) for network in self._networks]
        return np.asarray(_shares(torch.stack(shares).mean(dim=0)).numpy())

    @staticmethod
    def _map(network: ExpressionNetwork, faces: Tensor, labels: Tensor) -> Tensor:
        given = network.preprocessing.as_trained(faces.to(network.temperature.device))
        heat = grad_cam(network, given, labels, elementwise=True)[:, None].cpu()
        return F.interpolate(heat, size=faces.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def _shares(heat: Tensor) -> Tensor:
    """Maps (N, H, W) in shares of each one's largest value."""
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
