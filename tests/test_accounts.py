"""`aigateway.accounts`: whose turn it is, who rests and for how long."""

from __future__ import annotations

from unittest import TestCase

from aigateway.accounts import MAX_MODEL_RESTS, AccountPool, AccountState
from aigateway.config import Account
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


def pool(names: str = "abc") -> AccountPool:
    return AccountPool([Account(name=name) for name in names])


def names(accounts: AccountPool, model: str = "m", now: float = 0.0) -> str:
    return "".join(account.name for account in accounts.choose(model, now))


class Choosing(TestCase):
    def test_accounts_take_turns(self) -> None:
        """Each call begins one further and offers the others behind."""
        accounts = pool()
        self.assertEqual([names(accounts) for _ in range(4)], ["abc", "bca", "cab", "abc"])

    def test_turns_are_even_among_those_that_are_left(self) -> None:
        """The neighbour of a resting account does not get its share on top of its own."""
        accounts = pool()
        accounts.rest("b", None, 10, 0, "busy")
        self.assertEqual([names(accounts) for _ in range(4)], ["ac", "ca", "ac", "ca"])

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
        self.assertEqual(accounts.choose("m", 59.9), [])
        self.assertEqual(accounts.earliest("m", 0.0), 60.0)
        self.assertEqual(len(accounts.choose("other", 0.0)), 1)
        self.assertEqual(len(accounts.choose("m", 60.0)), 1)

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
        for number in range(3 * MAX_MODEL_RESTS):
            accounts.rest("a", f"m{number}", 600, 0, "busy")
            self.assertLessEqual(accounts.describe(0)[0].models, MAX_MODEL_RESTS)
        self.assertEqual(accounts.earliest("mine", 0), 7200)

    def test_rests_that_are_over_go_first(self) -> None:
        """Room is made from what is past, and nothing current is forgotten for it."""
        accounts = pool("a")
        for number in range(MAX_MODEL_RESTS):
            accounts.rest("a", f"past{number}", 1, 0, "busy")
        for number in range(MAX_MODEL_RESTS):
            accounts.rest("a", f"m{number}", 10, 5, "busy")
        self.assertEqual(accounts.describe(5)[0].models, MAX_MODEL_RESTS)
