"""Faces of many pictures as a table: one row a face."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.recognition.recognizer import Face

if TYPE_CHECKING:
    import pandas

COLUMNS = ("path", "face", "x", "y", "width", "height", "emotion", "confidence", *EXPRESSIONS, "score")
"""Columns of a photo's faces; a video's have frame, seconds and id too."""


def rows(results: Iterable[tuple[str, Sequence[Face]]]) -> list[dict[str, Any]]:
    """A row for each face: COLUMNS to values. results: paths, or other names, and their faces, numbered from 1."""
    table = []
    for path, faces in results:
        for number, face in enumerate(faces, 1):
            plain = face.as_dict()
            box = dict(zip(("x", "y", "width", "height"), plain["box"], strict=True))
            values = {"path": path, "face": number, **box, **plain, **plain["probabilities"]}
            order = (*COLUMNS, "frame", "seconds", "id")
            table.append({key: values[key] for key in order if key in values})
    return table


def data_frame(results: Iterable[tuple[str, Sequence[Face]]]) -> "pandas.DataFrame":
    """The same as a pandas data frame. Raises InputError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise InputError(f"a data frame needs pandas ({error}): pip install pandas; rows() needs nothing") from error
    return pandas.DataFrame(rows(results))
