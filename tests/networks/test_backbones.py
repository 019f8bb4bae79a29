"""AlexNet, VGG-16 and ResNet-18: torchvision's names and shapes, and the outputs of a plain functional forward."""

import pytest
import torch
from published_networks import BY_HAND, PUBLISHED, backbone
from tiny_runs import settings_from
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.errors import InputError
from fer_lightning.figures.activations import conv_layers, record_outputs
from fer_lightning.networks import ExpressionNetwork
from fer_lightning.networks.backbones import BACKBONES
from fer_lightning.settings import LEAST_SIDE

TOTALS = {"alexnet": 61_100_840, "vgg16": 138_357_544, "resnet18": 11_689_512}
"""Trainable parameters by torchvision's documentation."""


def in_meta(kind: str, *overrides: str) -> ExpressionNetwork:
    """The same without memory for its parameters."""
    with torch.device("meta"):
        return backbone(kind, *overrides)


def shuffle(network: ExpressionNetwork) -> ExpressionNetwork:
    """Statistics and biases as no untrained network has them, so that each of them counts."""
    for name, value in network.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            value.normal_(0, 0.1)
        elif name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
            value.uniform_(0.5, 1.5)
        elif name == "head.scores.weight":
            value.normal_()
    return network.eval()


@pytest.mark.parametrize("kind", BACKBONES)
def test_names_and_shapes_are_those_of_the_published_weights(kind):
    """All but the last layer, in whose place the head for expressions stands."""
    published = {name: tuple(shape) for name, shape in PUBLISHED[kind].items()}
    last = BACKBONES[kind].scores
    assert published.pop(f"{last}.weight") == (1000, BACKBONES[kind].width)
    assert published.pop(f"{last}.bias") == (1000,)
    assert {name: tuple(value.shape) for name, value in in_meta(kind).features.state_dict().items()} == published


@pytest.mark.parametrize("kind", BACKBONES)
def test_the_number_of_parameters_is_the_documented_one(kind):
    width = BACKBONES[kind].width
    assert in_meta(kind).parameter_count == TOTALS[kind] - 1000 * (width + 1) + 7 * (width + 1)


@pytest.mark.parametrize("kind", BACKBONES)
def test_outputs_are_those_of_the_layers_written_out(kind):
    torch.manual_seed(0)
    network = shuffle(backbone(kind))
    side = LEAST_SIDE[kind]
    weights = dict(network.features.state_dict())
    with torch.inference_mode():
        for size in (side, side + 21):
            pictures = torch.randn(2, 3, size, size)
            torch.testing.assert_close(
                network.features(pictures), BY_HAND[kind](weights, pictures), rtol=1e-4, atol=1e-5
            )
        faces = torch.randint(0, 256, (2, 3, side, side))
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pictures = (faces / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        scores = network.head.scores
        expected = BY_HAND[kind](weights, pictures) @ scores.weight.T + scores.bias
        torch.testing.assert_close(network(faces), expected, rtol=1e-4, atol=1e-4)


def test_grey_faces_are_repeated_for_the_three_channels():
    network = shuffle(backbone("resnet18"))
    grey = torch.randint(0, 256, (2, 1, 48, 48))
    with torch.inference_mode():
        assert torch.equal(network(grey), network(grey.expand(-1, 3, -1, -1)))


def test_statistics_of_the_training_part_do_not_replace_imagenets():
    network = shuffle(backbone("resnet18"))
    faces = torch.randint(0, 256, (2, 1, 48, 48))
    with torch.inference_mode():
        before = network(faces)
        network.preprocessing.set_statistics(
            torch.full((1, 48, 48), 99.0), torch.tensor(7.0), torch.empty(0), torch.empty(0)
        )
        assert torch.equal(network(faces), before)


@pytest.mark.parametrize("kind", BACKBONES)
def test_pictures_below_the_least_side_are_refused_with_the_remedy(kind):
    least = LEAST_SIDE[kind]
    with pytest.raises(InputError, match=rf"data.size={least - 1}: {kind} takes pictures of {least} pixels .*size=96"):
        settings_from(f"model={kind}", f"data.size={least - 1}")


@pytest.mark.parametrize("kind", BACKBONES)
def test_one_pixel_less_than_the_least_side_would_leave_nothing(kind):
    """ResNet-18 pads every layer and would take less; below 32 pixels its last maps hold one place."""
    features = in_meta(kind).features.eval()
    least = LEAST_SIDE[kind]
    assert features(torch.zeros(1, 3, least, least, device="meta")).shape == (1, BACKBONES[kind].width)
    if kind != "resnet18":
        with pytest.raises(RuntimeError, match="too small"):
            features(torch.zeros(1, 3, least - 1, least - 1, device="meta"))


@pytest.mark.parametrize("kind", BACKBONES)
def test_stages_hold_every_layer_below_the_head_once_and_in_order(kind):
    network = in_meta(kind)
    held = [id(weight) for stage in network.stages for layer in stage for weight in layer.parameters()]
    assert held == [id(weight) for weight in network.features.parameters()]
    assert [len(network.stages), len(in_meta(kind, "model.hidden=[16]").stages)] == [5 + 2 * (kind != "resnet18")] * 2


@pytest.mark.parametrize("kind", BACKBONES)
def test_dropout_is_that_of_the_settings(kind):
    rates = [
        module.p for module in in_meta(kind, "model.dropout=0.25").modules() if isinstance(module, torch.nn.Dropout)
    ]
    assert rates
    assert set(rates) == {0.25}


def test_the_map_of_a_blocks_last_layer_is_what_the_block_gives():
    """Grad-CAM looks at it: the sum with the shortcut, not the convolution alone."""
    network = shuffle(backbone("resnet18", size=64))
    with torch.inference_mode(), record_outputs(network, ["layer4.1.conv2", "layer4.1.conv1"]) as outputs:
        given: list[Tensor] = []
        network.features.layer4.register_forward_hook(lambda module, inputs, output: given.append(output))
        network(torch.randint(0, 256, (2, 1, 48, 48)))
    assert torch.equal(outputs["layer4.1.conv2"].relu(), given[0])
    assert outputs["layer4.1.conv1"].shape == given[0].shape == (2, 512, 2, 2)
    assert list(conv_layers(network))[-1] == "layer4.1.conv2"


def test_resnet18_learns_64_random_images():
    torch.manual_seed(0)
    network = backbone("resnet18", size=32)
    faces, labels = torch.randint(0, 256, (64, 1, 48, 48)), torch.randint(0, 7, (64,))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _step in range(40):
        logits = network(faces)
        if (logits.argmax(1) == labels).all():
            return
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
    pytest.fail("it does not")
