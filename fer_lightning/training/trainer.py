"""Lightning's Trainer as a run uses it: callbacks, loggers, and the precision that this machine is fast in."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from rich.console import Console
from torch.utils.tensorboard.summary import hparams

from fer_lightning.data.ferplus import prefix_of, prefixed
from fer_lightning.errors import InputError
from fer_lightning.files import write_json
from fer_lightning.settings import (
    LocalLogger,
    LoggerSettings,
    MlflowLogger,
    TrainerSettings,
    TrainSettings,
    dump,
    flatten,
)
from fer_lightning.training.checkpoints import AtomicCheckpointIO, BestAndLastCheckpoint
from fer_lightning.training.early_stopping import StopAtMaxSteps, StopEarly, StopWhenDiverged
from fer_lightning.training.finetuning import FineTuning
from fer_lightning.training.history import QUANTITIES, History
from fer_lightning.training.moving_average import MovingAverage
from fer_lightning.training.progress import ShowProgress
from fer_lightning.training.ranks import cluster_environment, require_started_processes
from fer_lightning.training.resume import EnsureTrainEnd, ResumeWithinEpoch
from fer_lightning.training.tensorboard import drawing_callbacks, summary_writer

PROFILERS: dict[str, Any] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def build_trainer(
    settings: TrainSettings, folder: Path, console: Console, more: Sequence[Callback] = ()
) -> tuple[Trainer, History]:
    """The trainer of a run in `folder`, and its history. more: callbacks after the project's own. Raises InputError."""
    prefix = prefix_of(settings.data.name)
    history = History(folder, prefix)
    callbacks: list[Callback] = [
        *([MovingAverage(settings.ema.decay)] if settings.ema.decay else []),
        *([FineTuning(settings.finetune)] if settings.finetune.holds_layers else []),
        EnsureTrainEnd(),
        ResumeWithinEpoch(),
        StopWhenDiverged(),
        StopAtMaxSteps(),
        history,
        ShowProgress(console),
        *drawing_callbacks(settings.draw, prefix),
        *([StopEarly(settings.early_stopping.patience)] if settings.early_stopping.patience else []),
        BestAndLastCheckpoint(folder / "checkpoints", settings),
        *more,
    ]
    require_started_processes(settings.trainer)
    try:
        trainer = Trainer(
            **trainer_arguments(settings.trainer, folder),
            callbacks=callbacks,
            logger=build_loggers(settings.logger, folder, prefix, settings.resume),
            plugins=[AtomicCheckpointIO(), *cluster_environment(settings.trainer)],
            default_root_dir=folder,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except InputError:
        raise
    except Exception as error:  # whatever a strategy or a precision raises
        raise InputError(f"trainer: Lightning refuses these settings: {' '.join(str(error).split())}") from error
    return trainer, history


def trainer_arguments(settings: TrainerSettings, folder: Path) -> dict[str, Any]:
    """Lightning's arguments: those that were given, with the precision of `auto`, and a profiler that writes a file."""
    given = settings.model_dump(exclude_unset=True)
    arguments = {name: value for name, value in given.items() if value is not None}
    arguments["precision"] = choose_precision(settings.precision, settings.accelerator)
    if settings.has_one_device:
        arguments.pop("sync_batchnorm", None)
    elif has_gpu(settings.accelerator):
        arguments.setdefault("sync_batchnorm", True)  # statistics of the whole batch, as on one device
    elif settings.sync_batchnorm:
        raise InputError(
            "trainer.sync_batchnorm=true: torch synchronises batch norm between GPUs alone. On several processes of a "
            "CPU each takes the statistics of its own part of the batch; leave it out, or give model.batch_norm=false"
        )
    if settings.profiler:
        arguments["profiler"] = PROFILERS[settings.profiler](dirpath=folder, filename="profile")
    return arguments


def describe_device(settings: TrainerSettings) -> str:
    """What a run is trained on: `1 of 4 GPUs (NVIDIA H100), bf16-mixed` or `CPU, 2 threads, bf16-mixed`."""
    precision = choose_precision(settings.precision, settings.accelerator)
    nodes = f" on each of {settings.num_nodes} machines" if settings.num_nodes and settings.num_nodes > 1 else ""
    if has_gpu(settings.accelerator):
        there = torch.cuda.device_count()
        used = settings.devices_per_node or there
        return f"{used} of {there} GPU{'s' * (there != 1)} ({torch.cuda.get_device_name(0)}){nodes}, {precision}"
    if settings.accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        threads = torch.get_num_threads()
        processes = "" if settings.has_one_device else f", {settings.devices_per_node} processes{nodes}"
        return f"CPU{processes}, {threads} thread{'s' * (threads != 1)}, {precision}"
    return f"{settings.accelerator}, {precision}"


def choose_precision(precision: str | int, accelerator: str) -> str | int:
    """Lightning's precision for `auto`: bf16 where the hardware computes in it, 16 bits with scaling on older GPUs."""
    if precision != "auto":
        return precision
    if has_gpu(accelerator):
        return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "16-mixed"
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available() and cpu_computes_in_bf16():
        return "bf16-mixed"
    return "32-true"


def has_gpu(accelerator: str) -> bool:
    """Whether Lightning's `trainer.accelerator` means a CUDA GPU here."""
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def cpu_computes_in_bf16() -> bool:
    """Whether the CPU has bf16 instructions (AVX512-BF16, AMX or Arm's); emulated bf16 is slower than 32 bits."""
    x86 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001 (no public way)
    return bool(x86 or torch.backends.cpu.get_cpu_capability() == "SVE256")


def build_loggers(settings: LoggerSettings, folder: Path, prefix: str, resume: bool = False) -> list[Logger]:
    """TensorBoard's logger, and after it the one of the settings, if another one is asked for.

    prefix: what the names of figures begin with. resume: whether MLflow and W&B go on in the run that `folder` began.
    Raises InputError where the package of a logger is not installed.
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
    run = logged_run(settings, folder) if resume else None
    if isinstance(settings, MlflowLogger):
        address = settings.tracking_uri or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        options: dict[str, Any] = {"run_name": folder.name, "tracking_uri": address, "prefix": prefix}
        logger = MLFlowLogger(settings.experiment, **options, run_id=run)
        return [board, logger if run is None or _has_run(logger) else MLFlowLogger(settings.experiment, **options)]
    importlib.import_module("wandb").finish()  # the run of an earlier fold or trial, which the logger would reuse
    offline, project = settings.offline, settings.project
    return [board, WandbLogger(folder.name, save_dir=folder, offline=offline, project=project, prefix=prefix, id=run)]


LOGGED_RUN = "logger.json"
"""File of a run folder: the run of MLflow or W&B that it logs to."""


def logged_run(settings: LoggerSettings, folder: Path) -> str | None:
    """The identifier of the run that `folder` logs to by these settings, None where it has none."""
    try:
        kept = json.loads((folder / LOGGED_RUN).read_text())
        return str(kept["run"]) if kept["logger"] == _place(settings) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(settings: LoggerSettings) -> dict[str, Any]:
    """Where a logger keeps its runs."""
    return {key: value for key, value in dump(settings).items() if key != "offline"}


def _has_run(logger: MLFlowLogger) -> bool:
    """Whether MLflow still has the run that the logger is to go on with."""
    try:
        return bool(logger.experiment)
    except Exception:  # whatever its store raises; a new run then says what is wrong with it
        return False


def log_hyperparameters(trainer: Trainer, settings: TrainSettings) -> None:
    """Log the settings to TensorBoard's HParams tab, beside the run's own scalars, and to the other logger."""
    if (writer := summary_writer(trainer)) is None:
        return
    values = flatten(dump(settings))
    shown = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()}
    quantities = prefixed(dict.fromkeys(QUANTITIES, 0.0), QUANTITIES, prefix_of(settings.data.name))
    file: Any = writer.file_writer
    for summary in hparams(shown, quantities):  # type: ignore[no-untyped-call, unused-ignore]
        file.add_summary(summary)
    folder = Path(trainer.default_root_dir)
    for logger in trainer.loggers[1:]:
        if isinstance(logger, MLFlowLogger) and logger.run_id == logged_run(settings.logger, folder):
            continue  # MLflow never changes the parameters of a run
        logger.log_hyperparams(values)
        if not isinstance(settings.logger, LocalLogger):
            write_json(folder / LOGGED_RUN, {"logger": _place(settings.logger), "run": logger.version})
