"""Signatures of thoughts as Claude and Gemini write them, and who issued one.

Pure. A signature holds a number and a keyed hash of it, so that a simulator knows its own
without keeping them, also after a restart. The bytes before those are what real signatures
begin with: nothing else in them can be read by anyone but their provider.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode

NONCE = 16
MAC = 64

_CLAUDE_HEADER = b"\x08\x0b\x18\x02\x2a\x40"


class Signer:
    """One provider's signatures. Another ``issuer`` takes none of them."""

    def __init__(self, issuer: str) -> None:
        self._key = issuer.encode()

    def claude(self, seed: str) -> str:
        """A signature as the Anthropic API gives it: one message, in it a header."""
        header = _CLAUDE_HEADER + hashlib.sha512(seed.encode()).digest()
        body = b"\x0a" + _length(header) + header + self._proof("claude", seed)
        return b64encode(b"\x12" + _length(body) + body).decode()

    def wrapped_claude(self, seed: str) -> str:
        """The same as Antigravity gives it: base64 once more."""
        return b64encode(self.claude(seed).encode()).decode()

    def gemini(self, seed: str) -> str:
        body = b"\x01\xbe\x3e\xf6" + hashlib.sha512(seed.encode()).digest() + self._proof("gemini", seed)
        body = b"\x0a" + _length(body) + body
        return b64encode(b"\x12" + _length(body) + body).decode()

    def issued(self, kind: str, signature: str) -> bool:
        """Whether ``signature`` is this issuer's, for ``kind`` "claude" or "gemini"."""
        try:
            data = b64decode(signature.translate(_STANDARD), validate=True)
            if kind == "claude" and signature.startswith("R"):
                data = b64decode(data, validate=True)
        except ValueError:
            return False
        nonce, mac = data[-NONCE - MAC : -MAC], data[-MAC:]
        return len(nonce) == NONCE and hmac.compare_digest(mac, self._mac(kind, nonce))

    def _proof(self, kind: str, seed: str) -> bytes:
        nonce = hashlib.sha256(seed.encode()).digest()[:NONCE]
        return nonce + self._mac(kind, nonce)

    def _mac(self, kind: str, nonce: bytes) -> bytes:
        return hmac.new(self._key, kind.encode() + nonce, hashlib.sha512).digest()


_STANDARD = str.maketrans("-_", "+/")


def _length(data: bytes) -> bytes:
    """The length of ``data`` as a protobuf number."""
    size = len(data)
    return bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])
