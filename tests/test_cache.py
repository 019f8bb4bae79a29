"""The cache gives right arrays or a clear message, whatever befalls its builder, disk, bytes or source."""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sets import csv_text, files_of, pictures, write_folder, zip_bytes

from fer_lightning.data import cache
from fer_lightning.data.cache import cache_root, cached_arrays, write_array
from fer_lightning.data.cached_faces import open_faces
from fer_lightning.data.fingerprint import source_fingerprint
from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError

SET = pictures()
FILES = files_of(SET)


class Builder:
    """Writes known arrays, and counts how often it was asked to."""

    def __init__(self, value: int = 1):
        self.value, self.calls = value, 0

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "numbers": np.full((300, 7), self.value, np.float32),
            "word": np.array("seven" * self.value),
            "empty": np.empty((0, 3), np.uint8),
        }

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        for name, array in self.arrays().items():
            np.save(folder / f"{name}.npy", array)


def same(kept: dict[str, np.ndarray], builder: Builder) -> bool:
    expected = builder.arrays()
    return kept.keys() == expected.keys() and all(
        np.array_equal(kept[name], array) and kept[name].dtype == array.dtype for name, array in expected.items()
    )


def store_of(place: Path) -> Path:
    return place / f"v{cache.CACHE_VERSION}"


def array_file(place: Path, name: str = "numbers") -> Path:
    return next(store_of(place).glob(f"arrays-*/{name}.npy"))


@pytest.fixture
def built(tmp_path) -> Path:
    cached_arrays(tmp_path / "place", "source", Builder())
    return tmp_path / "place"


def test_arrays_are_built_once_and_come_back_as_they_were(tmp_path):
    builder = Builder()
    for _ in range(3):
        assert same(cached_arrays(tmp_path, "source", builder), builder)
    assert builder.calls == 1


