"""Commands that are killed or stopped, and commands in processes of their own: the same weights in the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import FC, RANDOM, differences, run_fit, weights

from fer_lightning.networks.weight_files import load_network

KILLS = Path(__file__).resolve().parents[2] / "benchmarks" / "reliability" / "kills.py"


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "fer_lightning.train", *overrides]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the run ended early with {process.returncode}"
        assert time.monotonic() < end, "the run did not get there in time"
        time.sleep(0.02)


@pytest.mark.parametrize("seed", [0, 2])
def test_a_run_killed_at_random_moments_ends_as_the_one_that_was_never_stopped(seed):
    """Weights, metrics.json, history.csv and curves; also killed while writing, and just before the end."""
    kills = [sys.executable, str(KILLS), "--kills", "4", "--seeds", str(seed)]
    ended = subprocess.run(kills, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    outcome = json.loads(ended.stdout)
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
    killed = [sys.executable, "-c", KILLED_IN_ITS_FOURTH_EPOCH, str(KILLS.parent), str(tmp_path / "run")]
    ended = subprocess.run(killed, capture_output=True, text=True, check=True)
    status, rows, steps = json.loads(ended.stdout)
    assert status == -signal.SIGKILL
    assert rows >= 3
    assert steps[: rows - 1] == list(range(rows - 1))


def test_a_command_killed_in_an_epoch_and_resumed_ends_as_one_that_was_never_stopped(train, tmp_path):
    """By SIGKILL, in one of the last of many epochs; with other hashes of names than this process."""
    long = [*RANDOM, "trainer.max_epochs=12", "draw.every=0"]
    process = subprocess.Popen(
        command(*long, f"hydra.run.dir={tmp_path / 'killed'}"),
        env=os.environ | {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    history = tmp_path / "killed" / "history.csv"
    wait_for(lambda: history.exists() and len(history.read_text().splitlines()) >= 3, process)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "metrics.json").exists()
    assert train(*long, f"hydra.run.dir={tmp_path / 'killed'}", "resume=true").code == 0
    run_fit(tmp_path / "whole", *long)
    assert differences(tmp_path / "whole", tmp_path / "killed") == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_a_usable_last_checkpoint_within_10_seconds(tmp_path, signum):
    overrides = [*FC, "trainer.max_epochs=10000", f"hydra.run.dir={tmp_path}", "draw.every=0"]
    process = subprocess.Popen(command(*overrides), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "history.csv").exists, process)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 128 + signum
    assert f"hydra.run.dir={tmp_path} resume=true resumes" in errors
    assert "Traceback" not in errors
    network = load_network(tmp_path / "checkpoints" / "last.ckpt").network
    assert network(torch.zeros(1, 1, 48, 48)).shape == (1, 7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_the_same_seed_gives_the_same_weights_twice_on_a_gpu(tmp_path):
    """In processes of their own, since cuBLAS takes its workspace when it starts."""
    on_gpu = [*RANDOM, "trainer.accelerator=gpu", "trainer.devices=1", "trainer.deterministic=true"]
    for name in ("first", "second"):
        subprocess.run(command(*on_gpu, f"hydra.run.dir={tmp_path / name}"), check=True)
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
