"""Each part of a source is read into the split that its name tells; labels are read as data.labels says."""

import warnings

import numpy as np
import pytest
from small_sets import csv_text, encoded, files_of, pictures, tar_bytes, write_folder, zip_bytes

from fer_lightning.data.faces import TEST, TRAIN, VAL, Faces
from fer_lightning.data.ferplus_folders import COLUMNS, read_ferplus_folders
from fer_lightning.data.reader import read_faces
from fer_lightning.data.split_names import split_of_file, split_of_folder, split_of_source
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

SET = pictures(counts=(16, 3, 2))
PARTS = [[picture for picture in SET if picture.split == split] for split in (TRAIN, VAL, TEST)]
TRAIN_CSV, VAL_CSV, TEST_CSV = (csv_text(part, "emotion,pixels").encode() for part in PARTS)
WHOLE = csv_text(SET).encode()
UNLABELLED = csv_text(PARTS[TEST], "pixels").encode()
TWO_CSVS = {"train.csv": TRAIN_CSV, "test.csv": UNLABELLED, "test_with_emotions.csv": TEST_CSV}
RAF = dict(zip(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), range(1, 8), strict=True))


def sizes(faces: Faces) -> list[int]:
    return [len(faces.rows(split)) for split in (TRAIN, VAL, TEST)]


def tree(names: dict[str, object], parts=(("train", TRAIN), ("val", VAL))) -> dict[str, bytes]:
    """Images in folders that have other names than the expressions; None leaves an expression out."""
    files = {}
    for folder, split in parts:
        for picture in PARTS[split]:
            if (name := names.get(EXPRESSIONS[picture.label], EXPRESSIONS[picture.label])) is not None:
                files[f"{folder}/{name}/{picture.number}.jpg"] = picture.jpeg
    return files


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz"])
def test_csvs_are_read_into_the_splits_of_their_names_whatever_holds_them(form, reverse, tmp_path):
    files = {name: TWO_CSVS[name] for name in sorted(TWO_CSVS, reverse=reverse)}
    source = tmp_path / "set"
    if form == "folder":
        write_folder(source, files)
    else:
        packed = {"zip": zip_bytes, "tar": tar_bytes, "tar.gz": lambda files: tar_bytes(files, "gz")}[form]
        source.write_bytes(packed({f"expressions/{name}": data for name, data in files.items()}))
    faces = read_faces(source)
    assert sizes(faces) == [98, 14, 14]
    assert {image.tobytes() for image in faces.images[faces.rows(TEST)]} == {p.pixels.tobytes() for p in PARTS[TEST]}
    assert any("without a column emotion" in note and "test.csv" in note for note in faces.notes)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"test.csv": TEST_CSV}, [0, 0, 14]),
        ({"fer2013_Train.csv": TRAIN_CSV, "Validation-set.csv": VAL_CSV, "PrivateTest.csv": TEST_CSV}, [112, 21, 14]),
        ({"train/a.csv": TRAIN_CSV, "valid/a.csv": VAL_CSV}, [112, 21, 0]),
        ({"train.csv": TRAIN_CSV, "set.zip": zip_bytes({"train.csv": TRAIN_CSV, "val.csv": VAL_CSV})}, [112, 21, 0]),
        ({"fer2013.csv": WHOLE, "train.csv": TRAIN_CSV, "test.csv": TEST_CSV}, [112, 21, 14]),
        ({"fer2013.csv": WHOLE, **files_of(SET)}, [112, 21, 14]),
        ({"test.csv": TEST_CSV, **tree({})}, [112, 21, 14]),
        (tree({}, [("test", TEST)]), [0, 0, 14]),
        (tree({}, [("fer2013_train", TRAIN), ("Public Test", VAL), ("testing_set", TEST)]), [112, 21, 14]),
    ],
)
def test_each_part_is_read_into_its_split(files, expected, tmp_path):
    assert sizes(read_faces(write_folder(tmp_path, files))) == expected


def test_the_name_of_the_whole_source_tells_its_split(tmp_path):
    test = {name.partition("/")[2]: data for name, data in tree({}, [("test", TEST)]).items()}
    write_folder(tmp_path / "test", test)
    (tmp_path / "fer2013_test.zip").write_bytes(zip_bytes(test))
    (tmp_path / "test_with_emotions.csv").write_bytes(TEST_CSV)
    for name in ("test", "fer2013_test.zip", "test_with_emotions.csv"):
        assert sizes(read_faces(tmp_path / name)) == [0, 0, 14]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"train.csv": TRAIN_CSV, "data.csv": VAL_CSV}, "data.csv, whose name tells no split, stands beside train.csv"),
        ({"test_a.csv": VAL_CSV, "test_b.csv": TEST_CSV}, "test_a.csv and test_b.csv both hold test"),
        (
            {"fer2013.csv": csv_text(PARTS[TRAIN]).encode(), "test.csv": TEST_CSV},
            "fer2013.csv has a column Usage, test",
        ),
        ({"a.csv": WHOLE, "b.csv": csv_text(pictures(seed=9)).encode()}, "a.csv and b.csv both hold train"),
        ({"data.csv": TRAIN_CSV, **tree({}, [("test", TEST)])}, "data.csv, .* stands beside images"),
    ],
)
def test_what_is_ambiguous_is_refused_by_name(files, said, tmp_path):
    for source in (write_folder(tmp_path / "set", files), tmp_path / "set.zip"):
        (tmp_path / "set.zip").write_bytes(zip_bytes(files))
        with pytest.raises(InputError, match=said):
            read_faces(source)


