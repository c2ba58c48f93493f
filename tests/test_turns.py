"""Whom a request asks when somebody fails, is slow or rests: budget, backoff, ejection, queue, hedge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from aigateway.config import Config, Limits, Retries, Route, Target
from aigateway.pace import ENOUGH

from .fakes import (
    DONE,
    STOP,
    Answer,
    Asked,
    Canned,
    Client,
    FakeProvider,
    GatewayTestCase,
    Scripted,
    answers,
    chat,
    chunk,
    config,
    error_body,
    provider,
    refuses,
    usage_chunk,
)

FIRST, SECOND = 9011, 9012
BUSY = error_body("slow down", "requests", "rate_limit_exceeded")


def once_in(period: int, otherwise: Canned) -> Callable[[Asked], None]:
    """An answer once in ``period`` requests, else ``otherwise``."""
    count = 0

    def answer(asked: Asked) -> None:
        nonlocal count
        count += 1
        (answers() if count % period == 0 else otherwise)(asked)

    return answer


class Turns(GatewayTestCase):
    def serve_one(self, *script: Canned, accounts: Sequence[str] = ("one", "two"), **more: Any) -> Scripted:
        """One provider that answers by ``script``."""
        scripted = Scripted(*script)
        self.serve(scripted, FIRST)
        self.start(config(provider(port=FIRST, accounts=accounts, **more.pop("provider", {})), **more))
        return scripted

    def two_targets(self, *providers: Any, **route: Any) -> Config:
        """Two providers for the model "fast"."""
        for port, one in zip((FIRST, SECOND), providers, strict=True):
            self.serve(one, port)
        fast = Route(model="fast", targets=(Target("first", "m-1"), Target("second", "m-2")), **route)
        both = provider("first", port=FIRST), provider("second", port=SECOND)
        return config(*both, routes=(fast,))

    def answer(self, model: str = "gpt-4", *, stream: bool = True) -> Answer:
        return self.ask(chat(model=model, stream=stream)).answer()

    def errors(self) -> list[str | None]:
        """How the last request's attempts ended."""
        return [attempt.error for attempt in self.outcomes[-1].attempts]


class Budget(Turns):
    def test_half_of_the_calls_fail(self) -> None:
        """Four hundred requests at a provider half of whose calls fail cost at most a fifth more
        calls; who gets none of them sees the failure, and the outcome says why."""
        off = Retries(eject_after=0)
        scripted = self.serve_one(once_in(2, refuses(500)), retries=off)
        statuses = []
        for _ in range(400):
            statuses.append(self.answer().status)
            self.advance(0.05)
        self.assertLessEqual(len(scripted.asked), 480)
        self.assertGreater(len(scripted.asked), 460)
        denied = [outcome for outcome in self.outcomes if outcome.retry_denied]
        self.assertTrue(denied)
        self.assertEqual({outcome.result for outcome in denied}, {"failed"})
        self.assertGreater(statuses.count(200), 230)

    def test_without_a_budget(self) -> None:
        """Nothing is asked again."""
        scripted = self.serve_one(refuses(500), answers(), retries=Retries(budget=0.0, always=0))
        self.assertEqual(self.answer().status, 502)
        self.assertEqual(len(scripted.asked), 1)
        self.assertTrue(self.outcome().retry_denied)

    def test_each_route_has_its_own(self) -> None:
        """The trouble of one route leaves the others theirs."""
        broken, fine = Scripted(refuses(500)), Scripted(*([refuses(500), answers()] * 20))
        for port, one in ((FIRST, broken), (SECOND, fine)):
            self.serve(one, port)
        accounts = [f"a{number}" for number in range(30)]
        both = (
            provider("first", port=FIRST, accounts=accounts, models=("bad",)),
            provider("second", port=SECOND, accounts=("one", "two"), models=("good",)),
        )
        self.start(config(*both))
        for _ in range(2):
            self.answer("bad")
        self.assertEqual(len(broken.asked), 12)
        self.assertEqual(self.answer("good").text(), "hello")

    def test_the_last_one_failing_is_no_denial(self) -> None:
        """Where nobody was left to ask, the budget was not what was missing."""
        self.serve_one(refuses(500), accounts=("one",), retries=Retries(budget=0.0, always=0))
        self.assertEqual(self.answer().status, 502)
        self.assertFalse(self.outcome().retry_denied)


