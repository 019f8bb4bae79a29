"""Files of strangers: checkpoints, settings and pictures run no code, and take bounded memory and time."""

import io
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fer_lightning.checkpoints import load_classifier, read_checkpoint
from fer_lightning.commands import with_best
from fer_lightning.config import plain
from fer_lightning.errors import InputError
from fer_lightning.foreign import best_overrides, require_settings_only
from fer_lightning.run import new_classifier

MARK = "stranger-was-here"


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.folder / MARK}",)


@pytest.fixture
def checkpoint(compose) -> dict[str, Any]:
    """The content of an honest checkpoint of a small network."""
    config = plain(compose("model=hybrid_poster", "model.conv=[{filters: 2, kernel: 5, pool: 8}]", "model.hidden=[8]"))
    classifier = new_classifier(config)
    settings = {name: dict(value) if isinstance(value, dict) else value for name, value in classifier.hparams.items()}
    return {"state_dict": dict(classifier.state_dict()), "hyper_parameters": settings, "config": config}


def saved(content: Any, folder: Path, **options: Any) -> Path:
    torch.save(content, folder / "stranger.ckpt", **options)
    return folder / "stranger.ckpt"


def test_an_honest_checkpoint_is_read(checkpoint, tmp_path):
    assert load_classifier(saved(checkpoint, tmp_path)).classify(torch.zeros(1, 1, 48, 48)).shape == (1, 7)


@pytest.mark.parametrize("place", ["whole", "config", "hyper_parameters", "state_dict", "optimizer_states"])
def test_a_malicious_pickle_in_a_checkpoint_is_refused_and_not_run(place, checkpoint, tmp_path, train):
    content = Malicious(tmp_path) if place == "whole" else checkpoint | {place: {"x": Malicious(tmp_path)}}
    path = saved(content, tmp_path)
    with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
        read_checkpoint(path)
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    path.rename(run / "checkpoints" / "last.ckpt")
    assert train("data.images=70", f"hydra.run.dir={run}", "resume=true").code == 2
    assert not (tmp_path / MARK).exists()
    with open(tmp_path / "proof.pickle", "wb") as file:
        pickle.dump(Malicious(tmp_path), file)
    pickle.loads((tmp_path / "proof.pickle").read_bytes())
    assert (tmp_path / MARK).exists(), "the test's own pickle is not malicious"


@pytest.mark.parametrize("form", ["a bare pickle", "torch's old form", "a numpy pickle", "a script"])
def test_other_files_that_could_run_code_are_no_checkpoints(form, checkpoint, tmp_path):
    path = tmp_path / "stranger.ckpt"
    if form == "a bare pickle":
        path.write_bytes(pickle.dumps(Malicious(tmp_path)))
    elif form == "torch's old form":
        saved(checkpoint | {"x": Malicious(tmp_path)}, tmp_path, _use_new_zipfile_serialization=False)
    elif form == "a numpy pickle":
        with path.open("wb") as file:
            np.save(file, np.array([Malicious(tmp_path)]), allow_pickle=True)
    else:
        path.write_text(f"#!/bin/sh\ntouch {tmp_path / MARK}\n")
    with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
        load_classifier(path)
    assert not (tmp_path / MARK).exists()


