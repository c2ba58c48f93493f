"""What clients see: the routes, and answers and errors in their dialect.

Formats are the dialects' business, where an answer comes from is the executor's, who may come in
`aigateway.admission`'s, and which dialect is spoken `aigateway.dialect_rules`'. Here a client's
HTTP request becomes an exchange, and the exchange's end an outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from . import listing, metrics
from .admission import Admission
from .channel import GatewayRequest, GatewaySite, send_error
from .client_stream import ClientStream
from .config import Config
from .dialect_rules import DialectRules, check_said, key_of, said_dialect
from .dialects import CLAUDE, DIALECTS, GEMINI, OPENAI, RESPONSES
from .dialects.base import ClientDialect, ErrorAnswer
from .dialects.claude import is_claude_body
from .dialects.claude import parse_request as parse_claude
from .dialects.fields import check, given
from .dialects.gemini import parse_count_request
from .dialects.gemini import parse_request as parse_gemini
from .errors import (
    Forbidden,
    GatewayError,
    InternalError,
    MalformedRequest,
    UnknownModel,
    UnknownPath,
    UnsupportedMediaType,
)
from .events import ChatRequest
from .exchange import Exchange
from .executor import Executor, stopping
from .routing import Router
from .state import State
from .stats import StatsService

EVENT_STREAM = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
CLIENT_HEADERS = ("anthropic-beta", "anthropic-version")
"""Headers of a Claude client's that go on to Anthropic, byte for byte."""


