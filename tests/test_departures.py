"""A client that leaves, in every phase of its request: whatever was done for it ends at once."""

from __future__ import annotations

from collections.abc import Callable

from aigateway.config import Config, Retries

from .fakes import (
    PROVIDER_PORT,
    Client,
    End,
    GatewayTestCase,
    Raw,
    RawServer,
    chat,
    chunk,
    config,
    provider,
    request_bytes,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
BLACK_HOLE = 9003


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class DepartureTests(GatewayTestCase):
    """Each phase is a method that brings a client there; ``self.raw`` is the provider."""

    def setUp(self) -> None:
        super().setUp()
        self.network.ports[PROVIDER_PORT].stopListening()
        self.network.black_holes.add(BLACK_HOLE)
        self.raw = RawServer()
        self.network.listenTCP(PROVIDER_PORT, self.raw)

    def config(self) -> Config:
        return config(
            provider(accounts=("one", "two")),
            provider("hole", port=BLACK_HOLE, models=("nobody",)),
            retries=Retries(backoff=10.0, max_backoff=10.0, eject_after=0, always=1000),
        )

    done: Raw | None = None
    """A connection whose answer was whole, and which may be kept."""

    def begin(self, streamed: bool, model: str = "gpt-4") -> Client:
        client = self.client()
        client.send(request_bytes("POST", "/v1/chat/completions", chat(model=model, stream=streamed)))
        return client

    def say(self, data: bytes, number: int = -1) -> Raw:
        raw = self.raw.made[number]
        raw.transport.write(data)
        self.network.flush()
        return raw

    # the phases

    def in_its_head(self, streamed: bool) -> Client:
        client = self.client()
        client.send(request_bytes("POST", "/v1/chat/completions", chat(stream=streamed))[:60])
        return client

    def uploading(self, streamed: bool) -> Client:
        client = self.client()
        client.send(request_bytes("POST", "/v1/chat/completions", chat(stream=streamed))[:-5])
        return client

    def connecting(self, streamed: bool) -> Client:
        return self.begin(streamed, "nobody")

    def awaiting_the_head(self, streamed: bool) -> Client:
        client = self.begin(streamed)
        self.assertEqual(len(self.raw.made), 1)
        return client

    def before_the_first_token(self, streamed: bool) -> Client:
        client = self.begin(streamed)
        self.say(HEAD if streamed else WHOLE_HEAD)
        return client

    def after_a_sign_of_life(self, streamed: bool) -> Client:
        client = self.before_the_first_token(streamed)
        self.advance(20)
        self.assertEqual(bool(client.received), streamed)
        return client

    def in_the_answer(self, streamed: bool) -> Client:
        client = self.begin(streamed)
        self.say(HEAD + piece(chunk("hel")) if streamed else WHOLE_HEAD + b'{"id":')
        self.assertEqual(bool(client.received), streamed)
        return client

    def not_reading(self, streamed: bool) -> Client:
        client = self.in_the_answer(streamed)
        client.read(0)
        for _ in range(20):
            self.say(piece(chunk("x" * 20_000)) if streamed else b"")
        return client

    def between_attempts(self, streamed: bool) -> Client:
        client = self.begin(streamed)
        self.done = self.say(b"HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n", 0)
        return client

    def at_the_second_attempt(self, streamed: bool) -> Client:
        client = self.between_attempts(streamed)
        self.advance(10)
        self.say(HEAD if streamed else WHOLE_HEAD)
        return client

    unasked = (in_its_head, uploading)
    """Phases in which there is no request yet."""
    phases = (
        connecting,
        awaiting_the_head,
        before_the_first_token,
        after_a_sign_of_life,
        in_the_answer,
        not_reading,
        between_attempts,
        at_the_second_attempt,
    )

    def check(self, phase: Callable[[DepartureTests, bool], Client], streamed: bool, behind: bytes) -> None:
        """A client is brought to ``phase``, and leaves in each way."""
        for leave in (End.abortConnection, End.loseConnection, End.loseWriteConnection):
            if leave is not End.abortConnection and phase is DepartureTests.not_reading:
                continue  # what is behind unread bytes is not seen before those are read
            self.raw.made.clear()
            self.stats.stats.recent.clear()
            client = phase(self, streamed)
            asked = len(self.raw.made)
            client.transport.write(behind)
            leave(client.transport)
            self.network.flush()
            self.assertIsNotNone(client.lost, leave)
            for raw in self.raw.made:
                self.assertTrue(raw.lost or raw is self.done, leave)
            self.assert_idle()
            if phase not in self.unasked:
                self.assertEqual(self.outcome().result, "client_left")
            self.advance(60)
            self.assertEqual(len(self.raw.made), asked, "asked for nobody")

    def test_every_phase(self) -> None:
        """It is noticed at once, without time passing; the provider's connection is closed, the
        outcome recorded, and nothing asked for afterwards."""
        self.start(self.config())
        for phase in (*self.unasked, *self.phases):
            for streamed in (True, False):
                with self.subTest(phase.__name__, streamed=streamed):
                    self.check(phase, streamed, b"")

    def test_with_more_behind_the_request(self) -> None:
        """Nor does it matter what it has sent behind its request: up to the limit that is read, and
        what is beyond ends the connection by itself."""
        self.start(self.config())
        health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for phase in self.phases:
            for behind in (health * (16 * 1024 // len(health)), b"G" * 16 * 1024, b"G" * 20_000):
                for streamed in (True, False):
                    with self.subTest(phase.__name__, behind=len(behind), streamed=streamed):
                        self.check(phase, streamed, behind)
