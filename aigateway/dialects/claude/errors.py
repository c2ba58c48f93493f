"""Errors as Anthropic's API words them: a type, a message, the request id.

Types and statuses are those of Anthropic's "Errors" page and of its SDK's classes.
"""

from __future__ import annotations

from ...errors import (
    AccountExhausted,
    GatewayError,
    Overloaded,
    Stopping,
    UpstreamBusy,
    UpstreamRefused,
)
from ...jsontext import encode
from ..base import ErrorAnswer
from ..retry import retry_headers, told

BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


# What agents look for, and then compact; after the second they ask again with fewer max_tokens.
_TOO_LONG = "prompt is too long"
_TOO_LONG_WITH_ANSWER = "exceed context limit"


def classify(error: GatewayError) -> tuple[int, str]:
    """(HTTP status, error type) for a Claude client."""
    match error:
        case Overloaded() | Stopping():
            return 503, "overloaded_error"
        case UpstreamBusy():
            return (529, "overloaded_error") if error.overloaded else (429, "rate_limit_error")
        case AccountExhausted():
            return (402, "billing_error") if error.status == 402 else (429, "rate_limit_error")
        case UpstreamRefused() if error.status == 422:
            return 400, "invalid_request_error"
    status = error.status
    fallback = "invalid_request_error" if 400 <= status < 500 else "api_error"
    return status, BY_STATUS.get(status, fallback)


def error_object(error: GatewayError, request_id: str) -> dict[str, object]:
    """``{"type":"error","error":{"type","message"},"request_id"}``; a frame's data and a body alike."""
    _, type = classify(error)
    message = told(error)
    if error.code == "context_length_exceeded":
        message = _too_long(message)
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": request_id}


def render_error(error: GatewayError, request_id: str) -> ErrorAnswer:
    status, _ = classify(error)
    return ErrorAnswer(status, retry_headers(error, status), encode(error_object(error, request_id)))


def _too_long(message: str) -> str:
    """``message`` in the words for a prompt that is too long, unless it is in Anthropic's already."""
    if message.startswith(_TOO_LONG) or _TOO_LONG_WITH_ANSWER in message:
        return message
    return f"{_TOO_LONG}: {message}"
