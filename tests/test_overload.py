"""More than can be done: places, the queue, lateness, and what those are told who are refused."""

from __future__ import annotations

import heapq
import random
import unittest
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigateway.config import Limits
from aigateway.errors import Overloaded
from aigateway.load import AIM, CALM, SUSTAINED, Lateness
from aigateway.overload import PROBE, SAID_EVERY, Capacity

from .fakes import DONE, STOP, GatewayTestCase, chat, chunk, config, request_bytes

LIMIT = 0.05


class Places(SynchronousTestCase):
    def capacity(self, **limits: Any) -> Capacity:
        self.clock = Clock()
        return Capacity(Limits(**({"max_requests": 2, "queue": 3, "queue_wait": 1.0} | limits)), self.clock)

    def enter(self, capacity: Capacity, streamed: bool = False) -> Deferred[None]:
        return Deferred.fromCoroutine(capacity.enter(streamed))

    def numbers(self, capacity: Capacity) -> tuple[int, int, int]:
        load = capacity.describe()
        return load.active, load.streams, load.queued

    def test_places_then_a_queue_then_none(self) -> None:
        """As many as there are places enter at once, as many as the queue holds wait, others are
        refused at once; each place that is given back goes to the one who has waited longest."""
        capacity = self.capacity()
        entered = [self.enter(capacity) for _ in range(6)]
        self.assertEqual([one.called for one in entered], [True, True, False, False, False, True])
        self.assertEqual(self.failureResultOf(entered[5], Overloaded).value.retry_after, 1)
        self.assertEqual(self.numbers(capacity), (2, 0, 3))
        for number in (2, 3, 4):
            capacity.leave(False)
            self.assertEqual([one.called for one in entered[2:5]], [at <= number for at in (2, 3, 4)])
            self.successResultOf(entered[number])
        capacity.leave(False)
        capacity.leave(False)
        self.assertEqual(self.numbers(capacity), (0, 0, 0))
        self.assertEqual(capacity.describe().refused, {"queue": 1})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_waits_for_ever(self) -> None:
        """Who has waited for ``queue_wait`` is refused, and has no place in the queue any more."""
        capacity = self.capacity(max_requests=1)
        self.enter(capacity)
        waiting = self.enter(capacity)
        self.clock.advance(0.99)
        self.assertNoResult(waiting)
        self.clock.advance(0.01)
        self.failureResultOf(waiting, Overloaded)
        self.assertEqual(self.numbers(capacity), (1, 0, 0))
        self.assertEqual(capacity.describe().refused, {"queue_wait": 1})

    def test_who_leaves_is_not_waited_for(self) -> None:
        """A client that leaves gives its place in the queue up."""
        capacity = self.capacity(max_requests=1)
        self.enter(capacity)
        first, second = self.enter(capacity), self.enter(capacity)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.numbers(capacity), (1, 0, 1))
        capacity.leave(False)
        self.successResultOf(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_streams_have_places_of_their_own(self) -> None:
        """Where all streams are taken streams wait, and whole answers go past them; where all
        places are, both wait together, in the order in which they came."""
        capacity = self.capacity(max_requests=2, max_streams=1)
        self.enter(capacity, True)
        stream, whole = self.enter(capacity, True), self.enter(capacity)
        self.assertNoResult(stream)
        self.successResultOf(whole)
        self.assertEqual(self.numbers(capacity), (2, 1, 1))
        late = self.enter(capacity)
        capacity.leave(True)
        self.successResultOf(stream)
        self.assertNoResult(late)
        capacity.leave(True)
        self.successResultOf(late)
        self.assertEqual(self.numbers(capacity), (2, 0, 0))

    def test_no_wait_in_vain(self) -> None:
        """When places come slowly, who would not get one in time is refused at once and told
        when to come again; when they come quickly again, all may wait."""
        capacity = self.capacity(max_requests=1, queue=10, queue_wait=4.0)
        self.enter(capacity)
        waiting = [self.enter(capacity)]
        self.clock.advance(1.5)
        capacity.leave(False)
        self.successResultOf(waiting.pop())
        waiting.append(self.enter(capacity))  # the first in line always may
        refusal = self.failureResultOf(self.enter(capacity), Overloaded).value
        self.assertEqual(refusal.retry_after, 3)
        self.assertEqual(capacity.describe().refused, {"queue_wait": 1})
        for _ in range(20):
            self.clock.advance(0.1)
            capacity.leave(False)
            self.successResultOf(waiting.pop())
            waiting.append(self.enter(capacity))
        for _ in range(3):
            self.assertNoResult(self.enter(capacity))

    def test_what_has_not_come_for_long(self) -> None:
        """While no place is given back at all, those who come later are refused before the first in
        line has waited in vain."""
        capacity = self.capacity(max_requests=1, queue=10)
        self.enter(capacity)
        self.enter(capacity).addErrback(lambda _: None)
        self.clock.advance(0.3)
        self.failureResultOf(self.enter(capacity), Overloaded)

    def test_hopeless_by_its_head(self) -> None:
        """While a place is free, or one in the queue, a request's head is no reason to refuse it."""
        capacity = self.capacity(max_requests=1, queue=1)
        self.assertIsNone(capacity.hopeless())
        self.enter(capacity)
        self.assertIsNone(capacity.hopeless())
        self.enter(capacity).addErrback(lambda _: None)
        self.assertIn("queue is full", str(capacity.hopeless()))

    def test_a_queue_of_those_who_fail_at_once(self) -> None:
        """However many of those who waited are done as soon as they have a place, they do not pile
        up on each other."""
        capacity = self.capacity(max_requests=1, queue=1_000)

        async def enter_and_leave() -> None:
            await capacity.enter(False)
            capacity.leave(False)

        self.enter(capacity)
        waiting = [Deferred.fromCoroutine(enter_and_leave()) for _ in range(1_000)]
        capacity.leave(False)
        for one in waiting:
            self.successResultOf(one)
        self.assertEqual(self.numbers(capacity), (0, 0, 0))


class Late(unittest.TestCase):
    def turns(self, lateness: Lateness, *lengths: float) -> None:
        for length in lengths:
            lateness.begin(self.now)
            self.now += length
            lateness.end(self.now, LIMIT)

    def setUp(self) -> None:
        self.now = 100.0
        self.lateness = Lateness()

    def is_over(self, after: float = 0.0) -> bool:
        return self.lateness.is_over(self.now + after, LIMIT)

    def test_one_heavy_request(self) -> None:
        """One long turn, however long, is no reason to refuse anybody; nor are two of the same work."""
        self.turns(self.lateness, 2.0, 0.04, 3.0, 0.09, 0.01)
        self.assertFalse(self.lateness.late)
        self.lateness.begin(self.now)
        self.assertFalse(self.is_over(1.0))

    def test_nothing_but_long_turns(self) -> None:
        """It is late when there were none but long turns for a while, or as soon as each is longer
        than the one before."""
        self.turns(self.lateness, 0.09, 0.06)
        self.assertFalse(self.lateness.late)
        self.turns(self.lateness, SUSTAINED - 0.04)
        self.assertTrue(self.lateness.late)
        growing = Lateness()
        self.turns(growing, 0.06, 0.07)
        self.assertTrue(growing.late)

    def taken_on(self, length: float) -> int:
        """How many are taken on in a turn of ``length`` in which any number comes."""
        self.lateness.begin(self.now)
        taken = 0
        while taken < 1000 and not self.is_over():
            self.lateness.take()
            taken += 1
        self.now += length
        self.lateness.end(self.now, LIMIT)
        return taken

    def test_so_many_in_a_turn(self) -> None:
        """Late, it takes so many on in a turn that turns become as long as they are meant to be: fewer
        while they are longer, more while they are shorter and there are any, but always one."""
        self.turns(self.lateness, 0.06)
        self.assertEqual(self.taken_on(0.08), 1000)
        lengths, taken = [0.08], [1000]
        for _ in range(100):
            taken.append(self.taken_on(taken[-1] * 0.0005 + 0.0001))
            lengths.append(self.lateness.lag)
        self.assertAlmostEqual(lengths[-1], LIMIT * AIM, delta=LIMIT * 0.1)
        self.assertEqual({self.taken_on(LIMIT) for _ in range(100)} & {0}, set())
        self.assertEqual(self.taken_on(LIMIT), 1)
        for _ in range(60):
            self.turns(self.lateness, 0.009)
        self.assertEqual(self.taken_on(0.009), 1)

    def test_what_has_piled_up(self) -> None:
        """After a pause, of the whole process for all that it knows, turns are long until what has piled up
        is done; while they become shorter, that is no reason to refuse anybody."""
        self.turns(self.lateness, *(10.0 * 0.7**turn for turn in range(20)))
        self.assertFalse(self.lateness.late)

    def test_not_busy_any_more(self) -> None:
        """Once turns are short again any number is taken on, however few were to be while they were long;
        and however often so many come at once, it is soon no longer late."""
        self.turns(self.lateness, 0.06, 0.3, 0.3)
        self.assertTrue(self.lateness.late)
        self.turns(self.lateness, 0.001)
        for _ in range(3):
            self.assertEqual(self.taken_on(0.001), 1000)
            self.lateness.rest()
            self.now += CALM * 0.9
        self.assertFalse(self.lateness.is_late(self.now))

    def test_long_ago(self) -> None:
        """How long the last turn took before none was measured for a while is no reason to refuse anybody."""
        self.turns(self.lateness, 0.06, 0.3)
        self.lateness.rest()
        self.now += CALM * 0.9
        self.assertEqual(self.taken_on(0.001), 1000)

    def test_enough_to_do_as_it_is(self) -> None:
        """After a turn of more than twice the limit none is taken on."""
        self.turns(self.lateness, 0.06, 0.08, 0.101)
        self.assertEqual(self.taken_on(0.01), 0)
        self.assertEqual(self.taken_on(0.01), 1)

    def test_the_end(self) -> None:
        """When nothing was refused for a while, it is no longer late."""
        self.turns(self.lateness, 0.06, 0.07)
        self.assertTrue(self.lateness.is_late(self.now))
        self.turns(self.lateness, *[0.01] * int(CALM / 0.01 + 2))
        self.assertFalse(self.lateness.is_late(self.now))

    def test_a_pause(self) -> None:
        """The time in which no turn was measured is not taken for a long one."""
        self.turns(self.lateness, 0.06)
        self.lateness.rest()
        self.now += 50
        self.assertFalse(self.is_over())
        self.turns(self.lateness, 0.06)
        self.assertFalse(self.lateness.late)


class Turns(Clock):
    """A clock whose turns are those of a reactor: what is called later is never called in the same one,
    and work takes ``rightNow`` further."""

    def turn(self) -> None:
        for call in [call for call in self.calls if call.getTime() <= self.rightNow]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class Simulated:
    """A processor, and more to do than it can. An answer costs ``ANSWER`` seconds of it in four
    pieces, a turn apart at least, as the reactor hands them out; a refusal ``REFUSAL``. These are what both
    were measured to cost, in proportion."""

    ANSWER, REFUSAL, HEALTH, ROUND = 500e-6, 40e-6, 100e-6, 15e-6
    PIECES = 4
    SETTLED = 2.0

    def __init__(self, times: float, max_lag: float = Limits().max_lag, seconds: float = 4.0) -> None:
        self._clock = clock = Turns()
        self._capacity = Capacity(Limits(max_lag=max_lag, max_requests=1_000_000), clock)
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self.good: list[float] = []
        self.refused: list[float] = []
        self.health: list[float] = []
        chance = random.Random(4)
        now = 0.0
        while now < seconds:
            now += chance.expovariate(times / self.ANSWER)
            self._at(now, self._arrive)
        for number in range(int(seconds / 0.05)):
            self._at(number * 0.05, self._ask_health)
        while clock.rightNow < seconds:
            clock.turn()
            ready = []
            while self._due and self._due[0][0] <= clock.rightNow:
                ready.append(heapq.heappop(self._due))
            clock.rightNow += self.ROUND
            for came, _, work in ready:
                work(came)
            if not ready and not clock.calls:
                clock.rightNow = max(clock.rightNow, self._due[0][0])
        self.goodput = len(self.good) * self.ANSWER / (seconds - self.SETTLED)

    def _at(self, when: float, work: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, work))

    def _arrive(self, came: float) -> None:
        if self._capacity.hopeless() is not None:
            self._spend(self.REFUSAL)
            self._at(self._clock.rightNow, lambda _: self._note(self.refused, came))  # written a turn later
        else:
            Deferred.fromCoroutine(self._capacity.enter(False))
            self._work(came, self.PIECES)

    def _work(self, came: float, pieces: int) -> None:
        self._spend(self.ANSWER / self.PIECES)
        if pieces > 1:
            self._at(self._clock.rightNow, lambda _: self._work(came, pieces - 1))
        else:
            self._capacity.leave(False)
            self._note(self.good, came)

    def _ask_health(self, came: float) -> None:
        self._spend(self.HEALTH)
        self._note(self.health, came)

    def _spend(self, seconds: float) -> None:
        self._clock.rightNow += seconds

    def _note(self, found: list[float], came: float) -> None:
        if self._clock.rightNow > self.SETTLED:
            found.append(self._clock.rightNow - came)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


