"""Training killed with SIGKILL again and again and resumed each time, compared with the same training never stopped.

python benchmarks/reliability/kills.py [--kills 20] [--seeds 0 1 2]

A quarter of the kills come after a random time, a quarter while a checkpoint is being written (after a random share of
its bytes), a quarter just before or after a file takes its place under its name; a quarter are no kills, but SIGTERM or
Ctrl-C after a random time. One more kill comes between the last epoch and metrics.json. Half of the processes save
after each step, the others after each epoch alone. Processes are forked after torch is imported. Weights, optimiser,
best checkpoint, metrics.json, history.csv, TensorBoard's curves and confusion matrices must be equal bit by bit,
wall-clock figures aside. Prints JSON; exits with 1 when anything differs.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import fer_lightning.training.fit  # noqa: F401 (so that forked processes need not import it)
from fer_lightning.train import main

TIMING = {"seconds", "images_per_second"}
SIGNALLED = "by SIGTERM or Ctrl-C, after its step"
KINDS = ("at a random time", "while a checkpoint was written", "as a file took its place", SIGNALLED)
AT_THE_END = "after the last epoch, before metrics.json"
STOPPED = {kind: {-signal.SIGKILL} for kind in (*KINDS, AT_THE_END)} | {
    SIGNALLED: {128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT}
}
"""How a process may end: a signal that comes before it listens kills it."""

SMALL = [
    "data.images=210",
    "data.batch_size=32",
    "trainer.accelerator=cpu",
    "optimizer.lr=0.05",
    "model.dropout=0.3",
    "draw.deepdream=false",
    "draw.embedding=0",
]
RUNS = (
    [
        *SMALL,
        "model=hybrid_poster",
        "model.conv=[{filters: 4, kernel: 7, pool: 4, dropout: 0.1}]",
        "model.hidden=[16]",
        "data.augment={flip: 0.5, shift: 2, rotate: 10, scale: 0.1, erase: 0.3, mixup: 0.2}",
        "schedule=one_cycle",
        "ema.decay=0.9",
        "trainer.max_epochs=8",
    ],
    [
        *SMALL,
        "model=conv_poster",
        "model.conv=[{filters: 4, pool: 4}]",
        "optimizer=adamw",
        "optimizer.lr=0.01",
        "schedule=plateau",
        "schedule.patience=1",
        "model.class_weights=true",
        "trainer.max_epochs=8",
    ],
    [*SMALL, "model=fc", "model.hidden=[32]", "early_stopping.patience=2", "trainer.max_epochs=40"],
)
"""What is trained: a moving average and every augmentation; a schedule that looks back; early stopping."""


def forked(overrides: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    """Start `python -m fer_lightning.train OVERRIDES` in a forked process; returns its id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        torch.set_num_threads(1)
        prepare()
        sys.argv = ["train", *overrides]
        with contextlib.redirect_stdout(io.StringIO()):
            main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def exit_status(child: int) -> int:
    """Wait for a process: its exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_while_writing(number: int, share: float) -> None:
    """The process kills itself when `share` of the bytes of its `number`-th checkpoint are in the file."""
    save, count = torch.save, 0

    def half_saved(content: Any, file: Any) -> None:
        nonlocal count
        count += 1
        if count < number:
            save(content, file)
            return
        whole = io.BytesIO()
        save(content, whole)
        file.write(whole.getvalue()[: int(share * whole.tell())])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half_saved


def die_at_replacement(number: int, before: bool) -> None:
    """The process kills itself just before or after its `number`-th file is renamed to its own name."""
    replace, count = os.replace, 0

    def deadly(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == number and before:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*arguments)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = deadly


def die_before_metrics() -> None:
    """The process kills itself when everything is trained and metrics.json alone is missing."""
    replace = os.replace

    def deadly(source: Any, target: Any) -> None:
        if Path(target).name == "metrics.json":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = deadly


def train_with_one_kill(overrides: list[str], kind: str, draw: random.Random, longest: float) -> int:
    """One process of a run, killed in the drawn way unless it ends before; returns its exit status."""
    overrides = [*overrides, draw.choice(["checkpoint_minutes=0", "checkpoint_minutes=null"])]
    if kind == AT_THE_END:
        return exit_status(forked(overrides, die_before_metrics))
    if kind in (KINDS[0], SIGNALLED):
        child = forked(overrides)
        time.sleep(draw.uniform(0, longest))
        os.kill(child, signal.SIGKILL if kind == KINDS[0] else draw.choice([signal.SIGTERM, signal.SIGINT]))
        return exit_status(child)
    number, share = draw.randint(1, 5), draw.random()
    if kind == KINDS[1]:
        return exit_status(forked(overrides, lambda: die_while_writing(number, share)))
    return exit_status(forked(overrides, lambda: die_at_replacement(number + 2, share < 0.5)))


def outcome(folder: Path) -> dict[str, Any]:
    """What two runs must have in common: all that is trained and told, wall-clock figures aside."""
    seen: dict[str, Any] = {}
    for name in ("last", "best"):
        checkpoint = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        seen[f"{name}.ckpt weights"] = checkpoint["state_dict"]
        seen[f"{name}.ckpt optimizer"] = checkpoint["optimizer_states"]
        seen[f"{name}.ckpt schedule"] = [checkpoint["lr_schedulers"], checkpoint.get("plateau")]
    metrics = json.loads((folder / "metrics.json").read_text())
    seen["metrics.json"] = {key: value for key, value in metrics.items() if key not in TIMING}
    rows = csv.DictReader((folder / "history.csv").read_text().splitlines())
    seen["history.csv"] = [{key: value for key, value in row.items() if key not in TIMING} for row in rows]
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    seen["TensorBoard"] = {
        tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]
    }
    seen["confusion matrices"] = {
        tag: {event.step: make_ndarray(event.tensor_proto).tolist() for event in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
        if "confusion" in tag
    }
    seen["half-written files"] = [path.name for path in folder.rglob("*.partial")]
    return seen


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(value, second[key]) for key, value in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def killed_runs(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill a run `kills` times (where it ends before, another is begun), and compare each with one never stopped."""
    settings, draw = [*RUNS[seed % len(RUNS)], f"seed={seed}"], random.Random(seed)
    begin = time.perf_counter()
    assert exit_status(forked([*settings, f"hydra.run.dir={folder / 'whole'}"])) == 0
    longest = 0.6 * (time.perf_counter() - begin)
    expected = outcome(folder / "whole") | {"half-written files": []}
    done, runs, different, refused = dict.fromkeys((*KINDS, AT_THE_END), 0), 0, set(), 0
    while sum(done.values()) <= kills and not different and not refused:
        runs += 1
        place = folder / f"killed-{runs}"
        arguments = [*settings, f"hydra.run.dir={place}", "resume=true"]
        status = -1
        while status != 0:
            kind = draw.choice(KINDS) if sum(done.values()) < kills else AT_THE_END
            if done[AT_THE_END]:
                status = exit_status(forked(arguments))
            else:
                status = train_with_one_kill(arguments, kind, draw, longest)
            if status in STOPPED[kind]:
                done[kind] += 1
            elif status != 0:
                refused += 1
                break
        if status == 0:
            ended = outcome(place)
            different |= {name for name, value in expected.items() if not equal(value, ended[name])}
    return {
        "seed": seed,
        "run": next(word for word in settings if word.startswith("model=")),
        "kills": done,
        "runs": runs,
        "different": sorted(different),
        "refused_to_resume": refused,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="kills of each seed's run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the moments; also which run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        each = [killed_runs(given.kills, seed, Path(name) / f"seed-{seed}") for seed in given.seeds]
    told = {"kills": sum(sum(one["kills"].values()) for one in each), "runs": each}
    print(json.dumps(told, indent=1))
    sys.exit(any(one["different"] or one["refused_to_resume"] for one in each))
