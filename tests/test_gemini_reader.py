"""Gemini's and Antigravity's streams and whole answers, read into events."""

from __future__ import annotations

import itertools
import json
import random
import unittest
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.dialects.gemini import GeminiReader, parse_reply
from aigateway.dialects.gemini.schema import NO_ARGUMENTS
from aigateway.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamTruncated,
    UpstreamUnauthorized,
)
from aigateway.events import (
    BlockEnded,
    BlockStarted,
    Event,
    Failed,
    Finished,
    InputDelta,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
    UsageReported,
    reply_of,
)
from aigateway.providers.google import stream_error
from aigateway.sse import Frame, SSEDecoder

from .grammar import check_events

FIXTURES = Path(__file__).parent / "fixtures"
ANTIGRAVITY = sorted((FIXTURES / "antigravity").glob("*.sse"))
STREAMS = ANTIGRAVITY + sorted((FIXTURES / "gemini").glob("*.sse"))

SIGNATURE = "c2lnbmF0dXJl"


def reader() -> GeminiReader:
    numbers = itertools.count(1)
    return GeminiReader(stream_error, lambda: f"toolu_{next(numbers)}")


def read_pieces(pieces: list[bytes]) -> list[Event]:
    decoder, one = SSEDecoder(), reader()
    events: list[Event] = []
    for piece in pieces:
        for frame in decoder.feed(piece):
            events += one.feed(frame)
    for frame in decoder.close():
        events += one.feed(frame)
    return events + one.end()


def told(events: list[Event]) -> list[object]:
    """``events`` in a form that compares: an error by its class and message."""
    return [
        (type(event.error), event.error.message) if isinstance(event, Failed) else event for event in events
    ]


def read_fixture(name: str) -> list[Event]:
    events = read_pieces([(FIXTURES / name).read_bytes()])
    check_events(events)
    return events


def chunk(*parts: dict[str, Any], **others: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if "finishReason" in others:
        candidate["finishReason"] = others.pop("finishReason")
    return {"candidates": [candidate], **others}


def read(*chunks: dict[str, Any]) -> list[Event]:
    one = reader()
    events = [event for each in chunks for event in one.feed(Frame(json.dumps(each).encode()))]
    events += one.end()
    check_events(events)
    return events


def without_frame(events: list[Event]) -> list[Event]:
    """The events between ``Started`` and the end, usage apart."""
    return [event for event in events if not isinstance(event, Started | UsageReported | Finished)]


def usage_of(events: list[Event]) -> Usage:
    (usage,) = [event.usage for event in events if isinstance(event, UsageReported)]
    return usage


def failure(events: list[Event]) -> UpstreamError:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1].error


class RecordedStreams(unittest.TestCase):
    def test_all_obey_the_grammar(self) -> None:
        """Every recorded stream, faulty ones too, becomes events that obey the grammar."""
        self.assertGreater(len(ANTIGRAVITY), 20)
        for path in STREAMS:
            with self.subTest(path.name):
                check_events(read_pieces([path.read_bytes()]))

    def test_byte_by_byte(self) -> None:
        """A stream that comes byte by byte gives the same events as the whole one."""
        for path in STREAMS:
            data = path.read_bytes()
            with self.subTest(path.name):
                pieces = [data[place : place + 1] for place in range(len(data))]
                self.assertEqual(told(read_pieces(pieces)), told(read_pieces([data])))

    def test_random_splits(self) -> None:
        """A stream cut anywhere gives the same events as the whole one."""
        dice = random.Random(20260822)
        for path in STREAMS:
            data = path.read_bytes()
            whole = told(read_pieces([data]))
            for _ in range(5):
                cuts = sorted(dice.sample(range(len(data)), min(12, len(data))))
                pieces = [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])]
                with self.subTest(path.name, cuts=cuts):
                    self.assertEqual(told(read_pieces(pieces)), whole)

    def test_envelope_makes_no_difference(self) -> None:
        """An answer in Antigravity's envelope gives the same events as the bare one."""
        for wrapped, bare in (
            ("wrapped-3pro-text.sse", "3pro-text.sse"),
            ("wrapped-25pro-thinking-tool.sse", "25pro-thinking-tool.sse"),
            ("wrapped-long.sse", "streaming-long.sse"),
        ):
            self.assertEqual(read_fixture(f"antigravity/{wrapped}"), read_fixture(f"gemini/{bare}"))

    def test_cut_streams_never_finish(self) -> None:
        """A stream cut before its finish reason fails as truncated."""
        data = (FIXTURES / "antigravity/wrapped-3pro-parallel.sse").read_bytes()
        last = data.index(b"data:", data.index(b"multiply"))
        for end in range(0, last, 97):
            self.assertIsInstance(failure(read_pieces([data[:end]])), UpstreamTruncated)
        self.assertIsInstance(read_pieces([data])[-1], Finished)


