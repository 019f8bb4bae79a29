"""The settings of a training run from overrides, composed as the command line composes them."""

import hydra
from hydra.core.global_hydra import GlobalHydra

from fer_lightning.cli.command import settings_of
from fer_lightning.settings import CONF, TrainSettings


def train_settings(*overrides: str) -> TrainSettings:
    """The checked settings of `python -m fer_lightning.train OVERRIDES`. Raises InputError for wrong values."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return settings_of(hydra.compose("config", list(overrides)), TrainSettings)
