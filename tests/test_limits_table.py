"""Six limits, four dialects, two targets: when each limit ends what, to the moment.

The limits here are longer than a test case waits for its leftovers, so that a timer of one that
outlived its answer fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from aigateway.config import Config, Retries, Route, Target, Timeouts
from aigateway.relay import RATE_WINDOW

from .fakes import (
    AFTERWARDS,
    DONE,
    PROVIDER_PORT,
    Asked,
    Client,
    FakeProvider,
    GatewayTestCase,
    Scripted,
    answers,
    chat,
    chunk,
    config,
    provider,
    whole_reply,
)

SECOND_PORT = 9002
MODEL = "m"
HARDLY = 1 / 64
"""Seconds before a limit at which nothing has happened yet; of a kind that floats add up exactly."""
LIMITS = Timeouts(connect=250, headers=300, first_token=600, idle=500, total=1200)
RATE = 4.0
ROLE = chunk("").replace(b'"content":""', b'"role":"assistant","content":""')


class Dialect(NamedTuple):
    path: str
    body: Callable[[bool], dict[str, Any]]
    error_frames: int = 1


def _responses(stream: bool) -> dict[str, Any]:
    return {"model": MODEL, "stream": stream, "input": "Count to 5"}


def _gemini(stream: bool) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "Count to 5"}]}]}


DIALECTS = {
    "claude": Dialect("/v1/messages", lambda stream: chat(model=MODEL, stream=stream, max_tokens=100)),
    "openai": Dialect("/openai/v1/chat/completions", lambda stream: chat(model=MODEL, stream=stream)),
    "responses": Dialect(
        "/v1/responses", lambda stream: {"model": MODEL, "stream": stream, "input": "Count"}, 2
    ),
    "gemini": Dialect(f"/v1beta/models/{MODEL}:", _gemini),
}


class TableTestCase(GatewayTestCase):
    """Two providers: the first is driven into a limit, the second answers ``hello``."""

    def begin(self, timeouts: Timeouts = LIMITS, *, targets: int, ping: float = 0.0, **more: Any) -> None:
        self.network.close_ports()
        self.provider = FakeProvider()
        self.second = Scripted(answers("hello"))
        self.serve(self.provider)
        self.serve(self.second, SECOND_PORT)
        self.network.black_holes.clear()
        names = ("first", "second")[:targets]
        first = provider("first", timeouts=timeouts)
        second = provider("second", port=SECOND_PORT, timeouts=timeouts)
        route = Route(model=MODEL, targets=tuple(Target(name, "gpt-4") for name in names), **more)
        self.start(config(first, second, ping=ping, routes=(route,), retries=Retries(backoff=0)))

    def request(self, dialect: str, *, stream: bool = True) -> Client:
        path, body, _ = DIALECTS[dialect]
        if dialect == "gemini":
            path += "streamGenerateContent?alt=sse" if stream else "generateContent"
        return self.ask(body(stream), path=path)

    @contextmanager
    def at_the_moment(self, seconds: float) -> Iterator[None]:
        """What is not there ``HARDLY`` before ``seconds`` are over, and is when they are."""
        before = len(self.outcomes), len(self.second.asked)
        self.advance(seconds - HARDLY)
        self.assertEqual((len(self.outcomes), len(self.second.asked)), before, "too early")
        self.advance(HARDLY)
        self.assertNotEqual((len(self.outcomes), len(self.second.asked)), before, "too late")
        yield

    def assert_next_answered(self, client: Client, limit: str) -> None:
        answer = client.answer()
        self.assertEqual((answer.status, answer.whole), (200, True), answer.body)
        self.assertIn(b"hello", answer.body)
        outcome = self.outcomes[-1]
        self.assertEqual(outcome.result, "ok")
        self.assertEqual([one.error for one in outcome.attempts], ["silent", None])
        self.assertEqual([one.limit for one in outcome.attempts], [limit, None])

    def assert_refused(self, client: Client, limit: str) -> None:
        """Nothing was sent before: an error with a status."""
        answer = client.answer()
        self.assertEqual((answer.status, answer.whole), (504, True), answer.body)
        self.assertIn(f"(limit {limit})", answer.json()["error"]["message"])
        self.assert_outcome(limit)

    def assert_cut(self, client: Client, dialect: str, limit: str) -> None:
        """The status was out: one error of the dialect, and no clean end."""
        answer = client.answer()
        self.assertEqual((answer.status, answer.whole), (200, False), answer.body)
        frames = [frame for frame in answer.frames() if frame.data]
        said = f"(limit {limit})".encode()
        told = [said in frame.data for frame in frames]
        self.assertEqual(sum(told), DIALECTS[dialect].error_frames, answer.body)
        self.assertTrue(told[-1])
        self.assertNotIn(DONE, answer.body)
        self.assert_outcome(limit)

    def assert_outcome(self, limit: str) -> None:
        outcome = self.outcomes[-1]
        self.assertEqual(outcome.result, "silent")
        self.assertIn(f"(limit {limit})", str(outcome.error))
        self.assertEqual((outcome.attempts[-1].error, outcome.attempts[-1].limit), ("silent", limit))

    def assert_let_go(self) -> None:
        """The provider's connection is closed, and no timer is left of any limit."""
        for asked in self.provider.asked:
            self.assertTrue(asked.aborted)
        late = [
            call
            for call in self.network.getDelayedCalls()
            if call.getTime() - self.network.seconds() > AFTERWARDS
        ]
        self.assertEqual(late, [])


