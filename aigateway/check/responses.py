"""The grammar of OpenAI's Responses stream.

Rules: the events and items of OpenAI's API (https://platform.openai.com/docs/api-reference/responses-streaming,
and the types of its Python SDK), in the order in which OpenAI sends them. Every text is told three
times or more: in deltas, in the ``done`` event of the part, in the item and in the final response;
all must say the same. Lenient lets pass other items (web search, images, programs), events and
fields, and items that are open at the same time.
"""

from __future__ import annotations

from typing import Any

from .common import (
    Answer,
    Frame,
    Grammar,
    count,
    demand,
    items,
    json_object,
    kind_of,
    lenient_frames,
    name,
    strict_frames,
    text,
)
from .response_items import TEXTS, Item

_RESPONSE = (
    "id object created_at status error incomplete_details instructions metadata model output"
    " parallel_tool_calls temperature tool_choice tools top_p"
)
_RESPONSE_ALSO = (
    "background completed_at conversation frequency_penalty max_output_tokens max_tool_calls moderation"
    " presence_penalty previous_response_id prompt prompt_cache_key prompt_cache_retention reasoning"
    " safety_identifier service_tier store text tool_usage top_logprobs truncation usage user"
)
_AT = "item_id output_index"
_FIELDS = {  # of each event, besides type and sequence_number
    "response.created": "response",
    "response.in_progress": "response",
    "response.completed": "response",
    "response.incomplete": "response",
    "response.failed": "response",
    "response.output_item.added": "output_index item",
    "response.output_item.done": "output_index item",
    "response.content_part.added": f"{_AT} content_index part",
    "response.content_part.done": f"{_AT} content_index part",
    "response.output_text.delta": f"{_AT} content_index delta logprobs",
    "response.output_text.done": f"{_AT} content_index text logprobs",
    "response.output_text.annotation.added": f"{_AT} content_index annotation_index annotation",
    "response.refusal.delta": f"{_AT} content_index delta",
    "response.refusal.done": f"{_AT} content_index refusal",
    "response.reasoning_text.delta": f"{_AT} content_index delta",
    "response.reasoning_text.done": f"{_AT} content_index text",
    "response.reasoning_summary_part.added": f"{_AT} summary_index part",
    "response.reasoning_summary_part.done": f"{_AT} summary_index part",
    "response.reasoning_summary_text.delta": f"{_AT} summary_index delta",
    "response.reasoning_summary_text.done": f"{_AT} summary_index text",
    "response.function_call_arguments.delta": f"{_AT} delta",
    "response.function_call_arguments.done": f"{_AT} arguments",
    "response.custom_tool_call_input.delta": f"{_AT} delta",
    "response.custom_tool_call_input.done": f"{_AT} input",
}
_STARTS = ("created", "in_progress")
_INCOMPLETE = {"max_output_tokens", "max_messages", "content_filter", "steered"}


def check_responses(data: bytes, *, whole: bool = True, lenient: bool = False) -> Answer:
    """The answer that a Responses stream tells. ``stop`` is "completed", or why the response is
    incomplete; a refusal's text is text. ``whole``: it must have come to an end, by the final
    response or an error; otherwise it may stop between any two events."""
    frames = lenient_frames(data) if lenient else strict_frames(data)
    return _Responses(lenient=lenient).run(frames, whole=whole)


