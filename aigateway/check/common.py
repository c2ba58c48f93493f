"""What the grammars share: frames and JSON read strictly, what an answer told, and the broken rule.

Apart from the code that it checks, on purpose: frames are split here by hand, JSON is read by ``json``.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SHOWN = 200
"""Characters of a frame that an error shows."""
_LINE_END = re.compile(r"\r\n|\n|\r")


class BrokenGrammar(Exception):
    """A stream breaks a rule. ``frame`` counts from 1, comments included; 0 is the stream as a
    whole. ``shown`` is the frame, shortened."""

    def __init__(self, rule: str, frame: int = 0, shown: str = "") -> None:
        super().__init__(rule, frame, shown)
        self.rule = rule
        self.frame = frame
        self.shown = shown

    def __str__(self) -> str:
        where = f"frame {self.frame}: " if self.frame else ""
        return f"{where}{self.rule}" + (f"\n    {self.shown}" if self.shown else "")


class Frame(NamedTuple):
    """One frame: its event name, "" for none, and its data, None for a comment."""

    event: str
    data: str | None


@dataclass
class Answer:
    """What a stream told, in the words of its own dialect.

    ``calls`` are (id, name, text of the arguments); ``stop`` is None where an error ended the
    stream. ``blocks`` are (kind, text) in their order, for a Claude stream. ``signatures`` are
    whatever the dialect proves its thinking with. ``chunks`` are the frames' objects.
    """

    id: str = ""
    model: str = ""
    blocks: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    thinking: str = ""
    signatures: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    stop: str | None = None
    stop_sequence: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    comments: int = 0
    pings: int = 0
    chunks: list[dict[str, Any]] = field(default_factory=list)


class Grammar(ABC):
    """One dialect's grammar, and where a stream is in it. ``lenient`` lets pass what is unknown:
    a provider may say more than we write, in any framing that is legal; what is known must fit."""

    WANTS = "its end"
    """What a whole stream ends with."""

    def __init__(self, *, lenient: bool) -> None:
        self.lenient = lenient
        self.answer = Answer()
        self.ended = False

    @abstractmethod
    def frame(self, frame: Frame) -> None: ...

    def fields(self, value: Any, names: str, where: str, also: str = "") -> dict[str, Any]:
        """``value`` as an object that has all ``names``, may have ``also``, and nothing else."""
        demand(isinstance(value, dict), "{}: no object: {}", where, value)
        needed = set(names.split())
        demand(needed <= value.keys(), "{}: without {}", where, needed - value.keys())
        if not self.lenient:
            unknown = value.keys() - needed - set(also.split())
            demand(not unknown, "{}: has {}, which is unknown", where, unknown)
        return dict(value)

    def run(self, frames: Iterable[Frame], *, whole: bool) -> Answer:
        """The answer that ``frames`` tell. ``whole``: they must come to an end; otherwise they may
        stop between any two."""
        for number, frame in enumerate(frames, 1):
            try:
                self.frame(frame)
            except BrokenGrammar as broken:
                raise BrokenGrammar(broken.rule, number, shorten(frame)) from None
        demand(self.ended or not whole, "the stream stops without {} or an error", self.WANTS)
        return self.answer


def demand(holds: object, rule: str, *seen: object) -> None:
    """Raise `BrokenGrammar` unless ``holds``; its ``{}`` show what was ``seen``, shortened."""
    if not holds:
        raise BrokenGrammar(rule.format(*map(_brief, seen)))


def kind_of(value: Any, where: str) -> str:
    """The ``type`` of ``value``, an object of any other fields."""
    demand(isinstance(value, dict), "{}: no object: {}", where, value)
    return name(value.get("type"), f"the type of {where}")


def text(value: Any, where: str) -> str:
    """``value`` as a string, which may be empty."""
    demand(isinstance(value, str), "{} is no string: {}", where, value)
    return str(value)


def name(value: Any, where: str) -> str:
    """``value`` as a string that is not empty."""
    demand(text(value, where), "{} is empty", where)
    return str(value)


def count(value: Any, where: str) -> int:
    """``value`` as a number of things: 0 or more, and no boolean."""
    demand(type(value) is int and value >= 0, "{} is no count: {}", where, value)
    return int(value)


def items(value: Any, where: str) -> list[Any]:
    """``value`` as a list."""
    demand(isinstance(value, list), "{} is no list: {}", where, value)
    return list(value)


def strict_json(text: str) -> Any:
    """``text`` as JSON, without duplicate names and without what is no JSON (NaN)."""
    try:
        return decoder().decode(text)
    except (ValueError, RecursionError) as error:
        raise BrokenGrammar(f"no JSON: {error}") from None


def decoder() -> json.JSONDecoder:
    """A decoder as strict as `strict_json`."""
    return json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)


def json_object(text: str) -> dict[str, Any]:
    """``text`` as a JSON object."""
    value = strict_json(text)
    demand(isinstance(value, dict), "no object: {}", value)
    return dict(value)


def strict_frames(data: bytes) -> Iterator[Frame]:
    """The frames as the gateway writes them: lines end in LF, a frame is one data line behind at
    most one event line, a comment stands alone."""
    if not data:
        return
    content = decode(data)
    demand(content.endswith("\n\n"), "an unfinished frame: {}", content[-80:])
    for number, block in enumerate(content[:-2].split("\n\n"), 1):
        lines = block.split("\n")
        try:
            demand(lines == block.splitlines(), "a line end of another kind, or none")
            yield _strict_frame(lines)
        except BrokenGrammar as broken:
            raise BrokenGrammar(broken.rule, number, _brief(block)) from None


def lenient_frames(data: bytes) -> Iterator[Frame]:
    """The frames by the standard (https://html.spec.whatwg.org/multipage/server-sent-events.html).
    A field called ``error`` is read as an event of that name: some servers send their errors so. A
    last frame without its blank line counts: whether it is whole, its JSON tells."""
    event, lines = "", list[str]()
    for line in [*_LINE_END.split(decode(data).removeprefix("\ufeff")), ""]:
        if line.startswith(":"):
            yield Frame("", None)
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field in ("data", "error"):
            lines.append(value)
            event = "error" if field == "error" else event
        elif field == "event":
            event = value
        elif not line:
            if lines:
                yield Frame(event, "\n".join(lines))
            event, lines = "", []


def decode(data: bytes) -> str:
    """``data`` as text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BrokenGrammar(f"no UTF-8 at byte {error.start}") from None


def shorten(frame: Frame) -> str:
    """``frame`` as an error shows it."""
    if frame.data is None:
        return ":"
    shown = ascii(f"{frame.event} {frame.data}".lstrip())[1:-1]
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"


def _strict_frame(lines: list[str]) -> Frame:
    if lines[0].startswith(":"):
        demand(len(lines) == 1, "a comment with more in its frame")
        return Frame("", None)
    event = ""
    if lines[0].startswith("event: "):
        event = name(lines.pop(0).removeprefix("event: "), "the event's name")
    demand(len(lines) == 1, "not one data line")
    demand(lines[0].startswith("data: "), "no data line")
    return Frame(event, lines[0].removeprefix("data: "))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    demand(len(value) == len(pairs), "the same name twice: {}", [name for name, _ in pairs])
    return value


def _refuse(constant: str) -> Any:
    raise BrokenGrammar(f"{constant} is no JSON")


def _brief(value: object) -> str:
    if isinstance(value, set):
        value = ", ".join(sorted(map(str, value)))
    shown = ascii(value)[1:-1] if isinstance(value, str) else ascii(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
