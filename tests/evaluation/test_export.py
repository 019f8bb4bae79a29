"""The command `export`: the same network in another file, a card without paths, and its messages."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_lightning.export import export
from fer_lightning.networks.weight_files import card_of, load_network


@pytest.fixture(scope="module")
def weights(run) -> Path:
    path, _ = export(run / "checkpoints" / "best.ckpt")
    return path


def test_exported_weights_are_those_of_the_checkpoint(run, weights):
    assert weights == run / "hybrid_poster.safetensors"
    before, after = load_network(run / "checkpoints" / "best.ckpt"), load_network(weights)
    assert (before.model, before.seed, before.epoch) == (after.model, after.seed, after.epoch)
    assert before.network.preprocessing.inputs == after.network.preprocessing.inputs
    for name, value in before.network.state_dict().items():
        assert torch.equal(value, after.network.state_dict()[name]), name


def test_the_command_prints_what_it_wrote_and_the_difference_of_the_logits(run, tmp_path, capsys):
    from fer_lightning.export import main

    main(["--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--out", str(tmp_path / "a[b].safetensors")])
    out = capsys.readouterr().out
    assert f"{tmp_path / 'a[b].safetensors'} (0." in out
    assert "and a[b].json" in out
    assert "difference of its logits on 70 faces: 0.0e+00" in out


def test_a_card_names_no_path_of_the_machine(checkpoint, tmp_path):
    content = torch.load(checkpoint("conv0"), weights_only=True)
    content["config"]["data"]["cache_dir"] = str(tmp_path / "private")
    torch.save(content, tmp_path / "best.ckpt")
    path, difference = export(tmp_path / "best.ckpt")
    card = json.loads(card_of(path).read_text())
    assert path == tmp_path / "conv_poster.safetensors"
    assert difference == 0
    assert card["config"]["data"]["name"] == "synthetic"
    assert card["config"]["data"]["cache_dir"] is None
    assert "private" not in card_of(path).read_text()
    assert load_network(path).data.images == 140


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "RUN/hybrid_poster.safetensors"], "it exists"),
        (["--out", "RUN/a.bin"], r"expected a name that ends in \.safetensors"),
        (["--out", "RUN/missing/a.safetensors"], "cannot be written"),
        (["--checkpoint", "RUN/none.ckpt"], "no such checkpoint"),
    ],
)
def test_what_cannot_be_exported_is_refused(arguments, message, run, weights, run_command):
    given = ["--checkpoint", str(run / "checkpoints" / "best.ckpt"), *(a.replace("RUN", str(run)) for a in arguments)]
    before = sorted(run.rglob("*"))
    ended = run_command("export", *given)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert re.search(message, ended.err)
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(
    "data",
    [[1], "x", {"name": 3}, {"name": "synthetic", "images": "../../evil", "path": None, "cache_dir": None}],
    ids=str,
)
@pytest.mark.parametrize("command", ["evaluate", "visualize"])
def test_settings_of_data_in_an_untrusted_card_are_checked_before_use(command, data, weights, tmp_path, run_command):
    """`images` is part of the name of a folder in the cache."""
    for file in (weights, card_of(weights)):
        shutil.copy(file, tmp_path / f"untrusted{file.suffix}")
    path = tmp_path / "untrusted.safetensors"
    card_of(path).write_text(json.dumps(json.loads(card_of(path).read_text()) | {"config": {"data": data}}))
    synthetic = ("data=synthetic", "data.images=140") if command == "evaluate" else ()
    ended = run_command(command, f"checkpoint={path}", f"hydra.run.dir={tmp_path / 'out'}", *synthetic)
    assert ended.code == 2
    assert "untrusted.safetensors: data" in ended.err
    assert not (tmp_path / "out").exists()


def test_help_loads_no_torch():
    code = "import sys, fer_lightning.export as e\ntry: e.main(['--help'])\nfinally: print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "False"
    assert "--checkpoint" in ended.stdout
