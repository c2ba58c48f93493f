"""An answer that a simulated provider breaks off, and another goes on with: by their own rules."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from itertools import islice
from typing import Any

from aigateway.check import check
from aigateway.continuation import Continuation
from aigateway.dialects import DIALECTS
from aigateway.errors import UpstreamTruncated
from aigateway.providers import KINDS, Kind
from aigateway.simulator.answers import answer
from aigateway.simulator.anthropic import BETA_FIELDS, AnthropicWire
from aigateway.simulator.code_assist import CodeAssistWire
from aigateway.simulator.gemini import GeminiWire
from aigateway.simulator.openai import OpenAIWire
from aigateway.simulator.wire import Asked, Refused
from aigateway.translate import Answering

from .test_continuation_requests import KEY, kind_at, parse

CUT = UpstreamTruncated("the provider closed the connection in the middle of its answer")
COUNTED = ", ".join(map(str, range(1, 11)))
WORDS = "Count to 10"
CLIENTS: dict[str, dict[str, Any]] = {
    "claude": {
        "model": "x",
        "messages": [{"role": "user", "content": WORDS}],
        "max_tokens": 500,
        "stream": True,
    },
    "openai": {
        "model": "x",
        "messages": [{"role": "user", "content": WORDS}],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "responses": {"model": "x", "input": WORDS, "stream": True},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": WORDS}]}]},
}


def to_anthropic(body: bytes) -> Asked:
    return AnthropicWire().read(body, known=BETA_FIELDS, serial=1, created=17)


def to_gemini(body: bytes) -> Asked:
    return GeminiWire().read(body, model="gemini-2.5-flash", stream=True, serial=1, created=17)


def to_antigravity(body: bytes) -> Asked:
    return CodeAssistWire().read(body, stream=True, serial=1, created=17)


def to_openai(body: bytes) -> Asked:
    return OpenAIWire().read(body, serial=1, created=17)


Target = tuple[Kind, str, Callable[[bytes], Asked], AnthropicWire | GeminiWire | CodeAssistWire | OpenAIWire]
TARGETS: dict[str, Target] = {
    "anthropic": (KINDS["anthropic"](None), "claude-sonnet-4-5", to_anthropic, AnthropicWire()),
    "gemini": (KINDS["gemini"](None), "gemini-2.5-flash", to_gemini, GeminiWire()),
    "antigravity": (KINDS["antigravity"](None), "gemini-3-flash", to_antigravity, CodeAssistWire()),
    "mistral": (kind_at("mistral"), "mistral-large-latest", to_openai, OpenAIWire()),
    "moonshot": (kind_at("moonshot"), "kimi-k2.6", to_openai, OpenAIWire()),
    "vllm": (kind_at("vllm"), "llama", to_openai, OpenAIWire()),
}


class Talk:
    """A client's stream, and the targets that speak in it."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        chat = parse(dialect, CLIENTS[dialect])
        self.answer = Continuation(chat)
        self.writer = DIALECTS[dialect].writer(chat, "req_1", 1700000000)
        self.sent = b""

    def ask(self, name: str, frames: int | None = None) -> None:
        """Have the target called ``name`` answer; it says no more than so many ``frames``."""
        kind, model, read, wire = TARGETS[name]
        chat = self.answer.chat()
        rendered = kind.render(chat, model, KEY, stream=True)
        stream = self.answer.stream(kind, Answering(chat, rendered, "req_1", 17), self.writer)
        asked = read(rendered.body)
        for frame in islice(wire.frames(asked, answer(asked.prompt)), frames):
            self.sent += stream.feed(frame)
        self.sent += stream.end(None if frames is None else CUT)


class Counting(unittest.TestCase):
    def test_count_goes_on(self) -> None:
        """Whoever broke off and whoever goes on, each client counts to ten, every number once."""
        for dialect in CLIENTS:
            for first in TARGETS:
                for later in TARGETS:
                    with self.subTest(dialect, first=first, later=later):
                        talk = Talk(dialect)
                        talk.ask(first, 6)
                        self.assertTrue(talk.answer.may_ask(*TARGETS[later][:2]))
                        talk.ask(later)
                        options: dict[str, Any] = {"include_usage": True} if dialect == "openai" else {}
                        told = check(dialect, talk.sent, **options)
                        self.assertEqual(told.text, COUNTED)
                        self.assertIsNotNone(told.stop)

    def test_who_refuses(self) -> None:
        """The simulated Claude and Gemini of today refuse what those who go on are sent."""
        talk = Talk("claude")
        talk.ask("vllm", 6)
        chat = talk.answer.chat()
        kind = KINDS["anthropic"](None)
        with self.assertRaises(Refused):
            to_anthropic(chat.raw.replace(b'"x"', b'"claude-opus-4-6"'))
        self.assertFalse(kind.continues("claude-opus-4-6"))
        rendered = KINDS["gemini"](None).render(chat, "gemini-3.6-flash", KEY, stream=True)
        with self.assertRaises(Refused):
            GeminiWire().read(rendered.body, model="gemini-3.6-flash", stream=True, serial=1, created=17)
        to_gemini(rendered.body)


if __name__ == "__main__":
    unittest.main()
