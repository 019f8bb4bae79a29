"""The manifest of cached arrays: whose they are, where they are, and the checksums by which damage is seen.

store/manifest.json     fingerprint; folder; layout and checksums of each array
store/arrays-<random>/  <name>.npy
"""

import contextlib
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SEGMENT = 16 << 20
"""Bytes under one checksum. zlib's crc32 reads 3 GB/s where sha256 reads 1.4, and it is damage that is sought here."""

log = logging.getLogger(__name__)


def commit_manifest(folder: Path, fingerprint: str) -> None:
    """Make the arrays in `folder` those of its parent, in one step, once every byte of them is on the disk."""
    files = sorted(folder.glob("*.npy"))
    arrays = [np.load(file, mmap_mode="r") for file in files]
    descriptions = dict(zip((file.stem for file in files), _descriptions(arrays), strict=True))
    for path in (*files, folder):
        _to_disk(path)
    draft = folder.parent / "manifest.new"
    draft.write_text(json.dumps({"fingerprint": fingerprint, "folder": folder.name, "arrays": descriptions}, indent=1))
    _to_disk(draft)
    os.replace(draft, folder.parent / "manifest.json")
    _to_disk(folder.parent)


def open_manifest(store: Path, fingerprint: str, level: int) -> dict[str, np.ndarray] | None:
    """The verified arrays of `store`, memory-mapped read-only.

    None when there are none, when they are of another source, or when a byte is damaged; it is logged at `level`.
    """
    try:
        text = (store / "manifest.json").read_bytes()
    except OSError:
        return None
    try:
        manifest = json.loads(text)
        if manifest["fingerprint"] != fingerprint:
            log.log(min(level, logging.INFO), "%s: the source has changed; the cache is built anew", store)
            return None
        folder = store / Path(manifest["folder"]).name
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in manifest["arrays"]}
        for (name, kept), found in zip(manifest["arrays"].items(), _descriptions(arrays.values()), strict=True):
            if kept != found:
                raise ValueError(f"{name}.npy is not what was written")
        return arrays
    except Exception as damage:  # bytes on a disk can be anything, and so can what parsing them raises
        log.log(level, "%s: the cache is damaged and built anew (%s)", store, damage)
        return None


def folder_in_use(store: Path) -> str:
    """Name of the folder that the manifest of `store` points to, or an empty string."""
    try:
        return str(json.loads((store / "manifest.json").read_bytes())["folder"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _descriptions(arrays: Iterable[np.ndarray]) -> Iterator[dict[str, Any]]:
    """Layout and checksums of each array; the checksums are computed in threads."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        pending = []
        for array in arrays:
            data = array.ravel(order="K").view(np.uint8)
            segments = [data[start : start + SEGMENT] for start in range(0, len(data), SEGMENT)]
            pending.append((array, [threads.submit(zlib.crc32, segment.data) for segment in segments]))
        for array, sums in pending:
            layout = {"shape": list(array.shape), "strides": list(array.strides), "dtype": array.dtype.str}
            yield layout | {"crc32": [one.result() for one in sums]}


def _to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk; some file systems cannot tell it of a folder."""
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
