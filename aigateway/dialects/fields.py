"""The names of a client's fields: in what is wrong with a request, and in what was left out of it.

A client's body is decoded into typed records; what does not fit becomes a `MalformedRequest`
that names the field by its path (``messages[1].content[0].text``) and says what was expected.
Leaves to each dialect what its fields are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

import msgspec

from .. import jsontext
from ..errors import MalformedRequest
from ..events import ChatRequest
from .base import Rendered

T = TypeVar("T")

MAX_STRANGE = 1_000
"""Names in a request that nobody knows, or that nobody has a word for. Each of them is told to the client."""

_NULL = msgspec.Raw(b"null")
_names = msgspec.json.Decoder(dict[str, msgspec.Raw])

# msgspec writes "Expected `int | null`, got `str` - at `$.messages[0].role`".
_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(?P<types>[^`]*)`(?P<bound>[^,]*)(?:, got `(?P<got>[^`]*)`)?")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_INVALID = re.compile(r"Invalid (?:enum )?value (?P<value>.*)", re.DOTALL)
_WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}

# Our word for a field -> how each dialect spells it; "" where a dialect is not named.
_SPELLINGS: dict[str, dict[str, str]] = {
    "max_tokens": {"responses": "max_output_tokens", "gemini": "generationConfig.maxOutputTokens"},
    "temperature": {"gemini": "generationConfig.temperature"},
    "top_p": {"gemini": "generationConfig.topP"},
    "top_k": {"gemini": "generationConfig.topK"},
    "stop": {"claude": "stop_sequences", "gemini": "generationConfig.stopSequences"},
    "seed": {"gemini": "generationConfig.seed"},
    "presence_penalty": {"gemini": "generationConfig.presencePenalty"},
    "frequency_penalty": {"gemini": "generationConfig.frequencyPenalty"},
    "tool_choice": {"gemini": "toolConfig"},
    "parallel_tools": {"claude": "tool_choice.disable_parallel_tool_use", "": "parallel_tool_calls"},
    "thinking": {"responses": "reasoning", "gemini": "generationConfig.thinkingConfig"},
    "effort": {
        "claude": "output_config.effort",
        "responses": "reasoning.effort",
        "gemini": "generationConfig.thinkingConfig.thinkingLevel",
        "": "reasoning_effort",
    },
    "budget": {"gemini": "generationConfig.thinkingConfig.thinkingBudget", "": "thinking.budget_tokens"},
    "hidden": {"gemini": "generationConfig.thinkingConfig.includeThoughts", "": "thinking.display"},
    "response_format": {
        "claude": "output_config.format",
        "responses": "text.format",
        "gemini": "generationConfig.responseSchema",
    },
    "user": {"claude": "metadata.user_id"},
    "messages": {"responses": "input", "gemini": "contents"},
    "free_text": {"": "tools.custom"},
}

# Fields that name what lies with OpenAI: what that is, and what to do instead.
_STORED = {
    "previous_response_id": ("the earlier response", "send the whole conversation in input"),
    "conversation": ("the stored conversation", "send all of it in input"),
    "prompt": ("the stored prompt", "send its text in instructions"),
    "background": ("responses in the background", "stream it, or wait for it"),
    "input": ("what this item stands for", "send the whole conversation in input"),
}


class Reading:
    """One body being read. ``other`` names what it holds that the hub has no word for."""

    def __init__(self) -> None:
        self.other: dict[str, None] = {}

    def note(self, name: str) -> None:
        self.other[name] = None
        if len(self.other) > MAX_STRANGE:
            raise MalformedRequest(f"the body: more than {MAX_STRANGE} fields that have no word here")

    def names(
        self, raw: bytes, known: Collection[str], no_word: Mapping[str, Collection[bytes]]
    ) -> tuple[str, ...]:
        """The top-level names that nobody knows; those without a word are noted.

        ``no_word`` gives them with the texts that say no more than leaving the field out does.
        """
        unknown = []
        for name, value in given(raw).items():
            if name in known:
                continue
            if name not in no_word:
                unknown.append(name)
            elif msgspec.json.format(bytes(value), indent=-1) not in no_word[name]:
                self.note(name)
        if len(unknown) > MAX_STRANGE:
            raise MalformedRequest(f"the body: more than {MAX_STRANGE} fields that no provider knows")
        return tuple(unknown)

    def _cached(self, cache_control: object) -> None:
        if cache_control is not None:
            self.note("cache_control")


def check(raw: bytes) -> None:
    """`jsontext.check` for a client's body: raises `MalformedRequest`."""
    try:
        jsontext.check(raw)
    except jsontext.BadJSON as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from None


def decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw, place: str = "") -> T:
    """``raw``, found at ``place`` of the body, as a typed record; raises `MalformedRequest`."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _translated(str(error), place) from None


def given(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The top-level fields of a body with their JSON text; null is as good as absent."""
    return {name: value for name, value in decode(_names, raw).items() if value != _NULL}


def first_byte(raw: msgspec.Raw) -> bytes:
    """What ``raw``, a part of a decoded text, begins with: it tells an object from a list. (``bytes(raw)`` is
    a copy, perhaps of megabytes.)"""
    return bytes(memoryview(raw)[:1])


def wrong(place: str, problem: str, *, code: str | None = None) -> MalformedRequest:
    """The error that the field at ``place`` has a ``problem``."""
    return MalformedRequest(f"{place}: {problem}", param=place, code=code)


def refuse_needed(chat: ChatRequest, rendered: Rendered, provider: str) -> None:
    """Raises `MalformedRequest` where ``provider`` is not asked for what the answer would have to be."""
    if chat.needed and not (rendered.kept and chat.is_all(chat.dialect)):
        name = chat.needed[0]
        stored = _STORED.get(name) or (_STORED["input"] if name.startswith("input.") else None)
        problem = f"not supported by {provider} for this client; leave it out or choose another model"
        if stored is not None:
            has, instead = stored
            problem = f"only OpenAI's Responses API has {has}, and {provider} is not asked by it; {instead}"
        raise wrong(name, problem, code="unsupported_parameter")


def refuse_dropped(rendered: Rendered, provider: str) -> None:
    """Raises `MalformedRequest` where ``provider`` has no place for a field: what ``strict`` asks for."""
    if rendered.dropped:
        names = ", ".join(rendered.dropped)
        raise MalformedRequest(
            f"{provider} has no place for: {names}; leave them out, or do not ask for strict",
            param=rendered.dropped[0],
        )


def one_of(value: str, allowed: Collection[str], place: str) -> str:
    """``value`` if it is ``allowed``; raises `MalformedRequest`."""
    if value not in allowed:
        raise wrong(place, f"expected one of {', '.join(allowed)}, got {shortened(value)}")
    return value


def object_text(raw: bytes | msgspec.Raw) -> str | None:
    """The compact text of the JSON object ``raw``, its numbers as written; None if it is no object.

    ``raw`` must be well-formed JSON.
    """
    text = msgspec.json.format(bytes(raw), indent=-1)
    return text.decode() if text[:1] == b"{" else None


def shortened(value: str) -> str:
    """``value`` in quotes, fit for a message: no more than a name's length of it."""
    return f'"{value}"' if len(value) <= 40 else f'"{value[:40]}..."'


def message_place(chat: ChatRequest, index: int) -> str:
    """Where a message is in the client's body; only Claude's messages are numbered as ours are."""
    return f"messages[{index}]" if chat.dialect == "claude" else spelling(chat.dialect, "messages")


def spelling(dialect: str, field: str) -> str:
    """How a client of ``dialect`` spells ``field`` of a `ChatRequest`."""
    spellings = _SPELLINGS.get(field, {})
    return spellings.get(dialect) or spellings.get("") or field


def _translated(message: str, place: str) -> MalformedRequest:
    """msgspec's ``message`` in the words of JSON, with the path from the top of the body."""
    found = _MESSAGE.fullmatch(message)
    problem, path = (found["problem"], found["path"] or "") if found else (message, "")
    if missing := _MISSING.fullmatch(problem):
        path = f"{path}.{missing['name']}" if path else missing["name"]
        problem = "field required"
    elif expected := _EXPECTED.fullmatch(problem):
        types = [_WORDS.get(name, name) for name in expected["types"].split(" | ") if name != "null"]
        problem = f"expected {' or '.join(types)}{expected['bound']}"
        if expected["got"]:
            problem += f", got {_WORDS.get(expected['got'], expected['got'])}"
    elif invalid := _INVALID.fullmatch(problem):
        problem = f"unknown value {shortened(invalid['value'].strip(chr(39)))}"
    if place and path:
        path = f"{place}{path}" if path.startswith("[") else f"{place}.{path}"
    path = path or place
    return wrong(path, problem) if path else MalformedRequest(f"the body: {problem}")
