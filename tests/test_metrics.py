"""The metrics: their numbers are those of the stats, in a text that Prometheus reads."""

from __future__ import annotations

import itertools
import math
import re
import unittest
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from aigateway import __version__, metrics
from aigateway.accounts import AccountState
from aigateway.allowance import Allowed
from aigateway.budget import Retrying
from aigateway.counters import OTHER, Stats
from aigateway.events import Usage
from aigateway.histogram import BOUNDS
from aigateway.load import Load
from aigateway.metrics import CONTENT_TYPE, EDGES, MAX_SHOWN, Gauges, exposition
from aigateway.outcome import Attempt, Outcome

DOCUMENT = Path(metrics.__file__).parents[1] / "docs" / "stats.md"
TTFB = "aigateway_model_attempt_ttfb_seconds_count"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


LOAD = Load(3, 2, 1, 0.25, True, {"max_lag": 7, "queue": 1})
RETRIES = Retrying(denied=4, waiting=5, turned_away=6)
CONNECTIONS = {"open": 7, "limit": 100, "turned_away": 8}
STATE = {"healthy": True, "queued": 3, "usage_rows": 2}
KEYS = {
    "alice": Allowed(
        active=1,
        concurrency=2,
        requests_in_minute=3,
        requests_per_minute=4,
        tokens_today=50,
        tokens_reserved=6,
        tokens_per_day=100,
        tokens_left=44,
        known=True,
    )
}


def gauges(health: dict[str, list[AccountState]] | None = None) -> Gauges:
    return Gauges(health or {}, LOAD, RETRIES, CONNECTIONS, STATE, KEYS)


