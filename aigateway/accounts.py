"""The accounts of one provider: which to ask, and which to leave alone for now.

The clock is passed in to every call, as monotonic seconds, and errors as what they are;
asking, refreshing tokens and giving up are the executor's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from hashlib import blake2b
from random import random
from typing import Literal, NamedTuple, TypeVar

import msgspec

from .circuit import Circuit
from .config import Account, Retries
from .errors import (
    AccountExhausted,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)

V = TypeVar("V")

BUSY_REST = 1.0
MAX_BUSY_REST = 600.0
EXHAUSTED_REST = 3600.0
MAX_REST = 366 * 86400.0
"""A stated quota reset is waited for to its end, but none is further away than that."""
REFUSED_REST = 60.0
MAX_MODELS = 1024
"""Models of an account that anything is remembered for: clients name them."""

FAULTS = (UpstreamFailed, UpstreamUnreachable, UpstreamSilent, UpstreamTruncated, UpstreamGarbled)
"""Errors that speak against the account or its provider, and not of quota, credential or request."""


class AccountState(msgspec.Struct, frozen=True):
    """An account as the stats show it. ``seconds`` is how long it rests yet, ``reason`` the
    kind of error, ``models`` how many models it rests for although it is ready for others,
    ``ejected`` how many it is left alone for because it failed at them."""

    name: str
    state: Literal["ready", "resting", "set_aside"]
    seconds: float | None = None
    reason: str | None = None
    models: int = 0
    ejected: int = 0


class _Rest(msgspec.Struct, frozen=True):
    until: float
    reason: str


class _Health:
    """What is known of one account. Pools of successive configurations share it."""

    def __init__(self) -> None:
        self.rest = _Rest(-math.inf, "")
        self.model_rests: dict[str, _Rest] = {}
        self.circuits: dict[str, Circuit] = {}
        self.refused: str | None = None
        self.share_used = 0.0  # in virtual time, see `AccountPool.asked`
        self.asked_last = -1

    def wait(self, model: str, now: float) -> float | None:
        """Seconds until it may be asked for ``model``; None while it is set aside."""
        if self.refused is not None:
            return None
        until = self.rest.until
        of_model = self.model_rests.get(model)
        if of_model is not None and of_model.until > until:
            until = of_model.until
        return max(until - now, 0.0)

    def ejected(self, model: str, now: float) -> bool:
        circuit = self.circuits.get(model)
        return circuit is not None and not circuit.allows(now)


class Choice(NamedTuple):
    """Accounts in the order to ask them; and those that were ejected, for when nobody else is left."""

    ready: list[Account]
    ejected: list[Account]


class AccountPool:
    """Accounts by their weight, then the one that was asked longest ago; without those that rest,
    are ejected or are set aside.

    A rest is for a time, for one model or for all; a later, shorter one never ends an earlier. An
    account is ejected for a model that it failed at again and again (`aigateway.circuit`), and set
    aside when its credential was refused, until that changes.
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        settings: Retries | None = None,
        *,
        chance: Callable[[], float] = random,
        previous: AccountPool | None = None,
    ) -> None:
        """``previous``: of an account that it had, with the same credential, the health is kept."""
        self._settings = settings or Retries()
        self._chance = chance
        self._virtual = 0.0
        self._asked = 0
        known = {} if previous is None else {_identity(one): health for one, health in previous._members}
        if previous is not None:
            self._virtual, self._asked = previous._virtual, previous._asked
        self._members: tuple[tuple[Account, _Health], ...] = tuple(
            (one, known.get(_identity(one)) or _Health()) for one in accounts
        )
        self._by_name = {account.name: health for account, health in self._members}
        self._weights = {account.name: account.weight for account in accounts}

    def choose(self, model: str, now: float, session: bytes | None = None) -> Choice:
        """The accounts that may be asked for ``model``. The conversation ``session`` is
        given the same order each time, as long as the same ones are ready."""
        found = Choice([], [])
        rows = [row for row in self._members if row[1].wait(model, now) == 0]
        if len(rows) > 1:
            rows.sort(key=self._turn if session is None else lambda row: _affinity(row[0], session))
        for account, health in rows:
            (found.ejected if health.ejected(model, now) else found.ready).append(account)
        return found

    def allows(self, name: str, model: str, now: float) -> bool:
        """Whether account ``name`` is one of those that are ready for ``model``."""
        health = self._by_name[name]
        return health.wait(model, now) == 0 and not health.ejected(model, now)

    def earliest(self, model: str, now: float) -> float | None:
        """In how many seconds the first account may be asked for ``model`` (0: now); None
        when all are set aside."""
        waits = [health.wait(model, now) for _, health in self._members]
        return min((wait for wait in waits if wait is not None), default=None)

    # ------------------------------------------------------------ what happened

    def asked(self, name: str, model: str, now: float) -> None:
        """Account ``name`` is asked for ``model``.

        Shares by weight are kept in virtual time (start-time fair queueing): each request takes
        1 / weight of it, and an account that comes back from a rest begins at the present, so
        that it need not catch up.
        """
        health = self._by_name[name]
        self._virtual = max(self._virtual, health.share_used)
        health.share_used = self._virtual + 1 / self._weights[name]
        self._asked += 1
        health.asked_last = self._asked
        if (circuit := health.circuits.get(model)) is not None:
            circuit.asked(now)

    def begun(self, name: str, model: str) -> None:
        """The answer has begun."""
        if (circuit := self._by_name[name].circuits.get(model)) is not None:
            circuit.begun()

    def answered(self, name: str, model: str) -> None:
        """The answer was whole."""
        circuits = self._by_name[name].circuits
        if model in circuits:
            del circuits[model]

    def released(self, name: str, model: str) -> None:
        """The attempt has been given up for a reason that is not the account's."""
        if (circuit := self._by_name[name].circuits.get(model)) is not None:
            circuit.released()

    def note(self, name: str, model: str, error: UpstreamError, now: float) -> None:
        """Draw the consequence of what happened when account ``name`` was asked for ``model``."""
        match error:
            case UpstreamBusy(scope="model" | "account"):
                seconds = _stated(error.retry_after, BUSY_REST)
                if not error.reset:
                    seconds = min(seconds, MAX_BUSY_REST)
                self.rest(name, model if error.scope == "model" else None, seconds, now, error.kind)
            case AccountExhausted(scope="model" | "account"):
                seconds = _stated(error.retry_after, EXHAUSTED_REST)
                self.rest(name, model if error.scope == "model" else None, seconds, now, error.kind)
            case UpstreamUnauthorized(token_expired=False, scope="model"):
                self.rest(name, model, REFUSED_REST, now, error.kind)
            case UpstreamUnauthorized(token_expired=False):
                self._by_name[name].refused = error.kind
        if isinstance(error, FAULTS) or (isinstance(error, UpstreamBusy) and error.overloaded):
            self._failed(name, model, now)
        elif isinstance(error, UpstreamRefused):  # it looked at the request: it is well
            self.answered(name, model)
        else:
            self.released(name, model)

    def rest(self, name: str, model: str | None, seconds: float, now: float, reason: str) -> None:
        """Leave account ``name`` alone for ``seconds``: for ``model``, or for all where it is None."""
        rest = _Rest(now + seconds, reason)
        health = self._by_name[name]
        if model is None:
            if health.rest.until < rest.until:
                health.rest = rest
            return
        rests = health.model_rests
        if model not in rests or rests[model].until < rest.until:
            rests[model] = rest
            if len(rests) > MAX_MODELS:
                # What it costs to forget one is a request too early.
                health.model_rests = _latest(rests, lambda rest: rest.until, now)

    def describe(self, now: float) -> list[AccountState]:
        """Every account, in the order of the configuration."""
        return [_described(account.name, health, now) for account, health in self._members]

    def _turn(self, row: tuple[Account, _Health]) -> tuple[float, int]:
        health = row[1]
        return max(health.share_used, self._virtual), health.asked_last

    def _failed(self, name: str, model: str, now: float) -> None:
        circuits = self._by_name[name].circuits
        if model not in circuits:
            if len(circuits) >= MAX_MODELS:
                kept = _latest(circuits, lambda circuit: circuit.until or -math.inf, now)
                circuits.clear()
                circuits.update(kept)
            circuits[model] = Circuit()
        others = sum(health.ejected(model, now) for other, health in self._by_name.items() if other != name)
        ceiling = max(1, int(self._settings.eject_share * len(self._members)))
        circuits[model].failed(self._settings, now, self._chance(), may_eject=others < ceiling)


