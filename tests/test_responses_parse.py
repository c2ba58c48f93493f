"""OpenAI Responses bodies read into a `ChatRequest`."""

from __future__ import annotations

import json
import unittest
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.dialects import free_text
from aigateway.dialects.base import Rendered
from aigateway.dialects.fields import refuse_needed
from aigateway.dialects.responses import RESPONSES
from aigateway.dialects.responses.parse import parse_request
from aigateway.dialects.responses.sealed import Sealed, seal
from aigateway.errors import MalformedRequest
from aigateway.events import (
    AudioBlock,
    ChatReply,
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
NAMES = ["model", "input", "role", "content", "type", "tools", "output", "call_id", "name", "arguments"]
WORDS = ["user", "developer", "message", "function_call", "input_text", "reasoning", "custom", "namespace"]
LIKELY_JSON = st.recursive(
    st.sampled_from([None, 1, -1, True, "", [], {}, *WORDS]) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
).map(lambda value: json.dumps(value).encode())
LARK = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}


def body(**fields: object) -> bytes:
    return json.dumps({"model": "gpt-x", "input": "hello", **fields}).encode()


def parse(**fields: object) -> ChatRequest:
    return parse_request(body(**fields))


def turns(*items: dict[str, object]) -> tuple[Message, ...]:
    return parse(input=items).messages


def part(**fields: object) -> tuple[RequestBlock, ...]:
    return turns({"role": "user", "content": [fields]})[0].content


def call(id: str, arguments: str = "{}", **fields: object) -> dict[str, object]:
    return {"type": "function_call", "call_id": id, "name": "f", "arguments": arguments, **fields}


def result(id: str, output: object = "done") -> dict[str, object]:
    return {"type": "function_call_output", "call_id": id, "output": output}


def said(text: str) -> dict[str, object]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}


def refusal(raw: bytes) -> MalformedRequest:
    try:
        parse_request(raw)
    except MalformedRequest as error:
        return error
    raise AssertionError("the body was taken")


class FieldTests(unittest.TestCase):
    """Top-level fields."""

    def test_all_that_the_hub_has_a_word_for(self) -> None:
        """Each field with a word of its own has that word's place."""
        chat = parse(
            instructions="Be brief.",
            stream=True,
            max_output_tokens=99,
            temperature=0.5,
            top_p=0.9,
            parallel_tool_calls=False,
            reasoning={"effort": "low", "summary": "auto"},
            user="u",
            service_tier="flex",
            store=False,
            stream_options={"include_obfuscation": False},
            include=["reasoning.encrypted_content"],
            truncation="disabled",
            metadata={},
        )
        self.assertEqual((chat.dialect, chat.model, chat.stream), ("responses", "gpt-x", True))
        self.assertEqual(chat.messages, (Message("user", (TextBlock("hello"),)),))
        self.assertEqual(chat.system, (TextBlock("Be brief."),))
        self.assertEqual((chat.max_tokens, chat.temperature, chat.top_p), (99, 0.5, 0.9))
        self.assertIs(chat.parallel_tools, False)
        self.assertEqual((chat.effort, chat.thinking), ("low", Thinking("adaptive")))
        self.assertEqual((chat.user, chat.service_tier), ("u", "flex"))
        self.assertEqual((chat.other, chat.unknown, chat.needed), ((), (), ()))

    def test_without_a_word(self) -> None:
        """What the hub has no word for is named; what nobody knows is named apart."""
        chat = parse(
            metadata={"k": "v"},
            store=True,
            truncation="auto",
            top_logprobs=2,
            text={"verbosity": "low"},
            include=["message.output_text.logprobs"],
            client_metadata={"a": "b"},
            brand_new=1,
        )
        expected = {
            *("metadata", "store", "truncation", "top_logprobs", "text.verbosity", "include"),
            "client_metadata",
        }
        self.assertEqual(set(chat.other), expected)
        self.assertEqual((chat.unknown, chat.needed), (("brand_new",), ()))

    def test_formats(self) -> None:
        """The text's format, in the hub's terms; plain text is none."""
        schema: dict[str, object] = {"type": "object"}
        for format, expected in (
            ({"type": "text"}, None),
            ({"type": "json_object"}, ResponseFormat("json_object")),
            (
                {"type": "json_schema", "name": "n", "schema": schema, "strict": True},
                ResponseFormat("json_schema", schema, "n", True),
            ),
        ):
            self.assertEqual(parse(text={"format": format}).response_format, expected)

    def test_thinking(self) -> None:
        """A summary is asked for to see thinking; without one only the effort counts."""
        for reasoning, expected in (
            ({"effort": "high"}, ("high", None)),
            ({"summary": "detailed"}, (None, Thinking("adaptive"))),
            ({"effort": "none", "summary": "auto"}, ("none", None)),
            (None, (None, None)),
        ):
            chat = parse(reasoning=reasoning)
            self.assertEqual((chat.effort, chat.thinking), expected)

    def test_who_asks(self) -> None:
        """The end user is the first of three fields; another one is named."""
        self.assertEqual(parse(prompt_cache_key="k").user, "k")
        chat = parse(prompt_cache_key="k", safety_identifier="s")
        self.assertEqual((chat.user, chat.other), ("s", ("prompt_cache_key",)))

    def test_refused(self) -> None:
        """What no server could read is refused, by the name of its field."""
        for raw, place in (
            (body(model=None), "model"),
            (body(input=[]), "input"),
            (body(max_output_tokens=-1), "max_output_tokens"),
            (body(input=[{"type": "message", "role": "tool", "content": "x"}]), "input[0].role"),
            (body(input=[{"role": "user", "content": [{"type": "input_text"}]}]), "input[0].content[0].text"),
            (body(input=[{"type": "function_call", "name": "f"}]), "input[0].call_id"),
            (body(tools=[{"type": "function"}]), "tools[0].name"),
            (body(tool_choice="sometimes"), "tool_choice"),
            (body(text={"format": {"type": "json_schema"}}), "text.format.schema"),
            (
                body(input=[{"role": "developer", "content": [{"type": "input_image", "image_url": "x"}]}]),
                "input[0].content",
            ),
            (
                body(input=[{"role": "user", "content": [{"type": "input_image"}]}]),
                "input[0].content[0].image_url",
            ),
        ):
            self.assertEqual(refusal(raw).param, place)

    @settings(deadline=None, max_examples=200)
    @given(LIKELY_JSON)
    def test_anything(self, value: bytes) -> None:
        """Whatever JSON comes, it is read or refused."""
        for raw in (value, b'{"model":"m","input":%b}' % value, b'{"model":"m","input":[%b]}' % value):
            with suppress(MalformedRequest):
                parse_request(raw)


class StoredTests(unittest.TestCase):
    """What lies with OpenAI."""

    def refused(self, chat: ChatRequest) -> MalformedRequest:
        with self.assertRaises(MalformedRequest) as caught:
            refuse_needed(chat, Rendered(b""), "glm")
        refuse_needed(chat, Rendered(b"", kept=True), "openai")  # its own client's own body
        return caught.exception

    def test_previous_response(self) -> None:
        """A provider that has not seen the earlier response is not asked to go on from it."""
        chat = parse(previous_response_id="resp_1", input=[result("call_1")])
        self.assertEqual(chat.needed, ("previous_response_id",))
        error = self.refused(chat)
        self.assertEqual(error.param, "previous_response_id")
        self.assertIn("send the whole conversation in input", error.message)

    def test_others(self) -> None:
        """So it is with a conversation, a prompt, what runs in the background, what is referred to."""
        for fields, name in (
            ({"conversation": "conv_1"}, "conversation"),
            ({"prompt": {"id": "p"}, "input": None}, "prompt"),
            ({"background": True}, "background"),
            ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.item_reference"),
            ({"input": [{"id": "msg_1"}]}, "input.item_reference"),
            ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input.compaction"),
        ):
            with self.subTest(name):
                chat = parse(**fields)
                self.assertEqual(chat.needed, (name,))
                self.assertEqual(self.refused(chat).param, name)


