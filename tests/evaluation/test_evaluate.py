"""The command `evaluate`: its metrics against scikit-learn and the training run, its files, and its messages."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix
from small_sets import csv_text, encoded, in_csv_order, pictures

from fer_lightning.cli import settings_of
from fer_lightning.data.faces import TEST, TRAIN, VAL
from fer_lightning.data.sources import open_faces
from fer_lightning.errors import InputError
from fer_lightning.evaluation.inference import load_ensemble, predict_probabilities
from fer_lightning.evaluation.records import read_evaluation
from fer_lightning.settings import EvaluateSettings, TrainSettings

SMALL = ("data=synthetic", "data.images=140")


@pytest.fixture
def evaluate(run_command):
    return partial(run_command, "evaluate")


@pytest.fixture
def evaluated(evaluate, checkpoint, tmp_path):
    """The evaluation.json of `conv0` on val, in tmp_path / "a"."""
    ended = evaluate(f"checkpoint={checkpoint('conv0')}", *SMALL, f"hydra.run.dir={tmp_path / 'a'}")
    assert ended.code == 0, ended.err
    return tmp_path / "a" / "evaluation.json"


@pytest.fixture(scope="module")
def val(compose):
    """The validation faces of SMALL (n, 1, 48, 48) and their labels (n,)."""
    faces = open_faces(settings_of(compose(*SMALL), TrainSettings).data)
    rows = faces.rows(VAL)
    return torch.from_numpy(faces.images[rows])[:, None], faces.labels[rows]


@pytest.fixture
def leaky(tmp_path):
    """A csv whose val copies the first training image and mirrors the last one; no PrivateTest."""
    made = in_csv_order(pictures(seed=1, counts=(4, 2, 0)))
    train = [picture for picture in made if picture.split == TRAIN]
    val = [picture for picture in made if picture.split == VAL]
    exact = val[0]._replace(jpeg=train[0].jpeg)
    mirrored = val[1]._replace(jpeg=encoded(np.ascontiguousarray(train[-1].pixels[:, ::-1]), "PNG"))
    path = tmp_path / "leaky.csv"
    path.write_text(csv_text([*train, exact, mirrored, *val[2:]]))
    return path


def content(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


def test_an_evaluation_agrees_with_the_training_run_and_with_sklearn(run, evaluate, val):
    ended = evaluate(f"checkpoint={run / 'checkpoints' / 'best.ckpt'}", *SMALL)
    assert ended.code == 0, ended.err
    found, trained = content(run / "evaluation-val"), json.loads((run / "metrics.json").read_text())
    assert found["accuracy"] == pytest.approx(trained["val/accuracy"])
    assert found["macro_f1"] == pytest.approx(trained["val/macro_f1"])
    images, labels = val
    (network,) = load_ensemble(str(run / "checkpoints" / "best.ckpt"), "cpu").networks
    with torch.no_grad():
        predicted = network(images).argmax(1).numpy()
    assert found["confusion_matrix"] == confusion_matrix(labels, predicted, labels=range(7)).tolist()
    assert found["n"] == len(labels) == found["n_unique"]
    assert f"{found['accuracy']:.2%}" in ended.out
    assert found["command"].startswith("python -m fer_lightning.evaluate checkpoint=")
    with Image.open(run / "evaluation-val" / "confusion_matrix.png") as picture:
        assert min(picture.size) > 500


def test_evaluation_json_has_its_keys(evaluated):
    found = json.loads(evaluated.read_text())
    expected = """model data tta split n accuracy accuracy_ci95 interval macro_f1 balanced_accuracy per_class
        confusion_matrix accuracy_unique n_unique accuracy_unique_mirrored n_unique_mirrored
        accuracy_unique_near n_unique_near n_near_copies ece temperature ece_with_temperature images_sha256
        temperature_fitted_on checkpoint checkpoint_sha256 trained_on data_path data_fingerprint notes command
        seconds"""
    assert set(found) == set(expected.split())
    assert set(found["per_class"]["happy"]) == {"precision", "recall", "f1", "n"}
    assert (found["trained_on"], found["data"], found["tta"]) == ("synthetic", "synthetic", "none")


def test_the_temperature_for_test_is_the_one_fitted_on_val(evaluate, checkpoint):
    run = checkpoint("conv0").parents[1]
    for split in ("val", "test"):
        assert evaluate(f"checkpoint={checkpoint('conv0')}", *SMALL, f"split={split}").code == 0
    val, test = (content(run / f"evaluation-{split}") for split in ("val", "test"))
    assert test["temperature"] == pytest.approx(val["temperature"], rel=1e-6)
    assert (val["temperature_fitted_on"], test["temperature_fitted_on"]) == ("val, these same images", "val")
    assert test["split"] == "test"
    assert test["images_sha256"] != val["images_sha256"]


@pytest.mark.parametrize(("given", "kept"), [("2.0", (2.0, "given")), ("null", (None, None))])
def test_a_given_temperature_is_taken_and_null_is_none(given, kept, evaluate, checkpoint, tmp_path):
    options = (f"temperature={given}", f"hydra.run.dir={tmp_path}")
    assert evaluate(f"checkpoint={checkpoint('conv0')}", *SMALL, *options).code == 0
    found = content(tmp_path)
    assert (found["temperature"], found["temperature_fitted_on"]) == kept
    assert (found["ece_with_temperature"] is None) == (given == "null")


def test_an_ensemble_is_the_mean_of_probabilities_and_has_the_metrics_of_its_members(
    tmp_path, evaluate, checkpoint, val
):
    paths = [checkpoint("conv0"), checkpoint("conv1"), checkpoint("hybrid")]
    seeds = f"checkpoint=[{','.join(map(str, paths[:2]))}]"
    ended = evaluate(seeds, *SMALL, f"hydra.run.dir={tmp_path / 'seeds'}")
    assert ended.code == 0, ended.err
    spread = content(tmp_path / "seeds")["over_members"]["accuracy"]["sd"]
    assert f"{spread:.2%}" in next(line for line in ended.out.splitlines() if "standard deviation" in line)
    mixed = f"checkpoint=[{','.join(map(str, paths))}]"
    ended = evaluate(mixed, *SMALL, "tta=flip", f"hydra.run.dir={tmp_path / 'mixed'}")
    assert ended.code == 0, ended.err
    found, labels, probabilities = read_evaluation(tmp_path / "mixed")
    assert found["model"] == "2 x conv_poster + hybrid_poster"
    each = [predict_probabilities(load_ensemble(str(path), "cpu").networks, val[0], "flip")[0] for path in paths]
    assert np.allclose(probabilities, torch.stack(each).mean(0).numpy(), atol=1e-6)
    assert np.array_equal(labels, val[1])
    accuracies = [(one.argmax(1).numpy() == labels).mean() for one in each]
    assert [member["accuracy"] for member in found["members"]] == pytest.approx(accuracies)
    assert found["over_members"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert found["over_members"]["accuracy"]["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert "standard deviation" not in ended.out  # of different networks there is none over seeds
    assert len(set(found["checkpoint_sha256"])) == 3
    assert found["trained_on"] == ["synthetic"] * 3


def test_results_go_beside_the_checkpoint_and_those_of_no_run_to_runs(evaluate, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = checkpoint("conv0"), checkpoint("conv1")
    (first.parent / "last.ckpt").write_bytes(first.read_bytes())
    (tmp_path / "mine.ckpt").write_bytes(first.read_bytes())
    for checkpoints in (first, first.parent / "last.ckpt", tmp_path / "mine.ckpt", f"[{first},{second}]"):
        assert evaluate(f"checkpoint={checkpoints}", *SMALL, "tta=flip").code == 0
    run = first.parents[1]
    assert content(run / "evaluation-val-flip")["checkpoint"] == str(first)
    assert content(run / "evaluation-val-flip-last")["checkpoint"].endswith("last.ckpt")
    folders = sorted(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("evaluation.json"))
    ensemble, mine = folders
    assert ensemble.startswith("runs/ensemble-")
    assert ensemble.endswith("/evaluation-val-flip")
    assert mine == "runs/mine/evaluation-val-flip"


def test_two_evaluations_of_the_same_images_are_compared_image_by_image(tmp_path, evaluate, evaluated, checkpoint):
    second = f"checkpoint={checkpoint('conv1')}"
    ended = evaluate(second, *SMALL, f"compare={evaluated}", f"hydra.run.dir={tmp_path / 'b'}")
    assert ended.code == 0, ended.err
    now, before = content(tmp_path / "b"), json.loads(evaluated.read_text())
    assert now["mcnemar"]["difference"] == pytest.approx(now["accuracy"] - before["accuracy"])
    assert (now["mcnemar"]["with"], now["mcnemar"]["model"]) == (str(evaluated), "conv_poster")
    assert "McNemar's exact p" in ended.out
    other = (f"compare={evaluated.parent}", f"hydra.run.dir={tmp_path / 'other'}")
    ended = evaluate(second, *SMALL, "split=test", *other)
    assert ended.code == 2
    assert "other images (val, 14)" in ended.err
    assert not (tmp_path / "other").exists()


def test_copies_of_training_images_are_left_out_mirrored_ones_counted_apart(tmp_path, evaluate, checkpoint, leaky):
    data = ("data=fer2013", f"data.path={leaky}", "data.check_counts=false")
    ended = evaluate(f"checkpoint={checkpoint('conv0')}", *data, f"hydra.run.dir={tmp_path / 'out'}")
    assert ended.code == 0, ended.err
    found, labels, probabilities = read_evaluation(tmp_path / "out")
    assert (found["n"], found["n_unique"], found["n_unique_mirrored"]) == (14, 13, 12)
    correct = probabilities.argmax(1) == labels
    assert found["accuracy"] == pytest.approx(correct.mean())
    assert found["accuracy_unique"] == pytest.approx(correct[1:].mean())
    assert found["accuracy_unique_mirrored"] == pytest.approx(correct[2:].mean())
    assert any("val is not PublicTest" in note for note in found["notes"])
    assert (found["n_unique_near"], found["n_near_copies"]) == (12, 2)


def test_near_copies_of_train_are_counted_and_much_of_them_is_said(tmp_path, evaluate, checkpoint):
    made = in_csv_order(pictures(seed=1, counts=(4, 2, 0)))
    for place in range(28, 42):
        pixels = made[place - 28].pixels * 0.6 + 20
        made[place] = made[place]._replace(jpeg=encoded(pixels[:, :: 1 - 2 * (place % 2)].astype(np.uint8), "PNG"))
    (tmp_path / "changed.csv").write_text(csv_text(made))
    data = ("data=fer2013", f"data.path={tmp_path / 'changed.csv'}", "data.check_counts=false")
    ended = evaluate(f"checkpoint={checkpoint('conv0')}", *data, f"hydra.run.dir={tmp_path / 'out'}")
    assert ended.code == 0, ended.err
    found = content(tmp_path / "out")
    assert (found["n"], found["n_unique"], found["n_near_copies"], found["n_unique_near"]) == (14, 14, 14, 0)
    assert found["accuracy_unique"] == found["accuracy"]
    assert found["accuracy_unique_near"] is None
    assert "near copies of train" in ended.out
    assert any(
        note.startswith("Of 14 images of val, 14 stand in train too (copies, changed") for note in found["notes"]
    )


def test_a_source_without_the_split_is_refused_with_what_it_holds(evaluate, checkpoint, leaky):
    data = ("data=fer2013", f"data.path={leaky}", "data.check_counts=false")
    ended = evaluate(f"checkpoint={checkpoint('conv0')}", *data, "split=test", "tta=tencrop")
    assert ended.code == 2
    assert "split=test: the data holds no such images, but train 28, val 14" in ended.err
    assert not (checkpoint("conv0").parents[1] / "evaluation-test-tencrop").exists()


def test_private_test_alone_can_be_scored(tmp_path, evaluate, checkpoint):
    made = [picture for picture in pictures(counts=(0, 0, 3)) if picture.split == TEST]
    (tmp_path / "private.csv").write_text(csv_text(made))
    data = ("data=fer2013", f"data.path={tmp_path / 'private.csv'}", "data.check_counts=false", "split=test")
    ended = evaluate(f"checkpoint={checkpoint('conv0')}", *data, f"hydra.run.dir={tmp_path / 'out'}")
    assert ended.code == 0, ended.err
    found = content(tmp_path / "out")
    assert found["n"] == 21
    assert found["accuracy_unique"] is found["temperature"] is found["ece_with_temperature"] is None
    assert found["temperature_fitted_on"] is None
    assert [note.split(",")[0] for note in found["notes"]] == [
        "Labels are numbers",
        "Trained on synthetic",
        "There is no val",
        "There is no train",
    ]


def test_an_evaluation_is_replaced_by_one_of_the_same_images_and_by_no_other(evaluate, evaluated, checkpoint):
    folder = evaluated.parent
    same = (f"checkpoint={checkpoint('conv0')}", *SMALL, f"hydra.run.dir={folder}")
    assert evaluate(*same).code == 0
    before = evaluated.read_text()
    ended = evaluate(*same, "split=test")
    assert ended.code == 2
    assert "holds an evaluation with another images_sha256" in ended.err
    assert evaluated.read_text() == before
    assert {path.name for path in folder.iterdir()} == {"evaluation.json", "predictions.npz", "confusion_matrix.png"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path, evaluate, checkpoint):
    (tmp_path / "runs").write_text("")
    path = tmp_path / "runs" / "x"
    ended = evaluate(f"checkpoint={checkpoint('conv0')}", *SMALL, f"hydra.run.dir={path}")
    assert ended.code == 2
    assert str(path) in ended.err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=synthetic"], "checkpoint=None: expected a checkpoint"),
        (["checkpoint=[]", "data=synthetic"], "checkpoint=[]: expected a checkpoint, or several"),
        (["checkpoint=nowhere.ckpt", "data=synthetic"], "nowhere.ckpt: no such checkpoint"),
        (["checkpoint=a.ckpt", "data=fer2014"], "Did you mean fer2013"),
        (["checkpoint=a.ckpt", "data=synthetic", "split=public"], "expected 'train', 'val' or 'test'"),
        (["checkpoint=a.ckpt", "data=synthetic", "tta=fivecrop"], "expected 'none', 'flip' or 'tencrop'"),
        (["checkpoint=a.ckpt", "data=synthetic", "temperature=test"], "expected val, a number above 0, or null"),
        (["checkpoint=a.ckpt", "data=synthetic", "data.size=96"], "data.size: without effect in this command"),
        (["checkpoint=a.ckpt", "data=synthetic", "splt=val"], "Did you mean split"),
    ],
)
def test_a_mistake_gets_one_clear_message(overrides, message, evaluate):
    ended = evaluate(*overrides)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err + ended.out


def test_the_help_names_every_setting_of_the_command(evaluate):
    ended = evaluate("--help")
    assert ended.code == 0
    assert all(f" {key}=" in ended.out for key in EvaluateSettings.model_fields if key != "data")


def test_predictions_from_untrusted_files_run_no_code(evaluated):
    objects = np.array([print], dtype=object)
    np.savez(evaluated.with_name("predictions.npz"), labels=objects, probabilities=np.zeros((14, 7)))
    with pytest.raises(InputError, match=r"not an evaluation\.json .* allow_pickle=False"):
        read_evaluation(evaluated)


def test_damaged_files_are_no_evaluation(evaluated):
    predictions, figures = evaluated.with_name("predictions.npz"), json.loads(evaluated.read_text())
    whole = predictions.read_bytes()
    for damaged in (whole[:200], b"", whole[:80] + bytes(byte ^ 255 for byte in whole[80:90]) + whole[90:]):
        predictions.write_bytes(damaged)
        with pytest.raises(InputError, match=r"not an evaluation\.json of fer_lightning\.evaluate"):
            read_evaluation(evaluated)
    predictions.write_bytes(whole)
    for text in ("[]", "{", "[" * 100_000, json.dumps(figures | {"n": 13}), json.dumps(figures | {"images_sha256": 0})):
        evaluated.write_text(text)
        with pytest.raises(InputError, match=r"not an evaluation\.json of fer_lightning\.evaluate"):
            read_evaluation(evaluated.parent)


def test_the_command_does_not_load_lightning(checkpoint, tmp_path):
    code = (
        "import sys; from fer_lightning.evaluate import main; main(); "
        "print(sorted({'lightning', 'torchmetrics', 'optuna'} & set(sys.modules)))"
    )
    arguments = (f"checkpoint={checkpoint('conv0')}", *SMALL, f"hydra.run.dir={tmp_path}")
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
