"""What the gateway has done so far, in numbers: the counting behind ``GET /stats``.

Pure: it is told what happened and has no clock, no logger and no socket. `Stats` is the
whole, `Counters` one row of it. Who calls it when is `aigateway.stats` and the executor.
``docs/stats.md`` explains every field of the snapshot.

Requests and attempts are counted apart: one request may take several attempts, so an
attempt that fails before another succeeds is an error of its provider, model and account,
and no error of a request.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque

import msgspec

from . import __version__
from .events import Usage
from .histogram import Histogram
from .outcome import CLIENT_LEFT, MAX_TEXT, OK, OVERTAKEN, Attempt, Outcome

MAX_MODELS = 1000
"""Models that are counted each for itself: a glob route passes on any name a client sends."""
OTHER = "(other)"
"""Where the models beyond `MAX_MODELS`, and over-long names, are counted together."""
RECENT = 100
"""How many outcomes are kept."""


class Counters:
    """The counters of one row: the totals, or a provider, a model, an account.

    ``ttfb`` and ``total`` are the durations of requests in the totals and for clients, of attempts in
    the other rows, where the time that an earlier account took would mislead. ``total`` counts
    only what ended well: a refusal within milliseconds says nothing about answers.
    """

    __slots__ = (
        "attempt_errors",
        "attempts",
        "attempts_left",
        "attempts_ok",
        "attempts_open",
        "attempts_overtaken",
        "bytes_in",
        "bytes_out",
        "cache_read_tokens",
        "cache_write_tokens",
        "chunks",
        "client_left",
        "errors",
        "estimated",
        "input_tokens",
        "ok",
        "output_tokens",
        "reasoning_tokens",
        "requests",
        "simulated",
        "streamed",
        "total",
        "ttfb",
    )

    def __init__(self) -> None:
        self.requests = self.ok = self.client_left = self.streamed = self.simulated = 0
        self.errors: dict[str, int] = {}
        self.attempts = self.attempts_ok = self.attempts_left = self.attempts_overtaken = 0
        self.attempts_open = 0
        self.attempt_errors: dict[str, int] = {}
        self.chunks = self.bytes_out = self.bytes_in = 0
        self.input_tokens = self.output_tokens = self.reasoning_tokens = 0
        self.cache_read_tokens = self.cache_write_tokens = 0
        self.estimated = 0
        self.ttfb = Histogram()
        self.total = Histogram()

    def request_ended(self, outcome: Outcome) -> None:
        """Count a request, its durations apart."""
        self.requests += 1
        result = outcome.result
        if result == OK:
            self.ok += 1
        elif result == CLIENT_LEFT:
            self.client_left += 1
        else:
            self.errors[result] = self.errors.get(result, 0) + 1
        self.streamed += outcome.streamed
        self.simulated += outcome.simulated
        self.chunks += outcome.chunks
        self.bytes_out += outcome.bytes_out
        self.bytes_in += outcome.bytes_in

    def attempt_ended(self, attempt: Attempt) -> None:
        """Count an attempt, its durations apart."""
        self.attempts += 1
        error = attempt.error
        if error is None:
            self.attempts_ok += 1
        elif error == CLIENT_LEFT:
            self.attempts_left += 1
        elif error == OVERTAKEN:
            self.attempts_overtaken += 1
        else:
            self.attempt_errors[error] = self.attempt_errors.get(error, 0) + 1
        if attempt.usage is not None:
            self.used(attempt.usage)

    def took(self, ttfb: float | None, seconds: float, *, well: bool) -> None:
        """Count the durations of what has ended; ``well``: with a whole answer."""
        if ttfb is not None:
            self.ttfb.record(ttfb)
        if well:
            self.total.record(seconds)

    def used(self, usage: Usage) -> None:
        """Count tokens."""
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cache_read_tokens += usage.cache_read_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        self.estimated += usage.estimated

    def snapshot(self) -> dict[str, object]:
        """The row, fit for JSON."""
        return {
            "requests": {
                "total": self.requests,
                "ok": self.ok,
                "client_left": self.client_left,
                "failed": self.requests - self.ok - self.client_left,
                "errors": dict(self.errors),
                "streamed": self.streamed,
                "simulated": self.simulated,
            },
            "attempts": {
                "open": self.attempts_open,
                "total": self.attempts,
                "ok": self.attempts_ok,
                "client_left": self.attempts_left,
                "overtaken": self.attempts_overtaken,
                "failed": sum(self.attempt_errors.values()),
                "errors": dict(self.attempt_errors),
            },
            "traffic": {"chunks": self.chunks, "bytes_out": self.bytes_out, "bytes_in": self.bytes_in},
            "tokens": {
                "input": self.input_tokens,
                "output": self.output_tokens,
                "cache_read": self.cache_read_tokens,
                "cache_write": self.cache_write_tokens,
                "reasoning": self.reasoning_tokens,
                "estimated": self.estimated,
            },
            "latency": {"ttfb": self.ttfb.snapshot(), "total": self.total.snapshot()},
        }


class Stats:
    """Totals, a row for each provider, model and account, and the last outcomes.

    Each `begin` is followed by exactly one `end`, each `attempt_started` by exactly one
    `attempt_ended`; a gauge stays at 0 where an end comes without its beginning, and
    ``unmatched_ends`` says how often one did: any but 0 is a fault of the gateway's own.

    Providers, accounts and clients are taken to come from the configuration, and so to be few.
    ``accounts`` is keyed by provider and account, ``clients`` by the name of their key. Tokens are
    counted by attempt, also those of attempts that came to nothing: what is paid for is counted.
    """

    def __init__(self, *, started_at: float, now: float) -> None:
        """``started_at`` is in Unix seconds, ``now`` by the clock that `snapshot` is given."""
        self.started_at = started_at
        self._started = now
        self.totals = Counters()
        self.providers: defaultdict[str, Counters] = defaultdict(Counters)
        self.models: dict[str, Counters] = {}
        self.accounts: defaultdict[tuple[str, str], Counters] = defaultdict(Counters)
        self.clients: defaultdict[str, Counters] = defaultdict(Counters)
        self.recent: deque[Outcome] = deque(maxlen=RECENT)
        self.unmatched_ends = 0
        self._open: Counter[tuple[str, bool]] = Counter()

    @property
    def open_requests(self) -> int:
        return self._open.total()

    @property
    def open_streams(self) -> int:
        return sum(count for (_, streamed), count in self._open.items() if streamed)

    @property
    def open_dialects(self) -> Counter[str]:
        """The open requests by dialect."""
        dialects: Counter[str] = Counter()
        for (dialect, _), count in self._open.items():
            dialects[dialect] += count
        return dialects

    def uptime(self, now: float) -> float:
        """Seconds since the start; ``now`` as for `snapshot`."""
        return now - self._started

    def begin(self, dialect: str, streamed: bool) -> None:
        """A request is under way; its outcome must name the same ``dialect`` and ``streamed``."""
        self._open[dialect, streamed] += 1

    def end(self, outcome: Outcome) -> Outcome:
        """A request is over. Gives back the outcome as it is kept, long texts cut.

        Its attempts are not counted here but by `attempt_ended`, as they end.
        """
        key = (outcome.dialect, outcome.streamed)
        if self._open[key]:
            self._open[key] -= 1
        else:
            self.unmatched_ends += 1
        self.totals.request_ended(outcome)
        self.totals.took(outcome.ttfb, outcome.seconds, well=outcome.result == OK)
        if outcome.provider is not None:
            self.providers[outcome.provider].request_ended(outcome)
            if outcome.target_model is not None:
                self._model(outcome.target_model).request_ended(outcome)
            if outcome.account is not None:
                self.accounts[outcome.provider, outcome.account].request_ended(outcome)
        if outcome.client is not None:
            row = self.clients[outcome.client]
            row.request_ended(outcome)
            row.took(outcome.ttfb, outcome.seconds, well=outcome.result == OK)
            for attempt in outcome.attempts:
                row.attempt_ended(attempt)
        kept = outcome.clipped()
        self.recent.append(kept)
        return kept

    def attempt_started(self, provider: str, model: str, account: str) -> None:
        """An account is being asked; its `Attempt` must name the same three."""
        for row in self._rows(provider, model, account):
            row.attempts_open += 1

    def attempt_ended(self, attempt: Attempt) -> None:
        """The account has answered, or failed, or was abandoned."""
        rows = self._rows(attempt.provider, attempt.model, attempt.account)
        if min(row.attempts_open for row in rows):
            for row in rows:
                row.attempts_open -= 1
        else:
            self.unmatched_ends += 1
        well = attempt.error is None
        for row in rows:
            row.attempt_ended(attempt)
            if row is not self.totals:
                row.took(attempt.ttfb, attempt.seconds, well=well)

    def snapshot(self, now: float) -> dict[str, object]:
        """Everything, fit for any JSON encoder; the newest outcome first."""
        return {
            "version": __version__,
            "started_at": self.started_at,
            "uptime_seconds": self.uptime(now),
            "open": {
                "requests": self.open_requests,
                "streams": self.open_streams,
                "dialects": self.open_dialects,
            },
            **self.totals.snapshot(),
            "providers": {name: row.snapshot() for name, row in self.providers.items()},
            "models": {name: row.snapshot() for name, row in self.models.items()},
            "accounts": {"/".join(names): row.snapshot() for names, row in self.accounts.items()},
            "clients": {name: row.snapshot() for name, row in self.clients.items()},
            "recent": [msgspec.to_builtins(outcome) for outcome in reversed(self.recent)],
        }

    def _rows(self, provider: str, model: str, account: str) -> tuple[Counters, ...]:
        return (
            self.totals,
            self.providers[provider],
            self._model(model),
            self.accounts[provider, account],
        )

    def _model(self, name: str) -> Counters:
        # Rows are never taken away, so an attempt ends in the row that it started in.
        row = self.models.get(name)
        if row is None:
            if len(self.models) >= MAX_MODELS or len(name) > MAX_TEXT:
                name = OTHER
            row = self.models.setdefault(name, Counters())
        return row
