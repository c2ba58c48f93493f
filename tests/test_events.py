"""The records of an answer: whole answers told as events, and events added up."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.errors import UpstreamBusy
from aigateway.events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    Event,
    Failed,
    Finished,
    InputDelta,
    RedactedThinkingBlock,
    ReplyBlock,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
    UsageReported,
    events_of,
    reply_of,
)

from .grammar import check_events

_usages = st.builds(Usage, *[st.integers(0, 10**6)] * 5)
_blocks: st.SearchStrategy[ReplyBlock] = st.one_of(
    st.builds(TextBlock, st.text(min_size=1)),
    st.builds(ThinkingBlock, st.text(min_size=1), st.none() | st.text(min_size=1)),
    st.builds(ThinkingBlock, st.just(""), st.text(min_size=1)),
    st.builds(RedactedThinkingBlock, st.text()),
    st.builds(ToolUseBlock, st.text(min_size=1), st.text(min_size=1), st.just('{"a":1}')),
)
_replies = st.builds(
    ChatReply,
    id=st.text(),
    model=st.text(),
    content=st.lists(_blocks, max_size=5).map(tuple),
    stop_reason=st.sampled_from(["end_turn", "max_tokens"]),
    stop_sequence=st.none() | st.text(),
    usage=st.none() | _usages,
)


class WholeAnswers(unittest.TestCase):
    @settings(deadline=None)
    @given(_replies)
    def test_there_and_back(self, reply: ChatReply) -> None:
        """An answer told as events keeps the grammar and adds up to itself."""
        events = events_of(reply)
        check_events(events)
        self.assertEqual(reply_of(events), reply)

    def test_events_of_each_block(self) -> None:
        """A block is told whole, in one delta of its kind; an empty thought by its signature alone."""
        reply = ChatReply(
            id="i",
            model="m",
            content=(
                ThinkingBlock("hm", "s"),
                ThinkingBlock("", "t"),
                RedactedThinkingBlock("r"),
                TextBlock("x"),
                ToolUseBlock("a", "f", "{}"),
            ),
            stop_reason="tool_use",
            usage=Usage(1, 2),
        )
        self.assertEqual(
            events_of(reply),
            [
                Started("i", "m", Usage(1, 2)),
                *(BlockStarted("thinking"), ThinkingDelta("hm"), SignatureDelta("s"), BlockEnded()),
                *(BlockStarted("thinking"), SignatureDelta("t"), BlockEnded()),
                *(BlockStarted("redacted_thinking", data="r"), BlockEnded()),
                *(BlockStarted("text"), TextDelta("x"), BlockEnded()),
                *(BlockStarted("tool_use", "a", "f"), InputDelta("{}"), BlockEnded()),
                UsageReported(Usage(1, 2)),
                Finished("tool_use"),
            ],
        )


class AddingUp(unittest.TestCase):
    def test_pieces_are_joined(self) -> None:
        """The deltas of a block are joined; a call without any has empty input."""
        events: list[Event] = [
            Started("i", "m"),
            *(BlockStarted("text"), TextDelta("a"), TextDelta(""), TextDelta("b"), BlockEnded()),
            *(BlockStarted("tool_use", "1", "f"), InputDelta('{"a"'), InputDelta(":1}"), BlockEnded()),
            *(BlockStarted("tool_use", "2", "g"), BlockEnded()),
            Finished("tool_use"),
        ]
        content = (TextBlock("ab"), ToolUseBlock("1", "f", '{"a":1}'), ToolUseBlock("2", "g", "{}"))
        self.assertEqual(reply_of(events).content, content)

    def test_newest_usage(self) -> None:
        """The usage of the start counts until a newer one comes; the newest one wins."""
        start, end = Started("", "", Usage(1)), Finished("end_turn")
        self.assertEqual(reply_of([start, end]).usage, Usage(1))
        told = [UsageReported(Usage(2)), UsageReported(Usage(3))]
        self.assertEqual(reply_of([start, *told, end]).usage, Usage(3))
        self.assertIsNone(reply_of([Started("", ""), end]).usage)

    def test_a_signature_belongs_to_its_block(self) -> None:
        """A block without a signature does not get the one before it."""
        events: list[Event] = [
            Started("", ""),
            *(BlockStarted("thinking"), ThinkingDelta("a"), SignatureDelta("s"), BlockEnded()),
            *(BlockStarted("thinking"), ThinkingDelta("b"), BlockEnded()),
            Finished("end_turn", None),
        ]
        self.assertEqual(reply_of(events).content, (ThinkingBlock("a", "s"), ThinkingBlock("b", None)))

    def test_failure(self) -> None:
        """An answer that failed raises its error, whatever came before."""
        error = UpstreamBusy("no room")
        with self.assertRaises(UpstreamBusy) as caught:
            reply_of([Started("", ""), BlockStarted("text"), Failed(error)])
        self.assertIs(caught.exception, error)

    def test_broken_grammar(self) -> None:
        """Events without an end, or a block's end without its start, are a fault of ours."""
        start, end = Started("", ""), Finished("end_turn")
        broken: list[list[Event]] = [[], [start], [start, BlockEnded(), end]]
        for events in broken:
            with self.subTest(events), self.assertRaises(ValueError):
                reply_of(events)


class Counts(unittest.TestCase):
    def test_prompt_tokens(self) -> None:
        """The whole prompt is what was read, written to a cache and read from one."""
        self.assertEqual(Usage(1, 2, 4, 8, 2).prompt_tokens, 13)
