"""The recorded streams, and what each of them tells by a plain reading.

The reading here is slow, simple and apart from the code under test: the whole file is split into
events, every event goes through ``json.loads``, and what a chunk holds is added up. It knows no
blocks, no order across kinds, no cuts. Tests compare what a translated stream tells with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigateway.dialects.base import Rendered
from aigateway.events import ChatRequest, Message, TextBlock
from aigateway.providers import KINDS
from aigateway.providers.base import Kind
from aigateway.translate import Answering, Framing

FIXTURES = Path(__file__).parent / "fixtures"

# Providers' words for how an answer ended -> Claude's; what is not here is an end of turn.
OPENAI_STOPS = {
    "length": "max_tokens",
    "content_filter": "refusal",
    "sensitive": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",
}
GEMINI_STOPS = {"MAX_TOKENS": "max_tokens", "SAFETY": "refusal", "PROHIBITED_CONTENT": "refusal"}
FINISHES = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


@dataclass
class Told:
    """What a recording tells. ``calls`` are (name, arguments); ``stop`` is Claude's word for how it
    ended. ``usage`` is (input, cached, output, reasoning), or None. ``failed``: it ends in an error,
    or without any end; ``late``: there was an error after the finish reason."""

    text: str = ""
    thinking: str = ""
    signatures: list[str] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    stop: str = "end_turn"
    usage: tuple[int, int, int, int] | None = None
    written: int = 0  # to a prompt cache
    code: str = ""  # what the provider ran, which is shown as text
    failed: bool = False
    late: bool = False
    whole_at: int = 0  # up to this byte the stream is not whole, wherever it is cut


def streams(*folders: str) -> list[Path]:
    """Every recorded stream of these folders of fixtures, but for the one that is no answer."""
    found = [path for folder in folders for path in sorted((FIXTURES / folder).glob("*.sse"))]
    return [path for path in found if path.name != "x-sse-torture.sse"]


def kind_of(path: Path) -> Kind:
    """The provider kind that a recording stands for: servers like OpenAI are of its kind."""
    return KINDS[{"compat": "openai"}.get(path.parent.name, path.parent.name)](None)


def plainly(path: Path) -> Told:
    """What the recording at ``path`` tells."""
    readers = {"antigravity": _read_google, "gemini": _read_google, "anthropic": _read_claude}
    return readers.get(path.parent.name, _read_openai)(path.read_bytes())


def ask(dialect: str = "claude", **fields: Any) -> ChatRequest:
    """A request of little interest, from a client of ``dialect``."""
    given: dict[str, Any] = {
        "dialect": dialect,
        "model": "the-model",
        "messages": (Message("user", (TextBlock("Count to 5"),)),),
        "stream": True,
        "include_usage": True,
    }
    return ChatRequest(**(given | fields))


def answering(
    chat: ChatRequest, framing: Framing | None = None, *, kept: bool = False, raw: bool = False
) -> Answering:
    """What the reading of an answer to ``chat`` depends on; ``kept``: its body went up as it came."""
    return Answering(chat, Rendered(b"", kept=kept), "req_1", 1700000000, framing or Framing(), raw)


def _events(data: bytes) -> Iterator[tuple[str, str, int]]:
    """(field name, data, where its last line ends) of each event that has data; bytes are counted."""
    at = end = 0
    lines: list[str] = []
    kind = "data"
    for raw in data.splitlines(keepends=True):
        line = raw.rstrip(b"\r\n").decode()
        name, _, value = line.partition(":")
        if name in ("data", "error"):
            lines.append(value.removeprefix(" "))
            kind = "error" if name == "error" else kind
        elif name == "event" and "error" in value:
            kind = "error"
        if lines and not line:
            yield kind, "\n".join(lines), end
            lines, kind = [], "data"
        at += len(raw)
        if line:
            end = at - (len(raw) - len(raw.rstrip(b"\r\n")))
    if lines:
        yield kind, "\n".join(lines), end


def _read_openai(data: bytes) -> Told:
    told = Told(whole_at=len(data) + 1)
    calls: list[dict[str, Any]] = []
    finish = ""
    fault = ended = refused = False
    for kind, text, end in _events(data):
        if text.strip() == "[DONE]":
            ended = True
            told.whole_at = min(told.whole_at, end)
            continue
        chunk = json.loads(text)
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        told.usage = _openai_usage(usage) if usage else told.usage
        if kind == "error" or chunk.get("error"):
            told.late = told.late or bool(finish)
            fault = fault or not finish
            continue
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue
            delta = choice.get("delta") or {}
            _add_thinking(delta, told)
            content = delta.get("content") or ""
            parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for part in parts:
                if part["type"] == "text":
                    told.text += part["text"]
                else:
                    told.thinking += "".join(inner["text"] for inner in part["thinking"])
            refused = refused or bool(delta.get("refusal"))
            told.text += delta.get("refusal") or ""
            for entry in delta.get("tool_calls") or ():
                _add_call(entry, calls)
            if choice.get("finish_reason") and not finish:
                finish = choice["finish_reason"]
                told.whole_at = min(told.whole_at, end)
    told.calls = [(call["name"], _parsed(call["arguments"])) for call in calls]
    fault = fault or finish in ("network_error", "error")
    told.failed = fault or not (finish or ended)
    told.stop = OPENAI_STOPS.get(finish, "tool_use" if calls else "refusal" if refused else "end_turn")
    return told


def _add_thinking(delta: dict[str, Any], told: Told) -> None:
    details = delta.get("reasoning_details") or []
    told.thinking += (
        delta.get("reasoning_content")
        or delta.get("reasoning")
        or "".join(detail.get("text") or detail.get("summary") or "" for detail in details)
    )
    told.signatures += [detail["signature"] for detail in details if detail.get("signature")]


def _add_call(entry: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    function = entry.get("function") or {}
    key = entry.get("index")
    found = [call for call in calls if call["key"] == key] if key is not None else calls[-1:]
    if not found or (key is None and (entry.get("id") or function.get("name"))):
        found = [{"key": key, "name": "", "arguments": ""}]
        calls += found
    call = found[-1]
    call["name"] = call["name"] or function.get("name") or ""
    arguments = function.get("arguments") or ""
    call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)


def _parsed(arguments: str) -> Any:
    return json.loads(arguments) if arguments else {}


def _openai_usage(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    prompt, output = usage["prompt_tokens"], usage["completion_tokens"]
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    written = (usage.get("prompt_tokens_details") or {}).get("cache_write_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    if reasoning and (reasoning > output or usage.get("total_tokens") == prompt + output + reasoning):
        output += reasoning  # xAI counts it apart
    return prompt - cached - written, cached, output, reasoning


def _read_google(data: bytes) -> Told:
    told = Told(whole_at=len(data) + 1)
    finish = ""
    fault = blocked = thinking = signed = False
    newest: dict[str, int] = {}
    for _, text, end in _events(data):
        outer = json.loads(text)
        chunk = outer.get("response", outer)
        if outer.get("error") or chunk.get("error"):
            told.late = told.late or bool(finish)
            fault = fault or not finish
            continue
        newest |= chunk.get("usageMetadata", {})
        for candidate in chunk.get("candidates", ()):
            for part in candidate.get("content", {}).get("parts", ()):
                signature = part.get("thoughtSignature")
                if {"partialArgs", "willContinue"} & set(part.get("functionCall", {})):
                    fault = True  # Vertex's calls in pieces are never asked for
                elif fault:
                    break  # nothing is read after that
                elif "functionCall" in part:
                    told.calls.append((part["functionCall"]["name"], part["functionCall"].get("args", {})))
                    told.signatures += [signature] if signature else []
                    thinking = False
                elif part.get("thought"):
                    told.thinking += part["text"]
                    told.signatures += [signature] if signature else []
                    thinking, signed = True, bool(signature)
                elif part.get("text"):
                    told.text += part["text"]
                    thinking = False
                elif code := part.get("executableCode"):
                    told.code = f"\n```{code['language'].lower()}\n{code['code']}\n```\n"
                    told.text += told.code
                    thinking = False
                elif signature and thinking and not signed:
                    told.signatures.append(signature)
                    signed = True
            if candidate.get("finishReason"):
                finish = candidate["finishReason"]
                told.whole_at = min(told.whole_at, end)
        if chunk.get("promptFeedback", {}).get("blockReason"):
            blocked = True
            told.whole_at = min(told.whole_at, end)
    fault = fault or (finish == "MALFORMED_FUNCTION_CALL" and not told.text and not told.calls)
    told.failed = fault or not (finish or blocked)
    told.stop = GEMINI_STOPS.get(finish, "tool_use" if told.calls else "refusal" if blocked else "end_turn")
    if newest:
        told.usage = _google_usage(newest)
    return told


def _google_usage(newest: dict[str, int]) -> tuple[int, int, int, int]:
    prompt = newest.get("promptTokenCount", 0) + newest.get("toolUsePromptTokenCount", 0)
    cached, thoughts = newest.get("cachedContentTokenCount", 0), newest.get("thoughtsTokenCount", 0)
    rest = newest.get("totalTokenCount", 0) - prompt - thoughts
    return prompt - cached, cached, newest.get("candidatesTokenCount", max(rest, 0)) + thoughts, thoughts


def _read_claude(data: bytes) -> Told:
    told = Told(whole_at=len(data) + 1)
    usage: dict[str, Any] = {}
    id = stop = ""
    inputs: dict[int, list[str]] = {}
    for kind, text, end in _events(data):
        event = json.loads(text)
        if kind == "error" or event["type"] == "error":
            told.late = told.late or bool(stop)
            told.failed = told.failed or not stop
            continue
        message = event.get("message") or {}
        if message and id and message["id"] != id:
            told.failed = True  # a second answer inside the first
            break
        id = message.get("id", id)
        usage |= {name: count for name, count in (message.get("usage") or {}).items() if count is not None}
        usage |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
        for block in message.get("content") or ():
            _add_block(block, told)
            if block["type"] == "tool_use":
                told.calls.append((block["name"], block["input"]))
        if event["type"] == "content_block_start":
            block = event["content_block"]
            _add_block(block, told)
            if block["type"] == "tool_use":
                told.calls.append((block["name"], block["input"] or None))
                inputs[event["index"]] = []
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            told.text += delta.get("text") or ""
            told.thinking += delta.get("thinking") or ""
            told.signatures += [delta["signature"]] if delta.get("signature") else []
            inputs.get(event["index"], []).append(delta.get("partial_json", ""))
        elif event["type"] == "content_block_stop" and event["index"] in inputs:
            pieces = "".join(inputs.pop(event["index"]))
            name, given = told.calls[-1]
            told.calls[-1] = name, given or _parsed(pieces)
        reason = message.get("stop_reason") or (event.get("delta") or {}).get("stop_reason")
        if reason:
            stop = reason
        if stop:
            told.whole_at = min(told.whole_at, end)
    told.failed = told.failed or not stop
    told.stop = {"compaction": "max_tokens"}.get(stop, stop)
    if "output_tokens" in usage:
        cached, written = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
        thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
        told.usage = usage.get("input_tokens", 0), cached, usage["output_tokens"], thought
        told.written = written
    return told


def _add_block(block: dict[str, Any], told: Told) -> None:
    """What a block tells as it starts."""
    if block["type"] == "text":
        told.text += block["text"]
    elif block["type"] == "thinking":
        told.thinking += block["thinking"]
        told.signatures += [block["signature"]] if block.get("signature") else []
