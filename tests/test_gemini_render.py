"""A client's request written as the body of Gemini's generateContent."""

from __future__ import annotations

import json
import re
import unittest
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec

from aigateway.dialects import free_text, signed
from aigateway.dialects.gemini import GeminiReader, render_request
from aigateway.dialects.gemini.contents import SKIP_SIGNATURE
from aigateway.dialects.gemini.schema import NO_ARGUMENTS
from aigateway.errors import MalformedRequest
from aigateway.events import (
    AudioBlock,
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
    Thought,
    Tool,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
    reply_of,
)
from aigateway.providers.google import stream_error
from aigateway.signatures import call_key, text_key
from aigateway.sse import SSEDecoder

FIXTURES = Path(__file__).parent / "fixtures" / "gemini"

FLASH, PRO = "gemini-2.5-flash", "gemini-3.1-pro-preview"
CLAUDE = "claude-sonnet-4-6"
SCHEMA: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = Tool("get_weather", "The weather", SCHEMA)
# How signatures begin, as recorded.
OF_CLAUDE = "Et0BCkgIChACGAIqQA2s7h7tAAAAAAAAAAAAAAAA"
OF_GEMINI = "EtoGCtcGCAIS0gYBDDnWx2K2DVCm1ZWnP0675oPN"
HELLO = Message("user", (TextBlock("hello"),))


def user(*blocks: RequestBlock | str) -> Message:
    return Message("user", tuple(TextBlock(block) if isinstance(block, str) else block for block in blocks))


def model(*blocks: RequestBlock | str) -> Message:
    return Message("assistant", user(*blocks).content)


def chat(*messages: Message, dialect: str = "claude", **fields: Any) -> ChatRequest:
    return ChatRequest(dialect=dialect, model="m", messages=messages or (HELLO,), **fields)


def render(request: ChatRequest, name: str = PRO, *, antigravity: bool = False) -> dict[str, Any]:
    """The body as it goes out: through JSON."""
    body, _ = render_request(request, name, antigravity=antigravity)
    result = json.loads(msgspec.json.encode(body))
    assert isinstance(result, dict)
    return result


def dropped(request: ChatRequest, name: str = PRO, *, antigravity: bool = False) -> tuple[str, ...]:
    return render_request(request, name, antigravity=antigravity)[1].dropped


def config(name: str = PRO, antigravity: bool = False, **fields: Any) -> dict[str, Any]:
    body = render(chat(**fields), name, antigravity=antigravity)
    found = body.get("generationConfig", {})
    assert isinstance(found, dict)
    return found


def call(id: str, name: str = "get_weather", signature: str | None = None) -> ToolUseBlock:
    return ToolUseBlock(id, name, '{"city":"Paris"}', signature)


def result(id: str, *blocks: RequestBlock, is_error: bool = False) -> ToolResultBlock:
    return ToolResultBlock(id, blocks, is_error)