class BeforeTheCommitPoint(TableTestCase):
    """While nothing of an answer is out, a limit leads to the next target; at the last one it is an
    error with a status, or, where the wait has been kept alive, in the stream."""

    def drive(self, limit: str, dialect: str, *, stream: bool = True) -> tuple[Client, float]:
        """A client, and the seconds until ``limit`` is reached."""
        if limit == "connect":
            self.network.black_holes.add(PROVIDER_PORT)
        client = self.request(dialect, stream=stream)
        if limit == "connect":
            return client, LIMITS.connect
        self.advance(100)
        (asked,) = self.provider.asked
        if limit == "headers":
            return client, LIMITS.headers - 100
        asked.head()
        self.network.flush()
        self.advance(300)
        self.tell(asked, ROLE, b": still there\n\n")
        return client, LIMITS.first_token - 300

    def table(self, ping: float) -> Iterator[tuple[str, str, int]]:
        for limit in ("connect", "headers", "first_token"):
            for dialect in DIALECTS:
                for targets in (1, 2):
                    with self.subTest(limit, dialect=dialect, targets=targets):
                        self.begin(targets=targets, ping=ping)
                        yield limit, dialect, targets
                        self.assert_let_go()

    def test_streamed(self) -> None:
        """The next target answers, or the client gets a status."""
        for limit, dialect, targets in self.table(0):
            client, seconds = self.drive(limit, dialect)
            with self.at_the_moment(seconds):
                if targets == 2:
                    self.assert_next_answered(client, limit)
                else:
                    self.assert_refused(client, limit)

    def test_kept_alive(self) -> None:
        """Keep-alive comments commit to a status, and to no provider."""
        for limit, dialect, targets in self.table(100):
            client, seconds = self.drive(limit, dialect)
            with self.at_the_moment(seconds):
                if targets == 2:
                    self.assert_next_answered(client, limit)
                else:
                    self.assert_cut(client, dialect, limit)

    def test_whole(self) -> None:
        """Of a whole answer the connection is limited, and then each pause in its body."""
        for limit in ("connect", "idle"):
            for dialect in DIALECTS:
                for targets in (1, 2):
                    with self.subTest(limit, dialect=dialect, targets=targets):
                        self.begin(targets=targets)
                        if limit == "connect":
                            client, seconds = self.drive(limit, dialect, stream=False)
                        else:
                            client, seconds = self.request(dialect, stream=False), LIMITS.idle
                            (asked,) = self.provider.asked
                            self.advance(LIMITS.first_token)  # `headers` is no limit here
                            asked.head(content_type="application/json")
                            self.tell(asked, whole_reply("hello")[:20])
                        with self.at_the_moment(seconds):
                            if targets == 2:
                                self.assert_next_answered(client, limit)
                            else:
                                self.assert_refused(client, limit)
                        self.assert_let_go()


