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

from .recordings import answering

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
    stream = KINDS["openai"](None).stream(answering(asked, kept=True), writer)
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
        stream = KINDS["openai"](None).stream(answering(asked, kept=True), writer)
        self.assertEqual(stream.feed(ROLE), b"")
        self.assertFalse(stream.begun)
        self.assertTrue(stream.feed(chunk(delta={"content": "x"})).startswith(ROLE))

    def test_raw_in_several_lines(self) -> None:
        """A frame of several lines is one line for the client, mended or not: the framing is ours."""
        asked = chat(True)
        data = b'data: {"choices":[{"delta":{"content":"x"},\ndata: "finish_reason":"stop"}]}\n\n' + DONE
        raw = answering(asked, kept=True, raw=True)
        stream = KINDS["openai"](None).stream(raw, OpenAIWriter(asked, "req_1", 1))
        expected = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n' + DONE
        self.assertEqual(stream.feed(data) + stream.end(), expected)

    def test_raw(self) -> None:
        """``relay = "raw"`` mends nothing, and still sees the end."""
        asked = chat(False)
        writer = OpenAIWriter(asked, "req_1", 1)
        stream = KINDS["openai"](None).stream(answering(asked, kept=True, raw=True), writer)
        frames = chunk(delta={"role": "assistant", "content": "a"}) * 2 + STOP + DONE
        self.assertIsInstance(stream, OpenAIPassthrough)
        self.assertEqual(stream.feed(frames), frames)
        self.assertTrue(stream.ended)

    def failed(self, *frames: bytes) -> Any:
        out, stream = run(b"".join(frames), usage=False)
        self.assertNotIn(b"[DONE]", out)
        return stream.failure

    def test_unreadable_unknown_fields(self) -> None:
        """A part that nobody reads, and nobody can, fails the stream and raises nothing."""
        for bad in (b"1e999", b"1" * 5000, b'"\xff"', b"[" * 100_000 + b"]" * 100_000):
            frame = chunk(delta={"content": "x"}, junk=7, id="other").replace(b'"junk":7', b'"junk":' + bad)
            with self.subTest(bad[:9]):
                self.assertIsInstance(
                    self.failed(ROLE, chunk(delta={"content": "a"}), frame), UpstreamGarbled
                )

    def test_failed_is_not_ended_well(self) -> None:
        """A stream that fails in its last chunk gets no [DONE]; one that had finished stays whole."""
        bad = chunk(delta={"content": "x"}, junk="@").replace(b"@", b"\xff")
        self.assertIsInstance(self.failed(ROLE, bad, DONE), UpstreamGarbled)
        out, stream = run(ROLE + chunk(delta={"content": "x"}) + STOP + bad + DONE, usage=False)
        self.assertEqual(check(out, usage=False)["stop"], "stop")
        self.assertIsInstance(stream.late_error, UpstreamGarbled)

    def test_custom_tools(self) -> None:
        """A custom tool's call goes on as it came."""
        first = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "run", "input": ""}}
        frames = [
            ROLE,
            chunk(delta={"tool_calls": [first]}),
            chunk(delta={"tool_calls": [{"index": 0, "custom": {"input": "ls"}}]}),
            chunk(finish_reason="tool_calls"),
            DONE,
        ]
        self.assertEqual(run(b"".join(frames), usage=False)[0], b"".join(frames))

    def test_unknown_fields_of_a_call(self) -> None:
        """A clean call is not written anew, and a mended one keeps what nobody knows."""
        first = {
            "index": 0,
            "id": "c",
            "type": "function",
            "function": {"name": "f", "arguments": ""},
            "x": 1,
        }
        frame = chunk(delta={"tool_calls": [first]})
        self.assertIn(frame, run(ROLE + frame + STOP + DONE, usage=False)[0])
        self.assertIn(
            b'"x":1', run(ROLE + frame.replace(b'"index":0,"id"', b'"id"') + STOP + DONE, usage=False)[0]
        )

    def test_name_after_arguments(self) -> None:
        """A call is shown once its name is known, with all that came before it."""
        pieces: list[dict[str, Any]] = [
            {"index": 0, "function": {"arguments": '{"x"'}},
            {"index": 0, "function": {"arguments": ":"}},
            {"index": 0, "id": "c", "function": {"name": "f", "arguments": "1"}},
            {"index": 0, "function": {"arguments": "}"}},
        ]
        told = self.passed(ROLE, *[chunk(delta={"tool_calls": [piece]}) for piece in pieces], STOP, DONE)
        self.assertEqual(told["calls"], [["f", '{"x":1}']])

    def test_call_without_arguments(self) -> None:
        """A call that came without arguments gets an empty object, which clients can parse, wherever
        its name came; one that the limit of tokens cut short does not become a call to run."""
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
        named = chunk(delta={"tool_calls": [call]})
        at_the_end = chunk(delta={"tool_calls": [call]}, finish_reason="tool_calls")
        nothing = chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": ""}}]})
        for frames in ((named, STOP), (named, nothing, STOP), (at_the_end,)):
            out, stream = run(ROLE + b"".join(frames) + DONE, usage=False)
            self.assertEqual(check(out, usage=False)["calls"], [["f", "{}"]])
            self.assertGreater(stream.mended, 0)
        cut = self.passed(ROLE, named, chunk(finish_reason="length"), DONE)
        self.assertEqual((cut["stop"], cut["calls"]), ("length", [["f", ""]]))

    def test_calls_under_one_index(self) -> None:
        """A second call under the first one's index gets the pieces that follow it, here as in the hub."""
        pieces: list[dict[str, Any]] = [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
            {"index": 0, "id": "b", "function": {"name": "g", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"y":2}'}},
        ]
        frames = ROLE + b"".join(chunk(delta={"tool_calls": [piece]}) for piece in pieces) + STOP + DONE
        for answer in ("", "hub"):
            told = check(run(frames, usage=False, answer=answer)[0], usage=False)
            self.assertEqual(told["calls"], [["f", "{}"], ["g", '{"y":2}']])

    def test_text_between_pieces(self) -> None:
        """Text between the pieces of a call goes on where it stands."""
        first = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": '}}
        rest = {"index": 0, "function": {"arguments": "1}"}}
        frames = [
            ROLE,
            chunk(delta={"tool_calls": [first]}),
            chunk(delta={"content": "hm"}),
            chunk(delta={"tool_calls": [rest]}),
            chunk(finish_reason="tool_calls"),
            DONE,
        ]
        self.assertEqual(run(b"".join(frames), usage=False)[0], b"".join(frames))

    def test_cut_in_a_further_choice(self) -> None:
        """An answer whose second choice was cut is cut, unless the server says that it is over."""
        second = chunk(choices=[{"index": 1, "delta": {"role": "assistant", "content": "half"}}])
        frames = ROLE, chunk(delta={"content": "x"}), second, STOP
        self.assertIsInstance(self.failed(*frames), UpstreamTruncated)
        self.assertEqual(self.passed(*frames, DONE)["stop"], "stop")

    def test_content_after_the_finish(self) -> None:
        """The finish is the last that a choice says, whatever the server says after it."""
        late = chunk(delta={"content": "y"})
        for finish in (STOP, chunk(delta={"content": "x"}, finish_reason="length")):
            out, _ = run(ROLE + chunk(delta={"content": "w"}) + finish + late + DONE, usage=False)
            chunks = [json.loads(block[6:]) for block in out.decode().split("\n\n")[:-2]]
            self.assertIsNotNone(chunks[-1]["choices"][0]["finish_reason"])
            self.assertEqual(chunks[-2]["choices"][0]["delta"], {"content": "y"})
            self.assertEqual(check(out, usage=False)["text"], "wy" if finish is STOP else "wxy")

    def test_call_after_the_finish(self) -> None:
        """A call that comes after ``stop`` makes it ``tool_calls``."""
        late = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        told = self.passed(
            ROLE, chunk(delta={"content": "x"}), STOP, chunk(delta={"tool_calls": [late]}), DONE
        )
        self.assertEqual((told["stop"], told["calls"]), ("tool_calls", [["f", "{}"]]))

    def test_little_is_held(self) -> None:
        """Before the first word one chunk is kept, however many come; too much of it is no answer."""
        asked = chat(False)
        stream = KINDS["openai"](None).stream(answering(asked, kept=True), OpenAIWriter(asked, "req_1", 1))
        for _ in range(100):
            self.assertEqual(stream.feed(ROLE), b"")
        self.assertEqual(stream.feed(chunk(delta={"content": "x"})), ROLE + chunk(delta={"content": "x"}))
        self.assertIsInstance(self.failed(*[chunk(delta={"odd": "x" * 4000})] * 300), UpstreamGarbled)

    def test_missing_index(self) -> None:
        """A choice without an index, or with one in words, gets it."""
        for odd in (b"", b'"index":null,', b'"index":"0",'):
            frame = chunk(delta={"content": "x"}).replace(b'"index":0,', odd)
            out, _ = run(ROLE + chunk(delta={"content": "x"}) + frame + STOP + DONE, usage=False)
            self.assertEqual(out.count(b'"index":0'), 4)

    def test_half_a_surrogate_pair(self) -> None:
        """Half a pair is U+FFFD, in what is read and in what is not."""
        half = chunk(delta={"content": "@"}).replace(b"@", b"\\ud83d")
        unread = chunk(delta={"content": "x"}, junk="@", id="other").replace(b"@", b"\\ud83d")
        out, _ = run(ROLE + chunk(delta={"content": "x"}) + half + unread + STOP + DONE, usage=False)
        self.assertEqual(check(out, usage=False)["text"], "x\ufffdx")
        self.assertNotIn(b"\\ud83d", out)

    def test_reasoning_is_verbatim(self) -> None:
        """Thinking goes on as it came, without a content beside it."""
        frame = chunk(delta={"reasoning_content": "hm", "odd": 1e2}).replace(b"100.0", b"1e2")
        out, _ = run(ROLE + chunk(delta={"content": "x"}) + frame + STOP + DONE, usage=False)
        self.assertIn(frame, out)


WHOLE = answering(chat(False), kept=True)


class WholeTests(SynchronousTestCase):
    """Whole answers, not streamed."""

    def test_verbatim(self) -> None:
        """A chat completion by the book goes on as it came, unknown fields and all."""
        kind = KINDS["openai"](None)
        for path in sorted((FIXTURES / "openai").glob("tool-choice-*.json")):
            if path.name.endswith(".request.json"):
                continue
            body = path.read_bytes()
            with self.subTest(path=path.name):
                self.assertEqual(kind.pass_reply(body, kind.parse_reply(body), WHOLE), body)

    def test_mended(self) -> None:
        """A finish reason, usage or arguments that OpenAI would not send are put right."""
        kind = KINDS["openai"](None)
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
        empty = {"id": "d", "type": "function", "function": {"name": "f", "arguments": ""}}
        message = {"role": "assistant", "content": None, "tool_calls": [call, empty]}
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        out = kind.pass_reply(body, kind.parse_reply(body), WHOLE)
        assert out is not None
        value = json.loads(out)
        self.assertEqual(value["object"], "chat.completion")
        self.assertEqual(value["choices"][0]["finish_reason"], "tool_calls")
        calls = value["choices"][0]["message"]["tool_calls"]
        self.assertEqual([call["function"]["arguments"] for call in calls], ['{"a":1}', "{}"])
        self.assertIn("total_tokens", value["usage"])

    def test_unreadable(self) -> None:
        """What cannot be read is refused, wherever it stands, and nothing else is raised."""
        kind = KINDS["openai"](None)
        body = next((FIXTURES / "openai").glob("tool-choice-*[!t].json")).read_bytes()
        body = json.dumps(json.loads(body) | {"fp": 7}).encode()
        reply = kind.parse_reply(body)
        for bad in (b'"\xff"', b"1e999", b"[" * 100_000 + b"]" * 100_000):
            with self.subTest(bad[:9]), self.assertRaises(UpstreamGarbled):
                kind.pass_reply(
                    body.replace(b'"fp": 7', b'"fp": ' + bad), reply, answering(chat(False), kept=True)
                )

    def test_calls_without_a_function(self) -> None:
        """Custom calls, and calls of further choices that have no function, are left alone."""
        kind = KINDS["openai"](None)
        custom = {"id": "c", "type": "custom", "custom": {"name": "run", "input": "ls"}}
        odd = {"id": "d", "type": "function", "function": None}
        choices = [
            {"index": index, "message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "stop"}
            for index, call in enumerate((custom, odd))
        ]
        body = json.dumps({"choices": choices}).encode()
        out = kind.pass_reply(body, kind.parse_reply(body), WHOLE)
        assert out is not None
        calls = [choice["message"]["tool_calls"] for choice in json.loads(out)["choices"]]
        self.assertEqual(calls, [[custom], [odd]])
