"""OpenAI's chunks, and those of the servers that speak like it, into events; whole answers too.

What the recordings show is proved in `test_fixtures_matrix`; here each rule by itself.
"""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any

from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from aigateway.dialects import CLAUDE, OPENAI
from aigateway.dialects.openai.reader import OpenAIReader, parse_reply
from aigateway.dialects.openai.usage import Tally, render_usage
from aigateway.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamTruncated,
)
from aigateway.events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    Event,
    Failed,
    Finished,
    InputDelta,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
    UsageReported,
    reply_of,
)
from aigateway.providers.glm import GLM
from aigateway.providers.openai import OpenAI
from aigateway.sse import Frame

from .grammar import check_events
from .recordings import FIXTURES, ask

DONE = Frame(b"[DONE]")
NAMES = [
    *("choices", "delta", "content", "tool_calls", "function", "name", "arguments", "index", "id"),
    *("usage", "error", "finish_reason", "reasoning", "type", "text"),
]


def chunk(delta: Any = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **fields}


def call(index: int | None, id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    """A delta with a piece of one tool call; what is None is left out."""
    function = {"name": name, "arguments": arguments}
    entry: dict[str, Any] = {"function": {key: value for key, value in function.items() if value is not None}}
    return {"tool_calls": [entry | {k: v for k, v in (("index", index), ("id", id)) if v is not None}]}


def frames(*chunks: Any) -> list[Frame]:
    return [each if isinstance(each, Frame) else Frame(json.dumps(each).encode()) for each in chunks]


def read(*chunks: Any) -> list[Event]:
    """The events of a stream of these chunks that ends after them."""
    one = OpenAIReader(OpenAI().classify)
    events = [event for frame in frames(*chunks) for event in one.feed(frame)] + one.end()
    check_events(events)
    return events


def reply(*chunks: Any) -> ChatReply:
    return reply_of(read(*chunks))


def failure(*chunks: Any) -> UpstreamError:
    last = read(*chunks)[-1]
    assert isinstance(last, Failed), last
    return last.error


class Blocks(unittest.TestCase):
    def test_text(self) -> None:
        """Text is one block; empty and null content open none."""
        events = read(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": None}),
            chunk({"content": "1"}),
            chunk({"content": " 2"}),
            chunk(finish="stop"),
            DONE,
        )
        self.assertEqual(
            events,
            [
                Started("c1", "m"),
                *(BlockStarted("text"), TextDelta("1"), TextDelta(" 2"), BlockEnded()),
                Finished("end_turn"),
            ],
        )

    def test_started_waits_for_a_block(self) -> None:
        """An answer begins with its first block: roles, usage and empty chunks tell nothing."""
        one = OpenAIReader(OpenAI().classify)
        quiet = frames(
            {"id": "", "model": "", "choices": [], "prompt_filter_results": []},
            chunk({"role": "assistant", "content": ""}, id="c2"),
            chunk({"role": None}, usage={"prompt_tokens": 1}),
            chunk({}, finish=""),
        )
        self.assertEqual([one.feed(frame) for frame in quiet], [[]] * 4)
        (start, *_) = one.feed(*frames(chunk({"content": "x"}, id="c3")))
        self.assertEqual(start, Started("c2", "m"))

    def test_thinking_under_every_name(self) -> None:
        """Thinking comes under many names; where it comes under two in one chunk, it is taken once."""
        for delta in (
            {"reasoning_content": "hm"},
            {"reasoning": "hm", "content": ""},
            {"reasoning_text": "hm"},
            {"thinking": "hm"},
            {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
            {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]},
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"text": "m"}]}]},
            {"content": [{"type": "thinking", "thinking": "hm"}]},
            {"reasoning_content": "hm", "reasoning_details": [{"text": "hm"}]},
            {"reasoning_content": "hm", "reasoning": "hm"},
        ):
            with self.subTest(delta):
                content = reply(chunk(delta), chunk({"content": "x"}), chunk(finish="stop")).content
                self.assertEqual(content, (ThinkingBlock("hm"), TextBlock("x")))

    def test_content_in_parts(self) -> None:
        """A list of parts is text and thinking in their order; empty and unknown parts are nothing."""
        parts = [
            {"type": "thinking", "thinking": []},
            {"type": "thinking", "thinking": [{"type": "text", "text": "a"}]},
            {"type": "text", "text": "b"},
            {"type": "text", "text": ""},
            {"type": "reference", "reference_ids": [1]},
        ]
        content = reply(chunk({"content": parts}), chunk(finish="stop")).content
        self.assertEqual(content, (ThinkingBlock("a"), TextBlock("b")))

    def test_signatures(self) -> None:
        """A signature in the details closes its thinking block; thinking after it is a new one; one
        with no thinking open has no place."""
        content = reply(
            chunk({"reasoning_details": [{"signature": "lost"}]}),
            chunk({"reasoning": "a"}),
            chunk({"reasoning": "", "reasoning_details": [{"text": "", "signature": "s"}]}),
            chunk({"reasoning_details": [{"text": "b", "signature": "t"}]}),
            chunk({"content": "x"}, finish="stop"),
        ).content
        self.assertEqual(content, (ThinkingBlock("a", "s"), ThinkingBlock("b", "t"), TextBlock("x")))

    def test_refusal(self) -> None:
        """A refusal is text, and a stop after it is a refusal."""
        got = reply(chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk(finish="stop"))
        self.assertEqual((got.content, got.stop_reason), ((TextBlock("I cannot."),), "refusal"))

    def test_other_choices(self) -> None:
        """Only the first choice is told."""
        second = {"index": 1, "delta": {"content": "y"}, "finish_reason": "length"}
        first = chunk({"content": "x"})
        first["choices"].append(second)
        got = reply(first, {"choices": [second]}, chunk(finish="stop"))
        self.assertEqual((got.content, got.stop_reason), ((TextBlock("x"),), "end_turn"))

    def test_unknown_fields(self) -> None:
        """What the dialect does not know is passed over, on every level."""
        delta = {"content": "x", "audio": {"x": [1]}, "annotations": [None]}
        got = reply(
            chunk(delta, obfuscation="zz", system_fingerprint=None, timings={"x": 1}), chunk(finish="stop")
        )
        self.assertEqual(got.content, (TextBlock("x"),))


