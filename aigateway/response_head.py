"""The head of a provider's response: its limits, and what is no head at all.

Twisted's client bounds neither the number of a head's lines nor that of the 1xx responses before it,
and takes what two parties may read in two ways: bare line ends, folded lines, a length beside chunks.
This reads along, before Twisted does. What the head says is Twisted's business.
"""

from __future__ import annotations

import re

_END = b"\r\n\r\n"
_BARE = re.compile(rb"(?<!\r)\n|\r[^\n]")  # half a line end: RFC 9112, 2.2
_HEAD = re.compile(
    rb"HTTP/1\.[01] ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?"
    rb"(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*)*"
)
_FRAMING = re.compile(rb"\r\n(?:(content-length)|transfer-encoding):[ \t]*([^\r]*)", re.IGNORECASE)


class HeadTooLarge(Exception):
    """A response's status line and headers are over their limit."""


class HeadMalformed(Exception):
    """What came is not a response of HTTP/1.1, or can be read in two ways."""


class ResponseHead:
    """Follows the bytes of one response to the end of its head; ``over``: that was seen.

    The limits are for all heads of the response together, 1xx ones included: bytes, lines, and
    how many 1xx there may be. Holds at most ``max_size`` bytes and a read.
    """

    def __init__(self, max_size: int, max_lines: int, max_informational: int) -> None:
        self._max_size = max_size
        self._max_lines = max_lines
        self._max_informational = max_informational
        self._pending = b""
        self._size = 0
        self._lines = 0
        self._informational = 0
        self.over = False

    def feed(self, data: bytes) -> None:
        """Raises `HeadTooLarge` or `HeadMalformed`, at the first byte that is too much."""
        searched = max(len(self._pending) - len(_END) + 1, 0)
        self._pending += data
        while not self.over:
            end = self._pending.find(_END, searched)
            head = self._pending if end < 0 else self._pending[:end]
            self._check_size(head, whole=end >= 0)
            if end < 0:
                if _BARE.search(self._pending, searched):
                    raise HeadMalformed("a line that ends in half a line end")
                return
            self._check(head)
            self._pending = self._pending[end + len(_END) :]
            searched = 0
        self._pending = b""

    def _check_size(self, head: bytes, *, whole: bool) -> None:
        lines = head.count(b"\n") + 2 * whole
        size = len(head) + len(_END) * whole
        if whole:
            self._size += size
            self._lines += lines
            size = lines = 0
        if self._size + size > self._max_size or self._lines + lines > self._max_lines:
            raise HeadTooLarge(f"of more than {self._max_size} bytes or {self._max_lines} lines")

    def _check(self, head: bytes) -> None:
        found = _HEAD.fullmatch(head)
        if found is None:
            raise HeadMalformed("lines that are none of HTTP/1.1")
        status = int(found[1])
        if status == 101:
            raise HeadMalformed("a switch to another protocol, which was not asked for")
        if status < 200:
            self._informational += 1
            if self._informational > self._max_informational:
                raise HeadTooLarge(f"behind more than {self._max_informational} responses of status 1xx")
            return
        self.over = True
        framing = _FRAMING.findall(head)
        codings = [value.strip().lower() for is_length, value in framing if not is_length]
        # RFC 9112, 6.3: a length beside chunks may be an attempt to smuggle.
        if codings and (codings != [b"chunked"] or len(framing) > 1):
            raise HeadMalformed("a body that can be read in two ways")
