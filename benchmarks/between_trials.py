"""What a search spends between two folds and two trials that is not training, beside starting a process for each.

python benchmarks/between_trials.py [path of FER2013]      # default: FER2013=path, or ../shared/data/fer2013.zip
"""

import contextlib
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fer_lightning.history import History
from fer_lightning.train import main as train

TRIALS, FOLDS = 5, 3
SEARCH = ["--multirun", "sweeps=lr_reg_hidden", "model=fc", f"cv.folds={FOLDS}", "trainer.max_epochs=1"]
FEW_BATCHES = ["+trainer.limit_train_batches=20", "+trainer.limit_val_batches=1", "hydra.sweeper.pruner=none"]


def main() -> None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "fer2013.zip"
    path = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FER2013", str(beside))
    epochs: list[tuple[str, float, float]] = []  # trial, begin, end
    began, ended = History.on_train_epoch_start, History.on_train_epoch_end

    def note_begin(self, trainer, pl_module):
        epochs.append((self.folder.parent.name, time.perf_counter(), 0.0))
        began(self, trainer, pl_module)

    def note_end(self, trainer, pl_module):
        ended(self, trainer, pl_module)
        epochs[-1] = (*epochs[-1][:2], time.perf_counter())

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
    folds, trials = [], []
    for (trial, _, end), (following, begin, _) in itertools.pairwise(epochs):
        (folds if trial == following else trials).append(begin - end)

    code = "import sys, fer_lightning.train, fer_lightning.data.datamodule as d; from fer_lightning.data.cached_faces "
    code += "import open_faces; import torch; torch.tensor(open_faces(sys.argv[1]).images)"
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, path], check=True)
    process = time.perf_counter() - begin

    for name, gaps in (("folds", folds), ("trials", trials)):
        print(f"between two {name}: {statistics.median(gaps):.3f} s, at most {max(gaps):.3f} s, of {len(gaps)}")
    print(f"a process of its own: {process:.2f} s to import and open the faces")
    found = {"benchmark": "between_trials", "fold_seconds": statistics.median(folds)}
    found |= {"trial_seconds": statistics.median(trials), "process_seconds": process}
    print(json.dumps(found | {"target": "fold_seconds and trial_seconds 0.3 or less"}))


if __name__ == "__main__":
    main()
