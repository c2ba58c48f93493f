"""Events into Gemini's chunks and Gemini's whole answers."""

from __future__ import annotations

import itertools
import json
import random
import re
import unittest
from pathlib import Path
from typing import Any, ClassVar

import httpx
from google.genai import Client, types
from google.genai.errors import APIError, ClientError, ServerError
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.check import Answer, check_gemini, strict_json
from aigateway.dialects.gemini.errors import render_error
from aigateway.dialects.gemini.writer import GeminiWriter, render_reply
from aigateway.errors import (
    AccountExhausted,
    Forbidden,
    GatewayError,
    MalformedRequest,
    Overloaded,
    Stopping,
    TooLarge,
    Unauthorized,
    UnknownModel,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
    UpstreamUnreachable,
)
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
    Thinking,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
    UsageReported,
    events_of,
    reply_of,
)
from aigateway.sse import SSEDecoder
from aigateway.translate import Translator

from .made_up import HOSTILE, answers
from .recordings import FIXTURES, Told, answering, ask, kind_of, plainly, streams

RECORDED = streams("openai", "glm", "antigravity", "compat", "gemini", "anthropic")
CALL: list[Event] = [
    BlockStarted("tool_use", "toolu_1", "get_weather"),
    InputDelta('{"city":'),
    InputDelta('"Paris"}'),
    BlockEnded(),
]
_MADE_UP = re.compile(rb"\b(toolu|call)_[0-9a-f]{20,32}\b")


def writer(*, shows: bool = True, array: bool = False) -> GeminiWriter:
    thinking = Thinking("adaptive") if shows else None
    return GeminiWriter(ask("gemini", thinking=thinking, json_array=array), "req_1", 1700000000)


def told(*events: Event, reason: str = "end_turn", shows: bool = True) -> Answer:
    """What a whole answer of these events tells a client."""
    return check_gemini(writer(shows=shows).write([Started("1", "m"), *events, Finished(reason)]))


def parts(answer: Answer) -> list[dict[str, Any]]:
    return [part for chunk in answer.chunks for part in chunk["candidates"][0]["content"]["parts"]]


def thought(text: str = "Hm.", signature: str = "") -> list[Event]:
    deltas: list[Event] = [ThinkingDelta(text)] if text else []
    return [
        BlockStarted("thinking"),
        *deltas,
        *([SignatureDelta(signature)] if signature else []),
        BlockEnded(),
    ]


def text(text: str = "Hello", signature: str = "") -> list[Event]:
    return [
        BlockStarted("text"),
        TextDelta(text),
        *([SignatureDelta(signature)] if signature else []),
        BlockEnded(),
    ]


