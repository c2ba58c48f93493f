"""Offered three times what it can do: ``python -m benchmarks.overload [--only cpu] [--rounds 3]``.

Two cases: few places before a slow provider (``places``), and a processor with more to do than it
can, before a provider that answers at once (``cpu``). In each, clients that ask as fast as they are
answered show the capacity; then others come at that rate, and at three times it, however those
before them fare (`benchmarks.arrivals`). ``refusal`` is what a refused request costs, when all are.

Exits with status 1 where a promise is broken by the median of the rounds: offered three times the
capacity, 80 % of it goes into good answers; the rest is refused with a Retry-After in under 100 ms, and
/health answers in under 100 ms (99 of 100, both). *core* tells how much of one the gateway had. Where
that was less than 0.9 in the second case, somebody else had the rest: then it was offered more than
three times what it could do, and waited for others in between, and is not judged: status 2.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial

from .arrivals import Arrivals, Fared
from .gateway import OPENAI, PATIENCE, ROOT, Failed, run
from .load import Load, request
from .machine import HOST, allow_files, cores, running
from .report import number, table
from .stage import Gateway, free_port, gateway

SHARE, SOON, ENOUGH = 0.8, 0.1, 0.9
CONFIG = """\
[gateway]
listen = "tcp:{port}:interface=127.0.0.1"
drain = 1.0
[providers.mock]
kind = "openai"
base_url = "http://127.0.0.1:%d/v1"
accounts = [{ name = "a", api_key = "benchmark" }]
[[routes]]
model = "*"
targets = ["mock"]
[limits]
%s
"""
COLUMNS = (
    "case",
    "offered/s",
    "good/s",
    "of peak",
    "good p50",
    "refused/s",
    "refused p50",
    "refused p99",
    "health p99",
    "core",
)


@dataclass(frozen=True)
class Case:
    """``connections`` are those with which the capacity is measured."""

    name: str
    limits: str
    model: str
    tokens: int
    stream: bool
    connections: int


CASES = {
    "places": Case("20 places, answers of 0.5 s", "max_requests = 20", "mock-10-0.05", 10, True, 20),
    "cpu": Case("CPU, whole answers at once", "", "mock-20-0", 20, False, 32),
}
TIMES = (1.0, 3.0)


@dataclass(frozen=True)
class Row:
    """One rate of one case. Times are in seconds; ``core`` is the part of one that the gateway had."""

    name: str
    times: float
    offered: float
    good: float
    share: float
    good_p50: float
    refused: float
    refused_p50: float
    refused_p99: float
    health_p99: float
    core: float
    answered: bool

    def broken(self) -> Iterator[str]:
        if not self.answered:
            yield "answers"
        if not self.judged:
            return
        if self.times > 1 and self.share < SHARE:
            yield "goodput"
        if self.refused_p99 >= SOON:
            yield "refusals"
        if self.health_p99 >= SOON:
            yield "health"

    @property
    def judged(self) -> bool:
        """Whether the numbers are the gateway's own, and not the machine's."""
        return self.name != CASES["cpu"].name or self.core >= ENOUGH

    def cells(self) -> list[str]:
        waits = (self.refused_p50, self.refused_p99, self.health_p99)
        return [
            f"{self.name}, {self.times:g} x",
            number(self.offered),
            number(self.good),
            f"{self.share:.0%}",
            f"{self.good_p50 * 1000:.0f} ms",
            number(self.refused),
            *(f"{wait * 1000:.0f} ms" for wait in waits),
            f"{self.core:.2f}",
        ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="that each rate is measured for")
    parser.add_argument("--settle", type=float, default=2.0, help="seconds of each rate before that")
    parser.add_argument("--rounds", type=int, default=1, help="of all cases in turn")
    parser.add_argument("--only", default="refusal,places,cpu", help="cases, with commas between them")
    parser.add_argument("--limits", default="", help="a line for the gateway's [limits]")
    options = parser.parse_args()
    allow_files(10_000)
    rounds: dict[tuple[str, float], list[Row]] = {}
    for _ in range(options.rounds):
        for name in options.only.split(","):
            if name == "refusal":
                cost, rate = refusal(options.seconds, options.limits)
                print(f"a refusal takes {cost * 1e6:.0f} µs of CPU, at {rate:.0f} a second", flush=True)
                continue
            for row in measure(CASES[name], options.seconds, options.settle, options.limits):
                rounds.setdefault((row.name, row.times), []).append(row)
    medians = [median(rows) for rows in rounds.values()]
    if medians:
        print(table([[*COLUMNS, "broken"], *([*row.cells(), _verdict(row)] for row in medians)]))
    if any(list(row.broken()) for row in medians):
        return 1
    return 0 if all(row.judged for row in medians) else 2


def _verdict(row: Row) -> str:
    return ", ".join(row.broken()) or ("" if row.judged else "not judged")


def measure(case: Case, seconds: float, settle: float, limits: str) -> list[Row]:
    """A row for each rate."""
    with stage(f"{case.limits}\n{limits}") as (ours, upstream):
        load = Load(OPENAI, case.model, case.tokens, case.connections, seconds, case.stream)
        load = replace(load, port=ours.port, gateway=ours.pid, upstream=upstream)
        run(replace(load, seconds=1.0))
        peak = run(load)
        capacity = peak.answers / peak.seconds
        cost = peak.gateway_cpu / peak.answers
        print(f"{case.name}: {capacity:.0f} a second, {cost * 1e6:.0f} µs of CPU each", flush=True)
        come = partial(
            Arrivals,
            path=OPENAI,
            model=case.model,
            tokens=case.tokens,
            stream=case.stream,
            seconds=seconds,
            settle=settle,
            port=ours.port,
            gateway=ours.pid,
        )
        rows = [row(case, times, capacity, fare(come(rate=capacity * times))) for times in TIMES]
    return rows


def refusal(seconds: float, limits: str) -> tuple[float, float]:
    """What it takes to refuse a request, in seconds of CPU, and how many came in a second."""
    with stage(f"max_requests = 1\nqueue = 0\n{limits}") as (ours, _), socket.socket() as taken:
        taken.connect((HOST, ours.port))
        lasting = Load(OPENAI, "mock-100000-0.5", 100_000, 1, seconds, True, port=ours.port)
        taken.sendall(request(lasting, 0))
        taken.recv(1)
        fared = fare(
            Arrivals(OPENAI, "mock-1-0", 1, False, 1_000.0, seconds, 1.0, port=ours.port, gateway=ours.pid)
        )
    if fared.good or fared.lost or not fared.refused:
        raise Failed(f"not everybody was refused: {fared.statuses}, {fared.sample}")
    return fared.gateway_cpu / len(fared.refused), len(fared.refused) / fared.seconds


@contextmanager
def stage(limits: str) -> Iterator[tuple[Gateway, int]]:
    """A gateway before an upstream of baked bytes, and the upstream's process id."""
    port = free_port()
    _, theirs = cores()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port)]
    with (
        running(command, theirs, cwd=ROOT, environ={}) as upstream,
        gateway(CONFIG.replace("%d", str(port)).replace("%s", limits)) as ours,
    ):
        yield ours, upstream.pid


