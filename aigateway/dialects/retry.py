"""When a client should try again, in the headers that both official SDKs obey.

Up to a minute is told as ``retry-after``. Beyond it the SDKs must not wait (Anthropic's
sleeps for any number it is given): ``x-should-retry: false``, the time in the message. So too
where an account has nothing left and nobody says until when, and where a request is more than its
key may ever use.
"""

from __future__ import annotations

import math

from ..errors import AccountExhausted, GatewayError, LimitReached, MethodNotAllowed

LONGEST_WAIT = 60.0
LONGEST_TOLD = 366 * 86_400.0
"""What is longer is a mistake (milliseconds, a date as a number), and is told as this."""
RETRY_STATUSES = (429, 503, 529)


def retry_headers(error: GatewayError, status: int) -> tuple[tuple[str, str], ...]:
    """The headers that go with ``error`` when it is sent as ``status``."""
    if isinstance(error, MethodNotAllowed):
        return (("allow", ", ".join(error.allowed)),)
    if status == 402:
        return (("x-should-retry", "false"),)
    if status not in RETRY_STATUSES:
        return ()
    wait = stated(error)
    if wait is None and not isinstance(error, (AccountExhausted, LimitReached)):
        return (("retry-after", "1"),)
    if wait is None or wait > LONGEST_WAIT:
        return (("x-should-retry", "false"),)
    return (("retry-after", str(max(math.ceil(wait), 1))),)


def stated(error: GatewayError) -> float | None:
    """The seconds that the client is to wait, where they are known: never fewer than none, nor
    more than anybody would wait."""
    wait = error.retry_after
    return None if wait is None or math.isnan(wait) else min(max(wait, 0.0), LONGEST_TOLD)


def told(error: GatewayError) -> str:
    """The error's message, with the time to wait where no header may tell it."""
    wait = stated(error)
    if wait is None or wait <= LONGEST_WAIT:
        return error.message
    minutes, seconds = divmod(math.ceil(wait), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{error.message} (try again in {hours}h{minutes:02}m{seconds:02}s)"
