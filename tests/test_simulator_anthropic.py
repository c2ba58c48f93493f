"""The simulated Anthropic: its streams as recorded, its messages as the SDK reads them, its refusals."""

from __future__ import annotations

from typing import Any

import msgspec
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from aigateway.simulator import SimulatedAnthropic

from .test_simulator import FIXTURES, PNG, WEATHER, SimulatorTestCase, claude, recorded, shapes

PATH = "/v1/messages"
TOOLS = [{"name": "weather", "input_schema": WEATHER}]
THINKING = {"type": "enabled", "budget_tokens": 1024}


class AnthropicTestCase(SimulatorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.resource = SimulatedAnthropic(self.clock, 0)

    def stream(self, body: dict[str, Any]) -> list[Any]:
        return self.frames(self.resource, PATH, body)

    def whole(self, body: dict[str, Any], **options: Any) -> Any:
        return self.json(self.resource, PATH, body | {"stream": False}, **options)

    def refused(self, body: dict[str, Any], **options: Any) -> str:
        """The message of the refusal that ``body`` must meet."""
        response, received = self.ask(self.resource, PATH, body, **options)
        value = msgspec.json.decode(received.data)
        self.assertEqual((response.code, value["type"]), (400, "error"))
        self.assertEqual(value["error"]["type"], "invalid_request_error")
        return str(value["error"]["message"])


class AnswerTests(AnthropicTestCase):
    def test_thinking_and_text_as_recorded(self) -> None:
        """Each event has the names of the recorded ones, in their order."""
        frames = self.stream(claude("hello", thinking=THINKING))
        self.assertEqual(shapes(frames), shapes(recorded("anthropic/haiku45-thinking.sse")))
        self.assertEqual(frames[2], {"type": "ping"})

    def test_tool_call_as_recorded(self) -> None:
        """A call without arguments has one empty delta."""
        tools = [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]
        frames = self.stream(claude("use the tool", tools=tools))
        self.assertEqual(shapes(frames), shapes(recorded("anthropic/haiku45-tool-no-args.sse")))

    def test_event_lines_name_the_type(self) -> None:
        """Each frame has an event line with its type."""
        data = self.ask(self.resource, PATH, claude("hi"))[1].data
        for frame in data.decode().strip().split("\n\n"):
            event, _, rest = frame.partition("\n")
            kind = msgspec.json.decode(rest.removeprefix("data: "))["type"]
            self.assertEqual(event, f"event: {kind}")

    def test_streams_and_whole_answers_agree(self) -> None:
        """The stream, put together, is the whole message, and the SDK's models take both."""
        events = TypeAdapter(RawMessageStreamEvent)
        for text, more in (
            ("hello", {"thinking": THINKING}),
            ("use the tool", {"tools": TOOLS, "thinking": THINKING}),
            ("count to 30", {"max_tokens": 4}),
        ):
            body = claude(text, **more)
            frames = self.stream(body)
            for frame in frames:
                if frame["type"] != "ping":
                    events.validate_python(frame)
            whole = self.whole(body)
            message = Message.model_validate(whole)
            self.assertEqual(
                [block.type for block in message.content], [block["type"] for block in joined(frames)]
            )
            self.assertEqual(
                [without_signature(block) for block in joined(frames)],
                [without_signature(block) for block in whole["content"]],
            )
            [end] = [frame for frame in frames if frame["type"] == "message_delta"]
            self.assertEqual(end["delta"]["stop_reason"], whole["stop_reason"])
            self.assertEqual(end["usage"]["output_tokens"], whole["usage"]["output_tokens"])
            self.assertEqual(frames[0]["message"]["usage"]["input_tokens"], whole["usage"]["input_tokens"])
            self.assertGreater(whole["usage"]["input_tokens"], 0)

    def test_whole_message_as_recorded(self) -> None:
        """What the recorded whole message has is there, and what newer models add."""
        whole = self.whole(claude("use the tool", tools=TOOLS))
        self.assertEqual(whole["content"][0]["input"], {"city": "sample city", "days": 1})
        self.assertLessEqual(
            {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}, set(whole)
        )
        self.assertEqual(whole["stop_reason"], "tool_use")

    def test_request_id(self) -> None:
        """Answers and refusals have a ``request-id``."""
        for options in ({}, {"key": None}):
            response, _ = self.ask(self.resource, PATH, claude("x"), **options)
            self.assertTrue(response.headers.getRawHeaders("request-id"))

    def test_an_agents_prompt_is_looked_through(self) -> None:
        """The instruction is found among the reminders around it, and its result is quoted."""
        content = [
            {"type": "text", "text": "<system-reminder>today is Monday</system-reminder>"},
            {"type": "text", "text": 'use the tool weather with {"city": "Rome", "days": 3}'},
            {"type": "text", "text": "<system-reminder>be brief</system-reminder>"},
        ]
        asked: list[dict[str, Any]] = [{"role": "user", "content": content}]
        body = claude("", tools=TOOLS)
        [call] = self.whole(body | {"messages": asked})["content"]
        self.assertEqual(call["input"], {"city": "Rome", "days": 3})
        result = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "rain"}]},
            {"type": "text", "text": "<system-reminder>use the tool</system-reminder>"},
        ]
        asked += [{"role": "assistant", "content": [call]}, {"role": "user", "content": result}]
        self.assertIn('"rain"', self.whole(body | {"messages": asked})["content"][0]["text"])

    def test_images_and_json(self) -> None:
        """An image is seen; JSON that is demanded fits its schema."""
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        body = claude("") | {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}
        self.assertIn("image/png, 8 bytes", self.whole(body)["content"][0]["text"])
        schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
        body = claude("a title", output_config={"format": {"type": "json_schema", "schema": schema}})
        self.assertEqual(self.whole(body)["content"][0]["text"], '{"title":"sample title"}')

    def test_tool_choice_is_followed(self) -> None:
        """A named tool is called unasked, with ``none`` none is."""
        tools = [*TOOLS, {"name": "clock", "input_schema": {"type": "object"}}]
        body = claude("hi", tools=tools, tool_choice={"type": "tool", "name": "clock"})
        self.assertEqual(self.whole(body)["content"][0]["name"], "clock")
        body = claude("use the tool", tools=tools, tool_choice={"type": "none"})
        self.assertEqual(self.whole(body)["stop_reason"], "end_turn")

    def test_tokens_are_counted(self) -> None:
        """``count_tokens`` wants no ``max_tokens`` and counts what a message would."""
        body = claude("x" * 40, system="y" * 40)
        counted = {name: body[name] for name in ("model", "messages", "system")}
        answered = self.json(self.resource, PATH + "/count_tokens", counted)
        self.assertEqual(answered, {"input_tokens": 20})
        self.assertEqual(self.whole(body)["usage"]["input_tokens"], 20)

    def test_bearer_tokens_are_keys_too(self) -> None:
        """Subscriptions use them."""
        headers = {"Authorization": "Bearer t", "anthropic-version": "2023-06-01"}
        response, _ = self.ask(self.resource, PATH, claude("x"), key=None, headers=headers)
        self.assertEqual(response.code, 200)


