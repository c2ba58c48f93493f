"""OpenAI's Responses as its server writes them, and what it refuses.

Pure. The names of events, items and the response itself are those of
https://platform.openai.com/docs/api-reference/responses-streaming. Reading a request is in
`responses_input`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from .answers import Answer, Call
from .openai import OpenAIErrors, parts
from .responses_input import CALLS, Body, Conversations, Item, prompt_of
from .signatures import Signer
from .wire import Asked, Refused, unique

LEAST_OUTPUT = 16
_ECHOED: dict[str, object] = {
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""What a response repeats of its request, and what it says where that is silent."""

Event = dict[str, object]


class AskedResponse(Asked, frozen=True, kw_only=True):
    """``echo`` is what the response repeats; ``items`` the conversation so far; ``summary`` and
    ``encrypted`` say in which form the reasoning is shown, ``store`` whether it is kept."""

    echo: dict[str, object]
    items: tuple[Item, ...] = ()
    summary: bool = False
    encrypted: bool = False
    store: bool = True


class ResponsesWire(OpenAIErrors):
    lead = 4
    trailer = 0

    def __init__(self) -> None:
        self.conversations = Conversations()
        self.signer = Signer("simulated openai")

    def read(self, body: bytes, *, serial: int, created: int) -> AskedResponse:
        try:
            parsed = msgspec.json.decode(body, type=Body)
        except msgspec.ValidationError as error:
            raise Refused(self.refusal(f"Invalid body: {error}.")) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(self.refusal("We could not parse the JSON body of your request.")) from None
        given = msgspec.json.decode(body)
        items = [*self._before(parsed.previous_response_id), *parsed.items]
        self._check(parsed, items)
        return AskedResponse(
            model=parsed.model or "",
            prompt=prompt_of(parsed, items),
            stream=bool(parsed.stream),
            serial=serial,
            created=created,
            echo={name: given.get(name, default) for name, default in _ECHOED.items()},
            items=tuple(items),
            summary=parsed.reasoning is not None and parsed.reasoning.summary is not None,
            encrypted="reasoning.encrypted_content" in (parsed.include or ()),
            store=parsed.store is not False,
        )

    def frames(self, asked: Asked, answer: Answer) -> Iterator[bytes]:
        for number, event in enumerate(self._events(asked, answer)):
            yield _frame(event, number)

    def whole(self, asked: Asked, answer: Answer) -> bytes:
        return msgspec.json.encode(self._finished(asked, answer))

    def error_frame(self, asked: Asked, after: int) -> bytes:
        error = {"code": "server_error", "message": "The server had an error while processing your request."}
        failed = self._response(asked, "failed", []) | {"error": error}
        return _frame({"type": "response.failed", "response": failed}, after)

    def _before(self, id_: str | None) -> tuple[Item, ...]:
        if id_ is None:
            return ()
        items = self.conversations.before(id_)
        if items is None:
            message = f"Previous response with id '{id_}' not found."
            raise Refused(self.refusal(message, "previous_response_id", "previous_response_not_found"))
        return items

    def _check(self, body: Body, items: list[Item]) -> None:
        """Refuse what lacks a part, or whose calls and results do not belong together."""
        if not body.model:
            raise Refused(self.refusal("Missing required parameter: 'model'.", "model", _MISSING))
        if not items:
            raise Refused(self.refusal("Missing required parameter: 'input'.", "input", _MISSING))
        if body.max_output_tokens is not None and body.max_output_tokens < LEAST_OUTPUT:
            message = (
                "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= "
                f"{LEAST_OUTPUT}, but got {body.max_output_tokens} instead."
            )
            raise Refused(self.refusal(message, "max_output_tokens", "integer_below_min_value"))
        for number, tool in enumerate(body.tools or ()):
            if tool.type in ("function", "custom"):
                self.check_name(tool.name or "", f"tools[{number}].name")
        self._check_calls(items)
        for item in items:
            encrypted = item.get("encrypted_content")
            if isinstance(encrypted, str) and not self.signer.issued("gemini", encrypted):
                message = (
                    f"The encrypted content {encrypted[:4]}...{encrypted[-4:]} could not be verified. "
                    "Reason: Encrypted content could not be decrypted or parsed."
                )
                raise Refused(self.refusal(message, None, "invalid_encrypted_content"))

    def _check_calls(self, items: list[Item]) -> None:
        calls = {(item["type"], item.get("call_id")) for item in items if item.get("type") in CALLS.values()}
        answered = set()
        for item in items:
            kind, id_ = item.get("type"), item.get("call_id")
            if not isinstance(kind, str) or kind not in CALLS:
                continue
            if (CALLS[kind], id_) not in calls:
                what = kind.replace("_output", "").replace("_", " ")
                message = f"No tool call found for {what} output with call_id {id_}."
                raise Refused(self.refusal(message, "input"))
            answered.add((CALLS[kind], id_))
        for item in items:
            kind, id_ = item.get("type"), item.get("call_id")
            if (kind, id_) in calls - answered:
                message = f"No tool output found for {str(kind).replace('_', ' ')} {id_}."
                raise Refused(self.refusal(message, "input"))

    def _events(self, asked: Asked, answer: Answer) -> Iterator[Event]:
        started = self._response(asked, "in_progress", [])
        yield {"type": "response.created", "response": started}
        yield {"type": "response.in_progress", "response": started}
        for index, item in enumerate(self._items(asked, answer)):
            # What is empty when the item is added, and how it is filled.
            name, filling = _FILLED[str(item["type"])]
            added = item | {name: type(item[name])()}
            if "status" in item:
                added["status"] = "in_progress"
            yield {"type": "response.output_item.added", "output_index": index, "item": added}
            for event in filling(item, answer):
                yield {**event, "item_id": item["id"], "output_index": index}
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
        finished = self._finished(asked, answer)
        yield {"type": f"response.{finished['status']}", "response": finished}

    def _finished(self, asked: Asked, answer: Answer) -> Item:
        """The response at its end; from then on it can be continued."""
        items = self._items(asked, answer)
        response = self._response(asked, "incomplete" if answer.cut else "completed", items)
        if answer.cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        spoken = answer.thinking_tokens + answer.spoken_tokens
        response["usage"] = {
            "input_tokens": asked.prompt.tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": spoken,
            "output_tokens_details": {"reasoning_tokens": answer.thinking_tokens},
            "total_tokens": asked.prompt.tokens + spoken,
        }
        if isinstance(asked, AskedResponse) and asked.store:
            self.conversations.keep(str(response["id"]), (*asked.items, *items))
        return response

    def _response(self, asked: Asked, status: str, output: list[Item]) -> Item:
        echo = asked.echo if isinstance(asked, AskedResponse) else _ECHOED
        return {
            "id": f"resp_{unique('openai responses', asked, 48)}",
            "object": "response",
            "created_at": asked.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": asked.model,
            "output": output,
            "service_tier": "default",
            "usage": None,
            **echo,
        }

    def _items(self, asked: Asked, answer: Answer) -> list[Item]:
        """The output, whole."""
        serial = unique("openai responses", asked)
        items: list[Item] = []
        if asked.prompt.think:
            items.append(self._reasoning(asked, answer, serial))
        status = "incomplete" if answer.cut else "completed"
        if answer.text:
            part = {"type": "output_text", "annotations": [], "logprobs": [], "text": "".join(answer.text)}
            message = {"id": f"msg_{serial}", "type": "message", "status": status}
            items.append({**message, "content": [part], "role": "assistant"})
        if answer.call is not None:
            items.append(_call_item(answer.call, serial))
        return items

    def _reasoning(self, asked: Asked, answer: Answer, serial: str) -> Item:
        item: Item = {"id": f"rs_{serial}", "type": "reasoning", "summary": []}
        if isinstance(asked, AskedResponse) and asked.summary:
            item["summary"] = [{"type": "summary_text", "text": "".join(answer.thinking)}]
        if isinstance(asked, AskedResponse) and asked.encrypted:
            item["encrypted_content"] = self.signer.gemini(f"{asked.created} {asked.serial}")
        return item