class RecordedAnswers(unittest.TestCase):
    def test_claude_thinking_and_text(self) -> None:
        """Claude on Antigravity: an empty thought part signs the thinking; empty texts are no blocks."""
        events = read_fixture("antigravity/claude-thinking-text.sse")
        signature = next(event.signature for event in events if isinstance(event, SignatureDelta))
        self.assertTrue(signature.startswith("RVFRQ0"))
        self.assertEqual(
            events,
            [
                Started("msg_vrtx_01AAAAAAAAAAAAAAAAAAAAAA", "claude-sonnet-4-6", Usage(41, 1)),
                BlockStarted("thinking"),
                ThinkingDelta("ok"),
                SignatureDelta(signature),
                BlockEnded(),
                BlockStarted("text"),
                TextDelta("ok"),
                BlockEnded(),
                UsageReported(Usage(41, 13)),
                Finished("end_turn"),
            ],
        )

    def test_tool_call_wins_over_stop(self) -> None:
        """A call ends as tool_use although STOP comes later with an empty text."""
        self.assertEqual(
            read_fixture("antigravity/claude-tool-call.sse"),
            [
                Started("req_vrtx_011CAAAAAAAAAAAAAAAAAAAA", "claude-opus-4-6-thinking", Usage(900, 30)),
                BlockStarted("tool_use", "toolu_vrtx_01AkLzAAAAAAAAAAAAAAAAAA", "Read"),
                InputDelta('{"file_path":"src/index.ts"}'),
                BlockEnded(),
                UsageReported(Usage(900, 60)),
                Finished("tool_use"),
            ],
        )

    def test_text_then_tool(self) -> None:
        """Text and a call become two blocks, and what was cached leaves the input."""
        self.assertEqual(
            read_fixture("antigravity/cliproxy-text-and-tool.sse"),
            [
                Started("req_vrtx_1", "test-model", Usage(1, 1)),
                BlockStarted("text"),
                TextDelta("让"),
                TextDelta("我先"),
                TextDelta("了解"),
                BlockEnded(),
                BlockStarted("tool_use", "toolu_1", "mcp__serena__list_dir"),
                InputDelta('{"recursive":false,"relative_path":"internal"}'),
                BlockEnded(),
                UsageReported(Usage(8, 5, cache_read_tokens=2)),
                Finished("tool_use"),
            ],
        )

    def test_signature_of_a_call(self) -> None:
        """A signed call with no thinking before it is told by an empty thinking block."""
        events = read_fixture("antigravity/gemini-tool-call.sse")
        self.assertEqual(events[1], BlockStarted("thinking"))
        self.assertIsInstance(events[2], SignatureDelta)
        self.assertEqual(
            events[3:],
            [
                BlockEnded(),
                BlockStarted("tool_use", "call_9680", "get_weather"),
                InputDelta('{"city":"Paris"}'),
                BlockEnded(),
                UsageReported(Usage(50, 70, reasoning_tokens=62)),
                Finished("tool_use"),
            ],
        )

    def test_parallel_calls(self) -> None:
        """Of parallel calls only the first is signed; those without an id get one."""
        blocks = [
            event
            for event in read_fixture("antigravity/wrapped-25flash-parallel.sse")
            if isinstance(event, BlockStarted)
        ]
        self.assertEqual(
            blocks,
            [
                BlockStarted("thinking"),
                BlockStarted("tool_use", "toolu_1", "add"),
                BlockStarted("tool_use", "toolu_2", "multiply"),
            ],
        )
        self.assertEqual(
            [
                event.id
                for event in read_fixture("antigravity/wrapped-3pro-parallel.sse")
                if isinstance(event, BlockStarted) and event.type == "tool_use"
            ],
            ["8hd01vsf", "k0srpqrc"],
        )

    def test_call_signs_open_thinking(self) -> None:
        """The signature of a call ends the thinking block that is open before it."""
        kinds = [type(event) for event in read_fixture("antigravity/wrapped-25pro-thinking-tool.sse")]
        self.assertEqual(
            kinds,
            [
                *(Started, BlockStarted, ThinkingDelta, SignatureDelta, BlockEnded),
                *(BlockStarted, InputDelta, BlockEnded, UsageReported, Finished),
            ],
        )

    def test_trailing_signature(self) -> None:
        """A signature on an empty text part is the open text's, and the last of its block."""
        events = read_fixture("antigravity/gemini-text-trailing-signature.sse")
        begun, text, signed, ended = without_frame(events)
        self.assertEqual([begun, text, ended], [BlockStarted("text"), TextDelta("ok"), BlockEnded()])
        self.assertIsInstance(signed, SignatureDelta)
        self.assertEqual(usage_of(events), Usage(6, 65, reasoning_tokens=64))

    def test_thinking_that_took_all_tokens(self) -> None:
        """Output is counted from the total where candidatesTokenCount is left out."""
        events = read_fixture("antigravity/gemini-max-tokens-all-thinking.sse")
        self.assertEqual(without_frame(events), [])
        self.assertEqual(usage_of(events), Usage(6, 61, reasoning_tokens=61))
        self.assertEqual(events[-1], Finished("max_tokens"))

    def test_tool_use_prompt_tokens_are_input(self) -> None:
        """What Google's own search put into the prompt counts as input."""
        events = read_fixture("antigravity/wrapped-web-search.sse")
        self.assertEqual(usage_of(events).input_tokens, 17 + 102)
        self.assertEqual(events[-1], Finished("end_turn"))

    def test_long_text_is_whole(self) -> None:
        """No piece of a long answer is lost."""
        data = (FIXTURES / "antigravity/wrapped-long.sse").read_bytes()
        parts = [
            part["text"]
            for line in data.splitlines()
            if line
            for part in json.loads(line[6:])["response"]["candidates"][0]["content"].get("parts", ())
        ]
        (block,) = reply_of(read_fixture("antigravity/wrapped-long.sse")).content
        self.assertEqual(block, TextBlock("".join(parts)))
        self.assertGreater(len("".join(parts)), 10_000)

    def test_usage_after_stop(self) -> None:
        """Usage in a chunk after the finish reason still counts."""
        events = read_fixture("antigravity/x-usage-after-stop.sse")
        self.assertEqual(usage_of(events), Usage(10, 3))
        self.assertEqual(events[-1], Finished("end_turn"))

    def test_blocked_prompt(self) -> None:
        """A blocked prompt is a refusal without any block."""
        events = read_fixture("antigravity/x-prompt-blocked.sse")
        self.assertEqual(without_frame(events), [])
        self.assertEqual(events[-1], Finished("refusal"))

    def test_empty_answer(self) -> None:
        """A candidate without content is a whole answer with nothing in it."""
        events = read_fixture("antigravity/x-empty-candidate.sse")
        self.assertEqual(without_frame(events), [])
        self.assertEqual(events[-1], Finished("end_turn"))

    def test_safety_after_text(self) -> None:
        """A stop for safety is a refusal, whatever came before it."""
        self.assertEqual(read_fixture("gemini/x-safety-after-text.sse")[-1], Finished("refusal"))

    def test_malformed_call(self) -> None:
        """A malformed call after nothing but thinking is the provider's fault."""
        self.assertIsInstance(
            failure(read_fixture("antigravity/x-malformed-function-call.sse")), UpstreamFailed
        )

    def test_error_in_the_stream(self) -> None:
        """An error object in the stream fails the answer with the class that it has."""
        error = failure(read_fixture("antigravity/x-error-mid-stream.sse"))
        self.assertIsInstance(error, UpstreamBusy)
        self.assertEqual(error.status, 529)
        ineligible = read_fixture("antigravity/x-error-sse-ineligible.sse")
        self.assertEqual(len(ineligible), 1)
        self.assertIsInstance(failure(ineligible), UpstreamUnauthorized)

    def test_code_execution(self) -> None:
        """Code that Google ran is shown as fenced text; its result, and no tool call, is not."""
        reply = reply_of(read_fixture("gemini/code-execution.sse"))
        (block,) = reply.content
        assert isinstance(block, TextBlock)
        self.assertTrue(block.text.startswith("\n```python\nresult = 65465"))
        self.assertIn("**-428,330,955.97745**", block.text)
        self.assertEqual(reply.stop_reason, "end_turn")

    def test_call_in_pieces(self) -> None:
        """A call in pieces, which we do not ask for, is a fault and not a broken call."""
        self.assertIn("partialArgs", failure(read_fixture("gemini/vertex-partial-args.sse")).message)


