"""How cost grows: with images, the side of the pictures, folds and trials; seconds and memory, and docs/growth.png.

images: 1 to 10 times FER2013, drawn; each size in a fresh process: opening them warm, statistics, fold assignment, an
epoch of `fc` (its HOG cached), peak memory. side: a step of conv_poster at pictures of 48 to 224 pixels, its size alone
in the network. folds: the images that k folds train, and their assignment. trials: seconds of asking and telling one
trial of a study (sampler TPE, SQLite), which holds 0 to 1,000 already, without training. Exponents are slopes of
log(cost) over log(size): 1 is linear. What workers give is in benchmarks/many_machines.py.

python benchmarks/growth.py [--factors 1,2,5,10] [--sides 48,96,144,224] [--trials 1000] [--images 35887] [--plot FILE]
"""

import argparse
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
import yaml
from ceiling import rounds, trained
from hydra_plugins.fer_search.sweeper import read_space
from matplotlib import pyplot as plt
from record import report, row
from rich.console import Console

from fer_lightning.cli import settings_of
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import TRAIN
from fer_lightning.networks import build_network
from fer_lightning.search.study import Outcome, Study
from fer_lightning.settings import CONF, SearchSettings, TrainSettings
from fer_lightning.training.cross_validation import assign_folds
from fer_lightning.training.fit import fit
from fer_lightning.training.trainer import choose_precision

PLOT = Path(__file__).resolve().parents[1] / "docs" / "growth.png"
FOLDS = (2, 5, 10, 20, 50)
QUIET = ["draw.every=0", "draw.deepdream=false", "draw.embedding=0", "trainer.accelerator=cpu"]
Costs = dict[str, dict[str, float]]
"""By size, what was measured there."""


def settings_for(*overrides: str) -> TrainSettings:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return settings_of(hydra.compose("config", [*QUIET, *overrides]), TrainSettings)


def cost_of_images(images: int, cache: str) -> dict[str, float]:
    """Of so many faces, in this process; the second call finds them in the cache."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    settings = settings_for("model=fc", f"data.images={images}", f"data.cache_dir={cache}", "trainer.max_epochs=2")
    times = {}
    began = time.perf_counter()
    datamodule = FaceDataModule(settings.data, with_hog=True)
    datamodule.setup()
    times["open_seconds"] = time.perf_counter() - began
    began = time.perf_counter()
    datamodule.statistics()
    times["statistics_seconds"] = time.perf_counter() - began
    rows = datamodule.rows[TRAIN].numpy()
    began = time.perf_counter()
    assign_folds(datamodule.faces.labels[rows], datamodule.faces.copy_groups[rows], 5)
    times["folds_seconds"] = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        fit(settings, Path(folder), Console(quiet=True), datamodule)
        lines = (Path(folder) / "history.csv").read_text().splitlines()
    times["epoch_seconds"] = float(lines[-1].split(",")[lines[0].split(",").index("seconds")])
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform == "darwin" else 1)
    return {**times, "peak_mb": kilobytes / 2**10}


def growth_with_images(factors: list[int], images: int) -> Costs:
    found = {}
    for factor in factors:
        with tempfile.TemporaryDirectory() as cache:
            words = [sys.executable, __file__, "--only", str(factor * images), cache]
            for _ in range(2):  # the first draws them
                printed = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[str(factor * images)] = json.loads(printed.splitlines()[-1])
        print(f"{factor * images:,} images: " + says(found[str(factor * images)]), flush=True)
    return found


def growth_with_side(sides: list[int], batch: int = 32) -> Costs:
    """A step of conv_poster, in ms an image, and the bytes of its feature maps."""
    found = {}
    autocast = choose_precision("auto", "cpu") == "bf16-mixed"
    for side in sides:
        settings = settings_for("model=conv_poster", f"data.size={side}")
        network = build_network(settings.model, settings.data.inputs).to(memory_format=torch.channels_last)
        saved = saved_bytes(network, torch.zeros(2, 1, 48, 48)) / 2
        step = trained(network, torch.full((batch, 1, 48, 48), 99.0), autocast=autocast)
        spent = rounds({"step": step})["step"]
        parameters = sum(parameter.numel() for parameter in network.parameters())
        found[str(side)] = {"ms_an_image": spent / batch * 1e3, "saved_mb_an_image": saved / 2**20}
        found[str(side)] |= {"gflop_an_image": step.flop / batch / 1e9, "parameters": parameters}
        print(f"side {side}: " + says(found[str(side)]), flush=True)
    return found


def saved_bytes(network: torch.nn.Module, faces: torch.Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass."""
    sizes: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(faces)
    return sum(sizes)


def growth_with_folds(images: int) -> Costs:
    """What k folds train in an epoch each, and the seconds of their assignment."""
    random = np.random.default_rng(0)
    labels, groups = random.integers(0, 7, images), np.arange(images)
    found = {}
    for folds in FOLDS:
        began = time.perf_counter()
        assign_folds(labels, groups, folds)
        found[str(folds)] = {"seconds": time.perf_counter() - began, "epochs_of_all_images": folds - 1}
        print(f"{folds} folds: " + says(found[str(folds)]), flush=True)
    return found


