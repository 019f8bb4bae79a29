"""FER2013 as a csv: `emotion`, `pixels` and, in most copies, `Usage`, in any order, with or without blanks."""

import csv
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from fer_lightning.data.bounds import MAX_FILES, damage_named
from fer_lightning.data.faces import SIDE
from fer_lightning.data.naming import LABEL_NAMES, SPLIT_NAMES
from fer_lightning.errors import InputError

PIXELS = SIDE * SIDE
ROWS_AT_ONCE = 128
MAX_LINE_BYTES = 1 << 16
"""A face takes at most 9.2 KB of text."""


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
    with damage_named(where):
        columns = columns_of(stream.readline(MAX_LINE_BYTES))
        if missing := missing_columns(columns):
            raise InputError(f"{where}: no column {missing}; its first line names {', '.join(columns)[:200]}")
        images, labels, splits = bytearray(), bytearray(), bytearray()
        texts: list[str] = []
        places: list[str] = []
        for place, row in _rows(stream, where, len(columns)):
            cell = dict(zip(columns, row, strict=True))
            labels.append(_meaning(cell["emotion"], LABEL_NAMES, f"{place}: emotion", "0 to 6"))
            if "usage" in cell:
                splits.append(
                    _meaning(cell["usage"], SPLIT_NAMES, f"{place}: Usage", "Training, PublicTest, PrivateTest")
                )
            texts.append(cell["pixels"])
            places.append(place)
            if len(texts) == ROWS_AT_ONCE:
                images += _pixels(texts, places)
                texts, places = [], []
        images += _pixels(texts, places)
    if not labels:
        raise InputError(f"{where}: a header, but no row of pixels; is the file cut off?")
    faces = np.frombuffer(images, np.uint8).reshape(-1, SIDE, SIDE)
    return faces, np.frombuffer(labels, np.uint8), np.frombuffer(splits, np.uint8) if splits else None


def _rows(stream: BinaryIO, where: str, width: int) -> Iterator[tuple[str, list[str]]]:
    """Place ("fer2013.csv, row 17 (line 18)") and cells of each row; blank lines are passed over."""
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


def _meaning(text: str, names: dict[str, int], place: str, valid: str) -> int:
    value = names.get(text.strip().lower())
    if value is None:
        raise InputError(f"{place} {text.strip()[:40]!r} is unknown. Valid: {valid}")
    return value


def _pixels(texts: list[str], places: list[str]) -> bytes:
    """The pixels of some rows. All at once where they are written as usual, else row by row, to name what is wrong."""
    if all(text.count(" ") == PIXELS - 1 for text in texts):
        values = _numbers(" ".join(texts).encode(), PIXELS * len(texts))
        if values is not None:
            return values.tobytes()
    return b"".join(_row_pixels(text, place) for text, place in zip(texts, places, strict=True))


def _numbers(text: bytes, count: int) -> np.ndarray | None:
    """`count` numbers of 0 to 255 with one blank between two of them as uint8, or None when they are anything else.

    Digits are gathered by their distance from the end of their number: 1.3 s for all of FER2013, half of what
    `np.fromstring` takes, which moreover wraps 256 to 0.
    """
    if not text:
        return np.empty(0, np.uint8)
    characters = np.frombuffer(text, np.uint8)
    ends = np.append(np.flatnonzero(characters == ord(" ")), len(characters))
    length = np.diff(ends, prepend=-1) - 1
    digits = characters - np.uint8(ord("0"))
    if len(ends) != count or length.min() < 1 or length.max() > 3 or np.count_nonzero(digits > 9) != count - 1:
        return None
    values = digits[ends - 1].astype(np.uint16)
    values += np.where(length > 1, digits[ends - 2], 0).astype(np.uint16) * 10
    values += np.where(length > 2, digits[ends - 3], 0).astype(np.uint16) * 100
    return values.astype(np.uint8) if values.max() <= 255 else None


def _row_pixels(text: str, place: str) -> bytes:
    words = text.split()
    if len(words) != PIXELS:
        raise InputError(f"{place}: {len(words)} pixels, expected {PIXELS} ({SIDE} x {SIDE}). Is the file cut off?")
    for number, word in enumerate(words, start=1):
        if not (word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= 255):
            raise InputError(f"{place}: pixel {number} is {word[:40]!r}; a pixel is a whole number from 0 to 255")
    return bytes(map(int, words))
