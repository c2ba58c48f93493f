"""Ten accounts with windows of five hours, for a simulated day: how many requests are served,
beside an oracle that knows every account's quota, and how many calls come to nothing.

    python -m benchmarks.pool [--seed N] [--load SHARE]

The gateway is the real one, on the tests' network in memory, where a day takes half a minute.
The provider answers as GLM does: an account whose window is used up says until when
(code 1308); now and then it says 429 although there is quota left (1302, 1305), or answers 200 with an
error in it (1234); and some requests are refused for what is in them (1261). Everything is drawn
from a seed. The oracle knows what is left of each quota and which call would fail, and never makes
that one; of several ways to spend the quotas it is given the best.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aigateway.config import Account, Config, Provider, Retries
from aigateway.secret import Secret
from tests.fakes import EPOCH, GatewayTestCase, chat, whole_reply

WINDOW = 5 * 3600.0
DAY = 24 * 3600.0
PORT = 9011
ACCOUNTS = 10
QUOTA = 120
"""Requests in a window of an account."""
FALSE_BUSY = 0.02
ERROR_IN_200 = 0.01
REFUSED = 0.005
TOO_LONG = b"far too long"
SERVED_AT_LEAST = 0.97
"""Of what the oracle serves."""
WASTED_AT_MOST = 0.06
"""Calls that came to nothing, of all calls."""


class Quotas:
    """What each account has left: a window opens with the first request, and closes after `WINDOW`."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._left: dict[str, int] = {}

    def left(self, account: str, now: float) -> int:
        return self._left[account] if now < self._ends.get(account, -math.inf) else QUOTA

    def take(self, account: str, now: float) -> None:
        left = self.left(account, now)
        if now >= self._ends.get(account, -math.inf):
            self._ends[account] = now + WINDOW
        self._left[account] = left - 1

    def reset(self, account: str) -> float:
        return self._ends[account]


class GLM(Resource):
    """The provider."""

    isLeaf = True

    def __init__(self, case: GatewayTestCase, chance: random.Random) -> None:
        super().__init__()
        self._case = case
        self._chance = chance
        self.quotas = Quotas()
        self.calls: Counter[str] = Counter()

    def render(self, request: Any) -> int:
        account = request.getHeader("authorization").removeprefix("Bearer ")
        too_long = TOO_LONG in request.content.read()
        status, body = self._answer(account, too_long, self._case.network.seconds())
        request.setResponseCode(status)
        request.setHeader("content-type", "application/json")
        request.setHeader("content-length", str(len(body)))
        request.write(body)
        request.finish()
        return NOT_DONE_YET

    def _answer(self, account: str, too_long: bool, now: float) -> tuple[int, bytes]:
        if not self.quotas.left(account, now):
            self.calls["exhausted"] += 1
            at = datetime.fromtimestamp(EPOCH + self.quotas.reset(account), UTC) + timedelta(
                hours=8, seconds=1
            )
            return 429, _error("1308", f"您的限额将在 {at:%Y-%m-%d %H:%M:%S} 重置")
        drawn = self._chance.random()
        if drawn < FALSE_BUSY:
            self.calls["false 429"] += 1
            return 429, _error(self._chance.choice(("1302", "1305")), "请求过多")
        if drawn < FALSE_BUSY + ERROR_IN_200:
            self.calls["error in 200"] += 1
            return 200, _error("1234", "网络错误")
        if too_long:
            self.calls["refused"] += 1
            return 400, _error("1261", "Prompt 超长")
        self.quotas.take(account, now)
        self.calls["served"] += 1
        return 200, whole_reply("hello")


def _error(code: str, message: str) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": message}})


class Day(GatewayTestCase):
    """One simulated day. ``load`` is the demand as a share of what the accounts can serve."""

    def runTest(self) -> None:
        """Not a test of the suite: what `GatewayTestCase` wants to be made."""

    def run_day(self, seed: int, load: float) -> tuple[Counter[str], Counter[str], int]:
        """The client's statuses, the provider's calls, and what the oracle served."""
        chance = random.Random(seed)  # noqa: S311
        provider = GLM(self, random.Random(seed + 1))  # noqa: S311
        self.serve(provider, PORT)
        accounts = tuple(Account(name=f"a{n}", api_key=Secret(f"a{n}")) for n in range(ACCOUNTS))
        glm = Provider(
            name="glm",
            kind="glm",
            base_urls=(f"http://127.0.0.1:{PORT}/v4",),
            accounts=accounts,
            models=("glm-4",),
        )
        self.start(Config(providers={"glm": glm}, retries=Retries()))
        oracles = {policy: Quotas() for policy in POLICIES}
        oracle_served: Counter[Policy] = Counter()
        statuses: Counter[str] = Counter()
        for pause in arrivals(chance, load):
            self.advance(pause)
            now = self.network.seconds()
            refused = chance.random() < REFUSED
            text = TOO_LONG.decode() if refused else "Count to 5"
            client = self.ask(chat(text, model="glm-4", stream=False))
            self.advance(0)
            statuses[str(client.answer().status)] += 1
            client.leave()
            self.network.joined[:] = [ends for ends in self.network.joined if not ends[0].lost]
            for policy, oracle in oracles.items():
                free = [one.name for one in accounts if oracle.left(one.name, now)]
                if refused or free:
                    oracle_served[policy] += 1
                if free and not refused:
                    oracle.take(policy(oracle, free, now), now)
        return statuses, provider.calls, max(oracle_served.values())


Policy = Callable[[Quotas, list[str], float], str]
POLICIES: tuple[Policy, ...] = (
    lambda quotas, free, now: free[0],
    lambda quotas, free, now: max(free, key=lambda account: quotas.left(account, now)),
    lambda quotas, free, now: min(free, key=lambda account: quotas.left(account, now)),
)
"""How an oracle may spend the quotas: one account after the other, evenly, or what is begun first."""


def arrivals(chance: random.Random, load: float) -> list[float]:
    """The pauses between the requests of a day: at random, twice as many at noon as at midnight."""
    mean = load * ACCOUNTS * QUOTA / WINDOW
    now = last = 0.0
    pauses: list[float] = []
    while True:
        now += chance.expovariate(mean * 1.5)
        if now >= DAY:
            return pauses
        rate = 1 - 0.5 * math.cos(2 * math.pi * now / DAY)
        if chance.random() < rate / 1.5:
            pauses.append(now - last)
            last = now


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pool")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", type=float, default=0.9, help="demand, as a share of the quotas (0.9)")
    options = parser.parse_args()
    day = Day()
    day.setUp()
    statuses, calls, oracle = day.run_day(options.seed, options.load)
    day.doCleanups()
    total = calls.total()
    # A refusal is the request's own fault: nobody could have served it, and it was no waste.
    served, wasted = statuses["200"] + statuses["400"], total - calls["served"] - calls["refused"]
    print(f"{statuses.total()} requests in a day at {ACCOUNTS} accounts of {QUOTA} requests in 5 hours")
    print(f"answers: {dict(statuses)}; calls: {dict(calls)}")
    print(f"served beside the oracle: {served} of {oracle} ({served / oracle:.1%})")
    print(f"calls that came to nothing: {wasted} of {total} ({wasted / total:.1%})")
    return int(served < SERVED_AT_LEAST * oracle or wasted > WASTED_AT_MOST * total)


if __name__ == "__main__":
    sys.exit(main())
