"""What models sign, remembered for the clients that do not send it back.

Claude wants the thinking before a call returned unchanged while a tool loop runs, as some servers
of OpenAI's dialect do; Gemini 3 a signature on the first call of each step. Many clients strip
both. So what came before a call is kept under the call, and the signature of a text under the text.
That a signature was made is kept too, for the clients that do send it back: one family of models
answers 400 to what another one signed, and one issuer perhaps to another's.

What one client was answered is never looked up for another one. A `Recorder` finds all this in an
answer's events, a `SignatureStore` keeps it, within bounds. Where it stands in a provider's request
is for the dialects to know; writing it to disk is `aigateway.state`'s business.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import TypeAlias

import msgspec

from .events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    ChatRequest,
    Event,
    InputDelta,
    RedactedThinkingBlock,
    RequestBlock,
    SignatureDelta,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    Thought,
    ToolUseBlock,
    events_of,
)

GEMINI = "gemini"
"""How the families begin that sign calls and visible text, and want no thoughts back. All others
are taken to want the thoughts themselves."""

MAX_ENTRIES = 40_000
MAX_BYTES = 64 * 1024 * 1024
MAX_KEPT = 512 * 1024
"""Characters that are kept of one answer, each signature with its `OVERHEAD`; what comes after them
is not remembered."""

OVERHEAD = 400
"""Bytes that an entry takes besides its content, about."""


Place: TypeAlias = tuple[str, str, str]
"""Where something is kept: client, family, key."""

MADE = Thought(())
"""What is kept under a signature: that it was made is all there is to know."""


def call_key(call: ToolUseBlock) -> str:
    """The key of a call as its client was told it: of its id, its name and what its input says.

    An id alone will not do: some servers count the calls of each conversation from 0.
    """
    return f"call:{_digest(_encode((call.id, call.name, _meaning(call.input))))}"


def thought_before(call: ToolUseBlock, thoughts: Mapping[str, Thought]) -> Thought | None:
    """What of ``thoughts`` stood before ``call``."""
    return thoughts.get(call_key(call)) if thoughts else None


def text_key(text: str) -> str:
    """The key of a text by its content."""
    return f"text:{_digest(text)}"


def signature_key(signature: str) -> str:
    """The key of a signature: of the bytes that it encodes, for Google's SDKs write base64 anew."""
    return f"signature:{_digest(signature.translate(_STANDARD).rstrip('='))}"


_STANDARD = str.maketrans("-_", "+/")


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _meaning(input: str) -> object:
    """A call's input, the same however a client has decoded and encoded it; the text itself where
    it is no object. Parsers put such a text under ``_raw``."""
    value = _object("{}" if not input or input.isspace() else input)
    if value is not None and len(value) == 1 and isinstance(raw := value.get("_raw"), str):
        value = _object(raw)
        return raw if value is None else value
    return input if value is None else value


