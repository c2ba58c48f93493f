"""OpenAI Chat Completions bodies read into a `ChatRequest`."""

from __future__ import annotations

import json
import unittest
from contextlib import suppress
from pathlib import Path

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aigateway.dialects import free_text
from aigateway.dialects.openai.parse import parse_request
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

FIXTURES = Path(__file__).parent / "fixtures"
HELLO: list[dict[str, object]] = [{"role": "user", "content": "hello"}]
VALUES = [None, 1, -1, 1.5, 10**30, True, "x", "", [], {}, [1], ["x"], {"type": "text"}]
NAMES = ["model", "messages", "role", "content", "type", "tool_calls", "tools", "image_url", "text", "stop"]
WORDS = ["user", "tool", "assistant", "text", "image_url", "data:,x", "file", "function"]
LIKELY_JSON = st.recursive(
    st.sampled_from([*VALUES, *WORDS]) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
).map(lambda value: json.dumps(value).encode())


def parse(**fields: object) -> ChatRequest:
    return parse_request(body(**fields))


def body(**fields: object) -> bytes:
    return json.dumps({"model": "gpt-x", "messages": HELLO, **fields}).encode()


def turns(*messages: dict[str, object]) -> tuple[Message, ...]:
    return parse(messages=messages).messages


def part(**fields: object) -> tuple[RequestBlock, ...]:
    return turns({"role": "user", "content": [fields]})[0].content


def call(id: str, arguments: str | None = "{}", **fields: object) -> dict[str, object]:
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}, **fields}


def recorded(name: str) -> bytes:
    provider, _, name = name.partition("/")
    return (FIXTURES / provider / f"{name}.request.json").read_bytes()


def refusal(raw: bytes) -> MalformedRequest:
    try:
        parse_request(raw)
    except MalformedRequest as error:
        return error
    raise AssertionError("the body was taken")


class FieldTests(unittest.TestCase):
    """Top-level fields."""

    def test_plain(self) -> None:
        """A string as content is one text block; usage is wanted when it is asked for."""
        chat = parse(stream=True, stream_options={"include_usage": True})
        self.assertEqual((chat.dialect, chat.model), ("openai", "gpt-x"))
        self.assertTrue(chat.stream)
        self.assertTrue(chat.include_usage)
        self.assertFalse(parse(stream=True).include_usage)
        self.assertEqual(chat.messages, (Message("user", (TextBlock("hello"),)),))
        self.assertEqual((chat.other, chat.unknown), ((), ()))
        self.assertEqual(parse_request(body()).raw, body())

    def test_each(self) -> None:
        """Every field of the dialect that the hub has a word for arrives under that word."""
        schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
        cases: list[tuple[dict[str, object], str, object]] = [
            ({"max_tokens": 5}, "max_tokens", 5),
            ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", 6),
            ({}, "max_tokens", None),
            ({"temperature": 2}, "temperature", 2.0),
            ({"top_p": 0.5}, "top_p", 0.5),
            ({"stop": "x"}, "stop", ("x",)),
            ({"stop": ["x", "y"]}, "stop", ("x", "y")),
            ({"parallel_tool_calls": False}, "parallel_tools", False),
            ({"reasoning_effort": "high"}, "effort", "high"),
            ({"response_format": {"type": "text"}}, "response_format", None),
            ({"response_format": {"type": "json_object"}}, "response_format", ResponseFormat("json_object")),
            (
                {"response_format": {"type": "json_schema", "json_schema": schema}},
                "response_format",
                ResponseFormat("json_schema", {"type": "object"}, "n", True),
            ),
            ({"user": "u"}, "user", "u"),
            ({"safety_identifier": "s", "prompt_cache_key": "s"}, "user", "s"),
            ({"prompt_cache_key": "p"}, "user", "p"),
            ({"seed": 7}, "seed", 7),
            ({"presence_penalty": 1}, "presence_penalty", 1.0),
            ({"frequency_penalty": -1}, "frequency_penalty", -1.0),
            ({"service_tier": "flex"}, "service_tier", "flex"),
            (
                {"thinking": {"type": "enabled", "budget_tokens": 9}},
                "thinking",
                Thinking("enabled", 9),
            ),
            ({"thinking": {"type": "disabled"}}, "thinking", Thinking("disabled")),
            ({"thinking": {"clear_thinking": False}}, "thinking", None),
        ]
        for fields, name, expected in cases:
            with self.subTest(fields=fields):
                chat = parse(**fields)
                self.assertEqual(getattr(chat, name), expected)
                self.assertEqual((chat.other, chat.unknown), ((), ()))

    def test_null(self) -> None:
        """Null is as good as absent in every field that may be left out."""
        names = (
            "stream stream_options max_completion_tokens max_tokens temperature top_p stop tools tool_choice "
            "parallel_tool_calls functions function_call reasoning_effort thinking response_format user "
            "safety_identifier prompt_cache_key seed presence_penalty frequency_penalty service_tier "
            "n logprobs store nonsense"
        )
        chat = parse(**dict.fromkeys(names.split()))
        self.assertEqual(msgspec.structs.replace(chat, raw=b""), msgspec.structs.replace(parse(), raw=b""))

    def test_defaults(self) -> None:
        """A field without a word in the hub is not reported when it says what its absence says."""
        said = {
            "n": 1,
            "logprobs": False,
            "store": False,
            "modalities": ["text"],
            "logit_bias": {},
            "metadata": {},
        }
        self.assertEqual(parse(**said).other, ())
        meant = {
            "n": 2,
            "logprobs": True,
            "store": True,
            "modalities": ["text", "audio"],
            "logit_bias": {"1": 1},
            "metadata": {"a": "b"},
            "audio": {},
            "verbosity": "low",
            "prediction": {},
            "web_search_options": {},
            "top_logprobs": 2,
        }
        self.assertEqual(parse(**meant).other, tuple(meant))

    def test_other_and_unknown(self) -> None:
        """Names without a word in the hub are told apart from names that nobody knows."""
        chat = parse(
            verbosity="low",
            frobnicate=1,
            user="u",
            safety_identifier="s",
            tools=[{"type": "function", "function": {"name": "f"}, "cache_control": {}}],
            messages=[{"role": "user", "content": "x", "name": "ann"}],
        )
        self.assertEqual(
            set(chat.other), {"verbosity", "safety_identifier", "cache_control", "messages.name"}
        )
        self.assertEqual(chat.unknown, ("frobnicate",))


