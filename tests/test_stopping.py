"""Ctrl-C and SIGTERM: a run is stopped after its step and saved, and goes on as if it had not been stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning import stopping
from fer_lightning.callbacks import KeepBestAndLast
from fer_lightning.checkpoints import read_checkpoint
from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.data.augmentation import Augmentation
from fer_lightning.data.batches import Batches, FaceTensors
from fer_lightning.stopping import Stopped, signals

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "reliability"))
from kills import equal, outcome

WITH_EVERYTHING = [
    "data.images=210",
    "data.batch_size=32",
    "trainer.accelerator=cpu",
    "model=hybrid_poster",
    "model.conv=[{filters: 4, kernel: 7, pool: 4, dropout: 0.1}]",
    "model.hidden=[16]",
    "model.dropout=0.3",
    "optimizer.lr=0.05",
    "schedule=one_cycle",
    "ema.decay=0.9",
    "data.augment={flip: 0.5, shift: 2, rotate: 10, scale: 0.1, erase: 0.3, mixup: 0.2}",
    "draw.deepdream=false",
    "draw.embedding=0",
    "trainer.max_epochs=2",
]
STEPS = 5
"""Of an epoch."""


@pytest.fixture
def signal_at(monkeypatch):
    """Send this process a signal just before one step of training (counted over epochs) or one validation, once."""

    def send(step: int | None = None, validation: int | None = None, signum: int = signal.SIGTERM) -> None:
        trained, validated, sent = ExpressionClassifier.training_step, ExpressionClassifier.on_validation_epoch_end, []

        def maybe(now: bool) -> None:
            if now and not sent:
                sent.append(True)
                os.kill(os.getpid(), signum)

        def training_step(self, batch, batch_idx):
            maybe(self.current_epoch * STEPS + batch_idx == step)
            return trained(self, batch, batch_idx)

        def on_validation_epoch_end(self):
            maybe(self.current_epoch == validation)
            validated(self)

        monkeypatch.setattr(ExpressionClassifier, "training_step", training_step)
        monkeypatch.setattr(ExpressionClassifier, "on_validation_epoch_end", on_validation_epoch_end)

    return send


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    assert train(*WITH_EVERYTHING, f"hydra.run.dir={folder}").code == 0
    return folder


def differences(first: Path, second: Path) -> list[str]:
    """What of weights, optimiser, metrics, history, curves and confusion matrices two runs have not in common."""
    expected, found = outcome(first), outcome(second)
    return [name for name in expected if not equal(expected[name], found[name])]


@pytest.mark.parametrize(
    "moment",
    [*({"step": step} for step in (0, 4, 9)), {"validation": 0}, {"validation": 1}, {"step": 7, "signum": 2}],
    ids=str,
)
def test_a_run_stopped_by_a_signal_goes_on_exactly(moment, whole, signal_at, train, tmp_path):
    """At every place of an epoch, the last step and the last validation of all included."""
    signal_at(**moment)
    result = train(*WITH_EVERYTHING, f"hydra.run.dir={tmp_path}")
    assert result.code == 128 + moment.get("signum", signal.SIGTERM)
    assert "resume=true goes on" in result.err
    assert train(*WITH_EVERYTHING, f"hydra.run.dir={tmp_path}", "resume=true").code == 0
    assert differences(whole, tmp_path) == []


def test_a_run_stopped_again_and_again_goes_on_exactly(whole, signal_at, train, tmp_path):
    for step in (1, 2, 7):
        signal_at(step)
        assert train(*WITH_EVERYTHING, f"hydra.run.dir={tmp_path}", "resume=true").code == 128 + signal.SIGTERM
    assert train(*WITH_EVERYTHING, f"hydra.run.dir={tmp_path}", "resume=true").code == 0
    assert differences(whole, tmp_path) == []


def test_what_was_trained_before_the_signal_is_not_trained_again(signal_at, train, tmp_path):
    signal_at(step=7)
    assert train(*WITH_EVERYTHING, f"hydra.run.dir={tmp_path}").code == 128 + signal.SIGTERM
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 8
    result = train(*WITH_EVERYTHING, f"hydra.run.dir={tmp_path}", "resume=true")
    assert "goes on in epoch 2, step 4 of 5" in result.out


def test_accumulated_gradients_are_not_lost(signal_at, train, tmp_path):
    """A signal between two batches whose gradients belong together waits for the second."""
    settings = [*WITH_EVERYTHING, "ema.decay=0", "trainer.accumulate_grad_batches=2"]
    assert train(*settings, f"hydra.run.dir={tmp_path / 'whole'}").code == 0
    signal_at(step=STEPS + 2)
    assert train(*settings, f"hydra.run.dir={tmp_path / 'stopped'}").code == 128 + signal.SIGTERM
    loops = read_checkpoint(tmp_path / "stopped" / "checkpoints" / "last.ckpt")["loops"]["fit_loop"]
    assert loops["epoch_loop.batch_progress"]["current"]["processed"] == 4
    assert train(*settings, f"hydra.run.dir={tmp_path / 'stopped'}", "resume=true").code == 0
    assert differences(tmp_path / "whole", tmp_path / "stopped") == []


@pytest.mark.parametrize("moment", [{"step": STEPS + 1}, {"validation": 1}], ids=str)
def test_a_run_on_part_of_each_epoch_goes_on_exactly(moment, signal_at, train, tmp_path):
    settings = [*WITH_EVERYTHING, "+trainer.limit_train_batches=3"]
    assert train(*settings, f"hydra.run.dir={tmp_path / 'whole'}").code == 0
    signal_at(**moment)
    assert train(*settings, f"hydra.run.dir={tmp_path / 'stopped'}").code == 128 + signal.SIGTERM
    assert train(*settings, f"hydra.run.dir={tmp_path / 'stopped'}", "resume=true").code == 0
    assert differences(tmp_path / "whole", tmp_path / "stopped") == []


def test_a_checkpoint_after_each_step_changes_nothing(whole, train, tmp_path):
    assert train(*WITH_EVERYTHING, f"hydra.run.dir={tmp_path}", "checkpoint_minutes=0").code == 0
    assert differences(whole, tmp_path) == []


def test_batches_go_on_with_what_the_whole_epoch_would_have_given():
    images = torch.randint(0, 256, (100, 1, 48, 48), dtype=torch.uint8)
    everything = Augmentation(flip=0.5, shift=3.0, rotate=10.0, scale=0.1, erase=0.5, mixup=0.2)

    def batches() -> Batches:
        return Batches(FaceTensors(images, torch.arange(100) % 7), torch.arange(100), 20, 3, everything)

    whole, begun, resumed = batches(), batches(), batches()
    for each in (whole, begun):
        each.set_epoch(4)
    expected, given = list(whole), iter(begun)
    next(given), next(given)
    resumed.load_state_dict(begun.state_dict())
    rest = list(resumed)
    assert len(rest) == 3
    for one, other in zip(expected[2:], rest, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


@pytest.mark.parametrize(
    ("minutes", "passed", "steps_that_save"),
    [
        (5, 59, []),
        (5, 61, [8]),  # the last but one of ten: validation is next, and may be long
        (5, 301, list(range(9))),  # of those before the last, after which the epoch's own checkpoint follows
        (0.5, 31, list(range(9))),
        (None, 10_000, []),
    ],
)
def test_last_is_written_within_long_epochs(minutes, passed, steps_that_save, monkeypatch, tmp_path):
    keeper, saved = KeepBestAndLast(tmp_path, {}, minutes), []
    trainer = SimpleNamespace(
        num_training_batches=10,
        val_check_batch=10,
        accumulate_grad_batches=1,
        world_size=1,
        global_step=1,
        loggers=[],
        save_checkpoint=lambda path: saved.append(step),
    )
    now = time.monotonic()
    for step in range(10):
        monkeypatch.setattr(time, "monotonic", lambda: now)
        keeper.on_train_start(trainer, None)
        monkeypatch.setattr(time, "monotonic", lambda: now + passed)
        keeper.on_train_batch_end(trainer, None, None, None, step)
    assert saved == steps_that_save


def test_a_run_that_ended_before_its_last_pictures_draws_them_when_resumed(train, tmp_path):
    settings = [*WITH_EVERYTHING, "draw.deepdream=true", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}"]
    assert train(*settings).code == 0
    (tmp_path / "metrics.json").unlink()
    for file in (tmp_path / "tensorboard").glob("events*"):
        file.unlink()
    assert train(*settings, "resume=true").code == 0
    tags = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Tags()
    assert "deepdream/happy" in tags["images"]


def test_a_signal_raises_at_once_where_nobody_waits_for_a_step():
    with signals.listening(), pytest.raises(Stopped, match="SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.heard is None


def test_a_signal_is_noted_where_training_waits_and_a_second_one_raises():
    with signals.listening():
        signals.wait()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.heard == "SIGINT"
        with pytest.raises(Stopped, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_step_that_takes_too_long_is_broken_off(monkeypatch):
    monkeypatch.setattr(stopping, "GRACE", 0.1)
    with signals.listening():
        signals.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        begin = time.monotonic()

        def work() -> None:
            while time.monotonic() < begin + 20:
                time.sleep(0.01)

        with pytest.raises(Stopped, match="SIGTERM"):
            work()
    assert time.monotonic() < begin + 5


def test_saving_is_not_broken_off(monkeypatch):
    monkeypatch.setattr(stopping, "GRACE", 0.1)
    with signals.listening():
        signals.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        signals.hold()
        time.sleep(0.3)
        with pytest.raises(Stopped):
            signals.follow()


def test_a_signal_after_the_end_of_the_command_is_not_ours():
    def own(signum: int, frame: object) -> None:
        """What the process did with a signal before."""

    before = signal.signal(signal.SIGINT, own)
    try:
        with signals.listening():
            signals.wait()
            assert signal.getsignal(signal.SIGINT) is not own
        signals.wait()
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_more_signal_ends_the_process_at_once():
    program = (
        "import os, signal, time\n"
        "from fer_lightning.stopping import Stopped, signals\n"
        "with signals.listening():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except Stopped:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(30)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == -signal.SIGTERM


def test_ctrl_c_before_training_is_one_line(train, monkeypatch, tmp_path):
    from fer_lightning import train as command

    monkeypatch.setattr(command, "plain", lambda config: os.kill(os.getpid(), signal.SIGINT))
    result = train(f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 128 + signal.SIGINT
    assert result.err == "stopped by SIGINT; nothing was trained yet\n"
