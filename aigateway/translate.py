"""A provider's bytes in, a client's bytes out.

A translator joins the parts that a dialect is made of: decoder, reader, writer. It
decides whether an answer is whole; what to do about one that is not (try elsewhere, or
tell the client) is the caller's business, so it writes no error frame by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Protocol

import msgspec

from . import estimate
from .dialects.base import Reader, Rendered, Writer
from .errors import UpstreamError, UpstreamGarbled, UpstreamTruncated
from .events import (
    BlockStarted,
    ChatReply,
    ChatRequest,
    Event,
    Failed,
    Finished,
    InputDelta,
    TextDelta,
    ThinkingDelta,
    Thought,
    ToolUseBlock,
    Usage,
    events_of,
)
from .jsontext import BadJSON, bound
from .signatures import Recorder
from .sse import BOM, MAX_EVENT, MAX_LINE, Frame, FrameTooLarge, SSEDecoder

MAX_WHOLE = 64 * 1024 * 1024
MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of what a streamed answer says: text, thinking, calls. It is told again at its end, in some
dialects, and so must be kept."""
MAX_VALUES = 200_000
"""Values in the JSON of one event, or of a whole answer in the place of a stream: it is read while every
other stream waits. What has fewer bytes cannot have more."""
_PLACE = 64  # bytes that a frame takes besides its text, about
_BLANK = b" \t\r\n"
_NOT_SSE = b"{[<"


class Framing(msgspec.Struct, frozen=True):
    """The limits of a stream, in bytes: a line and an event of it, and the whole body where it
    is no stream at all. What stands there in the place of a stream may be no larger than an event."""

    line: int = MAX_LINE
    event: int = MAX_EVENT
    whole: int = MAX_WHOLE


class Answering(msgspec.Struct, frozen=True):
    """What the reading of an answer depends on: who asked, and what was sent.

    ``id`` and ``created`` (Unix seconds) are the gateway's, for where the provider gives none.
    ``raw``: a client of the provider's own dialect gets frames that break its grammar unmended.
    ``family``: whose signatures the asked model takes back (`aigateway.providers.base.Kind.family`).
    """

    chat: ChatRequest
    rendered: Rendered
    id: str
    created: int
    framing: Framing = Framing()
    raw: bool = False
    family: str = ""

    @property
    def passes(self) -> bool:
        """Whether the client's body went up as it came, and so the answer may come down so."""
        return self.rendered.kept and self.chat.is_all(self.chat.dialect)


