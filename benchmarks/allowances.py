"""What limits of keys and the ledger cost a request: ``python -m benchmarks.allowances``.

CPU of this process (``time.process_time``) for all that is done for them at a request's beginning and
end, without the estimate of its prompt; and how long the file's thread takes for a second's rows.
Fails where the best round of a case is above its bound: other processes only ever add to it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from aigateway.allowance import Allowances
from aigateway.config import ClientKey
from aigateway.events import Usage
from aigateway.ledger import Ledger, day_of
from aigateway.outcome import Attempt, Outcome
from aigateway.statefile import StateFile

from .report import Report, Result

AT = 1_780_000_000.0
TIMES = 20_000
ROWS = 1_000
BOUNDS = {"a key without limits": 1.0, "the same, with state": 5.0, "a key with every limit": 15.0}
"""Microseconds of CPU for each request."""


def ended(model: str = "gpt-4o") -> Outcome:
    attempt = Attempt(provider="openai", model=model, account="main", usage=Usage(100, 50, 20))
    return Outcome(
        request_id="req_1",
        started_at=AT,
        dialect="claude",
        model=model,
        client="ann",
        provider="openai",
        target_model=model,
        streamed=True,
        status=200,
        result="ok",
        attempts=(attempt,),
    )


def unlimited(ledger: Ledger) -> Callable[[], object]:
    key, outcome = ClientKey(name="ann", digest=b""), ended()

    def request() -> None:
        if not key.limited:
            ledger.book(outcome)

    return request


def limited() -> Callable[[], object]:
    most = 2**31 - 1
    key = ClientKey(name="ann", digest=b"", concurrency=10, requests_per_minute=most, tokens_per_day=most)
    ledger, outcome, now = Ledger(), ended(), 0.0
    allowances = Allowances(ledger)

    def request() -> None:
        nonlocal now
        now += 0.01
        taken = allowances.take(key, 1_000, now, AT, fails_open=False)
        ledger.book(outcome)
        allowances.give_back(taken, now)

    return request


def cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - begun) / TIMES * 1e6


def flush(folder: str) -> float:
    """Milliseconds for the rows of as many models as a day has."""
    ledger = Ledger(kept=True)
    for number in range(ROWS):
        ledger.book(ended(f"model-{number}"))
    file = StateFile(f"{folder}/state.db", max_entries=1, max_bytes=1, max_age=1.0)
    file.spent(day_of(AT))
    begun = time.perf_counter()
    file.add(ledger.take())
    took = time.perf_counter() - begun
    file.close()
    return took * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.allowances", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of all cases in turn")
    parser.add_argument(
        "-o", "--output", type=Path, help="append each result to this file, as a line of JSON"
    )
    options = parser.parse_args()
    report = Report("allowances", options.output)
    best: dict[str, float] = {}
    for round in range(options.rounds):
        cases = unlimited(Ledger()), unlimited(Ledger(kept=True)), limited()
        for name, case in zip(BOUNDS, cases, strict=True):
            value = cpu(case)
            best[name] = min(value, best.get(name, value))
            report.add(Result(name, value, "µs"), round)
        with TemporaryDirectory() as folder:
            report.add(Result(f"{ROWS} rows, written by the thread", flush(folder), "ms"), round)
    print(report.table())
    broken = [
        f"{name}: {best[name]:.2f} µs, above {bound} µs"
        for name, bound in BOUNDS.items()
        if best[name] > bound
    ]
    print("\n".join(broken) or "all within their bounds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
