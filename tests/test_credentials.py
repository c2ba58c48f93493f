"""OAuth accounts: tokens fetched once for all, kept fresh, never shown; projects found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from twisted.internet.defer import Deferred

from aigateway.config import Account, Limits, Timeouts
from aigateway.credentials import Credentials
from aigateway.errors import Overloaded, UpstreamFailed
from aigateway.providers import KINDS
from aigateway.providers.base import Credential
from aigateway.secret import Secret
from aigateway.simulator import SimulatedAntigravity
from aigateway.simulator.account import PROJECT
from aigateway.upstream import Upstream

from .fakes import Client, FakeProvider, GatewayTestCase, chat, config, provider

GOOGLE_PORT, TOKEN_PORT = 9021, 9022
TOKEN_URL = f"http://127.0.0.1:{TOKEN_PORT}/token"
MODEL = "gemini-3-flash"


def oauth(name: str = "one", *, project: str = "project") -> Account:
    return Account(
        name=name,
        refresh_token=Secret(f"refresh-secret-{name}"),
        client_id="client-id",
        client_secret=Secret("client-secret"),
        token_url=TOKEN_URL,
        project=project,
    )


class TokenEndpoint(FakeProvider):
    """A token endpoint that the test answers. ``forms`` are the requests' fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []

    def render(self, request: Any) -> int:
        form = parse_qs(request.content.read().decode())
        self.forms.append({name: values[0] for name, values in form.items()})
        request.content.seek(0)
        request.content.truncate()
        return super().render(request)

    def grant(self, token: str, *, expires_in: float = 3599, **more: object) -> None:
        """Answer the last request with a token."""
        granted = {"access_token": token, "expires_in": expires_in, "token_type": "Bearer"}
        self.asked[-1].respond(msgspec.json.encode(granted | more))

    def refuse(self, error: str, status: int = 400) -> None:
        self.asked[-1].respond(
            msgspec.json.encode({"error": error, "error_description": "no refresh-secret-two"}), status
        )


class OAuthTestCase(GatewayTestCase):
    """``self.google`` is a simulated Antigravity, ``self.tokens`` its token endpoint."""

    onboarded = True

    def setUp(self) -> None:
        super().setUp()
        self.google = SimulatedAntigravity(self.network, 0.0, onboarded=self.onboarded)
        self.serve(self.google, GOOGLE_PORT)
        self.tokens = TokenEndpoint()
        self.serve(self.tokens, TOKEN_PORT)

    def start_with(self, *accounts: Account, **more: Any) -> None:
        url = f"http://127.0.0.1:{GOOGLE_PORT}"
        one = provider(
            "antigravity", kind="antigravity", base_urls=(url,), accounts=(), models=(MODEL,), **more
        )
        self.start(config(msgspec.structs.replace(one, accounts=accounts)))

    def ask_google(self, stream: bool = True) -> Client:
        return self.ask(chat(model=MODEL, stream=stream))

    def grant(self, token: str, **more: Any) -> None:
        self.tokens.grant(token, **more)
        self.network.flush()

    def assert_answered(self, *clients: Client) -> None:
        for client in clients:
            self.assertEqual(client.answer().status, 200, client.received)
            self.assertTrue(client.answer().whole)


