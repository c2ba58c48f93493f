"""A Responses stream -> events, and whole responses.

Items come one after the other, as OpenAI sends them; where they overlap, one that begins while
another is open is told when it is whole, since blocks do not nest. What OpenAI's own tools did
(searches, programs, images) has no events. What an error means is the provider's business: the
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
from ...jsontext import encode
from ...sse import Frame
from .. import surrogates
from ..pieces import MAX_CALLS, MAX_TOLD, CallIds
from ..surrogates import BAD_JSON
from .frames import (
    Item,
    Part,
    Response,
    StreamEvent,
    decode_event,
    decode_item,
    decode_response,
    decode_type,
    is_null,
    read_usage,
)
from .items import flat_name
from .sealed import unseal

Classify: TypeAlias = Callable[[bytes], UpstreamError]
"""From the JSON text of an error (the whole object, or what stands under ``error``)."""

_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_summary_text.delta": "thinking",
    "response.reasoning_text.delta": "thinking",
    "response.function_call_arguments.delta": "tool_use",
    "response.custom_tool_call_input.delta": "custom",
}
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_KNOWN = {"message", "reasoning", "function_call", "custom_tool_call"}
_INCOMPLETE = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}


class ResponsesReader:
    """Implements `aigateway.dialects.base.Reader`.

    ``Started`` waits for the first block, so that an answer that fails before it said anything has
    told nothing. ``working``: OpenAI has begun something that is no block, a search perhaps.
    """

    def __init__(self, classify: Classify) -> None:
        self._classify = classify
        self._id = ""
        self._model = ""
        self._started = False
        self._ended = False
        self._block = ""  # the open block's type, "" for none
        self._index: object = None  # the item that it is of
        self._has_input = False
        self._told: set[object] = set()  # the items that have had a block
        self._waiting: list[Item] = []  # those that are whole and must wait for the open one
        self._ids = CallIds(lambda: f"call_{uuid4().hex}")
        self._waiting_size = 0
        self._refused = False
        self._usage: Usage | None = None
        self.working = False
        self.late_error: UpstreamError | None = None
        self.event: StreamEvent | None = None  # the last frame's, where it was one
        self.data = b""  # the JSON that ``event`` was read from
        self.readable = True  # whether clients can read the last response's id and usage

    @property
    def usage(self) -> Usage | None:
        return self._usage

    @property
    def id(self) -> str:
        """The response's, as the provider gave it."""
        return self._id

    def feed(self, frame: Frame) -> list[Event]:
        if self._ended:
            return []
        self.event = None
        data = frame.data
        if data.strip() in (b"", b"[DONE]"):  # the latter from servers of Chat Completions
            return []
        try:
            event, self.data = surrogates.decode(decode_event, data)
        except BAD_JSON as error:
            if frame.event == b"error":
                return self._fail(self._classify(data))
            return self._fail(UpstreamGarbled(f"the provider sent an event that is none: {error}"))
        if event.type == "error" or frame.event == b"error":
            return self._fail(self._classify(data))
        if isinstance(event.output_index, list | dict | str):
            return self._fail(UpstreamGarbled("the provider sent an event of an item without a number"))
        self.event = event
        if (block := _DELTAS.get(event.type)) is not None:
            return self._delta(block, event)
        if event.type in ("response.output_item.added", "response.output_item.done"):
            return self._item(event)
        if event.type == "response.reasoning_summary_part.added" and self._block == "thinking":
            return [ThinkingDelta("\n\n")] if event.output_index == self._index else []
        if event.type in _ENDS or event.type == "response.created":
            return self._response(event)
        return []

    def end(self) -> list[Event]:
        if self._ended:
            return []
        return self._fail(UpstreamTruncated("the provider's stream ended without response.completed"))

    # ----------------------------------------------------------------- events

    def _delta(self, block: str, event: StreamEvent) -> list[Event]:
        text = event.delta
        if not isinstance(text, str):
            return self._fail(UpstreamGarbled(f"the provider sent a {event.type} without a text"))
        if not text:
            return []
        events: list[Event] = []
        if self._index != event.output_index or self._block != block:
            if block not in ("text", "thinking") or not self._may_open(event.output_index):
                return []  # the item is told when it is whole
            self._open(BlockStarted(block), event.output_index, events)
        if block == "text":
            events.append(TextDelta(text))
            self._refused = self._refused or event.type == "response.refusal.delta"
        elif block == "thinking":
            events.append(ThinkingDelta(text))
        elif block == "tool_use":
            self._has_input = True
            events.append(InputDelta(text))
        return events

    def _item(self, event: StreamEvent) -> list[Event]:
        try:
            item = _read(event.item)
        except BAD_JSON as error:
            return self._fail(UpstreamGarbled(f"the provider sent an item that is none: {error}"))
        if item is None:
            self.working = True
            return []
        events: list[Event] = []
        index = event.output_index
        try:
            if event.type == "response.output_item.added":
                if item.type.endswith("_call") and self._may_open(index):
                    self._open(self._call(item), index, events)
                    self._block = "custom" if item.type == "custom_tool_call" else "tool_use"
            elif index == self._index and self._block:
                self._close(item, events)
            elif index not in self._told:
                self._told.add(index)
                if self._block:
                    self._waiting.append(item)
                    self._waiting_size += len(event.item)
                    if self._waiting_size > MAX_TOLD or len(self._told) > MAX_CALLS:
                        raise UpstreamGarbled("an item never ends, and the answer goes on")
                else:
                    self._tell(item, events)
        except UpstreamGarbled as error:
            return events + self._fail(error)
        return events

    def _response(self, event: StreamEvent) -> list[Event]:
        try:
            response = decode_response(event.response)
        except BAD_JSON as error:
            return self._fail(UpstreamGarbled(f"the provider sent a response that is none: {error}"))
        self._id = self._id or _text(response.id)
        self._model = self._model or _text(response.model)
        if event.type == "response.created":
            return []
        self._count(response)
        if event.type in ("response.failed", "response.cancelled"):
            return self._fail(self._error(response))
        return self._complete(event.type.removeprefix("response."), response)

    # ----------------------------------------------------------------- blocks

    def _may_open(self, index: object) -> bool:
        return not self._block or index == self._index

    def _open(self, block: BlockStarted, index: object, events: list[Event]) -> None:
        if self._block:
            events.append(BlockEnded())
        elif not self._started:
            self._started = True
            events.append(Started(self._id, self._model))
        self._block, self._index, self._has_input = block.type, index, False
        self._told.add(index)
        events.append(block)

    def _close(self, item: Item, events: list[Event]) -> None:
        """The open item is whole: what it holds beyond its deltas, and its end."""
        if self._block == "thinking":
            self._sign(item, events)
        elif self._block == "custom" or (self._block == "tool_use" and not self._has_input):
            events.append(InputDelta(_input(item)))
        self._block = ""
        events.append(BlockEnded())
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._tell(one, events)

    def _tell(self, item: Item, events: list[Event]) -> None:
        """An item as a whole."""
        if item.type == "reasoning":
            text = "\n\n".join(part.text or "" for part in item.content or item.summary or ())
            sealed = unseal(item.encrypted_content or "")
            if sealed is not None and sealed.redacted is not None:
                self._open(BlockStarted("redacted_thinking", data=sealed.redacted), None, events)
            elif text or (sealed is not None and sealed.signature):
                self._open(BlockStarted("thinking"), None, events)
                if text:
                    events.append(ThinkingDelta(text))
                self._sign(item, events)
            else:
                return
            self._shut(events)
        elif item.type == "message":
            for part in item.content or ():
                self._part(part, events)
        else:
            self._open(self._call(item), None, events)
            events.append(InputDelta(_input(item)))
            self._shut(events)

    def _call(self, item: Item) -> BlockStarted:
        """The call that ``item`` is, by an id that no other has."""
        if not item.call_id or not item.name:
            raise UpstreamGarbled("a tool call came without an id or a name")
        return BlockStarted("tool_use", self._ids.one(item.call_id), flat_name(item.namespace, item.name))

    def _part(self, part: Part, events: list[Event]) -> None:
        if text := part.text or part.refusal:
            self._refused = self._refused or part.type == "refusal"
            self._open(BlockStarted("text"), None, events)
            events.append(TextDelta(text))
            self._shut(events)

    def _sign(self, item: Item, events: list[Event]) -> None:
        """OpenAI's own encrypted thoughts are left out: they go back as they came, or not at all."""
        sealed = unseal(item.encrypted_content or "")
        if sealed is not None and sealed.signature:
            events.append(SignatureDelta(sealed.signature))

    def _shut(self, events: list[Event]) -> None:
        self._block = ""
        events.append(BlockEnded())

    # -------------------------------------------------------------------- end

    def _complete(self, status: str, response: Response) -> list[Event]:
        events: list[Event] = []
        try:
            if self._block == "custom":
                raise UpstreamGarbled("a tool call came without its end")
            if self._block:
                self._shut(events)
            for item in self._waiting:
                self._tell(item, events)
            if not self._told:  # some servers tell everything at the end
                for raw in response.output or ():
                    if (one := _read(raw)) is not None:
                        self._tell(one, events)
        except UpstreamGarbled as error:
            return events + self._fail(error)
        except BAD_JSON as error:
            return events + self._fail(UpstreamGarbled(f"the provider sent an item that is none: {error}"))
        if not self._started:
            self._started = True
            events.append(Started(self._id, self._model))
        if self._usage is not None:
            events.append(UsageReported(self._usage))
        reason = "tool_use" if self._ids else "refusal" if self._refused else "end_turn"
        if status == "incomplete":
            why = response.incomplete_details
            reason = _INCOMPLETE.get(_text(why.reason) if why is not None else "", "max_tokens")
        elif status != "completed" and not self._ids:
            reason = "pause_turn"  # queued, or in progress: the client asks for the rest elsewhere
        self._ended = True
        events.append(Finished(reason))
        return events

    def _count(self, response: Response) -> None:
        usage, readable = read_usage(response.usage)
        self._usage = usage or self._usage
        self.readable = readable and isinstance(response.id, str) and bool(response.id)

    def _error(self, response: Response) -> UpstreamError:
        if is_null(response.error):
            return UpstreamFailed(f"the provider ended its answer as {_text(response.status) or 'failed'}")
        return self._classify(bytes(response.error))

    def _fail(self, error: UpstreamError) -> list[Event]:
        self._ended = True
        return [Failed(error)]

    def read_whole(self, response: Response) -> list[Event]:
        """The events of a whole response."""
        self._id, self._model = _text(response.id), _text(response.model)
        self._count(response)
        status = _text(response.status) or "completed"
        if not is_null(response.error) or status in ("failed", "cancelled"):
            return self._fail(self._error(response))
        return self._complete(status, response)


def parse_reply(body: bytes, classify: Classify) -> ChatReply:
    """A whole answer (``object: response``). Raises the `UpstreamError` it really is."""
    try:
        response, _ = surrogates.decode(decode_response, body)
    except BAD_JSON as error:
        raise UpstreamGarbled(f"the provider's answer is not a response: {error}") from None
    if response.output is None:
        raise classify(body)
    return reply_of(ResponsesReader(classify).read_whole(response))


def _read(raw: msgspec.Raw) -> Item | None:
    """The item in ``raw``; None for one of a type that has no block. Raises one of `BAD_JSON`."""
    return decode_item(raw) if decode_type(raw).type in _KNOWN else None


def _input(item: Item) -> str:
    if item.type == "custom_tool_call":
        return encode({"input": item.input or ""}).decode()
    return item.arguments or "{}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
