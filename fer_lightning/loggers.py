"""Where a run's figures go: TensorBoard always, and one more of Lightning's loggers where it is asked for."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch.utils.tensorboard.summary import hparams

from fer_lightning.config import flat
from fer_lightning.data.ferplus import prefix_of, prefixed
from fer_lightning.errors import InputError
from fer_lightning.history import QUANTITIES

MODULES = {"mlflow": "mlflow", "wandb": "wandb"}
"""What has to be installed for a logger; each is an extra of that name."""


def build_loggers(settings: Mapping[str, Any], folder: Path, prefix: str) -> list[Logger]:
    """TensorBoard's logger, the first, and that of the config group `logger`.

    prefix: what the names of figures begin with. Raises InputError where the package of a logger is not installed.
    """
    board = TensorBoardLogger(
        folder, name="tensorboard", version="", default_hp_metric=False, prefix=prefix.removesuffix("-")
    )
    return [board, *one_more(settings, folder, prefix.removesuffix("-"))]


def one_more(settings: Mapping[str, Any], folder: Path, prefix: str) -> list[Logger]:
    """The logger beside TensorBoard's, if any."""
    name = settings["name"]
    if (module := MODULES.get(name)) and importlib.util.find_spec(module) is None:
        raise InputError(f"logger={name}: {module} is not installed. pip install -e '.[{name}]' installs it")
    match name:
        case "tensorboard":
            return []
        case "csv":
            return [CSVLogger(folder, name="csv", prefix=prefix, flush_logs_every_n_steps=1)]
        case "mlflow":
            address = settings["tracking_uri"] or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
            return [MLFlowLogger(settings["experiment"], run_name=folder.name, tracking_uri=address, prefix=prefix)]
        case "wandb":
            offline = settings["offline"]
            return [
                WandbLogger(folder.name, save_dir=folder, offline=offline, project=settings["project"], prefix=prefix)
            ]
    raise InputError(f"logger.name={name!r}: expected tensorboard, csv, mlflow or wandb")


def log_hyperparameters(trainer: lightning.Trainer, config: dict[str, Any]) -> None:
    """The config to TensorBoard's HParams tab, beside the run's own scalars, and to the other logger."""
    if trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
        shown = {
            key: value if isinstance(value, bool | int | float) else str(value) for key, value in flat(config).items()
        }
        writer = trainer.logger.experiment._get_file_writer()
        quantities = prefixed(dict.fromkeys(QUANTITIES, 0.0), QUANTITIES, prefix_of(config["data"]["name"]))
        for summary in hparams(shown, quantities):
            writer.add_summary(summary)
        for logger in trainer.loggers[1:]:
            logger.log_hyperparams(flat(config))
