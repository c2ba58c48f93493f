"""OpenAI's token counts, into and out of ours."""

from __future__ import annotations

import msgspec

from ...events import Usage

ABSURD = 1_000_000_000
"""A count above this is no count."""


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek


NULL = msgspec.Raw(b"null")
"""The default of a field that was not there."""

_decode = msgspec.json.Decoder(_Usage).decode


class Tally:
    """The newest counts that a stream has told.

    Servers repeat usage, let it grow, or tell it in parts: the newest number wins,
    nothing is added up, and a missing one does not erase an older one. What is not a
    count (negative, a string, absurd) is passed over whole.
    """

    __slots__ = ("_cached", "_completion", "_prompt", "_reasoning", "_total", "_written")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._completion: int | None = None
        self._total: int | None = None
        self._cached = 0
        self._written = 0
        self._reasoning = 0

    def add(self, raw: msgspec.Raw) -> None:
        if raw is NULL or bytes(raw) == b"null":
            return
        try:
            told = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        prompt = told.prompt_tokens_details or _PromptDetails()
        completion = told.completion_tokens_details or _CompletionDetails()
        cached = told.prompt_cache_hit_tokens if prompt.cached_tokens is None else prompt.cached_tokens
        counts = (
            told.prompt_tokens,
            told.completion_tokens,
            told.total_tokens,
            cached,
            prompt.cache_write_tokens,
            completion.reasoning_tokens,
        )
        if any(count is not None and not 0 <= count <= ABSURD for count in counts):
            return
        self._prompt = _newest(told.prompt_tokens, self._prompt)
        self._completion = _newest(told.completion_tokens, self._completion)
        self._total = _newest(told.total_tokens, self._total)
        self._cached = cached if cached is not None else self._cached
        self._written = _newest(prompt.cache_write_tokens, self._written) or 0
        self._reasoning = _newest(completion.reasoning_tokens, self._reasoning) or 0

    @property
    def usage(self) -> Usage | None:
        if self._prompt is None and self._completion is None:
            return None
        prompt, output, reasoning = self._prompt or 0, self._completion or 0, self._reasoning
        # xAI, and Gemini behind some gateways, leave reasoning out of completion_tokens.
        if reasoning > output or (reasoning and self._total == prompt + output + reasoning):
            output += reasoning
        return Usage(
            input_tokens=max(prompt - self._cached - self._written, 0),
            output_tokens=output,
            cache_read_tokens=self._cached,
            cache_write_tokens=self._written,
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


def _newest(new: int | None, old: int | None) -> int | None:
    return old if new is None else new