class ItemTests(unittest.TestCase):
    """Input items as turns."""

    maxDiff = None

    def test_a_tool_loop(self) -> None:
        """What the assistant does in a row of items is one turn; so are the results after it."""
        self.assertEqual(
            turns(
                {"role": "user", "content": "go"},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
                said("I will."),
                call("a", '{"x": 1}'),
                call("b"),
                result("a"),
                result("b", [{"type": "input_text", "text": "two"}]),
                {"role": "user", "content": "on"},
                call("c"),
                result("c", ""),
                said("Done."),
            ),
            (
                Message("user", (TextBlock("go"),)),
                Message(
                    "assistant",
                    (
                        ThinkingBlock("Hm."),
                        TextBlock("I will."),
                        ToolUseBlock("a", "f", '{"x":1}'),
                        ToolUseBlock("b", "f", "{}"),
                    ),
                ),
                Message(
                    "user",
                    (
                        ToolResultBlock("a", (TextBlock("done"),)),
                        ToolResultBlock("b", (TextBlock("two"),)),
                    ),
                ),
                Message("user", (TextBlock("on"),)),
                Message("assistant", (ToolUseBlock("c", "f", "{}"),)),
                Message("user", (ToolResultBlock("c"),)),
                Message("assistant", (TextBlock("Done."),)),
            ),
        )

    def test_instructions(self) -> None:
        """What the developer says first is the system's; later it is a turn of its own."""
        developer: dict[str, object] = {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        }
        chat = parse(instructions="first", input=[developer, {"role": "user", "content": "x"}, developer])
        self.assertEqual(chat.system, (TextBlock("first"), TextBlock("a"), TextBlock("b")))
        self.assertEqual([turn.role for turn in chat.messages], ["user", "system"])

    def test_parts(self) -> None:
        """Texts, refusals, images, files and sound, inline or by their URL."""
        for fields, expected in (
            ({"type": "input_text", "text": "x"}, TextBlock("x")),
            ({"type": "refusal", "refusal": "no"}, TextBlock("no")),
            ({"type": "input_image", "image_url": "https://a/b.png"}, ImageBlock(url="https://a/b.png")),
            (
                {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "auto"},
                ImageBlock("image/png", "QQ=="),
            ),
            ({"type": "input_image", "file_id": "file-1"}, OtherBlock("image.file_id")),
            ({"type": "input_file", "file_id": "file-1"}, OtherBlock("file.file_id")),
            (
                {"type": "input_file", "file_url": "https://a/b.pdf"},
                DocumentBlock(url="https://a/b.pdf"),
            ),
            (
                {"type": "input_file", "filename": "f", "file_data": "data:application/pdf;base64,QQ=="},
                DocumentBlock("application/pdf", "QQ==", title="f"),
            ),
            (
                {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                AudioBlock("QQ==", "wav"),
            ),
            ({"type": "brand_new", "x": 1}, OtherBlock("brand_new")),
        ):
            with self.subTest(fields["type"]):
                self.assertEqual(part(**fields), (expected,))

    def test_odd_arguments(self) -> None:
        """Arguments that a model wrote and that are no object are kept as they are."""
        (turn,) = turns(call("a", '{"cut": '), call("b", "[1]"), call("c", ""))
        inputs = [block.input for block in turn.content if isinstance(block, ToolUseBlock)]
        self.assertEqual(inputs, ['{"_raw":"{\\"cut\\": "}', '{"_raw":"[1]"}', "{}"])

    def test_custom_calls(self) -> None:
        """The call of a custom tool is that of a function of one string."""
        (turn, results) = turns(
            {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "*** \n"},
            {
                "type": "custom_tool_call_output",
                "call_id": "a",
                "output": [{"type": "input_text", "text": "ok"}],
            },
        )
        self.assertEqual(turn.content, (ToolUseBlock("a", "patch", '{"input":"*** \\n"}'),))
        self.assertEqual(results.content, (ToolResultBlock("a", (TextBlock("ok"),)),))

    def test_of_openais_own_tools(self) -> None:
        """What OpenAI's own tools did is left out, and named."""
        chat = parse(
            input=[
                {"role": "user", "content": "x"},
                {"type": "web_search_call", "id": "ws_1", "status": "completed"},
                {"type": "tool_search_output", "call_id": "a", "tools": []},
                {"type": "a b\n", "id": "1"},
                said("found"),
            ]
        )
        self.assertEqual(chat.other, ("input.web_search_call", "input.tool_search_output", "input[3]"))
        self.assertEqual(len(chat.messages), 2)

    def test_thoughts_that_went_through_here(self) -> None:
        """What a model of another family signed comes back as it was; OpenAI's own is left out."""
        thought: dict[str, object] = {"type": "reasoning", "id": "rs_1", "content": None}
        text = [{"type": "summary_text", "text": "Hm."}]
        chat = parse(
            input=[
                {**thought, "summary": text, "encrypted_content": seal(Sealed(signature="c2ln"))},
                {**thought, "summary": [], "encrypted_content": seal(Sealed(redacted="b3A="))},
                {**thought, "summary": [], "encrypted_content": seal(Sealed(signature="next"))},
                call("a"),
                {**thought, "summary": [], "encrypted_content": "gAAAA"},
                {**thought, "summary": []},
            ]
        )
        self.assertEqual(
            chat.messages[0].content,
            (
                ThinkingBlock("Hm.", "c2ln"),
                RedactedThinkingBlock("b3A="),
                ThinkingBlock("", "next"),
                ToolUseBlock("a", "f", "{}"),
            ),
        )
        self.assertEqual(chat.other, ("reasoning.encrypted_content",))

    def test_back_and_forth(self) -> None:
        """What is answered, a client sends back and it reads as what was answered."""
        blocks = (
            ThinkingBlock("Hm.", "c2ln"),
            RedactedThinkingBlock("b3A="),
            TextBlock("I will."),
            ToolUseBlock("a", "f", '{"x":1}'),
            ToolUseBlock("b", "patch", '{"input":"text"}'),
            ToolUseBlock("c", "agents__wait", "{}"),
        )
        tools = [
            {"type": "function", "name": "f", "parameters": {}},
            {"type": "custom", "name": "patch"},
            {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "wait"}]},
        ]
        chat = parse(tools=tools)
        reply = ChatReply(id="1", model="m", content=blocks, stop_reason="tool_use")
        output = json.loads(RESPONSES.render_reply(reply, chat, "req_1", 1))["output"]
        self.assertEqual(turns(*output), (Message("assistant", blocks),))

    def test_recorded(self) -> None:
        """Recorded requests are read, whole conversations with thoughts among them."""
        paths = sorted((FIXTURES / "responses").glob("*.request.json"))
        self.assertGreater(len(paths), 7)
        for path in paths:
            chat = parse_request(path.read_bytes())
            self.assertTrue(chat.messages, path.name)
            self.assertEqual((chat.unknown, chat.needed), ((), ()), path.name)


