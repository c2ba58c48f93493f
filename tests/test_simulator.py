"""The simulated providers, in memory: what they say, how it looks, how they fail."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed

from aigateway.simulator import (
    Replay,
    SimulatedAnthropic,
    SimulatedAntigravity,
    SimulatedGemini,
    SimulatedGLM,
    SimulatedOpenAI,
)
from aigateway.simulator.answers import Image, OfferedTool, Prompt, answer, sample_arguments, tokens
from aigateway.simulator.pacing import PacedBody
from aigateway.simulator.provider import Simulated
from aigateway.simulator.wire import Response
from aigateway.sse import SSEDecoder

FIXTURES = Path(__file__).parent / "fixtures"
HOST = "http://simulator.invalid"
CHAT = {SimulatedOpenAI: "/v1/chat/completions", SimulatedGLM: "/api/paas/v4/chat/completions"}
KEYS: dict[type[Simulated], tuple[str, str]] = {
    SimulatedAnthropic: ("x-api-key", ""),
    SimulatedGemini: ("x-goog-api-key", ""),
}
VERSION = {"anthropic-version": "2023-06-01"}
STREAM = "/v1internal:streamGenerateContent?alt=sse"
WEATHER: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["city", "days"],
}
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
GOOGLE_TOOLS = [{"functionDeclarations": [{"name": "weather", "parameters": WEATHER}]}]
PNG = "iVBORw0KGgo="  # eight bytes


class Body(Protocol):
    """A response's body as it arrives."""

    def __init__(self) -> None:
        self.data = b""
        self.reads = 0
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.reads += 1

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.reason = reason


class SimulatorTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_780_000_000)

    def start(
        self,
        resource: Simulated,
        path: str,
        body: object,
        *,
        key: str | None = "key",
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> tuple[Any, Deferred[Any]]:
        treq: Any = StubTreq(resource)  # its methods are made at run time
        headers = {"Content-Type": "application/json"} | (VERSION if headers is None else headers)
        if key:
            name, scheme = KEYS.get(type(resource), ("Authorization", "Bearer "))
            headers[name] = scheme + key
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        asked = treq.request(method, HOST + path, headers=headers, data=data, allow_redirects=False)
        treq.flush()
        return treq, asked

    def ask(self, resource: Simulated, path: str, body: object, **options: Any) -> tuple[Any, Body]:
        """The response and its body, as far as they come without time passing."""
        treq, asked = self.start(resource, path, body, **options)
        response = self.successResultOf(asked)
        received = Body()
        response.original.deliverBody(received)
        treq.flush()
        return response, received

    def json(self, resource: Simulated, path: str, body: object, **options: Any) -> Any:
        return msgspec.json.decode(self.ask(resource, path, body, **options)[1].data)

    def frames(self, resource: Simulated, path: str, body: object) -> list[Any]:
        """The decoded frames of a stream that must be whole; ``[DONE]`` as text."""
        received = self.ask(resource, path, body)[1]
        assert received.reason is not None
        self.assertTrue(received.reason.check(ResponseDone))
        return decoded(received.data)


def decoded(data: bytes) -> list[Any]:
    return [
        "[DONE]" if frame.data == b"[DONE]" else msgspec.json.decode(frame.data)
        for frame in SSEDecoder().feed(data)
    ]


def chat(text: str, model: str = "some-model", **fields: object) -> dict[str, object]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": text}], **fields}


def claude(text: str, model: str = "claude-haiku-4-5", **fields: object) -> dict[str, object]:
    messages = [{"role": "user", "content": text}]
    return {"model": model, "max_tokens": 4096, "stream": True, "messages": messages, **fields}


def gemini(text: str, **fields: object) -> dict[str, object]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}


def response(text: str, /, model: str = "gpt-5", **fields: object) -> dict[str, object]:
    return {"model": model, "stream": True, "input": text, **fields}


def google(text: str, model: str = "gemini-3.1-pro-low", **fields: object) -> dict[str, object]:
    contents = [{"role": "user", "parts": [{"text": text}]}]
    return {"project": "p", "model": model, "request": {"contents": contents, **fields}}


