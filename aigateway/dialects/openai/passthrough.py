"""OpenAI in, OpenAI out: what a server says goes on as it came, once it has been read.

A hub loses what it does not know (``logprobs``, ``n`` choices, annotations, whatever comes
next), so where both sides speak this dialect each frame is read for its meaning and then
given back byte for byte. Only a frame that breaks the grammar that every stream of ours
obeys (see `writer`) is mended: a client sees one OpenAI, whichever server answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from ... import estimate
from ...errors import UpstreamGarbled
from ...events import ChatReply, ChatRequest, Event, Failed, Finished, InputDelta, TextDelta, ThinkingDelta
from ...jsontext import encode, escape_line_ends
from ...sse import Frame, SSEDecoder
from ...translate import MAX_WHOLE, Translator
from .reader import STOP_REASONS, OpenAIReader, _ToolCall
from .usage import NULL, render_usage
from .writer import DONE, FINISH_REASONS, OpenAIWriter

CHUNK = "chat.completion.chunk"
WHOLE = "chat.completion"
_REASONS = frozenset(FINISH_REASONS.values()) | {"function_call"}
_USAGE_NULL = b',"usage":null'


class _Choice:
    """What one choice has said so far."""

    __slots__ = ("calls", "finished", "ids", "named", "role")

    def __init__(self) -> None:
        self.role = False
        self.finished = False
        self.calls: dict[object, int] = {}  # the server's index or id -> ours
        self.ids: list[str] = []
        self.named: set[int] = set()

    def goes_on(self, calls: list[_ToolCall]) -> bool:
        """Whether these are only further pieces of arguments, as OpenAI writes them."""
        if len(calls) != 1:
            return False
        call, function = calls[0], calls[0].function
        return (
            self.calls.get(call.index) == call.index
            and call.id is None
            and call.type is msgspec.UNSET
            and function is not None
            and function.name is None
            and function.arguments.__class__ is str
        )


class OpenAIPassthrough(Translator):
    """Implements `aigateway.translate.Stream`.

    With ``raw`` nothing is mended; the answer is still read, for its end, its errors and
    its usage.
    """

    _reader: OpenAIReader

    def __init__(
        self,
        chat: ChatRequest,
        reader: OpenAIReader,
        writer: OpenAIWriter,
        id: str,
        created: int,
        parse_reply: Callable[[bytes], ChatReply],
        decoder: SSEDecoder | None = None,
        max_whole: int = MAX_WHOLE,
        *,
        raw: bool = False,
    ) -> None:
        super().__init__(chat, reader, writer, parse_reply, decoder, max_whole)
        self._raw = raw
        self._id = f"chatcmpl-{id}"
        self._created = created
        self._model = chat.model
        self._known = False  # id, created and model are the server's
        self._choices: dict[int, _Choice] = {}
        self._held: list[bytes] = []  # frames before the first that says something
        self._usage_chunk: dict[str, Any] | None = None  # the server's own, for the end

    def _read(self, frames: list[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            events = self._reader.feed(frame)
            if events:
                self._follow(events)
            if self.failure is not None:
                break
            chunk = self._reader.chunk
            if chunk is not None and not self.ended and (data := self._pass(frame.data)) is not None:
                out.append(b"data: %b\n\n" % data)
            if self.ended:
                out.append(self._tail())
                break
        if self.begun and self._held:
            out, self._held = self._held + out, []
        elif not self.begun:
            self._held += out
            return b""
        return b"".join(out)

    def _read_end(self) -> bytes:
        frames = self._decoder.close()
        out = self._read(frames) if frames else b""
        if not self.ended:
            self._follow(self._reader.end())
            if self.failure is None:
                held, self._held = self._held, []
                out = b"".join(held) + out + self._tail()
        return out

    def _follow(self, events: list[Event]) -> None:
        """Keep up with what the frames say."""
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

    # ------------------------------------------------------------- one frame

    def _pass(self, data: bytes) -> bytes | None:
        """The frame's data for the client: as it came, mended, or None where there is none."""
        chunk = self._reader.chunk
        assert chunk is not None
        if not data.isascii():
            try:
                data.decode("utf-8")
            except UnicodeDecodeError:
                self._fail(UpstreamGarbled("the provider sent a chunk that is not valid UTF-8"))
                return None
            data = escape_line_ends(data)
        if self._raw:
            return data
        choices = chunk.choices
        if choices and len(choices) == 1 and b"\n" not in data:
            choice = choices[0]
            state = self._choices.get(choice.index or 0)
            delta = choice.delta
            if (
                state is not None
                and state.role
                and not state.finished
                and delta is not None
                and delta.role is msgspec.UNSET
                and (
                    (delta.content.__class__ is str and delta.tool_calls is None)
                    or (delta.tool_calls is not None and state.goes_on(delta.tool_calls))
                )
                and delta.function_call is None
                and choice.finish_reason is None
                and chunk.id == self._id
                and chunk.created == self._created
                and chunk.model == self._model
                and chunk.object == CHUNK
            ):
                if chunk.usage is NULL or (self._chat.include_usage and bytes(chunk.usage) == b"null"):
                    return data
                if data.count(_USAGE_NULL) == 1 and bytes(chunk.usage) == b"null":
                    return data.replace(_USAGE_NULL, b"")
        value = msgspec.json.decode(data)
        mended = self._mend(value)
        if mended is None:
            return None
        self._known = True  # what the first chunk said of itself holds for all
        return escape_line_ends(encode(value)) if mended or b"\n" in data else data

    def _mend(self, value: dict[str, Any]) -> bool | None:
        """Put the grammar into one chunk: whether anything had to change; None to leave it out."""
        changed = self._identify(value)
        usage = value.get("usage")
        if usage is not None:
            if not value.get("choices"):
                self._usage_chunk = value
                return None
            value.pop("usage")
            changed = True
        elif "usage" in value and not self._chat.include_usage:
            value.pop("usage")
            changed = True
        choices = [choice for choice in value.get("choices") or () if isinstance(choice, dict)]
        kept = []
        for choice in choices:
            touched = self._mend_choice(choice)
            if touched is None:
                changed = True
                continue
            changed |= touched
            kept.append(choice)
        if not kept:
            return None  # Azure's filter results, moderation: nothing that the grammar has a place for
        if len(kept) != len(value["choices"]):
            value["choices"] = kept
        return changed

    def _identify(self, value: dict[str, Any]) -> bool:
        """One id, created and model in all chunks: those of the first that has them."""
        if not self._known and value.get("id"):
            self._known = True
            self._id = str(value["id"])
            created, model = value.get("created"), value.get("model")
            self._created = created if isinstance(created, int) and created > 0 else self._created
            self._model = model if isinstance(model, str) and model else self._model
        changed = False
        for name, fixed in (
            ("id", self._id),
            ("object", CHUNK),
            ("created", self._created),
            ("model", self._model),
        ):
            if value.get(name) != fixed:
                value[name] = fixed
                changed = True
        return changed

    def _mend_choice(self, choice: dict[str, Any]) -> bool | None:
        changed = False
        index = choice.get("index")
        if not isinstance(index, int):
            index = choice["index"] = 0
            changed = True
        state = self._choices.setdefault(index, _Choice())
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice["delta"] = {}
            changed = True
        changed |= self._mend_delta(delta, state)
        return self._mend_finish(choice, delta, state, changed)

    def _mend_delta(self, delta: dict[str, Any], state: _Choice) -> bool:
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
            _spread(delta, content)
        elif content is None and "role" not in delta:
            changed = True
            del delta["content"]
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for call in calls:
                if isinstance(call, dict):
                    changed |= self._mend_call(call, state)
        elif "tool_calls" in delta:
            changed = True
            del delta["tool_calls"]
        return changed

    def _mend_call(self, call: dict[str, Any], state: _Choice) -> bool:
        """Indices from 0 without gaps; id, type and name once each; arguments as a string."""
        function = call.get("function")
        if not isinstance(function, dict):
            function = {}
        id, name = call.get("id") or "", function.get("name") or ""
        key = call.get("index") if isinstance(call.get("index"), int) else id or "last"
        known = state.calls.get(key)
        if known is None and key == "last" and not name and state.ids:
            known = len(state.ids) - 1
        if known is not None and id and name and state.ids[known] != id:
            known = state.ids.index(id) if id in state.ids else None
        arguments = function.get("arguments", "")
        if not isinstance(arguments, str):
            arguments = "" if arguments is None else encode(arguments).decode()
        mended: dict[str, Any] = {"function": {"arguments": arguments}}
        if known is None:
            known = len(state.ids)
            id = id if id and id not in state.ids else f"call_{uuid4().hex[:24]}"
            state.ids.append(id)
            mended = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            if name:
                state.named.add(known)
        elif name and known not in state.named:
            state.named.add(known)
            mended["function"]["name"] = name
        state.calls[key] = known
        mended["index"] = known
        if extra := call.get("extra_content"):
            mended["extra_content"] = extra
        if mended == call:
            return False
        call.clear()
        call.update(index=mended.pop("index"), **mended)
        return True

    def _mend_finish(
        self, choice: dict[str, Any], delta: dict[str, Any], state: _Choice, changed: bool
    ) -> bool | None:
        reason = choice.get("finish_reason", "")
        if state.finished:
            if not any(delta.values()):
                return None  # OpenRouter repeats the end, and then takes it back
            wanted = None
        elif not reason:
            wanted = None
        else:
            state.finished = True
            wanted = _finish_reason(reason, bool(state.ids))
        if reason != wanted or "finish_reason" not in choice:
            choice["finish_reason"] = wanted
            return True
        return changed

    # ------------------------------------------------------------------- end

    def _tail(self) -> bytes:
        """What the grammar still wants: a finish for each choice, usage where asked for, [DONE]."""
        if self._raw:
            return DONE
        out: list[bytes] = []
        base = {"id": self._id, "object": CHUNK, "created": self._created, "model": self._model}
        for index, state in sorted(self._choices.items()) or [(0, _Choice())]:
            if not state.finished:
                delta = {} if state.role else {"role": "assistant", "content": ""}
                reason = _finish_reason(FINISH_REASONS.get(self.stop_reason or "", "stop"), bool(state.ids))
                choice = {"index": index, "delta": delta, "finish_reason": reason}
                out.append(b"data: %b\n\n" % escape_line_ends(encode({**base, "choices": [choice]})))
        if self._chat.include_usage:
            out.append(b"data: %b\n\n" % self._usage(base))
        out.append(DONE)
        return b"".join(out)

    def _usage(self, base: dict[str, object]) -> bytes:
        usage = self._reader.usage
        chunk = self._usage_chunk
        if usage is None or chunk is None:
            counts = render_usage(usage or estimate.usage(self._chat, self._writer.size))
            chunk = {"usage": msgspec.Raw(counts)}
        return escape_line_ends(encode(chunk | base | {"choices": []}))


