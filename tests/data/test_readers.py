"""FER2013 is read alike from every form in which people have it."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sets import Picture, csv_text, files_of, in_csv_order, pictures, tar_bytes, write_folder, zip_bytes

from fer_lightning.data.csv_reader import read_csv
from fer_lightning.data.faces import TEST, TRAIN, VAL, Faces, copy_groups
from fer_lightning.data.fer2013 import require_official_counts
from fer_lightning.data.reader import draw_val, read_faces
from fer_lightning.data.sources import open_fer2013
from fer_lightning.expressions import EXPRESSIONS

SET = pictures()
FILES = files_of(SET)
CSV = csv_text(SET).encode()
ICML = csv_text(SET, "emotion, Usage, pixels").encode()
WRAPPED = {f"FER-2013 (copy)/{name}": data for name, data in FILES.items()}
JUNK = {
    "__MACOSX/train/happy/._Training_1.jpg": b"junk", "train/happy/._Training_1.jpg": b"junk", ".DS_Store": b"\0\0\0\1",
    "train/happy/Thumbs.db": b"junk", "train/happy/.ipynb_checkpoints/Training_1-checkpoint.jpg": b"junk",
}  # fmt: skip

FORMS = {
    "fer2013.csv": CSV,
    "icml_face_data.csv": ICML,
    "any column order": csv_text(SET, "pixels, Usage,emotion").encode(),
    "extra column": csv_text(SET, "id,emotion,pixels,Usage").encode(),
    "byte order mark": b"\xef\xbb\xbf" + CSV,
    "carriage returns": CSV.replace(b"\n", b"\r\n"),
    "blank lines": CSV.replace(b"\n", b"\n\n"),
    "no newline at the end": CSV.rstrip(b"\n"),
    "quoted pixels": b"\n".join(b'"' + line.replace(b",", b'","') + b'"' for line in CSV.split(b"\n") if line),
    "csv.gz": gzip.compress(CSV),
    "csv.xz": lzma.compress(CSV),
    "csv.bz2": bz2.compress(CSV),
    "csv in two gzip streams": gzip.compress(CSV[:9999]) + gzip.compress(CSV[9999:]),
    "zip of images": zip_bytes(FILES),
    "stored zip": zip_bytes(FILES, zipfile.ZIP_STORED),
    "tar": tar_bytes(FILES),
    "tar.gz": tar_bytes(FILES, "gz"),
    "tar.bz2": tar_bytes(FILES, "bz2"),
    "tar.xz": tar_bytes(FILES, "xz"),
    "zip with a folder around": zip_bytes(WRAPPED),
    "tar from a Mac": tar_bytes(JUNK | FILES),
    "zip of a csv": zip_bytes({"fer2013/fer2013.csv": CSV, "fer2013/README": b"text"}),
    "tar of a csv": tar_bytes({"fer2013/README": b"text", "fer2013/fer2013.csv": CSV}, "gz"),
    "zip in a zip": zip_bytes({"fer2013.zip": zip_bytes(FILES)}),
    "zip in a tar.gz": tar_bytes({"fer2013.zip": zip_bytes({"fer2013.csv": CSV})}, "gz"),
    "tar.gz in a zip": zip_bytes({"fer2013.tar.gz": tar_bytes({"fer2013/fer2013.csv": CSV}, "gz")}),
}


def same(faces: Faces, other: Faces) -> bool:
    return all(
        np.array_equal(getattr(faces, name), getattr(other, name))
        for name in ("images", "labels", "split", "copy_groups")
    )


@pytest.fixture(scope="module")
def expected() -> Faces:
    rows = in_csv_order(SET)
    images = np.stack([row.pixels for row in rows])
    labels, split = (np.array([getattr(row, name) for row in rows], np.uint8) for name in ("label", "split"))
    return Faces(images, labels, split, copy_groups(images))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_set_gives_the_same_faces_whatever_its_name(form, expected, tmp_path):
    for name in ("no_suffix", "wrong.jpg"):
        (tmp_path / name).write_bytes(FORMS[form])
        assert same(read_faces(tmp_path / name), expected)


@pytest.mark.parametrize("files", [FILES, WRAPPED, FILES | JUNK, {"a/fer.csv": CSV}, {"fer2013.tar.gz": FORMS["tar"]}])
def test_a_folder_gives_the_same_faces_as_a_csv(files, expected, tmp_path):
    assert same(read_faces(write_folder(tmp_path, files)), expected)


def test_a_file_name_that_tells_its_usage_decides_over_the_folder(tmp_path):
    wrong_folders = {name.replace("train/", "validation/"): data for name, data in FILES.items()}
    assert np.bincount(read_faces(write_folder(tmp_path, wrong_folders)).split).tolist() == [28, 14, 7]


def test_without_usage_a_test_folder_is_test_and_val_is_drawn_from_train(tmp_path):
    many = pictures(counts=(16, 0, 1))
    faces = read_faces(write_folder(tmp_path, {picture.plain_name: picture.jpeg for picture in many}))
    assert [faces.counts(split, 7) for split in (TRAIN, VAL, TEST)] == [[14] * 7, [2] * 7, [1] * 7]
    assert any("There is no val: 14 images were drawn from train" in note for note in faces.notes)


def test_a_val_folder_is_kept_as_it_is(tmp_path):
    faces = read_faces(write_folder(tmp_path, {picture.plain_name: picture.jpeg for picture in SET}))
    assert [faces.counts(split, 7) for split in (TRAIN, VAL, TEST)] == [[4] * 7, [2] * 7, [1] * 7]
    assert faces.notes == ()


def test_images_in_no_splits_folder_are_train_and_this_is_said(tmp_path):
    files = {picture.plain_name.partition("/")[2]: picture.jpeg for picture in SET}
    faces = read_faces(write_folder(tmp_path, files))
    assert set(faces.split) <= {TRAIN, VAL}
    assert any("49 images in no split's folder" in note for note in faces.notes)


def test_a_set_with_only_a_test_split_stays_a_test_split(tmp_path):
    test = [picture for picture in SET if picture.split == TEST and picture.label != EXPRESSIONS.index("disgust")]
    faces = read_faces(write_folder(tmp_path, files_of(test)))
    assert set(faces.split) == {TEST}
    assert faces.notes == ("No image of disgust in test.",)


TRAIN_CSV = csv_text(pictures(seed=1), "emotion,pixels").encode()
TEST_CSV = csv_text(SET, "pixels").encode()
COMPETITION_FILES = {
    "example_submission.csv": b"id,emotion\n1,0\n",
    "fer2013.tar.gz": tar_bytes({"fer2013/README": b"t", "fer2013/fer2013.csv": CSV}, "gz"),
    "icml_face_data.csv": ICML,
    "test.csv": TEST_CSV,
    "train.csv": csv_text([picture for picture in SET if picture.split == TRAIN], "emotion,pixels").encode(),
}


@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)])
def test_of_the_competitions_files_the_csv_with_usage_is_read(order, expected, tmp_path):
    files = {name: COMPETITION_FILES[name] for name in order(COMPETITION_FILES)}
    (tmp_path / "all.zip").write_bytes(zip_bytes(files))
    faces = read_faces(tmp_path / "all.zip")
    assert same(faces, expected)
    assert [note.partition(":")[0] for note in faces.notes] == [
        "Read from icml_face_data.csv in all.zip.",
        "Left out",
        "Left out",
        "Labels are numbers, read as FER2013's",
        "Left out, without a column emotion",
    ]
    assert "Left out: train.csv, whose faces stand in icml_face_data.csv." in faces.notes


def test_the_competitions_nested_archive_is_read_where_nothing_else_has_usage(expected, tmp_path):
    files = {name: data for name, data in COMPETITION_FILES.items() if name != "icml_face_data.csv"}
    files["fer2013.tar.gz"] = tar_bytes({"fer2013/README": b"text", "fer2013/fer2013.csv": CSV}, "gz")
    (tmp_path / "all.zip").write_bytes(zip_bytes(files))
    assert same(read_faces(tmp_path / "all.zip"), expected)
    assert same(read_faces(write_folder(tmp_path / "folder", files)), expected)


def test_train_csv_without_usage_is_split_and_this_is_said(tmp_path):
    write_folder(tmp_path, {"train.csv": TRAIN_CSV, "test.csv": TEST_CSV})
    faces = read_faces(tmp_path)
    assert len(faces) == 49
    assert set(faces.split) == {TRAIN, VAL}
    assert "Read by name, without Usage: train.csv as train." in faces.notes
    assert "Left out, without a column emotion: test.csv." in faces.notes


def test_images_are_preferred_to_a_csv_without_usage(expected, tmp_path):
    assert same(read_faces(write_folder(tmp_path, {"a.csv": TRAIN_CSV, **FILES})), expected)


def test_a_drawn_val_keeps_copies_together_and_holds_an_eighth_of_each_class():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (600, 48, 48), dtype=np.uint8)
    images[300:400] = images[:100, :, ::-1]
    images[400:500] = images[:100]
    labels = np.concatenate([np.arange(300) % 7, np.arange(100) % 7, np.arange(100) % 7, np.arange(100) % 7])
    labels = labels.astype(np.uint8)
    groups = copy_groups(images)
    in_val = draw_val(images, labels, groups)
    assert not set(groups[in_val]) & set(groups[~in_val])
    wanted = np.bincount(labels) / 8
    assert np.abs(np.bincount(labels[in_val]) - wanted).max() <= 2
    order = rng.permutation(600)
    assert np.array_equal(draw_val(images[order], labels[order], copy_groups(images[order])), in_val[order])


def test_a_drawn_val_never_takes_the_last_picture_of_a_class():
    images = np.arange(7, dtype=np.uint8)[:, None, None] * np.ones((1, 48, 48), np.uint8)
    assert not draw_val(images, np.arange(7, dtype=np.uint8), np.arange(7)).any()


@given(st.lists(st.binary(min_size=2304, max_size=2304), min_size=1, max_size=3), st.sampled_from([" ", "  ", "\t"]))
def test_pixels_of_a_csv_are_the_numbers_that_stand_there(rows, blank):
    lines = ["emotion,pixels", *(f"0,{blank.join(map(str, row))}" for row in rows)]
    images, _, _ = read_csv(io.BytesIO("\n".join(lines).encode()), "set")
    assert images.tobytes() == b"".join(rows)


def test_images_outside_the_expressions_are_left_out_and_this_is_said(expected, tmp_path):
    faces = read_faces(
        write_folder(tmp_path, FILES | {"logo.png": b"not even an image", "train/happy/notes.txt": b"x"})
    )
    assert same(faces, expected)
    assert faces.notes == ("1 image in no expression's folder: left out (logo.png).",)


@pytest.fixture(scope="module")
def real(fer2013: Path) -> Faces:
    return open_fer2013(fer2013)  # read into the cache of this session


def test_the_real_set_has_the_official_counts_and_its_known_copies(real):
    require_official_counts(real, "the real set")
    unique = {split: len({image.tobytes() for image in real.images[real.rows(split)]}) for split in (TRAIN, VAL)}
    assert unique[TRAIN] < 28709
    in_train = {image.tobytes() for image in real.images[real.rows(TRAIN)]}
    assert sum(image.tobytes() in in_train for image in real.images[real.rows(VAL)]) == 280


def test_a_csv_of_real_images_gives_the_faces_of_the_archive(real, fer2013, tmp_path):
    if not zipfile.is_zipfile(fer2013):
        pytest.skip(f"{fer2013} is no zip of images")
    with zipfile.ZipFile(fer2013) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][::400]
        files = {name: archive.read(name) for name in names}
    chosen = []
    for name, data in files.items():
        usage, number = name.rpartition("/")[2].removesuffix(".jpg").split("_")
        split = ("Training", "PublicTest", "PrivateTest").index(usage)
        chosen.append(Picture(split, number, EXPRESSIONS.index(name.split("/")[-2]), data))
    written = {
        "images.tar.xz": tar_bytes(files, "xz"),
        "images.zip": zip_bytes(files),
        "all.csv": csv_text(chosen).encode(),
    }
    write_folder(tmp_path, written)
    faces = [read_faces(tmp_path / name) for name in written]
    assert len(faces[0]) == len(names)
    assert same(faces[0], faces[1])
    assert same(faces[0], faces[2])
    labelled = {(image.tobytes(), label) for image, label in zip(real.images, real.labels, strict=True)}
    assert {(image.tobytes(), label) for image, label in zip(faces[0].images, faces[0].labels, strict=True)} <= labelled


@pytest.mark.parametrize(("low", "high"), [(100, 256), (0, 10), (10, 100)])
def test_pixels_of_one_length_are_read_as_the_numbers_that_stand_there(low, high, tmp_path):
    """Numbers of one, two or three digits alone: no other number of the file can betray a wrong place."""
    images = np.random.default_rng(low).integers(low, high, (14, 2304))
    rows = [f"{row % 7},{' '.join(map(str, image))},Training" for row, image in enumerate(images)]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n".join(rows) + "\n")
    np.testing.assert_array_equal(read_faces(tmp_path / "fer2013.csv").images.reshape(14, -1), images)
