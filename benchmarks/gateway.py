"""What the running gateway costs: ``python -m benchmarks.gateway [--streams 1000 ...]``.

Each scenario starts ``twistd -n aigateway`` of this checkout in an empty folder, an upstream of
baked bytes and a load generator: three processes, on loopback only. The gateway has a core to
itself where there are two. What the numbers mean is in ``README.md``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from .compare import NOISE
from .load import Load, Measured
from .machine import HOST, allow_files, cores, refuse_taken, running
from .report import Report, Result

ROOT = Path(__file__).resolve().parents[1]
OPENAI = "/openai/v1/chat/completions"
CLAUDE = "/v1/messages"
TOKENS = 200
PLENTY = 100_000  # tokens of a stream that is to last
PATIENCE = 20.0
"""Seconds for anything to start or to end."""
WARM_UP = 1.0
PER_ANSWER, PER_CHUNK, PER_STREAM = "µs CPU/answer", "µs CPU/chunk", "KiB PSS/stream"
CONFIG = """\
[gateway]
listen = "tcp:{port}:interface={host}"
drain = 1.0
[providers.mock]
kind = "openai"
base_url = "http://{host}:{upstream}/v1"
accounts = [{{ name = "a", api_key = "benchmark" }}]
[[routes]]
model = "*"
targets = ["mock"]
"""


class Failed(Exception):
    """A scenario did not do what was to be measured."""


@dataclass(frozen=True)
class Scenario:
    """A load, and the number that is made of what came of it."""

    name: str
    unit: str
    load: Load

    def result(self, measured: Measured, closed: dict[int, float]) -> Result:
        """``closed``: when the upstream's connection ended, by the number in the question."""
        load = self.load
        if load.hang_up:
            waits = [(closed[one] - left) * 1000 for one, left in measured.hangups if one in closed]
            if len(waits) < load.connections:
                raise Failed(f"of {load.connections} hang-ups the upstream noticed {len(waits)}")
            facts: dict[str, float] = {"n": len(waits), "max": max(waits)}
            return Result(self.name, statistics.median(waits), self.unit, facts)
        done = measured.chunks if load.stream else measured.answers
        if not done:
            raise Failed("nothing was answered")
        facts = {
            "n": done,
            "gateway cores": measured.gateway_cpu / measured.seconds,
            "harness cores": measured.harness_cpu / measured.seconds,
            "others": measured.others,
            "steal": measured.steal,
        }
        if measured.writes:
            facts["chunks/write"] = measured.answers * load.tokens / measured.writes
        if self.unit == PER_STREAM:
            facts["base MiB"] = measured.pss_before / 1024
            grown = measured.pss_after - measured.pss_before
            return Result(self.name, grown / load.connections, self.unit, facts)
        return Result(self.name, measured.gateway_cpu / done * 1e6, self.unit, facts)


def scenarios(streams: int, rate: float, seconds: float) -> dict[str, Scenario]:
    flat_out = f"mock-{TOKENS}-0"
    whole = Load(OPENAI, flat_out, TOKENS, 32, seconds, stream=False)
    relayed = Load(OPENAI, flat_out, TOKENS, 16, seconds)
    paced = Load(OPENAI, f"mock-{PLENTY}-{1 / rate:g}", PLENTY, streams, seconds)
    memory = replace(paced, model=f"mock-{PLENTY}-1")
    leaving = replace(paced, model=f"mock-{PLENTY}-0.05", connections=50, hang_up=True)
    return {
        "whole": Scenario("whole answer, 32 connections", PER_ANSWER, whole),
        "relayed": Scenario("relayed flat out, 16 connections", PER_CHUNK, relayed),
        "translated": Scenario("claude <- openai flat out, 16", PER_CHUNK, replace(relayed, path=CLAUDE)),
        "paced": Scenario(f"relayed, {streams:,} streams at {rate:g}/s", PER_CHUNK, paced),
        "memory": Scenario(f"memory, {streams:,} streams at 1/s", PER_STREAM, memory),
        "hang-up": Scenario("client leaves, upstream closed", "ms", leaving),
    }