def fare(arrivals: Arrivals) -> Fared:
    """Let them come."""
    _, theirs = cores()
    command = [sys.executable, "-m", "benchmarks.arrivals", json.dumps(asdict(arrivals))]
    with running(command, theirs, cwd=ROOT, environ={}, output=subprocess.PIPE) as process:
        output, _ = process.communicate(timeout=arrivals.seconds + arrivals.settle + 2 * PATIENCE)
    try:
        return Fared(**json.loads(output))
    except ValueError:
        raise Failed(output.decode()[-2000:]) from None


def row(case: Case, times: float, capacity: float, fared: Fared) -> Row:
    good = len(fared.good) / fared.seconds
    if fared.lost:
        print(f"{fared.lost} were not answered, such as: {fared.sample!r}", flush=True)
    return Row(
        name=case.name,
        times=times,
        offered=capacity * times,
        good=good,
        share=good / capacity,
        good_p50=quantile(fared.good, 0.5),
        refused=len(fared.refused) / fared.seconds,
        refused_p50=quantile(fared.refused, 0.5),
        refused_p99=quantile(fared.refused, 0.99),
        health_p99=quantile(fared.health, 0.99),
        core=fared.gateway_cpu / fared.seconds,
        answered=not fared.lost and fared.told_when == len(fared.refused),
    )


def median(rows: list[Row]) -> Row:
    """Each number's median over the rounds; every answer must have been right in all of them."""
    numbers = {
        name: statistics.median(getattr(row, name) for row in rows)
        for name, value in asdict(rows[0]).items()
        if isinstance(value, float)
    }
    return replace(rows[0], **numbers, answered=all(row.answered for row in rows))


def quantile(values: list[float], share: float) -> float:
    """0 where there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


if __name__ == "__main__":
    sys.exit(main())
