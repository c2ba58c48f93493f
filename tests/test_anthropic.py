from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigateway.config import Account, Provider
from aigateway.dialects import DIALECTS
from aigateway.dialects.base import Rendered
from aigateway.errors import (
    AccountExhausted,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamUnauthorized,
)
from aigateway.events import ChatRequest
from aigateway.providers import KINDS
from aigateway.providers.anthropic import Anthropic
from aigateway.providers.base import Credential, UpstreamRequest
from aigateway.providers.glm import GLM
from aigateway.providers.glm_claude import GLMClaude
from aigateway.secret import Secret

from .recordings import FIXTURES, answering, ask

BASE = "https://api.anthropic.com/v1"
NOW = 1788220800.0  # 2026-09-01T00:00:00Z
KEY, TOKEN = Credential(Secret("sk-ant-api03-x")), Credential(Secret("sk-ant-oat01-x"))
MODEL = "claude-haiku-4-5"


def request(
    credential: Credential = KEY, kind: Anthropic | None = None, *, stream: bool = True, **headers: str
) -> UpstreamRequest:
    given = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    rendered = Rendered(b"{}", headers=given)
    return (kind or Anthropic()).request(BASE, MODEL, credential, rendered, stream=stream)


def sent(call: UpstreamRequest) -> dict[str, str]:
    """The headers of ``call`` by lower-case name; none stands there twice."""
    found = {name.decode().lower(): value.decode() for name, value in call.headers}
    assert len(found) == len(call.headers)
    return found


class RequestTests(SynchronousTestCase):
    """Where a request goes, and what goes with it."""

    def test_key(self) -> None:
        """An API key goes in x-api-key, with the version that the API wants."""
        call = request()
        self.assertEqual((call.method, call.url), (b"POST", b"https://api.anthropic.com/v1/messages"))
        headers = sent(call)
        self.assertTrue(headers.pop("user-agent").startswith("aigateway/"))
        self.assertEqual(
            headers,
            {
                "x-api-key": "sk-ant-api03-x",
                "anthropic-version": "2023-06-01",
                "content-type": "application/json",
                "accept": "text/event-stream",
            },
        )
        self.assertEqual(sent(request(stream=False))["accept"], "application/json")

    def test_access_token(self) -> None:
        """A subscription's access token goes as Bearer, with the beta that it needs, once."""
        headers = sent(request(TOKEN))
        self.assertEqual(headers["authorization"], "Bearer sk-ant-oat01-x")
        self.assertNotIn("x-api-key", headers)
        self.assertEqual(headers["anthropic-beta"], "oauth-2025-04-20")
        both = sent(request(TOKEN, anthropic_beta="a-1, b-2"))["anthropic-beta"]
        self.assertEqual(both, "a-1, b-2,oauth-2025-04-20")
        self.assertEqual(sent(request(TOKEN, anthropic_beta=both))["anthropic-beta"], both)

    def test_client_headers(self) -> None:
        """The client's version and betas go on byte for byte."""
        headers = sent(request(anthropic_version="2023-01-01", anthropic_beta="a-1,  b-2"))
        self.assertEqual(headers["anthropic-version"], "2023-01-01")
        self.assertEqual(headers["anthropic-beta"], "a-1,  b-2")

    def test_bodies(self) -> None:
        """A Claude client's body goes on as it came, any other is made anew."""
        raw = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"new":1}'
        kept = Anthropic().render(DIALECTS["claude"].parse_request(raw), MODEL, KEY, stream=False)
        self.assertTrue(kept.kept)
        self.assertEqual(json.loads(kept.body), {**json.loads(raw), "model": MODEL})
        self.assertFalse(Anthropic().render(ask("openai"), MODEL, KEY, stream=False).kept)

    def test_family(self) -> None:
        """Claude's models take back what Claude signed, whatever host they are named by."""
        self.assertEqual(Anthropic().family(MODEL), "claude")
        self.assertEqual(Anthropic().family("kimi-k2"), "")

    def test_whole_answers(self) -> None:
        """A whole answer goes on as it came to a client whose body did; to others it is rendered."""
        body = (FIXTURES / "anthropic" / "cache-read.json").read_bytes()
        kind = Anthropic()
        reply = kind.parse_reply(body)
        self.assertEqual(kind.pass_reply(body, reply, answering(ask("claude"), kept=True)), body)
        self.assertIsNone(kind.pass_reply(body, reply, answering(ask("openai"))))


