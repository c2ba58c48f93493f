from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from aigateway.check import check_claude
from aigateway.dialects.base import Rendered
from aigateway.dialects.claude import ClaudeWriter, parse_request
from aigateway.dialects.claude.kept import keep
from aigateway.dialects.claude.passthrough import ClaudePassthrough, pass_reply
from aigateway.dialects.claude.reader import parse_reply
from aigateway.errors import UpstreamBusy, UpstreamGarbled, UpstreamTruncated
from aigateway.estimate import prompt_tokens
from aigateway.events import RedactedThinkingBlock, ThinkingBlock, Thought, ToolUseBlock
from aigateway.providers import KINDS
from aigateway.signatures import call_key
from aigateway.translate import Answering, Passthrough

from .recordings import answering, ask
from .test_claude_reader import (
    CALL,
    FIXTURES,
    MOST,
    SHORT,
    SPLITS,
    STOP,
    STREAMS,
    TEXT,
    block,
    classify,
    cut_at,
    delta,
    end,
    frame,
    start,
    stop,
)

ASKED = ask("claude")
ERROR = frame("error", error={"type": "overloaded_error", "message": "Overloaded"})
MENDED = {"x-duplicate-message-start.sse", "x-error-mid-stream.sse", "x-spliced-message-start.sse"}


def passed(*pieces: bytes, raw: bool = False) -> tuple[bytes, ClaudePassthrough]:
    """What a client gets of these pieces, and the stream that they came through."""
    writer = ClaudeWriter(ASKED, "req_1", 1)
    stream = KINDS["anthropic"](None).stream(answering(ASKED, kept=True, raw=raw), writer)
    assert isinstance(stream, ClaudePassthrough)
    out = b"".join([stream.feed(piece) for piece in pieces]) + stream.end()
    return out if stream.failure is None else out + writer.fail(stream.failure), stream


