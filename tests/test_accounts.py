"""`aigateway.accounts`: whose turn it is, who rests and for how long."""

from __future__ import annotations

from unittest import TestCase

from aigateway.accounts import MAX_MODELS, AccountPool, AccountState
from aigateway.config import Account, Retries
from aigateway.errors import (
    AccountExhausted,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)
from aigateway.secret import Secret


def pool(names: str = "abc") -> AccountPool:
    return AccountPool([Account(name=name) for name in names])


def names(accounts: AccountPool, model: str = "m", now: float = 0.0, session: bytes | None = None) -> str:
    """Those that are ready, in order."""
    return "".join(account.name for account in accounts.choose(model, now, session).ready)


def ask(accounts: AccountPool, model: str = "m", now: float = 0.0) -> str:
    """Ask the one whose turn it is, and say which it is."""
    name = accounts.choose(model, now).ready[0].name
    accounts.asked(name, model, now)
    return name


class Choosing(TestCase):
    def test_accounts_take_turns(self) -> None:
        """The one that was asked longest ago is next, and the others are offered behind it."""
        accounts = pool()
        seen = []
        for _ in range(4):
            seen.append(names(accounts))
            ask(accounts)
        self.assertEqual(seen, ["abc", "bca", "cab", "abc"])

    def test_turns_are_even_among_those_that_are_left(self) -> None:
        """The neighbour of a resting account does not get its share on top of its own."""
        accounts = pool()
        accounts.rest("b", None, 10, 0, "busy")
        self.assertEqual("".join(ask(accounts) for _ in range(4)), "acac")

    def test_looking_moves_nothing_on(self) -> None:
        """Whose turn it is changes when somebody is asked, and not before."""
        accounts = pool()
        self.assertEqual([names(accounts) for _ in range(3)], ["abc"] * 3)

    def test_shares_are_by_weight(self) -> None:
        """An account of weight 3 is asked three times as often as one of weight 1, and evenly."""
        accounts = AccountPool([Account(name="a", weight=3), Account(name="b"), Account(name="c", weight=2)])
        asked = "".join(ask(accounts) for _ in range(60))
        self.assertEqual({name: asked.count(name) for name in "abc"}, {"a": 30, "b": 10, "c": 20})
        self.assertEqual({asked[start : start + 6].count("a") for start in range(0, 60, 6)}, {3})

    def test_who_comes_back_need_not_catch_up(self) -> None:
        """What an account missed while it rested is not asked of it afterwards."""
        accounts = pool("ab")
        accounts.rest("b", None, 10, 0, "busy")
        for _ in range(50):
            ask(accounts)
        self.assertEqual(sorted(ask(accounts, now=10) for _ in range(6)), list("aaabbb"))


class Sessions(TestCase):
    SESSIONS = tuple(b"session %d" % number for number in range(300))

    def first(self, accounts: AccountPool, now: float = 0.0) -> dict[bytes, str]:
        return {session: names(accounts, now=now, session=session)[0] for session in self.SESSIONS}

    def test_a_conversation_stays_with_its_account(self) -> None:
        """However many others are asked in between, and in another process, too."""
        accounts = pool("abcd")
        before = self.first(accounts)
        for _ in range(7):
            ask(accounts)
        self.assertEqual(self.first(accounts), before)
        self.assertEqual(self.first(pool("abcd")), before)

    def test_conversations_are_spread_by_weight(self) -> None:
        """Each account has its share of the conversations, roughly."""
        accounts = AccountPool([Account(name="a", weight=2), Account(name="b"), Account(name="c")])
        spread = list(self.first(accounts).values())
        self.assertAlmostEqual(spread.count("a") / 300, 0.5, delta=0.1)
        self.assertAlmostEqual(spread.count("b") / 300, 0.25, delta=0.1)

    def test_only_the_conversations_of_a_resting_account_move(self) -> None:
        """They go to the others, spread; those of the others stay; and they come back."""
        accounts = pool("abcd")
        before = self.first(accounts)
        accounts.rest("b", None, 10, 0, "busy")
        meanwhile = self.first(accounts)
        moved = {session for session in self.SESSIONS if meanwhile[session] != before[session]}
        self.assertEqual(moved, {session for session, name in before.items() if name == "b"})
        self.assertEqual({meanwhile[session] for session in moved}, set("acd"))
        self.assertEqual(self.first(accounts, now=10), before)


