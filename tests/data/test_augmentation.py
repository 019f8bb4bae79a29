"""Whole-batch augmentation against one image at a time, and the batches made with it."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.feature import hog as reference_hog

from fer_lightning.cli import settings_of
from fer_lightning.data.augmentation import draw_flips, erase, flip, mixup, warp
from fer_lightning.data.loader import Batches, FaceTensors
from fer_lightning.errors import InputError
from fer_lightning.hog import hog
from fer_lightning.seeding import AUGMENTATION, generator
from fer_lightning.settings import AugmentSettings, TrainSettings


def augment(**values: float) -> AugmentSettings:
    """Settings of these operations, the others left out."""
    return AugmentSettings(**(dict.fromkeys(AugmentSettings.model_fields, 0.0) | values))


def random(seed: int = 0) -> torch.Generator:
    return generator(seed, 0, AUGMENTATION)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """(32, 1, 48, 48) smooth grey pictures."""
    noise = np.random.default_rng(0).random((32, 48, 48)) * 255
    return torch.from_numpy(ndimage.gaussian_filter(noise, (0, 3, 3)).astype(np.float32))[:, None]


def test_flipping_a_batch_mirrors_the_chosen_images_and_no_other(images):
    flipped = draw_flips(32, 0.5, random())
    assert 5 < flipped.sum() < 27
    for before, after, mirrored in zip(images, flip(images, flipped), flipped, strict=True):
        np.testing.assert_array_equal(after[0], np.fliplr(before[0]) if mirrored else before[0])


def test_half_of_many_faces_are_flipped():
    assert draw_flips(100_000, 0.5, random()).float().mean().item() == pytest.approx(0.5, abs=0.01)
    assert not draw_flips(1000, 0.0, random()).any()
    assert draw_flips(1000, 1.0, random()).all()


def test_a_shift_moves_each_image_as_scipy_shifts_it(images):
    settings = augment(shift=5)
    _, _, down, right = 2 * torch.rand(4, 32, generator=random()) - 1
    shifted = warp(images, settings, random())
    for before, after, dy, dx in zip(images, shifted, down * 5, right * 5, strict=True):
        expected = ndimage.shift(before[0].numpy(), (-dy, -dx), order=1, mode="grid-mirror")
        np.testing.assert_allclose(after[0], expected, atol=0.05)


def test_a_rotation_turns_each_image_as_scipy_turns_it(images):
    angle, *_ = 2 * torch.rand(4, 32, generator=random()) - 1
    turned = warp(images, augment(rotate=30), random())
    for before, after, degrees in zip(images, turned, angle * 30, strict=True):
        expected = ndimage.rotate(before[0].numpy(), degrees.item(), reshape=False, order=1, mode="grid-mirror")
        middle = slice(10, 38)  # the border reflects differently where both axes leave the picture
        np.testing.assert_allclose(after[0, middle, middle], expected[middle, middle], atol=0.5)


def test_a_scale_enlarges_each_image_as_scipy_zooms_it(images):
    _, size, *_ = 2 * torch.rand(4, 32, generator=random()) - 1
    scaled = warp(images, augment(scale=0.2), random())
    for before, after, change in zip(images, scaled, size * 0.2, strict=True):
        zoom = 1 / (1 + change.item())
        matrix, offset = np.diag([zoom, zoom]), 23.5 * (1 - zoom)
        expected = ndimage.affine_transform(before[0].numpy(), matrix, offset, order=1, mode="grid-mirror")
        np.testing.assert_allclose(after[0], expected, atol=0.5)


def test_erasing_covers_two_to_twenty_percent_of_a_picture_by_its_mean(images):
    erased = erase(images, 1.0, random())
    for before, after in zip(images, erased, strict=True):
        covered = (after == before.mean()) & (before != before.mean())
        rows, columns = torch.where(covered[0])
        assert 0 < covered.float().mean() <= 0.21
        assert covered.sum() == (np.ptp(rows.numpy()) + 1) * (np.ptp(columns.numpy()) + 1)  # a whole rectangle
        assert torch.equal(after[~covered], before[~covered])
    untouched = (erase(images.repeat(50, 1, 1, 1), 0.3, random()) == images.repeat(50, 1, 1, 1)).all(dim=(1, 2, 3))
    assert untouched.float().mean().item() == pytest.approx(0.7, abs=0.05)


def test_mixup_mixes_pictures_and_targets_by_the_same_share(images):
    targets = torch.nn.functional.one_hot(torch.arange(32) % 7, 7).float()
    brightness = targets @ torch.arange(7.0)
    flat = brightness[:, None, None, None].expand(-1, 1, 48, 48)
    mixed, shares = mixup(flat, targets, 0.4, random())
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(32))
    torch.testing.assert_close(mixed[:, 0, 0, 0], shares @ torch.arange(7.0))
    assert not torch.equal(shares, targets)


def test_mixups_share_is_beta_distributed():
    targets = torch.eye(7)[:2]
    random_numbers = random()
    shares = [mixup(torch.zeros(2, 1, 1, 1), targets, 2.0, random_numbers)[1].max().item() for _ in range(4000)]
    folded = np.maximum(*np.random.default_rng(0).beta(2, 2, (1, 200_000)).repeat(2, 0) * [[1], [-1]] + [[0], [1]])
    moved = [share for share in shares if share < 1]  # half of the pairs are an image with itself
    assert np.mean(moved) == pytest.approx(folded.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.augment.flip=1.5", r"data.augment.flip=1.5: expected a number from 0 to 1"),
        ("data.augment.rotate=much", r"data.augment.rotate='much': expected a number from 0 to 180"),
        ("data.augment.shift=-1", r"data.augment.shift=-1: expected a number from 0 to 24"),
        ("+data.augment.flipp=1", r"data.augment.flipp: no such setting. Did you mean flip\?"),
    ],
)
def test_an_augmentation_out_of_range_is_named_with_what_is_valid(override, said, compose):
    with pytest.raises(InputError, match=said):
        settings_of(compose(override), TrainSettings)


@pytest.fixture(scope="module")
def faces() -> FaceTensors:
    noise = np.random.default_rng(1).random((70, 48, 48)) * 255
    pictures = torch.from_numpy(ndimage.gaussian_filter(noise, (0, 2, 2)).astype(np.uint8))
    features = torch.stack([hog(pictures), hog(pictures.flip(-1))])
    return FaceTensors(pictures[:, None], torch.arange(70) % 7, features)


def test_a_flipped_face_gets_the_hog_of_the_flipped_face(faces):
    seen = set()
    for batch in Batches(faces, torch.arange(70), 16, augment=augment(flip=0.5)):
        for image, label, features in zip(batch.images, batch.targets, batch.hog, strict=True):
            expected = reference_hog(image[0].numpy(), 9, (8, 8), (2, 2))
            np.testing.assert_allclose(features, expected, atol=1e-6)
            plain = (faces.images[faces.labels == label, 0] == image[0]).all(dim=(1, 2)).any()
            seen.add(bool(plain))
    assert seen == {True, False}


@pytest.mark.parametrize("operation", ["shift", "rotate", "scale", "erase", "mixup"])
def test_a_face_that_is_changed_but_by_a_flip_comes_without_hog(operation, faces):
    """The network then computes the HOG of the changed face (tests/networks/test_preprocessing.py)."""
    batch = next(iter(Batches(faces, torch.arange(70), 32, augment=augment(flip=0.5, **{operation: 0.5}))))
    assert batch.hog is None


def test_an_epoch_shows_each_training_face_at_most_once_and_evaluation_each_exactly_once_in_order(faces):
    rows = torch.arange(3, 68)
    batches = list(Batches(faces, rows, 16, augment=augment()))
    assert [len(batch.images) for batch in batches] == [16, 16, 16, 16]
    shown = torch.cat([batch.images for batch in batches]).flatten(1)
    assert len(shown.unique(dim=0)) == 64
    evaluated = torch.cat([batch.images for batch in Batches(faces, rows, 16)])
    assert torch.equal(evaluated, faces.images[rows].float())


@pytest.mark.parametrize("operations", [{}, {"flip": 0.5, "shift": 2.0}], ids=["order alone", "augmentation too"])
def test_order_and_augmentation_depend_on_seed_and_epoch_and_on_nothing_else(operations, faces):
    def epoch(seed: int, number: int) -> torch.Tensor:
        torch.manual_seed(len(drawn))  # the global generator has no part in it
        batches = Batches(faces, torch.arange(70), 16, seed, augment(**operations))
        batches.set_epoch(number)
        drawn.append(torch.cat([batch.images for batch in batches]))
        return drawn[-1]

    drawn: list[torch.Tensor] = []
    assert torch.equal(epoch(0, 3), epoch(0, 3))
    assert not torch.equal(epoch(0, 3), epoch(0, 4))
    assert not torch.equal(epoch(0, 3), epoch(1, 3))


def test_processes_of_one_run_share_the_faces_without_overlap(faces):
    parts = [
        torch.cat([b.images for b in Batches(faces, torch.arange(64), 8, 5, augment(), rank=rank, world=4)])
        for rank in range(4)
    ]
    assert len(torch.cat(parts).flatten(1).unique(dim=0)) == 64
