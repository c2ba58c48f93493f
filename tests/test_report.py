"""The field report: verdicts, names in the client's words, no values, bounds."""

from __future__ import annotations

import json
import unittest
from typing import Any

from aigateway.dialects import DIALECTS
from aigateway.dialects.base import Rendered
from aigateway.dialects.gemini.parse import parse_request as parse_gemini
from aigateway.dialects.spelling import told
from aigateway.events import ChatRequest
from aigateway.report import MAX_FIELDS, MAX_VALUES, field_report

HELLO = [{"role": "user", "content": "hello"}]


def asked(dialect: str = "openai", /, **body: Any) -> ChatRequest:
    """A request that holds ``body``; nothing of it need be valid."""
    return ChatRequest(dialect=dialect, model="m", messages=(), raw=json.dumps(body).encode())


def report(
    chat: ChatRequest, sent: object = None, *, dropped: tuple[str, ...] = (), emulated: tuple[str, ...] = ()
) -> dict[str, str]:
    return field_report(chat, Rendered(json.dumps(sent or {}).encode(), dropped, emulated))


class Verdicts(unittest.TestCase):
    def test_each(self) -> None:
        """A field is kept where the same value stands in the same place upstream, mapped where it
        does not, and dropped or emulated where the renderer says so."""
        chat = asked(seed=7, stop=["a"], top_k=1, response_format={"type": "json_schema", "x": 1}, model="m")
        found = report(chat, {"seed": 7, "model": "m"}, dropped=("top_k",), emulated=("response_format",))
        self.assertEqual(
            found,
            {
                "seed": "kept",
                "stop[]": "mapped",
                "top_k": "dropped",
                "response_format[json_schema].x": "emulated",
                "model": "answer",
            },
        )

    def test_another_value(self) -> None:
        """A field that goes up with another value is not kept."""
        self.assertEqual(report(asked(seed=7), {"seed": 8}), {"seed": "mapped"})

    def test_several_values(self) -> None:
        """Of several values at one path the worst fate is told."""
        chat = asked(stop=["a", "b", "c"])
        self.assertEqual(report(chat, {"stop": ["a", "b"]}), {"stop[]": "mapped"})
        self.assertEqual(report(chat, {"stop": ["a", "b"]}, dropped=("stop[2:]",)), {"stop[]": "dropped"})

    def test_null(self) -> None:
        """Null is as good as absent."""
        self.assertEqual(report(asked(seed=None, stop=[])), {"stop": "mapped"})

    def test_antigravity(self) -> None:
        """What Antigravity has in an envelope is kept, if it is what the client wrote."""
        contents = [{"role": "user", "parts": [{"text": "hello"}]}]
        found = report(
            asked("gemini", contents=contents), {"project": "p", "request": {"contents": contents}}
        )
        self.assertEqual(found, {"contents[].role": "kept", "contents[].parts[].text": "kept"})

    def test_snake_case(self) -> None:
        """A Gemini body in snake_case is told of in Google's other spelling."""
        chat = asked("gemini", generation_config={"top_k": 3, "max_output_tokens": 9})
        found = report(chat, {"topK": 3}, dropped=("generationConfig.topK",))
        self.assertEqual(
            found, {"generationConfig.topK": "dropped", "generationConfig.maxOutputTokens": "mapped"}
        )

    def test_no_body(self) -> None:
        """What is no JSON object has no fields."""
        for raw in (b"", b"[1]", b"\xff", b"{"):
            with self.subTest(raw):
                chat = ChatRequest(dialect="claude", model="m", messages=(), raw=raw)
                self.assertEqual(field_report(chat, Rendered(raw)), {})


