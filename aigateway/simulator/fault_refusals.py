"""Faults that are an answer, though not the one that was asked for: errors, pages, redirects.

Pure. Who does which is listed in `faults`.
"""

from __future__ import annotations

from email.utils import formatdate

import msgspec

from .wire import Asked, Response, Wire

ELSEWHERE = "http://127.0.0.1:9/elsewhere"
"""Where ``fault-redirect`` points: the discard port, where nobody should ever be asked."""
SOON = 2
"""Seconds to wait, where a name does not say how many."""
QUOTA_WINDOW = 5 * 3600
_HUGE = "1000000000"


def status(number: int, wire: Wire, asked: Asked) -> Response:
    """An error of this status, in the provider's own words where the simulator has them."""
    match number:
        case 401:
            return wire.unauthorized()
        case 404:
            return wire.unknown_model(asked.model)
        case 429:
            return wire.busy(None)
        case 500:
            return wire.failed()
        case _:
            return wire.refused_with(number)


def busy(wire: Wire, asked: Asked) -> Response:
    return wire.busy(None)


def retry_after(seconds: int, wire: Wire, asked: Asked) -> Response:
    """In the header, for Google in `RetryInfo`, too."""
    return wire.busy(seconds)


def retry_date(wire: Wire, asked: Asked) -> Response:
    return _with(wire.busy(None), ("Retry-After", formatdate(asked.created + SOON, usegmt=True)))


def retry_milliseconds(wire: Wire, asked: Asked) -> Response:
    """As Azure: the seconds say less than the milliseconds."""
    return _with(wire.busy(None), ("retry-after-ms", str(SOON * 1000)), ("Retry-After", "1"))


def retry_garbage(wire: Wire, asked: Asked) -> Response:
    return _with(wire.busy(None), ("Retry-After", "soon, -1e999 0x10"))


def retry_huge(wire: Wire, asked: Asked) -> Response:
    return _with(wire.busy(None), ("Retry-After", _HUGE))


def reset_fields(wire: Wire, asked: Asked) -> Response:
    return wire.busy_until(asked, SOON)


def quota(wire: Wire, asked: Asked) -> Response:
    return wire.exhausted(asked, QUOTA_WINDOW)


def too_big(wire: Wire, asked: Asked) -> Response:
    return wire.too_big()


def error_first(wire: Wire, asked: Asked) -> Response:
    """The error frame, and nothing else."""
    if not asked.stream:
        return error_in_200(wire, asked)
    return Response((wire.error_frame(asked, 0),), wire.stream_type)


def error_in_200(wire: Wire, asked: Asked) -> Response:
    return Response((wire.error_body(),), wire.json_type)


def html(wire: Wire, asked: Asked) -> Response:
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to go on</body></html>\n"
    return Response((page,), "text/html; charset=utf-8")


def redirect(wire: Wire, asked: Asked) -> Response:
    return Response((b"",), "text/html; charset=utf-8", 302, (("Location", ELSEWHERE),))


def _with(response: Response, *headers: tuple[str, str]) -> Response:
    return msgspec.structs.replace(response, headers=response.headers + headers)
