"""From a request to one answer: accounts and targets in turn, and the end of it all."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from aigateway.config import Provider, Route, Target, Timeouts
from aigateway.dialects import CLAUDE
from aigateway.errors import Stopping
from aigateway.events import ChatRequest
from aigateway.exchange import Exchange
from aigateway.secret import Secret

from .fakes import (
    DONE,
    STOP,
    Answer,
    Asked,
    Canned,
    GatewayTestCase,
    Raw,
    RawServer,
    Scripted,
    answers,
    chat,
    chunk,
    config,
    error_body,
    provider,
    refuses,
    whole_reply,
)

FIRST, SECOND = 9011, 9012
BUSY = error_body("slow down", "requests", "rate_limit_exceeded")
QUOTA = error_body("pay up", "insufficient_quota", "insufficient_quota")
WHOLE_STREAM = (
    "message_start content_block_start content_block_delta content_block_stop message_delta message_stop"
)
WRONG_KEY = error_body("Incorrect API key provided: sk-secret-one", code="invalid_api_key")


class ExecutorTestCase(GatewayTestCase):
    def start_scripted(self, *script: Canned, accounts: Sequence[str] = ("one", "two")) -> Scripted:
        """One provider that answers by ``script``."""
        scripted = Scripted(*script)
        self.serve(scripted, FIRST)
        self.start(config(provider(port=FIRST, accounts=accounts)))
        return scripted

    def start_two(self, first: Canned, second: Canned) -> tuple[Scripted, Scripted]:
        """Two providers for the model "fast", the second for when the first cannot."""
        both = Scripted(first), Scripted(second)
        for port, scripted in zip((FIRST, SECOND), both, strict=True):
            self.serve(scripted, port)
        route = Route(model="fast", targets=(Target("first", "m-1"), Target("second", "m-2")))
        providers = provider("first", port=FIRST), provider("second", port=SECOND)
        self.start(config(*providers, routes=(route,)))
        return both

    def answer(self, model: str = "gpt-4", *, stream: bool = True) -> Answer:
        return self.ask(chat(model=model, stream=stream)).answer()

    def errors(self) -> list[str | None]:
        """How the last request's attempts ended."""
        return [attempt.error for attempt in self.outcomes[-1].attempts]


class AccountTests(ExecutorTestCase):
    def test_accounts_take_turns(self) -> None:
        """Each request begins at the next account."""
        scripted = self.start_scripted(answers(), accounts=("one", "two", "three"))
        for _ in range(5):
            self.answer()
        self.assertEqual(scripted.accounts, ["one", "two", "three", "one", "two"])
        self.assertEqual([outcome.account for outcome in self.outcomes], scripted.accounts)

    def test_a_failure_leads_to_the_next_account(self) -> None:
        """The client sees one answer, the outcome each attempt."""
        for stream in (True, False):
            with self.subTest(stream=stream):
                self.network.close_ports()
                scripted = self.start_scripted(refuses(500), answers("hello"))
                answer = self.answer(stream=stream)
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers["x-aigateway-attempts"], "2")
                self.assertEqual(scripted.accounts, ["one", "two"])
                self.assertEqual(self.errors(), ["failed", None])
                outcome = self.outcome()
                self.assertEqual((outcome.result, outcome.account), ("ok", "two"))
                self.assertEqual([attempt.status for attempt in outcome.attempts], [500, 200])

    def test_each_account_is_asked_once(self) -> None:
        """When all have failed, the last error is told."""
        scripted = self.start_scripted(refuses(500))
        self.assert_error(self.answer(), 502, "api_error")
        self.assertEqual(scripted.accounts, ["one", "two"])
        self.assertEqual(self.outcome().result, "failed")

    def test_what_the_client_got_wrong_is_not_tried_again(self) -> None:
        """A refusal is the client's to see: the provider's status and words, no second try."""
        for status in (400, 404, 413, 422):
            with self.subTest(status):
                self.network.close_ports()
                scripted = self.start_scripted(refuses(status, error_body("that is wrong")))
                answer = self.answer()
                self.assertEqual(answer.status, 400 if status == 422 else status)
                self.assertEqual(answer.json()["error"]["message"], "that is wrong")
                self.assertEqual(len(scripted.asked), 1)
                self.assertEqual(self.outcome().result, "refused")

    def test_what_another_account_may_do_better(self) -> None:
        """Everything else that a provider may answer is tried at the next account."""
        page = b"<html>Sign in</html>"
        for canned, kind in (
            (refuses(429, BUSY), "busy"),
            (refuses(503), "busy"),
            (refuses(500), "failed"),
            (refuses(504), "failed"),
            (refuses(401, WRONG_KEY), "account_unauthorized"),
            (refuses(403, WRONG_KEY), "account_unauthorized"),
            (refuses(402, QUOTA), "exhausted"),
            (refuses(429, QUOTA), "exhausted"),
            (refuses(302, b"moved", location="http://127.0.0.1:9/"), "garbled"),
            (refuses(200, page, content_type="text/html"), "garbled"),
            (refuses(200, error_body("broken", "server_error")), "failed"),
            (lambda asked: asked.cut(), "unreachable"),
        ):
            with self.subTest(kind=kind):
                self.network.close_ports()
                scripted = self.start_scripted(canned, answers("hello"))
                answer = self.answer()
                self.assertEqual(answer.text(), "hello", answer.body)
                self.assertEqual(scripted.accounts, ["one", "two"])
                self.assertEqual(self.errors(), [kind, None])


