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

from aigateway.events import ChatRequest, Message, TextBlock
from aigateway.providers import KINDS
from aigateway.providers.base import Kind

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
    failed: bool = False
    late: bool = False
    whole_at: int = 0  # up to this byte the stream is not whole, wherever it is cut


def streams(*folders: str) -> list[Path]:
    """Every recorded stream of these folders of fixtures, but for the one that is no answer."""
    found = [path for folder in folders for path in sorted((FIXTURES / folder).glob("*.sse"))]
    return [path for path in found if path.name != "x-sse-torture.sse"]


def kind_of(path: Path) -> Kind:
    """The provider kind that a recording stands for: servers like OpenAI are of its kind."""
    return KINDS[{"compat": "openai"}.get(path.parent.name, path.parent.name)]


def plainly(path: Path) -> Told:
    """What the recording at ``path`` tells."""
    read = _read_google if path.parent.name in ("antigravity", "gemini") else _read_openai
    return read(path.read_bytes())


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
                if "functionCall" in part:
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
