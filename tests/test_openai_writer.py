"""Events into OpenAI's chunks and whole chat completions, byte for byte."""

from __future__ import annotations

import json
import unittest
from typing import Any

from hypothesis import given, settings
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from aigateway.check import Answer, check_openai, strict_json
from aigateway.dialects import free_text
from aigateway.dialects.openai.writer import OpenAIWriter, completion_id, render_reply
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
    Tool,
    ToolUseBlock,
    Usage,
    UsageReported,
    reply_of,
)

from .made_up import HOSTILE, answers
from .recordings import ask

CALL: list[Event] = [
    BlockStarted("tool_use", "call_1", "get_weather"),
    InputDelta('{"city":'),
    InputDelta('"Paris"}'),
    BlockEnded(),
]


def writer(include_usage: bool = False) -> OpenAIWriter:
    return OpenAIWriter(ask("openai", include_usage=include_usage), "req_1", 1700000000)


def write(*events: Event, include_usage: bool = False) -> bytes:
    return writer(include_usage).write(events)


def told(*events: Event, reason: str = "end_turn") -> Answer:
    """What a whole answer of these events tells a client."""
    return check_openai(write(Started("1", "m"), *events, Finished(reason)), include_usage=False)


def hostile(reads_back: str) -> str:
    """The hostile text as a client reads it: no UTF-8 holds half of a surrogate pair."""
    return reads_back.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class FreeText(unittest.TestCase):
    """Calls of tools that the client offered as tools of free text."""

    ASKED = ask("openai", tools=(Tool("run", None, free_text.SCHEMA, free_text=True), Tool("f")))
    SAID: tuple[Event, ...] = (
        Started("1", "m"),
        BlockStarted("tool_use", "c", "run"),
        InputDelta('{"inp'),
        InputDelta('ut":"ls \\"a\\"\\n"}'),
        BlockEnded(),
        BlockStarted("tool_use", "d", "f"),
        InputDelta('{"input":"x"}'),
        BlockEnded(),
        Finished("tool_use"),
    )

    def test_streamed(self) -> None:
        """The text is taken out of the object that it came in; other calls are functions as ever."""
        data = OpenAIWriter(self.ASKED, "req_1", 1).write(self.SAID).decode()
        chunks = [json.loads(frame[6:]) for frame in data.split("\n\n") if frame[6:7] == "{"]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        self.assertEqual(
            [call for delta in deltas for call in delta.get("tool_calls", ())],
            [
                {"index": 0, "id": "c", "type": "custom", "custom": {"name": "run", "input": ""}},
                {"index": 0, "custom": {"input": 'ls "a"\n'}},
                {"index": 1, "id": "d", "type": "function", "function": {"name": "f", "arguments": ""}},
                {"index": 1, "function": {"arguments": '{"input":"x"}'}},
            ],
        )

    def test_whole(self) -> None:
        """A whole answer has the same calls, as the SDK knows them."""
        body = render_reply(reply_of(self.SAID), self.ASKED, "req_1", 1)
        message = ChatCompletion.model_validate_json(body).choices[0].message
        calls = message.tool_calls
        assert calls is not None
        first, second = calls[0], calls[1]
        run = {"name": "run", "input": 'ls "a"\n'}
        self.assertEqual(first.to_dict(), {"id": "c", "type": "custom", "custom": run})
        self.assertEqual(second.type, "function")

    def test_no_object(self) -> None:
        """A model that wrote the text itself is taken at its word."""
        for written in ("ls", '{"cmd":1}', "", "{}", "[" * 9999):
            self.assertEqual(free_text.text_of(written), written)


