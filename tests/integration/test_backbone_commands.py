"""A pretrained backbone goes through every command: fine-tune, evaluate, visualize, predict, export, folds, search."""

import json
from pathlib import Path

import pytest
import torch
from published_networks import published
from small_searches import in_folder, rows
from tiny_runs import ON_CPU

RECIPE = ["experiment=finetune_resnet18", "data=synthetic", "data.images=140", "data.size=48", "data.batch_size=28"]
RECIPE += ["trainer.max_epochs=2", "draw.share=1", "draw.embedding=7", *ON_CPU]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A state dict of torchvision's ResNet-18."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(published("resnet18"), path)
    return path


@pytest.fixture(scope="module")
def run(train, weights, tmp_path_factory) -> Path:
    """Two epochs of the recipe, the head first, with every picture in TensorBoard."""
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    ended = train(*RECIPE, f"model.weights={weights}", f"hydra.run.dir={folder}")
    assert ended.code == 0, ended.err
    assert "begins with resnet18.pth (sha256 " in ended.out
    return folder


@pytest.fixture
def checkpoint(run) -> Path:
    return run / "checkpoints" / "best.ckpt"


def test_it_is_evaluated(checkpoint, run_command, tmp_path):
    ended = run_command("evaluate", f"checkpoint={checkpoint}", "data=synthetic", "data.images=140", "tta=flip",
                        f"hydra.run.dir={tmp_path}")  # fmt: skip
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "evaluation.json").read_text())["model"] == "resnet18"


def test_its_figures_are_drawn_also_of_one_layer(checkpoint, run_command, tmp_path):
    quick = ["dream.steps=2", "images=14"]
    ended = run_command("visualize", f"checkpoint={checkpoint}", *quick, f"hydra.run.dir={tmp_path}")
    assert ended.code == 0, ended.err
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert {"filters", "deepdream", "grad-cam-means", "saliency"} <= drawn
    one = ["layer=layer3.0.conv2", "channel=5", f"hydra.run.dir={tmp_path / 'one'}"]
    ended = run_command("visualize", f"checkpoint={checkpoint}", *quick, *one)
    assert ended.code == 0, ended.err
    assert list((tmp_path / "one").glob("activations-layer3.0.conv2*.png"))


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_it_is_exported_and_recognises_faces_from_the_file(form, checkpoint, run_command, tmp_path):
    file, photo = tmp_path / f"tuned.{form}", tmp_path / "astronaut.png"
    ended = run_command("export", "--checkpoint", checkpoint, "--format", form, "--output", file)
    assert ended.code == 0, ended.err
    if form == "safetensors":
        assert json.loads(file.with_suffix(".json").read_text())["pretrained"]["weights"] == "resnet18.pth"
    from skimage import data, io

    io.imsave(photo, data.astronaut())
    ended = run_command("predict", photo, "--weights", file, "--json", tmp_path / "faces.json")
    assert ended.code == 0, ended.err
    assert len(json.loads((tmp_path / "faces.json").read_text())[0]["faces"]) == 1


def test_it_stands_in_the_report(run, run_command, tmp_path):
    ended = run_command("report.__main__", run, "--out", tmp_path / "report")
    assert ended.code == 0, ended.err
    assert "resnet18" in next(tmp_path.rglob("report.html")).read_text()


def test_a_search_tunes_it_each_fold_beginning_with_the_weights(train, weights, tmp_path):
    ended = train("--multirun", "sweeps=lr_reg_hidden", *RECIPE, f"model.weights={weights}", "cv.folds=2",
                  "trainer.max_epochs=1", "finetune.layer_decay=choice(0.5, 1.0)", "model.hidden=choice([], [8])",
                  "draw.every=0", *in_folder(tmp_path, 2))  # fmt: skip
    assert ended.code == 0, ended.err
    assert [row["state"] for row in rows(tmp_path)] == ["COMPLETE"] * 2
    for metrics in tmp_path.glob("trial-*/fold-*/metrics.json"):
        assert json.loads(metrics.read_text())["pretrained"]["head"] == "new"
