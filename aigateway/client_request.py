"""A client's request as the server has it: in memory, within a limit, and screened before its body is read.

The connection that it came on is `aigateway.channel`'s business.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from twisted.python.failure import Failure
from twisted.web import resource, server

from .config import ClientKey
from .errors import GatewayError, MalformedRequest, Overloaded
from .refusal import response_bytes, send_error, too_large

if TYPE_CHECKING:
    from .channel import GatewayChannel
    from .running import RunningConfig

SPARED = 64 * 1024
"""Bytes of a body that are read for nothing when the gateway is overloaded, rather than the
connection closed."""


class GatewayRequest(server.Request):
    """A request whose body stays in memory, within a limit."""

    channel: GatewayChannel
    content: io.BytesIO
    running: RunningConfig
    """The configuration that it began with; there from `GatewaySite.screen` on."""
    weight = 0
    """What its body weighs, once it has been looked at: see `aigateway.offload`."""
    client_key: ClientKey | None = None
    """The key that the client came with, where keys are configured."""
    _refusal: GatewayError | None = None
    """What it is answered as soon as the rest of it is there, which nobody looks at."""

    def gotLength(self, length: int | None) -> None:
        """The head is complete: refuse now what needs no body to be refused."""
        self.content = io.BytesIO()
        self._received = 0
        site = self.channel.site
        try:
            coding = self.requestHeaders.getRawHeaders(b"transfer-encoding")
            # RFC 9112, 6.1: one way to tell the body's length, and HTTP/1.0 has no chunks. Of two
            # such headers Twisted takes the one that it knows.
            if coding is not None and (
                length is not None or len(coding) > 1 or self.channel.version != b"HTTP/1.1"
            ):
                raise MalformedRequest("a Transfer-Encoding is to be `chunked`, without a Content-Length")
            if length is not None and length > site.limits.max_body:
                raise too_large(site.limits)
            site.screen(self, self.channel.command, self.channel.target)
        except Overloaded as error:
            # To take on a new connection would cost more than to read what is left of a small body.
            if length is None or length > SPARED or self.requestHeaders.hasHeader(b"expect"):
                self.channel.refuse(error, self)
            else:
                self._refusal = error
        except GatewayError as error:
            self.channel.refuse(error, self)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._refusal is None:
            super().requestReceived(command, path, version)
            return
        channel = self.channel
        self.method, self.clientproto = command, version
        answer = channel.site.render_error(self._refusal, self, path)
        if channel.site.closing:
            channel.persistent = 0
        channel.write(response_bytes(answer, close=not channel.persistent))
        channel.site.refused(self._refusal, answer)
        self.startedWriting = 1
        self.finish()

    def handleContentChunk(self, data: bytes) -> None:
        channel = self.channel
        if channel is None or channel.refused:
            return
        self._received += len(data)
        channel.body_received += len(data)
        if self._refusal is not None:
            return
        if self._received > channel.site.limits.max_body:
            channel.refuse(too_large(channel.site.limits), self)
            return
        self.content.write(data)

    def hop_by_hop(self) -> list[bytes]:
        """What Connection names, in small letters: options, and headers for this hop alone."""
        given = self.requestHeaders.getRawHeaders(b"connection")
        return [] if given is None else [name.strip() for name in b",".join(given).lower().split(b",")]

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

    def process(self) -> None:
        """The request is there, whole, and begins."""
        try:
            self.channel.site.begin(self, self.method, self.uri)
        except GatewayError as error:
            self.channel.refuse(error, self)
            return
        super().process()

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
