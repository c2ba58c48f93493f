"""What a client calls the fields that a renderer has dropped or emulated.

A renderer works from the hub, where several fields of a dialect may have become one, and a block has
one name whoever sent it. Here they get the client's own: what goes into the field report, into the
header that tells of it, and into the error where nothing may be dropped. `fields.spelling` has the
names that need no look at the request.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..events import ChatRequest
from .base import Rendered
from .fields import given

# Of several fields that a client may have meant, the one that it sent.
_FIELDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "openai": {
        "max_tokens": ("max_completion_tokens",),
        "thinking": ("thinking", "messages.reasoning_content", "tool_calls.extra_content"),
        "tool_choice": ("tool_choice", "function_call"),
        "user": ("user", "safety_identifier", "prompt_cache_key"),
    },
    "responses": {"user": ("user", "safety_identifier", "prompt_cache_key")},
    "gemini": {
        "generationConfig.responseSchema": (
            "generationConfig.responseJsonSchema",
            "generationConfig.responseSchema",
            "generationConfig.responseMimeType",
        ),
        "thinking": ("contents.parts.thought", "contents.parts.thoughtSignature"),
    },
}
_BLOCKS: Mapping[str, Mapping[str, str]] = {
    "openai": {
        "document": "file",
        "image": "image_url",
        "tool_result": "messages.tool",
        "tool_use": "tool_calls",
    },
    "responses": {
        "document": "input_file",
        "image": "input_image",
        "messages": "input",
        "redacted_thinking": "input.reasoning",
        "thinking": "input.reasoning",
        "tool_result": "function_call_output",
        "tool_use": "function_call",
    },
    "gemini": {
        "document": "inlineData",
        "image": "inlineData",
        "input_audio": "inlineData",
        "messages": "contents",
        "redacted_thinking": "contents.parts.thought",
        "tool_result": "functionResponse",
        "tool_use": "functionCall",
    },
}


def told(chat: ChatRequest, rendered: Rendered) -> Rendered:
    """``rendered``, its names of fields as the client spells them."""
    if not rendered.dropped and not rendered.emulated:
        return rendered
    fields, blocks = _FIELDS.get(chat.dialect, {}), _BLOCKS.get(chat.dialect, {})
    if not fields and not blocks:
        return rendered
    top = given(chat.raw)

    def sent(name: str) -> bool:
        outer, _, word = name.rpartition(".")
        return f'"{word}"'.encode() in chat.raw if outer else name in top

    def spelled(name: str) -> str:
        if name in fields:
            return next((one for one in fields[name] if sent(one)), name)
        word, bracket, rest = name.partition("[")
        return name if word in top else blocks.get(word, word) + bracket + rest

    return msgspec.structs.replace(
        rendered,
        dropped=tuple(dict.fromkeys(map(spelled, rendered.dropped))),
        emulated=tuple(dict.fromkeys(map(spelled, rendered.emulated))),
    )
