"""What a gateway's clients do in a day, in no order: the mix of ``benchmarks.soak``.

Each kind of client is a coroutine that asks once, and says how it went in one word. An answer is
checked by what every client can check: its status, and that it has an end.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from aigateway.simulator.faults import EXAMPLES, FAULTS

from .machine import HOST

KEY = "soak"
PATIENCE = 30.0
"""Seconds for any one client, more than each limit of the gateway's here."""
DIALECTS = ("claude", "openai", "responses", "gemini")
PROVIDERS = ("openai", "glm", "antigravity", "anthropic", "gemini")
ENDS = {
    "claude": b"event: message_stop",
    "openai": b"data: [DONE]",
    "responses": b"event: response.completed",
    "gemini": b'"finishReason"',
}
DEADLY = ("fault-401", "fault-402", "fault-403", "fault-429-quota", "fault-429-huge")
"""What sets an account aside for longer than a soak."""
ABROAD = "127.0.0.2"
"""Where wrong keys come from: their address is held off, and the others are not to be."""


@dataclass(frozen=True)
class Ask:
    """One request, as the bytes of its head and body."""

    dialect: str
    model: str
    stream: bool = True
    text: str = "count to 12"
    key: str = KEY

    def bytes(self, port: int) -> bytes:
        path, body = self._body()
        return http(port, path, json.dumps(body).encode(), self.key)

    def _body(self) -> tuple[str, dict[str, object]]:
        messages = [{"role": "user", "content": self.text}]
        match self.dialect:
            case "claude":
                head = {"model": self.model, "max_tokens": 2000, "stream": self.stream}
                return "/v1/messages", {**head, "messages": messages}
            case "openai":
                body = {"model": self.model, "stream": self.stream, "messages": messages}
                return "/openai/v1/chat/completions", body
            case "responses":
                return "/v1/responses", {"model": self.model, "stream": self.stream, "input": self.text}
        method = "streamGenerateContent?alt=sse" if self.stream else "generateContent"
        contents = [{"role": "user", "parts": [{"text": self.text}]}]
        return f"/v1beta/models/{self.model}:{method}", {"contents": contents}


