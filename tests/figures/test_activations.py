"""Activation maps against the layers themselves, their measures against counts by hand, and the faces shown."""

import pytest
import torch
from torch import nn

from fer_lightning.errors import InputError
from fer_lightning.figures.activations import (
    activation_maps,
    activation_sheet,
    conv_layers,
    locality,
    one_face_each,
    require_layer,
    sparsity,
    sparsity_and_locality,
)
from fer_lightning.figures.deepdream import towards_layer
from fer_lightning.figures.saliency import grad_cam
from fer_lightning.figures.sheets import apply_colormap


def hooks(network):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in network.modules())


def test_the_activation_map_of_a_layer_is_the_relu_of_its_normalised_convolution(make_network, faces):
    network = make_network()
    maps = activation_maps(network, faces[0])
    first, second = network.features.conv1, network.features.conv2
    with torch.no_grad():
        expected = first.norm(first.conv(network.preprocessing(faces[0])[0])).relu()
        expected2 = second.norm(second.conv(nn.functional.max_pool2d(expected, 2))).relu()
    assert list(maps) == ["conv1", "conv2"]
    torch.testing.assert_close(maps["conv1"], expected)
    torch.testing.assert_close(maps["conv2"], expected2)


def test_activation_maps_are_the_same_with_and_without_dropout_layers(make_network, faces):
    plain = make_network()
    with_dropout = make_network(dropout=0.5)
    with_dropout.load_state_dict(plain.state_dict())
    expected, found = activation_maps(plain, faces[0]), activation_maps(with_dropout, faces[0])
    for layer, maps in expected.items():
        torch.testing.assert_close(found[layer], maps)


def test_layers_of_networks_from_elsewhere_keep_their_own_names():
    network = nn.Sequential()
    network.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    layers = conv_layers(network)
    assert list(layers) == ["0", "2"]
    assert layers["0"] is network.features[0]
    assert layers["2"] is network.features[3]


def test_a_layer_or_channel_that_does_not_exist_is_answered_with_those_that_do(make_network, faces):
    network = make_network()
    with pytest.raises(InputError, match=r"layer=conv3: .*Layers: conv1, conv2"):
        grad_cam(network, *faces, layer="conv3")
    with pytest.raises(InputError, match="no conv layers"):
        towards_layer(make_network("fc"), "conv1")
    with pytest.raises(InputError, match="channels 0 to 5"):
        towards_layer(network, "conv1", 6)
    with pytest.raises(InputError, match="of which layer"):
        require_layer(network, None, 2)
    assert require_layer(network) == "conv2"


def test_hooks_are_removed_even_when_the_network_fails(make_network, faces):
    class Broken(nn.Module):
        def forward(self, logits):
            raise RuntimeError("broken")

    network = nn.Sequential(make_network(), Broken())
    with pytest.raises(RuntimeError, match="broken"):
        activation_maps(network, faces[0])
    with pytest.raises(RuntimeError, match="broken"):
        grad_cam(network, *faces)
    assert hooks(network) == 0


def test_no_hook_and_no_gradient_is_left_in_the_network(make_network, faces):
    network = make_network("hybrid")
    activation_maps(network, faces[0])
    grad_cam(network, *faces)
    towards_layer(network, "conv1")(faces[0])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert hooks(network) == 0


def test_sparsity_is_the_counted_share_of_zeros():
    maps = torch.tensor([[[[0.0, 2.0], [0.0, 0.0]], [[1.0, 3.0], [0.0, 5.0]]]])
    zeros = sum(value == 0 for value in maps.flatten().tolist())
    assert sparsity(maps) == zeros / 8
    assert sparsity_and_locality({"conv1": maps}) == {"sparsity/conv1": zeros / 8, "locality/conv1": locality(maps)}


def test_locality_is_one_for_a_single_place_zero_for_an_even_map_and_blind_to_scale():
    single, even = torch.zeros(1, 1, 6, 6), torch.full((1, 1, 6, 6), 0.3)
    single[0, 0, 2, 4] = 7
    assert locality(single) == pytest.approx(1)
    assert locality(even) == pytest.approx(0, abs=1e-6)
    random = torch.rand(2, 3, 6, 6)
    assert locality(random) == pytest.approx(locality(random * 9), rel=1e-5)
    values = random[0, 0].flatten().tolist()
    by_hand = (6 - sum(values) / sum(v * v for v in values) ** 0.5) / (6 - 1)
    assert locality(random[:1, :1]) == pytest.approx(by_hand, rel=1e-5)
    beside_zeros = torch.cat([single, torch.zeros_like(single)], dim=1)
    assert locality(beside_zeros) == pytest.approx(1)
    assert locality(torch.zeros(1, 1, 6, 6)) != locality(torch.zeros(1, 1, 6, 6))  # NaN


def test_the_face_shown_of_each_expression_is_the_one_most_like_its_mean_and_never_a_flat_one():
    random = torch.Generator().manual_seed(0)
    patterns = torch.rand(3, 1, 12, 12, generator=random) * 200
    labels = torch.tensor([0, 1, 1, 0, 0, 1, 0])
    noise = torch.rand(7, 1, 12, 12, generator=random) * torch.tensor([90, 90, 90, 9, 90, 9, 0])[:, None, None, None]
    images = patterns[labels] + noise
    images[6] = 90
    assert one_face_each(images, labels, 3).tolist() == [3, 5]


def test_a_sheet_shows_each_face_then_its_maps_black_where_zero(faces):
    maps = torch.zeros(7, 3, 4, 4)
    maps[2, 1] = 5
    sheet = activation_sheet(faces[0], maps, side=48)
    assert sheet.shape[1] > 7 * 48
    left, top = 16, sheet.shape[1] - 7 * (48 + 6)  # below the numbers of the filters

    def cell(row, column):
        y, x = top + row * 54, left + column * 54
        return sheet[:, y : y + 48, x : x + 48]

    assert torch.equal(cell(2, 0), faces[0][2].expand(3, -1, -1))
    brightest, zero = ((apply_colormap(value(1, 1)) * 255).round().byte() for value in (torch.ones, torch.zeros))
    assert torch.equal(cell(2, 2), brightest.expand(-1, 48, 48))
    assert torch.equal(cell(0, 2), zero.expand(-1, 48, 48))
