"""What is said of copies: near ones that `data.unique` keeps, and splits of which much is no further sample."""

import io

import numpy as np
import pytest
from PIL import Image
from small_sets import csv_text, encoded, in_csv_order, pictures

from fer_lightning.cli import settings_of
from fer_lightning.data import sources
from fer_lightning.data.copy_notes import repeated_notes
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import TRAIN, VAL
from fer_lightning.data.near_copies import are_repeated, have_near_copies, near_pairs
from fer_lightning.data.sources import cached_near_pairs, open_fer2013
from fer_lightning.settings import TrainSettings


def changed(picture, of, how=lambda pixels: pixels * 0.7 + 30):
    """A picture with the changed pixels of another one."""
    return picture._replace(jpeg=encoded(np.ascontiguousarray(how(of.pixels)).astype(np.uint8), "PNG"))


@pytest.fixture
def made():
    return in_csv_order(pictures(counts=(4, 2, 1)))


@pytest.fixture
def module(compose, tmp_path):
    def opened(made, *overrides):
        (tmp_path / "set.csv").write_text(csv_text(made))
        words = ("data=fer2013", f"data.path={tmp_path / 'set.csv'}", "data.check_counts=false", *overrides)
        datamodule = FaceDataModule(settings_of(compose(*words), TrainSettings).data)
        datamodule.setup()
        return datamodule

    return opened


@pytest.mark.parametrize("seed", range(5))
def test_copies_in_another_set_and_in_the_same_one_are_those_that_a_plain_search_finds(seed):
    rng = np.random.default_rng(seed)
    groups, others = rng.integers(0, 40, 25), rng.integers(0, 40, 9)
    pairs = np.array([pair for pair in rng.integers(0, 40, (12, 2)) if pair[0] < pair[1]]).reshape(-1, 2)

    def alike(first, second):
        return first == second or [first, second] in pairs.tolist() or [second, first] in pairs.tolist()

    expected = [any(alike(group, other) for other in others) for group in groups]
    assert have_near_copies(groups, others, pairs).tolist() == expected
    own = [
        any(alike(group, other) for place, other in enumerate(groups) if place != row)
        for row, group in enumerate(groups)
    ]
    assert are_repeated(groups, pairs).tolist() == own


def test_near_copies_that_remain_are_counted_and_the_rows_are_those_without_exact_copies(module, made):
    made[28] = changed(made[28], made[0])  # val has a darker copy of the first training image
    made[42] = changed(made[42], made[1], lambda pixels: pixels[:, ::-1] * 0.7)  # test a mirrored and darker one
    made[43] = changed(made[43], made[2], np.fliplr)
    made[4] = changed(made[4], made[5])
    unique = module(made, "data.unique=true")
    assert unique.rows[TRAIN].tolist() == [row for row in range(28) if row != 2]
    (note,) = [note for note in unique.notes if "near copies" in note]
    assert note.startswith(
        "data.unique: of the 27 that are kept, 2 are near copies of val or test images, and 2 of one"
    )
    assert "python -m fer_lightning.audit" in note
    assert not any("near copies" in note for note in module(made).notes)


def test_the_search_for_near_copies_is_done_once_for_the_same_faces(module, made, monkeypatch):
    searches = []
    monkeypatch.setattr(sources, "near_pairs", lambda *given: searches.append(1) or near_pairs(*given))
    made[28] = changed(made[28], made[0])
    for _ in range(2):
        module(made, "data.unique=true")
    assert len(searches) == 1
    made[29] = changed(made[29], made[1])
    assert any(
        ", 2 are near copies" in note or "kept, 2 are" in note for note in module(made, "data.unique=true").notes
    )
    assert len(searches) == 2


def test_near_copies_are_found_with_a_cache_that_cannot_be_written(made, tmp_path, monkeypatch):
    made[28] = changed(made[28], made[0])
    (tmp_path / "set.csv").write_text(csv_text(made))
    faces = open_fer2013(tmp_path / "set.csv", tmp_path / "cache", check_counts=False)
    expected = [faces.copy_groups[[0, 28]].tolist()]

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("fer_lightning.data.cache.atomic_file", refuse)
    assert cached_near_pairs(faces).tolist() == expected


def test_a_split_of_which_much_is_repeated_or_in_train_is_named_with_its_counts(module, made):
    for place in (29, 30):
        made[place] = changed(made[place], made[28], lambda pixels: pixels)
    for place in (42, 43, 44):
        made[place] = changed(made[place], made[place - 42], np.fliplr)
    notes = [note for note in module(made).notes if "audit" in note]
    assert [note.partition(" (")[0] for note in notes] == [
        "Of 14 images of val, 3 stand in it more than once",
        "Of 7 images of test, 3 stand in train too",
    ]
    unique = module(made, "data.unique=true")  # these are left out of train
    assert [note.partition(" (")[0] for note in unique.notes if "audit" in note] == [notes[0].partition(" (")[0]]
    assert not [note for note in module(made[:28] + pictures(seed=5)[28:]).notes if "audit" in note]


def test_the_real_set_has_near_copies_as_the_audit_counts_them_and_no_split_that_is_mostly_copies(fer2013):
    faces = open_fer2013(fer2013, check_counts=False)
    pairs, groups = cached_near_pairs(faces), faces.copy_groups
    train, val = groups[faces.split == TRAIN], groups[faces.split == VAL]
    assert have_near_copies(val, train, pairs).sum() == 374
    assert repeated_notes(faces, faces.rows(TRAIN), pairs) == []


CHANGES = {
    "mirrored": lambda pixels: pixels[:, ::-1],
    "darker": lambda pixels: pixels * 0.8 + 20,
    "contrast": lambda pixels: ((pixels.astype(float) - 128) * 1.6 + 128).clip(0, 255),
    "gamma": lambda pixels: 255 * (pixels / 255) ** 0.5,
    "noise": lambda pixels: (pixels + np.random.default_rng(0).normal(0, 8, pixels.shape)).clip(0, 255),
    "compressed": lambda pixels: np.asarray(Image.open(io.BytesIO(encoded(pixels, quality=30)))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_small_changes_of_real_faces_are_near_copies(change, fer2013):
    faces = open_fer2013(fer2013, check_counts=False)
    own = faces.images[faces.rows(VAL)[:40]]
    images = np.concatenate([own, [np.asarray(CHANGES[change](image)).astype(np.uint8) for image in own]])
    found = set(map(tuple, near_pairs(images).pairs.tolist()))
    missed = [row for row in range(40) if (row, 40 + row) not in found]
    assert len(missed) <= 1
