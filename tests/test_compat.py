"""What servers of OpenAI's dialect do otherwise than OpenAI: each deviation by a recording of it.

A row is a deviation, a recording that shows it, and what of it a client must not see. Each recording
goes into Claude's dialect by way of the hub, and into OpenAI's as it came, mended.
"""

from __future__ import annotations

import json
import re
import unittest
from pathlib import Path
from typing import NamedTuple

import msgspec

from aigateway.check import check_claude
from aigateway.dialects import DIALECTS
from aigateway.dialects.openai.writer import OpenAIWriter
from aigateway.errors import AccountExhausted, UpstreamBusy, UpstreamRefused, UpstreamUnauthorized
from aigateway.events import ThinkingBlock, ToolUseBlock
from aigateway.providers import KINDS
from aigateway.signatures import call_key
from aigateway.translate import Translator

from .recordings import FINISHES, FIXTURES, answering, ask, kind_of, plainly
from .test_passthrough import ROLE, STOP, check, chunk, run

TWICE_A_ROLE = r'"role":"assistant".*"role":"assistant"'
TWICE_AN_END = r'"finish_reason": ?"\w+".*"finish_reason": ?"\w+"'
TWICE_USAGE = r'"prompt_tokens".*"prompt_tokens"'
USAGE_BESIDE_A_CHOICE = r'"choices": ?\[\{[^\n]*"prompt_tokens"'
EMPTY_CHOICES = r'"choices": ?\[\][^\n]*"prompt_tokens"'


class Quirk(NamedTuple):
    """``seen`` is in the recording; ``gone``, mostly the same, in nothing that an OpenAI client gets."""

    name: str
    fixture: str
    seen: str
    gone: str | None = None


QUIRKS = (
    Quirk("no choices, no id in the first chunk", "openai/azure-gpt-5-mini-text", r'"id":""', r'"id":""'),
    Quirk("results of a filter in a choice", "openai/azure-model-router", r'"content_filter_results":\{"'),
    Quirk("role null", "compat/x-null-role-object-args", r'"role":null', r'"role":null'),
    Quirk("no role", "compat/gpustack-qwen3", r'\A(?:(?!"role").)*\Z'),
    Quirk("role in every chunk", "compat/ollama-qwen3-tool", TWICE_A_ROLE, TWICE_A_ROLE),
    Quirk("empty finish", "compat/x-null-role-object-args", r'"finish_reason":""', r'"finish_reason":""'),
    Quirk("content null", "compat/llamacpp-text", r'"content":null', r'"content":null'),
    Quirk("thinking as a part", "compat/mistral-reasoning", r'"content":\[', r'"content":\['),
    Quirk("thinking as a part", "compat/mistral-hybrid-reasoning", r'"content":\[', r'"content":\['),
    Quirk(
        "a call without a type", "compat/mistral-tool-call", r'"tool_calls":\[\{(?:(?!"type").)*?"function"'
    ),
    Quirk("a call without an index", "compat/x-null-role-object-args", r'"tool_calls":\[\{"type"'),
    Quirk("calls from 1", "compat/anthropic-fallback-tool-index-1", r'"index": ?1, ?"id"', r'"index":1,"id"'),
    Quirk("an empty id later", "compat/alibaba-tool-call", r'"tool_calls":\[\{[^\]]*"id":""', r'"id":""'),
    Quirk("an empty name later", "glm/mistral-hosted-glm-5.2-incremental-tool", r'"name":""', r'"name":""'),
    Quirk("whole calls", "compat/xai-parallel", r'"arguments":"\{[^\n]+\}"'),
    Quirk("arguments as an object", "compat/x-null-role-object-args", r'"arguments":\{', r'"arguments":\{'),
    Quirk("stop after calls", "compat/x-null-role-object-args", r'"finish_reason":"stop"', r'"stop"'),
    Quirk("no finish", "compat/snowflake-no-finish", r'\A(?:(?!"finish_reason": ?"\w).)*\Z'),
    Quirk("two finishes", "compat/openrouter-gemini-parallel", TWICE_AN_END, TWICE_AN_END),
    Quirk("usage null", "compat/deepseek-thinking", r'"usage":null'),
    Quirk("usage with the finish", "compat/deepseek-thinking", USAGE_BESIDE_A_CHOICE, USAGE_BESIDE_A_CHOICE),
    Quirk(
        "usage with the finish", "compat/moonshot-stream", r'"finish_reason":"stop"', USAGE_BESIDE_A_CHOICE
    ),
    Quirk("usage after the finish", "compat/openrouter-reasoning", r'"usage"', USAGE_BESIDE_A_CHOICE),
    Quirk("usage unasked", "compat/xai-text", EMPTY_CHOICES),
    Quirk("usage three times", "compat/groq-kimi-parallel", TWICE_USAGE),
    Quirk("usage all along", "compat/perplexity-cumulative-usage", TWICE_USAGE, TWICE_USAGE),
    Quirk("message beside delta", "compat/perplexity-cumulative-usage", r'"message"'),
    Quirk("unknown fields", "compat/llamacpp-text", r'"timings"'),
    Quirk("unknown fields", "openai/obfuscation-text", r'"obfuscation"'),
    Quirk("reasoning_content", "compat/deepseek-thinking", r'"reasoning_content"'),
    Quirk("reasoning", "compat/ollama-qwen3-tool", r'"reasoning":"'),
    Quirk("reasoning_details alone", "compat/snowflake-thinking", r'"reasoning_details"'),
    Quirk("thinking under two names", "compat/avian-kimi-tool", r'"reasoning_details"'),
    Quirk("no end", "compat/gpustack-qwen3", r"\A(?:(?!\[DONE\]).)*\Z"),
    Quirk("created 0", "compat/snowflake-no-finish", r'"created": ?0', r'"created":0\b'),
    Quirk("annotations", "compat/openrouter-web-search-annotations", r'"annotations"'),
    Quirk("an error in the stream", "compat/openrouter-stream-error", r'"error"'),
    Quirk("a field named error", "compat/llamabox-error-field", r"error"),
    Quirk("a call that is none", "compat/groq-tool-use-failed", r"tool_use_failed"),
)


