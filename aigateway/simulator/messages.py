"""Reading a request to Anthropic's Messages.

Pure. Only what decides an answer is read, and what the rules in `messages_rules` look at. The
answer's form is in `anthropic`.
"""

from __future__ import annotations

import msgspec

from .answers import Image, OfferedTool, Prompt, tokens
from .wire import base64_image

IMAGE_TOKENS = 1600
"""What Claude counts for a large image, at most."""


class _Source(msgspec.Struct):
    type: str = ""
    media_type: str = ""
    data: str = ""


class Block(msgspec.Struct):
    type: str
    text: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, object] | None = None
    tool_use_id: str | None = None
    content: str | list[Block] | dict[str, object] | None = None
    source: _Source | None = None
    is_error: bool | None = None

    @property
    def said(self) -> str:
        """All text in the block: what a tool is called with, and its result, included."""
        if self.type == "tool_result":
            return _text(blocks_of(self.content))
        if self.input is not None:
            return msgspec.json.encode(self.input).decode()
        return self.text or ""

    @property
    def images(self) -> list[Image]:
        if self.type == "tool_result":
            return [image for block in blocks_of(self.content) for image in block.images]
        if self.type != "image" or self.source is None:
            return []
        if self.source.type != "base64":
            return [Image()]
        return [base64_image(self.source.media_type, self.source.data)]


class Message(msgspec.Struct):
    role: str
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        return blocks_of(self.content)


class Tool(msgspec.Struct):
    name: str = ""
    type: str | None = None
    input_schema: dict[str, object] | None = None

    @property
    def client(self) -> bool:
        """Whether the client runs it; Anthropic runs the others."""
        return self.type in (None, "custom")


class _ToolChoice(msgspec.Struct):
    type: str = "auto"
    name: str | None = None


class _Thinking(msgspec.Struct):
    type: str = "disabled"
    budget_tokens: int | None = None


class _Format(msgspec.Struct):
    schema: dict[str, object] | None = None


class _OutputConfig(msgspec.Struct):
    format: _Format | None = None


class Body(msgspec.Struct):
    model: str
    messages: list[Message]
    max_tokens: int | None = None
    system: str | list[Block] | None = None
    stream: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _Thinking | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None

    @property
    def forces_tool(self) -> bool:
        return self.tool_choice is not None and self.tool_choice.type in ("any", "tool")


def blocks_of(content: str | list[Block] | dict[str, object] | None) -> list[Block]:
    """Content as blocks: a text alone is one of them; what is none is left out."""
    if isinstance(content, str):
        return [Block("text", text=content)]
    return content if isinstance(content, list) else []


def prompt_of(body: Body) -> Prompt:
    messages = body.messages
    spoken = [number for number, message in enumerate(messages) if message.role == "assistant"]
    fresh = [message for message in messages[spoken[-1] + 1 if spoken else 0 :] if message.role == "user"]
    texts = [text for message in messages if message.role == "user" and (text := _written(message))]
    images = tuple(image for message in fresh for block in message.blocks for image in block.images)
    every = "".join(block.said for message in messages for block in message.blocks)
    every += "".join(block.said for block in blocks_of(body.system))
    every += "".join(msgspec.json.encode(tool).decode() for tool in body.tools or ())
    format_ = body.output_format or (body.output_config.format if body.output_config else None)
    return Prompt(
        text=texts[-1] if texts else "",
        said="\n".join(text for message in fresh if (text := _written(message))),
        tokens=tokens(every) + IMAGE_TOKENS * len(images),
        images=images,
        tools=_offered(body),
        forced=body.forces_tool,
        tool_results=tuple(
            block.said for message in fresh for block in message.blocks if block.type == "tool_result"
        ),
        think=body.thinking is not None and body.thinking.type in ("enabled", "adaptive"),
        max_tokens=body.max_tokens,
        schema=(format_.schema or {}) if format_ else None,
        begun=_text(messages[-1].blocks) if messages and messages[-1].role == "assistant" else "",
    )


def _offered(body: Body) -> tuple[OfferedTool, ...]:
    """The tools that may be called."""
    choice = body.tool_choice or _ToolChoice()
    if choice.type == "none":
        return ()
    return tuple(
        OfferedTool(tool.name, tool.input_schema)
        for tool in body.tools or ()
        if tool.client and choice.name in (None, tool.name)
    )


def _written(message: Message) -> str:
    """What a user wrote, without the results of tools."""
    return _text([block for block in message.blocks if block.type == "text"])


def _text(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks if block.text)
