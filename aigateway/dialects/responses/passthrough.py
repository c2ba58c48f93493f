"""Responses in, Responses out: a client's body goes to OpenAI as it came, and so does the answer.

A hub loses what it does not know (searches, programs, annotations, whatever comes next), so where
both sides speak this dialect each event is read for its meaning and then given back byte for byte.
Mended is only what a client would trip over: an event without its name, a last response without
the id or the sums that Codex asks of it, the ``[DONE]`` of another dialect.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ...errors import UpstreamError, UpstreamGarbled
from ...events import ChatReply, ChatRequest
from ...jsontext import encode, one_line
from ...sse import Frame
from ...translate import Answering, Passthrough
from ..base import Rendered
from ..openai.usage import NULL
from ..pieces import MAX_TOLD
from .output import render_usage
from .reader import ResponsesReader
from .sealed import MARK
from .writer import ResponsesWriter

_PLACE = 100  # bytes that an item takes besides its text, about
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def render_request(chat: ChatRequest, model: str, *, stream: bool) -> Rendered:
    """The client's own body for ``model``, every other field byte for byte.

    What a model of another family signed, OpenAI would refuse: those thoughts are left out.
    """
    given = msgspec.json.decode(chat.raw, type=dict[str, msgspec.Raw])
    body: dict[str, object] = dict(given)
    dropped: tuple[str, ...] = ()
    if MARK.encode() in chat.raw and (kept := _without_ours(given.get("input", NULL))) is not None:
        body["input"] = kept
        dropped = ("reasoning.encrypted_content",)
    body["model"] = model
    if stream or "stream" in body:
        body["stream"] = stream
    if not stream:
        body.pop("stream_options", None)
    headers = tuple((name.encode(), value.encode()) for name, value in chat.headers)
    return Rendered(encode(body), dropped, kept=True, headers=headers)


def _without_ours(input: msgspec.Raw) -> list[msgspec.Raw] | None:
    """The items of ``input`` without the reasonings that carry our mark; None where all stay."""
    try:
        items = msgspec.json.decode(input, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        return None  # a text
    kept = [item for item in items if not _is_ours(item)]
    return kept if len(kept) < len(items) else None


def _is_ours(item: msgspec.Raw) -> bool:
    value = msgspec.json.decode(item)
    if not isinstance(value, dict) or value.get("type") != "reasoning":
        return False
    encrypted = value.get("encrypted_content")
    return isinstance(encrypted, str) and encrypted.startswith(MARK)


class ResponsesPassthrough(Passthrough):
    """Implements `aigateway.translate.Stream`.

    With ``raw`` nothing is mended; the answer is still read, for its end, its errors and its usage.
    """

    max_held = 16 * 1024 * 1024  # a response repeats its instructions and its tools

    _reader: ResponsesReader
    _writer: ResponsesWriter

    def __init__(
        self,
        answering: Answering,
        reader: ResponsesReader,
        writer: ResponsesWriter,
        parse_reply: Callable[[bytes], ChatReply],
    ) -> None:
        super().__init__(answering, reader, writer, parse_reply)
        self._next = 0  # the number of the event to come
        self._told: list[bytes] = []  # the items that have gone by whole
        self._told_size = 0

    def _read(self, frames: list[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            events = self._reader.feed(frame)
            if events:
                self._follow(events)
            if self.failure is not None:
                break
            self.begun = self.begun or self._reader.working
            out.append(self._pass(frame))
            if self.ended:
                break
        if self.begun:  # a failure may come from outside: the total limit, a drain
            self._writer.take_over(self._reader.id, self._next, self._told)
        return b"".join(self._release(out))

    def _read_end(self) -> bytes:
        frames = self._last_frames()
        out = self._read(frames) if frames else b""
        if not self.ended:
            self._follow(self._reader.end())
        return out

    def _fail(self, error: UpstreamError) -> None:
        """What has gone out cannot be taken back: the writer's error goes on from there."""
        super()._fail(error)
        if self.begun:
            self._writer.take_over(self._reader.id, self._next, self._told)

    def _pass(self, frame: Frame) -> bytes:
        """The event that the client gets for ``frame``: as it came, mended, or none."""
        event = self._reader.event
        if event is None:
            if frame.data.strip():
                self.mended += 1
            return b""
        if _NAME.fullmatch(event.type) is None:
            self.mended += 1  # no name that an event could go by
            return b""
        data = frame.data
        if not data.isascii():
            try:
                data.decode("utf-8")
            except UnicodeDecodeError:
                self._fail(UpstreamGarbled("the provider sent an event that is not valid UTF-8"))
                return b""
        number = event.sequence_number
        self._next = number + 1 if isinstance(number, int) else self._next + 1
        if event.type == "response.output_item.done":
            told = one_line(bytes(event.item))
            self._told.append(told)
            self._told_size += len(told) + _PLACE
            if self._told_size > MAX_TOLD:
                self._fail(UpstreamGarbled(f"the answer's items are larger than {MAX_TOLD} bytes"))
                return b""
        name = event.type.encode()
        if not self._raw:
            data = self._mend(frame, name)
        return b"event: %b\ndata: %b\n\n" % (name, one_line(data))

    def _mend(self, frame: Frame, name: bytes) -> bytes:
        reader = self._reader
        data = reader.data
        if self.ended and not reader.readable:
            data = self._readable(data)
        if data is not frame.data or frame.event != name:
            self.mended += 1
        return data

    def _readable(self, data: bytes) -> bytes:
        """The last event with an id and counts that every client can read."""
        value = msgspec.json.decode(data)
        response = value["response"]
        response["id"] = self._reader.id or self._writer.response_id
        usage = self._reader.usage
        if usage is not None:
            response["usage"] = msgspec.Raw(render_usage(usage))
        elif response.get("usage") is not None:
            response["usage"] = None
        return encode(value)


def pass_reply(body: bytes) -> bytes:
    """A whole answer as it came."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise UpstreamGarbled("the provider's answer is not valid UTF-8") from None
    return body