def _described(name: str, health: _Health, now: float) -> AccountState:
    models = sum(rest.until > now for rest in health.model_rests.values())
    ejected = sum(not circuit.allows(now) for circuit in health.circuits.values())
    if health.refused is not None:
        return AccountState(name, "set_aside", None, health.refused, models, ejected)
    if health.rest.until > now:
        return AccountState(name, "resting", health.rest.until - now, health.rest.reason, models, ejected)
    return AccountState(name, "ready", models=models, ejected=ejected)


def _identity(account: Account) -> Account:
    """What makes it the same account, whatever its share."""
    return msgspec.structs.replace(account, weight=1)


def _affinity(account: Account, session: bytes) -> float:
    """Where an account stands for a conversation: weighted rendezvous hashing, so that one that
    comes or goes moves no more conversations than those that it takes or leaves."""
    digest = blake2b(account.name.encode() + b"\0" + session, digest_size=8).digest()
    drawn = (int.from_bytes(digest) + 1) / (2**64 + 1)
    return -math.log(drawn) / account.weight


def _latest(found: dict[str, V], until: Callable[[V], float], now: float) -> dict[str, V]:
    """Those whose time has not come; and where there are still too many, those whose comes last,
    down to half, so that a flood of names is not sorted again at each."""
    current = [item for item in found.items() if until(item[1]) > now]
    if len(current) > MAX_MODELS:
        current = sorted(current, key=lambda item: until(item[1]))[-MAX_MODELS // 2 :]
    return dict(current)


def _stated(seconds: float | None, default: float) -> float:
    """The seconds that a provider stated, if they can be believed."""
    if seconds is None or not 0 <= seconds < math.inf:
        return default
    return min(seconds, MAX_REST)