class TargetTests(ExecutorTestCase):
    def test_a_second_target_that_cannot_be_asked_this(self) -> None:
        """Where the first can be but has failed, the client is told of that: its request is well-formed,
        and may be answered when it comes again."""
        both = Scripted(refuses(500)), Scripted(answers())
        for port, scripted in zip((FIRST, SECOND), both, strict=True):
            self.serve(scripted, port)
        route = Route(model="fast", targets=(Target("first", "m-1"), Target("second", "m-2")))
        second = provider("second", port=SECOND, kind="anthropic")
        self.start(config(provider("first", port=FIRST), second, routes=(route,), strict=True))
        client = self.ask(chat(model="fast", seed=7), path="/openai/v1/chat/completions")
        self.assertEqual(client.answer().status, 502)
        self.assertEqual(self.errors(), ["failed", "malformed_request"])
        self.assertEqual(both[1].asked, [])

    def test_the_next_target_is_tried(self) -> None:
        """When no account of a provider can do it, the next target is asked, for its model."""
        first, second = self.start_two(refuses(500), answers("hello"))
        answer = self.answer("fast")
        self.assertEqual(answer.text(), "hello")
        self.assertEqual(answer.headers["x-aigateway-provider"], "second")
        self.assertEqual(answer.headers["x-aigateway-model"], "m-2")
        self.assertEqual(answer.headers["x-aigateway-attempts"], "2")
        self.assertEqual([first.asked[0].body["model"], second.asked[0].body["model"]], ["m-1", "m-2"])
        outcome = self.outcome()
        self.assertEqual((outcome.model, outcome.provider, outcome.target_model), ("fast", "second", "m-2"))

    def test_a_provider_s_odd_headers(self) -> None:
        """What stands in a provider's request id is no reason to fail, whatever bytes it is."""
        self.start()
        client, asked = self.streaming()
        asked.request.responseHeaders.setRawHeaders(b"x-request-id", [b"\xff\xfe"])
        asked.head()
        asked.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "hi")
        self.assertEqual(self.outcome().attempts[0].provider_request_id, "\xff\xfe")

    def test_a_refusal_ends_it(self) -> None:
        """A request that is wrong is not taken to the next target either."""
        _, second = self.start_two(refuses(400), answers())
        self.assertEqual(self.answer("fast").status, 400)
        self.assertEqual(second.asked, [])

    def test_a_target_that_rests_is_passed_over(self) -> None:
        """A provider all of whose accounts rest is not asked at all."""
        first, second = self.start_two(refuses(429, BUSY, retry_after="30"), answers("hello"))
        self.answer("fast")
        self.assertEqual(self.answer("fast").text(), "hello")
        self.assertEqual((len(first.asked), len(second.asked)), (1, 2))
        self.advance(30)
        self.answer("fast")
        self.assertEqual(len(first.asked), 2)

    def test_a_provider_that_is_not_there(self) -> None:
        """A connection that is refused leads to the next target."""
        _, second = self.start_two(answers(), answers("hello"))
        self.network.ports[FIRST].stopListening()
        client = self.ask(chat(model="fast"))
        self.advance(1)  # Twisted waits a moment for a host's further addresses
        self.assertEqual(client.answer().text(), "hello")
        self.assertEqual(self.errors(), ["unreachable", None])
        self.assertEqual(len(second.asked), 1)