class MoreThanItCan(unittest.TestCase):
    def test_three_times_the_capacity(self) -> None:
        """Offered three times what the processor can do, 80 % of it goes into good answers, refusals
        take less than 100 ms, and so does the health page."""
        overloaded = Simulated(3.0)
        self.assertGreater(overloaded.goodput, 0.8)
        self.assertLess(quantile(overloaded.refused, 0.99), 0.1)
        self.assertLess(quantile(overloaded.health, 0.99), 0.1)
        self.assertLess(quantile(overloaded.good, 0.99), 0.25)

    def test_without_the_limit(self) -> None:
        """With ``max_lag`` off the same load makes everybody wait for seconds: the simulation tells
        the two apart."""
        overloaded = Simulated(3.0, max_lag=0.0)
        self.assertEqual(overloaded.refused, [])
        self.assertGreater(quantile(overloaded.health, 0.5), 0.5)

    def test_less_than_it_can(self) -> None:
        """Nobody is refused at nine tenths of the capacity."""
        busy = Simulated(0.9)
        self.assertEqual(busy.refused, [])
        self.assertGreater(busy.goodput, 0.85)

    def test_nothing_runs_without_requests(self) -> None:
        """The reactor is measured when requests come, at most once in `PROBE` seconds, and wakes up for
        nothing else."""
        clock = Turns()
        capacity = Capacity(Limits(), clock)
        looks = 0
        for _ in range(1000):
            capacity.hopeless()
            for _ in range(3):
                looks += len(clock.calls)
                clock.turn()
            clock.rightNow += PROBE / 10
        self.assertEqual(clock.calls, [])
        self.assertLessEqual(looks, 2 * 1000 / 10 + 2)
        self.assertEqual(capacity.describe().lag, 0.0)


