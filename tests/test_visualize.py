"""Pictures of a network: each measure against a direct count, a known case or finite differences."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout

import matplotlib
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image, ImageDraw
from sklearn.metrics import average_precision_score
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error

from fer_lightning.classifiers import build_classifier
from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.hog import hog
from fer_lightning.visualize import activations, deepdream, errors, saliency
from fer_lightning.visualize.confusion import confusion_picture
from fer_lightning.visualize.filters import filter_grid
from fer_lightning.visualize.precision_recall import average_precisions, precision_recall_figure
from fer_lightning.visualize.reliability import reliability, reliability_figure
from fer_lightning.visualize.sheet import coloured, enlarge, overlaid, sheet_figure, tile

HOG = {"orientations": 9, "pixels_per_cell": 8, "cells_per_block": 2, "block_norm": "L2-Hys"}
CONV = [{"filters": 6, "kernel": 5, "pool": 2}, {"filters": 8, "pool": 2}]


def classifier(kind="conv", seed=0, **others):
    """An untrained network of any kind, its running statistics and last layer made uneven, ready to classify."""
    torch.manual_seed(seed)
    model = {"name": kind, "kind": kind, "hidden": [12], "batch_norm": True, "dropout": 0.0, "class_weights": False}
    model |= {"input": "hog"} if kind == "fc" else {"conv": CONV}
    inputs = {"channels": 1, "size": 48, "hog": HOG}
    built = build_classifier(model | others, inputs=inputs, optimizer={}, schedule={}, seed=seed)
    nn.init.normal_([m for m in built.network.modules() if isinstance(m, nn.Linear)][-1].weight)
    for module in built.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    built.normalization.mean.fill_(120.0)
    built.normalization.std.fill_(60.0)
    return built.eval()


@pytest.fixture(scope="module")
def faces():
    drawn = synthetic_faces(70)
    rows = activations.one_face_each(torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels), len(EXPRESSIONS))
    return torch.from_numpy(drawn.images)[rows, None], torch.from_numpy(drawn.labels)[rows].long()


@pytest.fixture(scope="module", params=["conv", "hybrid", "fc"])
def trained(request):
    """A small network of each kind that has learnt 210 drawn faces by heart, more or less."""
    drawn = synthetic_faces(210)
    images, labels = torch.from_numpy(drawn.images)[:, None].float(), torch.from_numpy(drawn.labels).long()
    net = classifier(request.param)
    net.normalization.mean.copy_(images.mean(dim=0))
    net.normalization.std.copy_((images - images.mean(dim=0)).std())
    if net.uses_hog:
        std, mean = torch.std_mean(hog(images[:, 0], **HOG), dim=0)
        net.normalization.hog_mean.copy_(mean)
        net.normalization.hog_std.copy_(std.clamp_min(1e-3))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    net.train()
    for step in range(40):
        chosen = slice(step % 3 * 70, step % 3 * 70 + 70)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net.classify(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    return net.eval()


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in network.modules())


# activation maps


def test_the_activation_map_of_a_layer_is_the_relu_of_its_normalised_convolution(faces):
    net = classifier()
    maps = activations.activation_maps(net.network, net.classify, faces[0])
    block = net.network.features.conv1
    with torch.no_grad():
        expected = block.norm(block.conv(net.normalization.images(faces[0].float()))).relu()
        second = net.network.features.conv2
        expected2 = second.norm(second.conv(nn.functional.max_pool2d(expected, 2))).relu()
    assert list(maps) == ["conv1", "conv2"]
    torch.testing.assert_close(maps["conv1"], expected)
    torch.testing.assert_close(maps["conv2"], expected2)


def test_activation_maps_are_the_same_with_and_without_dropout_layers(faces):
    plain = classifier()
    with_dropout = classifier(conv=[layer | {"dropout": 0.5} for layer in CONV])
    with_dropout.load_state_dict(plain.state_dict())
    for first, second in zip(
        activations.activation_maps(plain.network, plain.classify, faces[0]).values(),
        activations.activation_maps(with_dropout.network, with_dropout.classify, faces[0]).values(),
        strict=True,
    ):
        torch.testing.assert_close(first, second)


def test_layers_of_networks_from_elsewhere_keep_their_own_names():
    network = nn.Sequential()
    network.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    layers = activations.conv_layers(network)
    assert list(layers) == ["0", "2"]
    assert layers["0"] is network.features[0]
    assert layers["2"] is network.features[3]


def test_sparsity_is_the_counted_share_of_zeros():
    maps = torch.tensor([[[[0.0, 2.0], [0.0, 0.0]], [[1.0, 3.0], [0.0, 5.0]]]])
    zeros = sum(value == 0 for value in maps.flatten().tolist())
    assert activations.zero_share(maps) == zeros / 8


def test_locality_is_one_for_a_single_place_zero_for_an_even_map_and_blind_to_scale():
    single, even = torch.zeros(1, 1, 6, 6), torch.full((1, 1, 6, 6), 0.3)
    single[0, 0, 2, 4] = 7
    assert activations.locality(single) == pytest.approx(1)
    assert activations.locality(even) == pytest.approx(0, abs=1e-6)
    random = torch.rand(2, 3, 6, 6)
    assert activations.locality(random) == pytest.approx(activations.locality(random * 9), rel=1e-5)
    values = random[0, 0].flatten().tolist()
    by_hand = (6 - sum(values) / sum(v * v for v in values) ** 0.5) / (6 - 1)
    assert activations.locality(random[:1, :1]) == pytest.approx(by_hand, rel=1e-5)
    dead_beside = torch.cat([single, torch.zeros_like(single)], dim=1)
    assert activations.locality(dead_beside) == pytest.approx(1)


def test_the_face_shown_of_each_expression_is_the_one_most_like_its_mean_and_never_a_flat_one():
    random = torch.Generator().manual_seed(0)
    patterns = torch.rand(3, 1, 12, 12, generator=random) * 200
    labels = torch.tensor([0, 1, 1, 0, 0, 1, 0])
    noise = torch.rand(7, 1, 12, 12, generator=random) * torch.tensor([90, 90, 90, 9, 90, 9, 0])[:, None, None, None]
    images = patterns[labels] + noise
    images[6] = 90
    assert activations.one_face_each(images, labels, 3).tolist() == [3, 5]


@pytest.mark.parametrize("kind", ["conv", "hybrid", "fc"])
def test_the_last_hidden_layer_times_its_weights_gives_the_logits(kind, faces):
    net = classifier(kind)
    hidden, logits = activations.last_hidden(net.network, net.classify, faces[0])
    last = [module for module in net.network.modules() if isinstance(module, nn.Linear)][-1]
    torch.testing.assert_close(last(hidden), net.classify(faces[0]))
    torch.testing.assert_close(logits, net.classify(faces[0]))


def test_hooks_are_removed_even_when_the_network_fails(faces):
    net = classifier()

    def broken(pictures):
        net.classify(pictures)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        activations.activation_maps(net.network, broken, faces[0])
    with pytest.raises(RuntimeError, match="broken"):
        activations.last_hidden(net.network, broken, faces[0])
    with pytest.raises(RuntimeError, match="broken"):
        saliency.grad_cam(net.network, broken, *faces)
    assert hooks(net.network) == 0


def test_a_layer_that_does_not_exist_is_answered_with_those_that_do(faces):
    net = classifier()
    with pytest.raises(InputError, match=r"layer=conv3: .*Layers: conv1, conv2"):
        saliency.grad_cam(net.network, net.classify, *faces, layer="conv3")
    with pytest.raises(InputError, match="no conv layers"):
        deepdream.towards_layer(classifier("fc").network, net.classify, "conv1")
    with pytest.raises(InputError, match="channels 0 to 5"):
        deepdream.towards_layer(net.network, net.classify, "conv1", 6)


# saliency


def test_grad_cam_of_a_network_with_global_average_pooling_is_its_class_activation_map():
    torch.manual_seed(1)
    conv, last = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 7)
    nn.init.uniform_(conv.weight, 0, 1)  # every place answers, so that the ReLU hides nothing
    network = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    pictures, targets = torch.rand(3, 1, 12, 12) + 0.5, torch.tensor([0, 3, 6])
    found = saliency.grad_cam(network, network, pictures, targets)
    maps = conv(pictures).relu()
    cam = torch.einsum("bkhw,bk->bhw", maps, last.weight[targets]).relu() / (12 * 12)  # Zhou et al. 2016
    torch.testing.assert_close(found, cam.detach())


def test_a_filters_weight_is_the_slope_of_the_logit_over_that_filters_shift(faces):
    net = classifier().double()
    pictures, targets = faces[0][:2].double(), faces[1][:2]

    def classify(given):
        return net(given.double())

    maps, weights = saliency.channel_weights(net.network, classify, pictures, targets, "conv2")
    shift, places, step = net.network.features.conv2.norm.bias, maps.shape[2] * maps.shape[3], 1e-6
    for number in range(3):
        with torch.no_grad():
            shift[number] += step
            above = classify(pictures).gather(1, targets[:, None])[:, 0]
            shift[number] -= 2 * step
            below = classify(pictures).gather(1, targets[:, None])[:, 0]
            shift[number] += step
        slope = (above - below) / (2 * step) / places
        torch.testing.assert_close(weights[:, number].double(), slope, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kind", ["conv", "hybrid"])
def test_input_gradients_are_the_slopes_that_finite_differences_find(kind, faces):
    net = classifier(kind)
    # whole grey values often lie on the border of two bins of HOG, where it has no slope: a little noise moves them off
    face, target = faces[0][3:4] + torch.rand(48, 48, generator=torch.Generator().manual_seed(0)), faces[1][3:4]
    found = saliency.input_gradients(net.classify, face, target)[0]
    strongest = found.flatten().argsort(descending=True)[:3]
    for place in strongest.tolist():
        above, below = face.clone(), face.clone()
        above.view(-1)[place] += 0.05
        below.view(-1)[place] -= 0.05
        with torch.no_grad():
            slope = (net.classify(above) - net.classify(below))[0, target[0]] / 0.1
        assert float(found.view(-1)[place]) == pytest.approx(abs(float(slope)), rel=0.1)


def test_occlusion_finds_the_only_place_that_matters():
    def classify(pictures):
        eye = pictures[:, 0, 12:16, 30:34].mean(dim=(1, 2)) / 20
        return torch.stack([eye, torch.zeros_like(eye)], dim=1)

    face = torch.zeros(1, 1, 48, 48)
    face[:, :, 12:16, 30:34] = 200
    lost = saliency.occlusion(classify, face, torch.tensor([0]))[0]
    top, left = divmod(int(lost.argmax()), 48)
    assert 8 <= top < 20
    assert 26 <= left < 38
    assert float(lost[30:, :20].abs().max()) == 0
    assert float(lost.max()) > 0.4


def test_mean_grad_cam_is_the_mean_of_the_single_ones_and_black_without_faces(faces):
    net = classifier()
    images, labels = faces[0][:4], torch.tensor([2, 2, 5, 2])
    means, heat, counts = saliency.mean_grad_cams(net.network, net.classify, images, labels, 7)
    own = images[labels == 2]
    single = saliency.grad_cam(net.network, net.classify, own, torch.tensor([2, 2, 2]))
    single = single / single.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    torch.testing.assert_close(heat[2], single.mean(dim=0))
    torch.testing.assert_close(means[2], own.float().mean(dim=0))
    assert counts == [0, 0, 3, 0, 0, 1, 0]
    assert float(heat[0].max()) == 0


def test_looking_leaves_no_slopes_behind_in_the_network(faces):
    net = classifier("hybrid")
    saliency.grad_cam(net.network, net.classify, *faces)
    deepdream.dream(faces[0], deepdream.towards_emotion(net.classify, faces[1]), steps=1)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert hooks(net.network) == 0


# dreams


def test_a_dream_raises_its_emotion_above_099_by_the_networks_own_word(trained, faces):
    targets = torch.arange(7)
    real = faces[0][6:].expand(7, -1, -1, -1)
    dreams = deepdream.dream(real, deepdream.towards_emotion(trained.classify, targets), least=deepdream.CERTAIN)
    with torch.no_grad():
        probabilities = trained.classify(dreams).softmax(dim=1).gather(1, targets[:, None])
    assert float(probabilities.min()) > 0.99
    assert dreams.shape == real.shape
    assert 0 <= float(dreams.min()) <= float(dreams.max()) <= 255


def test_a_dream_that_falls_short_is_dreamed_on_and_the_others_are_left():
    looks = []

    def objective(pictures):  # the first face reaches 60 grey values more at once, the second slowly
        looks.append(len(pictures))
        return pictures.mean(dim=(1, 2, 3)) * torch.tensor([1.0, 0.6])

    pictures = torch.full((2, 1, 8, 8), 40.0)
    settings = {"octaves": 1, "steps": 20, "rate": 2.0, "jitter": 0, "smoothness": 0.0}
    once, again = (deepdream.dream(pictures, objective, **settings, least=least) for least in (None, 70.0))
    assert objective(once).tolist() == pytest.approx([80, 48], abs=2)
    assert torch.equal(once[0], again[0])
    assert objective(again)[1] >= 70
    assert len(looks) > 60


def test_smoothness_makes_a_smoother_dream(faces):
    net = classifier()
    goal = deepdream.towards_emotion(net.classify, faces[1].roll(1))
    changes = [deepdream.dream(faces[0], goal, smoothness=weight) - faces[0] for weight in (0, 1)]
    rough, smooth = map(deepdream.total_variation, changes)
    assert (smooth < rough).all()


def test_total_variation_is_that_of_the_picture_in_grey_values_a_pixel():
    ramp = torch.arange(8.0).repeat(8, 1)[None, None] * 3  # rises by 3 a pixel to the right
    assert float(deepdream.total_variation(ramp)) == pytest.approx(3 * 7 / 8, rel=0.01)
    random = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(0)) * 255
    for picture, found in zip(random, deepdream.total_variation(random), strict=True):
        rows = picture[0].tolist()
        lengths = [
            ((rows[min(y + 1, 4)][x] - rows[y][x]) ** 2 + (rows[y][min(x + 1, 5)] - rows[y][x]) ** 2) ** 0.5
            for y in range(5)
            for x in range(6)
        ]
        assert float(found) == pytest.approx(sum(lengths) / 30, rel=1e-3)


def test_every_pixel_counts_in_the_total_variation():
    flat = torch.zeros(1, 1, 4, 4)
    for place in range(16):
        dot = torch.zeros(16)
        dot[place] = 50
        assert float(deepdream.total_variation(flat + dot.view(1, 1, 4, 4))) > 1


def test_the_same_seed_dreams_the_same(faces):
    net = classifier()
    goal = deepdream.towards_emotion(net.classify, faces[1])
    first, second, third = (deepdream.dream(faces[0], goal, steps=3, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_log_odds_are_those_of_the_softmax(faces):
    net = classifier()
    p = net.classify(faces[0]).softmax(dim=1).gather(1, faces[1][:, None])[:, 0]
    torch.testing.assert_close(
        deepdream.towards_emotion(net.classify, faces[1], 99)(faces[0]), (p / (1 - p)).log(), rtol=1e-3, atol=1e-4
    )


def test_a_dream_towards_a_filter_raises_that_filters_answer(faces):
    net = classifier()
    goal = deepdream.towards_layer(net.network, net.classify, "conv2", 3)
    dreams = deepdream.dream(faces[0], goal, steps=6, smoothness=0)
    with torch.no_grad():
        block = net.network.features
        own = block.conv2.norm(block.conv2.conv(block.conv1(net.normalization.images(dreams))))[:, 3].mean(dim=(1, 2))
    torch.testing.assert_close(goal(dreams), own)
    assert (own > goal(faces[0].float())).all()


# errors


def test_the_most_confident_mistakes_come_first():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.05, 0.95]])
    labels = torch.tensor([1, 0, 0, 1])
    assert errors.confident_mistakes(probabilities, labels).tolist() == [0, 1, 2]
    assert errors.confident_mistakes(probabilities, labels, most=1).tolist() == [0]


def test_confused_pairs_are_the_cells_beside_the_diagonal_by_their_share():
    matrix = np.array([[8, 2, 0], [1, 1, 0], [0, 30, 70]])
    pairs = errors.confused_pairs(matrix)
    assert pairs == [(1, 0, 1, 0.5), (2, 1, 30, 0.3), (0, 1, 2, 0.2)]


def test_labels_that_were_swapped_are_found():
    random = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (400,), generator=random)
    logits = torch.randn(400, 4, generator=random) + 8 * nn.functional.one_hot(truth, 4)
    labels = truth.clone()
    swapped = torch.randperm(400, generator=random)[:20]
    labels[swapped] = (labels[swapped] + 1) % 4
    found = errors.probably_mislabelled(logits.softmax(dim=1), labels)
    assert len(set(found.tolist()) & set(swapped.tolist())) >= 18
    assert len(found) <= 24
    own = logits.softmax(dim=1).gather(1, labels[:, None])[found, 0]
    assert (own.diff() >= 0).all()


def test_reliability_bins_are_those_counted_by_hand():
    # confidences 0.9, 0.8, 0.6, 0.6 (right, wrong, right, wrong) in two bins of which only the upper holds any
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6]])
    measured = reliability(probabilities, torch.tensor([0, 0, 0, 0]), bins=2)
    assert measured.faces.tolist() == [0, 4]
    assert np.isnan(measured.accuracy[0])
    assert measured.accuracy[1] == pytest.approx(0.5)
    assert measured.confidence[1] == pytest.approx((0.9 + 0.8 + 0.6 + 0.6) / 4)
    assert measured.ece == pytest.approx(0.725 - 0.5)


def test_the_calibration_error_of_the_diagram_is_that_of_torchmetrics():
    random = torch.Generator().manual_seed(0)
    probabilities = torch.randn(500, 7, generator=random).mul(2).softmax(dim=1)
    labels = torch.randint(0, 7, (500,), generator=random)
    expected = float(multiclass_calibration_error(probabilities, labels, 7, n_bins=15))
    assert reliability(probabilities, labels).ece == pytest.approx(expected, abs=1e-5)


def test_average_precision_is_that_of_scikit_learn_and_missing_for_an_absent_class():
    random = np.random.default_rng(0)
    probabilities, labels = random.dirichlet(np.ones(4), 60), random.integers(0, 3, 60)
    areas = average_precisions(probabilities, labels)
    assert areas[1] == pytest.approx(average_precision_score(labels == 1, probabilities[:, 1]))
    assert np.isnan(areas[3])
    legend = precision_recall_figure(probabilities, labels, ["a", "b", "c", "d"]).axes[0].get_legend()
    assert len(legend.get_texts()) == 3


# pictures


def test_enlarged_pixels_stay_pixels():
    picture = torch.rand(1, 1, 3, 3)
    big = enlarge(picture, 12)
    assert torch.equal(big, picture.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3))


def test_a_filter_is_drawn_with_its_zero_in_mid_grey_and_its_largest_weight_at_the_end():
    weights = torch.zeros(2, 1, 7, 7)
    weights[0, 0, 3, 3], weights[1, 0, 0, 0] = 0.01, -5
    sheet = filter_grid(weights)
    first, second = sheet[0, 4:60, 4:60], sheet[0, 4:60, 64:120]
    assert float(first[28, 28]) == 1
    assert float(first[0, 0]) == 0.5
    assert float(second[0, 0]) == 0


def test_the_first_thirty_filters_stand_in_three_rows_of_ten():
    sheet = filter_grid(torch.rand(32, 1, 7, 7), most=30, columns=10)
    assert sheet.shape == (1, 3 * 60 + 4, 10 * 60 + 4)


def test_a_tile_stands_where_it_belongs():
    pictures = torch.rand(5, 3, 4, 6)
    sheet = tile(pictures, columns=3, gap=1)
    assert torch.equal(sheet[:, 6:10, 8:14], pictures[4])


def test_a_face_under_no_heat_stays_grey_and_heat_colours_its_place():
    face, heat = torch.full((1, 1, 4, 4), 102.0), torch.zeros(1, 4, 4)
    heat[0, 1, 2] = 3
    drawn = overlaid(face, heat)[0]
    torch.testing.assert_close(drawn[:, 0, 0], torch.full((3,), 0.4))
    torch.testing.assert_close(drawn[:, 1, 2], 0.4 * 0.4 + 0.6 * coloured(torch.ones(1, 1), "inferno")[:, 0, 0])


def test_activation_rows_show_the_face_then_its_maps_black_where_zero(faces):
    maps = torch.zeros(7, 3, 4, 4)
    maps[2, 1] = 5
    rows = activations.activation_rows(faces[0], maps, side=48)
    assert rows[0].shape == (4, 3, 48, 48)
    torch.testing.assert_close(rows[2][0], (faces[0][2] / 255).expand(3, -1, -1))
    torch.testing.assert_close(rows[2][2], coloured(torch.ones(48, 48)))
    torch.testing.assert_close(rows[0][2], coloured(torch.zeros(48, 48)))


def test_the_confusion_picture_says_counts_shares_and_accuracy(monkeypatch):
    matrix, words, draw = np.array([[3, 1], [0, 0]]), [], ImageDraw.ImageDraw.text

    def text(pen, place, what, *others, **settings):
        words.append((what, place))
        draw(pen, place, what, *others, **settings)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    picture = confusion_picture(matrix, ("happy", "sad"), "val").float() / 255
    said = [what for what, _ in words]
    assert "val   accuracy 75.00% of 4" in said
    assert [what for what in said if what.endswith("%")] == ["75%", "25%", "0%", "0%"]
    assert [what for what in said if what.isdigit()] == ["3", "1", "0", "0"]
    assert {"4 images", "0 images", "predicted", "true"} <= set(said)
    blues = matplotlib.colormaps["Blues"]
    for share in ("75%", "25%"):  # each cell has the colour of the share that is written in it
        x, y = next(place for what, place in words if what == share)
        colour = torch.tensor(blues(int(share[:2]) / 100)[:3])
        torch.testing.assert_close(picture[:, int(y) - 24, int(x)].double(), colour, atol=0.02, rtol=0)


def test_a_sheet_shows_its_pictures_names_and_captions():
    row = torch.zeros(2, 3, 4, 4)
    row[1, 0] = 1
    figure = sheet_figure([row], ["dream"], ["sad", "happy"], [["0.1", "0.9"]], "title")
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["dream", "sad", "happy", "0.1", "0.9"]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    assert (pixels[..., :3] == (255, 0, 0)).all(axis=-1).sum() > 5000


def test_a_reliability_figure_says_its_error():
    measured = reliability(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0]))
    assert f"{measured.ece:.3f}" in reliability_figure(measured, "net").axes[0].get_title(loc="left")


# the command

SMALL = ["data.images=140", "data.batch_size=32", "model.hidden=[8]", "trainer.max_epochs=1", "draw.every=0"]


def visualize(*overrides):
    """`python -m fer_lightning.visualize OVERRIDES` in this process: its exit status, stdout and stderr."""
    from fer_lightning.visualize.__main__ import main

    out, err, code, arguments = io.StringIO(), io.StringIO(), 0, sys.argv
    sys.argv = ["visualize", *overrides]
    GlobalHydra.instance().clear()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = arguments
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, train):
    """A run of a conv network and one of fc, of one epoch each."""
    folder = tmp_path_factory.mktemp("runs")
    conv = ["model=conv_poster", "model.conv=[{filters: 4, kernel: 7, pool: 4},{filters: 4, pool: 2}]"]
    for name, model in (("conv", conv), ("fc", ["model=fc"])):
        ended = train(*SMALL, *model, "trainer.accelerator=cpu", f"hydra.run.dir={folder / name}")
        assert ended.code == 0, ended.err
    return folder


def pictures(folder):
    return {path.stem: np.asarray(Image.open(path)) for path in folder.glob("*.png")}


EVERY_NETWORK = {"deepdream", "saliency", "confusion-matrix", "confused-pairs", "mistakes", "doubtful-labels"}
EVERY_NETWORK |= {"precision-recall", "reliability"}


def test_the_command_draws_everything_beside_the_checkpoint(runs):
    code, _, err = visualize(f"checkpoint={runs / 'conv' / 'checkpoints' / 'best.ckpt'}", "dream.steps=2")
    assert code == 0, err
    drawn = pictures(runs / "conv" / "pictures")
    with_conv = {"filters", "filters-first-30", "activations-conv1", "activations-conv2", "grad-cam-means"}
    assert drawn.keys() == EVERY_NETWORK | with_conv
    assert all(picture.std() > 5 for picture in drawn.values())


def test_a_network_without_conv_layers_is_drawn_as_far_as_it_goes(runs, tmp_path):
    checkpoint = runs / "fc" / "checkpoints" / "last.ckpt"
    code, out, err = visualize(f"checkpoint={checkpoint}", "dream.steps=2", f"hydra.run.dir={tmp_path}")
    assert code == 0, err
    assert "no conv layers" in out
    assert pictures(tmp_path).keys() == EVERY_NETWORK


def test_one_layer_and_channel_can_be_asked_for(runs, tmp_path):
    checkpoint = runs / "conv" / "checkpoints" / "best.ckpt"
    overrides = ["layer=conv1", "channel=2", "dream.start=own", "dream.steps=2", "images=14", "data=synthetic"]
    code, _, err = visualize(f"checkpoint={checkpoint}", *overrides, "data.images=140", f"hydra.run.dir={tmp_path}")
    assert code == 0, err
    assert "deepdream-conv1-2" in pictures(tmp_path)
    assert "activations-conv2" not in pictures(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["layer=conv7"], "Layers: conv1, conv2"),
        (["layer=conv1", "channel=9"], "channels 0 to 3"),
        (["channel=1"], "of which layer"),
        (["dream.start=bored"], "expected own or angry"),
        (["dream.steps=0"], "a whole number of 1 or more"),
        (["images=none"], "a whole number"),
        (["dream.step=3"], "dream.steps"),
    ],
)
def test_a_wrong_setting_is_one_message_and_no_picture(runs, tmp_path, overrides, message):
    target = tmp_path / "out"
    checkpoint = runs / "conv" / "checkpoints" / "best.ckpt"
    code, _, err = visualize(f"checkpoint={checkpoint}", *overrides, f"hydra.run.dir={target}")
    assert code == 2
    assert message in err
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err
    assert not list(target.glob("*"))


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    torch.save({"weights": torch.ones(3)}, tmp_path / "other.ckpt")
    code, _, err = visualize(f"checkpoint={tmp_path / 'other.ckpt'}")
    assert code == 2
    assert "not a checkpoint of fer_lightning" in err
    code, _, err = visualize()
    assert code == 2
    assert "expected a checkpoint" in err
