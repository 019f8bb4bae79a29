"""Checksummed arrays on disk, built once under a lock: one safetensors file an entry."""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import safe_open

from fer_lightning.errors import InputError
from fer_lightning.files import atomic_file

CACHE_VERSION = 3  # of the file format and of what the readers make of a source; each version has files of its own
SEGMENT = 16 << 20  # bytes under one CRC-32, which zlib computes at 3 GB/s, in threads; SHA-256 takes twice as long
_DTYPES = {"uint8": "U8", "int32": "I32", "float32": "F32"}  # as a safetensors file names them

Arrays = dict[str, np.ndarray]

log = logging.getLogger(__name__)


def cache_root(cache_dir: str | Path | None) -> Path:
    """The folder of all caches: `cache_dir`, or `$XDG_CACHE_HOME/fer_lightning`, or `~/.cache/fer_lightning`."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fer_lightning"


def cached_arrays(place: Path, fingerprint: str, build: Callable[[], Arrays]) -> Arrays:
    """The verified arrays of a source of this fingerprint, by name, memory-mapped and read-only.

    place: the path of the entry, to which version and suffix are added. build: returns the arrays (uint8, int32 or
    float32); it is called when the entry is missing, damaged, or of another fingerprint, by one process at a time while
    the others wait. A new entry replaces an old one by a rename, so that a killed process leaves the old or the new
    one. Raises InputError, which names data.cache_dir, when the entry cannot be written; an OSError of `build` counts
    as that, its other errors pass through.
    """
    file = place.with_name(f"{place.name}.v{CACHE_VERSION}.safetensors")
    with suppress(OSError, _UnusableError):
        return _read(file, fingerprint)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _lock(file):
            try:
                return _read(file, fingerprint)  # built by another process in the meantime
            except FileNotFoundError:
                pass
            except _UnusableError as reason:
                log.warning("%s: %s; the cache is built anew", file, reason)
            _write(file, fingerprint, build())
            return _read(file, fingerprint)
    except OSError as error:
        raise InputError(
            f"{place}: the cache cannot be written: {error.strerror or error}. "
            "Valid: data.cache_dir=<a folder with room that this user may write>"
        ) from error
    except _UnusableError as error:
        raise InputError(
            f"{place}: the cache does not read back as written ({error}). Is the disk sound? data.cache_dir moves it"
        ) from error


class _UnusableError(Exception):
    """The entry is damaged, or of another source or version."""


def _write(file: Path, fingerprint: str, arrays: Arrays) -> None:
    """Write a safetensors file atomically. (`safetensors.save_file` neither flushes it to disk nor raises OSError.)"""
    metadata = {"version": str(CACHE_VERSION), "fingerprint": fingerprint, "checksum": _checksum(fingerprint, arrays)}
    header: dict[str, Any] = {"__metadata__": metadata}
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)  # so that each is aligned
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_file(file) as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            out.write(np.ascontiguousarray(array).data)


def _read(file: Path, fingerprint: str) -> Arrays:
    """The verified arrays of a file. Raises OSError where it cannot be opened, and _UnusableError."""
    try:
        with safe_open(file, "pt") as content:
            metadata = content.metadata()
            arrays = {name: content.get_tensor(name).numpy() for name in content.keys()}  # noqa: SIM118 (no mapping)
        version, source, checksum = (metadata[key] for key in ("version", "fingerprint", "checksum"))
        damaged = checksum != _checksum(source, arrays)
    except OSError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise _UnusableError(f"damaged ({error})") from error
    if damaged or version != str(CACHE_VERSION):
        raise _UnusableError("damaged (its checksum is another)" if damaged else f"of version {version}")
    if source != fingerprint:
        raise _UnusableError("the source has changed")
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _checksum(fingerprint: str, arrays: Arrays) -> str:
    """A checksum of the fingerprint and of the name, type, shape and bytes of each array, computed in threads."""
    digest = hashlib.sha256(fingerprint.encode())
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        for name, array in sorted(arrays.items()):
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            segments = [data[start : start + SEGMENT] for start in range(0, len(data), SEGMENT)]
            checksums = list(threads.map(zlib.crc32, segments))
            digest.update(f"\n{name} {array.dtype.str} {array.shape} {checksums}".encode())
    return digest.hexdigest()


def _lock(file: Path) -> AbstractContextManager[object]:
    """Acquire the lock of an entry; the kernel releases the lock of a killed process."""
    lock = FileLock(f"{file}.lock")
    try:
        return lock.acquire(timeout=1)
    except Timeout:
        log.info("%s: waiting for another process that fills the cache", file)
        return lock.acquire()
