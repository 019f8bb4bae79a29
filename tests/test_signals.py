"""SIGTERM and Ctrl-C: raised at once, recorded while deferred, at the latest raised after a grace period."""

import os
import signal
import subprocess
import sys
import time

import pytest
from omegaconf.errors import OmegaConfBaseException

from fer_lightning import signals
from fer_lightning.signals import Stopped, stop_signals


def test_a_signal_raises_at_once_where_it_is_not_deferred():
    with stop_signals.listen(), pytest.raises(Stopped, match="SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop_signals.pending is None


def test_a_deferred_signal_is_recorded_and_a_second_one_raises():
    with stop_signals.listen():
        stop_signals.defer()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop_signals.pending == "SIGINT"
        with pytest.raises(Stopped, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_step_that_takes_too_long_is_interrupted(monkeypatch):
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.1)
    with stop_signals.listen():
        stop_signals.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        begin = time.monotonic()

        def work() -> None:
            while time.monotonic() < begin + 20:
                time.sleep(0.01)

        with pytest.raises(Stopped, match="SIGTERM"):
            work()
    assert time.monotonic() < begin + 5


def test_saving_is_not_interrupted(monkeypatch):
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.1)
    with stop_signals.listen():
        stop_signals.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        stop_signals.cancel_timer()
        time.sleep(0.3)
        with pytest.raises(Stopped):
            stop_signals.raise_pending()


def test_earlier_handlers_are_restored_after_the_command():
    def own(signum: int, frame: object) -> None:
        """What the process did with a signal before."""

    before = signal.signal(signal.SIGINT, own)
    try:
        with stop_signals.listen():
            stop_signals.defer()
            assert signal.getsignal(signal.SIGINT) is not own
        stop_signals.defer()
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_after_the_first_was_raised_ends_the_process_at_once():
    program = (
        "import os, signal, time\n"
        "from fer_lightning.signals import Stopped, stop_signals\n"
        "with stop_signals.listen():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except Stopped:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(30)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == -signal.SIGTERM


def test_ctrl_c_before_training_is_one_line(train, monkeypatch, tmp_path):
    from fer_lightning import train as command

    monkeypatch.setattr(command, "train", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    result = train(f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 128 + signal.SIGINT
    assert result.err == "stopped by SIGINT; nothing was trained yet\n"


def test_a_signal_within_omegaconf_is_told_as_a_signal(train, monkeypatch, tmp_path):
    """Its clean-up fails after some interruptions, and the error takes the place of `Stopped`."""
    from fer_lightning.cli import command

    def interrupted(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped:
            raise OmegaConfBaseException("'NoneType' object has no attribute '_invalidate_flags_cache'") from None

    monkeypatch.setattr(command, "settings_of", interrupted)
    result = train(f"hydra.run.dir={tmp_path / 'run'}")
    assert result.code == 128 + signal.SIGTERM
    assert result.err.endswith("stopped by SIGTERM; the same command starts again\n")
