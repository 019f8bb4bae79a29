"""Searches in forked processes, which saves importing torch for each: killed at random times, or several at once.

python forked_searches.py KILLS SEED LONGEST WORKERS OVERRIDES...: starts WORKERS searches; KILLS times, one of them is
killed after up to LONGEST seconds of running trials (one time in five: while it starts) and begun again. With `alone`
after the number of WORKERS (`3,alone`), one is killed when LONGEST epochs have been trained, and stays dead. Prints as
JSON: which finished folds a later process touched, how often each epoch of each fold was trained, and how each search
ended.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from forked_command import train_and_exit

from fer_lightning.search import worker
from fer_lightning.training.history import History

EPOCHS = "epochs.log"


def forked(kills: int, seed: int, workers: str, *overrides: str, longest: float = 1.0) -> dict[str, Any]:
    """Run this file and return what it prints; what the searches print is shown when one of them fails."""
    arguments = [str(kills), str(seed), str(longest), workers, *overrides]
    shared = str(Path(__file__).parents[1])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([shared, *sys.path])}
    ran = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def note_epochs(folder: Path) -> None:
    """Have each epoch that is trained written down, in one write, before its checkpoint is."""
    ended = History.on_train_epoch_end

    def noted(self, trainer, pl_module):
        ended(self, trainer, pl_module)
        line = f"{self.folder.relative_to(folder)} {trainer.current_epoch}\n"
        log = os.open(folder / EPOCHS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, line.encode())
        os.close(log)

    History.on_train_epoch_end = noted


class Search(NamedTuple):
    process: int
    running: int
    """A pipe that holds a byte from when the search runs trials."""


def start(overrides: list[str], folder: Path) -> Search:
    running, tells = os.pipe()
    child = os.fork()
    if child:
        os.close(tells)
        return Search(child, running)

    def begin() -> None:
        note_epochs(folder)
        run_trials = worker.run_trials
        worker.run_trials = lambda *given: (os.write(tells, b"!"), run_trials(*given))

    train_and_exit(overrides, begin)


def finished_folds(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("trial-*/fold-*/metrics.json")}


def trained(folder: Path) -> Counter[str]:
    return Counter((folder / EPOCHS).read_text().splitlines()) if (folder / EPOCHS).exists() else Counter()


def run(kills: int, seed: int, longest: float, workers: int, again: bool, overrides: list[str]) -> int:
    folder = next(Path(word.partition("=")[2]) for word in overrides if word.startswith("hydra.sweep.dir="))
    draw = random.Random(seed)
    searches = {number: start(overrides, folder) for number in range(workers)}
    kept: dict[str, int] = {}
    changed: list[str] = []
    for _ in range(kills):
        victim = draw.choice(sorted(searches))
        if not again:
            while trained(folder).total() < longest:  # in the middle of a trial
                time.sleep(0.01)
        elif draw.random() < 0.8:
            os.read(searches[victim].running, 1)
            time.sleep(draw.uniform(0, longest))
        else:
            time.sleep(draw.uniform(0, 1))
        killed = searches.pop(victim)
        os.kill(killed.process, signal.SIGKILL)
        os.waitpid(killed.process, 0)
        os.close(killed.running)
        changed += [path for path, when in finished_folds(folder).items() if kept.get(path, when) != when]
        kept = finished_folds(folder)
        if again:
            searches[victim] = start(overrides, folder)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(search.process, 0)[1]) for search in searches.values()]
    changed += [path for path, when in kept.items() if finished_folds(folder).get(path) != when]
    print(json.dumps({"changed": changed, "statuses": statuses, "kept": len(kept), "trained": trained(folder)}))
    return max(statuses, default=0)


if __name__ == "__main__":
    kills, seed, longest, workers = sys.argv[1:5]
    count, _, alone = workers.partition(",")
    sys.exit(run(int(kills), int(seed), float(longest), int(count), not alone, sys.argv[5:]))
