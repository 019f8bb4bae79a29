"""Sweep overrides as dimensions, dimensions as overrides, and the search spaces of sweeps/."""

from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra_plugins.fer_search.sweeper import dimension, read_space
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fer_lightning.cli import settings_of
from fer_lightning.errors import InputError
from fer_lightning.search.space import hydra_text
from fer_lightning.settings import SearchSettings, TrainSettings

PROJECT = Path(__file__).resolve().parents[2]
SPACES = sorted((PROJECT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lr=interval(1e-4, 1e-1)", FloatDistribution(1e-4, 1e-1)),
        ("optimizer.lr=tag(log, interval(1e-4, 1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("data.batch_size=int(interval(16, 256))", IntDistribution(16, 256)),
        ("data.batch_size=tag(log, int(interval(16, 256)))", IntDistribution(16, 256, log=True)),
        ("data.batch_size=tag(int, log, interval(16, 256))", IntDistribution(16, 256, log=True)),
        ("data.batch_size=range(16, 64, 16)", IntDistribution(16, 48, step=16)),
        ("data.batch_size=range(16, 17)", IntDistribution(16, 16)),
        ("model.dropout=range(0.0, 0.5, 0.1)", FloatDistribution(0.0, 0.4, step=0.1)),
        ("model.dropout=0,0.3", CategoricalDistribution([0, 0.3])),
        ("model.hidden=choice([128], [256, 512])", CategoricalDistribution(["[128]", "[256,512]"])),
        ("model.batch_norm=true,false", CategoricalDistribution([True, False])),
        ("model=choice(fc, conv_deep)", CategoricalDistribution(["fc", "conv_deep"])),
        ("early_stopping.patience=null,3", CategoricalDistribution([None, 3])),
    ],
)
def test_every_sweep_override_is_a_dimension(override, expected):
    assert dimension(OverridesParser.create().parse_override(override)) == expected


@pytest.mark.parametrize(
    "override", ["optimizer.lr=interval(1, 0)", "optimizer.lr=tag(log, interval(0, 1))", "seed=range(3, 1)"]
)
def test_an_empty_dimension_is_refused(override):
    with pytest.raises(InputError, match="not a dimension that can be searched"):
        dimension(OverridesParser.create().parse_override(override))


def test_the_command_line_overrules_and_adds_to_the_space_of_the_file():
    params = {"optimizer.lr": "interval(0.1, 1)", "model.dropout": "choice(0, 0.5)"}
    space = read_space(params, ["optimizer.lr=0.2", "seed=1,2"])
    assert space.dimensions.keys() == {"model.dropout", "seed"}
    assert space.fixed == ["optimizer.lr=0.2"]
    assert space.texts == {"model.dropout": "choice(0, 0.5)", "seed": "1,2"}
    assert space.overrides({"model.dropout": 0.5, "seed": 2}) == ["optimizer.lr=0.2", "model.dropout=0.5", "seed=2"]


def test_a_grid_is_every_combination_once():
    space = read_space({"seed": "range(0, 3)"}, ["model.dropout=0,0.5", "ema.decay=range(0.1, 0.4, 0.1)"])
    grid = space.grid()
    assert len(grid) == 3 * 2 * 3
    assert len({tuple(values.items()) for values in grid}) == len(grid)
    assert {values["ema.decay"] for values in grid} == {0.1, 0.2, 0.3}


def test_of_a_setting_to_begin_with_the_space_takes_what_it_holds():
    space = read_space(
        {}, ["optimizer.lr=interval(0.1, 1)", "model.hidden=choice([8],[4,2])", "ema.decay=range(0, 0.4, 0.2)"]
    )
    assert space.known({"optimizer.lr": 0.5, "model.hidden": [4, 2], "ema.decay": 0.2}) == {
        "optimizer.lr": 0.5,
        "model.hidden": "[4,2]",
        "ema.decay": 0.2,
    }
    assert space.known({"optimizer.lr": 2, "model.hidden": [16], "ema.decay": 0.1, "seed": 1}) == {}


@pytest.mark.parametrize("file", SPACES, ids=lambda file: file.stem)
def test_every_search_composes_at_every_end_of_its_space(file, compose):
    content = yaml.safe_load(file.read_text())["hydra"]["sweeper"]
    space = read_space(content["params"], [f"sweeps={file.stem}"])
    usual = yaml.safe_load((PROJECT / "conf" / "hydra" / "sweeper" / "study.yaml").read_text())
    settings = SearchSettings(**{key: value for key, value in (usual | content).items() if key[0] != "_"})
    extremes = space.check(settings, lambda overrides, _: settings_of(compose(*overrides), TrainSettings))
    assert all(each.cv.folds > 1 for each in extremes)


def test_every_search_is_in_the_wheel():
    pyproject = (PROJECT / "pyproject.toml").read_text()
    assert SPACES
    for file in SPACES:
        assert f'"sweeps/{file.name}" = "hydra_plugins/fer_search/search_spaces/{file.name}"' in pyproject


def test_plain_values_survive_hydras_grammar():
    value = [
        None,
        True,
        3,
        1e-07,
        "it's",
        {"filters": 8, "name": "a b"},
        "C:\\a\\'b\\",
        '{"é (1)": "sad", "x=y": null}',
    ]
    assert OverridesParser.create().parse_override(f"key={hydra_text(value)}").value() == value
