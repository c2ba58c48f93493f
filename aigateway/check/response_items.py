"""The output items of OpenAI's Responses stream: what each may hold, and how it is told.

Every text is told three times or more: in deltas, in its ``done`` event, in the part and in the
item; all must say the same. Which item an event belongs to is `responses`' business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .common import Grammar, count, demand, items, kind_of, name, text

_ITEMS = {  # the fields of each, and those it may have besides
    "message": ("type id role content status", "phase"),
    "reasoning": ("type id summary", "content encrypted_content status"),
    "function_call": ("type id call_id name arguments status", "namespace"),
    "custom_tool_call": ("type id call_id name input", "status namespace"),
}
_INPUTS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Where the input of a call stands."""


class _Part(NamedTuple):
    """A kind of part: the item and the list it stands in, the field of its text, its fields."""

    item: str
    place: str
    text: str
    fields: str
    also: str = ""


_PARTS = {
    "output_text": _Part("message", "content", "text", "type text annotations", "logprobs"),
    "refusal": _Part("message", "content", "refusal", "type refusal"),
    "reasoning_text": _Part("reasoning", "content", "text", "type text"),
    "summary_text": _Part("reasoning", "summary", "text", "type text"),
}
TEXTS = {  # the part that a family of events tells, or the call whose input it tells
    "response.output_text": "output_text",
    "response.refusal": "refusal",
    "response.reasoning_text": "reasoning_text",
    "response.reasoning_summary_text": "summary_text",
    "response.function_call_arguments": "function_call",
    "response.custom_tool_call_input": "custom_tool_call",
}


@dataclass
class _Text:
    """A text that is being told. ``kind`` is that of its part or of its call."""

    kind: str
    index: int = 0
    pieces: list[str] = field(default_factory=list)
    done: bool = False


