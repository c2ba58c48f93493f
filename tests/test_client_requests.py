"""What Claude Code, Codex CLI and Gemini CLI really send, and what every provider is asked then.

The requests are recordings (``fixtures/clients``; ``clients/README.md`` says how they are made), so
these tests tell that the whole of them is understood. How each field is translated is tested where
the dialects are.
"""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aigateway.dialects.claude.parse import parse_request as parse_claude
from aigateway.dialects.gemini.parse import parse_request as parse_gemini
from aigateway.dialects.responses.parse import parse_request as parse_responses
from aigateway.events import (
    ChatRequest,
    ImageBlock,
    RequestBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from aigateway.providers import KINDS
from aigateway.providers.base import Credential
from aigateway.secret import Secret

CLIENTS = Path(__file__).parent / "fixtures" / "clients"
SIGNATURE = "c2lnbmVk"
"""What the recorder signed its thoughts with."""
MODELS = {
    "openai": "gpt-4o-mini",
    "glm": "glm-4.6v",
    "antigravity": "gemini-3-flash",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
}
"""A model to ask of each kind of provider, one that sees."""
RESULTS = {
    "claude-code-failed": "No such file or directory",
    "claude-code-tool-result": "made-42",
    "codex-code-mode": "made-42",
    "codex-namespace": "invalid agent id",
    "codex-patch": "A made.txt",
    "codex-tool-result": "made-42",
    "gemini-cli-failed": "No such file or directory",
    "gemini-cli-tool-result": "made-42",
}
"""What the tool said that the client's model had called."""


def names() -> list[str]:
    """The recorded conversations."""
    found = [path.name.removesuffix(".request.json") for path in sorted(CLIENTS.glob("*.request.json"))]
    return [name for name in found if name != "gemini-cli-count-tokens"]


def body(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((CLIENTS / f"{name}.request.json").read_bytes())
    return read


def parse(name: str) -> ChatRequest:
    raw = (CLIENTS / f"{name}.request.json").read_bytes()
    if name.startswith("claude-code"):
        return parse_claude(raw)
    if name.startswith("codex"):
        return parse_responses(raw)
    return parse_gemini(raw, "gemini-2.5-flash", stream=True)


def rendered(name: str, kind: str) -> str:
    """What a provider of this kind is asked, as JSON text with plain characters."""
    credential = Credential(Secret("secret"), "project")
    asked = KINDS[kind](None).render(parse(name), MODELS[kind], credential, stream=True)
    return json.dumps(json.loads(asked.body), ensure_ascii=False)


def blocks(chat: ChatRequest) -> Iterator[RequestBlock]:
    """Every block of the conversation, and what tools' results are made of."""
    for message in chat.messages:
        for block in message.content:
            yield block
            if isinstance(block, ToolResultBlock):
                yield from block.content


def offered(name: str) -> set[str]:
    """The names of the tools that the client runs, by a plain reading; a namespace's with its name
    before them."""
    asked = body(name)
    groups = [asked, *(item for item in asked.get("input", ()) if item["type"] == "additional_tools")]
    found = set()
    for tool in (tool for group in groups for tool in group.get("tools", ())):
        prefix = f"{tool['name']}__" if tool.get("type") == "namespace" else ""
        for one in tool.get("tools") or tool.get("functionDeclarations") or [tool]:
            if one.get("type", "function") in ("function", "custom"):
                found.add(prefix + one["name"])
    return found


class Understood(unittest.TestCase):
    def test_every_field_is_known(self) -> None:
        """The clients send no field that the gateway has never heard of, and none that it must
        refuse on the way to a foreign provider."""
        for name in names():
            with self.subTest(name):
                chat = parse(name)
                self.assertEqual(chat.unknown, ())
                self.assertEqual(chat.needed, ())
                self.assertTrue(chat.stream)

    def test_prompt(self) -> None:
        """The user's words are there, whatever the client puts around them, and so is its system
        prompt."""
        for name in names():
            with self.subTest(name):
                chat = parse(name)
                texts = [block.text for block in blocks(chat) if isinstance(block, TextBlock)]
                prompts = {"Run the command.", "Look at red.png.", "Patch it.", "Wait for the agent."}
                self.assertEqual(len(prompts.intersection(texts)), 1)
                self.assertTrue(chat.system)

    def test_tools(self) -> None:
        """Every tool that the client runs is offered; those of one namespace stay told apart."""
        for name in names():
            with self.subTest(name):
                self.assertEqual({tool.name for tool in parse(name).tools}, offered(name))

    def test_calls(self) -> None:
        """A call in the history is one of an offered tool, and its result is paired with it."""
        for name, said in RESULTS.items():
            with self.subTest(name):
                chat = parse(name)
                [call] = (block for block in blocks(chat) if isinstance(block, ToolUseBlock))
                [result] = (block for block in blocks(chat) if isinstance(block, ToolResultBlock))
                self.assertIn(call.name, {tool.name for tool in chat.tools})
                self.assertIsInstance(json.loads(call.input), dict)
                self.assertEqual(result.tool_use_id, call.id)
                told = "".join(block.text for block in result.content if isinstance(block, TextBlock))
                self.assertIn(said, told)
                self.assertEqual(result.is_error, name == "claude-code-failed")

    def test_images(self) -> None:
        """A picture that a tool gave is a picture, in all three clients' forms of it."""
        for name in ("claude-code-image", "codex-image", "gemini-cli-image"):
            with self.subTest(name):
                [image] = (block for block in blocks(parse(name)) if isinstance(block, ImageBlock))
                self.assertEqual(image.media_type, "image/png")
                self.assertTrue((image.data or "").startswith("iVBOR"))

    def test_freeform_tools(self) -> None:
        """Codex's freeform tools are told from its functions, with their grammar."""
        for name, freeform in (("codex-patch", "apply_patch"), ("codex-code-mode", "functions__exec")):
            with self.subTest(name):
                tools = {tool.name: tool for tool in parse(name).tools if tool.free_text}
                self.assertEqual(list(tools), [freeform])
                self.assertEqual((tools[freeform].grammar or {})["type"], "grammar")

    def test_system_after_the_prompt(self) -> None:
        """Claude Code's first request ends with a message of the system, for models that it does not
        know: the user's is the one before."""
        *_, prompt, system = parse("claude-code-first").messages
        self.assertEqual((prompt.role, system.role), ("user", "system"))


class Signatures(unittest.TestCase):
    def test_claude_code(self) -> None:
        """Claude Code sends thinking back with its signature, since its model's name came back."""
        [thinking] = (b for b in blocks(parse("claude-code-tool-result")) if isinstance(b, ThinkingBlock))
        self.assertEqual(thinking.signature, SIGNATURE)

    def test_gemini_cli(self) -> None:
        """Gemini CLI sends back no thinking, but the signature of the call; Gemini gets it, and
        nobody else."""
        name = "gemini-cli-tool-result"
        [call] = (block for block in blocks(parse(name)) if isinstance(block, ToolUseBlock))
        self.assertEqual(call.signature, SIGNATURE)
        for kind in KINDS:
            with self.subTest(kind):
                self.assertEqual(SIGNATURE in rendered(name, kind), kind in ("gemini", "antigravity"))


class Asked(unittest.TestCase):
    def test_every_provider(self) -> None:
        """Every conversation can go to every kind of provider, and the tool's result with it."""
        for name in names():
            for kind in KINDS:
                with self.subTest(name, kind=kind):
                    asked = rendered(name, kind)
                    self.assertIn(RESULTS.get(name, ""), asked)
                    if name.endswith("-image"):
                        self.assertIn("iVBOR", asked)

    def test_names(self) -> None:
        """The names of tools are such as every provider takes."""
        for name in names():
            for kind in KINDS:
                with self.subTest(name, kind=kind):
                    found = re.findall(r'"(?:name|allowedFunctionNames)": "([^"]*)"', rendered(name, kind))
                    self.assertTrue(found)
                    for one in found:
                        self.assertRegex(one, r"\A[a-zA-Z_][a-zA-Z0-9_-]{0,63}\Z")


class Recordings(unittest.TestCase):
    def test_no_credentials(self) -> None:
        """No recording holds a key, nor the address of a machine that is somebody's."""
        for path in CLIENTS.glob("*.headers.json"):
            headers = {name.lower(): value for name, value in json.loads(path.read_bytes())}
            with self.subTest(path.name):
                held = {"authorization", "x-api-key", "x-goog-api-key"} & set(headers)
                self.assertEqual([headers[name] for name in held], ["..."])
                self.assertTrue(headers["host"].startswith("127.0.0.1:"))
