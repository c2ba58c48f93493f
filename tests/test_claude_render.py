from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigateway.dialects import DIALECTS, signed
from aigateway.dialects.claude import families, schema
from aigateway.dialects.claude.render import MAX_TOKENS, render_request
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
)
from aigateway.signatures import call_key
from aigateway.simulator.messages import Body
from aigateway.simulator.messages_rules import fault_in
from aigateway.simulator.signatures import Signer

FIXTURES = Path(__file__).parent / "fixtures"
HAIKU, SONNET_4, OPUS_45 = "claude-haiku-4-5", "claude-sonnet-4-20250514", "claude-opus-4-5"
SONNET_46, OPUS_47, OPUS_48, OPUS_5 = (
    "claude-sonnet-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-opus-5",
)
FABLE, SONNET_5, OLD = "claude-fable-5", "claude-sonnet-5", "claude-3-5-sonnet-20241022"
MODELS = (HAIKU, SONNET_4, OPUS_45, SONNET_46, OPUS_47, OPUS_48, OPUS_5, FABLE, SONNET_5, OLD, "glm-4.7")
SPOKEN = {"openai": "openai", "compat": "openai", "glm": "openai", "anthropic": "claude"}
"""The dialect of the requests in a folder of recordings, where it is looked at here."""
SIGNER = Signer("simulated anthropic")
SIGNATURE = SIGNER.claude("a thought")
OF_GEMINI = "EtoGCtcGCAIS0gYBDDnWx2K2DVCm1ZWnP0675oPN"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
LOOK = Tool("look", "Looks", SCHEMA)
CALL = ToolUseBlock("call_1", "look", '{"city":"Ulm"}')
RESULT = ToolResultBlock("call_1", (TextBlock("sunny"),))


def user(*blocks: RequestBlock | str) -> Message:
    return Message("user", tuple(TextBlock(block) if isinstance(block, str) else block for block in blocks))


def model(*blocks: RequestBlock | str) -> Message:
    return Message("assistant", user(*blocks).content)


def system(text: str) -> Message:
    return Message("system", (TextBlock(text),))


def asks(*messages: Message, dialect: str = "openai", **fields: Any) -> ChatRequest:
    return ChatRequest(dialect=dialect, model="m", messages=messages or (user("Hello"),), **fields)


class RenderTests(SynchronousTestCase):
    """Bodies made from the hub."""

    def render(
        self, chat: ChatRequest, to: str = HAIKU, *, dropped: str = "", emulated: str = ""
    ) -> dict[str, Any]:
        """The body for ``chat``; with exactly these fields dropped and emulated."""
        rendered = render_request(chat, to, stream=False)
        self.assertEqual(" ".join(rendered.dropped), dropped)
        self.assertEqual(" ".join(rendered.emulated), emulated)
        self.assertFalse(rendered.kept)
        self.assertIsNone(fault_in(msgspec.json.decode(rendered.body, type=Body), SIGNER))
        body: dict[str, Any] = json.loads(rendered.body)
        return body

    def messages(self, *messages: Message, to: str = HAIKU, dropped: str = "", **fields: Any) -> list[Any]:
        found: list[Any] = self.render(asks(*messages, **fields), to, dropped=dropped)["messages"]
        return found

    def refused(self, chat: ChatRequest, word: str, to: str = HAIKU) -> None:
        error = self.assertRaises(MalformedRequest, render_request, chat, to, stream=False)
        self.assertIn(word, str(error))


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def call(id: str = "call_1", name: str = "look") -> dict[str, object]:
    return {"type": "tool_use", "id": id, "name": name, "input": {"city": "Ulm"}}


