"""Which tool call a piece of an answer belongs to: one rule for all who read the pieces."""

from __future__ import annotations

from uuid import uuid4

import msgspec

from ...errors import UpstreamGarbled
from ...jsontext import encode
from ..pieces import MAX_CALLS, MAX_INPUT, Pieces
from ..surrogates import BAD_JSON
from .chunks import ToolCall, number, string

MAX_TRIES = 100
"""How often a call's arguments are tried for being whole; beyond it they are when the stream ends."""


class Call:
    """One tool call of the answer. ``pieces`` are its argument texts so far."""

    __slots__ = (
        "_seen",
        "_tries",
        "_whole",
        "closed",
        "custom",
        "id",
        "index",
        "name",
        "opened",
        "pieces",
        "signature",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""  # the provider's
        self.name = ""
        self.signature = ""
        self.custom = False  # a custom tool: the pieces are text, not JSON
        self.pieces = Pieces()
        self.opened = False
        self.closed = False
        self._whole = False
        self._seen = self._tries = 0

    def add(self, entry: ToolCall) -> str:
        """Take what ``entry`` says of the call, the first id and name; the text that it adds."""
        self.id = self.id or string(entry.id)
        custom, function = entry.custom, entry.function
        named = custom or function
        if (
            self.name
            and self.pieces.count
            and named is not None
            and (named.name or entry.id)
            and self.is_whole()
        ):
            return ""  # some servers repeat the whole call at the end
        if custom is not None:
            self.custom = True
            self.name = self.name or custom.name or ""
            text = custom.input or ""
        elif function is not None:
            self.name = self.name or function.name or ""
            text = arguments_of(function.arguments)
        else:
            return ""
        if text:
            self.pieces.add(text)
        return text

    def text(self) -> str:
        """All that has come of the arguments; a custom tool's input as the one field of an object."""
        text = self.pieces.text()
        return encode({"input": text}).decode() if self.custom else text

    def is_whole(self) -> bool:
        """Whether the arguments are a whole object. A custom tool's text never shows its end."""
        pieces = self.pieces
        if pieces.count == self._seen:
            return self._whole
        self._seen, self._whole = pieces.count, False
        if self.custom or self._tries >= MAX_TRIES or not pieces.last.rstrip().endswith("}"):
            return False
        self._tries += 1
        try:
            self._whole = isinstance(msgspec.json.decode(pieces.text()), dict)
        except BAD_JSON:
            return False
        return self._whole


class Calls:
    """The tool calls of one choice, in the order in which they began."""

    def __init__(self) -> None:
        self._size = 0  # of all that the calls hold
        self.all: list[Call] = []
        self._by_index: dict[int, Call] = {}
        self._by_id: dict[str, Call] = {}
        self._told: set[str] = set()

    def of(self, entry: ToolCall) -> Call:
        """The call that a delta belongs to. Raises `UpstreamGarbled` for one too many.

        Usually ``index`` says. Without one (Mistral, Google's OpenAI face) a known id,
        then a new id or a name, then the last call. One index with a second id, a second
        name and whole arguments before it is a second call (Ollama numbers all calls 0).
        """
        if not entry.id and entry.index.__class__ is int and (call := self.known(entry.index)) is not None:
            return call
        index, id = number(entry.index), string(entry.id)
        said = entry.custom or entry.function
        name = said.name if said is not None else None
        by_id = self._by_id.get(id) if id else None
        if index is None:
            call = by_id
            if call is None and self.all and not id and not name:
                call = self.all[-1]
        else:
            call = self._by_index.get(index)
            if call is not None and id and name and call.id != id and (call.id or call.name):
                if by_id is not None:
                    call = by_id
                elif call.is_whole() and (call.id or name != call.name):
                    call = None
        if call is None:
            if len(self.all) >= MAX_CALLS:
                raise UpstreamGarbled(f"the answer has more than {MAX_CALLS} tool calls")
            call = Call(len(self.all) if index is None else index)
            self.all.append(call)
            self._by_index[call.index if index is None else index] = call
        if id and id not in self._by_id:
            self._by_id[id] = call
            self._take(len(id))
        return call

    def add(self, call: Call, entry: ToolCall) -> str:
        """Take what ``entry`` says of ``call``; the text that it adds. Raises `UpstreamGarbled` where
        that is too much for one answer."""
        before = len(call.name)
        text = call.add(entry)
        self._take(len(text) + len(call.name) - before)
        return text

    def go_on(self, call: Call, text: str) -> None:
        """A further piece of the arguments of ``call``."""
        call.pieces.add(text)
        self._take(len(text))

    def _take(self, size: int) -> None:
        self._size += size
        if self._size > MAX_INPUT:
            raise UpstreamGarbled(f"the answer's tool calls are larger than {MAX_INPUT} characters")

    def known(self, index: object) -> Call | None:
        """The call that goes by ``index``."""
        return self._by_index.get(index)  # type: ignore[call-overload,no-any-return]

    def id_for_client(self, call: Call, prefix: str) -> str:
        """The call's own id, or one made up where it has none or one that is taken."""
        id = call.id
        if not id or id in self._told:
            id = f"{prefix}{uuid4().hex[:24]}"
        self._told.add(id)
        return id


def arguments_of(arguments: object) -> str:
    """Arguments as text, however the server wrote them."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else encode(arguments).decode()
