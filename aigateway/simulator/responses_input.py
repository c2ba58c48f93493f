"""Reading a request to OpenAI's Responses, and keeping what later ones continue.

Pure. Only what decides an answer is read; the items of the history stay as they came. The
answer's form is in `responses`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain

import msgspec

from .answers import Image, OfferedTool, Prompt, tokens
from .chat_completions import IMAGE_TOKENS
from .wire import data_url_image

Item = dict[str, object]

CALLS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}
"""Each kind of result, and the kind of call that it answers."""

_SPOKEN = frozenset({"reasoning", *CALLS.values()})


class _Format(msgspec.Struct):
    type: str = "text"
    schema: dict[str, object] | None = None


class _Text(msgspec.Struct):
    format: _Format | None = None


class _Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class Tool(msgspec.Struct):
    """A tool as offered, or a namespace of some, and the one that ``tool_choice`` may name."""

    type: str
    name: str | None = None
    parameters: dict[str, object] | None = None
    tools: list[Tool] | None = None


class Body(msgspec.Struct):
    model: str | None = None
    input: str | list[Item] | None = None
    instructions: str | None = None
    stream: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Tool | None = None
    max_output_tokens: int | None = None
    reasoning: _Reasoning | None = None
    text: _Text | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    include: list[str] | None = None

    @property
    def items(self) -> list[Item]:
        """The new input; a text alone is a message of the user's."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": self.input}]
        return self.input or []

    @property
    def thinks(self) -> bool:
        return self.reasoning is not None and self.reasoning.effort not in (None, "none", "minimal")


class Conversations:
    """The items of each answer given and of all before it, by the answer's id: the last
    ``limit`` of them."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._items: OrderedDict[str, tuple[Item, ...]] = OrderedDict()

    def keep(self, id_: str, items: tuple[Item, ...]) -> None:
        self._items[id_] = items
        while len(self._items) > self._limit:
            self._items.popitem(last=False)

    def before(self, id_: str) -> tuple[Item, ...] | None:
        return self._items.get(id_)


def prompt_of(body: Body, items: list[Item]) -> Prompt:
    """What is asked, where ``items`` are the whole conversation."""
    spoken = [number for number, item in enumerate(items) if _is_spoken(item)]
    fresh = items[spoken[-1] + 1 if spoken else 0 :]
    texts = [text for item in items if item.get("role") == "user" and (text := text_of(item))]
    images = tuple(image for item in fresh for image in _images(item))
    every = "".join(text_of(item) for item in items) + (body.instructions or "")
    every += "".join(msgspec.json.encode(tool).decode() for tool in body.tools or ())
    format_ = (body.text and body.text.format) or _Format()
    return Prompt(
        text=texts[-1] if texts else "",
        said="\n".join(text for item in fresh if item.get("role") == "user" and (text := text_of(item))),
        tokens=tokens(every) + IMAGE_TOKENS * len(images),
        images=images,
        tools=_offered(body),
        forced=body.tool_choice == "required" or isinstance(body.tool_choice, Tool),
        tool_results=tuple(text_of(item) for item in fresh if item.get("type") in CALLS),
        think=body.thinks,
        max_tokens=body.max_output_tokens,
        schema=None if format_.type == "text" else format_.schema or {},
    )


def text_of(item: Item) -> str:
    """All text in an item: of a message, of a call or of its result."""
    for name in ("content", "output", "arguments", "input"):
        match item.get(name):
            case str(text):
                return text
            case list(parts):
                found = [part.get("text") for part in parts if isinstance(part, dict)]
                return "\n".join(text for text in found if isinstance(text, str))
    return ""


def _is_spoken(item: Item) -> bool:
    return item.get("role") == "assistant" or item.get("type") in _SPOKEN


def _images(item: Item) -> list[Image]:
    parts = [part for name in ("content", "output") if isinstance(part := item.get(name), list)]
    urls = [one.get("image_url") for part in parts for one in part if isinstance(one, dict)]
    return [data_url_image(url) for url in urls if isinstance(url, str)]


def _offered(body: Body) -> tuple[OfferedTool, ...]:
    """The tools that may be called: those that the client runs."""
    if body.tool_choice == "none":
        return ()
    named = body.tool_choice.name if isinstance(body.tool_choice, Tool) else None
    return tuple(
        OfferedTool(tool.name, tool.parameters, tool.type == "custom", namespace)
        for namespace, tool in _with_namespaces(body)
        if tool.type in ("function", "custom") and tool.name and named in (None, tool.name)
    )


def _with_namespaces(body: Body) -> Iterator[tuple[str, Tool]]:
    """Every tool, and its namespace if it stands in one. Codex offers tools in an item of its
    input, too."""
    offers = [item.get("tools") or [] for item in body.items if item.get("type") == "additional_tools"]
    for tool in chain(body.tools or (), *(msgspec.convert(offer, list[Tool]) for offer in offers)):
        if tool.type == "namespace":
            yield from ((tool.name or "", one) for one in tool.tools or ())
        else:
            yield "", tool
