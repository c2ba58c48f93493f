"""Anthropic Messages bodies read into a `ChatRequest`."""

from __future__ import annotations

import json
import unittest
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aigateway.dialects.claude.parse import is_claude_body, parse_request
from aigateway.errors import MalformedRequest
from aigateway.events import (
    ChatRequest,
    DocumentBlock,
    ImageBlock,
    Message,
    OtherBlock,
    RedactedThinkingBlock,
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
HELLO = [{"role": "user", "content": "hello"}]

VALUES = [None, 1, -1, 1.5, 10**30, True, "x", "", [], {}, [1], ["x"], {"type": "text"}]
NAMES = ["model", "messages", "role", "content", "type", "source", "tools", "input", "text"]
WORDS = ["user", "text", "image", "base64", "tool_use", "document", "content"]
LIKELY_JSON = st.recursive(
    st.sampled_from([*VALUES, *WORDS]) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
).map(lambda value: json.dumps(value).encode())


def parse(**fields: object) -> ChatRequest:
    return parse_request(body(**fields))


def body(**fields: object) -> bytes:
    return json.dumps({"model": "claude-x", "max_tokens": 8, "messages": HELLO, **fields}).encode()


def block(**fields: object) -> tuple[RequestBlock, ...]:
    return parse(messages=[{"role": "user", "content": [fields]}]).messages[0].content


def recorded(name: str, provider: str = "anthropic") -> bytes:
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
        """A string as content is one text block, and usage is always wanted."""
        chat = parse(stream=True)
        self.assertEqual(chat.dialect, "claude")
        self.assertEqual(chat.model, "claude-x")
        self.assertEqual(chat.max_tokens, 8)
        self.assertTrue(chat.stream)
        self.assertTrue(chat.include_usage)
        self.assertEqual(chat.messages, (Message("user", (TextBlock("hello"),)),))
        self.assertEqual((chat.other, chat.unknown), ((), ()))

    def test_raw(self) -> None:
        """The body as it came travels with the request."""
        self.assertEqual(parse_request(body()).raw, body())

    def test_each(self) -> None:
        """Every field of the dialect that the hub has a word for arrives under that word."""
        cases: list[tuple[dict[str, object], str, object]] = [
            ({"system": "be brief"}, "system", (TextBlock("be brief"),)),
            (
                {"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                "system",
                (TextBlock("a"), TextBlock("b")),
            ),
            ({"temperature": 1}, "temperature", 1.0),
            ({"top_p": 0.5}, "top_p", 0.5),
            ({"top_k": 5}, "top_k", 5),
            ({"stop_sequences": ["x", "y"]}, "stop", ("x", "y")),
            ({"metadata": {"user_id": "u"}}, "user", "u"),
            ({"service_tier": "standard_only"}, "service_tier", "standard_only"),
            ({"output_config": {"effort": "low"}}, "effort", "low"),
            (
                {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
                "response_format",
                ResponseFormat("json_schema", {"type": "object"}),
            ),
            (
                {"output_format": {"type": "json_schema", "schema": {}}},
                "response_format",
                ResponseFormat("json_schema", {}),
            ),
            (
                {"thinking": {"type": "enabled", "budget_tokens": 2048}},
                "thinking",
                Thinking("enabled", 2048),
            ),
            (
                {"thinking": {"type": "adaptive", "display": "omitted"}},
                "thinking",
                Thinking("adaptive", None, hidden=True),
            ),
            ({"thinking": {"type": "disabled"}}, "thinking", Thinking("disabled")),
            ({"tool_choice": {"type": "any"}}, "tool_choice", ToolChoice("any")),
            ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice", ToolChoice("tool", "f")),
            ({"tool_choice": {"type": "none"}}, "tool_choice", ToolChoice("none")),
            ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, "parallel_tools", False),
            ({"tool_choice": {"type": "auto"}}, "parallel_tools", None),
            ({"max_tokens": 0}, "max_tokens", 0),
        ]
        for fields, name, expected in cases:
            with self.subTest(fields=fields):
                self.assertEqual(getattr(parse(**fields), name), expected)

    def test_null(self) -> None:
        """Null is as good as absent in every field that may be left out."""
        names = (
            "system stop_sequences stream temperature top_p top_k tools tool_choice thinking "
            "output_config output_format metadata service_tier container nonsense"
        )
        chat = parse(**dict.fromkeys(names.split()))
        self.assertEqual(_without_raw(chat), _without_raw(parse()))

    def test_max_tokens_default(self) -> None:
        """A configured default stands in for a missing max_tokens, and only then."""
        raw = json.dumps({"model": "m", "messages": HELLO}).encode()
        self.assertEqual(parse_request(raw, max_tokens_default=99).max_tokens, 99)
        self.assertEqual(parse_request(body(), max_tokens_default=99).max_tokens, 8)

    def test_tools(self) -> None:
        """Custom tools arrive whole; server tools and the hints of a tool are reported."""
        chat = parse(
            tools=[
                {"type": "web_search_20250305", "name": "web_search"},
                {
                    "name": "f",
                    "description": "d",
                    "input_schema": {"type": "object"},
                    "strict": True,
                    "defer_loading": True,
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "custom", "name": "g", "input_schema": {}},
            ]
        )
        self.assertEqual(chat.tools, (Tool("f", "d", {"type": "object"}, True), Tool("g", None, {})))
        self.assertEqual(chat.other, ("tools[0]", "cache_control", "tools.defer_loading"))

    def test_other_and_unknown(self) -> None:
        """Names without a word in the hub are told apart from names that nobody knows."""
        chat = parse(container="c", mcp_servers=[], cache_control={"type": "ephemeral"}, frobnicate=1)
        self.assertEqual(chat.other, ("container", "mcp_servers", "cache_control"))
        self.assertEqual(chat.unknown, ("frobnicate",))


class BlockTests(unittest.TestCase):
    """Content blocks."""

    def test_each(self) -> None:
        """Every block of the dialect becomes the hub's block for it."""
        pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
        cases: list[tuple[dict[str, object], tuple[RequestBlock, ...]]] = [
            ({"type": "text", "text": "a"}, (TextBlock("a"),)),
            ({"type": "text", "text": ""}, ()),
            (
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                (ImageBlock("image/png", "aGk="),),
            ),
            ({"type": "image", "source": {"type": "url", "url": "http://x"}}, (ImageBlock(url="http://x"),)),
            ({"type": "image", "source": {"type": "file", "file_id": "f"}}, (OtherBlock("image.file_id"),)),
            (
                {"type": "document", "source": pdf, "title": "T"},
                (DocumentBlock("application/pdf", "JVBE", title="T"),),
            ),
            (
                {"type": "document", "source": pdf, "context": "C"},
                (TextBlock("C"), DocumentBlock("application/pdf", "JVBE")),
            ),
            (
                {"type": "document", "source": {"type": "url", "url": "http://x"}},
                (DocumentBlock(url="http://x"),),
            ),
            (
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}},
                (DocumentBlock("text/plain", text="t"),),
            ),
            (
                {
                    "type": "document",
                    "title": "T",
                    "source": {"type": "content", "content": [{"type": "text", "text": "a"}]},
                },
                (TextBlock("T"), TextBlock("a")),
            ),
            (
                {"type": "document", "source": {"type": "file", "file_id": "f"}},
                (OtherBlock("document.file_id"),),
            ),
            (
                {
                    "type": "search_result",
                    "title": "T",
                    "source": "http://x",
                    "content": [{"type": "text", "text": "a"}],
                },
                (TextBlock("T\nhttp://x\n\na"),),
            ),
            (
                {"type": "tool_use", "id": "i", "name": "f", "input": {"a": [1, 2.50]}},
                (ToolUseBlock("i", "f", '{"a":[1,2.5]}'),),
            ),
            (
                {"type": "tool_result", "tool_use_id": "i", "content": "ok"},
                (ToolResultBlock("i", (TextBlock("ok"),)),),
            ),
            (
                {
                    "type": "tool_result",
                    "tool_use_id": "i",
                    "content": [{"type": "text", "text": "ok"}],
                    "is_error": True,
                },
                (ToolResultBlock("i", (TextBlock("ok"),), True),),
            ),
            ({"type": "tool_result", "tool_use_id": "i"}, (ToolResultBlock("i"),)),
            ({"type": "thinking", "thinking": "t", "signature": "s"}, (ThinkingBlock("t", "s"),)),
            ({"type": "thinking", "thinking": "t"}, (ThinkingBlock("t"),)),
            ({"type": "redacted_thinking", "data": "d"}, (RedactedThinkingBlock("d"),)),
            (
                {"type": "web_search_tool_result", "tool_use_id": "i", "content": {"type": "error"}},
                (OtherBlock("web_search_tool_result"),),
            ),
            ({"type": "of_next_year", "text": 1, "source": []}, (OtherBlock("of_next_year"),)),
        ]
        for wire, expected in cases:
            with self.subTest(wire=wire):
                self.assertEqual(block(**wire), expected)

    def test_input_as_written(self) -> None:
        """The input of a call keeps its numbers as they were written, without the blanks."""
        call = {"type": "tool_use", "id": "i", "name": "f", "input": "HERE"}
        raw = body(messages=[{"role": "assistant", "content": [call]}])
        raw = raw.replace(b'"HERE"', b'{ "a" : 1.50 , "b" : 12345678901234567890123 }')
        self.assertEqual(
            parse_request(raw).messages[0].content,
            (ToolUseBlock("i", "f", '{"a":1.50,"b":12345678901234567890123}'),),
        )

    def test_lost_parts(self) -> None:
        """Cache marks and citations, wherever they stand, are reported once."""
        mark = {"type": "ephemeral"}
        text = {"type": "text", "text": "a", "cache_control": mark, "citations": [{"type": "x"}]}
        chat = parse(messages=[{"role": "user", "content": [text, text]}], system=[text])
        self.assertEqual(chat.other, ("cache_control", "citations"))