class CooldownTests(ExecutorTestCase):
    def test_a_busy_account_rests(self) -> None:
        """For as long as it says, and for that model."""
        scripted = self.start_scripted(refuses(429, BUSY, retry_after="20"), answers())
        self.answer()
        for _ in range(3):
            self.answer()
        self.assertEqual(scripted.accounts, ["one", "two", "two", "two", "two"])
        self.advance(20)
        self.answer()
        self.answer()
        self.assertEqual(sorted(scripted.accounts[5:]), ["one", "two"])

    def test_the_earliest_wait_is_told(self) -> None:
        """When all are busy, the client is told when the first will not be."""
        script = refuses(429, BUSY, retry_after="40"), refuses(429, BUSY, retry_after="20")
        scripted = self.start_scripted(*script)
        answer = self.answer()
        self.assert_error(answer, 429, "rate_limit_error")
        self.assertEqual(answer.headers["retry-after"], "20")
        self.advance(5)
        answer = self.answer()
        self.assertEqual(answer.headers["retry-after"], "15")
        self.assertIn("resting", self.assert_error(answer, 429, "rate_limit_error"))
        self.assertEqual(len(scripted.asked), 2)
        self.assertEqual(self.outcomes[-1].attempts, ())
        self.assertEqual(self.outcomes[-1].result, "busy")

    def test_a_long_wait_is_in_the_message(self) -> None:
        """Beyond a minute no SDK shall sleep: the time is told in words."""
        self.start_scripted(refuses(429, BUSY, retry_after="300"), accounts=("one",))
        answer = self.answer()
        self.assertEqual(answer.headers["x-should-retry"], "false")
        self.assertNotIn("retry-after", answer.headers)
        self.assertIn("0h05m00s", answer.json()["error"]["message"])

    def test_an_exhausted_account_rests_for_all_models(self) -> None:
        """An account without balance is not asked again for an hour."""
        scripted = Scripted(refuses(402, QUOTA), answers())
        self.serve(scripted, FIRST)
        self.start(config(provider(port=FIRST, accounts=("one", "two"), models=("a", "b"))))
        self.answer("a")
        self.answer("b")
        self.answer("a")
        self.assertEqual(scripted.accounts, ["one", "two", "two", "two"])

    def test_a_busy_model_is_not_a_busy_account(self) -> None:
        """A rate limit for one model leaves the account to the others."""
        scripted = Scripted(refuses(429, BUSY, retry_after="30"), answers())
        self.serve(scripted, FIRST)
        self.start(config(provider(port=FIRST, models=("a", "b"))))
        self.assertEqual(self.answer("a").status, 429)
        self.assertEqual(self.answer("b").status, 200)
        self.assertEqual(self.answer("a").status, 429)
        self.assertEqual(len(scripted.asked), 2)


class UnauthorizedTests(ExecutorTestCase):
    def test_an_account_that_is_refused_is_set_aside(self) -> None:
        """It is asked no more, the log says why, and the client's answer comes from another."""
        scripted = self.start_scripted(refuses(401, WRONG_KEY), answers())
        for _ in range(3):
            self.assertEqual(self.answer().status, 200)
        self.assertEqual(scripted.accounts, ["one", "two", "two", "two"])
        (line,) = [line for line in self.logged if "set aside" in line]
        self.assertIn("openai/one", line)
        self.assertIn("Incorrect API key", line)
        self.assertNotIn("sk-secret-one", line)

    def test_the_client_is_not_told_about_the_gateway_s_key(self) -> None:
        """When no account is left it is 502, as the client's own key is fine."""
        self.start_scripted(refuses(401, WRONG_KEY), accounts=("one",))
        for _ in range(2):
            message = self.assert_error(self.answer(), 502, "api_error")
            self.assertNotIn("Incorrect", message)
            self.assertIn("client's key is fine", message)
        self.assertEqual([len(outcome.attempts) for outcome in self.outcomes], [1, 0])
        self.assertEqual(self.outcome_kinds(), ["account_unauthorized"] * 2)

    def outcome_kinds(self) -> list[str]:
        return [outcome.result for outcome in self.outcomes]

    def test_a_known_wait_is_told_rather_than_a_fault(self) -> None:
        """With one account set aside and another busy, the client is told when to come back."""
        self.start_scripted(refuses(401, WRONG_KEY), refuses(429, BUSY, retry_after="7"))
        answer = self.answer()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "7"))