class Names(unittest.TestCase):
    """How a renderer's names find the fields that they mean."""

    def verdicts(self, name: str, **body: Any) -> set[str]:
        """The paths that ``name`` drops."""
        found = report(asked("openai", **body), dropped=(name,))
        return {path for path, verdict in found.items() if verdict == "dropped"}

    def test_a_word(self) -> None:
        """A word alone means each field of that name, wherever it is, and all in it."""
        system = {
            "role": "system",
            "content": [{"type": "text", "text": "a", "cache_control": {"ttl": "1h"}}],
        }
        self.assertEqual(
            self.verdicts("cache_control", messages=[system], tools=[{"cache_control": {"ttl": "5m"}}]),
            {"messages[system].content[text].cache_control.ttl", "tools[].cache_control.ttl"},
        )

    def test_a_place(self) -> None:
        """A place in a list means that one item."""
        tools = [{"type": "function", "a": 1}, {"type": "web_search", "b": 2}]
        self.assertEqual(self.verdicts("tools[1]", tools=tools), {"tools[web_search].b"})
        self.assertEqual(self.verdicts("tools[-2]", tools=tools), {"tools[function].a"})

    def test_between(self) -> None:
        """What goes without saying may be left out of a name."""
        tools = [{"type": "function", "function": {"name": "f", "strict": True}}]
        self.assertEqual(self.verdicts("tools.strict", tools=tools), {"tools[function].function.strict"})

    def test_a_kind_of_block(self) -> None:
        """What an object says that it is names it."""
        message = {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "u"}}]}
        self.assertEqual(
            self.verdicts("video_url", messages=[message]),
            {"messages[user].content[video_url].video_url.url"},
        )

    def test_from_the_top(self) -> None:
        """A name that stands at the top of the body means that field, and nothing inside of others."""
        self.assertEqual(self.verdicts("user", user="u", metadata={"user": 1}, messages=HELLO), {"user"})
        self.assertEqual(self.verdicts("a.b", **{"a.b": 1, "a": {"b": 2}}), {"a.b"})

    def test_the_end_of_a_path(self) -> None:
        """One whose first word stands at the top, but not with the rest, is the end of a path."""
        body = {"tools": [{"type": "x", "y": 1}], "input": [{"tools": [{"type": "custom", "z": 1}]}]}
        self.assertEqual(self.verdicts("tools.custom", **body), {"input[].tools[custom].z"})

    def test_a_word_for_two(self) -> None:
        """Claude's thinking is a field and a block: the field is not said to be dropped while it is
        on its way up."""
        block = {"type": "thinking", "thinking": "t"}
        chat = asked(
            "claude",
            thinking={"type": "adaptive", "display": "omitted"},
            messages=[{"role": "assistant", "content": [block]}],
        )
        sent = {"thinking": {"type": "adaptive", "display": "omitted"}}
        found = report(chat, sent, dropped=("thinking",))
        self.assertEqual(found["thinking[adaptive].display"], "kept")
        self.assertEqual(found["messages[].content[thinking].thinking"], "dropped")
        self.assertEqual(report(chat, {}, dropped=("thinking",))["thinking[adaptive].display"], "dropped")

    def test_none(self) -> None:
        """A name of nothing in the body is told as it is; its last word may be ours."""
        self.assertEqual(report(asked(seed=7), {"seed": 7}, dropped=("ghost",))["ghost"], "dropped")
        part = {"inlineData": {"data": "x"}}
        found = report(asked("gemini", contents=[{"parts": [part]}]), dropped=("inlineData.video",))
        self.assertEqual(found, {"contents[].parts[].inlineData.data": "dropped"})

    def test_nothing_too_broad(self) -> None:
        """A name that is not found never means all of the field that it begins with."""
        found = report(asked("responses", input=[{"role": "user", "content": "x"}]), dropped=("input.phase",))
        self.assertEqual(found["input[].content"], "mapped")


