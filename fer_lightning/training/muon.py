"""Muon: SGD with Nesterov momentum whose update of each weight matrix is made orthogonal (Jordan et al., 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration, by Jordan: singular values go near 1 fast, and end between 0.7 and 1.2."""


def orthogonalized(matrix: Tensor, steps: int) -> Tensor:
    """(M, N) with its singular values brought near 1; computed in bf16, which many CPUs and GPUs are fast in."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix.bfloat16() if wide else matrix.bfloat16().T
    x = x / (x.norm() + 1e-7)
    first, third, fifth = QUINTIC
    for _ in range(steps):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    return (x if wide else x.T).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Muon in the groups with `orthogonal=True`, and SGD with Nesterov momentum in the others.

    Filters (O, I, H, W) count as matrices (O, I * H * W); an orthogonal update is scaled by sqrt(max(1, M / N)).
    `weight_decay` is decoupled in all groups. newton_schulz_steps: iterations that make an update orthogonal.
    (torch.optim.Muon takes matrices alone, and needs torch 2.9.)
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        newton_schulz_steps: int = 5,
    ):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "orthogonal": False}
        super().__init__(params, {**defaults, "newton_schulz_steps": newton_schulz_steps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                buffer = state["momentum_buffer"]
                buffer.mul_(group["momentum"]).add_(parameter.grad)
                update, rate = parameter.grad.add(buffer, alpha=group["momentum"]), group["lr"]
                parameter.mul_(1 - rate * group["weight_decay"])
                if group["orthogonal"]:
                    rows, columns = len(update), update[0].numel()
                    matrix = orthogonalized(update.reshape(rows, columns), group["newton_schulz_steps"])
                    update, rate = matrix.view(update.shape), rate * max(1.0, rows / columns) ** 0.5
                parameter.add_(update, alpha=-rate)
        return loss
