"""What keys may use: requests at a time and in a minute, and tokens in a day."""

from __future__ import annotations

import unittest
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aigateway.allowance import LONGEST, MINUTE, SOON, Allowances, Taken, may_use
from aigateway.config import ClientKey, Config, ConfigError, Route, Target, parse
from aigateway.dialects import OPENAI
from aigateway.dialects.gemini import parse_request as parse_gemini
from aigateway.errors import BudgetUnknown, LimitReached
from aigateway.events import Usage
from aigateway.ledger import DAY, Ledger, day_of
from aigateway.outcome import Attempt, Outcome
from aigateway.pace import ENOUGH

from .fakes import (
    DONE,
    EPOCH,
    STOP,
    Answer,
    Client,
    FakeProvider,
    chat,
    chunk,
    config,
    error_body,
    provider,
    usage_chunk,
)
from .recordings import ask as asked_chat
from .test_reload import OTHER_PORT, ReloadTestCase, with_key
from .test_web import WebTestCase, key

MIDNIGHT = (day_of(EPOCH) + 1) * DAY
"""The end of the day on which the tests begin."""


def of(**limits: Any) -> ClientKey:
    return ClientKey(name="ann", digest=b"", **limits)


def outcome(*usages: Usage | None, client: str | None = "ann", at: float = EPOCH, **more: Any) -> Outcome:
    """The end of a request whose attempts used this much."""
    values: dict[str, Any] = {
        "attempts": tuple(Attempt(provider="p", model="m", account="a", usage=usage) for usage in usages),
        "request_id": "req_1",
        "dialect": "claude",
        "model": "m",
        "provider": "p",
        "target_model": "m",
        "streamed": False,
        "status": 200,
        "result": "ok",
    }
    return Outcome(**(values | more), client=client, started_at=at)


class AllowancesTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.ledger = Ledger()
        self.allowances = Allowances(self.ledger)

    def take(self, key: ClientKey, tokens: int = 0, now: float = 0.0, wall: float = EPOCH) -> Taken:
        return self.allowances.take(key, tokens, now, wall, fails_open=False)

    def refused(self, key: ClientKey, tokens: int = 0, now: float = 0.0, wall: float = EPOCH) -> LimitReached:
        with self.assertRaises(LimitReached) as raised:
            self.take(key, tokens, now, wall)
        return raised.exception


class Concurrency(AllowancesTestCase):
    def test_the_limit(self) -> None:
        """So many are under way, and no more; when one is over, another one may begin."""
        key = of(concurrency=2)
        first, _ = self.take(key), self.take(key)
        self.assertIn("2 requests under way", self.refused(key).message)
        self.allowances.give_back(first, 1.0)
        self.take(key)
        self.refused(key)

    def test_other_keys(self) -> None:
        """What one key has under way is no other's business."""
        self.take(of(concurrency=1))
        self.take(msgspec.structs.replace(of(concurrency=1), name="bob"))

    def test_when_to_come_again(self) -> None:
        """After as long as one of those under way is to be expected to take, within bounds."""
        key = of(concurrency=2)
        self.allowances.give_back(self.take(key, now=0.0), 30.0)
        self.take(key, now=30.0)
        self.take(key, now=30.0)
        self.assertEqual(self.refused(key, now=30.0).retry_after, 15.0)
        for takes, told in ((0.0, SOON), (1e6, LONGEST)):
            fresh = Allowances(self.ledger)
            fresh.give_back(fresh.take(of(concurrency=1), 0, 0.0, EPOCH, fails_open=False), takes)
            fresh.take(of(concurrency=1), 0, takes, EPOCH, fails_open=False)
            with self.assertRaises(LimitReached) as raised:
                fresh.take(of(concurrency=1), 0, takes, EPOCH, fails_open=False)
            self.assertEqual(raised.exception.retry_after, told)

    def test_another_limit(self) -> None:
        """A limit that is lowered holds at once for who is to begin, and for nobody who has begun."""
        for _ in range(3):
            self.take(of(concurrency=3))
        self.refused(of(concurrency=1))
        self.take(of(concurrency=4))


