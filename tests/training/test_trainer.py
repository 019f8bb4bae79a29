"""The loggers beside TensorBoard hold what the run measured; precision `auto` is what the hardware computes in."""

import contextlib
import csv
import importlib.util
import shutil
import sqlite3
import sys
import time
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from lightning.pytorch.loggers import Logger
from tiny_runs import FC, run_fit

from fer_lightning.errors import InputError
from fer_lightning.training import trainer

SHORT = [*FC, "draw.every=0", "trainer.max_epochs=2"]
QUANTITIES = ("val/accuracy", "val/loss", "train/accuracy", "train/loss")


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: pip install -e '.[{package}]'")


def measured(folder):
    with open(folder / "history.csv", newline="") as file:
        return [{name: float(row[name]) for name in QUANTITIES} for row in csv.DictReader(file)]


def test_csv_holds_every_epoch_also_of_a_resumed_run(tmp_path):
    run_fit(tmp_path, *SHORT, "logger=csv")
    run_fit(tmp_path, *SHORT, "logger=csv", "resume=true", "trainer.max_epochs=3")
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


def test_a_logger_may_be_changed_on_resuming(fc_run, tmp_path):
    shutil.copytree(fc_run, tmp_path / "run")
    run_fit(tmp_path / "run", *SHORT, "logger=csv", "resume=true", "trainer.max_epochs=3")
    assert len(measured(tmp_path / "run")) == 3


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_every_epoch_and_the_settings(tmp_path):
    run_fit(tmp_path, *SHORT, "logger=mlflow")
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        kept = store.execute("select value from metrics where key = 'val/accuracy' order by step").fetchall()
        settings = dict(store.execute("select key, value from params").fetchall())
    assert [value for (value,) in kept] == pytest.approx([row["val/accuracy"] for row in measured(tmp_path)])
    assert (settings["model.name"], settings["data.images"]) == ("fc", "70")


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_gets_every_epoch_of_each_run_and_keeps_it_offline(tmp_path, monkeypatch):
    import wandb
    from wandb.sdk.wandb_run import Run

    logged, log = [], Run.log

    def keep(run, data, *others, **settings):
        logged.append(data)
        return log(run, data, *others, **settings)

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr(Run, "log", keep)
    for run in ("first", "second"):  # as folds of a cross-validation, in one process
        logged.clear()
        run_fit(tmp_path / run, *SHORT, "logger=wandb", f"seed={len(run)}")
        for name in QUANTITIES:
            values = [data[name] for data in logged if name in data]
            assert values == pytest.approx([row[name] for row in measured(tmp_path / run)])
    wandb.finish()
    for run in ("first", "second"):
        (kept,) = (tmp_path / run).glob("wandb/offline-run-*/run-*.wandb")
        end = time.monotonic() + 30
        while kept.stat().st_size < 1000:  # wandb's own process writes it
            assert time.monotonic() < end
            time.sleep(0.05)


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_goes_on_in_the_same_run_when_a_run_is_resumed(tmp_path):
    folder = tmp_path / "run"
    run_fit(folder, *SHORT, "logger=mlflow")
    run_fit(folder, *SHORT, "logger=mlflow", "resume=true", "trainer.max_epochs=3")
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
        runs = store.execute("select run_uuid, status from runs").fetchall()
        kept = dict(store.execute("select step, value from metrics where key = 'val/accuracy'").fetchall())
    assert [status for _, status in runs] == ["FINISHED"]
    assert [kept[epoch] for epoch in range(3)] == pytest.approx([row["val/accuracy"] for row in measured(folder)])
    lost = (folder / "logger.json").read_text().replace(runs[0][0], "0" * 32)
    (folder / "logger.json").write_text(lost)  # then a new one begins
    run_fit(folder, *SHORT, "logger=mlflow", "resume=true", "trainer.max_epochs=4")
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
        assert store.execute("select count(*) from runs").fetchone() == (2,)


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_goes_on_in_the_same_run_when_a_run_is_resumed(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("one", "two"):
        run_fit(tmp_path / name, *SHORT, "logger=wandb")
    for name in ("one", "two"):
        run_fit(tmp_path / name, *SHORT, "logger=wandb", "resume=true", "trainer.max_epochs=3")
    wandb.finish()
    ids = {
        name: {path.stem.removeprefix("run-") for path in (tmp_path / name).glob("wandb/offline-run-*/run-*.wandb")}
        for name in ("one", "two")
    }
    assert len(ids["one"]) == len(ids["two"]) == 1
    assert ids["one"] != ids["two"]


class KeptRuns(Logger):
    """A logger of the network, stubbed: it keeps the identifiers of its runs."""

    asked: ClassVar[list[str | None]] = []

    def __init__(self, *_: object, id: str | None = None, run_id: str | None = None, **__: object) -> None:
        super().__init__()
        self.asked.append(id or run_id)
        self.run_id = id or run_id or f"run{len(self.asked)}"

    name = "kept"
    experiment = "any"

    @property
    def version(self) -> str:
        return self.run_id

    def log_metrics(self, *_: object, **__: object) -> None: ...

    def log_hyperparams(self, *_: object, **__: object) -> None: ...


@pytest.mark.parametrize(("name", "stubbed"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")])
def test_a_resumed_run_goes_on_in_the_run_of_its_logger_and_a_new_one_or_another_project_does_not(
    name, stubbed, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(finish=lambda: None, __spec__=object()))
    monkeypatch.setattr(trainer, stubbed, KeptRuns)
    monkeypatch.setattr(KeptRuns, "asked", [])
    elsewhere = {"wandb": "logger.project=other", "mlflow": "logger.tracking_uri=http://elsewhere"}[name]
    again = [*SHORT, f"logger={name}", "resume=true"]
    run_fit(tmp_path / "a", *SHORT, f"logger={name}")
    run_fit(tmp_path / "a", *again, "trainer.max_epochs=3")
    run_fit(tmp_path / "b", *SHORT, f"logger={name}")
    run_fit(tmp_path / "a", *again, "trainer.max_epochs=4", elsewhere)
    run_fit(tmp_path / "a", *again, "trainer.max_epochs=5", elsewhere)
    assert KeptRuns.asked == [None, "run1", None, None, "run4"]


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_logger_that_is_not_installed_is_one_message(monkeypatch, tmp_path, name):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module, *more: None if module == name else find(module, *more)
    )
    with pytest.raises(InputError, match=f"logger={name}: {name} is not installed"):
        run_fit(tmp_path / "run", *SHORT, f"logger={name}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("gpu", "cpu_has_bf16", "accelerator", "expected"),
    [
        ((9, 0), False, "auto", "bf16-mixed"),
        ((8, 0), False, "gpu", "bf16-mixed"),
        ((7, 5), True, "auto", "16-mixed"),
        ((9, 0), False, "cpu", "32-true"),
        (None, True, "auto", "bf16-mixed"),
        (None, True, "cpu", "bf16-mixed"),
        (None, False, "auto", "32-true"),
    ],
)
def test_precision_auto_is_what_the_hardware_computes_in(gpu, cpu_has_bf16, accelerator, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: gpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(trainer, "cpu_computes_in_bf16", lambda: cpu_has_bf16)
    assert trainer.choose_precision("auto", accelerator) == expected
    assert trainer.choose_precision("64-true", accelerator) == "64-true"
