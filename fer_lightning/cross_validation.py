"""Cross-validation: k stratified folds of the training part, with all copies of an image in the same fold.

The folds depend on the data, `cv.folds` and `cv.seed` alone, so that every setting is judged on the same ones. The val
and test splits are not touched. Mean image and every other statistic come from the fold's own training images.
"""

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table

from fer_lightning.checkpoints import LAST
from fer_lightning.config import flat
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import TRAIN
from fer_lightning.data.ferplus import prefix_of, prefixed, title_of
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.progress import duration
from fer_lightning.run import MAY_CHANGE, METRICS, fit, new_classifier
from fer_lightning.whole_files import write_json

SETTINGS = "cross_validation.json"


def assign_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """The fold, 0 to folds - 1, of each image: stratified, groups kept together, the same for the same arguments.

    labels, groups: (N,) expression and copy group of each image; returns (N,) int64. Expression by expression, groups
    are dealt in random order, the large ones first, each to the fold that has the fewest images of its expression so
    far. A group with several labels counts for its most frequent one. (scikit-learn's StratifiedGroupKFold aims at the
    same, and takes 10 s for FER2013 where this takes 0.1.)
    Raises InputError where an expression has fewer groups than there are folds.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.zeros((len(sizes), len(EXPRESSIONS)), dtype=np.int64)
    np.add.at(counts, (group, labels), 1)
    main_label = counts.argmax(axis=1)
    fold_of_group = np.empty(len(sizes), dtype=np.int64)
    dealt = np.zeros(folds, dtype=np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    for label, name in enumerate(EXPRESSIONS):
        members = shuffled[main_label[shuffled] == label]
        if 0 < len(members) < folds:
            raise InputError(
                f"cv.folds={folds}: the training part has {len(members)} different images of {name}, and each fold "
                "needs one. Give fewer folds or more images"
            )
        heap = [(0, int(dealt[fold]), fold) for fold in range(folds)]
        heapq.heapify(heap)
        for member in members[np.argsort(-sizes[members], kind="stable")]:
            images, everything, fold = heap[0]
            fold_of_group[member] = fold
            dealt[fold] += sizes[member]
            heapq.heapreplace(heap, (images + int(sizes[member]), everything + int(sizes[member]), fold))
    return fold_of_group[group]


def cross_validate(
    config: dict[str, Any], folder: Path, console: Console, callbacks: Sequence[Callback] = ()
) -> dict[str, Any]:
    """Train each fold in `folder`/fold-K and write mean, standard deviation and each fold's score to metrics.json.

    With `resume`, finished folds are left as they are and an unfinished one goes on. Raises InputError where `folder`
    holds a run that is not to be resumed, or was begun with other settings or other faces.
    """
    if not config["resume"] and (any(folder.glob("fold-*")) or (folder / METRICS).exists()):
        raise InputError(
            f"{folder} already holds a run. Add resume=true to go on with it, or name another hydra.run.dir"
        )
    datamodule = open_faces(config)
    scores: list[dict[str, Any]] = []
    for number, metrics in fold_metrics(config, folder, datamodule, console, lambda _: list(callbacks)):
        console.print(f"fold {number} of {config['cv']['folds']}: {metrics['val/accuracy']:.2%}")
        scores.append(metrics)
    metrics = {
        "model": config["model"]["name"],
        "data": config["data"]["name"],
        "seed": config["seed"],
        **summary(scores),
    }
    names = [name for name in metrics if name.startswith("cv/")]
    write_json(folder / METRICS, prefixed(metrics, names, prefix_of(config["data"]["name"])))
    print_scores(console, metrics, folder)
    return metrics


def fold_metrics(
    config: dict[str, Any],
    folder: Path,
    datamodule: FaceDataModule,
    console: Console,
    callbacks: Callable[[int], list[Callback]] = lambda number: [],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Train fold after fold in `folder`/fold-1, fold-2, ... and yield each one's number and metrics.

    Finished folds are yielded without training, an unfinished one goes on from its last checkpoint. callbacks: what
    else is called while the fold of that number trains. Raises InputError where `folder` holds other folds.
    """
    rows = datamodule.rows[TRAIN].numpy()
    assert datamodule.faces is not None
    labels, groups = datamodule.faces.labels[rows], datamodule.faces.copy_groups[rows]
    fold_of = assign_folds(labels, groups, config["cv"]["folds"], config["cv"]["seed"])
    keep_settings(config, folder, rows, fold_of)
    for number in range(1, config["cv"]["folds"] + 1):
        place = folder / f"fold-{number}"
        begun = (place / "checkpoints" / LAST).exists() or (place / METRICS).exists()
        validated = fold_of == number - 1
        fold = datamodule.fold(rows[~validated], rows[validated])
        yield number, fit({**config, "resume": begun}, place, console, fold, callbacks(number))


