"""What is sent to each server of OpenAI's dialect: bodies made from the hub, clients' own, addresses."""

from __future__ import annotations

import json
import unittest
from collections.abc import Mapping
from typing import Any

import msgspec

from aigateway.config import Account, Provider
from aigateway.dialects.base import Rendered
from aigateway.dialects.begun import begun_with
from aigateway.dialects.openai import servers
from aigateway.dialects.openai.render import render_request
from aigateway.dialects.openai.servers import SERVERS, Profile, server_at
from aigateway.events import ChatRequest, ThinkingBlock, Thought, ToolUseBlock
from aigateway.providers import KINDS
from aigateway.providers.base import Credential, UpstreamRequest
from aigateway.providers.openai import OpenAI
from aigateway.secret import Secret
from aigateway.signatures import call_key

from .test_openai_render import HELLO, PNG, TOOL, from_claude, from_openai, result, said, told, use

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED: list[dict[str, object]] = [
    *HELLO,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "1"},
]


def sent(
    server: str, chat: ChatRequest, model: str = "some-model", *, stream: bool = False, **takes: bool
) -> tuple[dict[str, Any], Rendered]:
    """What a server gets, and the report."""
    profile = msgspec.structs.replace(SERVERS[server], **takes)
    rendered = render_request(chat, model, profile, stream=stream)
    return json.loads(rendered.body), rendered


