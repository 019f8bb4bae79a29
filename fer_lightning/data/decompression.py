"""Compressed streams, and the limits on what a source of faces may unpack to."""

import bz2
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from fer_lightning.errors import InputError

MAX_FILES = 100_000  # in a folder or an archive, or rows of a csv; FER2013 has 35,887
MAX_TOTAL_BYTES = 4 << 30  # unpacked bytes, archives inside archives included; FER2013's csv has 0.3 GB
MAX_RATIO = 200  # of unpacked bytes to bytes on disk, above FREE_BYTES; FER2013 as images has 1.2, as a csv 3
FREE_BYTES = 64 << 20
XZ_MEMORY = 128 << 20  # for the dictionary: `xz -9` needs 65 MiB, and a file can ask for 4 GiB
CHUNK = 1 << 16

DECODERS = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}

_DAMAGE = (
    EOFError, ValueError, OverflowError, IndexError, KeyError, NotImplementedError, RuntimeError,
    struct.error, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip
"""Exceptions of the standard library for damaged files, besides OSError."""


@contextmanager
def report_damage(where: str) -> Iterator[None]:
    """Turn the exceptions that damaged or unreadable files cause into an InputError that begins with `where`."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{where}: permission denied; may this user read it?") from error
    except OSError as error:
        how = f"cannot be read: {error.strerror}" if error.strerror else f"damaged or cut off: {error}"
        raise InputError(f"{where}: {how}") from error
    except _DAMAGE as error:
        raise InputError(f"{where}: damaged or cut off: {error or type(error).__name__}") from error


@dataclass
class Budget:
    """Counts the files and unpacked bytes of a source, and raises InputError when there are too many."""

    files: int = 0
    unpacked: int = 0
    limit: int = FREE_BYTES

    def start_file(self, size: int) -> None:
        """Set the limit of unpacked bytes for the next file on disk, of `size` bytes."""
        self.limit = min(MAX_TOTAL_BYTES, self.unpacked + max(FREE_BYTES, MAX_RATIO * size))

    def add_file(self, where: str) -> None:
        """Count a file of a folder, or a member of an archive."""
        self.files += 1
        if self.files > MAX_FILES:
            raise InputError(f"{where}: more than {MAX_FILES:,} files. FER2013 has 35,887: is the path the right one?")

    def add_unpacked(self, where: str, size: int) -> None:
        """Count unpacked bytes."""
        self.unpacked += size
        if self.unpacked > self.limit:
            most = f"{MAX_TOTAL_BYTES:,} bytes and {MAX_RATIO} times the size on disk"
            raise InputError(
                f"{where}: unpacks to more than {self.limit:,} bytes; {most} are allowed: an archive bomb?"
            )


class DecompressedStream(io.RawIOBase):
    """The unpacked bytes of a gzip, bzip2 or xz file, counted in `budget`; concatenated streams are read as one.

    form: a key of DECODERS. Reading raises EOFError when the file is cut off, zlib.error, lzma.LZMAError or OSError
    when it is damaged, and InputError when it unpacks to more than the budget allows.
    """

    def __init__(self, packed: BinaryIO, form: str, where: str, budget: Budget):
        self._packed, self._new_decoder, self._where, self._budget = packed, DECODERS[form], where, budget
        self._decoder: Any = self._new_decoder()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the stream reaches; 0 at its end."""
        filled = 0
        while filled < len(buffer) and (data := self._next_input()) is not None:
            unpacked = self._decoder.decompress(data, len(buffer) - filled)
            buffer[filled : filled + len(unpacked)] = unpacked
            filled += len(unpacked)
        self._budget.add_unpacked(self._where, filled)
        return filled

    def _next_input(self) -> bytes | None:
        """Packed bytes for the decoder, or b"" while it holds unpacked ones; None at the end of the last stream."""
        if self._decoder.eof:
            following = self._decoder.unused_data.lstrip(b"\0")  # xz and gzip streams may be padded with zeros
            while not following:
                if not (chunk := self._packed.read(CHUNK)):
                    return None
                following = chunk.lstrip(b"\0")
            self._decoder = self._new_decoder()
            return following
        if tail := getattr(self._decoder, "unconsumed_tail", b""):  # of zlib
            return tail
        if not getattr(self._decoder, "needs_input", True):  # of bz2 and lzma
            return b""
        if not (chunk := self._packed.read(CHUNK)):
            raise EOFError("the packed stream ends too early")
        return chunk