def shape(value: Any) -> Any:
    """The names in ``value``, in their order, without the obfuscation that pads real chunks."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items() if name != "obfuscation"]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return None


def shapes(frames: list[Any]) -> list[Any]:
    """The different shapes of ``frames``, in the order of their first appearance."""
    found: list[Any] = []
    for frame in frames:
        if shape(frame) not in found:
            found.append(shape(frame))
    return found


def recorded(name: str) -> list[Any]:
    return decoded((FIXTURES / name).read_bytes())


class AnswersTests(SynchronousTestCase):
    def test_counts_one_number_a_piece(self) -> None:
        """ "Count to N" and its Chinese form are answered by counting."""
        for text in ("Count to 5", "please count from 1 to 5", "数到5"):
            self.assertEqual(answer(Prompt(text=text)).text, ("1", ", 2", ", 3", ", 4", ", 5"))

    def test_counting_is_bounded(self) -> None:
        """Nobody is counted to a million."""
        self.assertEqual(answer(Prompt(text="count to 1000000")).text[-1], ", 1000")

    def test_says_that_it_is_simulated_and_quotes(self) -> None:
        """Anything else is quoted back as a simulated answer, its beginning only."""
        text = "".join(answer(Prompt(text="hello  there\n" + "x" * 500)).text)
        self.assertIn("simulated answer", text)
        self.assertIn('"hello  there\n', text)
        self.assertLess(len(text), 300)

    def test_chinese_is_answered_in_chinese(self) -> None:
        """A prompt with CJK characters gets a Chinese answer, in small pieces."""
        said = answer(Prompt(text="你好 Bob"))
        self.assertTrue("".join(said.text).startswith("这是模拟回答"))
        self.assertIn("你好 Bob", "".join(said.text))
        self.assertGreater(len(said.text), 10)

    def test_images_are_acknowledged(self) -> None:
        """Images are counted, with their types and sizes where they are known."""
        said = answer(Prompt(text="what is it?", images=(Image("image/png", 8),)))
        self.assertIn("I see 1 image (image/png, 8 bytes).", "".join(said.text))
        said = answer(Prompt(images=(Image("image/png", 8), Image())))
        self.assertIn("I see 2 images (image/png, 8 bytes; by URL).", "".join(said.text))

    def test_tool_is_called_when_asked_or_forced(self) -> None:
        """Words or a tool choice make it call the tool; a result then ends the matter."""
        tool = OfferedTool("weather", WEATHER)
        self.assertIsNone(answer(Prompt(text="hello", tools=(tool,))).call)
        for prompt in (
            Prompt(text="Use the tool, please", tools=(tool,)),
            Prompt(text="hi", tools=(tool,), forced=True),
        ):
            call = answer(prompt).call
            assert call is not None
            self.assertEqual((call.name, call.arguments), ("weather", '{"city":"sample city","days":1}'))
        done = answer(Prompt(text="use the tool", tools=(tool,), tool_results=("rain",)))
        self.assertIsNone(done.call)
        self.assertIn('The tool answered: "rain".', "".join(done.text))

    def test_a_named_tool_is_called_with_the_given_arguments(self) -> None:
        """The tool of exactly that name, wherever the user's texts since the last answer say so."""
        tools = (OfferedTool("first"), OfferedTool("Bash", WEATHER), OfferedTool("mcp__a-b", WEATHER))
        sample = '{"city":"sample city","days":1}'
        nested = '{"a": {"b": "}"}, "c": [1, "with {"]}'
        cases = {
            'please use the tool Bash with {"command": "echo hi"} now': ("Bash", '{"command":"echo hi"}'),
            f"<b>\nUse the tool `mcp__a-b` with {nested}</b>": ("mcp__a-b", nested.replace(" ", "", 2)),
            "use the tool Bash": ("Bash", sample),
            "use the tool Bash.": ("Bash", sample),
            "use the tool Bash with care": ("Bash", sample),
            'use the tool Bash with {"broken": ': ("Bash", sample),
            'use the tool bash with {"a": 1}': ("first", "{}"),
            "use the tool please": ("first", "{}"),
        }
        for text, (name, arguments) in cases.items():
            with self.subTest(text):
                call = answer(Prompt(text=text, tools=tools)).call
                assert call is not None
                self.assertEqual(call.name, name)
                self.assertEqual(msgspec.json.decode(call.arguments), msgspec.json.decode(arguments))
        said = 'use the tool Bash with {"a": 1}\n<system-reminder>be brief</system-reminder>'
        wrapped = Prompt(text="<system-reminder>be brief</system-reminder>", said=said, tools=tools)
        call = answer(wrapped).call
        assert call is not None
        self.assertEqual((call.name, call.arguments), ("Bash", '{"a":1}'))

    def test_a_named_tool_needs_to_be_offered_and_unanswered(self) -> None:
        """Without the offer, or with a result since, the words are words."""
        text = 'use the tool Bash with {"a": 1}'
        self.assertIsNone(answer(Prompt(text=text)).call)
        tools = (OfferedTool("Bash"),)
        self.assertIsNone(answer(Prompt(text=text, said=text, tools=tools, tool_results=("done",))).call)

    def test_custom_tools_get_a_text(self) -> None:
        """A sample, or the one input that was given."""
        tools = (OfferedTool("patch", custom=True),)
        for text, given in (
            ("use the tool patch", "sample input"),
            ('use the tool patch with {"input": "*** Begin"}', "*** Begin"),
            ('use the tool patch with {"input": "a", "b": 1}', '{"input":"a","b":1}'),
        ):
            call = answer(Prompt(text=text, tools=tools)).call
            assert call is not None
            self.assertEqual((call.arguments, call.custom), (given, True))

    def test_json_that_is_demanded_is_given(self) -> None:
        """It fits the schema; without one it is an object with the usual text. Calls come first."""
        title: dict[str, object] = {"type": "object", "properties": {"title": {"type": "string"}}}
        title["required"] = ["title"]
        self.assertEqual("".join(answer(Prompt(text="x", schema=title)).text), '{"title":"sample title"}')
        said = msgspec.json.decode("".join(answer(Prompt(text="x", schema={})).text))
        self.assertIn("simulated", said["answer"])
        done = answer(Prompt(text="x", schema=title, tool_results=("r",)))
        self.assertEqual("".join(done.text), '{"title":"sample title"}')
        called = answer(Prompt(text="use the tool", schema=title, tools=(OfferedTool("t"),)))
        self.assertIsNotNone(called.call)

    def test_sample_arguments_fit_the_schema(self) -> None:
        """Each required property has a value of its type, references and choices resolved."""
        schema: dict[str, object] = {
            "type": "object",
            "properties": {
                "unit": {"enum": ["C", "F"]},
                "at": {"type": "OBJECT", "properties": {"x": {"type": "NUMBER"}}, "required": ["x"]},
                "list": {"type": "array", "items": {"type": "boolean"}},
                "maybe": {"anyOf": [{"type": ["null", "integer"], "minimum": 3}, {"type": "string"}]},
                "node": {"$ref": "#/$defs/node"},
            },
            "required": ["unit", "at", "list", "maybe", "node"],
            "$defs": {
                "node": {"type": "object", "properties": {"v": {"const": 7}}, "required": ["v"]},
            },
        }
        self.assertEqual(
            msgspec.json.decode(sample_arguments(schema)),
            {"unit": "C", "at": {"x": 1.5}, "list": [True], "maybe": 3, "node": {"v": 7}},
        )
        self.assertEqual(sample_arguments(None), "{}")

    def test_schema_that_contains_itself_ends(self) -> None:
        """A recursive schema gives arguments of bounded depth."""
        schema: dict[str, object] = {
            "type": "object",
            "properties": {"next": {"$ref": "#"}},
            "required": ["next"],
        }
        self.assertLess(len(sample_arguments(schema)), 200)

    def test_max_tokens_cut_thinking_first_then_text(self) -> None:
        """An answer never has more tokens than it may, and says that it was cut."""
        whole = answer(Prompt(text="hello", think=True))
        self.assertFalse(whole.cut)
        for limit in range(1, whole.thinking_tokens + whole.spoken_tokens):
            cut = answer(Prompt(text="hello", think=True, max_tokens=limit))
            self.assertTrue(cut.cut)
            self.assertLessEqual(cut.thinking_tokens + cut.spoken_tokens, limit)
            self.assertTrue("".join(whole.thinking).startswith("".join(cut.thinking)))


