"""--help shows every key of a command with its default and its comment, every group with its choices."""

import re
import sys

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from fer_lightning.cli import hydra_command
from fer_lightning.settings import (
    CONF,
    AuditSettings,
    EvaluateSettings,
    TrainSettings,
    VisualizeSettings,
    flatten,
)

COMMANDS = {
    "config": TrainSettings,
    "evaluate": EvaluateSettings,
    "visualize": VisualizeSettings,
    "audit": AuditSettings,
}
GROUPS = {
    group: sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    for group in ("data", "model", "optimizer", "schedule", "trainer", "logger")
}
CHOICES = [
    [f"{group}={names[number % len(names)]}" for group, names in GROUPS.items()]
    for number in range(max(map(len, GROUPS.values())))
]
"""So that each choice of each group is shown once."""


@pytest.fixture
def shown(monkeypatch, capsys):
    """What `--help` of a command prints."""

    def text(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--help"])
        GlobalHydra.instance().clear()
        hydra_command(name, COMMANDS[name])(lambda settings, invocation: pytest.fail("the job began"))()
        out, err = capsys.readouterr()
        assert err == ""
        return str(out)

    return text


def squeezed(text: str) -> str:
    """Without any space, since the help breaks lines."""
    return re.sub(r"\s+", "", text)


def comments(file) -> dict[str, str]:
    """Key (its last part) and comment of each line of a YAML file that has both; read line by line."""
    found = re.findall(r"(?m)^ *(?:- )?(?:optional )?([\w]+):[^#\n]*# (.*)$", file.read_text())
    return {key: comment for key, comment in found if key not in ("output_subdir", "chdir", "_target_", "_recursive_")}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_comment_of_a_commands_config_is_shown(name, shown):
    text = squeezed(shown(name))
    found = comments(CONF / f"{name}.yaml")
    assert len(found) >= 4
    for key, comment in found.items():
        assert squeezed(comment) in text, key


@pytest.mark.parametrize("choices", CHOICES, ids=" ".join)
def test_each_key_of_a_choice_is_shown_with_its_default_and_its_comment(choices, shown, compose):
    text = shown("config", *choices)
    lines = {line.strip().partition("=")[0]: line for line in text.splitlines() if "=" in line}
    for key, value in flatten(OmegaConf.to_container(compose(*choices))).items():
        if not key.endswith(".name") or key == "model.name":
            assert key in lines, key
            if isinstance(value, bool | int | str):
                plain = str(value).lower() if isinstance(value, bool) else value
                assert re.match(rf" *{re.escape(key)}={plain}( |$)", lines[key])
    for choice in choices:
        assert f"  {choice} " in text
        file = CONF / f"{choice.replace('=', '/')}.yaml"
        top = "".join(line[1:] for line in file.read_text().splitlines() if line.startswith("# "))
        assert squeezed(top) in squeezed(text)
        for key, comment in comments(file).items():
            assert squeezed(comment) in squeezed(text), key


def test_a_recipe_shows_the_values_that_it_sets(shown):
    text = shown("config", "experiment=poster")
    assert "  data.augment.rotate=8 " in text
    assert "  optimizer.lr=0.05 " in text


def test_the_keys_of_a_search_are_shown(shown):
    text = squeezed(shown("config"))
    study = CONF / "hydra" / "sweeper" / "study.yaml"
    for key, value in OmegaConf.load(study).items():
        if not str(key).startswith("_"):
            assert f"hydra.sweeper.{key}=" in text
            assert squeezed(comments(study)[str(key)]) in text, (key, value)
    searched = shown("config", "sweeps=lr_reg_hidden", "--multirun")
    assert "hydra.sweeper.params.optimizer.lr=" in searched
    assert "tag(log, interval(1e-4, 1e-1))" in searched


@pytest.mark.parametrize("name", COMMANDS)
def test_groups_are_shown_with_their_choices(name, shown):
    text = squeezed(shown(name))
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        groups = hydra.compose(name, return_hydra_config=True).hydra.runtime.choices
    for group in groups:
        if not group.startswith("hydra"):
            folder = CONF / group if group != "sweeps" else CONF.parent / "sweeps"
            assert ",".join(sorted(file.stem for file in folder.glob("*.yaml"))) in text, group


@pytest.mark.parametrize(("name", "more"), [("evaluate", set()), ("audit", {"size", "channels"})])
def test_keys_of_the_data_without_effect_in_a_command_are_not_shown(name, more, shown):
    text = shown(name, "data=synthetic")
    given = set(re.findall(r"^ *data\.([\w.]+)=", text, re.MULTILINE))
    assert given == {"path", "cache_dir", "images", "seed", "label_noise"} | more


def test_examples_can_be_copied_and_the_last_lines_say_where_results_go(shown):
    text = shown("config")
    assert "\n  python -m fer_lightning.train model=hybrid_deep data=fer2013 data.path=fer2013.zip" in text
    assert text.rstrip().endswith("The same command with hydra.run.dir=FOLDER resume=true goes on.")
    assert max(map(len, text.splitlines())) <= 120


def test_help_is_in_colour_on_a_terminal_alone(shown, monkeypatch):
    assert "\x1b" not in shown("audit")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[36m  threshold" in shown("audit")
