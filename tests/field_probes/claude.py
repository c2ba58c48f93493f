"""Probes for Anthropic Messages. See `tests.field_probes.observed` for what the tables mean."""

from __future__ import annotations

from typing import Any

from .samples import (
    CLAUDE_SIGNATURE,
    CLOSED_SCHEMA,
    OTHER_CLAUDE_SIGNATURE,
    OTHER_CLOSED_SCHEMA,
    OTHER_PDF,
    OTHER_PNG,
    OTHER_SCHEMA,
    PDF,
    PNG,
    SCHEMA,
)

TOOL = {"type": "custom", "name": "weather", "input_schema": SCHEMA}
HOUR = {"type": "ephemeral", "ttl": "1h"}
FIVE_MINUTES = {"type": "ephemeral"}

BASE: dict[str, Any] = {
    "model": "the-model",
    "max_tokens": 16000,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Will it rain?"}]}],
    "tools": [TOOL],
}


def _asked(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*blocks, {"type": "text", "text": "Will it rain?"}]}]}


def _said(*blocks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    hello = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
    answer = {"type": "text", "text": "Hello to you"}
    asked = {"role": "user", "content": [{"type": "text", "text": "Will it rain?"}]}
    return (
        {"messages": [hello, {"role": "assistant", "content": [*blocks, answer]}, asked]},
        {"messages": [hello, {"role": "assistant", "content": [answer]}, asked]},
    )


def _called(call: dict[str, Any], result: dict[str, Any], id: str = "toolu_1") -> dict[str, Any]:
    use = {"type": "tool_use", "id": id, "name": "weather", "input": {"city": "Oslo"}, **call}
    answer = {"type": "tool_result", "tool_use_id": id, **result}
    return {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Will it rain?"}]},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [answer]},
        ]
    }


def _result(*blocks: dict[str, Any]) -> dict[str, Any]:
    return _called({}, {"content": [{"type": "text", "text": "It says:"}, *blocks]})


def _source(type: str, **source: Any) -> dict[str, Any]:
    return {"source": {"type": type, **source}}


def _hosted(type: str) -> dict[str, Any]:
    return {"tools": [TOOL, {"type": type, "name": "hosted"}]}


_TEXT_DOCUMENT = {"type": "document", **_source("text", data="It rained.", media_type="text/plain")}
_IMAGE = {"type": "image", **_source("base64", data=PNG, media_type="image/png")}
_SEARCHED = {
    "type": "search_result",
    "source": "https://example.org/rain",
    "title": "Rain",
    "content": [{"type": "text", "text": "It rains."}],
}
_TEXT = "messages[].content[text]"
_USE = "messages[].content[tool_use]"
_RESULT = "messages[].content[tool_result]"
_DOCUMENT = "messages[].content[document]"

