"""The photos and videos that a command line names, and the files of their annotated copies. Loads nothing heavy."""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

from fer_lightning.errors import InputError

STDIN = "-"
"""Name of standard input."""

PHOTOS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif")
VIDEOS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv",
          ".ogv", ".3gp")  # fmt: skip
"""File names that are looked for in folders, in lower case."""

_PHOTO_MAGIC = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_VIDEO_MAGIC = (b"\x1aE\xdf\xa3", b"FLV", b"OggS", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"YUV4MPEG2",
                b"0&\xb2u\x8ef\xcf\x11")  # fmt: skip
_PHOTO_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avi", b"jp2", b"jpx", b"crx")
"""First letters of the brands of HEIC, AVIF, JPEG 2000 and raw pictures, which begin like an MP4 video."""

PREFIX = 200
"""Bytes by which photos and videos are told apart."""


def is_video(prefix: bytes, name: str = "") -> bool:
    """Whether a file is a video, by its first bytes, else by its name."""
    if prefix[4:8] == b"ftyp":
        return not prefix[8:12].startswith(_PHOTO_BRANDS)
    if prefix[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip") or prefix.startswith(_VIDEO_MAGIC):
        return True
    if prefix[:4] == b"RIFF":
        return prefix[8:12] == b"AVI "
    if any(len(prefix) > start + 188 and prefix[start] == prefix[start + 188] == 0x47 for start in (0, 4)):
        return True  # packets of an MPEG transport stream
    return not prefix.startswith(_PHOTO_MAGIC) and Path(name).suffix.lower() in VIDEOS


def is_video_file(name: str) -> bool:
    """Whether a file is a video; by its name where it cannot be read."""
    try:
        with open(name, "rb") as file:
            return is_video(file.read(PREFIX), name)
    except OSError:
        return is_video(b"", name)


def media_of(arguments: Sequence[str], without: Path | None = None) -> dict[str, Path]:
    """The photos and videos that the command line names, in order, each once, with its name in a folder of copies.

    A folder gives those in it and below, sorted; those in the folder `without` and hidden ones are left out.
    Raises InputError for a path that does not exist and a folder or pattern without any.
    """
    media: dict[str, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN:
            media.setdefault(STDIN, Path("stdin"))
        elif path.is_dir():
            inside = [file for file in _in_folder(path) if without is None or not _is_below(file, without)]
            if not inside:
                raise InputError(f"{argument}: no photos or videos in this folder ({', '.join(PHOTOS + VIDEOS)})")
            for file in inside:
                media.setdefault(str(file), file.relative_to(path))
        elif path.is_file():
            media.setdefault(argument, Path(path.name))
        elif path.exists():
            raise InputError(f"{argument}: neither a file nor a folder")
        elif matches := sorted(name for name in glob.glob(argument, recursive=True) if Path(name).is_file()):
            for name in matches:
                media.setdefault(name, Path(Path(name).name))
        else:
            kind = "no file matches this pattern" if glob.has_magic(argument) else "no such file or folder"
            raise InputError(f"{argument}: {kind}")
    return media


def _in_folder(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.suffix.lower() in PHOTOS + VIDEOS)
    return sorted(
        file
        for file in files
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _is_below(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def copies_of(media: Mapping[str, Path], videos: set[str], folder: Path) -> dict[str, Path]:
    """A file in `folder` for the annotated copy of each photo or video, no two the same.

    JPEG for a JPEG, MP4 for a video, PNG for others; beside a video's copy there is room for its `timeline_of`.
    Raises InputError where a copy would replace one of the originals.
    """
    copies: dict[str, Path] = {}
    taken: set[Path] = set()
    originals = {Path(name).resolve() for name in media if name != STDIN}
    for name, place in media.items():
        suffix = place.suffix if place.suffix.lower() in (".jpg", ".jpeg") else ".png"
        suffix = ".mp4" if name in videos else suffix
        copy, number = folder / place.with_suffix(suffix), 2
        while taken.intersection(files := _files_of(copy)):
            copy, number = folder / place.with_name(f"{place.stem}-{number}{suffix}"), number + 1
        for file in files:
            if file.resolve() in originals:
                raise InputError(f"--annotate {folder}: {file} would replace one of the originals; name another folder")
        taken.update(files)
        copies[name] = copy
    return copies


def _files_of(copy: Path) -> list[Path]:
    return [copy, timeline_of(copy)] if copy.suffix == ".mp4" else [copy]


def timeline_of(copy: Path) -> Path:
    """The figure of a video's time line, beside its annotated copy."""
    return copy.with_name(f"{copy.stem}-timeline.png")
