"""Bodies on their way from a provider: streamed through (`Relay`) or gathered (`Collector`).

Both are body Protocols with a ``done`` that fires once and can be cancelled; cancelling it
closes the provider's connection at once. What the bytes mean is the translator's business.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from .client_stream import Sink
from .config import Timeouts
from .errors import UpstreamError, UpstreamGarbled, UpstreamSilent, UpstreamTruncated
from .estimate import output_tokens
from .translate import Stream

LINGER = 2.0
"""Seconds that a body has, after the answer in it was whole, to end by itself: then its
connection can be kept."""
RATE_WINDOW = 10.0
"""Seconds of an answer that ``min_rate`` is measured over, one stretch after the other."""


class _Body(Protocol):
    """What relay and collector have in common: one ``done``, and a way to let go."""

    transport: Any
    _abort: Callable[[], None] | None = None
    _over = False

    def __init__(self) -> None:
        self.done: Deferred[Any] | None = Deferred(self._abandon)

    def attach(self, response: IResponse) -> None:
        """Take over ``response``'s body. ``done`` may have fired when this returns."""
        self._abort = _abort_of(response)
        response.deliverBody(self)

    def _settle(self, result: object) -> None:
        done, self.done = self.done, None
        if done is not None:
            if isinstance(result, (Failure, Exception)):
                done.errback(result)
            else:
                done.callback(result)

    def _abandon(self, _: Deferred[Any]) -> None:
        self.done = None
        self._let_go()

    def _let_go(self) -> None:
        """Close the provider's connection, unless its response is complete."""
        if self._over:
            return
        self._over = True
        if self._abort is not None:
            self._abort()
        elif self.transport is not None:
            self.transport.loseConnection()