class Backoff(Turns):
    def test_a_failing_provider_is_given_time(self) -> None:
        """Before its next account is asked a random time passes, longer with each failure."""
        self.chance = 0.5
        retries = Retries(backoff=0.2, max_backoff=0.3)
        scripted = self.serve_one(refuses(500), accounts=("one", "two", "three"), retries=retries)
        client = self.ask(chat())
        for seconds, asked in ((0.099, 1), (0.001, 2), (0.149, 2), (0.001, 3)):
            self.advance(seconds)
            self.assertEqual(len(scripted.asked), asked)
        self.assertEqual(client.answer().status, 502)

    def test_no_time_is_lost_elsewhere(self) -> None:
        """Another target, and another account where only the first one's quota was used up, are asked
        at once."""
        self.chance = 1.0
        self.start(self.two_targets(Scripted(refuses(500)), Scripted(answers())))
        self.assertEqual(self.answer("fast").text(), "hello")

    def test_no_time_is_lost_for_a_quota(self) -> None:
        """The next account has its own."""
        self.chance = 1.0
        self.serve_one(refuses(429, BUSY), answers())
        self.assertEqual(self.answer().text(), "hello")

    def test_a_client_that_leaves_meanwhile(self) -> None:
        """Nobody is asked for it any more."""
        self.chance = 1.0
        scripted = self.serve_one(refuses(500))
        client = self.ask(chat())
        client.leave()
        self.advance(5)
        self.assertEqual(len(scripted.asked), 1)
        self.assertEqual(self.outcome().result, "client_left")


class Ejection(Turns):
    def test_a_dead_target_is_passed_over(self) -> None:
        """After five failures the next target is asked first; then one request probes, and one that
        goes well brings the first target back."""
        dead, alive = Scripted(refuses(500)), Scripted(answers())
        self.start(self.two_targets(dead, alive))
        for _ in range(12):
            self.assertEqual(self.answer("fast").status, 200)
        self.assertEqual((len(dead.asked), len(alive.asked)), (5, 12))
        self.assertEqual(len(self.outcomes[-1].attempts), 1)
        self.advance(10)
        dead._script = (answers(),)
        self.assertEqual(self.answer("fast").status, 200)
        self.assertEqual(self.outcomes[-1].provider, "first")
        self.assertEqual(self.answer("fast").status, 200)
        self.assertEqual((len(dead.asked), len(alive.asked)), (7, 12))

    def test_when_all_are_bad_it_still_tries(self) -> None:
        """Ejected accounts are asked where there is nobody else; each request asks some."""
        scripted = self.serve_one(refuses(500), accounts=("one",))
        for count in range(1, 12):
            self.assertEqual(self.answer().status, 502)
            self.assertEqual(len(scripted.asked), count)

    def test_failures_after_the_first_byte_count(self) -> None:
        """An account whose answers break off is left alone, too."""

        def cut(asked: Asked) -> None:
            asked.head()
            asked.finish(chunk("half of"))

        scripted = self.serve_one(cut, accounts=("one", "two"))
        for _ in range(10):
            self.assertFalse(self.answer().whole)
        before = len(scripted.asked)
        for _ in range(4):
            self.answer()
        self.assertEqual(len(set(scripted.accounts[before:])), 1)


class Affinity(Turns):
    def test_a_conversation_stays_with_its_account(self) -> None:
        """As it grows, and whatever others ask meanwhile."""
        scripted = self.serve_one(answers(), accounts=("one", "two", "three"), provider={"affinity": True})
        messages: list[dict[str, str]] = []
        mine = []
        for number in range(6):
            messages.append({"role": "user", "content": f"question {number}"})
            self.ask({"model": "gpt-4", "stream": True, "messages": messages})
            mine.append(scripted.accounts[-1])
            messages.append({"role": "assistant", "content": "hello"})
            self.answer()
        self.assertEqual(len(set(mine)), 1)

    def test_conversations_are_spread(self) -> None:
        """Others begin with other accounts."""
        scripted = self.serve_one(answers(), accounts=("one", "two", "three"), provider={"affinity": True})
        for number in range(30):
            self.ask(chat(f"conversation {number}"))
        self.assertEqual(set(scripted.accounts), {"one", "two", "three"})


