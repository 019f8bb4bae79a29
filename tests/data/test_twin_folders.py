"""Pictures that are not further samples, as the same tree twice and hidden folders, are left out and named."""

import numpy as np
import pytest
from small_sets import encoded, files_of, pictures, tar_bytes, write_folder, zip_bytes

from fer_lightning.data.faces import TRAIN
from fer_lightning.data.reader import read_faces
from fer_lightning.data.twin_folders import find_twins

FILES = files_of(pictures())
"""49 images in train and test, of 14 folders."""

PIXELS = encoded(np.random.default_rng(9).integers(0, 256, (48, 48), dtype=np.uint8))


def below(folder, files=FILES):
    return {f"{folder}/{name}": data for name, data in files.items()}


TWINS = {
    "inside": (below("images") | below("images/images"), "images/images repeats images (49)"),
    "inside its top folder": (FILES | below("fer2013"), "fer2013 repeats its parent folder (49)"),
    "beside": (below("fer2013") | below("fer2013 - Copy"), "fer2013 - Copy repeats fer2013 (49)"),
    "one split of it": (
        below("images") | {f"images/images/{name}": data for name, data in FILES.items() if name.startswith("train")},
        "images/images repeats images (28)",
    ),
    "a part of it": (below("a") | {f"b/{name}": FILES[name] for name in list(FILES)[:30]}, "b repeats a (30)"),
    "in capitals": (
        FILES | {f"FER/{name.upper()}": data for name, data in FILES.items()},
        "FER repeats its parent folder (49)",
    ),
    "zipped beside it": (below("fer2013") | {"fer2013.zip": zip_bytes(FILES)}, "fer2013.zip repeats fer2013 (49)"),
}


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_a_tree_that_is_there_twice_is_read_once_and_named(kind, container, tmp_path):
    files, said = TWINS[kind]
    path = write_folder(tmp_path / "set", files)
    if container != "folder":
        path = tmp_path / f"set.{container}"
        path.write_bytes((zip_bytes if container == "zip" else tar_bytes)(files))
    once, found = read_faces(write_folder(tmp_path / "once", FILES)), read_faces(path)
    assert np.array_equal(found.images, once.images)
    assert np.array_equal(found.labels, once.labels)
    assert np.array_equal(found.split, once.split)
    (note,) = [note for note in found.notes if "twice" in note]
    count = said.rpartition("(")[2][:-1]
    assert note == f"{count} images stand in the source twice, by folder, name and content: read once ({said})."
    assert not [note for note in once.notes if "twice" in note]


def test_a_tree_that_is_there_three_times_is_read_once(tmp_path):
    found = read_faces(write_folder(tmp_path, below("a") | below("a/a") | below("a/a/a")))
    assert len(found) == len(FILES)
    (note,) = [note for note in found.notes if "twice" in note]
    assert note.startswith("98 images")


PLAIN = {picture.plain_name: picture.jpeg for picture in pictures() if picture.split == TRAIN}
NO_TWINS = {
    "of another split": PLAIN | {name.replace("train", "val"): data for name, data in PLAIN.items()},
    "of another expression": FILES | {name.replace("sad", "fear"): data for name, data in FILES.items()},
    "of the same names": FILES | {f"b/{name}": encoded(np.full((48, 48), 9, np.uint8)) for name in FILES},
    "of other names": FILES | {f"b/{name[:-4]}x.jpg": data for name, data in FILES.items()},
    "with further images": FILES | {f"b/train/{emotion}/1.jpg": PIXELS for emotion in ("happy", "sad")},
}


@pytest.mark.parametrize("kind", NO_TWINS)
def test_folders_that_share_images_and_are_no_twins_are_all_read(kind, tmp_path):
    files = NO_TWINS[kind]
    found = read_faces(write_folder(tmp_path, files))
    assert len(found) == len(files)
    assert not [note for note in found.notes if "twice" in note]


@pytest.mark.parametrize("seed", range(20))
def test_every_image_that_is_left_out_is_kept_elsewhere_and_no_kept_folder_repeats_another(seed):
    rng = np.random.default_rng(seed)
    folders = ["", "a", "b", "a/a", "a/b", "a/a/a", "b/a"]
    names = sorted({f"{rng.choice(folders)}/{rng.integers(3)}".lstrip("/") for _ in range(14)})
    contents = rng.integers(0, 2, len(names)).tolist()
    repeated, _ = find_twins(names, contents)
    images = {}
    for name, content, out in zip(names, contents, repeated, strict=True):
        folder, _, file = name.rpartition("/")
        images.setdefault((folder, bool(out)), set()).add((file, content))
    kept = {folder: own for (folder, out), own in images.items() if not out}
    for (folder, out), own in images.items():
        assert any(own <= other for name, other in kept.items() if name != folder) == out


HIDDEN = [".git", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", ".thumbnails", "Thumbs"]
HIDDEN += ["thumbnails", "System Volume Information", "#recycle", ".Trash-1000"]


@pytest.mark.parametrize("folder", HIDDEN)
@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_images_in_hidden_and_system_folders_are_no_samples_and_this_is_said(folder, container, tmp_path):
    others = {f"train/happy/{folder}/{name}": PIXELS for name in ("1.jpg", "deeper/2.png", "._1.jpg", "index")}
    path = write_folder(tmp_path / "set", FILES | others)
    if container != "folder":
        path = tmp_path / f"set.{container}"
        path.write_bytes((zip_bytes if container == "zip" else tar_bytes)(FILES | others))
    found = read_faces(path)
    assert len(found) == len(FILES)
    said = f"2 images hidden, or in a hidden or system folder: left out (train/happy/{folder} (2))."
    assert said in found.notes


def test_a_hidden_image_is_no_sample_and_a_system_folder_that_may_not_be_read_is_no_obstacle(tmp_path):
    path = write_folder(tmp_path, FILES | {"train/sad/.hidden.jpg": PIXELS, "lost+found/train/sad/1.jpg": PIXELS})
    (path / "lost+found").chmod(0)
    try:
        found = read_faces(path)
    finally:
        (path / "lost+found").chmod(0o755)
    assert len(found) == len(FILES)
    assert "train/sad (1)" in next(note for note in found.notes if "hidden" in note)
    assert (found.split == TRAIN).sum() == 28
