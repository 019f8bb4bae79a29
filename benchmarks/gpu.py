"""On a GPU: images/s, FLOP/s, utilisation and memory of each network, beside the measured ceiling of the same GPU.

A run as users start it (faces on the device, bf16, channels_last), its second epoch. Utilisation is the FLOPs of
forward and backward over those that the GPU does in a large convolution or matrix product in the same time. Prints that
it is left out where there is no GPU.

python benchmarks/gpu.py [--models conv_poster,conv_deep,...] [--images 30000] [--batch 512]
"""

import argparse
import logging
import tempfile
import warnings
from pathlib import Path

import hydra
import torch
from ceiling import MODELS, ceilings, network_step, rounds
from record import report, row
from rich.console import Console

from fer_lightning.cli import settings_of
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training.fit import fit


def second_epoch(model: str, images: int, batch: int) -> tuple[float, float]:
    """Images a second of a run's second epoch, and its peak memory on the GPU in MB."""
    overrides = [f"model={model}", f"data.images={images}", f"data.batch_size={batch}", "trainer.max_epochs=2"]
    overrides += ["draw.every=0", "draw.deepdream=false", "draw.embedding=0", "trainer.accelerator=gpu"]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", overrides), TrainSettings)
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        fit(settings, Path(folder), Console(quiet=True))
        lines = (Path(folder) / "history.csv").read_text().splitlines()
    column = lines[0].split(",").index("images_per_second")
    return float(lines[-1].split(",")[column]), torch.cuda.max_memory_allocated() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--batch", type=int, default=512)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("left out: there is no GPU here")
        return report("gpu", [], left_out="there is no GPU here")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    rows, details = [], {}
    tops = ceilings(autocast=True)
    ceiling = max(tops[name].flop / spent for name, spent in rounds(tops).items())
    for model in given.models.split(","):
        _, step, _ = network_step(model, given.batch, autocast=True)
        bare = given.batch / rounds({model: step})[model]
        images, memory = second_epoch(model, given.images, given.batch)
        flop = step.flop / given.batch
        rows.append(row(f"{model} on a GPU; forward and backward alone", images, bare, "images/s"))
        used = images * flop / ceiling
        details[model] = {"flops": images * flop, "utilisation": used, "memory_mb": memory}
        print(f"{model}: {images * flop / 1e12:.1f} TFLOP/s, {used:.0%} of the ceiling, {memory:.0f} MB")
    report("gpu", rows, ceiling_flops=ceiling, **details)


if __name__ == "__main__":
    main()
