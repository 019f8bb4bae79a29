"""Ctrl-C and SIGTERM: a network that trains ends after its step, when it has saved; anything else ends at once."""

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GRACE = 5.0
"""Seconds that training may take to come to the end of its step, or of its validation, before it is stopped there."""


class Stopped(BaseException):
    """Ctrl-C or SIGTERM, by its name. Not an Exception, so that nothing on the way takes it for an error."""


class Signals:
    """The signals that ask this process to stop.

    While it is `listening`, the first one raises `Stopped`, unless the process has said (`wait`) that it will look
    itself whether one was `heard`; then it is raised by a second one, or after GRACE seconds. One after that kills.
    """

    heard: str | None = None
    """The name of the signal that asks to stop."""
    _listens = _waits = _raised = False
    _timer: threading.Timer | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM for the time of the block; what was heard in it is forgotten then."""
        before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
        self._listens = True
        self._register()
        try:
            yield
        finally:
            self.hold()
            for signum, handler in before.items():
                signal.signal(signum, handler or signal.SIG_DFL)  # None: of somebody who is not Python
            self.heard, self._listens, self._waits, self._raised = None, False, False, False

    def wait(self) -> None:
        """From now on a signal is noted alone. Without effect where nothing listens."""
        if self._listens:
            self._waits = True
            self._register()  # Lightning puts handlers of its own before ours, which would end the run in mid-step

    def no_longer_wait(self) -> None:
        """From now on a signal raises `Stopped` again."""
        self._waits = False

    def follow(self) -> None:
        """Raise `Stopped` if a signal was heard."""
        if self.heard:
            self.hold()
            self._raised = True
            raise Stopped(self.heard)

    def hold(self) -> None:
        """What was heard will be followed, however long that takes: time to save."""
        if self._timer:
            self._timer.cancel()

    def _register(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._hear)

    def _hear(self, signum: int, frame: Any) -> None:
        if self._raised:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        first, self.heard = self.heard is None, self.heard or signal.Signals(signum).name
        if first and self._waits:
            self._timer = threading.Timer(GRACE, _thread.interrupt_main, [signal.SIGTERM])
            self._timer.daemon = True
            self._timer.start()
        else:
            self.follow()


signals = Signals()
"""Those of this process, which has only one set of handlers."""
