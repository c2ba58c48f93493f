"""The accounts of one provider: which to ask, and which to leave alone for now.

The clock is passed in to every call, as monotonic seconds, and errors as what they are;
asking, refreshing tokens and giving up are the executor's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from .config import Account
from .errors import AccountExhausted, UpstreamBusy, UpstreamError, UpstreamUnauthorized

BUSY_REST = 1.0
MAX_BUSY_REST = 600.0
EXHAUSTED_REST = 3600.0
MAX_REST = 366 * 86400.0
"""A stated quota reset is waited for to its end, but none is further away than that."""
REFUSED_REST = 60.0
MAX_MODEL_RESTS = 1024


class AccountState(msgspec.Struct, frozen=True):
    """An account as the stats show it. ``seconds`` is how long it rests yet, ``reason`` the
    kind of error, ``models`` how many models it rests for although it is ready for others."""

    name: str
    state: Literal["ready", "resting", "set_aside"]
    seconds: float | None = None
    reason: str | None = None
    models: int = 0


class _Rest(msgspec.Struct, frozen=True):
    until: float
    reason: str


class AccountPool:
    """Accounts in turn, without those that rest or are set aside.

    A rest is for a time, for one model or for all; an account is set aside when its
    credential was refused, for the life of the pool. A later, shorter rest never ends an earlier one.
    """

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._accounts = tuple(accounts)
        self._turn = 0
        self._rests: dict[str, _Rest] = {}
        self._model_rests: dict[tuple[str, str], _Rest] = {}
        self._set_aside: dict[str, str] = {}

    def choose(self, model: str, now: float) -> list[Account]:
        """The accounts that may be asked for ``model``, in the order to try them; each call
        begins one further, so that they share the work."""
        available = self.ready(model, now)
        self._turn += bool(available)
        return available

    def ready(self, model: str, now: float) -> list[Account]:
        """What `choose` would give now; nothing moves on."""
        available = [account for account in self._accounts if self._wait(account.name, model, now) == 0]
        start = self._turn % len(available) if available else 0
        return available[start:] + available[:start]

    def earliest(self, model: str, now: float) -> float | None:
        """In how many seconds the first account may be asked for ``model`` (0: now); None
        when all are set aside."""
        waits = [self._wait(account.name, model, now) for account in self._accounts]
        return min((wait for wait in waits if wait is not None), default=None)

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
                self._set_aside[name] = error.kind

    def rest(self, name: str, model: str | None, seconds: float, now: float, reason: str) -> None:
        """Leave account ``name`` alone for ``seconds``: for ``model``, or for all where it is None."""
        rest = _Rest(now + seconds, reason)
        if model is None:
            if name not in self._rests or self._rests[name].until < rest.until:
                self._rests[name] = rest
            return
        key = (name, model)
        if key not in self._model_rests or self._model_rests[key].until < rest.until:
            self._model_rests[key] = rest
            if len(self._model_rests) > MAX_MODEL_RESTS:
                self._purge(now)

    def describe(self, now: float) -> list[AccountState]:
        """Every account, in the order of the configuration."""
        return [self._describe(account.name, now) for account in self._accounts]

    def _describe(self, name: str, now: float) -> AccountState:
        models = sum(owner == name and rest.until > now for (owner, _), rest in self._model_rests.items())
        if reason := self._set_aside.get(name):
            return AccountState(name, "set_aside", None, reason, models)
        rest = self._rests.get(name)
        if rest is not None and rest.until > now:
            return AccountState(name, "resting", rest.until - now, rest.reason, models)
        return AccountState(name, "ready", models=models)

    def _wait(self, name: str, model: str, now: float) -> float | None:
        """Seconds until account ``name`` may be asked for ``model``; None while it is set aside."""
        if name in self._set_aside:
            return None
        rests = (self._rests.get(name), self._model_rests.get((name, model)))
        return max((rest.until - now for rest in rests if rest is not None and rest.until > now), default=0)

    def _purge(self, now: float) -> None:
        """Forget the rests that are over; and, since clients name the models, those that end
        first where there are still too many: what it costs is one request too early."""
        current = [item for item in self._model_rests.items() if item[1].until > now]
        if len(current) > MAX_MODEL_RESTS:
            current.sort(key=lambda item: item[1].until)
            # Down to half, so that a flood of names is not sorted again at each.
            current = current[-MAX_MODEL_RESTS // 2 :]
        self._model_rests = dict(current)


def _stated(seconds: float | None, default: float) -> float:
    """The seconds that a provider stated, if they can be believed."""
    if seconds is None or not 0 <= seconds < math.inf:
        return default
    return min(seconds, MAX_REST)
