"""What several chapters of the tests share: the real set, the composed config, the train command in process."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import hydra
import matplotlib
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from fer_lightning.settings import CONF

BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "data" / "fer2013.zip"


@pytest.fixture(scope="session")
def fer2013() -> Path:
    """The real FER2013 as a zip of images: `FER2013=path`, or ../shared/data/fer2013.zip beside the project."""
    path = Path(os.environ.get("FER2013", BESIDE_THE_PROJECT))
    if not path.exists():
        pytest.skip(f"the real FER2013 is not at {path}; set FER2013=path to run this test")
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither use nor fill the user's cache, but for matplotlib's list of fonts, which takes seconds to make."""
    matplotlib.get_cachedir()  # kept from its first call on
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def compose() -> Callable[..., DictConfig]:
    """Compose the train config with overrides, as the command line does."""

    def composed(*overrides: str) -> DictConfig:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose("config", list(overrides))

    return composed


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def run_command() -> Callable[..., Ended]:
    """`python -m fer_lightning.NAME ARGUMENTS` in this process, which saves importing torch each time."""

    def run(name: str, *arguments: object) -> Ended:
        main = import_module(f"fer_lightning.{name}").main
        out, err, code, before = io.StringIO(), io.StringIO(), 0, sys.argv
        sys.argv = [name, *map(str, arguments)]
        GlobalHydra.instance().clear()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.argv = before
        return Ended(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def train(run_command: Callable[..., Ended]) -> Callable[..., Ended]:
    """`python -m fer_lightning.train OVERRIDES` in this process."""
    return partial(run_command, "train")


@pytest.fixture(scope="session")
def drawn_runs(train: Callable[..., Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs `shallow` and `deep` in one folder: two epochs on synthetic faces, every picture drawn."""
    networks = {
        "shallow": ("model=conv_shallow", "model.conv=[{filters: 4, pool: 4}]"),
        "deep": ("model=conv_deep", "model.conv=[{filters: 6, kernel: 7, pool: 4},{filters: 4, pool: 2}]"),
    }
    small = ["data.images=210", "data.batch_size=32", "model.hidden=[8]", "optimizer.lr=0.05", "trainer.max_epochs=2"]
    small += ["trainer.accelerator=cpu", "trainer.precision=32-true", "draw.share=1", "draw.embedding=14"]
    folder = tmp_path_factory.mktemp("drawn")
    for name, model in networks.items():
        ended = train(*small, *model, f"hydra.run.dir={folder / name}")
        assert ended.code == 0, ended.err
    return folder
