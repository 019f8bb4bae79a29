"""Fine-tuning: which layers change in which epoch, rates by stage, and runs that no longer need the file of weights."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from tiny_runs import NO_FINALE, ON_CPU, RANDOM, STEPS, differences, run_fit, settings_from, stop_fit, weights

from fer_lightning.errors import InputError
from fer_lightning.networks import build_network
from fer_lightning.networks.weight_files import load_network, read_checkpoint
from fer_lightning.training.optimizers import build_optimizer

CONV = ["data.images=70", "data.batch_size=28", "model=conv_poster", "model.hidden=[8]", "optimizer.lr=0.1", *ON_CPU]
CONV += ["model.conv=[{filters: 4, kernel: 7, pool: 4}, {filters: 4, pool: 2}]", "draw.every=0", *NO_FINALE]
RESNET = ["data.images=70", "data.batch_size=28", "data.size=32", "model=resnet18", "trainer.max_epochs=1"]
RESNET += ["draw.every=0", *ON_CPU, *NO_FINALE]

HEAD = "network.head."
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class WeightsByEpoch(Callback):
    """The weights before training and after each epoch."""

    def __init__(self) -> None:
        self.kept: list[dict[str, torch.Tensor]] = []

    def _keep(self, module: Any) -> None:
        self.kept.append({name: value.clone() for name, value in module.state_dict().items()})

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._keep(pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._keep(pl_module)

    def changed(self, epoch: int) -> set[str]:
        """The layers' parameters and statistics that changed in an epoch."""
        before, after = self.kept[epoch : epoch + 2]
        return {name for name in self.names() if not torch.equal(before[name], after[name])}

    def names(self, start: str = "network.", ends: tuple[str, ...] = ("",)) -> set[str]:
        """All but biases, which have no gradient where batch normalisation follows."""
        layers = (name for name in self.kept[0] if name.startswith(("network.features.", HEAD)))
        layers = (name for name in layers if not name.endswith(("conv.bias", "linear.bias")))
        return {name for name in layers if name.startswith(start) and name.endswith(ends)}


def test_the_head_is_trained_first_and_then_all(tmp_path):
    seen = WeightsByEpoch()
    run_fit(tmp_path, *CONV, "trainer.max_epochs=3", "finetune.head_epochs=2", callbacks=[seen])
    assert [seen.changed(epoch) for epoch in (0, 1)] == [seen.names(HEAD)] * 2
    assert seen.changed(2) == seen.names()


@pytest.mark.parametrize(
    ("norm", "fixed"),
    [("train", ()), ("statistics", STATISTICS), ("frozen", (*STATISTICS, "norm.weight", "norm.bias"))],
)
def test_batch_normalisation_below_the_head_is_trained_as_asked(norm, fixed, tmp_path):
    seen = WeightsByEpoch()
    run_fit(tmp_path, *CONV, "trainer.max_epochs=1", f"finetune.norm={norm}", callbacks=[seen])
    assert seen.changed(0) == seen.names() - seen.names("network.features.", fixed)


def test_each_stage_has_its_share_of_the_rate_of_the_stage_above():
    settings = settings_from("model=resnet18", "optimizer.lr=0.5", "optimizer.weight_decay=0.1")
    network = build_network(settings.model, settings.data.inputs)
    optimizer = build_optimizer(network, settings.optimizer, layer_decay=0.5)
    assert optimizer.param_groups[0]["lr"] == 0.5  # the one that is logged
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    depths = {"head": 0, "features.layer4": 1, "features.layer3": 2, "features.layer2": 3, "features.layer1": 4}
    for name, parameter in network.named_parameters():
        depth = next((depth for start, depth in depths.items() if name.startswith(start)), 5)
        assert found.pop(id(parameter)) == (0.5 * 0.5**depth, 0.1 if parameter.ndim > 1 else 0.0), name
    assert not found