# Blocks that only Anthropic's own tools make, and what is in them.
_SERVER_BLOCKS: dict[str, dict[str, Any]] = {
    "server_tool_use": {"id": "srvtoolu_1", "name": "web_search", "input": {"query": "rain"}},
    "web_search_tool_result": {
        "tool_use_id": "srvtoolu_1",
        "content": [
            {
                "type": "web_search_result",
                "url": "https://example.org",
                "title": "R",
                "encrypted_content": "e",
            }
        ],
    },
    "web_fetch_tool_result": {
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "web_fetch_result", "url": "https://example.org", "content": _TEXT_DOCUMENT},
    },
    "code_execution_tool_result": {
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "code_execution_result",
            "stdout": "1",
            "stderr": "",
            "return_code": 0,
            "content": [],
        },
    },
    "bash_code_execution_tool_result": {
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "bash_code_execution_tool_result_error", "error_code": "unavailable"},
    },
    "text_editor_code_execution_tool_result": {
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "text_editor_code_execution_create_result", "is_file_update": True},
    },
    "tool_search_tool_result": {
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "tool_search_tool_search_result",
            "tool_references": [{"type": "tool_reference", "tool_name": "weather"}],
        },
    },
}
_SERVER_TOOLS = (
    "bash_20250124",
    "browser_toolset_20260801",
    "code_execution_20250522",
    "code_execution_20250825",
    "code_execution_20260120",
    "code_execution_20260521",
    "computer_toolset_20260801",
    "memory_20250818",
    "text_editor_20250124",
    "text_editor_20250429",
    "text_editor_20250728",
    "tool_search_tool_bm25_20251119",
    "tool_search_tool_regex_20251119",
    "web_fetch_20250910",
    "web_fetch_20260209",
    "web_fetch_20260309",
    "web_fetch_20260318",
    "web_search_20250305",
    "web_search_20260209",
    "web_search_20260318",
)
_CITATIONS: dict[str, dict[str, Any]] = {
    "char_location": {"document_index": 0, "start_char_index": 0, "end_char_index": 5},
    "page_location": {"document_index": 0, "start_page_number": 1, "end_page_number": 2},
    "content_block_location": {"document_index": 0, "start_block_index": 0, "end_block_index": 1},
    "web_search_result_location": {"url": "https://example.org", "title": "Rain", "encrypted_index": "e"},
    "search_result_location": {
        "source": "https://example.org",
        "title": "Rain",
        "search_result_index": 0,
        "start_block_index": 0,
        "end_block_index": 1,
    },
}

CONTEXTS: dict[str, Any] = {
    _TEXT: _asked({"type": "text", "text": "Hello."}),
    "messages[].content[image]": _asked(_IMAGE),
    "messages[].content[image].source[url]": _asked(
        {"type": "image", **_source("url", url="https://example.org/a.png")}
    ),
    "messages[].content[image].source[file]": _asked({"type": "image", **_source("file", file_id="file_1")}),
    _DOCUMENT: _asked(_TEXT_DOCUMENT),
    f"{_DOCUMENT}.source[base64]": _asked(
        {"type": "document", **_source("base64", data=PDF, media_type="application/pdf")}
    ),
    f"{_DOCUMENT}.source[url]": _asked(
        {"type": "document", **_source("url", url="https://example.org/a.pdf")}
    ),
    f"{_DOCUMENT}.source[file]": _asked({"type": "document", **_source("file", file_id="file_1")}),
    f"{_DOCUMENT}.source[content].content[text]": _asked(
        {"type": "document", **_source("content", content=[{"type": "text", "text": "It hailed."}])}
    ),
    f"{_DOCUMENT}.source[content].content[image]": _asked(
        {"type": "document", **_source("content", content=[_IMAGE])}
    ),
    "messages[].content[search_result]": _asked(_SEARCHED),
    "messages[].content[search_result].content[text]": _asked(
        {**_SEARCHED, "content": [{"type": "text", "text": "It snows."}]}
    ),
    "messages[].content[thinking]": _said(
        {"type": "thinking", "thinking": "Greet.", "signature": CLAUDE_SIGNATURE}
    ),
    "messages[].content[redacted_thinking]": _said({"type": "redacted_thinking", "data": CLAUDE_SIGNATURE}),
    "messages[].content[container_upload]": _asked({"type": "container_upload", "file_id": "file_1"}),
    _USE: _called({}, {"content": "Yes"}),
    f"{_USE}.id": _called({}, {"content": "Yes"}, id="toolu_2"),
    _RESULT: _called({}, {"content": "Yes"}),
    f"{_RESULT}.tool_use_id": _called({}, {"content": "Yes"}, id="toolu_2"),
    f"{_RESULT}.content[text]": _result(),
    f"{_RESULT}.content[image]": _result(_IMAGE),
    f"{_RESULT}.content[document]": _result(_TEXT_DOCUMENT),
    f"{_RESULT}.content[search_result]": _result(_SEARCHED),
    f"{_RESULT}.content[tool_reference]": _result({"type": "tool_reference", "tool_name": "weather"}),
    f"{_RESULT}.content[browser_state]": _result(
        {"type": "browser_state", "tabs": [{"tab_id": "1", "title": "Rain", "url": "https://example.org"}]}
    ),
    **{
        f"messages[].content[{type}]": _said({"type": type, **inside})
        for type, inside in _SERVER_BLOCKS.items()
    },
    **{
        f"{_TEXT}.citations[{type}]": _said(
            {
                "type": "text",
                "text": "It rains.",
                "citations": [{"type": type, "cited_text": "rains", **inside}],
            }
        )
        for type, inside in _CITATIONS.items()
    },
    "messages[].role": {
        "messages": [*BASE["messages"], {"role": "system", "content": "Answer in one word."}],
    },
    "system[text]": {"system": [{"type": "text", "text": "Be brief."}]},
    # Beside tools, some models take none.
    "output_config.format[json_schema]": (
        {"tools": None, "output_config": {"format": {"type": "json_schema", "schema": CLOSED_SCHEMA}}},
        {"tools": None},
    ),
    "thinking[enabled]": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    "thinking[adaptive]": {"thinking": {"type": "adaptive"}},
    "thinking[disabled]": {"thinking": {"type": "disabled"}},
    "thinking[between_tools]": {"thinking": {"type": "between_tools"}},
    "tool_choice[auto]": {"tool_choice": {"type": "auto"}},
    "tool_choice[any]": {"tool_choice": {"type": "any"}},
    "tool_choice[none]": {"tool_choice": {"type": "none"}},
    "tool_choice[tool]": {
        "tools": [TOOL, {**TOOL, "name": "tides"}],
        "tool_choice": {"type": "tool", "name": "weather"},
    },
    **{f"tools[{type}]": _hosted(type) for type in _SERVER_TOOLS},
    "container.skills[anthropic]": {
        "container": {"skills": [{"type": "anthropic", "skill_id": "pdf", "version": "latest"}]}
    },
}

