"""Faults on purpose: what a simulated provider does when the model's name asks for one.

Pure. The names are listed, with what a client sees of each, in ``docs/faults.md``. What goes
wrong is in three modules: an honest refusal in `fault_refusals`, a stream or body that is not what
its dialect promises in `fault_bodies`, HTTP that is none in `fault_http`. Here are the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from . import fault_bodies as bodies
from . import fault_http as http
from . import fault_refusals as refusals
from .wire import Asked, Response, Wire

Fault = Callable[[Wire, Asked], Response | None]
"""The response that a fault is; None where this request is spared it."""

PREFIX = "fault-"
MOST = 999_999
_SCATTER = 0.6180339887498949  # the golden ratio's fraction: its multiples fall evenly into 0..1


def find(name: str) -> Fault | None:
    """The fault of that name; None where there is none."""
    if (fault := FAULTS.get(name)) is not None:
        return fault
    for pattern, family in _FAMILIES:
        if (match := pattern.fullmatch(name)) is not None:
            return family(*match.groups())
    return None


def _of_status(digits: str) -> Fault:
    return partial(refusals.status, int(digits))


def _retry(digits: str) -> Fault:
    return partial(refusals.retry_after, int(digits))


def _silent_after(digits: str) -> Fault:
    return partial(bodies.silent_after, int(digits))


def _cut_after(digits: str) -> Fault:
    return partial(bodies.cut_after, int(digits))


def _slow(digits: str) -> Fault | None:
    return partial(bodies.slow, int(digits)) if int(digits) else None


def _percent(digits: str, rest: str) -> Fault | None:
    fault = find(PREFIX + rest)
    return None if fault is None or int(digits) > 100 else partial(_sometimes, int(digits), fault)


def _sometimes(percent: int, fault: Fault, wire: Wire, asked: Asked) -> Response | None:
    """``fault`` for so many of a hundred requests, evenly spread, the same ones in each run."""
    return fault(wire, asked) if asked.serial * _SCATTER % 1 < percent / 100 else None


FAULTS: dict[str, Fault] = {
    "fault-429": refusals.busy,
    "fault-429-date": refusals.retry_date,
    "fault-429-ms": refusals.retry_milliseconds,
    "fault-429-garbage": refusals.retry_garbage,
    "fault-429-huge": refusals.retry_huge,
    "fault-429-reset": refusals.reset_fields,
    "fault-429-quota": refusals.quota,
    "fault-429-request": refusals.too_big,
    "fault-html": refusals.html,
    "fault-redirect": refusals.redirect,
    "fault-error-in-200": refusals.error_in_200,
    "fault-error-first": refusals.error_first,
    "fault-silent": bodies.silent,
    "fault-silent-after-headers": bodies.silent_after_headers,
    "fault-ping-only": bodies.ping_only,
    "fault-stall-mid-stream": partial(bodies.silent_after, bodies.SAID),
    "fault-slow-body": bodies.byte_by_byte,
    "fault-cut": partial(bodies.cut_after, bodies.SAID),
    "fault-cut-mid-utf8": bodies.cut_mid_utf8,
    "fault-cut-mid-line": bodies.cut_mid_line,
    "fault-cut-mid-frame": bodies.cut_mid_frame,
    "fault-clean-end-without-marker": bodies.end_without_marker,
    "fault-error-in-stream": bodies.error_in_stream,
    "fault-late-error": bodies.late_error,
    "fault-duplicate-start": bodies.duplicate_start,
    "fault-usage-absurd": bodies.usage_absurd,
    "fault-usage-negative": partial(bodies.usage, -7),
    "fault-usage-null": partial(bodies.usage, None),
    "fault-usage-string": partial(bodies.usage, "many"),
    "fault-usage-huge": partial(bodies.usage, 10**30),
    "fault-forge": bodies.forge,
    "fault-endless-line": bodies.endless_line,
    "fault-huge-event": bodies.huge_event,
    "fault-endless-body": bodies.endless_body,
    "fault-refused": http.refused,
    "fault-short-length": http.short_length,
    "fault-endless-headers": http.endless_headers,
    "fault-1xx-flood": http.flood_of_1xx,
    "fault-gzip-bomb": http.gzip_bomb,
    "fault-set-cookie": http.set_cookie,
    "fault-cl-and-te": http.length_and_chunks,
    "fault-bad-chunk": http.bad_chunk,
}

_FAMILIES: tuple[tuple[re.Pattern[str], Callable[..., Fault | None]], ...] = (
    (re.compile(r"fault-([45][0-9][0-9])"), _of_status),
    (re.compile(r"fault-429-retry-([0-9]{1,6})"), _retry),
    (re.compile(r"fault-silent-after-([0-9]{1,6})"), _silent_after),
    (re.compile(r"fault-cut-after-([0-9]{1,6})"), _cut_after),
    (re.compile(r"fault-slow-([0-9]{1,3})tps"), _slow),
    (re.compile(r"fault-percent-([0-9]{1,3})-((?!percent-).+)"), _percent),
)
"""Names with a number in them: what they look like, and the fault that one of them is."""

EXAMPLES = (
    "fault-401",
    "fault-402",
    "fault-403",
    "fault-404",
    "fault-500",
    "fault-503",
    "fault-529",
    "fault-429-retry-2",
    "fault-silent-after-2",
    "fault-cut-after-0",
    "fault-slow-20tps",
    "fault-percent-100-500",
    "fault-percent-0-500",
)
"""Some of those, at least one of each family, for tests and rehearsals that try everything."""
