"""All the golden losses, which take half a minute of a core; tests/training compares the first few."""

import pytest
from golden_losses import NETWORKS, STEPS, golden_losses, training_losses


@pytest.mark.parametrize("model", [model for model in NETWORKS if model != "fc"])
def test_twenty_losses_of_a_network_are_the_golden_ones(model, tmp_path):
    assert training_losses(model, STEPS, tmp_path) == pytest.approx(golden_losses()[model], rel=1e-4)