class RefusalTests(AnthropicTestCase):
    def test_errors_as_recorded(self) -> None:
        """A bad key and an unknown model are refused in the recorded form and words."""
        for key, model, status, name in (
            ("fault-401", "claude-haiku-4-5", 401, "error-401"),
            ("key", "no-such-model", 404, "error-404-model"),
        ):
            response, received = self.ask(self.resource, PATH, claude("x", model), key=key)
            expected = msgspec.json.decode((FIXTURES / f"anthropic/{name}.json").read_bytes())
            expected["error"]["message"] = expected["error"]["message"].replace("claude-sonet-4-5", model)
            value = msgspec.json.decode(received.data)
            self.assertEqual(response.code, status)
            self.assertEqual(value, expected | {"request_id": value["request_id"]})

    def test_version_header(self) -> None:
        """It is needed, and it is one of those that there are."""
        self.assertEqual(self.refused(claude("x"), headers={}), "anthropic-version: header is required")
        message = self.refused(claude("x"), headers={"anthropic-version": "2023-06-01, 2023-06-01"})
        self.assertEqual(message, 'anthropic-version: "2023-06-01, 2023-06-01" is not a valid version')

    def test_newest_version(self) -> None:
        """It is taken, but for the sampling parameters, which are gone from it."""
        newest = {"anthropic-version": "2026-10-21"}
        self.assertEqual(self.ask(self.resource, PATH, claude("x"), headers=newest)[0].code, 200)
        for name in ("temperature", "top_p", "top_k"):
            body = claude("x") | {name: 1}
            self.assertEqual(self.ask(self.resource, PATH, body)[0].code, 200)
            self.assertEqual(self.refused(body, headers=newest), f"{name}: Extra inputs are not permitted")

    def test_fields(self) -> None:
        """What must be there, and what may not."""
        body = claude("x")
        for name in ("model", "max_tokens", "messages"):
            lacking = {key: value for key, value in body.items() if key != name}
            self.assertEqual(self.refused(lacking), f"{name}: Field required")
        self.assertEqual(self.refused(body | {"foo": 1}), "foo: Extra inputs are not permitted")
        managed = body | {"context_management": {"edits": []}}
        self.assertEqual(self.refused(managed), "context_management: Extra inputs are not permitted")
        beta = {"anthropic-version": "2023-06-01", "anthropic-beta": "context-management-2025-06-27"}
        self.assertEqual(self.ask(self.resource, PATH, managed, headers=beta)[0].code, 200)

    def test_contents(self) -> None:
        """Empty texts and bad names are refused."""
        for more, words in (
            ({"messages": []}, "messages: at least one message is required"),
            ({"messages": text_blocks("")}, "messages: text content blocks must be non-empty"),
            (
                {"messages": text_blocks(" \n")},
                "messages: text content blocks must contain non-whitespace text",
            ),
            ({"system": [{"type": "text", "text": ""}]}, "system: text content blocks must be non-empty"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be"),
            (
                {"tools": [TOOLS[0], {"name": "a.b", "input_schema": WEATHER}]},
                "tools.1.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
            ),
            ({"tools": [{"name": "a"}]}, "tools.0.custom.input_schema: Field required"),
            ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ):
            with self.subTest(words):
                self.assertIn(words, self.refused(claude("x") | more))

    def test_thinking_budget(self) -> None:
        """What does not go with one."""
        for more, words in (
            ({"thinking": THINKING | {"budget_tokens": 1000}}, "greater than or equal to 1024"),
            ({"max_tokens": 1024}, "`max_tokens` must be greater than `thinking.budget_tokens`"),
            ({"temperature": 0.5}, "`temperature` may only be set to 1"),
            ({"top_k": 5}, "`top_k` must be unset"),
            ({"tools": TOOLS, "tool_choice": {"type": "any"}}, "Thinking may not be enabled"),
        ):
            with self.subTest(words):
                self.assertIn(words, self.refused(claude("x", thinking=THINKING) | more))

    def test_calls_and_results_belong_together(self) -> None:
        """A call's result begins the next message; a result has its call in the one before."""
        user = {"role": "user", "content": "x"}
        call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
        called = {"role": "assistant", "content": [call]}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "rain"}
        late = [{"type": "text", "text": "well"}, result]
        for messages, words in (
            ([user, called], "messages.1: `tool_use` ids were found without `tool_result` blocks"),
            ([user, called, user], "immediately after: t1."),
            ([user, called, {"role": "user", "content": late}], "immediately after: t1."),
            ([{"role": "user", "content": [result]}], "messages.0.content.0: unexpected `tool_use_id`"),
            (
                [user, {"role": "assistant", "content": [call | {"id": "a:b"}]}, user],
                "tool_use.id: String should match",
            ),
        ):
            with self.subTest(words):
                self.assertIn(words, self.refused(claude("x") | {"messages": messages}))
        messages = [user, called, {"role": "user", "content": [result]}]
        self.assertIn("rain", self.whole(claude("x") | {"messages": messages})["content"][0]["text"])


