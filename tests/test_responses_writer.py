"""Events into OpenAI's Responses stream and whole responses, byte for byte."""

from __future__ import annotations

import json
import unittest
from typing import Any

from hypothesis import given, settings
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from aigateway.check import Answer, check_responses, strict_json
from aigateway.dialects.responses.reader import ResponsesReader
from aigateway.dialects.responses.sealed import Sealed, seal, unseal
from aigateway.dialects.responses.writer import ResponsesWriter, render_reply
from aigateway.errors import (
    AccountExhausted,
    GatewayError,
    Stopping,
    UpstreamBusy,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamTruncated,
)
from aigateway.events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    Event,
    Failed,
    Finished,
    InputDelta,
    RedactedThinkingBlock,
    SignatureDelta,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    Tool,
    ToolUseBlock,
    Usage,
    UsageReported,
    events_of,
    reply_of,
)
from aigateway.sse import SSEDecoder

from .made_up import HOSTILE, answers
from .recordings import ask

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOLS = (
    Tool("get_weather"),
    Tool("patch", free_text=True),
    Tool("agents__wait", namespace="agents"),
    Tool("agents__run", namespace="agents", free_text=True),
)
CALL: list[Event] = [
    BlockStarted("tool_use", "call_1", "get_weather"),
    InputDelta('{"city":'),
    InputDelta('"Paris"}'),
    BlockEnded(),
]
TEXT: list[Event] = [BlockStarted("text"), TextDelta("Hel"), TextDelta("lo"), BlockEnded()]


def writer(**fields: Any) -> ResponsesWriter:
    return ResponsesWriter(ask("responses", tools=TOOLS, **fields), "req_1", 1700000000)


def told(*events: Event, reason: str = "end_turn") -> Answer:
    """What a whole answer of these events tells a client."""
    return check_responses(writer().write([Started("1", "m"), *events, Finished(reason)]))


def last(answer: Answer) -> dict[str, Any]:
    """The response that the last event holds."""
    response: dict[str, Any] = answer.chunks[-1]["response"]
    return response


def names(answer: Answer) -> list[str]:
    return [chunk["type"].removeprefix("response.") for chunk in answer.chunks]


