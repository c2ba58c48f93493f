"""Each provider's errors, told to each dialect's clients: before the first byte, and in a stream.

What an error means stands once, in `MEANINGS`: what each dialect says for it, and what its official
SDK then raises. `RECORDED` says what each recorded error means; the SDKs are asked what they raise.
"""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import httpx2
import openai
from google import genai
from google.genai import types
from google.genai.errors import APIError, ClientError, ServerError

from aigateway.check import Answer, check
from aigateway.dialects import DIALECTS
from aigateway.errors import UpstreamError
from aigateway.providers import KINDS
from aigateway.providers.base import Kind
from aigateway.providers.glm_claude import GLMClaude
from aigateway.providers.openai import OpenAI
from aigateway.providers.openai_responses import OpenAIResponses
from aigateway.translate import Stream

from .recordings import FIXTURES, answering, ask

NOW = 1788220800.0  # 2026-09-01T00:00:00Z, which some of the recordings count from
OWN = {"anthropic": "claude", "openai": "openai", "compat": "openai", "gemini": "gemini"}
"""The dialect in which a provider's own SDK would have met its errors."""
OUR_ACCOUNT = "our account"


class Meaning(NamedTuple):
    """How an error is told, as far as it does not depend on the single one: status and type; status,
    type and code (``*`` is the provider's own); status and Google's word. And what is raised."""

    claude: str
    openai: str
    gemini: str
    anthropic_raises: type[Exception]
    openai_raises: type[Exception]
    google_raises: type[Exception]

    def told(self, dialect: str) -> str:
        return {"claude": self.claude, "gemini": self.gemini}.get(dialect, self.openai)

    def raises(self, dialect: str) -> type[Exception]:
        return {"claude": self.anthropic_raises, "gemini": self.google_raises}.get(
            dialect, self.openai_raises
        )


MEANINGS = {
    "wrong": Meaning(
        *("400 invalid_request_error", "400 invalid_request_error *", "400 INVALID_ARGUMENT"),
        *(anthropic.BadRequestError, openai.BadRequestError, ClientError),
    ),
    "too long": Meaning(
        "400 invalid_request_error",
        "400 invalid_request_error context_length_exceeded",
        "400 INVALID_ARGUMENT",
        *(anthropic.BadRequestError, openai.BadRequestError, ClientError),
    ),
    "unsafe": Meaning(
        *("400 invalid_request_error", "400 invalid_request_error content_filter", "400 INVALID_ARGUMENT"),
        *(anthropic.BadRequestError, openai.BadRequestError, ClientError),
    ),
    "no such model": Meaning(
        *("404 not_found_error", "404 invalid_request_error model_not_found", "404 NOT_FOUND"),
        *(anthropic.NotFoundError, openai.NotFoundError, ClientError),
    ),
    "conflict": Meaning(
        *("409 conflict_error", "409 invalid_request_error *", "409 ABORTED"),
        *(anthropic.ConflictError, openai.ConflictError, ClientError),
    ),
    "too large": Meaning(
        *("413 request_too_large", "413 invalid_request_error *", "413 INVALID_ARGUMENT"),
        *(anthropic.RequestTooLargeError, openai.APIStatusError, ClientError),
    ),
    "too fast": Meaning(
        *("429 rate_limit_error", "429 rate_limit_exceeded rate_limit_exceeded", "429 RESOURCE_EXHAUSTED"),
        *(anthropic.RateLimitError, openai.RateLimitError, ClientError),
    ),
    "used up": Meaning(
        *("429 rate_limit_error", "429 insufficient_quota insufficient_quota", "429 RESOURCE_EXHAUSTED"),
        *(anthropic.RateLimitError, openai.RateLimitError, ClientError),
    ),
    "no money": Meaning(
        *("402 billing_error", "429 insufficient_quota insufficient_quota", "429 RESOURCE_EXHAUSTED"),
        *(anthropic.PaymentRequiredError, openai.RateLimitError, ClientError),
    ),
    "overloaded": Meaning(
        *("529 overloaded_error", "503 server_error *", "503 UNAVAILABLE"),
        *(anthropic.OverloadedError, openai.InternalServerError, ServerError),
    ),
    "failed": Meaning(
        *("502 api_error", "502 server_error *", "500 INTERNAL"),
        *(anthropic.InternalServerError, openai.InternalServerError, ServerError),
    ),
    "timed out": Meaning(
        *("504 timeout_error", "504 timeout timeout", "504 DEADLINE_EXCEEDED"),
        *(anthropic.GatewayTimeoutError, openai.InternalServerError, ServerError),
    ),
    # The client's key is fine, so no 401 and no 403.
    OUR_ACCOUNT: Meaning(
        *("502 api_error", "502 server_error *", "502 INTERNAL"),
        *(anthropic.InternalServerError, openai.InternalServerError, ServerError),
    ),
}


