"""Gemini's ``generateContent`` bodies read into a `ChatRequest`."""

from __future__ import annotations

import json
import time
import unittest
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from google.genai import types
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aigateway.dialects.gemini import parse_count_request, parse_request
from aigateway.errors import MalformedRequest
from aigateway.events import (
    AudioBlock,
    ChatRequest,
    DocumentBlock,
    ImageBlock,
    Message,
    OtherBlock,
    RequestBlock,
    ResponseFormat,
    TextBlock,
    Thinking,
    ThinkingBlock,
    Tool,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
)
from aigateway.providers import KINDS
from aigateway.providers.base import Credential
from aigateway.secret import Secret

FIXTURES = Path(__file__).parent / "fixtures"
REQUESTS = sorted(FIXTURES.glob("gemini/*.request.json"))
CLI = sorted(path for path in FIXTURES.glob("clients/gemini-cli-*.request.json") if "count" not in path.name)
HELLO: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": "hello"}]}]
OTHERS = (
    ("openai", "gpt-5.5"),
    ("glm", "glm-4.7"),
    ("anthropic", "claude-opus-4-6"),
    ("antigravity", "claude-sonnet-4-6"),
)
PNG = "iVBORw0KGgo="
NAMES = [
    "contents",
    "parts",
    "role",
    "text",
    "tools",
    "functionCall",
    "function_call",
    "functionResponse",
    "id",
    "name",
    "args",
    "response",
]
VALUES = [None, 1, -1, 1.5, True, "x", "", [], {}, ["x"], "user", "model", {"text": "x"}]
LIKELY_JSON = st.recursive(
    st.sampled_from(VALUES) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
).map(lambda value: json.dumps(value).encode())


def body(**fields: object) -> bytes:
    return json.dumps({"contents": HELLO, **fields}).encode()


def parse(**fields: object) -> ChatRequest:
    return parse_request(body(**fields), "gemini-3-pro")


def config(**fields: object) -> ChatRequest:
    return parse(generationConfig=fields)


def turns(*contents: object) -> tuple[Message, ...]:
    return parse(contents=contents).messages


def part(role: str = "user", **fields: Any) -> tuple[RequestBlock, ...]:
    return turns({"role": role, "parts": [fields]})[0].content


def call(name: str = "f", **fields: object) -> dict[str, object]:
    return {"functionCall": {"name": name, **fields}}


def result(name: str = "f", **fields: object) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"output": "ok"}, **fields}}


def model(*parts: object) -> dict[str, object]:
    return {"role": "model", "parts": list(parts)}


def user(*parts: object) -> dict[str, object]:
    return {"role": "user", "parts": list(parts)}


