"""OpenAI chunks -> events, for OpenAI itself and the many servers that speak like it.

The rules come from recorded streams of some twenty servers; where one deviates, the
comment names it. What an error in the stream means is the provider's business: the
reader is given ``classify``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

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
from .. import surrogates
from ..pieces import MAX_INPUT
from ..surrogates import BAD_JSON
from .calls import Call, Calls
from .chunks import (
    Chunk,
    Delta,
    Part,
    ToolCall,
    add_groq_usage,
    decode_chunk,
    details,
    is_error,
    number,
    signature,
    string,
)
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
_PLACE = 100
"""Bytes that a piece takes besides its text, about."""

FAULTS = {"error", "network_error", "insufficient_system_resource", "abort"}


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
        self._call: Call | None = None  # the open call, where the block is one
        self._calls = Calls()
        self._held: list[tuple[str, str]] = []  # what came between the pieces of the open call
        self._held_size = 0
        self._finish = ""
        self._stop_sequence: str | None = None
        self._refused = False
        self.late_error: UpstreamError | None = None
        self.chunk: Chunk | None = None  # the last frame's, where it was one
        self.data = b""  # the JSON that ``chunk`` was read from

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
                return self._complete() if self._answered else self.fail(_empty())
            if not data:
                return []
        if frame.event == b"error":
            return self._said_error(data)
        try:
            chunk, self.data = surrogates.decode(decode_chunk, data)
        except BAD_JSON as error:
            return self.fail(UpstreamGarbled(f"the provider sent a chunk that is none: {error}"))
        if (chunk.error is not NULL or chunk.success is not None) and is_error(chunk):
            self._tally.add(chunk.usage)  # OpenRouter tells it beside the error
            return self._said_error(data)
        self.chunk = chunk
        try:
            return self._read(chunk)
        except UpstreamGarbled as error:
            return self.fail(error)

    def end(self) -> list[Event]:
        if self._ended:
            return []
        if self._finish:
            return self._complete()
        return self.fail(UpstreamTruncated("the provider's stream ended without a finish reason or [DONE]"))

    def _said_error(self, data: bytes) -> list[Event]:
        error = self._classify(data)
        if self._started and error.code == "content_filter" and not self._finish:
            self._finish = "content_filter"  # GLM 1301 in mid-answer: a refusal, not a fault
        return self.fail(error)

    # ------------------------------------------------------------ one chunk

    def _read(self, chunk: Chunk) -> list[Event]:
        if not self._id:
            self._id = string(chunk.id)
        if not self._model:
            self._model = string(chunk.model)
        self._tally.add(chunk.usage)
        if chunk.x_groq is not NULL:
            add_groq_usage(chunk, self._tally)
        events: list[Event] = []
        for choice in chunk.choices or ():
            if choice.index != 0 and number(choice.index):
                continue  # n > 1: only the first choice has a place in an answer
            self._answered = True
            self._tally.add(choice.usage)
            if choice.delta is not None:
                self._delta(choice.delta, events)
            if choice.finish_reason and not self._finish:
                if choice.finish_reason in FAULTS:
                    fault = UpstreamFailed(f"the provider ended its answer with {choice.finish_reason!r}")
                    return events + self.fail(fault)
                self._finish = choice.finish_reason
                if isinstance(choice.stop_reason, str):
                    self._stop_sequence = choice.stop_reason
        return events

    def _delta(self, delta: Delta, events: list[Event]) -> None:
        thought = delta.reasoning_content or delta.reasoning or delta.reasoning_text or delta.thinking
        if thought and thought.__class__ is not str:
            names = (delta.reasoning_content, delta.reasoning, delta.reasoning_text, delta.thinking)
            thought = next(filter(None, map(string, names)), "")
        if thought:  # some servers send it under two names: one of them is enough
            self._say("thinking", thought, events)  # type: ignore[arg-type]
        elif delta.reasoning_details is not NULL:
            self._details(delta, events)
        content = delta.content
        if content:
            if content.__class__ is str:
                if self._block == "text":
                    events.append(TextDelta(content))
                else:
                    self._say("text", content, events)
            else:
                self._parts(content, events)  # type: ignore[arg-type]
        if delta.refusal and isinstance(delta.refusal, str):
            self._refused = True
            self._say("text", delta.refusal, events)
        for entry in delta.tool_calls or ():
            self._tool(entry, events)
        if delta.function_call is not None:  # before tool_calls; very old proxies
            self._tool(ToolCall(index=0, function=delta.function_call), events)

    def _say(self, block: str, text: str, events: list[Event]) -> None:
        """A piece of text, of thinking, or a signature. Blocks do not interleave: between the
        pieces of a call's arguments it waits for the last of them."""
        if self._call is not None and (self._held or not self._call.is_whole()):
            self._held.append((block, text))
            self._held_size += len(text) + _PLACE
            if self._held_size > MAX_INPUT:
                raise UpstreamGarbled("a tool call never ends, and the answer goes on")
        elif block == "signature":
            if self._block == "thinking":
                events.append(SignatureDelta(text))
                self._close(events)
        else:
            if self._block != block:
                self._open(block, events)
            events.append(TextDelta(text) if block == "text" else ThinkingDelta(text))

    def _release(self, events: list[Event]) -> None:
        held, self._held = self._held, []
        if held:
            self._close(events)
        for block, text in held:
            self._say(block, text, events)

    def _details(self, delta: Delta, events: list[Event]) -> None:
        for detail in details(delta.reasoning_details):
            if text := string(detail.text) or string(detail.summary):
                self._say("thinking", text, events)
            if mark := string(detail.signature):
                self._say("signature", mark, events)

    def _parts(self, parts: list[Part], events: list[Event]) -> None:
        for part in parts:
            if part.type == "thinking":
                inner = part.thinking
                thought = inner if isinstance(inner, str) else "".join(string(p.text) for p in inner or ())
                if thought:
                    self._say("thinking", thought, events)
            elif text := string(part.text):
                self._say("text", text, events)

    # ------------------------------------------------------------ tool calls

    def _tool(self, entry: ToolCall, events: list[Event]) -> None:
        call = self._calls.of(entry)
        if call.closed:
            return  # some servers repeat the whole call at the end
        text = self._calls.add(call, entry)
        if entry.extra_content is not NULL and not call.signature:
            call.signature = signature(entry.extra_content)
        if call.opened:
            if text and not call.custom:
                events.append(InputDelta(text))
            if self._held and call.is_whole():
                self._release(events)
        elif call.name and self._may_open():
            self._open_call(call, events)

    def _may_open(self) -> bool:
        """Blocks do not interleave: a call waits while another one is still incomplete."""
        return self._call is None or self._call.is_whole()

    def _open_call(self, call: Call, events: list[Event]) -> None:
        if call.signature:
            # A call's thought signature, the one way that events have for it.
            if self._block != "thinking":
                self._open("thinking", events)
            events.append(SignatureDelta(call.signature))
        self._open("tool_use", events, call)
        call.opened = True
        if call.pieces.count and not call.custom:
            events.append(InputDelta(call.text()))

    # ---------------------------------------------------------------- blocks

    def _open(self, block: str, events: list[Event], call: Call | None = None) -> None:
        if self._block:
            self._close(events)
        elif not self._started:
            self._started = True
            events.append(Started(self._id, self._model))
        self._block, self._call = block, call
        if call is None:
            events.append(BlockStarted(block))
        else:
            events.append(BlockStarted(block, self._calls.id_for_client(call, "toolu_"), call.name))

    def _close(self, events: list[Event]) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.closed = True
            if call.custom:
                events.append(InputDelta(call.text()))
        self._block = ""
        events.append(BlockEnded())

    # ------------------------------------------------------------------- end

    def _complete(self) -> list[Event]:
        events: list[Event] = []
        calls = self._calls.all
        if not all(call.name for call in calls):
            self._ended = True
            return [Failed(UpstreamGarbled("a tool call came without a name"))]
        self._release(events)
        for call in sorted(calls, key=lambda call: call.index):
            if not call.opened:
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
            reason = "tool_use" if calls else "refusal" if self._refused else "end_turn"
        elif reason == "tool_use" and not calls:
            reason = "end_turn"
        sequence = self._stop_sequence
        if reason == "end_turn" and sequence is not None:
            reason = "stop_sequence"
        events.append(Finished(reason, sequence if reason == "stop_sequence" else None))
        self._ended = True
        return events

    def fail(self, error: UpstreamError) -> list[Event]:
        """The answer ends here, for ``error``; well, if the provider had finished it."""
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
        chunk, _ = surrogates.decode(decode_chunk, body)
    except BAD_JSON as error:
        raise UpstreamGarbled(f"the provider's answer is not a chat completion: {error}") from None
    if is_error(chunk) or not chunk.choices:
        raise classify(body)
    told = False
    for position, choice in enumerate(chunk.choices):
        if number(choice.index) is None:
            choice.index = position
        choice.delta = choice.message
        told |= choice.message is not None and number(choice.index) == 0
        for index, call in enumerate((choice.delta and choice.delta.tool_calls) or ()):
            call.index = index  # a whole message's calls carry no index; their order is all
    events = reader._read(chunk)
    if not any(isinstance(event, Failed) for event in events):
        if not told:
            raise UpstreamGarbled("the provider's answer holds no message")
        events += reader._complete()
    return reply_of(events)


def _empty() -> UpstreamError:
    return UpstreamGarbled("the provider's stream holds no answer")
