"""The grammar of Anthropic's Messages stream (https://platform.claude.com/docs/en/build-with-claude/streaming).

Strict: what the gateway writes, no unknown field, no empty block. Lenient: what Anthropic sends,
with server tools, citations and events to come; the order of events, the indices and what may
stand in which block are checked all the same.
"""

from __future__ import annotations

import json
from typing import Any

from .common import (
    Answer,
    Frame,
    Grammar,
    count,
    demand,
    items,
    json_object,
    kind_of,
    lenient_frames,
    name,
    strict_frames,
    text,
)

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
_DELTAS = {  # what each carries
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
_FITTING = {  # the known deltas of each known block
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "redacted_thinking": set[str](),
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "mcp_tool_use": {"input_json_delta"},
    "compaction": {"compaction_delta"},
}
_KNOWN_DELTAS = set[str]().union(*_FITTING.values())
_COUNTS = "input_tokens cache_creation_input_tokens cache_read_input_tokens output_tokens"


def check_claude(data: bytes, *, whole: bool = True, lenient: bool = False) -> Answer:
    """The answer that a Claude stream tells. ``whole``: it must have come to an end, by
    ``message_stop`` or an error; otherwise it may stop between any two events."""
    frames = lenient_frames(data) if lenient else strict_frames(data)
    return _Claude(lenient=lenient).run(frames, whole=whole)


class _Claude(Grammar):
    """Where a Claude stream is: ``block`` is the kind of the open block, "" for none."""

    WANTS = "message_stop"

    def __init__(self, *, lenient: bool) -> None:
        super().__init__(lenient=lenient)
        self.started = False
        self.delta_seen = False
        self.block = ""
        self.signed = False
        self.pieces: list[str] = []
        self.call = ("", "")
        self.given = ""
        self.index = 0
        self.events = {
            "error": self.error,
            "ping": self.ping,
            "message_start": self.message_start,
            "content_block_start": self.content_block_start,
            "content_block_delta": self.content_block_delta,
            "content_block_stop": self.content_block_stop,
            "message_delta": self.message_delta,
            "message_stop": self.message_stop,
        }

    def frame(self, frame: Frame) -> None:
        demand(not self.ended, "after the end")
        if frame.data is None:
            demand(self.lenient or not self.started, "a comment after message_start: pings are for that")
            self.answer.comments += 1
            return
        data = json_object(frame.data)
        event = kind_of(data, "the event")
        demand(frame.event == event, "event {} with type {}", frame.event, event)
        self.answer.chunks.append(data)
        known = self.events.get(event)
        if known is None:
            demand(self.lenient, "no such event: {}", event)
            return
        if event != "error" and not (self.lenient and event == "ping"):
            demand(self.started or event == "message_start", "{} before message_start", event)
            demand(not self.started or event != "message_start", "a second message_start")
        known(data)

    def error(self, data: dict[str, Any]) -> None:
        self.fields(data, "type error" if self.lenient else "type error request_id", "error")
        error = self.fields(data["error"], "type message", "error.error")
        kind = name(error["type"], "error.type")
        demand(self.lenient or kind in CLAUDE_ERRORS, "no such error: {}", kind)
        name(error["message"], "error.message")
        demand(not self.delta_seen, "an error after message_delta")
        self.take()  # a block that it breaks off
        self.answer.error = error
        self.ended = True

    def ping(self, data: dict[str, Any]) -> None:
        self.fields(data, "type", "ping")
        demand(self.lenient or not self.delta_seen, "a ping after message_delta")
        self.answer.pings += 1

    def message_start(self, data: dict[str, Any]) -> None:
        self.fields(data, "type message", "message_start")
        names = "id type role model content usage"
        if not self.lenient:
            names += " stop_reason stop_sequence"
        message = self.fields(data["message"], names, "message")
        self.answer.id, self.answer.model = name(message["id"], "id"), text(message["model"], "model")
        demand(message["type"] == "message", "message.type is {}", message["type"])
        demand(message["role"] == "assistant", "message.role is {}", message["role"])
        blocks, reason = items(message["content"], "content"), message.get("stop_reason")
        if not self.lenient:
            demand(message["id"].startswith("msg_"), "the id does not begin with msg_: {}", message["id"])
            demand(not blocks, "content in message_start")
            demand(reason is None, "stop_reason in message_start")
            demand(message["stop_sequence"] is None, "stop_sequence in message_start")
        self.usage(message["usage"])
        self.started = True
        # Anthropic goes on from a call that a program of its own made with an answer that is whole
        # at once: its blocks and its stop reason are in message_start, and message_stop follows.
        for block in blocks:
            self.begin(block)
            self.take()
            self.index += 1
        if reason is not None:
            self.answer.stop, self.answer.usage = name(reason, "stop_reason"), message["usage"]
            self.delta_seen = True

    def content_block_start(self, data: dict[str, Any]) -> None:
        self.fields(data, "type index content_block", "content_block_start")
        demand(not self.block, "a block starts inside a {} block", self.block)
        demand(not self.delta_seen, "a block after message_delta")
        demand(data["index"] == self.index, "index {}, wants {}", data["index"], self.index)
        self.begin(data["content_block"])

    def begin(self, block: Any) -> None:
        """A block opens, with what it holds from the start."""
        kind = kind_of(block, "the block")
        self.signed, self.pieces, self.given = False, [], ""
        if kind == "text":
            self.fields(block, "type text", "text block")
            self.pieces = [text(block["text"], "text")]
            demand(self.lenient or not block["text"], "text at the start: {}", block["text"])
        elif kind == "thinking":
            self.fields(
                block, "type thinking" if self.lenient else "type thinking signature", "thinking block"
            )
            self.pieces = [text(block["thinking"], "thinking")]
            demand(self.lenient or block["thinking"] == block["signature"] == "", "thinking at the start")
        elif kind == "redacted_thinking":
            self.fields(block, "type data", "redacted_thinking block")
            self.pieces = [name(block["data"], "data")]
        elif kind == "tool_use":
            self.tool_use(block)
        else:
            demand(self.lenient, "no such block: {}", kind)
        self.block = kind

    def tool_use(self, block: dict[str, Any]) -> None:
        self.fields(block, "type id name input", "tool_use block")
        self.call = (name(block["id"], "id"), name(block["name"], "name"))
        demand(isinstance(block["input"], dict), "input is no object: {}", block["input"])
        demand(self.lenient or not block["input"], "input at the start: {}", block["input"])
        self.given = json.dumps(block["input"])
        demand(self.call[0] not in {id for id, _, _ in self.answer.calls}, "the id {} twice", self.call[0])

    def content_block_delta(self, data: dict[str, Any]) -> None:
        self.fields(data, "type index delta", "content_block_delta")
        demand(self.block, "a delta outside a block")
        demand(data["index"] == self.index, "index {}, wants {}", data["index"], self.index)
        delta = data["delta"]
        kind = kind_of(delta, "the delta")
        if kind not in _KNOWN_DELTAS or self.block not in _FITTING:
            demand(self.lenient, "no such delta: {}", kind)
        else:
            demand(kind in _FITTING[self.block], "a {} in a {} block", kind, self.block)
        if kind not in _DELTAS:
            demand(self.lenient, "no such delta: {}", kind)
            return
        told = self.fields(delta, f"type {_DELTAS[kind]}", "delta")[_DELTAS[kind]]
        demand(not self.signed, "a delta after the signature")
        if kind == "signature_delta":
            self.answer.signatures.append(name(told, "signature"))
            self.signed = True
        else:
            self.pieces.append(text(told, _DELTAS[kind]))

    def content_block_stop(self, data: dict[str, Any]) -> None:
        self.fields(data, "type index", "content_block_stop")
        demand(self.block, "a block ends that has not started")
        demand(data["index"] == self.index, "index {}, wants {}", data["index"], self.index)
        told = any(self.pieces) or self.signed or self.block == "tool_use"
        demand(told or self.lenient, "an empty {} block", self.block)
        self.take()
        self.index += 1

    def take(self) -> None:
        """What the open block told so far is told."""
        told = "".join(self.pieces)
        if self.block == "text":
            self.answer.text += told
        elif self.block == "thinking":
            self.answer.thinking += told
        elif self.block == "tool_use":
            self.answer.calls.append((*self.call, told or self.given))
        if self.block:
            self.answer.blocks.append((self.block, told))
        self.block = ""

    def message_delta(self, data: dict[str, Any]) -> None:
        self.fields(data, "type delta" if self.lenient else "type delta usage", "message_delta", "usage")
        demand(not self.block, "message_delta inside a {} block", self.block)
        demand(not self.delta_seen, "a second message_delta")
        names = "stop_reason" if self.lenient else "stop_reason stop_sequence"
        delta = self.fields(data["delta"], names, "message_delta.delta")
        reason, sequence = name(delta["stop_reason"], "stop_reason"), delta.get("stop_sequence")
        if not self.lenient:
            demand(reason in CLAUDE_STOPS, "no such stop reason: {}", reason)
            demand((reason == "stop_sequence") == (sequence is not None), "{} with {}", reason, sequence)
        if reason == "tool_use":
            demand(self.answer.calls, "tool_use without a call")
        elif reason in ("end_turn", "stop_sequence"):
            demand(self.lenient or not self.answer.calls, "{} with calls", reason)
        if "usage" in data:
            self.usage(data["usage"])
            self.answer.usage = data["usage"]
        self.answer.stop, self.answer.stop_sequence = reason, sequence
        self.delta_seen = True

    def message_stop(self, data: dict[str, Any]) -> None:
        self.fields(data, "type", "message_stop")
        demand(not self.block, "message_stop inside a {} block", self.block)
        demand(self.delta_seen, "message_stop without message_delta")
        self.ended = True

    def usage(self, usage: Any) -> None:
        self.fields(usage, "" if self.lenient else _COUNTS, "usage", f"{_COUNTS} output_tokens_details")
        for kind in _COUNTS.split():
            if kind in usage and not (self.lenient and usage[kind] is None):
                count(usage[kind], kind)
        if usage.get("output_tokens_details") is not None:
            details = self.fields(usage["output_tokens_details"], "thinking_tokens", "output_tokens_details")
            count(details["thinking_tokens"], "thinking_tokens")
