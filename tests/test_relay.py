"""A provider's stream on its way to the client: limits, cuts, ends, and departures."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from unittest import TestCase

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from aigateway.client_stream import ClientStream
from aigateway.config import Limits, Timeouts
from aigateway.dialects import CLAUDE
from aigateway.dialects.openai.reader import OpenAIReader
from aigateway.errors import UpstreamGarbled, UpstreamSilent, UpstreamTruncated
from aigateway.events import ChatRequest, Event
from aigateway.providers import KINDS
from aigateway.providers.openai import OpenAI
from aigateway.relay import LINGER, Collector, Relay, fault_of
from aigateway.sse import Frame
from aigateway.translate import Translator

from .fakes import (
    DONE,
    GATEWAY_PORT,
    PROVIDER_PORT,
    STOP,
    Asked,
    Client,
    GatewayTestCase,
    RawServer,
    chat,
    chunk,
    config,
    error_body,
    provider,
    usage_chunk,
)
from .recordings import answering

RAW_PORT = 9003
LIMITS = Timeouts(connect=5, headers=20, first_token=40, idle=30, total=300)
ROLE = chunk("").replace(b'"content":""', b'"role":"assistant","content":""')


class PaceTests(GatewayTestCase):
    def test_one_write_per_read(self) -> None:
        """However many HTTP chunks one read holds, the client gets them in one write."""
        self.start(config())
        client, asked = self.streaming()
        asked.head()
        self.network.flush()
        for text in ("a", "b", "c"):  # three writes, three HTTP chunks, no turn between them
            asked.write(chunk(text))
        self.network.flush()
        asked.finish(chunk("d"), STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "abcd")
        self.assertEqual(self.outcome().chunks, 2)


class LimitTests(GatewayTestCase):
    """Each limit is exact, and named in the error."""

    def setUp(self) -> None:
        super().setUp()
        self.start(config(provider(timeouts=LIMITS), ping=0.0))

    def assert_silent(self, client: Client, limit: str) -> None:
        message = self.assert_error(client.answer(), 504, "timeout_error")
        self.assertIn(f"(limit {limit})", message)
        self.assertEqual(self.outcome().result, "silent")

    def test_headers(self) -> None:
        """A request that is taken and not answered ends after ``headers``."""
        client, asked = self.streaming()
        self.advance(19.9)
        self.assertFalse(asked.aborted)
        self.advance(0.1)
        self.assertTrue(asked.aborted)
        self.assert_silent(client, "headers")

    def test_first_token(self) -> None:
        """``first_token`` counts from the head to the first text, thinking or tool event: roles,
        pings and comments are none."""
        client, asked = self.streaming()
        self.advance(10)
        asked.head()
        self.network.flush()
        for piece in (b": ping\n\n", ROLE, b": ping\n\n"):
            self.advance(10)
            self.tell(asked, piece)
        self.advance(9.9)
        self.assertFalse(asked.aborted)
        self.advance(0.1)
        self.assertTrue(asked.aborted)
        answer = client.answer()
        self.assertIn(b"(limit first_token)", answer.body)
        self.assertEqual(self.outcome().result, "silent")

    def test_idle(self) -> None:
        """After the first token it is ``idle`` that counts, from chunk to chunk."""
        client, asked = self.streaming()
        asked.head()
        self.advance(39)
        self.tell(asked, chunk("hi"))
        for _ in range(3):
            self.advance(29.9)
            self.tell(asked, b": ping\n\n")
        self.advance(29.9)
        self.assertFalse(asked.aborted)
        self.advance(0.1)
        self.assertTrue(asked.aborted)
        answer = client.answer()
        self.assertEqual((answer.events()[-1], answer.whole), ("error", False))
        self.assertIn(b"timeout_error", answer.frames()[-1].data)
        self.assertIn(b"(limit idle)", answer.frames()[-1].data)
        self.assertEqual(self.outcome().result, "silent")

    def test_total(self) -> None:
        """However lively, an answer ends after ``total``."""
        client, asked = self.streaming()
        asked.head()
        for _ in range(29):
            self.tell(asked, chunk("x"))
            self.advance(10)
        self.advance(9.9)
        self.assertFalse(asked.aborted)
        self.advance(0.1)
        self.assertTrue(asked.aborted)
        self.assertIn(b"(limit total)", client.answer().frames()[-1].data)
        self.assertEqual(client.answer().body.count(b"event: error"), 1)
        self.assertEqual(self.outcome().result, "silent")

    def test_a_whole_answer_has_only_total(self) -> None:
        """The head of a whole answer comes when the model is done: there is no limit on it
        but ``total``."""
        client, asked = self.streaming(chat(stream=False))
        self.advance(299.9)
        self.assertFalse(asked.aborted)
        self.advance(0.1)
        self.assertTrue(asked.aborted)
        self.assert_silent(client, "total")

    def test_a_paused_stream_has_no_limit_of_the_provider_s(self) -> None:
        """While the client is the slow one, the provider is not blamed; when it goes on,
        ``idle`` starts anew."""
        client, asked = self.streaming()
        asked.head()
        client.read(0)
        while asked.read_from:
            self.tell(asked, chunk("x" * 1000))
        for _ in range(8):
            client.read(10)
            self.advance(30)
        self.assertFalse(asked.aborted)
        client.read(None)
        self.advance(29.9)
        self.assertFalse(asked.aborted)
        self.advance(0.1)
        self.assertTrue(asked.aborted)
        self.assertIn(b"(limit idle)", client.answer().frames()[-1].data)

    def test_a_limit_before_the_first_token_leads_to_the_next_account(self) -> None:
        """Before the commit point a silent provider is only a reason to ask another."""
        self.network.ports[GATEWAY_PORT].stopListening()
        self.start(config(provider(accounts=("one", "two"), timeouts=LIMITS)))
        client, first = self.streaming()
        first.head()
        self.tell(first, ROLE)
        self.advance(40)
        self.assertTrue(first.aborted)
        second = self.provider.asked[1]
        second.head()
        second.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "hi")
        self.assertEqual([attempt.error for attempt in self.outcome().attempts], ["silent", None])


class CutTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()

    def assert_truncated(self, client: Client) -> None:
        answer = client.answer()
        self.assertEqual((answer.events()[-1], answer.whole), ("error", False), answer.body)
        self.assertEqual(answer.events().count("error"), 1)
        self.assertNotIn("message_stop", answer.events())
        self.assertIsNotNone(client.lost)
        self.assertEqual(self.outcomes[-1].result, "truncated")

    def test_a_connection_that_breaks(self) -> None:
        """An answer that is cut ends with an error frame, never cleanly."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"))
        asked.cut()
        self.network.flush()
        self.assert_truncated(client)

    def test_a_clean_end_of_http_is_none_of_the_answer(self) -> None:
        """HTTP's own end marker without the dialect's is a cut, too."""
        client, asked = self.streaming()
        asked.head()
        asked.finish(chunk("hi"))
        self.network.flush()
        self.assert_truncated(client)

    def test_a_cut_inside_a_frame(self) -> None:
        """Half a frame, even half a character, is never passed on."""
        whole = chunk("数到")
        for length in (7, len(whole) - 3, whole.index("数".encode()) + 1):
            with self.subTest(length):
                client, asked = self.streaming()
                asked.head()
                self.tell(asked, chunk("hi"), whole[:length])
                asked.cut()
                self.network.flush()
                self.assert_truncated(client)
                self.assertEqual(client.answer().text(), "hi")

    def test_a_body_without_length(self) -> None:
        """Without a length HTTP cannot know whether a closed body is whole; the end marker
        does."""
        for end, result in ((STOP + DONE, "ok"), (b"", "truncated")):
            with self.subTest(result):
                client, asked = self.streaming()
                asked.transport.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + chunk("hi") + end
                )
                asked.cut()
                self.network.flush()
                self.assertEqual(self.outcomes[-1].result, result)
                self.assertEqual(client.answer().whole, result == "ok")

    def test_short_of_its_length(self) -> None:
        """A body with a length that ends before it is cut."""
        client, asked = self.streaming()
        asked.head(content_length="5000")
        self.tell(asked, chunk("hi"))
        asked.cut()
        self.network.flush()
        self.assert_truncated(client)

    def test_a_whole_answer_short_of_its_length(self) -> None:
        """So is a whole answer, before which nothing was sent: 502."""
        client, asked = self.streaming(chat(stream=False))
        asked.head(content_length="5000")
        self.tell(asked, b'{"id":')
        asked.cut()
        self.network.flush()
        self.assert_error(client.answer(), 502, "api_error")
        self.assertEqual(self.outcome().result, "truncated")

    def test_a_cut_before_anything_leads_to_the_next_account(self) -> None:
        """A stream that broke before its first event is tried elsewhere."""
        self.network.ports[GATEWAY_PORT].stopListening()
        self.start(config(provider(accounts=("one", "two"))))
        client, first = self.streaming()
        first.head()
        self.tell(first, b": hello\n\n")
        first.cut()
        self.network.flush()
        second = self.provider.asked[1]
        second.head()
        second.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        self.assertEqual((client.answer().text(), client.answer().whole), ("hi", True))

    def test_an_answer_cut_after_its_finish_reason_is_whole(self) -> None:
        """After the finish reason nothing is missing but ``[DONE]``: the stream ends well, and
        the cut is only recorded."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"), STOP)
        asked.cut()
        self.network.flush()
        answer = client.answer()
        self.assertEqual((answer.events()[-1], answer.whole), ("message_stop", True))
        outcome = self.outcome()
        self.assertEqual(outcome.result, "ok")
        self.assertIn("closed the connection", str(outcome.error))

    def test_a_late_error_is_only_recorded(self) -> None:
        """An error frame after the finish reason is in the outcome, not in the stream."""
        client, asked = self.streaming()
        asked.head()
        frame = b"data: " + error_body("moderated", "server_error") + b"\n\n"
        asked.finish(chunk("hi"), STOP, frame, DONE)
        self.network.flush()
        answer = client.answer()
        self.assertEqual((answer.events()[-1], answer.whole), ("message_stop", True))
        self.assertNotIn("error", answer.events())
        self.assertEqual((self.outcome().result, self.outcome().error), ("ok", "moderated"))

    def test_usage_after_a_cut_is_the_larger(self) -> None:
        """What a cut answer cost is told or guessed, whichever is more, and never nothing."""
        _, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("x" * 400))
        asked.cut()
        self.network.flush()
        usage = self.outcome().usage
        assert usage is not None
        self.assertEqual((usage.output_tokens, usage.estimated), (100, True))


class EndTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_a_connection_whose_body_ends_with_the_answer_is_kept(self) -> None:
        """The next request goes over the same connection."""
        for _ in range(3):
            client, asked = self.streaming()
            asked.head()
            asked.finish(chunk("hi"), STOP, DONE)
            self.network.flush()
            self.assertTrue(client.answer().whole)
        self.assertEqual(len({id(asked.transport) for asked in self.provider.asked}), 1)

    def test_the_client_does_not_wait_for_the_body_s_end(self) -> None:
        """The answer is over with its end marker; the body may end a moment later, and the
        connection is kept all the same."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"), STOP, DONE)
        self.assertTrue(client.answer().whole)
        self.assertEqual(self.outcome().result, "ok")
        self.advance(LINGER - 0.1)
        asked.finish()
        self.network.flush()
        _, again = self.streaming()
        self.assertIs(again.transport, asked.transport)

    def test_the_body_s_end_is_seen_although_the_client_is_full(self) -> None:
        """An answer whose last bytes fill the client's side leaves the connection fit for the
        next request all the same."""
        client, asked = self.streaming()
        client.read(0)
        asked.head()
        self.tell(asked, chunk("x" * 70_000), STOP, DONE)
        asked.finish()
        self.network.flush()
        self.advance(LINGER)
        _, again = self.streaming()
        self.assertIs(again.transport, asked.transport)
        client.read(None)
        self.assertTrue(client.answer().whole)

    def test_a_body_that_does_not_end_is_closed(self) -> None:
        """It has two seconds for it."""
        _, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"), STOP, DONE)
        self.advance(LINGER - 0.1)
        self.assertFalse(asked.aborted)
        self.advance(0.1)
        self.assertTrue(asked.aborted)

    def test_what_comes_after_the_end_marker_is_ignored(self) -> None:
        """Nothing can be added to an answer that is over."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"), STOP, DONE)
        before = client.received
        self.tell(asked, chunk("more"))
        asked.finish(chunk("and more"))
        self.network.flush()
        self.assertEqual(client.received, before)

    def test_usage_that_was_told(self) -> None:
        """The provider's own counts are the outcome's and the client's."""
        client, asked = self.streaming()
        asked.head()
        asked.finish(chunk("hi"), STOP, usage_chunk(70, 30), DONE)
        self.network.flush()
        usage = self.outcome().usage
        assert usage is not None
        self.assertEqual((usage.input_tokens, usage.output_tokens, usage.estimated), (70, 30, False))
        self.assertIn(b'"output_tokens":30', client.answer().body)


