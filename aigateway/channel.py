"""The HTTP server's plumbing: twisted.web's channel and request, with bounds and deadlines.

Twisted by itself reads bodies of any size into temporary files, waits forever for slow
clients and answers malformed requests with an empty page. Here every head and body has a
limit and a deadline, and a refusal is an answer in the caller's dialect, sent before the
body is read. Who may ask what is `aigateway.web`'s business, which gives ``screen``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, resource, server

from .config import ClientKey, Limits
from .dialects.base import ErrorAnswer
from .errors import GatewayError, HeadTooLarge, MalformedRequest, SlowRequest, TooLarge

LINGER = 2.0
"""Seconds in which a refused client may finish sending what nobody reads: closing at once
would reset the connection, and the answer could be lost with it."""

PHRASES = {
    421: b"Misdirected Request",
    431: b"Request Header Fields Too Large",
    529: b"Overloaded",
}
"""Statuses that twisted.web has no words for."""

_HEAD_END = b"\r\n\r\n"


class GatewayRequest(server.Request):
    """A request whose body stays in memory, within a limit."""

    channel: GatewayChannel
    content: io.BytesIO
    client_key: ClientKey | None = None
    """The key that the client came with, where keys are configured."""

    def gotLength(self, length: int | None) -> None:
        """The head is complete: refuse now what needs no body to be refused."""
        self.content = io.BytesIO()
        self._received = 0
        site = self.channel.site
        try:
            if length is not None and self.requestHeaders.hasHeader(b"transfer-encoding"):
                raise MalformedRequest("a Transfer-Encoding is to be `chunked`, without a Content-Length")
            if length is not None and length > site.limits.max_body:
                raise _too_large(site.limits)
            site.screen(self, self.channel.command, self.channel.target)
        except GatewayError as error:
            self.channel.refuse(error, self)

    def handleContentChunk(self, data: bytes) -> None:
        channel = self.channel
        if channel is None or channel.refused:
            return
        self._received += len(data)
        channel.body_received += len(data)
        if self._received > channel.site.limits.max_body:
            channel.refuse(_too_large(channel.site.limits), self)
            return
        self.content.write(data)

    def body(self) -> bytes:
        return self.content.getvalue()

    def write_chunk(self, data: bytes) -> None:
        """``write``, once the head is out, in one piece: size, data and line end together."""
        if self.chunked:
            channel = self.channel
            if channel is not None:
                channel.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self.write(data)

    def cut(self) -> None:
        """End a streamed answer so that HTTP itself says it is not whole: the connection is
        closed after what was written, without the last chunk."""
        if self.finished or self.channel is None:  # twisted.web deletes it with the end
            return
        self.chunked = 0
        self.channel.persistent = 0
        self.finish()

    def processingFailed(self, reason: Failure) -> resource.Resource | object:
        """Klein's last resort. Never a page of HTML, and never into a stream."""
        self.channel.site.log_failure(reason)
        if self.finished or self.channel is None:
            return server.NOT_DONE_YET
        if self.startedWriting:
            self.cut()
            return server.NOT_DONE_YET
        answer = self.channel.site.render_error(GatewayError("the gateway failed; its log says why"), self)
        send_error(self, answer)
        self.finish()
        return server.NOT_DONE_YET


