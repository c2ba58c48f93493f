"""An OpenAI Responses body, read into a `ChatRequest`.

The shapes are those of the official SDK's request types, and what Codex sends besides: tools in
namespaces, and tools among the input items. OpenAI itself still gets such a body as it came
(`passthrough`): only what no server could read is refused here. What asks for more than the body
holds (``previous_response_id``, a stored prompt) is ``needed``: it lies with OpenAI.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ...events import ChatRequest, ResponseFormat, TextBlock, Thinking, Tool, ToolChoice
from .. import fields, free_text, strays
from . import shapes
from .items import Conversation, flat_name

# Fields of the dialect that a `ChatRequest` has no word for, with the text of a value that
# says no more than leaving the field out does.
_NO_WORD: dict[str, tuple[bytes, ...]] = {
    "access_programs": (),
    "background": (b"false",),
    "background_options": (),
    "client_metadata": (b"{}",),
    "context_management": (b"[]",),
    "conversation": (),
    "image": (),
    "max_tool_calls": (),
    "metadata": (b"{}",),
    "moderation": (),
    "previous_response_id": (),
    "prompt": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "store": (b"false",),
    "top_logprobs": (b"0",),
    "truncation": (b'"disabled"',),
}
# What the conversation is made of, or how its answer is to be fetched.
_NEEDED = ("previous_response_id", "conversation", "prompt", "background")
_ENCRYPTED = "reasoning.encrypted_content"
"""The one thing to include that always is."""


def parse_request(raw: bytes) -> ChatRequest:
    """The request in ``raw``. Raises `MalformedRequest`, which names the field at fault."""
    fields.check(raw)
    reading = _Reading()
    body = strays.decode(shapes.body_decoder, raw, reading.note)
    if not body.model:
        raise fields.wrong("model", "field required; GET /v1/models lists the names there are")
    unknown = reading.names(raw, shapes.FIELDS, _NO_WORD)
    needed = [name for name in reading.other if name in _NEEDED]
    conversation = Conversation(reading)
    if body.input is not None:
        conversation.read(body.input)
    if not conversation.turns and not conversation.system and not needed and not conversation.needed:
        raise fields.wrong("input", "a text or at least one item is required")
    tools, tool_choice = reading.tools(body, conversation.tools)
    if any(name != _ENCRYPTED for name in body.include or ()):
        reading.note("include")
    return ChatRequest(
        dialect="responses",
        model=body.model,
        messages=tuple(conversation.turns),
        system=((TextBlock(body.instructions),) if body.instructions else ()) + tuple(conversation.system),
        stream=bool(body.stream),
        include_usage=True,
        max_tokens=_max_tokens(body.max_output_tokens),
        temperature=body.temperature,
        top_p=body.top_p,
        tools=tools,
        tool_choice=tool_choice,
        parallel_tools=body.parallel_tool_calls,
        thinking=_thinking(body.reasoning),
        effort=body.reasoning.effort if body.reasoning else None,
        response_format=reading.text(body.text),
        user=reading.user(body),
        service_tier=body.service_tier,
        other=tuple(reading.other),
        unknown=unknown,
        needed=(*needed, *conversation.needed),
        raw=raw,
    )


class _Reading(fields.Reading):
    def tools(
        self, body: shapes.Body, among_items: Iterable[tuple[str, msgspec.Raw]]
    ) -> tuple[tuple[Tool, ...], ToolChoice | None]:
        """The tools that the request offers, those among its items too, and the choice.

        A choice of ``allowed_tools`` leaves only those that it allows.
        """
        tools: list[Tool] = []
        for index, raw in enumerate(body.tools or ()):
            tools += self._tool(raw, f"tools[{index}]")
        for place, raw in among_items:
            tools += self._tool(raw, place)
        choice = body.tool_choice
        if choice is None:
            return tuple(tools), None
        if isinstance(choice, str):
            return tuple(tools), _mode(choice, "tool_choice")
        if choice.type in ("function", "custom"):
            if not choice.name:
                raise fields.wrong("tool_choice.name", "field required")
            return tuple(tools), ToolChoice("tool", flat_name(choice.namespace, choice.name))
        if choice.type == "allowed_tools":
            names = {flat_name(one.namespace, one.name or "") for one in choice.tools or ()}
            mode = _mode(choice.mode or "auto", "tool_choice.mode")
            return tuple(tool for tool in tools if tool.name in names), mode
        self.note("tool_choice")
        return tuple(tools), None

    def _tool(self, raw: msgspec.Raw, place: str, namespace: str = "") -> list[Tool]:
        """The tool at ``place``, or those of a namespace; none where OpenAI itself would run it."""
        type = fields.decode(shapes.tag_decoder, raw, place).type
        if type == "function":
            function = strays.decode(shapes.function_decoder, raw, self.note, place, "tools")
            name = flat_name(namespace, function.name)
            schema, strict = function.parameters, function.strict
            return [Tool(name, function.description, schema, strict, namespace=namespace)]
        if type == "custom":
            custom = strays.decode(shapes.custom_decoder, raw, self.note, place, "tools")
            return [_free_text(custom, namespace)]
        if type == "namespace" and not namespace:
            group = strays.decode(shapes.namespace_decoder, raw, self.note, place, "tools")
            if group.description:
                self.note(f"{place}.description")
            tools: list[Tool] = []
            for index, inner in enumerate(group.tools):
                tools += self._tool(inner, f"{place}.tools[{index}]", group.name)
            return tools
        self.note(place)
        return []

    def text(self, config: shapes.TextConfig | None) -> ResponseFormat | None:
        if config is None:
            return None
        if config.verbosity not in (None, "medium"):
            self.note("text.verbosity")
        format = config.format
        if format is None or format.type == "text":
            return None
        if format.type == "json_object":
            return ResponseFormat("json_object")
        if format.type == "json_schema":
            if format.schema is None:
                raise fields.wrong("text.format.schema", "field required")
            schema = format.schema
            if format.description:
                schema = {"description": format.description, **schema}
            return ResponseFormat("json_schema", schema, format.name, format.strict)
        self.note("text.format")
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


def _free_text(custom: shapes.Custom, namespace: str) -> Tool:
    grammar = custom.format if custom.format and custom.format.get("type") == "grammar" else None
    return Tool(
        flat_name(namespace, custom.name),
        custom.description,
        free_text.SCHEMA,
        free_text=True,
        grammar=grammar,
        namespace=namespace,
    )


def _thinking(reasoning: shapes.Reasoned | None) -> Thinking | None:
    """Who asks for a summary wants to see thinking; how much of it there is, ``effort`` says."""
    if reasoning is None or reasoning.effort == "none":
        return None
    return Thinking("adaptive") if reasoning.summary or reasoning.generate_summary else None


def _max_tokens(value: int | None) -> int | None:
    if value is not None and value < 0:
        raise fields.wrong("max_output_tokens", f"expected an integer >= 0, got {value}")
    return value


def _mode(word: str, place: str) -> ToolChoice:
    """The choice for ``none``, ``auto`` or ``required``."""
    fields.one_of(word, ("none", "auto", "required"), place)
    return ToolChoice("any" if word == "required" else word)
