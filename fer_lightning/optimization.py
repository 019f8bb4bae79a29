"""Optimisers, and learning-rate schedules as functions of the progress through a run, from 0 to 1."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fer_lightning.errors import InputError, near_misses

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
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


SCHEDULES: dict[str, Schedule] = {f.__name__: f for f in (constant, cosine, one_cycle, linear, steps)}
PLATEAU = "plateau"
"""A tenth of the rate whenever the validation loss has not fallen for `patience` epochs; it alone looks back."""


def lr_schedule(name: str) -> Schedule:
    """The schedule of that name, InputError naming the valid ones where there is none."""
    if name not in SCHEDULES:
        valid = [*SCHEDULES, PLATEAU]
        raise InputError(
            f"schedule.name={name!r}: no such schedule.{near_misses(str(name), valid)} Valid: {', '.join(valid)}"
        )
    return SCHEDULES[name]


def build_optimizer(network: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, Adam or AdamW over a network's parameters, by the config group `optimizer`.

    L2 (`weight_decay`) is on the weights of convolutions and linear layers only, not on biases and norms. In sgd and
    adam it is a penalty of weight_decay / 2 * w**2 in the loss; in adamw it is decoupled (Loshchilov & Hutter,
    ICLR 2019).
    """
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": settings["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    match settings["name"]:
        case "sgd":
            momentum = settings["momentum"]
            return torch.optim.SGD(groups, lr=settings["lr"], momentum=momentum, nesterov=momentum > 0)
        case "adam":
            return torch.optim.Adam(groups, lr=settings["lr"], betas=tuple(settings["betas"]))
        case "adamw":
            return torch.optim.AdamW(groups, lr=settings["lr"], betas=tuple(settings["betas"]))
        case other:
            raise InputError(f"optimizer.name={other!r}: expected sgd, adam or adamw")