class Minute(AllowancesTestCase):
    def test_when_to_come_again(self) -> None:
        """To the point: who comes a moment before is refused, who comes then is not."""
        key = of(requests_per_minute=2)
        self.take(key, now=10.0)
        self.take(key, now=20.0)
        self.assertEqual(self.refused(key, now=30.0).retry_after, 40.0)
        self.assertAlmostEqual(self.refused(key, now=69.5).retry_after or 0, 0.5)
        self.take(key, now=70.0)
        self.assertEqual(self.refused(key, now=70.0).retry_after, 10.0)

    def test_a_lower_limit(self) -> None:
        """Who is above a limit that was lowered waits until there is room below it."""
        for now in (0.0, 1.0, 2.0, 3.0):
            self.take(of(requests_per_minute=9), now=now)
        self.assertEqual(self.refused(of(requests_per_minute=2), now=3.0).retry_after, 59.0)

    def test_the_refused_do_not_count(self) -> None:
        """Whatever refuses them: a client that asks again and again is not kept out by that."""
        key = of(requests_per_minute=2, concurrency=1, tokens_per_day=10)
        self.take(key, 1)
        self.refused(key, 1, 1.0)
        self.refused(key, 100, 2.0)
        self.assertEqual(self.allowances.describe(key, 2.0, EPOCH).requests_in_minute, 1)

    @given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
    def test_never_more(self, gaps: list[float], limit: int) -> None:
        """However they come, no 60 seconds see more than the limit begin, and a wait that is told is
        never too short."""
        allowances, key, now = Allowances(Ledger()), of(requests_per_minute=limit), 0.0
        begun: list[float] = []
        for gap in gaps:
            now += gap
            try:
                allowances.take(key, 0, now, EPOCH, fails_open=False)
            except LimitReached as error:
                wait = error.retry_after or 0.0
                self.assertTrue(0 < wait <= MINUTE + 1e-6)
                now += wait + 1e-9
                allowances.take(key, 0, now, EPOCH, fails_open=False)
            begun.append(now)
        for first, last in zip(begun, begun[limit:], strict=False):
            self.assertGreaterEqual(last - first, MINUTE - 1e-6)


class Tokens(AllowancesTestCase):
    def end(self, taken: Taken, *usages: Usage | None, at: float = EPOCH) -> None:
        self.ledger.book(outcome(*usages, at=at))
        self.allowances.give_back(taken, 1.0)

    def test_reserved_then_settled(self) -> None:
        """What may be used is set aside while a request is under way; then what was used counts, cached
        parts included."""
        key = of(tokens_per_day=100)
        taken = self.take(key, 60)
        self.assertIn("may use 60", self.refused(key, 41).message)
        self.end(taken, Usage(1, 2, 3, 4, reasoning_tokens=2))
        told = self.allowances.describe(key, 0.0, EPOCH)
        self.assertEqual((told.tokens_today, told.tokens_reserved, told.tokens_left), (10, 0, 90))
        self.refused(key, 91)
        self.take(key, 90)
        self.assertEqual(self.allowances.describe(key, 0.0, EPOCH).tokens_left, 0)

    def test_nothing_used(self) -> None:
        """What a failure set aside is given back, all of it."""
        key = of(tokens_per_day=100)
        for _ in range(50):
            self.end(self.take(key, 100), None, None)
        self.assertEqual(self.allowances.describe(key, 0.0, EPOCH).tokens_left, 100)

    def test_all_attempts(self) -> None:
        """What came to nothing was used all the same."""
        key = of(tokens_per_day=100)
        self.end(self.take(key, 10), Usage(5, 5), None, Usage(20, 1, estimated=True))
        self.assertEqual(self.allowances.describe(key, 0.0, EPOCH).tokens_today, 31)

    def test_when_to_come_again(self) -> None:
        """Tomorrow, if all is used; soon, if it is only set aside; and never with such a request."""
        key = of(tokens_per_day=100)
        taken = self.take(key, 100)
        self.assertEqual(self.refused(key, 1).retry_after, SOON)
        self.end(taken, Usage(95))
        self.assertEqual(self.refused(key, 6).retry_after, MIDNIGHT - EPOCH)
        alone = self.refused(key, 101)
        self.assertIsNone(alone.retry_after)
        self.assertIn("may use 101", alone.message)
        self.take(key, 100, wall=MIDNIGHT)

    def test_over_midnight(self) -> None:
        """A request counts for the day that it began on, to its end; the new day begins with nothing."""
        key = of(tokens_per_day=100)
        taken = self.take(key, 80, wall=MIDNIGHT - 1)
        fresh = self.take(key, 100, wall=MIDNIGHT)
        self.end(taken, Usage(80), at=MIDNIGHT - 1)
        self.end(fresh, Usage(1), at=MIDNIGHT)
        self.assertEqual(self.allowances.describe(key, 0.0, MIDNIGHT).tokens_left, 99)
        self.assertEqual(self.allowances.describe(key, 0.0, MIDNIGHT - 1).tokens_left, 20)

    def test_the_clock_jumps(self) -> None:
        """One that jumps to another day and back finds what it left."""
        key = of(tokens_per_day=100)
        self.end(self.take(key, 100), Usage(100))
        self.take(key, 100, wall=0.0)
        self.refused(key, 1)

    def test_unknown(self) -> None:
        """While what was used today cannot be told, who has a budget is refused, unless it fails open;
        others are not, nor is anybody tomorrow."""
        ledger = Ledger(kept=True, unknown=day_of(EPOCH))
        allowances, key = Allowances(ledger), of(tokens_per_day=100)
        with self.assertRaises(BudgetUnknown) as raised:
            allowances.take(key, 1, 0.0, EPOCH, fails_open=False)
        self.assertIn("cannot be read", raised.exception.message)
        self.assertFalse(allowances.describe(key, 0.0, EPOCH).known)
        allowances.take(key, 1, 0.0, EPOCH, fails_open=True)
        allowances.take(key, 1, 0.0, MIDNIGHT, fails_open=False)
        allowances.take(of(concurrency=9), 1, 0.0, EPOCH, fails_open=False)
        ledger.restore(day_of(EPOCH), {"ann": 99, "bob": 1}, ["m"])
        self.assertEqual(allowances.describe(key, 0.0, EPOCH).tokens_today, 99)
        with self.assertRaises(LimitReached):
            allowances.take(key, 2, 0.0, EPOCH, fails_open=False)

    @given(
        st.integers(0, 300),
        st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80), st.booleans()), max_size=100),
    )
    def test_never_over(self, limit: int, requests: list[tuple[int, int, bool]]) -> None:
        """Whatever begins and ends in whatever order: the day is over the limit by no more than what
        requests used beyond what they had reserved, since the last one began."""
        key = of(tokens_per_day=limit + 1)
        ledger = Ledger()
        allowances = Allowances(ledger)
        under_way: list[tuple[Taken, int]] = []
        beyond = 0  # since a request began last
        for reserved, used, ends in requests:
            try:
                under_way.append((allowances.take(key, reserved, 0.0, EPOCH, fails_open=False), used))
                beyond = 0
            except LimitReached:
                pass
            if ends and under_way:
                taken, used = under_way.pop(0)
                ledger.book(outcome(Usage(used)))
                allowances.give_back(taken, 0.0)
                beyond += max(used - taken.tokens, 0)
            self.assertLessEqual(ledger.spent("ann", day_of(EPOCH)), limit + 1 + beyond)


