"""Folds side by side in one process, beside one after the other; on a CPU also two processes beside one.

The networks of five folds train in one step, each on the batch of its fold and from its own weights: convolutions in
groups, matrix products in batches, batch norm over the channels of all (torch.func.vmap takes no batch norm under
autocast). The losses of three steps are compared with those of the folds trained alone.
On a CPU, two processes of one thread share the folds, beside one process of two threads.

python benchmarks/folds.py [--models fc,conv_poster] [--folds 5] [--steps 8] [--batch 128]
"""

import argparse
import copy
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


class Stacked(nn.Module):
    """The networks of all folds as one: grouped convolutions, batched matrix products, batch norm of all channels."""

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.folds, first = len(networks), networks[0]
        self.preprocessing = copy.deepcopy(first.preprocessing)
        self.blocks = nn.Sequential()
        for blocks in zip(*(getattr(network, "features", ()) for network in networks), strict=True):
            conv = blocks[0].conv
            channels = conv.in_channels * self.folds, conv.out_channels * self.folds
            grouped = nn.Conv2d(*channels, conv.kernel_size, conv.stride, conv.padding, groups=self.folds)
            copy_joined(grouped, [block.conv for block in blocks])
            self.blocks.append(
                nn.Sequential(grouped, joined_norm([block.norm for block in blocks]), blocks[0].pool, nn.ReLU())
            )
        hidden = [*zip(*(network.head.hidden for network in networks), strict=True)]
        linears = [[block.linear for block in blocks] for blocks in hidden]
        linears.append([network.head.scores for network in networks])
        self.weights = nn.ParameterList(torch.stack([one.weight.detach().T for one in layer]) for layer in linears)
        self.biases = nn.ParameterList(torch.stack([one.bias.detach()[None] for one in layer]) for layer in linears)
        self.norms = nn.ModuleList(joined_norm([block.norm for block in blocks]) for blocks in hidden)

    def forward(self, faces: Tensor, hog: Tensor | None) -> Tensor:
        """Logits (folds, batch, 7)."""
        folds, batch = faces.shape[:2]
        images, features = self.preprocessing(faces.flatten(0, 1), None if hog is None else hog.flatten(0, 1))
        if len(self.blocks):
            maps = images.view(folds, batch, *images.shape[2:]).transpose(0, 1)  # one grey channel for each fold
            values = self.blocks(maps.contiguous(memory_format=torch.channels_last))
            values = values.reshape(batch, folds, -1).transpose(0, 1)
        else:
            values = features.view(folds, batch, -1)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, values, weight)
            if number < len(self.norms):
                together = values.transpose(0, 1).reshape(batch, -1)
                values = F.relu(self.norms[number](together)).view(batch, folds, -1).transpose(0, 1)
        return values


def copy_joined(to: nn.Module, parts: list[nn.Module]) -> None:
    """Parameters and buffers of the parts, one after the other, into those of `to`."""
    mine = to.state_dict()
    states = [part.state_dict() for part in parts]
    to.load_state_dict(
        {name: torch.cat([one[name] for one in states]) if mine[name].ndim else mine[name] for name in mine}
    )


def joined_norm(norms: list[nn.Module]) -> nn.Module:
    """One batch norm for the channels of all."""
    if isinstance(norms[0], nn.Identity):
        return nn.Identity()
    joined = type(norms[0])(norms[0].num_features * len(norms))
    copy_joined(joined, norms)
    return joined


def side_by_side(networks: list[nn.Module], batches: Batch, autocast: bool) -> Callable[[], Tensor]:
    """The same step for all folds at once."""
    faces, hog, labels = batches
    stacked = Stacked(networks).to(DEVICE, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(stacked.parameters(), lr=RATE, momentum=MOMENTUM)

    def step() -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=autocast):
            logits = stacked(faces, hog)
            losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        losses = losses.view(len(networks), -1).mean(dim=1)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        return losses.detach()

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
