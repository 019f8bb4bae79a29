"""Muon against torch's own, against SGD, and in runs."""

import signal

import pytest
import torch
from tiny_runs import RANDOM, STEPS, differences, run_fit, settings_from, stop_fit

from fer_lightning.networks import build_network
from fer_lightning.training.muon import Muon, orthogonalized
from fer_lightning.training.optimizers import build_optimizer

MUON = [*RANDOM, "optimizer=muon", "optimizer.lr=0.02", "optimizer.weight_decay=0.1"]


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_an_orthogonalized_matrix_has_the_singular_vectors_of_the_matrix_and_singular_values_near_1(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonalized(matrix, 5) @ right.T
    assert ((inner.diag() > 0.6) & (inner.diag() < 1.3)).all()
    assert (inner - inner.diag().diag()).abs().max() < 0.05  # of bf16


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 or newer")
@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_matrices_step_as_by_torchs_own(shape):
    random = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(shape, generator=random), torch.randn((5, *shape), generator=random)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    group = {"params": [ours], "orthogonal": True}
    optimizers = [
        Muon([group], lr=0.1, momentum=0.9, weight_decay=0.5),
        torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.5),
    ]
    for gradient in gradients:
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0.01)  # both work in bf16
    assert (ours - start).abs().max() > 0.3


def test_other_parameters_step_as_by_sgd():
    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    ours = Muon([{"params": parameters[:1]}], lr=0.1, momentum=0.9)
    optimizers = [ours, torch.optim.SGD(parameters[1:], lr=0.1, momentum=0.9, nesterov=True)]
    for _ in range(5):
        for parameter, optimizer in zip(parameters, optimizers, strict=True):
            parameter.grad = torch.arange(3.0)
            optimizer.step()
    torch.testing.assert_close(*parameters)


def test_filters_are_matrices_of_a_row_for_each_filter():
    kernel = torch.nn.Parameter(torch.zeros(4, 2, 3, 3))
    kernel.grad = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    Muon([{"params": [kernel], "orthogonal": True}], lr=0.5).step()
    expected = -0.5 * orthogonalized(1.95 * kernel.grad.view(4, 18), 5)  # the first step's momentum, in bf16
    torch.testing.assert_close(kernel.detach().view(4, 18), expected)


@pytest.mark.parametrize("model", ["conv_poster", "hybrid_poster", "fc"])
def test_all_weights_but_those_of_the_last_layer_are_orthogonal_and_weights_alone_decay(model):
    settings = settings_from(f"model={model}", "optimizer=muon", "optimizer.weight_decay=0.5", "optimizer.sgd_lr=0.3")
    network = build_network(settings.model, settings.data.inputs)
    groups = build_optimizer(
        network, settings.optimizer, layer_decay=0.5 if model == "conv_poster" else 1.0
    ).param_groups
    of = {id(parameter): group for group in groups for parameter in group["params"]}
    for name, parameter in network.named_parameters():
        group, is_weight = of[id(parameter)], parameter.ndim > 1
        assert group["orthogonal"] == (is_weight and name != "head.scores.weight"), name
        assert group["weight_decay"] == (0.5 if is_weight else 0.0), name
        if name.startswith("head"):
            assert group["lr"] == pytest.approx(0.04 if group["orthogonal"] else 0.3)
    if model == "conv_poster":
        assert of[id(network.features.conv1.conv.weight)]["lr"] == pytest.approx(0.04 / 8)
        assert of[id(network.features.conv1.norm.weight)]["lr"] == pytest.approx(0.3 / 8)


@pytest.mark.parametrize("moment", [{"step": STEPS + 2}, {"validation": 0}], ids=str)
def test_a_run_by_muon_is_resumed_exactly(moment, uninterrupted, tmp_path):
    assert stop_fit(tmp_path, *MUON, **moment) == signal.SIGTERM.name
    run_fit(tmp_path, *MUON, "resume=true")
    assert differences(uninterrupted(*MUON), tmp_path) == []
