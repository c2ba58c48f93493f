"""The simulated OpenAI Responses: the SDK's own models read each event, and its refusals."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from aigateway.simulator import SimulatedOpenAI
from aigateway.simulator.responses_input import Conversations

from .test_simulator import PNG, WEATHER, SimulatorTestCase, is_error, response

PATH = "/v1/responses"
TOOLS = [
    {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False},
    {"type": "custom", "name": "patch"},
]
REASONING = {"effort": "high", "summary": "auto"}
EVENTS = {
    get_args(kind.model_fields["type"].annotation)[0]: TypeAdapter(kind)
    for kind in get_args(get_args(ResponseStreamEvent)[0])
}
"""The SDK's model of each event, by its type."""

TEXT = """response.created response.in_progress response.output_item.added response.content_part.added
    response.output_text.delta response.output_text.done response.content_part.done
    response.output_item.done response.completed"""
REASONED = """response.created response.in_progress response.output_item.added
    response.reasoning_summary_part.added response.reasoning_summary_text.delta
    response.reasoning_summary_text.done response.reasoning_summary_part.done response.output_item.done
    response.output_item.added response.content_part.added"""
CALLED = """response.created response.in_progress response.output_item.added
    response.function_call_arguments.delta response.function_call_arguments.done
    response.output_item.done response.completed"""
CUSTOM = CALLED.replace("function_call_arguments", "custom_tool_call_input")


