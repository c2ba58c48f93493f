"""What is counted, where, and that it stays bounded."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

import msgspec

import aigateway
from aigateway.counters import MAX_MODELS, OTHER, RECENT, Stats
from aigateway.events import Usage
from aigateway.outcome import MAX_DROPPED, MAX_TEXT, Attempt, Outcome


def attempt(
    provider: str = "openai",
    account: str = "main",
    error: str | None = None,
    *,
    model: str = "gpt-4o",
    seconds: float = 2.0,
    ttfb: float | None = 0.5,
) -> Attempt:
    return Attempt(
        provider=provider, model=model, account=account, error=error, seconds=seconds, ttfb=ttfb, status=200
    )


def outcome(*attempts: Attempt, **fields: Any) -> Outcome:
    """An outcome of these attempts, well ended unless ``fields`` say otherwise; its usage is that of
    the last one."""
    if attempts and (usage := fields.get("usage")) is not None:
        attempts = (*attempts[:-1], msgspec.structs.replace(attempts[-1], usage=usage))
    last = attempts[-1] if attempts else None
    values: dict[str, Any] = {
        "request_id": "req_1",
        "started_at": 1.7e9,
        "dialect": "claude",
        "model": "fast",
        "streamed": True,
        "status": 200,
        "result": "ok",
        "provider": last and last.provider,
        "target_model": last and last.model,
        "account": last and last.account,
        "attempts": attempts,
    }
    return Outcome(**(values | fields))


def run(stats: Stats, done: Outcome) -> None:
    """The whole life of a request that leaves ``done``."""
    stats.begin(done.dialect, done.streamed)
    for one in done.attempts:
        stats.attempt_started(one.provider, one.model, one.account)
        stats.attempt_ended(one)
    stats.end(done)


def seen(stats: Stats, now: float = 0.0) -> Any:
    """The snapshot as a client of ``/stats`` reads it; the standard library encodes it, so
    that nothing rests on msgspec's leniency."""
    return json.loads(json.dumps(stats.snapshot(now), allow_nan=False))


