"""Forms in which people have FER2013 and FER+, several peculiarities at a time; and what is refused in one line."""

import gzip
import zipfile

import numpy as np
import pytest
from ferplus_sets import ferplus_overrides, write_ferplus
from small_sets import csv_text, files_of, pictures, tar_bytes, write_folder, zip_bytes

from fer_lightning.cli import settings_of
from fer_lightning.data.faces import TEST, TRAIN, VAL
from fer_lightning.data.reader import read_faces
from fer_lightning.data.sources import open_faces
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.settings import TrainSettings

SET = pictures(seed=4, counts=(4, 2, 1))
FILES = files_of(SET)
CSV = csv_text(SET)
ROWS = [line.split(",") for line in CSV.splitlines()]
PARTS = {
    f"{name}.csv": csv_text([picture for picture in SET if picture.split == split], "emotion,pixels").encode()
    for name, split in (("train", TRAIN), ("val", VAL), ("test", TEST))
}


def joined(rows, separator=",", end="\n", quote=""):
    return end.join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in rows) + end


INDEXED = [["", *ROWS[0]]] + [[str(number), *row] for number, row in enumerate(ROWS[1:])]
NAMED = [ROWS[0]] + [[f" {EXPRESSIONS[int(row[0])].upper()} ", *row[1:]] for row in ROWS[1:]]
DIALECTS = {
    "byte order mark, carriage returns, quotes": b"\xef\xbb\xbf" + joined(INDEXED, end="\r\n", quote="\"").encode(),
    "byte order mark, semicolons": b"\xef\xbb\xbf" + joined(ROWS, ";").encode(),
    "semicolons, decimal commas": joined([ROWS[0]] + [[f"{row[0]},0", *row[1:]] for row in ROWS[1:]], ";").encode(),
    "tabs, quotes": joined(ROWS, "\t", quote='"').encode(),
    "bars, capitals in the header": joined([[cell.upper() for cell in ROWS[0]], *ROWS[1:]], "|").encode(),
    "names of expressions in capitals": joined(NAMED).encode(),
    "usage in words": CSV.replace("PublicTest", "public test").replace("Training", "train").encode(),
    "reordered, an empty last column": joined([[*row[::-1], ""] for row in ROWS]).encode(),
    "trailing blank lines": f"{CSV}\r\n \n\n".encode(),
    "pixels as a list": joined([ROWS[0]] + [[a, f'"[{b.replace(" ", ", ")}]"', c] for a, b, c in ROWS[1:]]).encode(),
    "pixels by tabs": joined([ROWS[0]] + [[a, f" {b} ".replace(" ", "\t "), c] for a, b, c in ROWS[1:]]).encode(),
    "label, pixels, split": CSV.replace("emotion,pixels,Usage", "Label, Pixels, Split", 1).encode(),
    "gzip under the name of a csv": gzip.compress(CSV.encode()),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_gives_the_faces_of_the_plain_csv(dialect, tmp_path):
    (tmp_path / "set.csv").write_bytes(DIALECTS[dialect])
    (tmp_path / "plain.csv").write_text(CSV)
    found, plain = read_faces(tmp_path / "set.csv"), read_faces(tmp_path / "plain.csv")
    for name in ("images", "labels", "split"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


def windows(files):
    return zip_bytes({f"fer2013\\{name}".replace("/", "\\"): data for name, data in files.items()})


TREES = {
    "capitals": {f"{name.rpartition('/')[0]}/{name.rpartition('/')[2].upper()}": data for name, data in FILES.items()},
    "a zip for each split": {
        f"{part}.zip": zip_bytes(
            {name.partition("/")[2]: data for name, data in FILES.items() if name.startswith(part)}
        )
        for part in ("train", "test")
    },
    "a zip of Windows in a tar.gz": {"set.tar.gz": tar_bytes({"set.zip": windows(FILES)}, "gz")},
    "a tar of csvs by split": {"set.tgz": tar_bytes({f"fer/{name}": data for name, data in PARTS.items()}, "gz")},
    "csvs beside their zipped twins": PARTS | {f"{name}.zip": zip_bytes({name: data}) for name, data in PARTS.items()},
    "csvs zipped one by one": {f"{name}.zip": zip_bytes({name: data}) for name, data in PARTS.items()},
    "an empty text beside the images": FILES | {"train/happy/notes.txt": b"", "index.html": b"<html>"},
}


@pytest.mark.parametrize("tree", TREES)
def test_a_tree_gives_the_splits_of_the_plain_one(tree, tmp_path):
    faces = read_faces(write_folder(tmp_path, TREES[tree]))
    assert [len(faces.rows(split)) for split in (TRAIN, VAL, TEST)] == [28, 14, 7]
    assert {image.tobytes() for image in faces.images} == {picture.pixels.tobytes() for picture in SET}


@pytest.mark.parametrize("name", ["zero.jpg", "zero.PNG"])
@pytest.mark.parametrize("packed", [False, True])
def test_an_image_of_no_bytes_is_named(name, packed, tmp_path):
    files, path = FILES | {f"train/happy/{name}": b""}, tmp_path / "set"
    if packed:
        path.write_bytes(zip_bytes(files, zipfile.ZIP_STORED))
    else:
        write_folder(path, files)
    with pytest.raises(InputError, match=rf"train/happy/{name}: broken image: neither JPEG nor PNG, but empty file"):
        read_faces(path)


REFUSED = {
    "a second header in the middle": (
        joined([*ROWS[:9], ROWS[0], *ROWS[9:]]),
        r"row 9 .*: emotion 'emotion' is unknown",
    ),
    "no row": (joined(ROWS[:1]), "a header, but no row of pixels"),
    "nothing": ("", r"no faces found. Found: set.csv \(empty file\)"),
    "two columns emotion": (joined([["emotion", *ROWS[0]]] + [["0", *row] for row in ROWS[1:]]), "two columns emotion"),
    "not a number": (CSV.replace(" 1", " nan", 1), r"row 1 .*: pixel \d+ is 'nan"),
    "a label that is not a number": (CSV.replace("\n0,", "\nnan,", 1), "emotion 'nan' is unknown"),
    "pixels from 0 to 1": (joined([ROWS[0]] + [[a, b.replace(" ", " 0."), c] for a, b, c in ROWS[1:]]), "is '0."),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_named_with_its_place(kind, tmp_path):
    text, said = REFUSED[kind]
    (tmp_path / "set.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_faces(tmp_path / "set.csv")


VOTES = {
    "no image names": lambda rows: [[row[0], "", *row[2:]] if number else row for number, row in enumerate(rows)],
    "no column of image names": lambda rows: [[row[0], *row[2:]] for row in rows],
    "capitals and blanks": lambda rows: [[f" {cell.upper()} " for cell in row] for row in rows],
    "empty cells for no vote": lambda rows: [["" if cell == "0" else cell for cell in row] for row in rows],
}


@pytest.mark.parametrize("kind", VOTES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_votes_of_ferplus_are_read_without_image_names(kind, end, compose, tmp_path):
    write_ferplus(tmp_path)
    words, votes = ferplus_overrides(tmp_path), tmp_path / "votes.csv"
    plain = open_faces(settings_of(compose(*words), TrainSettings).data)
    rows = [line.split(",") for line in votes.read_text().splitlines()]
    votes.write_bytes(b"\xef\xbb\xbf" + joined(VOTES[kind](rows), end=end).encode())
    faces = open_faces(settings_of(compose(*words), TrainSettings).data)
    np.testing.assert_array_equal(faces.labels, plain.labels)
    assert faces.fingerprint == plain.fingerprint


def test_a_last_batch_of_one_trains_with_batch_norm(train, tmp_path):
    made = [picture for picture in pictures(counts=(5, 1, 0)) if picture.split == VAL or picture.label < 7]
    (tmp_path / "set.csv").write_text(csv_text(made))  # 35 = 2 * 17 + 1 images
    words = ("data=fer2013", "data.check_counts=false", "model=fc", "model.hidden=[8]", "draw.every=0")
    ended = train(*words, f"data.path={tmp_path / 'set.csv'}", "data.batch_size=17", "trainer.max_epochs=1",
                  "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path / 'run'}")  # fmt: skip
    assert ended.code == 0, ended.err
