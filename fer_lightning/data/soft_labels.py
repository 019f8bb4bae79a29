"""Soft labels by cross-fitting: each image's targets come from networks that were not trained on it.

About a third of FER2013's labels are disputed, and a network that is trained on them alone learns the mistakes too. The
folds of a cross-validation predict the images that they validate; these probabilities, mixed with the labels, are the
targets of a fresh network (Pereyra et al. 2017 and Hinton et al. 2015 train on such targets, with other teachers).
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer_lightning.data.sources import CachedFaces
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.files import atomic_file

PREDICTIONS = "predictions.npz"
BYTES_A_ROW = 8 + 8 + 4 * len(EXPRESSIONS)


class Predictions(NamedTuple):
    """What the folds of a cross-validation predict for the training images that they validate.

    row: (N,) int64, of the image among all faces; fold: (N,) int64, from 1; probabilities: (N, 7) float32; fingerprint:
    of the faces, as text.
    """

    row: np.ndarray
    fold: np.ndarray
    probabilities: np.ndarray
    fingerprint: np.ndarray


def write_predictions(
    path: Path, row: np.ndarray, fold: np.ndarray, probabilities: np.ndarray, fingerprint: str
) -> None:
    """Write the arrays of `Predictions` to an .npz file, atomically."""
    with atomic_file(path) as file:
        np.savez_compressed(
            file, **Predictions(row, fold, probabilities.astype(np.float32), np.array(fingerprint))._asdict()
        )


def read_predictions(path: Path, faces: CachedFaces) -> Predictions:
    """Read what `write_predictions` wrote for these faces. Raises InputError for any other file, and other faces."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > BYTES_A_ROW * len(faces) + 4096:
                raise InputError(f"data.soft_labels={path}: holds more predictions than there are faces")
        with np.load(path, allow_pickle=False) as arrays:
            predictions = Predictions(*(arrays[name] for name in Predictions._fields))
    except OSError as error:
        raise InputError(f"data.soft_labels={path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError) as error:
        raise InputError(
            f"data.soft_labels={path}: expected {PREDICTIONS}, which a run with cv.folds writes ({error})"
        ) from error
    row, fold, probabilities, fingerprint = predictions
    if str(fingerprint) != faces.fingerprint:
        raise InputError(f"data.soft_labels={path}: predictions for other faces. Give the data that its folds had")
    if not (
        row.ndim == 1
        and row.dtype == fold.dtype == np.int64
        and row.shape == fold.shape
        and probabilities.shape == (len(row), len(EXPRESSIONS))
        and probabilities.dtype == np.float32
        and np.all((row >= 0) & (row < len(faces)))
        and len(np.unique(row)) == len(row)
        and np.all(probabilities >= 0)
        and np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    ):
        raise InputError(f"data.soft_labels={path}: expected a row and seven probabilities for each image")
    return predictions


def soft_targets(
    faces: CachedFaces, rows: np.ndarray, files: str | Sequence[str], weight: float
) -> tuple[np.ndarray, str]:
    """Targets (N, 7) float32 for all faces, and a note on them.

    A row in `rows` gets `weight` times the mean prediction of the files plus (1 - weight) times its label, or its
    shares of votes. The other rows, which are not trained on, keep their label. Raises InputError where a file is not
    readable, is of other faces, or lacks one of the rows.
    """
    paths = [Path(file).expanduser() for file in ([files] if isinstance(files, str) else files)]
    labels = faces.shares if faces.shares is not None else np.eye(len(EXPRESSIONS), dtype=np.float32)[faces.labels]
    mean = np.zeros_like(labels)
    for path in paths:
        predictions = read_predictions(path, faces)
        if len(missing := np.setdiff1d(rows, predictions.row)):
            raise InputError(
                f"data.soft_labels={path}: no prediction for {len(missing):,} of the {len(rows):,} training images. "
                "Were the folds made with data.unique=true?"
            )
        mean[predictions.row] += predictions.probabilities / len(paths)
    targets = labels.copy()
    targets[rows] = weight * mean[rows] + (1 - weight) * labels[rows]
    changed = np.mean(mean[rows].argmax(axis=1) != faces.labels[rows])
    note = (
        f"data.soft_labels: targets are {weight:.0%} predictions of other folds, which name another expression than "
        f"the label for {changed:.0%} of the training images."
    )
    return targets, note
