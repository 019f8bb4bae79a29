"""The bundled weights: whole, small, found by name, and described by figures that agree everywhere."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fer_lightning.errors import InputError
from fer_lightning.evaluation.metrics import wilson_interval
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.networks.weight_files import load_network
from fer_lightning.weights import bundled, weights_path
from fer_lightning.weights.card import WORDS, model_card, read_card

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = PROJECT / "docs" / "results" / "bundled"


def test_the_weights_are_those_of_the_card():
    card = read_card()
    assert hashlib.sha256(bundled().read_bytes()).hexdigest() == card["weights_sha256"]
    assert card["bytes"] == bundled().stat().st_size < 9e6
    trained = load_network(bundled())
    assert trained.network.parameter_count == card["training"]["parameters"] <= 4.5e6
    assert float(trained.network.temperature) == pytest.approx(card["temperature"])
    assert trained.epoch == card["training"]["best_epoch"]


def test_the_figures_of_the_card_are_those_of_the_evaluations():
    card = read_card()
    assert [one["tta"] for one in card["evaluations"]] == ["none", "flip"]
    for one in card["evaluations"]:
        source = json.loads((SOURCES / one["source"]).read_text())
        assert source["checkpoint"] == "bundled"
        assert source["checkpoint_sha256"] == card["weights_sha256"]
        for key in one.keys() - {"source", "per_class", "accuracy_unique_ci95"}:
            assert one[key] == source[key], key
        for row, name in enumerate(EXPRESSIONS):
            metrics, matrix = one["per_class"][name], one["confusion_matrix"]
            assert source["per_class"][name].items() <= metrics.items()
            called = [line[row] for line in matrix]
            assert metrics["recall_ci95"] == list(wilson_interval(matrix[row][row], sum(matrix[row])))
            assert metrics["precision_ci95"] == list(wilson_interval(matrix[row][row], sum(called)))
        low, high = one["accuracy_unique_ci95"]
        assert low < source["accuracy_unique"] < high


def test_the_page_is_made_of_the_card():
    page = model_card(read_card())
    assert (PROJECT / "docs" / "model_card.md").read_text() == page, "python -m fer_lightning.weights --output ..."
    for said in (*read_card()["limits"], "2024/1689", "5(1)(f)", read_card()["weights_sha256"], *EXPRESSIONS):
        assert said in page
    assert set(WORDS) <= read_card().keys()
    assert "/home/" not in page + json.dumps(read_card())


def test_the_page_says_the_accuracy_of_another_card():
    card = read_card()
    card["evaluations"][0]["accuracy"] = 0.1234
    assert "**12.3 %**" in model_card(card)


def test_only_the_text_bundled_means_the_bundled_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bundled").write_text("a file of the user")
    assert weights_path("bundled") == bundled()
    for given in ("./bundled", str(tmp_path / "bundled")):
        assert weights_path(given).read_text() == "a file of the user"
    assert weights_path("~/a.ckpt") == Path.home() / "a.ckpt"


def test_without_the_file_it_is_told_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_lightning.weights.files", lambda name: tmp_path)
    with pytest.raises(InputError, match="this installation has no bundled weights; name a checkpoint"):
        bundled()


def test_evaluate_takes_bundled_though_a_file_is_called_so(tmp_path, monkeypatch, run_command):
    monkeypatch.chdir(tmp_path)
    Path("bundled").write_text("not a checkpoint")
    ended = run_command("evaluate", "checkpoint=bundled", "data=synthetic", "data.images=140")
    assert ended.code == 0, ended.err
    evaluation = json.loads((tmp_path / "runs" / "bundled" / "evaluation-val" / "evaluation.json").read_text())
    assert evaluation["checkpoint"] == "bundled"
    assert evaluation["checkpoint_sha256"] == read_card()["weights_sha256"]
    refused = run_command("evaluate", "checkpoint=./bundled", "data=synthetic", "data.images=140")
    assert refused.code == 2
    assert "not a checkpoint that can be read safely" in refused.err


def test_visualize_draws_the_bundled_network(tmp_path, monkeypatch, run_command):
    monkeypatch.chdir(tmp_path)
    words = ("checkpoint=bundled", "data=synthetic", "data.images=70", "images=7", "dream.steps=1", "dream.octaves=1")
    ended = run_command("visualize", *words)
    assert ended.code == 0, ended.err
    assert (tmp_path / "runs" / "bundled" / "pictures").is_dir()


def test_export_of_bundled_goes_to_the_working_folder_with_its_card(tmp_path, monkeypatch, run_command):
    from fer_lightning.networks.onnx_files import load_onnx

    monkeypatch.chdir(tmp_path)
    ended = run_command("export", "--checkpoint", "bundled", "--format", "onnx")
    assert ended.code == 0, ended.err
    (file,) = tmp_path.iterdir()
    card = load_onnx(file).card
    assert card["evaluations"] == read_card()["evaluations"]
    assert card["temperature"] == pytest.approx(read_card()["temperature"])


def test_the_command_prints_the_page_without_torch():
    code = "import sys, fer_lightning.weights.__main__ as w; w.main([]); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == model_card(read_card()) + "False\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replace", "c.ckpt"], "--replace and --data go together"),
        (["--replace", "c.ckpt", "--data", "none.zip"], "--data none.zip: no such file"),
    ],
)
def test_a_wrong_replacement_leaves_the_weights(arguments, message, run_command):
    before = bundled().read_bytes(), read_card()
    ended = run_command("weights.__main__", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert (bundled().read_bytes(), read_card()) == before


def test_a_network_that_cannot_be_evaluated_does_not_replace_the_weights(tmp_path, run_command):
    before = bundled().read_bytes(), read_card()
    for name in ("best.ckpt", "fer2013.zip"):
        (tmp_path / name).write_text("neither")
    ended = run_command("weights.__main__", "--replace", tmp_path / "best.ckpt", "--data", tmp_path / "fer2013.zip")
    assert ended.code == 2
    assert "not a checkpoint" in ended.err
    assert (bundled().read_bytes(), read_card()) == before
