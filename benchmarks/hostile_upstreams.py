"""What a hostile provider can cost: ``python -m benchmarks.hostile_upstreams [--only NAME,...]``.

Each attack has a gateway's process of its own, one client that asks for an answer, and another whose
stream, a chunk every 10 ms from an honest provider, runs beside it. The table says what the process
grew by at most, the longest gap that the honest stream had, and what the asking client was told.
Exits with status 1 when an attack cost 32 MiB or a stall of 250 ms, or did not end in an error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Event, Thread

from .machine import HOST
from .report import table
from .stage import Gateway, RawUpstream, gateway, note_gaps, on_the_other_core, paced, post, read_all

MOST_MEMORY = 32.0
"""MiB that an attack may cost."""
LONGEST_STALL = 250.0
"""Milliseconds that another stream may wait."""
UPSTREAM_BODY = 64 * 1.125 + 8
"""The same for a whole answer, which may be of 64 MiB (``upstream_body``), in a buffer that grows."""
REQUEST = 30 * 1024 * 1024
PACE = 0.01

CONFIG = """\
[gateway]
listen = "tcp:{port}:interface=HOST"
drain = 0
[timeouts]
connect = 2
headers = 3
first_token = 4
idle = 3
total = 8
[providers.openai]
kind = "openai"
base_url = "http://HOST:PORT/v1"
accounts = [{ name = "a", api_key = "benchmark" }]
responses = false
[providers.responses]
kind = "openai"
responses = true
base_url = "http://HOST:PORT/v1"
accounts = [{ name = "a", api_key = "benchmark" }]
[providers.anthropic]
kind = "anthropic"
base_url = "http://HOST:PORT/v1"
accounts = [{ name = "a", api_key = "benchmark" }]
[providers.gemini]
kind = "gemini"
base_url = "http://HOST:PORT/v1beta"
accounts = [{ name = "a", api_key = "benchmark" }]
[providers.tls]
kind = "openai"
base_url = "https://HOST:PORT/v1"
accounts = [{ name = "a", api_key = "benchmark" }]
""" + "".join(
    f'[[routes]]\nmodel = "{name}-*"\ntargets = ["{name}"]\n'
    for name in ("openai", "responses", "anthropic", "gemini", "tls")
)
STEADY = "openai-steady"

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
SIZE = 256 * 1024
MEGABYTES = 3 * 1024 * 1024


def event(value: object, name: str = "") -> bytes:
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def chunk(delta: object, index: int = 0, id: str = "c") -> bytes:
    """A frame of an OpenAI stream."""
    choice = {"index": index, "delta": delta, "finish_reason": None}
    return event(
        {"id": id, "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    )


def again(piece: bytes) -> Iterator[bytes]:
    """``piece`` without end, some hundred KiB at a time."""
    return itertools.repeat(piece * max(SIZE // len(piece), 1))


def numbered(make: Callable[[int], bytes], batch: int = 500) -> Iterator[bytes]:
    """What ``make`` makes of 0, 1, 2 and so on, many at a time."""
    return (b"".join(map(make, range(first, first + batch))) for first in itertools.count(0, batch))


def then(*parts: bytes | Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            yield from part


def tool_call(number: int, size: int = 0) -> bytes:
    function = {"name": f"f{number}" + "n" * size, "arguments": "{}"}
    call = {"index": number, "id": f"call_{number}", "type": "function", "function": function}
    return chunk({"tool_calls": [call]})


HELLO = chunk({"role": "assistant", "content": "hi"})
CLAUDE_START = event(
    {
        "type": "message_start",
        "message": {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    },
    "message_start",
)


def claude_block(number: int, start: object | None = None) -> bytes:
    block = start or {"type": "tool_use", "id": f"toolu_{number}", "name": "f", "input": {}}
    return event(
        {"type": "content_block_start", "index": number, "content_block": block}, "content_block_start"
    )


def gemini_part(part: object) -> bytes:
    return event({"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}]})


def responses_item(number: int) -> bytes:
    item = {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"call_{number}",
        "name": "f",
        "arguments": "{}",
        "status": "completed",
    }
    added = {"type": "response.output_item.added", "output_index": number, "item": item}
    done = {"type": "response.output_item.done", "output_index": number, "item": item}
    return event(added, added["type"]) + event(done, done["type"])  # type: ignore[arg-type]


RESPONSES_START = event(
    {
        "type": "response.created",
        "response": {"id": "resp_1", "object": "response", "status": "in_progress", "output": []},
    },
    "response.created",
)


def gzip_bomb() -> Iterator[bytes]:
    """A GiB of nothing, in a MiB."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for _ in range(2**30 // SIZE):
        yield packer.compress(bytes(SIZE))
    yield packer.flush()


