"""The routes of each dialect, counters, lists and explanations: as a client meets them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from aigateway.config import Account, ClientKey, Provider, Route, Target
from aigateway.secret import Secret
from aigateway.simulator import SimulatedAnthropic, SimulatedGemini

from .fakes import (
    PROVIDER_PORT,
    Answer,
    Asked,
    Client,
    GatewayTestCase,
    Scripted,
    answers,
    config,
    provider,
    request_bytes,
)

OPENAI_PORT, CLAUDE_PORT, GEMINI_PORT = 9002, 9003, 9004
HELLO = [{"role": "user", "content": "Count to 3"}]
CONTENTS = [{"role": "user", "parts": [{"text": "Count to 3"}]}]


class Everywhere(GatewayTestCase):
    """A gateway before a provider of each dialect."""

    def setUp(self) -> None:
        super().setUp()
        self.openai = Scripted(answers("1, 2, 3"))
        self.claude = SimulatedAnthropic(self.network, 0)
        self.gemini = SimulatedGemini(self.network, 0)
        for port, one in ((OPENAI_PORT, self.openai), (CLAUDE_PORT, self.claude), (GEMINI_PORT, self.gemini)):
            self.serve(one, port)

    def begin(self, *keys: ClientKey, **more: Any) -> None:
        self.start(
            config(
                provider(port=OPENAI_PORT, models=("gpt-4",)),
                self.other("anthropic", CLAUDE_PORT, "/v1", "claude-sonnet-4-5"),
                self.other("gemini", GEMINI_PORT, "/v1beta", "gemini-2.5-flash"),
                keys=keys,
                **more,
            )
        )

    def other(self, kind: str, port: int, path: str, model: str) -> Provider:
        return Provider(
            name=kind,
            kind=kind,
            base_urls=(f"http://127.0.0.1:{port}{path}",),
            accounts=(Account(name="one", api_key=Secret(f"sk-secret-{kind}")),),
            models=(model,),
        )

    def post(self, path: str, body: object, *headers: tuple[str, str]) -> Answer:
        return self.ask(body, path=path, headers=headers).answer()

    def get(self, path: str, *headers: tuple[str, str]) -> Answer:
        return self.ask(path=path, method="GET", body=b"", headers=headers).answer()


MODELS = ("gpt-4", "claude-sonnet-4-5", "gemini-2.5-flash")


class ResponsesTests(Everywhere):
    def test_whole(self) -> None:
        """A response object, whoever answers."""
        self.begin()
        for path in ("/v1/responses", "/openai/v1/responses"):
            for model in MODELS:
                with self.subTest(path, model=model):
                    told = self.post(path, {"model": model, "input": "Count to 3"}).json()
                    self.assertEqual((told["object"], told["status"]), ("response", "completed"))
                    self.assertEqual(told["output"][-1]["content"][0]["text"], "1, 2, 3")

    def test_streamed(self) -> None:
        """The events of a response, the last of which holds it whole."""
        self.begin()
        for model in MODELS:
            with self.subTest(model):
                answer = self.post("/v1/responses", {"model": model, "input": "Count to 3", "stream": True})
                self.assertTrue(answer.headers["content-type"].startswith("text/event-stream"))
                last = answer.frames()[-1]
                self.assertEqual(last.event, b"response.completed")
                self.assertTrue(answer.whole)

    def test_previous_response(self) -> None:
        """A stored conversation is OpenAI's alone: any other provider is not asked."""
        self.begin()
        body = {"model": "claude-sonnet-4-5", "input": "and now?", "previous_response_id": "resp_1"}
        answer = self.post("/v1/responses", body)
        self.assertEqual(answer.status, 400)
        error = answer.json()["error"]
        self.assertEqual(error["param"], "previous_response_id")
        self.assertEqual(self.claude.requests, 0)

    def test_errors(self) -> None:
        """Errors have OpenAI's form."""
        self.begin()
        answer = self.post("/v1/responses", {"model": "no-such", "input": "x"})
        self.assertEqual((answer.status, set(answer.json())), (404, {"error"}))