class Stream(unittest.TestCase):
    maxDiff = None

    EVENTS: tuple[Event, ...] = (
        Started("msg_1", "claude", Usage(9, 1)),
        BlockStarted("thinking"),
        ThinkingDelta("Hm."),
        BlockEnded(),
        BlockStarted("text"),
        TextDelta("1"),
        BlockEnded(),
        *CALL,
        UsageReported(Usage(9, 30, 4, 1, 7)),
        Finished("tool_use"),
    )
    HEAD = (
        'data: {"id":"chatcmpl-msg_1","object":"chat.completion.chunk","created":1700000000,'
        '"model":"the-model",'
    )

    def test_typical(self) -> None:
        """A typical stream, byte for byte as OpenAI sends it."""
        choices = [
            '{"role":"assistant","content":""},"finish_reason":null',
            '{"reasoning_content":"Hm."},"finish_reason":null',
            '{"content":"1"},"finish_reason":null',
            '{"tool_calls":[{"index":0,"id":"call_1","type":"function",'
            '"function":{"name":"get_weather","arguments":""}}]},"finish_reason":null',
            '{"tool_calls":[{"index":0,"function":{"arguments":"{\\"city\\":"}}]},"finish_reason":null',
            '{"tool_calls":[{"index":0,"function":{"arguments":"\\"Paris\\"}"}}]},"finish_reason":null',
            '{},"finish_reason":"tool_calls"',
        ]
        expected = "".join(
            f'{self.HEAD}"choices":[{{"index":0,"delta":{choice}}}]}}\n\n' for choice in choices
        )
        data = write(*self.EVENTS)
        self.assertEqual(data.decode(), expected + "data: [DONE]\n\n")
        check_openai(data, include_usage=False)

    def test_usage_when_asked(self) -> None:
        """A client that asked has ``usage: null`` in every chunk, and the counts in one of their own."""
        data = write(*self.EVENTS, include_usage=True).decode()
        *chunks, usage, done, end = data.split("\n\n")
        self.assertTrue(all(chunk.endswith('}],"usage":null}') for chunk in chunks))
        self.assertEqual(
            usage,
            f'{self.HEAD}"choices":[],"usage":{{"prompt_tokens":14,"completion_tokens":30,"total_tokens":44,'
            '"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":7}}}',
        )
        self.assertEqual((done, end), ("data: [DONE]", ""))
        plain = write(*self.EVENTS).decode().split("\n\n")
        self.assertEqual([chunk.replace(',"usage":null}', "}") for chunk in chunks], plain[:-2])

    def test_one_by_one(self) -> None:
        """Events give the same bytes one by one as together."""
        one = writer()
        self.assertEqual(b"".join(one.write([event]) for event in self.EVENTS), write(*self.EVENTS))

    def test_nothing_to_say(self) -> None:
        """What has no place in this dialect is no chunk: a block's edges, usage, no events at all."""
        one = writer()
        one.write([Started("1", "m")])
        for event in (BlockStarted("text"), BlockEnded(), BlockStarted("thinking"), SignatureDelta("s")):
            self.assertEqual(one.write([event]), b"")
        self.assertEqual(one.write([BlockStarted("redacted_thinking", data="x"), BlockEnded()]), b"")
        self.assertEqual(one.write([UsageReported(Usage(1, 2))]) + one.write([]), b"")

    def test_ids(self) -> None:
        """The id is the provider's with OpenAI's prefix, once, or ours where it gave none."""
        self.assertEqual(completion_id("chatcmpl-1", "req_1"), "chatcmpl-1")
        self.assertEqual(completion_id("msg_1", "req_1"), "chatcmpl-msg_1")
        self.assertEqual(completion_id("", "req_1"), "chatcmpl-req_1")

    def test_calls(self) -> None:
        """Parallel calls are numbered from 0; one without arguments gets an empty object."""
        answer = told(
            *(BlockStarted("tool_use", "a", "f"), BlockEnded()),
            *(BlockStarted("text"), TextDelta("x"), BlockEnded()),
            *(BlockStarted("tool_use", "b", "g"), InputDelta(""), BlockEnded()),
            *(BlockStarted("tool_use", "c", "h"), InputDelta('{"a"'), InputDelta(":1}"), BlockEnded()),
            reason="tool_use",
        )
        self.assertEqual(answer.calls, [("a", "f", "{}"), ("b", "g", "{}"), ("c", "h", '{"a":1}')])

    def test_signature_of_a_call(self) -> None:
        """A signature that stands before a call goes with it, as Google's OpenAI endpoint has it."""
        data = write(
            Started("1", "m"),
            *(BlockStarted("thinking"), SignatureDelta("c2ln"), BlockEnded()),
            *CALL,
            *CALL[:1],
        )
        (signed,) = [frame for frame in data.split(b"\n\n") if b"extra_content" in frame]
        (call,) = json.loads(signed[6:])["choices"][0]["delta"]["tool_calls"]
        self.assertEqual(call["extra_content"], {"google": {"thought_signature": "c2ln"}})
        self.assertEqual(call["id"], "call_1")

    def test_signature_before_text(self) -> None:
        """A signature with other than a call after it has no place, and does not reach a later call."""
        for block in ("text", "thinking"):
            data = write(
                Started("1", "m"),
                *(BlockStarted("thinking"), SignatureDelta("c2ln"), BlockEnded()),
                *(BlockStarted(block), BlockEnded()),
                *CALL,
            )
            self.assertNotIn(b"c2ln", data)

    def test_finish_reasons(self) -> None:
        """Each of Claude's stop reasons has a word; one that is new is a plain stop."""
        for reason, word in (
            *(("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop"), ("brand_new", "stop")),
            *(("max_tokens", "length"), ("model_context_window_exceeded", "length")),
            ("refusal", "content_filter"),
        ):
            self.assertEqual(told(reason=reason).stop, word)
        self.assertEqual(told(*CALL, reason="tool_use").stop, "tool_calls")

    def test_usage_not_told(self) -> None:
        """Usage that was asked for is sent even if the provider told none."""
        data = write(
            Started("", ""),
            BlockStarted("text"),
            TextDelta("x" * 40),
            Finished("end_turn"),
            include_usage=True,
        )
        usage = check_openai(data, include_usage=True).usage
        assert usage is not None
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (6, 10))

    def test_newest_usage(self) -> None:
        """The newest usage is sent, that of the start if there was no other."""
        for events, expected in (
            ([Started("", "", Usage(3, 1))], (3, 1)),
            ([Started("", "", Usage(3, 1)), UsageReported(Usage(2, 5))], (2, 5)),
        ):
            data = write(*events, Finished("end_turn"), include_usage=True)
            usage = check_openai(data, include_usage=True).usage
            assert usage is not None
            self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), expected)

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
            *(BlockStarted("text"), TextDelta(HOSTILE), BlockEnded()),
            *(BlockStarted("thinking"), ThinkingDelta(HOSTILE), SignatureDelta(HOSTILE), BlockEnded()),
            *(BlockStarted("tool_use", HOSTILE, HOSTILE), InputDelta(HOSTILE), BlockEnded()),
            Finished("tool_use"),
        )
        answer, text = check_openai(data, include_usage=False), hostile(HOSTILE)
        self.assertEqual(answer.id, f"chatcmpl-{text}")
        self.assertEqual(answer.calls, [(text, text, text)])
        self.assertEqual((answer.text, answer.thinking), (text, text))
        self.assertEqual(answer.signatures, [text])

    def test_model_names(self) -> None:
        """The model's name, which the client chose, is told as it was."""
        one = OpenAIWriter(ask("openai", model='a"\u2028', include_usage=False), "req_1", 0)
        data = one.write([Started("", ""), Finished("end_turn")])
        self.assertEqual(check_openai(data, include_usage=False).model, 'a"\u2028')

    @settings(deadline=None, max_examples=300)
    @given(answers())
    def test_any_answer(self, events: list[Event]) -> None:
        """Any answer that the events' grammar allows is a stream that OpenAI's allows."""
        for include_usage in (False, True):
            answer = check_openai(write(*events, include_usage=include_usage), include_usage=include_usage)
            texts = [event.text for event in events if isinstance(event, TextDelta)]
            thoughts = [event.text for event in events if isinstance(event, ThinkingDelta)]
            self.assertEqual(answer.text, "".join(map(hostile, texts)))
            self.assertEqual(answer.thinking, "".join(map(hostile, thoughts)))
            self.assertEqual(answer.error is None, isinstance(events[-1], Finished))


