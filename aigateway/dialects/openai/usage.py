"""OpenAI's token counts, into and out of ours."""

from __future__ import annotations

import msgspec

from ...events import Usage

ABSURD = 1_000_000_000
"""A count above this is no count."""


NULL = msgspec.Raw(b"null")
"""The default of a field that was not there."""


class _Usage(msgspec.Struct):
    # ``object``: a string or a float here is passed over, and costs the other counts nothing.
    prompt_tokens: object = None
    completion_tokens: object = None
    total_tokens: object = None
    prompt_tokens_details: msgspec.Raw = NULL
    completion_tokens_details: msgspec.Raw = NULL
    prompt_cache_hit_tokens: object = None  # DeepSeek


class _Details(msgspec.Struct):
    cached_tokens: object = None
    cache_write_tokens: object = None
    reasoning_tokens: object = None


_decode = msgspec.json.Decoder(_Usage).decode
_decode_details = msgspec.json.Decoder(_Details).decode


class Tally:
    """The newest counts that a stream has told.

    Servers repeat usage, let it grow, or tell it in parts: the newest number wins,
    nothing is added up, and a missing one does not erase an older one. What is not a
    count (negative, a string, absurd) is passed over.
    """

    __slots__ = ("_cached", "_completion", "_prompt", "_reasoning", "_total", "_written")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._completion: int | None = None
        self._total: int | None = None
        self._cached: int | None = None
        self._written: int | None = None
        self._reasoning: int | None = None

    def add(self, raw: msgspec.Raw) -> None:
        if raw is NULL or bytes(raw) == b"null":
            return
        try:
            told = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        prompt, completion = _details(told.prompt_tokens_details), _details(told.completion_tokens_details)
        self._prompt = _newer(told.prompt_tokens, self._prompt)
        self._completion = _newer(told.completion_tokens, self._completion)
        self._total = _newer(told.total_tokens, self._total)
        self._cached = _newer(prompt.cached_tokens, _newer(told.prompt_cache_hit_tokens, self._cached))
        self._written = _newer(prompt.cache_write_tokens, self._written)
        self._reasoning = _newer(completion.reasoning_tokens, self._reasoning)

    @property
    def usage(self) -> Usage | None:
        if self._prompt is None and self._completion is None:
            return None
        prompt, output, reasoning = self._prompt or 0, self._completion or 0, self._reasoning or 0
        # Parts of the prompt: one that is larger than what it is part of is not believed.
        cached = _part(self._cached, prompt)
        written = _part(self._written, prompt - cached)
        # xAI, and Gemini behind some gateways, leave reasoning out of completion_tokens.
        if reasoning > output or (reasoning and self._total == prompt + output + reasoning):
            output += reasoning
        return Usage(
            input_tokens=prompt - cached - written,
            output_tokens=output,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
        )


def render_usage(usage: Usage) -> bytes:
    """The ``usage`` object of a chunk or a whole answer."""
    prompt = usage.prompt_tokens
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d},"completion_tokens_details":{"reasoning_tokens":%d}}'
        % (
            prompt,
            usage.output_tokens,
            prompt + usage.output_tokens,
            usage.cache_read_tokens,
            usage.reasoning_tokens,
        )
    )


def _details(raw: msgspec.Raw) -> _Details:
    if raw is NULL:
        return _NO_DETAILS
    try:
        return _decode_details(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NO_DETAILS


_NO_DETAILS = _Details()


def _newer(told: object, known: int | None) -> int | None:
    if type(told) is int and 0 <= told <= ABSURD:
        return told
    return known


def _part(count: int | None, whole: int) -> int:
    return count if count is not None and count <= whole else 0
