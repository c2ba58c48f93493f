"""What a Chat Completions request looks like on the wire: records for a typed decode.

Only what the hub has a word for is named, and what must be told apart; null is as good as absent
in every field that may be left out. Names beyond these are `strays`. Leaves to `parse` what it all
means.
"""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One whose other names are looked for."""


class Part(Record, tag_field="type", kw_only=True):
    cache_control: object = None


class Text(Part, tag="text"):
    text: str


class Refusal(Part, tag="refusal"):
    refusal: str


class URL(Record):
    url: str
    detail: str | None = None


class ImageURL(Part, tag="image_url"):
    image_url: URL | str


class FileData(Record):
    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class File(Part, tag="file"):
    file: FileData


class AudioData(Record):
    data: str
    format: str


class InputAudio(Part, tag="input_audio"):
    input_audio: AudioData


class Tag(msgspec.Struct, gc=False):
    type: str


AnyPart = Text | Refusal | ImageURL | File | InputAudio
PARTS = {"text", "refusal", "image_url", "file", "input_audio"}
tag_decoder = msgspec.json.Decoder(Tag)
part_decoder: msgspec.json.Decoder[AnyPart] = msgspec.json.Decoder(AnyPart)


class Called(msgspec.Struct, gc=False):
    name: str
    arguments: str | None = None


class CalledCustom(msgspec.Struct, gc=False):
    name: str
    input: str


class ToolCall(msgspec.Struct, gc=False):
    id: str
    function: Called | None = None
    custom: CalledCustom | None = None
    extra_content: object = None


class Message(Record):
    role: str
    content: str | list[msgspec.Raw] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: Called | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    audio: object = None
    cache_control: object = None


class Function(msgspec.Struct, gc=False):
    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class CustomTool(msgspec.Struct, gc=False):
    name: str
    description: str | None = None
    format: dict[str, object] | None = None


class Tool(msgspec.Struct, gc=False):
    type: str | None = None
    function: Function | None = None
    custom: CustomTool | None = None
    cache_control: object = None


class Named(msgspec.Struct, gc=False):
    name: str


class ToolReference(msgspec.Struct, gc=False):
    function: Named | None = None
    custom: Named | None = None


class AllowedTools(msgspec.Struct, gc=False):
    mode: str
    tools: list[ToolReference]


class ToolChoice(msgspec.Struct, gc=False):
    type: str
    function: Named | None = None
    custom: Named | None = None
    allowed_tools: AllowedTools | None = None


class StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class JSONSchema(Record):
    name: str | None = None
    description: str | None = None
    schema: dict[str, object] | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, gc=False):
    type: str
    json_schema: JSONSchema | None = None


class Thinking(Record):
    """Claude's spelling and GLM's, which has ``clear_thinking`` and needs no ``type``."""

    type: str | None = None
    budget_tokens: int | None = None
    display: str | None = None
    clear_thinking: bool | None = None


class Body(msgspec.Struct, gc=False):
    model: str | None = None
    messages: list[Message] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | Named | None = None
    reasoning_effort: str | None = None
    thinking: Thinking | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    service_tier: str | None = None


body_decoder = msgspec.json.Decoder(Body)
FIELDS = frozenset(Body.__struct_fields__)
