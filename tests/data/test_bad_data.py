"""Whatever stands in a csv, image or archive, the readers end with right faces or with one clear message."""

import re
import zipfile

import numpy as np
import pytest
from small_sets import csv_text, encoded, files_of, pictures, tar_bytes, zip_bytes

from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError

SET = pictures()
FILES = files_of(SET)
CSV = csv_text(SET)
LINES = CSV.splitlines()


def csv_with(row: int, change) -> bytes:
    """The csv with one data row changed, rows counted from 1."""
    lines = list(LINES)
    lines[row] = change(lines[row])
    return "\n".join(lines).encode()


def pixel(number: int, value: str):
    """Change one pixel of a row."""

    def change(line: str) -> str:
        label, pixels, usage = line.split(",")
        words = pixels.split()
        words[number - 1] = value
        return f"{label},{' '.join(words)},{usage}"

    return change


def jpeg_in_zip(change, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    name = sorted(FILES)[0]
    return zip_bytes(FILES | {name: change(FILES[name])}, method)


BROKEN = re.escape(sorted(FILES)[0])

BAD = {
    "a row of 2303 pixels": (
        csv_with(17, lambda line: re.sub(r" \d+,", ",", line)),
        r"set, row 17 \(line 18\): 2303 pixels, expected 2304 \(48 x 48\). Is the file cut off\?",
    ),
    "a pixel of 256": (csv_with(3, pixel(5, "256")), r"row 3 .*: pixel 5 is '256'; .* from 0 to 255"),
    "a pixel of -1": (csv_with(3, pixel(2304, "-1")), r"row 3 .*: pixel 2304 is '-1'; .* from 0 to 255"),
    "a pixel of 1.5": (csv_with(3, pixel(1, "1.5")), r"pixel 1 is '1.5'"),
    "a pixel of text": (csv_with(40, pixel(1, "black")), r"row 40 .*: pixel 1 is 'black'"),
    "a pixel in other digits": (csv_with(40, pixel(1, "१२")), r"row 40 .*: pixel 1 is '१२'"),
    "label 9": (csv_with(2, lambda line: "9" + line[1:]), r"row 2 \(line 3\): emotion '9' is unknown. Valid: 0 to 6"),
    "no label": (csv_with(2, lambda line: line[1:]), r"row 2 .*: emotion '' is unknown"),
    "an unknown Usage": (
        csv_with(2, lambda line: line.replace("Training", "Holdout")),
        r"row 2 .*: Usage 'Holdout' is unknown. Valid: Training, PublicTest, PrivateTest",
    ),
    "a last row cut in its pixels": (CSV.encode()[:-4000], r"row 49 \(line 50\): 2 columns, expected 3. Is the"),
    "a last row cut, pixels last": (
        csv_text(SET, "emotion,Usage,pixels").encode()[:-4000],
        r"row 49 .*: \d+ pixels, expected 2304",
    ),
    "a column too many": (csv_with(4, lambda line: line + ",7"), r"row 4 .*: 4 columns, expected 3"),
    "an open quote": (csv_with(4, lambda line: line.replace(",", ',"', 1)), r"row 4 .*: not the text of a csv"),
    "bytes that are no text": (CSV.encode() + b"\xff\xfe\xfa\n", r"row 50 .*: not the text of a csv"),
    "a line without end": (CSV.encode() + b"1 " * 2999999, r"row 50 .*: a line of more than 4,194,304 bytes"),
    "no column pixels": (b"emotion,Usage\n1,Training\n", r"no faces found.*without a column pixels; .* emotion, usage"),
    "no column emotion": (csv_text(SET, "pixels,Usage").encode(), r"no faces found.*without a column emotion"),
    "no header": (CSV.encode().partition(b"\n")[2], r"no faces found.*without a column emotion and pixels"),
    "a header alone": (b"emotion,pixels,Usage\n", r"a header, but no row of pixels"),
    "a class with no image": (
        "\n".join(line for line in LINES if not line.startswith("1,")).encode(),
        r"no image of disgust to learn from. Images in train: angry 4, disgust 0, fear 4",
    ),
    "an empty file": (b"", r"no faces found. Found: set \(empty file\). Valid: fer2013.csv"),
    "a text": (b"hello\n", r"no faces found"),
    "a web page": (b"<!DOCTYPE html><p>Please log in", r"no faces found. Found: set \(web page\)"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", r"Git LFS pointer"),
    "UTF-16": (CSV.encode("utf-16"), r"UTF-16 text"),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c\0\4", r"7z archive"),
    "one image": (encoded(np.zeros((48, 48), np.uint8)), r"Found: 1 image in no expression's folder"),
    "an empty zip": (zip_bytes({}), r"no faces found. Found: nothing"),
    "an empty tar": (tar_bytes({}), r"no faces found"),
    "a zip without faces": (zip_bytes({"a.txt": b"x", "b.bin": b"\0"}), r"Found: a.txt \(text .*, b.bin \(data\)"),
    "a truncated zip": (zip_bytes(FILES)[:-3000], r"set: damaged or cut off: File is not a zip file"),
    "a truncated tar": (tar_bytes(FILES)[:-12000], r"set.*: damaged or cut off"),
    "a tar without its end": (tar_bytes(FILES).rstrip(b"\0"), r"damaged or cut off"),
    "a damaged tar header": (tar_bytes(FILES)[::-1].replace(b"ratsu", b"!atsu", 1)[::-1], r"bad checksum"),
    "a truncated tar.gz": (tar_bytes(FILES, "gz")[:-3000], r"damaged or cut off: the packed stream ends too early"),
    "a tar.gz without its checksum": (tar_bytes(FILES, "gz")[:-8], r"damaged or cut off"),
    "a truncated tar.xz": (tar_bytes(FILES, "xz")[:-3000], r"damaged or cut off"),
    "a truncated tar.bz2": (tar_bytes(FILES, "bz2")[:-3000], r"damaged or cut off"),
    "a broken JPEG in a zip": (jpeg_in_zip(lambda jpeg: jpeg[:300]), rf"set, {BROKEN}: broken JPEG"),
    "a JPEG of zeros in a zip": (jpeg_in_zip(lambda jpeg: bytes(900)), rf"{BROKEN}.*: neither JPEG nor PNG"),
    "an empty JPEG in a zip": (jpeg_in_zip(lambda jpeg: b""), rf"{BROKEN}: broken image: .* empty file"),
    "a GIF": (jpeg_in_zip(lambda jpeg: b"GIF89a" + bytes(99)), rf"{BROKEN}.*: neither JPEG nor PNG, but GIF"),
    "a zip whose member fails its checksum": (
        jpeg_in_zip(lambda jpeg: jpeg, zipfile.ZIP_STORED).replace(FILES[sorted(FILES)[0]][-99:], b"\0" * 99),
        rf"set, {BROKEN}: damaged or cut off: Bad CRC-32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_gets_one_clear_message(kind, tmp_path):
    data, message = BAD[kind]
    (tmp_path / "set").write_bytes(data)
    with pytest.raises(InputError, match=message) as told:
        read_faces(tmp_path / "set")
    assert str(told.value).startswith(str(tmp_path / "set"))
    assert "\n" not in str(told.value)