class Reservation(unittest.TestCase):
    def test_what_a_request_may_use(self) -> None:
        """The prompt, and the longest answer: as the client says, else as the configuration does."""
        prompt = may_use(asked_chat(max_tokens=0), 500)
        self.assertEqual(may_use(asked_chat(max_tokens=40), 500), prompt + 40)
        self.assertEqual(may_use(asked_chat(), 500), prompt + 500)
        self.assertEqual(may_use(asked_chat(max_tokens=-5), 500), prompt)

    def test_several_answers(self) -> None:
        """Each may be as long."""
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 40}
        one = may_use(OPENAI.parse_request(msgspec.json.encode(body)), 500)
        several = may_use(OPENAI.parse_request(msgspec.json.encode(body | {"n": 3})), 500)
        self.assertEqual(several - one, 80)
        gemini: dict[str, Any] = {"contents": [{"parts": [{"text": "x"}]}]}
        for name, field in (("generationConfig", "candidateCount"), ("generation_config", "candidate_count")):
            one = may_use(parse_gemini(msgspec.json.encode(gemini), model="m"), 500)
            told = gemini | {name: {field: 4}}
            self.assertEqual(may_use(parse_gemini(msgspec.json.encode(told), model="m"), 500) - one, 1500)


class Configured(unittest.TestCase):
    """What a configuration says of it."""

    TEXT = """
        [gateway]
        @
        [[keys]]
        name = "ann"
        key = "k-ann"
        concurrency = 3
        requests_per_minute = 60
        tokens_per_day = 1000000
        [[keys]]
        key = "k-bob"
        [providers.openai]
        accounts = [{ api_key = "sk-x" }]
    """

    def read(self, gateway: str) -> Config:
        return parse(self.TEXT.replace("@", gateway), {}, origin="t.toml")

    def test_limits(self) -> None:
        """They are the key's; one that names none has none."""
        ann, bob = self.read("").keys
        self.assertEqual((ann.concurrency, ann.requests_per_minute, ann.tokens_per_day), (3, 60, 1_000_000))
        self.assertEqual((bob.concurrency, bob.requests_per_minute, bob.tokens_per_day), (0, 0, 0))
        self.assertEqual((ann.limited, bob.limited), (True, False))

    def test_without_a_state(self) -> None:
        """The operator is told that a day's count is the process's; with one, nothing is to be told."""
        (note,) = self.read("").notes
        self.assertIn("keys[0].tokens_per_day: begins anew with each start", note)
        self.assertEqual(self.read('state = "sqlite:///s.db"').notes, ())

    def test_mistakes(self) -> None:
        """A limit below 0, and a word that is none, are refused."""
        for gateway, old, new, place in (
            ("", "= 60", "= -1", "keys[0].requests_per_minute"),
            ("", "= 3", "= 1.5", "keys[0].concurrency"),
            ('budgets_fail = "maybe"', "", "", "gateway.budgets_fail"),
        ):
            text = self.TEXT.replace("@", gateway).replace(old or "@", new)
            with self.subTest(place), self.assertRaises(ConfigError) as raised:
                parse(text, {}, origin="t.toml")
            self.assertIn(place, str(raised.exception))


