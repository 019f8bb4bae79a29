"""Which pixels of a face the logit of an emotion depends on: Grad-CAM, input gradients and occlusion."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.figures.activations import record_outputs, require_layer


def grad_cam(
    network: nn.Module, faces: Tensor, targets: Tensor, layer: str | None = None, elementwise: bool = False
) -> Tensor:
    """Grad-CAM of a conv layer (the last by default): (B, H, W), the faces' size, 0 or more.

    The ReLU of the weighted sum of the activation maps, enlarged bilinearly; a map's weight is the mean over all places
    of the gradient of the target's logit, taken before the map's own ReLU (Selvaraju et al., ICCV 2017, eq. 1 and 2).
    elementwise: each place has its own gradient as weight (HiResCAM, Draelos & Carin, arXiv 2011.08891). In networks
    that flatten their maps the mean may be negative for all maps that are active, so that plain Grad-CAM is 0.
    faces: (B, C, H, H), 0 to 255; targets: (B,) labels. Raises InputError for a layer that does not exist.
    """
    layer = require_layer(network, layer)
    with torch.enable_grad(), record_outputs(network, [layer]) as outputs:
        # the faces require a gradient so that the maps have one, even where the weights are frozen
        logits = network(faces.detach().float().requires_grad_())
        chosen = logits.gather(1, targets[:, None].to(logits.device)).sum()
        (gradients,) = torch.autograd.grad(chosen, outputs[layer])
    maps, weights = outputs[layer].detach().float().relu(), gradients.float()
    if not elementwise:
        weights = weights.mean(dim=(2, 3), keepdim=True)
    heat = (maps * weights).sum(dim=1, keepdim=True).relu()
    return F.interpolate(heat, size=faces.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def mean_grad_cams(
    network: nn.Module, faces: Tensor, labels: Tensor, classes: int, layer: str | None = None
) -> tuple[Tensor, Tensor, list[int]]:
    """Mean face (classes, C, H, W), mean Grad-CAM (classes, H, W) and number of faces of each class.

    Each face's map, for its own label, is divided by its maximum. A class without faces is all 0.
    """
    height, width = faces.shape[-2:]
    means, heats, counts = torch.zeros(classes, faces.shape[1], height, width), torch.zeros(classes, height, width), []
    for number in range(classes):
        own = faces[labels == number]
        counts.append(len(own))
        if len(own):
            maps = torch.cat(
                [grad_cam(network, part, torch.full((len(part),), number), layer) for part in own.split(128)]
            )
            heats[number] = (maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)).mean(dim=0)
            means[number] = own.float().mean(dim=0)
    return means, heats, counts


def input_gradients(network: nn.Module, faces: Tensor, targets: Tensor) -> Tensor:
    """Absolute gradient of the target's logit at each pixel, (B, H, W), logits a grey value (Simonyan et al., 2014).

    In colour, the largest of the three channels, as there.
    """
    with torch.enable_grad():
        pictures = faces.detach().float().requires_grad_()
        logits = network(pictures)
        (gradients,) = torch.autograd.grad(logits.gather(1, targets[:, None].to(logits.device)).sum(), pictures)
    return gradients.abs().amax(dim=1)


@torch.no_grad()
def occlusion(network: nn.Module, faces: Tensor, targets: Tensor, patch: int = 10, stride: int = 4) -> Tensor:
    """Loss of the target's probability when a pixel is hidden, (B, H, W), -1 to 1.

    A square of `patch` pixels in the face's mean grey or colour is moved over it in steps of `stride`, both larger in
    proportion in a face of more than 48 pixels; the value of a pixel is the mean loss over all squares that cover it
    (Zeiler & Fergus, ECCV 2014, sec. 4.2).
    """
    faces = faces.float()
    height, width = faces.shape[-2:]
    patch, stride = (round(length * max(width / 48, 1)) for length in (patch, stride))
    own = targets[:, None].to(faces.device)
    before = network(faces).float().softmax(dim=1).gather(1, own)[:, 0]
    total, covered = faces.new_zeros(len(faces), height, width), faces.new_zeros(height, width)
    fill = faces.mean(dim=(2, 3), keepdim=True)
    # squares extend beyond the border by all but one stride, so that the border is covered as often as the middle
    for top in range(stride - patch, height, stride):
        for left in range(stride - patch, width, stride):
            place = (..., slice(max(top, 0), top + patch), slice(max(left, 0), left + patch))
            hidden = faces.clone()
            hidden[place] = fill
            lost = before - network(hidden).float().softmax(dim=1).gather(1, own)[:, 0]
            total[place] += lost[:, None, None]
            covered[place] += 1
    return total / covered
