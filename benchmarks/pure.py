"""What the pure half costs, without a socket: ``python -m benchmarks.pure``.

CPU of this process (``time.process_time``) per frame of recorded streams, per request of two
sizes, and for the check of a large body. All cases are run in turn, round after round, so that
a slow moment of the machine meets all of them; the table has the medians.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aigateway import jsontext
from aigateway.dialects import DIALECTS
from aigateway.dialects.base import Rendered
from aigateway.events import ChatRequest
from aigateway.providers import KINDS
from aigateway.providers.base import Credential
from aigateway.secret import Secret
from aigateway.translate import Answering

from .report import Report, Result

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures"
STREAMS = (
    ("openai", "text-long"),
    ("openai", "tool-long-args"),
    ("glm", "glm-4.7-thinking"),
    ("antigravity", "wrapped-long"),
    ("gemini", "thinking-long"),
    ("anthropic", "sonnet4-thinking-tool-1"),
)
EVENTS_PER_READ = (1, 16)
ROUTES = (
    ("claude", "openai"),
    ("claude", "glm"),
    ("claude", "antigravity"),
    ("claude", "anthropic"),
    ("openai", "openai"),
    ("openai", "anthropic"),
    ("responses", "openai"),
    ("gemini", "gemini"),
    ("gemini", "anthropic"),
)
MODELS = {
    "openai": "gpt-4o",
    "glm": "glm-4.7",
    "antigravity": "gemini-3-pro-preview",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-3-pro-preview",
}
SPOKEN = {"openai": "openai", "gemini": "gemini", "anthropic": "claude"}
"""The dialect of the clients that get a provider's answers as they came."""
LIMITS = {"claude": "max_tokens", "openai": "max_tokens", "responses": "max_output_tokens"}
TOOLS = 40
LARGE = 76_000
ROUND = 0.05
"""CPU seconds of one case in one round, at least."""

_EVENT = re.compile(rb".+?(?:\r?\n){2}", re.DOTALL)


@dataclass(frozen=True)
class Case:
    """``work``, done ``times`` in a round, goes through ``items`` of what is counted."""

    name: str
    unit: str
    work: Callable[[], object]
    items: float
    scale: float = 1e6
    times: int = 1

    def calibrated(self) -> Case:
        """The case with as many repetitions as a round needs."""
        once = max(_cpu(self.work, 1), 1e-6)
        return Case(self.name, self.unit, self.work, self.items, self.scale, max(1, round(ROUND / once)))

    def measure(self) -> Result:
        cost = _cpu(self.work, self.times) / self.times / self.items * self.scale
        return Result(self.name, cost, self.unit)


def _cpu(work: Callable[[], object], times: int) -> float:
    begun = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - begun


def cases() -> Iterator[Case]:
    for kind, name in STREAMS:
        for client in DIALECTS:
            for per_read in EVENTS_PER_READ:
                yield stream_case(kind, name, client, per_read)
    for client, kind in ROUTES:
        yield request_case(client, kind, "300 B", small_body(client))
        yield request_case(client, kind, f"76 kB, {TOOLS} tools", large_body(client))
    text = many_objects()
    name = "jsontext.check, the most small objects that it takes"
    yield Case(name, "ms", lambda: jsontext.check(text), 1, 1e3)


def stream_case(kind: str, name: str, client: str, per_read: int) -> Case:
    """A recorded answer of ``kind`` on its way to ``client``, so many events at a time."""
    events = _EVENT.findall((FIXTURES / kind / f"{name}.sse").read_bytes())
    reads = [b"".join(events[at : at + per_read]) for at in range(0, len(events), per_read)]
    chat = DIALECTS[client].parse_request(small_body(client))
    provider, dialect = KINDS[kind](None), DIALECTS[client]
    asked = Answering(chat, Rendered(b"", kept=SPOKEN.get(kind) == client), "request-id", 1_770_933_892)

    def carry() -> int:
        writer = dialect.writer(chat, "request-id", 1_770_933_892)
        stream = provider.stream(asked, writer)
        size = sum(len(stream.feed(read)) for read in reads) + len(stream.end())
        assert stream.ended, name
        assert stream.failure is None, name
        return size

    assert carry() > 0
    way = "as it came" if SPOKEN.get(kind) == client else f"to {client}"
    return Case(f"{kind} {name} {way}, {per_read} per read", "µs/chunk", carry, len(events))


