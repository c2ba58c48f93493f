"""Clients that come at a rate, however those before them fare: ``python -m benchmarks.arrivals JSON``.

A process of its own. Its argument is `Arrivals`, its standard output `Fared`, both as JSON. Real
clients do not wait for each other: offered more than it can do, a server has to choose, while
`benchmarks.load` asks only as fast as it is answered. Connections are kept and used again; who
finds none that is free opens one.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from .load import Load, request
from .machine import HOST, cpu_seconds
from .upstream import TOKEN

STEP = 0.002
"""Seconds between two looks at the clock: who is due comes then, together."""
HEALTH = b"GET /health HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST.encode()
HEALTH_EVERY = 0.05
PATIENCE = 5.0
"""Seconds after the last arrival for the rest of the answers."""


@dataclass(frozen=True)
class Arrivals:
    """``rate`` questions a second for ``seconds``, by chance (Poisson); what happened in the first
    ``settle`` of them is not counted."""

    path: str
    model: str
    tokens: int
    stream: bool
    rate: float
    seconds: float
    settle: float
    port: int
    gateway: int
    connections: int = 4000


@dataclass
class Fared:
    """How they fared. Times are in seconds: ``good`` from the question to the end of its answer,
    ``refused`` and ``health`` to the answer's head. ``late``: how late this process itself was at most;
    ``lost``: asked and never answered, or badly, ``sample`` being one; ``unasked``: for want of a
    connection; ``told_when``: those of the refused who were told when to come again."""

    asked: int = 0
    seconds: float = 0.0
    gateway_cpu: float = 0.0
    good: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    told_when: int = 0
    connected: int = 0
    unasked: int = 0
    late: float = 0.0
    lost: int = 0
    sample: str = ""


class Client(asyncio.Protocol):
    """One connection, one question at a time."""

    transport: asyncio.Transport

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._answer = bytearray()
        self._length = -1
        self._head = 0
        self._asked = 0.0
        self._seen = 0.0
        self._counts = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, question: bytes, counts: bool, since: float) -> None:
        self._asked, self._seen, self._counts = since, 0.0, counts
        self._answer.clear()
        self._head, self._length = 0, -1
        self.transport.write(question)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self._seen:
            self._seen = now
        answer = self._answer
        answer += data
        if not self._head:
            end = answer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = end + 4
            at = bytes(answer[:end]).lower().find(b"\r\ncontent-length:")
            if at >= 0:
                self._length = self._head + int(answer[at + 17 : end].split(b"\r\n")[0])
        whole = len(answer) >= self._length if self._length >= 0 else answer.endswith(b"\r\n0\r\n\r\n")
        if whole:
            asked, self._asked = self._asked, 0.0
            self._crowd.answered(
                self, bytes(answer), self._head, self._counts, self._seen - asked, now - asked
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.gone(self, bool(self._asked) and self._counts, bytes(self._answer))


class Crowd:
    """All who ask, but for the one who asks after the gateway's health."""

    def __init__(self, arrivals: Arrivals, fared: Fared) -> None:
        self.arrivals = arrivals
        self.fared = fared
        self.free: list[Client] = []
        self.all: set[Client] = set()
        self.connecting = 0
        self.open = 0  # questions that count
        self._statuses: Counter[str] = Counter()
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def come(self, question: bytes, counts: bool, since: float) -> None:
        """One more client."""
        if counts:
            self.fared.asked += 1
            self.open += 1
            self._over.clear()
        if self.free:
            self.free.pop().ask(question, counts, since)
        elif len(self.all) + self.connecting < self.arrivals.connections:
            self.connecting += 1
            task = asyncio.create_task(self._connect(question, counts, since))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif counts:
            self.fared.unasked += 1
            self._end()

    async def _connect(self, question: bytes, counts: bool, since: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, client = await loop.create_connection(lambda: Client(self), HOST, self.arrivals.port)
        except OSError as error:
            self._lose(counts, str(error).encode())
            return
        finally:
            self.connecting -= 1
        self.fared.connected += 1
        self.all.add(client)
        client.ask(question, counts, since)

    def answered(
        self, client: Client, answer: bytes, head: int, counts: bool, seen: float, ended: float
    ) -> None:
        if client in self.all and b"\r\nconnection: close" not in answer[:head].lower():
            self.free.append(client)
        if not counts:
            return
        status = answer[9:12].decode()
        self._statuses[status] += 1
        self.fared.statuses = dict(self._statuses)
        if status == "200" and answer.count(TOKEN) == self.arrivals.tokens:
            self.fared.good.append(ended)
        elif status in ("503", "529", "429"):
            self.fared.refused.append(seen)
            self.fared.told_when += b"\r\nretry-after:" in answer[:head].lower()
        else:
            self._lose(True, answer)
            return
        self._end()

    def gone(self, client: Client, counts: bool, answer: bytes) -> None:
        self.all.discard(client)
        if client in self.free:
            self.free.remove(client)
        if counts:
            self._lose(True, b"closed after: " + answer)

    def _lose(self, counts: bool, answer: bytes) -> None:
        if counts:
            self.fared.lost += 1
            self.fared.sample = self.fared.sample or answer[-300:].decode("latin-1")
            self._end()

    def _end(self) -> None:
        self.open -= 1
        if not self.open:
            self._over.set()

    async def over(self) -> None:
        """Wait for the last answers, but not for ever."""
        if self.open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), PATIENCE)


async def _ask_health(port: int, fared: Fared, began: float) -> None:
    """Ask after the gateway's health on a connection of its own, again and again."""
    reader, writer = await asyncio.open_connection(HOST, port)
    while True:
        asked = time.monotonic()
        writer.write(HEALTH)
        head = await reader.readuntil(b"\r\n\r\n")
        seen = time.monotonic()
        if asked >= began:
            fared.health.append(seen - asked if b" 200 " in head[:16] else PATIENCE)
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        await asyncio.sleep(max(asked + HEALTH_EVERY - time.monotonic(), 0))


async def run(arrivals: Arrivals) -> Fared:
    fared = Fared()
    crowd = Crowd(arrivals, fared)
    load = Load(arrivals.path, arrivals.model, arrivals.tokens, 1, 0.0, arrivals.stream, port=arrivals.port)
    question = request(load, 0)
    chance = random.Random(4)  # noqa: S311  # the same arrivals each time
    begun = time.monotonic()
    counted, end = begun + arrivals.settle, begun + arrivals.settle + arrivals.seconds
    health = asyncio.create_task(_ask_health(arrivals.port, fared, counted))
    due, cpu = begun, None
    while (now := time.monotonic()) < end:
        if cpu is None and now >= counted:
            cpu = cpu_seconds(arrivals.gateway)
            counted = now
        while due <= now:
            crowd.come(question, due >= counted, now)
            due += chance.expovariate(arrivals.rate)
        if now >= counted:
            fared.late = max(fared.late, time.monotonic() - now)
        await asyncio.sleep(STEP)
    fared.seconds = time.monotonic() - counted
    fared.gateway_cpu = cpu_seconds(arrivals.gateway) - (cpu or 0.0)
    await crowd.over()
    health.cancel()
    fared.lost += crowd.open
    return fared


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Arrivals(**json.loads(sys.argv[1])))))))
