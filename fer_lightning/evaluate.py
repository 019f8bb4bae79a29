"""Score a checkpoint, or an ensemble of several, on one split of one set of faces.

python -m fer_lightning.evaluate checkpoint=RUN/checkpoints/best.ckpt data=fer2013 data.path=fer2013.zip split=val
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from fer_lightning.cli import Invocation, hydra_command
from fer_lightning.errors import InputError
from fer_lightning.settings import DataSettings, EvaluateSettings, Fer2013Data
from fer_lightning.settings.labels import labels_text

if TYPE_CHECKING:
    from fer_lightning.data.sources import CachedFaces
    from fer_lightning.evaluation.inference import Ensemble


@hydra_command("evaluate", EvaluateSettings)
def main(settings: EvaluateSettings, invocation: Invocation) -> None:
    """Score on one split, write evaluation.json and print it."""
    import torch

    from fer_lightning.data.faces import SPLITS, VAL
    from fer_lightning.data.sources import open_faces
    from fer_lightning.data.tensors import picture_tensor
    from fer_lightning.evaluation import records
    from fer_lightning.evaluation.inference import load_ensemble, predict_probabilities
    from fer_lightning.evaluation.metrics import fit_temperature
    from fer_lightning.evaluation.table import print_evaluation

    console, began = Console(highlight=False, markup=False), time.perf_counter()
    ensemble = load_ensemble(settings.checkpoint, settings.device)
    channels, size = ensemble.form
    data, said = with_labels(settings.data.model_copy(update={"channels": channels, "size": size}), ensemble)
    faces, split = open_faces(data), SPLITS.index(settings.split)
    sizes = {name: len(faces.rows(number)) for number, name in enumerate(SPLITS)}
    if not sizes[settings.split]:
        held = ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size)
        raise InputError(f"split={settings.split}: the data holds no such images, but {held or 'none at all'}")

    fit = settings.temperature == "val" and sizes["val"] > 0
    probabilities = {}
    for needed in {split, VAL} if fit else {split}:
        images = picture_tensor(faces.images[faces.rows(needed)])
        probabilities[needed] = predict_probabilities(ensemble.networks, images, settings.tta, console.is_terminal)
    temperature, fitted_on = settings.temperature, "given"
    if temperature == "val":
        val = torch.from_numpy(faces.labels[faces.rows(VAL)]).long()
        temperature = fit_temperature(probabilities[VAL].mean(dim=0), val) if fit else None
        fitted_on = "val, these same images" if split == VAL else "val"

    mean, labels = probabilities[split].mean(dim=0), faces.labels[faces.rows(split)]
    evaluation = {
        "model": ensemble.name,
        "data": settings.data.name,
        "tta": settings.tta,
        **records.split_metrics(faces, split, mean, temperature),
        "temperature_fitted_on": None if temperature is None else fitted_on,
        **ensemble.provenance,
        "data_path": settings.data.path,
        "data_fingerprint": faces.fingerprint,
        "notes": [*faces.notes, *said, *notes(settings, ensemble, faces, sizes)],
        "command": invocation.command,
    }
    if len(ensemble.members) > 1:
        evaluation |= records.member_metrics(ensemble, faces, split, probabilities[split])
    if settings.compare:
        evaluation["mcnemar"] = records.compare(evaluation, mean, labels, Path(settings.compare))
    evaluation["seconds"] = time.perf_counter() - began
    folder = invocation.folder if invocation.chosen else records.default_folder(evaluation)
    records.write_evaluation(folder, evaluation, mean, labels)
    print_evaluation(console, evaluation)
    where = f"{folder / records.EVALUATION} and {records.CONFUSION}"
    console.print(f"{evaluation['seconds']:.1f} s. Look next at {where}", soft_wrap=True)


def with_labels(data: DataSettings, ensemble: "Ensemble") -> tuple[DataSettings, list[str]]:
    """The data with the `data.labels` of the checkpoints, where none are given and the path is theirs; and a note."""
    trained = {
        (member.data.labels, member.data.path)
        for member in ensemble.members
        if isinstance(member.data, Fer2013Data) and member.data.labels
    }
    if not isinstance(data, Fer2013Data) or data.labels or not trained:
        return data, []
    labels, path = min(trained)
    told = f"data.labels={labels_text(dict(labels or ()))}"
    if len(trained) == 1 and same_file(data.path, path):
        return data.model_copy(update={"labels": labels}), [f"{told}, as the checkpoint was trained on these data."]
    return data, [f"The checkpoint was trained with {told}; here none is given, and labels are read without it."]


def same_file(first: str | None, second: str | None) -> bool:
    """Whether two paths name the same file or folder."""
    return (
        bool(first and second) and Path(str(first)).expanduser().resolve() == Path(str(second)).expanduser().resolve()
    )


def notes(settings: EvaluateSettings, ensemble: "Ensemble", faces: "CachedFaces", sizes: dict[str, int]) -> list[str]:
    """What a reader of the metrics should know and cannot see in them. sizes: images of each split."""
    from fer_lightning.data.copy_notes import repeated_notes
    from fer_lightning.data.faces import TRAIN, VAL
    from fer_lightning.data.fer2013 import OFFICIAL_COUNTS
    from fer_lightning.data.ferplus import title_of
    from fer_lightning.data.sources import cached_near_pairs
    from fer_lightning.expressions import EXPRESSIONS

    data, fit = settings.data.name, settings.temperature == "val"
    others = sorted({member.data.name for member in ensemble.members if member.data} - {data})
    lines = [f"Trained on {title_of(other)}, scored on {title_of(data)}." for other in others]
    public_test = tuple(faces.counts(VAL, len(EXPRESSIONS))) == OFFICIAL_COUNTS["val"]
    if data == "fer2013" and not public_test and (settings.split == "val" or (fit and sizes["val"])):
        lines.append("val is not PublicTest: a checkpoint that was not trained with this same val may know its images.")
    if fit and not sizes["val"]:
        lines.append("There is no val, so no temperature was fitted.")
    if settings.split != "train" and not sizes["train"]:
        lines.append("There is no train, so images that also stand in train could not be left out.")
    if settings.split != "train":
        lines += repeated_notes(faces, faces.rows(TRAIN), cached_near_pairs(faces), [settings.split])
    return lines


if __name__ == "__main__":
    main()