class Relay(_Body):
    """Carries one streamed answer to one client.

    ``done`` fires with None when the answer was whole, and fails with the `UpstreamError`
    that cut it short. What came before a failure has been written, unless it came together
    with it and was the first: then another provider may still take over. It holds the limits
    ``first_token``, ``idle`` and ``min_rate``, and is paused by the client's stream: none of them
    runs while the client is the slow one.
    """

    def __init__(
        self, client: Sink, stream: Stream, timeouts: Timeouts, clock: IReactorTime, host: str
    ) -> None:
        super().__init__()
        self._client = client
        self._stream = stream
        self._timeouts = timeouts
        self._clock = clock
        self._host = host
        self._opened = self._last = clock.seconds()
        self._begun = False
        self._paused = False
        self._paused_at = 0.0
        self._window_end: float | None = None  # of the stretch in which the rate is measured; None: it is not
        self._window_size = 0  # of the answer, when that stretch began
        self._timer: IDelayedCall | None = None
        self._pieces: list[bytes] | None = None  # of the read in hand; None where nobody tells its end
        self.bytes_in = 0
        self.first_byte_at: float | None = None

    def carry(self, response: IResponse) -> Deferred[None]:
        """``response``'s body to the client; fires as ``done`` does."""
        done: Deferred[None] | None = self.done
        assert done is not None
        self.attach(response)
        return done

    def attach(self, response: IResponse) -> None:
        after_read = getattr(getattr(response, "original", response), "after_read", None)
        if after_read is not None:
            self._pieces = []
            after_read(self._flush)
        super().attach(response)
        self._flush()  # what had come with the head

    def connectionMade(self) -> None:
        self._client.feeds_from(self)
        self._watch()

    def dataReceived(self, data: bytes) -> None:
        """One HTTP chunk; those of one read are passed on together."""
        if self._pieces is None:
            self._received(data)
        else:
            self._pieces.append(data)

    def _flush(self) -> None:
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._received(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _received(self, data: bytes) -> None:
        if self.done is None:
            return
        if self._paused and self.transport is not None:
            self.transport.pauseProducing()  # deliverBody resumes it, whatever was asked before
        self._last = now = self._clock.seconds()
        if self.first_byte_at is None:
            self.first_byte_at = now
        self.bytes_in += len(data)
        stream = self._stream
        try:
            answer = stream.feed(data)
        except Exception:  # a bug of ours: out of here, Twisted would report it as the provider's
            self._finish(Failure())
            return
        if answer and (stream.failure is None or self._client.begun):
            self._client.write(answer, now)
        if stream.ended:
            self._finish(stream.failure)
        elif not self._begun and stream.begun:
            self._begun = True
            if self._timeouts.min_rate:
                self._window_end, self._window_size = now + RATE_WINDOW, stream.size
            self._watch()

    def connectionLost(self, reason: Failure = ResponseDone) -> None:  # type: ignore[assignment]
        self._over = True
        self._flush()
        self._stop_watching()
        if self.done is None:
            return
        self._end(fault_of(reason, self._host))

    # -------------------------------------------------------- the client's pace

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._paused_at = self._clock.seconds()
        self._stop_watching()
        if self.transport is not None and not self._over:
            self.transport.pauseProducing()

    def resume(self) -> None:
        if not self._paused:
            return
        self._paused = False
        if self.done is None:
            return
        self._last = now = self._clock.seconds()
        waited = now - self._paused_at
        self._opened += waited
        if self._window_end is not None:
            self._window_end += waited
        self._watch()
        if self.transport is not None and not self._over:
            self.transport.resumeProducing()

    # ------------------------------------------------------------------ limits

    def _watch(self) -> None:
        """Look again when the limit in force would be reached, if nothing came until then."""
        self._stop_watching()
        if self.done is None or self._paused:
            return
        limits = self._timeouts
        now = self._clock.seconds()
        due = self._last + limits.idle if self._begun else self._opened + limits.first_token
        silent = due <= now
        if self._window_end is not None:
            if self._window_end <= now and not silent:
                if self._too_slow():
                    self._give_up(f"sent less than {limits.min_rate:g} tokens a second", "min_rate")
                    return
                self._window_end, self._window_size = now + RATE_WINDOW, self._stream.size
            due = min(due, self._window_end)
        if not silent:
            self._timer = self._clock.callLater(due - now, self._watch)
        elif self._begun:
            self._give_up(f"sent nothing for {limits.idle:g} s", "idle")
        else:
            self._give_up(f"began no answer within {limits.first_token:g} s", "first_token")

    def _too_slow(self) -> bool:
        """Whether the stretch that is over held fewer tokens than it should."""
        told = output_tokens(self._stream.size - self._window_size)
        return told < self._timeouts.min_rate * RATE_WINDOW

    def _give_up(self, what: str, limit: str) -> None:
        self._end(UpstreamSilent(f"{self._host} {what} (limit {limit})", limit=limit))
        self._let_go()

    def _stop_watching(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # --------------------------------------------------------------------- end

    def _end(self, fault: UpstreamError | None) -> None:
        """The body is over, for ``fault`` if it did not end by itself."""
        try:
            answer = self._stream.end(fault)
        except Exception:  # as in `_received`
            self._finish(Failure())
            return
        if answer and (self._stream.failure is None or self._client.begun):
            self._client.write(answer, self._clock.seconds())
        self._finish(self._stream.failure)

    def _finish(self, failure: Failure | UpstreamError | None) -> None:
        self._stop_watching()
        self._client.feeds_from(None)
        if failure is not None:
            self._let_go()
        elif not self._over:
            # The end marker is mostly in one read with the body's end: give that a moment,
            # and the connection is kept for the next request.
            if self._paused and self.transport is not None:
                self.transport.resumeProducing()
            self._timer = self._clock.callLater(LINGER, self._let_go)
        self._settle(failure)

    def _abandon(self, done: Deferred[Any]) -> None:
        self._stop_watching()
        self._client.feeds_from(None)
        super()._abandon(done)


class Collector(_Body):
    """Gathers a whole body, at most ``limit`` bytes; ``done`` fires with it.

    ``idle`` limits the pause between chunks. A body without a declared length that was
    closed counts as whole: HTTP cannot know, and its parser will.
    """

    def __init__(self, limit: int, clock: IReactorTime, idle: float | None, host: str) -> None:
        super().__init__()
        self._limit = limit
        self._clock = clock
        self._idle = idle
        self._host = host
        self._body = BytesIO()  # gives what it holds without another copy of it
        self._last = clock.seconds()
        self._timer: IDelayedCall | None = None
        self.size = 0
        self.first_byte_at: float | None = None

    def collect(self, response: IResponse) -> Deferred[bytes]:
        """The whole of ``response``'s body."""
        done: Deferred[bytes] | None = self.done
        assert done is not None
        self.attach(response)
        return done

    def connectionMade(self) -> None:
        self._watch()

    def dataReceived(self, data: bytes) -> None:
        if self.done is None:
            return
        self._last = self._clock.seconds()
        if self.first_byte_at is None:
            self.first_byte_at = self._last
        self.size += len(data)
        if self.size > self._limit:
            self._body.close()
            self._let_go()
            self._settle(UpstreamGarbled(f"{self._host} sent an answer larger than {self._limit} bytes"))
            return
        self._body.write(data)

    def connectionLost(self, reason: Failure = ResponseDone) -> None:  # type: ignore[assignment]
        self._over = True
        if self.done is None:
            return
        fault = fault_of(reason, self._host)
        self._settle(self._body.getvalue() if fault is None else fault)

    def _watch(self) -> None:
        self._timer = None
        if self.done is None or self._idle is None:
            return
        due, now = self._last + self._idle, self._clock.seconds()
        if now < due:
            self._timer = self._clock.callLater(due - now, self._watch)
            return
        self._let_go()
        self._settle(
            UpstreamSilent(f"{self._host} sent nothing for {self._idle:g} s (limit idle)", limit="idle")
        )

    def _settle(self, result: object) -> None:
        self._stop_watching()
        super()._settle(result)

    def _abandon(self, done: Deferred[Any]) -> None:
        self._stop_watching()
        super()._abandon(done)

    def _stop_watching(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def let_go(response: IResponse) -> None:
    """Close the connection of a response whose body nobody wants, unless it is complete."""
    abort = _abort_of(response)
    if abort is not None:
        abort()


def _abort_of(response: IResponse) -> Callable[[], None] | None:
    """How to close the response's connection at once, where `aigateway.agent` made it."""
    abort: Callable[[], None] | None = getattr(getattr(response, "original", response), "abort", None)
    return abort


def fault_of(reason: Failure, host: str) -> UpstreamError | None:
    """What the way a body ended says: None where HTTP has no complaint or cannot know."""
    if reason.check(ResponseDone, PotentialDataLoss):
        return None
    return UpstreamTruncated(f"{host} closed the connection in the middle of its answer")
