"""The grammar of Gemini's ``streamGenerateContent``: SSE with ``alt=sse``, else one JSON array.

Rules: https://ai.google.dev/api/generate-content, and the protocol's message definitions. Lenient
reads Antigravity's envelope too, and calls that come in pieces (Vertex).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .common import (
    Answer,
    BrokenGrammar,
    Frame,
    Grammar,
    count,
    decode,
    decoder,
    demand,
    items,
    json_object,
    lenient_frames,
    name,
    strict_frames,
    text,
)

GEMINI_FINISHES = {
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_OTHER",
    "NO_IMAGE",
}
GEMINI_BLOCKS = {
    "SAFETY",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "IMAGE_SAFETY",
    "MODEL_ARMOR",
    "JAILBREAK",
}
_KINDS = {  # a part is one of these
    "text",
    "functionCall",
    "functionResponse",
    "inlineData",
    "fileData",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
}
_ASIDE = "thought thoughtSignature"
_ADDENDS = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount")
_USAGE_ALSO = "candidatesTokenCount thoughtsTokenCount toolUsePromptTokenCount cachedContentTokenCount"


def check_gemini(data: bytes, *, whole: bool = True, lenient: bool = False) -> Answer:
    """The answer that a Gemini stream tells, SSE or array. ``stop`` is the finish reason, or why
    the prompt was blocked. ``whole``: one of them must have come, or an error, and the end of
    the array."""
    if data.lstrip().startswith(b"["):
        frames = _elements(data, whole=whole)
    elif lenient:
        frames = lenient_frames(data)
    else:
        frames = strict_frames(_without_waiting(_one_line_end(data)))
    return _Gemini(lenient=lenient).run(frames, whole=whole)


def _one_line_end(data: bytes) -> bytes:
    """``data`` with lines that end in LF where all end in CRLF, as Google's do."""
    if data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        return data.replace(b"\r\n", b"\n")
    return data


def _without_waiting(data: bytes) -> bytes:
    """``data`` without the blank lines between its frames, which keep a client waiting: Google's SDKs
    take a comment for JSON."""
    # Each run of line ends is looked at once, from its beginning: else the time grows by its square.
    return re.sub(rb"(?<!\n)(\A|\n\n)\n++(?=data: )", rb"\1", data)


def _elements(data: bytes, *, whole: bool) -> Iterator[Frame]:
    """The elements of a JSON array, each as a frame of its own, as far as they are there."""
    content = decode(data)
    read = decoder()
    at = _space(content, content.index("[") + 1)
    number = 0
    while at < len(content) and content[at] != "]":
        number += 1
        try:
            _, end = read.raw_decode(content, at)
        except BrokenGrammar as broken:
            raise BrokenGrammar(broken.rule, number) from None
        except (ValueError, RecursionError) as error:
            raise BrokenGrammar(f"no JSON: {error}", number) from None
        yield Frame("", content[at:end])
        at = _space(content, end)
        if at < len(content) and content[at] == ",":
            at = _space(content, at + 1)
            if at < len(content) and content[at] == "]":
                raise BrokenGrammar("a comma before the end of the array", number)
        elif at < len(content) and content[at] != "]":
            raise BrokenGrammar("no comma between two elements", number)
    demand(at < len(content) or not whole, "the array does not end")
    demand(not content[at + 1 :].strip(), "something after the array")


def _space(content: str, at: int) -> int:
    while at < len(content) and content[at] in " \t\r\n":
        at += 1
    return at


