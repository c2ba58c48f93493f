"""Streams that break a rule of their dialect's grammar: for each rule one, with what the error says."""

from __future__ import annotations

import json
from typing import Any

from .good_streams import (
    CALL,
    CLAUDE,
    CLAUDE_ERROR,
    FUNCTION,
    GEMINI,
    GEMINI_ERROR,
    MESSAGE,
    OPENAI_ERROR,
    OUTPUT_TEXT,
    PLAIN,
    RESPONSES,
    RESPONSES_ERROR,
    STARTS,
    SUMMARY,
    TEXT,
    TOLD,
    Events,
    around,
    block,
    call,
    claude,
    framed,
    gemini,
    goes_on,
    input_json,
    numbered,
    openai,
    opens,
    response,
    says,
)


def put(events: Events, path: str, value: Any) -> Events:
    """``events`` with ``value`` at ``path``, its steps parted by slashes."""
    *steps, last = path.split("/")
    changed: Any = json.loads(json.dumps(events))
    at = changed
    for step in steps:
        at = at[int(step) if isinstance(at, list) else step]
    at[int(last) if isinstance(at, list) else last] = value
    return list(changed)


def cut(events: Events, path: str) -> Events:
    """``events`` without what is at ``path``."""
    *steps, last = path.split("/")
    changed: Any = json.loads(json.dumps(events))
    at = changed
    for step in steps:
        at = at[int(step) if isinstance(at, list) else step]
    del at[int(last) if isinstance(at, list) else last]
    return list(changed)


def add(events: Events, at: int, *more: dict[str, Any]) -> Events:
    """``events`` with ``more`` before the one at ``at``."""
    return [*events[:at], *more, *events[at:]]


