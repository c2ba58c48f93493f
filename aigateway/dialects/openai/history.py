"""What some servers of OpenAI's dialect want of a conversation that OpenAI does not.

Used for bodies made from the hub and for clients' own alike. Which server wants what is in
`servers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

from ... import jsontext
from ...events import ChatRequest, ThinkingBlock, ToolUseBlock
from ...signatures import thought_before

OK: dict[str, object] = {"role": "assistant", "content": "OK."}
"""What stands between a tool's message and a user's, for servers that want their turns to alternate."""

LOST = " "
"""Thinking that nobody has any more. Not empty: DeepSeek answers 400 to that as to none."""

_NINE = re.compile(r"[a-zA-Z0-9]{9}")


def call_id(id: str) -> str:
    """``id`` if it is nine letters and digits, else nine that stand for it, the same each time."""
    return id if _NINE.fullmatch(id) else sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def thinking_before(chat: ChatRequest, calls: Iterable[ToolUseBlock]) -> str:
    """What the model thought before ``calls``, as far as the gateway remembers it."""
    thoughts = [thought_before(call, chat.thoughts) for call in calls]
    blocks = [block for thought in thoughts if thought is not None for block in thought.blocks]
    return "\n\n".join(block.thinking for block in blocks if isinstance(block, ThinkingBlock))


def said_later(text: str) -> str:
    """What the system says in mid-conversation, where a server lets only the user speak then."""
    return f"<system>\n{text}\n</system>"


def in_words(schema: object) -> str:
    """A response format, for a server that has no field for it."""
    return (
        f"Answer with one JSON object that conforms to this JSON schema: {jsontext.encode(schema).decode()}"
    )