class MessageTests(unittest.TestCase):
    """Messages and their parts."""

    def test_system(self) -> None:
        """Leading system and developer messages are the system text; a later one is a turn."""
        chat = parse(
            messages=[
                {"role": "system", "content": "a"},
                {"role": "developer", "content": [{"type": "text", "text": "b"}]},
                *HELLO,
                {"role": "developer", "content": "c"},
            ]
        )
        self.assertEqual(chat.system, (TextBlock("a"), TextBlock("b")))
        self.assertEqual([message.role for message in chat.messages], ["user", "system"])
        self.assertEqual(chat.messages[1].content, (TextBlock("c"),))

    def test_parts(self) -> None:
        """Every part of the dialect becomes the hub's block for it."""
        cases: list[tuple[dict[str, object], tuple[RequestBlock, ...]]] = [
            ({"type": "text", "text": "a"}, (TextBlock("a"),)),
            ({"type": "text", "text": ""}, ()),
            (
                {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,aGk="}},
                (ImageBlock("image/png", "aGk="),),
            ),
            (
                {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,aGk="}},
                (ImageBlock("image/jpeg", "aGk="),),
            ),
            (
                {"type": "image_url", "image_url": {"url": "data:image/png;charset=x;base64,aGk="}},
                (ImageBlock("image/png", "aGk="),),
            ),
            (
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "auto"}},
                (ImageBlock(url="https://x/y.png"),),
            ),
            ({"type": "image_url", "image_url": "https://x/y.png"}, (ImageBlock(url="https://x/y.png"),)),
            (
                {
                    "type": "file",
                    "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"},
                },
                (DocumentBlock("application/pdf", "JVBE", title="a.pdf"),),
            ),
            ({"type": "file", "file": {"file_data": "JVBE"}}, (DocumentBlock("application/pdf", "JVBE"),)),
            ({"type": "file", "file": {"file_id": "file-1"}}, (OtherBlock("file.file_id"),)),
            (
                {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
                (AudioBlock("UklG", "wav"),),
            ),
            ({"type": "refusal", "refusal": "no"}, (TextBlock("no"),)),
            ({"type": "of_next_year", "text": 1}, (OtherBlock("of_next_year"),)),
        ]
        for wire, expected in cases:
            with self.subTest(wire=wire):
                self.assertEqual(part(**wire), expected)

    def test_assistant(self) -> None:
        """An assistant's thinking, text, refusal and calls come in that order."""
        turn = turns(
            *HELLO,
            {
                "role": "assistant",
                "content": "text",
                "refusal": "no",
                "reasoning_content": "hm",
                "tool_calls": [call("a", '{ "x": 1.0 }'), call("b", None)],
            },
        )[1]
        self.assertEqual(
            turn.content,
            (
                ThinkingBlock("hm"),
                TextBlock("text"),
                TextBlock("no"),
                ToolUseBlock("a", "f", '{"x":1.0}'),
                ToolUseBlock("b", "f", "{}"),
            ),
        )

    def test_arguments(self) -> None:
        """What a model wrote for arguments and is no JSON object is kept as text, never refused."""
        cases = {
            "": "{}",
            " \n": "{}",
            "{}": "{}",
            '{"a" : [ ]}': '{"a":[]}',
            '{"a":': '{"_raw":"{\\"a\\":"}',
            "[1]": '{"_raw":"[1]"}',
            "3": '{"_raw":"3"}',
            '{"a":1,"a":2}': '{"_raw":"{\\"a\\":1,\\"a\\":2}"}',
        }
        for arguments, expected in cases.items():
            with self.subTest(arguments=arguments):
                turn = turns({"role": "assistant", "tool_calls": [call("a", arguments)]})[0]
                self.assertEqual(turn.content, (ToolUseBlock("a", "f", expected),))

    def test_signature(self) -> None:
        """Google's signature on a call is on the call and in a thinking block right before it."""
        signed = call("b", extra_content={"google": {"thought_signature": "sig"}})
        odd = call("c", extra_content={"google": "?"})
        turn = turns({"role": "assistant", "content": None, "tool_calls": [call("a"), signed, odd]})[0]
        self.assertEqual(
            turn.content,
            (
                ToolUseBlock("a", "f", "{}"),
                ThinkingBlock("", "sig"),
                ToolUseBlock("b", "f", "{}", "sig"),
                ToolUseBlock("c", "f", "{}"),
            ),
        )

    def test_custom_call(self) -> None:
        """A call of a custom tool has its text as the one member of an object."""
        custom = {"id": "a", "type": "custom", "custom": {"name": "f", "input": 'say "x"'}}
        turn = turns({"role": "assistant", "tool_calls": [custom]})[0]
        self.assertEqual(turn.content, (ToolUseBlock("a", "f", '{"input":"say \\"x\\""}'),))

    def test_results(self) -> None:
        """Results that follow one another are one user message, the text after them another."""
        messages = turns(
            *HELLO,
            {"role": "assistant", "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}]},
            *HELLO,
        )
        self.assertEqual([message.role for message in messages], ["user", "assistant", "user", "user"])
        self.assertEqual(
            messages[2].content,
            (ToolResultBlock("a", (TextBlock("1"),)), ToolResultBlock("b", (TextBlock("2"),))),
        )

    def test_legacy_functions(self) -> None:
        """A legacy function call and its result, which have no id, share a made-up one."""
        chat = parse(
            messages=[
                *HELLO,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "1"},
            ],
            functions=[{"name": "f", "parameters": {"type": "object"}}],
            function_call={"name": "f"},
        )
        used, result = chat.messages[1].content[0], chat.messages[2].content[0]
        assert isinstance(used, ToolUseBlock)
        assert isinstance(result, ToolResultBlock)
        self.assertEqual(used.id, result.tool_use_id)
        self.assertEqual(chat.tools, (Tool("f", None, {"type": "object"}),))
        self.assertEqual(chat.tool_choice, ToolChoice("tool", "f"))


