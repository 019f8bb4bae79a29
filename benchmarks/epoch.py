"""Training: an epoch under Lightning beside a bare PyTorch loop of the same network, precision and memory format.

Both loops train on the same batches, in turn, at batches of 128 and 512. Also the share of a step of the bare loop that
loading, augmentation (flip, affine, erasing) and HOG take.

python benchmarks/epoch.py [override ...]      # as of fer_lightning.train; default: 3,000 synthetic faces
"""

import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import hydra
import torch
from record import report, row
from rich.console import Console
from torch.nn import functional as F

from fer_lightning.cli import settings_of
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.hog import hog
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training.classifiers import ExpressionClassifier
from fer_lightning.training.fit import prepare
from fer_lightning.training.optimizers import build_optimizer
from fer_lightning.training.trainer import build_trainer, choose_precision, has_gpu

ROUNDS = 4
DEFAULTS = [
    "data.images=3000",
    "data.augment={flip: 0.5, shift: 3, rotate: 8, scale: 0.08, erase: 0.25}",
    "compile=false",
    "draw.every=0",
    "draw.deepdream=false",
    "draw.embedding=0",
]


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
    """Images a second of the same epoch in a bare loop, and the share of it that making batches and HOG took."""
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
        faces, features = batch.images.to(device), None if batch.hog is None else batch.hog.to(device)
        if network.uses_hog and features is None:
            features = hog(faces[:, 0], **dict(settings.data.hog))
        loading += time.perf_counter() - before
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = F.cross_entropy(network(faces, features), batch.targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        images += len(batch.images)
    if gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    return images / seconds, loading / seconds


def settings_for(*overrides: str) -> TrainSettings:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("config", [*DEFAULTS, *overrides, *sys.argv[1:], "trainer.max_epochs=1"])
        return settings_of(composed, TrainSettings)


def main() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    rows = []
    for batch_size in (128, 512):
        settings = settings_for(f"data.batch_size={batch_size}")
        rounds = [(lightning_epoch(settings), *bare_epoch(settings)) for _ in range(ROUNDS + 1)][1:]  # one warms up
        ours, bare, share = (statistics.median(values) for values in zip(*rounds, strict=True))
        name = f"{settings.model.name}, batch {batch_size}"
        rows.append(row(f"{name}: a Lightning epoch; a bare loop", ours, bare, "images/s", at_least=0.97))
        rows.append(row(f"{name}: share of loading", share, None, "", at_most=0.05, of="ours"))
    if not any(word.startswith("model=") for word in sys.argv[1:]):
        settings = settings_for("model=hybrid_poster")
        share = statistics.median(bare_epoch(settings)[1] for _ in range(3))
        rows.append(row("hybrid_poster, batch 128: share of loading and HOG", share, None, "", at_most=0.05, of="ours"))
    report("epoch", rows)


if __name__ == "__main__":
    main()