class Means(NamedTuple):
    """What one error means: ``code`` is the provider's own, where it goes on; ``again`` is what the
    client is told of trying again: nothing, a number of seconds, or never. ``headers`` came with it."""

    meaning: str
    again: str = ""
    code: str = "None"
    headers: dict[str, str] = {}


RECORDED = {
    "openai/error-400-audio": Means("wrong", code="invalid_value"),
    "openai/error-400-context": Means("too long"),
    "openai/error-400-developer-role": Means("wrong", code="unsupported_value"),
    "openai/error-400-max-tokens-on-reasoning-model": Means("wrong", code="unsupported_parameter"),
    "openai/error-400-system-role": Means("wrong", code="unsupported_value"),
    "openai/error-400-web-search": Means("wrong"),
    "openai/error-401": Means(OUR_ACCOUNT),
    "openai/error-401-azure": Means(OUR_ACCOUNT),
    "openai/error-404-model": Means("no such model"),
    "openai/error-429-azure": Means("too fast", "1", headers={"retry-after": "1", "retry-after-ms": "0"}),
    "openai/error-429-quota": Means("no money", "never"),
    "openai/error-429-rate": Means("too fast", "20"),
    "responses/error-400": Means("wrong", code="decimal_below_min_value"),
    "compat/deepseek-error-400-context": Means("too long"),
    "compat/deepseek-error-401": Means(OUR_ACCOUNT),
    "compat/groq-error-400-tool-use-failed": Means("wrong", code="tool_use_failed"),
    "compat/mistral-error-401": Means(OUR_ACCOUNT),
    "compat/ollama-error-400-context": Means("too long"),
    "compat/ollama-error-401": Means(OUR_ACCOUNT),
    "compat/openrouter-error-400-context": Means("too long"),
    "compat/openrouter-error-401": Means(OUR_ACCOUNT),
    "compat/openrouter-error-429": Means("too fast", "1"),
    "compat/perplexity-error-401": Means(OUR_ACCOUNT),
    "glm/error-400-1210": Means("wrong", code="1210"),
    "glm/error-400-1211": Means("no such model"),
    "glm/error-400-1261": Means("too long"),
    "glm/error-400-1301": Means("unsafe"),
    "glm/error-401-1001": Means(OUR_ACCOUNT),
    "glm/error-429-1113": Means("no money", "never"),
    "glm/error-429-1302": Means("too fast", "1"),
    "glm/error-429-1305": Means("overloaded", "1"),
    "glm/error-429-1308": Means("used up", "never"),  # for four hours
    "glm/error-429-1310": Means("used up", "never"),  # for days
    "antigravity/error-400-claude-nested": Means("wrong"),
    "antigravity/error-400-generic": Means("wrong"),
    "antigravity/error-400-schema": Means("wrong"),
    "antigravity/error-401": Means(OUR_ACCOUNT),
    "antigravity/error-403-license": Means(OUR_ACCOUNT),
    "antigravity/error-403-validation": Means(OUR_ACCOUNT),
    "antigravity/error-429-claude-quota": Means("too fast", "never"),  # for a week
    "antigravity/error-429-detail-free": Means("too fast", "1"),
    "antigravity/error-429-quota-exhausted-5days": Means("too fast", "never"),
    "antigravity/error-429-short": Means("too fast", "4"),
    "antigravity/error-503-capacity": Means("overloaded", "1"),
    "antigravity/error-503-capacity-retryinfo": Means("overloaded", "39"),
    "gemini/error-400-key": Means(OUR_ACCOUNT),
    "gemini/error-400-vertex-context": Means("too long"),
    "gemini/error-400-vertex-url": Means("wrong"),
    "gemini/error-404-model": Means("no such model"),
    "gemini/error-429-quota": Means("too fast", "48"),
    "gemini/error-429-retryinfo": Means("too fast", "35"),
    "anthropic/error-400-context": Means("too long"),
    "anthropic/error-400-effort": Means("wrong"),
    "anthropic/error-401": Means(OUR_ACCOUNT),
    "anthropic/error-404-count-tokens": Means("no such model"),
    "anthropic/error-404-model": Means("no such model"),
    "anthropic/error-429": Means("too fast", "12", headers={"retry-after": "12"}),
    "anthropic/error-529": Means("overloaded", "1"),
}

