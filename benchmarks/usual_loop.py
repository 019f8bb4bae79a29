"""Training against what people do: the same network in the usual PyTorch loop, images a second.

The usual loop: a Dataset that opens each image's file with PIL, flips and shifts it (and takes scikit-image's HOG for a
hybrid network), a DataLoader with two workers, 32-bit floats, contiguous memory, loss.item() in each step. Ours: a
Lightning run with the same flips and shifts. Each trains three epochs in turn; the first warms up. The same once more
without bf16 instructions (ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2, for both).

python benchmarks/usual_loop.py [--models conv_poster,conv_deep,hybrid_deep,vgg_pooled] [--share 1]
"""

import argparse
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import hydra
import numpy as np
import torch
from PIL import Image, ImageOps
from record import report, row
from rich.console import Console
from skimage.feature import hog as reference_hog
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from fer_lightning.cli import settings_of
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training.classifiers import ExpressionClassifier
from fer_lightning.training.fit import fit, prepare
from fer_lightning.training.optimizers import build_optimizer

BATCHES = {"conv_poster": 10, "conv_deep": 3, "hybrid_deep": 3, "vgg_pooled": 8}
BATCH, SHIFT, EPOCHS, WORKERS = 128, 3, 3, 2
WITHOUT_BF16 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


class FaceFiles(Dataset[tuple[Tensor, Tensor, int]]):
    """Image files one by one, as most training scripts read them: pixels, HOG (empty without it) and label."""

    def __init__(self, files: Sequence[Path], labels: Sequence[int], with_hog: bool):
        self.files, self.labels, self.with_hog = files, labels, with_hog

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        image = Image.open(self.files[index]).convert("L")
        if random.random() < 0.5:
            image = ImageOps.mirror(image)
        right, down = random.uniform(-SHIFT, SHIFT), random.uniform(-SHIFT, SHIFT)
        image = image.transform(
            image.size, Image.Transform.AFFINE, (1, 0, right, 0, 1, down), Image.Resampling.BILINEAR
        )
        pixels = np.asarray(image, dtype=np.float32)
        hog = reference_hog(pixels, 9, (8, 8), (2, 2)).astype(np.float32) if self.with_hog else np.empty(0, np.float32)
        return torch.from_numpy(pixels)[None], torch.from_numpy(hog), self.labels[index]


def settings_for(model: str, *more: str) -> TrainSettings:
    overrides = [f"model={model}", f"data.batch_size={BATCH}", f"data.augment.shift={SHIFT}", "draw.every=0"]
    overrides += ["draw.deepdream=false", "draw.embedding=0", "data.images=2500", "trainer.accelerator=cpu", *more]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return settings_of(hydra.compose("config", overrides), TrainSettings)


def usual_epochs(settings: TrainSettings, folder: Path, batches: int, epochs: int = EPOCHS) -> list[float]:
    """Images a second of each epoch of the usual loop over files in `folder`, which are written first."""
    classifier = ExpressionClassifier(settings)
    datamodule = FaceDataModule(settings.data, classifier.network.uses_hog, settings.seed)
    prepare(classifier, datamodule)
    network = classifier.network.to(memory_format=torch.contiguous_format).train()
    optimizer = build_optimizer(network, settings.optimizer)
    faces = datamodule.loaded
    files = [folder / f"{number}.jpg" for number in range(min(batches * BATCH, len(faces.images)))]
    for file, image in zip(files, faces.images, strict=False):
        Image.fromarray(image[0].numpy()).save(file, quality=95)
    dataset = FaceFiles(files, faces.labels.tolist(), network.uses_hog)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True)
    rates = []
    for _ in range(epochs):
        total, images, began = 0.0, 0, time.perf_counter()
        for pixels, hog, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(pixels, hog if network.uses_hog else None), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            images += len(labels)
        rates.append(images / (time.perf_counter() - began))
    return rates


def our_epochs(settings: TrainSettings, folder: Path) -> list[float]:
    """Images a second of each epoch of a run in `folder`."""
    fit(settings, folder, Console(quiet=True))
    lines = (folder / "history.csv").read_text().splitlines()
    column = lines[0].split(",").index("images_per_second")
    return [float(line.split(",")[column]) for line in lines[1:]]


def measure(models: Sequence[str], share: float, precision: str) -> dict[str, tuple[float, float]]:
    """By network, ours and the usual loop: images a second, the median of the epochs after the first."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    found = {}
    for model in models:
        batches = max(2, round(BATCHES.get(model, 3) * share))
        switches = [f"trainer.max_epochs={EPOCHS}", f"+trainer.limit_train_batches={batches}"]
        settings = settings_for(model, *switches, "+trainer.limit_val_batches=1", f"trainer.precision={precision}")
        with tempfile.TemporaryDirectory() as folder:
            ours = our_epochs(settings, Path(folder) / "run")
            usual = usual_epochs(settings, Path(folder), batches)
        found[model] = (statistics.median(ours[1:]), statistics.median(usual[1:]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(BATCHES))
    parser.add_argument("--share", type=float, default=1.0, help="of the batches that each epoch has")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(measure(given.models.split(","), given.share, given.only)))
        return
    rows, command = [], [sys.executable, __file__, "--models", given.models, "--share", str(given.share)]
    for precision, environment in (("auto", {}), ("32-true", WITHOUT_BF16)):
        process = subprocess.run(
            [*command, "--only", precision], check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )
        for model, (ours, usual) in json.loads(process.stdout.splitlines()[-1]).items():
            name = f"{model}, a run; the usual loop" + (", both AVX2" if environment else "")
            rows.append(row(name, ours, usual, "images/s", at_least=None if environment else 2.5))
    report("usual_loop", rows, batch=BATCH, workers_of_the_usual_loop=WORKERS)


if __name__ == "__main__":
    main()
