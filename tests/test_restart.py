"""Reloading, restarting and stopping real processes, while clients are there.

Functions for pytest, which trial passes over: they need processes, signals and sockets of their own.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .gateway_process import PATIENCE, ROOT, TWISTD, Process, endpoint, events, free_port

INHERIT = ["--listen", "systemd:domain=INET:index=0"]


def question(model: str = "gpt-4", content: str = "Count to 5") -> dict[str, object]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": content}]}


def write(folder: Path, upstream: Process, route: str, *, gateway: str = "") -> None:
    """An ``aigateway.toml`` whose one provider is ``upstream``, for a model named ``route``."""
    (folder / "aigateway.toml").write_text(
        f"""\
[gateway]
{gateway}
[providers.house]
kind = "openai"
base_url = "http://localhost:{upstream.port}/openai/v1"
accounts = [{{ api_key = "sk-told-to-nobody" }}]
[[routes]]
model = "{route}"
targets = ["house/gpt-4o-mini"]
"""
    )


@contextmanager
def running(*arguments: str, cwd: Path, port: int, command: list[str] | None = None) -> Iterator[Process]:
    """A process that has said that it serves."""
    process = Process(*arguments, cwd=cwd, port=port, command=command)
    try:
        process.wait_for_log("listens on")
        yield process
    finally:
        process.kill()


@contextmanager
def with_parent(cwd: Path, *arguments: str) -> Iterator[Process]:
    """The gateway behind `aigateway.parent`."""
    port = free_port()
    command = [sys.executable, "-m", "aigateway.parent", endpoint(port), "--"]
    command += [str(TWISTD), "-n", "--pidfile=", "aigateway", *arguments, *INHERIT]
    with running(cwd=cwd, port=port, command=command) as process:
        process.wait_for_log(" serves")
        yield process


def status(process: Process, model: str) -> int:
    response = process.post("/v1/chat/completions", question(model))
    response.read()
    return response.status


def counted(stream: Iterator[tuple[str, dict[str, object]]]) -> tuple[str, str]:
    """The text of a stream, and the name of its last event."""
    told, last = [], ""
    for name, data in stream:
        last = name
        delta = data.get("delta")
        if name == "content_block_delta" and isinstance(delta, dict):
            told.append(delta["text"])
    return "".join(told), last


# --------------------------------------------------------------------------- reload


def test_sighup(tmp_path: Path, demo: Process) -> None:
    """SIGHUP reads the file again: new requests go by it, an open stream goes on to its end; a
    file with mistakes changes nothing and is told about."""
    write(tmp_path, demo, "before")
    port = free_port()
    with running("aigateway", "--listen", endpoint(port), cwd=tmp_path, port=port) as process:
        response = process.post("/v1/chat/completions", question("before", "Count to 30"))
        stream = events(iter(response))
        assert next(stream)[0] == "message_start"
        write(tmp_path, demo, "after")
        process.send(signal.SIGHUP)
        process.wait_for_log("aigateway.toml has been read again; changed: routes")
        assert (status(process, "before"), status(process, "after")) == (404, 200)
        write(tmp_path, demo, "third", gateway="drian = 3.0\nstrict = 1")
        process.send(signal.SIGHUP)
        process.wait_for_log('did you mean "drain"')
        assert "gateway.strict" in process.log
        assert (status(process, "after"), status(process, "third")) == (200, 404)
        last = process.get("/stats")[1]["configuration"]["last"]
        assert (last["ok"], len(last["problems"])) == (False, 2)
        text, ending = counted(stream)
        assert text.endswith("29, 30")
        assert ending == "message_stop"
        assert process.stop() == 0
        assert "sk-told-to-nobody" not in process.log


def test_a_daemon(tmp_path: Path, demo: Process) -> None:
    """A daemon, which has left its folder, reloads by SIGHUP, begins a new log file by SIGUSR1, and
    the two do not disturb each other."""
    write(tmp_path, demo, "before")
    (tmp_path / "elsewhere").mkdir()
    port = free_port()
    pid_file, log = tmp_path / "gw.pid", tmp_path / "gw.log"
    command = [str(TWISTD), f"--pidfile={pid_file}", f"--logfile={log}", "--rundir=elsewhere", "aigateway"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [*command, "--listen", endpoint(port)], cwd=tmp_path, env=environ, check=True, timeout=PATIENCE
    )
    pid = int(pid_file.read_text())
    client = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)

    def models() -> list[str]:
        client.request("GET", "/metrics")
        client.getresponse().read()
        client.request("GET", "/v1/models")
        return [part.split('"')[0] for part in client.getresponse().read().decode().split('"id":"')[1:]]

    try:
        assert models() == ["before"]
        write(tmp_path, demo, "after")
        os.kill(pid, signal.SIGHUP)
        while models() != ["after"]:  # it fails by the test's own time limit
            pass
        os.kill(pid, signal.SIGUSR1)
        rotated = tmp_path / "gw.log.1"
        while not rotated.exists():
            assert models() == ["after"]
        assert "has been read again" in rotated.read_text()
        write(tmp_path, demo, "third")
        os.kill(pid, signal.SIGHUP)
        while models() != ["third"]:
            pass
        assert "has been read again" in log.read_text()
    finally:
        client.close()
        os.kill(pid, signal.SIGTERM)
    while pid_file.exists():
        pass
    assert "Traceback" not in rotated.read_text() + log.read_text()


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """With a full disk under the log, and standard error closed, requests are served on."""
    port = free_port()
    command = [str(TWISTD), "-n", "--pidfile=", "aigateway", "--demo", "--listen", endpoint(port)]
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
        )
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
        for _ in range(5):
            client = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
            body = b'{"model":"gpt-4","stream":true,"messages":[{"role":"user","content":"Count to 3"}]}'
            client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            response = client.getresponse()
            assert counted(events(iter(response))) == ("1, 2, 3", "message_stop")
            client.close()
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """It sends SIGHUP, too: who was started from it is not left behind, but stops."""
    port = free_port()
    master, slave = os.openpty()
    process = subprocess.Popen(
        [str(TWISTD), "-n", "--pidfile=", "aigateway", "--demo", "--listen", endpoint(port)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=slave,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if b"listens on" in line:
                break
        client = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
        client.request("GET", "/health")  # once it is answered, signals are taken
        assert client.getresponse().status == 200
        client.close()
        os.close(master)
        process.stdout.read()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


# -------------------------------------------------------------------------- restart


def test_replaced_under_a_stream(tmp_path: Path) -> None:
    """SIGUSR2 to the parent brings a new process up; the old one ends when its stream has. A
    connection that was kept by the old one is answered once more, and then closed."""
    with with_parent(tmp_path, "--demo") as process:
        kept = process.connect()
        kept.request("GET", "/health")
        assert kept.getresponse().read() == b'{"status":"ok"}'
        response = process.post("/v1/chat/completions", question(content="Count to 60"))
        stream = events(iter(response))
        assert next(stream)[0] == "message_start"
        process.send(signal.SIGUSR2)
        process.wait_for_log("waiting for")  # the old one, whose port is closed by then
        assert process.get("/health") == (200, {"status": "ok"})
        kept.request("GET", "/health")
        last = kept.getresponse()
        assert (last.status, last.headers["Connection"]) == (503, "close")
        last.read()
        assert process.get("/health") == (200, {"status": "ok"})
        text, ending = counted(stream)
        assert text.endswith("59, 60")
        assert ending == "message_stop"
        process.wait_for_log("has ended with status 0")
        assert process.get("/health") == (200, {"status": "ok"})
        assert process.stop() == 0
        assert "Traceback" not in process.log


def test_a_new_one_that_does_not_start(tmp_path: Path, demo: Process) -> None:
    """The old process goes on where the new one finds mistakes in the configuration; SIGHUP
    reaches the process that serves."""
    write(tmp_path, demo, "before")
    with with_parent(tmp_path) as process:
        (tmp_path / "aigateway.toml").write_text("nonsense")
        process.send(signal.SIGUSR2)
        process.wait_for_log("the old one goes on")
        assert status(process, "before") == 200
        write(tmp_path, demo, "after")
        process.send(signal.SIGHUP)
        process.wait_for_log("has been read again")
        assert status(process, "after") == 200
        assert process.stop() == 0


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="needs systemd")
def test_socket_activation(tmp_path: Path, demo: Process) -> None:
    """systemd hands a socket over; bound to loopback, it needs no keys, and it is served without
    the descriptor's mode, which is blocking, holding the process up."""
    write(tmp_path, demo, "fast")
    port = free_port()
    command = ["systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=web", "-E", "PYTHONPATH"]
    command += [str(TWISTD), "-n", "--pidfile=", "aigateway", *INHERIT]
    process = Process(cwd=tmp_path, port=port, command=command)
    try:
        while True:
            with socket.socket() as probe:  # the first connection starts it
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        process.wait_for_log("listens on")
        assert [status(process, "fast") for _ in range(3)] == [200, 200, 200]
        assert process.stop() == 0
    finally:
        process.kill()