class CountingTests(unittest.TestCase):
    def setUp(self) -> None:
        self.stats = Stats(started_at=1.7e9, now=100.0)

    def test_pure(self) -> None:
        """The counting imports nothing from Twisted."""
        code = "import sys, aigateway.counters; sys.exit('twisted' in sys.modules)"
        root = Path(aigateway.__file__).resolve().parent.parent
        self.assertEqual(subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode, 0)

    def test_nothing_yet(self) -> None:
        """Before the first request there is a whole snapshot already, and no quantiles."""
        snapshot = seen(self.stats, 160.5)
        self.assertEqual(snapshot["started_at"], 1.7e9)
        self.assertEqual(snapshot["uptime_seconds"], 60.5)
        self.assertEqual(snapshot["open"], {"requests": 0, "streams": 0, "dialects": {}})
        self.assertEqual(snapshot["requests"]["total"], 0)
        self.assertIsNone(snapshot["latency"]["ttfb"]["p50"])
        self.assertEqual(snapshot["recent"], [])

    def test_every_row(self) -> None:
        """A request counts in the totals and in its provider's, model's, account's and client's rows."""
        usage = Usage(10, 20, cache_read_tokens=3, cache_write_tokens=4, reasoning_tokens=5)
        run(self.stats, outcome(attempt(), usage=usage, chunks=7, bytes_out=800, bytes_in=900, client="ci"))
        snapshot = seen(self.stats)
        for row in (
            snapshot,
            snapshot["providers"]["openai"],
            snapshot["models"]["gpt-4o"],
            snapshot["accounts"]["openai/main"],
            snapshot["clients"]["ci"],
        ):
            self.assertEqual((row["requests"]["total"], row["requests"]["ok"]), (1, 1))
            self.assertEqual((row["attempts"]["total"], row["attempts"]["ok"]), (1, 1))
            self.assertEqual(row["traffic"], {"chunks": 7, "bytes_out": 800, "bytes_in": 900})
            self.assertEqual(
                row["tokens"],
                {
                    "input": 10,
                    "output": 20,
                    "cache_read": 3,
                    "cache_write": 4,
                    "reasoning": 5,
                    "estimated": 0,
                },
            )

    def test_sums(self) -> None:
        """The totals are the sum of what each request used; estimates are counted as such."""
        for tokens in range(1, 11):
            used = Usage(tokens, 2 * tokens, estimated=tokens % 5 == 0)
            provider = "openai" if tokens % 2 else "glm"
            run(self.stats, outcome(attempt(provider), usage=used, bytes_in=tokens))
        run(self.stats, outcome(attempt(), usage=None))
        snapshot = seen(self.stats)
        self.assertEqual(snapshot["tokens"]["input"], 55)
        self.assertEqual(snapshot["tokens"]["output"], 110)
        self.assertEqual(snapshot["tokens"]["estimated"], 2)
        self.assertEqual(snapshot["traffic"]["bytes_in"], 55)
        self.assertEqual(snapshot["providers"]["openai"]["tokens"]["input"], 25)
        self.assertEqual(snapshot["providers"]["glm"]["tokens"]["input"], 30)

    def test_failover(self) -> None:
        """An attempt that failed before another succeeded is an error of its account, and
        no error of a request."""
        busy, good = attempt("glm", "a", "busy", model="glm-4"), attempt()
        run(self.stats, outcome(busy, good, usage=Usage(1, 1)))
        snapshot = seen(self.stats)
        self.assertEqual(snapshot["requests"]["errors"], {})
        self.assertEqual(snapshot["requests"]["total"], 1)
        self.assertEqual(snapshot["attempts"]["total"], 2)
        self.assertEqual(snapshot["attempts"]["errors"], {"busy": 1})
        for row in (
            snapshot["accounts"]["glm/a"],
            snapshot["providers"]["glm"],
            snapshot["models"]["glm-4"],
        ):
            self.assertEqual(row["attempts"]["errors"], {"busy": 1})
            self.assertEqual(row["attempts"]["failed"], 1)
            self.assertEqual(row["requests"]["total"], 0)
            self.assertEqual(row["tokens"]["input"], 0)
        self.assertEqual(snapshot["accounts"]["openai/main"]["attempts"]["errors"], {})

    def test_attempts_that_came_to_nothing_are_counted(self) -> None:
        """What a failed or overtaken attempt used is its account's, and in the sums of all and of
        the client; being overtaken is no failure."""
        cut = msgspec.structs.replace(attempt("glm", "a", "truncated"), usage=Usage(5, 3))
        late = msgspec.structs.replace(attempt("glm", "b", "overtaken"), usage=Usage(5, 0, estimated=True))
        run(self.stats, outcome(cut, late, attempt(), usage=Usage(5, 7), client="ci"))
        snapshot = seen(self.stats)
        for row in (snapshot, snapshot["clients"]["ci"]):
            self.assertEqual((row["tokens"]["input"], row["tokens"]["output"]), (15, 10))
        self.assertEqual(snapshot["accounts"]["glm/a"]["tokens"]["output"], 3)
        self.assertEqual(snapshot["providers"]["openai"]["tokens"]["output"], 7)
        attempts = snapshot["accounts"]["glm/b"]["attempts"]
        self.assertEqual((attempts["overtaken"], attempts["failed"], attempts["errors"]), (1, 0, {}))

    def test_errors_by_kind(self) -> None:
        """Requests that failed are counted by the kind of their error."""
        for kind in ("busy", "silent", "busy"):
            run(self.stats, outcome(attempt(error=kind), result=kind, status=502))
        requests = seen(self.stats)["requests"]
        self.assertEqual(requests["errors"], {"busy": 2, "silent": 1})
        self.assertEqual((requests["total"], requests["ok"], requests["failed"]), (3, 0, 3))

    def test_client_left(self) -> None:
        """A client that leaves is no error, of the request or of the account."""
        run(self.stats, outcome(attempt(error="client_left"), result="client_left"))
        snapshot = seen(self.stats)
        for row in (snapshot, snapshot["accounts"]["openai/main"]):
            for what in ("requests", "attempts"):
                self.assertEqual(row[what]["client_left"], 1)
                self.assertEqual((row[what]["failed"], row[what]["errors"]), (0, {}))

    def test_refused_by_us(self) -> None:
        """A request that no provider was asked for counts in the totals alone."""
        run(self.stats, outcome(result="unauthorized", status=401, streamed=False))
        snapshot = seen(self.stats)
        self.assertEqual(snapshot["requests"]["errors"], {"unauthorized": 1})
        self.assertEqual((snapshot["providers"], snapshot["models"], snapshot["accounts"]), ({}, {}, {}))

    def test_latency(self) -> None:
        """The totals time requests, the other rows attempts, the failed ones before left out."""
        failed = attempt("glm", "a", "silent", seconds=60.0, ttfb=None)
        run(self.stats, outcome(failed, attempt(seconds=2.0, ttfb=0.5), seconds=62.0, ttfb=60.5))
        snapshot = seen(self.stats)
        self.assertEqual(snapshot["latency"]["ttfb"]["p50"], 60.5)
        self.assertEqual(snapshot["latency"]["total"]["p99"], 62.0)
        latency = snapshot["accounts"]["openai/main"]["latency"]
        self.assertEqual((latency["ttfb"]["p50"], latency["total"]["p50"]), (0.5, 2.0))

    def test_only_whole_answers_are_timed(self) -> None:
        """What failed or was left has its first byte timed, if there was one, and no total."""
        run(
            self.stats,
            outcome(attempt(error="truncated"), result="truncated", seconds=1.0, ttfb=0.25),
        )
        snapshot = seen(self.stats)
        for row in (snapshot, snapshot["providers"]["openai"]):
            self.assertEqual(row["latency"]["ttfb"]["count"], 1)
            self.assertEqual(row["latency"]["total"]["count"], 0)

    def test_streamed_and_simulated(self) -> None:
        """Streams and simulated answers are told apart."""
        run(self.stats, outcome(attempt(), simulated=True))
        run(self.stats, outcome(attempt(), streamed=False))
        requests = seen(self.stats)["requests"]
        self.assertEqual((requests["streamed"], requests["simulated"]), (1, 1))