class GeminiTests(Everywhere):
    def test_whole(self) -> None:
        """``generateContent``, whoever answers."""
        self.begin()
        for model in MODELS:
            with self.subTest(model):
                told = self.post(f"/v1beta/models/{model}:generateContent", {"contents": CONTENTS}).json()
                (candidate,) = told["candidates"]
                self.assertEqual(candidate["content"]["parts"][-1]["text"], "1, 2, 3")
                self.assertEqual(candidate["finishReason"], "STOP")

    def test_events(self) -> None:
        """``?alt=sse`` streams events."""
        self.begin()
        for model in MODELS:
            with self.subTest(model):
                path = f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
                answer = self.post(path, {"contents": CONTENTS})
                self.assertTrue(answer.headers["content-type"].startswith("text/event-stream"))
                chunks = [json.loads(frame.data) for frame in answer.frames()]
                self.assertEqual(text_of(chunks), "1, 2, 3")
                self.assertTrue(answer.whole)

    def test_array(self) -> None:
        """Without it the stream is one JSON array."""
        self.begin()
        for model in MODELS:
            with self.subTest(model):
                answer = self.post(f"/v1beta/models/{model}:streamGenerateContent", {"contents": CONTENTS})
                self.assertEqual(answer.headers["content-type"], "application/json")
                self.assertEqual(text_of(answer.json()), "1, 2, 3")

    def test_unknown_methods(self) -> None:
        """A method that is none is a 404 in Google's form."""
        self.begin()
        answer = self.post("/v1beta/models/gpt-4:embedContent", {"contents": CONTENTS})
        self.assertEqual(answer.status, 404)
        self.assertEqual(answer.json()["error"]["status"], "NOT_FOUND")
        (outcome,) = self.outcomes
        self.assertEqual((outcome.dialect, outcome.status), ("gemini", 404))
        self.assertEqual(outcome.request_id, answer.headers["x-aigateway-request-id"])

    def test_paths_that_are_no_text(self) -> None:
        """A path whose percent-encoding hides no UTF-8 is refused in Google's form."""
        self.begin()
        answer = self.post("/v1beta/models/%ff:generateContent", {"contents": CONTENTS})
        self.assertEqual((answer.status, answer.json()["error"]["status"]), (400, "INVALID_ARGUMENT"))
        self.assertNotIn("Traceback", "".join(self.logged))

    def test_keys_of_any_bytes(self) -> None:
        """A key in the query may be any bytes: it is the right one or it is not."""
        raw = b"gw-\xff\xc3\xa9"
        self.begin(ClientKey(name="alice", digest=hashlib.sha256(raw).digest()))
        path = "/v1beta/models/gemini-2.5-flash:generateContent?key="
        body = {"contents": CONTENTS}
        self.assertEqual(self.post(path + "%ff", body).status, 400)
        self.assertEqual(self.post(path + "gw-%ff%c3%a9", body).status, 200)

    def test_keys(self) -> None:
        """A client's key comes in a header or in the query, and goes no further."""
        self.begin(ClientKey(name="alice", digest=hashlib.sha256(b"gw-alice").digest()))
        path = "/v1beta/models/gemini-2.5-flash:generateContent"
        body = {"contents": CONTENTS}
        refused = self.post(path, body)
        self.assertEqual(refused.status, 400)  # as Google itself answers a bad key
        self.assertEqual(refused.json()["error"]["details"][0]["reason"], "API_KEY_INVALID")
        self.assertEqual(self.post(path, body, ("x-goog-api-key", "gw-alice")).status, 200)
        self.assertEqual(self.post(path + "?key=gw-alice", body).status, 200)
        self.assertEqual(self.post(path + "?key=gw-bob", body).status, 400)
        self.assertNotIn("gw-alice", "".join(self.logged) + str(list(self.gemini.seen)))

    def test_models(self) -> None:
        """The list in Google's form, and one of it."""
        self.begin()
        names = [model["name"] for model in self.get("/v1beta/models").json()["models"]]
        self.assertEqual(names, [f"models/{name}" for name in MODELS])
        one = self.get("/v1beta/models/gpt-4").json()
        self.assertEqual(one["name"], "models/gpt-4")
        self.assertEqual(self.get("/v1beta/models/no-such").status, 404)


