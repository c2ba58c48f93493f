"""What a provider kind is made of: address, authorization, envelope, quirks, error classes.

A kind speaks a dialect (`aigateway.dialects`) and says where and how. Pure: it makes
the bytes of a request and reads the bytes of an answer; the Twisted half carries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from ..dialects.base import Reader, Rendered, Writer
from ..errors import UpstreamError, UpstreamGarbled
from ..events import ChatReply, ChatRequest
from ..secret import Secret
from ..translate import Answering, Stream, Translator


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


class Kind(Protocol):
    """One provider kind, as a provider's configuration has it. It keeps nothing of a request:
    one instance serves every request to that provider."""

    name: str
    dialect: str
    base_urls: tuple[str, ...]
    """The default base URL first; any others are tried, in turn, only while the
    configuration names none."""

    def for_chat(self, chat: ChatRequest) -> Kind:
        """The kind that serves this request: itself, unless the provider speaks several dialects."""
        return self

    def family(self, model: str) -> str:
        """Whose signatures ``model`` takes back: ``"claude"``, ``"gemini"``; behind an ``@`` who makes
        them where that is not the models' own maker (``"claude@antigravity"``), for one may refuse
        what the other signed. A server that wants thinking back unsigned has its own name here
        (``"deepseek"``); ``""`` is nobody's."""
        return ""

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        """The body that asks ``model`` what ``chat`` asks. Raises `MalformedRequest` for
        what the provider cannot take and the client must change."""

    def request(
        self, base_url: str, model: str, credential: Credential, rendered: Rendered, *, stream: bool
    ) -> UpstreamRequest:
        """The HTTP request that carries ``rendered``."""

    def reader(self) -> Reader:
        """A fresh reader for one streamed answer."""

    def stream(self, answering: Answering, writer: Writer) -> Stream:
        """One streamed answer from this provider to a client that ``writer`` writes for."""
        return translated(self, answering, writer)

    def parse_reply(self, body: bytes) -> ChatReply:
        """A whole answer (HTTP 200). Raises the `UpstreamError` that it may really be."""

    def pass_reply(self, body: bytes, reply: ChatReply, answering: Answering) -> bytes | None:
        """A whole answer as it came, for a client of the provider's own dialect; None where
        ``reply`` has to be rendered for it."""
        return None

    def continues(self, model: str) -> bool:
        """Whether ``model`` goes on, word for word, with an answer that the last message begins
        (``ChatRequest.begun``). Known servers alone: one that began anew would say everything twice."""
        return False

    def count(
        self, base_url: str, model: str, credential: Credential, chat: ChatRequest
    ) -> UpstreamRequest | None:
        """The HTTP request that asks how many tokens the prompt of ``chat`` has; None where the
        provider has no counter."""
        return None

    def parse_count(self, body: bytes) -> int:
        """The tokens in the answer (HTTP 200) to `count`. Raises `UpstreamError`."""
        raise UpstreamGarbled(f"{self.name} counts no tokens")

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        """What an answer that is not 200 means. ``headers`` have lower-case names; ``now``
        is Unix seconds, for resets that are given as a date."""


def translated(kind: Kind, answering: Answering, writer: Writer) -> Stream:
    """A streamed answer by way of the hub: how every kind can answer every client."""
    return Translator(answering, kind.reader(), writer, kind.parse_reply)
