"""What a search spends between two folds and two trials that is not training, beside starting a process for each.

python benchmarks/between_trials.py [path of FER2013]      # default: FER2013=path, or ../shared/data/fer2013.zip
"""

import contextlib
import io
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from record import needed_fer2013, report, row

from fer_lightning.train import main as train
from fer_lightning.training.history import History

TRIALS, FOLDS = 5, 3
SEARCH = ["--multirun", "sweeps=lr_reg_hidden", "model=fc", f"cv.folds={FOLDS}", "trainer.max_epochs=1"]
FEW_BATCHES = ["+trainer.limit_train_batches=20", "+trainer.limit_val_batches=1", "hydra.sweeper.pruner=none"]


class Clocks(NamedTuple):
    wall: float
    cpu: float  # of this process: what remains of the wall time where other processes have the cores


def now() -> Clocks:
    return Clocks(time.perf_counter(), time.process_time())


def main() -> None:
    path = needed_fer2013("between_trials", sys.argv[1:])
    epochs: list[tuple[str, Clocks, Clocks]] = []  # trial, begin, end
    began, ended = History.on_train_epoch_start, History.on_train_epoch_end

    def note_begin(self, trainer, pl_module):
        epochs.append((self.folder.parent.name, now(), now()))
        began(self, trainer, pl_module)

    def note_end(self, trainer, pl_module):
        ended(self, trainer, pl_module)
        epochs[-1] = (*epochs[-1][:2], now())

    History.on_train_epoch_start, History.on_train_epoch_end = note_begin, note_end  # type: ignore[method-assign]
    data = ["data=fer2013", f"data.path={path}"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        sys.argv = [
            "train",
            *SEARCH,
            *FEW_BATCHES,
            *data,
            f"hydra.sweep.dir={folder}/s",
            f"hydra.sweeper.n_trials={TRIALS}",
        ]
        train()
    assert len(epochs) == TRIALS * FOLDS
    gaps: dict[str, list[Clocks]] = {"fold": [], "trial": []}
    for (trial, _, end), (following, begin, _) in itertools.pairwise(epochs):
        gaps["fold" if trial == following else "trial"].append(Clocks(begin.wall - end.wall, begin.cpu - end.cpu))

    code = "import sys, torch, fer_lightning.training.fit; from fer_lightning.data.sources import open_fer2013; "
    code += "torch.tensor(open_fer2013(sys.argv[1]).images)"
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, path], check=True)
    process = time.perf_counter() - begin

    rows, details = [], {}
    for name, pauses in gaps.items():
        wall, cpu = (statistics.median(clock) for clock in zip(*pauses, strict=True))
        print(f"between two {name}s: {wall:.3f} s, {cpu:.3f} s of them at work (median of {len(pauses)})")
        rows.append(row(f"between two {name}s; a process of its own", wall, process, "s", at_most=0.3, of="ours"))
        details[f"{name}_cpu_seconds"] = cpu
    print(f"a process of its own: {process:.2f} s to import and open the faces")
    report("between_trials", rows, **details)


if __name__ == "__main__":
    main()
