"""A `ChatRequest` as a Chat Completions body, for OpenAI and for servers that follow it.

An OpenAI client's body goes to OpenAI as it came; any other is made from the hub, by the tables in
`families`. What has no place in it is named in ``dropped``, as the client spells it; what the
client must change is a `MalformedRequest`. Leaves the address and the headers to the provider.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from ... import jsontext
from ...events import ChatRequest, ResponseFormat, Tool
from .. import fields
from ..base import Rendered
from . import families
from .families import GLM, OPENAI, Profile
from .messages import Conversation, tool_name

__all__ = ["GLM", "OPENAI", "Profile", "render_request"]

# These change the shape of an answer: a client that asks for one and gets another would break.
_SHAPE = ("n", "logprobs", "modalities")
# The other dialects' names for a service tier; only Claude has its own.
_SERVICE_TIERS = {tier: tier for tier in ("auto", "default", "flex", "priority", "scale")}
_SERVICE_TIERS["standard_only"] = "default"
# How many tokens of thinking an effort stands for, at most.
_BUDGETS = ((512, "minimal"), (1024, "low"), (8192, "medium"), (24576, "high"))


def render_request(chat: ChatRequest, model: str, profile: Profile, *, stream: bool) -> Rendered:
    """The body that asks ``model``, at a server of this ``profile``, what ``chat`` asks.

    ``stream`` is how the provider is asked, whatever the client wants. A stream's usage is always
    asked for: whether the client sees it is for its own writer. Raises `MalformedRequest`.
    """
    if chat.dialect == "openai" and profile.keeps_openai_bodies:
        if not chat.is_all("openai"):
            for name in chat.other:
                _refuse_shape(name, "has no place in an answer of another dialect; leave it out")
        return Rendered(_as_it_came(chat.raw, model, profile, stream))
    rendering = _Rendering(chat, model, profile)
    rendering.render(stream)
    return Rendered(jsontext.encode(rendering.body), tuple(rendering.dropped))


def _refuse_shape(name: str, why: str) -> None:
    if name in _SHAPE:
        raise fields.wrong(name, why, code="unsupported_parameter")


def _as_it_came(raw: bytes, model: str, profile: Profile, stream: bool) -> bytes:
    """The client's own body, every other field byte for byte."""
    client = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    options = client.pop("stream_options", b"null")
    body: dict[str, object] = {**client, "model": model}
    if stream:
        body["stream"] = True
        if profile.stream_options:
            body["stream_options"] = {**(msgspec.json.decode(options) or {}), "include_usage": True}
    elif "stream" in body:
        body["stream"] = False  # and no stream_options, which OpenAI then refuses
    return jsontext.encode(body)


