"""What each account is authorized with, fetched and kept fresh where that takes a request.

API keys are simply there. Antigravity's accounts sign in by OAuth (an access token from a
refresh token) and need a project. Formats are `aigateway.providers.antigravity`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from .config import Account, Config, Timeouts
from .errors import GatewayError, UpstreamFailed, UpstreamUnauthorized
from .providers import antigravity, oauth
from .providers.base import Credential, Kind, UpstreamRequest
from .secret import Secret
from .upstream import Upstream

EARLY = 300.0
"""Seconds before its expiry at which a token is no longer used."""
ONBOARDING_TRIES = 10
ONBOARDING_PAUSE = 3.0


_Who: TypeAlias = tuple[str, Account]


class Credentials:
    """The credentials of all accounts of one configuration. ``of`` is what a request waits for."""

    def __init__(self, upstream: Upstream, timeouts: Timeouts, clock: IReactorTime) -> None:
        self._upstream = upstream
        self._timeouts = timeouts
        self._clock = clock
        self._static: dict[_Who, Credential] = {}
        self._signed_in: dict[_Who, _SignIn] = {}

    def renewed(self, config: Config) -> Credentials:
        """Those of ``config``: an account that is the same there keeps its token, and whoever waits
        for it. The others begin anew; what they had stays here, for requests that go on with it."""
        fresh = Credentials(self._upstream, config.timeouts, self._clock)
        for provider in config.providers.values():
            for account in provider.accounts:
                if (sign_in := self._signed_in.get((provider.name, account))) is not None:
                    fresh._signed_in[provider.name, account] = sign_in
        return fresh

    async def of(self, provider: str, kind: Kind, account: Account, base_url: str) -> Credential:
        """The credential of ``account``. Raises `UpstreamError` where it cannot be had."""
        who = provider, account
        if (credential := self._static.get(who)) is not None:
            return credential
        if kind.name != "antigravity":
            assert account.api_key is not None
            credential = self._static[who] = Credential(account.api_key)
            return credential
        sign_in = self._signed_in.get(who)
        if sign_in is None:
            sign_in = self._signed_in[who] = _SignIn(
                provider, account, base_url, self._upstream, self._timeouts, self._clock
            )
        if (credential := sign_in.current()) is not None:
            return credential
        return await sign_in.wait()

    def renew(self, provider: str, account: Account, refused: Secret | None) -> bool:
        """Forget the token ``refused`` by the provider; whether another one can be had."""
        sign_in = self._signed_in.get((provider, account))
        return sign_in is not None and sign_in.forget(refused)

    def secrets(self) -> frozenset[Secret]:
        """The tokens that were fetched, for masking."""
        return frozenset(token for one in self._signed_in.values() for token in one.tokens)


class _SignIn:
    """One OAuth account: its token, its project, and the one flight that fetches them for
    any number of waiting requests. A waiter that gives up leaves the others alone."""

    _log = Logger(namespace="aigateway.credentials")

    def __init__(
        self,
        provider: str,
        account: Account,
        base_url: str,
        upstream: Upstream,
        timeouts: Timeouts,
        clock: IReactorTime,
    ) -> None:
        self._provider = provider
        self._account = account
        self._name = f"{provider}/{account.name}"
        self._base_url = base_url
        self._upstream = upstream
        self._timeouts = timeouts
        self._clock = clock
        self._token: Secret | None = account.access_token if account.refresh_token is None else None
        self._expires = float("inf")
        self._project = account.project
        self._waiting: list[Deferred[Credential]] = []
        self._flying = False
        self.tokens: tuple[Secret, ...] = ()

    def current(self) -> Credential | None:
        if self._token is None or not self._project or self._clock.seconds() >= self._expires:
            return None
        return Credential(self._token, self._project)

    def forget(self, refused: Secret | None) -> bool:
        if self._account.refresh_token is None:
            return False
        if self._token == refused:  # else it has been replaced since
            self._token = None
        return True

    def wait(self) -> Deferred[Credential]:
        waiter: Deferred[Credential] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        if not self._flying:
            self._flying = True
            Deferred.fromCoroutine(self._fetch()).addBoth(self._landed)
        return waiter

    def _landed(self, result: Credential | Failure) -> None:
        self._flying = False
        waiting, self._waiting = self._waiting, []
        if isinstance(result, Failure) and not result.check(GatewayError):
            self._log.failure("signing in {name} failed", result, name=self._name)
            result = Failure(UpstreamFailed(f"signing in at {self._provider} failed in the gateway"))
        for waiter in waiting:
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)

    async def _fetch(self) -> Credential:
        if self._token is None or self._clock.seconds() >= self._expires:
            await self._refresh()
        assert self._token is not None
        if not self._project:
            self._project = await self._discover(Credential(self._token))
            self._log.info("{name} has its project", name=self._name)
        return Credential(self._token, self._project)

    async def _refresh(self) -> None:
        status, _, body = await self._ask(oauth.refresh_request(self._account))
        fresh = oauth.parse_token(status, body)
        self._token = fresh.token
        if fresh.refresh_token is not None:  # rotated; the old one no longer works
            self._account = msgspec.structs.replace(self._account, refresh_token=fresh.refresh_token)
        secrets = (fresh.token, fresh.refresh_token)
        # A late error may still quote the last ones.
        self.tokens = (*self.tokens[-2:], *(secret for secret in secrets if secret is not None))
        self._expires = self._clock.seconds() + max(fresh.expires_in - EARLY, fresh.expires_in / 2)

    async def _discover(self, credential: Credential) -> str:
        """The project that Code Assist has for this account, made on the spot if need be."""
        found = antigravity.parse_discovery(
            *await self._ask(antigravity.discover_request(self._base_url, credential))
        )
        if found.project:
            return found.project
        if found.ineligible is not None:
            raise UpstreamUnauthorized(f"{self._name} may not use Code Assist: {found.ineligible}")
        onboard = antigravity.onboard_request(self._base_url, credential, found.tier)
        for _ in range(ONBOARDING_TRIES):
            if project := antigravity.parse_onboarding(*await self._ask(onboard)):
                return project
            await deferLater(self._clock, ONBOARDING_PAUSE, _nothing)
        raise UpstreamUnauthorized(
            f"{self._provider} has no project for account {self._account.name};"
            " set `project` in its configuration"
        )

    async def _ask(self, call: UpstreamRequest) -> tuple[int, Mapping[str, str], bytes]:
        return await self._upstream.fetch(call, self._timeouts, host=self._provider)


def _nothing() -> None:
    """What `deferLater` calls when the pause is over."""