@dataclass(frozen=True)
class Attack:
    """``answer`` makes the bytes; ``model``'s provider says them, to a client at ``path``."""

    answer: Callable[[], Iterable[bytes] | None]
    provider: str = "openai"
    path: str = "/v1/messages"
    stream: bool = True
    size: int = 0
    """Of the request's body, in bytes."""
    most: float = MOST_MEMORY
    """MiB that it may cost."""


OPENAI = "/openai/v1/chat/completions"
RESPONSES = "/v1/responses"
GEMINI = "/v1beta/models/MODEL:streamGenerateContent?alt=sse"
HEAD_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 1000000000000\r\n\r\n"


def status(code: int, headers: bytes = b"") -> Callable[[], Iterable[bytes]]:
    return lambda: then(b"HTTP/1.1 %d Odd\r\n%b\r\n" % (code, headers), again(b"x" * 1000))


ATTACKS: dict[str, Attack] = {
    # The head.
    "endless headers": Attack(lambda: then(OK, again(b"X-Header: value\r\n"))),
    "a header line without end": Attack(lambda: then(OK + b"X: ", again(b"x" * 1000))),
    "thousands of 1xx": Attack(lambda: again(b"HTTP/1.1 103 Early Hints\r\n\r\n")),
    "1xx with long heads": Attack(
        lambda: again(b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 9000 + HEAD_END)
    ),
    "length and chunks": Attack(
        lambda: then(
            OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", again(b"5\r\nhello\r\n")
        )
    ),
    "two lengths": Attack(lambda: [OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"]),
    "a bare CR in the head": Attack(lambda: then(OK + b"X: a\rContent-Length: 5\r\n\r\n", again(HELLO))),
    "bare LFs in the head": Attack(lambda: then(b"HTTP/1.1 200 OK\nX: a\n\n", again(HELLO))),
    "HTTP/0.9": Attack(lambda: again(HELLO)),
    "status 101": Attack(status(101)),
    "status 204": Attack(status(204)),
    "status 205": Attack(status(205)),
    "status 206": Attack(status(206)),
    "status 304": Attack(status(304)),
    "a redirect": Attack(status(303, b"Location: http://127.0.0.1:1/\r\n")),
    "cookies": Attack(lambda: then(OK, b"Set-Cookie: a=b\r\n" * 150 + LENGTH, again(b": c\n\n"))),
    "an error without end": Attack(status(500)),
    "an error with a length": Attack(lambda: then(b"HTTP/1.1 400 No\r\n" + LENGTH, again(b"x" * 1000))),
    "TLS that never finishes": Attack(lambda: None, provider="tls"),
    # The body as HTTP.
    "a gzip bomb": Attack(lambda: then(OK + b"Content-Encoding: gzip\r\n\r\n", gzip_bomb())),
    "a huge chunk": Attack(lambda: then(CHUNKED + b"7" * 15 + b"\r\n", again(b": c\n\n"))),
    "a chunk size without end": Attack(lambda: then(CHUNKED, again(b"0" * 1000))),
    "a chunk extension without end": Attack(lambda: then(CHUNKED + b"5;", again(b"x" * 1000))),
    "extensions on every chunk": Attack(
        lambda: then(CHUNKED, again(b"6;" + b"x" * 900 + b"\r\n: cc\n\n\r\n"))
    ),
    "trailers without end": Attack(lambda: then(CHUNKED + b"0\r\n", again(b"X: y\r\n"))),
    "a byte per chunk": Attack(lambda: then(CHUNKED, again(b"1\r\n:\r\n1\r\nc\r\n1\r\n\n\r\n1\r\n\n\r\n"))),
    "an answer without end": Attack(lambda: then(JSON, again(b"x" * 1000)), stream=False, most=UPSTREAM_BODY),
    "an answer of tiny chunks": Attack(lambda: then(CHUNKED, again(b"1\r\nx\r\n")), stream=False),
    # The body as a stream of events.
    "JSON without end": Attack(lambda: then(SSE + b'{"a":"', again(b"x" * 1000))),
    "a line without end": Attack(lambda: then(SSE + b"data: ", again(b"x" * 1000))),
    "data lines without end": Attack(lambda: then(SSE, again(b"data: x\n"))),
    "empty data lines": Attack(lambda: then(SSE, again(b"data\n"))),
    "comments without end": Attack(lambda: then(SSE, again(b":\n\n"))),
    "a comment without end": Attack(lambda: then(SSE + b":", again(b"x" * 1000))),
    "blank lines": Attack(lambda: then(SSE, again(b"\n"))),
    "carriage returns": Attack(lambda: then(SSE, again(b"\r"))),
    "tiny events": Attack(lambda: then(SSE, again(b"data:{}\n\n"))),
    "tiny events, passed on": Attack(lambda: then(SSE, again(b"data:{}\n\n")), path=OPENAI),
    "deltas of nothing": Attack(lambda: then(SSE + HELLO, again(chunk({})))),
    "deltas of nothing, passed on": Attack(lambda: then(SSE + HELLO, again(chunk({}))), path=OPENAI),
    "strange events": Attack(
        lambda: then(SSE, again(event({"type": "x"}, "x"))), provider="responses", path=RESPONSES
    ),
    "an event of two million values": Attack(
        lambda: [SSE + b'data: {"choices":[{"delta":{"tool_calls":[{}' + b",{}" * 2_000_000 + b"]}}]}\n\n"]
    ),
    # What an answer says.
    "choices without end": Attack(
        lambda: then(SSE, numbered(lambda n: chunk({"content": "x"}, n))), path=OPENAI
    ),
    "calls without end": Attack(lambda: then(SSE, numbered(tool_call))),
    "calls without end, passed on": Attack(lambda: then(SSE, numbered(tool_call)), path=OPENAI),
    "calls without end, to responses": Attack(lambda: then(SSE, numbered(tool_call)), path=RESPONSES),
    "calls without end, to gemini": Attack(lambda: then(SSE, numbered(tool_call)), path=GEMINI),
    "text without end, to responses": Attack(
        lambda: then(SSE, again(chunk({"content": "x" * 10_000}))), path=RESPONSES
    ),
    "arguments without end": Attack(
        lambda: then(
            SSE + tool_call(0),
            again(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 10_000}}]})),
        )
    ),
    "arguments without end, to gemini": Attack(
        lambda: then(
            SSE + tool_call(0),
            again(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 10_000}}]})),
        ),
        path=GEMINI,
    ),
    "names of megabytes": Attack(lambda: then(SSE, numbered(lambda n: tool_call(n, MEGABYTES), 1))),
    "names of megabytes, passed on": Attack(
        lambda: then(SSE, numbered(lambda n: tool_call(n, MEGABYTES), 1)), path=OPENAI
    ),
    "ids of megabytes": Attack(
        lambda: then(SSE, numbered(lambda n: chunk({"content": "x"}, id=f"{n}" + "i" * MEGABYTES), 1)),
        path=OPENAI,
    ),
    "claude blocks": Attack(lambda: then(SSE + CLAUDE_START, numbered(claude_block)), provider="anthropic"),
    "claude blocks, to openai": Attack(
        lambda: then(SSE + CLAUDE_START, numbered(claude_block)), provider="anthropic", path=OPENAI
    ),
    "claude signatures": Attack(
        lambda: then(
            SSE + CLAUDE_START + claude_block(0, {"type": "thinking", "thinking": "", "signature": ""}),
            again(
                event(
                    {
                        "type": "content_block_delta",
                        "index": 0,
                        "delta": {"type": "signature_delta", "signature": "s" * 10_000},
                    },
                    "content_block_delta",
                )
            ),
        ),
        provider="anthropic",
    ),
    "claude unknown blocks": Attack(
        lambda: then(SSE + CLAUDE_START, numbered(lambda n: claude_block(n, {"type": "odd", "n": n}))),
        provider="anthropic",
    ),
    "gemini calls": Attack(
        lambda: then(SSE, numbered(lambda n: gemini_part({"functionCall": {"name": f"f{n}", "args": {}}}))),
        provider="gemini",
    ),
    "gemini calls, passed on": Attack(
        lambda: then(SSE, numbered(lambda n: gemini_part({"functionCall": {"name": f"f{n}", "args": {}}}))),
        provider="gemini",
        path=GEMINI,
    ),
    "gemini thought signatures": Attack(
        lambda: then(
            SSE,
            numbered(
                lambda n: gemini_part(
                    {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": f"{n}" + "s" * 10_000}
                ),
                20,
            ),
        ),
        provider="gemini",
    ),
    "responses items": Attack(
        lambda: then(SSE + RESPONSES_START, numbered(responses_item)), provider="responses"
    ),
    "responses items, passed on": Attack(
        lambda: then(SSE + RESPONSES_START, numbered(responses_item)), provider="responses", path=RESPONSES
    ),
    "a first event held back": Attack(
        lambda: then(
            SSE + RESPONSES_START, again(event({"type": "response.odd", "x": "x" * 10_000}, "response.odd"))
        ),
        provider="responses",
        path=RESPONSES,
    ),
    # The other direction.
    "a request that is not read": Attack(lambda: None, size=REQUEST, most=4 * REQUEST / 2**20),
}


