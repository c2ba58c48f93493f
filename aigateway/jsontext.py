"""JSON as text: what is checked before a body is believed, and strings as they go out.

A typed decode skips whatever it does not name, unchecked; so depth, UTF-8, numbers and
duplicate names are looked at here, apart from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import msgspec

MAX_DEPTH = 64
MAX_VALUES = 500_000
"""Values in one text. It bounds the time and the memory that anything done with it takes. A prompt
of 32 MiB has a few thousand."""
MAX_NAMES = 200_000
"""Names of fields among them, of all objects together: they cost most, if one object has them all."""
FEW_VALUES = 20_000
"""Values that are decoded in some milliseconds."""
WINDOW = 256 * 1024
"""Bytes of a large text that are looked at in one go. Whoever looks holds the interpreter meanwhile,
in a thread as well, and every stream stands still; between two windows the streams go on."""

encode = msgspec.json.encode

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
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
        _check_utf8(raw)
    values, names = bound(raw)
    try:
        kept = _names_kept(msgspec.Raw(raw.lstrip()) if values > FEW_VALUES else msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadJSON(str(error)) from None
    # Every colon outside a string is one name; a decode keeps one of each name.
    if names > 1 and names != kept:
        raise BadJSON("the same name twice in one object")


def bound(raw: bytes, most: int = MAX_VALUES) -> tuple[int, int]:
    """Raise `BadJSON` where ``raw`` is more than `MAX_DEPTH` deep, or has more than ``most`` values or
    `MAX_NAMES` names: what bounds the time that anything else may take. How many values there are, and names.

    Only of what is JSON does it say anything; of anything else a decode will complain.
    """
    values = strings = names = depth = 0
    for quotes, skeleton in _skeletons(raw):
        strings += quotes
        opened = skeleton.count(b"[") + skeleton.count(b"{")
        values += opened + skeleton.count(b",")
        if values > most:
            raise BadJSON(f"more than {most} values")
        if strings > 4 * most:  # a name and a value, with two quotes each
            raise BadJSON(f"more than {2 * most} strings")
        if depth + opened > MAX_DEPTH and _deepest(skeleton, depth) > MAX_DEPTH:
            raise BadJSON(f"nested more than {MAX_DEPTH} deep")
        depth += opened - skeleton.count(b"]") - skeleton.count(b"}")
        names += skeleton.count(b":")
        if names > MAX_NAMES:
            raise BadJSON(f"more than {MAX_NAMES} names")
    return values, names


def _check_utf8(raw: bytes) -> None:
    view, at = memoryview(raw), 0
    while at < len(raw):
        end = at + WINDOW
        while end < len(raw) and raw[end] & 0xC0 == 0x80 and end > at + WINDOW - 4:
            end -= 1  # a character is four bytes at most, and is not cut in two
        try:
            str(view[at:end], "utf-8")
        except UnicodeDecodeError as error:
            raise BadJSON(f"not valid UTF-8 at byte {at + error.start}") from None
        at = end


def _skeletons(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """``raw`` window by window, without its strings: how many quotes there are that no backslash
    escapes, and what is left between the strings."""
    inside, at = False, 0
    while at < len(raw):
        window = raw[at : at + WINDOW]
        if b"\\" in window:
            if (len(window) - len(window.rstrip(b"\\"))) % 2:  # what the last one escapes belongs to it
                window = raw[at : at + WINDOW + 1]
            at += len(window)
            window = window.replace(b"\\\\", b"").replace(b'\\"', b"")
        else:
            at += len(window)
        pieces = window.split(b'"')
        yield len(pieces) - 1, b"".join(pieces[inside::2])
        inside ^= len(pieces) % 2 == 0


def _deepest(skeleton: bytes, depth: int) -> int:
    """How deep brackets nest from ``depth`` on. Which kind closes which is the decoder's business."""
    steps = skeleton.translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b"), initial=depth))


def _names_kept(value: object) -> int:
    """The names in ``value``, in what it holds, too. What is not decoded yet is decoded here: no more
    of it at once than a window, since nothing else runs while a decoder does."""
    if isinstance(value, dict):
        return len(value) + sum(map(_names_kept, value.values()))
    if isinstance(value, list):
        return sum(map(_names_kept, value))
    if not isinstance(value, msgspec.Raw):
        return 0
    first = bytes(memoryview(value)[:1])
    if len(memoryview(value)) <= WINDOW or first not in (b"{", b"["):
        return _names_kept(msgspec.json.decode(value))
    names = 0
    if first == b"{":
        fields = _fields.decode(value)
        names, inner = len(fields), iter(fields.values())
    else:
        inner = iter(_items.decode(value))
    batch: list[msgspec.Raw] = []
    size = 0
    for one in inner:
        if len(memoryview(one)) > WINDOW:
            names += _names_kept(one)
            continue
        batch.append(one)
        size += len(memoryview(one))
        if size > WINDOW:
            names += _names_kept(msgspec.json.decode(b"[%b]" % b",".join(batch)))
            batch, size = [], 0
    return names + _names_kept(msgspec.json.decode(b"[%b]" % b",".join(batch)))
