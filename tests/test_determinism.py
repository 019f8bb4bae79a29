"""The same seed gives the same weights, bit by bit, on one machine."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_lightning.checkpoints import read_checkpoint
from fer_lightning.data.augmentation import Augmentation
from fer_lightning.data.batches import Batches, FaceTensors

EVERYTHING = [
    "data.images=140",
    "draw.every=0",
    "data.batch_size=32",
    "model=hybrid_poster",
    "model.conv=[{filters: 8, kernel: 5, pool: 4, dropout: 0.1}]",
    "model.hidden=[16]",
    "model.dropout=0.3",
    "data.augment={flip: 0.5, shift: 2, rotate: 10, scale: 0.1, erase: 0.3, mixup: 0.2}",
    "schedule=one_cycle",
    "ema.decay=0.9",
    "trainer.max_epochs=2",
]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("more", [[], ["trainer.precision=bf16-mixed"], ["trainer.deterministic=true"]])
def test_the_same_seed_gives_the_same_weights_twice_on_a_cpu(more, train, tmp_path):
    """Whatever was drawn before in the process."""
    arguments = [*EVERYTHING, "trainer.accelerator=cpu", *more]
    for name in ("first", "second"):
        assert train(*arguments, f"hydra.run.dir={tmp_path / name}").code == 0
        torch.rand(7), np.random.rand(7), random.random()  # noqa: NPY002
    assert_same(weights(tmp_path / "first"), weights(tmp_path / "second"))


def test_another_process_with_other_hashes_gives_the_same_weights(train, tmp_path):
    arguments = [*EVERYTHING, "trainer.accelerator=cpu", "trainer.max_epochs=1"]
    assert train(*arguments, f"hydra.run.dir={tmp_path / 'here'}").code == 0
    subprocess.run(
        [sys.executable, "-m", "fer_lightning.train", *arguments, f"hydra.run.dir={tmp_path / 'there'}"],
        env=os.environ | {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": str(torch.get_num_threads())},
        check=True,
        capture_output=True,
    )
    assert_same(weights(tmp_path / "here"), weights(tmp_path / "there"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_the_same_seed_gives_the_same_weights_twice_on_a_gpu(tmp_path):
    """In processes of their own, since cuBLAS takes its workspace when it starts."""
    for name in ("first", "second"):
        command = [sys.executable, "-m", "fer_lightning.train", *EVERYTHING, "trainer.accelerator=gpu"]
        subprocess.run(
            [*command, "trainer.deterministic=true", "trainer.devices=1", f"hydra.run.dir={tmp_path / name}"],
            check=True,
        )
    assert_same(weights(tmp_path / "first"), weights(tmp_path / "second"))


def test_each_epoch_has_an_order_of_its_own_and_the_same_one_again():
    images = torch.arange(100, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 48, 48)
    batches = Batches(FaceTensors(images, torch.zeros(100).long()), torch.arange(100), 50, 3, Augmentation())
    orders = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        orders.append(torch.cat([batch.images[:, 0, 0, 0] for batch in batches]).tolist())
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(100))
