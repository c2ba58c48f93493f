"""The request for the rest of an answer: who can be asked for it, and in what words."""

from __future__ import annotations

import json
import unittest
from typing import Any

import msgspec

from aigateway.config import Account, Provider
from aigateway.dialects import DIALECTS
from aigateway.dialects.base import Rendered
from aigateway.dialects.begun import begun_with
from aigateway.dialects.gemini.parse import parse_request as gemini_request
from aigateway.events import ChatRequest
from aigateway.providers import KINDS, Kind
from aigateway.providers.base import Credential
from aigateway.secret import Secret

TEXT = "Once upon a"
KEY = Credential(Secret("k"), "p")
HELLO = {"role": "user", "content": "Tell me a story"}
BODIES: dict[str, dict[str, Any]] = {
    "claude": {
        "model": "x",
        "messages": [HELLO],
        "max_tokens": 4000,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "odd": 1.50,
    },
    "openai": {
        "model": "x",
        "messages": [HELLO],
        "max_completion_tokens": 4000,
        "reasoning_effort": "high",
        "chat_template_kwargs": {"a": 1},
    },
    "responses": {
        "model": "x",
        "input": "Tell me a story",
        "max_output_tokens": 4000,
        "reasoning": {"effort": "high"},
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "Tell me a story"}]}],
        "generationConfig": {"maxOutputTokens": 4000, "thinkingConfig": {"includeThoughts": True}},
    },
}


def asked(dialect: str, **fields: Any) -> ChatRequest:
    """A client's request for a story, of which it has been told the beginning, for 100 tokens."""
    return begun_with(parse(dialect, BODIES[dialect] | fields), TEXT, 100)


def parse(dialect: str, body: dict[str, Any]) -> ChatRequest:
    raw = json.dumps(body).encode()
    return gemini_request(raw, "x") if dialect == "gemini" else DIALECTS[dialect].parse_request(raw)


def kind_at(
    server: str = "", *, kind: str = "openai", url: str = "https://example.net/v1", **fields: Any
) -> Kind:
    account = Account(name="a", api_key=Secret("k"))
    return KINDS[kind](
        Provider(name="p", kind=kind, server=server, base_urls=(url,), accounts=(account,), **fields)
    )


def sent(kind: Kind, model: str, chat: ChatRequest) -> tuple[dict[str, Any], Rendered]:
    rendered = kind.render(chat, model, KEY, stream=True)
    return json.loads(rendered.body), rendered


