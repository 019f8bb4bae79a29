"""A colour folder and a colour csv through train, folds, evaluate, visualize, predict, audit, export and report."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import USAGES
from tiny_runs import RANDOM, differences, run_fit, stop_fit

from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.networks.onnx_files import load_onnx
from fer_lightning.networks.weight_files import load_network
from fer_lightning.recognition.recognizer import Recognizer

FOLDERS = ("train", "val", "test")
TINY = ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=2", "data.batch_size=28"]
TINY += ["model.conv=[{filters: 4, kernel: 5, pool: 4}]", "model.hidden=[8]", "optimizer.lr=0.05", "draw.share=1"]
COLOURS = "data.augment={flip: 0.5, shift: 1, brightness: 0.2, contrast: 0.2, saturation: 0.3, hue: 10}"


def folder_of(place: Path, side: int) -> Path:
    faces = synthetic_faces(140, seed=2, label_noise=0, side=side)
    for number, (image, label, split) in enumerate(zip(faces.images, faces.labels, faces.split, strict=True)):
        file = place / FOLDERS[split] / EXPRESSIONS[label] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return place


def csv_of(place: Path) -> Path:
    faces = synthetic_faces(140, seed=2, label_noise=0, side=48)
    lines = [
        f"{faces.labels[row]},{' '.join(map(str, faces.images[row].ravel()))},{USAGES[faces.split[row]]}"
        for row in np.argsort(faces.split, kind="stable")
    ]
    place.write_text("\n".join(["emotion,pixels,Usage", *lines]) + "\n")
    return place


@pytest.fixture(scope="module", params=["folder", "csv"])
def trained(request, train, tmp_path_factory) -> tuple[Path, Path, int]:
    """The run, the data and their side, of a folder of 60 pixels and of a csv of 48."""
    place = tmp_path_factory.mktemp(request.param)
    side = 60 if request.param == "folder" else 48
    source = folder_of(place / "set", side) if request.param == "folder" else csv_of(place / "set.csv")
    model = "hybrid_poster" if request.param == "folder" else "conv_poster"
    data = ["data=fer2013", f"data.path={source}", "data.check_counts=false", "data.channels=3", f"data.size={side}"]
    ended = train(*data, f"model={model}", *TINY, COLOURS, f"hydra.run.dir={place / 'run'}")
    assert ended.code == 0, ended.err
    assert "grey" not in ended.out
    return place / "run", source, side


def test_a_colour_run_keeps_the_statistics_of_each_channel_and_the_form_of_its_faces(trained):
    run, _, side = trained
    network = load_network(run / "checkpoints" / "best.ckpt").network
    assert network.form == (3, side)
    mean = synthetic_faces(140, seed=2, label_noise=0, side=side)
    mean = mean.images[mean.split == 0].mean(axis=0)
    np.testing.assert_allclose(network.preprocessing.mean, np.moveaxis(mean, -1, 0), rtol=1e-4)
    assert network.preprocessing.std.shape == (3, 1, 1)


def test_a_colour_run_that_is_stopped_and_resumed_ends_as_one_that_was_not(tmp_path):
    colour = [*RANDOM, "data.channels=3", "data.size=52", "trainer.precision=32-true"]
    colour += ["data.augment={flip: 0.5, shift: 2, brightness: 0.3, contrast: 0.3, saturation: 0.3, hue: 20}"]
    run_fit(tmp_path / "whole", *colour)
    stop_fit(tmp_path / "stopped", *colour, step=7)
    run_fit(tmp_path / "stopped", *colour, "resume=true")
    assert differences(tmp_path / "whole", tmp_path / "stopped") == []


def test_a_colour_run_is_evaluated_and_drawn_in_colour(trained, run_command, tmp_path):
    run, source, _ = trained
    checkpoint = f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"
    data = ["data=fer2013", f"data.path={source}", "data.check_counts=false"]
    ended = run_command("evaluate", checkpoint, *data, "split=val", f"hydra.run.dir={tmp_path / 'evaluation'}")
    assert ended.code == 0, ended.err
    evaluation = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert evaluation["accuracy"] == pytest.approx(metrics["val/accuracy"])
    assert not [note for note in evaluation["notes"] if "grey" in note]

    pictures = tmp_path / "pictures"
    ended = run_command("visualize", checkpoint, f"hydra.run.dir={pictures}", "dream.steps=2", "dream.octaves=2")
    assert ended.code == 0, ended.err
    for name in ("filters", "deepdream", "saliency", "mistakes", "activations-conv1"):
        pixels = np.asarray(Image.open(pictures / f"{name}.png").convert("RGB")).astype(int)
        assert (pixels.max(axis=2) - pixels.min(axis=2) > 30).mean() > 0.02, name


def test_colour_and_grey_sets_feed_networks_of_the_other_kind_and_it_is_said(trained, train, run_command, tmp_path):
    run, source, _ = trained
    grey = tmp_path / "grey"
    small = ["data.images=70", *TINY, "model=conv_poster", "trainer.max_epochs=1", "draw.every=0"]
    assert train(*small, f"hydra.run.dir={grey}").code == 0
    data = ["data=fer2013", f"data.path={source}", "data.check_counts=false"]
    checkpoint = f"checkpoint={grey / 'checkpoints' / 'best.ckpt'}"
    ended = run_command("evaluate", checkpoint, *data, f"hydra.run.dir={tmp_path / '1'}")
    assert "140 images in colour, made grey" in ended.out + ended.err
    both = f"checkpoint=[{grey / 'checkpoints' / 'best.ckpt'},{run / 'checkpoints' / 'best.ckpt'}]"
    ended = run_command("evaluate", both, *data, "tta=tencrop", f"hydra.run.dir={tmp_path / '2'}")
    assert ended.code == 0, ended.err


def test_a_colour_run_predicts_photos_in_colour_as_its_network_would(trained, run_command, tmp_path):
    run, _, side = trained
    checkpoint = run / "checkpoints" / "best.ckpt"
    faces = synthetic_faces(140, seed=2, label_noise=0, side=side).images[:9]
    network = load_network(checkpoint).network
    with torch.inference_mode():
        expected = network.probabilities(torch.tensor(faces).permute(0, 3, 1, 2)).numpy()
    recognizer = Recognizer.load(checkpoint, detect=False)
    np.testing.assert_allclose(recognizer.classify(faces), expected, atol=1e-5)
    for face, row in zip(faces, expected, strict=True):
        (found,) = recognizer.predict(face)
        np.testing.assert_allclose(list(found.probabilities.values()), row, atol=1e-5)
    with pytest.raises(ValueError, match=rf"expected \(N, {side}, {side}\) or \(N, {side}, {side}, 3\) uint8"):
        recognizer.classify(faces[:, 1:])

    photo = tmp_path / "photo.png"
    Image.fromarray(faces[0]).resize((200, 240)).save(photo)
    ended = run_command("predict", photo, "--weights", checkpoint, "--no-detect", "--json", tmp_path / "out.json")
    assert ended.code == 0, ended.err
    assert len(json.loads((tmp_path / "out.json").read_text())[0]["faces"]) == 1


def test_a_colour_run_is_exported_for_colour(trained, run_command, tmp_path):
    pytest.importorskip("onnxruntime")
    run, _, side = trained
    checkpoint = run / "checkpoints" / "best.ckpt"
    for form in ("safetensors", "onnx"):
        output = ["--format", form, "--output", tmp_path / f"network.{form}"]
        ended = run_command("export", "--checkpoint", checkpoint, *output)
        assert ended.code == 0, ended.err
    faces = synthetic_faces(140, seed=2, label_noise=0, side=side).images[:9]
    expected = Recognizer.load(checkpoint).classify(faces)
    np.testing.assert_allclose(Recognizer.load(tmp_path / "network.safetensors").classify(faces), expected, atol=1e-5)
    exported = load_onnx(tmp_path / "network.onnx")
    assert exported.form == (3, side)
    np.testing.assert_allclose(exported.probabilities(faces), expected, atol=1e-5)
    large = np.array([np.asarray(Image.fromarray(face).resize((80, 90))) for face in faces])
    assert exported.probabilities(large).shape == (9, 7)
    grey = faces[..., 0]
    np.testing.assert_allclose(exported.probabilities(grey), exported.probabilities(np.stack([grey] * 3, 3)), atol=1e-6)


def test_a_colour_set_is_audited_and_cross_validated(trained, train, run_command, tmp_path):
    _, source, side = trained
    data = ["data=fer2013", f"data.path={source}", "data.check_counts=false", "data.channels=3", f"data.size={side}"]
    ended = run_command("audit", *data, f"hydra.run.dir={tmp_path / 'audit'}")
    assert ended.code == 0, ended.err
    audit = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert (audit["images"], audit["redundant"], audit["flat"]) == (140, 0, 0)
    small = [*TINY, "trainer.max_epochs=1", "draw.every=0", "model=conv_poster", "data.batch_size=28"]
    ended = train(*data, *small, "cv.folds=2", f"hydra.run.dir={tmp_path / 'folds'}")
    assert ended.code == 0, ended.err
    fold = load_network(tmp_path / "folds" / "fold-1" / "checkpoints" / "best.ckpt")
    assert fold.network.form == (3, side)