@contextmanager
def gateway(port: int, upstream_port: int) -> Iterator[tuple[int, float]]:
    """A gateway of its own: its process id, and the seconds to its first answer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aigateway.toml").write_text(CONFIG.format(host=HOST, port=port, upstream=upstream_port))
        twistd = str(Path(sysconfig.get_path("scripts")) / "twistd")
        command = [twistd, "-n", "--pidfile=", "aigateway", "--config", "aigateway.toml"]
        ours, _ = cores()
        environ = {"PYTHONPATH": str(ROOT)}  # an older installed copy is never what is measured
        begun = time.monotonic()
        with (
            (folder / "log").open("wb") as log,
            running(command, ours, cwd=folder, environ=environ, output=log) as process,
        ):
            while not answers(port):
                if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                    raise Failed("the gateway does not answer:\n" + (folder / "log").read_text()[-2000:])
                time.sleep(0.005)  # nothing tells when it listens; this bounds the error of the cold start
            yield process.pid, time.monotonic() - begun


def answers(port: int) -> bool:
    """Whether a whole answer comes through the gateway."""
    body = {"model": "mock-1-0", "messages": [{"role": "user", "content": "Question 0"}]}
    try:
        return ask(port, "POST", OPENAI, json.dumps(body))[0] == 200
    except OSError:
        return False


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def run(load: Load) -> Measured:
    """Run the load generator."""
    _, theirs = cores()
    command = [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(load))]
    with running(command, theirs, cwd=ROOT, environ={}, output=subprocess.PIPE) as process:
        try:
            output, _ = process.communicate(timeout=load.seconds + 2 * PATIENCE)
            measured = Measured(**json.loads(output))
        except subprocess.TimeoutExpired:
            raise Failed("the streams did not all begin in time") from None
        except ValueError:
            raise Failed(output.decode()[-2000:]) from None
    if measured.errors:
        raise Failed(f"{measured.errors} answers failed, such as: {measured.sample}")
    return measured


def measure(scenario: Scenario, port: int, upstream_port: int) -> tuple[Result, float]:
    """One scenario with processes of its own, warmed up: its result, and the cold start."""
    _, theirs = cores()
    command = [sys.executable, "-m", "benchmarks.upstream", str(upstream_port)]
    with (
        running(command, theirs, cwd=ROOT, environ={}) as upstream,
        gateway(port, upstream_port) as (pid, cold),
    ):
        load = replace(scenario.load, port=port, gateway=pid, upstream=upstream.pid)
        run(
            replace(
                load, model=f"mock-{TOKENS}-0", tokens=TOKENS, connections=16, seconds=WARM_UP, hang_up=False
            )
        )
        measured = run(load)
        closed = dict(ask(upstream_port, "GET", "/")[1]["hangups"])
        return scenario.result(measured, closed), cold


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000, help="open at once, paced and for memory")
    parser.add_argument("--rate", type=float, default=5.0, help="chunks a second of each paced stream")
    parser.add_argument("--seconds", type=float, default=4.0, help="that a scenario is measured for")
    parser.add_argument("--rounds", type=int, default=1, help="of all scenarios in turn")
    parser.add_argument("--only", default="", help="scenarios, with commas between them")
    parser.add_argument("--port", type=int, default=18088, help="of the gateway")
    parser.add_argument("--upstream-port", type=int, default=18089)
    parser.add_argument(
        "-o", "--output", type=Path, help="append each result to this file, as a line of JSON"
    )
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("CPU and memory are read from /proc, which Linux has")
    known = scenarios(options.streams, options.rate, options.seconds)
    names = options.only.split(",") if options.only else list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    for port in (options.port, options.upstream_port):
        refuse_taken(port)
    allow_files(2 * options.streams + 200)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminated)
    if len(os.sched_getaffinity(0)) < 2:
        print("one core only: the gateway shares it with those who drive it", file=sys.stderr)
    report = Report("gateway", options.output)
    noisy = failed = False
    for round in range(options.rounds):
        starts = []
        for name in names:
            print(f"round {round + 1}: {known[name].name}", file=sys.stderr)
            try:
                result, cold = measure(known[name], options.port, options.upstream_port)
            except Failed as error:
                print(f"{name} failed: {error}", file=sys.stderr)
                failed = True
                continue
            report.add(result, round)
            starts.append(Result("cold start, to the first answer", cold, "s"))
            noisy = noisy or result.facts.get("others", 0) + result.facts.get("steal", 0) > NOISE
        for start in starts:
            report.add(start, round)
    print(report.table())
    if noisy:
        print(f"\nOther processes took more than {NOISE} cores at times: distrust these numbers.")
    return 1 if failed else 0


def _terminated(number: int, frame: FrameType | None) -> None:
    """Leave by an exception, so that what was started is stopped."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
