"""`aigateway.account_queue`: who waits for an account, and in what order they go on."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigateway.account_queue import FIRST_GAP, AccountQueue


class Queue(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.queue = AccountQueue(self.clock, 5)
        self.ready_at: float | None = 10.0
        self.through: list[tuple[str, bool]] = []

    def ready_in(self) -> float | None:
        return None if self.ready_at is None else max(self.ready_at - self.clock.seconds(), 0.0)

    def wait(
        self, name: str, seconds: float = 60.0, *, key: str = "k", again: bool = False
    ) -> Deferred[bool]:
        d = Deferred.fromCoroutine(self.queue.wait(key, self.ready_in, seconds, again=again))
        d.addCallback(lambda ready: self.through.append((name, ready)))
        return d

    def names(self) -> str:
        return "".join(name for name, ready in self.through if ready)

    def tearDown(self) -> None:
        self.clock.pump([100.0] * 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.queue.waiting, 0)
        self.assertFalse(self.queue.has_line("k"))

    def test_first_come_first_served(self) -> None:
        """Nobody goes on before an account is ready; then one after the other, ever faster."""
        for name in "abcd":
            self.wait(name)
        self.clock.advance(9.99)
        self.assertEqual(self.names(), "")
        self.clock.advance(0.01)
        self.assertEqual(self.names(), "a")
        self.clock.advance(FIRST_GAP - 0.01)
        self.assertEqual(self.names(), "a")
        self.clock.advance(0.01)
        self.assertEqual(self.names(), "ab")
        self.clock.advance(FIRST_GAP / 2)
        self.assertEqual(self.names(), "abc")

    def test_an_account_that_rests_again(self) -> None:
        """When the first finds that it does, the others wait on."""
        for name in "ab":
            self.wait(name)
        self.clock.advance(10)
        self.ready_at = 30.0
        self.clock.advance(19.9)
        self.assertEqual(self.names(), "a")
        self.clock.advance(0.1)
        self.assertEqual(self.names(), "ab")

    def test_whose_turn_was_of_no_use(self) -> None:
        """It stands first again, not last."""
        for name in "ab":
            self.wait(name)
        self.clock.advance(10)
        self.ready_at = 20.0
        self.wait("A", again=True)
        self.clock.advance(10)
        self.assertEqual(self.names(), "aA")

    def test_time_is_up(self) -> None:
        """Each waits no longer than it may, and the others keep their place."""
        self.wait("a", 5.0)
        self.wait("b", 50.0)
        self.clock.advance(5)
        self.assertEqual(self.through, [("a", False)])
        self.clock.advance(5)
        self.assertEqual(self.names(), "b")

    def test_a_bound(self) -> None:
        """Who finds no place is told so at once."""
        for name in "abcdef":
            self.wait(name)
        self.assertEqual(self.through, [("f", False)])
        self.assertEqual((self.queue.waiting, self.queue.refused), (5, 1))

    def test_lines_do_not_wait_for_each_other(self) -> None:
        """Those who want something else stand in another line."""
        self.wait("a")
        self.wait("x", key="other")
        self.clock.advance(10)
        self.assertEqual(self.names(), "ax")

    def test_a_client_that_leaves(self) -> None:
        """Its place is free at once, and the next one moves up."""
        first = self.wait("a")
        self.wait("b")
        first.cancel()
        self.failureResultOf(first)
        self.assertEqual(self.queue.waiting, 1)
        self.clock.advance(10)
        self.assertEqual(self.names(), "b")

    def test_no_account_is_left(self) -> None:
        """While none can be told to come back, each waits until its time is up."""
        self.ready_at = None
        self.wait("a", 5.0)
        self.clock.advance(5)
        self.assertEqual(self.through, [("a", False)])