@pytest.mark.parametrize(
    ("name", "of_file", "of_folder", "of_source"),
    [
        ("Training", TRAIN, TRAIN, TRAIN),
        ("fer2013_test.zip", TEST, TEST, TEST),
        ("PublicTest", VAL, VAL, VAL),
        ("private-test", TEST, TEST, TEST),
        ("FER2013Valid", VAL, VAL, VAL),
        ("test_with_emotions", TEST, TEST, None),
        ("my_test_project", TEST, None, None),
        ("train_test_split", None, None, None),
        ("contest", None, None, None),
        ("latest", None, None, None),
    ],
)
def test_names_of_splits(name, of_file, of_folder, of_source):
    assert (split_of_file(name), split_of_folder(name), split_of_source(name)) == (of_file, of_folder, of_source)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("\n0,", "\n0.0,"),
        lambda text: text.replace("\n0,", "\n angry ,").replace("\n3,", "\nHappiness,"),
        lambda text: text.replace("emotion", " Emotion ").replace("Training", "TRAINING"),
        lambda text: "\n".join(f"{n}," + line if n else "," + line for n, line in enumerate(text.splitlines())),
        lambda text: "\n".join(
            ",".join([a, f'"[{b.replace(" ", ", ")}]"', c]) for a, b, c in (x.split(",") for x in text.splitlines())
        ).replace("[pixels]", "pixels"),
    ],
)
def test_dialects_of_a_csv_give_the_same_faces(change, tmp_path):
    (tmp_path / "set.csv").write_text(change(WHOLE.decode()))
    (tmp_path / "whole.csv").write_bytes(WHOLE)
    faces, whole = read_faces(tmp_path / "set.csv"), read_faces(tmp_path / "whole.csv")
    for name in ("images", "labels", "split"):
        np.testing.assert_array_equal(getattr(faces, name), getattr(whole, name))


@pytest.mark.parametrize("numbers", [RAF, {name: label for label, name in enumerate(("neutral", "happy", "sad"))}])
def test_numbers_that_are_not_fer2013s_are_refused_and_read_by_data_labels(numbers, tmp_path):
    names = {**{name: place + 3 for place, name in enumerate(("surprise", "fear", "disgust", "angry"))}, **numbers}
    files = tree(names)
    files["train/7/contempt.jpg"] = files.get("train/7/contempt.jpg", SET[0].jpeg)
    write_folder(tmp_path, files)
    with pytest.raises(InputError, match=r"numbers \d to 7; FER2013's are 0 to 6.*data\.labels"):
        read_faces(tmp_path)
    given = {str(number): name for name, number in names.items()}
    given.setdefault("7", None)
    assert read_faces(tmp_path, given).counts(VAL, 7) == [3] * 7
    with pytest.raises(InputError, match=r"data\.labels says what .* mean, but not"):
        read_faces(tmp_path, {"1": "happy"})


