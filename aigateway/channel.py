"""One client connection: twisted.web's channel, with bounds and deadlines.

Twisted by itself waits forever for slow clients and answers malformed requests with an empty
page. Here every head and body has a limit and a deadline, and a refusal is an answer in the
caller's dialect, sent before the body is read. Who may ask what is decided elsewhere: `aigateway.site`
knows whom to ask.
"""

from __future__ import annotations

import re
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from .client_request import GatewayRequest
from .errors import GatewayError, MalformedRequest, SlowRequest
from .refusal import head_too_large, response_bytes, too_large

if TYPE_CHECKING:
    from .site import GatewaySite

LINGER = 2.0
"""Seconds in which a refused client may finish sending what nobody reads: closing at once
would reset the connection, and the answer could be lost with it."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What is in no line of a head (RFC 9110, 5.5). Twisted refuses NUL, CR and LF alone."""
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_DIGITS = 18  # of a length that is a number yet; `int` raises at some 4,300


@implementer(IHalfCloseableProtocol)
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
        _keep_little_in_the_kernel(tcp, limits.relay_buffer)
        tcp.bufferSize = max(limits.relay_buffer // 2, 1)  # what is read at once, and what may wait unsent
        self._phase = "idle"
        self._arm(limits.head_timeout)

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            return
        if self.paused:  # what has come behind an answer that is yet to be read waits, and has no deadline
            super().dataReceived(data)
            return
        if self._phase == "idle" and not (self._handlingRequest or self._buffer or self.site.closing):
            answer = self.site.brief(data)
            if answer is not None:
                self._disarm()
                self.resetTimeout()
                self.write(answer)
                return
        if self._phase == "idle" and data and not self._handlingRequest:
            self._phase = "head"
            if self.site.closing:  # what is left of the time for a last request is not the head's
                self._disarm()
        super().dataReceived(data)
        waiting = self.refused or self._busyReceiving or self.paused
        # Else what is left of a head is a line without its end: a CR or LF in it ends none.
        if self._phase == "head" and not waiting and (b"\n" in self._buffer or b"\r" in self._buffer[:-1]):
            self.refuse(MalformedRequest("a line of the head does not end in CR LF"))
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
        if _CONTROL.search(line) is not None:
            self.refuse(MalformedRequest("a line of the head has control characters in it"))
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.refuse(head_too_large(self.site.limits))
            return
        super().lineReceived(line)
        if not line and self._phase == "head" and not self.requests:
            self._phase = "idle"  # an empty line before a request is none of it (RFC 9112, 2.2)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(head_too_large(self.site.limits))

    def headerReceived(self, line: bytes) -> bool:
        if self.refused:
            return False
        if self._receivedHeaderCount >= self.maxHeaders:
            self.refuse(head_too_large(self.site.limits))
            return False
        if line[:15].lower() == b"content-length:":
            digits = line[15:].strip(b" \t")
            if len(digits) > _DIGITS and digits.isdigit():
                self.refuse(too_large(self.site.limits))
                return False
        return bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        if self.refused:
            return
        self._phase = "body"
        self._body_since = self.site.clock.seconds()
        self.body_received = 0
        self._disarm()
        try:
            self._take_target(self.requests[-1])
        except MalformedRequest as error:
            self.refuse(error)
            return
        super().allHeadersReceived()

    def _take_target(self, request: http.Request) -> None:
        """See to it that the target is a path. An absolute one (RFC 9112, 3.2.2) names the host
        once more: it has to be the one that Host names, which is looked at for both."""
        target = self.target
        if not target.isascii() or b"#" in target:
            raise MalformedRequest("the request's target is not a path of visible ASCII characters")
        if (absolute := _ABSOLUTE.fullmatch(target)) is not None:
            authority, rest = absolute.groups()
            hosts = request.requestHeaders.getRawHeaders(b"host")
            if hosts is None and self.version == b"HTTP/1.0":
                request.requestHeaders.setRawHeaders(b"Host", [authority])
            elif hosts is not None and hosts[0].lower() != authority.lower():
                raise MalformedRequest("the Host header and the request's target name different hosts")
            self._path = rest if rest.startswith(b"/") else b"/" + rest
        elif not target.startswith(b"/") and not (target == b"*" and self.command == b"OPTIONS"):
            raise MalformedRequest("the request's target is not a path")

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        """Whether the connection is kept. Twisted takes ``close`` only between spaces, and in the
        first Connection header."""
        assert isinstance(request, GatewayRequest)
        if version == b"HTTP/1.1" and b"close" not in request.hop_by_hop():
            return True
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def allContentReceived(self) -> None:
        if self.refused:
            return
        trailers: list[bytes] = getattr(self._transferDecoder, "_trailerHeaders", [])
        if any(_FIELD.fullmatch(line) is None for line in trailers):  # well-formed ones are ignored
            self._respondToBadRequestAndDisconnect()
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
        if not self.refused and self.length != 0:
            super()._send100Continue()

    def requestDone(self, request: http.Request) -> None:
        self._phase = "idle"
        if self._waitingForTransport and self.persistent:
            # The client has yet to read this answer: what it has sent behind the request waits,
            # else the answers to that would pile up, too.
            self.paused = True
            self._networkProducer.pauseProducing()
        super().requestDone(request)
        if self.site.closing:
            self.expect_last()

    def expect_last(self) -> None:
        """Wait for a last request for a while, where none is being sent or answered.

        A client that was not told so takes the connection for a kept one, and may be sending
        already: to close it now would cost it that request (RFC 9112, 9.5)."""
        if self._phase == "idle" and self.persistent and not self.refused:
            self._arm(self.site.last_idle)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        """The head of an answer. When the gateway stops, it tells the client that it is the last
        one on this connection: a client that knows asks the next one elsewhere."""
        if self.site.closing:
            self.persistent = 0
            headers.setRawHeaders(b"Connection", [b"close"])
        super().writeHeaders(version, code, reason, headers)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self.paused:
            self.paused = False
            self.dataReceived(self.clearLineBuffer())

    def readConnectionLost(self) -> None:
        """The client will send nothing more. Leaving looks the same, so that a request which is
        being answered is given up; an answer that has been written is sent to its end."""
        if self._handlingRequest:
            self.transport.abortConnection()
        elif self.refused:
            self.transport.loseConnection()
        else:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """The answer to a refused request is out; `_close_within` sees to the rest."""

    def loseConnection(self) -> None:
        """Close after what was written; but a client that does not read it does not hold us."""
        self._disarm()
        super().loseConnection()
        self._close_within(self.site.write_stall if self.unsent() else LINGER)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._disarm()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._closing = None
        super().connectionLost(reason)
        self.site.gone(self)  # its requests know: who waits for the last connection waits for them, too

    def timeoutConnection(self) -> None:
        """A kept connection was idle too long: close it without ado. Twisted asks for it in the
        middle of a request, too, whose deadlines are others."""
        if self._phase == "idle":
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
        self.clearLineBuffer()  # line by line, it would be copied as often as there are lines
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
        """Close by force after ``seconds``, unless what was written is being read meanwhile, at
        ``body_rate`` at least: a client that reads a byte a minute would else be there for days."""
        if self._closing is None:
            self._closing = self.callLater(seconds, partial(self._overdue, seconds, self.unsent()))

    def _overdue(self, seconds: float, before: int) -> None:
        self._closing = None
        unsent = self.unsent()
        read = before - unsent
        held_back = not before  # by TLS, until after the close
        if unsent and (held_back or read > self.site.limits.body_rate * seconds):
            self._close_within(self.site.write_stall)
        else:
            self.transport.abortConnection()


def _keep_little_in_the_kernel(transport: Any, most: int) -> None:
    """Let the kernel take no more than ``most`` bytes that it cannot send yet: by itself it takes
    megabytes for each client that does not read, and under so much memory slows down all others.
    What is under way to the client is not limited by this (tcp(7), TCP_NOTSENT_LOWAT)."""
    handle = getattr(transport, "getHandle", None)
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if handle is not None and option is not None and handle().family in (socket.AF_INET, socket.AF_INET6):
        handle().setsockopt(socket.IPPROTO_TCP, option, most)
