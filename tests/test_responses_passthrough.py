"""Responses to Responses: OpenAI's streams read for their meaning, and given on byte for byte."""

from __future__ import annotations

import itertools
import json
import random
import unittest
from pathlib import Path
from typing import Any

from aigateway.check import check_responses
from aigateway.config import Account, ConfigError, Provider, parse
from aigateway.dialects.responses.passthrough import ResponsesPassthrough, render_request
from aigateway.dialects.responses.sealed import Sealed, seal
from aigateway.dialects.responses.writer import ResponsesWriter
from aigateway.errors import (
    AccountExhausted,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamTruncated,
)
from aigateway.events import (
    ChatRequest,
    Event,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
    reply_of,
)
from aigateway.providers import KINDS
from aigateway.providers.base import Credential, Kind
from aigateway.providers.openai_responses import OpenAIResponses
from aigateway.secret import Secret
from aigateway.sse import SSEDecoder
from aigateway.translate import Stream, Translator

from .grammar import check_events
from .recordings import answering, ask

FIXTURES = Path(__file__).parent / "fixtures" / "responses"
STREAMS = sorted(FIXTURES.glob("*.sse"))
ANSWERS = [path for path in STREAMS if "error" not in path.name and "failed" not in path.name]


def kind(chat: ChatRequest | None = None) -> Kind:
    return KINDS["openai"](None).for_chat(chat or ask("responses"))


def run(data: bytes, cuts: list[int] | None = None, *, raw: bool = False) -> tuple[bytes, Stream]:
    """What a client gets of ``data``, cut at ``cuts``; and the stream it came through."""
    chat = ask("responses", raw=b"{}")
    writer = ResponsesWriter(chat, "req_1", 1700000000)
    stream = kind(chat).stream(answering(chat, kept=True, raw=raw), writer)
    edges = [0, *(cuts or []), len(data)]
    out = b"".join(stream.feed(data[start:end]) for start, end in itertools.pairwise(edges)) + stream.end()
    return (out if stream.failure is None else out + writer.fail(stream.failure)), stream


def read(data: bytes) -> list[Event]:
    """The events of the hub that a stream tells."""
    reader = kind().reader()
    frames = SSEDecoder().feed(data)
    return [event for frame in frames for event in reader.feed(frame)] + reader.end()


