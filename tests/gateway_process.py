"""A gateway as operators run it: a `twistd -n` process on a real port, and what it logs.

For the tests that are about the process itself, or that bring clients which cannot be
asked to run on a reactor of ours.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Condition, Thread
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TWISTD = Path(sysconfig.get_path("scripts")) / "twistd"
PATIENCE = 20.0
"""Seconds after which a process that does not do what it should has failed. Nothing ever
waits for as long where the gateway works."""


class Process:
    """``twistd -n ARGUMENTS``, or another ``command``, in the folder ``cwd``, with the checkout
    first on its path: an older installed copy is never the one that is tested."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        environ: Mapping[str, str] | None = None,
        port: int = 0,
        command: Sequence[str] | None = None,
    ) -> None:
        self.port = port
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._news = Condition()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._process = subprocess.Popen(
            command or [str(TWISTD), "-n", "--pidfile=", *arguments],
            cwd=cwd,
            env=kept | {"PYTHONPATH": str(ROOT)} | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            Thread(target=self._read, args=(self._process.stdout, self._lines), daemon=True),
            Thread(target=self._read, args=(self._process.stderr, self._errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: Any, lines: list[str]) -> None:
        for line in pipe:
            with self._news:
                lines.append(line.rstrip("\n"))
                self._news.notify_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return "\n".join(self._lines)

    @property
    def errors(self) -> list[str]:
        """The lines on standard error."""
        return self._errors

    def wait_for_log(self, text: str) -> None:
        """Wait until the log says ``text``."""
        with self._news:
            said = self._news.wait_for(lambda: text in self.log or self._process.poll() is not None, PATIENCE)
        assert said, f"the log never said {text!r}:\n{self.log}"
        assert text in self.log, f"it ended before it said {text!r}:\n{self.log}\n" + "\n".join(self._errors)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the process to end; its exit status, negative for a signal that killed it."""
        status = self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it whatever it does, for the end of a test that may have failed."""
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    # ------------------------------------------------------------------- asking

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, Any]:
        """The status and the JSON of a GET."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def post(
        self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """The response to a POST of ``body``, its own body still to be read. It owns the
        connection: reading it to its end, or closing it, ends that too."""
        connection = self.connect()
        told = {"Content-Type": "application/json", "Connection": "close", **(headers or {})}
        connection.request("POST", path, json.dumps(body), told)
        return connection.getresponse()


def serving(start: Callable[[int], Process]) -> Process:
    """The process that ``start`` starts on a port that was free a moment ago, once it listens."""
    process = start(free_port())
    try:
        process.wait_for_log("listens on")
    except BaseException:
        process.kill()
        raise
    return process


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def endpoint(port: int) -> str:
    return f"tcp:{port}:interface=127.0.0.1"


def events(lines: Iterator[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and data of each Claude event, as soon as its line is there."""
    name = ""
    for line in lines:
        if line.startswith(b"event: "):
            name = line.removeprefix(b"event: ").decode().strip()
        elif line.startswith(b"data: "):
            yield name, json.loads(line.removeprefix(b"data: "))
