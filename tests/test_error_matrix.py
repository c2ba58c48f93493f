"""Each provider's errors, told to each dialect's clients: before the first byte, and in a stream.

`MEANINGS` is what each dialect says for what an error means, `RAISED` what its official SDK raises then;
`RECORDED` says what each recorded error means. The SDKs are asked, without sockets.
"""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable, Iterator
from functools import cached_property
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


# What an error means: how a claude client is told (status and type), an openai or responses one (status,
# type and code; * is the provider's own), and a gemini one (status and Google's word for it).
MEANINGS = {
    "wrong": ("400 invalid_request_error", "400 invalid_request_error *", "400 INVALID_ARGUMENT"),
    "too long": (
        "400 invalid_request_error",
        "400 invalid_request_error context_length_exceeded",
        "400 INVALID_ARGUMENT",
    ),
    "unsafe": (
        "400 invalid_request_error",
        "400 invalid_request_error content_filter",
        "400 INVALID_ARGUMENT",
    ),
    "no such model": ("404 not_found_error", "404 invalid_request_error model_not_found", "404 NOT_FOUND"),
    "conflict": ("409 conflict_error", "409 invalid_request_error *", "409 ABORTED"),
    "too large": ("413 request_too_large", "413 invalid_request_error *", "413 INVALID_ARGUMENT"),
    "too fast": (
        "429 rate_limit_error",
        "429 rate_limit_exceeded rate_limit_exceeded",
        "429 RESOURCE_EXHAUSTED",
    ),
    "used up": (
        "429 rate_limit_error",
        "429 insufficient_quota insufficient_quota",
        "429 RESOURCE_EXHAUSTED",
    ),
    "no money": (
        "402 billing_error",
        "429 insufficient_quota insufficient_quota",
        "429 RESOURCE_EXHAUSTED",
    ),
    "overloaded": ("529 overloaded_error", "503 server_error *", "503 UNAVAILABLE"),
    "failed": ("502 api_error", "502 server_error *", "500 INTERNAL"),
    "timed out": ("504 timeout_error", "504 timeout timeout", "504 DEADLINE_EXCEEDED"),
    OUR_ACCOUNT: ("502 api_error", "502 server_error *", "502 INTERNAL"),  # the client's key is fine
}
# What the SDKs raise for it: Anthropic's, OpenAI's, Google's.
RAISED: dict[str, tuple[type[Exception], type[Exception], type[Exception]]] = {
    "wrong": (anthropic.BadRequestError, openai.BadRequestError, ClientError),
    "too long": (anthropic.BadRequestError, openai.BadRequestError, ClientError),
    "unsafe": (anthropic.BadRequestError, openai.BadRequestError, ClientError),
    "no such model": (anthropic.NotFoundError, openai.NotFoundError, ClientError),
    "conflict": (anthropic.ConflictError, openai.ConflictError, ClientError),
    "too large": (anthropic.RequestTooLargeError, openai.APIStatusError, ClientError),
    "too fast": (anthropic.RateLimitError, openai.RateLimitError, ClientError),
    "used up": (anthropic.RateLimitError, openai.RateLimitError, ClientError),
    "no money": (anthropic.PaymentRequiredError, openai.RateLimitError, ClientError),
    "overloaded": (anthropic.OverloadedError, openai.InternalServerError, ServerError),
    "failed": (anthropic.InternalServerError, openai.InternalServerError, ServerError),
    "timed out": (anthropic.GatewayTimeoutError, openai.InternalServerError, ServerError),
    OUR_ACCOUNT: (anthropic.InternalServerError, openai.InternalServerError, ServerError),
}
COLUMN = {"claude": 0, "openai": 1, "responses": 1, "gemini": 2}


class Means(NamedTuple):
    """What one error means: ``code`` is the provider's own, where it goes on; ``again`` is what the
    client is told of trying again: nothing, a number of seconds, or never. ``headers`` came with it."""

    meaning: str
    again: str = ""
    code: str = "None"
    headers: dict[str, str] = {}

    def told(self, dialect: str) -> str:
        return MEANINGS[self.meaning][COLUMN[dialect]].replace("*", self.code)

    def raised(self, dialect: str) -> type[Exception]:
        return RAISED[self.meaning][COLUMN[dialect]]


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
    """``answer`` as `MEANINGS` writes it."""
    error = json.loads(answer.body)["error"]
    if dialect == "gemini":
        assert error["code"] == answer.status
        return f"{answer.status} {error['status']}"
    code = "" if dialect == "claude" else f" {error['code']}"
    return f"{answer.status} {error['type']}{code}"