class Clients(WebTestCase):
    """The whole gateway, with a key that has limits."""

    def begin(self, **limits: int) -> None:
        self.start(config(keys=(key("ann", "k-ann", **limits), key("bob", "k-bob"))))

    def hold(self, body: object = None, **more: Any) -> Client:
        """A request of ann's that has reached the provider, and gets no answer yet."""
        client, _ = self.streaming(body, headers=with_key("k-ann"), **more)
        return client

    def answer(self, body: object = None, value: str = "k-ann", **more: Any) -> Answer:
        return self.ask(body, headers=with_key(value), **more).answer()

    def allowance(self) -> Any:
        return self.answer(b"", path="/stats", method="GET").json()["allowances"]["ann"]

    def finish(self, index: int, *pieces: bytes) -> None:
        asked = self.provider.asked[index]
        asked.head()
        asked.finish(*(pieces or (chunk("hi"), STOP, usage_chunk(30, 12), DONE)))
        self.network.flush()


class Refusals(Clients):
    def test_in_every_dialect(self) -> None:
        """A limit is told as a 429 in the caller's own form, and when to come again; nobody is asked."""
        self.begin(requests_per_minute=1)
        self.hold()
        self.advance(20.0)
        ask = {"contents": [{"parts": [{"text": "x"}]}]}
        model = "/v1beta/models/gpt-4:streamGenerateContent?alt=sse"
        for path, body, type in (
            ("/v1/messages", chat(max_tokens=9), "rate_limit_error"),
            ("/openai/v1/chat/completions", chat(), "rate_limit_exceeded"),
            ("/v1/responses", {"model": "gpt-4", "input": "x"}, "rate_limit_exceeded"),
            (model, ask, "RESOURCE_EXHAUSTED"),
        ):
            with self.subTest(path):
                answer = self.answer(body, path=path)
                self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "40"))
                error = answer.json()["error"]
                self.assertIn(type, (error.get("type"), error.get("status")))
                self.assertIn("1 request in a minute", error["message"])
        self.assertEqual(len(self.provider.asked), 1)
        self.assertEqual(self.outcomes[-1].result, "limit_reached")
        self.assertEqual(self.stats.stats.clients["ann"].errors, {"limit_reached": 4})

    def test_what_is_free(self) -> None:
        """Counts of tokens, lists and explanations are no requests; other keys have no limits."""
        self.begin(requests_per_minute=1, concurrency=1, tokens_per_day=8300)
        self.hold()
        self.assertEqual(self.answer().status, 429)
        counted = self.answer(chat(stream=False), path="/v1/messages/count_tokens")
        self.assertEqual(counted.status, 200)
        self.assertEqual(self.answer(b"", path="/v1/models", method="GET").status, 200)
        self.assertEqual(self.answer(chat(), path="/v1/explain").status, 200)
        self.streaming(headers=with_key("k-bob"))

    def test_no_model_no_count(self) -> None:
        """What is refused for another reason takes nothing."""
        self.begin(requests_per_minute=1, tokens_per_day=9000)
        self.assertEqual(self.answer(chat(model="nobody's")).status, 404)
        self.assertEqual(self.answer(b"{").status, 400)
        self.hold()

    def test_more_than_ever(self) -> None:
        """A request that is more than the key may use in a day is told so, and not to come again; with
        a smaller ``max_tokens`` it is taken."""
        self.begin(tokens_per_day=1000)
        answer = self.answer()
        self.assertEqual((answer.status, answer.headers["x-should-retry"]), (429, "false"))
        self.assertNotIn("retry-after", answer.headers)
        self.assertIn("max_tokens", answer.json()["error"]["message"])
        self.hold(chat(max_tokens=900))