class MaskingTests(ExecutorTestCase):
    def start_with_secrets(self, canned: Canned) -> None:
        self.serve(Scripted(canned), FIRST)
        headers = (("x-team", Secret("team-secret")),)
        self.start(config(provider(port=FIRST, headers=headers)))

    def test_error_texts(self) -> None:
        """A provider's words go on to the client without any secret of ours."""
        body = error_body("key sk-secret-one of team-secret is too long: " + "x" * 5000)
        self.start_with_secrets(refuses(400, body))
        message = self.assert_error(self.answer(), 400, "invalid_request_error")
        self.assertTrue(message.startswith("key *** of *** is too long"), message[:80])
        self.assertLessEqual(len(message), 2000)
        self.assertNotIn("sk-secret-one", "".join(self.logged))

    def test_error_frames(self) -> None:
        """Nor in a frame, after the answer has begun."""
        held: list[Asked] = []
        self.start_with_secrets(held.append)
        client = self.ask()
        (asked,) = held
        asked.head()
        self.tell(asked, chunk("hi"))
        self.tell(asked, b"data: " + error_body("sk-secret-one broke", "server_error") + b"\n\n")
        frame = client.answer().frames()[-1]
        self.assertIn(b"*** broke", frame.data)
        self.assertNotIn(b"sk-secret-one", client.received)
        self.assertNotIn("sk-secret-one", str(self.outcome()))

    def test_late_errors(self) -> None:
        """Nor in the outcome of an answer that was whole."""
        late = b"data: " + error_body("sk-secret-one broke late", "server_error") + b"\n\n"

        def canned(asked: Asked) -> None:
            asked.head()
            asked.finish(chunk("hi"), STOP, late, DONE)

        self.start_with_secrets(canned)
        self.assertTrue(self.answer().whole)
        self.assertEqual(self.outcome().error, "*** broke late")
        self.assertNotIn("sk-secret-one", "".join(self.logged))


