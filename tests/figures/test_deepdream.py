"""Dreams reach what they are to reach, by the network itself; total variation against a loop over pixels."""

import pytest
import torch

from fer_lightning.figures.deepdream import (
    CERTAIN,
    dream,
    dream_picture,
    dream_sheet,
    total_variation,
    towards_emotion,
    towards_layer,
)


def test_a_dream_raises_the_probability_of_its_emotion_above_099(trained, faces):
    targets = torch.arange(7)
    real = faces[0][6:].expand(7, -1, -1, -1)
    dreams = dream(real, towards_emotion(trained, targets), least=CERTAIN)
    with torch.no_grad():
        probabilities = trained(dreams).softmax(dim=1).gather(1, targets[:, None])
    assert float(probabilities.min()) > 0.99
    assert dreams.shape == real.shape
    assert 0 <= float(dreams.min()) <= float(dreams.max()) <= 255


def test_a_dream_that_falls_short_is_continued_and_the_others_are_left():
    calls = []

    def objective(pictures):  # the first face reaches 60 grey values more at once, the second slowly
        calls.append(len(pictures))
        return pictures.mean(dim=(1, 2, 3)) * torch.tensor([1.0, 0.6])

    pictures = torch.full((2, 1, 8, 8), 40.0)
    settings = {"octaves": 1, "steps": 20, "rate": 2.0, "jitter": 0, "smoothness": 0.0}
    once, again = (dream(pictures, objective, **settings, least=least) for least in (None, 70.0))
    assert objective(once).tolist() == pytest.approx([80, 48], abs=2)
    assert torch.equal(once[0], again[0])
    assert objective(again)[1] >= 70
    assert len(calls) > 60


def test_smoothness_makes_a_smoother_dream(make_network, faces):
    goal = towards_emotion(make_network(), faces[1].roll(1))
    changes = [dream(faces[0], goal, smoothness=weight) - faces[0] for weight in (0, 1)]
    rough, smooth = map(total_variation, changes)
    assert (smooth < rough).all()


def test_total_variation_is_that_of_the_picture_in_grey_values_a_pixel():
    ramp = torch.arange(8.0).repeat(8, 1)[None, None] * 3  # rises by 3 a pixel to the right
    assert float(total_variation(ramp)) == pytest.approx(3 * 7 / 8, rel=0.01)
    random = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(0)) * 255
    for picture, found in zip(random, total_variation(random), strict=True):
        rows = picture[0].tolist()
        lengths = [
            ((rows[min(y + 1, 4)][x] - rows[y][x]) ** 2 + (rows[y][min(x + 1, 5)] - rows[y][x]) ** 2) ** 0.5
            for y in range(5)
            for x in range(6)
        ]
        assert float(found) == pytest.approx(sum(lengths) / 30, rel=1e-3)


def test_every_pixel_counts_in_the_total_variation():
    dots = 50 * torch.eye(16).view(16, 1, 4, 4)
    assert float(total_variation(dots).min()) > 1


def test_the_same_seed_gives_the_same_dream(make_network, faces):
    goal = towards_emotion(make_network(), faces[1])
    first, second, third = (dream(faces[0], goal, steps=3, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_log_odds_are_those_of_the_softmax(make_network, faces):
    network = make_network()
    p = network(faces[0]).softmax(dim=1).gather(1, faces[1][:, None])[:, 0]
    expected = (p / (1 - p)).log()
    torch.testing.assert_close(towards_emotion(network, faces[1], 99)(faces[0]), expected, rtol=1e-3, atol=1e-4)
    assert max(towards_emotion(network, faces[1], -2.0)(faces[0]).tolist()) == -2  # not above `enough`


def test_a_dream_towards_a_filter_raises_the_mean_of_its_map(make_network, faces):
    network = make_network()
    goal = towards_layer(network, "conv2", 3)
    dreams = dream(faces[0], goal, steps=6, smoothness=0)
    block = network.features
    with torch.no_grad():
        maps = block.conv2.norm(block.conv2.conv(block.conv1(network.preprocessing(dreams)[0])))
    torch.testing.assert_close(goal(dreams), maps[:, 3].mean(dim=(1, 2)))
    assert (maps[:, 3].mean(dim=(1, 2)) > goal(faces[0])).all()
    torch.testing.assert_close(towards_layer(network, "conv2")(dreams), maps.relu().square().mean(dim=(1, 2, 3)))


def test_pictures_show_the_face_the_dream_and_the_change():
    face = torch.full((1, 48, 48), 100.0)
    dreamed = face.clone()
    dreamed[0, :24] += 50
    picture = dream_picture(face, dreamed)
    middle = picture.shape[1] - 6 - 288 // 2
    above, below = picture[:, middle - 100], picture[:, middle + 100]
    x = [16 + number * (288 + 6) + 144 for number in range(3)]
    assert [above[:, place].tolist() for place in x[:2]] == [[100] * 3, [150] * 3]
    assert [below[:, place].tolist() for place in x[:2]] == [[100] * 3, [100] * 3]
    red, _, blue = above[:, x[2]].tolist()
    assert red > 2 * blue
    assert below[:, x[2]].min() > 240
    sheet = dream_sheet(face[None], dreamed[None], ["sad"], [["1%"], ["99%"]], "net")
    assert sheet.shape[1] > 3 * 144
