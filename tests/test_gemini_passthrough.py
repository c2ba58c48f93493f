"""Gemini to Gemini: byte for byte up and down, mended where the grammar is broken."""

from __future__ import annotations

import itertools
import json
import random
import unittest
from pathlib import Path
from typing import Any

import msgspec

from aigateway.check import Answer, check_gemini
from aigateway.dialects.base import Rendered
from aigateway.dialects.gemini import parse_count_request, parse_request
from aigateway.dialects.gemini.contents import SKIP_SIGNATURE
from aigateway.dialects.gemini.passthrough import GeminiPassthrough
from aigateway.dialects.gemini.writer import GeminiWriter
from aigateway.errors import UpstreamGarbled, UpstreamTruncated
from aigateway.events import ChatRequest, ThinkingBlock, Thought, ToolUseBlock
from aigateway.providers.antigravity import Antigravity
from aigateway.providers.base import Credential, UpstreamRequest
from aigateway.providers.gemini import Gemini
from aigateway.providers.google import Google
from aigateway.secret import Secret
from aigateway.signatures import call_key
from aigateway.sse import SSEDecoder
from aigateway.translate import Answering, Translator

from .recordings import FIXTURES, plainly, streams

CREDENTIAL = Credential(Secret("a-key"), "a-project")
BARE = streams("gemini")
WRAPPED = [path for path in streams("antigravity") if b'"claude-' not in path.read_bytes()]
PIECES = "vertex-partial"
BODY = b'{"contents": [{"parts": [{"text": "hi"}]}], "frobnicate":[1.0] }'
CLAUDES = (
    "EqQBCkYIBxABGAIqQDExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTESDDEyMzQ="
)
IN_PIECES = b'{"contents":"x","toolConfig":{"functionCallingConfig":{"streamFunctionCallArguments":true}}}'


class Passed:
    """A provider's stream, in pieces, as a Gemini client gets it."""

    def __init__(
        self,
        pieces: list[bytes],
        kind: Google | None = None,
        *,
        raw: bool = False,
        array: bool = False,
        body: bytes = BODY,
    ) -> None:
        chat = parse_request(body, "gemini-3-pro", stream=True, json_array=array)
        self.writer = GeminiWriter(chat, "req_1", 1700000000)
        rendered = Rendered(body, kept=True)
        answering = Answering(chat, rendered, "req_1", 1700000000, raw=raw, family="gemini")
        stream = (kind or Gemini()).stream(answering, self.writer)
        assert isinstance(stream, GeminiPassthrough)
        self.stream = stream
        self.parts = [stream.feed(piece) for piece in pieces] + [stream.end()]
        self.data = b"".join(self.parts)

    @property
    def shown(self) -> bytes:
        failure = self.stream.failure
        return self.data + self.writer.fail(failure) if failure is not None and self.data else self.data

    def answer(self) -> Answer:
        return check_gemini(self.shown, lenient=True)


def passed(*chunks: object, **options: Any) -> Passed:
    return Passed([b"".join(b"data: %b\r\n\r\n" % json.dumps(chunk).encode() for chunk in chunks)], **options)


