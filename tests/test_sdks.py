"""The official SDKs against a running gateway: their own parsers accept what it sends, and
raise their own exceptions for its errors.

Functions for pytest, which trial passes over: the SDKs block, so the gateway is a process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import anthropic
import openai
import pytest

from .gateway_process import Process, endpoint, serving

MODELS = ["gpt-4", "glm-4.7", "gemini-3-flash"]
COUNT: list[Any] = [{"role": "user", "content": "Count to 5"}]
USE_TOOL: list[Any] = [{"role": "user", "content": "What is the weather? Use the tool."}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
OPENAI_TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
CLAUDE_TOOLS: list[Any] = [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}]
ARGUMENTS = {"city": "sample city", "days": 1}


def openai_client(process: Process) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://localhost:{process.port}/v1", api_key="unused", max_retries=0)


def anthropic_client(process: Process) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"http://localhost:{process.port}", api_key="unused", max_retries=0)


@pytest.fixture
def chat(demo: Process) -> Iterator[openai.OpenAI]:
    with openai_client(demo) as client:
        yield client


@pytest.fixture
def claude(demo: Process) -> Iterator[anthropic.Anthropic]:
    with anthropic_client(demo) as client:
        yield client


class Troubled(BaseHTTPRequestHandler):
    """A provider in trouble: it is busy, or cuts its answer, as the model's name says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.close_connection = True
        if body["model"] == "busy":
            told = json.dumps({"error": {"message": "Slow down.", "type": "requests", "code": "busy"}})
            self.send_response(429)
            self.send_header("Retry-After", "7")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told.encode())
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        choice = {"index": 0, "delta": {"role": "assistant", "content": "Half an"}, "finish_reason": None}
        chunk = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
        }
        frame = f"data: {json.dumps(chunk)}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(frame), frame))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the gateway's log is the one that counts."""


@contextmanager
def troubled_provider() -> Iterator[int]:
    """The port of a `Troubled` provider."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Troubled) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway whose only provider is a `Troubled` one."""
    folder = tmp_path_factory.mktemp("troubled")
    with troubled_provider() as provider:
        (folder / "aigateway.toml").write_text(
            f"""\
[providers.house]
kind = "openai"
base_url = "http://127.0.0.1:{provider}"
accounts = [{{ api_key = "any" }}]
models = ["busy", "cut"]
"""
        )
        process = serving(
            lambda port: Process("aigateway", "--listen", endpoint(port), cwd=folder, port=port)
        )
        try:
            yield process
            assert process.stop() == 0
            assert "Traceback" not in process.log
        finally:
            process.kill()


# ------------------------------------------------------------------------- OpenAI's


