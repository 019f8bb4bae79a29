"""A training step does not make the host wait for the device: no value of a tensor is read within one."""

from collections import Counter

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from tiny_runs import NO_FINALE, run_fit
from torch.utils._python_dispatch import TorchDispatchMode

STEPS = [
    "data.images=140",
    "data.batch_size=14",
    "model.conv=[{filters: 4, kernel: 7, pool: 4, dropout: 0.1}]",
    "model.hidden=[16]",
    "model.dropout=0.3",
    "schedule=one_cycle",
    "trainer.max_epochs=1",
    "trainer.gradient_clip_val=1",
    *NO_FINALE,
]
EVERYTHING = [
    "model=hybrid_poster",
    "data.augment={flip: 0.5, shift: 2, rotate: 10, scale: 0.1, erase: 0.3}",
    "ema.decay=0.9",
]
WEIGHTED = ["model=conv_poster", "model.class_weights=true", "model.label_smoothing=0.1"]
ON_A_CPU_THEY_READ = [["data.augment.mixup=0.2"], ["optimizer=adamw", "optimizer.lr=0.001"]]
"""F.one_hot checks labels of a CPU alone; Adam counts its steps on the CPU, wherever the weights are."""

READING = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "_unique2", "unique_dim", "masked_select"}
"""Operations of ATen whose result, or its size, the host has to know: .item(), float() and bool() are the first."""

SENDING = {"lift_fresh"}
"""Those that make a tensor of a number of the host, which a GPU waits for too."""


class Waits(TorchDispatchMode):
    """Counts the operations that would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for part in args
            if isinstance(part, list | tuple)
            for index in part
        )
        if name in READING | SENDING or by_mask:
            self.counts[name] += 1
        return function(*args, **(kwargs or {}))


class BetweenSteps(Callback):
    """Enters a context when the second step begins and leaves it when the fifth has ended: three whole steps."""

    def __init__(self, enter, leave):
        self.enter, self.leave = enter, leave

    def on_train_batch_start(self, trainer: Trainer, pl_module, batch, batch_idx: int) -> None:
        if batch_idx == 2:
            self.enter()

    def on_train_batch_end(self, trainer: Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        if batch_idx == 5:
            self.leave()


@pytest.mark.parametrize("variant", [EVERYTHING, WEIGHTED], ids=["everything", "weighted"])
def test_no_value_of_a_tensor_is_read_within_a_step(variant, tmp_path, monkeypatch):
    from fer_lightning.training.early_stopping import StopWhenDiverged

    monkeypatch.setattr(StopWhenDiverged, "on_train_batch_end", lambda *_: None)  # on a GPU: every 50 steps
    waits = Waits()
    steps = BetweenSteps(waits.__enter__, lambda: waits.__exit__(None, None, None))
    run_fit(tmp_path, *STEPS, *variant, "trainer.accelerator=cpu", callbacks=[steps])
    assert not waits.counts


def test_a_value_that_is_read_is_counted():
    with Waits() as waits:
        numbers = torch.arange(3.0)
        assert float(numbers[0]) == 0
        numbers[numbers > 1]
        torch.unique(numbers)
        torch.tensor(1.0)
    assert waits.counts == {"_local_scalar_dense": 1, "index": 1, "_unique2": 1, "lift_fresh": 1}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: torch.cuda.set_sync_debug_mode needs one")
@pytest.mark.parametrize("variant", [EVERYTHING, WEIGHTED, *ON_A_CPU_THEY_READ], ids=str)
def test_on_a_gpu_no_step_synchronises(variant, tmp_path):
    set_mode = torch.cuda.set_sync_debug_mode
    steps = BetweenSteps(lambda: set_mode("error"), lambda: set_mode("default"))
    try:
        run_fit(
            tmp_path, *STEPS, *variant, "trainer.accelerator=gpu", "trainer.precision=bf16-mixed", callbacks=[steps]
        )
    finally:
        set_mode("default")