def test_an_expression_may_lack_images_where_labels_are_given(tmp_path):
    write_folder(tmp_path, tree({"neutral": "contempt"}))
    with pytest.raises(InputError, match=r"no image of neutral.*19 in contempt.*data\.labels"):
        read_faces(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        faces = read_faces(tmp_path, {"Contempt": None, "bored": "sad"})
    assert faces.counts(TRAIN, 7) == [16] * 6 + [0]
    assert "Left out by data.labels: contempt (19)." in faces.notes
    assert "No image of neutral in train." in faces.notes
    assert "data.labels: nothing in the source is labelled bored." in faces.notes


def test_a_misspelt_folder_is_named_with_what_it_is_like(tmp_path):
    write_folder(tmp_path, tree({"surprise": "Suprise"}))
    with pytest.raises(InputError, match=r"19 in Suprise: did you mean surprise\?"):
        read_faces(tmp_path)
    assert read_faces(tmp_path, {"suprise": "surprise"}).counts(TRAIN, 7) == [16] * 7


def test_how_numbers_are_read_is_said_with_counts(tmp_path):
    faces = read_faces(write_folder(tmp_path, tree({name: label for label, name in enumerate(EXPRESSIONS)})))
    assert any(note.startswith("Labels are numbers, read as FER2013's: 0 = angry (19)") for note in faces.notes)


def test_notes_on_a_drawn_val_are_those_of_the_drawn_split(tmp_path):
    few = [p for p in PARTS[TRAIN] if p.label != 1][:80] + [p for p in PARTS[TRAIN] if p.label == 1][:2]
    faces = read_faces(write_folder(tmp_path, {f"Training/{EXPRESSIONS[p.label]}/{p.number}.jpg": p.jpeg for p in few}))
    assert faces.counts(VAL, 7)[1] == 0
    assert "No image of disgust in val." in faces.notes


def test_a_zip_whose_names_have_backslashes_is_read_after_the_checks_of_its_paths(tmp_path):
    def packed(files: dict[str, bytes]) -> bytes:
        return zip_bytes({name.replace("/", "\\"): content for name, content in files.items()})

    (tmp_path / "a.zip").write_bytes(packed(tree({})))
    assert sizes(read_faces(tmp_path / "a.zip")) == [112, 21, 0]
    (tmp_path / "b.zip").write_bytes(zip_bytes({"inner.zip": packed(tree({}))}))
    assert sizes(read_faces(tmp_path / "b.zip")) == [112, 21, 0]
    for bad in ("../train/sad/1.jpg", "/train/sad/1.jpg", "C:/train/sad/1.jpg"):
        (tmp_path / "c.zip").write_bytes(packed({bad: SET[0].jpeg}))
        with pytest.raises(InputError, match="leads out of the archive"):
            read_faces(tmp_path / "c.zip")


def ferplus_files() -> dict[str, bytes]:
    files = {}
    for place, part in zip(("FER2013Train", "FER2013Valid", "FER2013Test"), PARTS, strict=True):
        rows = []
        for number, picture in enumerate(part):
            votes = [8 if column == EXPRESSIONS[picture.label] else 0 for column in COLUMNS]
            files[f"{place}/fer{number:07}.png"] = encoded(picture.pixels, "PNG")
            rows.append(f'fer{number:07}.png,"(0, 0, 48, 48)",{",".join(map(str, votes))}')
        files[f"{place}/label.csv"] = ("\n".join(rows) + "\n").encode()
    return files


def test_the_folders_of_ferplus_are_read_with_their_votes(tmp_path):
    write_folder(tmp_path / "set", ferplus_files())
    (tmp_path / "set.tar").write_bytes(tar_bytes(dict(reversed(ferplus_files().items()))))
    for source in (tmp_path / "set", tmp_path / "set.tar"):
        faces = read_ferplus_folders(source)
        assert sizes(faces) == [112, 21, 14]
        assert faces.labels.tolist() == [picture.label for part in PARTS for picture in part]
        assert (faces.votes.argmax(axis=1) == faces.labels).all()
        with pytest.raises(InputError, match=r"folders of FER\+.*data=ferplus reads them"):
            read_faces(source)


def test_an_expression_that_train_lacks_and_val_has_is_said(tmp_path):
    write_folder(tmp_path, tree({"neutral": None}, [("train", TRAIN)]) | tree({}, [("val", VAL)]))
    faces = read_faces(tmp_path, {"bored": "sad"})
    assert "No image of neutral in train." in faces.notes
    assert any(note.startswith("In val, and not in train: neutral 3.") for note in faces.notes)


@pytest.mark.parametrize("folder", ["extra", "holdout", ""])
def test_images_in_no_splits_folder_beside_those_of_train_are_refused_by_name(folder, tmp_path):
    others = {f"{folder}/{name.partition('/')[2]}".lstrip("/"): data for name, data in tree({}, [("", VAL)]).items()}
    write_folder(tmp_path, tree({}) | {name.replace("//", "/"): data for name, data in others.items()})
    with pytest.raises(InputError, match=r"it is not clear what to read: 21 images, as \S+, are in no split's folder"):
        read_faces(tmp_path)


def test_folders_of_classes_beside_a_test_folder_are_train(tmp_path):
    beside = {name.removeprefix("train/"): data for name, data in tree({}, [("train", TRAIN)]).items()}
    assert sizes(read_faces(write_folder(tmp_path, beside | tree({}, [("test", TEST)])))) == [98, 14, 14]


@pytest.mark.parametrize("name", ["dev", "Eval", "evaluation_set"])
def test_other_words_for_validation_are_no_train(name, tmp_path):
    assert sizes(read_faces(write_folder(tmp_path, tree({}, [("train", TRAIN), (name, VAL)])))) == [112, 21, 0]


def test_folders_that_mean_nothing_lead_to_data_labels(tmp_path):
    write_folder(tmp_path, tree({name: name[:2].upper() for name in EXPRESSIONS}))
    with pytest.raises(InputError, match=r"no faces found.*19 in AN.*data\.labels says what other names"):
        read_faces(tmp_path)
    assert sizes(read_faces(tmp_path, {name[:2]: name for name in EXPRESSIONS})) == [112, 21, 0]


def test_a_misspelt_label_in_a_csv_is_suggested(tmp_path):
    (tmp_path / "set.csv").write_text(WHOLE.decode().replace("\n5,", "\nsuprise,"))
    with pytest.raises(InputError, match=r"emotion 'suprise' is unknown: did you mean surprise\? Valid"):
        read_faces(tmp_path / "set.csv")
    assert sizes(read_faces(tmp_path / "set.csv", {"suprise": "surprise"})) == [112, 21, 14]
