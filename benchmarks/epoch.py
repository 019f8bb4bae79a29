"""Training: an epoch under Lightning beside a bare PyTorch loop of the same network, precision and memory format.

Also the share of a step that loading and augmentation take. Both loops train on the same batches, in turn.
The last line is JSON.

python benchmarks/epoch.py [override ...]      # as of fer_lightning.train; default: 3,000 synthetic faces, conv_poster
"""

import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import hydra
import torch
from rich.console import Console
from torch.nn import functional as F

from fer_lightning.cli import settings_of
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training.classifiers import ExpressionClassifier
from fer_lightning.training.fit import prepare
from fer_lightning.training.optimizers import build_optimizer
from fer_lightning.training.trainer import build_trainer, choose_precision, has_gpu

ROUNDS = 3
DEFAULTS = ["data.images=3000", "data.augment={flip: 0.5, shift: 3, rotate: 8, scale: 0.08}", "draw.every=0"]


def prepared(settings: TrainSettings) -> tuple[FaceDataModule, ExpressionClassifier]:
    """Faces in memory and an untrained classifier."""
    classifier = ExpressionClassifier(settings)
    datamodule = FaceDataModule(settings.data, classifier.network.uses_hog, settings.seed)
    prepare(classifier, datamodule)
    return datamodule, classifier


def lightning_epoch(settings: TrainSettings) -> float:
    """Images a second of one Lightning epoch, its own count (validation and checkpoints left out)."""
    with tempfile.TemporaryDirectory() as folder:
        datamodule, classifier = prepared(settings)
        trainer, history = build_trainer(settings, Path(folder), Console(quiet=True))
        trainer.fit(classifier, datamodule=datamodule)
        return history.rows[-1]["images_per_second"]


def bare_epoch(settings: TrainSettings) -> tuple[float, float]:
    """Images a second of the same epoch in a bare loop, and the share of it that making the batches took."""
    datamodule, classifier = prepared(settings)
    gpu = has_gpu(settings.trainer.accelerator)
    device = torch.device("cuda" if gpu else "cpu")
    precision = choose_precision(settings.trainer.precision, settings.trainer.accelerator)
    network = classifier.network.to(device).train()
    optimizer = build_optimizer(network, settings.optimizer)
    loader = datamodule.train_dataloader()
    loading, images = 0.0, 0
    begin = time.perf_counter()
    batches = iter(loader)
    for _ in range(len(loader)):
        before = time.perf_counter()
        batch = next(batches)
        loading += time.perf_counter() - before
        hog = None if batch.hog is None else batch.hog.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = F.cross_entropy(network(batch.images.to(device), hog), batch.targets.to(device))
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
    warnings.filterwarnings("ignore", module="lightning.*")
    overrides = [*DEFAULTS, *sys.argv[1:], "trainer.max_epochs=1"]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", overrides), TrainSettings)
    lightning_rates, bare_rates, shares = [], [], []
    for number in range(ROUNDS + 1):
        lightning_rate, (bare_rate, share) = lightning_epoch(settings), bare_epoch(settings)
        if number:  # the first round warms up
            lightning_rates.append(lightning_rate)
            bare_rates.append(bare_rate)
            shares.append(share)
            print(
                f"Lightning {lightning_rate:,.0f} images/s, bare loop {bare_rate:,.0f}, loading {share:.1%} of a step"
            )
    ratios = [a / b for a, b in zip(lightning_rates, bare_rates, strict=True)]
    result = {
        "benchmark": "epoch",
        "model": settings.model.name,
        "lightning_images_per_second": statistics.median(lightning_rates),
        "bare_images_per_second": statistics.median(bare_rates),
        "ratio": statistics.median(ratios),
        "loading_share": statistics.median(shares),
        "target": "ratio 0.95 or more, loading_share 0.05 or less",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