def http(port: int, path: str, body: bytes, key: str = KEY) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Mix:
    """Clients of the gateway at ``port``. ``results`` counts what became of them, by kind and word;
    ``wrong`` are examples of what should not have been."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._random = random.Random(seed)  # noqa: S311 - the same mix in each run
        self.results: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []
        self._kinds: dict[str, tuple[int, Callable[[], Awaitable[str]]]] = {
            "honest": (40, self.honest),
            "fault": (22, self.fault),
            "failover": (8, self.failover),
            "abort": (14, self.abort),
            "upload cut": (3, self.upload_cut),
            "slow reader": (4, self.slow_reader),
            "never reads": (1, self.never_reads),
            "count tokens": (4, self.count),
            "bad request": (5, self.bad),
            "wrong key": (2, self.wrong_key),
            "large": (1, self.large),
            "pages": (2, self.pages),
        }

    async def one(self) -> None:
        """A client of a kind by chance, from its beginning to its end."""
        kinds = list(self._kinds)
        [kind] = self._random.choices(kinds, [self._kinds[name][0] for name in kinds])
        try:
            async with asyncio.timeout(PATIENCE):
                word = await self._kinds[kind][1]()
        except TimeoutError:
            word = "WRONG: never ended"
        except OSError as error:
            word = f"WRONG: {type(error).__name__}"
        if word.startswith("WRONG"):
            self.wrong = [*self.wrong[:19], f"{kind}: {word}"]
        self.results[kind, word.partition(":")[0]] += 1

    def random(self) -> float:
        return self._random.random()

    # ------------------------------------------------------------ those who stay to the end

    async def honest(self) -> str:
        ask = self._ask(f"good/{self._random.choice(PROVIDERS)}")
        return await self._answered(ask)

    async def failover(self) -> str:
        """What fails before its first byte is not seen."""
        fault = self._random.choice(("fault-500", "fault-429", "fault-refused", "fault-html", "fault-529"))
        return await self._answered(self._ask(f"failover/{fault}"))

    async def fault(self) -> str:
        """Whatever comes, it ends: with a status, or with an error before the cut."""
        name = self._random.choice((*FAULTS, *EXAMPLES))
        place = "dead" if name in DEADLY else "bad"
        ask = self._ask(f"{place}-{self._random.choice(PROVIDERS)}/{name}")
        status, body = await self._exchange(ask.bytes(self._port))
        if status == 200 and ask.stream and ENDS[ask.dialect] not in body and b'"error"' not in body:
            return f"WRONG: neither an end nor an error to {name}, {ask.dialect}: {body[-200:]!r}"
        return f"{status // 100}xx" if status else f"WRONG: no answer {body[:100]!r} to {name}"

    async def slow_reader(self) -> str:
        ask = self._ask(f"good/{self._random.choice(PROVIDERS)}", stream=True, text="count to 300")
        return await self._answered(ask, pause=0.1)

    async def large(self) -> str:
        text = "Say nothing of this. " * self._random.randrange(5_000, 60_000)
        return await self._answered(self._ask(f"good/{self._random.choice(PROVIDERS)}", text=text))

    async def count(self) -> str:
        model = f"good/{self._random.choice(PROVIDERS)}"
        body = {"model": model, "messages": [{"role": "user", "content": "How many?"}]}
        data = http(self._port, "/v1/messages/count_tokens", json.dumps(body).encode())
        status, answer = await self._exchange(data)
        return "ok" if status == 200 and b"input_tokens" in answer else f"WRONG: {status} {answer[-200:]!r}"

    async def bad(self) -> str:
        path, body = self._random.choice(
            (
                ("/v1/messages", b"{"),
                ("/v1/messages", b'{"model":"good/openai","max_tokens":1,"messages":[{"role":"x"}]}'),
                ("/v1/chat/completions", b"[" * 10_000),
                ("/v1/responses", b'{"model":"no-such"}'),
                ("/v1/nowhere", b"{}"),
                ("/v1/messages", b'{"model":"unheard-of","max_tokens":1,"messages":[]}'),
            )
        )
        status, _ = await self._exchange(http(self._port, path, body))
        return "4xx" if 400 <= status < 500 else f"WRONG: {status} for {path} {body[:40]!r}"

    async def wrong_key(self) -> str:
        ask = self._ask("good/openai", key="wrong")
        status, _ = await self._exchange(ask.bytes(self._port), abroad=True)
        return "4xx" if status in (400, 401, 429) else f"WRONG: {status} for a wrong key"

    async def pages(self) -> str:
        path = self._random.choice(("/health", "/stats", "/metrics", "/v1/models"))
        head = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
        )
        status, _ = await self._exchange(f"{head}\r\n".encode())
        return "ok" if status == 200 else f"WRONG: {status} for {path}"

    # ------------------------------------------------------------------- those who leave

    async def abort(self) -> str:
        """Leaves after a moment by chance, whatever has come until then."""
        model = self._random.choice(
            ("good/openai", "good/anthropic", "bad-glm/fault-silent", "failover/fault-500")
        )
        reader, writer = await asyncio.open_connection(HOST, self._port)
        writer.write(self._ask(model, text="count to 200").bytes(self._port))
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(), self._random.random() ** 2 * 3)
        writer.transport.abort()
        return "left"

    async def upload_cut(self) -> str:
        """Leaves in the middle of its own request."""
        data = self._ask("good/openai", text="x" * 5000).bytes(self._port)
        _, writer = await asyncio.open_connection(HOST, self._port)
        writer.write(data[: self._random.randrange(1, len(data))])
        await asyncio.sleep(self._random.random())
        writer.transport.abort()
        return "left"

    async def never_reads(self) -> str:
        """Asks for much and reads nothing, until the gateway is tired of it."""
        _, writer = await asyncio.open_connection(HOST, self._port, limit=1)
        writer.write(self._ask("good/openai", stream=True, text="count to 1000").bytes(self._port))
        await asyncio.sleep(8)
        writer.transport.abort()
        return "left"

    # ------------------------------------------------------------------------ their parts

    def _ask(
        self, model: str, *, stream: bool | None = None, text: str = "count to 12", key: str = KEY
    ) -> Ask:
        streamed = self._random.random() < 0.7 if stream is None else stream
        return Ask(self._random.choice(DIALECTS), model, streamed, text, key)

    async def _answered(self, ask: Ask, pause: float = 0.0) -> str:
        """A whole answer, or what was wrong with it."""
        status, body = await self._exchange(ask.bytes(self._port), pause=pause)
        if status != 200:
            return f"WRONG: {status} for {ask.model}, {ask.dialect}: {body[-200:]!r}"
        if ask.stream and ENDS[ask.dialect] not in body:
            return f"WRONG: no end for {ask.model}, {ask.dialect}: {body[-200:]!r}"
        return "ok"

    async def _exchange(self, data: bytes, *, pause: float = 0.0, abroad: bool = False) -> tuple[int, bytes]:
        """The status of the answer to ``data`` and the last of its bytes; 0 without any."""
        local = (ABROAD, 0) if abroad else None
        reader, writer = await asyncio.open_connection(HOST, self._port, limit=16 * 1024, local_addr=local)
        head = last = b""
        try:
            writer.write(data)
            while more := await reader.read(2000 if pause else 65536):
                head = head or more[:64]
                last = (last + more)[-4000:]
                if pause:
                    await asyncio.sleep(pause)
        except ConnectionError:
            last += b"<reset>"
        finally:
            writer.transport.abort()
        words = head.split(b" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        return status, last