class Broken(OpenAI):
    """A kind with a bug: its reader fails at the words "now boom", and ends badly
    after "late boom"."""

    name = "broken"

    def reader(self) -> OpenAIReader:
        return BrokenReader(self.classify)


class BrokenReader(OpenAIReader):
    ends_badly = False

    def feed(self, frame: Frame) -> list[Event]:
        if b"now boom" in frame.data:
            raise ZeroDivisionError("secret detail")
        if b"late boom" in frame.data:
            self.ends_badly = True
        return super().feed(frame)

    def end(self) -> list[Event]:
        if self.ends_badly:
            raise ZeroDivisionError("secret detail")
        return super().end()


class BugTests(GatewayTestCase):
    """A bug of ours is logged once, with the request id, and told without its details."""

    def setUp(self) -> None:
        super().setUp()
        KINDS["broken"] = Broken
        self.addCleanup(KINDS.pop, "broken")
        self.start(config(provider(kind="broken", accounts=("one", "two"))))

    def assert_logged_once(self) -> None:
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        outcome = self.outcome()
        self.assertEqual((outcome.result, len(outcome.attempts)), ("internal_error", 1))
        self.assertTrue(any("Traceback" in line and outcome.request_id in line for line in self.logged))

    def test_before_commit(self) -> None:
        """While nothing is out, it is a 500 in JSON; no other account is tried."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("now boom"))
        message = self.assert_error(client.answer(), 500, "api_error")
        self.assertNotIn("secret detail", message)
        self.assert_logged_once()
        self.assertTrue(asked.aborted)

    def test_after_commit(self) -> None:
        """In the middle of a stream it is one error frame, and never a page of HTML."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"))
        self.tell(asked, chunk("now boom"))
        answer = client.answer()
        self.assertEqual((answer.events()[-1], answer.whole), ("error", False))
        self.assertNotIn(b"<html", client.received)
        self.assertNotIn(b"secret detail", client.received)
        self.assertIsNotNone(client.lost)
        self.assert_logged_once()
        self.assertTrue(asked.aborted)

    def test_at_the_end(self) -> None:
        """At the end of the provider's body it is no different."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("late boom"))
        asked.finish()
        self.network.flush()
        answer = client.answer()
        self.assertEqual((answer.events()[-1], answer.whole), ("error", False))
        self.assert_logged_once()


class DepartureTests(GatewayTestCase):
    """A client that leaves frees the provider at once, in whatever phase, and is recorded."""

    def setUp(self) -> None:
        super().setUp()
        self.start(config(provider(accounts=("one", "two"))))

    def assert_let_go(self, client: Client, asked: Asked) -> None:
        attempts = len(self.provider.asked)
        client.leave()
        self.assertTrue(asked.aborted)
        self.assertTrue(asked.left)
        self.assertEqual(len(self.provider.asked), attempts, "another account was asked for nobody")
        outcome = self.outcomes[-1]
        self.assertEqual(outcome.result, "client_left")
        self.assertEqual(outcome.attempts[-1].error, "client_left")
        usage = outcome.usage
        assert usage is not None
        self.assertTrue(usage.estimated)
        self.assertGreater(usage.input_tokens, 0)

    def test_while_the_head_is_awaited(self) -> None:
        """Before the provider has answered at all."""
        self.assert_let_go(*self.streaming())

    def test_while_the_head_is_awaited_on_a_kept_connection(self) -> None:
        """Also right after a kept connection was used: it is not taken for a stale one."""
        _, asked = self.streaming()
        asked.head()
        asked.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        client, again = self.streaming()
        self.assertIs(again.transport, asked.transport)
        self.assert_let_go(client, again)

    def test_before_the_first_token(self) -> None:
        """After the provider's head."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, ROLE)
        self.assert_let_go(client, asked)
        self.assertEqual(self.outcome().attempts[0].status, 200)

    def test_in_mid_stream(self) -> None:
        """In the middle of the answer."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("x" * 400))
        self.assert_let_go(client, asked)
        usage = self.outcome().usage
        assert usage is not None
        self.assertEqual(usage.output_tokens, 100)

    def test_while_paused(self) -> None:
        """While the client is the slow one."""
        client, asked = self.streaming()
        asked.head()
        client.read(0)
        while asked.read_from:
            self.tell(asked, chunk("x" * 1000))
        self.assert_let_go(client, asked)

    def test_while_a_whole_answer_is_awaited(self) -> None:
        """A client that does not stream, before the head."""
        self.assert_let_go(*self.streaming(chat(stream=False)))

    def test_while_a_whole_answer_is_read(self) -> None:
        """A client that does not stream, in the middle of the body."""
        client, asked = self.streaming(chat(stream=False))
        asked.head(content_type="application/json")
        self.tell(asked, b'{"id"')
        self.assert_let_go(client, asked)

    def test_while_an_error_s_body_is_read(self) -> None:
        """While the provider is explaining its refusal."""
        client, asked = self.streaming()
        asked.head(500)
        self.tell(asked, b'{"error"')
        self.assert_let_go(client, asked)

    def test_at_the_second_account(self) -> None:
        """After a first attempt that failed: both are on record."""
        client, first = self.streaming()
        first.respond(error_body("busy"), 429)
        self.network.flush()
        second = self.provider.asked[1]
        self.assert_let_go(client, second)
        self.assertEqual([attempt.error for attempt in self.outcome().attempts], ["busy", "client_left"])

    def test_after_a_keep_alive(self) -> None:
        """When only comments are out."""
        client, asked = self.streaming()
        self.advance(20)
        self.assert_let_go(client, asked)
        self.assertEqual(self.outcome().status, 200)

    def test_while_connecting(self) -> None:
        """Before there is a connection to the provider: the attempt to connect ends."""
        self.network.black_holes.add(PROVIDER_PORT)
        client = self.ask()
        self.assertEqual(self.provider.asked, [])
        client.leave()
        outcome = self.outcome()
        self.assertEqual((outcome.result, len(outcome.attempts)), ("client_left", 1))
        self.advance(60)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_before_its_request_is_whole(self) -> None:
        """While it is uploading: nothing has been asked of anybody."""
        client = self.client()
        client.send(b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        client.leave()
        self.assertEqual((self.provider.asked, self.outcomes), ([], []))

    def test_behind_its_own_request(self) -> None:
        """A request that was waiting behind another is never begun."""
        client, asked = self.streaming()
        client.ask(body=chat("second"))
        self.assert_let_go(client, asked)
        self.assertEqual(len(self.outcomes), 1)

    def test_a_departure_from_keeping_to_the_end(self) -> None:
        """Who leaves after the answer was whole has not left it."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"), STOP, DONE)
        client.leave()
        self.assertEqual(self.outcome().result, "ok")


