"""What clients see: the routes, who may use them, and answers and errors in their dialect.

Formats are the dialects' business, where an answer comes from is the executor's. Here a
client's HTTP request becomes an exchange, and the exchange's end an outcome.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import msgspec
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from .channel import GatewayRequest, GatewaySite, send_error
from .client_stream import ClientStream
from .config import ClientKey, Config
from .dialects import CLAUDE, DIALECTS, OPENAI
from .dialects.base import ClientDialect, ErrorAnswer
from .dialects.claude import is_claude_body
from .dialects.claude import parse_request as parse_claude
from .errors import (
    Forbidden,
    GatewayError,
    HostNotAllowed,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    Unauthorized,
    UnknownPath,
    UnsupportedMediaType,
)
from .events import ChatRequest
from .exchange import Exchange
from .executor import Executor, stopping
from .routing import Router
from .stats import StatsService

EVENT_STREAM = b"text/event-stream; charset=utf-8"
PUBLIC = {(b"GET", b"/health"), (b"HEAD", b"/health"), (b"HEAD", b"/")}
"""Methods and paths that need no key; every other one does, once there are keys."""
SDK_AGENTS = (b"OpenAI/", b"AsyncOpenAI/")


class _StreamField(msgspec.Struct):
    stream: bool | None = None


class Gateway:
    """The HTTP side of the gateway. ``site`` is what listens."""

    app = Klein()
    _log = Logger()

    def __init__(
        self,
        config: Config,
        router: Router,
        executor: Executor,
        stats: StatsService,
        clock: Any,
        wall: Callable[[], float],
    ) -> None:
        self._config = config
        self._router = router
        self._executor = executor
        self._stats = stats
        self._clock: IReactorTime = clock
        self._wall = wall
        self._keys = {key.digest: key for key in config.keys}
        self._hosts = frozenset(host.lower() for host in config.hosts)
        self._paths = self._known_paths()
        self._resource = self.app.resource()  # the bound app is held weakly: keep its resource
        self.site = GatewaySite(
            self._resource,
            clock,
            config.limits,
            config.write_stall,
            screen=self._screen,
            render_error=self._render_error,
            refused=self._refused,
        )

    # ------------------------------------------------------------------- routes

    @app.route("/v1/messages", methods=["POST"])
    @app.route("/anthropic/v1/messages", methods=["POST"])
    async def messages(self, request: GatewayRequest) -> None:
        """Anthropic's Messages."""
        await self._converse(request, CLAUDE, parse_claude)

    @app.route("/v1/chat/completions", methods=["POST"])
    async def chat_completions(self, request: GatewayRequest) -> None:
        """Either dialect's body in; the house format out, OpenAI's to OpenAI's clients."""
        await self._converse(request, self._dialect_of(request), self._parse_either)

    @app.route("/openai/v1/chat/completions", methods=["POST"])
    async def openai_chat_completions(self, request: GatewayRequest) -> None:
        """OpenAI's Chat Completions."""
        await self._converse(request, OPENAI, OPENAI.parse_request)

    @app.route("/v1/models", methods=["GET"])
    @app.route("/openai/v1/models", methods=["GET"])
    @app.route("/anthropic/v1/models", methods=["GET"])
    def models(self, request: GatewayRequest) -> None:
        """The models that have a name here: OpenAI's list, or Claude's for its clients."""
        key = _key_of(request)
        names = [(model, owner) for model, owner in self._router.models() if self._router.allowed(key, model)]
        claude = self._default_dialect(request.path, request) is CLAUDE
        self._send_json(request, _claude_models(names) if claude else _openai_models(names))

    @app.route("/health", methods=["GET"])
    def health(self, request: GatewayRequest) -> None:
        draining = self._executor.stopping
        if draining:
            request.setResponseCode(503)
        self._send_json(request, {"status": "draining" if draining else "ok"})

    @app.route("/", methods=["HEAD"])
    def root(self, request: GatewayRequest) -> None:
        """Claude Code asks whether anybody is there."""
        self._send_json(request, {})

    @app.route("/stats", methods=["GET"])
    def stats(self, request: GatewayRequest) -> None:
        shown = self._stats.snapshot()
        shown["health"] = self._executor.describe()
        self._send_json(request, shown)

    @app.handle_errors(HTTPException)  # type: ignore[arg-type]
    def unrouted(self, request: GatewayRequest, failure: Failure) -> None:
        """No such path or method, which `_screen` had not seen."""
        self._send_error(request, UnknownPath(self._no_path(request.path)))

    # ------------------------------------------------------------ conversations

    async def _converse(
        self, request: GatewayRequest, dialect: ClientDialect, parse: Callable[[bytes], ChatRequest]
    ) -> None:
        """One exchange from its body to its outcome."""
        key = _key_of(request)
        exchange = Exchange(dialect, key.name if key else None, self._clock.seconds(), self._wall())
        counted = False
        error: GatewayError | None = None
        left = False
        try:
            chat = self._read(request, parse)
            if chat.dialect != dialect.name:
                chat = msgspec.structs.replace(chat, answer=dialect.name)
            exchange.chat = chat
            exchange.strict = self._config.strict or _says_true(request.getHeader(b"x-aigateway-strict"))
            self._stats.stats.begin(dialect.name, chat.stream)
            counted = True
            if self._executor.stopping:
                raise stopping()
            if not self._router.allowed(key, chat.model):
                raise Forbidden(f"this key may not use model {chat.model!r}", param="model")
            self._router.targets(chat.model)
            if chat.stream:
                await self._stream(request, exchange)
                error = exchange.cause
            else:
                await self._whole(request, exchange)
        except CancelledError:
            left = True
            raise
        except GatewayError as told:
            error = told
            self._send_error(request, told, exchange)
        except Exception:  # a bug of ours: Klein would answer it with a page of HTML
            self._log.failure("request {id} failed in the gateway", id=exchange.id)
            error = InternalError("the gateway failed; its log says why")
            self._send_error(request, error, exchange)
        finally:
            if not counted:
                self._stats.stats.begin(dialect.name, exchange.chat.stream)
            status = 0 if left and not request.startedWriting else int(request.code)
            self._stats.record(exchange.outcome(self._clock.seconds(), status, error, left=left))

    def _read(self, request: GatewayRequest, parse: Callable[[bytes], ChatRequest]) -> ChatRequest:
        """The request's body as a chat. Raises `MalformedRequest` or `UnsupportedMediaType`."""
        media = request.getHeader(b"content-type") or b""
        if media.split(b";", 1)[0].strip().lower() != b"application/json":
            raise UnsupportedMediaType("send the body as JSON, with `Content-Type: application/json`")
        raw = request.body()
        if not raw:
            raise MalformedRequest("the request has no body; send a JSON object")
        chat = parse(raw)
        if not chat.stream and _asks_to_stream(request, raw):
            chat = msgspec.structs.replace(chat, stream=True)
        return chat

    def _parse_either(self, raw: bytes) -> ChatRequest:
        if is_claude_body(raw):
            return parse_claude(raw, max_tokens_default=self._config.max_tokens)
        return OPENAI.parse_request(raw)

    async def _stream(self, request: GatewayRequest, exchange: Exchange) -> None:
        def head() -> None:
            headers = request.responseHeaders
            headers.setRawHeaders(b"Server", [b"aigateway"])
            headers.setRawHeaders(b"Content-Type", [EVENT_STREAM])
            headers.setRawHeaders(b"Cache-Control", [b"no-cache"])
            headers.setRawHeaders(b"X-Accel-Buffering", [b"no"])
            for name, value in exchange.headers():
                headers.setRawHeaders(name, [value])

        def stalled() -> None:
            exchange.note = f"the client read nothing for {self._config.write_stall:g} s (write_stall)"
            if request.channel is not None:
                request.channel.abort()

        client = ClientStream(
            request,
            exchange.dialect.writer(exchange.chat, exchange.id, int(self._wall())),
            self._clock,
            head=head,
            ping=self._config.ping,
            write_stall=self._config.write_stall,
            stalled=stalled,
        )
        await self._executor.stream(exchange, client)

    async def _whole(self, request: GatewayRequest, exchange: Exchange) -> None:
        reply = await self._executor.whole(exchange)
        body = exchange.body
        if body is None:
            body = exchange.dialect.render_reply(reply, exchange.chat, exchange.id, int(self._wall()))
        for name, value in exchange.headers():
            request.responseHeaders.setRawHeaders(name, [value])
        exchange.first_byte_at = self._clock.seconds()
        exchange.bytes_out = len(body)
        exchange.chunks = 1
        self._send_body(request, body)

    # ---------------------------------------------------------------- dialects

    def _dialect_of(self, request: GatewayRequest) -> ClientDialect:
        """The dialect of an answer on ``/v1/chat/completions``: the first rule that applies."""
        asked = request.getHeader(b"x-aigateway-dialect")
        if asked is not None and (dialect := DIALECTS.get(asked.decode("latin-1").strip().lower())):
            return dialect
        key = _key_of(request)
        if key is not None and key.dialect is not None:
            return DIALECTS[key.dialect]
        if _is_openai_sdk(request):
            return OPENAI
        return DIALECTS[self._config.chat_completions_dialect]

    def _default_dialect(self, path: bytes, request: GatewayRequest | None) -> ClientDialect:
        """The dialect to speak on a path, where there may be no request to ask."""
        if path.startswith((b"/v1/messages", b"/anthropic/")):
            return CLAUDE
        if path.startswith(b"/openai/"):
            return OPENAI
        if request is not None and request.requestHeaders.hasHeader(b"anthropic-version"):
            return CLAUDE
        if path == b"/v1/chat/completions" and request is not None:
            return self._dialect_of(request)
        if path == b"/v1/models" or (request is not None and _is_openai_sdk(request)):
            return OPENAI
        return DIALECTS[self._config.chat_completions_dialect]

    # --------------------------------------------------------------- admission

    def _screen(self, request: GatewayRequest, method: bytes, target: bytes) -> None:
        """Look at a request's head, before its body: Host, path, method, key."""
        self._check_host(request)
        path = target.partition(b"?")[0]
        methods = self._paths.get(path)
        if methods is None:
            self._authenticate(request)  # who has no key learns nothing of the paths
            raise UnknownPath(self._no_path(path))
        if (method, path) not in PUBLIC:
            self._authenticate(request)
        if method not in methods:
            allowed = tuple(sorted(name.decode() for name in methods))
            raise MethodNotAllowed(
                f"{_shown(method)} is not for {_shown(path)}; use {' or '.join(allowed)}", allowed
            )

    def _check_host(self, request: GatewayRequest) -> None:
        """Exactly one Host, and one that this gateway goes by: a page in a browser must not
        reach it under a name of its own (DNS rebinding)."""
        hosts = request.requestHeaders.getRawHeaders(b"host") or []
        if len(hosts) > 1 or (not hosts and request.channel.version == b"HTTP/1.1"):
            raise MalformedRequest("the request needs exactly one Host header")
        if not hosts:
            return
        host = hosts[0].decode("latin-1").strip().lower()
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdecimal() or host.endswith("]"):
            name = host
        if not name or any(char in name for char in " /\\@,?#\t"):
            raise MalformedRequest("the Host header is not a host")
        if name not in self._hosts:
            raise HostNotAllowed(
                f"this gateway does not go by the name {name[:100]!r}; add it to `hosts` in [gateway]"
            )

    def _authenticate(self, request: GatewayRequest) -> None:
        """Find the client's key and leave it on the request. Unknown and missing sound alike."""
        if not self._keys:
            return
        credential = request.getHeader(b"x-api-key")
        if credential is None:
            scheme, _, token = (request.getHeader(b"authorization") or b"").partition(b" ")
            credential = token.strip() if scheme.lower() == b"bearer" else b""
        digest = hashlib.sha256(credential).digest()
        key = self._keys.get(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            raise Unauthorized(
                "a key of this gateway is needed: send it as `Authorization: Bearer` or `x-api-key`"
            )
        request.client_key = key

    def _known_paths(self) -> dict[bytes, frozenset[bytes]]:
        """The methods of every path, from the routes themselves."""
        found: dict[bytes, set[bytes]] = {}
        for rule in self.app.url_map.iter_rules():
            methods = {method.encode() for method in rule.methods or ()} - {b"OPTIONS"}
            found.setdefault(rule.rule.encode(), set()).update(methods)
        return {path: frozenset(methods) for path, methods in found.items()}

    def _no_path(self, path: bytes) -> str:
        return f"no such path: {_shown(path)}; there are {', '.join(sorted(p.decode() for p in self._paths))}"

    # ----------------------------------------------------------------- answers

    def _send_json(self, request: GatewayRequest, value: object) -> None:
        request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
        self._send_body(request, msgspec.json.encode(value))

    def _send_body(self, request: GatewayRequest, body: bytes) -> None:
        headers = request.responseHeaders
        headers.setRawHeaders(b"Server", [b"aigateway"])
        headers.setRawHeaders(b"Content-Type", [b"application/json"])
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
        request.write(body)

    def _send_error(
        self, request: GatewayRequest, error: GatewayError, exchange: Exchange | None = None
    ) -> None:
        """Answer an error, of which nothing has been sent yet; cut off what has begun."""
        if request.startedWriting:
            request.cut()
            return
        if exchange is None:
            answer = self._render_error(error, request)
        else:
            answer = exchange.dialect.render_error(error, exchange.id)
            for name, value in exchange.headers():
                request.responseHeaders.setRawHeaders(name, [value])
        send_error(request, answer)

    def _render_error(
        self, error: GatewayError, request: GatewayRequest | None, target: bytes | None = None
    ) -> ErrorAnswer:
        """An error where there is no exchange, in the dialect that the path suggests."""
        path = target if target is not None else request.path if request is not None else b""
        dialect = self._default_dialect(path.partition(b"?")[0], request)
        return _with_id(dialect, error, Exchange(dialect, None, 0.0, 0.0).id)

    def _refused(self, error: GatewayError, answer: ErrorAnswer) -> None:
        """A request was refused before its body: it counts, too."""
        headers = dict(answer.headers)
        dialect = CLAUDE if CLAUDE.request_id_header in headers else OPENAI
        exchange = Exchange(dialect, None, self._clock.seconds(), self._wall())
        exchange.id = headers["x-aigateway-request-id"]  # the one that the client was told
        self._stats.stats.begin(dialect.name, False)
        self._stats.record(exchange.outcome(self._clock.seconds(), answer.status, error, left=False))


def _with_id(dialect: ClientDialect, error: GatewayError, id: str) -> ErrorAnswer:
    answer = dialect.render_error(error, id)
    ids = (("x-aigateway-request-id", id), (dialect.request_id_header, id))
    return ErrorAnswer(answer.status, answer.headers + ids, answer.body)


def _key_of(request: GatewayRequest) -> ClientKey | None:
    return request.client_key


def _is_openai_sdk(request: GatewayRequest) -> bool:
    agent = request.getHeader(b"user-agent") or b""
    return agent.startswith(SDK_AGENTS) or any(
        name.lower().startswith(b"x-stainless-") for name, _ in request.requestHeaders.getAllRawHeaders()
    )


def _asks_to_stream(request: GatewayRequest, raw: bytes) -> bool:
    """``?stream=true`` counts where the body says nothing; a plain ``false`` there wins."""
    asked = (request.args or {}).get(b"stream", [b""])[-1]
    return _says_true(asked) and msgspec.json.decode(raw, type=_StreamField).stream is None


def _says_true(text: bytes | None) -> bool:
    return text is not None and text.strip().lower() in (b"true", b"1")


def _shown(text: bytes) -> str:
    """Bytes of a client's, fit for a message."""
    return text[:200].decode("ascii", "backslashreplace")


def _openai_models(names: list[tuple[str, str]]) -> object:
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": owner} for name, owner in names],
    }


def _claude_models(names: list[tuple[str, str]]) -> object:
    ids = [name for name, _ in names]
    return {
        "data": [
            {"type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z"}
            for id in ids
        ],
        "has_more": False,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }
