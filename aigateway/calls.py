"""One call of one account: from what is asked to its answer, with its record.

Whom to call, and what to do when it fails, is `aigateway.attempts`' business. What bytes
mean is decided by the provider kinds and dialects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IResponse

from .asking import Try, render
from .client_stream import ClientStream
from .config import Config
from .continuation import Continuation
from .credentials import Credentials
from .dialects.base import Rendered
from .dialects.fields import refuse_dropped
from .errors import (
    GatewayError,
    InternalError,
    UpstreamBusy,
    UpstreamError,
    UpstreamGarbled,
    UpstreamSilent,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)
from .estimate import size_of
from .estimate import usage as estimated_usage
from .events import ChatReply, ChatRequest, Thought, Usage, events_of
from .exchange import Asked, Exchange, masked
from .jsontext import BadJSON, bound
from .offload import Offload, weight
from .outcome import CLIENT_LEFT, OVERTAKEN
from .pace import Pace
from .providers.base import Credential, Kind, UpstreamRequest
from .race import Lane
from .relay import Collector, Relay, let_go
from .secret import Secret
from .signatures import SignatureStore, recorded
from .stats import StatsService
from .translate import Answering, Framing, with_names
from .upstream import Upstream, header_map

T = TypeVar("T")
Prepared: TypeAlias = tuple[Rendered, UpstreamRequest]
Client: TypeAlias = ClientStream | Lane | None
"""Where a streamed answer goes; None for what is wanted whole."""

REQUEST_ID_HEADERS = (b"x-request-id", b"request-id", b"x-cloudaicompanion-trace-id", b"x-log-id")


class Call(msgspec.Struct, frozen=True):
    """One call under way: for whom, of whom, what is asked and was sent, and what is known of the
    answer. ``chat`` is the client's, or what asks for the rest of a broken answer to it."""

    exchange: Exchange
    chat: ChatRequest
    client: Client
    one: Try
    asked: Asked
    rendered: Rendered


class Job(Generic[T]):
    """What is wanted of a provider: ``prepare`` makes the request, ``answer`` what is wanted of
    the response. ``counts``: no more than the tokens of the prompt, which cost none."""

    def __init__(
        self,
        prepare: Callable[[Exchange, ChatRequest, Try, Credential], Prepared],
        answer: Callable[[Call, IResponse], Awaitable[T]],
        *,
        counts: bool = False,
    ) -> None:
        self.prepare = prepare
        self.answer = answer
        self.counts = counts