class CountTests(SynchronousTestCase):
    """Counting the tokens of a prompt."""

    def count(self, chat: ChatRequest) -> dict[str, Any]:
        call = Anthropic().count(BASE, MODEL, KEY, chat)
        assert call is not None
        self.assertEqual(call.url, b"https://api.anthropic.com/v1/messages/count_tokens")
        self.assertEqual(sent(call)["x-api-key"], "sk-ant-api03-x")
        body: dict[str, Any] = json.loads(call.body)
        return body

    def test_bodies(self) -> None:
        """What is asked is the prompt alone: what only an answer takes is left out."""
        raw = {
            "model": "m",
            "max_tokens": 5,
            "stream": True,
            "temperature": 0.5,
            "metadata": {"user_id": "u"},
            "stop_sequences": ["x"],
            "system": "Be kind",
            "messages": [{"role": "user", "content": "Hi"}],
            "thinking": {"type": "adaptive"},
        }
        body = self.count(DIALECTS["claude"].parse_request(json.dumps(raw).encode()))
        self.assertEqual(set(body), {"model", "system", "messages", "thinking"})
        self.assertEqual(body["model"], MODEL)
        other = self.count(ask("openai", temperature=0.5, stop=("x",), user="u", service_tier="auto"))
        self.assertEqual(set(other), {"model", "messages"})

    def test_answers(self) -> None:
        """The count is read; what is none is garbled."""
        self.assertEqual(Anthropic().parse_count(b'{"input_tokens":42,"more":1}'), 42)
        for body in (b"{}", b"<html>", b'{"input_tokens":"many"}'):
            self.assertRaises(UpstreamGarbled, Anthropic().parse_count, body)


def parse(
    status: int, body: bytes | dict[str, Any], kind: Anthropic | None = None, **headers: Any
) -> UpstreamError:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps({"type": "error", "error": body}).encode()
    error = (kind or Anthropic()).parse_error(status, given, data, now=NOW)
    assert error.message
    assert error.provider_status == status
    return error


def told(message: str, type: str = "invalid_request_error") -> dict[str, Any]:
    return {"type": type, "message": message}


class ErrorTests(SynchronousTestCase):
    """What an error means."""

    def check(self, error: UpstreamError, kind: type[UpstreamError], **fields: Any) -> None:
        self.assertIs(type(error), kind)
        self.assertEqual({name: getattr(error, name) for name in fields}, fields)

    def recorded(self, status: int, name: str, **headers: Any) -> UpstreamError:
        return parse(status, (FIXTURES / "anthropic" / name).read_bytes(), **headers)

    def test_recorded(self) -> None:
        """Each recorded error is of its class."""
        self.check(self.recorded(401, "error-401.json"), UpstreamUnauthorized, scope="account")
        self.check(
            self.recorded(400, "error-400-context.json"),
            UpstreamRefused,
            status=400,
            code="context_length_exceeded",
        )
        self.check(self.recorded(400, "error-400-effort.json"), UpstreamRefused, status=400, code=None)
        for name in ("error-404-model.json", "error-404-count-tokens.json"):
            self.check(self.recorded(404, name), UpstreamRefused, status=404, code="model_not_found")
        self.check(self.recorded(529, "error-529.json"), UpstreamBusy, overloaded=True, scope="request")
        self.check(
            self.recorded(429, "error-429.json", retry_after="12"),
            UpstreamBusy,
            overloaded=False,
            retry_after=12.0,
            scope="model",
            reset=False,
        )

    def test_waiting(self) -> None:
        """Without retry-after, the limit that is used up says when it is filled again."""
        wait = self.recorded(
            429,
            "error-429.json",
            anthropic_ratelimit_requests_remaining="7",
            anthropic_ratelimit_requests_reset="2026-09-01T00:10:00Z",
            anthropic_ratelimit_input_tokens_remaining="0",
            anthropic_ratelimit_input_tokens_reset="2026-09-01T00:00:12Z",
        ).retry_after
        self.assertEqual(wait, 12.0)
        self.assertIsNone(self.recorded(429, "error-429.json").retry_after)

    def test_subscriptions(self) -> None:
        """A subscription that is used up rests until its stated reset: for all models, or for those
        that its limit is about."""
        until = str(int(NOW) + 7200)
        headers = {
            "anthropic_ratelimit_unified_status": "rejected",
            "anthropic_ratelimit_unified_reset": until,
        }
        limit = told("You have exceeded your account's rate limit.", "rate_limit_error")
        for claim, scope in (("five_hour", "account"), ("seven_day", "account"), ("seven_day_opus", "model")):
            error = parse(429, limit, None, anthropic_ratelimit_unified_representative_claim=claim, **headers)
            self.check(error, UpstreamBusy, retry_after=7200.0, reset=True, scope=scope)
        allowed: dict[str, Any] = headers | {"anthropic_ratelimit_unified_status": "allowed"}
        self.check(parse(429, limit, retry_after="3", **allowed), UpstreamBusy, retry_after=3.0, reset=False)
        odd: dict[str, Any] = headers | {"anthropic_ratelimit_unified_reset": "soon"}
        self.check(parse(429, limit, **odd), UpstreamBusy, retry_after=None, reset=False)

    def test_one_request(self) -> None:
        """A limit on long contexts is about this request: no account rests for it."""
        error = parse(429, told("Extra usage is required for long context requests.", "rate_limit_error"))
        self.check(error, UpstreamBusy, scope="request")

    def test_accounts(self) -> None:
        """An account without credit or beyond its own limit is exhausted, a closed one is set aside;
        a 403 may be about the model alone."""
        credit = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing"
        self.check(parse(400, told(credit)), AccountExhausted, status=402, retry_after=None)
        limit = (
            "You have reached your specified API usage limits. "
            "You will regain access on 2026-09-02 at 00:00 UTC."
        )
        self.check(parse(400, told(limit)), AccountExhausted, retry_after=86_400.0)
        self.check(parse(402, told("Pay", "billing_error")), AccountExhausted, status=402)
        closed = parse(400, told("This organization has been disabled."))
        self.check(closed, UpstreamUnauthorized, scope="account")
        self.check(parse(403, told("No", "permission_error")), UpstreamUnauthorized, scope="model")

    def test_other_statuses(self) -> None:
        """Faults, redirects, pages of HTML and what is too large are what their status says."""
        self.check(parse(500, told("Oops", "api_error")), UpstreamFailed, status=502)
        self.check(parse(504, told("Slow", "timeout_error")), UpstreamFailed, status=504)
        self.check(parse(413, told("Big", "request_too_large")), UpstreamRefused, status=413)
        self.check(parse(502, b"<html>bad gateway</html>"), UpstreamFailed)
        self.check(parse(503, b""), UpstreamBusy, overloaded=True)
        self.check(parse(302, b""), UpstreamGarbled)
        self.check(parse(400, b'{"error":"plain words"}'), UpstreamRefused, message="plain words")
        long = "input length and `max_tokens` exceed context limit: 1 + 2 > 3"
        self.check(parse(400, told(long)), UpstreamRefused, code="context_length_exceeded")

    def test_in_a_stream(self) -> None:
        """An error in a stream has the class of the status that its type stands for."""
        for name, kind in (
            ("overloaded_error", UpstreamBusy),
            ("rate_limit_error", UpstreamBusy),
            ("api_error", UpstreamFailed),
            ("invalid_request_error", UpstreamRefused),
            ("authentication_error", UpstreamUnauthorized),
            ("brand_new_error", UpstreamFailed),
        ):
            body = json.dumps({"type": "error", "error": told("x", name)}).encode()
            self.assertIs(type(Anthropic().classify(body)), kind)
        self.check(Anthropic().classify(b"{}"), UpstreamGarbled)


