"""Events into Claude's stream and Claude's whole answers, byte for byte."""

from __future__ import annotations

import json
import unittest
from typing import Any

from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from aigateway.check import Answer, check_claude, strict_json
from aigateway.dialects.claude.writer import ClaudeWriter, message_id, render_reply
from aigateway.errors import AccountExhausted, MalformedRequest, Stopping, UpstreamBusy, UpstreamTruncated
from aigateway.events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    Event,
    Failed,
    Finished,
    InputDelta,
    RedactedThinkingBlock,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
    UsageReported,
)

from .made_up import HOSTILE, answers
from .recordings import ask

CALL: list[Event] = [
    BlockStarted("tool_use", "toolu_1", "get_weather"),
    InputDelta('{"city":"Paris"}'),
    BlockEnded(),
]


def writer() -> ClaudeWriter:
    return ClaudeWriter(ask(), "req_1", 1700000000)


def write(*events: Event) -> bytes:
    return writer().write(events)


def told(*events: Event, reason: str = "end_turn") -> Answer:
    """What a whole answer of these events tells a client."""
    return check_claude(write(Started("1", "m"), *events, Finished(reason)))


def hostile(reads_back: str) -> str:
    """The hostile text as a client reads it: no UTF-8 holds half of a surrogate pair."""
    return reads_back.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Stream(unittest.TestCase):
    maxDiff = None

    def test_typical(self) -> None:
        """A typical stream, byte for byte as Anthropic sends it."""
        data = write(
            Started("chatcmpl-1", "gpt-4o", Usage(9, 1)),
            BlockStarted("thinking"),
            ThinkingDelta("Hm."),
            SignatureDelta("c2ln"),
            BlockEnded(),
            BlockStarted("text"),
            TextDelta("1"),
            TextDelta(", 2"),
            BlockEnded(),
            *CALL,
            UsageReported(Usage(9, 30, cache_read_tokens=4, reasoning_tokens=7)),
            Finished("tool_use"),
        )
        expected = """\
event: message_start
data: {"type":"message_start","message":{"id":"msg_chatcmpl-1","type":"message","role":"assistant",\
"model":"the-model","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,\
"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"",\
"signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"1"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":", 2"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1",\
"name":"get_weather","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta",\
"partial_json":"{\\"city\\":\\"Paris\\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},\
"usage":{"input_tokens":9,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":30,\
"output_tokens_details":{"thinking_tokens":7}}}

event: message_stop
data: {"type":"message_stop"}

"""
        self.assertEqual(data.decode(), expected)
        check_claude(data)

    def test_one_by_one(self) -> None:
        """Events give the same bytes one by one as together."""
        events: list[Event] = [
            Started("1", "m"),
            *CALL,
            BlockStarted("text"),
            TextDelta("x"),
            BlockEnded(),
            Finished("tool_use"),
        ]
        one = writer()
        self.assertEqual(b"".join(one.write([event]) for event in events), write(*events))

    def test_nothing_to_say(self) -> None:
        """Usage alone is no frame, and no events are none."""
        one = writer()
        self.assertEqual(one.write([]), b"")
        one.write([Started("1", "m")])
        self.assertEqual(one.write([UsageReported(Usage(1, 2))]), b"")

    def test_empty_answer(self) -> None:
        """A message without a block is legal."""
        self.assertEqual(told(reason="refusal").blocks, [])

    def test_ids(self) -> None:
        """The id is the provider's with Anthropic's prefix, once, or ours where it gave none."""
        self.assertEqual(message_id("msg_01", "req_1"), "msg_01")
        self.assertEqual(message_id("chatcmpl-1", "req_1"), "msg_chatcmpl-1")
        self.assertEqual(message_id("", "req_1"), "msg_req_1")

    def test_redacted_thinking(self) -> None:
        """Redacted thinking is a block with its data and no delta."""
        answer = told(BlockStarted("redacted_thinking", data="b3BhcXVl"), BlockEnded())
        self.assertEqual(answer.blocks, [("redacted_thinking", "b3BhcXVl")])

    def test_stop_sequence(self) -> None:
        """The sequence that stopped the answer is named; otherwise it is null."""
        data = write(Started("", ""), Finished("stop_sequence", "\u2028END"))
        self.assertEqual(check_claude(data).stop_sequence, "\u2028END")

    def test_calls(self) -> None:
        """Parallel calls are blocks one after the other; one without arguments has no delta."""
        answer = told(
            *CALL,
            *(BlockStarted("tool_use", "toolu_2", "now"), BlockEnded()),
            *(
                BlockStarted("tool_use", "toolu_3", "f"),
                InputDelta(""),
                InputDelta('{"a"'),
                InputDelta(":1}"),
                BlockEnded(),
            ),
            reason="tool_use",
        )
        self.assertEqual(
            answer.calls,
            [
                ("toolu_1", "get_weather", '{"city":"Paris"}'),
                ("toolu_2", "now", "{}"),
                ("toolu_3", "f", '{"a":1}'),
            ],
        )

    def test_usage_not_told(self) -> None:
        """Where the provider told no usage, the start has the prompt's estimate and the end both."""
        answer = told(BlockStarted("text"), TextDelta("x" * 40), BlockEnded())
        assert answer.usage is not None
        started = answer.chunks[0]["message"]["usage"]
        self.assertEqual((started["input_tokens"], started["output_tokens"]), (6, 0))
        self.assertEqual((answer.usage["input_tokens"], answer.usage["output_tokens"]), (6, 10))

    def test_newest_usage(self) -> None:
        """The end has the newest usage, that of the start if there was no other."""
        only = check_claude(write(Started("", "", Usage(3, 1)), Finished("end_turn"))).usage
        newer = check_claude(
            write(Started("", "", Usage(3, 1)), UsageReported(Usage(2, 5, 1, 1)), Finished("end_turn"))
        ).usage
        assert only is not None
        assert newer is not None
        self.assertEqual((only["input_tokens"], only["output_tokens"]), (3, 1))
        self.assertEqual(list(newer.values()), [2, 1, 1, 5])

    def test_size(self) -> None:
        """Text, thinking and input are counted, as they stand in the JSON; nothing else is."""
        one = writer()
        one.write(
            [Started("1", "m"), BlockStarted("thinking"), ThinkingDelta("ab"), SignatureDelta("x" * 99)]
        )
        one.write([BlockEnded(), BlockStarted("text"), TextDelta("数"), TextDelta('"'), BlockEnded(), *CALL])
        self.assertEqual(one.size, 2 + 3 + 2 + len(r"{\"city\":\"Paris\"}"))


