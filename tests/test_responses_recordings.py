"""Every provider's recorded streams, as a Responses client with the official types sees them."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any

import httpx2
import openai
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from aigateway.check import check_responses
from aigateway.dialects.responses.sealed import Sealed, unseal
from aigateway.dialects.responses.writer import ResponsesWriter
from aigateway.errors import UpstreamBusy, UpstreamTruncated
from aigateway.events import BlockStarted, Event, Failed, Started, TextDelta
from aigateway.translate import Translator

from .recordings import answering, ask, kind_of, plainly, streams

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
RECORDED = streams("openai", "glm", "antigravity", "compat", "gemini", "anthropic")


def answer(path: Path) -> tuple[bytes, Translator]:
    """The recording at ``path`` as a client gets it, error and all."""
    chat = ask("responses", raw=b'{"model":"the-model"}')
    writer = ResponsesWriter(chat, "req_1", 1700000000)
    kind = kind_of(path)
    stream = Translator(answering(chat), kind.reader(), writer, kind.parse_reply)
    data = stream.feed(path.read_bytes()) + stream.end()
    return (data if stream.failure is None else data + writer.fail(stream.failure)), stream


def client(data: bytes) -> openai.OpenAI:
    """The official client, at a server that answers with ``data``."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)

    transport = httpx2.MockTransport(respond)
    return openai.OpenAI(
        api_key="k",
        base_url="http://gateway/v1",
        http_client=httpx2.Client(transport=transport),
        max_retries=0,
    )


class Recorded(unittest.TestCase):
    def test_types(self) -> None:
        """Each event is one that the SDK has a type for; an error has what the SDK raises on."""
        self.assertGreater(len(RECORDED), 150)
        for path in RECORDED:
            data, stream = answer(path)
            for chunk in check_responses(data).chunks:
                if chunk["type"] == "error":
                    self.assertIsNotNone(stream.failure)
                    self.assertTrue(chunk["error"]["message"], path.name)
                elif chunk["type"] != "response.failed":  # its codes are more than the types know
                    EVENT.validate_python(chunk)

    def test_signatures(self) -> None:
        """What a model signed reaches the client, sealed, in its order."""
        signed = 0
        for path in RECORDED:
            told = plainly(path)
            data, _ = answer(path)
            found = [unseal(content) or Sealed() for content in check_responses(data).signatures]
            signatures = [one.signature for one in found if one.signature]
            if told.failed:
                self.assertEqual(signatures, told.signatures[: len(signatures)], path.name)
            else:
                self.assertEqual(signatures, told.signatures, path.name)
            signed += len(signatures)
        self.assertGreater(signed, 20)


class OfficialClient(unittest.TestCase):
    """The official SDK reading such streams."""

    def test_final_response(self) -> None:
        """The SDK's own accumulation of a stream is the response at its end."""
        for path in RECORDED:
            told = plainly(path)
            if told.failed or told.stop not in ("end_turn", "tool_use", "stop_sequence", "pause_turn"):
                continue  # the SDK has no final response where the last event is another
            data, _ = answer(path)
            with client(data).responses.stream(model="m", input="x") as stream:
                final = stream.get_final_response()
            self.assertEqual(final.output_text, told.text, path.name)
            calls = [
                (item.name, json.loads(item.arguments))
                for item in final.output
                if item.type == "function_call"
            ]
            self.assertEqual(calls, told.calls, path.name)

    def test_cut_answers_raise(self) -> None:
        """An answer that fails raises, streamed either way; it never looks like a clean end."""
        events: list[Event] = [Started("1", "m"), BlockStarted("text"), TextDelta("Hi")]
        for error in (UpstreamTruncated("it was cut"), UpstreamBusy("slow down")):
            writer = ResponsesWriter(ask("responses"), "req_1", 1)
            data = writer.write([*events, Failed(error)])
            with self.assertRaisesRegex(openai.APIError, error.message):
                list(client(data).responses.create(model="m", input="x", stream=True))
            with (
                self.assertRaisesRegex(openai.APIError, error.message),
                client(data).responses.stream(model="m", input="x") as stream,
            ):
                stream.get_final_response()
