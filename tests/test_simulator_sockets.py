"""The simulated providers on real sockets: what only a reactor and TCP can show.

That the service listens before the reactor runs and lets go of everything, that a
departure is noticed, and that a cut body is not lost with its connection.
"""

# mypy: disable-error-code="no-untyped-call, import-untyped, untyped-decorator"

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest_twisted
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from aigateway.simulator import Simulators

reactor: Any = global_reactor


class Raw(Protocol):
    """A client that sees every byte. ``closed`` fires when the connection is gone."""

    def __init__(self) -> None:
        self.data = b""
        self.closed: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.closed.callback(None)


async def post(base_url: str, body: dict[str, object]) -> Raw:
    """A connection on which ``body`` has been asked, the answer still to come."""
    host, _, path = base_url.removeprefix("http://").partition("/")
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(host.partition(":")[2]))
    raw = Raw()
    await connectProtocol(endpoint, raw)
    assert raw.transport is not None
    data = msgspec.json.encode(body)
    head = (
        f"POST /{path}/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer key\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    raw.transport.write(head.encode() + data)
    return raw


def chat(text: str, model: str = "m") -> dict[str, object]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}


async def until(fact: Callable[[], bool]) -> None:
    """Look at each turn of the reactor whether ``fact`` has come true; give up in five seconds."""
    limit = reactor.seconds() + 5
    while not fact():
        assert reactor.seconds() < limit
        await deferLater(reactor, 0)


@asynccontextmanager
async def running(pace: float) -> AsyncIterator[Simulators]:
    simulators = Simulators(reactor, pace)
    simulators.startService()
    try:
        yield simulators
    finally:
        await simulators.stopService()


@pytest_twisted.ensureDeferred
async def test_listens_at_once_and_serves() -> None:
    """``listen`` gives the base URLs without a reactor turn; the answer is a whole stream."""
    simulators = Simulators(reactor, 0)
    urls = simulators.listen()
    assert list(urls) == ["openai", "glm", "antigravity", "anthropic", "gemini"]
    assert simulators.listen() == urls
    assert simulators.token_url == urls["antigravity"] + "/token"
    simulators.startService()
    raw = await post(urls["glm"], chat("count to 3"))
    await raw.closed
    assert raw.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.data.count(b'"content":", ') == 2
    assert raw.data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    await simulators.stopService()


@pytest_twisted.ensureDeferred
async def test_stopping_closes_listeners_and_drops_connections() -> None:
    """After ``stopService`` nothing listens, and open streams have been cut."""
    async with running(pace=60.0) as simulators:
        urls = dict(simulators.base_urls)
        raw = await post(urls["openai"], chat("hello"))
        await until(lambda: simulators.openai.open == 1)
    await raw.closed
    assert raw.data == b""
    assert (simulators.openai.open, simulators.openai.aborted) == (0, 1)
    try:
        await post(urls["openai"], chat("hello"))
    except Refused:
        return
    raise AssertionError("it still listens")


@pytest_twisted.ensureDeferred
async def test_departure_is_noticed() -> None:
    """A client that closes its connection in the middle of a stream ends it."""
    async with running(pace=0.01) as simulators:
        raw = await post(simulators.base_urls["openai"], chat("count to 1000"))
        await until(lambda: b'", 2"' in raw.data)
        assert raw.transport is not None
        raw.transport.loseConnection()
        await until(lambda: simulators.openai.aborted == 1)
        assert simulators.openai.open == 0


@pytest_twisted.ensureDeferred
async def test_cut_body_arrives_before_the_cut() -> None:
    """What was said before the fault is read, and the chunked body has no end."""
    async with running(pace=0) as simulators:
        for model in ("fault-cut", "fault-cut-mid-utf8"):
            raw = await post(simulators.base_urls["openai"], chat("hello", model))
            await raw.closed
            assert raw.data.count(b"data: ") == 4
            assert not raw.data.endswith(b"0\r\n\r\n")
