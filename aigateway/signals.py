"""What the process does on signals: stop gently, stop now, read the configuration again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

STOP = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """SIGTERM and SIGINT stop the reactor, whose services drain, and then the process exits with
    status 0: by itself twistd would re-raise the signal and so seem killed by it. The second one
    ends the process at once. SIGHUP calls ``reload``.

    A terminal that is closed sends SIGHUP, too: a process that was started from it is stopped then.
    """

    def __init__(self, reactor: Any, reload: Callable[[], None]) -> None:
        self._reactor = reactor
        self._reload = reload
        self._in_terminal = False

    def install(self) -> None:
        """Take the signals over from the reactor, once it runs and has set its own."""
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        if not getattr(self._reactor, "_installSignalHandlers", False):
            return
        for number in STOP:
            signal.signal(number, self._stop)
        self._in_terminal = os.isatty(0)
        signal.signal(signal.SIGHUP, self._hang_up)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        # The kernel spares process 1, as which it runs in a container, what it has no handler for.
        second = _exit if os.getpid() == 1 else signal.SIG_DFL
        for one in STOP:
            signal.signal(one, second)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._reactor.callFromThread(self._reactor.stop)

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        if self._in_terminal and not os.isatty(0):
            self._stop(number, frame)
        else:
            self._reactor.callFromThread(self._reload)


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
