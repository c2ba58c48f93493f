"""The life of an exchange: its total limit, its place among the open ones, its end.

Whom to ask, and in what order, is `aigateway.attempts`' business.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .accounts import AccountState
from .attempts import Attempts
from .client_stream import ClientStream
from .errors import GatewayError, InternalError, Stopping, UpstreamSilent
from .events import ChatReply
from .exchange import Exchange
from .upstream import Upstream

T = TypeVar("T")


class Executor(Service):
    """Runs exchanges, each by the attempts of the configuration that it began with; ``attempts`` are
    those of the current one. ``stopService`` refuses new ones and fires when the open ones are over,
    or have been ended because the time for draining was."""

    _log = Logger()

    def __init__(self, attempts: Attempts, upstream: Upstream, drain: float, clock: IReactorTime) -> None:
        self.attempts = attempts
        self._upstream = upstream
        self._drain_time = drain
        self._clock = clock
        self._open: set[Exchange] = set()
        self._drained: Deferred[None] | None = None
        self.stopping = False

    # ----------------------------------------------------------------- answers

    async def stream(self, attempts: Attempts, exchange: Exchange, client: ClientStream) -> None:
        """Stream the answer to ``client``.

        Raises a `GatewayError` only while nothing was sent. Afterwards an error is the
        stream's last frame, and the exchange's ``cause``; a bug of ours is such a frame, too,
        and raised for the caller to log.
        """
        client.open()
        try:
            await self._bounded(attempts, exchange, attempts.stream(exchange, client))
        except GatewayError as error:
            if not client.committed:
                raise
            exchange.cause = error
            client.fail(error)
        except CancelledError:
            raise
        except Exception:  # a bug of ours, which the caller logs; the client must not take it for an end
            if client.committed:
                client.fail(InternalError("the gateway failed; its log says why"))
            raise
        finally:
            exchange.first_byte_at = client.first_byte_at
            exchange.chunks, exchange.bytes_out = client.chunks, client.bytes_out
            client.close()

    async def whole(self, attempts: Attempts, exchange: Exchange) -> ChatReply:
        """The whole answer. Raises a `GatewayError`."""
        return await self._bounded(attempts, exchange, attempts.whole(exchange))

    async def count(self, attempts: Attempts, exchange: Exchange) -> int:
        """The tokens of the prompt, the provider's count or an estimate. Raises a `GatewayError`."""
        return await self._bounded(attempts, exchange, attempts.count(exchange))

    async def _bounded(self, attempts: Attempts, exchange: Exchange, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` within the total limit, as one of the exchanges that a drain waits for."""
        if self.stopping:
            work.close()
            raise stopping()
        self._open.add(exchange)
        exchange.work = Deferred.fromCoroutine(work)
        total = attempts.total(exchange)
        timer = self._clock.callLater(total, exchange.interrupt, _total_silence(total))
        try:
            result: T = await exchange.work
            return result
        except CancelledError:
            if exchange.cause is not None:
                raise exchange.cause from None
            raise
        finally:
            exchange.work = None
            if timer.active():
                timer.cancel()
            self._open.discard(exchange)
            if not self._open and self._drained is not None:
                drained, self._drained = self._drained, None
                drained.callback(None)

    def describe(self) -> Mapping[str, list[AccountState]]:
        """The accounts' health, for ``GET /stats``."""
        return self.attempts.describe()

    # ------------------------------------------------------------------ the end

    def refuse_new(self) -> None:
        """From here on every new exchange is refused with `Stopping`."""
        self.stopping = True

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.refuse_new()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        if self._open:
            self._log.info("waiting for {open} open requests", open=len(self._open))
            timer = self._clock.callLater(self._drain_time, self._cut)
            self._drained = Deferred()
            await self._drained
            if timer.active():
                timer.cancel()
            # The last exchange is over, but not yet recorded: that is a turn away.
            await deferLater(self._clock, 0)
        await self._upstream.stop()

    def _cut(self) -> None:
        self._log.warn("ending {open} requests that are still open", open=len(self._open))
        for exchange in list(self._open):
            exchange.interrupt(stopping())


def stopping() -> Stopping:
    return Stopping("the gateway is stopping; try again in a moment", retry_after=1.0)


def _total_silence(total: float) -> UpstreamSilent:
    return UpstreamSilent(f"no whole answer within {total:g} s (limit total)", limit="total")
