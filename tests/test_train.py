"""The main job, in process and as a command: what it leaves, how it stops, and that it goes on exactly."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning.callbacks import Diverged, StopWhenDiverged
from fer_lightning.checkpoints import load_classifier, read_checkpoint
from fer_lightning.data.faces import VAL
from fer_lightning.run import build

SMALL = ["data.images=280", "model=hybrid_poster", "model.conv=[{filters: 4, kernel: 7, pool: 4}]", "model.hidden=[16]"]
QUICK = [*SMALL, "data.batch_size=32", "trainer.accelerator=cpu", "trainer.precision=32-true"]


def weights(folder: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "checkpoints" / name)["state_dict"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "fer_lightning.train", *overrides]


def wait_for(condition, process: subprocess.Popen, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the run ended early with {process.returncode}"
        assert time.monotonic() < end, "the run did not get there in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, train):
    """A run of four epochs that was never stopped, with everything random switched on."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train(*RANDOM, f"hydra.run.dir={folder}").code == 0
    return folder


RANDOM = [
    *QUICK,
    "trainer.max_epochs=4",
    "model.dropout=0.3",
    "data.augment={flip: 0.5, shift: 2, rotate: 10, scale: 0.1, erase: 0.3, mixup: 0.2}",
    "schedule=one_cycle",
    "optimizer.lr=0.05",
]


def test_a_run_leaves_what_the_contract_names(whole_run):
    metrics = json.loads((whole_run / "metrics.json").read_text())
    quantities = {"val/accuracy", "val/loss", "val/macro_f1", "train/accuracy", "train/loss"}
    others = {"best_epoch", "epochs", "parameters", "images_per_second", "seconds", "seed", "split_sizes"}
    assert quantities | others <= metrics.keys()
    assert metrics["split_sizes"] == {"train": 224, "val": 28, "test": 28}
    assert metrics["epochs"] == 4
    assert (whole_run / ".hydra" / "config.yaml").exists()
    rows = list(csv.DictReader((whole_run / "history.csv").read_text().splitlines()))
    best = max(rows, key=lambda row: float(row["val/accuracy"]))
    assert int(best["epoch"]) == metrics["best_epoch"]
    assert all(float(best[name]) == pytest.approx(metrics[name]) for name in quantities)


def test_the_best_checkpoint_scores_what_metrics_json_says(whole_run, compose):
    config = read_checkpoint(whole_run / "checkpoints" / "best.ckpt")["config"]
    datamodule, _ = build(config)
    classifier = load_classifier(whole_run / "checkpoints" / "best.ckpt")
    rows = datamodule.rows[VAL]
    with torch.no_grad():
        predicted = classifier.classify(datamodule.tensors.images[rows]).argmax(dim=1)
    labels = datamodule.tensors.labels[rows]
    metrics = json.loads((whole_run / "metrics.json").read_text())
    assert metrics["val/accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert metrics["val/macro_f1"] == pytest.approx(
        f1_score(labels, predicted, average="macro", zero_division=0), abs=1e-6
    )


def test_tensorboard_shows_curves_pictures_and_hyperparameters(whole_run):
    events = EventAccumulator(str(whole_run / "tensorboard"), size_guidance={"images": 0}).Reload()
    scalars, images = set(events.Tags()["scalars"]), set(events.Tags()["images"])
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/macro_f1", "lr"} <= scalars
    assert {"confusion_matrix/val", "filters/conv1"} <= images
    assert [event.step for event in events.Scalars("val/accuracy")] == [0, 1, 2, 3]
    assert [event.step for event in events.Images("confusion_matrix/val")] == [0, 1, 2, 3]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_the_same_seed_gives_the_same_weights_twice_and_another_seed_others(whole_run, train, tmp_path):
    assert train(*RANDOM, f"hydra.run.dir={tmp_path / 'again'}").code == 0
    assert same(weights(whole_run), weights(tmp_path / "again"))
    assert train(*RANDOM, f"hydra.run.dir={tmp_path / 'one'}", "seed=1").code == 0
    assert not same(weights(whole_run), weights(tmp_path / "one"))