class ShapeTests(SimulatorTestCase):
    """What is on the wire has the names of the recordings, in their order."""

    def test_openai_text(self) -> None:
        """A text stream is shaped like the recorded one: role, content, finish, usage."""
        body = chat("hello", stream_options={"include_usage": True})
        frames = self.frames(SimulatedOpenAI(self.clock, 0), CHAT[SimulatedOpenAI], body)
        self.assertEqual(shapes(frames), shapes(recorded("openai/gpt-4o-mini-text.sse")))

    def test_openai_tool(self) -> None:
        """So is a tool call: id and name first, then the arguments in parts."""
        body = chat("use the tool", tools=CHAT_TOOLS, stream_options={"include_usage": True})
        frames = self.frames(SimulatedOpenAI(self.clock, 0), CHAT[SimulatedOpenAI], body)
        self.assertEqual(shapes(frames), shapes(recorded("openai/gpt-4o-mini-tool-1.sse")))

    def test_glm_thinking(self) -> None:
        """Reasoning, content, and usage in the chunk that finishes."""
        body = chat("hello", thinking={"type": "enabled"})
        frames = self.frames(SimulatedGLM(self.clock, 0), CHAT[SimulatedGLM], body)
        self.assertEqual(shapes(frames), shapes(recorded("glm/glm-4.7-thinking.sse")))

    def test_glm_tool(self) -> None:
        """A tool call is whole in one delta, which has no role."""
        frames = self.frames(
            SimulatedGLM(self.clock, 0), CHAT[SimulatedGLM], chat("use the tool", tools=CHAT_TOOLS)
        )
        expected = [
            frame
            for frame in recorded("glm/glm-4.7-flash-tool-1.sse")
            if frame == "[DONE]" or "finish_reason" in frame["choices"][0] or "tool_calls" in str(frame)
        ]
        arguments = frames[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]
        self.assertEqual(msgspec.json.decode(arguments), {"city": "sample city", "days": 1})
        self.assertEqual(shapes(frames), shapes(expected))

    def test_antigravity_gemini_thinking(self) -> None:
        """Thoughts, text, and a last empty part that carries the signature."""
        config = {"thinkingConfig": {"includeThoughts": True}}
        body = google("hello", generationConfig=config)
        frames = self.frames(SimulatedAntigravity(self.clock, 0), STREAM, body)
        thought = recorded("antigravity/wrapped-25pro-thinking-tool.sse")[:1]
        self.assertEqual(
            shapes(frames), shapes(thought) + shapes(recorded("antigravity/wrapped-3pro-text.sse"))
        )

    def test_antigravity_gemini_tool(self) -> None:
        """The call is whole and signed; STOP comes after it, in a chunk of its own."""
        config = {"thinkingConfig": {"includeThoughts": True}}
        body = google("use the tool", tools=GOOGLE_TOOLS, generationConfig=config)
        frames = self.frames(SimulatedAntigravity(self.clock, 0), STREAM, body)
        expected = recorded("antigravity/wrapped-3pro-tool.sse")
        self.assertEqual(shape(frames[-2]), shape(without_args(expected)[0]))
        self.assertEqual(shape(frames[-1]), shape(expected[-1]))

    def test_antigravity_claude_thinking(self) -> None:
        """Claude models sign an empty thought and have no candidate index."""
        config = {"thinkingConfig": {"include_thoughts": True, "thinking_budget": 1024}}
        body = google("hello", "claude-sonnet-4-6", generationConfig=config)
        frames = self.frames(SimulatedAntigravity(self.clock, 0), STREAM, body)
        candidates = [frame["response"]["candidates"] for frame in frames]
        expected = [
            frame["response"]["candidates"] for frame in recorded("antigravity/claude-thinking-text.sse")
        ]
        self.assertEqual(shapes(candidates), shapes(expected[1:]))
        self.assertTrue(frames[0]["response"]["responseId"].startswith("msg_vrtx_"))

    def test_antigravity_frames_end_with_crlf(self) -> None:
        """Google ends lines with CRLF, and has no end marker."""
        received = self.ask(SimulatedAntigravity(self.clock, 0), STREAM, google("hello"))[1]
        self.assertTrue(received.data.endswith(b"}\r\n\r\n"))
        self.assertEqual(received.data.count(b"\n"), received.data.count(b"\r\n"))

    def test_antigravity_without_alt_sse_is_a_json_array(self) -> None:
        """Who forgets ``alt=sse`` gets an array, as from the real server."""
        chunks = self.json(
            SimulatedAntigravity(self.clock, 0), "/v1internal:streamGenerateContent", google("count to 3")
        )
        self.assertEqual(len(chunks), 4)


def without_args(frames: list[Any]) -> list[Any]:
    """``frames`` with the arguments that the simulator gives for `WEATHER`."""
    for frame in frames:
        for part in frame["response"]["candidates"][0]["content"]["parts"]:
            if "functionCall" in part:
                part["functionCall"]["args"] = {"city": "", "days": 1}
    return frames


