"""Probes for OpenAI Responses. See `tests.field_probes.observed` for what the tables mean."""

from __future__ import annotations

from typing import Any

from .samples import (
    CLOSED_SCHEMA,
    OTHER_CLOSED_SCHEMA,
    OTHER_PDF,
    OTHER_PNG,
    OTHER_SCHEMA,
    PDF,
    PNG,
    SCHEMA,
)

TOOL: dict[str, Any] = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
CUSTOM: dict[str, Any] = {"type": "custom", "name": "patch"}
ASKED: dict[str, Any] = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Will it rain?"}],
}
BREAKPOINT = {"mode": "explicit", "ttl": "1h"}

BASE: dict[str, Any] = {"model": "the-model", "input": [ASKED], "tools": [TOOL]}


def _with(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{**ASKED, "content": [*parts, *ASKED["content"]]}]}


def _said(*parts: dict[str, Any], **message: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    hello = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    answer = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
    said = {**answer, "content": [*answer["content"], *parts], **message}
    return {"input": [hello, said, ASKED]}, {"input": [hello, answer, ASKED]}


def _before(item: dict[str, Any]) -> dict[str, Any]:
    """An item of the assistant's own before the question."""
    return {"input": [item, ASKED]}


def _called(call: dict[str, Any], output: dict[str, Any], id: str = "call_1") -> dict[str, Any]:
    kind = "function_call" if "arguments" in call else "custom_tool_call"
    return {
        "tools": [TOOL if "arguments" in call else CUSTOM],
        "input": [
            ASKED,
            {"type": kind, "call_id": id, **call},
            {"type": f"{kind}_output", "call_id": id, **output},
        ],
    }


_CALL = {"name": "weather", "arguments": '{"city": "Oslo"}'}
_CUSTOM_CALL = {"name": "patch", "input": "+ umbrella"}
_GRAMMAR = {"type": "grammar", "syntax": "regex", "definition": "[a-z]+"}
_TIDES = {**TOOL, "name": "tides"}
_TWO_TOOLS = {"tools": [TOOL, _TIDES]}
_CUSTOM_TOOLS = {"tools": [TOOL, CUSTOM]}
_NAMESPACE: dict[str, Any] = {
    "type": "namespace",
    "name": "agents",
    "description": "Others",
    "tools": [{"type": "function", "name": "wait", "parameters": SCHEMA, "strict": False}],
}
_IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
_FILE = {
    "type": "input_file",
    "file_data": f"data:application/pdf;base64,{PDF}",
    "filename": "almanac.pdf",
}
_TEXT = "input[message].content[input_text]"
_MESSAGE = "input[message]"
_FUNCTION_CALL = "input[function_call]"
_OUTPUT = "input[function_call_output]"
_CUSTOM = "input[custom_tool_call]"
_CUSTOM_OUTPUT = "input[custom_tool_call_output]"

# What OpenAI itself runs, by type, with what such a tool cannot be without.
_HOSTED: dict[str, dict[str, Any]] = {
    "apply_patch": {},
    "code_interpreter": {"container": {"type": "auto"}},
    "computer": {},
    "computer_use_preview": {"display_height": 600, "display_width": 800, "environment": "browser"},
    "file_search": {"vector_store_ids": ["vs_1"]},
    "image_generation": {},
    "local_shell": {},
    "mcp": {"server_label": "tides", "server_url": "https://example.org/mcp"},
    "programmatic_tool_calling": {},
    "shell": {},
    "tool_search": {},
    "web_search": {"search_context_size": "low"},
    "web_search_preview": {},
}
# The items that come of it.
_HOSTED_ITEMS: dict[str, dict[str, Any]] = {
    "apply_patch_call": {
        "call_id": "call_1",
        "operation": {"type": "delete_file", "path": "a"},
        "status": "completed",
    },
    "apply_patch_call_output": {"call_id": "call_1", "status": "completed", "output": "done"},
    "code_interpreter_call": {"id": "ci_1", "code": "1", "container_id": "c_1", "status": "completed"},
    "compaction": {"encrypted_content": "gAAA"},
    "compaction_trigger": {},
    "computer_call": {"id": "cu_1", "call_id": "call_1", "pending_safety_checks": [], "status": "completed"},
    "computer_call_output": {
        "call_id": "call_1",
        "output": {"type": "computer_screenshot", "image_url": "https://example.org/a.png"},
    },
    "configuration_update": {"reasoning": {"effort": "low"}},
    "file_search_call": {"id": "fs_1", "queries": ["rain"], "status": "completed"},
    "image_generation_call": {"id": "ig_1", "result": PNG, "status": "completed"},
    "item_reference": {"id": "msg_1"},
    "local_shell_call": {
        "id": "ls_1",
        "call_id": "call_1",
        "action": {"type": "exec", "command": ["ls"], "env": {}},
        "status": "completed",
    },
    "local_shell_call_output": {"id": "call_1", "output": "a"},
    "mcp_approval_request": {"id": "ap_1", "arguments": "{}", "name": "tides", "server_label": "tides"},
    "mcp_approval_response": {"approval_request_id": "ap_1", "approve": True},
    "mcp_call": {
        "id": "mcp_1",
        "arguments": "{}",
        "name": "tides",
        "server_label": "tides",
        "output": "high",
    },
    "mcp_list_tools": {"id": "ml_1", "server_label": "tides", "tools": []},
    "program": {"id": "pr_1", "call_id": "call_1", "code": "1", "fingerprint": "f"},
    "program_output": {"id": "po_1", "call_id": "call_1", "result": "1", "status": "completed"},
    "shell_call": {"call_id": "call_1", "action": {"commands": ["ls"]}},
    "shell_call_output": {"call_id": "call_1", "output": [{"stdout": "a", "stderr": ""}]},
    "tool_search_call": {"arguments": {"query": "rain"}, "execution": "server"},
    "tool_search_output": {"tools": [TOOL], "execution": "server"},
    "web_search_call": {
        "id": "ws_1",
        "action": {"type": "search", "query": "rain"},
        "status": "completed",
    },
}
_ANNOTATIONS: dict[str, dict[str, Any]] = {
    "container_file_citation": {
        "container_id": "c_1",
        "file_id": "f_1",
        "filename": "a",
        "start_index": 0,
        "end_index": 1,
    },
    "file_citation": {"file_id": "f_1", "filename": "a", "index": 0},
    "file_path": {"file_id": "f_1", "index": 0},
    "url_citation": {"url": "https://example.org", "title": "Rain", "start_index": 0, "end_index": 1},
}

CONTEXTS: dict[str, Any] = {
    _MESSAGE: {"input": [{**ASKED, "content": "Hello?"}, ASKED]},
    f"{_MESSAGE}.role": {"input": [{**ASKED, "role": "developer", "content": "Be brief."}, ASKED]},
    f"{_MESSAGE}.phase": _said(phase="commentary"),
    f"{_MESSAGE}.status": _said(status="incomplete"),
    f"{_MESSAGE}.id": _said(id="msg_1"),
    _TEXT: _with({"type": "input_text", "text": "Hello."}),
    f"{_MESSAGE}.content[input_image]": _with(_IMAGE),
    f"{_MESSAGE}.content[input_image].file_id": _with({"type": "input_image", "file_id": "file-1"}),
    f"{_MESSAGE}.content[input_file]": _with(_FILE),
    f"{_MESSAGE}.content[input_file].file_id": _with({"type": "input_file", "file_id": "file-1"}),
    f"{_MESSAGE}.content[input_file].file_url": _with(
        {"type": "input_file", "file_url": "https://example.org/a.pdf"}
    ),
    f"{_MESSAGE}.content[output_text]": _said({"type": "output_text", "text": " to you"}),
    f"{_MESSAGE}.content[output_text].logprobs": _said(
        content=[
            {
                "type": "output_text",
                "text": "Hello",
                "logprobs": [{"token": "Hello", "bytes": [72], "logprob": -0.1, "top_logprobs": []}],
            }
        ]
    ),
    **{
        f"{_MESSAGE}.content[output_text].annotations[{type}]": _said(
            content=[{"type": "output_text", "text": "Hello", "annotations": [{"type": type, **inside}]}]
        )
        for type, inside in _ANNOTATIONS.items()
    },
    f"{_MESSAGE}.content[refusal]": _said({"type": "refusal", "refusal": "I will not."}),
    _FUNCTION_CALL: _called(_CALL, {"output": "Yes"}),
    f"{_FUNCTION_CALL}.call_id": _called(_CALL, {"output": "Yes"}, id="call_2"),
    _OUTPUT: _called(_CALL, {"output": "Yes"}),
    f"{_OUTPUT}.call_id": _called(_CALL, {"output": "Yes"}, id="call_2"),
    f"{_OUTPUT}.output[input_text]": _called(_CALL, {"output": [{"type": "input_text", "text": "Maybe"}]}),
    f"{_OUTPUT}.output[input_image]": _called(_CALL, {"output": [_IMAGE]}),
    f"{_OUTPUT}.output[input_image].file_id": _called(
        _CALL, {"output": [{"type": "input_image", "file_id": "file-1"}]}
    ),
    f"{_OUTPUT}.output[input_file]": _called(_CALL, {"output": [_FILE]}),
    f"{_OUTPUT}.output[input_file].file_id": _called(
        _CALL, {"output": [{"type": "input_file", "file_id": "file-1"}]}
    ),
    f"{_OUTPUT}.output[input_file].file_url": _called(
        _CALL, {"output": [{"type": "input_file", "file_url": "https://example.org/a.pdf"}]}
    ),
    _CUSTOM: _called(_CUSTOM_CALL, {"output": "done"}),
    f"{_CUSTOM}.call_id": _called(_CUSTOM_CALL, {"output": "done"}, id="call_2"),
    _CUSTOM_OUTPUT: _called(_CUSTOM_CALL, {"output": "done"}),
    f"{_CUSTOM_OUTPUT}.call_id": _called(_CUSTOM_CALL, {"output": "done"}, id="call_2"),
    f"{_CUSTOM_OUTPUT}.output[input_text]": _called(
        _CUSTOM_CALL, {"output": [{"type": "input_text", "text": "half done"}]}
    ),
    f"{_CUSTOM_OUTPUT}.output[input_image]": _called(_CUSTOM_CALL, {"output": [_IMAGE]}),
    f"{_CUSTOM_OUTPUT}.output[input_file]": _called(_CUSTOM_CALL, {"output": [_FILE]}),
    "input[additional_tools]": {
        "input": [{"type": "additional_tools", "role": "developer", "tools": [_TIDES]}, ASKED],
    },
    **{
        f"input[additional_tools].tools[{tool['type']}]": {
            "input": [{"type": "additional_tools", "role": "developer", "tools": [tool]}, ASKED]
        }
        for tool in (
            {**TOOL, "name": "moons"},
            CUSTOM,
            _NAMESPACE,
            *({"type": type, **inside} for type, inside in _HOSTED.items()),
        )
    },
    "input[reasoning]": _before(
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Greet."}]}
    ),
    "input[reasoning].content[reasoning_text]": _before(
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Greet them."}],
        }
    ),
    **{f"input[{type}]": _before({"type": type, **inside}) for type, inside in _HOSTED_ITEMS.items()},
    "context_management[]": {"context_management": [{"type": "compaction", "compact_threshold": 9000}]},
    "prompt": {"prompt": {"id": "pmpt_1", "version": "2", "variables": {"city": "Oslo"}}},
    "moderation": {"moderation": {"model": "omni-moderation-latest"}},
    "stream_options.include_obfuscation": (
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"stream": True},
    ),
    "text.format[text]": {"text": {"format": {"type": "text"}}},
    # Beside tools, some models take none.
    "text.format[json_object]": (
        {"tools": None, "text": {"format": {"type": "json_object"}}},
        {"tools": None},
    ),
    "text.format[json_schema]": (
        {
            "tools": None,
            "text": {"format": {"type": "json_schema", "name": "answer", "schema": CLOSED_SCHEMA}},
        },
        {"tools": None},
    ),
    "tool_choice[function]": (
        {**_TWO_TOOLS, "tool_choice": {"type": "function", "name": "weather"}},
        _TWO_TOOLS,
    ),
    "tool_choice[custom]": (
        {**_CUSTOM_TOOLS, "tool_choice": {"type": "custom", "name": "patch"}},
        _CUSTOM_TOOLS,
    ),
    "tool_choice[custom].name": (
        {
            "tools": [CUSTOM, {**CUSTOM, "name": "note"}],
            "tool_choice": {"type": "custom", "name": "note"},
        },
        {
            "tools": [CUSTOM, {**CUSTOM, "name": "note"}],
            "tool_choice": {"type": "custom", "name": "patch"},
        },
    ),
    "tool_choice[allowed_tools]": (
        {
            **_TWO_TOOLS,
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "weather"}],
            },
        },
        _TWO_TOOLS,
    ),
    "tool_choice[mcp]": {"tool_choice": {"type": "mcp", "server_label": "tides", "name": "high"}},
    **{
        f"tool_choice[{type}]": {"tool_choice": {"type": type}}
        for type in ("apply_patch", "file_search", "programmatic_tool_calling", "shell")
    },
    **{f"tools[{type}]": {"tools": [TOOL, {"type": type, **inside}]} for type, inside in _HOSTED.items()},
    "tools[custom]": _CUSTOM_TOOLS,
    "tools[custom].format[text]": (
        {"tools": [TOOL, {**CUSTOM, "format": {"type": "text"}}]},
        _CUSTOM_TOOLS,
    ),
    "tools[custom].format[grammar]": ({"tools": [TOOL, {**CUSTOM, "format": _GRAMMAR}]}, _CUSTOM_TOOLS),
    "tools[namespace]": {"tools": [TOOL, _NAMESPACE]},
    "tools[namespace].tools[custom]": {"tools": [TOOL, {**_NAMESPACE, "tools": [CUSTOM]}]},
}

