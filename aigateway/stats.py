"""The stats of a running gateway, as a service: what is counted, and what is logged of it.

One log line for each request at its end, a summary from time to time and one at the very
end. The counting is in `aigateway.counters`, the records in `aigateway.outcome`; serving
``GET /stats`` is the web's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .counters import Stats
from .events import Usage
from .histogram import Histogram
from .outcome import Attempt, Outcome

__all__ = ["Attempt", "Outcome", "Stats", "StatsService"]


class StatsService(Service):
    """Owns the `Stats` of this process, the log lines about requests, and the summary's timer.

    It is to stop last, after the requests that were draining have left their outcomes.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        summary_interval: float = 300.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` (the reactor) times what takes time, ``wall`` only dates the start.
        ``summary_interval`` is in seconds; 0 turns the timer off."""
        self._clock = clock
        self._interval = summary_interval
        now = clock.seconds()
        self.stats = Stats(started_at=wall(), now=now)
        self._mark = _Mark(now)
        self._warned = False
        self._timer = LoopingCall(self._tick)
        self._timer.clock = clock

    def startService(self) -> None:
        super().startService()
        if self._interval > 0:
            self._timer.start(self._interval, now=False)

    def stopService(self) -> None:
        """Stop the timer and log the last summary, of however little."""
        super().stopService()
        if self._timer.running:
            self._timer.stop()
        self._summarise()

    def record(self, outcome: Outcome) -> None:
        """A request is over: count it and log its line. Its `Stats.begin` came before."""
        kept = self.stats.end(outcome)
        self._log_request(kept)
        if self.stats.unmatched_ends and not self._warned:
            self._warned = True
            self._log.error(
                "stats: request {request_id} or an attempt before it ended without having begun;"
                " the numbers of open requests and attempts are unreliable from here on",
                request_id=kept.request_id,
            )

    def snapshot(self) -> dict[str, object]:
        """What ``GET /stats`` shows, fit for any JSON encoder."""
        return self.stats.snapshot(self._clock.seconds())

    def _log_request(self, outcome: Outcome) -> None:
        usage = outcome.usage or _NO_USAGE
        target = "-"
        if outcome.provider is not None:
            target = f"{outcome.provider}/{_printable(outcome.target_model or '')}"
        self._log.info(
            _REQUEST if outcome.error is None else _REQUEST_WITH_ERROR,
            request_id=outcome.request_id,
            client=outcome.client or "-",
            dialect=outcome.dialect,
            model=_printable(outcome.model),
            target=target,
            account=outcome.account or "-",
            result=outcome.result,
            status=outcome.status,
            ttfb="-" if outcome.ttfb is None else f"{outcome.ttfb:.3f}s",
            seconds=outcome.seconds,
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            output_tokens=usage.output_tokens,
            chunks=outcome.chunks,
            attempts=len(outcome.attempts),
            more=_turns(outcome),
            error=None if outcome.error is None else _printable(outcome.error),
        )

    def _tick(self) -> None:
        try:
            if self.stats.totals.requests != self._mark.requests:
                self._summarise()
        except Exception:  # a bug of ours; a LoopingCall whose function raises never calls it again
            self._log.failure("stats: no summary this time")

    def _summarise(self) -> None:
        stats, totals, before = self.stats, self.stats.totals, self._mark
        now = _Mark(self._clock.seconds(), totals.requests, totals.ok, totals.client_left)
        self._mark = now
        requests = now.requests - before.requests
        ok = now.ok - before.ok
        left = now.client_left - before.client_left
        self._log.info(
            _SUMMARY,
            requests=requests,
            period=now.seconds - before.seconds,
            ok=ok,
            client_left=left,
            failed=requests - ok - left,
            open_requests=stats.open_requests,
            open_streams=stats.open_streams,
            total_requests=totals.requests,
            input_tokens=totals.input_tokens,
            cache_read_tokens=totals.cache_read_tokens,
            output_tokens=totals.output_tokens,
            ttfb=_quantiles(totals.ttfb),
            duration=_quantiles(totals.total),
        )


_REQUEST = (
    "{request_id} {client} {model} -> {target} account={account} {result} {status}"
    " ttfb={ttfb} total={seconds:.3f}s in={input_tokens} cached={cache_read_tokens} out={output_tokens}"
    " chunks={chunks} attempts={attempts}{more}"
)
_REQUEST_WITH_ERROR = _REQUEST + ": {error}"

_SUMMARY = (
    "{requests} requests in {period:.0f} s: {ok} ok, {client_left} left by the client, {failed} failed;"
    " {open_requests} open, {open_streams} of them streams."
    " Since the start: {total_requests} requests, tokens in={input_tokens} cached={cache_read_tokens}"
    " out={output_tokens}; p50/p90/p99 of the first byte {ttfb}, of the whole {duration}"
)

_NO_USAGE = Usage()


class _Mark(NamedTuple):
    """Where the counts stood when the last summary was logged."""

    seconds: float
    requests: int = 0
    ok: int = 0
    client_left: int = 0


def _quantiles(histogram: Histogram) -> str:
    if not histogram.count:
        return "-"
    return "/".join(f"{histogram.quantile(q):.3f}" for q in (0.5, 0.9, 0.99)) + " s"


def _turns(outcome: Outcome) -> str:
    """What happened before the answer, where anything did."""
    told = ""
    if len(outcome.attempts) > 1:
        tries = (f"{one.provider}/{one.account}:{one.error or 'ok'}" for one in outcome.attempts)
        told += f" tried={','.join(tries)}"
    if outcome.waited:
        told += f" waited={outcome.waited:.3f}s"
    return told + " retry=denied" if outcome.retry_denied else told


def _printable(text: str) -> str:
    """``text`` with what could forge a log line or steer a terminal escaped."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