def result(id: str = "call_1", *content: object, **fields: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": id, "content": list(content) or [text("sunny")], **fields}


UNANSWERED = {
    "type": "tool_result",
    "tool_use_id": "call_1",
    "content": "the call was not answered",
    "is_error": True,
}


class MessageTests(RenderTests):
    """The turns."""

    def test_least(self) -> None:
        """A plain question becomes the model, a limit and one message."""
        self.assertEqual(
            self.render(asks()),
            {
                "model": HAIKU,
                "max_tokens": MAX_TOKENS,
                "messages": [{"role": "user", "content": [text("Hello")]}],
            },
        )
        self.assertTrue(json.loads(render_request(asks(), HAIKU, stream=True).body)["stream"])

    def test_system(self) -> None:
        """The instructions are a list of texts, blank ones left out."""
        chat = asks(system=(TextBlock("Be kind"), TextBlock(" \n"), TextBlock("Be brief")))
        self.assertEqual(self.render(chat)["system"], [text("Be kind"), text("Be brief")])

    def test_turns_alternate(self) -> None:
        """Neighbouring messages of one role are one; blank texts and empty messages are left out."""
        self.assertEqual(
            self.messages(user("a"), user("  "), model(), user("b"), model("c"), model("d"), user("e")),
            [
                {"role": "user", "content": [text("a"), text("b")]},
                {"role": "assistant", "content": [text("c"), text("d")]},
                {"role": "user", "content": [text("e")]},
            ],
        )

    def test_first_message(self) -> None:
        """The first message is the user's: a point stands where it has said nothing."""
        first = {"role": "user", "content": [text(".")]}
        self.assertEqual(self.messages(model("a"), user("b"))[0], first)
        self.assertEqual(self.messages(user(" ")), [first])

    def test_last_message(self) -> None:
        """Older models go on from the assistant's last text, without its last blank; newer ones are
        told to."""
        self.assertEqual(
            self.messages(user("a"), model("It is "))[-1], {"role": "assistant", "content": [text("It is")]}
        )
        chat = asks(user("a"), model("It is "))
        body = self.render(chat, SONNET_46, emulated="messages")
        self.assertEqual(body["messages"][-1], {"role": "user", "content": [text("Continue.")]})

    def test_calls_and_results(self) -> None:
        """Results stand first in the message behind their calls, in the calls' order, each once: the
        last one given."""
        second = ToolUseBlock("call_2", "look", "{}")
        messages = self.messages(
            user("a"),
            model("b", CALL, second),
            user("also", ToolResultBlock("call_2", (), is_error=True)),
            user(ToolResultBlock("call_1", (TextBlock("rain"),)), RESULT, "c"),
            tools=(LOOK,),
        )
        self.assertEqual(messages[1]["content"], [text("b"), call(), call("call_2") | {"input": {}}])
        failed = {"type": "tool_result", "tool_use_id": "call_2", "is_error": True}
        self.assertEqual(messages[2]["content"], [result(), failed, text("also"), text("c")])

    def test_unanswered_calls(self) -> None:
        """A call without an answer gets an error as one, at the end too."""
        for messages in ((user("a"), model(CALL)), (user("a"), model(CALL), user("b"))):
            self.assertEqual(self.messages(*messages)[2]["content"][0], UNANSWERED)

    def test_results_without_a_call(self) -> None:
        """A result that answers no call of the message before it is refused."""
        self.refused(asks(user("a", RESULT)), "which the message before it does not make")
        late = asks(user("a"), model(CALL), user(RESULT), model("b"), user(RESULT), dialect="claude")
        self.refused(late, "messages[4]")

    def test_ids(self) -> None:
        """Ids are made of what Claude takes, are never the same twice, and lead from result to call."""
        odd = ToolUseBlock("call:1/x", "look", "{}")
        messages = self.messages(
            user("a"),
            model(odd),
            user(ToolResultBlock("call:1/x", (TextBlock("1"),))),
            model(odd, ToolUseBlock("", "look", "{}")),
            user(ToolResultBlock("call:1/x", (TextBlock("2"),)), ToolResultBlock("", (TextBlock("3"),))),
        )
        called = [block["id"] for turn in (messages[1], messages[3]) for block in turn["content"]]
        self.assertEqual(called, ["call_1_x", "call_1_x_2", "call"])
        answered = [block["tool_use_id"] for turn in (messages[2], messages[4]) for block in turn["content"]]
        self.assertEqual(answered, called)

    def test_calls_that_share_an_id(self) -> None:
        """Where two calls of one message have the same id, their results answer them in turn."""
        again = (ToolResultBlock("call_1", (TextBlock(told),)) for told in ("1", "2"))
        messages = self.messages(user("a"), model(CALL, CALL), user(*again), tools=(LOOK,))
        self.assertEqual([block["id"] for block in messages[1]["content"]], ["call_1", "call_1_2"])
        answers = [(block["tool_use_id"], block["content"]) for block in messages[2]["content"]]
        self.assertEqual(answers, [("call_1", [text("1")]), ("call_1_2", [text("2")])])

    def test_arguments(self) -> None:
        """Arguments are an object as written; what is none stands in one."""
        inputs = []
        for input in ('{"a": 1.50}', "[1]", "{oops", ""):
            body = render_request(
                asks(user("a"), model(ToolUseBlock("c", "t", input))), HAIKU, stream=False
            ).body
            inputs.append(json.loads(body)["messages"][1]["content"][0]["input"])
            self.assertEqual(b"1.50" in body, "1.50" in input)
        self.assertEqual(inputs, [{"a": 1.5}, {"value": [1]}, {"_raw": "{oops"}, {}])

    def test_media(self) -> None:
        """Images and documents go as base64, as URL, or as text, in messages and in results."""
        png, pdf = ImageBlock("image/png", "aGk="), DocumentBlock("application/pdf", "aGk=", title="T")
        data = {"type": "base64", "media_type": "image/png", "data": "aGk="}
        paper = {"type": "base64", "media_type": "application/pdf", "data": "aGk="}
        plain = {"type": "text", "media_type": "text/plain", "data": "hi"}
        url = {"type": "url", "url": "https://x/y"}
        sources: list[tuple[RequestBlock, object]] = [
            (png, {"type": "image", "source": data}),
            (ImageBlock(url="https://x/y"), {"type": "image", "source": url}),
            (pdf, {"type": "document", "source": paper, "title": "T"}),
            (DocumentBlock(url="https://x/y"), {"type": "document", "source": url}),
            (DocumentBlock(text="hi"), {"type": "document", "source": plain}),
            (DocumentBlock("text/markdown", "aGk="), {"type": "document", "source": plain}),
        ]
        for block, expected in sources:
            self.assertEqual(self.messages(user(block))[0]["content"], [expected])
            answered = (user("a"), model(CALL), user(ToolResultBlock("call_1", (block,))))
            self.assertEqual(self.messages(*answered)[2]["content"][0]["content"], [expected])

    def test_media_that_are_not_taken(self) -> None:
        """Audio, other types, other URLs and files in somebody's store are refused."""
        self.refused(asks(user(AudioBlock("aGk=", "wav"))), "audio")
        self.refused(asks(user(ImageBlock("image/tiff", "aGk="))), "image/webp")
        self.refused(asks(user(ImageBlock(url="gs://x"))), "https")
        self.refused(asks(user(DocumentBlock("application/zip", "aGk="))), "application/pdf")
        self.refused(asks(user(DocumentBlock("text/plain", "/w=="))), "UTF-8")
        self.refused(asks(user(OtherBlock("file.file_id"))), "file_id")

    def test_unknown_blocks(self) -> None:
        """A block that only its own dialect knows is dropped and reported."""
        self.messages(
            user("a", OtherBlock("hologram")),
            model(ImageBlock("image/png", "x")),
            user("b"),
            dropped="hologram image",
        )

    def test_later_system_messages(self) -> None:
        """Models that heed them get them in their place, behind the user's turn at hand; all others
        as words of the user's."""
        told = (user("a"), system("Be brief"))
        instruction = {"role": "system", "content": [text("Be brief")]}
        self.assertEqual(self.messages(*told, to=OPUS_48)[1], instruction)
        words = text("<system>\nBe brief\n</system>")
        for other in (HAIKU, SONNET_5):
            self.assertEqual(self.messages(*told, to=other)[0]["content"], [text("a"), words])
        between = (user("a"), model(CALL), system("Be brief"), user(RESULT))
        self.assertEqual(
            self.messages(*between, to=OPUS_48)[2:], [{"role": "user", "content": [result()]}, instruction]
        )
        self.assertEqual(self.messages(*between)[2]["content"], [result(), words])
        self.assertEqual(
            self.messages(system("Be brief"), user("a"), to=OPUS_48)[0]["content"], [words, text("a")]
        )


class ThoughtTests(RenderTests):
    """Thinking of earlier turns."""

    def test_whose_it_is(self) -> None:
        """Claude's own goes back, without Antigravity's wrapping; nobody's and another family's are
        dropped. A signature alone of another family means nothing, and is no loss."""
        own = {"type": "thinking", "thinking": "Hm", "signature": SIGNATURE}
        wrapped = SIGNER.wrapped_claude("a thought")
        for signature in (SIGNATURE, wrapped):
            content = self.messages(user("a"), model(ThinkingBlock("Hm", signature), "b"), user("c"))[1][
                "content"
            ]
            self.assertEqual(content, [own, text("b")])
        for signature in ("", OF_GEMINI, "R!", "sig"):
            turns = (user("a"), model(ThinkingBlock("Hm", signature), "b"), user("c"))
            self.assertEqual(self.messages(*turns, dropped="thinking")[1]["content"], [text("b")])
        turns = (user("a"), model(ThinkingBlock("", OF_GEMINI), "b"), user("c"))
        self.assertEqual(self.messages(*turns)[1]["content"], [text("b")])

    def test_another_issuers(self) -> None:
        """What the gateway knows to be of another issuer's making is dropped, though it looks like
        Claude's."""
        turns = (user("a"), model(ThinkingBlock("Hm", SIGNATURE), "b"), user("c"))
        messages = self.messages(*turns, dropped="thinking", foreign=frozenset({SIGNATURE}))
        self.assertEqual(messages[1]["content"], [text("b")])

    def test_redacted(self) -> None:
        """Redacted thinking is Claude's or goes."""
        chat = asks(user("a"), model(RedactedThinkingBlock(SIGNATURE), "b"), user("c"))
        body = json.loads(render_request(chat, HAIKU, stream=False).body)
        self.assertEqual(body["messages"][1]["content"][0], {"type": "redacted_thinking", "data": SIGNATURE})
        foreign = (user("a"), model(RedactedThinkingBlock(OF_GEMINI), "b"), user("c"))
        self.messages(*foreign, dropped="redacted_thinking")

    def test_a_server_that_signs_nothing(self) -> None:
        """GLM gets the text of its thinking back without a signature."""
        body = render_request(
            asks(user("a"), model(ThinkingBlock("Hm"), "b"), user("c")), "glm-4.7", stream=False
        )
        thought = {"type": "thinking", "thinking": "Hm", "signature": ""}
        self.assertEqual(json.loads(body.body)["messages"][1]["content"][0], thought)

    def test_remembered(self) -> None:
        """What the gateway remembers of a call stands again at the beginning of its step, in front
        of a text of a message of its own too; what the client sent itself is not doubled."""
        thought = ThinkingBlock("Hm", SIGNATURE)
        known = {call_key(CALL): Thought((thought,))}
        rendered = {"type": "thinking", "thinking": "Hm", "signature": SIGNATURE}
        for turns in ((model("b", CALL),), (model("b"), model(CALL)), (model(thought, "b", CALL),)):
            content = self.messages(user("a"), *turns, user(RESULT), thoughts=known)[1]["content"]
            self.assertEqual(content, [rendered, text("b"), call()])

    def test_remembered_between_calls(self) -> None:
        """What was thought between two calls of one step stands between them."""
        second = ToolUseBlock("call_2", "look", '{"city":"Ulm"}')
        known = {call_key(second): Thought((ThinkingBlock("Hm", SIGNATURE),))}
        content = self.messages(user("a"), model(CALL, second), thoughts=known)[1]["content"]
        self.assertEqual([block["type"] for block in content], ["tool_use", "thinking", "tool_use"])

    def test_thinking_in_a_loop(self) -> None:
        """With a budget, thinking is off while the turn at hand has called tools without signed
        thinking before the first call; adaptive thinking stays on."""
        loop = (user("a"), model(CALL), user(RESULT))
        self.assertNotIn(
            "thinking", self.render(asks(*loop, effort="high"), HAIKU, dropped="reasoning_effort")
        )
        self.assertEqual(self.render(asks(*loop, effort="high"), OPUS_47)["thinking"]["type"], "adaptive")
        begun = model(ThinkingBlock("Hm", SIGNATURE), CALL)
        again = ToolUseBlock("call_2", "look", "{}")
        longer = (user("a"), begun, user(RESULT), model(again), user(ToolResultBlock("call_2")))
        for turns in ((user("a"), begun, user(RESULT)), longer, (*loop, model("b"), user("c"))):
            self.assertEqual(self.render(asks(*turns, effort="high"), HAIKU)["thinking"]["type"], "enabled")


class ThinkingTests(RenderTests):
    """How much to think."""

    def thinking(self, to: str, dropped: str = "", **fields: Any) -> tuple[Any, Any, int]:
        body = self.render(asks(**fields), to, dropped=dropped)
        return body.get("thinking"), body.get("output_config", {}).get("effort"), body["max_tokens"]

    def test_nothing_said(self) -> None:
        """Where the client says nothing, nothing is said."""
        for name in MODELS:
            self.assertEqual(self.thinking(name), (None, None, MAX_TOKENS))

    def test_effort_as_a_budget(self) -> None:
        """Older models get an effort as a budget, and a limit above it."""
        for effort, budget in (("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 24_576)):
            config = {"type": "enabled", "budget_tokens": budget}
            self.assertEqual(self.thinking(HAIKU, effort=effort), (config, None, budget + 8192))
        config = {"type": "enabled", "budget_tokens": 32_000}
        self.assertEqual(self.thinking(HAIKU, effort="max"), (config, None, 64_000))

    def test_effort_as_such(self) -> None:
        """Newer models think as they see fit, and take an effort: the next one that they know."""
        adaptive = {"type": "adaptive", "display": "summarized"}
        for to, asked, given in (
            (OPUS_47, "minimal", "low"),
            (OPUS_47, "medium", "medium"),
            (OPUS_47, "xhigh", "xhigh"),
            (SONNET_46, "xhigh", "max"),
            (SONNET_46, "high", "high"),
        ):
            self.assertEqual(self.thinking(to, effort=asked), (adaptive, given, MAX_TOKENS))

    def test_none(self) -> None:
        """No thinking is said to the models that would think otherwise."""
        off = {"type": "disabled"}
        for to, config in ((OLD, None), (HAIKU, None), (SONNET_46, off), (SONNET_5, off)):
            self.assertEqual(self.thinking(to, effort="none")[0], config)
            asked = self.thinking(to, thinking=Thinking("disabled"))[0]
            self.assertEqual(asked, None if to == OLD else off)

    def test_effort_without_thinking(self) -> None:
        """Opus 5 takes at most a high effort while it may not think."""
        found = self.thinking(OPUS_5, thinking=Thinking("disabled"), effort="max", dropped="reasoning_effort")
        self.assertEqual(found[:2], ({"type": "disabled"}, "high"))

    def test_budgets(self) -> None:
        """A budget stays within the client's own limit, at least 1024, or thinking is off; newer
        models take it as an effort, models of the generation between as it is."""
        enabled = Thinking("enabled", 5000)
        given = {"type": "enabled", "budget_tokens": 5000}
        self.assertEqual(self.thinking(HAIKU, thinking=enabled, max_tokens=6000), (given, None, 6000))
        half = {"type": "enabled", "budget_tokens": 2000}
        self.assertEqual(self.thinking(HAIKU, thinking=enabled, max_tokens=4000), (half, None, 4000))
        self.assertEqual(self.thinking(HAIKU, "thinking", thinking=enabled, max_tokens=1000)[0], None)
        self.assertEqual(self.thinking(HAIKU, "reasoning_effort", effort="low", max_tokens=1000)[0], None)
        self.assertEqual(self.thinking(SONNET_46, thinking=enabled, max_tokens=6000)[0], given)
        adaptive = {"type": "adaptive", "display": "summarized"}
        self.assertEqual(self.thinking(OPUS_47, thinking=enabled)[:2], (adaptive, "medium"))
        self.assertEqual(self.thinking(OPUS_47, thinking=Thinking("enabled", 40_000))[1], "xhigh")

    def test_hidden(self) -> None:
        """A client that wants no text of the thinking gets none."""
        for to in (HAIKU, OPUS_47):
            config = self.thinking(to, thinking=Thinking("enabled", 1024, hidden=True))[0]
            self.assertEqual(config["display"], "omitted")

    def test_models_that_do_not_think(self) -> None:
        """A model without thinking is asked for none, and the client is told."""
        self.assertEqual(self.thinking(OLD, "reasoning_effort", effort="high")[0], None)
        self.assertEqual(self.thinking(OLD, "thinking", thinking=Thinking("enabled", 2000))[0], None)

    def test_unknown_efforts(self) -> None:
        """An effort that nobody knows is dropped; auto says nothing."""
        self.assertEqual(self.thinking(OPUS_47, "reasoning_effort", effort="heroic")[1], None)
        self.assertEqual(self.thinking(OPUS_47, effort="auto")[:2], (None, None))

    def test_claude_efforts(self) -> None:
        """A Claude client's effort says how much to write, and turns no thinking on."""
        chat = asks(dialect="claude", effort="max", max_tokens=100)
        body = self.render(chat, OPUS_45)
        self.assertEqual((body["output_config"], body.get("thinking")), ({"effort": "high"}, None))
        self.render(chat, HAIKU, dropped="output_config.effort")


class ToolTests(RenderTests):
    """Tools and the choice among them."""

    def test_tools(self) -> None:
        """A tool has a name, its description and the schema of an object."""
        body = self.render(
            asks(tools=(LOOK, Tool("go"), Tool("sit", None, {"type": None, "properties": None})))
        )
        empty = {"type": "object", "properties": {}}
        self.assertEqual(
            body["tools"],
            [
                {"name": "look", "description": "Looks", "input_schema": SCHEMA},
                {"name": "go", "input_schema": empty},
                {"name": "sit", "input_schema": empty},
            ],
        )

    def test_names(self) -> None:
        """A name that Claude does not take is changed, in the history and the choice as in the tools,
        and the way back is told."""
        names = ("files.read", "x" * 70)
        chat = asks(
            user("a"),
            model(ToolUseBlock("c", names[0], "{}")),
            tools=tuple(Tool(name) for name in names),
            tool_choice=ToolChoice("tool", names[0]),
        )
        body = self.render(chat)
        sent = [tool["name"] for tool in body["tools"]]
        self.assertEqual(body["messages"][1]["content"][0]["name"], sent[0])
        self.assertEqual(body["tool_choice"]["name"], sent[0])
        self.assertEqual(
            render_request(chat, HAIKU, stream=False).renamed, dict(zip(sent, names, strict=True))
        )
        self.assertTrue(all(len(name) <= 64 for name in sent))

    def test_choice(self) -> None:
        """auto, any, tool and none have Claude's words; one call at a time is part of the choice."""
        for mode in ("auto", "any", "none"):
            body = self.render(asks(tools=(LOOK,), tool_choice=ToolChoice(mode)))
            self.assertEqual(body["tool_choice"], {"type": mode})
        named = self.render(asks(tools=(LOOK,), tool_choice=ToolChoice("tool", "look")))
        self.assertEqual(named["tool_choice"], {"type": "tool", "name": "look"})
        single = self.render(asks(tools=(LOOK,), parallel_tools=False))["tool_choice"]
        self.assertEqual(single, {"type": "auto", "disable_parallel_tool_use": True})
        none = self.render(asks(tools=(LOOK,), tool_choice=ToolChoice("none"), parallel_tools=False))
        self.assertEqual(none["tool_choice"], {"type": "none"})
        self.assertNotIn("tool_choice", self.render(asks(tools=(LOOK,), parallel_tools=True)))

    def test_choices_that_are_not_taken(self) -> None:
        """A forced choice is left to the model where it thinks on a budget, or refuses to be forced;
        without tools there is nothing to choose."""
        forced = ToolChoice("any")
        thinking = asks(tools=(LOOK,), tool_choice=forced, effort="low")
        self.assertEqual(self.render(thinking, dropped="tool_choice")["tool_choice"], {"type": "auto"})
        self.assertEqual(self.render(thinking, OPUS_47)["tool_choice"], {"type": "any"})
        plain = asks(tools=(LOOK,), tool_choice=forced)
        self.assertEqual(self.render(plain, FABLE, dropped="tool_choice")["tool_choice"], {"type": "auto"})
        self.assertNotIn("tool_choice", self.render(asks(tool_choice=forced), dropped="tool_choice"))
        self.assertNotIn("tool_choice", self.render(asks(tool_choice=ToolChoice("auto"))))

    def test_strict(self) -> None:
        """A strict tool keeps to the limits of strict schemas; where that cannot be it is not strict."""
        limits: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
        (tool,) = self.render(asks(tools=(Tool("t", None, limits, strict=True),)))["tools"]
        self.assertTrue(tool["strict"])
        self.assertEqual(
            tool["input_schema"]["properties"]["n"], {"type": "integer", "description": "{minimum: 1}"}
        )
        self.assertFalse(tool["input_schema"]["additionalProperties"])
        free = Tool("t", None, {"type": "object", "properties": {"any": {}}}, strict=True)
        for given, to in ((free, HAIKU), (Tool("t", None, limits, strict=True), SONNET_4)):
            (tool,) = self.render(asks(tools=(given,)), to, dropped="tools.strict")["tools"]
            self.assertNotIn("strict", tool)
            self.assertEqual(tool["input_schema"], given.input_schema)

    def test_strict_by_reference(self) -> None:
        """A strict tool's schema must say itself that it is an object's: one that refers to it is not
        strict."""
        closed = {**SCHEMA, "additionalProperties": False}
        referring: dict[str, object] = {"$ref": "#/$defs/A", "$defs": {"A": closed}}
        given = asks(tools=(Tool("t", None, referring, strict=True),))
        (tool,) = self.render(given, dropped="tools.strict")["tools"]
        self.assertNotIn("strict", tool)
        self.assertEqual(tool["input_schema"]["type"], "object")

    def test_free_text(self) -> None:
        """A tool of free text is a function of one string, its grammar told in the description."""
        grammar: dict[str, object] = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
        tool = Tool("patch", "Patches", SCHEMA, free_text=True, grammar=grammar)
        (sent,) = self.render(asks(tools=(tool,)), emulated="tools.custom")["tools"]
        self.assertIn("start: WORD", sent["description"])

    def test_schemas_that_are_not_taken(self) -> None:
        """A schema that is no object's is refused, with the tool's name."""
        alternatives: dict[str, object] = {"anyOf": [{"type": "string"}, {"type": "object"}]}
        text_only: dict[str, object] = {"type": "string"}
        for bad in (text_only, alternatives):
            self.refused(asks(tools=(Tool("odd", None, bad),)), '"odd"')


class RestTests(RenderTests):
    """Everything else that a client may ask for."""

    def test_sampling(self) -> None:
        """Temperature lies between 0 and 1; the 4.x models take it or top_p, newer ones neither; with
        thinking neither is taken, but a top_p near 1."""
        both: dict[str, Any] = {"temperature": 1.7, "top_p": 0.5, "top_k": 3}
        old = self.render(asks(**both), OLD)
        self.assertEqual((old["temperature"], old["top_p"], old["top_k"]), (1.0, 0.5, 3))
        haiku = self.render(asks(**both), HAIKU, dropped="top_p")
        self.assertEqual((haiku["temperature"], haiku["top_k"]), (1.0, 3))
        self.render(asks(**both), OPUS_47, dropped="temperature top_p top_k")
        self.render(asks(effort="low", **both), HAIKU, dropped="temperature top_p top_k")
        self.assertEqual(self.render(asks(effort="low", top_p=0.97), HAIKU)["top_p"], 0.97)
        self.render(
            asks(seed=1, presence_penalty=0.1, frequency_penalty=0.2),
            dropped="seed presence_penalty frequency_penalty",
        )

    def test_limits(self) -> None:
        """A limit beyond what the model can say is its most, and told; none of ours is."""
        for to, most in ((HAIKU, 64_000), (OPUS_47, 128_000), ("claude-opus-4-1", 32_000), (OLD, 8_192)):
            body = self.render(asks(max_tokens=1_000_000), to, dropped="max_tokens")
            self.assertEqual(body["max_tokens"], most)
        self.assertEqual(self.render(asks(), "claude-3-haiku-20240307")["max_tokens"], 4096)
        self.assertEqual(self.render(asks(max_tokens=0))["max_tokens"], 1)

    def test_stop(self) -> None:
        """Stop sequences go on; blank ones, which are refused, do not."""
        self.assertEqual(self.render(asks(stop=("X", "Y")))["stop_sequences"], ["X", "Y"])
        self.assertEqual(self.render(asks(stop=("\n", "Y")), dropped="stop")["stop_sequences"], ["Y"])
        self.assertNotIn("stop_sequences", self.render(asks(stop=(" ",)), dropped="stop"))

    def test_user(self) -> None:
        """Who the user is goes on; an address or a long name as its hash."""
        self.assertEqual(self.render(asks(user="u-1"))["metadata"], {"user_id": "u-1"})
        for name in ("a@example.com", "x" * 300):
            self.assertRegex(self.render(asks(user=name))["metadata"]["user_id"], "^[0-9a-f]{64}$")

    def test_service_tier(self) -> None:
        """A tier has Claude's word, or is dropped."""
        for tier, word in (
            ("auto", "auto"),
            ("default", "standard_only"),
            ("standard_only", "standard_only"),
        ):
            self.assertEqual(self.render(asks(service_tier=tier))["service_tier"], word)
        self.render(asks(service_tier="flex"), dropped="service_tier")

    def test_beyond_the_hub(self) -> None:
        """What nobody here has a word for is dropped, by the client's names."""
        self.render(
            asks(other=("store", "verbosity"), unknown=("brand_new",)), dropped="store verbosity brand_new"
        )

    def test_spelling(self) -> None:
        """What is dropped is named as the client spells it."""
        wanted: dict[str, Any] = {"top_k": 1, "effort": "low", "stop": (" ",)}
        names = "generationConfig.stopSequences"
        self.render(
            asks(dialect="gemini", **wanted),
            OLD,
            dropped=f"generationConfig.thinkingConfig.thinkingLevel {names}",
        )

    def test_response_format(self) -> None:
        """A schema goes as such to models that take one, within their limits; to others, and where
        it does not fit, it is told in words, as is the wish for JSON."""
        wanted = ResponseFormat("json_schema", SCHEMA)
        config = {"format": {"type": "json_schema", "schema": SCHEMA | {"additionalProperties": False}}}
        self.assertEqual(self.render(asks(response_format=wanted))["output_config"], config)
        both = self.render(asks(response_format=wanted, effort="low"), OPUS_47)["output_config"]
        self.assertEqual(both, config | {"effort": "low"})
        free = ResponseFormat("json_schema", {"type": "object", "additionalProperties": True})
        for given, to, word in (
            (wanted, SONNET_4, '"city"'),
            (free, HAIKU, "additionalProperties"),
            (ResponseFormat("json_object"), HAIKU, "JSON object"),
        ):
            chat = asks(response_format=given, system=(TextBlock("Be kind"),))
            told = self.render(chat, to, emulated="response_format")
            self.assertNotIn("output_config", told)
            self.assertEqual(told["system"][0], text("Be kind"))
            self.assertIn(word, told["system"][1]["text"])

    def test_cache_control(self) -> None:
        """Marks for the cache stay where they were, on tools, texts, results and media; beyond four
        the last ones stay."""
        mark: dict[str, object] = {"type": "ephemeral"}
        raw = {
            "model": "m",
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": mark}]},
                {"role": "user", "content": "u", "cache_control": mark},
            ],
            "tools": [{"type": "function", "function": {"name": "look"}, "cache_control": mark}],
        }
        chat = DIALECTS["openai"].parse_request(json.dumps(raw).encode())
        body = self.render(chat)
        places = (body["tools"][0], body["system"][0], body["messages"][0]["content"][0])
        self.assertTrue(all(place["cache_control"] == mark for place in places))
        marked = [user(TextBlock(str(number), cache_control=mark)) for number in range(5)]
        blocks = self.messages(*marked, dropped="cache_control")[0]["content"]
        self.assertEqual(["cache_control" in block for block in blocks], [False, True, True, True, True])


class SchemaTests(SynchronousTestCase):
    """Schemas within the limits of structured outputs."""

    def limited(self, **schema_fields: Any) -> Any:
        return schema.limited({"type": "object", "properties": {"p": schema_fields}})["properties"]["p"]

    def test_limits_go_into_the_description(self) -> None:
        """What is not taken is told in the description; what is taken stays."""
        for given, expected in (
            ({"type": "string", "format": "email"}, {"type": "string", "format": "email"}),
            ({"type": "string", "format": "ipv9"}, {"type": "string", "description": '{format: "ipv9"}'}),
            (
                {"type": "integer", "minimum": 1, "maximum": 3, "description": "How many"},
                {"type": "integer", "description": "How many\n\n{minimum: 1, maximum: 3}"},
            ),
            (
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "{maxItems: 2}"},
            ),
            ({"type": "string", "enum": ["a", "b"]}, {"enum": ["a", "b"]}),
            ({"const": 1}, {"const": 1}),
            ({"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
            ({"type": ["string", "null"], "enum": ["a", None]}, {"enum": ["a", None]}),
            (
                {"oneOf": [{"type": "string"}, {"type": "null"}]},
                {"anyOf": [{"type": "string"}, {"type": "null"}]},
            ),
            ({"allOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}),
        ):
            self.assertEqual(self.limited(**given), expected)

    def test_properties_called_like_keywords(self) -> None:
        """A property may have a keyword's name."""
        given = {"type": "object", "properties": {"minimum": {"type": "string"}, "type": {"type": "string"}}}
        self.assertEqual(schema.limited(given), {**given, "additionalProperties": False})

    def test_definitions(self) -> None:
        """Definitions are kept, by Claude's word for them."""
        given = {
            "type": "object",
            "properties": {"p": {"$ref": "#/definitions/P"}},
            "definitions": {"P": {"type": "string"}},
        }
        found = schema.limited(given)
        self.assertEqual(found["properties"]["p"], {"$ref": "#/$defs/P"})
        self.assertEqual(found["$defs"], {"P": {"type": "string"}})

    def test_unfit(self) -> None:
        """Recursion, references elsewhere, and whatever may hold anything do not fit."""
        tree = {"type": "object", "properties": {"next": {"$ref": "#/$defs/T"}}}
        unfit: tuple[object, ...] = (
            {"$ref": "#/$defs/T", "$defs": {"T": tree}},
            {"type": "object", "properties": {"p": {"$ref": "#"}}},
            {"type": "object", "properties": {"p": {"$ref": "https://x/y"}}},
            {"type": "object", "properties": {"p": {"$ref": "#/$defs/gone"}}},
            {"type": "object"},
            {"type": "object", "properties": {"p": {}}},
            {"type": "object", "properties": {"p": True}},
            {"type": "object", "properties": {"p": {"type": "array"}}},
            {"type": "object", "properties": {"p": {"not": {"type": "string"}}}},
            {"type": "array", "items": {"type": "string"}},
            [],
        )
        for given in unfit:
            self.assertRaises(schema.Unfit, schema.limited, given)

    def test_many_references(self) -> None:
        """Definitions that refer to each other many times over cost no more than their number."""
        defs: dict[str, Any] = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(200)}
        defs["d200"] = {"type": "string"}
        given = {"type": "object", "properties": {"p": {"$ref": "#/$defs/d0"}}, "$defs": defs}
        self.assertEqual(len(schema.limited(given)["$defs"]), 201)

    def test_long_chains(self) -> None:
        """A chain of definitions costs its length, not its square."""
        defs: dict[str, Any] = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}]} for n in range(20_000)}
        given = {"type": "object", "properties": {"p": {"$ref": "#/$defs/d0"}}}
        found = schema.limited({**given, "$defs": {**defs, "d20000": {"type": "string"}}})
        self.assertEqual(len(found["$defs"]), 20_001)
        self.assertRaises(schema.Unfit, schema.limited, {**given, "$defs": {**defs, "d20000": defs["d0"]}})

    def test_several_types(self) -> None:
        """Of several types each gets the words that are about it, however deep they nest: what is
        said of no type alone is told in words."""
        nested: dict[str, Any] = {"type": "string"}
        for _ in range(30):
            nested = {"type": ["object", "null", "object"], "properties": {"p": nested}}
        self.assertLess(len(json.dumps(self.limited(**nested))), 5000)
        given: dict[str, Any] = {"type": ["array", "string"], "items": {"type": "string"}}
        given |= {"format": "date", "maxLength": 3}
        self.assertEqual(
            self.limited(**given),
            {
                "anyOf": [
                    {"type": "array", "items": {"type": "string"}},
                    {"type": "string", "format": "date"},
                ],
                "description": "{maxLength: 3}",
            },
        )

    def test_hostile(self) -> None:
        """What is no schema at all is `Unfit`, or passed over: nothing else is raised."""
        values: tuple[Any, ...] = (5, "x", True, [1], [[1]], [{}], {"a": 5}, {"$ref": []}, {})
        words = (
            *("anyOf", "oneOf", "allOf", "properties", "required", "type", "$defs", "$ref", "enum", "const"),
            *("items", "minItems", "format", "additionalProperties", "description", "not"),
        )
        for word in words:
            for value in values:
                hostile: tuple[dict[str, Any], ...] = (
                    {word: value},
                    {word: [value]},
                    {word: value, "anyOf": [{}]},
                    {"anyOf": [{word: value}, {"required": ["a"]}]},
                    {"type": "object", "properties": {"p": {"type": "object", word: value}}},
                    {"type": "object", "properties": {"p": {"type": "string", word: value}}},
                    {"type": "object", "properties": {"p": {"type": ["array", "object"], word: value}}},
                )
                for given in hostile:
                    for make in (schema.of_input, schema.limited):
                        try:
                            make(given)
                        except schema.Unfit:
                            continue

    def test_one_alternative_many_times(self) -> None:
        """A tool's alternatives cost what they hold, however often they name the same definition."""
        names = [f"p{n}" for n in range(3000)]
        same = {"properties": {name: {} for name in names}, "required": names}
        found = schema.of_input({"anyOf": [{"$ref": "#/$defs/S"}] * 3000, "$defs": {"S": same}})
        self.assertEqual(found["required"], names)

    def test_an_input_that_may_be_null(self) -> None:
        """An input is always an object, whatever else its schema would allow."""
        self.assertEqual(schema.of_input({"type": ["object", "null"]}), {"type": "object", "properties": {}})

    def test_alternatives_at_the_root_of_an_input(self) -> None:
        """A tool's alternatives are merged: what any allows is allowed, what all want is required."""
        a, b = {"type": "string"}, {"type": "integer"}
        one = {"type": "object", "properties": {"a": a, "b": b}, "required": ["a", "b"]}
        other = {"properties": {"a": a}, "required": ["a"]}
        given = {"oneOf": [one, {"$ref": "#/$defs/O"}], "$defs": {"O": other}}
        found = schema.of_input(given)
        self.assertEqual((found["properties"], found["required"]), ({"a": a, "b": b}, ["a"]))
        self.assertNotIn("oneOf", found)
        self.assertEqual(schema.of_input({"allOf": [one, other]})["required"], ["a", "b"])


