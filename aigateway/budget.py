"""How much may be asked again: shares of what is asked anyway. Pure; the clock is passed in."""

from __future__ import annotations

import msgspec

WINDOW = 10
"""Seconds over which requests and further attempts are counted."""
MAX_CREDIT = 5.0


class RetryBudget:
    """In any `WINDOW` at most ``share`` as many further attempts as there were requests, but
    ``always`` in any case: an outage must not multiply the calls, and a lone request must
    be able to go elsewhere."""

    def __init__(self, share: float, always: int) -> None:
        self.share = share
        self.always = always
        self._second = -1
        self._requests = [0] * WINDOW
        self._retries = [0] * WINDOW
        self.denied = 0

    def request(self, now: float) -> None:
        """A request has come."""
        self._requests[self._slot(now)] += 1

    def take(self, now: float) -> bool:
        """Whether there may be one further attempt now; it then counts as made."""
        slot = self._slot(now)
        if sum(self._retries) + 1 > max(self.always, self.share * sum(self._requests)):
            self.denied += 1
            return False
        self._retries[slot] += 1
        return True

    def _slot(self, now: float) -> int:
        """The place of the second that ``now`` is in, those that have gone by since emptied."""
        second = int(now)
        for passed in range(max(self._second + 1, second - WINDOW + 1), second + 1):
            self._requests[passed % WINDOW] = self._retries[passed % WINDOW] = 0
        self._second = max(second, self._second)
        return self._second % WINDOW


class Retrying(msgspec.Struct, frozen=True):
    """What became of requests that could not be answered at once, as the stats show it: further attempts
    ``denied`` for want of budget, requests ``waiting`` for an account, and those ``turned_away``
    since there was no place to wait."""

    denied: int = 0
    waiting: int = 0
    turned_away: int = 0


class Credit:
    """A ``share`` of what is counted may be taken; what is not taken is kept, up to `MAX_CREDIT`."""

    def __init__(self) -> None:
        self._credit = 0.0

    def count(self, share: float) -> None:
        self._credit = min(self._credit + share, MAX_CREDIT)

    def available(self) -> bool:
        # A sum of twenty times 0.05 is a little less than 1.
        return self._credit > 1 - 1e-9

    def take(self) -> bool:
        if not self.available():
            return False
        self._credit = max(self._credit - 1, 0.0)
        return True
