"""Errors as HTTP responses: a whole one where there is a request to write it to, its bytes where not.

What an error says is the dialects' business.
"""

from __future__ import annotations

from twisted.web import http

from .config import Limits
from .dialects.base import ErrorAnswer
from .errors import HeadTooLarge, TooLarge

PHRASES = {
    421: b"Misdirected Request",
    431: b"Request Header Fields Too Large",
    529: b"Overloaded",
}
"""Statuses that twisted.web has no words for."""


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
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head else answer.body)


def too_large(limits: Limits) -> TooLarge:
    """What a body beyond its limit is."""
    return TooLarge(f"the request body is larger than {limits.max_body} bytes (limits.max_body)")


def head_too_large(limits: Limits) -> HeadTooLarge:
    """What a head beyond its limits is."""
    return HeadTooLarge(f"the request's head is over {limits.max_head} bytes or {limits.max_headers} headers")
