"""The attempts at one answer: targets and accounts in turn, until one answers.

Retries are decided here and nowhere else. Until the first byte of an answer has been
written, an error that another account or target may do better than leads to the next one;
after it, the error is the client's to see. One call of one account is `aigateway.calls`'
business; how long an exchange may take, that of `aigateway.executor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import takewhile
from random import random
from typing import TypeVar

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from .account_queue import AccountQueue
from .accounts import FAULTS, AccountState
from .asking import NOBODY, RunningProvider, Try, render, session_of, shown_request, stand_in
from .budget import Credit, RetryBudget, Retrying
from .calls import Caller, Client, Job
from .client_stream import ClientStream
from .config import Account, Config
from .credentials import Credentials
from .dialects.base import Rendered
from .dialects.fields import refuse_dropped
from .errors import (
    AccountExhausted,
    GatewayError,
    MalformedRequest,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)
from .estimate import prompt_tokens
from .events import ChatReply, ChatRequest
from .exchange import Exchange, masked
from .offload import Offload, on_the_spot, weight
from .race import Race
from .report import field_report
from .routing import Resolved, Router
from .signatures import SignatureStore
from .stats import StatsService
from .upstream import Upstream

T = TypeVar("T")

NO_COUNTER = (404, 405)


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
        *,
        offload: Offload | None = None,
        chance: Callable[[], float] = random,
        previous: Attempts | None = None,
    ) -> None:
        """``offload`` takes the heavy work; without it all is done on the spot. ``chance`` draws from
        0 to 1. ``previous`` is what ran with the configuration until now:
        what it knows of accounts that stay the same goes on."""
        self._config = config
        self._router = router
        self._signatures = signatures
        self._clock = clock
        self._chance = chance
        self._credentials = credentials
        before = {} if previous is None else previous._providers
        self._providers: dict[str, RunningProvider] = {
            name: RunningProvider(provider, config.retries, chance=chance, previous=before.get(name))
            for name, provider in config.providers.items()
        }
        self._offload = offload or on_the_spot()
        self._calls = Caller(config, upstream, credentials, signatures, stats, clock, wall, self._offload)
        self._budgets: dict[str, RetryBudget] = {}  # by route: the trouble of one is not the others'
        self._queue = AccountQueue(clock, config.limits.account_queue)
        if previous is not None:
            self._calls.pace = previous._calls.pace
            self._budgets, self._queue = previous._budgets, previous._queue
            for budget in self._budgets.values():
                budget.share, budget.always = config.retries.budget, config.retries.always
            self._queue.places = config.limits.account_queue
        self._hedges: dict[str, Credit] = {route.model: Credit() for route in config.routes if route.hedge}

    async def stream(self, exchange: Exchange, client: ClientStream) -> None:
        """The answer, to ``client`` as it comes. Raises the `GatewayError` that remains."""
        await self._answer(exchange, client, self._calls.streamed)

    async def whole(self, exchange: Exchange) -> ChatReply:
        """The whole answer. Raises the `GatewayError` that remains."""
        return await self._answer(exchange, None, self._calls.whole)

    async def count(self, exchange: Exchange) -> int:
        """The tokens of the prompt: counted by the provider that would be asked first, if it has a
        counter that answers, else a guess, and ``exchange.estimated``. Raises a `GatewayError`
        where the request itself is at fault."""
        chat = exchange.chat
        resolved = self._router.targets(chat.model)
        targets = tuple(takewhile(partial(self._has_counter, chat), resolved.targets))
        if targets:
            counting = msgspec.structs.replace(resolved, targets=targets)
            self._budget(counting).request(self._clock.seconds())
            try:
                return await self._in_turn(exchange, None, self._calls.counted, counting)
            except UpstreamError as error:
                # Servers that speak a dialect need not have its counter.
                if not error.retryable and error.status not in NO_COUNTER:
                    raise
        exchange.estimated = True
        return await self._offload.run(exchange.weight, partial(prompt_tokens, chat))

    async def explain(self, chat: ChatRequest, client: str | None, *, strict: bool) -> Mapping[str, object]:
        """Who would be asked for ``chat`` of ``client``'s now, and what; without asking, or signing
        in. Raises a `GatewayError`."""
        resolved = self._router.targets(chat.model)
        name, model = resolved.targets[0]
        provider, account = self._providers[name], self._providers[name].config.accounts[0]
        if found := next(self._candidates(chat, client, resolved, []), None):
            provider, model, account = found
        one = self._try_of(chat, resolved, provider, model, account)

        def rendered_and_reported() -> tuple[Rendered, Mapping[str, str]]:
            rendered = render(chat, client, one, stand_in(account), self._signatures)
            return rendered, field_report(chat, rendered)

        rendered, fields = await self._offload.run(weight(chat.raw), rendered_and_reported)
        if strict:
            refuse_dropped(rendered, provider.name)
        now = self._clock.seconds()
        return {
            "dialect": chat.dialect,
            "model": chat.model,
            "route": resolved.route.model,
            "targets": [self._providers[name].shown(model, now) for name, model in resolved.targets],
            "request": shown_request(one, rendered),
            "fields": fields,
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

    def describe_retries(self) -> Retrying:
        """What became of requests that could not be answered at once, for ``GET /stats``."""
        denied = sum(budget.denied for budget in self._budgets.values())
        return Retrying(denied, self._queue.waiting, self._queue.refused)

    # ------------------------------------------------------------------- turns

    async def _answer(self, exchange: Exchange, client: ClientStream | None, job: Job[T]) -> T:
        """Try, and wait for an account where all rest and the configuration allows to wait."""
        resolved = self._router.targets(exchange.chat.model)
        self._budget(resolved).request(self._clock.seconds())
        exchange.continues = resolved.route.continuation
        if (credit := self._hedges.get(resolved.route.model)) is not None and client is not None:
            credit.count(resolved.route.hedge)
        patience = self._config.retries.account_wait
        if not patience:
            return await self._in_turn(exchange, client, job, resolved)
        deadline = self._clock.seconds() + patience
        waited = False
        if self._queue.has_line((self, resolved.targets)):  # those came before
            if not await self._wait(exchange, resolved, deadline, again=False):
                raise self._final([self._resting(*self._target(one)) for one in resolved.targets], resolved)
            waited = True
        while True:
            try:
                return await self._in_turn(exchange, client, job, resolved)
            except (UpstreamBusy, AccountExhausted):
                if _begun(client) or not self._ready_by(resolved, deadline):
                    raise
                if not await self._wait(exchange, resolved, deadline, again=waited):
                    raise
                waited = True

    async def _in_turn(
        self, exchange: Exchange, client: ClientStream | None, job: Job[T], resolved: Resolved
    ) -> T:
        """Try each account of each target, until one answers or an error is final."""
        failures: list[UpstreamError] = []
        broken: UpstreamError | None = None  # what the answer broke off with that the client has begun to see
        candidates = self._candidates(exchange.chat, exchange.client, resolved, failures)
        tries = (self._try_of(exchange.chat, resolved, *found) for found in candidates)
        one = next(tries, None)
        while one is not None:
            try:
                return await self._ask(exchange, client, one, job, resolved, tries, failures)
            except UpstreamError as error:
                failures.append(masked(error, self._calls.known_secrets()))
                host = one.more_hosts and _another_host_may_do(error)
                # A refusal to say the rest is no word on what the client asked for.
                if not (error.retryable or host or broken is not None):
                    raise self._told(error, one) from None
                if _begun(client):
                    broken = broken or error
            except MalformedRequest:
                if not failures:
                    raise
                host = False  # not this one, then; those before it failed for other reasons
            if _begun(client):
                following = next(filter(partial(_can_go_on, exchange), tries), None)
            else:
                following = one.at_next_host() if host else next(tries, None)
            if following is not None and not await self._may_go_on(
                exchange, resolved, one, following, failures
            ):
                break
            one = following
        raise self._final(failures, resolved) if broken is None else self._told(broken, None)

    def _candidates(
        self, chat: ChatRequest, client: str | None, resolved: Resolved, failures: list[UpstreamError]
    ) -> Iterator[tuple[RunningProvider, str, Account]]:
        """Whom to ask, in this order: the accounts of each target that are ready, looked up when it
        is their turn. Those that were ejected only where there was nobody else. Targets without
        anybody to ask leave their word in ``failures``."""
        ejected = []
        asked = False
        for name, model in resolved.targets:
            provider = self._providers[name]
            session = session_of(chat, client) if provider.config.affinity else None
            found = provider.accounts.choose(model, self._clock.seconds(), session)
            if not found.ready and not found.ejected:
                failures.append(self._resting(provider, model))
            for account in found.ready:
                # What others found out, while those before it were asked, counts.
                if provider.accounts.allows(account.name, model, self._clock.seconds()):
                    asked = True
                    yield provider, model, account
            ejected += [(provider, model, account) for account in found.ejected]
        if not asked:
            yield from ejected

    def _try_of(
        self, chat: ChatRequest, resolved: Resolved, provider: RunningProvider, model: str, account: Account
    ) -> Try:
        return Try(
            provider=provider,
            kind=provider.kind.for_chat(chat),
            account=account,
            model=model,
            base_url=provider.base_urls[0],
            timeouts=self._config.timeouts_for(resolved.route, provider.config),
            streamed=chat.stream and provider.config.supports_streaming,
        )

    async def _may_go_on(
        self,
        exchange: Exchange,
        resolved: Resolved,
        one: Try,
        following: Try,
        failures: list[UpstreamError],
    ) -> bool:
        """Whether there may be a further attempt, once it is time for it: where the provider itself
        failed, and not one of its accounts, it is given some."""
        if not self._budget(resolved).take(self._clock.seconds()):
            exchange.retry_denied = True
            return False
        retries = self._config.retries
        if following.provider is one.provider and retries.backoff and _at_fault(failures[-1]):
            times = sum(map(_at_fault, failures))
            # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
            longest = min(retries.backoff * 2.0 ** min(times - 1, 30), retries.max_backoff)
            if delay := self._chance() * longest:
                await deferLater(self._clock, delay)
        return True

    async def _ask(
        self,
        exchange: Exchange,
        client: ClientStream | None,
        one: Try,
        job: Job[T],
        resolved: Resolved,
        others: Iterator[Try],
        failures: list[UpstreamError],
    ) -> T:
        """One account; and one of ``others``, where this one is slow and the route allows it."""
        credit = self._hedges.get(resolved.route.model)
        if client is None or credit is None or client.begun or not credit.available():
            return await self._try(exchange, client, one, job)
        slow = self._calls.pace.slow(one.provider.name, one.model)
        if slow is None:
            return await self._try(exchange, client, one, job)
        race: Race[T] = Race(client, partial(self._lost, failures))
        race.enter(lambda lane: self._try(exchange, lane, one, job))

        def hedge() -> None:
            if race.open and credit.available() and (other := next(others, None)) is not None:
                credit.take()
                race.enter(lambda lane: self._try(exchange, lane, other, job))

        timer = self._clock.callLater(slow, hedge)
        try:
            return await race.done
        finally:
            if timer.active():
                timer.cancel()

    def _lost(self, failures: list[UpstreamError], failure: Failure) -> None:
        """One of two that ran side by side has failed; the other goes on."""
        if isinstance(failure.value, UpstreamError):
            failures.append(masked(failure.value, self._calls.known_secrets()))
        elif not isinstance(failure.value, GatewayError):
            self._log.failure("an attempt failed in the gateway, another one goes on", failure)

    async def _try(self, exchange: Exchange, client: Client, one: Try, job: Job[T]) -> T:
        """One account, asked once; twice where the first time cannot have counted."""
        begun = _begun(client)
        try:
            return await self._calls.call(exchange, client, one, job)
        except UpstreamUnreachable as error:
            if not error.untouched or _begun(client) != begun:
                raise
        except UpstreamUnauthorized as error:
            if not error.token_expired:
                raise
            if not self._credentials.renew(one.provider.name, one.account, error.refused):
                self._calls.set_aside(one, error)
                raise
        try:
            return await self._calls.call(exchange, client, one, job)
        except UpstreamUnauthorized as error:
            if error.token_expired:  # the fresh one, too
                self._calls.set_aside(one, error)
            raise

    def _budget(self, resolved: Resolved) -> RetryBudget:
        """What requests by this route may be asked again. There are no more routes than are configured."""
        budget = self._budgets.get(resolved.route.model)
        if budget is None:
            retries = self._config.retries
            budget = self._budgets[resolved.route.model] = RetryBudget(retries.budget, retries.always)
        return budget

    def _has_counter(self, chat: ChatRequest, target: tuple[str, str]) -> bool:
        name, model = target
        provider = self._providers[name]
        kind = provider.kind.for_chat(chat)
        return kind.count(provider.base_urls[0], model, NOBODY, chat) is not None

    # ----------------------------------------------------------------- waiting

    async def _wait(self, exchange: Exchange, resolved: Resolved, deadline: float, *, again: bool) -> bool:
        """Wait for an account; whether there is one."""
        now = self._clock.seconds()
        try:
            return await self._queue.wait(
                # With `self`: accounts that come with another configuration are none of these.
                (self, resolved.targets),
                partial(self._ready_in, resolved),
                deadline - now,
                again=again,
            )
        finally:
            exchange.waited += self._clock.seconds() - now

    def _ready_in(self, resolved: Resolved) -> float | None:
        """In how many seconds an account of any target may be asked; None: in none that is known."""
        now = self._clock.seconds()
        targets = map(self._target, resolved.targets)
        waits = [provider.accounts.earliest(model, now) for provider, model in targets]
        return min((wait for wait in waits if wait is not None), default=None)

    def _ready_by(self, resolved: Resolved, deadline: float) -> bool:
        """Whether all accounts rest, and one is ready again by ``deadline``."""
        wait = self._ready_in(resolved)
        return wait is not None and 0 < wait <= deadline - self._clock.seconds()

    # ------------------------------------------------------------------ errors

    def _resting(self, provider: RunningProvider, model: str) -> UpstreamError:
        """What to say when no account of a provider can be asked now."""
        wait = provider.accounts.earliest(model, self._clock.seconds())
        if wait is None:
            return UpstreamUnauthorized(f"every account of {provider.name} is set aside")
        return UpstreamBusy(f"every account of {provider.name} is resting", retry_after=wait, scope="request")

    def _final(self, failures: list[UpstreamError], resolved: Resolved) -> GatewayError:
        """The error that stands for all that was tried: a wait, if anyone named one, since
        then the client can do something; else the last. While all accounts rest, the wait is
        until the first of them does not."""
        waits = [error for error in failures if isinstance(error, UpstreamBusy)]
        error = min(waits, key=lambda busy: busy.retry_after or 0.0) if waits else failures[-1]
        if isinstance(error, (UpstreamBusy, AccountExhausted)) and (rest := self._ready_in(resolved)):
            error.retry_after = rest
        return self._told(error, None)

    def _target(self, target: tuple[str, str]) -> tuple[RunningProvider, str]:
        return self._providers[target[0]], target[1]

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


def _begun(client: Client) -> bool:
    return client is not None and client.begun


def _can_go_on(exchange: Exchange, one: Try) -> bool:
    """Whether ``one`` may be asked for the rest of the answer that has broken off."""
    return exchange.continuation is not None and exchange.continuation.may_ask(one.kind, one.model)


def _at_fault(error: UpstreamError) -> bool:
    """Whether it is the provider that fails, and not a quota or a credential."""
    return isinstance(error, FAULTS) or (isinstance(error, UpstreamBusy) and error.overloaded)


def _another_host_may_do(error: UpstreamError) -> bool:
    """Whether a kind's other default hosts are worth a try: they serve the same accounts."""
    if isinstance(error, UpstreamBusy):
        return error.overloaded or error.retry_after is None
    if isinstance(error, UpstreamUnauthorized):
        return False
    return error.retryable or error.status == 404
