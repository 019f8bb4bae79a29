"""The command draws every figure of a network, and refuses wrong settings in one message."""

import contextlib
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from fer_lightning.cli import settings_of
from fer_lightning.networks import build_network
from fer_lightning.networks.weight_files import TrainedNetwork, write_weights
from fer_lightning.settings import TrainSettings, dump
from fer_lightning.visualize import main

VERSION_1 = Path(__file__).parent / "networks" / "version_1" / "best.ckpt"
"""A hybrid network with one conv layer of two filters, trained on 280 synthetic faces."""

EVERY_NETWORK = {"deepdream", "saliency", "confusion-matrix", "confused-pairs", "mistakes", "doubtful-labels"}
EVERY_NETWORK |= {"precision-recall", "reliability"}
QUICK = ["dream.steps=2", "images=35"]


def visualize(*overrides):
    """`python -m fer_lightning.visualize OVERRIDES` in this process: its exit status, stdout and stderr."""
    out, err, code, arguments = io.StringIO(), io.StringIO(), 0, sys.argv
    sys.argv = ["visualize", *overrides]
    GlobalHydra.instance().clear()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = arguments
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def checkpoint(tmp_path):
    """A trained network in a run folder."""
    place = tmp_path / "run" / "checkpoints" / "best.ckpt"
    place.parent.mkdir(parents=True)
    return shutil.copy(VERSION_1, place)


@pytest.fixture
def weights(compose, tmp_path):
    """Exported weights of an untrained fc network that says what it was trained with."""
    settings = settings_of(compose("model=fc", "model.hidden=[8]", "data.images=140"), TrainSettings)
    network = build_network(settings.model, settings.data.inputs).eval()
    trained = TrainedNetwork(network, settings.model, 0, settings.data, None)
    write_weights(tmp_path / "fc.safetensors", trained, {"config": {"data": dump(settings.data)}})
    return tmp_path / "fc.safetensors"


def pictures(folder):
    return {path.stem: np.asarray(Image.open(path)) for path in folder.glob("*.png")}


def test_every_figure_is_drawn_beside_the_checkpoint(checkpoint):
    code, out, err = visualize(f"checkpoint={checkpoint}", *QUICK)
    assert code == 0, err
    folder = checkpoint.parent.parent / "pictures"
    drawn = pictures(folder)
    assert drawn.keys() == EVERY_NETWORK | {"filters", "filters-first-30", "activations-conv1", "grad-cam-means"}
    assert all(picture.std() > 5 for picture in drawn.values())
    assert {Path(line.strip()) for line in out.splitlines()} >= {folder / f"{name}.png" for name in drawn}


def test_a_network_without_conv_layers_is_drawn_as_far_as_it_goes(weights, tmp_path):
    code, out, err = visualize(f"checkpoint={weights}", *QUICK, f"hydra.run.dir={tmp_path / 'out'}")
    assert code == 0, err
    assert "fc has no conv layers" in out
    assert pictures(tmp_path / "out").keys() == EVERY_NETWORK


def test_one_layer_and_channel_can_be_asked_for_on_other_data(checkpoint, tmp_path):
    overrides = ["layer=conv1", "channel=1", "dream.start=own", "data=synthetic", "data.images=140"]
    code, _, err = visualize(f"checkpoint={checkpoint}", *QUICK, *overrides, f"hydra.run.dir={tmp_path / 'out'}")
    assert code == 0, err
    assert "deepdream-conv1-1" in pictures(tmp_path / "out")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["layer=conv7"], "Layers: conv1"),
        (["layer=conv1", "channel=9"], "channels 0 to 1"),
        (["channel=1"], "of which layer"),
        (["dream.start=bored"], "own"),
        (["dream.steps=0"], "a whole number of 1 or more"),
        (["images=none"], "a whole number"),
        (["dream.step=3"], "dream.steps"),
        (["data.path=faces.zip"], "synthetic faces are drawn, not read"),
    ],
)
def test_a_wrong_setting_is_one_message_and_no_picture(checkpoint, tmp_path, overrides, message):
    target = tmp_path / "out"
    code, _, err = visualize(f"checkpoint={checkpoint}", *overrides, f"hydra.run.dir={target}")
    assert code == 2
    assert message in err
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err
    assert not list(target.glob("*"))


def test_a_layer_of_a_network_without_conv_layers_is_refused(weights):
    for overrides, message in ((["layer=conv1"], "no conv layers"), (["channel=1"], "of which layer")):
        code, _, err = visualize(f"checkpoint={weights}", *overrides)
        assert code == 2
        assert message in err


def test_weights_that_do_not_say_their_data_ask_for_it(weights):
    card = weights.with_suffix(".json")
    card.write_text(json.dumps({key: value for key, value in json.loads(card.read_text()).items() if key != "config"}))
    code, _, err = visualize(f"checkpoint={weights}")
    assert code == 2
    assert "does not say what it was trained with; name the data, as in data=synthetic" in err


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    torch.save({"weights": torch.ones(3)}, tmp_path / "other.ckpt")
    code, _, err = visualize(f"checkpoint={tmp_path / 'other.ckpt'}")
    assert code == 2
    assert "not a checkpoint of fer_lightning" in err
    code, _, err = visualize()
    assert code == 2
    assert "expected a checkpoint" in err


def test_a_folder_that_cannot_be_made_is_one_message(checkpoint):
    (checkpoint.parent.parent / "pictures").write_text("in the way")
    code, _, err = visualize(f"checkpoint={checkpoint}", *QUICK)
    assert code == 2
    assert "pictures: the pictures cannot be written" in err
