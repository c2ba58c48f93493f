"""Errors as Google's APIs word them: a code, a message, a status, and details.

The status is one of google.rpc.Code, the details are google.rpc's messages ("Errors", AIP-193);
SDKs raise by the HTTP status, Gemini CLI reads ``RetryInfo``.
"""

from __future__ import annotations

from ...errors import (
    AccountExhausted,
    GatewayError,
    MalformedRequest,
    Overloaded,
    Stopping,
    Unauthorized,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
)
from ...jsontext import encode
from ..base import ErrorAnswer
from ..retry import RETRY_STATUSES, retry_headers, stated, told

STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""Beside these: a fault of the request's is INVALID_ARGUMENT."""

_TYPE = "type.googleapis.com/google.rpc."
_TOO_LONG = "exceeds the maximum number of tokens"


def classify(error: GatewayError) -> int:
    """The HTTP status for a Gemini client."""
    match error:
        case Unauthorized():
            return 400  # so Google answers a bad key; which it is, the details say
        case Overloaded() | Stopping():
            return 503
        case UpstreamBusy():
            return 503 if error.overloaded else 429
        case AccountExhausted():
            return 429
        case UpstreamRefused() if error.status == 422:
            return 400
        case UpstreamFailed() if error.status == 502:
            return 500
    return error.status


def error_object(error: GatewayError) -> dict[str, object]:
    """``{"error":{"code","message","status","details"}}``; a chunk of a stream and a body alike."""
    status = classify(error)
    message = told(error)
    if error.code == "context_length_exceeded" and _TOO_LONG not in message:
        message = f"The input token count {_TOO_LONG} allowed: {message}"
    inner: dict[str, object] = {
        "code": status,
        "message": message,
        "status": STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL"),
    }
    if details := _details(error, status):
        inner["details"] = details
    return {"error": inner}  # SDKs look for an error at the beginning of a chunk


def render_error(error: GatewayError, request_id: str) -> ErrorAnswer:
    status = classify(error)
    return ErrorAnswer(status, retry_headers(error, status), encode(error_object(error)))


def _details(error: GatewayError, status: int) -> list[dict[str, object]]:
    if isinstance(error, Unauthorized):
        return [
            {"@type": f"{_TYPE}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"},
        ]
    if isinstance(error, MalformedRequest) and error.param:
        violation = {"field": error.param, "description": error.message}
        return [{"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]}]
    wait = stated(error)
    if wait is not None and status in RETRY_STATUSES:
        # However long: above five minutes Gemini CLI gives up by itself, and without it, it tries on.
        return [{"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{max(wait, 0.001):.3f}s"}]
    return []