class Item:
    """One item, from its ``output_item.added`` on; what it tells goes into the grammar's answer."""

    def __init__(self, grammar: Grammar, begun: Any) -> None:
        self._grammar = grammar
        self._lenient = grammar.lenient
        self._answer = grammar.answer
        self.kind, self.id, self._call = self._read(begun)
        self._text = _Text(self.kind) if self.kind in _INPUTS else None
        self._parts: dict[str, list[Any]] = {"content": [], "summary": []}
        if not self._lenient:
            for empty in ("content", "summary", "arguments", "input"):
                demand(not begun.get(empty), "{} at the start of an item", empty)
            status = begun.get("status", "in_progress")
            demand(status == "in_progress", "status {} at the start of an item", status)

    def part_added(self, place: str, data: dict[str, Any]) -> None:
        """A part begins in ``place``, "content" or "summary"."""
        demand(self._text is None, "a part starts inside another")
        kind, told = self._part(place, data["part"])
        index = count(data[f"{place}_index"], f"{place}_index")
        wanted = len(self._parts[place])
        demand(index == wanted, "{}_index {}, wants {}", place, index, wanted)
        self._text = _Text(kind, index)
        if told:
            demand(self._lenient, "a part that starts with text: {}", told)
            self._tell(self._text, told)

    def part_done(self, place: str, data: dict[str, Any]) -> None:
        """The open part ends."""
        current = self._text
        demand(current is not None and current.kind not in _INPUTS, "a part ends that has not started")
        assert current is not None
        kind, told = self._part(place, data["part"])
        ends = kind, data[f"{place}_index"]
        demand(ends == (current.kind, current.index), "part {} ends as {}", current.index, ends)
        demand(current.done or self._lenient, "the part ends before its text is done")
        self._settle(current, told, "the part's text")
        self._parts[place].append(data["part"])
        self._text = None

    def delta(self, kind: str, data: dict[str, Any]) -> None:
        """A piece of the open text."""
        current = self.text(kind, data)
        demand(not current.done, "a delta after the text is done")
        piece = text(data["delta"], "delta")
        demand(piece or self._lenient, "an empty delta")
        self._tell(current, piece)

    def text_done(self, kind: str, data: dict[str, Any]) -> None:
        """The open text is whole."""
        current = self.text(kind, data)
        demand(not current.done, "the text is done twice")
        where = _INPUTS.get(kind) or _PARTS[kind].text
        self._settle(current, text(data.get(where), where), where)
        current.done = True

    def text(self, kind: str, data: dict[str, Any]) -> _Text:
        """The open text, which an event of ``kind`` belongs to."""
        current = self._text
        demand(current is not None and current.kind == kind, "no {} is open", kind)
        assert current is not None
        if kind in _PARTS:
            index = data[f"{_PARTS[kind].place}_index"]
            demand(index == current.index, "index {} in part {}", index, current.index)
        return current

    def done(self, told: Any) -> None:
        """The item ends as ``told``, which is what it said before."""
        kind, id, call = self._read(told)
        demand((kind, id, call) == (self.kind, self.id, self._call), "the item {} ends as {}", self.id, told)
        status = told.get("status", "completed")
        if self._text is not None and self._text.kind in _INPUTS:
            key = _INPUTS[self.kind]
            demand(self._text.done or self._lenient, "the call ends before its {} are done", key)
            self._settle(self._text, text(told[key], key), key)
            self.broken_off()
        demand(self._text is None, "the item ends inside a part")
        demand(status in ("completed", "incomplete") or self._lenient, "the item ends as {}", status)
        if self.kind in ("message", "reasoning"):
            for place, parts in self._parts.items():
                given = items(told.get(place) or [], place)
                demand(self._same(given, place, parts), "the item's {} is not its parts", place)
        if self.kind == "reasoning" and told.get("encrypted_content"):
            self._answer.signatures.append(text(told["encrypted_content"], "encrypted_content"))

    def broken_off(self) -> None:
        """What the item told so far is told."""
        if self._text is not None and self._text.kind in _INPUTS:
            id, called = self._call
            demand(id not in {id for id, _, _ in self._answer.calls}, "the call_id {} twice", id)
            self._answer.calls.append((id, called, "".join(self._text.pieces)))
        self._text = None

    def _read(self, item: Any) -> tuple[str, object, tuple[str, str]]:
        """The kind of ``item``, its id, and the call's id and name where it is one."""
        kind = kind_of(item, "the item")
        if kind not in _ITEMS:
            demand(self._lenient, "no such item: {}", kind)
            return kind, item.get("id"), ("", "")
        needed, also = _ITEMS[kind]
        self._grammar.fields(item, needed.replace(" status", "") if self._lenient else needed, kind, also)
        id = name(item["id"], "the item's id")
        if kind == "message":
            demand(item["role"] == "assistant", "the role is {}", item["role"])
        if kind not in _INPUTS:
            return kind, id, ("", "")
        return kind, id, (name(item["call_id"], "call_id"), name(item["name"], "name"))

    def _part(self, place: str, part: Any) -> tuple[str, str]:
        """The kind of ``part``, which is in ``place``, and its text."""
        kind = kind_of(part, "the part")
        demand(kind in _PARTS, "no such part: {}", kind)
        known = _PARTS[kind]
        demand(
            (known.item, known.place) == (self.kind, place), "a {} in the {} of a {}", kind, place, self.kind
        )
        needed = f"type {known.text}" if self._lenient else known.fields
        return kind, text(self._grammar.fields(part, needed, kind, known.also)[known.text], known.text)

    def _same(self, given: list[Any], place: str, parts: list[Any]) -> bool:
        if not self._lenient:
            return given == parts
        # An item may be told whole, without its parts; annotations may come with either.
        return not parts or [self._part(place, part) for part in given] == [
            self._part(place, part) for part in parts
        ]

    def _settle(self, current: _Text, whole: str, where: str) -> None:
        """``whole`` is what the deltas said; a provider may leave them out."""
        if self._lenient and not current.pieces:
            self._tell(current, whole)
        pieces = "".join(current.pieces)
        demand(whole == pieces, "{} is not its deltas: {}", where, whole)

    def _tell(self, current: _Text, piece: str) -> None:
        current.pieces.append(piece)
        if self.kind == "message":
            self._answer.text += piece
        elif self.kind == "reasoning":
            self._answer.thinking += piece
