"""Who is taken on when there is more to do than can be done: places, a short queue, and refusals.

A conversation that gets no place soon is refused at once, in as few steps as can be: what is spent
on the refused is taken from the others. Which requests are conversations is `aigateway.admission`'s
and the web's business, whether the reactor is late `aigateway.load`'s.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .config import Limits
from .errors import Overloaded
from .load import Lateness, Load

MARGIN = 0.5
"""Who would wait for longer than this share of ``queue_wait`` is refused without waiting: what is
expected may be wrong by as much, and a wait in vain is worse than none."""
FORGET = 0.9
"""What is left of the weight of a measured wait when the next one is measured."""
PROBE = 0.05
"""Seconds between two looks at the reactor while it is in time."""
SAID_EVERY = 10.0
"""Seconds between two lines in the log about refusals."""
SOON, LONGEST = 1, 60
"""Seconds after which to come again: where nothing better is known, and at most."""


class Capacity:
    """Places for conversations: ``max_requests``, of them ``max_streams`` for streamed ones.

    Who finds none waits in a queue, first come, first served; only streams wait for the place of a
    stream.
    """

    _log = Logger()

    def __init__(self, limits: Limits, clock: IReactorTime) -> None:
        self.limits = limits
        self._clock = clock
        self._active = 0
        self._streams = 0
        self._arrivals = 0
        self._lines: tuple[_Line, _Line] = OrderedDict(), OrderedDict()  # of whole answers, of streams
        self._waited = self._passed = 0.0  # by those taken from the queue: seconds, and places ahead
        self._handing_out = False
        self._refused: dict[str, int] = {}
        self._said: tuple[float, int] | None = None  # when that was logged last, and how many there were
        self._lateness = Lateness()
        self._measuring = False
        self._arrived = False  # a request, in the turn that is being measured
        self._next_probe = 0.0

    # ------------------------------------------------------------------- places

    @property
    def strained(self) -> bool:
        """Whether there is any need to ask whether a request is hopeless. Costs next to nothing."""
        return self._lateness.late or self._active >= self.limits.max_requests

    def hopeless(self) -> Overloaded | None:
        """Why a request that is there now would not be taken on, whatever it said."""
        now = self._clock.seconds()
        if limit := self.limits.max_lag:
            self._look(now)
            if self._lateness.is_over(now, limit):
                return self._overloaded("max_lag", SOON)
        return self._crowded(now) if self._active >= self.limits.max_requests else None

    async def enter(self, streamed: bool) -> None:
        """Take a place, which `leave` gives back, perhaps after waiting for it. Raises `Overloaded`.
        Cancelling it gives the place in the queue up."""
        line = self._lines[streamed]
        if not line and self._has_place(streamed):
            self._take(streamed)
            return
        now = self._clock.seconds()
        if (crowded := self._crowded(now)) is not None:
            raise crowded
        self._arrivals += 1
        number, ahead = self._arrivals, self._queued()

        def give_up(_: Deferred[None]) -> None:
            del line[number]

        place: Deferred[None] = Deferred(give_up)
        line[number] = _Waiting(place, now, ahead)
        timer = self._clock.callLater(self.limits.queue_wait, self._overdue, line, number)
        try:
            await place
        finally:
            if timer.active():
                timer.cancel()

    def leave(self, streamed: bool) -> None:
        """Give a place back, to who has waited for it longest."""
        self._active -= 1
        self._streams -= streamed
        self._hand_out()

    def reconfigure(self, limits: Limits) -> None:
        """From here on other limits hold."""
        self.limits = limits
        self._hand_out()

    def _hand_out(self) -> None:
        if self._handing_out:  # by whoever was handed one below, and is done with it already
            return
        self._handing_out = True
        try:
            while (first := self._first()) is not None:
                _, waiting = self._lines[first].popitem(last=False)
                self._waited = self._waited * FORGET + self._clock.seconds() - waiting.since
                self._passed = self._passed * FORGET + waiting.ahead + 1
                self._take(first)
                waiting.place.callback(None)
        finally:
            self._handing_out = False

    def describe(self) -> Load:
        limit, now = self.limits.max_lag, self._clock.seconds()
        return Load(
            active=self._active,
            streams=self._streams,
            queued=self._queued(),
            lag=self._lateness.lag,
            late=bool(limit) and self._lateness.is_late(now),
            refused=dict(self._refused),
        )

    def _has_place(self, streamed: bool) -> bool:
        limits = self.limits
        return self._active < limits.max_requests and (not streamed or self._streams < limits.max_streams)

    def _take(self, streamed: bool) -> None:
        self._active += 1
        self._streams += streamed
        self._lateness.take()

    def _first(self) -> bool | None:
        """Whose turn it is: a stream's (True), a whole answer's, or nobody's."""
        heads = [
            (next(iter(line)), streamed)
            for streamed, line in zip((False, True), self._lines, strict=True)
            if line and self._has_place(streamed)
        ]
        return min(heads)[1] if heads else None

    # -------------------------------------------------------------------- queue

    def _queued(self) -> int:
        return sum(map(len, self._lines))

    def _crowded(self, now: float) -> Overloaded | None:
        """Why it would be no use to wait."""
        queued = self._queued()
        wait = self._expected(queued, now)
        if queued >= self.limits.queue:
            return self._overloaded("queue", wait)
        if queued and wait > self.limits.queue_wait * MARGIN:  # the first finds out what is to be expected
            return self._overloaded("queue_wait", wait)
        return None

    def _expected(self, ahead: int, now: float) -> float:
        """How long somebody with so many ahead would wait: by what others have waited, and by what
        the first in the queue has waited already."""
        pace = self._waited / self._passed if self._passed else 0.0
        heads = [next(iter(line.values())) for line in self._lines if line]
        paces = [(now - head.since) / (head.ahead + 1) for head in heads]
        return max([pace, *paces]) * (ahead + 1)

    def _overdue(self, line: _Line, number: int) -> None:
        waiting = line.pop(number)
        waiting.place.errback(self._overloaded("queue_wait", SOON))

    def _overloaded(self, limit: str, wait: float) -> Overloaded:
        self._refused[limit] = self._refused.get(limit, 0) + 1
        self._say(limit)
        return Overloaded(_MESSAGES[limit], retry_after=min(max(ceil(wait), 1), LONGEST))

    def _say(self, limit: str) -> None:
        """Log refusals, but not each: there may be thousands in a second."""
        now, count = self._clock.seconds(), sum(self._refused.values())
        if self._said is None or now - self._said[0] >= SAID_EVERY:
            before = 0 if self._said is None else self._said[1]
            self._said = now, count
            self._log.warn(
                "{count} requests refused, the last one for {limit} in [limits];"
                " {active} are being answered, {queued} wait",
                count=count - before,
                limit=limit,
                active=self._active,
                queued=self._queued(),
            )

    # -------------------------------------------------------------------- turns

    def _look(self, now: float) -> None:
        """A request is there: see how long the reactor's next turn takes. Only requests make it be
        measured, so that nothing wakes a process without any; and while it is in time few do, since
        a turn that is waited for does not sleep."""
        self._arrived = True
        if not self._measuring and now >= self._next_probe:
            self._measuring = True
            self._lateness.begin(now)  # as far as anybody knows
            self._clock.callLater(0, self._turn, False)

    def _turn(self, measured: bool) -> None:
        """A turn begins, and another is over, which perhaps was ``measured``."""
        now, limit = self._clock.seconds(), self.limits.max_lag
        lateness = self._lateness
        if measured:
            lateness.end(now, limit)
            if not self._arrived or not (lateness.is_late(now) or lateness.lag > limit):
                self._measuring = False
                self._next_probe = now + PROBE
                lateness.rest()
                return
        self._arrived = False
        lateness.begin(now)
        self._clock.callLater(0, self._turn, True)


class _Waiting(NamedTuple):
    place: Deferred[None]
    since: float
    ahead: int


_Line = OrderedDict[int, _Waiting]

_MESSAGES = {
    "max_lag": "the gateway has more to do than it can; try again in a moment",
    "queue": "the gateway answers as many requests as it may, and its queue is full; try again in a moment",
    "queue_wait": "the gateway answers as many requests as it may; try again in a moment",
}
"""By the limit that refuses."""
