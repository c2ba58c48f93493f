"""Whose a thought's signature is: a family of models takes back its own alone, else answers 400.

Signatures are opaque but for how they begin. Claude's is the base64 of a message whose
first field begins with a short header; Antigravity encodes that text once more. In
Gemini's no such header stands.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

# Field 2, longer than 127 bytes; in it field 1, shorter than that; in it the number 1.
_CLAUDE = re.compile(rb"\x12[\x80-\xff]{1,3}[\x01-\x7f]\n[\x01-\x7f]\x08")
_URL_SAFE = str.maketrans("-_", "+/")


def for_claude(signature: str) -> str | None:
    """``signature`` as Claude on Antigravity takes it; None for another family's."""
    if signature.startswith("R"):  # base64 of a text that begins with E, as Claude's own do
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
