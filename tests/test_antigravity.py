"""Antigravity and the Gemini API as providers: requests, errors, tokens and projects."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.dialects.base import Rendered
from aigateway.errors import (
    AccountExhausted,
    MalformedRequest,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamUnauthorized,
)
from aigateway.events import ChatRequest, Failed, Message, TextBlock, Tool
from aigateway.providers import google
from aigateway.providers.antigravity import (
    Antigravity,
    Discovery,
    discover_request,
    onboard_request,
    parse_discovery,
    parse_onboarding,
)
from aigateway.providers.base import Credential, UpstreamRequest
from aigateway.providers.gemini import Gemini
from aigateway.providers.oauth import parse_token, refresh_request
from aigateway.secret import Secret
from aigateway.sse import SSEDecoder

from .grammar import check_events

FIXTURES = Path(__file__).parent / "fixtures"
NOW = 1_780_000_000.0
HOST = "https://daily-cloudcode-pa.googleapis.com"
CREDENTIAL = Credential(Secret("ya29.token"), "cosmic-project-1")


def fixture(name: str) -> bytes:
    return (FIXTURES / "antigravity" / name).read_bytes()


def chat(*texts: str, **fields: Any) -> ChatRequest:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[n % 2], (TextBlock(text),)) for n, text in enumerate(texts))
    return ChatRequest(dialect="claude", model="m", messages=messages, **fields)


def header(request: UpstreamRequest, name: bytes) -> bytes:
    (value,) = [value for known, value in request.headers if known == name]
    return value


EMPTY = Rendered(b"{}")
KEY = Credential(Secret("AIza"))


class Requests(unittest.TestCase):
    def envelope(self, *texts: str, **fields: Any) -> dict[str, Any]:
        kind = Antigravity(None, lambda: UUID(int=7))
        body = kind.render(chat(*texts, **fields), "models/gemini-3-pro-high", CREDENTIAL, stream=True).body
        envelope = json.loads(body)
        assert isinstance(envelope, dict)
        return envelope

    def test_envelope(self) -> None:
        """The envelope has the keys that Google's own client sends, and no other."""
        shape = json.loads(fixture("agy-cli-stream-request-shape.json"))
        tool = Tool("f", None, {"type": "object", "properties": {"a": {"type": "string"}}})
        envelope = self.envelope("hi", system=(TextBlock("s"),), tools=(tool,), max_tokens=5)
        self.assertEqual(set(envelope), set(shape["envelopeKeys"]))
        self.assertLessEqual(set(envelope["request"]), set(shape["requestKeys"]))
        request = envelope.pop("request")
        self.assertEqual(
            envelope,
            {
                "project": "cosmic-project-1",
                "requestId": "agent-00000000-0000-0000-0000-000000000007",
                "model": "gemini-3-pro-high",
                "userAgent": "antigravity",
                "requestType": "agent",
            },
        )
        self.assertEqual(request["systemInstruction"], {"parts": [{"text": "s"}]})

    def test_request_ids_differ(self) -> None:
        """Two requests have two ids."""
        kind = Antigravity()
        bodies = {kind.render(chat("hi"), "m", CREDENTIAL, stream=True).body for _ in range(2)}
        self.assertEqual(len(bodies), 2)

    def test_session(self) -> None:
        """A conversation keeps its session id as it grows; another one has another."""
        first = self.envelope("hi")["request"]["sessionId"]
        self.assertEqual(self.envelope("hi", "hello", "and?")["request"]["sessionId"], first)
        self.assertNotEqual(self.envelope("hi there")["request"]["sessionId"], first)
        self.assertRegex(first, r"^-[0-9]+$")
        self.assertLess(-int(first), 2**63)

    def test_dropped_fields_are_reported(self) -> None:
        """What the body has no place for comes back with it."""
        rendered = Antigravity().render(chat("hi", user="u"), "m", CREDENTIAL, stream=True)
        self.assertEqual(rendered.dropped, ("metadata.user_id",))
        with self.assertRaises(MalformedRequest):
            Antigravity().render(chat(""), "m", CREDENTIAL, stream=True)

    def test_address_and_authorization(self) -> None:
        """The method is in the path, the token in the header, the client in User-Agent."""
        kind = Antigravity()
        self.assertEqual(kind.base_urls[0], HOST)
        request = kind.request(HOST, "gemini-3-pro", CREDENTIAL, EMPTY, stream=True)
        self.assertEqual(request.url, f"{HOST}/v1internal:streamGenerateContent?alt=sse".encode())
        self.assertEqual(request.method, b"POST")
        self.assertEqual(header(request, b"authorization"), b"Bearer ya29.token")
        self.assertEqual(header(request, b"content-type"), b"application/json")
        self.assertTrue(header(request, b"user-agent").startswith(b"antigravity/"))
        self.assertNotIn("ya29", repr(CREDENTIAL))
        whole = kind.request(HOST, "gemini-3-pro", CREDENTIAL, EMPTY, stream=False)
        self.assertEqual(whole.url, f"{HOST}/v1internal:generateContent".encode())

    def test_gemini_address(self) -> None:
        """The Gemini API has the model in the path, as one segment, and the key in a header."""
        kind = Gemini()
        (base,) = kind.base_urls
        request = kind.request(base, "models/gemini-3-pro", KEY, EMPTY, stream=True)
        self.assertEqual(
            request.url,
            b"https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse",
        )
        self.assertEqual(header(request, b"x-goog-api-key"), b"AIza")
        self.assertNotIn(b"AIza", request.url)
        odd = kind.request(base, "../x?key=y#z\r\n", KEY, EMPTY, stream=False)
        self.assertTrue(odd.url.endswith(b"/v1beta/models/..%2Fx%3Fkey%3Dy%23z%0D%0A:generateContent"))

    def test_gemini_body(self) -> None:
        """The Gemini API gets the bare body."""
        rendered = Gemini().render(chat("hi"), "gemini-3-pro", Credential(Secret("k")), stream=False)
        self.assertEqual(
            json.loads(rendered.body), {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        )


class Answers(unittest.TestCase):
    def test_readers(self) -> None:
        """Each kind makes a fresh reader for each stream, and knows Google's errors in it."""
        for kind in (Antigravity(), Gemini()):
            self.assertIsNot(kind.reader(), kind.reader())
            reader = kind.reader()
            frames = SSEDecoder().feed(fixture("x-error-mid-stream.sse"))
            events = [event for frame in frames for event in reader.feed(frame)]
            check_events(events)
            assert isinstance(events[-1], Failed)
            self.assertIsInstance(events[-1].error, UpstreamBusy)

    def test_whole_answers(self) -> None:
        """A whole answer is read; an error with status 200 is raised."""
        body = (FIXTURES / "gemini/tool-choice-auto.json").read_bytes()
        for kind in (Antigravity(), Gemini()):
            self.assertEqual(kind.parse_reply(body).stop_reason, "tool_use")
            with self.assertRaises(UpstreamBusy):
                kind.parse_reply(fixture("x-error-list.json"))


class Expected(NamedTuple):
    status: int
    error: type[UpstreamError]
    fields: dict[str, object]


ERRORS = {
    "error-400-claude-nested.json": Expected(400, UpstreamRefused, {"status": 400, "code": None}),
    "error-400-generic.json": Expected(400, UpstreamRefused, {"status": 400, "code": None}),
    "error-400-schema.json": Expected(400, UpstreamRefused, {"status": 400}),
    "error-401.json": Expected(401, UpstreamUnauthorized, {"token_expired": True}),
    "error-403-license.json": Expected(403, UpstreamUnauthorized, {"token_expired": False}),
    "error-403-validation.json": Expected(403, UpstreamUnauthorized, {"token_expired": False}),
    "error-429-claude-quota.json": Expected(
        429, UpstreamBusy, {"retry_after": 581981.300432511, "reset": True, "scope": "model"}
    ),
    "error-429-detail-free.json": Expected(
        429, UpstreamBusy, {"retry_after": None, "reset": False, "scope": "model"}
    ),
    "error-429-quota-exhausted-5days.json": Expected(
        429, UpstreamBusy, {"retry_after": 391609.795772632, "reset": True, "scope": "model", "status": 429}
    ),
    "error-429-short.json": Expected(
        429, UpstreamBusy, {"retry_after": 3.957525076, "reset": False, "overloaded": False}
    ),
    "error-503-capacity-retryinfo.json": Expected(
        503, UpstreamBusy, {"retry_after": 39.0, "overloaded": True, "scope": "request", "status": 529}
    ),
    "error-503-capacity.json": Expected(
        503, UpstreamBusy, {"retry_after": None, "overloaded": True, "scope": "request"}
    ),
    "x-error-list.json": Expected(429, UpstreamBusy, {"retry_after": None}),
}
GEMINI_ERRORS = {
    "error-400-key.json": Expected(400, UpstreamUnauthorized, {"token_expired": False}),
    "error-400-vertex-context.json": Expected(400, UpstreamRefused, {"code": "context_length_exceeded"}),
    "error-404-model.json": Expected(404, UpstreamRefused, {"status": 404, "code": "model_not_found"}),
    "error-429-quota.json": Expected(429, UpstreamBusy, {"retry_after": 48.0, "reset": False}),
    "error-429-retryinfo.json": Expected(429, UpstreamBusy, {"retry_after": 34.4}),
}


def error(status: int, body: bytes = b"", **headers: str) -> UpstreamError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Antigravity().parse_error(status, named, body, now=NOW)


def error_body(status: int, message: str, reason: str = "", **metadata: str) -> bytes:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}
    return json.dumps({"error": {"code": status, "message": message, "details": [detail]}}).encode()