def chunk(text: str = "Hi", finish: str = "", index: int = 0, **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": index}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **fields}


def chunks_of(data: bytes) -> list[bytes]:
    """The data of the frames in a stream, none of which is anything else."""
    decoder = SSEDecoder()
    return [frame.data for frame in decoder.feed(data) + decoder.close()]


class Recorded(unittest.TestCase):
    """Every recorded stream of Gemini's models."""

    def expected(self, path: Path) -> list[bytes]:
        chunks = chunks_of(path.read_bytes())
        if path.parent.name == "gemini":
            return chunks
        return [
            bytes(msgspec.json.decode(chunk, type=dict[str, msgspec.Raw])["response"]) for chunk in chunks
        ]

    def passed(self, path: Path, pieces: list[bytes], *, array: bool = False) -> Passed:
        kind = Gemini() if path.parent.name == "gemini" else Antigravity()
        return Passed(pieces, kind, array=array)

    def whole_ones(self) -> list[Path]:
        """Those that end well; ``x-empty-candidate`` is the one that has nothing in its content."""
        found = [path for path in BARE + WRAPPED if not plainly(path).failed and PIECES not in path.name]
        self.assertGreater(len(found), 50)
        return found

    def test_byte_for_byte(self) -> None:
        """Each chunk goes on as it came, out of its envelope; nothing is mended, no unknown field lost."""
        for path in self.whole_ones():
            with self.subTest(f"{path.parent.name}/{path.name}"):
                one = self.passed(path, [path.read_bytes()])
                self.assertIsNone(one.stream.failure)
                self.assertEqual(chunks_of(one.data), self.expected(path))
                self.assertEqual(one.data, b"".join(b"data: %b\n\n" % chunk for chunk in self.expected(path)))
                self.assertEqual(one.stream.mended, 0)

    def test_pieces(self) -> None:
        """However a recording is cut, the client gets the same bytes, in whole chunks."""
        dice = random.Random(8088)
        for path in self.whole_ones():
            data = path.read_bytes()
            expected = self.passed(path, [data]).data
            ways = [[data[place : place + 1] for place in range(len(data))]] if len(data) < 10_000 else []
            for _ in range(5):
                cuts = sorted(dice.sample(range(len(data)), min(dice.randint(1, 40), len(data))))
                ways.append([data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])])
            for pieces in ways:
                one = self.passed(path, pieces)
                if one.data != expected:
                    self.fail(f"{path.name}: another stream in {len(pieces)} pieces")
                self.assertTrue(all(not part or part.endswith(b"\n\n") for part in one.parts))

    def test_array(self) -> None:
        """A client that wants an array gets the same chunks as its elements."""
        for path in self.whole_ones():
            with self.subTest(f"{path.parent.name}/{path.name}"):
                one = self.passed(path, [path.read_bytes()], array=True)
                self.assertEqual(json.loads(one.data), [json.loads(chunk) for chunk in self.expected(path)])

    def test_what_is_told(self) -> None:
        """The gateway reads along: end, counts and failures are those of the recording."""
        for path in BARE + WRAPPED:
            with self.subTest(f"{path.parent.name}/{path.name}"):
                one, told = self.passed(path, [path.read_bytes()]), plainly(path)
                self.assertEqual(one.stream.failure is not None, told.failed)
                self.assertTrue(one.stream.ended)
                if told.failed:
                    continue
                self.assertEqual(one.stream.stop_reason, told.stop)
                if told.usage is not None:
                    usage = one.stream.usage()
                    counts = (
                        usage.input_tokens,
                        usage.cache_read_tokens,
                        usage.output_tokens,
                        usage.reasoning_tokens,
                    )
                    self.assertEqual(counts, told.usage)

    def test_same_as_by_the_hub(self) -> None:
        """What is remembered of a conversation is what a translated stream remembers, but for the ids
        of calls that have none."""
        for path in self.whole_ones():
            with self.subTest(f"{path.parent.name}/{path.name}"):
                one = self.passed(path, [path.read_bytes()])
                chat = parse_request(BODY, "gemini-3-pro")
                answering = Answering(chat, Rendered(b""), "req_1", 1, family="gemini")
                kind = Gemini()
                hub = Translator(answering, kind.reader(), GeminiWriter(chat, "1", 1), kind.parse_reply)
                hub.feed(path.read_bytes())
                hub.end()
                self.assertEqual(list(one.stream.signed.values()), list(hub.signed.values()))

    def test_cut_at_every_byte(self) -> None:
        """Cut before its finish reason a stream fails as cut, and what was told until then is the
        beginning of the whole; an end is never made up."""
        for folder, name in (
            ("gemini", "3pro-text"),
            ("gemini", "25pro-thinking-tool"),
            ("antigravity", "wrapped-3pro-tool"),
        ):
            path = FIXTURES / folder / f"{name}.sse"
            data = path.read_bytes()
            whole, whole_at = self.passed(path, [data]).data, plainly(path).whole_at
            for place in range(0, len(data), 3):
                one = self.passed(path, [data[:place]])
                self.assertTrue(whole.startswith(one.data), place)
                if place < whole_at:
                    self.assertIsInstance(one.stream.failure, UpstreamTruncated, place)
                    if one.data:
                        answer = one.answer()
                        self.assertIsNotNone(answer.error)
                        self.assertIsNone(answer.stop)
                else:
                    self.assertIsNone(one.stream.failure, place)

    def test_calls_in_pieces(self) -> None:
        """A client that asked for calls in pieces gets them as they come; any other gets an error."""
        for name in ("vertex-partial-args", "vertex-partial-nested", "vertex-partial-array-no-terminal"):
            with self.subTest(name):
                data = (FIXTURES / f"gemini/{name}.sse").read_bytes()
                one = Passed([data], body=IN_PIECES)
                self.assertIsNone(one.stream.failure)
                self.assertEqual(chunks_of(one.data), chunks_of(data))
                self.assertEqual(one.stream.stop_reason, "tool_use")
                self.assertIsInstance(Passed([data]).stream.failure, UpstreamGarbled)