class AfterTheCommitPoint(TableTestCase):
    """Once a token is out, a limit is one error of the dialect, however many targets there are."""

    def table(self, limit: str, timeouts: Timeouts) -> Iterator[tuple[str, Client, Asked]]:
        for dialect in DIALECTS:
            for targets in (1, 2):
                with self.subTest(limit, dialect=dialect, targets=targets):
                    self.begin(timeouts, targets=targets)
                    client = self.request(dialect)
                    (asked,) = self.provider.asked
                    asked.head()
                    self.tell(asked, ROLE)
                    self.advance(77)
                    self.tell(asked, chunk("hi"))
                    yield dialect, client, asked
                    self.assert_cut(client, dialect, limit)
                    self.assertEqual(self.second.asked, [])
                    self.assert_let_go()

    def test_idle(self) -> None:
        """A pause between two chunks."""
        for _, _, asked in self.table("idle", LIMITS):
            self.advance(LIMITS.idle - 1)
            self.tell(asked, b": still there\n\n")
            with self.at_the_moment(LIMITS.idle):
                pass

    def test_total(self) -> None:
        """However lively the answer is."""
        for _, _, asked in self.table("total", LIMITS):
            for _ in range(4):
                self.advance(250)
                self.tell(asked, chunk("hi"))
            with self.at_the_moment(LIMITS.total - 1077):
                pass

    def test_min_rate(self) -> None:
        """However lively, too, where what it says is too little: each ten seconds count by themselves,
        from the first token on."""
        enough = "x" * int(4 * RATE * RATE_WINDOW)
        for _, _, asked in self.table("min_rate", msgspec.structs.replace(LIMITS, min_rate=RATE)):
            for _ in range(3):
                self.tell(asked, chunk(enough))
                self.advance(RATE_WINDOW)
            for _ in range(9):
                self.tell(asked, chunk("yes"))
                self.advance(1)
            with self.at_the_moment(1):
                pass


class RateTests(TableTestCase):
    """What ``min_rate`` measures, and when it does not."""

    def setUp(self) -> None:
        super().setUp()
        self.begin(msgspec.structs.replace(LIMITS, min_rate=RATE), targets=1)

    def streaming_text(self) -> tuple[Client, Asked]:
        client = self.request("claude")
        (asked,) = self.provider.asked
        asked.head()
        self.tell(asked, chunk("x"))
        return client, asked

    def test_enough(self) -> None:
        """As many tokens as asked for are enough: four bytes of text each, of thinking or of calls."""
        _, asked = self.streaming_text()
        thought = chunk("x" * 80).replace(b'"content"', b'"reasoning_content"')
        for _ in range(5):
            self.tell(asked, chunk("x" * 80), thought)
            self.advance(RATE_WINDOW)
        self.assertEqual(self.outcomes, [])
        self.advance(RATE_WINDOW)
        self.assert_outcome("min_rate")

    def test_bytes_that_say_nothing(self) -> None:
        """Comments and the frames around the text do not count."""
        _, asked = self.streaming_text()
        for _ in range(9):
            self.tell(asked, b": " + b"x" * 1000 + b"\n\n", chunk(""))
            self.advance(1)
        self.assertEqual(self.outcomes, [])
        self.advance(1)
        self.assert_outcome("min_rate")

    def test_before_the_first_token(self) -> None:
        """Until the first token it is ``first_token`` that counts."""
        self.request("claude")
        (asked,) = self.provider.asked
        asked.head()
        self.tell(asked, ROLE)
        self.advance(LIMITS.first_token - 1)
        self.assertEqual(self.outcomes, [])

    def test_a_slow_client(self) -> None:
        """It does not run while the client is the slow one, and goes on where it stopped."""
        client, asked = self.streaming_text()
        self.advance(4)
        client.read(0)
        while asked.read_from:
            self.tell(asked, chunk("x" * 100))
        self.advance(50)
        self.assertEqual(self.outcomes, [])
        client.read(None)
        self.advance(6)  # of the stretch that began before the pause
        self.assertEqual(self.outcomes, [])
        self.advance(RATE_WINDOW - HARDLY)
        self.assertEqual(self.outcomes, [])
        self.advance(HARDLY)
        self.assert_outcome("min_rate")

    def test_off(self) -> None:
        """By default there is none."""
        self.begin(targets=1)
        _, asked = self.streaming_text()
        self.advance(LIMITS.idle - 1)
        self.tell(asked, chunk("x"))
        self.advance(LIMITS.idle - 1)
        self.assertEqual(self.outcomes, [])