class RefusalTests(unittest.TestCase):
    """What is refused, and how the error names it."""

    def test_fields(self) -> None:
        """A wrong body is refused with the path of the field and what was expected."""

        def content(*blocks: object) -> dict[str, object]:
            return {"messages": [*HELLO, {"role": "user", "content": list(blocks)}]}

        at = "messages[1].content[0]"
        cases: list[tuple[dict[str, object], str, str]] = [
            ({"model": None}, "model", "field required; GET /v1/models lists the names there are"),
            ({"model": 5}, "model", "expected a string, got an integer"),
            ({"max_tokens": None}, "max_tokens", "field required"),
            ({"max_tokens": "8"}, "max_tokens", "expected an integer, got a string"),
            ({"max_tokens": -1}, "max_tokens", "expected an integer >= 0, got -1"),
            ({"max_tokens": 1.5}, "max_tokens", "expected an integer, got a number"),
            ({"messages": None}, "messages", "at least one message is required"),
            ({"messages": []}, "messages", "at least one message is required"),
            ({"messages": {}}, "messages", "expected a list, got an object"),
            ({"messages": [{"content": "x"}]}, "messages[0].role", "field required"),
            ({"messages": [{"role": "user"}]}, "messages[0].content", "field required"),
            (
                {"messages": [{"role": "user", "content": None}]},
                "messages[0].content",
                "expected a string or a list, got null",
            ),
            (
                {"messages": [{"role": "tool", "content": "x"}]},
                "messages[0].role",
                'expected one of user, assistant, system, got "tool"',
            ),
            (content("x"), at, "expected an object, got a string"),
            (content({"text": "x"}), f"{at}.type", "field required"),
            (content({"type": 1}), f"{at}.type", "expected a string, got an integer"),
            (content({"type": "text"}), f"{at}.text", "field required"),
            (content({"type": "text", "text": 1}), f"{at}.text", "expected a string, got an integer"),
            (
                content({"type": "image", "source": {"type": "smoke"}}),
                f"{at}.source.type",
                'unknown value "smoke"',
            ),
            (
                content({"type": "tool_use", "id": "i", "name": "f", "input": "{}"}),
                f"{at}.input",
                "expected an object",
            ),
            (
                content({"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text"}]}),
                f"{at}.content[0].text",
                "field required",
            ),
            (
                {"system": [{"type": "image", "source": {"type": "url", "url": "u"}}]},
                "system[0].type",
                'expected "text"',
            ),
            ({"tools": [{"input_schema": {}}]}, "tools[0].name", "field required"),
            ({"tools": [{"name": "f"}]}, "tools[0].input_schema", "field required"),
            (
                {"tools": [{"name": "f", "input_schema": []}]},
                "tools[0].input_schema",
                "expected an object, got a list",
            ),
            (
                {"tool_choice": {"type": "some"}},
                "tool_choice.type",
                'expected one of auto, any, tool, none, got "some"',
            ),
            ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "field required"),
            (
                {"thinking": {"type": "on"}},
                "thinking.type",
                'expected one of enabled, adaptive, disabled, between_tools, got "on"',
            ),
            ({"temperature": "hot"}, "temperature", "expected a number, got a string"),
            ({"stream": 1}, "stream", "expected true or false, got an integer"),
            ({"stop_sequences": ["a", 1]}, "stop_sequences[1]", "expected a string, got an integer"),
        ]
        for fields, param, problem in cases:
            with self.subTest(fields=fields):
                error = refusal(body(**fields))
                self.assertEqual((error.param, error.message), (param, f"{param}: {problem}"))
                self.assertEqual(error.status, 400)

    def test_not_json(self) -> None:
        """What is not JSON, or not an object, is refused in as many words."""
        self.assertTrue(refusal(b"{").message.startswith("the body is not JSON: "))
        self.assertTrue(refusal(b'{"a":1,"a":2}').message.startswith("the body is not JSON: "))
        self.assertEqual(refusal(b"[]").message, "the body: expected an object, got a list")

    def test_nested_blocks(self) -> None:
        """Lists of blocks nest as far as the API lets them, and no further: each level is read anew."""
        text: dict[str, Any] = {"type": "text", "text": "x"}

        def nested(depth: int) -> dict[str, Any]:
            source = {"type": "content", "content": [nested(depth - 1) if depth > 1 else text]}
            return {"type": "document", "source": source}

        result = {"type": "tool_result", "tool_use_id": "t", "content": [nested(1)]}
        parse(messages=[{"role": "user", "content": [result]}])
        error = refusal(body(messages=[{"role": "user", "content": [nested(4)]}]))
        self.assertIn("nested more than 4 deep", error.message)

    def test_long_values(self) -> None:
        """A refused value is quoted no further than a name would be long."""
        error = refusal(body(messages=[{"role": "x" * 500, "content": "x"}]))
        self.assertLess(len(error.message), 150)

    @settings(max_examples=150, deadline=None)
    @given(st.binary() | LIKELY_JSON)
    @example(b'{"messages":' + b"[" * 100_000)
    @example(body(model="HERE").replace(b"HERE", b"\\ud800"))
    @example(body(top_k=10**30))
    def test_nothing_else(self, raw: bytes) -> None:
        """Whatever the bytes are, they are taken or refused as a malformed request."""
        is_claude_body(raw)
        with suppress(MalformedRequest):
            parse_request(raw, max_tokens_default=1)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_nothing_else_nearly_right(self, data: st.DataObject) -> None:
        """A recorded body with any one value replaced is taken or refused as a malformed request."""
        value = json.loads(recorded("sonnet4-thinking-tool-2"))
        place: object = value
        while isinstance(place, (dict, list)) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if data.draw(st.booleans()) or not isinstance(place[key], (dict, list)):
                place[key] = data.draw(st.sampled_from(VALUES))
                break
            place = place[key]
        try:
            parse_request(json.dumps(value).encode())
        except MalformedRequest as error:
            self.assertIsNotNone(error.param)


