"""A small world for state machines: clients that do as they like, and providers that answer by heart.

Everything is in memory and on a clock (`tests.fakes`). A `Speech` is what one provider has to say to
one request, and how far it has come; a `Caller` is a client's connection with what it asked for.
What may be said of them at any moment, and at the end, is `tests.test_state_machines`' business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from aigateway.check import check
from aigateway.config import Account, Limits, Provider, Route, Target, Timeouts
from aigateway.secret import Secret

from .fakes import (
    GATEWAY_PORT,
    Answer,
    Asked,
    Client,
    End,
    FakeProvider,
    GatewayTestCase,
    config,
    whole_reply,
)
from .recordings import FIXTURES, plainly

TIMEOUTS = Timeouts(connect=5, headers=20, first_token=40, idle=30, total=300)
BUFFER = 256
"""Bytes that may wait for a client before its provider has to."""
DIALECTS = ("claude", "openai", "responses", "gemini")
KINDS = ("openai", "glm", "antigravity", "gemini", "anthropic", "responses")
"""Kinds of providers; ``responses`` is OpenAI's with its other API, for the clients of that."""
OWN = {
    "openai": ("openai",),
    "glm": ("openai",),
    "antigravity": ("gemini",),
    "gemini": ("gemini",),
    "anthropic": ("claude",),
    "responses": ("responses", "openai"),
}
"""Whose clients get a provider's answers as they came."""
RECORDINGS = {
    "openai": (
        "openai/gpt-5-text",
        "openai/parallel-tools-agents",
        "compat/mistral-text",
        "compat/xai-parallel",
        "compat/snowflake-no-finish",
    ),
    "glm": (
        "glm/mistral-hosted-glm-5.2-incremental-tool",
        "glm/x-context-window",
        "glm/x-error-mid-stream",
    ),
    "antigravity": (
        "antigravity/claude-thinking-text",
        "antigravity/gemini-tool-call",
        "antigravity/wrapped-usage-mid-stream",
        "antigravity/x-error-mid-stream",
    ),
    "gemini": ("gemini/text", "gemini/25flash-parallel-1", "gemini/3pro-text", "gemini/x-error-mid-stream"),
    "anthropic": (
        "anthropic/sonnet4-text",
        "anthropic/sonnet4-thinking-tool-2",
        "anthropic/tool-no-args",
        "anthropic/x-error-mid-stream",
    ),
    "responses": ("responses/x-custom-tool", "responses/x-failed-rate-limit"),
}

_IN_PATH = re.compile(rb"/models/([^:/]+):")


class Said(NamedTuple):
    """A recording: its bytes, the text in it, and the byte at which it is whole; None: it never is."""

    data: bytes
    text: str
    whole_at: int | None


@cache
def recorded(name: str) -> Said:
    path = FIXTURES / f"{name}.sse"
    data = path.read_bytes()
    if path.parent.name == "responses":
        return _recorded_response(data)
    told = plainly(path)
    return Said(data, told.text, None if told.failed else told.whole_at)


def _recorded_response(data: bytes) -> Said:
    answer = check("responses", data, lenient=True)
    end = data.find(b"\n\n", data.find(b"event: response.completed"))
    return Said(data, answer.text, None if answer.error is not None else end)


def _whole(kind: str) -> bytes:
    """A whole answer of a provider of ``kind``: the text is always "Hello"."""
    google = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
    }
    match kind:
        case "gemini":
            return msgspec.json.encode(google)
        case "antigravity":
            return msgspec.json.encode({"response": google})
        case "anthropic":
            return msgspec.json.encode(
                {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "model": "m",
                    "content": [{"type": "text", "text": "Hello"}],
                    "stop_reason": "end_turn",
                    "stop_sequence": None,
                    "usage": {"input_tokens": 3, "output_tokens": 2},
                }
            )
        case "responses":
            said = {"type": "output_text", "text": "Hello", "annotations": []}
            item = {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [said],
            }
            return msgspec.json.encode(
                {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [item]}
            )
    return whole_reply("Hello")


