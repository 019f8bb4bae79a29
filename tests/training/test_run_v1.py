"""Runs of version 0.1.0 (tests/training/run_v1) load with the same logits and are resumed to the same end."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_runs import run_fit

from fer_lightning.networks.weight_files import load_network

FOLDER = Path(__file__).parent / "run_v1"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
FACES = (torch.arange(3 * 48 * 48) ** 2 // 97 % 256).view(3, 1, 48, 48).to(torch.uint8)

LOSS = 1e-4
"""Relative tolerance: CPUs add up in different orders."""

ONE_IMAGE = 1.01 / 14
"""Of validation; one that is on the border may fall on either side."""


@pytest.mark.parametrize(("run", "name"), [(run, name) for run in EXPECTED for name in EXPECTED[run]["logits"]])
def test_a_checkpoint_of_version_1_gives_the_same_logits(run, name):
    with torch.no_grad():
        logits = load_network(FOLDER / run / "checkpoints" / name).network(FACES)
    torch.testing.assert_close(logits, torch.tensor(EXPECTED[run]["logits"][name]))


@pytest.mark.parametrize("run", EXPECTED)
def test_a_run_of_version_1_is_resumed_to_the_same_end(run, tmp_path):
    """Stopped within an epoch (hybrid), and given more epochs (fc)."""
    expected = EXPECTED[run]
    shutil.copytree(FOLDER / run, tmp_path / "run")
    metrics = run_fit(tmp_path / "run", *expected["overrides"], "resume=true")
    for name, value in expected["metrics"].items():
        tolerance = {"rel": LOSS} if name.endswith("loss") else {"abs": ONE_IMAGE}
        if name != "val/macro_f1":  # one image moves it by as much as it has predictions of a class
            assert metrics[name] == (pytest.approx(value, **tolerance) if isinstance(value, float) else value), name
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    for row, wanted in zip(rows, expected["history"], strict=True):
        for name in ("train/loss", "val/loss", "lr"):
            assert float(row[name]) == pytest.approx(wanted[name], rel=LOSS), name
