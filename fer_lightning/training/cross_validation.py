"""Cross-validation: k stratified folds of the training part, with all copies of an image in the same fold.

The folds depend on the data, `cv.folds` and `cv.seed` alone, so that all settings are scored on the same folds. The val
and test splits are not used. Mean image and all other statistics are computed from the fold's own training images.
"""

import copy
import hashlib
import heapq
import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table

from fer_lightning.data.datamodule import EVALUATION_BATCH, FaceDataModule
from fer_lightning.data.faces import SIDE, TRAIN
from fer_lightning.data.ferplus import prefix_of, prefixed, title_of, unprefixed
from fer_lightning.data.soft_labels import PREDICTIONS, write_predictions
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.files import run_lock, write_json
from fer_lightning.networks import build_network
from fer_lightning.networks.weight_files import load_network
from fer_lightning.settings import VERSION, DataSettings, TrainSettings, dump, restore
from fer_lightning.training.checkpoints import BEST, LAST
from fer_lightning.training.fit import fit
from fer_lightning.training.processes import assign_gpus, own_folds, started
from fer_lightning.training.ranks import require_started_processes
from fer_lightning.training.resume import METRICS, checksum_of_faces, require_no_run, require_resumable

SETTINGS = "cross_validation.json"

PAUSE = 0.5
"""Seconds between two looks at the folds that workers train."""


def assign_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """The fold, 0 to folds - 1, of each image: stratified, groups kept together, the same for the same arguments.

    labels, groups: (N,) expression and copy group of each image; returns (N,) int64. Expression by expression, groups
    are assigned in random order, large ones first, each to the fold that has the fewest images of its expression so
    far. A group with several labels counts for its most frequent one. (scikit-learn's StratifiedGroupKFold does the
    same in 10 s for FER2013; this takes 0.1 s.)
    Raises InputError where an expression has fewer groups than there are folds.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.zeros((len(sizes), len(EXPRESSIONS)), dtype=np.int64)
    np.add.at(counts, (group, labels), 1)
    main_label = counts.argmax(axis=1)
    fold_of_group = np.empty(len(sizes), dtype=np.int64)
    assigned = np.zeros(folds, dtype=np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    for label, name in enumerate(EXPRESSIONS):
        members = shuffled[main_label[shuffled] == label]
        if 0 < len(members) < folds:
            raise InputError(
                f"cv.folds={folds}: the training part has {len(members)} different images of {name}, and each fold "
                "needs one. Give fewer folds or more images"
            )
        heap = [(0, int(assigned[fold]), fold) for fold in range(folds)]  # images of the expression, of all, fold
        heapq.heapify(heap)
        for member in members[np.argsort(-sizes[members], kind="stable")]:
            size = int(sizes[member])
            same, total, fold = heap[0]
            fold_of_group[member] = fold
            assigned[fold] += size
            heapq.heapreplace(heap, (same + size, total + size, fold))
    return fold_of_group[group]


def cross_validate(
    settings: TrainSettings,
    folder: Path,
    console: Console,
    begin: Callable[[], object] = lambda: None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Train each fold in `folder`/fold-K and write mean, standard deviation and each fold's score to metrics.json.

    predictions.npz gets what each fold's best network predicts for the images that it validates (`data.soft_labels`).

    With `resume`, finished folds are left as they are and an unfinished one is resumed. begin: as of `fit`. command:
    starts this cross-validation once more, as one of `cv.workers` processes; without it, folds are trained one after
    the other. Raises InputError where `folder` holds a run that is not to be resumed, was begun with other settings or
    other faces, or is trained in by another process.
    """
    if not command and settings.cv.workers not in ("auto", 1):
        raise InputError(
            f"cv.workers={settings.cv.workers}: processes are started for the folds of one run of the train command, "
            "not for jobs of --multirun. Leave it at auto"
        )
    with run_lock(folder, console.print):
        return _cross_validate(settings, folder, console, begin, command)


