"""The command `export`: the same network in another file, a card without paths, and its messages."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_lightning.errors import InputError
from fer_lightning.export import export
from fer_lightning.networks.onnx_files import load_onnx
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


def test_the_command_prints_what_it_wrote_and_the_difference_of_the_probabilities(run, tmp_path, capsys):
    from fer_lightning.export import main

    main(["--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--output", str(tmp_path / "a[b].safetensors")])
    out = capsys.readouterr().out
    assert f"{tmp_path / 'a[b].safetensors'} (0." in out
    assert "and a[b].json" in out
    assert "difference of its probabilities on 64 faces of two sizes: 0.0e+00" in out


def test_half_precision_halves_the_file_and_is_read_as_32_bits(checkpoint, tmp_path):
    original = checkpoint("conv0")
    sizes = {}
    for precision in ("full", "half"):
        path, difference = export(original, output=tmp_path / f"{precision}.safetensors", precision=precision)
        sizes[precision] = path.stat().st_size
        assert json.loads(card_of(path).read_text())["precision"] == precision
    assert 0 < difference < 1e-2
    values = [(value.numel(), value.ndim) for value in load_network(original).network.parameters()]
    saved = 2 * sum(count for count, axes in values if axes > 1)
    assert sizes["full"] - sizes["half"] == pytest.approx(saved, abs=64)
    before, after = load_network(original).network.state_dict(), load_network(path).network.state_dict()
    for name, value in before.items():
        assert after[name].dtype == value.dtype
        torch.testing.assert_close(after[name], value, rtol=2**-11, atol=2**-24)
    assert torch.equal(before["preprocessing.mean"], after["preprocessing.mean"])


def test_a_weight_beyond_16_bits_is_refused_in_half_precision(checkpoint, tmp_path):
    content = torch.load(checkpoint("conv0"), weights_only=True)
    content["state_dict"]["network.head.scores.weight"][0, 0] = 1e5
    torch.save(content, tmp_path / "large.ckpt")
    with pytest.raises(InputError, match=r"head\.scores\.weight holds values that 16 bits cannot"):
        export(tmp_path / "large.ckpt", precision="half")
    assert [path.name for path in tmp_path.iterdir()] == ["large.ckpt"]


def evaluated(checkpoint: Path, **changes: object) -> dict[str, object]:
    checksum = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    return {"temperature": 1.5, "checkpoint_sha256": checksum, "tta": "none"} | changes


@pytest.mark.parametrize("format", ["safetensors", "onnx"])
def test_a_calibrated_export_gives_the_calibrated_probabilities(format, checkpoint, tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluated(checkpoint("conv0"))))
    path, _ = export(checkpoint("conv0"), format, tmp_path / f"a.{format}", calibration=tmp_path / "evaluation.json")
    faces = torch.randint(0, 256, (5, 1, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = (load_network(checkpoint("conv0")).network(faces) / 1.5).softmax(1)
        found = load_network(path).network.probabilities(faces) if format == "safetensors" else None
    if found is None:
        exported = load_onnx(path)
        found = torch.from_numpy(exported.probabilities(faces[:, 0].numpy()))
        assert exported.card["temperature"] == 1.5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_sha256": "0" * 64}, "it is of another network than"),
        ({"checkpoint_sha256": ["0" * 64, "1" * 64]}, "it is of another network than"),
        ({"tta": "flip"}, "expected tta=none"),
        ({"temperature": None}, "expected a number above 0"),
        ({"temperature": float("nan")}, "expected a number above 0"),
        ({"temperature": "1"}, "expected a number above 0"),
    ],
    ids=str,
)
def test_a_temperature_of_something_else_is_refused(changes, message, checkpoint, tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluated(checkpoint("conv0"), **changes)))
    with pytest.raises(InputError, match=message):
        export(checkpoint("conv0"), output=tmp_path / "a.safetensors", calibration=tmp_path / "evaluation.json")
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_what_a_card_says_of_the_network_goes_with_it_unless_the_network_changes(checkpoint, tmp_path):
    path, _ = export(checkpoint("conv0"), output=tmp_path / "a.safetensors")
    card = json.loads(card_of(path).read_text()) | {"accuracy": 0.7}
    card_of(path).write_text(json.dumps(card))
    same, _ = export(path, "onnx", tmp_path / "a.onnx")
    half, _ = export(path, output=tmp_path / "b.safetensors", precision="half")
    assert load_onnx(same).card["accuracy"] == 0.7
    assert "accuracy" not in json.loads(card_of(half).read_text())


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
        (["--output", "RUN/hybrid_poster.safetensors"], "it exists"),
        (["--output", "RUN/a.bin"], r"expected a name that ends in \.safetensors"),
        (["--output", "RUN/missing/a.safetensors"], "cannot be written"),
        (["--checkpoint", "RUN/none.ckpt"], "no such checkpoint"),
        (["--format", "onnx", "--output", "RUN/a.safetensors"], r"expected a name that ends in \.onnx"),
        (["--format", "onnx", "--precision", "half"], "of safetensors alone"),
        (["--format", "onnx", "--output", "RUN/missing/a.onnx"], "cannot be written"),
        (["--calibration", "RUN/none.json"], "not an evaluation.json"),
        (["--calibration", "RUN/metrics.json"], "not an evaluation.json"),
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
