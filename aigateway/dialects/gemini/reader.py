"""Gemini and Code Assist chunks -> events, and whole answers by the same way.

Code Assist (Antigravity) wraps each chunk as ``{"response": {...}}``; the inside is the
Gemini API's. What an error in the stream means is the provider's business: the reader is
given ``classify``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias
from uuid import uuid4

import msgspec

from ... import jsontext
from ...errors import UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamTruncated
from ...events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    Event,
    Failed,
    Finished,
    InputDelta,
    SignatureDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    Usage,
    UsageReported,
    reply_of,
)
from ...sse import Frame
from ..fields import object_text
from ..pieces import CallIds
from .schema import NO_ARGUMENTS
from .usage import Tally

Classify: TypeAlias = Callable[[bytes], UpstreamError]
"""From the JSON text of the object that holds the error."""

STOP_REASONS = {"MAX_TOKENS": "max_tokens", "CONTINUATION": "max_tokens"} | dict.fromkeys(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
    ),
    "refusal",
)
"""Gemini's finish reasons; any other is an end of turn."""

FAULTS = {
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
}
"""Finish reasons that are the provider's fault, where they come with no answer at all."""

NULL = msgspec.Raw(b"null")
NOTHING = {b"", b"null", b"false", b'""', b"{}"}


# ``object``: what is merely told on costs no answer, whatever its type.
class _FunctionCall(msgspec.Struct):
    name: str | None = None
    id: object = None
    args: msgspec.Raw = NULL
    partialArgs: msgspec.Raw = NULL
    willContinue: bool | None = None


class _ExecutableCode(msgspec.Struct):
    code: str | None = None
    language: object = None


class _Part(msgspec.Struct):
    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    functionCall: _FunctionCall | None = None
    executableCode: _ExecutableCode | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct):
    content: _Content | None = None
    finishReason: str | None = None
    index: object = None


class _PromptFeedback(msgspec.Struct):
    blockReason: str | None = None


class _Chunk(msgspec.Struct):
    candidates: list[_Candidate] | None = None
    promptFeedback: _PromptFeedback | None = None
    usageMetadata: msgspec.Raw = NULL
    modelVersion: object = None
    responseId: object = None
    error: msgspec.Raw = NULL


class _Envelope(_Chunk):
    response: _Chunk | None = None


_decode = msgspec.json.Decoder(_Envelope).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _tool_id() -> str:
    return f"toolu_{uuid4().hex[:24]}"