def steady() -> Iterator[bytes]:
    return then(SSE + HELLO, paced(itertools.repeat(HELLO), PACE))


@dataclass(frozen=True)
class Cost:
    name: str
    memory: float
    stall: float
    usual: float
    seconds: float
    told: str
    sent: float

    @property
    def row(self) -> list[str]:
        figures = f"{self.memory:.1f}", f"{self.stall:.0f}", f"{self.usual:.0f}", f"{self.seconds:.1f}"
        return [self.name, *figures, f"{self.sent:.1f}", self.told]

    def broken(self, attack: Attack) -> bool:
        return self.memory >= attack.most or self.stall >= LONGEST_STALL or not self.told.endswith("error")


def question(name: str, attack: Attack) -> tuple[str, bytes]:
    """The path and the body of the attacked client's request."""
    model = f"{attack.provider}-{name.replace(' ', '-').replace(',', '')}"
    text = "x" * max(attack.size, 10)
    body: dict[str, object] = {"model": model, "stream": attack.stream, "max_tokens": 1000}
    if attack.path == RESPONSES:
        body = {"model": model, "stream": attack.stream, "input": text}
    elif attack.path == GEMINI:
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    else:
        body["messages"] = [{"role": "user", "content": text}]
    return attack.path.replace("MODEL", model), json.dumps(body).encode()


