"""The shape of OpenAI's chunks and whole answers, as far as anybody here looks at them.

What an answer is made of has its type, and a chunk that breaks it is none. What is merely
reported beside it (ids, roles, details) is `Reported`, looked at where it is used: an
odd one is passed over and costs nobody the answer.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..surrogates import BAD_JSON
from .usage import NULL, Tally

Reported: TypeAlias = object
"""Of any type: ``object``, which is also the name of a field."""


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Reported = None  # an object: Ollama's native faces


class Custom(msgspec.Struct):
    name: str | None = None
    input: str | None = None


class ToolCall(msgspec.Struct):
    index: Reported = None
    id: Reported = None
    type: Reported = msgspec.UNSET
    function: Function | None = None
    custom: Custom | None = None
    extra_content: msgspec.Raw = NULL


class Part(msgspec.Struct):
    type: Reported = ""
    text: Reported = None
    thinking: list[Part] | str | None = None


class Detail(msgspec.Struct):
    text: Reported = None
    summary: Reported = None
    signature: Reported = None


class Delta(msgspec.Struct):
    role: Reported = msgspec.UNSET
    content: str | list[Part] | msgspec.UnsetType | None = msgspec.UNSET  # a list: Mistral's reasoning models
    reasoning_content: Reported = None
    reasoning: Reported = None
    reasoning_text: Reported = None
    thinking: Reported = None
    reasoning_details: msgspec.Raw = NULL
    refusal: Reported = None
    tool_calls: list[ToolCall] | msgspec.UnsetType | None = msgspec.UNSET
    function_call: Function | None = None


class Choice(msgspec.Struct):
    index: Reported = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | msgspec.UnsetType | None = msgspec.UNSET
    stop_reason: Reported = None  # vLLM: which stop sequence
    usage: msgspec.Raw = NULL  # Moonshot, older


class Chunk(msgspec.Struct):
    id: Reported = None
    object: Reported = None
    created: Reported = None
    model: Reported = None
    choices: list[Choice] | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    x_groq: msgspec.Raw = NULL
    # The flat error of GLM's web gateway, with HTTP 200.
    success: Reported = None


class _Google(msgspec.Struct):
    thought_signature: str | None = None


class _ExtraContent(msgspec.Struct):
    google: _Google | None = None


class _Groq(msgspec.Struct):
    usage: msgspec.Raw = NULL


decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_details = msgspec.json.Decoder(list[Detail]).decode
_decode_extra = msgspec.json.Decoder(_ExtraContent).decode
_decode_groq = msgspec.json.Decoder(_Groq).decode


def number(value: object) -> int | None:
    """An index, which some servers write as a string; None for what is none."""
    if value.__class__ is int:
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return None


def string(value: object) -> str:
    """The string that ``value`` is, or an empty one."""
    return value if isinstance(value, str) else ""


def is_error(chunk: Chunk) -> bool:
    if chunk.success is False:
        return True
    error = chunk.error
    if error is NULL or bytes(error) == b"null":
        return False
    try:
        return bool(msgspec.json.decode(error))
    except BAD_JSON:
        return True


def add_groq_usage(chunk: Chunk, tally: Tally) -> None:
    try:
        tally.add(_decode_groq(chunk.x_groq).usage)
    except BAD_JSON:
        return


def details(raw: msgspec.Raw) -> list[Detail]:
    """The entries of ``reasoning_details``."""
    try:
        return _decode_details(raw)
    except BAD_JSON:
        return []


def signature(raw: msgspec.Raw) -> str:
    """The thought signature in a call's ``extra_content``, as Google's own endpoint sends it."""
    try:
        google = _decode_extra(raw).google
    except BAD_JSON:
        return ""
    return (google.thought_signature if google is not None else "") or ""