def open_faces(config: dict[str, Any]) -> FaceDataModule:
    """The data module of a config. Its faces are read once a process, and shared by the configs that use the same."""
    data, with_hog = config["data"], new_classifier(config).uses_hog
    key = json.dumps(
        [with_hog, {name: value for name, value in data.items() if name not in OF_BATCHES}], sort_keys=True
    )
    datamodule = FaceDataModule(data, with_hog, config["seed"])
    if key in _opened:
        datamodule.faces, datamodule.tensors, datamodule.rows, datamodule.notes = _opened[key]
    datamodule.setup()
    _opened[key] = datamodule.faces, datamodule.tensors, datamodule.rows, datamodule.notes
    while len(_opened) > KEPT:
        _opened.pop(next(iter(_opened)))
    return datamodule


OF_BATCHES = {"batch_size", "augment", "channels", "size"}
"""Settings of `data` that change batches alone, not what is kept in memory."""

KEPT = 2
"""Sets of faces in memory: with and without HOG, where a search goes over networks of both kinds."""

_opened: dict[str, Any] = {}


def keep_settings(config: dict[str, Any], folder: Path, rows: np.ndarray, fold_of: np.ndarray) -> None:
    """Write the settings and a checksum of the folds, or compare them with those of the run that `folder` holds."""
    checksum = hashlib.sha256(rows.astype("<i8").tobytes() + fold_of.astype("<i8").tobytes()).hexdigest()[:16]
    now = {"folds": checksum, "config": config}
    if not (folder / SETTINGS).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SETTINGS, now)
        return
    try:
        before = json.loads((folder / SETTINGS).read_text())
        was, becomes, folds = flat(before["config"]), flat(json.loads(json.dumps(config))), before["folds"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / SETTINGS}: damaged ({error}). Give another folder, or remove this one") from error
    for key in sorted((was.keys() | becomes.keys()) - MAY_CHANGE):
        if was.get(key) != becomes.get(key):
            raise InputError(
                f"{key} was {was.get(key)!r} in the cross-validation in {folder} and is {becomes.get(key)!r} now. "
                "Give the same settings, or another folder"
            )
    if folds != checksum:
        raise InputError(f"{folder}: the faces are not those that its folds were made of. Give the same data.path")


def summary(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """What metrics.json says of a cross-validation, by the metrics of its folds, in order.

    A fold's score is its validation accuracy at its best epoch; `cv/std` is the scores' standard deviation (n - 1).
    """
    scores = [fold["val/accuracy"] for fold in folds]
    return {
        "cv/mean": float(np.mean(scores)),
        "cv/std": float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0,
        "cv/scores": scores,
        "cv/loss": float(np.mean([fold["val/loss"] for fold in folds])),
        "cv/macro_f1": float(np.mean([fold["val/macro_f1"] for fold in folds])),
        "folds": len(folds),
        "split_sizes": [fold["split_sizes"] for fold in folds],
        "parameters": folds[0]["parameters"],
        "seconds": sum(fold["seconds"] for fold in folds),
        "finished": True,
    }


def print_scores(console: Console, metrics: dict[str, Any], folder: Path) -> None:
    """The final table: each fold's score, their mean and standard deviation."""
    title = f"{metrics['model']} on {title_of(metrics['data'])}, {metrics['folds']} folds"
    table = Table(title=title, title_justify="left")
    for heading in ("fold", "train", "val", "accuracy"):
        table.add_column(heading, justify="right")
    for number, (score, sizes) in enumerate(zip(metrics["cv/scores"], metrics["split_sizes"], strict=True), start=1):
        table.add_row(str(number), f"{sizes['train']:,}", f"{sizes['val']:,}", f"{score:.2%}")
    table.add_section()
    table.add_row("mean", "", "", f"{metrics['cv/mean']:.2%}")
    table.add_row("sd", "", "", f"{metrics['cv/std']:.2%}")
    console.print(table)
    console.print(f"{duration(metrics['seconds'])} of training. Scores: {folder / METRICS}", soft_wrap=True)
