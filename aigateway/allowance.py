"""What each client's key may use: requests at a time, requests in a minute, tokens in a day.

Pure: the clocks are passed in. What has been used is `aigateway.ledger`'s to know, what a request is
refused with before it gets here `aigateway.admission`'s business.

Tokens are reserved before anybody is asked, and what was used is booked at the end: the sum of what
is booked and reserved never passes the limit by a request that begins. So a day's tokens are
over the limit by no more than what the requests that were under way at the last beginning used
beyond their own reservations: answers longer than ``max_tokens``, prompts that come to more than was
estimated, and further attempts at the same answer.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import msgspec

from .config import ClientKey
from .dialects.gemini.shapes import camel
from .errors import BudgetUnknown, LimitReached
from .estimate import prompt_tokens
from .events import ChatRequest
from .ledger import DAY, Ledger, day_of

MINUTE = 60.0
SOON, LONGEST = 1.0, 60.0
"""Seconds after which to come again when others of the same key have to end first: at least, where
nothing better is known, and at most."""
UNREAD_FOR = 5.0
"""Seconds after which to come again while what was used today cannot be read."""
RECENT = 0.2
"""The weight of the newest request in how long a key's requests take."""


class Taken(NamedTuple):
    """What a request under way has taken of its key's allowance."""

    client: _Client
    day: int
    tokens: int
    begun_at: float


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What a key has used of what it may; a limit of 0 is none. ``known``: all that was used today is.
    ``tokens_left`` is None without a limit."""

    active: int
    concurrency: int
    requests_in_minute: int
    requests_per_minute: int
    tokens_today: int
    tokens_reserved: int
    tokens_per_day: int
    tokens_left: int | None
    known: bool


class Allowances:
    """Who has taken what, by the names of the keys: so it outlives a configuration, whose keys say
    with each request what they may use. What a key without limits does is counted by nobody here."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._clients: dict[str, _Client] = {}

    def take(self, key: ClientKey, tokens: int, now: float, wall: float, *, fails_open: bool) -> Taken:
        """Let a request begin that may use so many ``tokens``; `give_back` must follow.

        Raises `LimitReached`; or, unless the budget ``fails_open``, `BudgetUnknown` where nobody can
        tell what the key has used today. ``now`` is by the monotonic clock, ``wall`` in Unix seconds.
        """
        client = self._clients.get(key.name)
        if client is None:
            client = self._clients[key.name] = _Client()
        if key.concurrency and client.active >= key.concurrency:
            raise LimitReached(
                f"this key may have {_count(key.concurrency, 'request')} under way at a time",
                retry_after=client.next_end(),
            )
        limit = key.requests_per_minute
        if limit and (wait := client.wait(limit, now)):
            raise LimitReached(f"this key may make {_count(limit, 'request')} in a minute", retry_after=wait)
        day = day_of(wall)
        if key.tokens_per_day:
            self._check_tokens(key, client, tokens, day, wall, fails_open)
            client.reserved[day] = client.reserved.get(day, 0) + tokens
        else:
            tokens = 0
        if limit:
            client.begun.append(now)
        client.active += 1
        return Taken(client, day, tokens, now)

    def give_back(self, taken: Taken, now: float) -> None:
        """The request is over, and what it used is booked before anybody else begins."""
        client, day, tokens, begun_at = taken
        client.active -= 1
        took = now - begun_at
        client.takes = took if client.takes is None else client.takes + RECENT * (took - client.takes)
        if tokens:
            left = client.reserved[day] - tokens
            if left:
                client.reserved[day] = left
            else:
                del client.reserved[day]

    def describe(self, key: ClientKey, now: float, wall: float) -> Allowed:
        """For ``GET /stats``."""
        day = day_of(wall)
        client = self._clients.get(key.name) or _Client()
        client.forget(now)
        spent, reserved = self._ledger.spent(key.name, day), client.reserved.get(day, 0)
        limit = key.tokens_per_day
        return Allowed(
            active=client.active,
            concurrency=key.concurrency,
            requests_in_minute=len(client.begun),
            requests_per_minute=key.requests_per_minute,
            tokens_today=spent,
            tokens_reserved=reserved,
            tokens_per_day=limit,
            tokens_left=max(limit - spent - reserved, 0) if limit else None,
            known=self._ledger.unknown != day,
        )

    def _check_tokens(
        self, key: ClientKey, client: _Client, tokens: int, day: int, wall: float, fails_open: bool
    ) -> None:
        limit, ledger = key.tokens_per_day, self._ledger
        tomorrow = (day + 1) * DAY - wall
        if ledger.unknown == day and not fails_open:
            raise BudgetUnknown(
                "what this key has used today cannot be told, since the gateway's state file "
                + ("was corrupt" if ledger.lost else "cannot be read"),
                retry_after=tomorrow if ledger.lost else min(UNREAD_FOR, tomorrow),
            )
        may_use = f"this request may use {tokens} (its prompt and its max_tokens)"
        if tokens > limit:  # tomorrow, too
            raise LimitReached(f"this key may use {_count(limit, 'token')} a day, and {may_use}")
        spent = ledger.spent(key.name, day)
        if spent + tokens > limit:
            raise LimitReached(
                f"this key has used {spent} of its {_count(limit, 'token')} a day (UTC), and {may_use}",
                retry_after=tomorrow,
            )
        reserved = client.reserved.get(day, 0)
        if spent + reserved + tokens > limit:
            raise LimitReached(
                f"this key has used {spent} of its {_count(limit, 'token')} a day (UTC), its requests under"
                f" way may use {reserved}, and {may_use}",
                retry_after=client.next_end(),
            )