# What a status means by itself: of a page of HTML, or of an empty body.
STATUSES = {
    400: Means("wrong"),
    401: Means(OUR_ACCOUNT),
    402: Means("no money", "never"),
    403: Means(OUR_ACCOUNT),
    404: Means("no such model"),
    408: Means("timed out"),
    409: Means("conflict"),
    413: Means("too large"),
    422: Means("wrong"),
    429: Means("too fast", "1"),
    500: Means("failed"),
    502: Means("failed"),
    503: Means("overloaded", "1"),
    504: Means("timed out"),
    529: Means("overloaded", "1"),
}


class Told(NamedTuple):
    """An answer as the client gets it."""

    status: int
    headers: dict[str, str]
    body: bytes


def kind_of(folder: str) -> Kind:
    return KINDS[{"compat": "openai", "responses": "openai"}.get(folder, folder)](None)


def recorded(name: str) -> tuple[int, bytes]:
    """The status and the body of a recorded error."""
    return int(name.partition("error-")[2][:3]), (FIXTURES / f"{name}.json").read_bytes()


def through(dialect: str, error: UpstreamError) -> Told:
    answer = DIALECTS[dialect].render_error(error, "req_1")
    return Told(answer.status, dict(answer.headers), answer.body)


def in_words(dialect: str, answer: Told) -> str:
    """``answer`` as `Meaning` writes it."""
    error = json.loads(answer.body)["error"]
    if dialect == "gemini":
        assert error["code"] == answer.status
        return f"{answer.status} {error['status']}"
    code = "" if dialect == "claude" else f" {error['code']}"
    return f"{answer.status} {error['type']}{code}"


class Matrix(unittest.TestCase):
    """Before the first byte: a status, headers, a body."""

    def check(self, error: UpstreamError, means: Means) -> None:
        for dialect in DIALECTS:
            with self.subTest(dialect=dialect):
                answer = through(dialect, error)
                expected = MEANINGS[means.meaning].told(dialect).replace("*", means.code)
                self.assertEqual(in_words(dialect, answer), expected)
                headers = {"": {}, "never": {"x-should-retry": "false"}}
                self.assertEqual(answer.headers, headers.get(means.again, {"retry-after": means.again}))

    def test_every_one_is_here(self) -> None:
        """No recorded error is without an expectation."""
        found = {
            f"{path.parent.name}/{path.stem}"
            for path in FIXTURES.glob("*/*error-[345]*.json")
            if not path.name.endswith(".request.json")
        }
        self.assertEqual(found, set(RECORDED))

    def test_recorded(self) -> None:
        """Each recorded error has in each dialect the status, type, code and headers of what it means."""
        for name, means in RECORDED.items():
            with self.subTest(name):
                status, body = recorded(name)
                kind = kind_of(name.partition("/")[0])
                self.check(kind.parse_error(status, means.headers, body, now=NOW), means)

    def test_statuses(self) -> None:
        """A status without a readable body has the same meaning whosever it is."""
        for name, make in KINDS.items():
            for status, means in STATUSES.items():
                for body in (b"", b"<html><body>Bad Gateway</body></html>"):
                    with self.subTest(name, status=status, body=body):
                        self.check(make(None).parse_error(status, {}, body, now=NOW), means)

    def test_glm_in_claude_form(self) -> None:
        """GLM's codes mean the same by its Claude form."""
        for name, means in RECORDED.items():
            if name.startswith("glm/"):
                with self.subTest(name):
                    status, body = recorded(name)
                    told = json.loads(body)["error"]
                    error = {"type": told["code"], "message": told["message"]}
                    body = json.dumps({"type": "error", "error": error}).encode()
                    self.check(GLMClaude().parse_error(status, means.headers, body, now=NOW), means)

    def test_message(self) -> None:
        """What a provider says of a request goes on to the client, whatever its dialect."""
        for name, means in RECORDED.items():
            if means.meaning not in (OUR_ACCOUNT, "too long"):
                with self.subTest(name):
                    status, body = recorded(name)
                    error = kind_of(name.partition("/")[0]).parse_error(status, {}, body, now=NOW)
                    for dialect in DIALECTS:
                        message = json.loads(through(dialect, error).body)["error"]["message"]
                        self.assertTrue(message.startswith(error.message), message)
                        self.assertIn(error.message[:20], body.decode().replace('\\"', '"'))