_MISSING = "missing_required_parameter"


def _call_item(call: Call, serial: str) -> Item:
    kind, prefix = ("custom_tool_call", "ctc") if call.custom else ("function_call", "fc")
    item = {"id": f"{prefix}_{serial}", "type": kind, "status": "completed", "call_id": f"call_{serial}"}
    if call.namespace:
        item["namespace"] = call.namespace
    return {**item, "name": call.name, _FILLED[kind][0]: call.arguments}


def _reasoning_events(item: Item, answer: Answer) -> Iterator[Event]:
    if not item["summary"]:
        return
    text = "".join(answer.thinking)
    place = {"summary_index": 0}
    kind = "response.reasoning_summary"
    yield {"type": f"{kind}_part.added", **place, "part": {"type": "summary_text", "text": ""}}
    for piece in answer.thinking:
        yield {"type": f"{kind}_text.delta", **place, "delta": piece}
    yield {"type": f"{kind}_text.done", **place, "text": text}
    yield {"type": f"{kind}_part.done", **place, "part": {"type": "summary_text", "text": text}}


def _message_events(item: Item, answer: Answer) -> Iterator[Event]:
    content = item["content"]
    assert isinstance(content, list)
    place = {"content_index": 0}
    yield {"type": "response.content_part.added", **place, "part": content[0] | {"text": ""}}
    for piece in answer.text:
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": content[0]["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": content[0]}


def _arguments_events(item: Item, answer: Answer) -> Iterator[Event]:
    for part in parts(str(item["arguments"])):
        yield {"type": "response.function_call_arguments.delta", "delta": part}
    yield {"type": "response.function_call_arguments.done", "arguments": item["arguments"]}


def _input_events(item: Item, answer: Answer) -> Iterator[Event]:
    for part in parts(str(item["input"])):
        yield {"type": "response.custom_tool_call_input.delta", "delta": part}
    yield {"type": "response.custom_tool_call_input.done", "input": item["input"]}


_FILLED: dict[str, tuple[str, Callable[[Item, Answer], Iterator[Event]]]] = {
    "reasoning": ("summary", _reasoning_events),
    "message": ("content", _message_events),
    "function_call": ("arguments", _arguments_events),
    "custom_tool_call": ("input", _input_events),
}
"""Of each kind of item, the part that comes piece by piece, and the events that bring it."""


def _frame(event: Event, number: int) -> bytes:
    kind = str(event["type"])
    data = msgspec.json.encode({"type": kind, "sequence_number": number, **event})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
