"""Arrays kept on disk: built once, by whoever asks first, and never handed out after their source or a byte changed."""

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from fer_lightning.data.manifest import commit_manifest, folder_in_use, open_manifest
from fer_lightning.errors import InputError

CACHE_VERSION = 1
"""Of the layout, and of what the readers make of a source. Another version of the project has a folder of its own."""

_FOLDER = "arrays-"

log = logging.getLogger(__name__)


def cache_root(cache_dir: str | Path | None) -> Path:
    """The folder of all caches: `cache_dir`, or `$XDG_CACHE_HOME/fer_lightning`, or `~/.cache/fer_lightning`."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fer_lightning"


def cached_arrays(place: Path, fingerprint: str, build: Callable[[Path], None]) -> dict[str, np.ndarray]:
    """The arrays kept in `place` for a source of this fingerprint, by name, verified, memory-mapped and read-only.

    build: writes `<name>.npy` files into the empty folder it is given. It is called when `place` holds none, or arrays
    that are damaged or of another fingerprint; by one process at a time, while the others wait. New arrays replace old
    ones in one step: whenever a process is killed, the old or the new ones stand. Raises InputError, which names
    data.cache_dir, when `place` cannot be written; an OSError of `build` counts as that, its other errors pass through.
    """
    store = place / f"v{CACHE_VERSION}"
    if (arrays := open_manifest(store, fingerprint, logging.DEBUG)) is not None:
        return arrays
    try:
        store.mkdir(parents=True, exist_ok=True)
        with _locked(store):
            if (arrays := open_manifest(store, fingerprint, logging.WARNING)) is None:
                _build(store, fingerprint, build)
                arrays = open_manifest(store, fingerprint, logging.ERROR)
    except OSError as error:
        raise InputError(
            f"{place}: the cache cannot be written: {error.strerror or error}. "
            "Valid: data.cache_dir=<a folder with room that this user may write>"
        ) from error
    if arrays is None:
        raise InputError(
            f"{place}: the cache does not read back as written. Is the disk sound? data.cache_dir moves it"
        )
    return arrays


def write_array(file: Path, shape: tuple[int, ...], dtype: Any, parts: Iterable[np.ndarray]) -> None:
    """Write a .npy file from consecutive parts of its array, without holding the whole.

    A full disk raises OSError, where through a writable memory map it would kill the process. ValueError when the parts
    do not add up to `shape`.
    """
    dtype, written = np.dtype(dtype), 0
    with file.open("wb") as out:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        for part in parts:
            written += out.write(np.ascontiguousarray(part, dtype).reshape(-1).view(np.uint8).data)
    if written != np.prod(shape, dtype=np.int64) * dtype.itemsize:
        raise ValueError(f"{file.name}: parts of {written} bytes for an array of shape {shape} and dtype {dtype}")


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Hold the lock of `store`, which the kernel takes from a killed process."""
    lock = FileLock(store / "lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        log.info("%s: waiting for another process that fills the cache", store)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(store: Path, fingerprint: str, build: Callable[[Path], None]) -> None:
    _sweep(store, keep=folder_in_use(store))
    folder = store / f"{_FOLDER}{uuid.uuid4().hex[:12]}"
    folder.mkdir()
    try:
        build(folder)
        commit_manifest(folder, fingerprint)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _sweep(store, keep=folder.name)


def _sweep(store: Path, keep: str) -> None:
    """Remove the folders of killed builders and of replaced arrays. A process that has these mapped keeps them."""
    for folder in store.glob(f"{_FOLDER}*"):
        if folder.name != keep:
            shutil.rmtree(folder, ignore_errors=True)
