"""Usage and budgets of a real process that is killed while it writes.

Functions for pytest, which trial passes over: they need processes and signals of their own.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from .gateway_process import Process, endpoint, free_port
from .test_restart import running

HEADERS = {"Authorization": "Bearer k-ann"}


def write(folder: Path, upstream: Process, tokens_per_day: int) -> None:
    (folder / "aigateway.toml").write_text(
        f"""\
[gateway]
state = "sqlite:///{folder}/state.db"
[[keys]]
name = "ann"
key = "k-ann"
tokens_per_day = {tokens_per_day}
[providers.house]
kind = "openai"
base_url = "http://localhost:{upstream.port}/openai/v1"
accounts = [{{ api_key = "sk-told-to-nobody" }}]
models = ["gpt-4o-mini"]
"""
    )


def ask(process: Process) -> int:
    body = {"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "Count to 5"}]}
    response = process.post("/openai/v1/chat/completions", body, HEADERS)
    response.read()
    return response.status


def load(process: Process, seconds: float) -> list[float]:
    """When each request of this time ended."""
    ended: list[float] = []
    begun = time.monotonic()
    while not ended or ended[-1] < begun + seconds:
        assert ask(process) == 200
        ended.append(time.monotonic())
    return ended


def kept(folder: Path) -> tuple[int, int, str]:
    """Requests and tokens in the file, and what SQLite says of its soundness."""
    with closing(sqlite3.connect(folder / "state.db")) as connection:
        requests, tokens = connection.execute(
            "SELECT sum(requests), sum(input + cache_read + cache_write + output) FROM usage"
        ).fetchone()
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
    return requests, tokens, sound


def test_kill_9(tmp_path: Path, demo: Process) -> None:
    """A process that is killed after some work, three times over, has lost at most what ended in its last
    two seconds; the file is sound, no request is in it twice, and all have their tokens. The next
    process goes on with the budget where it was left."""
    write(tmp_path, demo, 1_000_000)
    before = each = 0
    for seconds in (2.2, 2.5, 2.8):
        port = free_port()
        with running("aigateway", "--listen", endpoint(port), cwd=tmp_path, port=port) as process:
            ended = load(process, seconds)
            process.send(signal.SIGKILL)
            killed = time.monotonic()
            assert process.wait() == -signal.SIGKILL
        requests, tokens, sound = kept(tmp_path)
        assert sound == "ok"
        each = each or tokens // requests
        assert tokens == requests * each
        safe = sum(1 for at in ended if at < killed - 2.0)
        assert safe <= requests - before <= len(ended)
        assert requests > before
        before = requests
    write(tmp_path, demo, before * each + 10)
    port = free_port()
    with running("aigateway", "--listen", endpoint(port), cwd=tmp_path, port=port) as process:
        assert ask(process) == 429
        connection = process.connect()
        connection.request("GET", "/stats", headers=HEADERS)
        shown = json.loads(connection.getresponse().read())["allowances"]["ann"]
        connection.close()
        assert (shown["tokens_today"], shown["tokens_left"], shown["known"]) == (before * each, 10, True)
        assert process.stop() == 0
        assert "Traceback" not in process.log