class Ejection(TestCase):
    """Accounts that fail again and again. Chance is in the middle: times are as configured."""

    SETTINGS = Retries(eject_after=5, eject_for=4, max_eject=10, eject_share=0.5)

    def pool(self, names: str = "abcd", settings: Retries = SETTINGS) -> AccountPool:
        return AccountPool([Account(name=name) for name in names], settings, chance=lambda: 0.5)

    def fails(self, accounts: AccountPool, name: str, times: int, now: float = 0.0, model: str = "m") -> None:
        for _ in range(times):
            accounts.asked(name, model, now)
            accounts.note(name, model, UpstreamFailed("500"), now)

    def test_five_failures_in_a_row(self) -> None:
        """The fifth ejects the account, for that model; a good answer in between begins anew."""
        accounts = self.pool("ab")
        self.fails(accounts, "a", 4)
        accounts.answered("a", "m")
        self.fails(accounts, "a", 4)
        self.assertEqual(names(accounts), "ba")
        self.fails(accounts, "a", 1)
        self.assertEqual(accounts.choose("m", 0)[1][0].name, "a")
        self.assertEqual(names(accounts), "b")
        self.assertEqual(sorted(names(accounts, "other")), ["a", "b"])
        self.assertEqual(accounts.describe(0)[0], AccountState("a", "ready", ejected=1))

    def test_what_counts_as_a_failure(self) -> None:
        """Faults of the provider's do; a quota, a credential or a bad request say nothing of the kind."""
        for error, ejects in (
            (UpstreamFailed(""), True),
            (UpstreamUnreachable(""), True),
            (UpstreamSilent("", limit="first_token"), True),
            (UpstreamTruncated(""), True),
            (UpstreamGarbled(""), True),
            (UpstreamBusy("", overloaded=True, scope="request"), True),
            (UpstreamBusy("", scope="request"), False),
            (UpstreamRefused(""), False),
            (AccountExhausted("", scope="request"), False),
        ):
            with self.subTest(repr(error)):
                accounts = self.pool("ab")
                for _ in range(5):
                    accounts.note("a", "m", error, 0)
                self.assertEqual(len(accounts.choose("m", 0).ejected), int(ejects))

    def test_one_request_probes(self) -> None:
        """When the time is over one request is sent, and no other until it is known how it ended."""
        accounts = self.pool("ab")
        self.fails(accounts, "a", 5)
        self.assertEqual(names(accounts, now=3.9), "b")
        self.assertEqual(sorted(names(accounts, now=4)), ["a", "b"])
        accounts.asked("a", "m", 4)
        self.assertEqual(names(accounts, now=4), "b")
        accounts.begun("a", "m")
        self.assertEqual(sorted(names(accounts, now=4)), ["a", "b"])

    def test_a_probe_that_fails_doubles_the_time(self) -> None:
        """Up to the bound; and a good answer makes the next one start small again."""
        accounts = self.pool("ab")
        self.fails(accounts, "a", 5)
        now, seen = 0.0, []
        for expected in (4.0, 8.0, 10.0, 10.0):
            self.assertNotIn("a", names(accounts, now=now + expected - 0.1))
            now += expected
            seen.append(names(accounts, now=now))
            self.fails(accounts, "a", 1, now)
        self.assertTrue(all("a" in ready for ready in seen))
        accounts.answered("a", "m")
        self.fails(accounts, "a", 5, now)
        self.assertIn("a", names(accounts, now=now + 4))

    def test_a_probe_without_a_verdict(self) -> None:
        """A client that left decides nothing: the next request probes again."""
        accounts = self.pool("ab")
        self.fails(accounts, "a", 5)
        accounts.asked("a", "m", 5)
        accounts.released("a", "m")
        self.assertIn("a", names(accounts, now=5))

    def test_a_ceiling(self) -> None:
        """Never more than the share, though always one: what is left is asked, however bad."""
        for count, most in (("abcd", 2), ("abc", 1), ("a", 1), ("abcdefghij", 5)):
            with self.subTest(count):
                accounts = self.pool(count)
                for name in count:
                    self.fails(accounts, name, 9)
                self.assertEqual(len(accounts.choose("m", 0).ejected), most)

    def test_a_ceiling_for_probes(self) -> None:
        """A probe that fails while as many others are ejected as may be ejects nobody: it is
        followed by another."""
        accounts = self.pool("ab")
        self.fails(accounts, "a", 5)
        self.fails(accounts, "b", 5, now=5)
        self.fails(accounts, "a", 1, now=6)
        self.assertEqual(names(accounts, now=6), "a")

    def test_failures_for_want_of_anybody_else(self) -> None:
        """An ejected account that is asked all the same is not ejected for longer by that."""
        accounts = self.pool("a")
        self.fails(accounts, "a", 5)
        self.fails(accounts, "a", 20, now=1)
        self.assertEqual(names(accounts, now=4), "a")

    def test_it_can_be_turned_off(self) -> None:
        """With ``eject_after = 0`` nobody is ejected."""
        accounts = self.pool("ab", Retries(eject_after=0))
        self.fails(accounts, "a", 100)
        self.assertEqual(len(accounts.choose("m", 0).ejected), 0)

    def test_invented_models_do_not_pile_up(self) -> None:
        """However many names fail, what is remembered of them is bounded."""
        accounts = self.pool("a")
        for number in range(3 * MAX_MODELS):
            self.fails(accounts, "a", 1, model=f"m{number}")
            self.fails(accounts, "a", 5, model=f"n{number}")
        self.assertLessEqual(accounts.describe(0)[0].ejected, MAX_MODELS)


