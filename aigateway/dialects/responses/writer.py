"""Events -> OpenAI's Responses stream; and whole answers.

The events and their order are those of OpenAI's API reference, "Streaming events": the response
is created, items come one after the other, each told in pieces and then whole, and the response is
completed, incomplete or failed, all items in it once more. Codex believes only what is told whole.

An item is told whole one event late: whether it was cut short is known only from what follows, and
no client must run a call that lacks its end.
"""

from __future__ import annotations

from ... import estimate
from ...errors import GatewayError, UpstreamGarbled
from ...events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    ChatRequest,
    Finished,
    InputDelta,
    RedactedThinkingBlock,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)
from ...jsontext import json_string
from ..free_text import text_of
from ..pieces import MAX_TOLD, Pieces
from ..writer import EventWriter
from .errors import event_error, response_error
from .output import (
    Call,
    Item,
    Message,
    ResponseObject,
    Thought,
    is_cut,
    output_text,
    summary_text,
)
from .sealed import Sealed

COMMENT = b": keep-alive\n\n"

_COMPLETED = b"completed"
_IN_PROGRESS = b"in_progress"


class ResponsesWriter(EventWriter):
    """Implements `aigateway.dialects.base.Writer`."""

    def __init__(self, chat: ChatRequest, id: str, created: int) -> None:
        super().__init__(chat, id)
        self._created = created
        self._tools = {tool.name: tool for tool in chat.tools}
        self._response: ResponseObject | None = None
        self._taken = ""  # the id of the stream that was taken over
        self._sequence = 0
        self._output: list[bytes] = []  # the items that are told whole
        self._told = 0  # bytes of them
        self._item: Item | None = None  # the one that is not yet
        self._block = ""  # the open block's type
        self._pieces = bytearray()  # of the text under way, as JSON strings without quotes
        self._arguments = Pieces()  # of a custom tool's call
        self._at = b""  # how events name the item, and the part in it
        self._before = self._after = self._tail = b""  # around the number and the text of a delta

    def fail(self, error: GatewayError) -> bytes:
        created = b"" if self._response is not None else self._create("")
        assert self._response is not None
        failed = self._response.render(b"failed", self._output, error=response_error(error))
        return (
            created
            + self._event(b"error", b'"error":' + event_error(error))
            + self._event(b"response.failed", b'"response":' + failed)
        )

    def keep_alive(self) -> bytes:
        return COMMENT

    @property
    def response_id(self) -> str:
        """The gateway's own, for where the provider gives none."""
        return f"resp_{self._id}"

    def take_over(self, id: str, sequence: int, told: list[bytes]) -> None:
        """The stream of another writer, to tell its failure: the response's id, the next number and
        the items that have been told whole."""
        if self._response is None or id != self._taken:  # it may have told its id late
            self._taken = id
            self._response = ResponseObject(self._chat, id or self._id, self._created)
        self._sequence = sequence
        self._output = told

    # ---------------------------------------------------------------- events

    def _start(self, event: Started) -> bytes:
        self._usage = event.usage
        created = self._create(event.id)
        assert self._response is not None
        under_way = b'"response":' + self._response.render(_IN_PROGRESS, [])
        return created + self._event(b"response.in_progress", under_way)

    def _start_block(self, event: BlockStarted) -> bytes:
        self._block = event.type
        if event.type == "text" and isinstance(self._item, Message):
            return self._open_text(self._item)  # one more part of what is being said
        ended = self._end_item()
        match event.type:
            case "text":
                said = Message(self._item_id())
                return ended + self._open(said) + self._open_text(said)
            case "tool_use":
                tool = self._tools.get(event.name)
                call = Call(self._item_id(), event.id, event.name, tool)
                opened = ended + self._open(call)
                self._arguments = Pieces()
                self._open_pieces(b"custom_tool_call_input" if call.custom else b"function_call_arguments")
                return opened
            case "redacted_thinking":
                thought = Thought(self._item_id())
                opened = ended + self._open(thought)
                thought.sealed = Sealed(redacted=event.data)
                return opened
            case _:  # thinking: there is no item unless there is something in it
                return ended

    def _write_text(self, event: TextDelta) -> bytes:
        return self._piece(event.text)

    def _write_thinking(self, event: ThinkingDelta) -> bytes:
        if not event.text:
            return b""
        item = self._item
        if isinstance(item, Thought):
            return self._piece(event.text)
        thought = Thought(self._item_id())
        opened = self._open(thought)
        self._at += b',"summary_index":0'
        self._open_pieces(b"reasoning_summary_text")
        part = self._event(
            b"response.reasoning_summary_part.added", self._at + b',"part":' + summary_text(b"")
        )
        return opened + part + self._piece(event.text)

    def _write_signature(self, event: SignatureDelta) -> bytes:
        if self._block != "thinking":
            return b""  # Gemini signs visible text, which has no place for it here
        opened = b""
        if not isinstance(self._item, Thought):
            opened = self._open(Thought(self._item_id()))
        assert isinstance(self._item, Thought)
        self._item.sealed = Sealed(signature=event.signature)
        return opened

    def _write_input(self, event: InputDelta) -> bytes:
        assert isinstance(self._item, Call)
        if self._item.custom:
            # Its end is where the text ends, and only the whole is sure to be the object it must be.
            self._arguments.add(event.json)
            return b""
        return self._piece(event.json)

    def _end_block(self, event: BlockEnded) -> bytes:
        item, block, self._block = self._item, self._block, ""
        if isinstance(item, Call):
            return self._end_input(item)
        if isinstance(item, Message):
            text = bytes(self._pieces)
            part = output_text(text)
            item.parts.append(part)
            return self._event(
                b"response.output_text.done", b'%b,"text":"%b","logprobs":[]' % (self._at, text)
            ) + self._event(b"response.content_part.done", self._at + b',"part":' + part)
        if block == "thinking" and isinstance(item, Thought) and self._pieces:
            text = bytes(self._pieces)
            part = summary_text(text)
            item.parts.append(part)
            return self._event(
                b"response.reasoning_summary_text.done", b'%b,"text":"%b"' % (self._at, text)
            ) + self._event(b"response.reasoning_summary_part.done", self._at + b',"part":' + part)
        return b""

    def _finish(self, event: Finished) -> bytes:
        assert self._response is not None
        ended = self._end_item(b"incomplete" if is_cut(event.stop_reason) else _COMPLETED)
        usage = self._usage or estimate.usage(self._chat, self.size)
        status, response = self._response.finished(event.stop_reason, self._output, usage)
        return ended + self._event(b"response." + status, b'"response":' + response)

    # ----------------------------------------------------------------- items

    def _create(self, id: str) -> bytes:
        self._response = ResponseObject(self._chat, id or self._id, self._created)
        return self._event(b"response.created", b'"response":' + self._response.render(_IN_PROGRESS, []))

    def _item_id(self) -> bytes:
        """What the next item's id ends in: short enough for OpenAI, should the item go there."""
        return item_id(self._id, len(self._output))

    def _open(self, item: Item) -> bytes:
        self._item = item
        self._pieces = bytearray()
        index = len(self._output)
        self._at = b'"item_id":"%b","output_index":%d' % (item.id, index)
        added = b'"output_index":%d,"item":%b' % (index, item.render(_IN_PROGRESS))
        return self._event(b"response.output_item.added", added)

    def _open_text(self, message: Message) -> bytes:
        self._pieces = bytearray()
        self._at = b'"item_id":"%b","output_index":%d,"content_index":%d' % (
            message.id,
            len(self._output),
            len(message.parts),
        )
        self._open_pieces(b"output_text", b'","logprobs":[]}\n\n')
        return self._event(b"response.content_part.added", self._at + b',"part":' + output_text(b""))

    def _end_input(self, call: Call) -> bytes:
        out = b""
        if call.custom:
            out = self._piece(text_of(self._arguments.text()))
        elif not self._pieces:
            out = self._piece("{}")  # clients parse the arguments: "" breaks them
        call.text = bytes(self._pieces)
        done = b"custom_tool_call_input" if call.custom else b"function_call_arguments"
        key = b"input" if call.custom else b"arguments"
        return out + self._event(b"response.%b.done" % done, b'%b,"%b":"%b"' % (self._at, key, call.text))

    def _end_item(self, status: bytes = _COMPLETED) -> bytes:
        item, self._item = self._item, None
        if item is None:
            return b""
        told = item.render(status)
        self._output.append(told)
        self._told += len(told)
        if self._told > MAX_TOLD:
            raise UpstreamGarbled(f"the answer is larger than {MAX_TOLD} bytes")
        done = b'"output_index":%d,"item":%b' % (len(self._output) - 1, told)
        return self._event(b"response.output_item.done", done)

    # ---------------------------------------------------------------- frames

    def _open_pieces(self, subject: bytes, tail: bytes = b'"}\n\n') -> None:
        """What stands around each piece of the text that begins."""
        name = b"response.%b.delta" % subject
        self._before = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
        self._after = b",%b," % self._at + b'"delta":"'
        self._tail = tail

    def _piece(self, text: str) -> bytes:
        if not text:
            return b""
        inner = json_string(text)[1:-1]
        self.size += len(inner)
        self._pieces += inner
        sequence, self._sequence = self._sequence, self._sequence + 1
        return self._before + b"%d" % sequence + self._after + inner + self._tail

    def _event(self, name: bytes, fields: bytes) -> bytes:
        sequence, self._sequence = self._sequence, self._sequence + 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (name, name, sequence, fields)