class Streams(unittest.TestCase):
    """The recordings, to each client."""

    def test_the_recordings_show_it(self) -> None:
        """Each recording has the deviation that it stands for."""
        for quirk in QUIRKS:
            with self.subTest(quirk.name, fixture=quirk.fixture):
                self.assertRegex(self.text(quirk), re.compile(quirk.seen, re.DOTALL))

    def test_into_claude(self) -> None:
        """A Claude client gets a stream by the book, with all that the recording tells."""
        for quirk in QUIRKS:
            with self.subTest(quirk.name, fixture=quirk.fixture):
                path = self.path(quirk)
                chat, told = ask("claude"), plainly(path)
                writer = DIALECTS["claude"].writer(chat, "req_1", 1)
                kind = kind_of(path)
                stream = Translator(answering(chat), kind.reader(), writer, kind.parse_reply)
                data = stream.feed(path.read_bytes()) + stream.end()
                self.assertEqual(stream.failure is not None, told.failed)
                if stream.failure is not None and not data:
                    continue  # nothing was said: another provider may be asked
                answer = check_claude(data + (writer.fail(stream.failure) if stream.failure else b""))
                self.assertEqual((answer.text, answer.thinking), (told.text, told.thinking))
                self.assertEqual([(n, json.loads(a)) for _, n, a in answer.calls], told.calls)
                self.assertEqual(answer.stop, None if told.failed else told.stop)

    def test_into_openai(self) -> None:
        """An OpenAI client gets one grammar, with all that the recording tells, and the frames that
        broke it are counted."""
        for quirk in QUIRKS:
            with self.subTest(quirk.name, fixture=quirk.fixture):
                path = self.path(quirk)
                told = plainly(path)
                data, stream = run(path.read_bytes(), usage=True)
                answer = check(data, usage=True)
                self.assertEqual(answer["error"] is not None, told.failed)
                self.assertEqual(answer["text"], told.text)
                self.assertEqual([(n, json.loads(a or "{}")) for n, a in answer["calls"]], told.calls)
                self.assertEqual(answer["stop"], None if told.failed else FINISHES[told.stop])
                if quirk.gone is not None:
                    self.assertNotRegex(data.decode(), re.compile(quirk.gone, re.DOTALL))
                    self.assertGreater(stream.mended, 0)

    def path(self, quirk: Quirk) -> Path:
        return FIXTURES / f"{quirk.fixture}.sse"

    def text(self, quirk: Quirk) -> str:
        return self.path(quirk).read_text(encoding="utf-8")


class Mended(unittest.TestCase):
    """What is counted as mended."""

    def test_nothing_of_openai(self) -> None:
        """OpenAI's own streams need no mending, whether or not the client asked for usage."""
        for name in ("gpt-4o-mini-text", "text-long", "gpt-5-json-schema", "run-stream-text"):
            for usage in (True, False):
                with self.subTest(name, usage=usage):
                    _, stream = run((FIXTURES / "openai" / f"{name}.sse").read_bytes(), usage=usage)
                    self.assertEqual(stream.mended, 0)

    def test_each_frame_once(self) -> None:
        """Each frame that broke the grammar counts once, so does a missing finish and a missing end."""
        word = chunk(delta={"content": "x"})
        again = chunk(delta={"role": "assistant", "content": "x"})
        for frames, mended in (
            (ROLE + word + STOP + b"data: [DONE]\n\n", 0),
            (ROLE + again + again + STOP + b"data: [DONE]\n\n", 2),
            (ROLE + word + b"data: [DONE]\n\n", 1),
            (ROLE + word + STOP, 1),
            (ROLE + word + STOP + STOP + b"data: [DONE]\n\n", 1),
        ):
            with self.subTest(frames=frames):
                self.assertEqual(run(frames, usage=False)[1].mended, mended)

    def test_raw(self) -> None:
        """Where nothing is mended, nothing is counted."""
        chat = ask("openai")
        writer = OpenAIWriter(chat, "req_1", 1)
        stream = KINDS["openai"](None).stream(answering(chat, kept=True, raw=True), writer)
        stream.feed(ROLE + ROLE + STOP + b"data: [DONE]\n\n")
        self.assertEqual(stream.mended, 0)


