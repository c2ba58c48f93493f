"""One request to a provider: what it sends, what it waits for, what a failure is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigateway.config import Limits, Timeouts
from aigateway.errors import (
    UpstreamError,
    UpstreamGarbled,
    UpstreamSilent,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from aigateway.providers.base import UpstreamRequest
from aigateway.upstream import Upstream

from .fakes import AFTERWARDS, Network, Raw, RawServer

PORT = 9001
TIMEOUTS = Timeouts(connect=5, headers=20, idle=30)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class UpstreamTestCase(SynchronousTestCase):
    limits = Limits()

    def setUp(self) -> None:
        self.network = Network()
        self.server = RawServer()
        self.network.listenTCP(PORT, self.server)
        self.upstream = Upstream(self.network, self.limits)
        self.opened: list[Deferred[Any]] = []

    def tearDown(self) -> None:
        """Nothing is left: no connection, no timer. What a test left unanswered fails."""
        for opened in self.opened:
            opened.addErrback(lambda failure: None)

        self.network.close_ports()
        for raw in self.server.made:
            raw.transport.abortConnection()
        self.network.advance(AFTERWARDS)
        self.assertEqual(self.network.getDelayedCalls(), [])
        self.assertEqual([raw for raw in self.server.made if raw.lost is None], [])

    def open(
        self,
        *,
        scheme: str = "http",
        host: str = "127.0.0.1",
        port: int = PORT,
        body: bytes = b'{"a":1}',
        streamed: bool = True,
        timeouts: Timeouts = TIMEOUTS,
    ) -> Deferred[Any]:
        headers = ((b"Authorization", b"Bearer k"), (b"x-a", b"1"))
        call = UpstreamRequest(f"{scheme}://{host}:{port}/v1/chat?x=1".encode(), headers, body)
        opened = self.upstream.open(call, timeouts, streamed=streamed, host="openai")
        self.opened.append(opened)
        self.network.flush()
        return opened

    def say(self, data: bytes, *, close: bool = False) -> Raw:
        raw = self.server.made[-1]
        raw.transport.write(data)
        if close:
            raw.transport.loseConnection()
        self.network.flush()
        return raw

    def read(self, response: Any) -> bytes:
        reading: Deferred[bytes] = Deferred.fromCoroutine(
            self.upstream.read(response, TIMEOUTS, host="openai")
        )
        self.network.flush()
        return self.successResultOf(reading)

    def failure(self, opened: Deferred[Any], kind: type[UpstreamError]) -> Any:
        return self.failureResultOf(opened, kind).value


class RequestTests(UpstreamTestCase):
    def test_what_is_sent(self) -> None:
        """The head as given, with Host and length, and no encoding asked for, since gzip would
        hold frames back; nothing else that treq or Agent would add; the body in one write."""
        opened = self.open()
        head, _, body = self.server.made[0].received.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        self.assertEqual(first, b"POST /v1/chat?x=1 HTTP/1.1")
        self.assertEqual(
            sorted(line.lower() for line in lines),
            [
                b"accept-encoding: identity",
                b"authorization: bearer k",
                b"content-length: 7",
                b"host: 127.0.0.1:9001",
                b"x-a: 1",
            ],
        )
        self.assertEqual(body, b'{"a":1}')
        self.say(OK)
        self.assertEqual(self.read(self.successResultOf(opened)), b"ok")

    def test_a_large_body(self) -> None:
        """A body of megabytes is sent whole, with its length."""
        body = b"x" * 3_000_000
        self.open(body=body)
        received = self.server.made[0].received
        self.assertTrue(received.endswith(body))
        self.assertIn(b"Content-Length: 3000000", received)

    def test_the_response_comes_with_its_head(self) -> None:
        """Before its body."""
        opened = self.open()
        self.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        self.assertNoResult(opened)
        self.say(b"\r\n")
        self.assertEqual(self.successResultOf(opened).code, 200)

    def test_redirects_are_not_followed(self) -> None:
        """A redirect is a response like any other: the key goes nowhere else."""
        other = RawServer()
        self.network.listenTCP(9005, other)
        for status in (301, 302, 303, 307, 308):
            opened = self.open()
            head = b"HTTP/1.1 %d Moved\r\nLocation: http://127.0.0.1:9005/\r\nContent-Length: 0\r\n\r\n"
            self.say(head % status)
            response = self.successResultOf(opened)
            self.assertEqual(response.code, status)
            self.read(response)
        self.assertEqual(other.made, [])

    def test_cookies_are_not_kept(self) -> None:
        """What a provider sets on one request is not sent with another's."""
        for _ in range(2):
            opened = self.open()
            self.say(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=alice; Path=/\r\nContent-Length: 2\r\n\r\nok")
            self.read(self.successResultOf(opened))
        self.assertEqual(len(self.server.made), 1)
        self.assertNotIn(b"cookie", self.server.made[0].received.lower())

    def test_a_long_header(self) -> None:
        """A line may be as long as the head."""
        opened = self.open()
        self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + b"x" * 60_000 + b"\r\n\r\n")
        self.assertEqual(self.successResultOf(opened).code, 200)

    def test_interim_responses(self) -> None:
        """A few 1xx before the answer are passed over."""
        opened = self.open()
        self.say(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK)
        self.assertEqual(self.read(self.successResultOf(opened)), b"ok")