class Queue(Turns):
    RETRIES = Retries(account_wait=30.0)

    def test_waiting_for_an_account(self) -> None:
        """While all rest, requests wait, first come first served; the outcome says how long."""
        scripted = self.serve_one(
            refuses(429, BUSY, retry_after="10"), answers(), accounts=("one",), retries=self.RETRIES
        )
        clients = [self.ask(chat(f"{number}")) for number in range(3)]
        self.assertEqual(len(scripted.asked), 1)
        self.advance(9.9)
        self.assertEqual(len(scripted.asked), 1)
        self.advance(0.1)
        self.assertEqual(clients[0].answer().text(), "hello")
        self.assertEqual(len(scripted.asked), 2)
        self.advance(1)
        self.assertEqual([client.answer().text() for client in clients], ["hello"] * 3)
        texts = [asked.body["messages"][0]["content"] for asked in scripted.asked]
        self.assertEqual(texts, ["0", "0", "1", "2"])
        self.assertEqual([round(outcome.waited, 2) for outcome in self.outcomes], [10.0, 10.25, 10.38])

    def test_too_long_a_wait_is_none(self) -> None:
        """Where no account comes back in time, the client is told at once when one does."""
        self.serve_one(refuses(429, BUSY, retry_after="45"), accounts=("one",), retries=self.RETRIES)
        for _ in range(2):
            answer = self.answer()
            self.assertEqual(answer.status, 429)
            self.assertEqual(answer.headers["retry-after"], "45")

    def test_a_full_queue(self) -> None:
        """Who finds no place is answered 429 at once."""
        scripted = self.serve_one(
            refuses(429, BUSY, retry_after="10"),
            answers(),
            accounts=("one",),
            retries=self.RETRIES,
            limits=Limits(account_queue=1),
        )
        first, second = self.ask(chat("first")), self.ask(chat("second"))
        self.assertEqual(second.answer().status, 429)
        self.assertEqual(second.answer().headers["retry-after"], "10")
        self.advance(11)
        self.assertEqual(first.answer().text(), "hello")
        self.assertEqual(len(scripted.asked), 2)

    def test_a_turn_for_an_account_that_rests_by_now(self) -> None:
        """While one account was slow, others found out that the next must not be asked."""
        slow = FakeProvider()
        self.serve(slow, FIRST)
        self.start(config(provider(port=FIRST, accounts=("one", "two"))))
        waiting = self.ask(chat("first"))
        self.ask(chat("second"))
        slow.asked[1].respond(BUSY, 429, retry_after="100")
        self.network.flush()
        self.assertEqual([asked.account[-3:] for asked in slow.asked], ["one", "two", "one"])
        slow.asked[0].respond(error_body("no"), 500)
        self.network.flush()
        self.assertEqual(waiting.answer().status, 502)
        self.assertEqual(len(slow.asked), 3)
        slow.asked[2].finish(chunk("hello"), STOP, DONE)

    def test_nobody_jumps_the_queue(self) -> None:
        """Who comes when an account is ready again stands behind those that wait for it."""
        scripted = self.serve_one(
            refuses(429, BUSY, retry_after="10"), answers(), accounts=("one",), retries=self.RETRIES
        )
        waiting = [self.ask(chat(f"{number}")) for number in range(3)]
        self.advance(10.1)
        late = self.ask(chat("late"))
        self.advance(3)
        self.assertEqual([asked.body["messages"][0]["content"] for asked in scripted.asked][-1], "late")
        self.assertEqual([one.answer().text() for one in (*waiting, late)], ["hello"] * 4)

    def test_a_client_that_leaves(self) -> None:
        """It is not asked for any more."""
        scripted = self.serve_one(
            refuses(429, BUSY, retry_after="10"), answers(), accounts=("one",), retries=self.RETRIES
        )
        self.ask(chat()).leave()
        self.advance(20)
        self.assertEqual(len(scripted.asked), 1)
        self.assertEqual(self.outcome().result, "client_left")

    def test_the_earliest_honest_time(self) -> None:
        """Without a queue: the time until the first of all accounts is ready, at whichever target."""
        busy = [Scripted(refuses(429, BUSY, retry_after=seconds)) for seconds in ("40", "20")]
        self.start(self.two_targets(*busy))
        self.assertEqual(self.answer("fast").headers["retry-after"], "20")
        self.advance(5)
        self.assertEqual(self.answer("fast").headers["retry-after"], "15")
        self.assertEqual([len(one.asked) for one in busy], [1, 1])


