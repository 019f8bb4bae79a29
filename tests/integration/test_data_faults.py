"""The cache under kills, full and read-only disks and several processes; files that may not be read; image bombs."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from small_sets import encoded, files_of, pictures, write_folder, zip_bytes

from fer_lightning.data.cache import CACHE_VERSION, cached_arrays
from fer_lightning.data.sources import open_fer2013
from fer_lightning.errors import InputError

FILES = files_of(pictures())


def file_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.v{CACHE_VERSION}.safetensors")


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def run(program: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


OPEN = """
import mmap, os, resource, sys  # numpy imports mmap late, when this process is of another user
import torch
from fer_lightning.data.sources import open_fer2013
from fer_lightning.errors import InputError
path, folder, limit, user = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if user and os.getuid() == 0:
    os.setuid(user)
try:
    print(open_fer2013(path, folder, check_counts=False).fingerprint)
except InputError as error:
    print(error)
"""


def test_a_file_that_outgrows_its_disk_while_written_leaves_nothing(tmp_path):
    (tmp_path / "set.zip").write_bytes(zip_bytes(FILES))
    result = run(OPEN, tmp_path / "set.zip", tmp_path / "cache", 50_000, 0)
    assert "the cache cannot be written: File too large. Valid: data.cache_dir=" in result.stdout
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert not half_written(tmp_path / "cache")
    assert len(open_fer2013(tmp_path / "set.zip", tmp_path / "cache", check_counts=False)) == len(FILES)


@pytest.mark.skipif(os.name == "nt" or not shutil.which("mount"), reason="needs a tmpfs")
def test_a_full_tmpfs_gives_a_message_and_no_half_written_cache(tmp_path):
    (tmp_path / "set.zip").write_bytes(zip_bytes(FILES))
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this user may not mount a tmpfs")
    try:
        with pytest.raises(InputError, match="No space left on device"):
            open_fer2013(tmp_path / "set.zip", disk, check_counts=False)
        assert not list(disk.rglob("*.safetensors"))
        assert not half_written(disk)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_read_only_cache_is_used_when_whole_and_reported_when_not():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "set.zip").write_bytes(zip_bytes(FILES))
        (folder / "cache").mkdir()
        (folder / "cache").chmod(0o555)
        nobody = 65534
        told = run(OPEN, folder / "set.zip", folder / "cache", 0, nobody).stdout
        assert "the cache cannot be written: Permission denied. Valid: data.cache_dir=" in told
        (folder / "cache").chmod(0o755)
        faces = open_fer2013(folder / "set.zip", folder / "cache", check_counts=False)
        for path in (folder / "cache").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert run(OPEN, folder / "set.zip", folder / "cache", 0, nobody).stdout == faces.fingerprint + "\n"


SLOW = """
import sys, time, uuid
from pathlib import Path
import numpy as np
from fer_lightning.data.cache import cached_arrays
place, marks, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

def build():
    (marks / uuid.uuid4().hex).touch()
    time.sleep(seconds)
    return {"numbers": np.full(3_000_000, 7, np.float32)}

print(int(cached_arrays(place, "source", build)["numbers"][:1000].sum()))
"""


def test_four_processes_at_once_build_once_and_all_get_the_arrays(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, "-c", SLOW, str(tmp_path / "place"), str(marks), "0.3"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate(timeout=60)[0] for process in started} == {"7000\n"}
    assert len(list(marks.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_builder_killed_while_it_builds_leaves_the_lock_free_and_nothing_behind(tmp_path):
    place, marks = tmp_path / "place", tmp_path / "marks"
    marks.mkdir()
    for number in range(2):
        process = subprocess.Popen([sys.executable, "-c", SLOW, str(place), str(marks), "60"], stdout=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while len(list(marks.iterdir())) <= number and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not file_of(place).exists()
    assert run(SLOW, place, marks, 0).stdout == "7000\n"
    assert len(list(marks.iterdir())) == 3
    assert not half_written(tmp_path)


KILLED_AT_STEP = """
import os, sys
from pathlib import Path
import numpy as np
from fer_lightning import files
from fer_lightning.data.cache import cached_arrays
place, fatal, step = Path(sys.argv[1]), int(sys.argv[2]), 0

