"""Multiruns of real trainings that are killed or stopped in their second job, in processes of their own."""

import json
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_searches import CPU

EPOCHS = 12
COMMAND = ["-m", "fer_lightning.train", "--multirun", "seed=0,1,2", "model=fc", "model.hidden=[8]", *CPU]
COMMAND += ["data.images=140", "data.batch_size=16", f"trainer.max_epochs={EPOCHS}", "optimizer.lr=0.1"]
COMMAND += ["draw.every=0", "draw.deepdream=false", "draw.embedding=0"]
TIMES = {"seconds", "images_per_second"}


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, *COMMAND, f"hydra.sweep.dir={folder}", *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_epochs(folder: Path, epochs: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 90
    while not folder.exists() or len(folder.read_text().splitlines()) <= epochs:
        assert process.poll() is None, "the jobs ended early"
        assert time.monotonic() < end, "the jobs did not get there in time"
        time.sleep(0.01)


def metrics(folder: Path) -> dict[str, dict[str, object]]:
    """metrics.json of each job, without times."""
    files = {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/metrics.json")}
    return {name: {key: value for key, value in file.items() if key not in TIMES} for name, file in files.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multirun") / "undisturbed"
    process = start(folder)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return folder


def test_mean_and_sd_are_those_of_the_metrics_of_the_runs(undisturbed):
    scores = [file["val/accuracy"] for file in metrics(undisturbed).values()]
    (figures,) = json.loads((undisturbed / "jobs.json").read_text())["over_seeds"]
    assert figures["mean"] == pytest.approx(statistics.fmean(scores))
    assert figures["sd"] == pytest.approx(statistics.stdev(scores))
    assert (figures["figure"], figures["n"], len(scores)) == ("val/accuracy", 3, 3)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_jobs_that_end_in_the_second_and_go_on_leave_the_figures_of_undisturbed_ones(signum, undisturbed, tmp_path):
    folder = tmp_path / "mine"
    process = start(folder)
    wait_for_epochs(folder / "seed=1" / "history.csv", EPOCHS // 3, process)
    process.send_signal(signum)
    out, err = process.communicate()
    if signum == signal.SIGKILL:
        assert process.returncode == -signum
    else:
        said = f"stopped by {signum.name}; the same command with hydra.sweep.dir={folder} resume=true goes on\n"
        assert (process.returncode, err) == (128 + signum, said)
        assert out.count("job ") == 3  # two that began, and the heading of the table
    assert sorted(metrics(folder)) == ["seed=0"]

    process = start(folder, "resume=true")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert [line.split("│")[-2].strip() for line in out.splitlines() if "│" in line][:3] == [
        "left alone",
        "done",
        "done",
    ]
    assert metrics(folder) == metrics(undisturbed)
