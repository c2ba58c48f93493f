"""What the HTTP server takes and what it refuses, byte by byte: framing, targets, hosts.

A table of requests that two servers could read differently (RFC 9110, RFC 9112, and the
collections that the tests of llhttp, h11 and Http11Probe are). Each is sent whole and, where it
is short, in two pieces cut at every place; the result may not depend on that. One request in
is at most one request to a provider.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from aigateway.config import Limits

from .fakes import PROVIDER_PORT, Client, GatewayTestCase, Scripted, answers, config

BODY = b'{"model":"gpt-4","messages":[{"role":"user","content":"hi"}]}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
HOST = b"Host: localhost:8088\r\n"
JSON = b"Content-Type: application/json\r\n"
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
POST = LINE + HOST + JSON
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMUGGLED = POST + LENGTH + b"\r\n" + BODY
"""What an attacker wants to be taken for a request of its own."""


def chunked(*sizes: int, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """`BODY` in chunks, of ``sizes`` and the rest."""
    rest = BODY
    pieces = []
    for size in (*sizes, len(BODY) - sum(sizes)):
        piece, rest = rest[:size], rest[size:]
        pieces.append(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece))
    return b"".join(pieces) + b"0%b\r\n%b\r\n" % (extension, trailers)


class Case(NamedTuple):
    """``sent``, and the statuses that come back. ``asked``: requests that reach a provider.
    ``closed``: whether the connection is then closed."""

    sent: bytes
    statuses: tuple[int, ...]
    asked: int = 0
    closed: bool = True


def refused(sent: bytes, status: int = 400) -> Case:
    return Case(sent, (status,))


def taken(sent: bytes, *, closed: bool = False) -> Case:
    return Case(sent, (200,), 1, closed)


def health(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((line, *headers, b"", b""))


FRAMING: dict[str, Case] = {
    # Content-Length (RFC 9110, 8.6)
    "length": taken(POST + LENGTH + b"\r\n" + BODY),
    "length with spaces around it": taken(POST + LENGTH.replace(b": ", b": \t ") + b"\r\n" + BODY),
    "length with zeros before it": taken(POST + LENGTH.replace(b": ", b": 000") + b"\r\n" + BODY),
    "length twice, the same": refused(POST + LENGTH + LENGTH + b"\r\n" + BODY + SMUGGLED),
    "length twice, zero last": refused(POST + LENGTH + b"Content-Length: 0\r\n\r\n" + BODY + SMUGGLED),
    "length twice, zero first": refused(POST + b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + BODY + SMUGGLED),
    "length as a list": refused(POST + b"Content-Length: 61, 61\r\n\r\n" + BODY + SMUGGLED),
    "length as a list that differs": refused(POST + b"Content-Length: 61, 0\r\n\r\n" + BODY + SMUGGLED),
    "length empty": refused(POST + b"Content-Length:\r\n\r\n" + SMUGGLED),
    "length with a plus": refused(POST + b"Content-Length: +61\r\n\r\n" + BODY + SMUGGLED),
    "length below zero": refused(POST + b"Content-Length: -1\r\n\r\n" + BODY + SMUGGLED),
    "length of minus zero": refused(POST + b"Content-Length: -0\r\n\r\n" + SMUGGLED),
    "length in hexadecimal": refused(POST + b"Content-Length: 0x3d\r\n\r\n" + BODY + SMUGGLED),
    "length in octal": refused(POST + b"Content-Length: 0o75\r\n\r\n" + BODY + SMUGGLED),
    "length with an underscore": refused(POST + b"Content-Length: 6_1\r\n\r\n" + BODY + SMUGGLED),
    "length with a space inside": refused(POST + b"Content-Length: 6 1\r\n\r\n" + BODY + SMUGGLED),
    "length with a fraction": refused(POST + b"Content-Length: 61.0\r\n\r\n" + BODY + SMUGGLED),
    "length in other digits": refused(POST + "Content-Length: ٦١\r\n\r\n".encode() + BODY + SMUGGLED),
    "length of 2**63": refused(POST + b"Content-Length: 9223372036854775808\r\n\r\n" + SMUGGLED, 413),
    "length of 5,000 digits": refused(POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + SMUGGLED, 413),
    "space before the colon of a length": refused(POST + LENGTH.replace(b":", b" :") + b"\r\n" + SMUGGLED),
    "tab before the colon of a length": refused(POST + LENGTH.replace(b":", b"\t:") + b"\r\n" + SMUGGLED),
    "body without a length": Case(POST + b"\r\n" + BODY, (400,), closed=False),
    "body without a length, and lines in it": Case(POST + b"\r\n{\r\n}\r\n", (400, 400)),
    "nothing without a length": Case(POST + b"\r\n", (400,), closed=False),
    "length of nothing": Case(POST + b"Content-Length: 0\r\n\r\n", (400,), closed=False),
    "GET with a body": Case(
        b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length: 8\r\n\r\nGET /a b" + HEALTH,
        (200, 200),
        closed=False,
    ),
    # Transfer-Encoding (RFC 9112, 6.1)
    "chunks": taken(POST + CHUNKED + b"\r\n" + chunked(3, 1, 10)),
    "chunks, in capitals": taken(POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + chunked()),
    "chunks, and then another": Case(POST + CHUNKED + b"\r\n" + chunked() + HEALTH, (200, 200), 1, False),
    "chunks without the last": Case(POST + CHUNKED + b"\r\n" + chunked()[:-5], (), closed=False),
    "no chunk but the last": Case(POST + CHUNKED + b"\r\n0\r\n\r\n", (400,), closed=False),
    "length and chunks": refused(POST + LENGTH + CHUNKED + b"\r\n" + chunked() + SMUGGLED),
    "chunks and length": refused(POST + CHUNKED + LENGTH + b"\r\n" + chunked() + SMUGGLED),
    "length of nothing and chunks": refused(POST + b"Content-Length: 0\r\n" + CHUNKED + b"\r\n" + chunked()),
    "chunks twice": refused(POST + CHUNKED + CHUNKED + b"\r\n" + chunked() + SMUGGLED),
    "chunks twice in a list": refused(
        POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + chunked() + SMUGGLED
    ),
    "chunks, then identity": refused(
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunked() + SMUGGLED
    ),
    "identity, then chunks": refused(
        POST + b"Transfer-Encoding: identity, chunked\r\n\r\n" + chunked() + SMUGGLED
    ),
    "identity in a line of its own": refused(
        POST
        + b"Transfer-Encoding: identity\r\n"
        + CHUNKED
        + b"\r\n"
        + chunked()[:-5]
        + b"5\r\nGET /\r\n0\r\n\r\n"
    ),
    "identity alone": refused(POST + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED),
    "identity and a length": refused(
        POST + LENGTH + b"Transfer-Encoding: identity\r\n\r\n" + BODY + SMUGGLED
    ),
    "gzip, then chunks": refused(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked() + SMUGGLED),
    "gzip and a length": refused(POST + LENGTH + b"Transfer-Encoding: gzip\r\n\r\n" + BODY + SMUGGLED),
    "xchunked": refused(POST + b"Transfer-Encoding: xchunked\r\n\r\n" + chunked() + SMUGGLED),
    "chunked in quotes": refused(POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + chunked() + SMUGGLED),
    "chunked with a parameter": refused(
        POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + chunked() + SMUGGLED
    ),
    "chunked after a comma": refused(POST + b"Transfer-Encoding: ,chunked\r\n\r\n" + chunked() + SMUGGLED),
    "chunked before a comma": refused(POST + b"Transfer-Encoding: chunked,\r\n\r\n" + chunked() + SMUGGLED),
    "chunked after a tab": taken(POST + b"Transfer-Encoding:\tchunked\r\n\r\n" + chunked()),
    "chunked before a space": taken(POST + b"Transfer-Encoding: chunked \r\n\r\n" + chunked()),
    "chunked after a vertical tab": refused(
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + chunked() + SMUGGLED
    ),
    "chunked before a form feed": refused(
        POST + b"Transfer-Encoding: chunked\x0c\r\n\r\n" + chunked() + SMUGGLED
    ),
    "chunked before a NUL": refused(POST + b"Transfer-Encoding: chunked\0\r\n\r\n" + chunked() + SMUGGLED),
    "chunked after a CR": refused(POST + b"Transfer-Encoding: \rchunked\r\n\r\n" + chunked() + SMUGGLED),
    "no coding": refused(POST + b"Transfer-Encoding:\r\n\r\n" + chunked() + SMUGGLED),
    "chunked on a folded line": refused(
        POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + chunked() + SMUGGLED
    ),
    "chunked, folded": refused(POST + b"X: y\r\n\tTransfer-Encoding: chunked\r\n\r\n" + chunked() + SMUGGLED),
    "space before the colon of a coding": refused(
        POST + b"Transfer-Encoding : chunked\r\n\r\n" + chunked() + SMUGGLED
    ),
    "NUL in the name of a coding": refused(
        POST + b"Transfer\0-Encoding: chunked\r\n\r\n" + chunked() + SMUGGLED
    ),
    "coding on a bare LF": refused(POST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n" + chunked() + SMUGGLED),
    "coding on a bare CR": refused(POST + b"X: y\rTransfer-Encoding: chunked\r\n\r\n" + chunked() + SMUGGLED),
    "chunks in HTTP/1.0": refused(
        POST.replace(b"1.1\r\n", b"1.0\r\n") + CHUNKED + b"\r\n" + chunked() + SMUGGLED
    ),
    # chunks (RFC 9112, 7.1)
    "chunk sizes in capitals": taken(
        POST + CHUNKED + b"\r\n" + chunked(10, 11).replace(b"a\r\n", b"A\r\n", 1)
    ),
    "chunk sizes with zeros": taken(POST + CHUNKED + b"\r\n" + b"000" + chunked()),
    "chunk extensions": taken(POST + CHUNKED + b"\r\n" + chunked(5, extension=b';a=b;c="d e";f')),
    "trailers": taken(POST + CHUNKED + b"\r\n" + chunked(trailers=b"X-Sum: 1\r\nHost: evil.example\r\n")),
    "a length in a trailer": Case(
        POST + CHUNKED + b"\r\n" + chunked(trailers=b"Content-Length: 90\r\n") + HEALTH, (200, 200), 1, False
    ),
    "a key in a trailer": taken(POST + CHUNKED + b"\r\n" + chunked(trailers=b"Authorization: Bearer x\r\n")),
    "chunk size of none": refused(POST + CHUNKED + b"\r\n\r\n" + SMUGGLED),
    "chunk size that is no number": refused(POST + CHUNKED + b"\r\n3g\r\n" + BODY + SMUGGLED),
    "chunk size below zero": refused(POST + CHUNKED + b"\r\n-3d\r\n" + BODY + SMUGGLED),
    "chunk size with a plus": refused(POST + CHUNKED + b"\r\n+3d\r\n" + BODY + SMUGGLED),
    "chunk size with 0x": refused(POST + CHUNKED + b"\r\n0x3d\r\n" + BODY + SMUGGLED),
    "chunk size with an underscore": refused(POST + CHUNKED + b"\r\n3_d\r\n" + BODY + SMUGGLED),
    "chunk size after a space": refused(POST + CHUNKED + b"\r\n 3d\r\n" + BODY + SMUGGLED),
    "chunk size before a space": refused(POST + CHUNKED + b"\r\n3d \r\n" + BODY + SMUGGLED),
    "chunk size of 1,100 zeros": refused(
        POST + CHUNKED + b"\r\n" + b"0" * 1100 + b"3d\r\n" + BODY + SMUGGLED
    ),
    "chunk size before a bare LF": refused(POST + CHUNKED + b"\r\n3d\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk size before a bare CR": refused(POST + CHUNKED + b"\r\n3d\r" + BODY + b"\r\n0\r\n\r\n"),
    "chunk without its end": refused(POST + CHUNKED + b"\r\n3d\r\n" + BODY + b"0\r\n\r\n" + SMUGGLED),
    "chunk that is longer": refused(POST + CHUNKED + b"\r\n3d\r\n" + BODY + b"xx\r\n0\r\n\r\n" + SMUGGLED),
    "chunk before a bare LF": refused(POST + CHUNKED + b"\r\n3d\r\n" + BODY + b"\n0\r\n\r\n" + SMUGGLED),
    "chunk extension with a bare LF": refused(POST + CHUNKED + b"\r\n3d;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk extension with a bare CR": refused(POST + CHUNKED + b"\r\n3d;a\rb\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk extension with a NUL": refused(POST + CHUNKED + b"\r\n3d;a\0b\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk extension of 2 KiB": refused(POST + CHUNKED + b"\r\n3d;" + b"a" * 2048 + b"\r\n" + BODY),
    "trailer without a colon": refused(
        POST + CHUNKED + b"\r\n" + chunked(trailers=b"GET /a HTTP/1.1\r\n") + SMUGGLED
    ),
    "trailer with a bare LF": refused(
        POST + CHUNKED + b"\r\n" + chunked(trailers=b"\nGET /a HTTP/1.1\r\nX: y\r\n")
    ),
    "trailer with a space before its colon": refused(
        POST + CHUNKED + b"\r\n" + chunked(trailers=b"X : y\r\n")
    ),
    "trailer that is folded": refused(POST + CHUNKED + b"\r\n" + chunked(trailers=b"X: y\r\n z\r\n")),
    "trailer with a NUL": refused(POST + CHUNKED + b"\r\n" + chunked(trailers=b"X: \0\r\n")),
    "trailers of 70 KiB": refused(POST + CHUNKED + b"\r\n0\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n"),
    # headers (RFC 9112, 5)
    "bare LF at every line": refused(HEALTH.replace(b"\r\n", b"\n")),
    "bare CR at every line": refused(HEALTH.replace(b"\r\n", b"\r")),
    "bare LF after the request line": refused(HEALTH.replace(b"\r\n", b"\n", 1)),
    "bare LF at the end of the head": refused(HEALTH[:-2] + b"\n"),
    "bare LF in a value": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X: a\nb")),
    "bare CR in a value": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X: a\rb")),
    "CR CR LF": refused(health(b"GET /health HTTP/1.1", b"Host: localhost\r", b"X: a")),
    "NUL in a value": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X: a\0b")),
    "ESC in a value": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X: a\x1b[2Jb")),
    "DEL in a value": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X: a\x7fb")),
    "tab in a value": Case(
        health(b"GET /health HTTP/1.1", b"Host: localhost", b"X: a\tb"), (200,), closed=False
    ),
    "other letters in a value": Case(
        health(b"GET /health HTTP/1.1", b"Host: localhost", "X: ä€".encode()), (200,), closed=False
    ),
    "no value": Case(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X:"), (200,), closed=False),
    "no name": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b": x")),
    "no colon": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X")),
    "NUL in a name": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X\0Y: a")),
    "tab in a name": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X\tY: a")),
    "brackets in a name": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X[Y]: a")),
    "other letters in a name": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", "Ä: a".encode())),
    "folded value": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"X: a", b" b")),
    "line of spaces": refused(health(b"GET /health HTTP/1.1", b"Host: localhost", b"  ")),
    "space before the first header": refused(health(b"GET /health HTTP/1.1", b" X: a", b"Host: localhost")),
}

LINES: dict[str, Case] = {
    # the request line (RFC 9112, 3)
    "empty line before it": Case(b"\r\n" + HEALTH, (200,), closed=False),
    "empty lines before it": refused(b"\r\n\r\n" + HEALTH),
    "empty lines and no more": refused(b"\r\n" * 1000),
    "LF before it": refused(b"\n" + HEALTH),
    "space before it": refused(b" " + HEALTH),
    "no version (HTTP/0.9)": refused(b"GET /health\r\n" + HOST + b"\r\n"),
    "HTTP/1.2": refused(health(b"GET /health HTTP/1.2", b"Host: localhost")),
    "HTTP/2.0": refused(health(b"GET /health HTTP/2.0", b"Host: localhost")),
    "HTTP/1": refused(health(b"GET /health HTTP/1", b"Host: localhost")),
    "HTTP/1.1.1": refused(health(b"GET /health HTTP/1.1.1", b"Host: localhost")),
    "HTTP/01.1": refused(health(b"GET /health HTTP/01.1", b"Host: localhost")),
    "http/1.1": refused(health(b"GET /health http/1.1", b"Host: localhost")),
    "HTTP/ 1.1": refused(health(b"GET /health HTTP/ 1.1", b"Host: localhost")),
    "HTTPS/1.1": refused(health(b"GET /health HTTPS/1.1", b"Host: localhost")),
    "preface of HTTP/2": refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "two spaces": refused(health(b"GET  /health HTTP/1.1", b"Host: localhost")),
    "two spaces before the version": refused(health(b"GET /health  HTTP/1.1", b"Host: localhost")),
    "space after it": refused(health(b"GET /health HTTP/1.1 ", b"Host: localhost")),
    "tabs in it": refused(health(b"GET\t/health\tHTTP/1.1", b"Host: localhost")),
    "space in the target": refused(health(b"GET /hea lth HTTP/1.1", b"Host: localhost")),
    "no method": refused(health(b" /health HTTP/1.1", b"Host: localhost")),
    "no target": refused(health(b"GET  HTTP/1.1", b"Host: localhost")),
    "method with a colon": refused(health(b"GE:T /health HTTP/1.1", b"Host: localhost")),
    "method of other letters": refused(health("GÉT /health HTTP/1.1".encode(), b"Host: localhost")),
    "method of 20,000 letters": refused(
        health(b"G" * 20_000 + b" /health HTTP/1.1", b"Host: localhost"), 431
    ),
    "a record of TLS": refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "bytes at random": refused(b"\xde\xad\xbe\xef\0\r\n\r\n"),
    # methods
    "unknown method": Case(health(b"BREW /health HTTP/1.1", b"Host: localhost"), (405,)),
    "method in small letters": Case(health(b"get /health HTTP/1.1", b"Host: localhost"), (405,)),
    "TRACE": Case(health(b"TRACE /health HTTP/1.1", b"Host: localhost", b"X-Api-Key: secret"), (405,)),
    "OPTIONS": Case(health(b"OPTIONS /v1/messages HTTP/1.1", b"Host: localhost"), (405,)),
    "OPTIONS *": Case(health(b"OPTIONS * HTTP/1.1", b"Host: localhost"), (404,)),
    "CONNECT": refused(health(b"CONNECT localhost:8088 HTTP/1.1", b"Host: localhost:8088")),
    "CONNECT with a path": Case(health(b"CONNECT /health HTTP/1.1", b"Host: localhost"), (405,)),
    # the target (RFC 9112, 3.2)
    "* for GET": refused(health(b"GET * HTTP/1.1", b"Host: localhost")),
    "authority": refused(health(b"GET localhost:8088 HTTP/1.1", b"Host: localhost:8088")),
    "path without a slash": refused(health(b"GET health HTTP/1.1", b"Host: localhost")),
    "NUL in the target": refused(health(b"GET /hea\0lth HTTP/1.1", b"Host: localhost")),
    "DEL in the target": refused(health(b"GET /hea\x7flth HTTP/1.1", b"Host: localhost")),
    "CR in the target": refused(health(b"GET /hea\rlth HTTP/1.1", b"Host: localhost")),
    "other letters in the target": refused(health("GET /hälth HTTP/1.1".encode(), b"Host: localhost")),
    "bytes of 0x80 to 0xB0 in the target": refused(health(b"GET /hea\x80\xb0 HTTP/1.1", b"Host: localhost")),
    "fragment": refused(health(b"GET /health#top HTTP/1.1", b"Host: localhost")),
    "query": Case(health(b"GET /health?a=b&c HTTP/1.1", b"Host: localhost"), (200,), closed=False),
    "two slashes": Case(health(b"GET //health HTTP/1.1", b"Host: localhost"), (404,)),
    "dots": Case(health(b"GET /v1/../health HTTP/1.1", b"Host: localhost"), (404,)),
    "encoded dots": Case(health(b"GET /v1/%2e%2e/health HTTP/1.1", b"Host: localhost"), (404,)),
    "overlong UTF-8": Case(health(b"GET /v1/models/%c0%af HTTP/1.1", b"Host: localhost"), (400,)),
    "another server's file": Case(health(b"GET /etc/passwd HTTP/1.1", b"Host: localhost"), (404,)),
    # absolute targets, for which the rule of hosts holds as well
    "absolute": Case(
        health(b"GET http://localhost/health HTTP/1.1", b"Host: localhost"), (200,), closed=False
    ),
    "absolute, in capitals": Case(
        health(b"GET HTTP://LOCALHOST:1/health HTTP/1.1", b"Host: localhost:1"), (200,), closed=False
    ),
    "absolute, in HTTP/1.0": Case(health(b"GET http://localhost/health HTTP/1.0"), (200,)),
    "absolute and without a path": Case(
        health(b"GET http://localhost?a=b HTTP/1.1", b"Host: localhost"), (405,)
    ),
    "absolute for another host": Case(
        health(b"GET http://evil.example/health HTTP/1.1", b"Host: evil.example"), (421,)
    ),
    "absolute for another host, in HTTP/1.0": Case(
        health(b"GET http://evil.example/health HTTP/1.0"), (421,)
    ),
    "absolute that disagrees with Host": refused(
        health(b"GET http://localhost/health HTTP/1.1", b"Host: evil.example")
    ),
    "Host that disagrees with the absolute": refused(
        health(b"GET http://evil.example/health HTTP/1.1", b"Host: localhost")
    ),
    "absolute without Host": refused(health(b"GET http://localhost/health HTTP/1.1")),
    "absolute with two hosts": refused(
        health(b"GET http://localhost/health HTTP/1.1", b"Host: localhost", b"Host: evil.example")
    ),
    "absolute with a user": refused(
        health(b"GET http://me@localhost/health HTTP/1.1", b"Host: me@localhost")
    ),
    "absolute without a host": refused(health(b"GET http:///health HTTP/1.1", b"Host:")),
    "absolute of another scheme": refused(health(b"GET file:///etc/passwd HTTP/1.1", b"Host: localhost")),
}

HOSTS: dict[bytes, int] = {
    b"localhost": 200,
    b"LocalHost": 200,
    b"localhost:1": 200,
    b"localhost:": 200,
    b"127.0.0.1:8088": 200,
    b"[::1]": 200,
    b"[::1]:8088": 200,
    b"": 400,
    b" ": 400,
    b":8088": 400,
    b"local host": 400,
    b"localhost, evil.example": 400,
    b"localhost,localhost": 400,
    b"me@localhost": 400,
    b"evil.example@localhost": 400,
    b"localhost/": 400,
    b"localhost?": 400,
    b"localhost#": 400,
    b"localhost\\": 400,
    b"http://localhost": 400,
    b"localhost:http": 400,
    b"localhost:8088:1": 400,
    b"localhost:-1": 400,
    b"::1": 400,
    b"[::1": 400,
    b"[::1]x": 400,
    b"[::1%25eth0]": 400,
    b"[fe80::1%eth0]": 400,
    b"[localhost]": 400,
    b"local\xe4host": 400,
    b"<script>": 400,
    b"localhost.": 421,
    b"evil.example": 421,
    b"localhost.evil.example": 421,
    b"evil-localhost": 421,
    b"127.0.0.1.nip.io": 421,
    b"127.1": 421,
    b"0.0.0.0:8088": 421,
    b"2130706433": 421,
    b"[::2]": 421,
    b"[::ffff:127.0.0.1]": 421,
    b"%6cocalhost": 421,
}
"""What a request with this Host is answered. Names are taken as they are spelt: another spelling
of a loopback address may be somebody's name for it."""


