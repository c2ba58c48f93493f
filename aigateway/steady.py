"""The reactor's time by a clock that nobody sets."""

from __future__ import annotations

import time
from typing import Any


def keep_steady(reactor: Any) -> None:
    """Have ``reactor`` go by the monotonic clock, in what is planned already, too.

    Twisted goes by the system's, which may be set: forward, and every deadline comes at once and cuts all
    that is under way; back, and none comes for hours.
    """
    shift = time.monotonic() - reactor.seconds()
    for call in reactor.getDelayedCalls():
        call.time += shift
        call.seconds = time.monotonic
    reactor.seconds = time.monotonic
