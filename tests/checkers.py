"""The grammar of the streams that clients get, checked byte by byte.

Strict on purpose, and apart from the code under test: framing is split here by hand, JSON is read
by ``json``. A stream that breaks a rule raises `AssertionError`; one that keeps them all gives
back what it told, as an `Answer`. Rules: Anthropic's "Streaming messages", OpenAI's "Streaming
events", and what the gateway promises beyond them (one data line, no unknown field, no empty block).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

CLAUDE_STOPS = {
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
}
CLAUDE_ERRORS = {
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "overloaded_error",
    "timeout_error",
}
OPENAI_FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}
CLAUDE_DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
}


@dataclass
class Answer:
    """What a stream told. ``blocks`` are (kind, text) in their order, for a Claude stream;
    ``calls`` are (id, name, JSON text of the arguments). ``stop`` is in the client's own words."""

    id: str = ""
    model: str = ""
    blocks: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    thinking: str = ""
    signatures: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    stop: str | None = None
    stop_sequence: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    comments: int = 0
    pings: int = 0
    chunks: list[dict[str, Any]] = field(default_factory=list)


def check_claude(data: bytes, *, whole: bool = True) -> Answer:
    """The answer that a Claude stream tells. ``whole``: it must have come to an end, by
    ``message_stop`` or an error; otherwise it may stop between any two events."""
    check = _Claude()
    for event, text in _frames(data):
        check.frame(event, text)
    if whole:
        assert check.ended, "the stream stops without message_stop or an error"
    return check.answer


def check_openai(data: bytes, *, include_usage: bool, whole: bool = True) -> Answer:
    """The answer that an OpenAI stream tells; ``whole`` as in `check_claude`."""
    check = _OpenAI(include_usage)
    for event, text in _frames(data):
        check.frame(event, text)
    if whole:
        assert check.ended, "the stream stops without [DONE] or an error"
    return check.answer