class GarbledTests(GatewayTestCase):
    """Providers that answer 200 with something else."""

    def setUp(self) -> None:
        super().setUp()
        self.raw = RawServer()
        self.network.listenTCP(RAW_PORT, self.raw)
        self.start(config(provider(port=RAW_PORT)))

    def answer(self, body: bytes, content_type: bytes = b"text/event-stream") -> Client:
        client = self.ask()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        self.raw.made[-1].transport.write(head % (content_type, len(body)) + body)
        self.network.flush()
        return client

    def test_a_page(self) -> None:
        """HTML instead of an answer is 502."""
        client = self.answer(b"<!DOCTYPE html><html><body>Sign in</body></html>", b"text/html")
        message = self.assert_error(client.answer(), 502, "api_error")
        self.assertNotIn("<html>", message)
        self.assertEqual(self.outcome().result, "garbled")

    def test_nothing(self) -> None:
        """An empty body is no answer."""
        self.assert_error(self.answer(b"").answer(), 502, "api_error")

    def test_a_compressed_answer(self) -> None:
        """Gzip was not asked for: frames would be held back, and it is not inflated."""
        client = self.ask()
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
        self.raw.made[-1].transport.write(head)
        self.network.flush()
        self.assert_error(client.answer(), 502, "api_error")
        self.assertEqual(self.outcome().result, "garbled")

    def test_an_error_in_json(self) -> None:
        """An error object in a 200 means what it means with a status."""
        client = self.answer(error_body("too fast", "rate_limit_error"), b"application/json")
        self.assert_error(client.answer(), 429, "rate_limit_error")

    def test_frames_that_are_no_json(self) -> None:
        """Frames of something else are 502."""
        self.assert_error(self.answer(b"data: hello\n\n").answer(), 502, "api_error")

    def test_a_line_without_end(self) -> None:
        """A line beyond the limit ends the answer without being kept."""
        self.network.ports[GATEWAY_PORT].stopListening()
        self.start(config(provider(port=RAW_PORT), limits=Limits(sse_line=1000)))
        client = self.answer(b"data: " + b"x" * 2000)
        self.assert_error(client.answer(), 502, "api_error")
        self.assertEqual(self.outcome().result, "garbled")