class ToolTests(unittest.TestCase):
    """Tools and the choice among them."""

    FUNCTION: dict[str, object] = {
        "type": "function",
        "name": "f",
        "description": "d",
        "parameters": {"type": "object"},
        "strict": False,
    }

    def test_functions(self) -> None:
        """A function has its schema; whether it is strict is told only where it was said."""
        self.assertEqual(
            parse(tools=[self.FUNCTION, {"type": "function", "name": "g"}]).tools,
            (Tool("f", "d", {"type": "object"}, False), Tool("g")),
        )

    def test_custom(self) -> None:
        """A custom tool takes free text, by its grammar where it has one."""
        tools = [
            {"type": "custom", "name": "patch", "description": "d", "format": LARK},
            {"type": "custom", "name": "note", "format": {"type": "text"}},
        ]
        self.assertEqual(
            parse(tools=tools).tools,
            (
                Tool("patch", "d", free_text.SCHEMA, free_text=True, grammar=dict(LARK)),
                Tool("note", None, free_text.SCHEMA, free_text=True),
            ),
        )

    def test_namespaces(self) -> None:
        """Tools of a namespace go by one name, which tells both, in tools and in calls alike."""
        group = {"type": "namespace", "name": "agents", "description": "d", "tools": [self.FUNCTION]}
        chat = parse(tools=[group], input=[call("a", namespace="agents")])
        self.assertEqual([(tool.name, tool.namespace) for tool in chat.tools], [("agents__f", "agents")])
        self.assertEqual(chat.messages[0].content, (ToolUseBlock("a", "agents__f", "{}"),))
        self.assertEqual(chat.other, ("tools[0].description",))

    def test_among_the_items(self) -> None:
        """Tools that stand among the input items are tools like the others."""
        inner = {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}
        chat = parse(
            input=[
                {"type": "additional_tools", "role": "developer", "tools": [inner, {"type": "web_search"}]},
                {"role": "user", "content": "x"},
            ]
        )
        self.assertEqual([tool.name for tool in chat.tools], ["functions__exec"])
        self.assertEqual(chat.other, ("input[0].tools[1]",))
        self.assertEqual(len(chat.messages), 1)

    def test_openais_own(self) -> None:
        """Tools that OpenAI would run are named by their place."""
        kinds = ("web_search", "file_search", "computer", "code_interpreter", "mcp", "tool_search", "new")
        chat = parse(tools=[{"type": kind} for kind in kinds])
        self.assertEqual(chat.other, tuple(f"tools[{index}]" for index in range(len(kinds))))
        self.assertEqual(chat.tools, ())

    def test_choices(self) -> None:
        """Each form of a choice, in the hub's terms."""
        for choice, expected in (
            ("auto", ToolChoice("auto")),
            ("none", ToolChoice("none")),
            ("required", ToolChoice("any")),
            ({"type": "function", "name": "f"}, ToolChoice("tool", "f")),
            ({"type": "custom", "name": "g"}, ToolChoice("tool", "g")),
            ({"type": "function", "name": "f", "namespace": "n"}, ToolChoice("tool", "n__f")),
        ):
            self.assertEqual(parse(tool_choice=choice).tool_choice, expected)

    def test_allowed(self) -> None:
        """Of allowed tools the others are left out."""
        choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}
        chat = parse(tools=[self.FUNCTION, {"type": "function", "name": "g"}], tool_choice=choice)
        self.assertEqual([tool.name for tool in chat.tools], ["f"])
        self.assertEqual(chat.tool_choice, ToolChoice("any"))

    def test_a_hosted_choice(self) -> None:
        """A choice of a tool that OpenAI would run is named."""
        chat = parse(tool_choice={"type": "web_search"})
        self.assertEqual((chat.tool_choice, chat.other), (None, ("tool_choice",)))
