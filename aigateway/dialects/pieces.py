"""What readers and writers keep of an answer that comes in pieces: never more than an honest one needs.

A provider may stream for an hour. What passes through costs nothing to keep; what must be put
together, or told apart from what came before, is kept here, and the answer is given up as garbled
where there is too much of it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UpstreamGarbled

MAX_INPUT = 8 * 1024 * 1024
"""Characters of one call's input."""
MAX_CALLS = 1024
"""Calls of one answer, and blocks or items that are under way at the same time."""
MAX_CHOICES = 128
"""Answers to one request: OpenAI's own limit for ``n``."""
MAX_TOLD = 16 * 1024 * 1024
"""Bytes of all that is said of one answer again at its end."""

_FEW = 1024


class Pieces:
    """A text that comes in pieces, in few objects however small they are. ``count`` is how many
    came, ``last`` the last."""

    __slots__ = ("_long", "_short", "count", "last", "size")

    def __init__(self) -> None:
        self._short: list[str] = []
        self._long: list[str] = []
        self.count = 0
        self.size = 0
        self.last = ""

    def add(self, piece: str) -> None:
        """Raises `UpstreamGarbled` for one too many."""
        self.count += 1
        self.size += len(piece)
        self.last = piece
        self._short.append(piece)
        if len(self._short) >= _FEW:
            self._long.append("".join(self._short))
            self._short.clear()
        if self.size > MAX_INPUT:
            raise UpstreamGarbled(f"the input of a tool call is larger than {MAX_INPUT} characters")

    def text(self) -> str:
        return "".join(self._long) + "".join(self._short)


class CallIds:
    """The ids of an answer's calls, each given once. ``make`` makes one up."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._given: set[str] = set()
        self._size = 0

    def __bool__(self) -> bool:
        """Whether there was a call."""
        return bool(self._given)

    def one(self, id: object) -> str:
        """``id``, or one made up where that is none or is taken. Raises `UpstreamGarbled` for one
        call too many."""
        if not isinstance(id, str) or not id or id in self._given:
            id = self._make()
        self._given.add(id)
        self._size += len(id)
        if len(self._given) > MAX_CALLS or self._size > MAX_INPUT:
            raise UpstreamGarbled(f"the answer has more than {MAX_CALLS} tool calls, or endless ids of them")
        return id
