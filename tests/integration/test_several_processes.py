"""A run on two processes (gloo, CPU): the figures of one, each file written once, stopped and resumed exactly."""

import contextlib
import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forked_ranks import run_ranks, slurm
from tiny_runs import FC, RANDOM, STEPS, differences, weights

from fer_lightning.data.loader import Batches, FaceTensors
from fer_lightning.networks.weight_files import read_checkpoint
from fer_lightning.training.early_stopping import StopAtMaxSteps

EXACT = [
    "data.images=140",
    "data.batch_size=21",  # 11 and 10 images
    "model.hidden=[16]",
    "model.batch_norm=false",
    "optimizer.lr=0.05",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "draw.every=0",
    "trainer.max_epochs=3",
]
"""Nothing random but the order of the images; no batch norm, whose statistics are those of a process's own part."""

NETWORKS = {
    "fc": ["model=fc", "model.class_weights=true"],
    "conv": ["model=conv_poster", "model.conv=[{filters: 4, pool: 4, batch_norm: false}]", "data.augment.flip=0"],
}
QUANTITIES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "val/macro_f1")


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "history.csv").read_text().splitlines()))


def require_same_figures(one: Path, two: Path) -> None:
    assert len(rows_of(one)) == len(rows_of(two)) == 3
    for expected, found in zip(rows_of(one), rows_of(two), strict=True):
        for name in QUANTITIES:
            assert float(found[name]) == pytest.approx(float(expected[name]), abs=1e-5), name


@pytest.mark.parametrize("network", NETWORKS)
def test_two_processes_have_the_figures_and_weights_of_one(network, train, tmp_path):
    overrides = [*EXACT, *NETWORKS[network], "model.dropout=0"]
    assert train(*overrides, f"hydra.run.dir={tmp_path / 'one'}").code == 0
    ended = run_ranks(tmp_path / "two", *overrides)
    assert [process.code for process in ended] == [0, 0], ended
    require_same_figures(tmp_path / "one", tmp_path / "two")
    for name, expected in weights(tmp_path / "one").items():
        assert torch.allclose(weights(tmp_path / "two")[name].double(), expected.double(), atol=1e-5), name


def test_the_command_starts_its_processes_itself(train, tmp_path):
    """By its other names too, into a folder whose name has blanks and brackets; and `evaluate` reads what it leaves."""
    overrides = [*EXACT, *NETWORKS["fc"]]
    assert train(*overrides, f"hydra.run.dir={tmp_path / 'one'}").code == 0
    two = tmp_path / "two (of 2)=a"
    command = [sys.executable, "-m", "fer_lightning", "train", *overrides, "trainer.devices=2", f"hydra.run.dir={two}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, ended.stderr
    assert "CPU, 2 processes" in ended.stdout
    assert ended.stdout.count("train loss") == ended.stdout.count("1/3 ") == 1
    assert ended.stderr == ""
    require_same_figures(tmp_path / "one", two)


def stopped_by(signum: int, *ranks: int, step: int) -> Callable[[int], None]:
    """Have processes of these numbers receive a signal before a step of training (counted over epochs)."""

    def prepare(rank: int) -> None:
        def before(self, trainer, pl_module, batch, batch_idx):
            if rank in ranks and trainer.current_epoch * trainer.num_training_batches + batch_idx == step:
                os.kill(os.getpid(), signum)

        StopAtMaxSteps.on_train_batch_start = before

    return prepare


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory) -> Path:
    """A run of RANDOM (dropout, every augmentation, batch norm, a moving average) on two processes."""
    folder = tmp_path_factory.mktemp("ranks") / "whole"
    ended = run_ranks(folder, *RANDOM, prepare=keep_weights(folder))
    assert [process.code for process in ended] == [0, 0], ended
    return folder


def keep_weights(folder: Path) -> Callable[[int], None]:
    """Have each process write the weights that it ends with, and the images of its training batches."""

    def prepare(rank: int) -> None:
        images: list[int] = []

        def batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            images.append(len(batch.images))

        def end(self, trainer, pl_module):
            torch.save({"weights": pl_module.network.state_dict(), "images": images}, f"{folder}-{rank}.pt")

        StopAtMaxSteps.on_train_batch_end, StopAtMaxSteps.on_train_end = batch_end, end

    return prepare


