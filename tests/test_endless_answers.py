"""Answers that have no end: each is given up before it has cost what an honest one never would."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unittest import TestCase

from aigateway.dialects import CLAUDE, GEMINI, OPENAI, RESPONSES
from aigateway.dialects.base import ClientDialect
from aigateway.errors import UpstreamGarbled
from aigateway.providers import KINDS
from aigateway.translate import MAX_VALUES, Stream

from .recordings import answering, ask

KILOBYTE = "x" * 1024
MEGABYTE = KILOBYTE * 1024
ENOUGH = 64 * 1024 * 1024
"""Bytes after which an answer that is still taken has no bound."""
DIALECTS = {"claude": CLAUDE, "openai": OPENAI, "responses": RESPONSES, "gemini": GEMINI}


def event(value: dict[str, Any]) -> bytes:
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value)}\n\n".encode()


def chunk(delta: dict[str, Any], index: int = 0, finish: str | None = None) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    )


def call(index: int, name: str = "f", arguments: str = "{}") -> bytes:
    function = {"name": name, "arguments": arguments}
    return chunk(
        {"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]}
    )


def part(value: dict[str, Any], index: int = 0) -> bytes:
    return event({"candidates": [{"index": index, "content": {"role": "model", "parts": [value]}}]})


def block(index: int, **value: Any) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": value})


def item(index: int, kind: str, size: int = 0) -> bytes:
    value = {"type": "function_call", "id": "i", "call_id": f"c{index}", "name": "f", "arguments": "x" * size}
    return event({"type": f"response.output_item.{kind}", "output_index": index, "item": value})


class EndlessTestCase(TestCase):
    def give(
        self, kind: str, dialect: ClientDialect, frames: Iterable[bytes], *, kept: bool = False
    ) -> Stream:
        """The stream that has had enough of ``frames``."""
        chat = ask(dialect.name, raw=b"{}") if kept else ask(dialect.name)
        one = KINDS[kind](None).for_chat(chat)
        stream = one.stream(answering(chat, kept=kept), dialect.writer(chat, "req_1", 1))
        given = 0
        for frame in frames:
            stream.feed(frame)
            given += len(frame)
            if stream.ended:
                return stream
            self.assertLess(given, ENOUGH, "this has no bound")
        raise AssertionError("the frames have an end")

    def assert_given_up(
        self,
        kind: str,
        dialect: ClientDialect,
        make: Callable[[int], bytes],
        first: bytes = b"",
        *,
        kept: bool = False,
    ) -> None:
        frames = itertools.chain([first], map(make, itertools.count()))
        stream = self.give(kind, dialect, frames, kept=kept)
        self.assertIsInstance(stream.failure, UpstreamGarbled)


class TranslatedTests(EndlessTestCase):
    """To a client of another dialect, whichever it is."""

    def each(self, kind: str, make: Callable[[int], bytes], first: bytes = b"") -> None:
        for name, dialect in DIALECTS.items():
            with self.subTest(kind, client=name):
                self.assert_given_up(kind, dialect, make, first)

    def test_text(self) -> None:
        """8 MiB of text are no answer of any model."""
        self.each("openai", lambda _: chunk({"content": MEGABYTE}))

    def test_thinking(self) -> None:
        """Nor are they a thought."""
        self.each("openai", lambda _: chunk({"reasoning_content": MEGABYTE}))

    def test_arguments(self) -> None:
        """The arguments of a call that never ends."""
        more = chunk({"tool_calls": [{"index": 0, "function": {"arguments": MEGABYTE}}]})
        self.each("openai", lambda _: more, call(0, arguments="{"))

    def test_calls(self) -> None:
        """Calls without end, of OpenAI's, Claude's and Gemini's kind."""
        self.each("openai", call)
        self.each("anthropic", lambda n: block(n, type="tool_use", id=f"t{n}", name="f", input={}))
        self.each("gemini", lambda n: part({"functionCall": {"name": f"f{n}", "args": {}}}))

    def test_names(self) -> None:
        """Names of a megabyte each."""
        self.each("openai", lambda n: call(n, name=f"f{n}{MEGABYTE}"))

    def test_ids(self) -> None:
        """Ids of a megabyte each."""
        self.each("anthropic", lambda n: block(n, type="tool_use", id=f"{n}{MEGABYTE}", name="f", input={}))

    def test_text_beside_a_call_that_never_ends(self) -> None:
        """Text that waits for the end of a call's arguments."""
        self.each("openai", lambda _: chunk({"content": KILOBYTE}), call(0, arguments='{"a":'))

    def test_blocks_that_are_left_open(self) -> None:
        """Blocks of a kind that nobody knows, none of which ends."""
        self.each("anthropic", lambda n: block(n, type="odd"))


