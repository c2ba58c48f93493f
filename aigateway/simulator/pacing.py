"""One response on its way out: written piece by piece, at a pace, never waiting in memory.

What the pieces are is the wire formats' business; who counts is `provider`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import implementer

from .wire import Ending, Response


class Outgoing(Protocol):
    """What a body needs of a `twisted.web.http.Request`, which has these without types."""

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def notifyFinish(self) -> Deferred[None]: ...

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def loseConnection(self) -> None: ...


class Unframed:
    """A request as `Outgoing` whose writes are the connection's own bytes: no head, no chunks. It
    ends with its connection."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.registerProducer = request.registerProducer
        self.unregisterProducer = request.unregisterProducer
        self.notifyFinish = request.notifyFinish

    def write(self, data: bytes) -> None:
        transport = self._request.channel.transport
        assert transport is not None
        transport.write(data)

    def finish(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        self._request.channel.loseConnection()


@implementer(IPushProducer)
class PacedBody:
    """Write ``response`` to ``request``: the first piece after ``first`` seconds, each next
    one ``interval`` seconds later. With ``interval`` None all of them in one turn, each still
    a write of its own.

    It is the request's push producer: while the client's side is full no piece is made.
    ``ended`` is called once, with whether the client left first.
    """

    def __init__(
        self,
        request: Outgoing,
        response: Response,
        clock: IReactorTime,
        *,
        first: float,
        interval: float | None,
        ended: Callable[[bool], None],
    ) -> None:
        self._request = request
        self._pieces = iter(response.pieces)
        self._ending = response.ending
        self._clock = clock
        self._interval = interval
        self._ended: Callable[[bool], None] | None = ended
        self._paused = False
        self._spent = False
        self._next_call: IDelayedCall | None = None
        request.registerProducer(self, True)
        request.notifyFinish().addErrback(self._client_left)
        self._schedule(first if interval is not None else None)

    def pauseProducing(self) -> None:
        self._paused = True
        self._cancel()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._ended is not None and not self._spent and self._next_call is None:
            self._schedule(self._interval)

    def stopProducing(self) -> None:
        self._end(client_left=True)

    def _client_left(self, reason: Failure) -> None:
        self._end(client_left=True)

    def _schedule(self, delay: float | None) -> None:
        if delay is None:
            self._write()
        else:
            self._next_call = self._clock.callLater(delay, self._write)

    def _write(self) -> None:
        self._next_call = None
        while self._ended is not None and not self._paused:
            piece = next(self._pieces, None)
            if piece is None:
                self._finish()
                return
            self._request.write(piece)
            if self._interval is not None:
                if not self._paused:
                    self._schedule(self._interval)
                return

    def _finish(self) -> None:
        self._spent = True
        if self._ending is Ending.NEVER:
            return
        self._request.unregisterProducer()
        self._end(client_left=False)
        if self._ending is Ending.CUT:
            # Not an abort: that would throw away what the client has not read yet. A
            # chunked body without its last chunk is as plainly cut.
            self._request.loseConnection()
        else:
            self._request.finish()

    def _end(self, *, client_left: bool) -> None:
        self._cancel()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(client_left)

    def _cancel(self) -> None:
        call, self._next_call = self._next_call, None
        if call is not None:
            call.cancel()
