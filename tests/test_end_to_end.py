"""The gateway as a process: what clients see on a real port, and what operators see of
starting and stopping.

Functions for pytest, which trial passes over: they need a process each, and its fixtures.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from .gateway_process import ROOT, Process, endpoint, events, free_port, serving

PROVIDERS = [
    ("gpt-4", "openai", "Count to 5"),
    ("glm-4", "glm", "数到5"),
    ("gemini-2.0-flash-exp", "antigravity", "Count to 5"),
]
CLAUDE_STREAM = [
    "message_start",
    "content_block_start",
    *["content_block_delta"] * 5,
    "content_block_stop",
    "message_delta",
    "message_stop",
]


def question(model: str, content: str, *, stream: bool = True) -> dict[str, object]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": content}]}


def ask(process: Process, model: str, content: str) -> Iterator[bytes]:
    """The lines of a streamed answer as they arrive: by ``curl -N`` where there is one."""
    url = f"http://localhost:{process.port}/v1/chat/completions"
    curl = shutil.which("curl")
    if curl is None:
        yield from process.post("/v1/chat/completions", question(model, content))
        return
    data = json.dumps(question(model, content), ensure_ascii=False)
    command = [curl, "-sSN", "-X", "POST", url, "-H", "Content-Type: application/json", "-d", data]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        yield from running.stdout
    assert running.returncode == 0


@contextmanager
def running(*arguments: str, cwd: Path, **environ: str) -> Iterator[Process]:
    """A process of its own for one test, on the port that is in ``{port}``."""

    def start(port: int) -> Process:
        placed = [argument.replace("{port}", str(port)) for argument in arguments]
        return Process(*placed, cwd=cwd, environ=environ, port=port)

    process = serving(start)
    try:
        yield process
    finally:
        process.kill()


def demo_of_its_own(cwd: Path) -> list[str]:
    return ["aigateway", "--demo", "--listen", endpoint(0).replace("tcp:0", "tcp:{port}")]


# ------------------------------------------------------------------------- answers


@pytest.mark.parametrize(("model", "provider", "content"), PROVIDERS)
def test_three_curls(demo: Process, model: str, provider: str, content: str) -> None:
    """Whichever provider answers, ``curl -N`` shows a whole Claude stream, while it is made."""
    begun = time.monotonic()
    seen, times = [], []
    for event in events(ask(demo, model, content)):
        seen.append(event)
        times.append(time.monotonic() - begun)
    assert [name for name, _ in seen] == CLAUDE_STREAM
    assert all(data["type"] == name for name, data in seen)
    started = seen[0][1]["message"]
    assert (started["role"], started["model"]) == ("assistant", model)
    text = "".join(data["delta"]["text"] for name, data in seen if name == "content_block_delta")
    assert text == "1, 2, 3, 4, 5"
    ending = seen[-2][1]
    assert ending["delta"]["stop_reason"] == "end_turn"
    assert ending["usage"]["output_tokens"] > 0
    # The simulated model speaks every 50 ms, and says five numbers.
    assert times[-1] - times[0] > 0.15


@pytest.mark.parametrize(("model", "provider", "content"), PROVIDERS)
def test_stream_headers(demo: Process, model: str, provider: str, content: str) -> None:
    """A stream's head says what it is, that no proxy may hold it back, and who answers."""
    response = demo.post("/v1/chat/completions", question(model, content))
    response.read()
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["x-aigateway-provider"] == provider
    assert response.headers["x-aigateway-model"] == model
    assert response.headers["x-aigateway-attempts"] == "1"
    assert response.headers["x-aigateway-simulated"] == "true"
    assert response.headers["x-aigateway-request-id"] == response.headers["request-id"]


def test_query_asks_for_a_stream(demo: Process) -> None:
    """``?stream=true`` streams where the body does not say."""
    body = question("gpt-4", "Count to 2")
    del body["stream"]
    response = demo.post("/v1/chat/completions?stream=true", body)
    assert [name for name, _ in events(iter(response))][-1] == "message_stop"


