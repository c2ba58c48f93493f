"""What a model signed, on its way through a client that keeps no state.

A Responses client sends reasoning items back as they came, with an ``encrypted_content`` that it
cannot read. OpenAI's own is OpenAI's alone; in ours stands what Claude and Gemini want back: the
signature of a thought, or a thought that came redacted. It hides nothing from the client, which
has a right to it, and proves nothing to us: whoever signed it checks it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

import msgspec

from ...jsontext import encode
from ..surrogates import BAD_JSON

MARK = "aigw1."
"""What ours begins with; the number is the version of what follows."""


class Sealed(msgspec.Struct, omit_defaults=True):
    """``signature`` belongs to the text of the item's summary, or to what follows the item where
    that is empty; ``redacted`` is a whole thought of its own."""

    signature: str | None = None
    redacted: str | None = None


_decode = msgspec.json.Decoder(Sealed).decode


def seal(sealed: Sealed) -> str:
    """``sealed`` as an ``encrypted_content``."""
    try:
        text = encode(sealed)
    except UnicodeEncodeError:  # half of a surrogate pair is in no signature that anyone made
        text = encode(Sealed())
    return MARK + b64encode(text).decode()


def unseal(encrypted_content: str) -> Sealed | None:
    """What `seal` made of it; None for what is not ours."""
    if not encrypted_content.startswith(MARK):
        return None
    try:
        return _decode(b64decode(encrypted_content[len(MARK) :], validate=True))
    except (ValueError, *BAD_JSON):
        return None