class GatewayChannel(http.HTTPChannel):
    """One client connection.

    Deadlines: the first byte of a request within ``keep_alive`` of the last answer (within
    ``head_timeout`` of connecting), its whole head within ``head_timeout``, and of its body
    at least ``body_rate`` bytes a second after ``body_grace`` seconds. A client that sends
    more than ``max_pipelined`` bytes behind a running request is cut off: reading on is how
    its departure is noticed.
    """

    site: GatewaySite
    transport: Any
    refused = False
    body_received = 0
    _deadline: IDelayedCall | None = None
    _closing: IDelayedCall | None = None
    _phase = "idle"
    _body_since = 0.0

    @property
    def command(self) -> bytes:
        return getattr(self, "_command", b"")

    @property
    def target(self) -> bytes:
        return getattr(self, "_path", b"")

    @property
    def version(self) -> bytes:
        return getattr(self, "_version", b"")

    def connectionMade(self) -> None:
        limits = self.site.limits
        self.totalHeadersSize = limits.max_head
        self.maxHeaders = limits.max_headers
        self.MAX_LENGTH = limits.max_head
        self.timeOut = limits.keep_alive  # type: ignore[assignment]  # seconds need not be whole
        super().connectionMade()
        self.site.channels.add(self)
        tcp = getattr(self.transport, "transport", None) or self.transport
        self._optimisticEagerReadSize = limits.max_pipelined  # beyond it the client is cut off
        tcp.bufferSize = limits.relay_buffer // 2  # what is read at once, and what may wait unsent
        self._phase = "idle"
        self._arm(limits.head_timeout)

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            return
        if self._phase == "idle" and data and not self._handlingRequest:
            self._phase = "head"
        super().dataReceived(data)
        # Most requests come whole in one read, and need no timer.
        if self._deadline is None and not self.refused:
            if self._phase == "head":
                self._arm(self.site.limits.head_timeout)
            elif self._phase == "body":
                self._arm(self.site.limits.body_grace)

    def lineReceived(self, line: bytes) -> None:
        if self.refused:
            return
        if line[:1] in (b" ", b"\t") and line:
            # A folded header (obs-fold) is read in two ways by two servers: RFC 9112, 5.2.
            self.refuse(MalformedRequest("a header line begins with white space (a folded header)"))
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.refuse(_head_too_large(self.site.limits))
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(_head_too_large(self.site.limits))

    def headerReceived(self, line: bytes) -> bool:
        if self.refused:
            return False
        if self._receivedHeaderCount >= self.maxHeaders:
            self.refuse(_head_too_large(self.site.limits))
            return False
        return bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        if self.refused:
            return
        self._phase = "body"
        self._body_since = self.site.clock.seconds()
        self.body_received = 0
        self._disarm()
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        if self.refused:
            return
        if sum(map(len, self._dataBuffer)) > self.site.limits.max_pipelined:
            self.transport.abortConnection()
            return
        self._phase = "answer"
        self._disarm()
        super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if self.refused:
            return
        if self._handlingRequest:
            waiting = sum(map(len, self._dataBuffer)) + len(data)
            if waiting > self.site.limits.max_pipelined:
                self.transport.abortConnection()
                return
        super().rawDataReceived(data)

    def _send100Continue(self) -> None:
        if not self.refused:
            super()._send100Continue()

    def requestDone(self, request: http.Request) -> None:
        if self.site.closing:
            self.persistent = 0
        self._phase = "idle"
        super().requestDone(request)

    def loseConnection(self) -> None:
        """Close after what was written; but a client that does not read it does not hold us."""
        self._disarm()
        super().loseConnection()
        self._close_within(self.site.write_stall)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._disarm()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._closing = None
        self.site.gone(self)
        super().connectionLost(reason)

    def timeoutConnection(self) -> None:
        """A kept connection was idle too long: close it without ado."""
        self.loseConnection()

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken: whether they get fewer tells a slow
        reader from none."""
        transport = getattr(self.transport, "transport", None) or self.transport
        buffer = getattr(transport, "dataBuffer", b"")
        return len(buffer) - int(getattr(transport, "offset", 0)) + int(getattr(transport, "_tempDataLen", 0))

    def refuse(self, error: GatewayError, request: GatewayRequest | None = None) -> None:
        """Answer ``error`` before the request is complete, and close. What the client still
        sends is thrown away for a moment, so that it gets to read the answer."""
        if self.refused:
            return
        self.refused = True
        self._disarm()
        answer = self.site.render_error(error, request, self.target)
        behind = self.unsent()  # of an answer before this one, which is to be read first
        self.transport.write(response_bytes(answer, close=True, head=self.command == b"HEAD"))
        for waiting in list(self.requests):
            waiting.channel = None
        self.requests.clear()
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        if ITCPTransport.providedBy(self.transport) and not self.isSecure():
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()
        self._close_within(self.site.write_stall if behind else LINGER)
        self.site.refused(error, answer)

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(MalformedRequest("the request is not well-formed HTTP/1.1"))

    # --------------------------------------------------------------- deadlines

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.callLater(seconds, self._expired)

    def _disarm(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def _expired(self) -> None:
        self._deadline = None
        limits = self.site.limits
        if self._phase == "idle":
            self.loseConnection()
        elif self._phase == "head":
            self.refuse(SlowRequest(f"the request's head did not arrive within {limits.head_timeout:g} s"))
        elif self._phase == "body":
            elapsed = self.site.clock.seconds() - self._body_since
            if self.body_received < limits.body_rate * (elapsed - limits.body_grace):
                self.refuse(
                    SlowRequest(f"the request's body arrived slower than {limits.body_rate} bytes per second")
                )
            else:
                self._arm(1.0)

    def abort(self) -> None:
        """Close at once; what was written and not read yet is lost."""
        self.transport.abortConnection()

    def _close_within(self, seconds: float) -> None:
        """Close by force once nothing has been read for ``seconds``."""
        if self._closing is None:
            self._closing = self.callLater(seconds, partial(self._overdue, seconds, self.unsent()))

    def _overdue(self, seconds: float, before: int) -> None:
        self._closing = None
        if 0 < self.unsent() < before:  # a slow reader, but one
            self._close_within(seconds)
        else:
            self.transport.abortConnection()


class GatewaySite(server.Site):
    """Builds channels. ``screen`` looks at a request's head (request, method, path) and raises
    the `GatewayError` that refuses it; ``render_error`` says an error in the caller's dialect;
    ``refused`` is told of each early refusal."""

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
        render_error: Callable[..., ErrorAnswer],
        refused: Callable[[GatewayError, ErrorAnswer], None],
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
        self.render_error = render_error
        self.refused = refused
        self.channels: set[GatewayChannel] = set()
        self.closing = False
        self._emptied: Deferred[None] | None = None

    def log(self, request: http.Request) -> None:
        """No access log: the outcome has its own line."""

    def log_failure(self, reason: Failure) -> None:
        self._logger.failure("a request failed in the gateway", reason)

    def gone(self, channel: GatewayChannel) -> None:
        self.channels.discard(channel)
        if not self.channels:
            emptied, self._emptied = self._emptied, None
            if emptied is not None:
                emptied.callback(None)

    def close_idle(self) -> None:
        """No further request is taken: connections without one are closed now, the others when
        theirs is answered; each once what was written has been read."""
        self.closing = True
        for channel in list(self.channels):
            if not channel.requests:
                channel.loseConnection()

    async def emptied(self, seconds: float) -> None:
        """Wait until all connections are closed; after ``seconds`` cut those that are left."""
        if not self.channels:
            return
        emptied = self._emptied = Deferred()
        timer = self.clock.callLater(seconds, self._cut)
        await emptied
        if timer.active():
            timer.cancel()

    def _cut(self) -> None:
        for channel in list(self.channels):
            channel.abort()


def send_error(request: http.Request, answer: ErrorAnswer) -> None:
    """Write ``answer`` as a whole response; the caller finishes the request."""
    request.setResponseCode(answer.status, PHRASES.get(answer.status))
    headers = request.responseHeaders
    headers.setRawHeaders(b"Server", [b"aigateway"])
    headers.setRawHeaders(b"Content-Type", [b"application/json"])
    headers.setRawHeaders(b"Content-Length", [b"%d" % len(answer.body)])
    for name, value in answer.headers:
        headers.setRawHeaders(name.encode(), [value.encode()])
    request.write(answer.body)


def response_bytes(answer: ErrorAnswer, *, close: bool, head: bool = False) -> bytes:
    """``answer`` as a whole HTTP/1.1 response, for where there is no request to write it to;
    without its body, where the request was a HEAD."""
    phrase = PHRASES.get(answer.status) or http.RESPONSES.get(answer.status, b"Error")
    lines = [
        b"HTTP/1.1 %d %b" % (answer.status, phrase),
        b"Server: aigateway",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(answer.body),
    ]
    lines += [b"%b: %b" % (name.encode(), value.encode()) for name, value in answer.headers]
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + _HEAD_END + (b"" if head else answer.body)


def _too_large(limits: Limits) -> TooLarge:
    return TooLarge(f"the request body is larger than {limits.max_body} bytes (limits.max_body)")


def _head_too_large(limits: Limits) -> HeadTooLarge:
    return HeadTooLarge(f"the request's head is over {limits.max_head} bytes or {limits.max_headers} headers")
