"""The HTTP server's bounds and deadlines, byte by byte, against the whole gateway.

The limits here are small so that a test can reach them; the defaults are those of
`aigateway.config.Limits`.
"""

from __future__ import annotations

import tempfile

from aigateway.config import Limits

from .fakes import (
    DONE,
    STOP,
    Answer,
    Client,
    GatewayTestCase,
    chat,
    chunk,
    config,
    request_bytes,
    whole_reply,
)

POST = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: localhost:8088\r\n"
JSON = b"Content-Type: application/json\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class ChannelTestCase(GatewayTestCase):
    limits = Limits(max_head=1024, max_headers=10, max_body=2000, max_pipelined=4096)

    def setUp(self) -> None:
        super().setUp()
        self.start(config(limits=self.limits))
        self.http = self.client()

    def assert_refused(self, status: int, client: Client | None = None) -> Answer:
        """One answer with ``status`` in the dialect's shape, then the end; nothing dispatched."""
        client = client or self.http
        answer = client.answer()
        self.assertEqual(answer.status, status, client.received)
        self.assertTrue(answer.whole)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(answer.json()["type"], "error")
        self.assertTrue(client.ended)
        client.send(HEALTH + request_bytes("POST", "/v1/chat/completions", chat()))
        self.advance(3)
        self.assertIsNotNone(client.lost, "the connection is still open")
        self.assertEqual(len(client.answers()), 1)
        self.assertEqual(self.provider.asked, [])
        return answer


class HeadTests(ChannelTestCase):
    def test_a_head_at_the_limit_is_taken(self) -> None:
        """A head of exactly ``max_head`` bytes of lines is answered."""
        lines = [b"GET /health HTTP/1.1", b"Host: localhost", b"X-Filler: "]
        lines[2] += b"x" * (self.limits.max_head - sum(map(len, lines)))
        self.http.send(b"\r\n".join(lines) + b"\r\n\r\n")
        self.assertEqual(self.http.answer().status, 200)

    def test_a_head_over_the_limit_is_refused(self) -> None:
        """One byte more, spread over several lines, is 431."""
        lines = [b"GET /health HTTP/1.1", b"Host: localhost", b"X-Filler: ", b"X-Other: "]
        lines[2] += b"x" * 500
        lines[3] += b"x" * (self.limits.max_head + 1 - sum(map(len, lines)))
        self.http.send(b"\r\n".join(lines) + b"\r\n\r\n")
        self.assert_refused(431)

    def test_a_line_without_end_is_refused(self) -> None:
        """A line that is over the limit is refused before it ends, in a read or in many."""
        self.http.send(b"GET /" + b"x" * 1100)
        self.assert_refused(431)

    def test_a_line_that_grows_is_refused(self) -> None:
        """A head that trickles in is refused as soon as it is over the limit."""
        self.http.send(b"GET /health HTTP/1.1\r\nX-Filler: ")
        for _ in range(12):
            self.http.send(b"x" * 100)
        self.assert_refused(431)

    def test_as_many_headers_as_the_limit_are_taken(self) -> None:
        """Ten headers, Host among them, are answered."""
        more = b"".join(b"X-%d: 1\r\n" % number for number in range(9))
        self.http.send(b"GET /health HTTP/1.1\r\n" + HOST + more + b"\r\n")
        self.assertEqual(self.http.answer().status, 200)

    def test_more_headers_than_the_limit_are_refused(self) -> None:
        """Eleven are 431, said in the dialect of the path."""
        more = b"".join(b"X-%d: 1\r\n" % number for number in range(10))
        self.http.send(b"GET /health HTTP/1.1\r\n" + HOST + more + b"\r\n")
        self.assert_refused(431)

    def test_the_limit_is_each_request_s_own(self) -> None:
        """Heads that are within the limit one by one are all answered on one connection."""
        filler = b"X-Filler: " + b"x" * 700 + b"\r\n\r\n"
        for _ in range(3):
            self.http.send(b"GET /health HTTP/1.1\r\n" + HOST + filler)
        self.assertEqual([answer.status for answer in self.http.answers()], [200, 200, 200])

    def test_an_openai_path_has_openai_s_error(self) -> None:
        """A refusal speaks the dialect of the path that was asked."""
        self.http.send(b"POST /openai/v1/chat/completions HTTP/1.1\r\nX: " + b"x" * 1024 + b"\r\n\r\n")
        answer = self.http.answer()
        self.assertEqual(answer.status, 431)
        self.assertEqual(answer.json()["error"]["type"], "invalid_request_error")
        self.assertEqual(answer.headers["x-request-id"], answer.headers["x-aigateway-request-id"])


