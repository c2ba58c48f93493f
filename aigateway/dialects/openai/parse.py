"""An OpenAI Chat Completions body, read into a `ChatRequest`.

The shapes are those of the official SDK's request types, legacy functions included, and the
extensions that clients in the field send: ``reasoning_content``, ``thinking``, ``cache_control``,
a tool call's ``extra_content.google.thought_signature``. What the hub has no word for is named in
``other``. OpenAI itself still gets such a body as it came (`render`): only what no server could
read is refused here.

The arguments of a call are a model's own text, and it may have written no JSON object. They are
never refused, not even in the live turn: the client answers such a call with an error result, and
a 400 would end its conversation for good. They are kept as ``{"_raw": text}``.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ... import jsontext
from ...events import (
    AudioBlock,
    ChatRequest,
    DocumentBlock,
    ImageBlock,
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
from .. import fields, free_text, strays
from . import shapes

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

# Fields of the dialect that a `ChatRequest` has no word for, with the text of a value that
# says no more than leaving the field out does.
_NO_WORD: dict[str, tuple[bytes, ...]] = {
    "audio": (),
    "logit_bias": (b"{}",),
    "logprobs": (b"false",),
    "metadata": (b"{}",),
    "modalities": (b'["text"]',),
    "moderation": (),
    "n": (b"1",),
    "prediction": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "store": (b"false",),
    "top_logprobs": (b"0",),
    "verbosity": (),
    "web_search_options": (),
}
# They change the shape of an answer: a client that asks for one and gets another would break.
_NEEDED = ("n", "logprobs", "modalities")


def parse_request(raw: bytes) -> ChatRequest:
    """The request in ``raw``. Raises `MalformedRequest`, which names the field at fault."""
    fields.check(raw)
    reading = _Reading()
    body = strays.decode(shapes.body_decoder, raw, reading.note)
    if not body.model:
        raise fields.wrong("model", "field required; GET /v1/models lists the names there are")
    if not body.messages:
        raise fields.wrong("messages", "at least one message is required")
    unknown = reading.names(raw, shapes.FIELDS, _NO_WORD)
    system, messages = reading.messages(body.messages)
    tools, tool_choice = reading.tools(body)
    return ChatRequest(
        dialect="openai",
        model=body.model,
        messages=messages,
        system=system,
        stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        max_tokens=_max_tokens(body),
        temperature=body.temperature,
        top_p=body.top_p,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tools=body.parallel_tool_calls,
        thinking=reading.thinking(body.thinking),
        effort=body.reasoning_effort,
        response_format=reading.response_format(body.response_format),
        user=reading.user(body),
        seed=body.seed,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        service_tier=body.service_tier,
        other=tuple(reading.other),
        unknown=unknown,
        needed=tuple(name for name in reading.other if name in _NEEDED),
        raw=raw,
    )


class _Reading(fields.Reading):
    def __init__(self) -> None:
        super().__init__()
        self._function_ids: dict[str, str] = {}

    def messages(self, messages: list[shapes.Message]) -> tuple[tuple[TextBlock, ...], tuple[Message, ...]]:
        """The leading system messages, and the turns; results of one step of calls in one message."""
        system: list[TextBlock] = []
        turns: list[Message] = []
        results: list[ToolResultBlock] = []
        for index, message in enumerate(messages):
            place = f"messages[{index}]"
            role = fields.one_of(message.role, ROLES, f"{place}.role")
            if role in ("tool", "function"):
                results.append(self._result(message, role, place))
                continue
            if results:
                turns.append(Message("user", tuple(results)))
                results = []
            if message.name:
                self.note("messages.name")
            content = self._content(message, place)
            if role == "assistant":
                turns.append(Message("assistant", tuple(self._assistant(message, content, index))))
            elif role == "user":
                turns.append(Message("user", content))
            elif turns:
                turns.append(Message("system", content))
            else:
                system += _texts(content, f"{place}.content")
        if results:
            turns.append(Message("user", tuple(results)))
        return tuple(system), tuple(turns)

    def _assistant(
        self, message: shapes.Message, content: tuple[RequestBlock, ...], index: int
    ) -> Iterator[RequestBlock]:
        if message.reasoning_content:
            yield ThinkingBlock(message.reasoning_content)
        yield from content
        if message.refusal:
            yield TextBlock(message.refusal)
        if message.audio is not None:
            self.note("messages.audio")
        for number, call in enumerate(message.tool_calls or ()):
            yield from _call(call, f"messages[{index}].tool_calls[{number}]")
        if called := message.function_call:
            # Legacy calls have no id; their result names the function instead.
            id = self._function_ids[called.name] = f"call_function_{index}"
            yield ToolUseBlock(id, called.name, arguments_text(called.arguments))

    def _result(self, message: shapes.Message, role: str, place: str) -> ToolResultBlock:
        id = message.tool_call_id
        if role == "function":
            if not message.name:
                raise fields.wrong(f"{place}.name", "field required in a function message")
            id = self._function_ids.get(message.name, f"call_{message.name}")
        if not id:
            raise fields.wrong(f"{place}.tool_call_id", "field required in a tool message")
        return ToolResultBlock(id, self._content(message, place))

    def _content(self, message: shapes.Message, place: str) -> tuple[RequestBlock, ...]:
        content = message.content
        self._cached(message.cache_control)
        if content is None or isinstance(content, str):
            return (_marked(TextBlock(content), message.cache_control),) if content else ()
        blocks: list[RequestBlock] = []
        for index, raw in enumerate(content):
            if (block := self._block(raw, f"{place}.content[{index}]")) is not None:
                blocks.append(block)
        if blocks:
            blocks[-1] = _marked(blocks[-1], message.cache_control)  # it covers all before it
        return tuple(blocks)

    def _block(self, raw: msgspec.Raw, place: str) -> RequestBlock | None:
        """The part at ``place``; None for an empty text."""
        # First the tag: an unknown one is no error of the union's, which would cost far more.
        tag = fields.decode(shapes.tag_decoder, raw, place).type
        if tag not in shapes.PARTS:
            return OtherBlock(tag)
        part = strays.decode(shapes.part_decoder, raw, self.note, place, tag)
        self._cached(part.cache_control)
        match part:
            case shapes.Text(text=text) | shapes.Refusal(refusal=text):
                return _marked(TextBlock(text), part.cache_control) if text else None
            case shapes.ImageURL():
                image = part.image_url
                if isinstance(image, shapes.URL) and image.detail not in (None, "auto"):
                    self.note("image_url.detail")
                where = f"{place}.image_url" if isinstance(image, str) else f"{place}.image_url.url"
                url = image if isinstance(image, str) else image.url
                return _marked(_image(url, where), part.cache_control)
            case shapes.File():
                return _marked(_document(part.file, f"{place}.file"), part.cache_control)
            case shapes.InputAudio():
                return AudioBlock(part.input_audio.data, part.input_audio.format)

    def tools(self, body: shapes.Body) -> tuple[tuple[Tool, ...], ToolChoice | None]:
        """The tools that the request offers, the legacy functions among them, and the choice.

        A choice of ``allowed_tools`` leaves only those that it allows.
        """
        tools = []
        for index, tool in enumerate(body.tools or ()):
            self._cached(tool.cache_control)
            if tool.function:
                tools.append(_tool(tool.function, tool.cache_control))
            elif tool.custom:
                tools.append(_custom_tool(tool.custom))
            elif tool.type in (None, "function", "custom"):
                raise fields.wrong(f"tools[{index}].{tool.type or 'function'}", "field required")
            else:
                self.note(f"tools[{index}]")
        tools += [_tool(function) for function in body.functions or ()]
        choice = body.tool_choice
        if choice is None:
            return tuple(tools), _function_choice(body.function_call)
        if isinstance(choice, str):
            fields.one_of(choice, ("none", "auto", "required"), "tool_choice")
            return tuple(tools), _mode(choice)
        if named := choice.function or choice.custom:
            return tuple(tools), ToolChoice("tool", named.name)
        if allowed := choice.allowed_tools:
            names = {named.name for one in allowed.tools if (named := one.function or one.custom)}
            fields.one_of(allowed.mode, ("auto", "required"), "tool_choice.allowed_tools.mode")
            return tuple(tool for tool in tools if tool.name in names), _mode(allowed.mode)
        if choice.type in ("function", "custom", "allowed_tools"):
            raise fields.wrong(f"tool_choice.{choice.type}", "field required")
        self.note("tool_choice")
        return tuple(tools), None

    def thinking(self, config: shapes.Thinking | None) -> Thinking | None:
        if config is None:
            return None
        if config.clear_thinking:
            self.note("thinking.clear_thinking")
        if config.type is None:
            return None
        mode = fields.one_of(config.type, ("enabled", "adaptive", "disabled"), "thinking.type")
        return Thinking(mode, config.budget_tokens, config.display == "omitted")

    def response_format(self, format: shapes.ResponseFormat | None) -> ResponseFormat | None:
        if format is None or format.type == "text":
            return None
        if format.type == "json_object":
            return ResponseFormat("json_object")
        if format.type == "json_schema":
            if format.json_schema is None:
                raise fields.wrong("response_format.json_schema", "field required")
            told = format.json_schema
            schema = told.schema
            if told.description and schema is not None:
                schema = {"description": told.description, **schema}
            return ResponseFormat("json_schema", schema, told.name, told.strict)
        self.note("response_format")
        return None

    def user(self, body: shapes.Body) -> str | None:
        """Who the end user is: the first of three fields that is given; the others are noted."""
        user: str | None = None
        for name in ("user", "safety_identifier", "prompt_cache_key"):
            if value := getattr(body, name):
                if user is None:
                    user = value
                elif value != user:
                    self.note(name)
        return user


def _max_tokens(body: shapes.Body) -> int | None:
    """``max_completion_tokens``, else its older name."""
    for name in ("max_completion_tokens", "max_tokens"):
        value: int | None = getattr(body, name)
        if value is not None:
            if value < 0:
                raise fields.wrong(name, f"expected an integer >= 0, got {value}")
            return value
    return None


def _texts(content: tuple[RequestBlock, ...], place: str) -> list[TextBlock]:
    for block in content:
        if not isinstance(block, TextBlock):
            raise fields.wrong(place, "expected parts of type text only in a system message")
    return [block for block in content if isinstance(block, TextBlock)]


def _call(call: shapes.ToolCall, place: str) -> Iterator[RequestBlock]:
    """A tool call; where Google's signature travels with it, a thinking block carries that before it."""
    if call.function:
        name, arguments = call.function.name, arguments_text(call.function.arguments)
    elif call.custom:
        name, arguments = call.custom.name, jsontext.encode({"input": call.custom.input}).decode()
    else:
        raise fields.wrong(f"{place}.function", "field required")
    signature = _thought_signature(call.extra_content)
    if signature:
        yield ThinkingBlock("", signature)
    yield ToolUseBlock(call.id, name, arguments, signature)