def _cross_validate(
    settings: TrainSettings, folder: Path, console: Console, begin: Callable[[], object], command: Sequence[str]
) -> dict[str, Any]:
    """What `cross_validate` does once the folder is locked."""
    if not settings.resume:
        require_no_run(folder, any(folder.glob("fold-*")) or (folder / METRICS).exists())
    require_started_processes(settings.trainer)
    datamodule = open_shared_faces(settings)
    left = [number for number in range(1, settings.cv.folds + 1) if score_of_fold(folder, number) is None]
    gpus = assign_gpus(settings.cv.workers, settings.trainer, len(left)) if command else [None]
    if len(gpus) > 1:
        require_same_folds(settings, folder, datamodule, console)
        begin()
        run_workers(settings, folder, console, command, gpus, left)
    scores: list[dict[str, Any]] = []
    for number, metrics in fold_metrics(settings, folder, datamodule, console, begin=begin):
        if len(gpus) == 1 or number not in left:
            print_fold(console, settings, number, metrics["val/accuracy"])
        scores.append(metrics)
    predict_folds(settings, folder, datamodule)
    metrics = {"model": settings.model.name, "data": settings.data.name, "seed": settings.seed, **summary(scores)}
    names = [name for name in metrics if name.startswith("cv/")]
    write_json(folder / METRICS, prefixed(metrics, names, prefix_of(settings.data.name)))
    print_scores(console, metrics, folder)
    return metrics


