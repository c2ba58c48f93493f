"""Which headers pass, both ways: of a client's almost none, of a provider's none.

Providers are asked over raw connections, so that every byte that reaches them is looked at.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aigateway.config import Account, Config, Route, Target
from aigateway.secret import Secret
from aigateway.state import State

from .fakes import (
    DONE,
    GATEWAY_PORT,
    PROVIDER_PORT,
    STOP,
    Answer,
    GatewayTestCase,
    Raw,
    RawServer,
    chat,
    chunk,
    config,
    provider,
    request_bytes,
    whole_reply,
)

ELSEWHERE = 9044
"""Where redirects point: nobody is to be asked there."""
MARK = "mark-of-the-other-side"
CLIENTS = (
    "Authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "Proxy-Authorization",
    "Cookie",
    "Origin",
    "Referer",
    "User-Agent",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "TE",
    "Trailer",
    "Upgrade",
    "Keep-Alive",
    "Proxy-Connection",
    "Via",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Real-IP",
    "traceparent",
    "baggage",
    "x-stainless-lang",
    "x-request-id",
    "x-goog-user-project",
    "OpenAI-Organization",
    "OpenAI-Project",
    "OpenAI-Beta",
    "Idempotency-Key",
    "X-Of-My-Own",
)
"""What a client may send, and no provider is to see."""
PROVIDERS = (
    "Set-Cookie",
    "Server",
    "Via",
    "Alt-Svc",
    "Strict-Transport-Security",
    "Access-Control-Allow-Origin",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Link",
    "Refresh",
    "Location",
    "Content-Location",
    "Content-Disposition",
    "Trailer",
    "Upgrade",
    "Keep-Alive",
    "openai-organization",
    "x-request-id",
    "request-id",
    "cf-ray",
    "x-ratelimit-limit-requests",
    "anthropic-ratelimit-tokens-remaining",
    "x-aigateway-provider",
    "x-aigateway-request-id",
    "x-of-theirs",
)
"""What a provider may send, and no client is to see."""
KINDS = {
    "openai": "gpt-4",
    "glm": "glm-4",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "antigravity": "gemini-3-flash",
}
PATHS = ("/v1/messages", "/openai/v1/chat/completions", "/v1/responses", "/v1beta/models/{}:generateContent")


class HeaderTestCase(GatewayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network.ports[PROVIDER_PORT].stopListening()
        self.raw = RawServer()
        self.elsewhere = RawServer()
        self.network.listenTCP(PROVIDER_PORT, self.raw)
        self.network.listenTCP(ELSEWHERE, self.elsewhere)

    def start_with(self, kind: str, **more: Any) -> str:
        """One provider of ``kind``; the model to ask for."""
        accounts = (Account(name="one", api_key=Secret("sk-secret-one")),)
        if kind == "antigravity":
            accounts = (Account(name="one", access_token=Secret("sk-secret-one"), project="project"),)
        one = provider(kind, kind=kind, accounts=(), models=(KINDS[kind],), **more)
        self.start(config(msgspec.structs.replace(one, accounts=accounts)))
        return KINDS[kind]

    def start(self, configuration: Config | None = None, state: State | None = None) -> None:
        """The gateway, in the place of the one before."""
        if (port := self.network.ports.get(GATEWAY_PORT)) is not None:
            port.stopListening()
        super().start(configuration, state)

    def head_asked(self) -> bytes:
        """The head of what the provider was asked last, in small letters."""
        return self.raw.made[-1].received.partition(b"\r\n\r\n")[0].lower()

    def reply(self, head: bytes, body: bytes) -> Raw:
        raw = self.raw.made[-1]
        raw.transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.network.flush()
        return raw


class ToProvidersTests(HeaderTestCase):
    def test_nothing_of_a_client_s(self) -> None:
        """Whatever a client sends beside its body, whoever is asked, and in whichever dialect, is not
        in the request: neither the values nor, where the gateway sends none itself, the names."""
        ours = {"authorization", "x-api-key", "x-goog-api-key", "user-agent", "accept", "accept-encoding"}
        for kind in KINDS:
            with self.subTest(kind):
                model = self.start_with(kind)
                headers = [(name, MARK) for name in CLIENTS] + [("Connection", "keep-alive, X-Of-My-Own")]
                body = {"max_tokens": 9, **chat(model=model, stream=False)}
                self.ask(body, path="/v1/messages", headers=headers)
                self.assertIn(b"sk-secret-one", self.raw.made[-1].received)
                self.assertNotIn(MARK.encode(), self.raw.made[-1].received)
                names = {line.split(b":")[0].decode() for line in self.head_asked().split(b"\r\n")[1:]}
                self.assertEqual(names & ({name.lower() for name in CLIENTS} - ours), set())
                self.assertNotIn(b"x-of-my-own", self.head_asked())

    def test_what_anthropic_is_told(self) -> None:
        """A Claude client's betas and version go on to Anthropic, byte for byte, and to nobody else."""
        sent = [("anthropic-beta", "a-2025-01-01, b"), ("anthropic-version", "2023-06-01")]
        for kind in KINDS:
            with self.subTest(kind):
                model = self.start_with(kind)
                body = {"max_tokens": 9, **chat(model=model, stream=False)}
                self.ask(body, path="/v1/messages", headers=sent)
                told = [b"%b: %b" % (name.encode(), value.encode()) for name, value in sent]
                found = [line in self.head_asked() for line in told]
                self.assertEqual(found, [kind == "anthropic"] * 2, self.head_asked())

    def test_a_named_header_stays(self) -> None:
        """What a client names in Connection is for the gateway alone, even where it would go on."""
        model = self.start_with("anthropic")
        headers = [("anthropic-beta", MARK), ("Connection", "anthropic-beta")]
        self.ask({"max_tokens": 9, **chat(model=model)}, path="/v1/messages", headers=headers)
        self.assertNotIn(MARK.encode(), self.head_asked())

    def test_a_model_s_name_stays_in_its_place(self) -> None:
        """A name with line ends, a slash or dots in it is one segment of the path, and no header."""
        one = provider("gemini", kind="gemini", models=())
        self.start(config(one, routes=(Route(model="*", targets=(Target("gemini"),)),)))
        for name in ("a b", "../../other", "a?key=b", "a#b", "a%2fb", "//evil.example/", "a@b:9044"):
            with self.subTest(name):
                self.ask({"max_tokens": 9, **chat(model=name)}, path="/v1/messages")
                line = self.head_asked().split(b"\r\n")[0]
                method, target, version = line.split(b" ")
                self.assertEqual((method, version), (b"post", b"http/1.1"))
                self.assertTrue(target.startswith(b"/v1/models/"), target)
                self.assertEqual(target.count(b"/"), 3, target)
                self.assertEqual(target.count(b"?"), 1, target)
        self.assertEqual(self.elsewhere.made, [])

    def test_nothing_says_where_to_ask(self) -> None:
        """No header, field or Host chooses the provider's address."""
        self.start_with("openai")
        address = f"127.0.0.1:{ELSEWHERE}"
        for name in (
            "X-Forwarded-Host",
            "X-Base-Url",
            "X-Upstream",
            "X-AIGateway-Provider",
            "Forwarded",
            "X-Host",
        ):
            self.ask(
                {**chat(), "base_url": f"http://{address}", "api_base": address}, headers=[(name, address)]
            )
        self.assertEqual(self.elsewhere.made, [])
        self.assertTrue(all(b"host: 127.0.0.1:9001" in raw.received.lower() for raw in self.raw.made))


