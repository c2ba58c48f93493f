"""The response object and its items, as JSON text: what a stream's last events and a whole answer
both hold.

The shapes are those of the official SDK's ``Response`` and its output items. Texts come in as JSON
strings without their quotes, as the writer has collected them.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ...events import ChatRequest, Tool, Usage
from ...jsontext import escape_line_ends, json_string
from .. import fields
from .sealed import Sealed, seal

# Fields of the request that a response repeats, with what they are where the client says nothing.
# A gateway stores no response, whatever was asked.
_REPEATED = {
    "instructions": b"null",
    "max_output_tokens": b"null",
    "max_tool_calls": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "previous_response_id": b"null",
    "prompt_cache_key": b"null",
    "reasoning": b'{"effort":null,"summary":null}',
    "safety_identifier": b"null",
    "service_tier": b'"auto"',
    "temperature": b"null",
    "text": b'{"format":{"type":"text"}}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_logprobs": b"0",
    "top_p": b"null",
    "truncation": b'"disabled"',
    "user": b"null",
}
_INCOMPLETE = {
    "max_tokens": b"max_output_tokens",
    "model_context_window_exceeded": b"max_output_tokens",
    "compaction": b"max_output_tokens",
    "refusal": b"content_filter",
}


class ResponseObject:
    """What a response says of itself, all but how it ends."""

    def __init__(self, chat: ChatRequest, id: str, created: int) -> None:
        given = fields.given(chat.raw) if chat.raw and chat.dialect == "responses" else {}
        self._head = b'{"id":%b,"object":"response","created_at":%d,"model":%b' % (
            json_string(id if id.startswith("resp_") else f"resp_{id}"),
            created,
            json_string(chat.model),
        )
        repeated = [b'"background":false,"store":false']
        for name, default in _REPEATED.items():
            value = _compact(given[name]) if name in given else default
            repeated.append(b'"%b":%b' % (name.encode(), value))
        self._repeated = b",".join(repeated)

    def render(
        self,
        status: bytes,
        output: list[bytes],
        usage: bytes = b"null",
        *,
        error: bytes = b"null",
        details: bytes = b"null",
    ) -> bytes:
        return b'%b,"status":"%b","error":%b,"incomplete_details":%b,%b,"output":[%b],"usage":%b}' % (
            self._head,
            status,
            error,
            details,
            self._repeated,
            b",".join(output),
            usage,
        )

    def finished(self, stop_reason: str, output: list[bytes], usage: Usage) -> tuple[bytes, bytes]:
        """The status that ``stop_reason`` is, and the response."""
        counts = render_usage(usage)
        if reason := _INCOMPLETE.get(stop_reason):
            details = b'{"reason":"%b"}' % reason
            return b"incomplete", self.render(b"incomplete", output, counts, details=details)
        return b"completed", self.render(b"completed", output, counts)


def is_cut(stop_reason: str) -> bool:
    """Whether the last item of such an answer may lack its end."""
    return _INCOMPLETE.get(stop_reason) == b"max_output_tokens"


def render_usage(usage: Usage) -> bytes:
    return (
        b'{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d},'
        b'"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}'
        % (
            usage.prompt_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
            min(usage.reasoning_tokens, usage.output_tokens),  # clients hold it for a part
            usage.prompt_tokens + usage.output_tokens,
        )
    )


# ------------------------------------------------------------------------ items


class Message:
    """What the assistant says. ``parts`` are the texts that are told."""

    def __init__(self, id: bytes) -> None:
        self.id = b"msg_" + id
        self.parts: list[bytes] = []

    def render(self, status: bytes) -> bytes:
        return b'{"id":"%b","type":"message","status":"%b","role":"assistant","content":[%b]}' % (
            self.id,
            status,
            b",".join(self.parts),
        )


class Thought:
    """A reasoning. What the model signed goes with it whatever the client wants included: nobody
    here would know it when the item comes back."""

    def __init__(self, id: bytes) -> None:
        self.id = b"rs_" + id
        self.parts: list[bytes] = []
        self.sealed: Sealed | None = None

    def render(self, status: bytes) -> bytes:
        sealed = b"" if self.sealed is None else b',"encrypted_content":"%b"' % seal(self.sealed).encode()
        return b'{"id":"%b","type":"reasoning","summary":[%b]%b}' % (self.id, b",".join(self.parts), sealed)


class Call:
    """A call of a function, or of a custom tool. ``text`` is what it is called with."""

    def __init__(self, id: bytes, call_id: str, name: str, tool: Tool | None) -> None:
        self.custom = tool is not None and tool.free_text
        self.id = (b"ctc_" if self.custom else b"fc_") + id
        self.text = b""
        namespace = b""
        if tool is not None and tool.namespace:
            name = name.removeprefix(f"{tool.namespace}__")
            namespace = b',"namespace":%b' % json_string(tool.namespace)
        self._head = b'{"id":"%b","type":"%b","call_id":%b,"name":%b%b' % (
            self.id,
            b"custom_tool_call" if self.custom else b"function_call",
            json_string(call_id),
            json_string(name),
            namespace,
        )
        self._key = b"input" if self.custom else b"arguments"

    def render(self, status: bytes) -> bytes:
        return b'%b,"status":"%b","%b":"%b"}' % (self._head, status, self._key, self.text)


Item: TypeAlias = Message | Thought | Call


def output_text(text: bytes) -> bytes:
    return b'{"type":"output_text","annotations":[],"logprobs":[],"text":"%b"}' % text


def summary_text(text: bytes) -> bytes:
    return b'{"type":"summary_text","text":"%b"}' % text


def _compact(raw: msgspec.Raw) -> bytes:
    return escape_line_ends(msgspec.json.format(bytes(raw), indent=-1))