class Top(unittest.TestCase):
    def test_model_and_method_are_told(self) -> None:
        """Model and method come with the path; the body is kept as it came."""
        chat = parse_request(body(), "models/gemini-3-pro", stream=True, json_array=True)
        self.assertEqual(
            (chat.dialect, chat.model, chat.stream, chat.json_array), ("gemini", "gemini-3-pro", True, True)
        )
        self.assertEqual(chat.raw, body())
        self.assertEqual(chat.messages, (Message("user", (TextBlock("hello"),)),))

    def test_model_in_the_body(self) -> None:
        """A model in the body counts where the path has none; without either the request is refused."""
        self.assertEqual(parse_request(body(model="models/gemini-3-pro")).model, "gemini-3-pro")
        with self.assertRaises(MalformedRequest) as raised:
            parse_request(body())
        self.assertEqual(raised.exception.param, "model")

    def test_both_spellings(self) -> None:
        """Every name may be in snake_case, too, wherever in the body it is the dialect's own."""
        snake = parse(
            system_instruction={"parts": [{"text": "be brief"}]},
            contents=[
                HELLO[0],
                {
                    "role": "model",
                    "parts": [{"function_call": {"name": "f", "args": {"a_b": 1}}, "thought_signature": "s"}],
                },
                {
                    "role": "user",
                    "parts": [
                        {"function_response": {"name": "f", "response": {"output": 1}}},
                        {"inline_data": {"mime_type": "image/png", "data": PNG}},
                    ],
                },
            ],
            tools=[
                {"function_declarations": [{"name": "f", "parameters_json_schema": {"a_b": {}}}]},
                {"google_search": {}},
            ],
            tool_config={"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
            generation_config={
                "max_output_tokens": 5,
                "thinking_config": {"thinking_budget": 7, "include_thoughts": True},
            },
            cached_content="cachedContents/1",
        )
        self.assertEqual(snake.system, (TextBlock("be brief"),))
        self.assertEqual(snake.messages[1].content, (ToolUseBlock("call_1", "f", '{"a_b":1}', "s"),))
        self.assertEqual(snake.messages[2].content[1], ImageBlock("image/png", PNG))
        self.assertEqual(snake.tools, (Tool("f", None, {"a_b": {}}),))
        self.assertEqual(snake.tool_choice, ToolChoice("tool", "f"))
        self.assertEqual((snake.max_tokens, snake.thinking), (5, Thinking("enabled", 7)))
        self.assertEqual(snake.other, ("cachedContent", "tools.googleSearch"))

    def test_two_spellings_of_one_field(self) -> None:
        """One field in both spellings is refused: which of them counts nobody knows."""
        self.refused("generationConfig.topP", generationConfig={"topP": 1, "top_p": 0})

    def test_what_has_no_word(self) -> None:
        """Fields that only Gemini knows are named; those that change the answer are needed."""
        chat = parse(
            safetySettings=[{}],
            labels={"a": "b"},
            serviceTier="flex",
            cachedContent="cachedContents/1",
            store=False,
            frobnicate=1,
            generationConfig={"candidateCount": 2, "mediaResolution": "LOW", "responseModalities": ["IMAGE"]},
            toolConfig={
                "retrievalConfig": {"languageCode": "en"},
                "functionCallingConfig": {"streamFunctionCallArguments": True},
            },
        )
        self.assertEqual(
            set(chat.other),
            {
                "safetySettings",
                "labels",
                "serviceTier",
                "cachedContent",
                "generationConfig.candidateCount",
                "generationConfig.mediaResolution",
                "generationConfig.responseModalities",
                "toolConfig.retrievalConfig",
                "toolConfig.functionCallingConfig.streamFunctionCallArguments",
            },
        )
        self.assertEqual(
            chat.needed,
            ("cachedContent", "generationConfig.candidateCount", "generationConfig.responseModalities"),
        )
        self.assertEqual(chat.unknown, ("frobnicate",))

    def test_what_says_nothing(self) -> None:
        """A field that says what its absence says is no loss."""
        chat = parse(
            safetySettings=[],
            labels={},
            generationConfig={"candidateCount": 1, "responseModalities": ["TEXT"], "responseLogprobs": False},
            toolConfig={"functionCallingConfig": {"mode": "AUTO", "streamFunctionCallArguments": False}},
        )
        self.assertEqual((chat.other, chat.needed, chat.unknown), ((), (), ()))

    def refused(self, path: str, **fields: object) -> None:
        with self.assertRaises(MalformedRequest) as raised:
            parse(**fields)
        self.assertEqual(raised.exception.param, path)
        self.assertIn(path, raised.exception.message)

    def test_errors_name_the_field(self) -> None:
        """What is wrong is named by its path, from the top of the body."""
        data = {"inlineData": {"data": PNG}}
        for path, fields in (
            ("contents[0].parts[1].inlineData.mimeType", {"contents": [user({"text": "x"}, data)]}),
            ("contents[0].role", {"contents": [{"role": "system", "parts": []}]}),
            ("contents[0].parts[0].text", {"contents": [user({"text": 1})]}),
            ("contents[0].parts", {"contents": [{"parts": "x"}]}),
            ("contents[0].parts[0].functionCall", {"contents": [user(call())]}),
            ("contents[0].parts[0].functionCall.args", {"contents": [model(call(args=[1]))]}),
            ("contents[0].parts[0].functionResponse", {"contents": [model(result())]}),
            ("contents[0].parts[0].functionResponse.response", {"contents": [user(result(response="x"))]}),
            ("contents", {"contents": []}),
            ("contents", {"contents": None}),
            ("generationConfig.maxOutputTokens", {"generationConfig": {"maxOutputTokens": "many"}}),
            ("generationConfig.maxOutputTokens", {"generationConfig": {"maxOutputTokens": -1}}),
            ("tools[0].functionDeclarations[0].name", {"tools": [{"functionDeclarations": [{}]}]}),
            (
                "toolConfig.functionCallingConfig.mode",
                {"toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}},
            ),
            (
                "systemInstruction.parts",
                {"systemInstruction": user({"inlineData": {"data": "", "mimeType": "image/png"}})},
            ),
        ):
            with self.subTest(path):
                self.refused(path, **fields)

    def test_no_json(self) -> None:
        """What is no JSON, or nested beyond measure, is refused."""
        for raw in (
            b"",
            b"{",
            b"[]",
            b'{"contents":1,"contents":2}',
            b'{"a":' * 100 + b"1" + b"}" * 100,
            b"\xff",
        ):
            with self.subTest(raw[:20]), self.assertRaises(MalformedRequest):
                parse_request(raw, "m")

    @settings(max_examples=300, deadline=None)
    @given(LIKELY_JSON)
    @example(b'{"contents":[{"parts":[{"functionCall":{"name":""}}],"role":"model"}]}')
    def test_anything(self, raw: bytes) -> None:
        """Whatever a client sends is understood or refused as malformed; nothing else is raised."""
        with suppress(MalformedRequest):
            parse_request(raw, "m")


class Contents(unittest.TestCase):
    def test_short_forms(self) -> None:
        """A text stands for a content or a part, and one content for a list of them."""
        for contents in ("hello", ["hello"], HELLO[0], [{"parts": ["hello"]}]):
            with self.subTest(contents):
                self.assertEqual(parse(contents=contents).messages, (Message("user", (TextBlock("hello"),)),))

    def test_system_instruction(self) -> None:
        """The instruction is a text, or a content whose role says nothing."""
        for system in (
            "be brief",
            {"role": "system", "parts": [{"text": "be brief"}]},
            user({"text": "be brief"}),
        ):
            with self.subTest(system):
                self.assertEqual(parse(systemInstruction=system).system, (TextBlock("be brief"),))

    def test_one_side_one_message(self) -> None:
        """What one side says in a row is one message: an answer kept as its chunks is whole again,
        with the signature that came last."""
        told = turns(
            HELLO[0],
            model({"text": "Hm", "thought": True}),
            model({"text": ".", "thought": True}),
            model({"text": "Hel"}),
            model({"text": "lo"}),
            model({"text": "", "thoughtSignature": "c2ln"}),
            user({"text": "a"}, {"text": "b"}),
        )
        self.assertEqual(
            told[1:],
            (
                Message("assistant", (ThinkingBlock("Hm."), TextBlock("Hello", "c2ln"))),
                Message("user", (TextBlock("a"), TextBlock("b"))),
            ),
        )

    def test_signatures(self) -> None:
        """A signature is its own part's: a text's, a thought's, a call's; a signed part is whole."""
        self.assertEqual(
            part("model", text="x", thoughtSignature="1")
            + part("model", text="x", thought=True, thoughtSignature="2"),
            (TextBlock("x", "1"), ThinkingBlock("x", "2")),
        )
        told = turns(
            model({**call(), "thoughtSignature": "3"}, {"text": "a", "thoughtSignature": "4"}, {"text": "b"})
        )
        self.assertEqual(
            told[0].content, (ToolUseBlock("call_1", "f", "{}", "3"), TextBlock("a", "4"), TextBlock("b"))
        )

    def test_files(self) -> None:
        """Files by their media type, in either alphabet of base64."""
        text = b64encode("zähl bis fünf".encode()).decode()
        for media_type, data, block in (
            ("image/png", PNG, ImageBlock("image/png", PNG)),
            ("image/jpeg; q=1", "-_8", ImageBlock("image/jpeg", "+/8=")),
            ("image/jpg", PNG, ImageBlock("image/jpeg", PNG)),
            ("application/pdf", "JVBE", DocumentBlock("application/pdf", "JVBE")),
            ("audio/mpeg", "AAAA", AudioBlock("AAAA", "mp3")),
            ("audio/wav", "AAAA", AudioBlock("AAAA", "wav")),
            ("text/plain", text, DocumentBlock("text/plain", text="zähl bis fünf")),
            ("video/mp4", "AAAA", OtherBlock("inlineData.video")),
        ):
            with self.subTest(media_type):
                self.assertEqual(part(inlineData={"mimeType": media_type, "data": data}), (block,))

    def test_files_by_name(self) -> None:
        """A URL is for others to read, too; a file in Google's own stores is for nobody else."""
        for uri, media_type, block in (
            ("https://x.test/a.png", "image/png", ImageBlock("image/png", url="https://x.test/a.png")),
            ("https://x.test/a", "application/pdf", DocumentBlock("application/pdf", url="https://x.test/a")),
            ("https://youtu.be/1", None, OtherBlock("fileData.fileUri")),
            ("gs://bucket/a.png", "image/png", OtherBlock("fileData.file_id")),
            (
                "https://generativelanguage.googleapis.com/v1beta/files/1",
                "image/png",
                OtherBlock("fileData.file_id"),
            ),
        ):
            with self.subTest(uri):
                self.assertEqual(part(fileData={"fileUri": uri, "mimeType": media_type}), (block,))

    def test_parts_of_the_servers_own(self) -> None:
        """What Google's own tools did, and parts that nobody knows yet, are named by their kind."""
        for name in ("executableCode", "codeExecutionResult", "toolCall", "toolResponse", "hologram"):
            with self.subTest(name):
                self.assertEqual(part("model", **{name: {"x": 1}}), (OtherBlock(name),))
        self.assertEqual(
            part("model", executableCode={}, thoughtSignature="x"), (OtherBlock("executableCode"),)
        )

    def test_what_is_new(self) -> None:
        """A field that nobody knows is named wherever it stands, and the rest is understood."""
        chat = parse(
            contents=[
                {"parts": [{"text": "hello", "x": 1}], "y": 2, "role": "user"},
                model({"functionCall": {"name": "f", "z": 3}}),
            ],
            systemInstruction={"parts": [{"text": "a", "x": {}}, {"text": "b", "w": 1}]},
            tools=[{"functionDeclarations": [{"name": "f", "v": 4}]}],
            generationConfig={"topP": 0.5, "u": 5, "thinkingConfig": {"t": 6}},
        )
        self.assertEqual(
            set(chat.other),
            {
                "contents.parts.x",
                "contents.y",
                "contents.parts.functionCall.z",
                "systemInstruction.parts.x",
                "systemInstruction.parts.w",
                "tools.functionDeclarations.v",
                "generationConfig.u",
                "generationConfig.thinkingConfig.t",
            },
        )
        self.assertEqual(chat.messages[0], Message("user", (TextBlock("hello"),)))
        self.assertEqual((chat.top_p, [tool.name for tool in chat.tools]), (0.5, ["f"]))

    def test_how_media_are_to_be_read(self) -> None:
        """How Google is to read a file has no word here."""
        chat = parse(
            contents=[user({"inlineData": {"mimeType": "image/png", "data": PNG}, "mediaResolution": {}})]
        )
        self.assertEqual(chat.other, ("contents.parts.mediaResolution",))


class Calls(unittest.TestCase):
    def test_ids(self) -> None:
        """Calls and answers are paired by the ids that the client gives."""
        told = turns(model(call(id="a"), call(id="b")), user(result(id="b"), result(id="a")))
        ids = [block.tool_use_id for block in told[1].content if isinstance(block, ToolResultBlock)]
        self.assertEqual(ids, ["b", "a"])

    def test_no_ids(self) -> None:
        """Without ids an answer is that of the first call of its name that has none yet; ids are made
        up from a call's place, the same in a conversation that has grown."""
        contents = [model(call("f"), call("g"), call("f")), user(result("g"), result("f"), result("f"))]
        for grown in (contents, [*contents, model({"text": "x"}), HELLO[0]]):
            told = turns(*grown)
            made = [block.id for block in told[0].content if isinstance(block, ToolUseBlock)]
            answered = [block.tool_use_id for block in told[1].content if isinstance(block, ToolResultBlock)]
            self.assertEqual(made, ["call_1", "call_2", "call_3"])
            self.assertEqual(answered, ["call_2", "call_1", "call_3"])

    def test_ids_of_gemini_cli(self) -> None:
        """Gemini CLI puts the tool's name before an id, and the call is known by what is left."""
        told = turns(model(call("f", id="f__toolu_1")), user(result("f", id="f__toolu_1")))
        self.assertEqual(told[0].content, (ToolUseBlock("toolu_1", "f", "{}"),))
        self.assertEqual(told[1].content, (ToolResultBlock("toolu_1", (TextBlock("ok"),)),))

    def test_answer_without_its_call(self) -> None:
        """A piece of a conversation, as clients count it, may begin with an answer."""
        (message,) = turns(user(result(id="x"), result()))
        ids = [block.tool_use_id for block in message.content if isinstance(block, ToolResultBlock)]
        self.assertEqual(ids, ["x", "call_f"])

    def test_many_calls(self) -> None:
        """Pairing calls with their answers, and tools with those that are allowed, costs no more than a
        moment for a body of some megabytes."""
        count = 30_000
        call_parts = [{"functionCall": {"name": f"f{number}"}} for number in range(count)]
        answers = [
            {"functionResponse": {"name": f"f{number}", "response": {}}} for number in reversed(range(count))
        ]
        names = [f"f{number}" for number in range(count)]
        began = time.perf_counter()
        told = turns(model(*call_parts), user(*answers))
        chat = parse(
            tools=[{"functionDeclarations": [{"name": name} for name in names]}],
            toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": names[::-1]}},
        )
        self.assertLess(time.perf_counter() - began, 4.0)
        ids = [block.tool_use_id for block in told[1].content if isinstance(block, ToolResultBlock)]
        self.assertEqual((ids[0], ids[-1]), (f"call_{count}", "call_1"))
        self.assertEqual(len(chat.tools), count)

    def test_same_id_twice(self) -> None:
        """Of two answers with one id, the second is that of the next call of its name."""
        told = turns(model(call(id="a"), call(id="b")), user(result(id="a"), result(id="a"), result(id="a")))
        ids = [block.tool_use_id for block in told[1].content if isinstance(block, ToolResultBlock)]
        self.assertEqual(ids, ["a", "b", "a"])

    def test_answers_in_several_contents(self) -> None:
        """Answers one by one, in contents of the role function, are one message."""
        told = turns(
            model(call("f"), call("g")),
            {"role": "function", "parts": [result("f")]},
            {"role": "function", "parts": [result("g")]},
        )
        self.assertEqual([message.role for message in told], ["assistant", "user"])
        self.assertEqual(len(told[1].content), 2)

    def test_arguments_as_written(self) -> None:
        """A call's arguments keep their numbers as they were written."""
        call = b'{"functionCall":{"name":"f","args":{ "n": 1.0, "m": 12345678901234567890 }}}'
        block = (
            parse_request(b'{"contents":[{"role":"model","parts":[%b]}]}' % call, "m").messages[0].content[0]
        )
        assert isinstance(block, ToolUseBlock)
        self.assertEqual(block.input, '{"n":1.0,"m":12345678901234567890}')

    def test_what_an_answer_says(self) -> None:
        """An answer is what stands under output, or an error, or the whole object."""
        for response, text, is_error in (
            ({"output": "ok"}, "ok", False),
            ({"result": "ok"}, "ok", False),
            ({"output": {"a": 1}}, '{"a":1}', False),
            ({"error": "no"}, "no", True),
            ({"error": {"code": 1}, "output": "x"}, '{"error":{"code":1},"output":"x"}', True),
            ({"a": 1, "output": 2}, '{"a":1,"output":2}', False),
            ({"temperature": 1.0}, '{"temperature":1.0}', False),
            ({"output": None}, "", False),
            ({}, "", False),
            (None, "", False),
        ):
            with self.subTest(response):
                (block,) = part(**result(response=response))
                content = (TextBlock(text),) if text else ()
                self.assertEqual(block, ToolResultBlock("call_f", content, is_error))

    def test_media_in_an_answer(self) -> None:
        """An answer's own parts are in it."""
        parts = [{"inlineData": {"mimeType": "image/png", "data": PNG}}]
        (block,) = part(**result(parts=parts))
        self.assertEqual(block, ToolResultBlock("call_f", (TextBlock("ok"), ImageBlock("image/png", PNG))))


class Tools(unittest.TestCase):
    def tool(self, **fields: object) -> Tool:
        (tool,) = parse(tools=[{"functionDeclarations": [{"name": "f", **fields}]}]).tools
        return tool

    def test_many_objects(self) -> None:
        """Functions may stand in several tools, beside tools of Google's own."""
        declared = [{"functionDeclarations": [{"name": name}]} for name in "ab"]
        chat = parse(tools=[*declared, {"googleSearch": {}, "codeExecution": {}}])
        self.assertEqual([tool.name for tool in chat.tools], ["a", "b"])
        self.assertEqual(chat.other, ("tools.googleSearch", "tools.codeExecution"))
        self.assertEqual(parse(tools=declared[0]).tools, (Tool("a"),))

    def test_json_schema(self) -> None:
        """A JSON schema is taken as it is."""
        schema: dict[str, object] = {
            "type": "object",
            "properties": {"nullable": {"const": 1}},
            "additionalProperties": False,
        }
        self.assertEqual(self.tool(parametersJsonSchema=schema).input_schema, schema)

    def test_openapi_schema(self) -> None:
        """Google's own schema becomes a JSON schema: small letters, numbers as numbers, null as a type."""
        given = {
            "type": "OBJECT",
            "propertyOrdering": ["a"],
            "properties": {
                "a": {"type": "STRING", "nullable": True, "enum": ["x"]},
                "b": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "1", "max_items": "3"},
                "type": {"any_of": [{"type": "NUMBER"}], "nullable": True, "example": 1},
                "nullable": {"type": "TYPE_UNSPECIFIED"},
            },
            "required": ["a"],
        }
        self.assertEqual(
            self.tool(parameters=given).input_schema,
            {
                "type": "object",
                "properties": {
                    "a": {"type": ["string", "null"], "enum": ["x", None]},
                    "b": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
                    "type": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "nullable": {},
                },
                "required": ["a"],
            },
        )

    def test_what_a_function_gives_back(self) -> None:
        """The schema of a function's answers has no word here."""
        chat = parse(
            tools=[{"functionDeclarations": [{"name": "f", "response": {}, "behavior": "BLOCKING"}]}]
        )
        self.assertEqual(
            chat.other, ("tools.functionDeclarations.response", "tools.functionDeclarations.behavior")
        )

    def test_choice(self) -> None:
        """Each mode in our words; names that are allowed leave out the other tools."""
        tools = [{"functionDeclarations": [{"name": name} for name in "abc"]}]
        for asked, choice, names in (
            ({"mode": "AUTO"}, ToolChoice("auto"), "abc"),
            ({"mode": "VALIDATED"}, ToolChoice("auto"), "abc"),
            ({"mode": "any"}, ToolChoice("any"), "abc"),
            ({"mode": "NONE", "allowedFunctionNames": ["a"]}, ToolChoice("none"), "abc"),
            ({"mode": "MODE_UNSPECIFIED"}, None, "abc"),
            ({"mode": "ANY", "allowedFunctionNames": ["b"]}, ToolChoice("tool", "b"), "abc"),
            ({"mode": "ANY", "allowedFunctionNames": ["a", "c"]}, ToolChoice("any"), "ac"),
            ({"mode": "VALIDATED", "allowedFunctionNames": ["a"]}, ToolChoice("auto"), "a"),
            ({}, None, "abc"),
        ):
            with self.subTest(asked):
                chat = parse(tools=tools, toolConfig={"functionCallingConfig": asked})
                self.assertEqual(chat.tool_choice, choice)
                self.assertEqual("".join(tool.name for tool in chat.tools), names)


class Config(unittest.TestCase):
    def test_sampling(self) -> None:
        """The settings of sampling and length, each by its own word."""
        chat = config(
            maxOutputTokens=5,
            temperature=1,
            topP=0.5,
            topK=64.0,
            stopSequences=["x"],
            seed=7,
            presencePenalty=0.1,
            frequencyPenalty=0.2,
        )
        self.assertEqual((chat.max_tokens, chat.temperature, chat.top_p, chat.top_k), (5, 1.0, 0.5, 64))
        self.assertEqual(
            (chat.stop, chat.seed, chat.presence_penalty, chat.frequency_penalty), (("x",), 7, 0.1, 0.2)
        )

    def test_thinking(self) -> None:
        """Budgets and levels; without a word for it no thought is shown."""
        for asked, thinking, effort in (
            ({}, None, None),
            ({"includeThoughts": False}, None, None),
            ({"includeThoughts": True}, Thinking("adaptive"), None),
            ({"thinkingBudget": 0}, Thinking("disabled"), None),
            ({"thinkingBudget": -1}, Thinking("adaptive", None, True), None),
            ({"thinkingBudget": 100}, Thinking("enabled", 100, True), None),
            ({"thinkingBudget": 100, "includeThoughts": True}, Thinking("enabled", 100), None),
            ({"thinkingLevel": "HIGH", "includeThoughts": True}, Thinking("adaptive"), "high"),
            ({"thinkingLevel": "low"}, Thinking("adaptive", None, True), "low"),
            ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None, None),
        ):
            with self.subTest(asked):
                chat = config(thinkingConfig=asked)
                self.assertEqual((chat.thinking, chat.effort), (thinking, effort))

    def test_response_format(self) -> None:
        """JSON, with a schema of either kind or none; a schema without JSON has no effect."""
        schema: dict[str, object] = {"type": "object"}
        for asked, wanted in (
            ({"responseMimeType": "application/json"}, ResponseFormat("json_object")),
            (
                {"responseMimeType": "application/json", "responseJsonSchema": schema},
                ResponseFormat("json_schema", schema),
            ),
            (
                {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}},
                ResponseFormat("json_schema", schema),
            ),
            ({"responseMimeType": "text/plain"}, None),
        ):
            with self.subTest(asked):
                self.assertEqual(config(**asked).response_format, wanted)
        self.assertEqual(config(responseSchema=schema).other, ("generationConfig.responseSchema",))
        self.assertEqual(
            config(responseMimeType="text/x.enum").needed, ("generationConfig.responseMimeType",)
        )


