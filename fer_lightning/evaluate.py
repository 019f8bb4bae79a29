"""Score a checkpoint, or an ensemble of several, on one split of one set of faces.

python -m fer_lightning.evaluate checkpoint=RUN/checkpoints/best.ckpt data=fer2013 data.path=fer2013.zip split=val
"""

import hashlib
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from fer_lightning.calibration import fit_temperature
from fer_lightning.checkpoints import load_classifier, trained_data
from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.commands import hydra_command
from fer_lightning.config import number, one_of, or_null, plain
from fer_lightning.data.cached_faces import CachedFaces
from fer_lightning.data.faces import SPLITS, VAL
from fer_lightning.data.ferplus import title_of
from fer_lightning.data.official import PUBLIC_TEST
from fer_lightning.data.sources import open_source
from fer_lightning.errors import InputError
from fer_lightning.evaluation import compared, named, scored
from fer_lightning.evaluation_files import CONFUSION, EVALUATION, folder_beside, write_evaluation
from fer_lightning.evaluation_table import show
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.scores import mean_and_sd
from fer_lightning.test_time import VIEWS, probabilities

DATA_KEYS = {"path", "votes", "cache_dir", "check_counts", "download", "images", "seed", "label_noise"}
"""What of the `data` group has an effect here; size, channels and HOG are the checkpoint's, nothing is augmented."""


def evaluate(config: dict[str, Any], folder: Path | None, command: str) -> dict[str, Any]:
    """Score by a checked, plain config; results go to `folder`, or beside the checkpoint. Returns evaluation.json."""
    console, began = Console(highlight=False), time.perf_counter()
    split, tta = SPLITS.index(config["split"]), config["tta"]
    paths, classifiers, checksums = load(config["checkpoint"])
    device = choose_device(config["device"])
    faces = open_source(config["data"])
    if not len(faces.rows(split)):
        held = ", ".join(f"{name} {size:,}" for name, size in sizes(faces).items())
        raise InputError(f"split={config['split']}: the data holds no such images, but {held or 'none at all'}")
    folder = folder or folder_beside(paths, checksums, config["data"]["name"], config["split"], tta)

    needed = {split} | ({VAL} if config["temperature"] == "val" and len(faces.rows(VAL)) else set())
    answers = answer(console, classifiers, device, faces, needed, tta)
    temperature, fitted_on = config["temperature"], "given"
    if temperature == "val":
        temperature, fitted_on = None, "val, these same images" if split == VAL else "val"
        if VAL in answers:
            val_labels = torch.from_numpy(faces.labels[faces.rows(VAL)].astype(np.int64))
            temperature = fit_temperature(answers[VAL].mean(dim=0), val_labels)

    together = answers[split].mean(dim=0)
    models = [classifier.model["name"] for classifier in classifiers]
    trained_on = [(trained_data(path) or {}).get("name") for path in paths]
    figures = {
        "model": named(models),
        "data": config["data"]["name"],
        "tta": tta,
        **scored(faces, split, together, temperature),
        "temperature_fitted_on": None if temperature is None else fitted_on,
        "checkpoint": [str(path) for path in paths] if len(paths) > 1 else str(paths[0]),
        "checkpoint_sha256": checksums if len(paths) > 1 else checksums[0],
        "trained_on": trained_on if len(paths) > 1 else trained_on[0],
        "data_path": config["data"]["path"],
        "data_fingerprint": faces.fingerprint,
        "notes": [*faces.notes, *warnings(config, faces, needed, trained_on)],
        "command": command,
    }
    if len(paths) > 1:
        figures |= members(faces, split, answers[split], classifiers, paths)
    labels = faces.labels[faces.rows(split)]
    if config["compare"]:
        figures["mcnemar"] = compared(figures, together, labels, Path(config["compare"]))
    figures["seconds"] = time.perf_counter() - began
    write_evaluation(folder, figures, labels, together)
    show(console, figures)
    where = f"{folder / EVALUATION} and {CONFUSION}"
    console.print(f"{figures['seconds']:.1f} s. Look next at {where}", soft_wrap=True)
    return figures


def load(checkpoint: Any) -> tuple[list[Path], list[ExpressionClassifier], list[str]]:
    """Paths, classifiers and checksums of the checkpoints that the config names, one or several."""
    given = checkpoint if isinstance(checkpoint, list) else [checkpoint]
    if not given or not all(isinstance(path, str) and path for path in given):
        raise InputError(f"checkpoint={checkpoint}: expected a checkpoint, or several as in '[a.ckpt,b.ckpt]'")
    paths = [Path(path).expanduser() for path in given]
    classifiers = [load_classifier(path) for path in paths]
    checksums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    for number_, checksum in enumerate(checksums):
        if checksum in checksums[:number_]:
            raise InputError(f"checkpoint: {paths[number_]} stands twice; an ensemble is of different checkpoints")
    return paths, classifiers, checksums