class RecordedTests(unittest.TestCase):
    """Bodies that were sent to Anthropic."""

    def test_reports(self) -> None:
        """Of recorded bodies only what the hub has no word for is reported; no name is unknown."""
        expected: dict[str, tuple[str, ...]] = {
            "citations": ("citations",),
            "computer-use": ("tools[0]",),
            "error-400-effort": (),
            "forced-tool-object": (),
            "image-in-tool-result": (),
            "mcp-servers": ("mcp_servers",),
            "mid-conversation-system-with-tools": (),
            "pdf-in-tool-result": (),
            "sonnet4-cache-parallel": ("cache_control",),
            "sonnet4-thinking-tool-2": (),
            "tool-search-stream": ("tools.defer_loading", "tools[2]"),
        }
        for name, other in expected.items():
            with self.subTest(name=name):
                chat = parse_request(recorded(name))
                self.assertEqual((chat.other, chat.unknown), (other, ()))

    def test_tool_turn(self) -> None:
        """A recorded turn of thinking, a call and its result keeps its order."""
        chat = parse_request(recorded("sonnet4-thinking-tool-2"))
        kinds = [[type(block).__name__ for block in message.content] for message in chat.messages]
        self.assertEqual(kinds, [["TextBlock"], ["ThinkingBlock", "ToolUseBlock"], ["ToolResultBlock"]])

    def test_image_in_result(self) -> None:
        """An image within a tool result stays within it."""
        result = parse_request(recorded("image-in-tool-result")).messages[2].content[0]
        assert isinstance(result, ToolResultBlock)
        self.assertTrue(any(isinstance(block, ImageBlock) for block in result.content))

    def test_system_in_the_middle(self) -> None:
        """A system message in the middle of a conversation stays where it is."""
        chat = parse_request(recorded("mid-conversation-system-with-tools"))
        self.assertIn("system", [message.role for message in chat.messages])