class Counting(unittest.TestCase):
    def test_both_forms(self) -> None:
        """A request to count holds contents, or a whole request, which then is the body."""
        self.assertEqual(parse_count_request(body(), "m").raw, body())
        whole = {"model": "models/m", "contents": HELLO, "systemInstruction": user({"text": "be brief"})}
        chat = parse_count_request(json.dumps({"generateContentRequest": whole}).encode())
        self.assertEqual((chat.model, chat.system), ("m", (TextBlock("be brief"),)))
        self.assertEqual(json.loads(chat.raw), whole)


class Recorded(unittest.TestCase):
    """Requests of public test suites and of Gemini CLI."""

    def test_all_are_here(self) -> None:
        """No recording is missing."""
        self.assertGreaterEqual(len(REQUESTS), 35)
        self.assertGreaterEqual(len(CLI), 4)

    def test_understood(self) -> None:
        """Each is understood: no field in it is unknown, every part has a word or a name, every call
        its answer."""
        for path in REQUESTS + CLI:
            with self.subTest(path.name):
                raw = path.read_bytes()
                chat = parse_request(raw, "gemini-3-pro")
                self.assertEqual((chat.unknown, chat.needed), ((), ()))
                blocks = [block for message in chat.messages for block in message.content]
                calls = [block.id for block in blocks if isinstance(block, ToolUseBlock)]
                answers = [block.tool_use_id for block in blocks if isinstance(block, ToolResultBlock)]
                self.assertEqual(answers, calls)
                given = json.loads(raw)
                self.assertEqual(
                    sum(len(content["parts"]) for content in given["contents"]), len(blocks), "a part is lost"
                )
                declared = [tool.get("functionDeclarations", ()) for tool in given.get("tools", ())]
                self.assertEqual(len(chat.tools), sum(map(len, declared)))

    def test_rendered_for_others(self) -> None:
        """Gemini CLI's requests go to every other provider: no text, call, answer or tool is lost."""
        for path in CLI:
            for kind, name in OTHERS:
                with self.subTest(path.name, kind=kind):
                    chat = parse_request(path.read_bytes(), name, stream=True)
                    rendered = KINDS[kind](None).render(chat, name, Credential(Secret("k"), "p"), stream=True)
                    self.assertFalse(rendered.kept)
                    text = json.dumps(msgspec.json.decode(rendered.body), ensure_ascii=False)
                    for word in self.words(chat):
                        self.assertIn(json.dumps(word, ensure_ascii=False)[1:-1], text)

    def words(self, chat: ChatRequest) -> list[str]:
        found = [block.text for block in chat.system] + [tool.name for tool in chat.tools]
        for message in chat.messages:
            for block in message.content:
                match block:
                    case TextBlock(text=text) | ToolResultBlock(content=(TextBlock(text=text),)):
                        found.append(text)
                    case ToolUseBlock(id=id, name=name):
                        found += (id, name)
                    case ImageBlock(data=str(data)):
                        found.append(data)
        return found

    def test_sdk_objects(self) -> None:
        """What the official SDK makes of its own objects is understood."""
        content = types.Content(
            role="model",
            parts=[
                types.Part(text="x", thought=True, thought_signature=b"sig"),
                types.Part.from_function_call(name="f", args={"a": 1}),
                types.Part.from_bytes(data=b"png", mime_type="image/png"),
            ],
        )
        told = turns(json.loads(content.model_dump_json(exclude_none=True, by_alias=True)))
        self.assertEqual(
            told[0].content,
            (
                ThinkingBlock("x", "c2ln"),
                ToolUseBlock("call_1", "f", '{"a":1}'),
                ImageBlock("image/png", "cG5n"),
            ),
        )
