"""OpenAI chunks -> events, for OpenAI itself and the many servers that speak like it.

The rules come from recorded streams of some twenty servers; where one deviates, the
comment names it. What an error in the stream means is the provider's business: the
reader is given ``classify``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias
from uuid import uuid4

import msgspec

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
from .usage import NULL, Tally

Classify: TypeAlias = Callable[[bytes], UpstreamError]
"""From the JSON text of an error (the whole object, or what stands under ``error``)."""

STOP_REASONS = {
    "stop": "end_turn",
    "eos": "end_turn",
    "eos_token": "end_turn",
    "length": "max_tokens",
    "model_length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
    "sensitive": "refusal",  # GLM
    "refusal": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",  # GLM
}
FAULTS = {"error", "network_error", "insufficient_system_resource", "abort"}
NOTHING = (b"null", b"", b"false", b'""', b"{}")


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, object] | None = None  # an object: Ollama's native faces


class _Google(msgspec.Struct):
    thought_signature: str | None = None


class _ExtraContent(msgspec.Struct):
    google: _Google | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    type: str | msgspec.UnsetType | None = msgspec.UNSET
    function: _Function | None = None
    extra_content: _ExtraContent | None = None


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: list[_Part] | str | None = None


class _Detail(msgspec.Struct):
    text: str | None = None
    summary: str | None = None
    signature: str | None = None


class _Delta(msgspec.Struct):
    role: str | msgspec.UnsetType | None = msgspec.UNSET
    content: str | list[_Part] | None = None  # a list: Mistral's reasoning models
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_text: str | None = None
    thinking: str | None = None
    reasoning_details: list[_Detail] | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    index: int | None = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | msgspec.UnsetType | None = msgspec.UNSET
    stop_reason: str | int | None = None  # vLLM: which stop sequence
    usage: msgspec.Raw = NULL  # Moonshot, older


class _Groq(msgspec.Struct):
    usage: msgspec.Raw = NULL


class _Chunk(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    x_groq: _Groq | None = None
    # The flat error of GLM's web gateway, with HTTP 200.
    success: bool | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class _Call:
    """One tool call of the answer. ``pieces`` are its argument texts so far."""

    __slots__ = ("closed", "id", "name", "opened", "pieces", "signature", "whole")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.signature = ""
        self.pieces: list[str] = []
        self.opened = False
        self.closed = False
        self.whole = False

    def is_whole(self) -> bool:
        try:
            msgspec.json.decode("".join(self.pieces))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class OpenAIReader:
    """Implements `aigateway.dialects.base.Reader`.

    ``Started`` waits for the first block, so that an answer that fails before it said
    anything has told nothing. ``late_error`` is what went wrong after the finish reason;
    the answer was whole by then.
    """

    def __init__(self, classify: Classify) -> None:
        self._classify = classify
        self._tally = Tally()
        self._id = ""
        self._model = ""
        self._started = False
        self._ended = False
        self._answered = False
        self._block = ""  # the open block's type, "" for none
        self._call: _Call | None = None  # the open call, where the block is one
        self._calls: dict[int, _Call] = {}
        self._finish = ""
        self._stop_sequence: str | None = None
        self._refused = False
        self.late_error: UpstreamError | None = None
        self.chunk: _Chunk | None = None  # the last frame's, where it was one

    @property
    def usage(self) -> Usage | None:
        return self._tally.usage

    def feed(self, frame: Frame) -> list[Event]:
        if self._ended:
            return []
        data = frame.data
        self.chunk = None
        if data[:1] != b"{":
            data = data.strip()
            if data == b"[DONE]":
                return self._complete() if self._answered else self._fail(_empty())
            if not data:
                return []
        if frame.event == b"error":
            return self._said_error(data)
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._fail(UpstreamGarbled(f"the provider sent a chunk that is none: {error}"))
        if _is_error(chunk):
            self._tally.add(chunk.usage)  # OpenRouter tells it beside the error
            return self._said_error(data)
        self.chunk = chunk
        return self._read(chunk)

    def end(self) -> list[Event]:
        if self._ended:
            return []
        if self._finish:
            return self._complete()
        return self._fail(UpstreamTruncated("the provider's stream ended without a finish reason or [DONE]"))

    def _said_error(self, data: bytes) -> list[Event]:
        error = self._classify(data)
        if self._started and error.code == "content_filter" and not self._finish:
            self._finish = "content_filter"  # GLM 1301 in mid-answer: a refusal, not a fault
        return self._fail(error)

    # ------------------------------------------------------------ one chunk

    def _read(self, chunk: _Chunk) -> list[Event]:
        if not self._id and chunk.id:
            self._id = chunk.id
        if not self._model and chunk.model:
            self._model = chunk.model
        self._tally.add(chunk.usage)
        if chunk.x_groq is not None:
            self._tally.add(chunk.x_groq.usage)
        events: list[Event] = []
        for choice in chunk.choices or ():
            if choice.index:
                continue  # n > 1: only the first choice has a place in an answer
            self._answered = True
            self._tally.add(choice.usage)
            if choice.delta is not None:
                self._delta(choice.delta, events)
                if self._ended:
                    return events
            if choice.finish_reason and not self._finish:
                if choice.finish_reason in FAULTS:
                    fault = UpstreamFailed(f"the provider ended its answer with {choice.finish_reason!r}")
                    return events + self._fail(fault)
                self._finish = choice.finish_reason
                if isinstance(choice.stop_reason, str):
                    self._stop_sequence = choice.stop_reason
        return events

    def _delta(self, delta: _Delta, events: list[Event]) -> None:
        thought = delta.reasoning_content or delta.reasoning or delta.reasoning_text or delta.thinking
        if thought:  # some servers send it under two names: one of them is enough
            self._think(thought, events)
        elif delta.reasoning_details:
            self._details(delta.reasoning_details, events)
        content = delta.content
        if content:
            if isinstance(content, str):
                self._text(content, events)
            else:
                self._parts(content, events)
        if delta.refusal:
            self._refused = True
            self._text(delta.refusal, events)
        for entry in delta.tool_calls or ():
            self._tool(entry, events)
            if self._ended:
                return
        if delta.function_call is not None:  # before tool_calls; very old proxies
            self._tool(_ToolCall(index=0, function=delta.function_call), events)

    def _text(self, text: str, events: list[Event]) -> None:
        if self._block != "text":
            self._open("text", events)
        events.append(TextDelta(text))

    def _think(self, text: str, events: list[Event]) -> None:
        if self._block != "thinking":
            self._open("thinking", events)
        events.append(ThinkingDelta(text))

    def _details(self, details: list[_Detail], events: list[Event]) -> None:
        for detail in details:
            if text := detail.text or detail.summary:
                self._think(text, events)
            if detail.signature and self._block == "thinking":
                events.append(SignatureDelta(detail.signature))
                self._close(events)

    def _parts(self, parts: list[_Part], events: list[Event]) -> None:
        for part in parts:
            if part.type == "thinking":
                inner = part.thinking
                thought = inner if isinstance(inner, str) else "".join(p.text or "" for p in inner or ())
                if thought:
                    self._think(thought, events)
            elif part.text:
                self._text(part.text, events)

    # ------------------------------------------------------------ tool calls

    def _tool(self, entry: _ToolCall, events: list[Event]) -> None:
        call = self._call_of(entry)
        function = entry.function or _Function()
        if entry.id and not call.id:
            call.id = entry.id
        if function.name and not call.name:
            call.name = function.name
        if entry.extra_content is not None and entry.extra_content.google is not None:
            call.signature = call.signature or entry.extra_content.google.thought_signature or ""
        arguments = function.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if call.closed:
            # Some servers repeat the whole call at the end; a call cut short cannot be mended.
            if arguments and not call.whole:
                events += self._fail(UpstreamGarbled("arguments came for a tool call that had ended"))
            return
        if arguments:
            call.pieces.append(arguments)
        if call.opened:
            if arguments:
                events.append(InputDelta(arguments))
        elif call.name and self._may_open():
            self._open_call(call, events)

    def _call_of(self, entry: _ToolCall) -> _Call:
        """The call that a delta belongs to.

        Usually ``index`` says. Without one (Mistral, Google's OpenAI face) a known id,
        then a new id or a name, then the last call. One index with a second id, a second
        name and whole arguments before it is a second call (Ollama numbers all calls 0).
        """
        calls = self._calls
        key = entry.index
        name = entry.function.name if entry.function is not None else None
        if key is None:
            for call in calls.values():
                if entry.id and call.id == entry.id:
                    return call
            if calls and not entry.id and not name:
                return calls[max(calls)]
            key = max(calls, default=-1) + 1
        elif (known := calls.get(key)) is not None and entry.id and name and known.id not in ("", entry.id):
            for call in calls.values():
                if call.id == entry.id:
                    return call
            if known.is_whole():
                key = max(calls) + 1
        return calls.setdefault(key, _Call())

    def _may_open(self) -> bool:
        """Blocks do not interleave: a call waits while another one is still incomplete."""
        return self._call is None or self._call.is_whole()

    def _open_call(self, call: _Call, events: list[Event]) -> None:
        if call.signature:
            self._sign(call.signature, events)
        taken = {other.id for other in self._calls.values() if other.opened}
        if not call.id or call.id in taken:
            call.id = f"toolu_{uuid4().hex[:24]}"
        self._open("tool_use", events, call)
        call.opened = True
        if call.pieces:
            events.append(InputDelta("".join(call.pieces)))

    def _sign(self, signature: str, events: list[Event]) -> None:
        """Carry a call's thought signature the one way that events have for it."""
        if self._block != "thinking":
            self._open("thinking", events)
        events.append(SignatureDelta(signature))

    # ---------------------------------------------------------------- blocks

    def _open(self, block: str, events: list[Event], call: _Call | None = None) -> None:
        if self._block:
            self._close(events)
        elif not self._started:
            self._started = True
            events.append(Started(self._id, self._model))
        self._block, self._call = block, call
        if call is None:
            events.append(BlockStarted(block))
        else:
            events.append(BlockStarted(block, call.id, call.name))

    def _close(self, events: list[Event]) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.closed = True
            call.whole = call.is_whole()
        self._block = ""
        events.append(BlockEnded())

    # ------------------------------------------------------------------- end

    def _complete(self) -> list[Event]:
        events: list[Event] = []
        for _, call in sorted(self._calls.items()):
            if not call.opened:
                if not call.name:
                    self._ended = True
                    return [Failed(UpstreamGarbled("a tool call came without a name"))]
                self._open_call(call, events)
        if self._block:
            self._close(events)
        if not self._started:
            self._started = True
            events.append(Started(self._id, self._model))
        if (usage := self.usage) is not None:
            events.append(UsageReported(usage))
        reason = STOP_REASONS.get(self._finish, "end_turn")
        if reason == "end_turn":
            # Ollama, Gemini's faces and old vLLM say "stop" after tool calls too.
            reason = "tool_use" if self._calls else "refusal" if self._refused else "end_turn"
        elif reason == "tool_use" and not self._calls:
            reason = "end_turn"
        sequence = self._stop_sequence
        if reason == "end_turn" and sequence is not None:
            reason = "stop_sequence"
        events.append(Finished(reason, sequence if reason == "stop_sequence" else None))
        self._ended = True
        return events

    def _fail(self, error: UpstreamError) -> list[Event]:
        if self._finish:
            self.late_error = error
            return self._complete()
        self._ended = True
        return [Failed(error)]


def parse_reply(body: bytes, classify: Classify) -> ChatReply:
    """A whole answer (``object: chat.completion``). Raises the `UpstreamError` it really is."""
    if body.lstrip()[:1] != b"{":
        raise UpstreamGarbled("the provider's answer is not a JSON object")
    reader = OpenAIReader(classify)
    try:
        chunk = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamGarbled(f"the provider's answer is not a chat completion: {error}") from None
    if _is_error(chunk):
        raise classify(body)
    if not chunk.choices:
        raise classify(body)
    for choice in chunk.choices:
        choice.delta = choice.message
        for index, call in enumerate((choice.delta and choice.delta.tool_calls) or ()):
            call.index = index  # a whole message's calls carry no index; their order is all
    events = reader._read(chunk)
    if not any(isinstance(event, Failed) for event in events):
        events += reader._complete()
    return reply_of(events)


def _is_error(chunk: _Chunk) -> bool:
    error = chunk.error
    return (error is not NULL and bytes(error) not in NOTHING) or chunk.success is False


def _empty() -> UpstreamError:
    return UpstreamGarbled("the provider's stream holds no answer")
