"""OpenAI to OpenAI: byte for byte where the server keeps to the grammar, mended where not."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigateway.dialects.openai.passthrough import OpenAIPassthrough
from aigateway.dialects.openai.writer import OpenAIWriter
from aigateway.errors import UpstreamGarbled, UpstreamTruncated
from aigateway.events import ChatRequest
from aigateway.providers import KINDS
from aigateway.providers.base import Framing

FIXTURES = Path(__file__).parent / "fixtures"
RECORDED = sorted([*(FIXTURES / "openai").glob("*.sse"), *(FIXTURES / "compat").glob("*.sse")])
FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}


def chat(usage: bool, *, answer: str = "") -> ChatRequest:
    return ChatRequest(
        dialect="openai", model="gpt-4", messages=(), stream=True, include_usage=usage, answer=answer
    )


def run(data: bytes, *, usage: bool, cuts: list[int] | None = None, answer: str = "") -> tuple[bytes, Any]:
    """What a client gets of ``data``, cut at ``cuts``; and the stream it came through."""
    asked = chat(usage, answer=answer)
    writer = OpenAIWriter(asked, "req_1", 1)
    stream = KINDS["openai"].stream(asked, writer, "req_1", 1, Framing(), raw=False)
    out = b""
    edges = [0, *(cuts or []), len(data)]
    for start, end in itertools.pairwise(edges):
        out += stream.feed(data[start:end])
    out += stream.end()
    if stream.failure is not None:
        out += writer.fail(stream.failure)
    return out, stream


def check(data: bytes, *, usage: bool) -> dict[str, Any]:
    """Hold a stream to the grammar, and tell what it said. Fields beyond it are free."""
    told: dict[str, Any] = {
        "text": "",
        "thinking": "",
        "calls": [],
        "stop": None,
        "usage": None,
        "error": None,
    }
    same: tuple[Any, ...] | None = None
    role = ended = False
    for block in data.decode().split("\n\n")[:-1]:
        assert block.splitlines() == [block], block
        assert block.startswith("data: "), block
        assert not ended, f"after the end: {block}"
        if block == "data: [DONE]":
            assert told["stop"] is not None
            assert (told["usage"] is not None) == usage
            ended = True
            continue
        chunk = json.loads(block[6:])
        if "error" in chunk:
            told["error"] = chunk["error"]
            ended = True
            continue
        assert chunk["object"] == "chat.completion.chunk"
        identity = chunk["id"], chunk["created"], chunk["model"]
        assert same in (None, identity), (same, identity)
        same = identity
        if not chunk["choices"]:
            assert usage
            assert told["usage"] is None
            told["usage"] = chunk["usage"]
            continue
        assert chunk.get("usage") is None
        assert usage or "usage" not in chunk
        for choice in chunk["choices"]:
            if choice["index"]:
                continue
            delta = choice["delta"]
            assert ("role" in delta) == (not role), block
            role = True
            assert isinstance(delta.get("content", ""), str)
            told["text"] += delta.get("content", "")
            told["thinking"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
            for call in delta.get("tool_calls", ()):
                if call["index"] == len(told["calls"]):
                    assert call["type"] == "function"
                    assert call["id"]
                    told["calls"].append([call["function"].get("name", ""), call["function"]["arguments"]])
                else:
                    assert 0 <= call["index"] < len(told["calls"])
                    assert "id" not in call
                    assert "type" not in call
                    assert "name" not in call["function"]
                    told["calls"][call["index"]][1] += call["function"]["arguments"]
            assert "finish_reason" in choice
            if choice["finish_reason"] is not None:
                assert told["stop"] is None, "finished twice"
                assert choice["finish_reason"] in FINISHES
                told["stop"] = choice["finish_reason"]
    assert ended, "neither [DONE] nor an error"
    if told["error"] is None:
        assert (told["stop"] == "tool_calls") <= bool(told["calls"])
    return told


def chunk(**fields: Any) -> bytes:
    """One chunk as OpenAI writes it; ``delta`` and ``finish_reason`` go into its choice."""
    choice = {
        "index": 0,
        "delta": fields.pop("delta", {}),
        "finish_reason": fields.pop("finish_reason", None),
    }
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "gpt-4",
        "choices": [choice],
        **fields,
    }
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


ROLE = chunk(delta={"role": "assistant", "content": ""})
STOP = chunk(finish_reason="stop")
DONE = b"data: [DONE]\n\n"


class RecordedTests(SynchronousTestCase):
    """Every recorded stream of an OpenAI-compatible server."""

    def test_grammar_and_meaning(self) -> None:
        """The stream keeps to the grammar and says what the hub's translation of it says."""
        self.assertGreater(len(RECORDED), 40)
        for path in RECORDED:
            for usage in (True, False):
                with self.subTest(path=path.name, usage=usage):
                    passed = check(run(path.read_bytes(), usage=usage)[0], usage=usage)
                    hub = check(run(path.read_bytes(), usage=usage, answer="hub")[0], usage=usage)
                    for part in ("text", "stop", "error"):
                        self.assertEqual(passed[part], hub[part])
                    self.assertEqual(
                        [[name, json.loads(args or "{}")] for name, args in passed["calls"]],
                        [[name, json.loads(args)] for name, args in hub["calls"]],
                    )
                    if usage and passed["usage"]:
                        self.assertEqual(passed["usage"]["prompt_tokens"], hub["usage"]["prompt_tokens"])

    def test_splits(self) -> None:
        """However the bytes are cut, the same bytes come out."""
        chance = random.Random(5)
        for path in RECORDED:
            data = path.read_bytes()
            whole, _ = run(data, usage=True)
            if b"call_" in whole:
                continue  # ids of calls that came without one are random
            with self.subTest(path=path.name):
                for _ in range(3):
                    cuts = sorted(chance.sample(range(1, len(data)), min(40, len(data) - 1)))
                    self.assertEqual(run(data, usage=True, cuts=cuts)[0], whole)

    def test_openai_is_verbatim(self) -> None:
        """What OpenAI itself sends to a client that asked for usage is not changed by a byte,
        but for a null content beside a call."""
        for name in ("gpt-4o-mini-text.sse", "text-long.sse", "gpt-5-json-schema.sse"):
            data = (FIXTURES / "openai" / name).read_bytes()
            with self.subTest(name=name):
                self.assertEqual(run(data, usage=True)[0], data)

    def test_usage_not_asked_for(self) -> None:
        """A client that did not ask sees neither the usage chunk nor ``usage: null``."""
        data = (FIXTURES / "openai" / "gpt-4o-mini-text.sse").read_bytes()
        out, stream = run(data, usage=False)
        self.assertNotIn(b'"usage"', out)
        self.assertIsNone(check(out, usage=False)["usage"])
        self.assertFalse(stream.usage().estimated)

    def test_cut_anywhere(self) -> None:
        """A cut before the finish reason is a failure; after it the stream ends well."""
        data = (FIXTURES / "openai" / "gpt-4o-mini-tool-1.sse").read_bytes()
        finish = data.index(b'"finish_reason":"tool_calls"')
        for at in range(0, len(data), 7):
            out, stream = run(data[:at], usage=True)
            told = check(out, usage=True)
            if at < finish:
                self.assertIsInstance(stream.failure, UpstreamTruncated)
                self.assertIsNotNone(told["error"])
            elif at > finish + 200:
                self.assertIsNone(stream.failure)


