"""What a provider kind is made of: address, authorization, envelope, quirks, error classes.

A kind speaks a dialect (`aigateway.dialects`) and says where and how. Pure: it makes
the bytes of a request and reads the bytes of an answer; the Twisted half carries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from ..dialects.base import Reader, Rendered, Writer
from ..errors import UpstreamError
from ..events import ChatReply, ChatRequest
from ..secret import Secret
from ..sse import MAX_EVENT, MAX_LINE, SSEDecoder
from ..translate import MAX_WHOLE, Stream, Translator


class Credential(msgspec.Struct, frozen=True):
    """What a request is authorized with: an API key or an access token; for Antigravity
    also the ``project`` that it is billed to."""

    token: Secret
    project: str = ""


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request to a provider: absolute ``url``, ``headers`` without those of the
    transport (Host, Content-Length, Connection), and ``body``."""

    url: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    method: bytes = b"POST"


class Framing(msgspec.Struct, frozen=True):
    """The limits of a stream, in bytes: a line and an event of it, and the whole body where it
    is no stream at all."""

    line: int = MAX_LINE
    event: int = MAX_EVENT
    whole: int = MAX_WHOLE


class Kind(Protocol):
    """One provider kind. Stateless: one instance serves every request."""

    name: str
    dialect: str
    base_urls: tuple[str, ...]
    """The default base URL first; any others are tried, in turn, only while the
    configuration names none."""

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        """The body that asks ``model`` what ``chat`` asks. Raises `MalformedRequest` for
        what the provider cannot take and the client must change."""

    def request(
        self, base_url: str, model: str, credential: Credential, body: bytes, *, stream: bool
    ) -> UpstreamRequest:
        """The HTTP request that carries ``body``."""

    def reader(self) -> Reader:
        """A fresh reader for one streamed answer."""

    def stream(
        self, chat: ChatRequest, writer: Writer, id: str, created: int, framing: Framing, *, raw: bool
    ) -> Stream:
        """One streamed answer from this provider to a client that ``writer`` writes for.

        ``id`` and ``created`` are the gateway's, for where the provider gives none. ``raw``:
        a client of the provider's own dialect gets frames that break its grammar unmended.
        """

    def parse_reply(self, body: bytes) -> ChatReply:
        """A whole answer (HTTP 200). Raises the `UpstreamError` that it may really be."""

    def pass_reply(
        self, body: bytes, reply: ChatReply, chat: ChatRequest, id: str, created: int
    ) -> bytes | None:
        """A whole answer as it came, for a client of the provider's own dialect; None where
        ``reply`` has to be rendered for it."""

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        """What an answer that is not 200 means. ``headers`` have lower-case names; ``now``
        is Unix seconds, for resets that are given as a date."""


def translated(kind: Kind, chat: ChatRequest, writer: Writer, framing: Framing) -> Stream:
    """A streamed answer by way of the hub: how every kind can answer every client."""
    decoder = SSEDecoder(framing.line, framing.event)
    return Translator(chat, kind.reader(), writer, kind.parse_reply, decoder, framing.whole)
