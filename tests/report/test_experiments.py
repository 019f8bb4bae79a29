"""Runs, cross-validations and searches as the report reads them, and the comparison of two runs."""

import json

import numpy as np
import pytest
from written_runs import write_run, write_search

from fer_lightning.errors import InputError
from fer_lightning.report.comparisons import gain, paired_test
from fer_lightning.report.experiments import gather
from fer_lightning.report.runs import read_run


def test_the_interval_is_wilsons(tmp_path):
    run = read_run(write_run(tmp_path / "run", right=2308, n=3589))
    p, n, z = 2308 / 3589, 3589, 1.959963985
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert run.interval == pytest.approx(((middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)))


def test_the_gain_is_relative_and_its_interval_newcombes(tmp_path):
    # Newcombe, Statistics in Medicine 17 (1998), table II, (a): 56/70 - 48/80, method 10
    first = read_run(write_run(tmp_path / "a", right=56, n=70))
    second = read_run(write_run(tmp_path / "b", right=48, n=80))
    found = gain(first, second)
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.relative == pytest.approx(56 / 70 / (48 / 80) - 1)


def test_two_evaluated_runs_are_compared_face_by_face(tmp_path):
    predicted = {"shallow": [0, 1, 2, 3, 4, 5, 6, 0, 1, 2], "deep": [0, 1, 2, 3, 4, 5, 5, 1, 2, 3]}
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 1, 2, 3])
    for name, seen in predicted.items():
        folder = write_run(tmp_path / name, f"conv_{name}") / "evaluation-val"
        folder.mkdir()
        evaluation = {"split": "val", "tta": "none", "n": 10, "accuracy_ci95": [0.1, 0.9], "images_sha256": "same"}
        evaluation |= {"accuracy": float((np.array(seen) == labels).mean())}
        evaluation |= {"confusion_matrix": np.diag([1] * 7).tolist()}
        (folder / "evaluation.json").write_text(json.dumps(evaluation))
        np.savez(folder / "predictions.npz", labels=labels, probabilities=np.eye(7)[seen])
    shallow, deep = (read_run(tmp_path / name) for name in predicted)
    test = paired_test(deep, shallow)
    assert (test["only_first_right"], test["only_second_right"]) == (3, 1)
    assert test["p_value"] == pytest.approx(0.625)  # two-sided binomial of 3 in 4
    assert shallow.confusion.tolist() == np.diag([1] * 7).tolist()
    (tmp_path / "deep" / "evaluation-val" / "predictions.npz").unlink()
    assert paired_test(deep, shallow) is None
    assert paired_test(read_run(write_run(tmp_path / "other")), shallow) is None


def test_runs_on_different_faces_are_not_compared(tmp_path):
    write_run(tmp_path / "a", "conv_shallow", data="synthetic", right=99, n=100)
    write_run(tmp_path / "b", "conv_deep")
    experiments = gather([tmp_path])
    assert experiments.data == "fer2013"
    assert list(experiments.chosen) == ["conv_deep"]


def test_of_several_runs_of_a_network_the_most_accurate_stands_for_it(tmp_path):
    for name, right in (("a", 50), ("b", 70), ("c", 60)):
        write_run(tmp_path / name, right=right, n=100)
    assert gather([tmp_path]).chosen["conv_deep"].folder.name == "b"


def test_a_folder_that_is_named_twice_is_read_once(tmp_path):
    folder = write_run(tmp_path / "run")
    assert [run.folder for run in gather([folder, tmp_path]).runs] == [folder]


def test_the_folds_of_a_cross_validation_are_no_runs_of_their_own(tmp_path):
    folder = tmp_path / "cv"
    write_run(folder / "fold-1")
    kept = {"model": "fc", "data": "fer2013", "cv/mean": 0.5, "cv/std": 0.01, "cv/scores": [0.49, 0.51]}
    (folder / "metrics.json").write_text(json.dumps(kept))
    (folder / "cross_validation.json").write_text("{}")
    found = gather([tmp_path])
    assert (found.runs, [one.scores for one in found.cross_validations]) == ([], [[0.49, 0.51]])


def test_an_unfinished_run_is_read_as_far_as_it_came(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"no metrics.json, and .hydra/config.yaml does not say what was trained"):
        read_run(folder)
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("seed: 3\nmodel: {name: conv_deep}\ndata: {name: fer2013}\n")
    run = read_run(folder)
    assert (run.model, run.seed, run.interval, run.finished) == ("conv_deep", 3, None, False)
    (folder / "history.csv").write_text((folder / "history.csv").read_text().splitlines()[0])
    with pytest.raises(InputError, match="has not ended its first epoch"):
        read_run(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("history.csv", "epoch,val/accuracy\n0,high\n", "not the history of a run"),
        ("history.csv", "epoch,seconds\n0,1\n", "not the history of a run .no column train/accuracy"),
        ("history.csv", "", "not the history of a run"),
        ("metrics.json", '{"accuracy": 1}', "it holds no model, data"),
        ("metrics.json", '{"accura', "cannot be read"),
        ("metrics.json", "[]", "cannot be read"),
        ("trials.csv", "a,b\n1,2\n", "not the trials of a search"),
        ("best.yaml", "overrides: [", "not the trials of a search"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, file, content, message):
    folder = write_search(tmp_path / "a") if file in ("trials.csv", "best.yaml") else write_run(tmp_path / "a")
    (folder / file).write_text(content)
    with pytest.raises(InputError, match=message):
        gather([tmp_path])


def test_a_value_of_a_wrong_kind_is_named(tmp_path):
    folder = write_run(tmp_path / "run", best_epoch="last")
    with pytest.raises(InputError, match=r"metrics.json: not written by this project; best_epoch: "):
        read_run(folder)
