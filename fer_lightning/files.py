"""Atomic writes (temporary file, fsync, rename), and the lock on a folder that one process at a time trains in."""

import contextlib
import glob
import json
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fer_lightning.errors import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file opened for writing that replaces `path` when the block ends; after an error `path` is as before."""
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """A name beside `path` for a file or folder that is to replace it.

    It is unique, so that two writers cannot publish half of each other's work. What was written under such a name of
    the same `path`, on this machine, by a process that was killed is removed.
    """
    prefix = f".{path.name}.{platform.node()}."
    for abandoned in path.parent.glob(f"{glob.escape(prefix)}*.partial"):
        with contextlib.suppress(OSError, ValueError):
            if _is_running(int(abandoned.name.split(".")[-3])):
                continue
            if abandoned.is_dir():
                shutil.rmtree(abandoned)
            else:
                abandoned.unlink()
    return path.with_name(f"{prefix}{os.getpid()}.{uuid.uuid4().hex[:8]}.partial")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file atomically. Raises InputError where the disk is full or `path` may not be written."""
    try:
        with atomic_file(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); an earlier file is kept") from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_atomic(path, json.dumps(content, indent=2) + "\n")


RUN_LOCK = "run.lock"
"""The lock of a run folder, there while a process trains. It says which one does, as JSON."""


@contextmanager
def run_lock(folder: Path, note: Callable[[str], object], key: str = "hydra.run.dir") -> Iterator[None]:
    """Keep other processes from training in `folder` until the block ends; makes the folder.

    The kernel releases the lock of a process that is killed. The lock file is removed at the end, and so are folders
    that were made for it and hold nothing else. note: is told where the file system cannot lock. key: the setting that
    names the folder. Raises InputError where another process holds the lock.
    """
    from filelock import FileLock, Timeout

    file = folder / RUN_LOCK
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = FileLock(file, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
        holder = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with contextlib.suppress(OSError):  # a full disk: what follows reports it
            file.write_text(json.dumps(holder))
    except Timeout:
        raise InputError(f"{folder}: {_holder(file)} trains in it. Wait until it ends, or name another {key}") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        note(f"note: {folder} cannot be locked ({reason}); see to it that no other process trains in it.")
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                file.unlink()  # while it is locked: filelock gives nobody the lock of a file that has no name
            lock.release()
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


def _holder(file: Path) -> str:
    """What a run's lock file says of the process that holds it."""
    try:
        holder = json.loads(file.read_text())
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
