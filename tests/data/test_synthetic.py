import numpy as np
import pytest
from skimage.feature import hog
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fer_lightning.data import synthetic
from fer_lightning.data.faces import SPLITS, TEST, TRAIN, VAL, Faces
from fer_lightning.data.synthetic import ACTION_UNITS, SMALLEST, synthetic_faces
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

CLASSES = len(EXPRESSIONS)


@pytest.fixture(scope="module")
def faces() -> Faces:
    return synthetic_faces(2100, seed=5, label_noise=0)


def _descriptors(images: np.ndarray) -> np.ndarray:
    return np.array([hog(image, pixels_per_cell=(8, 8), cells_per_block=(2, 2)) for image in images])


def _val_accuracy(faces: Faces, features: np.ndarray) -> float:
    train, val = faces.rows(TRAIN), faces.rows(VAL)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features[train], faces.labels[train])
    return model.score(features[val], faces.labels[val])


def test_every_expression_of_the_set_has_its_action_units():
    assert tuple(ACTION_UNITS) == EXPRESSIONS
    assert all(0 < share <= 1 for used in ACTION_UNITS.values() for share in used.values())
    assert len({frozenset(used.items()) for used in ACTION_UNITS.values()}) == CLASSES


def test_same_arguments_give_the_same_bytes_and_another_seed_gives_other_people():
    first, again, other = synthetic_faces(140, seed=3), synthetic_faces(140, seed=3), synthetic_faces(140, seed=4)
    for name in ("images", "labels", "split", "copy_groups"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert not set(map(bytes, first.images)) & set(map(bytes, other.images))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_images_do_not_depend_on_how_many_are_drawn_at_once(chunk, monkeypatch):
    expected = synthetic_faces(140, seed=1)
    monkeypatch.setattr(synthetic, "CHUNK", chunk)
    np.testing.assert_array_equal(synthetic_faces(140, seed=1).images, expected.images)


def test_drawing_leaves_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    synthetic_faces(70)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_faces_are_grey_48x48_bytes_with_contrast_and_no_two_alike(faces):
    assert faces.images.shape == (2100, 48, 48)
    assert (faces.images.dtype, faces.labels.dtype, faces.split.dtype) == (np.uint8, np.uint8, np.uint8)
    assert len(set(faces.copy_groups.tolist())) == len(faces)
    contrast = faces.images.std(axis=(1, 2))
    assert contrast.min() > 8
    assert 30 < contrast.mean() < 80


def test_splits_are_stratified_80_10_10(faces):
    assert faces.counts(TRAIN, CLASSES) == [240] * CLASSES
    assert faces.counts(VAL, CLASSES) == faces.counts(TEST, CLASSES) == [30] * CLASSES


@pytest.mark.parametrize("n", [SMALLEST, 71, 99, 5 * SMALLEST + 3])
def test_every_split_of_the_smallest_sets_holds_every_expression(n):
    faces = synthetic_faces(n, label_noise=0)
    assert len(faces) == n
    for split in range(len(SPLITS)):
        counts = faces.counts(split, CLASSES)
        assert min(counts) >= 1
        assert max(counts) - min(counts) <= 2


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5])
def test_label_noise_is_the_share_of_wrong_training_labels_and_nothing_else(share):
    true, noisy = synthetic_faces(700, seed=2, label_noise=0), synthetic_faces(700, seed=2, label_noise=share)
    np.testing.assert_array_equal(noisy.images, true.images)
    np.testing.assert_array_equal(noisy.split, true.split)
    wrong = noisy.labels != true.labels
    assert wrong.sum() == round(share * 560)
    assert set(noisy.split[wrong]) == {TRAIN}
    assert noisy.labels.max() < CLASSES
    assert f"{wrong.sum()} of 560 training labels" in noisy.notes[0]


def test_hog_tells_the_expressions_apart_and_pixels_do_less_well(faces):
    by_hog = _val_accuracy(faces, _descriptors(faces.images))
    by_pixels = _val_accuracy(faces, faces.images.reshape(-1, 24, 2, 24, 2).mean(axis=(2, 4)).reshape(len(faces), -1))
    assert by_hog > 4 / CLASSES  # measured 0.65 to 0.69 over seeds 5 to 7; chance is 1 / 7
    assert 1.5 / CLASSES < by_pixels < by_hog


def test_expressions_are_easier_to_tell_the_lower_the_difficulty(faces):
    plain = synthetic_faces(700, seed=5, label_noise=0, difficulty=0)
    assert _val_accuracy(plain, _descriptors(plain.images)) > 0.97
    assert _val_accuracy(faces, _descriptors(faces.images)) < 0.95


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"n": 69}, "n=69.*70.*every expression"),
        ({"n": 700.5}, "n=700.5.*whole number"),
        ({"n": "many"}, "n='many'.*whole number"),
        ({"seed": -1}, "seed=-1"),
        ({"label_noise": 0.6}, r"label_noise=0.6.*0 to 0\.5"),
        ({"label_noise": float("nan")}, "label_noise=nan"),
        ({"difficulty": 2}, r"difficulty=2.*0 to 1\.5"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(bad, named):
    with pytest.raises(InputError, match=named):
        synthetic_faces(**bad)