POST = request_bytes("POST", "/openai/v1/chat/completions", chat())


class ThroughTheGateway(GatewayTestCase):
    """One place, and a queue for one."""

    limits = Limits(max_requests=1, queue=1, queue_wait=1.0, max_body=10_000_000)

    def setUp(self) -> None:
        super().setUp()
        self.start(config(limits=self.limits))

    def fill(self) -> None:
        """Take the place and the queue."""
        self.streaming()
        self.queued = self.ask()
        self.assertEqual(len(self.provider.asked), 1)
        self.assertEqual(self.queued.received, b"")

    def load(self) -> dict[str, Any]:
        client = self.ask(b"", path="/stats", method="GET")
        told: dict[str, Any] = client.answer().json()["load"]
        return told

    def test_refused_in_the_caller_s_dialect(self) -> None:
        """With a Retry-After, an id, and on a connection that stays open for the next try; which is
        taken on when there is a place."""
        self.fill()
        for path, type, header in (
            ("/v1/messages", "overloaded_error", "request-id"),
            ("/v1/chat/completions", "overloaded_error", "request-id"),
            ("/openai/v1/chat/completions", "server_error", "x-request-id"),
            ("/v1/responses", "server_error", "x-request-id"),
            ("/v1beta/models/gpt-4:generateContent", "UNAVAILABLE", "x-request-id"),
        ):
            with self.subTest(path):
                client = self.ask(path=path)
                answer = client.answer()
                error = answer.json()["error"]
                self.assertEqual(answer.status, 503)
                self.assertIn(type, (error.get("type"), error.get("status")))
                self.assertEqual(answer.headers["retry-after"], "1")
                self.assertRegex(answer.headers["x-aigateway-request-id"], "^req_[0-9a-f]{32}$")
                if header in answer.headers:
                    self.assertEqual(answer.headers[header], answer.headers["x-aigateway-request-id"])
                self.assertNotIn("connection", answer.headers)
                self.assertFalse(client.ended)
        self.assertEqual(self.load()["refused"], {"queue": 5})
        self.assertEqual(self.outcomes, [])
        self.finish(0)
        self.finish(1)
        client.ask("POST", "/v1/messages", chat(max_tokens=5))
        self.assertEqual(len(self.provider.asked), 3)

    def finish(self, number: int) -> None:
        asked = self.provider.asked[number]
        asked.head()
        asked.finish(chunk("hello"), STOP, DONE)
        self.network.flush()

    def test_refused_while_it_drains(self) -> None:
        """Who is told that the connection is closed finds it closed."""
        self.fill()
        self.gateway.drain(5.0)
        client = self.ask()
        self.assertEqual(client.answer().headers["connection"], "close")
        self.assertTrue(client.ended)

    def test_refused_at_a_glance_or_not(self) -> None:
        """A request that is not read is told the same as one that is, whatever makes it be read: it
        comes in pieces, its length is chunked, two come at once; and nothing is left of its body."""
        self.fill()
        answers = []
        for pieces in (
            [POST],
            [POST[:10], POST[10:]],
            [POST[:-5], POST[-5:]],
            [POST.replace(b"Content-Length", b"X-A: b\r\nContent-Length")],
            [POST.replace(b"Content-Length: ", b"Content-Length:")],
            [POST + POST],
        ):
            with self.subTest(pieces):
                client = self.client()
                for piece in pieces:
                    client.send(piece)
                told = client.answers()
                self.assertEqual(len(told), 2 if pieces[0] == POST + POST else 1)
                self.assertEqual({one.status for one in told}, {503})
                answers += [(one.json(), one.headers.keys()) for one in told]
                client.ask("GET", "/health")
                self.assertEqual(client.answers()[-1].status, 200)
        self.assertTrue(all(one == answers[0] for one in answers))
        self.assertEqual(len(self.provider.asked), 1)

    def test_closed_where_that_is_cheaper(self) -> None:
        """A large body is not read for nothing, nor one of unknown length, nor is it asked for."""
        self.fill()
        for more in (
            b"Content-Length: 9000000\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Expect: 100-continue\r\nContent-Length: 10\r\n",
        ):
            with self.subTest(more):
                client = self.client()
                client.send(
                    b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Type: application/json\r\n" + more + b"\r\n"
                )
                answer = client.answer()
                self.assertEqual((answer.status, answer.interim), (503, ()))
                self.assertEqual(answer.headers["connection"], "close")
                self.assertTrue(client.ended)

    def test_what_asks_for_nothing_is_answered(self) -> None:
        """Health, statistics, metrics and lists of models are there whatever the load."""
        self.fill()
        for path in ("/health", "/stats", "/metrics", "/v1/models", "/v1beta/models"):
            with self.subTest(path):
                self.assertEqual(self.ask(b"", path=path, method="GET").answer().status, 200)
        for path in ("/v1/messages/count_tokens", "/v1/explain"):  # these cost what conversations cost
            with self.subTest(path):
                self.assertEqual(self.ask(path=path).answer().status, 503)

    def test_the_queue_moves_up(self) -> None:
        """Who waits is asked for as soon as the one before is answered."""
        self.fill()
        self.assertEqual((self.load()["active"], self.load()["queued"]), (1, 1))
        self.finish(0)
        self.assertEqual(len(self.provider.asked), 2)
        self.finish(1)
        self.assertEqual(self.queued.answer().text(), "hello")
        self.assertEqual((self.load()["active"], self.load()["queued"]), (0, 0))

    def test_a_wait_in_vain(self) -> None:
        """Who has waited for ``queue_wait`` is refused then, which leaves an outcome."""
        self.fill()
        self.advance(0.99)
        self.assertEqual(self.queued.received, b"")
        self.advance(0.02)
        answer = self.queued.answer()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "1"))
        self.assertEqual(self.outcome().result, "overloaded")

    def test_a_client_that_leaves_the_queue(self) -> None:
        """Its place goes to somebody else, and nobody is asked for it."""
        self.fill()
        self.queued.leave()
        self.network.flush()
        self.assertEqual(self.outcome().result, "client_left")
        self.assertEqual(self.load()["queued"], 0)
        other = self.ask()
        self.finish(0)
        self.finish(1)
        self.assertEqual(other.answer().text(), "hello")

    def test_a_client_that_leaves_its_place(self) -> None:
        """Its place is free at once."""
        client, _ = self.streaming()
        client.leave()
        self.network.flush()
        self.streaming()

    def test_the_end(self) -> None:
        """When the gateway stops, those who wait are refused, and not begun."""
        self.fill()
        stopped = self.executor.stopService()
        self.advance(60)
        self.assertEqual(self.queued.answer().status, 503)
        self.assertEqual(len(self.provider.asked), 1)
        self.successResultOf(stopped)

    def test_the_log(self) -> None:
        """Refusals do not fill the log: there is a line at once, and one in a while."""
        self.fill()
        for _ in range(50):
            self.ask()
        self.advance(0.5)
        self.assertEqual(len([line for line in self.logged if "requests refused" in line]), 1)
        self.advance(SAID_EVERY)
        self.ask()
        self.ask()
        lines = [line for line in self.logged if "requests refused" in line]
        self.assertEqual(len(lines), 2)
        self.assertIn("51 requests refused", lines[1])

    def test_other_limits(self) -> None:
        """A new configuration's limits hold from then on."""
        self.fill()
        self.assertEqual(self.ask().answer().status, 503)
        changed = config(limits=Limits(max_requests=3))
        self.gateway.reconfigure(changed, self.gateway._running.router, self.executor.attempts)
        self.network.flush()
        self.assertEqual(len(self.provider.asked), 2)
        self.ask()
        self.assertEqual(len(self.provider.asked), 3)
