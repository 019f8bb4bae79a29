"""Atomic writes: temporary file, fsync, rename."""

import contextlib
import glob
import json
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fer_lightning.errors import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file opened for writing that replaces `path` when the block ends; after an error `path` is as before.

    The temporary name is unique, so that two writers cannot publish half of each other's file. Temporary files of the
    same `path` whose process was killed, on this machine, are removed.
    """
    prefix = f".{path.name}.{platform.node()}."
    for abandoned in path.parent.glob(f"{glob.escape(prefix)}*.partial"):
        with contextlib.suppress(OSError):
            if not _is_running(int(abandoned.name.split(".")[-3])):
                abandoned.unlink()
    temporary = path.with_name(f"{prefix}{os.getpid()}.{uuid.uuid4().hex[:8]}.partial")
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