class ThinkingTests(AnthropicTestCase):
    """A tool loop with thinking, as the real server insists on it."""

    def setUp(self) -> None:
        super().setUp()
        self.body = claude("use the tool", tools=TOOLS, thinking=THINKING)
        self.said = self.whole(self.body)["content"]

    def follow(self, said: list[Any]) -> dict[str, Any]:
        """The request that brings the result of the call that ``said`` ends with."""
        result = {"type": "tool_result", "tool_use_id": said[-1]["id"], "content": "rain"}
        messages = [
            {"role": "user", "content": "use the tool"},
            {"role": "assistant", "content": said},
            {"role": "user", "content": [result]},
        ]
        return self.body | {"messages": messages}

    def test_thinking_comes_back_as_it_was_given(self) -> None:
        """With its own signature the turn goes on."""
        self.assertEqual([block["type"] for block in self.said], ["thinking", "tool_use"])
        self.assertIn("rain", self.whole(self.follow(self.said))["content"][1]["text"])

    def test_thinking_left_out(self) -> None:
        """A turn that thought may not begin with its call."""
        body = self.follow(self.said[1:])
        message = self.refused(body)
        expected = (
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`."
        )
        self.assertTrue(message.startswith(expected))
        for off in ({"thinking": {"type": "disabled"}}, {"thinking": {"type": "adaptive"}}):
            self.assertEqual(self.whole(body | off)["type"], "message")
        messages = body["messages"] + [
            {"role": "assistant", "content": "It rains."},
            {"role": "user", "content": "thank you"},
        ]
        self.assertEqual(self.whole(body | {"messages": messages})["type"], "message")

    def test_foreign_signatures(self) -> None:
        """Nobody else's, none, and none changed; in old turns too."""
        for signature in ("EqQB" + self.said[0]["signature"][4:-8] + "AAAAAAA=", "", "foreign"):
            thought = self.said[0] | {"signature": signature}
            message = self.refused(self.follow([thought, self.said[1]]))
            self.assertEqual(message, "messages.1.content.0: Invalid `signature` in `thinking` block")
        thought = {name: value for name, value in self.said[0].items() if name != "signature"}
        message = self.refused(self.follow([thought, self.said[1]]))
        self.assertEqual(message, "messages.1.content.0.thinking.signature: Field required")

    def test_a_restarted_simulator_takes_them(self) -> None:
        """Signatures outlive the process."""
        self.resource = SimulatedAnthropic(self.clock, 0)
        self.assertEqual(self.whole(self.follow(self.said))["type"], "message")

    def test_the_streamed_signature_is_good_too(self) -> None:
        """It comes in one delta, the last of its block."""
        said = joined(self.stream(self.body))
        self.assertEqual(self.whole(self.follow(said))["type"], "message")


def text_blocks(text: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "text", "text": text}]}]


def without_signature(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name not in ("signature", "id")}


def joined(frames: list[Any]) -> list[Any]:
    """The blocks of a stream, each with its deltas put together."""
    blocks: list[Any] = []
    for frame in frames:
        if frame["type"] == "content_block_start":
            blocks.append(dict(frame["content_block"]))
            arguments = ""
        elif frame["type"] == "content_block_delta":
            delta = frame["delta"]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    blocks[-1][name] += delta[name]
            arguments += delta.get("partial_json", "")
        elif frame["type"] == "content_block_stop" and arguments:
            blocks[-1]["input"] = msgspec.json.decode(arguments)
    return blocks
