"""All figures of a run on FER+, of its evaluation and in the report carry the name of FER+."""

import csv
import json

import pytest
from ferplus_sets import ferplus_overrides, write_ferplus
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning.report.experiments import gather


def test_every_figure_of_a_run_and_of_its_evaluation_is_named_ferplus(train, run_command, tmp_path):
    write_ferplus(tmp_path)
    run = tmp_path / "run"
    network = ["model.conv=[{filters: 4, kernel: 7, pool: 4}]", "model.hidden=[16]", "data.batch_size=16"]
    settings = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.precision=32-true", "draw.deepdream=false"]
    arguments = [*ferplus_overrides(tmp_path, "data.soft=true"), *network, *settings, f"hydra.run.dir={run}"]
    ended = train(*arguments)
    assert ended.code == 0, ended.err
    assert "on FER+" in ended.out
    metrics = json.loads((run / "metrics.json").read_text())
    figures = {"val/accuracy", "val/loss", "val/macro_f1", "train/accuracy", "train/loss"}
    assert {f"ferplus-{name}" for name in figures} <= metrics.keys()
    assert not figures & metrics.keys()
    columns = set(next(csv.reader((run / "history.csv").read_text().splitlines())))
    assert {f"ferplus-{name}" for name in figures} <= columns
    assert not figures & columns
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    tags = {*events.Tags()["scalars"], *events.Tags()["images"]}
    assert {f"ferplus-{name}" for name in (*figures, "confusion_matrix/val")} <= tags
    assert not {*figures, "confusion_matrix/val"} & tags
    again = train(*arguments, "resume=true")
    assert again.code == 0, again.err
    assert "finished" in again.out

    code, out, err = run_command(
        "evaluate", f"checkpoint={run / 'checkpoints' / 'best.ckpt'}", *ferplus_overrides(tmp_path)
    )
    assert code == 0, err
    assert "conv_poster on FER+, val (13 images)" in out
    found = json.loads((run / "ferplus-evaluation-val" / "evaluation.json").read_text())
    assert found["ferplus-accuracy"] == pytest.approx(metrics["ferplus-val/accuracy"])
    assert not {"accuracy", "macro_f1", "ece", "confusion_matrix", "per_class"} & found.keys()
    assert found["data"] == found["trained_on"] == "ferplus"

    data = ["data=fer2013", ferplus_overrides(tmp_path)[1], "data.check_counts=false"]
    compare = f"compare={run / 'ferplus-evaluation-val'}"
    code, out, err = run_command("evaluate", f"checkpoint={run / 'checkpoints' / 'best.ckpt'}", *data, compare)
    assert code == 2
    assert "other images" in err
    code, out, err = run_command("evaluate", f"checkpoint={run / 'checkpoints' / 'best.ckpt'}", *data)
    assert code == 0, err
    assert "Trained on FER+, scored on fer2013." in out

    report = gather([run])
    assert [one.accuracy for one in report.runs] == [metrics["ferplus-val/accuracy"]]
    assert [one.data for one in report.runs[0].evaluations] == ["ferplus"]


def test_folds_of_ferplus_are_named_too(train, tmp_path):
    write_ferplus(tmp_path)
    network = ["model.conv=[{filters: 2, kernel: 7, pool: 4}]", "model.hidden=[8]", "data.batch_size=16"]
    settings = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.precision=32-true", "draw.every=0"]
    ended = train(*ferplus_overrides(tmp_path), *network, *settings, "cv.folds=2", f"hydra.run.dir={tmp_path / 'cv'}")
    assert ended.code == 0, ended.err
    metrics = json.loads((tmp_path / "cv" / "metrics.json").read_text())
    assert "cv/mean" not in metrics
    fold = json.loads((tmp_path / "cv" / "fold-1" / "metrics.json").read_text())
    assert metrics["ferplus-cv/scores"][0] == fold["ferplus-val/accuracy"]
