"""What Claude's stream is made of on the wire: records for a typed decode.

Only what the hub has a word for is named, and what must be told apart. Leaves to `reader` what it
all means.
"""

from __future__ import annotations

import msgspec

from .. import surrogates
from ..surrogates import BAD_JSON

NULL = msgspec.Raw(b"null")
"""The default of a field that was not there."""


# ``object``: what is merely told on costs no answer, whatever its type.
class Block(msgspec.Struct):
    """A content block as it starts, or whole."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: object = None
    name: str | None = None
    input: msgspec.Raw = NULL


class Delta(msgspec.Struct):
    """What ``content_block_delta`` adds, or ``message_delta`` says of the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | msgspec.UnsetType | None = msgspec.UNSET


class Message(msgspec.Struct):
    """A message: as it starts, mostly empty, or whole."""

    type: str = ""
    id: object = None
    model: object = None
    role: object = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class Step(msgspec.Struct):
    """One event of a stream, by Anthropic's names."""

    type: str = ""
    index: object = None
    message: Message | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class _Tag(msgspec.Struct):
    type: str = ""


class _Outline(msgspec.Struct):
    """An event, as far as it can be read whatever is in it."""

    type: str = ""
    index: object = None
    content_block: _Tag | None = None
    delta: _Tag | None = None


_BLOCKS = {"text", "thinking", "redacted_thinking", "tool_use"}
_DELTAS = {"text_delta", "thinking_delta", "signature_delta", "input_json_delta"}
_MESSAGES = {"message_start", "message_delta"}

_decode_step = msgspec.json.Decoder(Step).decode
_decode_outline = msgspec.json.Decoder(_Outline).decode
decode_message = msgspec.json.Decoder(Message).decode


def decode(data: bytes) -> tuple[Step, bytes]:
    """The event in ``data``, and ``data`` as it was understood. Raises one of `BAD_JSON`."""
    try:
        return surrogates.decode(_decode_step, data)
    except BAD_JSON:
        if (unknown := _unknown(data)) is None:
            raise
        return unknown, data


def _unknown(data: bytes) -> Step | None:
    """The event in ``data`` where its fields have other types than they should, since it is of a kind
    that nobody here reads; None where it is of a kind that must be read."""
    try:
        told = _decode_outline(data)
    except BAD_JSON:
        return None
    block, delta = told.content_block or _Tag(), told.delta or _Tag()
    if told.type in _MESSAGES or block.type in _BLOCKS or delta.type in _DELTAS:
        return None
    return Step(told.type, told.index, content_block=Block(block.type), delta=Delta(delta.type))
