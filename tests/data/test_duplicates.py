"""Copies, exact, mirrored and near, against counts done the plain way."""

import numpy as np
import pytest

from fer_lightning.data import near_copies
from fer_lightning.data.duplicates import count_leaks, find_duplicates, join_groups
from fer_lightning.data.faces import SPLITS, TEST, TRAIN, VAL, Faces, copy_groups, have_copies
from fer_lightning.data.near_copies import near_pairs
from fer_lightning.data.sources import open_fer2013


def similar_images(seed):
    """Smooth faces, noise and flat images; some are noisy, mirrored or darker versions of others, at every distance."""
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(20, 6, 6)).repeat(8, axis=1).repeat(8, axis=2)
    rough = rng.normal(size=(10, 48, 48))
    images = [*smooth, *rough]
    for number in range(30):
        other = images[rng.integers(len(images))]
        other = other[:, ::-1] if number % 2 else other
        images.append(rng.uniform(0.5, 2) * other + rng.uniform(0, 0.8) * rng.normal(size=(48, 48)))
    images = np.stack([(image - image.min()) / np.ptp(image) * 255 for image in images]).astype(np.uint8)
    return np.concatenate([images, np.full((2, 48, 48), 7, np.uint8), images[:2], images[2:4, :, ::-1]])


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_near_pairs_are_those_whose_correlation_numpy_finds_and_none_is_missed(seed, threshold, monkeypatch):
    monkeypatch.setattr(near_copies, "TILE", 17)  # several blocks, the last one short
    images = similar_images(seed)
    varied = np.flatnonzero(images.reshape(len(images), -1).std(axis=1) > 0)
    pixels, turned = (one[varied].reshape(len(varied), -1) for one in (images, images[:, :, ::-1]))
    plain = np.corrcoef(pixels)
    mirrored = np.corrcoef(pixels, turned)[: len(varied), len(varied) :]
    largest = np.maximum(plain, mirrored)
    expected = [
        (varied[first], varied[second])
        for first, second in zip(*np.triu_indices(len(varied), 1), strict=True)
        if largest[first, second] >= threshold - 1e-12
    ]
    found = near_pairs(images, threshold - 1e-12)
    assert found.pairs.tolist() == [list(pair) for pair in expected]
    position = {row: number for number, row in enumerate(varied.tolist())}
    for (first, second), correlation, is_mirrored in zip(*found, strict=True):
        at = position[first], position[second]
        assert correlation == pytest.approx(largest[at], abs=1e-9)
        assert is_mirrored == (mirrored[at] > plain[at]) or mirrored[at] == pytest.approx(plain[at])
    assert expected


def test_pictures_of_another_shape_have_near_copies_too():
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 11), dtype=np.uint8)
    copied = np.concatenate([images, images[:1, :, ::-1]])
    assert near_pairs(copied, 0.999).pairs.tolist() == [[0, 5]]
    assert len(near_pairs(images[:0], 0.9).pairs) == 0


def test_pairs_join_groups_in_chains_and_leave_the_others_alone():
    groups = np.array([0, 1, 2, 3, 4, 0])
    joined = join_groups(groups, np.array([[0, 1], [1, 3]]))
    assert joined[0] == joined[1] == joined[3] == joined[5]
    assert len({joined[0], joined[2], joined[4]}) == 3


def random_faces(seed):
    """Faces of few pixels, so that exact and mirrored copies abound."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 2, (80, 1, 4), dtype=np.uint8)
    groups = copy_groups(images)
    return Faces(images, rng.integers(0, 7, 80).astype(np.uint8), rng.integers(0, 3, 80).astype(np.uint8), groups)


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_copies_are_those_of_a_plain_count(seed):
    faces = random_faces(seed)
    figures = find_duplicates(faces, threshold=1.0).figures()
    keys = {
        "exact": [image.tobytes() for image in faces.images],
        "mirrored": [min(image.tobytes(), image[:, ::-1].tobytes()) for image in faces.images],
    }
    for kind, own in keys.items():
        counts = figures if kind == "exact" else figures[kind]
        labels, splits = {}, {}
        for key, label, split in zip(own, faces.labels, faces.split, strict=True):
            labels.setdefault(key, set()).add(label)
            splits.setdefault(key, set()).add(split)
        assert (counts["unique"], counts["redundant"]) == (len(labels), 80 - len(labels))
        assert counts["conflicting_groups"] == sum(len(found) > 1 for found in labels.values())
        for first, second in ((VAL, TRAIN), (TEST, TRAIN), (TEST, VAL)):
            expected = sum(second in splits[key] for key, split in zip(own, faces.split, strict=True) if split == first)
            assert counts["leaks"][f"{SPLITS[first]}_in_{SPLITS[second]}"] == expected
        for index, name in enumerate(SPLITS):
            held = [key for key, split in zip(own, faces.split, strict=True) if split == index]
            assert counts["redundant_within"][name] == len(held) - len(set(held))
    assert figures["flat"] == sum(len(set(image.ravel())) == 1 for image in faces.images)


def test_mirrored_groups_are_the_exact_ones_joined_by_the_pairs_that_mirror_each_other():
    faces = random_faces(0)
    duplicates = find_duplicates(faces, threshold=1.0)
    joined = join_groups(duplicates.exact, duplicates.mirrored)
    assert np.array_equal(joined, faces.copy_groups)
    exact, either = have_copies(faces.images[:10], faces.images[10:])
    assert exact.tolist() == [
        any(np.array_equal(one, other) for other in faces.images[10:]) for one in faces.images[:10]
    ]
    assert either.tolist() == [group in faces.copy_groups[10:] for group in faces.copy_groups[:10]]


def test_an_image_stands_in_others_as_it_is_or_mirrored():
    lopsided = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    turned, other = lopsided[:, :, ::-1], lopsided + 1
    exact, either = have_copies(np.concatenate([lopsided, other]), lopsided)
    assert (exact.tolist(), either.tolist()) == ([True, False], [True, False])
    exact, either = have_copies(np.concatenate([lopsided, other]), turned)
    assert (exact.tolist(), either.tolist()) == ([False, False], [True, False])


def test_a_near_copy_leaks_to_the_split_of_its_neighbour_but_not_along_a_chain():
    groups, split = np.array([0, 1, 2]), np.array([TRAIN, VAL, TEST])
    found = count_leaks(groups, split, np.array([[0, 1], [1, 2]]))
    assert found == {"val_in_train": 1, "test_in_train": 0, "test_in_val": 1}


def test_the_real_set_holds_the_copies_that_a_direct_count_finds(fer2013):
    faces = open_fer2013(fer2013)
    pixels = np.array(faces.images).reshape(len(faces), -1)
    keys = pixels.view(f"V{pixels.shape[1]}")[:, 0]
    direct = len(np.unique(keys))
    assert len(np.unique(copy_groups(faces.images, mirrored=False))) == direct
    assert direct == {35_887: 34_034, 32_298: 30_766}[len(faces)]
    train, val = (faces.images[faces.rows(split)] for split in (TRAIN, VAL))
    assert have_copies(val, train)[0].sum() == 280
