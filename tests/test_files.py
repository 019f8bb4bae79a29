"""Atomic writes: the whole file or the earlier one, and nothing beside it. Locks: one process in a run folder."""

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fer_lightning.errors import InputError
from fer_lightning.files import RUN_LOCK, atomic_file, run_lock, temporary_beside, write_atomic, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path):
    write_atomic(tmp_path / "a", "earlier")
    with atomic_file(tmp_path / "a") as file:
        file.write(b"later")
        file.flush()
        assert (tmp_path / "a").read_text() == "earlier"
    assert (tmp_path / "a").read_text() == "later"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_earlier_file_stands_and_nothing_else(error, tmp_path):
    write_atomic(tmp_path / "a", "earlier")

    def fail() -> None:
        with atomic_file(tmp_path / "a") as file:
            file.write(b"la")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "a").read_text() == "earlier"
    assert names(tmp_path) == ["a"]


def test_two_writers_do_not_mix(tmp_path):
    with atomic_file(tmp_path / "a") as first, atomic_file(tmp_path / "a") as second:
        first.write(b"one")
        second.write(b"two")
    assert (tmp_path / "a").read_text() == "one"
    assert names(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_removed_and_what_others_write_is_not(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = platform.node()
    dead, alive = f".a.{here}.{ended.pid}.0123abcd.partial", f".a.{here}.{os.getppid()}.0123abcd.partial"
    others = [alive, f".a.elsewhere.{ended.pid}.0123abcd.partial", f".b.{here}.{ended.pid}.0123abcd.partial", "c"]
    for name in (dead, *others):
        (tmp_path / name).write_bytes(b"half")
    write_json(tmp_path / "a", [1])
    assert names(tmp_path) == sorted([*others, "a"])
    assert json.loads((tmp_path / "a").read_text()) == [1]


def test_a_folder_that_replaces_another_has_a_name_of_its_own_too(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process, kept in ((ended.pid, False), (os.getppid(), True), ("nobody", True)):
        folder = tmp_path / f".a.{platform.node()}.{process}.0123abcd.partial"
        folder.mkdir()
        (folder / "file").touch()
        first, second = temporary_beside(tmp_path / "a"), temporary_beside(tmp_path / "a")
        assert folder.exists() == kept
        assert len({first, second, folder}) == 3


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(InputError, match=r"none/a: cannot be written \(No such file or directory\)"):
        write_atomic(tmp_path / "none" / "a", "x")


HOLD = """
import sys, pathlib
from fer_lightning.files import run_lock
with run_lock(pathlib.Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_in(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of a run folder until it is told to end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process


def enter(folder: Path) -> list[str]:
    """Take a run's lock and release it; returns the notes."""
    notes: list[str] = []
    with run_lock(folder, notes.append):
        pass
    return notes


def test_a_run_folder_is_locked_for_all_others_until_its_process_ends(tmp_path):
    folder = tmp_path / "run"
    with another_process_in(folder) as process:
        said = f"run: process {process.pid} on {platform.node()}, since 20.* trains in it. Wait until it ends, or name"
        for _ in range(2):
            with pytest.raises(InputError, match=said):
                enter(folder)
        assert enter(tmp_path / "other") == []
        process.communicate("")
    assert enter(folder) == []
    assert names(tmp_path) == []


def test_a_killed_process_blocks_nobody(tmp_path):
    with another_process_in(tmp_path) as process:
        process.kill()
    assert names(tmp_path) == [RUN_LOCK]
    assert enter(tmp_path) == []
    assert names(tmp_path) == []


def test_a_lock_leaves_no_folder_but_what_was_written_or_was_there(tmp_path):
    (tmp_path / "earlier").mkdir()
    enter(tmp_path / "earlier")
    enter(tmp_path / "a" / "b")
    with run_lock(tmp_path / "c" / "d", print):
        (tmp_path / "c" / "file").touch()
    assert names(tmp_path) == ["c", "earlier"]
    assert names(tmp_path / "c") == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gets_a_note_and_the_run_goes_on(code, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        (note,) = enter(tmp_path)
        assert note.startswith(f"note: {tmp_path} cannot be locked ({os.strerror(code)}); see to it")