WHOLE: tuple[str, ...] = (
    *(f"tools[{type}]" for type in _HOSTED),
    *(f"input[{type}]" for type in _HOSTED_ITEMS),
    *(f"{_MESSAGE}.content[output_text].annotations[{type}]" for type in _ANNOTATIONS),
    f"{_MESSAGE}.content[output_text].logprobs",
    "context_management[]",
    "moderation",
    "prompt",
    "tool_choice[mcp]",
)

FIELDS: dict[str, Any] = {
    "model": "another-model",
    "stream": True,
    "instructions": "Be brief.",
    "max_output_tokens": 4000,
    "max_tool_calls": 3,
    "temperature": 0.3,
    "top_p": 0.9,
    "top_logprobs": 3,
    "parallel_tool_calls": False,
    "access_programs.cyber": "p",
    "background": True,
    "background_options.completion_window": "24h",
    "background_options.continuation_id": "c_1",
    "conversation": "conv_1",
    "conversation.id": "conv_1",
    "image.context_compression": "low",
    "include": ["reasoning.encrypted_content", "file_search_call.results"],
    "metadata": {"team": "weather"},
    "previous_response_id": "resp_1",
    "prompt_cache_key": "conversation-7",
    "prompt_cache_options.comparison_response_id": "resp_1",
    "prompt_cache_options.mode": "explicit",
    "prompt_cache_options.prewarm": True,
    "prompt_cache_options.ttl": "30m",
    "prompt_cache_retention": "24h",
    "reasoning.context": "all_turns",
    "reasoning.effort": "low",
    "reasoning.generate_summary": "auto",
    "reasoning.mode": "pro",
    "reasoning.summary": "auto",
    "safety_identifier": "user-7",
    "service_tier": "flex",
    "store": True,
    "text.format[json_schema].name": "forecast",
    "text.format[json_schema].schema": OTHER_CLOSED_SCHEMA,
    "text.format[json_schema].description": "What the weather will be",
    "text.format[json_schema].strict": True,
    "text.verbosity": "low",
    "tool_choice": "required",
    "tool_choice[function].name": "tides",
    "tool_choice[allowed_tools].mode": "required",
    "tool_choice[allowed_tools].tools": [{"type": "function", "name": "tides"}],
    "tools[function].name": "forecast",
    "tools[function].description": "Tells the weather",
    "tools[function].parameters": OTHER_SCHEMA,
    "tools[function].strict": True,
    "tools[function].async": True,
    "tools[function].allowed_callers": ["programmatic"],
    "tools[function].defer_loading": True,
    "tools[function].output_schema": SCHEMA,
    "tools[custom].name": "edit",
    "tools[custom].description": "Edits a file",
    "tools[custom].async": True,
    "tools[custom].allowed_callers": ["programmatic"],
    "tools[custom].defer_loading": True,
    "tools[custom].format[grammar].definition": "[0-9]+",
    "tools[custom].format[grammar].syntax": "lark",
    "tools[namespace].name": "helpers",
    "tools[namespace].description": "Helpers",
    "tools[namespace].tools[function].name": "wait_for",
    "tools[namespace].tools[function].description": "Waits",
    "tools[namespace].tools[function].parameters": OTHER_SCHEMA,
    "tools[namespace].tools[function].strict": True,
    "tools[namespace].tools[function].async": True,
    "tools[namespace].tools[function].allowed_callers": ["programmatic"],
    "tools[namespace].tools[function].defer_loading": True,
    "tools[namespace].tools[function].output_schema": SCHEMA,
    "truncation": "auto",
    "user": "user-7",
    f"{_TEXT}.text": "Good evening.",
    f"{_TEXT}.prompt_cache_breakpoint.mode": "explicit",
    f"{_TEXT}.prompt_cache_breakpoint.ttl": "1h",
    f"{_MESSAGE}.content[input_image].image_url": f"data:image/png;base64,{OTHER_PNG}",
    f"{_MESSAGE}.content[input_image].detail": "low",
    f"{_MESSAGE}.content[input_image].prompt_cache_breakpoint.mode": "explicit",
    f"{_MESSAGE}.content[input_image].prompt_cache_breakpoint.ttl": "1h",
    f"{_MESSAGE}.content[input_file].file_data": f"data:application/pdf;base64,{OTHER_PDF}",
    f"{_MESSAGE}.content[input_file].filename": "weather.pdf",
    f"{_MESSAGE}.content[input_file].detail": "low",
    f"{_MESSAGE}.content[input_file].prompt_cache_breakpoint.mode": "explicit",
    f"{_MESSAGE}.content[input_file].prompt_cache_breakpoint.ttl": "1h",
    f"{_MESSAGE}.content[output_text].text": "Good day",
    f"{_MESSAGE}.content[refusal].refusal": "I cannot.",
    f"{_FUNCTION_CALL}.name": "forecast",
    f"{_FUNCTION_CALL}.arguments": '{"city": "Bergen"}',
    f"{_FUNCTION_CALL}.id": "fc_1",
    f"{_FUNCTION_CALL}.async": True,
    f"{_FUNCTION_CALL}.caller[direct]": {"type": "direct"},
    f"{_FUNCTION_CALL}.caller[program].caller_id": "pr_1",
    f"{_FUNCTION_CALL}.namespace": "agents",
    f"{_FUNCTION_CALL}.status": "completed",
    f"{_OUTPUT}.output": "No",
    f"{_OUTPUT}.output[input_text].text": "No",
    f"{_OUTPUT}.output[input_text].prompt_cache_breakpoint.mode": "explicit",
    f"{_OUTPUT}.output[input_text].prompt_cache_breakpoint.ttl": "1h",
    f"{_OUTPUT}.output[input_image].image_url": f"data:image/png;base64,{OTHER_PNG}",
    f"{_OUTPUT}.output[input_image].detail": "low",
    f"{_OUTPUT}.output[input_image].prompt_cache_breakpoint.mode": "explicit",
    f"{_OUTPUT}.output[input_image].prompt_cache_breakpoint.ttl": "1h",
    f"{_OUTPUT}.output[input_file].file_data": f"data:application/pdf;base64,{OTHER_PDF}",
    f"{_OUTPUT}.output[input_file].filename": "weather.pdf",
    f"{_OUTPUT}.output[input_file].detail": "low",
    f"{_OUTPUT}.output[input_file].prompt_cache_breakpoint.mode": "explicit",
    f"{_OUTPUT}.output[input_file].prompt_cache_breakpoint.ttl": "1h",
    f"{_OUTPUT}.id": "fco_1",
    f"{_OUTPUT}.name": "weather",
    f"{_OUTPUT}.namespace": "agents",
    f"{_OUTPUT}.caller[direct]": {"type": "direct"},
    f"{_OUTPUT}.caller[program].caller_id": "pr_1",
    f"{_OUTPUT}.status": "completed",
    f"{_CUSTOM}.name": "edit",
    f"{_CUSTOM}.input": "+ boots",
    f"{_CUSTOM}.id": "ctc_1",
    f"{_CUSTOM}.async": True,
    f"{_CUSTOM}.caller[direct]": {"type": "direct"},
    f"{_CUSTOM}.caller[program].caller_id": "pr_1",
    f"{_CUSTOM}.namespace": "agents",
    f"{_CUSTOM_OUTPUT}.output": "undone",
    f"{_CUSTOM_OUTPUT}.id": "cto_1",
    f"{_CUSTOM_OUTPUT}.caller[direct]": {"type": "direct"},
    f"{_CUSTOM_OUTPUT}.caller[program].caller_id": "pr_1",
    "input[additional_tools].id": "at_1",
    "input[additional_tools].role": "user",
    "input[reasoning].id": "rs_2",
    "input[reasoning].summary[summary_text].text": "Greet back.",
    "input[reasoning].content[reasoning_text].text": "Greet them back.",
    "input[reasoning].encrypted_content": "gAAAAABo",
    "input[reasoning].status": "completed",
    "client_metadata": {"session": "7"},
}

