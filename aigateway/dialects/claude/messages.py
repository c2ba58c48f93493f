"""The turns of a `ChatRequest` as Claude's messages.

Claude wants turns that alternate and begin with the user's; calls with ids of a certain form, each
answered once, at the beginning of the next message; texts that are not blank; and its own thinking
back unchanged, nobody else's. Leaves to `render` all but the messages.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from ...errors import MalformedRequest
from ...events import (
    AudioBlock,
    ChatRequest,
    DocumentBlock,
    ImageBlock,
    Message,
    OtherBlock,
    RedactedThinkingBlock,
    RequestBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from ...signatures import thought_before
from .. import fields, signed
from ..names import Names
from .families import Family

PLACEHOLDER = "."
"""The user's turn where there is none: messages must begin with one."""
GO_ON = "Continue."
"""The user's turn behind a last one of the assistant's, for models that refuse to go on from it."""
UNANSWERED = "the call was not answered"

THINKING = ("thinking", "redacted_thinking")

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_NOT_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")
# What the report calls a block that has no place, or none where it stands.
_TYPES: dict[type, str] = {
    ImageBlock: "image",
    DocumentBlock: "document",
    AudioBlock: "input_audio",
    ThinkingBlock: "thinking",
    RedactedThinkingBlock: "redacted_thinking",
    ToolUseBlock: "tool_use",
    ToolResultBlock: "tool_result",
}


