"""A ``generateContent`` body, read into a `ChatRequest`.

The model and the method are in the path, so the caller says them. The shapes are those of the
official SDKs' request types. Gemini itself still gets such a body as it came (`passthrough`): only
what no server could read is refused here, and what the hub has no word for is named in ``other``.

A client need not say which answer belongs to which call: before Gemini 3 calls had no ids. Then it
is name and order that pair them, and the ids here are made up from a call's place in the
conversation, the same in every request that has that beginning.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator

import msgspec

from ...events import (
    ChatRequest,
    DocumentBlock,
    Message,
    OtherBlock,
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
from .media import file_block, inline_block
from .openapi import json_schema

ROLES = ("user", "model", "function")
_MODES = {"MODE_UNSPECIFIED": None, "AUTO": "auto", "VALIDATED": "auto", "ANY": "any", "NONE": "none"}
_CONFIG = "generationConfig"

# Fields that a `ChatRequest` has no word for, with the text of a value that says no more than
# leaving the field out does.
_NO_WORD: dict[str, tuple[bytes, ...]] = {
    "cachedContent": (),
    "continuationToken": (),
    "labels": (b"{}",),
    "safetySettings": (b"[]",),
    "serviceTier": (),
    "store": (b"false",),
}
# They change the shape of an answer, or are half of the question.
_NEEDED = {
    "cachedContent",
    "continuationToken",
    f"{_CONFIG}.candidateCount",
    f"{_CONFIG}.responseLogprobs",
    f"{_CONFIG}.responseMimeType",
    f"{_CONFIG}.responseModalities",
}
_PART_NAMES = shapes.names(shapes.Part)

IN_PIECES = "toolConfig.functionCallingConfig.streamFunctionCallArguments"
"""Whose name among `ChatRequest.other` says that the client takes calls in pieces."""


def parse_request(
    raw: bytes, model: str = "", *, stream: bool = False, json_array: bool = False
) -> ChatRequest:
    """The request in ``raw`` to ``model``. Raises `MalformedRequest`, which names the field at fault.

    ``json_array``: a stream without ``alt=sse``.
    """
    fields.check(raw)
    told = shapes.camel(raw)
    reading = _Reading()
    body = strays.decode(shapes.body_decoder, told, reading.note)
    model = (model or body.model or "").removeprefix("models/")
    if not model:
        raise fields.wrong("model", "name it in the path: /v1beta/models/{model}:generateContent")
    unknown = reading.names(told, shapes.names(shapes.Body), _NO_WORD)
    messages = reading.contents(body.contents)
    config = reading.config(body.generationConfig or shapes.Config())
    tools, tool_choice = reading.tools(body)
    return ChatRequest(
        dialect="gemini",
        model=model,
        messages=messages,
        system=reading.system(body.systemInstruction),
        stream=stream,
        include_usage=True,
        max_tokens=config.maxOutputTokens,
        temperature=config.temperature,
        top_p=config.topP,
        top_k=None if config.topK is None else int(config.topK),
        stop=tuple(config.stopSequences or ()),
        tools=tools,
        tool_choice=tool_choice,
        thinking=_thinking(config.thinkingConfig),
        effort=_effort(config.thinkingConfig),
        response_format=reading.response_format(config),
        seed=config.seed,
        presence_penalty=config.presencePenalty,
        frequency_penalty=config.frequencyPenalty,
        other=tuple(reading.other),
        unknown=unknown,
        needed=tuple(name for name in reading.other if name in _NEEDED),
        raw=raw,
        json_array=json_array,
    )


def parse_count_request(raw: bytes, model: str = "") -> ChatRequest:
    """The request in a ``countTokens`` body: contents alone, or a whole ``generateContentRequest``."""
    fields.check(raw)
    told = shapes.camel(raw)
    inner = fields.decode(shapes.counted_decoder, told).generateContentRequest
    return parse_request(raw if inner == shapes.NULL else bytes(inner), model)


class _Reading(fields.Reading):
    """``_by_id`` and ``_by_name`` are the calls, each in their order; ``_open`` those of them that
    have no answer yet."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0
        self._open: dict[int, str] = {}  # which call it is -> its id
        self._by_id: dict[str, deque[int]] = defaultdict(deque)
        self._by_name: dict[str, deque[int]] = defaultdict(deque)

    # -------------------------------------------------------------- contents

    def contents(self, raw: msgspec.Raw) -> tuple[Message, ...]:
        """The turns. What one side says in several contents is one message: SDKs keep an answer
        as the chunks that it came in."""
        turns: list[tuple[str, list[RequestBlock]]] = []
        first = fields.first_byte(raw)
        items = fields.decode(shapes.list_decoder, raw, "contents") if first == b"[" else [raw]
        for index, item in enumerate(items):
            place = f"contents[{index}]" if first == b"[" else "contents"
            if item == shapes.NULL:
                raise fields.wrong(place, "field required")
            role, blocks = self._content(item, place)
            if turns and turns[-1][0] == role:
                turns[-1][1].extend(blocks)
            else:
                turns.append((role, list(blocks)))
        if not turns:
            raise fields.wrong("contents", "at least one content is required")
        return tuple(
            Message(role, tuple(_joined(blocks) if role == "assistant" else blocks)) for role, blocks in turns
        )

    def system(self, raw: msgspec.Raw) -> tuple[TextBlock, ...]:
        if raw == shapes.NULL:
            return ()
        texts = []
        _, blocks = self._content(raw, "systemInstruction", system=True)
        for block in blocks:
            if not isinstance(block, TextBlock):
                raise fields.wrong("systemInstruction.parts", "expected parts with text only")
            texts.append(block)
        return tuple(texts)

    def _content(
        self, raw: msgspec.Raw, place: str, *, system: bool = False
    ) -> tuple[str, tuple[RequestBlock, ...]]:
        """Whose turn it is, and the blocks of its parts; a string is one of the user's."""
        if fields.first_byte(raw) == b'"':
            text = fields.decode(shapes.string_decoder, raw, place)
            return "user", (TextBlock(text),) if text else ()
        label = "systemInstruction" if system else "contents"
        content = strays.decode(shapes.content_decoder, raw, self.note, place, label)
        role = "user"
        if content.role and not system:
            role = fields.one_of(content.role, ROLES, f"{place}.role")
        if content.parts == shapes.NULL:
            return _ours(role), ()
        parts = fields.decode(shapes.list_decoder, content.parts, f"{place}.parts")
        blocks = [
            block
            for index, part in enumerate(parts)
            for block in self._part(part, role, f"{place}.parts[{index}]", f"{label}.parts")
        ]
        return _ours(role), tuple(blocks)

    def _part(self, raw: msgspec.Raw, role: str, place: str, label: str) -> Iterator[RequestBlock]:
        if fields.first_byte(raw) == b'"':
            raw = msgspec.Raw(b'{"text":%b}' % bytes(raw))
        part = strays.decode(shapes.part_decoder, raw, self.note, place, label)
        beyond = [name for name in fields.given(raw) if name not in _PART_NAMES]
        if part.functionCall is not None:
            if role != "model":
                raise fields.wrong(f"{place}.functionCall", "expected in a content of the role model")
            yield self._call(part.functionCall, part.thoughtSignature, f"{place}.functionCall")
        elif part.functionResponse is not None:
            if role == "model":
                raise fields.wrong(f"{place}.functionResponse", "expected in a content of the role user")
            yield self._result(part.functionResponse, f"{place}.functionResponse")
        elif part.inlineData is not None:
            yield self._inline(part.inlineData, f"{place}.inlineData")
        elif part.fileData is not None:
            yield file_block(part.fileData)
        elif part.text is None:
            # A part of another kind is named by that: what Google's own tools did, or what is new.
            yield from (OtherBlock(name) for name in beyond)
            return
        elif part.text or part.thoughtSignature:
            # Without a text it carries a signature: the last part of what is signed.
            yield (ThinkingBlock if part.thought else TextBlock)(part.text, part.thoughtSignature)
        for name in beyond:
            self.note(f"{label}.{name}")

    def _inline(self, blob: shapes.Blob, place: str) -> RequestBlock:
        block = inline_block(blob, place)
        if blob.displayName and not isinstance(block, DocumentBlock):
            self.note("inlineData.displayName")  # only a document has a title
        return block

    def _call(self, call: shapes.FunctionCall, signature: str | None, place: str) -> ToolUseBlock:
        self._calls += 1
        id = _own_id(call.id, call.name) or f"call_{self._calls}"
        text = "{}" if call.args == shapes.NULL else fields.object_text(call.args)
        if text is None:
            raise fields.wrong(f"{place}.args", "expected an object")
        self._open[self._calls] = id
        self._by_id[id].append(self._calls)
        self._by_name[call.name].append(self._calls)
        return ToolUseBlock(id, call.name, text, signature)

    def _result(self, result: shapes.FunctionResponse, place: str) -> ToolResultBlock:
        for name in ("scheduling", "willContinue"):
            if getattr(result, name) not in (None, False):
                self.note(f"contents.parts.functionResponse.{name}")
        text, is_error = _told(result.response, f"{place}.response")
        content: list[RequestBlock] = [TextBlock(text)] if text else []
        for index, part in enumerate(result.parts or ()):
            if part.inlineData is not None:
                content.append(self._inline(part.inlineData, f"{place}.parts[{index}].inlineData"))
            elif part.fileData is not None:
                content.append(file_block(part.fileData))
            else:
                content.append(OtherBlock("functionResponse.parts"))
        return ToolResultBlock(self._answered(result), tuple(content), is_error)

    def _answered(self, result: shapes.FunctionResponse) -> str:
        """The id of the call that ``result`` answers: the one that it names, else the first of its
        name that has no answer. A part of a conversation, as clients count it, may hold no call."""
        given = _own_id(result.id, result.name)
        for calls in (self._by_id.get(given), self._by_name.get(result.name)):
            while calls:
                if (id := self._open.pop(calls.popleft(), None)) is not None:
                    return id
        return given or f"call_{result.name}"

    # ------------------------------------------------------ tools and config

    def tools(self, body: shapes.Body) -> tuple[tuple[Tool, ...], ToolChoice | None]:
        """The functions that the request offers, and the choice, which may leave only some of them."""
        tools: list[Tool] = []
        many = fields.first_byte(body.tools) == b"["
        items = fields.decode(shapes.list_decoder, body.tools, "tools") if many else [body.tools]
        for index, item in enumerate(items):
            if item == shapes.NULL:
                continue
            place = f"tools[{index}]" if many else "tools"
            tool = strays.decode(shapes.tool_decoder, item, self.note, place, "tools")
            for name in fields.given(item):
                if name != "functionDeclarations":
                    self.note(f"tools.{name}")
            tools += [self._tool(declared) for declared in tool.functionDeclarations or ()]
        config = body.toolConfig.functionCallingConfig if body.toolConfig else None
        if config is not None and config.streamFunctionCallArguments:
            self.note(IN_PIECES)
        if config is None or config.mode is None:
            return tuple(tools), None
        place = "toolConfig.functionCallingConfig.mode"
        mode = _MODES[fields.one_of(config.mode.upper(), _MODES, place)]
        allowed = config.allowedFunctionNames or []
        if mode is None or mode == "none" or not allowed:
            return tuple(tools), ToolChoice(mode) if mode else None
        if mode == "any" and len(allowed) == 1:
            return tuple(tools), ToolChoice("tool", allowed[0])
        names = set(allowed)
        return tuple(tool for tool in tools if tool.name in names), ToolChoice(mode)

    def _tool(self, declared: shapes.Declaration) -> Tool:
        for name in ("response", "responseJsonSchema", "behavior"):
            if getattr(declared, name) is not None:
                self.note(f"tools.functionDeclarations.{name}")
        schema = declared.parametersJsonSchema
        if schema is None and declared.parameters is not None:
            schema = json_schema(declared.parameters)
        return Tool(declared.name, declared.description, schema)

    def config(self, config: shapes.Config) -> shapes.Config:
        """``config``, when what says something in it and has no word here is noted."""
        limit = config.maxOutputTokens
        if limit is not None and limit < 0:
            raise fields.wrong(f"{_CONFIG}.maxOutputTokens", f"expected an integer >= 0, got {limit}")
        if config.candidateCount not in (None, 1):
            self.note(f"{_CONFIG}.candidateCount")
        if config.responseLogprobs:
            self.note(f"{_CONFIG}.responseLogprobs")
        if config.responseModalities and [name.upper() for name in config.responseModalities] != ["TEXT"]:
            self.note(f"{_CONFIG}.responseModalities")
        return config

    def response_format(self, config: shapes.Config) -> ResponseFormat | None:
        media = (config.responseMimeType or "text/plain").lower()
        if media != "application/json":
            for name in ("responseSchema", "responseJsonSchema"):
                if getattr(config, name) is not None:
                    self.note(f"{_CONFIG}.{name}")
            if media != "text/plain":
                self.note(f"{_CONFIG}.responseMimeType")  # text/x.enum: one word, and no JSON
            return None
        schema = config.responseJsonSchema
        if schema is None and config.responseSchema is not None:
            schema = json_schema(config.responseSchema)
        return ResponseFormat("json_object") if schema is None else ResponseFormat("json_schema", schema)


