"""Where a run's figures go: TensorBoard always, and one more of Lightning's loggers where it is asked for."""

import importlib.util
from pathlib import Path

import lightning
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch.utils.tensorboard.summary import hparams

from fer_lightning.data.ferplus import prefix_of, prefixed
from fer_lightning.errors import InputError
from fer_lightning.settings import LocalLogger, LoggerSettings, MlflowLogger, TrainSettings, dump, flatten
from fer_lightning.training.history import QUANTITIES


def build_loggers(settings: LoggerSettings, folder: Path, prefix: str) -> list[Logger]:
    """TensorBoard's logger, the first, and the one of the settings.

    prefix: what the names of figures begin with. Raises InputError where the package of a logger is not installed.
    """
    prefix = prefix.removesuffix("-")
    board = TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False, prefix=prefix)
    if isinstance(settings, LocalLogger):
        more = CSVLogger(folder, name="csv", prefix=prefix, flush_logs_every_n_steps=1)
        return [board, more] if settings.name == "csv" else [board]
    if importlib.util.find_spec(settings.name) is None:
        raise InputError(
            f"logger={settings.name}: {settings.name} is not installed. pip install -e '.[{settings.name}]' installs it"
        )
    if isinstance(settings, MlflowLogger):
        address = settings.tracking_uri or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        return [board, MLFlowLogger(settings.experiment, run_name=folder.name, tracking_uri=address, prefix=prefix)]
    offline, project = settings.offline, settings.project
    return [board, WandbLogger(folder.name, save_dir=folder, offline=offline, project=project, prefix=prefix)]


def log_hyperparameters(trainer: lightning.Trainer, settings: TrainSettings) -> None:
    """The settings to TensorBoard's HParams tab, beside the run's own scalars, and to the other logger."""
    if not (trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger)):
        return
    values = flatten(dump(settings))
    shown = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()}
    writer = trainer.logger.experiment._get_file_writer()
    quantities = prefixed(dict.fromkeys(QUANTITIES, 0.0), QUANTITIES, prefix_of(settings.data.name))
    for summary in hparams(shown, quantities):
        writer.add_summary(summary)
    for logger in trainer.loggers[1:]:
        logger.log_hyperparams(values)