class Conversation:
    """Builds ``messages``; gives ``drop`` the names of what has no place in them, ``emulate`` of what
    is brought about otherwise.

    Raises `MalformedRequest` for a block that must not be left out and cannot be sent.
    """

    def __init__(
        self, family: Family, names: Names, drop: Callable[[str], None], emulate: Callable[[str], None]
    ) -> None:
        self.messages: list[dict[str, object]] = []
        self._family = family
        self._names = names
        self._drop = drop
        self._emulate = emulate
        self._role = ""
        self._blocks: list[dict[str, object]] = []  # of the turn that is being read
        self._thought = False  # it holds thinking since its last call
        self._calls: dict[str, list[str]] = {}  # of the assistant's last turn: the client's id -> ours
        self._ids: list[str] = []  # ours, in their order
        self._answers: dict[str, dict[str, object]] = {}
        self._used: set[str] = set()
        self._waiting: list[dict[str, object]] = []  # what the system says before the answers are out

    def converse(self, chat: ChatRequest) -> None:
        """All turns of ``chat``."""
        for index, message in enumerate(chat.messages):
            place = fields.message_place(chat, index)
            if message.role == "system":
                self._instruct(message, place)
                continue
            if message.role != self._role:
                self._close()
                self._role = message.role
            if message.role == "assistant":
                self._say(message, chat, place)
            else:
                self._hear(message, place)
        self._close()
        if self._calls or self._waiting:
            self._role = "user"
            self._close()
        messages = self.messages
        if not messages or messages[0]["role"] != "user":
            messages.insert(0, {"role": "user", "content": [_text(PLACEHOLDER)]})
        if messages[-1]["role"] == "assistant":
            self._last_word(messages[-1])

    def may_think(self) -> bool:
        """Whether the turns allow a budget for thinking."""
        return not self._family.signed or may_think(
            [(str(turn["role"]), [str(block["type"]) for block in _blocks(turn)]) for turn in self.messages]
        )

    def _last_word(self, message: dict[str, object]) -> None:
        """A last message of the assistant's, from which older models go on. They refuse one that
        ends in a blank."""
        last = _blocks(message)[-1]
        if not self._family.prefill:
            self.messages.append({"role": "user", "content": [_text(GO_ON)]})
            self._emulate("messages")
        elif last["type"] == "text":
            last["text"] = str(last["text"]).rstrip()

    def _close(self) -> None:
        """The turn that was being read is whole."""
        blocks, self._blocks, self._thought = self._blocks, [], False
        if self._role == "user":
            answers = [self._answers.get(id) or _unanswered(id) for id in self._ids]
            blocks = answers + blocks
            self._calls, self._ids, self._answers = {}, [], {}
        elif self._role == "assistant" and not blocks:
            return  # of what it said nothing could be sent: the turns around it are one
        if blocks:
            self._append(self._role, blocks)
        for content in self._waiting:
            self.messages.append(content)
        self._waiting = []

    def _append(self, role: str, blocks: list[dict[str, object]]) -> None:
        if self.messages and self.messages[-1]["role"] == role:
            _blocks(self.messages[-1]).extend(blocks)
        else:
            self.messages.append({"role": role, "content": blocks})

    # --------------------------------------------------------------- the system

    def _instruct(self, message: Message, place: str) -> None:
        """What the system says between the turns: a message of its own for models that heed it,
        behind the user's turn at hand; for others words in the user's."""
        texts = []
        for block in message.content:
            if isinstance(block, TextBlock):
                texts.append(block)
            else:
                self._leave_out(block, place)
        told = [_cached(_text(text.text), text.cache_control) for text in texts if text.text.strip()]
        if not told:
            return
        if self._role != "user":
            self._close()
            self._role = "user"
        if self._family.later_system and (self._blocks or self._calls):
            self._waiting.append({"role": "system", "content": told})
        else:
            for words in told:
                words["text"] = f"<system>\n{words['text']}\n</system>"
            self._blocks += told

    # ---------------------------------------------------------- the user's turn

    def _hear(self, message: Message, place: str) -> None:
        for block in message.content:
            if isinstance(block, ToolResultBlock):
                self._answer(block, place)
            else:
                self._blocks += self._media(block, place)

    def _answer(self, block: ToolResultBlock, place: str) -> None:
        """The answer to a call; of several to one call Claude takes only one: the last counts. Where
        calls share an id, they are answered in turn."""
        calls = self._calls.get(block.tool_use_id)
        if calls is None:
            raise MalformedRequest(
                f"{place} answers the tool call {block.tool_use_id!r}, which the message before it does not"
                " make: put each tool result directly behind its call",
                param=place,
            )
        id = next((call for call in calls if call not in self._answers), calls[-1])
        result: dict[str, object] = {"type": "tool_result", "tool_use_id": id}
        if content := [part for one in block.content for part in self._media(one, place)]:
            result["content"] = content
        if block.is_error:
            result["is_error"] = True
        self._answers[id] = _cached(result, block.cache_control)

    def _media(self, block: RequestBlock, place: str) -> list[dict[str, object]]:
        match block:
            case TextBlock():
                return [_cached(_text(block.text), block.cache_control)] if block.text.strip() else []
            case ImageBlock():
                return [_cached(_image(block, place), block.cache_control)]
            case DocumentBlock():
                return [_cached(_document(block, place), block.cache_control)]
            case AudioBlock():
                raise MalformedRequest(
                    f"{place}: this provider takes no audio; leave it out or send it as text", param=place
                )
            case _:
                self._leave_out(block, place)
        return []

    # ----------------------------------------------------- the assistant's turn

    def _say(self, message: Message, chat: ChatRequest, place: str) -> None:
        for block in message.content:
            match block:
                case TextBlock():
                    self._blocks += self._media(block, place)
                case ThinkingBlock() | RedactedThinkingBlock():
                    blocks = self._thinking((block,), chat.foreign)
                    self._thought = self._thought or bool(blocks)
                    self._blocks += blocks
                case ToolUseBlock():
                    known = thought_before(block, chat.thoughts)
                    if known is not None and not self._thought:
                        # What preceded the first call of a step stood at the step's beginning.
                        at = len(self._blocks) if self._ids else 0
                        self._blocks[at:at] = self._thinking(known.blocks)
                    self._thought = False
                    self._call(block)
                case _:
                    self._leave_out(block, place)

    def _thinking(
        self, blocks: Iterable[ThinkingBlock | RedactedThinkingBlock], foreign: Collection[str] = ()
    ) -> list[dict[str, object]]:
        """What Claude takes back of these: its own alone, which is signed, and by none of ``foreign``."""
        kept: list[dict[str, object]] = []
        for block in blocks:
            if isinstance(block, RedactedThinkingBlock):
                data = signed.for_claude(block.data) if block.data not in foreign else None
                if self._family.signed and data is not None:
                    kept.append({"type": "redacted_thinking", "data": data})
                else:
                    self._drop("redacted_thinking")
            elif not self._family.signed:
                if block.thinking:
                    kept.append({"type": "thinking", "thinking": block.thinking, "signature": ""})
            elif (
                block.signature not in foreign
                and (signature := signed.for_claude(block.signature or "")) is not None
            ):
                kept.append({"type": "thinking", "thinking": block.thinking, "signature": signature})
            elif block.thinking:
                self._drop("thinking")
        return kept

    def _call(self, block: ToolUseBlock) -> None:
        id = _NOT_IN_ID.sub("_", block.id) or "call"
        number = 1
        while id in self._used:  # some servers begin anew at call_0 in each turn
            number += 1
            id = f"{_NOT_IN_ID.sub('_', block.id) or 'call'}_{number}"
        self._used.add(id)
        self._calls.setdefault(block.id, []).append(id)
        self._ids.append(id)
        call: dict[str, object] = {
            "type": "tool_use",
            "id": id,
            "name": self._names.of(block.name),
            "input": _input(block.input),
        }
        self._blocks.append(_cached(call, block.cache_control))

    def _leave_out(self, block: RequestBlock, place: str) -> None:
        type = block.type if isinstance(block, OtherBlock) else _TYPES[block.__class__]
        if type.endswith(".file_id"):
            # The file is in a store that only the client's own provider can read.
            raise MalformedRequest(
                f"{place}: a {type.partition('.')[0]} by its file_id cannot go to this provider; "
                "send its data as base64",
                param=place,
            )
        self._drop(type)