class PassedOnTests(EndlessTestCase):
    """To a client of the same dialect."""

    def test_openai(self) -> None:
        """Choices, calls, arguments, names, text."""
        for name, make in {
            "choices": lambda n: chunk({"content": "x"}, n),
            "calls": call,
            "arguments": lambda n: call(0, arguments=MEGABYTE),
            "names": lambda n: call(n, name=f"f{n}{MEGABYTE}"),
            "text": lambda n: chunk({"content": MEGABYTE}),
        }.items():
            with self.subTest(name):
                self.assert_given_up("openai", OPENAI, make, chunk({"content": "hi"}), kept=True)

    def test_openai_ends(self) -> None:
        """Last chunks, which wait for the end of the stream: the first choice is whole by then, and
        so is the answer."""
        ends = (chunk({"content": MEGABYTE}, n, "stop") for n in itertools.count())
        stream = self.give("openai", OPENAI, ends, kept=True)
        self.assertIsInstance(stream.late_error, UpstreamGarbled)

    def test_claude(self) -> None:
        """Blocks that are left open."""
        self.assert_given_up("anthropic", CLAUDE, lambda n: block(n, type="odd"), kept=True)

    def test_gemini(self) -> None:
        """Candidates without end."""
        self.assert_given_up("gemini", GEMINI, lambda n: part({"text": "x"}, n), kept=True)

    def test_responses(self) -> None:
        """Items that are told, and those that wait for one that never ends."""
        self.assert_given_up("openai", RESPONSES, lambda n: item(n, "done", 1024), kept=True)
        self.assert_given_up("openai", RESPONSES, lambda n: item(n + 1, "done"), item(0, "added"), kept=True)


class InsteadTests(EndlessTestCase):
    def test_json_in_the_place_of_a_stream(self) -> None:
        """It may be as large as an event of a stream."""
        stream = self.give(
            "openai", CLAUDE, itertools.chain([b'{"a":"'], itertools.repeat(MEGABYTE.encode()))
        )
        self.assertIn("larger than", str(stream.failure))


class CrowdedTests(EndlessTestCase):
    """One event, no larger than events may be, of more values than can be read while others wait."""

    events: Mapping[str, tuple[str, str]] = {
        "openai": ("openai", '{"choices":[{"delta":{"tool_calls":[%s]}}]}'),
        "anthropic": ("claude", '{"type":"message_start","message":{"content":[%s]}}'),
        "gemini": ("gemini", '{"candidates":[{"content":{"parts":[%s]}}]}'),
    }

    def stream(self, kind: str, dialect: str, *, kept: bool) -> Stream:
        chat = ask(dialect, raw=b"{}") if kept else ask(dialect)
        one = KINDS[kind](None).for_chat(chat)
        return one.stream(answering(chat, kept=kept), DIALECTS[dialect].writer(chat, "req_1", 1))

    def test_an_event(self) -> None:
        """It is given up unread, by whichever dialect, where it is the last and has no end, too."""
        for kind, (own, shape) in self.events.items():
            data = (shape % ",".join(["{}"] * MAX_VALUES)).encode()
            for dialect in (own, "responses"):
                for end in (b"\n\n", b""):
                    with self.subTest(kind, client=dialect, end=end):
                        stream = self.stream(kind, dialect, kept=dialect == own)
                        stream.feed(b"data: " + data + end)
                        stream.end()
                        self.assertIn(f"more than {MAX_VALUES} values", str(stream.failure))

    def test_in_the_place_of_a_stream(self) -> None:
        """So is a whole answer of them."""
        stream = self.stream("openai", "claude", kept=False)
        stream.feed(b'{"choices":[' + b",".join([b"{}"] * MAX_VALUES) + b"]}")
        stream.end()
        self.assertIn(f"more than {MAX_VALUES} values", str(stream.failure))

    def test_after_the_finish_reason(self) -> None:
        """The answer was whole by then."""
        stream = self.stream("openai", "claude", kept=False)
        stream.feed(chunk({"content": "hi"}) + chunk({}, finish="stop"))
        stream.feed(b'data: {"choices":[' + b",".join([b"{}"] * MAX_VALUES) + b"]}\n\n")
        self.assertIsNone(stream.failure)
        self.assertIn(f"more than {MAX_VALUES} values", str(stream.late_error))

    def test_a_picture(self) -> None:
        """What is large by a text in it is none of these."""
        stream = self.stream("gemini", "gemini", kept=True)
        picture = part({"inlineData": {"mimeType": "image/png", "data": "A" * 4 * 1024 * 1024}})
        self.assertEqual(len(stream.feed(part({"text": "hi"}) + picture)) // 2**20, 4)
        self.assertIsNone(stream.failure)
