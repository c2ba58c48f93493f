"""One grammar for every OpenAI stream: a chunk that breaks it is mended in place.

The grammar is the `writer`'s. What nobody here knows stays in the chunk as it came.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import UpstreamGarbled
from ...events import ChatRequest
from ...jsontext import encode, escape_line_ends
from .. import surrogates
from ..pieces import MAX_CHOICES, MAX_TOLD
from .calls import Call, Calls
from .chunks import Chunk, Delta, ToolCall, number, string
from .reader import STOP_REASONS
from .writer import FINISH_REASONS

CHUNK = "chat.completion.chunk"
_REASONS = frozenset(FINISH_REASONS.values()) | {"function_call"}


class ChoiceState:
    """What one choice has said so far."""

    __slots__ = ("calls", "first", "places", "reason", "role", "told")

    def __init__(self) -> None:
        self.role = False
        self.reason = ""  # why it finished, "" before
        self.told = False  # its finish is in one of the chunks that wait for the end
        self.calls = Calls()
        self.places: dict[Call, int] = {}  # the calls that the client knows, and as which
        self.first: dict[Call, dict[str, Any]] = {}  # calls that wait for their name

    def goes_on(self, entries: list[ToolCall]) -> bool:
        """Whether these are only a further piece of arguments, as OpenAI writes it; taken if so."""
        if len(entries) != 1:
            return False
        entry, function = entries[0], entries[0].function
        if (
            entry.index.__class__ is not int
            or entry.id is not None
            or entry.type is not msgspec.UNSET
            or entry.custom is not None
            or function is None
            or function.name is not None
            or function.arguments.__class__ is not str
        ):
            return False
        call = self.calls.known(entry.index)
        if call is None or self.places.get(call) != entry.index:
            return False
        self.calls.go_on(call, function.arguments)
        return True

    def finish_reason(self) -> str:
        return finish_reason(self.reason, bool(self.places))


class Mender:
    """The chunks of one stream, put into the grammar one after the other.

    Chunks with a finish reason wait in ``last``: only at the end of the stream is it known
    that nothing comes after them.
    """

    def __init__(self, chat: ChatRequest, id: str, created: int) -> None:
        self._include_usage = chat.include_usage
        self.id = id
        self.created = created
        self.model = chat.model
        self.known = False  # id, created and model are the server's
        self.choices: dict[int, ChoiceState] = {}
        self.usage_chunk: dict[str, Any] | None = None  # the server's own, for the end
        self.last: list[tuple[bytes, dict[str, Any]]] = []
        self.says_something = False  # the last chunk did
        self.mended = 0  # chunks that broke the grammar, or were missing
        self._late = False  # it did so for a choice that had finished

    def mend(self, data: bytes, chunk: Chunk) -> list[bytes]:
        """What the client gets for a chunk now. ``data`` is its JSON, ``chunk`` what was read of it.

        Raises one of `BAD_JSON` where a part that nobody reads cannot be read, `UpstreamGarbled`
        where there are too many calls, or choices."""
        value: dict[str, Any]
        value, data = surrogates.decode(msgspec.json.decode, data)
        self.says_something = self._late = False
        broken = self._identify(value)
        changed = False
        usage = value.get("usage")
        if usage is not None:
            if not chunk.choices:
                self.usage_chunk = value
                self.mended += broken
                return []
            del value["usage"]
            broken = True
        elif "usage" in value and not self._include_usage:
            del value["usage"]
            changed = True  # and not broken: it is the gateway that asked for it
        kept: list[dict[str, Any]] = []
        finishes = 0
        for choice, read in zip(value.get("choices") or (), chunk.choices or (), strict=True):
            index = number(read.index) or 0
            if choice.get("index") != index or choice["index"].__class__ is not int:
                choice["index"] = index
                broken = True
            state = self.choice(index)
            delta = choice.get("delta")
            if delta is None:
                delta = choice["delta"] = {}
                broken = True
            broken |= self._mend_delta(delta, read.delta or _NO_DELTA, state)
            says = any(delta.values())
            self.says_something |= says
            reason = read.finish_reason or ""
            if state.reason:
                if not says:
                    broken = True
                    continue  # OpenRouter repeats the end, and then takes it back
                self._late = True
            elif reason:
                state.reason = reason
                finishes += 1
            kept.append(choice)
            wanted = state.finish_reason() if finishes and state.reason and not self._late else None
            if choice.get("finish_reason", "") != wanted:
                choice["finish_reason"] = wanted
                broken = True
        if not kept:
            self.mended += 1
            return []  # Azure's filter results, moderation: nothing that the grammar has a place for
        if len(kept) != len(value["choices"]):
            value["choices"] = kept
        self.known = True  # what the first chunk said of itself holds for all
        released = self._release() if self._late else []
        if finishes and finishes < len(kept):
            for choice in kept:  # others go on, and may not wait: the finish comes by itself
                choice["finish_reason"] = None
            broken = True
        self.mended += broken
        text = to_text(value) if changed or broken or b"\n" in data else data
        if finishes == len(kept):
            self.last.append((text, value))
            if sum(len(waiting) for waiting, _ in self.last) > MAX_TOLD:
                raise UpstreamGarbled(f"the ends of the answers are larger than {MAX_TOLD} bytes")
            for choice in kept:
                self.choices[choice["index"]].told = True
            return released
        return [*released, text]

    def choice(self, index: int) -> ChoiceState:
        if index not in self.choices and len(self.choices) >= MAX_CHOICES:
            raise UpstreamGarbled(f"the provider gave more than {MAX_CHOICES} choices")
        return self.choices.setdefault(index, ChoiceState())

    def _release(self) -> list[bytes]:
        """The chunks that waited for the end, which did not come: without their finish."""
        out: list[bytes] = []
        for _, value in self.last:
            for choice in value["choices"]:
                self.choices[choice["index"]].told = False
                choice["finish_reason"] = None
            if any(any(choice["delta"].values()) for choice in value["choices"]):
                out.append(to_text(value))
        self.last.clear()
        return out

    def end(self) -> list[bytes]:
        """The chunks that waited, and a finish for each choice that has none in them."""
        out = self._complete_calls()
        out += [text for text, _ in self.last]
        for index, state in sorted(self.choices.items()) or [(0, ChoiceState())]:
            if not state.told:
                delta = {} if state.role else {"role": "assistant", "content": ""}
                choice = {"index": index, "delta": delta, "finish_reason": state.finish_reason()}
                out.append(to_text({**self.head(), "choices": [choice]}))
                self.mended += 1
        return out

    def _complete_calls(self) -> list[bytes]:
        """An empty object for each call that came without arguments: clients parse what they get.
        It goes into the chunk of the call where that still waits, else into one of its own. A call
        that the limit of tokens cut short gets none: it is not to be run."""
        out: list[bytes] = []
        waiting = {
            (choice["index"], entry["index"]): entry
            for _, value in self.last
            for choice in value["choices"]
            for entry in choice["delta"].get("tool_calls", ())
        }
        changed = False
        for index, state in sorted(self.choices.items()):
            for call, place in state.places.items() if state.finish_reason() == "tool_calls" else ():
                if call.custom or call.pieces.size:
                    continue
                self.mended += 1
                if (entry := waiting.get((index, place))) is not None:
                    entry["function"]["arguments"] = "{}"
                    changed = True
                else:
                    told = {"tool_calls": [{"index": place, "function": {"arguments": "{}"}}]}
                    choice = {"index": index, "delta": told, "finish_reason": None}
                    out.append(to_text({**self.head(), "choices": [choice]}))
        if changed:
            self.last = [(to_text(value), value) for _, value in self.last]
        return out

    def head(self) -> dict[str, object]:
        return {"id": self.id, "object": CHUNK, "created": self.created, "model": self.model}

    # ------------------------------------------------------------- one chunk

    def _identify(self, value: dict[str, Any]) -> bool:
        """One id, created and model in all chunks: those of the first that has them."""
        if not self.known and (id := string(value.get("id"))):
            self.known = True
            self.id = id
            created = value.get("created")
            self.created = created if type(created) is int and created > 0 else self.created
            self.model = string(value.get("model")) or self.model
        changed = False
        for name, fixed in self.head().items():
            if value.get(name) != fixed or value[name].__class__ is not fixed.__class__:
                value[name] = fixed
                changed = True
        return changed

    def _mend_delta(self, delta: dict[str, Any], read: Delta, state: ChoiceState) -> bool:
        changed = False
        if state.role:
            changed = delta.pop("role", msgspec.UNSET) is not msgspec.UNSET
        else:
            state.role = True
            if delta.get("role") != "assistant":
                delta["role"] = "assistant"
                changed = True
            if delta.get("content", "") is None:
                delta["content"] = ""
                changed = True
        content = delta.get("content", "")
        if isinstance(content, list):
            changed = True
            spread(delta, content)
        elif content is None and "role" not in delta:
            changed = True
            del delta["content"]
        if read.tool_calls:
            kept = []
            for call, entry in zip(delta["tool_calls"], read.tool_calls, strict=True):
                told = self._mend_call(call, entry, state)
                changed |= told is not False
                if told is not None:
                    kept.append(call)
            delta["tool_calls"] = kept
        if not delta.get("tool_calls", True):
            changed = True
            del delta["tool_calls"]
        return changed

    def _mend_call(self, value: dict[str, Any], entry: ToolCall, state: ChoiceState) -> bool | None:
        """Indices from 0 without gaps; id, type and name once each; arguments as a string.

        Whether anything had to change; None where the call has no name yet, and waits for it.
        """
        call = state.calls.of(entry)
        before = encode(value)
        first = call not in state.places
        text = state.calls.add(call, entry)
        if first:
            if not call.name:
                state.first.setdefault(call, value)
                return None
            for name, earlier in state.first.pop(call, {}).items():
                value.setdefault(name, earlier)
            state.places[call] = len(state.places)
        value["index"] = state.places[call]
        if call.custom:
            return encode(value) != before
        function = value["function"] if isinstance(value.get("function"), dict) else {}
        value["function"] = function
        if first:
            value["id"] = state.calls.id_for_client(call, "call_")
            value["type"] = "function"
            function["name"] = call.name
            function["arguments"] = call.text()
        else:
            for name in ("id", "type"):
                value.pop(name, None)
            function.pop("name", None)
            function["arguments"] = text
        return encode(value) != before


_NO_DELTA = Delta()


def to_text(value: dict[str, Any]) -> bytes:
    return escape_line_ends(encode(value))


def finish_reason(reason: object, calls: bool) -> str:
    """One of OpenAI's, and ``tool_calls`` exactly where there are calls to run."""
    known = string(reason)
    if known not in _REASONS:
        known = FINISH_REASONS[STOP_REASONS.get(known, "end_turn")]
    if known == "stop" and calls:
        return "tool_calls"
    if known == "tool_calls" and not calls:
        return "stop"
    return known


def spread(delta: dict[str, Any], parts: list[Any]) -> None:
    """Mistral's list of parts as the strings that everybody else sends."""
    text: list[str] = []
    thinking: list[str] = []
    for part in parts:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            pieces = inner if isinstance(inner, list) else [{"text": inner}]
            thinking += [str(piece.get("text") or "") for piece in pieces if isinstance(piece, dict)]
        elif part.get("text"):
            text.append(str(part["text"]))
    delta["content"] = "".join(text)
    if thinking:
        delta["reasoning_content"] = "".join(thinking)
