"""Whom one attempt asks, and with what: a provider as it runs, and the request made for it.

When which of them is asked, and what becomes of an answer, is `aigateway.attempts`' business.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from random import random

import msgspec

from .accounts import AccountPool
from .config import Account, Retries, Timeouts
from .config import Provider as ProviderConfig
from .dialects.base import Rendered
from .dialects.fields import refuse_needed
from .dialects.spelling import told
from .events import ChatRequest
from .providers import KINDS
from .providers.base import Credential, Kind
from .secret import Secret
from .signatures import SignatureStore

NOBODY = Credential(Secret("***"), "")
"""Stands for a credential where nothing is sent."""


class RunningProvider:
    """A provider as it runs: its configuration, its kind, its accounts' health."""

    def __init__(
        self,
        config: ProviderConfig,
        retries: Retries | None = None,
        *,
        chance: Callable[[], float] = random,
        previous: RunningProvider | None = None,
    ) -> None:
        """``previous``: the provider of that name until now. The health of its accounts goes on
        where they, and where they are asked, are the same."""
        self.config = config
        self.name = config.name
        self.kind: Kind = KINDS[config.kind](config)
        self.base_urls = config.base_urls or self.kind.base_urls
        same = previous is not None and previous.config.kind == config.kind
        same = same and previous is not None and previous.base_urls == self.base_urls
        before = previous.accounts if same and previous is not None else None
        self.accounts: AccountPool = AccountPool(config.accounts, retries, chance=chance, previous=before)
        self.headers = tuple(
            (name.encode(), (value.reveal() if isinstance(value, Secret) else value).encode())
            for name, value in config.headers
        )

    def shown(self, model: str, now: float) -> dict[str, object]:
        """A target at this provider, as ``/v1/explain`` shows it."""
        ready, ejected = self.accounts.choose(model, now)
        return {
            "provider": self.name,
            "kind": self.config.kind,
            "model": model,
            "account": (ready or ejected)[0].name if ready or ejected else None,
            "accounts": self.accounts.describe(now),
        }


class Try(msgspec.Struct, frozen=True):
    """Whom one attempt asks, and how. ``kind`` is the provider's, as it serves this request."""

    provider: RunningProvider
    kind: Kind
    account: Account
    model: str
    base_url: str
    timeouts: Timeouts
    streamed: bool

    @property
    def more_hosts(self) -> bool:
        """Whether the provider has hosts that are tried after this one."""
        return self.base_url != self.provider.base_urls[-1]

    def at_next_host(self) -> Try:
        """The same at the provider's next host."""
        urls = self.provider.base_urls
        return msgspec.structs.replace(self, base_url=urls[urls.index(self.base_url) + 1])


def session_of(chat: ChatRequest, client: str | None) -> bytes:
    """What stays the same in a conversation of ``client``'s, and so is the beginning of what the
    provider may have cached: whose it is and how it began. Not the system's text, into which
    clients write what changes from request to request."""
    begun = msgspec.msgpack.encode((client, chat.user, chat.messages[:1]))
    return blake2b(begun, digest_size=16).digest()


def render(
    chat: ChatRequest, client: str | None, one: Try, credential: Credential, signatures: SignatureStore
) -> Rendered:
    """The body for one provider, with what it may want back of what it said to ``client``. Raises
    `MalformedRequest`."""
    family = one.kind.family(one.model)
    thoughts = signatures.of(chat, client or "", family)
    foreign = signatures.foreign(chat, client or "", family)
    if thoughts or foreign:
        chat = msgspec.structs.replace(chat, thoughts=thoughts, foreign=foreign)
    rendered = told(chat, one.kind.render(chat, one.model, credential, stream=one.streamed))
    refuse_needed(chat, rendered, one.provider.name)
    return rendered


def stand_in(account: Account) -> Credential:
    """What stands for the credential of ``account`` where its request is only shown."""
    return Credential(NOBODY.token, account.project or "(to be discovered)")


def shown_request(one: Try, rendered: Rendered) -> dict[str, object]:
    """The HTTP request of one attempt, secrets masked, as ``/v1/explain`` shows it."""
    call = one.kind.request(one.base_url, one.model, stand_in(one.account), rendered, stream=one.streamed)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers}
    for name, value in one.provider.config.headers:
        headers[name] = "***" if isinstance(value, Secret) else value
    return {
        "provider": one.provider.name,
        "account": one.account.name,
        "method": call.method.decode(),
        "url": call.url.decode("ascii", "backslashreplace"),
        "headers": headers,
        "body": msgspec.Raw(call.body),
    }
