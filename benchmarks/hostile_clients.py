"""What slow and leaving clients can do: ``python -m benchmarks.hostile_clients [--count 200]``.

One gateway's process. Attack by attack, ``count`` clients at a time do not do what they should, while
an honest one goes on asking. The first table says how many of them were cut off, and when, beside the
deadline that they ran into; and how long the honest requests took. Deadlines are set short, so that
it does not take long. The second table says how many milliseconds after a client had left the
provider saw its own connection end. Exits with status 1 where a client was not cut off, or more than
a second late (or 10, where the kernel's buffers have to fill first), or an honest request failed, or half
of them took a quarter of a second; or where a departure was not noticed at once (50 ms at the median, 2 s
at most).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import statistics
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from .machine import HOST, allow_files
from .report import number, table
from .stage import Gateway, free_port, gateway, on_the_other_core
from .upstream import STREAM_START, TOKEN, Upstream

DEADLINE = 3.0
GRACE = 1.0
"""Seconds after a deadline by which a client is to be cut off."""
TCP_ESTABLISHED = 1
FILLING = 3 * DEADLINE
"""Seconds that it may take until the kernel takes no more for a client that does not read."""
HONEST = 0.25
"""Seconds in which honest requests are to be answered, at the median."""
DEPARTURES = 30
NOTICED, NOTICED_AT_LAST = 0.050, 2.0
CONFIG = f"""\
[gateway]
listen = "tcp:{{port}}:interface={HOST}"
write_stall = {DEADLINE}
drain = 0
summary_interval = 0
[limits]
head_timeout = {DEADLINE}
body_grace = {DEADLINE}
keep_alive = {DEADLINE}
[providers.mock]
kind = "openai"
base_url = "http://{HOST}:UPSTREAM/v1"
accounts = [{{ name = "a", api_key = "benchmark" }}]
[[routes]]
model = "*"
targets = ["mock"]
"""
HOSTED = b"Host: localhost\r\nContent-Type: application/json\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
METRICS = HEALTH.replace(b"/health", b"/metrics")
_TEXT = json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": TOKEN.decode() * 10_000}}]})
FLOOD = b"%x\r\ndata: %b\n\n\r\n" % (len(_TEXT) + 8, _TEXT.encode())
"""A chunk of a stream, of 60 KB."""


def request(model: str, question: int = 0, *, stream: bool = True) -> bytes:
    messages = [{"role": "user", "content": f"Question {question}"}]
    body = json.dumps({"model": model, "stream": stream, "messages": messages}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HOSTED, len(body), body)


class Holding(Upstream):
    """The provider of baked bytes; asked for the model ``hold`` it says nothing at all, and for
    ``flood`` as much as is taken."""

    _paused = False

    def _answer(self, request: bytes) -> None:
        if b'"hold"' not in request and b'"flood"' not in request:
            super()._answer(request)
            return
        self._question = int(request.rpartition(b"Question ")[2].split(b'"')[0])
        self._left = 1  # so that its end counts as a departure
        if b'"flood"' in request:
            self._transport.write(STREAM_START)
            self._flood()

    def _flood(self) -> None:
        if not (self._paused or self._transport.is_closing()):
            self._transport.write(FLOOD)
            asyncio.get_running_loop().call_soon(self._flood)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flood()


@dataclass(frozen=True)
class Attack:
    """``begin`` is sent at once, ``drip`` again and again, ``every`` seconds. ``reads``: whether
    the client reads what comes back: one that does not is cut off some time after the kernel has taken
    all that it takes. ``due``: after how many seconds that is. ``share``: of all clients, how many
    do it."""

    name: str
    begin: bytes
    due: float
    drip: bytes = b""
    every: float = 0.25
    reads: bool = True
    share: float = 1.0

    @property
    def latest(self) -> float:
        return self.due + GRACE + (0 if self.reads else FILLING)


SLOW_BODY = b"POST /v1/messages HTTP/1.1\r\n" + HOSTED + b"Content-Length: 1000000\r\n\r\n"
ATTACKS = (
    Attack("connect, and nothing more", b"", DEADLINE),
    Attack("head, a byte at a time", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", DEADLINE, b"x"),
    Attack("head, a line at a time", b"GET /health HTTP/1.1\r\nHost: localhost\r\n", DEADLINE, b"X: x\r\n"),
    Attack("body, 400 bytes per second", SLOW_BODY, DEADLINE + 2, b" " * 100),
    Attack("body that stops", SLOW_BODY + b"{" * 1000, DEADLINE + 1),
    Attack("stream that is not read", request("flood"), DEADLINE, reads=False),
    Attack("connection kept, and nothing more", HEALTH, DEADLINE),
    Attack("empty lines for ever", b"\r\n", 0.25, b"\r\n"),
    Attack(
        "requests for ever, unread", METRICS * 20, 2 * DEADLINE, METRICS * 20, 0.05, reads=False, share=0.1
    ),
)


@dataclass
class Found:
    """How long each client was there, and what honest requests took meanwhile; in seconds."""

    cut: list[float] = field(default_factory=list)
    honest: list[float] = field(default_factory=list)
    failed: int = 0


async def connected(port: int, *, buffer: int = 0) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await asyncio.get_running_loop().sock_connect(client, (HOST, port))
    return client


async def attack_once(port: int, attack: Attack, found: Found, patience: float) -> None:
    client = await connected(port, buffer=0 if attack.reads else 4096)
    begun = time.monotonic()
    dripping = asyncio.ensure_future(_drip(client, attack))
    try:
        async with asyncio.timeout(patience):
            await (_read_on(client) if attack.reads else _gone(client))
        found.cut.append(time.monotonic() - begun)
    except TimeoutError:
        pass  # it was not cut off, which is what is counted
    finally:
        dripping.cancel()
        client.close()


async def _drip(client: socket.socket, attack: Attack) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        await loop.sock_sendall(client, attack.begin)
        while attack.drip:
            await asyncio.sleep(attack.every)
            await loop.sock_sendall(client, attack.drip)


async def _read_on(client: socket.socket) -> None:
    """Until the gateway ends the connection."""
    with suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(client, 65536):
            pass


async def _gone(client: socket.socket) -> None:
    """Until the gateway resets the connection, of which nothing is read: TCP_INFO tells its state."""
    while client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_ESTABLISHED:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def honest(port: int, found: Found, over: asyncio.Event) -> None:
    """Ask for short answers, one after the other, each over a connection of its own."""
    loop = asyncio.get_running_loop()
    while not over.is_set():
        begun = time.monotonic()
        try:
            client = await connected(port)
            await loop.sock_sendall(
                client, request("mock-3-0").replace(HOSTED, HOSTED + b"Connection: close\r\n")
            )
            told = b""
            while data := await loop.sock_recv(client, 65536):
                told += data
            client.close()
        except OSError:
            told = b""
        found.honest.append(time.monotonic() - begun)
        if not (told.startswith(b"HTTP/1.1 200 ") and told.endswith(b"0\r\n\r\n")):
            found.failed += 1
        await asyncio.sleep(0.02)


async def attacked(port: int, attack: Attack, count: int) -> Found:
    found = Found()
    over = asyncio.Event()
    asking = asyncio.ensure_future(honest(port, found, over))
    patience = attack.latest + DEADLINE
    await asyncio.gather(*(attack_once(port, attack, found, patience) for _ in range(count)))
    over.set()
    await asking
    return found


# -------------------------------------------------------------------- departures


def _close(client: socket.socket) -> None:
    client.close()


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Departure:
    """``read`` is what comes before it: b"" where nothing does."""

    name: str
    model: str
    stream: bool = True
    read: bytes = b""
    behind: bytes = b""
    leave: Callable[[socket.socket], None] = _close


PIPELINED = HEALTH * (16 * 1024 // len(HEALTH))
DEPARTED = (
    Departure("stream, before its head", "hold"),
    Departure("whole answer, before its head", "hold", stream=False),
    Departure("stream, in the middle", "mock-100000-0.05", read=b"lorem"),
    Departure("stream, flat out", "flood", read=b"lorem"),
    Departure("stream, by reset", "mock-100000-0.05", read=b"lorem", leave=_reset),
    Departure("stream, by half", "mock-100000-0.05", read=b"lorem", leave=_half_close),
    Departure("stream, 16 KiB behind it", "mock-100000-0.05", read=b"lorem", behind=PIPELINED),
    Departure("whole answer, 16 KiB behind it", "hold", stream=False, behind=PIPELINED),
)


async def departures(port: int, departure: Departure, hangups: list[tuple[int, float]]) -> list[float]:
    """The seconds from each departure to the end of the provider's connection."""
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    for question in range(DEPARTURES):
        hangups.clear()
        client = await connected(port)
        await loop.sock_sendall(client, request(departure.model, question, stream=departure.stream))
        told = b""
        while departure.read not in told:
            told += await loop.sock_recv(client, 65536)
        if departure.behind:
            await loop.sock_sendall(client, departure.behind)
        await asyncio.sleep(0.05)  # until the provider has been asked
        left = time.monotonic()
        departure.leave(client)
        while not hangups and time.monotonic() - left < 2 * NOTICED_AT_LAST:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        waits.append(hangups[0][1] - left if hangups else float("inf"))
        client.close()
    return waits