def strict_json(text: str) -> Any:
    """``text`` as JSON, without duplicate names and without what is no JSON (NaN)."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"the same name twice: {pairs}"
        return dict(pairs)

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, object_pairs_hook=once, parse_constant=refuse)


def _frames(data: bytes) -> Iterator[tuple[str, str]]:
    """(event, data) of each frame; a comment as ``("", ":")``."""
    if not data:
        return
    assert data.endswith(b"\n\n"), f"an unfinished frame: {data[-80:]!r}"
    for block in data.decode("utf-8")[:-2].split("\n\n"):
        lines = block.split("\n")
        assert lines == block.splitlines(), f"a line end of another kind, or none: {block!r}"
        if lines[0].startswith(":"):
            assert len(lines) == 1, f"a comment with more in its frame: {block!r}"
            yield "", ":"
            continue
        event = ""
        if lines[0].startswith("event: "):
            event = lines.pop(0).removeprefix("event: ")
            assert event, "an empty event name"
        assert len(lines) == 1, f"not one data line: {block!r}"
        assert lines[0].startswith("data: "), f"no data line: {block!r}"
        yield event, lines[0].removeprefix("data: ")


def _keys(value: Any, names: str, where: str) -> None:
    assert isinstance(value, dict), f"{where}: no object: {value!r}"
    assert set(value) == set(names.split()), f"{where}: has {sorted(value)}, wants {names}"


def _count(value: Any, where: str) -> None:
    assert type(value) is int, f"{where}: no count: {value!r}"
    assert value >= 0, f"{where}: no count: {value!r}"


class _Claude:
    """Where a Claude stream is: ``block`` is the kind of the open block, "" for none."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.started = False
        self.ended = False
        self.delta_seen = False
        self.block = ""
        self.signed = False
        self.pieces: list[str] = []
        self.call = ("", "")
        self.count = 0

    def frame(self, event: str, text: str) -> None:
        assert not self.ended, f"after the end: {event} {text}"
        if text == ":":
            assert not self.started, "a comment after message_start: pings are for that"
            self.answer.comments += 1
            return
        data = strict_json(text)
        assert event == data.get("type"), f"event {event!r} with type {data.get('type')!r}"
        self.answer.chunks.append(data)
        if event == "error":
            self.error(data)
            return
        assert self.started == (event != "message_start"), f"{event} where the message starts"
        getattr(self, event)(data)

    def error(self, data: dict[str, Any]) -> None:
        _keys(data, "type error request_id", "error")
        _keys(data["error"], "type message", "error.error")
        assert data["error"]["type"] in CLAUDE_ERRORS, f"no such error: {data}"
        assert data["error"]["message"], "an error without a message"
        assert not self.delta_seen, "an error after message_delta"
        self.take()  # a block that it breaks off
        self.answer.error = data["error"]
        self.ended = True

    def ping(self, data: dict[str, Any]) -> None:
        _keys(data, "type", "ping")
        assert not self.delta_seen, "a ping after message_delta"
        self.answer.pings += 1

    def message_start(self, data: dict[str, Any]) -> None:
        _keys(data, "type message", "message_start")
        message = data["message"]
        _keys(message, "id type role model content stop_reason stop_sequence usage", "message")
        assert message["id"].startswith("msg_"), message["id"]
        fixed = {name: message[name] for name in ("type", "role", "content", "stop_reason", "stop_sequence")}
        assert fixed == {
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }, fixed
        assert isinstance(message["model"], str), "no model"
        self.usage(message["usage"])
        self.answer.id, self.answer.model = message["id"], message["model"]
        self.started = True

    def content_block_start(self, data: dict[str, Any]) -> None:
        _keys(data, "type index content_block", "content_block_start")
        assert not self.block, f"block {data['index']} starts inside a {self.block} block"
        assert not self.delta_seen, "a block after message_delta"
        assert data["index"] == self.count, f"index {data['index']}, wants {self.count}"
        block = data["content_block"]
        self.block, self.signed, self.pieces = block["type"], False, []
        if self.block == "text":
            assert block == {"type": "text", "text": ""}, block
        elif self.block == "thinking":
            assert block == {"type": "thinking", "thinking": "", "signature": ""}, block
        elif self.block == "redacted_thinking":
            _keys(block, "type data", "redacted_thinking")
            self.pieces = [block["data"]]
        else:
            assert self.block == "tool_use", f"no such block: {block}"
            _keys(block, "type id name input", "tool_use")
            assert isinstance(block["id"], str), "no id"
            assert isinstance(block["name"], str), "no name"
            assert block["id"], "an empty id"
            assert block["name"], "an empty name"
            assert block["input"] == {}, f"input at the start: {block['input']}"
            assert block["id"] not in {id for id, _, _ in self.answer.calls}, f"the id {block['id']} twice"
            self.call = (block["id"], block["name"])

    def content_block_delta(self, data: dict[str, Any]) -> None:
        _keys(data, "type index delta", "content_block_delta")
        assert self.block, "a delta outside a block"
        assert data["index"] == self.count, f"index {data['index']}, wants {self.count}"
        delta = data["delta"]
        assert delta["type"] in CLAUDE_DELTAS, f"no such delta: {delta}"
        block, name = CLAUDE_DELTAS[delta["type"]]
        assert block == self.block, f"a {delta['type']} in a {self.block} block"
        _keys(delta, f"type {name}", "delta")
        assert isinstance(delta[name], str), f"no text: {delta}"
        assert not self.signed, "a delta after the signature"
        if delta["type"] == "signature_delta":
            assert delta["signature"], "an empty signature"
            self.signed = True
            self.answer.signatures.append(delta["signature"])
        else:
            self.pieces.append(delta[name])

    def content_block_stop(self, data: dict[str, Any]) -> None:
        _keys(data, "type index", "content_block_stop")
        assert self.block, "a block ends that has not started"
        assert data["index"] == self.count, f"index {data['index']}, wants {self.count}"
        assert any(self.pieces) or self.signed or self.block == "tool_use", f"an empty {self.block} block"
        self.take()
        self.count += 1

    def take(self) -> None:
        """What the open block told so far is told."""
        text = "".join(self.pieces)
        if self.block == "text":
            self.answer.text += text
        elif self.block == "thinking":
            self.answer.thinking += text
        elif self.block == "tool_use":
            self.answer.calls.append((*self.call, text or "{}"))
        if self.block:
            self.answer.blocks.append((self.block, text))
        self.block = ""

    def message_delta(self, data: dict[str, Any]) -> None:
        _keys(data, "type delta usage", "message_delta")
        assert not self.block, f"message_delta inside a {self.block} block"
        assert not self.delta_seen, "a second message_delta"
        delta = data["delta"]
        _keys(delta, "stop_reason stop_sequence", "message_delta.delta")
        reason, sequence = delta["stop_reason"], delta["stop_sequence"]
        assert reason in CLAUDE_STOPS, f"no such stop reason: {reason}"
        assert (reason == "stop_sequence") == (sequence is not None), f"{reason} with {sequence!r}"
        if reason in ("tool_use", "end_turn", "stop_sequence"):
            assert (reason == "tool_use") == bool(self.answer.calls), f"{reason}: {self.answer.calls}"
        self.usage(data["usage"])
        self.answer.stop, self.answer.stop_sequence = reason, sequence
        self.answer.usage = data["usage"]
        self.delta_seen = True

    def message_stop(self, data: dict[str, Any]) -> None:
        _keys(data, "type", "message_stop")
        assert self.delta_seen, "message_stop without message_delta"
        self.ended = True

    def usage(self, usage: Any) -> None:
        names = "input_tokens cache_creation_input_tokens cache_read_input_tokens output_tokens"
        if "output_tokens_details" in usage:
            names += " output_tokens_details"
            _keys(usage["output_tokens_details"], "thinking_tokens", "output_tokens_details")
            _count(usage["output_tokens_details"]["thinking_tokens"], "thinking_tokens")
        _keys(usage, names, "usage")
        for name in names.split()[:4]:
            _count(usage[name], name)