def test_nobody_handed_a_socket_over(tmp_path: Path) -> None:
    """It ends with a line that says so."""
    process = Process("aigateway", "--demo", *INHERIT, cwd=tmp_path)
    try:
        assert process.wait() == 1
        assert process.errors[-1].startswith("--listen: ")
        assert "no socket" in process.errors[-1]
    finally:
        process.kill()


# ---------------------------------------------------------------------------- stop


def _can_unshare() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "-pf", "true"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not _can_unshare(), reason="needs the right to make a PID namespace")
def test_as_process_1(tmp_path: Path) -> None:
    """In a container, where the kernel spares process 1 every signal that it has no handler for:
    SIGTERM drains, and the second one ends it."""
    port = free_port()
    inside = ["unshare", "-pf", "--kill-child", str(TWISTD), "-n", "--pidfile="]
    for again in (False, True):
        command = [*inside, "aigateway", "--demo", "--listen", endpoint(port)]
        with running(cwd=tmp_path, port=port, command=command) as process:
            count = 900 if again else 20
            response = process.post("/v1/chat/completions", question(content=f"Count to {count}"))
            stream = events(iter(response))
            assert next(stream)[0] == "message_start"
            inner = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            os.kill(inner, signal.SIGTERM)
            process.wait_for_log("waiting for 1 open requests")
            if again:
                os.kill(inner, signal.SIGTERM)
                assert process.wait() == 128 + signal.SIGTERM
            else:
                assert counted(stream)[1] == "message_stop"
                assert process.wait() == 0
