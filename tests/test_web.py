"""The routes: who may use them, what they refuse, and how they say it."""

from __future__ import annotations

import hashlib
from typing import Any

from aigateway.admission import PUBLIC
from aigateway.config import ClientKey, Limits
from aigateway.stats import StatsService

from .fakes import (
    DONE,
    STOP,
    Answer,
    GatewayTestCase,
    Scripted,
    answers,
    chat,
    chunk,
    config,
    provider,
    request_bytes,
)

CONVERSATIONS = {
    "/v1/messages": "claude",
    "/anthropic/v1/messages": "claude",
    "/v1/chat/completions": "claude",
    "/openai/v1/chat/completions": "openai",
}
SCRIPTED_PORT = 9002
KEY = "gw-secret-of-alice"


def key(name: str, value: str, **more: Any) -> ClientKey:
    return ClientKey(name=name, digest=hashlib.sha256(value.encode()).digest(), **more)


class WebTestCase(GatewayTestCase):
    def start_answering(self, *keys: ClientKey, **more: Any) -> None:
        """The gateway before a provider that answers "hello" at once."""
        self.scripted = Scripted(answers("hello"))
        self.serve(self.scripted, SCRIPTED_PORT)
        models = ("gpt-4", "gpt-4o-mini")
        self.start(config(provider(port=SCRIPTED_PORT, models=models), keys=keys, **more))

    def get(self, path: str, *headers: tuple[str, str]) -> Answer:
        return self.ask(path=path, method="GET", body=b"", headers=headers).answer()

    def post(self, path: str, body: object, *headers: tuple[str, str]) -> Answer:
        return self.ask(body, path=path, headers=headers).answer()

    def assert_refused(self, answer: Answer, status: int, dialect: str, *words: str) -> None:
        """``answer`` is an error of ``dialect``, whose message has ``words``."""
        self.assertEqual(answer.status, status, answer.body)
        told = answer.json()
        error = told["error"]
        if dialect == "claude":
            self.assertEqual(told["type"], "error")
            self.assertEqual(told["request_id"], answer.headers["request-id"])
            self.assertEqual(set(error), {"type", "message"})
        else:
            self.assertEqual(set(told), {"error"})
            self.assertEqual(set(error), {"message", "type", "param", "code"})
            self.assertEqual(answer.headers["x-request-id"], answer.headers["x-aigateway-request-id"])
        for word in words:
            self.assertIn(word, error["message"])
        self.assertEqual(answer.headers["content-type"], "application/json")


