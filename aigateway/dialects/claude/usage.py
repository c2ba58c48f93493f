"""Claude's token counts, into and out of ours.

``input_tokens`` leaves out what was read from or written to the cache, as ours does
(Anthropic's "Prompt caching": the prompt is the sum of the three).
"""

from __future__ import annotations

import msgspec

from ...events import Usage

ABSURD = 1_000_000_000
"""A count above this is no count."""


class _Usage(msgspec.Struct):
    # ``object``: a string or a float here is passed over, and costs the other counts nothing.
    input_tokens: object = None
    cache_creation_input_tokens: object = None
    cache_read_input_tokens: object = None
    output_tokens: object = None
    output_tokens_details: object = None


_decode = msgspec.json.Decoder(_Usage).decode


class Tally:
    """The newest counts that an answer has told: ``message_delta`` corrects ``message_start``, and
    what it leaves out stands. What is not a count (negative, a string, absurd) is passed over."""

    __slots__ = ("_cache_read", "_cache_write", "_input", "_output", "_thinking")

    def __init__(self) -> None:
        self._input: int | None = None
        self._cache_write: int | None = None
        self._cache_read: int | None = None
        self._output: int | None = None
        self._thinking: int | None = None

    def add(self, raw: msgspec.Raw) -> None:
        try:
            told = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        self._input = _newer(told.input_tokens, self._input)
        self._cache_write = _newer(told.cache_creation_input_tokens, self._cache_write)
        self._cache_read = _newer(told.cache_read_input_tokens, self._cache_read)
        self._output = _newer(told.output_tokens, self._output)
        details = told.output_tokens_details
        if isinstance(details, dict):
            self._thinking = _newer(details.get("thinking_tokens"), self._thinking)

    @property
    def usage(self) -> Usage | None:
        if self._input is None and self._output is None:
            return None
        output = self._output or 0
        return Usage(
            input_tokens=self._input or 0,
            output_tokens=output,
            cache_read_tokens=self._cache_read or 0,
            cache_write_tokens=self._cache_write or 0,
            reasoning_tokens=min(self._thinking or 0, output),
        )


def render_usage(usage: Usage) -> bytes:
    """The ``usage`` object; thinking tokens are shown where there were any."""
    details = (
        b',"output_tokens_details":{"thinking_tokens":%d}' % usage.reasoning_tokens
        if usage.reasoning_tokens
        else b""
    )
    return (
        b'{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d%b}'
        % (
            usage.input_tokens,
            usage.cache_write_tokens,
            usage.cache_read_tokens,
            usage.output_tokens,
            details,
        )
    )


def _newer(told: object, known: int | None) -> int | None:
    if type(told) is int and 0 <= told <= ABSURD:
        return told
    return known
