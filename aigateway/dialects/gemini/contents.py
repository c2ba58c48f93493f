"""Messages -> Gemini's ``contents``: turns that alternate, calls answered in their order.

Gemini wants the answers to a turn's calls directly after it, all together, in the same
number and order; ``Contents`` sees to that, whatever the client's messages look like. It also
wants back what it signed; where a client left that out, it is what the gateway remembers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

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
    Thought,
    ToolResultBlock,
    ToolUseBlock,
)
from ...signatures import text_key, thought_before
from .. import signed
from ..names import Names

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""Accepted by Gemini 3 in place of a signature that is lost (history of another model)."""

PLACEHOLDER = "."
"""The user's turn where there is none: contents must begin with one."""

UNANSWERED = "the call was not answered"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")
_NOT_CLAUDE_ID = re.compile(r"[^A-Za-z0-9_-]")
# What functionResponse.parts may hold, from Gemini 3 on.
_RESULT_MEDIA = {"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"}
# Blocks that have no place, or none where they stand.
_KINDS: dict[type, str] = {
    ImageBlock: "image",
    DocumentBlock: "document",
    AudioBlock: "input_audio",
    ThinkingBlock: "thinking",
    RedactedThinkingBlock: "redacted_thinking",
    ToolUseBlock: "tool_use",
    ToolResultBlock: "tool_result",
}
_FETCHED_HOSTS = {"www.youtube.com", "youtube.com", "youtu.be"}
_FILES_API = ("generativelanguage.googleapis.com", "/v1beta/files/")

Part = dict[str, Any]


def generation(model: str) -> int | None:
    """Gemini's generation: 3 for ``gemini-3.1-pro``; the newest for a name without a
    number; None for a model that is no Gemini."""
    if (match := re.match(r"gemini-(\d{1,3})", model)) is not None:
        return int(match[1])
    return 3 if model.startswith("gemini-") else None


