"""A gateway's process on a port of its own, and providers and clients of bare sockets around it.

For the benchmarks that measure what one side's misbehaviour costs: a `RawUpstream` sends whatever
bytes it is told to, as fast as they are taken, and a client reads them or does not. Each
connection is a thread here; only the gateway is measured.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from .machine import HOST, cores, running

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 20.0
"""Seconds for anything to start."""

_MODEL = re.compile(rb'"model" ?: ?"([^"]+)"')
_IN_PATH = re.compile(rb"/models/([^:/ ]+):")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Gateway:
    pid: int
    port: int
    log: Path

    def memory(self) -> int:
        """KiB of RAM that the process has now."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """KiB of RAM that it had at most since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise RuntimeError(f"/proc/{self.pid}/status has no {name}")


@contextmanager
def gateway(config: str) -> Iterator[Gateway]:
    """A gateway of this checkout with ``config``, in which ``{port}`` is its own port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aigateway.toml").write_text(config.replace("{port}", str(port)))
        twistd = str(Path(sysconfig.get_path("scripts")) / "twistd")
        command = [twistd, "-n", "--pidfile=", "aigateway", "--config", "aigateway.toml"]
        ours, _ = cores()
        log = folder / "log"
        with (
            log.open("wb") as output,
            running(command, ours, cwd=folder, environ={"PYTHONPATH": str(ROOT)}, output=output) as process,
        ):
            begun = time.monotonic()
            while not _listens(port):
                if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                    print(log.read_text()[-2000:], file=sys.stderr)
                    raise SystemExit("the gateway does not start")
                time.sleep(0.01)  # nothing tells when it listens
            yield Gateway(process.pid, port, log)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@dataclass
class Connection:
    """One connection that the gateway has made. ``model`` is what it asked for, ``sent`` how many
    bytes of an answer it has taken so far."""

    model: str = ""
    sent: int = 0
    closed: bool = False
    opened: float = field(default_factory=time.monotonic)


class RawUpstream:
    """A provider that answers each request with the bytes that ``answer`` gives for its model.

    Whatever they are, the connection is closed after them. A model for which None is given is
    never even read from.
    """

    def __init__(self, answer: Callable[[str], Iterable[bytes] | None]) -> None:
        self._answer = answer
        self.connections: list[Connection] = []
        self._listener = socket.create_server((HOST, 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        connection = Connection()
        self.connections.append(connection)
        with peer, suppress(OSError):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as providers do who stream
            head = _head(peer)
            found = _IN_PATH.search(head) or _MODEL.search(head)
            connection.model = found[1].decode() if found else ""
            pieces = self._answer(connection.model)
            if pieces is not None:
                _rest(peer, head)
                for piece in pieces:
                    view = memoryview(piece)
                    while view:
                        count = peer.send(view)
                        connection.sent += count
                        view = view[count:]
                peer.shutdown(socket.SHUT_WR)
            while pieces is None or peer.recv(65536):
                if pieces is None:
                    time.sleep(3600)  # never reads on; the thread ends with the process
        connection.closed = True

    def close(self) -> None:
        self._listener.close()


def _head(peer: socket.socket) -> bytes:
    """The request as far as its model's name: all of it, where it is small."""
    data = b""
    while b"\r\n\r\n" not in data or (_MODEL.search(data) is None and _IN_PATH.search(data) is None):
        more = peer.recv(65536)
        if not more:
            break
        data += more
    return data


def _rest(peer: socket.socket, data: bytes) -> None:
    length = _LENGTH.search(data)
    missing = (int(length[1]) if length else 0) - (len(data) - data.find(b"\r\n\r\n") - 4)
    while missing > 0:
        missing -= len(peer.recv(65536))


def post(port: int, path: str, body: object, *, buffer: int = 0) -> socket.socket:
    """A client that has sent its request. ``buffer``: bytes that its kernel may hold unread."""
    client = socket.socket()
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(PATIENCE)
    client.connect((HOST, port))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    client.sendall(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
    return client


def read_all(client: socket.socket, keep: int = 65536) -> tuple[bytes, bytes]:
    """The beginning and the end of everything that comes, until the gateway closes."""
    first = last = b""
    try:
        while data := client.recv(262144):
            if len(first) < keep:
                first += data
            last = (last + data)[-keep:]
    except OSError as error:
        last += f"<{type(error).__name__}>".encode()
    client.close()
    return first, last


def note_gaps(client: socket.socket, found: list[float], over: Callable[[], bool]) -> None:
    """Add to ``found`` the seconds between the reads of a stream, from its second on, until it ends."""
    before = 0.0
    while not over() and client.recv(65536):
        now = time.monotonic()
        if before:
            found.append(now - before)
        before = now
    client.close()


def paced(pieces: Iterable[bytes], seconds: float) -> Iterator[bytes]:
    """``pieces``, each ``seconds`` after the one before, whatever happened between."""
    due = time.monotonic()
    for piece in pieces:
        yield piece
        due += seconds
        time.sleep(max(due - time.monotonic(), 0))  # the pace itself


def allow_many_files(count: int) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def on_the_other_core() -> None:
    """Keep this process off the gateway's core, where there are two."""
    _, theirs = cores()
    os.sched_setaffinity(0, theirs)