class Speech:
    """What a provider of ``kind`` says to ``asked``. ``spoiled``: more was said than is recorded."""

    def __init__(self, kind: str, asked: Asked, recording: int) -> None:
        self.kind = kind
        self.asked = asked
        self.streamed = b"stream" in asked.request.uri or bool(asked.body.get("stream"))
        names = RECORDINGS[kind]
        whole = _whole(kind)
        # Chat Completions serves the clients of other dialects than Responses.
        if kind == "responses" and b"chat/completions" in asked.request.uri:
            names, whole = RECORDINGS["openai"], _whole("openai")
        self.said = (
            recorded(names[recording % len(names)]) if self.streamed else Said(whole, "Hello", len(whole))
        )
        self.at = 0
        self.headed = self.over = self.spoiled = False

    @property
    def open(self) -> bool:
        """Whether more can be said."""
        return not self.over and not self.asked.left and self.asked.request.channel is not None

    @property
    def whole(self) -> bool:
        """Whether an answer that is whole has been said."""
        return self.spoiled or (self.said.whole_at is not None and self.at >= self.said.whole_at)

    def head(self) -> None:
        if not self.headed:
            self.headed = True
            media = "text/event-stream" if self.streamed else "application/json"
            self.asked.head(content_type=media)

    def speak(self, count: int, size: int) -> None:
        """``count`` bytes more, in writes of ``size``."""
        self.head()
        piece = self.said.data[self.at : self.at + count]
        for start in range(0, len(piece), size):
            self.asked.write(piece[start : start + size])
        self.at += len(piece)

    def spoil(self, data: bytes) -> None:
        self.head()
        self.spoiled = True
        self.asked.write(data)

    def finish(self) -> None:
        self.head()
        self.over = True
        self.asked.request.finish()

    def refuse(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.headed = self.over = True
        self.asked.respond(body, status, **headers)

    def cut(self) -> None:
        self.over = True
        self.asked.cut()

    def reset(self) -> None:
        self.over = True
        self.asked.transport.abortConnection()


class Wanted(NamedTuple):
    """A request of a caller's. Its ``model`` is its own, so that all that is done for it is found."""

    model: str
    dialect: str
    stream: bool


class Caller:
    """A client's connection. ``hindered``: it has not always read what came."""

    def __init__(self, client: Client, end: End) -> None:
        self.client = client
        self.end = end
        self.wanted: list[Wanted] = []
        self.left = self.hindered = False
        self._seen: tuple[object, ...] = ()

    @property
    def reads(self) -> bool:
        return self.client.transport.allowance is None

    def has_news(self, asked: Sequence[Speech]) -> bool:
        """Whether anything has changed for it since this was asked last."""
        client = self.client
        seen = self._seen
        self._seen = len(client.received), client.ended, self.hindered, self.left, len(asked)
        return seen != self._seen

    def answers(self) -> list[Answer]:
        """The answers so far. Of one that was not read to its end, any part may be missing."""
        client = self.client
        ended = client.ended
        client.ended = ended and not self.left and not self.hindered
        try:
            return client.answers()
        finally:
            client.ended = ended

    def ask(self, wanted: Wanted) -> None:
        self.wanted.append(wanted)
        path, body = _request(wanted)
        self.client.ask("POST", path, body)


def _request(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request."""
    model, dialect, stream = wanted
    messages = [{"role": "user", "content": "Count to 5"}]
    match dialect:
        case "claude":
            body: dict[str, Any] = {"model": model, "max_tokens": 99, "stream": stream, "messages": messages}
            return "/v1/messages", body
        case "openai":
            body = {"model": model, "stream": stream, "messages": messages}
            if stream:
                body["stream_options"] = {"include_usage": True}
            return "/openai/v1/chat/completions", body
        case "responses":
            return "/v1/responses", {"model": model, "input": "Count to 5", "stream": stream}
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    contents = [{"role": "user", "parts": [{"text": "Count to 5"}]}]
    return f"/v1beta/models/{model}:{method}", {"contents": contents}


class World(GatewayTestCase):
    """The gateway, two providers (the first of two accounts) and whoever connects."""

    __test__ = False

    def __init__(self, kinds: Sequence[str], **route: Any) -> None:
        super().__init__("runTest")
        self.setUp()
        self.kinds = kinds
        self.closed = False
        self.callers: list[Caller] = []
        self.speeches: list[Speech] = []
        self._served: list[tuple[str, FakeProvider]] = []
        providers = []
        for number, kind in enumerate(kinds):
            port = 9100 + number
            resource = FakeProvider()
            self.serve(resource, port)
            self._served.append((kind, resource))
            providers.append(_provider(f"p{number}", kind, port, accounts=2 - number))
        targets = tuple(Target(one.name) for one in providers)
        self.start(
            config(
                *providers,
                routes=(Route(model="*", targets=targets, **route),),
                limits=Limits(relay_buffer=2 * BUFFER),
                drain=20.0,
            )
        )

    def runTest(self) -> None:
        """Nothing by itself."""

    def connect(self) -> Caller:
        client = self.network.connect(GATEWAY_PORT)
        end = self.network.joined[-1][1]
        end.BUFFER = BUFFER
        caller = Caller(client, end)
        self.callers.append(caller)
        return caller

    def hear(self, recording: int) -> None:
        """Let every provider know what to say to the requests that have come."""
        known = sum(1 for _ in self.speeches)
        for kind, resource in self._served:
            for asked in resource.asked:
                if all(speech.asked is not asked for speech in self.speeches):
                    self.speeches.append(Speech(kind, asked, recording + known))

    def to(self, wanted: Wanted) -> list[Speech]:
        """What the providers had to say to a request."""
        return [speech for speech in self.speeches if _model_of(speech.asked) == wanted.model]

    def close(self) -> None:
        """The end of the world: nothing may be left of it."""
        if not self.closed:
            self.closed = True
            try:
                self.tearDown()
            finally:
                while self._cleanups:
                    cleanup, arguments, named = self._cleanups.pop()
                    cleanup(*arguments, **named)


def _model_of(asked: Asked) -> str:
    found = _IN_PATH.search(asked.request.uri)
    return found[1].decode() if found else str(asked.body.get("model"))


def _provider(name: str, kind: str, port: int, *, accounts: int) -> Provider:
    google = kind == "antigravity"
    secrets: list[dict[str, Any]] = [
        {"access_token": Secret(f"sk-secret-{number}"), "project": "p"}
        if google
        else {"api_key": Secret(f"sk-secret-{number}")}
        for number in range(accounts)
    ]
    return Provider(
        name=name,
        kind="openai" if kind == "responses" else kind,
        base_urls=(f"http://127.0.0.1:{port}{'' if google else '/v1'}",),
        accounts=tuple(Account(name=f"{name}-{number}", **secret) for number, secret in enumerate(secrets)),
        responses=kind == "responses",
        timeouts=TIMEOUTS,
    )
