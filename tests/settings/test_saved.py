"""Settings kept in files: what a file lacks counts as conf's default, and files name nothing outside of conf/."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fer_lightning.errors import InputError
from fer_lightning.networks.weight_files import read_checkpoint
from fer_lightning.settings import (
    CONF,
    MAY_CHANGE,
    VERSION,
    DataOnly,
    NetworkSettings,
    TrainSettings,
    dump,
    flatten,
    parse,
    require_same,
    restore,
)
from fer_lightning.settings.saved import defaults

GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "logger")
CHOICES = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
VERSION_1 = Path(__file__).parents[1] / "networks" / "version_1" / "best.ckpt"


@pytest.fixture(scope="module")
def values(compose) -> dict[str, Any]:
    """The composed config of a training run, plain."""
    found: Any = OmegaConf.to_container(compose(), resolve=True)
    return found


def without(values: dict[str, Any], key: str) -> dict[str, Any]:
    name, _, rest = key.partition(".")
    kept = {other: value for other, value in values.items() if other != name}
    return kept | {name: without(values[name], rest)} if rest else kept


def given(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    name, dot, rest = key.partition(".")
    return {**values, name: given(values.get(name, {}), rest, value) if dot else value}


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_the_defaults_of_a_choice_are_those_that_hydra_composes(group, choice, compose):
    assert defaults(group, choice) == OmegaConf.to_container(compose(f"{group}={choice}")[group])


def test_each_key_that_a_file_lacks_counts_as_its_default(values):
    whole = parse(TrainSettings, values)
    for key in flatten(values):
        if not key.endswith((".name", ".kind")):
            assert restore(TrainSettings, without(values, key), VERSION, "file") == whole, key
    for group in ("draw", "cv", "ema", "finetune", "early_stopping"):
        assert restore(TrainSettings, without(values, group), VERSION, "file") == whole, group


def test_defaults_are_those_of_the_choice_that_the_file_names():
    found = restore(DataOnly, {"data": {"name": "ferplus", "path": "a.csv"}}, VERSION, "file").data
    assert (found.name, found.path, found.soft, found.check_counts) == ("ferplus", "a.csv", False, True)
    network = {"model": {"name": "hybrid_deep", "hidden": [3]}, "inputs": dump(found.inputs)}
    restored = restore(NetworkSettings, network, VERSION, "file")
    assert (restored.model.kind, len(restored.model.conv), restored.model.hidden) == ("hybrid", 4, [3])


def test_a_network_of_ones_own_name_has_the_defaults_that_all_networks_share():
    model = {"name": "mine", "kind": "fc", "input": "hog", "hidden": [3]}
    inputs = dump(restore(DataOnly, {"data": {"name": "synthetic"}}, VERSION, "file").data.inputs)
    assert restore(NetworkSettings, {"model": model, "inputs": inputs}, VERSION, "file").model.dropout == 0
    with pytest.raises(InputError, match=r"^file: model.conv is missing"):
        restore(
            NetworkSettings,
            {"model": {"name": "mine", "kind": "conv", "hidden": []}, "inputs": inputs},
            VERSION,
            "file",
        )


def test_settings_of_version_1_are_read():
    content = read_checkpoint(VERSION_1)
    assert "settings_version" not in content
    settings = restore(TrainSettings, content["config"], 1, "file")
    assert (settings.model.name, settings.ema.decay, settings.trainer.max_epochs) == ("hybrid_poster", 0.9, 8)


@pytest.mark.parametrize("version", [0, VERSION + 1, "2", None, 1.0])
def test_an_unknown_version_is_refused(version, values):
    with pytest.raises(InputError, match=rf"^file: its settings have version .*; this program reads 1 to {VERSION}"):
        restore(TrainSettings, values, version, "file")


@pytest.mark.parametrize("content", [[1], "x", None, 3])
def test_a_file_without_settings_is_told(content):
    with pytest.raises(InputError, match=r"^file: it holds no settings"):
        restore(TrainSettings, content, VERSION, "file")


@pytest.mark.parametrize("key", ["optimizer.lrr", "data.folder", "optimzer"])
def test_unknown_keys_of_a_file_are_refused(key, values):
    with pytest.raises(InputError, match=rf"^file: {key}: no such setting"):
        restore(TrainSettings, given(values, key, 1), VERSION, "file")


@pytest.mark.parametrize("group", GROUPS)
def test_a_name_in_a_file_names_no_file_outside_of_its_group(group, tmp_path, values):
    (tmp_path / "x.yaml").write_text("lr: 0.5\nevil: 1\n")
    outside = [
        str(tmp_path / "x"),
        "../config",
        "../data/synthetic",
        "../../x",
        "../optimizer/sgd",
        "\0",
        "",
        [1],
        {},
        7,
    ]
    for name in outside:
        assert defaults(group, name) == defaults(group, "mine")
        with pytest.raises(InputError, match=rf"^file: {group}[.=]"):
            restore(TrainSettings, given(values, group, {"name": name, "evil": 1}), VERSION, "file")


def test_settings_that_change_nothing_of_what_is_trained_may_differ(values):
    before = parse(TrainSettings, values)
    changes = {
        "resume": True,
        "compile": True,
        "checkpoint_minutes": 1,
        "data.path": "x",
        "data.cache_dir": "y",
        "draw.every": 0,
        "cv.workers": 2,
    }
    changes["logger"] = {"name": "csv"}
    for key, value in changes.items():
        require_same(before, parse(TrainSettings, given(values, key, value)), "the run")
    assert {
        key.split(".")[0] if key.startswith(("draw", "logger")) else key for key in [*changes, "data.votes"]
    } == MAY_CHANGE


@pytest.mark.parametrize("devices", [[0], [1], "1", "3,"], ids=str)
def test_another_device_is_no_other_run_but_another_number_of_them_is(devices, values):
    one = [parse(TrainSettings, given(values, "trainer.devices", each)) for each in (1, devices)]
    for before, now in (one, one[::-1]):
        require_same(before, now, "the run")
    with pytest.raises(InputError, match=r"^trainer.devices was 1 in the run and is 2 now"):
        require_same(one[1], parse(TrainSettings, given(values, "trainer.devices", [0, 1])), "the run")
    two = [parse(TrainSettings, given(values, "trainer.devices", each)) for each in (2, [1, 3], "0,1")]
    for other in two:
        require_same(two[0], other, "the run")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", 1, "seed was 0 in the run in R and is 1 now. Give the same settings, or another folder"),
        ("optimizer.lr", 0.5, "optimizer.lr was 0.01 in the run in R and is 0.5 now"),
        ("trainer.max_epochs", 3, "trainer.max_epochs was 30"),
        ("trainer.max_steps", 3, "trainer.max_steps was None in the run in R and is 3 now"),
        ("model.hidden", [1], r"model.hidden was [256, 512] in the run in R and is [1] now"),
        ("schedule", {"name": "plateau", "patience": 2}, "schedule.name was 'constant'"),
        ("data.batch_size", 3, "data.batch_size was 128"),
    ],
)
def test_any_other_setting_that_differs_is_told(key, value, said, values):
    before, now = parse(TrainSettings, values), parse(TrainSettings, given(values, key, value))
    with pytest.raises(InputError) as refused:
        require_same(before, now, "the run in R")
    assert str(refused.value).startswith(said)
    require_same(before, now, "the run in R", MAY_CHANGE | {key.split(".")[0]})