def test_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(whole_run, tmp_path):
    """Killed with SIGKILL in the middle of its third epoch."""
    arguments = [*RANDOM, f"hydra.run.dir={tmp_path}"]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    history = tmp_path / "history.csv"
    wait_for(lambda: history.exists() and len(history.read_text().splitlines()) >= 3, process)
    process.kill()
    process.wait()
    assert not (tmp_path / "metrics.json").exists()
    subprocess.run(command(*arguments, "resume=true"), check=True, capture_output=True)
    assert same(weights(whole_run), weights(tmp_path))
    assert same(weights(whole_run, "best.ckpt"), weights(tmp_path, "best.ckpt"))
    expected, resumed = (json.loads((folder / "metrics.json").read_text()) for folder in (whole_run, tmp_path))
    timing = {"seconds", "images_per_second"}
    assert {k: v for k, v in resumed.items() if k not in timing} == {
        k: v for k, v in expected.items() if k not in timing
    }


@pytest.mark.parametrize(
    "extra",
    [["ema.decay=0.9"], ["schedule=plateau", "schedule.patience=1"], ["optimizer=adamw", "model.class_weights=true"]],
    ids=["moving average", "plateau", "adamw"],
)
def test_a_run_stopped_after_any_epoch_goes_on_exactly(train, tmp_path, extra, monkeypatch):
    from fer_lightning.history import History

    arguments = [*QUICK, "trainer.max_epochs=4", "model.dropout=0.3", "optimizer.lr=0.05", *extra]
    assert train(*arguments, f"hydra.run.dir={tmp_path / 'whole'}").code == 0
    ended = History.on_train_epoch_end

    def stop_after_two(self, trainer, pl_module):
        if len(self.rows) == 2 and not stopped:
            stopped.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        ended(self, trainer, pl_module)

    stopped: list[bool] = []
    monkeypatch.setattr(History, "on_train_epoch_end", stop_after_two)
    folder = tmp_path / "stopped"
    assert train(*arguments, f"hydra.run.dir={folder}").code == 128 + signal.SIGTERM
    assert train(*arguments, f"hydra.run.dir={folder}", "resume=true").code == 0
    assert same(weights(tmp_path / "whole"), weights(folder))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_a_usable_last_checkpoint_within_10_seconds(tmp_path, signum):
    arguments = [*QUICK, "trainer.max_epochs=1000", f"hydra.run.dir={tmp_path}", "draw.every=0"]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "history.csv").exists, process)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 128 + signum
    assert "resume=true goes on" in errors
    assert "Traceback" not in errors
    assert load_classifier(tmp_path / "checkpoints" / "last.ckpt").classify(torch.zeros(1, 1, 48, 48)).shape == (1, 7)


def test_a_finished_run_stays_as_it_is(whole_run, train):
    files = [path for path in whole_run.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    result = train(*RANDOM, f"hydra.run.dir={whole_run}", "resume=true")
    assert result.code == 0
    assert "this run is finished" in result.out
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files} == before


def test_a_finished_run_goes_on_when_more_epochs_are_asked_for(train, tmp_path):
    arguments = [*QUICK, f"hydra.run.dir={tmp_path}", "trainer.max_epochs=2"]
    assert train(*arguments).code == 0
    assert train(*arguments[:-1], "trainer.max_epochs=3", "resume=true").code == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["epochs"] == 3