class GeminiReader:
    """Implements `aigateway.dialects.base.Reader`.

    ``Started`` waits for the first block, so that an answer that fails before it said
    anything has told nothing. ``make_id`` names the calls that come without an id (the
    Gemini API before version 3).
    A signature on visible text is told at the end of its block, wherever in the text it came:
    a text is one block for the client, and the signature is of the thinking before it.
    ``late_error`` is what went wrong after the finish reason; the answer was whole by then.
    """

    def __init__(self, classify: Classify, make_id: Callable[[], str] = _tool_id) -> None:
        self._classify = classify
        self._tally = Tally()
        self._id = ""
        self._model = ""
        self._started = False
        self._ended = False
        self._block = ""  # the open block's type, "" for none; a tool call is never left open
        self._signed = False  # the open thinking block has its signature
        self._text_signature = ""  # that of the open text block
        self._answered = False  # text or a call has come
        self._called = False
        self._ids = CallIds(make_id)
        self._finish = ""
        self._blocked = False
        self.late_error: UpstreamError | None = None

    @property
    def usage(self) -> Usage | None:
        return self._tally.usage

    def feed(self, frame: Frame) -> list[Event]:
        if self._ended:
            return []
        data = frame.data
        if data[:1] != b"{":
            data = data.strip()
            if not data or data == b"[DONE]":  # Google sends none; some relays of it do
                return []
        try:
            envelope = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._fail(UpstreamGarbled(f"the provider sent a chunk that is none: {error}"))
        chunk = envelope.response or envelope
        if _is_error(envelope.error) or _is_error(chunk.error) or frame.event == b"error":
            return self._fail(self._classify(data))
        return self._read(chunk)

    def end(self) -> list[Event]:
        if self._ended:
            return []
        if not self._finish and not self._blocked:
            return self._fail(UpstreamTruncated("the provider's stream ended without a finish reason"))
        if self._finish in FAULTS and not self._answered:
            self._ended = True
            return [Failed(UpstreamFailed(f"the provider ended its answer with {self._finish}"))]
        return self._complete()

    # ------------------------------------------------------------ one chunk

    def _read(self, chunk: _Chunk) -> list[Event]:
        events: list[Event] = []
        if chunk.usageMetadata != NULL:
            self._tally.add(chunk.usageMetadata)
        if not self._id and isinstance(chunk.responseId, str):
            self._id = chunk.responseId
        if not self._model and isinstance(chunk.modelVersion, str):
            self._model = chunk.modelVersion
        if chunk.candidates:
            for candidate in chunk.candidates:
                if isinstance(candidate.index, int) and candidate.index:
                    continue  # candidateCount > 1: only the first has a place in an answer
                if candidate.content is not None and candidate.content.parts:
                    for part in candidate.content.parts:
                        self._part(part, events)
                        if self._ended:
                            return events
                if candidate.finishReason:
                    self._finish = candidate.finishReason
        elif chunk.promptFeedback is not None and chunk.promptFeedback.blockReason:
            self._blocked = True
        return events

    def _part(self, part: _Part, events: list[Event]) -> None:
        if part.functionCall is not None:
            self._call(part.functionCall, part.thoughtSignature, events)
        elif part.thought:
            if part.text:
                if self._block != "thinking" or self._signed:
                    self._open("thinking", events)
                events.append(ThinkingDelta(part.text))
            if part.thoughtSignature:
                self._sign(part.thoughtSignature, events)
        elif part.text:
            self._text(part.text, events)
            self._text_signature = part.thoughtSignature or self._text_signature
        elif part.executableCode is not None and part.executableCode.code:
            code = part.executableCode
            language = code.language.lower() if isinstance(code.language, str) else ""
            self._text(f"\n```{language}\n{code.code}\n```\n", events)
        elif part.thoughtSignature and part.text is not None:
            # Empty text that carries a signature, mostly with STOP: it signs the block that is open.
            if self._block == "text":
                self._text_signature = part.thoughtSignature
            elif self._block == "thinking" and not self._signed:
                self._sign(part.thoughtSignature, events)

    def _text(self, text: str, events: list[Event]) -> None:
        if self._block != "text":
            self._open("text", events)
        self._answered = True
        events.append(TextDelta(text))

    def _sign(self, signature: str, events: list[Event]) -> None:
        """Sign the open thinking block; with none open, or that one signed, an empty one."""
        if self._block != "thinking" or self._signed:
            self._open("thinking", events)
        self._signed = True
        events.append(SignatureDelta(signature))

    def _call(self, call: _FunctionCall, signature: str | None, events: list[Event]) -> None:
        if call.partialArgs != NULL or call.willContinue:
            events += self._fail(
                UpstreamGarbled(
                    "the provider sent a tool call in pieces (partialArgs), which was not asked for"
                )
            )
            return
        try:
            arguments = _arguments(call.args)
        except jsontext.BadJSON as error:
            events += self._fail(UpstreamGarbled(f"the provider sent bad arguments of a tool call: {error}"))
            return
        if not call.name:
            events += self._fail(UpstreamGarbled("the provider sent a tool call without a name"))
            return
        if signature:
            self._sign(signature, events)
        if self._block:
            self._close(events)
        self._start(events)
        try:
            id = self._ids.one(call.id)
        except UpstreamGarbled as error:
            events += self._fail(error)
            return
        events += (
            BlockStarted("tool_use", id, call.name),
            InputDelta(arguments),
            BlockEnded(),
        )
        self._answered = self._called = True

    # ---------------------------------------------------------------- blocks

    def _start(self, events: list[Event]) -> None:
        if not self._started:
            self._started = True
            events.append(Started(self._id, self._model, self._tally.usage))

    def _open(self, block: str, events: list[Event]) -> None:
        if self._block:
            self._close(events)
        else:
            self._start(events)
        self._block = block
        events.append(BlockStarted(block))

    def _close(self, events: list[Event]) -> None:
        if self._text_signature:
            events.append(SignatureDelta(self._text_signature))
        self._block = self._text_signature = ""
        self._signed = False
        events.append(BlockEnded())

    # ------------------------------------------------------------------- end

    def _complete(self) -> list[Event]:
        events: list[Event] = []
        if self._block:
            self._close(events)
        self._start(events)
        if (usage := self._tally.usage) is not None:
            events.append(UsageReported(usage))
        reason = STOP_REASONS.get(self._finish, "end_turn")
        if self._blocked and not self._finish:
            reason = "refusal"
        elif reason == "end_turn" and self._called:
            reason = "tool_use"  # Gemini has no such reason: calls end with STOP, often a chunk later
        events.append(Finished(reason))
        self._ended = True
        return events

    def _fail(self, error: UpstreamError) -> list[Event]:
        if self._finish or self._blocked:
            self.late_error = error
            return self.end()
        self._ended = True
        return [Failed(error)]


def parse_reply(body: bytes, classify: Classify, make_id: Callable[[], str] = _tool_id) -> ChatReply:
    """A whole answer, or the array that ``streamGenerateContent`` gives without ``alt=sse``.

    Raises the `UpstreamError` that it really is.
    """
    reader = GeminiReader(classify, make_id)
    body = body.strip()
    if body[:1] == b"[":
        try:
            chunks = [bytes(chunk) for chunk in _decode_array(body)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            chunks = []
    else:
        chunks = [body]
    if not any(chunk[:1] == b"{" for chunk in chunks):
        raise UpstreamGarbled("the provider's answer is not a JSON object")
    events = [event for chunk in chunks for event in reader.feed(Frame(chunk))]
    return reply_of(events + reader.end())


def _is_error(raw: msgspec.Raw) -> bool:
    return raw != NULL and bytes(raw) not in NOTHING


def _arguments(raw: msgspec.Raw) -> str:
    """The compact text of a call's arguments, their numbers as written. Raises `BadJSON`."""
    text = bytes(raw)
    if text == b"null":
        return "{}"
    jsontext.check(text)
    if NO_ARGUMENTS.encode() in text:
        arguments = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        arguments.pop(NO_ARGUMENTS, None)
        text = msgspec.json.encode(arguments)
    compact = object_text(text)
    if compact is None:
        raise jsontext.BadJSON("not an object")
    return compact
