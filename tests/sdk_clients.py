"""The four official SDKs, each asked the same things: what it was told, in common words.

One function for each SDK, streamed or whole, through its own parsers and typed objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
from google import genai
from google.genai import types
from openai.lib.streaming.chat import ChatCompletionStreamState

KEY = "unused"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}


@dataclass(frozen=True)
class Ask:
    """One thing to ask: ``said`` are the user's and the model's texts in turn; ``result`` answers
    the tool's call, which is then made again in the history."""

    said: tuple[str, ...] = ("Count to 5",)
    system: str = ""
    tool: bool = False
    result: str = ""
    max_tokens: int = 1000


@dataclass
class Told:
    """What came back. ``stop``: end, tool or length."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    stop: str = ""
    output_tokens: int = 0


def ask_claude(base: str, model: str, ask: Ask, *, stream: bool) -> Told:
    """By the Anthropic SDK."""
    messages: list[Any] = [
        {"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(ask.said)
    ]
    if ask.result:
        call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo", "days": 2}}
        messages.append({"role": "assistant", "content": [call]})
        answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": ask.result}
        messages.append({"role": "user", "content": [answer]})
    given: dict[str, Any] = {"model": model, "max_tokens": ask.max_tokens, "messages": messages}
    if ask.system:
        given["system"] = ask.system
    if ask.tool or ask.result:
        given["tools"] = [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}]
    with anthropic.Anthropic(base_url=base, api_key=KEY, max_retries=0) as client:
        if stream:
            with client.messages.stream(**given) as answers:
                message = answers.get_final_message()
        else:
            message = client.messages.create(**given)
    stops = {"end_turn": "end", "tool_use": "tool", "max_tokens": "length"}
    return Told(
        "".join(block.text for block in message.content if block.type == "text"),
        [(block.name, block.input) for block in message.content if block.type == "tool_use"],
        stops[str(message.stop_reason)],
        message.usage.output_tokens,
    )


def ask_openai(base: str, model: str, ask: Ask, *, stream: bool) -> Told:
    """By the OpenAI SDK's chat completions."""
    messages: list[Any] = [{"role": "system", "content": ask.system}] if ask.system else []
    messages += [
        {"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(ask.said)
    ]
    if ask.result:
        function = {"name": "weather", "arguments": '{"city":"Oslo","days":2}'}
        call = {"id": "call_1", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": "call_1", "content": ask.result})
    given: dict[str, Any] = {"model": model, "max_tokens": ask.max_tokens, "messages": messages}
    if ask.tool or ask.result:
        given["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    with openai.OpenAI(base_url=base, api_key=KEY, max_retries=0) as client:
        if stream:
            state = ChatCompletionStreamState()
            options: Any = {"include_usage": True}
            for chunk in client.chat.completions.create(**given, stream=True, stream_options=options):
                state.handle_chunk(chunk)
            answer: Any = state.current_completion_snapshot
        else:
            answer = client.chat.completions.create(**given)
    (choice,) = answer.choices
    stops = {"stop": "end", "tool_calls": "tool", "length": "length"}
    calls = choice.message.tool_calls or []
    return Told(
        choice.message.content or "",
        [(call.function.name, json.loads(call.function.arguments)) for call in calls],
        stops[choice.finish_reason],
        answer.usage.completion_tokens,
    )


def ask_responses(base: str, model: str, ask: Ask, *, stream: bool) -> Told:
    """By the OpenAI SDK's responses."""
    items: list[Any] = [
        {"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(ask.said)
    ]
    if ask.result:
        call = {"type": "function_call", "call_id": "call_1", "name": "weather"}
        items.append(call | {"arguments": '{"city":"Oslo","days":2}'})
        items.append({"type": "function_call_output", "call_id": "call_1", "output": ask.result})
    given: dict[str, Any] = {"model": model, "max_output_tokens": ask.max_tokens, "input": items}
    if ask.system:
        given["instructions"] = ask.system
    if ask.tool or ask.result:
        given["tools"] = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
    with openai.OpenAI(base_url=base, api_key=KEY, max_retries=0) as client:
        if stream:
            with client.responses.stream(**given) as answers:
                answer: Any = None
                for event in answers:
                    if event.type in ("response.completed", "response.incomplete"):
                        answer = event.response
        else:
            answer = client.responses.create(**given)
    calls = [item for item in answer.output if item.type == "function_call"]
    if answer.status == "incomplete":
        stop = {"max_output_tokens": "length"}[answer.incomplete_details.reason]
    else:
        stop = "tool" if calls else "end"
    return Told(
        answer.output_text,
        [(call.name, json.loads(call.arguments)) for call in calls],
        stop,
        answer.usage.output_tokens,
    )


def ask_gemini(base: str, model: str, ask: Ask, *, stream: bool) -> Told:
    """By the google-genai SDK."""
    contents: list[Any] = [
        types.Content(role="model" if index % 2 else "user", parts=[types.Part(text=text)])
        for index, text in enumerate(ask.said)
    ]
    if ask.result:
        call = types.FunctionCall(id="call_1", name="weather", args={"city": "Oslo", "days": 2})
        result = types.FunctionResponse(id="call_1", name="weather", response={"output": ask.result})
        # As Gemini's own clients do for a call that came without a signature.
        signed = types.Part(function_call=call, thought_signature=b"skip_thought_signature_validator")
        contents.append(types.Content(role="model", parts=[signed]))
        contents.append(types.Content(role="user", parts=[types.Part(function_response=result)]))
    declaration = types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(
        max_output_tokens=ask.max_tokens,
        system_instruction=ask.system or None,
        tools=[types.Tool(function_declarations=[declaration])] if ask.tool or ask.result else None,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    options = types.HttpOptions(base_url=base)
    with genai.Client(api_key=KEY, http_options=options) as client:
        given: dict[str, Any] = {"model": model, "contents": contents, "config": config}
        if stream:
            answers = list(client.models.generate_content_stream(**given))
        else:
            answers = [client.models.generate_content(**given)]
    told = Told()
    for answer in answers:
        for candidate in answer.candidates or ():
            for part in (candidate.content and candidate.content.parts) or ():
                if part.function_call:
                    told.calls.append((str(part.function_call.name), part.function_call.args))
                elif part.text and not part.thought:
                    told.text += part.text
            if candidate.finish_reason:
                told.stop = {"STOP": "end", "MAX_TOKENS": "length"}[candidate.finish_reason.value]
        if answer.usage_metadata:
            usage = answer.usage_metadata
            told.output_tokens = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    if told.calls and told.stop == "end":
        told.stop = "tool"
    return told


CLIENTS: dict[str, tuple[Callable[..., Told], str]] = {
    "claude": (ask_claude, ""),
    "openai": (ask_openai, "/openai/v1"),
    "responses": (ask_responses, "/v1"),
    "gemini": (ask_gemini, ""),
}
"""How each SDK asks, and what the gateway's address ends in for it."""
