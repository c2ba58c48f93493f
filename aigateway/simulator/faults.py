"""Faults on purpose: what a simulated provider does when the model's name asks for one.

Pure. The names are listed, with what each does, in the package's docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from .answers import Answer
from .wire import Asked, Ending, Response, Wire

ELSEWHERE = "http://127.0.0.1:9/elsewhere"
"""Where ``fault-redirect`` points: the discard port, where nobody should ever be asked."""

_ENGLISH = Answer(text=("This", " answer", " will", " never", " be", " whole", "."))
_CHINESE = Answer(text=("这", "个", "回", "答", "不", "会", "完", "整"))


def rehearse(name: str, wire: Wire, asked: Asked) -> Response | None:
    """The response that the fault called ``name`` is; None where there is no such fault."""
    fault = FAULTS.get(name)
    return fault(wire, asked) if fault is not None else None


def _pieces(wire: Wire, asked: Asked, answer: Answer = _ENGLISH) -> list[bytes]:
    """The beginning of an answer: a few frames, or half of a whole body."""
    if asked.stream:
        return list(islice(wire.frames(asked, answer), wire.fault_after))
    body = wire.whole(asked, answer)
    return [body[: len(body) // 2]]


def _type(wire: Wire, asked: Asked) -> str:
    return wire.stream_type if asked.stream else wire.json_type


def _silent(wire: Wire, asked: Asked) -> Response:
    return Response((), _type(wire, asked), ending=Ending.NEVER)


def _silent_after_headers(wire: Wire, asked: Asked) -> Response:
    return Response((b"",), _type(wire, asked), ending=Ending.NEVER)


def _stall(wire: Wire, asked: Asked) -> Response:
    return Response(_pieces(wire, asked), _type(wire, asked), ending=Ending.NEVER)


def _cut(wire: Wire, asked: Asked) -> Response:
    return Response(_pieces(wire, asked), _type(wire, asked), ending=Ending.CUT)


def _cut_mid_utf8(wire: Wire, asked: Asked) -> Response:
    """Ends after the first byte of a character that has three."""
    if asked.stream:
        pieces = list(islice(wire.frames(asked, _CHINESE), wire.fault_after))
    else:
        pieces = [wire.whole(asked, _CHINESE)]
    pieces[-1] = pieces[-1][: _first_non_ascii(pieces[-1]) + 1]
    return Response(pieces, _type(wire, asked), ending=Ending.CUT)


def _first_non_ascii(data: bytes) -> int:
    return next(place for place, byte in enumerate(data) if byte >= 0x80)


def _end_without_marker(wire: Wire, asked: Asked) -> Response:
    return Response(_pieces(wire, asked), _type(wire, asked))


def _error_in_stream(wire: Wire, asked: Asked) -> Response:
    if not asked.stream:
        return _error_in_200(wire, asked)
    begun = _pieces(wire, asked)
    return Response([*begun, wire.error_frame(asked, len(begun))], wire.stream_type)


def _error_first(wire: Wire, asked: Asked) -> Response:
    if not asked.stream:
        return _error_in_200(wire, asked)
    return Response((wire.error_frame(asked, 0),), wire.stream_type)


def _error_in_200(wire: Wire, asked: Asked) -> Response:
    return Response((wire.error_body(),), wire.json_type)


def _html(wire: Wire, asked: Asked) -> Response:
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to go on</body></html>\n"
    return Response((page,), "text/html; charset=utf-8")


def _redirect(wire: Wire, asked: Asked) -> Response:
    return Response((b"",), "text/html; charset=utf-8", 302, (("Location", ELSEWHERE),))


FAULTS: dict[str, Callable[[Wire, Asked], Response]] = {
    "fault-429": lambda wire, asked: wire.busy(None),
    "fault-429-retry-2": lambda wire, asked: wire.busy(2),
    "fault-500": lambda wire, asked: wire.failed(),
    "fault-401": lambda wire, asked: wire.unauthorized(),
    "fault-silent": _silent,
    "fault-silent-after-headers": _silent_after_headers,
    "fault-stall-mid-stream": _stall,
    "fault-cut": _cut,
    "fault-cut-mid-utf8": _cut_mid_utf8,
    "fault-clean-end-without-marker": _end_without_marker,
    "fault-error-in-stream": _error_in_stream,
    "fault-error-first": _error_first,
    "fault-error-in-200": _error_in_200,
    "fault-html": _html,
    "fault-redirect": _redirect,
}