class KeepAlive(unittest.TestCase):
    def test_always_a_comment(self) -> None:
        """A comment means nothing anywhere in a stream."""
        one = writer()
        data = b"".join(one.keep_alive() + one.write([event]) for event in Stream.EVENTS)
        self.assertEqual(one.keep_alive(), b": keep-alive\n\n")
        self.assertEqual(check_openai(data, include_usage=False).comments, len(Stream.EVENTS))


class Errors(unittest.TestCase):
    def test_bytes(self) -> None:
        """An error is a frame of its own; no [DONE] follows it."""
        self.assertEqual(
            writer().fail(UpstreamTruncated("it was cut")),
            b'data: {"error":{"message":"it was cut","type":"server_error","param":null,"code":null}}\n\n',
        )

    def test_failed_ends_the_stream(self) -> None:
        """A Failed among the events is the error frame, without a finish reason."""
        events: list[Event] = [Started("1", "m"), BlockStarted("text"), TextDelta("x")]
        error = UpstreamTruncated("cut")
        data = write(*events, Failed(error))
        answer = check_openai(data, include_usage=False)
        self.assertEqual((answer.text, answer.stop), ("x", None))
        self.assertEqual(data, write(*events) + writer().fail(error))

    def test_types(self) -> None:
        """Type and code are OpenAI's words for what happened."""
        for error, expected in (
            (UpstreamBusy("", overloaded=True), ("server_error", None)),
            (UpstreamBusy(""), ("rate_limit_exceeded", "rate_limit_exceeded")),
            (AccountExhausted("", status=402), ("insufficient_quota", "insufficient_quota")),
            (Stopping(""), ("server_error", None)),
            (MalformedRequest(""), ("invalid_request_error", None)),
        ):
            told = json.loads(writer().fail(error)[6:])["error"]
            self.assertEqual((told["type"], told["code"]), expected)

    def test_hostile_messages(self) -> None:
        """A provider's message cannot end its line, nor forge an event."""
        message = "\r\n\r\ndata: [DONE]\n\n\u2028\u0085\0"
        answer = check_openai(writer().fail(UpstreamTruncated(message)), include_usage=False)
        assert answer.error is not None
        self.assertEqual(answer.error["message"], message)