class Hedging(Turns):
    """Targets whose first token mostly takes a second; the hedge comes when it took longer."""

    def begin(self, hedge: float = 0.5) -> tuple[FakeProvider, FakeProvider]:
        first, second = FakeProvider(), FakeProvider()
        self.start(self.two_targets(first, second, hedge=hedge))
        for _ in range(ENOUGH):
            self.ask(chat(model="fast"))
            self.advance(1.0)
            first.asked[-1].head()
            first.asked[-1].finish(chunk("hello"), STOP, usage_chunk(3, 2), DONE)
            self.network.flush()
        self.assertEqual(second.asked, [])
        return first, second

    def ask_slowly(self) -> Client:
        client = self.ask(chat(model="fast"))
        self.advance(1.21)
        return client

    def say(self, asked: Asked, text: str) -> None:
        asked.head()
        asked.write(chunk(text))
        self.network.flush()

    def test_the_second_is_faster(self) -> None:
        """It answers, the first is let go at once, and the outcome has both."""
        first, second = self.begin()
        client = self.ask_slowly()
        self.assertEqual(len(second.asked), 1)
        self.say(second.asked[0], "me")
        self.assertTrue(first.asked[-1].aborted)
        second.asked[0].finish(STOP, usage_chunk(3, 1), DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "me")
        self.assertTrue(client.answer().whole)
        self.assertEqual(client.answer().headers["x-aigateway-provider"], "second")
        self.assertEqual(client.answer().headers["x-aigateway-attempts"], "2")
        outcome = self.outcomes[-1]
        self.assertEqual((outcome.result, outcome.provider), ("ok", "second"))
        self.assertEqual(self.errors(), ["overtaken", None])
        usage = outcome.attempts[0].usage
        self.assertTrue(usage and usage.estimated)

    def test_the_first_is_faster_after_all(self) -> None:
        """The second is let go."""
        first, second = self.begin()
        client = self.ask_slowly()
        self.say(first.asked[-1], "me")
        self.assertTrue(second.asked[0].aborted)
        first.asked[-1].finish(STOP, usage_chunk(3, 1), DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "me")
        self.assertEqual(client.answer().headers["x-aigateway-provider"], "first")
        self.assertEqual(self.errors(), ["overtaken", None])
        self.assertEqual(self.outcomes[-1].provider, "first")

    def test_one_of_them_fails(self) -> None:
        """The other one answers, whichever it is."""
        first, second = self.begin()
        for number in (0, 1):
            client = self.ask_slowly()
            both = first.asked[-1], second.asked[-1]
            both[number].respond(error_body("no"), 500)
            self.network.flush()
            self.say(both[1 - number], "me")
            both[1 - number].finish(STOP, DONE)
            self.network.flush()
            self.assertEqual(client.answer().text(), "me")
            self.assertEqual(self.errors(), ["failed", None])

    def test_both_fail(self) -> None:
        """The client sees the last failure, once."""
        first, second = self.begin()
        client = self.ask_slowly()
        for asked in (first.asked[-1], second.asked[-1]):
            asked.respond(error_body("no"), 500)
            self.network.flush()
        self.assertEqual(client.answer().status, 502)
        self.assertEqual(self.errors(), ["failed", "failed"])

    def test_the_client_leaves(self) -> None:
        """Both are let go."""
        first, second = self.begin()
        client = self.ask_slowly()
        client.leave()
        self.assertTrue(first.asked[-1].aborted)
        self.assertTrue(second.asked[-1].aborted)
        self.assertEqual(self.errors(), ["client_left", "client_left"])

    def test_a_share_of_the_requests(self) -> None:
        """However slow the first target has become, no more than the share is asked for twice."""
        first, second = self.begin(hedge=0.05)
        for _ in range(100):
            self.ask_slowly().leave()
        self.assertLessEqual(len(second.asked), 0.05 * (ENOUGH + 100))
        self.assertGreaterEqual(len(second.asked), 5)
        self.assertEqual(len(first.asked), ENOUGH + 100)

    def test_after_one_that_had_the_client_to_itself(self) -> None:
        """An attempt that failed before it said anything, and had no rival, has no part in what the
        next one is credited with, which has rivals."""
        empty = Scripted(lambda asked: asked.respond(b"", content_type="text/event-stream"))
        second = FakeProvider()
        two = self.two_targets(empty, second, hedge=0.5, continuation=True)
        self.start(msgspec.structs.replace(two, retries=Retries(always=1000, eject_after=0)))
        for _ in range(ENOUGH + 1):
            client = self.ask(chat(model="fast"))
            self.advance(1.0)
            second.asked[-1].head()
            second.asked[-1].finish(chunk("hello"), STOP, usage_chunk(3, 2), DONE)
            self.network.flush()
        self.assertEqual(client.answer().headers["x-aigateway-provider"], "second")
        outcome = self.outcomes[-1]
        self.assertEqual((outcome.result, outcome.provider), ("ok", "second"))
        assert outcome.usage is not None
        self.assertEqual((outcome.usage.output_tokens, outcome.usage.estimated), (2, False))

    def test_a_bug_in_one_of_them(self) -> None:
        """The other one answers, and the log has the traceback, once."""
        first, second = self.begin()
        job = self.executor.attempts._calls.streamed
        whole = job.prepare

        def broken(exchange: Any, chat: Any, one: Any, credential: Any) -> Any:
            if one.provider.name == "second":
                raise ZeroDivisionError
            return whole(exchange, chat, one, credential)

        job.prepare = broken
        client = self.ask_slowly()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.say(first.asked[-1], "me")
        first.asked[-1].finish(STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "me")
        self.assertEqual(self.errors(), ["internal_error", None])
        self.assertEqual(second.asked, [])

    def test_a_slow_reader_of_the_winner(self) -> None:
        """The one that has the client is paused with it."""
        _, second = self.begin()
        client = self.ask_slowly()
        client.read(0)
        self.say(second.asked[0], "x" * 300_000)
        self.advance(1)
        self.say(second.asked[0], "y" * 300_000)
        self.assertGreater(len(second.asked[0].transport.dataBuffer), 200_000)
        client.read(None)
        second.asked[0].finish(STOP, DONE)
        self.network.flush()
        self.assertTrue(client.answer().whole)
        self.assertEqual(len(client.answer().text()), 600_000)

    def test_whole_answers_are_not_hedged(self) -> None:
        """Nothing says when their first token came."""
        _, second = self.begin()
        self.ask(chat(model="fast", stream=False))
        self.advance(30)
        self.assertEqual(second.asked, [])


