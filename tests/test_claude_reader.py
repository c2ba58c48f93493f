from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from aigateway.check import Answer, check_claude, check_openai
from aigateway.dialects import DIALECTS
from aigateway.dialects.claude import ClaudeWriter
from aigateway.dialects.claude.reader import ClaudeReader, parse_reply
from aigateway.errors import UpstreamBusy, UpstreamError, UpstreamGarbled, UpstreamTruncated
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
from aigateway.providers import KINDS
from aigateway.sse import Frame, SSEDecoder

from .grammar import check_events
from .made_up import answers
from .recordings import FINISHES, answering, ask

FIXTURES = Path(__file__).parent / "fixtures" / "anthropic"
STREAMS = sorted(FIXTURES.glob("*.sse"))
SHORT = 3000
"""Up to this size a recording is cut at every place."""
SPLITS = 200
MOST = 4_000_000
"""Bytes that the random splits of one recording may come to: large ones get fewer."""


def classify(body: bytes) -> UpstreamError:
    told = json.loads(body).get("error", {})
    if told.get("type") == "overloaded_error":
        return UpstreamBusy(told["message"], overloaded=True)
    return UpstreamGarbled(told.get("message", "no error"), code=told.get("code"))


def read(*pieces: bytes) -> list[Event]:
    """The events that a stream tells, which comes in these pieces."""
    decoder, reader = SSEDecoder(), ClaudeReader(classify, lambda: "toolu_made")
    events = [event for piece in pieces for frame in decoder.feed(piece) for event in reader.feed(frame)]
    for frame in decoder.close():
        events += reader.feed(frame)
    return events + reader.end()


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in itertools.pairwise([0, *places, len(data)])]


def plainly(data: bytes) -> dict[str, Any]:
    """What a recording tells, by a plain reading: every event through ``json.loads``, all pieces of
    the blocks that a client may see put together."""
    text, thinking, signatures, blocks = "", "", [], {}
    usage: dict[str, Any] = {}
    stop = None
    for block in data.decode().split("\n\n"):
        line = next((line for line in block.split("\n") if line.startswith("data: ")), None)
        if line is None:
            continue
        event = json.loads(line[6:])
        match event["type"]:
            case "message_start":
                usage |= event["message"]["usage"]
                stop = event["message"]["stop_reason"]
                for index, whole in enumerate(event["message"]["content"]):
                    blocks[index] = {**whole, "json": ""}
            case "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "json": ""}
                text += event["content_block"].get("text", "")
            case "content_block_delta":
                delta = event["delta"]
                text += delta.get("text", "")
                thinking += delta.get("thinking", "")
                signatures += [delta["signature"]] if "signature" in delta else []
                blocks[event["index"]]["json"] += delta.get("partial_json", "")
            case "message_delta":
                usage |= {name: value for name, value in event["usage"].items() if value is not None}
                stop = event["delta"]["stop_reason"]
    calls = [
        (block["name"], json.loads(block["json"]) if block["json"] else block["input"])
        for _, block in sorted(blocks.items())
        if block["type"] == "tool_use"
    ]
    cached = usage.get("cache_read_input_tokens") or 0
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return {
        "text": text,
        "thinking": thinking,
        "signatures": signatures,
        "calls": calls,
        "stop": stop,
        "usage": (usage["input_tokens"], cached, usage["output_tokens"], thought),
    }


FAULTY = {"x-error-mid-stream.sse", "x-spliced-message-start.sse"}