class RefreshTests(OAuthTestCase):
    def test_one_refresh_for_all_who_wait(self) -> None:
        """Any number of requests wait for one token; later ones find it there."""
        self.start_with(oauth())
        clients = [self.ask_google() for _ in range(10)]
        self.assertEqual(len(self.tokens.asked), 1)
        self.assertEqual(self.google.requests, 0)
        self.grant("ya29.secret")
        self.assert_answered(*clients, self.ask_google())
        self.assertEqual((len(self.tokens.asked), self.google.requests), (1, 11))

    def test_what_is_asked(self) -> None:
        """RFC 6749, section 6: a form with the refresh token and the client."""
        self.start_with(oauth())
        client = self.ask_google()
        self.assertEqual(
            self.tokens.forms[0],
            {
                "grant_type": "refresh_token",
                "refresh_token": "refresh-secret-one",
                "client_id": "client-id",
                "client_secret": "client-secret",
            },
        )
        client.leave()
        self.grant("ya29.secret")

    def test_a_client_that_leaves_before_its_provider_was_asked(self) -> None:
        """It has used nothing, and nothing is estimated."""
        self.start_with(oauth())
        self.ask_google().leave()
        (attempt,) = self.outcome().attempts
        self.assertEqual((attempt.error, attempt.usage), ("client_left", None))
        self.grant("ya29.secret")

    def test_a_token_is_renewed_early(self) -> None:
        """Five minutes before it expires it is no longer used."""
        self.start_with(oauth())
        client = self.ask_google()
        self.grant("ya29.first", expires_in=3600)
        self.assert_answered(client)
        self.advance(3299)
        self.assert_answered(self.ask_google())
        self.assertEqual(len(self.tokens.asked), 1)
        self.advance(1)
        client = self.ask_google()
        self.assertEqual(len(self.tokens.asked), 2)
        self.grant("ya29.second")
        self.assert_answered(client)

    def test_a_short_lived_token_is_used_for_half_its_life(self) -> None:
        """One that lives for less than five minutes is not refreshed for each request."""
        self.start_with(oauth())
        self.ask_google()
        self.grant("ya29.first", expires_in=100)
        self.advance(49)
        self.assert_answered(self.ask_google())
        self.advance(1)
        client = self.ask_google()
        self.assertEqual(len(self.tokens.asked), 2)
        self.grant("ya29.second")
        self.assert_answered(client)

    def test_a_waiter_that_leaves(self) -> None:
        """A client that leaves while the token is awaited leaves the others alone, and is
        recorded."""
        self.start_with(oauth(), oauth("two"))
        first, second, third = (self.ask_google() for _ in range(3))
        self.assertEqual([form["refresh_token"][-3:] for form in self.tokens.forms], ["one", "two"])
        first.leave()
        self.assertFalse(self.tokens.asked[0].aborted)
        self.assertEqual(self.outcome().result, "client_left")
        self.assertEqual([attempt.error for attempt in self.outcome().attempts], ["client_left"])
        for asked in self.tokens.asked:
            asked.respond(b'{"access_token": "ya29.secret", "expires_in": 3599}')
        self.network.flush()
        self.assert_answered(second, third)
        self.assertEqual(self.google.requests, 2)

    def test_a_rotated_refresh_token(self) -> None:
        """Where the old one was replaced, the new one is sent the next time."""
        self.start_with(oauth())
        self.ask_google()
        self.grant("ya29.first", expires_in=1000, refresh_token="refresh-secret-new")
        self.advance(1000)
        client = self.ask_google()
        self.assertEqual(self.tokens.forms[1]["refresh_token"], "refresh-secret-new")
        self.grant("ya29.second")
        self.assert_answered(client)

    def test_an_access_token_alone(self) -> None:
        """It is used as it is, and nothing is refreshed."""
        self.start_with(given())
        self.assert_answered(self.ask_google())
        self.assertEqual(self.tokens.asked, [])


def given(value: str = "ya29.given-secret") -> Account:
    """An account that has an access token and nothing to renew it with."""
    return Account(name="given", access_token=Secret(value), project="project")


class ExpiredTests(OAuthTestCase):
    """A token that the provider refuses before its time. The simulator refuses the token
    ``fault-401``."""

    def test_it_is_renewed_once(self) -> None:
        """The same account is asked again with a fresh token."""
        self.start_with(oauth(), oauth("two"))
        client = self.ask_google()
        self.grant("fault-401")
        self.assertEqual([form["refresh_token"][-3:] for form in self.tokens.forms], ["one", "one"])
        self.grant("ya29.fresh")
        self.assert_answered(client)
        attempts = [(one.account, one.error) for one in self.outcome().attempts]
        self.assertEqual(attempts, [("one", "account_unauthorized"), ("one", None)])

    def test_only_once(self) -> None:
        """When the fresh one is refused as well, the account is set aside and the next one
        asked."""
        self.start_with(oauth(), oauth("two"))
        client = self.ask_google()
        self.grant("fault-401")
        self.grant("fault-401")
        self.assertEqual([form["refresh_token"][-3:] for form in self.tokens.forms], ["one", "one", "two"])
        self.grant("ya29.two")
        self.assert_answered(client)
        self.assert_answered(self.ask_google(), self.ask_google())
        self.assertEqual(len(self.tokens.asked), 3)
        self.assertEqual(self.executor.describe()["antigravity"][0].state, "set_aside")

    def test_nothing_to_renew_it_with(self) -> None:
        """An account that has only an access token is set aside at once."""
        self.start_with(given("fault-401"))
        message = self.assert_error(self.ask_google().answer(), 502, "api_error")
        self.assertIn("client's key is fine", message)
        self.assert_error(self.ask_google().answer(), 502, "api_error")
        self.assertEqual([len(outcome.attempts) for outcome in self.outcomes], [1, 0])