class _Rendering:
    """One body being made from the hub."""

    def __init__(self, chat: ChatRequest, model: str, profile: Profile) -> None:
        self.chat = chat
        self.profile = profile
        self.family = families.of(model)
        self.body: dict[str, object] = {"model": model}
        self.dropped: dict[str, None] = {}

    def render(self, stream: bool) -> None:
        self._beyond_the_hub()
        self._conversation()
        self._limits()
        self._tools()
        self._thinking()
        self._sampling()
        self._rest()
        if stream:
            self.body["stream"] = True
            if self.profile.stream_options:
                self.body["stream_options"] = {"include_usage": True}

    def _drop(self, field: str, suffix: str = "") -> None:
        """``field`` of the hub has no place, or the part of it that ``suffix`` names."""
        self.dropped[fields.spelling(self.chat.dialect, field) + suffix] = None

    def _beyond_the_hub(self) -> None:
        """What the hub has no word for: refused, passed on to the server whose own it is, or dropped."""
        chat = self.chat
        for name in chat.other:
            if chat.dialect == "openai":
                _refuse_shape(name, "not supported by this provider; leave it out or choose an OpenAI model")
            self.dropped[name] = None
        extensions: dict[str, msgspec.Raw] = {}
        if chat.unknown and chat.dialect == "openai" and self.profile.extensions:
            extensions = fields.given(chat.raw)
        for name in chat.unknown:
            if name in extensions and name in self.profile.extensions:
                self.body[name] = extensions[name]
            else:
                self.dropped[name] = None

    def _conversation(self) -> None:
        chat = self.chat
        conversation = Conversation(self.profile, self.family, lambda type: self.dropped.setdefault(type))
        texts = [block.text for block in chat.system]
        conversation.instruct([*texts, self._response_format()])
        conversation.converse(chat)
        messages = conversation.messages
        if not messages:
            raise fields.wrong(
                "messages", "nothing in them can go to this provider; send a message with text"
            )
        if self.profile.needs_user_message and all(message["role"] != "user" for message in messages):
            raise fields.wrong("messages", "this provider needs at least one user message")
        self.body["messages"] = messages

    def _response_format(self) -> str:
        """Sets the response format; returns what must be said in words, mostly nothing."""
        wanted = self.chat.response_format
        if wanted is None:
            return ""
        if wanted.type == "json_object" or wanted.schema is None:
            self.body["response_format"] = {"type": "json_object"}
            return ""
        if self.profile.json_schema:
            self.body["response_format"] = {"type": "json_schema", "json_schema": _json_schema(wanted)}
            return ""
        self.body["response_format"] = {"type": "json_object"}
        schema = jsontext.encode(wanted.schema).decode()
        return f"Answer with one JSON object that conforms to this JSON schema: {schema}"

    def _limits(self) -> None:
        chat, profile = self.chat, self.profile
        if chat.max_tokens is not None:
            limit = max(chat.max_tokens, 1)  # a Claude client's 0 only warms its cache
            if self.family.most_output is not None and limit > self.family.most_output:
                limit = self.family.most_output
                self._drop("max_tokens")
            self.body[profile.token_field or self.family.token_field] = limit
        if chat.stop and not self.family.stop:
            self._drop("stop")
        elif chat.stop:
            self.body["stop"] = chat.stop[: profile.max_stop]
            if len(chat.stop) > profile.max_stop:
                self._drop("stop", f"[{profile.max_stop}:]")

    def _tools(self) -> None:
        chat, profile, choice = self.chat, self.profile, self.chat.tool_choice
        if not chat.tools:
            # OpenAI answers 400 to a choice among no tools.
            if choice is not None and choice.mode in ("any", "tool"):
                self._drop("tool_choice")
            return
        if choice is not None and choice.mode == "none" and not profile.tool_choice_none:
            return
        self.body["tools"] = [self._tool(tool) for tool in chat.tools]
        if choice is not None:
            named = {"type": "function", "function": {"name": choice.name}}
            word = "required" if choice.mode == "any" else choice.mode
            self.body["tool_choice"] = named if choice.mode == "tool" else word
        if chat.parallel_tools is None:
            return
        if profile.parallel_tool_calls:
            self.body["parallel_tool_calls"] = chat.parallel_tools
        elif not chat.parallel_tools:
            self._drop("parallel_tools")

    def _tool(self, tool: Tool) -> dict[str, object]:
        name = tool_name(tool.name, "tools")
        parameters = _parameters(tool)
        function: dict[str, object] = {"name": name, "parameters": parameters}
        if tool.description is not None:
            function["description"] = tool.description
        if tool.strict is not None and self.profile.strict:
            function["strict"] = tool.strict and is_strict(parameters)
        if tool.strict and not function.get("strict"):
            self.dropped["tools.strict"] = None
        return {"type": "function", "function": function}

    def _thinking(self) -> None:
        if self.family.thinking_field:
            self._thinking_field()
            return
        effort, thinking = self.chat.effort, self.chat.thinking
        if effort is not None:
            self._effort(effort, "effort")
        elif thinking is None:
            return
        elif thinking.mode == "disabled":
            self._effort("none", "thinking")
        elif thinking.budget is not None:
            self._effort(effort_of(thinking.budget), "thinking")
        elif not self.family.thinks:
            self._drop("thinking")

    def _thinking_field(self) -> None:
        """GLM: ``thinking`` turns it on and off; how hard it thinks is for the newest alone."""
        effort, thinking = self.chat.effort, self.chat.thinking
        messages = self.body["messages"]
        replayed = isinstance(messages, list) and any("reasoning_content" in turn for turn in messages)
        off = thinking.mode == "disabled" if thinking is not None else effort == "none"
        if off and self.family.can_stop_thinking:
            self.body["thinking"] = {"type": "disabled"}
            return
        if off:
            self._drop("thinking" if thinking is not None else "effort")
            self._effort("none", "thinking")
            return
        if thinking is not None or replayed:
            field: dict[str, object] = {"type": "enabled"}
            if replayed:
                field["clear_thinking"] = False
            self.body["thinking"] = field
            if thinking is not None and thinking.hidden:
                self._drop("hidden")
        if effort is not None:
            self._effort(effort, "effort")
        elif thinking is not None and thinking.budget is not None:
            self._effort(effort_of(thinking.budget), "budget")

    def _effort(self, wanted: str, field: str) -> None:
        """``wanted`` as the model takes it, or ``field`` dropped; none needs no word where it is
        what the model does anyway."""
        effort = self.family.effort(wanted)
        if effort is not None:
            self.body["reasoning_effort"] = effort
        elif wanted != "none" or self.family.thinks:
            self._drop(field)

    def _sampling(self) -> None:
        chat, family = self.chat, self.family
        taken = family.sampling == "always"
        if family.sampling == "without thinking":
            taken = self.body.get("reasoning_effort", "high" if family.thinks else "none") == "none"
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
            value = getattr(chat, name)
            if value is None:
                continue
            if not taken or (name.endswith("penalty") and not self.profile.penalties):
                self._drop(name)
            elif not self.profile.open_sampling or name.endswith("penalty"):
                self.body[name] = value
            elif value <= 0 and name == "temperature":
                self.body["do_sample"] = False
            else:
                self.body[name] = min(max(value, 0.01), 0.99)  # as the zai SDK does
        if chat.top_k is not None:
            self._drop("top_k")
        if chat.seed is not None:
            if self.profile.seed:
                self.body["seed"] = chat.seed
            else:
                self._drop("seed")

    def _rest(self) -> None:
        chat, profile = self.chat, self.profile
        if chat.user:
            shortest, longest = profile.user_length
            fits = shortest <= len(chat.user) <= longest
            hashed = hashlib.sha256(chat.user.encode()).hexdigest()
            self.body[profile.user_field] = chat.user if fits else hashed
        if chat.service_tier is not None:
            tier = _SERVICE_TIERS.get(chat.service_tier)
            if tier is not None and profile.service_tier:
                self.body["service_tier"] = tier
            else:
                self._drop("service_tier")