def item_id(id: str, index: int) -> bytes:
    """The end of an item's id: the gateway's for the request, and the item's number."""
    return b"%b_%d" % (json_string(id.removeprefix("req_"))[1:-1], index)


def render_reply(reply: ChatReply, chat: ChatRequest, id: str, created: int) -> bytes:
    """A whole answer as a response. Usage is always there; an estimate where none was told."""
    tools = {tool.name: tool for tool in chat.tools}
    items: list[Item] = []
    for block in reply.content:
        number = item_id(id, len(items))
        match block:
            case TextBlock():
                said = items[-1] if items else None
                if not isinstance(said, Message):
                    said = Message(number)
                    items.append(said)
                said.parts.append(output_text(json_string(block.text)[1:-1]))
            case ThinkingBlock():
                thought = Thought(number)
                if block.thinking:
                    thought.parts.append(summary_text(json_string(block.thinking)[1:-1]))
                if block.signature:
                    thought.sealed = Sealed(signature=block.signature)
                if thought.parts or thought.sealed:
                    items.append(thought)
            case RedactedThinkingBlock():
                thought = Thought(number)
                thought.sealed = Sealed(redacted=block.data)
                items.append(thought)
            case ToolUseBlock():
                call = Call(number, block.id, block.name, tools.get(block.name))
                text = text_of(block.input) if call.custom else block.input or "{}"
                call.text = json_string(text)[1:-1]
                items.append(call)
    last = b"incomplete" if is_cut(reply.stop_reason) else _COMPLETED
    output = [item.render(last if item is items[-1] else _COMPLETED) for item in items]
    usage = reply.usage or estimate.usage(chat, estimate.size_of(reply))
    _, response = ResponseObject(chat, reply.id or id, created).finished(reply.stop_reason, output, usage)
    return response
