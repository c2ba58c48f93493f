"""What outlives the process, in a SQLite file: the signatures that models want back, and what was used.

Write-behind: an answer waits for nothing. What is new is queued and, a second later, written by
the one thread that uses the file; so a killed process loses about a second's worth. While the file
cannot be used, requests are served on from memory, the queue holds what it has room for, and all
of that is written when the file can be used again. What was used has room in any case: it is added
up by row (`aigateway.ledger`), and each time written in one transaction.

Without a configured file nothing is written, and this only tells what is in memory. The file
itself is `aigateway.statefile`'s business.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from .ledger import Ledger, Place, Used, day_of
from .outcome import Outcome
from .signatures import Place as Key
from .signatures import SignatureStore
from .statefile import FAULTS, PRUNE_AFTER, Corrupt, Row, StateFile

T = TypeVar("T")

MAX_AGE = 7 * 86400.0
"""Seconds that a thought is kept on disk: conversations that rest for longer go on without."""
WRITE_AFTER = 1.0
"""Seconds from the first thought or row in the queue to its writing: what ``kill -9`` may lose."""
BATCH = 500
"""Thoughts in one transaction, and in one page of those that are read at the start."""
MAX_QUEUED = 10_000
MAX_QUEUED_BYTES = 16 * 1024 * 1024
FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds between tries at a file that cannot be used: doubled each time."""
READ_WAIT = 2.0
"""Seconds that a request waits, at most, for what was used today to be read at the start."""
STOP_TRIES = 2
"""Tries to write what is queued when all else has stopped."""


