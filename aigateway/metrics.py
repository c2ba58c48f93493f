"""The counters of ``GET /stats`` in Prometheus' text format, for ``GET /metrics``.

Pure: it is given the stats and the clock, and gives back bytes. Nothing is counted here, and no
registry outlives a call. ``docs/stats.md`` has the table of all metrics; names follow
https://prometheus.io/docs/practices/naming/.

The totals and the rows of providers, models and accounts are metrics of their own, so that
no sum over labels counts anything twice. Their number is bounded: providers and accounts are
configured, error kinds are the gateway's own, and of the models `MAX_SHOWN` are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from . import __version__
from .accounts import AccountState
from .allowance import Allowed
from .budget import Retrying
from .counters import OTHER, Counters, Stats
from .histogram import Histogram
from .load import Load
from .outcome import CLIENT_LEFT, OK, OVERTAKEN

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""What `exposition` gives; every version of Prometheus reads it."""

EDGES = (0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1.0, 2.2, 4.7, 10.0, 22.0, 47.0, 100.0, 220.0, 470.0, 1000.0)
"""Upper bounds of the buckets that are shown: every second of `aigateway.histogram.BOUNDS` from 10 ms
to 1,000 s, so that their counts are exact."""

MAX_SHOWN = 100
"""Models that have metrics of their own, the first that were asked for; `Stats` has rows for ten
times as many, but a page of all would hold up every stream for a third of a second."""

_STATES = ("ready", "resting", "set_aside")


class _Total(NamedTuple):
    """A number of a row that only grows."""

    name: str
    help: str
    read: Callable[[Counters], float]


_TOTALS = (
    _Total("streamed_requests", "Requests that ended, of them streams", attrgetter("streamed")),
    _Total("simulated_requests", "Requests answered by a simulated provider", attrgetter("simulated")),
    _Total("estimated_requests", "Attempts whose tokens are an estimate", attrgetter("estimated")),
    _Total("sent_chunks", "Writes to clients", attrgetter("chunks")),
    _Total("sent_bytes", "Bytes of answers sent to clients", attrgetter("bytes_out")),
    _Total("received_bytes", "Bytes received from providers", attrgetter("bytes_in")),
    _Total("reasoning_tokens", "Tokens of output that were reasoning", attrgetter("reasoning_tokens")),
)
_TOKENS = {  # by kind; no token is in two of them
    "input": attrgetter("input_tokens"),
    "cache_read": attrgetter("cache_read_tokens"),
    "cache_write": attrgetter("cache_write_tokens"),
    "output": attrgetter("output_tokens"),
}


class _Scope(NamedTuple):
    """The totals, or the rows of one kind: how their metrics begin, their labels, what is timed."""

    prefix: str
    labels: tuple[str, ...]
    timed: str
    rows: Sequence[tuple[tuple[str, ...], Counters]]


class Gauges(NamedTuple):
    """What is now, beside what was counted: ``health`` by provider, as the executor describes it;
    ``state`` as that describes itself; ``keys`` by name; ``connections`` as the site describes them."""

    health: Mapping[str, Iterable[AccountState]]
    load: Load
    retries: Retrying
    connections: Mapping[str, int | None]
    state: Mapping[str, int]
    keys: Mapping[str, Allowed]