class ToolTests(unittest.TestCase):
    """Tools and the choice among them."""

    def test_tools(self) -> None:
        """Functions arrive whole, custom tools as tools of free text with their grammar, if they have
        one; others are reported."""
        chat = parse(
            tools=[
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "description": "d",
                        "parameters": {"type": "object"},
                        "strict": True,
                    },
                },
                {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar"}}},
                {"type": "custom", "custom": {"name": "h", "format": {"type": "text"}}},
                {"type": "web_search"},
            ]
        )
        self.assertEqual(
            chat.tools,
            (
                Tool("f", "d", {"type": "object"}, True),
                Tool("g", None, free_text.SCHEMA, free_text=True, grammar={"type": "grammar"}),
                Tool("h", None, free_text.SCHEMA, free_text=True),
            ),
        )
        self.assertEqual(chat.other, ("tools[3]",))

    def test_choice(self) -> None:
        """Each form of tool_choice is one of the hub's."""
        cases: list[tuple[object, ToolChoice]] = [
            ("none", ToolChoice("none")),
            ("auto", ToolChoice("auto")),
            ("required", ToolChoice("any")),
            ({"type": "function", "function": {"name": "f"}}, ToolChoice("tool", "f")),
            ({"type": "custom", "custom": {"name": "g"}}, ToolChoice("tool", "g")),
        ]
        for choice, expected in cases:
            with self.subTest(choice=choice):
                self.assertEqual(parse(tool_choice=choice).tool_choice, expected)

    def test_allowed_tools(self) -> None:
        """A choice of allowed tools leaves only those."""
        chat = parse(
            tools=[{"type": "function", "function": {"name": name}} for name in "abc"],
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": name}} for name in "ac"],
                },
            },
        )
        self.assertEqual([tool.name for tool in chat.tools], ["a", "c"])
        self.assertEqual(chat.tool_choice, ToolChoice("any"))


