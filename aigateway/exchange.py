"""One client request and all that is done for it: what it knows, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import uuid4

from twisted.internet.defer import Deferred

from .continuation import Continuation
from .dialects.base import ClientDialect
from .errors import GatewayError
from .events import ChatRequest, Usage
from .outcome import CLIENT_LEFT, OK, Attempt, Outcome
from .secret import Secret, mask

E = TypeVar("E", bound=GatewayError)

UNREAD = ChatRequest(dialect="", model="", messages=())
"""Stands for the chat of a request that was refused before its body was understood."""
MAX_MESSAGE = 2_000
"""Characters of a provider's error text that go on to the client."""


class Asked:
    """One attempt as it goes on: whom it asks, and what is known of its answer.

    ``answered_at`` is when the first byte of the answer's body came, by the monotonic clock;
    ``body`` a whole answer that goes on as it came; ``continuation`` what follows the answer, where
    another target may go on with it; ``limit`` the name of the limit that ended it.
    """

    def __init__(self, provider: str | None, account: str | None, model: str | None, now: float) -> None:
        self.provider = provider
        self.account = account
        self.model = model
        self.begun_at = now
        self.answered_at: float | None = None
        self.request_id: str | None = None
        self.dropped: tuple[str, ...] = ()
        self.emulated: tuple[str, ...] = ()
        self.mended = 0
        self.simulated = False
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.late_error: GatewayError | None = None
        self.body: bytes | None = None
        self.continuation: Continuation | None = None
        self.bytes_in = 0
        self.limit: str | None = None

    def record(self, status: int | None, error: str | None, now: float) -> Attempt:
        """What it leaves behind; ``error`` as `Attempt` has it."""
        assert self.provider is not None
        assert self.account is not None
        assert self.model is not None
        return Attempt(
            provider=self.provider,
            model=self.model,
            account=self.account,
            status=status,
            error=error,
            seconds=now - self.begun_at,
            ttfb=None if self.answered_at is None else self.answered_at - self.begun_at,
            provider_request_id=self.request_id,
            usage=self.usage,
            limit=self.limit,
        )


class Exchange:
    """Owned by the route that answers the request; the executor fills it in as it goes.

    ``chat`` is `UNREAD` until the body has been understood. ``current`` is the attempt that answers,
    or was made last. ``continuation`` follows the answer once it has begun, on routes where another
    target may go on with it (``continues``). ``interrupt`` ends whatever is being waited for, for a
    reason of the gateway's own.
    """

    def __init__(self, dialect: ClientDialect, client: str | None, now: float, started_at: float) -> None:
        self.id = f"req_{uuid4().hex}"
        self.dialect = dialect
        self.client = client
        self.begun_at = now
        self.started_at = started_at
        self.chat = UNREAD
        self.operation = "chat"
        self.estimated = False  # the count that was asked for is the gateway's own
        self.weight = 0  # what the request weighs, see `aigateway.offload`
        self.strict = False  # a field without a place refuses the request
        self.work: Deferred[Any] | None = None
        self.cause: GatewayError | None = None
        self.asked = 0  # attempts begun; those in `attempts` are over
        self.attempts: list[Attempt] = []
        self.current = Asked(None, None, None, now)
        self.continues = False
        self.continuation: Continuation | None = None
        self.waited = 0.0  # seconds, for an account
        self.retry_denied = False
        self.note: str | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.chunks = 0
        self.first_byte_at: float | None = None

    @property
    def usage(self) -> Usage | None:
        """That of the answer, by however many targets."""
        return self.current.usage if self.continuation is None else self.continuation.usage()

    def interrupt(self, cause: GatewayError) -> None:
        """Stop the work; its waiter sees ``cause``. Nothing where the work is over."""
        work = self.work
        if work is not None and self.cause is None:
            self.cause = cause
            work.cancel()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What is known by now, for the head of the answer."""
        found = [
            (b"x-aigateway-request-id", self.id),
            (self.dialect.request_id_header.encode(), self.id),
        ]
        current = self.current
        if current.provider is not None:
            found += [
                (b"x-aigateway-provider", current.provider),
                (b"x-aigateway-model", current.model or ""),
                (b"x-aigateway-attempts", str(self.asked)),
            ]
        if current.dropped or current.emulated:
            told = [*current.dropped, *(f"{name};emulated" for name in current.emulated)]
            found.append((b"x-aigateway-dropped", ", ".join(told)))
        if self.estimated:
            found.append((b"x-aigateway-estimated", "true"))
        if current.simulated:
            found.append((b"x-aigateway-simulated", "true"))
        return [(name, _header_value(value)) for name, value in found]

    def outcome(self, now: float, status: int, error: GatewayError | None, *, left: bool) -> Outcome:
        """The one record of this exchange. ``error`` is what the client was told, if anything;
        ``left``: it was not there to be told."""
        current = self.current
        told = error or current.late_error
        return Outcome(
            request_id=self.id,
            started_at=self.started_at,
            dialect=self.dialect.name,
            operation=self.operation,
            client=self.client,
            model=self.chat.model,
            provider=current.provider,
            target_model=current.model,
            account=current.account,
            streamed=self.chat.stream,
            status=status,
            result=CLIENT_LEFT if left else OK if error is None else error.kind,
            error=self.note or (told.message if told is not None else None),
            stop_reason=current.stop_reason,
            usage=self.usage,
            ttfb=None if self.first_byte_at is None else self.first_byte_at - self.begun_at,
            seconds=now - self.begun_at,
            chunks=self.chunks,
            bytes_out=self.bytes_out,
            bytes_in=self.bytes_in,
            attempts=tuple(self.attempts),
            dropped=current.dropped,
            emulated=current.emulated,
            mended=current.mended,
            simulated=current.simulated,
            waited=self.waited,
            retry_denied=self.retry_denied,
        )


def masked(error: E, secrets: Iterable[Secret]) -> E:
    """``error`` with every known secret taken out of all that a client may see of it; its message
    is also cut short."""
    known = list(secrets)
    error.message = mask(error.message, known)[:MAX_MESSAGE]
    error.param = error.param and mask(error.param, known)[:MAX_MESSAGE]
    error.code = error.code and mask(error.code, known)
    return error


def _header_value(text: str) -> bytes:
    """``text`` as a header value: visible ASCII, whatever a client or a provider wrote."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:1_000]).encode("ascii")
