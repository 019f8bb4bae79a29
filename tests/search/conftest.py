"""A study of two dimensions, opened as by several processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hydra_plugins.fer_search.sweeper import read_space

from fer_lightning.cli import settings_of
from fer_lightning.search.study import Study
from fer_lightning.settings import CONF, SearchSettings, TrainSettings


@pytest.fixture(scope="session")
def search_settings() -> Callable[..., SearchSettings]:
    """The settings of conf/hydra/sweeper/study.yaml, random sampling, with changes."""
    usual = yaml.safe_load((CONF / "hydra" / "sweeper" / "study.yaml").read_text())
    values = {key: value for key, value in usual.items() if key[0] != "_"}
    return lambda **changed: SearchSettings(**{**values, "sampler": "random", **changed})


@pytest.fixture(scope="session")
def space():
    return read_space({"optimizer.lr": "tag(log, interval(0.1, 1))", "model.dropout": "interval(0, 1)"}, [])


@pytest.fixture(scope="session")
def train_settings(compose) -> TrainSettings:
    return settings_of(compose("model=fc"), TrainSettings)


@pytest.fixture
def open_study(train_settings, search_settings, space) -> Iterator[Callable[..., Study]]:
    """Opens a study as another process would; all are closed in the end."""
    opened = []

    def open_one(folder: Path, **changed) -> Study:
        opened.append(Study(folder, search_settings(**changed), space, train_settings))
        return opened[-1]

    yield open_one
    for study in opened:
        study.close()