class Continues(unittest.TestCase):
    """Who goes on with an answer."""

    def test_claude(self) -> None:
        """Claude up to 4.5; of other makers' models behind its dialect nothing is known."""
        anthropic = KINDS["anthropic"](None)
        for model in (
            "claude-sonnet-4-5",
            "claude-opus-4-1",
            "claude-haiku-4-5-20251001",
            "claude-3-7-sonnet-latest",
        ):
            self.assertTrue(anthropic.continues(model), model)
        for model in (
            "claude-opus-4-6",
            "claude-sonnet-4-6",
            "claude-opus-5",
            "claude-sonnet-5",
            "glm-4.7",
            "other",
        ):
            self.assertFalse(anthropic.continues(model), model)
        self.assertFalse(kind_at(kind="glm", dialect="claude").continues("glm-4.7"))

    def test_gemini(self) -> None:
        """Gemini up to 3.1, Claude behind Antigravity as by itself."""
        for kind in ("gemini", "antigravity"):
            google = KINDS[kind](None)
            for model in (
                "gemini-2.5-flash",
                "models/gemini-2.0-flash",
                "gemini-3-pro-preview",
                "gemini-3.1-pro-low",
            ):
                self.assertTrue(google.continues(model), model)
            for model in ("gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-flash-latest", "gemma-3"):
                self.assertFalse(google.continues(model), model)
        antigravity = KINDS["antigravity"](None)
        self.assertTrue(antigravity.continues("claude-sonnet-4-5"))
        for model in ("claude-sonnet-4-5-thinking", "claude-opus-4-6", "claude-opus-4-6-thinking"):
            self.assertFalse(antigravity.continues(model), model)

    def test_servers(self) -> None:
        """Servers of OpenAI's dialect that say so, unless the model cannot be kept from thinking."""
        for server, model, expected in (
            ("openai", "gpt-4o", False),
            ("azure", "gpt-4o", False),
            ("glm", "glm-4.7", False),
            ("other", "llama", False),
            ("ollama", "llama3.1", False),
            ("openrouter", "anthropic/claude-sonnet-4.5", False),
            ("xai", "grok-3", False),
            ("cerebras", "llama", False),
            ("vllm", "meta-llama/Llama-3.1-8B-Instruct", True),
            ("vllm", "zai-org/glm-4.6", True),
            ("vllm", "openai/gpt-oss-120b", False),
            ("llamacpp", "qwen3", True),
            ("llamacpp", "gpt-oss-20b", False),
            ("groq", "llama-3.3-70b-versatile", True),
            ("groq", "openai/gpt-oss-120b", False),
            ("mistral", "mistral-large-latest", True),
            ("moonshot", "kimi-k2.6", True),
            ("moonshot", "kimi-k2-thinking", False),
        ):
            with self.subTest(server, model=model):
                self.assertIs(kind_at(server).continues(model), expected)
        self.assertFalse(KINDS["openai"](None).continues("gpt-4o"))

    def test_deepseek(self) -> None:
        """DeepSeek at its beta address alone."""
        beta = kind_at(url="https://api.deepseek.com/beta")
        self.assertTrue(beta.continues("deepseek-chat"))
        self.assertTrue(beta.continues("deepseek-v4-flash"))
        self.assertFalse(beta.continues("deepseek-reasoner"))
        self.assertFalse(kind_at(url="https://api.deepseek.com/v1").continues("deepseek-chat"))

    def test_configured(self) -> None:
        """The configuration may know better, in both directions."""
        self.assertTrue(kind_at("other", takes={"prefill": True}).continues("llama"))
        self.assertFalse(kind_at("vllm", takes={"prefill": False}).continues("llama"))

    def test_responses(self) -> None:
        """OpenAI's Responses go on with nothing."""
        chat = parse("responses", BODIES["responses"])
        self.assertFalse(kind_at("openai").for_chat(chat).continues("gpt-4o"))


