"""A run folder under faults: kills, full and read-only disks, damaged bytes. The right result, or one clear message."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_lightning.callbacks import KeepBestAndLast
from fer_lightning.checkpoints import load_classifier, read_checkpoint
from fer_lightning.data import cache
from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError
from fer_lightning.hog import hog
from fer_lightning.whole_files import write_whole

KILLS = Path(__file__).resolve().parents[1] / "benchmarks" / "reliability" / "kills.py"
SMALL = [
    "data.images=140",
    "data.batch_size=32",
    "model=conv_poster",
    "model.conv=[{filters: 2, kernel: 5, pool: 8}]",
    "model.hidden=[8]",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=2",
    "draw.every=0",
]


@pytest.mark.parametrize("seed", [0, 2])
def test_a_run_killed_at_random_moments_ends_as_the_one_that_was_never_stopped(seed):
    """Weights, metrics.json, history.csv and curves; also killed while writing, and just before the end."""
    command = [sys.executable, str(KILLS), "--kills", "4", "--seeds", str(seed)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    outcome = json.loads(told.stdout)
    assert outcome["kills"] == 5
    assert outcome["runs"][0]["different"] == []


KILLED_IN_ITS_FOURTH_EPOCH = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from kills import RUNS, EventAccumulator, die_at_replacement, exit_status, forked
folder = Path(sys.argv[2])
status = exit_status(forked([*RUNS[1], f"hydra.run.dir={folder}"], lambda: die_at_replacement(11, False)))
events = EventAccumulator(str(folder / "tensorboard")).Reload()
rows = (folder / "history.csv").read_text().splitlines()[1:]
print(json.dumps([status, len(rows), [event.step for event in events.Scalars("val/accuracy")]]))
"""


