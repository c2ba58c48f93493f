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

# One escape after the other, so that the second half of ``\\\\`` begins none. Whole pairs first.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
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
    """JSON text with U+FFFD for each escape of half a pair; itself where there is none."""
    if b"\\ud" not in data and b"\\uD" not in data:
        return data
    mended = _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], data)
    return data if mended == data else mended
