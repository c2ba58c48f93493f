"""A `ChatRequest` as a Chat Completions body, for OpenAI and for servers that follow it.

An OpenAI client's body goes on as it came (`kept`); any other is made from the hub, by the tables in
`families` and `servers`. What has no place in it is named in ``dropped``, as the client spells it;
what the client must change is a `MalformedRequest`. Leaves the address and the headers to the provider.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from ... import jsontext
from ...events import ChatRequest, Tool, ToolChoice
from .. import fields, free_text
from ..base import Rendered
from ..names import Names
from . import families
from .history import in_words
from .kept import as_it_came
from .messages import Conversation
from .schemas import is_strict, json_schema, parameters_of
from .servers import GLM, OPENAI, Profile

__all__ = ["GLM", "OPENAI", "Profile", "render_request"]

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_LONGEST_NAME = 64
# The other dialects' names for a service tier; only Claude has its own.
_SERVICE_TIERS = {tier: tier for tier in OPENAI.service_tiers}
_SERVICE_TIERS["standard_only"] = "default"
# How many tokens of thinking an effort stands for, at most.
_BUDGETS = ((512, "minimal"), (1024, "low"), (8192, "medium"), (24576, "high"))


def render_request(
    chat: ChatRequest, model: str, profile: Profile, *, stream: bool, deployment: str = ""
) -> Rendered:
    """The body that asks ``model``, at a server of this ``profile``, what ``chat`` asks.

    ``stream`` is how the provider is asked, whatever the client wants. A stream's usage is always
    asked for: whether the client sees it is for its own writer. ``deployment`` is the server's own
    name for the model, where it has one. Raises `MalformedRequest`.
    """
    # Where tools of free text must become functions, their calls come back as such.
    fits = profile.custom_tools or not any(tool.free_text for tool in chat.tools)
    if chat.dialect == "openai" and profile.keeps_openai_bodies and fits:
        return as_it_came(chat, deployment or model, profile, stream=stream)
    rendering = _Rendering(chat, model, profile)
    rendering.render(stream)
    rendering.body["model"] = deployment or model
    return Rendered(
        jsontext.encode(rendering.body),
        tuple(rendering.dropped),
        tuple(rendering.emulated),
        renamed=rendering.names.renamed,
        echoes=chat.begun and profile.echoes,
    )


class _Rendering:
    """One body being made from the hub."""

    def __init__(self, chat: ChatRequest, model: str, profile: Profile) -> None:
        self.chat = chat
        self.profile = profile
        self.family = families.of(model)
        self.names = Names(chat, _TOOL_NAME, _LONGEST_NAME)
        self.body: dict[str, object] = {"model": model}
        self.dropped: dict[str, None] = {}
        self.emulated: dict[str, None] = {}
        native = profile.custom_tools and self.family.custom_tools
        self.custom = frozenset(tool.name for tool in chat.tools if tool.free_text and native)
        self.forced = False  # the model must call a tool, and so may not think

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
        if self.chat.begun:
            self._go_on()

    def _go_on(self) -> None:
        """Have the server go on with the last message, or say that it will begin anew."""
        if not self.profile.prefill:
            self._emulate("messages")
            return
        messages = self.body["messages"]
        if self.profile.prefill_flag and isinstance(messages, list):
            messages[-1][self.profile.prefill_flag] = True
        self.body.update(self.profile.prefill_fields)

    def _drop(self, field: str, suffix: str = "") -> None:
        """``field`` of the hub has no place, or the part of it that ``suffix`` names."""
        self.dropped[fields.spelling(self.chat.dialect, field) + suffix] = None

    def _emulate(self, field: str) -> None:
        """``field`` of the hub is brought about by other means."""
        self.emulated[fields.spelling(self.chat.dialect, field)] = None

    def _beyond_the_hub(self) -> None:
        """What the hub has no word for: passed on to the server whose own it is, or dropped."""
        chat = self.chat
        self.dropped.update(dict.fromkeys(chat.other))
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
        conversation = Conversation(
            chat,
            self.profile,
            self.family,
            self.names,
            self.custom,
            lambda type: self.dropped.setdefault(type),
        )
        texts = [block.text for block in chat.system]
        conversation.instruct([*texts, self._response_format()])
        conversation.converse()
        messages = conversation.messages
        if not messages:
            raise fields.wrong(
                fields.spelling(chat.dialect, "messages"),
                "nothing in them can go to this provider; send a message with text",
            )
        if self.profile.needs_user_message and all(message["role"] != "user" for message in messages):
            raise fields.wrong(
                fields.spelling(chat.dialect, "messages"), "this provider needs at least one user message"
            )
        if conversation.moved or (conversation.prefilled and not chat.begun):
            self._emulate("messages")  # the answer repeats what it was begun with, for one
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
            self.body["response_format"] = {"type": "json_schema", "json_schema": json_schema(wanted)}
            return ""
        self.body["response_format"] = {"type": "json_object"}
        self._emulate("response_format")
        return in_words(wanted.schema)

    def _limits(self) -> None:
        chat, profile = self.chat, self.profile
        if chat.max_tokens is not None:
            limit = max(chat.max_tokens, 1)  # a Claude client's 0 only warms its cache
            if self.family.most_output is not None and limit > self.family.most_output:
                limit = self.family.most_output
                self._drop("max_tokens")
            name = self.family.token_field if profile.max_completion_tokens else "max_tokens"
            self.body[name] = limit
        if chat.stop and not self.family.stop:
            self._drop("stop")
        elif chat.stop:
            self.body["stop"] = chat.stop[: profile.max_stop]
            if len(chat.stop) > profile.max_stop:
                self._drop("stop", f"[{profile.max_stop}:]")

    def _tools(self) -> None:
        chat, profile, choice = self.chat, self.profile, self.chat.tool_choice
        mode = choice.mode if choice is not None else "auto"
        if not chat.tools:
            # OpenAI answers 400 to a choice among no tools.
            if mode in ("any", "tool"):
                self._drop("tool_choice")
            return
        if mode == "none" and not (profile.tool_choice and profile.tool_choice_none):
            return
        tools = chat.tools
        if choice is not None and profile.tool_choice and self._may_force(mode):
            if mode == "tool" and not profile.tool_choice_named:
                self._emulate("tool_choice")
                tools = tuple(tool for tool in tools if tool.name == choice.name) or tools
            self.body["tool_choice"] = self._choice(choice)
        elif mode in ("any", "tool"):
            self._drop("tool_choice")
        self.body["tools"] = [self._tool(tool) for tool in tools]
        if chat.parallel_tools is None:
            return
        if profile.parallel_tool_calls and self.family.parallel_tool_calls:
            self.body["parallel_tool_calls"] = chat.parallel_tools
        elif not chat.parallel_tools:
            self._drop("parallel_tools")

    def _may_force(self, mode: str) -> bool:
        """Whether a choice of this ``mode`` can be had: one that forces a call may want a word that
        the server lacks, or that the model stops thinking."""
        profile, family = self.profile, self.family
        if mode in ("auto", "none"):
            return True
        if not profile.tool_choice_required and (mode == "any" or not profile.tool_choice_named):
            return False
        if profile.forced_or_thinking and family.thinks and family.thinking_field:
            self.forced = family.can_stop_thinking
            return self.forced
        return True

    def _choice(self, choice: ToolChoice) -> object:
        if choice.mode in ("auto", "none"):
            return choice.mode
        if choice.mode == "any" or choice.name is None or not self.profile.tool_choice_named:
            return self.profile.required_word
        type = "custom" if choice.name in self.custom else "function"
        return {"type": type, type: {"name": self.names.of(choice.name)}}

    def _tool(self, tool: Tool) -> dict[str, object]:
        name = self.names.of(tool.name)
        if tool.name in self.custom:
            return {"type": "custom", "custom": _custom(tool, name)}
        parameters = parameters_of(tool)
        function: dict[str, object] = {"name": name, "parameters": parameters}
        if (description := free_text.description(tool)) is not None:
            function["description"] = description
        if tool.free_text:
            self._emulate("free_text")
        if tool.strict is not None and self.profile.strict:
            function["strict"] = tool.strict and is_strict(parameters)
        if tool.strict and not function.get("strict"):
            self.dropped["tools.strict"] = None
        return {"type": "function", "function": function}

    def _thinking(self) -> None:
        if self.profile.thinking == "reasoning":
            self._reasoning()
        elif self.family.thinking_field:
            self._thinking_field()
        else:
            self._effort_alone()

    def _effort_alone(self) -> None:
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

    def _reasoning(self) -> None:
        """OpenRouter has one field for all models, and leaves out what the model does not take."""
        effort, thinking = self.chat.effort, self.chat.thinking
        field: dict[str, object] = {}
        if effort is not None:
            field["effort"] = effort
        elif thinking is not None and thinking.mode == "disabled":
            field["enabled"] = False
        elif thinking is not None and thinking.budget is not None:
            field["max_tokens"] = thinking.budget
        elif thinking is not None:
            field["enabled"] = True
        if thinking is not None and thinking.hidden:
            field["exclude"] = True
        if field:
            self.body["reasoning"] = field

    def _thinking_field(self) -> None:
        """``thinking`` turns it on and off; how hard it thinks is for the newest models alone."""
        effort, thinking = self.chat.effort, self.chat.thinking
        field = "thinking" if thinking is not None else "effort"
        off = thinking.mode == "disabled" if thinking is not None else effort == "none"
        if self.profile.thinking != "field":
            # A server of others, which has its own ways if any.
            if thinking is not None or effort is not None:
                self._drop(field)
            return
        if (off or self.forced) and self.family.can_stop_thinking:
            if not off and (thinking is not None or effort is not None):
                self._drop(field)
            self.body["thinking"] = {"type": "disabled"}
            return
        if off:
            self._drop(field)
            self._effort("none", "thinking")
            return
        messages = self.body["messages"]
        replayed = isinstance(messages, list) and any("reasoning_content" in turn for turn in messages)
        if effort is not None:
            self._effort(effort, "effort")
        elif thinking is not None and thinking.budget is not None:
            self._effort(effort_of(thinking.budget), "budget")
        without = effort is not None and "reasoning_effort" not in self.body
        if thinking is not None or without or (replayed and self.profile.clears_thinking):
            said: dict[str, object] = {"type": "enabled"}
            if replayed and self.profile.clears_thinking:
                said["clear_thinking"] = False
            self.body["thinking"] = said
        if thinking is not None and thinking.hidden:
            self._drop("hidden")

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
            penalty = name.endswith("penalty")
            if not taken or (penalty and not (self.profile.penalties and family.penalties)):
                self._drop(name)
            elif not self.profile.open_sampling or penalty:
                self.body[name] = value
            elif value <= 0 and name == "temperature":
                self.body["do_sample"] = False
            else:
                self.body[name] = min(max(value, 0.01), 0.99)  # as the zai SDK does
        if chat.top_k is not None:
            self._drop("top_k")
        if chat.seed is not None:
            if self.profile.seed:
                self.body[self.profile.seed_field] = chat.seed
            else:
                self._drop("seed")

    def _rest(self) -> None:
        chat, profile = self.chat, self.profile
        if chat.user and profile.user_field is None:
            self._drop("user")
        elif chat.user and profile.user_field is not None:
            shortest, longest = profile.user_length
            fits = shortest <= len(chat.user) <= longest
            hashed = hashlib.sha256(chat.user.encode()).hexdigest()
            self.body[profile.user_field] = chat.user if fits else hashed
        if chat.service_tier is not None:
            tier = _SERVICE_TIERS.get(chat.service_tier)
            if tier in profile.service_tiers:
                self.body["service_tier"] = tier
            else:
                self._drop("service_tier")


def effort_of(budget: int) -> str:
    """The effort that a thinking budget of so many tokens stands for."""
    return next((effort for most, effort in _BUDGETS if budget <= most), "xhigh")


def _custom(tool: Tool, name: str) -> dict[str, object]:
    """A tool of free text. Responses has a grammar's parts beside ``type``, Chat Completions within."""
    custom: dict[str, object] = {"name": name}
    if tool.description is not None:
        custom["description"] = tool.description
    if tool.grammar is not None:
        nested = tool.grammar.get("grammar") or {k: v for k, v in tool.grammar.items() if k != "type"}
        custom["format"] = {"type": "grammar", "grammar": nested}
    return custom
