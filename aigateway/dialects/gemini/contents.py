"""Messages -> Gemini's ``contents``: turns that alternate, calls answered in their order.

Gemini wants the answers to a turn's calls directly after it, all together, in the same
number and order; ``Contents`` sees to that, whatever the client's messages look like.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ...errors import MalformedRequest
from ...events import (
    AudioBlock,
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
from . import signatures

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""Accepted by Gemini 3 in place of a signature that is lost (history of another model)."""

UNNUMBERED = "messages"
"""The place of whatever stands in the messages of a client whose numbers are not ours."""

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

    def __init__(self, model: str, *, antigravity: bool) -> None:
        self._claude = model.startswith("claude-")
        self._generation = generation(model)
        self._antigravity = antigravity
        self._contents: list[dict[str, Any]] = []
        self._role = ""
        self._parts: list[Part] = []  # of the turn that is being read
        self._calls: list[str] = []  # the ids of the model's last turn
        self._names: dict[str, str] = {}  # by id
        self._results: dict[str, list[Part]] = {}
        self.dropped: dict[str, None] = {}

    def add(self, message: Message, path: str) -> None:
        """Read one message; ``path`` is its place in the request, for errors: `UNNUMBERED`
        where the client counts its messages otherwise."""
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
                self._add_call(block, previous, place)
            else:
                self._parts += self._media(block, place)

    def _add_thought(self, block: ThinkingBlock, following: RequestBlock | None) -> None:
        called = isinstance(following, ToolUseBlock)
        signature = self._signature(block.signature)
        if signature is None or not (block.thinking or called):
            self.dropped["thinking"] = None  # unsigned, or its signature belongs to nothing
        elif block.thinking:
            part: Part = {"text": block.thinking, "thought": True}
            if self._claude or not called:
                part["thoughtSignature"] = signature
            self._parts.append(part)

    def _add_call(self, block: ToolUseBlock, previous: RequestBlock | None, place: str) -> None:
        id = self._id(block.id)
        part: Part = {
            "functionCall": {
                "id": id,
                "name": tool_name(block.name, place, antigravity=self._antigravity),
                "args": _arguments(block.input),
            }
        }
        signature = block.signature
        # Gemini signs the call, not the thought; events carry that in the block before it.
        if (
            signature is None
            and isinstance(previous, ThinkingBlock)
            and not (self._claude and previous.thinking)
        ):
            signature = previous.signature
        if (signature := self._signature(signature)) is not None:
            part["thoughtSignature"] = signature
        self._parts.append(part)
        self._calls.append(id)
        self._names[id] = block.name

    def _signature(self, signature: str | None) -> str | None:
        """``signature`` as this model takes it back; None, and a note, for another family's."""
        if not signature:
            return None
        own = (signatures.for_claude if self._claude else signatures.for_gemini)(signature)
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
                return [self._file(block, block.media_type or "application/pdf", place)]
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
    return place if place == UNNUMBERED else f"{place}.content[{index}]"


def tool_name(name: str, place: str, *, antigravity: bool) -> str:
    """``name``, where Gemini takes it as a function's name. Raises `MalformedRequest`."""
    longest = 64 if antigravity else 128
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise MalformedRequest(
            f"{place}: the provider takes no tool named {name[:200]!r}: begin with a letter or _, go on with"
            f" letters, digits, _ . : or -, at most {longest}",
            param=place,
        )
    return name


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
