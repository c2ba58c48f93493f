"""Gemini's answers as Google's servers write them: what `code_assist` and `gemini` share.

Pure. Chunks with CRLF, or one JSON array; the names, in the order, of recordings; errors with
their ``details``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from .answers import Answer, Call, tokens
from .generate_content import Content, GenerateContent, prompt_of
from .google_rules import NO_PREFILL, PREFILL_REFUSED, unsigned_call
from .signatures import Signer
from .wire import Asked, Refused, Response, retry_after_header, unique

Part = dict[str, object]
TYPE = "type.googleapis.com/google.rpc."

NAMES = {
    "system_instruction": "systemInstruction",
    "tool_config": "toolConfig",
    "generation_config": "generationConfig",
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
}
"""Google takes the names of the protocol buffers too."""
REQUEST = frozenset({"contents", "tools", "model", *NAMES, *NAMES.values()})

_STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""google.rpc.Code, by the HTTP status that it is mapped to."""

OVERLOADED = {
    "error": {
        "code": 503,
        "message": "The model is overloaded. Please try again later.",
        "status": "UNAVAILABLE",
    }
}


class GoogleWire:
    stream_type = "text/event-stream"
    json_type = "application/json; charset=UTF-8"
    lead = 0
    trailer = 0
    ping = b": keep-alive\r\n\r\n"
    issuer = "google"

    def __init__(self) -> None:
        self.signer = Signer(f"simulated {self.issuer}")

    def decoded(self, body: bytes) -> dict[str, object]:
        """``body`` as a JSON object; raises `Refused`."""
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(self.invalid()) from None
        if not isinstance(value, dict):
            raise Refused(self.invalid())
        return value

    def request_in(self, value: object) -> tuple[GenerateContent, list[Content]]:
        """The request that ``value`` is, and its contents; raises `Refused`."""
        if isinstance(value, dict):
            value = {NAMES.get(name, name): item for name, item in value.items()}
        try:
            request = msgspec.convert(value, GenerateContent)
        except msgspec.ValidationError:
            raise Refused(self.invalid()) from None
        if not request.contents:
            raise Refused(self.without_contents())
        return request, request.contents

    def asked_in(self, value: object, *, model: str, stream: bool, serial: int, created: int) -> Asked:
        request, contents = self.request_in(value)
        self.check(model, request, contents)
        return Asked(
            model=model,
            prompt=prompt_of(request, contents),
            stream=stream,
            serial=serial,
            created=created,
        )

    def check(self, model: str, request: GenerateContent, contents: list[Content]) -> None:
        """Refuse a history that the model would not take."""
        if model.startswith("gemini-3") and (fault := unsigned_call(contents, self.signer)):
            raise Refused(self.error(400, "INVALID_ARGUMENT", fault))
        if contents[-1].role == "model" and NO_PREFILL.match(model):
            raise Refused(self.error(400, "INVALID_ARGUMENT", PREFILL_REFUSED))

    def refuse_unknown(self, unknown: Iterable[tuple[str, str]]) -> None:
        """Raise `Refused` if there are any names that Google does not know."""
        found = list(unknown)
        if found:
            violations: list[object] = [
                {"field": where, "description": message} if where else {"description": message}
                for where, message in found
            ]
            details: list[dict[str, object]] = [{"@type": TYPE + "BadRequest", "fieldViolations": violations}]
            message = "\n".join(message for _, message in found)
            raise Refused(self.error(400, "INVALID_ARGUMENT", message, details))

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
            parts.append(self.whole_thought(asked, "".join(answer.thinking)))
        if answer.text:
            parts.append({"text": "".join(answer.text)})
        if answer.call is not None:
            parts.append(self.call(asked, answer.call))
        if (signed := self.signs_last(asked, answer)) is not None and parts:
            parts[-1]["thoughtSignature"] = signed
        usage = self.usage(asked, answer.thinking_tokens, answer.spoken_tokens)
        return msgspec.json.encode(self.chunk(asked, parts, usage, finish_reason(answer)))

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        return ()

    def unauthorized(self) -> Response:
        message = (
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie "
            "or other valid authentication credential. See "
            "https://developers.google.com/identity/sign-in/web/devconsole-project."
        )
        return self.error(401, "UNAUTHENTICATED", message)

    def invalid(self) -> Response:
        return self.error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")

    def without_contents(self) -> Response:
        return self.invalid()

    def unknown_path(self) -> Response:
        return self.error(404, "NOT_FOUND", "Method not found.")

    def unknown_model(self, model: str) -> Response:
        return self.error(404, "NOT_FOUND", "Requested entity was not found.")

    def busy(self, retry_after: int | None) -> Response:
        return self.error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")

    def busy_until(self, asked: Asked, seconds: int) -> Response:
        """All but the header, which Google does not send."""
        return msgspec.structs.replace(self.busy(seconds), headers=())

    def too_big(self) -> Response:
        """Google tells this like any other limit that is used up."""
        return self.busy(None)

    def exhausted(self, asked: Asked, seconds: int) -> Response:
        return self.busy_until(asked, seconds)

    def failed(self) -> Response:
        return self.error(500, "INTERNAL", "Internal error encountered.")

    def refused_with(self, status: int) -> Response:
        name = _STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
        return self.error(status, name, f"The simulated server answers with {status}.")

    def error_frame(self, asked: Asked, after: int) -> bytes:
        return b"data: %b\r\n\r\n" % msgspec.json.encode(OVERLOADED)

    def error_body(self) -> bytes:
        return msgspec.json.encode([OVERLOADED])

    def error(
        self,
        status: int,
        name: str,
        message: str,
        details: list[dict[str, object]] | None = None,
        retry_after: int | None = None,
    ) -> Response:
        error: dict[str, object] = {"code": status, "message": message, "status": name}
        if details:
            error["details"] = details
        body = msgspec.json.format(msgspec.json.encode({"error": error}), indent=2) + b"\n"
        return Response((body,), self.json_type, status, retry_after_header(retry_after))

    def chunk(
        self, asked: Asked, parts: list[Part], usage: dict[str, object], finish: str | None = None
    ) -> dict[str, object]:
        """One chunk: a whole answer is one too."""
        candidate: dict[str, object] = {"content": {"parts": parts, "role": "model"}}
        if finish is not None:
            candidate["finishReason"] = finish
        return {
            "candidates": [candidate | {"index": 0}],
            "usageMetadata": usage,
            "modelVersion": asked.model,
            "responseId": f"simulated{asked.serial:014d}",
        }

    def call(self, asked: Asked, call: Call) -> Part:
        args = msgspec.json.decode(call.arguments)
        function_call = {"name": call.name, "args": args, "id": unique(self.issuer, asked, 8)}
        return {"functionCall": function_call, "thoughtSignature": self.signature(asked)}

    def thought(self, asked: Asked, text: str) -> Part:
        return {"text": text, "thought": True}

    def whole_thought(self, asked: Asked, text: str) -> Part:
        """All thoughts of an answer, as its ``whole`` form has them."""
        return self.thought(asked, text)

    def signature(self, asked: Asked) -> str:
        return self.signer.gemini(f"{asked.created} {asked.serial}")

    def signs_last(self, asked: Asked, answer: Answer) -> str | None:
        """The signature for a text that thoughts led to; calls carry their own."""
        return self.signature(asked) if answer.thinking and answer.call is None else None

    def closes_apart(self, asked: Asked) -> bool:
        """Whether the finish reason comes in a chunk of its own, with an empty text."""
        return True

    def usage(self, asked: Asked, thinking: int, spoken: int) -> dict[str, object]:
        """Google counts thoughts beside the candidates' tokens, not among them."""
        usage: dict[str, object] = {"promptTokenCount": asked.prompt.tokens}
        if spoken or not thinking:
            usage["candidatesTokenCount"] = spoken
        usage["totalTokenCount"] = asked.prompt.tokens + thinking + spoken
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": asked.prompt.tokens}]
        if thinking:
            usage["thoughtsTokenCount"] = thinking
        return usage

    def _chunks(self, asked: Asked, answer: Answer) -> Iterator[object]:
        steps = list(self.steps(asked, answer))
        signed = self.signs_last(asked, answer)
        if self.closes_apart(asked) or not steps:
            steps.append(([{"text": ""}], answer.thinking_tokens, answer.spoken_tokens))
        if signed is not None:
            steps[-1][0][-1]["thoughtSignature"] = signed
        for number, (parts, thinking, spoken) in enumerate(steps, 1):
            finish = finish_reason(answer) if number == len(steps) else None
            yield self.chunk(asked, parts, self.usage(asked, thinking, spoken), finish)

    def steps(self, asked: Asked, answer: Answer) -> Iterator[tuple[list[Part], int, int]]:
        """What is streamed, in order: the parts of a chunk, and the thinking and spoken tokens
        so far."""
        for number, piece in enumerate(answer.thinking, 1):
            yield [self.thought(asked, piece)], tokens("".join(answer.thinking[:number])), 0
        characters = 0
        for piece in answer.text:
            characters += len(piece)
            yield [{"text": piece}], answer.thinking_tokens, (characters + 3) // 4
        if answer.call is not None:
            yield [self.call(asked, answer.call)], answer.thinking_tokens, answer.spoken_tokens


def finish_reason(answer: Answer) -> str:
    """A tool call has no reason of its own here: it ends with STOP like a text."""
    return "MAX_TOKENS" if answer.cut else "STOP"