class Mended(unittest.TestCase):
    def test_number_beyond_all_range(self) -> None:
        """A chunk that has to be mended and cannot be read as a whole is none."""
        chunk = b'{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","x":1e999}]}'
        self.assertIsInstance(Passed([b"data: %b\n\n" % chunk]).stream.failure, UpstreamGarbled)

    def test_missing_role(self) -> None:
        """A content without its role is given it, and nothing else is changed."""
        bare = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "x": 1}], "y": 2}
        one = passed(bare, chunk("", "STOP"))
        first, last = (json.loads(data) for data in chunks_of(one.data))
        bare["candidates"][0]["content"]["role"] = "model"  # type: ignore[index]
        self.assertEqual((first, last), (bare, chunk("", "STOP")))
        self.assertEqual(one.stream.mended, 1)

    def test_raw(self) -> None:
        """Where nothing is to be mended nothing is."""
        bare = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
        one = passed(bare, raw=True)
        self.assertEqual((json.loads(chunks_of(one.data)[0]), one.stream.mended), (bare, 0))

    def test_what_is_no_chunk(self) -> None:
        """An end marker that only relays send is left out."""
        data = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk("Hi", "STOP")).encode()
        one = Passed([data])
        self.assertEqual(len(chunks_of(one.data)), 1)
        self.assertEqual((one.stream.mended, one.stream.failure), (1, None))

    def test_framing_is_ours(self) -> None:
        """JSON over several lines, and line ends in its strings, come in one line."""
        text = json.dumps(chunk("a\u2028b", "STOP"), indent=1, ensure_ascii=False)
        data = "event: x\n" + "".join(f"data: {line}\n" for line in text.split("\n")) + "\n"
        one = Passed([data.encode()])
        self.assertEqual(len(one.data.decode().splitlines()), 2)
        self.assertEqual(one.answer().text, "a\u2028b")

    def test_envelope_with_nothing_in_it(self) -> None:
        """What Antigravity says beside an answer is nothing for its clients."""
        wrapped = {"response": chunk("Hi", "STOP"), "traceId": "t", "remainingCredits": []}
        one = passed({"traceId": "t", "consumedCredits": []}, wrapped, {"metadata": {}}, kind=Antigravity())
        self.assertEqual([json.loads(data) for data in chunks_of(one.data)], [chunk("Hi", "STOP")])
        self.assertEqual(one.stream.mended, 0)


class Ends(unittest.TestCase):
    def test_nothing_before_the_first_word(self) -> None:
        """Chunks that say nothing wait for one that does: until then another provider may answer."""
        one = passed({"usageMetadata": {"promptTokenCount": 3}}, {"error": {"code": 503, "message": "busy"}})
        self.assertEqual((one.data, one.stream.begun), (b"", False))
        self.assertIsNotNone(one.stream.failure)
        held = passed(chunk(""), chunk("Hi", "STOP"))
        self.assertEqual(len(chunks_of(held.data)), 2)

    def test_error_after_the_answer(self) -> None:
        """An error after the finish reason is not shown."""
        for array in (False, True):
            one = passed(chunk("Hi", "STOP"), {"error": {"code": 500, "message": "late"}}, array=array)
            self.assertEqual(one.answer().text, "Hi")
            self.assertIsNone(one.stream.failure)
            self.assertIsNotNone(one.stream.late_error)

    def test_error_in_the_answer(self) -> None:
        """An error before it ends the stream, whatever came with it in one read."""
        one = passed(chunk("Hi"), {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}})
        self.assertEqual(one.answer().text, "Hi")
        self.assertEqual((one.answer().error or {})["code"], 503)

    def test_no_answer_for_the_prompt(self) -> None:
        """A blocked prompt is an answer, and told as it came."""
        feedback = {"promptFeedback": {"blockReason": "SAFETY", "x": 1}}
        one = passed(feedback)
        self.assertEqual([json.loads(data) for data in chunks_of(one.data)], [feedback])
        self.assertEqual(one.stream.stop_reason, "refusal")

    def test_all_candidates(self) -> None:
        """Further candidates go on, too, and the stream is whole when all have finished."""
        both = [chunk("a"), chunk("b", index=1), chunk("", "STOP")]
        self.assertIsInstance(passed(*both).stream.failure, UpstreamTruncated)
        one = passed(*both, chunk("", "STOP", index=1))
        self.assertIsNone(one.stream.failure)
        self.assertEqual(len(chunks_of(one.data)), 4)

    def test_no_utf8(self) -> None:
        """Bytes that are no UTF-8 are never passed on."""
        data = (
            json.dumps(chunk("Hi", "STOP"))
            .encode()
            .replace(b'"role": "model"', b'"role": "model", "x": "\xff"')
        )
        one = Passed([b"data: %b\n\n" % data])
        self.assertEqual((one.data, type(one.stream.failure)), (b"", UpstreamGarbled))

    def test_no_stream(self) -> None:
        """A whole answer where a stream was asked for is told as one."""
        one = Passed([json.dumps(chunk("Hi", "STOP")).encode()])
        self.assertEqual((one.answer().text, one.answer().stop), ("Hi", "STOP"))


