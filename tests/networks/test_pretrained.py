"""`model.weights`: torchvision's state dicts in every form, our own files, and what is refused before any change."""

import copy
import hashlib
import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from published_networks import BY_HAND, Weights, backbone, published
from safetensors.torch import save_file
from tiny_runs import settings_from
from untrusted_files import MARK, Malicious

from fer_lightning.errors import InputError
from fer_lightning.networks import build_network
from fer_lightning.networks.backbones import BACKBONES
from fer_lightning.networks.pretrained import load_pretrained
from fer_lightning.networks.weight_files import TrainedNetwork, load_network, write_weights
from fer_lightning.settings import LEAST_SIDE


@pytest.fixture(scope="module")
def resnet() -> Weights:
    return published("resnet18")


def load(path: Path | str, *overrides: str, kind: str = "resnet18") -> tuple[Any, dict[str, str]]:
    """An untrained network with the weights of a file, and what is said of them."""
    settings = settings_from(f"model={kind}", f"model.weights={path}", f"data.size={LEAST_SIDE[kind]}", *overrides)
    network = build_network(settings.model, settings.data.inputs)
    return network, load_pretrained(network, settings.model)


def saved(content: Any, folder: Path, name: str = "weights.pth", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


@pytest.mark.parametrize("kind", ["alexnet", "resnet18"])
def test_a_state_dict_of_torchvisions_is_loaded_with_a_new_head(kind, tmp_path):
    weights = published(kind)
    path = saved(weights, tmp_path)
    network, about = load(path, kind=kind)
    assert about == {
        "weights": "weights.pth",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "head": "new",
    }
    for name, value in network.features.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert not network.head.scores.weight.any()
    pictures = torch.randn(2, 3, LEAST_SIDE[kind], LEAST_SIDE[kind])
    with torch.inference_mode():
        expected = BY_HAND[kind](weights, pictures)
        torch.testing.assert_close(network.eval().features(pictures), expected, rtol=1e-4, atol=1e-4)


FORMS = {
    "pt": lambda weights, folder: saved(weights, folder, "weights.pt"),
    "torch's old form": lambda weights, folder: saved(weights, folder, _use_new_zipfile_serialization=False),
    "safetensors": lambda weights, folder: save_file(weights, folder / "w.safetensors") or folder / "w.safetensors",
    "a checkpoint of another project": lambda weights, folder: saved({"state_dict": weights, "epoch": 3}, folder),
    "from several GPUs": lambda weights, folder: saved({f"module.{n}": v for n, v in weights.items()}, folder),
    "parameters": lambda weights, folder: saved(
        {n: torch.nn.Parameter(v) if v.is_floating_point() else v for n, v in weights.items()}, folder
    ),
    "without num_batches_tracked": lambda weights, folder: saved(
        {n: v for n, v in weights.items() if not n.endswith("num_batches_tracked")}, folder
    ),
    "of 7 other classes": lambda weights, folder: saved(
        weights | {"fc.weight": torch.ones(7, 512), "fc.bias": torch.ones(7)}, folder
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_which_such_weights_are_kept_is_read(form, resnet, tmp_path):
    network, about = load(FORMS[form](resnet, tmp_path))
    found = network.features.state_dict()
    for name, value in resnet.items():
        if not name.startswith("fc.") and "num_batches" not in name:
            assert torch.equal(found[name], value), name
    assert about["head"] == "new"
    assert not network.head.scores.weight.any()


FAULTS = {
    "one missing": (lambda w: w.pop("layer3.0.bn1.running_mean"), r"missing: layer3.0.bn1.running_mean\)"),
    "no last layer": (lambda w: [w.pop("fc.weight"), w.pop("fc.bias")], r"missing: fc.weight, fc.bias\)"),
    "one too many": (lambda w: w.update(extra=torch.zeros(3)), r"unexpected: extra\)"),
    "many missing": (
        lambda w: [w.pop(n) for n in list(w) if n.startswith("layer2")],
        r"missing: layer2.0.conv1.weight, .* and \d+ more\)",
    ),
    "another shape": (
        lambda w: w.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}),
        r"of another shape: conv1.weight \(64, 1, 7, 7\), expected \(64, 3, 7, 7\)\)",
    ),
    "a last layer of another network": (
        lambda w: w.update({"fc.weight": torch.zeros(1000, 2048)}),
        r"of another shape: fc.weight \(1000, 2048\), expected \(1000, 512\)\)",
    ),
    "whole numbers": (lambda w: w.update({"bn1.bias": torch.zeros(64).long()}), r"of another type: bn1.bias\)"),
    "NaN": (lambda w: w["bn1.bias"].fill_(float("nan")), r"not finite: bn1.bias\)"),
    "text": (lambda w: w.update({"bn1.bias": "x"}), "not the parameters of a network by name"),
    "nothing": (lambda w: w.clear(), "not the parameters of a network by name"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_weights_of_another_network_are_refused_by_name_before_anything_is_changed(fault, resnet, tmp_path):
    weights = copy.deepcopy(resnet)
    change, said = FAULTS[fault]
    change(weights)
    path = saved(weights, tmp_path)
    network = backbone("resnet18")
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(InputError, match=rf"weights.pth: .*{said}"):
        load_pretrained(network, settings_from("model=resnet18", f"model.weights={path}").model)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_of_another_backbone_are_refused(resnet, tmp_path):
    with pytest.raises(
        InputError, match=r"not torchvision's alexnet \(missing: features.0.weight, .*; unexpected: conv"
    ):
        load(saved(resnet, tmp_path), kind="alexnet")


@pytest.mark.parametrize("form", ["a pickle in the new form", "in the old form", "under the name of safetensors"])
def test_a_malicious_file_is_refused_and_not_run(form, resnet, tmp_path):
    name = "w.safetensors" if "safetensors" in form else "w.pth"
    options = {"_use_new_zipfile_serialization": False} if "old" in form else {}
    path = saved(resnet | {"x": Malicious(tmp_path)}, tmp_path, name, **options)
    with pytest.raises(InputError, match=f"{name}: not weights that can be read safely, or damaged"):
        load(path)
    assert not (tmp_path / MARK).exists()


def test_a_damaged_file_and_one_that_is_not_there_are_told(resnet, tmp_path):
    path = saved(resnet, tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"weights.pth: not weights .* damaged \(.* fails its checksum\)"):
        load(path)
    with pytest.raises(InputError, match=r"model.weights=/no/where.pth: no such file"):
        load("/no/where.pth")
    (tmp_path / "list.pth").write_bytes(saved([1, 2], tmp_path, "l").read_bytes())
    with pytest.raises(InputError, match=r"list.pth: a torch file, but not the parameters of a network by name"):
        load(tmp_path / "list.pth")


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """Exported weights of a resnet18 with random weights, its head included."""
    network = backbone("resnet18").eval()
    torch.nn.init.normal_(network.head.scores.weight)
    network.temperature.fill_(3.0)
    model = settings_from("model=resnet18").model
    path = tmp_path_factory.mktemp("own") / "own.safetensors"
    write_weights(path, TrainedNetwork(network, model, 0, None, 3), {})
    return path


@pytest.mark.parametrize("keeps", [True, False])
def test_our_own_weights_keep_their_head_or_begin_with_a_new_one(keeps, own):
    network, about = load(own, f"model.new_head={str(not keeps).lower()}")
    before = load_network(own).network
    assert about["head"] == ("kept" if keeps else "new")
    assert torch.equal(network.head.scores.weight, before.head.scores.weight) == keeps
    assert all(map(torch.equal, network.features.parameters(), before.features.parameters()))
    assert network.temperature == 1


def test_our_own_weights_of_another_network_are_refused(own):
    settings = settings_from("model=conv_poster", f"model.weights={own}")
    network = build_network(settings.model, settings.data.inputs)
    with pytest.raises(
        InputError, match=r"own.safetensors: a network of model.kind=resnet18; model=conv_poster is conv"
    ):
        load_pretrained(network, settings.model)
    with pytest.raises(
        InputError, match=r"not the layers of model=resnet18 \(missing: head.hidden.hidden1.linear.weight"
    ):
        load(own, "model.hidden=[8]")
    assert load(own, "model.hidden=[8]", "model.new_head=true")[1]["head"] == "new"


def test_our_small_networks_begin_with_weights_of_their_own_kind(tmp_path):
    small = ("model=hybrid_poster", "model.conv=[{filters: 4, pool: 8}]", "model.hidden=[8]")
    settings = settings_from(*small)
    first, second = (build_network(settings.model, settings.data.inputs) for _ in range(2))
    write_weights(tmp_path / "w.safetensors", TrainedNetwork(first.eval(), settings.model, 0, None, 0), {})
    model = settings_from(*small, f"model.weights={tmp_path / 'w.safetensors'}").model
    assert load_pretrained(second, model)["head"] == "kept"
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    path = saved({"x": torch.zeros(1)}, tmp_path)
    model = settings_from(*small, f"model.weights={path}").model
    with pytest.raises(InputError, match=r"weights.pth: no checkpoint or exported weights of fer_lightning"):
        load_pretrained(second, model)


def test_imagenet_weights_are_taken_from_torchs_cache_where_their_checksum_holds(resnet, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path = saved(resnet, folder, BACKBONES["resnet18"].file)
    with pytest.raises(
        InputError, match=r"resnet18-f37072fd.pth: damaged \(its SHA-256 begins with .{8}, not f37072fd"
    ):
        load("imagenet")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    real = path.rename(folder / f"resnet18-{digest[:8]}.pth")
    monkeypatch.setitem(BACKBONES, "resnet18", BACKBONES["resnet18"]._replace(file=real.name))
    network, about = load("imagenet")
    assert about == {"weights": real.name, "sha256": digest, "head": "new"}
    assert torch.equal(network.features.conv1.weight, resnet["conv1.weight"])


def test_without_a_network_one_line_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked = []

    def refuse(request: Any, *_args: object, **_options: object) -> None:
        asked.append(request.full_url)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    place = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    with pytest.raises(InputError, match=rf"no route to host.*Put the file at {place}") as raised:
        load("imagenet")
    assert "\n" not in str(raised.value)
    assert asked == ["https://download.pytorch.org/models/resnet18-f37072fd.pth"]


def test_imagenet_weights_are_for_published_networks_alone():
    with pytest.raises(InputError, match=r"model.weights=imagenet: published for alexnet, vgg16, resnet18 alone"):
        settings_from("model=conv_poster", "model.weights=imagenet")


def test_cards_say_which_weights_a_network_began_with_and_no_path(own, tmp_path):
    model = settings_from("model=resnet18", f"model.weights={own}").model
    trained = load_network(own)
    began = {"weights": own.name, "sha256": "0" * 64, "head": "kept"}
    again = TrainedNetwork(trained.network, model, 0, None, 1, began)
    write_weights(tmp_path / "tuned.safetensors", again, {})
    card = json.loads((tmp_path / "tuned.json").read_text())
    assert card["pretrained"] == began
    assert str(own) not in (tmp_path / "tuned.json").read_text()
    assert load_network(tmp_path / "tuned.safetensors").pretrained == began
