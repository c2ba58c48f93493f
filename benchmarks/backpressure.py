"""What clients cost that do not read: ``python -m benchmarks.backpressure [--streams 500]``.

For each way through the gateway, a provider pushes 50 MB into each of 500 streams of which no client
reads a byte after the head. The table says what the process grew by, how much of that stayed when
they were gone, how much of the 50 MB the provider could get rid of (the kernel's buffers take some
of it), and how long the streams lived once nothing moved: their limit is 10 seconds (``write_stall``).
Then: what 50 clients that read slowly do to one that reads at once. Exits with status 1 when the
process grew by 100 MB, a provider was not paused, a stalled stream outlived its limit, or the fast
client was slowed.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from .hostile_upstreams import HELLO, OPENAI, PACE, RESPONSES, RESPONSES_START, SSE, again, chunk, event, then
from .machine import HOST, cores, running
from .report import table
from .stage import (
    PATIENCE,
    ROOT,
    Connection,
    Gateway,
    RawUpstream,
    allow_many_files,
    gateway,
    note_gaps,
    on_the_other_core,
    paced,
    post,
)

MOST_MEMORY = 100.0
"""MB that the process may grow by."""
PUSHED = 50_000_000
WRITE_STALL = 10.0
LATE = 3.0
"""Seconds that a stream may end after its limit: some hundred end at the same moment."""
FILLING = 15.0
"""Seconds in which the kernel's buffers fill, at full speed; only then are slow readers slow."""
SLOWED = 50.0
"""Milliseconds by which slow readers may raise the 99th percentile of a fast one's gaps."""

CONFIG = f"""\
[gateway]
listen = "tcp:{{port}}:interface={HOST}"
drain = 0
write_stall = {WRITE_STALL}
[limits]
max_lag = 0
[providers.openai]
kind = "openai"
responses = false
base_url = "http://{HOST}:PORT/v1"
accounts = [{{ name = "a", api_key = "benchmark" }}]
[providers.responses]
kind = "openai"
responses = true
base_url = "http://{HOST}:PORT/v1"
accounts = [{{ name = "a", api_key = "benchmark" }}]
[[routes]]
model = "responses-*"
targets = ["responses"]
[[routes]]
model = "*"
targets = ["openai"]
"""

DELTA = event(
    {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "hello, hello",
        "sequence_number": 5,
    },
    "response.output_text.delta",
)
ITEM = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
ADDED = event(
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM, "sequence_number": 2},
    "response.output_item.added",
)
WAYS = {
    "openai, passed on": (OPENAI, "openai-flood"),
    "claude <- openai": ("/v1/messages", "openai-flood"),
    "responses <- openai": (RESPONSES, "openai-flood"),
    "responses, passed on": (RESPONSES, "responses-flood"),
}


def answer(model: str) -> Iterable[bytes]:
    if model == "steady":
        return then(SSE + HELLO, paced(itertools.repeat(HELLO), PACE))
    first, more = (
        (RESPONSES_START + ADDED, DELTA)
        if model == "responses-flood"
        else (HELLO, chunk({"content": "hello"}))
    )
    return then(SSE + first, _first_bytes(again(more), PUSHED))