class Stream(unittest.TestCase):
    maxDiff = None

    def test_typical(self) -> None:
        """A typical stream, byte for byte: the prompt's count in the first chunk, all in the last."""
        data = writer().write(
            [
                Started("resp_1", "gpt-4o", Usage(9, 1, cache_read_tokens=3)),
                *thought(),
                *text("Hi"),
                *CALL,
                UsageReported(Usage(9, 7, cache_read_tokens=3, reasoning_tokens=2)),
                Finished("tool_use"),
            ]
        )
        named = '"modelVersion":"the-model","responseId":"resp_1"}\n\n'
        self.assertEqual(
            data.decode(),
            'data: {"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true}],"role":"model"},'
            f'"index":0}}],"usageMetadata":{{"promptTokenCount":12,"candidatesTokenCount":0,"totalTokenCount":12}},{named}'
            'data: {"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"index":0}],'
            f"{named}"
            'data: {"candidates":[{"content":{"parts":[{"functionCall":{"id":"toolu_1","name":"get_weather",'
            f'"args":{{"city":"Paris"}}}}}}],"role":"model"}},"index":0}}],{named}'
            'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP",'
            '"index":0}],"usageMetadata":{"promptTokenCount":12,"cachedContentTokenCount":3,'
            f'"candidatesTokenCount":5,"thoughtsTokenCount":2,"totalTokenCount":19}},{named}',
        )

    def test_array(self) -> None:
        """Without events the same chunks are the elements of one array, whole however it is cut up."""
        events = [Started("1", "m"), *text("a"), *text("b"), Finished("end_turn")]
        one = writer(array=True)
        pieces = [one.write([event]) for event in events]
        self.assertTrue(pieces[2].startswith(b'[{"candidates"'))
        self.assertTrue(b"".join(pieces).endswith(b"}\n]\n"))
        elements = json.loads(b"".join(pieces))
        self.assertEqual(elements, check_gemini(writer().write(events)).chunks)

    def test_thoughts_only_where_asked_for(self) -> None:
        """A client that did not ask to see thoughts sees none; they count all the same."""
        events = [*thought(), *text()]
        self.assertEqual((told(*events).thinking, told(*events).text), ("Hm.", "Hello"))
        self.assertEqual(
            (told(*events, shows=False).thinking, told(*events, shows=False).text), ("", "Hello")
        )
        for thinking in (Thinking("disabled"), Thinking("enabled", 100, hidden=True)):
            one = GeminiWriter(ask("gemini", thinking=thinking), "req_1", 0)
            data = one.write([Started("1", "m"), *events, Finished("end_turn")])
            self.assertEqual(check_gemini(data).thinking, "")
            self.assertEqual(one.size, len("Hm.Hello"))

    def test_finish_reasons(self) -> None:
        """Each of Claude's reasons in Gemini's words; calls end with STOP."""
        for reason, word in (
            ("end_turn", "STOP"),
            ("stop_sequence", "STOP"),
            ("pause_turn", "STOP"),
            ("tool_use", "STOP"),
            ("max_tokens", "MAX_TOKENS"),
            ("model_context_window_exceeded", "MAX_TOKENS"),
            ("refusal", "SAFETY"),
        ):
            with self.subTest(reason):
                self.assertEqual(told(*text(), reason=reason).stop, word)
                reply = ChatReply(id="1", model="m", content=(), stop_reason=reason)
                self.assertEqual(whole(reply)["candidates"][0]["finishReason"], word)

    def test_no_answer(self) -> None:
        """An answer without a word in it has one part, an empty text: chats in the SDKs would take a
        turn without parts for one that failed, and forget it."""
        answer = told(reason="refusal")
        self.assertEqual((parts(answer), answer.stop), ([{"text": ""}], "SAFETY"))
        reply = ChatReply(id="1", model="m", content=(), stop_reason="end_turn")
        self.assertEqual(whole(reply)["candidates"][0]["content"]["parts"], [{"text": ""}])

    def test_usage_is_always_told(self) -> None:
        """Where the provider told no counts there is an estimate, of the prompt in the first chunk."""
        answer = told(*text("x" * 400))
        first, last = answer.chunks[0]["usageMetadata"], answer.chunks[-1]["usageMetadata"]
        self.assertGreater(first["promptTokenCount"], 0)
        self.assertEqual(last["promptTokenCount"], first["promptTokenCount"])
        self.assertEqual(last["candidatesTokenCount"], 100)

    def test_arguments(self) -> None:
        """A call is told whole, its numbers as written; what is no object goes under ``_raw``."""
        for pieces, args in (
            (('{"n":1.', "0}"), '{"n":1.0}'),
            ((), "{}"),
            (('{\n "a": "b"\n}',), '{"a":"b"}'),
            (("[1]",), '{"_raw":"[1]"}'),
            (('{"a',), '{"_raw":"{\\"a"}'),
        ):
            with self.subTest(pieces):
                call: list[Event] = [
                    BlockStarted("tool_use", "1", "f"),
                    *map(InputDelta, pieces),
                    BlockEnded(),
                ]
                data = writer().write([Started("1", "m"), *call, Finished("tool_use")])
                self.assertIn(f'"args":{args}}}', data.decode())
                self.assertEqual(len(check_gemini(data).calls), 1)

    def test_hostile_text(self) -> None:
        """No text, name or id can end an event or begin another; no line end but our own goes out."""
        call: list[Event] = [BlockStarted("tool_use", HOSTILE, HOSTILE), InputDelta(HOSTILE), BlockEnded()]
        data = writer().write(
            [Started(HOSTILE, "m"), *thought(HOSTILE), *text(HOSTILE), *call, Finished("tool_use")]
        )
        answer = check_gemini(data)
        shown = HOSTILE.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        self.assertEqual((answer.thinking, answer.text), (shown, shown))
        self.assertEqual([call[:2] for call in answer.calls], [(shown, shown)])
        self.assertEqual(data.decode().splitlines(), data.decode().split("\n")[:-1])

    @settings(max_examples=100, deadline=None)
    @given(answers(), st.booleans(), st.booleans())
    def test_grammar(self, events: list[Event], shows: bool, array: bool) -> None:
        """Whatever the events, the stream obeys the grammar and tells what they tell; the same
        whether they come at once or one by one."""
        data = writer(shows=shows, array=array).write(events)
        one = writer(shows=shows, array=array)
        self.assertEqual(b"".join([one.write([event]) for event in events]), data)
        answer = check_gemini(data)
        for chunk in answer.chunks:
            if "error" not in chunk:
                types.GenerateContentResponse.model_validate(chunk)
        if isinstance(events[-1], Failed):
            self.assertIsNotNone(answer.error)
            return
        reply = reply_of(events)
        said = "".join(block.text for block in reply.content if isinstance(block, TextBlock))
        self.assertEqual(answer.text, said.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        self.assertEqual(len(answer.calls), sum(isinstance(block, ToolUseBlock) for block in reply.content))
        check_gemini(b"[%b]" % render_reply(reply, ask("gemini"), "req_1", 0))


class Signatures(unittest.TestCase):
    """On which part a signature goes; a stream and a whole answer agree."""

    def parts(self, *events: Event, shows: bool = True) -> list[dict[str, Any]]:
        """The parts of a stream but for the last, after checking them against the whole answer."""
        told = [Started("1", "m"), *events, Finished("end_turn")]
        streamed = parts(check_gemini(writer(shows=shows).write(told)))[:-1]
        chat = ask("gemini", thinking=Thinking("adaptive") if shows else None)
        reply = json.loads(render_reply(reply_of(told), chat, "req_1", 0))
        answered = reply["candidates"][0]["content"]["parts"]
        if streamed:
            self.assertEqual(_merged(streamed), _merged(answered))
        return streamed

    def test_call(self) -> None:
        """An empty thought's signature is that of the call after it."""
        (call,) = self.parts(*thought("", "c2ln"), *CALL)
        self.assertEqual((call["functionCall"]["name"], call["thoughtSignature"]), ("get_weather", "c2ln"))

    def test_gemini_signs_the_call(self) -> None:
        """What Gemini signed with a thought before it stands on the call; thoughts shown or not."""
        other: list[Event] = [BlockStarted("tool_use", "toolu_2", "f"), BlockEnded()]
        shown = self.parts(*thought("Hm.", "c2ln"), *CALL, *other)
        self.assertEqual(shown[0], {"text": "Hm.", "thought": True})
        self.assertEqual([part.get("thoughtSignature") for part in shown[1:]], ["c2ln", None])
        hidden = self.parts(*thought("Hm.", "c2ln"), *CALL, shows=False)
        self.assertEqual([part["thoughtSignature"] for part in hidden], ["c2ln"])

    def test_claude_signs_the_thought(self) -> None:
        """Claude's signature stays with its thought, and proves nothing where that is not shown."""
        signature = claudes_signature()
        shown = self.parts(*thought("Hm.", signature), *CALL)
        self.assertEqual(shown[1], {"text": "", "thought": True, "thoughtSignature": signature})
        self.assertNotIn("thoughtSignature", shown[2])
        (call,) = self.parts(*thought("Hm.", signature), *CALL, shows=False)
        self.assertNotIn("thoughtSignature", call)

    def test_text(self) -> None:
        """A text's signature comes on an empty text behind it, as Gemini sends it."""
        self.assertEqual(
            self.parts(*text("Hi", "c2ln")), [{"text": "Hi"}, {"text": "", "thoughtSignature": "c2ln"}]
        )

    def test_no_call_after_it(self) -> None:
        """A thought's signature that no call follows is not lost."""
        for after in ([], text("Hi")):
            with self.subTest(after):
                alone = {"text": "", "thought": True, "thoughtSignature": "c2ln"}
                self.assertEqual(self.parts(*thought("Hm.", "c2ln"), *after)[1], alone)
                hidden = {"text": "", "thoughtSignature": "c2ln"}
                self.assertEqual(self.parts(*thought("Hm.", "c2ln"), *after, shows=False)[0], hidden)

    def test_what_is_no_base64(self) -> None:
        """A signature that is no base64 is left out: the SDKs could not read its chunk."""
        for signature in ("a", "x!", "é", "c2ln=", "c2l="):
            with self.subTest(signature):
                self.assertEqual(self.parts(*text("Hi", signature)), [{"text": "Hi"}])
                self.assertEqual(self.parts(*thought("Hm.", signature)), [{"text": "Hm.", "thought": True}])
        for signature in ("dGV4dA", "dGV4dA==", "ab-_"):
            with self.subTest(signature):
                self.assertEqual(self.parts(*text("Hi", signature))[1]["thoughtSignature"], signature)

    def test_redacted(self) -> None:
        """Redacted thinking has no place."""
        self.assertEqual(self.parts(BlockStarted("redacted_thinking", data="x"), BlockEnded()), [])


def _merged(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``parts`` with what carries a signature alone put onto the part before it."""
    merged: list[dict[str, Any]] = []
    for part in parts:
        before = merged[-1] if merged else {}
        carries = part.get("text") == "" and "thoughtSignature" in part
        if carries and before.get("text") and before.get("thought") == part.get("thought"):
            merged[-1] = {**before, **part, "text": before["text"]}
        else:
            merged.append(part)
    return merged


def claudes_signature() -> str:
    """A signature as Claude signs: from a recording."""
    found = re.search(r'"signature": ?"([^"]{40,})"', (FIXTURES / "anthropic/thinking.sse").read_text())
    assert found is not None
    return found[1]


def whole(reply: ChatReply, **fields: Any) -> dict[str, Any]:
    body = render_reply(reply, ask("gemini", **fields), "req_1", 1700000000)
    types.GenerateContentResponse.model_validate(strict_json(body.decode()))
    answer: dict[str, Any] = json.loads(body)
    return answer


class Whole(unittest.TestCase):
    def test_typical(self) -> None:
        """A whole answer: thoughts that were asked for, text, calls with their signatures, counts."""
        reply = ChatReply(
            id="resp_1",
            model="glm-4.7",
            content=(
                ThinkingBlock("Hm.", "c2ln"),
                ToolUseBlock("1", "f", '{"n":1.0}'),
                RedactedThinkingBlock("x"),
                TextBlock("Hi", "dGV4dA"),
            ),
            stop_reason="tool_use",
            usage=Usage(9, 7, cache_write_tokens=1, reasoning_tokens=2),
        )
        self.assertEqual(
            whole(reply, thinking=Thinking("adaptive")),
            {
                "candidates": [
                    {
                        "content": {
                            "parts": [
                                {"text": "Hm.", "thought": True},
                                {
                                    "functionCall": {"id": "1", "name": "f", "args": {"n": 1.0}},
                                    "thoughtSignature": "c2ln",
                                },
                                {"text": "Hi", "thoughtSignature": "dGV4dA"},
                            ],
                            "role": "model",
                        },
                        "finishReason": "STOP",
                        "index": 0,
                    }
                ],
                "usageMetadata": {
                    "promptTokenCount": 10,
                    "candidatesTokenCount": 5,
                    "thoughtsTokenCount": 2,
                    "totalTokenCount": 17,
                },
                "modelVersion": "the-model",
                "responseId": "resp_1",
            },
        )

    def test_estimate(self) -> None:
        """Where no counts were told there is an estimate; without an id there is ours."""
        answer = whole(ChatReply(id="", model="", content=(TextBlock("x" * 40),), stop_reason="end_turn"))
        self.assertEqual(answer["usageMetadata"]["candidatesTokenCount"], 10)
        self.assertEqual(answer["responseId"], "req_1")


class Failing(unittest.TestCase):
    def test_error_chunk(self) -> None:
        """A stream ends with one error chunk, which begins as the SDKs look for it."""
        data = writer().fail(UpstreamTruncated("it was cut"))
        self.assertEqual(data, b'data: {"error":{"code":502,"message":"it was cut","status":"INTERNAL"}}\n\n')

    def test_error_in_an_array(self) -> None:
        """An array ends even so, with the error as its last element: never does it look whole."""
        for events in ([], [Started("1", "m"), *text()]):
            one = writer(array=True)
            data = one.write(events) + one.keep_alive() + one.fail(UpstreamTruncated("it was cut"))
            elements = json.loads(data)
            self.assertEqual(elements[-1]["error"]["code"], 502)
            self.assertEqual(check_gemini(data).stop, None)

    def test_keep_alive(self) -> None:
        """What keeps a client waiting is a blank line: the SDKs take a comment for JSON."""
        self.assertEqual(writer().keep_alive(), b"\n")
        for array in (False, True):
            one = writer(array=array)
            data = one.keep_alive() + one.write([Started("1", "m"), *text("a")]) + one.keep_alive()
            data += one.keep_alive() + one.write([*text("b"), Finished("end_turn")])
            self.assertEqual(check_gemini(data).text, "ab")


class Errors(unittest.TestCase):
    """Errors before the first byte."""

    CASES: tuple[tuple[GatewayError, int, str], ...] = (
        (MalformedRequest("x"), 400, "INVALID_ARGUMENT"),
        (Unauthorized("x"), 400, "INVALID_ARGUMENT"),
        (Forbidden("x"), 403, "PERMISSION_DENIED"),
        (UnknownModel("x"), 404, "NOT_FOUND"),
        (TooLarge("x"), 413, "INVALID_ARGUMENT"),
        (Overloaded("x"), 503, "UNAVAILABLE"),
        (Stopping("x"), 503, "UNAVAILABLE"),
        (UpstreamRefused("x", status=422), 400, "INVALID_ARGUMENT"),
        (UpstreamRefused("x", status=404), 404, "NOT_FOUND"),
        (UpstreamBusy("x"), 429, "RESOURCE_EXHAUSTED"),
        (UpstreamBusy("x", overloaded=True), 503, "UNAVAILABLE"),
        (AccountExhausted("x", status=402), 429, "RESOURCE_EXHAUSTED"),
        (UpstreamFailed("x"), 500, "INTERNAL"),
        (UpstreamFailed("x", timed_out=True), 504, "DEADLINE_EXCEEDED"),
        (UpstreamSilent("x", limit="idle"), 504, "DEADLINE_EXCEEDED"),
        (UpstreamUnreachable("x"), 502, "INTERNAL"),
    )

    def test_statuses(self) -> None:
        """Each error has Google's status for it, and the SDK raises its class for that."""
        for error, code, word in self.CASES:
            with self.subTest(error.kind, code=code):
                answer = render_error(error, "req_1")
                self.assertEqual(answer.status, code)
                raised = raised_for(answer.status, answer.body)
                self.assertIsInstance(raised, ClientError if code < 500 else ServerError)
                self.assertEqual((raised.code, raised.status, raised.message), (code, word, "x"))

    def test_same_as_directly(self) -> None:
        """A recorded error of Gemini's own reaches its client as it would directly."""
        for name in ("error-404-model", "error-429-retryinfo", "error-429-quota", "error-400-vertex-context"):
            with self.subTest(name):
                body = (FIXTURES / f"gemini/{name}.json").read_bytes()
                status = json.loads(body)["error"]["code"]
                error = kind_of(FIXTURES / "gemini/x").parse_error(status, {}, body, now=0.0)
                answer = render_error(error, "req_1")
                directly, through = raised_for(status, body), raised_for(answer.status, answer.body)
                self.assertEqual((through.code, through.status), (directly.code, directly.status))
                self.assertEqual(through.message, directly.message)
                self.assertEqual(retry_delay(answer.body), retry_delay(body))

    def test_bad_key(self) -> None:
        """A key that is none of the gateway's is told as Google tells it."""
        details = json.loads(render_error(Unauthorized("x"), "req_1").body)["error"]["details"]
        self.assertEqual([detail["reason"] for detail in details], ["API_KEY_INVALID"])

    def test_field(self) -> None:
        """A field at fault is named."""
        body = render_error(MalformedRequest("contents: required", param="contents"), "req_1").body
        (detail,) = json.loads(body)["error"]["details"]
        self.assertEqual(
            detail["fieldViolations"], [{"field": "contents", "description": "contents: required"}]
        )

    def test_context_too_long(self) -> None:
        """A prompt that is too long is told in the words that clients look for."""
        error = UpstreamRefused("too long", code="context_length_exceeded")
        message = json.loads(render_error(error, "req_1").body)["error"]["message"]
        self.assertEqual(
            message, "The input token count exceeds the maximum number of tokens allowed: too long"
        )

    def test_waiting(self) -> None:
        """A wait is told in details and headers; a long one must not be waited for."""
        answer = render_error(UpstreamBusy("x", retry_after=1.5), "req_1")
        self.assertEqual((retry_delay(answer.body), answer.headers), (1.5, (("retry-after", "2"),)))
        answer = render_error(UpstreamBusy("x", retry_after=7200), "req_1")
        self.assertEqual((retry_delay(answer.body), answer.headers), (7200.0, (("x-should-retry", "false"),)))


def raised_for(status: int, body: bytes) -> APIError:
    """What the official SDK raises for an answer."""
    try:
        APIError.raise_for_response(httpx.Response(status, content=body))
    except APIError as error:
        return error
    raise AssertionError("nothing is raised")


def retry_delay(body: bytes) -> float | None:
    for detail in json.loads(body)["error"].get("details", ()):
        if detail["@type"].endswith("RetryInfo"):
            return float(detail["retryDelay"].removesuffix("s"))
    return None


class SDK(unittest.TestCase):
    """The official SDK as the reader of a stream."""

    def read(self, data: bytes) -> list[types.GenerateContentResponse]:
        def answer(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=data, headers={"content-type": "text/event-stream"})

        http = httpx.Client(transport=httpx.MockTransport(answer))
        client = Client(api_key="k", http_options=types.HttpOptions(httpx_client=http))
        return list(client.models.generate_content_stream(model="m", contents="x"))

    def test_stream(self) -> None:
        """The SDK gives back what was told, keep-alives between."""
        one = writer()
        data = one.keep_alive() + one.write(
            [Started("1", "m"), *thought(), *text("Hi"), BlockStarted("text")]
        )
        data += one.keep_alive() + one.write([BlockEnded(), *CALL, Finished("tool_use")]) + one.keep_alive()
        chunks = self.read(data)
        self.assertEqual("".join(_text(chunk) for chunk in chunks), "Hi")
        (call,) = [call for chunk in chunks for call in chunk.function_calls or ()]
        self.assertEqual((call.id, call.name, call.args), ("toolu_1", "get_weather", {"city": "Paris"}))
        last = chunks[-1].candidates
        assert last is not None
        self.assertEqual(last[0].finish_reason, types.FinishReason.STOP)
        self.assertEqual({chunk.model_version for chunk in chunks}, {"the-model"})

    def test_error(self) -> None:
        """An error in the stream is raised by its class, with its code."""
        for error, raised, code in (
            (UpstreamBusy("x"), ClientError, 429),
            (UpstreamTruncated("x"), ServerError, 502),
        ):
            one = writer()
            data = one.write([Started("1", "m"), *text()]) + one.fail(error)
            with self.subTest(code), self.assertRaises(raised) as context:
                self.read(data)
            self.assertEqual((context.exception.code, context.exception.message), (code, "x"))


def _text(chunk: types.GenerateContentResponse) -> str:
    assert chunk.candidates is not None
    content = chunk.candidates[0].content
    assert content is not None
    return "".join(part.text or "" for part in content.parts or () if not part.thought)


class Translated:
    """One recording, in pieces, as a Gemini client that asks for thoughts gets it."""

    def __init__(self, path: Path, pieces: list[bytes], *, array: bool = False) -> None:
        chat = ask("gemini", thinking=Thinking("adaptive"), json_array=array)
        one = GeminiWriter(chat, "req_1", 1700000000)
        kind = kind_of(path)
        self.stream = Translator(answering(chat), kind.reader(), one, kind.parse_reply)
        data = b"".join([self.stream.feed(piece) for piece in pieces]) + self.stream.end()
        if data and self.stream.failure is not None:
            data += one.fail(self.stream.failure)
        ids: dict[bytes, bytes] = {}
        self.data = _MADE_UP.sub(lambda found: ids.setdefault(found[0], b"made-up-%d" % len(ids)), data)


class Recorded(unittest.TestCase):
    """Every recorded stream of every provider."""

    wholes: ClassVar[dict[Path, Translated]] = {}

    def whole(self, path: Path) -> Translated:
        if path not in self.wholes:
            self.wholes[path] = Translated(path, [path.read_bytes()])
        return self.wholes[path]

    def test_all_are_here(self) -> None:
        """No recording is missing."""
        self.assertGreater(len(RECORDED), 150)

    def test_tells_what_the_recording_tells(self) -> None:
        """Text, thoughts, calls and end are those of the recording; the SDK takes every chunk."""
        for path in RECORDED:
            with self.subTest(f"{path.parent.name}/{path.name}"):
                told, whole = plainly(path), self.whole(path)
                self.assertEqual(whole.stream.failure is not None, told.failed)
                if whole.data:
                    self.compare(check_gemini(whole.data), told)

    def compare(self, answer: Answer, told: Told) -> None:
        self.assertEqual((answer.text, answer.thinking), (told.text, told.thinking))
        self.assertEqual(answer.error is not None, told.failed)
        for chunk in answer.chunks:
            if "error" not in chunk:
                types.GenerateContentResponse.model_validate(chunk)
        if told.failed:
            return
        self.assertEqual([(name, json.loads(args)) for _, name, args in answer.calls], told.calls)
        self.assertLessEqual(set(told.signatures), set(answer.signatures))
        self.assertGreater(answer.chunks[0]["usageMetadata"]["promptTokenCount"], 0)
        if told.usage is not None:
            input, cached, output, _ = told.usage
            counts = answer.chunks[-1]["usageMetadata"]
            self.assertEqual(counts["promptTokenCount"], input + cached + getattr(told, "written", 0))
            self.assertEqual(counts["totalTokenCount"] - counts["promptTokenCount"], output)

    def test_array(self) -> None:
        """As one array it tells the same."""
        for path in RECORDED:
            with self.subTest(f"{path.parent.name}/{path.name}"):
                array, whole = Translated(path, [path.read_bytes()], array=True), self.whole(path)
                self.assertEqual(bool(array.data), bool(whole.data))
                if array.data:
                    self.assertEqual(json.loads(array.data), check_gemini(whole.data).chunks)

    def test_pieces(self) -> None:
        """One byte at a time, or in whatever pieces, a recording gives the same bytes."""
        dice = random.Random(8088)
        for path in RECORDED:
            data = path.read_bytes()
            ways = [[data[place : place + 1] for place in range(len(data))]] if len(data) < 20_000 else []
            for _ in range(5):
                cuts = sorted(dice.sample(range(len(data)), min(dice.randint(1, 40), len(data))))
                ways.append([data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])])
            for pieces in ways:
                if Translated(path, pieces).data != self.whole(path).data:
                    self.fail(f"{path.name}: another stream in {len(pieces)} pieces")

    def test_whole_answers(self) -> None:
        """A recorded answer told at once is the same as its stream."""
        chat = ask("gemini", thinking=Thinking("adaptive"))
        for path in RECORDED:
            if self.whole(path).stream.failure is not None:
                continue
            with self.subTest(f"{path.parent.name}/{path.name}"):
                reader = kind_of(path).reader()
                decoder = SSEDecoder()
                frames = decoder.feed(path.read_bytes()) + decoder.close()
                reply = reply_of([event for frame in frames for event in reader.feed(frame)] + reader.end())
                answer = check_gemini(b"[%b]" % render_reply(reply, chat, "req_1", 0))
                streamed = check_gemini(GeminiWriter(chat, "req_1", 0).write(events_of(reply)))
                for name in ("text", "thinking", "calls", "signatures", "stop"):
                    self.assertEqual(getattr(answer, name), getattr(streamed, name), name)