def samples(stats: Stats, health: dict[str, list[AccountState]] | None = None, now: float = 0.0) -> Samples:
    """The page as Prometheus reads it; no sample comes twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(exposition(stats, gauges(health), now).decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def end(stats: Stats, *attempts: Attempt, ended: bool = True, **fields: Any) -> None:
    """The life of a request that took these attempts, and of them."""
    if attempts:  # its usage is that of the last one
        attempts = (*attempts[:-1], msgspec.structs.replace(attempts[-1], usage=fields.get("usage")))
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
    stats.begin("claude", bool(fields.get("streamed", True)))
    for attempt in attempts:
        stats.attempt_started(attempt.provider, attempt.model, attempt.account)
        stats.attempt_ended(attempt)
    if ended:
        stats.end(Outcome(**(values | fields)))


def attempt(provider: str = "glm", model: str = "glm-4", account: str = "main", **fields: Any) -> Attempt:
    return Attempt(provider=provider, model=model, account=account, **fields)


def busy() -> Stats:
    """Stats with something in every number."""
    stats = Stats(started_at=1.7e9, now=100.0)
    usage = Usage(10, 20, 3, 4, 5)
    end(
        stats,
        attempt(error="upstream_busy", seconds=0.3),
        attempt(account="spare", seconds=2.0, ttfb=0.47),
        usage=usage,
        ttfb=0.9,
        seconds=2.4,
        chunks=7,
        bytes_out=700,
        bytes_in=900,
    )
    end(stats, attempt("openai", "gpt-5", "a", seconds=5000.0, ttfb=0.001), seconds=5001.0, streamed=False)
    end(stats, attempt(error="client_left"), result="client_left", simulated=True, client="ci")
    end(stats, attempt("openai", "gpt-5", "a", error="overtaken"), attempt(), usage=usage, client="ci")
    end(stats, attempt(error="timeout"), result="timeout", usage=Usage(1, 2, estimated=True))
    end(stats, result="no_route")
    end(stats, ended=False)
    stats.attempt_started("glm", "glm-4", "main")
    end(stats, ended=False, streamed=False)
    stats.attempt_ended(attempt("other", "m", "x"))
    stats.attempt_started("openai", "gpt-5", "a")
    stats.end(
        Outcome(
            request_id="r",
            started_at=0.0,
            dialect="gemini",
            model="m",
            streamed=True,
            status=200,
            result="ok",
        )
    )
    return stats


class Numbers(unittest.TestCase):
    def check_row(
        self, found: Samples, prefix: str, timed: str, labels: dict[str, str], row: Any
    ) -> set[Any]:
        """The samples of one row are its snapshot, number by number. Gives back their keys."""
        wanted: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

        def want(name: str, value: float, **more: str) -> None:
            wanted[f"{prefix}_{name}", frozenset((labels | more).items())] = value

        for kind in ("requests", "attempts"):
            want(f"{kind}_total", row[kind]["ok"], result="ok")
            want(f"{kind}_total", row[kind]["client_left"], result="client_left")
            if row[kind].get("overtaken"):
                want(f"{kind}_total", row[kind]["overtaken"], result="overtaken")
            for error, number in row[kind]["errors"].items():
                want(f"{kind}_total", number, result=error)
        want("streamed_requests_total", row["requests"]["streamed"])
        want("simulated_requests_total", row["requests"]["simulated"])
        want("estimated_requests_total", row["tokens"]["estimated"])
        want("open_attempts", row["attempts"]["open"])
        want("sent_chunks_total", row["traffic"]["chunks"])
        want("sent_bytes_total", row["traffic"]["bytes_out"])
        want("received_bytes_total", row["traffic"]["bytes_in"])
        for kind in ("input", "output", "cache_read", "cache_write"):
            want("tokens_total", row["tokens"][kind], kind=kind)
        want("reasoning_tokens_total", row["tokens"]["reasoning"])
        for name, latency in (("ttfb", "ttfb"), ("duration", "total")):
            want(f"{timed}_{name}_seconds_sum", row["latency"][latency]["sum"])
            want(f"{timed}_{name}_seconds_count", row["latency"][latency]["count"])
        self.assertEqual({key: found.get(key) for key in wanted}, wanted)
        return set(wanted)

    def test_every_number(self) -> None:
        """Every number of the snapshot is a sample, in the totals and in each row, and no sample is
        there that the snapshot does not have."""
        stats = busy()
        found, shown = samples(stats, now=160.5), dict(stats.snapshot(160.5))
        seen = self.check_row(found, "aigateway", "request", {}, shown)
        for kind, timed in (("provider", "attempt"), ("model", "attempt"), ("client", "request")):
            rows: Any = shown[f"{kind}s"]
            self.assertTrue(rows)
            for name, row in rows.items():
                seen |= self.check_row(found, f"aigateway_{kind}", timed, {kind: name}, row)
        accounts: Any = shown["accounts"]
        for name, row in accounts.items():
            provider, account = name.split("/")
            labels = {"provider": provider, "account": account}
            seen |= self.check_row(found, "aigateway_account", "attempt", labels, row)
        opened: Any = shown["open"]
        rest = {
            ("aigateway_build_info", frozenset({("version", __version__)})): 1,
            ("aigateway_start_time_seconds", frozenset[Any]()): 1.7e9,
            ("aigateway_uptime_seconds", frozenset[Any]()): 60.5,
            ("aigateway_open_streams", frozenset[Any]()): opened["streams"],
            ("aigateway_open_requests", frozenset({("dialect", "claude")})): opened["dialects"]["claude"],
            ("aigateway_unmatched_ends_total", frozenset[Any]()): stats.unmatched_ends,
            ("aigateway_denied_attempts_total", frozenset[Any]()): RETRIES.denied,
            ("aigateway_waiting_requests", frozenset[Any]()): RETRIES.waiting,
            ("aigateway_turned_away_requests_total", frozenset[Any]()): RETRIES.turned_away,
            ("aigateway_open_connections", frozenset[Any]()): 7,
            ("aigateway_turned_away_connections_total", frozenset[Any]()): 8,
            ("aigateway_taken_requests", frozenset[Any]()): LOAD.active,
            ("aigateway_taken_streams", frozenset[Any]()): LOAD.streams,
            ("aigateway_queued_requests", frozenset[Any]()): LOAD.queued,
            ("aigateway_lag_seconds", frozenset[Any]()): LOAD.lag,
            ("aigateway_late", frozenset[Any]()): 1,
            ("aigateway_refused_requests_total", frozenset({("limit", "max_lag")})): 7,
            ("aigateway_refused_requests_total", frozenset({("limit", "queue")})): 1,
            ("aigateway_state_healthy", frozenset[Any]()): 1,
            ("aigateway_state_queued", frozenset({("kind", "signatures")})): 3,
            ("aigateway_state_queued", frozenset({("kind", "usage")})): 2,
            ("aigateway_key_tokens_today", frozenset({("client", "alice")})): 50,
            ("aigateway_key_tokens_per_day", frozenset({("client", "alice")})): 100,
        }
        self.assertEqual(stats.unmatched_ends, 2)
        self.assertEqual(opened, {"requests": 2, "streams": 1, "dialects": {"claude": 2}})
        self.assertEqual({key: found.get(key) for key in rest}, rest)
        others = {key for key in found if not key[0].endswith("_bucket")}
        self.assertEqual(others, seen | set(rest))

    def test_buckets(self) -> None:
        """A bucket holds all durations up to its edge, the edge included; the last holds all."""
        self.assertLessEqual(set(EDGES), set(BOUNDS))
        stats = Stats(started_at=0.0, now=0.0)
        taken = [0.0, 0.01, 0.0101, 0.47, 0.471, 1.0, 999.0, 1000.0, 1000.1, 1e6]
        for seconds in taken:
            end(stats, attempt(ttfb=seconds, seconds=seconds), ttfb=seconds, seconds=seconds)
        found = samples(stats)
        for name, labels in (
            ("aigateway_request_ttfb_seconds", {}),
            ("aigateway_request_duration_seconds", {}),
            ("aigateway_provider_attempt_ttfb_seconds", {"provider": "glm"}),
            ("aigateway_model_attempt_duration_seconds", {"model": "glm-4"}),
            ("aigateway_account_attempt_duration_seconds", {"provider": "glm", "account": "main"}),
        ):
            buckets = {
                float(dict(labels_of)["le"]): value
                for (sample, labels_of), value in found.items()
                if sample == f"{name}_bucket" and labels.items() <= dict(labels_of).items()
            }
            want = {edge: sum(seconds <= edge for seconds in taken) for edge in (*EDGES, math.inf)}
            self.assertEqual(buckets, want)

    def test_nothing_yet(self) -> None:
        """Before the first request the totals are there, all 0: a rate needs a first value."""
        found = samples(Stats(started_at=0.0, now=0.0))
        for name in ("aigateway_requests_total", "aigateway_attempts_total"):
            for result in ("ok", "client_left"):
                self.assertEqual(found[name, frozenset({("result", result)})], 0)
        self.assertFalse([name for name, _ in found if name.startswith("aigateway_provider")])

    def test_health(self) -> None:
        """An account is in one state of three; how long it rests, and for how many models, are gauges."""
        health = {
            "glm": [
                AccountState("main", "ready", models=2, ejected=3),
                AccountState("spare", "resting", 12.5, "upstream_busy"),
            ],
            "openai": [AccountState("main", "set_aside", None, "upstream_unauthorized")],
        }
        found = samples(Stats(started_at=0.0, now=0.0), health)

        def of(name: str, *labels: str) -> float:
            keys = ("provider", "account", "state")[: len(labels)]
            return found[f"aigateway_account_{name}", frozenset(zip(keys, labels, strict=True))]

        for provider, accounts in health.items():
            for account in accounts:
                states = [
                    state
                    for state in ("ready", "resting", "set_aside")
                    if of("state", provider, account.name, state)
                ]
                self.assertEqual(states, [account.state])
                self.assertEqual(of("rest_seconds", provider, account.name), account.seconds or 0)
                self.assertEqual(of("resting_models", provider, account.name), account.models)
                self.assertEqual(of("ejected_models", provider, account.name), account.ejected)


class Text(unittest.TestCase):
    def test_label_values(self) -> None:
        """What a client or an operator names forges no line, and is read back as it was."""
        stats = Stats(started_at=0.0, now=0.0)
        names = ['a"b', "a\\", "a\nb 1\n# x", "{}", "é\u2028\0\r", "", 'm"} 5\naigateway_requests_total 9']
        for name in names:
            end(stats, attempt(name, name, name))
        found = samples(stats)
        for name in names:
            self.assertEqual(found["aigateway_model_open_attempts", frozenset({("model", name)})], 0)
        self.assertNotIn(("aigateway_requests_total", frozenset[Any]()), found)
        end(stats, attempt(model="\ud800"))
        end(stats, attempt(model="\ud801"))
        models = {value for (_, labels) in samples(stats) for key, value in labels if key == "model"}
        self.assertEqual(models, {*names, r"\ud800", r"\ud801"})

    def test_bounded(self) -> None:
        """However many models are asked for, the first have metrics of their own and the others have
        theirs together, over-long names among them; nothing is lost, and no counter goes down."""
        stats = Stats(started_at=0.0, now=0.0)
        end(stats, attempt(model="x" * 500), usage=Usage(1, 1))
        sizes, others = [], []
        for _ in range(3):
            for number in range(600):
                error = "timeout" if number % 2 else None
                end(
                    stats,
                    attempt(model=f"m{number}", ttfb=0.5, seconds=1.0, error=error),
                    result=error or "ok",
                    usage=Usage(2, 3),
                )
            page = exposition(stats, gauges(), 0.0)
            sizes.append(page.count(b"\n"))
            found = samples(stats)
            tokens = {
                dict(labels)["model"]: value
                for (name, labels), value in found.items()
                if name == "aigateway_model_tokens_total" and ("kind", "output") in labels
            }
            self.assertEqual(len(tokens), MAX_SHOWN + 1)
            self.assertEqual(sum(tokens.values()), stats.totals.output_tokens)
            for name in ("requests", "attempts"):
                results = [
                    value for (one, _), value in found.items() if one == f"aigateway_model_{name}_total"
                ]
                self.assertEqual(sum(results), stats.totals.requests)
            timed = [value for (name, _), value in found.items() if name == TTFB]
            self.assertEqual(sum(timed), stats.providers["glm"].ttfb.count)
            others.append({key: value for key, value in found.items() if ("model", OTHER) in key[1]})
        self.assertEqual(len(set(sizes)), 1)
        self.assertLess(sizes[0], 8000)
        for before, after in itertools.pairwise(others):
            self.assertTrue(all(after[key] >= value for key, value in before.items()))

    def test_names(self) -> None:
        """Names follow the conventions: the gateway's prefix, base units, ``_total`` on counters alone."""
        page = exposition(busy(), gauges({"glm": [AccountState("main", "ready")]}), 0.0)
        self.assertTrue(page.endswith(b"\n"))
        for family in text_string_to_metric_families(page.decode()):
            self.assertTrue(family.name.startswith("aigateway_"))
            self.assertTrue(family.documentation)
            self.assertIn(family.type, ("counter", "gauge", "histogram"))
            totals = [sample.name.endswith("_total") for sample in family.samples]
            self.assertEqual(set(totals), {family.type == "counter"})
            if family.type == "histogram":
                self.assertTrue(family.name.endswith("_seconds"))

    def test_content_type(self) -> None:
        """The type names the text format that every Prometheus reads."""
        self.assertEqual(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")

    def test_the_document(self) -> None:
        """The tables in the documentation have every metric, with its labels, and no other."""
        page = exposition(busy(), gauges({"glm": [AccountState("main", "ready")]}), 0.0).decode()
        shown = {
            (
                f"{family.name}_total" if family.type == "counter" else family.name,
                frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
            )
            for family in text_string_to_metric_families(page)
        }
        _, totals, others, *_ = re.split(
            r"^\| metric .*$",
            DOCUMENT.read_text(encoding="utf-8").partition("## Metrics")[2],
            flags=re.MULTILINE,
        )
        written = documented(totals) | documented(others)
        for scope, more in (
            ("provider", {"provider"}),
            ("model", {"model"}),
            ("account", {"provider", "account"}),
            ("client", {"client"}),
        ):
            for name, labels in documented(totals):
                there = name.replace("aigateway_", f"aigateway_{scope}_")
                if scope != "client":
                    there = there.replace("_request_", "_attempt_")
                written.add((there, labels | more))
        self.assertEqual(shown, written)


def documented(table: str) -> set[tuple[str, frozenset[str]]]:
    """The metrics of a table in the documentation, with their labels."""
    rows = re.findall(r"^\| `(aigateway_\w+)` \|([^|]*)\|", table, re.MULTILINE)
    return {(name, frozenset(re.findall(r"`(\w+)`", labels))) for name, labels in rows}