class Chunks(unittest.TestCase):
    def test_signed_thinking_and_signed_call(self) -> None:
        """Thinking keeps its own signature; the call's gets an empty block of its own."""
        events = read(
            chunk({"thought": True, "text": "hm"}),
            chunk({"thought": True, "text": "", "thoughtSignature": "one"}),
            chunk({"functionCall": {"name": "f", "id": "a"}, "thoughtSignature": "two"}),
            chunk(finishReason="STOP"),
        )
        self.assertEqual(
            without_frame(events),
            [
                BlockStarted("thinking"),
                ThinkingDelta("hm"),
                SignatureDelta("one"),
                BlockEnded(),
                BlockStarted("thinking"),
                SignatureDelta("two"),
                BlockEnded(),
                BlockStarted("tool_use", "a", "f"),
                InputDelta("{}"),
                BlockEnded(),
            ],
        )

    def test_thinking_after_a_signature(self) -> None:
        """Thinking that goes on after its signature is a new block."""
        events = read(
            chunk({"thought": True, "text": "a", "thoughtSignature": SIGNATURE}),
            chunk({"thought": True, "text": "b"}, finishReason="STOP"),
        )
        self.assertEqual(reply_of(events).content, (ThinkingBlock("a", SIGNATURE), ThinkingBlock("b", None)))

    def test_carrier_signs_open_thinking(self) -> None:
        """Empty text with a signature signs the thinking that is open, if any."""
        events = read(
            chunk({"thought": True, "text": "a"}),
            chunk({"text": "", "thoughtSignature": SIGNATURE}, finishReason="STOP"),
        )
        self.assertEqual(reply_of(events).content, (ThinkingBlock("a", SIGNATURE),))

    def test_signed_text(self) -> None:
        """The signature of a text is told at its end, wherever it came: the text is one block,
        and what no open block can take is left out."""
        for parts in (
            [{"text": "a", "thoughtSignature": SIGNATURE}, {"text": "b"}],
            [{"text": "a"}, {"text": "b", "thoughtSignature": SIGNATURE}],
            [{"text": "a"}, {"text": "b"}, {"text": "", "thoughtSignature": SIGNATURE}],
        ):
            with self.subTest(parts):
                reply = reply_of(read(*map(chunk, parts), chunk(finishReason="STOP")))
                self.assertEqual(reply.content, (TextBlock("ab", SIGNATURE),))
        call = {"functionCall": {"name": "f"}}
        signed = chunk({"text": "", "thoughtSignature": SIGNATURE}, finishReason="STOP")
        self.assertEqual(
            reply_of(read(chunk({"text": "a"}, call), signed)).content,
            (TextBlock("a"), ToolUseBlock("toolu_1", "f", "{}")),
        )
        self.assertEqual(reply_of(read(signed)).content, ())
        texts = read(chunk({"text": "a", "thoughtSignature": SIGNATURE}, call, {"text": "b"}), signed)
        self.assertEqual(reply_of(texts).content[::2], (TextBlock("a", SIGNATURE), TextBlock("b", SIGNATURE)))

    def test_order_of_parts(self) -> None:
        """The parts of one chunk are told in their order, text after a call as a new block."""
        reply = reply_of(
            read(chunk({"text": "a"}, {"functionCall": {"name": "f"}}, {"text": "b"}, finishReason="STOP"))
        )
        self.assertEqual(reply.content, (TextBlock("a"), ToolUseBlock("toolu_1", "f", "{}"), TextBlock("b")))
        self.assertEqual(reply.stop_reason, "tool_use")

    def test_arguments_keep_their_numbers(self) -> None:
        """A call's arguments go on as written: no number is rounded."""
        raw = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","id":"i",'
        raw += b'"args":{"n": 12345678901234567890123, "x": 1.10}}}]},"finishReason":"STOP"}]}'
        one = reader()
        events = one.feed(Frame(raw)) + one.end()
        self.assertIn(InputDelta('{"n":12345678901234567890123,"x":1.10}'), events)

    def test_placeholder_argument(self) -> None:
        """The made-up argument of a tool without any does not reach the client."""
        args = {NO_ARGUMENTS: True}
        events = read(chunk({"functionCall": {"name": "f", "args": args}}, finishReason="STOP"))
        self.assertIn(InputDelta("{}"), events)

    def test_bad_arguments(self) -> None:
        """Arguments that are no object, or not UTF-8, are a fault, never passed on."""
        for args in (b'["a"]', b'"a"', b'{"a":"\xff"}', b'{"a":1,"a":2}'):
            one = reader()
            raw = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":%b}}]}}]}' % args
            self.assertIsInstance(failure(one.feed(Frame(raw))), UpstreamGarbled)
            self.assertEqual(one.end(), [])

    def test_finish_reasons(self) -> None:
        """Gemini's finish reasons become Claude's; a call turns an end of turn into tool_use."""
        text, call = {"text": "a"}, {"functionCall": {"name": "f"}}
        for reason, part, expected in (
            ("STOP", text, "end_turn"),
            ("STOP", call, "tool_use"),
            ("MAX_TOKENS", call, "max_tokens"),
            ("CONTINUATION", text, "max_tokens"),
            ("RECITATION", text, "refusal"),
            ("MODEL_ARMOR", call, "refusal"),
            ("OTHER", text, "end_turn"),
            ("NEW_IN_2027", call, "tool_use"),
            ("MALFORMED_FUNCTION_CALL", text, "end_turn"),
        ):
            with self.subTest(reason, part=part):
                self.assertEqual(read(chunk(part, finishReason=reason))[-1], Finished(expected))

    def test_late_error(self) -> None:
        """An error after the finish reason does not spoil the answer; the reader keeps it."""
        one = reader()
        events = one.feed(Frame(json.dumps(chunk({"text": "a"}, finishReason="STOP")).encode()))
        events += one.feed(Frame(b'{"error":{"code":503,"message":"late"}}'))
        self.assertEqual(events[-1], Finished("end_turn"))
        self.assertIsInstance(one.late_error, UpstreamBusy)
        self.assertEqual(one.end(), [])

    def test_wrong_usage(self) -> None:
        """Counts that are negative, absurd, text or no counts at all are passed over."""
        wrong: list[object] = [-5, 10**15, "12", 1.5, True, None, [], {}]
        for bad in wrong:
            usage = {"promptTokenCount": 3, "candidatesTokenCount": bad}
            events = read(chunk({"text": "a"}, finishReason="STOP", usageMetadata=usage))
            self.assertEqual(usage_of(events), Usage(3, 0))
        events = read(chunk({"text": "a"}, finishReason="STOP", usageMetadata="lots"))
        self.assertEqual([event for event in events if isinstance(event, UsageReported)], [])

    def test_missing_count_erases_nothing(self) -> None:
        """A count that a later chunk leaves out keeps its older value; a newer one wins."""
        events = read(
            chunk({"text": "a"}, usageMetadata={"promptTokenCount": 9, "cachedContentTokenCount": 4}),
            chunk(finishReason="STOP", usageMetadata={"promptTokenCount": 10, "candidatesTokenCount": 2}),
        )
        self.assertEqual(usage_of(events), Usage(6, 2, cache_read_tokens=4))

    def test_never_negative(self) -> None:
        """More cached than prompted does not make the input negative."""
        usage = {"promptTokenCount": 3, "cachedContentTokenCount": 9}
        events = read(chunk({"text": "a"}, finishReason="STOP", usageMetadata=usage))
        self.assertEqual(usage_of(events).input_tokens, 0)

    def test_unknown_fields(self) -> None:
        """Fields that we do not know, of whatever type, make no difference."""
        odd = chunk(
            {"text": "a", "videoMetadata": 5},
            {"inlineData": {"data": "aa"}},
            finishReason="STOP",
            traceId=[1],
        )
        odd["candidates"][0]["safetyRatings"] = "none"
        self.assertEqual(reply_of(read(odd)).content, (TextBlock("a"),))

    def test_second_candidate(self) -> None:
        """Only the first candidate is told."""
        both = chunk({"text": "a"}, finishReason="STOP")
        both["candidates"].append({"index": 1, "content": {"parts": [{"text": "b"}]}})
        self.assertEqual(reply_of(read(both)).content, (TextBlock("a"),))

    def test_done_marker(self) -> None:
        """A [DONE] that some relay added is passed over."""
        one = reader()
        self.assertEqual(one.feed(Frame(b"[DONE]")), [])
        self.assertEqual(one.feed(Frame(b" ")), [])

    def test_garbage(self) -> None:
        """What is no chunk fails the stream, once, and does not raise."""
        deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        for data in (b"{", b"<html>", b"[]", b"null", b'{"candidates":5}', b'{"responseId":"\xff"}', deep):
            one = reader()
            with self.subTest(data[:20]):
                self.assertIsInstance(failure(one.feed(Frame(data))), UpstreamGarbled)
                self.assertEqual(one.feed(Frame(b"{}")) + one.end(), [])

    def test_nothing_at_all(self) -> None:
        """A body without any chunk is truncated."""
        self.assertIsInstance(failure(reader().end()), UpstreamTruncated)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_any_chunks(self, data: st.DataObject) -> None:
        """Whatever chunks come, the events obey the grammar and nothing raises."""
        text = st.sampled_from(["", "a", "b"])
        part = st.fixed_dictionaries(
            {},
            optional={
                "text": text,
                "thought": st.booleans(),
                "thoughtSignature": text,
                "functionCall": st.fixed_dictionaries(
                    {}, optional={"name": text, "args": st.sampled_from([{}, {"a": 1}, None, 3])}
                ),
            },
        )
        one = reader()
        events: list[Event] = []
        for parts in data.draw(st.lists(st.lists(part, max_size=4), max_size=5)):
            events += one.feed(Frame(json.dumps(chunk(*parts)).encode()))
        if data.draw(st.booleans()):
            events += one.feed(Frame(json.dumps(chunk(finishReason="STOP")).encode()))
        check_events(events + one.end())