class Whole(unittest.TestCase):
    def passed(
        self, body: bytes, kind: Google | None = None, *, raw: bool = False, kept: bool = True
    ) -> bytes | None:
        kind = kind or Gemini()
        chat = parse_request(BODY, "gemini-3-pro")
        answering = Answering(chat, Rendered(BODY, kept=kept), "req_1", 1, raw=raw)
        return kind.pass_reply(body, kind.parse_reply(body), answering)

    def test_byte_for_byte(self) -> None:
        """A whole answer goes on as it came, out of its envelope."""
        found = sorted((FIXTURES / "gemini").glob("*.json"))
        answers = [path for path in found if "error" not in path.name and "request" not in path.name]
        self.assertGreater(len(answers), 5)
        for path in answers:
            body = path.read_bytes()
            self.assertEqual(self.passed(body), body.strip())
            self.assertEqual(
                self.passed(b'{"response":%b,"traceId":"t"}' % body, Antigravity()), body.strip()
            )

    def test_mended(self) -> None:
        """A role that is missing is put in, and counts where there are none."""
        body = json.dumps(
            {"candidates": [{"content": {"parts": [{"text": "x" * 8}]}, "finishReason": "STOP"}], "x": 1}
        )
        answer = json.loads(self.passed(body.encode()) or b"")
        self.assertEqual(answer["candidates"][0]["content"]["role"], "model")
        self.assertEqual((answer["usageMetadata"]["candidatesTokenCount"], answer["x"]), (2, 1))
        self.assertEqual(self.passed(body.encode(), raw=True), body.encode())

    def test_another_body(self) -> None:
        """What answers another body than the client's own, or is an array, is rendered anew."""
        body = json.dumps(chunk("Hi", "STOP")).encode()
        self.assertIsNone(self.passed(body, kept=False))
        self.assertIsNone(self.passed(b"[%b]" % body))


