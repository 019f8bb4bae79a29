"""The main job: train one network on one set of faces, or cross-validate it.

python -m fer_lightning.train model=hybrid_deep data=fer2013 data.path=fer2013.zip
python -m fer_lightning.train model=hybrid_deep data=fer2013 data.path=fer2013.zip cv.folds=5
"""

import logging
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fer_lightning.checkpoints import BEST, LAST
from fer_lightning.commands import Stopped, hydra_command, stop_on_signals
from fer_lightning.config import plain
from fer_lightning.cross_validation import cross_validate
from fer_lightning.progress import duration
from fer_lightning.run import METRICS, finished_metrics, fit


def train(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train by a checked, plain config into `folder`, or go on there; returns what metrics.json holds."""
    console = Console(highlight=False)
    if config["resume"] and finished_metrics(config, folder):
        console.print(f"{folder}: this run is finished; nothing is left to do.")
    metrics = fit(config, folder, console)
    print_summary(console, metrics, folder)
    return metrics


@rank_zero_only
def print_summary(console: Console, metrics: dict[str, Any], folder: Path) -> None:
    """The final table and what to look at next."""
    table = Table(
        title=f"{metrics['model']} on {metrics['data']}, best of {metrics['epochs']} epochs", title_justify="left"
    )
    for heading in ("", "accuracy", "loss", "macro F1"):
        table.add_column(heading, justify="right")
    best = f"epoch {metrics['best_epoch'] + 1}"
    table.add_row(
        f"val, {best}", f"{metrics['val/accuracy']:.2%}", f"{metrics['val/loss']:.4f}", f"{metrics['val/macro_f1']:.4f}"
    )
    table.add_row(f"train, {best}", f"{metrics['train/accuracy']:.2%}", f"{metrics['train/loss']:.4f}", "")
    console.print(table)
    console.print(f"{duration(metrics['seconds'])} at {metrics['images_per_second']:,.0f} images/s. Look next at:")
    console.print(f"  {folder / METRICS}", soft_wrap=True)
    console.print(f"  {folder / 'checkpoints' / BEST}", soft_wrap=True)
    console.print(f"  tensorboard --logdir {folder.parent}", soft_wrap=True)


@hydra_command("config")
def main(config: DictConfig) -> float:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    folder = Path(HydraConfig.get().runtime.output_dir)
    stop_on_signals()
    try:
        values = plain(config)
        if values["cv"]["folds"]:
            return float(cross_validate(values, folder, Console(highlight=False))["cv/mean"])
        return float(train(values, folder)["val/accuracy"])
    except Stopped as stopped:
        kept = next(folder.rglob(LAST), folder / "checkpoints" / LAST)
        print(
            f"stopped by {stopped}; "
            + (
                f"{kept} is kept, and the same command with hydra.run.dir={folder} resume=true goes on"
                if kept.exists()
                else "nothing was trained yet"
            ),
            file=sys.stderr,
        )
        sys.exit(128 + signal.Signals[str(stopped)])


if __name__ == "__main__":
    main()
