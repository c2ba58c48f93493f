"""A server that keeps what a client asks, and answers just enough to keep it going.

    python tests/clients/recorder.py PORT DIR TOOL ARGUMENTS

Each request is told on standard output and written to ``DIR/NN-METHOD-PATH.json``: method, path,
headers without credentials, and the body. A request that offers the tool ``TOOL`` and holds no
tool's result is answered with a call of it with ``ARGUMENTS`` (a JSON object, or plain text for one
of Codex's freeform tools), every other one with a sentence. Answers are streamed in the dialect
that the path speaks, in the least grammar that its client takes: this is for finding out what a
client of a new version sends, not for testing it. README.md tells how to go on from there.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

SECRET = {"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"}
SENTENCE = "The recorder has nothing more to say."
THOUGHT = "The recorder thinks before it calls."
SIGNATURE = "c2lnbmVk"
RESULT = re.compile(r'"tool_result"|"functionResponse"|_call_output"')
Event = tuple[str, dict[str, Any]]


class Call(NamedTuple):
    """``custom``: a freeform tool, whose arguments are text."""

    tool: str
    arguments: str
    namespace: str
    custom: bool


class Recorder(ThreadingHTTPServer):
    """``tool`` is called once, with ``arguments``, when it is offered."""

    def __init__(self, port: int, folder: Path, tool: str, arguments: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = folder
        self.tool = tool
        self.arguments = arguments
        self.numbers = count(1)

    def keep(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
        number = next(self.numbers)
        shown = [[name, "..." if name.lower() in SECRET else value] for name, value in headers]
        try:
            read = json.loads(body) if body else None
        except ValueError:
            read = body.decode(errors="replace")
        sys.stdout.write(f"{number:02} {method} {path} {len(body)} bytes\n")
        sys.stdout.flush()
        name = re.sub(r"\W+", "-", f"{method} {path}")[:60].strip("-")
        told = {"method": method, "path": path, "headers": shown, "body": read}
        (self.folder / f"{number:02}-{name}.json").write_text(
            json.dumps(told, indent=1, ensure_ascii=False) + "\n"
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.keep(self.command, self.path, self.headers.items(), body)
        path = self.path.partition("?")[0]
        try:
            asked = json.loads(body or "{}")
        except ValueError:
            asked = {}
        call = self.wanted(asked)
        if path.endswith("/messages"):
            self.events(claude(call, asked.get("model", "")))
        elif path.endswith("/responses"):
            self.events(responses(call))
        elif path.endswith(":streamGenerateContent"):
            self.events(gemini(call))
        elif path.endswith(":generateContent"):
            self.whole(
                200, {"candidates": [{"content": {"parts": [{"text": "{}"}]}, "finishReason": "STOP"}]}
            )
        elif path.endswith((":countTokens", "/count_tokens")):
            self.whole(200, {"totalTokens": 9, "input_tokens": 9})
        elif path == "/":
            self.whole(200, {})
        else:
            self.whole(404, {"error": {"message": f"not recorded: {path}", "type": "not_found_error"}})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def wanted(self, asked: dict[str, Any]) -> Call | None:
        """The tool call to answer with, if any."""
        said = json.dumps(asked.get("messages") or asked.get("input") or asked.get("contents"))
        if RESULT.search(said):
            return None
        for namespace, tool in offered(asked):
            if tool.get("name") == self.server.tool:
                custom = tool.get("type") == "custom"
                return Call(self.server.tool, self.server.arguments, namespace, custom)
        return None

    # ------------------------------------------------------------------ answers

    def whole(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def events(self, events: Iterator[Event]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for name, data in events:
            line = f"event: {name}\n" if name else ""
            self.wfile.write(f"{line}data: {json.dumps(data)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `Recorder.keep` tells what came."""


def offered(asked: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each tool with its namespace; Codex has those, and may offer tools in an item of its input."""
    items = [item for item in asked.get("input") or () if item["type"] == "additional_tools"]
    for group in (asked, *items):
        for tool in group.get("tools") or ():
            if tool.get("type") == "namespace":
                yield from ((tool["name"], one) for one in tool["tools"])
            else:
                yield from (("", one) for one in tool.get("functionDeclarations", [tool]))


def claude(call: Call | None, model: str) -> Iterator[Event]:
    text = {"type": "text", "text": ""}, [{"type": "text_delta", "text": SENTENCE}]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [text]
    if call:
        thoughts = {"type": "thinking", "thinking": "", "signature": ""}
        thinking = {"type": "thinking_delta", "thinking": THOUGHT}
        tool = {"type": "tool_use", "id": "toolu_1", "name": call.tool, "input": {}}
        blocks = [
            (thoughts, [thinking, {"type": "signature_delta", "signature": SIGNATURE}]),
            (tool, [{"type": "input_json_delta", "partial_json": call.arguments}]),
        ]
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None}
    message |= {"usage": {"input_tokens": 9, "output_tokens": 1}}
    events: list[Event] = [("message_start", {"message": message})]
    for index, (block, deltas) in enumerate(blocks):
        events.append(("content_block_start", {"index": index, "content_block": block}))
        events += [("content_block_delta", {"index": index, "delta": delta}) for delta in deltas]
        events.append(("content_block_stop", {"index": index}))
    ended = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    events += [("message_delta", {"delta": ended, "usage": {"output_tokens": 9}}), ("message_stop", {})]
    yield from ((name, {"type": name, **fields}) for name, fields in events)


def responses(call: Call | None) -> Iterator[Event]:
    text = {"type": "output_text", "text": SENTENCE, "annotations": []}
    items: list[dict[str, Any]] = [{"type": "message", "id": "msg_1", "role": "assistant", "content": [text]}]
    if call:
        kind, field = ("custom_tool_call", "input") if call.custom else ("function_call", "arguments")
        tool = {"type": kind, "id": "fc_1", "call_id": "call_1", "name": call.tool, field: call.arguments}
        summary = [{"type": "summary_text", "text": THOUGHT}]
        thoughts = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": SIGNATURE}
        items = [thoughts, tool | ({"namespace": call.namespace} if call.namespace else {})]
    response: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
    usage = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    events: list[Event] = [("response.created", {"response": response})]
    for index, item in enumerate(items):
        done = item | {"status": "completed"}
        events.append(("response.output_item.done", {"output_index": index, "item": done}))
    events.append(("response.completed", {"response": {**response, "status": "completed", "usage": usage}}))
    yield from ((name, {"type": name, **fields}) for name, fields in events)


def gemini(call: Call | None) -> Iterator[Event]:
    parts: list[dict[str, Any]] = [{"text": SENTENCE}]
    if call:
        asked = {"name": call.tool, "args": json.loads(call.arguments)}
        parts = [{"text": THOUGHT, "thought": True}, {"functionCall": asked, "thoughtSignature": SIGNATURE}]
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0, "finishReason": "STOP"}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 9, "totalTokenCount": 18}
    yield "", {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "recorder"}


def main() -> None:
    port, folder, tool, arguments = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with Recorder(int(port), Path(folder), tool, arguments) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