class ChatTests(SimulatorTestCase):
    def test_usage_chunk_only_when_asked(self) -> None:
        """OpenAI tells no usage in a stream unless asked, GLM always."""
        body = chat("count to 3")
        frames = self.frames(SimulatedOpenAI(self.clock, 0), CHAT[SimulatedOpenAI], body)
        self.assertNotIn("usage", "".join(map(str, frames)))
        frames = self.frames(SimulatedGLM(self.clock, 0), CHAT[SimulatedGLM], body)
        self.assertEqual(frames[-2]["usage"]["total_tokens"], 5)

    def test_streams_and_whole_answers_agree(self) -> None:
        """The same question has the same answer and usage in both forms."""
        for provider in (SimulatedOpenAI, SimulatedGLM):
            resource, path = provider(self.clock, 0), CHAT[provider]
            asked = chat("hello", stream_options={"include_usage": True}, reasoning_effort="high")
            frames = self.frames(resource, path, asked)
            whole = self.json(resource, path, asked | {"stream": False})
            deltas = [frame["choices"][0]["delta"] for frame in frames[:-1] if frame["choices"]]
            streamed = "".join(delta.get("content") or "" for delta in deltas)
            self.assertEqual(streamed, whole["choices"][0]["message"]["content"])
            self.assertEqual(frames[-2]["usage"], whole["usage"])

    def test_reasoning_is_counted_among_the_completion(self) -> None:
        """OpenAI shows reasoning only as tokens, GLM as text too; both count it once."""
        for provider in (SimulatedOpenAI, SimulatedGLM):
            body = chat("hello", stream=False, reasoning_effort="high")
            whole = self.json(provider(self.clock, 0), CHAT[provider], body)
            usage, message = whole["usage"], whole["choices"][0]["message"]
            reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
            self.assertGreater(reasoning, 0)
            self.assertEqual(usage["completion_tokens"], reasoning + tokens(message["content"]))
            self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
            self.assertEqual("reasoning_content" in message, provider is SimulatedGLM)

    def test_glm_thinks_only_when_told_to(self) -> None:
        """Without a word about thinking there is none, and ``disabled`` wins over an effort."""
        off: dict[str, object] = {"thinking": {"type": "disabled"}, "reasoning_effort": "high"}
        for body in (chat("hi", stream=False), chat("hi", stream=False) | off):
            whole = self.json(SimulatedGLM(self.clock, 0), CHAT[SimulatedGLM], body)
            self.assertNotIn("reasoning_content", whole["choices"][0]["message"])

    def test_max_tokens_finish_with_length(self) -> None:
        """A limit cuts the answer and is told as ``length``."""
        body = chat("hello", stream=False, max_completion_tokens=3)
        whole = self.json(SimulatedOpenAI(self.clock, 0), CHAT[SimulatedOpenAI], body)
        self.assertEqual(whole["choices"][0]["finish_reason"], "length")
        self.assertEqual(whole["usage"]["completion_tokens"], 3)

    def test_tool_result_is_quoted_and_image_seen(self) -> None:
        """What came since the model last spoke is what is answered."""
        call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        messages = [
            {"role": "user", "content": "use the tool"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "18 degrees"}]},
            {"role": "user", "content": [image]},
        ]
        body = {"model": "m", "messages": messages, "tools": CHAT_TOOLS}
        said = self.json(SimulatedOpenAI(self.clock, 0), CHAT[SimulatedOpenAI], body)["choices"][0]["message"]
        self.assertIn('"18 degrees"', said["content"])
        self.assertIn("1 image (image/png, 8 bytes)", said["content"])

    def test_calls_have_ids_of_their_own(self) -> None:
        """No two calls share one, at one provider or at two."""
        body = chat("use the tool", stream=False, tools=CHAT_TOOLS)
        ids = set()
        for provider in (SimulatedOpenAI, SimulatedGLM):
            resource = provider(self.clock, 0)
            for _ in range(2):
                message = self.json(resource, CHAT[provider], body)["choices"][0]["message"]
                ids.add(message["tool_calls"][0]["id"])
        self.assertEqual(len(ids), 4)

    def test_tool_choice_is_followed(self) -> None:
        """A named tool is called without being asked in words; ``none`` calls nothing."""
        tools = [*CHAT_TOOLS, {"type": "function", "function": {"name": "clock", "parameters": {}}}]
        resource = SimulatedOpenAI(self.clock, 0)
        named = {"type": "function", "function": {"name": "clock"}}
        body = chat("hi", stream=False, tools=tools, tool_choice=named)
        choice = self.json(resource, CHAT[SimulatedOpenAI], body)["choices"][0]
        self.assertEqual(choice["message"]["tool_calls"][0]["function"], {"name": "clock", "arguments": "{}"})
        self.assertEqual(choice["finish_reason"], "tool_calls")
        body = chat("use the tool", stream=False, tools=tools, tool_choice="none")
        choice = self.json(resource, CHAT[SimulatedOpenAI], body)["choices"][0]
        self.assertEqual(choice["finish_reason"], "stop")

    def test_refusals(self) -> None:
        """What the real servers refuse is refused, with their status and code."""
        openai, glm = SimulatedOpenAI(self.clock, 0), SimulatedGLM(self.clock, 0)
        no_model: dict[str, object] = {"messages": [{"role": "user", "content": "x"}]}
        cases: list[tuple[Simulated, object, str | None, int, str | None]] = [
            (openai, chat("x"), None, 401, "invalid_api_key"),
            (openai, chat("x"), "fault-401", 401, "invalid_api_key"),
            (openai, b"{", "key", 400, None),
            (openai, no_model, "key", 400, None),
            (openai, {"model": "m"}, "key", 400, "missing_required_parameter"),
            (openai, chat("x", "gpt-5", max_tokens=9), "key", 400, "unsupported_parameter"),
            (openai, chat("x", "no-such-model"), "key", 404, "model_not_found"),
            (openai, chat("x", "fault-unheard-of"), "key", 404, "model_not_found"),
            (glm, chat("x"), None, 401, "1001"),
            (glm, b"\xff", "key", 400, "1210"),
            (glm, no_model, "key", 400, "1213"),
            (glm, {"model": "m", "messages": [{"role": "system", "content": "x"}]}, "key", 400, "1214"),
            (glm, chat("x", "no-such-model"), "key", 400, "1211"),
        ]
        for resource, body, key, status, code in cases:
            path = CHAT[SimulatedOpenAI if resource is openai else SimulatedGLM]
            response, received = self.ask(resource, path, body, key=key)
            self.assertEqual(
                (response.code, msgspec.json.decode(received.data)["error"]["code"]), (status, code)
            )
        self.assertEqual(self.ask(openai, "/v1/elsewhere", chat("x"))[0].code, 404)
        self.assertEqual(self.ask(openai, CHAT[SimulatedOpenAI], b"", method="GET")[0].code, 404)

    def test_calls_and_results_belong_together(self) -> None:
        """OpenAI refuses a result without its call and a call without its result."""
        call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        called = {"role": "assistant", "content": None, "tool_calls": [call]}
        result = {"role": "tool", "tool_call_id": "c", "content": "rain"}
        user = {"role": "user", "content": "x"}
        resource = SimulatedOpenAI(self.clock, 0)
        for messages, param, words in (
            ([user, result], "messages.[1].role", "must be a response to a preceeding message"),
            ([user, called, user, result], "messages.[2].role", "did not have response messages: c"),
            ([user, called], "messages.[2].role", "did not have response messages: c"),
            ([user, called, result, result], "messages.[3].role", "must be a response"),
        ):
            error = self.json(resource, CHAT[SimulatedOpenAI], {"model": "m", "messages": messages})["error"]
            self.assertEqual((error["param"], error["type"]), (param, "invalid_request_error"))
            self.assertIn(words, error["message"])
        whole = self.json(resource, CHAT[SimulatedOpenAI], {"model": "m", "messages": [user, called, result]})
        self.assertIn('"rain"', whole["choices"][0]["message"]["content"])

    def test_tool_names_are_checked(self) -> None:
        """In the tools offered and in the calls of the history."""
        resource = SimulatedOpenAI(self.clock, 0)
        for name, code in (
            ("a.b", "invalid_value"),
            ("x" * 65, "string_above_max_length"),
            ("é", "invalid_value"),
        ):
            tools = [CHAT_TOOLS[0], {"type": "function", "function": {"name": name}}]
            error = self.json(resource, CHAT[SimulatedOpenAI], chat("x", tools=tools))["error"]
            self.assertEqual((error["code"], error["param"]), (code, "tools[1].function.name"))

    def test_custom_tools_are_called_with_text(self) -> None:
        """A custom tool's call has its own type and an input, streamed and whole."""
        tools = [{"type": "custom", "custom": {"name": "patch"}}]
        body = chat('use the tool patch with {"input": "*** Begin"}', tools=tools)
        resource = SimulatedOpenAI(self.clock, 0)
        frames = self.frames(resource, CHAT[SimulatedOpenAI], body)
        deltas = [frame["choices"][0]["delta"] for frame in frames[:-1]]
        calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
        self.assertEqual((calls[0]["type"], calls[0]["custom"]["name"]), ("custom", "patch"))
        self.assertEqual("".join(call["custom"]["input"] for call in calls), "*** Begin")
        whole = self.json(resource, CHAT[SimulatedOpenAI], body | {"stream": False})
        [call] = whole["choices"][0]["message"]["tool_calls"]
        self.assertEqual(call["custom"], {"name": "patch", "input": "*** Begin"})

    def test_response_format_is_followed(self) -> None:
        """JSON of the schema at OpenAI, some object where any will do."""
        schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
        format_ = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
        for provider in (SimulatedOpenAI, SimulatedGLM):
            for asked, names in ((format_, {"title"}), ({"type": "json_object"}, {"answer"})):
                body = chat("x", stream=False, response_format=asked)
                whole = self.json(provider(self.clock, 0), CHAT[provider], body)
                content = whole["choices"][0]["message"]["content"]
                self.assertEqual(set(msgspec.json.decode(content)), names)

    def test_every_answer_says_that_it_is_simulated(self) -> None:
        """Refusals too."""
        for key in ("key", None):
            response, _ = self.ask(SimulatedGLM(self.clock, 0), CHAT[SimulatedGLM], chat("x"), key=key)
            self.assertEqual(response.headers.getRawHeaders("x-aigateway-simulated"), ["true"])

    def test_seen_keeps_requests_without_credentials(self) -> None:
        """A test can read what arrived, but no key."""
        resource = SimulatedOpenAI(self.clock, 0)
        self.ask(resource, CHAT[SimulatedOpenAI], chat("x"), key="sk-secret")
        [seen] = resource.seen
        self.assertEqual(seen.path, "/v1/chat/completions")
        self.assertEqual(seen.body, chat("x"))
        self.assertEqual(seen.headers["content-type"], "application/json")
        self.assertNotIn("sk-secret", repr(seen))

    def test_recorded_requests_are_taken(self) -> None:
        """What real clients sent to the real server is good enough for this one."""
        for name in ("gpt-4o-mini-text", "gpt-4o-mini-tool-1"):
            body = (FIXTURES / f"openai/{name}.request.json").read_bytes()
            frames = self.frames(SimulatedOpenAI(self.clock, 0), CHAT[SimulatedOpenAI], body)
            self.assertEqual(frames[-3]["choices"][0]["finish_reason"], "stop")
            self.assertEqual(frames[-2]["choices"], [])


