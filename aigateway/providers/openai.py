"""OpenAI, and any server that speaks its Chat Completions dialect, Azure among them.

Address, authorization and error classes; the dialect itself, and what each server takes of it,
is in `aigateway.dialects.openai`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import msgspec

from .. import __version__
from ..config import Provider
from ..dialects.base import Rendered, Writer
from ..dialects.openai import families
from ..dialects.openai.passthrough import OpenAIPassthrough, pass_reply
from ..dialects.openai.reader import OpenAIReader, parse_reply
from ..dialects.openai.render import render_request
from ..dialects.openai.servers import OPENAI, SERVERS, Profile, server_at
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
from ..translate import Answering, Stream
from . import waiting
from .base import Credential, Kind, UpstreamRequest, translated
from .openai_responses import OpenAIResponses

USER_AGENT = f"aigateway/{__version__}".encode()

AZURE_VERSION = "2024-10-21"
"""The newest of Azure's dated versions that is no preview; later ones have no date."""

# What an error in a stream, which has no status of its own, would have had for one.
_STATUS_OF = {
    "invalid_prompt": 400,  # Responses
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
    "exceed_context_size_error": 400,  # llama.cpp
    "RateLimitReached": 429,  # Azure
}
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
# What servers say of a prompt that is too long, where they have no code for it.
_TOO_LONG = (
    "context length",  # OpenAI, vLLM, Mistral, DeepSeek, OpenRouter, Ollama, LM Studio, Together
    "context_length",
    "context window",  # OpenAI's Responses, MiniMax
    "context size",  # llama.cpp
    "maximum model length",  # vLLM
    "maximum prompt length",  # xAI
    "model token limit",  # Moonshot
    "range of input length",  # Alibaba
    "prompt is too long",
    "input is too long",  # Bedrock
    "exceeds the maximum number of tokens",  # Google
)
# How a 400 begins that is about the key: xAI's, Google's. Further on it may quote a client.
_BAD_KEY = ("incorrect api key", "api key not valid")