@pytest.mark.parametrize("model", MODELS)
def test_openai_whole(chat: openai.OpenAI, model: str) -> None:
    """A whole answer has its text, finish reason and usage, whoever gives it."""
    answer = chat.chat.completions.create(model=model, messages=COUNT)
    assert answer.object == "chat.completion"
    assert answer.model == model
    [choice] = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("1, 2, 3, 4, 5", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_openai_stream(chat: openai.OpenAI, model: str) -> None:
    """A stream is chunks of one id, with the role first, and no usage unasked."""
    chunks = list(chat.chat.completions.create(model=model, messages=COUNT, stream=True))
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {model}
    choices = [chunk.choices[0] for chunk in chunks]
    assert [choice.delta.role for choice in choices] == ["assistant"] + [None] * (len(chunks) - 1)
    assert "".join(choice.delta.content or "" for choice in choices) == "1, 2, 3, 4, 5"
    assert [choice.finish_reason for choice in choices] == [None] * (len(chunks) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("model", MODELS)
def test_openai_usage(chat: openai.OpenAI, model: str) -> None:
    """``include_usage`` adds one last chunk, with the usage and without choices."""
    stream = chat.chat.completions.create(
        model=model, messages=COUNT, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = stream
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_openai_tools(chat: openai.OpenAI, model: str) -> None:
    """A streamed tool call, accumulated by the SDK, is whole; its result can be sent back."""
    with chat.chat.completions.stream(model=model, messages=USE_TOOL, tools=OPENAI_TOOLS) as stream:
        names = [event.name for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert names == ["weather"]
    [choice] = final.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    [call] = choice.message.tool_calls
    assert call.id
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == ARGUMENTS
    sent: list[Any] = [
        *USE_TOOL,
        choice.message.to_dict(),
        {"role": "tool", "tool_call_id": call.id, "content": "It rains."},
    ]
    answer = chat.chat.completions.create(model=model, messages=sent, tools=OPENAI_TOOLS)
    assert 'The tool answered: "It rains."' in (answer.choices[0].message.content or "")


def test_openai_async(demo: Process) -> None:
    """The asynchronous client streams several answers side by side."""

    async def count(client: openai.AsyncOpenAI, model: str) -> str:
        stream = await client.chat.completions.create(model=model, messages=COUNT, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def count_together() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=f"http://localhost:{demo.port}/v1", api_key="unused", max_retries=0
        ) as client:
            return await asyncio.gather(*(count(client, model) for model in MODELS))

    assert asyncio.run(count_together()) == ["1, 2, 3, 4, 5"] * len(MODELS)


def test_openai_models(chat: openai.OpenAI) -> None:
    """The list of models is one that the SDK reads."""
    assert set(MODELS) <= {model.id for model in chat.models.list()}


def test_openai_errors(chat: openai.OpenAI) -> None:
    """Each error is the SDK's own class for it, and says what to change."""
    create = chat.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="gpt-4o-mini") as unknown:
        create(model="nobody-serves-this", messages=COUNT)
    assert unknown.value.code == "model_not_found"
    assert unknown.value.request_id
    wrong: Any = "hot"
    with pytest.raises(openai.BadRequestError, match="temperature") as malformed:
        create(model="gpt-4", messages=COUNT, temperature=wrong)
    assert malformed.value.param == "temperature"
    with pytest.raises(openai.BadRequestError, match="messages"):
        create(model="gpt-4", messages=[])
    with pytest.raises(openai.NotFoundError, match="no such path"):
        chat.embeddings.create(model="gpt-4", input="x")


@pytest.mark.parametrize("stream", [False, True])
def test_openai_busy_provider(troubled: Process, stream: bool) -> None:
    """A provider's 429 is the SDK's `RateLimitError`, with the time to wait."""
    with openai_client(troubled) as client:
        with pytest.raises(openai.RateLimitError) as busy:
            client.chat.completions.create(model="busy", messages=COUNT, stream=stream)
        assert 1 <= int(busy.value.response.headers["Retry-After"]) <= 7


def test_openai_cut_stream(troubled: Process) -> None:
    """A stream that is cut at the provider ends in the SDK's error, not as if it were whole."""
    text = ""
    with openai_client(troubled) as client:
        stream = client.chat.completions.create(model="cut", messages=COUNT, stream=True)
        with pytest.raises(openai.APIError) as cut:  # noqa: PT012 the loop is what raises
            for chunk in stream:
                text += chunk.choices[0].delta.content or ""
    assert text == "Half an"
    assert type(cut.value) is openai.APIError


# ---------------------------------------------------------------------- Anthropic's


@pytest.mark.parametrize("model", MODELS)
def test_anthropic_whole(claude: anthropic.Anthropic, model: str) -> None:
    """A whole answer is a message with text, stop reason and usage."""
    message = claude.messages.create(model=model, messages=COUNT, max_tokens=100)
    assert (message.type, message.role, message.model) == ("message", "assistant", model)
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "1, 2, 3, 4, 5"}]
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_anthropic_stream(claude: anthropic.Anthropic, model: str) -> None:
    """A stream's text comes piece by piece, and the SDK accumulates the same message."""
    with claude.messages.stream(model=model, messages=COUNT, max_tokens=100) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert pieces == ["1", ", 2", ", 3", ", 4", ", 5"]
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_anthropic_max_tokens(claude: anthropic.Anthropic, model: str) -> None:
    """An answer that ``max_tokens`` cuts says so."""
    message = claude.messages.create(
        model=model, messages=[{"role": "user", "content": "Count to 900"}], max_tokens=3
    )
    assert message.stop_reason == "max_tokens"


@pytest.mark.parametrize("model", MODELS)
def test_anthropic_tools(claude: anthropic.Anthropic, model: str) -> None:
    """A streamed tool call has its input whole; its result can be sent back."""
    with claude.messages.stream(model=model, messages=USE_TOOL, max_tokens=500, tools=CLAUDE_TOOLS) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    call = final.content[-1]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("weather", ARGUMENTS)
    sent: list[Any] = [
        *USE_TOOL,
        {"role": "assistant", "content": [block.to_dict() for block in final.content]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "It rains."}],
        },
    ]
    answer = claude.messages.create(model=model, messages=sent, max_tokens=500, tools=CLAUDE_TOOLS)
    text = "".join(block.text for block in answer.content if block.type == "text")
    assert 'The tool answered: "It rains."' in text


