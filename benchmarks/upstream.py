"""A provider of baked bytes that costs next to nothing: ``python -m benchmarks.upstream PORT``.

It speaks OpenAI's Chat Completions over HTTP/1.1 on loopback. The model's name says what is
answered: ``mock-200-0`` is 200 chunks of one token, flat out; ``mock-200-0.5`` one of them
every half second. Asked without ``"stream":true`` it gives the same tokens as a whole answer.
``GET /`` tells which streams were hung up on, and when.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

from .machine import HOST

TOKEN = b" lorem"
"""What every chunk says. Nothing else in an answer contains it, in any dialect."""

_MODEL = re.compile(rb'"model" ?: ?"mock-(\d+)-([\d.]+)"')
_STREAM = re.compile(rb'"stream" ?: ?true')
_QUESTION = re.compile(rb"Question (\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SPREAD = 0.618  # the golden ratio's fraction: multiples of it fall evenly into an interval

_HEAD = b'"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","created":1770933892,"model":"mock",'
_EXTRA = b'"service_tier":"default","system_fingerprint":"fp_de604bd877",'
_USAGE = b'"usage":{"prompt_tokens":12,"completion_tokens":200,"total_tokens":212}'


def _chunk(choices: bytes, usage: bytes = b'"usage":null') -> bytes:
    """One frame of a stream, as one chunk of HTTP."""
    data = b'data: {"object":"chat.completion.chunk",%b%b"choices":[%b],%b}\n\n' % (
        _HEAD,
        _EXTRA,
        choices,
        usage,
    )
    return b"%x\r\n%b\r\n" % (len(data), data)


def _choice(delta: bytes, finish: bytes = b"null") -> bytes:
    return b'{"index":0,"delta":{%b},"logprobs":null,"finish_reason":%b}' % (delta, finish)


STREAM_START = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + _chunk(_choice(b'"role":"assistant","content":""'))
)
STREAM_TOKEN = _chunk(_choice(b'"content":"%b"' % TOKEN))
STREAM_END = (
    _chunk(_choice(b"", b'"stop"')) + _chunk(b"", _USAGE) + b"e\r\ndata: [DONE]\n\n\r\n" + b"0\r\n\r\n"
)


def whole(tokens: int) -> bytes:
    """A whole answer of so many tokens."""
    message = b'{"role":"assistant","content":"%b","refusal":null}' % (TOKEN * tokens)
    body = (
        b'{"object":"chat.completion",%b%b"choices":[{"index":0,"message":%b,"finish_reason":"stop"}],%b}'
        % (
            _HEAD,
            _EXTRA,
            message,
            _USAGE,
        )
    )
    return _response(body)


def _response(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


class Upstream(asyncio.Protocol):
    """One connection, one answer at a time. ``hangups`` is shared by all: the number in the
    question, and the moment (of the clock that all processes share) of the connection's end."""

    _transport: asyncio.Transport

    def __init__(self, hangups: list[tuple[int, float]]) -> None:
        self._hangups = hangups
        self._received = bytearray()
        self._question = 0
        self._left = 0  # tokens of the open stream still to be sent
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._received, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= end:
            request = bytes(self._received[:end])
            del self._received[:end]
            self._answer(request)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._left:
            self._hangups.append((self._question, time.monotonic()))

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET "):
            self._transport.write(_response(json.dumps({"hangups": self._hangups}).encode()))
            return
        model, question = _MODEL.search(request), _QUESTION.search(request)
        assert model is not None
        assert question is not None
        tokens, gap = int(model[1]), float(model[2])
        if not _STREAM.search(request):
            self._transport.write(whole(tokens))
            return
        self._transport.write(STREAM_START)
        if not gap:
            for _ in range(tokens):  # one write each: what arrives together is the network's choice
                if self._transport.is_closing():
                    return
                self._transport.write(STREAM_TOKEN)
            self._transport.write(STREAM_END)
            return
        self._question, self._left = int(question[1]), tokens
        # Streams that began together do not go on in step.
        self._next(asyncio.get_running_loop().time() - self._question * _SPREAD % 1 * gap, gap)

    def _next(self, due: float, gap: float) -> None:
        self._transport.write(STREAM_TOKEN)
        self._left -= 1
        if self._left:
            self._timer = asyncio.get_running_loop().call_at(due + gap, self._next, due + gap, gap)
        else:
            self._transport.write(STREAM_END)


async def serve(port: int) -> None:
    hangups: list[tuple[int, float]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(hangups), HOST, port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
