"""A day in half an hour, and what it leaves behind: ``python -m benchmarks.soak [--minutes 30]``.

A gateway, the simulated providers and the clients of `mix` are a process each. After a warm-up the
clients pause until everything is over, and what the gateway then holds is the measure: the same is
looked at after the run. In between, every ten seconds, its memory, descriptors, threads, delayed
calls and kept connections are read, and their slopes told. Exits with 1 where something was left
behind, an honest request went wrong, or the log tells of an error of the gateway's own.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import importlib.util
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .machine import HOST, cores, cpu_seconds, pss_kib, running
from .mix import KEY, PROVIDERS, Mix
from .report import number, table
from .stage import free_port

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 20.0
SETTLED = 12.0
"""Seconds after the last client until nothing is kept for another one: longer than the limits below."""
RELOAD_EVERY = 60.0
MODELS = {
    "openai": "gpt-4o-mini",
    "glm": "glm-4.7",
    "antigravity": "gemini-2.5-flash",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
}
CONFIG = """\
[gateway]
listen = "tcp:{port}:interface=127.0.0.1"
drain = 2.0
write_stall = 3.0
[limits]
keep_alive = 5.0
pool_idle = 5.0
[timeouts]
headers = 3.0
first_token = 3.0
idle = 3.0
total = 20.0
[retries]
budget = 1.0  # else those who ask for faults would use up what the failovers need
eject_for = 0.5
max_eject = 1.0
[[keys]]
name = "soak"
key = "{key}"
"""
ERRORS = ("Unhandled error", "Unhandled Error", "Traceback (most recent call last)")
GROWTH = {"PSS KiB": 6 * 1024, "descriptors": 2, "threads": 3, "delayed calls": 3, "kept connections": 1}
"""How much more there may be of each after the run than after the warm-up."""
LONG_ENOUGH = 600.0
"""Seconds of load below which a slope is told, but proves nothing."""
SLOPES = {"PSS KiB": 12 * 1024, "descriptors": 60, "threads": 6, "delayed calls": 60, "objects": 4000}
"""How much more there may surely be in each hour, under load. Of objects it is one in five requests: what is
kept of each model and account (rows, circuits, routes) is made when it is first asked for, and bounded,
so that what there was after the warm-up says little."""
MEASURED = ("RSS KiB", *GROWTH, "objects")
"""RSS as it is, PSS (when all is quiet) without what the C library keeps for later."""


@dataclass
class Watched:
    """The gateway's process, from outside and (by SIGUSR1) from inside."""

    pid: int
    port: int
    log: Path
    file: Path
    samples: list[dict[str, float]] = field(default_factory=list)

    def inside(self, number: signal.Signals) -> dict[str, object]:
        self.file.unlink(missing_ok=True)
        os.kill(self.pid, number)
        begun = time.monotonic()
        while not self.file.exists():
            if time.monotonic() - begun > PATIENCE:
                raise SystemExit("the gateway does not answer to its signal")
            time.sleep(0.02)  # nothing tells when it has written
        told: dict[str, object] = json.loads(self.file.read_text())
        return told

    def sample(self, *, quiet: bool = False) -> dict[str, object]:
        """All numbers, now. ``quiet``: nothing is under way, and what is held is held for good."""
        rss = self._rss_kib()
        told = self.inside(signal.SIGUSR2 if quiet else signal.SIGUSR1)
        told |= {
            "at": time.monotonic(),
            "RSS KiB": rss,
            "PSS KiB": pss_kib(self.pid),
            "descriptors": len(os.listdir(f"/proc/{self.pid}/fd")),
            "open requests": self._open(),
        }
        self.samples.append({name: value for name, value in told.items() if isinstance(value, (int, float))})
        return told

    def _rss_kib(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def _open(self) -> int:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/stats", headers={"Authorization": f"Bearer {KEY}"})
            count: int = json.loads(connection.getresponse().read())["open"]["requests"]
            return count
        finally:
            connection.close()

    def errors(self) -> list[str]:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return [line for line in lines if any(error in line for error in ERRORS)]


@contextmanager
def simulators(pace: float) -> Iterator[tuple[int, dict[str, str]]]:
    """The simulated providers: their process id, and their base URLs by kind."""
    _, theirs = cores()
    command = [sys.executable, "-m", "aigateway.simulator", "--pace", str(pace)]
    with running(command, theirs, cwd=ROOT, environ={}, output=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = b""
        while told.count(b"accounts = ") < len(PROVIDERS):
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"the simulated providers do not start: {told.decode()}")
            told += line
        providers = tomllib.loads(told.decode())["providers"].values()
        yield process.pid, {one["kind"]: one["base_url"] for one in providers}


def configuration(port: int, base_urls: dict[str, str]) -> str:
    """Of each provider three: for honest requests, for faults, and for those that end an account."""
    parts = [CONFIG.format(port=port, key=KEY)]
    for kind, url in base_urls.items():
        secret = 'access_token = "{}", project = "p"' if kind == "antigravity" else 'api_key = "{}"'
        for name in (kind, f"bad-{kind}", f"dead-{kind}"):
            accounts = [f'{{ name = "{one}", {secret.format(name + one)} }}' for one in "abc"]
            parts += [f"[providers.{name}]", f'kind = "{kind}"', f'base_url = "{url}"']
            if kind == "openai":
                parts.append("responses = true")
            parts.append(f"accounts = [{', '.join(accounts)}]")
    routes = {f"good/{kind}": [f"{kind}/{MODELS[kind]}"] for kind in base_urls}
    routes |= {f"{name}-{kind}/*": [f"{name}-{kind}"] for kind in base_urls for name in ("bad", "dead")}
    routes["failover/*"] = ["bad-openai", f"anthropic/{MODELS['anthropic']}"]
    for model, targets in routes.items():
        parts += ["[[routes]]", f'model = "{model}"', f"targets = {json.dumps(targets)}"]
    return "\n".join(parts) + "\n"


@contextmanager
def gateway(base_urls: dict[str, str]) -> Iterator[Watched]:
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aigateway.toml").write_text(configuration(port, base_urls))
        inside, log = folder / "inside", folder / "log"
        twistd = ["-n", "--pidfile=", "aigateway", "--config", "aigateway.toml"]
        command = [sys.executable, "-m", "benchmarks.watched", str(inside), *twistd]
        ours, _ = cores()
        with (
            log.open("wb") as output,
            running(command, ours, cwd=folder, environ={"PYTHONPATH": str(ROOT)}, output=output) as process,
        ):
            begun = time.monotonic()
            while b"listens on" not in log.read_bytes():
                if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                    raise SystemExit("the gateway does not start:\n" + log.read_text()[-2000:])
                time.sleep(0.05)  # nothing tells when it listens
            yield Watched(process.pid, port, log, inside)


async def load(mix: Mix, watched: Watched, rate: float, seconds: float, every: float | None) -> None:
    """Clients come at random for so long, ``rate`` a second; with ``every``, samples are taken and
    the configuration is read anew. Returns when the last client is through and all is settled."""
    reloads = every is not None and importlib.util.find_spec("aigateway.reload") is not None
    loop = asyncio.get_running_loop()
    begun = due = sampled = reloaded = loop.time()
    tasks: set[asyncio.Task[None]] = set()
    while (now := loop.time()) < begun + seconds:
        due += -math.log(1 - mix.random()) / rate
        await asyncio.sleep(max(due - now, 0))
        task = asyncio.create_task(mix.one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if every is not None and now - sampled >= every:
            sampled = now
            await asyncio.to_thread(watched.sample)
        if reloads and now - reloaded >= RELOAD_EVERY:
            reloaded = now
            os.kill(watched.pid, signal.SIGHUP)
    if tasks:
        await asyncio.wait(tasks)
    await asyncio.sleep(SETTLED)


def slope(samples: list[dict[str, float]], name: str) -> tuple[float, float]:
    """How much more of ``name`` there is in each hour, and by how much (1.96 standard errors) that
    may be wrong. Neighbours are alike, so that it may be wrong by more."""
    hours = [one["at"] / 3600 for one in samples]
    values = [one[name] for one in samples]
    line = statistics.linear_regression(hours, values)
    rest = [value - line.intercept - line.slope * hour for hour, value in zip(hours, values, strict=True)]
    spread = sum((hour - statistics.fmean(hours)) ** 2 for hour in hours)
    error = math.sqrt(sum(one * one for one in rest) / max(len(rest) - 2, 1) / spread)
    return line.slope, 1.96 * error


def judged(
    watched: Watched, mix: Mix, before: dict[str, object], after: dict[str, object]
) -> tuple[str, list[str]]:
    """A table of what was and is held, and what is wrong."""
    broken = []
    rows = [["what", "after the warm-up", "after the run", "slope per hour under load", "may be wrong by"]]
    under_load = [one for one in watched.samples if before["at"] < one["at"] < after["at"]]  # type: ignore[operator]
    under_load = under_load[len(under_load) // 3 :]  # first it fills again what was given back
    long = len(under_load) > 3 and under_load[-1]["at"] - under_load[0]["at"] > LONG_ENOUGH
    for name in MEASURED:
        was, now = float(str(before[name])), float(str(after[name]))
        hourly, error = slope(under_load, name) if len(under_load) > 3 else (0.0, 0.0)
        rows.append([name, number(was), number(now), number(hourly), number(error)])
        if name in GROWTH and now - was > GROWTH[name]:
            broken.append(f"{name}: {number(now - was)} more than after the warm-up")
        if long and name in SLOPES and hourly - error > SLOPES[name]:
            broken.append(f"{name}: {number(hourly)} more in each hour")
    if after["open requests"]:
        broken.append(f"{after['open requests']} requests are still open")
    broken += [f"log: {line}" for line in watched.errors()[:10]]
    broken += mix.wrong
    return table(rows), broken


def grown(before: dict[str, object], after: dict[str, object]) -> list[list[str]]:
    """The types of which there are more objects, those with the most first."""
    was, now = before["kinds"], after["kinds"]
    assert isinstance(was, dict)
    assert isinstance(now, dict)
    more = {name: count - was.get(name, 0) for name, count in now.items()}
    most = sorted(more, key=lambda name: -more[name])[:8]
    return [["objects of type", "after the warm-up", "more after the run"]] + [
        [name, number(was.get(name, 0)), number(more[name])] for name in most if more[name] > 0
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of load, the warm-up included")
    parser.add_argument("--rate", type=float, default=8.0, help="new clients a second")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between a provider's chunks")
    parser.add_argument("--seed", type=int, default=1, help="of the clients' choices")
    parser.add_argument("--log", type=Path, help="keep the gateway's log there")
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("memory and descriptors are read from /proc, which Linux has")
    seconds = options.minutes * 60
    warm_up = min(seconds / 4, 180.0)
    with simulators(options.pace) as (provider, base_urls), gateway(base_urls) as watched:
        mix = Mix(watched.port, options.seed)
        asyncio.run(load(mix, watched, options.rate, warm_up, None))
        before = watched.sample(quiet=True)
        pids = (watched.pid, provider, os.getpid())
        begun, used = time.monotonic(), [cpu_seconds(pid) for pid in pids]
        asyncio.run(load(mix, watched, options.rate, seconds - warm_up, options.every))
        took = time.monotonic() - begun
        cpu = [(cpu_seconds(pid) - then) / took for pid, then in zip(pids, used, strict=True)]
        after = watched.sample(quiet=True)
        report, broken = judged(watched, mix, before, after)
        if options.log:
            options.log.write_bytes(watched.log.read_bytes())
    print(report + "\n\n" + table(grown(before, after)))
    kinds = sorted(mix.results.items())
    print("\n" + table([["client", "became", "times"], *([kind, word, str(n)] for (kind, word), n in kinds)]))
    print(f"\nRSS at most: {number(max(one['RSS KiB'] for one in watched.samples))} KiB")
    print(f"cores: gateway {cpu[0]:.2f}, providers {cpu[1]:.2f}, clients {cpu[2]:.2f}")
    for line in broken:
        print(f"broken: {line}")
    print("broken" if broken else "nothing was left behind")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