def count_step():
    global step
    step += 1
    if step == fatal:
        os.kill(os.getpid(), 9)

def counted(call):
    def stepped(*arguments, **options):
        count_step()
        result = call(*arguments, **options)
        count_step()
        return result
    return stepped

def build():
    count_step()
    return {"numbers": np.full(99_999, 2, np.float32)}

class Written:
    def __init__(self, file):
        self.file = file
    def write(self, data):
        count_step()
        self.file.write(bytes(data)[: len(data) // 2])
        self.file.flush()
        count_step()
        return self.file.write(bytes(data)[len(data) // 2 :])
    def __getattr__(self, name):
        return getattr(self.file, name)
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.file.close()

files.open = lambda *arguments: Written(open(*arguments))
os.fsync, os.replace = counted(os.fsync), counted(os.replace)
print(int(cached_arrays(place, "new source", build)["numbers"].sum()))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_between_any_two_steps_of_replacing_an_entry_the_old_or_the_new_one_stands(tmp_path):
    old, new = ({"numbers": np.full(300, value, np.float32)} for value in (1, 3))
    killed = 0
    for fatal in range(1, 30):
        place = tmp_path / str(fatal) / "place"
        cached_arrays(place, "source", lambda: old)
        result = run(KILLED_AT_STEP, place, fatal)
        if result.returncode == 0:
            assert result.stdout == "199998\n"
            break
        assert result.returncode == -signal.SIGKILL, result.stderr
        killed += 1
        built = []
        numbers = cached_arrays(place, "source", lambda built=built: built.append(1) or old)["numbers"]
        assert (numbers == 1).all()
        assert len(built) == (fatal > 8)  # from the rename on, the new entry stands
        assert cached_arrays(place, "third source", lambda: new)["numbers"][0] == 3
        assert not half_written(place.parent)
        assert {path.name for path in place.parent.iterdir()} <= {file_of(place).name, f"{file_of(place).name}.lock"}
    assert killed == 9


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


def small_png() -> bytes:
    return encoded(np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8), "PNG")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int, bits: int = 8, kind: int = 6) -> bytes:
    """A PNG of zeros that is as small as zeros can be packed."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    packer, line = zlib.compressobj(9), bytes(1 + width * 4 * bits // 8)
    data = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG with a comment that unpacks to 100 MB."""
    whole = small_png()
    note = b"note\0\0" + zlib.compress(bytes(100 << 20), 9)
    return whole[:33] + chunk(b"zTXt", note) + whole[33:]


def profile_bomb() -> bytes:
    """A PNG with a colour profile that unpacks to 100 MB."""
    whole = small_png()
    return whole[:33] + chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(100 << 20), 9)) + whole[33:]


BOMBS = {
    "the largest colour image that is read": lambda: png_bomb(4096, 4096),
    "one of 16 bits": lambda: png_bomb(4096, 4096, 16),
    "one of 40 megapixels": lambda: png_bomb(20_000, 2_000),
    "a comment of 100 MB": text_bomb,
    "a colour profile of 100 MB": profile_bomb,
}

BOUNDED = """
import resource, sys, time
from collections import Counter
from fer_lightning.data.image_reader import read_image
from fer_lightning.errors import InputError
data = open(sys.argv[1], "rb").read()
before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    read_image(data, "PNG", "set", Counter())
except InputError:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.process_time() - begin)
"""


@pytest.mark.parametrize("kind", BOMBS)
def test_a_decompression_bomb_takes_less_than_320_mb_and_5_seconds(kind, tmp_path):
    (tmp_path / "bomb.png").write_bytes(BOMBS[kind]())
    command = [sys.executable, "-c", BOUNDED, str(tmp_path / "bomb.png")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    kilobytes, seconds = map(float, told)
    assert kilobytes < 320 << 10
    assert seconds < 5
