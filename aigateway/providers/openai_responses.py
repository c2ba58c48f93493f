"""OpenAI for clients of its Responses API: the same provider, account and errors, another path.

Their bodies go up as they came. Clients of other dialects are served by Chat Completions
(`aigateway.providers.openai`), which leaves nothing of a conversation with OpenAI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from ..dialects.base import Rendered, Writer
from ..dialects.responses.passthrough import ResponsesPassthrough, pass_reply, render_request
from ..dialects.responses.reader import ResponsesReader, parse_reply
from ..dialects.responses.writer import ResponsesWriter
from ..errors import UpstreamError
from ..events import ChatReply, ChatRequest
from ..translate import Answering, Stream
from .base import Credential, Kind, UpstreamRequest, translated

CHAT_COMPLETIONS = b"/chat/completions"


class ChatCompletions(Kind, Protocol):
    """The kind that serves the other clients: it knows the provider's address and its errors."""

    def classify(self, body: bytes) -> UpstreamError:
        """The meaning of an error object that came with HTTP 200."""


class OpenAIResponses(Kind):
    """Implements `aigateway.providers.base.Kind`."""

    name = "openai"
    dialect = "responses"

    def __init__(self, openai: ChatCompletions) -> None:
        self._openai = openai
        self.base_urls = openai.base_urls

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        return render_request(chat, model, stream=stream)

    def request(
        self, base_url: str, model: str, credential: Credential, rendered: Rendered, *, stream: bool
    ) -> UpstreamRequest:
        call = self._openai.request(base_url, model, credential, rendered, stream=stream)
        path, _, query = call.url.partition(b"?")
        url = path.removesuffix(CHAT_COMPLETIONS) + b"/responses" + (b"?" + query if query else b"")
        return msgspec.structs.replace(call, url=url)

    def reader(self) -> ResponsesReader:
        return ResponsesReader(self._openai.classify)

    def stream(self, answering: Answering, writer: Writer) -> Stream:
        if not answering.passes or not isinstance(writer, ResponsesWriter):
            return translated(self, answering, writer)
        return ResponsesPassthrough(answering, self.reader(), writer, self.parse_reply)

    def parse_reply(self, body: bytes) -> ChatReply:
        return parse_reply(body, self._openai.classify)

    def pass_reply(self, body: bytes, reply: ChatReply, answering: Answering) -> bytes | None:
        return pass_reply(body) if answering.passes else None

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        return self._openai.parse_error(status, headers, body, now=now)