class Response:
    """A response whose body a test delivers by hand."""

    def __init__(self) -> None:
        self.aborted = 0
        self.deliver: Callable[[object], None] = lambda protocol: None

    def abort(self) -> None:
        self.aborted += 1

    def deliverBody(self, protocol: object) -> None:
        self.deliver(protocol)


class Sink:
    """A client's stream, as far as a relay knows it."""

    begun = False

    def __init__(self) -> None:
        self.written = b""
        self.source: object = None

    def feeds_from(self, source: object) -> None:
        self.source = source

    def write(self, data: bytes, now: float) -> None:
        self.begun = True
        self.written += data


class RelayTests(SynchronousTestCase):
    """A relay by itself: its Deferred fires once, and whatever comes later is nobody's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.response = Response()
        self.sink = Sink()
        chat = ChatRequest(dialect="claude", model="m", messages=())
        kind = OpenAI()
        writer = CLAUDE.writer(chat, "req_1", 0)
        stream = Translator(answering(chat), kind.reader(), writer, kind.parse_reply)
        self.relay = Relay(cast(ClientStream, self.sink), stream, LIMITS, self.clock, "openai")
        self.done = self.relay.carry(cast(IResponse, self.response))
        self.relay.connectionMade()

    def test_cancelling(self) -> None:
        """It closes the provider's connection, stops the limits, and writes no more."""
        self.relay.dataReceived(chunk("hi"))
        before = self.sink.written
        self.done.cancel()
        self.failureResultOf(self.done, CancelledError)
        self.assertEqual((self.clock.getDelayedCalls(), self.response.aborted), ([], 1))
        self.assertIsNone(self.sink.source)
        self.relay.dataReceived(chunk("late"))
        self.relay.connectionLost(Failure(ResponseFailed([Failure(ConnectionLost())])))
        self.assertEqual(self.sink.written, before)

    def test_the_end(self) -> None:
        """A whole answer fires it with None, before the body is over."""
        self.relay.dataReceived(chunk("hi") + STOP + DONE)
        self.assertIsNone(self.successResultOf(self.done))
        self.relay.connectionLost(Failure(ResponseDone()))
        self.assertEqual((self.clock.getDelayedCalls(), self.response.aborted), ([], 0))

    def test_a_limit(self) -> None:
        """A limit fires it once; the connection's end that follows is expected."""
        self.clock.advance(LIMITS.first_token)
        self.assertEqual(self.failureResultOf(self.done, UpstreamSilent).value.limit, "first_token")
        self.assertEqual((self.clock.getDelayedCalls(), self.response.aborted), ([], 1))
        self.relay.connectionLost(Failure(ResponseFailed([Failure(ConnectionLost())])))

    def test_a_read_that_was_under_way(self) -> None:
        """What comes although the relay is paused goes on to the client, and starts no limit."""
        self.relay.pause()
        self.relay.dataReceived(chunk("hi"))
        self.assertIn(b"hi", self.sink.written)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.relay.resume()
        (limit,) = self.clock.getDelayedCalls()
        self.assertEqual(limit.getTime(), LIMITS.idle)
        self.done.cancel()
        self.failureResultOf(self.done, CancelledError)

    def test_resuming_after_the_end(self) -> None:
        """A client that reads on when all is over starts nothing anew."""
        self.relay.dataReceived(chunk("hi") + STOP + DONE)
        self.relay.connectionLost(Failure(ResponseDone()))
        self.relay.pause()
        self.relay.resume()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.done)


class CollectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.response = Response()
        self.collector = Collector(10, self.clock, 5.0, "openai")

    def collect(self) -> Deferred[bytes]:
        done = self.collector.collect(self.response)  # type: ignore[arg-type]
        self.collector.connectionMade()
        return done

    def test_a_body_at_the_limit(self) -> None:
        """A body of exactly the limit is whole."""
        done = self.collect()
        self.collector.dataReceived(b"01234")
        self.collector.dataReceived(b"56789")
        self.collector.connectionLost(Failure(ResponseDone()))
        self.assertEqual(self.successResultOf(done), b"0123456789")
        self.assertEqual((self.clock.getDelayedCalls(), self.response.aborted), ([], 0))

    def test_a_body_over_the_limit(self) -> None:
        """One byte more ends it at once; what comes later is thrown away."""
        done = self.collect()
        self.collector.dataReceived(b"01234567890")
        self.failureResultOf(done, UpstreamGarbled)
        self.assertEqual((self.clock.getDelayedCalls(), self.response.aborted), ([], 1))
        self.collector.dataReceived(b"more")
        self.collector.connectionLost(Failure(ResponseDone()))

    def test_idle(self) -> None:
        """A pause of ``idle`` seconds between chunks ends it."""
        done = self.collect()
        for _ in range(3):
            self.clock.advance(4.9)
            self.collector.dataReceived(b"x")
        self.clock.advance(4.9)
        self.assertNoResult(done)
        self.clock.advance(0.1)
        self.assertEqual(self.failureResultOf(done, UpstreamSilent).value.limit, "idle")
        self.assertEqual(self.response.aborted, 1)

    def test_no_second_copy(self) -> None:
        """What was gathered is handed out as it is, not copied once more."""
        done = self.collect()
        self.collector.dataReceived(b"0123456789")
        self.collector.connectionLost(Failure(ResponseDone()))
        body = self.successResultOf(done)
        self.assertIs(self.collector._body.getvalue(), body)

    def test_cancelling(self) -> None:
        """Cancelling closes the connection; what comes of that is nobody's business."""
        done = self.collect()
        done.addErrback(lambda failure: None)
        done.cancel()
        self.assertEqual((self.clock.getDelayedCalls(), self.response.aborted), ([], 1))
        self.collector.dataReceived(b"late")
        self.collector.connectionLost(Failure(ResponseFailed([Failure(ConnectionLost())])))

    def test_a_body_that_was_there_already(self) -> None:
        """A body may be delivered whole before ``deliverBody`` returns."""

        def deliver(protocol: object) -> None:
            self.collector.dataReceived(b"all")
            self.collector.connectionLost(Failure(ResponseDone()))

        self.response.deliver = deliver
        self.assertEqual(self.successResultOf(self.collector.collect(self.response)), b"all")  # type: ignore[arg-type]


class FaultTests(TestCase):
    def test_how_a_body_ended(self) -> None:
        """Two endings are no fault by HTTP's word; all others are a cut."""
        self.assertIsNone(fault_of(Failure(ResponseDone()), "openai"))
        self.assertIsNone(fault_of(Failure(PotentialDataLoss()), "openai"))
        for reason in (ResponseFailed([Failure(ConnectionDone())]), ConnectionDone(), ConnectionLost()):
            self.assertIsInstance(fault_of(Failure(reason), "openai"), UpstreamTruncated)
