"""What a hedge buys, and what it costs: the time to the first token at a target of which some answers
are slow, with and without `hedge`.

    python -m benchmarks.hedging [--requests N] [--seed N]

The gateway is the real one, on the tests' network in memory: the times are the clock's, exact and
the same on any machine. First tokens take 0.3 to 0.8 s, three in a hundred 10 s more.
"""

from __future__ import annotations

import argparse
import random
import sys

from aigateway.config import Route, Target
from tests.fakes import DONE, STOP, Asked, FakeProvider, GatewayTestCase, chat, chunk, config, provider

FIRST, SECOND = 9011, 9012
SLOW = 0.03
HEDGE = 0.05
AT_MOST = 3.0
"""Seconds that the 99th percentile may take with the hedge."""


class Slow(FakeProvider):
    """A provider whose first tokens take what chance says."""

    def __init__(self, case: GatewayTestCase, chance: random.Random) -> None:
        super().__init__()
        self._case = case
        self._chance = chance

    def render(self, request: object) -> int:
        result = super().render(request)
        seconds = self._chance.uniform(0.3, 0.8) + 10 * (self._chance.random() < SLOW)
        self._case.network.callLater(seconds, self._answer, self.asked[-1])
        return result

    @staticmethod
    def _answer(asked: Asked) -> None:
        if not asked.left:
            asked.head()
            asked.finish(chunk("hello"), STOP, DONE)


class Requests(GatewayTestCase):
    def runTest(self) -> None:
        """Not a test of the suite: what `GatewayTestCase` wants to be made."""

    def run_requests(self, count: int, seed: int, hedge: float) -> tuple[list[float], int]:
        """The times to the first token, in order, and how many calls there were."""
        chance = random.Random(seed)  # noqa: S311
        both = Slow(self, chance), Slow(self, chance)
        for port, one in zip((FIRST, SECOND), both, strict=True):
            self.serve(one, port)
        route = Route(model="fast", targets=(Target("first", "m"), Target("second", "m")), hedge=hedge)
        self.start(config(provider("first", port=FIRST), provider("second", port=SECOND), routes=(route,)))
        times = []
        for _ in range(count):
            client = self.ask(chat(model="fast"))
            self.advance(20.0)
            assert client.answer().whole
            outcome = self.outcomes[-1]
            assert outcome.ttfb is not None
            times.append(outcome.ttfb)
            client.leave()
            self.network.joined[:] = [ends for ends in self.network.joined if not ends[0].lost]
            for one in both:
                one.asked[:-1] = []
        calls = self.stats.stats.totals.attempts
        return sorted(times), calls


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hedging")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{options.requests} requests, seconds to the first token")
    print(f"{'hedge':>6} {'p50':>6} {'p95':>6} {'p99':>6} {'max':>6}  calls per request")
    broken = False
    for hedge in (0.0, HEDGE):
        case = Requests()
        case.setUp()
        times, calls = case.run_requests(options.requests, options.seed, hedge)
        case.doCleanups()
        p50, p95, p99 = (times[int(len(times) * share)] for share in (0.5, 0.95, 0.99))
        extra = calls / options.requests
        print(f"{hedge:6.2f} {p50:6.2f} {p95:6.2f} {p99:6.2f} {times[-1]:6.2f}  {extra:.3f}")
        broken = broken or extra > 1 + hedge or (hedge > 0 and p99 > AT_MOST)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