class AntigravityTests(SimulatorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.resource = SimulatedAntigravity(self.clock, 0)

    def test_usage_is_in_every_chunk_and_grows(self) -> None:
        """Candidates leave the thoughts out; the total has everything."""
        config = {"thinkingConfig": {"includeThoughts": True}}
        frames = self.frames(self.resource, STREAM, google("hello", generationConfig=config))
        usages = [frame["response"]["usageMetadata"] for frame in frames]
        for usage in usages:
            names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
            self.assertEqual(usage["totalTokenCount"], sum(usage.get(name, 0) for name in names))
        totals = [usage["totalTokenCount"] for usage in usages]
        self.assertEqual(totals, sorted(totals))

    def test_whole_answer(self) -> None:
        """``generateContent`` answers with the same envelope, the parts joined."""
        config = {"maxOutputTokens": 5}
        body = google("数到5", generationConfig=config)
        response = self.json(self.resource, "/v1internal:generateContent", body)["response"]
        [candidate] = response["candidates"]
        self.assertEqual(candidate["content"]["parts"], [{"text": "1, 2, 3, 4, 5"}])
        self.assertEqual(candidate["finishReason"], "STOP")
        config["maxOutputTokens"] = 2
        response = self.json(self.resource, "/v1internal:generateContent", body)["response"]
        self.assertEqual(response["candidates"][0]["finishReason"], "MAX_TOKENS")

    def test_tool_call_and_result(self) -> None:
        """A call ends with STOP; its result, however wrapped, is quoted."""
        body = google("use the tool", tools=GOOGLE_TOOLS)
        parts = self.json(self.resource, "/v1internal:generateContent", body)["response"]["candidates"][0]
        called = parts["content"]["parts"][0]
        self.assertEqual(called["functionCall"]["args"], {"city": "sample city", "days": 1})
        contents = [
            {"role": "user", "parts": [{"text": "use the tool"}]},
            {"role": "model", "parts": [called]},
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "weather", "response": {"output": "rain"}}},
                    {"inlineData": {"mimeType": "image/png", "data": PNG}},
                ],
            },
        ]
        body["request"] = {"contents": contents, "tools": GOOGLE_TOOLS}
        response = self.json(self.resource, "/v1internal:generateContent", body)["response"]
        text = response["candidates"][0]["content"]["parts"][0]["text"]
        self.assertIn('The tool answered: "rain". I see 1 image (image/png, 8 bytes).', text)

    def test_refusals(self) -> None:
        """Google's error has a code, a message and a status; bodies that are wrong are all alike."""
        no_contents: dict[str, object] = {"model": "m", "request": {}}
        cases: list[tuple[object, str | None, int, str]] = [
            (google("x"), None, 401, "UNAUTHENTICATED"),
            (b"nonsense", "key", 400, "INVALID_ARGUMENT"),
            (no_contents, "key", 400, "INVALID_ARGUMENT"),
            (google("x", model=""), "key", 400, "INVALID_ARGUMENT"),
            (google("x", model="no-such-model"), "key", 404, "NOT_FOUND"),
        ]
        for body, key, status, name in cases:
            response, received = self.ask(self.resource, STREAM, body, key=key)
            error = msgspec.json.decode(received.data)["error"]
            self.assertEqual((response.code, error["code"], error["status"]), (status, status, name))

    def test_project_is_found_or_made(self) -> None:
        """An account without a project is onboarded by an operation that takes its time."""
        asked = {"metadata": {"ideType": "ANTIGRAVITY"}}
        known = self.json(self.resource, "/v1internal:loadCodeAssist", asked)
        self.assertEqual(known["cloudaicompanionProject"], "simulated-project")
        fresh = SimulatedAntigravity(self.clock, 0, onboarded=False)
        unknown = self.json(fresh, "/v1internal:loadCodeAssist", asked)
        self.assertNotIn("cloudaicompanionProject", unknown)
        self.assertTrue(unknown["allowedTiers"][0]["isDefault"])
        first = self.json(fresh, "/v1internal:onboardUser", {"tierId": "free-tier"})
        self.assertNotIn("done", first)
        then = self.json(fresh, "/v1internal:onboardUser", {"tierId": "free-tier"})
        self.assertEqual(then["response"]["cloudaicompanionProject"]["id"], "simulated-project")
        polled = self.json(fresh, "/v1internal/" + first["name"], b"", method="GET")
        self.assertEqual(polled, then)
        known = self.json(fresh, "/v1internal:loadCodeAssist", asked)
        self.assertEqual(known["cloudaicompanionProject"], "simulated-project")

    def test_models_and_tokens(self) -> None:
        """Models come with their quota; tokens are counted without a model in the envelope."""
        models = self.json(self.resource, "/v1internal:fetchAvailableModels", {})["models"]
        self.assertEqual(models["claude-sonnet-4-6"]["quotaInfo"]["resetTime"], "2026-05-29T01:26:40Z")
        contents = [{"role": "user", "parts": [{"text": "x" * 40}]}]
        body = {"request": {"model": "models/gemini-3-flash", "contents": contents}}
        self.assertEqual(self.json(self.resource, "/v1internal:countTokens", body), {"totalTokens": 10})

    def test_tokens_are_refreshed(self) -> None:
        """A refresh grant gives a new token each time; a revoked one is refused for good."""
        grant = b"grant_type=refresh_token&client_id=id&client_secret=hidden&refresh_token="
        granted = self.json(self.resource, "/token", grant + b"good", key=None)
        again = self.json(self.resource, "/token", grant + b"good", key=None)
        self.assertEqual(granted["expires_in"], 3599)
        self.assertNotEqual(granted["access_token"], again["access_token"])
        response, received = self.ask(self.resource, "/token", grant + b"revoked", key=None)
        self.assertEqual(response.code, 400)
        self.assertEqual(msgspec.json.decode(received.data)["error"], "invalid_grant")
        self.assertEqual((self.resource.refreshes, len(self.resource.seen)), (3, 0))


