"""Copies, exact, mirrored and near, against counts done the plain way; the audit command and what it leaves."""

import contextlib
import csv
import io
import json
import sys

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from small_sets import csv_text, encoded, pictures

from fer_lightning.audit import main
from fer_lightning.data import near_copies
from fer_lightning.data.audit import audited
from fer_lightning.data.cached_faces import open_faces
from fer_lightning.data.copies import exact_groups, joined_groups, leaks, mirrored_pairs, stand_in
from fer_lightning.data.faces import SPLITS, TEST, TRAIN, VAL, Faces, copy_groups
from fer_lightning.data.near_copies import near_pairs


def audit(*overrides):
    """`python -m fer_lightning.audit OVERRIDES` in this process: exit status, stdout, stderr."""
    out, err, code, arguments = io.StringIO(), io.StringIO(), 0, sys.argv
    sys.argv = ["audit", *map(str, overrides)]
    GlobalHydra.instance().clear()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = arguments
    return code, out.getvalue(), err.getvalue()


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
    joined = joined_groups(groups, np.array([[0, 1], [1, 3]]))
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
    figures = audited(faces, threshold=1.0).figures()
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


def test_groups_of_the_cache_are_the_exact_ones_joined_by_mirrored_pairs():
    images = random_faces(0).images
    exact = exact_groups(images)
    different = images[np.unique(exact, return_index=True)[1]]
    joined = joined_groups(exact, mirrored_pairs(different))
    expected = copy_groups(images)
    assert np.array_equal(joined[:, None] == joined, expected[:, None] == expected)
    exact, either = stand_in(images[:10], images[10:])
    assert exact.tolist() == [any(np.array_equal(one, other) for other in images[10:]) for one in images[:10]]
    assert either.tolist() == [group in expected[10:] for group in expected[:10]]


def test_an_image_stands_in_others_as_it_is_or_mirrored():
    lopsided = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    turned, other = lopsided[:, :, ::-1], lopsided + 1
    exact, either = stand_in(np.concatenate([lopsided, other]), lopsided)
    assert (exact.tolist(), either.tolist()) == ([True, False], [True, False])
    exact, either = stand_in(np.concatenate([lopsided, other]), turned)
    assert (exact.tolist(), either.tolist()) == ([False, False], [True, False])


def test_a_near_copy_leaks_to_the_split_of_its_neighbour_but_not_along_a_chain():
    groups, split = np.array([0, 1, 2]), np.array([TRAIN, VAL, TEST])
    found = leaks(groups, split, np.array([[0, 1], [1, 2]]))
    assert found == {"val_in_train": 1, "test_in_train": 0, "test_in_val": 1}


@pytest.fixture
def spoilt(tmp_path):
    """A csv of 35 train, 14 val and 7 test faces with one finding of each kind."""
    made = sorted(pictures(seed=3, counts=(5, 2, 1)), key=lambda picture: (picture.split, picture.number))
    rng = np.random.default_rng(0)
    noisy = np.clip(made[3].pixels.astype(int) + rng.integers(-20, 20, (48, 48)), 0, 255).astype(np.uint8)

    def become(row, pixels):
        made[row] = made[row]._replace(jpeg=encoded(np.ascontiguousarray(pixels), "PNG"))

    become(40, made[1].pixels)  # val holds an exact copy of train, of another label
    made[40] = made[40]._replace(label=(made[1].label + 1) % 7)
    become(41, made[2].pixels[:, ::-1])  # and a mirrored one
    become(50, noisy)  # test holds a near copy of train
    become(5, np.full((48, 48), 90, np.uint8))
    path = tmp_path / "spoilt.csv"
    path.write_text(csv_text(made))
    return path