def growth_with_trials(trials: int) -> Costs:
    """Milliseconds to ask for a trial and to tell its end, by how many the study holds: medians of ten."""
    space = yaml.safe_load((CONF.parent / "sweeps" / "lr_reg_hidden.yaml").read_text())["hydra"]["sweeper"]["params"]
    usual = yaml.safe_load((CONF / "hydra" / "sweeper" / "study.yaml").read_text())
    values = {key: value for key, value in usual.items() if not key.startswith("_")}
    values |= {"n_trials": trials, "params": space, "sampler": "tpe", "storage": "sqlite"}
    settings, random = SearchSettings(**values), np.random.default_rng(0)
    spent: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), settings, read_space(space, []), settings_for("model=conv_deep", "cv.folds=5"))
        while (began := time.perf_counter()) and (trial := study.ask()):
            asked = time.perf_counter()
            study.tell(trial, Outcome("COMPLETE", [float(random.random())]))
            spent.append((asked - began, time.perf_counter() - asked))
        study.close()
    found = {}
    for number in sorted({*(10 ** (power / 2) for power in range(2, 7) if 10 ** (power / 2) < 0.9 * trials), trials}):
        last = spent[max(0, int(number) - 10) : int(number)]
        ask, tell = (statistics.median(part) * 1e3 for part in zip(*last, strict=True))
        found[str(int(number))] = {"ask_ms": ask, "tell_ms": tell}
        print(f"{int(number)} trials: " + says(found[str(int(number))]), flush=True)
    return found


def says(costs: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in costs.items())


def exponent(costs: Costs, name: str) -> float:
    """Slope of log(cost) over log(size), by least squares."""
    sizes, values = [float(size) for size in costs], [cost[name] for cost in costs.values()]
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) if len(sizes) > 1 else 1.0


PANELS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "Time over images": (
        "images",
        "images",
        "seconds",
        {
            "epoch_seconds": "an epoch of fc",
            "statistics_seconds": "statistics",
            "folds_seconds": "assigning 5 folds",
            "open_seconds": "opening, warm",
        },
    ),
    "Memory over images": ("images", "images", "MB", {"peak_mb": "peak of a training of fc"}),
    "A step of conv_poster over the picture": (
        "pixels",
        "pixels of a picture",
        "of an image",
        {"ms_an_image": "ms", "saved_mb_an_image": "MB kept for backward", "gflop_an_image": "GFLOP"},
    ),
    "A study over its trials": (
        "trials",
        "trials in the study",
        "milliseconds",
        {"ask_ms": "asking for a trial (TPE)", "tell_ms": "telling its end"},
    ),
}
"""Title, what was measured, labels of the axes, and the lines by what was measured."""


def draw(found: dict[str, Costs], file: Path) -> None:
    """Four panels: seconds and memory over images, a step over pixels, milliseconds over trials."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    for axis, (title, (name, size, unit, lines)) in zip(axes.flat, PANELS.items(), strict=True):
        costs = found[name]
        sizes = np.array([float(one) for one in costs])
        for key, label in lines.items():
            values = [cost[key] for cost in costs.values()]
            axis.plot(sizes, values, "o-", label=f"{label} (exponent {exponent(costs, key):.2f})")
        start = next(iter(costs.values()))[next(iter(lines))]
        axis.set(title=title, xlabel=size, ylabel=unit)
        if unit == "MB":
            axis.set(xlim=(0, None), ylim=(0, None))
            axis.locator_params(axis="x", nbins=4)
            axis.xaxis.set_major_formatter("{x:,.0f}")
        else:
            axis.plot(sizes, start * sizes / sizes[0], ":", color="grey", label="linear")
            axis.set(xscale="log", yscale="log")
            axis.margins(y=0.2)
            axis.set_xticks(sizes, [f"{one:,.0f}" for one in sizes], minor=False)
            axis.minorticks_off()
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        print(json.dumps(cost_of_images(int(sys.argv[2]), sys.argv[3])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", default="1,2,5,10")
    parser.add_argument("--images", type=int, default=35_887)
    parser.add_argument("--sides", default="48,96,144,224")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--plot", type=Path, default=PLOT)
    given = parser.parse_args()
    factors, sides = ([int(word) for word in words.split(",")] for words in (given.factors, given.sides))
    found: dict[str, Any] = {
        "trials": growth_with_trials(given.trials),
        "side": growth_with_side(sides),
        "folds": growth_with_folds(given.images),
        "images": growth_with_images(factors, given.images),
    }
    found["pixels"] = {str(int(side) ** 2): cost for side, cost in found.pop("side").items()}
    draw(found, given.plot)
    images, pixels, trials = found["images"], found["pixels"], found["trials"]
    exponents = {
        "an epoch of fc over images": exponent(images, "epoch_seconds"),
        "peak memory over images": exponent(images, "peak_mb"),
        "assigning folds over images": exponent(images, "folds_seconds"),
        "a step over pixels": exponent(pixels, "ms_an_image"),
    }
    rows = [row(f"{name}, exponent", value, None, "", at_most=1.1, of="ours") for name, value in exponents.items()]
    least, most = min(trials, key=int), max(trials, key=int)
    cost = trials[most]["ask_ms"], trials[least]["ask_ms"]
    rows.append(row(f"asking for a trial at {most} trials; at {least}", *cost, "ms"))
    report("growth", rows, **found)


if __name__ == "__main__":
    main()