PING = {"type": "ping"}
BROKEN_CLAUDE: dict[str, tuple[Events, str]] = {
    "no such event": (add(PLAIN, 1, {"type": "odd"}), "no such event: odd"),
    "no type": (cut(PLAIN, "0/type"), "the type of the event"),
    "not the first": (PLAIN[1:], "content_block_start before message_start"),
    "two starts": (add(PLAIN, 1, PLAIN[0]), "a second message_start"),
    "unknown field": (put(PLAIN, "0/message/odd", 1), "message: has odd"),
    "missing field": (cut(PLAIN, "0/message/model"), "message: without model"),
    "id": (put(PLAIN, "0/message/id", "x"), "does not begin with msg_"),
    "id no text": (put(PLAIN, "0/message/id", 5), "id is no string: 5"),
    "message type": (put(PLAIN, "0/message/type", "x"), "message.type is x"),
    "role": (put(PLAIN, "0/message/role", "user"), "message.role is user"),
    "content": (put(PLAIN, "0/message/content", [{"type": "text", "text": ""}]), "content in message_start"),
    "stop at start": (put(PLAIN, "0/message/stop_reason", "end_turn"), "stop_reason in message_start"),
    "sequence at start": (put(PLAIN, "0/message/stop_sequence", "x"), "stop_sequence in message_start"),
    "usage": (put(PLAIN, "0/message/usage/input_tokens", -1), "input_tokens is no count"),
    "usage true": (put(PLAIN, "0/message/usage/input_tokens", True), "input_tokens is no count"),
    "usage unknown": (put(PLAIN, "0/message/usage/odd", 1), "usage: has odd"),
    "usage thinking": (
        put(PLAIN, "4/usage/output_tokens_details", {"thinking_tokens": "1"}),
        "thinking_tokens is no",
    ),
    "index": (put(PLAIN, "1/index", 1), "index 1, wants 0"),
    "index of delta": (put(PLAIN, "2/index", 1), "index 1, wants 0"),
    "index of stop": (put(PLAIN, "3/index", 1), "index 1, wants 0"),
    "gap": (put(CLAUDE, "5/index", 2), "index 2, wants 1"),
    "nested": (add(PLAIN, 2, PLAIN[1]), "a block starts inside a text block"),
    "no block": (cut(PLAIN, "1"), "a delta outside a block"),
    "stops twice": (add(PLAIN, 4, PLAIN[3]), "a block ends that has not started"),
    "odd block": (put(PLAIN, "1/content_block", {"type": "odd"}), "no such block: odd"),
    "text at start": (put(PLAIN, "1/content_block/text", "Hi"), "text at the start: Hi"),
    "no signature": (cut(CLAUDE, "1/content_block/signature"), "without signature"),
    "thinking at start": (put(CLAUDE, "1/content_block/thinking", "Hm"), "thinking at the start"),
    "redacted": (claude(block({"type": "redacted_thinking", "data": ""})), "data is empty"),
    "call id": (put(CLAUDE, "8/content_block/id", ""), "id is empty"),
    "call name": (put(CLAUDE, "8/content_block/name", ""), "name is empty"),
    "call input": (put(CLAUDE, "8/content_block/input", {"a": 1}), "input at the start"),
    "call input list": (put(CLAUDE, "8/content_block/input", []), "input is no object"),
    "same id": (claude(CALL, CALL, reason="tool_use"), "the id toolu_1 twice"),
    "odd delta": (put(PLAIN, "2/delta/type", "odd"), "no such delta: odd"),
    "citations": (put(PLAIN, "2/delta", {"type": "citations_delta"}), "no such delta: citations_delta"),
    "misfit": (put(CLAUDE, "2/delta", input_json("")), "a input_json_delta in a thinking block"),
    "delta no text": (put(PLAIN, "2/delta/text", None), "text is no string"),
    "delta no object": (put(PLAIN, "2/delta", []), "the delta: no object"),
    "after signature": (
        add(CLAUDE, 4, CLAUDE[2]),
        "a delta after the signature",
    ),
    "empty signature": (put(CLAUDE, "3/delta/signature", ""), "signature is empty"),
    "empty block": (cut(PLAIN, "2"), "an empty text block"),
    "open at the end": (cut(PLAIN, "3"), "message_delta inside a text block"),
    "two deltas": (add(PLAIN, 5, PLAIN[4]), "a second message_delta"),
    "block after": (add(PLAIN, 5, *PLAIN[1:4]), "a block after message_delta"),
    "odd reason": (put(PLAIN, "4/delta/stop_reason", "odd"), "no such stop reason: odd"),
    "null reason": (put(PLAIN, "4/delta/stop_reason", None), "stop_reason is no string"),
    "no sequence": (put(PLAIN, "4/delta/stop_reason", "stop_sequence"), "stop_sequence with None"),
    "a sequence": (put(PLAIN, "4/delta/stop_sequence", "x"), "end_turn with x"),
    "no call": (claude(TEXT, reason="tool_use"), "tool_use without a call"),
    "a call": (claude(CALL, reason="end_turn"), "end_turn with calls"),
    "no usage": (cut(PLAIN, "4/usage"), "message_delta: without usage"),
    "no delta": (cut(PLAIN, "4"), "message_stop without message_delta"),
    "stop in a block": ([*PLAIN[:3], PLAIN[5]], "message_stop inside a text block"),
    "late ping": (add(PLAIN, 5, PING), "a ping after message_delta"),
    "early ping": (add(PLAIN, 0, PING), "ping before message_start"),
    "after the end": (add(PLAIN, 6, PING), "after the end"),
    "late error": (add(PLAIN, 5, CLAUDE_ERROR), "an error after message_delta"),
    "odd error": (put([CLAUDE_ERROR], "0/error/type", "odd"), "no such error: odd"),
    "mute error": (put([CLAUDE_ERROR], "0/error/message", ""), "error.message is empty"),
    "no id in error": (cut([CLAUDE_ERROR], "0/request_id"), "error: without request_id"),
    "cut": (PLAIN[:-1], "stops without message_stop or an error"),
}
TWO_CALLS = openai(opens(0, "call_0"), goes_on(0, "{}"), reason="tool_calls")
SHORT = openai({"content": "Hi"})
BROKEN_OPENAI: dict[str, tuple[Events, str]] = {
    "unknown field": (put(SHORT, "1/odd", 1), "chunk: has odd"),
    "missing field": (cut(SHORT, "1/model"), "chunk: without model"),
    "object": (put(SHORT, "1/object", "x"), "object is x"),
    "id": ([event | {"id": "x"} for event in SHORT], "does not begin with chatcmpl-"),
    "another id": (put(SHORT, "2/id", "chatcmpl-2"), "after"),
    "another model": (put(SHORT, "2/model", "n"), "after"),
    "created": ([event | {"created": 1.5} for event in SHORT], "created is no count"),
    "no role": (cut(SHORT, "0"), "the first delta is"),
    "role again": (put(SHORT, "1/choices/0/delta", {"role": "assistant"}), "delta: has role"),
    "two things": (
        put(SHORT, "1/choices/0/delta", {"content": "a", "reasoning_content": "b"}),
        "two things in a delta",
    ),
    "content null": (put(SHORT, "1/choices/0/delta/content", None), "content is no string"),
    "thinking null": (
        put(SHORT, "1/choices/0/delta", {"reasoning_content": None}),
        "reasoning_content is no",
    ),
    "choices": (put(SHORT, "1/choices", {}), "choices is no list"),
    "choice": (put(SHORT, "1/choices/0", []), "choice: no object"),
    "two choices": (put(SHORT, "1/choices", SHORT[1]["choices"] * 2), "more than one choice"),
    "second choice": (put(SHORT, "1/choices/0/index", 1), "a second choice"),
    "no finish_reason": (cut(SHORT, "1/choices/0/finish_reason"), "choice: without finish_reason"),
    "usage early": (put(SHORT, "1/usage", SHORT[3]["usage"]), "usage in a chunk with a choice"),
    "usage missing": (cut(SHORT, "1/usage"), "chunk: without usage"),
    "usage first": ([SHORT[0], SHORT[1], SHORT[3], SHORT[2]], "a usage chunk before the finish reason"),
    "usage twice": (add(SHORT, 4, SHORT[3]), "a second usage chunk"),
    "usage null": (put(SHORT, "3/usage", None), "usage: no object"),
    "total": (put(SHORT, "3/usage/total_tokens", 6), "total"),
    "count": (put(SHORT, "3/usage/prompt_tokens", "3"), "prompt_tokens is no count"),
    "cached": (put(SHORT, "3/usage/prompt_tokens_details/cached_tokens", -1), "cached_tokens is no count"),
    "reasoning": (
        cut(SHORT, "3/usage/completion_tokens_details/reasoning_tokens"),
        "without reasoning_tokens",
    ),
    "no usage": (SHORT[:-1], "[DONE] without usage"),
    "not finished": (cut(SHORT[:-1], "2"), "[DONE] without a finish reason"),
    "odd finish": (put(SHORT, "2/choices/0/finish_reason", "end"), "no such finish reason: end"),
    "finish with text": (put(SHORT, "2/choices/0/delta", {"content": "x"}), "a delta with the finish reason"),
    "finish twice": (add(SHORT, 3, SHORT[2]), "a choice after the finish reason"),
    "text after": ([SHORT[0], SHORT[2], SHORT[1], SHORT[3]], "a choice after the finish reason"),
    "no call": (openai({"content": "Hi"}, reason="tool_calls"), "tool_calls without a call"),
    "a call": (openai(opens(0, "call_0"), goes_on(0, "{}")), "stop with calls"),
    "calls no list": (openai({"tool_calls": {}}), "tool_calls is no list"),
    "two calls": (openai({"tool_calls": opens(0, "a")["tool_calls"] * 2}), "not one call in a delta"),
    "index from 1": (openai(opens(1, "call_0")), "index 1, wants 0"),
    "gap": (openai(opens(0, "a"), goes_on(0, "{}"), opens(2, "b")), "index 2, wants 1"),
    "same id": (openai(opens(0, "a"), goes_on(0, "{}"), opens(1, "a")), "the id a twice"),
    "call id": (openai(opens(0, "")), "id is empty"),
    "call name": (put(TWO_CALLS, "1/choices/0/delta/tool_calls/0/function/name", ""), "name is empty"),
    "call type": (put(TWO_CALLS, "1/choices/0/delta/tool_calls/0/type", "x"), "the call's type is x"),
    "no call type": (cut(TWO_CALLS, "1/choices/0/delta/tool_calls/0/type"), "call: without type"),
    "arguments with name": (
        put(TWO_CALLS, "1/choices/0/delta/tool_calls/0/function/arguments", "{}"),
        "arguments with the name",
    ),
    "arguments first": (openai(goes_on(0, "{}")), "arguments before any call"),
    "arguments elsewhere": (
        openai(opens(0, "a"), goes_on(0, "{}"), opens(1, "b"), goes_on(0, "{}")),
        "arguments for 0 of 2 calls",
    ),
    "arguments an object": (
        put(TWO_CALLS, "2/choices/0/delta/tool_calls/0/function/arguments", {}),
        "arguments is no string",
    ),
    "input of a function": (
        put(TWO_CALLS, "2/choices/0/delta/tool_calls", [{"index": 0, "custom": {"input": "x"}}]),
        "more of a custom in a call of type function",
    ),
    "arguments empty": (openai(opens(0, "a"), goes_on(0, "")), "arguments is empty"),
    "name again": (
        put(TWO_CALLS, "2/choices/0/delta/tool_calls/0/function/name", "f"),
        "function: has name",
    ),
    "type again": (put(TWO_CALLS, "2/choices/0/delta/tool_calls/0/type", "x"), "without an id: has type"),
    "no arguments": (openai(opens(0, "a"), reason="tool_calls"), "no arguments for f"),
    "late error": (add(SHORT, 3, OPENAI_ERROR), "an error after the finish reason"),
    "mute error": (put([OPENAI_ERROR], "0/error/message", ""), "error.message is empty"),
    "error code": (cut([OPENAI_ERROR], "0/error/code"), "error: without code"),
    "error type": (put([OPENAI_ERROR], "0/error/type", None), "error.type is no string"),
    "after the error": (add(SHORT, 1, OPENAI_ERROR), "after the end"),
}


