"""Saliency against known cases and finite differences."""

import pytest
import torch
from torch import nn

from fer_lightning.figures.saliency import grad_cam, input_gradients, mean_grad_cams, occlusion


def test_grad_cam_of_a_network_with_global_average_pooling_is_its_class_activation_map():
    torch.manual_seed(1)
    conv, last = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 7)
    nn.init.uniform_(conv.weight, 0, 1)  # every place is active, so that the ReLU hides nothing
    network = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    pictures, targets = torch.rand(3, 1, 12, 12) + 0.5, torch.tensor([0, 3, 6])
    found = grad_cam(network, pictures, targets)
    maps = conv(pictures).relu()
    cam = torch.einsum("bkhw,bk->bhw", maps, last.weight[targets]).relu() / (12 * 12)  # Zhou et al. 2016
    torch.testing.assert_close(found, cam.detach())


def test_the_weight_of_a_map_is_the_slope_of_the_logit_over_a_shift_of_that_map(make_network, faces):
    network = make_network().double()
    pictures, targets = faces[0][:2].double(), faces[1][:2]
    block, step, slopes = network.features.conv2.norm, 1e-6, []
    with torch.no_grad():
        maps = block(network.features.conv2.conv(network.features.conv1(network.preprocessing(pictures)[0]))).relu()
        for number in range(maps.shape[1]):
            logits = []
            for move in (step, -2 * step, step):  # up, down, and back
                block.bias[number] += move
                logits.append(network(pictures).gather(1, targets[:, None])[:, 0])
            slopes.append((logits[0] - logits[1]) / (2 * step) / maps[0, 0].numel())
    heat = torch.einsum("bkhw,kb->bhw", maps, torch.stack(slopes)).relu()[:, None]
    expected = nn.functional.interpolate(heat, size=(48, 48), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(grad_cam(network, pictures, targets, "conv2").double(), expected, rtol=1e-3, atol=1e-6)
    assert float(expected.max()) > 0


@pytest.mark.parametrize("kind", ["conv", "hybrid"])
def test_input_gradients_are_the_slopes_that_finite_differences_find(kind, make_network, faces):
    network = make_network(kind)
    # whole grey values often lie on the border of two bins of HOG, where it has no slope: a little noise moves them off
    face, target = faces[0][3:4] + torch.rand(48, 48, generator=torch.Generator().manual_seed(0)), faces[1][3:4]
    found = input_gradients(network, face, target)[0]
    strongest = found.flatten().argsort(descending=True)[:3]
    for place in strongest.tolist():
        above, below = face.clone(), face.clone()
        above.view(-1)[place] += 0.05
        below.view(-1)[place] -= 0.05
        with torch.no_grad():
            slope = (network(above) - network(below))[0, target[0]] / 0.1
        assert float(found.view(-1)[place]) == pytest.approx(abs(float(slope)), rel=0.1)


def test_occlusion_finds_the_only_place_that_matters():
    class Eye(nn.Module):
        def forward(self, pictures):
            eye = pictures[:, 0, 12:16, 30:34].mean(dim=(1, 2)) / 20
            return torch.stack([eye, torch.zeros_like(eye)], dim=1)

    face = torch.zeros(1, 1, 48, 48)
    face[:, :, 12:16, 30:34] = 200
    lost = occlusion(Eye(), face, torch.tensor([0]))[0]
    top, left = divmod(int(lost.argmax()), 48)
    assert 8 <= top < 20
    assert 26 <= left < 38
    assert float(lost[30:, :20].abs().max()) == 0
    assert float(lost.max()) > 0.4


def test_mean_grad_cam_is_the_mean_of_the_single_ones_and_black_without_faces(make_network, faces):
    network = make_network()
    images, labels = faces[0][:4], torch.tensor([2, 2, 5, 2])
    means, heat, counts = mean_grad_cams(network, images, labels, 7)
    own = images[labels == 2]
    single = grad_cam(network, own, torch.tensor([2, 2, 2]))
    single = single / single.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    torch.testing.assert_close(heat[2], single.mean(dim=0))
    torch.testing.assert_close(means[2], own.float().mean(dim=0))
    assert counts == [0, 0, 3, 0, 0, 1, 0]
    assert float(heat[0].max()) == 0


def test_elementwise_grad_cam_shares_the_logit_out_among_the_places():
    torch.manual_seed(2)
    conv, last = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 12 * 12, 7)
    nn.init.uniform_(conv.weight, 0, 1)
    nn.init.uniform_(last.weight, 0, 1)  # every share is positive, so that the ReLU hides nothing
    network = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), last)
    pictures, targets = torch.rand(3, 1, 12, 12) + 0.5, torch.tensor([0, 3, 6])
    found = grad_cam(network, pictures, targets, elementwise=True)
    logits = network(pictures).gather(1, targets[:, None])[:, 0] - last.bias[targets]
    torch.testing.assert_close(found.sum(dim=(1, 2)), logits.detach())  # Draelos & Carin 2020, sec. 3.3


def test_elementwise_grad_cam_finds_what_the_mean_of_the_gradients_hides():
    conv, last = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(16, 1)
    nn.init.ones_(conv.weight)
    last.weight.data = torch.full((1, 16), -1.0)
    last.weight.data[0, 5] = 2.0  # one place speaks for the class, all others against it
    network = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), last)
    picture, target = torch.ones(1, 1, 4, 4), torch.tensor([0])
    assert float(grad_cam(network, picture, target).max()) == 0
    heat = grad_cam(network, picture, target, elementwise=True)
    assert heat.nonzero().tolist() == [[0, 1, 1]]
