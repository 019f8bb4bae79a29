"""The processes of one run on several devices (DDP): who starts them, what they agree on, and what ends them.

torchrun and srun start all of them. Otherwise the first one starts the others: the same command again, with the
variables of torch.distributed. Loads no torch by itself.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import PIPE, Popen, TimeoutExpired
from typing import TYPE_CHECKING, Any

from fer_lightning.errors import InputError
from fer_lightning.settings import TrainerSettings

if TYPE_CHECKING:
    from lightning import Trainer
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

VARIABLE = "FER_LIGHTNING_RANK"
"""Environment variable of a process that another one of its run started: its number, from 0, and how many, as `1/2`."""

PATIENCE = 10.0
"""Seconds that the processes of a run have to end after the first one of them has; then they are killed."""

_first_is_there = threading.Event()
"""Of a process that another one started: the run ends, and the first process, which says why, was not killed."""

GOES_ON = "the same command with resume=true (and hydra.run.dir=FOLDER) goes on from its last checkpoint"


def process_rank() -> int:
    """Number, from 0, of this process among those of its run, by the variables of whatever started them."""
    if VARIABLE in os.environ:
        return int(os.environ[VARIABLE].partition("/")[0])
    if is_under_torchrun():
        return int(os.environ.get("RANK", "0"))
    if slurm_tasks() > 1:
        return int(os.environ.get("SLURM_PROCID", "0"))
    return int(os.environ.get("LOCAL_RANK") or os.environ.get("NODE_RANK") or 0)


def is_under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def slurm_tasks() -> int:
    """How many processes of this command SLURM started: the tasks of srun's step; 1 in a batch script itself."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS")
    if tasks is None and "SLURM_PROCID" in os.environ and os.environ.get("ENVIRONMENT") != "BATCH":
        tasks = os.environ.get("SLURM_NTASKS")
    return int(tasks) if tasks and tasks.isdecimal() else 1


def started_processes() -> int:
    """How many processes of this command were started side by side: by torchrun, by srun, or by the first of them."""
    world = os.environ.get("WORLD_SIZE", "")
    return max(int(world) if world.isdecimal() else 1, slurm_tasks())


def require_started_processes(settings: TrainerSettings) -> None:
    """Raise InputError where torchrun or srun started other processes than a run of these settings has."""
    started, wanted = started_processes(), settings.processes
    given = f"trainer.devices={settings.devices}" + f" trainer.num_nodes={settings.num_nodes}" * bool(
        settings.num_nodes and settings.num_nodes > 1
    )
    if started > 1 and wanted == 1:
        raise InputError(
            f"{started} processes were started (torchrun or srun), and this run has one ({given}). Folds and searches "
            "want one process, which starts its workers itself (hydra.sweeper.workers, cv.workers); a plain run on "
            "several devices names how many, as in trainer.devices=2"
        )
    if wanted and wanted != started and (started > 1 or is_under_torchrun()):
        were = f"{started} processes were" if started > 1 else "1 process was"
        raise InputError(
            f"{were} started (torchrun or srun), and {given} has {wanted}. Start one for each device, as by torchrun "
            f"--nproc-per-node {wanted} or srun --ntasks-per-node {wanted}; without torchrun and srun, the command "
            "starts its processes itself"
        )


