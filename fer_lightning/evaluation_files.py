"""The files of an evaluation: where they stand, written whole, and read back."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fer_lightning.data.ferplus import prefix_of, prefixed, title_of, unprefixed
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.confusion import confusion_picture
from fer_lightning.figures.sheet import png
from fer_lightning.files import write_json, write_atomic

EVALUATION, PREDICTIONS, CONFUSION = "evaluation.json", "predictions.npz", "confusion_matrix.png"
"""The files of an evaluation. predictions.npz: `labels` (n,) and `probabilities` (n, 7), in the order of the images."""


FIGURES = {
    "accuracy", "accuracy_ci95", "accuracy_unique", "accuracy_unique_mirrored", "macro_f1", "balanced_accuracy",
    "per_class", "ece", "ece_with_temperature", "confusion_matrix", "members", "over_members", "mcnemar",
}  # fmt: skip
"""What is measured; under FER+ these keys begin with `ferplus-`."""


def folder_beside(paths: list[Path], checksums: list[str], data: str, split: str, tta: str) -> Path:
    """Where results go unless told: within the run of the checkpoint, or below `runs` for what is of no one run."""
    parts = [f"{prefix_of(data)}evaluation", split] + ([tta] if tta != "none" else [])
    if len(paths) > 1:
        together = hashlib.sha256("".join(checksums).encode()).hexdigest()[:8]
        return Path("runs") / f"ensemble-{together}" / "-".join(parts)
    (path,) = paths
    if path.parent.name != "checkpoints":
        return Path("runs") / path.stem / "-".join(parts)
    return path.parent.parent / "-".join(parts + ([path.stem] if path.stem != "best" else []))


def write_evaluation(folder: Path, figures: dict[str, Any], labels: np.ndarray, together: Tensor) -> None:
    """The files of an evaluation, each whole or not at all, evaluation.json last.

    One that stands there is replaced when it is of the same checkpoint and images; InputError when it is another.
    """
    if (folder / EVALUATION).exists():
        before, *_ = read_evaluation(folder)
        for key in ("checkpoint", "tta", "images_sha256"):
            if before.get(key) != figures[key]:
                raise InputError(
                    f"{folder} holds an evaluation with another {key} ({before.get(key)}); name another hydra.run.dir"
                )
    table = io.BytesIO()
    np.savez_compressed(table, labels=labels, probabilities=together.numpy())
    title = f"{figures['model']}, {title_of(figures['data'])} {figures['split']}" + (
        f", {figures['tta']}" if figures["tta"] != "none" else ""
    )
    picture = png(confusion_picture(np.array(figures["confusion_matrix"]), EXPRESSIONS, title))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((PREDICTIONS, table.getvalue()), (CONFUSION, picture)):
            write_atomic(folder / name, content)
        write_json(folder / EVALUATION, prefixed(figures, FIGURES, prefix_of(figures["data"])))
    except OSError as error:
        raise InputError(f"{folder}: the results cannot be written ({error.strerror or error})") from error


def read_evaluation(path: Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """evaluation.json (or its folder) with labels (n,) and probabilities (n, 7) from the predictions beside it.

    Raises InputError for anything that is no evaluation of this project; no code of the files is run.
    """
    path = path / EVALUATION if path.is_dir() else path
    try:
        figures = unprefixed(json.loads(path.read_text(encoding="utf-8")))
        with np.load(path.with_name(PREDICTIONS), allow_pickle=False) as kept:
            labels, probabilities = kept["labels"], kept["probabilities"]
        whole = probabilities.shape == (figures["n"], len(EXPRESSIONS)) and labels.shape == (figures["n"],)
        if not whole or not isinstance(figures["images_sha256"], str):
            raise ValueError("the files do not belong together")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"{path}: not an {EVALUATION} of fer_lightning.evaluate with its {PREDICTIONS} beside it ({reason})"
        ) from error
    return figures, labels, probabilities
