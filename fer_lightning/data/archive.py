"""The files of a folder, zip, tar or packed file as one sequence, read in place: nothing is unpacked to disk."""

import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from fer_lightning.data.bounds import Budget, damage_named, is_junk
from fer_lightning.data.packed import DECODERS, Unpacked
from fer_lightning.data.tar_archive import tar_members
from fer_lightning.data.zip_archive import zip_members
from fer_lightning.errors import InputError, near_misses

HEAD_BYTES = 4096
"""How much of a file is looked at to tell what it is."""

MAX_NESTED_ZIP = 256 << 20
"""Size of a zip inside an archive; it is held in memory, as a zip is read from its end."""

DEPTH = 4
"""Layers of packing: a tar.gz has two (a tar in a gzip), the competition's zip, which holds a tar.gz, has three."""

_MAGIC = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz",
    b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP",
    b"7z\xbc\xaf\x27\x1c": "7z archive", b"Rar!": "rar archive", b"version https://git-lfs": "Git LFS pointer",
    b"\xff\xfe": "UTF-16 text", b"\xfe\xff": "UTF-16 text", b"<!DOCTYPE": "web page", b"<!doctype": "web page",
    b"<html": "web page", b"\x93NUMPY": "numpy array", b"PAR1": "parquet table", b"\x89HDF": "HDF5 file",
}  # fmt: skip

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2")
"""Read after all other members: a hint about the order only, what a file is its bytes tell."""


@dataclass(frozen=True)
class Member:
    """One file of a source: its name within the source, its first bytes, what they are, and a stream from its start."""

    where: str
    name: str
    head: bytes
    form: str
    stream: BinaryIO

    def read(self, limit: int) -> bytes:
        """The whole file, or its first `limit` bytes; InputError when it is damaged."""
        with damage_named(self.where):
            data = self.stream.read(1 << 16)  # asking for `limit` at once would allocate it for every small image
            return data if len(data) < 1 << 16 else data + self.stream.read(limit - len(data))


def form_of(head: bytes) -> str:
    """What a file is by its first bytes: "zip", "gzip", "xz", "bzip2", "tar", "JPEG", "PNG", "text", "data", ..."""
    if not head:
        return "empty file"
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return "JPEG" if head[0] == 0xFF else "PNG"
    if head[257:262] == b"ustar":
        return "tar"
    known = next((form for magic, form in _MAGIC.items() if head.startswith(magic)), None)
    return known or ("data" if b"\0" in head else "text")


def existing(path: str | Path) -> Path:
    """The path of a folder or plain file; raises InputError, with near misses, where there is none."""
    path = Path(path).expanduser()
    with damage_named(str(path)):
        if path.is_dir() or path.is_file():
            return path
        if path.exists():
            raise InputError(f"{path}: neither a folder nor a plain file")
        folder = next(parent for parent in path.absolute().parents if parent.is_dir())
        missing = path.absolute().relative_to(folder).parts[0]
        hint = near_misses(missing, os.listdir(folder))
    raise InputError(f"{path}: there is no {missing} in {folder}.{hint}")


def files_in(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Name within the folder and status of every plain file below it, sorted by name; links are followed.

    Archives come last. Raises InputError on a broken link, a folder that may not be read, or too many files.
    """
    files: list[tuple[str, os.stat_result]] = []
    budget, waiting, seen = Budget(), [""], set()
    while waiting:
        prefix = waiting.pop()
        current = folder / prefix
        with damage_named(str(current)):
            status = current.stat()
            entries = [] if (status.st_dev, status.st_ino) in seen else list(os.scandir(current))
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            name = prefix + entry.name
            if is_junk(name):
                continue
            budget.file(str(folder))
            with damage_named(entry.path):
                status = entry.stat()
            if stat.S_ISDIR(status.st_mode):
                waiting.append(f"{name}/")
            elif stat.S_ISREG(status.st_mode):
                files.append((name, status))
    return sorted(files, key=lambda file: (file[0].lower().endswith(_ARCHIVE_SUFFIXES), file[0]))


def members(path: Path) -> Iterator[Member]:
    """Every file of a folder, an archive or archives within it; a plain file is its own only member.

    A member's stream is good until the next member is asked for. Raises InputError on what is damaged, locked, too
    large, or plays tricks (names that lead out, links, devices).
    """
    budget = Budget()
    names = [""] if path.is_file() else [name for name, _ in files_in(path)]
    for name in names:
        file = path / name
        with damage_named(str(file)):
            stream = file.open("rb", buffering=1 << 16)
        with stream:
            yield from _members(stream, str(file), name, budget, 1)


def _members(stream: BinaryIO, where: str, name: str, budget: Budget, depth: int) -> Iterator[Member]:
    """The file itself, or the members inside it where it is an archive. The source itself has no name."""
    with damage_named(where):
        head = cast(io.BufferedReader, stream).peek(HEAD_BYTES)[:HEAD_BYTES]
    form = form_of(head)
    if form not in (*DECODERS, "zip", "tar"):
        yield Member(where, name or Path(where).name, head, form, stream)
    elif depth > DEPTH:
        raise InputError(f"{where}: archives within archives, more than {DEPTH} deep; unpack it first")
    elif form in DECODERS:
        unpacked = cast(BinaryIO, io.BufferedReader(Unpacked(stream, form, where, budget), 1 << 16))
        yield from _members(unpacked, where, name, budget, depth + 1)
    else:
        prefix = f"{name}/" if name else ""
        for inner_name, inner in _unarchived(stream, form, where, budget):
            yield from _members(inner, f"{where}, {inner_name}", prefix + inner_name, budget, depth + 1)


def _unarchived(stream: BinaryIO, form: str, where: str, budget: Budget) -> Iterator[tuple[str, BinaryIO]]:
    if form == "tar":
        return tar_members(stream, where, budget)
    seekable = stream if isinstance(getattr(stream, "raw", None), io.FileIO) else _in_memory(stream, where)
    return zip_members(seekable, where, budget, _ARCHIVE_SUFFIXES)


def _in_memory(stream: BinaryIO, where: str) -> BinaryIO:
    with damage_named(where):
        data = stream.read(MAX_NESTED_ZIP + 1)
    if len(data) > MAX_NESTED_ZIP:
        raise InputError(f"{where}: a zip of more than {MAX_NESTED_ZIP:,} bytes inside an archive; unpack it first")
    return cast(BinaryIO, io.BytesIO(data))
