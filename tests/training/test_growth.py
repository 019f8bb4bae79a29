"""Pictures that grow during a run: which side each epoch has, what the network is given, and what is refused."""

import shutil

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny_runs import RANDOM, STEPS, differences, run_fit, settings_from, stop_fit
from torch.nn import functional as F

from fer_lightning.errors import InputError
from fer_lightning.networks import build_network
from fer_lightning.training.classifiers import ExpressionClassifier
from fer_lightning.training.growth import side_in

GROWING = [*RANDOM, "data.grow=[24,36]", "trainer.max_epochs=3"]


@pytest.mark.parametrize(
    ("grow", "epochs", "sides"),
    [
        ([], 2, [48, 48]),
        ([24], 4, [24, 24, 48, 48]),
        ([24, 32, 40], 4, [24, 32, 40, 48]),
        ([24, 24, 32], 8, [24] * 4 + [32] * 2 + [48] * 2),
        ([24, 32], 7, [24, 24, 32, 32, 48, 48, 48]),
        ([24, 32, 40], 2, [32, 48]),
        ([24, 32, 40], 1, [48]),
    ],
)
def test_the_parts_of_a_run_are_equally_long_and_the_last_has_the_full_size(grow, epochs, sides):
    assert [side_in(epoch, epochs, grow, 48) for epoch in range(epochs)] == sides


class Sides(Callback):
    """The sides of the pictures that the first layer gets, by epoch, in training and in validation."""

    def __init__(self) -> None:
        self.training: list[set[int]] = []
        self.validation: set[int] = set()

    def on_train_start(self, trainer, pl_module) -> None:
        pl_module.network.features.conv1.register_forward_pre_hook(self.record)

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.training.append(set())

    def record(self, module, inputs) -> None:
        (self.training[-1] if module.training else self.validation).add(inputs[0].shape[-1])


def test_a_network_is_trained_on_growing_pictures_and_validated_at_full_size(tmp_path):
    seen = Sides()
    run_fit(tmp_path, *GROWING, callbacks=[seen])
    assert seen.training == [{24}, {36}, {48}]
    assert seen.validation == {48}


def test_a_limit_of_steps_shortens_all_parts(tmp_path):
    seen = Sides()
    run_fit(tmp_path, *GROWING, "trainer.max_epochs=30", f"+trainer.max_steps={3 * STEPS}", callbacks=[seen])
    assert seen.training == [{24}, {36}, {48}]


@pytest.mark.parametrize("step", [STEPS - 1, STEPS + 2, 2 * STEPS + 1])
def test_a_growing_run_stopped_at_any_side_is_resumed_exactly(step, uninterrupted, tmp_path):
    stop_fit(tmp_path, *GROWING, step=step)
    run_fit(tmp_path, *GROWING, "resume=true")
    assert differences(uninterrupted(*GROWING), tmp_path) == []


def test_another_number_of_epochs_cannot_resume_a_growing_run(uninterrupted, tmp_path):
    constant = [*GROWING, "schedule=constant"]
    shutil.copytree(uninterrupted(*constant), tmp_path / "run")
    with pytest.raises(InputError, match=r"trainer.max_epochs was 3 .* data.grow depend on it"):
        run_fit(tmp_path / "run", *constant, "trainer.max_epochs=5", "resume=true")


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_smaller_pictures_give_features_of_the_same_size_by_the_last_pooling_alone(dropout):
    layers = "[{filters: 4, pool: 2}, {filters: 5, pool: 2, dropout: " + str(dropout) + "}]"
    settings = settings_from("model=vgg_pooled", f"model.conv={layers}", "model.hidden=[8]")
    features = build_network(settings.model, settings.data.inputs).features.eval()
    assert features(torch.rand(2, 1, 48, 48)).shape == (2, 5, 12, 12)
    for side in (8, 24, 32, 40):
        pictures = torch.rand(2, 1, side, side)
        block = features.conv2
        expected = F.adaptive_max_pool2d(block.norm(block.conv(features.conv1(pictures))).relu(), 12)
        torch.testing.assert_close(features(pictures), expected)


def test_small_pictures_are_the_antialiased_normalised_faces_and_hog_is_that_of_the_faces():
    settings = settings_from("model=hybrid_poster", "model.conv=[{filters: 4, pool: 4}]", "model.hidden=[8]")
    network = build_network(settings.model, settings.data.inputs).eval()
    torch.nn.init.normal_(network.head.scores.weight)
    faces = torch.rand(3, 1, 48, 48) * 255
    pictures, hog = network.preprocessing(faces)
    halved = F.interpolate(pictures, (24, 24), mode="bilinear", antialias=True)
    torch.testing.assert_close(network(faces, side=24), network.head.scores(network.embed(halved, hog)))
    assert torch.equal(network(faces, side=48), network(faces))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=conv_poster", "model.conv=[{filters: 4, kernel: 9, padding: 0}, {filters: 4}]", "data.grow=[8]"],
            r"data.grow: pictures of 8 x 8 pixels are too small for this network",
        ),
        (["model=vgg_pooled", "data.grow=[24,64]"], r"data.grow=\[24, 64\]: larger than data.size=48"),
        (["model=vgg_pooled", "data.grow=[4]"], r"data.grow=\[4\]: expected a list of sides in pixels, 8 to 512"),
        (["model=fc", "data.grow=[24]"], r"data.grow: model=fc has no conv layers"),
        (
            ["model=vgg_pooled", "data.grow=[24]", "+trainer.max_time=00:01:00:00", "schedule=constant"],
            r"data.grow: it needs the number of epochs",
        ),
    ],
)
def test_sides_that_cannot_be_are_one_message(overrides, message):
    with pytest.raises(InputError, match=message):
        ExpressionClassifier(settings_from(*overrides))