def test_cached_arrays_are_mapped_and_cannot_be_written(built):
    numbers = cached_arrays(built, "source", Builder())["numbers"]
    assert isinstance(numbers, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        numbers[0] = 2


def test_another_fingerprint_replaces_the_arrays_and_leaves_none_of_the_old(built, caplog):
    old = cached_arrays(built, "source", Builder())["numbers"]
    caplog.set_level(logging.INFO)
    assert same(cached_arrays(built, "new source", Builder(2)), Builder(2))
    assert "the source has changed" in caplog.text
    assert len(list(store_of(built).glob("arrays-*"))) == 1
    assert (old == 1).all()  # who had the old arrays mapped keeps them


def flipped(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


def edited(manifest: Path, **changes: object) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


DAMAGE = {
    "a flipped bit in the middle": lambda place: flipped(array_file(place), 4000),
    "a flipped bit in the last byte": lambda place: flipped(array_file(place), -1),
    "a flipped bit in an array's header": lambda place: flipped(array_file(place), 60),
    "a flipped bit in an array's magic": lambda place: flipped(array_file(place), 0),
    "a truncated array": lambda place: os.truncate(array_file(place), 5000),
    "an empty array file": lambda place: os.truncate(array_file(place), 0),
    "a missing array": lambda place: array_file(place).unlink(),
    "an array of another shape": lambda place: np.save(array_file(place), np.ones((7, 300), np.float32)),
    "an array of another type": lambda place: np.save(array_file(place), np.ones((300, 7), np.int32)),
    "an array in another order": lambda place: np.save(
        array_file(place), np.asfortranarray(Builder().arrays()["numbers"])
    ),
    "a pickle in place of an array": lambda place: np.save(array_file(place), np.array([{}]), allow_pickle=True),
    "a missing folder": lambda place: shutil.rmtree(array_file(place).parent),
    "an unparsable manifest": lambda place: (store_of(place) / "manifest.json").write_text("{"),
    "an empty manifest": lambda place: (store_of(place) / "manifest.json").write_text(""),
    "a manifest of zeros": lambda place: (store_of(place) / "manifest.json").write_bytes(bytes(500)),
    "a manifest that is a list": lambda place: (store_of(place) / "manifest.json").write_text("[1]"),
    "a manifest without arrays": lambda place: edited(store_of(place) / "manifest.json", arrays=7),
    "a manifest that points elsewhere": lambda place: edited(store_of(place) / "manifest.json", folder="../../x"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_cache_is_built_anew_and_this_is_logged(kind, built, caplog):
    DAMAGE[kind](built)
    builder = Builder()
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 1
    assert "damaged and built anew" in caplog.text
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 1


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7), st.integers(0, 3))
def test_no_flipped_bit_of_a_cache_ever_reaches_its_user(where, bit, file):
    with tempfile.TemporaryDirectory() as name:
        place, builder = Path(name), Builder()
        cached_arrays(place, "source", builder)
        files = sorted(path for path in store_of(place).rglob("*") if path.suffix in (".npy", ".json"))
        data = bytearray(files[file].read_bytes())
        data[int(where * len(data))] ^= 1 << bit
        files[file].write_bytes(data)
        assert same(cached_arrays(place, "source", builder), builder)


def test_a_missing_manifest_is_a_cache_not_built_yet(built, caplog):
    (store_of(built) / "manifest.json").unlink()
    builder = Builder()
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 1
    assert not caplog.text


def test_two_versions_on_one_cache_do_not_disturb_each_other(built, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_VERSION", cache.CACHE_VERSION + 1)
    other = Builder(2)
    assert same(cached_arrays(built, "source", other), other)
    monkeypatch.undo()
    first = Builder()
    assert same(cached_arrays(built, "source", first), first)
    assert first.calls == 0


def test_what_killed_builders_left_behind_is_removed(built):
    stale = store_of(built) / "arrays-000000000000"
    write_folder(stale, {"numbers.npy": b"half written"})
    cached_arrays(built, "another source", Builder())
    assert not stale.exists()


def test_a_builder_that_fails_leaves_the_old_arrays_and_nothing_half_written(built):
    def failing(folder: Path) -> None:
        np.save(folder / "numbers.npy", np.zeros(9))
        raise InputError("row 17 is broken")

    with pytest.raises(InputError, match="row 17 is broken"):
        cached_arrays(built, "new source", failing)
    builder = Builder()
    assert same(cached_arrays(built, "source", builder), builder)
    assert builder.calls == 0
    assert len(list(store_of(built).glob("arrays-*"))) == 1


def test_a_disk_that_fills_up_names_the_setting_and_leaves_nothing(tmp_path):
    def failing(folder: Path) -> None:
        np.save(folder / "numbers.npy", np.zeros(9))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"cannot be written: No space left on device. Valid: data.cache_dir="):
        cached_arrays(tmp_path, "source", failing)
    assert not list(store_of(tmp_path).glob("arrays-*"))


def test_a_cache_folder_that_is_a_file_names_the_setting(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: Not a directory. Valid: data.cache_dir="):
        cached_arrays(tmp_path / "file" / "place", "source", Builder())


def run(program: str, *arguments: object, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


OPEN = """
import mmap, os, resource, sys  # numpy imports mmap late, when this process is somebody else
from fer_lightning.data.cached_faces import open_faces
from fer_lightning.errors import InputError
path, folder, limit, user = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if user and os.getuid() == 0:
    os.setuid(user)
try:
    print(open_faces(path, folder, check_counts=False).fingerprint)
except InputError as error:
    print(error)
"""


def test_a_file_that_outgrows_its_disk_while_written_leaves_nothing(tmp_path):
    (tmp_path / "set.zip").write_bytes(zip_bytes(FILES))
    told = run(OPEN, tmp_path / "set.zip", tmp_path / "cache", 50_000, 0)
    assert "the cache cannot be written: File too large. Valid: data.cache_dir=" in told.stdout
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert len(open_faces(tmp_path / "set.zip", tmp_path / "cache", check_counts=False)) == len(SET)


@pytest.mark.skipif(os.name == "nt" or not shutil.which("mount"), reason="needs a tmpfs")
def test_a_full_tmpfs_gives_a_message_and_no_half_cache(tmp_path):
    (tmp_path / "set.zip").write_bytes(zip_bytes(FILES))
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this user may not mount a tmpfs")
    try:
        with pytest.raises(InputError, match="No space left on device"):
            open_faces(tmp_path / "set.zip", disk, check_counts=False)
        assert not list(disk.rglob("*.npy"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_read_only_cache_is_used_when_whole_and_told_when_not():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "set.zip").write_bytes(zip_bytes(FILES))
        (folder / "cache").mkdir()
        (folder / "cache").chmod(0o555)
        nobody = 65534
        told = run(OPEN, folder / "set.zip", folder / "cache", 0, nobody).stdout
        assert "the cache cannot be written: Permission denied. Valid: data.cache_dir=" in told
        (folder / "cache").chmod(0o755)
        faces = open_faces(folder / "set.zip", folder / "cache", check_counts=False)
        for path in (folder / "cache").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert run(OPEN, folder / "set.zip", folder / "cache", 0, nobody).stdout == faces.fingerprint + "\n"


COUNTED = """
import sys, time
from pathlib import Path
import numpy as np
from fer_lightning.data.cache import cached_arrays
place, marks = Path(sys.argv[1]), Path(sys.argv[2])

def build(folder):
    (marks / folder.name).touch()
    for part in range(5):
        np.save(folder / f"part{part}.npy", np.full(50_000, part))
        time.sleep(0.05)

arrays = cached_arrays(place, "source", build)
print(sorted((name, int(array.sum())) for name, array in arrays.items()))
"""


def test_four_processes_at_once_build_once_and_all_get_the_arrays(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, "-c", COUNTED, str(tmp_path / "place"), str(marks)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = {process.communicate(timeout=60)[0] for process in started}
    assert told == {str([(f"part{part}", part * 50_000) for part in range(5)]) + "\n"}
    assert len(list(marks.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_builder_killed_at_any_moment_leaves_a_cache_that_the_next_one_completes(tmp_path):
    place, marks = tmp_path / "place", tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, "-c", COUNTED, str(place), str(marks)]
    for parts in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while len(list(store_of(place).glob("arrays-*/*.npy"))) <= parts and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (store_of(place) / "manifest.json").exists()
    assert len(list(marks.iterdir())) == 4
    told = run(COUNTED, place, marks).stdout
    assert told == str([(f"part{part}", part * 50_000) for part in range(5)]) + "\n"
    assert len(list(store_of(place).glob("arrays-*"))) == 1


KILLED_AT_STEP = """
import os, shutil, sys
from pathlib import Path
import numpy as np
from fer_lightning.data import cache, manifest
place, fatal, step = Path(sys.argv[1]), int(sys.argv[2]), 0

def counted(call):
    def maybe(*arguments, **options):
        global step
        step += 1
        if step == fatal:
            os.kill(os.getpid(), 9)
        return call(*arguments, **options)
    return maybe

os.fsync, os.replace, shutil.rmtree = counted(os.fsync), counted(os.replace), counted(shutil.rmtree)
build = lambda folder: np.save(folder / "numbers.npy", np.full(99, 2))
print(cache.cached_arrays(place, "new source", build)["numbers"].sum())
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_between_any_two_steps_of_replacing_arrays_the_old_or_the_new_ones_stand(tmp_path):
    for fatal in range(1, 20):
        place, old = tmp_path / str(fatal), Builder()
        cached_arrays(place, "source", old)
        ended = run(KILLED_AT_STEP, place, fatal)
        if ended.returncode == 0:
            assert ended.stdout == "198\n"
            break
        assert ended.returncode == -signal.SIGKILL
        is_new = json.loads((store_of(place) / "manifest.json").read_text())["fingerprint"] == "new source"
        if is_new:
            assert (cached_arrays(place, "new source", Builder())["numbers"] == 2).all()
        assert same(cached_arrays(place, "source", old), old)
        assert old.calls == (2 if is_new else 1)
        assert cached_arrays(place, "third source", Builder(3))["numbers"][0, 0] == 3
        assert len(list(store_of(place).glob("arrays-*"))) == 1
    assert fatal > 5


def test_an_array_written_in_parts_is_the_array(tmp_path):
    array = np.arange(60, dtype=np.float32).reshape(10, 3, 2)
    write_array(tmp_path / "a.npy", array.shape, np.float32, (array[row : row + 4] for row in range(0, 10, 4)))
    assert np.array_equal(np.load(tmp_path / "a.npy"), array)
    with pytest.raises(ValueError, match="parts of 96 bytes for an array of shape"):
        write_array(tmp_path / "a.npy", array.shape, np.float32, [array[:4]])


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "set.zip"
    path.write_bytes(zip_bytes(FILES))
    return path


def test_faces_from_the_cache_are_those_of_the_reader(source, tmp_path):
    for _ in range(2):
        faces, read = open_faces(source, tmp_path / "cache", check_counts=False), read_faces(source)
        for name in ("images", "labels", "split", "copy_groups"):
            assert np.array_equal(getattr(faces, name), getattr(read, name))
        assert faces.notes == read.notes


def test_what_the_reader_had_to_say_is_said_from_the_cache_too(tmp_path):
    (tmp_path / "train.csv").write_text(csv_text(SET, "emotion,pixels"))
    first = open_faces(tmp_path / "train.csv", tmp_path / "cache", check_counts=False)
    assert open_faces(tmp_path / "train.csv", tmp_path / "cache", check_counts=False).notes == first.notes
    assert first.notes[0] == "train.csv has no Usage: all its images are taken for train."


def test_the_fingerprint_follows_the_faces_not_the_file(source, tmp_path):
    (tmp_path / "fer2013.csv").write_text(csv_text(SET))
    fingerprint = open_faces(source, tmp_path / "cache", check_counts=False).fingerprint
    assert open_faces(tmp_path / "fer2013.csv", tmp_path / "cache", check_counts=False).fingerprint == fingerprint
    source.write_bytes(zip_bytes(files_of(SET[1:])))
    assert open_faces(source, tmp_path / "cache", check_counts=False).fingerprint != fingerprint


def test_a_changed_source_is_read_again(source, tmp_path):
    assert len(open_faces(source, tmp_path / "cache", check_counts=False)) == len(SET)
    source.write_bytes(zip_bytes(files_of(pictures(seed=1, counts=(3, 1, 1)))))
    assert len(open_faces(source, tmp_path / "cache", check_counts=False)) == 35


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
        open_faces(source, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))
    open_faces(source, tmp_path / "cache", check_counts=False)
    with pytest.raises(InputError, match=r"data\.check_counts=false"):
        open_faces(source, tmp_path / "cache")


def test_a_source_that_changes_while_it_is_read_is_told(source, tmp_path, monkeypatch):
    def read_slowly(path: Path):
        faces = read_faces(path)
        path.write_bytes(zip_bytes(files_of(SET[1:])))
        return faces

    monkeypatch.setattr("fer_lightning.data.cached_faces.read_faces", read_slowly)
    with pytest.raises(InputError, match="changed while it was read"):
        open_faces(source, tmp_path / "cache", check_counts=False)


def test_the_cache_stands_where_the_platform_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root(None) == tmp_path / "fer_lightning"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root(None) == tmp_path / ".cache" / "fer_lightning"
    assert cache_root("~/here") == tmp_path / "here"