def test_the_curves_of_a_killed_run_reach_as_far_as_its_checkpoint(tmp_path):
    command = [sys.executable, "-c", KILLED_IN_ITS_FOURTH_EPOCH, str(KILLS.parent), str(tmp_path / "run")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    status, rows, steps = json.loads(told.stdout)
    assert status == -signal.SIGKILL
    assert rows >= 3
    assert steps[: rows - 1] == list(range(rows - 1))


def test_curves_are_written_before_the_checkpoint_that_will_be_resumed(tmp_path):
    """A CSV logger keeps them in memory, TensorBoard's in a queue."""
    done: list[str] = []
    trainer = SimpleNamespace(
        callback_metrics={"val/accuracy": torch.tensor(0.5)},
        current_epoch=0,
        loggers=[SimpleNamespace(save=lambda: done.append("curves"))],
        save_checkpoint=lambda path: done.append(path.name),
    )
    KeepBestAndLast(tmp_path, {}).on_train_epoch_end(trainer, None)
    assert done == ["best.ckpt", "curves", "last.ckpt"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, train) -> Path:
    folder = tmp_path_factory.mktemp("run") / "whole"
    assert train(*SMALL, f"hydra.run.dir={folder}").code == 0
    return folder


@pytest.fixture
def run_folder(finished, tmp_path) -> Path:
    """A copy of a finished run, without its metrics.json: what a kill before the very end leaves."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "metrics.json").unlink()
    return folder


def resumed(train, folder: Path, *more: str):
    return train(*SMALL, f"hydra.run.dir={folder}", "resume=true", *more)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a truncated checkpoint": (
        lambda folder: os.truncate(folder / "checkpoints" / "last.ckpt", 5000),
        r"last.ckpt: not a checkpoint that can be read safely, or damaged",
    ),
    "an empty checkpoint": (
        lambda folder: os.truncate(folder / "checkpoints" / "last.ckpt", 0),
        r"last.ckpt: not a checkpoint that can be read safely, or damaged",
    ),
    "a flipped bit in the weights": (
        lambda folder: flip_a_weight(folder / "checkpoints" / "last.ckpt"),
        r"last.ckpt: not .* damaged \(Bad CRC-32 for file|last.ckpt: not .* fails its checksum",
    ),
}


def flip_a_weight(path: Path) -> None:
    """Flip one bit in the middle of the largest tensor of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        data = archive.read(largest)
    content = bytearray(path.read_bytes())
    content[content.index(data) + len(data) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_told_and_left_as_it_is(kind, run_folder, train):
    damage, message = DAMAGE[kind]
    damage(run_folder)
    before = (run_folder / "checkpoints" / "last.ckpt").read_bytes()
    result = resumed(train, run_folder)
    assert result.code == 2
    assert re.search(message, result.err)
    assert "Traceback" not in result.err
    assert (run_folder / "checkpoints" / "last.ckpt").read_bytes() == before


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_checkpoint_ever_changes_what_it_says(finished, where, bit):
    path = finished / "checkpoints" / "best.ckpt"
    data, right = bytearray(path.read_bytes()), load_classifier(path)
    data[int(where * len(data))] ^= 1 << bit
    with tempfile.TemporaryDirectory() as name:
        damaged = Path(name) / "best.ckpt"
        damaged.write_bytes(data)
        try:
            read = load_classifier(damaged)
        except InputError:
            return
    assert all(torch.equal(value, read.state_dict()[key]) for key, value in right.state_dict().items())
    assert read.hparams == right.hparams


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"epochs": "two"}'])
def test_a_damaged_metrics_file_is_told_and_made_anew_when_removed(text, run_folder, finished, train):
    (run_folder / "metrics.json").write_text(text)
    result = resumed(train, run_folder)
    assert result.code == 2
    assert "metrics.json: damaged" in result.err
    assert "Remove it" in result.err
    (run_folder / "metrics.json").unlink()
    assert resumed(train, run_folder).code == 0
    expected, anew = (json.loads((folder / "metrics.json").read_text()) for folder in (finished, run_folder))
    assert anew == expected


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    from fer_lightning.checkpoints import AtomicCheckpointIO

    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)
    monkeypatch.setattr(torch, "save", lambda content, file: file.write(b"half") and os.write(10**6, b""))
    with pytest.raises(InputError, match=r"last.ckpt: the checkpoint could not be written .*; the earlier one is kept"):
        AtomicCheckpointIO().save_checkpoint({"number": 2}, path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True) == {"number": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A mount on `folder` for the time of the block; the test is skipped where this user may not mount."""
    folder.mkdir(exist_ok=True)
    if not shutil.which("mount") or subprocess.run(["mount", *options, folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("kilobytes", [4, 12, 20, 32, 48, 64, 80, 96])
def test_a_full_disk_stops_a_run_with_one_message_and_what_was_saved_is_whole(kilobytes, finished, train, tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs") as disk:
        result = train(*SMALL, f"hydra.run.dir={disk / 'run'}", "trainer.max_epochs=60", "draw.every=1")
        assert result.code == 2, result
        assert "error: " in result.err
        assert len(result.err.strip().splitlines()) == 1, result.err
        assert re.search(r"No space left on device.*(resume=true|kept)", result.err)
        assert not list(disk.rglob("*.partial"))
        assert not (disk / "run" / "metrics.json").exists()
        for checkpoint in disk.rglob("*.ckpt"):
            read_checkpoint(checkpoint)


def test_a_read_only_run_folder_is_told(finished, train, tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as disk:
        shutil.copytree(finished, disk / "run")
        (disk / "run" / "metrics.json").unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for folder in ("run", "new"):
            result = resumed(train, disk / folder)
            assert result.code == 2
            assert "Read-only file system" in result.err
            assert "Traceback" not in result.err
            assert len(result.err.strip().splitlines()) == 1, result.err


def test_a_text_file_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    write_whole(tmp_path / "metrics.json", "right")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"metrics.json: cannot be written \(No space left on device\)"):
        write_whole(tmp_path / "metrics.json", "new")
    assert (tmp_path / "metrics.json").read_text() == "right"
    assert os.listdir(tmp_path) == ["metrics.json"]


KEPT = {1: "710ad00be469753e"}
"""A checksum of what the cache keeps of a fixed source, by CACHE_VERSION."""


def test_what_is_cached_changes_only_with_the_cache_version(tmp_path):
    """Two versions of the project share a cache folder: what the older one kept, the newer must be able to use."""
    random = np.random.default_rng(0)
    rows = [f"{row % 7},{' '.join(map(str, random.integers(0, 256, 2304)))},Training" for row in range(14)]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n".join(rows) + "\n")
    faces = read_faces(tmp_path / "fer2013.csv")
    features = hog(torch.from_numpy(faces.images)).numpy()
    parts = [faces.images, faces.labels, faces.split, faces.copy_groups, (features * 1000).round().astype(np.int16)]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
    assert KEPT[cache.CACHE_VERSION] == digest[:16], (
        "what is cached has changed: raise CACHE_VERSION and note its checksum"
    )