class ResponsesTestCase(SimulatorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.resource = SimulatedOpenAI(self.clock, 0)

    def stream(self, body: dict[str, Any]) -> list[Any]:
        """The events, each one checked."""
        events = self.frames(self.resource, PATH, body)
        for number, event in enumerate(events):
            EVENTS[event["type"]].validate_python(event, strict=False)
            self.assertEqual(event["sequence_number"], number)
        return events

    def whole(self, body: dict[str, Any]) -> Any:
        answered = self.json(self.resource, PATH, body | {"stream": False})
        Response.model_validate(answered)
        return answered

    def refused(self, body: dict[str, Any]) -> Any:
        answered, received = self.ask(self.resource, PATH, body)
        self.assertEqual(answered.code, 400)
        return msgspec.json.decode(received.data)["error"]


def kinds(events: list[Any]) -> list[str]:
    """The types of ``events``, repeated ones once."""
    found: list[str] = []
    for event in events:
        if not found or found[-1] != event["type"]:
            found.append(event["type"])
    return found


class StreamTests(ResponsesTestCase):
    def test_orders_of_events(self) -> None:
        """Each kind of item begins, grows and ends with its own events."""
        for body, expected in (
            (response("hello"), TEXT),
            (response("use the tool", tools=TOOLS), CALLED),
            (response("use the tool patch", tools=TOOLS), CUSTOM),
        ):
            self.assertEqual(kinds(self.stream(body)), expected.split())
        events = self.stream(response("hello", reasoning=REASONING))
        self.assertEqual(kinds(events)[: len(REASONED.split())], REASONED.split())

    def test_stream_and_whole_agree(self) -> None:
        """The last event holds what the stream said, item by item, and the whole answer is it."""
        for text, more in (
            ("hello", {"reasoning": REASONING}),
            ("hello", {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}),
            ("use the tool", {"tools": TOOLS}),
            ('use the tool patch with {"input": "*** Begin"}', {"tools": TOOLS}),
            ("hello", {"max_output_tokens": 16, "reasoning": REASONING}),
        ):
            body = response(text, **more)
            events = self.stream(body)
            final = events[-1]["response"]
            done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
            self.assertEqual(final["output"], done)
            whole = self.whole(body)
            for one in (final, whole):
                for item in one["output"]:
                    self.assertTrue(item.pop("id"))
                    item.pop("call_id", None)
                    item.pop("encrypted_content", None)
            self.assertEqual(final["output"], whole["output"])
            self.assertEqual(final["usage"], whole["usage"])
            self.assertEqual(list(final), list(whole))

    def test_deltas_make_the_item(self) -> None:
        """Text, summary, arguments and input are each the sum of their deltas."""
        for text, more, event, name in (
            ("hello", {}, "output_text", "text"),
            ("hello", {"reasoning": REASONING}, "reasoning_summary_text", "text"),
            ("use the tool", {"tools": TOOLS}, "function_call_arguments", "arguments"),
            ("use the tool patch", {"tools": TOOLS}, "custom_tool_call_input", "input"),
        ):
            events = self.stream(response(text, **more))
            deltas = "".join(one["delta"] for one in events if one["type"] == f"response.{event}.delta")
            [done] = [one for one in events if one["type"] == f"response.{event}.done"]
            self.assertEqual(done[name], deltas)
            self.assertTrue(deltas)

    def test_event_lines_and_no_marker(self) -> None:
        """Each frame has an event line; there is no ``[DONE]``."""
        data = self.ask(self.resource, PATH, response("hi"))[1].data.decode()
        for frame in data.strip().split("\n\n"):
            event, _, rest = frame.partition("\n")
            self.assertEqual(event.removeprefix("event: "), msgspec.json.decode(rest[6:])["type"])
        self.assertNotIn("[DONE]", data)

    def test_incomplete(self) -> None:
        """A limit ends the stream with another event, that says why."""
        events = self.stream(response("hello", max_output_tokens=16))
        self.assertEqual(events[-1]["type"], "response.incomplete")
        final = events[-1]["response"]
        self.assertEqual(
            (final["status"], final["incomplete_details"]), ("incomplete", {"reason": "max_output_tokens"})
        )
        self.assertEqual(final["output"][0]["status"], "incomplete")
        self.assertEqual(final["usage"]["output_tokens"], 16)

    def test_failed(self) -> None:
        """A failure in the stream is an event with the failed response, in its number."""
        events = self.frames(self.resource, PATH, response("hello", "fault-error-in-stream"))
        self.assertTrue(is_error(events[-1]))
        EVENTS["response.failed"].validate_python(events[-1])
        self.assertEqual(events[-1]["sequence_number"], len(events) - 1)
        self.assertEqual(events[-1]["response"]["error"]["code"], "server_error")

    def test_the_request_is_repeated(self) -> None:
        """The response says what it was asked with."""
        body = response("x", instructions="be brief", tools=TOOLS, temperature=0.5, metadata={"a": "b"})
        whole = self.whole(body)
        for name in ("instructions", "tools", "temperature", "metadata"):
            self.assertEqual(whole[name], body[name])


class AnswerTests(ResponsesTestCase):
    def test_an_agents_input_is_looked_through(self) -> None:
        """Context and the prompt are messages of their own; results are quoted."""
        told = [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<cwd>/</cwd>"}]},
            {"role": "user", "content": 'use the tool weather with {"city": "Rome", "days": 2}'},
        ]
        body = response("", tools=TOOLS, store=False, input=told)
        [call] = self.whole(body)["output"]
        self.assertEqual(msgspec.json.decode(call["arguments"]), {"city": "Rome", "days": 2})
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
        whole = self.whole(body | {"input": [*told, call, result]})
        self.assertIn('"rain"', whole["output"][0]["content"][0]["text"])

    def test_namespaces(self) -> None:
        """A tool of a namespace is called with it, wherever the namespace is offered: Codex does
        that among the input items, too."""
        wait = {"type": "function", "name": "wait", "parameters": {"type": "object"}, "strict": False}
        group = {"type": "namespace", "name": "agents", "description": "Others.", "tools": [wait]}
        prompt = 'use the tool wait with {"id": 7}'
        item = {"type": "additional_tools", "role": "developer", "tools": [group]}
        message = {"type": "message", "role": "user", "content": prompt}
        for body in (response(prompt, tools=[group]), response(prompt) | {"input": [item, message]}):
            [call] = self.whole(body)["output"]
            self.assertEqual((call["namespace"], call["name"]), ("agents", "wait"))
            self.assertEqual(call["arguments"], '{"id":7}')

    def test_images_json_and_choice(self) -> None:
        """An image is seen; JSON that is demanded is given; a choice is followed."""
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
        whole = self.whole(response("", input=[{"role": "user", "content": [image]}]))
        self.assertIn("image/png, 8 bytes", whole["output"][0]["content"][0]["text"])
        schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
        format_ = {"type": "json_schema", "name": "t", "schema": schema}
        whole = self.whole(response("x", text={"format": format_}))
        self.assertEqual(whole["output"][0]["content"][0]["text"], '{"title":"sample title"}')
        whole = self.whole(response("x", tools=TOOLS, tool_choice={"type": "custom", "name": "patch"}))
        self.assertEqual(whole["output"][0]["type"], "custom_tool_call")
        whole = self.whole(response("use the tool", tools=TOOLS, tool_choice="none"))
        self.assertEqual(whole["output"][0]["type"], "message")

    def test_answers_are_continued_by_their_id(self) -> None:
        """What was said before counts as the conversation, streamed or whole."""
        first = self.stream(response("use the tool", tools=TOOLS))[-1]["response"]
        [call] = first["output"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
        whole = self.whole(response("", input=[result], previous_response_id=first["id"]))
        self.assertIn('"rain"', whole["output"][0]["content"][0]["text"])
        self.assertEqual(whole["previous_response_id"], first["id"])
        again = self.whole(response("count to 2", previous_response_id=whole["id"]))
        self.assertEqual(again["output"][0]["content"][0]["text"], "1, 2")
        self.assertGreater(again["usage"]["input_tokens"], whole["usage"]["input_tokens"])

    def test_reasoning_that_comes_back_is_its_own(self) -> None:
        """Encrypted reasoning is taken from its issuer alone."""
        body = response("hi", reasoning=REASONING, include=["reasoning.encrypted_content"], store=False)
        said = self.whole(body)["output"]
        self.assertEqual([item["type"] for item in said], ["reasoning", "message"])
        asked = [{"role": "user", "content": "hi"}, *said, {"role": "user", "content": "count to 2"}]
        whole = self.whole(body | {"input": asked})
        self.assertEqual(whole["output"][1]["content"][0]["text"], "1, 2")
        said[0]["encrypted_content"] = "gAAAAforeign"
        self.assertEqual(self.refused(body | {"input": asked})["code"], "invalid_encrypted_content")


class RefusalTests(ResponsesTestCase):
    def test_refusals(self) -> None:
        """What lacks something, or has the wrong thing, is refused with its parameter."""
        cases: list[tuple[dict[str, Any], str, str | None]] = [
            ({"input": "x"}, "model", "missing_required_parameter"),
            ({"model": "m"}, "input", "missing_required_parameter"),
            (response("x", max_output_tokens=15), "max_output_tokens", "integer_below_min_value"),
            (response("x", tools=[{"type": "function", "name": "a b"}]), "tools[0].name", "invalid_value"),
            (
                response("x", previous_response_id="resp_elsewhere"),
                "previous_response_id",
                "previous_response_not_found",
            ),
        ]
        for body, param, code in cases:
            with self.subTest(param):
                error = self.refused(body)
                self.assertEqual((error["param"], error["code"]), (param, code))

    def test_what_is_not_stored_is_not_found(self) -> None:
        """``store: false`` leaves nothing to continue."""
        whole = self.whole(response("x", store=False))
        error = self.refused(response("y", previous_response_id=whole["id"]))
        self.assertEqual(error["message"], f"Previous response with id '{whole['id']}' not found.")

    def test_calls_and_results_belong_together(self) -> None:
        """Each needs the other, of its own kind."""
        call = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
        result = {"type": "function_call_output", "call_id": "c", "output": "rain"}
        custom = {"type": "custom_tool_call_output", "call_id": "c", "output": "rain"}
        for items, words in (
            ([result], "No tool call found for function call output with call_id c."),
            ([call], "No tool output found for function call c."),
            ([call, result, custom], "No tool call found for custom tool call output with call_id c."),
        ):
            error = self.refused(response("", input=items))
            self.assertEqual((error["message"], error["param"]), (words, "input"))

    def test_conversations_are_bounded(self) -> None:
        """The oldest is forgotten first."""
        conversations = Conversations(limit=2)
        for id_ in ("a", "b", "c"):
            conversations.keep(id_, ({"id": id_},))
        self.assertIsNone(conversations.before("a"))
        self.assertEqual(conversations.before("b"), ({"id": "b"},))
