"""Faces of many photos and videos as a table, one row a face of a picture, and as JSON."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.recognition.recognizer import Face

if TYPE_CHECKING:
    import pandas

COLUMNS = ("path", "face", "x", "y", "width", "height", "emotion", "confidence", *EXPRESSIONS, "score")
"""Columns of a photo's faces."""

VIDEO_COLUMNS = ("path", "frame", "seconds", "face", *COLUMNS[2:], "id")
"""Columns where there are videos: a time line. A photo's faces leave frame, seconds and id empty."""


@dataclass
class Result:
    """What became of one photo or video: its faces, or why it could not be read.

    frames, seconds: of a video, read. note: for people, not an error.
    """

    path: str
    faces: Sequence[Face] = ()
    size: tuple[int, int] | None = None
    frames: int | None = None
    seconds: float | None = None
    note: str | None = None
    error: str | None = None

    @property
    def people(self) -> int:
        """Faces, in a video those of different ids."""
        return len(self.faces if self.seconds is None else {face.id for face in self.faces})

    def as_dict(self) -> dict[str, Any]:
        """As in the JSON file; faces are made one by one, while they are written."""
        size = {} if self.size is None else {"width": self.size[0], "height": self.size[1]}
        length = {} if self.seconds is None else {"frames": self.frames, "seconds": round(self.seconds, 3)}
        said = {key: value for key, value in (("note", self.note), ("error", self.error)) if value is not None}
        return {"path": self.path, **size, **length, "faces": _Lazily(self.faces), **said}


class _Lazily(list[dict[str, Any]]):
    """A list for `json`, of the faces that it is given, which makes each when it is written."""

    def __init__(self, faces: Sequence[Face]):
        super().__init__()
        self._faces = faces

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (face.as_dict() for face in self._faces)

    def __len__(self) -> int:
        return len(self._faces)


def write_faces_json(file: Path, results: Iterable[Result]) -> None:
    """A list, one entry a photo or video, atomically. Raises InputError where it cannot be written."""
    encoder = json.JSONEncoder(indent=2)
    _write(file, chain(encoder.iterencode([result.as_dict() for result in results]), "\n"))


def write_faces_csv(file: Path, results: Sequence[Result]) -> None:
    """A row for each face, atomically, with VIDEO_COLUMNS where there are videos."""
    with_video = any(result.seconds is not None for result in results)

    def lines() -> Iterator[str]:
        text = io.StringIO()
        writer = csv.DictWriter(text, VIDEO_COLUMNS if with_video else COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in _rows((result.path, result.faces) for result in results):
            writer.writerow(row)
            yield text.getvalue()
            text.seek(0)
            text.truncate()
        yield text.getvalue()

    _write(file, lines())


def _write(file: Path, parts: Iterable[str]) -> None:
    from fer_lightning.files import atomic_file

    try:
        with atomic_file(file) as opened:
            opened.writelines(part.encode() for part in parts)
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror or error}); an earlier file is kept") from error


def rows(results: Iterable[tuple[str, Iterable[Face]]]) -> list[dict[str, Any]]:
    """A row for each face: COLUMNS to values, or VIDEO_COLUMNS. results: paths, or other names, and their faces.

    Faces of a photo are numbered from 1; `face` of a video is its id.
    """
    return list(_rows(results))


def _rows(results: Iterable[tuple[str, Iterable[Face]]]) -> Iterator[dict[str, Any]]:
    for path, faces in results:
        for number, face in enumerate(faces, 1):
            plain = face.as_dict()
            box = dict(zip(("x", "y", "width", "height"), plain["box"], strict=True))
            values = {"path": path, **box, **plain, **plain["probabilities"], "face": plain.get("id", number)}
            yield {key: values[key] for key in VIDEO_COLUMNS if key in values}


def data_frame(results: Iterable[tuple[str, Iterable[Face]]]) -> "pandas.DataFrame":
    """The same as a pandas data frame. Raises InputError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise InputError(f"a data frame needs pandas ({error}): pip install pandas; rows() needs nothing") from error
    return pandas.DataFrame(rows(results))
