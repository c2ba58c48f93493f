"""Gemini's token counts, into ours and back.

Gemini counts the cached part into the prompt, and leaves thinking out of the candidates;
we count Claude's way (`aigateway.events.Usage`).
"""

from __future__ import annotations

import msgspec

from ...events import Usage

ABSURD = 1_000_000_000
"""A count above this is no count."""


class _Told(msgspec.Struct, gc=False):
    # ``object``: a string or a float here is passed over, and costs the stream nothing.
    promptTokenCount: object = None
    cachedContentTokenCount: object = None
    candidatesTokenCount: object = None
    thoughtsTokenCount: object = None
    toolUsePromptTokenCount: object = None
    totalTokenCount: object = None


_decode = msgspec.json.Decoder(_Told).decode


class Tally:
    """The newest counts that a stream has told.

    Gemini repeats them, growing, in every chunk; Antigravity may send them after the
    finish reason. The newest number wins, and a missing one does not erase an older one.
    """

    __slots__ = ("_cached", "_candidates", "_prompt", "_thoughts", "_tools", "_total")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._cached: int | None = None
        self._candidates: int | None = None
        self._thoughts: int | None = None
        self._tools: int | None = None
        self._total: int | None = None

    def add(self, raw: bytes | msgspec.Raw) -> None:
        try:
            told = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        self._prompt = _newer(told.promptTokenCount, self._prompt)
        self._cached = _newer(told.cachedContentTokenCount, self._cached)
        self._candidates = _newer(told.candidatesTokenCount, self._candidates)
        self._thoughts = _newer(told.thoughtsTokenCount, self._thoughts)
        self._tools = _newer(told.toolUsePromptTokenCount, self._tools)
        self._total = _newer(told.totalTokenCount, self._total)

    @property
    def usage(self) -> Usage | None:
        """None while no count has come at all."""
        if self._prompt is None and self._candidates is None and self._total is None:
            return None
        prompt = (self._prompt or 0) + (self._tools or 0)
        cached = self._cached or 0
        thoughts = self._thoughts or 0
        candidates = self._candidates
        if candidates is None:
            # Left out when nothing but thinking came, or nothing at all.
            candidates = 0 if self._total is None else max(self._total - prompt - thoughts, 0)
        return Usage(
            input_tokens=max(prompt - cached, 0),
            output_tokens=candidates + thoughts,
            cache_read_tokens=cached,
            reasoning_tokens=thoughts,
        )


def render_usage(usage: Usage) -> bytes:
    """The ``usageMetadata`` object; cached and thinking tokens are shown where there were any."""
    thoughts = min(usage.reasoning_tokens, usage.output_tokens)
    return b'{"promptTokenCount":%d,%b"candidatesTokenCount":%d,%b"totalTokenCount":%d}' % (
        usage.prompt_tokens,
        b'"cachedContentTokenCount":%d,' % usage.cache_read_tokens if usage.cache_read_tokens else b"",
        usage.output_tokens - thoughts,
        b'"thoughtsTokenCount":%d,' % thoughts if thoughts else b"",
        usage.prompt_tokens + usage.output_tokens,
    )


def _newer(told: object, known: int | None) -> int | None:
    if type(told) is int and 0 <= told <= ABSURD:
        return told
    return known
