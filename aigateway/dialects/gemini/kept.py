"""A Gemini client's own body for a provider of its dialect: byte for byte, but for signatures and a
model's name, which is for the path to say.

Gemini 3 wants the first call of each step since the user last spoke to carry the signature that
came with it, and answers 400 to one that it did not make. So one that the client lost is put back
as it is remembered, and what another family or issuer signed is taken out. Where nothing is
remembered stands the word that Google takes instead. All else goes up as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ... import jsontext
from ...events import ChatRequest, ThinkingBlock, ToolUseBlock
from ...signatures import thought_before
from .. import signed
from .contents import SKIP_SIGNATURE, generation

_Fields = dict[str, msgspec.Raw]

_fields = msgspec.json.Decoder(_Fields)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_NULL = msgspec.Raw(b"null")
_SIGNATURES = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")
_RESULTS = ("functionResponse", "function_response")


def body_of(chat: ChatRequest, model: str) -> bytes:
    """The body that asks ``model`` what ``chat`` asks, which is a Gemini client's."""
    raw = chat.raw
    calls = [
        block for message in chat.messages for block in message.content if isinstance(block, ToolUseBlock)
    ]
    body: dict[str, object] = dict(_fields.decode(raw))
    changed = body.pop("model", None) is not None  # the path says it, and it may be another one there
    told = body.get("contents", _NULL)
    if (calls or b'"thought' in raw) and isinstance(told, msgspec.Raw) and bytes(told)[:1] == b"[":
        contents = _list.decode(told)
        body["contents"] = list(
            _mended(contents, chat, iter(calls), generation(model.removeprefix("models/")))
        )
        changed = changed or body["contents"] != contents
    return jsontext.encode(body) if changed else raw


def _mended(
    contents: list[msgspec.Raw], chat: ChatRequest, calls: Iterator[ToolUseBlock], made: int | None
) -> Iterator[msgspec.Raw]:
    """The contents, those whose signatures had to change written anew."""
    turns = [_turn(content) for content in contents]
    spoken = max(
        (
            index
            for index, (role, parts) in enumerate(turns)
            if role != "model" and not _holds(parts, _RESULTS)
        ),
        default=-1,
    )
    called = False  # in this step
    for index, (content, (role, parts)) in enumerate(zip(contents, turns, strict=True)):
        changed = False
        if role != "model":
            called = False
        for part in parts:
            call = next(calls) if _holds([part], _CALLS) else None
            wanted = call is not None and not called and index > spoken
            called = called or call is not None
            signature = _signature(part)
            own = signed.for_gemini(signature) if signature and signature not in chat.foreign else None
            if own is None and wanted and call is not None:
                own = _remembered(call, chat) or (SKIP_SIGNATURE if made is not None and made >= 3 else None)
            if own == (signature or None):
                continue
            changed = True
            for name in _SIGNATURES:
                part.pop(name, None)
            if own is not None:
                part["thoughtSignature"] = msgspec.Raw(jsontext.json_string(own))
        if not changed:
            yield content
        else:
            fields = _fields.decode(content)
            yield msgspec.Raw(jsontext.encode({**fields, "parts": parts}))


def _turn(content: msgspec.Raw) -> tuple[str, list[_Fields]]:
    """Whose turn a content is, and the fields of its parts; none where it is a text alone."""
    if bytes(content)[:1] != b"{":
        return "user", []
    fields = _fields.decode(content)
    role = msgspec.json.decode(fields.get("role", _NULL))
    parts = fields.get("parts", _NULL)
    if bytes(parts)[:1] != b"[":
        return role or "user", []
    return role or "user", [
        _fields.decode(part) if bytes(part)[:1] == b"{" else {"text": part} for part in _list.decode(parts)
    ]


def _holds(parts: list[_Fields], names: tuple[str, str]) -> bool:
    return any(part.get(name, _NULL) != _NULL for part in parts for name in names)


def _signature(part: Mapping[str, msgspec.Raw]) -> str | None:
    for name in _SIGNATURES:
        if (raw := part.get(name, _NULL)) != _NULL:
            return msgspec.json.decode(raw, type=str)
    return None


def _remembered(call: ToolUseBlock, chat: ChatRequest) -> str | None:
    """What the model signed the call with."""
    thought = thought_before(call, chat.thoughts)
    last = thought.blocks[-1] if thought is not None and thought.blocks else None
    return signed.for_gemini(last.signature) if isinstance(last, ThinkingBlock) and last.signature else None
