"""Imports between the folders run one way, through indirect imports too, and the config tree is whole."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

import fer_lightning
from fer_lightning.settings import CONF

PACKAGE = Path(fer_lightning.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
COMMANDS = {"__init__", "__main__", "train", "evaluate", "predict", "visualize", "audit", "export", "demo"}
ROOT = {"settings", "expressions", "errors", "seeding", "signals", "files", "machine", "templates", "pixels"}
MAY_REACH = {
    # folder: what its modules may import, directly or through others
    "hog": ROOT,
    "cli": ROOT,
    "weights": ROOT,
    "networks": ROOT | {"hog"},
    "data": ROOT | {"hog"},
    "figures": ROOT,
    "training": ROOT | {"hog", "data", "networks", "figures"},
    "evaluation": ROOT | {"hog", "data", "networks", "figures", "weights"},
    "search": ROOT | {"hog", "data", "networks", "figures", "training"},
    "recognition": ROOT | {"hog", "data", "networks", "figures", "evaluation", "weights"},
    "demo_page": ROOT | {"hog", "data", "networks", "figures", "evaluation", "weights", "recognition"},
    "report": ROOT | {"hog", "data", "networks", "figures", "evaluation", "cli", "weights"},
    "results": ROOT | {"hog", "data", "networks", "figures", "evaluation", "report", "cli", "weights"},
}
MAY_IMPORT = {
    # package of others: where it may be imported; elsewhere it may not even be reached
    "lightning": {"training", "data", "search"},
    "hydra": {"cli"},
    "optuna": {"search"},
}
NEVER_LIGHTNING = {
    "networks",
    "weights",
    "figures",
    "evaluation",
    "recognition",
    "demo_page",
    "report",
    "results",
    "cli",
    "visualize",
}


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in SOURCES}


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports anywhere in it, modules of the package by their full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in inner}
    return frozenset(found)


@cache
def reached(module: str) -> frozenset[str]:
    """All that is loaded with a module: its imports, theirs, and the packages around them."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for name in imports(waiting.pop()):
            for loaded in (name, *parents(name)):
                if loaded not in seen:
                    seen.add(loaded)
                    waiting += [loaded] if loaded in MODULES else []
    return frozenset(seen)


def parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(2, len(parts)) if parts[0] == "fer_lightning"]


def folder_of(module: str) -> str:
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("folder", MAY_REACH)
def test_arrows_between_the_folders_run_one_way(folder):
    own = [module for module in MODULES if folder_of(module) == folder]
    assert own
    for module in own:
        if module.endswith("__main__"):  # a command may use everything
            continue
        for name in reached(module):
            if name.startswith("fer_lightning."):
                assert folder_of(name) in MAY_REACH[folder] | {folder}, f"{module} reaches {name}"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_of_others_is_imported_in_its_place_alone(package):
    for module in MODULES:
        if any(f"{name}.".startswith(f"{package}.") for name in imports(module)):
            assert folder_of(module) in MAY_IMPORT[package], f"{module} imports {package}"
    for module in MODULES:
        if package == "lightning" and folder_of(module) in NEVER_LIGHTNING:
            assert not any(f"{name}.".startswith("lightning.") for name in reached(module)), module


def test_settings_and_the_cli_load_nothing_heavy():
    code = "import fer_lightning, fer_lightning.train, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert not {"torch", "lightning", "matplotlib", "optuna", "numpy"} & set(loaded)


def test_names_of_modules_are_unique_and_no_tests():
    names = [file.stem for file in SOURCES if not file.stem.startswith("__")]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    assert not [name for name in names if name.startswith("test_") or name in ("utils", "helpers", "base", "common")]
    loose = {file.stem for file in PACKAGE.glob("*.py")} - COMMANDS
    assert len(loose) <= 9, loose


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: name_of(file))
def test_each_module_says_what_it_is(file):
    text = ast.get_docstring(ast.parse(file.read_text()))
    assert text, file
    if file.name == "__init__.py" and file.parent != PACKAGE:
        assert "import" in text.lower(), f"{file}: what does this folder hold, and what may it import?"


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
