"""The main job: train one network on one set of faces, or cross-validate it.

python -m fer_lightning.train model=hybrid_deep data=fer2013 data.path=fer2013.zip
python -m fer_lightning.train model=hybrid_deep data=fer2013 data.path=fer2013.zip cv.folds=5
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from fer_lightning.checkpoints import BEST, LAST
from fer_lightning.commands import end_stopped, hydra_command
from fer_lightning.config import plain
from fer_lightning.cross_validation import cross_validate
from fer_lightning.data.ferplus import title_of
from fer_lightning.progress import duration
from fer_lightning.run import METRICS, finished_metrics, fit
from fer_lightning.stopping import Stopped


class KeepSettings(Callback):
    """Writes the settings as composed to `.hydra`, as Hydra would, but not before the run begins.

    So a command that is refused leaves no trace, and not its settings in the folder of another run.
    """

    def __init__(self, config: DictConfig, folder: Path):
        hydra: Any = HydraConfig.instance().cfg
        assert hydra is not None
        self.folder = folder / ".hydra"
        self.content = {"config": config, "hydra": hydra, "overrides": hydra.hydra.overrides.task}

    @rank_zero_only
    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, node in self.content.items():
            OmegaConf.save(node, self.folder / f"{name}.yaml")


def train(config: dict[str, Any], folder: Path, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Train by a checked, plain config into `folder`, or go on there; returns what metrics.json holds."""
    console = Console(highlight=False)
    if config["resume"] and finished_metrics(config, folder):
        console.print(f"{folder}: this run is finished; nothing is left to do.")
    metrics = fit(config, folder, console, callbacks=callbacks)
    print_summary(console, metrics, folder)
    return metrics


@rank_zero_only
def print_summary(console: Console, metrics: dict[str, Any], folder: Path) -> None:
    """The final table and what to look at next."""
    epochs = "1 epoch" if metrics["epochs"] == 1 else f"best of {metrics['epochs']} epochs"
    table = Table(title=f"{metrics['model']} on {title_of(metrics['data'])}, {epochs}", title_justify="left")
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
    try:
        values = plain(config)
        settings = KeepSettings(config, folder)
        if values["cv"]["folds"]:
            return float(cross_validate(values, folder, Console(highlight=False), [settings])["cv/mean"])
        return float(train(values, folder, [settings])["val/accuracy"])
    except Stopped as stopped:
        kept = next(folder.rglob(LAST), folder / "checkpoints" / LAST)
        goes_on = f"{kept} is kept, and the same command with hydra.run.dir={folder} resume=true goes on"
        end_stopped(stopped, goes_on if kept.exists() else "nothing was trained yet")


if __name__ == "__main__":
    main()
