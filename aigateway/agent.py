"""The HTTP client's plumbing: connections, their pool, and a treq client without the fat.

Kept apart from `aigateway.upstream`, which says what a failed request means. Here are the
steps that make treq and Agent fit for streams: one write per request body, no cookies,
redirects or gzip, bounded response heads, and a word on whether a connection was a kept one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from treq.client import HTTPClient
from treq.response import _Response
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IConsumer, IHandshakeListener, ISSLTransport, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.client import _HTTP11ClientFactory as HTTP11ClientFactory
from twisted.web.client import _StandardEndpointFactory as StandardEndpointFactory
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from .config import Limits

STALE_WITHIN = 1.0
"""A kept connection that closes this soon after a request, with no byte of an answer, was
closed before the request came."""


class StaleConnection(Exception):
    """A kept connection was closed by the other side before it took the request."""


class HeadTooLarge(Exception):
    """A response's status line and headers are over their limit."""


@implementer(IBodyProducer)
class BytesBody:
    """A request body that is at hand already: written at once, in one piece."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


class LeanClient(HTTPClient):
    """treq's client; a request that is ready as bytes skips treq's work on it.

    ``request(b"POST"...)`` with ``url`` and ``data`` as bytes and ``headers`` as `Headers`
    goes straight to the agent: no URL parsing, cookie jar, redirects or gzip (treq adds
    ``Accept-Encoding: gzip`` to every request, and gzip holds frames back). The response
    is treq's own, unbuffered.
    """

    def send(self, method: bytes, url: bytes, headers: Headers, data: bytes) -> Deferred[_Response]:
        body = BytesBody(data) if data else None
        d: Deferred[IResponse] = self._agent.request(method, url, headers, body)
        return d.addCallback(_Response, self._cookiejar)


@implementer(IHandshakeListener)
class BoundedClientProtocol(HTTP11ClientProtocol):
    """A client connection whose response heads are bounded.

    Twisted bounds a line, but neither the number of lines nor that of 1xx responses. Each
    response gets two attributes. ``abort`` closes the connection at once, where the body's
    own ``loseConnection`` would wait, under TLS, for the other side's consent. ``after_read``
    takes a callable that is called after each read: a body is delivered in as many pieces
    as the other side sent it in chunks, and who writes them on wants to do that once.
    """

    transport: Any
    max_head = 64 * 1024
    max_lines = 200
    max_informational = 10
    _awaiting_head = False
    _head = 0
    _lines = 0
    _heads = 0
    _after_read: Callable[[], None] | None = None
    _secured = False
    _waiting: Deferred[BoundedClientProtocol] | None = None

    def request(self, request: Any) -> Deferred[IResponse]:
        self._awaiting_head = True
        self._after_read = None
        self._head = self._lines = self._heads = 0
        d: Deferred[IResponse] = super().request(request)
        if self._parser is not None:
            self._parser.MAX_LENGTH = self.max_head  # of a line: Twisted's 16 KiB ends it without a word
        return d.addCallback(self._got_head)

    def ready(self) -> Deferred[BoundedClientProtocol]:
        """Fires once a request can be sent: over TLS, when the handshake is done. A peer that
        takes the connection and then says nothing is not connected."""
        if self._secured or not ISSLTransport.providedBy(self.transport):
            return succeed(self)
        self._waiting = Deferred(lambda _: self.transport.abortConnection())
        return self._waiting

    def handshakeCompleted(self) -> None:
        self._secured = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._after_read = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(reason)
        super().connectionLost(reason)

    def _got_head(self, response: IResponse) -> IResponse:
        self._awaiting_head = False
        response.abort = partial(self._abort, self._parser)  # type: ignore[attr-defined]
        response.after_read = self._call_after_read  # type: ignore[attr-defined]
        return response

    def _abort(self, parser: object) -> None:
        """Close the connection, unless the response that ``parser`` read is complete: then it
        may be another request's by now."""
        if parser is not None and self._parser is parser:
            self.transport.abortConnection()

    def _call_after_read(self, call: Callable[[], None]) -> None:
        self._after_read = call

    def dataReceived(self, data: bytes) -> None:
        parser = self._parser
        super().dataReceived(data)
        if self._after_read is not None:
            self._after_read()
            if self._parser is None:  # the response is over; a kept connection holds nobody
                self._after_read = None
        # A response that has ended may have led to the next request already: this was not its head.
        if self._awaiting_head and self._parser is parser:
            self._head += len(data)
            self._lines += data.count(b"\n")
            self._heads += data.count(b"HTTP/1.")  # each 1xx response has a status line of its own
            if (
                self._head > self.max_head
                or self._lines > self.max_lines
                or self._heads > self.max_informational + 1
            ):
                self._awaiting_head = False
                limits = (
                    f"{self.max_head} bytes, {self.max_lines} lines or {self.max_informational} responses"
                )
                self._giveUp(Failure(HeadTooLarge(f"over {limits} before the real one")))


