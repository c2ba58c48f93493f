"""What the configuration says, as frozen records with every default in one place.

How they are read from TOML, and what is refused, is `loading`'s business. Durations are
in seconds and sizes in bytes unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from ..secret import Secret

GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

# Above some 24 days a reactor's own timeout overflows; and nothing here is 2 GiB.
_LONGEST = 1_000_000
_MOST = 2**31 - 1

Seconds = Annotated[float, msgspec.Meta(gt=0, le=_LONGEST)]
SecondsOrOff = Annotated[float, msgspec.Meta(ge=0, le=_LONGEST)]
RateOrOff = Annotated[float, msgspec.Meta(ge=0, le=_LONGEST)]
Count = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Every wait for a provider. ``min_rate`` is in tokens per second; 0 turns it off."""

    connect: Seconds = 10.0
    headers: Seconds = 60.0
    first_token: Seconds = 120.0
    idle: Seconds = 60.0
    total: Seconds = 3600.0
    min_rate: RateOrOff = 0.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client or one provider may cost. JSON depth is not among them: it is always
    `jsontext.MAX_DEPTH`."""

    max_head: Count = 16 * 1024
    max_headers: Count = 100
    max_body: Count = 32 * 1024 * 1024
    head_timeout: Seconds = 10.0
    body_rate: CountOrNone = 1024
    body_grace: Seconds = 10.0
    keep_alive: Seconds = 75.0
    max_pipelined: Count = 16 * 1024
    backlog: Count = 1024
    max_connections: CountOrNone = 10_000
    max_requests: Count = 5_000
    max_streams: Count = 5_000
    queue: CountOrNone = 100
    queue_wait: Seconds = 1.0
    max_lag: SecondsOrOff = 0.1
    account_queue: CountOrNone = 100
    wrong_keys: CountOrNone = 20
    offload: Count = 256 * 1024
    relay_buffer: Count = 128 * 1024
    upstream_max_head: Count = 64 * 1024
    upstream_max_header_lines: Count = 200
    upstream_max_informational: CountOrNone = 10
    upstream_body: Count = 64 * 1024 * 1024
    sse_line: Count = 8 * 1024 * 1024
    sse_event: Count = 16 * 1024 * 1024
    pool: CountOrNone = 100
    pool_idle: Seconds = 30.0


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How an account's failure is answered by asking another one, and by leaving it alone."""

    budget: Share = 0.2
    always: CountOrNone = 10
    backoff: SecondsOrOff = 0.1
    max_backoff: SecondsOrOff = 2.0
    account_wait: SecondsOrOff = 0.0
    eject_after: CountOrNone = 5
    eject_for: Seconds = 5.0
    max_eject: Seconds = 300.0
    eject_share: Share = 0.5


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One credential at a provider. Either an ``api_key``, or (antigravity) an
    ``access_token`` or what it takes to get one: ``refresh_token``, ``client_id``,
    ``client_secret``. An empty ``project`` is discovered. ``weight`` is its share of the requests,
    beside those of the others."""

    name: str
    weight: Count = 1
    api_key: Secret | None = None
    access_token: Secret | None = None
    refresh_token: Secret | None = None
    client_id: str = ""
    client_secret: Secret | None = None
    project: str = ""
    token_url: str = GOOGLE_TOKEN_URL


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream. ``base_urls`` is empty where the kind's defaults apply; they end in no
    slash. ``timeouts`` are whole: the provider's own over the global ones. ``deployments``
    maps a model's name to that of its deployment. ``server`` is the server of OpenAI's dialect
    that it is, ``takes`` what that takes otherwise than is known of it, ``responses`` whether it has
    OpenAI's Responses API; None: OpenAI itself does. ``dialect`` is the one to speak, where the kind
    speaks several and not its first is wanted. ``affinity``: a conversation stays with its account."""

    name: str
    kind: str
    base_urls: tuple[str, ...] = ()
    accounts: tuple[Account, ...]
    timeouts: Timeouts = Timeouts()
    models: tuple[str, ...] = ()
    supports_streaming: bool = True
    relay: Literal["verified", "raw"] = "verified"
    headers: tuple[tuple[str, Secret | str], ...] = ()
    api_version: str = ""
    deployments: Mapping[str, str] = {}
    server: str = ""
    takes: Mapping[str, bool] = {}
    responses: bool | None = None
    dialect: str = ""
    affinity: bool = False


class Target(msgspec.Struct, frozen=True):
    """A provider and the model to ask it for; None is the name that the client asked for."""

    provider: str
    model: str | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern for the model that the client names, and its targets in the order to try.
    ``timeouts`` holds only what the route sets: `Config.timeouts_for` completes them. ``hedge`` is
    the share of requests for which a second target may be asked while the first is slow;
    ``continuation``: another target may go on with an answer that broke off."""

    model: str
    targets: tuple[Target, ...]
    timeouts: Mapping[str, float] = {}
    hedge: Share = 0.0
    continuation: bool = False


class ClientKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a client may come with, kept as its SHA-256 only. ``models`` are patterns
    of what it may ask for; none means all. Of what it may use (`aigateway.allowance`), 0 is no limit."""

    name: str
    digest: bytes
    dialect: str | None = None
    models: tuple[str, ...] = ()
    concurrency: CountOrNone = 0
    requests_per_minute: CountOrNone = 0
    tokens_per_day: CountOrNone = 0

    @property
    def limited(self) -> bool:
        """Whether there is anything that it may not use without end."""
        return bool(self.concurrency or self.requests_per_minute or self.tokens_per_day)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration. ``origin`` says where it came from; ``notes`` is what the
    operator should read at start although nothing is wrong."""

    listen: str = "tcp:8088:interface=127.0.0.1"
    chat_completions_dialect: str = "claude"
    strict: bool = False
    state: str | None = None
    budgets_fail: str = "closed"
    drain: SecondsOrOff = 30.0
    drain_delay: SecondsOrOff = 0.0
    drain_idle: SecondsOrOff = 5.0
    write_stall: Seconds = 60.0
    ping: SecondsOrOff = 15.0
    max_tokens: Count = 8192
    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    summary_interval: SecondsOrOff = 60.0
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    retries: Retries = Retries()
    providers: Mapping[str, Provider] = {}
    routes: tuple[Route, ...] = ()
    keys: tuple[ClientKey, ...] = ()
    demo: bool = False
    origin: str = ""
    notes: tuple[str, ...] = ()

    def timeouts_for(self, route: Route, provider: Provider) -> Timeouts:
        """The limits of one attempt: the route's over the provider's over the global ones."""
        if not route.timeouts:
            return provider.timeouts
        changes: dict[str, Any] = dict(route.timeouts)
        return msgspec.structs.replace(provider.timeouts, **changes)

    def secrets(self) -> frozenset[Secret]:
        """Every secret that the gateway holds, for masking what others say. Clients' keys are
        not among them: only their digests are kept."""
        found: set[Secret | str | None] = set()
        for provider in self.providers.values():
            found.update(value for _, value in provider.headers)
            for account in provider.accounts:
                found.update(
                    (account.api_key, account.access_token, account.refresh_token, account.client_secret)
                )
        return frozenset(secret for secret in found if isinstance(secret, Secret))
