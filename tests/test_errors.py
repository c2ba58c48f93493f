"""What an error is called: from a provider's body into our tree, and from there to clients."""

from __future__ import annotations

import json
import unittest
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import aigateway.errors
from aigateway.check.claude import CLAUDE_ERRORS
from aigateway.dialects import DIALECTS
from aigateway.dialects.base import ErrorAnswer
from aigateway.dialects.retry import retry_headers, told
from aigateway.errors import (
    AccountExhausted,
    BudgetUnknown,
    Forbidden,
    GatewayError,
    HeadTooLarge,
    HostNotAllowed,
    InternalError,
    LimitReached,
    MalformedRequest,
    MethodNotAllowed,
    Overloaded,
    SlowRequest,
    Stopping,
    TooLarge,
    Unauthorized,
    UnknownModel,
    UnknownPath,
    UnsupportedMediaType,
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
from aigateway.exchange import masked
from aigateway.providers import KINDS
from aigateway.providers.openai import OpenAI, read_error
from aigateway.secret import Secret

from .recordings import FIXTURES

NOW = 1788220800.0  # 2026-09-01T00:00:00Z
TRUNCATED = UpstreamTruncated("it was cut")


def fields(error: UpstreamError, *names: str) -> dict[str, Any]:
    return {name: getattr(error, name) for name in names}


def parse(kind: str, status: int, body: bytes, **headers: str) -> UpstreamError:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    error = KINDS[kind](None).parse_error(status, given, body, now=NOW)
    assert error.message, f"no message: {error!r}"
    return error


def body(**error: Any) -> bytes:
    return json.dumps({"error": error}).encode()


# Each recorded error: its class, and what else must be known of it.
RECORDED: dict[str, tuple[type[UpstreamError], dict[str, Any]]] = {
    "openai/error-400-audio.json": (
        UpstreamRefused,
        {"status": 400, "code": "invalid_value", "param": "messages[3]"},
    ),
    "openai/error-400-context.json": (UpstreamRefused, {"status": 400, "code": "context_length_exceeded"}),
    "openai/error-400-developer-role.json": (UpstreamRefused, {"param": "messages[0].role"}),
    "openai/error-400-max-tokens-on-reasoning-model.json": (
        UpstreamRefused,
        {"param": "max_tokens", "code": "unsupported_parameter"},
    ),
    "openai/error-400-system-role.json": (UpstreamRefused, {"code": "unsupported_value"}),
    "openai/error-400-web-search.json": (UpstreamRefused, {"code": None, "param": "web_search_options"}),
    "openai/error-401-azure.json": (UpstreamUnauthorized, {"status": 502, "provider_status": 401}),
    "openai/error-401.json": (UpstreamUnauthorized, {"status": 502, "token_expired": False}),
    "openai/error-404-model.json": (UpstreamRefused, {"status": 404, "code": "model_not_found"}),
    "openai/error-429-azure.json": (UpstreamBusy, {"status": 429, "scope": "model", "retry_after": None}),
    "openai/error-429-quota.json": (AccountExhausted, {"status": 402, "scope": "account"}),
    "openai/error-429-rate.json": (UpstreamBusy, {"retry_after": 20.0, "overloaded": False}),
    "glm/error-400-1210.json": (UpstreamRefused, {"status": 400, "code": "1210"}),
    "glm/error-400-1211.json": (UpstreamRefused, {"status": 404, "code": "model_not_found"}),
    "glm/error-400-1261.json": (UpstreamRefused, {"status": 400, "code": "context_length_exceeded"}),
    "glm/error-400-1301.json": (UpstreamRefused, {"status": 400, "code": "content_filter"}),
    "glm/error-401-1001.json": (UpstreamUnauthorized, {"status": 502}),
    "glm/error-429-1113.json": (AccountExhausted, {"status": 402, "code": "insufficient_quota"}),
    "glm/error-429-1302.json": (UpstreamBusy, {"status": 429, "scope": "model"}),
    "glm/error-429-1305.json": (UpstreamBusy, {"status": 529, "overloaded": True, "scope": "request"}),
    "glm/error-429-1308.json": (AccountExhausted, {"status": 429, "scope": "account"}),
    "glm/error-429-1310.json": (AccountExhausted, {"status": 429, "scope": "account"}),
    "compat/deepseek-error-400-context.json": (UpstreamRefused, {"code": "context_length_exceeded"}),
    "compat/deepseek-error-401.json": (UpstreamUnauthorized, {}),
    "compat/groq-error-400-tool-use-failed.json": (UpstreamRefused, {"code": "tool_use_failed"}),
    "compat/mistral-error-401.json": (UpstreamUnauthorized, {"message": "Invalid API Key"}),
    "compat/ollama-error-400-context.json": (UpstreamRefused, {"code": "context_length_exceeded"}),
    "compat/ollama-error-401.json": (UpstreamUnauthorized, {}),
    "compat/openrouter-error-400-context.json": (UpstreamRefused, {"code": "context_length_exceeded"}),
    "compat/openrouter-error-401.json": (UpstreamUnauthorized, {}),
    "compat/openrouter-error-429.json": (UpstreamBusy, {"status": 429}),
    "compat/perplexity-error-401.json": (UpstreamUnauthorized, {}),
}


class Recorded(unittest.TestCase):
    def test_every_one_is_here(self) -> None:
        """No recorded error of these providers is without an expectation."""
        found = {
            f"{folder}/{path.name}"
            for folder in ("openai", "glm", "compat")
            for path in (FIXTURES / folder).glob("*error-[345]*.json")
            if not path.name.endswith(".request.json")
        }
        self.assertEqual(found, set(RECORDED))

    def test_by_status(self) -> None:
        """Each recorded error body, with the status that it came with, is of the class that it means."""
        for name, (kind, known) in RECORDED.items():
            with self.subTest(name):
                folder, _, file = name.partition("/")
                status = int(file.partition("error-")[2][:3])
                error = parse("glm" if folder == "glm" else "openai", status, (FIXTURES / name).read_bytes())
                self.assertIs(type(error), kind)
                self.assertEqual(fields(error, *known), known)
                self.assertEqual(error.provider_status, status)

    def test_in_a_stream(self) -> None:
        """The same bodies in a stream, where there is no status, are of the same class, where they
        tell it at all."""
        silent = {
            "openai/error-401-azure.json": UpstreamUnauthorized,  # "401" is the code
            "compat/mistral-error-401.json": UpstreamFailed,
            "compat/ollama-error-401.json": UpstreamFailed,
        }
        for name, (kind, _) in RECORDED.items():
            with self.subTest(name):
                one = OpenAI() if not name.startswith("glm/") else KINDS["glm"](None)
                assert isinstance(one, OpenAI)
                error = one.classify((FIXTURES / name).read_bytes())
                self.assertIs(type(error), silent.get(name, kind))


class Shapes(unittest.TestCase):
    """The many ways in which servers write an error."""

    def test_read(self) -> None:
        """Message, type, code and parameter are found wherever they stand."""
        for raw, message in (
            (b'{"error":{"message":"m"}}', "m"),
            (b'{"error":"m"}', "m"),
            (b'{"message":"m"}', "m"),
            (b'{"detail":"m"}', "m"),
            (b'{"detail":[{"msg":"m","loc":["body"]}]}', "m"),
            (b'{"error":{"detail":"m"}}', "m"),
            (b'{"code":500,"msg":"m","success":false}', "m"),
            (b'[{"error":{"message":"m"}}]', "m"),
            (b'{"detail":"x","error":{"error":{"message":"m"}}}', "m"),
            (b'"m"', "m"),
            (b'{"error":{"message":17}}', "17"),
            *((raw, "") for raw in (b"", b"<html>", b"[]", b"17", b"{}", b"\xff", b"[" * 100_000)),
        ):
            with self.subTest(raw[:40]):
                self.assertEqual(read_error(raw).message, message)

    def test_codes(self) -> None:
        """A code may be a number; where it is an HTTP status, it says the status."""
        for code, status in (
            (429, 429),
            ("503", 503),
            ("1302", None),
            (200, None),
            (None, None),
            ("x", None),
        ):
            self.assertEqual(read_error(body(message="m", code=code)).status, status)
        self.assertEqual(read_error(b'{"error":"m","code":429}').status, 429)
        self.assertEqual(read_error(body(message="m", param=["x"])).param, None)

    def test_html_and_nothing(self) -> None:
        """Of a page or an empty body only the status is used."""
        for raw in (b"", b"<html>secret host name</html>"):
            for status, kind in (
                *((401, UpstreamUnauthorized), (403, UpstreamUnauthorized), (402, AccountExhausted)),
                *((404, UpstreamRefused), (429, UpstreamBusy), (500, UpstreamFailed), (502, UpstreamFailed)),
                *((503, UpstreamBusy), (529, UpstreamBusy), (408, UpstreamFailed), (504, UpstreamFailed)),
                *((301, UpstreamGarbled), (307, UpstreamGarbled), (413, UpstreamRefused)),
            ):
                with self.subTest(status, raw=raw):
                    error = parse("openai", status, raw)
                    self.assertIs(type(error), kind)
                    self.assertIn(str(status), error.message)
                    self.assertNotIn("secret", error.message)


class Classes(unittest.TestCase):
    def test_timed_out(self) -> None:
        """408 and 504 say that something behind the provider was slow."""
        for status, ours in ((408, 504), (504, 504), (500, 502), (502, 502)):
            self.assertEqual(parse("openai", status, b"").status, ours)

    def test_overloaded(self) -> None:
        """503 and 529 concern no account: nothing is to rest for them."""
        for status in (503, 529):
            error = parse("openai", status, b"", retry_after="7")
            assert isinstance(error, UpstreamBusy)
            self.assertEqual((error.overloaded, error.scope, error.retry_after), (True, "request", 7.0))

    def test_quota(self) -> None:
        """An account without quota is told from one that is only too fast."""
        for code in ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"):
            self.assertIsInstance(parse("openai", 429, body(message="m", code=code)), AccountExhausted)
            self.assertIsInstance(parse("openai", 429, body(message="m", type=code)), AccountExhausted)
        self.assertEqual(parse("openai", 402, b"").status, 402)

    def test_one_large_request(self) -> None:
        """A 429 that the request's own size caused does not let the account rest."""
        error = parse("openai", 429, body(message="Request too large for gpt-4o on TPM: Limit 30000"))
        assert isinstance(error, UpstreamBusy)
        self.assertEqual(error.scope, "request")

    def test_waiting(self) -> None:
        """The headers' wait comes before the text's: seconds, milliseconds (the larger), or a date."""
        text = body(message="Please try again in 20s.")
        for headers, wait in (
            ({}, 20.0),
            ({"retry_after": "3"}, 3.0),
            ({"retry_after": "1", "retry_after_ms": "0"}, 1.0),
            ({"retry_after_ms": "1500"}, 1.5),
            ({"retry_after": formatdate(NOW + 90, usegmt=True)}, 90.0),
            ({"retry_after": "soon"}, 20.0),
        ):
            with self.subTest(headers):
                self.assertEqual(parse("openai", 429, text, **headers).retry_after, wait)

    def test_not_found(self) -> None:
        """404 is an unknown model."""
        self.assertEqual(parse("openai", 404, b"").code, "model_not_found")
        self.assertEqual(parse("openai", 400, body(message="m", code="model_not_found")).status, 404)

    def test_bad_key_as_400(self) -> None:
        """A 400 about the key is the gateway's own affair (xAI, Google); one that quotes a client's
        words of it is not."""
        key = "API key not valid. Please pass a valid API key."
        for raw in (
            b'{"code":"Client specified an invalid argument","error":"Incorrect API key provided: na***ys."}',
            b"[" + body(message=key, code=400, status="INVALID_ARGUMENT") + b"]",
            body(message="m", code="invalid_api_key"),
        ):
            error = parse("openai", 400, raw)
            self.assertIsInstance(error, UpstreamUnauthorized)
        quoted = body(message="Invalid value: 'Incorrect API key provided'.", code="invalid_value")
        self.assertIsInstance(parse("openai", 400, quoted), UpstreamRefused)

    def test_too_long(self) -> None:
        """A prompt that is too long is known by what each server says of it, code or none."""
        for message in (
            "Your input exceeds the context window of this model.",
            "This model's maximum context length is 8192 tokens.",
            "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
            "the request exceeds the available context size, try increasing it",
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            "Your request exceeded model token limit: 131072 (requested: 200000)",
            "tokens to keep from the initial prompt is greater than the context length",
            "Range of input length should be [1, 129024]",
            "Input is too long for requested model",
        ):
            with self.subTest(message):
                self.assertEqual(parse("openai", 400, body(message=message)).code, "context_length_exceeded")
        for message in ("max_tokens is too large: 100000", "Invalid 'messages': array too long."):
            self.assertIsNone(parse("openai", 400, body(message=message)).code)

    def test_quota_in_a_name(self) -> None:
        """A 400 that names a client's field is no quota of Google's, whatever the field is called."""
        message = "Invalid value at 'tools[0].function_declarations[0].name' (quota_left)"
        for kind in ("gemini", "antigravity"):
            self.assertIsInstance(parse(kind, 400, body(message=message, code=400)), UpstreamRefused)
            self.assertIsInstance(parse(kind, 400, body(message="Quota exceeded", code=400)), UpstreamBusy)

    def test_glm_codes(self) -> None:
        """GLM's codes decide, whatever the status that they come with."""
        for codes, kind in (
            ("1000 1001 1002 1003 1004 1100 1120 1121 1220", UpstreamUnauthorized),
            ("1110 1111 1112 1113 1304 1308 1309 1310 1311 1313", AccountExhausted),
            ("1302 1303 1305 1312", UpstreamBusy),
            ("1200 1230 1234 500", UpstreamFailed),
            ("1210 1211 1212 1213 1214 1215 1221 1222 1231 1261 1300 1301", UpstreamRefused),
        ):
            for code in codes.split():
                for status in (400, 429, 500):
                    if code == "500" and status != 500:
                        continue
                    with self.subTest(code, status=status):
                        self.assertIs(type(parse("glm", status, body(code=code, message="m"))), kind)

    def test_glm_numbers_as_codes(self) -> None:
        """A code that comes as a number is the same code."""
        self.assertIsInstance(parse("glm", 429, body(code=1113, message="m")), AccountExhausted)

    def test_glm_windows(self) -> None:
        """A used-up window says until when, in Beijing's time, and is no empty account."""
        for name, hours in (("error-429-1308.json", 4), ("error-429-1310.json", 88)):
            error = parse("glm", 429, (FIXTURES / "glm" / name).read_bytes())
            self.assertEqual((error.retry_after, error.code), (hours * 3600.0, None))

    def test_glm_windows_in_chinese(self) -> None:
        """The end of a window is found in any language, though only where the code says that there is one."""
        text = "您的限额将在 2026-09-01 18:00:00 重置"
        for code, wait in (("1308", 36_000.0), ("1310", 36_000.0), ("1309", None)):
            self.assertEqual(parse("glm", 429, body(code=code, message=text)).retry_after, wait)

    def test_glm_scopes(self) -> None:
        """A plan without the model, and an overloaded one, leave the account's other models alone."""
        error = parse("glm", 429, body(code="1311", message="m"))
        assert isinstance(error, AccountExhausted)
        self.assertEqual(error.scope, "model")

    def test_glm_without_a_message(self) -> None:
        """An error that says only its code names it."""
        self.assertIn("1302", parse("glm", 429, body(code="1302")).message)
        self.assertIn("500", parse("glm", 500, b"").message)

    def test_retryable(self) -> None:
        """Only what the request itself is to blame for is not tried elsewhere."""
        for status in (400, 404, 413, 422):
            self.assertFalse(parse("openai", status, b"").retryable)
        for status in (401, 402, 403, 408, 429, 500, 503, 302):
            self.assertTrue(parse("openai", status, b"").retryable)


# ---------------------------------------------------------------------- to clients


def errors() -> Iterator[GatewayError]:
    """One error at least of every class, with all that changes how it is told."""
    plain = (MalformedRequest, Unauthorized, Forbidden, UnknownModel, UnknownPath, SlowRequest, TooLarge)
    more = (
        UnsupportedMediaType,
        HostNotAllowed,
        LimitReached,
        HeadTooLarge,
        InternalError,
        Overloaded,
        BudgetUnknown,
        Stopping,
    )
    for kind in (
        *plain,
        *more,
        UpstreamGarbled,
        UpstreamTruncated,
        UpstreamUnreachable,
        UpstreamUnauthorized,
    ):
        yield kind("m")
    yield MethodNotAllowed("m", ("GET", "HEAD"))
    for status in (400, 404, 409, 413, 422, 451):
        yield UpstreamRefused("m", status=status)
    yield from (UpstreamBusy("m"), UpstreamBusy("m", overloaded=True))
    yield from (UpstreamFailed("m"), UpstreamFailed("m", timed_out=True))
    yield from (AccountExhausted("m"), AccountExhausted("m", status=402))
    yield UpstreamSilent("m", limit="idle")


def render(dialect: str, error: GatewayError) -> tuple[ErrorAnswer, dict[str, Any]]:
    answer = DIALECTS[dialect].render_error(error, "req_1")
    return answer, json.loads(answer.body)


class ToClients(unittest.TestCase):
    # Of each class: status and type for a claude client; status, type and code for an openai or a
    # responses one; status and Google's word for a gemini one.
    TABLE: tuple[tuple[GatewayError, tuple[int, str], tuple[int, str, str | None], tuple[int, str]], ...] = (
        (
            MalformedRequest(""),
            (400, "invalid_request_error"),
            (400, "invalid_request_error", None),
            (400, "INVALID_ARGUMENT"),
        ),
        (
            Unauthorized(""),
            (401, "authentication_error"),
            (401, "invalid_request_error", "invalid_api_key"),
            (400, "INVALID_ARGUMENT"),
        ),
        (
            Forbidden(""),
            (403, "permission_error"),
            (403, "permission_error", None),
            (403, "PERMISSION_DENIED"),
        ),
        (
            UnknownModel(""),
            (404, "not_found_error"),
            (404, "invalid_request_error", "model_not_found"),
            (404, "NOT_FOUND"),
        ),
        (
            UnknownPath(""),
            (404, "not_found_error"),
            (404, "invalid_request_error", "not_found"),
            (404, "NOT_FOUND"),
        ),
        (
            MethodNotAllowed(""),
            (405, "invalid_request_error"),
            (405, "invalid_request_error", None),
            (405, "INVALID_ARGUMENT"),
        ),
        (
            SlowRequest(""),
            (408, "invalid_request_error"),
            (408, "invalid_request_error", None),
            (408, "DEADLINE_EXCEEDED"),
        ),
        (
            TooLarge(""),
            (413, "request_too_large"),
            (413, "invalid_request_error", None),
            (413, "INVALID_ARGUMENT"),
        ),
        (
            UnsupportedMediaType(""),
            (415, "invalid_request_error"),
            (415, "invalid_request_error", None),
            (415, "INVALID_ARGUMENT"),
        ),
        (
            HostNotAllowed(""),
            (421, "invalid_request_error"),
            (421, "invalid_request_error", None),
            (421, "INVALID_ARGUMENT"),
        ),
        (
            LimitReached(""),
            (429, "rate_limit_error"),
            (429, "rate_limit_exceeded", "rate_limit_exceeded"),
            (429, "RESOURCE_EXHAUSTED"),
        ),
        (
            HeadTooLarge(""),
            (431, "invalid_request_error"),
            (431, "invalid_request_error", None),
            (431, "INVALID_ARGUMENT"),
        ),
        (InternalError(""), (500, "api_error"), (500, "server_error", None), (500, "INTERNAL")),
        (Overloaded(""), (503, "overloaded_error"), (503, "server_error", None), (503, "UNAVAILABLE")),
        (BudgetUnknown(""), (503, "overloaded_error"), (503, "server_error", None), (503, "UNAVAILABLE")),
        (Stopping(""), (503, "overloaded_error"), (503, "server_error", None), (503, "UNAVAILABLE")),
        (
            UpstreamRefused(""),
            (400, "invalid_request_error"),
            (400, "invalid_request_error", None),
            (400, "INVALID_ARGUMENT"),
        ),
        (
            UpstreamRefused("", status=422),
            (400, "invalid_request_error"),
            (400, "invalid_request_error", None),
            (400, "INVALID_ARGUMENT"),
        ),
        (
            UpstreamRefused("", status=404, code="model_not_found"),
            (404, "not_found_error"),
            (404, "invalid_request_error", "model_not_found"),
            (404, "NOT_FOUND"),
        ),
        (
            UpstreamRefused("", status=409),
            (409, "conflict_error"),
            (409, "invalid_request_error", None),
            (409, "ABORTED"),
        ),
        (
            UpstreamRefused("", status=413),
            (413, "request_too_large"),
            (413, "invalid_request_error", None),
            (413, "INVALID_ARGUMENT"),
        ),
        (
            UpstreamBusy(""),
            (429, "rate_limit_error"),
            (429, "rate_limit_exceeded", "rate_limit_exceeded"),
            (429, "RESOURCE_EXHAUSTED"),
        ),
        (
            UpstreamBusy("", overloaded=True),
            (529, "overloaded_error"),
            (503, "server_error", None),
            (503, "UNAVAILABLE"),
        ),
        (UpstreamFailed(""), (502, "api_error"), (502, "server_error", None), (500, "INTERNAL")),
        (
            UpstreamFailed("", timed_out=True),
            (504, "timeout_error"),
            (504, "timeout", "timeout"),
            (504, "DEADLINE_EXCEEDED"),
        ),
        (
            AccountExhausted("", status=402),
            (402, "billing_error"),
            (429, "insufficient_quota", "insufficient_quota"),
            (429, "RESOURCE_EXHAUSTED"),
        ),
        (
            AccountExhausted(""),
            (429, "rate_limit_error"),
            (429, "insufficient_quota", "insufficient_quota"),
            (429, "RESOURCE_EXHAUSTED"),
        ),
        (UpstreamUnauthorized(""), (502, "api_error"), (502, "server_error", None), (502, "INTERNAL")),
        (UpstreamUnreachable(""), (502, "api_error"), (502, "server_error", None), (502, "INTERNAL")),
        (
            UpstreamSilent("", limit="idle"),
            (504, "timeout_error"),
            (504, "timeout", "timeout"),
            (504, "DEADLINE_EXCEEDED"),
        ),
        (TRUNCATED, (502, "api_error"), (502, "server_error", None), (502, "INTERNAL")),
        (UpstreamGarbled(""), (502, "api_error"), (502, "server_error", None), (502, "INTERNAL")),
    )

    def test_every_class_is_in_the_table(self) -> None:
        """No class of the tree is without its words, and the table agrees with its status."""
        classes = {
            value
            for value in vars(aigateway.errors).values()
            if isinstance(value, type) and issubclass(value, GatewayError)
        }
        named = {type(error) for error, *_ in self.TABLE}
        self.assertEqual(classes - named, {GatewayError, UpstreamError})
        self.assertEqual({type(error) for error in errors()}, named)

    def test_claude(self) -> None:
        """Status and type for a claude client."""
        for error, expected, *_ in self.TABLE:
            with self.subTest(repr(error), status=error.status):
                answer, value = render("claude", error)
                self.assertEqual((answer.status, value["error"]["type"]), expected)

    def test_openai(self) -> None:
        """Status, type and code for an openai client, and the same for a responses client."""
        for error, _, expected, _ in self.TABLE:
            with self.subTest(repr(error), status=error.status):
                answer, value = render("openai", error)
                self.assertEqual((answer.status, value["error"]["type"], value["error"]["code"]), expected)
                self.assertEqual(render("responses", error), (answer, value))

    def test_gemini(self) -> None:
        """Status and Google's word for it for a gemini client."""
        for error, *_, expected in self.TABLE:
            with self.subTest(repr(error), status=error.status):
                answer, value = render("gemini", error)
                self.assertEqual((answer.status, value["error"]["status"]), expected)
                self.assertEqual(value["error"]["code"], answer.status)

    def test_shapes(self) -> None:
        """An error's body is the dialect's own, with nothing missing and nothing beside it."""
        for error in errors():
            with self.subTest(repr(error)):
                _, value = render("claude", error)
                self.assertEqual(set(value), {"type", "error", "request_id"})
                self.assertEqual((value["type"], value["request_id"]), ("error", "req_1"))
                self.assertEqual(set(value["error"]), {"type", "message"})
                self.assertIn(value["error"]["type"], CLAUDE_ERRORS)
                _, value = render("openai", error)
                self.assertEqual(set(value), {"error"})
                self.assertEqual(set(value["error"]), {"message", "type", "param", "code"})

    def test_statuses_are_the_sdks(self) -> None:
        """No status is one that an SDK takes for a success, and 529 is only Claude's."""
        for error in errors():
            for dialect in DIALECTS:
                answer, _ = render(dialect, error)
                self.assertTrue(400 <= answer.status < 600)
                self.assertTrue(answer.status != 529 or dialect == "claude")

    def test_fields_at_fault(self) -> None:
        """An openai client is told the field and the code of a bad request."""
        error = MalformedRequest(
            "messages[0].role: expected a string", param="messages[0].role", code="invalid_type"
        )
        _, value = render("openai", error)
        self.assertEqual(
            (value["error"]["param"], value["error"]["code"]), ("messages[0].role", "invalid_type")
        )

    def test_prompt_too_long(self) -> None:
        """A prompt that is too long is told to each client so that its agents know: by the words that
        Anthropic and Google have for it, by OpenAI's code."""
        claude, google = "prompt is too long", "input token count exceeds the maximum number of tokens"
        for message in ("maximum context length is 8", "prompt is too long: 9 > 8"):
            error = UpstreamRefused(message, code="context_length_exceeded")
            _, value = render("claude", error)
            self.assertEqual(value["error"]["message"].count(claude), 1)
            self.assertTrue(value["error"]["message"].startswith(f"{claude}: "))
            for dialect in ("openai", "responses"):
                _, value = render(dialect, error)
                self.assertEqual(
                    (value["error"]["message"], value["error"]["code"]), (message, "context_length_exceeded")
                )
            _, value = render("gemini", error)
            self.assertIn(google, value["error"]["message"])
            self.assertTrue(value["error"]["message"].endswith(message))

    def test_words_of_their_own(self) -> None:
        """What is in a client's own vendor's words already stays as it is: Claude Code reads numbers
        out of this one, and asks again with fewer max_tokens."""
        for dialect, message in (
            ("claude", "input length and `max_tokens` exceed context limit: 188059 + 20000 > 200000"),
            ("claude", "prompt is too long: 213462 tokens > 200000 maximum"),
            ("gemini", "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
        ):
            _, value = render(dialect, UpstreamRefused(message, code="context_length_exceeded"))
            self.assertEqual(value["error"]["message"], message)

    def test_codes_of_providers(self) -> None:
        """A provider's code goes on to an openai client only if it looks like one."""
        for code, shown in (
            ("invalid_value", "invalid_value"),
            ("1210", "1210"),
            ("x" * 64, "x" * 64),
            *((odd, None) for odd in ("x" * 65, "key ***", "two words", "a\n", "é")),
        ):
            with self.subTest(code):
                _, value = render("openai", UpstreamRefused("m", code=code))
                self.assertEqual(value["error"]["code"], shown)

    def test_nothing_of_a_secret(self) -> None:
        """A secret that a provider quotes is taken out of the message, the field and the code."""
        key = "sk-1234567890"
        for dialect in DIALECTS:
            error = UpstreamRefused(f"bad {key}", param=f"headers.{key}", code=key)
            told = masked(error, iter([Secret(key)]))
            self.assertNotIn(key, DIALECTS[dialect].render_error(told, "req_1").body.decode())
        _, value = render("openai", told)
        self.assertEqual(value["error"]["param"], "headers.***")
        self.assertIsNone(masked(UpstreamRefused("m"), [Secret(key)]).param)

    def test_masked_later(self) -> None:
        """What is shown is the message as it is now: it may have been masked since."""
        error = UpstreamFailed("key sk-1234567890 is bad")
        error.message = "key *** is bad"
        self.assertEqual(str(error), "key *** is bad")
        for dialect in DIALECTS:
            self.assertNotIn("sk-1234567890", DIALECTS[dialect].render_error(error, "req_1").body.decode())


class Retrying(unittest.TestCase):
    def test_short_waits(self) -> None:
        """A wait of up to a minute is a header, in whole seconds, rounded up, at least one."""
        for wait, seconds in ((None, "1"), (0.0, "1"), (0.2, "1"), (2.1, "3"), (60.0, "60")):
            for status in (429, 503, 529):
                self.assertEqual(
                    retry_headers(UpstreamBusy("m", retry_after=wait), status), (("retry-after", seconds),)
                )

    def test_long_waits(self) -> None:
        """A longer wait is told in the message alone: Anthropic's SDK would sleep through it."""
        for wait, words in ((60.1, "0h01m01s"), (391_609.8, "108h46m50s")):
            error = UpstreamBusy("no quota", retry_after=wait)
            self.assertEqual(retry_headers(error, 429), (("x-should-retry", "false"),))
            self.assertEqual(told(error), f"no quota (try again in {words})")
            for dialect in DIALECTS:
                answer, value = render(dialect, error)
                self.assertEqual(dict(answer.headers), {"x-should-retry": "false"})
                self.assertIn(words, value["error"]["message"])

    def test_absurd_waits(self) -> None:
        """No number of a provider's makes a header or a message of nonsense; what is past is no wait."""
        for wait in (1e9, 1e300, float("inf")):
            error = UpstreamBusy("no quota", retry_after=wait)
            for dialect in DIALECTS:
                answer, value = render(dialect, error)
                self.assertEqual(answer.headers, (("x-should-retry", "false"),))
                self.assertEqual(value["error"]["message"], "no quota (try again in 8784h00m00s)")
        for wait in (-5.0, 0.0, float("nan"), float("-inf")):
            for dialect in DIALECTS:
                answer, value = render(dialect, UpstreamBusy("no quota", retry_after=wait))
                self.assertEqual(answer.headers, (("retry-after", "1"),))
                self.assertEqual(value["error"]["message"], "no quota")

    def test_in_details(self) -> None:
        """A gemini client is told the wait in RetryInfo, too, as a duration that Google's types hold;
        a long one, too: its agents stop at it by themselves."""
        for wait, told_as in (
            (None, None),
            (0.0, "0.001s"),
            (34.4, "34.400s"),
            (391_609.7957, "391609.796s"),
            (1e300, "31622400.000s"),
        ):
            for error in (UpstreamBusy("m", retry_after=wait), AccountExhausted("m", retry_after=wait)):
                details = render("gemini", error)[1]["error"].get("details", [])
                delays = [detail["retryDelay"] for detail in details]
                self.assertEqual(delays, [told_as] if told_as else [])

    def test_no_end_in_sight(self) -> None:
        """Where an account has nothing left and nobody says until when, trying again is no use."""
        self.assertEqual(retry_headers(AccountExhausted("m"), 429), (("x-should-retry", "false"),))
        told_when = AccountExhausted("m", retry_after=30)
        self.assertEqual(retry_headers(told_when, 429), (("retry-after", "30"),))

    def test_no_wait(self) -> None:
        """Other statuses have no such headers; 402 forbids trying again, 405 names the methods."""
        self.assertEqual(retry_headers(TRUNCATED, 502), ())
        self.assertEqual(retry_headers(MalformedRequest("m", retry_after=5), 400), ())
        self.assertEqual(
            retry_headers(AccountExhausted("m", status=402), 402), (("x-should-retry", "false"),)
        )
        self.assertEqual(
            retry_headers(MethodNotAllowed("m", ("GET", "HEAD")), 405), (("allow", "GET, HEAD"),)
        )

    def test_status_that_is_sent(self) -> None:
        """An account without balance is not to be tried again: 402 for Claude, and 429 for OpenAI."""
        error = AccountExhausted("m", status=402)
        self.assertEqual(render("claude", error)[0].headers, (("x-should-retry", "false"),))
        self.assertEqual(render("openai", error)[0].status, 429)
        self.assertEqual(render("openai", error)[0].headers, (("x-should-retry", "false"),))


class Tree(unittest.TestCase):
    def test_kinds(self) -> None:
        """Each class has a word of its own, which the stats count by."""
        words = [type(error).kind for error in errors()]
        self.assertEqual(len({type(error) for error in errors()}), len(set(words)))

    def test_what_is_tried_again(self) -> None:
        """Every fault of a provider but a refusal may go better elsewhere; none of a client's may."""
        for error in errors():
            expected = isinstance(error, UpstreamError) and not isinstance(error, UpstreamRefused)
            self.assertEqual(error.retryable, expected, repr(error))
