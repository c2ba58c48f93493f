"""The turns of a `ChatRequest` as Chat Completions messages.

Where Claude's blocks and OpenAI's messages differ: results of calls are messages of their own and
follow the calls at once, all of which stand in one message; a result holds text only, so its images
and files follow in a user message; thinking is a field, where the server takes it back at all. What some
servers want of a conversation besides is in `history`.
Leaves to `render` all but the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeAlias

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
from .. import fields, free_text
from ..names import Names
from .families import Family
from .history import LOST, OK, call_id, said_later, thinking_before
from .servers import Profile

Turn: TypeAlias = list[tuple[Message, str]]
"""Messages that follow each other, each with its place in the client's body."""

# What the report calls a block that has no place.
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
    """Builds ``messages``, turn by turn; gives ``note`` the types of blocks that have no place.

    ``names`` are the tools' as the server takes them; ``custom`` the clients' names of those that go
    as tools of free text. Raises `MalformedRequest` for a block that must not be left out and cannot
    be sent.
    """

    def __init__(
        self,
        chat: ChatRequest,
        profile: Profile,
        family: Family,
        names: Names,
        custom: Collection[str],
        note: Callable[[str], None],
    ) -> None:
        self.messages: list[dict[str, object]] = []
        self.prefilled = False  # the last message begins the answer
        self.moved = False  # the user says what the system said
        self._chat = chat
        self._profile = profile
        self._family = family
        self._names = names
        self._custom = custom
        self._note = note
        self._takes_thinking = profile.reasoning_content and family.reasoning_content

    def instruct(self, texts: Iterable[str]) -> None:
        """A system message, in the role that the model knows for it."""
        if content := "\n\n".join(text for text in texts if text):
            role: str = self._family.system_role
            if role == "developer" and not self._profile.developer_role:
                role = "system"
            self.messages.append({"role": role, "content": content})

    def _instruct_later(self, texts: list[str]) -> None:
        """A system message in mid-conversation."""
        begun = any(message["role"] not in ("system", "developer") for message in self.messages)
        if not (begun and self._profile.turns_alternate):
            self.instruct(texts)
        elif content := "\n\n".join(text for text in texts if text):
            self._ask(said_later(content))
            self.moved = True

    def converse(self) -> None:
        """All turns: what the assistant says in a run of messages is one message, so that all of
        its calls stand before all of their results (OpenAI answers 400 otherwise)."""
        for said, answered in _exchanges(self._chat):
            self._assistant(said)
            self._user(answered)
        if self._profile.turns_alternate and self.messages:
            last = self.messages[-1]
            if last["role"] == "assistant" and "tool_calls" not in last:
                last["prefix"] = self.prefilled = True

    def _ask(self, content: object) -> None:
        """A user's message."""
        if self._profile.turns_alternate and self.messages and self.messages[-1]["role"] == "tool":
            self.messages.append(OK)
        self.messages.append({"role": "user", "content": content})

    def _user(self, turn: Turn) -> None:
        """The results first, then what the user and the system say, in their order."""
        media: list[dict[str, object]] = []
        for message, place in turn:
            for block in message.content:
                if isinstance(block, ToolResultBlock) and message.role == "user":
                    self._result(block, place, media)
        if media:
            self._ask(media)
        for message, place in turn:
            if message.role == "system":
                self._instruct_later(self._texts(message.content))
                continue
            rest = [block for block in message.content if not isinstance(block, ToolResultBlock)]
            parts = self._parts(rest, place)
            if parts or not message.content:
                self._ask(self._content(parts))

    def _result(self, block: ToolResultBlock, place: str, media: list[dict[str, object]]) -> None:
        """The tool message. What is not text goes to ``media``, with a pointer on both sides
        (OpenAI answers 400 to an image in a tool message)."""
        texts = []
        for part in self._parts(block.content, place):
            if part["type"] == "text":
                texts.append(str(part["text"]))
            else:
                label = f"attachment {len(media) // 2 + 1}"
                texts.append(f"See {label} below.")
                media += ({"type": "text", "text": f"This is {label}:"}, part)
        content = "\n\n".join(texts)
        if block.is_error and not content.lower().startswith("error"):
            content = f"Error: {content}" if content else "Error"
        self.messages.append(
            {"role": "tool", "tool_call_id": self._id(block.tool_use_id), "content": content}
        )

    def _id(self, id: str) -> str:
        return call_id(id) if self._profile.nine_letter_ids else id

    def _call(self, block: ToolUseBlock) -> dict[str, object]:
        name = self._names.of(block.name)
        if block.name in self._custom:
            custom = {"name": name, "input": free_text.text_of(block.input)}
            return {"id": self._id(block.id), "type": "custom", "custom": custom}
        function = {"name": name, "arguments": block.input}
        return {"id": self._id(block.id), "type": "function", "function": function}

    def _assistant(self, turn: Turn) -> None:
        contents: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, object]] = []
        called: list[ToolUseBlock] = []
        for message, place in turn:
            texts, thinking = [], []
            for block in message.content:
                match block:
                    case TextBlock(text):
                        texts.append(text)
                    case ToolUseBlock():
                        calls.append(self._call(block))
                        called.append(block)
                    case ThinkingBlock(text) if self._takes_thinking:
                        thinking.append(text)
                    case ThinkingBlock(""):
                        pass  # a signature alone means nothing to any but its maker
                    case _:
                        self._leave_out(block, place)
            contents.append("".join(texts))
            thoughts.append("".join(thinking))
        content = "\n\n".join(filter(None, contents))
        reasoning = "\n\n".join(filter(None, thoughts))
        if called and not reasoning and self._takes_thinking:
            reasoning = thinking_before(self._chat, called)
            if not reasoning and self._profile.wants_thinking and self._family.thinks:
                reasoning = LOST
        if content or calls:
            said: dict[str, object] = {
                "role": "assistant",
                "content": content or (None if self._profile.null_content else ""),
            }
            if reasoning:
                said["reasoning_content"] = reasoning
            if calls:
                said["tool_calls"] = calls
            self.messages.append(said)
        elif reasoning:
            self._note("thinking")  # there is no message that it could stand in

    def _texts(self, content: Iterable[RequestBlock]) -> list[str]:
        texts = []
        for block in content:
            if isinstance(block, TextBlock):
                texts.append(block.text)
            else:
                self._leave_out(block, fields.spelling(self._chat.dialect, "messages"))
        return texts

    def _content(self, parts: list[dict[str, object]]) -> object:
        """``parts`` as content: a string where they are text, which every server takes."""
        if all(part["type"] == "text" for part in parts):
            return "\n\n".join(str(part["text"]) for part in parts)
        return parts

    def _parts(self, blocks: Iterable[RequestBlock], place: str) -> list[dict[str, object]]:
        parts = []
        for block in blocks:
            match block:
                case TextBlock(text):
                    if text:
                        parts.append(_text(text))
                case ImageBlock():
                    self._require(self._profile.images and self._profile.list_content, place, "images")
                    url = block.url or f"data:{block.media_type};base64,{block.data}"
                    parts.append({"type": "image_url", "image_url": {"url": url}})
                case DocumentBlock():
                    parts.append(self._document(block, place))
                case AudioBlock(data, format):
                    self._require(self._profile.audio and self._profile.list_content, place, "audio")
                    parts.append({"type": "input_audio", "input_audio": {"data": data, "format": format}})
                case _:
                    self._leave_out(block, place)
        return parts

    def _document(self, block: DocumentBlock, place: str) -> dict[str, object]:
        if block.text is not None:
            return _text(f"{block.title}\n\n{block.text}" if block.title else block.text)
        self._require(self._profile.files and self._profile.list_content, place, "documents other than text")
        if block.data is None:
            raise MalformedRequest(
                f"{place}: this provider takes no document by its URL (source.url); send it as base64",
                param=f"{place}.source.url" if "[" in place else place,
            )
        file = {
            "filename": block.title or "document.pdf",
            "file_data": f"data:{block.media_type};base64,{block.data}",
        }
        return {"type": "file", "file": file}

    def _require(self, taken: bool, place: str, what: str) -> None:
        if not taken:
            raise MalformedRequest(
                f"{place}: this provider takes no {what}; leave it out or send it as text", param=place
            )

    def _leave_out(self, block: RequestBlock, place: str) -> None:
        type = block.type if isinstance(block, OtherBlock) else _TYPES[block.__class__]
        if type.endswith(".file_id"):
            # The file is in a store that only the client's own provider can read.
            raise MalformedRequest(
                f"{place}: a {type.partition('.')[0]} by its file_id cannot go to this provider; "
                "send its data as base64",
                param=place,
            )
        self._note(type)


def _exchanges(chat: ChatRequest) -> Iterator[tuple[Turn, Turn]]:
    """What the assistant says in a run of messages, and all that the others say after it.

    What the system says between calls and their results does not end the run: it waits until
    the results are out.
    """
    said: Turn = []
    answered: Turn = []
    called = heard = False
    for index, message in enumerate(chat.messages):
        place = fields.message_place(chat, index)
        if message.role != "assistant":
            answered.append((message, place))
            heard = heard or message.role == "user"
            continue
        if heard or (answered and not called):
            yield said, answered
            said, answered = [], []
            called = heard = False
        said.append((message, place))
        called = called or any(isinstance(block, ToolUseBlock) for block in message.content)
    yield said, answered


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}