def request_case(client: str, kind: str, size: str, body: bytes) -> Case:
    """A client's body of ``size``, read and written again for ``kind``."""
    parse, provider = DIALECTS[client].parse_request, KINDS[kind](None)
    credential = Credential(Secret("benchmark"), "project")

    def ask() -> bytes:
        chat: ChatRequest = parse(body)
        return provider.render(chat, MODELS[kind], credential, stream=True).body

    assert ask()
    return Case(f"request {client} -> {kind}, {size}", "µs/request", ask, 1)


def small_body(client: str) -> bytes:
    return _sized(client, 300, [])


def large_body(client: str) -> bytes:
    """What a coding agent sends: many tools, and a conversation about files."""
    return _sized(client, LARGE, [_tool(client, number) for number in range(TOOLS)])


def _sized(client: str, size: int, tools: list[object]) -> bytes:
    """A request of ``size`` bytes, with as long a question as that takes."""
    body: dict[str, object] = {"model": "some-model"}
    if client == "gemini":
        body["generationConfig"] = {"maxOutputTokens": 4096}
    else:
        body |= {LIMITS[client]: 4096, "stream": True}
    if client == "openai":
        body["stream_options"] = {"include_usage": True}
    if tools:
        body["tools"] = [{"functionDeclarations": tools}] if client == "gemini" else tools
    said = {"responses": "input", "gemini": "contents"}.get(client, "messages")
    words = 'def area(width, height):\n    return width * height  # in "square" metres\n'
    turns = 8 if tools else 1
    missing = size - len(_encoded(body | {said: _messages(client, [""] * turns)}))
    each = len(json.dumps(words)) - 2
    repeats, rest = divmod(missing, each)
    share = [words * (repeats // turns)] * (turns - 1)
    share.append(words * (repeats - (turns - 1) * (repeats // turns)) + "." * rest)
    encoded = _encoded(body | {said: _messages(client, share)})
    assert len(encoded) == size
    return encoded


def _messages(client: str, texts: list[str]) -> list[dict[str, object]]:
    """Turns that end with the user's."""
    roles = ("user", "model" if client == "gemini" else "assistant")
    turns = [(roles[(len(texts) - number - 1) % 2], text) for number, text in enumerate(texts)]
    if client == "gemini":
        return [{"role": role, "parts": [{"text": text}]} for role, text in turns]
    return [{"role": role, "content": text} for role, text in turns]


def _tool(client: str, number: int) -> dict[str, object]:
    described = f"Reads, searches or edits files in the workspace; variant {number}. " * 6
    properties = {
        f"argument_{index}": {
            "type": "array" if index == 3 else "string",
            "description": "A path relative to the workspace, or a pattern that paths match.",
            **({"items": {"type": "string", "enum": ["read", "write"]}} if index == 3 else {}),
        }
        for index in range(6)
    }
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": properties,
        "required": ["argument_0"],
        "additionalProperties": False,
    }
    tool: dict[str, object] = {"name": f"workspace_tool_{number}", "description": described}
    if client == "claude":
        return tool | {"input_schema": schema}
    if client == "gemini":
        return tool | {"parametersJsonSchema": schema}
    if client == "responses":
        return {"type": "function", **tool, "parameters": schema}
    return {"type": "function", "function": tool | {"parameters": schema}}


def _encoded(body: dict[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def many_objects() -> bytes:
    """The costliest body that the check lets through: as many small objects as there may be."""
    objects = min(jsontext.MAX_VALUES // 3, jsontext.MAX_NAMES // 2)
    return b"[" + b",".join([b'{"a":1,"b":"x"}'] * objects) + b"]"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pure", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of all cases in turn")
    parser.add_argument(
        "-o", "--output", type=Path, help="append each result to this file, as a line of JSON"
    )
    options = parser.parse_args()
    report = Report("pure", options.output)
    ready = [case.calibrated() for case in cases()]
    for round in range(options.rounds):
        for case in ready:
            report.add(case.measure(), round)
    print(report.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
