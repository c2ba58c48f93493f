"""Halves of surrogate pairs: what a provider that cuts text between UTF-16 units sends.

No decoder takes the escape of one alone, and no UTF-8 has it. The rest of the chunk is sound,
so it is read with U+FFFD in the half's place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

T = TypeVar("T")

BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decode raises for what is no JSON, or not of the shape that was asked for."""

MOST = 20_000
"""Escapes of halves and of pairs in one text that is mended. Who cuts text sends one or two."""

LARGEST = 8 * 1024 * 1024
"""Bytes of a text that is mended: it is searched more than once, while every stream waits."""

# Half of a pair; the first one with the second, where that is there.
_HALF = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2})"
)


def decode(decoder: Callable[[bytes], T], data: bytes) -> tuple[T, bytes]:
    """What ``data`` holds, and ``data`` as it was understood. Raises one of `BAD_JSON`."""
    try:
        return decoder(data), data
    except msgspec.DecodeError:
        mended = without_halves(data)
        if mended is data:
            raise
        return decoder(mended), mended


def without_halves(data: bytes) -> bytes:
    """JSON text with U+FFFD for each escape of half a pair; itself where there is none, too many, or
    too much of a text."""
    if len(data) > LARGEST or not 0 < data.count(b"\\ud") + data.count(b"\\uD") <= MOST:
        return data
    pieces, done, mended = [], 0, False
    while (found := _HALF.search(data, done)) is not None:
        before = data[done : found.start()]
        pieces.append(before)
        if (len(before) - len(before.rstrip(b"\\"))) % 2:  # this backslash is itself escaped: no escape
            pieces.append(b"\\u")
            done = found.start() + 2
            continue
        pieces.append(found[0] if found[1] else b"\\ufffd")
        mended |= not found[1]
        done = found.end()
    return b"".join([*pieces, data[done:]]) if mended else data