class GaugeTests(unittest.TestCase):
    def setUp(self) -> None:
        self.stats = Stats(started_at=0.0, now=0.0)

    def test_open(self) -> None:
        """Requests and streams are open from their beginning to their end."""
        self.stats.begin("claude", True)
        self.stats.begin("openai", True)
        self.stats.begin("openai", False)
        self.assertEqual(
            seen(self.stats)["open"], {"requests": 3, "streams": 2, "dialects": {"claude": 1, "openai": 2}}
        )
        self.stats.end(outcome(dialect="openai"))
        self.stats.end(outcome(dialect="openai", streamed=False))
        self.assertEqual(
            seen(self.stats)["open"], {"requests": 1, "streams": 1, "dialects": {"claude": 1, "openai": 0}}
        )
        self.assertEqual(self.stats.unmatched_ends, 0)

    def test_attempts_open(self) -> None:
        """An attempt is open at its account, its provider and its model until it ends."""
        self.stats.attempt_started("glm", "glm-4", "a")
        self.stats.attempt_started("glm", "glm-4", "b")
        snapshot = seen(self.stats)
        self.assertEqual(snapshot["attempts"]["open"], 2)
        self.assertEqual(snapshot["providers"]["glm"]["attempts"]["open"], 2)
        self.assertEqual(snapshot["models"]["glm-4"]["attempts"]["open"], 2)
        self.assertEqual(snapshot["accounts"]["glm/a"]["attempts"]["open"], 1)
        self.stats.attempt_ended(attempt("glm", "a", model="glm-4"))
        self.stats.attempt_ended(attempt("glm", "b", model="glm-4"))
        rows = (self.stats.totals, *self.stats.accounts.values(), *self.stats.models.values())
        self.assertEqual([row.attempts_open for row in rows], [0, 0, 0, 0])
        self.assertEqual(self.stats.unmatched_ends, 0)

    def test_never_negative(self) -> None:
        """An end without its beginning leaves the gauges alone, is counted all the same, and
        is remembered as a fault."""
        self.stats.begin("claude", True)
        self.stats.end(outcome(dialect="claude", streamed=False))
        self.stats.attempt_started("openai", "gpt-4o", "main")
        self.stats.attempt_ended(attempt(account="other"))
        self.assertEqual(self.stats.unmatched_ends, 2)
        snapshot = seen(self.stats)
        self.assertEqual((snapshot["open"]["requests"], snapshot["open"]["streams"]), (1, 1))
        self.assertEqual(snapshot["attempts"]["open"], 1)
        self.assertEqual(snapshot["accounts"]["openai/other"]["attempts"]["open"], 0)
        self.assertEqual((snapshot["requests"]["total"], snapshot["attempts"]["total"]), (1, 1))


