"""Where requests wait while every account that could serve them rests.

First come, first served, in a line for each set of accounts. When an account is ready again,
those who wait are let through slowly at first: the account may say at once that it is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

FIRST_GAP = 0.25
LAST_GAP = 0.02
"""Seconds between one that is let through and the next: at first, and when all goes well."""

ReadyIn = Callable[[], float | None]
"""In how many seconds an account is ready; None: in none that can be told."""


class AccountQueue:
    """At most ``places`` requests wait, in all lines together."""

    def __init__(self, clock: IReactorTime, places: int) -> None:
        self._clock = clock
        self.places = places
        self._lines: dict[Hashable, _Line] = {}
        self.refused = 0

    @property
    def waiting(self) -> int:
        return sum(len(line.waiters) for line in self._lines.values())

    def has_line(self, key: Hashable) -> bool:
        """Whether somebody waits there, who came before."""
        return key in self._lines

    async def wait(self, key: Hashable, ready_in: ReadyIn, seconds: float, *, again: bool = False) -> bool:
        """Wait for one's turn, ``seconds`` at most. False: it did not come, or there was no place.
        ``again``: its turn came, and was of no use; it stands first."""
        if self.waiting >= self.places:
            self.refused += 1
            return False
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(self._clock, ready_in, lambda: self._lines.pop(key, None))
        return await line.join(seconds, first=again)


class _Line:
    def __init__(self, clock: IReactorTime, ready_in: ReadyIn, emptied: Callable[[], object]) -> None:
        self._clock = clock
        self._ready_in = ready_in
        self._emptied = emptied
        self._gap = FIRST_GAP
        self._timer: IDelayedCall | None = None
        self.waiters: deque[Deferred[bool]] = deque()

    async def join(self, seconds: float, *, first: bool) -> bool:
        waiter: Deferred[bool] = Deferred()
        (self.waiters.appendleft if first else self.waiters.append)(waiter)
        timer = self._clock.callLater(seconds, waiter.callback, False)
        if self._timer is None:
            self._look(0.0)
        try:
            return await waiter
        finally:
            if timer.active():
                timer.cancel()
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            if not self.waiters:
                self._close()

    def _look(self, least: float) -> None:
        """See to the next one when an account is ready, ``least`` seconds from now at the earliest."""
        wait = self._ready_in()
        if wait is None:
            return  # each gives up in its own time
        if wait > 0:
            self._gap = FIRST_GAP
        self._timer = self._clock.callLater(max(wait, least), self._next)

    def _next(self) -> None:
        self._timer = None
        if not self.waiters:
            return
        wait = self._ready_in()
        if wait is None or wait > 0:  # it rests again
            self._look(0.0)
            return
        gap, self._gap = self._gap, max(self._gap / 2, LAST_GAP)
        waiter = self.waiters.popleft()
        if self.waiters:
            self._timer = self._clock.callLater(gap, self._next)
        waiter.callback(True)

    def _close(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._emptied()
