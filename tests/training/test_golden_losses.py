"""The first losses of each network are those of golden_losses.json; tests/integration compares all of them."""

import pytest
from golden_losses import NETWORKS, STEPS, golden_losses, training_losses

COMPARED = {"fc": STEPS, "conv_poster": 4, "hybrid_poster": 4}
"""Steps; 3 of the others, which take long: the third loss is the first that depends on all layers."""


@pytest.mark.parametrize("model", NETWORKS)
def test_the_first_losses_are_the_golden_ones(model, tmp_path):
    golden = golden_losses()[model][: COMPARED.get(model, 3)]
    assert training_losses(model, len(golden), tmp_path) == pytest.approx(golden, rel=1e-4)


def test_every_network_has_golden_losses():
    assert sorted(golden_losses()) == NETWORKS
    assert {len(losses) for losses in golden_losses().values()} == {STEPS}
