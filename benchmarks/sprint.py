"""Time to accuracy: `experiment=sprint` with several seeds, and what each part of the recipe gives.

Target: 65 % on PublicTest after the last epoch, the mean of three seeds, without test-time augmentation, in 4 minutes
of two cores with bf16 instructions, training and validation together (start-up is reported apart). A run that is there
already is not repeated, and a stopped one goes on.

python benchmarks/sprint.py [path of FER2013] [--seeds 0,1,2] [--variants NAME,...|all] [--folder runs/sprint]
                                               # default: FER2013=path, or ../shared/data/fer2013.zip
"""

import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import report, row
from scipy.stats import t

BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "data" / "fer2013.zip"
TARGET, MINUTES = 0.65, 4.0
VARIANTS = {
    "sprint": [],
    "sgd": [
        "optimizer=sgd",
        "~optimizer.sgd_lr",
        "optimizer.lr=0.1",
        "optimizer.weight_decay=5e-4",
        "data.batch_size=128",
    ],
    "growing": ["data.grow=[24,32,40]", "trainer.max_epochs=14"],  # in about the same time
    "poster": ["experiment=poster", "draw.every=0", "draw.deepdream=false", "draw.embedding=0"],
}
"""What is changed of the recipe; the first is the recipe itself."""


def train(path: str, folder: Path, overrides: list[str]) -> dict[str, float]:
    """Accuracies after the last epoch of one run, its minutes of training and validation, and seconds around them."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "fer_lightning.train", *overrides, f"data.path={path}", f"hydra.run.dir={folder}"]
    if not (folder / "metrics.json").exists():
        subprocess.run([*command, "resume=true"], check=True, stdout=subprocess.DEVNULL)
        (folder / "wall_seconds").write_text(f"{time.perf_counter() - began}")
    metrics = json.loads((folder / "metrics.json").read_text())
    with (folder / "history.csv").open() as file:
        *_, last = csv.DictReader(file)
    wall = float((folder / "wall_seconds").read_text())
    return {
        "accuracy": float(last["val/accuracy"]),
        "train_accuracy": float(last["train/accuracy"]),
        "minutes": metrics["seconds"] / 60,
        "around": wall - metrics["seconds"],
    }


def interval(values: list[float]) -> str:
    """Mean and 95 % interval of the mean (Student's), in points."""
    mean = 100 * statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    half = t.ppf(0.975, len(values) - 1) * 100 * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.2f} ± {half:.2f}"


def poster_speed(path: str) -> float:
    """Images a second of conv_poster on this machine, over 100 steps of `experiment=poster`."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*VARIANTS["poster"], "trainer.max_epochs=2", "+trainer.limit_train_batches=100"]
        train(path, Path(folder) / "run", [*overrides, "+trainer.limit_val_batches=1"])
        with (Path(folder) / "run" / "history.csv").open() as file:
            *_, last = csv.DictReader(file)
        return float(last["images_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=os.environ.get("FER2013", str(BESIDE_THE_PROJECT)))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", default="sprint")
    parser.add_argument("--folder", type=Path, default=Path("runs/sprint"))
    given = parser.parse_args()
    if not Path(given.data).exists():
        sys.exit(f"error: {given.data}: no such file. Give the path of FER2013, or FER2013=path")
    names = list(VARIANTS) if given.variants == "all" else given.variants.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        sys.exit(f"error: {', '.join(unknown)}: no such variant. Variants: {', '.join(VARIANTS)}, all")
    speed, rows, runs = poster_speed(given.data), [], {}
    print(f"conv_poster trains at {speed:,.0f} images/s on this machine")
    for name in names:
        runs[name] = found = []
        for seed in given.seeds.split(","):
            recipe = [word for word in VARIANTS[name] if word.startswith("experiment=")] or ["experiment=sprint"]
            changed = [word for word in VARIANTS[name] if not word.startswith("experiment=")]
            found.append(train(given.data, given.folder / f"{name}-seed{seed}", [*recipe, *changed, f"seed={seed}"]))
            print(
                f"  {name}, seed {seed}: {100 * found[-1]['accuracy']:.2f} % on PublicTest (train "
                f"{100 * found[-1]['train_accuracy']:.1f} %) in {found[-1]['minutes']:.2f} minutes, "
                f"{found[-1]['around']:.0f} s of start-up and end apart",
                flush=True,
            )
        accuracies, minutes = ([run[key] for run in found] for key in ("accuracy", "minutes"))
        print(f"{name}: {interval(accuracies)} % in {statistics.mean(minutes):.2f} minutes, {len(found)} seeds")
        about = f"{name}, {len(found)} seeds"
        target = TARGET if name == "sprint" else None
        rows.append(row(f"{about}: PublicTest", statistics.mean(accuracies), None, "", at_least=target, of="ours"))
        longest = MINUTES if name == "sprint" else None
        rows.append(row(f"{about}: time", statistics.mean(minutes), None, "min", at_most=longest, of="ours"))
    report("sprint", rows, conv_poster_images_per_second=speed, runs=runs)


if __name__ == "__main__":
    main()