class Calls(unittest.TestCase):
    def calls(self, *deltas: Any, finish: str = "tool_calls") -> list[tuple[str, str, str]]:
        """(id, name, input) of the calls that these deltas make."""
        got = reply(*[chunk(delta) for delta in deltas], chunk(finish=finish), DONE)
        self.assertEqual(got.stop_reason, "tool_use")
        return [
            (block.id, block.name, block.input) for block in got.content if isinstance(block, ToolUseBlock)
        ]

    def test_in_pieces(self) -> None:
        """Arguments are told as they come; empty pieces are not."""
        events = read(
            chunk(call(0, "a", "f", "")),
            chunk(call(0, None, None, '{"x"')),
            chunk(call(0, "", "", ":1}")),
            chunk(finish="tool_calls"),
        )
        self.assertEqual(
            events[1:-1],
            [BlockStarted("tool_use", "a", "f"), InputDelta('{"x"'), InputDelta(":1}"), BlockEnded()],
        )

    def test_parallel(self) -> None:
        """Calls one after the other are blocks in their order, wherever the numbering starts."""
        for first in (0, 1):
            got = self.calls(
                call(first, "a", "f", ""),
                call(first, None, None, "{}"),
                call(first + 1, "b", "g", ""),
                call(first + 1, None, None, '{"y":2}'),
            )
            self.assertEqual(got, [("a", "f", "{}"), ("b", "g", '{"y":2}')])

    def test_several_in_one_delta(self) -> None:
        """Whole calls in one delta, as xAI sends them, are all told."""
        both = {
            "tool_calls": [*call(0, "a", "f", "{}")["tool_calls"], *call(1, "b", "g", "{}")["tool_calls"]]
        }
        self.assertEqual(self.calls(both), [("a", "f", "{}"), ("b", "g", "{}")])

    def test_interleaved(self) -> None:
        """A call that begins while another is open waits until that one is whole."""
        got = self.calls(
            call(0, "a", "f", '{"x"'),
            call(1, "b", "g", '{"y":'),
            call(0, None, None, ":1}"),
            call(1, None, None, "2}"),
        )
        self.assertEqual(got, [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')])

    def test_without_arguments(self) -> None:
        """Calls that never get arguments are whole all the same."""
        got = self.calls(call(0, "a", "f", ""), call(1, "b", "g", None), call(2, "c", "h", ""))
        self.assertEqual(got, [("a", "f", "{}"), ("b", "g", "{}"), ("c", "h", "{}")])

    def test_without_index(self) -> None:
        """Without an index, a new id or a name is a new call, a known id and nothing the old one."""
        got = self.calls(
            call(None, "a", "f", "{"),
            call(None, None, None, "}"),
            call(None, "b", "g", '{"y"'),
            call(None, "b", None, ":2}"),
        )
        self.assertEqual(got, [("a", "f", "{}"), ("b", "g", '{"y":2}')])

    def test_one_index_for_all(self) -> None:
        """Servers that number every call 0 (Ollama) still make several."""
        got = self.calls(call(0, "a", "f", "{}"), call(0, "b", "g", "{}"), call(0, "b", "g", ""))
        self.assertEqual(got, [("a", "f", "{}"), ("b", "g", "{}")])

    def test_new_id_in_mid_call(self) -> None:
        """A second id while the arguments are not whole does not make a second call."""
        got = self.calls(call(0, "a", "f", '{"x"'), call(0, "z", "f", ":1}"))
        self.assertEqual(got, [("a", "f", '{"x":1}')])

    def test_name_after_arguments(self) -> None:
        """A call is told once its name is known."""
        got = self.calls(call(0, "a", None, '{"x"'), call(0, None, None, ":1}"), call(0, None, "f", None))
        self.assertEqual(got, [("a", "f", '{"x":1}')])

    def test_arguments_as_an_object(self) -> None:
        """Arguments that come as an object become its text."""
        self.assertEqual(self.calls(call(0, "a", "f", {"x": [1, None]})), [("a", "f", '{"x":[1,null]}')])

    def test_ids_are_made_up(self) -> None:
        """A call without an id, or with one that is taken, gets one."""
        got = self.calls(call(0, None, "f", "{}"), call(1, "call_0", "g", "{}"), call(2, "call_0", "h", "{}"))
        ids = [id for id, _, _ in got]
        self.assertEqual(len(set(ids)), 3)
        self.assertRegex(ids[0], r"^toolu_[0-9a-f]{24}$")
        self.assertEqual(ids[1], "call_0")

    def test_text_after_a_call(self) -> None:
        """Text after a call is a block of its own; the call's end is the text's start."""
        got = reply(chunk(call(0, "a", "f", "{}")), chunk({"content": "x"}), chunk(finish="tool_calls"))
        self.assertEqual(got.content, (ToolUseBlock("a", "f", "{}"), TextBlock("x")))

    def test_repeated_at_the_end(self) -> None:
        """A whole call that is sent again after its block is not told again."""
        got = reply(
            chunk(call(0, "a", "f", "{}")),
            chunk({"content": "x"}),
            chunk(call(0, "a", "f", "{}")),
            chunk(finish="tool_calls"),
        )
        self.assertEqual(got.content, (ToolUseBlock("a", "f", "{}"), TextBlock("x")))

    def test_text_between_the_pieces(self) -> None:
        """What comes between the pieces of a call's arguments waits until they are whole."""
        for between, block in (
            ({"content": "hm"}, TextBlock("hm")),
            ({"reasoning_content": "hm"}, ThinkingBlock("hm")),
        ):
            got = reply(
                chunk(call(0, "a", "f", "")),
                chunk(between),
                chunk(call(0, None, None, '{"x": ')),
                chunk(call(0, None, None, "1}")),
                chunk(finish="tool_calls"),
            )
            self.assertEqual(got.content, (ToolUseBlock("a", "f", '{"x": 1}'), block))
        got = reply(
            chunk(call(0, "a", "f", '{"x"')),
            chunk(call(1, "b", "g", '{"y"')),
            chunk({"content": "hm"}),
            chunk(call(0, None, None, ":1}")),
            chunk(call(1, None, None, ":2}")),
            chunk(finish="tool_calls"),
        )
        self.assertEqual(
            got.content,
            (ToolUseBlock("a", "f", '{"x":1}'), TextBlock("hm"), ToolUseBlock("b", "g", '{"y":2}')),
        )

    def test_repeated_while_open(self) -> None:
        """A whole call that is sent again is not told again, whether or not something came between."""
        self.assertEqual(
            self.calls(call(0, "a", "f", '{"x":1}'), call(0, "a", "f", '{"x":1}')), [("a", "f", '{"x":1}')]
        )

    def test_custom_tools(self) -> None:
        """A custom tool's text is the one field of its input."""
        pieces: list[dict[str, Any]] = [
            {"index": 0, "id": "c", "type": "custom", "custom": {"name": "run", "input": ""}},
            {"index": 0, "custom": {"input": 'say "'}},
            {"index": 0, "custom": {"input": 'hi"'}},
        ]
        got = self.calls(*[{"tool_calls": [piece]} for piece in pieces])
        self.assertEqual(got, [("c", "run", '{"input":"say \\"hi\\""}')])
        one = {"id": "c", "type": "custom", "custom": {"name": "run", "input": "hi"}}
        self.assertEqual(whole({"tool_calls": [one]}).content, (ToolUseBlock("c", "run", '{"input":"hi"}'),))

    def test_many_calls(self) -> None:
        """More calls than anybody makes are no answer; as many as that take no time to speak of."""
        many = [chunk(call(number, f"c{number}", "f", "{}")) for number in range(1025)]
        self.assertEqual(len(reply(*many[:-1], DONE).content), 1024)
        self.assertIsInstance(failure(*many), UpstreamGarbled)

    def test_without_a_name(self) -> None:
        """A call without a name is no call, and the answer is garbled."""
        for last in (DONE, chunk(finish="tool_calls")):
            self.assertIsInstance(failure(chunk(call(0, "a", None, "{}")), last), UpstreamGarbled)

    def test_bad_arguments_go_on(self) -> None:
        """Arguments that are no JSON at the end go on as they are: the model wrote them."""
        self.assertEqual(self.calls(call(0, "a", "f", '{"x":')), [("a", "f", '{"x":')])

    def test_before_tool_calls(self) -> None:
        """The ``function_call`` of old servers is one call."""
        got = self.calls(
            {"function_call": {"name": "f", "arguments": ""}},
            {"function_call": {"arguments": "{}"}},
            finish="function_call",
        )
        self.assertEqual([each[1:] for each in got], [("f", "{}")])

    def test_signature_of_a_call(self) -> None:
        """Google's endpoint signs a call in its extra content: an empty thinking block before it."""
        delta = call(0, "a", "f", "{}")
        delta["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "c2ln"}}
        got = reply(chunk(delta), chunk(finish="tool_calls"))
        self.assertEqual(got.content, (ThinkingBlock("", "c2ln"), ToolUseBlock("a", "f", "{}")))
        events = read(chunk({"reasoning": "hm"}), chunk(delta), chunk(finish="tool_calls"))
        self.assertIn(SignatureDelta("c2ln"), events)
        self.assertEqual(reply_of(events).content[0], ThinkingBlock("hm", "c2ln"))
        delta["tool_calls"][0]["extra_content"] = {"google": {}}
        self.assertEqual(len(reply(chunk(delta), chunk(finish="tool_calls")).content), 1)


class Ends(unittest.TestCase):
    def finish(self, reason: str, *before: dict[str, Any], **choice: Any) -> Finished:
        last = chunk(finish=reason)
        last["choices"][0] |= choice
        end = read(*before, last)[-1]
        assert isinstance(end, Finished), end
        return end

    def test_stop_reasons(self) -> None:
        """Each finish reason has Claude's word; one that is unknown is an end of turn."""
        for reason, expected in (
            *(
                (each, "end_turn")
                for each in ("stop", "eos", "eos_token", "brand_new", "tool_calls", "function_call")
            ),
            *((each, "max_tokens") for each in ("length", "model_length")),
            *((each, "refusal") for each in ("content_filter", "sensitive", "refusal")),
            ("model_context_window_exceeded", "model_context_window_exceeded"),
        ):
            with self.subTest(reason):
                self.assertEqual(self.finish(reason, chunk({"content": "x"})), Finished(expected))

    def test_calls_win_over_stop(self) -> None:
        """A stop after calls is tool use; the other reasons stay what they are."""
        calls = chunk(call(0, "a", "f", "{}"))
        self.assertEqual(self.finish("stop", calls).stop_reason, "tool_use")
        self.assertEqual(self.finish("brand_new", calls).stop_reason, "tool_use")
        self.assertEqual(self.finish("length", calls).stop_reason, "max_tokens")
        self.assertEqual(self.finish("content_filter", calls).stop_reason, "refusal")

    def test_stop_sequences(self) -> None:
        """vLLM tells the sequence that stopped an answer; a token's number is none."""
        text = chunk({"content": "x"})
        self.assertEqual(self.finish("stop", text, stop_reason="END"), Finished("stop_sequence", "END"))
        self.assertEqual(self.finish("stop", text, stop_reason=128009), Finished("end_turn"))
        self.assertEqual(self.finish("length", text, stop_reason="END"), Finished("max_tokens"))

    def test_first_reason_counts(self) -> None:
        """A finish reason that is repeated, or null again later, changes nothing."""
        events = read(
            chunk({"content": "x"}, finish="length"),
            chunk({}),
            chunk(finish="stop"),
            chunk({}, finish=None),
            DONE,
        )
        self.assertEqual(events[-1], Finished("max_tokens"))

    def test_content_with_and_after_the_reason(self) -> None:
        """Content in the chunk of the finish reason, or after it, is told."""
        got = reply(chunk({"content": "x"}, finish="stop"), chunk({"content": "y"}), DONE)
        self.assertEqual(got.content, (TextBlock("xy"),))

    def test_done_without_a_reason(self) -> None:
        """[DONE] makes an answer whole without a finish reason too, as Snowflake ends it."""
        self.assertEqual(reply(chunk({"content": "x"}), Frame(b" [DONE] ")).stop_reason, "end_turn")
        self.assertEqual(reply(chunk(call(0, "a", "f", "{}")), DONE).stop_reason, "tool_use")

    def test_reason_without_done(self) -> None:
        """A finish reason makes an answer whole without [DONE]."""
        self.assertEqual(reply(chunk({"content": "x"}, finish="stop")).stop_reason, "end_turn")

    def test_cut(self) -> None:
        """Neither of the two: the stream was cut."""
        self.assertIsInstance(failure(chunk({"content": "x"})), UpstreamTruncated)
        self.assertIsInstance(failure(), UpstreamTruncated)
        self.assertIsInstance(failure(chunk({}, finish="")), UpstreamTruncated)

    def test_nothing_but_done(self) -> None:
        """A stream that says [DONE] and never had a choice holds no answer."""
        self.assertIsInstance(failure(DONE), UpstreamGarbled)
        self.assertIsInstance(failure({"choices": [], "usage": {"prompt_tokens": 1}}, DONE), UpstreamGarbled)

    def test_an_empty_answer(self) -> None:
        """A choice that finishes without content is a whole answer with nothing in it."""
        self.assertEqual(read(chunk(finish="content_filter")), [Started("c1", "m"), Finished("refusal")])

    def test_faults(self) -> None:
        """Finish reasons that name a fault fail the answer, with or without content before."""
        for reason in ("error", "network_error", "insufficient_system_resource", "abort"):
            self.assertIsInstance(failure(chunk({"content": "x"}), chunk(finish=reason)), UpstreamFailed)
            self.assertEqual(len(read(chunk(finish=reason))), 1)

    def test_nothing_after_the_end(self) -> None:
        """After the end, whichever it was, nothing more is told."""
        for last in (DONE, Frame(b"<html>")):
            one = OpenAIReader(OpenAI().classify)
            for frame in frames(chunk({"content": "x"}), last):
                one.feed(frame)
            self.assertEqual(one.feed(*frames(chunk({"content": "y"}))), [])
            self.assertEqual(one.end(), [])


class Faults(unittest.TestCase):
    def test_chunks_that_are_none(self) -> None:
        """What is no chunk fails the stream as garbled: HTML, broken JSON, wrong types, bad UTF-8."""
        for data in (
            *(b"<html>", b"{", b'{"choices":[{"delta":{"content":1}}]}', b'{"choices":{}}', b"[]", b"null"),
            *(b'{"choices":[{"delta":{"content":"\xff"}}]}', b'{"x":' * 100_000),
        ):
            with self.subTest(data[:40]):
                self.assertIsInstance(failure(Frame(data)), UpstreamGarbled)

    def test_half_a_surrogate_pair(self) -> None:
        """Half a pair is U+FFFD, a whole one and an escaped backslash are what they are."""
        data = (
            b'{"choices":[{"delta":{"content":"a\\ud83d \\uD83D\\uDE00 \\\\ud83d"},"finish_reason":"stop"}]}'
        )
        self.assertEqual(reply(Frame(data)).content, (TextBlock("a\ufffd \U0001f600 \\ud83d"),))
        self.assertEqual(
            parse_reply(data.replace(b"delta", b"message"), OpenAI().classify).content,
            (TextBlock("a\ufffd \U0001f600 \\ud83d"),),
        )

    def test_odd_details(self) -> None:
        """What is merely reported may have any type; the answer is told."""
        for fields in ({"id": 5}, {"created": "1"}, {"object": 1}, {"success": "true"}, {"x_groq": "x"}):
            self.assertEqual(
                reply(chunk({"content": "x"}, finish="stop") | fields).content, (TextBlock("x"),)
            )
        for odd in (
            {"role": 1},
            {"refusal": False},
            {"reasoning": {"a": 1}},
            {"reasoning_details": [{"summary": ["a"]}]},
            {"reasoning_details": "x"},
        ):
            with self.subTest(odd):
                self.assertEqual(
                    reply(chunk({"content": "x", **odd}, finish="stop")).content, (TextBlock("x"),)
                )
        self.assertEqual(
            reply(chunk({"reasoning": {"a": 1}, "thinking": "hm"}, finish="stop")).content,
            (ThinkingBlock("hm"),),
        )
        delta = call(0, "a", "f", "{}")
        delta["tool_calls"][0] |= {"index": "0", "extra_content": "x"}
        self.assertEqual(reply(chunk(delta), chunk(finish="stop")).content, (ToolUseBlock("a", "f", "{}"),))

    def test_blank_data(self) -> None:
        """An event with nothing in it is nothing."""
        self.assertEqual(
            reply(Frame(b""), Frame(b" "), chunk({"content": "x"}, finish="stop")).content, (TextBlock("x"),)
        )

    def test_errors_in_the_stream(self) -> None:
        """An error object, whatever its shape and place, is what its provider says it is."""
        for frame, kind in (
            ({"error": {"message": "x", "type": "server_error"}}, UpstreamFailed),
            ({"error": {"message": "x", "code": 429}}, UpstreamBusy),
            ({"error": "out of memory"}, UpstreamFailed),
            (chunk({"content": ""}, error={"message": "x", "code": 400}), UpstreamRefused),
            (Frame(b'{"error":{"message":"x","status_code":429}}', b"error"), UpstreamBusy),
            (Frame(b"out of memory", b"error"), UpstreamFailed),
            ({"code": 500, "msg": "x", "success": False}, UpstreamFailed),
        ):
            with self.subTest(frame):
                self.assertIsInstance(failure(frame), kind)
                self.assertIsInstance(failure(chunk({"content": "x"}), frame), kind)

    def test_no_error(self) -> None:
        """An error field that holds nothing is none."""
        nothings: list[Any] = [None, "", {}, False, 0, []]
        for nothing in nothings:
            self.assertEqual(
                reply(chunk({"content": "x"}, finish="stop", error=nothing)).stop_reason, "end_turn"
            )
        self.assertEqual(reply(chunk({"content": "x"}, finish="stop", success=True)).stop_reason, "end_turn")

    def test_late_errors(self) -> None:
        """What goes wrong after the finish reason is kept aside: the answer was whole."""
        for late in ({"error": {"message": "late", "code": 400}}, Frame(b"<html>"), Frame(b"late", b"error")):
            one = OpenAIReader(OpenAI().classify)
            events = [
                event
                for frame in frames(chunk({"content": "x"}), chunk(finish="length"), late)
                for event in one.feed(frame)
            ]
            self.assertEqual(events[-1], Finished("max_tokens"))
            self.assertIsNotNone(one.late_error)

    def test_usage_beside_an_error(self) -> None:
        """Usage that comes with an error, as OpenRouter sends it, is counted."""
        one = OpenAIReader(OpenAI().classify)
        told = {"prompt_tokens": 43, "completion_tokens": 10}
        for frame in frames(chunk({"content": "x"}), chunk({}, error={"message": "x"}, usage=told)):
            one.feed(frame)
        self.assertEqual(one.usage, Usage(43, 10))

    def test_unsafe_in_mid_answer(self) -> None:
        """GLM's code for unsafe content is a refusal in mid-answer, and an error before it."""
        unsafe = Frame(b'{"error":{"code":"1301","message":"unsafe"}}')
        one = OpenAIReader(GLM().classify)
        events = one.feed(*frames(chunk({"content": "x"}))) + one.feed(unsafe)
        self.assertEqual(events[-1], Finished("refusal"))
        self.assertIsNotNone(one.late_error)
        (failed,) = OpenAIReader(GLM().classify).feed(unsafe)
        assert isinstance(failed, Failed)
        self.assertEqual(failed.error.code, "content_filter")

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=3),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(NAMES),
                        inner,
                        max_size=4,
                    )
                ),
                max_leaves=12,
            ),
            max_size=6,
        )
    )
    def test_any_chunks(self, chunks: list[Any]) -> None:
        """No chunk whatever raises, or makes events that break the grammar."""
        read(*chunks)


