"""A provider's bytes in, a client's bytes out: when an answer is whole, and what is said until then."""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.check import check_claude, check_openai
from aigateway.dialects import DIALECTS
from aigateway.dialects.gemini import GeminiReader
from aigateway.errors import (
    UpstreamBusy,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
)
from aigateway.events import ChatReply, Usage
from aigateway.providers import KINDS
from aigateway.providers.google import stream_error
from aigateway.translate import Framing, Translator

from .recordings import FIXTURES, answering, ask
from .test_passthrough import check as check_passed_through
from .test_passthrough import run as passed_through


def translator(kind: str = "openai", dialect: str = "claude", **framing: int) -> Translator:
    chat = ask(dialect)
    writer = DIALECTS[dialect].writer(chat, "req_1", 1700000000)
    provider = KINDS[kind](None)
    asked = answering(chat, Framing(**framing))
    return Translator(asked, provider.reader(), writer, provider.parse_reply)


def chunk(content: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """One OpenAI event."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({"id": "c1", "choices": [choice]} | fields).encode()


DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"too much","code":429}}\n\n'
HEAD = b'data: {"response":{"usageMetadata":{"promptTokenCount":3},"responseId":"r"}}\n\n'
WHOLE = (
    b'{"id":"c1","choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}'
)


class Life(unittest.TestCase):
    def test_from_start_to_end(self) -> None:
        """Each read gives what it tells, at once; the end is known with the end marker."""
        one = translator()
        self.assertEqual((one.begun, one.ended), (False, False))
        self.assertEqual(one.feed(chunk()), b"")
        self.assertFalse(one.begun)
        data = one.feed(chunk("1"))
        self.assertIn(b'"text":"1"', data)
        self.assertTrue(one.begun)
        data += one.feed(chunk(" 2") + chunk(finish="length"))
        self.assertEqual((one.ended, one.stop_reason), (False, None))
        data += one.feed(DONE)
        self.assertEqual((one.ended, one.stop_reason, one.failure), (True, "max_tokens", None))
        self.assertEqual(check_claude(data).text, "1 2")

    def test_nothing_after_the_end(self) -> None:
        """After the end nothing is read and nothing is said, and no later fault changes it."""
        one = translator()
        one.feed(chunk("x", "stop") + DONE)
        self.assertEqual(one.feed(chunk("y") + ERROR), b"")
        self.assertEqual(one.end(UpstreamTruncated("late")), b"")
        self.assertIsNone(one.failure)

    def test_half_an_event(self) -> None:
        """Half an event says nothing; the other half says it all."""
        one = translator()
        data = chunk("x")
        self.assertEqual(one.feed(data[:30]), b"")
        self.assertIn(b'"text":"x"', one.feed(data[30:]))

    def test_no_bytes_at_all(self) -> None:
        """A body that ends before it began was cut."""
        one = translator()
        self.assertEqual((one.feed(b""), one.end()), (b"", b""))
        self.assertIsInstance(one.failure, UpstreamTruncated)
        self.assertFalse(one.begun)


class CommitPoint(unittest.TestCase):
    def test_error_first(self) -> None:
        """An error before any content says nothing to the client: another provider may answer."""
        for before in (b"", chunk(), b": comment\n\n", chunk("")):
            one = translator()
            self.assertEqual(one.feed(before + ERROR), b"")
            self.assertIsInstance(one.failure, UpstreamBusy)
            self.assertEqual((one.ended, one.begun), (True, False))

    def test_head_of_an_answer(self) -> None:
        """An answer's id, model and usage say nothing yet, with every kind of provider: what says
        something commits the client to it."""
        heads = {
            "openai": chunk(usage={"prompt_tokens": 3}),
            "glm": chunk("", model="glm-4"),
            "antigravity": HEAD,
        }
        for kind, head in heads.items():
            with self.subTest(kind):
                one = translator(kind)
                self.assertEqual(one.feed(head) + one.feed(head), b"")
                self.assertFalse(one.begun)
                self.assertEqual(one.feed(b'data: {"error":{"code":503,"message":"full"}}\n\n'), b"")
                self.assertIsInstance(one.failure, UpstreamBusy)
                self.assertFalse(one.begun)

    def test_head_is_not_lost(self) -> None:
        """What was held back comes first once there is something to say, and only once."""
        one = translator("antigravity")
        one.feed(HEAD)
        part = b'data: {"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}\n\n'
        answer = check_claude(one.feed(part) + one.feed(part) + one.end())
        self.assertEqual((answer.id, answer.text), ("msg_r", "xx"))
        assert answer.usage is not None
        self.assertEqual(answer.usage["input_tokens"], 3)

    def test_whole_answer_without_content(self) -> None:
        """An answer with nothing in it still is one, head and end."""
        one = translator("antigravity")
        one.feed((FIXTURES / "antigravity/x-prompt-blocked.sse").read_bytes())
        answer = check_claude(one.end())
        self.assertEqual((answer.blocks, answer.stop), ([], "refusal"))

    def test_error_after_content(self) -> None:
        """An error after content ends the stream; what came with it is said before it, the error
        itself is for the caller to tell."""
        one = translator()
        data = one.feed(chunk("x") + ERROR)
        self.assertIn(b'"text":"x"', data)
        self.assertNotIn(b"error", data)
        self.assertIsInstance(one.failure, UpstreamBusy)


class Ends(unittest.TestCase):
    FAULT = UpstreamSilent("nothing for 60 s", limit="idle")

    def test_cut(self) -> None:
        """A cut answer is truncated; if the caller knows why, that is the failure."""
        one = translator()
        one.feed(chunk("x"))
        self.assertEqual(one.end(), b"")
        self.assertIsInstance(one.failure, UpstreamTruncated)
        one = translator()
        one.feed(chunk("x"))
        one.end(self.FAULT)
        self.assertIs(one.failure, self.FAULT)
        self.assertIsNone(one.late_error)

    def test_cut_after_the_finish_reason(self) -> None:
        """An answer whose finish reason was seen is whole; the fault is a late error."""
        one = translator()
        data = one.feed(chunk("x", "stop"))
        data += one.end(self.FAULT)
        self.assertIsNone(one.failure)
        self.assertIs(one.late_error, self.FAULT)
        self.assertEqual(check_claude(data).stop, "end_turn")

    def test_fault_after_an_error(self) -> None:
        """An error that the provider told says more than how its body ended."""
        one = translator()
        one.feed(chunk("x") + ERROR.rstrip())
        one.end(self.FAULT)
        self.assertIsInstance(one.failure, UpstreamBusy)

    def test_last_event_without_its_blank_line(self) -> None:
        """The last event counts without its blank line where it is whole."""
        one = translator()
        data = one.feed(chunk("x") + chunk(finish="stop").rstrip())
        self.assertEqual(check_claude(data + one.end()).stop, "end_turn")
        one = translator()
        one.feed(chunk("x") + DONE.rstrip())
        one.end()
        self.assertIsNone(one.failure)

    def test_late_errors_of_the_reader(self) -> None:
        """An error after the finish reason is kept aside and ends the stream well."""
        one = translator()
        data = one.feed(chunk("x", "stop") + ERROR)
        self.assertEqual(check_claude(data).stop, "end_turn")
        self.assertIsInstance(one.late_error, UpstreamBusy)
        self.assertIsNone(one.failure)


class Limits(unittest.TestCase):
    def test_event_too_large(self) -> None:
        """A line or an event over its limit is the provider's fault; what came before it was said."""
        one = translator(line=200, event=400)
        self.assertNotEqual(one.feed(chunk("x")), b"")
        self.assertEqual(one.feed(b"data: " + b"x" * 300), b"")
        self.assertIsInstance(one.failure, UpstreamGarbled)
        self.assertIn("longer than 200 bytes", str(one.failure))
        self.assertTrue(one.ended)

    def test_event_too_large_after_the_finish_reason(self) -> None:
        """The answer was whole by then: what came behind it is a late error."""
        stream = translator(line=200, event=200)
        out = stream.feed(chunk("x") + chunk(None, "stop"))
        out += stream.feed(b"data: " + b"y" * 300)
        self.assertIsNone(stream.failure)
        self.assertIsInstance(stream.late_error, UpstreamGarbled)
        self.assertEqual(check_claude(out).stop, "end_turn")

    def test_whole_answer_too_large(self) -> None:
        """A whole answer is collected up to its limit, at its edge exactly."""
        for room, garbled in ((len(WHOLE), False), (len(WHOLE) - 1, True)):
            one = translator(whole=room)
            for place in range(0, len(WHOLE), 50):
                self.assertEqual(one.feed(WHOLE[place : place + 50]), b"")
            one.end()
            self.assertEqual(isinstance(one.failure, UpstreamGarbled), garbled)


class NoStream(unittest.TestCase):
    def test_byte_order_mark(self) -> None:
        """A mark before a whole answer does not make a stream of it."""
        stream = translator()
        out = stream.feed(b"\xef\xbb\xbf" + WHOLE) + stream.end()
        self.assertIsNone(stream.failure)
        self.assertTrue(check_claude(out).text)

    """Providers that answer 200 with something else than the stream that was asked for."""

    def test_whole_answer(self) -> None:
        """A whole answer is told as a stream, in both dialects."""
        for pieces in ([WHOLE], [b"\r\n", b" \n", WHOLE[:1], WHOLE[1:]]):
            data = b""
            one = translator()
            for piece in pieces:
                self.assertEqual(one.feed(piece), b"")
            data = one.end()
            answer = check_claude(data)
            self.assertEqual((answer.text, answer.stop), ("Hello", "end_turn"))
            self.assertEqual(one.usage(), Usage(3, 2))
            self.assertEqual((one.ended, one.begun, one.failure), (True, True, None))
        one = translator(dialect="openai")
        one.feed(WHOLE)
        self.assertEqual(check_openai(one.end(), include_usage=True).text, "Hello")

    def test_error(self) -> None:
        """A JSON error with HTTP 200 is that error, and says nothing to the client."""
        for kind, body, expected in (
            ("openai", b'{"error":{"message":"bad","code":400}}', UpstreamRefused),
            ("glm", (FIXTURES / "glm/error-200-flat.json").read_bytes(), UpstreamFailed),
            ("openai", (FIXTURES / "compat/x-error-200-json.json").read_bytes(), UpstreamFailed),
            ("antigravity", (FIXTURES / "antigravity/x-error-list.json").read_bytes(), UpstreamBusy),
        ):
            with self.subTest(body[:30]):
                one = translator(kind)
                self.assertEqual(one.feed(body) + one.end(), b"")
                self.assertIsInstance(one.failure, expected)
                self.assertFalse(one.begun)

    def test_html(self) -> None:
        """A page of HTML is garbled."""
        one = translator()
        self.assertEqual(one.feed(b"<!doctype html><html>data: {}\n\n") + one.end(), b"")
        self.assertIsInstance(one.failure, UpstreamGarbled)

    def test_cut(self) -> None:
        """A whole answer that is cut is the fault that cut it, or garbled."""
        fault = UpstreamTruncated("short of Content-Length")
        one = translator()
        one.feed(WHOLE[:-5])
        self.assertEqual(one.end(fault), b"")
        self.assertIs(one.failure, fault)
        one = translator()
        one.feed(WHOLE[:-5])
        self.assertEqual(one.end(), b"")
        self.assertIsInstance(one.failure, UpstreamGarbled)


class UsageTold(unittest.TestCase):
    TOLD = {"prompt_tokens": 50, "completion_tokens": 40}

    def usage(self, *pieces: bytes) -> Usage:
        one = translator()
        for piece in pieces:
            one.feed(piece)
        one.end()
        return one.usage()

    def test_whole(self) -> None:
        """A whole answer costs what the provider told, even nothing."""
        self.assertEqual(self.usage(chunk("x" * 400, "stop", usage=self.TOLD)), Usage(50, 40))
        nothing = {"prompt_tokens": 0, "completion_tokens": 0}
        self.assertEqual(self.usage(chunk("x" * 400, "stop", usage=nothing)), Usage())

    def test_not_told(self) -> None:
        """Where none was told, it is an estimate, and marked."""
        self.assertEqual(self.usage(chunk("x" * 400, "stop")), Usage(6, 100, estimated=True))

    def test_cut(self) -> None:
        """A cut answer costs the larger of what was told and what was seen."""
        self.assertEqual(self.usage(chunk("x" * 400)), Usage(6, 100, estimated=True))
        self.assertEqual(self.usage(chunk("x" * 8, usage=self.TOLD)), Usage(50, 40))
        self.assertEqual(
            self.usage(chunk("x" * 400, usage=self.TOLD | {"prompt_tokens_details": {"cached_tokens": 9}})),
            Usage(41, 100, 9, estimated=True),
        )

    def test_while_it_runs(self) -> None:
        """Of an answer that is still running, too, the larger counts: a client may leave now."""
        one = translator()
        one.feed(chunk("x" * 400, usage=self.TOLD))
        self.assertEqual(one.usage(), Usage(50, 100, estimated=True))


# ------------------------------------------------------------------- properties

_texts = st.text(max_size=4)
_entries = st.fixed_dictionaries(
    {},
    optional={
        "index": st.none() | st.integers(0, 2),
        "id": st.sampled_from([None, "", "a", "b"]),
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from([None, "", "f", "g"]),
                "arguments": st.sampled_from([None, "", "{}", '{"x"', ":1}", {"y": 2}]),
            },
        ),
    },
)
_deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from([None, "assistant"]),
        "content": st.none() | _texts,
        "reasoning_content": st.none() | _texts,
        "reasoning_details": st.lists(
            st.fixed_dictionaries({}, optional={"text": _texts, "signature": _texts}), max_size=2
        ),
        "refusal": st.none() | _texts,
        "tool_calls": st.lists(_entries, max_size=2),
    },
)
_chunks = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["", "c1", "\u2028"]),
        "choices": st.lists(
            st.fixed_dictionaries(
                {"delta": _deltas},
                optional={
                    "index": st.sampled_from([None, 0, 0, 0, 1]),
                    "finish_reason": st.sampled_from(
                        [None, None, "", "stop", "tool_calls", "length", "error"]
                    ),
                    "stop_reason": st.sampled_from([None, 1, "END"]),
                },
            ),
            min_size=1,
            max_size=2,
        ),
        "usage": st.none()
        | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), st.integers()),
    },
)
_parts = st.one_of(
    st.fixed_dictionaries(
        {"text": _texts},
        optional={"thought": st.booleans(), "thoughtSignature": st.sampled_from(["", "s", "t"])},
    ),
    st.fixed_dictionaries(
        {
            "functionCall": st.fixed_dictionaries(
                {}, optional={"name": st.sampled_from(["f", ""]), "args": st.just({"x": 1}), "id": _texts}
            )
        },
        optional={"thoughtSignature": st.sampled_from(["", "s"])},
    ),
)
_answers = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "content": st.fixed_dictionaries({}, optional={"parts": st.lists(_parts, max_size=3)}),
                    "finishReason": st.sampled_from(
                        ["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL"]
                    ),
                },
            ),
            max_size=2,
        ),
        "usageMetadata": st.dictionaries(
            st.sampled_from(["promptTokenCount", "totalTokenCount"]), st.integers()
        ),
        "responseId": st.sampled_from(["", "r"]),
        "promptFeedback": st.just({"blockReason": "OTHER"}),
    },
)