class TableTestCase(GatewayTestCase):
    """The gateway before a provider that answers at once. ``limits`` are the default ones."""

    limits = Limits()

    def setUp(self) -> None:
        super().setUp()
        self.network.ports[PROVIDER_PORT].stopListening()
        self.scripted = Scripted(answers("hello"))
        self.serve(self.scripted)
        self.start(config(limits=self.limits))

    def send(self, *pieces: bytes) -> Client:
        client = self.client()
        for piece in pieces:
            client.send(piece)
        return client

    def check(self, case: Case, *pieces: bytes) -> None:
        self.scripted.asked.clear()
        self.logged.clear()
        client = self.send(*pieces)
        found = client.answers()
        self.assertEqual(tuple(answer.status for answer in found), case.statuses, client.received)
        self.assertTrue(all(answer.whole for answer in found), client.received)
        self.assertEqual(client.ended, case.closed, client.received)
        self.assertEqual(len(self.scripted.asked), case.asked)
        self.assertNotIn(b"<html", client.received.lower())
        self.assertFalse([line for line in self.logged if "Traceback" in line], self.logged)
        if found and case.closed:
            self.assertEqual(found[-1].headers.get("connection"), "close")
        if case.statuses and case.statuses[-1] in (400, 413, 421, 431):
            self.assertIn("error", found[-1].json())
        client.leave()

    def check_all(self, table: dict[str, Case]) -> None:
        for name, case in table.items():
            with self.subTest(name):
                self.check(case, case.sent)

    def check_cut(self, table: dict[str, Case], prefix: bytes = b"") -> None:
        """Each case in two pieces, cut at some ten places after ``prefix``."""
        for name, case in table.items():
            first = len(prefix) if case.sent.startswith(prefix) else 1
            for place in range(first, len(case.sent), max((len(case.sent) - first) // 10, 1)):
                with self.subTest(name, place=place):
                    self.check(case, case.sent[:place], case.sent[place:])


class FramingTests(TableTestCase):
    def test_whole(self) -> None:
        """Who could be read in two ways is refused, and the connection closed; what is behind it is
        never looked at."""
        self.check_all(FRAMING)

    def test_cut_in_two(self) -> None:
        """How the bytes come makes no difference."""
        self.check_cut(FRAMING, POST)

    def test_byte_by_byte(self) -> None:
        """Nor do single bytes."""
        for name in ("chunks, and then another", "chunk extension with a bare LF", "length and chunks"):
            case = FRAMING[name]
            with self.subTest(name):
                self.check(case, *(case.sent[at : at + 1] for at in range(len(case.sent))))


class LineTests(TableTestCase):
    def test_whole(self) -> None:
        """Request lines, methods and targets."""
        self.check_all(LINES)

    def test_cut_in_two(self) -> None:
        """How the bytes come makes no difference."""
        self.check_cut(LINES)


class HostTests(TableTestCase):
    def test_hosts(self) -> None:
        """A Host that is none is 400, one that is not this gateway's 421."""
        for host, status in HOSTS.items():
            with self.subTest(host):
                sent = b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
                self.check(Case(sent, (status,), closed=status != 200), sent)

    def test_every_route(self) -> None:
        """The rule holds for every path, known or not, public or not, and before the key is looked at."""
        for path in (b"/health", b"/", b"/stats", b"/metrics", b"/v1/messages", b"/nowhere"):
            for method in (b"GET", b"HEAD", b"POST", b"OPTIONS"):
                with self.subTest(path, method=method):
                    client = self.send(method + b" " + path + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n")
                    self.assertEqual(client.answer(method.decode()).status, 421)

    def test_forwarded_hosts_count_for_nothing(self) -> None:
        """No other header says by which name the gateway was called."""
        for name in (b"X-Forwarded-Host", b"X-Host", b"Forwarded", b"X-Original-Host"):
            with self.subTest(name):
                more = name + b": localhost\r\n"
                client = self.send(b"GET /health HTTP/1.1\r\nHost: evil.example\r\n" + more + b"\r\n")
                self.assertEqual(client.answer().status, 421)
                more = name + b": evil.example\r\n"
                client = self.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n")
                self.assertEqual(client.answer().status, 200)


class PersistenceTests(TableTestCase):
    closing: ClassVar = {
        b"Connection: close": True,
        b"Connection: Close": True,
        b"Connection: keep-alive, close": True,
        b"Connection: close,keep-alive": True,
        b"Connection: keep-alive\r\nConnection: close": True,
        b"Connection: close, X-Named\r\nX-Named: 1": True,
        b"Connection: keep-alive": False,
        b"Connection: closed": False,
        b"Connection: X-Named\r\nX-Named: 1": False,
        b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__": False,
        b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==": False,
        b"Upgrade: websocket": False,
        b"Proxy-Connection: close": False,
        b"Keep-Alive: timeout=1000000, max=1": False,
        b"TE: trailers": False,
    }
    """What is said of the connection, and whether that closes it."""

    def test_http_1_1(self) -> None:
        """``close`` closes the connection wherever it stands; nothing else does. No protocol is
        changed to: an upgrade is an offer that may be left."""
        for line, closes in self.closing.items():
            with self.subTest(line):
                client = self.send(
                    b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\n\r\n" + HEALTH
                )
                statuses = [answer.status for answer in client.answers()]
                self.assertEqual((statuses, client.ended), ([200] if closes else [200, 200], closes))
                self.assertEqual(client.answers()[0].headers.get("connection"), "close" if closes else None)

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client is closed after its answer, asked for or not, and told so."""
        for line in (b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n"):
            with self.subTest(line):
                client = self.send(b"GET /health HTTP/1.0\r\n" + line + b"\r\n" + HEALTH)
                answer = client.answer()
                self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
                self.assertTrue(client.ended)

    def test_expectations(self) -> None:
        """``100 Continue`` is said to who expects it and has a body to send; other expectations
        are not met, and not refused."""
        one_one, one_nothing = (b"POST /v1/messages HTTP/1.%d\r\nHost: localhost\r\n" % n for n in (1, 0))
        length = b"Content-Length: 2\r\n\r\n"
        cases = {
            one_one + b"Expect: 100-continue\r\n" + length: (100,),
            one_one + b"Expect: 100-Continue\r\n" + CHUNKED + b"\r\n": (100,),
            one_nothing + b"Expect: 100-continue\r\n" + length: (),
            one_one + b"Expect: 200-ok\r\n" + length: (),
        }
        for sent, interim in cases.items():
            with self.subTest(sent):
                expected = b"HTTP/1.1 100 Continue\r\n\r\n" if interim else b""
                self.assertEqual(self.send(sent).received, expected)
        client = self.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual((client.answer().interim, client.answer().status), ((), 200))

    def test_head_of_every_page(self) -> None:
        """The answer to HEAD has no body, whatever it says, and the next answer follows it."""
        for path in (b"/health", b"/", b"/stats", b"/nowhere", b"/v1/messages", b"/health#x"):
            with self.subTest(path):
                client = self.send(b"HEAD " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertEqual(client.answer("HEAD").body, b"")
                self.assertTrue(client.received.endswith(b"\r\n\r\n"))


class DisagreementTests(GatewayTestCase):
    def test_a_length_that_says_more(self) -> None:
        """Who promises more than it sends and closes its side is never dispatched."""
        self.start()
        client = self.client()
        client.send(POST + b"Content-Length: 500\r\n\r\n" + BODY)
        client.transport.loseWriteConnection()
        self.network.flush()
        self.assertIsNotNone(client.lost)
        self.assertEqual((client.received, self.provider.asked), (b"", []))

    def test_chunks_without_end(self) -> None:
        """Neither is one whose last chunk is missing."""
        self.start()
        client = self.client()
        client.send(POST + CHUNKED + b"\r\n" + chunked()[:-2])
        client.transport.loseWriteConnection()
        self.network.flush()
        self.assertIsNotNone(client.lost)
        self.assertEqual((client.received, self.provider.asked), (b"", []))