class RecordedTests(SynchronousTestCase):
    """Every recorded stream of Anthropic's, for a client of its own dialect."""

    def test_byte_for_byte(self) -> None:
        """A clean stream goes on byte for byte, whatever is in it, and nothing is counted as mended."""
        for path in STREAMS:
            if path.name not in MENDED:
                out, stream = passed(path.read_bytes())
                with self.subTest(path.name):
                    self.assertEqual(out, path.read_bytes())
                    self.assertEqual((stream.mended, stream.failure, stream.late_error), (0, None, None))

    def test_faulty_ones(self) -> None:
        """A repeated message_start is left out; a stream that fails ends in an error and keeps to
        the grammar until then."""
        out, stream = passed((FIXTURES / "x-duplicate-message-start.sse").read_bytes())
        self.assertEqual((out.count(b"event: message_start"), stream.mended), (1, 1))
        check_claude(out, lenient=True)
        for name in ("x-error-mid-stream.sse", "x-spliced-message-start.sse"):
            out, stream = passed((FIXTURES / name).read_bytes())
            self.assertIsNotNone(stream.failure)
            self.assertIsNotNone(check_claude(out, lenient=True).error)

    def test_splits(self) -> None:
        """However a stream is cut, the client gets the same: byte by byte, cut in two at every
        place where it is short, and in two hundred random ways."""
        dice = random.Random(8088)
        for path in STREAMS:
            data = path.read_bytes()
            expected = self.outcome(data)
            cuts = [sorted(dice.sample(range(len(data)), dice.randint(1, 40))) for _ in range(SPLITS)]
            cuts = cuts[: max(MOST // len(data), 5)]
            if len(data) <= SHORT:
                cuts += [[place] for place in range(len(data))]
            if len(data) < 10 * SHORT:
                cuts.append(list(range(len(data))))
            for places in cuts:
                if self.outcome(*cut_at(data, places)) != expected:
                    self.fail(f"{path.name}: another stream with the cuts {places[:50]}")

    def outcome(self, *pieces: bytes) -> tuple[object, ...]:
        out, stream = passed(*pieces)
        return out, stream.mended, stream.stop_reason, stream.usage(), str(stream.failure)

    def test_cut_at_every_byte(self) -> None:
        """Cut before the stop reason, a stream ends in an error, before the first block with nothing
        else; cut after it, in a whole answer."""
        for name in ("text.sse", "json-tool-1.sse", "refusal.sse", "message-delta-input-tokens.sse"):
            data = (FIXTURES / name).read_bytes()
            line_end = data.index(b"\n", data.rindex(b'"stop_reason":"'))
            for place in range(len(data)):
                out, stream = passed(data[:place])
                where = f"{name} cut at {place}"
                answer = check_claude(out, lenient=True)
                if place < line_end:
                    self.assertIsInstance(stream.failure, UpstreamTruncated, where)
                    self.assertIsNotNone(answer.error, where)
                    self.assertIsNone(answer.stop, where)
                else:
                    self.assertIsNone(stream.failure, where)
                    self.assertEqual(out.count(b"event: message_stop"), 1, where)

    def test_usage_and_stop_reason(self) -> None:
        """Usage and stop reason are read on the way, corrections in message_delta included."""
        _, stream = passed((FIXTURES / "message-delta-input-tokens.sse").read_bytes())
        self.assertEqual((stream.usage().input_tokens, stream.usage().output_tokens), (61, 2))
        self.assertEqual((stream.stop_reason, stream.reported), ("end_turn", True))


class HeldTests(SynchronousTestCase):
    """Nothing is written before the answer says something."""

    def feed(self, *pieces: bytes) -> tuple[list[bytes], ClaudePassthrough, ClaudeWriter]:
        writer = ClaudeWriter(ASKED, "req_1", 1)
        stream = KINDS["anthropic"](None).stream(answering(ASKED, kept=True), writer)
        assert isinstance(stream, ClaudePassthrough)
        return [stream.feed(piece) for piece in pieces], stream, writer

    def test_until_content(self) -> None:
        """message_start, pings and the start of a text wait for the first piece of the text."""
        ping = frame("ping")
        opened = block("text", text="")
        outs, stream, writer = self.feed(start(), ping, opened)
        self.assertEqual((outs, stream.begun), ([b"", b"", b""], False))
        self.assertTrue(writer.keep_alive().startswith(b":"))
        hello = delta("text", text="Hi")
        self.assertEqual(stream.feed(hello), start() + ping + opened + hello)
        self.assertTrue(stream.begun)
        self.assertTrue(writer.keep_alive().startswith(b"event: ping"))

    def test_an_error_first(self) -> None:
        """An error before any content leaves nothing written, so that another target can be asked."""
        outs, stream, _ = self.feed(start(), frame("ping"), ERROR)
        self.assertEqual(outs, [b"", b"", b""])
        self.assertIsInstance(stream.failure, UpstreamBusy)
        self.assertFalse(stream.begun)

    def test_server_tools_are_content(self) -> None:
        """A tool that the server runs begins the answer for this client."""
        used = block("server_tool_use", id="srv_1", name="web_search", input={})
        outs, stream, _ = self.feed(start(), used)
        self.assertEqual(outs, [b"", start() + used])
        self.assertTrue(stream.begun)

    def test_nothing_for_ever(self) -> None:
        """A megabyte without content is a fault."""
        pad = frame("padding", pad="x" * 65_536)
        _, stream, _ = self.feed(start(), *[pad] * (Passthrough.max_held // 65_536 + 1))
        self.assertIsInstance(stream.failure, UpstreamGarbled)


class MendingTests(SynchronousTestCase):
    """What breaks the grammar is mended and counted; all else stays as it came."""

    def mended(self, *pieces: bytes, times: int = 1) -> tuple[bytes, list[dict[str, Any]]]:
        """The stream as it goes on, and its events; it keeps to the grammar."""
        out, stream = passed(*pieces)
        self.assertIsNone(stream.failure)
        answer = check_claude(out, lenient=True)
        self.assertEqual(stream.mended, times)
        self.assertIsNotNone(answer.stop)
        return out, answer.chunks

    def test_framing(self) -> None:
        """Line ends and data on several lines are framing: ours, and not counted."""
        data = start() + TEXT + end() + STOP
        pretty = b'event: ping\ndata: {"type":\ndata: "ping"}\n\n'
        out, _ = self.mended(data.replace(b"\n", b"\r\n"), times=0)
        self.assertEqual(out, data)
        out, _ = self.mended(start(), TEXT, pretty, end(), STOP, times=0)
        self.assertIn(b'event: ping\ndata: {"type":"ping"}\n\n', out)

    def test_event_lines(self) -> None:
        """Every event gets the event line of its type; one without a type gets both."""
        bare = TEXT.replace(b"event: content_block_delta\n", b"")
        wrong = TEXT.replace(b"event: content_block_start", b"event: message")
        self.assertIn(b"event: content_block_delta\n", self.mended(start(), bare, end(), STOP)[0])
        self.assertIn(b"event: content_block_start\n", self.mended(start(), wrong, end(), STOP)[0])
        untyped = TEXT.replace(b'"type":"content_block_stop",', b"")
        self.assertEqual(self.mended(start(), untyped, end(), STOP)[1][3]["type"], "content_block_stop")

    def test_line_ends_inside(self) -> None:
        """A character that ends a line for some clients goes on escaped, which is framing too."""
        out, _ = self.mended(start(), TEXT.replace(b"Hi", "a\u2028b".encode()), end(), STOP, times=0)
        self.assertIn(rb"a\u2028b", out)

    def test_prompt_of_no_tokens(self) -> None:
        """message_start tells an estimate where the provider has not counted the prompt, and keeps
        what it does tell."""
        for usage in ({"input_tokens": 0, "output_tokens": 3, "service_tier": "x"}, None):
            _, chunks = self.mended(start(usage=usage), TEXT, end(), STOP)
            told = chunks[0]["message"]["usage"]
            self.assertEqual(told["input_tokens"], prompt_tokens(ASKED))
            self.assertEqual(told["output_tokens"], 3 if usage else 0)
        cached = start(usage={"input_tokens": 0, "cache_read_input_tokens": 9, "output_tokens": 0})
        self.mended(cached, TEXT, end(), STOP, times=0)

    def test_what_a_start_lacks(self) -> None:
        """A message_start without id, model, role or content gets them."""
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = frame("message_start", message={"usage": usage, "extra": 1})
        _, chunks = self.mended(message, TEXT, end(), STOP)
        self.assertEqual(
            chunks[0]["message"],
            {
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage,
                "extra": 1,
                "id": "msg_req_1",
                "type": "message",
                "role": "assistant",
                "model": "the-model",
                "content": [],
            },
        )

    def test_the_model_that_was_asked_for(self) -> None:
        """A route's own name for a model stands in the answer, too: agents give their thinking back
        only to the model that they asked for. That mends nothing."""
        rendered = Rendered(b"", kept=True, asked_model="the-model")
        asked = Answering(ASKED, rendered, "req_1", 1700000000)
        stream = KINDS["anthropic"](None).stream(asked, ClaudeWriter(ASKED, "req_1", 1))
        data = (FIXTURES / "sonnet4-text.sse").read_bytes()
        out = stream.feed(data) + stream.end()
        self.assertEqual(check_claude(out, lenient=True).model, "the-model")
        rest = data.partition(b"\n\n")[2]
        self.assertTrue(out.endswith(rest))
        self.assertEqual(stream.mended, 0)
        body = (FIXTURES / "tool-choice-auto.json").read_bytes()
        whole = pass_reply(body, parse_reply(body, classify), asked)
        self.assertEqual(json.loads(whole), json.loads(body) | {"model": "the-model"})

    def test_indices(self) -> None:
        """Blocks are counted from 0, whatever the provider counts."""
        off = block("text", 4, text="") + delta("text", 4, text="Hi") + stop(4)
        _, chunks = self.mended(start(), off, end(), STOP, times=3)
        self.assertEqual([chunk.get("index") for chunk in chunks[1:4]], [0, 0, 0])

    def test_blocks_left_open(self) -> None:
        """A block is closed before the next begins, and before message_delta; a late end is left out."""
        second = CALL.replace(b'"index":0', b'"index":1') + stop(1)
        opened = TEXT[: TEXT.rindex(b"event:")]
        _, chunks = self.mended(start(), opened, second, stop(0), end("tool_use"), STOP, times=2)
        kinds = [chunk["type"] for chunk in chunks]
        self.assertEqual(kinds.count("content_block_stop"), 2)
        _, chunks = self.mended(start(), opened, end(), STOP)
        self.assertEqual(chunks[-3]["type"], "content_block_stop")

    def test_a_block_that_never_began(self) -> None:
        """Text without the start of its block gets one; an end without a block is left out."""
        _, chunks = self.mended(start(), delta("text", text="Hi"), stop(), stop(), end(), STOP, times=2)
        self.assertEqual(chunks[1]["content_block"], {"type": "text", "text": ""})

    def test_a_message_that_never_began(self) -> None:
        """An answer without its message_start gets one; one that comes late, or says nothing, is left out."""
        empty = frame("message_start", message=None)
        for pieces, times in (((TEXT,), 1), ((empty, TEXT), 2), ((TEXT, start()), 2), ((), 1)):
            _, chunks = self.mended(*pieces, end(), STOP, times=times)
            told = chunks[0]["message"]
            self.assertEqual((told["id"], told["model"], told["content"]), ("msg_req_1", "the-model", []))
            self.assertEqual(told["usage"]["input_tokens"], prompt_tokens(ASKED))

    def test_another_kind_in_the_block(self) -> None:
        """What is said or thought in a block of another kind gets one of its own; what no block of the
        kind at hand can hold, and what says nothing of its kind, is left out."""
        thought, said = delta("thinking", thinking="Hm"), delta("text", text="Hi")
        opened = block("text", text="")
        _, chunks = self.mended(start(), opened, thought, said, stop(), end(), STOP, times=7)
        kinds = [chunk["content_block"]["type"] for chunk in chunks if "content_block" in chunk]
        self.assertEqual(kinds, ["text", "thinking", "text"])
        self.assertEqual([chunk["index"] for chunk in chunks if "index" in chunk], [0, 0, 1, 1, 1, 2, 2, 2])
        stray = delta("input_json", partial_json="{")
        untyped = frame("content_block_delta", index=0, delta={"text": "x"})
        nothing = frame("content_block_delta", index=0)
        out, _ = self.mended(start(), opened, stray, untyped, nothing, said, stop(), end(), STOP, times=3)
        self.assertEqual(out, start() + TEXT + end() + STOP)
        nameless = frame("content_block_start", index=0, content_block={})
        out, _ = self.mended(start(), nameless, said, stop(), end(), STOP, times=2)
        self.assertEqual(out, start() + TEXT + end() + STOP)

    def test_usage_of_another_shape(self) -> None:
        """Counts that are no object are none."""
        for usage in ("many", 5, [1], True):
            last = frame(
                "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage
            )
            _, chunks = self.mended(start(usage=usage), TEXT, last, STOP, times=2)
            self.assertEqual(chunks[0]["message"]["usage"]["output_tokens"], 0)
            self.assertEqual(chunks[-2]["usage"], {"output_tokens": 0})

    def test_faults_after_the_stop_reason(self) -> None:
        """An answer that is whole ends well, whatever is wrong with what comes after."""
        call = block("tool_use", id="toolu_1", name="look", input={}) + stop()
        late = delta("input_json", partial_json="{")
        out, stream = passed(start(), call, end("tool_use"), late, STOP)
        self.assertTrue(out.endswith(end("tool_use") + STOP))
        self.assertIsInstance(stream.late_error, UpstreamGarbled)
        bad = b'event: message_stop\ndata: {"type":"message_stop","x":"\xff"}\n\n'
        out, stream = passed(start(), TEXT, end(), bad)
        self.assertEqual((out, stream.failure), (start() + TEXT + end() + STOP, None))
        untyped = b"event: message_stop\ndata: {}\n\n"
        self.assertTrue(self.mended(start(), TEXT, end(), untyped)[0].endswith(STOP))

    def test_message_delta(self) -> None:
        """message_delta comes once, with stop_sequence and usage; where it is missing it is made."""
        bare = frame("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}, x=1)
        _, chunks = self.mended(start(), TEXT, bare, STOP)
        self.assertEqual(chunks[-2]["delta"], {"stop_reason": "end_turn", "stop_sequence": None})
        self.assertEqual(chunks[-2]["x"], 1)
        uncounted = frame("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None})
        _, chunks = self.mended(start(), TEXT, uncounted, STOP)
        self.assertIn("output_tokens", chunks[-2]["usage"])
        early = frame("message_delta", delta={"stop_reason": None, "stop_sequence": None}, usage={})
        _, chunks = self.mended(start(), TEXT, end(), early, STOP)
        self.assertEqual(chunks[-2]["delta"]["stop_reason"], "end_turn")
        _, chunks = self.mended(start(), CALL, stop(), STOP)
        self.assertEqual(chunks[-2]["delta"], {"stop_reason": "tool_use", "stop_sequence": None})
        self.assertEqual(chunks[-2]["usage"]["input_tokens"], 5)

    def test_an_answer_at_once(self) -> None:
        """An answer that is whole in message_start is left as it is, without a message_delta."""
        path = FIXTURES / "programmatic-tool-calling-1-turn2.sse"
        out, _ = self.mended(path.read_bytes(), times=0)
        self.assertEqual(out, path.read_bytes())

    def test_missing_stop(self) -> None:
        """message_stop is added where the body ends after the stop reason, or an error comes late."""
        for last in (b"", ERROR):
            out, _ = self.mended(start(), TEXT, end(), last)
            self.assertTrue(out.endswith(STOP))

    def test_pings(self) -> None:
        """Pings go on, in their place; before message_start they have none."""
        _, chunks = self.mended(frame("ping"), start(), TEXT, frame("ping"), end(), frame("ping"), STOP)
        self.assertEqual([chunk["type"] for chunk in chunks].count("ping"), 2)

    def test_unknown_names(self) -> None:
        """Unknown events go on; one whose type could forge a line of the stream does not."""
        forged = b'data: {"type":"x\\nevent: error"}\n\n'
        out, _ = self.mended(start(), TEXT, frame("weather", sun=1), forged, end(), STOP)
        self.assertIn(frame("weather", sun=1), out)
        self.assertNotIn(b"x\\nevent", out)

    def test_no_utf8(self) -> None:
        """An event that is not UTF-8 is never passed on."""
        bad = TEXT.replace(b'"text":"Hi"', b'"text":"Hi","x":"\xff"')
        out, stream = passed(start(), bad, end(), STOP)
        self.assertIsInstance(stream.failure, UpstreamGarbled)
        self.assertNotIn(b"\xff", out)

    def test_raw(self) -> None:
        """Unmended, a stream goes on as it comes, but is read all the same."""
        odd = start() + TEXT.replace(b'"index":0', b'"index":5').replace(b"event: content_block_stop\n", b"")
        out, stream = passed(odd, end(), raw=True)
        self.assertEqual(out, odd + end())
        self.assertEqual((stream.mended, stream.stop_reason, stream.failure), (0, "end_turn", None))
        _, stream = passed(odd, raw=True)
        self.assertIsInstance(stream.failure, UpstreamTruncated)

    def test_another_answer(self) -> None:
        """Where the answer is in another dialect than the body, or the body was made anew, the
        stream goes through the hub."""
        kind, writer = KINDS["anthropic"](None), ClaudeWriter(ASKED, "req_1", 1)
        other = ask("claude", answer="openai")
        self.assertNotIsInstance(kind.stream(answering(other, kept=True), writer), ClaudePassthrough)
        self.assertNotIsInstance(kind.stream(answering(ASKED), writer), ClaudePassthrough)


class WholeTests(SynchronousTestCase):
    """Whole answers."""

    def reply(self, body: bytes) -> bytes:
        return pass_reply(body, parse_reply(body, classify), answering(ASKED, kept=True))

    def test_byte_for_byte(self) -> None:
        """A message by the book goes on byte for byte."""
        body = (FIXTURES / "cache-read.json").read_bytes()
        self.assertEqual(self.reply(body), body)

    def test_mended(self) -> None:
        """What a message must have and lacks is added; what else it has stays."""
        value = json.loads(self.reply(b'{"content":[{"type":"text","text":"Hi"}],"extra":1}'))
        self.assertEqual(value["extra"], 1)
        self.assertEqual((value["type"], value["role"], value["id"]), ("message", "assistant", "msg_req_1"))
        self.assertEqual((value["stop_reason"], value["stop_sequence"]), ("end_turn", None))
        self.assertGreater(value["usage"]["input_tokens"], 0)

    def test_numbers_as_written(self) -> None:
        """What is not mended stays byte for byte."""
        body = b'{"content":[{"type":"tool_use","id":"t","name":"f","input":{"n":1.50,"m":1E2}}],"id":""}'
        self.assertIn(body[:-8], self.reply(body))


SIGNATURE = "Et0BCkgIChACGAIqQA2s7h7tAAAAAAAAAAAAAAAA"
WRAPPED = "RXQwQkNrZ0lDaEFDR0FJcVFBMnM3aDd0QUFBQUFBQUFBQUFBQUFBQQ=="
OF_GEMINI = "EtoGCtcGCAIS0gYBDDnWx2K2DVCm1ZWnP0675oPN"
CALLED = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
ANSWERED = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}]}
ASK: dict[str, Any] = {"role": "user", "content": "Look"}
LAST = "claude-haiku-4-5"


def thinking(signature: str, text: str = "Hm") -> dict[str, object]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def said(*content: object) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


class KeptTests(SynchronousTestCase):
    """A Claude client's body on its way to Claude."""

    def keep(
        self,
        *messages: dict[str, Any],
        thoughts: Mapping[str, Thought] | None = None,
        stream: bool = True,
        **fields: Any,
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        body = {"model": "fast", "max_tokens": 9, "messages": list(messages or (ASK,)), **fields}
        chat = parse_request(json.dumps(body).encode())
        rendered = keep(ask_with(chat, thoughts or {}), LAST, stream=stream)
        self.assertTrue(rendered.kept)
        return json.loads(rendered.body), rendered.dropped

    def test_byte_for_byte(self) -> None:
        """Every field but the model goes on byte for byte, unknown ones and numbers as written."""
        raw = (
            b'{"model":"fast", "max_tokens": 1e1, "temperature":0.70, "messages":[ {"role":"user",'
            b'"content":"a\\u00e9"} ], "brand_new": {"a" : [1.0]}, "mcp_servers": []}'
        ).replace(b"1e1", b"10")
        rendered = keep(parse_request(raw), LAST, stream=False)
        for part in (b'[ {"role":"user","content":"a\\u00e9"} ]', b'{"a" : [1.0]}', b"0.70"):
            self.assertIn(part, rendered.body)
        self.assertEqual(json.loads(rendered.body), {**json.loads(raw), "model": LAST})
        self.assertEqual(rendered.dropped, ())

    def test_recorded_requests(self) -> None:
        """Recorded requests change in nothing but the model and the streaming."""
        for path in sorted(FIXTURES.glob("*.request.json")):
            raw = path.read_bytes()
            for stream, family in itertools.product((True, False), (LAST, "claude-opus-5")):
                body = json.loads(keep(parse_request(raw), family, stream=stream).body)
                expected = {**json.loads(raw), "model": family}
                if stream or "stream" in expected:
                    expected["stream"] = stream
                self.assertEqual(body, expected, path.name)

    def test_blocks_of_any_kind(self) -> None:
        """What nobody knows of a block may be named as what is known of thinking."""
        odd = {"type": "brand_new", "data": {"a": 1}, "signature": [1]}
        result = {"type": "tool_result", "tool_use_id": "t", "content": "x", "signature": {"a": 1}}
        messages = [ASK, {"role": "assistant", "content": [thinking(SIGNATURE), odd]}]
        messages.append({"role": "user", "content": [result]})
        raw = json.dumps({"model": "m", "max_tokens": 9, "messages": messages}).encode()
        self.assertEqual(json.loads(keep(parse_request(raw), LAST, stream=False).body)["messages"], messages)

    def test_another_model(self) -> None:
        """Where the provider is asked for another model, the answer is to have the client's name."""
        body = {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        chat = parse_request(json.dumps(body).encode())
        self.assertEqual(keep(chat, "claude-haiku-4-5", stream=True).asked_model, "fast")
        self.assertEqual(keep(chat, "fast", stream=True).asked_model, "")

    def test_max_tokens(self) -> None:
        """The limit that stands in for a missing one is sent, since the API wants one."""
        raw = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
        chat = parse_request(raw, max_tokens_default=77)
        self.assertEqual(json.loads(keep(chat, LAST, stream=False).body)["max_tokens"], 77)

    def test_headers(self) -> None:
        """The client's version and betas go with it, no other header does."""
        chat = parse_request(json.dumps({"model": "m", "max_tokens": 1, "messages": [ASK]}).encode())
        headers = (("anthropic-version", "2023-01-01"), ("anthropic-beta", "a, b"), ("x-other", "1"))
        rendered = keep(ask_with(chat, {}, headers=headers), LAST, stream=False)
        self.assertEqual(
            rendered.headers, ((b"anthropic-version", b"2023-01-01"), (b"anthropic-beta", b"a, b"))
        )

    def test_own_thinking_stays(self) -> None:
        """Thinking that Claude signed goes back as it came; Antigravity's wrapping is taken off."""
        body, dropped = self.keep(ASK, said(thinking(SIGNATURE), CALLED), ANSWERED)
        self.assertEqual(body["messages"][1], said(thinking(SIGNATURE), CALLED))
        body, dropped = self.keep(ASK, said(thinking(WRAPPED), CALLED), ANSWERED)
        self.assertEqual(body["messages"][1], said(thinking(SIGNATURE), CALLED))
        self.assertEqual(dropped, ())

    def test_foreign_thinking_goes(self) -> None:
        """Thinking that nobody signed, or another family did, is taken out and reported; a message
        that held nothing else goes with it. All other messages stay as they are."""
        cached = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}, "new": 1}
        for foreign in (thinking(""), thinking(OF_GEMINI), {"type": "redacted_thinking", "data": OF_GEMINI}):
            body, dropped = self.keep(ASK, said(foreign), said(foreign, cached), ANSWERED, ASK)
            self.assertEqual(body["messages"], [ASK, said(cached), ANSWERED, ASK])
            self.assertEqual(dropped, (foreign["type"],))

    def test_another_issuers_thinking_goes(self) -> None:
        """A signature that the gateway knows to be of another issuer's making is taken out, though it
        looks like Claude's."""
        body = {"model": "m", "max_tokens": 9, "messages": [ASK, said(thinking(SIGNATURE), CALLED), ANSWERED]}
        chat = parse_request(json.dumps(body).encode())
        rendered = keep(ask_with(chat, {}, foreign=frozenset({SIGNATURE})), LAST, stream=False)
        self.assertEqual(json.loads(rendered.body)["messages"][1], said(CALLED))
        self.assertEqual(rendered.dropped, ("thinking",))

    def test_thinking_comes_back(self) -> None:
        """What the client stripped stands again before its call, at the beginning of the step; a
        client that sent its own keeps that."""
        thought = Thought((ThinkingBlock("Hm", SIGNATURE), RedactedThinkingBlock(SIGNATURE)))
        known = {call_key(ToolUseBlock("toolu_1", "look", "{}")): thought}
        text = {"type": "text", "text": "I look"}
        body, _ = self.keep(ASK, said(text, CALLED), ANSWERED, thoughts=known)
        restored = [thinking(SIGNATURE), {"type": "redacted_thinking", "data": SIGNATURE}]
        self.assertEqual(body["messages"][1], said(*restored, text, CALLED))
        own = thinking(SIGNATURE, "mine")
        body, _ = self.keep(ASK, said(own, text, CALLED), ANSWERED, thoughts=known)
        self.assertEqual(body["messages"][1], said(own, text, CALLED))

    def test_thinking_between_calls(self) -> None:
        """What was thought between two calls of one step comes back between them."""
        second = {**CALLED, "id": "toolu_2"}
        known = {call_key(ToolUseBlock("toolu_2", "look", "{}")): Thought((ThinkingBlock("Hm", SIGNATURE),))}
        body, _ = self.keep(ASK, said(thinking(SIGNATURE), CALLED, second), ANSWERED, thoughts=known)
        self.assertEqual(body["messages"][1], said(thinking(SIGNATURE), CALLED, thinking(SIGNATURE), second))

    def test_a_budget_without_thinking(self) -> None:
        """With a budget a turn that has called tools must begin with signed thinking: where it does
        not, thinking is off for this request, and what would clear it from the context too."""
        budget = {"type": "enabled", "budget_tokens": 1024}
        edits = [{"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}]
        fields: dict[str, Any] = {"thinking": budget, "context_management": {"edits": edits}}
        body, dropped = self.keep(ASK, said(CALLED), ANSWERED, **fields)
        self.assertNotIn("thinking", body)
        self.assertEqual(body["context_management"], {"edits": edits[1:]})
        self.assertEqual(dropped, ("thinking", "context_management"))
        body, _ = self.keep(
            ASK, said(CALLED), ANSWERED, thinking=budget, context_management={"edits": edits[:1]}
        )
        self.assertNotIn("context_management", body)
        for odd in (None, 5, {"edits": None}, {"edits": [5]}, {"edits": [{"type": 5}]}):
            body, _ = self.keep(ASK, said(CALLED), ANSWERED, thinking=budget, context_management=odd)
            self.assertEqual(body["context_management"], odd)

    def test_a_budget_with_thinking(self) -> None:
        """Thinking stays on in a turn that began with it, before any call, after the user spoke
        again, and where it is adaptive."""
        budget = {"type": "enabled", "budget_tokens": 1024}
        first = said(thinking(SIGNATURE), CALLED)
        for messages in ((ASK,), (ASK, first, ANSWERED), (ASK, first, ANSWERED, said(CALLED), ANSWERED)):
            self.assertEqual(self.keep(*messages, thinking=budget)[0]["thinking"], budget)
        self.assertEqual(self.keep(ASK, said(CALLED), ANSWERED, ASK, thinking=budget)[0]["thinking"], budget)
        adaptive = {"type": "adaptive"}
        body, dropped = self.keep(ASK, said(CALLED), ANSWERED, thinking=adaptive)
        self.assertEqual((body["thinking"], dropped), (adaptive, ()))

    def test_servers_that_sign_nothing(self) -> None:
        """A model that signs nothing gets unsigned thinking back as it came."""
        unsigned = said(thinking(""), CALLED)
        body = {"model": "m", "max_tokens": 9, "messages": [ASK, unsigned, ANSWERED]}
        chat = parse_request(json.dumps(body).encode())
        self.assertEqual(json.loads(keep(chat, "glm-4.7", stream=False).body)["messages"][1], unsigned)


def ask_with(chat: Any, thoughts: Mapping[str, Thought], **fields: Any) -> Any:
    return msgspec.structs.replace(chat, thoughts=thoughts, **fields)