class BoundsTests(unittest.TestCase):
    def setUp(self) -> None:
        self.stats = Stats(started_at=0.0, now=0.0)

    def test_models(self) -> None:
        """The first thousand models have a row each, all others share one; nothing is lost,
        and the gauges of the shared one close too."""
        for number in range(MAX_MODELS + 50):
            run(self.stats, outcome(attempt(model=f"m{number}"), usage=Usage(1, 0)))
        self.assertEqual(len(self.stats.models), MAX_MODELS + 1)
        other = self.stats.models[OTHER]
        self.assertEqual((other.requests, other.attempts, other.attempts_open), (50, 50, 0))
        self.assertEqual(sum(row.input_tokens for row in self.stats.models.values()), MAX_MODELS + 50)
        self.assertEqual(self.stats.unmatched_ends, 0)

    def test_model_across_the_bound(self) -> None:
        """An attempt that began before the table was full ends in the row that it began in."""
        self.stats.attempt_started("openai", "early", "main")
        for number in range(MAX_MODELS):
            run(self.stats, outcome(attempt(model=f"m{number}")))
        self.stats.attempt_ended(attempt(model="early"))
        self.assertEqual(self.stats.models["early"].attempts_open, 0)
        self.assertEqual(self.stats.unmatched_ends, 0)

    def test_long_names(self) -> None:
        """A model name of a megabyte is counted under the others, and kept cut."""
        name = "m" * 1_000_000
        run(self.stats, outcome(attempt(model=name), model=name, error="e" * 5000, dropped=(name,) * 500))
        self.assertEqual(list(self.stats.models), [OTHER])
        self.assertEqual(self.stats.models[OTHER].requests, 1)
        (kept,) = self.stats.recent
        self.assertEqual(len(kept.model), MAX_TEXT)
        self.assertEqual(len(kept.error or ""), MAX_TEXT)
        self.assertEqual(len(kept.dropped), MAX_DROPPED)
        self.assertLess(len(msgspec.json.encode(kept)), 20_000)

    def test_recent(self) -> None:
        """The last hundred outcomes are kept, the newest first, attempts and usage included."""
        for number in range(RECENT + 5):
            run(self.stats, outcome(attempt(), request_id=f"req_{number}", usage=Usage(1, 2)))
        recent = seen(self.stats)["recent"]
        self.assertEqual(len(recent), RECENT)
        self.assertEqual((recent[0]["request_id"], recent[-1]["request_id"]), ("req_104", "req_5"))
        self.assertEqual(recent[0]["attempts"][0]["account"], "main")
        self.assertEqual(recent[0]["usage"]["output_tokens"], 2)