def _object(text: str) -> dict[str, object] | None:
    try:
        value = _decode_input(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _number(text: str) -> float:
    """JavaScript's numbers are doubles: it writes 1.0 as 1, and -0 as 0."""
    return float(text) + 0.0


# Not msgspec's: they leave whole numbers alone, and refuse half of a surrogate pair.
_decode_input = json.JSONDecoder(parse_int=_number, parse_float=_number, strict=False).decode
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Recorder:
    """Finds in the events of one answer what a model of ``family`` may want back; ``found`` is
    that, by key. For nobody's family there is nothing to find.

    Thinking that no call follows is not kept: nobody asks for it once the turn is over.
    """

    def __init__(self, family: str) -> None:
        self.found: dict[str, Thought] = {}
        self._gemini = family.startswith(GEMINI)
        # Whose pieces are kept: what Gemini thought is not wanted back, what others said is not signed.
        self._delta = TextDelta if self._gemini else ThinkingDelta if family else None
        self._room = MAX_KEPT if family else -1
        self._blocks: list[ThinkingBlock | RedactedThinkingBlock] = []  # since the last call
        self._open = BlockStarted("")
        self._thought: Thought | None = None  # before the open call
        self._pieces: list[str] = []
        self._signature: str | None = None

    def watch(self, events: Iterable[Event]) -> None:
        for event in events:
            kind = event.__class__
            if kind is self._delta:
                self._keep(event.text)  # type: ignore[union-attr]
            elif kind is InputDelta:
                if self._thought is not None:
                    self._keep(event.json)  # type: ignore[union-attr]
            elif kind in _MARKS and self._room >= 0:
                if kind is BlockStarted:
                    self._start(event)  # type: ignore[arg-type]
                elif kind is BlockEnded:
                    self._end()
                else:
                    self._signature = event.signature  # type: ignore[union-attr]
                    self._made(self._signature)

    def _keep(self, piece: str) -> None:
        self._room = room = self._room - len(piece)
        if room >= 0:
            self._pieces.append(piece)

    def _made(self, signature: str) -> None:
        self._room -= len(signature) + OVERHEAD
        self.found[signature_key(signature)] = MADE

    def _start(self, event: BlockStarted) -> None:
        self._open, self._pieces, self._signature = event, [], None
        if event.type == "tool_use":
            self._thought = Thought(tuple(self._blocks)) if self._blocks else None
            self._blocks = []
        elif event.type == "redacted_thinking":
            self._blocks.append(RedactedThinkingBlock(event.data))
            self._made(event.data)
        elif self._gemini:
            self._blocks = []  # a signature is the call's only where it stands right before it

    def _end(self) -> None:
        opened, text, signature = self._open, "".join(self._pieces), self._signature
        if opened.type == "thinking" and (signature or text):
            self._blocks.append(ThinkingBlock(text, signature))
        elif opened.type == "text" and signature and self._gemini:
            self.found[text_key(text)] = Thought((ThinkingBlock("", signature),))
        elif self._thought is not None:
            self.found[call_key(ToolUseBlock(opened.id, opened.name, text))] = self._thought
        self._open, self._pieces, self._thought = BlockStarted(""), [], None


_MARKS = frozenset({BlockStarted, SignatureDelta, BlockEnded})


def recorded(reply: ChatReply, family: str) -> Mapping[str, Thought]:
    """The same for a whole answer."""
    recorder = Recorder(family)
    if family:
        recorder.watch(events_of(reply))
    return recorder.found


class SignatureStore:
    """Thoughts and signatures by client, family and key: those last used, within ``max_entries``
    and ``max_bytes``. ``client`` is the name of its key, empty where none is asked for.

    They are kept as JSON, small, and of a size that is known. ``saved`` is called with each
    new one (client, family, key, JSON), for who writes it to disk. Only the reactor's thread changes
    what there is; `of` and `foreign` may be asked in any.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self.saved: Callable[[str, str, str, bytes], None] | None = None
        self._entries: OrderedDict[Place, bytes] = OrderedDict()  # the last used last
        self._families: set[str] = set()  # as many as there are kinds of provider

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, client: str, family: str, thoughts: Mapping[str, Thought]) -> None:
        """Keep what a model of ``family`` signed or thought in an answer to ``client``, and forget
        what was not used for longest."""
        for key, thought in thoughts.items():
            try:
                data = pack(thought)
            except UnicodeEncodeError:  # half of a surrogate pair: no provider would take it back
                continue
            place = client, family, key
            self._forget(place)
            self._put(place, data)
            while len(self._entries) > self.max_entries or self.bytes > self.max_bytes:
                self._forget_oldest()
            if self.saved is not None:
                self.saved(client, family, key, data)

    def restore(self, client: str, family: str, key: str, data: bytes) -> bool:
        """Put back what was remembered before all that is here; False where there is no room left."""
        place = client, family, key
        if place in self._entries:
            return True
        if len(self._entries) >= self.max_entries or self.bytes + _size(key, data) > self.max_bytes:
            return False
        self._put(place, data)
        self._entries.move_to_end(place, last=False)
        return True

    def of(self, chat: ChatRequest, client: str, family: str) -> dict[str, Thought]:
        """What is remembered of the calls and texts in ``chat``, which ``client`` sent, for a model
        of ``family``."""
        found: dict[str, Thought] = {}
        if not family or not self._entries:
            return found
        for block in _answered(chat):
            if isinstance(block, ToolUseBlock):
                key = call_key(block)
            elif isinstance(block, TextBlock) and family.startswith(GEMINI) and not block.signature:
                key = text_key(block.text)
            else:
                continue
            if (data := self._used((client, family, key))) is not None:
                found[key] = unpack(data)
        return found

    def foreign(self, chat: ChatRequest, client: str, family: str) -> frozenset[str]:
        """The signatures in ``chat``, which ``client`` sent, that are known to be none of ``family``'s."""
        others = self._families - {family}
        if not family or not others:
            return frozenset()
        found = set()
        for block in _answered(chat):
            if (signature := _signature(block)) and signature not in found:
                key = signature_key(signature)
                if self._used((client, family, key)) is None and any(
                    self._used((client, other, key)) is not None for other in others
                ):
                    found.add(signature)
        return frozenset(found)

    def _used(self, place: Place) -> bytes | None:
        if (data := self._entries.get(place)) is not None:
            with suppress(KeyError):  # the reactor has forgotten it meanwhile
                self._entries.move_to_end(place)
        return data

    def _put(self, place: Place, data: bytes) -> None:
        self._entries[place] = data
        self._families.add(place[1])
        self.bytes += _size(place[2], data)

    def _forget_oldest(self) -> None:
        (_, _, key), data = self._entries.popitem(last=False)
        self.bytes -= _size(key, data)

    def _forget(self, place: Place) -> None:
        if (data := self._entries.pop(place, None)) is not None:
            self.bytes -= _size(place[2], data)


def _answered(chat: ChatRequest) -> Iterator[RequestBlock]:
    """All that models have said in ``chat``."""
    return (block for message in chat.messages if message.role == "assistant" for block in message.content)


def _signature(block: RequestBlock) -> str | None:
    if isinstance(block, ThinkingBlock | ToolUseBlock | TextBlock):
        return block.signature
    return block.data if isinstance(block, RedactedThinkingBlock) else None


def pack(thought: Thought) -> bytes:
    """``thought`` as JSON: for each block its text, null where it was redacted, and its signature
    or what was redacted."""
    return msgspec.json.encode(
        [
            (block.thinking, block.signature) if isinstance(block, ThinkingBlock) else (None, block.data)
            for block in thought.blocks
        ]
    )


def unpack(data: bytes) -> Thought:
    """The thought that `pack` made ``data`` of. Raises `msgspec.DecodeError`."""
    return Thought(
        tuple(
            RedactedThinkingBlock(signed or "") if thinking is None else ThinkingBlock(thinking, signed)
            for thinking, signed in _decode(data)
        )
    )


_decode = msgspec.json.Decoder(list[tuple[str | None, str | None]]).decode


def _size(key: str, data: bytes) -> int:
    return len(key) + len(data) + OVERHEAD