class MendingTests(SynchronousTestCase):
    """Each deviation by itself."""

    def passed(self, *frames: bytes, usage: bool = False) -> dict[str, Any]:
        return check(run(b"".join(frames), usage=usage)[0], usage=usage)

    def test_unknown_fields_survive(self) -> None:
        """What nobody knows goes on, further choices included."""
        frame = chunk(delta={"content": "hi", "mood": "good"}, system_fingerprint="fp", logprobs=[1])
        out, _ = run(ROLE + frame + STOP + DONE, usage=False)
        self.assertIn(frame, out)

    def test_further_choices(self) -> None:
        """``n`` choices each keep their own grammar."""
        second = {"index": 1, "delta": {"role": "assistant", "content": "b"}, "finish_reason": None}
        frames = ROLE + chunk(delta={"content": "a"}) + chunk(choices=[second]) + STOP + DONE
        out, _ = run(frames, usage=False)
        chunks = [json.loads(block[6:]) for block in out.decode().split("\n\n")[:-2]]
        said = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == 1]
        self.assertEqual("".join(choice["delta"].get("content", "") for choice in said), "b")
        self.assertEqual([choice["finish_reason"] for choice in said], [None, "stop"])

    def test_repeated_role(self) -> None:
        told = self.passed(ROLE, chunk(delta={"role": "assistant", "content": "x"}), STOP, DONE)
        self.assertEqual(told["text"], "x")

    def test_missing_role(self) -> None:
        self.assertEqual(self.passed(chunk(delta={"content": "x"}), STOP, DONE)["text"], "x")

    def test_missing_done(self) -> None:
        self.assertEqual(self.passed(ROLE, chunk(delta={"content": "x"}), STOP)["stop"], "stop")

    def test_missing_finish(self) -> None:
        self.assertEqual(self.passed(ROLE, chunk(delta={"content": "x"}), DONE)["stop"], "stop")

    def test_repeated_finish(self) -> None:
        told = self.passed(ROLE, chunk(delta={"content": "x"}), STOP, STOP, chunk(), DONE)
        self.assertEqual(told["stop"], "stop")

    def test_stop_after_calls(self) -> None:
        """``stop`` beside a call that the client is to run becomes ``tool_calls``."""
        call = {"index": 1, "id": "c", "function": {"name": "f", "arguments": {"a": 1}}}
        told = self.passed(ROLE, chunk(delta={"tool_calls": [call]}), STOP, DONE)
        self.assertEqual(told["calls"], [["f", '{"a":1}']])
        self.assertEqual(told["stop"], "tool_calls")

    def test_usage_in_the_finish_chunk(self) -> None:
        """Usage moves into a chunk of its own for a client that asked."""
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        frames = ROLE, chunk(delta={"content": "x"}), chunk(finish_reason="stop", usage=usage), DONE
        self.assertEqual(self.passed(*frames, usage=True)["usage"]["completion_tokens"], 2)
        self.assertIsNone(self.passed(*frames)["usage"])

    def test_no_usage_told(self) -> None:
        """A client that asked gets an estimate, marked for the outcome."""
        out, stream = run(ROLE + chunk(delta={"content": "x" * 40}) + STOP + DONE, usage=True)
        self.assertEqual(check(out, usage=True)["usage"]["completion_tokens"], 10)
        self.assertTrue(stream.usage().estimated)

    def test_changing_ids(self) -> None:
        told = self.passed(
            ROLE, chunk(delta={"content": "x"}, id="chatcmpl-2", created=9, model="m"), STOP, DONE
        )
        self.assertEqual(told["text"], "x")

    def test_line_ends(self) -> None:
        """A line separator in a string is escaped: to some clients it would end the line."""
        frame = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"gpt-4",' + (
            '"choices":[{"index":0,"delta":{"content":"a\u2028b"},"finish_reason":null}]}\n\n'.encode()
        )
        self.assertEqual(self.passed(ROLE, frame, STOP, DONE)["text"], "a\u2028b")

    def test_not_utf8(self) -> None:
        """Bytes that are no UTF-8 are never passed on, wherever they stand."""
        frame = chunk(delta={"content": "x"}, junk="@").replace(b"@", b"\xff")
        _, stream = run(ROLE + frame, usage=False)
        self.assertIsInstance(stream.failure, UpstreamGarbled)

    def test_nothing_before_the_first_word(self) -> None:
        """A role alone is held back, so that another provider may still take over."""
        asked = chat(False)
        writer = OpenAIWriter(asked, "req_1", 1)
        stream = KINDS["openai"].stream(asked, writer, "req_1", 1, Framing(), raw=False)
        self.assertEqual(stream.feed(ROLE), b"")
        self.assertFalse(stream.begun)
        self.assertTrue(stream.feed(chunk(delta={"content": "x"})).startswith(ROLE))

    def test_raw(self) -> None:
        """``relay = "raw"`` mends nothing, and still sees the end."""
        asked = chat(False)
        writer = OpenAIWriter(asked, "req_1", 1)
        stream = KINDS["openai"].stream(asked, writer, "req_1", 1, Framing(), raw=True)
        frames = chunk(delta={"role": "assistant", "content": "a"}) * 2 + STOP + DONE
        self.assertIsInstance(stream, OpenAIPassthrough)
        self.assertEqual(stream.feed(frames), frames)
        self.assertTrue(stream.ended)


class WholeTests(SynchronousTestCase):
    """Whole answers, not streamed."""

    def test_verbatim(self) -> None:
        """A chat completion by the book goes on as it came, unknown fields and all."""
        kind = KINDS["openai"]
        for path in sorted((FIXTURES / "openai").glob("tool-choice-*.json")):
            if path.name.endswith(".request.json"):
                continue
            body = path.read_bytes()
            with self.subTest(path=path.name):
                self.assertEqual(kind.pass_reply(body, kind.parse_reply(body), chat(False), "req_1", 1), body)

    def test_mended(self) -> None:
        """A finish reason, usage or arguments that OpenAI would not send are put right."""
        kind = KINDS["openai"]
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        out = kind.pass_reply(body, kind.parse_reply(body), chat(False), "req_1", 1)
        assert out is not None
        value = json.loads(out)
        self.assertEqual(value["object"], "chat.completion")
        self.assertEqual(value["choices"][0]["finish_reason"], "tool_calls")
        self.assertEqual(value["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], '{"a":1}')
        self.assertIn("total_tokens", value["usage"])