def measure(name: str, attack: Attack) -> Cost:
    def answer(model: str) -> Iterable[bytes] | None:
        return steady() if model == STEADY else attack.answer()

    upstream = RawUpstream(answer)
    config = CONFIG.replace("HOST", HOST).replace("PORT", str(upstream.port))
    try:
        with gateway(config) as ours:
            return _attacked(name, attack, upstream, ours)
    finally:
        upstream.close()


def _attacked(name: str, attack: Attack, upstream: RawUpstream, ours: Gateway) -> Cost:
    over = Event()
    found: list[float] = []
    beside = post(
        ours.port,
        OPENAI,
        {"model": STEADY, "stream": True, "messages": [{"role": "user", "content": "on"}]},
    )
    watcher = Thread(target=note_gaps, args=(beside, found, over.is_set))
    watcher.start()
    time.sleep(0.5)  # what the stream is like by itself
    if not found:
        raise SystemExit("the honest stream does not flow")
    usual = max(found)
    before, so_far = ours.memory(), len(found)
    ours.forget_peak()
    begun = time.monotonic()
    path, body = question(name, attack)
    first, last = read_all(post(ours.port, path, body), keep=2**20)
    seconds = time.monotonic() - begun
    time.sleep(0.3)  # what comes after the answer counts, too
    over.set()
    watcher.join()
    memory = (ours.peak() - before) / 1024
    sent = sum(one.sent for one in upstream.connections if one.model != STEADY) / 2**20
    stall = max(found[so_far:], default=0.0)
    return Cost(name, memory, stall * 1000, usual * 1000, seconds, told(first, last), sent)


def told(first: bytes, last: bytes) -> str:
    """How the answer ended, in a word or two."""
    status = first[9:12].decode("ascii", "replace")
    if status != "200":
        return f"{status} error"
    if last.endswith(b"\r\n0\r\n\r\n"):
        return "200, a clean end"
    frames = [frame for frame in last.replace(b"\r\n", b"\n").split(b"\n\n") if b"data: " in frame]
    if frames and b'"error":{' in frames[-1]:
        return "200, then an error"
    return "200, cut: " + repr(last[-60:])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile_upstreams", description=__doc__)
    parser.add_argument("--only", default="", help="attacks, with semicolons between them")
    options = parser.parse_args()
    names = options.only.split(";") if options.only else list(ATTACKS)
    if unknown := [name for name in names if name not in ATTACKS]:
        parser.error(f"no attack {'; '.join(unknown)}; there are {'; '.join(ATTACKS)}")
    on_the_other_core()
    rows = [["attack", "grew by MiB", "stall ms", "before it ms", "seconds", "MiB taken", "the client saw"]]
    broken = []
    for name in names:
        cost = measure(name, ATTACKS[name])
        rows.append(cost.row)
        print(" | ".join(cost.row), file=sys.stderr, flush=True)
        if cost.broken(ATTACKS[name]):
            broken.append(name)
    print(table(rows))
    if broken:
        print(f"\nover the bar: {'; '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