class Body(unittest.TestCase):
    def test_plain(self) -> None:
        """A simple request: nothing in the body but what it says."""
        request = chat(
            system=(TextBlock("Be brief."),), max_tokens=100, temperature=0.5, top_k=3, stop=("END",)
        )
        self.assertEqual(
            render(request, FLASH),
            {
                "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "generationConfig": {
                    "maxOutputTokens": 100,
                    "temperature": 0.5,
                    "topK": 3,
                    "stopSequences": ["END"],
                },
            },
        )
        self.assertEqual(dropped(request, FLASH), ())

    def test_openai_fields(self) -> None:
        """seed has a place, and so have the penalties with Gemini 2.0: the newer ones refuse all but 0."""
        given: dict[str, Any] = {"seed": 4, "presence_penalty": 0.5, "frequency_penalty": 1.0, "top_p": 0.9}
        self.assertEqual(
            config("gemini-2.0-flash", dialect="openai", **given),
            {"topP": 0.9, "seed": 4, "presencePenalty": 0.5, "frequencyPenalty": 1.0},
        )
        request = chat(dialect="openai", **given)
        for name in (PRO, FLASH, "gemini-2.5-flash-image"):
            self.assertEqual(render(request, name)["generationConfig"], {"topP": 0.9, "seed": 4})
            self.assertEqual(dropped(request, name), ("presence_penalty", "frequency_penalty"))
        nothing = chat(dialect="openai", presence_penalty=0.0, frequency_penalty=0.0)
        self.assertEqual(dropped(nothing, PRO), ())

    def test_dropped_fields(self) -> None:
        """What has no place is reported as the client spells it."""
        self.assertEqual(
            dropped(
                chat(
                    parallel_tools=False,
                    user="u",
                    service_tier="auto",
                    stop=tuple("abcdef"),
                    other=("container",),
                    unknown=("wings",),
                )
            ),
            (
                "stop_sequences",
                "tool_choice.disable_parallel_tool_use",
                "metadata.user_id",
                "service_tier",
                "container",
                "wings",
            ),
        )
        self.assertEqual(
            dropped(chat(dialect="openai", parallel_tools=False, user="u")), ("parallel_tool_calls", "user")
        )

    def test_token_limit(self) -> None:
        """A limit above Gemini's own is Gemini's; zero is one token."""
        for name, given, most in (
            (PRO, 128_000, 65536),
            (FLASH, 65536, 65536),
            ("gemini-2.0-flash", 65536, 8192),
            ("gemini-2.0-flash", 8192, 8192),
            ("gemini-1.5-pro", 10_000, 8192),
            ("gemini-2.5-flash-image", 65536, 32768),
            (CLAUDE, 128_000, 128_000),
        ):
            with self.subTest(name, given=given):
                self.assertEqual(config(name, max_tokens=given), {"maxOutputTokens": most})
                lowered = ("max_tokens",) if most < given else ()
                self.assertEqual(dropped(chat(max_tokens=given), name), lowered)
        self.assertEqual(config(max_tokens=0), {"maxOutputTokens": 1})

    def test_tools_have_a_budget(self) -> None:
        """What all tools' schemas come to is bounded: those beyond it are declared without
        parameters, which is reported; ordinary ones never are."""
        defs: dict[str, Any] = {"d0": {"type": "object", "properties": {"a": {"type": "string"}}}}
        for level in range(1, 13):
            defs[f"d{level}"] = {"allOf": [{"$ref": f"#/$defs/d{level - 1}"}] * 2}
        grown: dict[str, Any] = {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/d12"}},
            "$defs": defs,
        }
        tools = tuple(Tool(f"t{n}", None, {**grown, "title": str(n)}) for n in range(300))
        request = chat(tools=tools)
        declarations = render(request)["tools"][0]["functionDeclarations"]
        self.assertEqual(len(declarations), 300)
        self.assertIn("parameters", declarations[0])
        self.assertLess(sum("parameters" in one for one in declarations), 20)
        self.assertEqual(dropped(request), ("tools.input_schema",))
        ordinary = tuple(Tool(f"t{n}", None, {**SCHEMA, "title": str(n)}) for n in range(500))
        self.assertEqual(dropped(chat(tools=ordinary)), ())

    def test_structured_output(self) -> None:
        """A schema goes as it is to the Gemini API and cleaned to Antigravity; before
        Gemini 3 it does not go together with tools."""
        form = ResponseFormat("json_schema", {"type": "array", "items": {"type": "string", "x-a": 1}})
        self.assertEqual(
            config(response_format=form),
            {"responseMimeType": "application/json", "responseJsonSchema": form.schema},
        )
        self.assertEqual(
            config(antigravity=True, response_format=form)["responseSchema"],
            {"type": "array", "items": {"type": "string"}},
        )
        self.assertEqual(
            config(response_format=ResponseFormat("json_object")), {"responseMimeType": "application/json"}
        )
        with_tools = chat(response_format=form, tools=(WEATHER,))
        self.assertIn("generationConfig", render(with_tools, PRO))
        self.assertNotIn("generationConfig", render(with_tools, FLASH))
        self.assertEqual(dropped(with_tools, FLASH), ("output_config.format",))


