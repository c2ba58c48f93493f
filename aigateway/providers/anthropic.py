"""Anthropic's own API: address, authorization and error classes.

Error types and statuses are those of Anthropic's "Errors" page, rate limit headers those of its
"Rate limits" page; subscriptions (OAuth tokens) have headers of their own, ``unified``. The dialect
itself is in `aigateway.dialects.claude`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from .. import __version__, jsontext
from ..config import Provider
from ..dialects.base import Rendered, Writer
from ..dialects.claude import families
from ..dialects.claude.kept import keep
from ..dialects.claude.passthrough import ClaudePassthrough, pass_reply
from ..dialects.claude.reader import ClaudeReader, parse_reply
from ..dialects.claude.render import render_request
from ..dialects.claude.writer import ClaudeWriter
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

USER_AGENT = f"aigateway/{__version__}".encode()
VERSION = b"2023-06-01"
OAUTH_PREFIX = "sk-ant-oat"
"""How the access tokens of subscriptions begin; they are no API keys."""
OAUTH_BETA = b"oauth-2025-04-20"
"""Without it the API takes no such token."""

# What an error in a stream, which has no status of its own, would have had for one.
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_TOO_LONG = ("prompt is too long", "exceed context limit", "context window")
# Said with 400, of an account and not of the request.
_NO_CREDIT = ("credit balance is too low", "reached your specified api usage limits")
_REGAINED = re.compile(r"regain access on ([0-9]{4}-[0-9]{2}-[0-9]{2}) at ([0-9]{2}:[0-9]{2}) utc")
_CLOSED = ("organization has been disabled", "account has been disabled")
# A 429 that no other account of the same plan would do better with.
_THIS_REQUEST = ("long context",)
_LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")
_UNIFIED = "anthropic-ratelimit-unified-"
# What an answer takes and a count does not: the count's own fields are those of the prompt.
_NOT_COUNTED = (
    "max_tokens",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "metadata",
    "service_tier",
    "container",
    "inference_geo",
    "diagnostics",
    "fallback_credit_token",
    "fallbacks",
    "thread",
)


class ErrorBody(msgspec.Struct):
    """What is read of an error body. ``code`` is for servers that have one."""

    type: str = ""
    message: str = ""
    code: str = ""


class _Count(msgspec.Struct):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


class Anthropic(Kind):
    """Implements `aigateway.providers.base.Kind`."""

    name = "anthropic"
    dialect = "claude"
    base_urls: tuple[str, ...] = ("https://api.anthropic.com/v1",)

    def __init__(self, config: Provider | None = None) -> None:
        self._config = config

    def family(self, model: str) -> str:
        return "claude" if families.of(model).signed else ""

    def continues(self, model: str) -> bool:
        family = families.of(model)
        return family.signed and family.prefill  # of other makers' models it is not known

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        if chat.dialect == "claude":
            return keep(chat, model, stream=stream)
        return render_request(chat, model, stream=stream)

    def request(
        self, base_url: str, model: str, credential: Credential, rendered: Rendered, *, stream: bool
    ) -> UpstreamRequest:
        headers = (*self._headers(credential, rendered), (b"Accept", _accepted(stream)))
        return UpstreamRequest(f"{base_url}/messages".encode(), headers, rendered.body)

    def count(
        self, base_url: str, model: str, credential: Credential, chat: ChatRequest
    ) -> UpstreamRequest | None:
        rendered = self.render(chat, model, credential, stream=False)
        body = msgspec.json.decode(rendered.body, type=dict[str, msgspec.Raw])
        for name in _NOT_COUNTED:
            body.pop(name, None)
        headers = (*self._headers(credential, rendered), (b"Accept", _accepted(stream=False)))
        return UpstreamRequest(f"{base_url}/messages/count_tokens".encode(), headers, jsontext.encode(body))

    def parse_count(self, body: bytes) -> int:
        try:
            return msgspec.json.decode(body, type=_Count).input_tokens
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamGarbled(f"the provider's count is none: {error}") from None

    def reader(self) -> ClaudeReader:
        return ClaudeReader(self.classify)

    def stream(self, answering: Answering, writer: Writer) -> Stream:
        if not answering.passes or not isinstance(writer, ClaudeWriter):
            return translated(self, answering, writer)
        return ClaudePassthrough(answering, self.reader(), writer, self.parse_reply)

    def parse_reply(self, body: bytes) -> ChatReply:
        return parse_reply(body, self.classify)

    def pass_reply(self, body: bytes, reply: ChatReply, answering: Answering) -> bytes | None:
        return pass_reply(body, reply, answering) if answering.passes else None

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        error = self.error_of(status, read_error(body), headers, now)
        error.provider_status = status  # a refusal has its own, which may say more
        return error

    def classify(self, body: bytes) -> UpstreamError:
        """The meaning of an error object that came with HTTP 200, in a stream or whole."""
        told = read_error(body)
        if told == ErrorBody() and body.lstrip()[:1] == b"{":
            return UpstreamGarbled("the provider sent neither an answer nor an error")
        return self.error_of(_STATUS_OF.get(told.type, 500), told, {}, None)

    def error_of(
        self, status: int, told: ErrorBody, headers: Mapping[str, str], now: float | None
    ) -> UpstreamError:
        """The class of an error by its status and, where that says more, its words."""
        message = told.message or f"the provider answered HTTP {status}"
        words = message.lower()
        if 300 <= status < 400:
            return UpstreamGarbled(
                f"the provider answered with a redirect (HTTP {status}), which is not followed"
            )
        if status == 402 or any(phrase in words for phrase in _NO_CREDIT):
            return AccountExhausted(
                message,
                status=402,
                retry_after=_regained(words, now),
                provider_status=status,
            )
        if status == 429:
            return _busy(message, headers, now)
        if status in (401, 403) or any(phrase in words for phrase in _CLOSED):
            # A 403 may be about the model or the prompt: one request must not end an account.
            of_model = status == 403 and not any(phrase in words for phrase in _CLOSED)
            scope: Scope = "model" if of_model else "account"
            return UpstreamUnauthorized(message, scope=scope, provider_status=status)
        if status in (503, 529):
            wait = None if now is None else waiting.retry_after(headers, now)
            return UpstreamBusy(
                message, overloaded=True, retry_after=wait, scope="request", provider_status=status
            )
        if status == 404:
            return UpstreamRefused(message, status=404, code="model_not_found")
        if status in (408, 504):
            return UpstreamFailed(message, timed_out=True, provider_status=status)
        if 400 <= status < 500:
            too_long = any(phrase in words for phrase in _TOO_LONG)
            return UpstreamRefused(
                message, status=status, code="context_length_exceeded" if too_long else None
            )
        return UpstreamFailed(message, provider_status=status)

    def _headers(self, credential: Credential, rendered: Rendered) -> Iterator[tuple[bytes, bytes]]:
        """The client's own version and betas go on; ours stand in for a version that it lacks."""
        token = credential.token.reveal()
        oauth = token.startswith(OAUTH_PREFIX)
        given = list(rendered.headers)
        if oauth:
            betas = [value for name, value in given if name == b"anthropic-beta"]
            if not any(OAUTH_BETA in value for value in betas):
                betas.append(OAUTH_BETA)
            given = [(name, value) for name, value in given if name != b"anthropic-beta"]
            given.append((b"anthropic-beta", b",".join(betas)))
        if not any(name == b"anthropic-version" for name, _ in given):
            given.append((b"anthropic-version", VERSION))
        yield self.authorization(token, oauth=oauth)
        yield b"Content-Type", b"application/json"
        yield b"User-Agent", USER_AGENT
        yield from given

    def authorization(self, token: str, *, oauth: bool) -> tuple[bytes, bytes]:
        """The header that a credential goes in."""
        if oauth:
            return b"Authorization", f"Bearer {token}".encode()
        return b"x-api-key", token.encode()


