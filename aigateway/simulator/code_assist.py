"""Antigravity's Code Assist answers as Google's server writes them.

Pure. The envelope, CRLF framing and key order are those of recordings of
``/v1internal:streamGenerateContent``. Claude models there differ: in their ids, the order of
names, a signature in an empty thought part, none on tool calls, and no candidate ``index``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import msgspec

from .answers import Answer, Call, tokens
from .generate_content import Envelope, prompt_of
from .wire import Asked, Refused, Response, retry_after_header

Part = dict[str, object]


class CodeAssistWire:
    stream_type = "text/event-stream"
    json_type = "application/json; charset=UTF-8"

    def read(self, body: bytes, *, stream: bool | None, serial: int, created: int) -> Asked:
        try:
            envelope = msgspec.json.decode(body, type=Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(self.invalid()) from None
        # Google names nothing that is wrong: each fault in the body has the same message.
        if not envelope.model or envelope.request is None or not envelope.request.contents:
            raise Refused(self.invalid())
        return Asked(
            model=envelope.model,
            prompt=prompt_of(envelope.request, envelope.request.contents),
            stream=bool(stream),
            serial=serial,
            created=created,
        )

    def frames(self, asked: Asked, answer: Answer) -> Iterator[bytes]:
        for value in self._chunks(asked, answer):
            yield b"data: %b\r\n\r\n" % msgspec.json.encode(value)

    def array(self, asked: Asked, answer: Answer) -> Iterator[bytes]:
        """The same stream for who leaves ``alt=sse`` out: one JSON array, element by element."""
        before = b"["
        for value in self._chunks(asked, answer):
            yield before + msgspec.json.encode(value)
            before = b",\r\n"
        yield b"]"

    def whole(self, asked: Asked, answer: Answer) -> bytes:
        parts: list[Part] = []
        if answer.thinking:
            parts.append(_thought(asked, "".join(answer.thinking)))
        if answer.text:
            parts.append({"text": "".join(answer.text)})
        if answer.call is not None:
            parts.append(_call(asked, answer.call))
        usage = _usage(asked, answer.thinking_tokens, answer.spoken_tokens)
        return msgspec.json.encode(self._chunk(asked, parts, usage, _finish_reason(answer)))

    def total_tokens(self, body: bytes) -> int:
        """The answer to ``countTokens``, whose envelope has no model; raises `Refused`."""
        try:
            envelope = msgspec.json.decode(body, type=Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(self.invalid()) from None
        if envelope.request is None or not envelope.request.contents:
            raise Refused(self.invalid())
        return prompt_of(envelope.request, envelope.request.contents).tokens

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        trace = ("x-cloudaicompanion-trace-id", f"{asked.serial:016x}")
        return (("server", "ESF"), trace, ("content-disposition", "attachment"))

    def unauthorized(self) -> Response:
        message = (
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie "
            "or other valid authentication credential. See "
            "https://developers.google.com/identity/sign-in/web/devconsole-project."
        )
        return self._error(401, "UNAUTHENTICATED", message)

    def invalid(self) -> Response:
        return self._error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")

    def unknown_path(self) -> Response:
        return self._error(404, "NOT_FOUND", "Method not found.")

    def unknown_model(self, model: str) -> Response:
        return self._error(404, "NOT_FOUND", "Requested entity was not found.")

    def busy(self, retry_after: int | None) -> Response:
        """Without a time it is the "soft" form, which says nothing but that it is so."""
        if retry_after is None:
            return self._error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")
        google = "type.googleapis.com/google.rpc."
        details: list[object] = [
            {
                "@type": google + "ErrorInfo",
                "reason": "RATE_LIMIT_EXCEEDED",
                "domain": "cloudcode-pa.googleapis.com",
                "metadata": {"quotaResetDelay": f"{retry_after}s"},
            },
            {"@type": google + "RetryInfo", "retryDelay": f"{retry_after}s"},
        ]
        message = (
            f"You have exhausted your capacity on this model. Your quota will reset after {retry_after}s."
        )
        return self._error(429, "RESOURCE_EXHAUSTED", message, details, retry_after_header(retry_after))

    def failed(self) -> Response:
        return self._error(500, "INTERNAL", "Internal error encountered.")

    def error_frame(self) -> bytes:
        return b"data: %b\r\n\r\n" % msgspec.json.encode(_OVERLOADED)

    def error_body(self) -> bytes:
        return msgspec.json.encode([_OVERLOADED])

    def _error(
        self,
        status: int,
        name: str,
        message: str,
        details: list[object] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Response:
        error: dict[str, object] = {"code": status, "message": message, "status": name}
        if details:
            error["details"] = details
        body = msgspec.json.format(msgspec.json.encode({"error": error}), indent=2) + b"\n"
        return Response((body,), self.json_type, status, headers)

    def _chunks(self, asked: Asked, answer: Answer) -> Iterator[object]:
        claude = _is_claude(asked)
        for number in range(len(answer.thinking)):
            usage = _usage(asked, tokens("".join(answer.thinking[: number + 1])), 0)
            yield self._chunk(asked, [_thought(asked, answer.thinking[number])], usage)
        if answer.thinking and claude:
            signed = {"thought": True, "text": "", "thoughtSignature": signature(asked)}
            yield self._chunk(asked, [signed], _usage(asked, answer.thinking_tokens, 0))
        characters = 0
        for piece in answer.text:
            characters += len(piece)
            usage = _usage(asked, answer.thinking_tokens, (characters + 3) // 4)
            yield self._chunk(asked, [{"text": piece}], usage)
        usage = _usage(asked, answer.thinking_tokens, answer.spoken_tokens)
        if answer.call is not None:
            yield self._chunk(asked, [_call(asked, answer.call)], usage)
        last: Part = {"text": ""}
        if answer.thinking and not claude and answer.call is None:
            last["thoughtSignature"] = signature(asked)
        yield self._chunk(asked, [last], usage, _finish_reason(answer))

    def _chunk(
        self, asked: Asked, parts: list[Part], usage: dict[str, object], finish_reason: str | None = None
    ) -> dict[str, object]:
        finish = {} if finish_reason is None else {"finishReason": finish_reason}
        candidate: dict[str, object]
        if _is_claude(asked):
            response_id = f"msg_vrtx_simulated{asked.serial:015d}"
            candidate = {"content": {"role": "model", "parts": parts}, **finish}
        else:
            response_id = f"simulated{asked.serial:014d}"
            candidate = {"content": {"parts": parts, "role": "model"}, **finish, "index": 0}
        return {
            "response": {
                "candidates": [candidate],
                "usageMetadata": usage,
                "modelVersion": asked.model,
                "responseId": response_id,
            },
            "traceId": f"{asked.serial:016x}",
            "metadata": {},
        }


_OVERLOADED = {
    "error": {
        "code": 503,
        "message": "The model is overloaded. Please try again later.",
        "status": "UNAVAILABLE",
    }
}


def signature(asked: Asked) -> str:
    """A thought signature: opaque base64, like the real ones but short."""
    digest = hashlib.sha512(f"simulated {asked.serial} {asked.created}".encode()).digest()
    return base64.b64encode(digest * 2).decode()


def _call(asked: Asked, call: Call) -> Part:
    claude = _is_claude(asked)
    function_call = {
        "name": call.name,
        "args": msgspec.json.decode(call.arguments),
        "id": f"toolu_vrtx_{asked.serial:020d}" if claude else f"call_{asked.serial}",
    }
    if claude:
        return {"functionCall": function_call}
    return {"functionCall": function_call, "thoughtSignature": signature(asked)}


def _finish_reason(answer: Answer) -> str:
    """A tool call has no reason of its own here: it ends with STOP like a text."""
    return "MAX_TOKENS" if answer.cut else "STOP"


def _usage(asked: Asked, thinking: int, spoken: int) -> dict[str, object]:
    """Google counts thoughts beside the candidates' tokens, not among them."""
    usage: dict[str, object] = {"promptTokenCount": asked.prompt.tokens}
    if spoken or not thinking:
        usage["candidatesTokenCount"] = spoken
    usage["totalTokenCount"] = asked.prompt.tokens + thinking + spoken
    if not _is_claude(asked):
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": asked.prompt.tokens}]
    if thinking:
        usage["thoughtsTokenCount"] = thinking
    return usage


def _thought(asked: Asked, text: str) -> Part:
    return {"thought": True, "text": text} if _is_claude(asked) else {"text": text, "thought": True}


def _is_claude(asked: Asked) -> bool:
    return asked.model.startswith("claude-")
