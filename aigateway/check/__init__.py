"""The written grammars: is this stream what its dialect says?

One module for each dialect that a client may speak. They know nothing of the code that translates,
so that the two can disagree. ``python -m aigateway.check`` checks a recorded stream; from Python it
is `check`, which raises `BrokenGrammar` or gives back what the stream told, as an `Answer`.
"""

from __future__ import annotations

from collections.abc import Callable

from .claude import check_claude
from .common import Answer, BrokenGrammar, strict_json
from .gemini import check_gemini
from .openai import check_openai
from .responses import check_responses

__all__ = [
    "CHECKS",
    "Answer",
    "BrokenGrammar",
    "check",
    "check_claude",
    "check_gemini",
    "check_openai",
    "check_responses",
    "strict_json",
]

CHECKS: dict[str, Callable[..., Answer]] = {
    "claude": check_claude,
    "openai": check_openai,
    "responses": check_responses,
    "gemini": check_gemini,
}


def check(dialect: str, data: bytes, **options: bool | None) -> Answer:
    """What ``data`` tells, a stream of ``dialect``; `BrokenGrammar` where it breaks a rule.

    Options: ``whole`` (true unless said), whether the stream must have come to its end;
    ``lenient`` (false unless said), whether to let pass what is unknown, as a provider's own
    streams need; ``include_usage``, for openai alone, whether the client asked for usage.
    """
    return CHECKS[dialect](data, **options)
