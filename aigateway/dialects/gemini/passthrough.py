"""Gemini in, Gemini out: what the provider says goes on as it came, once it has been read.

A hub loses what it does not know (grounding, citations, safety ratings, logprobs, further
candidates), so where both sides speak this dialect each chunk is read for its meaning and then
given back byte for byte, without Antigravity's envelope. Only what breaks the grammar is mended: a
content without its role, a chunk that is none. An end that did not come is never made up.
The client's body is `kept`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ... import estimate
from ...errors import UpstreamGarbled, UpstreamTruncated
from ...events import (
    ChatReply,
    ChatRequest,
    Event,
)
from ...jsontext import encode, one_line
from ...sse import Frame
from ...translate import Answering, Passthrough
from ..pieces import MAX_CHOICES
from .parse import IN_PIECES
from .reader import Classify, GeminiReader
from .usage import render_usage
from .writer import GeminiWriter

NULL = msgspec.Raw(b"null")
_BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Content(msgspec.Struct):
    role: object = None
    parts: msgspec.Raw = NULL


class _Candidate(msgspec.Struct):
    content: _Content | None = None
    index: object = None
    finishReason: object = None


class _Chunk(msgspec.Struct):
    candidates: list[_Candidate] | None = None
    promptFeedback: msgspec.Raw = NULL
    usageMetadata: msgspec.Raw = NULL
    response: msgspec.Raw = NULL


_decode = msgspec.json.Decoder(_Chunk).decode
_NOTHING = (b"", b"[DONE]")  # no frames of Google's, but of a relay's own


class FollowingReader(GeminiReader):
    """Reads calls that come in pieces (``partialArgs``), too, where the client asked for them: it
    puts them together itself. Here only their beginning counts."""

    def __init__(self, classify: Classify, chat: ChatRequest) -> None:
        super().__init__(classify)
        self._pieces = IN_PIECES in chat.other
        self._goes_on = False

    def _call(self, call: Any, signature: str | None, events: list[Event]) -> None:
        if not self._pieces:
            super()._call(call, signature, events)
            return
        if call.name or not self._goes_on:
            whole = msgspec.structs.replace(call, partialArgs=NULL, willContinue=None)
            super()._call(whole, signature, events)
        self._goes_on = call.partialArgs != NULL or bool(call.willContinue)


class GeminiPassthrough(Passthrough):
    """Implements `aigateway.translate.Stream`.

    ``enveloped``: chunks come in Antigravity's envelope, of which the client gets nothing. With
    ``raw`` nothing is mended; the answer is still read, for its end, its errors and its usage.
    """

    _writer: GeminiWriter

    def __init__(
        self,
        answering: Answering,
        reader: GeminiReader,
        writer: GeminiWriter,
        parse_reply: Callable[[bytes], ChatReply],
        *,
        enveloped: bool,
    ) -> None:
        super().__init__(answering, reader, writer, parse_reply)
        self._enveloped = enveloped
        self._finished: dict[int, bool] = {}  # by candidate

    def _read(self, frames: list[Frame]) -> bytes:
        chunks: list[bytes] = []
        for frame in frames:
            if events := self._reader.feed(frame):
                self._follow(events)
            if not self.ended and (chunk := self._pass(frame.data)) is not None:
                chunks.append(chunk)
            if self.ended:
                break
        data = self._send(chunks)
        return data + self._writer.close() if self.ended and self.failure is None else data

    def _read_end(self) -> bytes:
        data = self._read(self._last_frames())
        if not self.ended:
            self._follow(self._reader.end())
            if self.failure is None:
                data += self._send([]) + self._writer.close()
        return data

    def _send(self, chunks: list[bytes]) -> bytes:
        """The chunks as the client's bytes; none before one of them has said something."""
        return b"".join([self._writer.frame(chunk) for chunk in self._release(chunks)])

    def _follow(self, events: list[Event]) -> None:
        super()._follow(events)
        if self.ended and self.failure is None and not all(self._finished.values()):
            self.stop_reason = None
            self._fail(UpstreamTruncated("the stream ended before all candidates had finished"))

    # ------------------------------------------------------------- one chunk

    def _pass(self, data: bytes) -> bytes | None:
        """The chunk that the client gets for this one: as it came, mended, or none."""
        try:
            if not data.isascii():
                data.decode("utf-8")
            data, chunk = _unwrapped(data)
            if not self._raw and _lacks_role(chunk):
                data = _with_role(data)
                self.mended += 1
            data = one_line(data)
        except _BAD_JSON as error:
            if data.strip() in _NOTHING:
                self.mended += 1
            else:
                self._fail(UpstreamGarbled(f"the provider sent a chunk that is none: {error}"))
            return None
        for candidate in chunk.candidates or ():
            index = candidate.index if type(candidate.index) is int else 0
            if index not in self._finished and len(self._finished) >= MAX_CHOICES:
                self._fail(UpstreamGarbled(f"the provider gave more than {MAX_CHOICES} candidates"))
                return None
            self._finished[index] = bool(candidate.finishReason) or self._finished.get(index, False)
        if self._enveloped and chunk == _Chunk():
            return None  # credits and the like
        return data


def pass_reply(body: bytes, reply: ChatReply, answering: Answering) -> bytes | None:
    """A whole answer as it came, without an envelope; mended where there is no role in it, or no
    usage. None for what is no object: the array that a stream is without ``alt=sse``."""
    body = body.strip()
    if body[:1] != b"{":
        return None
    try:
        body.decode("utf-8")
        body, chunk = _unwrapped(body)
        if answering.raw:
            return body
        if _lacks_role(chunk):
            body = _with_role(body)
        if reply.usage is None:
            guess = estimate.usage(answering.chat, estimate.size_of(reply))
            told = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            told["usageMetadata"] = msgspec.Raw(render_usage(guess))
            body = encode(told)
    except _BAD_JSON as error:
        raise UpstreamGarbled(f"the provider's answer is not JSON: {error}") from None
    return body


def _unwrapped(data: bytes) -> tuple[bytes, _Chunk]:
    """A chunk and what is read of it, without the envelope that it may have come in."""
    chunk = _decode(data)
    if chunk.response == NULL:
        return data, chunk
    inner = bytes(chunk.response)
    return inner, _decode(inner)


def _lacks_role(chunk: _Chunk) -> bool:
    return any(
        one.content is not None and one.content.parts != NULL and one.content.role != "model"
        for one in chunk.candidates or ()
    )


def _with_role(data: bytes) -> bytes:
    value = msgspec.json.decode(data)
    for candidate in value["candidates"]:
        if isinstance(candidate.get("content"), dict):
            candidate["content"]["role"] = "model"
    return encode(value)