def at(type: str, nth: int = 0) -> int:
    """Where the event of ``type`` is in the good stream of Responses."""
    return [place for place, event in enumerate(RESPONSES) if event["type"] == f"response.{type}"][nth]


def reset(path: str, value: Any, type: str, nth: int = 0) -> Events:
    return put(RESPONSES, f"{at(type, nth)}/{path}", value)


def less(type: str, nth: int = 0) -> Events:
    """The good stream without an event, counted anew."""
    return numbered(cut(RESPONSES, str(at(type, nth))))


def more(type: str, *added: dict[str, Any], nth: int = 0) -> Events:
    """The good stream with more before an event, counted anew."""
    return numbered(add(RESPONSES, at(type, nth), *added))


def ended(how: str, output: Events, *events: dict[str, Any], **changes: Any) -> Events:
    return numbered(
        [*STARTS, *events, {"type": f"response.{how}", "response": response(how, output, **changes)}]
    )


FAULT = {"code": "server_error", "message": "Busy"}
LENGTH = {"reason": "max_output_tokens"}
BROKEN_RESPONSES: dict[str, tuple[Events, str]] = {
    "no such event": (more("completed", {"type": "response.odd"}), "no such event: response.odd"),
    "unknown field": (reset("odd", 1, "output_text.delta"), "response.output_text.delta: has odd"),
    "missing field": (cut(RESPONSES, f"{at('output_text.delta')}/item_id"), "without item_id"),
    "no number": (cut(RESPONSES, "3/sequence_number"), "sequence_number is no count"),
    "number from 1": ([event | {"sequence_number": 1} for event in RESPONSES], "sequence_number 1, wants 0"),
    "number gap": (put(RESPONSES, "3/sequence_number", 4), "sequence_number 4, wants 3"),
    "no created": (less("created"), "response.in_progress is not the next"),
    "created twice": (more("in_progress", RESPONSES[0]), "response.created is not the next"),
    "no in_progress": (less("in_progress"), "an item before response.in_progress"),
    "in_progress twice": (more("completed", RESPONSES[1]), "response.in_progress is not the next"),
    "ends at once": (
        numbered([STARTS[0], {"type": "response.completed", "response": response("completed", [])}]),
        "response.completed before response.in_progress",
    ),
    "ends first": (
        numbered([{"type": "response.failed", "response": response("failed", [], error=FAULT)}]),
        "response.failed before response.created",
    ),
    "response field": (reset("response/odd", 1, "created"), "response: has odd"),
    "response lacks": (cut(RESPONSES, "0/response/tools"), "response: without tools"),
    "object": (reset("response/object", "x", "created"), "object is x"),
    "another id": (reset("response/id", "resp_2", "in_progress"), "after"),
    "another model": (reset("response/model", "n", "completed"), "after"),
    "another time": (reset("response/created_at", 18, "completed"), "after"),
    "id": (put(RESPONSES, "0/response/id", "x"), "does not begin with resp_"),
    "status first": (reset("response/status", "completed", "created"), "status completed at the start"),
    "output first": (reset("response/output", [MESSAGE], "created"), "output at the start"),
    "error first": (reset("response/error", FAULT, "created"), "an error at the start"),
    "usage first": (reset("response/usage", {}, "created"), "usage at the start"),
    "created_at": (reset("response/created_at", "17", "created"), "created_at is no count"),
    "index from 1": (reset("output_index", 1, "output_item.added"), "output_index 1, wants 0"),
    "index gap": (reset("output_index", 2, "output_item.added", 1), "output_index 2, wants 1"),
    "index elsewhere": (reset("output_index", 0, "output_text.delta"), "no such item is open"),
    "index no number": (reset("output_index", "1", "output_text.delta"), "output_index is no count"),
    "nested": (
        more("output_item.done", RESPONSES[at("output_item.added", 2)] | {"output_index": 1}),
        "an item starts inside another",
    ),
    "item_id": (reset("item_id", "msg_2", "output_text.delta"), "item_id msg_2 in the item msg_1"),
    "odd item": (reset("item/type", "odd", "output_item.added"), "no such item: odd"),
    "item field": (reset("item/odd", 1, "output_item.added", 1), "message: has odd"),
    "item without status": (cut(RESPONSES, f"{at('output_item.added', 1)}/item/status"), "without status"),
    "item role": (reset("item/role", "user", "output_item.added", 1), "the role is user"),
    "item id": (reset("item/id", "", "output_item.added", 1), "the item's id is empty"),
    "same item id": (reset("item/id", "rs_1", "output_item.added", 1), "the item id rs_1 twice"),
    "content first": (reset("item/content", [OUTPUT_TEXT], "output_item.added", 1), "content at the start"),
    "summary first": (reset("item/summary", [SUMMARY], "output_item.added"), "summary at the start"),
    "arguments first": (reset("item/arguments", "{}", "output_item.added", 2), "arguments at the start"),
    "input first": (reset("item/input", "ls", "output_item.added", 3), "input at the start"),
    "completed first": (
        reset("item/status", "completed", "output_item.added", 1),
        "status completed at the start",
    ),
    "call_id": (reset("item/call_id", "", "output_item.added", 2), "call_id is empty"),
    "call name": (reset("item/name", "", "output_item.added", 2), "name is empty"),
    "ends as another": (reset("item/id", "msg_2", "output_item.done", 1), "the item msg_1 ends as"),
    "call ends as another": (reset("item/call_id", "x", "output_item.done", 2), "the item fc_1 ends as"),
    "ends in progress": (reset("item/status", "in_progress", "output_item.done", 1), "ends as in_progress"),
    "ends twice": (more("completed", RESPONSES[at("output_item.done", 3)]), "no such item is open"),
    "ends in a part": (less("content_part.done"), "the item ends inside a part"),
    "no part": (less("content_part.added"), "no output_text is open"),
    "part in part": (
        more("output_text.done", RESPONSES[at("content_part.added")]),
        "a part starts inside another",
    ),
    "part ends twice": (
        more("output_item.done", RESPONSES[at("content_part.done")], nth=1),
        "a part ends that has not started",
    ),
    "part of a call": (
        more(
            "function_call_arguments.done",
            RESPONSES[at("content_part.done")] | {"output_index": 2, "item_id": "fc_1"},
        ),
        "a part ends that has not started",
    ),
    "odd part": (reset("part/type", "odd", "content_part.added"), "no such part: odd"),
    "misplaced part": (
        reset("part", SUMMARY, "content_part.added"),
        "a summary_text in the content of a message",
    ),
    "part field": (reset("part/odd", 1, "content_part.added"), "output_text: has odd"),
    "no annotations": (cut(RESPONSES, f"{at('content_part.added')}/part/annotations"), "without annotations"),
    "part index": (reset("content_index", 1, "content_part.added"), "content_index 1, wants 0"),
    "summary index": (reset("summary_index", 1, "reasoning_summary_part.added"), "summary_index 1, wants 0"),
    "text in new part": (reset("part/text", "H", "content_part.added"), "a part that starts with text: H"),
    "part ends as another": (reset("content_index", 1, "content_part.done"), "part 0 ends as"),
    "part's text": (reset("part/text", "Ho", "content_part.done"), "the part's text is not its deltas"),
    "delta's index": (reset("content_index", 1, "output_text.delta"), "index 1 in part 0"),
    "delta no text": (reset("delta", None, "output_text.delta"), "delta is no string"),
    "empty delta": (reset("delta", "", "output_text.delta"), "an empty delta"),
    "delta of another": (
        more(
            "output_text.done",
            RESPONSES[at("reasoning_summary_text.delta")] | {"output_index": 1, "item_id": "msg_1"},
        ),
        "no summary_text is open",
    ),
    "delta after done": (
        more("content_part.done", RESPONSES[at("output_text.delta")]),
        "a delta after the text is done",
    ),
    "text lost": (less("output_text.delta", 1), "text is not its deltas: Hi"),
    "text done twice": (
        more("content_part.done", RESPONSES[at("output_text.done")]),
        "the text is done twice",
    ),
    "text not done": (less("output_text.done"), "the part ends before its text is done"),
    "summary lost": (less("reasoning_summary_text.delta", 1), "text is not its deltas: Hm"),
    "arguments lost": (less("function_call_arguments.delta"), "arguments is not its deltas: {}"),
    "arguments not done": (less("function_call_arguments.done"), "before its arguments are done"),
    "arguments in item": (
        reset("item/arguments", "[]", "output_item.done", 2),
        "arguments is not its deltas: []",
    ),
    "input lost": (less("custom_tool_call_input.delta"), "input is not its deltas: ls -l"),
    "input not done": (less("custom_tool_call_input.done"), "before its input are done"),
    "content in item": (
        reset("item/content", [], "output_item.done", 1),
        "the item's content is not its parts",
    ),
    "summary in item": (reset("item/summary", [], "output_item.done"), "the item's summary is not its parts"),
    "annotation": (
        more(
            "output_item.done",
            {
                "type": "response.output_text.annotation.added",
                "item_id": "msg_1",
                "output_index": 1,
                "content_index": 0,
                "annotation_index": 0,
                "annotation": {},
            },
            nth=1,
        ),
        "no output_text is open",
    ),
    "same call_id": (
        ended(
            "completed",
            [],
            *call(0, FUNCTION, "function_call_arguments", "arguments"),
            *call(1, FUNCTION | {"id": "fc_2"}, "function_call_arguments", "arguments"),
        ),
        "the call_id call_1 twice",
    ),
    "open at the end": (less("output_item.done", 3), "response.completed inside an item"),
    "output": (reset("response/output", [], "completed"), "output is not the items that were done"),
    "output changed": (
        reset("response/output/1/role", "user", "completed"),
        "output is not the items that were done",
    ),
    "status last": (reset("response/status", "failed", "completed"), "status failed in response.completed"),
    "error last": (reset("response/error", FAULT, "completed"), "an error in response.completed"),
    "details": (
        reset("response/incomplete_details", LENGTH, "completed"),
        "incomplete_details in response.completed",
    ),
    "incomplete item": (
        ended(
            "completed",
            [MESSAGE | {"status": "incomplete", "content": []}],
            *around(
                0,
                MESSAGE | {"content": [], "status": "in_progress"},
                [],
                MESSAGE | {"status": "incomplete", "content": []},
            ),
        ),
        "an incomplete item in response.completed",
    ),
    "no reason": (ended("incomplete", []), "incomplete_details: no object"),
    "odd reason": (ended("incomplete", [], incomplete_details={"reason": "odd"}), "no such reason: odd"),
    "failed without error": (ended("failed", []), "response.error: no object"),
    "failed mutely": (ended("failed", [], error=FAULT | {"message": ""}), "response.error.message is empty"),
    "failed with output": (ended("failed", [], *TOLD, error=FAULT), "output is not the items that were done"),
    "no usage": (reset("response/usage", None, "completed"), "no usage in the final response"),
    "total": (reset("response/usage/total_tokens", 6, "completed"), "total_tokens 6, wants 5"),
    "count": (reset("response/usage/input_tokens", -1, "completed"), "input_tokens is no count"),
    "cached": (
        reset("response/usage/input_tokens_details/cached_tokens", 4, "completed"),
        "cached_tokens 4 of 3",
    ),
    "reasoning": (
        reset("response/usage/output_tokens_details/reasoning_tokens", 3, "completed"),
        "reasoning_tokens 3 of 2",
    ),
    "details null": (
        reset("response/usage/output_tokens_details", None, "completed"),
        "output_tokens_details is null",
    ),
    "after the end": (numbered([*RESPONSES, RESPONSES[-1]]), "after the end"),
    "mute error": (numbered([RESPONSES_ERROR | {"message": ""}]), "error.message is empty"),
    "error field": (numbered([RESPONSES_ERROR | {"odd": 1}]), "error: has odd"),
    "after the error": (
        numbered([*STARTS, RESPONSES_ERROR, *TOLD]),
        "response.output_item.added after an error",
    ),
    "cut": (RESPONSES[:-1], "stops without response.completed"),
}
BROKEN_GEMINI: dict[str, tuple[Events, str]] = {
    "unknown field": (put(GEMINI, "1/odd", 1), "chunk: has odd"),
    "no model": (cut(GEMINI, "1/modelVersion"), "chunk: without modelVersion"),
    "another id": (put(GEMINI, "1/responseId", "r2"), "after"),
    "another model": (put(GEMINI, "1/modelVersion", "n"), "after"),
    "tells nothing": (cut(GEMINI, "1/candidates"), "a chunk that tells nothing"),
    "candidates": (put(GEMINI, "1/candidates", {}), "candidates is no list"),
    "two candidates": (put(GEMINI, "1/candidates", GEMINI[1]["candidates"] * 2), "a second candidate"),
    "index": (put(GEMINI, "1/candidates/0/index", 1), "a second candidate"),
    "candidate": (put(GEMINI, "1/candidates/0", []), "candidate: no object"),
    "candidate field": (put(GEMINI, "1/candidates/0/odd", 1), "candidate: has odd"),
    "role": (put(GEMINI, "1/candidates/0/content/role", "user"), "the role is user"),
    "no role": (cut(GEMINI, "1/candidates/0/content/role"), "the role is None"),
    "parts": (put(GEMINI, "1/candidates/0/content/parts", {}), "parts is no list"),
    "two kinds": (
        put(GEMINI, "2/candidates/0/content/parts/0/text", "x"),
        "a part of 2 kinds: functionCall, text, thoughtSignature",
    ),
    "no kind": (
        put(GEMINI, "1/candidates/0/content/parts/0", {"thoughtSignature": "x"}),
        "a part of 0 kinds",
    ),
    "odd part": (put(GEMINI, "1/candidates/0/content/parts/0/odd", 1), "part: has odd"),
    "text": (put(GEMINI, "1/candidates/0/content/parts/0/text", None), "text is no string"),
    "thought": (put(GEMINI, "0/candidates/0/content/parts/0/thought", 1), "thought is 1"),
    "thought call": (
        put(GEMINI, "2/candidates/0/content/parts/0/thought", True),
        "thought on a part without text",
    ),
    "signature": (
        put(GEMINI, "2/candidates/0/content/parts/0/thoughtSignature", ""),
        "thoughtSignature is empty",
    ),
    "inline": (put(GEMINI, "1/candidates/0/content/parts/0", {"inlineData": []}), "inlineData: no object"),
    "args": (put(GEMINI, "2/candidates/0/content/parts/0/functionCall/args", "{}"), "args: no object"),
    "no args": (
        cut(GEMINI, "2/candidates/0/content/parts/0/functionCall/args"),
        "functionCall: without args",
    ),
    "partial": (
        put(GEMINI, "2/candidates/0/content/parts/0/functionCall/willContinue", True),
        "functionCall: has willContinue",
    ),
    "name": (put(GEMINI, "2/candidates/0/content/parts/0/functionCall/name", ""), "name is empty"),
    "call": (put(GEMINI, "2/candidates/0/content/parts/0/functionCall", []), "functionCall: no object"),
    "same id": (add(GEMINI, 2, GEMINI[2]), "the id c1 twice"),
    "odd finish": (put(GEMINI, "3/candidates/0/finishReason", "stop"), "no such finish reason: stop"),
    "finish twice": (add(GEMINI, 4, GEMINI[3]), "a candidate after the finish reason"),
    "text after": (add(GEMINI, 4, GEMINI[1]), "a candidate after the finish reason"),
    "odd block": (put([*GEMINI[-1:]], "0/promptFeedback", {"blockReason": "x"}), "no such block reason: x"),
    "no block": (put([*GEMINI[-1:]], "0/promptFeedback", {}), "promptFeedback: without blockReason"),
    "late block": (
        put(GEMINI, "4/promptFeedback", {"blockReason": "SAFETY"}),
        "a block reason after the end",
    ),
    "total": (put(GEMINI, "4/usageMetadata/totalTokenCount", 11), "totalTokenCount 11, wants 10"),
    "no total": (cut(GEMINI, "4/usageMetadata/totalTokenCount"), "usageMetadata: without totalTokenCount"),
    "count": (put(GEMINI, "4/usageMetadata/thoughtsTokenCount", -1), "thoughtsTokenCount is no count"),
    "usage field": (put(GEMINI, "4/usageMetadata/odd", 1), "usageMetadata: has odd"),
    "cached": (put(GEMINI, "4/usageMetadata/cachedContentTokenCount", 4), "more tokens cached"),
    "late error": (add(GEMINI, 4, GEMINI_ERROR), "an error after the finish reason"),
    "error code": (put([GEMINI_ERROR], "0/error/code", "503"), "the error's code is 503"),
    "mute error": (put([GEMINI_ERROR], "0/error/message", ""), "error.message is empty"),
    "error status": (cut([GEMINI_ERROR], "0/error/status"), "error: without status"),
    "after the error": (add(GEMINI, 1, GEMINI_ERROR), "after an error"),
    "cut": (GEMINI[:3], "stops without a finish reason, a block reason or an error"),
}
BROKEN: dict[str, dict[str, tuple[Events, str]]] = {
    "claude": BROKEN_CLAUDE,
    "openai": BROKEN_OPENAI,
    "responses": BROKEN_RESPONSES,
    "gemini": BROKEN_GEMINI,
}


