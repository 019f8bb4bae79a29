"""Optimisers, and learning-rate schedules as functions of the progress through a run, from 0 to 1."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from fer_lightning.networks import ExpressionNetwork
from fer_lightning.settings import MuonSettings, OptimizerSettings, SgdSettings
from fer_lightning.training.muon import Muon

Schedule = Callable[[float], float]


def constant(_progress: float) -> float:
    """The base rate throughout, as in the paper."""
    return 1.0


def cosine(progress: float) -> float:
    """From the base rate to zero along half a cosine (Loshchilov & Hutter, ICLR 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle(progress: float, rise: float = 0.2, start: float = 0.1) -> float:
    """Linearly from a tenth of the base rate up to it in the first fifth, then to zero along a cosine (Smith, 2018)."""
    if progress < rise:
        return start + (1 - start) * progress / rise
    return cosine((progress - rise) / (1 - rise))


def linear(progress: float) -> float:
    """From the base rate straight to zero."""
    return 1 - progress


def steps(progress: float) -> float:
    """A tenth of the rate after half of the run, a hundredth after three quarters (He et al., CVPR 2016)."""
    return 0.1 ** ((progress >= 0.5) + (progress >= 0.75))


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "linear": linear,
    "steps": steps,
}
"""The factor of the base rate by progress, by the name of the schedule."""


NEWTON_SCHULZ_STEPS = 3
"""Of Muon: as in airbench, where more gave nothing."""


def build_optimizer(network: nn.Module, settings: OptimizerSettings, layer_decay: float = 1.0) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, Adam, AdamW or Muon over a network's parameters.

    L2 (`weight_decay`) is on the weights of convolutions and linear layers only, not on biases and norms. In sgd and
    adam it is a penalty of weight_decay / 2 * w**2 in the loss; in adamw and muon it is decoupled (Loshchilov &
    Hutter, ICLR 2019). layer_decay: rate of each of the network's `stages` as a share of that of the stage above it;
    the head has the full rate (Howard & Ruder, ACL 2018, sec. 3.2).
    """
    groups: list[dict[str, Any]] = []
    for parameters, rate in parameters_with_rates(network, settings.lr, layer_decay):
        weights = [parameter for parameter in parameters if parameter.ndim > 1]
        others = [parameter for parameter in parameters if parameter.ndim <= 1]
        groups.append({"params": weights, "weight_decay": settings.weight_decay, "lr": rate})
        groups.append({"params": others, "weight_decay": 0.0, "lr": rate})
    if isinstance(settings, MuonSettings):
        groups = _muon_groups(groups, network, settings)
        return Muon(groups, lr=settings.lr, momentum=settings.momentum, newton_schulz_steps=NEWTON_SCHULZ_STEPS)
    if isinstance(settings, SgdSettings):
        momentum = settings.momentum
        return torch.optim.SGD(groups, lr=settings.lr, momentum=momentum, nesterov=momentum > 0)
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, betas=(settings.betas[0], settings.betas[1]))


def _muon_groups(groups: list[dict[str, Any]], network: nn.Module, settings: MuonSettings) -> list[dict[str, Any]]:
    """Groups in which all weights but those of the last layer are orthogonal, and the others have SGD's rate."""
    last = [layer.weight for layer in network.modules() if isinstance(layer, nn.Linear)][-1:]
    found = []
    for group in groups:
        hidden = [weight for weight in group["params"] if weight.ndim > 1 and all(weight is not one for one in last)]
        others = [weight for weight in group["params"] if all(weight is not one for one in hidden)]
        found.append({**group, "params": hidden, "orthogonal": True})
        found.append({**group, "params": others, "lr": group["lr"] * settings.sgd_lr / settings.lr})
    return [group for group in found if group["params"]]


def parameters_with_rates(
    network: nn.Module, lr: float, layer_decay: float
) -> Iterator[tuple[list[nn.Parameter], float]]:
    """All parameters of a network in parts with their learning rates, from the head down."""
    if layer_decay == 1:
        yield list(network.parameters()), lr
        return
    assert isinstance(network, ExpressionNetwork)
    stages = [[parameter for module in stage for parameter in module.parameters()] for stage in network.stages]
    below = {parameter for stage in stages for parameter in stage}
    yield [parameter for parameter in network.parameters() if parameter not in below], lr
    for depth, stage in enumerate(reversed(stages), start=1):
        yield stage, lr * layer_decay**depth