class ConversationTests(WebTestCase):
    def test_whole_answers(self) -> None:
        """Each path answers in its dialect."""
        self.start_answering()
        for path, dialect in CONVERSATIONS.items():
            with self.subTest(path):
                told = self.post(path, chat(stream=False, max_tokens=9)).json()
                if dialect == "claude":
                    self.assertEqual((told["type"], told["role"]), ("message", "assistant"))
                    self.assertEqual(told["content"][0]["text"], "hello")
                    self.assertEqual(told["stop_reason"], "end_turn")
                    self.assertEqual(told["usage"]["output_tokens"], 2)
                else:
                    self.assertEqual(told["object"], "chat.completion")
                    self.assertEqual(told["choices"][0]["message"]["content"], "hello")
                    self.assertEqual(told["usage"]["completion_tokens"], 2)

    def test_streams(self) -> None:
        """Each path streams in its dialect, to its end marker."""
        self.start_answering()
        for path, dialect in CONVERSATIONS.items():
            with self.subTest(path):
                answer = self.post(path, chat(max_tokens=9))
                self.assertEqual((answer.text(), answer.whole), ("hello", True))
                last = answer.frames()[-1]
                if dialect == "claude":
                    self.assertEqual(last.event, b"message_stop")
                else:
                    self.assertEqual(last.data, b"[DONE]")
                    self.assertNotIn(b"event:", answer.body)

    def test_stream_in_the_query(self) -> None:
        """``?stream=true`` counts where the body says nothing, and yields to ``false`` there."""
        self.start_answering()
        body = chat()
        del body["stream"]
        for query, fields, streamed in (
            ("?stream=true", {}, True),
            ("?stream=1", {}, True),
            ("?beta=true&stream=TRUE", {}, True),
            ("?stream=true", {"stream": None}, True),
            ("?stream=true", {"stream": False}, False),
            ("?stream=false", {"stream": True}, True),
            ("?stream=yes", {}, False),
            ("?stream", {}, False),
            ("", {}, False),
        ):
            with self.subTest(query=query, fields=fields):
                answer = self.post("/v1/chat/completions" + query, body | fields)
                self.assertEqual(answer.status, 200)
                self.assertEqual("event-stream" in answer.headers["content-type"], streamed)
                self.assertEqual(bool(self.scripted.asked[-1].body.get("stream")), streamed)
                self.assertEqual(self.outcomes[-1].streamed, streamed)

    def test_headers_of_a_whole_answer(self) -> None:
        """Who answered, under which id; nothing of the provider's own headers."""
        self.start_answering()
        headers = self.post("/openai/v1/chat/completions", chat(stream=False)).headers
        self.assertEqual(headers["server"], "aigateway")
        self.assertEqual(headers["x-aigateway-provider"], "openai")
        self.assertEqual(headers["x-aigateway-model"], "gpt-4")
        self.assertEqual(headers["x-aigateway-attempts"], "1")
        self.assertEqual(headers["x-request-id"], headers["x-aigateway-request-id"])
        self.assertEqual(headers["x-request-id"], self.outcome().request_id)
        self.assertNotIn("request-id", headers)

    def test_a_provider_s_headers_stay_behind(self) -> None:
        """Its cookies, server name, limits and request id are not the client's business; the
        id is in the outcome."""
        self.start()
        client, asked = self.streaming()
        asked.head(
            set_cookie="a=b",
            server="theirs",
            x_request_id="req_theirs",
            x_ratelimit_remaining_requests="1",
            connection="x-hop",
            x_hop="1",
        )
        asked.finish(chunk("hi"), STOP, DONE)
        self.network.flush()
        headers = client.answer().headers
        self.assertEqual(headers["server"], "aigateway")
        for name in ("set-cookie", "x-request-id", "x-ratelimit-remaining-requests", "x-hop"):
            self.assertNotIn(name, headers)
        self.assertEqual(self.outcome().attempts[0].provider_request_id, "req_theirs")

    def test_a_client_s_credentials_go_no_further(self) -> None:
        """The provider gets the gateway's key and none of the client's headers."""
        self.start()
        self.streaming(
            headers=[
                ("Authorization", "Bearer clients-own"),
                ("x-api-key", "clients-own"),
                ("Cookie", "session=clients-own"),
                ("x-forwarded-for", "clients-own"),
            ]
        )
        (asked,) = self.provider.asked
        headers = str(list(asked.request.requestHeaders.getAllRawHeaders()))
        self.assertNotIn("clients-own", headers)
        self.assertEqual(asked.account, "sk-secret-one")

    def test_dropped_fields_are_told(self) -> None:
        """What has no place in the provider's request is named in a header and the outcome."""
        self.start_answering()
        body = chat(max_tokens=9, stream=False, top_k=40)
        answer = self.post("/v1/messages", body)
        self.assertEqual(answer.status, 200)
        self.assertIn("top_k", answer.headers["x-aigateway-dropped"])
        self.assertIn("top_k", self.outcome().dropped)

    def test_strict(self) -> None:
        """Who asks for strictness is refused instead, before a provider is asked."""
        self.start_answering()
        body = chat(max_tokens=9, stream=False, top_k=40)
        answer = self.post("/v1/messages", body, ("X-AIGateway-Strict", "true"))
        self.assert_refused(answer, 400, "claude", "top_k")
        self.assertEqual(self.scripted.asked, [])
        self.network.close_ports()
        self.start_answering(strict=True)
        self.assertEqual(self.post("/v1/messages", body).status, 400)


