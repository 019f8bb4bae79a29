"""Checkpoints: when they are written, that they are atomic, and that damage is noticed."""

import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Callback, LambdaCallback
from sklearn.metrics import accuracy_score, f1_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import FC, RANDOM, ScriptedAccuracy, differences, run_fit, settings_from

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import VAL
from fer_lightning.errors import InputError
from fer_lightning.networks.weight_files import load_network, read_checkpoint
from fer_lightning.training.checkpoints import AtomicCheckpointIO


def test_the_best_checkpoint_scores_what_metrics_json_says(whole_run):
    datamodule = FaceDataModule(settings_from(*RANDOM).data)
    datamodule.setup()
    rows = datamodule.rows[VAL]
    labels, network = datamodule.loaded.labels[rows], load_network(whole_run / "checkpoints" / "best.ckpt").network
    with torch.no_grad():
        predicted = network(datamodule.loaded.images[rows]).argmax(dim=1)
    metrics = json.loads((whole_run / "metrics.json").read_text())
    f1 = f1_score(labels, predicted, average="macro", zero_division=0)
    assert metrics["val/accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert metrics["val/macro_f1"] == pytest.approx(f1, abs=1e-6)


def test_best_is_the_first_of_the_most_accurate_epochs_and_last_the_last(tmp_path):
    script = ScriptedAccuracy([1 / 7, 5 / 7, 5 / 7, 2 / 7])
    metrics = run_fit(tmp_path, *FC, "draw.every=0", "trainer.max_epochs=4", callbacks=[script])
    assert (metrics["best_epoch"], metrics["val/accuracy"]) == (1, pytest.approx(5 / 7))
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["epoch"] == 1
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["epoch"] == 3


class Saves(Callback):
    """The number of steps that were trained at each checkpoint."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_save_checkpoint(self, trainer, pl_module, checkpoint) -> None:
        self.steps.append(checkpoint["global_step"])


@pytest.mark.parametrize(
    ("minutes", "seconds_a_step", "saved_after"),
    [
        ("5", 6.6, []),
        ("5", 6.7, [9]),  # a minute has passed before the last step of ten; validation is next, and may be long
        ("5", 301, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("5", 101, [3, 6, 9]),
        ("0.5", 31, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("null", 10_000, []),
    ],
)
def test_last_is_written_within_long_epochs(minutes, seconds_a_step, saved_after, monkeypatch, tmp_path):
    passed, clock, saves = [0.0], time.monotonic, Saves()
    monkeypatch.setattr(time, "monotonic", lambda: clock() + passed[0])

    def wait(*_: object) -> None:
        passed[0] += seconds_a_step

    overrides = [*FC, "data.batch_size=5", "+trainer.limit_train_batches=10", f"checkpoint_minutes={minutes}"]
    slow = LambdaCallback(on_train_batch_start=wait)
    run_fit(tmp_path, *overrides, "draw.every=0", "trainer.max_epochs=1", callbacks=[slow, saves])
    assert saves.steps == [0, *saved_after, 10, 10], (
        "at the start, within the epoch, and after it the best and the last"
    )


def test_a_checkpoint_after_each_step_changes_nothing(whole_run, tmp_path):
    run_fit(tmp_path, *RANDOM, "checkpoint_minutes=0")
    assert differences(whole_run, tmp_path) == []


def test_curves_are_on_the_disk_when_a_checkpoint_is_written(tmp_path):
    """TensorBoard's logger keeps them in a queue; a run that is killed after a checkpoint must not lose them."""
    on_disk = []

    def read(trainer, module) -> None:
        events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
        on_disk.append([event.step for event in events.Scalars("val/accuracy")])

    after_checkpoints = LambdaCallback(on_train_epoch_end=read)
    run_fit(tmp_path, *FC, "draw.every=0", "trainer.max_epochs=3", callbacks=[after_checkpoints])
    assert on_disk == [[0], [0, 1], [0, 1, 2]]


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)
    monkeypatch.setattr(torch, "save", lambda content, file: file.write(b"half") and os.write(10**6, b""))
    with pytest.raises(InputError, match=r"last.ckpt: the checkpoint could not be written .*; the earlier one is kept"):
        AtomicCheckpointIO().save_checkpoint({"number": 2}, path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True) == {"number": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


def flip_a_weight(path: Path) -> None:
    """Flip one bit in the middle of the largest tensor of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        data = archive.read(largest)
    content = bytearray(path.read_bytes())
    content[content.index(data) + len(data) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: os.truncate(path, 5000), r"last.ckpt: not a checkpoint that can be read safely"),
    "empty": (lambda path: os.truncate(path, 0), r"last.ckpt: not a checkpoint that can be read safely"),
    "a flipped bit in the weights": (flip_a_weight, r"last.ckpt: not .* damaged \(.* fails its checksum"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_reported_and_left_as_it_is(kind, fc_run, train, tmp_path):
    damage, message = DAMAGE[kind]
    shutil.copytree(fc_run, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    damage(path)
    before = path.read_bytes()
    result = train(*FC, "trainer.max_epochs=3", "draw.every=0", f"hydra.run.dir={tmp_path / 'run'}", "resume=true")
    assert result.code == 2
    assert re.search(message, result.err)
    assert "Traceback" not in result.err
    assert path.read_bytes() == before


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_checkpoint_ever_changes_what_it_says(fc_run, where, bit):
    path = fc_run / "checkpoints" / "best.ckpt"
    data, right = bytearray(path.read_bytes()), load_network(path)
    data[int(where * len(data))] ^= 1 << bit
    with tempfile.TemporaryDirectory() as name:
        damaged = Path(name) / "best.ckpt"
        damaged.write_bytes(data)
        try:
            read = load_network(damaged)
        except InputError:
            return
    assert all(torch.equal(value, read.network.state_dict()[key]) for key, value in right.network.state_dict().items())
    assert replace(read, network=right.network) == right
