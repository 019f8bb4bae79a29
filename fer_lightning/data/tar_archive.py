"""The members of a tar, read once from front to back, as a packed tar must be."""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Self, cast

from fer_lightning.data.bounds import Budget, damage_named, is_junk, member_name
from fer_lightning.errors import InputError

HEADER_BYTES = 1 << 20
"""Largest extended header (long names, pax records) that is read."""


class _Header(tarfile.TarInfo):
    """A header that says when it is damaged, missing or too large, where `tarfile` would see the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if bytes(buf) == tarfile.NUL * tarfile.BLOCKSIZE:
            return super().frombuf(buf, encoding, errors)  # raises what means the archive's end
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        plain = header.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if header.size < 0 or (header.size > HEADER_BYTES and not plain):
            raise tarfile.ReadError(f"a header of {header.size:,} bytes; at most {HEADER_BYTES:,} are read")
        return header


def tar_members(stream: BinaryIO, where: str, budget: Budget) -> Iterator[tuple[str, BinaryIO]]:
    """Name and stream of each file in a tar that is already unpacked to `stream`, in the archive's order.

    Links, devices, sparse files, names that lead out of the archive or stand twice, and sizes beyond the bounds raise
    InputError. The stream is read to its very end, so that its checksum is verified.
    """
    names: set[str] = set()
    with damage_named(where):
        archive = tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header)  # noqa: SIM115 (it holds only `stream`)
    while True:
        with damage_named(where):
            vars(archive)["members"] = []  # a stream would else keep every header that has passed
            info = archive.next()
        if info is None:
            break
        name = member_name(info.name, where)
        budget.file(f"{where}, {name}", info.size)
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise InputError(f"{where}, {name}: a link, device or sparse file; archives of plain files are read")
        if is_junk(name):
            continue
        if not name or name in names:
            raise InputError(f"{where}, {name}: stands twice in the archive, or has no name")
        names.add(name)
        yield name, cast(BinaryIO, archive.extractfile(info))
    with damage_named(where):
        while stream.read(1 << 16):
            pass