class Ends(Clients):
    """However a request ends, nothing stays reserved, and what it used counts."""

    def assert_used(self, tokens: int) -> None:
        told = self.allowance()
        self.assertEqual((told["active"], told["tokens_reserved"]), (0, 0))
        self.assertEqual((told["tokens_today"], told["tokens_left"]), (tokens, 10_000 - tokens))

    def setUp(self) -> None:
        super().setUp()
        self.begin(tokens_per_day=10_000, concurrency=9)

    def test_well(self) -> None:
        """A whole answer, streamed or not: what the provider told."""
        self.hold()
        told = self.allowance()
        self.assertEqual((told["active"], told["tokens_today"]), (1, 0))
        self.assertGreater(told["tokens_reserved"], 8192)
        self.finish(0)
        self.assert_used(42)
        self.hold(chat(stream=False))
        reply = {"role": "assistant", "content": "hi"}
        choices = [{"index": 0, "message": reply, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 5, "completion_tokens": 3}
        self.provider.asked[1].respond(
            msgspec.json.encode({"id": "c", "object": "chat.completion", "choices": choices, "usage": usage})
        )
        self.network.flush()
        self.assert_used(50)

    def test_untold(self) -> None:
        """Usage that is negative, null, absurd, a string or missing is estimated."""
        for index, usage in enumerate((b"-5", b"null", b"1e99", b"999999999999", b'"7"')):
            self.hold()
            told = b'{"prompt_tokens":%b,"completion_tokens":%b}' % (usage, usage)
            frame = b'data: {"id":"c1","choices":[],"usage":%b}\n\n' % told
            before = self.allowance()["tokens_today"]
            self.finish(index, chunk("hi"), STOP, frame, DONE)
            used = self.outcomes[0].usage
            assert used is not None
            self.assertTrue(used.estimated)
            tokens = used.prompt_tokens + used.output_tokens
            self.assertEqual(self.allowance()["tokens_today"] - before, tokens)
            self.assertTrue(0 < tokens < 100)

    def test_badly(self) -> None:
        """A refusal costs nothing."""
        self.hold()
        self.provider.asked[0].respond(error_body("no"), 400)
        self.network.flush()
        self.assert_used(0)

    def test_cut(self) -> None:
        """An answer that breaks off costs what had come, by estimate."""
        self.hold()
        asked = self.provider.asked[0]
        asked.head()
        self.tell(asked, chunk("word " * 100))
        asked.cut()
        self.network.flush()
        (attempt,) = self.outcome().attempts
        assert attempt.usage is not None
        self.assertGreater(attempt.usage.output_tokens, 100)
        self.assert_used(attempt.usage.prompt_tokens + attempt.usage.output_tokens)

    def test_left(self) -> None:
        """A client that leaves, before or in its answer, has used what it is to be billed for."""
        for index in range(2):
            client = self.hold()
            if index:
                self.provider.asked[index].head()
                self.tell(self.provider.asked[index], chunk("word " * 100))
            client.leave()
            self.network.flush()
        used = [one.attempts[0].usage for one in self.outcomes]
        self.assertEqual([one.result for one in self.outcomes], ["client_left"] * 2)
        self.assert_used(sum(usage.prompt_tokens + usage.output_tokens for usage in used if usage))

    def test_failed_attempts(self) -> None:
        """An attempt that took nothing costs nothing; the one after it does."""
        self.hold()
        self.provider.asked[0].respond(error_body("down"), 500)
        self.network.flush()
        self.assert_used(0)


class SeveralAttempts(Clients):
    """Answers that took two targets: what both used counts."""

    def begin_two(self, **route: Any) -> None:
        first, second = Target("one", "gpt-4"), Target("two", "gpt-4")
        self.other = FakeProvider()
        self.serve(self.other, OTHER_PORT)
        both = provider("one"), provider("two", port=OTHER_PORT, server="vllm")
        routes = (Route(model="*", targets=(first, second), **route),)
        self.start(config(*both, routes=routes, keys=(key("ann", "k-ann", tokens_per_day=500_000),)))

    def assert_all_count(self, errors: list[str | None]) -> None:
        usages = [attempt.usage for one in self.outcomes for attempt in one.attempts]
        self.assertEqual([attempt.error for attempt in self.outcomes[-1].attempts], errors)
        self.assertNotIn(None, usages)
        told = self.allowance()
        expected = sum(usage.prompt_tokens + usage.output_tokens for usage in usages if usage)
        self.assertEqual((told["tokens_today"], told["tokens_reserved"]), (expected, 0))

    def test_gone_on_with(self) -> None:
        """The beginning is one's and the rest is the other's; both are counted, once."""
        self.begin_two(continuation=True)
        client = self.hold()
        asked = self.provider.asked[0]
        asked.head()
        self.tell(asked, chunk("The beginning"))
        asked.finish()
        self.network.flush()
        self.other.asked[0].head()
        self.other.asked[0].finish(chunk(" and the rest"), STOP, usage_chunk(9, 4), DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "The beginning and the rest")
        self.assert_all_count(["truncated", None])

    def test_overtaken(self) -> None:
        """Who was let go, since another one spoke first, has been paid for."""
        self.begin_two(hedge=0.5)
        for number in range(ENOUGH):
            self.hold()
            self.advance(1.0)
            self.finish(number)
        self.hold()
        self.advance(1.21)
        self.other.asked[0].head()
        self.other.asked[0].finish(chunk("me"), STOP, usage_chunk(3, 1), DONE)
        self.network.flush()
        self.assert_all_count(["overtaken", None])


class Parallel(Clients):
    def test_a_hundred(self) -> None:
        """Of 100 requests at once as many get through as the budget has room for; when they have used
        all that they may, the day is at its limit and not over it, and the next one is refused."""
        self.begin(tokens_per_day=10_000)
        body = chat(max_tokens=490)
        clients = [self.ask(body, headers=with_key("k-ann")) for _ in range(100)]
        one = self.allowance()["tokens_reserved"] // len(self.provider.asked)
        self.assertEqual(len(self.provider.asked), 10_000 // one)
        refused = [client for client in clients if client.answers()]
        self.assertEqual(len(refused), 100 - 10_000 // one)
        self.assertEqual({client.answer().status for client in refused}, {429})
        prompt = one - 490
        for index in range(len(self.provider.asked)):
            self.finish(index, chunk("hi"), STOP, usage_chunk(prompt, 490), DONE)
        told = self.allowance()
        self.assertEqual(told["tokens_today"], one * (10_000 // one))
        self.assertLessEqual(told["tokens_today"], 10_000)
        self.assertEqual(self.answer(body).status, 429)

    def test_one_after_the_other(self) -> None:
        """As long as answers are shorter than they may be, more get through than at once."""
        self.begin(tokens_per_day=10_000)
        for served in range(6):
            self.hold(chat(max_tokens=4000))
            self.finish(served, chunk("hi"), STOP, usage_chunk(900, 100), DONE)
        self.assertEqual(self.answer(chat(max_tokens=4000)).status, 429)
        self.assertEqual(self.allowance()["tokens_today"], 6000)


class Reloaded(ReloadTestCase):
    def test_counts_go_on(self) -> None:
        """A reload keeps what is under way and what was used, and its limits hold from then on."""
        old = key("ann", "k-ann", tokens_per_day=9000)
        self.start_with(config(provider(port=OTHER_PORT), keys=(old,)))
        self.serve_other()
        headers = with_key("k-ann")
        self.assertEqual(self.status(headers=headers), 200)
        self.reload(
            config(provider(port=OTHER_PORT), keys=(msgspec.structs.replace(old, tokens_per_day=8200),))
        )
        answer = self.ask(chat(), headers=headers).answer()
        self.assertEqual(answer.status, 429)
        self.assertIn("has used 5 of its 8200", answer.json()["error"]["message"])

    def test_under_way(self) -> None:
        """Who began before the reload still has its place."""
        limited = key("ann", "k-ann", concurrency=1)
        self.start_with(config(keys=(limited,)))
        client, asked = self.streaming(headers=with_key("k-ann"))
        self.reload(config(keys=(msgspec.structs.replace(limited, models=("gpt-*",)),)))
        self.assertEqual(self.ask(chat(), headers=with_key("k-ann")).answer().status, 429)
        asked.head()
        asked.finish(chunk("one"), STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "one")
        client, asked = self.streaming(headers=with_key("k-ann"))
        client.leave()
        self.network.flush()
