"""SIGINT and SIGTERM: training ends its step and saves it, everything else stops where it is.

`installed` handles the signals for the length of a command. Inside `saving_first` a first signal is only noted, so that
whoever holds a state can save it and stop (`asked`); `GRACE_SECONDS` later, or at a second signal, work stops all the same.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 8.0
"""Most clusters and container runtimes kill ten seconds after SIGTERM or later."""


class Interrupted(BaseException):
    """Somebody wants the command to stop. No Exception: a sweep must not take it for one run's failure and go on."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What shells expect: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + self.number


class _Signals:
    """What has been received in this process."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.installed = False
        self.waiting = False
        """Whether the first signal leaves time to save."""

    def note(self, number: int, frame: FrameType | None) -> None:
        second, self.received = self.received is not None, number
        if second or not self.waiting:
            raise Interrupted(number)
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self.too_late)
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)

    def too_late(self, number: int, frame: FrameType | None) -> None:
        if self.waiting and self.received is not None:
            raise Interrupted(self.received)


_signals = _Signals()


@contextmanager
def installed() -> Iterator[None]:
    """Turn both signals into `Interrupted`, in the main thread."""
    before = {number: signal.signal(number, _signals.note) for number in SIGNALS}
    _signals.installed = True
    try:
        yield
    finally:
        _signals.received, _signals.installed = None, False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def saving_first() -> Iterator[None]:
    """Let the work inside save its state before it stops; it asks `asked` where it could."""
    _signals.waiting = True
    try:
        yield
    finally:
        _signals.waiting = False
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def take_back() -> None:
    """Put the handlers of `installed` back where a library, in the middle of the work, has put its own before them."""
    if _signals.installed:
        for number in SIGNALS:
            signal.signal(number, _signals.note)


def received() -> int:
    """The number of the newest signal; 0 where none has come."""
    return _signals.received or 0


def asked() -> bool:
    """Whether a signal has been received."""
    return _signals.received is not None


def stop_if_asked() -> None:
    """Raise Interrupted where a signal has been received."""
    if _signals.received is not None:
        raise Interrupted(_signals.received)
