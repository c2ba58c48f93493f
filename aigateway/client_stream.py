"""The client's side of one streamed answer: head, pace, keep-alive, end.

It outlives the attempts: whichever provider answers in the end, the client sees one stream.
Formats are the writer's business; here are only bytes and time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from .client_request import GatewayRequest
from .dialects.base import Writer
from .errors import GatewayError

CHECKS = 10
"""How often it is looked, within ``write_stall``, whether a client that is full has read anything."""


class Source(Protocol):
    """Whoever feeds a stream, and can be asked to wait."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Sink(Protocol):
    """Where a source's bytes go: a client, or what may become the way to it."""

    @property
    def begun(self) -> bool: ...

    def write(self, data: bytes, now: float) -> None: ...

    def feeds_from(self, source: Source | None) -> None: ...


@implementer(IPushProducer)
class ClientStream:
    """A streamed answer to ``request``.

    ``head`` sets the response's headers, once, right before the first byte. ``committed``:
    that byte is out, keep-alive comments included; ``begun``: so is a byte of an answer,
    and no other provider can take over. ``writer`` speaks for the gateway itself; an attempt
    brings its own, fresh one along. ``on_begun`` is called right before the first byte of the
    answer. ``stalled`` is called when the client has read
    nothing for ``write_stall`` seconds.
    """

    def __init__(
        self,
        request: GatewayRequest,
        writer: Writer,
        clock: IReactorTime,
        *,
        head: Callable[[], None],
        ping: float,
        write_stall: float,
        stalled: Callable[[], None],
    ) -> None:
        self._request = request
        self.writer = writer
        self._clock = clock
        self._head = head
        self._ping = ping
        self._write_stall = write_stall
        self._stalled = stalled
        self._source: Source | None = None
        self._paused = False
        self._last = clock.seconds()
        self._ping_timer: IDelayedCall | None = None
        self._stall_timer: IDelayedCall | None = None
        self._registered = False
        self._unsent_before = 0
        self._read_at = 0.0  # when the client was last seen to read, while it is full
        self.committed = False
        self.begun = False
        self.on_begun: Callable[[], None] | None = None
        self.first_byte_at: float | None = None
        self.chunks = 0
        self.bytes_out = 0

    def open(self) -> None:
        """Begin to wait with the client: from here on it is kept alive, and sets the pace."""
        self._registered = True
        self._request.registerProducer(self, True)
        if self._ping:
            self._ping_timer = self._clock.callLater(self._ping, self._keep_alive)

    def feeds_from(self, source: Source | None) -> None:
        self._source = source
        if source is not None and self._paused:
            source.pause()

    def write(self, data: bytes, now: float) -> None:
        """Send ``data``, frames of the answer; ``now`` is the clock's time."""
        if not self.begun:
            if self.on_begun is not None:
                self.on_begun()
            self.begun = True
            self.first_byte_at = now
        self.chunks += 1
        self.bytes_out += len(data)
        self._send(data, now)

    def fail(self, error: GatewayError) -> None:
        """One error frame, and the end: without HTTP's own end marker, so that nobody takes
        the answer for whole."""
        data = self.writer.fail(error)
        self.bytes_out += len(data)
        self._send(data, self._clock.seconds())
        self.close()
        self._request.cut()

    def close(self) -> None:
        """Nothing more will be written. Safe to call again, and after the client has left."""
        self._source = None
        for timer in (self._ping_timer, self._stall_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._ping_timer = self._stall_timer = None
        if self._registered:
            self._registered = False
            if self._request.channel is not None:
                self._request.unregisterProducer()

    def _send(self, data: bytes, now: float) -> None:
        self._last = now
        request = self._request
        if self.committed:
            request.write_chunk(data)
        else:
            self.committed = True
            self._head()
            request.write(data)

    def _keep_alive(self) -> None:
        now = self._clock.seconds()
        due = self._last + self._ping
        if now < due:  # compared, not subtracted: what is rounded away would be waited for again and again
            self._ping_timer = self._clock.callLater(due - now, self._keep_alive)
            return
        self._ping_timer = self._clock.callLater(self._ping, self._keep_alive)
        if not self._paused:  # a client that does not read needs no more to read
            self._send(self.writer.keep_alive(), now)

    # ------------------------------------------------ the client sets the pace

    def pauseProducing(self) -> None:
        self._paused = True
        if self._stall_timer is None:
            self._unsent_before = self._unsent()
            self._read_at = self._clock.seconds()
            self._stall_timer = self._clock.callLater(self._write_stall / CHECKS, self._look)
        if self._source is not None:
            self._source.pause()

    def resumeProducing(self) -> None:
        self._paused = False
        timer, self._stall_timer = self._stall_timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._source is not None:
            self._source.resume()

    def stopProducing(self) -> None:
        """The client has gone; Klein cancels the route, and that lets go of everything."""

    def _look(self) -> None:
        """See whether any of what waits was read since the last time: a slow reader, or none?"""
        now = self._clock.seconds()
        unsent = self._unsent()
        if unsent < self._unsent_before:
            self._unsent_before, self._read_at = unsent, now
        remaining = self._read_at + self._write_stall - now
        if remaining > 0:
            wait = min(remaining, self._write_stall / CHECKS)
            self._stall_timer = self._clock.callLater(wait, self._look)
            return
        self._stall_timer = None
        self._stalled()

    def _unsent(self) -> int:
        channel = self._request.channel
        return channel.unsent() if channel is not None else 0
