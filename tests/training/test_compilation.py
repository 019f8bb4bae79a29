"""The switch `compile`; tests/integration/test_compiled_runs.py compiles."""

import pytest
from tiny_runs import FC, run_fit

from fer_lightning.errors import InputError
from fer_lightning.training import compilation
from fer_lightning.training.compilation import is_compiled


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_auto_is_off_and_true_is_one_message_before_anything_is_written(tmp_path):
    assert not is_compiled("auto", on_gpu=True)
    assert not is_compiled(False, on_gpu=True)
    with pytest.raises(InputError, match=r"compile=true: torch.compile needs a C\+\+ compiler") as raised:
        run_fit(tmp_path / "run", *FC, "compile=true")
    assert len(str(raised.value).splitlines()) == 1
    assert not list((tmp_path / "run").glob("**/*.ckpt"))


def test_a_cpu_is_compiled_for_on_request_alone(monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert not is_compiled("auto", on_gpu=False)
    assert is_compiled(True, on_gpu=False)
