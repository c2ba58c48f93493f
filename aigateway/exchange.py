"""One client request and all that is done for it: what it knows, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import uuid4

from twisted.internet.defer import Deferred

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


class Exchange:
    """Owned by the route that answers the request; the executor fills it in as it goes.

    ``chat`` is `UNREAD` until the body has been understood. ``interrupt`` ends whatever is
    being waited for, for a reason of the gateway's own.
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
        self.strict = False  # a field without a place refuses the request
        self.work: Deferred[Any] | None = None
        self.cause: GatewayError | None = None
        self.asked = 0  # attempts begun; those in `attempts` are over
        self.attempts: list[Attempt] = []
        self.provider: str | None = None
        self.target_model: str | None = None
        self.account: str | None = None
        self.provider_request_id: str | None = None
        self.dropped: tuple[str, ...] = ()
        self.emulated: tuple[str, ...] = ()
        self.mended = 0
        self.simulated = False
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.late_error: GatewayError | None = None
        self.body: bytes | None = None  # a whole answer that goes on as it came
        self.note: str | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.chunks = 0
        self.first_byte_at: float | None = None
        self.answered_at: float | None = None  # the provider's first byte, of the attempt in hand

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
        if self.provider is not None:
            found += [
                (b"x-aigateway-provider", self.provider),
                (b"x-aigateway-model", self.target_model or ""),
                (b"x-aigateway-attempts", str(self.asked)),
            ]
        if self.dropped or self.emulated:
            told = [*self.dropped, *(f"{name};emulated" for name in self.emulated)]
            found.append((b"x-aigateway-dropped", ", ".join(told)))
        if self.estimated:
            found.append((b"x-aigateway-estimated", "true"))
        if self.simulated:
            found.append((b"x-aigateway-simulated", "true"))
        return [(name, _header_value(value)) for name, value in found]

    def outcome(self, now: float, status: int, error: GatewayError | None, *, left: bool) -> Outcome:
        """The one record of this exchange. ``error`` is what the client was told, if anything;
        ``left``: it was not there to be told."""
        told = error or self.late_error
        return Outcome(
            request_id=self.id,
            started_at=self.started_at,
            dialect=self.dialect.name,
            operation=self.operation,
            client=self.client,
            model=self.chat.model,
            provider=self.provider,
            target_model=self.target_model,
            account=self.account,
            streamed=self.chat.stream,
            status=status,
            result=CLIENT_LEFT if left else OK if error is None else error.kind,
            error=self.note or (told.message if told is not None else None),
            stop_reason=self.stop_reason,
            usage=self.usage,
            ttfb=None if self.first_byte_at is None else self.first_byte_at - self.begun_at,
            seconds=now - self.begun_at,
            chunks=self.chunks,
            bytes_out=self.bytes_out,
            bytes_in=self.bytes_in,
            attempts=tuple(self.attempts),
            dropped=self.dropped,
            emulated=self.emulated,
            mended=self.mended,
            simulated=self.simulated,
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