class Remembered(unittest.TestCase):
    """Thinking that a server wants back before its calls."""

    def test_of_a_passed_stream(self) -> None:
        """What the model thought before a call is remembered under the call that the client knows, though
        the stream goes on as it came; of a server that wants none back, nothing."""
        path = FIXTURES / "compat" / "deepseek-tool-call.sse"
        told = plainly(path)
        for family in ("deepseek", ""):
            chat = ask("openai")
            asked = msgspec.structs.replace(answering(chat, kept=True), family=family)
            stream = KINDS["openai"](None).stream(asked, OpenAIWriter(chat, "req_1", 1))
            data = (stream.feed(path.read_bytes()) + stream.end()).decode()
            if not family:
                self.assertEqual(dict(stream.signed), {})
                continue
            ((key, thought),) = stream.signed.items()
            self.assertEqual(thought.blocks, (ThinkingBlock(told.thinking),))
            (id,) = re.findall(r'"id":"(call_[^"]*)"', data)
            ((name, arguments),) = told.calls
            self.assertEqual(key, call_key(ToolUseBlock(id, name, json.dumps(arguments))))


class Whole(unittest.TestCase):
    """Whole answers that are not by the book."""

    def passed(self, message: dict[str, object], **choice: object) -> dict[str, object]:
        """The message that an OpenAI client gets of a server's ``message``."""
        body = json.dumps({"choices": [{"message": message, **choice}]}).encode()
        kind, chat = KINDS["openai"](None), ask("openai", stream=False)
        given = kind.pass_reply(body, kind.parse_reply(body), answering(chat, kept=True))
        assert given is not None
        value = json.loads(given)
        self.assertEqual(value["object"], "chat.completion")
        self.assertEqual(value["choices"][0]["index"], 0)
        self.assertIn("prompt_tokens", value["usage"])
        passed: dict[str, object] = value["choices"][0]["message"]
        return passed | {"finish": value["choices"][0]["finish_reason"]}

    def test_parts(self) -> None:
        """A list of parts, thinking among them, is the strings that everybody else sends."""
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
        passed = self.passed({"content": [thinking, {"type": "text", "text": "a"}]})
        expected = {"role": "assistant", "content": "a", "reasoning_content": "hm", "finish": "stop"}
        self.assertEqual(passed, expected)

    def test_calls(self) -> None:
        """A call has an id, a type and its arguments as a string; the finish says that there is one."""
        call = {"function": {"name": "f", "arguments": {"a": 1}}}
        passed = self.passed({"role": "assistant", "content": "", "tool_calls": [call]}, finish_reason="stop")
        calls = passed["tool_calls"]
        assert isinstance(calls, list)
        told = calls[0]
        self.assertTrue(told.pop("id").startswith("call_"))
        self.assertEqual(told, {"type": "function", "function": {"name": "f", "arguments": '{"a":1}'}})
        self.assertEqual(passed["finish"], "tool_calls")


class Errors(unittest.TestCase):
    """Bodies of errors, in the shapes that servers have for them."""

    def test_by_status_and_shape(self) -> None:
        """What is wrong is found in each shape, and the message with it."""
        for fixture, status, error, message in (
            ("openai/error-401-azure", 401, UpstreamUnauthorized, "Access denied"),
            ("openai/error-429-azure", 429, UpstreamBusy, "Your requests to grok"),
            ("compat/mistral-error-401", 401, UpstreamUnauthorized, "Invalid API Key"),
            ("compat/perplexity-error-401", 401, UpstreamUnauthorized, ""),
            ("compat/deepseek-error-400-context", 400, UpstreamRefused, "maximum context length"),
            ("compat/ollama-error-400-context", 400, UpstreamRefused, ""),
            ("compat/openrouter-error-429", 429, UpstreamBusy, ""),
        ):
            with self.subTest(fixture):
                body = (FIXTURES / f"{fixture}.json").read_bytes()
                found = KINDS["openai"](None).parse_error(status, {}, body, now=0.0)
                self.assertIsInstance(found, error)
                self.assertNotIsInstance(found, AccountExhausted)
                self.assertIn(message, found.message)
