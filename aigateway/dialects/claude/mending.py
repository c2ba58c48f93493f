"""One grammar for every Claude stream: an event that breaks it is mended in place.

The grammar is the `writer`'s, and Anthropic's own: one message_start; blocks one strictly after the
other, counted from 0; one message_delta; message_stop. What nobody here knows stays as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ...events import Usage
from ...jsontext import encode, escape_line_ends, one_line
from .. import surrogates
from .steps import Message, Step
from .usage import Tally, render_usage

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# A delta for a block that never began -> the block, as it would have begun.
_STARTS: dict[str, dict[str, object]] = {
    "text_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
    "signature_delta": {"type": "thinking", "thinking": "", "signature": ""},
}
_BLOCK_OF = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "tool_use"}
STOP = {"type": "message_stop"}


class Mender:
    """The events of one stream, put into the grammar one after the other.

    ``message_delta`` waits for the end: only there is it known that no second one comes, and no
    block. ``id`` and ``model`` stand in where the provider names none, ``prompt`` estimates the
    tokens of the prompt. ``mended`` counts what had to change. ``renamed``: the answer goes under the
    name ``model`` whatever the provider calls it.
    """

    def __init__(self, id: str, model: str, prompt: Callable[[], int], *, renamed: bool = False) -> None:
        self._renamed = renamed and bool(model)
        self._message_id = id
        self._model = model
        self._prompt = prompt
        self._started = False
        self._next = 0  # the index of the next block
        self._open = False
        self._kind = ""  # of the open block
        self._index: object = None  # of the open block, as the provider counts
        self._broken_off: set[int] = set()  # of blocks that another one interrupted
        self._told = False  # message_start told the stop reason already
        self._last: bytes | None = None  # the message_delta that waits
        self.mended = 0

    def mend(self, data: bytes, step: Step, name: bytes, *, typed: bool = True) -> bytes:
        """The frames that the client gets for an event now; ``name`` is that of its frame, ``typed``
        whether its JSON names its type. Raises one of `BAD_JSON` where a part that nobody reads
        cannot be read."""
        type = step.type
        if not typed:
            self.mended += 1
            data = to_text({"type": type} | _decoded(data) | {"type": type})
        match type:
            case "content_block_delta":
                return self._delta(data, step, name)
            case "content_block_start":
                return self._start_block(data, step, name)
            case "content_block_stop":
                return self._stop_block(data, step, name)
            case "message_start":
                return self._start(data, step, name)
            case "message_delta":
                return self._hold(data, step, name)
            case "message_stop":
                return self.end(data, name)
        if _NAME.fullmatch(type) is None or (type == "ping" and not self._started):
            self.mended += 1
            return b""
        return self._frame(type, data, name)

    def end(
        self, data: bytes | None = None, name: bytes = b"", stop: str = "", usage: Usage | None = None
    ) -> bytes:
        """What is left to say, with the provider's message_stop or, without, one of our own. ``stop``
        and ``usage`` stand in for a message_delta that did not come."""
        out = self._begun() + self._closed()
        if self._last is not None:
            out += self._last
            self._last = None
        elif not self._told:
            self.mended += 1
            delta = {
                "type": "message_delta",
                "delta": {"stop_reason": stop or "end_turn", "stop_sequence": None},
                "usage": msgspec.Raw(render_usage(usage or Usage())),
            }
            out += _frame("message_delta", encode(delta))
        if data is None:
            self.mended += 1
            return out + _frame("message_stop", encode(STOP))
        return out + self._frame("message_stop", data, name)

    # --------------------------------------------------------------- one event

    def _begun(self) -> bytes:
        """The message_start that the provider has left out."""
        if self._started:
            return b""
        return self._start(encode({"type": "message_start", "message": {}}), Step(message=Message()), b"")

    def _start(self, data: bytes, step: Step, name: bytes) -> bytes:
        message = step.message
        if self._started or message is None:
            self.mended += 1
            return b""
        self._started = True
        self._next = len(message.content or ())
        self._told = bool(message.stop_reason)
        tally = Tally()
        tally.add(message.usage)
        usage = tally.usage
        clean = (
            isinstance(message.id, str)
            and message.id != ""
            and isinstance(message.model, str)
            and message.type == "message"
            and message.role == "assistant"
            and message.content is not None
            # An answer that is whole at once may have cost nothing: its prompt was read before.
            and (self._told or (usage is not None and usage.prompt_tokens > 0))
        )
        renamed = self._renamed and message.model != self._model
        if clean and not renamed:
            return self._frame("message_start", data, name)
        self.mended += not clean
        value = _decoded(data)
        given = value["message"]
        counts = _counts(given)
        if not self._told and (usage is None or not usage.prompt_tokens):
            counts = {**counts, "input_tokens": self._prompt()}
        counts.setdefault("output_tokens", 0)
        ours = {
            "id": message.id if isinstance(message.id, str) and message.id else self._message_id,
            "type": "message",
            "role": "assistant",
            "model": message.model if isinstance(message.model, str) and not renamed else self._model,
            "content": given.get("content") or [],
            "usage": counts,
        }
        value["message"] = {"stop_reason": None, "stop_sequence": None, **given, **ours}
        return _frame("message_start", to_text(value))

    def _start_block(self, data: bytes, step: Step, name: bytes) -> bytes:
        if step.content_block is None:
            self.mended += 1
            return b""
        if self._open and self._index != step.index and type(self._index) is int:
            self._broken_off.add(self._index)
        out = self._begun() + self._closed()
        if not step.content_block.type:
            self.mended += 1  # its deltas say what it is
            return out
        self._begin(step.content_block.type, step.index)
        return out + self._numbered(data, step, name)

    def _delta(self, data: bytes, step: Step, name: bytes) -> bytes:
        kind = step.delta.type if step.delta is not None else ""
        # A server that goes on to think or to speak in the block at hand means another one.
        strange = kind in _BLOCK_OF and _BLOCK_OF[kind] != self._kind and self._kind in _BLOCK_OF.values()
        if not self._open or (strange and kind in _STARTS and self._kind != "tool_use"):
            if kind not in _STARTS:
                self.mended += 1
                return b""
            out = self._begun() + self._closed()
            self.mended += 1
            start = _STARTS[kind]
            self._begin(str(start["type"]), step.index)
            begun = {"type": "content_block_start", "index": self._next - 1, "content_block": start}
            return out + _frame("content_block_start", encode(begun)) + self._numbered(data, step, name)
        if strange or not kind:
            self.mended += 1  # nobody could read it
            return b""
        return self._numbered(data, step, name)

    def _stop_block(self, data: bytes, step: Step, name: bytes) -> bytes:
        if not self._open or (type(step.index) is int and step.index in self._broken_off):
            self.mended += 1
            return b""
        self._open = False
        return self._numbered(data, step, name)

    def _numbered(self, data: bytes, step: Step, name: bytes) -> bytes:
        """An event of the block at hand, with the number that it has here."""
        if type(step.index) is int and step.index == self._next - 1:
            return self._frame(step.type, data, name)
        self.mended += 1
        value = _decoded(data)
        value["index"] = self._next - 1
        return _frame(step.type, to_text(value))

    def _begin(self, kind: str, index: object) -> None:
        self._open, self._kind, self._index = True, kind, index
        self._next += 1
        if type(index) is int:
            self._broken_off.discard(index)

    def _hold(self, data: bytes, step: Step, name: bytes) -> bytes:
        """Keep ``message_delta`` for the end. Of several the last that tells a stop reason counts."""
        out = self._begun() + self._closed()
        delta = step.delta
        if delta is None or (not delta.stop_reason and self._last is not None):
            self.mended += 1
            return out
        if self._last is not None:
            self.mended += 1
        tally = Tally()
        tally.add(step.usage)
        if delta.stop_sequence is not msgspec.UNSET and tally.usage is not None:
            self._last = self._frame("message_delta", data, name)
            return out
        self.mended += 1
        value = _decoded(data)
        value["delta"] = {"stop_sequence": None, **value["delta"]}
        if tally.usage is None:
            value["usage"] = {**_counts(value), "output_tokens": 0}
        self._last = _frame("message_delta", to_text(value))
        return out

    def _closed(self) -> bytes:
        """The end of a block that was left open."""
        if not self._open:
            return b""
        self.mended += 1
        self._open = False
        return _frame("content_block_stop", encode({"type": "content_block_stop", "index": self._next - 1}))

    def _frame(self, type: str, data: bytes, name: bytes) -> bytes:
        """The frame of an event that stays as it came; its framing is ours."""
        if name.decode("ascii", "replace") != type:
            self.mended += 1
        return _frame(type, one_line(data))


def _counts(value: dict[str, Any]) -> dict[str, Any]:
    usage = value.get("usage")
    return usage if isinstance(usage, dict) else {}


def to_text(value: dict[str, Any]) -> bytes:
    return escape_line_ends(encode(value))


def _decoded(data: bytes) -> dict[str, Any]:
    value: dict[str, Any]
    value, _ = surrogates.decode(msgspec.json.decode, data)
    return value


def _frame(type: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), data)