class StaleTests(ExecutorTestCase):
    """A kept connection that the provider has just closed."""

    def setUp(self) -> None:
        super().setUp()
        self.raw = RawServer()
        self.network.listenTCP(FIRST, self.raw)
        self.start(config(provider(port=FIRST, accounts=("one", "two"))))

    def reply(self, connection: Raw, text: str = "hello") -> None:
        body = whole_reply(text)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        connection.received = b""
        connection.transport.write(head % len(body) + body)
        self.network.flush()

    def warm(self, count: int) -> list[Raw]:
        """``count`` kept connections."""
        clients = [self.ask(chat(stream=False)) for _ in range(count)]
        for connection in self.raw.made:
            self.reply(connection)
        self.assertEqual([client.answer().status for client in clients], [200] * count)
        return list(self.raw.made)

    def close(self, connection: Raw) -> None:
        connection.transport.loseConnection()
        self.network.flush()

    def test_it_is_tried_again_on_the_same_account(self) -> None:
        """The provider cannot have begun: the same account is asked on a fresh connection, and
        it counts as what it was."""
        self.warm(1)
        client = self.ask(chat(stream=False))
        (stale,) = self.raw.made
        asked = stale.received
        self.assertIn(b"sk-secret-two", asked)
        self.close(stale)
        fresh = self.raw.made[1]
        self.assertEqual(fresh.received, asked)
        self.reply(fresh)
        self.assertEqual(client.answer().status, 200)
        self.assertEqual(self.errors(), ["unreachable", None])
        self.assertEqual({attempt.account for attempt in self.outcomes[-1].attempts}, {"two"})

    def test_the_others_are_as_old(self) -> None:
        """A provider that closed one kept connection has probably closed all: none is used again."""
        kept = self.warm(3)
        client = self.ask(chat(stream=False))
        (first,) = [one for one in kept if one.received]
        self.close(first)
        self.assertEqual([one.received for one in kept if one is not first], [b"", b""])
        self.assertTrue(all(one.lost for one in kept))
        self.reply(self.raw.made[3])
        self.assertEqual(client.answer().status, 200)

    def test_only_once(self) -> None:
        """If the fresh connection is closed as well, the next account is asked."""
        self.warm(2)
        client = self.ask(chat(stream=False))
        (first,) = [one for one in self.raw.made if one.received]
        self.close(first)
        self.close(self.raw.made[2])
        self.reply(self.raw.made[3])
        self.assertEqual(client.answer().status, 200)
        accounts = [attempt.account for attempt in self.outcomes[-1].attempts]
        self.assertEqual(accounts, ["one", "one", "two"])

    def test_a_fresh_connection_is_not_stale(self) -> None:
        """A provider that takes a request on a new connection and hangs up may have begun it:
        the next account is asked, not the same."""
        client = self.ask(chat(stream=False))
        self.close(self.raw.made[0])
        self.reply(self.raw.made[1])
        self.assertEqual(client.answer().status, 200)
        self.assertEqual([attempt.account for attempt in self.outcomes[-1].attempts], ["one", "two"])

    def test_a_kept_connection_that_hangs_up_later_is_not_stale(self) -> None:
        """Nor is one that closes long after it has taken the request."""
        (kept,) = self.warm(1)
        client = self.ask(chat(stream=False))
        self.advance(5)
        self.close(kept)
        self.reply(self.raw.made[1])
        self.assertEqual(client.answer().status, 200)
        self.assertEqual([attempt.account for attempt in self.outcomes[-1].attempts], ["two", "one"])

    def test_a_kept_connection_is_dropped_in_time(self) -> None:
        """It is kept for less time than providers keep theirs."""
        (kept,) = self.warm(1)
        self.advance(29.9)
        self.assertIsNone(kept.lost)
        self.advance(0.1)
        self.assertIsNotNone(kept.lost)


class TotalTests(ExecutorTestCase):
    def test_it_spans_all_attempts(self) -> None:
        """``total`` counts from the first attempt, whoever is being asked when it is over."""
        timeouts = Timeouts(headers=60, total=100)
        self.serve(Scripted(lambda asked: None), FIRST)
        self.start(
            config(provider(port=FIRST, accounts=("one", "two", "three"), timeouts=timeouts), ping=0.0)
        )
        client = self.ask()
        self.advance(99.9)
        self.assertEqual(client.received, b"")
        self.advance(0.1)
        message = self.assert_error(client.answer(), 504, "timeout_error")
        self.assertIn("100 s (limit total)", message)
        self.assertEqual(self.errors(), ["silent", "silent"])

    def test_a_route_s_own_limit(self) -> None:
        """A route may set its own."""
        route = Route(
            model="slow", targets=(Target("openai", "gpt-4"),), timeouts={"total": 500.0, "headers": 400.0}
        )
        self.serve(Scripted(lambda asked: None), FIRST)
        self.start(config(provider(port=FIRST), routes=(route,), ping=0.0))
        client = self.ask(chat(model="slow"))
        self.advance(399.9)
        self.assertEqual(client.received, b"")
        self.advance(0.1)
        self.assertIn("400 s (limit headers)", self.assert_error(client.answer(), 504, "timeout_error"))


