"""A good stream of each client dialect, in small, and what it is made of.

The gateway's own kind, which the grammars pass strictly; `tests.broken_streams` breaks them.
"""

from __future__ import annotations

import json
from typing import Any

Events = list[dict[str, Any]]

ZERO = {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2, "output_tokens": 1}


def claude(*blocks: Events, reason: str = "end_turn", sequence: str | None = None) -> Events:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": ZERO,
    }
    told = [{"index": index, **event} for index, block in enumerate(blocks) for event in block]
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    usage = ZERO | {"output_tokens_details": {"thinking_tokens": 1}}
    return [
        {"type": "message_start", "message": message},
        *told,
        {"type": "message_delta", "delta": delta, "usage": usage},
        {"type": "message_stop"},
    ]


def block(start: dict[str, Any], *deltas: dict[str, Any]) -> Events:
    return [
        {"type": "content_block_start", "content_block": start},
        *({"type": "content_block_delta", "delta": delta} for delta in deltas),
        {"type": "content_block_stop"},
    ]


def input_json(piece: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": piece}


THINKING = block(
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "Hm"},
    {"type": "signature_delta", "signature": "sig"},
)
TEXT = block({"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})
CALL = block(
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}, input_json('{"a"'), input_json(":1}")
)
CLAUDE = claude(THINKING, TEXT, CALL, reason="tool_use")
PLAIN = claude(TEXT)
CLAUDE_ERROR = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Busy"},
    "request_id": "req_1",
}


def openai(*deltas: dict[str, Any], reason: str = "stop") -> Events:
    def chunk(*choices: dict[str, Any], usage: dict[str, Any] | None = None) -> dict[str, Any]:
        same = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17, "model": "m"}
        return {**same, "choices": list(choices), "usage": usage}

    told = [{"role": "assistant", "content": ""}, *deltas]
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    return [
        *(chunk({"index": 0, "delta": delta, "finish_reason": None}) for delta in told),
        chunk({"index": 0, "delta": {}, "finish_reason": reason}),
        chunk(usage=usage),
    ]


def opens(index: int, id: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": ""}
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}


def goes_on(index: int, piece: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


OPENAI = openai(
    {"reasoning_content": "Hm"},
    {"content": "Hi"},
    opens(0, "call_0"),
    goes_on(0, "{}"),
    opens(1, "call_1"),
    goes_on(1, '{"a":1}'),
    reason="tool_calls",
)
_CUSTOM = {"index": 1, "id": "call_1", "type": "custom", "custom": {"name": "g", "input": ""}}
OPENAI_CUSTOM = openai(
    opens(0, "call_0"),
    goes_on(0, "{}"),
    {"tool_calls": [_CUSTOM]},
    {"tool_calls": [{"index": 1, "custom": {"input": "ls"}}]},
    {"tool_calls": [_CUSTOM | {"index": 2, "id": "call_2"}]},
    reason="tool_calls",
)
OPENAI_ERROR = {"error": {"message": "Busy", "type": "server_error", "param": None, "code": None}}


def response(status: str, output: Events, **changes: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 5,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 17,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "m",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None if status == "in_progress" else usage,
    } | changes


def numbered(events: Events) -> Events:
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def part(id: str, index: int, at: str, family: str, piece: dict[str, Any], key: str = "text") -> Events:
    """A part, told in two pieces."""
    where = {"item_id": id, "output_index": index, f"{at}_index": 0}
    more: dict[str, Any] = {"logprobs": []} if family == "output_text" else {}
    kind = "reasoning_summary_part" if at == "summary" else "content_part"
    text = piece[key]
    return [
        {"type": f"response.{kind}.added", **where, "part": piece | {key: ""}},
        {"type": f"response.{family}.delta", **where, "delta": text[:1], **more},
        {"type": f"response.{family}.delta", **where, "delta": text[1:], **more},
        {"type": f"response.{family}.done", **where, key: text, **more},
        {"type": f"response.{kind}.done", **where, "part": piece},
    ]


def call(index: int, item: dict[str, Any], family: str, key: str) -> Events:
    """A call, told in one piece."""
    where = {"item_id": item["id"], "output_index": index}
    begun = item | {key: ""} | ({"status": "in_progress"} if "status" in item else {})
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        {"type": f"response.{family}.delta", **where, "delta": item[key]},
        {"type": f"response.{family}.done", **where, key: item[key]},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def around(index: int, begun: dict[str, Any], inner: Events, done: dict[str, Any]) -> Events:
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        *inner,
        {"type": "response.output_item.done", "output_index": index, "item": done},
    ]


