"""SIGTERM and Ctrl-C: training saves after the current step and stops; everything else stops at once."""

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 5.0
"""How long a step, or a validation, may go on after a deferred signal before it is interrupted."""


class Stopped(BaseException):
    """SIGTERM or Ctrl-C, by its name. Not an Exception, so that no handler of errors catches it.

    advice: what was saved and how to go on, for the message at the end of the command.
    """

    advice: str | None = None


class StopSignals:
    """The signals that ask this process to stop, handled inside `listen()`.

    The first signal raises `Stopped`. While deferred (`defer`), it is recorded and raised by `raise_pending()`, at the
    latest after GRACE_SECONDS or by a second signal. A signal after that kills the process.
    """

    def __init__(self) -> None:
        self.pending: str | None = None
        """Name of the signal that was received, or None."""
        self._listening = self._deferred = self._raised = False
        self._timer: threading.Timer | None = None

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM inside the block; afterwards the earlier handlers are restored."""
        before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
        self._listening = True
        self._install()
        try:
            yield
        finally:
            self.cancel_timer()
            for signum, handler in before.items():
                signal.signal(signum, handler or signal.SIG_DFL)  # None: a handler that is not Python's
            self.pending, self._listening, self._deferred, self._raised = None, False, False, False

    def defer(self) -> None:
        """Record signals from now on instead of raising. Without effect outside `listen()`."""
        if self._listening:
            self._deferred = True
            self._install()  # Lightning installs handlers of its own, which would end the run within a step

    def resume_raising(self) -> None:
        """Raise `Stopped` at once again."""
        self._deferred = False

    @property
    def number(self) -> int:
        """Number of the signal that was received, or 0."""
        return signal.Signals[self.pending] if self.pending else 0

    def raise_pending(self) -> None:
        """Raise `Stopped` if a signal was recorded."""
        self.raise_signal(self.number)

    def raise_signal(self, number: int) -> None:
        """Raise `Stopped` for a signal that this process, or another one of its run, has received; 0: for none."""
        if number:
            self.cancel_timer()
            self._raised = True
            raise Stopped(signal.Signals(number).name)

    def cancel_timer(self) -> None:
        """Do not interrupt after GRACE_SECONDS: the caller saves, and then calls `raise_pending()`."""
        if self._timer:
            self._timer.cancel()

    def _install(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._raised and self.pending:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        if self._raised:  # for another process; this signal is the one that stopped all
            self.pending = signal.Signals(signum).name
            return
        first, self.pending = self.pending is None, self.pending or signal.Signals(signum).name
        if first and self._deferred:
            self._timer = threading.Timer(GRACE_SECONDS, _thread.interrupt_main, [signal.SIGTERM])
            self._timer.daemon = True
            self._timer.start()
        else:
            self.raise_pending()


stop_signals = StopSignals()
"""Those of this process, which has only one set of handlers."""