class CountTests(Everywhere):
    def test_asked_of_the_provider(self) -> None:
        """A provider that counts is asked, in its own terms, whatever the client speaks."""
        self.begin()
        for model in ("claude-sonnet-4-5", "gemini-2.5-flash"):
            with self.subTest(model):
                claude = self.post("/v1/messages/count_tokens", {"model": model, "messages": HELLO})
                self.assertEqual(claude.status, 200, claude.body)
                self.assertGreater(claude.json()["input_tokens"], 0)
                self.assertNotIn("x-aigateway-estimated", claude.headers)
                google = self.post(f"/v1beta/models/{model}:countTokens", {"contents": CONTENTS})
                self.assertEqual(google.json()["totalTokens"], claude.json()["input_tokens"])
        self.assertEqual({outcome.operation for outcome in self.outcomes}, {"count_tokens"})

    def test_estimated(self) -> None:
        """Where the provider has no counter the gateway guesses, and says so."""
        self.begin()
        answer = self.post("/v1/messages/count_tokens", {"model": "gpt-4", "messages": HELLO})
        self.assertGreater(answer.json()["input_tokens"], 0)
        self.assertEqual(answer.headers["x-aigateway-estimated"], "true")
        self.assertEqual(self.openai.asked, [])

    def test_a_counter_that_fails(self) -> None:
        """A counter that cannot be reached is no reason to fail the client."""
        self.start(config(self.other("anthropic", 9009, "/v1", "claude-sonnet-4-5")))
        body = {"model": "claude-sonnet-4-5", "messages": HELLO}
        client = self.ask(body, path="/v1/messages/count_tokens")
        self.advance(30)
        self.assertEqual(client.answer().headers["x-aigateway-estimated"], "true")

    def test_bad_requests(self) -> None:
        """A body that is none is refused, as on the conversation's own path."""
        self.begin()
        self.assertEqual(self.post("/v1/messages/count_tokens", {"model": "gpt-4"}).status, 400)
        self.assertEqual(self.outcome().operation, "count_tokens")

    def test_its_outcome(self) -> None:
        """A count is no stream, whatever its body says, and what was sent of it is counted."""
        self.begin()
        body = {"model": "claude-sonnet-4-5", "messages": HELLO, "stream": True}
        answer = self.post("/v1/messages/count_tokens", body)
        outcome = self.outcome()
        self.assertEqual((outcome.streamed, outcome.usage), (False, None))
        self.assertEqual((outcome.chunks, outcome.bytes_out), (1, len(answer.body)))