class FamilyTests(SynchronousTestCase):
    """Which models are a family."""

    def test_names(self) -> None:
        """Hosts' prefixes and dates do not matter; what is not known is taken for the newest of its
        kind, and what is no Claude for a server that follows it."""
        self.assertEqual(families.of("anthropic/claude-opus-4-5-20251101"), families.of(OPUS_45))
        self.assertEqual(families.of("us.anthropic.claude-sonnet-4-20250514-v1:0"), families.of(SONNET_4))
        self.assertEqual(families.of("anthropic/claude-opus-4.5"), families.of(OPUS_45))
        self.assertEqual(families.of("claude-nova-7"), families.of(SONNET_5))
        self.assertFalse(families.of("kimi-k2").signed)
        self.assertTrue(families.of("claude-opus-4-7").adaptive)

    def test_signatures(self) -> None:
        """Every recorded signature of Claude's is Claude's, none of Gemini's is."""
        counted = 0
        for folder in ("anthropic", "gemini"):
            for path in sorted((FIXTURES / folder).glob("*.sse")):
                for line in path.read_text().splitlines():
                    for name in ("signature", "thoughtSignature"):
                        for value in _values(line, name):
                            own = signed.for_claude(value)
                            claude = folder == "anthropic" and not value.startswith("sig-")
                            self.assertEqual(own, value if claude else None, f"{path.name}: {value[:20]}")
                            counted += 1
        self.assertGreater(counted, 20)


