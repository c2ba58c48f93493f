"""Reading a Gemini request, alone or in its Code Assist envelope.

Pure. Only what decides an answer is read. What Google refuses is in `google_rules`, the
answer's form in `google`.
"""

from __future__ import annotations

import msgspec

from .answers import Image, OfferedTool, Prompt, tokens
from .wire import base64_image

IMAGE_TOKENS = 258
"""What Gemini counts for a small image."""


class _InlineData(msgspec.Struct, rename="camel"):
    mime_type: str = ""
    data: str = ""


class _FunctionResponse(msgspec.Struct):
    name: str = ""
    response: dict[str, object] | None = None

    @property
    def text(self) -> str:
        """The result: the one string in the response where there is one, else its JSON."""
        values = list((self.response or {}).values())
        if len(values) == 1 and isinstance(values[0], str):
            return values[0]
        return msgspec.json.encode(self.response or {}).decode()


class _FunctionCall(msgspec.Struct):
    name: str = ""


class Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None
    inline_data: _InlineData | None = None
    file_data: dict[str, object] | None = None
    function_response: _FunctionResponse | None = None

    @property
    def image(self) -> Image | None:
        if self.inline_data is not None and self.inline_data.mime_type.startswith("image/"):
            return base64_image(self.inline_data.mime_type, self.inline_data.data)
        return Image() if self.file_data is not None else None


class Content(msgspec.Struct):
    role: str | None = None
    parts: list[Part] | None = None

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts or () if part.text and not part.thought)


class _Declaration(msgspec.Struct):
    """``snake`` is what Google's Python SDK writes for a function that it made a tool of."""

    name: str
    parameters: dict[str, object] | None = None
    camel: dict[str, object] | None = msgspec.field(default=None, name="parametersJsonSchema")
    snake: dict[str, object] | None = msgspec.field(default=None, name="parameters_json_schema")


class _Tool(msgspec.Struct, rename="camel"):
    function_declarations: list[_Declaration] | None = None


class _CallingConfig(msgspec.Struct, rename="camel"):
    mode: str | None = None
    allowed_function_names: list[str] | None = None


class _ToolConfig(msgspec.Struct, rename="camel"):
    function_calling_config: _CallingConfig | None = None


class _ThinkingConfig(msgspec.Struct):
    """Clients write both spellings; the second one for Claude models."""

    camel: bool | None = msgspec.field(default=None, name="includeThoughts")
    snake: bool | None = msgspec.field(default=None, name="include_thoughts")


class _GenerationConfig(msgspec.Struct, rename="camel"):
    max_output_tokens: int | None = None
    thinking_config: _ThinkingConfig | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, object] | None = None
    response_json_schema: dict[str, object] | None = None


class GenerateContent(msgspec.Struct, rename="camel"):
    contents: list[Content] | None = None
    system_instruction: Content | None = None
    tools: list[_Tool] | None = None
    tool_config: _ToolConfig | None = None
    generation_config: _GenerationConfig | None = None

    @property
    def thinks(self) -> bool:
        thinking = self.generation_config.thinking_config if self.generation_config else None
        return thinking is not None and bool(thinking.camel or thinking.snake)

    @property
    def calling_mode(self) -> str | None:
        config = self.tool_config and self.tool_config.function_calling_config
        return config.mode if config else None


def prompt_of(request: GenerateContent, contents: list[Content]) -> Prompt:
    spoken = [number for number, content in enumerate(contents) if content.role == "model"]
    fresh = contents[spoken[-1] + 1 if spoken else 0 :]
    parts = [part for content in fresh for part in content.parts or ()]
    texts = [content.text for content in contents if content.role != "model" and content.text]
    images = tuple(image for part in parts if (image := part.image) is not None)
    every = [*contents, *([request.system_instruction] if request.system_instruction else [])]
    offered = "".join(msgspec.json.encode(tool).decode() for tool in request.tools or ())
    config = request.generation_config or _GenerationConfig()
    return Prompt(
        text=texts[-1] if texts else "",
        said="\n".join(content.text for content in fresh if content.text),
        tokens=tokens("".join(content.text for content in every) + offered) + IMAGE_TOKENS * len(images),
        images=images,
        tools=_offered(request),
        forced=request.calling_mode == "ANY",
        tool_results=tuple(part.function_response.text for part in parts if part.function_response),
        think=request.thinks,
        max_tokens=config.max_output_tokens,
        schema=_schema(config),
        begun=contents[-1].text if contents and contents[-1].role == "model" else "",
    )


def _schema(config: _GenerationConfig) -> dict[str, object] | None:
    if config.response_mime_type != "application/json":
        return None
    return config.response_schema or config.response_json_schema or {}


def _offered(request: GenerateContent) -> tuple[OfferedTool, ...]:
    """The tools that may be called."""
    declared = [one for tool in request.tools or () for one in tool.function_declarations or ()]
    config = (request.tool_config or _ToolConfig()).function_calling_config or _CallingConfig()
    if config.mode == "NONE":
        return ()
    allowed = config.allowed_function_names or [one.name for one in declared]
    return tuple(
        OfferedTool(one.name, one.parameters or one.camel or one.snake)
        for one in declared
        if one.name in allowed
    )
