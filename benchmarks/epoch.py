"""Training: an epoch under Lightning beside a bare PyTorch loop of the same network, precision and memory format.

Also the share of a step that loading and augmentation take. Both loops work on the same batches in turn.

python benchmarks/epoch.py [override ...]      # as of fer_lightning.train; default: 3,000 synthetic faces, conv_poster
"""

import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import hydra
import torch
from rich.console import Console
from torch.nn import functional as F

from fer_lightning.commands import CONF
from fer_lightning.config import plain
from fer_lightning.hardware import choose_precision, has_gpu
from fer_lightning.optimization import build_optimizer
from fer_lightning.run import build, build_trainer

ROUNDS = 3
DEFAULTS = ["data.images=3000", "data.augment={flip: 0.5, shift: 3, rotate: 8, scale: 0.08}", "draw.every=0"]


def lightning_epoch(config: dict) -> float:
    """Images a second of one Lightning epoch, its own count (validation and checkpoints left out)."""
    with tempfile.TemporaryDirectory() as folder:
        datamodule, classifier = build(config)
        trainer, history = build_trainer(config, Path(folder), Console(quiet=True))
        trainer.fit(classifier, datamodule=datamodule)
        return history.rows[-1]["images_per_second"]


def bare_epoch(config: dict) -> tuple[float, float]:
    """Images a second of the same epoch in a bare loop, and the share of it that making the batches took."""
    datamodule, classifier = build(config)
    gpu = has_gpu(config["trainer"]["accelerator"])
    device = torch.device("cuda" if gpu else "cpu")
    precision = choose_precision(config["trainer"]["precision"], config["trainer"]["accelerator"])
    network, normalization = classifier.network.to(device).train(), classifier.normalization.to(device)
    optimizer = build_optimizer(network, config["optimizer"])
    loader = datamodule.train_dataloader()
    loading, images = 0.0, 0
    begin = time.perf_counter()
    batches = iter(loader)
    for _ in range(len(loader)):
        before = time.perf_counter()
        batch = next(batches)
        loading += time.perf_counter() - before
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            pictures = normalization.images(batch.images.to(device))
            features = () if batch.hog is None else (normalization.hog(batch.hog.to(device)),)
            loss = F.cross_entropy(network(pictures, *features), batch.targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        images += len(batch.images)
    if gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    return images / seconds, loading / seconds


def main() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    overrides = [*DEFAULTS, *sys.argv[1:], "trainer.max_epochs=1"]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(hydra.compose("config", overrides))
    lightning_rates, bare_rates, shares = [], [], []
    for number in range(ROUNDS + 1):
        lightning_rate, (bare_rate, share) = lightning_epoch(config), bare_epoch(config)
        if number:  # the first round warms up
            lightning_rates.append(lightning_rate)
            bare_rates.append(bare_rate)
            shares.append(share)
            print(
                f"Lightning {lightning_rate:,.0f} images/s, bare loop {bare_rate:,.0f}, loading {share:.1%} of a step"
            )
    ratios = [a / b for a, b in zip(lightning_rates, bare_rates, strict=True)]
    print(
        json.dumps(
            {
                "benchmark": "epoch",
                "model": config["model"]["name"],
                "lightning_images_per_second": statistics.median(lightning_rates),
                "bare_images_per_second": statistics.median(bare_rates),
                "ratio": statistics.median(ratios),
                "loading_share": statistics.median(shares),
                "target": "ratio 0.95 or more, loading_share 0.05 or less",
            }
        )
    )


if __name__ == "__main__":
    main()
