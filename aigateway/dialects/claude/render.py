"""A `ChatRequest` as an Anthropic Messages body, for Anthropic and for servers that follow it.

A Claude client's body goes on as it came (`kept`); any other is made from the hub, by the table in
`families`. What has no place in it is named in ``dropped``, as the client spells it; what is brought
about by other means in ``emulated``; what the client must change is a `MalformedRequest`. Leaves the
address and the headers to the provider.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from ... import jsontext
from ...errors import MalformedRequest
from ...events import ChatRequest, Tool
from .. import fields, free_text
from ..base import Rendered
from ..names import Names
from . import families, schema
from .messages import Conversation
from .thinking import Plan, plan

MAX_TOKENS = 8192
"""The limit of an answer where the client names none: the API wants one."""
MOST_CACHED = 4
"""Marks of ``cache_control`` in a request; more is refused."""
LONGEST_USER = 256
TOP_P_WITH_THINKING = 0.95
"""The least ``top_p`` that goes with thinking."""

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_LONGEST_NAME = 64
# The other dialects' words for a service tier.
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


def render_request(chat: ChatRequest, model: str, *, stream: bool) -> Rendered:
    """The body that asks ``model`` what ``chat`` asks; ``stream`` is how the provider is asked,
    whatever the client wants. Raises `MalformedRequest`."""
    rendering = _Rendering(chat, model)
    rendering.render(stream)
    return Rendered(
        jsontext.encode(rendering.body),
        tuple(rendering.dropped),
        tuple(rendering.emulated),
        renamed=rendering.names.renamed,
    )


class _Rendering:
    """One body being made from the hub."""

    def __init__(self, chat: ChatRequest, model: str) -> None:
        self.chat = chat
        self.family = families.of(model)
        self.names = Names(chat, _TOOL_NAME, _LONGEST_NAME)
        self.body: dict[str, Any] = {"model": model}
        self.dropped: dict[str, None] = {}
        self.emulated: dict[str, None] = {}

    def render(self, stream: bool) -> None:
        self.dropped.update(dict.fromkeys((*self.chat.other, *self.chat.unknown)))
        self._tools()
        may_think = self._conversation()
        thinking = plan(self.chat, self.family, may_think=may_think, max_tokens=self._max_tokens())
        self._thinking(thinking)
        self._tool_choice(thinking)
        self._sampling(thinking)
        self._rest()
        self._cache_control()
        if stream:
            self.body["stream"] = True

    def _drop(self, field: str) -> None:
        """``field`` of the hub has no place."""
        self.dropped[fields.spelling(self.chat.dialect, field)] = None

    def _conversation(self) -> bool:
        """The turns and the instructions; returns whether they allow a budget for thinking."""
        conversation = Conversation(
            self.family,
            self.names,
            lambda type: self.dropped.setdefault(type),
            lambda name: self.emulated.setdefault(name),
        )
        conversation.converse(self.chat)
        system = [
            {"type": "text", "text": block.text}
            | ({} if block.cache_control is None else {"cache_control": block.cache_control})
            for block in self.chat.system
            if block.text.strip()
        ]
        if words := self._response_format():
            system.append({"type": "text", "text": words})
        if system:
            self.body["system"] = system
        self.body["messages"] = conversation.messages
        return conversation.may_think()

    def _response_format(self) -> str:
        """Sets the response format; returns what must be said in words, mostly nothing."""
        wanted = self.chat.response_format
        if wanted is None:
            return ""
        if wanted.schema is not None and self.family.structured:
            try:
                format = {"type": "json_schema", "schema": schema.limited(wanted.schema)}
            except schema.Unfit:
                pass  # it is told in words
            else:
                self.body["output_config"] = {"format": format}
                return ""
        self.emulated[fields.spelling(self.chat.dialect, "response_format")] = None
        if wanted.schema is None:
            return "Answer with one JSON object and nothing else: no prose, no code fence."
        told = jsontext.encode(wanted.schema).decode()
        return (
            "Answer with one JSON value and nothing else: no prose, no code fence. "
            f"It must conform to this JSON schema: {told}"
        )

    # ------------------------------------------------------------------- tools

    def _tools(self) -> None:
        if self.chat.tools:
            self.body["tools"] = [self._tool(tool) for tool in self.chat.tools]

    def _tool(self, tool: Tool) -> dict[str, object]:
        found: dict[str, object] = {"name": self.names.of(tool.name)}
        if description := free_text.description(tool):
            found["description"] = description
        if tool.free_text:
            self.emulated[fields.spelling(self.chat.dialect, "free_text")] = None
        try:
            found["input_schema"] = schema.of_input(tool.input_schema)
        except schema.Unfit as problem:
            raise MalformedRequest(
                f"tools: the schema of {fields.shortened(tool.name)} cannot go to this provider: {problem}",
                param="tools",
            ) from None
        if tool.strict:
            try:
                if not self.family.structured:
                    raise schema.Unfit("this model takes none")
                limited = schema.limited(found["input_schema"])
                if limited.get("type") != "object":
                    raise schema.Unfit("its root refers to a definition, or lists its values")
                found |= {"input_schema": limited, "strict": True}
            except schema.Unfit:
                self.dropped["tools.strict"] = None
        if tool.cache_control is not None:
            found["cache_control"] = tool.cache_control
        return found

    def _tool_choice(self, thinking: Plan) -> None:
        chat, choice = self.chat, self.chat.tool_choice
        mode = choice.mode if choice is not None else "auto"
        forced = mode in ("any", "tool")
        if not chat.tools:
            if forced:
                self._drop("tool_choice")
            return
        if forced and (thinking.budget is not None or not self.family.forced_choice):
            self._drop("tool_choice")  # both are refused: the model decides
            mode = "auto"
        found: dict[str, object] = {"type": mode}
        if mode == "tool" and choice is not None and choice.name is not None:
            found["name"] = self.names.of(choice.name)
        if chat.parallel_tools is False and mode != "none":
            found["disable_parallel_tool_use"] = True
        if choice is not None or len(found) > 1:
            self.body["tool_choice"] = found

    # ---------------------------------------------------------------- thinking

    def _max_tokens(self) -> int:
        """The limit of the answer, which counts its thinking."""
        limit = MAX_TOKENS if self.chat.max_tokens is None else max(self.chat.max_tokens, 1)
        most = self.family.most_output
        if most is not None and limit > most:
            if self.chat.max_tokens is not None:
                self._drop("max_tokens")
            return most
        return limit

    def _thinking(self, thinking: Plan) -> None:
        self.body["max_tokens"] = thinking.max_tokens
        if thinking.config is not None:
            self.body["thinking"] = thinking.config
        if thinking.effort is not None:
            self.body.setdefault("output_config", {})["effort"] = thinking.effort
        for field in thinking.dropped:
            self._drop(field)

    def _sampling(self, thinking: Plan) -> None:
        chat, family, on = self.chat, self.family, thinking.on
        for name in ("temperature", "top_p", "top_k"):
            value = getattr(chat, name)
            if value is None:
                continue
            taken = family.sampling and not (on and (name != "top_p" or value < TOP_P_WITH_THINKING))
            if name == "top_p" and "temperature" in self.body and not family.both_samplings:
                taken = False
            if not taken:
                self._drop(name)
            else:
                self.body[name] = value if name == "top_k" else min(max(value, 0.0), 1.0)
        for name in ("seed", "presence_penalty", "frequency_penalty"):
            if getattr(chat, name) is not None:
                self._drop(name)

    # -------------------------------------------------------------------- rest

    def _rest(self) -> None:
        chat = self.chat
        if chat.stop:
            stop = [sequence for sequence in chat.stop if sequence.strip()]
            if len(stop) < len(chat.stop):
                self._drop("stop")  # a blank one is refused
            if stop:
                self.body["stop_sequences"] = stop
        if chat.user:
            # The API refuses what looks like a person's address.
            plain = len(chat.user) <= LONGEST_USER and "@" not in chat.user
            user = chat.user if plain else hashlib.sha256(chat.user.encode()).hexdigest()
            self.body["metadata"] = {"user_id": user}
        if chat.service_tier is not None:
            tier = _SERVICE_TIERS.get(chat.service_tier)
            if tier is None:
                self._drop("service_tier")
            else:
                self.body["service_tier"] = tier

    def _cache_control(self) -> None:
        """At most four marks, the last ones: each covers all that stands before it."""
        marked = [
            block
            for part in ("tools", "system", "messages")
            for block in _blocks(self.body.get(part))
            if "cache_control" in block
        ]
        if 0 < len(marked) <= MOST_CACHED:
            self.dropped.pop("cache_control", None)  # that the hub has no word for all of them
        for block in marked[:-MOST_CACHED]:
            del block["cache_control"]
            self.dropped["cache_control"] = None


def _blocks(value: object) -> Iterator[dict[str, object]]:
    """The tools, texts and blocks in a part of the body, in the order of the prompt."""
    for block in value if isinstance(value, list) else ():
        if isinstance(block, dict):
            yield from _blocks(block.get("content"))
            yield block
