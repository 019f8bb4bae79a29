"""FER2013 as a csv with the columns `emotion`, `pixels` and, in most copies, `Usage`, in any order."""

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from fer_lightning.data.archives import MAX_FILES, report_damage
from fer_lightning.data.faces import SIDE
from fer_lightning.data.fer2013 import LABEL_NAMES, SPLIT_NAMES
from fer_lightning.errors import InputError

PIXELS = SIDE * SIDE
MAX_LINE_BYTES = 1 << 16  # a face takes at most 9.2 KB of text

_DIGITS = re.compile("[0-9 \t]+")


def columns_of(head: bytes) -> list[str]:
    """The columns that the first line of a csv names, in lower case, without blanks and byte order mark."""
    line = head.partition(b"\n")[0].decode("utf-8-sig", errors="replace")
    return [column.strip().strip('"').strip().lower() for column in line.split(",")]


def missing_columns(columns: list[str]) -> str:
    """The columns that a csv of faces needs and this one has not ("emotion and pixels"), or an empty string."""
    return " and ".join(name for name in ("emotion", "pixels") if name not in columns)


def read_csv(stream: BinaryIO, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Images (N, 48, 48), labels (N,) and split (N,) of a csv, in its order, all uint8; split is None without Usage.

    Raises InputError with the row (counted from the first face) and the line of the file (counted from its header).
    """
    images, labels, splits = bytearray(), bytearray(), bytearray()
    with report_damage(where):
        columns = columns_of(stream.readline(MAX_LINE_BYTES))
        if missing := missing_columns(columns):
            raise InputError(f"{where}: no column {missing}; its first line names {', '.join(columns)[:200]}")
        for place, row in rows_of(stream, where, len(columns)):
            cell = dict(zip(columns, row, strict=True))
            labels.append(number_of(cell["emotion"], LABEL_NAMES, f"{place}: emotion", "0 to 6"))
            if "usage" in cell:
                valid = "Training, PublicTest, PrivateTest"
                splits.append(number_of(cell["usage"], SPLIT_NAMES, f"{place}: Usage", valid))
            images += _pixels(cell["pixels"], place).tobytes()
    if not labels:
        raise InputError(f"{where}: a header, but no row of pixels; is the file cut off?")
    faces = np.frombuffer(images, np.uint8).reshape(-1, SIDE, SIDE)
    return faces, np.frombuffer(labels, np.uint8), np.frombuffer(splits, np.uint8) if splits else None


def rows_of(stream: BinaryIO, where: str, width: int) -> Iterator[tuple[str, list[str]]]:
    """The place ("fer2013.csv, row 17 (line 18)") and cells of each row; blank lines are skipped."""
    row_number, line_number = 0, 1
    while line := stream.readline(MAX_LINE_BYTES):
        line_number += 1
        if not line.strip():
            continue
        row_number += 1
        place = f"{where}, row {row_number} (line {line_number})"
        if len(line) == MAX_LINE_BYTES:
            raise InputError(f"{place}: a line of more than {MAX_LINE_BYTES:,} bytes; a face takes at most 9,300")
        if row_number > MAX_FILES:
            raise InputError(f"{where}: more than {MAX_FILES:,} rows. FER2013 has 35,887: is the path the right one?")
        try:
            text = line.decode("utf-8").rstrip("\r\n")
            cells = next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{place}: not the text of a csv: {error}") from error
        if len(cells) != width:
            raise InputError(f"{place}: {len(cells)} columns, expected {width}. Is the file cut off?")
        yield place, cells


def number_of(text: str, names: dict[str, int], place: str, valid: str) -> int:
    """The number that a name stands for, whatever its case. Raises InputError for an unknown name."""
    value = names.get(text.strip().lower())
    if value is None:
        raise InputError(f"{place} {text.strip()[:40]!r} is unknown. Valid: {valid}")
    return value


def _pixels(text: str, place: str) -> np.ndarray:
    """The pixels of a row, (2304,) uint8. Raises InputError with the first value that is no pixel."""
    if _DIGITS.fullmatch(text):
        values = np.fromstring(text, np.int64, sep=" ")
        if len(values) == PIXELS and values.max() <= 255:
            return values.astype(np.uint8)
    words = text.split()
    if len(words) != PIXELS:
        raise InputError(f"{place}: {len(words)} pixels, expected {PIXELS} ({SIDE} x {SIDE}). Is the file cut off?")
    for number, word in enumerate(words, start=1):
        if not (word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= 255):
            raise InputError(f"{place}: pixel {number} is {word[:40]!r}; a pixel is a whole number from 0 to 255")
    return np.array(words).astype(np.uint8)