SETTINGS = {
    "a class to build": lambda settings: settings.update(_target_="os.system"),
    "an unknown argument": lambda settings: settings.update(command="touch x"),
    "a network of a terabyte": lambda settings: settings["model"].update(hidden=[10**9, 10**9]),
    "a conv layer of a terabyte": lambda settings: settings["model"].update(conv=[{"filters": 10**9, "kernel": 31}]),
    "an image of a terabyte": lambda settings: settings["inputs"].update(size=10**6),
    "no layer": lambda settings: settings["model"].update(conv=[]),
    "layers that are numbers": lambda settings: settings["model"].update(conv=7),
    "an unknown kind": lambda settings: settings["model"].update(kind="os.system"),
    "no kind": lambda settings: settings["model"].pop("kind"),
    "HOG of no orientation": lambda settings: settings["inputs"].update(hog={"orientations": 0}),
    "an unknown HOG": lambda settings: settings["inputs"].update(hog={"__class__": 0}),
    "a model that is text": lambda settings: settings.update(model="conv"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_checkpoint_with_a_strangers_settings_is_refused_before_anything_is_allocated(kind, checkpoint, tmp_path):
    SETTINGS[kind](checkpoint["hyper_parameters"])
    path = saved(checkpoint, tmp_path)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError, match=r"stranger.ckpt: its (settings name no network|weights do not fit)"):
        load_classifier(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
    assert time.process_time() - begin < 10


WEIGHTS = {
    "none": lambda weights: weights.clear(),
    "one missing": lambda weights: weights.pop("network.head.scores.bias"),
    "one too many": lambda weights: weights.update(extra=torch.zeros(3)),
    "another shape": lambda weights: weights.update({"network.head.scores.bias": torch.zeros(8)}),
    "text": lambda weights: weights.update({"network.head.scores.bias": "x"}),
    "one value for all": lambda weights: weights.update(
        {"network.head.scores.weight": torch.zeros(1).expand(weights["network.head.scores.weight"].shape)}
    ),
    "a number as name": lambda weights: weights.update({3: torch.zeros(3)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_checkpoint_with_a_strangers_weights_is_refused(kind, checkpoint, tmp_path):
    WEIGHTS[kind](checkpoint["state_dict"])
    with pytest.raises(InputError, match="its weights do not fit the network it names"):
        load_classifier(saved(checkpoint, tmp_path))


def test_a_checkpoint_whose_members_are_packed_is_refused_as_a_bomb(checkpoint, tmp_path):
    path = saved(checkpoint, tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data + bytes(10**6))
    with pytest.raises(InputError, match="its members are compressed"):
        read_checkpoint(path)


OVERRIDES = [
    "+hydra.callbacks.x._target_=os.system",
    "hydra.run.dir=/tmp",
    "++hydra/launcher=joblib",
    "hydra/job_logging=stranger",
    "model@hydra.callbacks=conv_deep",
    "--experimental-rerun=stranger.pickle",
    "--config-dir=/tmp",
    "-m",
    "~model",
    "+model._target_=os.system",
    "data.path=${oc.env:HOME}",
    "optimizer.lr=0.1\n--config-dir=x",
    "resume",
    "",
]


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_strangers_best_yaml_sets_settings_alone(override, tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text(f"overrides:\n- model=fc\n- {override!r}\n".replace("'", '"'))
    with pytest.raises(InputError, match=r"is no plain setting such as optimizer\.lr=0\.01"):
        with_best([f"+best={path}"])


def test_an_honest_best_yaml_is_taken_and_the_command_line_overrules_it(tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text("overrides: [model=conv_deep, optimizer.lr=0.02, 'model.hidden=[64,32]', +trainer.x=1]\n")
    words = with_best([f"+best={path}", "optimizer.lr=0.5", "seed=1"])
    assert words == ["model=conv_deep", "model.hidden=[64,32]", "+trainer.x=1", "optimizer.lr=0.5", "seed=1"]


BILLION = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))


@pytest.mark.parametrize(
    "text",
    [
        BILLION + "overrides: *a59\n",
        "overrides: !!python/object/apply:os.system ['touch x']\n",
        "[" * 8_000,
        "- " * 4_000,
        "overrides: [" + "x, " * 600_000 + "]",
        "\0",
        "overrides: 7",
        "- 1",
    ],
    ids=[
        "a billion laughs",
        "a python object",
        "eight thousand lists",
        "four thousand items",
        "2 MB",
        "a zero",
        "a number",
        "a list",
    ],
)
def test_a_best_yaml_of_another_kind_is_refused_in_bounded_memory_and_time(text, tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text(text)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError, match=r"not the best\.yaml of a search"):
        best_overrides(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
    assert time.process_time() - begin < 5


FILES = {
    "callbacks": ("experiment/x.yaml", "# @package _global_\nhydra:\n  callbacks:\n    x: {_target_: os.system}\n"),
    "a package of hydra": ("experiment/x.yaml", "# @package hydra.callbacks.x\n_tar: 1\n"),
    "a group of hydra": ("hydra/callbacks/x.yaml", "x: 1\n"),
    "a default of hydra": ("experiment/x.yaml", "defaults:\n  - override /hydra/launcher: joblib\n"),
    "a default's package": ("experiment/x.yaml", "defaults:\n  - y@hydra.callbacks: z\n"),
    "an escaped key": ("experiment/x.yaml", '# @package _global_\n"\\x68ydra": {callbacks: {}}\n'),
    "an escaped target": ("model/x.yaml", '"_t\\x61rget_": os.system\n'),
    "a resolver": ("experiment/x.yaml", "x: \"${oc.decode:'{a: 1}'}\"\n"),
    "no yaml": ("experiment/x.yaml", "{"),
    "2 MB": ("experiment/x.yaml", "#" * (2 << 20)),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_strangers_config_folder_sets_settings_alone(kind, tmp_path, train):
    name, text = FILES[kind]
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text.replace("os.system}", f"os.system, command: touch {tmp_path / MARK}}}"))
    small = ["data.images=70", "model=fc", "model.hidden=[4]", "trainer.max_epochs=1", "draw.every=0"]
    result = train("--config-dir", str(tmp_path), "experiment=x", f"hydra.run.dir={tmp_path / 'run'}", *small)
    assert result.code == 2
    why = "no file of settings" if kind in ("no yaml", "2 MB") else "are not taken from a file"
    assert re.search(f"{re.escape(str(tmp_path / name))}: .*{why}", result.err)
    assert not (tmp_path / MARK).exists()
    assert not (tmp_path / "run").exists()


def test_an_honest_config_folder_is_used(tmp_path, train):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\noptimizer: {lr: -3}  # not of hydra\n")
    result = train("--config-dir", str(tmp_path), "experiment=mine", f"hydra.run.dir={tmp_path / 'run'}")
    assert "optimizer.lr=-3: expected a number above 0" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ["--experimental-rerun", "config.pickle"],
        ["--experimental-r=config.pickle"],
        ["--config-path", "/tmp"],
        ["-cp", "/tmp"],
        ["--config-name=stranger"],
        ["-cn", "stranger"],
        ["hydra.searchpath=[file:///tmp]"],
        ["+hydra.searchpath=[pkg://stranger]"],
    ],
)
def test_options_by_which_a_file_could_run_code_are_not_offered(words):
    with pytest.raises(InputError, match="is not offered"):
        require_settings_only(["model=fc", *words])


def test_a_target_among_the_settings_is_refused(train, tmp_path):
    result = train("+model._target_=os.system", f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 2
    assert "error: model._target_: settings are values" in result.err