class _Client:
    """One key's. ``begun`` holds when its requests of the last minute began, ``reserved`` tokens by
    day, ``takes`` how long its requests take, on average."""

    __slots__ = ("active", "begun", "reserved", "takes")

    def __init__(self) -> None:
        self.active = 0
        self.begun: deque[float] = deque()
        self.reserved: dict[int, int] = {}
        self.takes: float | None = None

    def wait(self, limit: int, now: float) -> float:
        """In how many seconds one more may begin, so that there are never more than ``limit`` in a minute."""
        self.forget(now)
        begun = self.begun
        return begun[len(begun) - limit] + MINUTE - now if len(begun) >= limit else 0.0

    def forget(self, now: float) -> None:
        begun = self.begun
        while begun and begun[0] + MINUTE <= now:
            begun.popleft()

    def next_end(self) -> float:
        """In how many seconds one of those under way is to be expected to end."""
        if self.takes is None or not self.active:
            return SOON
        return min(max(self.takes / self.active, SOON), LONGEST)


class _Candidates(msgspec.Struct):
    candidateCount: object = None


class _Choices(msgspec.Struct):
    n: object = None
    generationConfig: _Candidates | None = None


def may_use(chat: ChatRequest, max_tokens: int) -> int:
    """The tokens to reserve for ``chat``: its prompt, by estimate, and the longest answer it allows,
    as often as it wants one; ``max_tokens`` stands for a limit that it does not name."""
    answer = max_tokens if chat.max_tokens is None else max(chat.max_tokens, 0)
    return prompt_tokens(chat) + answer * _choices(chat)


def _choices(chat: ChatRequest) -> int:
    """How many answers are wanted at once."""
    if not any(name == "n" or name.endswith("candidateCount") for name in chat.other):
        return 1
    try:
        told = msgspec.json.decode(camel(chat.raw) if chat.dialect == "gemini" else chat.raw, type=_Choices)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the one field or the other is of no use
        return 1
    wanted = told.n if told.generationConfig is None else told.generationConfig.candidateCount
    return wanted if type(wanted) is int and wanted > 1 else 1


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