class Errors(unittest.TestCase):
    def check(self, folder: str, expected: dict[str, Expected]) -> None:
        for name, (status, kind, fields) in expected.items():
            with self.subTest(name):
                found = error(status, (FIXTURES / folder / name).read_bytes())
                self.assertIs(type(found), kind)
                self.assertEqual({field: getattr(found, field) for field in fields}, fields)
                self.assertEqual(found.provider_status, status)

    def test_recorded(self) -> None:
        """Every recorded error has its class, its waiting time and its scope."""
        names = {path.name for path in (FIXTURES / "antigravity").glob("*error*.json")}
        self.assertEqual(names, set(ERRORS))
        self.check("antigravity", ERRORS)
        self.check("gemini", GEMINI_ERRORS)

    def test_claude_inside(self) -> None:
        """An Anthropic error in Google's message is taken out of it, and its type counts."""
        found = error(400, fixture("error-400-claude-nested.json"))
        self.assertEqual(found.message, "Thinking may not be enabled when tool_choice forces tool use.")
        inner = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        busy = error(400, error_body(400, inner))
        self.assertIsInstance(busy, UpstreamBusy)
        self.assertEqual((busy.status, busy.message), (529, "Overloaded"))

    def test_no_link_reaches_a_client(self) -> None:
        """A link to the account's verification, or any other in a refusal of it, is not told."""
        found = error(403, fixture("error-403-validation.json"))
        self.assertNotIn("http", found.message)
        self.assertIn("verify", found.message)
        for status in (401, 403):
            linked = error(status, error_body(status, "Go to https://accounts.google.com/x?plt=secret now"))
            self.assertEqual(linked.message, "Go to  now")

    def test_reasons(self) -> None:
        """A reason says more than the status."""
        for status, reason, kind in (
            (403, "ACCOUNT_INELIGIBLE", UpstreamUnauthorized),
            (429, "MODEL_CAPACITY_EXHAUSTED", UpstreamBusy),
            (429, "INSUFFICIENT_G1_CREDITS_BALANCE", AccountExhausted),
        ):
            with self.subTest(reason):
                self.assertIs(type(error(status, error_body(status, "m", reason))), kind)
        capacity = error(429, error_body(429, "m", "MODEL_CAPACITY_EXHAUSTED"))
        assert isinstance(capacity, UpstreamBusy)
        self.assertTrue(capacity.overloaded)

    def test_quota_as_400(self) -> None:
        """A 400 that speaks of quota is a busy account, not a bad request."""
        self.assertIsInstance(error(400, error_body(400, "Quota exceeded for this project")), UpstreamBusy)

    def test_waiting_times(self) -> None:
        """Of several times the most exact counts; the header is the last resort."""
        delay = {"quotaResetDelay": "1m0s", "quotaResetTimeStamp": "2026-05-28T20:27:00Z"}
        exhausted = "QUOTA_EXHAUSTED"
        for body, wait in (
            (error_body(429, "retry in 9s", exhausted, **delay), 60.0),
            (
                error_body(429, "retry in 9s", exhausted, quotaResetTimeStamp=delay["quotaResetTimeStamp"]),
                20.0,
            ),
            (error_body(429, "retry in 9s", exhausted), 9.0),
            (error_body(429, "m", exhausted), 7.0),
        ):
            found = error(429, body, retry_after="7")
            assert isinstance(found, UpstreamBusy)
            self.assertEqual((found.retry_after, found.reset), (wait, True))

    def test_soft_limit(self) -> None:
        """A 429 that says nothing names no time, so that another host is tried; one with a
        reason does."""
        for body, wait in (
            (b"", None),
            (b'{"error":{"code":429,"message":"Resource has been exhausted"}}', None),
            (error_body(429, "m", "RATE_LIMIT_EXCEEDED"), google.SHORT_WAIT),
        ):
            self.assertEqual(error(429, body).retry_after, wait)

    def test_long_message(self) -> None:
        """A long message is left whole, since a secret at the cut would escape the masking."""
        message = "x" * 1995 + "AIzaSecretKey" + "y" * 5000
        self.assertEqual(error(400, error_body(400, message)).message, message)
        self.assertEqual(error(400, json.dumps({"error": message}).encode()).message, message)

    def test_statuses_alone(self) -> None:
        """Where the body says nothing the status decides."""
        for body in (b"", b"<html>busy</html>", b"[]", b"null", b'{"error":5}', b"\xff", b"[" * 100_000):
            for status, kind in (
                (302, UpstreamGarbled),
                (400, UpstreamRefused),
                (401, UpstreamUnauthorized),
                (402, AccountExhausted),
                (403, UpstreamUnauthorized),
                (404, UpstreamRefused),
                (408, UpstreamFailed),
                (413, UpstreamRefused),
                (429, UpstreamBusy),
                (500, UpstreamFailed),
                (503, UpstreamBusy),
                (504, UpstreamFailed),
            ):
                with self.subTest(body[:10], status=status):
                    found = error(status, body)
                    self.assertIs(type(found), kind)
                    self.assertIn(str(status), found.message)
        self.assertEqual((error(504).status, error(500).status), (504, 502))

    def test_request_id(self) -> None:
        """The provider's own name for the request is kept for the outcome."""
        found = Antigravity().parse_error(500, {"x-cloudaicompanion-trace-id": "t1"}, b"", now=NOW)
        self.assertEqual(found.provider_request_id, "t1")

    @settings(max_examples=150, deadline=None)
    @given(
        st.integers(100, 599),
        st.recursive(
            st.sampled_from([None, 5, "x", "{", '{"error":{}}', "RetryInfo", 429, -1, True]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["error", "message", "code", "status", "details", "@type", "metadata", "response"]
                    ),
                    inner,
                    max_size=5,
                )
            ),
        ),
    )
    def test_any_body(self, status: int, body: object) -> None:
        """Whatever the body, the answer is an error of the tree; nothing raises."""
        raw = json.dumps(body).encode()
        self.assertIsInstance(error(status, raw), UpstreamError)
        self.assertIsInstance(google.stream_error(raw), UpstreamError)


