"""Durations as a histogram: fixed buckets, quantiles by interpolation.

Pure, and of fixed size whatever it has counted. It has what Prometheus wants of a
histogram (`Histogram.cumulative`, ``sum``, ``count``); naming and exposing it is left
to others.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import inf

# The E6 series of preferred numbers: six steps to a decade, evenly spaced on a log
# scale, with two digits each, so that a bound reads well as a label.
_E6 = (10, 15, 22, 33, 47, 68)
_EXPONENTS = range(-4, 3)

BOUNDS = (
    *(bound for exponent in _EXPONENTS for step in _E6 if (bound := float(f"{step}e{exponent}")) < 3600),
    3600.0,
)
"""Upper bounds of the buckets in seconds, 1 ms to 1 h; one more bucket takes what is longer."""


class Histogram:
    """How often which duration was seen, in seconds."""

    __slots__ = ("count", "counts", "maximum", "minimum", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.count = 0
        self.sum = 0.0
        self.minimum = inf
        self.maximum = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration. What is none (negative, NaN, infinite) counts as 0, so that
        it neither vanishes nor spoils the sum for good."""
        if not 0.0 <= seconds < inf:
            seconds = 0.0
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.count += 1
        self.sum += seconds
        if seconds < self.minimum:
            self.minimum = seconds
        if seconds > self.maximum:
            self.maximum = seconds

    def quantile(self, q: float) -> float | None:
        """The duration that the share ``q`` (0 to 1) of all did not exceed; None of nothing.

        It lies in the bucket of the exact one, whose upper bound is at most 1.5 times its
        lower one, and never outside what was seen.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile is between 0 and 1, not {q}")
        rank = q * self.count
        below = 0
        for index, count in enumerate(self.counts):
            if count and below + count >= rank:
                lower = BOUNDS[index - 1] if index else 0.0
                upper = BOUNDS[index] if index < len(BOUNDS) else self.maximum
                value = lower + (upper - lower) * (rank - below) / count
                return min(max(value, self.minimum), self.maximum)
            below += count
        return None

    def cumulative(self) -> list[tuple[float, int]]:
        """Each bound, infinity last, with the number of durations up to and including it."""
        return list(zip((*BOUNDS, inf), accumulate(self.counts), strict=True))

    def snapshot(self) -> dict[str, object]:
        """Fit for JSON: count and sum, then p50, p90, p99 and max, which are None of nothing."""
        return {
            "count": self.count,
            "sum": self.sum,
            "p50": self.quantile(0.5),
            "p90": self.quantile(0.9),
            "p99": self.quantile(0.99),
            "max": self.maximum if self.count else None,
        }
