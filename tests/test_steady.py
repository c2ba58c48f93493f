"""What the clock that somebody sets does to a reactor: nothing."""

from __future__ import annotations

import subprocess
import sys
import time
import unittest

from twisted.internet.base import DelayedCall

from aigateway.steady import keep_steady

from .gateway_process import PATIENCE, ROOT

SERVICE = """
import time
from twisted.internet import reactor
from aigateway.tap import Options, makeService
options = Options()
options.parseOptions(["--demo"])
makeService(options)
before = time.monotonic()
assert before <= reactor.seconds() <= time.monotonic(), reactor.seconds()
"""


class Reactor:
    """As much of one as has to do with time; it goes by a clock that is ahead of the monotonic one."""

    def __init__(self) -> None:
        self.calls: list[DelayedCall] = []

    def seconds(self) -> float:
        return time.monotonic() + 1e9

    def callLater(self, delay: float) -> DelayedCall:
        call: DelayedCall = DelayedCall(
            self.seconds() + delay, len, ((),), {}, self.calls.remove, lambda _: None, self.seconds
        )
        self.calls.append(call)
        return call

    def getDelayedCalls(self) -> list[DelayedCall]:
        return self.calls


class KeepSteady(unittest.TestCase):
    def test_what_is_planned(self) -> None:
        """What was planned before stays as far ahead as it was, and is put off by the same clock."""
        reactor = Reactor()
        call = reactor.callLater(100)
        keep_steady(reactor)
        self.assertAlmostEqual(call.getTime(), time.monotonic() + 100, delta=5)
        call.reset(200)
        self.assertAlmostEqual(call.getTime(), time.monotonic() + 200, delta=5)
        self.assertAlmostEqual(reactor.callLater(50).getTime(), time.monotonic() + 50, delta=5)


class TheService(unittest.TestCase):
    """On a real reactor, in a process of its own: this one's keeps its time."""

    def test_its_reactor(self) -> None:
        """The gateway's reactor goes by the monotonic clock."""
        subprocess.run([sys.executable, "-c", SERVICE], cwd=ROOT, check=True, timeout=PATIENCE)
