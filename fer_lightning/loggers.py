"""Where a run's figures go: TensorBoard always, and one more of Lightning's loggers where it is asked for."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from fer_lightning.errors import InputError

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
