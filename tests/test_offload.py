"""Heavy work: what is done on the spot, what in a thread, and what becomes of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from aigateway.offload import CALM, THREADS, TURN, Offload, on_the_spot, weight

HEAVY = 100


class Threads:
    """A pool whose work is done when the test says so."""

    def __init__(self) -> None:
        self.running = False
        self.jobs: list[Callable[[], None]] = []

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object] | None, func: Callable[[], Any], /
    ) -> None:
        def job() -> None:
            try:
                succeeded, result = True, func()
            except Exception as error:
                succeeded, result = False, error
            if onResult is not None:
                onResult(succeeded, result)

        self.jobs.append(job)

    def work(self) -> None:
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()


class Reactor(Clock):
    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.threads = Threads()
        self.offload = Offload(self.reactor, HEAVY, self.threads)
        self.done: list[str] = []
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())

    def run_heavy(self, name: str = "done") -> Deferred[None]:
        def work() -> None:
            self.done.append(name)

        return Deferred.fromCoroutine(self.offload.run(HEAVY, work))


class WhereTests(Case):
    def test_light_work(self) -> None:
        """What weighs less than the threshold is done on the spot, and no thread is started."""
        found = self.successResultOf(Deferred.fromCoroutine(self.offload.run(HEAVY - 1, lambda: 7)))
        self.assertEqual((found, self.threads.running, self.threads.jobs), (7, False, []))

    def test_heavy_work(self) -> None:
        """What weighs as much as the threshold is done in a thread, and its result comes when it is."""
        waiting = Deferred.fromCoroutine(self.offload.run(HEAVY, lambda: 7))
        self.assertTrue(self.threads.running)
        self.assertNoResult(waiting)
        self.threads.work()
        self.assertEqual(self.successResultOf(waiting), 7)

    def test_what_it_raises(self) -> None:
        """An exception comes to whoever waits, on the spot and from a thread."""

        def work() -> None:
            raise ValueError("no")

        self.failureResultOf(Deferred.fromCoroutine(self.offload.run(1, work)), ValueError)
        waiting = Deferred.fromCoroutine(self.offload.run(HEAVY, work))
        self.threads.work()
        self.failureResultOf(waiting, ValueError)

    def test_for_tests(self) -> None:
        """`on_the_spot` does everything at once, however heavy."""
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(on_the_spot().run(2**40, lambda: 7))), 7)

    def test_weight(self) -> None:
        """Text weighs its bytes; an object or a list weighs as much as hundreds more."""
        self.assertEqual(weight(b'"' + b"x" * 98 + b'"'), 100)
        self.assertGreater(weight(b'[{"a":1},{"a":2}]'), 3 * 100)


class CancelTests(Case):
    def test_before_its_turn(self) -> None:
        """Work that nobody waits for any more is not begun."""
        first, second = self.run_heavy("first"), self.run_heavy("second")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.threads.work()
        self.successResultOf(second)
        self.assertEqual(self.done, ["second"])

    def test_while_it_is_done(self) -> None:
        """What comes of work that was given up meanwhile is dropped, an error too."""
        waiting: list[Deferred[int]] = []

        def work(divisor: int) -> int:
            waiting[-1].cancel()
            return 1 // divisor

        for divisor in (1, 0):
            waiting.append(Deferred.fromCoroutine(self.offload.run(HEAVY, partial(work, divisor))))
            self.threads.work()
            self.failureResultOf(waiting[-1], CancelledError)


class TurnTests(Case):
    def test_the_interpreter_switches_sooner(self) -> None:
        """While there is heavy work, and only then, threads make room for each other sooner."""
        before = sys.getswitchinterval()
        self.run_heavy()
        self.run_heavy()
        self.assertAlmostEqual(sys.getswitchinterval(), TURN)
        self.threads.jobs.pop(0)()
        self.assertAlmostEqual(sys.getswitchinterval(), TURN)
        self.threads.work()
        self.assertAlmostEqual(sys.getswitchinterval(), before)

    def test_memory_is_given_back(self) -> None:
        """A second after the last heavy work the thread is told to give memory back: once, and not
        while there is more to do."""
        self.run_heavy()
        self.threads.work()
        self.reactor.advance(CALM / 2)
        self.run_heavy()
        self.reactor.advance(CALM)
        self.assertEqual(len(self.threads.jobs), 1)
        self.threads.work()
        self.reactor.advance(CALM)
        self.assertEqual(len(self.threads.jobs), 1)
        self.threads.work()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopping(self) -> None:
        """Stopping ends the threads and leaves no timer; where none was needed it does nothing."""
        self.run_heavy()
        self.threads.work()
        self.offload.stop()
        self.offload.stop()
        self.assertFalse(self.threads.running)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ThreadTests(SynchronousTestCase):
    def test_a_real_thread(self) -> None:
        """The work is done in another thread, and the result told in the reactor's."""
        told = threading.Event()
        calls: list[tuple[Any, ...]] = []

        class Threaded(Clock):
            def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
                calls.append((call, *arguments))
                told.set()

        offload = Offload(Threaded(), HEAVY, ThreadPool(0, THREADS, "test"))
        self.addCleanup(offload.stop)
        waiting = Deferred.fromCoroutine(offload.run(HEAVY, threading.get_ident))
        self.assertTrue(told.wait(10))
        self.assertNoResult(waiting)
        ((call, *arguments),) = calls
        call(*arguments)
        self.assertNotEqual(self.successResultOf(waiting), threading.get_ident())