class Account(NamedTuple):
    refresh_token: Secret | None = Secret("1//refresh&token")
    client_id: str = "id.apps.googleusercontent.com"
    client_secret: Secret | None = Secret("s3cret")
    token_url: str = "https://oauth2.googleapis.com/token"


class Tokens(unittest.TestCase):
    def test_request(self) -> None:
        """A refresh is a form, posted to the account's token endpoint."""
        request = refresh_request(Account())
        self.assertEqual(request.url, b"https://oauth2.googleapis.com/token")
        self.assertEqual(header(request, b"content-type"), b"application/x-www-form-urlencoded")
        self.assertEqual(
            parse_qs(request.body.decode()),
            {
                "grant_type": ["refresh_token"],
                "refresh_token": ["1//refresh&token"],
                "client_id": ["id.apps.googleusercontent.com"],
                "client_secret": ["s3cret"],
            },
        )
        self.assertNotIn(b"client_secret", refresh_request(Account(client_secret=None)).body)

    def test_token(self) -> None:
        """The token comes with its lifetime, and is not printed."""
        token = parse_token(200, b'{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}')
        self.assertEqual(
            (token.token, token.expires_in, token.refresh_token), (Secret("ya29.x"), 3599.0, None)
        )
        self.assertNotIn("ya29", repr(token))
        rotated = parse_token(200, b'{"access_token":"a","expires_in":"60","refresh_token":"r"}')
        self.assertEqual((rotated.expires_in, rotated.refresh_token), (60.0, Secret("r")))
        for odd in (b"-1", b'"soon"', b"null", b'"nan"'):
            self.assertEqual(
                parse_token(200, b'{"access_token":"a","expires_in":%b}' % odd).expires_in, 3599.0
            )

    def test_refusals(self) -> None:
        """A revoked token names the remedy and the account; what may pass is told apart."""
        for status, body, kind in (
            (
                400,
                b'{"error":"invalid_grant","error_description":"Token has been revoked."}',
                UpstreamUnauthorized,
            ),
            (401, b'{"error":"invalid_client"}', UpstreamUnauthorized),
            (400, b'{"error":"invalid_request"}', UpstreamFailed),
            (500, b"<html>", UpstreamFailed),
            (400, b'{"error":{"status":"x"}}', UpstreamFailed),
            (429, b"", UpstreamBusy),
            (200, b"{}", UpstreamGarbled),
            (200, b'{"access_token":5}', UpstreamGarbled),
        ):
            with self.subTest(body), self.assertRaises(kind) as caught:
                parse_token(status, body, "main")
            self.assertEqual(caught.exception.provider_status, status)
            if kind is UpstreamUnauthorized:
                self.assertIn("account main", caught.exception.message)
        with self.assertRaisesRegex(UpstreamUnauthorized, "sign in again and replace refresh_token"):
            parse_token(400, b'{"error":"invalid_grant"}')


