"""Claude in, Claude out: what the provider says goes on as it came, once it has been read.

A hub loses what it does not know (citations, server tools, whatever comes next), so where both sides
speak this dialect each event is read for its meaning and then given back byte for byte. Only one that
breaks the grammar is mended (`mending`), and counted.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ... import estimate
from ...errors import UpstreamGarbled
from ...events import ChatReply
from ...jsontext import encode, one_line
from ...sse import Frame
from ...translate import Answering, Passthrough
from .. import surrogates
from ..surrogates import BAD_JSON
from .mending import Mender
from .reader import ClaudeReader
from .usage import render_usage
from .writer import ClaudeWriter, message_id

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ClaudePassthrough(Passthrough):
    """Implements `aigateway.translate.Stream`.

    With ``raw`` nothing is mended; the answer is still read, for its end, its errors and its usage.
    """

    _reader: ClaudeReader
    _writer: ClaudeWriter

    def __init__(
        self,
        answering: Answering,
        reader: ClaudeReader,
        writer: ClaudeWriter,
        parse_reply: Callable[[bytes], ChatReply],
    ) -> None:
        super().__init__(answering, reader, writer, parse_reply)
        chat = answering.chat
        self._mender = Mender(
            message_id("", answering.id),
            chat.model,
            lambda: estimate.prompt_tokens(chat),
            renamed=bool(answering.rendered.asked_model),
        )

    def _read(self, frames: list[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            events = self._reader.feed(frame)
            step = self._reader.step
            if events:
                self._follow(events)
            elif step is not None and step.type == "content_block_start" and not self.begun:
                # A server tool says something to this client, though nothing to the hub.
                block = step.content_block
                self.begun = block is not None and block.type not in ("text", "thinking")
            if self.failure is not None:
                break
            if self.ended and (step is None or step.type != "message_stop"):
                # A fault after the stop reason.
                out += [] if self._raw else [self._tail()]
            elif step is not None:
                out.append(self._pass(frame))
            if self.ended:
                break
        self.mended = self._mender.mended
        return b"".join(self._release(out))

    def _read_end(self) -> bytes:
        frames = self._last_frames()
        out = self._read(frames) if frames else b""
        if not self.ended:
            self._follow(self._reader.end())
            if self.failure is None:
                out += b"".join(self._release([] if self._raw else [self._tail()]))
                self.mended = self._mender.mended
        return out

    def _release(self, out: list[bytes]) -> list[bytes]:
        if out := super()._release(out):
            self._writer.started = True  # from now on its pings are events
        return out

    def _pass(self, frame: Frame) -> bytes:
        """What the client gets for a frame: it as it came, mended, or nothing yet."""
        reader, data = self._reader, self._reader.data
        step = reader.step
        assert step is not None
        try:
            if not data.isascii():
                data.decode("utf-8")
            if self._raw:
                frame.event.decode("utf-8")
                event = b"event: %b\n" % frame.event if frame.event else b""
                return b"%bdata: %b\n\n" % (event, one_line(data))
            if step.type == "message_stop":
                return self._tail(data if reader.typed else None, frame.event)
            return self._mender.mend(data, step, frame.event, typed=reader.typed)
        except BAD_JSON as error:
            fault = UpstreamGarbled(f"the provider sent an event that is none: {error}")
            if self.ended:  # it was to be the last, and the answer is whole
                self.late_error = fault
                return b"" if self._raw else self._tail()
            self._fail(fault)
            return b""

    def _tail(self, data: bytes | None = None, name: bytes = b"") -> bytes:
        """What the grammar still wants."""
        stop = self.stop_reason or ""
        return self._mender.end(data, name, stop, self.usage())


def pass_reply(body: bytes, reply: ChatReply, answering: Answering) -> bytes:
    """A whole answer as it came; mended where it is no ``message`` by the book."""
    try:
        body.decode("utf-8")
        value, body = surrogates.decode(_object, body)
    except BAD_JSON as error:
        raise UpstreamGarbled(f"the provider's answer is not JSON: {error}") from None
    mended: dict[str, object] = {}
    wanted = {
        "type": "message",
        "role": "assistant",
        "stop_reason": reply.stop_reason,
        "id": message_id("", answering.id),
        "model": answering.chat.model,
    }
    for name, word in wanted.items():
        if not msgspec.json.decode(value.get(name, b"null")):
            mended[name] = word
    if answering.rendered.asked_model:
        mended["model"] = answering.chat.model
    if "stop_sequence" not in value:
        mended["stop_sequence"] = reply.stop_sequence
    if reply.usage is None:
        guess = estimate.usage(answering.chat, estimate.size_of(reply))
        mended["usage"] = msgspec.Raw(render_usage(guess))
    return encode({**value, **mended}) if mended else body
