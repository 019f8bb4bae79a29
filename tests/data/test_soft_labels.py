"""Soft labels: targets by the definition; refused are other faces, missing rows, and files of another kind."""

import numpy as np
import pytest

from fer_lightning.cli import settings_of
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import TRAIN, VAL
from fer_lightning.data.soft_labels import write_predictions
from fer_lightning.data.sources import open_faces
from fer_lightning.errors import InputError
from fer_lightning.settings import TrainSettings


@pytest.fixture
def settings(compose):
    return lambda *overrides: settings_of(compose("data.images=140", *overrides), TrainSettings)


@pytest.fixture
def faces(settings):
    return open_faces(settings().data)


def predicted(faces, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = faces.rows(TRAIN)
    shuffled = np.random.default_rng(seed).permutation(rows)
    return shuffled, np.ones(len(rows), np.int64), np.random.default_rng(seed).dirichlet([1] * 7, len(rows))


@pytest.mark.parametrize("weight", [0.0, 0.7, 1.0])
def test_targets_are_the_mean_prediction_mixed_with_the_label(settings, faces, tmp_path, weight):
    files, expected = [], np.eye(7)[faces.labels]
    rows = faces.rows(TRAIN)
    expected[rows] *= 1 - weight
    for seed in (1, 2):
        row, fold, probabilities = predicted(faces, seed)
        files.append(str(tmp_path / f"{seed}.npz"))
        write_predictions(tmp_path / f"{seed}.npz", row, fold, probabilities, faces.fingerprint)
        expected[row] += weight * probabilities / 2
    datamodule = FaceDataModule(settings(f"data.soft_labels=[{','.join(files)}]", f"data.soft_weight={weight}").data)
    datamodule.setup()
    np.testing.assert_allclose(datamodule.loaded.shares, expected, atol=1e-6)
    assert (datamodule.loaded.labels.numpy() == faces.labels).all()
    batch = next(iter(datamodule.val_dataloader()))
    assert (batch.targets.numpy() == faces.labels[faces.rows(VAL)]).all()
    assert any("data.soft_labels" in note for note in datamodule.notes)


def broken(name: str, row, fold, probabilities, fingerprint):
    changed = {
        "other faces": (row, fold, probabilities, fingerprint[::-1]),
        "rows are missing": (row[:-3], fold[:-3], probabilities[:-3], fingerprint),
        "a row twice": (np.r_[row[:-1], row[0]], fold, probabilities, fingerprint),
        "a row that is none": (np.r_[row[:-1], 5000], fold, probabilities, fingerprint),
        "six expressions": (row, fold, probabilities[:, :6], fingerprint),
        "no probabilities": (row, fold, probabilities * 3, fingerprint),
        "NaN": (row, fold, probabilities * np.nan, fingerprint),
        "too many": (np.tile(row, 999), np.tile(fold, 999), np.tile(probabilities, (999, 1)), fingerprint),
    }
    return changed[name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other faces", "predictions for other faces"),
        ("rows are missing", "no prediction for 3 of the 112 training images"),
        ("a row twice", "a row and seven probabilities"),
        ("a row that is none", "a row and seven probabilities"),
        ("six expressions", "a row and seven probabilities"),
        ("no probabilities", "a row and seven probabilities"),
        ("NaN", "a row and seven probabilities"),
        ("too many", "more predictions than there are faces"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(settings, faces, tmp_path, name, said):
    file = tmp_path / "predictions.npz"
    write_predictions(file, *broken(name, *predicted(faces, 0), faces.fingerprint))
    with pytest.raises(InputError, match=f"predictions.npz: .*{said}"):
        FaceDataModule(settings(f"data.soft_labels={file}").data).setup()


def test_files_that_are_no_predictions_are_refused(settings, faces, tmp_path):
    text, other, pickled = (tmp_path / name for name in ("text.npz", "other.npz", "pickled.npz"))
    text.write_text("no zip")
    np.savez(other, rows=np.arange(3))
    np.savez(pickled, **dict.fromkeys(("row", "fold", "probabilities", "fingerprint"), np.array([{}], dtype=object)))
    for file in (text, other, pickled):
        with pytest.raises(InputError, match=r"expected predictions\.npz, which a run with cv\.folds writes"):
            FaceDataModule(settings(f"data.soft_labels={file}").data).setup()
    with pytest.raises(InputError, match="No such file"):
        FaceDataModule(settings(f"data.soft_labels={tmp_path / 'nowhere.npz'}").data).setup()


def test_folds_refuse_soft_labels(settings):
    with pytest.raises(InputError, match=r"cv\.folds: not with data\.soft_labels"):
        settings("cv.folds=3", "data.soft_labels=predictions.npz")
