"""From a run folder to a file of docs/results: what is kept of it, without paths of the machine that made it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from fer_lightning.errors import InputError
from fer_lightning.figures.filters import first_filters
from fer_lightning.machine import provenance
from fer_lightning.networks.weight_files import load_network
from fer_lightning.report.events import Events
from fer_lightning.report.pictures import spread
from fer_lightning.report.runs import METRICS, Run, read_run
from fer_lightning.results.plan import WITHOUT_EFFECT, evaluate_command, matching_row, read_plan
from fer_lightning.results.record import Result, read_results, write_result
from fer_lightning.settings import VERSION, TrainSettings, flatten, path_keys, restore

SPLITS = ("val", "test")
EPOCHS_OF_MAPS = 6


def add(
    folder: Path,
    into: Path,
    compose: Callable[..., TrainSettings],
    name: str | None = None,
    precision: str | None = None,
    commit: str | None = None,
) -> Path:
    """Keep a finished and evaluated run, or an evaluated ensemble; returns the file.

    compose: overrides of the train command to settings. name: of the file; None: that of the plan's row and the seed.
    precision, commit: of a run of an earlier version, which does not say it, made on this machine. Raises InputError.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if (folder / METRICS).exists():
        kept = kept_run(folder, into, compose, precision, commit)
    else:
        kept = {"name": folder.name, "model": ""}
    kept["name"] = name or kept["name"]
    if not re.fullmatch(r"[\w.-]+", kept["name"]):
        raise InputError(f"--name {kept['name']}: expected letters, digits, and any of _ . -")
    kept["evaluations"] = kept_evaluations(folder, kept["name"], read_results(into))
    kept["model"] = kept["model"] or kept["evaluations"][0]["model"]
    Result.model_validate(kept)
    write_result(into / f"{kept['name']}.json", kept)
    return into / f"{kept['name']}.json"


def kept_run(
    folder: Path, into: Path, compose: Callable[..., TrainSettings], precision: str | None, commit: str | None
) -> dict[str, Any]:
    """What is kept of a run but for its evaluations. Raises InputError."""
    run, metrics = read_run(folder), json.loads((folder / METRICS).read_text(encoding="utf-8"))
    if run.data != "fer2013":
        raise InputError(f"{folder}: it was trained on {run.data}; results are kept of FER2013 alone")
    made = {key: metrics.pop(key) for key in ("machine", "versions", "commit") if key in metrics}
    if not made:
        if not precision or not commit:
            raise InputError(
                f"{folder / METRICS} does not say where it was made, as those of earlier versions; if it was on this "
                "machine, add --precision (bf16-mixed, 32-true, ...) and --commit"
            )
        made = provenance("cpu", precision) | {"commit": commit}
        made["versions"].pop("fer_lightning")
    settings = settings_of_run(folder)
    row = matching_row(read_plan(into), settings, compose)
    overrides = row.planned.overrides if row else own_overrides(folder)
    kept = flatten(settings.model_dump(exclude_none=True, exclude_defaults=True))
    return {
        "name": f"{row.name}-seed{run.seed}" if row else folder.name,
        "model": run.model,
        "overrides": overrides,
        "metrics": metrics,
        **made,
        "settings": {key: value for key, value in kept.items() if value != {} and not is_free(key)},
        "history": {
            key: [round(value, 4) for value in run.history[key]]
            for key in ("val/accuracy", "train/accuracy", "val/loss", "train/loss")
        },
        "activations": activations(run.events, run.layers),
        "filters": filters(run),
    }


def settings_of_run(folder: Path) -> TrainSettings:
    """The settings of a run, which may be one of an earlier version. Raises InputError."""
    path = folder / ".hydra" / "config.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    return restore(TrainSettings, values, VERSION, str(path))


def own_overrides(folder: Path) -> list[str]:
    """The overrides that a run of no planned row was started with, but for those without effect on what is trained."""
    path = folder / ".hydra" / "overrides.yaml"
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    paths, overrides = path_keys(TrainSettings), []
    for override in given:
        key, _, value = override.partition("=")
        if not is_free(key.lstrip("+~")):
            short = "/".join(["runs", *Path(value).parts[-2:]]) if key in paths and value != "null" else value
            overrides.append(f"{key}={short}")
    return overrides


def is_free(key: str) -> bool:
    """Whether a setting has no effect on what is trained."""
    return any(key == free or key.startswith(f"{free}.") for free in WITHOUT_EFFECT)


