"""What the Gemini API and Antigravity have in common: the dialect, and what an error means.

An error's body is ``{"error": {"code", "message", "status", "details": [...]}}``, at times the
one element of an array. Behind Antigravity's Claude models the message may be the JSON
text of an Anthropic error. What becomes of the account is for the pool to decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec

from ..config import Provider
from ..dialects.base import Writer
from ..dialects.claude import families as claude_families
from ..dialects.gemini import GeminiReader, parse_reply
from ..dialects.gemini.passthrough import FollowingReader, GeminiPassthrough, pass_reply
from ..dialects.gemini.writer import GeminiWriter
from ..errors import (
    AccountExhausted,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamUnauthorized,
)
from ..events import ChatReply
from ..translate import Answering, Stream
from . import waiting
from .base import Kind, translated

SHORT_WAIT = 5.0
"""For a 429 that names its reason and no time: seconds, not hours."""

# google.rpc.Code, for an error that comes in a stream without an HTTP status.
_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
# Anthropic's types inside Google's message that say more than Google's status does.
_CLAUDE_STATUS = {"rate_limit_error": 429, "overloaded_error": 529, "api_error": 500, "timeout_error": 504}

# What a person must put right. The provider's own text may hold a link with a token in
# it, meant for the account's owner alone, so clients get these words instead.
_ACCOUNT_FAULTS = {
    "VALIDATION_REQUIRED": "the provider wants the account's owner to verify the account: sign in to it once",
    "ACCOUNT_INELIGIBLE": "the provider says that the account is not eligible: use another account",
    "SERVICE_DISABLED": "the API is not enabled in the account's project",
}
_KEY_FAULTS = ("API_KEY_", "ACCESS_TOKEN_", "CREDENTIALS_MISSING")

_TOO_LONG = re.compile(
    r"prompt is too long|input is too long|context.(?:length|window)"
    r"|exceeds the maximum number of (?:input )?tokens",
    re.IGNORECASE,
)
_LINK = re.compile(r"\bhttps?://\S+")
# "Prefilling model turns is no longer supported" from 3.5 Flash-Lite and 3.6 Flash on
# (https://ai.google.dev/gemini-api/docs/latest-model): a 400 says so. The older ones go on.
_CONTINUES = re.compile(r"gemini-(?:1\.5|2|3-|3\.1-)")


class Google(Kind):
    """What both kinds do alike; ``render``, ``request`` and ``count`` are left to each."""

    dialect = "gemini"
    enveloped = False

    def __init__(self, config: Provider | None = None) -> None:
        self._config = config

    def family(self, model: str) -> str:
        return "claude" if model.startswith("claude-") else "gemini" if "gemini" in model else ""

    def continues(self, model: str) -> bool:
        model = model.removeprefix("models/")
        if not model.startswith("claude-"):
            return _CONTINUES.match(model) is not None
        # Vertex has Anthropic's rules; and a model that thinks whatever it is told goes on from nothing.
        return claude_families.of(model).prefill and not model.endswith("-thinking")

    def reader(self) -> GeminiReader:
        return GeminiReader(stream_error)

    def stream(self, answering: Answering, writer: Writer) -> Stream:
        if not answering.passes or not isinstance(writer, GeminiWriter):
            return translated(self, answering, writer)
        reader = FollowingReader(stream_error, answering.chat)
        return GeminiPassthrough(answering, reader, writer, self.parse_reply, enveloped=self.enveloped)

    def parse_reply(self, body: bytes) -> ChatReply:
        return parse_reply(body, stream_error)

    def pass_reply(self, body: bytes, reply: ChatReply, answering: Answering) -> bytes | None:
        return pass_reply(body, reply, answering) if answering.passes else None

    def parse_count(self, body: bytes) -> int:
        try:
            return msgspec.json.decode(body, type=_Counted).totalTokens
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamGarbled(f"the provider's count is none: {error}") from None

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> UpstreamError:
        return parse_error(status, headers, body, now=now)


class _Counted(msgspec.Struct):
    # Left out where it is 0, as protocol buffers leave out what is.
    totalTokens: Annotated[int, msgspec.Meta(ge=0)] = 0


class _Fault(msgspec.Struct):
    """An error body, read as far as it can be read. ``claude_status`` is what an Anthropic
    error inside it says, where that is more exact than Google's own status."""

    message: str = ""
    status: int | None = None
    claude_status: int | None = None
    reason: str = ""
    metadata: dict[str, object] = {}
    retry_delay: str = ""