class ToClientsTests(HeaderTestCase):
    def provider_head(self, status: bytes, *more: bytes) -> bytes:
        lines = [b"HTTP/1.1 " + status, *(f"{name}: {MARK}".encode() for name in PROVIDERS), *more]
        return b"\r\n".join(lines) + b"\r\nConnection: X-Named\r\nX-Named: " + MARK.encode() + b"\r\n"

    def assert_ours(self, answer: Answer, raw: bytes) -> None:
        head = raw.partition(b"\r\n\r\n")[0]
        self.assertNotIn(MARK.encode(), head)
        self.assertEqual(answer.headers["server"], "aigateway")
        names = {name.lower() for name in PROVIDERS} - {"server", "request-id", "x-request-id"}
        names -= {name for name in answer.headers if name.startswith("x-aigateway-")}
        self.assertEqual(names & set(answer.headers), set())

    def test_a_stream(self) -> None:
        """Of a provider's headers none reaches a streaming client; of its trailers neither."""
        self.start_with("openai")
        client = self.ask(chat())
        body = b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in (chunk("hi"), STOP, DONE))
        trailer = f"0\r\nX-Trailer: {MARK}\r\nSet-Cookie: {MARK}\r\n\r\n".encode()
        head = self.provider_head(
            b"200 OK", b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked"
        )
        self.raw.made[-1].transport.write(head + b"\r\n" + body + trailer)
        self.network.flush()
        answer = client.answer()
        self.assertEqual((answer.status, answer.text(), answer.whole), (200, "hi", True))
        self.assert_ours(answer, client.received)
        self.assertNotIn(MARK.encode(), client.received)

    def test_a_whole_answer(self) -> None:
        """Nor a client that waits for a whole answer."""
        self.start_with("openai")
        client = self.ask(chat(stream=False))
        self.reply(self.provider_head(b"200 OK", b"Content-Type: application/json"), whole_reply("hi"))
        self.assertEqual(client.answer().status, 200)
        self.assert_ours(client.answer(), client.received)

    def test_refusals(self) -> None:
        """Nor with an error: its status and words are told, in the client's dialect and as JSON,
        an HTML page among them."""
        page = b"<!DOCTYPE html><html><script>alert(1)</script>" + MARK.encode() + b"</html>"
        told = b'{"error":{"message":"no","type":"x","param":null,"code":null}}'
        for path in PATHS:
            for status in (
                b"400 Bad",
                b"403 No",
                b"404 No",
                b"429 Busy",
                b"500 Failed",
                b"503 Busy",
                b"204 None",
            ):
                for body, media in ((page, b"text/html"), (told, b"application/json")):
                    if status.startswith(b"204"):
                        body = b""
                    with self.subTest(path, status=status, media=media):
                        self.raw.made.clear()
                        self.start_with("openai")
                        asked = chat(stream=False)
                        if path == "/v1/responses":
                            asked = {"model": "gpt-4", "input": "hi"}
                        elif "{}" in path:
                            asked = {"contents": [{"parts": [{"text": "hi"}]}]}
                        client = self.ask({"max_tokens": 9, **asked}, path=path.format("gpt-4"))
                        self.reply(self.provider_head(status, b"Content-Type: " + media), body)
                        self.advance(30)
                        answer = client.answer()
                        self.assertGreaterEqual(answer.status, 400)
                        self.assertEqual(answer.headers["content-type"], "application/json")
                        self.assertIn("error", answer.json())
                        self.assertNotIn(b"<html", client.received.lower())
                        self.assert_ours(answer, client.received)

    def test_forged_lines(self) -> None:
        """What a provider writes in names and ids forges no header and no event on the client's side."""
        self.start_with("openai")
        forged = "a\r\nX-Evil: 1\r\n\r\ndata: {}\u2028\u2029\x85\n\nevent: evil\n\n"
        for stream in (False, True):
            client = self.ask(chat(stream=stream), path="/openai/v1/chat/completions")
            if stream:
                frame = (
                    chunk("hi")
                    .replace(b'"c1"', msgspec.json.encode(forged))
                    .replace(b'"hi"', msgspec.json.encode(forged))
                )
                self.reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", frame + STOP + DONE)
            else:
                body = (
                    whole_reply("hi")
                    .replace(b'"c1"', msgspec.json.encode(forged))
                    .replace(b'"gpt-4"', msgspec.json.encode(forged))
                )
                self.reply(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", body)
            answer = client.answer()
            self.assertEqual((answer.status, answer.whole), (200, True))
            self.assertNotIn("x-evil", answer.headers)
            self.assertNotIn(b"\nX-Evil", client.received)
            self.assertNotIn(b"\nevent: evil", client.received)

    def test_a_model_s_name_in_a_header(self) -> None:
        """``x-aigateway-model`` holds whatever model was asked for, in ASCII; a name with line ends or
        other control characters in it is refused."""
        one = provider(models=())
        self.start(config(one, routes=(Route(model="*", targets=(Target("openai"),)),)))
        for name in ("gpt-4\r\nX-Evil: 1", "gpt-4\n", "\0", "\x7f", "\x85", "\u2028"):
            refused = self.ask(chat(model=name, stream=False))
            self.assertEqual(refused.answer().status, 400, name)
        self.assertEqual(self.raw.made, [])
        client = self.ask(chat(model="gpt-4 <html>é", stream=False))
        self.reply(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", whole_reply("hi"))
        answer = client.answer()
        self.assertEqual((answer.status, answer.whole), (200, True))
        self.assertEqual(answer.headers["x-aigateway-model"], "gpt-4 <html>?")

    def test_broken_heads(self) -> None:
        """A provider's head that could be read in two ways is a 502, and no stall."""
        heads = (
            b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
            b"HTTP/1.1 abc OK\r\n",
            b"HTTP/2.0 200 OK\r\n",
            b"<html>not HTTP</html>\r\n",
        )
        for head in heads:
            with self.subTest(head):
                self.start_with("openai")
                client = self.ask(chat(stream=False))
                self.reply(head, whole_reply("hi"))
                self.raw.made[-1].transport.loseConnection()
                self.advance(30)
                answer = client.answer()
                self.assertIn(answer.status, (200, 502), answer.body)
                if answer.status == 200:
                    self.assertEqual(answer.json()["content"][0]["text"], "hi")
                self.assertNotIn("set-cookie", answer.headers)


class RedirectTests(HeaderTestCase):
    def test_none_is_followed(self) -> None:
        """A redirect, to wherever, is a provider that is not set up right: 502, and neither the body
        nor a key goes to the other place, nor are they sent again to the same."""
        places = (
            f"http://127.0.0.1:{ELSEWHERE}/v1/chat/completions",
            f"http://localhost:{PROVIDER_PORT}/v1/chat/completions",
            f"//127.0.0.1:{ELSEWHERE}/",
            "/v1/elsewhere",
            "",
        )
        for kind in KINDS:
            for status in (300, 301, 302, 303, 305, 307, 308):
                for place in places[: 5 if kind == "openai" else 1]:
                    with self.subTest(kind, status=status, place=place):
                        self.raw.made.clear()
                        model = self.start_with(kind)
                        body = {"max_tokens": 9, **chat(model=model)}
                        client = self.ask(body, path="/v1/messages")
                        head = f"HTTP/1.1 {status} Moved\r\nLocation: {place}\r\n".encode()
                        raw = self.reply(head, b"moved")
                        self.advance(30)
                        self.assertEqual(client.answer().status, 502, client.received)
                        self.assertEqual((self.raw.made, self.elsewhere.made), ([raw], []))
                        self.assertEqual(raw.received.count(b"POST "), 1)
                        self.assertNotIn("location", client.answer().headers)


class CookieTests(HeaderTestCase):
    def test_no_jar(self) -> None:
        """What a provider sets on one client's call is sent with no other, nor with the same one's
        next: over the same connection, after an error as after an answer."""
        self.start_with("openai")
        cookie = (
            b"Set-Cookie: session=" + MARK.encode() + b"; Path=/\r\nSet-Cookie2: " + MARK.encode() + b"\r\n"
        )
        client = self.client()
        for status in (b"200 OK", b"400 Bad", b"200 OK"):
            client.send(request_bytes("POST", "/v1/chat/completions", chat(stream=False)))
            self.reply(
                b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n" + cookie, whole_reply("hi")
            )
        other = self.ask(chat(stream=False))
        self.reply(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", whole_reply("hi"))
        self.assertEqual(other.answer().status, 200)
        self.assertEqual(len(client.answers()), 3)
        asked = b"".join(raw.received for raw in self.raw.made)
        self.assertEqual(asked.count(b"POST "), 4)
        self.assertNotIn(b"cookie", asked.lower())
        self.assertNotIn(MARK.encode(), asked + client.received + other.received)