def hostile(reads_back: str) -> str:
    """The hostile text as a client reads it: no UTF-8 holds half of a surrogate pair."""
    return reads_back.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Stream(unittest.TestCase):
    maxDiff = None

    EVENTS: tuple[Event, ...] = (
        Started("msg_1", "claude", Usage(9, 1)),
        BlockStarted("thinking"),
        ThinkingDelta("Hm."),
        SignatureDelta("c2ln"),
        BlockEnded(),
        *TEXT,
        *CALL,
        UsageReported(Usage(9, 30, 4, 1, 7)),
        Finished("tool_use"),
    )

    def test_order(self) -> None:
        """Events come in OpenAI's order: each item in pieces, then whole, one after the other."""
        answer = check_responses(writer().write(self.EVENTS))
        self.assertEqual(
            names(answer),
            [
                *("created", "in_progress"),
                *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
                *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
                *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
                *("output_text.done", "content_part.done", "output_item.done"),
                *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
                *("function_call_arguments.done", "output_item.done", "completed"),
            ],
        )

    def test_a_delta(self) -> None:
        """A piece of text is one small event, byte for byte as OpenAI sends it."""
        one = writer()
        one.write([Started("1", "m"), BlockStarted("text")])
        self.assertEqual(
            one.write([TextDelta("Hi\n")]).decode(),
            "event: response.output_text.delta\n"
            'data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1_0",'
            '"output_index":0,"content_index":0,"delta":"Hi\\n","logprobs":[]}\n\n',
        )

    def test_items(self) -> None:
        """The last event repeats the items as they were told, and what they cost."""
        response = last(check_responses(writer().write(self.EVENTS)))
        self.assertEqual(response["id"], "resp_msg_1")
        self.assertEqual(
            response["output"],
            [
                {
                    "id": "rs_1_0",
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "Hm."}],
                    "encrypted_content": seal(Sealed(signature="c2ln")),
                },
                {
                    "id": "msg_1_1",
                    "type": "message",
                    "status": "completed",
                    "role": "assistant",
                    "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "Hello"}],
                },
                {
                    "id": "fc_1_2",
                    "type": "function_call",
                    "call_id": "call_1",
                    "name": "get_weather",
                    "status": "completed",
                    "arguments": '{"city":"Paris"}',
                },
            ],
        )
        self.assertEqual(
            response["usage"],
            {
                "input_tokens": 14,
                "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
                "output_tokens": 30,
                "output_tokens_details": {"reasoning_tokens": 7},
                "total_tokens": 44,
            },
        )

    def test_one_by_one(self) -> None:
        """Events give the same bytes one by one as together."""
        one = writer()
        self.assertEqual(b"".join(one.write([event]) for event in self.EVENTS), writer().write(self.EVENTS))

    def test_texts_of_one_message(self) -> None:
        """Texts that follow each other are parts of one message; after a call a new one begins."""
        output = last(told(*TEXT, *TEXT, *CALL, *TEXT, reason="tool_use"))["output"]
        self.assertEqual([item["type"] for item in output], ["message", "function_call", "message"])
        self.assertEqual([part["text"] for part in output[0]["content"]], ["Hello", "Hello"])

    def test_nothing_to_say(self) -> None:
        """Usage, a signed text and a thought without content are no events."""
        one = writer()
        one.write([Started("1", "m")])
        self.assertEqual(one.write([BlockStarted("thinking"), BlockEnded()]) + one.write([]), b"")
        self.assertEqual(one.write([UsageReported(Usage(1, 2))]), b"")
        one.write([BlockStarted("text"), TextDelta("x")])
        self.assertEqual(one.write([SignatureDelta("c2ln"), TextDelta("")]), b"")

    def test_signatures(self) -> None:
        """What a model signed goes with its item: for a thought, for what follows, redacted."""
        answer = told(
            *(BlockStarted("thinking"), ThinkingDelta("Hm."), SignatureDelta("one"), BlockEnded()),
            *(BlockStarted("redacted_thinking", data="two"), BlockEnded()),
            *(BlockStarted("thinking"), SignatureDelta("three"), BlockEnded()),
            *CALL,
            reason="tool_use",
        )
        self.assertEqual(
            [unseal(content) for content in answer.signatures],
            [Sealed(signature="one"), Sealed(redacted="two"), Sealed(signature="three")],
        )
        self.assertEqual(len({chunk["item"]["id"] for chunk in answer.chunks if "item" in chunk}), 4)

    def test_sealed_elsewhere(self) -> None:
        """What others encrypted, or somebody broke, is not ours."""
        whole = seal(Sealed(signature="x"))
        for content in ("", "gAAAAAB", whole[:-4], "aigw1.", "aigw1.!!!!", whole.replace("aigw1", "aigw2")):
            self.assertIsNone(unseal(content), content)

    def test_calls(self) -> None:
        """A call without arguments gets an empty object."""
        answer = told(
            *(BlockStarted("tool_use", "a", "f"), BlockEnded()),
            *(BlockStarted("tool_use", "b", "g"), InputDelta(""), BlockEnded()),
            *(BlockStarted("tool_use", "c", "h"), InputDelta('{"a"'), InputDelta(":1}"), BlockEnded()),
            reason="tool_use",
        )
        self.assertEqual(answer.calls, [("a", "f", "{}"), ("b", "g", "{}"), ("c", "h", '{"a":1}')])

    def test_custom_tools(self) -> None:
        """A custom tool is called with the text itself, whatever the model made of the object."""
        for pieces, text in (
            (['{"inp', 'ut":"*** Begin\\nx"}'], "*** Begin\nx"),
            (['{"patch":"x"}'], '{"patch":"x"}'),
            (["*** Begin"], "*** Begin"),
        ):
            call: list[Event] = [
                BlockStarted("tool_use", "c", "patch"),
                *map(InputDelta, pieces),
                BlockEnded(),
            ]
            answer = told(*call, reason="tool_use")
            self.assertEqual(answer.calls, [("c", "patch", text)])
            (item,) = last(answer)["output"]
            self.assertEqual(item["type"], "custom_tool_call")
            self.assertEqual(item["id"], "ctc_1_0")
            self.assertIn("custom_tool_call_input.delta", names(answer))

    def test_namespaces(self) -> None:
        """A tool of a namespace is called by its own name, and the namespace beside it."""
        answer = told(
            *(BlockStarted("tool_use", "a", "agents__wait"), BlockEnded()),
            *(BlockStarted("tool_use", "b", "agents__run"), InputDelta('{"input":"x"}'), BlockEnded()),
            reason="tool_use",
        )
        shown = [(item["type"], item["namespace"], item["name"]) for item in last(answer)["output"]]
        self.assertEqual(shown, [("function_call", "agents", "wait"), ("custom_tool_call", "agents", "run")])

    def test_ends(self) -> None:
        """Each of Claude's stop reasons has its end; one that is new is a plain one."""
        for reason, word in (
            *(("end_turn", "completed"), ("stop_sequence", "completed"), ("brand_new", "completed")),
            *(("max_tokens", "max_output_tokens"), ("refusal", "content_filter")),
            ("model_context_window_exceeded", "max_output_tokens"),
        ):
            self.assertEqual(told(*TEXT, reason=reason).stop, word)

    def test_cut_short(self) -> None:
        """The item in which the tokens ran out is incomplete, and no other is."""
        statuses = [item["status"] for item in last(told(*CALL, *TEXT, reason="max_tokens"))["output"]]
        self.assertEqual(statuses, ["completed", "incomplete"])
        refused = last(told(*TEXT, reason="refusal"))["output"]
        self.assertEqual(refused[0]["status"], "completed")

    def test_whole_items_come_late(self) -> None:
        """A call is not told whole before it is known that it was not cut short."""
        one = writer()
        self.assertNotIn(b"output_item.done", one.write([Started("1", "m"), *CALL]))
        self.assertIn(b"output_item.done", one.write([BlockStarted("text")]))

    def test_usage_not_told(self) -> None:
        """Usage is sent even if the provider told none."""
        answer = told(BlockStarted("text"), TextDelta("x" * 40), BlockEnded())
        assert answer.usage is not None
        self.assertEqual(answer.usage["output_tokens"], 10)
        self.assertGreater(answer.usage["input_tokens"], 0)

    def test_size(self) -> None:
        """Text, thinking and input are counted, as they stand in the JSON; nothing else is."""
        one = writer()
        one.write([Started("1", "m"), BlockStarted("thinking"), ThinkingDelta("ab"), SignatureDelta("x" * 9)])
        one.write([BlockEnded(), BlockStarted("text"), TextDelta("数"), TextDelta('"'), BlockEnded(), *CALL])
        self.assertEqual(one.size, 2 + 3 + 2 + len(r"{\"city\":\"Paris\"}"))


