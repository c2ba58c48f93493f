"""Refusing a request at a glance: without parsing it, when the gateway is overloaded.

To read a request's head takes a tenth of what it takes to answer it. Offered several times what it
can do, a gateway that reads every head in order to refuse most has little time left for the
others. So, while it refuses, it looks whether a read is exactly one whole request of the plain kind that
clients send, by one regular expression, and answers that from a template. Whatever is not as plain goes
the ordinary way, and is judged there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import uuid4

from .dialect_rules import DialectRules
from .dialects.base import ClientDialect, ErrorAnswer
from .errors import GatewayError
from .overload import Capacity
from .refusal import response_bytes

_PLAIN = re.compile(
    rb"POST (/[!-~]*) HTTP/1\.1\r\n"
    rb"(?:(?!content-length:|transfer-encoding:|expect:|upgrade:|connection:(?!\ keep-alive\r\n))"
    rb"[!#$%&'*+.^_`|~0-9a-z-]++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n|content-length:\ ([0-9]{1,6})\r\n)*+"
    rb"\r\n",
    re.IGNORECASE,
)
"""One request line, headers that say nothing of how the body is framed or the connection goes on, and
a length."""
_LENGTH = re.compile(rb"\ncontent-length:", re.IGNORECASE)
_ID = "req_" + "0" * 32
"""Stands in a template for the id of a request."""


class Glance:
    """``render`` says an error in a dialect, to the request of an id."""

    def __init__(
        self, capacity: Capacity, render: Callable[[ClientDialect, GatewayError, str], ErrorAnswer]
    ) -> None:
        self._capacity = capacity
        self._render = render
        self._templates: dict[tuple[str, str, float | None], bytes] = {}

    def refusal(self, data: bytes, rules: DialectRules) -> bytes | None:
        """What to answer ``data``, or None where it is to be read."""
        plain = _PLAIN.match(data)
        if plain is None or len(data) != plain.end() + int(plain[2] or -1):
            return None
        head = data[: plain.end()]
        if len(_LENGTH.findall(head)) != 1:
            return None
        dialect = rules.at_a_glance(plain[1].partition(b"?")[0], head)
        error = self._capacity.hopeless() if dialect is not None else None
        if dialect is None or error is None:
            return None
        key = dialect.name, error.message, error.retry_after
        template = self._templates.get(key)
        if template is None:
            answer = self._render(dialect, error, _ID)
            template = self._templates[key] = response_bytes(answer, close=False)
        return template.replace(_ID.encode(), f"req_{uuid4().hex}".encode())
