"""Where in a face the network looks: Grad-CAM, input gradients and occlusion."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.figures.activations import recorded, require_layer
from fer_lightning.figures.sheet import grey, overlaid, sheet_figure


def channel_weights(
    network: nn.Module, faces: Tensor, targets: Tensor, layer: str | None = None
) -> tuple[Tensor, Tensor]:
    """Activation maps (B, filters, H, W) of a conv layer (the last by default) and each filter's weight (B, filters).

    A weight is the mean over all places of the slope of the target's logit, taken before the ReLU, where a place that
    is off has no slope (Selvaraju et al., ICCV 2017, eq. 1). faces: raw grey (B, 1, 48, 48); targets: (B,) labels.
    Raises InputError for a layer that the network does not have.
    """
    layer = require_layer(network, layer)
    with torch.enable_grad(), recorded(network, [layer]) as given:
        # the faces ask for a slope so that the maps have one, even where the weights have none
        logits = network(faces.detach().float().requires_grad_())
        chosen = logits.gather(1, targets[:, None].to(logits.device)).sum()
        (slopes,) = torch.autograd.grad(chosen, given[layer])
    return given[layer].detach().float().relu(), slopes.float().mean(dim=(2, 3))


def grad_cam(
    network: nn.Module, faces: Tensor, targets: Tensor, layer: str | None = None
) -> Tensor:
    """Grad-CAM (B, H, W), the faces' size, 0 or more: the maps added up by their weights, what speaks against cut off.

    Selvaraju et al., ICCV 2017, eq. 2; enlarged bilinearly. Arguments as of `channel_weights`.
    """
    maps, weights = channel_weights(network, faces, targets, layer)
    heat = (maps * weights[:, :, None, None]).sum(dim=1, keepdim=True).relu()
    return F.interpolate(heat, size=faces.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def input_gradients(network: nn.Module, faces: Tensor, targets: Tensor) -> Tensor:
    """Absolute slope of the target's logit for each pixel, (B, H, W), logits a grey value (Simonyan et al., 2014)."""
    with torch.enable_grad():
        pictures = faces.detach().float().requires_grad_()
        logits = network(pictures)
        (slopes,) = torch.autograd.grad(logits.gather(1, targets[:, None].to(logits.device)).sum(), pictures)
    return slopes[:, 0].abs()


@torch.no_grad()
def occlusion(network: nn.Module, faces: Tensor, targets: Tensor, patch: int = 10, stride: int = 4) -> Tensor:
    """How much of the target's probability is lost when a pixel is hidden, (B, H, W), -1 to 1.

    A square of `patch` pixels in the face's mean grey is moved over it in steps of `stride`; a pixel gets the mean loss
    over all squares that covered it (Zeiler & Fergus, ECCV 2014, sec. 4.2).
    """
    faces = faces.float()
    height, width = faces.shape[-2:]
    own = targets[:, None].to(faces.device)
    before = network(faces).float().softmax(dim=1).gather(1, own)[:, 0]
    total, covered = faces.new_zeros(len(faces), height, width), faces.new_zeros(height, width)
    fill = faces.mean(dim=(1, 2, 3))[:, None, None, None]
    # squares may hang over the border by all but one stride, so that the border is covered as often as the middle
    for top in range(stride - patch, height, stride):
        for left in range(stride - patch, width, stride):
            place = (slice(max(top, 0), top + patch), slice(max(left, 0), left + patch))
            hidden = faces.clone()
            hidden[(..., *place)] = fill
            lost = before - network(hidden).float().softmax(dim=1).gather(1, own)[:, 0]
            total[(slice(None), *place)] += lost[:, None, None]
            covered[place] += 1
    return total / covered


def mean_grad_cams(
    network: nn.Module, faces: Tensor, labels: Tensor, classes: int, layer: str | None = None
) -> tuple[Tensor, Tensor, list[int]]:
    """For each class the mean face (classes, 1, H, W), mean Grad-CAM (classes, H, W) and number of its faces.

    Each face's map, for its own label, counts with its largest value as 1. A class without faces stays black.
    """
    height, width = faces.shape[-2:]
    means, heats, counts = torch.zeros(classes, 1, height, width), torch.zeros(classes, height, width), []
    for number in range(classes):
        own = faces[labels == number]
        counts.append(len(own))
        total = torch.zeros(height, width)
        for chunk in own.split(128):
            heat = grad_cam(network, chunk, torch.full((len(chunk),), number), layer)
            total += (heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)).sum(dim=0).cpu()
        if len(own):
            means[number], heats[number] = own.float().mean(dim=0).cpu(), total / len(own)
    return means, heats, counts


def saliency_figure(
    faces: Tensor, heats: Sequence[tuple[str, Tensor]], names: Sequence[str], title: str = ""
) -> Figure:
    """A column for each face, a row for each named heat map (B, H, W) over it; what is below zero is not shown."""
    rows = [grey(faces), *(overlaid(faces, heat.relu()) for _, heat in heats)]
    return sheet_figure(rows, ("face", *(name for name, _ in heats)), names, title=title)