@pytest.mark.parametrize("model", ["glm-4.7", "gemini-3-flash"])
def test_anthropic_thinking(claude: anthropic.Anthropic, model: str) -> None:
    """Thinking is a block of its own before the text, and can be sent back in the next turn."""
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    with claude.messages.stream(model=model, messages=COUNT, max_tokens=2000, thinking=thinking) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    thought, text = final.content
    assert thought.type == "thinking"
    assert "I am a simulator" in thought.thinking
    assert text.type == "text"
    assert text.text == "1, 2, 3, 4, 5"
    sent: list[Any] = [
        *COUNT,
        {"role": "assistant", "content": [block.to_dict() for block in final.content]},
        {"role": "user", "content": "Count to 3"},
    ]
    again = claude.messages.create(model=model, messages=sent, max_tokens=2000, thinking=thinking)
    assert again.content[-1].to_dict() == {"type": "text", "text": "1, 2, 3"}


def test_anthropic_async(demo: Process) -> None:
    """The asynchronous client streams several answers side by side."""

    async def count(client: anthropic.AsyncAnthropic, model: str) -> str:
        async with client.messages.stream(model=model, messages=COUNT, max_tokens=100) as stream:
            return "".join([piece async for piece in stream.text_stream])

    async def count_together() -> list[str]:
        async with anthropic.AsyncAnthropic(
            base_url=f"http://localhost:{demo.port}", api_key="unused", max_retries=0
        ) as client:
            return await asyncio.gather(*(count(client, model) for model in MODELS))

    assert asyncio.run(count_together()) == ["1, 2, 3, 4, 5"] * len(MODELS)


def test_anthropic_models(claude: anthropic.Anthropic) -> None:
    """The list of models is in Claude's form for a Claude client."""
    listed = list(claude.models.list())
    assert set(MODELS) <= {model.id for model in listed}
    assert {model.type for model in listed} == {"model"}


def test_anthropic_errors(claude: anthropic.Anthropic) -> None:
    """Each error is the SDK's own class for it, and says what to change."""
    create = claude.messages.create
    with pytest.raises(anthropic.NotFoundError, match="gpt-4o-mini") as unknown:
        create(model="nobody-serves-this", messages=COUNT, max_tokens=10)
    assert unknown.value.type == "not_found_error"
    assert unknown.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        create(model="gpt-4", messages=COUNT, max_tokens=10, extra_body={"temperature": "hot"})
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        create(model="gpt-4", messages=[], max_tokens=10)


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_busy_provider(troubled: Process, stream: bool) -> None:
    """A provider's 429 is the SDK's `RateLimitError`, with the time to wait."""
    with anthropic_client(troubled) as client:
        with pytest.raises(anthropic.RateLimitError) as busy:
            client.messages.create(model="busy", messages=COUNT, max_tokens=10, stream=stream)
        assert busy.value.type == "rate_limit_error"
        assert 1 <= int(busy.value.response.headers["Retry-After"]) <= 7


def test_anthropic_cut_stream(troubled: Process) -> None:
    """A stream that is cut at the provider ends in the SDK's error, not as if it were whole."""
    text = ""
    with (  # noqa: PT012 the loop is what raises
        anthropic_client(troubled) as client,
        pytest.raises(anthropic.APIError),
        client.messages.stream(model="cut", messages=COUNT, max_tokens=100) as stream,
    ):
        for piece in stream.text_stream:
            text += piece
    assert text == "Half an"