class Projects(unittest.TestCase):
    def test_requests(self) -> None:
        """Both requests say who asks; a free tier never names a project."""
        asked = discover_request(HOST, CREDENTIAL)
        self.assertEqual(asked.url, f"{HOST}/v1internal:loadCodeAssist".encode())
        self.assertEqual(json.loads(asked.body), {"metadata": {"ideType": "ANTIGRAVITY"}})
        self.assertEqual(header(asked, b"authorization"), b"Bearer ya29.token")
        free = json.loads(onboard_request(HOST, CREDENTIAL).body)
        self.assertEqual(free, {"tierId": "free-tier", "metadata": {"ideType": "ANTIGRAVITY"}})
        standard = onboard_request(HOST, CREDENTIAL, "standard-tier")
        self.assertEqual(standard.url, f"{HOST}/v1internal:onboardUser".encode())
        self.assertEqual(json.loads(standard.body)["cloudaicompanionProject"], "cosmic-project-1")

    def test_discovery(self) -> None:
        """The project is a string or an object; without one the tier to join is told."""
        for answer, expected in (
            (
                {"cloudaicompanionProject": "p", "currentTier": {"id": "g1-pro-tier"}},
                Discovery("p", "g1-pro-tier"),
            ),
            ({"cloudaicompanionProject": {"id": "p"}}, Discovery("p", None)),
            (
                {"allowedTiers": [{"id": "a"}, {"id": "b", "isDefault": True}], "paidTier": {"id": "x"}},
                Discovery(None, "b"),
            ),
            ({"cloudaicompanionProject": ""}, Discovery(None, None)),
            (
                {"ineligibleTiers": [{"reasonCode": "R", "reasonMessage": "Not here. See https://x/y"}]},
                Discovery(None, None, "Not here. See"),
            ),
        ):
            with self.subTest(answer):
                self.assertEqual(parse_discovery(200, {}, json.dumps(answer).encode()), expected)

    def test_onboarding(self) -> None:
        """None until the operation is done; then the project, or what went wrong."""
        self.assertIsNone(parse_onboarding(200, {}, b'{"name":"operations/1"}'))
        self.assertIsNone(parse_onboarding(200, {}, b'{"name":"operations/1","done":false}'))
        done = b'{"done":true,"response":{"cloudaicompanionProject":{"id":"p","name":"n"}}}'
        self.assertEqual(parse_onboarding(200, {}, done), "p")
        with self.assertRaises(UpstreamGarbled):
            parse_onboarding(200, {}, b'{"done":true,"response":{}}')
        with self.assertRaises(UpstreamUnauthorized):
            parse_onboarding(200, {}, b'{"done":true,"error":{"code":403,"message":"no"}}')

    def test_errors(self) -> None:
        """Errors are Google's, as everywhere; what is no JSON is garbled."""
        with self.assertRaises(UpstreamUnauthorized) as caught:
            parse_discovery(401, {}, fixture("error-401.json"))
        self.assertTrue(caught.exception.token_expired)
        with self.assertRaises(UpstreamUnauthorized):
            parse_onboarding(403, {}, fixture("error-403-validation.json"))
        for body in (b"", b"<html>", b"[]", b'{"cloudaicompanionProject":5}'):
            with self.subTest(body), self.assertRaises(UpstreamGarbled):
                parse_discovery(200, {}, body)
        with self.assertRaises(UpstreamGarbled):
            parse_onboarding(200, {}, b"[]")
