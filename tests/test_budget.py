"""`aigateway.budget` and `aigateway.pace`: what may be asked again, and when a target is slow."""

from __future__ import annotations

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from aigateway.budget import WINDOW, Credit, RetryBudget
from aigateway.pace import ENOUGH, KEPT, MARGIN, MAX_TARGETS, Pace


class Budget(TestCase):
    def test_half_of_the_calls_fail(self) -> None:
        """A thousand requests, of which every second one would like another attempt: there are at
        most a fifth as many attempts more."""
        budget = RetryBudget(0.2, 10)
        calls = 0
        for number in range(1000):
            now = number / 50
            budget.request(now)
            calls += 1
            if number % 2:
                calls += budget.take(now)
        self.assertLessEqual(calls, 1200)
        self.assertGreater(calls, 1150)
        self.assertEqual(budget.denied, 500 - (calls - 1000))

    def test_a_lone_request_may_go_elsewhere(self) -> None:
        """However few requests there are, some further attempts may be made; and again when those
        have gone by."""
        budget = RetryBudget(0.2, 3)
        budget.request(0.5)
        self.assertEqual([budget.take(0.5) for _ in range(4)], [True, True, True, False])
        self.assertFalse(budget.take(WINDOW - 0.1))
        self.assertTrue(budget.take(WINDOW + 0.1))

    def test_none_at_all(self) -> None:
        """Both at 0: nothing is asked again."""
        budget = RetryBudget(0.0, 0)
        budget.request(0.0)
        self.assertFalse(budget.take(0.0))

    @given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=300))
    def test_in_any_window(self, steps: list[tuple[float, bool]]) -> None:
        """Whenever one looks back over the window's seconds, no more was given than the share."""
        budget = RetryBudget(0.3, 2)
        now = 0.0
        requests: list[float] = []
        taken: list[float] = []
        for pause, asks in steps:
            now += pause
            if not asks:
                budget.request(now)
                requests.append(now)
            elif budget.take(now):
                taken.append(now)
            first = int(now) - WINDOW + 1
            inside = [sum(at >= first for at in times) for times in (requests, taken)]
            if taken and taken[-1] == now:
                self.assertLessEqual(inside[1], max(2, 0.3 * inside[0]))


class Credits(TestCase):
    def test_never_more_than_the_share(self) -> None:
        """Of a thousand that are counted, five in a hundred may be taken, and are."""
        credit = Credit()
        taken = 0
        for number in range(1, 1001):
            credit.count(0.05)
            taken += credit.take()
            self.assertLessEqual(taken, 0.05 * number + 1e-6)
        self.assertEqual(taken, 50)

    def test_what_is_saved_is_bounded(self) -> None:
        """After a quiet day there is no burst."""
        credit = Credit()
        for _ in range(100_000):
            credit.count(0.05)
        self.assertEqual(sum(credit.take() for _ in range(100)), 5)


class Paces(TestCase):
    def test_the_slowest_twentieth(self) -> None:
        """What 95 of a hundred did not take; None while too few have been seen."""
        pace = Pace()
        for number in range(ENOUGH - 1):
            pace.took("p", "m", number)
        self.assertIsNone(pace.slow("p", "m"))
        for number in range(100):
            pace.took("p", "other", number / 100)
        self.assertEqual(pace.slow("p", "other"), 0.94 * MARGIN)

    def test_where_many_are_slow(self) -> None:
        """A target of which every fifth answer is slow is slow at four times what the others take."""
        pace = Pace()
        for number in range(100):
            pace.took("p", "m", 10.0 if number % 5 == 0 else 0.5)
        self.assertEqual(pace.slow("p", "m"), 2.0)

    def test_it_follows(self) -> None:
        """Only the last ones count, so that it knows a target that has become slower."""
        pace = Pace()
        for seconds in (1.0, 5.0):
            for _ in range(KEPT):
                pace.took("p", "m", seconds)
            self.assertEqual(pace.slow("p", "m"), seconds * MARGIN)

    def test_invented_models_do_not_pile_up(self) -> None:
        """The target that nobody asked for longest is forgotten."""
        pace = Pace()
        for number in range(MAX_TARGETS + 1):
            for _ in range(ENOUGH):
                pace.took("p", f"m{number}", 1.0)
        self.assertIsNone(pace.slow("p", "m0"))
        self.assertEqual(pace.slow("p", "m1"), MARGIN)
