"""OpenAI in, OpenAI out: what a server says goes on as it came, once it has been read.

A hub loses what it does not know (``logprobs``, ``n`` choices, annotations, whatever comes
next), so where both sides speak this dialect each frame is read for its meaning and then
given back byte for byte. Only a frame that breaks the grammar that every stream of ours
obeys (see `writer`) is mended: a client sees one OpenAI, whichever server answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from ... import estimate
from ...errors import UpstreamError, UpstreamGarbled, UpstreamTruncated
from ...events import ChatReply, ChatRequest
from ...jsontext import encode, escape_line_ends, one_line
from ...sse import Frame
from ...translate import Answering, Passthrough
from .. import surrogates
from ..surrogates import BAD_JSON
from .calls import arguments_of
from .chunks import number
from .mending import CHUNK, Mender, finish_reason, spread, to_text
from .reader import OpenAIReader
from .usage import NULL, render_usage
from .writer import DONE, FINISH_REASONS, OpenAIWriter

WHOLE = "chat.completion"
_USAGE_NULL = b',"usage":null'


class OpenAIPassthrough(Passthrough):
    """Implements `aigateway.translate.Stream`.

    With ``raw`` nothing is mended; the answer is still read, for its end, its errors and
    its usage.
    """

    _reader: OpenAIReader

    def __init__(
        self,
        answering: Answering,
        reader: OpenAIReader,
        writer: OpenAIWriter,
        parse_reply: Callable[[bytes], ChatReply],
    ) -> None:
        super().__init__(answering, reader, writer, parse_reply)
        self._mender = Mender(answering.chat, f"chatcmpl-{answering.id}", answering.created)

    def _read(self, frames: list[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            events = self._reader.feed(frame)
            if events:
                self._follow(events)
            if self.failure is not None:
                break
            chunk = self._reader.chunk
            if chunk is not None and not self.ended:
                for data in self._pass(frame.data):
                    out.append(b"data: %b\n\n" % data)
                if self.failure is not None:
                    break
            if self.ended:
                out.append(self._tail())
                break
        return b"".join(self._release(out))

    def _read_end(self) -> bytes:
        frames = self._last_frames()
        out = self._read(frames) if frames else b""
        if not self.ended:
            self._follow(self._reader.end())
            if self.failure is None and not all(s.reason for s in self._mender.choices.values()):
                self._fail(UpstreamTruncated("the provider's stream ended before all choices had finished"))
            if self.failure is None:
                self._mender.mended += 1  # no [DONE]
                out += b"".join(self._release([self._tail()]))
        return out

    def _fault(self, error: UpstreamError) -> None:
        """What the reader had no eyes for: the end, as if it had found it."""
        self._follow(self._reader.fail(error))

    # ------------------------------------------------------------- one frame

    def _pass(self, data: bytes) -> Sequence[bytes]:
        """The data of the frames that the client gets for this one: as it came, mended, or none."""
        chunk = self._reader.chunk
        assert chunk is not None
        if not data.isascii():
            try:
                data.decode("utf-8")
            except UnicodeDecodeError:
                self._fault(UpstreamGarbled("the provider sent a chunk that is not valid UTF-8"))
                return ()
        choices = chunk.choices
        mender = self._mender
        if self._raw:
            for choice in choices or ():
                try:
                    seen = mender.choice(number(choice.index) or 0)
                except UpstreamGarbled as error:
                    self._fault(error)
                    return ()
                seen.reason = seen.reason or choice.finish_reason or ""
            return (one_line(data),)
        data = self._reader.data
        if not data.isascii():
            data = escape_line_ends(data)
        if choices and len(choices) == 1 and self.begun and b"\n" not in data:
            choice = choices[0]
            delta = choice.delta
            index = choice.index
            state = mender.choices.get(index) if index.__class__ is int else None
            if (
                state is not None
                and state.role
                and not state.reason
                and delta is not None
                and delta.role is msgspec.UNSET
                and choice.finish_reason is None
                and chunk.id == mender.id
                and chunk.created == mender.created
                and chunk.model == mender.model
                and chunk.object == CHUNK
                and delta.function_call is None
                and (delta.content.__class__ is str or delta.content is msgspec.UNSET)
            ):
                clean: bytes | None = data
                if chunk.usage is not NULL and not (
                    self._chat.include_usage and bytes(chunk.usage) == b"null"
                ):
                    alone = bytes(chunk.usage) == b"null" and data.count(_USAGE_NULL) == 1
                    clean = data.replace(_USAGE_NULL, b"") if alone else None
                calls = delta.tool_calls
                # The last condition: a piece of arguments is taken as it is asked for.
                if clean is not None and (calls is msgspec.UNSET or (calls and state.goes_on(calls))):
                    return (clean,)
        try:
            out = mender.mend(data, chunk)
        except UpstreamGarbled as error:
            self._fault(error)
            return ()
        except BAD_JSON as error:
            self._fault(UpstreamGarbled(f"the provider sent a chunk that is none: {error}"))
            return ()
        self.mended = mender.mended
        if not self.begun:
            if not mender.says_something:
                return ()
            # The reader listens to the first choice only; here the others' words count too.
            self.begun = any(number(one.index) and one.delta and one.delta.content for one in choices or ())
        return out

    # ------------------------------------------------------------------- end

    def _tail(self) -> bytes:
        """What the grammar still wants: a finish for each choice, usage where asked for, [DONE]."""
        if self._raw:
            return DONE
        mender = self._mender
        for state in mender.choices.values():
            state.reason = state.reason or FINISH_REASONS.get(self.stop_reason or "", "stop")
        out = mender.end()
        self.mended = mender.mended
        if self._chat.include_usage:
            out.append(self._usage())
        return b"".join([b"data: %b\n\n" % data for data in out]) + DONE

    def _usage(self) -> bytes:
        usage = self._reader.usage
        chunk = self._mender.usage_chunk
        if usage is None or chunk is None:
            counts = render_usage(usage or estimate.usage(self._chat, self._writer.size))
            chunk = {"usage": msgspec.Raw(counts)}
        return to_text(chunk | self._mender.head() | {"choices": []})


def pass_reply(body: bytes, reply: ChatReply, chat: ChatRequest, id: str, created: int) -> bytes:
    """A whole answer as it came; mended where it is no ``chat.completion`` by the book."""
    try:
        body.decode("utf-8")
        value, body = surrogates.decode(msgspec.json.decode, body)
    except BAD_JSON as error:
        raise UpstreamGarbled(f"the provider's answer is not JSON: {error}") from None
    changed = False
    for name, fixed in (("id", f"chatcmpl-{id}"), ("created", created), ("model", chat.model)):
        if not value.get(name):
            value[name] = fixed
            changed = True
    if value.get("object") != WHOLE:
        value["object"] = WHOLE
        changed = True
    for position, choice in enumerate(value["choices"]):
        if type(choice.get("index")) is not int:
            choice["index"] = position
            changed = True
        message = choice.get("message") or {}
        changed |= _mend_message(message)
        reason = finish_reason(choice.get("finish_reason") or "stop", bool(message.get("tool_calls")))
        if choice.get("finish_reason") != reason:
            choice["finish_reason"] = reason
            changed = True
    if reply.usage is None:
        guess = estimate.usage(chat, estimate.size_of(reply))
        value["usage"] = msgspec.Raw(render_usage(guess))
        changed = True
    return encode(value) if changed else body


def _mend_message(message: dict[str, Any]) -> bool:
    """The role, content as a string, and calls with an id, a type and arguments as a string."""
    changed = False
    if message and message.get("role") != "assistant":
        message["role"] = "assistant"
        changed = True
    content = message.get("content")
    if isinstance(content, list):
        spread(message, content)
        changed = True
    for call in message.get("tool_calls") or ():
        if not call.get("id"):
            call["id"] = f"call_{uuid4().hex[:24]}"
            changed = True
        if not call.get("type"):
            call["type"] = "custom" if "custom" in call else "function"
            changed = True
        function = call.get("function")
        if isinstance(function, dict):
            arguments = function.get("arguments")
            if not isinstance(arguments, str) or not arguments:
                function["arguments"] = arguments_of(arguments) or "{}"  # clients parse it: not ""
                changed = True
    return changed
