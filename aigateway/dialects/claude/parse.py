"""An Anthropic Messages body, read into a `ChatRequest`.

The shapes are those of the official SDK's request types. What the hub has no word for is named
in ``other`` (a field, ``tools[2]`` for a server tool, ``citations``, ``cache_control``), never
silently lost. Ranges of sampling values are left to the provider, which knows its models.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...errors import MalformedRequest
from ...events import (
    ChatRequest,
    DocumentBlock,
    ImageBlock,
    Message,
    OtherBlock,
    RedactedThinkingBlock,
    RequestBlock,
    ResponseFormat,
    TextBlock,
    Thinking,
    ThinkingBlock,
    Tool,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
)
from .. import fields, strays
from . import shapes

ROLES = ("user", "assistant", "system")
MOST_NESTED = 4
"""Lists of blocks inside each other: a message's, a tool result's, a document's, and one to spare. Each
is read once for every list that it is in."""

# Fields of the dialect that a `ChatRequest` has no word for.
_NO_WORD: dict[str, tuple[bytes, ...]] = {
    "betas": (),
    "billing_policy": (),
    "cache_control": (),
    "compaction": (),
    "container": (),
    "context_management": (),
    "diagnostics": (),
    "fallback_credit_token": (),
    "fallbacks": (),
    "inference_geo": (),
    "mcp_servers": (),
    "speed": (),
    "thread": (),
    "user_profile_id": (),
    "workspace_id": (),
}
# A way to think that no other provider has.
_CLAUDE_ONLY = "between_tools"
# Parts of a tool's definition without a word.
_TOOL_EXTRAS = ("defer_loading", "eager_input_streaming", "input_examples", "allowed_callers")


def parse_request(raw: bytes, *, max_tokens_default: int | None = None) -> ChatRequest:
    """The request in ``raw``. Raises `MalformedRequest`, which names the field at fault.

    Anthropic requires ``max_tokens``; ``max_tokens_default`` stands in for it where the
    endpoint is not Anthropic's own.
    """
    fields.check(raw)
    reading = _Reading()
    body = strays.decode(shapes.body_decoder, raw, reading.note)
    if not body.model:
        raise fields.wrong("model", "field required; GET /v1/models lists the names there are")
    if not body.messages:
        raise fields.wrong("messages", "at least one message is required")
    max_tokens = max_tokens_default if body.max_tokens is None else body.max_tokens
    if max_tokens is None:
        raise fields.wrong("max_tokens", "field required")
    if max_tokens < 0:
        raise fields.wrong("max_tokens", f"expected an integer >= 0, got {max_tokens}")
    unknown = reading.names(raw, shapes.FIELDS, _NO_WORD)
    output = body.output_config or shapes.OutputConfig()
    if output.task_budget is not None:
        reading.note("output_config.task_budget")
    tool_choice, parallel_tools = _tool_choice(body.tool_choice)
    return ChatRequest(
        dialect="claude",
        model=body.model,
        messages=reading.messages(body.messages),
        system=reading.system(body.system),
        stream=bool(body.stream),
        include_usage=True,
        max_tokens=max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        stop=tuple(body.stop_sequences or ()),
        tools=reading.tools(body.tools or []),
        tool_choice=tool_choice,
        parallel_tools=parallel_tools,
        thinking=reading.thinking(body.thinking),
        effort=output.effort,
        response_format=_response_format(output.format, "output_config.format")
        or _response_format(body.output_format, "output_format"),
        user=body.metadata.user_id if body.metadata else None,
        service_tier=body.service_tier,
        other=tuple(reading.other),
        unknown=unknown,
        raw=raw,
    )


class _Reading(fields.Reading):
    def __init__(self) -> None:
        super().__init__()
        self._nested = 0  # lists of blocks around the one that is read

    def messages(self, messages: list[shapes.Message]) -> tuple[Message, ...]:
        return tuple(
            Message(
                fields.one_of(message.role, ROLES, f"messages[{index}].role"),
                self._content(message.content, f"messages[{index}].content"),
            )
            for index, message in enumerate(messages)
        )

    def system(self, system: str | list[msgspec.Raw] | None) -> tuple[TextBlock, ...]:
        blocks = self._content(system or "", "system")
        texts = []
        for index, block in enumerate(blocks):
            if not isinstance(block, TextBlock):
                raise fields.wrong(f"system[{index}].type", 'expected "text"')
            texts.append(block)
        return tuple(texts)

    def tools(self, tools: list[msgspec.Raw]) -> tuple[Tool, ...]:
        custom = []
        for index, raw in enumerate(tools):
            place = f"tools[{index}]"
            if fields.decode(shapes.tool_tag_decoder, raw, place).type not in (None, "custom"):
                self.note(place)
                continue
            tool = strays.decode(shapes.tool_decoder, raw, self.note, place, "tools")
            if not tool.name:
                raise fields.wrong(f"{place}.name", "field required")
            if tool.input_schema is None:
                raise fields.wrong(f"{place}.input_schema", "field required")
            self._cached(tool.cache_control)
            for name in _TOOL_EXTRAS:
                if getattr(tool, name) is not None:
                    self.note(f"tools.{name}")
            custom.append(Tool(tool.name, tool.description, tool.input_schema, tool.strict))
        return tuple(custom)

    def thinking(self, config: shapes.ThinkingConfig | None) -> Thinking | None:
        if config is None:
            return None
        mode = fields.one_of(config.type, ("enabled", "adaptive", "disabled", _CLAUDE_ONLY), "thinking.type")
        if mode == _CLAUDE_ONLY:
            self.note("thinking")
            return None
        return Thinking(mode, config.budget_tokens, config.display == "omitted")

    def _content(self, content: str | list[msgspec.Raw], place: str) -> tuple[RequestBlock, ...]:
        if isinstance(content, str):
            return (TextBlock(content),) if content else ()
        self._nested += 1
        if self._nested > MOST_NESTED:
            raise fields.wrong(place, f"lists of blocks are nested more than {MOST_NESTED} deep")
        blocks: list[RequestBlock] = []
        for index, raw in enumerate(content):
            blocks += self._blocks(raw, f"{place}[{index}]")
        self._nested -= 1
        return tuple(blocks)

    def _blocks(self, raw: msgspec.Raw, place: str) -> Iterator[RequestBlock]:
        """The block at ``place``: one, but for a document that is a list of blocks itself."""
        # First the tag: an unknown one is no error of the union's, which would cost far more.
        tag = fields.decode(shapes.tag_decoder, raw, place).type
        if tag not in shapes.BLOCKS:
            yield OtherBlock(tag)
            return
        block = strays.decode(shapes.block_decoder, raw, self.note, place, tag)
        self._cached(block.cache_control)
        match block:
            case shapes.Text():
                if block.citations:
                    self.note("citations")
                if block.text:
                    yield TextBlock(block.text)
            case shapes.Image():
                yield _image(block)
            case shapes.Document():
                yield from self._document(block, place)
            case shapes.SearchResult():
                texts = self._content(block.content, f"{place}.content")
                texts_only = [text.text for text in texts if isinstance(text, TextBlock)]
                if block.citations and block.citations.enabled:
                    self.note("citations")
                yield TextBlock("\n\n".join([f"{block.title}\n{block.source}", *texts_only]))
            case shapes.ToolUse():
                text = fields.object_text(block.input)
                if text is None:
                    raise fields.wrong(f"{place}.input", "expected an object")
                if block.caller is not None and block.caller.type != "direct":
                    self.note("tool_use.caller")  # a program that runs at Anthropic
                yield ToolUseBlock(block.id, block.name, text)
            case shapes.ToolResult():
                content = self._content(block.content or "", f"{place}.content")
                yield ToolResultBlock(block.tool_use_id, content, bool(block.is_error))
            case shapes.Thinking():
                yield ThinkingBlock(block.thinking, block.signature)
            case shapes.RedactedThinking():
                yield RedactedThinkingBlock(block.data)

    def _document(self, block: shapes.Document, place: str) -> Iterator[RequestBlock]:
        """A document; its context, for which the hub has no word, goes before it as text."""
        if block.citations and block.citations.enabled:
            self.note("citations")
        if block.context:
            yield TextBlock(block.context)
        match block.source:
            case shapes.Base64Source(data, media_type):
                yield DocumentBlock(media_type, data, title=block.title)
            case shapes.URLSource(url):
                yield DocumentBlock(url=url, title=block.title)
            case shapes.TextSource(data, media_type):
                yield DocumentBlock(media_type, text=data, title=block.title)
            case shapes.FileSource():
                yield OtherBlock("document.file_id")
            case shapes.ContentSource(content):
                if block.title:
                    yield TextBlock(block.title)
                yield from self._content(content, f"{place}.source.content")


def _image(block: shapes.Image) -> RequestBlock:
    match block.source:
        case shapes.Base64Source(data, media_type):
            return ImageBlock(media_type, data)
        case shapes.URLSource(url):
            return ImageBlock(url=url)
        case shapes.FileSource():
            return OtherBlock("image.file_id")


def _tool_choice(choice: shapes.ToolChoice | None) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may run side by side (None: not said)."""
    if choice is None:
        return None, None
    mode = fields.one_of(choice.type, ("auto", "any", "tool", "none"), "tool_choice.type")
    if mode == "tool" and not choice.name:
        raise fields.wrong("tool_choice.name", "field required")
    parallel = None if choice.disable_parallel_tool_use is None else not choice.disable_parallel_tool_use
    return ToolChoice(mode, choice.name if mode == "tool" else None), parallel


