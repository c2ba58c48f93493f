"""OpenAI, and any server that speaks its Chat Completions dialect.

Address, authorization and error classes; the dialect itself is in
`aigateway.dialects.openai`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .. import __version__
from ..dialects.base import Rendered, Writer
from ..dialects.openai.passthrough import OpenAIPassthrough, pass_reply
from ..dialects.openai.reader import OpenAIReader, parse_reply
from ..dialects.openai.render import OPENAI, Profile, render_request
from ..dialects.openai.writer import OpenAIWriter
from ..errors import (
    AccountExhausted,
    Scope,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamUnauthorized,
)
from ..events import ChatReply, ChatRequest
from ..sse import SSEDecoder
from ..translate import Stream
from . import waiting
from .base import Credential, Framing, UpstreamRequest, translated

USER_AGENT = f"aigateway/{__version__}".encode()

# What an error in a stream, which has no status of its own, would have had for one.
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "requests": 429,
    "tokens": 429,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "overloaded_error": 529,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "tool_use_failed": 400,  # Groq: the model wrote a call that is none
}
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_TOO_LONG = (
    "maximum context length",
    "max context length",  # Ollama
    "context_length",
    "prompt is too long",
    "exceeds the maximum number of tokens",
)


class ErrorBody(msgspec.Struct):
    """What the many shapes of an error body have in common."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None
    status: int | None = None


class OpenAI:
    """Implements `aigateway.providers.base.Kind`."""

    name = "openai"
    dialect = "openai"
    base_urls: tuple[str, ...] = ("https://api.openai.com/v1",)
    profile: Profile = OPENAI

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        return render_request(chat, model, self.profile, stream=stream)

    def request(
        self, base_url: str, model: str, credential: Credential, body: bytes, *, stream: bool
    ) -> UpstreamRequest:
        return UpstreamRequest(
            url=f"{base_url}/chat/completions".encode(),
            headers=(
                (b"Authorization", b"Bearer " + credential.token.reveal().encode()),
                (b"Content-Type", b"application/json"),
                (b"Accept", b"text/event-stream" if stream else b"application/json"),
                (b"User-Agent", USER_AGENT),
            ),
            body=body,
        )

    def reader(self) -> OpenAIReader:
        return OpenAIReader(self.classify)

    def stream(
        self, chat: ChatRequest, writer: Writer, id: str, created: int, framing: Framing, *, raw: bool
    ) -> Stream:
        if not self._passes(chat) or not isinstance(writer, OpenAIWriter):
            return translated(self, chat, writer, framing)
        decoder = SSEDecoder(framing.line, framing.event)
        return OpenAIPassthrough(
            chat, self.reader(), writer, id, created, self.parse_reply, decoder, framing.whole, raw=raw
        )

    def parse_reply(self, body: bytes) -> ChatReply:
        return parse_reply(body, self.classify)

    def pass_reply(
        self, body: bytes, reply: ChatReply, chat: ChatRequest, id: str, created: int
    ) -> bytes | None:
        return pass_reply(body, reply, chat, id, created) if self._passes(chat) else None

    def _passes(self, chat: ChatRequest) -> bool:
        """Whether the client's body went up as it came, and so the answer may come down so."""
        return self.profile.keeps_openai_bodies and chat.is_all("openai")

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        error = self.error_of(status, read_error(body), waiting.retry_after(headers, now), now)
        error.provider_status = status  # a refusal has its own, which may say more
        return error

    def classify(self, body: bytes) -> UpstreamError:
        """The meaning of an error object that came with HTTP 200, in a stream or whole."""
        told = read_error(body)
        if told == ErrorBody() and body.lstrip()[:1] == b"{":
            return UpstreamGarbled("the provider sent neither an answer nor an error")
        status = told.status or _STATUS_OF.get(told.code) or _STATUS_OF.get(told.type) or 500
        return self.error_of(status, told, None, None)

    def error_of(
        self, status: int, told: ErrorBody, retry_after: float | None, now: float | None
    ) -> UpstreamError:
        """The class of an error by its status and, where that says more, its code."""
        message = told.message or f"the provider answered HTTP {status}"
        if 300 <= status < 400:
            return UpstreamGarbled(
                f"the provider answered with a redirect (HTTP {status}), which is not followed"
            )
        if status == 402 or told.code in _QUOTA or told.type in _QUOTA:
            return AccountExhausted(message, status=402 if status == 402 else 429, provider_status=status)
        if status == 429:
            too_big = "request too large" in message.lower()
            return UpstreamBusy(
                message,
                retry_after=retry_after if retry_after is not None else waiting.from_text(message, now),
                scope="request" if too_big else "model",
                provider_status=status,
            )
        if told.code == "model_not_found" or (status == 404 and told.code != "404"):
            return UpstreamRefused(message, status=404, param=told.param, code="model_not_found")
        if status in (401, 403):
            # A 403 may be about the model or the prompt: one request must not end an account.
            scope: Scope = "model" if status == 403 else "account"
            return UpstreamUnauthorized(message, scope=scope, provider_status=status)
        if status in (503, 529):
            return UpstreamBusy(
                message, overloaded=True, retry_after=retry_after, scope="request", provider_status=status
            )
        if status in (408, 504):
            return UpstreamFailed(message, timed_out=True, provider_status=status)
        if 400 <= status < 500:
            code = told.code or None
            if code == "context_length_exceeded" or any(words in message.lower() for words in _TOO_LONG):
                code = "context_length_exceeded"
            return UpstreamRefused(message, status=status, param=told.param, code=code)
        return UpstreamFailed(message, provider_status=status)


def read_error(body: bytes) -> ErrorBody:
    """The parts of an error body, whatever its shape; empty where it is HTML or nothing.

    Seen in recordings: ``{"error": {...}}``, ``{"error": "text"}``, the object alone,
    ``{"detail": ...}`` (Mistral, FastAPI), ``{"code", "msg"}`` (GLM's web gateway),
    ``{"message": ...}``, and any of these in a one-element list.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorBody()
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return ErrorBody(message=value if isinstance(value, str) else "")
    told = value.get("error") or value.get("detail") or value
    if isinstance(told, list) and told:
        told = told[0]
    if not isinstance(told, dict):
        return ErrorBody(message=str(told), status=_status(value.get("code")))
    inner = told.get("error")  # llama-box: {"detail", "error": {"message"}} under a field of its own
    if isinstance(inner, dict):
        told = inner
    code = told.get("code")
    param = told.get("param")
    return ErrorBody(
        message=_text(told.get("message") or told.get("msg") or told.get("detail")),
        type=_text(told.get("type")),
        code=_text(code),
        param=param if isinstance(param, str) else None,
        status=_status(told.get("status_code")) or _status(code) or _status(value.get("code")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _status(value: object) -> int | None:
    """An HTTP error status that stands where a code stands."""
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else None