def pass_reply(body: bytes, reply: ChatReply, chat: ChatRequest, id: str, created: int) -> bytes:
    """A whole answer as it came; mended where it is no ``chat.completion`` by the book."""
    value = msgspec.json.decode(body)
    changed = False
    for name, fixed in (("id", f"chatcmpl-{id}"), ("created", created), ("model", chat.model)):
        if not value.get(name):
            value[name] = fixed
            changed = True
    if value.get("object") != WHOLE:
        value["object"] = WHOLE
        changed = True
    for choice in value["choices"]:
        calls = (choice.get("message") or {}).get("tool_calls")
        reason = _finish_reason(choice.get("finish_reason") or "stop", bool(calls))
        if choice.get("finish_reason") != reason:
            choice["finish_reason"] = reason
            changed = True
        for call in calls or ():
            arguments = (call.get("function") or {}).get("arguments")
            if not isinstance(arguments, str):
                call["function"]["arguments"] = encode(arguments or {}).decode()
                changed = True
    if reply.usage is None:
        guess = estimate.usage(chat, estimate.size_of(reply))
        value["usage"] = msgspec.Raw(render_usage(guess))
        changed = True
    return encode(value) if changed else body


def _finish_reason(reason: object, calls: bool) -> str:
    """One of OpenAI's, and ``tool_calls`` exactly where there are calls to run."""
    known = str(reason)
    if known not in _REASONS:
        known = FINISH_REASONS[STOP_REASONS.get(known, "end_turn")]
    if known == "stop" and calls:
        return "tool_calls"
    if known == "tool_calls" and not calls:
        return "stop"
    return known


def _spread(delta: dict[str, Any], parts: list[Any]) -> None:
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
