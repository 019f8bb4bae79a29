"""DeepDream: a real face changed, by gradient ascent, into what the network takes for an emotion, or a filter likes.

As in Lucid and Lucent a dream has three parts: a parametrisation (changes of several sizes added to the face), a
transform (jitter) and an objective (an emotion, a layer or a filter). Mordvintsev, Olah & Tyka, "Inceptionism", 2015;
Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017.
"""

import math
from collections.abc import Callable, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.errors import InputError
from fer_lightning.figures.activations import conv_layers, recorded, require_layer
from fer_lightning.figures.sheet import enlarge, grey, sheet_figure, signed, tile

Objective = Callable[[Tensor], Tensor]
"""Grey pictures (B, 1, H, W), 0 to 255, to what is to be raised for each of them, (B,)."""


CERTAIN = 5.3
"""Log odds of a probability of 0.995: what a dream of an emotion should reach at least."""

ROUNDS = 4
"""Of octaves that a dream may take to reach what it should."""


def towards_emotion(network: nn.Module, targets: Tensor, enough: float = 7.0) -> Objective:
    """The log odds of each picture's target emotion up to `enough` (7 is a probability of 0.999); targets: (B,) labels.

    Log odds rather than the probability, whose slope vanishes where the network is sure of another emotion. Beyond
    `enough` nothing is gained, so that a dream stays as close to its face as its smoothness can make it.
    """

    def log_odds(pictures: Tensor) -> Tensor:
        logits = network(pictures).float()
        own = targets[:, None].to(logits.device)
        others = logits.scatter(1, own, -torch.inf).logsumexp(dim=1)
        return (logits.gather(1, own)[:, 0] - others).clamp(max=enough)

    return log_odds


def towards_layer(network: nn.Module, layer: str, number: int | None = None) -> Objective:
    """Mean of one filter's map before the ReLU, or, without a number, mean square of the layer's activation maps.

    Raises InputError for a layer or a filter that the network does not have.
    """
    layer = require_layer(network, layer)
    module = conv_layers(network)[layer]
    assert isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    filters = module.out_channels if isinstance(module, nn.Conv2d) else module.num_features
    if number is not None and not 0 <= number < filters:
        raise InputError(f"channel={number}: layer {layer} has the channels 0 to {filters - 1}")

    def answer(pictures: Tensor) -> Tensor:
        with recorded(network, [layer]) as given:
            network(pictures)
        maps = given[layer].float()
        return maps[:, number].mean(dim=(1, 2)) if number is not None else maps.relu().square().mean(dim=(1, 2, 3))

    return answer


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
    """Faces (B, 1, H, W), 0 to 255, changed to raise the objective; the dreams have the same shape and range.

    The network's picture cannot grow, so an octave is the size of a change: the first is drawn in few large dots and
    enlarged, each next one has dots half as large, the last has pixels. octaves: their number; steps: of Adam in each;
    rate: largest change of a dot in a step, grey values; jitter: largest random shift of the picture before each look,
    pixels, so that no single pixel counts; smoothness: weight of the total variation of what is changed, so that a
    dream stays the face it was. least: dreams that fall short of this objective are dreamed on, up to ROUNDS times in
    all, each time with a third of the smoothness and of the jitter.
    """
    faces = faces.detach().float()
    dreams = faces
    random = torch.Generator().manual_seed(seed)
    for number in range(ROUNDS):
        dreamed, weight, shift = dreams, smoothness / 3**number, jitter // 3**number
        for octave in reversed(range(octaves)):
            side = math.ceil(faces.shape[-1] / 2**octave)
            change = dreams.new_zeros(len(dreams), 1, side, side, requires_grad=True)
            optimizer = torch.optim.Adam([change], lr=rate, maximize=True)
            for _ in range(steps):
                changed = _changed(dreamed, change)
                goal = objective(_shifted(changed, shift, random)) - weight * total_variation(changed - faces)
                (change.grad,) = torch.autograd.grad(goal.sum(), change)
                optimizer.step()
            dreamed = _changed(dreamed, change).detach()
        if least is None:
            return dreamed
        with torch.no_grad():
            unfinished = objective(dreams) < least
            dreams = torch.where(unfinished[:, None, None, None], dreamed, dreams)
            if bool((objective(dreams) >= least).all()):
                break
    return dreams


def total_variation(pictures: Tensor) -> Tensor:
    """Mean length of each picture's gradient, grey values a pixel, (B,) (Rudin, Osher & Fatemi, 1992).

    Forward differences; across the border there are none.
    """
    down, right = F.pad(pictures.diff(dim=-2), (0, 0, 0, 1)), F.pad(pictures.diff(dim=-1), (0, 1))
    return (down.square() + right.square() + 1e-3).sqrt().mean(dim=(1, 2, 3))


def _changed(pictures: Tensor, change: Tensor) -> Tensor:
    size = pictures.shape[-2:]
    return (pictures + F.interpolate(change, size=size, mode="bilinear", align_corners=False)).clamp(0, 255)


def _shifted(pictures: Tensor, jitter: int, random: torch.Generator) -> Tensor:
    """The pictures moved by up to `jitter` pixels both ways, borders repeated."""
    if not jitter:
        return pictures
    top, left = torch.randint(0, 2 * jitter + 1, (2,), generator=random).tolist()
    padded = F.pad(pictures, (jitter,) * 4, mode="replicate")
    return padded[..., top : top + pictures.shape[-2], left : left + pictures.shape[-1]]


def dream_picture(face: Tensor, dreamed: Tensor, side: int = 288) -> Tensor:
    """Real face, dream and the change between them side by side, (3, H, W), 0 to 1. face, dreamed: (1, H, W)."""
    change = signed((dreamed - face).detach().float().cpu())
    return tile(enlarge(torch.cat([grey(face[None]), grey(dreamed[None]), change]), side), columns=3)


def dream_figure(
    faces: Tensor, dreams: Tensor, names: Sequence[str], before: Sequence[str], after: Sequence[str], title: str = ""
) -> Figure:
    """Real faces above their dreams and the change between them; before, after: the words under each face and dream."""
    change = signed((dreams - faces).detach().float().cpu()[:, 0])
    rows = [grey(faces), grey(dreams), change]
    return sheet_figure(rows, ("real face", "dream", "change"), names, [before, after, [""] * len(names)], title)
