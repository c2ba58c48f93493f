"""An answer that broke off, gone on with by another target: one stream to the client, whichever it is."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.check import Answer, check
from aigateway.continuation import MAX_TEXT, Continuation
from aigateway.dialects import DIALECTS
from aigateway.dialects.base import Rendered
from aigateway.errors import UpstreamTruncated
from aigateway.estimate import output_tokens, prompt_tokens
from aigateway.events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    ChatRequest,
    Event,
    Finished,
    Message,
    ResponseFormat,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    Thinking,
    ThinkingBlock,
    ThinkingDelta,
    ToolChoice,
    ToolUseBlock,
    Usage,
    UsageReported,
    events_of,
)
from aigateway.providers import KINDS
from aigateway.translate import Answering, Stream

from .recordings import FIXTURES, ask, kind_of, plainly

CLIENTS = ("claude", "openai", "responses", "gemini")
CUT = UpstreamTruncated("the provider closed the connection in the middle of its answer")
LATER = {"anthropic": "claude-sonnet-4-5", "openai": "some-model", "gemini": "gemini-2.5-flash"}
"""Kinds that go on, each with a model that does."""
CALLED = [("f", {"a": 1})]
THINKS = Thinking("enabled")
"""A Gemini client is shown no thoughts unless it asks for them."""
FILES = (
    FIXTURES / "openai" / "gpt-4o-mini-text.sse",
    FIXTURES / "anthropic" / "text.sse",
    FIXTURES / "gemini" / "text.sse",
    FIXTURES / "compat" / "mistral-text.sse",
    FIXTURES / "antigravity" / "claude-thinking-text.sse",
)


class Ended(NamedTuple):
    """A leg that is over, and what it sent to the client."""

    stream: Stream
    sent: bytes


class Talk:
    """One client's stream, leg after leg."""

    def __init__(self, dialect: str, chat: ChatRequest | None = None) -> None:
        self.dialect = dialect
        self.chat = chat or ask(dialect, thinking=THINKS)
        self.answer = Continuation(self.chat)
        self.writer = DIALECTS[dialect].writer(self.chat, "req_1", 1700000000)
        self.sent = b""

    def leg(
        self, kind: str, data: bytes, fault: UpstreamTruncated | None = None, *, echoes: bool = False
    ) -> Ended:
        """What a provider of ``kind`` sends, to its end or to the ``fault``."""
        asked = Answering(self.answer.chat(), Rendered(b"", echoes=echoes), "req_1", 1700000000)
        stream = self.answer.stream(KINDS[kind](None), asked, self.writer)
        sent = stream.feed(data)
        sent += stream.end(fault)
        self.sent += sent
        return Ended(stream, sent)

    def check(self, *, whole: bool = True) -> Answer:
        options: dict[str, Any] = {"include_usage": True} if self.dialect == "openai" else {}
        return check(self.dialect, self.sent, whole=whole, **options)


def answer_of(kind: str, *events: Event) -> bytes:
    """The stream of a provider of ``kind`` that tells ``events``."""
    dialect = KINDS[kind](None).dialect
    chat = ask(dialect, thinking=THINKS)
    return DIALECTS[dialect].writer(chat, "req_2", 1700000001).write(events)


def rest_of(kind: str, *pieces: str, usage: Usage | None = None) -> bytes:
    """A stream with one text, in ``pieces``, which comes to a whole answer."""
    block: list[Event] = [BlockStarted("text"), *map(TextDelta, pieces), BlockEnded()] if pieces else []
    told = [UsageReported(usage)] if usage is not None else []
    return answer_of(kind, Started("m2", "m", usage), *block, *told, Finished("end_turn"))


def begun(*pieces: str) -> bytes:
    """The beginning of an OpenAI stream."""
    return answer_of("openai", Started("m1", "m"), BlockStarted("text"), *map(TextDelta, pieces))


