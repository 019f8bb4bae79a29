"""Searches in forked processes, which saves importing torch for each: killed at random times, or several at once.

python forked_searches.py KILLS SEED LONGEST WORKERS OVERRIDES...: starts WORKERS searches; KILLS times, one of them is
killed after up to LONGEST seconds and started again. Prints the finished folds that a later process changed, as JSON.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

import fer_lightning.search.search
import fer_lightning.search.trial  # noqa: F401
from fer_lightning.train import main


def start(overrides: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    torch.set_num_threads(1)
    status = 1
    try:
        sys.argv = ["train", *overrides]
        main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def finished_folds(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("trial-*/fold-*/metrics.json")}


def run(kills: int, seed: int, longest: float, workers: int, overrides: list[str]) -> int:
    folder = next(Path(word.partition("=")[2]) for word in overrides if word.startswith("hydra.sweep.dir="))
    draw = random.Random(seed)
    searches = [start(overrides) for _ in range(workers)]
    kept: dict[str, int] = {}
    changed: list[str] = []
    for _ in range(kills):
        time.sleep(draw.uniform(0, longest))
        victim = draw.randrange(workers)
        os.kill(searches[victim], signal.SIGKILL)
        os.waitpid(searches[victim], 0)
        changed += [path for path, when in finished_folds(folder).items() if kept.get(path, when) != when]
        kept = finished_folds(folder)
        searches[victim] = start(overrides)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(search, 0)[1]) for search in searches]
    changed += [path for path, when in kept.items() if finished_folds(folder).get(path) != when]
    print(json.dumps({"changed": changed, "statuses": statuses, "kept": len(kept)}))
    return max(statuses)


if __name__ == "__main__":
    kills, seed, longest, workers = sys.argv[1:5]
    sys.exit(run(int(kills), int(seed), float(longest), int(workers), sys.argv[5:]))
