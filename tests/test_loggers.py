"""Lightning's other loggers, beside TensorBoard: what they keep is what the run measured."""

import contextlib
import csv
import importlib.util
import sqlite3

import pytest

SMALL = [
    "data.images=210",
    "data.batch_size=64",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "draw.every=0",
]
SMALL += ["model=fc", "model.hidden=[8]", "draw.deepdream=false", "draw.embedding=0", "trainer.max_epochs=2"]
QUANTITIES = ("val/accuracy", "val/loss", "train/accuracy", "train/loss")


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: pip install -e '.[{package}]'")


def measured(folder):
    with open(folder / "history.csv", newline="") as file:
        return [{name: float(row[name]) for name in QUANTITIES} for row in csv.DictReader(file)]


def test_csv_holds_every_epoch_also_of_a_resumed_run(train, tmp_path):
    assert train(*SMALL, "logger=csv", f"hydra.run.dir={tmp_path}").code == 0
    assert train(*SMALL, "logger=csv", "resume=true", "trainer.max_epochs=3", f"hydra.run.dir={tmp_path}").code == 0
    kept: dict = {}  # the resumed run begins with the last epoch before it
    for path in sorted(tmp_path.glob("csv/version_*/metrics.csv")):
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                kept.setdefault(int(row["step"]), {}).update({key: value for key, value in row.items() if value})
    expected = measured(tmp_path)
    assert list(kept) == [0, 1, 2]
    for epoch, row in kept.items():
        assert {name: float(row[name]) for name in QUANTITIES} == pytest.approx(expected[epoch], rel=1e-5)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_logger_may_be_changed_on_resuming(train, tmp_path):
    assert train(*SMALL, f"hydra.run.dir={tmp_path}").code == 0
    ended = train(*SMALL, "logger=csv", "resume=true", "trainer.max_epochs=3", f"hydra.run.dir={tmp_path}")
    assert ended.code == 0, ended.err
    assert len(measured(tmp_path)) == 3


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_every_epoch_and_the_settings(train, tmp_path):
    ended = train(*SMALL, "logger=mlflow", f"hydra.run.dir={tmp_path}")
    assert ended.code == 0, ended.err
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        kept = store.execute("select value from metrics where key = 'val/accuracy' order by step").fetchall()
        settings = dict(store.execute("select key, value from params").fetchall())
    assert [value for (value,) in kept] == pytest.approx([row["val/accuracy"] for row in measured(tmp_path)])
    assert (settings["model.name"], settings["data.images"]) == ("fc", "210")


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_is_told_every_epoch_and_keeps_it_offline(train, tmp_path, monkeypatch):
    from wandb.sdk.wandb_run import Run

    told, log = [], Run.log

    def keep(run, data, *others, **settings):
        told.append(data)
        return log(run, data, *others, **settings)

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr(Run, "log", keep)
    ended = train(*SMALL, "logger=wandb", f"hydra.run.dir={tmp_path}")
    assert ended.code == 0, ended.err
    for name in QUANTITIES:
        assert [data[name] for data in told if name in data] == pytest.approx([row[name] for row in measured(tmp_path)])
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert kept.stat().st_size > 1000


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_logger_that_is_not_installed_is_one_message(train, tmp_path, monkeypatch, name):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module, *more: None if module == name else find(module, *more)
    )
    ended = train(*SMALL, f"logger={name}", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 2
    assert f"logger={name}: {name} is not installed" in ended.err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_unknown_logger_is_answered_with_those_that_are(train, tmp_path):
    ended = train(*SMALL, "logger=tensorbord", f"hydra.run.dir={tmp_path}")
    assert ended.code == 2
    assert "Did you mean tensorboard?" in ended.err
