"""A Claude client's body on its way to Claude: as it came, but for the model and the streaming.

``messages`` are touched for one reason alone. A conversation may have gone through several
providers, or through a client that strips what it does not show: thinking that Claude did not sign
is taken out, since Claude answers 400 to it, and thinking that it did sign and the client left out
is put back. What else is in a message stays as it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ... import jsontext
from ...events import ChatRequest, Message, RedactedThinkingBlock, ThinkingBlock, ToolUseBlock
from ...signatures import thought_before
from .. import signed
from ..base import Rendered
from . import families
from .messages import THINKING, may_think

HEADERS = ("anthropic-version", "anthropic-beta")
"""The client's headers that go with its body."""


class _Outline(msgspec.Struct):
    """What has to be known of a block to keep it, or not. Only in blocks of thinking are
    ``signature`` and ``data`` known to be texts."""

    type: str = ""
    signature: object = None
    data: object = None


_outline = msgspec.json.Decoder(_Outline).decode
_blocks = msgspec.json.Decoder(list[msgspec.Raw]).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_edits = msgspec.json.Decoder(list[dict[str, object]]).decode
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def keep(chat: ChatRequest, model: str, *, stream: bool) -> Rendered:
    """The body that asks ``model``; ``stream`` is how the provider is asked."""
    family = families.of(model)
    body: dict[str, Any] = {**_object(chat.raw), "model": model}
    if stream:
        body["stream"] = True
    elif "stream" in body:
        body["stream"] = False
    if chat.max_tokens is not None and bytes(body.get("max_tokens", b"null")) == b"null":
        body["max_tokens"] = chat.max_tokens  # the API wants one
    dropped: dict[str, None] = {}
    budget = chat.thinking is not None and chat.thinking.mode == "enabled"
    if family.signed and (budget or chat.thoughts or _has_thinking(chat)):
        turns = _Turns(chat, dropped)
        given = zip(_objects(body["messages"]), chat.messages, strict=True)
        messages = [edited for raw, read in given if (edited := turns.edit(raw, read)) is not None]
        if turns.edited:
            body["messages"] = messages
        if budget and not may_think(turns.types):
            dropped["thinking"] = None
            _stop_thinking(body, dropped)
    if chat.begun and b"disabled" not in bytes(body.get("thinking", b"disabled")):
        # "Extended thinking": responses cannot be pre-filled while it is on.
        dropped["thinking"] = None
        _stop_thinking(body, dropped)
    asked = chat.model if chat.model != model else ""
    headers = tuple((name.encode(), value.encode()) for name, value in chat.headers if name in HEADERS)
    return Rendered(jsontext.encode(body), tuple(dropped), kept=True, headers=headers, asked_model=asked)


def _has_thinking(chat: ChatRequest) -> bool:
    return any(
        isinstance(block, ThinkingBlock | RedactedThinkingBlock)
        for message in chat.messages
        for block in message.content
    )


def _stop_thinking(body: dict[str, Any], dropped: dict[str, None]) -> None:
    """Without thinking, what clears it from the context is refused too."""
    del body["thinking"]
    try:
        management = _object(body.get("context_management", b"{}"))
        edits = _edits(management.get("edits", b"[]"))
    except msgspec.ValidationError:
        return  # null, or what Anthropic itself will refuse
    left = [edit for edit in edits if not str(edit.get("type")).startswith("clear_thinking")]
    if len(left) < len(edits):
        dropped["context_management"] = None
        body["context_management"] = {**management, "edits": left}
        if not left:
            del body["context_management"]


class _Turns:
    """The messages of one body, one after the other. ``edited``: one of them had to change;
    ``types`` are their roles and the types of their blocks, as they go on."""

    def __init__(self, chat: ChatRequest, dropped: dict[str, None]) -> None:
        self._thoughts = chat.thoughts
        self._foreign = chat.foreign
        self._dropped = dropped
        self.edited = False
        self.types: list[tuple[str, list[str]]] = []

    def edit(self, message: dict[str, msgspec.Raw], read: Message) -> dict[str, Any] | None:
        """``message`` as it goes on; None where nothing is left of it. ``read`` is what it says."""
        role = read.role
        if bytes(message["content"]).lstrip()[:1] != b"[":
            self.types.append((role, ["text"]))
            return message
        blocks = _blocks(message["content"])
        outlines = [_outline(block) for block in blocks]
        if role != "assistant":
            self.types.append((role, [outline.type for outline in outlines]))
            return message
        calls = iter([block for block in read.content if isinstance(block, ToolUseBlock)])
        content, types = self._assistant(blocks, outlines, calls)
        if content == blocks:
            self.types.append((role, types))
            return message
        self.edited = True
        if not content:
            return None
        self.types.append((role, types))
        return {**message, "content": content}

    def _assistant(
        self, blocks: list[msgspec.Raw], outlines: list[_Outline], calls: Iterator[ToolUseBlock]
    ) -> tuple[list[object], list[str]]:
        content: list[object] = []
        types: list[str] = []
        thought = called = False  # thinking since the last call, and a call at all
        for block, outline in zip(blocks, outlines, strict=True):
            if outline.type in THINKING:
                kept = self._own(block, outline)
                if kept is None:
                    self._dropped[outline.type] = None
                    continue
                thought = True
                content.append(kept)
                types.append(outline.type)
                continue
            if outline.type == "tool_use":
                known = thought_before(next(calls), self._thoughts)
                if known is not None and not thought:
                    # What preceded the first call of a step stood at the step's beginning.
                    at = len(content) if called else 0
                    restored = [own for one in known.blocks if (own := _restored(one)) is not None]
                    content[at:at] = restored
                    types[at:at] = [own["type"] for own in restored]
                thought, called = False, True
            content.append(block)
            types.append(outline.type)
        return content, types

    def _own(self, block: msgspec.Raw, outline: _Outline) -> object | None:
        """A block of thinking as it goes back to Claude: as it came, or with its signature taken out
        of Antigravity's wrapping; None where it is not Claude's."""
        name = "signature" if outline.type == "thinking" else "data"
        given = outline.signature if outline.type == "thinking" else outline.data
        own = signed.for_claude(given) if isinstance(given, str) and given not in self._foreign else None
        if own is None or own == given:
            return None if own is None else block
        return {**_object(block), name: own}


def _restored(block: ThinkingBlock | RedactedThinkingBlock) -> dict[str, str] | None:
    """A remembered block as Claude takes it back; None where it did not sign it."""
    if isinstance(block, RedactedThinkingBlock):
        data = signed.for_claude(block.data)
        return None if data is None else {"type": "redacted_thinking", "data": data}
    signature = signed.for_claude(block.signature or "")
    if signature is None:
        return None
    return {"type": "thinking", "thinking": block.thinking, "signature": signature}
