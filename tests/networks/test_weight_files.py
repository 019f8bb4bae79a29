"""Checkpoints and exported weights: what is read is what was written, whoever made the file, and runs no code."""

import hashlib
import json
import os
import pickle
import resource
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from untrusted_files import HARMFUL_SETTINGS, MARK, Malicious

from fer_lightning.cli import settings_of
from fer_lightning.errors import InputError
from fer_lightning.networks import build_network
from fer_lightning.networks.weight_files import TrainedNetwork, card_of, load_network, read_checkpoint, write_weights
from fer_lightning.settings import VERSION, TrainSettings, dump

VERSION_1 = Path(__file__).parent / "version_1"
FACES = torch.randint(0, 256, (4, 1, 48, 48), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trained(compose) -> tuple[TrainedNetwork, TrainSettings]:
    """A small hybrid network with random weights everywhere, and the settings of its run."""
    small = ("model=hybrid_poster", "model.conv=[{filters: 2, kernel: 5, pool: 8}]", "model.hidden=[8]", "seed=3")
    of_run = settings_of(compose(*small, "data.images=140"), TrainSettings)
    torch.manual_seed(0)
    network = build_network(of_run.model, of_run.data.inputs).eval()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return TrainedNetwork(network, of_run.model, of_run.seed, of_run.data, epoch=4), of_run


@pytest.fixture
def checkpoint(trained) -> dict[str, Any]:
    """The content of an honest checkpoint of this network, as a run writes it."""
    network, of_run = trained
    return {
        "state_dict": {f"network.{name}": value for name, value in network.network.state_dict().items()},
        "hyper_parameters": {"model": dump(of_run.model), "inputs": dump(of_run.data.inputs), "seed": of_run.seed},
        "config": dump(of_run),
        "settings_version": VERSION,
        "epoch": 4,
    }


@pytest.fixture
def weights(trained, tmp_path) -> Path:
    """The same network as exported weights."""
    write_weights(tmp_path / "w.safetensors", trained[0], {"epoch": 4, "config": dump(trained[1])})
    return tmp_path / "w.safetensors"


def saved(content: Any, folder: Path, **options: Any) -> Path:
    torch.save(content, folder / "untrusted.ckpt", **options)
    return folder / "untrusted.ckpt"


def change_card(path: Path, change: Any) -> None:
    card = json.loads(card_of(path).read_text())
    change(card)
    card_of(path).write_text(json.dumps(card))


@pytest.mark.parametrize("kind", ["checkpoint", "weights"])
def test_the_network_that_is_read_is_the_one_that_was_written(kind, trained, checkpoint, weights, tmp_path):
    loaded = load_network(saved(checkpoint, tmp_path) if kind == "checkpoint" else weights)
    expected = trained[0]
    assert (loaded.model, loaded.seed, loaded.data, loaded.epoch) == (expected.model, 3, expected.data, 4)
    assert loaded.network.preprocessing.inputs == expected.network.preprocessing.inputs
    for name, value in expected.network.state_dict().items():
        assert torch.equal(value, loaded.network.state_dict()[name]), name
    assert not loaded.network.training
    with torch.inference_mode():
        assert torch.equal(loaded.network(FACES), expected.network(FACES))


@pytest.mark.parametrize("name", ["best.ckpt", "hybrid_poster.safetensors"])
def test_files_of_version_1_give_the_logits_that_they_gave_then(name):
    """Written by version 0.1.0: other names of parameters, no version of the settings, no temperature."""
    index = torch.arange(7 * 48 * 48)
    faces = ((index * index * 37 + 11 * index) // 7 % 256).view(7, 1, 48, 48)
    loaded = load_network(VERSION_1 / name)
    assert (loaded.seed, loaded.data.images, loaded.epoch) == (0, 280, 5)
    with torch.inference_mode():
        logits = loaded.network(faces)
    torch.testing.assert_close(logits, torch.tensor(json.loads((VERSION_1 / "logits.json").read_text())))
    assert loaded.network.temperature == 1


def test_what_callbacks_saved_in_version_1_stands_under_their_names_of_today():
    before = torch.load(VERSION_1 / "best.ckpt", weights_only=True)["callbacks"]
    after = read_checkpoint(VERSION_1 / "best.ckpt")["callbacks"]
    assert set(after) == {"EMAWeightAveraging", "History", "BestAndLastCheckpoint"}
    assert after["BestAndLastCheckpoint"] == before["KeepBestAndLast"]


@pytest.mark.parametrize("place", ["whole", "config", "hyper_parameters", "state_dict", "optimizer_states"])
def test_a_malicious_pickle_in_a_checkpoint_is_refused_and_not_run(place, checkpoint, tmp_path):
    content = Malicious(tmp_path) if place == "whole" else checkpoint | {place: {"x": Malicious(tmp_path)}}
    path = saved(content, tmp_path)
    with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
        read_checkpoint(path)
    assert not (tmp_path / MARK).exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / MARK).exists(), "the test's own pickle is not malicious"


@pytest.mark.parametrize("form", ["a bare pickle", "torch's old form", "a numpy pickle", "a script"])
def test_other_files_that_could_run_code_are_no_checkpoints(form, checkpoint, tmp_path):
    path = tmp_path / "untrusted.ckpt"
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
        load_network(path)
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize("file", ["checkpoint", "card"])
@pytest.mark.parametrize("kind", HARMFUL_SETTINGS)
def test_settings_that_name_no_network_of_ours_are_refused_before_anything_is_allocated(
    kind, file, checkpoint, weights, tmp_path
):
    if file == "card":
        path = weights
        change_card(weights, lambda card: HARMFUL_SETTINGS[kind](card["hyper_parameters"]))
    else:
        HARMFUL_SETTINGS[kind](checkpoint["hyper_parameters"])
        path = saved(checkpoint, tmp_path)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError, match=rf"{path.name}: its (settings name no network|weights do not fit)"):
        load_network(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
    assert time.process_time() - begin < 10


def test_other_hyper_parameters_have_no_effect(trained, checkpoint, tmp_path):
    checkpoint["hyper_parameters"] |= {"_target_": "os.system", "command": f"touch {tmp_path / MARK}"}
    loaded = load_network(saved(checkpoint, tmp_path))
    with torch.inference_mode():
        assert torch.equal(loaded.network(FACES), trained[0].network(FACES))
    assert not (tmp_path / MARK).exists()


DATA = {
    "a list": ([1], "data=.*: expected a group of settings"),
    "text": ("x", "data=x: expected a group of settings"),
    "a name that is a number": ({"name": 3}, "data.name=3: No such choice"),
    "a name that is a list": ({"name": ["synthetic"]}, "data.name=.*: No such choice"),
    "a name that is a file": ({"name": "../../../etc/passwd"}, "data.name=.*: No such choice"),
    "a folder as number": ({"name": "synthetic", "images": "../../evil"}, "data.images='../../evil': expected a whole"),
    "a target": ({"name": "synthetic", "_target_": "os.system"}, "data._target_: settings are values"),
    "a number as key": ({"name": "synthetic", 3: 4}, "data.3: no such setting"),
}


@pytest.mark.parametrize("kind", DATA)
def test_settings_of_the_data_are_checked_too(kind, checkpoint, tmp_path):
    """They name files that are read: `images` is part of a folder's name in the cache."""
    data, said = DATA[kind]
    path = saved(checkpoint | {"config": {"data": data}}, tmp_path)
    with pytest.raises(InputError, match=f"untrusted.ckpt: {said}"):
        load_network(path)


def test_settings_nested_without_end_are_refused(checkpoint, tmp_path):
    deep: dict[str, Any] = {}
    for _ in range(400):  # pickle itself gives up a little later
        deep = {"a": deep}
    with pytest.raises(InputError, match=r"untrusted.ckpt: (data.a|settings are nested too deep)"):
        load_network(saved(checkpoint | {"config": {"data": {"name": "synthetic", "a": deep}}}, tmp_path))


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
def test_weights_of_another_network_are_refused(kind, checkpoint, tmp_path):
    WEIGHTS[kind](checkpoint["state_dict"])
    with pytest.raises(InputError, match="its weights do not fit the network it names"):
        load_network(saved(checkpoint, tmp_path))


CONTENTS = {
    "a list": (lambda content: [content], "not a checkpoint of fer_lightning"),
    "without hyper-parameters": (lambda content: {"state_dict": content["state_dict"]}, "not a checkpoint of fer"),
    "of another project": (lambda content: content | {"hyper_parameters": {"lr": 0.1}}, "of another project"),
    "a config that is a list": (lambda content: content | {"config": [1]}, "its `config` holds no settings"),
    "of a later version": (lambda content: content | {"settings_version": 99}, "version 99; this program reads 1 to"),
    "of no version": (lambda content: content | {"settings_version": "2"}, "version '2'; this program reads 1 to"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_torch_file_of_another_kind_is_told(kind, checkpoint, tmp_path):
    change, said = CONTENTS[kind]
    with pytest.raises(InputError, match=f"untrusted.ckpt: .*{said}"):
        load_network(saved(change(checkpoint), tmp_path))


def test_a_checkpoint_whose_members_are_packed_is_refused_as_a_bomb(checkpoint, tmp_path):
    path = saved(checkpoint, tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data + bytes(10**6))
    with pytest.raises(InputError, match="its members are compressed"):
        read_checkpoint(path)


flips = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)


@flips
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_exported_weights_is_noticed(where, bit):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "w.safetensors"
        data = bytearray((VERSION_1 / "hybrid_poster.safetensors").read_bytes())
        data[int(where * len(data))] ^= 1 << bit
        path.write_bytes(data)
        shutil.copy(VERSION_1 / "hybrid_poster.json", card_of(path))
        with pytest.raises(InputError, match=r"w.safetensors: not .* damaged \(it fails the checksum in w.json\)"):
            load_network(path)


def test_a_pickle_under_the_name_of_weights_is_refused_and_not_run(weights, tmp_path):
    weights.write_bytes(pickle.dumps(Malicious(tmp_path)))
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    change_card(weights, lambda card: card.update(weights_sha256=checksum))
    with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
        load_network(weights)
    assert not (tmp_path / MARK).exists()


CARDS = {
    "missing": (lambda card: card.unlink(), "there is no card w.json beside it"),
    "huge": (lambda card: card.write_bytes(b" " * (1 << 20)), "has more than 65,536 bytes"),
    "no JSON": (lambda card: card.write_text("{"), "not a checkpoint that can be read safely"),
    "a list": (lambda card: card.write_text("[1]"), "is no card of weights"),
    "empty": (lambda card: card.write_text("{}"), "is no card of weights"),
    "deep": (lambda card: card.write_text("[" * 60_000), "not a checkpoint that can be read safely"),
    "without a network": (
        lambda card: change_card(card, lambda c: c.pop("hyper_parameters")),
        "not a checkpoint of fer",
    ),
}


@pytest.mark.parametrize("kind", CARDS)
def test_a_bad_card_is_told(kind, weights):
    harm, said = CARDS[kind]
    harm(card_of(weights))
    with pytest.raises(InputError, match=said):
        load_network(weights)


def test_files_that_exist_are_not_overwritten(trained, weights):
    before = weights.read_bytes()
    with pytest.raises(InputError, match=r"w.safetensors: it exists"):
        write_weights(weights, trained[0], {})
    assert weights.read_bytes() == before
    weights.unlink()
    with pytest.raises(InputError, match=r"w.json: it exists"):
        write_weights(weights, trained[0], {})
    assert not weights.exists()


def test_a_network_of_three_channels_from_before_there_was_colour_gives_what_it_gave(compose, tmp_path):
    of_run = settings_of(compose("model=conv_poster", "model.conv=[{filters: 2}]", "data.channels=3"), TrainSettings)
    network = build_network(of_run.model, of_run.data.inputs).eval()
    torch.nn.init.normal_(network.head.scores.weight)
    mean, std = torch.rand(1, 48, 48) * 255, torch.tensor(60.0)
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    del weights["network.preprocessing.trained_on"]
    weights |= {"network.preprocessing.mean": mean, "network.preprocessing.std": std}
    inputs = {"model": dump(of_run.model), "inputs": dump(of_run.data.inputs), "seed": 0}
    old = {"state_dict": weights, "hyper_parameters": inputs, "settings_version": VERSION}
    loaded = load_network(saved(old, tmp_path)).network
    with torch.no_grad():
        images = ((FACES.float().expand(-1, 3, -1, -1) - mean) / std).to(torch.float32)
        expected = network.head.scores(network.embed(images, None))
        assert torch.equal(loaded(FACES), expected)
    assert loaded.form == (1, 48)
