"""Weights for others: safetensors and a card, equal to the checkpoint they come from, harmless whoever made them."""

import hashlib
import importlib
import json
import os
import pickle
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given, settings
from hypothesis import strategies as st
from test_security import MARK, SETTINGS, Malicious

from fer_lightning.checkpoints import load_classifier, trained_data
from fer_lightning.errors import InputError
from fer_lightning.export import export, main
from fer_lightning.weights import card_of


@pytest.fixture(scope="module")
def run(train, tmp_path_factory) -> Path:
    """A trained hybrid network."""
    folder = tmp_path_factory.mktemp("run") / "hybrid"
    conv = "model.conv=[{filters: 2, kernel: 5, pool: 8}]"
    settings_ = ["data.images=140", "model=hybrid_poster", conv, "model.hidden=[8]", "trainer.max_epochs=1"]
    settings_.append(f"data.cache_dir={folder.parent / 'cache'}")
    assert train(*settings_, "trainer.accelerator=cpu", "draw.every=0", f"hydra.run.dir={folder}").code == 0
    return folder


@pytest.fixture(scope="module")
def weights(run) -> Path:
    path, _ = export(run / "checkpoints" / "best.ckpt", None)
    return path


@pytest.fixture
def stranger(weights, tmp_path) -> Path:
    """A copy of weights and card, for harm to be done to."""
    for file in (weights, card_of(weights)):
        shutil.copy(file, tmp_path / f"stranger{file.suffix}")
    return tmp_path / "stranger.safetensors"


def changed(path: Path, change) -> None:
    card = json.loads(card_of(path).read_text())
    change(card)
    card_of(path).write_text(json.dumps(card))


def test_exported_weights_are_those_of_the_checkpoint(run, weights):
    assert weights == run / "hybrid_poster.safetensors"
    before, after = load_classifier(run / "checkpoints" / "best.ckpt"), load_classifier(weights)
    assert before.hparams == after.hparams
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]), name


def test_the_command_says_what_it_wrote_and_how_equal_it_is(run, tmp_path, capsys):
    main(["--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--out", str(tmp_path / "a.safetensors")])
    out = capsys.readouterr().out
    assert f"{tmp_path / 'a.safetensors'} (0." in out
    assert "and a.json" in out
    assert "difference of its logits on 70 faces: 0.0e+00" in out


def test_a_card_names_no_path_of_the_machine(run, weights):
    card = json.loads(card_of(weights).read_text())
    assert card["config"]["data"]["name"] == "synthetic"
    assert card["config"]["data"]["cache_dir"] is None
    assert str(run.parent) not in card_of(weights).read_text()
    assert trained_data(weights)["images"] == 140


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "RUN/hybrid_poster.safetensors"], "it exists"),
        (["--out", "RUN/a.bin"], r"expected a name that ends in \.safetensors"),
        (["--out", "RUN/missing/a.safetensors"], "cannot be written"),
        (["--checkpoint", "RUN/none.ckpt"], "no such checkpoint"),
    ],
)
def test_what_cannot_be_exported_is_told(arguments, said, run, weights, capsys):
    given_ = ["--checkpoint", str(run / "checkpoints" / "best.ckpt"), *(a.replace("RUN", str(run)) for a in arguments)]
    before = sorted(run.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(given_)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert re.search(said, err)
    assert sorted(run.rglob("*")) == before


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_weights_is_seen(weights, where, bit):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "w.safetensors"
        data = bytearray(weights.read_bytes())
        data[int(where * len(data))] ^= 1 << bit
        path.write_bytes(data)
        shutil.copy(card_of(weights), card_of(path))
        with pytest.raises(InputError, match=r"w.safetensors: not .* damaged \(it fails the checksum in w.json\)"):
            load_classifier(path)


def test_a_pickle_under_the_name_of_weights_is_refused_and_not_run(stranger, tmp_path):
    stranger.write_bytes(pickle.dumps(Malicious(tmp_path)))
    checksum = hashlib.sha256(stranger.read_bytes()).hexdigest()
    changed(stranger, lambda card: card.update(weights_sha256=checksum))
    with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
        load_classifier(stranger)
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_card_with_a_strangers_settings_is_refused(kind, stranger):
    changed(stranger, lambda card: SETTINGS[kind](card["hyper_parameters"]))
    with pytest.raises(InputError, match=r"its (settings name no network|weights do not fit)"):
        load_classifier(stranger)


CARDS = {
    "missing": (lambda card: card.unlink(), "there is no card stranger.json beside it"),
    "huge": (lambda card: card.write_bytes(b" " * (1 << 20)), "has more than 65,536 bytes"),
    "no JSON": (lambda card: card.write_text("{"), "not a checkpoint that can be read safely"),
    "a list": (lambda card: card.write_text("[1]"), "is no card of weights"),
    "empty": (lambda card: card.write_text("{}"), "is no card of weights"),
    "deep": (lambda card: card.write_text("[" * 60_000), "not a checkpoint that can be read safely"),
    "without a network": (lambda card: changed(card, lambda c: c.pop("hyper_parameters")), "not a checkpoint of fer"),
}


@pytest.mark.parametrize("kind", CARDS)
def test_a_bad_card_is_told(kind, stranger):
    harm, said = CARDS[kind]
    harm(card_of(stranger))
    with pytest.raises(InputError, match=said):
        load_classifier(stranger)


@pytest.mark.parametrize(
    "data",
    [[1], "x", {"name": 3}, {"name": "synthetic", "images": "../../evil", "path": None, "cache_dir": None}],
    ids=str,
)
@pytest.mark.parametrize("command", ["evaluate", "visualize.__main__"])
def test_settings_of_data_in_a_strangers_file_are_checked_before_use(command, data, stranger, monkeypatch, capsys):
    """`images` is part of a folder's name in the cache."""
    changed(stranger, lambda card: card.update(config={"data": data}))
    module = importlib.import_module(f"fer_lightning.{command}")
    arguments = [f"checkpoint={stranger}", f"hydra.run.dir={stranger.parent / 'out'}"]
    if command == "evaluate":
        arguments += ["data=synthetic", "data.images=140"]
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "stranger.safetensors: its settings cannot be used: data" in err
    assert not (stranger.parent / "out").exists()


def test_a_config_that_is_no_group_of_settings_is_told(stranger):
    changed(stranger, lambda card: card.update(config=[1]))
    with pytest.raises(InputError, match="its `config` holds no settings"):
        trained_data(stranger)
