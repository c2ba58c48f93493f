"""Clients that read as fast as they can: ``python -m benchmarks.load JSON``.

A process of its own. Its argument is a `Load`, its standard output a `Measured`, both as JSON.
It reads the gateway's CPU itself, at the very moments between which it counts, and checks every
answer: its status, and that all its tokens arrived.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field

from .machine import HOST, Reading, pss_kib, reading
from .upstream import TOKEN

BATCH = 50
SETTLE = 0.5
WATCHED = 1.0
"""Seconds after the last hang-up: one not passed on by then counts as not noticed."""
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_END_OF_WRITE = b"\n\n\r\n"  # a frame's end, then an HTTP chunk's: the gateway makes one chunk per write


@dataclass(frozen=True)
class Load:
    """What to do: ``connections`` clients, each of which asks again as soon as it is answered.
    Measuring begins when all of them have been answered, or their streams flow. ``hang_up``:
    then they leave instead, one after the other. ``gateway`` and ``upstream`` are process ids."""

    path: str
    model: str
    tokens: int
    connections: int
    seconds: float
    stream: bool = True
    hang_up: bool = False
    port: int = 0
    gateway: int = 0
    upstream: int = 0


@dataclass
class Measured:
    """What came of it, from the moment when measuring began. ``chunks`` are tokens that arrived;
    ``writes`` are the HTTP chunks in which the gateway sent the answers. CPU is in seconds,
    ``others`` and ``steal`` are in cores."""

    answers: int = 0
    chunks: int = 0
    writes: int = 0
    errors: int = 0
    sample: str = ""
    seconds: float = 0.0
    gateway_cpu: float = 0.0
    harness_cpu: float = 0.0
    others: float = 0.0
    steal: float = 0.0
    pss_before: int = 0
    pss_after: int = 0
    hangups: list[tuple[int, float]] = field(default_factory=list)

    def begin(self) -> None:
        """Forget what was counted so far, but for errors."""
        self.answers = self.chunks = self.writes = 0

    def end(self, before: Reading, after: Reading) -> None:
        self.seconds = after.at - before.at
        self.gateway_cpu = after.gateway - before.gateway
        self.harness_cpu = after.harness - before.harness
        machine = after.machine - before.machine
        self.others = max(machine - self.gateway_cpu - self.harness_cpu, 0) / self.seconds
        self.steal = (after.steal - before.steal) / self.seconds


class Client(asyncio.Protocol):
    """One connection. ``began`` fires with the first token of its first answer."""

    transport: asyncio.Transport

    def __init__(self, load: Load, number: int, measured: Measured) -> None:
        self.number = number
        self.began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.leaving = False
        self._load = load
        self._measured = measured
        self._request = request(load, number)
        self._answer = bytearray()
        self._tokens = 0
        self._length: int | None = None  # of the answer, once its head said so

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        seen = max(len(answer) - len(TOKEN) + 1, 0)  # a token may be cut in two
        answer += data
        if tokens := answer.count(TOKEN, seen):
            self._tokens += tokens
            self._measured.chunks += tokens
            if not self.began.done():
                self.began.set_result(None)
        if self._is_whole():
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.leaving:
            self._fail(f"the connection was closed after: {bytes(self._answer[-300:])!r}")

    def leave(self) -> None:
        self.leaving = True
        self.transport.close()

    def _is_whole(self) -> bool:
        answer = self._answer
        if self._length is None and (head := answer.find(b"\r\n\r\n")) >= 0:
            at = bytes(answer[:head]).lower().find(b"\r\ncontent-length:")
            self._length = head + 4 + int(answer[at + 17 : head].split(b"\r\n")[0]) if at >= 0 else 0
        if self._length:
            return len(answer) >= self._length
        return answer.endswith(_LAST_CHUNK)

    def _finish(self) -> None:
        if not self._answer.startswith(b"HTTP/1.1 200 ") or self._tokens != self._load.tokens:
            self._fail(f"{self._tokens} tokens in: {bytes(self._answer[:300])!r}")
            return
        self._measured.answers += 1
        self._measured.writes += self._answer.count(_END_OF_WRITE)
        self._answer = bytearray()
        self._tokens = 0
        self._length = None
        if not self.leaving:
            self.transport.write(self._request)

    def _fail(self, sample: str) -> None:
        """Count the error, and ask no more."""
        self._measured.errors += 1
        self._measured.sample = self._measured.sample or sample
        if not self.began.done():
            self.began.set_result(None)
        self.leave()


def request(load: Load, number: int) -> bytes:
    """A request that is valid in OpenAI's dialect and in Claude's."""
    question = f"Question {number}: what do typesetters say?"
    content = {"messages": [{"role": "user", "content": question}], "max_tokens": 4096}
    body = json.dumps({"model": load.model, "stream": load.stream, **content}).encode()
    head = (
        f"POST {load.path} HTTP/1.1\r\nHost: {HOST}:{load.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(load: Load) -> Measured:
    measured = Measured(pss_before=pss_kib(load.gateway))
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for first in range(0, load.connections, BATCH):
        batch = [
            Client(load, number, measured) for number in range(first, min(first + BATCH, load.connections))
        ]
        for client in batch:
            await loop.create_connection(lambda client=client: client, HOST, load.port)  # type: ignore[misc]
        await asyncio.gather(*(client.began for client in batch))
        clients += batch
    await asyncio.sleep(SETTLE)
    if load.hang_up:
        await _hang_up(clients, measured)
        return measured
    pids = (load.gateway, load.upstream, os.getpid())
    measured.begin()
    before = reading(*pids)
    await asyncio.sleep(load.seconds)
    measured.end(before, reading(*pids))
    measured.pss_after = pss_kib(load.gateway)
    for client in clients:
        client.leave()
    return measured


async def _hang_up(clients: list[Client], measured: Measured) -> None:
    for client in clients:
        measured.hangups.append((client.number, time.monotonic()))
        client.leave()
        await asyncio.sleep(0.02)
    await asyncio.sleep(WATCHED)


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Load(**json.loads(sys.argv[1])))))))