class Bodies(unittest.TestCase):
    """The client's own body."""

    def body(
        self, raw: bytes, model: str = "gemini-3-pro", thoughts: dict[str, Thought] | None = None
    ) -> bytes:
        chat = msgspec.structs.replace(parse_request(raw, model), thoughts=thoughts or {})
        rendered = Gemini().render(chat, model, CREDENTIAL, stream=True)
        self.assertTrue(rendered.kept)
        self.assertEqual((rendered.dropped, rendered.emulated), ((), ()))
        return rendered.body

    def test_byte_for_byte(self) -> None:
        """A body goes up as it came, unknown fields and all, with whatever signatures Gemini made."""
        self.assertEqual(self.body(BODY), BODY)
        for path in sorted(FIXTURES.glob("gemini/*.request.json")):
            with self.subTest(path.name):
                self.assertEqual(self.body(path.read_bytes()), path.read_bytes())

    def test_model_in_the_body(self) -> None:
        """A model's name in the body does not go up: the one that the client named may be a route's."""
        raw = b'{"model":"models/fast","contents":[{"parts":[{"text":"hi"}],"role":"user"}],"x": 1.0}'
        self.assertEqual(self.body(raw), raw.replace(b'"model":"models/fast",', b"").replace(b": 1", b":1"))

    def test_lost_signatures(self) -> None:
        """Signatures that a client left out are put back as they are remembered: its body is again
        the one that it would have been."""
        for name in ("3pro-tool-2", "3pro-parallel-2", "3pro-thinking-tool-2", "stream-tool-signature-2"):
            with self.subTest(name):
                whole = json.loads((FIXTURES / f"gemini/{name}.request.json").read_bytes())
                part = whole["contents"][1]["parts"][0]
                call = part["functionCall"]
                key = call_key(ToolUseBlock(call["id"], call["name"], json.dumps(call["args"])))
                thoughts = {key: Thought((ThinkingBlock("", part["thoughtSignature"]),))}
                stripped = json.loads(json.dumps(whole))
                del stripped["contents"][1]["parts"][0]["thoughtSignature"]
                self.assertEqual(
                    json.loads(self.body(json.dumps(stripped).encode(), thoughts=thoughts)), whole
                )

    def parts(self, *contents: dict[str, Any], model: str = "gemini-3-pro", **thoughts: str) -> list[Any]:
        """The signatures of all parts of the model's, as they go up."""
        known = {
            call_key(ToolUseBlock(id, "f", "{}")): Thought((ThinkingBlock("", signature),))
            for id, signature in thoughts.items()
        }
        body = json.loads(self.body(json.dumps({"contents": contents}).encode(), model, known))
        return [
            part.get("thoughtSignature")
            for content in body["contents"]
            if content["role"] == "model"
            for part in content["parts"]
        ]

    def test_each_step_of_the_turn(self) -> None:
        """The first call of each step since the user last spoke is signed, and no other; where
        nothing is remembered Google's word for that stands."""
        user = {"role": "user", "parts": [{"text": "go on"}]}
        old, first, second = (
            [
                {
                    "role": "model",
                    "parts": [{"functionCall": {"name": "f", "id": f"{name}{n}"}} for n in (1, 2)],
                },
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"name": "f", "id": f"{name}{n}"}} for n in (1, 2)],
                },
            ]
            for name in ("old", "a", "b")
        )
        turns = [user, *old, user, *first, *second]
        self.assertEqual(
            self.parts(*turns, a1="YQ==", old1="YQ=="), [None, None, "YQ==", None, SKIP_SIGNATURE, None]
        )
        self.assertEqual(
            self.parts(*turns, a1="YQ==", model="gemini-2.5-pro")[2:], ["YQ==", None, None, None]
        )

    def test_one_step_in_several_contents(self) -> None:
        """An answer that is kept as its chunks is one step, whichever way its names are spelled."""
        said = [{"role": "model", "parts": [{"function_call": {"name": "f", "id": id}}]} for id in ("a", "b")]
        self.assertEqual(self.parts({"role": "user", "parts": ["go on"]}, *said, a="YQ=="), ["YQ==", None])

    def test_signatures_of_others(self) -> None:
        """What another family of models signed is taken out: Gemini answers 400 to it."""
        user = {"role": "user", "parts": [{"text": "go on"}]}
        said = [
            {"text": "Hm.", "thought": True, "thoughtSignature": CLAUDES},
            {"functionCall": {"name": "f"}, "thought_signature": CLAUDES},
        ]
        self.assertEqual(self.parts(user, {"role": "model", "parts": said}), [None, SKIP_SIGNATURE])
        self.assertEqual(self.parts({"role": "model", "parts": said}, user), [None, None])

    def test_signatures_of_another_issuer(self) -> None:
        """What is known to be made elsewhere is taken out, whatever it looks like."""
        part = b'{"text":"Hm.","thought":true,"thoughtSignature":"YQ=="}'
        raw = b'{"contents":[{"role":"model","parts":[%b]}]}' % part
        chat = msgspec.structs.replace(parse_request(raw, "gemini-3-pro"), foreign=frozenset(["YQ=="]))
        body = Gemini().render(chat, "gemini-3-pro", CREDENTIAL, stream=True).body
        self.assertEqual(body, raw.replace(b',"thoughtSignature":"YQ=="', b""))

    def test_needed(self) -> None:
        """What only Gemini can do goes up to it."""
        raw = b'{"contents":"x","cachedContent":"cachedContents/1","generationConfig":{"candidateCount":2}}'
        self.assertTrue(parse_request(raw, "m").needed)
        self.assertEqual(self.body(raw), raw)