def choose_device(device: str) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda: torch sees no CUDA GPU here; device=cpu works everywhere")
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


def answer(
    console: Console,
    classifiers: list[ExpressionClassifier],
    device: torch.device,
    faces: CachedFaces,
    splits: set[int],
    tta: str,
) -> dict[int, Tensor]:
    """Probabilities (networks, n, 7) of every image of the splits, with a bar on a terminal."""
    for classifier in classifiers:
        classifier.to(device=device, memory_format=torch.channels_last)
    chosen = {split: torch.from_numpy(faces.images[faces.rows(split)])[:, None] for split in sorted(splits)}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("classifying", total=sum(map(len, chosen.values())))
        return {
            split: probabilities(classifiers, images, tta, lambda done: bar.advance(task, done))
            for split, images in chosen.items()
        }


def members(
    faces: CachedFaces, split: int, answers: Tensor, classifiers: list[ExpressionClassifier], paths: list[Path]
) -> dict[str, Any]:
    """The members of an ensemble one by one, and their mean and standard deviation, as over seeds."""
    each = [scored(faces, split, own, None) for own in answers]
    kept = ("accuracy", "accuracy_unique", "macro_f1", "balanced_accuracy", "ece")
    rows = [
        {"checkpoint": str(path), "model": one.model["name"], "seed": one.seed} | {key: figures[key] for key in kept}
        for path, one, figures in zip(paths, classifiers, each, strict=True)
    ]
    known = [key for key in kept if rows[0][key] is not None]
    return {"members": rows, "over_members": {key: mean_and_sd([row[key] for row in rows]) for key in known}}


def sizes(faces: CachedFaces) -> dict[str, int]:
    return {name: len(faces.rows(index)) for index, name in enumerate(SPLITS) if len(faces.rows(index))}


def warnings(config: dict[str, Any], faces: CachedFaces, used: set[int], trained_on: list[str | None]) -> list[str]:
    """What a reader of the figures should know and cannot see."""
    others = sorted({name for name in trained_on if name and name != config["data"]["name"]})
    said = [f"Trained on {title_of(other)}, scored on {title_of(config['data']['name'])}." for other in others]
    drawn = config["data"]["name"] == "fer2013" and faces.counts(VAL, len(EXPRESSIONS)) != list(PUBLIC_TEST)
    if VAL in used and drawn:
        said.append("val is not PublicTest: a checkpoint that was not trained with this same val may know its images.")
    if config["temperature"] == "val" and VAL not in used:
        said.append("There is no val, so no temperature was fitted.")
    if config["split"] != "train" and "train" not in sizes(faces):
        said.append("There is no train, so images that also stand in train could not be left out.")
    return said


def require_valid(config: dict[str, Any], overridden: list[str]) -> None:
    """Raise InputError for a value out of range, or a setting of the data that has no effect here."""
    fitted = or_null(number(0, above=True))[0]
    for key, (check, expected) in {
        "split": one_of(*SPLITS),
        "tta": one_of(*VIEWS),
        "device": one_of("auto", "cpu", "cuda"),
        "temperature": (lambda value: value == "val" or fitted(value), "val, a number above 0, or null"),
        "compare": or_null((lambda value: isinstance(value, str), "the path of an evaluation.json")),
    }.items():
        if not check(config[key]):
            raise InputError(f"{key}={config[key]!r}: expected {expected}")
    for override in overridden:
        group, dot, key = override.partition("=")[0].lstrip("+~").partition(".")
        if group == "data" and dot and key not in DATA_KEYS:
            raise InputError(
                f"data.{key}: without effect here; the checkpoint's own settings rule, and no image is left out"
            )


@hydra_command("evaluate")
def main(config: DictConfig) -> None:
    values, hydra = plain(config), HydraConfig.get()
    require_valid(values, list(hydra.overrides.task))
    told = any(override.startswith("hydra.run.dir=") for override in hydra.overrides.hydra)
    folder = Path(hydra.runtime.output_dir) if told else None
    command = f"python -m fer_lightning.evaluate {shlex.join(sys.argv[1:])}"
    evaluate(values, folder, command)


if __name__ == "__main__":
    main()
