"""Mutations that keep an input's structure: of events of a stream, of values in JSON.

Bytes changed at random make streams that no reader gets far into. Here events are dropped, repeated,
moved and cut, and in their JSON a value is replaced, removed, repeated or put under another name.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from .given import CHOICES

_Place: TypeAlias = tuple[Any, Any]
"""A container and the key or index of a value in it."""

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        127,
        2**31,
        2**53,
        -(2**63),
        2**64,
        10**30,
        0.5,
        -0.0,
        1e308,
        1e-308,
    ),
    *("", " ", "x", "0", "a\nb", "a\r\nb", "\u2028", "\x85", "\0", "\ud800", "\udc00😀", "😀", "x" * 3000),
    *(
        "[DONE]",
        "data: x\n\n",
        '{"a":',
        "{}",
        "[]",
        '{"a":1}',
        "null",
        "NaN",
        "1e999",
        "<html>",
        "```",
        "</a>",
    ),
    *([], {}, [[]], [{}], [None], {"": None}, {"type": None}, [""], ["x", "x"], {"a": {"a": {"a": {}}}}),
    *(
        "text",
        "tool_use",
        "tool_calls",
        "thinking",
        "function",
        "stop",
        "error",
        "user",
        "assistant",
        "model",
    ),
    *("message_start", "message_stop", "ping", "response.completed", "response.failed", "length", "STOP"),
    *("tool", "system", "developer", "auto", "any", "none", "required", "object", "array", "string", "image"),
    *(
        "data:image/png;base64,AAAA",
        "https://example.com/a.png",
        "QUFB",
        "a" * 65,
        "é" * 65,
        "../..",
        "a/b?c#d",
    ),
)
NAMES = (
    *("type", "id", "index", "name", "role", "content", "text", "delta", "error", "message", "usage", "code"),
    *("input", "output", "arguments", "tool_calls", "function", "parts", "candidates", "response", "choices"),
    *("finish_reason", "stop_reason", "finishReason", "thought", "thoughtSignature", "signature", "status"),
    *("$ref", "$defs", "anyOf", "properties", "items", "required", "enum", "additionalProperties", "const"),
    *(
        "",
        "x",
        "é",
        "\u2028",
        "__proto__",
        "stream",
        "model",
        "tools",
        "tool_choice",
        "cache_control",
        "item",
    ),
)
DEEP = 80

_BLOCK_END = re.compile(rb"\r?\n\r?\n")


def mutate(data: bytes, dice: random.Random) -> bytes:
    """``data``, an input, changed at a place or a few."""
    choices, text = bytearray(data[:CHOICES].ljust(CHOICES, b"\0")), data[CHOICES:]
    if dice.random() < 0.3:
        choices[dice.randrange(CHOICES)] = dice.randrange(32)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 6))):
        text = _mutate_text(text, dice)
    return bytes(choices) + text


def _mutate_text(text: bytes, dice: random.Random) -> bytes:
    if dice.random() < 0.1:
        return _mutate_bytes(text, dice)
    if b"data:" in text:
        blocks = _BLOCK_END.split(text)
        return b"\n\n".join(_mutate_blocks(blocks, dice))
    return _mutate_json(text, dice)


def _mutate_bytes(text: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(text) + 1)
    end = min(len(text), start + dice.choice((0, 1, 1, 2, 8, 100)))
    put = dice.choice(
        (b"", b"\n", b"\n\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xe2\x80", b'"', b"\\", b"{", b"]")
    )
    return text[:start] + put + text[end:]


def _mutate_blocks(blocks: list[bytes], dice: random.Random) -> list[bytes]:
    at = dice.randrange(len(blocks))
    match dice.randrange(10):
        case 0:
            del blocks[at]
        case 1:
            blocks.insert(dice.randrange(len(blocks) + 1), blocks[at])
        case 2:
            other = dice.randrange(len(blocks))
            blocks[at], blocks[other] = blocks[other], blocks[at]
        case 3:
            del blocks[at:]
            blocks.append(b"")
        case 4:
            blocks[at] = dice.choice(
                (b": ping", b"data: [DONE]", b"event: error\ndata: {}", b"data:", b"error: x")
            )
        case _:
            blocks[at] = _mutate_block(blocks[at], dice)
    return blocks or [b""]


def _mutate_block(block: bytes, dice: random.Random) -> bytes:
    lines = block.split(b"\n")
    for at, line in enumerate(lines):
        name, colon, value = line.partition(b":")
        if name == b"data" and colon:
            lines[at] = b"data: " + _mutate_json(value.strip(), dice)
    return b"\n".join(lines)


def _mutate_json(text: bytes, dice: random.Random) -> bytes:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _mutate_bytes(text, dice)
    root = [value]
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        _mutate_value(root, dice)
    shown: Callable[[Any], str] = json.dumps
    try:
        encoded = shown(root[0])
    except (ValueError, RecursionError):
        return text
    if dice.random() < 0.1:  # as they are, not escaped
        return json.dumps(root[0], ensure_ascii=False).encode("utf-8", "surrogatepass")
    return encoded.encode()


def _mutate_value(root: list[Any], dice: random.Random) -> None:
    places = list(_places(root))
    container, key = dice.choice(places)
    match dice.randrange(9):
        case 0 if container is not root:
            del container[key]
        case 1 if isinstance(container, list) and container is not root:
            container.insert(dice.randrange(len(container) + 1), container[key])
        case 2 if isinstance(container, dict):
            container[dice.choice(NAMES)] = container.pop(key)
        case 3 if isinstance(container[key], dict):
            container[key][dice.choice(NAMES)] = _another(dice)
        case 4:  # what stands elsewhere
            other, place = dice.choice(places)
            container[key] = json.loads(json.dumps(other[place]))
        case 5:
            wrapped = container[key]
            for _ in range(dice.choice((1, 1, 2, DEEP))):
                wrapped = [wrapped] if dice.random() < 0.5 else {dice.choice(NAMES): wrapped}
            container[key] = wrapped
        case 6 if isinstance(container[key], str):
            said = container[key]
            cut = dice.randrange(len(said) + 1)
            container[key] = dice.choice((said[:cut], said[cut:], said + said, said + "\u2028", said.upper()))
        case 7 if isinstance(container[key], int | float):
            container[key] += dice.choice((-1, 1, 10, -1000))
        case _:
            container[key] = _another(dice)


def _another(dice: random.Random) -> Any:
    """One of `VALUES`: a copy, since what it goes into is changed again."""
    return json.loads(json.dumps(dice.choice(VALUES)))


def _places(container: Any) -> list[_Place]:
    """Every value in ``container``, by where it stands."""
    found: list[_Place] = []
    waiting = [container]
    while waiting and len(found) < 5_000:
        one = waiting.pop()
        for key in one if isinstance(one, dict) else range(len(one)):
            found.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    return found