class RecordedTests(SynchronousTestCase):
    """Every recorded stream of Anthropic's."""

    def test_none_is_missing(self) -> None:
        """The recordings are all here: a folder that was moved fails, not passes."""
        self.assertEqual(len(STREAMS), 46)

    def test_grammar_and_meaning(self) -> None:
        """The events keep to their grammar and tell what the recording tells."""
        for path in STREAMS:
            events = read(path.read_bytes())
            with self.subTest(path.name):
                check_events(events)
                if path.name in FAULTY:
                    self.assertIsInstance(events[-1], Failed)
                    continue
                told, reply = plainly(path.read_bytes()), reply_of(events)
                content = reply.content
                thoughts = [block for block in content if isinstance(block, ThinkingBlock)]
                calls = [block for block in content if isinstance(block, ToolUseBlock)]
                self.assertEqual("".join(b.text for b in content if isinstance(b, TextBlock)), told["text"])
                self.assertEqual("".join(block.thinking for block in thoughts), told["thinking"])
                self.assertEqual([block.signature for block in thoughts], told["signatures"])
                self.assertEqual([(block.name, json.loads(block.input)) for block in calls], told["calls"])
                self.assertEqual(reply.stop_reason, told["stop"])
                usage = reply.usage
                assert usage is not None
                counts = (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens)
                self.assertEqual((*counts, usage.reasoning_tokens), told["usage"])

    def test_faults(self) -> None:
        """An error event is classified; a second answer inside the first is a fault."""
        (mid, spliced) = (read((FIXTURES / name).read_bytes()) for name in sorted(FAULTY))
        self.assertIsInstance(mid[-1].error, UpstreamBusy)  # type: ignore[union-attr]
        self.assertIn(TextDelta("Hel"), mid)
        self.assertIn("second answer", str(spliced[-1].error))  # type: ignore[union-attr]

    def test_one_byte_at_a_time(self) -> None:
        """A stream that comes byte by byte tells the same events."""
        for path in STREAMS:
            data = path.read_bytes()
            if len(data) < 40_000:
                pieces = [data[place : place + 1] for place in range(len(data))]
                self.assertEqual(told(read(*pieces)), told(read(data)), path.name)

    def test_every_split(self) -> None:
        """A short stream tells the same events wherever it is cut in two."""
        short = [path for path in STREAMS if path.stat().st_size <= SHORT]
        self.assertGreater(len(short), 15)
        for path in short:
            data = path.read_bytes()
            expected = told(read(data))
            for place in range(len(data)):
                if told(read(data[:place], data[place:])) != expected:
                    self.fail(f"{path.name}: cut at {place} it tells something else")

    def test_random_splits(self) -> None:
        """Two hundred ways of cutting a recording into pieces give the same events."""
        dice = random.Random(8088)
        for path in STREAMS:
            data = path.read_bytes()
            expected = told(read(data))
            for _ in range(max(min(SPLITS, MOST // len(data)), 5)):
                places = sorted(dice.sample(range(len(data)), dice.randint(1, 40)))
                if told(read(*cut_at(data, places))) != expected:
                    self.fail(f"{path.name}: another stream with the cuts {places}")

    def test_into_clients(self) -> None:
        """Translated for Claude and for OpenAI clients a stream keeps to their grammars and tells
        what the recording tells."""
        for path, dialect in itertools.product(STREAMS, ("claude", "openai")):
            with self.subTest(path.name, dialect=dialect):
                data, failure = self.translated(path.read_bytes(), dialect)
                self.assertEqual(failure is not None, path.name in FAULTY)
                answer = self.checked(dialect, data)
                if failure is not None:
                    self.assertIsNotNone(answer.error)
                    continue
                plain = plainly(path.read_bytes())
                calls = [(name, json.loads(text)) for _, name, text in answer.calls]
                self.assertEqual((answer.text, answer.thinking), (plain["text"], plain["thinking"]))
                self.assertEqual(calls, plain["calls"])
                stop = plain["stop"]
                wanted = stop if dialect == "claude" else {**FINISHES, "pause_turn": "stop"}[stop]
                self.assertEqual(answer.stop, wanted)

    def test_cut_at_every_byte(self) -> None:
        """Cut anywhere before its stop reason a stream ends in an error, and tells nothing that the
        whole one does not; cut anywhere after it, it is whole."""
        for name in ("refusal.sse", "text.sse", "json-tool-1.sse", "programmatic-tool-calling-1-turn2.sse"):
            data = (FIXTURES / name).read_bytes()
            whole = read(data)
            last = data.rindex(b'"stop_reason":"')
            line_end = data.index(b"\n", last)
            for place in range(len(data)):
                events = read(data[:place])
                where = f"{name} cut at {place}"
                if place < line_end:
                    failed = events[-1]
                    assert isinstance(failed, Failed), where
                    self.assertIsInstance(failed.error, UpstreamTruncated, where)
                    self.assertEqual(events[:-1], whole[: len(events) - 1], where)
                else:
                    self.assertEqual(events, whole, where)

    def translated(self, data: bytes, dialect: str) -> tuple[bytes, UpstreamError | None]:
        chat = ask(dialect)
        writer = DIALECTS[dialect].writer(chat, "req_1", 1700000000)
        stream = KINDS["anthropic"](None).stream(answering(chat), writer)
        out = stream.feed(data) + stream.end()
        return (out if stream.failure is None else out + writer.fail(stream.failure)), stream.failure

    def checked(self, dialect: str, data: bytes) -> Answer:
        return check_claude(data) if dialect == "claude" else check_openai(data, include_usage=True)


def told(events: list[Event]) -> list[object]:
    """``events``, with a failure as what it says: errors are never equal."""
    return [
        (type(event.error), event.error.message) if isinstance(event, Failed) else event for event in events
    ]


def frame(type: str, **fields: Any) -> bytes:
    data = json.dumps({"type": type, **fields}, separators=(",", ":"))
    return f"event: {type}\ndata: {data}\n\n".encode()


def start(**fields: Any) -> bytes:
    message: dict[str, object] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }
    return frame("message_start", message=message | fields)


def block(type: str, index: int = 0, **fields: Any) -> bytes:
    return frame("content_block_start", index=index, content_block={"type": type, **fields})


def delta(type: str, index: int = 0, **fields: Any) -> bytes:
    return frame("content_block_delta", index=index, delta={"type": f"{type}_delta", **fields})


def stop(index: int = 0) -> bytes:
    return frame("content_block_stop", index=index)


def end(reason: str | None = "end_turn", sequence: str | None = None, **usage: Any) -> bytes:
    return frame(
        "message_delta",
        delta={"stop_reason": reason, "stop_sequence": sequence},
        usage=usage or {"output_tokens": 9},
    )


TEXT = block("text", text="") + delta("text", text="Hi") + stop()
CALL = block("tool_use", id="toolu_1", name="look", input={})
STOP = frame("message_stop")
STARTED = Started("msg_1", "claude-x", Usage(5, 1))


class LeniencyTests(SynchronousTestCase):
    """What a stream may hold besides what Anthropic documents, and what it must not."""

    def finished(self, *pieces: bytes) -> list[Event]:
        events = read(start(), *pieces)
        check_events(events)
        self.assertIsInstance(events[-1], Finished)
        return events

    def failure(self, *pieces: bytes) -> UpstreamError:
        failed = read(*pieces)[-1]
        assert isinstance(failed, Failed)
        return failed.error

    def test_unknown_events_and_blocks(self) -> None:
        """Events, blocks and deltas of unknown types are passed over, whatever is in them."""
        unknown = frame("weather", text={"sun": 1}) + block("hologram", text=[1], name=7) + stop()
        odd = delta("hologram", text={"a": 1})
        events = self.finished(unknown, TEXT[:-2], b"\n\n", odd, end(), STOP)
        self.assertEqual(
            events,
            [
                STARTED,
                BlockStarted("text"),
                TextDelta("Hi"),
                BlockEnded(),
                UsageReported(Usage(5, 9)),
                Finished("end_turn"),
            ],
        )

    def test_server_tools_are_no_calls(self) -> None:
        """Tools that the server runs, their input and their results are told to nobody."""
        used = (
            block("server_tool_use", id="srv_1", name="web_search", input={})
            + delta("input_json", partial_json='{"q":1}')
            + stop()
            + block("web_search_tool_result", 1, tool_use_id="srv_1", content=[{"type": "x", "text": 1}])
            + stop(1)
            + block("mcp_tool_use", 2, id="mcp_1", name="m", input={"a": 1})
            + stop(2)
        )
        self.assertEqual(reply_of(self.finished(used, end("tool_use"), STOP)).content, ())
        self.assertEqual(self.finished(used, end("tool_use"), STOP)[-1], Finished("end_turn"))

    def test_input_with_the_start(self) -> None:
        """A call whose input comes whole with its start has that input; pieces win over it."""
        given = block("tool_use", id="toolu_1", name="look", input={"at": 1.50})
        whole = reply_of(self.finished(given, stop(), end("tool_use"), STOP))
        self.assertEqual(whole.content, (ToolUseBlock("toolu_1", "look", '{"at":1.5}'),))
        pieces = delta("input_json", partial_json='{"at":') + delta("input_json", partial_json="2}")
        both = reply_of(self.finished(given, pieces, stop(), end("tool_use"), STOP))
        self.assertEqual(both.content, (ToolUseBlock("toolu_1", "look", '{"at":2}'),))

    def test_calls_without_an_id(self) -> None:
        """A call without an id of its own gets one; one without a name is a fault."""
        twice = CALL + stop() + block("tool_use", 1, id="toolu_1", name="look", input={}) + stop(1)
        content = reply_of(self.finished(twice, end("tool_use"), STOP)).content
        self.assertEqual([b.id for b in content if isinstance(b, ToolUseBlock)], ["toolu_1", "toolu_made"])
        nameless = block("tool_use", id="toolu_1", input={})
        self.assertIn("without a name", str(self.failure(start(), nameless)))

    def test_empty_blocks(self) -> None:
        """A text without a character and thinking without anything open no block; thinking that has
        only a signature does."""
        empty = block("text", text="") + delta("text", text="") + stop()
        blank = block("thinking", 1, thinking="", signature="") + stop(1)
        signed = block("thinking", 2, thinking="") + delta("signature", 2, signature="abc") + stop(2)
        events = self.finished(empty, blank, signed, end(), STOP)
        self.assertEqual(events[1:4], [BlockStarted("thinking"), SignatureDelta("abc"), BlockEnded()])

    def test_blocks_left_open(self) -> None:
        """A block ends where the next one begins, and where the answer does."""
        call = CALL.replace(b'"index":0', b'"index":1')
        events = self.finished(TEXT[: TEXT.rindex(b"event:")], call, end("tool_use"), STOP)
        self.assertEqual([type(event) for event in events].count(BlockEnded), 2)

    def test_wrong_counting(self) -> None:
        """Wrong indices harm nothing; pieces of two blocks in turn do."""
        off = block("text", 3, text="") + delta("text", 7, text="Hi") + stop(9)
        self.assertEqual(reply_of(self.finished(off, end(), STOP)).content, (TextBlock("Hi"),))
        first = CALL + delta("input_json", partial_json='{"a":')
        second = block("tool_use", 1, id="toolu_2", name="look", input={})
        mixed = (start(), first, second, delta("input_json", partial_json="1}"))
        self.assertIn("two blocks in turn", str(self.failure(*mixed)))
        self.assertEqual(len(reply_of(self.finished(first, second, stop(), stop(1), end())).content), 2)

    def test_missing_starts(self) -> None:
        """Text without the start of its block is text; a call's input without one is a fault."""
        self.assertEqual(
            reply_of(self.finished(delta("text", text="Hi"), end(), STOP)).stop_reason, "end_turn"
        )
        orphan = delta("input_json", partial_json="{}")
        self.assertIn("outside a call", str(self.failure(start(), orphan)))

    def test_another_kind_in_the_block(self) -> None:
        """A server that thinks in a block of text, or begins one without saying of what kind, is
        understood by its deltas."""
        thought, said = delta("thinking", thinking="Hm"), delta("text", text="Hi")
        for opened in (block("text", text=""), frame("content_block_start", index=0, content_block={})):
            self.assertEqual(
                self.finished(opened, thought, said, stop(), end(), STOP)[1:-2],
                [
                    *(BlockStarted("thinking"), ThinkingDelta("Hm"), BlockEnded()),
                    *(BlockStarted("text"), TextDelta("Hi"), BlockEnded()),
                ],
            )

    def test_signature_last(self) -> None:
        """A thought's signature is told once, last in its block, wherever it stands there."""
        opened = block("thinking", thinking="", signature="early")
        sign = delta("signature", signature="S")
        events = self.finished(opened, sign, delta("thinking", thinking="Hm"), stop(), end(), STOP)
        self.assertEqual(
            events[1:5],
            [BlockStarted("thinking"), ThinkingDelta("Hm"), SignatureDelta("S"), BlockEnded()],
        )

    def test_repeated_start(self) -> None:
        """A message_start that is repeated is passed over, also behind the first block if it is the same."""
        again = self.finished(start(), TEXT, start(), end(), STOP)
        self.assertEqual(reply_of(again).content, (TextBlock("Hi"),))
        self.assertIn("second answer", str(self.failure(start(), TEXT, start(id="msg_2"))))

    def test_stop_reasons(self) -> None:
        """Compaction stops short; what is unknown, or says tool_use without a call, ends the turn, or
        its calls; a stop sequence is told with its words."""
        for reason, expected in (("compaction", "max_tokens"), ("new", "end_turn"), ("tool_use", "end_turn")):
            self.assertEqual(self.finished(TEXT, end(reason), STOP)[-1], Finished(expected))
        self.assertEqual(self.finished(CALL, stop(), end("end_turn"), STOP)[-1], Finished("tool_use"))
        self.assertEqual(self.finished(TEXT, end("stop_sequence", "X"))[-1], Finished("stop_sequence", "X"))
        self.assertEqual(self.finished(TEXT, end("stop_sequence"), STOP)[-1], Finished("end_turn"))

    def test_ends(self) -> None:
        """A stop reason makes an answer whole without message_stop, and message_stop without a stop
        reason; neither is a cut. What is wrong after the stop reason is noted and not told."""
        self.assertEqual(self.finished(TEXT, end())[-1], Finished("end_turn"))
        self.assertEqual(self.finished(TEXT, STOP)[-1], Finished("end_turn"))
        self.assertIsInstance(self.failure(start(), TEXT), UpstreamTruncated)
        self.assertIsInstance(self.failure(), UpstreamTruncated)
        reader = ClaudeReader(classify)
        late = frame("error", error={"type": "overloaded_error", "message": "Overloaded"})
        frames = SSEDecoder().feed(start() + TEXT + end() + late)
        events = [event for one in frames for event in reader.feed(one)]
        self.assertEqual(events[-1], Finished("end_turn"))
        self.assertIsInstance(reader.late_error, UpstreamBusy)
        self.assertEqual((reader.feed(frames[0]), reader.end()), ([], []))

    def test_errors(self) -> None:
        """An error is one by its type or by its event's name; content that is filtered in
        mid-answer is a refusal."""
        body = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
        for data in (frame("error", **body), b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"):
            self.assertIsInstance(self.failure(start(), data), UpstreamBusy)
        filtered = frame("error", error={"message": "unsafe", "code": "content_filter"})
        events = read(start(), TEXT, filtered)
        self.assertEqual(events[-1], Finished("refusal"))
        self.assertEqual(self.failure(start(), filtered).code, "content_filter")

    def test_garbage(self) -> None:
        """What is no JSON, or a known event of the wrong types, is a fault; blank data and [DONE] are
        passed over."""
        wrong = (b"data: {oops\n\n", delta("text", text=1))
        for data in (*wrong, b"data: 1\n\n", start(id="x", content="text")):
            self.assertIsInstance(self.failure(data), UpstreamGarbled)
        self.finished(b"data: \n\n", b"data: [DONE]\n\n", TEXT, end(), b"data: [DONE]\n\n")

    def test_types_by_the_event_line(self) -> None:
        """An event whose JSON has no type is of the type that its event line names."""
        untyped = b"".join(
            one.replace(b'"type":"%s",' % name, b"", 1)
            for one, name in ((TEXT, b"content_block_start"), (end(), b"message_delta"))
        )
        self.assertEqual(reply_of(self.finished(untyped, STOP)).content, (TextBlock("Hi"),))

    def test_usage(self) -> None:
        """The newest count of each kind wins; null and what is no count change nothing; a prompt of
        no tokens is one that has not been counted."""
        uncounted = start(usage={"input_tokens": 0, "output_tokens": 0})
        self.assertIsNone(read(uncounted, TEXT, end(), STOP)[0].usage)  # type: ignore[union-attr]
        told = start(usage={"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 1})
        last = end(
            input_tokens=6,
            cache_read_input_tokens=None,
            cache_creation_input_tokens=3,
            output_tokens=20,
            output_tokens_details={"thinking_tokens": 12},
        )
        usage = Usage(6, 20, 7, 3, 12)
        self.assertEqual(reply_of(read(told, TEXT, last, STOP)).usage, usage)
        odd = end(input_tokens=-1, output_tokens="many")
        self.assertEqual(reply_of(read(told, TEXT, odd, STOP)).usage, Usage(5, 1, 7))
        self.assertIsNone(reply_of(read(start(usage=None), TEXT, frame("message_stop"))).usage)

    def test_half_a_surrogate(self) -> None:
        """Half of a surrogate pair is read as a replacement character; the rest of the event is sound."""
        half = delta("text", text="X").replace(b"X", b"a\\ud83d")
        reply = reply_of(self.finished(block("text", text=""), half, stop(), end(), STOP))
        self.assertEqual(reply.content, (TextBlock("a\ufffd"),))


class MadeUpTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(answers())
    def test_writer_and_reader(self, events: list[Event]) -> None:
        """What the writer writes of an answer the reader reads as the same answer."""
        chat = ask("claude")
        writer = ClaudeWriter(chat, "req_1", 1)
        reader = ClaudeReader(classify)
        frames = SSEDecoder().feed(writer.write(events))
        found = [event for one in frames for event in reader.feed(one)] + reader.end()
        check_events(found)
        self.assertEqual(isinstance(found[-1], Finished), isinstance(events[-1], Finished))
        if isinstance(events[-1], Finished):
            self.assertEqual(reply_of(found).content, reply_of(as_written(events)).content)
            self.assertEqual(found[-1].stop_reason, events[-1].stop_reason)  # type: ignore[union-attr]


def as_written(events: list[Event]) -> list[Event]:
    """``events`` without what no Claude stream can tell: halves of surrogate pairs, and signatures of
    visible text."""
    written: list[Event] = []
    for event in events:
        if isinstance(event, BlockStarted):
            inside = event.type
        if isinstance(event, SignatureDelta) and inside != "thinking":
            continue
        if isinstance(
            event, Started | BlockStarted | TextDelta | ThinkingDelta | SignatureDelta | InputDelta
        ):
            words = {
                name: value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                for name, value in msgspec.structs.asdict(event).items()
                if isinstance(value, str)
            }
            event = msgspec.structs.replace(event, **words)
        written.append(event)
    return written


class WholeTests(SynchronousTestCase):
    """Whole answers."""

    def test_recorded(self) -> None:
        """Every recorded whole answer tells its texts, calls, stop reason and usage."""
        paths = [
            path
            for path in sorted(FIXTURES.glob("*.json"))
            if not path.name.startswith("error") and not path.name.endswith(".request.json")
        ]
        self.assertEqual(len(paths), 9)
        for path in paths:
            value = json.loads(path.read_bytes())
            with self.subTest(path.name):
                reply = parse_reply(path.read_bytes(), classify)
                texts = [part["text"] for part in value["content"] if part["type"] == "text"]
                calls = [
                    (part["id"], part["input"]) for part in value["content"] if part["type"] == "tool_use"
                ]
                self.assertEqual([b.text for b in reply.content if isinstance(b, TextBlock)], texts)
                made = [(b.id, json.loads(b.input)) for b in reply.content if isinstance(b, ToolUseBlock)]
                self.assertEqual(made, calls)
                self.assertEqual((reply.id, reply.model), (value["id"], value["model"]))
                self.assertEqual(reply.stop_reason, value["stop_reason"])
                assert reply.usage is not None
                self.assertEqual(reply.usage.input_tokens, value["usage"]["input_tokens"])
                self.assertEqual(reply.usage.cache_read_tokens, value["usage"]["cache_read_input_tokens"])

    def test_what_is_none(self) -> None:
        """An error with HTTP 200 is that error; what is no message is garbled."""
        error = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "O"}}).encode()
        self.assertRaises(UpstreamBusy, parse_reply, error, classify)
        for body in (b"<html>", b"[]", b"{", b'{"type":"message","content":"text"}', b"{}"):
            self.assertRaises(UpstreamGarbled, parse_reply, body, classify)

    def test_frames_by_hand(self) -> None:
        """``step`` is the event that was read, None for what is none."""
        reader = ClaudeReader(classify)
        reader.feed(Frame(b'{"type":"ping"}', b"ping"))
        assert reader.step is not None
        self.assertEqual(reader.step.type, "ping")
        reader.feed(Frame(b"", b""))
        self.assertIsNone(reader.step)