class OwnBodies(unittest.TestCase):
    """OpenAI clients' bodies."""

    def test_untouched(self) -> None:
        """Where nothing is in the way, each field but the model goes on byte for byte."""
        raw = b'{"model":"gpt-x","messages":[ {"role":"user","content":"caf\\u00e9"} ],"odd":1.50,"seed":1}'
        for server in ("openai", "azure", "vllm", "groq", "moonshot", "openrouter", "xai", "other"):
            with self.subTest(server):
                chat = msgspec.structs.replace(from_openai(), raw=raw)
                rendered = render_request(chat, "m", SERVERS[server], stream=False)
                expected = raw if server != "moonshot" else raw.replace(b',"seed":1', b"")
                self.assertEqual(rendered.body, expected.replace(b"gpt-x", b"m"))
                self.assertTrue(rendered.kept)

    def test_fields(self) -> None:
        """A field has the server's name for it, or is left out and reported; one that said nothing
        is not missed."""
        cases: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
            ("mistral", {"max_completion_tokens": 9}, {"max_tokens": 9}, ()),
            ("mistral", {"max_completion_tokens": 9, "max_tokens": 8}, {"max_tokens": 8}, ()),
            ("mistral", {"seed": 1}, {"random_seed": 1}, ()),
            ("mistral", {"user": "u", "store": True}, {}, ("store", "user")),
            ("mistral", {"user": None, "safe_prompt": True}, {"safe_prompt": True}, ()),
            ("groq", {"logit_bias": {"1": 1}}, {}, ("logit_bias",)),
            ("groq", {"logprobs": True}, {"logprobs": True}, ()),  # the answer would be another one
            ("groq", {"service_tier": "on_demand"}, {"service_tier": "on_demand"}, ()),
            ("ollama", {"parallel_tool_calls": True}, {}, ()),
            ("ollama", {"parallel_tool_calls": False}, {}, ("parallel_tool_calls",)),
            ("deepseek", {"presence_penalty": 0}, {}, ()),
            ("deepseek", {"frequency_penalty": 1, "seed": 1}, {}, ("seed", "frequency_penalty")),
        ]
        for server, given, expected, dropped in cases:
            with self.subTest(server, given=given):
                body, rendered = sent(server, from_openai(**given))
                self.assertEqual(body, {"model": "some-model", "messages": HELLO, **expected})
                self.assertEqual(rendered.dropped, dropped)

    def test_streaming(self) -> None:
        """A server that takes no stream options gets none; usage is not lost by it, other options are."""
        options = {"include_usage": True, "include_obfuscation": False}
        chat = from_openai(stream=True, stream_options=options)
        body, rendered = sent("mistral", chat, stream=True)
        self.assertIs(body["stream"], True)
        self.assertNotIn("stream_options", body)
        self.assertEqual(rendered.dropped, ("stream_options.include_obfuscation",))
        self.assertEqual(sent("groq", chat, stream=True)[0]["stream_options"], options)

    def test_tool_choice(self) -> None:
        """A choice is put as the server takes it, or reported."""
        named = {"type": "function", "function": {"name": "g"}}
        tools = [FUNCTION, OTHER]
        cases: list[tuple[str, object, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
            ("mistral", "required", {"tools": tools, "tool_choice": "any"}, (), ()),
            ("mistral", named, {"tools": tools, "tool_choice": named}, (), ()),
            ("ollama", "auto", {"tools": tools}, (), ()),
            ("ollama", "required", {"tools": tools}, ("tool_choice",), ()),
            ("ollama", named, {"tools": tools}, ("tool_choice",), ()),
            ("ollama", "none", {}, (), ()),
            ("llamacpp", "required", {"tools": tools, "tool_choice": "required"}, (), ()),
            ("llamacpp", named, {"tools": [OTHER], "tool_choice": "required"}, (), ("tool_choice",)),
        ]
        for server, choice, expected, dropped, emulated in cases:
            with self.subTest(server, choice=choice):
                body, rendered = sent(server, from_openai(tools=tools, tool_choice=choice))
                self.assertEqual(body, {"model": "some-model", "messages": HELLO, **expected})
                self.assertEqual((rendered.dropped, rendered.emulated), (dropped, emulated))

    def test_strict(self) -> None:
        """A server that takes no strict tools gets none; the rest of the tool is as it was."""
        function = {"name": "f", "parameters": {"type": "object"}, "odd": 1}
        chat = from_openai(tools=[{"type": "function", "function": {**function, "strict": True}}])
        body, rendered = sent("other", chat, strict=False)
        self.assertEqual(body["tools"], [{"type": "function", "function": function}])
        self.assertEqual(rendered.dropped, ("tools.strict",))
        self.assertEqual(sent("other", chat)[1].dropped, ())

    def test_schema_in_words(self) -> None:
        """A schema that the server has no field for is told in a message of the system's."""
        schema = {"type": "object", "title": "T"}
        format = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        body, rendered = sent("deepseek", from_openai(response_format=format))
        self.assertEqual(body["response_format"], {"type": "json_object"})
        self.assertEqual(body["messages"][0]["role"], "system")
        self.assertIn('{"type":"object","title":"T"}', body["messages"][0]["content"])
        self.assertEqual(body["messages"][1:], HELLO)
        self.assertEqual(rendered.emulated, ("response_format",))

    def test_roles(self) -> None:
        """Where no developer is known, the system speaks."""
        chat = from_openai(messages=[{"role": "developer", "content": "d", "odd": 1}, *HELLO])
        first = sent("vllm", chat)[0]["messages"][0]
        self.assertEqual(first, {"role": "system", "content": "d", "odd": 1})
        self.assertEqual(sent("openai", chat)[0]["messages"][0]["role"], "developer")

    def test_lists(self) -> None:
        """Where content is a string, a list of texts is one; one with more in it goes as it came."""
        texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        image = [{"type": "image_url", "image_url": {"url": "http://x"}}]
        chat = from_openai(messages=[{"role": "user", "content": c} for c in (texts, image)])
        contents = [m["content"] for m in sent("other", chat, list_content=False)[0]["messages"]]
        self.assertEqual(contents, ["a\n\nb", image])

    def test_refused_in_messages(self) -> None:
        """What a server answers with an error is left out of the messages, and reported."""
        turn = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
        chat = from_openai(messages=[{**HELLO[0], "name": "n"}, turn, *HELLO])
        for server in ("groq", "mistral"):
            body, rendered = sent(server, chat)
            self.assertEqual(body["messages"], [*HELLO, {"role": "assistant", "content": "a"}, *HELLO])
            self.assertEqual(set(rendered.dropped), {"messages.name", "messages.reasoning_content"})
        self.assertEqual(sent("other", chat)[1].dropped, ())

    def test_thinking_before_calls(self) -> None:
        """Who wants the thinking before a call back gets what the client says, else what is remembered,
        else that there was some."""
        thought = {call_key(ToolUseBlock("call_1", "f", "{}")): Thought((ThinkingBlock("hm"),))}
        known = [CALLED[0], {**CALLED[1], "reasoning_content": "oh"}, CALLED[2]]
        chat = from_openai(messages=CALLED)
        for server in ("deepseek", "moonshot"):
            for asked, expected in (
                (from_openai(messages=known), "oh"),
                (msgspec.structs.replace(chat, thoughts=thought), "hm"),
                (chat, " "),
            ):
                with self.subTest(server, expected=expected):
                    turn = sent(server, asked)[0]["messages"][1]
                    self.assertEqual(turn, {**CALLED[1], "reasoning_content": expected})
        self.assertEqual(sent("other", chat)[0]["messages"], CALLED)

    def test_thinking_before_calls_of_one_id(self) -> None:
        """Calls to which a server gave the same id, as Kimi does that counts them, have each its own."""
        turns: list[dict[str, Any]] = [*HELLO, {"role": "assistant", "content": "Hi."}, *HELLO]
        thoughts = {}
        for arguments in ('{"n":1}', '{"n":2}', '{"n":3}'):
            called = {"id": "functions.f:0", "function": {"name": "f", "arguments": arguments}}
            turns += [
                {"role": "assistant", "tool_calls": [called]},
                {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"},
            ]
            if arguments != '{"n":2}':
                key = call_key(ToolUseBlock("functions.f:0", "f", arguments))
                thoughts[key] = Thought((ThinkingBlock(arguments),))
        chat = msgspec.structs.replace(from_openai(messages=turns), thoughts=thoughts)
        for asked in (chat, msgspec.structs.replace(chat, dialect="claude")):
            body, _ = sent("moonshot", asked, "kimi-k2-thinking")
            found = [turn.get("reasoning_content") for turn in body["messages"] if "tool_calls" in turn]
            self.assertEqual(found, ['{"n":1}', " ", '{"n":3}'])

    def test_mistral_conversations(self) -> None:
        """Ids are nine letters and digits, the same for a call and its result; turns alternate."""
        chat = from_openai(messages=[*CALLED, *HELLO, {"role": "assistant", "content": "It is"}])
        body, rendered = sent("mistral", chat)
        turns = body["messages"]
        id = turns[1]["tool_calls"][0]["id"]
        self.assertRegex(id, r"\A[a-zA-Z0-9]{9}\Z")
        self.assertEqual(turns[2]["tool_call_id"], id)
        self.assertEqual([turn["role"] for turn in turns[2:]], ["tool", "assistant", "user", "assistant"])
        self.assertEqual(turns[-1], {"role": "assistant", "content": "It is", "prefix": True})
        self.assertEqual(rendered.emulated, ("messages",))
        own = json.loads(json.dumps(CALLED).replace("call_1", "aB3456789"))
        self.assertEqual(sent("mistral", from_openai(messages=own))[0]["messages"], own)
        null = [*HELLO, {"role": "assistant", "content": "It is", "tool_calls": None}]
        self.assertIs(sent("mistral", from_openai(messages=null))[0]["messages"][-1]["prefix"], True)

    def test_system_in_mid_conversation(self) -> None:
        """Mistral takes a system's message after no other's but the user's, and not as the last: there
        it is the user who says it. Other servers get it where it stands."""
        later = {
            "role": "developer",
            "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}],
        }
        first = {"role": "system", "content": "S"}
        asked = from_openai(messages=[first, *CALLED, later, {"role": "assistant", "content": "1"}, later])
        body, rendered = sent("mistral", asked)
        roles = [turn["role"] for turn in body["messages"]]
        self.assertEqual(
            roles, ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "user"]
        )
        self.assertEqual(body["messages"][-1]["content"], "<system>\nbe\n\nbrief\n</system>")
        self.assertEqual(rendered.emulated, ("messages",))
        self.assertEqual(sent("other", asked)[0]["messages"][-1], later)

    def test_a_choice_of_no_tool(self) -> None:
        """A choice that names a tool which is not offered goes no further where tools cannot be named."""
        named = {"type": "function", "function": {"name": "f"}}
        for tools in ({}, {"tools": [OTHER]}):
            body, rendered = sent("llamacpp", from_openai(tool_choice=named, **tools))
            self.assertEqual(body, {"model": "some-model", "messages": HELLO, **tools})
            self.assertEqual(rendered.dropped, ("tool_choice",))


class FromTheHub(unittest.TestCase):
    """Bodies of other clients."""

    def test_tool_choice(self) -> None:
        """Each choice as each server takes it."""
        two = [TOOL, {**TOOL, "name": "g"}]
        named = {"type": "function", "function": {"name": "g"}}
        cases: list[tuple[str, str, str, object, int, tuple[str, ...], tuple[str, ...]]] = [
            ("openai", "gpt-4o", "any", "required", 2, (), ()),
            ("openai", "gpt-4o", "tool", named, 2, (), ()),
            ("mistral", "m", "any", "any", 2, (), ()),
            ("mistral", "m", "tool", named, 2, (), ()),
            ("ollama", "m", "any", None, 2, ("tool_choice",), ()),
            ("ollama", "m", "tool", None, 2, ("tool_choice",), ()),
            ("ollama", "m", "auto", None, 2, (), ()),
            ("ollama", "m", "none", None, 0, (), ()),
            ("llamacpp", "m", "tool", "required", 1, (), ("tool_choice",)),
            ("deepseek", "deepseek-reasoner", "any", None, 2, ("tool_choice",), ()),
            ("deepseek", "deepseek-chat", "any", "required", 2, (), ()),
        ]
        for server, model, mode, choice, count, dropped, emulated in cases:
            with self.subTest(server, model=model, mode=mode):
                wanted = {"type": mode, **({"name": "g"} if mode == "tool" else {})}
                body, rendered = sent(server, from_claude(tools=two, tool_choice=wanted), model)
                self.assertEqual(body.get("tool_choice"), choice)
                self.assertEqual(len(body.get("tools", ())), count)
                self.assertEqual((rendered.dropped, rendered.emulated), (dropped, emulated))

    def test_a_call_or_thinking(self) -> None:
        """A model that cannot be made to call a tool while it thinks stops thinking for it."""
        chat = from_claude(tools=[TOOL], tool_choice={"type": "any"})
        for server, model in (("deepseek", "deepseek-flash"), ("moonshot", "kimi-k2.6")):
            body, rendered = sent(server, chat, model)
            self.assertEqual((body["tool_choice"], body["thinking"]), ("required", {"type": "disabled"}))
            self.assertEqual(rendered.dropped, ())
        thinking = msgspec.structs.replace(chat, effort="high")
        self.assertEqual(sent("deepseek", thinking, "deepseek-flash")[1].dropped, ("output_config.effort",))

    def test_thinking(self) -> None:
        """Thinking and effort, as each server is told of them."""
        enabled = {"type": "enabled", "budget_tokens": 2000}
        cases: list[tuple[str, str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
            (
                "deepseek",
                "deepseek-flash",
                {"thinking": enabled},
                {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
                (),
            ),
            (
                "deepseek",
                "deepseek-flash",
                {"thinking": {"type": "disabled"}},
                {"thinking": {"type": "disabled"}},
                (),
            ),
            (
                "deepseek",
                "deepseek-flash",
                {"output_config": {"effort": "max"}},
                {"reasoning_effort": "max"},
                (),
            ),
            (
                "moonshot",
                "kimi-k2.6",
                {"output_config": {"effort": "low"}},
                {"thinking": {"type": "enabled"}},
                ("output_config.effort",),
            ),
            ("openrouter", "z-ai/glm-4.7", {"thinking": enabled}, {"reasoning": {"max_tokens": 2000}}, ()),
            ("openrouter", "x/y", {"thinking": {"type": "disabled"}}, {"reasoning": {"enabled": False}}, ()),
            (
                "openrouter",
                "x/y",
                {"thinking": {"type": "adaptive", "display": "omitted"}},
                {"reasoning": {"enabled": True, "exclude": True}},
                (),
            ),
            ("openrouter", "x/y", {"output_config": {"effort": "low"}}, {"reasoning": {"effort": "low"}}, ()),
            ("vllm", "zai-org/GLM-4.7", {"thinking": enabled}, {}, ("thinking",)),
            ("groq", "openai/gpt-oss-20b", {"thinking": enabled}, {"reasoning_effort": "medium"}, ()),
            ("xai", "grok-4-fast", {"output_config": {"effort": "low"}}, {}, ("output_config.effort",)),
            ("xai", "grok-3-mini", {"output_config": {"effort": "medium"}}, {"reasoning_effort": "high"}, ()),
        ]
        for server, model, fields, expected, dropped in cases:
            with self.subTest(server, model=model, fields=fields):
                body, rendered = sent(server, from_claude(**fields), model)
                said = {k: v for k, v in body.items() if k not in ("model", "messages", "max_tokens")}
                self.assertEqual((said, rendered.dropped), (expected, dropped))

    def test_earlier_thinking(self) -> None:
        """What was thought before a call goes back where it is taken, and is marked as lost where it is
        wanted and nobody has it."""
        thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
        for block, expected in ((thinking, "hm"), ({"type": "text", "text": "a"}, " ")):
            chat = from_claude(messages=[*HELLO, said(block, use()), told(result("r"))])
            for server, model in (("deepseek", "deepseek-flash"), ("moonshot", "kimi-k2-thinking")):
                turn = sent(server, chat, model)[0]["messages"][1]
                self.assertEqual(turn["reasoning_content"], expected)
        body, rendered = sent("groq", from_claude(messages=[*HELLO, said(thinking, use())]))
        self.assertNotIn("reasoning_content", body["messages"][1])
        self.assertEqual(rendered.dropped, ("thinking",))

    def test_mistral_conversations(self) -> None:
        """What Mistral wants of a conversation, from a Claude client's."""
        turns = [*HELLO, said(use("toolu_1")), told(result("r", "toolu_1"), {"type": "text", "text": "and?"})]
        body, rendered = sent("mistral", from_claude(messages=[*turns, said({"type": "text", "text": "It"})]))
        messages = body["messages"]
        self.assertEqual([m["role"] for m in messages[2:]], ["tool", "assistant", "user", "assistant"])
        self.assertEqual(messages[1]["tool_calls"][0]["id"], messages[2]["tool_call_id"])
        self.assertRegex(messages[2]["tool_call_id"], r"\A[a-zA-Z0-9]{9}\Z")
        self.assertIs(messages[-1]["prefix"], True)
        self.assertEqual(rendered.emulated, ("messages",))

    def test_system_in_mid_conversation(self) -> None:
        """What the system says later, the user says to Mistral: it takes no such message there."""
        turns = [
            *HELLO,
            said(use("toolu_1")),
            told(result("r", "toolu_1")),
            {"role": "system", "content": "brief"},
        ]
        chat = from_claude(system="S", messages=turns)
        body, rendered = sent("mistral", chat)
        roles = [message["role"] for message in body["messages"]]
        self.assertEqual(roles, ["system", "user", "assistant", "tool", "assistant", "user"])
        self.assertEqual(body["messages"][-1]["content"], "<system>\nbrief\n</system>")
        self.assertEqual(rendered.emulated, ("messages",))
        self.assertEqual(sent("other", chat)[0]["messages"][-1], {"role": "system", "content": "brief"})

    def test_images(self) -> None:
        """An image that a server takes in no form is refused, not lost."""
        chat = from_claude(messages=[{"role": "user", "content": [PNG]}])
        with self.assertRaisesRegex(Exception, "takes no images"):
            sent("deepseek", chat)
        with self.assertRaisesRegex(Exception, "takes no images"):
            sent("other", chat, list_content=False)
        self.assertEqual(len(sent("other", chat)[0]["messages"]), 1)

    def test_user(self) -> None:
        """The user's name goes under the server's name for it."""
        chat = from_claude(metadata={"user_id": "u"})
        for server, name in {"openai": "safety_identifier", "azure": "user", "vllm": "user"}.items():
            self.assertEqual(sent(server, chat)[0][name], "u")
        self.assertEqual(sent("mistral", chat)[1].dropped, ("metadata.user_id",))

    def test_limits(self) -> None:
        """A server that knows max_tokens alone is asked by that name, whatever the model."""
        self.assertEqual(sent("ollama", from_claude(), "gpt-5")[0]["max_tokens"], 8)
        self.assertEqual(sent("other", from_claude(), "gpt-5")[0]["max_completion_tokens"], 8)

    def test_every_switch(self) -> None:
        """No switch but changes what is sent of a request that has it all."""
        closed = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
        functions = [{**TOOL, "strict": True, "input_schema": closed}, {**TOOL, "name": "g"}]
        full = from_claude(
            system="s",
            messages=[*HELLO, said(use()), told(result("r"), PNG)],
            tools=functions,
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
            output_config={"format": {"type": "json_schema", "schema": closed}},
        )
        full = msgspec.structs.replace(full, seed=1, presence_penalty=1.0)
        # Where it shows: the request's, or the model's.
        others = {
            "tool_choice_named": from_claude(tools=functions, tool_choice={"type": "tool", "name": "f"}),
            "tool_choice_none": from_claude(tools=functions, tool_choice={"type": "none"}),
            "custom_tools": from_openai(tools=[{"type": "custom", "custom": {"name": "run"}}]),
            "files": None,
            "audio": None,
            "prefill": begun_with(from_claude(messages=HELLO), "Once", 0),
        }
        models = {"developer_role": "o1", "max_completion_tokens": "o1"}
        for name in servers.SWITCHES:
            chat = others.get(name, full)
            if chat is None:
                continue
            with self.subTest(name):
                on, off = (
                    self.outcome(chat, models.get(name, "some-model"), {name: value})
                    for value in (True, False)
                )
                self.assertNotEqual(on, off)

    def outcome(self, chat: ChatRequest, model: str, takes: Mapping[str, bool]) -> object:
        profile = msgspec.structs.replace(Profile(), **takes)
        if "reasoning_content" in takes:
            turn = said({"type": "thinking", "thinking": "hm", "signature": "s"}, use())
            chat = from_claude(messages=[*HELLO, turn, told(result("r"))])
        try:
            return render_request(chat, model, profile, stream=True)
        except Exception as error:
            return str(error)


class CustomTools(unittest.TestCase):
    """Tools of free text."""

    FORMAT: Mapping[str, object] = {
        "type": "grammar",
        "grammar": {"syntax": "lark", "definition": "start: X"},
    }
    TOOLS: tuple[object, ...] = (
        {"type": "custom", "custom": {"name": "run", "description": "Runs.", "format": FORMAT}},
    )

    def asked(self) -> ChatRequest:
        call = {"id": "c", "type": "custom", "custom": {"name": "run", "input": "ls"}}
        turns = [{"role": "assistant", "content": None, "tool_calls": [call]}]
        choice = {"type": "custom", "custom": {"name": "run"}}
        result = {"role": "tool", "tool_call_id": "c", "content": "a"}
        return from_openai(messages=[*HELLO, *turns, result], tools=self.TOOLS, tool_choice=choice)

    def test_at_openai(self) -> None:
        """OpenAI gets them as they came."""
        for server in ("openai", "azure"):
            body, rendered = sent(server, self.asked(), "gpt-5")
            self.assertTrue(rendered.kept)
            self.assertEqual(body["tools"], list(self.TOOLS))

    def test_elsewhere(self) -> None:
        """Elsewhere one is a function of a string, its grammar told, its calls those of the function."""
        body, rendered = sent("groq", self.asked())
        (tool,) = body["tools"]
        self.assertFalse(rendered.kept)
        self.assertEqual(tool["function"]["name"], "run")
        self.assertEqual(list(tool["function"]["parameters"]["properties"]), ["input"])
        self.assertIn("start: X", tool["function"]["description"])
        self.assertTrue(tool["function"]["description"].startswith("Runs."))
        called = body["messages"][1]["tool_calls"][0]["function"]
        self.assertEqual(called, {"name": "run", "arguments": '{"input":"ls"}'})
        self.assertEqual(body["tool_choice"], {"type": "function", "function": {"name": "run"}})
        self.assertEqual(rendered.emulated, ("tools.custom",))

    def test_of_another_dialect(self) -> None:
        """From another client's request one stays what it is for the models that know such tools."""
        flat = {"type": "grammar", "syntax": "lark", "definition": "start: X"}
        chat = self.asked()
        chat = msgspec.structs.replace(
            chat, dialect="responses", tools=(msgspec.structs.replace(chat.tools[0], grammar=flat),)
        )
        body, rendered = sent("openai", chat, "gpt-5")
        self.assertEqual(body["tools"], list(self.TOOLS))
        self.assertEqual(body["messages"][1]["tool_calls"][0]["custom"], {"name": "run", "input": "ls"})
        self.assertEqual(body["tool_choice"], {"type": "custom", "custom": {"name": "run"}})
        self.assertEqual(rendered.emulated, ())
        body, rendered = sent("openai", chat, "gpt-4o")
        self.assertEqual(body["tools"][0]["type"], "function")
        self.assertIn("start: X", body["tools"][0]["function"]["description"])
        self.assertEqual(rendered.emulated, ("tools.custom",))


class Addresses(unittest.TestCase):
    """Which server a provider is, and how it is reached."""

    def kind(self, base_url: str = "", **fields: Any) -> OpenAI:
        urls = (base_url,) if base_url else ()
        account = Account(name="a", api_key=Secret("k"))
        kind = KINDS["openai"](
            Provider(name="p", kind="openai", accounts=(account,), base_urls=urls, **fields)
        )
        assert isinstance(kind, OpenAI)
        return kind

    def asked(self, kind: OpenAI, base_url: str, model: str) -> tuple[UpstreamRequest, dict[str, Any]]:
        credential = Credential(Secret("k"))
        rendered = kind.render(from_claude(), model, credential, stream=False)
        request = kind.request(base_url, model, credential, rendered, stream=False)
        return request, json.loads(rendered.body)

    def test_by_host(self) -> None:
        """A vendor's host says whose server it is; any other is one of the tolerant kind."""
        for url, server in {
            "https://api.openai.com/v1": "openai",
            "https://res.openai.azure.com": "azure",
            "https://api.groq.com/openai/v1": "groq",
            "https://api.deepseek.com": "deepseek",
            "https://api.mistral.ai/v1": "mistral",
            "https://openrouter.ai/api/v1": "openrouter",
            "https://api.moonshot.cn/v1": "moonshot",
            "https://api.x.ai/v1": "xai",
            "https://api.groq.com.example.org/v1": "other",
            "http://127.0.0.1:8000/v1": "other",
        }.items():
            with self.subTest(url):
                self.assertEqual(server_at(url), server)
                self.assertEqual(self.kind(url).profile, SERVERS[server])
        self.assertEqual(self.kind().profile, SERVERS["openai"])
        self.assertEqual(KINDS["openai"](None).profile, SERVERS["openai"])  # type: ignore[attr-defined]

    def test_configured(self) -> None:
        """What the configuration says wins over the host, and its switches over the server's ways."""
        self.assertEqual(self.kind("https://api.groq.com/v1", server="vllm").profile, SERVERS["vllm"])
        kind = self.kind("http://localhost:1/v1", server="vllm", takes={"strict": False})
        self.assertFalse(kind.profile.strict)
        glm = Provider(name="g", kind="glm", accounts=(), takes={"json_schema": True})
        self.assertEqual(
            KINDS["glm"](glm).profile,  # type: ignore[attr-defined]
            msgspec.structs.replace(SERVERS["glm"], json_schema=True),
        )

    def test_thinking_is_the_servers_own(self) -> None:
        """Whose thinking is remembered: that of servers that take it back, each its own."""
        self.assertEqual(self.kind("https://api.deepseek.com").family("deepseek-flash"), "deepseek")
        self.assertEqual(self.kind("https://api.deepseek.com").family("deepseek-chat"), "")
        self.assertEqual(self.kind().family("gpt-5"), "")

    def test_azure(self) -> None:
        """A deployment's path and version, the key in a header of its own; the name is one segment."""
        base = "https://res.openai.azure.com"
        encoded = f"{base}/openai/deployments/a%2Fb%20%3F"
        cases: list[tuple[dict[str, Any], str, str, str, str | None]] = [
            ({}, base, "gpt-4o", f"{base}/openai/deployments/gpt-4o", "2024-10-21"),
            ({"api_version": "v"}, f"{base}/openai", "m", f"{base}/openai/deployments/m", "v"),
            (
                {"deployments": {"gpt-4o": "a/b ?"}},
                base,
                "gpt-4o",
                encoded,
                None,
            ),
            ({"deployments": {"x": "y"}}, base, "../z", f"{base}/openai/deployments/..%2Fz", None),
            ({}, f"{base}/openai/v1", "gpt-4o", f"{base}/openai/v1", ""),
            ({"api_version": "preview"}, f"{base}/openai/v1", "m", f"{base}/openai/v1", "preview"),
        ]
        for fields, base_url, model, path, version in cases:
            with self.subTest(fields=fields, base_url=base_url):
                request, body = self.asked(self.kind(base_url, **fields), base_url, model)
                version = "2024-10-21" if version is None else version
                query = f"?api-version={version}" if version else ""
                self.assertEqual(request.url.decode(), f"{path}/chat/completions{query}")
                self.assertIn((b"api-key", b"k"), request.headers)
                self.assertNotIn(b"Authorization", dict(request.headers))
                self.assertEqual(body["model"], fields.get("deployments", {}).get(model, model))

    def test_azure_families(self) -> None:
        """What the model takes goes by its own name, not by its deployment's."""
        kind = self.kind("https://r.openai.azure.com", deployments={"o1": "mine"})
        _, body = self.asked(kind, "https://r.openai.azure.com", "o1")
        self.assertEqual((body["model"], body["max_completion_tokens"]), ("mine", 8))

    def test_azure_by_its_keys(self) -> None:
        """Keys that only Azure has make a server Azure, behind whatever host it is."""
        self.assertEqual(self.kind("https://gw.example.com", api_version="v").server, "azure")