class SyntaxTests(ChannelTestCase):
    def test_bad_request_lines(self) -> None:
        """A first line that is not method, target and version is 400."""
        for line in (
            b"GET",
            b"GET /health",
            b"GET /health HTTP/1.1 x",
            b"\x16\x03\x01 x",
            b"GET /health FTP/1.1",
        ):
            with self.subTest(line):
                client = self.client()
                client.send(line + b"\r\n" + HOST + b"\r\n")
                self.assert_refused(400, client)

    def test_bad_headers(self) -> None:
        """Headers that two servers could read differently are 400: folded ones, names with
        white space or none, control characters."""
        for line in (
            b"X-Folded: one\r\n two",
            b"X-Folded: one\r\n\ttwo",
            b" X-First: 1",
            b"X-Name : 1",
            b"No colon",
            b": no name",
            b"X-Nul: a\0b",
            b"X-CR: a\rb",
        ):
            with self.subTest(line):
                client = self.client()
                client.send(b"GET /health HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n")
                self.assert_refused(400, client)

    def test_a_folded_first_header_is_refused(self) -> None:
        """White space right after the request line is no header."""
        self.http.send(b"GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n")
        self.assert_refused(400)

    def test_host(self) -> None:
        """Exactly one Host that is a host: else 400."""
        for lines in (
            b"",
            HOST + HOST,
            HOST + b"Host: evil.example\r\n",
            b"Host:\r\n",
            b"Host: :8088\r\n",
            b"Host: local host\r\n",
            b"Host: localhost, evil.example\r\n",
            b"Host: user@localhost\r\n",
            b"Host: localhost/path\r\n",
        ):
            with self.subTest(lines):
                client = self.client()
                client.send(b"GET /health HTTP/1.1\r\n" + lines + b"\r\n")
                self.assert_refused(400, client)

    def test_foreign_hosts(self) -> None:
        """A host that this gateway does not go by is 421: a page in a browser reaches it under
        no name of its own."""
        for host in (
            b"evil.example",
            b"localhost.evil.example:8088",
            b"127.0.0.1.evil.example",
            b"[::2]:8088",
        ):
            with self.subTest(host):
                client = self.client()
                client.send(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                self.assert_refused(421, client)

    def test_loopback_hosts(self) -> None:
        """The loopback's names are taken in any case, with a port or without."""
        for host in (b"localhost", b"LOCALHOST:1", b"127.0.0.1:8088", b"[::1]", b"[::1]:8088"):
            with self.subTest(host):
                client = self.client()
                client.send(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                self.assertEqual(client.answer().status, 200)

    def test_two_lengths(self) -> None:
        """Content-Length with Transfer-Encoding, twice, or no number: 400. What two servers
        could cut apart differently is never passed on."""
        for lines in (
            b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
            b"Content-Length: 2\r\nContent-Length: 2\r\n",
            b"Content-Length: 2\r\nContent-Length: 3\r\n",
            b"Content-Length: 2, 2\r\n",
            b"Content-Length: -2\r\n",
            b"Content-Length: +2\r\n",
            b"Content-Length: 0x2\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n",
            b"Transfer-Encoding: identity\r\n",
        ):
            with self.subTest(lines):
                client = self.client()
                client.send(POST + HOST + JSON + lines + b"\r\n{}\r\n0\r\n\r\n")
                self.assert_refused(400, client)

    def test_bad_chunks(self) -> None:
        """A chunk whose size or end is none is 400."""
        for body in (b"g\r\n", b"-1\r\n", b"2\r\n{}x\r\n", b"2;" + b"x" * 3000):
            with self.subTest(body):
                client = self.client()
                client.send(POST + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + body)
                self.assert_refused(400, client)

    def test_an_absurd_chunk(self) -> None:
        """A chunk of 10**48 bytes costs no more than the limit of the body."""
        self.http.send(POST + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n")
        self.http.send(b" " * 2000)
        self.assertEqual(self.http.received, b"")
        self.http.send(b" ")
        self.assert_refused(413)


class BodyTests(ChannelTestCase):
    def test_a_body_at_the_limit_is_taken(self) -> None:
        """``max_body`` bytes are read: what is wrong with them is the answer."""
        self.http.ask(body=b" " * self.limits.max_body)
        self.assertEqual(self.http.answer().status, 400)

    def test_a_length_over_the_limit_is_refused_before_the_body(self) -> None:
        """413 comes before a byte of the body, and without ``100 Continue``."""
        self.http.send(POST + HOST + JSON + b"Expect: 100-continue\r\nContent-Length: 2001\r\n\r\n")
        self.assertEqual(self.http.answer().interim, ())
        answer = self.assert_refused(413)
        self.assertIn("2000 bytes", answer.json()["error"]["message"])

    def test_absurd_lengths_are_refused(self) -> None:
        """A length of a thousand digits costs nothing."""
        self.http.send(POST + HOST + JSON + b"Content-Length: " + b"9" * 900 + b"\r\n\r\n")
        self.assert_refused(413)

    def test_chunks_over_the_limit_are_refused_in_the_middle(self) -> None:
        """A chunked body is refused as soon as it is too large, not at its end."""
        self.http.send(POST + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n")
        self.http.send(b"7d0\r\n" + b" " * 2000 + b"\r\n")
        self.assertEqual(self.http.received, b"")
        self.http.send(b"1\r\n \r\n")
        self.assert_refused(413)

    def test_a_refused_client_may_finish_sending(self) -> None:
        """What a refused client still sends is thrown away for a moment, so that the answer
        is not lost with a connection reset; then the connection is closed."""
        self.http.send(POST + HOST + JSON + b"Content-Length: 5000000\r\n\r\n")
        self.http.send(b"x" * 1_000_000)
        self.assertIsNone(self.http.lost)
        self.assertEqual(self.http.answer().status, 413)
        self.advance(2)
        self.assertIsNotNone(self.http.lost)

    def test_a_chunked_body_is_taken(self) -> None:
        """A chunked body within the limit is a body like any other, trailers and all."""
        data = b'{"model":"gpt-4","stream":true,"messages":[{"role":"user","content":"hi"}]}'
        pieces = b"".join(b"%x\r\n%b\r\n" % (1, data[place : place + 1]) for place in range(len(data)))
        self.http.send(POST + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
        self.assertEqual(self.provider.asked[0].body["messages"][0]["content"], "hi")

    def test_expect_is_answered(self) -> None:
        """A client that waits for ``100 Continue`` gets it, and then its answer."""
        data = b'{"model":"gpt-4","messages":[]'
        length = b"Content-Length: %d\r\n\r\n" % len(data)
        self.http.send(POST + HOST + JSON + b"Expect: 100-continue\r\n" + length)
        self.assertEqual(self.http.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.http.send(data)
        answer = self.http.answer()
        self.assertEqual((answer.interim, answer.status), ((100,), 400))

    def test_a_split_request_is_one_request(self) -> None:
        """A request that comes byte by byte is answered once."""
        for byte in request_bytes("POST", "/v1/chat/completions", chat()):
            self.http.send(bytes([byte]))
        self.assertEqual(len(self.provider.asked), 1)


class NoFilesTests(GatewayTestCase):
    def test_no_body_is_written_to_a_file(self) -> None:
        """A large body, of known length or not, stays in memory: nothing is asked of
        `tempfile`, whose directory does not exist."""
        before = tempfile.tempdir
        tempfile.tempdir = "/nonexistent"
        self.addCleanup(setattr, tempfile, "tempdir", before)
        self.start()
        long = "x" * 300_000
        self.streaming(chat(long))
        data = b'{"model":"gpt-4","stream":true,"messages":[{"role":"user","content":"%b"}]}' % long.encode()
        chunked = self.client()
        chunked.send(POST + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n")
        chunked.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        self.assertEqual(chunked.received, b"")
        answer = self.stats.stats
        self.assertEqual(answer.open_requests, 2)


class DeadlineTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.http = self.client()

    def test_a_silent_connection_is_closed(self) -> None:
        """Who connects and sends nothing is closed after 10 s, without a word."""
        self.advance(9.9)
        self.assertIsNone(self.http.lost)
        self.advance(0.1)
        self.assertIsNotNone(self.http.lost)
        self.assertEqual(self.http.received, b"")

    def test_a_slow_head_is_refused(self) -> None:
        """The whole head has 10 s, however steadily it trickles."""
        self.http.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        for number in range(9):
            self.advance(1)
            self.http.send(b"X-%d: 1\r\n" % number)
        self.advance(0.9)
        self.assertEqual(self.http.received, b"")
        self.advance(0.1)
        self.assertEqual(self.http.answer().status, 408)
        self.advance(2)
        self.assertIsNotNone(self.http.lost)

    def test_a_stopped_body_is_refused(self) -> None:
        """A body of which nothing comes is refused when its 10 s of grace are over."""
        self.http.send(POST + HOST + JSON + b"Content-Length: 100\r\n\r\n{")
        self.advance(9.9)
        self.assertEqual(self.http.received, b"")
        self.advance(1.1)
        self.assertEqual(self.http.answer().status, 408)
        self.assertIn("1024 bytes per second", self.http.answer().json()["error"]["message"])

    def test_a_slow_body_is_refused(self) -> None:
        """After the grace a body must come at 1 KiB a second: 500 bytes a second do not do."""
        self.http.send(POST + HOST + JSON + b"Content-Length: 100000\r\n\r\n")
        seconds = 0
        while not self.http.received and seconds < 60:
            self.http.send(b" " * 500)
            self.advance(1)
            seconds += 1
        self.assertEqual(self.http.answer().status, 408)
        self.assertLess(seconds, 25)

    def test_a_body_at_the_rate_is_taken(self) -> None:
        """A large body at a steady 1 KiB a second takes as long as it takes."""
        self.http.send(POST + HOST + JSON + b"Content-Length: %d\r\n\r\n" % (100 * 1024))
        for _ in range(100):
            self.assertEqual(self.http.received, b"")
            self.http.send(b" " * 1024)
            self.advance(1)
        self.assertEqual(self.http.answer().status, 400)

    def test_a_kept_connection_is_closed_after_75_s(self) -> None:
        """Between requests a connection may be idle for 75 s."""
        self.http.send(HEALTH)
        self.advance(74.9)
        self.assertIsNone(self.http.lost)
        self.http.send(HEALTH)
        self.advance(74.9)
        self.assertIsNone(self.http.lost)
        self.advance(0.1)
        self.assertIsNotNone(self.http.lost)
        self.assertEqual(len(self.http.answers()), 2)

    def test_a_later_slow_head_is_refused(self) -> None:
        """The head's deadline is each request's own, also on a kept connection."""
        self.http.send(HEALTH)
        self.advance(70)
        self.http.send(b"GET /health HTTP/1.1\r\n")
        self.advance(9.9)
        self.assertEqual(len(self.http.answers()), 1)
        self.advance(0.1)
        self.assertEqual([answer.status for answer in self.http.answers()], [200, 408])

    def test_a_slow_pipelined_head_is_refused(self) -> None:
        """So is one that began to come while another request was answered."""
        self.http.ask(body=chat())
        self.http.send(b"GET /health HTTP/1.1\r\nHost: loc")
        (asked,) = self.provider.asked
        asked.head()
        asked.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        self.advance(10)
        self.assertEqual([answer.status for answer in self.http.answers()], [200, 408])

    def test_no_deadline_is_left_while_an_answer_is_under_way(self) -> None:
        """A stream may take longer than any of these."""
        self.http.ask(body=chat())
        (asked,) = self.provider.asked
        asked.head()
        for _ in range(20):
            self.tell(asked, chunk("x"))
            self.advance(30)
        asked.finish(STOP, DONE)
        self.network.flush()
        self.assertEqual(self.http.answer().text(), "x" * 20)


class PipelineTests(ChannelTestCase):
    def test_answers_come_in_order(self) -> None:
        """Pipelined requests are answered one after the other, each with its own answer."""
        self.http.send(
            request_bytes("POST", "/v1/chat/completions", chat("first"))
            + HEALTH
            + request_bytes("POST", "/v1/chat/completions", chat("second"))
        )
        self.assertEqual(len(self.provider.asked), 1)
        self.assertEqual(self.http.received, b"")
        for word in (b"one", b"two"):
            asked = self.provider.asked[-1]
            asked.head()
            asked.finish(chunk(word.decode()), STOP, DONE)
            self.network.flush()
        first, health, second = self.http.answers()
        self.assertEqual((first.text(), health.json(), second.text()), ("one", {"status": "ok"}, "two"))
        told = [asked.body["messages"][-1]["content"] for asked in self.provider.asked]
        self.assertEqual(told, ["first", "second"])

    def test_behind_an_answer_that_is_read_slowly(self) -> None:
        """A request that waits there for the client to read has no deadline meanwhile."""
        self.http.read(0)
        self.http.send(request_bytes("POST", "/v1/chat/completions", chat(stream=False)) + HEALTH)
        self.provider.asked[0].respond(whole_reply("x" * 300_000))
        self.network.flush()
        for _ in range(30):
            self.advance(1.0)
            self.http.read(1000)
        self.http.read(None)
        self.network.flush()
        self.assertEqual([answer.status for answer in self.http.answers()], [200, 200])

    def test_too_much_behind_a_running_request_is_cut_off(self) -> None:
        """Up to ``max_pipelined`` bytes wait behind a running request; more aborts the
        connection, and with it the request: reading on is how a departure is noticed."""
        self.http.ask(body=chat())
        self.http.send(b"G" * 4096)
        self.assertIsNone(self.http.lost)
        self.assertFalse(self.provider.asked[0].aborted)
        self.http.send(b"G")
        self.assertIsNotNone(self.http.lost)
        self.assertTrue(self.provider.asked[0].aborted)
        self.assertEqual(self.outcome().result, "client_left")

    def test_too_much_in_one_read(self) -> None:
        """Also where it comes together with the request, which is then never begun."""
        self.http.send(request_bytes("POST", "/v1/chat/completions", chat()) + b"G" * 5000)
        self.assertIsNotNone(self.http.lost)
        self.assertEqual((self.http.received, self.provider.asked), (b"", []))

    def test_a_departure_behind_pipelined_bytes_is_noticed(self) -> None:
        """A client that pipelines within the limit and leaves frees the provider at once."""
        self.http.ask(body=chat())
        self.http.send(HEALTH * 50)
        self.http.leave()
        self.assertTrue(self.provider.asked[0].aborted)

    def test_a_refusal_ends_the_pipeline(self) -> None:
        """What is behind a refused request is never looked at."""
        self.http.send(
            HEALTH
            + POST + HOST + JSON + b"Content-Length: 3000\r\n\r\n"
            + request_bytes("POST", "/v1/chat/completions", chat())
        )  # fmt: skip
        self.assertEqual([answer.status for answer in self.http.answers()], [200, 413])
        self.assertEqual(self.provider.asked, [])

    def test_lines_behind_a_refused_request(self) -> None:
        """They are thrown away at once: one by one, each would cost a copy of all that are left."""
        (channel,) = self.gateway.site.channels
        lines: list[bytes] = []
        received = channel.lineReceived

        def note(line: bytes) -> None:
            lines.append(line)
            received(line)

        channel.lineReceived = note  # type: ignore[method-assign]
        self.http.send(b"nonsense\r\n" * 100)
        self.assertEqual(self.http.answer().status, 400)
        self.assertEqual(lines, [b"nonsense"])

    def test_a_bad_request_behind_a_running_one_waits_its_turn(self) -> None:
        """Its 400 comes after the answer before it, not into it."""
        self.http.ask(body=chat())
        self.http.send(b"nonsense\r\n\r\n")
        (asked,) = self.provider.asked
        asked.head()
        self.tell(asked, chunk("still"))
        asked.finish(chunk(" well"), STOP, DONE)
        self.network.flush()
        first, second = self.http.answers()
        self.assertEqual((first.text(), first.whole, second.status), ("still well", True, 400))


class VersionTests(ChannelTestCase):
    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client needs no Host, gets no chunks, and is closed after its answer."""
        client = self.http
        client.send(request_bytes("POST", "/v1/chat/completions", chat(), version="1.0").replace(HOST, b""))
        (asked,) = self.provider.asked
        asked.head()
        self.tell(asked, chunk("hel"))
        self.assertIn(b"hel", client.received)
        asked.finish(chunk("lo"), STOP, DONE)
        self.network.flush()
        head, _, body = client.received.partition(b"\r\n\r\n")
        self.assertNotIn(b"chunked", head)
        self.assertTrue(body.startswith(b"event: message_start"))
        self.assertTrue(body.endswith(b'data: {"type":"message_stop"}\n\n'))
        self.assertIsNotNone(client.lost)

    def test_connection_close(self) -> None:
        """A client that asks for it is closed after its answer, and told so."""
        self.http.ask(body=chat(), headers=[("Connection", "close")])
        (asked,) = self.provider.asked
        asked.head()
        asked.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        answer = self.http.answer()
        self.assertEqual((answer.headers["connection"], answer.whole), ("close", True))
        self.assertIsNotNone(self.http.lost)

    def test_close_in_a_list(self) -> None:
        """``close`` counts wherever it stands in the header."""
        self.http.ask("GET", "/health", headers=[("Connection", "keep-alive, Close")])
        self.assertIsNotNone(self.http.lost)

    def test_head(self) -> None:
        """HEAD has the headers of GET and no body, and the connection is kept."""
        self.http.ask("HEAD", "/health")
        self.http.ask("HEAD", "/")
        self.http.ask("GET", "/health")
        head, root, get = self.http.answers("HEAD", "HEAD", "GET")
        self.assertEqual((head.status, root.status), (200, 200))
        self.assertEqual((head.body, root.body), (b"", b""))
        self.assertEqual(head.headers["content-length"], get.headers["content-length"])

    def test_a_refused_head_has_no_body(self) -> None:
        """The answer to a refused HEAD has no body either: the client would take it for the
        next answer."""
        self.http.ask("HEAD", "/nowhere")
        answer = self.http.answer("HEAD")
        self.assertEqual((answer.status, answer.body), (404, b""))

    def test_options(self) -> None:
        """OPTIONS is a method like others, and none that a path takes: 405 with what it does
        take, and no CORS header, since no page in a browser is to come in."""
        for path, allow in (("/v1/messages", "POST"), ("/health", "GET, HEAD")):
            client = self.client()
            client.ask("OPTIONS", path, headers=[("Origin", "https://evil.example")])
            answer = client.answer()
            self.assertEqual((answer.status, answer.headers["allow"]), (405, allow))
            self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_half_close(self) -> None:
        """A client that will send no more has left: its answer is given up."""
        self.http.ask(body=chat())
        self.http.transport.loseWriteConnection()
        self.network.flush()
        self.assertTrue(self.provider.asked[0].aborted)
        self.assertEqual(self.outcome().result, "client_left")


class ClosingTests(ChannelTestCase):
    def test_a_client_that_does_not_read_its_answer_is_dropped(self) -> None:
        """An answer written before the close is given ``write_stall`` seconds to be read, and
        then the connection is dropped."""
        self.http.read(0)
        self.http.ask("GET", "/health", headers=[("Connection", "close")])
        self.advance(59.9)
        self.assertIsNone(self.http.lost)
        self.advance(0.1)
        self.assertIsNotNone(self.http.lost)

    def test_idle_connections_are_closed_for_a_stop(self) -> None:
        """``close_idle`` closes what waits for a next request, and leaves running ones alone."""
        self.http.send(HEALTH)
        busy = self.client()
        busy.ask(body=chat())
        self.gateway.site.close_idle()
        self.network.flush()
        self.assertIsNotNone(self.http.lost)
        self.assertIsNone(busy.lost)
