"""What Linux tells about processes, and on which cores they run.

CPU is user and system time together, from ``/proc/PID/stat`` (proc(5)): the kernel counts it
exactly and shows it in ticks of 10 ms, so that a window of seconds is needed. Memory is PSS,
from ``/proc/PID/smaps_rollup``: each shared page counts in proportion. What sockets hold in
the kernel is in neither.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TICKS = os.sysconf("SC_CLK_TCK")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Reading:
    """The CPU seconds used so far, at one moment: by the gateway, by the benchmark's own
    processes, by all processes of the machine, and by the host for other machines. Interrupts
    are in none of them: over loopback, they are mostly ours."""

    at: float
    gateway: float
    harness: float
    machine: float
    steal: float


def reading(gateway: int, *harness: int) -> Reading:
    """A reading now; processes are named by their id."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _, _, _, _, steal = (int(ticks) / TICKS for ticks in line.split()[1:9])
    return Reading(
        at=time.monotonic(),
        gateway=cpu_seconds(gateway),
        harness=sum(map(cpu_seconds, harness)),
        machine=user + nice + system,
        steal=steal,
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss")


def cores() -> tuple[set[int], set[int]]:
    """The core for the gateway and those for the rest; the same one where there is but one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


@contextmanager
def running(
    command: list[str],
    cores: set[int],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    output: IO[bytes] | int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on ``cores``, which is gone when the block ends, however it ends. Ctrl-C does
    not reach it: it is stopped by its turn."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def refuse_taken(port: int) -> None:
    """Exit where something listens on ``port`` already: it would be measured instead of ours."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise SystemExit(f"something already listens on port {port}; name another one")


def allow_files(count: int) -> None:
    """Let this process and its children open ``count`` files, or exit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise SystemExit(f"{count} open files are needed and {hard} allowed (ulimit -Hn): fewer --streams")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
