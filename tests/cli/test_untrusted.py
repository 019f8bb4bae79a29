"""Settings from untrusted files are plain values: nothing in them reaches Hydra, runs code, or takes much memory."""

import pickle
import re
import resource
import time

import pytest
import torch
from untrusted_files import MARK, Malicious

from fer_lightning.cli.untrusted import best_overrides, require_settings_only, with_best
from fer_lightning.errors import InputError

SMALL = ["data.images=70", "model=fc", "model.hidden=[4]", "trainer.max_epochs=1", "draw.every=0"]

OVERRIDES = [
    "+hydra.callbacks.x._target_=os.system",
    "hydra.run.dir=/tmp",
    "++hydra/launcher=joblib",
    "hydra/job_logging=untrusted",
    "model@hydra.callbacks=conv_deep",
    "--experimental-rerun=untrusted.pickle",
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
def test_an_untrusted_best_yaml_sets_settings_alone(override, tmp_path):
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
def test_an_untrusted_config_folder_sets_settings_alone(kind, tmp_path, train):
    name, text = FILES[kind]
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text.replace("os.system}", f"os.system, command: touch {tmp_path / MARK}}}"))
    result = train("--config-dir", str(tmp_path), "experiment=x", f"hydra.run.dir={tmp_path / 'run'}", *SMALL)
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
        ["--config-name=untrusted"],
        ["-cn", "untrusted"],
        ["hydra.searchpath=[file:///tmp]"],
        ["+hydra.searchpath=[pkg://untrusted]"],
    ],
)
def test_options_by_which_a_file_could_run_code_are_not_offered(words):
    with pytest.raises(InputError, match="is not offered"):
        require_settings_only(["model=fc", *words])


def test_a_target_among_the_settings_is_refused(train, tmp_path):
    result = train("+model._target_=os.system", f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 2
    assert "error: model._target_: settings are values" in result.err


def test_a_malicious_checkpoint_is_not_run_by_resuming_from_it(train, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    torch.save(Malicious(tmp_path), tmp_path / "checkpoints" / "last.ckpt")
    ended = train(*SMALL, f"hydra.run.dir={tmp_path}", "resume=true")
    assert ended.code == 2
    assert "last.ckpt: not a checkpoint that can be read safely" in ended.err
    assert not (tmp_path / MARK).exists()


def test_a_pickled_config_is_not_read(train, tmp_path):
    (tmp_path / "config.pickle").write_bytes(pickle.dumps(Malicious(tmp_path)))
    assert train("--experimental-rerun", str(tmp_path / "config.pickle")).code == 2
    assert not (tmp_path / MARK).exists()