class Repeated(unittest.TestCase):
    """What a response repeats of the request."""

    def test_as_it_was_asked(self) -> None:
        """The fields of the request stand in the response as they came, in one line."""
        raw = (
            b'{\n  "model": "m", "input": "x", "instructions": "a\xe2\x80\xa8b", "temperature": 0.50,\n'
            b'  "tools": [ {"type": "function", "name": "f", "parameters": {}, "strict": true} ],\n'
            b'  "metadata": {"k": "v"}, "reasoning": {"effort": "low"}, "store": true, "top_p": null\n}'
        )
        response = last(check_responses(writer(raw=raw).write([Started("1", "m"), Finished("end_turn")])))
        self.assertEqual(response["instructions"], "a\u2028b")
        self.assertEqual(response["tools"][0]["name"], "f")
        self.assertEqual(response["metadata"], {"k": "v"})
        self.assertEqual(response["reasoning"], {"effort": "low"})
        self.assertEqual((response["temperature"], response["top_p"]), (0.5, None))
        self.assertIs(response["store"], False)  # nobody here stores it

    def test_of_another_dialect(self) -> None:
        """Of a body in another dialect nothing is repeated."""
        one = ResponsesWriter(ask("openai", raw=b'{"tools":[1]}', answer="responses"), "req_1", 0)
        answer = check_responses(one.write([Started("", ""), Finished("end_turn")]))
        self.assertEqual(last(answer)["tools"], [])
        self.assertEqual(last(answer)["id"], "resp_req_1")