def read_error(body: bytes) -> ErrorBody:
    """The parts of an error body; empty where it is HTML or nothing."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorBody()
    told = value.get("error") if isinstance(value, dict) else None
    if isinstance(told, str):
        return ErrorBody(message=told)
    if not isinstance(told, dict):
        told = value if isinstance(value, dict) else {}
    return ErrorBody(
        type=_text(told.get("type")) if told is not value else "",
        message=_text(told.get("message") or told.get("msg")),
        code=_text(told.get("code")),
    )


def _busy(message: str, headers: Mapping[str, str], now: float | None) -> UpstreamError:
    """A limit: of requests and tokens in a minute, or of a subscription's hours and days."""
    if any(phrase in message.lower() for phrase in _THIS_REQUEST):
        return UpstreamBusy(message, scope="request", provider_status=429)
    if now is None:
        return UpstreamBusy(message, provider_status=429)
    wait = waiting.retry_after(headers, now)
    if headers.get(f"{_UNIFIED}status") == "rejected":
        reset = _unix(headers.get(f"{_UNIFIED}reset", ""), now)
        claim = headers.get(f"{_UNIFIED}representative-claim", "")
        # five_hour and seven_day are the whole account's, seven_day_opus one model's.
        scope: Scope = "account" if claim in ("", "five_hour", "seven_day") else "model"
        until = reset if reset is not None else wait
        return UpstreamBusy(
            message, retry_after=until, reset=until is not None, scope=scope, provider_status=429
        )
    if wait is None:
        resets = [
            waiting.rfc3339(headers.get(f"anthropic-ratelimit-{limit}-reset", ""), now)
            for limit in _LIMITS
            if headers.get(f"anthropic-ratelimit-{limit}-remaining", "").strip() == "0"
        ]
        wait = max((reset for reset in resets if reset is not None), default=None)
    return UpstreamBusy(message, retry_after=wait, provider_status=429)


def _regained(words: str, now: float | None) -> float | None:
    """The time until ``you will regain access on 2026-04-01 at 00:00 utc``."""
    date = _REGAINED.search(words)
    return None if now is None or date is None else waiting.rfc3339(f"{date[1]}T{date[2]}:00Z", now)


def _unix(text: str, now: float) -> float | None:
    """The time until a date in Unix seconds; 0 when it is past."""
    return max(int(text) - now, 0.0) if text.isdecimal() and len(text) < 12 else None


def _accepted(stream: bool) -> bytes:
    return b"text/event-stream" if stream else b"application/json"


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
