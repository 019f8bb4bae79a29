"""The networks of the paper: their sizes, their untrained loss, what they compute, and what is refused."""

import math

import pytest
import torch
from torch.nn import functional as F

from fer_lightning.cli import settings_of
from fer_lightning.errors import InputError
from fer_lightning.networks import ExpressionNetwork, build_network
from fer_lightning.networks.layers import ConvBlock, out_side
from fer_lightning.settings import CONF, LEAST_SIDE, ConvLayer, TrainSettings

MODELS = sorted({path.stem for path in (CONF / "model").glob("*.yaml")} - set(LEAST_SIDE))  # those: test_backbones
SMALL = ("model.conv=[{filters: 2, pool: 8}]", "model.hidden=[8]")


@pytest.fixture
def network(compose):
    """The untrained network of some overrides."""

    def built(*overrides: str) -> ExpressionNetwork:
        torch.manual_seed(0)
        settings = settings_of(compose(*overrides), TrainSettings)
        return build_network(settings.model, settings.data.inputs)

    return built


def test_every_network_of_the_paper_is_there():
    rows = {"fc", "conv_shallow", "conv_deep", "conv_poster", "hybrid_shallow", "hybrid_deep", "hybrid_poster"}
    assert rows <= set(MODELS)


@pytest.mark.parametrize(("model", "parameters"), [("conv_shallow", 18_898_503), ("conv_deep", 4_474_759)])
def test_networks_have_the_reports_number_of_parameters(network, model, parameters):
    assert network(f"model={model}").parameter_count == parameters


@pytest.mark.parametrize("model", MODELS)
def test_each_network_begins_with_a_loss_of_ln_7_and_overfits_64_images(network, model):
    """Random faces and labels: untrained, it finds all expressions equally likely, trained, it learns all 64."""
    net = network(f"model={model}")
    faces, labels = torch.randint(0, 256, (64, 1, 48, 48)), torch.randint(0, 7, (64,))
    with torch.inference_mode():
        assert F.cross_entropy(net.eval()(faces), labels).item() == pytest.approx(math.log(7), abs=0.1)
        assert F.cross_entropy(net.train()(faces), labels).item() == pytest.approx(math.log(7), abs=0.1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    net.to(memory_format=torch.channels_last)
    for _step in range(40):
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast
            logits = net(faces).float()
        if (logits.argmax(1) == labels).all():
            break
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
    assert (logits.argmax(1) == labels).all()


def test_hybrid_features_are_conv_features_beside_hog(network):
    conv, hybrid = network("model=conv_deep"), network("model=hybrid_deep")
    inputs = [net.head.hidden.hidden1.linear.in_features for net in (conv, hybrid)]
    assert inputs == [512 * 3 * 3, 512 * 3 * 3 + 900]
    assert (conv.uses_hog, hybrid.uses_hog) == (False, True)


def test_any_depth_can_be_asked_for_on_the_command_line(network):
    layers = (
        "model.conv=[{filters: 8, kernel: 5, stride: 2, padding: 2}, {filters: 4}, {filters: 6, pool: 3, dropout: 0.5}]"
    )
    net = network("model=conv_deep", layers, "model.hidden=[10,11,12,13]")
    assert [block.conv.out_channels for block in net.features] == [8, 4, 6]
    assert net.features(torch.zeros(2, 1, 48, 48)).shape == (2, 6, 8, 8)
    assert [block.linear.out_features for block in net.head.hidden] == [10, 11, 12, 13]
    assert net.embed(*net.preprocessing(torch.zeros(2, 1, 48, 48))).shape == (2, 13)


LAYERS = [
    ConvLayer(filters=3),
    ConvLayer(filters=3, kernel=4, pool=2),
    ConvLayer(filters=3, kernel=5, stride=2, padding=0),
    ConvLayer(filters=3, kernel=2, stride=3, padding=1, pool=2),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("side", [5, 12, 48])
def test_the_computed_size_of_a_layers_output_is_the_one_that_torch_gives(side, layer):
    maps = ConvBlock(1, layer).eval()(torch.zeros(1, 1, side, side))
    assert maps.shape[2:] == (out_side(layer, side, "layer"),) * 2


@pytest.mark.parametrize(
    ("conv", "said"),
    [
        ("{filters: 8, pool: 2}," * 6, r"model.conv\[5\]: pooling by 2 leaves nothing of the 1x1 output \(input 1x1"),
        ("{filters: 8, kernel: 60, padding: 0}", r"model.conv\[0\]: a 60x60 kernel does not fit its 48x48 input"),
    ],
)
def test_a_layer_that_leaves_nothing_is_refused_by_name_and_size(network, conv, said):
    with pytest.raises(InputError, match=said):
        network("model=conv_deep", f"model.conv=[{conv.rstrip(',')}]")


def test_a_block_computes_conv_norm_relu_dropout_pool_in_this_order():
    torch.manual_seed(0)
    images = torch.randn(8, 2, 12, 12)
    for dropout in (0.0, 0.5):
        block = ConvBlock(2, ConvLayer(filters=4, pool=2, dropout=dropout))
        torch.manual_seed(1)
        maps = F.dropout(F.relu(block.norm(block.conv(images))), dropout)
        expected = F.max_pool2d(maps, 2)
        torch.manual_seed(1)
        torch.testing.assert_close(block(images), expected)


def test_a_hybrid_network_depends_on_its_hog_and_its_picture(network):
    net = network("model=hybrid_poster", *SMALL).eval()
    torch.nn.init.normal_(net.head.scores.weight)
    faces, features = torch.rand(4, 1, 48, 48, requires_grad=True), torch.rand(4, 900, requires_grad=True)
    net(faces, features).square().sum().backward()
    assert (features.grad.abs().sum(dim=0) > 0).any()
    assert faces.grad.abs().sum() > 0


def test_probabilities_are_those_of_the_logits_divided_by_the_temperature(network):
    net = network("model=conv_poster", *SMALL).eval()
    torch.nn.init.normal_(net.head.scores.weight)
    faces = torch.randint(0, 256, (4, 1, 48, 48))
    torch.testing.assert_close(net.probabilities(faces), net(faces).softmax(1))
    net.temperature.fill_(2.0)
    torch.testing.assert_close(net.probabilities(faces), (net(faces) / 2).softmax(1))


@pytest.mark.parametrize("model", ["fc", "hybrid_poster"])
def test_a_network_in_16_bits_takes_faces_of_any_type(network, model):
    halved = network(f"model={model}").bfloat16()
    faces = torch.randint(0, 256, (2, 1, 48, 48), dtype=torch.uint8)
    for given in (faces, faces.float(), faces.bfloat16()):
        assert halved(given).dtype == torch.bfloat16
