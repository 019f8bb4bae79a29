"""FER2013 as a csv with the columns `emotion`, `pixels` and, in most copies, `Usage`, in any order.

Columns are separated by commas, semicolons, tabs or bars, as the header tells. A square picture has n * n values where
it is grey, and 3 * n * n in colour: pixel by pixel red, green, blue, as numpy flattens (n, n, 3).
"""

import csv
import math
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from fer_lightning.data.archives import MAX_FILES, report_damage
from fer_lightning.data.faces import SIDE, TRAIN
from fer_lightning.data.label_names import LabelNames, key_of, like
from fer_lightning.data.split_names import split_of_usage
from fer_lightning.errors import InputError

MAX_LINE_BYTES = 4 << 20  # a face of FER2013 takes at most 9.2 KB of text, one of 512 x 512 in colour 3.1 MB
SIDES = range(8, 513)
"""Of the square pictures that are read, pixels."""

SEPARATORS = ",;\t|"

_ALIASES = {"label": "emotion", "labels": "emotion", "emotions": "emotion", "pixel": "pixels", "split": "usage"}
_DIGITS = re.compile("[0-9 \t]+")
_LISTED = re.compile(r"[\[\],;]")


class Header(NamedTuple):
    """The columns that the first line of a csv names, in lower case, and what separates them."""

    columns: list[str]
    separator: str

    @property
    def missing(self) -> str:
        """The columns that a csv of faces needs and this one has not ("emotion and pixels"), or an empty string."""
        return " and ".join(name for name in ("emotion", "pixels") if name not in self.columns)


def header_of(head: bytes) -> Header:
    """The header of a csv by its first bytes; of several separators, the one that parts most columns is taken.

    `label` counts as emotion, `split` as Usage, where the column of that name is not there. (csv.Sniffer finds the same
    separators, but takes minutes over 64 KB of quotes.)
    """
    line = head.partition(b"\n")[0].decode("utf-8-sig", errors="replace")
    parted = {separator: line.split(separator) for separator in SEPARATORS}
    separator = max(SEPARATORS, key=lambda separator: len(parted[separator]))  # the first of equals
    columns = [column.strip().strip("\"'").strip().lower() for column in parted[separator]]
    for place, column in enumerate(columns):
        if (name := _ALIASES.get(column, column)) not in columns:
            columns[place] = name
    return Header(columns, separator)


