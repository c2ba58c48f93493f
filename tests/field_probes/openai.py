"""Probes for OpenAI Chat Completions. See `tests.field_probes.observed` for what the tables mean."""

from __future__ import annotations

from typing import Any

from .samples import (
    CLOSED_SCHEMA,
    GEMINI_SIGNATURE,
    OTHER_CLOSED_SCHEMA,
    OTHER_PDF,
    OTHER_PNG,
    OTHER_SCHEMA,
    PDF,
    PNG,
    SCHEMA,
    WAV,
)

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
CUSTOM: dict[str, Any] = {"type": "custom", "custom": {"name": "patch"}}
ASKED = {"role": "user", "content": [{"type": "text", "text": "Will it rain?"}]}
BRIEF = [{"type": "text", "text": "Be brief."}]
CACHED = {"mode": "explicit", "ttl": "1h"}

BASE: dict[str, Any] = {"model": "the-model", "messages": [ASKED], "tools": [TOOL]}


def _with(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*parts, *ASKED["content"]]}]}


def _first(role: str, **message: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": BRIEF, **message}, ASKED]}


def _said(**message: Any) -> dict[str, Any]:
    hello = {"role": "user", "content": "Hello"}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "Hello to you"}], **message}
    return {"messages": [hello, answer, ASKED]}


def _called(call: dict[str, Any], result: object, id: str = "call_1") -> dict[str, Any]:
    return {
        "tools": [TOOL if call["type"] == "function" else CUSTOM],
        "messages": [
            ASKED,
            {"role": "assistant", "content": None, "tool_calls": [{"id": id, **call}]},
            {"role": "tool", "tool_call_id": id, "content": result},
        ],
    }


def _called_function(call: dict[str, Any], **result: Any) -> dict[str, Any]:
    return {
        "messages": [
            ASKED,
            {"role": "assistant", "content": None, "function_call": call},
            {"role": "function", "name": "weather", "content": "Yes", **result},
        ],
    }


_FUNCTION_CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
_CUSTOM_CALL = {"type": "custom", "custom": {"name": "patch", "input": "+ umbrella"}}
_LEGACY_CALL = {"name": "weather", "arguments": '{"city": "Oslo"}'}
_TEXT_RESULT = [{"type": "text", "text": "Maybe"}]
_GRAMMAR = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[a-z]+"}}
_TWO_TOOLS = {"tools": [TOOL, {"type": "function", "function": {"name": "tides", "parameters": SCHEMA}}]}
_CUSTOM_TOOLS = {"tools": [TOOL, CUSTOM]}
_USER = "messages[user].content"
_CALL = "messages[assistant].tool_calls[function]"
_CUSTOM = "messages[assistant].tool_calls[custom]"
_NAMED_SCHEMA = {"name": "answer", "schema": CLOSED_SCHEMA}

