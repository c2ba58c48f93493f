"""Durations as a histogram: what it counts, and how near its quantiles are."""

from __future__ import annotations

import unittest
from bisect import bisect_left
from itertools import pairwise
from math import ceil, inf, nan

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.histogram import BOUNDS, Histogram


def recorded(*durations: float) -> Histogram:
    histogram = Histogram()
    for seconds in durations:
        histogram.record(seconds)
    return histogram


class BoundsTests(unittest.TestCase):
    def test_from_a_millisecond_to_an_hour(self) -> None:
        """The bounds run from 1 ms to 1 h."""
        self.assertEqual((BOUNDS[0], BOUNDS[-1]), (0.001, 3600.0))

    def test_evenly_spaced(self) -> None:
        """No bound is more than half as large again as the one before it."""
        for lower, upper in pairwise(BOUNDS):
            self.assertLess(lower, upper)
            self.assertLessEqual(upper / lower, 1.5 + 1e-9)


class HistogramTests(unittest.TestCase):
    def test_empty(self) -> None:
        """A histogram of nothing has no quantiles, and says so with None rather than 0."""
        self.assertEqual(
            Histogram().snapshot(),
            {"count": 0, "sum": 0.0, "p50": None, "p90": None, "p99": None, "max": None},
        )

    def test_one(self) -> None:
        """All quantiles of one duration are that duration, exactly."""
        for seconds in (0.0, 0.0004, 0.25, 3600.0, 10_000.0):
            histogram = recorded(seconds)
            for q in (0.0, 0.5, 0.99, 1.0):
                self.assertEqual(histogram.quantile(q), seconds)

    def test_interpolates(self) -> None:
        """Within one bucket a quantile moves with its rank."""
        histogram = recorded(*(1.0 + 0.005 * step for step in range(1, 101)))
        self.assertAlmostEqual(histogram.quantile(0.5) or 0.0, 1.25)
        self.assertAlmostEqual(histogram.quantile(0.9) or 0.0, 1.45)

    def test_sum_and_count(self) -> None:
        """Sum, count and maximum are those of the durations themselves, not of buckets."""
        snapshot = recorded(0.25, 0.5, 8.0).snapshot()
        self.assertEqual((snapshot["sum"], snapshot["count"], snapshot["max"]), (8.75, 3, 8.0))

    def test_no_duration(self) -> None:
        """What is no duration counts as 0, and the sum stays a number."""
        histogram = recorded(nan, -1.0, inf, -inf, 2.0)
        self.assertEqual((histogram.count, histogram.sum, histogram.counts[0]), (5, 2.0, 4))

    def test_cumulative(self) -> None:
        """The cumulative buckets count what is up to and including each bound, as Prometheus
        has it, and the last, infinity, counts all."""
        buckets = dict(recorded(0.0, 0.001, 0.0011, 1.0, 3600.0, 3601.0).cumulative())
        self.assertEqual(len(buckets), len(BOUNDS) + 1)
        self.assertEqual(
            [buckets[bound] for bound in (0.001, 0.0015, 0.68, 1.0, 3300.0, 3600.0, inf)],
            [2, 3, 3, 4, 4, 5, 6],
        )

    def test_fixed_size(self) -> None:
        """However much is counted, the number of buckets stays."""
        histogram = recorded(*(0.0001 * 1.01**step for step in range(2000)))
        self.assertEqual(len(histogram.counts), len(BOUNDS) + 1)
        self.assertEqual(sum(histogram.counts), histogram.count)

    def test_not_a_quantile(self) -> None:
        """A percentage in place of a share is refused."""
        with self.assertRaises(ValueError):
            recorded(1.0).quantile(99)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.floats(0.0, 5000.0), min_size=1, max_size=200),
        st.sampled_from((0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)),
    )
    def test_within_a_bucket(self, durations: list[float], q: float) -> None:
        """Each quantile lies in the bucket that holds the exact one."""
        quantile = recorded(*durations).quantile(q)
        assert quantile is not None
        exact = sorted(durations)[max(ceil(q * len(durations)), 1) - 1]
        index = bisect_left(BOUNDS, exact)
        lower = BOUNDS[index - 1] if index else 0.0
        upper = BOUNDS[index] if index < len(BOUNDS) else max(durations)
        self.assertLessEqual(lower, quantile)
        self.assertLessEqual(quantile, upper)
