"""Warm start of the data: from the constructor to the first batch can be drawn, HOG included, after imports.

python benchmarks/warm_start.py [path of FER2013]      # default: FER2013=path, or ../shared/data/fer2013.zip
"""

import statistics
import sys
import time

import hydra
from record import needed_fer2013, report, row

from fer_lightning.cli import settings_of
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.settings import CONF, TrainSettings

ROUNDS = 5


def main() -> None:
    path = needed_fer2013("warm_start", sys.argv[1:])
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", ["data=fer2013", f"data.path={path}"]), TrainSettings)

    def start() -> float:
        begin = time.perf_counter()
        datamodule = FaceDataModule(settings.data, with_hog=True)
        datamodule.setup()
        datamodule.statistics()
        next(iter(datamodule.train_dataloader()))
        return time.perf_counter() - begin

    cold = start()
    seconds = [start() for _ in range(ROUNDS)]
    print(
        f"first start {cold:.2f} s (reads the source where it is not in the cache), "
        f"then {min(seconds):.2f} to {max(seconds):.2f} s"
    )
    warm = statistics.median(seconds)
    report("warm_start", [row("data module ready, warm; the first time", warm, cold, "s", at_most=0.5, of="ours")])


if __name__ == "__main__":
    main()
