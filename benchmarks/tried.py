"""Changes of the training step that were tried, each beside the plain step, in turn; benchmarks/README.md is the log.

fused: SGD(fused=True). flush: torch.set_flush_denormal. compiled: torch.compile of forward and backward, where a
compiler is there. no_norm_copy, ...: see `changes`. folded: batch norm folded into the convolutions, in evaluation.
Not part of `make bench`.

python benchmarks/tried.py [--models conv_poster,conv_deep] [--batch 128] [--rounds 7] [--only fused,folded,...]
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import hydra
import torch
from record import report, row
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fer_lightning.cli import settings_of
from fer_lightning.networks import build_network
from fer_lightning.networks.layers import ConvBlock
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training.optimizers import build_optimizer
from fer_lightning.training.trainer import choose_precision

Step = Callable[[], object]
AUTOCAST = choose_precision("auto", "cpu") == "bf16-mixed"


def parts(model: str, batch: int):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", [f"model={model}"]), TrainSettings)
    torch.manual_seed(0)
    network = build_network(settings.model, settings.data.inputs).to(memory_format=torch.channels_last).train()
    faces = torch.randint(0, 256, (batch, 1, 48, 48)).float()
    return network, faces, torch.randint(0, 7, (batch,)), settings


def training_step(network: nn.Module, faces, labels, optimizer, call=None) -> Step:
    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=AUTOCAST):
            loss = F.cross_entropy((call or network)(faces), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def folded(network: nn.Module) -> nn.Module:
    """A copy whose batch norms after convolutions are in the convolutions."""
    network = copy.deepcopy(network).eval()
    for block in network.modules():
        if isinstance(block, ConvBlock) and isinstance(block.norm, nn.BatchNorm2d):
            block.conv, block.norm = fuse_conv_bn_eval(block.conv, block.norm), nn.Identity()
    return network


def evaluation_step(network: nn.Module, faces) -> Step:
    def step() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=AUTOCAST):
            network(faces)

    return step


def changes(model: str, batch: int, only: list[str]) -> dict[str, tuple[Step, Step]]:
    """By name: the changed step, and the plain one."""
    network, faces, labels, settings = parts(model, batch)
    plain = training_step(network, faces, labels, build_optimizer(network, settings.optimizer))
    found: dict[str, tuple[Step, Step]] = {}
    if "fused" in only:
        other = copy.deepcopy(network)
        optimizer = build_optimizer(other, settings.optimizer)
        fused = torch.optim.SGD(
            [{**group, "fused": True, "foreach": False} for group in optimizer.param_groups], lr=settings.optimizer.lr
        )
        found["fused"] = (training_step(other, faces, labels, fused), plain)
    if "flush" in only:

        def flushing() -> None:
            torch.set_flush_denormal(True)
            plain()
            torch.set_flush_denormal(False)

        found["flush"] = (flushing, plain)
    if "compiled" in only:
        other = copy.deepcopy(network)
        optimizer = build_optimizer(other, settings.optimizer)
        found["compiled"] = (training_step(other, faces, labels, optimizer, torch.compile(other)), plain)
    if "folded" in only:
        plain_eval = copy.deepcopy(network).eval()
        found["folded, evaluation"] = (evaluation_step(folded(network), faces), evaluation_step(plain_eval, faces))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="conv_poster,conv_deep")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="fused,flush,compiled,folded")
    given = parser.parse_args()
    rows = []
    for model in given.models.split(","):
        for name, (changed, plain) in changes(model, given.batch, given.only.split(",")).items():
            times: dict[Step, list[float]] = {changed: [], plain: []}
            for number in range(given.rounds + 1):
                for step, spent in times.items():
                    began = time.perf_counter()
                    step()
                    if number:
                        spent.append(time.perf_counter() - began)
            ours, theirs = (given.batch / statistics.median(times[step]) for step in (changed, plain))
            rows.append(row(f"{model}: {name}; plain", ours, theirs, "images/s"))
    report("tried", rows)


if __name__ == "__main__":
    main()