class _Responses(Grammar):
    """Where a Responses stream is: ``open`` are the items under way by their index, ``done`` those
    that are told."""

    WANTS = "response.completed, response.incomplete, response.failed"

    def __init__(self, *, lenient: bool) -> None:
        super().__init__(lenient=lenient)
        self.number: int | None = None
        self.begun = 0  # how many of _STARTS have come
        self.same: dict[str, Any] = {}
        self.open: dict[int, Item] = {}
        self.done: dict[int, dict[str, Any]] = {}
        self.ids: list[object] = []
        self.closed = False

    def frame(self, frame: Frame) -> None:
        demand(not self.closed, "after the end")
        if frame.data is None:
            self.answer.comments += 1
            return
        data = json_object(frame.data)
        event = kind_of(data, "the event")
        unnamed = self.lenient and not frame.event
        demand(frame.event == event or unnamed, "event {} with type {}", frame.event, event)
        demand(not self.ended or event == "response.failed", "{} after an error", event)
        self.sequence(data)
        self.answer.chunks.append(data)
        if event == "error":
            self.error(data)
            return
        if event not in _FIELDS:
            demand(self.lenient, "no such event: {}", event)
            return
        needed = _FIELDS[event].replace(" logprobs", "") if self.lenient else _FIELDS[event]
        self.fields(data, f"type {needed}", event, "sequence_number")
        subject, _, step = event.rpartition(".")
        if step in ("created", "in_progress"):
            self.starts(step, data["response"])
        elif subject == "response":
            self.ends(step, data["response"])
        else:
            self.tells(subject, step, data)

    def sequence(self, data: dict[str, Any]) -> None:
        if self.lenient and "sequence_number" not in data:
            return
        number = count(data.get("sequence_number"), "sequence_number")
        wanted = number if self.lenient and self.number is None else (self.number or 0)
        demand(number == wanted, "sequence_number {}, wants {}", number, wanted)
        self.number = number + 1

    def tells(self, subject: str, step: str, data: dict[str, Any]) -> None:
        """An event of one of the items."""
        demand(self.begun == 2 or self.lenient, "an item before response.in_progress")
        index = count(data["output_index"], "output_index")
        if subject == "response.output_item" and step == "added":
            demand(self.lenient or not self.open, "an item starts inside another")
            wanted = len(self.open) + len(self.done)
            demand(index == wanted, "output_index {}, wants {}", index, wanted)
            item = Item(self, data["item"])
            demand(item.id is None or item.id not in self.ids, "the item id {} twice", item.id)
            self.open[index] = item
            self.ids.append(item.id)
            return
        demand(index in self.open, "output_index {}: no such item is open", index)
        item = self.open[index]
        if subject == "response.output_item":
            item.done(data["item"])
            del self.open[index]
            self.done[index] = data["item"]
            return
        demand(data["item_id"] == item.id, "item_id {} in the item {}", data["item_id"], item.id)
        if subject in TEXTS:
            (item.delta if step == "delta" else item.text_done)(TEXTS[subject], data)
        elif subject == "response.output_text.annotation":
            item.text("output_text", data)
        else:
            place = "content" if subject == "response.content_part" else "summary"
            (item.part_added if step == "added" else item.part_done)(place, data)

    def response(self, response: Any) -> dict[str, Any]:
        """``response``, whole, with the same id, model and time as before."""
        names = "id object status output" if self.lenient else _RESPONSE
        self.fields(response, names, "response", _RESPONSE_ALSO)
        demand(response["object"] == "response", "object is {}", response["object"])
        keys = ("id",) if self.lenient else ("id", "model", "created_at")
        same = {key: response[key] for key in keys}
        self.same = self.same or same
        demand(same == self.same, "not the same throughout: {} after {}", same, self.same)
        items(response["output"], "output")
        return dict(response)

    def starts(self, step: str, response: Any) -> None:
        """``response.created``, then ``response.in_progress``."""
        demand(self.begun == _STARTS.index(step), "response.{} is not the next", step)
        response = self.response(response)
        self.answer.id = name(response["id"], "id")
        self.answer.model = text(response.get("model", ""), "model")
        if not self.lenient:
            demand(response["status"] == "in_progress", "status {} at the start", response["status"])
            demand(response["id"].startswith("resp_"), "the id does not begin with resp_: {}", response["id"])
            count(response["created_at"], "created_at")
            demand(not response["output"], "output at the start")
            demand(response["error"] is None, "an error at the start")
            demand(response.get("usage") is None, "usage at the start")
        self.begun += 1

    def ends(self, how: str, response: Any) -> None:
        """``response.completed``, ``response.incomplete`` or ``response.failed``."""
        demand(self.begun, "response.{} before response.created", how)
        demand(
            self.begun == 2 or how == "failed" or self.lenient, "response.{} before response.in_progress", how
        )
        response = self.response(response)
        demand(response["status"] == how, "status {} in response.{}", response["status"], how)
        told = [self.done[index] for index in sorted(self.done)]
        output = response["output"]
        details, error = response.get("incomplete_details"), response.get("error")
        if how == "failed":
            self.answer.error = self.fields(error, "code message", "response.error", "type param")
            name(error["message"], "response.error.message")
            self.broken_off()
            output = output[: len(told)]  # the item that was broken off may follow
        else:
            demand(not self.open, "response.{} inside an item", how)
            demand(error is None, "an error in response.{}", how)
            self.answer.stop = how
        if how == "incomplete":
            self.answer.stop = name(self.fields(details, "reason", "incomplete_details")["reason"], "reason")
            demand(self.lenient or self.answer.stop in _INCOMPLETE, "no such reason: {}", self.answer.stop)
        else:
            demand(details is None, "incomplete_details in response.{}", how)
        statuses = [item.get("status") for item in told]
        demand(how != "completed" or "incomplete" not in statuses, "an incomplete item in response.completed")
        demand(self.comparable(output) == self.comparable(told), "output is not the items that were done")
        self.usage(response.get("usage"), needed=how != "failed" and not self.lenient)
        self.ended = self.closed = True

    def broken_off(self) -> None:
        for item in self.open.values():
            item.broken_off()
        self.open.clear()

    def comparable(self, output: list[Any]) -> list[Any]:
        """``output``, comparable: OpenAI encrypts a reasoning anew each time that it tells it."""
        if not self.lenient:
            return output
        return [
            {key: value for key, value in item.items() if key != "encrypted_content"}
            for item in output
            if isinstance(item, dict)
        ]

    def usage(self, usage: Any, *, needed: bool) -> None:
        if usage is None:
            demand(not needed, "no usage in the final response")
            return
        names = "input_tokens output_tokens total_tokens"
        details = "input_tokens_details output_tokens_details"
        self.fields(usage, names if self.lenient else f"{names} {details}", "usage", details)
        for kind in names.split():
            count(usage[kind], kind)
        total = usage["input_tokens"] + usage["output_tokens"]
        demand(usage["total_tokens"] == total, "total_tokens {}, wants {}", usage["total_tokens"], total)
        within = (("input", "cached_tokens", "cache_write_tokens"), ("output", "reasoning_tokens", ""))
        for side, kind, also in within:
            details = f"{side}_tokens_details"
            if usage.get(details) is None:
                demand(self.lenient, "{} is null", details)
                continue
            part = count(self.fields(usage[details], kind, details, also)[kind], kind)
            demand(part <= usage[f"{side}_tokens"], "{} {} of {}", kind, part, usage[f"{side}_tokens"])
        self.answer.usage = usage

    def error(self, data: dict[str, Any]) -> None:
        """An ``error`` event: flat, as it is documented, or nested, as it is sent."""
        if "error" in data:
            self.fields(data, "type error", "error", "sequence_number")
            error = self.fields(data["error"], "message", "error.error", "type code param")
        else:
            error = self.fields(data, "type message", "error", "sequence_number code param")
        name(error["message"], "error.message")
        self.broken_off()
        self.answer.error = error
        self.ended = True
