"""A streamed answer as its client sees it: commit, pace, keep-alive, end."""

from __future__ import annotations

from aigateway.check import check

from .fakes import (
    DONE,
    STOP,
    Asked,
    Client,
    GatewayTestCase,
    Scripted,
    answers,
    chat,
    chunk,
    config,
    provider,
    refuses,
)
from .fakes import error_body as error

COMMENT = b": keep-alive\n\n"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
ROLE = chunk("").replace(b'"content":""', b'"role":"assistant","content":""')
OTHER_PORT = 9002


class CommitTests(GatewayTestCase):
    def test_nothing_is_sent_before_the_first_event(self) -> None:
        """The provider's head, its comments and its empty frames commit nothing."""
        self.start()
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, b": comment\n\n", b"\n\n", b"data: ")
        self.assertEqual(client.received, b"")
        self.tell(asked, chunk("hi").removeprefix(b"data: "))
        self.assertEqual(client.answer().text(), "hi")

    def test_one_write_for_each_read(self) -> None:
        """What the provider sent together goes out together, in one HTTP chunk."""
        self.start()
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("one"))
        before = len(client.received)
        self.tell(asked, chunk("two"), chunk("three"), chunk("four"))
        piece = client.received[before:]
        size, _, rest = piece.partition(b"\r\n")
        self.assertEqual(int(size, 16), len(rest) - 2)
        self.assertEqual(piece.count(b"content_block_delta"), 6)

    def test_events_go_out_while_they_arrive(self) -> None:
        """Nothing waits for what comes after it."""
        self.start()
        client, asked = self.streaming()
        asked.head()
        told = ""
        for word in ("one", " two", " three"):
            self.tell(asked, chunk(word))
            told += word
            self.assertEqual(client.answer().text(), told)
            self.assertFalse(client.answer().whole)
        asked.finish(STOP, DONE)
        self.network.flush()
        self.assertTrue(client.answer().whole)
        self.assertEqual(client.answer().events()[-2:], ["message_delta", "message_stop"])

    def test_the_head_of_a_stream(self) -> None:
        """A stream's head says what it is, that nobody shall buffer it, and who answers."""
        self.start()
        client, asked = self.streaming(headers=[("anthropic-version", "2023-06-01")])
        asked.head()
        self.tell(asked, chunk("hi"))
        headers = client.answer().headers
        self.assertEqual(headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertEqual(headers["cache-control"], "no-cache")
        self.assertEqual(headers["x-accel-buffering"], "no")
        self.assertEqual(headers["x-aigateway-provider"], "openai")
        self.assertEqual(headers["x-aigateway-model"], "gpt-4")
        self.assertEqual(headers["x-aigateway-attempts"], "1")
        self.assertEqual(headers["request-id"], headers["x-aigateway-request-id"])
        self.assertNotIn("content-length", headers)


class KeepAliveTests(GatewayTestCase):
    def test_comments_before_the_first_event(self) -> None:
        """After 15 s of silence, and every 15 s again, a comment; in OpenAI's dialect too."""
        self.start()
        for path in ("/v1/chat/completions", "/openai/v1/chat/completions"):
            client, _ = self.streaming(path=path)
            self.advance(14.9)
            self.assertEqual(client.received, b"")
            self.advance(0.1)
            self.assertEqual(client.answer().body, COMMENT)
            self.assertEqual(client.answer().status, 200)
            self.advance(15)
            self.assertEqual(client.answer().body, COMMENT * 2)
            client.leave()

    def test_pings_after_message_start(self) -> None:
        """Once the answer has begun, Claude's own ping takes the comment's place."""
        self.start()
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"))
        self.advance(14.9)
        self.assertNotIn(b"ping", client.received)
        self.advance(0.1)
        self.assertTrue(client.answer().body.endswith(PING))
        self.advance(15)
        self.assertEqual(client.answer().body.count(PING), 2)
        self.assertNotIn(COMMENT, client.answer().body)

    def test_openai_clients_get_comments_throughout(self) -> None:
        """OpenAI's dialect has no ping: comments, before and after the first chunk."""
        self.start()
        client, asked = self.streaming(path="/openai/v1/chat/completions")
        asked.head()
        self.tell(asked, chunk("hi"))
        self.advance(15)
        self.assertTrue(client.answer().body.endswith(COMMENT))

    def test_only_silence_is_filled(self) -> None:
        """A stream that moves needs no keep-alive: 15 s count from what was last written."""
        self.start()
        client, asked = self.streaming()
        asked.head()
        for _ in range(4):
            self.tell(asked, chunk("x"))
            self.advance(14)
        self.assertNotIn(PING, client.received)
        self.advance(1)
        self.assertEqual(client.received.count(PING), 1)

    def test_it_can_be_turned_off(self) -> None:
        """``ping = 0`` sends none."""
        self.start(config(ping=0.0))
        client, _ = self.streaming()
        self.advance(59)
        self.assertEqual(client.received, b"")

    def test_failover_goes_on_after_a_keep_alive(self) -> None:
        """A comment commits the status, not the provider: the next account still answers, and
        the whole is one well-formed stream."""
        self.start(config(provider(accounts=("one", "two"))))
        client, first = self.streaming()
        self.advance(15)
        self.assertEqual(client.answer().body, COMMENT)
        first.respond(error("broken", "server_error"), 500)
        self.network.flush()
        second = self.provider.asked[1]
        second.head()
        second.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        answer = client.answer()
        self.assertEqual((answer.text(), answer.whole), ("hi", True))
        self.assertEqual(answer.events()[0], "message_start")
        self.assertEqual(self.outcome().result, "ok")

    def test_an_error_after_a_keep_alive_is_a_frame(self) -> None:
        """When all have failed and a comment is out, the error is the stream's only frame, and
        the answer is not whole."""
        self.start()
        client, asked = self.streaming()
        self.advance(15)
        asked.respond(error("broken", "server_error"), 500)
        self.network.flush()
        answer = client.answer()
        self.assertEqual((answer.status, answer.events(), answer.whole), (200, ["error"], False))
        self.assertIsNotNone(client.lost)
        outcome = self.outcome()
        self.assertEqual((outcome.result, outcome.status), ("failed", 200))

    def test_a_keep_alive_is_no_first_byte(self) -> None:
        """The time to first byte is that of the answer."""
        self.start()
        _, asked = self.streaming()
        self.advance(20)
        asked.head()
        asked.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        self.assertEqual(self.outcome().ttfb, 20)
        self.assertEqual(self.outcome().chunks, 1)


class PaceTests(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()

    def full(self) -> tuple[Client, Asked]:
        """A client that has stopped reading, and whose side is full."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("first"))
        client.read(0)
        self.pour(asked)
        self.assertFalse(asked.read_from)
        return client, asked

    def pour(self, asked: Asked, text: str = "x" * 1000) -> None:
        """A provider that writes as much as it is read, and a little more."""
        for _ in range(200):
            if not asked.read_from:
                return
            self.tell(asked, chunk(text))
        self.fail("the provider is never paused")

    def test_a_full_client_pauses_the_provider(self) -> None:
        """When the client does not read, the gateway stops to read from the provider, and holds
        little more than the 64 KiB at which Twisted says so."""
        client, asked = self.full()
        held = len(client.transport.peer.dataBuffer)
        self.assertLess(held, 70_000)
        for _ in range(100):
            self.tell(asked, chunk("y" * 1000))
        self.assertEqual(len(client.transport.peer.dataBuffer), held)

    def test_a_client_that_reads_again_resumes_the_provider(self) -> None:
        """Reading on brings the rest, nothing lost and nothing twice."""
        client, asked = self.full()
        before = client.answer().text()
        self.tell(asked, chunk("last"))
        client.read(None)
        self.assertTrue(asked.read_from)
        asked.finish(STOP, DONE)
        self.network.flush()
        answer = client.answer()
        self.assertTrue(answer.whole)
        self.assertTrue(answer.text().startswith(before))
        self.assertTrue(answer.text().endswith("xlast"))
        self.assertEqual((len(answer.text()) - len("firstlast")) % 1000, 0)
        self.assertEqual(self.outcome().result, "ok")

    def test_a_client_that_never_reads_is_ended(self) -> None:
        """After 60 s without a byte read the connection is dropped and the provider let go;
        the outcome says why."""
        client, asked = self.full()
        self.advance(59.9)
        self.assertIsNone(client.lost)
        self.advance(0.1)
        self.assertTrue(client.transport.peer.aborted)
        self.assertTrue(asked.aborted)
        outcome = self.outcome()
        self.assertEqual(outcome.result, "client_left")
        self.assertIn("write_stall", str(outcome.error))

    def test_a_slow_reader_is_not_ended(self) -> None:
        """A client that reads a hundred bytes a minute is slow, not gone."""
        client, asked = self.full()
        for _ in range(30):
            self.advance(30)
            client.read(100)
        self.assertIsNone(client.lost)
        self.assertFalse(asked.aborted)
        client.read(0)
        self.advance(120)
        self.assertIsNotNone(client.lost)

    def test_no_keep_alive_for_who_does_not_read(self) -> None:
        """A client whose side is full gets no pings on top."""
        client, _ = self.full()
        held = len(client.transport.peer.dataBuffer)
        self.advance(45)
        self.assertEqual(len(client.transport.peer.dataBuffer), held)

    def test_the_limit_runs_from_the_last_byte_that_was_read(self) -> None:
        """To within a tenth of it: so often it is looked whether the client has read."""
        client, _ = self.full()
        self.advance(29)
        client.read(100)
        self.advance(60)
        self.assertIsNone(client.lost)
        self.advance(7)
        self.assertIsNotNone(client.lost)

    def test_a_pause_before_the_provider_answers(self) -> None:
        """A client that is full already when a provider begins pauses that one, too."""
        client, asked = self.streaming()
        stream = client.transport.peer.producer  # the channel: it passes on what the transport says
        stream.pauseProducing()
        asked.head()
        self.tell(asked, chunk("x"))
        self.assertFalse(asked.read_from)
        stream.resumeProducing()
        asked.finish(STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "x")

    def test_a_paused_stream_ends(self) -> None:
        """A stream whose end came while the client was not reading is whole once it does."""
        client, asked = self.full()
        asked.finish(STOP, DONE)
        self.network.flush()
        self.advance(30)
        client.read(None)
        self.assertTrue(client.answer().whole)
        self.assertEqual(client.answer().events()[-1], "message_stop")
        self.assertEqual(self.outcome().result, "ok")

    def test_the_error_frame_waits_for_a_slow_reader(self) -> None:
        """An error frame, and the end after it, come after what the client has yet to read."""
        client, asked = self.full()
        asked.cut()
        self.network.flush()
        client.read(None)
        answer = client.answer()
        self.assertEqual((answer.events()[-1], answer.whole), ("error", False))
        self.assertIsNotNone(client.lost)


class ErrorTests(GatewayTestCase):
    def test_an_error_before_commit_is_a_status(self) -> None:
        """As long as nothing is out, an error is a status and a JSON body, and the connection
        is kept."""
        self.start()
        client, asked = self.streaming()
        asked.respond(error("no such thing"), 400)
        self.network.flush()
        answer = client.answer()
        message = self.assert_error(answer, 400, "invalid_request_error")
        self.assertEqual(message, "no such thing")
        self.assertTrue(answer.whole)
        self.assertIsNone(client.lost)

    def test_an_error_frame_first_is_a_status(self) -> None:
        """An error as the first frame of a 200 is before the commit point, too."""
        self.start()
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, b"data: " + error("you are wrong", code="context_length_exceeded") + b"\n\n")
        self.assert_error(client.answer(), 400, "invalid_request_error")

    def test_an_error_after_commit_is_one_frame(self) -> None:
        """Afterwards it is one error frame of the dialect and the end: no last chunk, since
        the answer is not whole."""
        self.start()
        for path in ("/v1/messages", "/openai/v1/chat/completions"):
            client, asked = self.streaming(chat(max_tokens=9), path=path)
            asked.head()
            self.tell(asked, chunk("hi"))
            self.tell(asked, b"data: " + error("it broke", "server_error") + b"\n\n", chunk("never"))
            answer = client.answer()
            self.assertEqual(answer.status, 200)
            self.assertFalse(answer.whole)
            self.assertIsNotNone(client.lost)
            self.assertEqual(answer.body.count(b"it broke"), 1)
            self.assertNotIn(b"never", answer.body)
            last = answer.frames()[-1]
            self.assertIn(b"it broke", last.data)
            if path == "/v1/messages":
                self.assertEqual(last.event, b"error")
                self.assertNotIn("message_stop", answer.events())
            else:
                self.assertNotIn(b"[DONE]", answer.body)
            self.assertEqual(self.outcomes[-1].result, "failed")
            self.assertTrue(asked.aborted)

    def test_a_whole_answer_that_fails_is_a_status(self) -> None:
        """A client that does not stream never sees a frame."""
        self.serve(Scripted(refuses(500)), OTHER_PORT)
        self.start(config(provider(port=OTHER_PORT)))
        answer = self.ask(chat(stream=False)).answer()
        self.assert_error(answer, 502, "api_error")

    def test_a_whole_answer(self) -> None:
        """It comes at once, with its length, in the client's dialect."""
        self.serve(Scripted(answers("hello")), OTHER_PORT)
        self.start(config(provider(port=OTHER_PORT)))
        answer = self.ask(chat(stream=False)).answer()
        self.assertEqual(answer.json()["content"], [{"type": "text", "text": "hello"}])
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
        self.assertEqual(self.outcome().bytes_out, len(answer.body))


class UnheardTests(GatewayTestCase):
    """A provider that fails in the read in which it begins: its first words are not passed on."""

    failing = (chunk("x"), b"data: %b\n\n" % error("boom", "server_error"))

    def waiting(self, path: str, body: object, *accounts: str) -> tuple[Client, Asked]:
        """A client that was kept alive, and its provider."""
        self.start(config(provider(accounts=accounts)))
        client, asked = self.streaming(body, path=path)
        self.advance(15)
        asked.head()
        return client, asked

    def assert_failed(self, dialect: str, path: str, body: object) -> None:
        client, asked = self.waiting(path, body, "one")
        self.tell(asked, *self.failing)
        answer = client.answer()
        self.assertEqual((answer.status, answer.whole), (200, False))
        told = check(dialect, answer.body, whole=False)
        self.assertEqual((told.text, told.error is None), ("", False), answer.body)

    def test_claude(self) -> None:
        """The error is the first event of a Claude stream."""
        self.assert_failed("claude", "/v1/messages", chat(max_tokens=9))

    def test_responses(self) -> None:
        """A response that has failed was created first, and its events are numbered from 0."""
        body = {"model": "gpt-4", "input": "hi", "stream": True}
        self.assert_failed("responses", "/v1/responses", body)

    def test_gemini_array(self) -> None:
        """The array of a Gemini stream has a beginning, too."""
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        self.assert_failed("gemini", "/v1beta/models/gpt-4:streamGenerateContent", body)

    def test_the_wait_for_the_next(self) -> None:
        """For a Claude client nothing has begun: it goes on getting comments, and no pings."""
        client, asked = self.waiting("/v1/messages", chat(max_tokens=9), "one", "two")
        self.tell(asked, *self.failing)
        self.advance(15)
        self.assertEqual(client.answer().body, COMMENT * 2)
