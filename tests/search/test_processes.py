"""Worker processes of a search: how many there are, on which GPUs and threads, and where there are none."""

import os
import sys

import pytest
import torch
from small_searches import QUICK, in_folder

from fer_lightning.cli import settings_of
from fer_lightning.settings import TrainSettings
from fer_lightning.training import processes
from fer_lightning.training.processes import assign_gpus, started, visible_gpus


@pytest.fixture
def gpus(monkeypatch):
    """Makes this machine one of so many GPUs, with CUDA_VISIBLE_DEVICES as given."""

    def set_up(count: int, visible: str | None) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.delenv(processes.GPUS, raising=False)
        if visible is not None:
            monkeypatch.setenv(processes.GPUS, visible)

    return set_up


@pytest.fixture
def assigned(compose, search_settings):
    """`assign_gpus` for a number of workers and the settings of a training run."""

    def assign(workers: object, *overrides: str, trials: int = 100) -> list[str | None]:
        trainer = settings_of(compose("model=fc", *overrides), TrainSettings).trainer
        return assign_gpus(search_settings(workers=workers).workers, trainer, trials)

    return assign


@pytest.mark.parametrize(
    ("count", "visible", "names"),
    [
        (0, None, []),
        (3, None, ["0", "1", "2"]),
        (2, "4,6", ["4", "6"]),
        (2, "GPU-8932f937, GPU-1e5a4c10", ["GPU-8932f937", "GPU-1e5a4c10"]),
        (1, "MIG-a0a0,MIG-b1b1", ["MIG-a0a0", "MIG-b1b1"]),  # CUDA counts one MIG instance a process
        (1, "5,77", ["5"]),  # there is no GPU 77
        (0, "", []),
        (0, "-1", []),
    ],
)
def test_the_gpus_that_may_be_used_are_those_of_cuda_visible_devices(gpus, count, visible, names):
    gpus(count, visible)
    assert visible_gpus() == names


def test_auto_is_one_worker_a_gpu_and_one_on_a_cpu(gpus, assigned):
    gpus(3, None)
    assert assigned("auto") == ["0", "1", "2"]
    assert assigned("auto", "trainer.accelerator=cpu") == [None]
    assert assigned("auto", "trainer.devices=[1]") == [None]
    assert assigned("auto", trials=2) == ["0", "1"]
    assert assigned("auto", trials=0) == ["0"]
    gpus(0, None)
    assert assigned("auto") == [None]


def test_a_number_of_workers_takes_the_gpus_in_turn(gpus, assigned):
    gpus(2, "4,6")
    assert assigned(1) == ["4"]
    assert assigned(2) == ["4", "6"]
    assert assigned(3) == ["4", "6", "4"]
    assert assigned(3, "trainer.accelerator=cpu") == [None] * 3


def seen_by_workers(folder, gpus, threads=3) -> list[list[str]]:
    """Values of environment variables in processes that `started` starts, number by number."""
    names = [processes.GPUS, processes.THREADS, processes.VARIABLE]
    code = f"import os; print(*(os.environ.get(name, '-') for name in {names!r}))"
    with started([sys.executable, "-c", code], gpus, threads, folder) as workers:
        for worker in workers:
            worker.process.wait(60)
    return [(folder / f"worker-{number}.log").read_text().split() for number in range(1, len(gpus) + 1)]


def test_each_worker_is_pinned_to_its_gpu_and_has_its_share_of_the_threads(tmp_path, monkeypatch):
    monkeypatch.delenv(processes.THREADS, raising=False)
    monkeypatch.setenv(processes.GPUS, "4,6")
    assert seen_by_workers(tmp_path, ["4", "6"]) == [["4", "3", "1/2"], ["6", "3", "2/2"]]


def test_the_users_number_of_threads_and_a_device_that_is_named_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv(processes.THREADS, "5")
    monkeypatch.setenv(processes.GPUS, "7")
    assert seen_by_workers(tmp_path, [None, None]) == [["7", "5", "1/2"], ["7", "5", "2/2"]]


def test_three_gpus_are_three_children_of_the_search(gpus, train, tmp_path, monkeypatch):
    """The children are stand-ins that print their GPU and command, and fail: the trials are then not done."""
    gpus(3, None)
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/bin/sh\necho $CUDA_VISIBLE_DEVICES "$@"\nexit 3\n')
    stand_in.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    words = [word for word in QUICK if "accelerator" not in word]
    result = train(*words, *in_folder(tmp_path / "sweep", 4))
    logs = [(tmp_path / "sweep" / f"worker-{number}.log").read_text() for number in (1, 2, 3)]
    assert [log.split()[0] for log in logs] == ["0", "1", "2"]
    assert all(f"-m fer_lightning.train {' '.join(words)}" in log for log in logs)
    assert "3 workers on GPU 0, 1, 2" in result.out
    assert result.out.count("ended by exit status 3") == 3
    assert result.code == 2
    assert "worker 1 ended by exit status 3" in result.err
    assert "0 of 4 done" in result.err
    assert "The same command goes on" in result.err


