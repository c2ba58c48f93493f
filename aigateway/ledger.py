"""What has been used: tokens by day, client, provider and model, as far as it is in memory.

Pure: it is told of outcomes and gives rows to whoever writes them, which is `aigateway.state`. What a
client may use is `aigateway.allowance`'s business. Days are those of UTC, numbered from 1970-01-01
on; a request belongs to the day that it began on, whenever it ends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from .counters import MAX_MODELS, OTHER
from .events import Usage
from .outcome import MAX_TEXT, Outcome

DAY = 86_400
MAX_ROWS = 10_000
"""Rows that wait to be written. While the file cannot be used, what is beyond them goes into the rows
of `OTHER` models, so that models are lost and no token is."""
KEPT_DAYS = 3
"""Days that are in memory: today, and the one before for requests that go on over midnight."""


Place: TypeAlias = tuple[int, str, str, str]
"""Where something was used: day, client, provider and model. The client is the name of a key, empty
without keys. Plain, since one is made for each attempt."""


class Used:
    """A row: what was used in one place. ``estimated`` counts the attempts whose tokens are a guess."""

    __slots__ = ("cache_read", "cache_write", "estimated", "input", "output", "reasoning", "requests")

    def __init__(self) -> None:
        self.requests = self.input = self.output = 0
        self.cache_read = self.cache_write = self.reasoning = self.estimated = 0

    def use(self, usage: Usage) -> None:
        self.input += usage.input_tokens
        self.output += usage.output_tokens
        self.cache_read += usage.cache_read_tokens
        self.cache_write += usage.cache_write_tokens
        self.reasoning += usage.reasoning_tokens
        self.estimated += usage.estimated

    def add(self, other: Used) -> None:
        for name in Used.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Ledger:
    """What clients used lately, and the rows of it that are yet to be written.

    ``kept``: there is somebody who writes them; else only what clients spent is counted. ``unknown`` is
    the day of which it is not known what was used before this process began, if any is; where it
    is ``lost``, that will not be known any more.
    """

    def __init__(self, *, kept: bool = False, unknown: int | None = None) -> None:
        self._kept = kept
        self.unknown = unknown
        self.lost = False
        self._days: dict[int, _Day] = {}
        self._waiting: dict[Place, Used] = {}

    @property
    def waiting(self) -> int:
        """How many rows wait to be written."""
        return len(self._waiting)

    def book(self, outcome: Outcome) -> None:
        """A request is over. What all its attempts used counts, also that of those which came to
        nothing; it is a request of whoever answered or was tried last."""
        client = outcome.client or ""
        if not (client or self._kept):
            return
        number = day_of(outcome.started_at)
        day, tokens = self._day(number), 0
        for attempt in outcome.attempts:
            usage = attempt.usage
            if usage is not None:
                tokens += usage.prompt_tokens + usage.output_tokens
                if self._kept:
                    self._row(day, number, client, attempt.provider, attempt.model).use(usage)
        if tokens and client:
            day.spent[client] = day.spent.get(client, 0) + tokens
        if self._kept and outcome.operation == "chat":
            provider, model = outcome.provider, outcome.target_model
            if provider is not None and model is not None:
                self._row(day, number, client, provider, model).requests += 1

    def spent(self, client: str, day: int) -> int:
        """The tokens that a client has used on ``day``: prompts, cached parts included, and answers."""
        known = self._days.get(day)
        return 0 if known is None else known.spent.get(client, 0)

    def restore(self, day: int, spent: Mapping[str, int], models: Collection[str]) -> None:
        """What was used on ``day`` before this process began."""
        known = self._day(day)
        for client, tokens in spent.items():
            known.spent[client] = known.spent.get(client, 0) + tokens
        known.models.update(models)
        if day == self.unknown and not self.lost:
            self.unknown = None

    def take(self) -> dict[Place, Used]:
        """The rows to be written: what is to be added to what is written already."""
        taken, self._waiting = self._waiting, {}
        return taken

    def give_back(self, rows: Mapping[Place, Used]) -> None:
        """``rows`` could not be written: they wait again."""
        for place, used in rows.items():
            self._at(place).add(used)

    def _day(self, number: int) -> _Day:
        day = self._days.get(number)
        if day is None:
            day = self._days[number] = _Day()
            if len(self._days) > KEPT_DAYS:
                del self._days[next(iter(self._days))]
        return day

    def _row(self, day: _Day, number: int, client: str, provider: str, model: str) -> Used:
        row = self._waiting.get((number, client, provider, model))
        if row is not None:
            return row
        if model not in day.models:
            if len(day.models) >= MAX_MODELS or len(model) > MAX_TEXT or not _is_text(model):
                model = OTHER
            else:
                day.models.add(model)
        return self._at((number, client, provider, model))

    def _at(self, place: Place) -> Used:
        row = self._waiting.get(place)
        if row is None:
            if len(self._waiting) >= MAX_ROWS:
                place = (*place[:3], OTHER)
            row = self._waiting.setdefault(place, Used())
        return row


class _Day:
    """``spent`` by client, and the ``models`` that have rows of their own."""

    __slots__ = ("models", "spent")

    def __init__(self) -> None:
        self.spent: dict[str, int] = {}
        self.models: set[str] = set()


def day_of(wall: float) -> int:
    """The day, in UTC, of a time in Unix seconds."""
    return int(wall // DAY)


def _is_text(name: str) -> bool:
    """Whether UTF-8 has ``name``: half of a surrogate pair cannot be written anywhere."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
