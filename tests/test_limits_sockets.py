"""The limits on real sockets and a real clock: a gateway's process before a provider that stops.

Functions for pytest, which trial passes over: they need a process, and a fixture.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from .fakes import chunk
from .gateway_process import Process, endpoint, serving

LIMIT = 0.5
LATE = 0.4
"""Seconds after the limit that a loaded machine may need; the promise is 0.1."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
SAID = {"headers": b"", "first_token": HEAD, "idle": HEAD + chunk("hi")}
CONFIG = """\
[gateway]
listen = "{listen}"
[timeouts]
headers = {limit}
first_token = {limit}
idle = {limit}
[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
accounts = [{{ name = "a", api_key = "test" }}]
models = {models}
"""


class Stopping:
    """A provider that says what `SAID` has for the model that it is asked for, and then nothing.
    ``closed`` are the moments at which its connections were closed."""

    def __init__(self) -> None:
        self.closed: list[float] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            request = b""
            while b"}" not in request:
                request += peer.recv(65536)
            model = next(name for name in SAID if f'"{name}"'.encode() in request)
            peer.sendall(SAID[model])
            while peer.recv(65536):
                pass
        self.closed.append(time.monotonic())


@pytest.fixture
def provider() -> Iterator[Stopping]:
    stopping = Stopping()
    yield stopping
    stopping.close()


@pytest.fixture
def gateway(tmp_path: Path, provider: Stopping) -> Iterator[Process]:
    def start(port: int) -> Process:
        models = json.dumps(list(SAID))
        config = CONFIG.format(listen=endpoint(port), limit=LIMIT, port=provider.port, models=models)
        (tmp_path / "aigateway.toml").write_text(config)
        return Process("aigateway", "--config", "aigateway.toml", cwd=tmp_path, port=port)

    process = serving(start)
    yield process
    process.kill()


def test_each_ends_in_time(gateway: Process, provider: Stopping) -> None:
    """The limit ends the wait when it is over and no sooner, is named, and the provider's connection
    is closed with it."""
    for limit in SAID:
        begun = time.monotonic()
        body = {"model": limit, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        response = gateway.post("/v1/chat/completions", body)
        said = b""
        with suppress(Exception):  # an answer that was cut has no end
            while data := response.read1(65536):
                said += data
        ended = time.monotonic()
        assert f"(limit {limit})".encode() in said
        assert response.status == (200 if limit == "idle" else 504)
        assert LIMIT - 0.01 <= ended - begun <= LIMIT + LATE
        while len(provider.closed) < 1:
            assert time.monotonic() < ended + LATE
        assert provider.closed.pop() <= ended + LATE