def test_three_gpus_share_the_folds_of_a_cross_validation(gpus, train, tmp_path, monkeypatch):
    """Each worker has its GPU and its folds; where one fails, its last line is told, and the others are stopped."""
    gpus(3, None)
    stand_in = tmp_path / "python"
    stand_in.write_text(
        '#!/bin/sh\necho $CUDA_VISIBLE_DEVICES $FER_LIGHTNING_FOLDS "$@"\n[ $CUDA_VISIBLE_DEVICES != 1 ]\n'
    )
    stand_in.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    words = ["model=fc", "data.images=70", "cv.folds=5", f"hydra.run.dir={tmp_path / 'run'}"]
    result = train(*words)
    logs = [(tmp_path / "run" / f"worker-{number}.log").read_text() for number in (1, 2, 3)]
    assert [log.split()[:2] for log in logs] == [["0", "1,4"], ["1", "2,5"], ["2", "3"]]
    assert all("-m fer_lightning.train model=fc data.images=70 cv.folds=5" in log for log in logs)
    assert "3 workers on GPU 0, 1, 2" in result.out
    assert result.code == 2
    assert "worker 2 ended by exit status 1" in result.err
    assert "resume=true goes on" in result.err


@pytest.mark.parametrize("words", [["--multirun", "seed=0,1", "cv.folds=2"], [*QUICK]], ids=["jobs", "search"])
def test_workers_of_folds_are_for_one_cross_validation(words, train, tmp_path):
    result = train(*words, "model=fc", "data.images=70", "cv.workers=2", *in_folder(tmp_path / "sweep", 4)[:1])
    assert result.code == 2
    assert "cv.workers=2" in result.err + result.out


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["hydra/launcher=submitit_local"], {}, "workers=2: hydra/launcher=submitit_local runs processes side by side"),
        (["hydra.sweeper.jobs=2"], {}, "hydra.sweeper.workers=2: each takes one trial at a time"),
        ([], {"WORLD_SIZE": "2"}, "2 processes were started (torchrun or srun)"),
        ([], {"SLURM_STEP_NUM_TASKS": "4"}, "4 processes were started (torchrun or srun)"),
        (["hydra.sweeper.workers=auto"], {"WORLD_SIZE": "2"}, "2 processes were started (torchrun or srun)"),
    ],
)
def test_workers_are_refused_beside_another_way_of_several_processes(
    train, tmp_path, monkeypatch, words, environment, said
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "hydra/launcher=submitit_local" in words:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the launcher is not installed")
    several = [] if "hydra.sweeper.workers=auto" in words else ["hydra.sweeper.workers=2"]
    result = train(*QUICK, *words, *in_folder(tmp_path / "sweep", 4), *several)
    assert result.code == 2
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "sweep").exists()


def test_auto_is_one_process_beside_a_launcher(search_settings):
    settings = search_settings()
    assert processes.require_one_process(settings, None).workers == "auto"
    assert processes.require_one_process(settings, "ray").workers == 1
    assert processes.require_one_process(search_settings(jobs=2), None).workers == 1


def test_a_worker_that_fails_is_told_with_its_last_lines(tmp_path):
    (tmp_path / "worker-1.log").write_text("of an earlier command\n")
    code = "import os, signal\nfor number in range(20): print(number, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    with started([sys.executable, "-c", code], [None], 1, tmp_path) as (worker,):
        worker.process.wait(60)
    assert worker.failure() == "SIGKILL"
    assert worker.last_lines(3) == ["17", "18", "19"]
    assert worker.last_lines(99)[0] == "0"
    assert os.path.getsize(worker.log) > len("of an earlier command\n")


def test_workers_that_run_when_the_block_ends_are_stopped(tmp_path):
    code = "import sys; sys.stdin.read(); print('the parent is gone')"
    with started([sys.executable, "-c", code], [None, None], 1, tmp_path) as workers:
        assert [worker.process.poll() for worker in workers] == [None, None]
    assert [worker.process.returncode for worker in workers] == [0, 0]
    assert {(tmp_path / f"worker-{number}.log").read_text() for number in (1, 2)} == {"the parent is gone\n"}