class RevokedTests(OAuthTestCase):
    def test_a_revoked_token(self) -> None:
        """It is an account error: the client gets 502, the operator the remedy in the log, and
        the account is not asked again."""
        self.start_with(oauth())
        client = self.ask_google()
        self.tokens.refuse("invalid_grant")
        self.network.flush()
        message = self.assert_error(client.answer(), 502, "api_error")
        self.assertNotIn("refresh token", message)
        (line,) = [line for line in self.logged if "set aside" in line]
        self.assertIn("antigravity/one", line)
        self.assertIn("sign in again", line)
        self.assert_error(self.ask_google().answer(), 502, "api_error")
        self.assertEqual(len(self.tokens.asked), 1)
        self.assertEqual([outcome.result for outcome in self.outcomes], ["account_unauthorized"] * 2)

    def test_the_next_account_answers(self) -> None:
        """For the client nothing has happened."""
        self.start_with(oauth(), given())
        client = self.ask_google()
        self.tokens.refuse("invalid_grant")
        self.network.flush()
        self.assert_answered(client)

    def test_all_who_waited_are_told(self) -> None:
        """Each waiting request fails by itself, and is one outcome."""
        self.start_with(oauth())
        clients = [self.ask_google() for _ in range(3)]
        self.tokens.refuse("invalid_grant")
        self.network.flush()
        self.assertEqual([client.answer().status for client in clients], [502] * 3)
        self.assertEqual(len(self.outcomes), 3)

    def test_a_token_endpoint_that_fails(self) -> None:
        """That is nobody's credential: the next request asks again."""
        self.start_with(oauth())
        client = self.ask_google()
        self.tokens.asked[-1].respond(b"oops", 500)
        self.network.flush()
        self.assert_error(client.answer(), 502, "api_error")
        client = self.ask_google()
        self.grant("ya29.secret")
        self.assert_answered(client)

    def test_a_token_endpoint_that_is_silent(self) -> None:
        """It has the limits of any provider."""
        self.start_with(oauth())
        client = self.ask_google(stream=False)
        self.advance(60)
        self.assertIn("headers", self.assert_error(client.answer(), 504, "timeout_error"))
        self.assertTrue(self.tokens.asked[0].aborted)


class SecrecyTests(OAuthTestCase):
    def test_nothing_is_logged_or_shown(self) -> None:
        """Neither tokens nor what they are got with, in logs, answers, stats or outcomes."""
        self.start_with(oauth(), oauth("two"))
        clients = [self.ask_google(), self.ask_google()]
        self.tokens.asked[0].respond(b'{"access_token": "fault-401", "expires_in": 3599}')
        self.tokens.refuse("invalid_grant")

        self.network.flush()
        self.grant("ya29.secret")
        shown = "\n".join(
            [
                *self.logged,
                *(client.received.decode() for client in clients),
                self.ask(b"", path="/stats", method="GET").received.decode(),
                str(self.outcomes),
            ]
        )
        for secret in ("ya29.secret", "refresh-secret", "client-secret"):
            self.assertNotIn(secret, shown)

    def test_a_fetched_token_is_masked(self) -> None:
        """A provider that quotes the token does not get it to the client."""
        held = FakeProvider()
        self.network.ports[GOOGLE_PORT].stopListening()
        self.serve(held, GOOGLE_PORT)
        self.start_with(oauth())
        client = self.ask_google()
        self.grant("ya29.secret")
        error = {"error": {"code": 400, "message": "ya29.secret is odd", "status": "INVALID_ARGUMENT"}}
        held.asked[0].respond(msgspec.json.encode(error), 400)
        self.network.flush()
        message = self.assert_error(client.answer(), 400, "invalid_request_error")
        self.assertEqual(message, "*** is odd")


