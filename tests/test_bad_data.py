"""Whatever stands in a csv, image or archive, the readers end with right faces or with one clear message."""

import io
import os
import re
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from small_sets import csv_text, encoded, files_of, pictures, tar_bytes, write_folder, zip_bytes

from fer_lightning.data import bounds, packed, zip_archive
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
    "a line without end": (CSV.encode() + b"1 " * 99999, r"row 50 .*: a line of more than 65,536 bytes"),
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


def tar_with(change) -> bytes:
    """A tar of the set, and one more member whose header `change` has filled in."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("train/sad/Training_1.jpg")
        change(info)
        archive.addfile(info)
    return out.getvalue()[:512] + tar_bytes(FILES)


def linked(kind: bytes):
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "/etc/passwd"

    return change


def zip_with(**fields: object) -> bytes:
    out = io.BytesIO(zip_bytes(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo("train/sad/Training_1.jpg")
        for name, value in fields.items():
            setattr(info, name, value)
        archive.writestr(info, b"/etc/passwd")
    return out.getvalue()


def locked_zip() -> bytes:
    """A zip whose first member's flags say that it is encrypted."""
    data = bytearray(zip_bytes(FILES))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


BOMB = 80 << 20


def bomb(packing: str) -> bytes:
    """80 MB of zeros in a tar."""
    return tar_bytes({"train/sad/1.txt": bytes(BOMB)}, packing)


def long_name_bomb() -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, BOMB
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(BOMB)


def lying_zip() -> bytes:
    """A zip whose directory says that a member unpacks to 2 GiB."""
    data = bytearray(zip_bytes(FILES))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 2 << 30)
    return bytes(data)


def nested_zip(depth: int) -> bytes:
    data = zip_bytes(FILES)
    for _ in range(depth):
        data = zip_bytes({"inner.zip": data})
    return data