class Reloading(TestCase):
    def test_the_same_account_goes_on(self) -> None:
        """Its rests, its turn and its refusal outlive a new configuration; and what an old
        request finds out later counts, too."""
        key = Secret("k")
        old = AccountPool([Account(name="a", api_key=key), Account(name="b", api_key=key)])
        old.rest("a", None, 10, 0, "busy")
        new = AccountPool([Account(name="a", api_key=key, weight=5), Account(name="c")], previous=old)
        self.assertEqual(names(new), "c")
        old.rest("a", None, 20, 0, "busy")
        self.assertEqual(new.describe(0)[0].seconds, 20)

    def test_another_credential_is_another_account(self) -> None:
        """A refused account is asked again once its key is another one."""
        old = AccountPool([Account(name="a", api_key=Secret("old"))])
        old.note("a", "m", UpstreamUnauthorized("no"), 0)
        self.assertEqual(names(old), "")
        self.assertEqual(names(AccountPool([Account(name="a", api_key=Secret("old"))], previous=old)), "")
        self.assertEqual(names(AccountPool([Account(name="a", api_key=Secret("new"))], previous=old)), "a")

    def test_a_rest_for_a_model_is_for_that_model(self) -> None:
        """The account goes on for others, and comes back when the time is over."""
        accounts = pool("ab")
        accounts.rest("a", "m", 10, 0, "busy")
        self.assertEqual(names(accounts, "m", 9.9), "b")
        self.assertEqual(sorted(names(accounts, "other", 0)), ["a", "b"])
        self.assertEqual(sorted(names(accounts, "m", 10)), ["a", "b"])

    def test_a_rest_for_the_account_is_for_all_models(self) -> None:
        """No model is asked of it until the time is over."""
        accounts = pool("a")
        accounts.rest("a", None, 10, 100, "busy")
        self.assertEqual(names(accounts, "x", 109), "")
        self.assertEqual(names(accounts, "x", 110), "a")

    def test_a_shorter_rest_does_not_end_a_longer_one(self) -> None:
        """A late answer to an old request cannot bring an account back early."""
        for model in (None, "m"):
            with self.subTest(model):
                accounts = pool("a")
                accounts.rest("a", model, 60, 0, "exhausted")
                accounts.rest("a", model, 1, 0, "busy")
                self.assertEqual(accounts.earliest("m", 0), 60)
                accounts.rest("a", model, 90, 0, "busy")
                self.assertEqual(accounts.earliest("m", 0), 90)


class Consequences(TestCase):
    def waits(self, error: UpstreamError) -> tuple[float | None, float | None]:
        """How long the account rests for the model that was asked, and for another."""
        accounts = pool("a")
        accounts.note("a", "m", error, 1000.0)
        return accounts.earliest("m", 1000.0), accounts.earliest("other", 1000.0)

    def test_each_error_has_its_consequence(self) -> None:
        """Busy accounts rest as long as they said, within reason; exhausted ones to the end."""
        for error, expected in (
            (UpstreamBusy(""), (1, 0)),
            (UpstreamBusy("", retry_after=20), (20, 0)),
            (UpstreamBusy("", retry_after=20, overloaded=True), (20, 0)),
            (UpstreamBusy("", retry_after=20, scope="account"), (20, 20)),
            (UpstreamBusy("", retry_after=20, scope="request"), (0, 0)),
            (UpstreamBusy("", retry_after=0), (0, 0)),
            (UpstreamBusy("", retry_after=1e9), (600, 0)),
            (UpstreamBusy("", retry_after=1e9, scope="account"), (600, 600)),
            (UpstreamBusy("", retry_after=7200, reset=True), (7200, 0)),
            (UpstreamBusy("", reset=True), (1, 0)),
            (UpstreamBusy("", retry_after=-5), (1, 0)),
            (UpstreamBusy("", retry_after=float("nan")), (1, 0)),
            (UpstreamBusy("", retry_after=float("inf"), reset=True), (1, 0)),
            (UpstreamBusy("", retry_after=1e12, reset=True), (366 * 86400, 0)),
            (AccountExhausted(""), (3600, 3600)),
            (AccountExhausted("", retry_after=86400), (86400, 86400)),
            (AccountExhausted("", retry_after=60, scope="model"), (60, 0)),
            (AccountExhausted("", scope="request"), (0, 0)),
            (UpstreamUnauthorized(""), (None, None)),
            (UpstreamUnauthorized("", token_expired=True), (0, 0)),
            (UpstreamFailed(""), (0, 0)),
            (UpstreamRefused(""), (0, 0)),
            (UpstreamSilent("", limit="idle"), (0, 0)),
            (UpstreamUnreachable(""), (0, 0)),
            (UpstreamTruncated(""), (0, 0)),
            (UpstreamGarbled(""), (0, 0)),
        ):
            with self.subTest(repr(error), **vars(error)):
                self.assertEqual(self.waits(error), expected)

    def test_a_refused_credential_stays_refused(self) -> None:
        """Time alone does not bring the account back."""
        accounts = pool("ab")
        accounts.note("a", "m", UpstreamUnauthorized("no"), 0)
        self.assertEqual(names(accounts, "m", 1e9), "b")


