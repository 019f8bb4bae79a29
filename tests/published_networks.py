"""The published networks for tests: their parameters by name, random weights, and their layers written out."""

import json
from pathlib import Path

import torch
from tiny_runs import settings_from
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.networks import ExpressionNetwork, build_network
from fer_lightning.networks.backbones import BACKBONES
from fer_lightning.settings import LEAST_SIDE

PUBLISHED = json.loads((Path(__file__).parent / "networks" / "torchvision_parameters.json").read_text())
"""Name and shape of every parameter in the state dicts that PyTorch publishes."""

Weights = dict[str, Tensor]


def backbone(kind: str, *overrides: str, size: int | None = None) -> ExpressionNetwork:
    """An untrained network, by default for the smallest picture that it takes."""
    settings = settings_from(f"model={kind}", f"data.size={size or LEAST_SIDE[kind]}", *overrides)
    return build_network(settings.model, settings.data.inputs)


def published(kind: str, classes: int = 1000) -> Weights:
    """A random state dict in torchvision's form."""
    torch.manual_seed(1)
    last, found = BACKBONES[kind].scores, {}
    for name, shape in PUBLISHED[kind].items():
        shape = [classes, *shape[1:]] if name.startswith(f"{last}.") else shape
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(7)
        else:
            found[name] = torch.rand(shape) * 0.1 + 0.5 if "running_var" in name else torch.randn(shape) * 0.03
    return found


def alexnet(weights: Weights, x: Tensor) -> Tensor:
    for number, stride, padding, pooled in ((0, 4, 2, True), (3, 1, 2, True), (6, 1, 1, False), (8, 1, 1, False)):
        x = F.conv2d(x, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], stride, padding)
        x = F.max_pool2d(x.clamp_min(0), 3, 2) if pooled else x.clamp_min(0)
    x = F.conv2d(x, weights["features.10.weight"], weights["features.10.bias"], padding=1).clamp_min(0)
    x = F.adaptive_avg_pool2d(F.max_pool2d(x, 3, 2), (6, 6)).flatten(1)
    for number in (1, 4):
        x = (x @ weights[f"classifier.{number}.weight"].T + weights[f"classifier.{number}.bias"]).clamp_min(0)
    return x


def vgg16(weights: Weights, x: Tensor) -> Tensor:
    for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        for number in stage:
            x = F.conv2d(x, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], padding=1)
            x = x.clamp_min(0)
        x = F.max_pool2d(x, 2, 2)
    x = F.adaptive_avg_pool2d(x, (7, 7)).flatten(1)
    for number in (0, 3):
        x = (x @ weights[f"classifier.{number}.weight"].T + weights[f"classifier.{number}.bias"]).clamp_min(0)
    return x


def resnet18(weights: Weights, x: Tensor) -> Tensor:
    def normed(name: str, maps: Tensor) -> Tensor:
        mean, variance, scale, shift = (
            weights[f"{name}.{part}"][None, :, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (maps - mean) / (variance + 1e-5).sqrt() * scale + shift

    x = normed("bn1", F.conv2d(x, weights["conv1.weight"], stride=2, padding=3)).clamp_min(0)
    x = F.max_pool2d(x, 3, 2, padding=1)
    for block in (f"layer{stage}.{number}" for stage in range(1, 5) for number in range(2)):
        halves = block.endswith(".0") and block != "layer1.0"
        shortcut = x
        if halves:
            shortcut = normed(f"{block}.downsample.1", F.conv2d(x, weights[f"{block}.downsample.0.weight"], stride=2))
        x = F.conv2d(x, weights[f"{block}.conv1.weight"], stride=2 if halves else 1, padding=1)
        x = normed(f"{block}.bn1", x).clamp_min(0)
        x = normed(f"{block}.bn2", F.conv2d(x, weights[f"{block}.conv2.weight"], padding=1))
        x = (x + shortcut).clamp_min(0)
    return x.mean(dim=(2, 3))


BY_HAND = {"alexnet": alexnet, "vgg16": vgg16, "resnet18": resnet18}
