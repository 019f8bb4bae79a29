"""The files of a folder or archive as one sequence of members, read in place: nothing is unpacked to disk."""

import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from fer_lightning.data.decompression import CHUNK, DECODERS, DecompressedStream, TarHeader
from fer_lightning.errors import InputError, near_misses

MAX_FILES = 100_000  # in a folder or an archive, or rows of a csv; FER2013 has 35,887
MAX_BYTES = 4 << 30  # unpacked, archives inside archives included; FER2013's csv has 0.3 GB
MAX_RATIO = 200  # of unpacked bytes to bytes on disk, above FREE_BYTES; FER2013 as images has 1.2, as a csv 3
FREE_BYTES = 64 << 20
MAX_LAYERS = 3  # of archives and compression; the competition's zip, which holds a tar.gz, has three
MAX_NESTED_ZIP = 256 << 20  # bytes of a zip inside an archive: it is held in memory, since it is read from its end
DIRECTORY_BYTES = 16 << 20  # of a zip's directory; FER2013's has 3 MB, and each entry becomes an object of 0.6 KB
HEAD_BYTES = 4096  # by which the form of a file is recognised
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # unpacked in bounded memory

_FORMS = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP",
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z archive", b"Rar!": "rar archive", b"version https://git-lfs": "Git LFS pointer",
    b"\xff\xfe": "UTF-16 text", b"\xfe\xff": "UTF-16 text", b"<!DOCTYPE": "web page", b"<!doctype": "web page",
    b"<html": "web page", b"\x93NUMPY": "numpy array", b"PAR1": "parquet table", b"\x89HDF": "HDF5 file",
}  # fmt: skip
_READ_LAST = (".zip", ".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2")
_LEFT_BY_SYSTEMS = {
    "__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information", "lost+found",
    "@eadir", "@tmp", "#recycle", "@recycle", "__pycache__", "thumbs", "thumbnails", "_thumbs", "_thumbnails",
}  # fmt: skip
"""Files and folders, in lower case, that operating systems, network disks and viewers of pictures leave."""
_DAMAGE = (
    EOFError, ValueError, OverflowError, IndexError, KeyError, NotImplementedError, RuntimeError,
    struct.error, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip
"""Exceptions of the standard library for damaged files, besides OSError."""


@dataclass(frozen=True)
class Member:
    """One file of a source: where it is, its name within the source, its first bytes, their form, and its stream."""

    where: str
    name: str
    head: bytes
    form: str
    stream: BinaryIO

    def read(self, limit: int) -> bytes:
        """The whole file, or its first `limit` bytes. Raises InputError when it is damaged."""
        with report_damage(self.where):
            data = self.stream.read(CHUNK)  # `read(limit)` would allocate `limit` bytes for every small image
            return data if len(data) < CHUNK else data + self.stream.read(limit - len(data))


def members(path: Path, leave_out: Callable[[str], object] = lambda _: None) -> Iterator[Member]:
    """Every file of a folder or archive, and of archives inside it; a plain file is its own only member.

    Hidden files and folders, and those that systems leave, are not read; leave_out: is called with the name of each.
    A member's stream is valid until the next member is requested. Raises InputError on what is damaged, encrypted or
    too large, on links and devices in archives, and on names that lead out of an archive.
    """
    budget = _Budget(leave_out)
    for name in [""] if path.is_file() else [name for name, _ in files_in(path, leave_out)]:
        file = path / name
        with report_damage(str(file)):
            stream = file.open("rb", buffering=CHUNK)
        with stream:
            budget.start_file(os.fstat(stream.fileno()).st_size)
            yield from _members(stream, str(file), name.replace("\\", "/"), budget, 1)  # as of a zip of Windows


def form_of(head: bytes) -> str:
    """The form of a file by its first bytes: "zip", "gzip", "xz", "bzip2", "tar", "JPEG", "PNG", "text", "data", ..."""
    if not head:
        return "empty file"
    if head[257:262] == b"ustar":
        return "tar"
    return next((form for magic, form in _FORMS.items() if head.startswith(magic)), "data" if b"\0" in head else "text")


def existing_path(path: str | Path) -> Path:
    """The path of a folder or plain file. Raises InputError, with near misses, where there is none."""
    path = Path(path).expanduser()
    with report_damage(str(path)):
        if path.is_dir() or path.is_file():
            return path
        if path.exists():
            raise InputError(f"{path}: neither a folder nor a plain file")
        folder = next(parent for parent in path.absolute().parents if parent.is_dir())
        missing = path.absolute().relative_to(folder).parts[0]
        hint = near_misses(missing, os.listdir(folder))
    raise InputError(f"{path}: there is no {missing} in {folder}.{hint}")


def files_in(folder: Path, leave_out: Callable[[str], object] | None = None) -> list[tuple[str, os.stat_result]]:
    """Name within `folder` and status of every plain file below it, sorted by name, archives last; links are followed.

    leave_out: is called with the name of each file that is hidden or left by a system. Raises InputError on a broken
    link, a folder that may not be read, or too many files.
    """
    files: list[tuple[str, os.stat_result]] = []
    budget, visited = _Budget(), set()

    def refuse(error: OSError) -> None:
        with report_damage(str(error.filename)):
            raise error

    for current, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        prefix, status = os.path.relpath(current, folder), os.stat(current)
        new = (status.st_dev, status.st_ino) not in visited  # a link may lead back
        visited.add((status.st_dev, status.st_ino))
        if leave_out and new:
            for name in filter(_is_junk, folders):
                for hidden in islice(_files_below(os.path.join(current, name)), MAX_FILES):
                    leave_out(os.path.relpath(hidden, folder).replace(os.sep, "/"))
        folders[:] = [name for name in folders if new and not _is_junk(name)]
        for name in names if new else ():
            if _is_junk(name):
                if leave_out:
                    leave_out(name if prefix == "." else f"{prefix}/{name}")
                continue
            budget.add_file(str(folder))
            with report_damage(os.path.join(current, name)):
                status = os.stat(os.path.join(current, name))
            if stat.S_ISREG(status.st_mode):
                files.append((name if prefix == "." else f"{prefix}/{name}", status))
    return sorted(files, key=lambda file: (file[0].lower().endswith(_READ_LAST), file[0]))


def _files_below(folder: str) -> Iterator[str]:
    """Every file below a folder, as far as this user may look."""
    return (os.path.join(current, name) for current, _, names in os.walk(folder) for name in names)


def hidden_part(folder: str) -> str:
    """The path of a member's folder up to the first part that is hidden or left by a system, or nothing."""
    parts = folder.split("/")
    return next(("/".join(parts[: place + 1]) for place, part in enumerate(parts) if _is_junk(part)), "")


@contextmanager
def report_damage(where: str) -> Iterator[None]:
    """Turn the exceptions that damaged or unreadable files cause into an InputError that begins with `where`."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{where}: permission denied; may this user read it?") from error
    except (OSError, *_DAMAGE) as error:
        reason = getattr(error, "strerror", None)
        how = f"cannot be read: {reason}" if reason else f"damaged or cut off: {str(error) or type(error).__name__}"
        raise InputError(f"{where}: {how}") from error


class _Budget:
    """Counts the files and unpacked bytes of a source, and raises InputError when there are too many."""

    files = unpacked = limit = 0

    def __init__(self, leave_out: Callable[[str], object] = lambda _: None):
        self.leave_out = leave_out

    def start_file(self, size: int) -> None:
        """Set the limit of unpacked bytes for the next file on disk, of `size` bytes."""
        self.limit = min(MAX_BYTES, self.unpacked + max(FREE_BYTES, MAX_RATIO * size))

    def add_file(self, where: str) -> None:
        self.files += 1
        if self.files > MAX_FILES:
            raise InputError(f"{where}: more than {MAX_FILES:,} files. FER2013 has 35,887: is the path the right one?")

    def add_unpacked(self, where: str, size: int) -> None:
        self.unpacked += size
        if self.unpacked > self.limit:
            most = f"at most {MAX_BYTES:,} bytes, and {MAX_RATIO} times the size on disk, are read: an archive bomb?"
            raise InputError(f"{where}: unpacks to more than {self.limit:,} bytes; {most}")


def _members(stream: BinaryIO, where: str, name: str, budget: _Budget, layer: int) -> Iterator[Member]:
    """The file itself, or the members inside it where it is an archive. The source itself has no name."""
    with report_damage(where):
        head = cast(io.BufferedReader, stream).peek(HEAD_BYTES)[:HEAD_BYTES]
    form = form_of(head)
    if form not in (*DECODERS, "zip", "tar"):
        yield Member(where, name or Path(where).name, head, form, stream)
    elif layer > MAX_LAYERS:
        raise InputError(f"{where}: archives within archives, more than {MAX_LAYERS} deep; unpack it first")
    elif form in DECODERS:
        unpacked = DecompressedStream(stream, form, partial(budget.add_unpacked, where))
        yield from _members(io.BufferedReader(unpacked, CHUNK), where, name, budget, layer + 1)
    else:
        inside = _zip_members(stream, where, budget) if form == "zip" else _tar_members(stream, where, budget)
        for inner_name, inner in inside:
            yield from _members(inner, f"{where}, {inner_name}", f"{name}/{inner_name}".lstrip("/"), budget, layer + 1)


def _zip_members(stream: BinaryIO, where: str, budget: _Budget) -> Iterator[tuple[str, BinaryIO]]:
    """Name and unpacked stream of each file of a zip. The whole directory is checked before anything is unpacked."""
    if not isinstance(getattr(stream, "raw", None), io.FileIO):
        with report_damage(where):
            data = stream.read(MAX_NESTED_ZIP + 1)
        if len(data) > MAX_NESTED_ZIP:
            raise InputError(f"{where}: a zip of more than {MAX_NESTED_ZIP:,} bytes inside an archive; unpack it first")
        stream = io.BytesIO(data)
    with report_damage(where):
        archive = zipfile.ZipFile(cast(BinaryIO, _BoundedReads(stream)))
    with archive:
        accepted: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
            name = _accepted_name(info.filename, where, info.filename.endswith(("/", "\\")), plain, accepted, budget)
            if name is None:
                continue
            if info.flag_bits & 0x1:
                how = "locked with a password; unpack it, and give the folder as data.path"
                raise InputError(f"{where}, {name}: {how}")
            if info.compress_type not in ZIP_METHODS:
                how = f"compressed by method {info.compress_type}, which is not read; unpack it first"
                raise InputError(f"{where}, {name}: {how}")
            budget.add_file(where)
            budget.add_unpacked(f"{where}, {name}", info.file_size)
            accepted[name] = info
        for name in sorted(accepted, key=lambda name: name.lower().endswith(_READ_LAST)):
            with report_damage(f"{where}, {name}"):
                unpacked = archive.open(accepted[name])
            with unpacked:
                yield name, io.BufferedReader(cast(io.RawIOBase, unpacked), CHUNK)


class _BoundedReads:
    """A file whose single reads are bounded: `zipfile` reads a directory as large as the file says."""

    def __init__(self, file: BinaryIO):
        self._file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size if 0 <= size <= DIRECTORY_BYTES else DIRECTORY_BYTES + 1)
        if len(data) > DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"a directory of more than {DIRECTORY_BYTES:,} bytes")
        return data


def _tar_members(stream: BinaryIO, where: str, budget: _Budget) -> Iterator[tuple[str, BinaryIO]]:
    """Name and stream of each file of a tar, read once from front to end, so that checksums around it are verified."""
    accepted: set[str] = set()
    with report_damage(where):
        archive = tarfile.open(fileobj=stream, mode="r|", tarinfo=TarHeader)  # noqa: SIM115 (it holds only `stream`)
    while True:
        with report_damage(where):
            vars(archive)["members"] = []  # tarfile would keep every header that has passed
            info = archive.next()
        if info is None:
            break
        budget.add_file(where)
        name = _accepted_name(info.name, where, info.isdir(), info.isreg() and not info.issparse(), accepted, budget)
        if name is not None:
            accepted.add(name)
            yield name, cast(BinaryIO, archive.extractfile(info))
    with report_damage(where):
        while stream.read(CHUNK):
            pass


def _accepted_name(
    path: str, where: str, folder: bool, plain: bool, accepted: Container[str], budget: _Budget
) -> str | None:
    """The checked name of an archive's member, or None where it is not read. plain: no link and no device.

    Backslashes part folders, as in zips of Windows PowerShell 5 (cpython issue 91036).
    """
    path = path.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or path[1:2] == ":" or not path.isprintable():
        raise InputError(f"{where}: a member's name leads out of the archive, or cannot be shown: {path[:200]!r}")
    name = "/".join(parts)
    if not folder and not plain:
        raise InputError(f"{where}, {name}: a link, device or sparse file; only plain files are read from an archive")
    if folder:
        return None
    if any(_is_junk(part) for part in parts):
        budget.leave_out(name)
        return None
    if not name or name in accepted:
        raise InputError(f"{where}, {name}: stands twice in the archive, or has no name")
    return name


def _is_junk(name: str) -> bool:
    """Whether an operating system or a tool left a file or folder of this name."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS
