"""Atomic writes: the whole file or the earlier one, and nothing beside it."""

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from fer_lightning.errors import InputError
from fer_lightning.files import atomic_file, write_atomic, write_json


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


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(InputError, match=r"none/a: cannot be written \(No such file or directory\)"):
        write_atomic(tmp_path / "none" / "a", "x")
