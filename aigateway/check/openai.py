"""The grammar of OpenAI's Chat Completions stream.

Rules: OpenAI's "Streaming events" (https://platform.openai.com/docs/api-reference/chat-streaming),
and what the gateway promises beyond them. Strict: what the gateway writes. Lenient: what servers
like OpenAI send, each in its own way: the role in every delta, usage anywhere, no ``[DONE]``.
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

OPENAI_FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}
_COUNTS = "prompt_tokens completion_tokens total_tokens"
_DETAILS = (("prompt_tokens_details", "cached_tokens"), ("completion_tokens_details", "reasoning_tokens"))
_THINKING = ("reasoning_content", "reasoning")
_GIVEN = {"function": "arguments", "custom": "input"}
"""What each kind of tool is given. A custom one takes any text, none included."""


def check_openai(
    data: bytes, *, include_usage: bool | None = None, whole: bool = True, lenient: bool = False
) -> Answer:
    """The answer that an OpenAI stream tells; ``whole``: it must have come to an end, by ``[DONE]``
    or an error. ``include_usage`` says whether the client asked for usage; with None, the first
    chunk tells, since ``usage`` is in each where it was asked for."""
    if lenient:
        return _Lenient(lenient=True).run(lenient_frames(data), whole=whole)
    return _Strict(include_usage).run(strict_frames(data), whole=whole)


class _Strict(Grammar):
    """Where a stream of the gateway's own is."""

    WANTS = "[DONE]"

    def __init__(self, include_usage: bool | None) -> None:
        super().__init__(lenient=False)
        self.include_usage = include_usage
        self.first: dict[str, Any] | None = None
        self.finished = False
        self.kinds: list[str] = []  # of the calls

    def frame(self, frame: Frame) -> None:
        demand(not frame.event, "an event line: {}", frame.event)
        demand(not self.ended, "after the end")
        if frame.data is None:
            self.answer.comments += 1
            return
        if frame.data == "[DONE]":
            demand(self.finished, "[DONE] without a finish reason")
            demand(not self.include_usage or self.answer.usage, "[DONE] without usage, which was asked for")
            self.end()
            return
        data = json_object(frame.data)
        if "error" in data:
            self.error(data)
            return
        self.answer.chunks.append(data)
        self.chunk(data)

    def end(self) -> None:
        self.ended = True
        for kind, (_, called, arguments) in zip(self.kinds, self.answer.calls, strict=True):
            demand(arguments or kind == "custom" or self.answer.error, "no arguments for {}", called)

    def error(self, data: dict[str, Any]) -> None:
        self.fields(data, "error", "error frame")
        error = self.fields(data["error"], "message type param code", "error")
        name(error["message"], "error.message")
        text(error["type"], "error.type")
        demand(not self.finished, "an error after the finish reason")
        self.answer.error = error
        self.end()

    def chunk(self, data: dict[str, Any]) -> None:
        if self.include_usage is None:
            self.include_usage = "usage" in data
        names = "id object created model choices"
        self.fields(data, f"{names} usage" if self.include_usage else names, "chunk")
        demand(data["object"] == "chat.completion.chunk", "object is {}", data["object"])
        same = {name: data[name] for name in ("id", "created", "model")}
        begins = self.first is None
        if begins:
            self.first = same
            self.answer.id, self.answer.model = name(data["id"], "id"), text(data["model"], "model")
            demand(data["id"].startswith("chatcmpl-"), "the id does not begin with chatcmpl-")
            count(data["created"], "created")
        demand(same == self.first, "not the same throughout: {} after {}", same, self.first)
        choices = items(data["choices"], "choices")
        if not choices:
            self.usage(data.get("usage"))
            return
        demand(data.get("usage") is None, "usage in a chunk with a choice")
        demand(not self.finished, "a choice after the finish reason")
        demand(len(choices) == 1, "more than one choice")
        choice = self.fields(choices[0], "index delta finish_reason", "choice")
        demand(choice["index"] == 0, "a second choice")
        self.delta(choice["delta"], begins)
        if choice["finish_reason"] is not None:
            self.finish(choice["finish_reason"], choice["delta"])

    def delta(self, delta: Any, begins: bool) -> None:
        if begins:
            demand(delta == {"role": "assistant", "content": ""}, "the first delta is {}", delta)
            return
        self.fields(delta, "", "delta", "content reasoning_content tool_calls")
        demand(len(delta) <= 1, "two things in a delta: {}", delta)
        self.answer.text += text(delta.get("content", ""), "content")
        self.answer.thinking += text(delta.get("reasoning_content", ""), "reasoning_content")
        if "tool_calls" in delta:
            calls = items(delta["tool_calls"], "tool_calls")
            demand(len(calls) == 1, "not one call in a delta: {}", calls)
            self.call(calls[0])

    def call(self, call: Any) -> None:
        calls = self.answer.calls
        kind = _kind(call)
        given = _GIVEN[kind]
        self.fields(call, f"index {kind}", "call", "id type extra_content")
        if "id" not in call:
            self.fields(call, f"index {kind}", "call without an id")
            demand(calls, "arguments before any call")
            demand(call["index"] == len(calls) - 1, "arguments for {} of {} calls", call["index"], len(calls))
            demand(kind == self.kinds[-1], "more of a {} in a call of type {}", kind, self.kinds[-1])
            more = self.fields(call[kind], given, kind)[given]
            id, called, arguments = calls[-1]
            calls[-1] = (id, called, arguments + name(more, given))
            return
        self.fields(call, f"index id type {kind}", "call", "extra_content")
        if "extra_content" in call:
            extra = self.fields(call["extra_content"], "google", "extra_content")["google"]
            signed = self.fields(extra, "thought_signature", "extra_content.google")
            self.answer.signatures.append(text(signed["thought_signature"], "thought_signature"))
        demand(call["index"] == len(calls), "index {}, wants {}", call["index"], len(calls))
        demand(call["type"] == kind, "the call's type is {}", call["type"])
        tool = self.fields(call[kind], f"name {given}", kind)
        demand(tool[given] == "", "arguments with the name: {}", tool[given])
        begun = (name(call["id"], "id"), name(tool["name"], "name"), "")
        demand(begun[0] not in {id for id, _, _ in calls}, "the id {} twice", begun[0])
        calls.append(begun)
        self.kinds.append(kind)

    def finish(self, reason: Any, delta: Any) -> None:
        reason = name(reason, "finish_reason")
        demand(reason in OPENAI_FINISHES, "no such finish reason: {}", reason)
        demand(delta == {}, "a delta with the finish reason: {}", delta)
        if reason == "tool_calls":
            demand(self.answer.calls, "tool_calls without a call")
        elif reason == "stop":
            demand(not self.answer.calls, "stop with calls")
        self.answer.stop = reason
        self.finished = True

    def usage(self, usage: Any) -> None:
        demand(self.include_usage, "a chunk without choices, and usage was not asked for")
        demand(self.finished, "a usage chunk before the finish reason")
        demand(self.answer.usage is None, "a second usage chunk")
        self.fields(usage, f"{_COUNTS} prompt_tokens_details completion_tokens_details", "usage")
        for kind in _COUNTS.split():
            count(usage[kind], kind)
        for details, kind in _DETAILS:
            count(self.fields(usage[details], kind, details)[kind], kind)
        demand(
            usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], "total: {}", usage
        )
        self.answer.usage = usage