_LISTS = {"claude": listing.claude_models, "gemini": listing.gemini_models}
_ENTRIES = {"claude": listing.claude_model, "gemini": listing.gemini_model}


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
        state: State,
        clock: Any,
        wall: Callable[[], float],
    ) -> None:
        self._config = config
        self._router = router
        self._executor = executor
        self._stats = stats
        self._state = state
        self._clock: IReactorTime = clock
        self._wall = wall
        self._rules = DialectRules(config)
        self._admission = Admission(config, self.app.url_map)
        self._resource = self.app.resource()  # the bound app is held weakly: keep its resource
        self.site = GatewaySite(
            self._resource,
            clock,
            config.limits,
            config.write_stall,
            screen=self._admission.screen,
            render_error=self._render_error,
            refused=self._refused,
        )

    # ------------------------------------------------------------------- routes

    @app.route("/v1/messages", methods=["POST"])
    @app.route("/anthropic/v1/messages", methods=["POST"])
    async def messages(self, request: GatewayRequest) -> None:
        """Anthropic's Messages."""
        await self._converse(request, CLAUDE, parse_claude)

    @app.route("/v1/messages/count_tokens", methods=["POST"])
    @app.route("/anthropic/v1/messages/count_tokens", methods=["POST"])
    async def count_claude_tokens(self, request: GatewayRequest) -> None:
        """Anthropic's counter: the same body, without ``max_tokens``."""
        parse = partial(parse_claude, max_tokens_default=1)
        await self._converse(request, CLAUDE, parse, count="input_tokens")

    @app.route("/v1/chat/completions", methods=["POST"])
    async def chat_completions(self, request: GatewayRequest) -> None:
        """Either dialect's body in; the house format out, OpenAI's to OpenAI's clients."""
        dialect = self._rules.of_chat_completions(request)
        await self._converse(request, dialect, partial(self._parse_here, request))

    @app.route("/openai/v1/chat/completions", methods=["POST"])
    async def openai_chat_completions(self, request: GatewayRequest) -> None:
        """OpenAI's Chat Completions."""
        await self._converse(request, OPENAI, OPENAI.parse_request)

    @app.route("/v1/responses", methods=["POST"])
    @app.route("/openai/v1/responses", methods=["POST"])
    async def responses(self, request: GatewayRequest) -> None:
        """OpenAI's Responses."""
        await self._converse(request, RESPONSES, RESPONSES.parse_request)

    @app.route("/v1beta/models/<path:name>", methods=["POST"])
    @app.route("/v1/models/<path:name>", methods=["POST"])
    async def gemini(self, request: GatewayRequest, name: str) -> None:
        """Gemini's methods: the model and what is wanted of it are in the path."""
        model, _, method = name.rpartition(":")
        match method:
            case "generateContent":
                await self._converse(request, GEMINI, partial(parse_gemini, model=model))
            case "streamGenerateContent":
                events = (request.args or {}).get(b"alt", [b""])[-1] == b"sse"
                parse = partial(parse_gemini, model=model, stream=True, json_array=not events)
                await self._converse(request, GEMINI, parse)
            case "countTokens":
                parse = partial(parse_count_request, model=model)
                await self._converse(request, GEMINI, parse, count="totalTokens")
            case _:
                methods = "generateContent, streamGenerateContent, countTokens"
                problem = f"a model has no method {method[:80]!r}; there are {methods}"
                self._refuse(request, UnknownPath(problem))

    @app.route("/v1/models", methods=["GET"])
    @app.route("/openai/v1/models", methods=["GET"])
    @app.route("/anthropic/v1/models", methods=["GET"])
    def models(self, request: GatewayRequest) -> None:
        """The models that have a name here: OpenAI's list, or that of the caller's own dialect."""
        shown = _LISTS.get(self._rules.of_path(request.path, request).name, listing.openai_models)
        self._send_json(request, shown(self._models(request)))

    @app.route("/v1/models/<path:name>", methods=["GET"])
    @app.route("/openai/v1/models/<path:name>", methods=["GET"])
    @app.route("/anthropic/v1/models/<path:name>", methods=["GET"])
    def model(self, request: GatewayRequest, name: str) -> None:
        """One model: any that a route takes, listed or not."""
        owner = self._owner(request, name)
        if owner is not None:
            shown = _ENTRIES.get(self._rules.of_path(request.path, request).name, listing.openai_model)
            self._send_json(request, shown(name, owner))

    @app.route("/v1beta/models", methods=["GET"])
    def gemini_models(self, request: GatewayRequest) -> None:
        """Gemini's list of models."""
        self._send_json(request, listing.gemini_models(self._models(request)))

    @app.route("/v1beta/models/<path:name>", methods=["GET"])
    def gemini_model(self, request: GatewayRequest, name: str) -> None:
        """One model, in Gemini's form."""
        owner = self._owner(request, name)
        if owner is not None:
            self._send_json(request, listing.gemini_model(name, owner))

    @app.route("/v1/explain", methods=["POST"])
    def explain(self, request: GatewayRequest) -> None:
        """What would become of a request, in any dialect; no provider is asked."""
        key = key_of(request)
        try:
            chat = self._read(request, partial(self._parse_any, request))
            if not self._router.allowed(key, chat.model):
                raise Forbidden(f"this key may not use model {chat.model!r}", param="model")
            client = key.name if key is not None else None
            self._send_json(request, self._executor.explain(chat, client, strict=self._strict(request)))
        except GatewayError as error:
            self._send_error(request, error)

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
        shown["state"] = self._state.describe()
        self._send_json(request, shown)

    @app.route("/metrics", methods=["GET"])
    def prometheus(self, request: GatewayRequest) -> None:
        """The numbers of ``/stats`` for Prometheus."""
        text = metrics.exposition(self._stats.stats, self._executor.describe(), self._clock.seconds())
        self._send_body(request, text, metrics.CONTENT_TYPE.encode())

    @app.handle_errors(HTTPException)  # type: ignore[arg-type]
    def unrouted(self, request: GatewayRequest, failure: Failure) -> None:
        """No such path or method, which `_screen` had not seen."""
        self._refuse(request, UnknownPath(self._admission.no_path(request.path)))

    # ------------------------------------------------------------ conversations

    async def _converse(
        self,
        request: GatewayRequest,
        dialect: ClientDialect,
        parse: Callable[[bytes], ChatRequest],
        count: str = "",
    ) -> None:
        """One exchange from its body to its outcome. ``count``: the name under which the tokens of
        the prompt are told, where these are all that is asked for."""
        key = key_of(request)
        exchange = Exchange(dialect, key.name if key else None, self._clock.seconds(), self._wall())
        if count:
            exchange.operation = "count_tokens"
        counted = False
        error: GatewayError | None = None
        left = False
        try:
            chat = self._read(request, parse)
            if chat.dialect != dialect.name:
                chat = msgspec.structs.replace(chat, answer=dialect.name)
            if count and chat.stream:  # its body may be that of the conversation
                chat = msgspec.structs.replace(chat, stream=False)
            exchange.chat = chat
            exchange.strict = self._strict(request)
            self._stats.stats.begin(dialect.name, chat.stream)
            counted = True
            if self._executor.stopping:
                raise stopping()
            if not self._router.allowed(key, chat.model):
                raise Forbidden(f"this key may not use model {chat.model!r}", param="model")
            self._router.targets(chat.model)
            if count:
                await self._count(request, exchange, count)
            elif chat.stream:
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

    def _strict(self, request: GatewayRequest) -> bool:
        """Whether a field without a place refuses the request."""
        return self._config.strict or _says_true(request.getHeader(b"x-aigateway-strict"))

    def _read(self, request: GatewayRequest, parse: Callable[[bytes], ChatRequest]) -> ChatRequest:
        """The request's body as a chat. Raises `MalformedRequest` or `UnsupportedMediaType`."""
        media = request.getHeader(b"content-type") or b""
        if media.split(b";", 1)[0].strip().lower() != b"application/json":
            raise UnsupportedMediaType("send the body as JSON, with `Content-Type: application/json`")
        raw = request.body()
        if not raw:
            raise MalformedRequest("the request has no body; send a JSON object")
        chat = parse(raw)
        if not chat.stream and chat.dialect != "gemini" and _asks_to_stream(request, raw):
            chat = msgspec.structs.replace(chat, stream=True)
        if chat.dialect == "claude":
            headers = tuple((name, value) for name in CLIENT_HEADERS for value in _sent(request, name))
            chat = msgspec.structs.replace(chat, headers=headers)
        return chat

    def _parse_here(self, request: GatewayRequest, raw: bytes) -> ChatRequest:
        check_said(request, CLAUDE, OPENAI)
        return self._parse_either(raw)

    def _parse_either(self, raw: bytes) -> ChatRequest:
        if is_claude_body(raw):
            return parse_claude(raw, max_tokens_default=self._config.max_tokens)
        return OPENAI.parse_request(raw)

    def _parse_any(self, request: GatewayRequest, raw: bytes) -> ChatRequest:
        """A body for ``/v1/explain``: in the dialect that the header names, else the one that it
        looks like. Gemini's has no model in it, so that may be in the query or beside it."""
        check(raw)
        check_said(request, *DIALECTS.values())
        top = given(raw)
        dialect = said_dialect(request)
        if dialect is None and "contents" in top:
            dialect = GEMINI
        elif dialect is None and "input" in top:
            dialect = RESPONSES
        elif dialect is None and request.requestHeaders.hasHeader(b"anthropic-version"):
            dialect = CLAUDE
        if dialect is GEMINI:
            model = (request.args or {}).get(b"model", [b""])[-1].decode("utf-8", "replace")
            return parse_gemini(raw, model=model)
        if dialect is CLAUDE:
            return parse_claude(raw, max_tokens_default=self._config.max_tokens)
        return self._parse_either(raw) if dialect is None else dialect.parse_request(raw)

    async def _stream(self, request: GatewayRequest, exchange: Exchange) -> None:
        def head() -> None:
            headers = request.responseHeaders
            headers.setRawHeaders(b"Server", [b"aigateway"])
            headers.setRawHeaders(b"Content-Type", [JSON if exchange.chat.json_array else EVENT_STREAM])
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
        self._send_answer(request, exchange, body)

    def _send_answer(self, request: GatewayRequest, exchange: Exchange, body: bytes) -> None:
        """Send what was asked for, whole."""
        for name, value in exchange.headers():
            request.responseHeaders.setRawHeaders(name, [value])
        exchange.first_byte_at = self._clock.seconds()
        exchange.bytes_out = len(body)
        exchange.chunks = 1
        self._send_body(request, body)

    async def _count(self, request: GatewayRequest, exchange: Exchange, name: str) -> None:
        """The tokens of the prompt, under ``name``."""
        tokens = await self._executor.count(exchange)
        self._send_answer(request, exchange, msgspec.json.encode({name: tokens}))

    # ------------------------------------------------------------------ models

    def _models(self, request: GatewayRequest) -> listing.Models:
        """Those with a name that the caller may use."""
        key = key_of(request)
        return [found for found in self._router.models() if self._router.allowed(key, found[0])]

    def _owner(self, request: GatewayRequest, name: str) -> str | None:
        """The provider that is asked for ``name`` first; None where the error has been sent."""
        try:
            if self._router.allowed(key_of(request), name):
                return self._router.targets(name).targets[0][0]
            raise UnknownModel(f"no model {name[:200]!r} for this key", param="model", code="model_not_found")
        except GatewayError as error:
            self._send_error(request, error)
            return None

    # ----------------------------------------------------------------- answers

    def _send_json(self, request: GatewayRequest, value: object) -> None:
        request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
        self._send_body(request, msgspec.json.encode(value))

    def _send_body(self, request: GatewayRequest, body: bytes, media: bytes = JSON) -> None:
        headers = request.responseHeaders
        headers.setRawHeaders(b"Server", [b"aigateway"])
        headers.setRawHeaders(b"Content-Type", [media])
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

    def _refuse(self, request: GatewayRequest, error: GatewayError) -> None:
        """Answer an error where no route could tell what was asked; it counts as a request."""
        answer = self._render_error(error, request)
        send_error(request, answer)
        self._refused(error, answer)

    def _render_error(
        self, error: GatewayError, request: GatewayRequest | None, target: bytes | None = None
    ) -> ErrorAnswer:
        """An error where there is no exchange, in the dialect that the path suggests."""
        path = target if target is not None else request.path if request is not None else b""
        dialect = self._rules.of_path(path.partition(b"?")[0], request)
        return _with_id(dialect, error, Exchange(dialect, None, 0.0, 0.0).id)

    def _refused(self, error: GatewayError, answer: ErrorAnswer) -> None:
        """A request was refused by its head alone: it counts, too."""
        headers = dict(answer.headers)
        exchange = Exchange(DIALECTS[answer.dialect], None, self._clock.seconds(), self._wall())
        exchange.id = headers["x-aigateway-request-id"]  # the one that the client was told
        self._stats.stats.begin(exchange.dialect.name, False)
        self._stats.record(exchange.outcome(self._clock.seconds(), answer.status, error, left=False))


def _with_id(dialect: ClientDialect, error: GatewayError, id: str) -> ErrorAnswer:
    answer = dialect.render_error(error, id)
    ids = (("x-aigateway-request-id", id), (dialect.request_id_header, id))
    return ErrorAnswer(answer.status, answer.headers + ids, answer.body, dialect.name)


def _sent(request: GatewayRequest, name: str) -> list[str]:
    """The values of a header, as often as it was sent."""
    try:
        return [value.decode() for value in request.requestHeaders.getRawHeaders(name.encode(), [])]
    except UnicodeDecodeError:
        raise MalformedRequest(f"the header {name} is not UTF-8") from None


def _asks_to_stream(request: GatewayRequest, raw: bytes) -> bool:
    """``?stream=true`` counts where the body says nothing; a plain ``false`` there wins."""
    asked = (request.args or {}).get(b"stream", [b""])[-1]
    return _says_true(asked) and msgspec.json.decode(raw, type=_StreamField).stream is None


def _says_true(text: bytes | None) -> bool:
    return text is not None and text.strip().lower() in (b"true", b"1")