def parse_error(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> UpstreamError:
    """What an answer that is not 200 means (`aigateway.providers.base.Kind.parse_error`)."""
    fault = _read(body)
    error = _classify(fault, status if status >= 400 else fault.status or status, headers, now)
    error.provider_status = status
    error.provider_request_id = headers.get("x-cloudaicompanion-trace-id")
    return error


def stream_error(body: bytes) -> UpstreamError:
    """What an error inside a 200 answer means: a stream's frame, or a whole body."""
    fault = _read(body)
    return _classify(fault, fault.status or 500, {}, None)


def without_links(message: str) -> str:
    """``message`` without its URLs, which may let whoever follows them into an account."""
    return _LINK.sub("", message).strip()


def _classify(fault: _Fault, status: int, headers: Mapping[str, str], now: float | None) -> UpstreamError:
    message = fault.message or f"the provider answered with status {status} and no message"
    status = fault.claude_status or status
    reason = fault.reason
    if reason in _ACCOUNT_FAULTS:
        return UpstreamUnauthorized(
            _ACCOUNT_FAULTS[reason], remedy=_text(fault.metadata.get("validation_url"))
        )
    if status == 401 or reason.startswith(_KEY_FAULTS):
        return UpstreamUnauthorized(without_links(message), token_expired=status == 401)
    wait = _wait(fault, headers, now)
    if reason == "QUOTA_EXHAUSTED":
        return UpstreamBusy(message, retry_after=wait or SHORT_WAIT, reset=wait is not None)
    if reason == "INSUFFICIENT_G1_CREDITS_BALANCE" or status == 402:
        return AccountExhausted(message, status=402 if status == 402 else 429, retry_after=wait)
    if status in (503, 529) or reason == "MODEL_CAPACITY_EXHAUSTED":
        # No servers for the model: all accounts are alike, so none of them is to rest.
        return UpstreamBusy(message, overloaded=True, retry_after=wait, scope="request")
    if status == 429 or (status == 400 and _is_about_quota(message)):
        # Without details it is a soft limit, often of this host or of the client's identity:
        # no time is named, so that another host is tried.
        return UpstreamBusy(message, retry_after=SHORT_WAIT if wait is None and reason else wait)
    if status == 403:
        return UpstreamUnauthorized(_forbidden(message), scope="model")
    if status in (408, 499) or status >= 500:
        return UpstreamFailed(message, timed_out=status in (408, 504))
    if status == 404:
        return UpstreamRefused(message, status=404, code="model_not_found")
    if 400 <= status < 500:
        code = "context_length_exceeded" if _TOO_LONG.search(message) else None
        return UpstreamRefused(message, status=status, code=code)
    return UpstreamGarbled(f"the provider answered with status {status}, which its API does not have")


def _is_about_quota(message: str) -> bool:
    """Whether a 400 speaks of a quota, and not of a client's field that has the word in its name
    (``Invalid value at 'tools[0]...'``, ``Invalid JSON payload received. Unknown name ...``)."""
    return "quota" in message.lower() and not message.startswith("Invalid ")


def _forbidden(message: str) -> str:
    message = without_links(message)
    if "license" in message.lower():
        # Not the person's licence: another project than the account's own was named.
        return f"{message} (check the project of the account, or leave it out to have it discovered)"
    return message


def _wait(fault: _Fault, headers: Mapping[str, str], now: float | None) -> float | None:
    """Seconds to wait, by the most exact source that there is."""
    metadata = fault.metadata
    wait = waiting.go_duration(fault.retry_delay)
    if wait is None:
        wait = waiting.go_duration(_text(metadata.get("quotaResetDelay")))
    if wait is None and now is not None:
        wait = waiting.rfc3339(_text(metadata.get("quotaResetTimeStamp")), now)
    if wait is None:
        wait = waiting.from_text(fault.message, now)
    if wait is None and now is not None:
        wait = waiting.retry_after(headers, now)
    return wait


def _read(body: bytes) -> _Fault:
    """The error in ``body``; an empty `_Fault` for HTML, nothing, or anything else."""
    error = _error_object(body)
    if isinstance(error, str):
        return _Fault(message=error)
    if not isinstance(error, dict):
        return _Fault()
    fault = _Fault(message=_text(error.get("message")), metadata=_dict(error.get("metadata")))
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        fault.status = code
    else:
        fault.status = _CODES.get(_text(error.get("status")))
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        kind = _text(_dict(detail).get("@type"))
        if kind.endswith("google.rpc.RetryInfo"):
            fault.retry_delay = _text(detail.get("retryDelay"))
        elif kind.endswith("google.rpc.ErrorInfo"):
            fault.reason = _text(detail.get("reason"))
            fault.metadata = _dict(detail.get("metadata"))
    fault.reason = fault.reason or _text(fault.metadata.get("reason"))
    _unwrap_claude(fault)
    return fault


def _error_object(body: bytes) -> object:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(value, list) and value:
        value = value[0]
    outer = _dict(value)
    return outer.get("error") or _dict(outer.get("response")).get("error")


def _unwrap_claude(fault: _Fault) -> None:
    if not fault.message.startswith("{"):
        return
    error = _error_object(fault.message.encode("utf-8", "replace"))
    if isinstance(error, dict) and (message := _text(error.get("message"))):
        fault.message = message
        fault.claude_status = _CLAUDE_STATUS.get(_text(error.get("type")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
