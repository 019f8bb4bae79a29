"""The cache returns the arrays that were built, or builds them anew, whatever happens to its file or source."""

import errno
import hashlib
import json
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from small_sets import csv_text, files_of, pictures, zip_bytes

from fer_lightning.data import cache
from fer_lightning.data.cache import cache_root, cached_arrays
from fer_lightning.data.reader import read_faces
from fer_lightning.data.sources import open_fer2013, source_fingerprint
from fer_lightning.errors import InputError
from fer_lightning.hog import hog

SET = pictures()
FILES = files_of(SET)


class Builder:
    """Returns known arrays, and counts how often it was called."""

    def __init__(self, value: int = 1):
        self.value, self.calls = value, 0

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "bytes": np.arange(self.value, 8, dtype=np.uint8),  # an odd number: the next array would not be aligned
            "numbers": np.full((300, 7), self.value, np.float32),
            "groups": np.arange(9, dtype=np.int32),
            "empty": np.empty((0, 3), np.uint8),
        }

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return self.arrays()


def same(kept: dict[str, np.ndarray], builder: Builder) -> bool:
    expected = builder.arrays()
    return kept.keys() == expected.keys() and all(
        np.array_equal(kept[name], array) and kept[name].dtype == array.dtype for name, array in expected.items()
    )


def file_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.v{cache.CACHE_VERSION}.safetensors")


@pytest.fixture
def built(tmp_path) -> Path:
    cached_arrays(tmp_path / "place", "source", Builder())
    return tmp_path / "place"


def test_arrays_are_built_once_and_come_back_as_they_were(tmp_path):
    builder = Builder()
    for _ in range(3):
        assert same(cached_arrays(tmp_path / "place", "source", builder), builder)
    assert builder.calls == 1


def test_an_entry_is_one_safetensors_file(built):
    assert same(load_file(file_of(built)), Builder())
    assert {path.name for path in built.parent.iterdir()} <= {file_of(built).name, f"{file_of(built).name}.lock"}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_cached_arrays_are_mapped_and_cannot_be_written(built):
    numbers = cached_arrays(built, "source", Builder())["numbers"]
    assert str(file_of(built)) in Path("/proc/self/maps").read_text()
    with pytest.raises(ValueError, match="read-only"):
        numbers[0] = 2


def test_another_fingerprint_replaces_the_arrays(built, caplog):
    old = cached_arrays(built, "source", Builder())["numbers"]
    assert same(cached_arrays(built, "new source", Builder(2)), Builder(2))
    assert "the source has changed; the cache is built anew" in caplog.text
    assert (old == 1).all()  # a process that has the old arrays mapped keeps them


def flipped(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


def replaced(file: Path, old: bytes, new: bytes) -> None:
    """Exchange bytes of the header for others of the same length."""
    data = file.read_bytes()
    assert data.count(old) == 1
    assert len(old) == len(new)
    file.write_bytes(data.replace(old, new))


DAMAGE = {
    "a flipped bit in the middle": lambda file: flipped(file, 4000),
    "a flipped bit in the last byte": lambda file: flipped(file, -1),
    "a flipped bit in the header's length": lambda file: flipped(file, 0),
    "a flipped bit in the header": lambda file: flipped(file, 12),
    "a truncated file": lambda file: os.truncate(file, 5000),
    "a truncated header": lambda file: os.truncate(file, 50),
    "an empty file": lambda file: os.truncate(file, 0),
    "a file of zeros": lambda file: file.write_bytes(bytes(9000)),
    "a longer file": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "an array of another name": lambda file: replaced(file, b'"groups"', b'"droups"'),
    "an array of another shape": lambda file: replaced(file, b"[300, 7]", b"[7, 300]"),
    "an array of another type": lambda file: replaced(file, b'"F32"', b'"I32"'),
    "another source's fingerprint": lambda file: replaced(file, b'"source"', b'"sourcf"'),
    "another checksum": lambda file: flipped(file, file.read_bytes().index(b'"checksum": "') + 15),
    "no checksum": lambda file: replaced(file, b'"checksum"', b'"checksom"'),
    "a file of somebody else": lambda file: file.write_bytes(b"\x02\0\0\0\0\0\0\0{}"),
    "a pickle": lambda file: file.write_bytes(pickle.dumps({"numbers": 1})),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_is_built_anew_and_this_is_logged(kind, built, caplog):
    DAMAGE[kind](file_of(built))
    builder = Builder()
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 1
    assert "damaged" in caplog.text
    assert "the cache is built anew" in caplog.text
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 1


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7), st.booleans())
def test_no_flipped_bit_of_an_entry_ever_reaches_its_user(where, bit, in_header):
    with tempfile.TemporaryDirectory() as name:
        place, builder = Path(name) / "place", Builder()
        cached_arrays(place, "source", builder)
        data = bytearray(file_of(place).read_bytes())
        size = 8 + int.from_bytes(data[:8], "little") if in_header else len(data)
        data[int(where * size)] ^= 1 << bit
        file_of(place).write_bytes(data)
        assert same(cached_arrays(place, "source", builder), builder)