class Hostile(unittest.TestCase):
    def test_text_of_every_kind(self) -> None:
        """No text, name or id can end its line or its string; each reads back as it was."""
        answer = told(
            *(BlockStarted("text"), TextDelta(HOSTILE), BlockEnded()),
            *(BlockStarted("thinking"), ThinkingDelta(HOSTILE), SignatureDelta("x"), BlockEnded()),
            *(BlockStarted("tool_use", HOSTILE, HOSTILE), InputDelta(HOSTILE), BlockEnded()),
            reason="tool_use",
        )
        text = hostile(HOSTILE)
        self.assertEqual(answer.calls, [(text, text, text)])
        self.assertEqual((answer.text, answer.thinking), (text, text))

    @settings(deadline=None, max_examples=300)
    @given(answers())
    def test_any_answer(self, events: list[Event]) -> None:
        """Any answer that the events' grammar allows is a stream that OpenAI's allows."""
        answer = check_responses(writer().write(events))
        texts = [event.text for event in events if isinstance(event, TextDelta)]
        thoughts = [event.text for event in events if isinstance(event, ThinkingDelta)]
        if isinstance(events[-1], Finished):
            self.assertEqual(answer.text, "".join(map(hostile, texts)))
            self.assertEqual(answer.thinking, "".join(map(hostile, thoughts)))
        self.assertEqual(answer.error is None, isinstance(events[-1], Finished))

    @settings(deadline=None, max_examples=100)
    @given(answers().filter(lambda events: isinstance(events[-1], Finished)))
    def test_reads_back(self, events: list[Event]) -> None:
        """The reader of such streams finds in it what went into it, blocks joined that were parted."""
        reader = ResponsesReader(lambda body: UpstreamGarbled("an error"))
        data = writer().write(events)
        found = [event for frame in SSEDecoder().feed(data) for event in reader.feed(frame)]
        self.assertEqual(joined(reply_of(found)), joined(reply_of(events)))


def joined(reply: ChatReply) -> list[object]:
    """What a reply says, whatever its blocks: neighbouring texts are one, and no text is none."""
    said: list[Any] = []
    for block in reply.content:
        match block:
            case TextBlock(text):
                if said and isinstance(said[-1], str):
                    said[-1] += hostile(text)
                else:
                    said.append(hostile(text))
            case ThinkingBlock(text, signature):
                clean = hostile(signature) == signature if signature else True
                if text or signature:
                    said.append((hostile(text), signature if clean else None))
            case RedactedThinkingBlock(data):
                if hostile(data) == data:
                    said.append({"redacted": data})
            case ToolUseBlock(id, name, input):
                said.append((hostile(id), hostile(name), hostile(input)))
    return said


class KeepAlive(unittest.TestCase):
    def test_always_a_comment(self) -> None:
        """A comment means nothing anywhere in a stream."""
        one = writer()
        data = b"".join(one.keep_alive() + one.write([event]) for event in Stream.EVENTS)
        self.assertEqual(check_responses(data).comments, len(Stream.EVENTS))