class Meant(unittest.TestCase):
    def check(self, error: UpstreamError, means: Means, *dialects: str) -> None:
        """``error`` is told in every dialect, or in these, as ``means`` says."""
        for dialect in dialects or DIALECTS:
            with self.subTest(dialect=dialect):
                answer = through(dialect, error)
                self.assertEqual(in_words(dialect, answer), means.told(dialect))
                headers = {"": {}, "never": {"x-should-retry": "false"}}
                self.assertEqual(answer.headers, headers.get(means.again, {"retry-after": means.again}))


class Matrix(Meant):
    """Before the first byte: a status, headers, a body."""

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

    def raised(
        self, dialect: str, answer: Told, *, stream: bool = False, retries: int = 0
    ) -> Exception | None:
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

    @cached_property
    def clients(self) -> Clients:
        return Clients()

    def test_by_meaning(self) -> None:
        """Each recorded error is raised as the SDK's own class for what it means."""
        for name, means in RECORDED.items():
            status, body = recorded(name)
            error = kind_of(name.partition("/")[0]).parse_error(status, means.headers, body, now=NOW)
            for dialect in DIALECTS:
                with self.subTest(name, dialect=dialect):
                    raised = self.clients.raised(dialect, through(dialect, error))
                    self.assertIs(type(raised), means.raised(dialect))

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
    said, error = split("compat/groq-tool-use-failed-with-text.sse")
    yield "groq", Fault(gpt, said, error, Means("wrong", code="tool_use_failed"))
    yield "llama-box", Fault(gpt, *split("compat/llamabox-error-field.sse"), Means("failed"))
    said, error = split("compat/openrouter-stream-error.sse")
    said = said.replace(b'"finish_reason":"length"', b'"finish_reason":null')  # in time, not after the end
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

    said, error = split("anthropic/x-error-mid-stream.sse")
    yield "anthropic", Fault(anthropic, said, error, Means("overloaded", "1"))
    error = b"event: error\n" + frame("anthropic/error-400-context")
    yield "anthropic, request", Fault(anthropic, said, error, Means("too long"))

    said = (FIXTURES / "responses/gpt-4o-text.sse").read_bytes()
    said = said[: said.index(b"event: response.output_text.done")]
    error = (FIXTURES / "responses/error-quota.sse").read_bytes()
    error = error[error.index(b"event: error") :]  # and the failed response after it
    yield "responses", Fault(OpenAIResponses(OpenAI()), said, error, Means("no money", "never"))


