"""What a Responses request looks like on the wire: records for a typed decode.

Only what the hub has a word for is named, and what must be told apart; null is as good as absent
in every field that may be left out. Items, parts and tools are read in two steps, first the
``type``: there are dozens of each, and new ones come. Names beyond these are `strays`. Leaves to
`parse` and `items` what it all means.
"""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """One whose other names are looked for. It is told apart by its ``type`` before it is read."""

    type: str | None = None


class Tag(msgspec.Struct, gc=False):
    type: str


# ------------------------------------------------------------------ input items


class Kept(Record, kw_only=True):
    """``id`` and ``status``: what OpenAI keeps its items by. ``caller``: who made a call, if not
    the model itself."""

    id: object = None
    status: object = None
    caller: Tag | None = None


class Item(msgspec.Struct, gc=False):
    """What tells items apart: the short form of a message has no ``type``, and no more has the
    short form of a reference."""

    type: str | None = None
    role: str | None = None
    id: str | None = None


class Message(Kept, kw_only=True):
    role: str
    content: str | list[msgspec.Raw]


class FunctionCall(Kept, kw_only=True):
    call_id: str
    name: str
    arguments: str | None = None
    namespace: str | None = None


class CustomToolCall(Kept, kw_only=True):
    call_id: str
    name: str
    input: str
    namespace: str | None = None


class Output(Kept, kw_only=True):
    """Of a function or of a custom tool; ``name`` and ``namespace`` are the call's."""

    call_id: str
    output: str | list[msgspec.Raw]
    name: str | None = None
    namespace: str | None = None


class Text(Record, kw_only=True):
    text: str


class Reasoning(Kept, kw_only=True):
    summary: list[Text] | None = None
    content: list[Text] | None = None
    encrypted_content: str | None = None


class AdditionalTools(Kept, kw_only=True):
    tools: list[msgspec.Raw]
    role: str | None = None  # the developer's


# ------------------------------------------------------------------------ parts


class Refusal(Record, kw_only=True):
    refusal: str


class Image(Record, kw_only=True):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class File(Record, kw_only=True):
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None


class AudioData(msgspec.Struct, gc=False):
    data: str
    format: str


class Audio(Record, kw_only=True):
    input_audio: AudioData


# ------------------------------------------------------------------------ tools


class Function(Record, kw_only=True):
    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class Custom(Record, kw_only=True):
    name: str
    description: str | None = None
    format: dict[str, object] | None = None


class Namespace(Record, kw_only=True):
    name: str
    tools: list[msgspec.Raw]
    description: str | None = None


class ToolReference(msgspec.Struct, gc=False):
    type: str
    name: str | None = None
    namespace: str | None = None


class ToolChoice(msgspec.Struct, gc=False):
    type: str
    name: str | None = None
    namespace: str | None = None
    mode: str | None = None
    tools: list[ToolReference] | None = None


# ---------------------------------------------------------------------- the body


class Reasoned(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None  # the older name


class Format(msgspec.Struct, gc=False):
    type: str
    name: str | None = None
    description: str | None = None
    schema: dict[str, object] | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    format: Format | None = None
    verbosity: str | None = None


class Body(msgspec.Struct, gc=False):
    model: str | None = None
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoned | None = None
    text: TextConfig | None = None
    include: list[str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    stream: bool | None = None
    stream_options: object = None  # obfuscation is all that it asks for


body_decoder = msgspec.json.Decoder(Body)
item_decoder = msgspec.json.Decoder(Item)
message_decoder = msgspec.json.Decoder(Message)
call_decoder = msgspec.json.Decoder(FunctionCall)
custom_call_decoder = msgspec.json.Decoder(CustomToolCall)
output_decoder = msgspec.json.Decoder(Output)
reasoning_decoder = msgspec.json.Decoder(Reasoning)
additional_decoder = msgspec.json.Decoder(AdditionalTools)
tag_decoder = msgspec.json.Decoder(Tag)
text_decoder = msgspec.json.Decoder(Text)
refusal_decoder = msgspec.json.Decoder(Refusal)
image_decoder = msgspec.json.Decoder(Image)
file_decoder = msgspec.json.Decoder(File)
audio_decoder = msgspec.json.Decoder(Audio)
function_decoder = msgspec.json.Decoder(Function)
custom_decoder = msgspec.json.Decoder(Custom)
namespace_decoder = msgspec.json.Decoder(Namespace)
FIELDS = frozenset(Body.__struct_fields__)
