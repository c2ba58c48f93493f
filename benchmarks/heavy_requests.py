"""What a heavy request, or a heavy answer, costs the other streams: ``python -m benchmarks.heavy_requests``.

While a client reads a stream of 100 chunks a second, another one sends a large, deep or odd body; then
a provider gives large, deep or odd answers. For each: the status, how long it took, the longest time by
which a chunk of the stream came late, and how far the process grew; the medians of some rounds. At last
20 such requests come at once. Exits with 1 where a request went unanswered, the stream was held up for
longer than it may be, or memory was not given back.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from .heavy_bodies import ANSWERS, BODIES, MIB
from .machine import HOST
from .report import table
from .stage import Gateway, RawUpstream, gateway, note_gaps, on_the_other_core, paced, post, read_all
from .upstream import STREAM_START, STREAM_TOKEN, whole

INTERVAL = 0.01
AT_ONCE = 20
CALM = 0.3
"""Seconds of the stream alone, before and after."""
COPIES = 3.5
"""Times its own size that a body may take while it is in work, and what Python needs besides."""
BESIDES = 96 * MIB
PATHS = {"openai": "/openai/v1/chat/completions", "claude": "/v1/messages"}
CONFIG = f"""\
[gateway]
listen = "tcp:{{port}}:interface={HOST}"
drain = 0.5
[limits]
body_grace = 600
[providers.mock]
kind = "openai"
base_url = "http://{HOST}:%d/v1"
accounts = [{{ name = "a", api_key = "benchmark" }}]
[[routes]]
model = "*"
targets = ["mock"]
"""


@dataclass
class Seen:
    """What came of one kind of request, round by round. Seconds and MiB."""

    status: str = ""
    size: float = 0.0
    seconds: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    grown: list[float] = field(default_factory=list)

    def row(self, name: str) -> list[str]:
        numbers = (
            f"{self.size:.1f}",
            f"{statistics.median(self.seconds):.2f}",
            f"{statistics.median(self.late) * 1000:.0f}",
            f"{min(self.late) * 1000:.0f}..{max(self.late) * 1000:.0f}",
            f"{statistics.median(self.grown):.0f}",
        )
        return [name, self.status, *numbers]


class Provider:
    """Answers models ``stream`` with a paced stream until ``over``, all others with ``answer``."""

    def __init__(self) -> None:
        self.answer = whole(1)
        self.over = Event()
        self.upstream = RawUpstream(self._answers)

    def _answers(self, model: str) -> Iterable[bytes]:
        return self._stream() if model == "stream" else [self.answer]

    def _stream(self) -> Iterator[bytes]:
        yield STREAM_START
        yield from paced(iter(lambda: b"" if self.over.is_set() else STREAM_TOKEN, b""), INTERVAL)


@contextmanager
def streaming(running: Gateway, provider: Provider) -> Iterator[list[float]]:
    """A client that reads a paced stream meanwhile: the seconds between its chunks."""
    gaps: list[float] = []
    provider.over.clear()
    body = {"model": "stream", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    client = post(running.port, PATHS["openai"], body)
    reader = Thread(target=note_gaps, args=(client, gaps, provider.over.is_set))
    reader.start()
    try:
        time.sleep(CALM)  # its beginning is not to count
        gaps.clear()
        yield gaps
    finally:
        time.sleep(CALM)  # what comes late comes after the answer
        provider.over.set()
        reader.join()


def measure(running: Gateway, provider: Provider, path: str, body: bytes, seen: Seen) -> None:
    """One request beside the stream."""
    running.forget_peak()
    before = running.memory()
    with streaming(running, provider) as gaps:
        begun = time.monotonic()
        first, _ = ask(running.port, path, body)
        seen.seconds.append(time.monotonic() - begun)
    seen.status = first[9:12].decode() or "none"
    seen.late.append(max(max(gaps, default=PATIENCE) - INTERVAL, 0.0))
    seen.grown.append((running.peak() - before) / 1024)


PATIENCE = 60.0


def ask(port: int, path: str, body: bytes) -> tuple[bytes, bytes]:
    try:
        client = post(port, path, body)
        client.settimeout(PATIENCE)
        return read_all(client)
    except OSError:
        return b"", b""


def requests(running: Gateway, provider: Provider, options: argparse.Namespace) -> Iterator[tuple[str, Seen]]:
    provider.answer = whole(1)
    size = int(options.size * MIB)
    for name, make in chosen(BODIES, options.only):
        body = make(size)
        seen = Seen(size=len(body) / MIB)
        path = PATHS["claude" if name.startswith("claude") else "openai"]
        for _ in range(options.rounds):
            measure(running, provider, path, body, seen)
        yield name, seen


def answers(running: Gateway, provider: Provider, options: argparse.Namespace) -> Iterator[tuple[str, Seen]]:
    asked = b'{"model":"heavy","max_tokens":9,"messages":[{"role":"user","content":"x"}]}'
    for name, make in chosen(ANSWERS, options.only):
        answer = make(int(options.answer * MIB))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
            answer
        )
        provider.answer = head + answer
        for client, path in PATHS.items():
            seen = Seen(size=len(answer) / MIB)
            for _ in range(options.rounds):
                measure(running, provider, path, asked, seen)
            yield f"answer to {client}: {name}", seen


def chosen(
    family: Mapping[str, Callable[[int], bytes]], only: str
) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    return ((name, make) for name, make in family.items() if only in name)


def crowd(running: Gateway, provider: Provider, size: int) -> tuple[Seen, float, float]:
    """Many large requests at once: what they met, the growth at most and what was left of it, in bytes."""
    provider.answer = whole(1)
    body = BODIES["messages of 1 KiB"](size)
    seen = Seen(size=len(body) / MIB)
    ask(running.port, PATHS["openai"], body)
    running.forget_peak()
    before = running.memory()
    found: list[bytes] = []
    with streaming(running, provider) as gaps:
        begun = time.monotonic()
        clients = [
            Thread(target=lambda: found.append(ask(running.port, PATHS["openai"], body)[0][9:12]))
            for _ in range(AT_ONCE)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        seen.seconds.append(time.monotonic() - begun)
    seen.late.append(max(gaps, default=PATIENCE) - INTERVAL)
    seen.grown.append((running.peak() - before) / 1024)
    seen.status = ",".join(sorted({status.decode() or "none" for status in found}))
    time.sleep(3.0)  # in which the memory is to be given back
    return seen, (running.peak() - before) * 1024, (running.memory() - before) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heavy_requests", description=__doc__)
    parser.add_argument("--size", type=float, default=31.0, help="MiB of each request")
    parser.add_argument("--answer", type=float, default=60.0, help="MiB of each answer")
    parser.add_argument("--most", type=float, default=250.0, help="ms by which a chunk may come late")
    parser.add_argument("--rounds", type=int, default=3, help="of each request")
    parser.add_argument("--only", default="", help="requests and answers with this in their names")
    parser.add_argument("--parts", default="requests,answers,crowd", help="with commas between them")
    options = parser.parse_args()
    on_the_other_core()
    provider = Provider()
    rows = [["what", "status", "MiB", "seconds", "late, ms", "range", "grown, MiB"]]
    broken = []
    with gateway(CONFIG % provider.upstream.port) as running:
        quiet = Seen(status="-", seconds=[1.0], grown=[0.0])
        with streaming(running, provider) as gaps:
            time.sleep(3.0)  # of the stream alone, to compare with
        quiet.late.append(max(gaps) - INTERVAL)
        rows.append(quiet.row("the stream alone"))
        for part, family in (("requests", requests), ("answers", answers)):
            for name, seen in family(running, provider, options) if part in options.parts else ():
                rows.append(seen.row(name))
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
                if statistics.median(seen.late) * 1000 > options.most:
                    broken.append(f"{name}: the stream was held up")
                if seen.status not in ("200", "400", "413", "502"):
                    broken.append(f"{name}: the answer was {seen.status}")
        if "crowd" in options.parts and not options.only:
            size = int(options.size * MIB)
            seen, most, left = crowd(running, provider, size)
            rows.append(seen.row(f"{AT_ONCE} at once"))
            each = most / AT_ONCE / size
            print(f"{AT_ONCE} at once: {each:.1f} times a body each, {left / MIB:.0f} MiB kept after")
            if most > COPIES * AT_ONCE * size + BESIDES:
                broken.append("the requests at once took too much memory")
            if left > BESIDES + 2 * size:
                broken.append("memory was not given back")
    provider.upstream.close()
    print(table(rows))
    for line in broken:
        print(line)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