class Hostile(unittest.TestCase):
    def test_text_of_every_kind(self) -> None:
        """No text, name or id can end its line or its string; each reads back as it was."""
        data = write(
            Started(HOSTILE, "m"),
            *(BlockStarted("thinking"), ThinkingDelta(HOSTILE), SignatureDelta(HOSTILE), BlockEnded()),
            *(BlockStarted("redacted_thinking", data=HOSTILE), BlockEnded()),
            *(BlockStarted("text"), TextDelta(HOSTILE), BlockEnded()),
            *(BlockStarted("tool_use", HOSTILE, HOSTILE), InputDelta(HOSTILE), BlockEnded()),
            Finished("tool_use"),
        )
        answer, text = check_claude(data), hostile(HOSTILE)
        self.assertEqual(answer.id, f"msg_{text}")
        self.assertEqual(answer.calls, [(text, text, text)])
        self.assertEqual([told for _, told in answer.blocks], [text] * 4)
        self.assertEqual(answer.signatures, [text])

    def test_model_names(self) -> None:
        """The model's name, which the client chose, is told as it was."""
        one = ClaudeWriter(ask(model='a"\u2028'), "req_1", 0)
        answer = check_claude(one.write([Started("", ""), Finished("end_turn")]))
        self.assertEqual(answer.model, 'a"\u2028')

    @settings(deadline=None, max_examples=300)
    @given(answers())
    def test_any_answer(self, events: list[Event]) -> None:
        """Any answer that the events' grammar allows is a stream that Claude's allows."""
        answer = check_claude(write(*events))
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        self.assertEqual(
            answer.text, "".join(hostile(event.text) for event in events if isinstance(event, TextDelta))
        )
        self.assertEqual(bool(answer.text), bool(text))
        self.assertEqual(answer.error is None, isinstance(events[-1], Finished))


class KeepAlive(unittest.TestCase):
    def test_before_and_after_the_start(self) -> None:
        """Before the message starts only a comment means nothing; then a ping does."""
        one = writer()
        data = one.keep_alive()
        self.assertEqual(data, b": keep-alive\n\n")
        data += one.write([Started("1", "m")])
        self.assertEqual(one.keep_alive(), b'event: ping\ndata: {"type": "ping"}\n\n')
        data += one.keep_alive() + one.write([BlockStarted("text")]) + one.keep_alive()
        data += one.write([TextDelta("x"), BlockEnded(), Finished("end_turn")])
        answer = check_claude(data)
        self.assertEqual((answer.comments, answer.pings), (1, 2))


class Errors(unittest.TestCase):
    def test_bytes(self) -> None:
        """An error is an event of its own, with the request's id."""
        self.assertEqual(
            writer().fail(UpstreamTruncated("it was cut")),
            b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"it was cut"},'
            b'"request_id":"req_1"}\n\n',
        )

    def test_failed_ends_the_stream(self) -> None:
        """A Failed among the events is the error frame, without message_delta and message_stop."""
        events: list[Event] = [
            Started("1", "m"),
            BlockStarted("text"),
            TextDelta("x"),
            Failed(UpstreamTruncated("cut")),
        ]
        answer = check_claude(write(*events))
        self.assertEqual(answer.error, {"type": "api_error", "message": "cut"})
        self.assertEqual((answer.text, answer.stop), ("x", None))
        self.assertEqual(write(*events), write(*events[:3]) + writer().fail(UpstreamTruncated("cut")))

    def test_types(self) -> None:
        """The type is Anthropic's word for what happened."""
        for error, expected in (
            (UpstreamBusy("", overloaded=True), "overloaded_error"),
            (UpstreamBusy(""), "rate_limit_error"),
            (AccountExhausted("", status=402), "billing_error"),
            (Stopping(""), "overloaded_error"),
            (MalformedRequest(""), "invalid_request_error"),
        ):
            frame = writer().fail(error).decode().partition("data: ")[2]
            self.assertEqual(json.loads(frame)["error"]["type"], expected)

    def test_hostile_messages(self) -> None:
        """A provider's message cannot end its line, nor forge an event."""
        message = "\r\n\r\nevent: message_stop\ndata: {}\n\n\u2028\u0085\0"
        data = writer().fail(UpstreamTruncated(message))
        answer = check_claude(data)
        assert answer.error is not None
        self.assertEqual(answer.error["message"], message)


