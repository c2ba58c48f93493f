"""The attempts at one answer: targets and accounts in turn, until one answers.

Retries are decided here and nowhere else. Until the first byte of an answer has been
written, an error that another account or target may do better than leads to the next one;
after it, the error is the client's to see. What bytes mean is decided by the provider
kinds and dialects; how long an exchange may take, by `aigateway.executor`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from itertools import takewhile
from typing import Generic, TypeAlias, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IResponse

from .accounts import AccountState
from .asking import NOBODY, RunningProvider, Try, render, shown_request, stand_in
from .client_stream import ClientStream
from .config import Config, Route
from .credentials import Credentials
from .dialects.base import Rendered
from .dialects.fields import refuse_dropped
from .errors import (
    GatewayError,
    InternalError,
    UpstreamBusy,
    UpstreamError,
    UpstreamGarbled,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)
from .estimate import prompt_tokens, size_of
from .estimate import usage as estimated_usage
from .events import ChatReply, ChatRequest, events_of
from .exchange import Exchange, masked
from .outcome import CLIENT_LEFT, Attempt
from .providers.base import Credential, UpstreamRequest
from .relay import Collector, Relay, let_go
from .report import field_report
from .routing import Resolved, Router
from .secret import Secret
from .signatures import SignatureStore, recorded
from .stats import StatsService
from .translate import Answering, Framing, with_names
from .upstream import Upstream, header_map

T = TypeVar("T")
_Prepared: TypeAlias = tuple[Rendered, UpstreamRequest]

NO_COUNTER = (404, 405)
REQUEST_ID_HEADERS = (b"x-request-id", b"request-id", b"x-cloudaicompanion-trace-id", b"x-log-id")


class _Job(Generic[T]):
    """What is wanted of a provider: ``prepare`` makes the request, ``answer`` what is wanted of
    the response. ``counts``: no more than the tokens of the prompt, which cost none."""

    def __init__(
        self,
        prepare: Callable[[Exchange, Try, Credential], _Prepared],
        answer: Callable[[Exchange, ClientStream | None, Try, Rendered, IResponse], Awaitable[T]],
        *,
        counts: bool = False,
    ) -> None:
        self.prepare = prepare
        self.answer = answer
        self.counts = counts


class Attempts:
    """Asks providers for an exchange's answer. One of these knows the health of all accounts."""

    _log = Logger()

    def __init__(
        self,
        config: Config,
        router: Router,
        upstream: Upstream,
        credentials: Credentials,
        signatures: SignatureStore,
        stats: StatsService,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._config = config
        self._router = router
        self._upstream = upstream
        self._credentials = credentials
        self._signatures = signatures
        self._stats = stats.stats
        self._clock = clock
        self._wall = wall
        self._providers = {name: RunningProvider(provider) for name, provider in config.providers.items()}
        self._secrets = config.secrets()
        limits = config.limits
        self._framing = Framing(limits.sse_line, limits.sse_event, limits.upstream_body)

    async def stream(self, exchange: Exchange, client: ClientStream) -> None:
        """The answer, to ``client`` as it comes. Raises the `GatewayError` that remains."""
        resolved = self._router.targets(exchange.chat.model)
        await self._in_turn(exchange, client, _Job(self._chat, self._carry), resolved)

    async def whole(self, exchange: Exchange) -> ChatReply:
        """The whole answer. Raises the `GatewayError` that remains."""
        resolved = self._router.targets(exchange.chat.model)
        return await self._in_turn(exchange, None, _Job(self._chat, self._gather), resolved)

    async def count(self, exchange: Exchange) -> int:
        """The tokens of the prompt: counted by the provider that would be asked first, if it has a
        counter that answers, else a guess, and ``exchange.estimated``. Raises a `GatewayError`
        where the request itself is at fault."""
        chat = exchange.chat
        resolved = self._router.targets(chat.model)
        targets = tuple(takewhile(partial(self._has_counter, chat), resolved.targets))
        if targets:
            job = _Job(self._counter, self._read_count, counts=True)
            try:
                return await self._in_turn(
                    exchange, None, job, msgspec.structs.replace(resolved, targets=targets)
                )
            except UpstreamError as error:
                # Servers that speak a dialect need not have its counter.
                if not error.retryable and error.status not in NO_COUNTER:
                    raise
        exchange.estimated = True
        return prompt_tokens(chat)

    def explain(self, chat: ChatRequest, client: str | None, *, strict: bool) -> Mapping[str, object]:
        """Who would be asked for ``chat`` of ``client``'s now, and what; without asking, or signing
        in. Raises a `GatewayError`."""
        resolved = self._router.targets(chat.model)
        now = self._clock.seconds()
        targets = [(self._providers[name], model) for name, model in resolved.targets]
        first, model = next(
            (target for target in targets if target[0].accounts.ready(target[1], now)), targets[0]
        )
        account = next(iter(first.accounts.ready(model, now)), first.config.accounts[0])
        streamed = chat.stream and first.config.supports_streaming
        timeouts = self._config.timeouts_for(resolved.route, first.config)
        kind = first.kind.for_chat(chat)
        one = Try(first, kind, account, model, first.base_urls[0], timeouts, streamed, False)
        rendered = render(chat, client, one, stand_in(account), self._signatures)
        if strict:
            refuse_dropped(rendered, first.name)
        return {
            "dialect": chat.dialect,
            "model": chat.model,
            "route": resolved.route.model,
            "targets": [provider.shown(model, now) for provider, model in targets],
            "request": shown_request(one, rendered),
            "fields": field_report(chat, rendered),
        }

    def total(self, exchange: Exchange) -> float:
        """The total limit: it spans all attempts, so the first target's word counts."""
        resolved = self._router.targets(exchange.chat.model)
        first = self._providers[resolved.targets[0][0]]
        return self._config.timeouts_for(resolved.route, first.config).total

    def describe(self) -> Mapping[str, list[AccountState]]:
        """The accounts' health, for ``GET /stats``."""
        now = self._clock.seconds()
        return {name: provider.accounts.describe(now) for name, provider in self._providers.items()}

    async def _in_turn(
        self,
        exchange: Exchange,
        client: ClientStream | None,
        job: _Job[T],
        resolved: Resolved,
    ) -> T:
        """Try each account of each target, until one answers or an error is final."""
        failures: list[UpstreamError] = []
        for name, model in resolved.targets:
            for one in self._tries(exchange, self._providers[name], model, resolved.route, failures):
                try:
                    return await self._try(exchange, client, one, job)
                except UpstreamError as error:
                    failures.append(masked(error, self._known_secrets()))
                    elsewhere = error.retryable or (one.more_hosts and _another_host_may_do(error))
                    if not elsewhere or _begun(client):
                        raise self._told(error, one) from None
        raise self._final(failures)

    def _tries(
        self,
        exchange: Exchange,
        provider: RunningProvider,
        model: str,
        route: Route,
        failures: list[UpstreamError],
    ) -> Iterable[Try]:
        """The attempts at one target, one by one: each account in turn, and each of the kind's
        hosts as long as the last error was one that another host may not have."""
        accounts = provider.accounts.choose(model, self._clock.seconds())
        if not accounts:
            failures.append(self._resting(provider, model))
        streamed = exchange.chat.stream and provider.config.supports_streaming
        timeouts = self._config.timeouts_for(route, provider.config)
        kind = provider.kind.for_chat(exchange.chat)
        for account in accounts:
            for base_url in provider.base_urls:
                more_hosts = base_url != provider.base_urls[-1]
                yield Try(provider, kind, account, model, base_url, timeouts, streamed, more_hosts)
                if not _another_host_may_do(failures[-1]):
                    break

    async def _try(
        self,
        exchange: Exchange,
        client: ClientStream | None,
        one: Try,
        job: _Job[T],
    ) -> T:
        """One account, asked once; twice where the first time cannot have counted."""
        try:
            return await self._ask(exchange, client, one, job)
        except UpstreamUnreachable as error:
            if not error.untouched or _begun(client):
                raise
        except UpstreamUnauthorized as error:
            if not error.token_expired:
                raise
            if not self._credentials.renew(one.provider.name, one.account, error.refused):
                self._set_aside(one, error)
                raise
        try:
            return await self._ask(exchange, client, one, job)
        except UpstreamUnauthorized as error:
            if error.token_expired:  # the fresh one, too
                self._set_aside(one, error)
            raise

    async def _ask(
        self,
        exchange: Exchange,
        client: ClientStream | None,
        one: Try,
        job: _Job[T],
    ) -> T:
        """One request to one account, with its record."""
        provider, chat = one.provider, exchange.chat
        begun = self._clock.seconds()
        exchange.provider, exchange.account, exchange.target_model = (
            provider.name,
            one.account.name,
            one.model,
        )
        self._stats.attempt_started(provider.name, one.model, one.account.name)
        exchange.asked += 1
        exchange.answered_at = None
        exchange.provider_request_id = None
        credential: Credential | None = None
        response: IResponse | None = None
        status: int | None = None
        failed: str | None = InternalError.kind  # unless it turns out otherwise
        try:
            credential = await self._credentials.of(provider.name, provider.kind, one.account, one.base_url)
            rendered, call = job.prepare(exchange, one, credential)
            exchange.dropped, exchange.emulated = rendered.dropped, rendered.emulated
            if exchange.strict:
                refuse_dropped(rendered, provider.name)
            # A count comes at once, as the head of a stream does: the same limit applies.
            response = await self._send(one, call, streamed=one.streamed or job.counts)
            status = response.code
            await self._check(exchange, one, response)
            result = await job.answer(exchange, client, one, rendered, response)
            failed = None
            return result
        except CancelledError:
            failed = CLIENT_LEFT if exchange.cause is None else exchange.cause.kind
            # A provider that was asked has begun to count, and may not have told yet.
            if not job.counts:
                exchange.usage = exchange.usage or estimated_usage(chat, 0)
            raise
        except UpstreamError as error:
            if isinstance(error, UpstreamUnauthorized) and credential is not None:
                error.refused = credential.token
            failed = error.kind
            error.provider_request_id = exchange.provider_request_id
            # Counters have limits of their own: https://docs.anthropic.com/en/api/rate-limits
            if not (job.counts and isinstance(error, UpstreamBusy)):
                self._note(one, error)
            raise
        except GatewayError as error:
            failed = error.kind
            raise
        finally:
            if failed is not None and response is not None:
                let_go(response)  # whoever had its body has done so, but perhaps nobody had
            now = self._clock.seconds()
            attempt = Attempt(
                provider=provider.name,
                model=one.model,
                account=one.account.name,
                status=status,
                error=failed,
                seconds=now - begun,
                ttfb=None if exchange.answered_at is None else exchange.answered_at - begun,
                provider_request_id=exchange.provider_request_id,
            )
            self._stats.attempt_ended(attempt)
            exchange.attempts.append(attempt)

    def _chat(self, exchange: Exchange, one: Try, credential: Credential) -> _Prepared:
        """The request for an answer."""
        rendered = render(exchange.chat, exchange.client, one, credential, self._signatures)
        return rendered, one.kind.request(one.base_url, one.model, credential, rendered, stream=one.streamed)

    def _counter(self, exchange: Exchange, one: Try, credential: Credential) -> _Prepared:
        """The request for a count, of a kind that has one."""
        call = one.kind.count(one.base_url, one.model, credential, exchange.chat)
        assert call is not None  # no other target is asked
        return Rendered(call.body), call

    def _has_counter(self, chat: ChatRequest, target: tuple[str, str]) -> bool:
        name, model = target
        provider = self._providers[name]
        kind = provider.kind.for_chat(chat)
        return kind.count(provider.base_urls[0], model, NOBODY, chat) is not None

    def _send(self, one: Try, call: UpstreamRequest, *, streamed: bool) -> Deferred[IResponse]:
        if one.provider.headers:
            call = msgspec.structs.replace(call, headers=call.headers + one.provider.headers)
        return self._upstream.open(call, one.timeouts, streamed=streamed, host=one.provider.name)

    async def _check(self, exchange: Exchange, one: Try, response: IResponse) -> None:
        """Go on with a 200; raise what anything else means."""
        headers = response.headers
        for name in REQUEST_ID_HEADERS:
            if found := headers.getRawHeaders(name):
                exchange.provider_request_id = found[0][:100].decode("latin-1")
                break
        exchange.simulated = headers.hasHeader(b"x-aigateway-simulated")
        coding = headers.getRawHeaders(b"content-encoding", [b"identity"])[-1]
        if coding.lower() != b"identity":
            raise UpstreamGarbled(f"{one.provider.name} compressed its answer, which was not asked for")
        if response.code != 200:
            body = await self._upstream.read(response, one.timeouts, host=one.provider.name)
            exchange.bytes_in += len(body)
            raise one.kind.parse_error(response.code, header_map(response), body, now=self._wall())

    async def _carry(
        self,
        exchange: Exchange,
        client: ClientStream | None,
        one: Try,
        rendered: Rendered,
        response: IResponse,
    ) -> None:
        """Relay a streamed answer; or, from a provider that does not stream, tell a whole one."""
        chat = exchange.chat
        assert client is not None
        created = int(self._wall())
        writer = exchange.dialect.writer(chat, exchange.id, created)
        client.writer = writer
        if not one.streamed:
            reply = await self._gather(exchange, client, one, rendered, response)
            client.write(writer.write(events_of(reply)), self._clock.seconds())
            return
        stream = one.kind.stream(self._answering(exchange, one, rendered, created), writer)
        relay = Relay(client, stream, one.timeouts, self._clock, one.provider.name)
        try:
            await relay.carry(response)
        finally:
            if not client.begun:  # what this writer has told, nobody heard: who speaks next begins anew
                client.writer = exchange.dialect.writer(chat, exchange.id, created)
            exchange.bytes_in += relay.bytes_in
            exchange.answered_at = relay.first_byte_at
            if client.begun or stream.reported:
                exchange.usage = stream.usage()
            exchange.stop_reason = stream.stop_reason
            exchange.mended = stream.mended
            self._signatures.remember(exchange.client or "", one.kind.family(one.model), stream.signed)
            if stream.late_error is not None:
                exchange.late_error = masked(stream.late_error, self._known_secrets())

    async def _gather(
        self,
        exchange: Exchange,
        client: ClientStream | None,
        one: Try,
        rendered: Rendered,
        response: IResponse,
    ) -> ChatReply:
        """Collect a whole answer."""
        chat = exchange.chat
        collector = Collector(
            self._config.limits.upstream_body, self._clock, one.timeouts.idle, one.provider.name
        )
        try:
            body = await collector.collect(response)
        finally:
            exchange.bytes_in += collector.size
            exchange.answered_at = collector.first_byte_at
        reply = with_names(one.kind.parse_reply(body), rendered.renamed)
        family = one.kind.family(one.model)
        self._signatures.remember(exchange.client or "", family, recorded(reply, family))
        exchange.usage = reply.usage or estimated_usage(chat, size_of(reply))
        exchange.stop_reason = reply.stop_reason
        answering = self._answering(exchange, one, rendered, int(self._wall()))
        exchange.body = one.kind.pass_reply(body, reply, answering)
        return reply

    async def _read_count(
        self,
        exchange: Exchange,
        client: ClientStream | None,
        one: Try,
        rendered: Rendered,
        response: IResponse,
    ) -> int:
        body = await self._upstream.read(response, one.timeouts, host=one.provider.name)
        exchange.bytes_in += len(body)
        return one.kind.parse_count(body)

    def _answering(self, exchange: Exchange, one: Try, rendered: Rendered, created: int) -> Answering:
        raw = one.provider.config.relay == "raw"
        family = one.kind.family(one.model)
        return Answering(exchange.chat, rendered, exchange.id, created, self._framing, raw, family)

    # ---------------------------------------------------------------- accounts

    def _note(self, one: Try, error: UpstreamError) -> None:
        """What the error says of the account's health."""
        if isinstance(error, UpstreamUnauthorized):
            if not error.token_expired:
                self._set_aside(one, error)
            return
        one.provider.accounts.note(one.account.name, one.model, error, self._clock.seconds())

    def _set_aside(self, one: Try, error: UpstreamUnauthorized) -> None:
        """The account is not asked for a while, or until its credential changes; the operator is
        told why."""
        message = masked(error, self._known_secrets()).message
        final = UpstreamUnauthorized(message, scope=error.scope)
        one.provider.accounts.note(one.account.name, one.model, final, self._clock.seconds())
        self._log.warn(
            "{provider}/{account} is set aside{scope}: {reason} {remedy}",
            scope=f" for {one.model}" if error.scope == "model" else "",
            provider=one.provider.name,
            account=one.account.name,
            reason=final.message,
            remedy=error.remedy,
        )

    def _resting(self, provider: RunningProvider, model: str) -> UpstreamError:
        """What to say when no account of a provider can be asked now."""
        wait = provider.accounts.earliest(model, self._clock.seconds())
        if wait is None:
            return UpstreamUnauthorized(f"every account of {provider.name} is set aside")
        return UpstreamBusy(f"every account of {provider.name} is resting", retry_after=wait, scope="request")

    def _final(self, failures: list[UpstreamError]) -> GatewayError:
        """The error that stands for all that was tried: a wait, if anyone named one, since
        then the client can do something; else the last."""
        waits = [error for error in failures if isinstance(error, UpstreamBusy)]
        error = min(waits, key=lambda busy: busy.retry_after or 0.0) if waits else failures[-1]
        return self._told(error, None)

    def _told(self, error: UpstreamError, one: Try | None) -> UpstreamError:
        """``error`` as the client may see it: what a provider says of the gateway's own
        credential is the operator's business."""
        if isinstance(error, UpstreamUnauthorized):
            where = f" at {one.provider.name}" if one is not None else ""
            return UpstreamUnauthorized(
                f"the gateway's own account{where} was refused; its log says why, the client's key is fine",
                provider_status=error.provider_status,
            )
        return error

    def _known_secrets(self) -> Iterable[Secret]:
        return self._secrets | self._credentials.secrets()


def _begun(client: ClientStream | None) -> bool:
    return client is not None and client.begun


def _another_host_may_do(error: UpstreamError) -> bool:
    """Whether a kind's other default hosts are worth a try: they serve the same accounts."""
    if isinstance(error, UpstreamBusy):
        return error.overloaded or error.retry_after is None
    if isinstance(error, UpstreamUnauthorized):
        return False
    return error.retryable or error.status == 404