# ------------------------------------------------------------------------ report


@asynccontextmanager
async def provider(port: int, hangups: list[tuple[int, float]]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Holding(hangups), HOST, port, backlog=1024)
    async with server:
        yield


async def run(ran: Gateway, port: int, count: int) -> bool:
    """Whether every promise was kept."""
    hangups: list[tuple[int, float]] = []
    async with provider(port, hangups):
        kept = await _attack_all(ran, count)
        print()
        return await _leave_all(ran, hangups) and kept


async def _attack_all(ran: Gateway, count: int) -> bool:
    rows = [
        [
            "attack",
            "cut off",
            "due (s)",
            "median",
            "last",
            "honest requests",
            "p50 (ms)",
            "p99 (ms)",
            "failed",
        ]
    ]
    kept = True
    for attack in ATTACKS:
        print(attack.name, file=sys.stderr)
        clients = max(int(count * attack.share), 1)
        found = await attacked(ran.port, attack, clients)
        cut, asked = sorted(found.cut), sorted(found.honest)
        p99 = asked[int(len(asked) * 0.99)]
        rows.append(
            [
                attack.name,
                f"{len(cut)} of {clients}",
                number(attack.due),
                number(statistics.median(cut)) if cut else "",
                number(cut[-1]) if cut else "",
                str(len(asked)),
                number(statistics.median(asked) * 1000),
                number(p99 * 1000),
                str(found.failed),
            ]
        )
        on_time = len(cut) == clients and cut[-1] <= attack.latest
        kept = kept and on_time and not found.failed and statistics.median(asked) <= HONEST
    print(table(rows))
    return kept


async def _leave_all(ran: Gateway, hangups: list[tuple[int, float]]) -> bool:
    rows = [["a client leaves", "times", "noticed after: p50 (ms)", "max (ms)"]]
    kept = True
    for departure in DEPARTED:
        print(departure.name, file=sys.stderr)
        waits = sorted(await departures(ran.port, departure, hangups))
        median = statistics.median(waits)
        rows.append([departure.name, str(len(waits)), number(median * 1000), number(waits[-1] * 1000)])
        kept = kept and median <= NOTICED and waits[-1] <= NOTICED_AT_LAST
    print(table(rows))
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile_clients", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="clients at a time")
    options = parser.parse_args()
    # So that the gateway is stopped, too, when this is.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    allow_files(4 * options.count + 200)
    on_the_other_core()
    port = free_port()
    with gateway(CONFIG.replace("UPSTREAM", str(port))) as ran:
        kept = asyncio.run(run(ran, port, options.count))
    print("\nEvery promise was kept." if kept else "\nA promise was broken.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