class ProjectTests(OAuthTestCase):
    def test_it_is_discovered(self) -> None:
        """Where none is configured Code Assist is asked, once, and every request names it."""
        self.start_with(oauth(project=""))
        clients = [self.ask_google(), self.ask_google()]
        self.grant("ya29.secret")
        self.assert_answered(*clients, self.ask_google())
        paths = [seen.path for seen in self.google.seen]
        self.assertEqual([path.partition(":")[2] for path in paths].count("loadCodeAssist"), 1)
        bodies: list[Any] = [seen.body for seen in self.google.seen if "stream" in seen.path]
        self.assertEqual([body["project"] for body in bodies], [PROJECT] * 3)

    def test_a_configured_one_is_used(self) -> None:
        """And nothing is asked."""
        self.start_with(given())
        self.ask_google()
        (seen,) = self.google.seen
        body: Any = seen.body
        self.assertEqual(body["project"], "project")


class OnboardingTests(OAuthTestCase):
    onboarded = False

    def test_a_new_account_is_onboarded(self) -> None:
        """Onboarding is asked for again every three seconds until it is done."""
        self.start_with(oauth(project=""))
        client = self.ask_google()
        self.grant("ya29.secret")
        calls = [seen.path.partition(":")[2] for seen in self.google.seen]
        self.assertEqual(calls, ["loadCodeAssist", "onboardUser"])
        self.advance(2.9)
        self.assertEqual(len(self.google.seen), 2)
        self.advance(0.1)
        self.assert_answered(client)
        self.assertEqual(len(self.google.seen), 4)
        self.assertTrue(any("has its project" in line for line in self.logged))

    def test_a_client_that_leaves_meanwhile(self) -> None:
        """The account is onboarded all the same, for the next one."""
        self.start_with(oauth(project=""))
        client = self.ask_google()
        self.grant("ya29.secret")
        client.leave()
        self.advance(3)
        self.assert_answered(self.ask_google())
        self.assertEqual(len(self.google.seen), 4)


class NeverOnboardedTests(OAuthTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network.ports[GOOGLE_PORT].stopListening()
        self.fake = FakeProvider()
        self.serve(self.fake, GOOGLE_PORT)
        self.start_with(oauth(project=""))
        self.waiting = self.ask_google(stream=False)
        self.grant("ya29.secret")

    def respond(self, value: object) -> None:
        self.fake.asked[-1].respond(msgspec.json.encode(value))
        self.network.flush()

    def test_it_is_given_up(self) -> None:
        """After ten times the account is set aside, with the remedy in the log."""
        self.respond({"allowedTiers": [{"id": "free-tier", "isDefault": True}]})
        for _ in range(10):
            self.assertEqual(self.waiting.received, b"")
            self.respond({"name": "operations/x"})
            self.advance(3)
        self.assert_error(self.waiting.answer(), 502, "api_error")

        self.assertEqual(len(self.fake.asked), 11)
        (line,) = [line for line in self.logged if "set aside" in line]
        self.assertIn("set `project`", line)

    def test_an_account_that_may_not(self) -> None:
        """What Google says of an account that is not eligible goes into the log."""
        reason = {"reasonCode": "REGION", "reasonMessage": "Not available in your region."}
        self.respond({"ineligibleTiers": [reason]})
        self.assert_error(self.waiting.answer(), 502, "api_error")
        (line,) = [line for line in self.logged if "set aside" in line]
        self.assertIn("Not available in your region.", line)


class BugTests(GatewayTestCase):
    def sign_in(self, error: Exception) -> Callable[[], Deferred[Credential]]:
        """What signs in anew each time, with a client that raises ``error``."""

        class BrokenUpstream(Upstream):
            async def fetch(self, *call: Any, **more: Any) -> Any:
                raise error

        credentials = Credentials(BrokenUpstream(self.network, Limits()), Timeouts(), self.network)
        return lambda: Deferred.fromCoroutine(
            credentials.of("antigravity", KINDS["antigravity"](None), oauth(), "http://127.0.0.1:1")
        )

    def test_a_fault_of_our_own(self) -> None:
        """A bug in the sign-in is logged once and fails who waits; the next one tries again."""
        sign_in = self.sign_in(ZeroDivisionError())
        for _ in range(2):
            self.failureResultOf(sign_in(), UpstreamFailed)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_file_descriptor_left(self) -> None:
        """That is no bug: who waits is told, and the log is not flooded with tracebacks."""
        sign_in = self.sign_in(Overloaded("no file descriptor left", retry_after=1.0))
        self.failureResultOf(sign_in(), Overloaded)
        self.assertEqual(self.flushLoggedErrors(), [])
