"""Folds: stratified, copies kept together, the same each time; and cross-validation resumed where it stopped."""

import json
import shutil
import signal
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.model_selection import StratifiedGroupKFold
from tiny_runs import FC, SignalAt, settings_from

from fer_lightning.data import datamodule as datamodule_module
from fer_lightning.data.faces import TRAIN
from fer_lightning.data.soft_labels import read_predictions
from fer_lightning.errors import InputError
from fer_lightning.evaluation.inference import predict_probabilities
from fer_lightning.networks.weight_files import load_network, read_checkpoint
from fer_lightning.training import cross_validation
from fer_lightning.training.cross_validation import assign_folds, cross_validate, fold_metrics, open_shared_faces

QUICK = [*FC, "cv.folds=3", "draw.every=0", "trainer.max_epochs=2", "optimizer.lr=0.05"]


def faces_with_copies(seed: int, images: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Labels as unequal as FER2013's, and groups of 1 to 12 copies, some of them with several labels."""
    random = np.random.default_rng(seed)
    groups = random.permutation(np.repeat(np.arange(images), random.geometric(0.6, images).clip(1, 12))[:images])
    of_group = random.choice(7, images, p=[0.14, 0.04, 0.14, 0.25, 0.17, 0.11, 0.15])
    wrong = random.random(images) < 0.02
    return np.where(wrong, random.integers(0, 7, images), of_group[groups]), groups


def unevenness(labels: np.ndarray, fold_of: np.ndarray, folds: int) -> float:
    """The largest distance of an expression's count in a fold from its share."""
    counts = np.array([np.bincount(labels[fold_of == fold], minlength=7) for fold in range(folds)])
    return float(np.abs(counts - counts.mean(axis=0)).max())


@pytest.mark.parametrize("seed", range(8))
def test_copies_of_an_image_are_in_one_fold_and_every_image_is_in_one(seed):
    labels, groups = faces_with_copies(seed)
    fold_of = assign_folds(labels, groups, 5, seed)
    assert set(fold_of) == set(range(5))
    assert all(len(set(fold_of[groups == group])) == 1 for group in np.unique(groups))


@pytest.mark.parametrize("seed", range(8))
def test_folds_are_as_even_as_those_of_scikit_learn(seed):
    labels, groups = faces_with_copies(seed)
    theirs = np.empty(len(labels), dtype=int)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for fold, (_, rows) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
        theirs[rows] = fold
    assert unevenness(labels, assign_folds(labels, groups, 5, seed), 5) <= unevenness(labels, theirs, 5) + 2


def test_folds_follow_the_data_their_number_and_their_seed_alone():
    labels, groups = faces_with_copies(0)
    first = assign_folds(labels, groups, 5, 0)
    assert np.array_equal(first, assign_folds(labels, groups, 5, 0))
    assert np.array_equal(first, assign_folds(labels, groups * 3 + 7, 5, 0))
    assert not np.array_equal(first, assign_folds(labels, groups, 5, 1))


def test_an_expression_with_fewer_images_than_folds_is_refused_by_name():
    labels = np.array([0] * 10 + [1] * 4)
    with pytest.raises(InputError, match=r"cv.folds=5: the training part has 4 different images of disgust"):
        assign_folds(labels, np.arange(14), 5)
    with pytest.raises(InputError, match="3 different images of disgust"):
        assign_folds(labels, np.array([*range(12), 12, 12]), 4)
    assert set(assign_folds(labels, np.arange(14), 4)) == {0, 1, 2, 3}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, train):
    """A cross-validation that was never stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    result = train(*QUICK, f"hydra.run.dir={folder}")
    assert result.code == 0, result.err
    return folder


def test_metrics_json_holds_mean_deviation_and_each_score(whole):
    metrics = json.loads((whole / "metrics.json").read_text())
    folds = [json.loads((whole / f"fold-{number}" / "metrics.json").read_text()) for number in (1, 2, 3)]
    scores = [fold["val/accuracy"] for fold in folds]
    assert metrics["cv/scores"] == scores
    assert metrics["cv/mean"] == pytest.approx(np.mean(scores))
    assert metrics["cv/std"] == pytest.approx(np.std(scores, ddof=1))


def test_folds_hold_the_training_part_alone_and_each_image_is_validated_once(whole):
    folds = [json.loads((whole / f"fold-{number}" / "metrics.json").read_text()) for number in (1, 2, 3)]
    assert all(fold["split_sizes"].keys() == {"train", "val"} for fold in folds)
    assert sum(fold["split_sizes"]["val"] for fold in folds) == 56
    assert all(sum(fold["split_sizes"].values()) == 56 for fold in folds)


def test_predictions_of_the_folds_are_those_of_their_networks_and_can_be_trained_on(whole, train, tmp_path):
    faces = open_shared_faces(settings_from(*QUICK)).faces
    predictions = read_predictions(whole / "predictions.npz", faces)
    rows = faces.rows(TRAIN)
    assert sorted(predictions.row) == rows.tolist()
    assert (predictions.fold == assign_folds(faces.labels[rows], faces.copy_groups[rows], 3, 0) + 1).all()
    for fold in (1, 2, 3):
        mine = predictions.fold == fold
        pictures = torch.tensor(faces.images[predictions.row[mine]])[:, None]
        network = load_network(whole / f"fold-{fold}" / "checkpoints" / "best.ckpt").network
        expected = predict_probabilities([network], pictures, tta="flip")[0]
        np.testing.assert_allclose(predictions.probabilities[mine], expected, atol=1e-5)
    plain = [argument for argument in QUICK if not argument.startswith("cv.")]
    ended = train(*plain, f"data.soft_labels={whole / 'predictions.npz'}", f"hydra.run.dir={tmp_path}")
    assert ended.code == 0, ended.err
    assert "data.soft_labels: targets are 70% predictions of other folds" in ended.out


def test_the_statistics_of_a_fold_come_from_its_own_training_images(whole):
    faces = open_shared_faces(settings_from(*QUICK)).faces
    rows = faces.rows(TRAIN)
    fold_of = assign_folds(faces.labels[rows], faces.copy_groups[rows], 3, 0)
    weights = read_checkpoint(whole / "fold-2" / "checkpoints" / "best.ckpt")["state_dict"]
    mean = weights["network.preprocessing.mean"].numpy()[0]
    assert np.allclose(mean, faces.images[rows[fold_of != 1]].mean(axis=0), atol=1e-3)
    assert not np.allclose(mean, faces.images[rows].mean(axis=0), atol=1e-3)


def test_a_stopped_cross_validation_keeps_its_folds_and_ends_with_the_same_scores(whole, train, tmp_path, monkeypatch):
    stopping = partial(fold_metrics, callbacks=lambda number: [SignalAt(validation=1)] if number == 2 else [])
    with monkeypatch.context() as patched:
        patched.setattr(cross_validation, "fold_metrics", stopping)
        result = train(*QUICK, f"hydra.run.dir={tmp_path}")
    assert result.code == 128 + signal.SIGTERM
    assert f"the same command with hydra.run.dir={tmp_path} resume=true resumes" in result.err
    first = tmp_path / "fold-1" / "metrics.json"
    before = first.stat().st_mtime_ns
    assert not (tmp_path / "fold-2" / "metrics.json").exists()
    assert train(*QUICK, "resume=true", f"hydra.run.dir={tmp_path}").code == 0
    assert first.stat().st_mtime_ns == before
    expected, resumed = (json.loads((folder / "metrics.json").read_text()) for folder in (whole, tmp_path))
    assert {**resumed, "seconds": 0} == {**expected, "seconds": 0}


def test_all_folds_and_settings_of_batches_share_one_reading_of_the_data(tmp_path, monkeypatch):
    read, opened = [], datamodule_module.open_faces
    monkeypatch.setattr(datamodule_module, "open_faces", lambda settings: read.append(1) or opened(settings))
    same = [*QUICK, "data.seed=7", "trainer.max_epochs=1"]  # faces that no other test has opened
    for number, of_batches in enumerate([[], ["data.batch_size=16"], ["data.augment.shift=2", "data.size=24"]]):
        settings = settings_from(*same, *of_batches)
        cross_validate(settings, tmp_path / str(number), Console(quiet=True))
        datamodule = open_shared_faces(settings)
        assert (datamodule.settings, datamodule.seed) == (settings.data, settings.seed)
    assert len(read) == 1


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cv.folds=1"], "cv.folds=1: expected 0 (off) or a whole number from 2 to 100"),
        (["cv.folds=90"], "cv.folds=90: the training part has"),
        (["cv.fold=3"], "cv.fold: no such setting. Did you mean cv.folds"),
    ],
)
def test_bad_folds_get_one_clear_message(train, tmp_path, overrides, said):
    result = train(*QUICK, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 2
    assert said in result.err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_finished_cross_validation_is_not_overwritten_nor_mixed_with_other_settings(whole, train):
    result = train(*QUICK, f"hydra.run.dir={whole}")
    assert result.code == 2
    assert "already holds a run" in result.err
    result = train(*QUICK, "optimizer.lr=0.5", "resume=true", f"hydra.run.dir={whole}")
    assert result.code == 2
    assert "optimizer.lr was 0.05" in result.err


def edit_saved(folder, change) -> None:
    """Change what cross_validation.json holds."""
    path = folder / "cross_validation.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_saved_settings_that_lack_newer_keys_have_their_defaults(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    edit_saved(tmp_path / "run", lambda content: (content["config"].pop("ema"), content["config"]["data"].pop("size")))
    cross_validate(settings_from(*QUICK, "resume=true"), tmp_path / "run", Console(quiet=True))
    with pytest.raises(InputError, match=r"data.size was 48 in the cross-validation in .* and is 32 now"):
        cross_validate(settings_from(*QUICK, "resume=true", "data.size=32"), tmp_path / "run", Console(quiet=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.update(folds="0" * 16), "the faces are not those that its folds were made of"),
        (lambda content: content.update(faces="0" * 64), "the faces are not those that its folds were made of"),
        (
            lambda content: content["config"].update(schedule={"name": "cosine"}),
            "schedule.name was 'cosine' in the cross-validation",
        ),
        (lambda content: content.pop("folds"), "cross_validation.json: damaged"),
        (lambda content: content.update(config=None), "cross_validation.json: damaged"),
    ],
)
def test_other_faces_and_damaged_settings_are_reported(whole, tmp_path, change, said):
    shutil.copytree(whole, tmp_path / "run")
    edit_saved(tmp_path / "run", change)
    with pytest.raises(InputError, match=said):
        cross_validate(settings_from(*QUICK, "resume=true"), tmp_path / "run", Console(quiet=True))


def test_folds_with_more_epochs_are_refused_under_a_schedule_that_depends_on_their_number(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    edit_saved(tmp_path / "run", lambda content: content["config"].update(schedule={"name": "cosine"}))
    with pytest.raises(InputError, match=r"max_epochs was 2 in the cross-validation in .* schedule=cosine depends on"):
        cross_validate(
            settings_from(*QUICK, "schedule=cosine", "trainer.max_epochs=3", "resume=true"),
            tmp_path / "run",
            Console(quiet=True),
        )


def test_folds_of_an_earlier_version_that_do_not_say_their_faces_go_on_with_a_note(whole, train, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    edit_saved(tmp_path / "run", lambda content: content.pop("faces"))
    result = train(*QUICK, "resume=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 0, result.err
    assert "does not say what faces its folds hold" in " ".join(result.out.split())
