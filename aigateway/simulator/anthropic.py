"""Anthropic's Messages as its server writes them.

Pure. Events, whole answers and errors have the names, in the order, of recordings of
https://api.anthropic.com/v1/messages. Reading a request is in `messages`, what is refused in
`messages_rules`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from .answers import Answer, Call
from .messages import Body, prompt_of
from .messages_rules import fault_in, missing_in
from .signatures import Signer
from .wire import Asked, Refused, Response, retry_after_header, unique

Event = dict[str, object]

NEWEST = "2026-10-21"
VERSIONS = frozenset({"2023-01-01", "2023-06-01", NEWEST})
GONE = frozenset({"temperature", "top_p", "top_k"})
"""What the newest version no longer takes (platform.claude.com/docs/en/api/versioning)."""
FIELDS = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "system",
        "stream",
        "metadata",
        "stop_sequences",
        "temperature",
        "top_p",
        "top_k",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "service_tier",
        "container",
        "inference_geo",
        "cache_control",
        "diagnostics",
        "speed",
        "user_profile_id",
        "workspace_id",
    }
)
BETA_FIELDS = FIELDS | {
    "context_management",
    "mcp_servers",
    "output_format",
    "compaction",
    "billing_policy",
    "fallbacks",
    "fallback_credit_token",
    "thread",
}
"""What is taken too with an ``anthropic-beta`` header, whichever beta it names."""

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OVERLOADED = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
    "request_id": "req_simulated",
}


class AnthropicWire:
    stream_type = "text/event-stream; charset=utf-8"
    json_type = "application/json"
    lead = 3
    trailer = 1
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self) -> None:
        self.signer = Signer("simulated anthropic")

    def fields(self, version: str | None, *, beta: bool) -> frozenset[str]:
        """The fields that may be sent with this ``anthropic-version``, and with the name of some
        ``beta`` in a header; raises `Refused` where the real server wants another version."""
        if version is None:
            raise Refused(self.refusal("anthropic-version: header is required"))
        if version not in VERSIONS:
            raise Refused(self.refusal(f'anthropic-version: "{version}" is not a valid version'))
        known = BETA_FIELDS if beta else FIELDS
        return known - GONE if version == NEWEST else known

    def read(self, body: bytes, *, known: frozenset[str], serial: int, created: int) -> Asked:
        """The request; raises `Refused`. ``known`` are the fields that it may have."""
        parsed = self._parsed(body, known, ("max_tokens", "messages", "model"))
        return Asked(
            model=parsed.model,
            prompt=prompt_of(parsed),
            stream=bool(parsed.stream),
            serial=serial,
            created=created,
        )

    def input_tokens(self, body: bytes, *, known: frozenset[str]) -> int:
        """The answer to ``count_tokens``; raises `Refused`."""
        return prompt_of(self._parsed(body, known, ("messages", "model"))).tokens

    def frames(self, asked: Asked, answer: Answer) -> Iterator[bytes]:
        yield _frame({"type": "message_start", "message": self._message(asked)})
        for index, (block, deltas) in enumerate(self._streamed(asked, answer)):
            yield _frame({"type": "content_block_start", "index": index, "content_block": block})
            if index == 0:
                yield _frame({"type": "ping"})
            for delta in deltas:
                yield _frame({"type": "content_block_delta", "index": index, "delta": delta})
            yield _frame({"type": "content_block_stop", "index": index})
        stopped: Event = {"stop_reason": _stop_reason(answer), "stop_sequence": None, "stop_details": None}
        yield _frame({"type": "message_delta", "delta": stopped, "usage": self._total(asked, answer)})
        yield _frame({"type": "message_stop"})

    def whole(self, asked: Asked, answer: Answer) -> bytes:
        content: list[Event] = []
        if answer.thinking:
            thought = "".join(answer.thinking)
            content.append({"type": "thinking", "thinking": thought, "signature": self._signature(asked)})
        if answer.text:
            content.append({"type": "text", "text": "".join(answer.text)})
        if answer.call is not None:
            content.append(_tool_use(asked, answer.call, msgspec.json.decode(answer.call.arguments)))
        message = self._message(asked)
        started = message["usage"]
        assert isinstance(started, dict)
        message |= {"content": content, "stop_reason": _stop_reason(answer)}
        return msgspec.json.encode(message | {"usage": started | self._total(asked, answer)})

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        return (("request-id", f"req_simulated{asked.serial:015d}"),)

    def unauthorized(self) -> Response:
        return self.refusal("invalid x-api-key", "authentication_error", 401)

    def without_key(self) -> Response:
        return self.refusal("x-api-key header is required", "authentication_error", 401)

    def unknown_path(self) -> Response:
        return self.refusal("Not Found", "not_found_error", 404)

    def unknown_model(self, model: str) -> Response:
        return self.refusal(f"model: {model}", "not_found_error", 404)

    def busy(self, retry_after: int | None) -> Response:
        message = (
            "This request would exceed your organization's rate limit of 50,000 input tokens per minute."
        )
        return self.refusal(message, "rate_limit_error", 429, retry_after_header(retry_after))

    def busy_until(self, asked: Asked, seconds: int) -> Response:
        """https://docs.anthropic.com/en/api/rate-limits, "Response headers"."""
        limits = (
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", _date(asked.created + seconds)),
            ("anthropic-ratelimit-tokens-limit", "50000"),
            ("anthropic-ratelimit-tokens-remaining", "49000"),
            ("anthropic-ratelimit-tokens-reset", _date(asked.created)),
        )
        return self._limited(limits)

    def too_big(self) -> Response:
        message = "Extra usage is required for long context requests."
        return self.refusal(message, "rate_limit_error", 429)

    def exhausted(self, asked: Asked, seconds: int) -> Response:
        """A subscription's five hours."""
        unified = "anthropic-ratelimit-unified-"
        reset = str(asked.created + seconds)
        limits = (
            (unified + "status", "rejected"),
            (unified + "representative-claim", "five_hour"),
            (unified + "5h-status", "rejected"),
            (unified + "5h-reset", reset),
            (unified + "reset", reset),
        )
        return self._limited(limits)

    def _limited(self, limits: tuple[tuple[str, str], ...]) -> Response:
        busy = self.busy(None)
        return msgspec.structs.replace(busy, headers=busy.headers + limits)

    def failed(self) -> Response:
        return self.refusal("Internal server error", "api_error", 500)

    def refused_with(self, status: int) -> Response:
        type_ = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return self.refusal(f"The simulated server answers with {status}.", type_, status)

    def error_frame(self, asked: Asked, after: int) -> bytes:
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(_OVERLOADED)

    def error_body(self) -> bytes:
        return msgspec.json.encode(_OVERLOADED)

    def refusal(
        self,
        message: str,
        type_: str = "invalid_request_error",
        status: int = 400,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Response:
        error = {"type": type_, "message": message}
        body = msgspec.json.encode({"type": "error", "error": error, "request_id": "req_simulated"})
        return Response((body,), self.json_type, status, (("request-id", "req_simulated"), *headers))

    def _parsed(self, body: bytes, known: frozenset[str], required: tuple[str, ...]) -> Body:
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(self.refusal("The request body is not valid JSON")) from None
        if not isinstance(value, dict):
            raise Refused(self.refusal("Input should be a valid dictionary"))
        if (fault := missing_in(value, required, known)) is not None:
            raise Refused(self.refusal(fault))
        try:
            parsed = msgspec.convert(value, Body)
        except msgspec.ValidationError as error:
            raise Refused(self.refusal(str(error))) from None
        if (fault := fault_in(parsed, self.signer)) is not None:
            raise Refused(self.refusal(fault))
        return parsed

    def _message(self, asked: Asked) -> Event:
        """The message as it starts: nothing said yet, but its prompt counted."""
        cache = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
        return {
            "model": asked.model,
            "id": f"msg_simulated{asked.serial:015d}",
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {
                "input_tokens": asked.prompt.tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": cache,
                "output_tokens": 1,
                "service_tier": "standard",
                "inference_geo": "not_available",
            },
        }

    def _streamed(self, asked: Asked, answer: Answer) -> Iterator[tuple[Event, list[Event]]]:
        """Each block as it starts, and its deltas."""
        if answer.thinking:
            deltas: list[Event] = [{"type": "thinking_delta", "thinking": piece} for piece in answer.thinking]
            deltas.append({"type": "signature_delta", "signature": self._signature(asked)})
            yield {"type": "thinking", "thinking": "", "signature": ""}, deltas
        if answer.text:
            yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": one} for one in answer.text]
        if answer.call is not None:
            arguments = "" if answer.call.arguments == "{}" else answer.call.arguments
            pieces = ["", *(arguments[start : start + 12] for start in range(0, len(arguments), 12))]
            yield (
                _tool_use(asked, answer.call, {}),
                [{"type": "input_json_delta", "partial_json": one} for one in pieces],
            )

    def _signature(self, asked: Asked) -> str:
        return self.signer.claude(f"{asked.created} {asked.serial}")

    def _total(self, asked: Asked, answer: Answer) -> Event:
        """The usage at the end; Claude counts the thinking among the output."""
        usage: Event = {
            "input_tokens": asked.prompt.tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": answer.thinking_tokens + answer.spoken_tokens,
        }
        if answer.thinking:
            usage["output_tokens_details"] = {"thinking_tokens": answer.thinking_tokens}
        return usage


def _tool_use(asked: Asked, call: Call, arguments: object) -> Event:
    return {
        "type": "tool_use",
        "id": f"toolu_{unique('anthropic', asked)}",
        "name": call.name,
        "input": arguments,
        "caller": {"type": "direct"},
    }


def _stop_reason(answer: Answer) -> str:
    if answer.call is not None:
        return "tool_use"
    return "max_tokens" if answer.cut else "end_turn"


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _frame(event: Event) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), msgspec.json.encode(event))