class HeldCountTests(Everywhere):
    """Before a provider whose counter the test answers."""

    def count(self) -> tuple[Client, Asked]:
        body = {"model": "claude-sonnet-4-5", "messages": HELLO}
        return self.streaming(body, path="/v1/messages/count_tokens")

    def begin_held(self) -> None:
        self.start(config(self.other("anthropic", PROVIDER_PORT, "/v1", "claude-sonnet-4-5")))

    def test_the_client_leaves(self) -> None:
        """A count costs no tokens, so none are put down for one that was not awaited."""
        self.begin_held()
        client, asked = self.count()
        client.leave()
        self.network.flush()
        self.assertTrue(asked.aborted)
        outcome = self.outcome()
        self.assertEqual((outcome.result, outcome.usage), ("client_left", None))
        self.assertEqual(self.stats.stats.totals.input_tokens, 0)

    def test_a_silent_counter(self) -> None:
        """A counter answers at once or is not waited for: the limit of a stream's head applies."""
        self.begin_held()
        client, _ = self.count()
        self.advance(61)
        self.assertEqual(client.answer().headers["x-aigateway-estimated"], "true")

    def test_a_busy_counter(self) -> None:
        """Its limit is its own: the account is asked for answers as before."""
        self.begin_held()
        client, asked = self.count()
        asked.respond(
            b'{"type":"error","error":{"type":"rate_limit_error","message":"x"}}', 429, retry_after="60"
        )
        self.network.flush()
        self.assertEqual(client.answer().headers["x-aigateway-estimated"], "true")
        self.streaming(
            {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": HELLO}, path="/v1/messages"
        )

    def test_no_counter(self) -> None:
        """A server that speaks the dialect without its counter is no reason to fail the client."""
        self.begin_held()
        client, asked = self.count()
        asked.respond(b"<html>Not Found</html>", 404, content_type="text/html")
        self.network.flush()
        self.assertEqual(client.answer().headers["x-aigateway-estimated"], "true")

    def test_only_counters_are_asked(self) -> None:
        """A count does not go on to a provider that has no counter."""
        route = Route(
            model="fast", targets=(Target("anthropic", "claude-sonnet-4-5"), Target("openai", "gpt-4"))
        )
        claude = self.other("anthropic", PROVIDER_PORT, "/v1", "claude-sonnet-4-5")
        self.start(config(claude, provider(port=OPENAI_PORT), routes=(route,)))
        client, asked = self.streaming({"model": "fast", "messages": HELLO}, path="/v1/messages/count_tokens")
        asked.respond(b"{}", 500)
        self.network.flush()
        self.assertEqual(client.answer().headers["x-aigateway-estimated"], "true")
        self.assertEqual([attempt.provider for attempt in self.outcome().attempts], ["anthropic"])

    def test_what_the_provider_refuses(self) -> None:
        """A request that is wrong is refused, and not guessed at."""
        self.begin_held()
        client, asked = self.count()
        asked.respond(b'{"type":"error","error":{"type":"invalid_request_error","message":"x"}}', 400)
        self.network.flush()
        self.assertEqual(client.answer().status, 400)

    def test_no_count(self) -> None:
        """A count that is none is no answer."""
        self.begin_held()
        for body in (b'{"input_tokens":-5}', b'{"input_tokens":"5"}', b"[]", b"5", b"\xff"):
            with self.subTest(body):
                client, asked = self.count()
                asked.respond(body)
                self.network.flush()
                answer = client.answer()
                self.assertEqual(answer.headers.get("x-aigateway-estimated"), "true", answer.body)


class ExplainTests(Everywhere):
    def explain(self, body: object, *headers: tuple[str, str], query: str = "") -> dict[str, Any]:
        answer = self.post(f"/v1/explain{query}", body, *headers)
        self.assertEqual(answer.status, 200, answer.body)
        told: dict[str, Any] = answer.json()
        return told

    def test_what_would_be_sent(self) -> None:
        """The route, the targets, the account, the provider's own request, the fields; nobody is
        asked, and no key is shown."""
        self.begin()
        body = {"model": "claude-sonnet-4-5", "messages": HELLO, "seed": 7, "temperature": 0.5}
        told = self.explain(body)
        self.assertEqual(told["dialect"], "openai")
        self.assertEqual(told["route"], "claude-sonnet-4-5")
        (target,) = told["targets"]
        self.assertEqual((target["provider"], target["account"]), ("anthropic", "one"))
        request = told["request"]
        self.assertEqual(request["url"], f"http://127.0.0.1:{CLAUDE_PORT}/v1/messages")
        self.assertEqual(request["body"]["messages"][0]["content"][0]["text"], "Count to 3")
        self.assertEqual(told["fields"]["seed"], "dropped")
        self.assertEqual(told["fields"]["temperature"], "kept")
        self.assertEqual(self.claude.requests, 0)
        self.assertNotIn("sk-secret", json.dumps(told))

    def test_every_dialect(self) -> None:
        """The body's dialect is told by what stands in it, or by a header."""
        self.begin()
        claude = {"model": "gpt-4", "max_tokens": 9, "messages": HELLO, "system": "Be brief"}
        for dialect, body, query in (
            ("openai", {"model": "gpt-4", "messages": HELLO}, ""),
            ("claude", claude, ""),
            ("responses", {"model": "gpt-4", "input": "hi"}, ""),
            ("gemini", {"contents": CONTENTS}, "?model=gpt-4"),
        ):
            with self.subTest(dialect):
                self.assertEqual(self.explain(body, query=query)["dialect"], dialect)
        plain = {"model": "gpt-4", "max_tokens": 9, "messages": HELLO}
        self.assertEqual(self.explain(plain, ("x-aigateway-dialect", "claude"))["dialect"], "claude")
        self.assertEqual(self.explain(plain, ("anthropic-version", "2023-06-01"))["dialect"], "claude")

    def test_strict(self) -> None:
        """A request that strict would refuse is refused here, too."""
        self.begin()
        body = {"model": "claude-sonnet-4-5", "messages": HELLO, "seed": 7}
        answer = self.post("/v1/explain", body, ("x-aigateway-strict", "true"))
        self.assertEqual((answer.status, "seed" in answer.body.decode()), (400, True))

    def test_unknown_dialects(self) -> None:
        """A dialect that is none, or none of this path, is refused, not passed over."""
        self.begin()
        body = {"model": "gpt-4", "messages": HELLO}
        for path, name in (
            ("/v1/explain", "klingon"),
            ("/v1/chat/completions", "klingon"),
            ("/v1/chat/completions", "gemini"),
        ):
            with self.subTest(path, name=name):
                answer = self.post(path, body, ("x-aigateway-dialect", name))
                self.assertEqual((answer.status, "claude, openai" in answer.body.decode()), (400, True))

    def test_refusals(self) -> None:
        """What would be refused is refused here, too."""
        self.begin()
        self.assertEqual(self.post("/v1/explain", {"model": "no-such", "messages": HELLO}).status, 404)
        body = {"model": "claude-sonnet-4-5", "messages": HELLO, "n": 2}
        self.assertEqual(self.post("/v1/explain", body).status, 400)

    def test_bad_bodies(self) -> None:
        """A body that is none is refused, as everywhere."""
        self.begin()
        for body in (
            b"{",
            b"\xff",
            b"null",
            b'{"a":' * 5_000,
            b'{"input":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
            b'{"contents":[],"model":[1]}',
            b'{"contents":[]}',
        ):
            with self.subTest(body[:20]):
                answer = self.post("/v1/explain", body)
                self.assertEqual(answer.status, 400, answer.body)
        self.assertNotIn("Traceback", "".join(self.logged))

    def test_a_key_is_needed(self) -> None:
        """Whoever has no key learns nothing; whoever has one, what it may use."""
        self.begin(ClientKey(name="a", digest=hashlib.sha256(b"gw-alice").digest(), models=("gpt-*",)))
        body = {"model": "claude-sonnet-4-5", "messages": HELLO}
        self.assertEqual(self.post("/v1/explain", body).status, 401)
        self.assertEqual(self.post("/v1/explain", body, ("x-api-key", "gw-alice")).status, 403)


class PageTests(Everywhere):
    def test_metrics(self) -> None:
        """The counters of ``/stats`` as Prometheus reads them."""
        self.begin()
        self.post("/v1/messages", {"model": "gpt-4", "max_tokens": 9, "messages": HELLO})
        answer = self.get("/metrics")
        self.assertTrue(answer.headers["content-type"].startswith("text/plain"))
        samples = [
            sample
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
            if sample.name == "aigateway_requests_total"
        ]
        self.assertIn(1.0, [sample.value for sample in samples])

    def test_one_model(self) -> None:
        """One model by its name, in the caller's form, if a route takes it."""
        self.begin()
        self.assertEqual(self.get("/v1/models/gpt-4").json()["owned_by"], "openai")
        claude = self.get("/v1/models/gpt-4", ("anthropic-version", "2023-06-01")).json()
        self.assertEqual((claude["type"], claude["id"]), ("model", "gpt-4"))
        self.assertEqual(self.get("/v1/models/no-such").status, 404)

    def test_client_headers(self) -> None:
        """A Claude client's version and betas reach Anthropic byte for byte; nothing else does."""
        self.begin()
        beta = "fine-grained-tool-streaming-2025-05-14,  context-1m-2025-08-07"
        self.post(
            "/v1/messages",
            {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": HELLO},
            ("anthropic-beta", beta),
            ("anthropic-version", "2023-06-01"),
            ("x-custom", "mine"),
        )
        headers = self.claude.seen[-1].headers
        self.assertEqual(headers["anthropic-beta"], beta)
        self.assertEqual(headers["anthropic-version"], "2023-06-01")
        self.assertNotIn("x-custom", headers)

    def test_client_headers_sent_twice(self) -> None:
        """All lines of such a header go on."""
        self.start(config(self.other("anthropic", PROVIDER_PORT, "/v1", "claude-sonnet-4-5")))
        betas = ("token-efficient-tools-2025-02-19", "context-1m-2025-08-07")
        _, asked = self.streaming(
            {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": HELLO},
            path="/v1/messages",
            headers=[("anthropic-beta", beta) for beta in betas],
        )
        sent = asked.request.requestHeaders.getRawHeaders("anthropic-beta")
        self.assertEqual(tuple(sent), betas)

    def test_client_headers_that_are_no_text(self) -> None:
        """They are refused."""
        self.begin()
        body = {"model": "gpt-4", "max_tokens": 9, "messages": HELLO}
        data = request_bytes("POST", "/v1/messages", body, [("anthropic-beta", "BETA")])
        client = self.client()
        client.send(data.replace(b"BETA", b"\xff\xfe"))
        self.assertEqual(client.answer().status, 400)
        self.assertNotIn("Traceback", "".join(self.logged))


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(
        part.get("text", "")
        for chunk in chunks
        for candidate in chunk.get("candidates", ())
        for part in candidate["content"].get("parts", ())
    )