class RefusalTests(unittest.TestCase):
    """What is refused, and how the error names it."""

    def test_fields(self) -> None:
        """A wrong body is refused with the path of the field and what was expected."""

        def content(*parts: object) -> dict[str, object]:
            return {"messages": [{"role": "user", "content": list(parts)}]}

        at = "messages[0].content[0]"
        data_url = 'expected a base64 data: URL, such as "data:image/png;base64,..."'
        cases: list[tuple[dict[str, object], str, str]] = [
            ({"model": None}, "model", "field required; GET /v1/models lists the names there are"),
            ({"model": ""}, "model", "field required; GET /v1/models lists the names there are"),
            ({"model": 1}, "model", "expected a string, got an integer"),
            ({"messages": []}, "messages", "at least one message is required"),
            ({"messages": ["x"]}, "messages[0]", "expected an object, got a string"),
            ({"messages": [{"content": "x"}]}, "messages[0].role", "field required"),
            (
                {"messages": [{"role": "robot", "content": "x"}]},
                "messages[0].role",
                'expected one of system, developer, user, assistant, tool, function, got "robot"',
            ),
            (
                {"messages": [{"role": "user", "content": {}}]},
                "messages[0].content",
                "expected a string or a list, got an object",
            ),
            (content("x"), at, "expected an object, got a string"),
            (content({"type": "text"}), f"{at}.text", "field required"),
            (
                content({"type": "image_url", "image_url": {}}),
                f"{at}.image_url.url",
                "field required",
            ),
            (
                content({"type": "image_url", "image_url": {"url": "data:image/png,x"}}),
                f"{at}.image_url.url",
                data_url,
            ),
            (content({"type": "image_url", "image_url": "data:;base64,x"}), f"{at}.image_url", data_url),
            (content({"type": "file", "file": {}}), f"{at}.file.file_data", "field required"),
            (
                {"messages": [{"role": "tool", "content": "x"}]},
                "messages[0].tool_call_id",
                "field required in a tool message",
            ),
            (
                {"messages": [{"role": "function", "content": "x"}]},
                "messages[0].name",
                "field required in a function message",
            ),
            (
                {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]},
                "messages[0].tool_calls[0].id",
                "field required",
            ),
            (
                {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
                "messages[0].tool_calls[0].function",
                "field required",
            ),
            (
                {
                    "messages": [
                        {"role": "system", "content": [{"type": "image_url", "image_url": "http://x"}]}
                    ]
                },
                "messages[0].content",
                "expected parts of type text only in a system message",
            ),
            ({"tools": [{"type": "function"}]}, "tools[0].function", "field required"),
            ({"tools": [{"function": {}}]}, "tools[0].function.name", "field required"),
            (
                {"tool_choice": "maybe"},
                "tool_choice",
                'expected one of none, auto, required, got "maybe"',
            ),
            ({"tool_choice": {"type": "function"}}, "tool_choice.function", "field required"),
            ({"function_call": "required"}, "function_call", 'expected one of none, auto, got "required"'),
            ({"stop": 1}, "stop", "expected a string or a list, got an integer"),
            ({"max_tokens": -1}, "max_tokens", "expected an integer >= 0, got -1"),
            (
                {"max_completion_tokens": -1},
                "max_completion_tokens",
                "expected an integer >= 0, got -1",
            ),
            (
                {"response_format": {"type": "json_schema"}},
                "response_format.json_schema",
                "field required",
            ),
            (
                {"thinking": {"type": "on"}},
                "thinking.type",
                'expected one of enabled, adaptive, disabled, got "on"',
            ),
        ]
        for fields, param, problem in cases:
            with self.subTest(fields=fields):
                error = refusal(body(**fields))
                self.assertEqual((error.param, error.message), (param, f"{param}: {problem}"))

    @settings(max_examples=150, deadline=None)
    @given(st.binary() | LIKELY_JSON)
    @example(b'{"messages":' + b"[" * 100_000)
    @example(body(seed=10**30))
    @example(body(messages=[{"role": "assistant", "tool_calls": [call("a", "[" * 100_000)]}]))
    def test_nothing_else(self, raw: bytes) -> None:
        """Whatever the bytes are, they are taken or refused as a malformed request."""
        with suppress(MalformedRequest):
            parse_request(raw)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_nothing_else_nearly_right(self, data: st.DataObject) -> None:
        """A recorded body with any one value replaced is taken or refused as a malformed request."""
        value = json.loads(recorded("openai/gpt-4o-mini-parallel-tools-2"))
        place = value
        while True:
            key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
                place[key] = data.draw(st.sampled_from(VALUES))
                break
            place = place[key]
        try:
            parse_request(json.dumps(value).encode())
        except MalformedRequest as error:
            self.assertIsNotNone(error.param)


