"""A gateway that can be looked into: ``python -m benchmarks.watched FILE twistd's arguments``.

``twistd`` as it is; at SIGUSR1 the process also writes to FILE, as a line of JSON, what only it
can know of itself: delayed calls, kept connections, threads, objects by their type. At SIGUSR2 the
C library first gives back to the system what it holds of memory that nobody uses.
"""

from __future__ import annotations

import ctypes
import gc
import json
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from twisted.scripts.twistd import run

MOST = 4000
"""Types that are told, the most frequent ones."""


def inside() -> dict[str, object]:
    """What the process holds, garbage collected first: cycles that nobody needs are no leak."""
    from twisted.internet import reactor

    from aigateway.agent import KeptConnections

    gc.collect()
    objects = gc.get_objects()
    kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in objects)
    pools = [one for one in objects if isinstance(one, KeptConnections)]
    return {
        "delayed calls": len(reactor.getDelayedCalls()),
        "kept connections": sum(len(kept) for pool in pools for kept in pool._connections.values()),
        "readers": len(reactor.getReaders()),
        "writers": len(reactor.getWriters()),
        "threads": threading.active_count(),
        "objects": len(objects),
        "kinds": dict(kinds.most_common(MOST)),
    }


def main() -> None:
    file = Path(sys.argv.pop(1))

    def tell(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR2:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(inside()))
        new.rename(file)

    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, tell)
    run()


if __name__ == "__main__":
    main()
