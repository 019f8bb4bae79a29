"""An evaluation: every figure of one set of answers on one split, and its comparison with another."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_lightning.calibration import expected_calibration_error, with_temperature
from fer_lightning.data.copies import stand_in
from fer_lightning.data.faces import SPLITS, TRAIN, Faces
from fer_lightning.errors import InputError
from fer_lightning.evaluation_files import read_evaluation
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.scores import balanced_accuracy, confusion_matrix, macro_f1, mcnemar, per_class, wilson_interval


def scored(faces: Faces, split: int, probabilities: Tensor, temperature: float | None) -> dict[str, Any]:
    """The figures of evaluation.json that follow from the answers alone.

    probabilities: (n, 7), one row for each image of the split, in the order of `faces.rows(split)`. temperature: what
    the second calibration figure is taken with, or None for none.
    """
    rows = faces.rows(split)
    labels, predicted = faces.labels[rows].astype(np.int64), probabilities.argmax(dim=1).numpy()
    right, matrix = predicted == labels, confusion_matrix(labels, predicted, len(EXPRESSIONS))
    truth = torch.from_numpy(labels)
    return {
        "split": SPLITS[split],
        "n": len(rows),
        "accuracy": float(right.mean()),
        "accuracy_ci95": list(wilson_interval(int(right.sum()), len(rows))),
        "interval": "Wilson score interval",
        **without_training_images(faces, split, right),
        "macro_f1": macro_f1(matrix),
        "balanced_accuracy": balanced_accuracy(matrix),
        "per_class": per_class(matrix, EXPRESSIONS),
        "ece": expected_calibration_error(probabilities, truth),
        "temperature": temperature,
        "ece_with_temperature": None
        if temperature is None
        else expected_calibration_error(with_temperature(probabilities, temperature), truth),
        "confusion_matrix": matrix.tolist(),
        "images_sha256": images_checksum(faces, split),
    }


def without_training_images(faces: Faces, split: int, right: np.ndarray) -> dict[str, Any]:
    """Accuracy without the images that also stand in train, as exact copies, and as exact or mirrored ones.

    right: (n,) bool. None for the training split itself, and where the source has no train to compare with.
    """
    train = faces.images[faces.rows(TRAIN)]
    if split == TRAIN or not len(train):
        return dict.fromkeys(("accuracy_unique", "n_unique", "accuracy_unique_mirrored", "n_unique_mirrored"))
    figures: dict[str, Any] = {}
    exact, mirrored = stand_in(faces.images[faces.rows(split)], train)
    for name, copied in (("unique", exact), ("unique_mirrored", mirrored)):
        left = right[~copied]
        figures |= {f"accuracy_{name}": float(left.mean()) if len(left) else None, f"n_{name}": len(left)}
    return figures


def images_checksum(faces: Faces, split: int) -> str:
    """Of the images and labels of a split in their order: equal where two evaluations were asked the same."""
    rows = faces.rows(split)
    return hashlib.sha256(faces.images[rows].tobytes() + faces.labels[rows].tobytes()).hexdigest()


def compared(figures: dict[str, Any], probabilities: Tensor, labels: np.ndarray, other: Path) -> dict[str, Any]:
    """McNemar's test of this evaluation (first) against another one (second) of the same images.

    Raises InputError where the other is of other images.
    """
    before, their_labels, their_probabilities = read_evaluation(other)
    if before["images_sha256"] != figures["images_sha256"] or not np.array_equal(labels, their_labels):
        raise InputError(
            f"compare={other}: it was made on other images ({before.get('split')}, {before['n']:,}) than this one "
            f"({figures['split']}, {figures['n']:,}); McNemar's test needs the answers to the same images"
        )
    right = probabilities.argmax(dim=1).numpy() == labels
    with_other = their_probabilities.argmax(axis=1) == labels
    return {"with": str(other), "model": before.get("model"), "tta": before.get("tta")} | mcnemar(right, with_other)


def named(models: Sequence[str]) -> str:
    """The name of one network, or of several as one: `conv_deep + 2 x hybrid_deep`."""
    counts = {model: list(models).count(model) for model in models}
    return " + ".join(model if count == 1 else f"{count} x {model}" for model, count in counts.items())
