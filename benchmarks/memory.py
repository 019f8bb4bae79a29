"""Peak memory of a training of conv_poster on FER2013 on the CPU, beside the usual loop (benchmarks/usual_loop.py).

Fresh processes. Ours reads the source into an empty cache, trains some steps, validates on PublicTest and writes its
checkpoints. Of the usual loop, the main process and its two workers.

python benchmarks/memory.py [fer2013.zip] [--batches 60]     # default: FER2013=path, or ../shared/data/fer2013.zip, or
                                                             # without either 35,887 synthetic faces
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from record import fer2013, report, row

MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10
IMAGES = 35_887


def peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(who).ru_maxrss / MEGABYTE


def ours(overrides: list[str]) -> None:
    """A run of the train command in this process."""
    from fer_lightning.train import main as train

    sys.argv = ["train", *overrides]
    train()
    print(json.dumps({"main": peak_mb(), "workers": 0.0}))


def usual(batches: str) -> None:
    from usual_loop import WORKERS, settings_for, usual_epochs

    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for("conv_poster")
        usual_epochs(settings, Path(folder), int(batches), epochs=1)
    print(json.dumps({"main": peak_mb(), "workers": WORKERS * peak_mb(resource.RUSAGE_CHILDREN)}))


def in_fresh_process(*words: str) -> dict[str, float]:
    command = [sys.executable, __file__, *words]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def main() -> None:
    if sys.argv[1:2] == ["--ours"]:
        return ours(sys.argv[2:])
    if sys.argv[1:2] == ["--usual"]:
        return usual(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--batches", type=int, default=60, help="training steps")
    given = parser.parse_args()
    real = fer2013(given.data)
    data = ["data=fer2013", f"data.path={real}"] if real else [f"data.images={IMAGES}"]
    with tempfile.TemporaryDirectory() as folder:
        places = [f"data.cache_dir={folder}/cache", f"hydra.run.dir={folder}/run"]
        short = ["trainer.max_epochs=1", f"+trainer.limit_train_batches={given.batches}", "trainer.accelerator=cpu"]
        own = in_fresh_process("--ours", "model=conv_poster", *data, *places, *short)
    loop = in_fresh_process("--usual", str(given.batches))
    name = f"peak memory, conv_poster on {'FER2013' if real else 'as many synthetic faces'}; the usual loop"
    rows = [row(name, own["main"], loop["main"] + loop["workers"], "MB", at_most=1500, of="ours")]
    report("memory", rows, usual_loop_main_mb=round(loop["main"]), usual_loop_workers_mb=round(loop["workers"]))


if __name__ == "__main__":
    main()
