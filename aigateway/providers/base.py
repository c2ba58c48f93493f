"""What a provider kind is made of: address, authorization, envelope, quirks, error classes.

A kind speaks a dialect (`aigateway.dialects`) and says where and how. Pure: it makes
the bytes of a request and reads the bytes of an answer; the Twisted half carries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from ..dialects.base import Reader, Rendered
from ..errors import UpstreamError
from ..events import ChatReply, ChatRequest
from ..secret import Secret


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

    def parse_reply(self, body: bytes) -> ChatReply:
        """A whole answer (HTTP 200). Raises the `UpstreamError` that it may really be."""

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        """What an answer that is not 200 means. ``headers`` have lower-case names; ``now``
        is Unix seconds, for resets that are given as a date."""
