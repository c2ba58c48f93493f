"""What restarts cost the clients: ``python -m benchmarks.restart [--restarts 10] [--reloads]``.

The gateway runs behind `aigateway.parent`, which is told again and again to replace it, while
clients of several kinds ask, httpx among them where it is installed. Every answer is checked to its
last byte. Anything refused, reset, cut or answered 5xx breaks the promise: then the exit status is 1.

With ``--reloads`` it is told to read its configuration again instead, which is changed each time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread

from .machine import HOST, cores, running
from .report import number, table
from .stage import ROOT, free_port
from .upstream import TOKEN

PATH = "/openai/v1/chat/completions"
PATIENCE = 30.0
"""Seconds for anything to start or to end."""
CONFIG = """\
[gateway]
drain = 60.0
[limits]
max_lag = 0              # the old and the new one share a core here, which is no overload
max_body = {max_body}
[providers.mock]
kind = "openai"
base_url = "http://{host}:{upstream}/v1"
accounts = [{{ name = "a", api_key = "benchmark" }}]
[[routes]]
model = "*"
targets = ["mock"]
"""


class Clients:
    """Clients of one kind, each in a thread, until they are told to end. ``found`` counts their
    answers by what became of them."""

    def __init__(self, name: str, count: int, ask: Callable[[Event], Iterator[str]]) -> None:
        self.name = name
        self.found: Counter[str] = Counter()
        self._ask = ask
        self._over = Event()
        self._threads = [Thread(target=self._run, daemon=True) for _ in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            self.found["never ended"] += thread.is_alive()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                for result in self._ask(self._over):
                    self.found[result] += 1
            except ConnectionRefusedError:
                self.found["refused"] += 1
            except (ConnectionError, http.client.HTTPException) as error:
                self.found["reset" if isinstance(error, ConnectionError) else "cut"] += 1
            except TimeoutError:
                self.found["no answer"] += 1


def single(port: int) -> Callable[[Event], Iterator[str]]:
    """A connection for each request, closed by the client's wish."""

    def ask(over: Event) -> Iterator[str]:
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
        yield exchange(connection, "mock-20-0", 20, stream=False, close=True)
        connection.close()

    return ask


def kept(port: int, think: float) -> Callable[[Event], Iterator[str]]:
    """One connection for all requests, up to ``think`` seconds apart, until the gateway says that
    it closes. http.client does not look whether a connection is still there before it asks."""

    def ask(over: Event) -> Iterator[str]:
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
        while not over.is_set():
            yield exchange(connection, "mock-20-0", 20, stream=False)
            if connection.sock is None:  # as the gateway has said
                return
            over.wait(random.uniform(0, think))  # noqa: S311

    return ask


def streaming(port: int) -> Callable[[Event], Iterator[str]]:
    """Streams of 4 seconds, one after the other on a kept connection."""

    def ask(over: Event) -> Iterator[str]:
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
        while not over.is_set():
            yield exchange(connection, "mock-80-0.05", 80, stream=True)
            if connection.sock is None:
                return

    return ask


def pooled(port: int) -> Callable[[Event], Iterator[str]]:
    """httpx, which the SDKs of OpenAI and Anthropic are made of, with its pool and without retries;
    up to 2 seconds between requests."""
    import httpx

    def ask(over: Event) -> Iterator[str]:
        body = {"model": "mock-20-0", "messages": [{"role": "user", "content": "Question 0"}]}
        with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=PATIENCE) as client:
            while not over.is_set():
                try:
                    response = client.post(PATH, json=body)
                except httpx.TransportError as error:
                    yield type(error).__name__
                else:
                    whole = response.content.count(TOKEN) == 20
                    yield "ok" if whole else f"{response.status_code} {response.text}"
                over.wait(random.uniform(0, 2))  # noqa: S311

    return ask


