"""What an Anthropic Messages request looks like on the wire: records for a typed decode.

Only what the hub has a word for is named, and what must be told apart; null is as good as absent
in every field that may be left out. Names beyond these are `strays`. Leaves to `parse` what it all
means.
"""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One whose other names are looked for."""


class Base64Source(Record, tag_field="type", tag="base64"):
    data: str
    media_type: str


class URLSource(Record, tag_field="type", tag="url"):
    url: str


class FileSource(Record, tag_field="type", tag="file"):
    file_id: str


class TextSource(Record, tag_field="type", tag="text"):
    data: str
    media_type: str | None = None


class ContentSource(Record, tag_field="type", tag="content"):
    content: str | list[msgspec.Raw]


class Tag(msgspec.Struct, gc=False):
    type: str


class Block(Record, tag_field="type", kw_only=True):
    cache_control: object = None


class Text(Block, tag="text"):
    text: str
    citations: object = None


class Image(Block, tag="image"):
    source: Base64Source | URLSource | FileSource


class DocumentCitations(Record):
    enabled: bool | None = None


class Document(Block, tag="document"):
    source: Base64Source | URLSource | FileSource | TextSource | ContentSource
    title: str | None = None
    context: str | None = None
    citations: DocumentCitations | None = None


class SearchResult(Block, tag="search_result"):
    source: str
    title: str
    content: list[msgspec.Raw]
    citations: DocumentCitations | None = None


class ToolUse(Block, tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw
    caller: Tag | None = None


class ToolResult(Block, tag="tool_result"):
    tool_use_id: str
    content: str | list[msgspec.Raw] | None = None
    is_error: bool | None = None


class Thinking(Block, tag="thinking"):
    thinking: str
    signature: str | None = None


class RedactedThinking(Block, tag="redacted_thinking"):
    data: str


AnyBlock = Text | Image | Document | SearchResult | ToolUse | ToolResult | Thinking | RedactedThinking


BLOCKS = {
    "text",
    "image",
    "document",
    "search_result",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
}
tag_decoder = msgspec.json.Decoder(Tag)
block_decoder: msgspec.json.Decoder[AnyBlock] = msgspec.json.Decoder(AnyBlock)


class Message(Record):
    role: str
    content: str | list[msgspec.Raw]


class ToolTag(msgspec.Struct, gc=False):
    type: str | None = None


class Tool(Record):
    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, object] | None = None
    strict: bool | None = None
    cache_control: object = None
    defer_loading: object = None
    eager_input_streaming: object = None
    input_examples: object = None
    allowed_callers: object = None


class ToolChoice(Record):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(Record):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Format(Record):
    type: str
    schema: dict[str, object] | None = None


class OutputConfig(Record):
    effort: str | None = None
    format: Format | None = None
    task_budget: object = None


class Metadata(Record):
    user_id: str | None = None


class Body(msgspec.Struct, gc=False):
    model: str | None = None
    messages: list[Message] | None = None
    max_tokens: int | None = None
    system: str | list[msgspec.Raw] | None = None
    metadata: Metadata | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    service_tier: str | None = None


tool_tag_decoder = msgspec.json.Decoder(ToolTag)
tool_decoder = msgspec.json.Decoder(Tool)
body_decoder = msgspec.json.Decoder(Body)
FIELDS = frozenset(Body.__struct_fields__)
