"""The main job: train one network on one set of faces, or cross-validate it.

python -m fer_lightning.train model=hybrid_deep data=fer2013 data.path=fer2013.zip
python -m fer_lightning.train model=hybrid_deep data=fer2013 data.path=fer2013.zip cv.folds=5
"""

import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fer_lightning.cli import Invocation, hydra_command
from fer_lightning.cli.paths import quoted
from fer_lightning.settings import TrainSettings
from fer_lightning.signals import Stopped
from fer_lightning.training.processes import own_folds, stop_with_parent
from fer_lightning.training.ranks import end_with_first_process, process_rank


def train(settings: TrainSettings, invocation: Invocation) -> float:
    """Train or cross-validate into the run folder; returns the validation accuracy."""
    end_with_first_process()  # first, since the imports take seconds
    if own_folds():
        stop_with_parent()
    from fer_lightning.training.cross_validation import cross_validate, fold_metrics, open_shared_faces
    from fer_lightning.training.fit import fit
    from fer_lightning.training.resume import finished_metrics

    console, folder = Console(highlight=False, quiet=process_rank() > 0), invocation.folder
    words = [*sys.argv[1:], f"hydra.run.dir={quoted(str(folder.absolute()))}"]  # which may hold the time of day
    again = [] if invocation.multirun else [sys.executable, "-m", "fer_lightning.train", *words]
    if own_folds():
        folds = fold_metrics(settings, folder, open_shared_faces(settings), console)
        return max(float(metrics["val/accuracy"]) for _, metrics in folds)
    if settings.cv.folds:
        return float(cross_validate(settings, folder, console, invocation.write_settings, again)["cv/mean"])
    if settings.resume and finished_metrics(settings, folder):
        console.print(f"{folder}: this run is finished; nothing is left to do.")
    metrics = fit(settings, folder, console, begin=invocation.write_settings, command=again)
    if not invocation.multirun:
        print_summary(console, metrics, folder)
    return float(metrics["val/accuracy"])


def print_summary(console: Console, metrics: dict[str, Any], folder: Path) -> None:
    """The final table, and what to look at next."""
    from fer_lightning.data.ferplus import title_of

    epochs = "1 epoch" if metrics["epochs"] == 1 else f"best of {metrics['epochs']} epochs"
    table = Table(title=f"{metrics['model']} on {title_of(metrics['data'])}, {epochs}", title_justify="left")
    for heading in ("", "accuracy", "loss", "macro F1"):
        table.add_column(heading, justify="right")
    for split in ("val", "train"):
        f1 = f"{metrics['val/macro_f1']:.4f}" if split == "val" else ""
        accuracy, loss = metrics[f"{split}/accuracy"], metrics[f"{split}/loss"]
        table.add_row(f"{split}, epoch {metrics['best_epoch'] + 1}", f"{accuracy:.2%}", f"{loss:.4f}", f1)
    console.print(table)
    spent = timedelta(seconds=round(metrics["seconds"]))
    console.print(f"{spent} at {metrics['images_per_second']:,.0f} images/s. Look next at:")
    for place in (folder / "metrics.json", folder / "checkpoints" / "best.ckpt"):
        console.print(f"  {place}", soft_wrap=True)
    console.print(f"  tensorboard --logdir {folder.parent}", soft_wrap=True)


@hydra_command("config", TrainSettings)
def main(settings: TrainSettings, invocation: Invocation) -> float:
    """Train; when stopped, say what is kept and how to go on."""
    try:
        return train(settings, invocation)
    except Stopped as stopped:
        if process_rank():
            sys.exit(128 + signal.Signals[str(stopped)])  # the first process says that the run is stopped
        saved = next(invocation.folder.rglob("last.ckpt"), None)
        again = f"the same command with hydra.run.dir={invocation.folder} resume=true resumes"
        stopped.advice = f"{saved} is kept, and {again}" if saved else "nothing was trained yet"
        raise


if __name__ == "__main__":
    main()