class Enveloped(unittest.TestCase):
    """The client's own body in Antigravity's envelope."""

    def render(self, raw: bytes, model: str = "gemini-3-flash") -> Rendered:
        return Antigravity().render(parse_request(raw, model), model, CREDENTIAL, stream=True)

    def test_body(self) -> None:
        """What Code Assist knows goes up as it came, with the conversation's own session."""
        raw = b'{"contents":[{"parts":[{"text":"hi"}],"role":"user"}],"generationConfig":{"topP":1.0}}'
        rendered = self.render(raw)
        envelope = json.loads(rendered.body)
        session = envelope["request"].pop("sessionId")
        self.assertRegex(session, r"^-\d+$")
        self.assertEqual(envelope["request"], json.loads(raw))
        self.assertEqual((envelope["project"], envelope["model"]), ("a-project", "gemini-3-flash"))
        self.assertIn(b'"topP":1.0', rendered.body)
        self.assertEqual((rendered.kept, rendered.dropped), (True, ()))
        grown = raw.replace(b'"user"}]', b'"user"},{"role":"model","parts":[{"text":"ho"}]}]')
        self.assertEqual(json.loads(self.render(grown).body)["request"]["sessionId"], session)

    def test_what_it_does_not_know(self) -> None:
        """What it would refuse is left out and reported; what it wants otherwise is told so."""
        raw = (
            b'{"contents":"hi","safety_settings":[{}],"system_instruction":"be brief","store":false,"x":1,'
            b'"model":"m"}'
        )
        rendered = self.render(raw)
        request = json.loads(rendered.body)["request"]
        self.assertEqual(set(request), {"contents", "systemInstruction", "sessionId"})
        self.assertEqual(request["systemInstruction"], {"parts": [{"text": "be brief"}]})
        self.assertEqual(rendered.dropped, ("safetySettings", "store", "x"))

    def test_claude(self) -> None:
        """A request for one of Claude's models is written anew."""
        rendered = self.render(BODY, "claude-sonnet-4-6")
        self.assertFalse(rendered.kept)
        self.assertIn("frobnicate", rendered.dropped)


class Counts(unittest.TestCase):
    def asked(self, kind: Google, raw: bytes, model: str = "gemini-3-flash") -> tuple[UpstreamRequest, Any]:
        request = kind.count("https://h", model, CREDENTIAL, parse_count_request(raw, model))
        assert request is not None
        return request, json.loads(request.body)

    WHOLE = (
        b'{"generateContentRequest":{"model":"models/x","contents":[{"role":"user","parts":[{"text":"hi"}]}],'
        b'"systemInstruction":{"parts":[{"text":"be brief"}]}}}'
    )

    def test_gemini(self) -> None:
        """Gemini counts the whole request, by the name of the model that is asked."""
        request, body = self.asked(Gemini(), self.WHOLE)
        self.assertEqual(request.url, b"https://h/models/gemini-3-flash:countTokens")
        expected = json.loads(self.WHOLE)
        expected["generateContentRequest"]["model"] = "models/gemini-3-flash"
        self.assertEqual(body, expected)

    def test_other_clients(self) -> None:
        """What another dialect's client asks is counted as it would be sent."""
        chat = ChatRequest(dialect="claude", model="m", messages=parse_request(BODY, "m").messages)
        request = Gemini().count("https://h", "gemini-3-flash", CREDENTIAL, chat)
        assert request is not None
        contents = json.loads(request.body)["generateContentRequest"]["contents"]
        self.assertEqual(contents, [{"role": "user", "parts": [{"text": "hi"}]}])

    def test_antigravity(self) -> None:
        """Code Assist counts contents alone, so the rest of the prompt is told in them; for Claude's
        models there is no counter."""
        request, body = self.asked(Antigravity(), self.WHOLE)
        self.assertEqual(request.url, b"https://h/v1internal:countTokens")
        self.assertEqual(body["request"]["model"], "models/gemini-3-flash")
        first, second = body["request"]["contents"]
        self.assertIn("be brief", first["parts"][0]["text"])
        self.assertEqual(second["parts"], [{"text": "hi"}])
        chat = parse_count_request(self.WHOLE)
        self.assertIsNone(Antigravity().count("https://h", "claude-sonnet-4-6", CREDENTIAL, chat))

    def test_piece_of_a_conversation(self) -> None:
        """What Gemini CLI counts, an answer without its call, is counted."""
        raw = (FIXTURES / "clients/gemini-cli-count-tokens.request.json").read_bytes()
        for kind in (Gemini(), Antigravity()):
            _, body = self.asked(kind, raw)
            self.assertEqual(body.popitem()[1]["contents"], json.loads(raw)["contents"])

    def test_answer(self) -> None:
        """The count is a number of tokens; anything else is no answer."""
        self.assertEqual(Gemini().parse_count(b'{"totalTokens":31,"promptTokensDetails":[]}'), 31)
        for body in (b"", b"[]", b'{"totalTokens":"many"}', b'{"totalTokens":-1}'):
            with self.subTest(body), self.assertRaises(UpstreamGarbled):
                Gemini().parse_count(body)
