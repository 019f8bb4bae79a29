"""What pruning saves in a search on real faces: fold trainings and best score, beside the full search.

python benchmarks/pruning.py [path of FER2013]      # default: FER2013=path, or ../shared/data/fer2013.zip

The same 20 random settings (learning rate, L2, hidden layers of `fc` on HOG) go through 5 folds of 6 epochs on a fixed
subset of 1,500 Training images, without pruning and with each pruner. A fold training is 6 epochs.
"""

import contextlib
import csv
import io
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import needed_fer2013, report, row
from sklearn.model_selection import train_test_split

from fer_lightning.data.faces import TRAIN, VAL
from fer_lightning.data.sources import CachedFaces, open_fer2013
from fer_lightning.train import main as train
from fer_lightning.training.history import History

IMAGES, TRIALS, FOLDS, EPOCHS = 1500, 20, 5, 6
OPTIONS = {
    "none": [],
    "wilcoxon": [],
    "median": ["n_startup_trials=4", "n_warmup_steps=2"],
    "hyperband": ["min_resource=3"],
}


def write_subset(faces: CachedFaces, file: Path) -> None:
    """A csv of the subset: stratified, the same each time; and a few PublicTest images, which a search does not use."""
    rows = faces.rows(TRAIN)
    rows, _ = train_test_split(rows, train_size=IMAGES, stratify=faces.labels[rows], random_state=0)
    with open(file, "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["emotion", "pixels", "Usage"])
        for usage, chosen in (("Training", np.sort(rows)), ("PublicTest", faces.rows(VAL)[:100])):
            for row in chosen:
                table.writerow([faces.labels[row], " ".join(map(str, faces.images[row].ravel())), usage])


def search(subset: Path, pruner: str) -> dict[str, float]:
    """Run one search; how many fold trainings it did, its best score with standard error, and its seconds."""
    epochs = []
    ended = History.on_train_epoch_end
    History.on_train_epoch_end = lambda self, *given: (epochs.append(1), ended(self, *given))[1]  # type: ignore
    folder = subset.parent / pruner
    words = ["train", "--multirun", "sweeps=lr_reg_hidden", "model=fc", "data=fer2013", f"data.path={subset}"]
    words += ["data.check_counts=false", f"cv.folds={FOLDS}", f"trainer.max_epochs={EPOCHS}"]
    words += ["hydra.sweeper.sampler=random", f"hydra.sweeper.pruner={pruner}", f"hydra.sweep.dir={folder}"]
    words += [f"+hydra.sweeper.pruner_options.{option}" for option in OPTIONS[pruner]]
    sys.argv = [*words, f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.first=[]"]
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        train()
    seconds = time.perf_counter() - began
    History.on_train_epoch_end = ended  # type: ignore[method-assign]
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    best = max((row for row in rows if row["state"] == "COMPLETE"), key=lambda row: float(row["accuracy"]))
    error = float(best["cv/std"]) / math.sqrt(FOLDS)
    pruned = sum(row["state"] == "PRUNED" for row in rows)
    found = {"folds": len(epochs) / EPOCHS, "best": float(best["accuracy"]), "standard_error": error}
    return {**found, "pruned": pruned, "seconds": seconds}


def main() -> None:
    path = needed_fer2013("pruning", sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        subset = Path(folder) / "subset.csv"
        write_subset(open_fer2013(path), subset)
        found = {pruner: search(subset, pruner) for pruner in OPTIONS}
    full = found["none"]
    print(f"{'pruner':12}{'pruned':>8}{'fold trainings':>16}{'of the full':>13}{'best':>10}{'behind it':>22}")
    for pruner, one in found.items():
        share, behind = one["folds"] / full["folds"], (full["best"] - one["best"]) / full["standard_error"]
        print(
            f"{pruner:12}{one['pruned']:>8}{one['folds']:>16.1f}{share:>13.0%}{one['best']:>10.2%}"
            f"{behind:>7.2f} standard errors"
        )
    best = min((pruner for pruner in found if pruner != "none"), key=lambda pruner: found[pruner]["folds"])
    rows = [
        row(f"fold trainings with {pruner}; without pruning", one["folds"], full["folds"], "")
        for pruner, one in found.items()
        if pruner != "none"
    ]
    behind = (full["best"] - found[best]["best"]) / full["standard_error"]
    rows.append(row(f"fold trainings of the best pruner, {best}", found[best]["folds"], full["folds"], "", at_most=0.6))
    rows.append(row("its best score behind, in standard errors", behind, None, "", at_most=1, of="ours"))
    report("pruning", rows, searches=found)


if __name__ == "__main__":
    main()
