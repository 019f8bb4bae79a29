"""The record of an evaluation: evaluation.json, predictions.npz and a confusion matrix, computed, written and read."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_lightning.data.faces import SPLITS, TRAIN, have_copies
from fer_lightning.data.ferplus import prefix_of, prefixed, title_of, unprefixed
from fer_lightning.data.near_copies import have_near_copies
from fer_lightning.data.sources import CachedFaces, cached_near_pairs
from fer_lightning.errors import InputError
from fer_lightning.evaluation.inference import Ensemble
from fer_lightning.evaluation.metrics import (
    apply_temperature,
    calibration,
    classification_metrics,
    mcnemar,
    mean_and_sd,
)
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.confusion import confusion_picture
from fer_lightning.figures.sheets import png
from fer_lightning.files import write_atomic, write_json

EVALUATION, PREDICTIONS, CONFUSION = "evaluation.json", "predictions.npz", "confusion_matrix.png"
"""The files of an evaluation. predictions.npz: `labels` (n,) and `probabilities` (n, 7), in the order of the images."""

MEASURED = {
    "accuracy", "accuracy_ci95", "accuracy_unique", "accuracy_unique_mirrored", "accuracy_unique_near", "macro_f1",
    "balanced_accuracy", "per_class", "ece", "ece_with_temperature", "confusion_matrix", "members", "over_members",
    "mcnemar",
}  # fmt: skip
"""Keys that begin with `ferplus-` in an evaluation.json of FER+."""


def split_metrics(faces: CachedFaces, split: int, probabilities: Tensor, temperature: float | None) -> dict[str, Any]:
    """The metrics of evaluation.json. probabilities: (n, 7), in the order of `faces.rows(split)`.

    temperature: of `ece_with_temperature`, or None. images_sha256: checksum of the split's images and labels in order.
    """
    rows = faces.rows(split)
    labels, predicted = faces.labels[rows], probabilities.argmax(dim=1).numpy()
    truth = torch.from_numpy(labels).long()
    calibrated = None if temperature is None else apply_temperature(probabilities, temperature)
    return {
        "split": SPLITS[split],
        **classification_metrics(labels, predicted, EXPRESSIONS),
        **accuracy_without_copies(faces, split, predicted == labels),
        "ece": calibration(probabilities, truth).ece,
        "temperature": temperature,
        "ece_with_temperature": None if calibrated is None else calibration(calibrated, truth).ece,
        "images_sha256": hashlib.sha256(faces.images[rows].tobytes() + labels.tobytes()).hexdigest(),
    }


def accuracy_without_copies(faces: CachedFaces, split: int, correct: np.ndarray) -> dict[str, Any]:
    """Accuracy on the images without an exact copy in train, on those without a mirrored one too, then a near one too.

    n_near_copies: images with a copy of any of these kinds in train, as audit.json counts them. correct: (n,) bool.
    None for the training split itself, and where the source has no train.
    """
    kinds = ("unique", "unique_mirrored", "unique_near")
    train, own = faces.rows(TRAIN), faces.rows(split)
    if split == TRAIN or not len(train):
        return dict.fromkeys([f"{what}_{kind}" for kind in kinds for what in ("accuracy", "n")] + ["n_near_copies"])
    exact, mirrored = have_copies(faces.images[own], faces.images[train])
    near = have_near_copies(faces.copy_groups[own], faces.copy_groups[train], cached_near_pairs(faces))
    metrics: dict[str, Any] = {}
    for kind, copied in zip(kinds, (exact, mirrored, near), strict=True):
        rest = correct[~copied]
        metrics |= {f"accuracy_{kind}": float(rest.mean()) if len(rest) else None, f"n_{kind}": len(rest)}
    return metrics | {"n_near_copies": int(near.sum())}


def member_metrics(ensemble: Ensemble, faces: CachedFaces, split: int, probabilities: Tensor) -> dict[str, Any]:
    """Metrics of each member, their mean and standard deviation. probabilities: (members, n, 7)."""
    keys = ("accuracy", "accuracy_unique", "macro_f1", "balanced_accuracy", "ece")
    rows: list[dict[str, Any]] = []
    for path, member, own in zip(ensemble.names, ensemble.members, probabilities, strict=True):
        metrics = split_metrics(faces, split, own, None)
        names = {"checkpoint": path, "model": member.model.name, "seed": member.seed}
        rows.append(names | {key: metrics[key] for key in keys})
    known = [key for key in keys if rows[0][key] is not None]
    return {"members": rows, "over_members": {key: mean_and_sd([row[key] for row in rows]) for key in known}}


def compare(metrics: dict[str, Any], probabilities: Tensor, labels: np.ndarray, other: Path) -> dict[str, Any]:
    """McNemar's test of this evaluation (first) and of the one in `other` (second).

    metrics: `split_metrics` of these (n, 7) probabilities and (n,) labels. Raises InputError for one of other images.
    """
    before, other_labels, other_probabilities = read_evaluation(other)
    if before["images_sha256"] != metrics["images_sha256"] or not np.array_equal(labels, other_labels):
        raise InputError(
            f"compare={other}: it was made on other images ({before.get('split')}, {before['n']:,}) than this one "
            f"({metrics['split']}, {metrics['n']:,}); McNemar's test needs predictions for the same images"
        )
    correct, other_correct = probabilities.argmax(dim=1).numpy() == labels, other_probabilities.argmax(1) == labels
    names = {"with": str(other), "model": before.get("model"), "tta": before.get("tta")}
    return names | mcnemar(correct, other_correct)


def default_folder(evaluation: dict[str, Any]) -> Path:
    """Where an evaluation goes: into the run of its checkpoint; into runs/ for an ensemble, or weights of no run."""
    name = f"{prefix_of(evaluation['data'])}evaluation-{evaluation['split']}"
    name += "" if evaluation["tta"] == "none" else f"-{evaluation['tta']}"
    if isinstance(evaluation["checkpoint"], list):
        checksum = hashlib.sha256("".join(evaluation["checkpoint_sha256"]).encode()).hexdigest()
        return Path("runs") / f"ensemble-{checksum[:8]}" / name
    path = Path(evaluation["checkpoint"])
    if path.parent.name != "checkpoints":
        return Path("runs") / path.stem / name
    return path.parent.parent / (name if path.stem == "best" else f"{name}-{path.stem}")


def write_evaluation(folder: Path, evaluation: dict[str, Any], probabilities: Tensor, labels: np.ndarray) -> None:
    """Write the files of an evaluation atomically, evaluation.json last.

    One of the same checkpoint, tta and images is replaced. Raises InputError where the folder holds another one, and
    where the files cannot be written.
    """
    if (folder / EVALUATION).exists():
        before, *_ = read_evaluation(folder)
        for key in ("checkpoint", "tta", "images_sha256"):
            if before.get(key) != evaluation[key]:
                raise InputError(
                    f"{folder} holds an evaluation with another {key} ({before.get(key)}); name another hydra.run.dir"
                )
    predictions = io.BytesIO()
    np.savez_compressed(predictions, labels=labels, probabilities=probabilities.numpy())
    title = f"{evaluation['model']}, {title_of(evaluation['data'])} {evaluation['split']}"
    title += f", {evaluation['tta']}" if evaluation["tta"] != "none" else ""
    picture = png(confusion_picture(np.array(evaluation["confusion_matrix"]), EXPRESSIONS, title))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: the results cannot be written ({error.strerror})") from error
    write_atomic(folder / PREDICTIONS, predictions.getvalue())
    write_atomic(folder / CONFUSION, picture)
    write_json(folder / EVALUATION, prefixed(evaluation, MEASURED, prefix_of(evaluation["data"])))


def read_evaluation(path: Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """evaluation.json (or its folder) with the labels (n,) and probabilities (n, 7) of the predictions beside it.

    Raises InputError for files that are not an evaluation of this project; no code in them is run.
    """
    path = path / EVALUATION if path.is_dir() else path
    try:
        evaluation = unprefixed(json.loads(path.read_text(encoding="utf-8")))
        with path.with_name(PREDICTIONS).open("rb") as file, np.load(file, allow_pickle=False) as predictions:
            labels, probabilities = predictions["labels"], predictions["probabilities"]
        whole = probabilities.shape == (evaluation["n"], len(EXPRESSIONS)) and labels.shape == (evaluation["n"],)
        if not whole or not isinstance(evaluation["images_sha256"], str):
            raise ValueError("the files do not belong together")
    except Exception as error:  # damaged files raise anything
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"{path}: not an {EVALUATION} of fer_lightning.evaluate with its {PREDICTIONS} beside it ({reason})"
        ) from error
    return evaluation, labels, probabilities