# No word is needed where the target does so anyway.
UNSAID = {
    **dict.fromkeys(
        (
            f"{_MESSAGE}.id",
            f"{_MESSAGE}.status",
            f"{_FUNCTION_CALL}.id",
            f"{_FUNCTION_CALL}.status",
            f"{_OUTPUT}.id",
            f"{_OUTPUT}.status",
            f"{_CUSTOM}.id",
            f"{_CUSTOM_OUTPUT}.id",
            "input[additional_tools].id",
        ),
        "what OpenAI keeps its items by",
    ),
    "input[additional_tools].role": "tools are the developer's",
    f"{_OUTPUT}.name": "the call says it",
    f"{_OUTPUT}.namespace": "the call says it",
    f"{_FUNCTION_CALL}.caller[direct]": "the model calls unless something else is said",
    f"{_OUTPUT}.caller[direct]": "the model calls unless something else is said",
    f"{_CUSTOM}.caller[direct]": "the model calls unless something else is said",
    f"{_CUSTOM_OUTPUT}.caller[direct]": "the model calls unless something else is said",
    "text.format[text]": "an answer is text unless something else is asked for",
    "text.format[json_schema].name": "a label, which only OpenAI asks for",
    "text.format[json_schema].strict": "the provider enforces every schema",
}

# Not in the SDK's own records, and sent by clients all the same.
BEYOND: tuple[str, ...] = ("client_metadata",)
