"""Training against the chip: FLOP/s of forward and backward of each network, beside a measured ceiling.

The ceiling is the better of a large 3x3 convolution (forward and backward) and a large matrix product in the same
precision, measured in turn with the networks. FLOPs are counted by torch.utils.flop_counter. The table of layers times
each alone, forward and backward, on the input that it has in the network: what does not reach the ceiling, and what
does no counted work at all (batch norm, pooling, ReLU).

python benchmarks/ceiling.py [--models conv_deep,conv_poster,...] [--layers conv_deep,conv_poster] [--batch 128]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import hydra
import torch
from record import report, row
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fer_lightning.cli import settings_of
from fer_lightning.networks import build_network
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training.trainer import choose_precision

TARGETS = {"conv_deep": 0.75, "conv_poster": 0.60}
MODELS = ("conv_shallow", "conv_deep", "conv_poster", "hybrid_deep", "vgg_pooled", "vgg_wide")
ROUNDS = 5
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Work(NamedTuple):
    """flop: of one call of `step`."""

    step: Callable[[], object]
    flop: int


def seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def trained(call: Callable[..., Tensor], *inputs: Tensor | None, autocast: bool) -> Work:
    """Forward and backward of a module or function on its inputs, and their FLOPs."""

    def step() -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=autocast):
            output = call(*inputs)
        output.backward(torch.ones_like(output))

    counter = FlopCounterMode(display=False)
    with counter:
        step()
    return Work(step, counter.get_total_flops())


def ceilings(autocast: bool) -> dict[str, Work]:
    """A large convolution and a large matrix product."""
    dtype = torch.bfloat16 if autocast else torch.float32
    images = torch.randn(64, 256, 24, 24, device=DEVICE).to(memory_format=torch.channels_last).requires_grad_()
    convolution = nn.Conv2d(256, 256, 3, padding=1).to(DEVICE, memory_format=torch.channels_last)
    matrix = torch.randn(2048, 2048, device=DEVICE, dtype=dtype)
    return {
        "convolution": trained(convolution, images, autocast=autocast),
        "matrix product": Work(lambda: matrix @ matrix, 2 * 2048**3),
    }


def network_step(model: str, batch: int, autocast: bool) -> tuple[nn.Module, Work, tuple[Tensor, Tensor | None]]:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", [f"model={model}"]), TrainSettings)
    network = build_network(settings.model, settings.data.inputs).to(DEVICE, memory_format=torch.channels_last).train()
    faces = torch.randint(0, 256, (batch, 1, 48, 48), device=DEVICE).float()
    length = network.preprocessing.hog_length
    hog = torch.rand(batch, length, device=DEVICE) if length else None
    return network, trained(network, faces, hog, autocast=autocast), (faces, hog)


def layers(network: nn.Module, inputs: tuple[Tensor, Tensor | None], autocast: bool) -> dict[str, Work]:
    """Each leaf of the network as work of its own, on the input that it has there."""
    found: dict[str, tuple[nn.Module, Tensor]] = {}
    names = {module: name for name, module in network.named_modules()}
    hooks = [
        module.register_forward_hook(lambda module, given, _: found.update({names[module]: (module, given[0])}))
        for module in network.modules()
        if not list(module.children()) and not isinstance(module, nn.Identity) and module is not network.preprocessing
    ]
    with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16, enabled=autocast):
        network(*inputs)
    for hook in hooks:
        hook.remove()
    work = {}
    for position, (name, (module, given)) in enumerate(found.items()):
        own = given.detach().clone(memory_format=torch.preserve_format).requires_grad_(position > 0)
        if isinstance(module, nn.ReLU | nn.MaxPool2d | nn.Dropout):
            own.requires_grad_()
        work[name] = trained(module, own, autocast=autocast)
    return work


def rounds(work: dict[str, Work]) -> dict[str, float]:
    """Median seconds of each, measured in turn; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(ROUNDS + 1):
        for name, one in work.items():
            spent = seconds(one.step)
            if number:
                times[name].append(spent)
    return {name: statistics.median(spent) for name, spent in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--layers", default="conv_deep,conv_poster", help="networks whose layers are measured too")
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    torch.manual_seed(0)
    autocast = choose_precision("auto", "auto") == "bf16-mixed"
    print(f"precision {'bf16' if autocast else 'fp32'}, {torch.get_num_threads()} threads, batch {given.batch}")
    rows, details = [], {}
    for model in given.models.split(","):
        network, step, inputs = network_step(model, given.batch, autocast)
        spent = rounds(tops := ceilings(autocast) | {model: step})
        rates = {name: tops[name].flop / time_ / 1e9 for name, time_ in spent.items()}
        ceiling = max(rate for name, rate in rates.items() if name != model)
        least = TARGETS.get(model)
        rows.append(row(f"{model}, forward and backward; ceiling", rates[model], ceiling, "GFLOP/s", at_least=least))
        print("  ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in rates.items()))
        details[model] = {"gflop_per_image": step.flop / given.batch / 1e9, **rates}
        if model in given.layers.split(","):
            parts = layers(network, inputs, autocast)
            each = rounds(parts)
            total = sum(each.values())
            print(f"  {model}: a step {spent[model] * 1e3:.1f} ms, its layers alone {total * 1e3:.1f} ms")
            for name, time_ in each.items():
                rate = parts[name].flop / time_ / 1e9
                says = f"{rate:8,.0f} GFLOP/s, {rate / ceiling:4.0%} of the ceiling" if rate else ""
                print(f"  {name:28} {time_ * 1e3:8.2f} ms {time_ / total:5.1%} {says}")
            details[model]["layers"] = {
                name: {"ms": time_ * 1e3, "gflops": parts[name].flop / time_ / 1e9} for name, time_ in each.items()
            }
    report("ceiling", rows, **details)


if __name__ == "__main__":
    main()
