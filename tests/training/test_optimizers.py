"""Optimisers and schedules against torch's own."""

import pytest
import torch
from tiny_runs import FC, settings_from

from fer_lightning.networks import build_network
from fer_lightning.training.optimizers import SCHEDULES, build_optimizer, cosine, one_cycle

STEPS = 40


def rates(scheduler_of, base: float = 0.5) -> list[float]:
    """The learning rate at each step of a torch schedule."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    scheduler = scheduler_of(optimizer)
    seen = []
    for _ in range(STEPS):
        seen.append(optimizer.param_groups[0]["lr"] / base)
        optimizer.step()
        scheduler.step()
    return seen


TORCH = {
    "constant": lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1),
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS),
    "linear": lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 1, 1e-12, STEPS),
    "steps": lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [STEPS // 2, STEPS * 3 // 4]),
}


@pytest.mark.parametrize("name", TORCH)
def test_a_schedule_equals_the_one_of_torch(name):
    ours = [SCHEDULES[name](step / STEPS) for step in range(STEPS)]
    assert ours == pytest.approx(rates(TORCH[name]), abs=1e-9)


def test_one_cycle_rises_from_a_tenth_for_a_fifth_and_falls_along_a_cosine():
    ours = [one_cycle(step / STEPS) for step in range(STEPS)]
    rise = STEPS // 5
    assert ours[: rise + 1] == pytest.approx(torch.linspace(0.1, 1, rise + 1).tolist())
    assert ours[rise:] == pytest.approx([cosine(step / (STEPS - rise)) for step in range(STEPS - rise)])


def test_every_schedule_has_an_oracle():
    assert set(TORCH) | {"one_cycle"} == set(SCHEDULES)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_an_optimizer_steps_as_torchs_own_with_l2_on_weights_alone(name):
    settings = settings_from(*FC, f"optimizer={name}", "optimizer.weight_decay=0.3", "optimizer.lr=0.1").optimizer
    torch.manual_seed(0)
    networks = [torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)]
    networks[1].load_state_dict(networks[0].state_dict())
    groups = [{"params": [networks[1].weight], "weight_decay": 0.3}, {"params": [networks[1].bias], "weight_decay": 0}]
    torchs_own = {
        "sgd": lambda: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
        "adam": lambda: torch.optim.Adam(groups, lr=0.1, betas=(0.9, 0.999)),
        "adamw": lambda: torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.999)),
    }
    optimizers = [build_optimizer(networks[0], settings), torchs_own[name]()]
    for _ in range(5):
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.zero_grad()
            network(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
    assert all(torch.equal(ours, other) for ours, other in zip(*(n.parameters() for n in networks), strict=True))


def test_l2_is_on_kernels_and_matrices_of_a_network_and_on_nothing_else():
    conv = ["model.conv=[{filters: 4, kernel: 7, pool: 4}]", "optimizer.weight_decay=0.5"]
    settings = settings_from(*FC, "model=hybrid_poster", *conv)
    network = build_network(settings.model, settings.data.inputs)
    groups = build_optimizer(network, settings.optimizer).param_groups
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in network.named_parameters():
        is_weight = name.endswith(("conv.weight", "linear.weight", "scores.weight"))
        assert decay[id(parameter)] == (0.5 if is_weight else 0.0), name
