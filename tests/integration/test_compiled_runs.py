"""A compiled run has the losses and the weights of a plain one, within rounding, and files of the same form."""

import shutil

import pytest
import torch
from tiny_runs import NO_FINALE, ON_CPU, run_fit, stop_fit, weights

from fer_lightning.networks.weight_files import load_network

SMALL = ["data.images=70", "data.batch_size=14", "model=conv_poster", "model.conv=[{filters: 4, kernel: 7, pool: 4}]"]
SMALL += ["model.hidden=[16]", "ema.decay=0.9", "data.grow=[24]", "trainer.max_epochs=2", *ON_CPU, *NO_FINALE]

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
    pytest.mark.filterwarnings("ignore"),  # of torch's compiler about itself
]


def test_a_compiled_run_equals_a_plain_one_within_rounding_and_either_resumes_the_other(tmp_path):
    plain, compiled, mixed = (tmp_path / name for name in ("plain", "compiled", "mixed"))
    expected = run_fit(plain, *SMALL)
    found = run_fit(compiled, *SMALL, "compile=true")
    stop_fit(mixed, *SMALL, "compile=true", step=5)
    run_fit(mixed, *SMALL, "compile=false", "resume=true")
    assert found["train/loss"] == pytest.approx(expected["train/loss"], abs=1e-4)
    assert found["val/loss"] == pytest.approx(expected["val/loss"], abs=1e-4)
    for folder in (compiled, mixed):
        assert weights(folder).keys() == weights(plain).keys()
        for name, value in weights(plain).items():
            torch.testing.assert_close(weights(folder)[name], value, atol=1e-3, rtol=1e-3, msg=name)
        load_network(folder / "checkpoints" / "last.ckpt")