def read_csv(
    stream: BinaryIO, where: str, labels: LabelNames | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Images, labels (N,) and split (N,) of a csv, in its order, all uint8; split is None without Usage.

    images: (N, n, n) or, of three values a pixel, (N, n, n, 3); the first row tells n, and all have the same.

    labels: how the column emotion is read; rows that it leaves out are not returned. Raises InputError with the row
    (counted from the first face) and the line of the file (counted from its header).
    """
    labels = labels or LabelNames()
    images, found, splits = bytearray(), bytearray(), bytearray()
    shape: tuple[int, ...] = ()
    with report_damage(where):
        header = header_of(stream.readline(MAX_LINE_BYTES))
        if header.missing:
            raise InputError(f"{where}: no column {header.missing}; its first line: {', '.join(header.columns)[:200]}")
        if twice := [name for name in ("emotion", "pixels", "usage") if header.columns.count(name) > 1]:
            raise InputError(f"{where}: two columns {twice[0]}; which is to be read?")
        for place, row in rows_of(stream, where, header):
            cell = dict(zip(header.columns, row, strict=True))
            label = _label(cell["emotion"], labels, place)
            split = usage_of(cell["usage"], place) if "usage" in cell else TRAIN
            pixels = _pixels(cell["pixels"], place, shape)
            shape = shape or _shape(len(pixels), place)
            if label is not None:
                found.append(label)
                splits.append(split)
                images += pixels.tobytes()
    if not labels.counts:
        raise InputError(f"{where}: a header, but no row of pixels; is the file cut off?")
    faces = np.frombuffer(images, np.uint8).reshape(-1, *shape)
    return faces, np.frombuffer(found, np.uint8), np.frombuffer(splits, np.uint8) if "usage" in header.columns else None


def rows_of(stream: BinaryIO, where: str, header: Header) -> Iterator[tuple[str, list[str]]]:
    """The place ("fer2013.csv, row 17 (line 18)") and cells of each row; blank lines are skipped."""
    width, separator = len(header.columns), header.separator
    row_number, line_number = 0, 1
    while line := stream.readline(MAX_LINE_BYTES):
        line_number += 1
        if not line.strip():
            continue
        row_number += 1
        place = f"{where}, row {row_number} (line {line_number})"
        if len(line) == MAX_LINE_BYTES:
            raise InputError(f"{place}: a line of more than {MAX_LINE_BYTES:,} bytes; one of FER2013 has at most 9,300")
        if row_number > MAX_FILES:
            raise InputError(f"{where}: more than {MAX_FILES:,} rows. FER2013 has 35,887: is the path the right one?")
        try:
            text = line.decode("utf-8").rstrip("\r\n")
            quoted = '"' in text
            cells = next(csv.reader([text], strict=True, delimiter=separator)) if quoted else text.split(separator)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{place}: not the text of a csv: {error}") from error
        if len(cells) != width:
            raise InputError(f"{place}: {len(cells)} columns, expected {width}. Is the file cut off?")
        yield place, cells


def usage_of(text: str, place: str) -> int:
    """The split, an index into SPLITS, that a cell of Usage names. Raises InputError."""
    split = split_of_usage(text)
    if split is None:
        valid = "Training, PublicTest, PrivateTest"
        raise InputError(f"{place}: Usage {text.strip()[:40]!r} is unknown. Valid: {valid}")
    return split


def _label(text: str, labels: LabelNames, place: str) -> int | None:
    try:
        return labels.label(key_of(text))
    except KeyError:
        valid = "Valid: 0 to 6, or the name of an expression; data.labels says what others mean, or leaves them out"
        raise InputError(f"{place}: emotion {text.strip()[:40]!r} is unknown{like(text[:40]) or '.'} {valid}") from None


def _shape(count: int, place: str) -> tuple[int, ...]:
    """(n, n) or (n, n, 3) of a picture of so many values. Raises InputError where they are neither."""
    for values, colour in ((count, ()), (count / 3, (3,))):
        if math.isqrt(int(values)) ** 2 == values and math.isqrt(int(values)) in SIDES:
            return (math.isqrt(int(values)),) * 2 + colour
    raise InputError(
        f"{place}: {count} pixels, expected {SIDE**2} ({SIDE} x {SIDE}), {3 * SIDE**2} ({SIDE} x {SIDE} in colour), or "
        f"n * n or 3 * n * n with n from {SIDES[0]} to {SIDES[-1]}. Is the file cut off?"
    )


def _pixels(text: str, place: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a row, uint8. shape: of the rows before, or (). Raises InputError with the first that is none."""
    expected = math.prod(shape) if shape else None
    if _DIGITS.fullmatch(text):
        values = np.fromstring(text, np.int64, sep=" ")
        if len(values) == expected and values.max() <= 255:
            return values.astype(np.uint8)
    words = [word.removesuffix(".0") for word in _LISTED.sub(" ", text).split()]
    if expected is None:
        expected = math.prod(_shape(len(words), place))
    if len(words) != expected:
        sides = " x ".join(map(str, shape[:2])) + " in colour" * (len(shape) == 3)
        mixed = len(words) in (3 * expected, expected / 3)
        why = "Grey and colour pictures belong into separate csvs" if mixed else "Is the file cut off?"
        same = "" if expected == SIDE**2 else ", as the rows before"
        raise InputError(f"{place}: {len(words)} pixels, expected {expected} ({sides}){same}. {why}")
    for number, word in enumerate(words, start=1):
        if not (word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= 255):
            raise InputError(f"{place}: pixel {number} is {word[:40]!r}; a pixel is a whole number from 0 to 255")
    return np.array(words).astype(np.uint8)
