"""Events -> Claude's stream (Anthropic Messages), the house format; and whole answers.

The grammar is Anthropic's, "Streaming messages": ``message_start``, content blocks one
strictly after the other, one ``message_delta``, ``message_stop``. Each event is an
``event:`` line and a ``data:`` line whose JSON ``type`` equals it.
"""

from __future__ import annotations

import msgspec

from ... import estimate
from ...errors import GatewayError
from ...events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    ChatRequest,
    Finished,
    InputDelta,
    RedactedThinkingBlock,
    ReplyBlock,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
)
from ...jsontext import encode, escape_line_ends, json_string
from ..writer import EventWriter
from .errors import error_object
from .usage import render_usage

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
COMMENT = b": keep-alive\n\n"
END = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

_DELTA = (
    b"event: content_block_delta\ndata: "
    b'{"type":"content_block_delta","index":%d,"delta":{"type":"%b_delta","%b":'
)


class ClaudeWriter(EventWriter):
    """Implements `aigateway.dialects.base.Writer`."""

    def __init__(self, chat: ChatRequest, id: str, created: int) -> None:
        super().__init__(chat, id)
        self._index = -1
        self.started = self._signable = False
        self._text = self._thinking = self._json = b""  # what goes before a delta of the open block

    def fail(self, error: GatewayError) -> bytes:
        return b"event: error\ndata: %b\n\n" % escape_line_ends(encode(error_object(error, self._id)))

    def keep_alive(self) -> bytes:
        return PING if self.started else COMMENT

    # ---------------------------------------------------------------- events

    def _start(self, event: Started) -> bytes:
        self.started = True
        self._usage = event.usage
        usage = event.usage or Usage(input_tokens=estimate.prompt_tokens(self._chat))
        return (
            b'event: message_start\ndata: {"type":"message_start","message":{"id":%b,"type":"message",'
            b'"role":"assistant","model":%b,"content":[],"stop_reason":null,"stop_sequence":null,"usage":%b}}\n\n'
            % (
                json_string(message_id(event.id, self._id)),
                json_string(self._chat.model),
                render_usage(usage),
            )
        )

    def _start_block(self, event: BlockStarted) -> bytes:
        self._index = index = self._index + 1
        self._signable = event.type == "thinking"
        self._text = _DELTA % (index, b"text", b"text")
        match event.type:
            case "text":
                block = b'{"type":"text","text":""}'
            case "thinking":
                self._thinking = _DELTA % (index, b"thinking", b"thinking")
                block = b'{"type":"thinking","thinking":"","signature":""}'
            case "redacted_thinking":
                block = b'{"type":"redacted_thinking","data":%b}' % json_string(event.data)
            case _:
                self._json = _DELTA % (index, b"input_json", b"partial_json")
                block = b'{"type":"tool_use","id":%b,"name":%b,"input":{}}' % (
                    json_string(event.id),
                    json_string(event.name),
                )
        return (
            b"event: content_block_start\ndata: "
            b'{"type":"content_block_start","index":%d,"content_block":%b}\n\n' % (index, block)
        )

    def _write_text(self, event: TextDelta) -> bytes:
        text = json_string(event.text)
        self.size += len(text) - 2
        return self._text + text + b"}}\n\n"

    def _write_thinking(self, event: ThinkingDelta) -> bytes:
        text = json_string(event.text)
        self.size += len(text) - 2
        return self._thinking + text + b"}}\n\n"

    def _write_input(self, event: InputDelta) -> bytes:
        text = json_string(event.json)
        self.size += len(text) - 2
        return self._json + text + b"}}\n\n"

    def _write_signature(self, event: SignatureDelta) -> bytes:
        if not self._signable:
            return b""  # Gemini signs visible text, which has no place for it here
        return _DELTA % (self._index, b"signature", b"signature") + json_string(event.signature) + b"}}\n\n"

    def _end_block(self, event: BlockEnded) -> bytes:
        return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index

    def _finish(self, event: Finished) -> bytes:
        usage = self._usage or estimate.usage(self._chat, self.size)
        sequence = b"null" if event.stop_sequence is None else json_string(event.stop_sequence)
        return (
            b'event: message_delta\ndata: {"type":"message_delta",'
            b'"delta":{"stop_reason":%b,"stop_sequence":%b},"usage":%b}\n\n'
            % (json_string(event.stop_reason), sequence, render_usage(usage))
        ) + END


def render_reply(reply: ChatReply, chat: ChatRequest, id: str, created: int) -> bytes:
    """A whole answer as a Claude message. Usage is always there; an estimate where none was told."""
    return encode(
        {
            "id": message_id(reply.id, id),
            "type": "message",
            "role": "assistant",
            "model": chat.model,
            "content": [_block(block) for block in reply.content],
            "stop_reason": reply.stop_reason,
            "stop_sequence": reply.stop_sequence,
            "usage": msgspec.Raw(render_usage(reply.usage or estimate.usage(chat, estimate.size_of(reply)))),
        }
    )


def message_id(provider_id: str, own_id: str) -> str:
    """``msg_`` and the provider's id, or ours where it gave none."""
    id = provider_id or own_id
    return id if id.startswith("msg_") else f"msg_{id}"


def _block(block: ReplyBlock) -> dict[str, object]:
    match block:
        case TextBlock():
            return {"type": "text", "text": block.text}
        case ThinkingBlock():
            return {"type": "thinking", "thinking": block.thinking, "signature": block.signature or ""}
        case RedactedThinkingBlock():
            return {"type": "redacted_thinking", "data": block.data}
        case ToolUseBlock():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": _input(block.input)}


def _input(text: str) -> object:
    """A call's arguments as the object that the model wrote; what is none goes on under ``_raw``."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {"_raw": text}
    return msgspec.Raw((text or "{}").encode()) if isinstance(value, dict) else {"_raw": text}
