"""Folds side by side in one process, beside one after the other; on a CPU also two processes beside one.

Five copies of a network with stacked parameters (torch.func.stack_module_state, vmap) train in one step, each on the
batch of its fold and from the weights of its fold; the loss of each is compared with that of the fold trained alone.
On a CPU, two processes of one thread share the folds, beside one process of two threads.

python benchmarks/folds.py [--models fc,conv_poster] [--folds 5] [--steps 8] [--batch 128]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import hydra
import torch
from record import report, row
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from fer_lightning.cli import settings_of
from fer_lightning.networks import build_network
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training.trainer import choose_precision

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RATE, MOMENTUM = 0.01, 0.9
Batch = tuple[Tensor, Tensor | None, Tensor]


def fold_networks(model: str, folds: int) -> list[nn.Module]:
    """A network for each fold, with weights of its own."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", [f"model={model}"]), TrainSettings)
    networks = []
    for fold in range(folds):
        torch.manual_seed(fold)
        network = build_network(settings.model, settings.data.inputs).to(DEVICE, memory_format=torch.channels_last)
        nn.init.normal_(network.head.scores.weight, std=0.01)
        networks.append(network.train())
    return networks


def fold_batches(network: nn.Module, folds: int, batch: int) -> Batch:
    """Faces (folds, batch, 1, 48, 48), HOG or None, labels (folds, batch)."""
    torch.manual_seed(99)
    length = network.preprocessing.hog_length
    faces = torch.randint(0, 256, (folds, batch, 1, 48, 48), device=DEVICE).float()
    hog = torch.rand(folds, batch, length, device=DEVICE) if length else None
    return faces, hog, torch.randint(0, 7, (folds, batch), device=DEVICE)


def one_after_the_other(networks: list[nn.Module], batches: Batch, autocast: bool) -> Callable[[], Tensor]:
    """A step of each fold; returns their losses."""
    faces, hog, labels = batches
    optimizers = [torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM) for network in networks]

    def step() -> Tensor:
        losses = []
        for fold, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
            with torch.autocast(DEVICE, torch.bfloat16, enabled=autocast):
                loss = F.cross_entropy(network(faces[fold], None if hog is None else hog[fold]), labels[fold])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    return step


def side_by_side(networks: list[nn.Module], batches: Batch, autocast: bool) -> Callable[[], Tensor]:
    """The same step for all folds at once."""
    faces, hog, labels = batches
    parameters, buffers = stack_module_state(networks)
    parameters = {name: value.detach().clone() for name, value in parameters.items()}
    network = networks[0]
    optimizer = torch.optim.SGD(list(parameters.values()), lr=RATE, momentum=MOMENTUM)

    def loss_of(weights, statistics, face, feature, label):
        with torch.autocast(DEVICE, torch.bfloat16, enabled=autocast):
            return F.cross_entropy(functional_call(network, (weights, statistics), (face, feature)), label)

    stepped = vmap(grad_and_value(loss_of), in_dims=(0, 0, 0, None if hog is None else 0, 0), randomness="different")

    def step() -> Tensor:
        gradients, losses = stepped(parameters, buffers, faces, hog, labels)
        for name, value in parameters.items():
            value.grad = gradients[name]
        optimizer.step()
        return losses

    return step


def rate(step: Callable[[], Tensor], steps: int, images: int) -> float:
    """Images a second, the median of some steps."""
    spent = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return images / statistics.median(spent)


def process(model: str, folds: int, steps: int, batch: int) -> None:
    """Train `folds` folds one after the other when a line comes on standard input, and print the seconds."""
    networks = fold_networks(model, folds)
    step = one_after_the_other(networks, fold_batches(networks[0], folds, batch), autocast_here())
    step()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    print(json.dumps(time.perf_counter() - began), flush=True)


def by_processes(model: str, processes: int, threads: int, folds: int, steps: int, batch: int) -> float:
    """Images a second of so many processes, each with its folds; the slowest counts."""
    words = [sys.executable, __file__, "--process", model, str(folds), str(steps), str(batch)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    pipe = subprocess.PIPE
    started = [subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(processes)]
    for one in started:
        one.stdout.readline()
    for one in started:
        one.stdin.write("\n")
        one.stdin.flush()
    slowest = max(json.loads(one.communicate()[0]) for one in started)
    return processes * folds * steps * batch / slowest


def autocast_here() -> bool:
    return choose_precision("auto", "auto") == "bf16-mixed"


def main() -> None:
    if sys.argv[1:2] == ["--process"]:
        return process(sys.argv[2], *map(int, sys.argv[3:]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="fc,conv_poster")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    rows, differences = [], {}
    for model in given.models.split(","):
        networks = fold_networks(model, given.folds)
        batches = fold_batches(networks[0], given.folds, given.batch)
        together = side_by_side(networks, batches, autocast_here())
        alone = one_after_the_other(networks, batches, autocast_here())
        losses = [(together(), alone()) for _ in range(3)]  # stacked copies the weights: both train from the same
        differences[model] = max(float((ours - theirs).abs().max()) for ours, theirs in losses)
        images = given.folds * given.batch
        figures = [(rate(together, 1, images), rate(alone, 1, images)) for _ in range(given.steps)]
        ours, theirs = (statistics.median(values) for values in zip(*figures, strict=True))
        target = {"at_least": 2.0} if DEVICE == "cuda" else {}
        rows.append(row(f"{model}, {given.folds} folds side by side; in turn", ours, theirs, "images/s", **target))
        if DEVICE == "cpu" and (torch.get_num_threads() > 1):
            two = by_processes(model, 2, 1, 1, given.steps, given.batch)
            one = by_processes(model, 1, 2, 2, given.steps, given.batch)
            rows.append(row(f"{model}, 2 processes of 1 thread; 1 of 2", two, one, "images/s"))
    report("folds", rows, largest_difference_of_a_loss=differences)


if __name__ == "__main__":
    main()
