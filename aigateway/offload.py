"""Heavy work beside the reactor: reading and writing megabytes of JSON.

What is small is done on the spot, which costs nothing. What is large is done in a thread, one piece of
work after the other, while the streams go on. Python runs one thread at a time, so that the reactor
still waits: for the decoder call that is under way, since nothing interrupts one, and for its turn,
which comes after `TURN` seconds. `aigateway.jsontext` bounds the first; what is to be done is the
callers' business, who give work that changes nothing that others see.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

THREADS = 1
"""Two would not be done sooner, since only one runs at a time, and the reactor would wait for both."""
TURN = 0.0005
"""Seconds after which a thread at work makes room for one that waits, while there is heavy work. Python's own
5 ms are the reactor's delay at each system call, of which a chunk on its way takes several."""
CALM = 1.0
"""Seconds without heavy work after which memory is given back: the C library keeps what is freed."""
OBJECT = 200
"""Bytes of text that cost about as much as an object or a list."""


class Threads(Protocol):
    """As much of a `ThreadPool` as is used here."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object] | None, func: Callable[[], Any], /
    ) -> None: ...


def weight(raw: bytes) -> int:
    """What ``raw`` costs to read, as bytes of plain text: small objects cost more than a long string."""
    return len(raw) + OBJECT * (raw.count(b"{") + raw.count(b"["))


class Offload:
    """Does what weighs ``threshold`` bytes or more in a thread, for callers in ``reactor``'s. Whoever
    makes one stops it: its thread would outlive the reactor."""

    def __init__(self, reactor: Any, threshold: int, threads: Threads | None = None) -> None:
        self._reactor = reactor
        self._threshold = threshold
        self._threads: Threads = threads or ThreadPool(0, THREADS, "offload")
        self._started = False
        self._open = 0
        self._turn = 0.0  # what the interpreter's was before
        self._calm: IDelayedCall | None = None

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. Who cancels it gets none of that; work that has not begun by
        then is not done."""
        if size < self._threshold:
            return work()
        done: Deferred[T] = Deferred()  # once cancelled, it takes no notice of a result

        def unless_cancelled() -> T | None:
            return None if done.called else work()

        def ended(succeeded: bool, result: Any) -> None:
            self._reactor.callFromThread(self._ended, done, succeeded, result)

        self._begun()
        self._threads.callInThreadWithCallback(ended, unless_cancelled)
        return await done

    def stop(self) -> None:
        """End the threads, when they have done what they are at."""
        if self._calm is not None and self._calm.active():
            self._calm.cancel()
        if self._started:
            self._started = False
            self._threads.stop()

    def _begun(self) -> None:
        if self._calm is not None and self._calm.active():
            self._calm.cancel()
        if not self._started:
            self._started = True
            self._threads.start()
        if not self._open:
            self._turn = sys.getswitchinterval()
            sys.setswitchinterval(min(TURN, self._turn))
        self._open += 1

    def _ended(self, done: Deferred[Any], succeeded: bool, result: Any) -> None:
        self._open -= 1
        if not self._open:
            sys.setswitchinterval(self._turn)
            if self._started:
                self._calm = self._reactor.callLater(CALM, self._give_back)
        if succeeded:
            done.callback(result)
        else:
            done.errback(result)

    def _give_back(self) -> None:
        self._threads.callInThreadWithCallback(None, _trim)


def _trim() -> None:
    """Give free memory back to the system, where the C library is one that keeps it and can be told to."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def on_the_spot() -> Offload:
    """One that does everything at once, without a thread: for tests in memory."""
    return Offload(None, sys.maxsize)
