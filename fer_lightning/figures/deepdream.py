"""DeepDream: gradient ascent on a real face, towards an emotion, a layer or a filter.

As in Lucid and Lucent there are three parts: a parametrisation (changes of several sizes added to the face), a
transform (jitter) and an objective. Mordvintsev, Olah & Tyka, "Inceptionism", 2015; Olah, Mordvintsev & Schubert,
"Feature Visualization", Distill 2017.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.figures.activations import record_outputs, require_layer
from fer_lightning.figures.sheets import contact_sheet, faces_to_rgb, signed_to_rgb

Objective = Callable[[Tensor], Tensor]
"""Pictures (B, C, H, W), 0 to 255, to the value that is maximised for each of them, (B,)."""

CERTAIN = 5.3
"""Log odds of a probability of 0.995: the least that a dream of an emotion should reach."""

PARTS = ("real face", "dream", "change")

ATTEMPTS = 4
"""Rounds of octaves that a dream may take to reach `least`."""


def towards_emotion(network: nn.Module, targets: Tensor, enough: float = 7.0) -> Objective:
    """The log odds of each picture's target emotion, clipped at `enough` (7 is a probability of 0.999).

    targets: (B,) labels. Log odds rather than the probability, whose gradient vanishes where the network is sure of
    another emotion. Above `enough` only smoothness is optimised, which keeps a dream close to its face.
    """

    def log_odds(pictures: Tensor) -> Tensor:
        logits = network(pictures).float()
        own = targets[:, None].to(logits.device)
        others = logits.scatter(1, own, -torch.inf).logsumexp(dim=1)
        return (logits.gather(1, own)[:, 0] - others).clamp(max=enough)

    return log_odds


def towards_layer(network: nn.Module, layer: str, channel: int | None = None) -> Objective:
    """Mean of one filter's map before the ReLU or, without a channel, mean square of the layer's activation maps.

    Raises InputError for a layer or a channel that the network does not have.
    """
    layer = require_layer(network, layer, channel)

    def activation(pictures: Tensor) -> Tensor:
        with record_outputs(network, [layer]) as outputs:
            network(pictures)
        maps = outputs[layer].float()
        return maps.relu().square().mean(dim=(1, 2, 3)) if channel is None else maps[:, channel].mean(dim=(1, 2))

    return activation


def dream(
    faces: Tensor,
    objective: Objective,
    octaves: int = 3,
    steps: int = 24,
    rate: float = 2.0,
    jitter: int = 2,
    smoothness: float = 0.2,
    seed: int = 0,
    least: float | None = None,
) -> Tensor:
    """Faces (B, C, H, W), 0 to 255, changed to raise the objective; the result has the same shape and range.

    octaves: number of resolutions at which a change is optimised, the last that of the face, each before it half the
        next; a coarse change is enlarged bilinearly (the network's input has a fixed size).
    steps: of Adam in each octave; rate: its learning rate, grey values.
    jitter: largest random shift of the picture before each step, pixels, so that no single pixel matters.
    smoothness: weight of the total variation of the change.
    least: dreams below this value of the objective are continued, ATTEMPTS rounds in all, each with a third of the
        smoothness and jitter of the one before.
    """
    faces = faces.detach().float()
    dreams = faces
    random = torch.Generator().manual_seed(seed)
    for attempt in range(ATTEMPTS):
        changed, weight, shift = dreams, smoothness / 3**attempt, jitter // 3**attempt
        for octave in reversed(range(octaves)):
            side = math.ceil(faces.shape[-1] / 2**octave)
            change = faces.new_zeros(len(faces), faces.shape[1], side, side, requires_grad=True)
            optimizer = torch.optim.Adam([change], lr=rate, maximize=True)
            for _ in range(steps):
                pictures = _add_change(changed, change)
                goal = objective(_shift(pictures, shift, random)) - weight * total_variation(pictures - faces)
                (change.grad,) = torch.autograd.grad(goal.sum(), change)
                optimizer.step()
            changed = _add_change(changed, change).detach()
        if least is None:
            return changed
        with torch.no_grad():
            dreams = torch.where((objective(dreams) < least)[:, None, None, None], changed, dreams)
            if bool((objective(dreams) >= least).all()):
                break
    return dreams


def total_variation(pictures: Tensor) -> Tensor:
    """Mean length of each picture's gradient, grey values a pixel, (B,) (Rudin, Osher & Fatemi, 1992).

    Forward differences, zero at the border.
    """
    down, right = F.pad(pictures.diff(dim=-2), (0, 0, 0, 1)), F.pad(pictures.diff(dim=-1), (0, 1))
    return (down.square() + right.square() + 1e-3).sqrt().mean(dim=(1, 2, 3))


def _add_change(pictures: Tensor, change: Tensor) -> Tensor:
    size = pictures.shape[-2:]
    return (pictures + F.interpolate(change, size=size, mode="bilinear", align_corners=False)).clamp(0, 255)


def _shift(pictures: Tensor, jitter: int, random: torch.Generator) -> Tensor:
    """The pictures moved by up to `jitter` pixels both ways, borders repeated."""
    if not jitter:
        return pictures
    top, left = torch.randint(0, 2 * jitter + 1, (2,), generator=random).tolist()
    padded = F.pad(pictures, (jitter,) * 4, mode="replicate")
    return padded[..., top : top + pictures.shape[-2], left : left + pictures.shape[-1]]


def dream_picture(face: Tensor, dreamed: Tensor) -> Tensor:
    """Real face, dream and the change between them side by side, (3, H, W) uint8. face, dreamed: (C, H, W)."""
    row = torch.cat([faces_to_rgb(face[None]), faces_to_rgb(dreamed[None]), signed_to_rgb((dreamed - face)[None])])
    return contact_sheet([row], column_names=PARTS, side=288)


def dream_sheet(
    faces: Tensor, dreams: Tensor, names: Sequence[str], captions: Sequence[Sequence[str]], title: str = ""
) -> Tensor:
    """Real faces above their dreams and the change between them, (3, H, W) uint8. captions: of faces and of dreams."""
    rows = [faces_to_rgb(faces), faces_to_rgb(dreams), signed_to_rgb(dreams - faces)]
    return contact_sheet(rows, PARTS, names, captions, title)