def effort_of(budget: int) -> str:
    """The effort that a thinking budget of so many tokens stands for."""
    return next((effort for most, effort in _BUDGETS if budget <= most), "xhigh")


def _parameters(tool: Tool) -> dict[str, object]:
    """The tool's schema, which must be that of an object with properties (OpenAI answers 400)."""
    given = {name: value for name, value in (tool.input_schema or {}).items() if value is not None}
    schema = {"type": "object", "properties": {}, **given}
    if schema["type"] != "object" or not isinstance(schema["properties"], dict):
        raise fields.wrong(
            "tools",
            f"the schema of {fields.shortened(tool.name)} must be that of an object: "
            'give it "type": "object", and "properties" that are an object',
        )
    return schema


def is_strict(schema: object) -> bool:
    """Whether ``schema`` is one that OpenAI takes with ``strict``: a root object without anyOf, every
    object closed and with all of its properties required."""
    return isinstance(schema, dict) and "anyOf" not in schema and _closed(schema, root=True)


def _closed(schema: object, *, root: bool = False) -> bool:
    if not isinstance(schema, dict):
        return False
    properties = schema.get("properties")
    if root or properties is not None or schema.get("type") == "object":
        if not isinstance(properties, dict) or schema.get("additionalProperties") is not False:
            return False
        if set(properties) != _names(schema.get("required")):
            return False
        if not all(_closed(value) for value in properties.values()):
            return False
    if any(word in schema for word in ("allOf", "oneOf", "not", "if")):
        return False
    definitions = [schema.get(word) for word in ("$defs", "definitions")]
    inner = [value for one in definitions if isinstance(one, dict) for value in one.values()]
    if isinstance(any_of := schema.get("anyOf"), list):
        inner += any_of
    if "items" in schema:
        inner.append(schema["items"])
    return all(_closed(value) for value in inner)


def _names(required: object) -> set[str]:
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


def _json_schema(wanted: ResponseFormat) -> dict[str, object]:
    """OpenAI wants a name; Claude's format has none."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", wanted.name or "answer")[:64]
    strict = wanted.strict is not False and is_strict(wanted.schema)
    return {"name": name, "schema": wanted.schema, "strict": strict}
