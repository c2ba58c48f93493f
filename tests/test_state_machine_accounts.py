"""Any order of requests, failures, rests and time, and what an account pool may make of it.

As `tests.test_state_machines`, without a gateway: the pool beside a plain book of who rests.
"""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aigateway.accounts import BUSY_REST, EXHAUSTED_REST, MAX_BUSY_REST, MAX_REST, REFUSED_REST, AccountPool
from aigateway.config import Account, Retries
from aigateway.errors import (
    AccountExhausted,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamUnauthorized,
)
from aigateway.secret import Secret

from .test_state_machines import FEW

MODELS = ("a", "b")
WAITS = (None, 0.0, 0.5, 3.0, 700.0, 1e12, -1.0, math.inf, math.nan)
"""What a provider may say of how long to wait, true or not."""
some = st.integers(0, 3)


def account(number: int, *, weight: int = 1, key: str = "") -> Account:
    return Account(name=f"account-{number}", weight=weight, api_key=Secret(f"sk-secret-{number}{key}"))


class Pools(RuleBasedStateMachine):
    """One pool, asked for two models."""

    @initialize(
        weights=st.lists(st.integers(1, 3), min_size=1, max_size=4),
        share=st.sampled_from((0.0, 0.5, 1.0)),
        after=st.integers(0, 3),
    )
    def begin(self, weights: list[int], share: float, after: int) -> None:
        self.settings = Retries(eject_after=after, eject_for=5.0, max_eject=20.0, eject_share=share)
        self.accounts = [account(number, weight=weight) for number, weight in enumerate(weights)]
        self.pool = AccountPool(self.accounts, self.settings, chance=lambda: 0.5)
        self.now = 100.0
        self.renewals = 0
        self.rests: dict[tuple[str, str | None], float] = {}
        self.refused: set[str] = set()
        self.under_way: list[tuple[str, str]] = []

    # --------------------------------------------------------------- what happens

    @rule(model=st.sampled_from(MODELS), session=st.sampled_from((None, b"x", b"y")), which=some)
    def ask(self, model: str, session: bytes | None, which: int) -> None:
        """``which`` of those on offer: perhaps the first have been tried in vain."""
        choice = self.pool.choose(model, self.now, session)
        found = choice.ready or choice.ejected
        if found:
            name = found[which % len(found)].name
            self.pool.asked(name, model, self.now)
            self.under_way.append((name, model))

    def over(self, which: int) -> tuple[str, str] | None:
        return self.under_way.pop(which % len(self.under_way)) if self.under_way else None

    @rule(which=some, whole=st.booleans())
    def answer(self, which: int, whole: bool) -> None:
        if one := self.over(which):
            self.pool.begun(*one)
            if whole:
                self.pool.answered(*one)
            else:
                self.pool.released(*one)

    @rule(which=some)
    def fail(self, which: int) -> None:
        self.noted(which, UpstreamFailed("x"))

    @rule(which=some)
    def fail_at_once(self, which: int) -> None:
        self.ask("a", None, which)
        self.noted(-1, UpstreamFailed("x"))

    @rule(which=some, seconds=st.sampled_from(WAITS), reset=st.booleans(), whole=st.booleans())
    def be_busy(self, which: int, seconds: float | None, reset: bool, whole: bool) -> None:
        error = UpstreamBusy("x", retry_after=seconds, reset=reset, scope="account" if whole else "model")
        stated = _believed(seconds, BUSY_REST)
        self.noted(which, error, stated if reset else min(stated, MAX_BUSY_REST), whole=whole)

    @rule(which=some, seconds=st.sampled_from(WAITS))
    def be_exhausted(self, which: int, seconds: float | None) -> None:
        error = AccountExhausted("x", retry_after=seconds)
        self.noted(which, error, _believed(seconds, EXHAUSTED_REST), whole=True)

    @rule(which=some, whole=st.booleans())
    def refuse_the_key(self, which: int, whole: bool) -> None:
        error = UpstreamUnauthorized("x", scope="account" if whole else "model")
        name = self.noted(which, error, 0.0 if whole else REFUSED_REST)
        if name and whole:
            self.refused.add(name)

    def noted(
        self, which: int, error: UpstreamError, rest: float = 0.0, *, whole: bool = False
    ) -> str | None:
        """Tell the pool of ``error``, and the book that ``rest`` seconds follow from it."""
        if (one := self.over(which)) is None:
            return None
        name, model = one
        self.pool.note(name, model, error, self.now)
        place = name, None if whole else model
        self.rests[place] = max(self.rests.get(place, 0.0), self.now + rest)
        return name

    @rule(seconds=st.sampled_from((0.1, 1.0, 4.0, 7.0, 61.0, 700.0, 4000.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=some, renewed=st.booleans())
    def reload(self, which: int, renewed: bool) -> None:
        """A new configuration: the same accounts, one of them perhaps with another key."""
        if renewed and not self.under_way:
            place = which % len(self.accounts)
            self.renewals += 1
            changed = account(place, key=f"-{self.renewals}")
            self.accounts[place] = changed
            self.refused.discard(changed.name)
            self.rests = {key: until for key, until in self.rests.items() if key[0] != changed.name}
        self.pool = AccountPool(self.accounts, self.settings, chance=lambda: 0.5, previous=self.pool)

    # ------------------------------------------------------------------ what holds

    def wait_of(self, name: str, model: str) -> float | None:
        """By the book."""
        if name in self.refused:
            return None
        until = max(self.rests.get((name, None), 0.0), self.rests.get((name, model), 0.0))
        return max(until - self.now, 0.0)

    @invariant()
    def only_the_rested_are_asked(self) -> None:
        """Offered are exactly those that neither rest nor are set aside, each once."""
        for model in MODELS if hasattr(self, "pool") else ():
            for session in (None, b"x"):
                choice = self.pool.choose(model, self.now, session)
                names = [one.name for one in (*choice.ready, *choice.ejected)]
                expected = [one.name for one in self.accounts if self.wait_of(one.name, model) == 0]
                assert sorted(names) == sorted(expected), (names, expected)

    @invariant()
    def the_wait_is_honest(self) -> None:
        """The earliest time is when the first of them is back, and none where none will be."""
        for model in MODELS if hasattr(self, "pool") else ():
            waits = [self.wait_of(one.name, model) for one in self.accounts]
            known = [wait for wait in waits if wait is not None]
            assert self.pool.earliest(model, self.now) == (min(known) if known else None)

    @invariant()
    def no_more_than_a_share_is_ejected(self) -> None:
        """However many fail, no more are left alone than the configured share, or one."""
        for model in MODELS if hasattr(self, "pool") else ():
            ceiling = max(1, int(self.settings.eject_share * len(self.accounts)))
            probed = {name for name, of in self.under_way if of == model}
            found = self.pool.choose(model, self.now).ejected
            ejected = len([one for one in found if one.name not in probed])
            assert ejected <= ceiling, f"{ejected} ejected of {len(self.accounts)}"
            assert self.settings.eject_after or not ejected

    @invariant()
    def what_is_shown_is_so(self) -> None:
        """The stats say of each account what the book says."""
        for state in self.pool.describe(self.now) if hasattr(self, "pool") else ():
            if state.name in self.refused:
                assert state.state == "set_aside"
            else:
                resting = self.rests.get((state.name, None), 0.0) > self.now
                assert state.state == ("resting" if resting else "ready")
            assert state.seconds is None or 0 <= state.seconds <= MAX_REST


def _believed(seconds: float | None, default: float) -> float:
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return default
    return min(seconds, MAX_REST)


TestPools = Pools.TestCase
TestPools.settings = FEW
