"""JSON as text: what is checked before a body is believed, and strings as they go out.

A typed decode skips whatever it does not name, unchecked; so depth, UTF-8, numbers and
duplicate names are looked at here, apart from it.
"""

from __future__ import annotations

import re
from itertools import accumulate

import msgspec

MAX_DEPTH = 64

encode = msgspec.json.encode

# Possessive quantifiers: a hostile string costs one pass, never a backtrack.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: one deeper, one less deep
# Line ends to some clients (Python's str.splitlines among them), though not to SSE.
_LINE_ENDS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class BadJSON(ValueError):
    """The text is not JSON that we take; the message says why, in a phrase."""


def json_string(text: str) -> bytes:
    """``text`` as a JSON string without a raw line end of any kind inside."""
    try:
        encoded = encode(text)
    except UnicodeEncodeError:  # half of a surrogate pair: no UTF-8 has it
        encoded = encode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return encoded if encoded.isascii() else escape_line_ends(encoded)


def escape_line_ends(encoded: bytes) -> bytes:
    """JSON text with the line ends beyond ASCII, which can only stand in its strings, escaped."""
    for raw, escaped in _LINE_ENDS:
        if raw in encoded:
            encoded = encoded.replace(raw, escaped)
    return encoded


def check(raw: bytes) -> None:
    """Raise `BadJSON` unless ``raw`` is one JSON value, UTF-8, at most `MAX_DEPTH` deep,
    without duplicate names in an object and without numbers beyond a double's range."""
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadJSON(f"not valid UTF-8 at byte {error.start}") from None
    skeleton = None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        skeleton = _STRING.sub(b"", raw)
        if _depth(skeleton) > MAX_DEPTH:
            raise BadJSON(f"nested more than {MAX_DEPTH} deep")
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadJSON(str(error)) from None
    if raw.count(b":") < 2:
        return
    if skeleton is None:
        skeleton = _STRING.sub(b"", raw)
    # Every colon outside a string is one name; a decode keeps one of each name.
    if skeleton.count(b":") != _STRING.sub(b"", encode(value)).count(b":"):
        raise BadJSON("the same name twice in one object")


def _depth(skeleton: bytes) -> int:
    """How deep brackets nest. Which kind closes which is the decoder's business."""
    steps = skeleton.translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0)