class Continuing(Turns):
    """Routes where another target may go on with an answer that broke off."""

    def begin(self, second: Canned, server: str = "vllm") -> tuple[FakeProvider, Scripted]:
        """Two servers, of which the second goes on with what an assistant's last message begins."""
        dying, living = FakeProvider(), Scripted(second)
        self.serve(dying, FIRST)
        self.serve(living, SECOND)
        targets = (Target("first", "m-1"), Target("second", "m-2"))
        route = Route(model="fast", targets=targets, continuation=True)
        both = provider("first", port=FIRST), provider("second", port=SECOND, server=server)
        self.start(config(*both, routes=(route,)))
        return dying, living

    def break_off(self, dying: FakeProvider, *texts: str) -> Client:
        client = self.ask(chat(model="fast"))
        asked = dying.asked[-1]
        asked.head()
        self.tell(asked, *map(chunk, texts))
        asked.finish()
        self.network.flush()
        return client

    def test_the_client_sees_one_stream(self) -> None:
        """The next target is given the beginning, and says the rest; both attempts are in the
        outcome, and the usage is that of both."""
        dying, living = self.begin(answers(" and the rest"))
        client = self.break_off(dying, "The", " beginning")
        answer = client.answer()
        self.assertTrue(answer.whole)
        self.assertEqual(answer.text(), "The beginning and the rest")
        names = "message_start content_block_start content_block_delta content_block_stop message_delta"
        self.assertEqual(answer.events(), [*names.split(), "message_stop"])
        self.assertEqual(
            living.asked[0].body["messages"][-1], {"role": "assistant", "content": "The beginning"}
        )
        self.assertEqual(self.errors(), ["truncated", None])
        outcome = self.outcome()
        self.assertEqual((outcome.result, outcome.provider), ("ok", "second"))
        first, second = (attempt.usage for attempt in outcome.attempts)
        assert outcome.usage is not None
        assert first is not None
        assert second is not None
        self.assertEqual(outcome.usage.output_tokens, first.output_tokens + second.output_tokens)
        self.assertTrue(outcome.usage.estimated)

    def test_an_openai_client(self) -> None:
        """One role, one finish, one usage chunk, and the end marker."""
        dying, _ = self.begin(answers(" and the rest"))
        client = self.ask(
            chat(model="fast", stream_options={"include_usage": True}), path="/openai/v1/chat/completions"
        )
        dying.asked[-1].head()
        dying.asked[-1].finish(chunk("The beginning"))
        self.network.flush()
        answer = client.answer()
        self.assertEqual(answer.text(), "The beginning and the rest")
        for part, times in (
            (b'"role"', 1),
            (b'"finish_reason":"stop"', 1),
            (b'"usage":{', 1),
            (b"[DONE]", 1),
        ):
            self.assertEqual(answer.body.count(part), times, part)

    def test_a_second_break(self) -> None:
        """Where nobody is left, it is the error of the dialect, once, and no clean end."""
        dying, _ = self.begin(lambda asked: asked.finish(chunk(" and")))
        client = self.break_off(dying, "The beginning")
        self.assertEqual(client.answer().text(), "The beginning and")
        self.assertFalse(client.answer().whole)
        self.assertEqual(client.answer().events()[-1], "error")
        self.assertEqual(self.errors(), ["truncated", "truncated"])

    def test_who_cannot_is_not_asked(self) -> None:
        """A server that is not known to go on would say everything twice: the client sees the break."""
        dying, living = self.begin(answers(), server="other")
        client = self.break_off(dying, "The beginning")
        self.assertEqual(client.answer().events()[-1], "error")
        self.assertEqual(living.asked, [])
        self.assertEqual(self.errors(), ["truncated"])

    def test_a_client_that_leaves_between(self) -> None:
        """The next target is let go as the first would be."""
        dying, living = self.begin(lambda asked: asked.head())
        client = self.break_off(dying, "The beginning")
        self.assertEqual(len(living.asked), 1)
        client.leave()
        self.assertTrue(living.asked[0].aborted)
        self.assertEqual(self.errors(), ["truncated", "client_left"])
        self.assertEqual(self.outcome().result, "client_left")

    def test_one_that_refuses_to_go_on(self) -> None:
        """That is no word on the client's request: what is told is the break."""
        dying, living = self.begin(refuses(400, error_body("no prefill")))
        client = self.break_off(dying, "The beginning")
        self.assertEqual(len(living.asked), 1)
        self.assertEqual(client.answer().events()[-1], "error")
        self.assertNotIn(b"no prefill", client.answer().body)
        self.assertEqual(self.errors(), ["truncated", "refused"])
        self.assertEqual(self.outcome().result, "truncated")

    def test_before_the_first_byte_it_is_an_ordinary_retry(self) -> None:
        """The next target is asked the same, for all of it."""
        dying, living = self.begin(answers())
        client = self.ask(chat(model="fast"))
        dying.asked[-1].respond(error_body("no"), 500)
        self.network.flush()
        self.assertEqual(client.answer().text(), "hello")
        self.assertEqual(len(living.asked[0].body["messages"]), 1)

    def test_a_break_while_others_rest(self) -> None:
        """The client is told what broke the answer off, and not that there was nobody else to ask."""
        for continuation in (False, True):
            with self.subTest(continuation=continuation):
                self.network.close_ports()
                first, second = FakeProvider(), Scripted(refuses(429, BUSY, retry_after="300"))
                self.start(self.two_targets(first, second, continuation=continuation))
                self.ask(chat(model="fast"))
                first.asked[0].respond(error_body("no"), 500)
                self.network.flush()
                client = self.ask(chat(model="fast"))
                first.asked[1].head()
                first.asked[1].finish(chunk("half"))
                self.network.flush()
                self.assertNotIn(b"resting", client.answer().body)
                self.assertEqual(self.outcomes[-1].result, "truncated")

    def test_other_routes(self) -> None:
        """Without the option the break is the client's to see, and the answer may pass as it came."""
        dying, living = Scripted(lambda asked: asked.finish(chunk("half"))), Scripted(answers())
        self.start(self.two_targets(dying, living))
        self.assertEqual(self.answer("fast").events()[-1], "error")
        self.assertEqual(living.asked, [])
