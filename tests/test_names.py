"""Tools' names at providers that do not take the client's."""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aigateway.dialects.names import Names
from aigateway.dialects.openai.writer import OpenAIWriter
from aigateway.events import ChatRequest, Message, TextBlock, Tool, ToolChoice, ToolUseBlock
from aigateway.providers import KINDS
from aigateway.providers.base import Credential, Kind
from aigateway.secret import Secret
from aigateway.translate import Answering, with_names

OPENAI = re.compile(r"[a-zA-Z0-9_-]+")
GEMINI = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")

# Plain ones, long ones, and such as differ only where a provider sees no difference.
NAMES = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=200),
        st.text(alphabet="aA1_-.:/ \u00e9", min_size=1, max_size=12),
        st.text(alphabet="ab", min_size=60, max_size=70),
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


def asked(names: list[str]) -> ChatRequest:
    """A request that offers the first of ``names``, and has called the others before."""
    offered, called = names[: len(names) // 2 + 1], names[len(names) // 2 + 1 :]
    calls = tuple(ToolUseBlock(f"id{number}", name, "{}") for number, name in enumerate(called))
    turns = (Message("user", (TextBlock("hi"),)), Message("assistant", (TextBlock("ok"), *calls)))
    choice = ToolChoice("tool", offered[0])
    return ChatRequest(
        dialect="claude",
        model="m",
        messages=turns,
        tools=tuple(Tool(name) for name in offered),
        tool_choice=choice,
        stream=True,
    )


class Map(unittest.TestCase):
    """The map itself."""

    @given(NAMES, st.sampled_from([(OPENAI, 64), (GEMINI, 64), (GEMINI, 128)]))
    def test_injective_and_within_limits(self, names: list[str], limits: tuple[re.Pattern[str], int]) -> None:
        """No two names become one, each is one that the provider takes, and the way back is exact."""
        allowed, longest = limits
        found = Names(asked(names), allowed, longest)
        others = [found.of(name) for name in names]
        self.assertEqual(len(set(others)), len(names))
        for name, other in zip(names, others, strict=True):
            self.assertIsNotNone(allowed.fullmatch(other))
            self.assertLessEqual(len(other), longest)
            self.assertEqual(found.renamed.get(other, other), name)
            self.assertEqual(found.of(name), other)
            self.assertEqual(other == name, bool(allowed.fullmatch(name)) and len(name) <= longest)

    @given(NAMES)
    def test_stable(self, names: list[str]) -> None:
        """A name is the same in the next request, whatever other tools that has."""
        first, last = Names(asked(names), OPENAI, 64), Names(asked(names[-1:]), OPENAI, 64)
        self.assertEqual(first.of(names[-1]), last.of(names[-1]))

    def test_a_name_that_is_taken(self) -> None:
        """A client's own name is never given to another of its tools."""
        taken = Names(asked(["a b"]), OPENAI, 64).of("a b")
        names = Names(asked(["a b", taken]), OPENAI, 64)
        self.assertEqual(names.of(taken), taken)
        self.assertNotEqual(names.of("a b"), taken)


class Answers(unittest.TestCase):
    """The names in what a provider answers."""

    @given(NAMES)
    def test_openai(self, names: list[str]) -> None:
        """A call of any tool comes back by the client's name, streamed or whole."""
        self.check(KINDS["openai"](None), names, openai_names, openai_call)

    @given(NAMES)
    def test_gemini(self, names: list[str]) -> None:
        self.check(KINDS["gemini"](None), names, gemini_names, gemini_call)

    def check(
        self,
        kind: Kind,
        names: list[str],
        sent: Callable[[bytes], list[str]],
        call: Callable[[str, bool], bytes],
    ) -> None:
        chat = asked(names)
        rendered = kind.render(chat, "gpt-4o", Credential(Secret("k")), stream=True)
        offered = sent(rendered.body)
        self.assertEqual(len(offered), len(chat.tools))
        for tool, other in zip(chat.tools, offered, strict=True):
            client = msgspec.structs.replace(chat, dialect="openai")
            writer = OpenAIWriter(client, "req_1", 1)
            stream = kind.stream(Answering(chat, rendered, "req_1", 1), writer)
            data = (stream.feed(call(other, True)) + stream.end()).decode()
            chunks = [json.loads(frame[6:]) for frame in data.split("\n\n") if frame[6:7] == "{"]
            calls = [c for chunk in chunks for c in chunk["choices"][0]["delta"].get("tool_calls", ())]
            self.assertEqual([c["function"]["name"] for c in calls if "id" in c], [tool.name])
            reply = with_names(kind.parse_reply(call(other, False)), rendered.renamed)
            self.assertEqual([b.name for b in reply.content if isinstance(b, ToolUseBlock)], [tool.name])


def openai_names(body: bytes) -> list[str]:
    return [tool["function"]["name"] for tool in json.loads(body)["tools"]]


def openai_call(name: str, streamed: bool) -> bytes:
    called = {"index": 0, "id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    said = {"role": "assistant", "tool_calls": [called]}
    choice = {"index": 0, "delta" if streamed else "message": said, "finish_reason": "tool_calls"}
    data = json.dumps({"id": "x", "choices": [choice]}).encode()
    return b"data: %b\n\ndata: [DONE]\n\n" % data if streamed else data


def gemini_names(body: bytes) -> list[str]:
    return [tool["name"] for tool in json.loads(body)["tools"][0]["functionDeclarations"]]


def gemini_call(name: str, streamed: bool) -> bytes:
    parts = [{"functionCall": {"name": name, "args": {}}}]
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    data = json.dumps({"candidates": [candidate]}).encode()
    return b"data: %b\r\n\r\n" % data if streamed else data
