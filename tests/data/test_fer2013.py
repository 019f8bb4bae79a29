"""FER2013: official class counts, where the set is obtained."""

import sys
import types

import numpy as np
import pytest

from fer_lightning.data.faces import Faces
from fer_lightning.data.fer2013 import (
    COMPETITION,
    DATASET,
    OFFICIAL_COUNTS,
    fer2013_path,
    has_official_counts,
    require_official_counts,
)
from fer_lightning.errors import InputError


def faces_with(train, val=None, test=None) -> Faces:
    parts = [(split, counts) for split, counts in enumerate((train, val, test)) if counts is not None]
    labels = np.concatenate([np.repeat(np.arange(7, dtype=np.uint8), counts) for _, counts in parts])
    split = np.concatenate([np.full(sum(counts), split, np.uint8) for split, counts in parts])
    return Faces(np.zeros((len(labels), 48, 48), np.uint8), labels, split, np.arange(len(labels), dtype=np.int32))


TRAINING, PUBLIC, PRIVATE = (np.array(OFFICIAL_COUNTS[split]) for split in ("train", "val", "test"))
DRAWN = TRAINING // 8


def test_the_official_counts_are_those_of_the_paper():
    assert [int(counts.sum()) for counts in (TRAINING, PUBLIC, PRIVATE)] == [28709, 3589, 3589]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        (TRAINING, PUBLIC, PRIVATE),
        (TRAINING, PUBLIC, None),
        (TRAINING - DRAWN, DRAWN, None),
        (TRAINING - DRAWN, DRAWN, PUBLIC + PRIVATE),
        (TRAINING - DRAWN, PUBLIC + PRIVATE + DRAWN, None),
        (None, None, PUBLIC + PRIVATE),
    ],
    ids=["all", "without PrivateTest", "train.csv", "folders train and test", "all in one", "a test file alone"],
)
def test_every_usual_division_of_fer2013_has_the_official_counts(train, val, test):
    assert has_official_counts(faces_with(train, val, test))


def test_other_counts_than_the_official_ones_are_an_error_that_shows_both():
    other = PUBLIC.copy()
    other[3] += 1
    with pytest.raises(
        InputError, match=r"(?s)data.check_counts=false goes on.*happy.*val +found.* 896 .*official.* 895 "
    ):
        require_official_counts(faces_with(TRAINING, other), "fer2013.zip")


def test_without_a_path_it_is_said_where_the_set_is_obtained():
    with pytest.raises(InputError) as told:
        fer2013_path(None)
    for said in (DATASET, COMPETITION, "data.download=true", "data.path="):
        assert said in str(told.value)


def test_download_asks_kagglehub_only_when_told_to(monkeypatch, tmp_path):
    asked = []
    fake = types.ModuleType("kagglehub")
    fake.dataset_download = lambda name: asked.append(name) or str(tmp_path)
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    assert fer2013_path("here.csv") == "here.csv"
    assert not asked
    assert fer2013_path(None, download=True) == str(tmp_path)
    assert asked == [DATASET]
    with pytest.raises(InputError, match="exclude one another"):
        fer2013_path("here.csv", download=True)


def test_a_failed_download_is_told_with_its_reason(monkeypatch):
    fake = types.ModuleType("kagglehub")
    fake.dataset_download = lambda name: (_ for _ in ()).throw(ConnectionError("no route to host"))
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    with pytest.raises(InputError, match="no route to host"):
        fer2013_path(None, download=True)
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(InputError, match="pip install"):
        fer2013_path(None, download=True)
