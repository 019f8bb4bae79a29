"""The networks of the paper: their sizes, their untrained loss, and what is refused."""

import math

import pytest
import torch
from torch.nn import functional as F

from fer_lightning.classifiers import build_classifier
from fer_lightning.commands import CONF
from fer_lightning.config import plain
from fer_lightning.errors import InputError
from fer_lightning.networks import ConvNetwork, HybridNetwork
from fer_lightning.networks.layers import ConvBlock, ConvLayer

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def classifier(compose, *overrides):
    config = plain(compose(*overrides))
    inputs = {"channels": config["data"]["channels"], "size": config["data"]["size"], "hog": config["data"]["hog"]}
    return build_classifier(
        config["model"], inputs=inputs, optimizer=config["optimizer"], schedule=config["schedule"], seed=config["seed"]
    )


def test_every_network_of_the_paper_is_there():
    rows = {"fc", "conv_shallow", "conv_deep", "conv_poster", "hybrid_shallow", "hybrid_deep", "hybrid_poster"}
    assert rows <= set(MODELS)


@pytest.mark.parametrize(("model", "parameters"), [("conv_shallow", 18_898_503), ("conv_deep", 4_474_759)])
def test_networks_have_the_reports_number_of_parameters(compose, model, parameters):
    network = classifier(compose, f"model={model}").network
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("model", MODELS)
def test_an_untrained_networks_loss_is_ln_7(compose, model):
    torch.manual_seed(0)
    network = classifier(compose, f"model={model}")
    faces, labels = torch.randint(0, 256, (64, 1, 48, 48)), torch.randint(0, 7, (64,))
    for train in (False, True):
        assert F.cross_entropy(network.train(train).classify(faces), labels).item() == pytest.approx(
            math.log(7), abs=0.1
        )


@pytest.mark.parametrize("model", MODELS)
def test_each_network_overfits_64_images_to_100_percent(compose, model):
    torch.manual_seed(0)
    torch.set_num_threads(2)
    network = classifier(compose, f"model={model}").train()
    faces, labels = torch.randint(0, 256, (64, 1, 48, 48)), torch.randint(0, 7, (64,))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _step in range(40):
        logits = network.classify(faces)
        if (logits.argmax(1) == labels).all():
            break
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
    assert (logits.argmax(1) == labels).all()


def test_hybrid_features_are_conv_features_beside_hog(compose):
    conv, hybrid = classifier(compose, "model=conv_deep"), classifier(compose, "model=hybrid_deep")
    inputs = [c.network.head.hidden.hidden1.linear.in_features for c in (conv, hybrid)]
    assert inputs == [512 * 3 * 3, 512 * 3 * 3 + 900]


def test_any_depth_can_be_asked_for_on_the_command_line(compose):
    layers = (
        "model.conv=[{filters: 8, kernel: 5, stride: 2, padding: 2}, {filters: 4}, {filters: 6, pool: 3, dropout: 0.5}]"
    )
    network = classifier(compose, "model=conv_deep", layers, "model.hidden=[10,11,12,13]").network
    assert [block.conv.out_channels for block in network.features] == [8, 4, 6]
    assert network.features(torch.zeros(2, 1, 48, 48)).shape == (2, 6, 8, 8)
    assert [block.linear.out_features for block in network.head.hidden] == [10, 11, 12, 13]


LAYERS = [ConvLayer(3, 3), ConvLayer(3, 4, pool=2), ConvLayer(3, 5, 2, 0), ConvLayer(3, 2, 3, 1, 2)]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("side", [5, 12, 48])
def test_the_computed_size_of_a_layers_output_is_the_one_that_torch_gives(side, layer):
    maps = ConvBlock(1, layer).eval()(torch.zeros(1, 1, side, side))
    assert maps.shape[2:] == (layer.out_side(side, "layer"),) * 2


@pytest.mark.parametrize(
    ("conv", "said"),
    [
        (
            [{"filters": 8, "pool": 2}] * 6,
            r"model.conv\[5\]: pooling by 2 leaves nothing of the 1x1 output \(input 1x1",
        ),
        ([{"filters": 8, "kernel": 60, "padding": 0}], r"model.conv\[0\]: a 60x60 kernel does not fit its 48x48 input"),
        ([{"filter": 8}], r"model.conv\[0\]: no such key 'filter'. Did you mean filters\?"),
        ([{"kernel": 3}], r"model.conv\[0\]: the number of filters is missing"),
        ([{"filters": 0}], r"model.conv\[0\].filters=0: expected a whole number of 1 or more"),
        ([{"filters": 8, "dropout": 1.0}], r"model.conv\[0\].dropout=1.0: expected a number from 0 to below 1"),
        ([32, 64], r"model.conv\[0\]=32: expected a layer such as"),
        ([], "model.conv=.*: expected a list of layers"),
    ],
)
def test_an_impossible_layer_is_refused_by_name_and_size(conv, said):
    with pytest.raises(InputError, match=said):
        ConvNetwork(conv, [16])


@pytest.mark.parametrize("hidden", ["256", [0], [1.5], [True], 256])
def test_impossible_widths_of_hidden_layers_are_refused(hidden):
    with pytest.raises(InputError, match=r"model\.hidden="):
        ConvNetwork([{"filters": 2, "pool": 4}], hidden)


def test_a_block_computes_conv_norm_relu_dropout_pool_in_this_order():
    torch.manual_seed(0)
    images = torch.randn(8, 2, 12, 12)
    for dropout in (0.0, 0.5):
        block = ConvBlock(2, ConvLayer(4, 3, pool=2, dropout=dropout))
        torch.manual_seed(1)
        maps = F.dropout(F.relu(block.norm(block.conv(images))), dropout)
        expected = F.max_pool2d(maps, 2)
        torch.manual_seed(1)
        torch.testing.assert_close(block(images), expected)


def test_a_hybrid_network_hears_its_hog_and_its_picture():
    network = HybridNetwork([{"filters": 2, "pool": 8}], [8], hog_length=5).eval()
    torch.nn.init.normal_(network.head.scores.weight)
    images, features = torch.rand(4, 1, 48, 48, requires_grad=True), torch.rand(4, 5, requires_grad=True)
    network(images, features).square().sum().backward()
    assert (features.grad.abs().sum(dim=0) > 0).any()
    assert images.grad.abs().sum() > 0