def cluster_environment(settings: TrainerSettings) -> "list[ClusterEnvironment]":
    """Lightning's plugin for the variables of SLURM, where it would go by those of another job or requeue by itself.

    In a job of one task, a run on several devices starts its processes itself. Raises what Lightning raises for numbers
    of nodes and tasks that do not fit.
    """
    if is_under_torchrun() or "SLURM_NTASKS" not in os.environ:
        return []
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    if (tasks := slurm_tasks()) == 1:
        return [LightningEnvironment()]
    nodes = settings.num_nodes or 1
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(tasks // nodes))  # Lightning insists on it
    environment = SLURMEnvironment(auto_requeue=False)
    environment.validate_settings((settings.processes or tasks) // nodes, nodes)
    return [environment]


def largest(trainer: "Trainer", *values: int) -> tuple[int, ...]:
    """The largest of each value over the processes of a run, each of which must ask at the same place."""
    if trainer.world_size == 1:
        return values
    import torch

    tensor = torch.tensor(values, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return tuple(map(int, tensor.tolist()))


def of_each_process(value: Any) -> list[Any]:
    """A value of each process of a run, by their numbers; each must ask at the same place. Tensors are on the CPU."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


@contextmanager
def other_processes(per_node: int, nodes: int, command: Sequence[str]) -> Iterator[None]:
    """Start the other processes of a run on this machine where this is the first one here, and end them with it.

    per_node, nodes: devices of a machine, and machines. command: starts this run once more; empty in a program of the
    user's own, where Lightning starts them. Raises InputError where another process of the run was lost, however it was
    started.
    """
    starts = bool(command) and per_node > 1 and started_processes() == 1 and "LOCAL_RANK" not in os.environ
    before = dict(os.environ)
    others: list[Popen[bytes]] = []
    watch = threading.Event()
    try:
        if starts:
            os.environ.update(_variables(per_node, nodes))
            others += [_start(command, number, per_node) for number in range(1, per_node)]
            threading.Thread(target=_watch, args=(others, watch), daemon=True).start()
        yield
    except RuntimeError as error:
        if lost := _lost(others):
            raise InputError(lost) from error
        if _is_connection(error) and VARIABLE in os.environ:
            _first_is_there.wait(PATIENCE)  # or else that thread says so, and ends this process
        elif _is_connection(error):
            raise InputError(
                f"the connection to another process of this run is lost. If that one was killed, {GOES_ON}"
            ) from error
        raise
    finally:
        watch.set()
        _end(others)
        if starts:
            os.environ.clear()
            os.environ.update(before)


def _variables(per_node: int, nodes: int) -> dict[str, str]:
    """The variables of torch.distributed that this process and those that it starts have in common."""
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())} if nodes == 1 else {}
    return {**address, "LOCAL_RANK": "0", "WORLD_SIZE": str(per_node * nodes)}


def _start(command: Sequence[str], number: int, per_node: int) -> "Popen[bytes]":
    """A process of its own group: Ctrl-C on the terminal reaches the first one, which tells the others."""
    first = int(os.environ.get("NODE_RANK", "0")) * per_node
    environment = {**os.environ, "LOCAL_RANK": str(number), VARIABLE: f"{first + number}/{os.environ['WORLD_SIZE']}"}
    return Popen(command, env=environment, stdin=PIPE, process_group=0)


def _end(others: "Sequence[Popen[bytes]]") -> None:
    for other in others:
        assert other.stdin
        other.stdin.close()
    end = time.monotonic() + PATIENCE
    for other in others:
        try:
            other.wait(max(0.0, end - time.monotonic()))
        except TimeoutExpired:
            other.kill()
            other.wait()


def _lost(others: "Sequence[Popen[bytes]]", seconds: float = 2.0) -> str | None:
    """Which process of the run has ended before it was done, and how; waits a little for one to end."""
    end = time.monotonic() + (seconds if others else 0)
    while others:
        for number, other in enumerate(others, start=2):
            if status := other.poll():
                how = f"exit status {status}" if status > 0 else signal.Signals(-status).name
                return f"process {number} of this run ended by {how}, and the run with it; {GOES_ON}"
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return None


def _watch(others: "Sequence[Popen[bytes]]", done: threading.Event) -> None:
    """In the first process: end it where another one was lost, and it hangs in a collective operation of a GPU."""
    while not done.wait(0.5):
        if lost := _lost(others, 0):
            if not done.wait(PATIENCE):
                print(f"error: {lost}", file=sys.stderr, flush=True)
                os._exit(1)
            return


def end_with_first_process() -> None:
    """In a process that the first one of its run started: end soon after that one, and say so if it was killed."""
    if VARIABLE not in os.environ:
        return
    first = os.getppid()

    def watch() -> None:
        while os.read(0, 1):
            pass
        screen = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the first process says why the run ends, unless it was killed
        end = time.monotonic() + 1
        while os.getppid() == first and time.monotonic() < end:  # it changes only some time after the files are closed
            time.sleep(0.02)
        if os.getppid() != first:
            os.write(screen, f"error: the first process of this run was killed, and the run ends; {GOES_ON}\n".encode())
            os._exit(1)
        _first_is_there.set()
        time.sleep(PATIENCE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_connection(error: RuntimeError) -> bool:
    """Whether an error comes from torch.distributed: its own kinds, or gloo's, which are RuntimeErrors with a text."""
    import torch

    kinds = (torch.distributed.DistError,) if torch.distributed.is_available() else ()
    return isinstance(error, kinds) or "gloo" in str(error) or "onnection" in str(error)
