"""What clients see: the routes, and answers and errors in their dialect.

Formats are the dialects' business, where an answer comes from is the executor's, who may come in
`aigateway.admission`'s, and which dialect is spoken `aigateway.dialect_rules`'. Here a client's
HTTP request becomes an exchange, and the exchange's end an outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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
from .allowance import Allowances, Allowed, Taken, may_use
from .attempts import Attempts
from .chat_body import is_strict, parse_any, parse_either, read_chat
from .client_request import GatewayRequest
from .client_stream import ClientStream
from .config import ClientKey, Config
from .dialect_rules import DialectRules, key_of, said_dialect
from .dialects import CLAUDE, DIALECTS, GEMINI, OPENAI, RESPONSES
from .dialects.base import ClientDialect, ErrorAnswer
from .dialects.claude import parse_request as parse_claude
from .dialects.gemini import parse_count_request
from .dialects.gemini import parse_request as parse_gemini
from .errors import (
    Forbidden,
    GatewayError,
    InternalError,
    Overloaded,
    UnknownModel,
    UnknownPath,
)
from .events import ChatRequest
from .exchange import Exchange
from .executor import Executor, stopping
from .glance import Glance
from .offload import Offload
from .overload import Capacity
from .refusal import send_error
from .reload import Reload
from .routing import Router
from .running import RunningConfig
from .site import GatewaySite
from .state import State
from .stats import StatsService
from .throttle import WrongKeys

EVENT_STREAM = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
_LISTS = {"claude": listing.claude_models, "gemini": listing.gemini_models}
_ENTRIES = {"claude": listing.claude_model, "gemini": listing.gemini_model}


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
        offload: Offload,
    ) -> None:
        self._executor = executor
        self._stats = stats
        self._state = state
        self._clock: IReactorTime = clock
        self._wall = wall
        self._offload = offload
        self._wrong_keys = WrongKeys(config.limits.wrong_keys)
        self._capacity = Capacity(config.limits, clock)
        self._allowances = Allowances(state.ledger)
        self._glance = Glance(self._capacity, _with_id)
        self._running = self._of(config, router, executor.attempts)
        self.draining = False
        self.reload: Reload | None = None
        self._resource = self.app.resource()  # the bound app is held weakly: keep its resource
        self.site = GatewaySite(
            self._resource,
            clock,
            config.limits,
            config.write_stall,
            screen=self._screen,
            begin=self._begin,
            render_error=self._render_error,
            refused=self._refused,
            brief=self._brief,
        )

    # ------------------------------------------------------------ configuration

    def _of(self, config: Config, router: Router, attempts: Attempts) -> RunningConfig:
        admission = Admission(config, self.app.url_map, self._wrong_keys, self._capacity, self._clock)
        return RunningConfig(config, router, DialectRules(config), admission, attempts)

    def reconfigure(self, config: Config, router: Router, attempts: Attempts) -> None:
        """Take over what a new configuration says, for requests that begin from now on."""
        self._running = self._of(config, router, attempts)
        self._wrong_keys.limit = config.limits.wrong_keys
        self._capacity.reconfigure(config.limits)
        self.site.limits = config.limits
        self.site.write_stall = config.write_stall

    def drain(self, idle: float) -> None:
        """From here on ``/health`` says so, and every answer is the last one on its connection; one
        on which nothing comes for ``idle`` seconds is closed."""
        self.draining = True
        self.site.drain(idle)

    def _screen(self, request: GatewayRequest, method: bytes, target: bytes) -> None:
        """Look at a request's head. Raises the `GatewayError` that refuses it."""
        request.running = self._running
        self._running.admission.screen(request, method, target)

    def _begin(self, request: GatewayRequest, method: bytes, target: bytes) -> None:
        """The request is there, with its body, and begins. What has been configured since its head
        came holds for it, too: a key that is no longer one does not come in late."""
        if request.running is not self._running:
            self._screen(request, method, target)

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
        dialect = request.running.rules.of_chat_completions(request)
        parse = partial(parse_either, request.running.config.max_tokens)
        await self._converse(request, dialect, parse, known=(CLAUDE, OPENAI))

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
        dialect = request.running.rules.of_path(request.path, request)
        shown = _LISTS.get(dialect.name, listing.openai_models)
        self._send_json(request, shown(self._models(request)))

    @app.route("/v1/models/<path:name>", methods=["GET"])
    @app.route("/openai/v1/models/<path:name>", methods=["GET"])
    @app.route("/anthropic/v1/models/<path:name>", methods=["GET"])
    def model(self, request: GatewayRequest, name: str) -> None:
        """One model: any that a route takes, listed or not."""
        owner = self._owner(request, name)
        if owner is not None:
            dialect = request.running.rules.of_path(request.path, request)
            shown = _ENTRIES.get(dialect.name, listing.openai_model)
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
    async def explain(self, request: GatewayRequest) -> None:
        """What would become of a request, in any dialect; no provider is asked."""
        key = key_of(request)
        model = (request.args or {}).get(b"model", [b""])[-1].decode("utf-8", "replace")
        claude = request.requestHeaders.hasHeader(b"anthropic-version")
        parse = partial(parse_any, request.running.config.max_tokens, said_dialect(request), claude, model)
        try:
            chat = await read_chat(self._offload, request, parse, tuple(DIALECTS.values()))
            if not request.running.router.allowed(key, chat.model):
                raise Forbidden(f"this key may not use model {chat.model!r}", param="model")
            client = key.name if key is not None else None
            told = await request.running.attempts.explain(chat, client, strict=is_strict(request))
            self._send_json(request, told)
        except GatewayError as error:
            self._send_error(request, error)

    @app.route("/health", methods=["GET"])
    def health(self, request: GatewayRequest) -> None:
        draining = self.draining or self._executor.stopping
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
        shown["allowances"] = self._describe_keys(request)
        shown["load"] = self._capacity.describe()
        shown["retries"] = self._executor.attempts.describe_retries()
        shown["connections"] = self.site.describe()
        if self.reload is not None:
            shown["configuration"] = self.reload.describe()
        self._send_json(request, shown)

    @app.route("/metrics", methods=["GET"])
    def prometheus(self, request: GatewayRequest) -> None:
        """The numbers of ``/stats`` for Prometheus."""
        gauges = metrics.Gauges(
            self._executor.describe(),
            self._capacity.describe(),
            self._executor.attempts.describe_retries(),
            self.site.describe(),
            self._state.describe(),
            self._describe_keys(request),
        )
        text = metrics.exposition(self._stats.stats, gauges, self._clock.seconds())
        self._send_body(request, text, metrics.CONTENT_TYPE.encode())

    def _describe_keys(self, request: GatewayRequest) -> dict[str, Allowed]:
        now, wall = self._clock.seconds(), self._wall()
        keys = request.running.config.keys
        return {key.name: self._allowances.describe(key, now, wall) for key in keys}

    @app.handle_errors(HTTPException)  # type: ignore[arg-type]
    def unrouted(self, request: GatewayRequest, failure: Failure) -> None:
        """No such path or method, which `_screen` had not seen."""
        self._refuse(request, UnknownPath(request.running.admission.no_path(request.path)))

    # ------------------------------------------------------------ conversations

    async def _converse(
        self,
        request: GatewayRequest,
        dialect: ClientDialect,
        parse: Callable[[bytes], ChatRequest],
        count: str = "",
        known: Collection[ClientDialect] = (),
    ) -> None:
        """One exchange from its body to its outcome. ``count``: the name under which the tokens of
        the prompt are told, where these are all that is asked for. ``known``: where the header
        ``X-AIGateway-Dialect`` counts, the dialects that it may name."""
        key = key_of(request)
        exchange = Exchange(dialect, key.name if key else None, self._clock.seconds(), self._wall())
        if count:
            exchange.operation = "count_tokens"
        counted = False
        taken: Taken | None = None
        error: GatewayError | None = None
        left = False
        try:
            chat = await read_chat(self._offload, request, parse, known)
            if chat.dialect != dialect.name:
                chat = msgspec.structs.replace(chat, answer=dialect.name)
            if count and chat.stream:  # its body may be that of the conversation
                chat = msgspec.structs.replace(chat, stream=False)
            exchange.chat = chat
            exchange.weight = request.weight
            exchange.strict = is_strict(request)
            self._stats.stats.begin(dialect.name, chat.stream)
            counted = True
            if self._executor.stopping:
                raise stopping()
            router = request.running.router
            if not router.allowed(key, chat.model):
                raise Forbidden(f"this key may not use model {chat.model!r}", param="model")
            router.targets(chat.model)
            if key is not None and key.limited and not count:
                taken = await self._allow(key, exchange, request.running.config)
            await self._capacity.enter(chat.stream)
            try:
                if count:
                    await self._count(request, exchange, count)
                elif chat.stream:
                    await self._stream(request, exchange)
                    error = exchange.cause
                else:
                    await self._whole(request, exchange)
            finally:
                self._capacity.leave(chat.stream)
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
            if taken is not None:
                self._allowances.give_back(taken, self._clock.seconds())
            if not counted:
                self._stats.stats.begin(dialect.name, exchange.chat.stream)
            status = 0 if left and not request.startedWriting else int(request.code)
            outcome = exchange.outcome(self._clock.seconds(), status, error, left=left)
            self._stats.record(outcome)
            self._state.book(outcome)

    async def _allow(self, key: ClientKey, exchange: Exchange, config: Config) -> Taken:
        """Take what the request may use out of what its key may. Raises a `GatewayError`."""
        tokens = 0
        if key.tokens_per_day:
            chat = exchange.chat
            await self._state.usage_read()
            tokens = await self._offload.run(exchange.weight, partial(may_use, chat, config.max_tokens))
        open = config.budgets_fail == "open"
        now = self._clock.seconds()
        return self._allowances.take(key, tokens, now, exchange.started_at, fails_open=open)

    async def _stream(self, request: GatewayRequest, exchange: Exchange) -> None:
        config = request.running.config

        def head() -> None:
            headers = request.responseHeaders
            headers.setRawHeaders(b"Server", [b"aigateway"])
            headers.setRawHeaders(b"Content-Type", [JSON if exchange.chat.json_array else EVENT_STREAM])
            headers.setRawHeaders(b"Cache-Control", [b"no-cache"])
            headers.setRawHeaders(b"X-Accel-Buffering", [b"no"])
            for name, value in exchange.headers():
                headers.setRawHeaders(name, [value])

        def stalled() -> None:
            exchange.note = f"the client read nothing for {config.write_stall:g} s (write_stall)"
            if request.channel is not None:
                request.channel.abort()

        client = ClientStream(
            request,
            exchange.dialect.writer(exchange.chat, exchange.id, int(self._wall())),
            self._clock,
            head=head,
            ping=config.ping,
            write_stall=config.write_stall,
            stalled=stalled,
        )
        await self._executor.stream(request.running.attempts, exchange, client)

    async def _whole(self, request: GatewayRequest, exchange: Exchange) -> None:
        reply = await self._executor.whole(request.running.attempts, exchange)
        body = exchange.current.body
        if body is None:
            render = exchange.dialect.render_reply
            created = int(self._wall())
            body = await self._offload.run(
                exchange.bytes_in, partial(render, reply, exchange.chat, exchange.id, created)
            )
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
        tokens = await self._executor.count(request.running.attempts, exchange)
        self._send_answer(request, exchange, msgspec.json.encode({name: tokens}))

    # ------------------------------------------------------------------ models

    def _models(self, request: GatewayRequest) -> listing.Models:
        """Those with a name that the caller may use."""
        key = key_of(request)
        router = request.running.router
        return [found for found in router.models() if router.allowed(key, found[0])]

    def _owner(self, request: GatewayRequest, name: str) -> str | None:
        """The provider that is asked for ``name`` first; None where the error has been sent."""
        try:
            router = request.running.router
            if router.allowed(key_of(request), name):
                return router.targets(name).targets[0][0]
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
        dialect = self._running.rules.of_path(path.partition(b"?")[0], request)
        return _with_id(dialect, error, Exchange(dialect, None, 0.0, 0.0).id)

    def _brief(self, data: bytes) -> bytes | None:
        """The refusal of a request that is not read, since the gateway is overloaded."""
        return self._glance.refusal(data, self._running.rules) if self._capacity.strained else None

    def _refused(self, error: GatewayError, answer: ErrorAnswer) -> None:
        """A request was refused by its head alone: it counts, too; but one that was refused since
        the gateway is overloaded is counted as such alone, and is to cost no more than that."""
        if isinstance(error, Overloaded):
            return
        headers = dict(answer.headers)
        exchange = Exchange(DIALECTS[answer.dialect], None, self._clock.seconds(), self._wall())
        exchange.id = headers["x-aigateway-request-id"]  # the one that the client was told
        self._stats.stats.begin(exchange.dialect.name, False)
        self._stats.record(exchange.outcome(self._clock.seconds(), answer.status, error, left=False))


def _with_id(dialect: ClientDialect, error: GatewayError, id: str) -> ErrorAnswer:
    answer = dialect.render_error(error, id)
    ids = (("x-aigateway-request-id", id), (dialect.request_id_header, id))
    return ErrorAnswer(answer.status, answer.headers + ids, answer.body, dialect.name)