class Caller:
    """Calls accounts, and notes what that says of their health. ``streamed``, ``whole`` and
    ``counted`` are the jobs that there are; ``pace`` is how fast the targets were."""

    _log = Logger()

    def __init__(
        self,
        config: Config,
        upstream: Upstream,
        credentials: Credentials,
        signatures: SignatureStore,
        stats: StatsService,
        clock: IReactorTime,
        wall: Callable[[], float],
        offload: Offload,
    ) -> None:
        self._upstream = upstream
        self._offload = offload
        self._credentials = credentials
        self._signatures = signatures
        self._stats = stats.stats
        self._clock = clock
        self._wall = wall
        self._secrets = config.secrets()
        limits = config.limits
        self._max_body = limits.upstream_body
        self._framing = Framing(limits.sse_line, limits.sse_event, limits.upstream_body)
        self.pace = Pace()
        self.streamed = Job(self._chat, self._carry)
        self.whole = Job(self._chat, self._gather)
        self.counted = Job(self._counter, self._read_count, counts=True)

    async def call(self, exchange: Exchange, client: Client, one: Try, job: Job[T]) -> T:
        """One request to one account, with its record. Raises a `GatewayError`."""
        provider, accounts = one.provider, one.provider.accounts
        now = self._clock.seconds()
        asked = Asked(provider.name, one.account.name, one.model, now)
        exchange.current = asked
        chat = exchange.chat if exchange.continuation is None else exchange.continuation.chat()
        self._stats.attempt_started(provider.name, one.model, one.account.name)
        accounts.asked(one.account.name, one.model, now)
        exchange.asked += 1
        credential: Credential | None = None
        response: IResponse | None = None
        status: int | None = None
        sent = False
        failed: str | None = InternalError.kind  # unless it turns out otherwise
        try:
            credential = await self._credentials.of(provider.name, provider.kind, one.account, one.base_url)
            rendered, request = await self._offload.run(
                exchange.weight, partial(job.prepare, exchange, chat, one, credential)
            )
            asked.dropped, asked.emulated = rendered.dropped, rendered.emulated
            if exchange.strict and not chat.begun:  # what asks for the rest leaves thinking out
                refuse_dropped(rendered, provider.name)
            sent = True
            # A count comes at once, as the head of a stream does: the same limit applies.
            response = await self._send(one, request, streamed=one.streamed or job.counts)
            status = response.code
            await self._check(asked, one, response)
            result = await job.answer(Call(exchange, chat, client, one, asked, rendered), response)
            accounts.answered(one.account.name, one.model)
            failed = None
            return result
        except CancelledError:
            if isinstance(client, Lane) and client.lost:
                failed = OVERTAKEN
                self.pace.took(provider.name, one.model, self._clock.seconds() - now)
            else:
                cause = exchange.cause
                failed = CLIENT_LEFT if cause is None else cause.kind
                asked.limit = cause.limit if isinstance(cause, UpstreamSilent) else None
            # A provider that was asked has begun to count, and may not have told yet.
            if sent and not job.counts:
                asked.usage = asked.usage or estimated_usage(chat, 0)
            raise
        except UpstreamError as error:
            if isinstance(error, UpstreamUnauthorized) and credential is not None:
                error.refused = credential.token
            failed = error.kind
            asked.limit = error.limit if isinstance(error, UpstreamSilent) else None
            error.provider_request_id = asked.request_id
            # Counters have limits of their own: https://docs.anthropic.com/en/api/rate-limits
            if not (job.counts and isinstance(error, UpstreamBusy)):
                self.note(one, error)
            raise
        except GatewayError as error:
            failed = error.kind
            raise
        finally:
            accounts.released(one.account.name, one.model)  # a probe that has no verdict yet gets none
            if failed is not None and response is not None:
                let_go(response)  # whoever had its body has done so, but perhaps nobody had
            attempt = asked.record(status, failed, self._clock.seconds())
            self._stats.attempt_ended(attempt)
            exchange.attempts.append(attempt)
            exchange.bytes_in += asked.bytes_in

    # -------------------------------------------------------------- the request

    def _chat(self, exchange: Exchange, chat: ChatRequest, one: Try, credential: Credential) -> Prepared:
        """The request for an answer."""
        rendered = render(chat, exchange.client, one, credential, self._signatures)
        return rendered, one.kind.request(one.base_url, one.model, credential, rendered, stream=one.streamed)

    def _counter(self, exchange: Exchange, chat: ChatRequest, one: Try, credential: Credential) -> Prepared:
        """The request for a count, of a kind that has one."""
        call = one.kind.count(one.base_url, one.model, credential, chat)
        assert call is not None  # no other target is asked
        return Rendered(call.body), call

    def _send(self, one: Try, request: UpstreamRequest, *, streamed: bool) -> Deferred[IResponse]:
        if one.provider.headers:
            request = msgspec.structs.replace(request, headers=request.headers + one.provider.headers)
        return self._upstream.open(request, one.timeouts, streamed=streamed, host=one.provider.name)

    # --------------------------------------------------------------- the answer

    async def _check(self, asked: Asked, one: Try, response: IResponse) -> None:
        """Go on with a 200; raise what anything else means."""
        headers = response.headers
        for name in REQUEST_ID_HEADERS:
            if found := headers.getRawHeaders(name):
                asked.request_id = found[0][:100].decode("latin-1")
                break
        asked.simulated = headers.hasHeader(b"x-aigateway-simulated")
        coding = headers.getRawHeaders(b"content-encoding", [b"identity"])[-1]
        if coding.lower() != b"identity":
            raise UpstreamGarbled(f"{one.provider.name} compressed its answer, which was not asked for")
        if response.code != 200:
            body = await self._upstream.read(response, one.timeouts, host=one.provider.name)
            asked.bytes_in += len(body)
            raise one.kind.parse_error(response.code, header_map(response), body, now=self._wall())

    async def _carry(self, call: Call, response: IResponse) -> None:
        """Relay a streamed answer; or, from a provider that does not stream, tell a whole one."""
        exchange, client, one, asked = call.exchange, call.client, call.one, call.asked
        assert client is not None
        created = int(self._wall())
        answer = exchange.continuation
        if answer is None:
            client.writer = exchange.dialect.writer(exchange.chat, exchange.id, created)
            if exchange.continues:
                answer = asked.continuation = Continuation(exchange.chat)
        writer = client.writer
        client.on_begun = lambda: self._begun(call)
        if not one.streamed:
            reply = await self._gather(call, response)
            if answer is None:
                data = writer.write(events_of(reply))
            else:
                assert asked.usage is not None  # told, or estimated
                data = answer.tell(reply, asked.usage, writer, echoes=call.rendered.echoes)
            client.write(data, self._clock.seconds())
            return
        answering = self._answering(call, created)
        if answer is None:
            stream = one.kind.stream(answering, writer)
        else:
            stream = answer.stream(one.kind, answering, writer)
        relay = Relay(client, stream, one.timeouts, self._clock, one.provider.name)
        try:
            await relay.carry(response)
        finally:
            if not client.begun:  # what this writer has told, nobody heard: who speaks next begins anew
                client.writer = exchange.dialect.writer(exchange.chat, exchange.id, created)
            asked.bytes_in += relay.bytes_in
            asked.answered_at = relay.first_byte_at
            if client.begun or stream.reported:
                asked.usage = stream.usage()
            asked.stop_reason = stream.stop_reason
            asked.mended = stream.mended
            self._signatures.remember(exchange.client or "", one.kind.family(one.model), stream.signed)
            if stream.late_error is not None:
                asked.late_error = masked(stream.late_error, self.known_secrets())

    def _begun(self, call: Call) -> None:
        """The first byte of the answer is about to be written."""
        one, asked = call.one, call.asked
        call.exchange.current = asked
        call.exchange.continuation = asked.continuation
        one.provider.accounts.begun(one.account.name, one.model)
        self.pace.took(one.provider.name, one.model, self._clock.seconds() - asked.begun_at)

    async def _gather(self, call: Call, response: IResponse) -> ChatReply:
        """Collect a whole answer."""
        exchange, one, asked = call.exchange, call.one, call.asked
        collector = Collector(self._max_body, self._clock, one.timeouts.idle, one.provider.name)
        try:
            body = await collector.collect(response)
        finally:
            asked.bytes_in += collector.size
            asked.answered_at = collector.first_byte_at
        answering = self._answering(call, int(self._wall()))
        read = partial(_read, one.kind, body, answering)
        reply, asked.body, signed, asked.usage = await self._offload.run(weight(body), read)
        self._signatures.remember(exchange.client or "", answering.family, signed)
        asked.stop_reason = reply.stop_reason
        return reply

    async def _read_count(self, call: Call, response: IResponse) -> int:
        one = call.one
        body = await self._upstream.read(response, one.timeouts, host=one.provider.name)
        call.asked.bytes_in += len(body)
        return one.kind.parse_count(body)

    def _answering(self, call: Call, created: int) -> Answering:
        one, exchange = call.one, call.exchange
        raw = one.provider.config.relay == "raw"
        family = one.kind.family(one.model)
        return Answering(call.chat, call.rendered, exchange.id, created, self._framing, raw, family)

    # ----------------------------------------------------- the account's health

    def note(self, one: Try, error: UpstreamError) -> None:
        """What the error says of the account's health."""
        if isinstance(error, UpstreamUnauthorized):
            if not error.token_expired:
                self.set_aside(one, error)
            return
        if isinstance(error, UpstreamUnreachable) and error.untouched:  # an old connection: says nothing
            return
        one.provider.accounts.note(one.account.name, one.model, error, self._clock.seconds())

    def set_aside(self, one: Try, error: UpstreamUnauthorized) -> None:
        """The account is not asked for a while, or until its credential changes; the operator is
        told why."""
        message = masked(error, self.known_secrets()).message
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

    def known_secrets(self) -> Iterable[Secret]:
        """What must not be seen in an error."""
        return self._secrets | self._credentials.secrets()


def _read(
    kind: Kind, body: bytes, answering: Answering
) -> tuple[ChatReply, bytes | None, Mapping[str, Thought], Usage]:
    """A whole answer: what it says, the same for a client of the provider's dialect, what the provider
    may want back, and what it used. Raises `UpstreamError`."""
    try:
        bound(body)
    except BadJSON as error:
        raise UpstreamGarbled(f"the answer is not JSON that can be read: {error}") from None
    reply = with_names(kind.parse_reply(body), answering.rendered.renamed)
    usage = reply.usage or estimated_usage(answering.chat, size_of(reply))
    return reply, kind.pass_reply(body, reply, answering), recorded(reply, answering.family), usage