def _response_format(format: shapes.Format | None, place: str) -> ResponseFormat | None:
    if format is None:
        return None
    fields.one_of(format.type, ("json_schema",), f"{place}.type")
    if format.schema is None:
        raise fields.wrong(f"{place}.schema", "field required")
    return ResponseFormat("json_schema", format.schema)


# Inside a JSON string a quote has a backslash before it, so text never looks like these.
_CLAUDE_WORDS = (b'"system"', b'"input_schema"', b'"source"', b'"tool_use"', b'"tool_result"')


def is_claude_body(raw: bytes) -> bool:
    """Whether a body sent to ``/v1/chat/completions`` is a Claude one.

    It is if it has a top-level ``system``, tools with an ``input_schema``, or blocks of type
    ``tool_use`` or ``tool_result`` or with a ``source``. Bodies without any of these words,
    nearly all of OpenAI's, cost a search. False for what is no JSON: the parser says why.
    """
    if not any(word in raw for word in _CLAUDE_WORDS):
        return False
    try:
        fields.check(raw)  # first: it bounds what the rest may cost
        top = fields.given(raw)
        if "system" in top:
            return True
        tools = msgspec.json.decode(top.get("tools", b"[]"))
        messages = msgspec.json.decode(top.get("messages", b"[]"))
    except (MalformedRequest, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return any("input_schema" in tool for tool in _objects(tools)) or any(
        block.get("type") in ("tool_use", "tool_result") or isinstance(block.get("source"), dict)
        for message in _objects(messages)
        for block in _objects(message.get("content"))
    )


def _objects(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