def exposition(stats: Stats, gauges: Gauges, now: float) -> bytes:
    """Every metric, as it is now; ``now`` by the clock that the stats were started with."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exposed(stats, gauges, now))
    return generate_latest(registry)


class _Exposed(Collector):
    def __init__(self, stats: Stats, gauges: Gauges, now: float) -> None:
        self._stats = stats
        self._gauges = gauges
        self._now = now

    def collect(self) -> Iterator[Metric]:
        stats = self._stats
        yield _gauge("build_info", "The version that runs", ("version",), [((__version__,), 1)])
        yield _gauge("start_time_seconds", "Unix time of the start", (), [((), stats.started_at)])
        yield _gauge("uptime_seconds", "Seconds since the start", (), [((), stats.uptime(self._now))])
        dialects = [((dialect,), count) for dialect, count in stats.open_dialects.items()]
        yield _gauge("open_requests", "Requests under way", ("dialect",), dialects)
        yield _gauge("open_streams", "Requests under way that are streams", (), [((), stats.open_streams)])
        yield _counter(
            "unmatched_ends", "Ends without a beginning: faults of the gateway", stats.unmatched_ends
        )
        for scope in (
            _Scope("aigateway", (), "request", [((), stats.totals)]),
            _scope("provider", ("provider",), [((name,), row) for name, row in stats.providers.items()]),
            _scope("model", ("model",), [((name,), row) for name, row in _shown(stats.models)]),
            _scope("account", ("provider", "account"), list(stats.accounts.items())),
            _scope("client", ("client",), [((name,), row) for name, row in stats.clients.items()], "request"),
        ):
            yield from _metrics(scope)
        yield from self._accounts()
        yield from self._shed()
        yield from self._kept()

    def _shed(self) -> Iterator[Metric]:
        load = self._gauges.load
        refused = CounterMetricFamily(
            "aigateway_refused_requests", "Requests refused for want of capacity", labels=("limit",)
        )
        for limit, number in load.refused.items():
            refused.add_metric((limit,), number)
        yield refused
        yield _gauge("taken_requests", "Requests that have a place", (), [((), load.active)])
        yield _gauge("taken_streams", "Requests that have a place for a stream", (), [((), load.streams)])
        yield _gauge("queued_requests", "Requests that wait for a place", (), [((), load.queued)])
        yield _gauge("lag_seconds", "How long the last measured turn took", (), [((), load.lag)])
        yield _gauge("late", "1 while there is more to do than can be done", (), [((), load.late)])

        retries, connections = self._gauges.retries, self._gauges.connections
        yield _counter("denied_attempts", "Further attempts for which there was no budget", retries.denied)
        yield _counter("turned_away_requests", "Requests that found no place to wait", retries.turned_away)
        yield _gauge("waiting_requests", "Requests that wait for an account", (), [((), retries.waiting)])
        yield _gauge("open_connections", "Connections of clients", (), [((), connections["open"] or 0)])
        away = connections["turned_away"] or 0
        yield _counter("turned_away_connections", "Connections beyond what there may be", away)

    def _kept(self) -> Iterator[Metric]:
        state, keys = self._gauges.state, self._gauges.keys.items()
        yield _gauge("state_healthy", "1 while the state can be kept", (), [((), state["healthy"])])
        queued = [(("signatures",), state["queued"]), (("usage",), state["usage_rows"])]
        yield _gauge("state_queued", "What waits to be written", ("kind",), queued)
        used = [((name,), key.tokens_today) for name, key in keys]
        yield _gauge("key_tokens_today", "Tokens that a key has used today", ("client",), used)
        limits = [((name,), key.tokens_per_day) for name, key in keys if key.tokens_per_day]
        yield _gauge("key_tokens_per_day", "Tokens that a key may use in a day", ("client",), limits)

    def _accounts(self) -> Iterator[Metric]:
        described = [
            ((provider, account.name), account)
            for provider, accounts in self._gauges.health.items()
            for account in accounts
        ]
        labels = ("provider", "account")
        states = [
            ((*names, state), account.state == state) for names, account in described for state in _STATES
        ]
        yield _gauge("account_state", "1 for the state that an account is in", (*labels, "state"), states)
        rests = [(names, account.seconds or 0.0) for names, account in described]
        yield _gauge("account_rest_seconds", "For how long an account still rests", labels, rests)
        models = [(names, account.models) for names, account in described]
        yield _gauge("account_resting_models", "Models that an account rests for", labels, models)
        ejected = [(names, account.ejected) for names, account in described]
        yield _gauge("account_ejected_models", "Models that an account failed at too often", labels, ejected)


def _scope(
    kind: str,
    labels: tuple[str, ...],
    rows: Sequence[tuple[tuple[str, ...], Counters]],
    timed: str = "attempt",
) -> _Scope:
    return _Scope(f"aigateway_{kind}", labels, timed, [(_valid(names), row) for names, row in rows])


def _shown(models: Mapping[str, Counters]) -> list[tuple[str, Counters]]:
    """The models that are told apart, and the others together. Rows are never taken away, so each
    model stays where it was, and no counter goes down."""
    named = [(name, row) for name, row in models.items() if name != OTHER]
    rest = [row for _, row in named[MAX_SHOWN:]] + [row for name, row in models.items() if name == OTHER]
    return named[:MAX_SHOWN] + ([(OTHER, _together(rest))] if rest else [])


def _together(rows: Iterable[Counters]) -> Counters:
    """``rows`` as one; but for the shortest and the longest duration, which no metric shows."""
    whole = Counters()
    for row in rows:
        for name in Counters.__slots__:
            ours, theirs = getattr(whole, name), getattr(row, name)
            if isinstance(ours, Histogram):
                ours.counts = [one + other for one, other in zip(ours.counts, theirs.counts, strict=True)]
                ours.count += theirs.count
                ours.sum += theirs.sum
            elif isinstance(ours, dict):
                for kind, number in theirs.items():
                    ours[kind] = ours.get(kind, 0) + number
            else:
                setattr(whole, name, ours + theirs)
    return whole


def _metrics(scope: _Scope) -> Iterator[Metric]:
    """The metrics of the totals, or of rows of one kind."""
    prefix, labels, timed, rows = scope
    requests = CounterMetricFamily(f"{prefix}_requests", "Requests that ended", labels=(*labels, "result"))
    attempts = CounterMetricFamily(
        f"{prefix}_attempts", "Attempts at an account that ended", labels=(*labels, "result")
    )
    tokens = CounterMetricFamily(f"{prefix}_tokens", "Tokens used", labels=(*labels, "kind"))
    for names, row in rows:
        for result, number in {OK: row.ok, CLIENT_LEFT: row.client_left, **row.errors}.items():
            requests.add_metric((*names, result), number)
        told = {OK: row.attempts_ok, CLIENT_LEFT: row.attempts_left, **row.attempt_errors}
        if row.attempts_overtaken:
            told[OVERTAKEN] = row.attempts_overtaken
        for result, number in told.items():
            attempts.add_metric((*names, result), number)
        for kind, read in _TOKENS.items():
            tokens.add_metric((*names, kind), read(row))
    yield from (requests, attempts, tokens)
    for total in _TOTALS:
        family = CounterMetricFamily(f"{prefix}_{total.name}", total.help, labels=labels)
        for names, row in rows:
            family.add_metric(names, total.read(row))
        yield family
    opened = GaugeMetricFamily(f"{prefix}_open_attempts", "Attempts under way", labels=labels)
    ttfb = HistogramMetricFamily(f"{prefix}_{timed}_ttfb_seconds", "Time to the first byte", labels=labels)
    whole = HistogramMetricFamily(
        f"{prefix}_{timed}_duration_seconds", "Time to the end of a whole answer", labels=labels
    )
    for names, row in rows:
        opened.add_metric(names, row.attempts_open)
        ttfb.add_metric(names, _buckets(row.ttfb), row.ttfb.sum)
        whole.add_metric(names, _buckets(row.total), row.total.sum)
    yield from (opened, ttfb, whole)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    counts = dict(histogram.cumulative())
    return [*((floatToGoString(edge), counts[edge]) for edge in EDGES), ("+Inf", histogram.count)]


def _counter(name: str, help: str, value: float) -> CounterMetricFamily:
    family = CounterMetricFamily(f"aigateway_{name}", help)
    family.add_metric((), value)
    return family


def _gauge(
    name: str, help: str, labels: Sequence[str], samples: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"aigateway_{name}", help, labels=labels)
    for names, value in samples:
        family.add_metric(_valid(names), value)
    return family


def _valid(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` as UTF-8 has them: one lone surrogate would cost the whole page."""
    return tuple(name.encode("utf-8", "backslashreplace").decode() for name in names)