def frame(type: str, **fields: Any) -> bytes:
    data = json.dumps({"type": type, **fields}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {type}\ndata: {data}\n\n".encode()


def item(step: str, index: int, **fields: Any) -> bytes:
    return frame(f"response.output_item.{step}", output_index=index, item=fields)


def text(delta: str, index: int = 0) -> bytes:
    return frame("response.output_text.delta", output_index=index, content_index=0, delta=delta)


USAGE = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
CREATED = frame("response.created", response={"id": "resp_1", "model": "gpt", "status": "in_progress"})
COMPLETED = frame("response.completed", response={"id": "resp_1", "status": "completed", "usage": USAGE})
MESSAGE: dict[str, Any] = {"type": "message", "id": "msg_1", "role": "assistant"}


def message(told: str) -> dict[str, Any]:
    return {**MESSAGE, "content": [{"type": "output_text", "text": told, "annotations": []}]}


class Recorded(unittest.TestCase):
    """Every recorded stream of OpenAI's."""

    def test_verbatim(self) -> None:
        """What OpenAI sends goes on as it came, its own tools' events among it, however it is cut."""
        self.assertGreater(len(ANSWERS), 5)
        chance = random.Random(5)
        for path in ANSWERS:
            data = path.read_bytes()
            with self.subTest(path.name):
                out, stream = run(data)
                self.assertEqual(out, data)
                self.assertEqual((stream.failure, stream.mended), (None, 0))
                self.assertTrue(stream.reported)
                for _ in range(5):
                    cuts = sorted(chance.sample(range(1, len(data)), 40))
                    self.assertEqual(run(data, cuts)[0], data)

    def test_one_byte_at_a_time(self) -> None:
        """So it is where it comes one byte at a time."""
        for path in ANSWERS:
            data = path.read_bytes()
            if len(data) < 20_000:
                self.assertEqual(run(data, list(range(1, len(data))))[0], data)

    def test_meaning(self) -> None:
        """The events read from a stream tell what a plain reading of it tells."""
        for path in ANSWERS:
            data = path.read_bytes()
            with self.subTest(path.name):
                events = read(data)
                check_events(events)
                reply = reply_of(events)
                told = check_responses(data, lenient=True)
                said = "".join(block.text for block in reply.content if isinstance(block, TextBlock))
                self.assertEqual(said, told.text)
                thoughts = [block.thinking for block in reply.content if isinstance(block, ThinkingBlock)]
                self.assertEqual("".join(thoughts).replace("\n\n", ""), told.thinking.replace("\n\n", ""))
                calls = [block for block in reply.content if isinstance(block, ToolUseBlock)]
                self.assertEqual([(call.id, call.name) for call in calls], [call[:2] for call in told.calls])
                assert told.usage is not None
                assert reply.usage is not None
                self.assertEqual(reply.usage.prompt_tokens, told.usage["input_tokens"])
                self.assertEqual(reply.usage.output_tokens, told.usage["output_tokens"])
                self.assertEqual(reply.stop_reason, "tool_use" if calls else "end_turn")

    def test_failed_before_it_began(self) -> None:
        """An answer that fails at once has told nothing: it may be asked for elsewhere."""
        for name, expected in (("error-quota", AccountExhausted), ("x-failed-rate-limit", UpstreamBusy)):
            chat = ask("responses", raw=b"{}")
            stream = kind(chat).stream(answering(chat, kept=True), ResponsesWriter(chat, "req_1", 1))
            self.assertEqual(stream.feed((FIXTURES / f"{name}.sse").read_bytes()) + stream.end(), b"")
            self.assertIsInstance(stream.failure, expected)
            self.assertFalse(stream.begun)

    def test_cut_anywhere(self) -> None:
        """Cut anywhere before its last event, a stream ends in an error that goes on with its numbers;
        after it, it ends well."""
        for name in ("gpt-4o-tool", "code-interpreter", "x-custom-tool"):
            data = (FIXTURES / f"{name}.sse").read_bytes()
            whole = len(data.rstrip())
            for place in range(0, len(data) + 1, 1 if name == "gpt-4o-tool" else 13):
                out, stream = run(data[:place])
                if place < whole:
                    self.assertIsInstance(stream.failure, UpstreamTruncated, place)
                    told = check_responses(out, lenient=True)
                    self.assertIsNotNone(told.error, place)
                    self.assertIsNone(told.stop, place)
                else:
                    self.assertEqual(out, data)

    def test_whole_answers(self) -> None:
        """A whole response is read as its stream would be, and goes on as it came."""
        paths = [path for path in FIXTURES.glob("whole-*.json") if "request" not in path.name]
        self.assertGreater(len(paths), 3)
        chat = ask("responses")
        for path in paths:
            body = path.read_bytes()
            reply = kind().parse_reply(body)
            output = json.loads(body)["output"]
            calls = [one["call_id"] for one in output if one["type"] == "function_call"]
            self.assertEqual([block.id for block in reply.content if isinstance(block, ToolUseBlock)], calls)
            self.assertEqual(reply.stop_reason, "tool_use" if calls else "end_turn")
            assert reply.usage is not None
            self.assertEqual(reply.usage.output_tokens, json.loads(body)["usage"]["output_tokens"])
            self.assertEqual(kind().pass_reply(body, reply, answering(chat, kept=True)), body)
            self.assertIsNone(kind().pass_reply(body, reply, answering(chat)))


class Mended(unittest.TestCase):
    """What a client would trip over."""

    def told(self, *frames: bytes, raw: bool = False) -> tuple[bytes, Stream]:
        return run(b"".join(frames), raw=raw)

    def test_names_of_events(self) -> None:
        """An event without its name, or with another, gets its own."""
        for line in (b"", b"event: message\n"):
            nameless = line + text("Hi").partition(b"\n")[2]
            out, stream = self.told(CREATED, nameless, COMPLETED)
            self.assertEqual(out, CREATED + text("Hi") + COMPLETED)
            self.assertEqual(stream.mended, 1)

    def test_the_end_of_another_dialect(self) -> None:
        """A [DONE] is of another dialect: it is left out, and no end."""
        out, stream = self.told(CREATED, text("Hi"), b"data: [DONE]\n\n", COMPLETED)
        self.assertEqual((out, stream.mended), (CREATED + text("Hi") + COMPLETED, 1))
        _, stream = self.told(CREATED, text("Hi"), b"data: [DONE]\n\n")
        self.assertIsInstance(stream.failure, UpstreamTruncated)

    def test_what_codex_asks_of_the_end(self) -> None:
        """The last response has an id, and all three sums or no usage."""
        for usage, expected in (
            ({"input_tokens": 9, "output_tokens": 4}, 13),
            ({"input_tokens": "many"}, None),
        ):
            end = frame("response.completed", response={"status": "completed", "usage": usage, "new": 1})
            out, stream = self.told(CREATED, text("Hi"), end)
            response = json.loads(SSEDecoder().feed(out)[-1].data)["response"]
            self.assertEqual((response["id"], response["new"]), ("resp_1", 1))
            self.assertEqual(response["usage"] and response["usage"]["total_tokens"], expected)
            self.assertEqual(stream.mended, 1)
        without = frame("response.completed", response={"id": "resp_1", "status": "completed"})
        self.assertTrue(self.told(CREATED, text("Hi"), without)[0].endswith(without))

    def test_raw(self) -> None:
        """With raw only the framing is ours."""
        end = frame("response.completed", response={"status": "completed", "usage": {"input_tokens": 1}})
        out, stream = self.told(CREATED, text("Hi"), end, raw=True)
        self.assertEqual((out, stream.mended), (CREATED + text("Hi") + end, 0))

    def test_line_ends(self) -> None:
        """Line ends of other kinds inside a text are escaped; data in several lines becomes one."""
        out, _ = self.told(CREATED, text("a\u2028b"), COMPLETED)
        self.assertIn(b"a\\u2028b", out)
        lines = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",\n'
        out, _ = self.told(CREATED, lines + b'data: "output_index":0,"delta":"x"}\n\n', COMPLETED)
        self.assertIn(b'data: {"type":"response.output_text.delta","output_index":0,"delta":"x"}\n\n', out)

    def test_never_passed(self) -> None:
        """What is no UTF-8, or no event at all, ends the stream."""
        for broken in (
            b'event: x\ndata: {"type":"x","y":"\xff"}\n\n',
            b"data: {broken\n\n",
            frame("response.output_text.delta", delta=7),
            item("done", 0, type="function_call", arguments=[]),
            item("added", 1, type="function_call", name="f"),
        ):
            out, stream = self.told(CREATED, item("added", 0, **MESSAGE), text("Hi", 1), broken, COMPLETED)
            self.assertIsInstance(stream.failure, UpstreamGarbled, broken)
            self.assertIn(b"event: response.failed\n", out)
            self.assertNotIn(COMPLETED, out)

    def test_forged_names(self) -> None:
        """An event whose type could forge a line of the stream is left out."""
        forged = b'data: {"type":"x\\n\\nevent: response.failed\\ndata: {}"}\n\n'
        for raw in (False, True):
            out, _ = self.told(CREATED, text("Hi"), forged, COMPLETED, raw=raw)
            self.assertEqual(out, CREATED + text("Hi") + COMPLETED)

    def test_items_told_before_a_failure(self) -> None:
        """What was told whole stands in the failed response on one line, however it came."""
        told = json.dumps(
            {"type": "response.output_item.done", "output_index": 0, "item": message("a\u2028b")}
        )
        lines = b"".join(b"data: %b\n" % line for line in told.replace(", ", ",\n").encode().split(b"\n"))
        out, _ = self.told(CREATED, text("a\u2028b"), lines + b"\n", frame("error", error={"message": "no"}))
        self.assertEqual(len(out.splitlines()), len(out.decode().splitlines()))
        last = json.loads(SSEDecoder().feed(out)[-1].data)
        self.assertEqual(
            (last["type"], last["response"]["output"]), ("response.failed", [message("a\u2028b")])
        )

    def test_items_without_a_number(self) -> None:
        """An item's number must be one."""
        for step in ("added", "done"):
            for index in (b"[]", b"{}"):
                data = item(step, 0, **message("Hi")).replace(b'"output_index":0', b'"output_index":' + index)
                _, stream = self.told(CREATED, data, COMPLETED)
                self.assertIsInstance(stream.failure, UpstreamGarbled)

    def test_a_search_that_fails_at_once(self) -> None:
        """Where a search was told and the failure came in one read, the failure goes on from it."""
        search = item("added", 0, type="web_search_call", id="ws_1")
        out, _ = self.told(CREATED, search, frame("error", error={"message": "no"}))
        self.assertTrue(out.startswith(CREATED + search))
        self.assertEqual(out.count(b"event: response.created"), 1)

    def test_held_without_end(self) -> None:
        """A provider that says nothing in very many bytes is not listened to for ever."""
        filler = frame("response.queued", filler="x" * (1 << 20))
        data = CREATED + filler * 17 + COMPLETED
        out, stream = run(data, list(range(len(filler), len(data), len(filler))))
        self.assertIsInstance(stream.failure, UpstreamGarbled)
        self.assertNotIn(b"filler", out)

    def test_a_search_is_a_beginning(self) -> None:
        """What OpenAI's own tools do counts as a beginning; a thought that nobody sees does not."""
        chat = ask("responses")
        stream = kind().stream(answering(chat, kept=True), ResponsesWriter(chat, "req_1", 1))
        self.assertEqual(stream.feed(CREATED + item("added", 0, type="reasoning", summary=[])), b"")
        self.assertFalse(stream.begun)
        self.assertNotEqual(stream.feed(item("added", 1, type="web_search_call", id="ws_1")), b"")
        self.assertTrue(stream.begun)

    def test_errors_in_mid_answer(self) -> None:
        """An error is told in the gateway's words, so that no secret of its own slips through; the
        items that were whole stay."""
        for end, expected in (
            (frame("error", error={"code": "server_error", "message": "broke"}), UpstreamFailed),
            (frame("error", code="rate_limit_exceeded", message="broke"), UpstreamBusy),
            (
                frame(
                    "response.failed",
                    response={"status": "failed", "error": {"code": "server_error", "message": "broke"}},
                ),
                UpstreamFailed,
            ),
            (frame("response.failed", response={"status": "failed"}), UpstreamFailed),
        ):
            head = CREATED + item("added", 0, **MESSAGE) + text("Hi")
            out, stream = self.told(head + item("done", 0, **message("Hi")), end, COMPLETED)
            self.assertIsInstance(stream.failure, expected)
            error, failed = [json.loads(one.data) for one in SSEDecoder().feed(out)[-2:]]
            self.assertEqual(error["error"]["message"], str(stream.failure))
            self.assertEqual(failed["response"]["output"], [message("Hi")])
            self.assertEqual(failed["response"]["id"], "resp_1")

    def test_answered_whole(self) -> None:
        """A whole response to a question for a stream is told as a stream."""
        body = (FIXTURES / "whole-tool.json").read_bytes()
        out, stream = run(body)
        told = check_responses(out)
        self.assertEqual([name for _, name, _ in told.calls], ["get_capital"])
        self.assertFalse(stream.usage().estimated)


class Read(unittest.TestCase):
    """Streams that OpenAI's own do not show."""

    def blocks(self, *frames: bytes) -> list[object]:
        events = read(CREATED + b"".join(frames))
        check_events(events)
        return list(reply_of(events).content)

    def test_overlapping_items(self) -> None:
        """An item that begins inside another is told when both are whole."""
        call = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f"}
        self.assertEqual(
            self.blocks(
                *(item("added", 0, **MESSAGE), text("Hel")),
                item("added", 1, **call, arguments=""),
                frame("response.function_call_arguments.delta", output_index=1, delta='{"x":1}'),
                item("done", 1, **call, arguments='{"x":1}'),
                *(text("lo"), item("done", 0, **message("Hello")), COMPLETED),
            ),
            [TextBlock("Hello"), ToolUseBlock("a", "f", '{"x":1}')],
        )

    def test_items_without_deltas(self) -> None:
        """Items that come whole alone, or at the very end, are told whole."""
        call = {"type": "custom_tool_call", "call_id": "a", "name": "f", "namespace": "n", "input": "x"}
        thought = {"type": "reasoning", "summary": [], "encrypted_content": seal(Sealed(redacted="b3A="))}
        told = [thought, message("Hi"), call]
        expected = [
            RedactedThinkingBlock("b3A="),
            TextBlock("Hi"),
            ToolUseBlock("a", "n__f", '{"input":"x"}'),
        ]
        alone = [item("done", index, **one) for index, one in enumerate(told)]
        self.assertEqual(self.blocks(*alone, COMPLETED), expected)
        end = frame("response.completed", response={"id": "r", "status": "completed", "output": told})
        self.assertEqual(self.blocks(end), expected)

    def test_refusals(self) -> None:
        """A refusal is text, and the reason why the answer ends."""
        events = read(
            CREATED
            + frame("response.refusal.delta", output_index=0, content_index=0, delta="No.")
            + COMPLETED
        )
        reply = reply_of(events)
        self.assertEqual((reply.content, reply.stop_reason), ((TextBlock("No."),), "refusal"))

    def test_incomplete(self) -> None:
        """Why a response is incomplete, in Claude's words."""
        for reason, expected in (
            ("max_output_tokens", "max_tokens"),
            ("content_filter", "refusal"),
            ("brand_new", "max_tokens"),
        ):
            response = {"id": "r", "status": "incomplete", "incomplete_details": {"reason": reason}}
            data = CREATED + text("x") + frame("response.incomplete", response=response)
            self.assertEqual(reply_of(read(data)).stop_reason, expected)

    def test_a_cut_custom_call(self) -> None:
        """A custom tool's call without its end is never told as a call."""
        call = {"type": "custom_tool_call", "call_id": "a", "name": "f", "input": ""}
        delta = frame("response.custom_tool_call_input.delta", output_index=0, delta="rm -rf /")
        *_, failed = read(CREATED + item("added", 0, **call) + delta + COMPLETED)
        self.assertIn("without its end", str(getattr(failed, "error", "")))

    def test_usage(self) -> None:
        """Cached and reasoning tokens are parts of the sums; what is no count is none."""
        details = {
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "output_tokens_details": {"reasoning_tokens": 3},
        }
        end = frame("response.completed", response={"id": "r", "usage": {**USAGE, **details}})
        self.assertEqual(reply_of(read(CREATED + text("x") + end)).usage, Usage(3, 4, 4, 2, 3))
        odd = frame("response.completed", response={"id": "r", "usage": {**USAGE, "output_tokens": -1}})
        self.assertIsNone(reply_of(read(CREATED + text("x") + odd)).usage)

    def test_whole_errors(self) -> None:
        """A body that is an error, or a response that failed, raises what it is."""
        for body, expected in (
            (b'{"error":{"message":"x","code":"insufficient_quota"}}', AccountExhausted),
            (b'{"status":"failed","output":[],"error":{"code":"rate_limit_exceeded"}}', UpstreamBusy),
            (b'{"status":"cancelled","output":[]}', UpstreamFailed),
            (b'{"output":[{"type":"message","content":1}]}', UpstreamGarbled),
            (b'{"output":1}', UpstreamGarbled),
            (b"<html>", UpstreamGarbled),
            (b'{"status":"failed","output":[],"error":{"code":"invalid_prompt"}}', UpstreamRefused),
        ):
            with self.assertRaises(expected):
                kind().parse_reply(body)

    def test_in_the_background(self) -> None:
        """A response that only waits in a queue is an answer: the client asks for the rest."""
        self.assertEqual(
            kind().parse_reply(b'{"id":"r","status":"queued","output":[]}').stop_reason, "pause_turn"
        )


class Asked(unittest.TestCase):
    """The request to OpenAI, and who is asked so."""

    def test_body(self) -> None:
        """The body goes up as it came, but for the model and whether it is streamed."""
        raw = b'{"model":"mine","input":[{"id":"msg_1"}],"temperature":0.50,"new":{"a":1}}'
        chat = ask("responses", raw=raw, headers=(("openai-beta", "x"),))
        rendered = render_request(chat, "gpt-5", stream=True)
        self.assertEqual(
            rendered.body,
            b'{"model":"gpt-5","input":[{"id":"msg_1"}],"temperature":0.50,"new":{"a":1},"stream":true}',
        )
        self.assertTrue(rendered.kept)
        self.assertEqual((rendered.dropped, rendered.headers), ((), ((b"openai-beta", b"x"),)))
        plain = ask("responses", raw=b'{"model":"m","stream":true,"stream_options":{}}')
        self.assertEqual(render_request(plain, "m", stream=False).body, b'{"model":"m","stream":false}')

    def test_thoughts_of_other_models(self) -> None:
        """What another family signed is left out of the body, and told; OpenAI's own stays."""
        ours = {"type": "reasoning", "summary": [], "encrypted_content": seal(Sealed(signature="x"))}
        theirs = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
        quoted = {"role": "user", "content": ours["encrypted_content"]}
        raw = json.dumps({"model": "m", "input": [ours, theirs, quoted]}).encode()
        rendered = render_request(ask("responses", raw=raw), "m", stream=True)
        self.assertEqual(json.loads(rendered.body)["input"], [theirs, quoted])
        self.assertEqual(rendered.dropped, ("reasoning.encrypted_content",))

    def test_address(self) -> None:
        """It goes to /responses of the same server, with the same key."""
        chat = ask("responses", raw=b'{"model":"m"}')
        credential = Credential(Secret("sk-1"))
        one = kind(chat)
        rendered = one.render(chat, "m", credential, stream=True)
        call = one.request("https://api.openai.com/v1", "m", credential, rendered, stream=True)
        self.assertEqual(call.url, b"https://api.openai.com/v1/responses")
        self.assertIn((b"Authorization", b"Bearer sk-1"), call.headers)
        self.assertEqual(call.body, rendered.body)

    def test_who_is_asked_so(self) -> None:
        """OpenAI is, by a client of this dialect; another server if the configuration says that it can."""

        def provider(**fields: Any) -> Kind:
            config = Provider(name="p", kind="openai", accounts=(Account(name="a"),), **fields)
            return KINDS["openai"](config)

        chat = ask("responses")
        elsewhere = ("https://llm.example/v1",)
        for one, expected in (
            (KINDS["openai"](None), True),
            (KINDS["glm"](None), False),
            (provider(), True),
            (provider(responses=False), False),
            (provider(base_urls=elsewhere), False),
            (provider(base_urls=elsewhere, responses=True), True),
        ):
            self.assertEqual(isinstance(one.for_chat(chat), OpenAIResponses), expected)
            for other in (ask("claude"), ask("openai"), ask("openai", answer="responses")):
                self.assertIs(one.for_chat(other), one)

    def test_configured(self) -> None:
        """Whether a server has this API is a key of its table, for kind openai alone."""

        def configured(kind: str, line: str) -> bool | None:
            text = f'[providers.p]\nkind = "{kind}"\n{line}\naccounts = [{{ api_key = "k" }}]\n'
            return parse(text, {}, origin="t.toml").providers["p"].responses

        self.assertIsNone(configured("openai", ""))
        self.assertIs(configured("openai", "responses = true"), True)
        self.assertIs(configured("openai", "responses = false"), False)
        with self.assertRaisesRegex(ConfigError, 'is for kind "openai" alone, not for "glm"'):
            configured("glm", "responses = true")

    def test_ways_of_answering(self) -> None:
        """Only a body that went up as it came is answered so."""
        chat = ask("responses")
        writer = ResponsesWriter(chat, "req_1", 1)
        self.assertIsInstance(kind().stream(answering(chat, kept=True), writer), ResponsesPassthrough)
        translated = kind().stream(answering(chat), writer)
        self.assertIs(type(translated), Translator)

    def test_errors(self) -> None:
        """Errors are those of the provider's other API."""
        body = (FIXTURES / "error-400.json").read_bytes()
        error: UpstreamError = kind().parse_error(400, {}, body, now=0.0)
        self.assertIsInstance(error, UpstreamRefused)
        self.assertEqual(error.provider_status, 400)
