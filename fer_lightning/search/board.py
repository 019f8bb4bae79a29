"""The trials in TensorBoard's HParams tab: the settings that were searched beside the scores that they had."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard.summary import hparams, scalar
from torch.utils.tensorboard.writer import FileWriter

HPARAMS = "hparams"


def write_hyperparameters(
    folder: Path, settings: Mapping[str, Any], scores: Sequence[float], outcome: Mapping[str, Any]
) -> None:
    """Write one trial into `hparams/` of its sweep folder, apart from its folds, which share its settings.

    scores: the accuracy of each fold that was trained, shown as a curve. outcome: `state`; `cv/mean` and `cv/std` where
    the trial is complete.
    """
    place = folder.parent / HPARAMS / folder.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    writer = FileWriter(str(place))
    shown = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in settings.items()}
    reached = {name: float(outcome[name]) for name in ("cv/mean", "cv/std") if name in outcome}
    for summary in hparams({**shown, "state": outcome["state"].lower()}, {"cv/mean": 0.0, "cv/std": 0.0}):
        writer.add_summary(summary)
    for name, value in reached.items():
        writer.add_summary(scalar(name, value), 0)
    for number, score in enumerate(scores, start=1):
        writer.add_summary(scalar("fold/accuracy", score), number)
    writer.close()
