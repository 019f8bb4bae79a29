"""Workers of a search or a cross-validation: the same command again in a process for each GPU, ended with their parent.

Loads no torch by itself: a worker begins to watch its parent before anything else.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, TimeoutExpired
from typing import NamedTuple

from fer_lightning.errors import InputError
from fer_lightning.settings import SearchSettings, TrainerSettings
from fer_lightning.signals import stop_signals

VARIABLE = "FER_LIGHTNING_WORKER"
"""Environment variable that makes a command a worker: its number and how many there are, as `2/4`."""

SHARE = "FER_LIGHTNING_FOLDS"
"""Environment variable of a worker of a cross-validation: the numbers of its folds, as `1,3`."""

THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"

PATIENCE = 30.0
"""Seconds after which a worker that was asked to stop is killed. Saving takes at most signals.GRACE_SECONDS."""


class Worker(NamedTuple):
    """number: from 1. siblings: how many workers the command started, this one counted."""

    number: int
    siblings: int


def this_worker() -> Worker | None:
    """The worker that this process is, None for a process that a user or a launcher started."""
    number, _, siblings = os.environ.get(VARIABLE, "").partition("/")
    return Worker(int(number), int(siblings)) if siblings else None


def own_folds() -> list[int] | None:
    """In a worker of a cross-validation the numbers of its folds, from 1; else None."""
    given = os.environ.get(SHARE)
    return None if given is None else [int(number) for number in given.split(",")]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by their names in CUDA_VISIBLE_DEVICES: indices, UUIDs or MIG instances.

    CUDA is not initialised. A process sees one MIG instance at a time, so all that are named count.
    """
    import torch

    given = os.environ.get(GPUS)
    if given is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    names = [name.strip() for name in given.split(",")]
    return names if names[0].startswith("MIG-") else names[: torch.cuda.device_count()]


def require_one_process(settings: SearchSettings, launcher: str | None) -> SearchSettings:
    """The settings with `workers` as it may be here: 1 where a launcher runs jobs side by side.

    launcher: Hydra's, None for the basic one, which runs jobs in this process. Raises InputError for a number of
    workers beside a launcher.
    """
    if not (launcher or settings.jobs > 1):
        return settings
    if settings.workers not in ("auto", 1):
        raise InputError(
            f"hydra.sweeper.workers={settings.workers}: hydra/launcher={launcher} runs processes side by side already; "
            "leave it at auto"
        )
    return settings.model_copy(update={"workers": 1})


def assign_gpus(workers: int | str, trainer: TrainerSettings, jobs: int) -> list[str | None]:
    """The GPU of each worker, in turn where there are more workers; None for a CPU, or a device that the user names.

    workers: how many, or `auto`. jobs: trials or folds that are left, and so the largest useful number of workers. At
    least one worker is returned.
    """
    named = isinstance(trainer.devices, list) or "," in str(trainer.devices)
    gpus = visible_gpus() if trainer.accelerator in ("auto", "gpu", "cuda") and not named else []
    wanted = max(1, len(gpus)) if workers == "auto" else int(workers)
    return [gpus[number % len(gpus)] if gpus else None for number in range(max(1, min(wanted, jobs)))]


class WorkerProcess:
    """A worker that was started. log: the file of all that it prints."""

    def __init__(self, number: int, command: Sequence[str], folder: Path, environment: Mapping[str, str]):
        self.number, self.log = number, folder / f"worker-{number}.log"
        with open(self.log, "ab") as log:
            self._begin = log.tell()
            self.process = Popen(  # a group of its own: Ctrl-C on the terminal reaches the parent alone
                command, env=environment, stdin=PIPE, stdout=log, stderr=STDOUT, process_group=0
            )

    def ask_to_stop(self) -> None:
        """Close the pipe that the worker watches: it saves and stops."""
        assert self.process.stdin
        self.process.stdin.close()

    def wait(self) -> None:
        """Wait until the worker has ended, and kill it after PATIENCE."""
        try:
            self.process.wait(PATIENCE)
        except TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def failure(self) -> str | None:
        """How it ended, as `exit status 2` or `SIGKILL`; None while it runs and after its work was done."""
        status = self.process.poll()
        return (f"exit status {status}" if status > 0 else signal.Signals(-status).name) if status else None

    def last_lines(self, count: int = 10) -> list[str]:
        """The last lines that it printed."""
        with open(self.log, errors="replace") as log:
            log.seek(self._begin)
            return [line for line in log.read().splitlines() if line.strip()][-count:]


@contextmanager
def started(
    command: Sequence[str], gpus: Sequence[str | None], threads: int, folder: Path, shares: Sequence[Sequence[int]] = ()
) -> Iterator[list[WorkerProcess]]:
    """Start a worker for each GPU in `gpus`; those that still run when the block ends are stopped and waited for.

    threads: of each worker on the CPU, unless the user has set OMP_NUM_THREADS. shares: of a cross-validation, the
    folds of each worker.
    """
    workers: list[WorkerProcess] = []
    try:
        for number, gpu in enumerate(gpus, start=1):
            environment = {THREADS: str(threads), **os.environ, VARIABLE: f"{number}/{len(gpus)}"}
            if gpu is not None:
                environment[GPUS] = gpu
            if shares:
                environment[SHARE] = ",".join(map(str, shares[number - 1]))
            workers.append(WorkerProcess(number, command, folder, environment))
        yield workers
    finally:
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.wait()


def stop_with_parent() -> None:
    """In a worker: stop as by SIGTERM once the parent has ended, however it did, or asks for it.

    The parent holds the other end of the pipe that is standard input here, and writes nothing into it.
    """

    def watch() -> None:
        while os.read(0, 1):
            pass
        if not stop_signals.pending:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(PATIENCE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