class Contents:
    """Takes messages one by one; ``finished`` is what they come to.

    ``dropped`` collects, in order, the kinds of blocks that have no place here.
    """

    def __init__(
        self,
        model: str,
        names: Names,
        *,
        antigravity: bool,
        thoughts: Mapping[str, Thought] | None = None,
        foreign: Collection[str] = (),
    ) -> None:
        self._tool_names = names
        self._claude = model.startswith("claude-")
        self._generation = generation(model)
        self._antigravity = antigravity
        self._thoughts = thoughts or {}
        self._foreign = foreign
        self._contents: list[dict[str, Any]] = []
        self._role = ""
        self._parts: list[Part] = []  # of the turn that is being read
        self._unsigned = False  # it holds thinking without a signature, and nothing in its place
        self._calls: list[str] = []  # the ids of the model's last turn
        self._names: dict[str, str] = {}  # by id
        self._results: dict[str, list[Part]] = {}
        self.dropped: dict[str, None] = {}

    def add(self, message: Message, path: str) -> None:
        """Read one message; ``path`` is its place in the request, for errors."""
        role = "model" if message.role == "assistant" else "user"
        if role != self._role:
            self._close()
            self._role = role
        if role == "model":
            self._add_answer(message.content, path)
            return
        for index, block in enumerate(message.content):
            place = _inside(path, index)
            if isinstance(block, ToolResultBlock):
                self._add_result(block, place)
            else:
                self._parts += self._media(block, place)

    def add_text(self, text: str) -> None:
        """Add a text to the user's turn."""
        self.add(Message("user", (TextBlock(text),)), "")

    def finished(self) -> list[dict[str, Any]]:
        self._close()
        if self._calls:
            self._role = "user"
            self._close()
        contents = self._contents
        if contents and contents[0]["role"] == "model":
            contents.insert(0, {"role": "user", "parts": [{"text": PLACEHOLDER}]})
        if self._generation is not None and self._generation >= 3:
            for parts in self._steps():
                first = next(part for part in parts if "functionCall" in part)
                first.setdefault("thoughtSignature", SKIP_SIGNATURE)
        return contents

    def may_think(self) -> bool:
        """Whether thinking may be on: Claude refuses it while the calls since the user last
        spoke do not begin with a signed thought."""
        steps = self._steps()
        return not self._claude or not steps or "thought" in steps[0][0]

    def _steps(self) -> list[list[Part]]:
        """The parts of each model turn with calls, since the user last spoke."""
        steps = []
        for content in reversed(self._contents):
            parts = content["parts"]
            if content["role"] == "model":
                if any("functionCall" in part for part in parts):
                    steps.append(parts)
            elif not any("functionResponse" in part for part in parts):
                break
        return steps[::-1]

    def _close(self) -> None:
        """The turn that was being read is whole."""
        parts, self._parts = self._parts, []
        if self._unsigned:
            self.dropped["thinking"] = None
            self._unsigned = False
        if self._role == "user" and self._calls:
            answers: list[Part] = []
            beside: list[Part] = []
            for id in self._calls:
                answer, *media = self._results.get(id) or [
                    _response(id, self._names[id], {"error": UNANSWERED})
                ]
                answers.append(answer)
                beside += media
            parts = answers + beside + parts
            self._calls, self._names, self._results = [], {}, {}
        if not parts:
            return
        if self._contents and self._contents[-1]["role"] == self._role:
            self._contents[-1]["parts"] += parts
        else:
            self._contents.append({"role": self._role, "parts": parts})

    # ------------------------------------------------------- the model's turn

    def _add_answer(self, blocks: tuple[RequestBlock, ...], path: str) -> None:
        for index, block in enumerate(blocks):
            following = blocks[index + 1] if index + 1 < len(blocks) else None
            place = _inside(path, index)
            if isinstance(block, ThinkingBlock):
                self._add_thought(block, following)
            elif isinstance(block, ToolUseBlock):
                previous = blocks[index - 1] if index else None
                self._add_call(block, previous)
            elif isinstance(block, TextBlock):
                self._add_answer_text(block)
            else:
                self._parts += self._media(block, place)

    def _add_thought(self, block: ThinkingBlock, following: RequestBlock | None) -> None:
        called = isinstance(following, ToolUseBlock)
        if not block.signature:
            self._unsigned = True
            return
        signature = self._signature(block.signature)
        if signature is None or not (block.thinking or called):
            self.dropped["thinking"] = None  # another family's, or its signature belongs to nothing
        elif block.thinking:
            part: Part = {"text": block.thinking, "thought": True}
            if self._claude or not called:
                part["thoughtSignature"] = signature
            self._parts.append(part)

    def _add_answer_text(self, block: TextBlock) -> None:
        if not block.text:
            return
        part: Part = {"text": block.text}
        if block.signature:
            signature = self._signature(block.signature)
        else:
            thought = self._thoughts.get(text_key(block.text)) if self._thoughts else None
            signature = self._remembered_signature(thought)
        if signature is not None and not self._claude:  # which signs no text
            part["thoughtSignature"] = signature
        self._parts.append(part)

    def _add_call(self, block: ToolUseBlock, previous: RequestBlock | None) -> None:
        id = self._id(block.id)
        part: Part = {
            "functionCall": {
                "id": id,
                "name": self._tool_names.of(block.name),
                "args": _arguments(block.input),
            }
        }
        given = block.signature
        # Gemini signs the call, not the thought; events carry that in the block before it.
        if given is None and isinstance(previous, ThinkingBlock) and not (self._claude and previous.thinking):
            given = previous.signature
        signature = self._signature(given)
        if signature is None and (thought := thought_before(block, self._thoughts)) is not None:
            signature = self._restore(thought)
        if signature is not None:
            part["thoughtSignature"] = signature
        self._parts.append(part)
        self._calls.append(id)
        self._names[id] = self._tool_names.of(block.name)

    def _restore(self, thought: Thought) -> str | None:
        """Put back what the client left out before a call; the signature of the call itself.

        Claude's thoughts stand where the step begins, before the text that came with the call.
        """
        if not self._claude:
            self._unsigned = False
            return self._remembered_signature(thought)
        step = max((place for place, part in enumerate(self._parts, 1) if "functionCall" in part), default=0)
        if any("thought" in part for part in self._parts[step:]):
            return None
        thoughts: list[Part] = [
            {"text": block.thinking, "thought": True, "thoughtSignature": signature}
            for block in thought.blocks
            if isinstance(block, ThinkingBlock)
            and block.thinking  # redacted ones have no place here
            and (signature := self._signature(block.signature)) is not None
        ]
        self._parts[step:step] = thoughts
        if thoughts:
            self._unsigned = False
            return None
        return self._remembered_signature(thought)

    def _remembered_signature(self, thought: Thought | None) -> str | None:
        """The signature of what follows ``thought``."""
        last = thought.blocks[-1] if thought is not None and thought.blocks else None
        return self._signature(last.signature) if isinstance(last, ThinkingBlock) else None

    def _signature(self, signature: str | None) -> str | None:
        """``signature`` as this model takes it back; None, and a note, for another issuer's."""
        if not signature:
            return None
        own = None
        if signature not in self._foreign:
            own = (signed.for_antigravity_claude if self._claude else signed.for_gemini)(signature)
        if own is None:
            self.dropped["thinking"] = None
        return own

    def _id(self, id: str) -> str:
        return _NOT_CLAUDE_ID.sub("_", id) if self._claude else id

    # -------------------------------------------------------- the user's turn

    def _add_result(self, block: ToolResultBlock, place: str) -> None:
        id = self._id(block.tool_use_id)
        name = self._names.get(id)
        if name is None:
            raise MalformedRequest(
                f"{place} answers the tool call {block.tool_use_id!r}, which the message before it does not"
                " make: put each tool result directly behind its call",
                param=place,
            )
        texts: list[str] = []
        inside: list[Part] = []
        beside: list[Part] = []
        for index, content in enumerate(block.content):
            for part in self._media(content, _inside(place, index)):
                if "text" in part:
                    texts.append(part["text"])
                elif self._fits_result(part):
                    inside.append(part)
                else:
                    beside.append(part)
        answer = _response(id, name, {"error" if block.is_error else "output": "\n".join(texts)})
        if inside:
            answer["functionResponse"]["parts"] = inside
        self._results[id] = [answer, *beside]

    def _fits_result(self, part: Part) -> bool:
        if self._generation is None or self._generation < 3:
            return False
        media = part.get("inlineData") or part["fileData"]
        return media.get("mimeType") in _RESULT_MEDIA

    def _media(self, block: RequestBlock, place: str) -> list[Part]:
        """The parts for a block that either side may send; empty texts are refused."""
        match block:
            case TextBlock():
                return [{"text": block.text}] if block.text else []
            case ImageBlock():
                return [self._file(block, block.media_type or "image/png", place)]
            case DocumentBlock() if block.text is not None:
                text = f"{block.title}\n\n{block.text}" if block.title else block.text
                return [{"text": text}] if text else []
            case DocumentBlock():
                file = self._file(block, block.media_type or "application/pdf", place)
                return [{"text": block.title}, file] if block.title else [file]
            case AudioBlock():
                return [{"inlineData": {"mimeType": f"audio/{block.format}", "data": block.data}}]
            case _:
                self.leave_out(block, place)
        return []

    def leave_out(self, block: RequestBlock, place: str) -> None:
        """Note that ``block`` has no place. Raises `MalformedRequest` for a file, which is in a
        store that only the client's own provider can read."""
        kind = block.type if isinstance(block, OtherBlock) else _KINDS[type(block)]
        if kind.endswith(".file_id"):
            raise MalformedRequest(
                f"{place}: a {kind.partition('.')[0]} by its file_id cannot go to this provider; "
                "send its data as base64",
                param=place,
            )
        self.dropped[kind] = None

    def _file(self, block: ImageBlock | DocumentBlock, media_type: str, place: str) -> Part:
        if block.data is not None:
            return {"inlineData": {"mimeType": media_type, "data": block.data}}
        if block.url is None or self._antigravity or not _is_fetched(block.url):
            raise MalformedRequest(
                f"{place} is a URL that the provider does not fetch: send it as base64", param=place
            )
        file = {"fileUri": block.url}
        if block.media_type is not None:
            file["mimeType"] = block.media_type
        return {"fileData": file}


def _inside(place: str, index: int) -> str:
    return place if "[" not in place else f"{place}.content[{index}]"


def tool_names(chat: ChatRequest, *, antigravity: bool) -> Names:
    """The tools' names as Gemini takes them (FunctionDeclaration.name in its reference); Code Assist
    takes no more than Claude does."""
    return Names(chat, _NAME, 64 if antigravity else 128)


def _is_fetched(url: str) -> bool:
    """Whether Gemini itself reads ``url``: Cloud Storage, YouTube, or its own Files API."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme == "gs":
        return True
    host, path = _FILES_API
    return parts.scheme == "https" and (
        parts.netloc in _FETCHED_HOSTS or (parts.netloc == host and parts.path.startswith(path))
    )


def _response(id: str, name: str, response: dict[str, str]) -> Part:
    return {"functionResponse": {"id": id, "name": name, "response": response}}


def _arguments(text: str) -> msgspec.Raw | dict[str, object]:
    """A call's input as it came; in an object of its own where it is none."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {"_raw": text}
    return msgspec.Raw((text or "{}").encode()) if isinstance(value, dict) else {"value": value}
