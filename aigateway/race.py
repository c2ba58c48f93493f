"""Two attempts at one streamed answer: whoever speaks first has the client, the other is let go.

When a second one is made, and whom it asks, is `aigateway.attempts`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .client_stream import ClientStream, Source

T = TypeVar("T")


class Lane:
    """One attempt's way to the client, while another may have one, too. To the attempt it is
    the `ClientStream`; the first byte that it writes makes it that."""

    def __init__(self, client: ClientStream, won: Callable[[Lane], None]) -> None:
        self._client = client
        self._won = won
        self._source: Source | None = None
        self.writer = client.writer
        self.on_begun: Callable[[], None] | None = None
        self.begun = False
        self.lost = False
        """Whether it was another one that spoke first."""

    def write(self, data: bytes, now: float) -> None:
        client = self._client
        if not self.begun:
            self.begun = True
            self._won(self)
            client.writer, client.on_begun = self.writer, self.on_begun
            client.feeds_from(self._source)
        client.write(data, now)

    def feeds_from(self, source: Source | None) -> None:
        self._source = source
        if self.begun:
            self._client.feeds_from(source)


class Race(Generic[T]):
    """``done`` fires as the attempt does that has the client; where none has got it, it fails as the
    last one did, and ``lost`` is told of the failures before it. Cancelling it cancels all."""

    def __init__(self, client: ClientStream, lost: Callable[[Failure], None]) -> None:
        self._client = client
        self._lost = lost
        self._running: dict[Lane, Deferred[T]] = {}
        self._winner: Lane | None = None
        self._over = False
        self.done: Deferred[T] = Deferred(self._abandon)

    @property
    def open(self) -> bool:
        """Whether nobody has the client yet, and somebody may still get it."""
        return self._winner is None and not self._over

    def enter(self, attempt: Callable[[Lane], Coroutine[Any, Any, T]]) -> None:
        """Let one more take part."""
        lane = Lane(self._client, self._overtake)
        running = Deferred.fromCoroutine(attempt(lane))
        self._running[lane] = running
        running.addCallbacks(self._finished, self._failed, callbackArgs=(lane,), errbackArgs=(lane,))

    def _overtake(self, winner: Lane) -> None:
        self._winner = winner
        for lane, running in list(self._running.items()):
            if lane is not winner:
                del self._running[lane]
                lane.lost = True
                running.cancel()

    def _finished(self, result: T, lane: Lane) -> None:
        self._running.pop(lane, None)
        if not self._over:
            self._over = True
            self._overtake(lane)
            self.done.callback(result)

    def _failed(self, failure: Failure, lane: Lane) -> None:
        ours = self._running.pop(lane, None) is not None
        if not ours or self._over:  # overtaken, and cancelled for it
            return
        if self._running:
            self._lost(failure)
            return
        self._over = True
        self.done.errback(failure)

    def _abandon(self, _: Deferred[T]) -> None:
        self._over = True
        for running in list(self._running.values()):
            running.cancel()
        self._running.clear()