class EverySplit(unittest.TestCase):
    """Recorded answers, broken off at every place."""

    def broken(self, path: Path, dialect: str, kind: str, place: int) -> None:
        data = path.read_bytes()
        talk = Talk(dialect)
        first = talk.leg(kind_of(path).name, data[:place], CUT)
        if first.stream.failure is None:
            talk.check()
            return
        talk.check(whole=False)
        text = heard(dialect, talk.sent)
        self.assertEqual(talk.answer.obstacle, "")
        later = talk.leg(kind, rest_of(kind, " and", " so on."))
        self.assertIsNone(later.stream.failure)
        after = talk.check()
        blank = text != text.rstrip()  # then the rest's own blank is there already
        rest = "and so on." if blank and text[len(text.rstrip())] == " " else " and so on."
        self.assertEqual(told(after), text + rest)
        self.assertEqual(heard(dialect, talk.sent), text + rest)
        self.assertIsNone(after.error)

    def test_every_byte(self) -> None:
        """Wherever it breaks off, a Claude client sees one whole stream, with all that came before
        and all of the rest once."""
        for path in FILES[:2]:
            for place in range(len(path.read_bytes())):
                self.broken(path, "claude", "anthropic", place)

    def test_every_client_and_kind(self) -> None:
        """So do the clients of every dialect, whichever kind goes on; at every frame, and within it."""
        for path in FILES:
            data = path.read_bytes()
            ends = [place + 2 for place in range(len(data)) if data[place : place + 2] == b"\n\n"]
            places = sorted({place for end in ends for place in (end - 9, end) if place < len(data)})
            for dialect in CLIENTS:
                for kind in LATER:
                    with self.subTest(path.name, dialect=dialect, kind=kind):
                        for place in places:
                            self.broken(path, dialect, kind, place)

    def test_three_legs(self) -> None:
        """What went on may break off, too."""
        for dialect in CLIENTS:
            with self.subTest(dialect):
                talk = Talk(dialect)
                talk.leg("openai", begun("One, ", "two"), CUT)
                cut = answer_of("anthropic", Started("a", "m"), BlockStarted("text"), TextDelta(", three"))
                talk.leg("anthropic", cut, CUT)
                self.assertEqual(talk.answer.chat().messages[-1].content, (TextBlock("One, two, three"),))
                talk.leg("gemini", rest_of("gemini", ", four."))
                self.assertEqual(told(talk.check()), "One, two, three, four.")

    def test_the_recording_itself(self) -> None:
        """A recorded answer that is cut, and goes on with just what was cut off, comes out as if it
        had never been."""
        for path in FILES:
            text = plainly(path).text
            data = path.read_bytes()
            for place in range(len(data) // 2, len(data), 97):
                talk = Talk("openai")
                if talk.leg(kind_of(path).name, data[:place], CUT).stream.failure is None:
                    continue
                beginning = heard("openai", talk.sent).rstrip()
                with self.subTest(path.name, place=place):
                    talk.leg("openai", rest_of("openai", text[len(beginning) :]))
                    self.assertEqual(told(talk.check()), text)


class Seam(unittest.TestCase):
    """Where the rest is joined."""

    def joined(self, before: str, *rest: str, echoes: bool = False) -> str:
        talk = Talk("claude")
        talk.leg("openai", begun(before), CUT)
        talk.leg("openai", rest_of("openai", *rest), echoes=echoes)
        answer = talk.check()
        self.assertLessEqual(len(answer.blocks), 1)
        return answer.text

    def test_blanks(self) -> None:
        """The blank that the client has, and the provider was not given, is said once."""
        for before, rest, expected in (
            ("a ", (" b",), "a b"),
            ("a ", ("b",), "a b"),
            ("a", (" b",), "a b"),
            ("a\n\n", ("\n", "\nb"), "a\n\nb"),
            ("a\n\n", ("\n", "b"), "a\n\nb"),
            ("a\n", ("\n\nb",), "a\n\nb"),
            ("a ", ("\nb",), "a \nb"),
            ("a ", (" ", " b"), "a  b"),
            ("a ", (" ",), "a "),
            ("a ", ("b ", " c"), "a b  c"),
            ("a", ("",), "a"),
        ):
            with self.subTest(before, rest=rest):
                self.assertEqual(self.joined(before, *rest), expected)

    def test_sent_without_blanks(self) -> None:
        """What a provider is given to go on with ends in no blank."""
        talk = Talk("claude")
        talk.leg("openai", begun("One two \n"), CUT)
        self.assertEqual(talk.answer.chat().messages[-1], Message("assistant", (TextBlock("One two"),)))

    def test_echo(self) -> None:
        """Where a provider is known to repeat what it was given, that is left out, in whatever pieces
        it comes; what is none is told."""
        for before, rest, expected in (
            ("One two ", ("One two", " three"), "One two three"),
            ("One two ", ("On", "e tw", "o three"), "One two three"),
            ("One two", ("One two three",), "One two three"),
            ("One two", (" three",), "One two three"),
            ("One two", ("One", "s"), "One twoOnes"),
            ("One two", ("One",), "One twoOne"),
            ("One two", ("One two",), "One two"),
        ):
            with self.subTest(before, rest=rest):
                self.assertEqual(self.joined(before, *rest, echoes=True), expected)

    def test_no_echo_expected(self) -> None:
        """Of others a text may begin as the answer did."""
        self.assertEqual(self.joined("1", "1 times"), "11 times")

    def test_thinking_before_text(self) -> None:
        """Where only thinking was told, the next target is asked the same, and its answer follows."""
        for dialect in CLIENTS:
            with self.subTest(dialect):
                talk = Talk(dialect)
                cut = answer_of("anthropic", Started("a", "m"), BlockStarted("thinking"), ThinkingDelta("Hm"))
                talk.leg("anthropic", cut, CUT)
                self.assertEqual(talk.answer.obstacle, "")
                self.assertIs(talk.answer.chat(), talk.chat)
                self.assertTrue(talk.answer.may_ask(KINDS["openai"](None), "gpt-x"))
                reply = ChatReply(
                    id="b",
                    model="m",
                    content=(ThinkingBlock("Well", "c2ln"), TextBlock("Yes.")),
                    stop_reason="end_turn",
                )
                talk.leg("anthropic", answer_of("anthropic", *events_of(reply)))
                answer = talk.check()
                self.assertEqual((answer.text, answer.thinking), ("Yes.", "HmWell"))

    def test_thinking_in_the_rest(self) -> None:
        """A model that thinks before it goes on is heard: the text ends, and begins anew behind it."""
        talk = Talk("claude")
        talk.leg("openai", begun("One"), CUT)
        reply = ChatReply(
            id="b", model="m", content=(ThinkingBlock("Hm"), TextBlock(" two")), stop_reason="end_turn"
        )
        talk.leg("openai", answer_of("openai", *events_of(reply)))
        self.assertEqual(talk.check().blocks, [("text", "One"), ("thinking", "Hm"), ("text", " two")])

    def test_call_in_the_rest(self) -> None:
        """The rest may end in a call."""
        for dialect in CLIENTS:
            with self.subTest(dialect):
                talk = Talk(dialect)
                talk.leg("openai", begun("Let me"), CUT)
                call = ToolUseBlock("toolu_1", "f", '{"a":1}')
                content = (TextBlock(" see."), call)
                reply = ChatReply(id="b", model="m", content=content, stop_reason="tool_use")
                talk.leg("openai", answer_of("openai", *events_of(reply)))
                answer = talk.check()
                self.assertEqual(told(answer), "Let me see.")
                self.assertEqual(
                    [(name, json.loads(text)) for _, name, text in answer.calls], [("f", {"a": 1})]
                )
                self.assertIn("called", talk.answer.obstacle)

    def test_nothing_more_to_say(self) -> None:
        """A rest of nothing ends the text that was open, and opens none."""
        for dialect in CLIENTS:
            for kind in LATER:
                with self.subTest(dialect, kind=kind):
                    talk = Talk(dialect)
                    talk.leg("openai", begun("All of it."), CUT)
                    talk.leg(kind, rest_of(kind))
                    self.assertEqual(told(talk.check()), "All of it.")

    def test_signed_text(self) -> None:
        """A text that has had its signature is ended: the rest is one of its own."""
        talk = Talk("gemini")
        text: list[Event] = [BlockStarted("text"), TextDelta("One"), SignatureDelta("c2ln")]
        talk.leg("gemini", answer_of("gemini", Started("a", "m"), *text), CUT)
        talk.leg("gemini", rest_of("gemini", " two"))
        self.assertEqual(told(talk.check()), "One two")

    def test_provider_that_does_not_stream(self) -> None:
        """A whole answer can be the rest, too."""
        usage = Usage(40, 2)
        for dialect in CLIENTS:
            with self.subTest(dialect):
                talk = Talk(dialect)
                talk.leg("openai", begun("One "), CUT)
                reply = ChatReply(
                    id="b", model="m", content=(TextBlock(" two"),), stop_reason="end_turn", usage=usage
                )
                talk.sent += talk.answer.tell(reply, usage, talk.writer)
                self.assertEqual(told(talk.check()), "One two")
                self.assertEqual(talk.answer.usage().output_tokens, output_tokens(4) + 2)


PIECES = st.lists(st.text("ab \n", max_size=6), max_size=8)


class AnySplit(unittest.TestCase):
    """Texts that nobody thought of."""

    @settings(max_examples=150, deadline=None)
    @given(PIECES, PIECES, st.sampled_from(CLIENTS), st.sampled_from(tuple(LATER)), st.booleans())
    def test_nothing_lost_or_doubled(
        self, before: list[str], rest: list[str], dialect: str, kind: str, echoes: bool
    ) -> None:
        """The client has the text of both legs, but for the blank that both of them say."""
        said, more = "".join(before), "".join(rest)
        talk = Talk(dialect)
        talk.leg("openai", begun(*before), CUT)
        sent = said.rstrip()
        given = ([sent] if echoes and sent else []) + [piece for piece in rest if piece]
        talk.leg(kind, rest_of(kind, *given), echoes=echoes)
        blank = said[len(sent) :]
        same = 0
        while same < min(len(blank), len(more)) and blank[same] == more[same]:
            same += 1
        self.assertEqual(told(talk.check()), said + more[same:])


class Possible(unittest.TestCase):
    """What can be gone on with, and by whom."""

    def test_calls(self) -> None:
        """An answer that has called a tool, wholly or not, is not gone on with."""
        call = [BlockStarted("tool_use", "toolu_1", "f")]
        for events in (
            call,
            [*call, BlockEnded()],
            [*call, BlockEnded(), BlockStarted("text"), TextDelta("x")],
        ):
            talk = Talk("claude")
            cut = answer_of("anthropic", Started("a", "m"), *events)
            talk.leg("anthropic", cut, CUT)
            self.assertIn("tool", talk.answer.obstacle)
            self.assertFalse(talk.answer.may_ask(KINDS["anthropic"](None), "claude-sonnet-4-5"))

    def test_requests(self) -> None:
        """Nor one of a certain form, of several choices, of a forced call, or that the client began."""
        yes = Message("user", (TextBlock("Hi"),))
        for fields, reason in (
            ({"response_format": ResponseFormat("json_object")}, "format"),
            ({"tool_choice": ToolChoice("any")}, "call"),
            ({"tool_choice": ToolChoice("tool", "f")}, "call"),
            ({"needed": ("n",)}, "n"),
            ({"needed": ("logprobs",)}, "logprobs"),
            ({"messages": (yes, Message("assistant", (TextBlock("Sure"),)))}, "client"),
        ):
            with self.subTest(reason):
                self.assertIn(reason, Continuation(ask("openai", **fields)).obstacle)
        self.assertEqual(Continuation(ask("openai", tool_choice=ToolChoice("auto"))).obstacle, "")

    def test_length(self) -> None:
        """Nor one that is too long to be kept; its text is let go."""
        talk = Talk("claude")
        talk.leg("openai", begun("x" * (MAX_TEXT // 2), "x" * (MAX_TEXT // 2)), CUT)
        self.assertEqual(talk.answer.obstacle, "")
        talk = Talk("claude")
        talk.leg("openai", begun("x" * (MAX_TEXT // 2), "x" * (MAX_TEXT // 2), "x"), CUT)
        self.assertIn("bytes", talk.answer.obstacle)

    def test_whom_to_ask(self) -> None:
        """Once text was told, only who goes on with it may be asked; before that, anybody."""
        openai, anthropic = KINDS["openai"](None), KINDS["anthropic"](None)
        talk = Talk("claude")
        talk.leg("openai", begun("\n"), CUT)
        self.assertTrue(talk.answer.may_ask(openai, "gpt-x"))
        talk = Talk("claude")
        talk.leg("openai", begun("\nOne"), CUT)
        self.assertFalse(talk.answer.may_ask(openai, "gpt-x"))
        self.assertTrue(talk.answer.may_ask(anthropic, "claude-sonnet-4-5"))
        self.assertFalse(talk.answer.may_ask(anthropic, "claude-sonnet-4-6"))

    def test_request_for_the_rest(self) -> None:
        """It has the text so far as its last message, thinking off, and what is left of the limit."""
        chat = ask("openai", max_tokens=100, effort="high", thinking=Thinking("enabled", 50))
        talk = Talk("openai", chat)
        talk.leg("openai", begun("12345678"), CUT)
        rest = talk.answer.chat()
        self.assertTrue(rest.begun)
        self.assertEqual(rest.messages[:-1], chat.messages)
        self.assertEqual((rest.thinking, rest.effort, rest.max_tokens), (Thinking("disabled"), None, 98))
        talk = Talk("openai", ask("openai", max_tokens=1))
        talk.leg("openai", begun("12345678"), CUT)
        self.assertEqual(talk.answer.chat().max_tokens, 1)


class Counts(unittest.TestCase):
    """Usage: that of each leg, and what the client is told."""

    def test_sum(self) -> None:
        """The client is told the prompt of the first leg and the output of both; each leg has its own."""
        usage = Usage(50, 7, cache_read_tokens=5, reasoning_tokens=3)
        for dialect in CLIENTS:
            with self.subTest(dialect):
                talk = Talk(dialect)
                first_usage = Usage(20, 1, cache_read_tokens=4)
                text: list[Event] = [BlockStarted("text"), TextDelta("x" * 40)]
                cut = answer_of("anthropic", Started("a", "m", first_usage), *text)
                first = talk.leg("anthropic", cut, CUT).stream
                self.assertEqual(
                    first.usage(), Usage(20, output_tokens(40), cache_read_tokens=4, estimated=True)
                )
                later = talk.leg("openai", rest_of("openai", " and so on", usage=usage)).stream
                self.assertEqual(later.usage(), usage)
                whole = Usage(20, 17, cache_read_tokens=4, reasoning_tokens=3, estimated=True)
                self.assertEqual(talk.answer.usage(), whole)
                self.assertEqual(counted(talk.check()), (24, 17))

    def test_nothing_told(self) -> None:
        """Where no provider tells any counts, those of both are estimated, each from its own text."""
        for dialect in CLIENTS:
            with self.subTest(dialect):
                talk = Talk(dialect)
                prompt = prompt_tokens(talk.chat)
                talk.leg("openai", begun("x" * 40), CUT)
                rest = b'data: {"id":"c","choices":[{"delta":{"content":"%b"},"finish_reason":"stop"}]}\n\n'
                later = talk.leg("openai", rest % (b"y" * 20) + b"data: [DONE]\n\n").stream
                self.assertEqual(later.usage().output_tokens, 5)
                self.assertGreater(later.usage().input_tokens, prompt)  # it was given the text, too
                self.assertEqual(talk.answer.usage(), Usage(prompt, 15, estimated=True))
                self.assertEqual(counted(talk.check()), (prompt, 15))


def told(answer: Answer) -> str:
    return answer.text


def heard(dialect: str, data: bytes) -> str:
    """The text in a stream, whole or not, by a plain reading."""
    texts = []
    for line in data.splitlines():
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if dialect == "claude":
            texts.append(chunk.get("delta", {}).get("text", ""))
        elif dialect == "openai":
            texts += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
        elif dialect == "responses":
            texts.append(chunk["delta"] if chunk["type"] == "response.output_text.delta" else "")
        else:
            parts = [part for one in chunk["candidates"] for part in one["content"]["parts"]]
            texts += [part["text"] for part in parts if not part.get("thought")]
    return "".join(texts)


def counted(answer: Answer) -> tuple[int, int]:
    """(prompt, output) tokens that the client was told, whatever it calls them."""
    usage = answer.usage or {}
    if "promptTokenCount" in usage:
        return usage["promptTokenCount"], usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    cached = usage.get("cache_read_input_tokens", 0)
    return usage["input_tokens"] + cached, usage["output_tokens"]


if __name__ == "__main__":
    unittest.main()