class Errors(unittest.TestCase):
    def failed(self, error: GatewayError) -> dict[str, Any]:
        """The error in the failed response."""
        answer = check_responses(writer().fail(error))
        found: dict[str, Any] = last(answer)["error"]
        return found

    def test_in_mid_answer(self) -> None:
        """An error is an event of that name and a failed response, which holds what was whole."""
        data = writer().write([Started("1", "m"), *TEXT, *CALL[:2], Failed(UpstreamTruncated("it was cut"))])
        answer = check_responses(data)
        self.assertEqual(names(answer)[-2:], ["error", "failed"])
        self.assertEqual(
            answer.chunks[-2]["error"],
            {"message": "it was cut", "type": "server_error", "param": None, "code": None},
        )
        self.assertEqual([item["type"] for item in last(answer)["output"]], ["message"])
        self.assertIsNone(answer.stop)

    def test_before_the_answer(self) -> None:
        """With nothing told the response is created first, to fail."""
        answer = check_responses(writer().fail(Stopping("later")))
        self.assertEqual(names(answer), ["created", "error", "failed"])

    def test_codes(self) -> None:
        """The failed response's code says whether to ask again; a client knows these."""
        for error, code in (
            (UpstreamBusy("", overloaded=True), "server_error"),
            (UpstreamBusy(""), "rate_limit_exceeded"),
            (AccountExhausted("", status=402), "insufficient_quota"),
            (UpstreamRefused("", code="context_length_exceeded"), "context_length_exceeded"),
            (UpstreamRefused("", code="something"), "invalid_prompt"),
            (Stopping(""), "server_error"),
            (UpstreamTruncated(""), "server_error"),
        ):
            with self.subTest(code):
                data = writer().fail(error).decode()
                self.assertIn(f'"error":{{"code":"{code}"', data)

    def test_when_to_try_again(self) -> None:
        """A short wait stands in the message, in the words that Codex reads; a long one is told anyway."""
        busy = self.failed(UpstreamBusy("slow down.", retry_after=2.5))
        self.assertEqual(busy["message"], "slow down. Please try again in 3s.")
        self.assertEqual(self.failed(UpstreamBusy("Try again in 2s", retry_after=2.0))["message"][-2:], "2s")
        self.assertIn("0h10m00s", self.failed(UpstreamBusy("full", retry_after=600.0))["message"])

    def test_hostile_messages(self) -> None:
        """A provider's message cannot end its line, nor forge an event."""
        message = "\r\n\r\nevent: response.completed\n\n\u2028\u0085\0"
        self.assertEqual(self.failed(UpstreamTruncated(message))["message"], message)

    def test_go_on_with_a_stream_that_passed(self) -> None:
        """The failure of a stream that another wrote goes on with its id and its numbers."""
        one = writer()
        one.take_over("resp_theirs", 7, [b'{"type":"web_search_call"}'])
        error, failed = [
            json.loads(frame.data) for frame in SSEDecoder().feed(one.fail(UpstreamTruncated("x")))
        ]
        self.assertEqual((error["sequence_number"], failed["sequence_number"]), (7, 8))
        self.assertEqual(failed["response"]["id"], "resp_theirs")
        self.assertEqual(failed["response"]["output"], [{"type": "web_search_call"}])


# ------------------------------------------------------------------ whole answers

REPLY = ChatReply(
    id="msg_1",
    model="claude",
    content=(
        ThinkingBlock("hm", "sig"),
        RedactedThinkingBlock("b3BhcXVl"),
        TextBlock("Hel"),
        TextBlock("lo"),
        ThinkingBlock("", None),
        ToolUseBlock("call_1", "get_weather", '{"a":1}'),
        ThinkingBlock("", "c2ln"),
        ToolUseBlock("call_2", "agents__run", '{"input":"x"}'),
        ToolUseBlock("call_3", "g", ""),
    ),
    stop_reason="tool_use",
    usage=Usage(9, 30, 4, 1, 7),
)


def render(reply: ChatReply, **fields: Any) -> dict[str, Any]:
    chat = ask("responses", tools=TOOLS, **fields)
    value: dict[str, Any] = strict_json(render_reply(reply, chat, "req_1", 1700000000).decode())
    Response.model_validate(value)
    return value


class Whole(unittest.TestCase):
    maxDiff = None

    def test_same_as_the_stream(self) -> None:
        """A whole answer is what the last event of its stream holds, to the byte."""
        for reason in ("tool_use", "max_tokens", "refusal"):
            reply = ChatReply(
                id="msg_1", model="claude", content=REPLY.content, stop_reason=reason, usage=REPLY.usage
            )
            answer = check_responses(writer().write(events_of(reply)))
            self.assertEqual(render(reply), last(answer))

    def test_empty(self) -> None:
        """An answer that says nothing is a response without items."""
        reply = ChatReply(id="", model="", content=(), stop_reason="max_tokens")
        value = render(reply)
        self.assertEqual((value["id"], value["output"], value["status"]), ("resp_req_1", [], "incomplete"))
        self.assertEqual(value["incomplete_details"], {"reason": "max_output_tokens"})
        self.assertGreater(value["usage"]["input_tokens"], 0)


class OfficialTypes(unittest.TestCase):
    @settings(deadline=None, max_examples=50)
    @given(answers().filter(lambda events: isinstance(events[-1], Finished)))
    def test_events_are_the_sdks(self, events: list[Event]) -> None:
        """Each event of a stream is one that OpenAI's SDK has a type for, no field beside it."""
        for chunk in check_responses(writer().write(events)).chunks:
            known = EVENT.validate_python(chunk)
            self.assertFalse(known.model_extra)
            if "response" not in chunk and "item" not in chunk:
                self.assertEqual(known.model_dump(exclude_unset=True), chunk)
