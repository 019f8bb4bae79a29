"""Speed and memory of the published networks at 96 and 224 pixels, beside our vgg_pooled at 48. One thread, CPU time.

python benchmarks/backbones.py [--batch 8] [--steps 2]

Each in a fresh process: training steps in the precision that runs choose here (SGD with momentum), then faces scored in
32 bits. Images a second of CPU time: what one core does that has nothing else to do. Memory: the peak over the imports.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

from record import report, row

NETWORKS = [("vgg_pooled", 48), *((name, size) for name in ("alexnet", "resnet18", "vgg16") for size in (96, 224))]
MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "SIZE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], int(given.one[1]), given.batch, given.steps)))
        return
    found = {}
    for model, size in NETWORKS:
        words = ["--batch", str(given.batch), "--steps", str(given.steps), "--one", model, str(size)]
        printed = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
        found[model, size] = json.loads(printed.stdout)
    first = found.pop(NETWORKS[0])
    rows = [
        row(f"{model} at {size}: {what}", measured[key], first[key], unit)
        for (model, size), measured in found.items()
        for key, what, unit in (
            ("trained", "training", "images/s"),
            ("scored", "scoring", "images/s"),
            ("megabytes", "memory of training", "MB"),
        )
    ]
    report("backbones", rows, batch=given.batch, steps=given.steps, precision=first["precision"])


def measure(model: str, size: int, batch: int, steps: int) -> dict[str, float | str]:
    """Images/s of CPU time in training and in scoring, and peak memory in MB, of one network in this process."""
    import torch
    from torch.nn import functional as F

    from fer_lightning.cli.composition import train_settings
    from fer_lightning.networks import build_network
    from fer_lightning.training.optimizers import build_optimizer
    from fer_lightning.training.trainer import choose_precision

    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = train_settings(f"model={model}", f"data.size={size}")
    network = build_network(settings.model, settings.data.inputs).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, settings.optimizer)
    precision = str(choose_precision("auto", "cpu"))
    faces, labels = torch.randint(0, 256, (batch, 1, 48, 48)).float(), torch.randint(0, 7, (batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = F.cross_entropy(network(faces), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def score() -> None:
        with torch.inference_mode():
            network(faces)

    def speed(job: Callable[[], None]) -> float:
        job()
        began = time.process_time()
        for _ in range(steps):
            job()
        return round(batch * steps / (time.process_time() - began), 2)

    trained = speed(step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    network.eval()
    return {"trained": trained, "scored": speed(score), "megabytes": round(peak / MEGABYTE), "precision": precision}


if __name__ == "__main__":
    main()
