"""One trained run, and checkpoints of small networks with random weights, which take no training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fer_lightning.cli import settings_of
from fer_lightning.networks import build_network
from fer_lightning.settings import VERSION, TrainSettings, dump

SMALL = ("data=synthetic", "data.images=140")
NETWORK = ("model.conv=[{filters: 4, kernel: 7, pool: 4}]", "model.hidden=[16]", "data.batch_size=16", "draw.every=0")


@pytest.fixture(scope="session")
def run(train, tmp_path_factory) -> Path:
    """The run folder of a hybrid network that was trained for one epoch on SMALL."""
    folder = tmp_path_factory.mktemp("runs") / "hybrid"
    quick = ("trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.precision=32-true")
    ended = train(*SMALL, *NETWORK, *quick, "model=hybrid_poster", f"hydra.run.dir={folder}")
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="session")
def checkpoint(run, compose, tmp_path_factory) -> Callable[[str], Path]:
    """Path of a checkpoint in a run folder: `hybrid` is of `run`; `conv0`, `conv1`, ... have random weights."""
    folder = tmp_path_factory.mktemp("random")

    def path_of(name: str) -> Path:
        path = (run if name == "hybrid" else folder / name) / "checkpoints" / "best.ckpt"
        if not path.exists():
            path.parent.mkdir(parents=True)
            seed = int(name.removeprefix("conv"))
            settings = settings_of(compose(*SMALL, *NETWORK, "model=conv_poster", f"seed={seed}"), TrainSettings)
            torch.manual_seed(seed)
            network = build_network(settings.model, settings.data.inputs)
            network.preprocessing.mean.fill_(120.0)
            network.preprocessing.std.fill_(60.0)
            torch.nn.init.normal_(network.head.scores.weight)
            content = {
                "state_dict": {f"network.{key}": value for key, value in network.state_dict().items()},
                "hyper_parameters": {"model": dump(settings.model), "inputs": dump(settings.data.inputs), "seed": seed},
                "config": dump(settings),
                "settings_version": VERSION,
            }
            torch.save(content, path)
        return path

    return path_of
