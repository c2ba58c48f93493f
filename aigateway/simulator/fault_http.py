"""Faults in HTTP itself: heads without end, lengths that lie, bodies that swell.

Pure, and nothing is held that is not about to be written. Who does which is listed in `faults`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import cache
from itertools import chain, count, repeat

from .wire import Asked, Ending, Response, Wire, honest, media_type

INFLATED = 1024 * 1024
BOMBS = 1024
"""``fault-gzip-bomb`` is so many times `INFLATED` bytes, in about a thousandth of them."""


def refused(wire: Wire, asked: Asked) -> Response:
    """The request is taken, and the connection closed without a byte. (What is refused earlier is
    nobody's answer: a provider at a port where nobody listens.)"""
    return _bytes((), Ending.CUT)


def short_length(wire: Wire, asked: Asked) -> Response:
    """The connection closes ten bytes short of ``Content-Length``."""
    body = _body(wire, asked)
    length = ("Content-Length", str(len(body)))
    return Response((body[:-10],), media_type(wire, asked), headers=(length,), ending=Ending.CUT)


def endless_headers(wire: Wire, asked: Asked) -> Response:
    lines = (b"x-filler-%d: %b\r\n" % (number, b"y" * 1000) for number in count())
    return _bytes(chain((b"HTTP/1.1 200 OK\r\n",), lines))


def flood_of_1xx(wire: Wire, asked: Asked) -> Response:
    return _bytes(repeat(b"HTTP/1.1 102 Processing\r\n\r\n" * 100))


def gzip_bomb(wire: Wire, asked: Asked) -> Response:
    """A gibibyte of blanks, though nobody asked for gzip. Only its checksum is missing."""
    headers = (("Content-Encoding", "gzip"),)
    pieces = chain((_GZIP_HEAD,), repeat(_bomb(), BOMBS))
    return Response(pieces, media_type(wire, asked), headers=headers, ending=Ending.CUT, interval=0.0)


def set_cookie(wire: Wire, asked: Asked) -> Response:
    """The honest answer, with headers that are not for a client's eyes."""
    headers = (
        ("Set-Cookie", "session=of-another; Path=/"),
        ("Set-Cookie", "second=1"),
        ("Server", "simulated/1.0"),
        ("Proxy-Authenticate", "Basic"),
        ("Connection", "x-hop"),
        ("x-hop", "1"),
    )
    return Response(honest(wire, asked), media_type(wire, asked), headers=headers)


def length_and_chunks(wire: Wire, asked: Asked) -> Response:
    """A chunked answer with a ``Content-Length`` that hides a second response."""
    body = _body(wire, asked)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = _head(wire, asked, b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")
    smuggled = _head(wire, asked, b"Content-Length: 7\r\n") + b"forged\n"
    return _bytes((head + chunked + smuggled,), Ending.CUT)


def bad_chunk(wire: Wire, asked: Asked) -> Response:
    """Half of the answer in one chunk, and then a chunk whose size is none."""
    body = _body(wire, asked)
    half = body[: len(body) // 2]
    head = _head(wire, asked, b"Transfer-Encoding: chunked\r\n")
    return _bytes((head + b"%x\r\n%b\r\nzz\r\nforged\r\n" % (len(half), half),))


def _bytes(pieces: Iterable[bytes], ending: Ending = Ending.NEVER) -> Response:
    return Response(pieces, "", ending=ending, interval=0.0, raw=True)


def _head(wire: Wire, asked: Asked, more: bytes) -> bytes:
    told = b"Content-Type: %b\r\nx-aigateway-simulated: true\r\n" % media_type(wire, asked).encode()
    return b"HTTP/1.1 200 OK\r\n" + told + more + b"\r\n"


def _body(wire: Wire, asked: Asked) -> bytes:
    return b"".join(honest(wire, asked))


_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@cache
def _bomb() -> bytes:
    """A full block of deflate, which can stand any number of times in a stream."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(b" " * INFLATED) + deflate.flush(zlib.Z_FULL_FLUSH)
