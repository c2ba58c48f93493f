"""One request to a provider, to the head of its response.

Owns the treq client and its pool, and turns Twisted's failures into our errors: they are
seen nowhere else. What a response's status and body mean is the provider kind's business.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import (
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from .agent import LeanClient, PooledAgent, StaleConnection, make_pool
from .config import Limits, Timeouts
from .errors import Overloaded, UpstreamError, UpstreamGarbled, UpstreamSilent, UpstreamUnreachable
from .providers.base import UpstreamRequest
from .relay import Collector
from .response_head import HeadMalformed, HeadTooLarge

MAX_ERROR_BODY = 1024 * 1024
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class Upstream:
    """The client of all providers. One pool of connections; one agent per connect limit, of
    which a configuration names a handful."""

    def __init__(self, reactor: Any, limits: Limits, client: LeanClient | None = None) -> None:
        self._reactor = reactor
        self._clock: IReactorTime = reactor
        self._limits = limits
        self._pool = make_pool(reactor, limits)
        self._client = client
        self._clients: dict[float, LeanClient] = {}

    def open(
        self, call: UpstreamRequest, timeouts: Timeouts, *, streamed: bool, host: str
    ) -> Deferred[IResponse]:
        """Fires with the response once its head is there; fails with an `UpstreamError`.

        The limit ``headers`` applies to a streamed answer only: the head of a whole one comes
        when the model is done. Cancelling it closes the connection. ``host`` is the
        provider's name, for messages.
        """
        headers = Headers()
        for name, value in call.headers:
            headers.addRawHeader(name, value)
        # Compression holds frames back, and a small body can inflate without bounds.
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        expired = False
        d: Deferred[Any] = self._client_for(timeouts.connect).send(call.method, call.url, headers, call.body)

        def expire() -> None:
            nonlocal expired
            expired = True
            d.cancel()

        timer = self._clock.callLater(timeouts.headers, expire) if streamed else None

        def settled(result: Any) -> Any:
            if timer is not None and timer.active():
                timer.cancel()
            if not isinstance(result, Failure):
                return result
            if isinstance(result.value, error.ConnectBindError) and result.value.osError in _NO_DESCRIPTOR:
                self._pool.drop_all()
                raise Overloaded("the gateway has no file descriptor left for a connection", retry_after=1.0)
            if expired:
                raise UpstreamSilent(
                    f"{host} sent no response within {timeouts.headers:g} s (limit headers)", limit="headers"
                )
            return _translated(result, host, timeouts)

        return d.addBoth(settled)

    async def fetch(
        self, call: UpstreamRequest, timeouts: Timeouts, *, host: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """A small whole exchange (tokens, projects, an error's body): status, headers, body."""
        response = await self.open(call, timeouts, streamed=True, host=host)
        body = await self.read(response, timeouts, host=host)
        return response.code, header_map(response), body

    async def read(
        self, response: IResponse, timeouts: Timeouts, *, host: str, limit: int = MAX_ERROR_BODY
    ) -> bytes:
        """A whole body, at most ``limit`` bytes, arriving without a pause over ``idle``."""
        collector = Collector(limit, self._clock, timeouts.idle, host)
        return await collector.collect(response)

    def stop(self) -> Deferred[None]:
        """Close the kept connections; fires when they are gone."""
        d: Deferred[None] = self._pool.closeCachedConnections()
        return d

    def _client_for(self, connect: float) -> LeanClient:
        if self._client is not None:
            return self._client
        if connect not in self._clients:
            self._clients[connect] = LeanClient(PooledAgent(self._reactor, self._pool, connect))
        return self._clients[connect]


def header_map(response: IResponse) -> dict[str, str]:
    """The response's headers by lower-case name; of repeated ones the last."""
    return {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }


def _translated(failure: Failure, host: str, timeouts: Timeouts) -> Failure:
    """Our error for Twisted's; ``CancelledError`` (the client has left) and bugs go through."""
    reason = failure.value
    if isinstance(reason, CancelledError):
        return failure
    if isinstance(reason, (StaleConnection, RequestNotSent)):
        return Failure(UpstreamUnreachable(f"{host} had closed the kept connection", untouched=True))
    if isinstance(reason, error.TimeoutError):
        return Failure(
            UpstreamSilent(
                f"no connection to {host} within {timeouts.connect:g} s (limit connect)", limit="connect"
            )
        )
    if isinstance(reason, error.DNSLookupError):
        return Failure(UpstreamUnreachable(f"the name of {host} does not resolve"))
    if isinstance(reason, error.ConnectError):
        return Failure(UpstreamUnreachable(f"no connection to {host}: {_phrase(reason)}"))
    if isinstance(reason, ResponseFailed):
        return Failure(_response_failed(reason, host))
    if isinstance(reason, RequestTransmissionFailed):
        return Failure(UpstreamUnreachable(f"{host} closed the connection while the request was sent"))
    if type(reason).__module__.startswith("OpenSSL"):
        return Failure(UpstreamUnreachable(_untrusted(reason, host)))
    if isinstance(reason, (error.ConnectionClosed, error.SSLError)):
        return Failure(UpstreamUnreachable(f"the connection to {host} failed: {_phrase(reason)}"))
    return failure


def _response_failed(reason: ResponseFailed, host: str) -> UpstreamError:
    inner = [failure.value for failure in reason.reasons]
    for value in inner:
        if isinstance(value, HeadTooLarge):
            return UpstreamGarbled(f"{host} sent a response head {value}")
        if isinstance(value, HeadMalformed):
            return UpstreamGarbled(f"{host} does not speak HTTP as it should: its head has {value}")
    if isinstance(reason, ResponseNeverReceived):
        for value in inner:
            if type(value).__module__.startswith("OpenSSL"):
                return UpstreamUnreachable(_untrusted(value, host))
        return UpstreamUnreachable(f"{host} closed the connection without a response")
    if all(isinstance(value, error.ConnectionClosed) for value in inner):
        return UpstreamUnreachable(f"{host} closed the connection in the middle of its response head")
    return UpstreamGarbled(f"{host} does not speak HTTP as it should: {type(inner[0]).__name__}")


def _phrase(reason: Exception) -> str:
    """What a network error says, in its own words, on one line."""
    text = (type(reason).__doc__ or type(reason).__name__).strip().splitlines()[0]
    return text.rstrip(".").lower()


def _untrusted(reason: BaseException | None, host: str) -> str:
    """What went wrong in a TLS handshake, as OpenSSL names it."""
    try:
        said = str(reason.args[0][0][-1]) if reason is not None else "unknown"
    except (IndexError, TypeError):
        said = type(reason).__name__
    return f"{host} could not be trusted or did not speak TLS: {said}"