def test_whole_answer(demo: Process) -> None:
    """Without ``stream`` the answer is one Claude message, with its length told."""
    response = demo.post("/v1/chat/completions", question("glm-4", "数到5", stream=False))
    body = response.read()
    assert response.status == 200
    assert response.headers["Content-Length"] == str(len(body))
    message = json.loads(body)
    assert message["content"] == [{"type": "text", "text": "1, 2, 3, 4, 5"}]
    assert message["stop_reason"] == "end_turn"


def test_dialect_header(demo: Process) -> None:
    """``X-AIGateway-Dialect: openai`` makes a bare caller's stream OpenAI's, up to ``[DONE]``."""
    response = demo.post(
        "/v1/chat/completions", question("gpt-4", "Count to 3"), {"X-AIGateway-Dialect": "openai"}
    )
    lines = [line for line in response.read().decode().split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "1, 2, 3"


def test_departed_client(demo: Process) -> None:
    """A client that leaves in the middle is an outcome of its own, and no stream stays open."""
    response = demo.post("/v1/chat/completions", question("gpt-4", "Count to 400"))
    assert response.readline() == b"event: message_start\n"
    id = response.headers["x-aigateway-request-id"]
    response.close()
    demo.wait_for_log(f"{id} - gpt-4 -> openai/gpt-4 account=demo client_left")
    stats = demo.get("/stats")[1]
    assert stats["open"]["streams"] == 0
    assert stats["recent"][0]["result"] == "client_left"


# ------------------------------------------------------------------------- stopping


def test_drain(tmp_path: Path) -> None:
    """SIGTERM closes the port, lets an open stream finish, and exits with status 0."""
    with running(*demo_of_its_own(tmp_path), cwd=tmp_path) as process:
        response = process.post("/v1/chat/completions", question("gpt-4", "Count to 20"))
        stream = events(iter(response))
        assert next(stream)[0] == "message_start"
        process.send(signal.SIGTERM)
        process.wait_for_log("waiting for 1 open requests")
        with pytest.raises(ConnectionRefusedError):
            process.get("/health")
        rest = list(stream)
        assert rest[-1][0] == "message_stop"
        text = "".join(data["delta"]["text"] for name, data in rest if name == "content_block_delta")
        assert text.endswith("19, 20")
        assert process.wait() == 0
        assert "Traceback" not in process.log


def test_second_signal(tmp_path: Path) -> None:
    """A second SIGTERM ends the process at once, with streams open."""
    with running(*demo_of_its_own(tmp_path), cwd=tmp_path) as process:
        response = process.post("/v1/chat/completions", question("gpt-4", "Count to 900"))
        assert response.readline() == b"event: message_start\n"
        process.send(signal.SIGTERM)
        process.wait_for_log("waiting for 1 open requests")
        begun = time.monotonic()
        process.send(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
        assert time.monotonic() - begun < 2
        with suppress(HTTPException, ConnectionError):  # an incomplete body, or a reset
            assert b"message_stop" not in response.read()


def test_draining_health(tmp_path: Path, demo: Process) -> None:
    """While ``drain_delay`` runs, the port is open, ``/health`` says 503, and new requests are
    answered, each as the last one on its connection. The key of the provider is in no line of the log."""
    configuration(tmp_path, demo, "drain_delay = 30.0\ndrain = 0.0")
    with running(
        "aigateway", "--listen", "tcp:{port}:interface=127.0.0.1", cwd=tmp_path, KEY="sk-told-to-nobody"
    ) as process:
        assert process.get("/health") == (200, {"status": "ok"})
        response = process.post("/v1/chat/completions", question("fast", "Count to 5"))
        assert response.headers["x-aigateway-model"] == "gpt-4o-mini"
        assert [name for name, _ in events(iter(response))] == CLAUDE_STREAM
        process.send(signal.SIGTERM)
        while (answer := process.get("/health"))[0] == 200:
            pass  # the signal is on its way
        assert answer == (503, {"status": "draining"})
        late = process.post("/v1/chat/completions", question("fast", "Count to 5"))
        assert late.headers["Connection"] == "close"
        assert [name for name, _ in events(iter(late))] == CLAUDE_STREAM
        process.send(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
        assert "sk-told-to-nobody" not in process.log


# ------------------------------------------------------------------------- starting


def configuration(folder: Path, upstream: Process, gateway: str = "") -> None:
    """An ``aigateway.toml`` whose one provider is ``upstream``."""
    (folder / "aigateway.toml").write_text(
        f"""\
[gateway]
{gateway}

[providers.house]
kind = "openai"
base_url = "http://localhost:{upstream.port}/openai/v1"
accounts = [{{ api_key = "env:KEY" }}]

[[routes]]
model = "fast"
targets = ["house/gpt-4o-mini"]
"""
    )


def test_nothing_configured(tmp_path: Path) -> None:
    """With nothing to work with, three lines say how to go on, and the exit status is not 0."""
    process = Process("aigateway", cwd=tmp_path)
    assert process.wait() == 1
    assert len(process.errors) == 3
    assert "--demo" in process.errors[0]
    assert "OPENAI_API_KEY" in process.errors[1]
    assert "aigateway.toml" in process.errors[2]
    assert process.log == ""


def test_environment(tmp_path: Path) -> None:
    """A key in the environment is enough to start, and is not logged."""
    with running(
        "aigateway", "--listen", "tcp:{port}:interface=127.0.0.1", cwd=tmp_path, ZAI_API_KEY="told-to-nobody"
    ) as process:
        assert "providers: glm (the environment)" in process.log
        assert process.get("/health") == (200, {"status": "ok"})
        assert process.stop() == 0
        assert "told-to-nobody" not in process.log


def test_mistakes(tmp_path: Path) -> None:
    """Every mistake in a configuration is told with its line, all at once; nothing starts."""
    (tmp_path / "wrong.toml").write_text(
        """\
[gateway]
listen = 8088
drian = 3.0

[providers.openai]
accounts = [{ api_key = "env:NOT_SET" }]

[[routes]]
model = "fast"
targets = ["glm/glm-4"]
"""
    )
    process = Process("aigateway", "--config", "wrong.toml", cwd=tmp_path)
    assert process.wait() == 1
    places = [line.split(": ")[:2] for line in process.errors]
    assert places == [
        ["wrong.toml:2", "gateway.listen"],
        ["wrong.toml:3", "gateway.drian"],
        ["wrong.toml:6", "providers.openai.accounts[0].api_key"],
        ["wrong.toml:10", "routes[0].targets[0]"],
    ]
    assert process.log == ""


def test_taken_port(tmp_path: Path, demo: Process) -> None:
    """A port that is taken is one plain line, no traceback, and the exit status is not 0."""
    process = Process("aigateway", "--demo", "--listen", endpoint(demo.port), cwd=tmp_path)
    assert process.wait() == 1
    said = process.log + "\n".join(process.errors)
    assert f"cannot listen on {endpoint(demo.port)}: Address already in use" in said
    assert "Traceback" not in said


def test_tac(tmp_path: Path, demo: Process) -> None:
    """``twistd -ny aigateway.tac`` serves what the configuration in the working directory says."""
    port = free_port()
    configuration(tmp_path, demo, f'listen = "{endpoint(port)}"')
    process = Process("-y", str(ROOT / "aigateway.tac"), cwd=tmp_path, environ={"KEY": "any"}, port=port)
    try:
        process.wait_for_log("listens on")
        response = process.post("/v1/messages", question("fast", "Count to 5") | {"max_tokens": 100})
        assert [name for name, _ in events(iter(response))] == CLAUDE_STREAM
        assert process.stop() == 0
    finally:
        process.kill()
