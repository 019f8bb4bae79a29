"""VGG-16, half a gigabyte: a state dict of torchvision's loaded, fine-tuned for a step, exported and read."""

import numpy as np
import pytest
import torch
from published_networks import BY_HAND, published
from tiny_runs import NO_FINALE, ON_CPU, run_fit

from fer_lightning.export import export
from fer_lightning.networks.onnx_files import load_onnx
from fer_lightning.networks.weight_files import load_network

ONE_STEP = ["data=synthetic", "data.images=70", "data.batch_size=14", "data.size=32", "data.channels=1", "draw.every=0"]
ONE_STEP += ["trainer.max_epochs=1", "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=1"]


def test_the_recipe_begins_with_the_weights_of_the_file_and_exports(tmp_path):
    weights = published("vgg16")
    torch.save(weights, tmp_path / "vgg16.pth")
    file = f"model.weights={tmp_path / 'vgg16.pth'}"
    run_fit(tmp_path / "run", "experiment=finetune_vgg16", file, *ONE_STEP, *ON_CPU, *NO_FINALE)
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    trained = load_network(checkpoint)
    assert trained.pretrained["weights"] == "vgg16.pth"
    pictures = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():  # the one epoch trained the head alone
        expected = BY_HAND["vgg16"](weights, pictures)
        torch.testing.assert_close(trained.network.features(pictures), expected, rtol=1e-4, atol=1e-4)
    path, difference = export(checkpoint, "onnx", tmp_path / "vgg16.onnx")
    assert difference <= 1e-5
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    with torch.inference_mode():
        expected = trained.network.probabilities(torch.from_numpy(faces)[:, None]).numpy()
    np.testing.assert_allclose(load_onnx(path, 1).probabilities(faces), expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["full", "half"])
def test_its_weights_go_through_safetensors(precision, tmp_path):
    run_fit(tmp_path, "model=vgg16", *ONE_STEP, *ON_CPU, *NO_FINALE)
    path, difference = export(tmp_path / "checkpoints" / "best.ckpt", "safetensors", None, precision)
    assert difference <= (0 if precision == "full" else 1e-2)
    assert load_network(path).model.kind == "vgg16"
