"""Antigravity's Code Assist: Gemini's requests and answers in an envelope, and Claude's as such.

Pure. The envelope, CRLF framing and key order are those of recordings of
``/v1internal:streamGenerateContent``. Claude models there differ: in their ids, the order of
names, a signature in an empty thought part, none on tool calls, and no candidate ``index``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from .answers import Answer, Call
from .generate_content import Content, GenerateContent, prompt_of
from .google import REQUEST, TYPE, GoogleWire, Part
from .google_rules import unknown_names, unthinking_claude
from .wire import Asked, Refused, Response, unique

ENVELOPE = frozenset(
    {
        "project",
        "requestId",
        "model",
        "userAgent",
        "requestType",
        "request",
        "enabledCreditTypes",
        "user_prompt_id",
        "userPromptId",
        "enabled_credit_types",
    }
)
INNER = REQUEST | {"labels", "sessionId", "session_id"}


class CodeAssistWire(GoogleWire):
    issuer = "antigravity"

    def read(self, body: bytes, *, stream: bool, serial: int, created: int) -> Asked:
        envelope = self._envelope(body)
        model = envelope.get("model")
        # Google seldom names what is wrong: most faults in the body have the same message.
        if not isinstance(model, str) or not model:
            raise Refused(self.invalid())
        request = envelope.get("request")
        return self.asked_in(request, model=model, stream=stream, serial=serial, created=created)

    def total_tokens(self, body: bytes) -> int:
        """The answer to ``countTokens``, whose envelope has no model; raises `Refused`."""
        return prompt_of(*self.request_in(self._envelope(body).get("request"))).tokens

    def check(self, model: str, request: GenerateContent, contents: list[Content]) -> None:
        super().check(model, request, contents)
        if model.startswith("claude-") and (fault := unthinking_claude(request, contents, self.signer)):
            # Claude's own error, as JSON in Google's message.
            error = {"type": "invalid_request_error", "message": fault}
            nested = {"type": "error", "error": error, "request_id": "req_vrtx_simulated"}
            raise Refused(self.error(400, "INVALID_ARGUMENT", msgspec.json.encode(nested).decode()))

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        trace = ("x-cloudaicompanion-trace-id", f"{asked.serial:016x}")
        return (("server", "ESF"), trace, ("content-disposition", "attachment"))

    def busy(self, retry_after: int | None) -> Response:
        """Without a time it is the "soft" form, which says nothing but that it is so."""
        if retry_after is None:
            return super().busy(None)
        return self._used_up("RATE_LIMIT_EXCEEDED", retry_after, {}, retry_after)

    def exhausted(self, asked: Asked, seconds: int) -> Response:
        """The pool of an account and model is empty: for hours or days."""
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(asked.created + seconds))
        return self._used_up("QUOTA_EXHAUSTED", seconds, {"model": asked.model, "quotaResetTimeStamp": date})

    def _used_up(
        self, reason: str, seconds: int, metadata: dict[str, str], retry_after: int | None = None
    ) -> Response:
        details: list[dict[str, object]] = [
            {
                "@type": TYPE + "ErrorInfo",
                "reason": reason,
                "domain": "cloudcode-pa.googleapis.com",
                "metadata": {**metadata, "quotaResetDelay": f"{seconds}s"},
            },
            {"@type": TYPE + "RetryInfo", "retryDelay": f"{seconds}s"},
        ]
        message = f"You have exhausted your capacity on this model. Your quota will reset after {seconds}s."
        return self.error(429, "RESOURCE_EXHAUSTED", message, details, retry_after)

    def chunk(
        self, asked: Asked, parts: list[Part], usage: dict[str, object], finish: str | None = None
    ) -> dict[str, object]:
        response = super().chunk(asked, parts, usage, finish)
        if _is_claude(asked):
            candidate: dict[str, object] = {"content": {"role": "model", "parts": parts}}
            if finish is not None:
                candidate["finishReason"] = finish
            response["candidates"] = [candidate]
            response["responseId"] = f"msg_vrtx_simulated{asked.serial:015d}"
        return {"response": response, "traceId": f"{asked.serial:016x}", "metadata": {}}

    def call(self, asked: Asked, call: Call) -> Part:
        if not _is_claude(asked):
            return super().call(asked, call)
        args = msgspec.json.decode(call.arguments)
        return {
            "functionCall": {
                "name": call.name,
                "args": args,
                "id": f"toolu_vrtx_{unique(self.issuer, asked)}",
            }
        }

    def thought(self, asked: Asked, text: str) -> Part:
        return {"thought": True, "text": text} if _is_claude(asked) else super().thought(asked, text)

    def whole_thought(self, asked: Asked, text: str) -> Part:
        part = self.thought(asked, text)
        return part | {"thoughtSignature": self.signature(asked)} if _is_claude(asked) else part

    def signature(self, asked: Asked) -> str:
        if _is_claude(asked):
            return self.signer.wrapped_claude(f"{asked.created} {asked.serial}")
        return super().signature(asked)

    def signs_last(self, asked: Asked, answer: Answer) -> str | None:
        return None if _is_claude(asked) else super().signs_last(asked, answer)

    def usage(self, asked: Asked, thinking: int, spoken: int) -> dict[str, object]:
        usage = super().usage(asked, thinking, spoken)
        if _is_claude(asked):
            del usage["promptTokensDetails"]
        return usage

    def steps(self, asked: Asked, answer: Answer) -> Iterator[tuple[list[Part], int, int]]:
        """Claude's thinking is signed when it ends, in an empty thought."""
        before = len(answer.thinking) if _is_claude(asked) else 0
        for number, step in enumerate(super().steps(asked, answer), 1):
            yield step
            if number == before:
                signed: Part = {"thought": True, "text": "", "thoughtSignature": self.signature(asked)}
                yield [signed], answer.thinking_tokens, 0

    def _envelope(self, body: bytes) -> dict[str, object]:
        envelope = self.decoded(body)
        request = envelope.get("request")
        names = request if isinstance(request, dict) else {}
        self.refuse_unknown(
            [*unknown_names(envelope, ENVELOPE), *unknown_names(names, INNER, "request")],
        )
        return envelope


def _is_claude(asked: Asked) -> bool:
    return asked.model.startswith("claude-")
