"""Small networks of every kind, and one drawn face of each emotion."""

import pytest
import torch
from PIL import ImageDraw
from torch import nn

from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.activations import one_face_each
from fer_lightning.hog import hog
from fer_lightning.networks import ExpressionNetwork, build_network
from fer_lightning.settings import ConvLayer, ConvModel, FullyConnectedModel, HogSettings, InputSettings

HOG = HogSettings(orientations=9, pixels_per_cell=8, cells_per_block=2, block_norm="L2-Hys")
SHARED = {"hidden": [12], "batch_norm": True, "dropout": 0.0, "label_smoothing": 0.0, "class_weights": False}
SHARED |= {"weights": None, "new_head": False}


def make_network(kind: str = "conv", dropout: float = 0.0) -> ExpressionNetwork:
    """An untrained network in evaluation mode, its last layer and the shifts of its normalisation made uneven."""
    torch.manual_seed(0)
    conv = [ConvLayer(filters=f, kernel=k, pool=2, dropout=dropout) for f, k in ((6, 5), (8, 3))]
    if kind == "fc":
        model = FullyConnectedModel(name=kind, kind=kind, input="hog", **SHARED)
    else:
        model = ConvModel(name=kind, kind=kind, conv=conv, **SHARED)
    network = build_network(model, InputSettings(channels=1, size=48, hog=HOG))
    nn.init.normal_(network.head.scores.weight)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    network.preprocessing.mean.fill_(120.0)
    network.preprocessing.std.fill_(60.0)
    return network.eval()


@pytest.fixture(name="make_network", scope="session")
def _make_network():
    return make_network


@pytest.fixture(scope="session")
def faces():
    """(faces (7, 1, 48, 48) uint8, labels (7,)): one of each emotion, in order."""
    drawn = synthetic_faces(70)
    images, labels = torch.from_numpy(drawn.images)[:, None], torch.from_numpy(drawn.labels).long()
    rows = one_face_each(images, labels, len(EXPRESSIONS))
    return images[rows], labels[rows]


@pytest.fixture(scope="session", params=["conv", "hybrid", "fc"])
def trained(request):
    """A small network of each kind that has learnt most of 210 drawn faces by heart."""
    drawn = synthetic_faces(210)
    images, labels = torch.from_numpy(drawn.images)[:, None].float(), torch.from_numpy(drawn.labels).long()
    network, hog_mean, hog_std = make_network(request.param), torch.empty(0), torch.empty(0)
    if network.uses_hog:
        hog_std, hog_mean = torch.std_mean(hog(images[:, 0], **dict(HOG)), dim=0)
    mean = images.mean(dim=0)
    network.preprocessing.set_statistics(mean, (images - mean).std(), hog_mean, hog_std.clamp_min(1e-3))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    network.train()
    for step in range(40):
        chosen = slice(step % 3 * 70, step % 3 * 70 + 70)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture
def drawn_text(monkeypatch):
    """The texts that Pillow draws, line by line, as they are drawn."""
    words, draw = [], ImageDraw.ImageDraw.text

    def text(pen, place, what, *others, **settings):
        words.extend(what.split("\n"))
        draw(pen, place, what, *others, **settings)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return words