CONTEXTS: dict[str, Any] = {
    "messages[developer]": _first("developer"),
    "messages[system]": _first("system"),
    "messages[system].content[text]": _first(
        "system", content=[*BRIEF, {"type": "text", "text": "Be kind."}]
    ),
    f"{_USER}[text]": _with({"type": "text", "text": "Hello."}),
    f"{_USER}[image_url]": _with(
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ),
    f"{_USER}[input_audio]": _with({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}),
    f"{_USER}[file]": _with(
        {
            "type": "file",
            "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "almanac.pdf"},
        },
    ),
    f"{_USER}[file].file.file_id": _with({"type": "file", "file": {"file_id": "file-1"}}),
    "messages[assistant]": _said(),
    "messages[assistant].content[text]": _said(content=[{"type": "text", "text": "Good day"}]),
    "messages[assistant].content[refusal]": _said(content=[{"type": "refusal", "refusal": "I will not."}]),
    "messages[assistant].function_call": _called_function(_LEGACY_CALL),
    "messages[assistant].function_call.name": (
        {
            "messages": [
                ASKED,
                {
                    "role": "assistant",
                    "content": None,
                    "function_call": {"name": "tides", "arguments": '{"city": "Oslo"}'},
                },
                {"role": "function", "name": "tides", "content": "Yes"},
            ],
        },
        _called_function(_LEGACY_CALL),
    ),
    _CALL: _called(_FUNCTION_CALL, "Yes"),
    f"{_CALL}.id": _called(_FUNCTION_CALL, "Yes", id="call_2"),
    _CUSTOM: _called(_CUSTOM_CALL, "Yes"),
    f"{_CUSTOM}.id": _called(_CUSTOM_CALL, "Yes", id="call_2"),
    "messages[tool]": _called(_FUNCTION_CALL, "Yes"),
    "messages[tool].tool_call_id": _called(_FUNCTION_CALL, "Yes", id="call_2"),
    "messages[tool].content[text]": _called(_FUNCTION_CALL, _TEXT_RESULT),
    "messages[function]": _called_function(_LEGACY_CALL),
    "messages[function].name": (
        {
            "messages": [
                ASKED,
                {"role": "assistant", "content": None, "function_call": {**_LEGACY_CALL, "name": "tides"}},
                {"role": "function", "name": "tides", "content": "Yes"},
            ]
        },
        _called_function(_LEGACY_CALL),
    ),
    "functions": (
        {"tools": None, "functions": [{"name": "weather", "parameters": SCHEMA}]},
        {"tools": None},
    ),
    "function_call": {
        "tools": None,
        "functions": [{"name": "weather", "parameters": SCHEMA}, {"name": "tides", "parameters": SCHEMA}],
        "function_call": {"name": "weather"},
    },
    "audio": {"audio": {"format": "mp3", "voice": {"id": "voice_1"}}},
    "logprobs": {"logprobs": True},
    "top_logprobs": ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True}),
    "prediction[content].content[text]": {
        "prediction": {"type": "content", "content": [{"type": "text", "text": "It will rain."}]}
    },
    "response_format[text]": {"response_format": {"type": "text"}},
    # Beside tools, some models take none.
    "response_format[json_object]": (
        {"tools": None, "response_format": {"type": "json_object"}},
        {"tools": None},
    ),
    "response_format[json_schema]": (
        {"tools": None, "response_format": {"type": "json_schema", "json_schema": _NAMED_SCHEMA}},
        {"tools": None},
    ),
    "stream_options.include_usage": (
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True},
    ),
    "stream_options.include_obfuscation": (
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"stream": True},
    ),
    "tools[custom]": _CUSTOM_TOOLS,
    "tools[custom].custom.format[text]": (
        {"tools": [TOOL, {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}}]},
        _CUSTOM_TOOLS,
    ),
    "tools[custom].custom.format[grammar]": (
        {"tools": [TOOL, {"type": "custom", "custom": {"name": "patch", "format": _GRAMMAR}}]},
        _CUSTOM_TOOLS,
    ),
    "tool_choice[function]": (
        {**_TWO_TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        _TWO_TOOLS,
    ),
    "tool_choice[custom]": (
        {**_CUSTOM_TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "patch"}}},
        _CUSTOM_TOOLS,
    ),
    "tool_choice[custom].custom.name": (
        {
            "tools": [TOOL, CUSTOM, {"type": "custom", "custom": {"name": "note"}}],
            "tool_choice": {"type": "custom", "custom": {"name": "note"}},
        },
        {
            "tools": [TOOL, CUSTOM, {"type": "custom", "custom": {"name": "note"}}],
            "tool_choice": {"type": "custom", "custom": {"name": "patch"}},
        },
    ),
    "tool_choice[allowed_tools]": (
        {
            **_TWO_TOOLS,
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
        },
        _TWO_TOOLS,
    ),
    "web_search_options": {"web_search_options": {"search_context_size": "low"}},
    "moderation": {"moderation": {"model": "omni-moderation-latest"}},
}

WHOLE: tuple[str, ...] = ("web_search_options", "moderation", "audio", "prediction[content].content[text]")