FRAMING = [
    (b"data: {}", "an unfinished frame: data: {}"),
    (b"data: {}\n", "an unfinished frame"),
    (b"data: {}\r\ndata: {}\n\n", "a line end of another kind, or none"),
    (b"data: {}\n\n\n", "a line end of another kind, or none"),
    ('data: {"a":"\u2028"}\n\n'.encode(), "a line end of another kind, or none"),
    (b": x\ndata: {}\n\n", "a comment with more in its frame"),
    (b"data: {\ndata: }\n\n", "not one data line"),
    (b"event: x\n\n", "not one data line"),
    (b"event: \ndata: {}\n\n", "the event's name is empty"),
    (b"data:{}\n\n", "no data line"),
    (b"id: 1\n\n", "no data line"),
    (b'data: {"a":1,"a":2}\n\n', "the same name twice: ['a', 'a']"),
    (b'data: {"a":NaN}\n\n', "NaN is no JSON"),
    (b"data: {\n\n", "no JSON"),
    (b"data: []\n\n", "no object: []"),
    (b"data: " + b"[" * 100_000 + b"\n\n", "no JSON"),
    (b'data: "\xff"\n\n', "no UTF-8 at byte 7"),
]


_ARRAY = json.dumps(GEMINI).encode()
_UNASKED = [{name: event[name] for name in event if name != "usage"} for event in SHORT]
_DONE = b"data: [DONE]\n\n"
OTHERWISE: list[tuple[str, bytes, dict[str, bool], str]] = [
    ("openai", framed("openai", SHORT), {"include_usage": False}, "chunk: has usage"),
    ("openai", framed("openai", _UNASKED), {}, "usage was not asked for"),
    ("openai", framed("openai", SHORT, ""), {}, "stops without [DONE]"),
    ("openai", framed("openai", SHORT) + _DONE, {}, "after the end"),
    ("openai", b"event: x\n" + framed("openai", SHORT), {}, "an event line: x"),
    ("gemini", b"event: x\n" + framed("gemini", GEMINI), {}, "an event line: x"),
    ("claude", b"event: x\n" + framed("claude", PLAIN).partition(b"\n")[2], {}, "event x with type"),
    (
        "responses",
        b"event: x\n" + framed("responses", RESPONSES).partition(b"\n")[2],
        {},
        "event x with type",
    ),
    ("claude", framed("claude", PLAIN[:1]) + b": x\n\n", {}, "a comment after message_start"),
    ("claude", framed("claude", PLAIN) + _DONE, {}, "after the end"),
    ("responses", framed("responses", RESPONSES) + _DONE, {}, "after the end"),
    ("responses", framed("responses", RESPONSES) + b": x\n\n", {}, "after the end"),
    ("gemini", framed("gemini", GEMINI) + _DONE, {}, "no JSON"),
    ("gemini", _ARRAY[:-1], {}, "the array does not end"),
    ("gemini", _ARRAY[:-1] + b",]", {}, "a comma before the end of the array"),
    ("gemini", _ARRAY + b"x", {}, "something after the array"),
    ("gemini", _ARRAY.replace(b"}, {", b"} {", 1), {}, "no comma between two elements"),
    ("gemini", b"[1]", {}, "no object: 1"),
    ("gemini", b"[", {}, "the array does not end"),
    ("gemini", b"[]", {}, "stops without a finish reason"),
    ("gemini", b"[{]", {}, "no JSON"),
    ("gemini", b'[{"a": 1, "a": 2}]', {}, "the same name twice"),
    ("gemini", b"[\xff]", {}, "no UTF-8 at byte 1"),
    ("openai", framed("openai", SHORT) * 2, {"lenient": True}, "after [DONE]"),
]
"""What no change of one event shows: (dialect, stream, options, rule)."""

