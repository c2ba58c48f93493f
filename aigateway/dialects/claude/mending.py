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
from ...jsontext import encode, escape_line_ends
from .. import surrogates
from .steps import Step
from .usage import Tally, render_usage

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# A delta for a block that never began -> the block, as it would have begun.
_STARTS: dict[str, dict[str, object]] = {
    "text_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
    "signature_delta": {"type": "thinking", "thinking": "", "signature": ""},
}
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
        self._index: object = None  # of the open block, as the provider counts
        self._broken_off: list[object] = []  # of blocks that another one interrupted
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
            data = to_text({"type": type, **_decoded(data)})
        if type == "content_block_delta" and self._open and step.index == self._next - 1:
            return self._frame(type, data, name)
        match type:
            case "message_start":
                return self._start(data, step, name)
            case "content_block_start" | "content_block_delta" | "content_block_stop":
                return self._block(data, step, name)
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
        out = self._closed()
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

    def _start(self, data: bytes, step: Step, name: bytes) -> bytes:
        if self._started:
            self.mended += 1
            return b""
        self._started = True
        message = step.message
        assert message is not None
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
        counts = given.get("usage") or {}
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

    def _block(self, data: bytes, step: Step, name: bytes) -> bytes:
        out = b""
        if step.type == "content_block_start":
            if step.content_block is None:
                self.mended += 1
                return b""
            if self._open and self._index != step.index:
                self._broken_off.append(self._index)
            out = self._closed()
            self._begin(step.index)
        elif step.type == "content_block_stop":
            if not self._open or step.index in self._broken_off:
                self.mended += 1
                return b""
            self._open = False
        elif not self._open:
            start = _STARTS.get(step.delta.type) if step.delta is not None else None
            self.mended += 1
            if start is None:
                return b""
            self._begin(step.index)
            begun = {"type": "content_block_start", "index": self._next - 1, "content_block": start}
            out = _frame("content_block_start", encode(begun))
        if step.index == self._next - 1:
            return out + self._frame(step.type, data, name)
        self.mended += 1
        value = _decoded(data)
        value["index"] = self._next - 1
        return out + _frame(step.type, to_text(value))

    def _begin(self, index: object) -> None:
        self._open, self._index = True, index
        self._next += 1
        if index in self._broken_off:
            self._broken_off.remove(index)

    def _hold(self, data: bytes, step: Step, name: bytes) -> bytes:
        """Keep ``message_delta`` for the end. Of several the last that tells a stop reason counts."""
        out = self._closed()
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
            value["usage"] = {**(value.get("usage") or {}), "output_tokens": 0}
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


def one_line(data: bytes) -> bytes:
    """JSON text as it stands behind ``data: ``, without a line end of any kind."""
    if b"\n" in data:
        data = msgspec.json.format(data, indent=-1)
    return data if data.isascii() else escape_line_ends(data)


def to_text(value: dict[str, Any]) -> bytes:
    return escape_line_ends(encode(value))


def _decoded(data: bytes) -> dict[str, Any]:
    value: dict[str, Any]
    value, _ = surrogates.decode(msgspec.json.decode, data)
    return value


def _frame(type: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), data)
