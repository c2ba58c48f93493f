"""A request for the rest of an answer: the client's own, with what was told of it as its last message.

Both the hub's words and the body as it came are extended, for some providers get the one and some the
other. How a provider is told to go on with that message is for those who render (`ChatRequest.begun`).
"""

from __future__ import annotations

import msgspec

from .. import jsontext
from ..events import ChatRequest, Message, TextBlock, Thinking

_Fields = dict[str, object]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_NULL = msgspec.Raw(b"null")


def begun_with(chat: ChatRequest, text: str, spent: int) -> ChatRequest:
    """What asks for the rest of the answer to ``chat`` that began with ``text``, which has cost
    ``spent`` tokens. Without thinking: the answer is past it, Claude refuses the two together
    ("Extended thinking"), and others would think in the midst of a sentence."""
    left = None if chat.max_tokens is None else max(chat.max_tokens - spent, 1)
    return msgspec.structs.replace(
        chat,
        messages=(*chat.messages, Message("assistant", (TextBlock(text),))),
        max_tokens=left,
        thinking=Thinking("disabled"),
        effort=None,
        raw=_body(chat, text, left) if chat.raw else b"",
        begun=True,
    )


def _body(chat: ChatRequest, text: str, left: int | None) -> bytes:
    """The client's own body, likewise. That of Responses goes to no server that goes on with answers."""
    body: _Fields = dict(_fields.decode(chat.raw))
    if chat.dialect == "gemini":
        body["contents"] = [*_contents(body["contents"]), {"role": "model", "parts": [{"text": text}]}]
        for name in ("generationConfig", "generation_config"):
            if _given(body, name):
                config: _Fields = dict(_fields.decode(_raw(body, name)))
                _limit(config, left, "maxOutputTokens", "max_output_tokens")
                body[name] = config
    elif chat.dialect in ("claude", "openai"):
        messages = _list.decode(_raw(body, "messages"))
        body["messages"] = [*messages, {"role": "assistant", "content": text}]
        _limit(body, left, "max_tokens", "max_completion_tokens")
    return jsontext.encode(body)


def _limit(fields: _Fields, left: int | None, *names: str) -> None:
    for name in names:
        if _given(fields, name):
            fields[name] = left


def _contents(told: object) -> list[object]:
    """Gemini's contents as a list; they may be a text, or a turn alone."""
    raw = bytes(told) if isinstance(told, msgspec.Raw) else b""
    if raw[:1] == b"[":
        return [*_list.decode(raw)]
    return [{"role": "user", "parts": [{"text": told}]}] if raw[:1] == b'"' else [told]


def _given(fields: _Fields, name: str) -> bool:
    return fields.get(name, _NULL) != _NULL


def _raw(fields: _Fields, name: str) -> bytes:
    value = fields[name]
    return bytes(value) if isinstance(value, msgspec.Raw) else jsontext.encode(value)