# ------------------------------------------------------------------ whole answers

REPLY = ChatReply(
    id="msg_1",
    model="claude",
    content=(
        ThinkingBlock("hm", "sig"),
        RedactedThinkingBlock("b3BhcXVl"),
        TextBlock("Hel"),
        TextBlock("lo"),
        ToolUseBlock("call_1", "f", '{"a":1}'),
        ThinkingBlock("", "c2ln"),
        ToolUseBlock("call_2", "g", "{}"),
    ),
    stop_reason="tool_use",
    usage=Usage(9, 30, 4, 1, 7),
)


def render(reply: ChatReply) -> dict[str, Any]:
    value: dict[str, Any] = strict_json(render_reply(reply, ask("openai"), "req_1", 1700000000).decode())
    ChatCompletion.model_validate(value)
    return value


class Whole(unittest.TestCase):
    maxDiff = None

    def test_all_kinds_of_blocks(self) -> None:
        """A whole answer is one choice: its texts joined, its thinking, its calls in order."""
        self.assertEqual(
            render(REPLY),
            {
                "id": "chatcmpl-msg_1",
                "object": "chat.completion",
                "created": 1700000000,
                "model": "the-model",
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "role": "assistant",
                            "content": "Hello",
                            "reasoning_content": "hm",
                            "tool_calls": [
                                {
                                    "id": "call_1",
                                    "type": "function",
                                    "function": {"name": "f", "arguments": '{"a":1}'},
                                },
                                {
                                    "id": "call_2",
                                    "type": "function",
                                    "function": {"name": "g", "arguments": "{}"},
                                    "extra_content": {"google": {"thought_signature": "c2ln"}},
                                },
                            ],
                            "refusal": None,
                        },
                        "logprobs": None,
                        "finish_reason": "tool_calls",
                    }
                ],
                "usage": {
                    "prompt_tokens": 14,
                    "completion_tokens": 30,
                    "total_tokens": 44,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 7},
                },
            },
        )

    def test_content(self) -> None:
        """Content is null where there are only calls, and a string otherwise, even an empty one."""
        for content, expected in (
            ((ToolUseBlock("i", "f", "{}"),), None),
            ((TextBlock("x"), ToolUseBlock("i", "f", "{}")), "x"),
            ((), ""),
        ):
            reply = ChatReply(id="", model="", content=content, stop_reason="end_turn")
            self.assertEqual(render(reply)["choices"][0]["message"]["content"], expected)

    def test_usage_not_told(self) -> None:
        """Usage is there even if the provider told none."""
        reply = ChatReply(id="", model="", content=(TextBlock("x" * 40),), stop_reason="end_turn")
        usage = render(reply)["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (6, 10))


class OfficialTypes(unittest.TestCase):
    @settings(deadline=None, max_examples=50)
    @given(answers().filter(lambda events: isinstance(events[-1], Finished)))
    def test_chunks_are_the_sdks(self, events: list[Event]) -> None:
        """Each chunk of a stream is one that OpenAI's SDK has a type for, no field beside it."""
        for chunk in check_openai(write(*events, include_usage=True), include_usage=True).chunks:
            known = ChatCompletionChunk.model_validate(chunk)
            self.assertFalse(known.model_extra)
            self.assertEqual(known.model_dump(exclude_unset=True), chunk)