class BoundedClientFactory(HTTP11ClientFactory):
    noisy = False

    def __init__(self, quiescentCallback: Callable[[Any], None], metadata: str, limits: Limits) -> None:
        super().__init__(quiescentCallback, metadata)
        self._limits = limits

    def buildProtocol(self, addr: object) -> BoundedClientProtocol:
        protocol = BoundedClientProtocol(self._quiescentCallback)
        protocol.max_head = self._limits.upstream_max_head
        protocol.max_lines = self._limits.upstream_max_header_lines
        protocol.max_informational = self._limits.upstream_max_informational
        return protocol


class KeptConnections(HTTPConnectionPool):
    """A pool that can drop what it keeps for one host."""

    def drop(self, key: Hashable) -> None:
        for connection in self._connections.pop(key, ()):
            self._timeouts.pop(connection).cancel()
            connection.transport.loseConnection()


def make_pool(reactor: Any, limits: Limits) -> KeptConnections:
    """Kept connections: as many as streams that end together may leave, for less time than
    providers keep theirs. Nothing is sent twice behind our back."""
    pool = KeptConnections(reactor, persistent=limits.pool > 0)
    pool.maxPersistentPerHost = max(limits.pool, 1)
    pool.cachedConnectionTimeout = limits.pool_idle  # type: ignore[assignment]
    pool.retryAutomatically = False
    pool._factory = partial(BoundedClientFactory, limits=limits)  # type: ignore[assignment]
    return pool


class _Connecting:
    """An endpoint that gives up after ``seconds``, and remembers that it was asked."""

    def __init__(self, endpoint: IStreamClientEndpoint, clock: Any, seconds: float, key: Hashable) -> None:
        self.key = key  # the pool's, for connections to the same place
        self._endpoint = endpoint
        self._clock = clock
        self._seconds = seconds
        self.asked = False

    def connect(self, factory: Factory) -> Deferred[Protocol]:
        self.asked = True
        d: Deferred[Any] = self._endpoint.connect(factory)
        d.addCallback(lambda protocol: protocol.ready())
        timer = self._clock.callLater(self._seconds, self._expire, d)

        def connected(result: Any) -> Any:
            if timer.active():
                timer.cancel()
                return result
            if isinstance(result, Failure):
                return Failure(error.TimeoutError())
            return result

        return d.addBoth(connected)

    def _expire(self, d: Deferred[Protocol]) -> None:
        d.cancel()


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Endpoints for one request each; ``last`` is the one made last."""

    def __init__(self, reactor: Any, seconds: float, tls: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._standard = StandardEndpointFactory(reactor, tls, None, None)
        self.last: _Connecting | None = None

    def endpointForURI(self, uri: URI) -> _Connecting:
        key = (uri.scheme, uri.host, uri.port)
        self.last = _Connecting(self._standard.endpointForURI(uri), self._reactor, self._seconds, key)
        return self.last


@implementer(IAgent)
class PooledAgent:
    """Agent over ``pool`` with its own limit for connecting; fails with `StaleConnection`
    where a kept connection turned out to be closed; those kept beside it are as old, and are
    dropped, so that the next try is over a fresh one. TLS certificates are always verified."""

    def __init__(
        self, reactor: Any, pool: KeptConnections, connect: float, tls: IPolicyForHTTPS | None = None
    ) -> None:
        self._clock = reactor
        self._pool = pool
        self._endpoints = _Endpoints(reactor, connect, tls or BrowserLikePolicyForHTTPS())
        self._agent = Agent.usingEndpointFactory(reactor, self._endpoints, pool)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        begun = self._clock.seconds()
        d: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        endpoint = self._endpoints.last

        def failed(failure: Failure) -> Failure:
            if _was_cancelled(failure):
                return Failure(CancelledError())
            if endpoint is None or endpoint.asked or not _was_closed(failure):
                return failure
            if self._clock.seconds() - begun < STALE_WITHIN:
                self._pool.drop(endpoint.key)
                return Failure(StaleConnection())
            return failure

        return d.addErrback(failed)


def _was_closed(failure: Failure) -> bool:
    """Whether the connection closed before a byte of a response, and nothing else went wrong."""
    reason = failure.value
    return isinstance(reason, ResponseNeverReceived) and all(
        inner.check(error.ConnectionClosed) for inner in reason.reasons
    )


def _was_cancelled(failure: Failure) -> bool:
    """Whether it was us who gave up: what Twisted makes of that depends on how far the request
    had come, and may look like the provider's fault."""
    reason = failure.value
    if isinstance(reason, ResponseFailed):
        return any(inner.check(CancelledError) for inner in reason.reasons)
    return isinstance(reason, (CancelledError, error.ConnectingCancelledError))
