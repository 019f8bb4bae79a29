"""The arrows between the rooms of the package run one way, and the config tree is whole."""

import ast
from pathlib import Path

import pytest
import yaml

import fer_lightning
from fer_lightning.commands import CONF

PACKAGE = Path(fer_lightning.__file__).parent
PROJECT = PACKAGE.parent
FORBIDDEN = {
    # room: what none of its files may import
    "expressions": ["fer_lightning", "torch", "numpy"],
    "hog": ["fer_lightning.data", "fer_lightning.networks", "fer_lightning.classifiers", "lightning", "hydra"],
    "data": [
        "fer_lightning.networks",
        "fer_lightning.classifiers",
        "fer_lightning.train",
        "hydra",
        "omegaconf",
        "optuna",
    ],
    "networks": [
        "fer_lightning.data",
        "fer_lightning.classifiers",
        "fer_lightning.train",
        "lightning",
        "hydra",
        "optuna",
    ],
    "visualize": ["lightning", "fer_lightning.train", "fer_lightning.callbacks", "hydra", "optuna"],
    "classifiers": ["fer_lightning.train", "fer_lightning.callbacks", "fer_lightning.visualize", "hydra", "omegaconf"],
    "report": ["fer_lightning.train", "fer_lightning.callbacks", "lightning", "hydra", "optuna"],
    "callbacks": ["fer_lightning.train", "hydra", "omegaconf", "optuna"],
}


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names.add(node.module)
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_arrows_between_the_rooms_run_one_way(room):
    files = list((PACKAGE / room).glob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]
    assert files
    for file in files:
        if file.name == "__main__.py":  # a command may compose a config
            continue
        for name in imported(file):
            for forbidden in FORBIDDEN[room]:
                assert not f"{name}.".startswith(f"{forbidden}."), f"{file} imports {name}"


def test_every_key_of_the_config_has_a_comment():
    for file in CONF.rglob("*.yaml"):
        text = file.read_text()
        yaml.safe_load(text)
        assert text.startswith("#"), f"{file}: what is it, and what is to be expected of it?"
        if file.parent.name == "experiment":
            continue
        for line in text.splitlines():
            key, colon, rest = line.partition(":")
            explained = "#" in rest or not rest.strip() or key.strip() in ("name", "kind", "defaults", "conv", "hidden")
            skipped = not colon or line.lstrip().startswith(("#", "-")) or "hydra" in text.split(line)[0]
            assert skipped or explained, f"{file}: {line}"


@pytest.mark.parametrize("file", sorted(CONF.glob("experiment/*.yaml")), ids=lambda file: file.stem)
def test_every_experiment_composes(file, compose):
    config = compose(f"experiment={file.stem}")
    assert config.model.name
    assert config.trainer.max_epochs > 0


@pytest.mark.parametrize("group", ["data", "model", "optimizer", "schedule"])
def test_every_choice_of_a_group_composes_under_its_own_name(group, compose):
    for file in (CONF / group).glob("*.yaml"):
        assert compose(f"{group}={file.stem}")[group].name == file.stem