def test_a_schedule_is_a_factor_of_every_stages_rate(tmp_path):
    class Rates(Callback):
        seen: list[list[float]] = []

        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            self.seen.append([group["lr"] for group in trainer.optimizers[0].param_groups[::2]])

    cosine = ("schedule=cosine", "finetune.layer_decay=0.5", "trainer.max_epochs=2")
    run_fit(tmp_path, *CONV, *cosine, callbacks=[Rates()])
    assert len(Rates.seen) == 4
    for rates, factor in zip(Rates.seen, (1, 0.8535534, 0.5, 0.1464466), strict=True):
        assert rates == pytest.approx([0.1 * factor, 0.05 * factor, 0.025 * factor])


@pytest.mark.parametrize("step", [2, STEPS, STEPS + 2], ids=["in the head's epoch", "between the two", "after it"])
def test_a_run_that_is_stopped_around_the_change_ends_as_one_that_was_not(step, uninterrupted, tmp_path):
    tuned = (*RANDOM, "finetune.head_epochs=1", "finetune.layer_decay=0.5")
    assert stop_fit(tmp_path, *tuned, step=step) == "SIGTERM"
    run_fit(tmp_path, *tuned, "resume=true")
    assert differences(uninterrupted(*tuned), tmp_path) == []


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """A run of resnet18 on synthetic faces."""
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    run_fit(folder, *RESNET, console=Console(file=(screen := io.StringIO()), width=200))
    (folder / "screen.txt").write_text(screen.getvalue())
    return folder


def test_it_is_said_that_the_three_channels_are_grey(pretrained):
    said = "note: data.channels=1: resnet18 gets grey pictures, the same in each channel; data.channels=3 reads colour."
    assert said in (pretrained / "screen.txt").read_text()


def test_a_fine_tuned_run_does_not_need_the_file_it_began_with(pretrained, tmp_path):
    file = tmp_path / "weights.ckpt"
    shutil.copy(pretrained / "checkpoints" / "best.ckpt", file)
    tuned = [*RESNET, "data.seed=1", f"model.weights={file}", "finetune.layer_decay=0.5", "finetune.head_epochs=1"]
    tuned = [word for word in tuned if word != "trainer.max_epochs=1"] + ["trainer.max_epochs=2"]
    stop_fit(tmp_path / "run", *tuned, step=1)
    assert {name: value for name, value in weights(tmp_path / "run").items() if "features" in name and "0.bn" in name}
    file.unlink()
    metrics = run_fit(tmp_path / "run", *tuned, "resume=true")
    kept = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["pretrained"]
    assert kept == metrics["pretrained"]
    assert (kept["weights"], kept["head"], len(kept["sha256"])) == ("weights.ckpt", "kept", 64)
    trained = load_network(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert trained.pretrained == kept
    with pytest.raises(InputError, match=r"weights.ckpt: no such file"):
        run_fit(tmp_path / "another", *tuned)
    assert not (tmp_path / "another" / "checkpoints").exists()


def test_training_begins_with_the_weights_of_the_file(pretrained, tmp_path):
    seen = WeightsByEpoch()
    file = pretrained / "checkpoints" / "best.ckpt"
    run_fit(tmp_path, *RESNET, f"model.weights={file}", "finetune.head_epochs=1", callbacks=[seen])
    before = read_checkpoint(file)["state_dict"]
    assert all(torch.equal(seen.kept[0][name], before[name]) for name in before if name.startswith("network.features"))
    assert seen.changed(0) <= {name for name in before if name.startswith(HEAD)}


REFUSED = {
    "finetune: the layers of fc are all of its head": ("model=fc", "finetune.head_epochs=1"),
    "finetune.norm=frozen: vgg16 has no batch normalisation": ("model=vgg16", "finetune.norm=frozen"),
    "finetune.head_epochs: on one device alone": ("finetune.head_epochs=1", "trainer.devices=2"),
    "data.grow=48: alexnet takes pictures of 63 pixels or more": ("model=alexnet", "data.size=96", "data.grow=[48,96]"),
    "finetune.layer_decay=0: expected a number above 0, at most 1": ("finetune.layer_decay=0",),
}


@pytest.mark.parametrize("said", REFUSED)
def test_settings_without_effect_are_refused(said):
    with pytest.raises(InputError, match=said):
        settings_from(*REFUSED[said])
