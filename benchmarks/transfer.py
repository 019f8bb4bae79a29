"""What pretraining gives: fine-tuned against trained from scratch with the same budget, on 10, 30 and 100 % of FER2013.

python benchmarks/transfer.py data.path=fer2013.zip [KEY=VALUE ...] [--folder runs/transfer] [--write FOLDER]
python benchmarks/transfer.py data.path=fer2013.zip model.weights=imagenet       # instead of pretraining here

Pretraining is on embedded colour faces, many and easy. Every run is kept in --folder and resumed there, so the command
goes on where it was stopped. --write: the folder for transfer.json, which RESULTS.md is made of, and the curve.
"""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot
from rich.console import Console

from fer_lightning.cli.composition import train_settings
from fer_lightning.evaluation.metrics import mean_and_sd
from fer_lightning.files import write_atomic, write_json
from fer_lightning.training.fit import fit

matplotlib.use("agg")

SEEDS = (0, 1, 2)
EPOCHS = {0.1: 10, 0.3: 3, 1.0: 1}
"""Of each share of the training images: nearly the same number of steps."""

COMMON = [
    "model=resnet18",
    "data.channels=3",
    "data.size=32",
    "data.batch_size=64",
    "optimizer.weight_decay=5e-4",
    "schedule=one_cycle",
    "trainer.accelerator=cpu",
    "draw.every=0",
    "draw.deepdream=false",
    "draw.embedding=0",
]
PRETRAINING = ["data=synthetic", "data.images=10000", "optimizer.lr=0.05", "trainer.max_epochs=3", "seed=0"]
SCRATCH = ["optimizer.lr=0.05"]
TUNED = ["optimizer.lr=0.05", "finetune.layer_decay=0.8"]
"""The head has the rate of a network from scratch, the first layers a third of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+", help="data.path=P, and settings of all runs on FER2013")
    parser.add_argument("--folder", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    weights = next((word for word in given.overrides if word.startswith("model.weights=")), None)
    others = [word for word in given.overrides if word != weights]
    if weights is None:
        of_faces = [word for word in others if not word.startswith("data.path=")]
        run(given.folder / "pretraining", [*COMMON, *PRETRAINING, *of_faces])
        weights = f"model.weights={given.folder / 'pretraining' / 'checkpoints' / 'best.ckpt'}"
    kinds = {"from scratch": SCRATCH, "fine-tuned": [*TUNED, weights, "model.new_head=true"]}
    kept: list[dict[str, Any]] = []
    for seed in SEEDS:
        for share, epochs in EPOCHS.items():
            for kind, words in kinds.items():
                own = ["data=fer2013", f"data.train_fraction={share}", f"trainer.max_epochs={epochs}", f"seed={seed}"]
                name = f"{kind.replace(' ', '_')}-{share}-seed{seed}"
                metrics = run(given.folder / name, [*COMMON, *own, *words, *others])
                kept.append({"kind": kind, "share": share, "seed": seed, **figures(metrics)})
                content = table(kept, [word for word in others if not word.startswith("data.path=")], metrics)
                if given.write:
                    write(given.write, content)
    print(json.dumps({"benchmark": "transfer", **content}))


def run(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """The metrics of a run, trained where it is not finished."""
    settings = train_settings(*overrides, "resume=true")
    return fit(settings, folder, Console(highlight=False))


def figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run."""
    names = ("val/accuracy", "val/macro_f1", "val/loss", "epochs", "best_epoch", "seconds")
    return {name: round(metrics[name], 5) for name in names} | {"images": metrics["split_sizes"]["train"]}


def table(kept: list[dict[str, Any]], others: list[str], metrics: dict[str, Any]) -> dict[str, Any]:
    """The runs, and mean and standard deviation over the seeds of each kind and share."""
    rows = []
    for share in EPOCHS:
        for kind in ("from scratch", "fine-tuned"):
            own = [one for one in kept if (one["kind"], one["share"]) == (kind, share)]
            if own:
                accuracy = mean_and_sd([one["val/accuracy"] for one in own])
                rows.append({"kind": kind, "share": share, "images": own[0]["images"], "epochs": own[0]["epochs"]}
                            | {"accuracy": accuracy["mean"], "sd": accuracy["sd"], "seeds": len(own)})  # fmt: skip
    settings = {"common": [*COMMON, *others], "pretraining": PRETRAINING, "from scratch": SCRATCH, "fine-tuned": TUNED}
    made = {key: metrics[key] for key in ("machine", "versions", "commit")}
    return {"rows": rows, "runs": kept, "settings": settings, **made}


def write(folder: Path, content: dict[str, Any]) -> None:
    """transfer.json, and the accuracies over the number of training images as a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "transfer.json", content)
    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained", dpi=130)
    for kind, colour in (("fine-tuned", "#0072b2"), ("from scratch", "#d55e00")):
        own = [one for one in content["rows"] if one["kind"] == kind]
        images, means = [one["images"] for one in own], [100 * one["accuracy"] for one in own]
        spread = [100 * (one["sd"] or 0) for one in own]
        axes.errorbar(images, means, spread, color=colour, marker="o", capsize=3, label=kind)
    axes.set_xscale("log")
    ticks = sorted({one["images"] for one in content["rows"]})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="training images of FER2013", ylabel="accuracy on PublicTest, %")
    axes.set_title("ResNet-18, 32 pixels, about 440 steps: mean and standard deviation of the seeds", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    pyplot.close(figure)
    write_atomic(folder / "transfer.png", picture.getvalue())


if __name__ == "__main__":
    main()
