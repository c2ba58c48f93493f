"""Errors in a Responses stream: the ``error`` event, and the failed response after it.

Both are needed, and OpenAI sends both: its SDKs raise on a frame whose data has an ``error``, Codex
looks at the code in ``response.failed`` alone. A body with a status is the same as on Chat
Completions (`aigateway.dialects.openai.errors`).
"""

from __future__ import annotations

import math
import re

from ...errors import AccountExhausted, GatewayError, UpstreamBusy
from ...jsontext import encode, escape_line_ends
from ..openai.errors import error_object
from ..retry import LONGEST_WAIT, stated

_WAIT = re.compile(r"try again in", re.IGNORECASE)


def event_error(error: GatewayError) -> bytes:
    """What stands under ``error`` in the event of that name."""
    return escape_line_ends(encode(error_object(error)["error"]))


def response_error(error: GatewayError) -> bytes:
    """What stands under ``error`` in a failed response: Codex knows from its code whether to ask
    again, and from its message when."""
    told = error_object(error)["error"]
    assert isinstance(told, dict)
    return escape_line_ends(encode({"code": _code(error), "message": _with_wait(told["message"], error)}))


def _code(error: GatewayError) -> str:
    if isinstance(error, AccountExhausted):
        return "insufficient_quota"
    if error.code == "context_length_exceeded":
        return error.code
    if isinstance(error, UpstreamBusy) and not error.overloaded:
        return "rate_limit_exceeded"
    return "invalid_prompt" if 400 <= error.status < 500 and error.status != 429 else "server_error"


def _with_wait(message: str, error: GatewayError) -> str:
    wait = stated(error)
    if wait is None or wait > LONGEST_WAIT or _WAIT.search(message):
        return message
    return f"{message.rstrip('. ')}. Please try again in {max(math.ceil(wait), 1)}s."