class Words(unittest.TestCase):
    """What is sent."""

    def test_last_message(self) -> None:
        """Whoever asks, and whoever goes on: the last message is the beginning of the answer."""
        for dialect in BODIES:
            chat = asked(dialect)
            with self.subTest(dialect):
                for kind, model in (
                    (KINDS["anthropic"](None), "claude-sonnet-4-5"),
                    (kind_at("vllm"), "llama"),
                    (kind_at("mistral"), "mistral-large-latest"),
                ):
                    body, _ = sent(kind, model, chat)
                    last = body["messages"][-1]
                    self.assertEqual(last["role"], "assistant")
                    content = last["content"]
                    self.assertEqual(content if isinstance(content, str) else content[-1]["text"], TEXT)
                    self.assertEqual(body["messages"][-2]["role"], "user")
                for kind_name in ("gemini", "antigravity"):
                    body, _ = sent(KINDS[kind_name](None), "gemini-2.5-flash", chat)
                    contents = body.get("request", body)["contents"]
                    self.assertEqual(contents[-1], {"role": "model", "parts": [{"text": TEXT}]})
                    self.assertEqual(contents[-2]["role"], "user")

    def test_no_thinking(self) -> None:
        """Where thinking and a beginning do not go together, thinking is off."""
        for dialect in BODIES:
            chat = asked(dialect)
            with self.subTest(dialect):
                body, _ = sent(KINDS["anthropic"](None), "claude-sonnet-4-5", chat)
                self.assertEqual(body.get("thinking", {"type": "disabled"}), {"type": "disabled"})
                body, _ = sent(kind_at("moonshot"), "kimi-k2.6", chat)
                self.assertEqual(body["thinking"], {"type": "disabled"})
                self.assertNotIn("reasoning_effort", body)

    def test_flags(self) -> None:
        """Each server is told in its own words that it is to go on."""
        for dialect in BODIES:
            chat = asked(dialect)
            own = {"a": 1} if dialect == "openai" else {}
            template = own | {"enable_thinking": False}
            with self.subTest(dialect):
                body, rendered = sent(kind_at("vllm"), "llama", chat)
                self.assertIs(body["continue_final_message"], True)
                self.assertIs(body["add_generation_prompt"], False)
                self.assertEqual(body["chat_template_kwargs"], template)
                self.assertFalse(rendered.echoes)
                body, _ = sent(kind_at("llamacpp"), "llama", chat)
                self.assertEqual(body["chat_template_kwargs"], template)
                self.assertNotIn("continue_final_message", body)
                for server, flag, echoes in (
                    ("mistral", "prefix", True),
                    ("deepseek", "prefix", False),
                    ("moonshot", "partial", False),
                ):
                    body, rendered = sent(kind_at(server), "m", chat)
                    self.assertIs(body["messages"][-1][flag], True)
                    self.assertNotIn(flag, body["messages"][0])
                    self.assertEqual(rendered.echoes, echoes)
                    self.assertEqual(rendered.emulated, ())
                body, _ = sent(kind_at("groq"), "llama", chat)
                self.assertEqual(body["messages"][-1], {"role": "assistant", "content": TEXT})

    def test_limit(self) -> None:
        """The limit is what is left of the client's, by whatever name."""
        for dialect in BODIES:
            chat = asked(dialect)
            with self.subTest(dialect):
                self.assertEqual(chat.max_tokens, 3900)
                body, _ = sent(KINDS["anthropic"](None), "claude-sonnet-4-5", chat)
                self.assertEqual(body["max_tokens"], 3900)
                body, _ = sent(kind_at("mistral"), "mistral-large-latest", chat)
                self.assertEqual(body["max_tokens"], 3900)
                body, _ = sent(KINDS["gemini"](None), "gemini-2.5-flash", chat)
                self.assertEqual(body["generationConfig"]["maxOutputTokens"], 3900)

    def test_no_limit(self) -> None:
        """Where the client set none, none is set."""
        chat = asked("openai", max_completion_tokens=None)
        body, _ = sent(kind_at("groq"), "llama", chat)
        self.assertIsNone(body["max_completion_tokens"])

    def test_own_body(self) -> None:
        """A client's own body is otherwise as it came, to a provider of its dialect."""
        body, rendered = sent(KINDS["anthropic"](None), "claude-sonnet-4-5", asked("claude"))
        self.assertTrue(rendered.kept)
        self.assertEqual(rendered.dropped, ("thinking",))
        self.assertIn(b'"odd":1.5', rendered.body)
        self.assertEqual(body["messages"][0], HELLO)
        body, rendered = sent(KINDS["gemini"](None), "gemini-2.5-flash", asked("gemini"))
        self.assertTrue(rendered.kept)
        self.assertEqual(body["generationConfig"]["thinkingConfig"], {"includeThoughts": True})

    def test_odd_contents(self) -> None:
        """Gemini's contents may be a text or one turn: the beginning is one more."""
        turn = {"role": "user", "parts": [{"text": "Hi"}]}
        for contents in (turn, "Hi", [turn]):
            chat = parse("gemini", {"contents": [turn]})
            chat = msgspec.structs.replace(chat, raw=json.dumps({"contents": contents}).encode())
            with self.subTest(contents=contents):
                body = json.loads(begun_with(chat, TEXT, 1).raw)
                self.assertEqual(body["contents"], [turn, {"role": "model", "parts": [{"text": TEXT}]}])

    def test_server_that_begins_anew(self) -> None:
        """A server that would not go on, asked all the same, is reported to do otherwise."""
        _, rendered = sent(kind_at("other"), "m", asked("claude"))
        self.assertEqual(rendered.emulated, ("messages",))


if __name__ == "__main__":
    unittest.main()