def test_a_missing_entry_is_built_without_a_warning(built, caplog):
    file_of(built).unlink()
    builder = Builder()
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 1
    assert not caplog.text


def test_two_versions_of_the_project_do_not_disturb_each_other(built, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_VERSION", cache.CACHE_VERSION + 1)
    other = Builder(2)
    assert same(cached_arrays(built, "source", other), other)
    monkeypatch.undo()
    first = Builder()
    assert same(cached_arrays(built, "source", first), first)
    assert first.calls == 0


def test_an_entry_of_another_version_is_built_anew(built, monkeypatch, caplog):
    old = file_of(built)
    monkeypatch.setattr(cache, "CACHE_VERSION", cache.CACHE_VERSION + 1)
    old.rename(file_of(built))
    builder = Builder()
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 1
    assert "of version" in caplog.text


def test_folders_of_the_cache_of_version_1_are_ignored(tmp_path):
    store = tmp_path / "place" / "v1"
    store.mkdir(parents=True)
    (store / "manifest.json").write_text(json.dumps({"fingerprint": "source", "folder": "arrays-1", "arrays": {}}))
    assert same(cached_arrays(tmp_path / "place", "source", Builder()), Builder())
    assert (store / "manifest.json").exists()


def test_a_builder_that_fails_leaves_the_old_arrays_and_nothing_half_written(built):
    def failing() -> dict[str, np.ndarray]:
        raise InputError("row 17 is broken")

    with pytest.raises(InputError, match="row 17 is broken"):
        cached_arrays(built, "new source", failing)
    builder = Builder()
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 0
    assert not list(built.parent.glob(".*"))


def test_a_disk_error_of_a_builder_names_the_setting(tmp_path):
    def failing() -> dict[str, np.ndarray]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"cannot be written: No space left on device. Valid: data.cache_dir="):
        cached_arrays(tmp_path / "place", "source", failing)
    assert not file_of(tmp_path / "place").exists()


