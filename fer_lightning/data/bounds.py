"""How much a source of faces may ask for. FER2013 has at most 0.3 GB, 35,887 rows; what is far larger is not it."""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fer_lightning.errors import InputError

MAX_FILES = 100_000
"""Files in a folder, members in an archive, rows in a csv."""

MAX_FILE_BYTES = 1 << 30
"""Size of one member of an archive, unpacked."""

MAX_TOTAL_BYTES = 4 << 30
"""Size of everything in an archive, unpacked, archives inside it included."""

MAX_RATIO = 200
"""Unpacked bytes for each packed one, once more than FREE_BYTES are unpacked. JPEGs have 1.2, pixels as csv 3."""

FREE_BYTES = 64 << 20

MAX_IMAGE_BYTES = 32 << 20
"""Size of an image file."""

MAX_IMAGE_PIXELS = 16 << 20
"""Width times height of an image, before it is scaled to 48x48."""

_JUNK = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini"))

DAMAGE = (
    EOFError, ValueError, OverflowError, IndexError, KeyError, NotImplementedError, RuntimeError,
    struct.error, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip
"""What the standard library raises, besides OSError, on bytes that are not what they claim to be."""


@contextmanager
def damage_named(where: str) -> Iterator[None]:
    """Turn whatever damaged bytes raise into an InputError that begins with `where`."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{where}: permission denied; may this user read it?") from error
    except OSError as error:
        how = f"cannot be read: {error.strerror}" if error.strerror else f"damaged or cut off: {error}"
        raise InputError(f"{where}: {how}") from error
    except DAMAGE as error:
        raise InputError(f"{where}: damaged or cut off: {error or type(error).__name__}") from error


@dataclass
class Budget:
    """What has been asked for so far, over an archive and the archives inside it."""

    files: int = 0
    total_bytes: int = 0

    def file(self, where: str, size: int = 0) -> None:
        """Count a file of `size` bytes; raise InputError when it, or their number, is too large."""
        self.files += 1
        if self.files > MAX_FILES:
            raise InputError(f"{where}: more than {MAX_FILES:,} files. FER2013 has 35,887: is the path the right one?")
        if not 0 <= size <= MAX_FILE_BYTES:
            raise InputError(f"{where}: a member of {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")

    def unpacked(self, where: str, new: int, unpacked: int, packed: int) -> None:
        """Count `new` unpacked bytes; `unpacked` and `packed` are sums, of which the ratio is bounded."""
        self.total_bytes += new
        if self.total_bytes > MAX_TOTAL_BYTES:
            raise InputError(f"{where}: unpacks to more than {MAX_TOTAL_BYTES:,} bytes; it is not FER2013")
        if unpacked > FREE_BYTES and unpacked > MAX_RATIO * packed:
            raise InputError(f"{where}: unpacks to more than {MAX_RATIO} times its size: an archive bomb?")


def member_name(name: str, where: str) -> str:
    """The name of an archive's member, checked to stay inside the archive: no `..`, no root, no drive, no backslash."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\\" in name or name[1:2] == ":" or not name.isprintable():
        raise InputError(f"{where}: a member's name leads out of the archive, or cannot be shown: {name[:200]!r}")
    return "/".join(parts)


def is_junk(name: str) -> bool:
    """Whether a file is none of the data set's, but what an operating system or a tool leaves in folders."""
    return name.startswith(".") or "/." in name or not _JUNK.isdisjoint(name.split("/"))