def test_all_that_is_random_is_complete_and_equal_on_both_processes(never_stopped):
    rows = rows_of(never_stopped)
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    first, second = (torch.load(f"{never_stopped}-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert [sum(pair) for pair in zip(first["images"], second["images"], strict=True)] == [11] * 2 * STEPS
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
    assert len(list(never_stopped.glob("tensorboard/events*"))) == 1


@pytest.mark.parametrize(
    ("ranks", "signum", "step"),
    [((0,), signal.SIGTERM, STEPS + 2), ((1,), signal.SIGINT, STEPS - 1), ((0, 1), signal.SIGTERM, STEPS + 2)],
    ids=["first", "second", "both"],
)
def test_a_signal_to_any_process_stops_all_after_one_step_and_the_run_is_resumed_exactly(
    ranks, signum, step, never_stopped, tmp_path
):
    folder = tmp_path / "run"
    ended = run_ranks(folder, *RANDOM, prepare=stopped_by(signum, *ranks, step=step))
    assert [process.code for process in ended] == [128 + signum] * 2, ended
    assert ended[0].err.startswith(f"stopped by {signal.Signals(signum).name}; ")
    assert "last.ckpt is kept, and the same command with hydra.run.dir=" in ended[0].err
    assert ended[1].err == ""
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == step + 1
    ended = run_ranks(folder, *RANDOM, "resume=true", launcher=slurm)
    assert [process.code for process in ended] == [0, 0], ended
    assert differences(never_stopped, folder) == []


@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_others_with_a_message_and_the_run_goes_on(killed, never_stopped, tmp_path):
    """From the last checkpoint, here that of the step before (`checkpoint_minutes=0`)."""
    folder, saved_often = tmp_path / "run", [*RANDOM, "checkpoint_minutes=0"]
    began = time.monotonic()
    prepare = stopped_by(signal.SIGKILL, killed, step=STEPS + 2)
    ended = run_ranks(folder, *saved_often, prepare=prepare)
    assert time.monotonic() - began < 90
    assert ended[killed].code == -signal.SIGKILL
    assert ended[1 - killed].code == 2
    assert "the connection to another process of this run is lost" in ended[1 - killed].err
    assert len(ended[1 - killed].err.splitlines()) == 1
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == STEPS + 2
    ended = run_ranks(folder, *saved_often, "resume=true")
    assert [process.code for process in ended] == [0, 0], ended
    assert differences(never_stopped, folder) == []


def processes_of(folder: Path) -> list[int]:
    """Processes, other than zombies, that were started to train in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            found += [int(entry.name)] * (str(folder).encode() in (entry / "cmdline").read_bytes())
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
@pytest.mark.parametrize(
    ("number", "sent", "code", "said"),
    [
        (0, signal.SIGTERM, 143, "stopped by SIGTERM; "),
        (1, signal.SIGKILL, 2, "error: process 2 of this run ended by SIGKILL"),
        (0, signal.SIGKILL, -9, "error: the first process of this run was killed"),
    ],
)
def test_processes_of_one_command_end_together(number, sent, code, said, tmp_path):
    folder = tmp_path / "run"
    overrides = [*EXACT, *NETWORKS["fc"], "trainer.max_epochs=2000", "trainer.devices=2", f"hydra.run.dir={folder}"]
    command = [sys.executable, "-m", "fer_lightning.train", *overrides]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 200
    while not (folder / "history.csv").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)
    both = sorted(processes_of(folder), key=lambda found: found != process.pid)
    assert len(both) == 2
    os.kill(both[number], sent)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith(said)
    assert "resume=true" in err
    end = time.monotonic() + 20
    while processes_of(folder):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert (folder / "checkpoints" / "last.ckpt").exists()


def test_soft_labels_uneven_parts_and_limits_have_finite_figures(tmp_path):
    """57 validation images in parts of 29 and 28; the rest of the kinds of targets, in one run."""
    overrides = [*FC[1:], "data.images=570", "draw.every=0", "trainer.max_epochs=2", "model.class_weights=true"]
    limits = ["+trainer.limit_train_batches=3", "trainer.accumulate_grad_batches=2", "data.augment.mixup=0.2"]
    ended = run_ranks(tmp_path / "run", *overrides, *limits)
    assert [process.code for process in ended] == [0, 0], ended
    assert all(math.isfinite(float(value)) for row in rows_of(tmp_path / "run") for value in row.values())
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["epochs"] == 2


@pytest.mark.parametrize(("images", "world"), [(1025, 2), (3589, 7), (3, 7)])
def test_each_image_is_scored_once_in_equally_many_steps(images, world):
    faces = FaceTensors(torch.zeros(images, 1, 48, 48, dtype=torch.uint8), torch.arange(images))
    given = [list(Batches(faces, torch.arange(images), 512, rank=rank, world=world)) for rank in range(world)]
    assert len({len(batches) for batches in given}) == 1
    seen = torch.cat([batch.targets for batches in given for batch in batches])
    assert sorted(seen.tolist()) == list(range(images))
