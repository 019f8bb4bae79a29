"""What several chapters of the tests share: the real set, the composed config, the train command in process."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hydra
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
    """Tests neither use nor fill the user's cache."""
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
def train() -> Callable[..., Ended]:
    """`python -m fer_lightning.train OVERRIDES` in this process, which saves importing torch each time."""
    from fer_lightning.train import main

    def run(*overrides: str) -> Ended:
        out, err, code = io.StringIO(), io.StringIO(), 0
        arguments = sys.argv
        sys.argv = ["train", *overrides]
        GlobalHydra.instance().clear()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.argv = arguments
        return Ended(code, out.getvalue(), err.getvalue())

    return run