class PaceTests(SimulatorTestCase):
    def test_chunks_come_at_the_pace(self) -> None:
        """The first after four intervals, then one an interval."""
        resource = SimulatedOpenAI(self.clock, 0.5)
        treq, asked = self.start(resource, CHAT[SimulatedOpenAI], chat("count to 3"))
        self.clock.advance(1.9)
        treq.flush()
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        treq.flush()
        response = self.successResultOf(asked)
        received = Body()
        response.original.deliverBody(received)
        arrived = []
        for _ in range(6):
            arrived.append(received.data.count(b"data: "))
            self.clock.advance(0.5)
            treq.flush()
        self.assertEqual(arrived, [1, 2, 3, 4, 5, 6])
        assert received.reason is not None
        self.assertTrue(received.reason.check(ResponseDone))
        self.assertEqual((resource.requests, resource.open, resource.aborted), (1, 0, 0))

    def test_client_that_leaves_ends_the_stream(self) -> None:
        """Nothing is scheduled any more, and the departure is counted."""
        resource = SimulatedGLM(self.clock, 0.5)
        treq, asked = self.start(resource, CHAT[SimulatedGLM], chat("count to 100"))
        self.clock.pump([0.5] * 6)
        treq.flush()
        response = self.successResultOf(asked)
        received = Body()
        response.original.deliverBody(received)
        self.assertEqual((resource.open, resource.aborted), (1, 0))
        assert received.transport is not None
        received.transport.loseConnection()
        treq.flush()
        self.assertEqual((resource.open, resource.aborted), (0, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_that_leaves_before_the_answer_is_counted(self) -> None:
        """Leaving a silent provider is leaving too."""
        resource = SimulatedOpenAI(self.clock, 0)
        treq, asked = self.start(resource, CHAT[SimulatedOpenAI], chat("x", "fault-silent"))
        asked.cancel()
        self.failureResultOf(asked)
        treq.flush()
        self.assertEqual((resource.open, resource.aborted), (0, 1))


class SlowRequest:
    """A request whose client's side is full after every third write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.producer: Any = None
        self.finished = False

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def notifyFinish(self) -> Deferred[None]:
        return Deferred()

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if len(self.written) % 3 == 0:
            self.producer.pauseProducing()

    def finish(self) -> None:
        self.finished = True

    def loseConnection(self) -> None:
        raise AssertionError("nothing is to be cut here")


class BackPressureTests(SynchronousTestCase):
    def test_nothing_is_made_while_the_client_is_full(self) -> None:
        """A piece is asked for only when it can be written, at any pace."""
        for interval in (None, 1.0):
            clock, request = Clock(), SlowRequest()
            made: list[int] = []

            def pieces(made: list[int] = made) -> Iterator[bytes]:
                for number in range(7):
                    made.append(number)
                    yield b"%d" % number

            ended: list[bool] = []
            response = Response(pieces(), "text/plain")
            PacedBody(request, response, clock, first=1.0, interval=interval, ended=ended.append)
            clock.pump([1.0] * 20)
            self.assertEqual((made, request.written), ([0, 1, 2], [b"0", b"1", b"2"]))
            self.assertEqual(clock.getDelayedCalls(), [])
            request.producer.resumeProducing()
            clock.pump([1.0] * 20)
            self.assertEqual(made, [0, 1, 2, 3, 4, 5])
            request.producer.resumeProducing()
            clock.pump([1.0] * 20)
            self.assertEqual((len(request.written), request.finished, ended), (7, True, [False]))


class FaultTests(SimulatorTestCase):
    """Each fault does what its name says, at every provider."""

    def everywhere(self, fault: str) -> list[tuple[Simulated, str, dict[str, object]]]:
        return [
            (SimulatedOpenAI(self.clock, 0), CHAT[SimulatedOpenAI], chat("hello", fault)),
            (SimulatedOpenAI(self.clock, 0), "/v1/responses", response("hello", fault)),
            (SimulatedGLM(self.clock, 0), CHAT[SimulatedGLM], chat("hello", fault)),
            (SimulatedAntigravity(self.clock, 0), STREAM, google("hello", fault)),
            (SimulatedAnthropic(self.clock, 0), "/v1/messages", claude("hello", fault)),
            (
                SimulatedGemini(self.clock, 0),
                f"/v1beta/models/{fault}:streamGenerateContent?alt=sse",
                gemini("hello"),
            ),
        ]

    def test_errors_before_the_answer(self) -> None:
        """A status and the provider's own body; Retry-After where the name has one."""
        for fault, status, waiting in (
            ("fault-429", 429, None),
            ("fault-429-retry-2", 429, ["2"]),
            ("fault-500", 500, None),
            ("fault-401", 401, None),
        ):
            for resource, path, body in self.everywhere(fault):
                response, received = self.ask(resource, path, body)
                gemini_key = fault == "fault-401" and isinstance(resource, SimulatedGemini)
                self.assertEqual(response.code, 400 if gemini_key else status)
                self.assertEqual(response.headers.getRawHeaders("retry-after"), waiting)
                self.assertIn("error", msgspec.json.decode(received.data))

    def test_silence(self) -> None:
        """Nothing at all comes, or the head alone."""
        for resource, path, body in self.everywhere("fault-silent"):
            self.assertNoResult(self.start(resource, path, body)[1])
            self.assertEqual(resource.open, 1)
        for resource, path, body in self.everywhere("fault-silent-after-headers"):
            response, received = self.ask(resource, path, body)
            self.assertEqual((response.code, received.data, received.reason), (200, b"", None))

    def test_stall(self) -> None:
        """Whole frames of an answer, then nothing, with the connection open."""
        for resource, path, body in self.everywhere("fault-stall-mid-stream"):
            received = self.ask(resource, path, body)[1]
            self.assertEqual(len(decoded(received.data)), begun(path))
            self.assertIsNone(received.reason)

    def test_cut(self) -> None:
        """The connection is closed after some frames, or inside a character."""
        for resource, path, body in self.everywhere("fault-cut"):
            received = self.ask(resource, path, body)[1]
            assert received.reason is not None
            self.assertTrue(received.reason.check(ResponseFailed))
            self.assertEqual(len(decoded(received.data)), begun(path))
            self.assertEqual(resource.aborted, 0)
        for resource, path, body in self.everywhere("fault-cut-mid-utf8"):
            received = self.ask(resource, path, body)[1]
            assert received.reason is not None
            self.assertTrue(received.reason.check(ResponseFailed))
            self.assertEqual(len(decoded(received.data)), begun(path) - 1)
            error = self.assertRaises(UnicodeDecodeError, received.data.decode)
            self.assertEqual(error.reason, "unexpected end of data")

    def test_end_without_marker(self) -> None:
        """HTTP ends as it should; the answer has neither a finish reason nor ``[DONE]``."""
        for resource, path, body in self.everywhere("fault-clean-end-without-marker"):
            frames = self.frames(resource, path, body)
            self.assertEqual(len(frames), begun(path))
            self.assertNotIn("[DONE]", frames)
            text = str(frames)
            for marker in ("'stop'", "'STOP'", "message_stop", "response.completed"):
                self.assertNotIn(marker, text)

    def test_error_frames(self) -> None:
        """The provider's error comes as a frame: after some text, or as the first."""
        for resource, path, body in self.everywhere("fault-error-in-stream"):
            frames = self.frames(resource, path, body)
            self.assertEqual([is_error(frame) for frame in frames], [False] * begun(path) + [True])
        for resource, path, body in self.everywhere("fault-error-first"):
            frames = self.frames(resource, path, body)
            self.assertEqual([is_error(frame) for frame in frames], [True])

    def test_error_in_200(self) -> None:
        """A JSON error with status 200: each provider's own kind of it."""
        claudes = {"type", "error", "request_id"}
        expected = ({"error"}, {"error"}, {"code", "msg", "success"}, {"error"}, claudes, {"error"})
        for (resource, path, body), names in zip(
            self.everywhere("fault-error-in-200"), expected, strict=True
        ):
            response, received = self.ask(resource, path, body)
            value = msgspec.json.decode(received.data)
            self.assertEqual(response.code, 200)
            self.assertEqual(set(value[0] if isinstance(value, list) else value), names)

    def test_html_and_redirect(self) -> None:
        """A page where a stream was asked for; a pointer to another port."""
        for resource, path, body in self.everywhere("fault-html"):
            response, received = self.ask(resource, path, body)
            self.assertEqual(response.headers.getRawHeaders("content-type"), ["text/html; charset=utf-8"])
            self.assertTrue(received.data.startswith(b"<!DOCTYPE html>"))
        for resource, path, body in self.everywhere("fault-redirect"):
            response, _ = self.ask(resource, path, body)
            self.assertEqual(response.code, 302)
            self.assertTrue(response.headers.getRawHeaders("location"))

    def test_whole_answers_fail_too(self) -> None:
        """Without streaming, "some text" is half of the body and an error frame is the body."""
        resource, path = SimulatedOpenAI(self.clock, 0), CHAT[SimulatedOpenAI]
        endings = {
            "fault-stall-mid-stream": None,
            "fault-cut": ResponseFailed,
            "fault-cut-mid-utf8": ResponseFailed,
            "fault-clean-end-without-marker": ResponseDone,
        }
        for fault, ending in endings.items():
            received = self.ask(resource, path, chat("hello", fault, stream=False))[1]
            self.assertEqual(received.reason and received.reason.type, ending)
            self.assertTrue(received.data.startswith(b'{"id":'))
            self.assertRaises((msgspec.DecodeError, UnicodeDecodeError), msgspec.json.decode, received.data)
        for fault in ("fault-error-in-stream", "fault-error-first", "fault-error-in-200"):
            self.assertEqual(list(self.json(resource, path, chat("hello", fault, stream=False))), ["error"])

    def test_a_key_rehearses_for_its_account_alone(self) -> None:
        """A fault's name as the key is that fault, whatever the model; other keys are served."""
        resource = SimulatedOpenAI(self.clock, 0)
        path = CHAT[SimulatedOpenAI]
        self.assertEqual(self.ask(resource, path, chat("x"), key="fault-429")[0].code, 429)
        self.assertEqual(self.ask(resource, path, chat("x"), key="other")[0].code, 200)
        antigravity = SimulatedAntigravity(self.clock, 0)
        grant = b"grant_type=refresh_token&client_id=id&refresh_token=fault-500"
        token = self.json(antigravity, "/token", grant, key=None)["access_token"]
        self.assertEqual(self.ask(antigravity, STREAM, google("x"), key=token)[0].code, 500)


def begun(path: str) -> int:
    """How many frames come before a fault: those of three tokens, and what precedes them."""
    before = {"/v1/responses": 4, "/v1/messages": 3, CHAT[SimulatedOpenAI]: 1}
    return before.get(path, 0) + 3


def is_error(frame: Any) -> bool:
    return "error" in frame or frame.get("type") == "response.failed"


class ReplayTests(SimulatorTestCase):
    def test_pieces(self) -> None:
        """The recorded bytes come in the given pieces, one reactor turn each, then the end."""
        recording = (FIXTURES / "openai/gpt-4o-mini-text.sse").read_bytes()
        resource = Replay(recording, clock=self.clock, split=(1, 10), interval=1.0)
        treq, asked = self.start(resource, "/anything", {"a": 1})
        self.clock.advance(0)
        treq.flush()
        received = Body()
        self.successResultOf(asked).original.deliverBody(received)
        sizes = []
        for _ in range(3):
            sizes.append(len(received.data))
            self.clock.advance(1)
            treq.flush()
        self.assertEqual(sizes, [1, 11, len(recording)])
        assert received.reason is not None
        self.assertTrue(received.reason.check(ResponseDone))
        self.assertEqual(received.data, recording)
        self.assertEqual(resource.seen[0].body, {"a": 1})

    def test_cut(self) -> None:
        """``cut_at`` ends the connection inside the body."""
        resource = Replay(b"0123456789", clock=self.clock, status=201, cut_at=4)
        treq, asked = self.start(resource, "/", {})
        self.clock.advance(0)
        treq.flush()
        response = self.successResultOf(asked)
        received = Body()
        response.original.deliverBody(received)
        self.clock.advance(0)
        treq.flush()
        assert received.reason is not None
        self.assertTrue(received.reason.check(ResponseFailed))
        self.assertEqual((response.code, received.data), (201, b"0123"))