def _thought_signature(extra_content: object) -> str | None:
    """``extra_content.google.thought_signature``, as Google's own OpenAI endpoint gives it."""
    google = extra_content.get("google") if isinstance(extra_content, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def arguments_text(text: str | None) -> str:
    """The text of a JSON object, whatever the model wrote."""
    if not text or text.isspace():
        return "{}"
    raw = text.encode()
    try:
        jsontext.check(raw)
    except jsontext.BadJSON:
        found = None
    else:
        found = fields.object_text(raw)
    return jsontext.encode({"_raw": text}).decode() if found is None else found


def _image(url: str, place: str) -> ImageBlock:
    if url[:5].lower() != "data:":
        return ImageBlock(url=url)
    media_type, data = data_url(url, place)
    return ImageBlock(media_type, data)


def _document(file: shapes.FileData, place: str) -> RequestBlock:
    if file.file_data is None:
        if file.file_id is None:
            raise fields.wrong(f"{place}.file_data", "field required")
        return OtherBlock("file.file_id")
    if file.file_data[:5].lower() == "data:":
        media_type, data = data_url(file.file_data, f"{place}.file_data")
    else:
        media_type, data = "application/pdf", file.file_data
    return DocumentBlock(media_type, data, title=file.filename)


def data_url(url: str, place: str) -> tuple[str, str]:
    """The media type and the base64 data of a data: URL."""
    head, comma, data = url[5:].partition(",")
    media_type, *parameters = head.split(";")
    if not comma or not media_type or not parameters or parameters[-1].strip().lower() != "base64":
        raise fields.wrong(place, 'expected a base64 data: URL, such as "data:image/png;base64,..."')
    media_type = media_type.strip().lower()
    # No registered type, though common; OpenAI takes it, others do not.
    return "image/jpeg" if media_type == "image/jpg" else media_type, data


def _tool(function: shapes.Function, cache_control: object = None) -> Tool:
    mark = cache_control if isinstance(cache_control, dict) else None
    return Tool(function.name, function.description, function.parameters, function.strict, cache_control=mark)


def _marked(block: RequestBlock, cache_control: object) -> RequestBlock:
    """``block`` with the mark that a prompt may be cached up to it, where it can bear one."""
    if isinstance(cache_control, dict) and isinstance(block, TextBlock | ImageBlock | DocumentBlock):
        return msgspec.structs.replace(block, cache_control=cache_control)
    return block


def _custom_tool(custom: shapes.CustomTool) -> Tool:
    format = custom.format
    grammar = format if format is not None and format.get("type") == "grammar" else None
    return Tool(custom.name, custom.description, free_text.SCHEMA, free_text=True, grammar=grammar)


def _function_choice(choice: str | shapes.Named | None) -> ToolChoice | None:
    """The legacy ``function_call``."""
    if choice is None:
        return None
    if isinstance(choice, str):
        return _mode(fields.one_of(choice, ("none", "auto"), "function_call"))
    return ToolChoice("tool", choice.name)


def _mode(word: str) -> ToolChoice:
    """The choice for ``none``, ``auto`` or ``required``."""
    return ToolChoice("any" if word == "required" else word)
