"""A gateway in a process of its own that has no file descriptor left."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from .fakes import chat, request_bytes, whole_reply
from .gateway_process import Process, endpoint, serving

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit(2) is Linux's")
SPARE = 6
TOML = """
[gateway]
listen = "{listen}"
[providers.openai]
base_url = "http://127.0.0.1:{port}/v1"
accounts = [{{ api_key = "sk-test" }}]
models = ["gpt-4"]
"""


class Answering(BaseHTTPRequestHandler):
    """A provider that says "hello"."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = whole_reply("hello")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Process]:
    provider = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    provider.daemon_threads = True
    Thread(target=provider.serve_forever, daemon=True).start()

    def start(port: int) -> Process:
        toml = TOML.format(listen=endpoint(port), port=provider.server_port)
        (tmp_path / "aigateway.toml").write_text(toml)
        return Process("aigateway", cwd=tmp_path, port=port)

    process = serving(start)
    try:
        yield process
    finally:
        process.kill()
        provider.shutdown()
        provider.server_close()


@pytest.fixture
def connect(gateway: Process) -> Iterator[Callable[[], socket.socket]]:
    """Makes connections, which are closed when the test ends."""
    with ExitStack() as stack:

        def connect() -> socket.socket:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 5))
            client.settimeout(5)
            return client

        yield connect


def ask(client: socket.socket) -> tuple[int, bytes]:
    """The status and the head of a conversation's answer; 0 where there is none."""
    with suppress(OSError):
        client.sendall(request_bytes("POST", "/v1/messages", {"max_tokens": 9, **chat(stream=False)}))
        told = client.recv(65536)
        if told:
            return int(told.split(b" ")[1]), told
    return 0, b""


def test_it_lives_on(gateway: Process, connect: Callable[[], socket.socket]) -> None:
    """With no descriptor left, a connection more is closed at once and a request told to come again;
    the log says so in a few lines; and within a second of their release all is as before."""
    assert gateway.get("/health")[0] == 200
    pid = gateway._process.pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + SPARE, hard))
    before = len(gateway.log.splitlines())
    clients = [connect() for _ in range(60)]
    closed = [client for client in clients if not is_open(client)]
    assert len(closed) >= 60 - SPARE - 1
    (first, *others) = [client for client in clients if client not in closed]
    status, told = ask(first)
    assert status == 503, told
    assert b"retry-after: 1\r\n" in told.lower()
    for _ in range(40):
        assert not is_open(connect())
    said = gateway.log.splitlines()[before:]
    assert len(said) < 10, said
    assert not any("Traceback" in line or "Unhandled" in line for line in said), said
    for client in others:
        client.close()
    released = time.monotonic()
    while ask(first)[0] != 200:
        assert time.monotonic() - released < 1.0
    assert ask(connect())[0] == 200
    assert gateway._process.poll() is None


def is_open(client: socket.socket) -> bool:
    """Whether the gateway has kept the connection."""
    client.settimeout(0.2)
    try:
        return bool(client.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        client.settimeout(5)
