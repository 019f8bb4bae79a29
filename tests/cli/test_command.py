"""How a Hydra command begins and ends: exit statuses, messages, what is left behind, and that errors come quickly."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from fer_lightning.cli import Invocation, hydra_command
from fer_lightning.errors import InputError
from fer_lightning.settings import AuditSettings, EvaluateSettings, TrainSettings, parse
from fer_lightning.signals import Stopped


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> Callable[..., Ended]:
    """Run a command in an empty working folder: `run(main, OVERRIDES...)`."""

    def ended(main: Callable[[], object], *overrides: str) -> Ended:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["train", *overrides])
        GlobalHydra.instance().clear()
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        return Ended(code, *capsys.readouterr())

    return ended


def never(settings: object, invocation: Invocation) -> None:
    raise AssertionError("the job began")


def test_a_job_gets_checked_settings_and_how_it_was_called(run, tmp_path):
    seen: list[Any] = []

    def job(settings: TrainSettings, invocation: Invocation) -> None:
        seen.append((settings, invocation))
        invocation.write_settings()

    main = hydra_command("config", TrainSettings)(job)
    assert run(main, "optimizer=adam", "seed=3", f"hydra.run.dir={tmp_path / 'mine'}") == (0, "", "")
    settings, invocation = seen[0]
    assert (settings.optimizer.name, settings.seed) == ("adam", 3)
    assert (invocation.folder, invocation.chosen) == (tmp_path / "mine", True)
    assert invocation.command.endswith(f"optimizer=adam seed=3 hydra.run.dir={tmp_path / 'mine'}")
    kept: Any = OmegaConf.to_container(OmegaConf.load(tmp_path / "mine" / ".hydra" / "config.yaml"), resolve=True)
    assert parse(TrainSettings, kept) == settings
    assert OmegaConf.load(tmp_path / "mine" / ".hydra" / "overrides.yaml") == ["optimizer=adam", "seed=3"]
    assert run(main).code == 0
    assert not seen[1][1].chosen
    assert seen[1][1].folder.parent == tmp_path / "runs" / "conv_poster-synthetic"


REFUSED = {
    "several values without --multirun": (
        ["seed=0,1"],
        "seed=0,1: several values: add --multirun to run each, or give",
    ),
    "a range without --multirun": (["seed=range(0,3)"], "seed=range(0,3): several values: add --multirun to run each"),
    "what the grammar of Hydra refuses": (
        ["optimizer.lr=choice(null,1.0)"],
        "'optimizer.lr=choice(null,1.0)' cannot be read as key=value: TypeError while evaluating 'choice(null,1.0)'",
    ),
    "a character": (["model.name=a;b"], "'model.name=a;b' cannot be read as key=value: ';' has no meaning there; a te"),
    "a value": (["optimizer.lr=-1"], "optimizer.lr=-1: expected a number above 0"),
    "a value that yaml cannot read": (["seed=${"], "'seed=${' cannot be read as key=value"),
    "no key and value": (["resume"], "'resume' cannot be read as key=value"),
    "a key": (["optimizer.lrr=1"], "optimizer.lrr: no such setting. Did you mean optimizer.lr?"),
    "a key by its last part": (["epochs=1"], "epochs: no such setting. Did you mean trainer.max_epochs"),
    "a key that is added": (
        ["+optimizer.lrr=1"],
        "optimizer.lrr: no such setting. Did you mean lr? Keys: lr, weight_d",
    ),
    "a choice": (["model=hybrid_dep"], "model=hybrid_dep: no such model. Did you mean hybrid_deep? Choices: alexnet"),
    "a group": (["modell=fc"], "modell: no such setting. Did you mean model? All settings: add --help"),
    "a group that is emptied": (["model=null"], "Config group override must be a string or a list. Got NoneType"),
    "a group as a value": (["optimizer=3"], "Config group override must be a string or a list. Got int"),
    "an unknown variable": (["seed=${nothing}"], "Interpolation key 'nothing' not found"),
    "a setting taken away": (["~seed"], "~seed: settings are not removed"),
    "a target": (["+model._target_=os.system"], "model._target_: settings are values"),
    "an option": (["--config-name=x"], "--config-name is not offered"),
    "no option": (["-x=3"], "-x=3: no such option; --help lists the settings, --hydra-help the options"),
    "an option that is misspelled": (["-rainer.max_epochs=3"], "argument --run/-r: ignored explicit argument"),
    "no best.yaml": (["+best=none.yaml"], "none.yaml: not the best.yaml of a search (FileNotFoundError"),
    "an interval without a search": (
        ["--multirun", "optimizer.lr=interval(0,1)"],
        "an interval is searched by a study",
    ),
    "a layer": (
        ["model=conv_deep", "model.conv=[{filter: 3}]"],
        "model.conv[0].filter: no such setting. Did you mean fi",
    ),
}


SCRIPT = """
import contextlib, io, json, sys, traceback
from importlib import import_module
ends = {}
for kind, (module, arguments) in json.load(sys.stdin).items():
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = [module, *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            import_module(module).main()
        except SystemExit as ended:
            code = ended.code
        except Exception:
            code = 1
            traceback.print_exc()
    ends[kind] = (code, out.getvalue(), err.getvalue())
heavy = {"torch", "lightning", "numpy", "matplotlib", "optuna", "skimage", "sklearn"} & set(sys.modules)
print(json.dumps([ends, sorted(heavy)]))
"""
DOOR = "fer_lightning.__main__"
COMMANDS = {
    "help": ("fer_lightning.train", ["--help"], 0, "Train a network to recognise facial expressions"),
    "help of evaluate": ("fer_lightning.evaluate", ["-h"], 0, "Score a checkpoint"),
    "help of visualize": ("fer_lightning.visualize", ["--help"], 0, "Draw what a trained network looks at"),
    "help of audit": ("fer_lightning.audit", ["--help"], 0, "Audit a set of faces"),
    "help of nothing": ("fer_lightning.train", ["--help", "model=x"], 2, "error: model=x: no such model"),
    "evaluate nothing": ("fer_lightning.evaluate", [], 2, "error: checkpoint=None: expected a checkpoint"),
    "an effect that is none": (
        "fer_lightning.evaluate",
        ["data.size=64"],
        2,
        "error: data.size: without effect in this",
    ),
    "audit of none": ("fer_lightning.audit", ["threshold=2"], 2, "error: threshold=2: expected a number above 0, at m"),
    "visualize nothing": (
        "fer_lightning.visualize",
        ["layr=x"],
        2,
        "error: layr: no such setting. Did you mean layer?",
    ),
    "fer": (DOOR, [], 0, "Train, compare and use networks"),
    "fer config": (DOOR, ["config", "model=fc", "seed=7"], 0, "data:\n"),
    "fer config refused": (DOOR, ["config", "seed=-7"], 2, "error: seed=-7: expected a whole number"),
    "fer config of several": (DOOR, ["config", "-m", "seed=0,1"], 2, "error: -m: the settings of one run are shown;"),
    "fer train": (DOOR, ["train", "seed=-7"], 2, "error: seed=-7: expected a whole number"),
    "fer nothing": (DOOR, ["trian"], 2, "error: trian: no such command. Did you mean train? Commands: train, evaluate"),
    **{kind: ("fer_lightning.train", words, 2, f"error: {said}") for kind, (words, said) in REFUSED.items()},
}
"""Module, arguments, exit status, how its output begins."""


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> tuple[dict[str, Ended], list[str], list[Path]]:
    """How all of these end, one after the other in one process; heavy modules that it imported; files that it left."""
    folder = tmp_path_factory.mktemp("empty")
    cases = json.dumps({kind: case[:2] for kind, case in COMMANDS.items()})
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=cases, capture_output=True, text=True, check=True, cwd=folder
    )
    found, heavy = json.loads(told.stdout)
    return {kind: Ended(*end) for kind, end in found.items()}, heavy, list(folder.iterdir())


@pytest.mark.parametrize("kind", COMMANDS)
def test_errors_are_one_line_and_exit_with_2(kind, ends):
    _, _, status, said = COMMANDS[kind]
    ended = ends[0][kind]
    assert ended.code == status
    assert (ended.err if status else ended.out).startswith(said)
    assert status == 0 or (ended.out, ended.err.count("\n")) == ("", 1)


def test_help_and_errors_import_nothing_heavy(ends):
    assert ends[1] == []


def test_what_is_refused_leaves_nothing_behind(ends):
    assert ends[2] == []


def test_fer_config_prints_the_settings_that_a_run_would_get(ends, compose):
    assert OmegaConf.create(ends[0]["fer config"].out) == compose("model=fc", "seed=7")


def test_fer_lists_every_command(ends):
    for name in ("train", "evaluate", "visualize", "audit", "report", "export", "config"):
        assert f"fer {name} " in ends[0]["fer"].out


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a.bin")


def refuse(*_: object) -> None:
    raise InputError("no such file")


def stop(*_: object) -> None:
    raise Stopped("SIGTERM")


@pytest.mark.parametrize(
    ("job", "code", "said"),
    [
        (refuse, 2, "error: no such file\n"),
        (full_disk, 2, "error: runs/a.bin: No space left on device. Checkpoints and results written before are intact"),
        (stop, 143, "stopped by SIGTERM; the same command starts again\n"),
    ],
)
def test_a_job_that_ends_badly_says_why_in_one_line_and_its_empty_folder_goes(job, code, said, run, tmp_path):
    ended = run(hydra_command("config", TrainSettings)(job), f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == code
    assert ended.err.startswith(said)
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "run").exists() or job is stop


def test_a_folder_that_holds_something_stays(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "note").write_text("mine")
    run(hydra_command("config", TrainSettings)(refuse), f"hydra.run.dir={tmp_path / 'run'}")
    assert (tmp_path / "run" / "note").read_text() == "mine"


def test_a_bug_gets_its_traceback(run):
    with pytest.raises(AssertionError, match="the job began"):
        run(hydra_command("config", TrainSettings)(never))
    with pytest.raises(OSError, match="None"):  # no disk error: ours
        run(hydra_command("config", TrainSettings)(lambda settings, invocation: (_ for _ in ()).throw(OSError("None"))))


@pytest.mark.parametrize("model", [EvaluateSettings, AuditSettings])
def test_settings_of_the_data_without_effect_in_a_command_are_refused(model, run):
    name = {EvaluateSettings: "evaluate", AuditSettings: "audit"}[model]
    main = hydra_command(name, model)(never)
    for key in ("size=64",) * (name == "evaluate") + ("augment.flip=0", "unique=true"):  # an audit reads any size
        ended = run(main, *["checkpoint=x"] * (name == "evaluate"), f"data.{key}")
        assert ended.code == 2
        assert ended.err.startswith(
            f"error: data.{key.partition('=')[0]}: without effect in this command. Valid: data."
        )
