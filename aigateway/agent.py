"""The HTTP client's plumbing: connections, their pool, and a treq client without the fat.

Kept apart from `aigateway.upstream`, which says what a failed request means. Here are the
steps that make treq and Agent fit for streams: one write per request body, no cookies,
redirects or gzip, bounded response heads, and a word on whether a connection was a kept one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from socket import MSG_PEEK
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
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.client import _HTTP11ClientFactory as HTTP11ClientFactory
from twisted.web.client import _StandardEndpointFactory as StandardEndpointFactory
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from .config import Limits
from .response_head import HeadMalformed, HeadTooLarge, ResponseHead

STALE_WITHIN = 1.0
"""A kept connection that closes this soon after a request, with no byte of an answer, was
closed before the request came."""


PIECE = 128 * 1024
"""Bytes of a request's body that are written at once."""


class StaleConnection(Exception):
    """A kept connection was closed by the other side before it took the request."""


@implementer(IBodyProducer)
class BytesBody:
    """A request body that is at hand already: written at once in one piece; a large one in pieces, each when
    the one before is gone, so that it is neither copied as a whole nor encrypted as a whole.

    Once written it is let go: Twisted's request outlives its response, until the garbage collector comes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)
        self._sent = 0
        self._paused = False
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        if self.length <= PIECE:
            consumer.write(self._data)
            self._data = b""
            return succeed(None)
        self._consumer = consumer
        done = self._done = Deferred(lambda _: self.stopProducing())
        self._write()
        return done

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._write()

    def stopProducing(self) -> None:
        """The connection is gone, or nobody wants the rest to be sent: whoever waits knows it already."""
        self._consumer = self._done = None
        self._data = b""

    def _write(self) -> None:
        while not self._paused and self._consumer is not None:
            piece = self._data[self._sent : self._sent + PIECE]
            self._sent += len(piece)
            if piece:
                self._consumer.write(piece)
            if self._sent == self.length:
                done, self._done, self._consumer, self._data = self._done, None, None, b""
                if done is not None:
                    done.callback(None)


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
    """A client connection that takes nothing but one well-formed response for each request.

    Heads are held to their limits (`aigateway.response_head`) before Twisted reads them. A
    connection that has more to say than the response, or has not taken the whole request when the
    response is over, is closed: what is left would be taken for part of the next exchange.

    Each response gets two attributes. ``abort`` closes the connection at once, where the body's
    own ``loseConnection`` would wait, under TLS, for the other side's consent. ``after_read``
    takes a callable that is called after each read: a body is delivered in as many pieces
    as the other side sent it in chunks, and who writes them on wants to do that once.
    """

    transport: Any
    max_head = 64 * 1024
    max_lines = 200
    max_informational = 10
    read_size = 32 * 1024
    _head: ResponseHead | None = None
    _after_read: Callable[[], None] | None = None
    _secured = False
    _waiting: Deferred[BoundedClientProtocol] | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        # What is read at once is worked on at once, and other streams wait so long.
        self._tcp().bufferSize = self.read_size

    def request(self, request: Any) -> Deferred[IResponse]:
        self._head = ResponseHead(self.max_head, self.max_lines, self.max_informational)
        self._after_read = None
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
        head = self._head
        if head is not None and self._parser is not None:
            try:
                head.feed(data)
            except (HeadTooLarge, HeadMalformed):
                self._giveUp(Failure())
                return
            if head.over:
                self._head = None
        super().dataReceived(data)
        if head is not None and head.over and self._state == "TRANSMITTING":
            self._tell_early()
        if self._after_read is not None:
            self._after_read()
            if self._parser is None:  # the response is over; a kept connection holds nobody
                self._after_read = None

    def _tell_early(self) -> None:
        """Give the response out although its request is still being sent. Twisted would wait for that,
        and whoever refuses a request may never read the rest of it."""
        response, asked = self._responseDeferred, self._finishedRequest
        if response is not None and asked is not None:
            self._state = "WAITING"
            response.chainDeferred(asked)

    def is_silent(self) -> bool:
        """Whether nothing has come that was not read yet. On a connection that nobody uses that would be
        its end, or an answer to no request, which would be taken for one to the next."""
        if self.state != "QUIESCENT":  # it has ended, and has no socket any more
            return False
        try:
            self._tcp().getHandle().recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def hang_up(self) -> None:
        """Close a connection that nobody uses; over TLS without waiting for the other side's consent,
        which may never come."""
        self.transport.loseConnection()
        self._tcp().loseConnection()

    def abort(self) -> Deferred[None]:
        d: Deferred[None] = super().abort()
        self._tcp().loseConnection()
        return d

    def _finishResponse(self, rest: bytes) -> None:
        if self._currentRequest is not None and (rest or self._unsent()):
            self._currentRequest.persistent = False
        super()._finishResponse(rest)

    def _giveUp(self, reason: Failure) -> None:
        """Close the connection; at once, where the other side need not be waited for to take
        what it was sent: it may never do so."""
        super()._giveUp(reason)
        if not reason.check(error.ConnectionDone) or self._unsent():
            self.transport.abortConnection()

    def _unsent(self) -> int:
        """Bytes of the request that the kernel has not taken."""
        transport = self._tcp()
        buffer = getattr(transport, "dataBuffer", b"")
        return len(buffer) - int(getattr(transport, "offset", 0)) + int(getattr(transport, "_tempDataLen", 0))

    def _tcp(self) -> Any:
        """The connection itself, without TLS."""
        return getattr(self.transport, "transport", None) or self.transport


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
        protocol.read_size = max(self._limits.relay_buffer // 4, 1)
        return protocol


class KeptConnections(HTTPConnectionPool):
    """A pool that can drop what it keeps, for one host or for all; that waits for nobody's consent to it;
    and that gives out no connection on which something has come that nobody asked for."""

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        kept = self._connections.get(key)
        while kept and not kept[0].is_silent():  # the one that would be given out
            self._timeouts[kept[0]].cancel()
            self._removeConnection(key, kept[0])
        d: Deferred[Any] = super().getConnection(key, endpoint)
        return d

    def _putConnection(self, key: Hashable, connection: BoundedClientProtocol) -> None:
        kept = self._connections.get(key, ())
        oldest = kept[0] if len(kept) == self.maxPersistentPerHost else None
        super()._putConnection(key, connection)
        if oldest is not None:
            oldest.hang_up()

    def _removeConnection(self, key: Hashable, connection: BoundedClientProtocol) -> None:
        super()._removeConnection(key, connection)
        connection.hang_up()

    def drop(self, key: Hashable) -> None:
        for connection in self._connections.pop(key, ()):
            self._timeouts.pop(connection).cancel()
            connection.hang_up()

    def drop_all(self) -> None:
        for key in list(self._connections):
            self.drop(key)


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
    return isinstance(reason, (ResponseNeverReceived, RequestTransmissionFailed)) and all(
        inner.check(error.ConnectionClosed) for inner in reason.reasons
    )


def _was_cancelled(failure: Failure) -> bool:
    """Whether it was us who gave up: what Twisted makes of that depends on how far the request
    had come, and may look like the provider's fault."""
    reason = failure.value
    if isinstance(reason, (ResponseFailed, RequestGenerationFailed)):
        return any(inner.check(CancelledError) for inner in reason.reasons)
    return isinstance(reason, (CancelledError, error.ConnectingCancelledError))
