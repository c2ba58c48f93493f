"""How long a target's first token took lately: what a hedge waits for. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque

KEPT = 100
"""First tokens of a target that are remembered."""
ENOUGH = 20
"""Of these, so many there must be before they say anything."""
QUANTILE = 0.95
MARGIN = 1.2
"""What is hardly slower than the quantile will mostly speak at once, and a hedge for it is wasted."""
MEDIANS = 4
"""So many medians are slow in any case: where more than a twentieth is slow, the quantile is one of those."""
MAX_TARGETS = 1000


class Pace:
    """The times from asking a target to its first token, of the last `KEPT` streams each.

    ``slow`` is the time that `QUANTILE` of them did not take and a little more, or `MEDIANS` medians if
    that is less. An attempt that was given up counts
    with the time that it had taken by then: without those, what is slow would not be known.
    """

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def took(self, provider: str, model: str, seconds: float) -> None:
        key = provider, model
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = deque(maxlen=KEPT)
            if len(self._times) > MAX_TARGETS:
                self._times.popitem(last=False)
        else:
            self._times.move_to_end(key)
        times.append(seconds)

    def slow(self, provider: str, model: str) -> float | None:
        """Seconds beyond which the target is slow; None while too little is known of it."""
        times = self._times.get((provider, model))
        if times is None or len(times) < ENOUGH:
            return None
        ordered = sorted(times)
        last = len(ordered) - 1
        return min(ordered[int(last * QUANTILE)] * MARGIN, MEDIANS * ordered[last // 2])