class _Lenient(Grammar):
    """Where a provider's stream is. Only the first choice is read."""

    WANTS = "a finish reason, [DONE]"

    def __init__(self, *, lenient: bool) -> None:
        super().__init__(lenient=lenient)
        self.done = False
        self.places: dict[object, int] = {}  # a call's index, or its id, and its place in calls

    def frame(self, frame: Frame) -> None:
        demand(not self.done, "after [DONE]")
        if frame.data is None:
            self.answer.comments += 1
            return
        if frame.data.strip() == "[DONE]":
            self.done = self.ended = True
            return
        data = json_object(frame.data)
        self.answer.chunks.append(data)
        if data.get("error") or frame.event == "error":
            self.answer.error = data
            self.ended = True
            return
        demand(not self.answer.error, "after an error")
        if not self.answer.id and isinstance(data.get("id"), str):
            self.answer.id = data["id"]
        if not self.answer.model and isinstance(data.get("model"), str):
            self.answer.model = data["model"]
        if data.get("usage") is not None:
            self.usage(data["usage"])
        for choice in items(data.get("choices", []), "choices"):
            self.choice(choice)

    def choice(self, choice: Any) -> None:
        self.fields(choice, "", "choice")
        if choice.get("index") not in (0, None):
            return
        delta = choice.get("delta")
        if delta is not None:
            self.delta(self.fields(delta, "", "delta"))
        reason = choice.get("finish_reason")
        if reason:
            repeated = self.answer.stop in (None, reason)
            demand(repeated, "finish reason {} after {}", reason, self.answer.stop)
            self.answer.stop = name(reason, "finish_reason")
            self.ended = True

    def delta(self, delta: dict[str, Any]) -> None:
        role = delta.get("role")
        demand(role in ("assistant", "", None), "the role is {}", role)
        told, thought = self.content(delta.get("content")), ""
        for kind in _THINKING:  # some servers say the same under both names
            thought = thought or text(delta.get(kind) or "", kind)
        told += text(delta.get("refusal") or "", "refusal")
        calls = items(delta.get("tool_calls") or [], "tool_calls")
        demand(not (told or thought or calls) or not self.answer.stop, "a delta after the finish reason")
        self.answer.text += told
        self.answer.thinking += thought
        for call in calls:
            self.call(self.fields(call, _kind(call), "call"))

    def content(self, content: Any) -> str:
        """The text in ``content``, which may be a list of parts, thinking among them (Mistral)."""
        if content is None or isinstance(content, str):
            return content or ""
        told = ""
        for part in items(content, "content"):
            kind = kind_of(part, "the part of the content")
            if kind == "text":
                told += text(part.get("text"), "text")
            elif kind == "thinking":
                for inner in items(part.get("thinking"), "thinking"):
                    self.answer.thinking += text(self.fields(inner, "text", "thinking")["text"], "text")
        return told

    def call(self, call: dict[str, Any]) -> None:
        calls = self.answer.calls
        kind = _kind(call)
        function = self.fields(call[kind], "", kind)
        arguments = function.get(_GIVEN[kind]) or ""
        arguments = arguments if isinstance(arguments, str) else json.dumps(arguments)
        id, called = text(call.get("id") or "", "id"), text(function.get("name") or "", "name")
        key = call.get("index") if call.get("index") is not None else id
        demand(isinstance(key, int | str), "the call's index is {}", key)
        if key not in self.places and (called or not calls):
            demand(called, "a call without a name")
            self.places[key] = len(calls)
            calls.append((id, called, arguments))
            return
        place = self.places.get(key, len(calls) - 1)
        known, begun, before = calls[place]
        demand(id in ("", known), "the id {} in the call {}", id, known)
        demand(called in ("", begun), "the name {} in the call of {}", called, begun)
        calls[place] = (known, begun, before + arguments)

    def usage(self, usage: Any) -> None:
        self.fields(usage, "", "usage")
        counts = {kind: count(usage[kind], kind) for kind in _COUNTS.split() if usage.get(kind) is not None}
        if len(counts) == 3:  # xAI's total has the reasoning besides
            parts = counts["prompt_tokens"] + counts["completion_tokens"]
            demand(counts["total_tokens"] >= parts, "total_tokens is less than its parts: {}", counts)
        for details, kind in _DETAILS:
            of = self.fields(usage.get(details) or {}, "", details)
            if of.get(kind) is not None:
                count(of[kind], kind)
        self.answer.usage = usage


def _kind(call: object) -> str:
    """Of which kind of tool a call is, or a piece of one."""
    return "custom" if isinstance(call, dict) and "custom" in call else "function"
