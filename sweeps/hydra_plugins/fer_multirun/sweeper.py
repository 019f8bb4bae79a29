"""The sweeper of `hydra/sweeper=jobs`: each combination of the values on the command line is a job."""

import contextlib
import io
import itertools
import logging
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from rich.console import Console

from fer_lightning.cli.command import CHECK, one_line
from fer_lightning.cli.jobs import Job, Jobs
from fer_lightning.cli.paths import quoted
from fer_lightning.errors import InputError
from fer_lightning.files import run_lock
from fer_lightning.settings import TrainSettings
from fer_lightning.signals import Stopped

INTERVAL = (
    "an interval is searched by a study: add sweeps=lr_reg_hidden or another of its files, or, for a space that is on "
    "the command line alone, hydra/sweeper=study cv.folds=5"
)

SEVERAL_DEVICES = (
    "trainer.devices={}: its processes are started by the command line, which would start all jobs again. Jobs of "
    "--multirun have one device each; leave trainer.devices at 1, or run them one by one without --multirun"
)


class JobSweeper(Sweeper):
    """Checks all jobs, runs those that are left, whatever becomes of the others, and prints a table of all."""

    def __init__(self, resume: bool):
        self.resume = resume
        self.config: Any = None
        self.launcher: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.loader, self.check = config, hydra_context.config_loader, getattr(task_function, CHECK)
        launcher = Plugins.instance().instantiate_launcher
        self.launcher = launcher(hydra_context=hydra_context, task_function=task_function, config=config)
        self.has_resume = "resume" in config

    def sweep(self, arguments: list[str]) -> None:
        """Run all jobs. Raises InputError before the first where one is refused, and at the end where one failed."""
        logging.getLogger("hydra").setLevel(logging.WARNING)  # "Launching 1 jobs locally"
        logging.getLogger("hydra_plugins").setLevel(logging.WARNING)
        if not isinstance(self.resume, bool):
            raise InputError(f"resume={self.resume}: expected true or false")
        wanted = combinations(OverridesParser.create(self.loader).parse_overrides(arguments))
        folder, console = Path(self.config.hydra.sweep.dir), Console(highlight=False, markup=False)
        with run_lock(folder, console.print, "hydra.sweep.dir"):
            how = "resume=true" if self.has_resume else "hydra.sweeper.resume=true"
            jobs = Jobs(folder, wanted, self.resume, how)
            self.check_all(jobs)
            self.run_all(jobs, console, f"the same command with hydra.sweep.dir={shlex.quote(str(folder))} {how}")

    def check_all(self, jobs: Jobs) -> None:
        """Raise InputError with the first job whose settings are refused."""
        for job in jobs.all:
            words = self.overrides(jobs, job)
            try:
                config = self.loader.load_sweep_config(self.config, words)
                settings = self.check(config, config.hydra)
                if isinstance(settings, TrainSettings) and not settings.trainer.has_one_device:
                    raise InputError(SEVERAL_DEVICES.format(settings.trainer.devices))
            except Exception as error:
                reason = one_line(error, self.config.hydra.job.config_name, words)
                raise InputError(f"{jobs.title(job)}: {reason}" if len(jobs.all) > 1 else reason) from error

    def run_all(self, jobs: Jobs, console: Console, again: str) -> None:
        """Run the jobs that are left and print the table. again: the command that goes on, for the last message."""
        left = [job for job in jobs.all if job not in jobs.left_alone]
        jobs.write()
        done = f", {len(jobs.left_alone)} of them done before and left alone" * bool(jobs.left_alone)
        console.print(f"{len(jobs.all)} job{'s' * (len(jobs.all) > 1)} into {jobs.folder}{done}", soft_wrap=True)
        one_by_one = self.config.hydra.runtime.choices["hydra/launcher"] == "basic"
        try:
            for batch in ([job] for job in left) if one_by_one else [left] * bool(left):
                self.run(jobs, batch, console)
        except Stopped as stopped:
            jobs.print(console)
            stopped.advice = f"{again} goes on"
            raise
        jobs.print(console)
        if failed := sum(job.state == "failed" for job in jobs.all):
            raise InputError(f"{failed} of {len(jobs.all)} jobs failed; {again} tries again")

    def run(self, jobs: Jobs, batch: Sequence[Job], console: Console) -> None:
        """Hand jobs to the launcher, and record how each ended; also where the launcher itself fails, or is stopped."""
        for job in batch:
            console.print(f"\n{jobs.title(job)}", style="bold", soft_wrap=True)
            job.state, job.reason = "running", None
        jobs.write()
        began, before = time.perf_counter(), [job.result(jobs.folder) for job in batch]
        words = [self.overrides(jobs, job) for job in batch]
        try:
            reasons = [reason_of(ended) for ended in self.launcher.launch(words, jobs.all.index(batch[0]))]
        except BaseException as error:
            for job, earlier in zip(batch, before, strict=True):
                if job.result(jobs.folder) != earlier:
                    job.end(jobs.folder, None)
                elif isinstance(error, Exception):
                    job.end(jobs.folder, None, f"the launcher failed: {one_line(error)}")
                else:
                    job.state = "stopped"
            if not isinstance(error, Exception):
                jobs.write()
                raise
        else:
            seconds = time.perf_counter() - began if len(batch) == 1 else None
            for job, reason in zip(batch, reasons, strict=True):
                job.end(jobs.folder, seconds, reason)
        jobs.write()

    def overrides(self, jobs: Jobs, job: Job) -> list[str]:
        """The words that make a job of the launcher run this job, in its folder."""
        begun = self.has_resume and self.resume and (jobs.folder / job.folder).exists()
        return [
            *(f"{key}={value}" for key, value in job.overrides.items()),
            *["resume=true"] * begun,
            f"hydra.sweep.dir={quoted(str(jobs.folder.absolute()))}",
            f"hydra.sweep.subdir={quoted(job.folder)}",
        ]


def combinations(overrides: Sequence[Override]) -> list[dict[str, str]]:
    """The overrides of each job, value by key. Raises InputError for what no job can be made of."""
    values: dict[str, list[str]] = {}
    for override in overrides:
        key, swept = override.get_key_element(), override.is_sweep_override()
        if swept and not override.is_discrete_sweep():
            raise InputError(INTERVAL)
        if key in values and (swept or len(values[key]) > 1):
            raise InputError(f"{key} is given twice, the second time as {override.input_line}; give it once")
        if key.lstrip("+") == "resume":
            if swept:
                raise InputError(f"{override.input_line}: one value, which is that of all jobs")
            continue
        values[key] = list(override.sweep_string_iterator()) if swept else [override.get_value_element_as_str()]
        if not values[key]:
            raise InputError(f"{override.input_line}: no value, so there is no job")
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def reason_of(ended: JobReturn) -> str | None:
    """Why a job failed, None where it is done."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # Hydra prints a line before it raises a job's error
            ended.return_value  # noqa: B018
    except Exception as error:
        return one_line(error)
    return None