# ------------------------------------------------------------------------- the SDKs


class Clients:
    """The official SDKs, answered without a socket; ``asked`` counts their requests."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = Told(200, {}, b"")
        http = httpx2.Client(transport=httpx2.MockTransport(self._respond))
        base = "http://gateway"
        self._claude = anthropic.Anthropic(api_key="k", base_url=base, http_client=http)
        self._openai = openai.OpenAI(api_key="k", base_url=base, http_client=http)
        self._google = genai.Client(
            api_key="k", http_options=types.HttpOptions(base_url=base, httpx_client=http)
        )

    def raised(self, dialect: str, answer: Told, *, stream: bool = False, retries: int = 0) -> Exception | None:
        """What the SDK of ``dialect`` raises for ``answer``."""
        self.answer, self.asked = answer, 0
        try:
            for _ in self._asks()[dialect](stream, retries):
                pass
        except (anthropic.APIError, openai.APIError, APIError) as error:
            return error
        return None

    def _asks(self) -> dict[str, Callable[[bool, int], Any]]:
        hello: Any = [{"role": "user", "content": "Hi"}]
        claude, gpt, google = self._claude, self._openai, self._google
        return {
            "claude": lambda stream, retries: claude.with_options(max_retries=retries).messages.create(
                model="m", max_tokens=9, messages=hello, stream=stream
            ),
            "openai": lambda stream, retries: gpt.with_options(max_retries=retries).chat.completions.create(
                model="m", messages=hello, stream=stream
            ),
            "responses": lambda stream, retries: gpt.with_options(max_retries=retries).responses.create(
                model="m", input="Hi", stream=stream
            ),
            "gemini": lambda stream, retries: (
                google.models.generate_content_stream(model="m", contents="Hi")
                if stream
                else google.models.generate_content(model="m", contents="Hi")
            ),
        }

    def _respond(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        status, headers, body = self.answer
        media = "text/event-stream" if status == 200 else "application/json"
        return httpx2.Response(status, headers={"content-type": media, **headers}, content=body)


class Raised(unittest.TestCase):
    """What the official SDKs raise."""

    clients: Clients

    @classmethod
    def setUpClass(cls) -> None:
        cls.clients = Clients()

    def test_by_meaning(self) -> None:
        """Each recorded error is raised as the SDK's own class for what it means."""
        for name, means in RECORDED.items():
            status, body = recorded(name)
            error = kind_of(name.partition("/")[0]).parse_error(status, means.headers, body, now=NOW)
            for dialect in DIALECTS:
                with self.subTest(name, dialect=dialect):
                    raised = self.clients.raised(dialect, through(dialect, error))
                    self.assertIs(type(raised), MEANINGS[means.meaning].raises(dialect))

    def test_as_directly(self) -> None:
        """A provider's error is raised in its own SDK as if nobody stood between; but for a credential,
        which is the gateway's."""
        for name, means in RECORDED.items():
            folder = name.partition("/")[0]
            if folder not in OWN or means.meaning == OUR_ACCOUNT:
                continue
            with self.subTest(name):
                status, body = recorded(name)
                self.same(folder, Told(status, means.headers, body))

    def test_statuses_as_directly(self) -> None:
        """So too each status that a provider documents."""
        # Anthropic's "Errors", OpenAI's "Error codes", the Gemini API's "Troubleshooting guide"
        for folder, statuses in (
            ("anthropic", (400, 402, 404, 409, 413, 429, 500, 504, 529)),
            ("openai", (400, 404, 409, 429, 500, 503)),
            ("gemini", (400, 404, 429, 500, 503, 504)),
        ):
            for status in statuses:
                with self.subTest(folder, status=status):
                    self.same(folder, Told(status, {}, b"{}"))

    def same(self, folder: str, sent: Told) -> None:
        dialect = OWN[folder]
        directly = self.clients.raised(dialect, sent)
        error = kind_of(folder).parse_error(sent.status, sent.headers, sent.body, now=NOW)
        raised = self.clients.raised(dialect, through(dialect, error))
        self.assertIsNotNone(directly)
        self.assertIs(type(raised), type(directly))
        if isinstance(directly, APIError) and isinstance(raised, APIError):
            self.assertEqual(raised.code, directly.code)
            self.assertEqual(raised.status, directly.status or raised.status)
            self.assertEqual(raised.message, directly.message or raised.message)

    def test_never(self) -> None:
        """An SDK that would try again by itself does not where no wait of its own would help."""
        for name, means in RECORDED.items():
            if means.again != "never":
                continue
            status, body = recorded(name)
            error = kind_of(name.partition("/")[0]).parse_error(status, means.headers, body, now=NOW)
            for dialect in ("claude", "openai", "responses"):
                with self.subTest(name, dialect=dialect):
                    self.clients.raised(dialect, through(dialect, error), retries=2)
                    self.assertEqual(self.clients.asked, 1)


