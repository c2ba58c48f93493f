"""A long tool loop, by clients that send back neither thoughts nor signatures, or all of them.

The providers are the simulated ones, which refuse a history without the signatures that they gave,
or with another provider's. The model always calls the tool: twenty steps are one turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from twisted.web.http import Request

from aigateway.config import Account, ClientKey, Config, Provider, Route, Target
from aigateway.dialects.gemini.contents import SKIP_SIGNATURE
from aigateway.secret import Secret
from aigateway.simulator.answers import Answer, Call
from aigateway.simulator.provider import (
    SimulatedAnthropic,
    SimulatedAntigravity,
    SimulatedGemini,
    SimulatedOpenAI,
    SimulatedProvider,
)
from aigateway.simulator.wire import Asked, Wire
from aigateway.state import State

from .fakes import GATEWAY_PORT, GatewayTestCase, config
from .test_state import Threads

STEPS, RESTART, SWITCH = 20, 10, 15
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}

MODELS = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-3-pro",
    "antigravity": "gemini-3-flash",
    "antigravity-claude": "claude-sonnet-4-6",
}


class Calls(SimulatedProvider):
    """A model that calls the tool in every step, having thought and said something."""

    def frames(self, request: Request, wire: Wire, asked: Asked) -> Iterator[bytes]:
        thinking = ("I do not know yet", " where it is.") if asked.prompt.think else ()
        return wire.frames(asked, Answer(thinking, ("Let me ", "look."), Call("look", '{"place":"here"}')))


class CallingOpenAI(Calls, SimulatedOpenAI):
    pass


class CallingAnthropic(Calls, SimulatedAnthropic):
    pass


class CallingGemini(Calls, SimulatedGemini):
    pass


class CallingAntigravity(Calls, SimulatedAntigravity):
    pass


class LoopClient(Protocol):
    """One conversation. ``path`` has a place for the model where that stands in it."""

    path: str

    def __init__(self, *, keeps: bool = False) -> None: ...

    def body(self, model: str) -> dict[str, Any]:
        """The next request."""

    def take(self, frames: list[dict[str, Any]]) -> str:
        """Keep what an answer says, and answer its call; the call's id."""