def exchange(
    connection: http.client.HTTPConnection, model: str, tokens: int, *, stream: bool, close: bool = False
) -> str:
    """One request and its whole answer: ``"ok"``, or what is wrong with it."""
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Question 0"}]}
    headers = {"Content-Type": "application/json"} | ({"Connection": "close"} if close else {})
    connection.request("POST", PATH, json.dumps(body), headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        return f"{response.status} {json.loads(answer)['error']['message']}"
    whole = answer.count(TOKEN) == tokens and (not stream or answer.endswith(b"data: [DONE]\n\n"))
    return "ok" if whole else "cut"


@contextmanager
def gateway(folder: Path, port: int) -> Iterator[tuple[int, Log]]:
    """A gateway and its parent: the parent's process id, and the log of both."""
    twistd = str(Path(sysconfig.get_path("scripts")) / "twistd")
    command = [sys.executable, "-m", "aigateway.parent", f"tcp:{port}:interface={HOST}", "--", twistd]
    command += ["-n", "--pidfile=", "aigateway", "--listen", "systemd:domain=INET:index=0"]
    ours, _ = cores()
    log = folder / "log"
    environ = {"PYTHONPATH": str(ROOT)}
    with (
        log.open("wb") as output,
        running(command, ours, cwd=folder, environ=environ, output=output) as process,
    ):
        yield process.pid, Log(log)


class Log:
    """What the parent and its processes say, but for the requests."""

    def __init__(self, path: Path) -> None:
        self._file = path.open()
        self._lines: list[str] = []

    def wait_for(self, words: str, count: int) -> None:
        """Wait until ``words`` have been said ``count`` times."""
        begun = time.monotonic()
        while True:
            self._lines += [line for line in self._file if "StatsService" not in line]
            if sum(words in line for line in self._lines) >= count:
                return
            if time.monotonic() - begun > PATIENCE:
                said = "".join(self._lines[-30:])
                raise SystemExit(f"the log does not say {words!r} for the {count}. time:\n{said}")
            time.sleep(0.05)  # nothing tells when a log has grown


def measure(restarts: int, pause: float, reload: bool) -> tuple[list[Clients], float]:
    port, upstream_port = free_port(), free_port()
    kinds = [
        Clients("a connection per request", 4, single(port)),
        Clients("kept, back to back", 4, kept(port, 0.0)),
        Clients("kept, up to 2 s between", 16, kept(port, 2.0)),
        Clients("streams of 4 s, kept", 8, streaming(port)),
    ]
    if find_spec("httpx") is not None:
        kinds.append(Clients("httpx, up to 2 s between", 8, pooled(port)))
    _, theirs = cores()
    upstream = [sys.executable, "-m", "benchmarks.upstream", str(upstream_port)]
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "aigateway.toml"

        def write(max_body: int) -> None:
            file.write_text(CONFIG.format(host=HOST, upstream=upstream_port, max_body=max_body))

        write(1_000_000)
        with (
            running(upstream, theirs, cwd=ROOT, environ={}),
            gateway(Path(name), port) as (parent, log),
        ):
            log.wait_for(" serves", 1)
            begun = time.monotonic()
            for clients in kinds:
                clients.start()
            for turn in range(1, restarts + 1):
                time.sleep(pause)  # of load between two restarts
                if reload:
                    write(1_000_000 + turn)
                    os.kill(parent, signal.SIGHUP)
                    log.wait_for("has been read again", turn)
                else:
                    os.kill(parent, signal.SIGUSR2)
                    log.wait_for(" serves", turn + 1)
            time.sleep(pause)  # and after the last
            for clients in kinds:
                clients.stop()
            for clients in kinds:
                clients.join()
            seconds = time.monotonic() - begun
            if not reload:
                log.wait_for("has ended with status 0", restarts)
    return kinds, seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restart", description=__doc__)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between them")
    parser.add_argument("--reloads", action="store_true", help="reload instead of restarting")
    options = parser.parse_args()
    kinds, seconds = measure(options.restarts, options.pause, options.reloads)
    rows = [["clients", "answers", "failed", "how"]]
    broken = False
    for clients in kinds:
        answers = clients.found.pop("ok", 0)
        failed = +clients.found
        broken = broken or bool(failed) or not answers
        how = ", ".join(f"{name}: {count}" for name, count in failed.items())
        rows.append([clients.name, number(answers), number(failed.total()), how])
    print(table(rows))
    print(f"\n{options.restarts} {'reloads' if options.reloads else 'restarts'} in {seconds:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