class Turns(unittest.TestCase):
    def contents(self, *messages: Message, name: str = FLASH, **fields: Any) -> list[dict[str, Any]]:
        contents = render(chat(*messages, **fields), name)["contents"]
        assert isinstance(contents, list)
        return contents

    def test_neighbours_are_merged(self) -> None:
        """Messages of one role in a row are one content, and empty texts none."""
        self.assertEqual(
            self.contents(user("a", ""), user("b"), model("c"), model(""), user("d")),
            [
                {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
                {"role": "model", "parts": [{"text": "c"}]},
                {"role": "user", "parts": [{"text": "d"}]},
            ],
        )

    def test_system_in_the_middle(self) -> None:
        """A Claude client's later system message stays at its place; an OpenAI client's joins the others."""
        later = Message("system", (TextBlock("Now rhyme."),))
        self.assertEqual(
            self.contents(HELLO, model("hi"), later, user("go"))[-1]["parts"],
            [{"text": "<system>\nNow rhyme.\n</system>"}, {"text": "go"}],
        )
        body = render(chat(HELLO, later, dialect="openai", system=(TextBlock("Be brief."),)))
        self.assertEqual(
            body["systemInstruction"], {"parts": [{"text": "Be brief."}, {"text": "Now rhyme."}]}
        )
        self.assertEqual(body["contents"], [{"role": "user", "parts": [{"text": "hello"}]}])

    def test_image_in_a_later_system_message(self) -> None:
        """What is no text in a later system message is left out, and reported."""
        later = Message("system", (TextBlock("Now rhyme."), ImageBlock("image/png", "aaaa")))
        for dialect in ("claude", "openai"):
            request = chat(HELLO, model("hi"), later, user("go"), dialect=dialect)
            self.assertEqual(dropped(request), ("image",))
            self.assertIn("Now rhyme.", json.dumps(render(request)))

    def test_nothing_to_answer(self) -> None:
        """Instructions alone get a placeholder to answer; nothing at all is refused."""
        only = ChatRequest(dialect="claude", model="m", messages=(), system=(TextBlock("Speak."),))
        self.assertEqual(render(only)["contents"], [{"role": "user", "parts": [{"text": "."}]}])
        with self.assertRaises(MalformedRequest) as caught:
            render(chat(user("")))
        self.assertEqual(caught.exception.param, "messages")

    def test_begins_with_the_user(self) -> None:
        """An answer that comes first gets a user's turn before it."""
        self.assertEqual(
            [content["role"] for content in self.contents(model("hi"), user("a"))], ["user", "model", "user"]
        )

    def test_trailing_answer(self) -> None:
        """An OpenAI client's trailing answer is stripped, and reported; a Claude client's stays."""
        request = chat(HELLO, model("I"), dialect="openai")
        self.assertEqual(render(request)["contents"], [{"role": "user", "parts": [{"text": "hello"}]}])
        self.assertEqual(dropped(request), ("messages[-1]",))
        self.assertEqual(self.contents(HELLO, model("I"))[-1], {"role": "model", "parts": [{"text": "I"}]})

    def test_media(self) -> None:
        """Images, documents and sound go inside the body, with their types."""
        message = user(
            ImageBlock("image/png", "aaaa"),
            DocumentBlock("application/pdf", "bbbb"),
            DocumentBlock(text="t", title="T"),
            AudioBlock("cccc", "wav"),
        )
        self.assertEqual(
            self.contents(message)[0]["parts"],
            [
                {"inlineData": {"mimeType": "image/png", "data": "aaaa"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "bbbb"}},
                {"text": "T\n\nt"},
                {"inlineData": {"mimeType": "audio/wav", "data": "cccc"}},
            ],
        )

    def test_media_by_url(self) -> None:
        """Gemini fetches from Cloud Storage, YouTube and its Files API; any other URL is
        refused with the place and the remedy, and on Antigravity every one."""
        taken = (
            "gs://bucket/a.png",
            "https://youtu.be/x",
            "https://www.youtube.com/watch?v=x",
            "https://generativelanguage.googleapis.com/v1beta/files/abc",
        )
        for url in taken:
            self.assertEqual(
                self.contents(user(ImageBlock(url=url)))[0]["parts"], [{"fileData": {"fileUri": url}}]
            )
        refused = (
            "https://example.com/a.png",
            "http://youtu.be/x",
            "https://youtu.be@evil/x",
            "https://generativelanguage.googleapis.com/v1beta/models",
            "https://[",
            "file:///etc/passwd",
        )
        for url, antigravity in [(url, False) for url in refused] + [(url, True) for url in taken]:
            request = chat(HELLO, model("a"), user("b", ImageBlock(url=url)))
            with self.subTest(url), self.assertRaises(MalformedRequest) as caught:
                render(request, antigravity=antigravity)
            self.assertEqual(caught.exception.param, "messages[2].content[1]")
            self.assertIn("base64", caught.exception.message)

    def test_files_by_id(self) -> None:
        """A file in another provider's store is refused; nothing that was asked about goes missing."""
        for kind in ("image.file_id", "document.file_id", "file.file_id"):
            with self.assertRaises(MalformedRequest) as caught:
                render(chat(HELLO, model("a"), user("b", OtherBlock(kind))))
            self.assertEqual(caught.exception.param, "messages[2].content[1]")
            self.assertIn(kind.partition(".")[0], caught.exception.message)

    def test_places_of_other_clients(self) -> None:
        """Only a Claude client's messages are numbered as ours are: others are told less."""
        for block in (
            ImageBlock(url="https://example.com/a.png"),
            OtherBlock("file.file_id"),
            result("nowhere", TextBlock("x")),
        ):
            with self.assertRaises(MalformedRequest) as caught:
                render(chat(HELLO, model("a"), user("b", block), dialect="openai"))
            self.assertEqual(caught.exception.param, "messages")
            self.assertNotIn("[", caught.exception.message)

    def test_unknown_blocks(self) -> None:
        """Blocks without a place are left out and reported by their type."""
        request = chat(user("a", OtherBlock("server_tool_use")), model(RedactedThinkingBlock("x")), user("b"))
        self.assertEqual(dropped(request), ("server_tool_use", "redacted_thinking"))
        self.assertEqual(
            render(request)["contents"], [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]
        )


class Calls(unittest.TestCase):
    def contents(self, *messages: Message, name: str = FLASH) -> list[dict[str, Any]]:
        contents = render(chat(*messages, tools=(WEATHER,)), name)["contents"]
        assert isinstance(contents, list)
        return contents

    def test_call_and_result(self) -> None:
        """A call goes as it came; its result gets the call's name."""
        contents = self.contents(
            HELLO,
            model("Let me see.", ToolUseBlock("t1", "get_weather", '{"n": 1.10}')),
            user(result("t1", TextBlock("sunny"), TextBlock("warm")), "thanks"),
        )
        self.assertEqual(
            contents[1:],
            [
                {
                    "role": "model",
                    "parts": [
                        {"text": "Let me see."},
                        {"functionCall": {"id": "t1", "name": "get_weather", "args": {"n": 1.1}}},
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {
                            "functionResponse": {
                                "id": "t1",
                                "name": "get_weather",
                                "response": {"output": "sunny\nwarm"},
                            }
                        },
                        {"text": "thanks"},
                    ],
                },
            ],
        )
        body, _ = render_request(
            chat(HELLO, model(ToolUseBlock("t1", "f", '{"n": 12345678901234567890123}'))),
            FLASH,
            antigravity=False,
        )
        self.assertIn(b"12345678901234567890123", msgspec.json.encode(body))

    def test_results_in_the_order_of_calls(self) -> None:
        """Results go all together, first, and in the order of their calls; a missing one is
        made up as an error, since Gemini counts them."""
        contents = self.contents(
            HELLO,
            model(call("a"), call("b"), call("c")),
            user("so:", result("c", TextBlock("3"))),
            user(result("a", TextBlock("1"), is_error=True)),
        )
        self.assertEqual(
            [part.get("functionResponse", part) for part in contents[2]["parts"]],
            [
                {"id": "a", "name": "get_weather", "response": {"error": "1"}},
                {"id": "b", "name": "get_weather", "response": {"error": "the call was not answered"}},
                {"id": "c", "name": "get_weather", "response": {"output": "3"}},
                {"text": "so:"},
            ],
        )
        self.assertEqual(
            self.contents(HELLO, model(call("a")))[-1]["parts"][0]["functionResponse"]["response"],
            {"error": "the call was not answered"},
        )

    def test_result_without_call(self) -> None:
        """A result that answers no call is refused with its place."""
        with self.assertRaises(MalformedRequest) as caught:
            self.contents(HELLO, model(call("a")), user(result("a"), result("b")))
        self.assertEqual(caught.exception.param, "messages[2].content[1]")

    def test_odd_arguments(self) -> None:
        """Arguments that are no object are put into one."""
        for text, args in (
            ("", {}),
            ("[1]", {"value": [1]}),
            ('"x"', {"value": "x"}),
            ("{broken", {"_raw": "{broken"}),
        ):
            contents = self.contents(HELLO, model(ToolUseBlock("a", "f", text)))
            self.assertEqual(contents[1]["parts"][0]["functionCall"]["args"], args)

    def test_media_in_a_result(self) -> None:
        """Gemini 3 takes an image inside the result, older ones beside it."""
        image = {"inlineData": {"mimeType": "image/png", "data": "aaaa"}}
        messages = (
            HELLO,
            model(call("a"), call("b")),
            user(result("a", TextBlock("see"), ImageBlock("image/png", "aaaa")), result("b")),
        )
        new = self.contents(*messages, name=PRO)[2]["parts"]
        self.assertEqual(len(new), 2)
        self.assertEqual(new[0]["functionResponse"]["parts"], [image])
        for name in (FLASH, CLAUDE):
            parts = self.contents(*messages, name=name)[2]["parts"]
            self.assertEqual([*parts[0]["functionResponse"]], ["id", "name", "response"])
            self.assertEqual(parts[2:], [image])

    def test_media_too_odd_for_a_result(self) -> None:
        """A type that Gemini 3 takes in no result stands beside it."""
        gif = result("a", ImageBlock("image/gif", "aaaa"))
        parts = self.contents(HELLO, model(call("a")), user(gif), name=PRO)[2]["parts"]
        self.assertEqual(parts[1], {"inlineData": {"mimeType": "image/gif", "data": "aaaa"}})

    def test_ids_for_claude(self) -> None:
        """Ids that Claude would refuse are changed alike in call and result."""
        contents = self.contents(HELLO, model(call("a.b:1")), user(result("a.b:1")), name=CLAUDE)
        self.assertEqual(contents[1]["parts"][0]["functionCall"]["id"], "a_b_1")
        self.assertEqual(contents[2]["parts"][0]["functionResponse"]["id"], "a_b_1")


class Tools(unittest.TestCase):
    def test_declarations(self) -> None:
        """All tools stand in one object, with cleaned parameters."""
        bare = Tool("now", None, {"type": "object", "additionalProperties": False})
        self.assertEqual(
            render(chat(tools=(WEATHER, bare)))["tools"],
            [
                {
                    "functionDeclarations": [
                        {"name": "get_weather", "description": "The weather", "parameters": SCHEMA},
                        {"name": "now"},
                    ]
                }
            ],
        )
        self.assertNotIn("tools", render(chat()))

    def test_claude_takes_no_empty_object(self) -> None:
        """Claude on Antigravity gets a made-up parameter where there is none."""
        body = render(chat(tools=(Tool("now"),)), CLAUDE, antigravity=True)
        (declaration,) = body["tools"][0]["functionDeclarations"]
        self.assertEqual(declaration["parameters"]["required"], [NO_ARGUMENTS])

    def test_names(self) -> None:
        """A name that Gemini refuses is another one everywhere, with the way back."""
        for name, antigravity in (
            ("9a", False),
            ("a b", False),
            ("a" * 129, False),
            ("a" * 65, True),
            ("", False),
        ):
            with self.subTest(name):
                request = chat(
                    HELLO,
                    model(call("a", name)),
                    Message("user", (result("a", TextBlock("1")),)),
                    tools=(WEATHER, Tool(name)),
                    tool_choice=ToolChoice("tool", name),
                )
                body, rendered = render_request(request, PRO, antigravity=antigravity)
                other = body["tools"][0]["functionDeclarations"][1]["name"]
                self.assertRegex(other, r"\A[A-Za-z_][A-Za-z0-9_.:-]{0,127}\Z")
                self.assertLessEqual(len(other), 64 if antigravity else 128)
                self.assertEqual(rendered.renamed, {other: name})
                self.assertEqual(body["contents"][1]["parts"][0]["functionCall"]["name"], other)
                self.assertEqual(body["contents"][2]["parts"][0]["functionResponse"]["name"], other)
                choice = body["toolConfig"]["functionCallingConfig"]
                self.assertEqual(choice["allowedFunctionNames"], [other])
        kept = "mcp__x-y.z:1" + "a" * 50
        _, rendered = render_request(chat(tools=(Tool(kept),)), PRO, antigravity=True)
        self.assertEqual(rendered.renamed, {})

    def test_free_text(self) -> None:
        """A tool of free text is a function of one string, with its grammar told."""
        grammar: dict[str, object] = {"type": "grammar", "syntax": "regex", "definition": "[a-z]+"}
        tool = Tool("run", "Runs.", free_text.SCHEMA, free_text=True, grammar=grammar)
        request = chat(dialect="openai", tools=(tool,))
        declared = render(request)["tools"][0]["functionDeclarations"][0]
        self.assertIn("[a-z]+", declared["description"])
        self.assertEqual(list(declared["parameters"]["properties"]), ["input"])
        _, rendered = render_request(request, PRO, antigravity=False)
        self.assertEqual(rendered.emulated, ("tools.custom",))

    def test_choice(self) -> None:
        """Claude's and OpenAI's choices become modes."""
        for choice, expected in (
            (ToolChoice("auto"), {"mode": "AUTO"}),
            (ToolChoice("any"), {"mode": "ANY"}),
            (ToolChoice("none"), {"mode": "NONE"}),
            (ToolChoice("tool", "get_weather"), {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}),
        ):
            body = render(chat(tools=(WEATHER,), tool_choice=choice))
            self.assertEqual(body["toolConfig"], {"functionCallingConfig": expected})
        self.assertNotIn("toolConfig", render(chat(tools=(WEATHER,))))
        self.assertEqual(dropped(chat(tool_choice=ToolChoice("any"))), ("tool_choice",))

    def test_choice_for_claude(self) -> None:
        """On Antigravity Claude's AUTO is VALIDATED."""
        for choice in (None, ToolChoice("auto")):
            body = render(chat(tools=(WEATHER,), tool_choice=choice), CLAUDE, antigravity=True)
            self.assertEqual(body["toolConfig"], {"functionCallingConfig": {"mode": "VALIDATED"}})


class HowMuchThinking(unittest.TestCase):
    def thinking(self, name: str, **fields: Any) -> Any:
        return config(name, **fields).get("thinkingConfig")

    def test_not_asked_for(self) -> None:
        """Without a word about thinking nothing is said about it."""
        for name in (FLASH, PRO, CLAUDE):
            self.assertIsNone(self.thinking(name))

    def test_budgets(self) -> None:
        """Gemini 2.5 takes a budget, within the limits of its model."""
        for name, effort, budget in (
            (FLASH, "low", 1024),
            (FLASH, "xhigh", 24576),
            (FLASH, "none", 0),
            ("gemini-2.5-flash-lite", "minimal", 512),
            ("gemini-2.5-pro", "none", 128),
            ("gemini-2.5-pro", "max", 32768),
        ):
            with self.subTest(name, effort=effort):
                found = self.thinking(name, dialect="openai", effort=effort)
                self.assertEqual(found["thinkingBudget"], budget)
                self.assertEqual(found.get("includeThoughts"), None if effort == "none" else True)
                self.assertNotIn("thinkingLevel", found)

    def test_unknown_effort(self) -> None:
        """An effort that nobody knows is reported, whatever the model takes."""
        for name in (FLASH, PRO, CLAUDE, "gemini-3.1-pro-high", "gemini-2.0-flash"):
            for dialect, field in (("openai", "reasoning_effort"), ("claude", "output_config.effort")):
                with self.subTest(name, dialect=dialect):
                    request = chat(dialect=dialect, effort="turbo")
                    self.assertEqual(dropped(request, name), (field,))
                    self.assertNotIn("generationConfig", render(request, name))
        self.assertEqual(dropped(chat(dialect="openai", effort="auto"), FLASH), ())

    def test_claude_clients(self) -> None:
        """A budget goes as it is, adaptive thinking as automatic, hidden thoughts stay hidden."""
        self.assertEqual(
            self.thinking(FLASH, thinking=Thinking("enabled", 2000), max_tokens=5000),
            {"includeThoughts": True, "thinkingBudget": 2000},
        )
        self.assertEqual(
            self.thinking(FLASH, thinking=Thinking("adaptive", hidden=True)),
            {"includeThoughts": False, "thinkingBudget": -1},
        )
        self.assertEqual(self.thinking(FLASH, thinking=Thinking("disabled")), {"thinkingBudget": 0})

    def test_levels(self) -> None:
        """Gemini 3 takes a level and never a budget; the nearest one that the model has."""
        for name, fields, level in (
            (PRO, {"effort": "minimal"}, "low"),
            (PRO, {"effort": "none"}, "low"),
            (PRO, {"effort": "max"}, "high"),
            ("gemini-3-flash", {"effort": "minimal"}, "minimal"),
            ("gemini-3.7-flash", {"effort": "minimal"}, "low"),
            ("models/gemini-3-flash-preview", {"thinking": Thinking("enabled", 4000)}, "medium"),
            ("gemini-3-flash", {"thinking": Thinking("enabled", 4000), "effort": "low"}, "low"),
            ("gemini-3-flash", {"thinking": Thinking("adaptive")}, None),
        ):
            with self.subTest(name, fields=fields):
                found = self.thinking(name, dialect="openai", **fields)
                self.assertEqual(found.get("thinkingLevel"), level)
                self.assertNotIn("thinkingBudget", found)

    def test_level_in_the_name(self) -> None:
        """Where Antigravity's model name says how much, only the thoughts are asked for."""
        name = "gemini-3.7-flash-low"
        self.assertEqual(
            self.thinking(name, antigravity=True, thinking=Thinking("adaptive")), {"includeThoughts": True}
        )
        self.assertEqual(
            dropped(chat(dialect="openai", effort="high"), name, antigravity=True), ("reasoning_effort",)
        )

    def test_models_that_do_not_think(self) -> None:
        """To other models nothing is said, and that is reported."""
        self.assertIsNone(self.thinking("gemini-2.0-flash", effort="high"))
        self.assertEqual(dropped(chat(effort="high"), "gpt-oss-120b-medium"), ("output_config.effort",))

    def test_budget_below_the_token_limit(self) -> None:
        """The token limit counts thinking: the budget leaves room for the answer."""
        found = config(FLASH, dialect="openai", effort="high", max_tokens=1000)
        self.assertEqual(found["thinkingConfig"]["thinkingBudget"], 500)
        self.assertEqual(found["maxOutputTokens"], 1000)
        found = config("gemini-2.5-pro", dialect="openai", effort="high", max_tokens=100)
        self.assertEqual(found["thinkingConfig"]["thinkingBudget"], 128)
        self.assertEqual(found["maxOutputTokens"], 228)

    def test_claude_on_antigravity(self) -> None:
        """Claude takes a budget of 1024 or more, spelled its own way, below its token limit."""
        found = config(CLAUDE, True, thinking=Thinking("enabled", 4000), max_tokens=9000, temperature=0.5)
        self.assertEqual(found["thinkingConfig"], {"include_thoughts": True, "thinking_budget": 4000})
        self.assertNotIn("temperature", found)
        found = config(CLAUDE, True, dialect="openai", effort="minimal")
        self.assertEqual(found["thinkingConfig"]["thinking_budget"], 1024)
        self.assertEqual(found["maxOutputTokens"], 1024 + 8192)
        self.assertNotIn("thinkingConfig", config(CLAUDE, True, thinking=Thinking("disabled"), max_tokens=9))
        short = chat(thinking=Thinking("enabled", 2000), max_tokens=1000)
        self.assertNotIn("thinkingConfig", render(short, CLAUDE, antigravity=True)["generationConfig"])
        self.assertEqual(dropped(short, CLAUDE, antigravity=True), ("thinking",))

    def test_claude_and_a_forced_tool(self) -> None:
        """Claude refuses thinking with a forced tool: the tool stays, thinking is dropped."""
        request = chat(tools=(WEATHER,), tool_choice=ToolChoice("any"), thinking=Thinking("enabled", 2000))
        body = render(request, CLAUDE, antigravity=True)
        self.assertEqual(body["toolConfig"]["functionCallingConfig"]["mode"], "ANY")
        self.assertNotIn("generationConfig", body)
        self.assertEqual(dropped(request, CLAUDE, antigravity=True), ("thinking",))

    def test_claude_in_a_tool_loop(self) -> None:
        """Claude refuses thinking while the calls at hand follow no signed thought."""
        messages = HELLO, model(call("a")), user(result("a"))
        request = chat(*messages, thinking=Thinking("enabled", 2000))
        self.assertEqual(dropped(request, CLAUDE, antigravity=True), ("thinking",))
        request = chat(
            HELLO,
            model(ThinkingBlock("hm", "Rsig"), call("a")),
            user(result("a")),
            thinking=Thinking("enabled", 2000),
        )
        self.assertEqual(dropped(request, CLAUDE, antigravity=True), ())
        request = chat(*messages, model("done"), user("and now?"), thinking=Thinking("enabled", 2000))
        self.assertEqual(dropped(request, CLAUDE, antigravity=True), ())

    def test_claude_sampling(self) -> None:
        """Claude takes temperature up to 1, or top_p, and neither seed nor penalties."""
        request = chat(dialect="openai", temperature=1.5, top_p=0.9, seed=1, presence_penalty=1.0)
        self.assertEqual(render(request, CLAUDE)["generationConfig"], {"temperature": 1.0})
        self.assertEqual(dropped(request, CLAUDE), ("top_p", "seed", "presence_penalty"))


class Signatures(unittest.TestCase):
    def parts(self, *blocks: RequestBlock, name: str = PRO) -> list[dict[str, Any]]:
        parts = render(chat(HELLO, model(*blocks), user("go on")), name)["contents"][1]["parts"]
        assert isinstance(parts, list)
        return parts

    def test_signature_of_a_call(self) -> None:
        """An empty thinking block before a call carries the call's signature."""
        (part,) = self.parts(ThinkingBlock("", "sig"), call("a"))
        self.assertEqual(part["thoughtSignature"], "sig")
        (part,) = self.parts(call("a", signature="own"))
        self.assertEqual(part["thoughtSignature"], "own")

    def test_signed_thinking(self) -> None:
        """Signed thinking is a thought part; before a call Gemini's signature is the call's."""
        self.assertEqual(
            self.parts(ThinkingBlock("hm", "sig"), TextBlock("a")),
            [{"text": "hm", "thought": True, "thoughtSignature": "sig"}, {"text": "a"}],
        )
        thought, called = self.parts(ThinkingBlock("hm", "sig"), call("a"))
        self.assertEqual(thought, {"text": "hm", "thought": True})
        self.assertEqual(called["thoughtSignature"], "sig")
        thought, called = self.parts(ThinkingBlock("hm", "Rsig"), call("a"), name=CLAUDE)
        self.assertEqual(thought["thoughtSignature"], "Rsig")
        self.assertNotIn("thoughtSignature", called)

    def test_families_keep_apart(self) -> None:
        """A signature goes to its own family only: Claude's is wrapped for Antigravity, one of
        another family is left out with its thought, and reported."""
        wrapped = b64encode(OF_CLAUDE.encode()).decode()
        for name, given, sent in (
            (CLAUDE, OF_CLAUDE, wrapped),
            (CLAUDE, wrapped, wrapped),
            (CLAUDE, OF_GEMINI, None),
            (CLAUDE, "CiIBvj72+9zt1F5hZ22f1eeW7Px6AYZtmGWk", None),
            (CLAUDE, SKIP_SIGNATURE, None),
            (PRO, OF_GEMINI, OF_GEMINI),
            (PRO, "CiIBvj72-9zt1F5hZ22f1eeW7Px6AYZtmGWk", "CiIBvj72-9zt1F5hZ22f1eeW7Px6AYZtmGWk"),
            (PRO, OF_CLAUDE, None),
            (PRO, wrapped, None),
            (PRO, "\u00e9", "\u00e9"),
        ):
            with self.subTest(name, given=given):
                request = chat(HELLO, model(ThinkingBlock("hm", given), TextBlock("a")), user("b"))
                first = render(request, name)["contents"][1]["parts"][0]
                self.assertEqual(first.get("thoughtSignature"), sent)
                self.assertEqual(dropped(request, name), () if sent else ("thinking",))
                self.assertEqual("thought" in first, sent is not None)
        foreign = chat(HELLO, model(call("a", signature=OF_CLAUDE)), user(result("a")))
        self.assertEqual(render(foreign)["contents"][1]["parts"][0]["thoughtSignature"], SKIP_SIGNATURE)
        self.assertEqual(dropped(foreign), ("thinking",))

    def test_recorded_signatures(self) -> None:
        """None of Gemini's recorded signatures is taken for Claude's, nor the reverse."""
        folder = FIXTURES.parent
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".sse", ".json"):
                text = path.read_text(errors="replace")
                for signature in re.findall(r'"thoughtSignature": ?"([^"]+)"', text):
                    self.assertEqual(signed.for_gemini(signature), signature)
                    if not signature.startswith("R"):
                        self.assertIsNone(signed.for_antigravity_claude(signature))
                for signature in re.findall(r'"signature": ?"(E[^"]{60,})"', text):
                    with self.subTest(path.name):
                        self.assertIsNone(signed.for_gemini(signature))
                        self.assertIsNotNone(signed.for_antigravity_claude(signature))

    def test_unsigned_thinking(self) -> None:
        """Thinking without a signature is left out and reported."""
        request = chat(HELLO, model(ThinkingBlock("hm"), TextBlock("a")), user("b"))
        self.assertEqual(render(request)["contents"][1]["parts"], [{"text": "a"}])
        self.assertEqual(dropped(request), ("thinking",))

    def test_lost_signatures(self) -> None:
        """Gemini 3 wants the first call of each step of the current turn signed: a lost
        signature is replaced, on that call alone. Older models and turns want none."""
        old = (HELLO, model(call("o")), user(result("o")))
        messages = (
            *old,
            user("next"),
            model(call("a"), call("b")),
            user(result("a"), result("b")),
            model(call("c", signature="Rown")),
            user(result("c")),
        )
        for name, expected in (
            (PRO, [SKIP_SIGNATURE, None, "Rown"]),
            ("gemini-pro-agent", [SKIP_SIGNATURE, None, "Rown"]),
            (FLASH, [None, None, "Rown"]),
            (CLAUDE, [None, None, "Rown"]),
        ):
            with self.subTest(name):
                contents = render(chat(*messages), name)["contents"]
                signatures = [
                    part.get("thoughtSignature")
                    for content in contents
                    for part in content["parts"]
                    if "functionCall" in part
                ]
                self.assertEqual(signatures[1:], expected)
        first = render(chat(*old, user("done"), model("ok"), user("next")))["contents"][1]["parts"][0]
        self.assertNotIn("thoughtSignature", first)

    def test_signed_text(self) -> None:
        """A text that Gemini signed goes back with its signature; what Claude says is not signed."""
        (part,) = self.parts(TextBlock("hi", OF_GEMINI))
        self.assertEqual(part, {"text": "hi", "thoughtSignature": OF_GEMINI})
        (part,) = self.parts(TextBlock("hi", OF_CLAUDE))
        self.assertEqual(part, {"text": "hi"})
        self.assertEqual(dropped(chat(HELLO, model(TextBlock("hi", OF_CLAUDE)), HELLO)), ("thinking",))
        (part,) = self.parts(TextBlock("hi", OF_CLAUDE), name=CLAUDE)
        self.assertEqual(part, {"text": "hi"})

    def test_round_trip(self) -> None:
        """A recorded answer, given back by the client, is what Gemini's own client sends."""
        recorded = json.loads((FIXTURES / "3pro-parallel-2.request.json").read_bytes())
        stream = (FIXTURES / "../antigravity/wrapped-3pro-parallel.sse").read_bytes()
        reader = GeminiReader(stream_error)
        events = [event for frame in SSEDecoder().feed(stream) for event in reader.feed(frame)]
        reply = reply_of(events + reader.end())
        request = chat(
            user("Add and multiply the number 2 and 3"),
            Message("assistant", reply.content),
            user(result("8hd01vsf", TextBlock("5")), result("k0srpqrc", TextBlock("6"))),
        )
        contents = render(request)["contents"]
        self.assertEqual(contents[1], recorded["contents"][1])
        self.assertEqual(contents[0], recorded["contents"][0])


