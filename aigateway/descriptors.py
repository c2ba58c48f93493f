"""File descriptors: how many the process may have, and how many clients that is enough for.

Each connection is one, a client's as well as a provider's. Who is turned away for want of
them is `aigateway.channel`'s business, and `aigateway.upstream`'s.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from zope.interface import implementer

RESERVE = 64
"""Descriptors for all that is no client's and no answer's: the listener, the reactor, the log,
the state file, names being looked up."""
PLENTY = 2**20
"""More are not asked for: a hard limit may be a thousand million, or none."""


def raise_limit() -> int | None:
    """Raise the soft limit of open files to the hard one; the limit then, None where there is none."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    wanted = PLENTY if hard == resource.RLIM_INFINITY else min(hard, PLENTY)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # macOS has a lower limit of its own
            return soft
    return max(soft, wanted)


def connections(files: int | None, configured: int) -> int | None:
    """How many clients may be connected where ``files`` may be open: an answer takes a descriptor
    for the client and one for the provider. ``configured`` may make it fewer; 0 does not."""
    if files is None:
        return configured or None
    allowed = max((files - RESERVE) // 2, 1)
    return min(configured, allowed) if configured else allowed


def log_accepts_seldom(clock: IReactorTime) -> None:
    """Let Twisted say at most once a minute that it has no descriptor for a connection: by itself
    it logs each one that it closes for that."""
    port: Any = tcp.Port
    port._logger = Logger(namespace="twisted.internet.tcp.Port", observer=Seldom(clock, globalLogPublisher))


@implementer(ILogObserver)
class Seldom:
    """Passes on the first event of each ``seconds``; ``held_back`` in it counts those before it."""

    def __init__(self, clock: IReactorTime, observer: ILogObserver, seconds: float = 60.0) -> None:
        self._clock = clock
        self._observer = observer
        self._seconds = seconds
        self._last: float | None = None
        self._held_back = 0

    def __call__(self, event: LogEvent) -> None:
        now = self._clock.seconds()
        if self._last is not None and now - self._last < self._seconds:
            self._held_back += 1
            return
        self._last = now
        if self._held_back:
            event["held_back"] = self._held_back
            event["log_format"] = f"{event.get('log_format')} ({{held_back}} more lines like this before it)"
        self._held_back = 0
        self._observer(event)