class RefusalTests(WebTestCase):
    def test_unknown_paths(self) -> None:
        """404, naming the paths that there are."""
        self.start()
        for method, path in (("POST", "/v1/completions"), ("GET", "/admin/../stats"), ("PUT", "/x")):
            with self.subTest(path):
                answer = self.ask(None, path=path, method=method).answer()
                self.assert_refused(answer, 404, "claude", "/v1/chat/completions")

    def test_wrong_methods(self) -> None:
        """405 with ``Allow``, before the body is read."""
        self.start()
        pages = dict.fromkeys(("/v1/models", "/health", "/stats"), "GET, HEAD")
        for path, allowed in (pages | dict.fromkeys(CONVERSATIONS, "POST") | {"/": "HEAD"}).items():
            for method in {"GET", "PUT", "POST", "DELETE", "OPTIONS", "BREW"} - set(allowed.split(", ")):
                with self.subTest(path=path, method=method):
                    client = self.client()
                    client.ask(method, path, b"", headers=[("Content-Length", "9")])
                    answer = client.answer()
                    self.assertEqual((answer.status, answer.headers["allow"]), (405, allowed))

    def test_wrong_content_types(self) -> None:
        """Only JSON is read: 415, so that a form on a web page is none of our requests."""
        self.start()
        for path, dialect in CONVERSATIONS.items():
            for media in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
                with self.subTest(path=path, media=media):
                    answer = self.post(path, chat(max_tokens=9), ("Content-Type", media))
                    self.assert_refused(answer, 415, dialect, "application/json")
        self.assertEqual(self.provider.asked, [])

    def test_json_content_types(self) -> None:
        """In any case, and with a charset."""
        self.start_answering()
        for media in ("application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"):
            answer = self.post("/v1/chat/completions", chat(), ("Content-Type", media))
            self.assertEqual(answer.status, 200)

    def test_bad_bodies(self) -> None:
        """What is wrong with a body is 400 in the path's dialect, and the field is named."""
        self.start()
        good = chat(max_tokens=9)
        for path, dialect in CONVERSATIONS.items():
            for body, word in (
                (b"", "no body"),
                (b"   ", ""),
                (b"{", ""),
                (b"[]", ""),
                (b'"text"', ""),
                (b"null", ""),
                (b'{"model":"gpt-4","messages":[{"role":"user","content":"\xff"}]}', "UTF-8"),
                (b"[" * 100_000, ""),
                (b'{"model":' + b"[" * 1000 + b"]" * 1000 + b"}", ""),
                ({}, "model"),
                (good | {"model": None}, "model"),
                (good | {"model": 4}, "model"),
                (good | {"model": ""}, "model"),
                (good | {"messages": "hi"}, "messages"),
                (good | {"messages": []}, "messages"),
                (good | {"messages": [{"role": "user", "content": 4}]}, "messages[0].content"),
                (good | {"messages": [{"role": "nobody", "content": "hi"}]}, "role"),
                (good | {"max_tokens": "many"}, "max_tokens"),
                (good | {"stream": "yes"}, "stream"),
                (good | {"temperature": "hot"}, "temperature"),
                ({name: good[name] for name in good if name != "messages"}, "messages"),
                ({name: good[name] for name in good if name != "model"}, "model"),
            ):
                with self.subTest(path=path, body=str(body)[:80]):
                    client = self.client()
                    client.ask("POST", path, body, headers=[("Content-Type", "application/json")])
                    answer = client.answer()
                    self.assert_refused(answer, 400, dialect, word)
                    self.assertTrue(answer.whole)
                    self.assertIsNone(client.lost, "the connection need not be closed")
        self.assertEqual(self.provider.asked, [])
        self.assertEqual({outcome.result for outcome in self.outcomes}, {"malformed_request"})

    def test_openai_s_errors_name_the_field_apart(self) -> None:
        """In OpenAI's dialect the field is in ``param``."""
        self.start()
        answer = self.post("/openai/v1/chat/completions", chat(temperature="hot"))
        self.assertEqual(answer.json()["error"]["param"], "temperature")

    def test_messages_want_max_tokens(self) -> None:
        """As at Anthropic; on the house endpoint there is a default for it."""
        self.start()
        self.assert_refused(self.post("/v1/messages", chat()), 400, "claude", "max_tokens")

    def test_unknown_models(self) -> None:
        """404 naming those that are known, in each dialect's words."""
        self.start_answering()
        for path, dialect in CONVERSATIONS.items():
            with self.subTest(path):
                answer = self.post(path, chat(model="nobody-9", max_tokens=9))
                self.assert_refused(answer, 404, dialect, "nobody-9", "gpt-4", "gpt-4o-mini")
                error = answer.json()["error"]
                if dialect == "claude":
                    self.assertEqual(error["type"], "not_found_error")
                else:
                    self.assertEqual((error["param"], error["code"]), ("model", "model_not_found"))
        self.assertEqual(self.scripted.asked, [])

    def test_a_refused_body_leaves_the_connection_usable(self) -> None:
        """A 400 is an answer like any other: the next request on the connection is served."""
        self.start_answering()
        client = self.client()
        client.ask(body=b"{")
        client.ask(body=chat())
        self.assertEqual([answer.status for answer in client.answers()], [400, 200])

    def test_every_refusal_is_one_outcome(self) -> None:
        """Whatever is refused, and however early, is counted once."""
        self.start()
        for client_bytes in (
            request_bytes("GET", "/nowhere"),
            request_bytes("PUT", "/v1/messages"),
            request_bytes("POST", "/v1/messages", b"{"),
            b"nonsense\r\n\r\n",
        ):
            self.client().send(client_bytes)
        kinds = [outcome.result for outcome in self.outcomes]
        self.assertEqual(
            kinds, ["unknown_path", "method_not_allowed", "malformed_request", "malformed_request"]
        )


class AuthenticationTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start_answering(
            key("alice", KEY),
            key("bob", "gw-secret-of-bob", models=("gpt-4o-*",)),
            hosts=("localhost",),
            limits=Limits(wrong_keys=0),
        )

    def routes(self) -> list[tuple[str, str]]:
        """Every method and path of the router, as the router has them."""
        return [
            (method, rule.rule)
            for rule in self.gateway.app.url_map.iter_rules()
            for method in sorted(rule.methods or ())
        ]

    def test_every_route_but_the_public_ones_needs_a_key(self) -> None:
        """Whatever the router has, without a key it is 401, before the body is read."""
        routes = self.routes()
        self.assertGreater(len(routes), 10)
        public = {(method.decode(), path.decode()) for method, path in PUBLIC}
        self.assertEqual(public, {("GET", "/health"), ("HEAD", "/health"), ("HEAD", "/")})
        for method, path in routes:
            for headers in ("", "x-api-key: wrong\r\n", "Authorization: Bearer wrong\r\n"):
                with self.subTest(method=method, path=path, headers=headers):
                    client = self.client()
                    client.send(
                        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}"
                        f"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n".encode()
                    )
                    answer = client.answers(method)
                    if (method, path) in public:
                        self.assertEqual(answer[0].interim if answer else (), (100,))
                    else:
                        # Google answers a bad key with 400, and so do we to its clients.
                        status = 400 if path.startswith("/v1beta/") else 401
                        self.assertEqual((answer[0].status, answer[0].interim), (status, ()))
                        self.assertTrue(client.ended)
                        self.assertNotIn(b"wrong", client.received)
        self.assertEqual(self.scripted.asked, [])

    def test_unknown_paths_tell_nothing_without_a_key(self) -> None:
        """Who has no key does not learn which paths there are."""
        answer = self.get("/admin")
        self.assertEqual(answer.status, 401)
        self.assertNotIn(b"/v1/", answer.body)
        self.assertEqual(self.get("/admin", ("x-api-key", KEY)).status, 404)

    def test_the_dialect_of_a_401(self) -> None:
        """Each client's SDK knows its own 401."""
        claude = self.post("/v1/messages", chat())
        self.assert_refused(claude, 401, "claude", "x-api-key")
        self.assertEqual(claude.json()["error"]["type"], "authentication_error")
        openai = self.post("/openai/v1/chat/completions", chat())
        self.assert_refused(openai, 401, "openai", "Bearer")
        self.assertEqual(openai.json()["error"]["code"], "invalid_api_key")

    def test_a_key_opens(self) -> None:
        """In either header, whatever the dialect; the outcome has the key's name."""
        for header in (
            ("x-api-key", KEY),
            ("Authorization", f"Bearer {KEY}"),
            ("authorization", f"bearer  {KEY} "),
        ):
            with self.subTest(header):
                self.assertEqual(self.post("/v1/chat/completions", chat(), header).status, 200)
                self.assertEqual(self.outcomes[-1].client, "alice")

    def test_a_key_is_not_half_a_key(self) -> None:
        """Prefixes, other schemes, lists and empty ones are no keys."""
        for header in (
            ("x-api-key", KEY[:-1]),
            ("x-api-key", ""),
            ("x-api-key", f"{KEY},{KEY}"),
            ("Authorization", KEY),
            ("Authorization", f"Basic {KEY}"),
            ("Authorization", "Bearer"),
            ("Cookie", f"key={KEY}"),
        ):
            with self.subTest(header):
                answer = self.post("/v1/chat/completions", chat(), header)
                self.assertEqual(answer.status, 401)
                self.assertNotIn(KEY.encode(), answer.body)
        self.assertEqual(self.post(f"/v1/chat/completions?key={KEY}", chat()).status, 401)

    def test_no_key_is_in_the_log(self) -> None:
        """Neither right nor wrong ones, nor the gateway's own."""
        self.post("/v1/chat/completions", chat(), ("x-api-key", "gw-wrong-key"))
        self.post("/v1/chat/completions", chat(), ("x-api-key", KEY))
        text = "\n".join(self.logged) + self.get("/stats", ("x-api-key", KEY)).body.decode()
        for secret in ("gw-wrong-key", KEY, "sk-secret-one"):
            self.assertNotIn(secret, text)

    def test_a_key_may_be_for_some_models(self) -> None:
        """Others are 403 and not in its list."""
        bob = ("x-api-key", "gw-secret-of-bob")
        answer = self.post("/openai/v1/chat/completions", chat(model="gpt-4"), bob)
        self.assert_refused(answer, 403, "openai", "gpt-4")
        self.assertEqual(answer.json()["error"]["param"], "model")
        self.assertEqual(self.post("/v1/chat/completions", chat(model="gpt-4o-mini"), bob).status, 200)
        listed = [model["id"] for model in self.get("/v1/models", bob).json()["data"]]
        self.assertEqual(listed, ["gpt-4o-mini"])
        self.assertEqual(self.post("/v1/messages", chat(model="gpt-4"), bob).status, 400)

    def test_health_needs_no_key(self) -> None:
        """Load balancers have none."""
        self.assertEqual(self.get("/health").status, 200)
        self.assertEqual(self.ask(None, path="/", method="HEAD").answer("HEAD").status, 200)


