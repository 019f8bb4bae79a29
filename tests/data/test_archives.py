"""Archives and folders: bombs, links, names that lead out, encryption and endless headers are refused."""

import io
import os
import re
import stat
import struct
import tarfile
import zipfile

import pytest
from small_sets import files_of, pictures, tar_bytes, write_folder, zip_bytes

from fer_lightning.data import archives, decompression
from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError

FILES = files_of(pictures())
FIRST = re.escape(sorted(FILES)[0])


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
TOO_LARGE = r"unpacks to more than 67,108,864 bytes; .* and 200 times the size on disk"


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
    "a symbolic link in a zip": (zip_with(external_attr=(stat.S_IFLNK | 0o777) << 16), r"_1.jpg: a link, device"),
    "a name that stands twice in a tar": (tar_bytes(FILES)[:-10240] + tar_bytes(FILES), r"stands twice"),
    "a nameless member of a zip": (zip_bytes({"QQ": b"x"}).replace(b"QQ", b"\0\0"), r"or has no name"),
    "a nameless member of a tar": (tar_bytes({"./": b"x"}), r"stands twice in the archive, or has no name"),
    "an encrypted zip": (locked_zip(), r"locked with a password; unpack it, and give the folder as data.path"),
    "an unbounded compression": (zip_bytes(FILES, zipfile.ZIP_LZMA), r"compressed by method 14"),
    "a zip that says it holds 2 GiB": (lying_zip(), r"unpacks to more than 67,108,864 bytes"),
    "a bomb in a zip": (lambda: zip_bytes({"train/sad/1.jpg": bytes(BOMB)}), TOO_LARGE),
    "a bomb in a gzip": (lambda: bomb("gz"), TOO_LARGE),
    "a bomb in an xz": (lambda: bomb("xz"), TOO_LARGE),
    "a bomb in a bzip2": (lambda: bomb("bz2"), TOO_LARGE),
    "a bomb two archives deep": (lambda: zip_bytes({"a.tar.gz": bomb("gz")}), r"unpacks to more than .* 200 times"),
    "a long name of 80 MB in a tar": (long_name_bomb, r"a header of 83,886,080 bytes; at most 1,048,576"),
    "archives in archives in archives": (nested_zip(3), r"archives within archives, more than 3 deep"),
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
    with pytest.raises(InputError, match=rf"{FIRST}: stands twice"):
        read_faces(tmp_path / "set")


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_FILES", 40, r"more than 40 files. FER2013 has 35,887"),
        ("MAX_BYTES", 40_000, r"unpacks to more than 40,000 bytes"),
    ],
)
@pytest.mark.parametrize("packing", ["zip", "tar.gz"])
def test_an_archive_beyond_a_bound_is_refused(limit, value, message, packing, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, limit, value)
    (tmp_path / "set").write_bytes(zip_bytes(FILES) if packing == "zip" else tar_bytes(FILES, "gz"))
    with pytest.raises(InputError, match=message):
        read_faces(tmp_path / "set")


def test_a_folder_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 40)
    with pytest.raises(InputError, match="more than 40 files"):
        read_faces(write_folder(tmp_path, FILES))


def test_a_zip_with_a_huge_directory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "DIRECTORY_BYTES", 2000)
    (tmp_path / "set").write_bytes(zip_bytes(FILES))
    with pytest.raises(InputError, match="a directory of more than 2,000 bytes"):
        read_faces(tmp_path / "set")


def test_an_xz_that_asks_for_too_much_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(decompression, "XZ_MEMORY", 1 << 20)
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
