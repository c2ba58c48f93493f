"""How busy the gateway is: the numbers that it shows, and whether it is late with its work.

Pure: what time it is, is passed in. Who is refused for it is `aigateway.overload`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

SUSTAINED = 0.1
"""Seconds of nothing but long turns that make the gateway late: one heavy request does not."""
RECOVERING = 0.75
"""A turn of less than this share of the one before is no sign of lateness: after a pause, however it came
about, what has piled up in it takes a while, too, but less and less."""
CALM = 1.0
"""Seconds after which it no longer is, when nothing was refused in them."""
AIM = 0.3
"""What turns are to take while it is late, as a share of what they may: who is refused waits for two,
the one in which it came and the one in which it is told."""
BUSY = 0.15
"""Which share of what turns may take they have to take for anybody to be refused: no number of requests is
too much for a gateway that is done with them at once."""
STEP = 0.1
"""By which share the number of new requests in a turn is changed from one turn to the next."""


class Load(msgspec.Struct, frozen=True):
    """What is being answered, what waits, and what was refused since the start, by the name of the
    limit. ``lag`` is how long the reactor's last measured turn took, in seconds; ``late``: it has
    more to do than it can."""

    active: int = 0
    streams: int = 0
    queued: int = 0
    lag: float = 0.0
    late: bool = False
    refused: Mapping[str, int] = {}


class Lateness:
    """Whether the reactor's turns are too long for more work, by how long the last ones took.

    A turn is one round over all that is ready, so it is what everything waits for: the measure of
    how much more there is to do than can be done. When for `SUSTAINED` there were none but long
    ones that did not get shorter, or each was longer than the one before, the gateway is late. From
    then on only so many new requests are taken on in a turn, more or fewer as it turns out, that turns
    become `AIM` as long as they may be; none in a turn after one of twice that limit, which had enough
    to do as it was. While turns are shorter than `BUSY`, any number is.
    """

    def __init__(self) -> None:
        self.late = False
        """As of the last look; `is_late` looks."""
        self.lag = 0.0
        self._began: float | None = None  # of the turn that is being measured
        self._before = 0.0  # how long the turn right before it took, if that was measured
        self._taken = 0  # new requests in it
        self._allowed = 1.0  # of them, while late
        self._long_since: float | None = None  # the end of the first long turn: it may have been alone
        self._last = 0.0  # when there was a need to be late

    def begin(self, now: float) -> None:
        """A turn begins."""
        self._began = now
        self._taken = 0

    def take(self) -> None:
        """A new request was taken on."""
        self._taken += 1

    def end(self, now: float, limit: float) -> None:
        """It is over; it was long if it took more than ``limit``."""
        if self._began is None:
            return
        self._find_late(now, limit)
        self.lag = self._before = now - self._began
        if self.lag > limit * AIM:
            self._allowed = max(self._allowed * (1 - STEP), 1.0)
        elif self._taken >= self._allowed:
            self._allowed *= 1 + STEP
        if self.lag <= limit:
            self._long_since = None
        elif self._long_since is None:
            self._long_since = now

    def rest(self) -> None:
        """No turn is measured for now."""
        self._began = self._long_since = None
        self._before = 0.0

    def is_late(self, now: float) -> bool:
        if self.late and now - self._last > CALM:
            self.late = False
        return self.late

    def is_over(self, now: float, limit: float) -> bool:
        """Whether the time for new requests in this turn is over."""
        if self._began is None:
            return False
        self._find_late(now, limit)
        busy = max(self._before, now - self._began) > limit * BUSY
        over = self.late and busy and (self._taken >= self._allowed or self._before > 2 * limit)
        if over:
            self._last = now
        return over

    def _find_late(self, now: float, limit: float) -> None:
        """Become late, where this turn is another long one."""
        if self.is_late(now) or self._began is None or self._long_since is None:
            return
        length, before = now - self._began, self._before
        lasting = now - self._long_since >= SUSTAINED and length > before * RECOVERING
        if length > limit and (lasting or length > before):
            self.late = True
            self._last = now
            self._allowed = max(self._taken * limit * AIM / length, 1.0)