def _values(line: str, name: str) -> list[str]:
    found = []
    for part in line.split(f'"{name}":')[1:]:
        value = part.lstrip().removeprefix('"').partition('"')[0]
        found += [value] if value and part.lstrip().startswith('"') else []
    return found


class OracleTests(SynchronousTestCase):
    """What is rendered breaks none of the rules that the simulated server knows."""

    def check(self, chat: ChatRequest, to: str) -> None:
        body = render_request(chat, to, stream=True).body
        self.assertIsNone(fault_in(msgspec.json.decode(body, type=Body), SIGNER), body[:500])

    def test_recorded_requests(self) -> None:
        """Recorded requests of every dialect that clients may speak can be asked of every family."""
        asked = 0
        for path in sorted(FIXTURES.glob("*/*.request.json")):
            folder = SPOKEN.get(path.parent.name, "")
            if not folder:
                continue
            chat = DIALECTS[folder].parse_request(path.read_bytes())
            for name in MODELS:
                if name != "glm-4.7":
                    with self.subTest(path.name, model=name):
                        try:
                            self.check(without_foreign(chat), name)
                        except MalformedRequest as problem:
                            self.assertIn("file_id", str(problem))
            asked += 1
        self.assertGreater(asked, 30)

    _texts = st.sampled_from(["", " ", "\n", "a", "b \n"])
    _ids = st.sampled_from(["", "call_0", "call:0", "a/b", "x" * 70])
    _thoughts = st.builds(ThinkingBlock, _texts, st.sampled_from([None, "", SIGNATURE, OF_GEMINI]))
    _blocks = st.one_of(
        st.builds(TextBlock, _texts),
        _thoughts,
        st.builds(
            ToolUseBlock, _ids, st.sampled_from(["look", "a.b", ""]), st.sampled_from(["{}", "", "[1]"])
        ),
    )

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(
        turns=st.lists(
            st.tuples(st.sampled_from(["user", "assistant", "system"]), st.lists(_blocks, max_size=4)),
            max_size=6,
        ),
        answered=st.randoms(use_true_random=False),
        to=st.sampled_from([HAIKU, SONNET_46, OPUS_48, SONNET_5]),
        effort=st.sampled_from([None, "none", "low", "max"]),
    )
    def test_made_up_conversations(self, turns: Any, answered: Any, to: str, effort: str | None) -> None:
        """Whatever order turns, calls, thinking and blank texts come in, with calls answered or not,
        in any order, the body is one that Claude takes."""
        messages: list[Message] = []
        open_calls: list[str] = []
        for role, blocks in turns:
            if role == "assistant":
                if messages and messages[-1].role != "assistant":
                    open_calls = []  # it is too late for their results
                messages.append(Message(role, tuple(blocks)))
                open_calls += [block.id for block in blocks if isinstance(block, ToolUseBlock)]
                continue
            texts: list[RequestBlock] = [block for block in blocks if isinstance(block, TextBlock)]
            if role == "user":
                results = [
                    ToolResultBlock(id, (TextBlock(" "),)) for id in open_calls if answered.random() < 0.7
                ]
                answered.shuffle(results)
                texts = [*texts, *results]
                open_calls = []
            messages.append(Message(role, tuple(texts)))
        self.check(asks(*messages, effort=effort, tools=(LOOK,)), to)


def without_foreign(chat: ChatRequest) -> ChatRequest:
    """``chat`` without signed thinking: the simulated server takes only what it signed itself."""
    messages = tuple(
        Message(
            message.role,
            tuple(
                block
                for block in message.content
                if not isinstance(block, ThinkingBlock | RedactedThinkingBlock)
            ),
        )
        for message in chat.messages
    )
    return msgspec.structs.replace(chat, messages=messages)