def may_think(turns: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether a budget for thinking may be set: the turn at hand, if it has called tools, must have
    begun with thinking ("Extended thinking": a mode holds for a whole turn, its tool loop included).
    ``turns`` are roles, with the types of their blocks."""
    first = ""
    called = False
    for role, types in reversed(turns):
        if role == "assistant" and types:
            first = types[0]
            called = called or "tool_use" in types
        elif role == "user" and "tool_result" not in types:
            break
    return not called or first in THINKING


def _blocks(message: dict[str, object]) -> list[dict[str, object]]:
    content = message["content"]
    assert isinstance(content, list)
    return content


def _cached(block: dict[str, object], cache_control: dict[str, object] | None) -> dict[str, object]:
    if cache_control is not None:
        block["cache_control"] = cache_control
    return block


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def _unanswered(id: str) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": id, "content": UNANSWERED, "is_error": True}


def _url(url: str, place: str) -> dict[str, object]:
    if not url.lower().startswith(("https://", "http://")):
        raise MalformedRequest(
            f"{place}: this provider takes http and https URLs alone; send the data as base64", param=place
        )
    return {"type": "url", "url": url}


def _image(block: ImageBlock, place: str) -> dict[str, object]:
    if block.url is not None:
        return {"type": "image", "source": _url(block.url, place)}
    if block.media_type not in _IMAGES:
        raise MalformedRequest(
            f"{place}: this provider takes images of the types {', '.join(_IMAGES)} alone", param=place
        )
    return {"type": "image", "source": _base64(block.media_type, block.data)}


def _document(block: DocumentBlock, place: str) -> dict[str, object]:
    media_type = block.media_type or "application/pdf"
    if block.text is not None:
        source: dict[str, object] = {"type": "text", "media_type": "text/plain", "data": block.text}
    elif block.url is not None:
        source = _url(block.url, place)
    elif media_type == "application/pdf":
        source = _base64(media_type, block.data)
    elif media_type.startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(block.data or "", place)}
    else:
        raise MalformedRequest(
            f"{place}: this provider takes documents of the types application/pdf and text/plain alone",
            param=place,
        )
    document: dict[str, object] = {"type": "document", "source": source}
    if block.title:
        document["title"] = block.title
    return document


def _base64(media_type: str, data: str | None) -> dict[str, object]:
    return {"type": "base64", "media_type": media_type, "data": data or ""}


def _decoded(data: str, place: str) -> str:
    try:
        return b64decode(data, validate=True).decode("utf-8")
    except ValueError:
        raise MalformedRequest(f"{place}: a text document is not UTF-8 in base64", param=place) from None


def _input(text: str) -> msgspec.Raw | dict[str, object]:
    """A call's input as it came; in an object of its own where it is none."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {"_raw": text}
    return msgspec.Raw((text or "{}").encode()) if isinstance(value, dict) else {"value": value}