class OpenAIClient(LoopClient):
    """A client of OpenAI's Chat Completions that keeps texts and calls; the signatures of calls
    only where it ``keeps`` them."""

    path = "/openai/v1/chat/completions"

    def __init__(self, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self._messages: list[dict[str, Any]] = [{"role": "user", "content": "Find it."}]

    def body(self, model: str) -> dict[str, Any]:
        function = {"name": "look", "parameters": SCHEMA}
        return {
            "model": model,
            "stream": True,
            "reasoning_effort": "medium",
            "messages": self._messages,
            "tools": [{"type": "function", "function": function}],
        }

    def take(self, frames: list[dict[str, Any]]) -> str:
        text = id = arguments = ""
        extra: dict[str, Any] = {}
        for frame in frames:
            for choice in frame["choices"]:
                text += choice["delta"].get("content") or ""
                for call in choice["delta"].get("tool_calls") or ():
                    id = call.get("id") or id
                    if self._keeps and "extra_content" in call:
                        extra["extra_content"] = call["extra_content"]
                    arguments += call["function"].get("arguments") or ""
        call = {"id": id, "type": "function", "function": {"name": "look", "arguments": arguments}} | extra
        self._messages += (
            {"role": "assistant", "content": text, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": id, "content": "not here"},
        )
        return id


class ClaudeClient(LoopClient):
    """A client of Claude's Messages that throws thinking blocks away, unless it ``keeps`` them."""

    path = "/v1/messages"

    def __init__(self, *, keeps: bool = False) -> None:
        self._kept = ("thinking", "text", "tool_use") if keeps else ("text", "tool_use")
        self._messages: list[dict[str, Any]] = [{"role": "user", "content": "Find it."}]

    def body(self, model: str) -> dict[str, Any]:
        return {
            "model": model,
            "stream": True,
            "max_tokens": 8000,
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "messages": self._messages,
            "tools": [{"name": "look", "input_schema": SCHEMA}],
        }

    def take(self, frames: list[dict[str, Any]]) -> str:
        blocks: list[dict[str, Any]] = []
        texts: list[str] = []
        for frame in frames:
            if frame["type"] == "content_block_start":
                blocks.append(frame["content_block"])
                texts.append("")
            elif frame["type"] == "content_block_delta":
                delta = frame["delta"]
                pieces = (delta.get(name, "") for name in ("text", "thinking", "partial_json"))
                texts[frame["index"]] += "".join(pieces)
                if "signature" in delta:
                    blocks[frame["index"]]["signature"] = delta["signature"]
        for block, text in zip(blocks, texts, strict=True):
            if block["type"] == "tool_use":
                block["input"] = msgspec.json.decode(text or "{}")
            else:
                block[block["type"]] = text
        kept = [block for block in blocks if block["type"] in self._kept]
        (id,) = [block["id"] for block in kept if block["type"] == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": id, "content": "not here"}
        self._messages += {"role": "assistant", "content": kept}, {"role": "user", "content": [result]}
        return str(id)


class GeminiClient(LoopClient):
    """A client of the Gemini API that sends back what it got, without the signatures unless it
    ``keeps`` them."""

    path = "/v1beta/models/{model}:streamGenerateContent?alt=sse"

    def __init__(self, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self._contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": "Find it."}]}]

    def body(self, model: str) -> dict[str, Any]:
        declared = {
            "name": "look",
            "parameters": {"type": "OBJECT", "properties": {"place": {"type": "STRING"}}},
        }
        return {
            "contents": self._contents,
            "tools": [{"functionDeclarations": [declared]}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
        }

    def take(self, frames: list[dict[str, Any]]) -> str:
        contents = [frame["candidates"][0].get("content", {}) for frame in frames]
        parts = [part for content in contents for part in content.get("parts", ())]
        if not self._keeps:
            parts = [{**part} for part in parts]
            for part in parts:
                part.pop("thoughtSignature", None)
        (call,) = [part["functionCall"] for part in parts if "functionCall" in part]
        answer = {"id": call["id"], "name": "look", "response": {"output": "not here"}}
        self._contents += (
            {"role": "model", "parts": parts},
            {"role": "user", "parts": [{"functionResponse": answer}]},
        )
        return str(call["id"])


class ToolLoop(GatewayTestCase):
    """The gateway with a state in a file, before simulated providers that enforce their rules."""

    def setUp(self) -> None:
        super().setUp()
        self.url = f"sqlite:///{self.folder() / 'state.db'}"
        self.simulated: dict[str, SimulatedProvider] = {
            "openai": CallingOpenAI(self.network, 0),
            "anthropic": CallingAnthropic(self.network, 0),
            "gemini": CallingGemini(self.network, 0),
            "antigravity": CallingAntigravity(self.network, 0),
        }
        providers = []
        for port, (name, simulated) in enumerate(self.simulated.items(), 9101):
            self.serve(simulated, port)
            account = Account(name="one", api_key=Secret("key"))
            if name == "antigravity":
                account = Account(name="one", access_token=Secret("token"), project="project")
            url = f"http://127.0.0.1:{port}{simulated.base_path}"
            providers.append(Provider(name=name, kind=name, base_urls=(url,), accounts=(account,)))
        routes = tuple(
            Route(model=name, targets=(Target(name.partition("-")[0], model),))
            for name, model in MODELS.items()
        )
        self.configuration: Config = config(*providers, routes=routes)
        self.state: State | None = None

    def tearDown(self) -> None:
        self.end()
        super().tearDown()

    def begin(self, url: str | None) -> None:
        """A new process, after the end of the one before it."""
        self.end()
        self.start(self.configuration)
        self.state = State(url, self.signatures, self.network, wall=self.wall, threads=Threads())
        self.state.startService()
        self.network.flush()

    def end(self) -> None:
        """It stops, as a service does."""
        if self.state is not None:
            stopped = self.state.stopService()
            self.network.flush()
            self.successResultOf(stopped)
            self.network.ports[GATEWAY_PORT].stopListening()
            self.state = None

    def step(self, client: LoopClient, model: str, key: str | None = None) -> None:
        """One request, which succeeds and ends with a call."""
        headers = [] if key is None else [("Authorization", f"Bearer {key}")]
        asking = self.ask(client.body(model), path=client.path.format(model=model), headers=headers)
        self.advance(0.1)
        answer = asking.answer()
        self.assertEqual(answer.status, 200, answer.body)
        frames = [msgspec.json.decode(frame.data) for frame in answer.frames() if frame.data != b"[DONE]"]
        self.assertFalse([frame for frame in frames if "error" in frame], frames)
        self.assertTrue(client.take(frames))

    def loop(self, client: LoopClient, first: str, second: str, *, state: bool = True) -> None:
        """Twenty steps: a restart before the tenth, another provider from the fifteenth on."""
        self.begin(self.url if state else None)
        for number in range(1, STEPS + 1):
            if number == RESTART:
                self.begin(self.url if state else None)
            self.step(client, first if number < SWITCH else second)

    def asked(self, name: str) -> Any:
        """The body of the last request to a provider, without its envelope."""
        body: Any = self.simulated[name.partition("-")[0]].seen[-1].body
        return body.get("request", body)

    def signatures_of(self, name: str) -> list[str | None]:
        """Those on the calls of a request to Gemini."""
        return [
            part.get("thoughtSignature")
            for content in self.asked(name)["contents"]
            for part in content["parts"]
            if "functionCall" in part
        ]

    def thoughts_of(self, name: str) -> int:
        """How many of Claude's thoughts went back to it."""
        body = self.asked(name)
        if "messages" in body:
            return str(body["messages"]).count("'signature': 'E")
        return str(body["contents"]).count("'thoughtSignature': 'R")

    def test_gemini_then_claude(self) -> None:
        """Gemini 3 gets each of its signatures back, those from before the restart too; Claude none."""
        for client in (OpenAIClient(), ClaudeClient()):
            for gemini in ("gemini", "antigravity"):
                for claude in ("anthropic", "antigravity-claude"):
                    with self.subTest(client.path, gemini=gemini, claude=claude):
                        self.loop(client := type(client)(), gemini, claude)
                        if gemini != claude.partition("-")[0]:
                            found = self.signatures_of(gemini)
                            self.assertEqual(len(set(found)), SWITCH - 2)
                            self.assertNotIn(SKIP_SIGNATURE, found)
                            self.assertNotIn(None, found)
                        self.assertEqual(self.thoughts_of(claude), 0)

    def test_claude_then_gemini(self) -> None:
        """Claude gets each of its thoughts back, and goes on thinking; Gemini gets only its own
        signatures, and what it takes for the others."""
        for client in (OpenAIClient(), ClaudeClient()):
            for claude in ("anthropic", "antigravity-claude"):
                with self.subTest(client.path, claude=claude):
                    self.loop(client := type(client)(), claude, "gemini")
                    self.assertEqual(self.thoughts_of(claude), SWITCH - 2)
                    body = self.asked(claude)
                    self.assertTrue(body.get("thinking") or body["generationConfig"]["thinkingConfig"])
                    found = self.signatures_of("gemini")
                    self.assertEqual(found[: SWITCH - 1], [SKIP_SIGNATURE] * (SWITCH - 1))
                    self.assertEqual(len({*found[SWITCH - 1 :]} - {SKIP_SIGNATURE, None}), STEPS - SWITCH)

    def test_there_and_back(self) -> None:
        """Gemini on Antigravity, then OpenAI, then back: each of its own calls is signed again."""
        for client in (OpenAIClient(), ClaudeClient()):
            with self.subTest(client.path):
                self.loop(client := type(client)(), "antigravity", "openai")
                self.assertNotIn("ignature", str(self.asked("openai")))
                for _ in range(3):
                    self.step(client, "antigravity")
                found = self.signatures_of("antigravity")
                by_openai = slice(SWITCH - 1, STEPS)
                self.assertEqual(found[by_openai], [SKIP_SIGNATURE] * (STEPS - SWITCH + 1))
                del found[by_openai]
                self.assertEqual(len(set(found)), SWITCH - 1 + 2)
                self.assertNotIn(SKIP_SIGNATURE, found)

    def test_without_a_state(self) -> None:
        """Without a file the loop goes on too, but what was signed before the restart is lost."""
        client = OpenAIClient()
        self.loop(client, "gemini", "anthropic", state=False)
        found = self.signatures_of("gemini")
        self.assertEqual(found[: RESTART - 1], [SKIP_SIGNATURE] * (RESTART - 1))
        self.assertNotIn(SKIP_SIGNATURE, found[RESTART - 1 :])
        self.loop(OpenAIClient(), "anthropic", "gemini", state=False)
        self.assertNotIn("thinking", self.asked("anthropic"))

    def test_issuers_in_turn(self) -> None:
        """A client that keeps what a model signed, on Gemini, then on Antigravity's Gemini, then back,
        each time after a restart: each is given its own signatures, and none of the other's."""
        for kind in (OpenAIClient, ClaudeClient, GeminiClient):
            with self.subTest(kind.path):
                client = kind(keeps=True)
                for model in ("gemini", "antigravity", "gemini"):
                    self.begin(self.url)
                    for _ in range(5):
                        self.step(client, model)
                    if model == "antigravity":
                        found = self.signatures_of(model)
                        self.assertEqual(found[:5], [SKIP_SIGNATURE] * 5)
                        self.assertEqual(len({*found[5:]} - {SKIP_SIGNATURE, None}), 4)
                found = self.signatures_of("gemini")
                self.assertEqual(found[5:10], [SKIP_SIGNATURE] * 5)
                del found[5:10]
                self.assertEqual(len({*found} - {SKIP_SIGNATURE, None}), 9)

    def test_claudes_issuers_in_turn(self) -> None:
        """The same for Claude: without thoughts of its own, it goes on without thinking."""
        for first, second in (("anthropic", "antigravity-claude"), ("antigravity-claude", "anthropic")):
            for kind in (ClaudeClient, OpenAIClient, GeminiClient):
                with self.subTest(kind.path, first=first):
                    client = kind(keeps=True)
                    for model in (first, second, first):
                        self.begin(self.url)
                        for _ in range(3):
                            self.step(client, model)
                        if model == second:
                            self.assertEqual(self.thoughts_of(second), 0)
                    self.assertEqual(self.thoughts_of(first), 5)

    def test_clients_apart(self) -> None:
        """What one client was answered is not put into another one's request, though it sends the same
        conversation: Gemini then gets the word that it takes for a lost signature."""
        keys = tuple(
            ClientKey(name=name, digest=sha256(f"key-{name}".encode()).digest()) for name in ("ann", "bob")
        )
        self.configuration = msgspec.structs.replace(self.configuration, keys=keys)
        self.begin(self.url)
        client = OpenAIClient()
        self.step(client, "gemini", "key-ann")
        self.step(client, "gemini", "key-ann")
        self.assertNotIn(SKIP_SIGNATURE, self.signatures_of("gemini"))
        self.begin(self.url)
        self.step(client, "gemini", "key-bob")
        self.assertEqual(self.signatures_of("gemini"), [SKIP_SIGNATURE] * 2)
        self.step(client, "gemini", "key-ann")
        found = self.signatures_of("gemini")
        self.assertEqual([signature == SKIP_SIGNATURE for signature in found], [False, False, True])
        for name, lost in (("ann", 1), ("bob", 3)):
            headers = [("Authorization", f"Bearer key-{name}"), ("X-AIGateway-Dialect", "openai")]
            told = self.ask(client.body("gemini"), path="/v1/explain", headers=headers).answer()
            self.assertEqual(told.body.count(SKIP_SIGNATURE.encode()), lost)