# ------------------------------------------------------------------ whole answers

REPLY = ChatReply(
    id="chatcmpl-1",
    model="gpt-4o",
    content=(
        ThinkingBlock("hm", "sig"),
        ThinkingBlock("unsigned"),
        RedactedThinkingBlock("b3BhcXVl"),
        TextBlock("Hello"),
        ToolUseBlock("toolu_1", "f", '{"a":[1,2.5,null]}'),
        ToolUseBlock("toolu_2", "g", ""),
    ),
    stop_reason="tool_use",
    usage=Usage(9, 30, 4, 1, 7),
)


def render(reply: ChatReply) -> dict[str, Any]:
    value: dict[str, Any] = strict_json(render_reply(reply, ask(), "req_1", 1700000000).decode())
    Message.model_validate(value)
    return value


class Whole(unittest.TestCase):
    maxDiff = None

    def test_all_kinds_of_blocks(self) -> None:
        """A whole answer is a message with its blocks in order."""
        self.assertEqual(
            render(REPLY),
            {
                "id": "msg_chatcmpl-1",
                "type": "message",
                "role": "assistant",
                "model": "the-model",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "thinking", "thinking": "unsigned", "signature": ""},
                    {"type": "redacted_thinking", "data": "b3BhcXVl"},
                    {"type": "text", "text": "Hello"},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, 2.5, None]}},
                    {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
                ],
                "stop_reason": "tool_use",
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 9,
                    "cache_creation_input_tokens": 1,
                    "cache_read_input_tokens": 4,
                    "output_tokens": 30,
                    "output_tokens_details": {"thinking_tokens": 7},
                },
            },
        )

    def test_usage_not_told(self) -> None:
        """Usage is there even if the provider told none."""
        reply = ChatReply(id="", model="", content=(TextBlock("x" * 40),), stop_reason="end_turn")
        usage = render(reply)["usage"]
        self.assertEqual((usage["input_tokens"], usage["output_tokens"]), (6, 10))

    def test_input_that_is_no_object(self) -> None:
        """What a model wrote and is no JSON object goes on under ``_raw``: ``input`` must be one."""
        for text in ('{"a":', "[1]", "null", '"x"', '{"a":1}{', "[" * 100_000):
            with self.subTest(text[:20]):
                content = (ToolUseBlock("i", "f", text),)
                reply = ChatReply(id="", model="", content=content, stop_reason="tool_use")
                self.assertEqual(render(reply)["content"][0]["input"], {"_raw": text})

    def test_long_integers(self) -> None:
        """Integers beyond 64 bits in a call's arguments are kept."""
        content = (ToolUseBlock("i", "f", '{"n":12345678901234567890123}'),)
        reply = ChatReply(id="", model="", content=content, stop_reason="tool_use")
        self.assertEqual(render(reply)["content"][0]["input"], {"n": 12345678901234567890123})

    def test_numbers_as_written(self) -> None:
        """A call's arguments go on as the model wrote them."""
        content = (ToolUseBlock("i", "f", '{"n": 1.50, "m": 1E2}'),)
        reply = ChatReply(id="", model="", content=content, stop_reason="tool_use")
        self.assertIn(b'"input":{"n": 1.50, "m": 1E2}', render_reply(reply, ask(), "req_1", 1))


class OfficialTypes(unittest.TestCase):
    @settings(deadline=None, max_examples=50)
    @given(answers().filter(lambda events: isinstance(events[-1], Finished)))
    def test_events_are_the_sdks(self, events: list[Event]) -> None:
        """Each event of a stream is one of those that Anthropic's SDK has a type for."""
        of_sdk: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
        for chunk in check_claude(write(*events)).chunks:
            event = of_sdk.validate_python(chunk)
            self.assertEqual(event.type, chunk["type"])
            known = event.model_dump(exclude_unset=True)
            self.assertEqual(set(known), set(chunk))


class Created(unittest.TestCase):
    @settings(deadline=None, max_examples=20)
    @given(st.integers(0, 2**40))
    def test_has_no_place(self, created: int) -> None:
        """Claude's answers tell no time: ``created`` changes nothing."""
        events: list[Event] = [Started("1", "m"), Finished("end_turn")]
        self.assertEqual(ClaudeWriter(ask(), "req_1", created).write(events), write(*events))
