"""The shape of a Responses stream's events and of whole responses, as far as anybody here looks.

An item is read only when its type is known: the others have fields of these names and other types.
"""

from __future__ import annotations

import msgspec

from ...events import Usage
from ..openai.usage import ABSURD, NULL
from ..surrogates import BAD_JSON


class StreamEvent(msgspec.Struct):
    type: str
    sequence_number: object = None
    output_index: object = None
    item_id: object = None
    delta: object = None
    item: msgspec.Raw = NULL
    response: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class ItemType(msgspec.Struct):
    type: str


class Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class Item(msgspec.Struct):
    type: str
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    content: list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


class Details(msgspec.Struct):
    reason: object = None


class Response(msgspec.Struct):
    id: object = None
    model: object = None
    status: object = None
    error: msgspec.Raw = NULL
    incomplete_details: Details | None = None
    output: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = NULL


class _InputDetails(msgspec.Struct):
    cached_tokens: object = None
    cache_write_tokens: object = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: object = None


class _Usage(msgspec.Struct):
    input_tokens: object = None
    output_tokens: object = None
    total_tokens: object = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_type = msgspec.json.Decoder(ItemType).decode
decode_item = msgspec.json.Decoder(Item).decode
decode_response = msgspec.json.Decoder(Response).decode
_decode_usage = msgspec.json.Decoder(_Usage).decode


def is_null(raw: msgspec.Raw) -> bool:
    return raw is NULL or bytes(raw) == b"null"


def read_usage(raw: msgspec.Raw) -> tuple[Usage | None, bool]:
    """The counts in ``usage``; and whether it is one that clients can read, with all three sums."""
    try:
        told = _decode_usage(raw)
    except BAD_JSON:
        return None, is_null(raw)
    prompt, output = _count(told.input_tokens), _count(told.output_tokens)
    if prompt is None or output is None:
        return None, False
    ins, outs = told.input_tokens_details, told.output_tokens_details
    cached = min(_count(ins and ins.cached_tokens) or 0, prompt)
    written = min(_count(ins and ins.cache_write_tokens) or 0, prompt - cached)
    usage = Usage(
        input_tokens=prompt - cached - written,
        output_tokens=output,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=min(_count(outs and outs.reasoning_tokens) or 0, output),
    )
    return usage, _count(told.total_tokens) is not None


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= ABSURD else None
