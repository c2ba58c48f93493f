"""The Gemini API: the model in the path, the key in a header."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from .. import jsontext
from ..dialects.base import Rendered, Writer
from ..dialects.gemini import GeminiReader, parse_reply, render_request
from ..errors import UpstreamError
from ..events import ChatReply, ChatRequest
from ..translate import Stream
from . import google
from .base import Credential, Framing, UpstreamRequest, translated


class Gemini:
    """Implements `aigateway.providers.base.Kind`."""

    name = "gemini"
    dialect = "gemini"
    base_urls: tuple[str, ...] = ("https://generativelanguage.googleapis.com/v1beta",)

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        body, dropped = render_request(chat, model, antigravity=False)
        return Rendered(jsontext.encode(body), dropped)

    def request(
        self, base_url: str, model: str, credential: Credential, body: bytes, *, stream: bool
    ) -> UpstreamRequest:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        # One segment: a name with a slash in it must not lead anywhere else.
        segment = quote(model.removeprefix("models/"), safe="")
        headers = (
            (b"content-type", b"application/json"),
            # Never as ``?key=``: URLs end up in logs.
            (b"x-goog-api-key", credential.token.reveal().encode()),
        )
        return UpstreamRequest(f"{base_url}/models/{segment}:{method}".encode(), headers, body)

    def reader(self) -> GeminiReader:
        return GeminiReader(google.stream_error)

    def stream(
        self, chat: ChatRequest, writer: Writer, id: str, created: int, framing: Framing, *, raw: bool
    ) -> Stream:
        return translated(self, chat, writer, framing)

    def parse_reply(self, body: bytes) -> ChatReply:
        return parse_reply(body, google.stream_error)

    def pass_reply(
        self, body: bytes, reply: ChatReply, chat: ChatRequest, id: str, created: int
    ) -> bytes | None:
        return None

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        return google.parse_error(status, headers, body, now=now)
