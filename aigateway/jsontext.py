"""JSON as text: what is checked before a body is believed, and strings as they go out.

A typed decode skips whatever it does not name, unchecked; so depth, UTF-8, numbers and
duplicate names are looked at here, apart from it.
"""

from __future__ import annotations

from itertools import accumulate

import msgspec

MAX_DEPTH = 64
MAX_VALUES = 500_000
"""Values in one text. It bounds the time that a check takes: a quarter of a second, no more,
for which every stream stands still. A prompt of 32 MiB has a few thousand."""

encode = msgspec.json.encode

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


def one_line(encoded: bytes) -> bytes:
    """JSON text as it stands behind ``data: ``, without a line end of any kind. It must be well-formed."""
    if b"\n" in encoded or b"\r" in encoded:
        encoded = msgspec.json.format(encoded, indent=-1)
    return encoded if encoded.isascii() else escape_line_ends(encoded)


def check(raw: bytes) -> None:
    """Raise `BadJSON` unless ``raw`` is one JSON value, UTF-8, at most `MAX_DEPTH` deep, of at
    most `MAX_VALUES` values, without duplicate names in an object and without numbers beyond
    a double's range."""
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadJSON(f"not valid UTF-8 at byte {error.start}") from None
    skeleton = _skeleton(raw)
    brackets = skeleton.count(b"[") + skeleton.count(b"{")
    if brackets + skeleton.count(b",") > MAX_VALUES:
        raise BadJSON(f"more than {MAX_VALUES} values")
    if brackets > MAX_DEPTH and _depth(skeleton) > MAX_DEPTH:
        raise BadJSON(f"nested more than {MAX_DEPTH} deep")
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadJSON(str(error)) from None
    # Every colon outside a string is one name; a decode keeps one of each name.
    names = skeleton.count(b":")
    if names > 1 and names != _skeleton(encode(value)).count(b":"):
        raise BadJSON("the same name twice in one object")


def _skeleton(raw: bytes) -> bytes:
    """``raw`` without its strings: what is left between the quotes that no backslash escapes.

    Only for what is JSON does it mean anything; of anything else a decode will complain.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    if raw.count(b'"') > 2 * MAX_VALUES:
        raise BadJSON(f"more than {MAX_VALUES} strings")
    return b"".join(raw.split(b'"')[::2])


def _depth(skeleton: bytes) -> int:
    """How deep brackets nest. Which kind closes which is the decoder's business."""
    steps = skeleton.translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0)