def test_the_audit_finds_each_fault_and_shows_it(tmp_path, spoilt):
    code, out, err = audit("data=fer2013", f"data.path={spoilt}", f"hydra.run.dir={tmp_path / 'out'}")
    assert code == 0, err
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (found["images"], found["unique"], found["redundant"]) == (56, 55, 1)
    assert (found["conflicting_groups"], found["flat"], found["mirrored"]["unique"]) == (1, 1, 54)
    assert found["leaks"] == {"val_in_train": 1, "test_in_train": 0, "test_in_val": 0}
    assert found["mirrored"]["leaks"] == {"val_in_train": 2, "test_in_train": 0, "test_in_val": 0}
    assert found["near"]["leaks"] == {"val_in_train": 2, "test_in_train": 1, "test_in_val": 0}
    assert (found["near"]["pairs"], found["near"]["unique"]) == (1, 53)
    assert found["class_counts"]["val"] == open_counts(spoilt)
    assert not found["has_official_counts"]
    assert "not the official counts" in out
    assert found["command"].startswith("python -m fer_lightning.audit data=fer2013")
    assert found["data_fingerprint"] == open_faces(spoilt, check_counts=False).fingerprint
    rows = list(csv.DictReader((tmp_path / "out" / "copies.csv").read_text().splitlines()))
    assert sorted(int(row["row"]) for row in rows) == sorted([1, 40, 2, 41, 3, 50])
    together = {int(row["row"]): (row["exact"], row["mirrored"], row["near"]) for row in rows}
    assert together[1] == together[40]
    assert together[2] == together[41]
    assert together[2][0] == "" != together[2][1]
    assert together[3] == together[50]
    assert together[3][1] == "" != together[3][2]
    sheets = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert sheets == {f"{kind}-1.png" for kind in ("conflicts", "leaks", "exact", "mirrored", "near", "flat")}
    for sheet in sheets:
        with Image.open(tmp_path / "out" / sheet) as picture:
            assert picture.width == 1300


def open_counts(path):
    """Class counts of val by a plain reading of the csv."""
    with path.open() as file:
        labels = [int(row["emotion"]) for row in csv.DictReader(file) if row["Usage"] == "PublicTest"]
    names = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    return {name: labels.count(label) for label, name in enumerate(names)}


def test_fewer_sheets_by_option_and_none_of_an_earlier_audit_stay(tmp_path, spoilt):
    arguments = ["data=fer2013", f"data.path={spoilt}", f"hydra.run.dir={tmp_path / 'out'}"]
    assert audit(*arguments)[0] == 0
    assert audit(*arguments, "pages=0", "threshold=1")[0] == 0
    assert not list((tmp_path / "out").glob("*.png"))
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["near"]["pairs"] == 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=synthetic", "threshold=1.5"], "threshold=1.5: expected a number above 0, at most 1"),
        (["data=synthetic", "pages=-1"], "pages=-1: expected a whole number of 0 or more, or null"),
        (["data=fer2013", "data.path=nowhere.zip"], "nowhere.zip"),
        ([], "data.path is not set"),
        (["data=ferplus", "data.votes=votes.csv"], "data=ferplus: an audit is of FER2013's own labels"),
        (["data=synthetic", "data.unique=true"], "data.unique: without effect here"),
    ],
)
def test_a_mistake_gets_one_clear_message(overrides, said):
    code, out, err = audit(*overrides)
    assert code == 2
    assert said in err
    assert "Traceback" not in err + out


def test_the_real_set_holds_the_copies_that_a_direct_count_finds(fer2013):
    faces = open_faces(fer2013)
    pixels = np.array(faces.images).reshape(len(faces), -1)
    keys = pixels.view(f"V{pixels.shape[1]}")[:, 0]
    direct = len(np.unique(keys))
    assert len(np.unique(exact_groups(faces.images))) == direct
    assert direct == {35_887: 34_034, 32_298: 30_766}[len(faces)]
    train, val = (faces.images[faces.rows(split)] for split in (TRAIN, VAL))
    assert stand_in(val, train)[0].sum() == 280
