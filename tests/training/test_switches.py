"""Lightning's arguments in a run: rows hold what was measured; tests/settings has those that are refused."""

import csv
import io

import pytest
import torch
from rich.console import Console
from tiny_runs import FC, run_fit, settings_from

from fer_lightning.errors import InputError
from fer_lightning.training.ranks import require_started_processes, started_processes
from fer_lightning.training.trainer import describe_device

SHORT = [*FC, "draw.every=0", "trainer.max_epochs=3"]


def rows_of(folder):
    return [
        {key: float(value) for key, value in row.items()}
        for row in csv.DictReader((folder / "history.csv").read_text().splitlines())
    ]


@pytest.mark.parametrize(
    ("switch", "epochs"),
    [
        ("+trainer.max_steps=6", 2),
        ("+trainer.max_steps=8", 2),
        ("+trainer.max_steps=2", 1),
        ("+trainer.max_steps=-1", 3),
        ("+trainer.max_time=00:00:10:00", 3),
        ("+trainer.limit_train_batches=2", 3),
        ("+trainer.limit_train_batches=0.5", 3),
        ("+trainer.limit_val_batches=1", 3),
        ("+trainer.min_epochs=2", 3),
        ("+trainer.min_steps=5", 3),
        ("+trainer.inference_mode=false", 3),
        ("+trainer.detect_anomaly=true", 3),
        ("+trainer.profiler=simple", 3),
        ("+trainer.benchmark=true", 3),
        ("trainer.accumulate_grad_batches=3", 3),
    ],
)
def test_every_row_is_measured(switch, epochs, tmp_path):
    metrics = run_fit(tmp_path, *SHORT, switch)
    rows = rows_of(tmp_path)
    assert [row["epoch"] for row in rows] == list(range(epochs))
    assert len({row["val/loss"] for row in rows}) == epochs  # each of its own weights
    assert all(row["images_per_second"] > 0 for row in rows)
    assert metrics["epochs"] == epochs


def test_a_run_that_ended_by_its_steps_stays_as_it_is(tmp_path):
    run_fit(tmp_path, *SHORT, "+trainer.max_steps=6")
    before = (tmp_path / "metrics.json").stat().st_mtime_ns
    run_fit(tmp_path, *SHORT, "+trainer.max_steps=6", "resume=true")
    assert (tmp_path / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ("train_batches=0.001", r"limit_train_batches=0.001: of 4 batches this is less than one. .* at least 0.25$"),
        ("train_batches=0.24", r"limit_train_batches=0.24: of 4 batches"),
        (
            "val_batches=0.5",
            r"limit_val_batches=0.5: of one batch this is less than one. Give a number",
        ),
    ],
)
def test_a_share_of_less_than_one_batch_is_refused(switch, said, tmp_path):
    with pytest.raises(InputError, match=said):
        run_fit(tmp_path / "run", *SHORT, f"+trainer.limit_{switch}")
    assert not (tmp_path / "run").exists()


def test_batch_norm_is_synchronised_between_gpus_alone(tmp_path):
    with pytest.raises(InputError, match=r"trainer.sync_batchnorm=true: .*GPUs alone"):
        run_fit(tmp_path / "run", *SHORT, "+trainer.sync_batchnorm=true", "trainer.devices=2")
    screen = Console(file=io.StringIO(), width=200)
    run_fit(tmp_path / "run", *SHORT, "+trainer.sync_batchnorm=true", console=screen)
    assert "note: trainer.sync_batchnorm has no effect on one device" in screen.file.getvalue()


def test_the_start_line_says_how_many_of_the_devices_are_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    lines = {}
    for devices in ("auto", "1", "[1]", "'0,1'", "2", "-1"):
        settings = settings_from("trainer.accelerator=gpu", f"trainer.devices={devices}")
        lines[devices] = describe_device(settings.trainer)
    assert lines["auto"] == lines["1"] == lines["[1]"] == "1 of 2 GPUs (NVIDIA H100), bf16-mixed"
    assert lines["'0,1'"] == lines["2"] == lines["-1"] == "2 of 2 GPUs (NVIDIA H100), bf16-mixed"


def test_no_time_at_all_is_one_message(tmp_path):
    with pytest.raises(InputError, match=r"trainer.max_time is too short"):
        run_fit(tmp_path, *SHORT, "+trainer.max_time=00:00:00:00")


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
@pytest.mark.parametrize("more", [[], ["cv.folds=2"]], ids=str)
def test_processes_that_a_run_does_not_use_are_refused(variable, more, train, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, "2")
    assert started_processes() == 2
    ended = train(*SHORT, *more, f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 2
    assert "2 processes were started" in ended.err
    assert len(ended.err.splitlines()) == 1


UNDER_TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "0", "RANK": "0"}
IN_A_STEP = {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize(
    ("environment", "devices", "said"),
    [
        (
            UNDER_TORCHRUN | {"WORLD_SIZE": "1"},
            "2",
            r"^1 process was started .*devices=2 has 2. .*nproc-per-node 2",
        ),
        (UNDER_TORCHRUN | {"WORLD_SIZE": "4"}, "2", r"^4 processes were started .*trainer.devices=2 has 2"),
        (UNDER_TORCHRUN | {"WORLD_SIZE": "2"}, "2", None),
        (UNDER_TORCHRUN | {"WORLD_SIZE": "2"}, "[0,1,2]", r"^2 processes were started .* has 3"),
        (IN_A_STEP, "1", r"^2 processes were started \(torchrun or srun\), and this run has one"),
        (IN_A_STEP, "2", None),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "ENVIRONMENT": "BATCH"}, "2", None),  # the command starts both
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "ENVIRONMENT": "BATCH"}, "2", None),  # a batch script without srun
        ({"SLURM_NTASKS": "2"}, "1", None),  # the shell of salloc
    ],
)
def test_the_processes_that_were_started_are_those_of_the_run(environment, devices, said, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = settings_from(f"trainer.devices={devices}").trainer
    if said is None:
        require_started_processes(settings)
    else:
        with pytest.raises(InputError, match=said):
            require_started_processes(settings)