def glm(dialect: str) -> Provider:
    return Provider(name="glm", kind="glm", accounts=(Account(name="a"),), dialect=dialect)


class GLMTests(SynchronousTestCase):
    """GLM by its Claude form."""

    def test_configured(self) -> None:
        """The configuration says which of its dialects GLM is spoken to in; Chat Completions unless it
        says otherwise."""
        self.assertIsInstance(KINDS["glm"](glm("claude")), GLMClaude)
        for config in (None, glm(""), glm("openai")):
            self.assertIsInstance(KINDS["glm"](config), GLM)
        kind = KINDS["glm"](glm("claude"))
        self.assertEqual((kind.name, kind.dialect), ("glm", "claude"))
        self.assertEqual(kind.base_urls, ("https://api.z.ai/api/anthropic/v1",))

    def test_request(self) -> None:
        """Its key goes as Bearer; nobody's signatures are kept for it."""
        headers = sent(request(KEY, GLMClaude()))
        self.assertEqual(headers["authorization"], "Bearer sk-ant-api03-x")
        self.assertNotIn("x-api-key", headers)
        self.assertEqual(GLMClaude().family("glm-4.7"), "")

    def test_codes(self) -> None:
        """GLM's codes mean in a Claude error what they mean elsewhere, in its type or its code;
        errors without one are read as Anthropic's."""
        kind = GLMClaude()
        empty = {"type": "1113", "message": "Insufficient balance or no resource package. Please recharge."}
        self.assertIsInstance(parse(429, empty, kind), AccountExhausted)
        window = {
            "code": "1308",
            "message": "Usage limit reached. Your limit will reset at 2026-09-01 12:00:00",
        }
        error = parse(429, window, kind)
        self.assertIsInstance(error, AccountExhausted)
        self.assertEqual(error.retry_after, 4 * 3600.0)
        rate = parse(429, {"type": "1302", "message": "Rate limit"}, kind, retry_after="5")
        self.assertEqual((type(rate), rate.retry_after), (UpstreamBusy, 5.0))
        self.assertIsInstance(parse(529, told("Overloaded", "overloaded_error"), kind), UpstreamBusy)
        refused = kind.classify(
            b'{"type":"error","error":{"type":"1261","message":"Prompt exceeds max length"}}'
        )
        self.assertEqual(refused.code, "context_length_exceeded")