WHOLE = (
    *(f"messages[].content[{type}]" for type in _SERVER_BLOCKS),
    *(f"{_TEXT}.citations[{type}]" for type in _CITATIONS),
    *(f"tools[{type}]" for type in _SERVER_TOOLS),
    f"{_RESULT}.content[browser_state]",
    "container.skills[anthropic]",
)

FIELDS: dict[str, Any] = {
    "model": "another-model",
    "stream": True,
    "max_tokens": 4000,
    "stop_sequences": ["END"],
    "temperature": 0.3,
    "top_p": 0.96,
    "top_k": 40,
    "service_tier": "standard_only",
    "metadata.user_id": "user-7",
    "output_config.effort": "low",
    "output_config.format[json_schema].schema": OTHER_CLOSED_SCHEMA,
    "cache_control[ephemeral]": HOUR,
    "container.id": "container_1",
    "diagnostics.previous_message_id": "msg_1",
    "inference_geo": "us",
    "speed": "fast",
    "user_profile_id": "profile_1",
    "workspace_id": "wrkspc_1",
    "thinking[enabled].budget_tokens": 9000,
    "thinking[enabled].display": "omitted",
    "thinking[adaptive].display": "omitted",
    "tool_choice[auto].disable_parallel_tool_use": True,
    "tool_choice[any].disable_parallel_tool_use": True,
    "tool_choice[tool].disable_parallel_tool_use": True,
    "tool_choice[tool].name": "tides",
    "tools[custom].name": "forecast",
    "tools[custom].description": "Tells the weather",
    "tools[custom].input_schema": OTHER_SCHEMA,
    "tools[custom].strict": True,
    "tools[custom].cache_control[ephemeral]": FIVE_MINUTES,
    "tools[custom].allowed_callers": ["code_execution_20260120"],
    "tools[custom].defer_loading": True,
    "tools[custom].eager_input_streaming": True,
    "tools[custom].input_examples": [{"city": "Oslo"}],
    f"{_TEXT}.text": "Will it snow?",
    f"{_TEXT}.cache_control[ephemeral]": FIVE_MINUTES,
    f"{_TEXT}.cache_control[ephemeral].ttl": "1h",
    "messages[].content[image].source[base64].data": OTHER_PNG,
    "messages[].content[image].source[base64].media_type": "image/jpeg",
    "messages[].content[image].source[url].url": "https://example.org/b.png",
    "messages[].content[image].source[file].file_id": "file_2",
    "messages[].content[image].cache_control[ephemeral]": FIVE_MINUTES,
    "messages[].content[image].transformations.oversized_image": "reject",
    f"{_DOCUMENT}.source[text].data": "It snowed.",
    f"{_DOCUMENT}.source[text].media_type": "text/markdown",
    f"{_DOCUMENT}.source[base64].data": OTHER_PDF,
    f"{_DOCUMENT}.source[base64].media_type": "application/x-pdf",
    f"{_DOCUMENT}.source[url].url": "https://example.org/b.pdf",
    f"{_DOCUMENT}.source[file].file_id": "file_2",
    f"{_DOCUMENT}.title": "Almanac",
    f"{_DOCUMENT}.context": "From the attic",
    f"{_DOCUMENT}.citations.enabled": True,
    f"{_DOCUMENT}.cache_control[ephemeral]": FIVE_MINUTES,
    "messages[].content[search_result].source": "https://example.org/snow",
    "messages[].content[search_result].title": "Snow",
    "messages[].content[search_result].citations": {"enabled": True},
    "messages[].content[search_result].cache_control[ephemeral]": FIVE_MINUTES,
    "messages[].content[thinking].thinking": "Greet back.",
    "messages[].content[thinking].signature": OTHER_CLAUDE_SIGNATURE,
    "messages[].content[redacted_thinking].data": OTHER_CLAUDE_SIGNATURE,
    "messages[].content[container_upload].file_id": "file_2",
    "messages[].content[container_upload].cache_control[ephemeral]": FIVE_MINUTES,
    f"{_USE}.name": "forecast",
    f"{_USE}.input": {"city": "Bergen"},
    f"{_USE}.cache_control[ephemeral]": FIVE_MINUTES,
    f"{_USE}.caller[direct]": {"type": "direct"},
    f"{_USE}.caller[code_execution_20250825].tool_id": "srvtoolu_1",
    f"{_USE}.caller[code_execution_20260120].tool_id": "srvtoolu_1",
    f"{_USE}.toolset_name": "computer",
    f"{_RESULT}.is_error": True,
    f"{_RESULT}.cache_control[ephemeral]": FIVE_MINUTES,
    f"{_RESULT}.toolset_name": "computer",
    f"{_RESULT}.content[tool_reference].tool_name": "tides",
    f"{_RESULT}.content[tool_reference].cache_control[ephemeral]": FIVE_MINUTES,
}

# No word is needed where the target does so anyway.
UNSAID = {
    f"{_USE}.caller[direct]": "the model calls unless something else is said",
    "thinking[disabled]": "the model does not think",
    "tool_choice[auto]": "the model chooses anyway",
    "messages[].content[document].source[text].media_type": "text goes as text",
    "messages[].content[thinking].signature": "only who made it can read it",
    "thinking[enabled].display": "the provider shows no thinking",
}

# Not in the SDK's own records (yet, or not any more), and sent by clients all the same.
BEYOND = (
    "betas",
    "context_management",
    "mcp_servers",
    "temperature",
    "top_p",
    "top_k",
)
FIELDS["betas"] = ["a-beta-2026-01-01"]
FIELDS["context_management"] = {"edits": [{"type": "clear_tool_uses_20250919"}]}
FIELDS["mcp_servers"] = [{"type": "url", "name": "mcp", "url": "https://example.org/mcp"}]