class _OpenAI:
    """Where an OpenAI stream is."""

    def __init__(self, include_usage: bool) -> None:
        self.answer = Answer()
        self.include_usage = include_usage
        self.first: dict[str, Any] | None = None
        self.finished = False
        self.ended = False

    def frame(self, event: str, text: str) -> None:
        assert not event, f"an event line: {event}"
        assert not self.ended, f"after the end: {text}"
        if text == ":":
            self.answer.comments += 1
            return
        if text == "[DONE]":
            assert self.finished, "[DONE] without a finish reason"
            assert not self.include_usage or self.answer.usage, "[DONE] without usage, which was asked for"
            self.end()
            return
        data = strict_json(text)
        if "error" in data:
            self.error(data)
            return
        self.answer.chunks.append(data)
        self.chunk(data)

    def end(self) -> None:
        self.ended = True
        for _, name, arguments in self.answer.calls:
            assert arguments or self.answer.error, f"no arguments for {name}"

    def error(self, data: dict[str, Any]) -> None:
        _keys(data, "error", "error frame")
        _keys(data["error"], "message type param code", "error")
        assert data["error"]["message"], "an error without a message"
        assert isinstance(data["error"]["type"], str), "no type"
        assert not self.finished, "an error after the finish reason"
        self.answer.error = data["error"]
        self.end()

    def chunk(self, data: dict[str, Any]) -> None:
        names = "id object created model choices"
        _keys(data, f"{names} usage" if self.include_usage else names, "chunk")
        assert data["object"] == "chat.completion.chunk", data["object"]
        same = {name: data[name] for name in ("id", "created", "model")}
        if self.first is None:
            self.first = same
            assert data["id"].startswith("chatcmpl-"), data["id"]
            _count(data["created"], "created")
            assert isinstance(data["model"], str), "no model"
            self.answer.id, self.answer.model = data["id"], data["model"]
            begins = True
        else:
            assert same == self.first, f"{same} after {self.first}"
            begins = False
        if not data["choices"]:
            self.usage(data)
            return
        assert data.get("usage") is None, "usage in a chunk with a choice"
        assert not self.finished, "a choice after the finish reason"
        (choice,) = data["choices"]
        _keys(choice, "index delta finish_reason", "choice")
        assert choice["index"] == 0, "a second choice"
        self.delta(choice["delta"], begins)
        if choice["finish_reason"] is not None:
            self.finish(choice["finish_reason"], choice["delta"])

    def delta(self, delta: dict[str, Any], begins: bool) -> None:
        if begins:
            assert delta == {"role": "assistant", "content": ""}, f"the first delta: {delta}"
            return
        assert set(delta) <= {"content", "reasoning_content", "tool_calls"}, f"unknown in a delta: {delta}"
        assert len(delta) <= 1, f"two things in a delta: {delta}"
        for name in ("content", "reasoning_content"):
            if name in delta:
                assert isinstance(delta[name], str), f"{name} is no string: {delta}"
        self.answer.text += delta.get("content", "")
        self.answer.thinking += delta.get("reasoning_content", "")
        if "tool_calls" in delta:
            (call,) = delta["tool_calls"]
            self.call(call)

    def call(self, call: dict[str, Any]) -> None:
        calls = self.answer.calls
        if "id" in call:
            names = "index id type function"
            if "extra_content" in call:
                names += " extra_content"
                _keys(call["extra_content"], "google", "extra_content")
                _keys(call["extra_content"]["google"], "thought_signature", "extra_content.google")
                self.answer.signatures.append(call["extra_content"]["google"]["thought_signature"])
            _keys(call, names, "call")
            assert call["index"] == len(calls), f"index {call['index']}, wants {len(calls)}"
            assert call["type"] == "function", call["type"]
            _keys(call["function"], "name arguments", "function")
            assert call["id"], "an empty id"
            assert call["function"]["name"], "an empty name"
            assert call["function"]["arguments"] == "", "arguments with the name"
            assert call["id"] not in {id for id, _, _ in calls}, f"the id {call['id']} twice"
            calls.append((call["id"], call["function"]["name"], ""))
        else:
            _keys(call, "index function", "call")
            _keys(call["function"], "arguments", "function")
            assert calls, "arguments before any call"
            assert call["index"] == len(calls) - 1, f"arguments for {call['index']} of {len(calls)} calls"
            assert isinstance(call["function"]["arguments"], str), "arguments are no string"
            assert call["function"]["arguments"], "empty arguments"
            id, name, text = calls[-1]
            calls[-1] = (id, name, text + call["function"]["arguments"])

    def finish(self, reason: str, delta: dict[str, Any]) -> None:
        assert reason in OPENAI_FINISHES, f"no such finish reason: {reason}"
        assert delta == {}, f"a delta with the finish reason: {delta}"
        if reason in ("stop", "tool_calls"):
            assert (reason == "tool_calls") == bool(self.answer.calls), f"{reason}: {self.answer.calls}"
        self.answer.stop = reason
        self.finished = True

    def usage(self, data: dict[str, Any]) -> None:
        assert self.include_usage, "a usage chunk that nobody asked for"
        assert self.finished, "a usage chunk before the finish reason"
        assert self.answer.usage is None, "a second usage chunk"
        usage = data["usage"]
        names = "prompt_tokens completion_tokens total_tokens prompt_tokens_details completion_tokens_details"
        _keys(usage, names, "usage")
        _keys(usage["prompt_tokens_details"], "cached_tokens", "prompt_tokens_details")
        _keys(usage["completion_tokens_details"], "reasoning_tokens", "completion_tokens_details")
        for name in names.split()[:3]:
            _count(usage[name], name)
        _count(usage["prompt_tokens_details"]["cached_tokens"], "cached_tokens")
        _count(usage["completion_tokens_details"]["reasoning_tokens"], "reasoning_tokens")
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], usage
        self.answer.usage = usage