def _ours(role: str) -> str:
    return "assistant" if role == "model" else "user"


def _own_id(id: str | None, name: str) -> str:
    """A call's id as it was given to the client: Gemini CLI puts the tool's name before it."""
    id = id or ""
    return id.removeprefix(f"{name}__") or id


def _joined(blocks: list[RequestBlock]) -> Iterator[RequestBlock]:
    """An answer's blocks, a text or a thought that came in several parts as one; a signature is
    in the last of them."""
    last: TextBlock | ThinkingBlock | None = None
    for block in blocks:
        if isinstance(last, TextBlock) and isinstance(block, TextBlock) and not last.signature:
            last = TextBlock(last.text + block.text, block.signature)
        elif isinstance(last, ThinkingBlock) and isinstance(block, ThinkingBlock) and not last.signature:
            last = ThinkingBlock(last.thinking + block.thinking, block.signature)
        else:
            if last is not None:
                yield last
            last = None
            if isinstance(block, TextBlock | ThinkingBlock):
                last = block
            else:
                yield block
    if last is not None:
        yield last


def _told(raw: msgspec.Raw, place: str) -> tuple[str, bool]:
    """What a function's ``response`` says, and whether that is an error.

    It is an object: under ``output`` what the function gave back, under ``error`` what went wrong,
    else as a whole (Gemini API reference, FunctionResponse). ``result`` is Google's own SDK's word
    for ``output``.
    """
    if raw == shapes.NULL:
        return "", False
    text = fields.object_text(raw)
    if text is None:
        raise fields.wrong(place, "expected an object")
    response = shapes.response_decoder.decode(raw)
    if len(response) != 1:
        return text if response else "", "error" in response
    ((name, value),) = response.items()
    if name not in ("output", "result", "error"):
        return text, False
    inner = bytes(value)
    if inner[:1] == b'"':
        return shapes.string_decoder.decode(value), name == "error"
    return ("" if inner == b"null" else msgspec.json.format(inner, indent=-1).decode()), name == "error"


def _thinking(config: shapes.ThinkingConfig | None) -> Thinking | None:
    """What is asked for beyond Gemini's default, which is to think as it sees fit and to show none
    of it: a budget of -1 is that, 0 is off."""
    if config is None:
        return None
    hidden = not config.includeThoughts
    budget = config.thinkingBudget
    if budget == 0:
        return Thinking("disabled")
    if budget is not None and budget > 0:
        return Thinking("enabled", budget, hidden)
    if budget is None and hidden and _effort(config) is None:
        return None
    return Thinking("adaptive", None, hidden)


def _effort(config: shapes.ThinkingConfig | None) -> str | None:
    level = config.thinkingLevel.lower() if config is not None and config.thinkingLevel else None
    return None if level == "thinking_level_unspecified" else level
