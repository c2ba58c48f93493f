"""The stats service: what it logs of a request, its timer, and its end."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigateway.events import Usage
from aigateway.stats import Attempt, Outcome, StatsService

ATTEMPT = Attempt(provider="glm", model="glm-4-flash", account="main", status=200, seconds=2.5, ttfb=0.4)
USAGE = Usage(12, 34, cache_read_tokens=5)


def outcome(**fields: Any) -> Outcome:
    values: dict[str, Any] = {
        "request_id": "req_1",
        "started_at": 1.7e9,
        "dialect": "claude",
        "client": "ci",
        "model": "fast",
        "provider": "glm",
        "target_model": "glm-4-flash",
        "account": "main",
        "streamed": True,
        "status": 200,
        "result": "ok",
        "usage": USAGE,
        "ttfb": 0.5,
        "seconds": 2.5,
        "chunks": 9,
        "attempts": (ATTEMPT,),
    }
    return Outcome(**(values | fields))


@implementer(ILogObserver)
class Observed(list[LogEvent]):
    """The log events since it was last emptied."""

    def __call__(self, event: LogEvent) -> None:
        self.append(event)


class FailsOnce(StatsService):
    """Its first summary fails."""

    summaries = 0

    def _summarise(self) -> None:
        self.summaries += 1
        if self.summaries == 1:
            raise ZeroDivisionError("the first summary")
        super()._summarise()


class StatsServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.service = StatsService(self.clock, summary_interval=60.0, wall=lambda: 1.7e9)
        self.events = Observed()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def lines(self) -> list[str]:
        """What was logged since it was last asked for."""
        lines = [formatEvent(event) for event in self.events]
        self.events.clear()
        return lines

    def run_request(self, done: Outcome, service: StatsService | None = None) -> None:
        service = service or self.service
        service.stats.begin(done.dialect, done.streamed)
        service.stats.attempt_started("glm", "glm-4-flash", "main")
        service.stats.attempt_ended(msgspec.structs.replace(ATTEMPT, usage=USAGE))
        service.record(done)

    def test_line(self) -> None:
        """A request leaves one line at level info, at its end, with whom, what and how long."""
        self.service.stats.begin("claude", True)
        self.assertEqual(self.events, [])
        self.service.record(outcome())
        self.assertEqual([event["log_level"] for event in self.events], [LogLevel.info])
        self.assertEqual(
            self.lines(),
            [
                "req_1 ci fast -> glm/glm-4-flash account=main ok 200 ttfb=0.500s total=2.500s"
                " in=12 cached=5 out=34 chunks=9 attempts=1"
            ],
        )
        self.assertEqual(self.service.stats.totals.requests, 1)

    def test_what_came_before(self) -> None:
        """Several attempts are told by account and end, and waiting and a denied retry as such."""
        failed = msgspec.structs.replace(ATTEMPT, account="spare", error="failed")
        self.run_request(outcome(attempts=(failed, ATTEMPT), waited=1.5))
        self.assertIn(" attempts=2 tried=glm/spare:failed,glm/main:ok waited=1.500s", self.lines()[0])
        self.run_request(outcome(attempts=(failed,), retry_denied=True, error="it failed"))
        self.assertTrue(self.lines()[0].endswith(" attempts=1 retry=denied: it failed"))

    def test_line_without_provider(self) -> None:
        """A refusal of the gateway's own has dashes for what there was not, and the reason."""
        refusal = outcome(
            client=None,
            provider=None,
            target_model=None,
            account=None,
            result="unknown_model",
            status=404,
            error='no target serves model "fast"',
            usage=None,
            ttfb=None,
            seconds=0.001,
            chunks=1,
            attempts=(),
        )
        self.run_request(refusal)
        self.assertEqual(
            self.lines(),
            [
                "req_1 - fast -> - account=- unknown_model 404 ttfb=- total=0.001s"
                ' in=0 cached=0 out=0 chunks=1 attempts=0: no target serves model "fast"'
            ],
        )

    def test_line_cannot_be_forged(self) -> None:
        """Line ends, escape sequences and format fields in names and messages stay text."""
        self.run_request(outcome(model="a\nb\x1b[2J{x}", error="c\r\nd {error}", target_model="e\nf"))
        (line,) = self.lines()
        self.assertTrue(line.isprintable())
        self.assertIn(r"a\nb\x1b[2J{x} -> glm/e\nf ", line)
        self.assertTrue(line.endswith(r": c\r\nd {error}"))

    def test_long_texts_are_cut_in_the_line(self) -> None:
        """A model name of a megabyte does not make a line of a megabyte."""
        self.run_request(outcome(model="m" * 1_000_000))
        self.assertLess(len(self.lines()[0]), 1000)

    def test_unmatched_end_is_logged_once(self) -> None:
        """An outcome of a request that never began is a fault, which is logged once."""
        for _ in range(3):
            self.service.record(outcome())
        errors = [event for event in self.events if event["log_level"] is LogLevel.error]
        self.assertEqual(len(errors), 1)
        self.assertIn("req_1", formatEvent(errors[0]))
        self.assertEqual(self.service.stats.open_requests, 0)

    def test_summary(self) -> None:
        """The timer logs what happened since the last summary, and what since the start."""
        self.service.startService()
        self.run_request(outcome())
        self.run_request(outcome(result="client_left"))
        self.run_request(outcome(result="busy"))
        self.service.stats.begin("claude", True)
        self.lines()
        self.clock.advance(59.0)
        self.assertEqual(self.lines(), [])
        self.clock.advance(1.0)
        self.assertEqual(
            self.lines(),
            [
                "3 requests in 60 s: 1 ok, 1 left by the client, 1 failed; 1 open, 1 of them streams."
                " Since the start: 3 requests, tokens in=36 cached=15 out=102;"
                " p50/p90/p99 of the first byte 0.500/0.500/0.500 s, of the whole 2.500/2.500/2.500 s"
            ],
        )
        self.service.record(outcome())
        self.lines()
        self.clock.advance(60.0)
        (line,) = self.lines()
        self.assertIn("1 requests in 60 s: 1 ok, 0 left by the client, 0 failed; 0 open,", line)
        self.assertIn("Since the start: 4 requests", line)
        self.service.stopService()

    def test_silent_while_nothing_happens(self) -> None:
        """Without a request since the last summary there is none; the next covers all the time."""
        self.service.startService()
        self.clock.pump([60.0] * 5)
        self.assertEqual(self.lines(), [])
        self.run_request(outcome())
        self.lines()
        self.clock.advance(60.0)
        self.assertIn("1 requests in 360 s", self.lines()[0])
        self.service.stopService()

    def test_timer_off(self) -> None:
        """An interval of 0 schedules nothing."""
        service = StatsService(self.clock, summary_interval=0.0)
        service.startService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        service.stopService()

    def test_timer_survives(self) -> None:
        """A summary that fails is logged with its traceback, and the next one comes."""
        service = FailsOnce(self.clock, summary_interval=60.0)
        service.startService()
        self.run_request(outcome(), service)
        self.lines()
        self.clock.advance(60.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.lines()
        self.clock.advance(60.0)
        self.assertIn("1 requests in 120 s", self.lines()[0])
        service.stopService()

    def test_stop(self) -> None:
        """Stopping ends the timer and leaves a last summary, also where there was nothing."""
        self.service.startService()
        self.service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        (line,) = self.lines()
        self.assertTrue(line.startswith("0 requests in 0 s"), line)
        self.assertTrue(line.endswith("of the first byte -, of the whole -"), line)

    def test_snapshot(self) -> None:
        """The snapshot is JSON; its start is by the wall, its uptime by the monotonic clock."""
        self.run_request(outcome())
        self.clock.advance(12.5)
        snapshot = msgspec.json.decode(msgspec.json.encode(self.service.snapshot()))
        self.assertEqual((snapshot["started_at"], snapshot["uptime_seconds"]), (1.7e9, 12.5))
        self.assertEqual(snapshot["recent"][0]["client"], "ci")
