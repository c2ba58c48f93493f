"""The public request fields of each dialect, as the vendors' own SDKs declare them.

A path names a field: ``messages[].content[image].source[base64].data``. Members of a union are told
apart by what they say of themselves (`aigateway.report` does the same with a request). A record is
walked where it is met first; met again, in another place, it is one field there.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from anthropic.types import message_create_params as claude
from google.genai import types as gemini
from openai.types.chat import completion_create_params as chat_completions
from openai.types.responses import response_create_params as responses

from aigateway.report import OPAQUE, TAGS


def public_fields(dialect: str) -> list[str]:
    """The path of every field and of every member of a union, in the SDK's order."""
    return list(dict.fromkeys(_Walk(dialect).fields()))


def ends(paths: list[str]) -> list[str]:
    """Those of ``paths`` that nothing is in: who names these has named them all."""
    inner = {path[:at] for path in paths for at in range(1, len(path)) if path[at] in ".["}
    return [path for path in paths if path not in inner]


# Gemini's SDK has one flat configuration, and spreads it over the body as it sends it: these go to
# the top, what is in `gemini.GenerationConfigDict` to generationConfig.
GEMINI_TOP: dict[str, Any] = {
    "contents": list[gemini.ContentDict],
    "system_instruction": gemini.ContentDict,
    "tools": list[gemini.ToolDict],
    "tool_config": gemini.ToolConfigDict,
    "safety_settings": list[gemini.SafetySettingDict],
    "generation_config": gemini.GenerationConfigDict,
    "cached_content": str,
    "continuation_token": bytes,
    "labels": dict[str, str],
    "model_armor_config": gemini.ModelArmorConfigDict,
    "service_tier": str,
    "store": bool,
}
# In generationConfig too, although its own record does not have them.
GEMINI_CONFIG: dict[str, Any] = {
    "image_config": gemini.ImageConfigDict,
    "generation_output_config": gemini.GenerationOutputConfigDict,
}
# What the SDK does itself.
GEMINI_SDK_ONLY = {
    "automatic_continuation",
    "automatic_function_calling",
    "http_options",
    "should_return_http_response",
}


class _Walk:
    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._tags = TAGS[dialect]
        self._opaque = OPAQUE[dialect]
        self._met: set[object] = set()

    def fields(self) -> Iterator[str]:
        if self._dialect == "gemini":
            for name, hint in GEMINI_TOP.items():
                yield from self._field(name, hint, "")
            for name, hint in GEMINI_CONFIG.items():
                yield from self._field(name, hint, "generationConfig")
            return
        body: dict[str, tuple[object, str]] = {
            "claude": (claude.MessageCreateParamsStreaming, ""),
            "openai": (chat_completions.CompletionCreateParamsStreaming, ""),
            # Tools stand among its items, too.
            "responses": (responses.ResponseCreateParamsStreaming, "input"),
        }
        record, last = body[self._dialect]
        hints = get_type_hints(record, include_extras=True)
        for name in sorted(hints, key=lambda name: name == last):
            yield from self._field(name, hints[name], "")

    def _field(self, name: str, hint: object, path: str) -> Iterator[str]:
        if self._dialect == "gemini":
            first, *rest = name.split("_")
            name = first + "".join(word.capitalize() for word in rest)
        place = f"{path}.{name}" if path else name
        yield place
        if name in self._opaque:
            return
        for record, in_list in _records(hint):
            tag, word = self._tag(record)
            there = place + (f"[{word}]" if word else "[]" if in_list else "")
            if there != place:
                yield there
            if record in self._met:
                continue
            self._met.add(record)
            for inner, inner_hint in get_type_hints(record, include_extras=True).items():
                if inner != tag:
                    yield from self._field(inner, inner_hint, there)

    def _tag(self, record: object) -> tuple[str, str]:
        hints = get_type_hints(record, include_extras=True)
        for tag in self._tags:
            if tag in hints and (words := _literals(hints[tag])):
                return tag, words[0]
        return "", ""


def _bare(hint: object) -> object:
    while get_origin(hint) in (typing.Required, typing.NotRequired, typing.Annotated):
        hint = get_args(hint)[0]
    return hint


def _records(hint: object, in_list: bool = False) -> Iterator[tuple[object, bool]]:
    """The typed dictionaries in a type, and whether they stand in a list."""
    hint = _bare(hint)
    origin = get_origin(hint)
    if hasattr(hint, "__required_keys__"):  # a TypedDict, of whichever module
        yield hint, in_list
    elif origin in (Union, types.UnionType):
        for member in get_args(hint):
            yield from _records(member, in_list)
    elif (
        isinstance(origin, type)
        and issubclass(origin, collections.abc.Iterable)
        and not issubclass(origin, collections.abc.Mapping)
    ):
        for member in get_args(hint):
            yield from _records(member, True)


def _literals(hint: object) -> list[str]:
    hint = _bare(hint)
    if get_origin(hint) is Literal:
        return [str(word) for word in get_args(hint)]
    if get_origin(hint) in (Union, types.UnionType):
        return [word for member in get_args(hint) for word in _literals(member)]
    return []