TRICKS = {
    "a tar's name that climbs": (tar_bytes({"../../evil.jpg": b"x"}), r"leads out of the archive.*'../../evil.jpg'"),
    "a tar's name from the root": (tar_bytes({"/etc/evil.jpg": b"x"}), r"leads out of the archive"),
    "a zip's name that climbs": (zip_bytes({"a/../../evil.jpg": b"x"}), r"leads out of the archive"),
    "a zip's name from the root": (zip_bytes({"/etc/evil.jpg": b"x"}), r"leads out of the archive"),
    "a zip's name with a drive": (zip_bytes({"C:/evil.jpg": b"x"}), r"leads out of the archive"),
    "a zip's name with backslashes": (zip_bytes({"..\\evil.jpg": b"x"}), r"leads out of the archive"),
    "a name with a control character": (zip_bytes({"a\x1b[2Jb.jpg": b"x"}), r"cannot be shown: 'a\\x1b"),
    "a symbolic link in a tar": (tar_with(linked(tarfile.SYMTYPE)), r"Training_1.jpg: a link, device or sparse file"),
    "a hard link in a tar": (tar_with(linked(tarfile.LNKTYPE)), r"a link, device or sparse file"),
    "a device in a tar": (tar_with(linked(tarfile.CHRTYPE)), r"a link, device or sparse file"),
    "a pipe in a tar": (tar_with(linked(tarfile.FIFOTYPE)), r"a link, device or sparse file"),
    "a symbolic link in a zip": (zip_with(external_attr=(stat.S_IFLNK | 0o777) << 16), r"_1.jpg: a link or device"),
    "a name that stands twice in a tar": (tar_bytes(FILES)[:-10240] + tar_bytes(FILES), r"stands twice"),
    "a nameless member of a zip": (zip_bytes({"QQ": b"x"}).replace(b"QQ", b"\0\0"), r"or has no name"),
    "a nameless member of a tar": (tar_bytes({"./": b"x"}), r"stands twice in the archive, or has no name"),
    "an encrypted zip": (locked_zip(), r"locked with a password; unpack it, and give the folder as data.path"),
    "an unbounded compression": (zip_bytes(FILES, zipfile.ZIP_LZMA), r"compressed by method 14"),
    "a zip that says it holds 2 GiB": (lying_zip(), r"a member of 2,147,483,648 bytes"),
    "a bomb in a zip": (lambda: zip_bytes({"train/sad/1.jpg": bytes(BOMB)}), r"1.jpg: unpacks to more than 200 times"),
    "a bomb in a gzip": (lambda: bomb("gz"), r"unpacks to more than 200 times its size"),
    "a bomb in an xz": (lambda: bomb("xz"), r"unpacks to more than 200 times its size"),
    "a bomb in a bzip2": (lambda: bomb("bz2"), r"unpacks to more than 200 times its size"),
    "a bomb two archives deep": (lambda: zip_bytes({"a.tar.gz": bomb("gz")}), r"more than 200 times"),
    "a long name of 80 MB in a tar": (long_name_bomb, r"a header of 83,886,080 bytes; at most 1,048,576"),
    "archives in archives in archives": (nested_zip(4), r"archives within archives, more than 4 deep"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRICKS)
def test_an_archive_that_plays_tricks_is_refused(kind, tmp_path):
    data, message = TRICKS[kind]
    (tmp_path / "set").write_bytes(data() if callable(data) else data)
    with pytest.raises(InputError, match=message):
        read_faces(tmp_path / "set")
    assert os.listdir(tmp_path) == ["set"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_in_a_zip_is_refused(tmp_path):
    out = io.BytesIO(zip_bytes(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(sorted(FILES)[0], b"other")
    (tmp_path / "set").write_bytes(out.getvalue())
    with pytest.raises(InputError, match=rf"{BROKEN}: stands twice"):
        read_faces(tmp_path / "set")


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_FILES", 40, r"more than 40 files. FER2013 has 35,887"),
        ("MAX_FILE_BYTES", 1000, r"a member of [\d,]+ bytes; at most 1,000 are read"),
        ("MAX_TOTAL_BYTES", 40_000, r"unpacks to more than 40,000 bytes"),
    ],
)
@pytest.mark.parametrize("packing", ["zip", "tar.gz"])
def test_an_archive_beyond_a_bound_is_refused(limit, value, message, packing, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, limit, value)
    (tmp_path / "set").write_bytes(zip_bytes(FILES) if packing == "zip" else tar_bytes(FILES, "gz"))
    with pytest.raises(InputError, match=message):
        read_faces(tmp_path / "set")


def test_a_folder_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_FILES", 40)
    with pytest.raises(InputError, match="more than 40 files"):
        read_faces(write_folder(tmp_path, FILES))


def test_a_zip_with_a_huge_directory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_archive, "DIRECTORY_BYTES", 2000)
    (tmp_path / "set").write_bytes(zip_bytes(FILES))
    with pytest.raises(InputError, match="a directory of more than 2,000 bytes"):
        read_faces(tmp_path / "set")


def png_of(width: int, height: int) -> bytes:
    """A PNG that says how large it is, with hardly any pixels in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (png_of(60000, 60000), r"60000x60000 pixels; at most 16,777,216 are read"),
        (png_of(2**31 - 1, 1), r"pixels; at most|broken PNG"),
        (png_of(48, 48), r"broken PNG: "),
        (png_of(0, 48), r"broken PNG: "),
        (encoded(np.zeros((9, 9), np.uint8)) + bytes(bounds.MAX_IMAGE_BYTES), r"an image file of more than 33,554,432"),
    ],
)
def test_a_huge_or_hollow_image_is_refused_without_being_decoded(image, message, tmp_path):
    with pytest.raises(InputError, match=f"train/sad/1.png: .*{message}"):
        read_faces(write_folder(tmp_path, FILES | {"train/sad/1.png": image}))


def test_a_jpeg_of_endless_scans_is_refused_without_being_decoded(tmp_path):
    jpeg = encoded(np.arange(2304, dtype=np.uint8).reshape(48, 48), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    endless = jpeg[:last] + jpeg[last:-2] * 200 + jpeg[-2:]
    with pytest.raises(InputError, match=r"train/sad/1.jpg: a JPEG of more than 100 scans"):
        read_faces(write_folder(tmp_path, FILES | {"train/sad/1.jpg": endless}))
    assert len(read_faces(write_folder(tmp_path, {"train/sad/1.jpg": jpeg}))) == len(FILES) + 1


def test_an_xz_that_asks_for_too_much_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "XZ_MEMORY", 1 << 20)
    (tmp_path / "set").write_bytes(tar_bytes(FILES, "xz"))
    with pytest.raises(InputError, match="Memory usage limit"):
        read_faces(tmp_path / "set")


def test_a_path_that_is_not_there_is_told_with_its_near_misses(tmp_path):
    (tmp_path / "fer2013.zip").write_bytes(b"")
    with pytest.raises(InputError, match=rf"there is no fer2103.zip in {tmp_path}. Did you mean fer2013.zip\?"):
        read_faces(tmp_path / "fer2103.zip")
    with pytest.raises(InputError, match=rf"there is no dta in {tmp_path}"):
        read_faces(tmp_path / "dta" / "fer2013.zip")


def test_an_empty_folder_and_a_broken_link_are_told(tmp_path):
    with pytest.raises(InputError, match=r"no faces found. Found: nothing"):
        read_faces(tmp_path)
    (tmp_path / "train").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="train: cannot be read: No such file"):
        read_faces(tmp_path)


def test_links_that_lead_round_in_a_folder_end(tmp_path):
    write_folder(tmp_path / "set", FILES)
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    assert len(read_faces(tmp_path / "set")) == len(FILES)


def test_a_pipe_is_not_waited_for(tmp_path):
    write_folder(tmp_path, FILES)
    os.mkfifo(tmp_path / "train" / "sad" / "pipe.jpg")
    assert len(read_faces(tmp_path)) == len(FILES)
    with pytest.raises(InputError, match="neither a folder nor a plain file"):
        read_faces(tmp_path / "train" / "sad" / "pipe.jpg")


AS_NOBODY = """
import os, sys
from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError
if os.getuid() == 0:
    os.setuid(65534)
try:
    read_faces(sys.argv[1])
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("locked", ["set.zip", "folder", "folder/train/sad"])
def test_a_file_that_may_not_be_read_is_told(locked):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_folder(folder / "folder", FILES)
        (folder / "set.zip").write_bytes(zip_bytes(FILES))
        folder.chmod(0o755)
        (folder / locked).chmod(0)
        path = str(folder / locked.partition("/")[0])
        told = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, path], capture_output=True, text=True, check=True
        ).stdout
        (folder / locked).chmod(0o755)
    assert told == f"{folder / locked}: permission denied; may this user read it?\n"
