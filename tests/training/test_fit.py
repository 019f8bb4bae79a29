"""What a run leaves, that it is reproducible, and that bad input is refused before anything is written."""

import csv
import json
import random
import sys

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from tiny_runs import FC, RANDOM, ScriptedAccuracy, run_fit, weights

QUANTITIES = {"val/accuracy", "val/loss", "val/macro_f1", "train/accuracy", "train/loss"}


def test_a_run_leaves_what_the_contract_names(whole_run):
    metrics = json.loads((whole_run / "metrics.json").read_text())
    others = {"best_epoch", "epochs", "parameters", "images_per_second", "seconds", "seed", "split_sizes"}
    assert metrics.keys() >= QUANTITIES | others
    assert metrics["split_sizes"] == {"train": 56, "val": 7, "test": 7}
    assert metrics["epochs"] == 2
    assert metrics["seed"] == 0  # 0 is a seed
    assert metrics["parameters"] == sum(value.numel() for name, value in weights(whole_run).items() if is_trained(name))
    for name in ("config", "hydra", "overrides"):
        assert (whole_run / ".hydra" / f"{name}.yaml").exists()


def is_trained(name: str) -> bool:
    return name.endswith((".weight", ".bias"))


def test_history_has_a_row_an_epoch_and_metrics_json_the_best_of_them(tmp_path):
    script = ScriptedAccuracy([1 / 7, 5 / 7, 5 / 7, 2 / 7])
    run_fit(tmp_path, *FC, "draw.every=0", "trainer.max_epochs=4", callbacks=[script])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert [float(row["val/accuracy"]) for row in rows] == pytest.approx([1 / 7, 5 / 7, 5 / 7, 2 / 7])
    assert all(float(rows[1][name]) == pytest.approx(metrics[name]) for name in QUANTITIES)
    assert metrics["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows))
    times = [56 / float(row["images_per_second"]) for row in rows]
    assert metrics["images_per_second"] == pytest.approx(4 * 56 / sum(times))
    assert all(time < float(row["seconds"]) for time, row in zip(times, rows, strict=True))


def test_the_table_on_the_screen_has_the_numbers_of_the_history(train, tmp_path):
    printed = train(*FC, "trainer.max_epochs=2", "draw.every=0", f"hydra.run.dir={tmp_path}").out
    lines = [line.split() for line in printed.splitlines() if "/2 " in line]
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [line[0] for line in lines] == ["1/2", "2/2"]
    for line, row in zip(lines, rows, strict=True):
        train_loss, train_accuracy, val_loss, val_accuracy = (
            float(row[name]) for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
        )
        assert line[1:5] == [f"{train_loss:.4f}", f"{train_accuracy:.2%}", f"{val_loss:.4f}", f"{val_accuracy:.2%}"]
    assert "fc on synthetic, best of 2 epochs" in printed
    assert str(tmp_path / "metrics.json") in printed


@pytest.mark.parametrize("more", [[], ["trainer.precision=bf16-mixed"], ["trainer.deterministic=true"]], ids=str)
def test_the_same_seed_gives_the_same_weights_twice(more, uninterrupted, tmp_path):
    """Whatever was drawn before in the process."""
    first = weights(uninterrupted(*RANDOM, *more))
    torch.rand(7), np.random.rand(7), random.random()  # noqa: NPY002
    run_fit(tmp_path, *RANDOM, *more)
    again = weights(tmp_path)
    assert first.keys() == again.keys()
    assert [name for name in first if not torch.equal(first[name], again[name])] == []


def test_another_seed_gives_other_weights(whole_run, tmp_path):
    run_fit(tmp_path, *RANDOM, "seed=1")
    first, other = weights(whole_run), weights(tmp_path)
    assert not torch.equal(first["network.head.scores.weight"], other["network.head.scores.weight"])


def test_the_moving_average_is_the_one_of_its_formula(tmp_path):
    steps, name = [], "network.head.scores.weight"

    def keep(trainer, module, *_: object) -> None:
        steps.append(module.network.head.scores.weight.detach().clone())

    overrides = [*FC, "ema.decay=0.7", "trainer.max_epochs=2", "optimizer.lr=0.1", "draw.every=0"]
    run_fit(tmp_path, *overrides, callbacks=[LambdaCallback(on_train_batch_end=keep)])
    average = steps[0]
    for value in steps[1:]:
        average = 0.7 * average + 0.3 * value
    torch.testing.assert_close(weights(tmp_path)[name], average)
    assert not torch.allclose(average, steps[-1])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["optimizer.lrr=0.1"], "optimizer.lrr: no such setting. Did you mean optimizer.lr"),
        (["trainer.precision=17", "data.images=70"], "trainer: Lightning refuses these settings"),
        (["data=fer2013"], "data.path"),
        (["data=fer2013", "data.path=/no/such/file.csv"], "/no/such/file.csv"),
        (["model.conv=[{filters: 8, pool: 64}]"], "pooling by 64 leaves nothing of the 48x48 output"),
        (["logger=mlflow", "data.images=70"], "logger=mlflow: mlflow is not installed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_run_that_is_refused_gets_one_clear_message_and_leaves_nothing(train, tmp_path, overrides, said, monkeypatch):
    """What the command refuses before it imports torch is in tests/cli."""
    monkeypatch.setitem(sys.modules, "mlflow", None)
    result = train(*overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 2
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
