"""What OpenAI's and GLM's Chat Completions have in common: reading a body, and small pieces.

Pure. Each provider's own form is in `openai` and `glm`.
"""

from __future__ import annotations

import msgspec

from .answers import Answer, Call, Image, OfferedTool, Prompt, tokens
from .wire import Asked, data_url_image

DONE = b"data: [DONE]\n\n"
IMAGE_TOKENS = 85
"""What OpenAI counts for an image in low detail."""

Chunk = dict[str, object]


class _ImageURL(msgspec.Struct):
    url: str


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    image_url: _ImageURL | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""

    @property
    def images(self) -> list[Image]:
        parts = self.content if isinstance(self.content, list) else []
        return [data_url_image(part.image_url.url) for part in parts if part.image_url]


class _Function(msgspec.Struct):
    name: str
    parameters: dict[str, object] | None = None


class _Tool(msgspec.Struct):
    """A tool as offered, and the one that ``tool_choice`` may name."""

    function: _Function | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Thinking(msgspec.Struct):
    type: str | None = None


class Body(msgspec.Struct):
    model: str | None = None
    messages: list[_Message] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Tool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    thinking: _Thinking | None = None


def _offered(body: Body) -> tuple[OfferedTool | None, bool]:
    """The tool to call, and whether it must be."""
    functions = [tool.function for tool in body.tools or () if tool.function]
    choice = body.tool_choice
    if not functions or choice == "none":
        return None, False
    if isinstance(choice, _Tool) and choice.function:
        named = choice.function.name
        functions.sort(key=lambda function: function.name != named)
    forced = choice == "required" or isinstance(choice, _Tool)
    return OfferedTool(functions[0].name, functions[0].parameters), forced


def prompt_of(body: Body, messages: list[_Message], *, think: bool) -> Prompt:
    spoken = [number for number, message in enumerate(messages) if message.role == "assistant"]
    fresh = messages[spoken[-1] + 1 :] if spoken else messages
    users = [message for message in messages if message.role == "user"]
    tool, forced = _offered(body)
    images = tuple(image for message in fresh for image in message.images)
    offered = "".join(msgspec.json.encode(tool).decode() for tool in body.tools or ())
    return Prompt(
        text=users[-1].text if users else "",
        tokens=tokens("".join(message.text for message in messages) + offered) + IMAGE_TOKENS * len(images),
        images=images,
        tool=tool,
        forced=forced,
        tool_results=tuple(message.text for message in fresh if message.role == "tool"),
        think=think,
        max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
    )


def frame(value: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)


def finish_reason(answer: Answer) -> str:
    if answer.call is not None:
        return "tool_calls"
    return "length" if answer.cut else "stop"


def tool_call(call: Call, id_: str, arguments: str) -> Chunk:
    return {"id": id_, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def usage_of(asked: Asked, answer: Answer) -> Chunk:
    """Chat Completions count the reasoning among the completion tokens."""
    completion = answer.thinking_tokens + answer.spoken_tokens
    return {
        "prompt_tokens": asked.prompt.tokens,
        "completion_tokens": completion,
        "total_tokens": asked.prompt.tokens + completion,
    }