FIELDS: dict[str, Any] = {
    "model": "another-model",
    "stream": True,
    "max_tokens": 4000,
    "max_completion_tokens": 4000,
    "stop": ["END"],
    "temperature": 0.3,
    "top_p": 0.9,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "seed": 7,
    "n": 2,
    "logit_bias": {"1734": -100},
    "metadata": {"team": "weather"},
    "modalities": ["text", "audio"],
    "parallel_tool_calls": False,
    "prompt_cache_key": "conversation-7",
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
    "prompt_cache_options.mode": "explicit",
    "prompt_cache_options.ttl": "30m",
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "safety_identifier": "user-7",
    "service_tier": "flex",
    "store": True,
    "user": "user-7",
    "verbosity": "low",
    "tool_choice": "required",
    "tool_choice[function].function.name": "tides",
    "tool_choice[allowed_tools].allowed_tools.mode": "required",
    "tool_choice[allowed_tools].allowed_tools.tools": [{"type": "function", "function": {"name": "tides"}}],
    "tools[function].function.name": "forecast",
    "tools[function].function.description": "Tells the weather",
    "tools[function].function.parameters": OTHER_SCHEMA,
    "tools[function].function.strict": True,
    "tools[custom].custom.name": "edit",
    "tools[custom].custom.description": "Edits a file",
    "tools[custom].custom.format[grammar].grammar.definition": "[0-9]+",
    "tools[custom].custom.format[grammar].grammar.syntax": "lark",
    "functions[].name": "forecast",
    "functions[].description": "Tells the weather",
    "functions[].parameters": OTHER_SCHEMA,
    "function_call.name": "tides",
    "response_format[json_schema].json_schema.name": "forecast",
    "response_format[json_schema].json_schema.description": "What the weather will be",
    "response_format[json_schema].json_schema.schema": OTHER_CLOSED_SCHEMA,
    "response_format[json_schema].json_schema.strict": True,
    "messages[developer].content[text].text": "Be long.",
    "messages[developer].content[text].prompt_cache_breakpoint": CACHED,
    "messages[developer].content[text].prompt_cache_breakpoint.mode": "explicit",
    "messages[developer].content[text].prompt_cache_breakpoint.ttl": "1h",
    "messages[developer].name": "chief",
    "messages[system].name": "chief",
    f"{_USER}[text].text": "Good evening.",
    f"{_USER}[text].prompt_cache_breakpoint": CACHED,
    f"{_USER}[image_url].image_url.url": f"data:image/png;base64,{OTHER_PNG}",
    f"{_USER}[image_url].image_url.detail": "low",
    f"{_USER}[image_url].prompt_cache_breakpoint.mode": "explicit",
    f"{_USER}[image_url].prompt_cache_breakpoint.ttl": "1h",
    f"{_USER}[input_audio].input_audio.data": WAV + "AAAA",
    f"{_USER}[input_audio].input_audio.format": "mp3",
    f"{_USER}[input_audio].prompt_cache_breakpoint.mode": "explicit",
    f"{_USER}[input_audio].prompt_cache_breakpoint.ttl": "1h",
    f"{_USER}[file].file.file_data": f"data:application/pdf;base64,{OTHER_PDF}",
    f"{_USER}[file].file.filename": "weather.pdf",
    f"{_USER}[file].prompt_cache_breakpoint.mode": "explicit",
    f"{_USER}[file].prompt_cache_breakpoint.ttl": "1h",
    "messages[user].name": "Anna",
    "messages[assistant].name": "Bot",
    "messages[assistant].refusal": "I will not.",
    "messages[assistant].audio.id": "audio_1",
    "messages[assistant].content[refusal].refusal": "I cannot.",
    "messages[assistant].function_call.arguments": '{"city": "Bergen"}',
    f"{_CALL}.function.name": "forecast",
    f"{_CALL}.function.arguments": '{"city": "Bergen"}',
    f"{_CUSTOM}.custom.name": "edit",
    f"{_CUSTOM}.custom.input": "+ boots",
    "messages[tool].content": "No",
    "messages[function].content": "No",
    "messages[assistant].reasoning_content": "Greet.",
    f"{_CALL}.extra_content.google.thought_signature": GEMINI_SIGNATURE,
    f"{_USER}[text].cache_control": {"type": "ephemeral"},
    f"{_USER}[image_url].cache_control": {"type": "ephemeral"},
    "tools[function].cache_control": {"type": "ephemeral"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "top_k": 40,
}

# No word is needed where the target does so anyway.
UNSAID = {
    "response_format[json_schema].json_schema.name": "a label, which only OpenAI asks for",
    "response_format[json_schema].json_schema.strict": "the provider enforces every schema",
    f"{_CALL}.extra_content.google.thought_signature": "only who made it can read it",
    "response_format[text]": "an answer is text unless something else is asked for",
}

# Not in the SDK's own records, and sent by clients all the same; or told there of another role.
BEYOND: tuple[str, ...] = (
    f"{_USER}[text].text",
    f"{_USER}[text].prompt_cache_breakpoint",
    "messages[assistant].reasoning_content",
    f"{_CALL}.extra_content.google.thought_signature",
    f"{_USER}[text].cache_control",
    f"{_USER}[image_url].cache_control",
    "tools[function].cache_control",
    "thinking",
    "top_k",
)