def _first_bytes(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    while size > 0:
        piece = next(pieces)
        size -= len(piece)
        yield piece


def question(path: str, model: str) -> dict[str, object]:
    if path == RESPONSES:
        return {"model": model, "stream": True, "input": "on and on"}
    messages = [{"role": "user", "content": "on and on"}]
    return {"model": model, "stream": True, "max_tokens": 100, "messages": messages}


def stalled(name: str, streams: int) -> tuple[list[str], bool]:
    """``streams`` clients that do not read, twice: a row of the table, and whether the promise was kept."""
    path, model = WAYS[name]
    upstream = RawUpstream(answer)
    with gateway(CONFIG.replace("PORT", str(upstream.port))) as ours:
        warm_up(ours)
        before = ours.memory()
        ours.forget_peak()
        first = _stall(ours, upstream, path, model, streams)
        grown = [ours.memory() - before]
        upstream.connections.clear()
        second = _stall(ours, upstream, path, model, streams)
        grown.append(ours.memory() - before)
        peak = (ours.peak() - before) * 1024 / 1e6
    upstream.close()
    paused = max(first.taken, second.taken) < PUSHED
    late = max(first.ended, second.ended)
    kept = (
        peak < MOST_MEMORY
        and paused
        and late < WRITE_STALL + LATE
        and first.streams == second.streams == streams
    )
    stayed = [f"{kib * 1024 / 1e6:.0f}" for kib in grown]
    row = [name, str(first.streams), f"{peak:.0f}", f"{peak / streams * 1000:.0f}", *stayed]
    return [*row, f"{max(first.taken, second.taken) / 1e6:.1f}", f"{late:.1f}"], kept


@dataclass(frozen=True)
class Stalled:
    """What became of a wave of streams: how many were relayed, the bytes that a provider got rid of at
    most, and the seconds from when nothing moved any more to the end of the last."""

    streams: int
    taken: int
    ended: float


def _stall(ours: Gateway, upstream: RawUpstream, path: str, model: str, streams: int) -> Stalled:
    clients = [post(ours.port, path, question(path, model), buffer=4096) for _ in range(streams)]
    patient = time.monotonic() + PATIENCE
    flood: list[Connection] = []
    while time.monotonic() < patient and (len(flood) < streams or _moves(flood)):
        flood = [one for one in upstream.connections if one.model == model]
    moved, before = time.monotonic(), 0
    while not all(one.closed for one in flood) and time.monotonic() < moved + WRITE_STALL + 2 * LATE:
        if not any(one.closed for one in flood) and (taken := sum(one.sent for one in flood)) != before:
            moved, before = time.monotonic(), taken  # the kernels find room even now
        time.sleep(0.05)  # by so much the end may be told late
    ended = time.monotonic() - moved
    for client in clients:
        client.close()
    time.sleep(1)  # the log lines of so many ends
    return Stalled(len(flood), max(one.sent for one in flood), ended)


def warm_up(ours: Gateway) -> None:
    """One answer, so that what is imported or made once is there."""
    client = post(ours.port, OPENAI, question(OPENAI, "steady"))
    for _ in range(20):
        client.recv(65536)
    client.close()


def _moves(connections: list[Connection]) -> bool:
    """Whether any of them gets rid of more within a second."""
    before = sum(one.sent for one in connections)
    time.sleep(1)  # the second that is asked about
    return sum(one.sent for one in connections) != before


def slow_readers(count: int, seconds: float) -> tuple[list[list[str]], bool]:
    """The gaps of a stream at an even pace, alone and beside ``count`` slow readers."""
    upstream = RawUpstream(answer)
    rows, p99 = [], []
    with gateway(CONFIG.replace("PORT", str(upstream.port))) as ours:
        warm_up(ours)
        for readers in (0, count):
            command = [
                sys.executable,
                "-m",
                "benchmarks.backpressure",
                "--read-slowly",
                f"{ours.port},{readers}",
            ]
            with running(command, cores()[1], cwd=ROOT, environ={}):
                time.sleep(1)  # until all of them are connected and full
                found: list[float] = []
                until = time.monotonic() + seconds
                fast = post(ours.port, OPENAI, question(OPENAI, "steady"))
                note_gaps(fast, found, partial(_is_over, until))
            cuts = statistics.quantiles(found, n=100)
            p99.append(cuts[98] * 1000)
            median, longest = f"{cuts[49] * 1000:.1f}", f"{max(found) * 1000:.1f}"
            rows.append([str(readers), str(len(found)), median, f"{p99[-1]:.1f}", longest])
    upstream.close()
    return rows, p99[1] < p99[0] + SLOWED


def _is_over(until: float) -> bool:
    return time.monotonic() > until


def read_slowly(port: int, count: int) -> None:
    """``count`` clients that read some 20 KB a second each, for ever."""
    clients = [post(port, OPENAI, question(OPENAI, "openai-flood"), buffer=4096) for _ in range(count)]
    while True:
        time.sleep(0.1)  # their pace: this is what makes them slow
        for client in clients:
            client.recv(2048)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backpressure", description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--only", default="", help="ways, with semicolons between them")
    parser.add_argument("--read-slowly", default="", help=argparse.SUPPRESS)  # in a process of its own
    options = parser.parse_args()
    if options.read_slowly:
        port, count = options.read_slowly.split(",")
        read_slowly(int(port), int(count))
    on_the_other_core()
    allow_many_files(4 * options.streams + 100)
    rows = [
        [
            "way",
            "streams",
            "grew by MB",
            "KB each",
            "at most MB",
            "stayed MB",
            "taken of 50 MB",
            "ended after s",
        ]
    ]
    kept = []
    for name in options.only.split(";") if options.only else WAYS:
        row, good = stalled(name, options.streams)
        print(" | ".join(row), file=sys.stderr, flush=True)
        rows.append(row)
        kept.append(good)
    print(table(rows) + "\n")
    slow, good = slow_readers(50, 10)
    print(table([["slow readers beside", "chunks", "median gap ms", "p99 ms", "longest ms"], *slow]))
    return 0 if all([*kept, good]) else 1


if __name__ == "__main__":
    sys.exit(main())
