"""The processes of one run, forked from this one with the variables of torchrun or srun, so that none imports torch.

What they print goes to files beside the run folder.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from forked_command import train_and_exit
from hydra.core.global_hydra import GlobalHydra
from lightning.fabric.plugins.environments.lightning import find_free_network_port


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def torchrun(rank: int, world: int) -> dict[str, str]:
    """The variables of a process that torchrun started."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "GROUP_RANK": 0}
    names = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "none"}
    return {key: str(value) for key, value in (names | ranks).items()}


def slurm(rank: int, world: int) -> dict[str, str]:
    """The variables of a task that srun started."""
    numbers = {"PROCID": rank, "LOCALID": rank, "NODEID": 0, "NTASKS": world, "STEP_NUM_TASKS": world, "NNODES": 1}
    names = {"JOB_ID": "4711", "JOB_NAME": "train", "NODELIST": "127.0.0.1", "STEP_ID": "0"}
    return {f"SLURM_{key}": str(value) for key, value in (names | numbers).items()}


def start_ranks(
    folder: Path,
    *overrides: str,
    world: int = 2,
    launcher: Callable[[int, int], dict[str, str]] = torchrun,
    prepare: Callable[[int], None] = lambda rank: None,
) -> list[int]:
    """Start `python -m fer_lightning.train OVERRIDES` in processes; returns their ids. prepare: is called in each."""
    port, children = str(find_free_network_port()), []
    for rank in range(world):
        with warnings.catch_warnings(action="ignore"):  # of a fork beside threads, which hold nothing that is used
            child = os.fork()
        if child:
            children.append(child)
            continue

        def begin(rank: int = rank) -> None:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(printed(folder, rank, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ.update(launcher(rank, world) | {"MASTER_PORT": port})
            GlobalHydra.instance().clear()
            prepare(rank)

        train_and_exit([*overrides, f"trainer.devices={world}", f"hydra.run.dir={folder}"], begin)
    return children


def printed(folder: Path, rank: int, name: str) -> Path:
    return folder.with_name(f"{folder.name}-{rank}.{name}")


def wait_for_ranks(children: list[int], folder: Path, seconds: float = 120) -> list[Ended]:
    """Wait for all; how each ended. They are killed after so many seconds."""
    end, ended = time.monotonic() + seconds, {}
    while len(ended) < len(children):
        for rank, child in enumerate(children):
            if rank not in ended and (found := os.waitpid(child, os.WNOHANG))[0]:
                ended[rank] = os.waitstatus_to_exitcode(found[1])
        if time.monotonic() > end:
            for rank in set(range(len(children))) - set(ended):
                os.kill(children[rank], 9)
                os.waitpid(children[rank], 0)
            raise AssertionError(f"processes {set(range(len(children))) - set(ended)} did not end; others: {ended}")
        time.sleep(0.02)
    texts = [[printed(folder, rank, name).read_text() for name in ("out", "err")] for rank in range(len(children))]
    return [Ended(ended[rank], *texts[rank]) for rank in range(len(children))]


def run_ranks(folder: Path, *overrides: str, **options: object) -> list[Ended]:
    """`start_ranks`, and how each process ended."""
    return wait_for_ranks(start_ranks(folder, *overrides, **options), folder)
