"""All client connections: who may connect, what they have in common, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, resource, server

from . import descriptors
from .channel import GatewayChannel
from .client_request import GatewayRequest
from .config import Limits
from .dialects.base import ErrorAnswer
from .errors import GatewayError

SAID_EVERY = 60.0
"""Seconds between two lines in the log about connections that were turned away."""


class TurnedAway(Protocol):
    """A connection for which there is no place. (TLS wants a protocol, so there has to be one.)"""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.abortConnection()


class GatewaySite(server.Site):
    """Builds channels. ``screen`` looks at a request's head (request, method, path) and raises
    the `GatewayError` that refuses it, ``begin`` does so when the body is there, too;
    ``render_error`` says an error in the caller's dialect; ``refused`` is told of each early
    refusal. ``brief`` is given what was read where a request may begin: the answer, if
    there is nothing more to be known of it, or None. ``files`` is how many files the process may
    open; None: that is no limit. ``turned_away`` counts connections beyond ``most_connections``."""

    protocol = GatewayChannel  # type: ignore[assignment]  # not Twisted's HTTP/2 switch: it costs a call per read
    requestFactory = GatewayRequest
    noisy = False
    _logger = Logger(namespace="aigateway")

    def __init__(
        self,
        root: resource.Resource,
        clock: Any,
        limits: Limits,
        write_stall: float,
        *,
        screen: Callable[[GatewayRequest, bytes, bytes], None],
        begin: Callable[[GatewayRequest, bytes, bytes], None],
        render_error: Callable[..., ErrorAnswer],
        refused: Callable[[GatewayError, ErrorAnswer], None],
        brief: Callable[[bytes], bytes | None],
    ) -> None:
        super().__init__(
            root,
            requestFactory=GatewayRequest,
            timeout=limits.keep_alive,
            reactor=clock,
            parsePOSTFormSubmission=False,
        )
        self.displayTracebacks = False
        self.clock: IReactorTime = clock
        self.limits = limits
        self.write_stall = write_stall
        self.screen = screen
        self.begin = begin
        self.render_error = render_error
        self.refused = refused
        self.brief = brief
        self.channels: set[GatewayChannel] = set()
        self.files: int | None = None
        self.turned_away = 0
        self._said: tuple[float, int] | None = None  # when that was logged last, and what it was
        self.closing = False
        self.last_idle = 0.0
        self._emptied: Deferred[None] | None = None

    @property
    def most_connections(self) -> int | None:
        """How many clients may be connected at a time."""
        return descriptors.connections(self.files, self.limits.max_connections)

    def describe(self) -> dict[str, int | None]:
        """For the stats page. ``limit``: None where there is none."""
        return {
            "open": len(self.channels),
            "limit": self.most_connections,
            "turned_away": self.turned_away,
        }

    def buildProtocol(self, addr: IAddress | None) -> Any:
        most = self.most_connections
        if most is None or len(self.channels) < most:
            return super().buildProtocol(addr)
        self.turned_away += 1
        now = self.clock.seconds()
        last, counted = self._said or (now - SAID_EVERY, 0)
        if now - last >= SAID_EVERY:
            self._said = now, self.turned_away
            self._logger.warn(
                "{count} connections turned away: {most} are open, and that is all there may be"
                " (max_connections in [limits], or half of the files that the process may open)",
                count=self.turned_away - counted,
                most=most,
            )
        return TurnedAway()

    def log(self, request: http.Request) -> None:
        """No access log: the outcome has its own line."""

    def log_failure(self, reason: Failure) -> None:
        self._logger.failure("a request failed in the gateway", reason)

    def gone(self, channel: GatewayChannel) -> None:
        self.channels.discard(channel)
        if not self.channels:
            self._fire()

    def drain(self, idle: float) -> None:
        """Every answer that begins from now on is the last one on its connection. One on which
        nothing comes for ``idle`` seconds is closed."""
        self.closing = True
        self.last_idle = idle
        for channel in list(self.channels):
            channel.expect_last()

    def close_idle(self) -> None:
        """Close connections without a request, each once what was written has been read."""
        for channel in list(self.channels):
            if not channel.requests:
                channel.loseConnection()

    async def emptied(self, seconds: float) -> None:
        """Wait until all connections are closed, ``seconds`` at most."""
        if not self.channels:
            return
        emptied = self._emptied = Deferred()
        timer = self.clock.callLater(seconds, self._fire)
        await emptied
        if timer.active():
            timer.cancel()

    def cut(self) -> None:
        """Close the connections that are left, whatever they are about."""
        for channel in list(self.channels):
            channel.abort()

    def _fire(self) -> None:
        emptied, self._emptied = self._emptied, None
        if emptied is not None:
            emptied.callback(None)
