"""How long a provider asks us to wait: headers, Google's durations, dates, and prose.

Every function takes text that a provider sent, never raises, and answers None for what
says nothing usable. Seconds, at least 0; how much of a long wait is honoured is for the
caller to say. The examples in the docstrings are what providers have been seen to send.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

LONGEST_TEXT = 10_000
"""Prose beyond this many characters is not searched."""
_LONGEST_VALUE = 64

# Bounded repeats, and none inside another: a hostile string costs one pass.
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?")
_STEP = re.compile(
    r"\s?([0-9]{1,15}(?:\.[0-9]{1,15})?)\s?(days?|hours?|minutes?|seconds?|ms|[µu]s|ns|[dhms])(?![a-zµ])"
)
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
_WAIT = re.compile(r"(?:try again|retry|resets?|wait) (?:in|after|for)(?: about)?(?= [0-9])")
_ANY_DATE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[ t][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]{1,9})?(?:z|[+-][0-9]{2}:?[0-9]{2})?)"
)
_DATE = re.compile(r"(?:resets?|try again|retry) (?:at|on|after) " + _ANY_DATE.pattern)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """What ``retry-after-ms`` and ``retry-after`` (seconds or an HTTP date) say.

    The larger of the two: Azure sends ``retry-after-ms: 0`` with ``retry-after: 1``.
    ``headers`` have lower-case names; ``now`` is Unix seconds.
    """
    waits = []
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        waits.append(milliseconds / 1000)
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is None:
        seconds = _http_date(text, now)
    if seconds is not None:
        waits.append(seconds)
    return max(waits, default=None)


def spent_until(headers: Mapping[str, str]) -> float | None:
    """When what is spent of OpenAI's limits is there again: ``x-ratelimit-remaining-requests: 0`` with
    ``x-ratelimit-reset-requests: 6m0s``, and the same for ``tokens``; the longer of both.
    https://platform.openai.com/docs/guides/rate-limits"""
    resets = [
        go_duration(headers.get(f"x-ratelimit-reset-{limit}", ""))
        for limit in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{limit}", "").strip() == "0"
    ]
    return max((reset for reset in resets if reset is not None), default=None)


def go_duration(text: str) -> float | None:
    """A Go duration (``108h48m20.79s``, ``3.95s``, ``20ms``), as Google and the
    ``x-ratelimit-reset-*`` headers write them."""
    text = text.strip().lower()
    if len(text) > _LONGEST_VALUE:
        return None
    seconds, end = _steps(text, 0)
    return seconds if end == len(text) else None


def rfc3339(text: str, now: float, *, utc_offset: float = 0.0) -> float | None:
    """The time from ``now`` until a date such as ``2026-06-04T15:24:12Z``; 0 when it is past.

    ``utc_offset`` in hours is what a date without a zone of its own is read in.
    """
    if len(text) > _LONGEST_VALUE:
        return None
    try:
        date = datetime.fromisoformat(text.strip().upper())
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone(timedelta(hours=utc_offset)))
        return max(date.timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None


def from_text(message: str, now: float | None = None, *, utc_offset: float = 0.0) -> float | None:
    """What an error message says in prose: ``try again in 20s``, ``Please retry in 48.9s``,
    ``reset after 1h43m56s``, ``Resets in 108h48m29s``, ``reset at 2026-09-01 12:00:00``.

    Dates are passed over when ``now`` is not given.
    """
    message = message[:LONGEST_TEXT].lower()
    for wait in _WAIT.finditer(message):
        seconds, _ = _steps(message, wait.end())
        if seconds is not None:
            return seconds
    if now is not None and (date := _DATE.search(message)) is not None:
        return rfc3339(date[1], now, utc_offset=utc_offset)
    return None


def latest_date(message: str, now: float | None, *, utc_offset: float = 0.0) -> float | None:
    """The time until the latest date in ``message``, whatever its language: for an error that is
    known to tell one (GLM: ``您的限额将在 2026-08-22 18:00:00 重置``)."""
    if now is None:
        return None
    dates = _ANY_DATE.findall(message[:LONGEST_TEXT].lower())
    waits = [rfc3339(date, now, utc_offset=utc_offset) for date in dates]
    return max((wait for wait in waits if wait is not None), default=None)


def _number(text: str) -> float | None:
    text = text.strip()
    if len(text) > _LONGEST_VALUE or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _steps(text: str, start: int) -> tuple[float | None, int]:
    """The sum of the steps that stand at ``start``, and where they end; None without any."""
    total: float | None = None
    while (step := _STEP.match(text, start)) is not None:
        unit = _SECONDS.get(step[2]) or _SECONDS[step[2][0]]  # in full: by its first letter
        total = (total or 0.0) + float(step[1]) * unit
        start = step.end()
    return total, start


def _http_date(text: str, now: float) -> float | None:
    if not text or len(text) > _LONGEST_VALUE:
        return None
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(date.timestamp() - now, 0.0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
