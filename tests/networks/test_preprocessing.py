"""What a network makes of a face: statistics, size, channels, HOG."""

import pytest
import torch
from torch.nn import functional as F

from fer_lightning.hog import hog
from fer_lightning.networks.preprocessing import Preprocessing
from fer_lightning.settings import HogSettings, InputSettings

FACES = torch.randint(0, 256, (5, 1, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def preprocessing(with_hog: bool = True, channels: int = 1, size: int = 48) -> Preprocessing:
    """With the statistics of FACES."""
    settings = HogSettings(orientations=9, pixels_per_cell=8, cells_per_block=2, block_norm="L2-Hys")
    made = Preprocessing(InputSettings(channels=channels, size=size, hog=settings), with_hog)
    faces, features = FACES.float(), hog(FACES[:, 0])
    statistics = (features.mean(0), features.std(0) + 1) if with_hog else (torch.zeros(0), torch.ones(0))
    made.set_statistics(faces.mean(0), faces.std(), *statistics)
    return made


def test_images_are_the_faces_less_the_mean_face_over_the_deviation_of_pixels():
    images, features = preprocessing(with_hog=False)(FACES)
    torch.testing.assert_close(images, (FACES - FACES.float().mean(0)) / FACES.float().std())
    assert features is None


@pytest.mark.parametrize("given", [False, True])
def test_hog_is_that_of_the_faces_normalised_value_by_value(given):
    expected = hog(FACES[:, 0])
    _, features = preprocessing()(FACES, expected if given else None)
    torch.testing.assert_close(features, (expected - expected.mean(0)) / (expected.std(0) + 1))


def test_features_that_are_given_are_used_and_not_computed_again():
    made = preprocessing()
    _, features = made(FACES, torch.zeros(5, 900))
    torch.testing.assert_close(features, (-made.hog_mean / made.hog_std).expand(5, -1))


@pytest.mark.parametrize(("channels", "size"), [(3, 48), (1, 64), (3, 20)])
def test_another_size_is_bilinear_and_channels_are_copies(channels, size):
    made = preprocessing(channels=channels, size=size)
    images, features = made(FACES)
    faces = FACES.float()
    resized = (
        F.interpolate(faces - faces.mean(0), size=(size, size), mode="bilinear", align_corners=False) / faces.std()
    )
    torch.testing.assert_close(images, resized.expand(-1, channels, -1, -1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features, preprocessing()(FACES)[1])  # HOG is taken at 48 pixels, whatever the size


def test_under_autocast_and_in_half_precision_nothing_is_rounded():
    made = preprocessing()
    with torch.autocast("cpu", torch.bfloat16):
        images, features = made(FACES)
    plain = made(FACES)
    assert torch.equal(images, plain[0])
    assert torch.equal(features, plain[1])


def test_without_statistics_nothing_is_changed():
    inputs = preprocessing().inputs
    images, features = Preprocessing(inputs, with_hog=True)(FACES)
    assert torch.equal(images, FACES.float())
    torch.testing.assert_close(features, hog(FACES[:, 0]))
