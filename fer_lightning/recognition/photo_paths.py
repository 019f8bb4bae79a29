"""The pictures that a command line names, and the files of their annotated copies."""

import glob
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.errors import InputError

STDIN = "-"
"""Name of standard input."""

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif")
"""File names that are looked for in folders, in lower case."""


def pictures_of(arguments: Sequence[str], without: Path | None = None) -> dict[str, Path]:
    """The pictures that the command line names, in order, each once, with its name in a folder of copies.

    A folder gives the pictures in it and below, sorted; those in the folder `without` and hidden ones are left out.
    Raises InputError for a path that does not exist and a folder or pattern without pictures.
    """
    pictures: dict[str, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN:
            pictures.setdefault(STDIN, Path("stdin"))
        elif path.is_dir():
            inside = [file for file in _in_folder(path) if without is None or not _is_below(file, without)]
            if not inside:
                raise InputError(f"{argument}: no pictures in this folder ({', '.join(SUFFIXES)})")
            for file in inside:
                pictures.setdefault(str(file), file.relative_to(path))
        elif path.is_file():
            pictures.setdefault(argument, Path(path.name))
        elif path.exists():
            raise InputError(f"{argument}: neither a file nor a folder")
        elif matches := sorted(name for name in glob.glob(argument, recursive=True) if Path(name).is_file()):
            for name in matches:
                pictures.setdefault(name, Path(Path(name).name))
        else:
            kind = "no file matches this pattern" if glob.has_magic(argument) else "no such file or folder"
            raise InputError(f"{argument}: {kind}")
    return pictures


def _in_folder(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return sorted(
        file
        for file in files
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _is_below(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def copies_of(pictures: dict[str, Path], folder: Path) -> dict[str, Path]:
    """A file in `folder` for the annotated copy of each picture: JPEG for a JPEG, PNG for others; no two the same.

    Raises InputError where a copy would replace one of the pictures.
    """
    copies: dict[str, Path] = {}
    taken: set[Path] = set()
    originals = {Path(name).resolve() for name in pictures if name != STDIN}
    for name, place in pictures.items():
        suffix = place.suffix if place.suffix.lower() in (".jpg", ".jpeg") else ".png"
        copy, number = folder / place.with_suffix(suffix), 2
        while copy in taken:
            copy, number = folder / place.with_name(f"{place.stem}-{number}{suffix}"), number + 1
        if copy.resolve() in originals:
            raise InputError(f"--annotate {folder}: {copy} would replace a photo; name another folder")
        taken.add(copy)
        copies[name] = copy
    return copies
