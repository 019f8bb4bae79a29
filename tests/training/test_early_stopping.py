"""Runs that end before their last epoch: no gain in validation accuracy, or a loss that is no number."""

import json
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import FC, ScriptedAccuracy, run_fit, weights

from fer_lightning.training.early_stopping import Diverged, StopWhenDiverged

PATIENT = [*FC, "draw.every=0", "trainer.max_epochs=8", "early_stopping.patience=2"]


@pytest.mark.parametrize(
    ("right", "epochs"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 8),
        ([7, 6, 5, 4, 3, 2, 1, 0], 3),
        ([3, 3, 3, 3, 3, 3, 3, 3], 3),
        ([2, 1, 3, 2, 4, 3, 2, 7], 7),
    ],
    ids=["rising", "falling", "constant", "zigzag"],
)
def test_early_stopping_waits_so_many_epochs_for_accuracy_to_rise(right, epochs, tmp_path):
    metrics = run_fit(tmp_path, *PATIENT, callbacks=[ScriptedAccuracy([count / 7 for count in right])])
    assert metrics["epochs"] == epochs


def test_a_run_that_stopped_early_and_was_killed_before_metrics_json_trains_no_further(tmp_path):
    run_fit(tmp_path, *PATIENT, callbacks=[ScriptedAccuracy([3 / 7] * 8)])
    expected, before = json.loads((tmp_path / "metrics.json").read_text()), weights(tmp_path)
    (tmp_path / "metrics.json").unlink()
    run_fit(tmp_path, *PATIENT, "resume=true", callbacks=[ScriptedAccuracy([1.0] * 8)])
    assert json.loads((tmp_path / "metrics.json").read_text()) == expected
    assert all(torch.equal(value, before[name]) for name, value in weights(tmp_path).items())


def test_a_diverging_run_stops_at_the_step_and_keeps_the_last_good_checkpoint(train, tmp_path):
    result = train(*FC, f"hydra.run.dir={tmp_path}", "trainer.max_epochs=5", "optimizer.lr=1e30", "draw.every=0")
    assert result.code == 2
    assert "the loss became NaN or infinite at step" in result.err
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())
    assert not (tmp_path / "metrics.json").exists()


def test_losses_that_were_not_checked_yet_are_checked_before_a_checkpoint_is_written():
    """As on a GPU, which is not waited for after each step."""
    guard, trainer = StopWhenDiverged(), SimpleNamespace(global_step=7, current_epoch=0)
    guard.losses = [torch.tensor(1.0), torch.tensor(float("nan")), torch.tensor(1.0)]
    with pytest.raises(Diverged, match="at step 6"):
        guard.on_save_checkpoint(trainer, None, {})