class UsageTold(unittest.TestCase):
    def usage(self, *told: Any) -> Usage | None:
        events = read(chunk({"content": "x"}), *[chunk(usage=each) for each in told], chunk(finish="stop"))
        found = [event.usage for event in events if isinstance(event, UsageReported)]
        return found[0] if found else None

    def test_nothing_told(self) -> None:
        """null, or nothing that counts, is no usage."""
        self.assertIsNone(self.usage())
        self.assertIsNone(self.usage(None, {}, {"total_tokens": 5}))

    def test_cached_parts(self) -> None:
        """What was read from or written to a cache is no input of its own."""
        details = {"cached_tokens": 4, "cache_write_tokens": 3}
        told = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": details}
        self.assertEqual(self.usage(told), Usage(3, 5, 4, 3))
        self.assertEqual(
            self.usage({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}),
            Usage(6, 5, 4),
        )
        over = {"prompt_tokens": 1, "completion_tokens": 5, "prompt_tokens_details": details}
        self.assertEqual(self.usage(over), Usage(1, 5))  # more than the whole prompt is not believed

    def test_reasoning(self) -> None:
        """Reasoning is part of the output, also where the server counts it apart (xAI)."""
        details = {"completion_tokens_details": {"reasoning_tokens": 7}}
        self.assertEqual(
            self.usage({"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10} | details),
            Usage(1, 9, reasoning_tokens=7),
        )
        self.assertEqual(
            self.usage({"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 17} | details),
            Usage(1, 16, reasoning_tokens=7),
        )
        self.assertEqual(
            self.usage({"prompt_tokens": 1, "completion_tokens": 2} | details),
            Usage(1, 9, reasoning_tokens=7),
        )

    def test_newest_wins(self) -> None:
        """Counts are never added up, and what is missing does not erase what was told."""
        first = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}
        self.assertEqual(self.usage(first, {"completion_tokens": 4}, None), Usage(3, 4, 2))
        self.assertEqual(self.usage(first, first), Usage(3, 1, 2))

    def test_no_counts(self) -> None:
        """What is no count is passed over, and keeps nothing else from being told."""
        good = {"prompt_tokens": 5, "completion_tokens": 1}
        bads: list[Any] = [
            *({"prompt_tokens": odd, "completion_tokens": 9} for odd in (-1, 10**12, "5", 5.5, True)),
            {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": -3}},
            *({"completion_tokens": 9, "prompt_tokens_details": odd} for odd in ("x", 7, None)),
        ]
        for bad in bads:
            with self.subTest(bad):
                self.assertEqual(self.usage(good, bad), Usage(5, 9))
        nothings: list[Any] = [[], "x"]
        for nothing in nothings:
            self.assertEqual(self.usage(good, nothing), Usage(5, 1))

    def test_in_other_places(self) -> None:
        """Usage is found in Groq's own field, and in the choice."""
        told = {"prompt_tokens": 5, "completion_tokens": 1}
        inside = chunk(finish="stop")
        inside["choices"][0]["usage"] = told
        for last in (chunk(finish="stop", x_groq={"id": "r", "usage": told}), inside):
            self.assertEqual(reply(chunk({"content": "x"}), last).usage, Usage(5, 1))
        self.assertIsNone(reply(chunk({"content": "x"}, x_groq={"id": "r"}), chunk(finish="stop")).usage)

    def test_after_the_reason(self) -> None:
        """Usage after the finish reason counts, and no empty chunk ends the stream."""
        told = {"prompt_tokens": 5, "completion_tokens": 1}
        got = reply(
            chunk({"content": "x"}, finish="stop"), {"choices": [], "usage": told}, {"choices": []}, DONE
        )
        self.assertEqual(got.usage, Usage(5, 1))

    def test_a_tally_by_itself(self) -> None:
        """A tally that was told nothing has no usage."""
        self.assertIsNone(Tally().usage)

    @given(st.builds(Usage, *[st.integers(0, 10**6)] * 5))
    def test_rendered(self, usage: Usage) -> None:
        """What is rendered has the whole prompt, and a total that is the sum."""
        told = json.loads(render_usage(usage))
        self.assertEqual(told["prompt_tokens"], usage.prompt_tokens)
        self.assertEqual(told["total_tokens"], told["prompt_tokens"] + usage.output_tokens)


# ------------------------------------------------------------------ whole answers

WHOLE = [
    path
    for folder in ("openai", "glm", "compat")
    for path in sorted((FIXTURES / folder).glob("*.json"))
    if "error" not in path.name and not path.name.endswith(".request.json")
]


def whole(message: dict[str, Any], finish: str = "stop", **fields: Any) -> ChatReply:
    body = {
        "id": "c1",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        **fields,
    }
    return parse_reply(json.dumps(body).encode(), OpenAI().classify)


class Whole(unittest.TestCase):
    def test_recordings(self) -> None:
        """Each recorded whole answer tells what a plain reading finds, and is rendered for clients of
        both dialects as the official SDKs know it."""
        self.assertGreaterEqual(len(WHOLE), 15)
        for path in WHOLE:
            with self.subTest(f"{path.parent.name}/{path.name}"):
                self.check_recording(path)

    def check_recording(self, path: Path) -> None:
        value = json.loads(path.read_bytes())
        message = value["choices"][0]["message"]
        kind = GLM() if path.parent.name == "glm" else OpenAI()
        got = kind.parse_reply(path.read_bytes())
        calls = [(each["id"], each["function"]["name"]) for each in message.get("tool_calls") or ()]
        self.assertEqual([(b.id, b.name) for b in got.content if isinstance(b, ToolUseBlock)], calls)
        text = "".join(block.text for block in got.content if isinstance(block, TextBlock))
        self.assertEqual(text, message.get("content") or "")
        thinking = "".join(block.thinking for block in got.content if isinstance(block, ThinkingBlock))
        self.assertEqual(thinking, message.get("reasoning_content") or "")
        assert got.usage is not None
        self.assertEqual(got.usage.prompt_tokens, value["usage"]["prompt_tokens"])
        self.assertEqual(got.usage.output_tokens, value["usage"]["completion_tokens"])
        claude = Message.model_validate_json(CLAUDE.render_reply(got, ask(), "req_1", 1))
        openai = ChatCompletion.model_validate_json(OPENAI.render_reply(got, ask("openai"), "req_1", 1))
        self.assertEqual(claude.stop_reason, "tool_use" if calls else "end_turn")
        self.assertEqual(openai.choices[0].finish_reason, "tool_calls" if calls else "stop")
        self.assertEqual(openai.choices[0].message.content or "", message.get("content") or "")
        self.assertEqual(len(openai.choices[0].message.tool_calls or ()), len(calls))
        assert openai.usage is not None
        self.assertEqual(openai.usage.total_tokens, value["usage"]["total_tokens"])

    def test_order_of_blocks(self) -> None:
        """Thinking comes first, then text, then the calls, one for each entry."""
        calls = [{"id": "a", "function": {"name": "f", "arguments": "{}"}}] * 2
        got = whole({"content": "x", "reasoning_content": "hm", "tool_calls": calls}, "tool_calls")
        self.assertEqual(got.content[:3], (ThinkingBlock("hm"), TextBlock("x"), ToolUseBlock("a", "f", "{}")))
        self.assertEqual(len(got.content), 4)
        self.assertEqual(got.stop_reason, "tool_use")

    def test_other_choices(self) -> None:
        """Only the first choice has a place."""
        other = {"index": 1, "message": {"content": "y"}, "finish_reason": "stop"}
        first = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
        raw = json.dumps({"choices": [other, first]}).encode()
        self.assertEqual(parse_reply(raw, OpenAI().classify).content, (TextBlock("x"),))

    def test_no_answers(self) -> None:
        """What is no whole answer raises what it really is."""
        for body, kind in (
            (b"", UpstreamGarbled),
            (b"<html>", UpstreamGarbled),
            (b"[]", UpstreamGarbled),
            (b"{", UpstreamGarbled),
            (b'{"choices":[{"message":{"content":1}}]}', UpstreamGarbled),
            (b'{"a":' * 100_000, UpstreamGarbled),
            (b'{"choices":[{"index":0,"text":"x","finish_reason":"stop"}]}', UpstreamGarbled),
            (b'{"choices":[{"message":null}]}', UpstreamGarbled),
            (b'{"choices":[{"index":1,"message":{"content":"x"}}]}', UpstreamGarbled),
            (b"{}", UpstreamGarbled),
            (b'{"choices":[]}', UpstreamGarbled),
            (b'{"error":{"message":"x","code":429}}', UpstreamBusy),
            (b'{"code":500,"msg":"404 NOT_FOUND","success":false}', UpstreamFailed),
            (b'{"choices":[{"message":{"content":"x"},"finish_reason":"network_error"}]}', UpstreamFailed),
            (b'{"choices":[{"message":{"tool_calls":[{"function":{"arguments":"{}"}}]}}]}', UpstreamGarbled),
        ):
            with self.subTest(body[:40]), self.assertRaises(kind):
                parse_reply(body, OpenAI().classify)

    def test_recorded_errors_with_200(self) -> None:
        """The recorded errors that came with HTTP 200 raise what they are."""
        with self.assertRaises(UpstreamFailed):
            GLM().parse_reply((FIXTURES / "glm/error-200-flat.json").read_bytes())
        with self.assertRaises(UpstreamError):
            OpenAI().parse_reply((FIXTURES / "compat/x-error-200-json.json").read_bytes())
