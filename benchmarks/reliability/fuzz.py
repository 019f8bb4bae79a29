"""Mutated inputs for every reader and the config: valid data or a clear message, in bounded time and memory.

python benchmarks/reliability/fuzz.py [--examples 20000] [--targets csv zip ...]

The inputs and the bounds are those of tests/fuzz_targets.py. Each kind runs in a process of its own.
Prints JSON; exits with 1 when any input ended otherwise, after printing the smallest one found.
"""

import argparse
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from fuzz_targets import MEGABYTES, SECONDS, TARGETS, bounded, inputs
from hypothesis import HealthCheck, given, seed, settings


def fuzz(name: str, examples: int) -> dict[str, Any]:
    """Try so many inputs of one kind in a forked process; returns what became of them."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as told:
            told.write(json.dumps(attempted(name, examples)))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        outcome = told.read()
    os.waitpid(child, 0)
    return json.loads(outcome) if outcome else {"failed": "the process died"}


def attempted(name: str, examples: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    counts = {"data": 0, "refused": 0}
    slowest = 0.0

    @seed(0)
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(inputs(name))
    def attempt(data: bytes) -> None:
        nonlocal slowest
        begin = time.process_time()
        counts["data" if bounded(TARGETS[name], data) else "refused"] += 1
        slowest = max(slowest, time.process_time() - begin)

    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    failed = None
    try:
        attempt()
    except BaseException:
        failed = traceback.format_exc()
    return {
        "inputs": sum(counts.values()),
        **counts,
        "failed": failed,
        "cpu_seconds": round(time.process_time() - begin, 1),
        "slowest_seconds": round(slowest, 2),
        "grew_by_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20_000, help="inputs of each kind")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="KIND", help="kinds")
    given_ = parser.parse_args()
    outcome = {}
    for kind in given_.targets:
        outcome[kind] = fuzz(kind, given_.examples)
        print(f"{kind}: {outcome[kind]}", file=sys.stderr)
    print(json.dumps({"seconds_bound": SECONDS, "megabytes_bound": MEGABYTES, "kinds": outcome}, indent=1))
    sys.exit(any(one["failed"] for one in outcome.values()))
