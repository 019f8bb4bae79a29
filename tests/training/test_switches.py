"""Lightning's arguments in a run: rows hold what was measured; tests/settings has those that are refused."""

import csv

import pytest
from tiny_runs import FC, run_fit

from fer_lightning.errors import InputError
from fer_lightning.training.ranks import started_processes

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
