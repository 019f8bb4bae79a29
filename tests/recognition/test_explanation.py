"""Grad-CAM of a recognizer's networks: of one, of an ensemble, and where there is none."""

import numpy as np
import pytest
import torch
from skimage import data

from fer_lightning.cli import settings_of
from fer_lightning.figures.saliency import grad_cam
from fer_lightning.networks import build_network
from fer_lightning.networks.onnx_files import write_onnx
from fer_lightning.networks.weight_files import TrainedNetwork, load_network, write_weights
from fer_lightning.recognition.explanation import Explanation
from fer_lightning.recognition.recognizer import Recognizer
from fer_lightning.settings import TrainSettings

EMOTIONS = ["happy", "sad"]


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (2, 48, 48), np.uint8)


def expected(path, crops):
    faces = torch.tensor(crops)[:, None].float()
    maps = grad_cam(load_network(path).network, faces, torch.tensor([3, 4]), elementwise=True)
    return maps / maps.amax(dim=(1, 2), keepdim=True)


def test_it_is_the_grad_cam_of_the_network_in_shares_of_its_largest_value(random_weights, crops):
    explanation = Explanation([random_weights[0]], "cpu")
    assert explanation.missing is None
    heat = explanation.heat(crops, EMOTIONS)
    np.testing.assert_allclose(heat, expected(random_weights[0], crops), rtol=1e-4, atol=1e-5)


def test_of_an_ensemble_it_is_the_mean(random_weights, crops):
    mean = torch.stack([expected(path, crops) for path in random_weights]).mean(dim=0)
    heat = Explanation(random_weights, "cpu").heat(crops, EMOTIONS)
    np.testing.assert_allclose(heat, mean / mean.amax(dim=(1, 2), keepdim=True), rtol=1e-4, atol=1e-5)


def test_a_network_without_conv_layers_says_so(compose, tmp_path, crops):
    settings = settings_of(compose("model=fc"), TrainSettings)
    network = build_network(settings.model, settings.data.inputs).eval()
    write_weights(tmp_path / "fc.safetensors", TrainedNetwork(network, settings.model, 0, None, 1), {})
    explanation = Explanation([tmp_path / "fc.safetensors"], "cpu")
    assert "conv layer" in explanation.missing
    assert explanation.heat(crops, EMOTIONS) is None


def test_onnx_weights_say_so(random_weights, tmp_path, crops):
    pytest.importorskip("onnxscript")
    write_onnx(tmp_path / "a.onnx", load_network(random_weights[0]), {}, [crops])
    explanation = Explanation([tmp_path / "a.onnx"], "cpu")
    assert "onnxruntime" in explanation.missing
    assert explanation.heat(crops, EMOTIONS) is None
    beside = Explanation([tmp_path / "a.onnx", random_weights[0]], "cpu")  # an ensemble explains by its other members
    np.testing.assert_array_equal(
        beside.heat(crops, EMOTIONS), Explanation(random_weights[:1], "cpu").heat(crops, EMOTIONS)
    )


def test_no_faces_give_no_maps(random_weights):
    assert Explanation([random_weights[0]], "cpu").heat(np.empty((0, 48, 48), np.uint8), []).shape == (0, 48, 48)


def test_what_speaks_for_a_smile_is_around_the_mouth(bundled_weights):
    found = Recognizer.load(bundled_weights).finder.find(data.astronaut())
    heat = Explanation([bundled_weights], "cpu").heat(found.crops, ["happy"])[0]
    row, _ = np.unravel_index(heat.argmax(), heat.shape)
    assert row > 24  # the lower half of the face
