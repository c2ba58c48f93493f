"""Errors as OpenAI's API words them: message, type, param, code.

Types, codes and statuses are those that its SDKs and its "Error codes" page know.
"""

from __future__ import annotations

import re

from ...errors import (
    AccountExhausted,
    GatewayError,
    Overloaded,
    Stopping,
    UnknownModel,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
)
from ...jsontext import encode
from ..base import ErrorAnswer
from ..retry import retry_headers, told

_CODES = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def classify(error: GatewayError) -> tuple[int, str, str | None]:
    """(HTTP status, type, code) for an OpenAI client."""
    match error:
        case Overloaded() | Stopping():
            return 503, "server_error", error.code
        case UpstreamBusy():
            if error.overloaded:
                return 503, "server_error", error.code
            return 429, "rate_limit_exceeded", "rate_limit_exceeded"
        case AccountExhausted():
            return 429, "insufficient_quota", "insufficient_quota"
        case GatewayError(status=504):
            return 504, "timeout", "timeout"
        case UnknownModel():
            return 404, "invalid_request_error", "model_not_found"
        case UpstreamRefused() if error.status == 422:
            return 400, "invalid_request_error", error.code
    status = error.status
    if status >= 500:
        return status, "server_error", error.code
    if status == 429:
        return status, "rate_limit_exceeded", error.code or _CODES[429]
    return (
        status,
        "permission_error" if status == 403 else "invalid_request_error",
        (error.code or _CODES.get(status)),
    )


def error_object(error: GatewayError) -> dict[str, object]:
    """``{"error":{"message","type","param","code"}}``; a frame's data and a body alike.

    What a provider sends as a code goes on only if it looks like one.
    """
    _, type, code = classify(error)
    if code is not None and isinstance(error, UpstreamError) and not _CODE.fullmatch(code):
        code = None
    return {"error": {"message": told(error), "type": type, "param": error.param, "code": code}}


def render_error(error: GatewayError, request_id: str) -> ErrorAnswer:
    status, _, _ = classify(error)
    return ErrorAnswer(status, retry_headers(error, status), encode(error_object(error)))