class TotalTests(TableTestCase):
    """``total`` is for the request as a whole."""

    def test_it_spans_all_attempts(self) -> None:
        """What the first target has used up of it is not given to the second."""
        timeouts = msgspec.structs.replace(LIMITS, total=400)
        for dialect in DIALECTS:
            with self.subTest(dialect):
                self.begin(timeouts, targets=2)
                self.network.ports[SECOND_PORT].stopListening()
                second = FakeProvider()
                self.serve(second, SECOND_PORT)
                client = self.request(dialect)
                self.advance(LIMITS.headers)
                self.assertEqual(len(second.asked), 1)
                with self.at_the_moment(400 - LIMITS.headers):
                    self.assert_refused(client, "total")
                self.assertTrue(second.asked[0].aborted)
                self.assert_let_go()

    def test_a_whole_answer(self) -> None:
        """It is the only limit on how long a whole answer's head may take; no other target is asked,
        for whom no time is left."""
        for dialect in DIALECTS:
            for targets in (1, 2):
                with self.subTest(dialect, targets=targets):
                    self.begin(targets=targets)
                    client = self.request(dialect, stream=False)
                    with self.at_the_moment(LIMITS.total):
                        self.assert_refused(client, "total")
                    self.assertEqual(self.second.asked, [])
                    self.assert_let_go()

    def test_kept_alive(self) -> None:
        """After a keep-alive comment it is an error in the stream."""
        for dialect in DIALECTS:
            with self.subTest(dialect):
                self.begin(msgspec.structs.replace(LIMITS, total=280), targets=2, ping=100)
                client = self.request(dialect)
                with self.at_the_moment(280):
                    self.assert_cut(client, dialect, "total")


class WhoseTests(TableTestCase):
    """The route's word counts before the provider's, that before the global one."""

    def test_each_limit(self) -> None:
        """For each limit that comes before the answer, and of both targets by its own."""
        shorter: Mapping[str, float] = {"connect": 70, "headers": 80, "first_token": 90, "total": 95}
        for limit, seconds in shorter.items():
            for where in ("global", "provider", "route"):
                with self.subTest(limit, where=where):
                    self.network.close_ports()
                    self.begin_with(limit, seconds, where)
                    client = self.request("openai")
                    if limit == "first_token":
                        self.provider.asked[0].head()
                        self.network.flush()
                    self.advance(seconds - HARDLY)
                    self.assertEqual(client.received, b"")
                    self.advance(HARDLY)
                    self.assert_refused(client, limit)

    def begin_with(self, limit: str, seconds: float, where: str) -> None:
        """A gateway where only ``where`` says that ``limit`` is ``seconds``, and what is overridden
        by it says something else."""
        self.provider = FakeProvider()
        self.serve(self.provider)
        self.network.black_holes = {PROVIDER_PORT} if limit == "connect" else set()
        shorter = msgspec.structs.replace(LIMITS, **{limit: seconds})
        longer = msgspec.structs.replace(LIMITS, **{limit: seconds / 2})
        # A provider's record holds its own limits over the global ones: the loader puts them there.
        at_provider = longer if where == "route" else shorter
        own = {limit: seconds} if where == "route" else {}
        route = Route(model=MODEL, targets=(Target("first", "gpt-4"),), timeouts=own)
        timeouts = shorter if where == "global" else longer
        configuration: Config = config(
            provider("first", timeouts=at_provider), routes=(route,), timeouts=timeouts, ping=0.0
        )
        self.start(configuration)