class WithoutStreamingTests(ExecutorTestCase):
    def start_whole(self, *script: Canned) -> Scripted:
        scripted = Scripted(*script)
        self.serve(scripted, FIRST)
        one: Provider = provider(port=FIRST, accounts=("one", "two"), supports_streaming=False)
        self.start(config(one))
        return scripted

    def test_a_whole_answer_is_streamed(self) -> None:
        """A provider that does not stream serves a client that does: asked for a whole answer,
        which becomes a whole stream."""
        scripted = self.start_whole(answers("hello"))
        answer = self.answer()
        self.assertFalse(scripted.asked[0].body.get("stream"))
        self.assertEqual((answer.text(), answer.whole), ("hello", True))
        self.assertEqual(" ".join(answer.events()), WHOLE_STREAM)
        usage = self.outcome().usage
        assert usage is not None
        self.assertEqual((usage.input_tokens, usage.output_tokens), (3, 2))

    def test_failover(self) -> None:
        """Nothing is out before the answer is there, so that another account may give it."""
        self.start_whole(refuses(500), answers("hello"))
        self.assertEqual(self.answer().text(), "hello")

    def test_the_client_is_kept_alive_meanwhile(self) -> None:
        """It waits for a whole answer without a sign of it but comments."""
        self.start_whole(lambda asked: None)
        client = self.ask()
        self.advance(200)
        self.assertEqual(client.answer().body, b": keep-alive\n\n" * 13)


class DrainTests(ExecutorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start(config(provider(accounts=("one", "two")), drain=30.0))

    def test_nothing_open(self) -> None:
        """With nothing under way it stops at once."""
        self.successResultOf(self.executor.stopService())

    def test_open_streams_may_finish(self) -> None:
        """Who was being served is served to the end."""
        client, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hel"))
        stopped = self.executor.stopService()
        self.advance(29)
        self.assertNoResult(stopped)
        asked.finish(chunk("lo"), STOP, DONE)
        self.network.flush()
        self.successResultOf(stopped)
        self.assertEqual((client.answer().text(), client.answer().whole), ("hello", True))
        self.assertEqual(self.outcome().result, "ok")

    def test_failover_goes_on_while_draining(self) -> None:
        """A request that was taken is not given up for its first account's fault."""
        client, first = self.streaming()
        stopped = self.executor.stopService()
        first.respond(b"{}", 500)
        self.network.flush()
        second = self.provider.asked[1]
        second.head()
        second.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "hi")
        self.successResultOf(stopped)

    def test_new_requests_are_refused(self) -> None:
        """503 with Retry-After, on kept connections too."""
        client, _ = self.streaming()
        stopped = self.executor.stopService()
        for stream in (True, False):
            answer = self.answer(stream=stream)
            self.assert_error(answer, 503, "overloaded_error")
            self.assertEqual(answer.headers["retry-after"], "1")
        self.assertEqual(len(self.provider.asked), 1)
        self.assertEqual(self.outcomes[-1].result, "stopping")
        client.leave()
        self.successResultOf(stopped)

    def test_the_executor_itself_refuses(self) -> None:
        """Whoever asks it, it begins nothing when it is stopping."""
        self.executor.refuse_new()
        exchange = Exchange(CLAUDE, None, 0.0, 0.0)
        exchange.chat = ChatRequest(dialect="claude", model="gpt-4", messages=())
        answer = self.executor.whole(self.executor.attempts, exchange)
        self.failureResultOf(Deferred.fromCoroutine(answer), Stopping)
        self.assertEqual(self.provider.asked, [])

    def test_the_rest_are_cut(self) -> None:
        """After ``drain`` seconds what is still open ends: with a status where nothing is out,
        else with an error frame."""
        begun, asked = self.streaming()
        asked.head()
        self.tell(asked, chunk("hi"))
        whole, _ = self.streaming(chat(stream=False))
        stopped = self.executor.stopService()
        self.advance(29.9)
        self.assertFalse(asked.aborted)
        self.assertNoResult(stopped)
        self.advance(0.1)
        self.successResultOf(stopped)
        self.assertTrue(all(one.aborted for one in self.provider.asked))
        self.assertEqual(len(self.provider.asked), 2, "another account was asked")
        answer = begun.answer()
        self.assertEqual((answer.events()[-1], answer.whole), ("error", False))
        self.assertIn(b"overloaded_error", answer.frames()[-1].data)
        self.assert_error(whole.answer(), 503, "overloaded_error")
        self.assertEqual([outcome.result for outcome in self.outcomes], ["stopping", "stopping"])

    def test_kept_connections_to_providers_are_closed(self) -> None:
        """Nothing is left behind."""
        _, asked = self.streaming()
        asked.head()
        asked.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        stopped = self.executor.stopService()
        self.network.flush()
        self.successResultOf(stopped)
        self.assertTrue(asked.transport.lost)