def kept_evaluations(folder: Path, name: str, known: list[Result]) -> list[dict[str, Any]]:
    """The evaluations of a folder's best checkpoint or ensemble, with places under runs/ instead of this machine's.

    known: results that members of an ensemble may be. Raises InputError where there is none on val.
    """
    singles = [(score.checkpoint_sha256, result.name) for result in known for score in result.evaluations]
    names = {checksum: name for checksum, name in singles if isinstance(checksum, str)}  # an ensemble has several
    found = []
    for path in sorted(folder.glob("evaluation-*/evaluation.json")):
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            split, tta, files = kept["split"], kept["tta"], kept["checkpoint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not an evaluation of this project ({error})") from error
        ensemble = isinstance(files, list)
        if kept.get("data") != "fer2013" or split not in SPLITS or (not ensemble and Path(files).name != "best.ckpt"):
            continue
        members = []
        if ensemble:
            pairs = zip(files, kept["checkpoint_sha256"], strict=True)
            members = [names.get(checksum, Path(file).resolve().parents[1].name) for file, checksum in pairs]
        places = [f"runs/{member}/checkpoints/best.ckpt" for member in members or [name]]
        kept["checkpoint"], kept["data_path"] = places if ensemble else places[0], "fer2013.zip"
        for member, place in zip(kept.get("members", []), places, strict=False):
            member["checkpoint"] = place
        against = None
        if test := kept.get("mcnemar"):
            other = Path(test["with"])
            other = other.parent if other.suffix == ".json" else other
            against, test["with"] = other.parent.name, f"{other.parent.name}/{other.name}"
        kept["command"] = evaluate_command(name, split, tta, members, against)
        kept.pop("seconds", None)
        found.append(kept)
    if not any((one["split"], one["tta"]) == ("val", "none") for one in found):
        command = evaluate_command(folder.name, "val", "none")
        raise InputError(f"{folder}: no evaluation on val of its best checkpoint. This makes it: {command}")
    return found


def activations(events: Events, layers: list[str]) -> dict[str, Any] | None:
    """Sparsity and locality of each conv layer in EPOCHS_OF_MAPS epochs from the first to the last; None without."""
    curves = {measure: {layer: events.scalars.get(f"{measure}/{layer}", {}) for layer in layers}
              for measure in ("sparsity", "locality")}  # fmt: skip
    known = set.intersection(*(set(curve) for of in curves.values() for curve in of.values())) if layers else set()
    if not known:
        return None
    epochs = spread(known, EPOCHS_OF_MAPS)
    return {"epochs": epochs} | {
        measure: {layer: [round(curve[epoch], 4) for epoch in epochs] for layer, curve in of.items()}
        for measure, of in curves.items()
    }


def filters(run: Run) -> dict[str, Any] | None:
    """Smoothness of the first layer's filters of the best checkpoint; None without conv layers or checkpoint."""
    checkpoint = run.folder / "checkpoints" / "best.ckpt"
    if not checkpoint.exists():
        return None
    weights = first_filters(load_network(checkpoint).network)
    return None if weights is None or weights.shape[-1] < 2 else smoothness(weights)


def smoothness(weights: Tensor) -> dict[str, Any]:
    """How alike neighbouring weights of filters (F, C, k, k) are: Moran's I (Biometrika 37, 1950), four neighbours.

    autocorrelation: mean over the filters, each averaged over its input channels; 1 is a slow gradient, noise has
    -1 / (k * k - 1) on average. of_noise: the value that 5 % of filters of white noise exceed; smooth: the number of
    filters above it.
    """
    grey = weights.detach().double().cpu().mean(dim=1)
    side = grey.shape[-1]
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((10_000, side, side)))
    values, limit = morans_i(grey), float(morans_i(noise).quantile(0.95))
    return {
        "side": side,
        "filters": len(grey),
        "autocorrelation": round(float(values.mean()), 4),
        "of_noise": round(limit, 4),
        "smooth": int((values > limit).sum()),
    }


def morans_i(maps: Tensor) -> Tensor:
    """Moran's I of maps (N, k, k): (N,)."""
    side = maps.shape[-1]
    centred = maps - maps.mean(dim=(1, 2), keepdim=True)
    below, beside = centred[:, 1:] * centred[:, :-1], centred[..., 1:] * centred[..., :-1]
    products, pairs = below.sum(dim=(1, 2)) + beside.sum(dim=(1, 2)), 2 * side * (side - 1)
    return side * side / pairs * products / centred.square().sum(dim=(1, 2)).clamp_min(1e-30)