class FailureTests(UpstreamTestCase):
    def test_refused(self) -> None:
        """Nobody listens: unreachable, and tried elsewhere."""
        opened = self.open(port=9999)
        self.network.advance(1)
        error = self.failure(opened, UpstreamUnreachable)
        self.assertIn("openai", error.message)
        self.assertTrue(error.retryable)

    def test_no_such_name(self) -> None:
        """The provider's name does not resolve."""
        error = self.failure(self.open(host="nowhere.invalid"), UpstreamUnreachable)
        self.assertIn("does not resolve", error.message)

    def test_connect_limit(self) -> None:
        """A connection that is neither taken nor refused is given up after ``connect``."""
        self.network.black_holes.add(PORT)
        opened = self.open()
        self.network.advance(4.9)
        self.assertNoResult(opened)
        self.network.advance(0.1)
        error = self.failure(opened, UpstreamSilent)
        self.assertEqual((error.limit, error.status), ("connect", 504))
        self.assertIn("5 s", error.message)

    def test_connect_limits_of_their_own(self) -> None:
        """Providers may differ in it."""
        self.network.black_holes.add(PORT)
        patient, hasty = self.open(), self.open(timeouts=Timeouts(connect=1))
        self.network.advance(1)
        self.assertEqual(self.failure(hasty, UpstreamSilent).limit, "connect")
        self.assertNoResult(patient)
        self.network.advance(4)
        self.failure(patient, UpstreamSilent)

    def test_headers_limit(self) -> None:
        """A request that is taken and not answered is given up after ``headers``, and its
        connection closed."""
        opened = self.open()
        self.say(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.network.advance(19.9)
        self.assertNoResult(opened)
        self.network.advance(0.1)
        self.assertEqual(self.failure(opened, UpstreamSilent).limit, "headers")
        self.assertIsNotNone(self.server.made[0].lost)

    def test_no_headers_limit_for_a_whole_answer(self) -> None:
        """Its head comes when the model is done."""
        opened = self.open(streamed=False)
        self.network.advance(3000)
        self.assertNoResult(opened)
        self.say(OK)
        self.assertEqual(self.successResultOf(opened).code, 200)

    def test_cancelling(self) -> None:
        """Whoever cancels sees ``CancelledError`` and nothing else, however far it had come; the
        connection is closed at once."""
        for stage in ("connecting", "on a fresh connection", "on a kept connection", "in its head"):
            with self.subTest(stage):
                if stage == "connecting":
                    self.network.black_holes.add(PORT)
                elif stage == "on a kept connection":
                    kept = self.open()
                    self.say(OK)
                    self.read(self.successResultOf(kept))
                opened = self.open()
                if stage == "in its head":
                    self.say(b"HTTP/1.1 200 OK\r\n")
                opened.cancel()
                self.failureResultOf(opened, CancelledError)
                if stage != "connecting":
                    self.assertTrue(self.server.made[-1].transport.peer.aborted)
                self.network.flush()
                self.network.black_holes.clear()

    def test_cancelling_while_it_is_sent(self) -> None:
        """The same where the provider has not taken the whole request."""
        with self.sending() as opened:
            opened.cancel()
            self.failureResultOf(opened, CancelledError)
            self.assertTrue(self.server.made[-1].transport.peer.aborted)

    def test_a_refusal_while_it_is_sent(self) -> None:
        """A provider may refuse a request before it has read all of it, and never read the rest: its
        response is there with its head, and the connection is not kept."""
        with self.sending() as opened:
            self.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n")
            response = self.successResultOf(opened)
            self.assertEqual(response.code, 413)
            self.say(b"no")
            self.assertEqual(self.read(response), b"no")
            self.assertIsNotNone(self.server.made[-1].lost)

    @contextmanager
    def sending(self) -> Iterator[Deferred[Any]]:
        """A request that the provider reads the beginning of, on a kept connection."""
        kept = self.open()
        self.say(OK)
        self.read(self.successResultOf(kept))
        self.server.made[0].transport.allowance = 1000
        yield self.open(body=b"x" * 5_000_000)
        self.network.flush()
        self.assertEqual(len(self.server.made), 1)

    def test_no_tls(self) -> None:
        """A server that does not speak TLS where it should is unreachable, and sees no key."""
        opened = self.open(scheme="https", host="provider.test")
        self.assertNotIn(b"Bearer", self.server.made[0].received)
        self.say(b"HTTP/1.1 400 Bad Request\r\n\r\n", close=True)
        error = self.failure(opened, UpstreamUnreachable)
        self.assertIn("did not speak TLS", error.message)
        self.assertNotIn(b"Bearer", self.server.made[0].received)

    def test_closed_without_an_answer(self) -> None:
        """A provider that hangs up on a fresh connection may have begun: not to be repeated."""
        opened = self.open()
        self.say(b"", close=True)
        error = self.failure(opened, UpstreamUnreachable)
        self.assertFalse(error.untouched)

    def test_closed_in_its_head(self) -> None:
        """Half a head is no answer."""
        opened = self.open()
        self.say(b"HTTP/1.1 200 OK\r\nContent-", close=True)
        self.assertFalse(self.failure(opened, UpstreamUnreachable).untouched)

    def test_a_stale_connection(self) -> None:
        """A kept connection that closes right after the request was written is told apart: the
        provider cannot have begun."""
        kept = self.open()
        self.say(OK)
        self.read(self.successResultOf(kept))
        opened = self.open()
        self.assertEqual(len(self.server.made), 1)
        self.say(b"", close=True)
        self.assertTrue(self.failure(opened, UpstreamUnreachable).untouched)
        self.assertEqual(len(self.server.made), 1, "sent again behind our back")

    def test_a_kept_connection_that_began_to_answer(self) -> None:
        """With a byte of an answer it is not stale."""
        kept = self.open()
        self.say(OK)
        self.read(self.successResultOf(kept))
        opened = self.open()
        self.say(b"HTTP/1.1 200 OK\r\n", close=True)
        self.assertFalse(self.failure(opened, UpstreamUnreachable).untouched)


class HeadTests(UpstreamTestCase):
    """What is no head of HTTP/1.1, or too much of one, is garbled, and the connection closed."""

    def assert_garbled(self, *pieces: bytes) -> UpstreamGarbled:
        opened = self.open()
        for piece in pieces:
            self.say(piece)
        error: UpstreamGarbled = self.failure(opened, UpstreamGarbled)
        self.assertIn("openai", error.message)
        self.assertIsNotNone(self.server.made[-1].lost)
        return error

    def test_not_http(self) -> None:
        """Some other protocol answers."""
        self.assert_garbled(b"SSH-2.0-OpenSSH_9.6\r\n")

    def test_a_head_at_the_limit(self) -> None:
        """64 KiB of head are read."""
        opened = self.open()
        line = b"X-Filler: " + b"x" * 8000 + b"\r\n"
        self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + line * 8 + b"\r\n")
        self.assertEqual(self.successResultOf(opened).code, 200)

    def test_a_head_over_the_limit(self) -> None:
        """More are not, in one read or in many."""
        line = b"X-Filler: " + b"x" * 8000 + b"\r\n"
        self.assert_garbled(b"HTTP/1.1 200 OK\r\n", *[line] * 9)
        self.assert_garbled(b"HTTP/1.1 200 OK\r\n" + line * 9)

    def test_too_many_lines(self) -> None:
        """200 lines are the limit."""
        error = self.assert_garbled(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200)
        self.assertIn("200 lines", error.message)

    def test_interim_responses_without_end(self) -> None:
        """They count as lines of the head."""
        self.assert_garbled(b"HTTP/1.1 100 Continue\r\n\r\n" * 150)

    def test_a_line_without_end(self) -> None:
        """It is not waited for."""
        self.assert_garbled(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000)
        self.assert_garbled(b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 1000] * 70)

    def test_two_lengths(self) -> None:
        """A length that can be read in two ways is none."""
        for lines in (
            b"Content-Length: 2\r\nContent-Length: 3\r\n",
            b"Content-Length: x\r\n",
            b"Content-Length: -2\r\n",
        ):
            with self.subTest(lines):
                self.assert_garbled(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nok")

    def test_what_can_be_read_in_two_ways(self) -> None:
        """Half line ends, folded lines, a length beside chunks: what they hide is never read."""
        for lines in (
            b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length : 2\r\n",
            b"A: b\rContent-Length: 2\r\n",
            b"A: b\nContent-Length: 2\r\n",
            b"A: b\r\n Content-Length: 2\r\n",
        ):
            with self.subTest(lines):
                error = self.assert_garbled(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nok")
                self.assertIn("does not speak HTTP", error.message)

    def test_a_switch_of_protocols(self) -> None:
        """It was not asked for."""
        self.assert_garbled(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")

    def test_a_body_is_no_part_of_the_next_head(self) -> None:
        """A request that is sent over the connection as soon as a large answer has ended on it
        has a head of its own."""
        opened = self.open()
        self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        reading: Deferred[bytes] = Deferred.fromCoroutine(
            self.upstream.read(self.successResultOf(opened), TIMEOUTS, host="openai")
        )
        again: list[Deferred[Any]] = []
        reading.addCallback(lambda body: again.append(self.open()))
        self.say(b"x" * 100_000)
        self.assertEqual(len(self.server.made), 1)
        self.say(OK)
        self.assertEqual(self.successResultOf(again[0]).code, 200)


class LeftoverTests(UpstreamTestCase):
    """What one exchange leaves behind on its connection is never part of the next one."""

    def test_more_than_the_response(self) -> None:
        """A connection on which more came than the response is not used again."""
        opened = self.open()
        self.say(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        self.assertEqual(self.read(self.successResultOf(opened)), b"ok")
        self.assertIsNotNone(self.server.made[0].lost)
        again = self.open()
        self.assertEqual(len(self.server.made), 2)
        self.say(OK)
        self.assertEqual(self.read(self.successResultOf(again)), b"ok")

    def test_less_than_the_request(self) -> None:
        """Nor is one over which the request never went out: the next would stand behind it."""
        opened = self.full()
        self.say(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        self.assertEqual(self.read(self.successResultOf(opened)), b"no")
        self.assertTrue(self.server.made[0].transport.peer.aborted)

    def test_a_bad_head_to_a_request_that_is_not_read(self) -> None:
        """Nobody waits for the rest of the request to be read."""
        opened = self.full()
        self.say(b"nonsense\r\n\r\n")
        self.failure(opened, UpstreamGarbled)
        self.assertTrue(self.server.made[0].transport.peer.aborted)

    def full(self) -> Deferred[Any]:
        """A request to a provider that does not read it."""
        kept = self.open()
        self.say(OK)
        self.read(self.successResultOf(kept))
        self.server.made[0].transport.pauseProducing()
        return self.open(body=b"x" * 100_000)


class BodyTests(UpstreamTestCase):
    def respond(self, head: bytes) -> Any:
        opened = self.open()
        self.say(head)
        return self.successResultOf(opened)

    def reading(self, response: Any, limit: int = 1000) -> Deferred[bytes]:
        reading: Deferred[bytes] = Deferred.fromCoroutine(
            self.upstream.read(response, TIMEOUTS, host="openai", limit=limit)
        )
        self.network.flush()
        return reading

    def test_whole_bodies(self) -> None:
        """By length, in chunks, or to the end of the connection."""
        length = self.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwh")
        reading = self.reading(length)
        self.assertNoResult(reading)
        self.say(b"ole")
        self.assertEqual(self.successResultOf(reading), b"whol")
        chunks = self.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwh\r\n")
        reading = self.reading(chunks)
        self.say(b"3\r\nole\r\n0\r\n\r\n")
        self.assertEqual(self.successResultOf(reading), b"whole")
        closed = self.respond(b"HTTP/1.1 200 OK\r\n\r\nwh")
        reading = self.reading(closed)
        self.say(b"ole", close=True)
        self.assertEqual(self.successResultOf(reading), b"whole")

    def test_cut_bodies(self) -> None:
        """Short of a length, or without the last chunk."""
        for head in (b"Content-Length: 9", b"Transfer-Encoding: chunked"):
            with self.subTest(head):
                response = self.respond(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n2\r\nwh\r\n")
                reading = self.reading(response)
                self.say(b"", close=True)
                self.failureResultOf(reading, UpstreamTruncated)

    def test_a_body_over_its_limit(self) -> None:
        """It is not read on."""
        response = self.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1001)
        self.failureResultOf(self.reading(response), UpstreamGarbled)
        self.network.flush()
        self.assertIsNotNone(self.server.made[-1].lost)

    def test_a_body_that_stops(self) -> None:
        """``idle`` is the limit between two reads."""
        reading = self.reading(self.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nx"))
        self.network.advance(29.9)
        self.say(b"x")
        self.network.advance(29.9)
        self.assertNoResult(reading)
        self.network.advance(0.1)
        self.assertEqual(self.failureResultOf(reading, UpstreamSilent).value.limit, "idle")

    def test_fetch(self) -> None:
        """A small exchange, whole: status, headers by lower-case name, body."""
        call = UpstreamRequest(f"http://127.0.0.1:{PORT}/x".encode(), (), b"{}")
        fetching = Deferred.fromCoroutine(self.upstream.fetch(call, TIMEOUTS, host="google"))
        self.network.flush()
        self.say(b"HTTP/1.1 404 Gone\r\nX-Two: 1\r\nX-TWO: 2\r\nContent-Length: 2\r\n\r\nno")
        status, headers, body = self.successResultOf(fetching)
        self.assertEqual((status, headers["x-two"], body), (404, "2", b"no"))

    def test_stopping(self) -> None:
        """Kept connections are closed, and the Deferred fires when they are gone."""
        self.read(self.respond(OK))
        stopped = self.upstream.stop()
        self.network.flush()
        self.successResultOf(stopped)
        self.assertIsNotNone(self.server.made[0].lost)