SUMMARY = {"type": "summary_text", "text": "Hm"}
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [SUMMARY], "encrypted_content": "sig"}
OUTPUT_TEXT = {"type": "output_text", "text": "Hi", "annotations": []}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [OUTPUT_TEXT],
}
FUNCTION = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "f",
    "arguments": "{}",
    "status": "completed",
}
CUSTOM = {"id": "ct_1", "type": "custom_tool_call", "call_id": "call_2", "name": "g", "input": "ls -l"}
TOLD = [
    *around(
        0,
        REASONING | {"summary": [], "encrypted_content": None},
        part("rs_1", 0, "summary", "reasoning_summary_text", SUMMARY),
        REASONING,
    ),
    *around(
        1,
        MESSAGE | {"content": [], "status": "in_progress"},
        part("msg_1", 1, "content", "output_text", OUTPUT_TEXT),
        MESSAGE,
    ),
    *call(2, FUNCTION, "function_call_arguments", "arguments"),
    *call(3, CUSTOM, "custom_tool_call_input", "input"),
]
STARTS = [
    {"type": "response.created", "response": response("in_progress", [])},
    {"type": "response.in_progress", "response": response("in_progress", [])},
]
RESPONSES = numbered(
    [
        *STARTS,
        *TOLD,
        {
            "type": "response.completed",
            "response": response("completed", [REASONING, MESSAGE, FUNCTION, CUSTOM]),
        },
    ]
)
RESPONSES_ERROR = {"type": "error", "code": None, "message": "Busy", "param": None}


def gemini(*candidates: dict[str, Any], **more: Any) -> Events:
    usage = {
        "promptTokenCount": 3,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 1,
        "toolUsePromptTokenCount": 4,
        "totalTokenCount": 10,
        "cachedContentTokenCount": 1,
    }
    same = {"modelVersion": "m", "responseId": "r1"}
    return [{"candidates": [one], **same, **more} for one in candidates] + [{"usageMetadata": usage, **same}]


def says(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}


GEMINI = gemini(
    says({"text": "Hm", "thought": True}),
    says({"text": "Hi"}),
    says({"functionCall": {"name": "f", "args": {"a": 1}, "id": "c1"}, "thoughtSignature": "sig"}),
    says({"text": ""}, finishReason="STOP"),
)
GEMINI_ERROR = {"error": {"code": 503, "message": "Busy", "status": "UNAVAILABLE"}}


def framed(dialect: str, events: Events, end: str = "data: [DONE]\n\n") -> bytes:
    named = dialect in ("claude", "responses")
    frames = [
        (f"event: {event.get('type')}\n" if named else "") + f"data: {json.dumps(event)}\n\n"
        for event in events
    ]
    return ("".join(frames) + (end if dialect == "openai" else "")).encode()


GOOD: dict[str, Events] = {"claude": CLAUDE, "openai": OPENAI, "responses": RESPONSES, "gemini": GEMINI}
ERRORS: dict[str, dict[str, Any]] = {
    "claude": CLAUDE_ERROR,
    "openai": OPENAI_ERROR,
    "responses": RESPONSES_ERROR,
    "gemini": GEMINI_ERROR,
}
