"""The audit command and the files that it writes."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from small_sets import csv_text, encoded, pictures

from fer_lightning.data.sources import open_fer2013


@pytest.fixture
def audit(run_command):
    return lambda *overrides: run_command("audit", *overrides)


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


def test_the_audit_finds_each_fault_and_shows_it(audit, tmp_path, spoilt):
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
    assert found["data_fingerprint"] == open_fer2013(spoilt, check_counts=False).fingerprint
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


def test_fewer_sheets_by_option_and_none_of_an_earlier_audit_stay(audit, tmp_path, spoilt):
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
        (["data=ferplus"], "data=ferplus: an audit is of FER2013's own labels"),
        (["data=synthetic", "data.unique=true"], "data.unique: without effect in this command"),
    ],
)
def test_a_mistake_gets_one_clear_message(audit, overrides, said):
    code, out, err = audit(*overrides)
    assert code == 2
    assert said in err
    assert "Traceback" not in err + out