class Waiting(TestCase):
    def test_a_403_rests_the_account_for_that_model(self) -> None:
        """It may be the model or the prompt that was refused: others must not suffer for it."""
        accounts = pool("a")
        accounts.note("a", "m", UpstreamUnauthorized("no access", scope="model"), 0.0)
        self.assertEqual(accounts.choose("m", 59.9), ([], []))
        self.assertEqual(accounts.earliest("m", 0.0), 60.0)
        self.assertEqual(len(accounts.choose("other", 0.0).ready), 1)
        self.assertEqual(len(accounts.choose("m", 60.0).ready), 1)

    def test_the_first_to_come_back_decides(self) -> None:
        """An account that rests twice is back after the longer; one set aside never is."""
        accounts = pool()
        self.assertEqual(accounts.earliest("m", 0), 0)
        accounts.rest("a", "m", 30, 0, "busy")
        accounts.rest("b", None, 20, 0, "busy")
        accounts.rest("b", "m", 50, 0, "busy")
        accounts.note("c", "m", UpstreamUnauthorized("no"), 0)
        self.assertEqual(accounts.earliest("m", 10), 20)
        self.assertEqual(accounts.earliest("other", 10), 0)
        accounts.note("a", "m", UpstreamUnauthorized("no"), 0)
        self.assertEqual(accounts.earliest("m", 10), 40)
        accounts.note("b", "m", UpstreamUnauthorized("no"), 0)
        self.assertIsNone(accounts.earliest("m", 10))

    def test_the_stats_see_each_account(self) -> None:
        """State, time left and the kind of error; nothing of its message."""
        accounts = pool("abcd")
        accounts.rest("a", "m", 30, 0, "busy")
        accounts.note("b", "m", AccountExhausted("key sk-1 has no money"), 0)
        accounts.note("c", "m", UpstreamUnauthorized("key sk-2 is wrong"), 0)
        self.assertEqual(
            accounts.describe(10),
            [
                AccountState("a", "ready", models=1),
                AccountState("b", "resting", 3590, "exhausted"),
                AccountState("c", "set_aside", None, "account_unauthorized"),
                AccountState("d", "ready"),
            ],
        )
        self.assertEqual(
            accounts.describe(4000)[:2], [AccountState("a", "ready"), AccountState("b", "ready")]
        )


class Bounds(TestCase):
    def test_invented_models_do_not_pile_up(self) -> None:
        """However many names clients invent, the rests that are remembered are bounded, and
        the longest of them are kept."""
        accounts = pool("a")
        accounts.rest("a", "mine", 7200, 0, "busy")
        for number in range(3 * MAX_MODELS):
            accounts.rest("a", f"m{number}", 600, 0, "busy")
            self.assertLessEqual(accounts.describe(0)[0].models, MAX_MODELS)
        self.assertEqual(accounts.earliest("mine", 0), 7200)

    def test_rests_that_are_over_go_first(self) -> None:
        """Room is made from what is past, and nothing current is forgotten for it."""
        accounts = pool("a")
        for number in range(MAX_MODELS):
            accounts.rest("a", f"past{number}", 1, 0, "busy")
        for number in range(MAX_MODELS):
            accounts.rest("a", f"m{number}", 10, 5, "busy")
        self.assertEqual(accounts.describe(5)[0].models, MAX_MODELS)