UNNAMED = put(TWO_CALLS, "1/choices/0/delta/tool_calls/0/function/name", None)
RENAMED = put(TWO_CALLS, "2/choices/0/delta/tool_calls/0/function/name", "g")
STOPPED = put(PLAIN, "0/message/stop_reason", "end_turn")[0]
STILL_BROKEN: list[tuple[str, Events, str]] = [
    ("openai", UNNAMED, "a call without a name"),
    ("openai", put(TWO_CALLS, "1/choices/0/delta/tool_calls/0/index", [1]), "the call's index is [1]"),
    ("openai", add(SHORT, 3, *openai(reason="length")[1:2]), "finish reason length after stop"),
    ("openai", add(SHORT, 4, SHORT[1]), "a delta after the finish reason"),
    ("openai", put(SHORT, "3/usage/total_tokens", 4), "total_tokens is less than its parts"),
    ("openai", put(SHORT, "0/choices/0/delta/role", "user"), "the role is user"),
    ("openai", put(TWO_CALLS, "2/choices/0/delta/tool_calls/0/id", "x"), "the id x in the call call_0"),
    ("openai", RENAMED, "the name g in the call of f"),
    ("openai", add(SHORT, 1, OPENAI_ERROR), "after an error"),
    ("gemini", add(GEMINI, 4, GEMINI[2]), "a call after the finish reason"),
    ("gemini", add(GEMINI, 4, GEMINI[1]), "text after the finish reason"),
    ("gemini", put(GEMINI, "4/usageMetadata/totalTokenCount", 9), "totalTokenCount 9, wants 10 or more"),
    ("gemini", gemini(says({"functionCall": {"willContinue": True}})), "a piece of no call"),
    ("claude", [STOPPED, PLAIN[1], PLAIN[-1]], "a block after message_delta"),
    ("claude", [STOPPED, PLAIN[-1], PLAIN[-1]], "after the end"),
]
"""What is a fault of any provider, besides those of the tables above that `KEPT` names."""
KEPT = {
    "claude": "not the first, two starts, index, index of delta, gap, nested, no block, stops twice, misfit,"
    " delta no text, after signature, open at the end, two deltas, block after, no call, no delta,"
    " after the end, late error, cut, same id, usage, call input list",
    "openai": "choices, choice, count, cached, text after",
    "responses": "number gap, no created, created twice, in_progress twice, another id, index from 1,"
    " index gap, index elsewhere, item_id, ends as another, call ends as another, ends twice,"
    " ends in a part, no part, part in part, part ends twice, odd part, misplaced part, part index,"
    " part ends as another, part's text, delta's index, delta after done, text lost, text done twice,"
    " summary lost, arguments in item, same call_id, open at the end, output, status last, error last,"
    " no reason, failed without error, total, cached, reasoning, after the end, after the error, cut,"
    " same item id",
    "gemini": "candidates, parts, two kinds, args, role, text, thought, name, text after, count,"
    " after the error, cut, same id, cached, signature",
}
"""The rules that a lenient check keeps, by their labels."""
