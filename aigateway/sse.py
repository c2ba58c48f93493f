"""Server-Sent Events: framing, once, for everyone.

What the bytes mean is the dialects' business. The rules are those of the WHATWG HTML
standard, section 9.2.6, with two leniencies that real providers need: a last event
without its blank line counts when its data is whole JSON or ``[DONE]``, and a line
with the field name ``error`` (llama.cpp writes one) becomes an ``error`` frame.
"""

from __future__ import annotations

import msgspec

BOM = b"\xef\xbb\xbf"
MAX_LINE = 8 * 1024 * 1024
MAX_EVENT = 16 * 1024 * 1024


class Frame(msgspec.Struct, gc=False):
    """One event: its name (empty when none was given) and its data, as they came."""

    data: bytes
    event: bytes = b""


class FrameTooLarge(Exception):
    """A line or an event is over its limit; the rest of the stream cannot be trusted."""


class SSEDecoder:
    """Turn the bytes of an event stream into frames, however they are cut.

    Holds at most one unfinished event; raises `FrameTooLarge` when that grows over
    ``max_event``, or a line in it over ``max_line`` bytes.
    """

    def __init__(self, max_line: int = MAX_LINE, max_event: int = MAX_EVENT) -> None:
        self._max_line = max_line
        self._max_event = max_event
        self._unchecked = min(max_line, max_event)
        self._pending = bytearray()
        self._line = 0  # where the unfinished line begins in what is pending
        self._begun = False
        self._skip_lf = False

    def feed(self, data: bytes) -> list[Frame]:
        if not self._begun:
            if (start := self._start(data)) is None:
                return []
            data = start
        if self._skip_lf:
            if not data:
                return []
            self._skip_lf = False
            if data[0] == 10:
                data = data[1:]
        if b"\r" in data:
            # A CR ends its line at once; the LF that may follow in the next read is skipped.
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        pending = self._pending
        if pending:
            searched = max(len(pending) - 1, 0)
            pending += data
            if pending.find(b"\n\n", searched) < 0:
                self._check_pending(searched)
                return []
            data = bytes(pending)
            pending.clear()
        *blocks, rest = data.split(b"\n\n")
        if rest:
            pending += rest
            self._line = 0
            self._check_pending(0)
        frames = []
        for block in blocks:
            if (frame := self._frame(block)) is not None:
                frames.append(frame)
        return frames

    def close(self) -> list[Frame]:
        """The stream has ended: the last event, if it is whole but for its blank line."""
        rest, self._pending = bytes(self._pending), bytearray()
        frame = self._frame(rest) if rest else None
        return [frame] if frame is not None and _is_whole(frame.data) else []

    def _start(self, data: bytes) -> bytes | None:
        """``data`` without the byte order mark that may begin a stream; None while undecided."""
        self._pending += data
        if len(self._pending) < 3 and BOM.startswith(self._pending):
            return None
        self._begun = True
        data = bytes(self._pending)
        self._pending.clear()
        return data[3:] if data.startswith(BOM) else data

    def _check_pending(self, searched: int) -> None:
        """Hold the unfinished event to the limits; only what is new, from ``searched`` on, is read."""
        self._line = max(self._pending.rfind(b"\n", searched) + 1, self._line)
        size = len(self._pending)
        if size - self._pending.endswith(b"\n") > self._max_event:  # half of the blank line is no content
            raise self._too_large(f"an event is larger than {self._max_event} bytes")
        if size - self._line > self._max_line:
            raise self._too_large(f"a line is longer than {self._max_line} bytes")

    def _frame(self, block: bytes) -> Frame | None:
        """The frame that the lines of ``block`` make, or None where they hold no data."""
        if len(block) > self._unchecked:
            self._check_block(block)
        if block[:6] == b"data: " and b"\n" not in block:  # OpenAI, Google
            return Frame(block[6:])
        event = b""
        data: list[bytes] = []
        for line in block.split(b"\n"):
            name, colon, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value
            elif name == b"error" and colon:
                event = b"error"
                data.append(value)
        if not data:
            return None
        return Frame(data[0] if len(data) == 1 else b"\n".join(data), event)

    def _check_block(self, block: bytes) -> None:
        if len(block) > self._max_event:
            raise self._too_large(f"an event is larger than {self._max_event} bytes")
        if any(len(line) > self._max_line for line in block.split(b"\n")):
            raise self._too_large(f"a line is longer than {self._max_line} bytes")

    def _too_large(self, message: str) -> FrameTooLarge:
        """What is pending is given up with the rest of the stream."""
        self._pending.clear()
        return FrameTooLarge(message)


def _is_whole(data: bytes) -> bool:
    if data.strip() == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data, type=msgspec.Raw)  # which makes nothing of it
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