class Streams(Meant):
    """A failure that a provider tells with HTTP 200, in a stream or instead of one."""

    @cached_property
    def clients(self) -> Clients:
        return Clients()

    def read(self, fault: Fault, dialect: str, data: bytes) -> tuple[Stream, bytes]:
        """The stream that ``data`` became for a client of ``dialect``, and all that the client got."""
        chat = ask(dialect)
        writer = DIALECTS[dialect].writer(chat, "req_1", 1700000000)
        kept = fault.kind.dialect == dialect
        stream = fault.kind.stream(answering(chat, kept=kept), writer)
        got = stream.feed(data) + stream.end()
        return stream, got if stream.failure is None or not stream.begun else got + writer.fail(
            stream.failure
        )

    def test_before_the_first_byte(self) -> None:
        """A stream that begins with its failure is an error with a status: it may go better elsewhere."""
        for name, fault in faults():
            for dialect in DIALECTS:
                with self.subTest(name, dialect=dialect):
                    stream, got = self.read(fault, dialect, fault.error)
                    self.assertEqual((got, stream.begun), (b"", False))
                    assert stream.failure is not None
                    self.check(stream.failure, fault.means, dialect)

    def test_no_stream(self) -> None:
        """So is one that is no stream at all."""
        for name, path, means in (
            ("openai", "compat/x-error-200-json.json", Means("failed")),
            ("glm", "glm/error-200-flat.json", Means("failed")),
            ("gemini", "antigravity/x-error-list.json", Means("too fast", "1")),
            ("antigravity", "antigravity/x-error-list.json", Means("too fast", "1")),
        ):
            fault = Fault(KINDS[name](None), b"", (FIXTURES / path).read_bytes(), means)
            for dialect in DIALECTS:
                with self.subTest(path, dialect=dialect):
                    stream, got = self.read(fault, dialect, fault.error)
                    self.assertEqual(got, b"")
                    assert stream.failure is not None
                    self.check(stream.failure, means, dialect)

    def test_after_it(self) -> None:
        """After the first byte the failure is the dialect's own last frame, and says the same."""
        for name, fault in faults():
            for dialect in DIALECTS:
                with self.subTest(name, dialect=dialect):
                    stream, got = self.read(fault, dialect, fault.said + fault.error)
                    self.assertTrue(stream.begun)
                    self.assertNotIn(b"[DONE]", got)
                    self.assertIsNone(self.checked(fault, dialect, got).stop)
                    self.assertEqual(self.in_frames(dialect, got), self.expected(dialect, fault.means))

    def test_raised(self) -> None:
        """The SDKs raise while they read such a stream; the Gemini one by what it means."""
        for name, fault in faults():
            for dialect in DIALECTS:
                with self.subTest(name, dialect=dialect):
                    _, got = self.read(fault, dialect, fault.said + fault.error)
                    self.raises(dialect, got, fault.means)

    def test_raised_after_waiting(self) -> None:
        """So they do where the client has only been kept waiting, whatever happened."""
        for name, means in RECORDED.items():
            status, body = recorded(name)
            error = kind_of(name.partition("/")[0]).parse_error(status, means.headers, body, now=NOW)
            for dialect in DIALECTS:
                with self.subTest(name, dialect=dialect):
                    writer = DIALECTS[dialect].writer(ask(dialect), "req_1", 1700000000)
                    self.raises(dialect, writer.keep_alive() + writer.fail(error), means)

    def test_as_directly(self) -> None:
        """In a provider's own SDK it is what would have been raised directly."""
        found = dict(faults())
        for name in ("openai", "azure", "groq", "openrouter", "glm", "responses", "gemini", "anthropic"):
            with self.subTest(name):
                fault = found[name]
                dialect, data = fault.kind.dialect, fault.said + fault.error
                directly = self.clients.raised(dialect, Told(200, {}, data), stream=True)
                raised = self.clients.raised(
                    dialect, Told(200, {}, self.read(fault, dialect, data)[1]), stream=True
                )
                self.assertIsNotNone(directly)
                self.assertIs(type(raised), type(directly))
                if isinstance(directly, APIError) and isinstance(raised, APIError):
                    self.assertEqual((raised.code, raised.status), (directly.code, directly.status))

    def test_too_late(self) -> None:
        """A failure after the answer's end spoils nothing; but it is known (OpenRouter)."""
        data = (FIXTURES / "compat/openrouter-stream-error.sse").read_bytes()
        fault = dict(faults())["openrouter"]
        for dialect in DIALECTS:
            with self.subTest(dialect):
                stream, got = self.read(fault, dialect, data)
                self.assertIsNone(stream.failure)
                self.assertIsNotNone(stream.late_error)
                self.assertIsNone(self.checked(fault, dialect, got).error)

    def test_filtered(self) -> None:
        """GLM's filter (1301) refuses a request, but ends an answer that has begun as a refusal."""
        said, _ = split("glm/x-error-mid-stream.sse")
        fault = Fault(KINDS["glm"](None), said, frame("glm/error-400-1301"), Means("unsafe"))
        for dialect, stop in (
            ("claude", "refusal"),
            ("openai", "content_filter"),
            ("responses", "content_filter"),
            ("gemini", "SAFETY"),
        ):
            with self.subTest(dialect):
                stream, _ = self.read(fault, dialect, fault.error)
                assert stream.failure is not None
                self.check(stream.failure, fault.means, dialect)
                stream, got = self.read(fault, dialect, said + fault.error)
                self.assertIsNone(stream.failure)
                self.assertEqual(self.checked(fault, dialect, got).stop, stop)

    def checked(self, fault: Fault, dialect: str, data: bytes) -> Answer:
        """What ``data`` tells, by the grammar; what passed through may hold more than that names."""
        return check(dialect, data, lenient=fault.kind.dialect == dialect)

    def expected(self, dialect: str, means: Means) -> str:
        """What the last frame says: as `MEANINGS`, without the status that it cannot have."""
        told = means.told(dialect)
        return told if dialect == "gemini" else told.partition(" ")[2]

    def in_frames(self, dialect: str, data: bytes) -> str:
        """The error at the end of ``data``, in the same words."""
        frames = [json.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data: ")]
        if dialect == "responses":
            self.assertEqual(frames.pop()["type"], "response.failed")
            self.assertEqual(frames[-1]["type"], "error")
        error = frames[-1]["error"]
        if dialect == "gemini":
            return f"{error['code']} {error['status']}"
        return str(error["type"]) if dialect == "claude" else f"{error['type']} {error['code']}"

    def raises(self, dialect: str, data: bytes, means: Means) -> None:
        raised = self.clients.raised(dialect, Told(200, {}, data), stream=True)
        expected = self.expected(dialect, means)
        if dialect == "claude":
            # By the status, which was 200: the SDK has no class for it; the type says what it is.
            self.assertIs(type(raised), anthropic.APIStatusError)
            assert isinstance(raised, anthropic.APIStatusError)
            self.assertEqual(raised.type, expected)
        elif dialect == "gemini":
            self.assertIs(type(raised), means.raised(dialect))
            assert isinstance(raised, APIError)
            self.assertEqual(f"{raised.code} {raised.status}", expected)
        else:
            self.assertIs(type(raised), openai.APIError)
            assert isinstance(raised, openai.APIError)
            self.assertEqual(f"{raised.type} {raised.code}", expected)
