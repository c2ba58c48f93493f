"""Large, deep and odd requests: what `benchmarks.heavy_requests` sends, each a function of its size.

All are OpenAI's Chat Completions but where the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

MIB = 1024 * 1024


def _times(piece: bytes, size: int, between: bytes = b",") -> bytes:
    """``piece`` as often as it goes into ``size`` bytes."""
    return between.join([piece] * max(size // (len(piece) + len(between)), 1))


def _chat(messages: bytes, more: bytes = b"") -> bytes:
    return b'{"model":"m","stream":false,"messages":[%b]%b}' % (messages, more)


def _said(text: bytes, more: bytes = b"") -> bytes:
    return _chat(b'{"role":"user","content":"%b"}' % text, more)


def _parts(part: bytes, size: int) -> bytes:
    return _chat(b'{"role":"user","content":[%b]}' % _times(part, size))


def _tool(count: int) -> bytes:
    schema = b'{"type":"object","properties":{"path":{"type":"string"},"depth":{"type":"integer"}}}'
    tool = b'{"type":"function","function":{"name":"tool_%d","description":"Reads.","parameters":%b}}'
    return b",".join(tool % (number, schema) for number in range(count))


def _calls(size: int) -> bytes:
    call = (
        b'{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":'
        b'{"name":"look","arguments":"{\\"path\\":\\"a\\"}"}}]},{"role":"tool","tool_call_id":"c","content":"b"}'
    )
    return _chat(b'{"role":"user","content":"x"},' + _times(call, size))


def _deep(opened: bytes, closed: bytes, inner: bytes) -> bytes:
    return b',"x":' + opened * 60 + inner + closed * 60


BODIES: Mapping[str, Callable[[int], bytes]] = {
    "one long text": lambda size: _said(b"x" * size),
    "a text of escapes": lambda size: _said(b"\\n" * (size // 2)),
    "a text of unicode escapes": lambda size: _said(b"\\u00e9" * (size // 6)),
    "a text in Chinese": lambda size: _said("\u6570".encode() * (size // 3)),
    "a text of backslashes": lambda size: _said(b"\\\\" * (size // 2)),
    "a text of quotes": lambda size: _said(b'\\"' * (size // 2)),
    "a base64 image": lambda size: _parts(
        b'{"type":"image_url","image_url":{"url":"data:image/png;base64,%b"}}' % (b"A" * (size - 128)), size
    ),
    "images of 1 MiB": lambda size: _parts(
        b'{"type":"image_url","image_url":{"url":"data:image/png;base64,%b"}}' % (b"A" * MIB), size
    ),
    "messages of 1 KiB": lambda size: _chat(_times(b'{"role":"user","content":"%b"}' % (b"x" * 990), size)),
    "the smallest messages": lambda size: _chat(_times(b'{"role":"user","content":"x"}', size)),
    "the smallest parts": lambda size: _parts(b'{"type":"text","text":"x"}', size),
    "parts of an unknown type": lambda size: _parts(b'{"type":"x"}', size),
    "calls and results": _calls,
    "10,000 tools": lambda size: _said(b"x", b',"tools":[%b]' % _tool(10_000)),
    "small objects, unknown": lambda size: _said(b"x", b',"x":[%b]' % _times(b'{"a":1,"b":"x"}', size)),
    "long values, unknown": lambda size: _said(
        b"x", b',"x":[%b]' % _times(b'{"a":1,"b":"%b"}' % (b"x" * 500), size)
    ),
    "nested lists, unknown": lambda size: _said(
        b"x", b',"x":[%b]' % _times(b"[" * 60 + b"1" + b"]" * 60, size)
    ),
    "unknown fields everywhere": lambda size: _chat(
        _times(b'{"role":"user","content":"x","odd":{"a":[1,2,{"b":"%b"}]}}' % (b"x" * 200), size)
    ),
    "many names at the top": lambda size: _said(
        b"x" * 10, b"".join(b',"name_%d":1' % number for number in range(min(size // 16, 400_000)))
    ),
    "one list inside the other": lambda size: _said(b"x", _deep(b"[1,", b"]", b'"%b"' % (b"x" * size))),
    "a schema of small values": lambda size: _said(
        b"x",
        b',"tools":[{"type":"function","function":{"name":"t","parameters":{"type":"object","enum":[%b]}}}]'
        % _times(b'{"type":"string","description":"%b"}' % (b"x" * 60), size),
    ),
    "white space": lambda size: b" " * (size // 2) + _said(b"x", b" " * (size // 2)),
    "depth 100,000": lambda size: _said(b"x", b',"x":' + b"[" * 100_000 + b"]" * 100_000),
    "a lone surrogate at the end": lambda size: _said(b"x" * size + b"\\ud800"),
    "integers of 5,000 digits": lambda size: _said(b"x", b',"x":[%b]' % _times(b"9" * 5_000, size)),
    "one number of digits": lambda size: _said(b"x", b',"x":1' + b"0" * size),
    "1e999 at the end": lambda size: _said(b"x" * size, b',"x":1e999'),
    "the same name twice": lambda size: _said(b"x" * size, b',"x":1,"x":1'),
    "bad UTF-8 at the end": lambda size: _said(b"x" * size + b"\xff"),
    "cut off": lambda size: _said(b"x" * size)[:-3],
}


def _answer(message: bytes, more: bytes = b"") -> bytes:
    choice = b'{"index":0,"finish_reason":"stop","message":{"role":"assistant",%b}}' % message
    usage = b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}'
    head = b'"id":"c","object":"chat.completion","created":1,"model":"m"'
    return b'{%b,"choices":[%b],%b%b}' % (head, choice, usage, more)


def _says(text: bytes) -> bytes:
    return _answer(b'"content":"%b"' % text)


ANSWERS: Mapping[str, Callable[[int], bytes]] = {
    "one long text": lambda size: _says(b"x" * size),
    "a text of escapes": lambda size: _says(b"\\n" * (size // 2)),
    "a text in Chinese": lambda size: _says("\u6570".encode() * (size // 3)),
    "half surrogates": lambda size: _says(b"\\ud800" * (size // 6)),
    "many calls": lambda size: _answer(
        b'"content":null,"tool_calls":[%b]'
        % _times(b'{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}', size)
    ),
    "small objects, unknown": lambda size: _answer(
        b'"content":"x"', b',"x":[%b]' % _times(b'{"a":1,"b":"x"}', size)
    ),
    "nested lists, unknown": lambda size: _answer(
        b'"content":"x"', b',"x":[%b]' % _times(b"[" * 60 + b"]" * 60, size)
    ),
    "depth 100,000": lambda size: _answer(b'"content":"x"', b',"x":' + b"[" * 100_000 + b"]" * 100_000),
    "no JSON at all": lambda size: b"x" * size,
    "cut off": lambda size: _says(b"x" * size)[:-3],
}