class WhoseBodyTests(unittest.TestCase):
    """A Claude body on the shared endpoint."""

    def test_claude(self) -> None:
        """A top-level system, an input_schema, tool blocks or a source make a body Claude's."""
        for fields in (
            {"system": "x"},
            {"tools": [{"name": "f", "input_schema": {}}]},
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use"}]}]},
            {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]},
        ):
            with self.subTest(fields=fields):
                self.assertTrue(is_claude_body(body(**fields)))
                self.assertTrue(is_claude_body(json.dumps({"messages": HELLO, **fields}, indent=1).encode()))

    def test_hostile(self) -> None:
        """A body that would not be read is nobody's, and is not looked into: it would cost seconds."""
        self.assertFalse(is_claude_body(b'{"system":1,"messages":[' + b"{}," * 500_000 + b"{}]}"))

    def test_openai(self) -> None:
        """OpenAI's bodies are not taken for Claude's, whatever words are in their texts and schemas."""
        schema = {"type": "object", "properties": {"system": {}, "input_schema": {}, "source": {}}}
        for fields in (
            {},
            {"system": None},
            {"messages": [{"role": "system", "content": '"system": "tool_use" "source": {}'}]},
            {"messages": [{"role": "user", "content": "x", "name": "tool_use"}]},
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]},
        ):
            with self.subTest(fields=fields):
                self.assertFalse(is_claude_body(body(**fields)))

    def test_recorded(self) -> None:
        """No recorded OpenAI or GLM body is taken for a Claude one."""
        paths = [*(FIXTURES / "openai").glob("*.request.json"), *(FIXTURES / "glm").glob("*.request.json")]
        self.assertGreater(len(paths), 10)
        for path in paths:
            with self.subTest(name=path.name):
                self.assertFalse(is_claude_body(path.read_bytes()))


def _without_raw(chat: ChatRequest) -> ChatRequest:
    return msgspec.structs.replace(chat, raw=b"")