class Stream(Protocol):
    """One streamed answer on its way through: `Translator`, or a passthrough.

    ``begun``: text, thinking or a tool call has been seen. ``ended``: the answer is over;
    then ``failure`` says whether it was whole (None) or what cut it short. ``late_error``
    is what went wrong after the answer was whole. ``mended`` counts the frames that broke the
    grammar of the client's dialect and were put right. ``signed`` is what the provider may want
    back when the conversation goes on, by key (`aigateway.signatures`).
    """

    begun: bool
    ended: bool
    failure: UpstreamError | None
    late_error: UpstreamError | None
    stop_reason: str | None
    mended: int

    @property
    def signed(self) -> Mapping[str, Thought]: ...

    @property
    def size(self) -> int:
        """Bytes of text, thinking and calls so far, as `aigateway.estimate` counts them."""

    @property
    def reported(self) -> bool:
        """Whether the provider has told any counts."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self, fault: UpstreamError | None = None) -> bytes: ...

    def usage(self) -> Usage: ...


class Translator:
    """Decoder -> Reader -> Writer. Implements `Stream`.

    A body that does not look like an event stream (providers answer 200 with a JSON error,
    or with a whole answer although a stream was asked for) is collected and read by
    ``parse_reply`` when it ends.
    """

    def __init__(
        self,
        answering: Answering,
        reader: Reader,
        writer: Writer,
        parse_reply: Callable[[bytes], ChatReply],
    ) -> None:
        framing = answering.framing
        self._chat = answering.chat
        self._reader = reader
        self._writer = writer
        self._parse_reply = parse_reply
        self._decoder = SSEDecoder(framing.line, framing.event)
        self._max_whole = min(framing.whole, framing.event)
        self._renamed = answering.rendered.renamed
        self._recorder = Recorder(answering.family) if answering.family else None
        self.mended = 0
        self._whole: BytesIO | None = None  # gives what it holds without another copy of it
        self._whole_usage: Usage | None = None
        self._sniffed = False
        self.begun = False
        self.ended = False
        self.failure: UpstreamError | None = None
        self.late_error: UpstreamError | None = None
        self.stop_reason: str | None = None

    def feed(self, data: bytes) -> bytes:
        """The client's bytes for the next bytes of the provider's; ``b""`` while there are none."""
        if self.ended:
            return b""
        if not self._sniffed:
            self._sniff(data)
        if self._whole is not None:
            if self._whole.tell() + len(data) > self._max_whole:
                self._whole = BytesIO()
                self._fail(UpstreamGarbled(f"the answer is larger than {self._max_whole} bytes"))
                return b""
            self._whole.write(data)
            return b""
        try:
            frames = bounded(self._decoder.feed(data))
        except FrameTooLarge as error:
            return self.end(UpstreamGarbled(f"the provider's stream cannot be read: {error}"))
        except UpstreamGarbled as error:
            return self.end(error)
        if not frames:
            return b""
        try:
            out = self._read(frames)
        except UpstreamGarbled as error:
            self._fail(error)
            return b""
        if self._writer.size > MAX_ANSWER and not self.ended:
            self._fail(UpstreamGarbled(f"the answer is larger than {MAX_ANSWER} bytes"))
        return out

    def end(self, fault: UpstreamError | None = None) -> bytes:
        """The provider's body is over, for ``fault`` if it did not end by itself.

        The rest of the client's bytes. After it ``ended`` is true; an answer whose end
        marker was seen is whole, whatever the fault.
        """
        if self.ended:
            return b""
        whole = self._whole
        try:
            data = self._read_end() if whole is None else self._write(self._read_whole(whole, fault))
        except UpstreamGarbled as error:
            self._fail(error)
            data = b""
        if fault is not None:
            if self.failure is None:
                self.late_error = fault
            elif isinstance(self.failure, UpstreamTruncated):
                self.failure = fault  # why it was cut says more than that it was
        return data

    @property
    def signed(self) -> Mapping[str, Thought]:
        return {} if self._recorder is None else self._recorder.found

    @property
    def size(self) -> int:
        return self._writer.size

    @property
    def reported(self) -> bool:
        return self._reader.usage is not None or self._whole_usage is not None

    def usage(self) -> Usage:
        """What the provider told, or else an estimate. For an answer that was cut short, the
        larger of the two: a provider that counts at the end has not counted yet."""
        told = self._reader.usage or self._whole_usage
        if told is not None and self.ended and self.failure is None:
            return told
        guess = estimate.usage(self._chat, self._writer.size)
        if told is None:
            return guess
        if told.output_tokens >= guess.output_tokens:
            return told
        return Usage(
            input_tokens=told.input_tokens,
            output_tokens=guess.output_tokens,
            cache_read_tokens=told.cache_read_tokens,
            cache_write_tokens=told.cache_write_tokens,
            reasoning_tokens=told.reasoning_tokens,
            estimated=True,
        )

    def _read(self, frames: list[Frame]) -> bytes:
        feed = self._reader.feed
        if len(frames) == 1:
            return self._write(feed(frames[0]))
        return self._write([event for frame in frames for event in feed(frame)])

    def _read_end(self) -> bytes:
        events = [event for frame in self._last_frames() for event in self._reader.feed(frame)]
        return self._write(events + self._reader.end())

    def _last_frames(self) -> list[Frame]:
        return bounded(self._decoder.close())

    def _sniff(self, data: bytes) -> None:
        first = data.removeprefix(BOM).lstrip(_BLANK)[:1]
        if first:
            self._sniffed = True
            if first in _NOT_SSE:
                self._whole = BytesIO()

    def _read_whole(self, whole: BytesIO, fault: UpstreamError | None) -> list[Event]:
        if fault is not None:
            return [Failed(fault)]
        body = whole.getvalue().removeprefix(BOM)
        _bound(body)
        try:
            reply = self._parse_reply(body)
        except UpstreamError as error:
            return [Failed(error)]
        self._whole_usage = reply.usage
        return events_of(reply)

    def _write(self, events: list[Event]) -> bytes:
        if not events:
            return b""
        if self._renamed:
            restore_names(events, self._renamed)
        if self._recorder is not None:
            self._recorder.watch(events)
        last = events[-1]
        if last.__class__ is Finished:
            self.stop_reason = last.stop_reason
            self.late_error = self._reader.late_error
            self.ended = True
        elif last.__class__ is Failed:
            self._fail(last.error)
            del events[-1]
            if not events:
                return b""
        self.begun = True
        return self._writer.write(events)

    def _fail(self, error: UpstreamError) -> None:
        self.failure = error
        self.ended = True


class Passthrough(Translator):
    """Where both sides speak the same dialect: frames are read for what they mean, and given back
    as they came. What the dialects' own classes, which do so, have in common.

    With ``raw`` nothing is mended; the answer is still read, for its end, its errors and its
    usage. What comes before the answer says something is held back, so that one that fails at
    once can be asked for elsewhere.
    """

    max_held = 1024 * 1024
    """Bytes that say nothing that anybody here knows, before the first that do."""

    def __init__(
        self,
        answering: Answering,
        reader: Reader,
        writer: Writer,
        parse_reply: Callable[[bytes], ChatReply],
    ) -> None:
        super().__init__(answering, reader, writer, parse_reply)
        self._raw = answering.raw
        self._held: list[bytes] = []
        self._held_size = 0

    def _follow(self, events: list[Event]) -> None:
        """Keep up with what the frames say."""
        if self._recorder is not None:
            self._recorder.watch(events)
        for event in events:
            kind = event.__class__
            if kind is TextDelta or kind is ThinkingDelta:
                self._writer.size += len(event.text)  # type: ignore[union-attr]
            elif kind is InputDelta:
                self._writer.size += len(event.json)  # type: ignore[union-attr]
        last = events[-1]
        if isinstance(last, Failed):
            self._fail(last.error)
            return
        self.begun = True
        if isinstance(last, Finished):
            self.stop_reason = last.stop_reason
            self.late_error = self._reader.late_error
            self.ended = True

    def _release(self, out: list[bytes]) -> list[bytes]:
        """``out`` and what was held before it; nothing while the answer has said nothing."""
        if not self.begun:
            self._held += out
            self._held_size += sum(len(one) + _PLACE for one in out)
            if self._held_size > self.max_held and not self.ended:
                self._fail(UpstreamGarbled(f"{self.max_held} bytes came and no answer in them"))
            return []
        if self._held:
            out, self._held = self._held + out, []
        return out


def bounded(frames: list[Frame]) -> list[Frame]:
    """``frames``, if each can be read in a moment. Raises `UpstreamGarbled`."""
    for frame in frames:
        if len(frame.data) > MAX_VALUES:
            _bound(frame.data)
    return frames


def _bound(text: bytes) -> None:
    try:
        bound(text, MAX_VALUES)
    except BadJSON as error:
        raise UpstreamGarbled(f"the provider sent JSON that nobody can read: {error}") from None


def restore_names(events: Sequence[Event], renamed: Mapping[str, str]) -> None:
    """Give the calls among ``events`` the names that the client knows their tools by."""
    for event in events:
        if event.__class__ is BlockStarted and event.name:
            event.name = renamed.get(event.name, event.name)


def with_names(reply: ChatReply, renamed: Mapping[str, str]) -> ChatReply:
    """A whole answer, its calls by the names that the client knows."""
    if not renamed:
        return reply
    content = tuple(
        msgspec.structs.replace(block, name=renamed.get(block.name, block.name))
        if isinstance(block, ToolUseBlock)
        else block
        for block in reply.content
    )
    return msgspec.structs.replace(reply, content=content)