class Told(unittest.TestCase):
    """The names in the client's own words."""

    def test_each(self) -> None:
        """What the hub calls a field or a block is named as the client's dialect has it, by the one of
        several fields that the client sent."""
        for chat, name, expected in (
            (asked(user="u", safety_identifier="s"), "user", "user"),
            (asked(safety_identifier="s"), "user", "safety_identifier"),
            (asked("responses", prompt_cache_key="k"), "user", "prompt_cache_key"),
            (asked(max_completion_tokens=1), "max_tokens", "max_completion_tokens"),
            (asked(max_tokens=1), "max_tokens", "max_tokens"),
            (asked(thinking={}), "thinking", "thinking"),
            (asked(messages=[{"reasoning_content": "r"}]), "thinking", "messages.reasoning_content"),
            (asked("responses", input=[]), "thinking", "input.reasoning"),
            (asked("gemini", contents=[{"thought": True}]), "thinking", "contents.parts.thought"),
            (asked("gemini", contents=[]), "messages[-1]", "contents[-1]"),
            (asked("responses", image={"a": 1}), "image", "image"),
            (asked("responses", input=[]), "image", "input_image"),
            (asked("claude", thinking={}), "thinking", "thinking"),
        ):
            with self.subTest(chat.raw, name=name):
                self.assertEqual(told(chat, Rendered(b"", (name,))).dropped, (expected,))
                self.assertEqual(told(chat, Rendered(b"", (), (name,))).emulated, (expected,))

    def test_twice(self) -> None:
        """Who tells names that are told already changes nothing."""
        chat = asked("responses", input=[], prompt_cache_key="k")
        once = told(chat, Rendered(b"{}", ("user", "thinking", "image", "messages[2]")))
        self.assertEqual(told(chat, once), once)

    def test_nothing(self) -> None:
        """Where nothing was dropped the rendered request is the same object: it costs nothing."""
        rendered = Rendered(b"{}")
        self.assertIs(told(asked(), rendered), rendered)


class Limits(unittest.TestCase):
    def test_no_values(self) -> None:
        """No value shows, nor a name that is the client's own: in schemas, metadata, a call's input."""
        secret = "hunter2"
        schema = {"type": "object", "properties": {secret: {"type": "string"}}}
        bodies: dict[str, dict[str, Any]] = {
            "claude": {
                "system": secret,
                "messages": [
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "name": secret, "input": {secret: 1}}],
                    },
                    {"role": "user", "content": [{"type": f"{secret} no word", "x": secret}]},
                ],
                "tools": [{"name": secret, "input_schema": schema, "input_examples": [{secret: 1}]}],
            },
            "openai": {
                "metadata": {secret: secret},
                "logit_bias": {secret: 1},
                "tools": [{"function": {"name": "f", "parameters": schema}}],
                "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
            },
            "responses": {"client_metadata": {secret: 1}, "prompt": {"variables": {secret: 1}}},
            "gemini": {
                "labels": {secret: secret},
                "contents": [{"parts": [{"functionCall": {"name": "f", "args": {secret: 1}}}]}],
                "generationConfig": {"responseSchema": schema},
            },
        }
        for dialect, body in bodies.items():
            with self.subTest(dialect):
                found = report(asked(dialect, **body))
                self.assertNotIn(secret, str(found))
                self.assertTrue(found)

    def test_bounds(self) -> None:
        """However many fields a body has, and however many are dropped, a report is short, and no
        name in it is long."""
        names = tuple(f"n{number}" for number in range(3 * MAX_FIELDS))
        found = report(asked("openai", **dict.fromkeys(names, 1)), dropped=names)
        self.assertEqual(len(found), MAX_FIELDS)
        found = report(asked(), dropped=tuple("x" * 1000 + str(number) for number in range(3 * MAX_FIELDS)))
        self.assertLessEqual(max(map(len, found)), 100)
        found = report(asked("openai", **{"y" * 1000: {"z" * 1000: 1}}))
        self.assertLess(max(map(len, found)), 200)

    def test_long_conversation(self) -> None:
        """Only so many values of a conversation are looked at."""
        messages = [{"role": "user", "content": "x"}] * MAX_VALUES + [{"role": "user", "late": 1}]
        self.assertEqual(report(asked(messages=messages)), {"messages[user].content": "mapped"})


class Parsed(unittest.TestCase):
    def test_real_requests(self) -> None:
        """What a parser finds beyond the hub is dropped under a name that the report knows."""
        claude = {"model": "m", "max_tokens": 1, "messages": HELLO, "speed": "fast", "frobnicate": 1}
        gemini = {"contents": "hi", "generationConfig": {"candidateCount": 2}}
        for dialect, chat in (
            ("claude", DIALECTS["claude"].parse_request(json.dumps(claude).encode())),
            ("gemini", parse_gemini(json.dumps(gemini).encode(), "m")),
        ):
            with self.subTest(dialect):
                names = chat.other + chat.unknown
                self.assertEqual(
                    [path for path, verdict in report(chat, dropped=names).items() if verdict == "dropped"],
                    list(names),
                )
