"""A run on two processes (gloo, CPU) has the figures of one process, and writes each file once."""

import csv
import subprocess
import sys

import pytest
import torch

from fer_lightning.data.loader import Batches, FaceTensors

SETTINGS = [
    "data.images=140",
    "data.batch_size=21",  # 11 and 10 images
    "model=fc",
    "model.hidden=[16]",
    "model.batch_norm=false",
    "model.class_weights=true",
    "optimizer.lr=0.05",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "draw.every=0",
    "trainer.max_epochs=3",
]
LIGHTNING = [sys.executable, "-m", "fer_lightning.train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "fer_lightning.train"]


def rows_of(folder):
    return list(csv.DictReader((folder / "history.csv").read_text().splitlines()))


@pytest.mark.parametrize("launcher", [LIGHTNING, TORCHRUN], ids=["lightning", "torchrun"])
def test_two_processes_have_the_figures_of_one(launcher, train, tmp_path):
    assert train(*SETTINGS, f"hydra.run.dir={tmp_path / 'one'}").code == 0
    several = [*SETTINGS, "trainer.devices=2", "+trainer.strategy=ddp", f"hydra.run.dir={tmp_path / 'two'}"]
    ended = subprocess.run([*launcher, *several], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("train loss") == ended.stdout.count("1/3 ") == 1
    one, two = rows_of(tmp_path / "one"), rows_of(tmp_path / "two")
    assert len(one) == len(two) == 3
    for expected, found in zip(one, two, strict=True):
        for name in ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "val/macro_f1"):
            assert float(found[name]) == pytest.approx(float(expected[name]), abs=1e-5), name


@pytest.mark.parametrize(("images", "world"), [(1025, 2), (3589, 7), (3, 7)])
def test_each_image_is_scored_once_in_equally_many_steps(images, world):
    faces = FaceTensors(torch.zeros(images, 1, 48, 48, dtype=torch.uint8), torch.arange(images))
    given = [list(Batches(faces, torch.arange(images), 512, rank=rank, world=world)) for rank in range(world)]
    assert len({len(batches) for batches in given}) == 1
    seen = torch.cat([batch.targets for batches in given for batch in batches])
    assert sorted(seen.tolist()) == list(range(images))
