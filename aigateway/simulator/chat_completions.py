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


class _Named(msgspec.Struct):
    name: str = ""


class _ToolCall(msgspec.Struct):
    id: str = ""
    function: _Named | None = None
    custom: _Named | None = None


class Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    prefix: bool | None = None
    partial: bool | None = None

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


class Tool(msgspec.Struct):
    """A tool as offered, and the one that ``tool_choice`` may name."""

    function: _Function | None = None
    custom: _Named | None = None

    @property
    def offered(self) -> OfferedTool | None:
        """None for a tool that the client does not run."""
        if self.custom is not None:
            return OfferedTool(self.custom.name, custom=True)
        return OfferedTool(self.function.name, self.function.parameters) if self.function else None


class _JSONSchema(msgspec.Struct):
    schema: dict[str, object] | None = None


class _ResponseFormat(msgspec.Struct):
    type: str | None = None
    json_schema: _JSONSchema | None = None

    @property
    def schema(self) -> dict[str, object] | None:
        """That of the JSON which the answer must be; None where it need not be any."""
        if self.json_schema is not None:
            return self.json_schema.schema or {}
        return {} if self.type == "json_object" else None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Thinking(msgspec.Struct):
    type: str | None = None


class Body(msgspec.Struct):
    model: str | None = None
    messages: list[Message] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Tool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    thinking: _Thinking | None = None
    response_format: _ResponseFormat | None = None
    continue_final_message: bool | None = None


def prompt_of(body: Body, messages: list[Message], *, think: bool) -> Prompt:
    spoken = [number for number, message in enumerate(messages) if message.role == "assistant"]
    fresh = messages[spoken[-1] + 1 :] if spoken else messages
    users = [message for message in messages if message.role == "user"]
    images = tuple(image for message in fresh for image in message.images)
    offered = "".join(msgspec.json.encode(tool).decode() for tool in body.tools or ())
    return Prompt(
        text=users[-1].text if users else "",
        said="\n".join(message.text for message in fresh if message.role == "user" and message.text),
        tokens=tokens("".join(message.text for message in messages) + offered) + IMAGE_TOKENS * len(images),
        images=images,
        tools=_offered(body),
        forced=body.tool_choice == "required" or isinstance(body.tool_choice, Tool),
        tool_results=tuple(message.text for message in fresh if message.role == "tool"),
        think=think,
        max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        schema=body.response_format.schema if body.response_format else None,
        begun=_begun(body, messages),
    )


def _begun(body: Body, messages: list[Message]) -> str:
    """The beginning of the answer. OpenAI itself goes on with none; servers of its dialect do where
    they are told so: DeepSeek and Mistral, Moonshot, vLLM."""
    last = messages[-1] if messages else None
    if last is None or last.role != "assistant":
        return ""
    return last.text if last.prefix or last.partial or body.continue_final_message else ""


def _offered(body: Body) -> tuple[OfferedTool, ...]:
    """The tools that may be called."""
    if body.tool_choice == "none":
        return ()
    tools = tuple(offered for tool in body.tools or () if (offered := tool.offered))
    named = body.tool_choice.offered if isinstance(body.tool_choice, Tool) else None
    return tools if named is None else tuple(tool for tool in tools if tool.name == named.name)


def frame(value: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)


def finish_reason(answer: Answer) -> str:
    if answer.call is not None:
        return "tool_calls"
    return "length" if answer.cut else "stop"


def tool_call(call: Call, id_: str, arguments: str) -> Chunk:
    kind, text = ("custom", "input") if call.custom else ("function", "arguments")
    return {"id": id_, "type": kind, kind: {"name": call.name, text: arguments}}


def usage_of(asked: Asked, answer: Answer) -> Chunk:
    """Chat Completions count the reasoning among the completion tokens."""
    completion = answer.thinking_tokens + answer.spoken_tokens
    return {
        "prompt_tokens": asked.prompt.tokens,
        "completion_tokens": completion,
        "total_tokens": asked.prompt.tokens + completion,
    }
