"""The members of a zip, read in place and in bounded memory."""

import io
import stat
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from fer_lightning.data.bounds import Budget, damage_named, is_junk, member_name
from fer_lightning.errors import InputError

DIRECTORY_BYTES = 16 << 20
"""Largest central directory that is read: FER2013's is 3 MB; each of its entries becomes an object of 0.6 KB."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
"""Compressions that unpack in bounded memory."""


class _Capped:
    """A seekable file whose single reads are bounded: `zipfile` reads as much directory as the file tells it to."""

    def __init__(self, file: BinaryIO):
        self._file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size if 0 <= size <= DIRECTORY_BYTES else DIRECTORY_BYTES + 1)
        if len(data) > DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"a directory of more than {DIRECTORY_BYTES:,} bytes")
        return data


def zip_members(file: BinaryIO, where: str, budget: Budget, last: tuple[str, ...]) -> Iterator[tuple[str, BinaryIO]]:
    """Name and unpacked stream of each file in a zip; those whose names end in one of `last` come last.

    The whole directory is checked first: links, devices, names that lead out of the archive, names that stand twice,
    passwords, and sizes beyond the bounds raise InputError before anything is unpacked.
    """
    with damage_named(where):
        archive = zipfile.ZipFile(cast(BinaryIO, _Capped(file)))
    with archive:
        members = _checked(archive, where, budget)
        for name in sorted(members, key=lambda name: name.lower().endswith(last)):
            with damage_named(f"{where}, {name}"):
                stream = archive.open(members[name])
            with stream:
                yield name, cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16))


def _checked(archive: zipfile.ZipFile, where: str, budget: Budget) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name, mode = member_name(info.filename, where), info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f"{where}, {name}: a link or device; only plain files are read from an archive")
        if info.filename.endswith("/") or is_junk(name):
            continue
        if info.flag_bits & 0x1:
            raise InputError(f"{where}, {name}: locked with a password; unpack it, and give the folder as data.path")
        if info.compress_type not in METHODS:
            raise InputError(
                f"{where}, {name}: compressed by method {info.compress_type}, which is not read; unpack it"
            )
        if not name or name in members:
            raise InputError(f"{where}, {name}: stands twice in the archive, or has no name")
        budget.file(f"{where}, {name}", info.file_size)
        budget.unpacked(f"{where}, {name}", info.file_size, info.file_size, info.compress_size)
        members[name] = info
    return members