# -------------------------------------------------------------------------- streams


class Fault(NamedTuple):
    """A stream that fails: whose it is, what it says before, and the failure in the provider's form."""

    kind: Kind
    said: bytes
    error: bytes
    means: Means


def split(path: str) -> tuple[bytes, bytes]:
    """A recorded stream in two: up to its last event, and that event; the end marker is left out."""
    data = (FIXTURES / path).read_bytes()
    blank = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
    frames = [frame + blank for frame in data.split(blank) if frame.strip() and b"[DONE]" not in frame]
    return b"".join(frames[:-1]), frames[-1]


def frame(name: str) -> bytes:
    """The body of a recorded error as an event of a stream."""
    return b"data: " + json.dumps(json.loads((FIXTURES / f"{name}.json").read_bytes())).encode() + b"\n\n"


def faults() -> Iterator[tuple[str, Fault]]:
    """How each provider tells in a stream that it cannot go on."""
    gpt, glm, gemini, antigravity, anthropic = (
        KINDS[name](None) for name in ("openai", "glm", "gemini", "antigravity", "anthropic")
    )
    said, error = split("openai/x-error-mid-stream.sse")
    yield "openai", Fault(gpt, said, error, Means("failed"))
    yield "azure", Fault(gpt, said, frame("openai/error-429-azure"), Means("too fast", "1"))
    yield "deepseek", Fault(gpt, said, frame("compat/deepseek-error-401"), Means(OUR_ACCOUNT))
    yield "groq", Fault(gpt, *split("compat/groq-tool-use-failed-with-text.sse"), GROQ)  # event: error
    yield "llama-box", Fault(gpt, *split("compat/llamabox-error-field.sse"), Means("failed"))  # error: {...}
    said, error = split("compat/openrouter-stream-error.sse")  # beside choices
    said = said.replace(b'"finish_reason":"length"', b'"finish_reason":null')
    yield "openrouter", Fault(gpt, said, error, Means("wrong", code="400"))

    said, error = split("glm/x-error-mid-stream.sse")
    yield "glm", Fault(glm, said, error, Means("failed"))
    yield "glm, busy", Fault(glm, said, frame("glm/error-429-1305"), Means("overloaded", "1"))
    yield "glm, network", Fault(glm, said, split("glm/x-network-error.sse")[1], Means("failed"))

    yield "gemini", Fault(gemini, *split("gemini/x-error-mid-stream.sse"), Means("overloaded", "1"))
    said, error = split("antigravity/x-error-mid-stream.sse")
    yield "antigravity", Fault(antigravity, said, error, Means("overloaded", "1"))
    _, error = split("antigravity/x-error-sse-ineligible.sse")
    yield "antigravity, account", Fault(antigravity, said, error, Means(OUR_ACCOUNT))
    yield "antigravity, list", Fault(antigravity, said, frame("antigravity/x-error-list"), Means("too fast", "1"))

    said, error = split("anthropic/x-error-mid-stream.sse")
    yield "anthropic", Fault(anthropic, said, error, Means("overloaded", "1"))
    error = b"event: error\n" + frame("anthropic/error-400-context")
    yield "anthropic, request", Fault(anthropic, said, error, Means("too long"))

    said, _, _ = (FIXTURES / "responses/gpt-4o-text.sse").read_bytes().partition(DELTA)
    error = (FIXTURES / "responses/error-quota.sse").read_bytes()
    error = error[error.index(b"event: error") :]
    yield "responses", Fault(OpenAIResponses(OpenAI()), said, error, Means("no money", "never"))


GROQ = Means("wrong", code="tool_use_failed")
DELTA = b"event: response.output_text.done"
OWN_STREAMS = {"openai": "openai", "responses": "responses", "gemini": "gemini", "anthropic": "claude"}