class ErrorBody(msgspec.Struct):
    """What the many shapes of an error body have in common."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None
    status: int | None = None


class OpenAI(Kind):
    """Implements `aigateway.providers.base.Kind`. Which server it is, the configuration's ``server``
    says, else Azure's own keys, else the host of ``base_url``."""

    name = "openai"
    dialect = "openai"
    base_urls: tuple[str, ...] = ("https://api.openai.com/v1",)
    server = "openai"
    profile: Profile = OPENAI

    def __init__(self, config: Provider | None = None) -> None:
        self._config = config
        if config is not None:
            self.server = self._server(config)
            self.profile = msgspec.structs.replace(SERVERS[self.server], **config.takes)

    def _server(self, config: Provider) -> str:
        if config.server:
            return config.server
        if config.api_version or config.deployments:
            return "azure"
        return server_at((config.base_urls or self.base_urls)[0])

    def for_chat(self, chat: ChatRequest) -> Kind:
        """Responses for its own clients, where the server has it; the others get Chat Completions."""
        speaks = self._config.responses if self._config is not None else None
        if speaks is None:
            speaks = self.server == "openai"
        return OpenAIResponses(self) if speaks and chat.is_all("responses") else self

    def family(self, model: str) -> str:
        """Thinking comes with no signature here; but some servers want it back before its calls."""
        wanted = self.profile.reasoning_content and families.of(model).thinks
        return self.server if wanted else ""

    def continues(self, model: str) -> bool:
        family, profile = families.of(model), self.profile
        urls = (self._config.base_urls if self._config is not None else ()) or self.base_urls
        if not (profile.prefill and urls[0].endswith(profile.prefill_base)):
            return False
        # What thinks first would think again, in the midst of its answer.
        told = profile.thinking == "field" or bool(profile.prefill_fields)
        stops = family.thinking_field and family.can_stop_thinking and told
        return not family.thinks or stops or family.off == "none"

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        deployment = self._config.deployments.get(model, "") if self._config is not None else ""
        return render_request(chat, model, self.profile, stream=stream, deployment=deployment)

    def request(
        self, base_url: str, model: str, credential: Credential, rendered: Rendered, *, stream: bool
    ) -> UpstreamRequest:
        key = credential.token.reveal().encode()
        azure = self.server == "azure"
        return UpstreamRequest(
            url=self._azure_url(base_url, model) if azure else f"{base_url}/chat/completions".encode(),
            headers=(
                (b"api-key", key) if azure else (b"Authorization", b"Bearer " + key),
                (b"Content-Type", b"application/json"),
                (b"Accept", b"text/event-stream" if stream else b"application/json"),
                (b"User-Agent", USER_AGENT),
                *rendered.headers,
            ),
            body=rendered.body,
        )

    def _azure_url(self, base_url: str, model: str) -> bytes:
        """A deployment's address; in the newer API, whose base ends in ``/openai/v1``, OpenAI's own
        (learn.microsoft.com, "Azure OpenAI in Azure AI Foundry Models REST API reference")."""
        version = self._config.api_version if self._config is not None else ""
        path = base_url
        if not base_url.endswith("/openai/v1"):
            deployments = self._config.deployments if self._config is not None else {}
            deployment = quote(deployments.get(model, model), safe="")
            path = f"{base_url.removesuffix('/openai')}/openai/deployments/{deployment}"
            version = version or AZURE_VERSION
        query = f"?{urlencode({'api-version': version})}" if version else ""
        return f"{path}/chat/completions{query}".encode()

    def reader(self) -> OpenAIReader:
        return OpenAIReader(self.classify)

    def stream(self, answering: Answering, writer: Writer) -> Stream:
        if not answering.passes or not isinstance(writer, OpenAIWriter):
            return translated(self, answering, writer)
        return OpenAIPassthrough(answering, self.reader(), writer, self.parse_reply)

    def parse_reply(self, body: bytes) -> ChatReply:
        return parse_reply(body, self.classify)

    def pass_reply(self, body: bytes, reply: ChatReply, answering: Answering) -> bytes | None:
        if not answering.passes:
            return None
        return pass_reply(body, reply, answering.chat, answering.id, answering.created)

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        wait = waiting.retry_after(headers, now)
        if wait is None and status == 429:
            wait = waiting.spent_until(headers)
        error = self.error_of(status, read_error(body), wait, now)
        error.provider_status = status  # a refusal has its own, which may say more
        return error

    def classify(self, body: bytes) -> UpstreamError:
        """The meaning of an error object that came with HTTP 200, in a stream or whole."""
        told = read_error(body)
        if not (told.message or told.code) and body.lstrip()[:1] == b"{":
            return UpstreamGarbled("the provider sent neither an answer nor an error")
        return self.error_of(told.status or _status_told(told), told, None, None)

    def error_of(
        self, status: int, told: ErrorBody, retry_after: float | None, now: float | None
    ) -> UpstreamError:
        """The class of an error by its status and, where that says more, its code."""
        message = told.message or f"the provider answered HTTP {status}"
        words = message.lower()
        if 300 <= status < 400:
            return UpstreamGarbled(
                f"the provider answered with a redirect (HTTP {status}), which is not followed"
            )
        if status == 402 or told.code in _QUOTA or told.type in _QUOTA:
            return AccountExhausted(message, status=402, provider_status=status)
        if status == 429:
            return UpstreamBusy(
                message,
                retry_after=retry_after if retry_after is not None else waiting.from_text(message, now),
                scope="request" if "request too large" in words else "model",
                provider_status=status,
            )
        if told.code == "model_not_found" or (status == 404 and told.code != "404"):
            return UpstreamRefused(message, status=404, param=told.param, code="model_not_found")
        if status in (401, 403):
            # A 403 may be about the model or the prompt: one request must not end an account.
            scope: Scope = "model" if status == 403 else "account"
            return UpstreamUnauthorized(message, scope=scope, provider_status=status)
        if status == 400 and (told.code == "invalid_api_key" or words.startswith(_BAD_KEY)):
            return UpstreamUnauthorized(message, provider_status=status)
        if status in (503, 529):
            return UpstreamBusy(
                message, overloaded=True, retry_after=retry_after, scope="request", provider_status=status
            )
        if status in (408, 504):
            return UpstreamFailed(message, timed_out=True, provider_status=status)
        if 400 <= status < 500:
            code = told.code or None
            if code == "context_length_exceeded" or any(phrase in words for phrase in _TOO_LONG):
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


def _status_told(told: ErrorBody) -> int:
    """The status that an error's code or else its type stands for. One of them may be but
    ``invalid_request_error``: the type of a bad key at OpenAI, its code at DeepSeek."""
    for word in (told.code, told.type):
        if word in _STATUS_OF:
            return _STATUS_OF[word]
    return 400 if "invalid_request_error" in (told.code, told.type) else 500


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _status(value: object) -> int | None:
    """An HTTP error status that stands where a code stands."""
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else None