class DialectTests(WebTestCase):
    """``/v1/chat/completions``: the first rule that applies decides."""

    SDK = ("User-Agent", "OpenAI/Python 2.1.0")
    ASYNC_SDK = ("User-Agent", "AsyncOpenAI/Python 2.1.0")
    STAINLESS = ("X-Stainless-Lang", "js")

    def dialect(self, *headers: tuple[str, str]) -> str:
        answer = self.post("/v1/chat/completions", chat(stream=False), *headers)
        self.assertEqual(answer.status, 200, answer.body)
        found = "openai" if "choices" in answer.json() else "claude"
        self.assertEqual(self.outcomes[-1].dialect, found)
        return found

    def test_the_house_format(self) -> None:
        """A bare caller gets Claude's."""
        self.start_answering()
        self.assertEqual(self.dialect(("User-Agent", "curl/8.5")), "claude")
        self.assertEqual(self.dialect(("User-Agent", "python OpenAI/1")), "claude")

    def test_openai_s_sdks(self) -> None:
        """They are known by their user agent or their own headers."""
        self.start_answering()
        for header in (self.SDK, self.ASYNC_SDK, self.STAINLESS):
            self.assertEqual(self.dialect(header), "openai")

    def test_the_configuration(self) -> None:
        """It has the word where nobody else has."""
        self.start_answering(chat_completions_dialect="openai")
        self.assertEqual(self.dialect(), "openai")

    def test_a_key_s_dialect(self) -> None:
        """A key's own wins over what the SDK suggests, and over the configuration."""
        self.start_answering(
            key("c", "key-claude", dialect="claude"),
            key("o", "key-openai", dialect="openai"),
            key("n", "key-neutral"),
        )
        self.assertEqual(self.dialect(("x-api-key", "key-openai")), "openai")
        self.assertEqual(self.dialect(("x-api-key", "key-claude"), self.SDK), "claude")
        self.assertEqual(self.dialect(("x-api-key", "key-neutral"), self.SDK), "openai")

    def test_the_header(self) -> None:
        """What a request asks for by name wins over everything."""
        self.start_answering(key("o", "key-openai", dialect="openai"))
        alice = ("x-api-key", "key-openai")
        self.assertEqual(self.dialect(alice, ("X-AIGateway-Dialect", "claude")), "claude")
        self.assertEqual(self.dialect(alice, ("X-AIGateway-Dialect", " OpenAI ")), "openai")

    def test_other_paths_are_not_asked(self) -> None:
        """Elsewhere the path alone decides."""
        self.start_answering()
        answer = self.post("/v1/messages", chat(stream=False, max_tokens=9), self.SDK)
        self.assertIn("content", answer.json())
        header = ("X-AIGateway-Dialect", "claude")
        answer = self.post("/openai/v1/chat/completions", chat(stream=False), header)
        self.assertIn("choices", answer.json())

    def test_errors_follow_the_same_rules(self) -> None:
        """An early refusal and a late one are in the caller's dialect."""
        self.start_answering()
        for body, status in ((chat(model="nobody"), 404), (b"{", 400)):
            answer = self.post("/v1/chat/completions", body, self.SDK)
            self.assert_refused(answer, status, "openai")
        length = ("Content-Length", "99999999")
        for header, dialect in ((self.SDK, "openai"), (("User-Agent", "curl"), "claude")):
            client = self.client()
            client.ask("POST", "/v1/chat/completions", b"{", headers=[header, length])
            self.assert_refused(client.answer(), 413, dialect)

    def test_claude_bodies(self) -> None:
        """A Claude body is understood there, whatever the answer's dialect."""
        self.start_answering()
        body = chat(stream=False) | {"system": "Be brief.", "stop_sequences": ["x"]}
        self.assertEqual(self.post("/v1/chat/completions", body, self.SDK).status, 200)
        sent = self.scripted.asked[-1].body
        self.assertEqual(sent["messages"][0]["content"], "Be brief.")
        self.assertEqual(sent["stop"], ["x"])


class ModelTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start_answering()

    def test_openai_s_list(self) -> None:
        """What OpenAI's clients expect, on either path."""
        for path in ("/v1/models", "/openai/v1/models"):
            told = self.get(path).json()
            self.assertEqual(told["object"], "list")
            self.assertEqual(
                told["data"][0], {"id": "gpt-4", "object": "model", "created": 0, "owned_by": "openai"}
            )
            self.assertEqual([model["id"] for model in told["data"]], ["gpt-4", "gpt-4o-mini"])

    def test_claude_s_list(self) -> None:
        """For who sends ``anthropic-version``, or asks on Anthropic's path."""
        for answer in (
            self.get("/v1/models", ("anthropic-version", "2023-06-01")),
            self.get("/anthropic/v1/models"),
        ):
            told = answer.json()
            self.assertEqual((told["first_id"], told["last_id"]), ("gpt-4", "gpt-4o-mini"))
            self.assertFalse(told["has_more"])
            model = told["data"][0]
            self.assertEqual((model["type"], model["id"]), ("model", "gpt-4"))
            self.assertLessEqual({"display_name", "created_at"}, set(model))


class PageTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start_answering()

    def test_health(self) -> None:
        """200 while all is well, 503 as soon as the gateway stops."""
        answer = self.get("/health")
        self.assertEqual((answer.status, answer.json()), (200, {"status": "ok"}))
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.executor.refuse_new()
        answer = self.get("/health")
        self.assertEqual((answer.status, answer.json()), (503, {"status": "draining"}))

    def test_root(self) -> None:
        """Claude Code asks ``HEAD /`` before anything else."""
        self.assertEqual(self.ask(None, path="/", method="HEAD").answer("HEAD").status, 200)

    def test_stats(self) -> None:
        """What has been counted, and each account's health; no key, no prompt."""
        self.post("/v1/chat/completions", chat("a very private prompt"))
        answer = self.get("/stats")
        told = answer.json()
        self.assertEqual(told["requests"]["total"], 1)
        self.assertEqual(told["tokens"], told["tokens"] | {"input": 3, "output": 2})
        self.assertEqual(told["providers"]["openai"]["requests"]["ok"], 1)
        self.assertEqual(told["accounts"]["openai/one"]["requests"]["ok"], 1)
        self.assertEqual(told["models"]["gpt-4"]["requests"]["ok"], 1)
        self.assertEqual(told["open"]["requests"], 0)
        self.assertEqual(told["recent"][0]["request_id"], self.outcome().request_id)
        self.assertEqual((told["state"]["configured"], told["state"]["entries"]), (False, 0))
        health = told["health"]["openai"][0]
        self.assertEqual((health["name"], health["state"]), ("one", "ready"))
        for secret in (b"sk-secret-one", b"private prompt"):
            self.assertNotIn(secret, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/json")


class BrokenStats(StatsService):
    def snapshot(self) -> dict[str, object]:
        raise ZeroDivisionError("secret detail")


class BugTests(WebTestCase):
    stats_type = BrokenStats

    def test_a_bug_in_a_page(self) -> None:
        """A fault of ours outside a conversation is logged once and answered as any error, not
        with a page of HTML; the connection is kept."""
        self.start_answering()
        client = self.client()
        client.ask("GET", "/stats")
        client.ask("GET", "/health")
        failed, health = client.answers()
        self.assert_refused(failed, 500, "claude")
        self.assertNotIn(b"secret detail", failed.body)
        self.assertEqual(health.status, 200)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OpenTests(WebTestCase):
    def test_stats_count_what_is_open(self) -> None:
        """Open requests and streams are counted while they are open, by dialect."""
        self.start()
        self.streaming()
        self.streaming(path="/openai/v1/chat/completions")
        self.streaming(chat(stream=False))
        told = self.get("/stats").json()
        self.assertEqual((told["open"]["requests"], told["open"]["streams"]), (3, 2))
        self.assertEqual(told["open"]["dialects"], {"claude": 2, "openai": 1})
        self.assertEqual(told["attempts"]["open"], 3)
        for asked in self.provider.asked:
            asked.cut()
        self.network.flush()
        told = self.get("/stats").json()
        self.assertEqual((told["open"]["requests"], told["attempts"]["open"]), (0, 0))