def test_a_cache_folder_that_is_a_file_names_the_setting(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: Not a directory. Valid: data.cache_dir="):
        cached_arrays(tmp_path / "file" / "folder" / "place", "source", Builder())


def test_a_disk_that_does_not_keep_what_is_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_checksum", lambda *arguments, tries=[]: tries.append(1) or str(len(tries)))
    with pytest.raises(InputError, match=r"does not read back as written .* Is the disk sound"):
        cached_arrays(tmp_path / "place", "source", Builder())


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "set.zip"
    path.write_bytes(zip_bytes(FILES))
    return path


def test_faces_from_the_cache_are_those_of_the_reader(source, tmp_path):
    for _ in range(2):
        faces, read = open_fer2013(source, tmp_path / "cache", check_counts=False), read_faces(source)
        for name in ("images", "labels", "split", "copy_groups"):
            assert np.array_equal(getattr(faces, name), getattr(read, name))
        assert faces.notes == read.notes


def test_notes_of_the_reader_come_from_the_cache_too(tmp_path):
    (tmp_path / "train.csv").write_text(csv_text(SET, "emotion,pixels"))
    first = open_fer2013(tmp_path / "train.csv", tmp_path / "cache", check_counts=False)
    assert open_fer2013(tmp_path / "train.csv", tmp_path / "cache", check_counts=False).notes == first.notes
    assert first.notes[0] == "Read by name, without Usage: train.csv as train."


def test_the_fingerprint_of_faces_follows_their_content_not_the_file(source, tmp_path):
    (tmp_path / "fer2013.csv").write_text(csv_text(SET))
    fingerprint = open_fer2013(source, tmp_path / "cache", check_counts=False).fingerprint
    assert open_fer2013(tmp_path / "fer2013.csv", tmp_path / "cache", check_counts=False).fingerprint == fingerprint
    source.write_bytes(zip_bytes(files_of(SET[1:])))
    assert open_fer2013(source, tmp_path / "cache", check_counts=False).fingerprint != fingerprint


def test_a_changed_source_is_read_again(source, tmp_path):
    assert len(open_fer2013(source, tmp_path / "cache", check_counts=False)) == len(SET)
    source.write_bytes(zip_bytes(files_of(pictures(seed=1, counts=(3, 1, 1)))))
    assert len(open_fer2013(source, tmp_path / "cache", check_counts=False)) == 35


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_source_of_the_same_size_and_other_bytes_or_time_has_another_fingerprint(form, tmp_path):
    file = tmp_path / "set" / "fer2013.csv"
    file.parent.mkdir()
    path = file if form == "file" else file.parent
    seen = set()
    for number, text in enumerate(("abc", "abd", "abd")):
        file.write_text(text)
        os.utime(file, ns=(0, 10**18 + number * (form == "folder" or number > 1)))
        seen.add(source_fingerprint(path))
    assert len(seen) == 3


def test_counts_are_checked_before_anything_is_kept_and_again_from_the_cache(source, tmp_path):
    with pytest.raises(InputError, match=r"data\.check_counts=false"):
        open_fer2013(source, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    open_fer2013(source, tmp_path / "cache", check_counts=False)
    with pytest.raises(InputError, match=r"data\.check_counts=false"):
        open_fer2013(source, tmp_path / "cache")


def test_a_source_that_changes_while_it_is_read_is_refused(source, tmp_path, monkeypatch):
    def read_slowly(path: Path, labels, form):
        faces = read_faces(path, labels, form)
        path.write_bytes(zip_bytes(files_of(SET[1:])))
        return faces

    monkeypatch.setattr("fer_lightning.data.sources.read_faces", read_slowly)
    with pytest.raises(InputError, match="changed while it was read"):
        open_fer2013(source, tmp_path / "cache", check_counts=False)


def test_the_cache_stands_where_the_platform_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root(None) == tmp_path / "fer_lightning"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root(None) == tmp_path / ".cache" / "fer_lightning"
    assert cache_root("~/here") == tmp_path / "here"


def test_the_content_of_the_cache_changes_only_with_its_version(tmp_path):
    """Two versions of the project share a cache folder: what the older one kept, the newer must be able to use."""
    random = np.random.default_rng(0)
    rows = [f"{row % 7},{' '.join(map(str, random.integers(0, 256, 2304)))},Training" for row in range(14)]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n".join(rows) + "\n")
    faces = read_faces(tmp_path / "fer2013.csv")
    features = hog(torch.from_numpy(faces.images)).numpy()
    parts = [faces.images, faces.labels, faces.split, faces.copy_groups, (features * 1000).round().astype(np.int16)]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
    content = {3: "710ad00be469753e"}[cache.CACHE_VERSION]
    assert content == digest[:16], "the content of the cache has changed: raise CACHE_VERSION and note its checksum"