def test_resume_with_nothing_there_begins_at_the_beginning_and_says_so(train, tmp_path):
    result = train(*QUICK, f"hydra.run.dir={tmp_path}", "trainer.max_epochs=1", "resume=true")
    assert result.code == 0
    assert "begins at the beginning" in result.out


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_kept(whole_run, train):
    before = (whole_run / "checkpoints" / "last.ckpt").read_bytes()
    result = train(*RANDOM, f"hydra.run.dir={whole_run}")
    assert result.code == 2
    assert "already holds a run. Add resume=true" in result.err
    assert (whole_run / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_run_is_not_resumed_with_other_settings(whole_run, train):
    settings = (whole_run / ".hydra" / "config.yaml").read_bytes()
    (whole_run / "metrics.json").rename(whole_run / "metrics.kept")
    try:
        result = train(*RANDOM[:-1], "optimizer.lr=0.5", f"hydra.run.dir={whole_run}", "resume=true")
    finally:
        (whole_run / "metrics.kept").rename(whole_run / "metrics.json")
    assert result.code == 2
    assert "optimizer.lr was 0.05" in result.err
    assert (whole_run / ".hydra" / "config.yaml").read_bytes() == settings


def test_a_diverging_run_stops_at_the_step_and_keeps_the_last_good_checkpoint(train, tmp_path):
    result = train(*QUICK, f"hydra.run.dir={tmp_path}", "trainer.max_epochs=5", "optimizer.lr=1e30")
    assert result.code == 2
    assert "the loss became NaN or infinite at step" in result.err
    kept = weights(tmp_path)
    assert all(torch.isfinite(value).all() for value in kept.values())
    assert not (tmp_path / "metrics.json").exists()


def test_losses_that_were_not_looked_at_yet_are_before_a_checkpoint_is_written():
    """As on a GPU, which is not waited for after each step."""
    guard, trainer = StopWhenDiverged(), SimpleNamespace(global_step=7, current_epoch=0)
    guard.losses = [torch.tensor(1.0), torch.tensor(float("nan")), torch.tensor(1.0)]
    with pytest.raises(Diverged, match="at step 6"):
        guard.on_save_checkpoint(trainer, None, {})


def test_early_stopping_ends_a_run_that_no_longer_gets_better(train, tmp_path):
    arguments = [*QUICK, f"hydra.run.dir={tmp_path}", "trainer.max_epochs=50", "early_stopping.patience=1"]
    assert train(*arguments, "optimizer.lr=1e-9").code == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["epochs"] < 10


def test_seed_0_is_a_seed(whole_run):
    assert json.loads((whole_run / "metrics.json").read_text())["seed"] == 0


def test_l2_is_on_weights_only(compose):
    from fer_lightning.config import plain
    from fer_lightning.optimization import build_optimizer

    config = plain(compose(*QUICK, "optimizer.weight_decay=0.5"))
    _, classifier = build(config)
    decayed = {
        id(p): g["weight_decay"]
        for g in build_optimizer(classifier.network, config["optimizer"]).param_groups
        for p in g["params"]
    }
    for name, parameter in classifier.network.named_parameters():
        kernel = name.endswith(("conv.weight", "linear.weight", "scores.weight"))
        assert decayed[id(parameter)] == (0.5 if kernel else 0.0), name


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=hybrid_dep"], "model=hybrid_dep: no such model. Did you mean hybrid_deep?"),
        (["optimizer.lrr=0.1"], "optimizer.lrr: no such setting. Did you mean optimizer.lr"),
        (["modl.hidden=[8]"], "modl: no such setting. Did you mean model?"),
        (["epochs=3"], "epochs: no such setting. Did you mean trainer.max_epochs"),
        (["optimizer.lr=fast"], "optimizer.lr='fast': expected a number above 0"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: expected a number above 0"),
        (["optimizer=sgdd"], "Did you mean sgd?"),
        (["trainer.max_epochs=1.5"], "trainer.max_epochs=1.5: expected a whole number of 1 or more"),
        (["trainer.precision=17"], "trainer: Lightning refuses these settings"),
        (["+trainer.max_epoks=3"], "trainer: Lightning refuses these settings"),
        (["seed=-1"], "seed=-1: expected a whole number from 0"),
        (["data.augment.flip=2"], "data.augment.flip=2: expected a number from 0 to 1"),
        (["model.hidden=256"], "model.hidden=256: expected a list of widths"),
        (["memory_format=nhwc"], "memory_format='nhwc': expected auto or channels_last or contiguous"),
        (["model=fc", "model.input=sift"], "model.input='sift': expected hog or pixels"),
        (["data.hog.orientations=99", "model=fc"], "hog.orientations=99: expected a whole number from 1 to 18"),
        (["data=fer2013"], "data.path"),
        (["data=fer2013", "data.path=/no/such/file.csv"], "/no/such/file.csv"),
        (["model.conv=[{filters: 8, pool: 64}]"], "pooling by 64 leaves nothing of the 48x48 output"),
    ],
)
def test_bad_input_gets_one_clear_message_and_leaves_nothing(train, tmp_path, overrides, said):
    result = train(*overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 2
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir()), "a refused run leaves nothing behind"