class Remembered(unittest.TestCase):
    """What the client left out of its history, and the gateway knows."""

    def parts(
        self, *blocks: RequestBlock, thoughts: dict[str, Thought], name: str = PRO, dialect: str = "openai"
    ) -> list[dict[str, Any]]:
        """Those of the model's turn; nothing may be reported as left out."""
        results = [result(block.id) for block in blocks if isinstance(block, ToolUseBlock)]
        request = chat(
            HELLO, model(*blocks), user(*results or ("go on",)), dialect=dialect, thoughts=thoughts
        )
        body, rendered = render_request(request, name, antigravity=True)
        self.assertEqual(rendered.dropped, ())
        parts = json.loads(msgspec.json.encode(body))["contents"][1]["parts"]
        assert isinstance(parts, list)
        return parts

    def test_calls(self) -> None:
        """Gemini's call gets its signature back; of parallel ones the first, as it was."""
        thoughts = {call_key(call("a")): Thought((ThinkingBlock("", OF_GEMINI),))}
        text, first, second = self.parts(TextBlock("so"), call("a"), call("b"), thoughts=thoughts)
        self.assertEqual(first["thoughtSignature"], OF_GEMINI)
        self.assertNotIn("thoughtSignature", text)
        self.assertNotIn("thoughtSignature", second)

    def test_what_the_client_sends_wins(self) -> None:
        """A signature that the client kept is not replaced."""
        thoughts = {call_key(call("a")): Thought((ThinkingBlock("", OF_GEMINI),))}
        (part,) = self.parts(call("a", signature="own"), thoughts=thoughts)
        self.assertEqual(part["thoughtSignature"], "own")
        (part,) = self.parts(ThinkingBlock("", "own"), call("a"), thoughts=thoughts)
        self.assertEqual(part["thoughtSignature"], "own")

    def test_thinking_that_lost_its_signature(self) -> None:
        """Where the signature is known, unsigned thinking that came back is not missed."""
        thoughts = {call_key(call("a")): Thought((ThinkingBlock("", OF_GEMINI),))}
        (part,) = self.parts(ThinkingBlock("hm"), call("a"), thoughts=thoughts)
        self.assertEqual(part["thoughtSignature"], OF_GEMINI)
        thoughts = {call_key(call("a")): Thought((ThinkingBlock("hm", OF_CLAUDE),))}
        thought, part = self.parts(ThinkingBlock("hm"), call("a"), thoughts=thoughts, name=CLAUDE)
        self.assertEqual(thought["thought"], True)

    def test_texts(self) -> None:
        """A text is known by what it says."""
        thoughts = {text_key("It is 4."): Thought((ThinkingBlock("", OF_GEMINI),))}
        (part,) = self.parts(TextBlock("It is 4."), thoughts=thoughts)
        self.assertEqual(part, {"text": "It is 4.", "thoughtSignature": OF_GEMINI})
        (part,) = self.parts(TextBlock("It is 5."), thoughts=thoughts)
        self.assertEqual(part, {"text": "It is 5."})

    def test_claude(self) -> None:
        """Claude gets its thoughts back, wrapped, where the step begins; redacted ones have no place.
        So it may go on thinking."""
        blocks = ThinkingBlock("hm", OF_CLAUDE), RedactedThinkingBlock("x"), ThinkingBlock("so", OF_CLAUDE)
        thoughts = {call_key(call("toolu.1")): Thought(blocks), call_key(call("b")): Thought(blocks[:1])}
        said = TextBlock("Let me look."), call("toolu.1"), TextBlock("And there."), call("b")
        parts = self.parts(*said, thoughts=thoughts, name=CLAUDE)
        wrapped = b64encode(OF_CLAUDE.encode()).decode()
        hm, so = ({"text": text, "thought": True, "thoughtSignature": wrapped} for text in ("hm", "so"))
        self.assertEqual(parts[:3], [hm, so, {"text": "Let me look."}])
        self.assertEqual(parts[3]["functionCall"]["id"], "toolu_1")
        self.assertEqual(parts[4:6], [hm, {"text": "And there."}])
        request = chat(
            HELLO,
            model(*said),
            user(result("toolu.1"), result("b")),
            thoughts=thoughts,
            thinking=Thinking("enabled", 2000),
        )
        self.assertEqual(dropped(request, CLAUDE, antigravity=True), ())

    def test_claude_that_came_back(self) -> None:
        """Thinking that the client kept is not put there twice."""
        thoughts = {call_key(call("a")): Thought((ThinkingBlock("hm", OF_CLAUDE),))}
        parts = self.parts(ThinkingBlock("hm", OF_CLAUDE), call("a"), thoughts=thoughts, name=CLAUDE)
        self.assertEqual(len(parts), 2)

    def test_claude_that_showed_nothing(self) -> None:
        """A thought without text has its signature on the call, as an empty text is refused."""
        thoughts = {call_key(call("a")): Thought((ThinkingBlock("", OF_CLAUDE),))}
        (part,) = self.parts(call("a"), thoughts=thoughts, name=CLAUDE)
        self.assertEqual(part["thoughtSignature"], b64encode(OF_CLAUDE.encode()).decode())