def fold_metrics(
    settings: TrainSettings,
    folder: Path,
    datamodule: FaceDataModule,
    console: Console,
    callbacks: Callable[[int], list[Callback]] = lambda _: [],
    begin: Callable[[], object] = lambda: None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Train fold after fold in `folder`/fold-1, fold-2, ... and yield each one's number and metrics.

    Finished folds are yielded without training, an unfinished one is resumed from its last checkpoint. A worker takes
    its own folds alone. callbacks: further ones for the fold of that number. begin: as of `fit`. Raises InputError
    where `folder` holds other folds.
    """
    rows, fold_of = datamodule.rows[TRAIN].numpy(), require_same_folds(settings, folder, datamodule, console)
    for number in own_folds() or range(1, settings.cv.folds + 1):
        place = folder / f"fold-{number}"
        begun = (place / "checkpoints" / LAST).exists() or (place / METRICS).exists()
        validated = fold_of == number - 1
        fold = datamodule.fold(rows[~validated], rows[validated])
        again = settings.model_copy(update={"resume": begun})
        yield number, fit(again, place, console, fold, callbacks(number), begin)


def require_same_folds(
    settings: TrainSettings, folder: Path, datamodule: FaceDataModule, console: Console
) -> np.ndarray:
    """The fold of each training row, (N,), kept in `folder`. Raises InputError where that holds other folds."""
    rows, fold_of = datamodule.rows[TRAIN].numpy(), folds_of(settings, datamodule)
    faces = checksum_of_faces(datamodule, (TRAIN,))["checksum"]
    if not keep_settings(settings, folder, rows, fold_of, faces):
        console.print(f"note: {folder / SETTINGS} is of an earlier version and does not say what faces its folds hold.")
    return fold_of


def run_workers(
    settings: TrainSettings,
    folder: Path,
    console: Console,
    command: Sequence[str],
    gpus: Sequence[str | None],
    left: Sequence[int],
) -> None:
    """Have worker processes train the folds that are left, in turn. Raises InputError where one fails."""
    shares = [left[number :: len(gpus)] for number in range(len(gpus))]
    where = "" if gpus[0] is None else f" on GPU {', '.join(map(str, gpus))}"
    console.print(f"{len(gpus)} workers{where}; what they print is in {folder}/worker-1.log, ...", soft_wrap=True)
    waiting = list(left)
    with started(command, gpus, max(1, torch.get_num_threads() // len(gpus)), folder, shares) as workers:
        running = True
        while running:
            time.sleep(PAUSE)
            running = any(worker.process.poll() is None for worker in workers)
            for number in waiting.copy():
                if (score := score_of_fold(folder, number)) is not None:
                    waiting.remove(number)
                    print_fold(console, settings, number, score)
            for worker in workers:
                if failure := worker.failure():
                    last = next(iter(worker.last_lines(1)), "")
                    raise InputError(
                        f"worker {worker.number} ended by {failure}, see {worker.log}: {last}. "
                        f"The same command with hydra.run.dir={folder} resume=true goes on"
                    )


def score_of_fold(folder: Path, number: int) -> float | None:
    """The accuracy of a fold that is finished."""
    try:
        return float(unprefixed(json.loads((folder / f"fold-{number}" / METRICS).read_text()))["val/accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def print_fold(console: Console, settings: TrainSettings, number: int, accuracy: float) -> None:
    """The line of a fold that is finished."""
    console.print(f"fold {number} of {settings.cv.folds}: {accuracy:.2%}")


@torch.inference_mode()
def predict_folds(settings: TrainSettings, folder: Path, datamodule: FaceDataModule) -> None:
    """Write predictions.npz: each training image's probabilities by the best network of the fold that validates it.

    They are the mean over the face and its mirror image.
    """
    assert datamodule.faces is not None
    rows, fold_of = datamodule.rows[TRAIN], folds_of(settings, datamodule)
    probabilities = torch.empty(len(rows), len(EXPRESSIONS))
    for number in range(settings.cv.folds):
        best = folder / f"fold-{number + 1}" / "checkpoints" / BEST
        network = load_network(best).network
        for places in torch.from_numpy(np.flatnonzero(fold_of == number)).split(EVALUATION_BATCH):
            faces = datamodule.loaded.images[rows[places]].cpu()
            probabilities[places] = (network.probabilities(faces) + network.probabilities(faces.flip(-1))) / 2
    write_predictions(
        folder / PREDICTIONS, rows.numpy(), fold_of + 1, probabilities.numpy(), datamodule.faces.fingerprint
    )


def folds_of(settings: TrainSettings, datamodule: FaceDataModule) -> np.ndarray:
    """The fold of each training row, (N,). Raises InputError where an expression has too few images."""
    rows = datamodule.rows[TRAIN].numpy()
    assert datamodule.faces is not None
    labels, groups = datamodule.faces.labels[rows], datamodule.faces.copy_groups[rows]
    return assign_folds(labels, groups, settings.cv.folds, settings.cv.seed)


def open_shared_faces(settings: TrainSettings) -> FaceDataModule:
    """The data module of some settings. Faces are read once a process, and shared by the settings that use the same."""
    with_hog = build_network(settings.model, settings.data.inputs).uses_hog
    of_batches = dict.fromkeys(("shift", "rotate", "scale", "erase", "mixup", "flip"), 0.0)  # not of faces in memory
    augment = settings.data.augment.model_copy(update=of_batches)
    shared = {"batch_size": None, "grow": None, "augment": augment, "size": max(SIDE, settings.data.size)}
    datamodule = copy.copy(_opened(settings.data.model_copy(update=shared), with_hog))
    datamodule.settings, datamodule.seed = settings.data, settings.seed
    return datamodule


@lru_cache(maxsize=2)  # with and without HOG, where a search trains networks of both kinds
def _opened(data: DataSettings, with_hog: bool) -> FaceDataModule:
    datamodule = FaceDataModule(data, with_hog)
    datamodule.setup()
    return datamodule


def keep_settings(settings: TrainSettings, folder: Path, rows: np.ndarray, fold_of: np.ndarray, faces: str) -> bool:
    """Write the settings and checksums of the folds and their faces, or compare them with those that `folder` holds.

    Returns whether the faces could be compared: earlier versions did not keep their checksum.
    """
    checksum = hashlib.sha256(rows.astype("<i8").tobytes() + fold_of.astype("<i8").tobytes()).hexdigest()[:16]
    file = folder / SETTINGS
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        kept = {"folds": checksum, "faces": faces, "settings_version": VERSION, "config": dump(settings)}
        write_json(file, kept)
        return True
    try:
        before = json.loads(file.read_text())
        was = restore(TrainSettings, before["config"], before.get("settings_version", 1), str(file))
        folds = before["folds"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: damaged ({error}). Give another folder, or remove this one") from error
    require_resumable(was, settings, f"the cross-validation in {folder}")
    if folds != checksum or before.get("faces", faces) != faces:
        raise InputError(f"{folder}: the faces are not those that its folds were made of. Give the same data.path")
    return "faces" in before


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
    console.print(
        f"{timedelta(seconds=round(metrics['seconds']))} of training. Scores: {folder / METRICS}", soft_wrap=True
    )