def _calls_in(chunks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The entries of tool calls in ``chunks``."""
    for each in chunks:
        for choice in each.get("choices", ()):
            yield from choice["delta"].get("tool_calls", ())


class AnyStream(unittest.TestCase):
    """Whatever a server of these dialects sends: a client gets a stream that keeps the rules."""

    def check(
        self, stream: Translator, chunks: list[dict[str, Any]], tail: bytes, read: Callable[[bytes], Any]
    ) -> None:
        data = b"".join(stream.feed(b"data: %b\n\n" % json.dumps(each).encode()) for each in chunks)
        data += stream.feed(tail)
        data += stream.end()
        self.assertTrue(stream.ended)
        if stream.failure is not None and data:
            data += stream._writer.fail(stream.failure)
        if data:
            self.assertEqual(read(data).error is None, stream.failure is None)
        else:
            self.assertIsNotNone(stream.failure)

    @settings(deadline=None, max_examples=500)
    @given(st.lists(_chunks, max_size=6), st.sampled_from([b"", DONE, ERROR]))
    def test_of_openai(self, chunks: list[dict[str, Any]], tail: bytes) -> None:
        """Any chunks of OpenAI's shape make streams that both dialects allow."""
        self.check(translator(), chunks, tail, check_claude)
        self.check(
            translator(dialect="openai"), chunks, tail, lambda data: check_openai(data, include_usage=True)
        )

    @settings(deadline=None, max_examples=500)
    @given(st.lists(_answers, max_size=6), st.sampled_from([b"", ERROR]))
    def test_of_google(self, chunks: list[dict[str, Any]], tail: bytes) -> None:
        """Any chunks of Google's shape make streams that both dialects allow."""
        self.check(translator("antigravity"), chunks, tail, check_claude)
        self.check(
            translator("antigravity", "openai"),
            chunks,
            tail,
            lambda data: check_openai(data, include_usage=True),
        )

    @settings(deadline=None, max_examples=300)
    @given(st.lists(_chunks, max_size=6), st.sampled_from([b"", DONE, ERROR]), st.booleans())
    def test_of_openai_passed_through(self, chunks: list[dict[str, Any]], tail: bytes, usage: bool) -> None:
        """Any chunks of OpenAI's shape, passed through to a client that speaks it too, are mended to
        a stream that it allows. (A call whose name comes late is passed on as it came.)"""
        for entry in _calls_in(chunks):
            entry.setdefault("function", {})["name"] = "f"
        data = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks) + tail
        out, stream = passed_through(data, usage=usage)
        self.assertTrue(stream.ended)
        if stream.failure is None:
            check_passed_through(out, usage=usage)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.binary(max_size=40), max_size=5))
    def test_of_bytes(self, pieces: list[bytes]) -> None:
        """Any bytes end in a failure, and say nothing."""
        for kind in ("openai", "glm", "antigravity"):
            one = translator(kind)
            data = b"".join(map(one.feed, pieces)) + one.end()
            self.assertEqual(data, b"")
            self.assertIsNotNone(one.failure)


class OwnParts(unittest.TestCase):
    def test_parse_reply_is_only_for_whole_answers(self) -> None:
        """A stream is never given to what reads whole answers."""

        def never(body: bytes) -> ChatReply:
            raise AssertionError(body)

        chat = ask()
        writer = DIALECTS["claude"].writer(chat, "req_1", 0)
        one = Translator(answering(chat), GeminiReader(stream_error), writer, never)
        for piece in (b"\n\n", (FIXTURES / "antigravity/wrapped-3pro-text.sse").read_bytes()):
            one.feed(piece)
        one.end()
        self.assertIsNone(one.failure)
