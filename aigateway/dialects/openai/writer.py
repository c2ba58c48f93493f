"""Events -> OpenAI's chunks (Chat Completions); and whole answers.

One grammar, whichever provider answers: ``role`` in the first delta and only there; one
``id``, ``created`` and ``model``; ``finish_reason`` in every choice, null until the end;
usage in a chunk of its own and only for a client that asked; ``[DONE]`` last.

A call of a tool that the client offered as one of free text is told as such (``type: custom``),
whoever answers: its input, which elsewhere is the one string of an object, comes in one piece.
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
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)
from ...jsontext import encode, escape_line_ends, json_string
from .. import free_text
from ..pieces import Pieces
from ..writer import EventWriter
from .errors import error_object
from .usage import render_usage

COMMENT = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "compaction": "length",
    "refusal": "content_filter",
}


class OpenAIWriter(EventWriter):
    """Implements `aigateway.dialects.base.Writer`."""

    def __init__(self, chat: ChatRequest, id: str, created: int) -> None:
        super().__init__(chat, id)
        self._created = created
        self._calls = -1
        self._in_call = self._signable = False
        self._custom = frozenset(tool.name for tool in chat.tools if tool.free_text)
        self._free_text: Pieces | None = None  # the input of the open call of such a tool, so far
        self._has_input = False
        self._signature = ""
        self._head = b""
        self._tail = (
            b',"finish_reason":null}],"usage":null}\n\n'
            if chat.include_usage
            else (b',"finish_reason":null}]}\n\n')
        )
        self._text = self._thinking = self._json = b""

    def fail(self, error: GatewayError) -> bytes:
        # No [DONE] after it: naive clients would take a cut answer for a whole one.
        return b"data: %b\n\n" % escape_line_ends(encode(error_object(error)))

    def keep_alive(self) -> bytes:
        return COMMENT

    # ---------------------------------------------------------------- events

    def _start(self, event: Started) -> bytes:
        self._usage = event.usage
        self._head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":['
            % (
                json_string(completion_id(event.id, self._id)),
                self._created,
                json_string(self._chat.model),
            )
        )
        choice = self._head + b'{"index":0,"delta":'
        self._text = choice + b'{"content":'
        self._thinking = choice + b'{"reasoning_content":'
        return choice + b'{"role":"assistant","content":""}' + self._tail

    def _start_block(self, event: BlockStarted) -> bytes:
        if event.type != "tool_use":
            self._signature = ""
            self._signable = event.type == "thinking"
            return b""
        self._calls += 1
        self._in_call, self._has_input = True, False
        signature = b""
        if self._signature:
            # Google's own OpenAI endpoint carries a call's signature so.
            signature = b',"extra_content":{"google":{"thought_signature":%b}}' % json_string(self._signature)
            self._signature = ""
        choice = self._head + b'{"index":0,"delta":{"tool_calls":[{"index":%d,' % self._calls
        if event.name in self._custom:
            self._free_text = Pieces()
            self._json = choice + b'"custom":{"input":'
            called = b'"type":"custom","custom":{"name":%b,"input":""}' % json_string(event.name)
        else:
            self._json = choice + b'"function":{"arguments":'
            called = b'"type":"function","function":{"name":%b,"arguments":""}' % json_string(event.name)
        return choice + b'"id":%b,%b%b}]}' % (json_string(event.id), called, signature) + self._tail

    def _write_text(self, event: TextDelta) -> bytes:
        text = json_string(event.text)
        self.size += len(text) - 2
        return self._text + text + b"}" + self._tail

    def _write_thinking(self, event: ThinkingDelta) -> bytes:
        text = json_string(event.text)
        self.size += len(text) - 2
        return self._thinking + text + b"}" + self._tail

    def _write_input(self, event: InputDelta) -> bytes:
        if not event.json:
            return b""
        if self._free_text is not None:
            self._free_text.add(event.json)
            return b""
        self._has_input = True
        return self._input(event.json)

    def _input(self, piece: str) -> bytes:
        text = json_string(piece)
        self.size += len(text) - 2
        return self._json + text + b"}}]}" + self._tail

    def _write_signature(self, event: SignatureDelta) -> bytes:
        if self._signable:
            self._signature = event.signature
        return b""

    def _end_block(self, event: BlockEnded) -> bytes:
        if not self._in_call:
            return b""
        self._in_call = False
        if self._free_text is not None:
            pieces, self._free_text = self._free_text, None
            text = free_text.text_of(pieces.text())
            return self._input(text) if text else b""
        # Clients parse the arguments: "" breaks them.
        return b"" if self._has_input else self._write_input(InputDelta("{}"))

    def _finish(self, event: Finished) -> bytes:
        reason = FINISH_REASONS.get(event.stop_reason, "stop")
        end = self._head + b'{"index":0,"delta":{},"finish_reason":"%b"}]' % reason.encode()
        if not self._chat.include_usage:
            return end + b"}\n\n" + DONE
        usage = self._usage or estimate.usage(self._chat, self.size)
        return end + b',"usage":null}\n\n' + self._head + b'],"usage":%b}\n\n' % render_usage(usage) + DONE


def render_reply(reply: ChatReply, chat: ChatRequest, id: str, created: int) -> bytes:
    """A whole answer as a chat completion. Usage is always there; an estimate where none was told."""
    text: list[str] = []
    thinking: list[str] = []
    calls: list[dict[str, object]] = []
    custom = {tool.name for tool in chat.tools if tool.free_text}
    signature = ""
    for block in reply.content:
        match block:
            case TextBlock():
                text.append(block.text)
                signature = ""
            case ThinkingBlock():
                thinking.append(block.thinking)
                signature = block.signature or ""
            case ToolUseBlock():
                call: dict[str, object] = {"id": block.id}
                if block.name in custom:
                    call["type"] = "custom"
                    call["custom"] = {"name": block.name, "input": free_text.text_of(block.input)}
                else:
                    call["type"] = "function"
                    call["function"] = {"name": block.name, "arguments": block.input}
                if signature:
                    call["extra_content"] = {"google": {"thought_signature": signature}}
                    signature = ""
                calls.append(call)
    message: dict[str, object] = {
        "role": "assistant",
        "content": "".join(text) if text or not calls else None,
    }
    if any(thinking):
        message["reasoning_content"] = "".join(thinking)
    if calls:
        message["tool_calls"] = calls
    message["refusal"] = None
    return encode(
        {
            "id": completion_id(reply.id, id),
            "object": "chat.completion",
            "created": created,
            "model": chat.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": FINISH_REASONS.get(reply.stop_reason, "stop"),
                }
            ],
            "usage": msgspec.Raw(render_usage(reply.usage or estimate.usage(chat, estimate.size_of(reply)))),
        }
    )


def completion_id(provider_id: str, own_id: str) -> str:
    """``chatcmpl-`` and the provider's id, or ours where it gave none."""
    id = provider_id or own_id
    return id if id.startswith("chatcmpl-") else f"chatcmpl-{id}"
