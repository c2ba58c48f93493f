"""Whose a thought's signature is: a family of models takes back its own alone, else answers 400.

Signatures are opaque but for how they begin. Claude's is the base64 of a message whose
first field begins with a short header of numbers; Antigravity encodes that text once more. In
Gemini's no such header stands.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

# Field 2; in it field 1; in it two numbers, where Gemini has bytes, or one number and bytes.
_LENGTH = rb"[\x80-\xff]{0,3}[\x01-\x7f]"
_CLAUDE = re.compile(rb"\x12" + _LENGTH + rb"\n" + _LENGTH + rb"\x08[\x01-\x7f][\x10\x18]")
_GEMINI = re.compile(rb"\x12" + _LENGTH + rb"\n" + _LENGTH + rb"(?:\x01|\x08[\x01-\x7f]\x12)")
_URL_SAFE = str.maketrans("-_", "+/")


def for_claude(signature: str) -> str | None:
    """``signature`` as Claude itself takes it; None for another family's.

    What only may be Claude's passes: its header has grown before, and who signed it gets it back.
    """
    if signature.startswith("R"):  # base64 of a text that begins with E, as Claude's own do
        try:
            signature = b64decode(signature.translate(_URL_SAFE), validate=True).decode("ascii")
        except ValueError:
            return None
    start = _start(signature)
    return signature if start[:1] == b"\x12" and not _GEMINI.match(start) else None


def for_antigravity_claude(signature: str) -> str | None:
    """``signature`` as Claude on Antigravity takes it; None for another family's."""
    if signature.startswith("R"):
        return signature
    return b64encode(signature.encode()).decode() if _is_claude(signature) else None


def for_gemini(signature: str) -> str | None:
    """``signature`` where it may be Gemini's; None where it is Claude's."""
    inner = _start(signature).decode("latin-1")
    return None if _is_claude(signature) or _is_claude(inner) else signature


def _is_claude(signature: str) -> bool:
    return _CLAUDE.match(_start(signature)) is not None


def _start(signature: str) -> bytes:
    """The first bytes of what ``signature`` encodes; none where it is no base64."""
    try:
        return b64decode(signature[:32].translate(_URL_SAFE))
    except ValueError:
        return b""