class RecordedTests(unittest.TestCase):
    """Bodies that were sent to OpenAI and GLM."""

    def test_reports(self) -> None:
        """Of recorded bodies only what the hub has no word for is reported."""
        expected: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
            "openai/gpt-4o-mini-text": ((), ()),
            "openai/gpt-4o-mini-parallel-tools-2": ((), ()),
            "openai/gpt-4o-json-schema-complex": ((), ()),
            "openai/gpt-5-image": ((), ()),
            "openai/image-in-tool-result": ((), ()),
            "openai/pdf-in-tool-result": ((), ()),
            "openai/prompt-cache": (("prompt_cache_options", "text.prompt_cache_breakpoint"), ()),
            "openai/parallel-tools-agents": ((), ()),
            "openai/tool-choice-list_single": ((), ()),
            "openai/moderation-after-usage": (("moderation",), ()),
            "openai/error-400-web-search": (("web_search_options",), ()),
            "openai/azure-gpt-5-nano-text": ((), ()),
            "glm/glm-4.7-flash-tool-2": ((), ()),
            "glm/glm-4.7-flash-forced-tool-object": ((), ()),
            "glm/preserved_thinking_round_trip-1": ((), ()),
            "glm/glm_5_3_reasoning_effort-0": ((), ()),
            "glm/openrouter-glm-tool-2": (("messages.reasoning_details",), ("usage",)),
        }
        for name, (other, unknown) in expected.items():
            with self.subTest(name=name):
                chat = parse_request(recorded(name))
                self.assertEqual((chat.other, chat.unknown), (other, unknown))

    def test_messages(self) -> None:
        """Every text, call, result and file of a recorded body is in the request."""
        for path in (
            *(FIXTURES / "openai").glob("*.request.json"),
            *(FIXTURES / "glm").glob("*.request.json"),
        ):
            with self.subTest(name=path.name):
                chat = parse_request(path.read_bytes())
                messages = json.loads(path.read_bytes())["messages"]
                blocks = [block for message in chat.messages for block in message.content]
                results = [block.tool_use_id for block in blocks if isinstance(block, ToolResultBlock)]
                calls = [block.id for block in blocks if isinstance(block, ToolUseBlock)]
                self.assertEqual(results, [one["tool_call_id"] for one in messages if one["role"] == "tool"])
                self.assertEqual(
                    calls, [one["id"] for message in messages for one in message.get("tool_calls") or ()]
                )
                parts = [
                    one
                    for message in messages
                    if isinstance(message.get("content"), list)
                    for one in message["content"]
                ]
                self.assertEqual(
                    sum(isinstance(block, (ImageBlock, DocumentBlock)) for block in blocks),
                    sum(one["type"] in ("image_url", "file") for one in parts),
                )

    def test_thinking(self) -> None:
        """Thinking that a client gives back to GLM is a thinking block before the text."""
        turn = parse_request(recorded("glm/preserved_thinking_round_trip-1")).messages[1]
        self.assertEqual([type(block) for block in turn.content], [ThinkingBlock, TextBlock])