class Threads(Protocol):
    """As much of a `ThreadPool` as is used here. One thread: the file takes one call at a time."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object], func: Callable[..., Any], *args: Any
    ) -> None: ...


class State(Service):
    """Keeps ``signatures`` and a ``ledger`` in the file that ``url`` names (``sqlite:///...``), if any.

    What the file holds is put into ``signatures`` after the start, page by page, while requests
    are served already. `stopService` writes what is queued; its Deferred fires when that is done,
    or has failed.
    """

    _log = Logger()
    name = "state"

    def __init__(
        self,
        url: str | None,
        signatures: SignatureStore,
        reactor: Any,
        *,
        wall: Callable[[], float] = time.time,
        threads: Threads | None = None,
        patience: float = 1.0,
    ) -> None:
        """``wall`` dates what is written, for `MAX_AGE`; ``patience`` is how long the thread waits
        for another process's lock. A relative path is one of this moment's working directory."""
        self._signatures = signatures
        self._reactor = reactor
        self._wall = wall
        self._file: StateFile | None = None
        if url is not None:
            self._file = StateFile(
                os.path.abspath(url.removeprefix("sqlite:///")),
                max_entries=signatures.max_entries,
                max_bytes=signatures.max_bytes,
                max_age=MAX_AGE,
                patience=patience,
            )
        self._threads = threads or ThreadPool(0, 1, "state")
        self._today = day_of(wall())
        self.ledger = Ledger(kept=url is not None, unknown=None if url is None else self._today)
        self._booking: dict[Place, Used] = {}  # rows that are being written
        self._usage_read = False
        # Who waits for that; None where there is nothing to read, or it has been tried.
        self._readers: list[Deferred[None]] | None = None if url is None else []
        self._queue: dict[Key, Row] = {}  # the oldest first
        self._queued_bytes = 0
        self._writing: dict[Key, Row] = {}
        self._page: int | None = None  # where the reading goes on
        self._loaded = False
        self._fault = ""  # what is wrong with the file
        self._rest = 0.0
        self._work: Deferred[None] | None = None
        self._next: IDelayedCall | None = None
        self._dropped = 0

    def describe(self) -> Mapping[str, int]:
        """For ``GET /stats``: the file, what waits for it and was dropped, and what is remembered."""
        return {
            "configured": self._file is not None,
            "healthy": not self._fault,
            "queued": len(self._queue) + len(self._writing),
            "dropped": self._dropped,
            "usage_rows": self.ledger.waiting + len(self._booking),
            "entries": len(self._signatures),
            "bytes": self._signatures.bytes,
        }

    def startService(self) -> None:
        super().startService()
        if self._file is not None:
            self._threads.start()
            self._signatures.saved = self._saved
            self._begin(self._file)

    def stopService(self) -> Deferred[None]:
        started = self.running
        super().stopService()
        if self._file is None or not started:
            return succeed(None)
        return Deferred.fromCoroutine(self._stop(self._file))

    async def _stop(self, file: StateFile) -> None:
        self._signatures.saved = None
        self._cancel()
        if self._work is not None:
            await self._work
        self._cancel()
        for _ in range(STOP_TRIES):
            if self._queue or self.ledger.waiting:
                await self._write(file)
        if self._queue or self.ledger.waiting:
            self._log.error(
                "state: {count} signatures and {rows} rows of usage are lost with this process: {fault}",
                count=len(self._queue),
                rows=self.ledger.waiting,
                fault=self._fault,
            )
        try:
            await self._in_thread(file.close)
        except FAULTS as error:
            self._failed(error)
        self._threads.stop()

    # ------------------------------------------------------------------- usage

    def book(self, outcome: Outcome) -> None:
        """A request is over: what it used is to be written."""
        ledger = self.ledger
        idle = not ledger.waiting
        ledger.book(outcome)
        if idle and ledger.waiting and self.running and self._work is None and not self._rest:
            self._schedule(WRITE_AFTER)

    async def usage_read(self) -> None:
        """Wait until it has been tried to read what was used today, for `READ_WAIT` at most."""
        readers = self._readers
        if readers is None:
            return
        reader: Deferred[None] = Deferred(readers.remove)
        readers.append(reader)

        def overdue() -> None:
            readers.remove(reader)
            reader.callback(None)

        timer = self._reactor.callLater(READ_WAIT, overdue)
        try:
            await reader
        finally:
            if timer.active():
                timer.cancel()

    def _tried(self) -> None:
        """The first try at reading it is over."""
        readers, self._readers = self._readers, None
        while readers:
            readers.pop().callback(None)

    # --------------------------------------------------------------- the queue

    def _saved(self, client: str, family: str, key: str, thought: bytes) -> None:
        """Something is new in the store."""
        self._enqueue({(client, family, key): Row(client, family, key, thought, self._wall())})
        if self._work is None and not self._rest:
            self._schedule(WRITE_AFTER)

    def _enqueue(self, rows: Mapping[Key, Row]) -> None:
        for place, row in rows.items():
            if (old := self._queue.pop(place, None)) is not None:
                self._queued_bytes -= len(old.thought)
            self._queue[place] = row
            self._queued_bytes += len(row.thought)
        while len(self._queue) > MAX_QUEUED or self._queued_bytes > MAX_QUEUED_BYTES:
            self._take_oldest()
            self._dropped += 1

    def _take_oldest(self) -> Row:
        row = self._queue.pop(next(iter(self._queue)))
        self._queued_bytes -= len(row.thought)
        return row

    # ---------------------------------------------------------------- the work

    def _schedule(self, seconds: float) -> None:
        """Have the file dealt with in ``seconds``, or before if that is planned already."""
        if self._next is not None:
            if self._next.getTime() <= self._reactor.seconds() + seconds:
                return
            self._next.cancel()
        self._next = self._reactor.callLater(seconds, self._due)

    def _cancel(self) -> None:
        call, self._next = self._next, None
        if call is not None:
            call.cancel()

    def _due(self) -> None:
        self._next = None
        assert self._file is not None
        self._begin(self._file)

    def _begin(self, file: StateFile) -> None:
        work = self._work = Deferred.fromCoroutine(self._deal_with(file))
        work.addErrback(self._broke)
        work.addCallback(self._done)

    def _broke(self, failure: Failure) -> None:
        """A mistake of our own: told as such, and otherwise no worse than a disk's."""
        self._log.failure("state: a mistake in the gateway", failure)
        self._failed(RuntimeError("a mistake in the gateway"))

    def _done(self, _: None) -> None:
        self._work = None
        if self.running:
            more = self._queue or self.ledger.waiting or not self._loaded
            waits = WRITE_AFTER if more else PRUNE_AFTER
            self._schedule(self._rest or waits)

    async def _deal_with(self, file: StateFile) -> None:
        """Read what is there, if that is yet to be done, and write what is queued."""
        if await self._load(file):
            await self._write(file)

    async def _load(self, file: StateFile) -> bool:
        """Go on reading, up to the end or a fault; whether the end is reached."""
        try:
            if not self._usage_read:
                spent = await self._in_thread(file.spent, self._today)
                self._usage_read = True
                self.ledger.restore(self._today, spent.clients, spent.models)
                self._tried()
            while not self._loaded and self.running:
                page = await self._in_thread(file.load, self._page, BATCH, self._wall())
                room = all(self._signatures.restore(*row) for row in page.rows)
                self._page = page.next
                self._loaded = page.next is None or not room
        except FAULTS as error:
            self._failed(error)
        return self._loaded

    async def _write(self, file: StateFile) -> None:
        """Write the queue, batch by batch, up to its end or a fault. An empty one is written too:
        the file is pruned by the way."""
        try:
            self._booking = self.ledger.take()
            if self._booking:
                await self._in_thread(file.add, self._booking)
                self._booking = {}
            while True:
                while self._queue and len(self._writing) < BATCH:
                    row = self._take_oldest()
                    self._writing[row.client, row.family, row.key] = row
                await self._in_thread(file.write, list(self._writing.values()), self._wall())
                self._writing = {}
                if not self._queue:
                    break
        except FAULTS as error:
            self._failed(error)
        else:
            self._works(file)

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await deferToThreadPool(self._reactor, self._threads, call, *arguments)  # type: ignore[arg-type]

    # -------------------------------------------------------------- the health

    def _failed(self, error: Exception) -> None:
        """The file could not be used: what was to be written waits again, before what came since."""
        newer, self._queue = self._queue, {}
        self._queued_bytes = 0
        self._enqueue(self._writing | newer)
        self._writing = {}
        self.ledger.give_back(self._booking)
        self._booking = {}
        self._rest = min(self._rest * 2 or FIRST_REST, LONGEST_REST)
        fault = str(error)
        if not self._usage_read:
            self.ledger.lost = self.ledger.lost or isinstance(error, Corrupt)
            self._tried()
        if fault == self._fault:
            return
        self._fault = fault
        unknown = "" if self._usage_read else _UNKNOWN
        if isinstance(error, Corrupt):
            self._log.error("state: {fault}{unknown}", fault=fault, unknown=unknown)
        else:
            assert self._file is not None
            self._log.error(
                "state: {path} cannot be used ({fault}); requests are served on without it{unknown}",
                path=self._file.path,
                fault=fault,
                unknown=unknown,
            )

    def _works(self, file: StateFile) -> None:
        self._rest = 0.0
        if self._fault:
            self._fault = ""
            self._log.info("state: {path} can be used again", path=file.path)


_UNKNOWN = (
    "; what was used today is not known, so that keys with tokens_per_day are refused"
    " (budgets_fail in [gateway])"
)
