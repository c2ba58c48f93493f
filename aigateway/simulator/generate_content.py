"""Reading a Gemini request in its Code Assist envelope.

Pure. Only what decides an answer is read. The answer's form is in `code_assist`.
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


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    inline_data: _InlineData | None = None
    file_data: dict[str, object] | None = None
    function_response: _FunctionResponse | None = None

    @property
    def image(self) -> Image | None:
        if self.inline_data is not None and self.inline_data.mime_type.startswith("image/"):
            return base64_image(self.inline_data.mime_type, self.inline_data.data)
        return Image() if self.file_data is not None else None


class _Content(msgspec.Struct):
    role: str | None = None
    parts: list[_Part] | None = None

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts or () if part.text and not part.thought)


class _Declaration(msgspec.Struct, rename="camel"):
    name: str
    parameters: dict[str, object] | None = None
    parameters_json_schema: dict[str, object] | None = None


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


class _Request(msgspec.Struct, rename="camel"):
    contents: list[_Content] | None = None
    system_instruction: _Content | None = None
    tools: list[_Tool] | None = None
    tool_config: _ToolConfig | None = None
    generation_config: _GenerationConfig | None = None


class Envelope(msgspec.Struct):
    model: str | None = None
    request: _Request | None = None


def prompt_of(request: _Request, contents: list[_Content]) -> Prompt:
    spoken = [number for number, content in enumerate(contents) if content.role == "model"]
    fresh = [part for content in contents[spoken[-1] + 1 if spoken else 0 :] for part in content.parts or ()]
    texts = [content.text for content in contents if content.role != "model" and content.text]
    images = tuple(image for part in fresh if (image := part.image) is not None)
    every = [*contents, *([request.system_instruction] if request.system_instruction else [])]
    offered = "".join(msgspec.json.encode(tool).decode() for tool in request.tools or ())
    config = request.generation_config or _GenerationConfig()
    thinking = config.thinking_config
    tool, forced = _offered(request)
    return Prompt(
        text=texts[-1] if texts else "",
        tokens=tokens("".join(content.text for content in every) + offered) + IMAGE_TOKENS * len(images),
        images=images,
        tool=tool,
        forced=forced,
        tool_results=tuple(part.function_response.text for part in fresh if part.function_response),
        think=thinking is not None and bool(thinking.camel or thinking.snake),
        max_tokens=config.max_output_tokens,
    )


def _offered(request: _Request) -> tuple[OfferedTool | None, bool]:
    """The tool to call, and whether it must be."""
    declared = [one for tool in request.tools or () for one in tool.function_declarations or ()]
    config = (request.tool_config or _ToolConfig()).function_calling_config or _CallingConfig()
    if config.allowed_function_names:
        declared = [one for one in declared if one.name in config.allowed_function_names]
    if not declared or config.mode == "NONE":
        return None, False
    first = declared[0]
    return OfferedTool(first.name, first.parameters or first.parameters_json_schema), config.mode == "ANY"
