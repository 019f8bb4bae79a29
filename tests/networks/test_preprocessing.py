"""What a network makes of a face: statistics, size, channels, HOG."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from skimage.feature import hog as reference_hog
from torch.nn import functional as F

from fer_lightning.hog import hog
from fer_lightning.networks.preprocessing import Form, Normalization, Preprocessing
from fer_lightning.pixels import fit, grey
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


COLOURED = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
NO_HOG = (torch.zeros(0), torch.ones(0))


def test_colour_is_normalised_channel_by_channel():
    made = Preprocessing(preprocessing().inputs.model_copy(update={"channels": 3, "size": 64}), with_hog=False)
    faces = COLOURED.float()
    made.set_statistics(faces.mean(0), faces.std(dim=(0, 2, 3)), *NO_HOG)
    expected = (faces - faces.mean(0)) / faces.std(dim=(0, 2, 3))[None, :, None, None]
    torch.testing.assert_close(made(COLOURED)[0], expected)
    assert made.form == Form(channels=3, side=64)


def test_hog_of_colour_is_that_of_the_picture_made_grey_and_small_by_pillow():
    made = Preprocessing(preprocessing().inputs.model_copy(update={"channels": 3, "size": 64}), with_hog=True)
    found = made(COLOURED)[1]
    for picture, values in zip(COLOURED, found, strict=True):
        small = ImageOps.fit(Image.fromarray(picture.permute(1, 2, 0).numpy()).convert("L"), (48, 48))
        expected = reference_hog(np.asarray(small), 9, (8, 8), (2, 2), block_norm="L2-Hys")
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_grey_in_three_channels_is_grey():
    made, repeated = preprocessing(channels=3), FACES.expand(-1, 3, -1, -1)
    for one, other in zip(made(FACES), made(repeated), strict=True):
        torch.testing.assert_close(one, other)


def test_a_network_of_one_channel_sees_colour_as_pillow_makes_it_grey():
    made = preprocessing(with_hog=False)
    assert torch.equal(made(COLOURED)[0], made(grey(COLOURED))[0])


def test_faces_are_brought_to_what_a_network_was_trained_on():
    made = preprocessing(channels=3)
    assert made.form == Form(channels=1, side=48)
    assert torch.equal(made.as_trained(COLOURED), fit(grey(COLOURED), 48))
    assert torch.equal(made.as_trained(FACES), FACES)


def test_a_fixed_normalisation_takes_the_place_of_the_statistics():
    fixed = Normalization(mean=(120.0, 110.0, 100.0), std=(60.0, 50.0, 40.0))
    inputs = preprocessing().inputs.model_copy(update={"channels": 3, "size": 64})
    made = Preprocessing(inputs, with_hog=False, fixed=fixed)
    made.set_statistics(torch.full((3, 80, 80), 9.0), torch.full((3,), 7.0), *NO_HOG)
    expected = (COLOURED - torch.tensor(fixed.mean)[:, None, None]) / torch.tensor(fixed.std)[:, None, None]
    torch.testing.assert_close(made(COLOURED)[0], expected)
    assert made.form == Form(channels=3, side=80)