class OddTypes(unittest.TestCase):
    def test_what_is_merely_reported(self) -> None:
        """A name or a number that is only told on costs no answer, whatever its type."""
        call = {"name": "f", "id": 5, "args": {}}
        code = {"code": "1", "language": 7}
        odd: dict[str, Any] = {"modelVersion": 3, "responseId": 3}
        parts = [{"text": "a"}, {"executableCode": code}, {"functionCall": call}]
        candidate = {"index": "0", "finishReason": "STOP", "content": {"parts": parts}}
        body = json.dumps({"candidates": [candidate], **odd}).encode()
        reply = parse_reply(body, stream_error)
        self.assertEqual((reply.id, reply.model, reply.stop_reason), ("", "", "tool_use"))
        self.assertEqual(len(reply.content), 2)


class WholeAnswers(unittest.TestCase):
    def test_generate_content(self) -> None:
        """A whole answer is read by the same rules as a stream."""
        body = (FIXTURES / "gemini/tool-choice-auto.json").read_bytes()
        reply = parse_reply(body, stream_error, lambda: "toolu_1")
        thinking, call = reply.content
        assert isinstance(thinking, ThinkingBlock)
        self.assertEqual((thinking.thinking, (thinking.signature or "")[:6]), ("", "CusBAX"))
        self.assertEqual(call, ToolUseBlock("toolu_1", "get_weather", '{"city":"Paris"}'))
        self.assertEqual(reply.stop_reason, "tool_use")
        self.assertEqual(reply.usage, Usage(49, 63, reasoning_tokens=48))

    def test_envelope_and_array(self) -> None:
        """Antigravity's envelope is taken off; the array of a stream without alt=sse is put together."""
        body = json.dumps({"response": chunk({"text": "a"}, finishReason="STOP")}).encode()
        self.assertEqual(parse_reply(body, stream_error).content, (TextBlock("a"),))
        both = json.dumps([chunk({"text": "a"}), chunk({"text": "b"}, finishReason="STOP")], indent=1)
        self.assertEqual(parse_reply(both.encode(), stream_error).content, (TextBlock("ab"),))

    def test_what_is_no_answer(self) -> None:
        """An error with status 200 raises as that error; anything else as garbled or truncated."""
        for body, expected in (
            (b"", UpstreamGarbled),
            (b"<html></html>", UpstreamGarbled),
            (b"[]", UpstreamGarbled),
            (b"[1", UpstreamGarbled),
            (b'"text"', UpstreamGarbled),
            (b"{}", UpstreamTruncated),
            (b'{"error":{"code":503,"message":"x"}}', UpstreamBusy),
            (b'[{"error":{"code":429,"message":"x"}}]', UpstreamBusy),
            (b'{"response":{"error":{"code":401,"message":"x"}}}', UpstreamUnauthorized),
        ):
            with self.subTest(body), self.assertRaises(expected):
                parse_reply(body, stream_error)


class Grammar(unittest.TestCase):
    def test_finds_what_is_wrong(self) -> None:
        """The checker itself refuses each kind of broken sequence."""
        start, end = Started("", ""), Finished("end_turn")
        wrong: list[list[Event]] = [
            [],
            [start],
            [end],
            [start, TextDelta("a"), end],
            [start, BlockStarted("text"), end],
            [start, BlockStarted("text"), BlockStarted("text"), BlockEnded(), end],
            [start, BlockStarted("text"), ThinkingDelta("a"), BlockEnded(), end],
            [start, BlockStarted("thinking"), SignatureDelta("a"), ThinkingDelta("b"), BlockEnded(), end],
            [start, BlockStarted("text"), SignatureDelta("a"), TextDelta("b"), BlockEnded(), end],
            [start, BlockStarted("tool_use", "a", "f"), SignatureDelta("a"), BlockEnded(), end],
            [start, BlockStarted("tool_use"), BlockEnded(), end],
            [start, BlockEnded(), end],
            [start, start, end],
            [start, end, end],
        ]
        for events in wrong:
            with self.subTest(events), self.assertRaises(AssertionError):
                check_events(events)
