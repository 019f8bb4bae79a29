"""How long a run takes to end after SIGTERM or Ctrl-C, in the middle of an epoch, and what it leaves.

python benchmarks/reliability/stops.py [OVERRIDES...] [--stops 4] [--models conv_poster conv_deep]

Each run gets its signal a random time after training has begun (a last.ckpt stands from the first step on). It must end
within 10 seconds with 128 + the signal's number, and leave a last.ckpt that loads. The step (over all epochs) and the
step within the epoch at which it stands are told. Prints JSON; exits with 1 otherwise.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kills import exit_status, forked

from fer_lightning.networks.weight_files import load_network, read_checkpoint
from fer_lightning.training.resume import KEY

SECONDS = 10.0


def stopped(model: str, signum: signal.Signals, wait: float, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Start a run, send the signal `wait` seconds after its training has begun; returns how it ended."""
    child = forked([f"model={model}", "trainer.accelerator=cpu", f"hydra.run.dir={folder}", *overrides])
    last = folder / "checkpoints" / "last.ckpt"
    while not last.exists():
        time.sleep(0.05)
    time.sleep(wait)
    begin = time.perf_counter()
    os.kill(child, signum)
    status = exit_status(child)
    seconds = time.perf_counter() - begin
    load_network(last)
    kept = read_checkpoint(last)
    place = {"step": kept["global_step"], "of_epoch": kept.get(KEY, {"batches": {"done": 0}})["batches"]["done"]}
    return {"model": model, "signal": signum.name, "seconds": round(seconds, 2), "status": status, **place}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=4, help="stops of each network")
    parser.add_argument("--models", nargs="+", default=["conv_poster", "conv_deep"])
    parser.add_argument("overrides", nargs="*", help="further settings of the runs")
    given = parser.parse_args()
    draw, ends = random.Random(0), []
    with tempfile.TemporaryDirectory() as name:
        for model in given.models:
            for number in range(given.stops):
                signum = (signal.SIGTERM, signal.SIGINT)[number % 2]
                folder = Path(name) / f"{model}-{number}"
                ends.append(stopped(model, signum, draw.uniform(0, 10), folder, given.overrides))
                print(ends[-1], file=sys.stderr)
    longest = max(end["seconds"] for end in ends)
    print(json.dumps({"stops": len(ends), "longest_seconds": longest, "ends": ends}, indent=1))
    sys.exit(longest > SECONDS or any(end["status"] != 128 + signal.Signals[end["signal"]] for end in ends))
