"""Workers of one search command: the same scores as one process, and none outlives the command, however it ends."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SEARCH = [
    "--multirun",
    "model=fc",
    "model.hidden=[16]",
    "data.images=280",
    "data.batch_size=32",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
    "draw.every=0",
    "draw.deepdream=false",
    "draw.embedding=0",
    "cv.folds=2",
    "sweeps=lr_reg_hidden",
    "hydra.sweeper.first=[]",
    "optimizer.weight_decay=1e-7",
    "optimizer.lr=0.001,0.01,0.05,0.1",
    "hydra.sweeper.sampler=grid",
    "hydra.sweeper.pruner=none",
    "hydra.sweeper.n_trials=4",
]


def start(folder: Path, workers: int, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fer_lightning.train", *SEARCH, f"hydra.sweeper.workers={workers}"]
    with open(folder.with_suffix(".log"), "a") as log:
        return subprocess.Popen([*command, f"hydra.sweep.dir={folder}", *more], stdout=log, stderr=log, text=True)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def wait_for(condition, seconds: float = 90) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


def workers_of(folder: Path) -> list[int]:
    """Processes, other than zombies, whose environment makes them workers of this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if b"FER_LIGHTNING_WORKER=" in (entry / "environ").read_bytes():
                found += [int(entry.name)] * (str(folder).encode() in (entry / "cmdline").read_bytes())
        except OSError:
            pass
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "sweep"
    assert start(folder, 1).wait(240) == 0
    return rows(folder)


def scores(table: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    return {row["optimizer.lr"]: (row["state"], row["fold_scores"]) for row in table}


def test_two_workers_give_the_scores_of_one_process(alone, tmp_path):
    assert start(tmp_path / "sweep", 2).wait(240) == 0
    assert scores(rows(tmp_path / "sweep")) == scores(alone)
    assert len(list((tmp_path / "sweep").glob("worker-*.log"))) == 2


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
def test_workers_end_with_their_command_and_the_same_command_goes_on(alone, tmp_path, sent):
    folder = tmp_path / "sweep"
    parent = start(folder, 2)
    assert wait_for(lambda: any(folder.glob("trial-*/fold-1/checkpoints/last.ckpt"))), folder.with_suffix(
        ".log"
    ).read_text()
    assert len(workers_of(folder)) == 2
    os.kill(parent.pid, sent)
    assert parent.wait(60) == (-9 if sent == signal.SIGKILL else 128 + sent)
    assert wait_for(lambda: not workers_of(folder), 45)
    assert start(folder, 2).wait(240) == 0, folder.with_suffix(".log").read_text()
    assert scores(rows(folder)) == scores(alone)


FOLDS = [*SEARCH[1:10], "draw.embedding=0", "cv.folds=3", "optimizer.lr=0.05"]


def cross_validated(folder: Path) -> dict[str, object]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name != "seconds"}


@pytest.mark.timeout(900)  # two commands, each of three processes that import torch
def test_two_workers_train_the_folds_of_one_process_and_go_on_after_a_stop(train, tmp_path):
    assert train(*FOLDS, f"hydra.run.dir={tmp_path / 'one'}").code == 0
    folder = tmp_path / "two"
    command = [sys.executable, "-m", "fer_lightning.train", *FOLDS, "cv.workers=2", f"hydra.run.dir={folder}"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert wait_for(lambda: (folder / "fold-2" / "checkpoints" / "last.ckpt").exists(), 200), parent.communicate()
    parent.terminate()
    out, _ = parent.communicate(timeout=100)
    assert parent.returncode == 143, out
    assert "2 workers; what they print is in" in out
    assert "resume=true resumes" in out
    assert not workers_of(folder)
    ended = subprocess.run([*command, "resume=true"], capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("fold 3 of 3: ") == 1
    assert cross_validated(folder) == cross_validated(tmp_path / "one")
    with np.load(folder / "predictions.npz") as two, np.load(tmp_path / "one" / "predictions.npz") as one:
        assert all(np.array_equal(two[name], one[name]) for name in one.files)
