"""Each recipe of conf/experiment says what it is, its command composes, and it trains."""

import re
import shlex

import pytest
import torch
from tiny_runs import NO_FINALE, ON_CPU, run_fit, settings_from

from fer_lightning.networks import build_network
from fer_lightning.settings import CONF

RECIPES = sorted(CONF.glob("experiment/*.yaml"))
TWO_STEPS = ["data=synthetic", "data.images=70", "data.batch_size=14", "trainer.max_epochs=1", "draw.every=0"]
TWO_STEPS += ["+trainer.limit_train_batches=2", "+trainer.limit_val_batches=1", *ON_CPU, *NO_FINALE]
SMALL = ["model.weights=null", "data.size=63"]
"""In place of weights that would be fetched, and of large pictures."""


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_trains_two_steps(file, tmp_path):
    if file.stem == "finetune_vgg16":
        pytest.skip("two gigabytes: tests/integration/test_vgg16.py")
    small = [*SMALL] if file.stem.startswith("finetune") else []
    small += ["data.soft_labels=null"] * (file.stem == "best_soft")  # they are made by another run
    metrics = run_fit(tmp_path, f"experiment={file.stem}", *TWO_STEPS, *small)
    assert metrics["epochs"] == 1
    assert metrics["train/loss"] < 4  # an untrained network has ln 7 = 1.95


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_says_what_to_expect_and_by_which_command(file):
    head = file.read_text().partition("defaults:")[0]
    assert head.startswith("# @package _global_\n")
    assert all(line.startswith("#") for line in head.splitlines())
    (command,) = re.findall(r"^#   python -m fer_lightning\.train (.*)$", head, re.MULTILINE)
    words = shlex.split(command)
    assert f"experiment={file.stem}" in words
    settings = settings_from(*words)
    if file.stem != "try_out":
        assert "# Source: " in head
        assert "# Expected: " in head
        assert settings.data.name == "fer2013"


def test_the_papers_hyperparameters_are_in_the_papers_recipes():
    for name, (lr, l2, hidden) in {"deep": (0.01, 1e-7, [256, 512]), "shallow": (0.001, 1e-6, [512])}.items():
        for kind in ("", "hybrid_"):
            settings = settings_from(f"experiment=paper_{kind}{name}")
            assert (settings.optimizer.lr, settings.optimizer.weight_decay) == (lr, l2)
            assert settings.model.hidden == hidden
            assert settings.data.batch_size == 128
            assert settings.model.kind == ("hybrid" if kind else "conv")


@pytest.mark.parametrize("file", sorted(CONF.glob("model/*.yaml")), ids=lambda file: file.stem)
def test_a_network_has_the_number_of_parameters_that_its_file_and_the_readme_state(file):
    settings = settings_from(f"model={file.stem}", *["data.size=63"] * (file.stem == "alexnet"))
    with torch.device("meta"):
        count = f"{build_network(settings.model, settings.data.inputs).parameter_count:,}"
    for stated in re.findall(r"([\d,]{7,}) parameters", file.read_text()):
        assert stated == count
    readme = (CONF.parent / "README.md").read_text()
    for stated in re.findall(rf"^\| `{file.stem}` .* \| ([\d,]+) \|$", readme, re.MULTILINE):
        assert stated == count


@pytest.mark.parametrize("name", ["vgg_pooled", "vgg_wide"])
def test_our_own_networks_are_small(name):
    settings = settings_from(f"model={name}")
    network = build_network(settings.model, settings.data.inputs)
    assert network.parameter_count < 4_500_000
    assert 2 * sum(tensor.numel() for tensor in network.state_dict().values()) < 9_000_000  # bytes at half precision