class _Gemini(Grammar):
    """Where a Gemini stream is; ``partial``: a call is being told in pieces."""

    WANTS = "a finish reason, a block reason"

    def __init__(self, *, lenient: bool) -> None:
        super().__init__(lenient=lenient)
        self.same: dict[str, Any] | None = None
        self.ids: set[str] = set()
        self.partial: list[Any] | None = None

    def frame(self, frame: Frame) -> None:
        demand(not self.answer.error, "after an error")
        if frame.data is None:
            self.answer.comments += 1
            return
        demand(not frame.event or self.lenient, "an event line: {}", frame.event)
        data = json_object(frame.data)
        if self.lenient and isinstance(data.get("response"), dict):
            data = data["response"]
        self.answer.chunks.append(data)
        if "error" in data:
            self.error(data)
            return
        self.chunk(data)

    def error(self, data: dict[str, Any]) -> None:
        self.fields(data, "error", "error frame")
        names = "message" if self.lenient else "code message status"
        error = self.fields(data["error"], names, "error", "details")
        name(error["message"], "error.message")
        if not self.lenient:
            demand(type(error["code"]) is int, "the error's code is {}", error["code"])
            name(error["status"], "error.status")
            demand(not self.ended, "an error after the finish reason")
        self.answer.error = error
        self.ended = True

    def chunk(self, data: dict[str, Any]) -> None:
        names = "" if self.lenient else "modelVersion responseId"
        self.fields(data, names, "chunk", "candidates usageMetadata promptFeedback createTime")
        told = {"candidates", "usageMetadata", "promptFeedback"} & data.keys()
        demand(told or self.lenient, "a chunk that tells nothing")
        if not self.lenient:
            same = {key: name(data[key], key) for key in ("modelVersion", "responseId")}
            self.same = self.same or same
            demand(same == self.same, "not the same throughout: {} after {}", same, self.same)
        self.answer.id = self.answer.id or text(data.get("responseId", ""), "responseId")
        self.answer.model = self.answer.model or text(data.get("modelVersion", ""), "modelVersion")
        if "promptFeedback" in data:
            self.feedback(data["promptFeedback"])
        candidates = items(data.get("candidates", []), "candidates")
        demand(len(candidates) <= 1 or self.lenient, "a second candidate")
        for candidate in candidates:
            self.candidate(candidate)
        if "usageMetadata" in data:
            self.usage(data["usageMetadata"])

    def feedback(self, feedback: Any) -> None:
        self.fields(
            feedback,
            "" if self.lenient else "blockReason",
            "promptFeedback",
            "blockReasonMessage safetyRatings",
        )
        reason = feedback.get("blockReason")
        if reason is None:
            return
        self.answer.stop = name(reason, "blockReason")
        demand(self.lenient or reason in GEMINI_BLOCKS, "no such block reason: {}", reason)
        demand(self.lenient or not self.ended, "a block reason after the end")
        self.ended = True

    def candidate(self, candidate: Any) -> None:
        self.fields(
            candidate,
            "",
            "candidate",
            "content finishReason finishMessage index safetyRatings citationMetadata",
        )
        if candidate.get("index", 0) != 0:
            demand(self.lenient, "a second candidate")
            return
        demand(self.lenient or not self.ended, "a candidate after the finish reason")
        content = self.fields(candidate.get("content", {}), "", "content", "role parts")
        parts = items(content.get("parts", []), "parts")
        if parts and not self.lenient:
            demand(content.get("role") == "model", "the role is {}", content.get("role"))
        demand(content.get("role", "model") == "model", "the role is {}", content.get("role"))
        for part in parts:
            self.part(part)
        reason = candidate.get("finishReason")
        if reason is None:
            return
        name(reason, "finishReason")
        demand(self.lenient or reason in GEMINI_FINISHES, "no such finish reason: {}", reason)
        demand(self.answer.stop in (None, reason), "finish reason {} after {}", reason, self.answer.stop)
        self.answer.stop = reason
        self.end_call()
        self.ended = True

    def part(self, part: Any) -> None:
        self.fields(part, "", "part", f"{' '.join(_KINDS)} {_ASIDE}")
        kinds = _KINDS & part.keys()
        carried = self.lenient and "thoughtSignature" in part
        demand(len(kinds) == 1 or (not kinds and carried), "a part of {} kinds: {}", len(kinds), set(part))
        thought = part.get("thought", False)
        demand(isinstance(thought, bool), "thought is {}", thought)
        demand(not thought or "text" in part or self.lenient, "thought on a part without text")
        if "thoughtSignature" in part:
            self.answer.signatures.append(name(part["thoughtSignature"], "thoughtSignature"))
        if "text" in part:
            told = text(part["text"], "text")
            demand(not told or not self.ended, "text after the finish reason")
            if thought:
                self.answer.thinking += told
            else:
                self.answer.text += told
        elif "functionCall" in part:
            demand(not self.ended, "a call after the finish reason")
            self.call(part["functionCall"])
        elif kinds:
            (kind,) = kinds
            demand(isinstance(part[kind], dict), "{}: no object: {}", kind, part[kind])

    def call(self, call: Any) -> None:
        self.fields(call, "" if self.lenient else "name args", "functionCall", "id")
        if self.partial is not None or "partialArgs" in call or "willContinue" in call:
            self.piece(call)
            return
        args = call.get("args", {})
        demand(isinstance(args, dict), "args: no object: {}", args)
        id = text(call.get("id", ""), "id")
        demand(not id or id not in self.ids, "the id {} twice", id)
        self.ids.add(id)
        self.answer.calls.append((id, name(call.get("name"), "name"), json.dumps(args)))

    def piece(self, call: dict[str, Any]) -> None:
        """A call that comes in pieces: its name first, then values with their places, told as they
        are; a piece that does not say ``willContinue`` is the last."""
        if "name" in call:
            self.end_call()
            id = text(call.get("id", ""), "id")
            self.ids.add(id)
            self.answer.calls.append((id, name(call["name"], "name"), "{}"))
            self.partial = []
        demand(self.partial is not None, "a piece of no call")
        assert self.partial is not None
        self.partial += items(call.get("partialArgs", []), "partialArgs")
        if not call.get("willContinue"):
            self.end_call()

    def end_call(self) -> None:
        if self.partial is not None:
            id, called, _ = self.answer.calls[-1]
            self.answer.calls[-1] = (id, called, json.dumps(self.partial) if self.partial else "{}")
        self.partial = None

    def usage(self, usage: Any) -> None:
        names = "" if self.lenient else "promptTokenCount totalTokenCount"
        details = "promptTokensDetails candidatesTokensDetails cacheTokensDetails trafficType serviceTier"
        self.fields(usage, names, "usageMetadata", f"{_USAGE_ALSO} {details}")
        counts = {
            kind: count(usage[kind], kind)
            for kind in (*_ADDENDS, "totalTokenCount", "cachedContentTokenCount")
            if usage.get(kind) is not None
        }
        total, told = sum(counts.get(kind, 0) for kind in _ADDENDS), counts.get("totalTokenCount")
        if self.lenient:  # what is not told apart may be in the total
            demand(told is None or told >= total, "totalTokenCount {}, wants {} or more", told, total)
        else:
            demand(told == total, "totalTokenCount {}, wants {}", told, total)
        cached = counts.get("cachedContentTokenCount", 0)
        demand(cached <= counts.get("promptTokenCount", cached), "more tokens cached than in the prompt")
        self.answer.usage = (self.answer.usage or {}) | usage
