"""Claude's stream -> events, and whole answers by the same way.

The grammar is Anthropic's ("Streaming messages"); the leniencies come from recorded streams, of
Anthropic itself and of servers that follow it. Blocks that the client does not run (server tools,
their results, compaction) have no event and are passed over, and so is whatever is unknown: the
documentation announces that there will be more. What an error in the stream means is the
provider's business: the reader is given ``classify``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias
from uuid import uuid4

import msgspec

from ... import jsontext
from ...errors import UpstreamError, UpstreamGarbled, UpstreamTruncated
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
from ..fields import object_text
from ..pieces import MAX_CALLS, CallIds
from ..surrogates import BAD_JSON
from .steps import NULL, Block, Delta, Message, Step, decode, decode_message
from .usage import Tally

Classify: TypeAlias = Callable[[bytes], UpstreamError]
"""From the JSON text of an error (the object that holds ``error``)."""

STOP_REASONS = {
    reason: reason
    for reason in (
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
    )
}
STOP_REASONS["compaction"] = "max_tokens"  # the answer stops short of what was asked
"""Why an answer ended; any other word is an end of turn."""
_SAID = ("text", "thinking")


def _tool_id() -> str:
    return f"toolu_{uuid4().hex[:24]}"


class ClaudeReader:
    """Implements `aigateway.dialects.base.Reader`.

    ``Started`` waits for the first block that says something, so that an answer that fails before
    has told nothing; and no block opens for an empty text. ``late_error`` is what went wrong after
    the stop reason; the answer was whole by then. ``make_id`` names a call that comes without an id.
    ``step`` is the last frame's event, where it was one, ``data`` the JSON that it was read from, and
    ``typed`` whether that names its type: for who passes frames on.
    """

    def __init__(self, classify: Classify, make_id: Callable[[], str] = _tool_id) -> None:
        self._classify = classify
        self._tally = Tally()
        self._id = ""
        self._model = ""
        self._begun = False  # message_start has come
        self._started = False
        self._ended = False
        self._block: Block | None = None  # the open one, as it started
        self._index: object = None  # its index, as the provider counts
        self._broken_off: set[int] = set()  # indices of blocks that another one interrupted
        self._told = False  # the open block has an event of its own
        self._signature = ""  # of the open block of thinking; it is told last
        self._pieces = False  # the open call's input has come in pieces
        self._ids = CallIds(make_id)
        self._stop = ""
        self._stop_sequence: str | None = None
        self.late_error: UpstreamError | None = None
        self.step: Step | None = None
        self.data = b""
        self.typed = True

    @property
    def usage(self) -> Usage | None:
        return self._tally.usage

    def feed(self, frame: Frame) -> list[Event]:
        if self._ended:
            return []
        self.step = None
        data = frame.data
        if data[:1] != b"{":
            data = data.strip()
            if not data or data == b"[DONE]":  # Anthropic sends none; some relays of it do
                return []
        if frame.event == b"error":
            return self._said_error(data)
        try:
            step, self.data = decode(data)
        except BAD_JSON as error:
            return self.fail(UpstreamGarbled(f"the provider sent an event that is none: {error}"))
        if step.type == "error" or (not step.type and step.error != NULL):
            return self._said_error(data)
        self.typed = bool(step.type)
        if not self.typed:
            step.type = frame.event.decode("ascii", "replace")
        self.step = step
        events: list[Event] = []
        match step.type:
            case "content_block_delta":
                if step.delta is not None and self._placed(step.index, events):
                    self._delta(step.delta, events)
            case "content_block_start":
                if step.content_block is not None:
                    self._open(step.content_block, step.index, events)
            case "content_block_stop":
                if type(step.index) is not int or step.index not in self._broken_off:
                    self._close(events)
            case "message_start":
                if step.message is not None:
                    self._begin(step.message, events)
            case "message_delta":
                self._tally.add(step.usage)
                if step.delta is not None and step.delta.stop_reason:
                    self._close(events)
                    if not self._ended:
                        self._stop = step.delta.stop_reason
                        sequence = step.delta.stop_sequence
                        self._stop_sequence = sequence if isinstance(sequence, str) else None
            case "message_stop":
                events += self._complete()
        return events

    def end(self) -> list[Event]:
        if self._ended:
            return []
        if self._stop:
            return self._complete()
        return self.fail(
            UpstreamTruncated("the provider's stream ended without a stop reason or message_stop")
        )

    def _said_error(self, data: bytes) -> list[Event]:
        error = self._classify(data)
        if self._started and error.code == "content_filter" and not self._stop:
            self._stop = "refusal"  # GLM 1301 in mid-answer is no fault
        return self.fail(error)

    # --------------------------------------------------------------- messages

    def _begin(self, message: Message, events: list[Event]) -> None:
        """``message_start``; it may hold blocks, and even the end: a whole answer at once."""
        id = message.id if isinstance(message.id, str) else ""
        if self._begun and (self._started or self._block is not None):
            if id != self._id:
                events += self.fail(UpstreamGarbled("the provider began a second answer inside the first"))
            return
        self._begun = True
        self._id = id or self._id
        self._model = message.model if isinstance(message.model, str) else self._model
        self._tally.add(message.usage)
        for index, block in enumerate(message.content or ()):
            self._open(block, index, events)
            self._close(events)
            if self._ended:
                return
        if message.stop_reason:
            self._stop = message.stop_reason
            self._stop_sequence = message.stop_sequence

    def read_whole(self, message: Message) -> list[Event]:
        """The events that a whole answer amounts to."""
        events: list[Event] = []
        self._begin(message, events)
        return events if self._ended else events + self._complete()

    # ----------------------------------------------------------------- blocks

    def _open(self, block: Block, index: object, events: list[Event]) -> None:
        if self._block is not None:
            if type(self._index) is int and self._index != index:
                self._broken_off.add(self._index)
                if len(self._broken_off) > MAX_CALLS:
                    events += self.fail(UpstreamGarbled(f"more than {MAX_CALLS} blocks have no end"))
                    return
            self._close(events)
            if self._ended:
                return
        if type(index) is int:
            self._broken_off.discard(index)
        if not block.type:
            return  # its deltas say what it is
        self._block, self._index, self._told, self._pieces = block, index, False, False
        match block.type:
            case "text" if block.text:
                self._say(TextDelta(block.text), "text", events)
            case "thinking":
                if block.thinking:
                    self._say(ThinkingDelta(block.thinking), "thinking", events)
                self._signature = block.signature or ""
            case "redacted_thinking" if block.data:
                self._start(BlockStarted("redacted_thinking", data=block.data), events)
            case "tool_use":
                if not block.name:
                    events += self.fail(UpstreamGarbled("the provider sent a tool call without a name"))
                    return
                try:
                    id = self._ids.one(block.id)
                except UpstreamGarbled as error:
                    events += self.fail(error)
                    return
                self._start(BlockStarted("tool_use", id, block.name), events)

    def _placed(self, index: object, events: list[Event]) -> bool:
        """Whether a delta for block ``index`` may go to the open one. Some servers count wrongly,
        which harms nothing as long as no two blocks are mixed."""
        if index == self._index or type(index) is not int or index not in self._broken_off:
            return True
        events += self.fail(UpstreamGarbled(f"the provider sent pieces of two blocks in turn ({index})"))
        return False

    def _delta(self, delta: Delta, events: list[Event]) -> None:
        match delta.type:
            case "text_delta":
                if delta.text:
                    self._say(TextDelta(delta.text), "text", events)
            case "thinking_delta":
                if delta.thinking:
                    self._say(ThinkingDelta(delta.thinking), "thinking", events)
            case "signature_delta":
                if delta.signature and self._may_say("thinking", events, signing=True):
                    self._signature = delta.signature
            case "input_json_delta":
                if self._block is None:
                    events += self.fail(UpstreamGarbled("the provider sent a call's input outside a call"))
                elif delta.partial_json and self._block.type == "tool_use":
                    self._pieces = True
                    events.append(InputDelta(delta.partial_json))

    def _say(self, event: TextDelta | ThinkingDelta, kind: str, events: list[Event]) -> None:
        """A piece of a text or of a thought, in its block."""
        if self._may_say(kind, events):
            if not self._told:
                self._start(BlockStarted(kind), events)
            events.append(event)

    def _may_say(self, kind: str, events: list[Event], *, signing: bool = False) -> bool:
        """Whether a block of ``kind`` is open, or may be now: a server may have left its start out, or
        go on to think or to speak in the block at hand."""
        if self._block is not None and self._block.type != kind:
            if signing or self._block.type not in _SAID:
                return False
            index = self._index
            self._close(events)
            self._index = index
        if self._block is None:
            self._block, self._told = Block(kind), False
        return True

    def _start(self, event: BlockStarted, events: list[Event]) -> None:
        self._told = True
        if not self._started:
            self._started = True
            usage = self._tally.usage
            # A prompt of no tokens was not counted yet.
            told = usage if usage is not None and usage.prompt_tokens else None
            events.append(Started(self._id, self._model, told))
        events.append(event)

    def _close(self, events: list[Event]) -> None:
        block, self._block, self._index = self._block, None, None
        signature, self._signature = self._signature, ""
        if block is not None and signature:
            if not self._told:
                self._start(BlockStarted("thinking"), events)
            events.append(SignatureDelta(signature))
        if block is None or not self._told:
            return
        if block.type == "tool_use" and not self._pieces:
            # Calls from a program of Claude's own come whole with their start.
            try:
                text = _input(block.input)
            except jsontext.BadJSON as error:
                if self._stop:
                    events.append(BlockEnded())
                fault = UpstreamGarbled(f"the provider sent bad arguments of a tool call: {error}")
                events += self.fail(fault)
                return
            if text != "{}":
                events.append(InputDelta(text))
        events.append(BlockEnded())

    # -------------------------------------------------------------------- end

    def _complete(self) -> list[Event]:
        events: list[Event] = []
        self._close(events)
        if self._ended:
            return events
        self._ended = True
        usage = self._tally.usage
        if not self._started:
            self._started = True
            told = usage if usage is not None and usage.prompt_tokens else None
            events.append(Started(self._id, self._model, told))
        if usage is not None:
            events.append(UsageReported(usage))
        reason, sequence = STOP_REASONS.get(self._stop, "end_turn"), self._stop_sequence
        if reason == "stop_sequence" and sequence is None:
            reason = "end_turn"
        if reason == "end_turn" and self._ids:
            reason = "tool_use"
        elif reason == "tool_use" and not self._ids:
            reason = "end_turn"  # for tools that are not the client's
        events.append(Finished(reason, sequence if reason == "stop_sequence" else None))
        return events

    def fail(self, error: UpstreamError) -> list[Event]:
        """The answer ends here, for ``error``; well, if the provider had finished it."""
        if self._stop:
            self.late_error = error
            return self._complete()
        self._ended = True
        return [Failed(error)]


def parse_reply(body: bytes, classify: Classify) -> ChatReply:
    """A whole answer (``type: message``). Raises the `UpstreamError` that it really is."""
    if body.lstrip()[:1] != b"{":
        raise UpstreamGarbled("the provider's answer is not a JSON object")
    try:
        message, _ = surrogates.decode(decode_message, body)
    except BAD_JSON as error:
        raise UpstreamGarbled(f"the provider's answer is not a message: {error}") from None
    if message.type == "error" or message.error != NULL or message.content is None:
        raise classify(body)
    return reply_of(ClaudeReader(classify).read_whole(message))


def _input(raw: msgspec.Raw) -> str:
    """The compact text of a call's input, its numbers as written. Raises `jsontext.BadJSON`."""
    text = bytes(raw)
    if text == b"null":
        return "{}"
    jsontext.check(text)
    compact = object_text(text)
    if compact is None:
        raise jsontext.BadJSON("not an object")
    return compact
