"""The SQLite file that a gateway's state is kept in. Synchronous: `aigateway.state` calls it in a
thread of its own, one call at a time.

What is in it: the thoughts of models before the calls they made, and their signatures, for the
families of models that want them back (`aigateway.signatures`), by the name of the client's key. So
it holds what a model *thought about* a prompt, though never a prompt: only its owner may read it,
and what is older than ``max_age`` is overwritten with zeros. And what was used, by day, key, provider
and model (`aigateway.ledger`), for `MAX_USAGE_AGE`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import msgspec

from .ledger import DAY, Place, Used, day_of
from .signatures import unpack

APPLICATION_ID = 0x61696777
"""Marks a database as ours: ``aigw``."""
VERSION = 3
"""Version 1 kept thoughts by the ids of calls alone, for all clients alike; version 2 no usage."""
MAX_USAGE_AGE = 400 * DAY
"""Seconds that a day's usage is kept."""
PRUNE_AFTER = 600.0
PRUNE_ROWS = 1000
MOST_CORRUPT = 9
"""Corrupt files that are kept aside; another one replaces the last of them."""

FAULTS = (sqlite3.Error, OSError)
"""What any call here may raise: the disk's troubles and SQLite's."""

_THOUGHTS = """
CREATE TABLE thoughts (
    id INTEGER PRIMARY KEY,
    client TEXT NOT NULL,
    family TEXT NOT NULL,
    key TEXT NOT NULL,
    thought BLOB NOT NULL,
    saved_at REAL NOT NULL,
    UNIQUE (client, family, key)
)
"""
_USAGE = """
CREATE TABLE usage (
    day TEXT NOT NULL,
    client TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    PRIMARY KEY (day, client, provider, model)
) WITHOUT ROWID
"""
_LOAD = """
SELECT id, client, family, key, thought FROM thoughts WHERE id < ? AND saved_at > ? ORDER BY id DESC LIMIT ?
"""
_INSERT = "INSERT OR REPLACE INTO thoughts (client, family, key, thought, saved_at) VALUES (?, ?, ?, ?, ?)"
_ADD = """
INSERT INTO usage (day, client, provider, model,
    requests, input, output, cache_read, cache_write, reasoning, estimated)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, client, provider, model) DO UPDATE SET
    requests = requests + excluded.requests,
    input = input + excluded.input,
    output = output + excluded.output,
    cache_read = cache_read + excluded.cache_read,
    cache_write = cache_write + excluded.cache_write,
    reasoning = reasoning + excluded.reasoning,
    estimated = estimated + excluded.estimated
"""
_SPENT = "SELECT client, model, input + output + cache_read + cache_write FROM usage WHERE day = ?"
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Row(NamedTuple):
    """One thought, as it is kept."""

    client: str
    family: str
    key: str
    thought: bytes
    saved_at: float


class Page(NamedTuple):
    """Some of what was kept, the newest first; ``next`` is where to go on, None at the end."""

    rows: list[tuple[str, str, str, bytes]]
    next: int | None


class Spent(NamedTuple):
    """What was used on one day: tokens by client, and the models that have rows."""

    clients: dict[str, int]
    models: set[str]


class Corrupt(OSError):
    """The file was corrupt and has been moved aside: the next call begins a new one."""


class StateFile:
    """One file, opened by the first call that needs it and again after a fault.

    ``patience`` is how long, in seconds, another process's lock is waited for.
    """

    def __init__(
        self, path: str, *, max_entries: int, max_bytes: int, max_age: float, patience: float = 1.0
    ) -> None:
        self.path = path
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._patience = patience
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # the file that the connection is to
        self._unpruned = 0
        self._pruned_at: float | None = None

    def load(self, before: int | None, count: int, now: float) -> Page:
        """The ``count`` newest thoughts older than those before; None begins with the newest."""
        try:
            connection = self._open()
            start = (1 << 63) - 1 if before is None else before
            found = connection.execute(_LOAD, (start, now - self._max_age, count)).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error
        rows = [(*place, thought) for _, *place, thought in found if _is_whole(place, thought)]
        return Page(rows, found[-1][0] if len(found) == count else None)

    def write(self, rows: Sequence[Row], now: float) -> None:
        """Keep ``rows``, all or none of them; from time to time, forget what is beyond the bounds."""
        self._unpruned += len(rows)
        due = self._pruned_at is None or not 0 <= now - self._pruned_at < PRUNE_AFTER
        try:
            connection = self._open()
            with connection:
                connection.executemany(_INSERT, rows)
                if due or self._unpruned >= PRUNE_ROWS:
                    self._prune(connection, now)
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error

    def spent(self, day: int) -> Spent:
        """What was used on a day."""
        try:
            found = self._open().execute(_SPENT, (_iso(day),)).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error
        spent = Spent({}, set())
        for client, model, tokens in found:
            if isinstance(tokens, int) and tokens > 0:  # else somebody has been at it
                spent.clients[client] = spent.clients.get(client, 0) + tokens
            spent.models.add(model)
        return spent

    def add(self, rows: Mapping[Place, Used]) -> None:
        """Add what was used to what is there, all of it or nothing."""
        told = [_written(*row) for row in rows.items()]
        try:
            connection = self._open()
            with connection:
                connection.executemany(_ADD, told)
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Let go of the file; SQLite then moves what is in its log into it."""
        connection, self._connection = self._connection, None
        self._pruned_at = None
        if connection is not None:
            connection.close()

    def _prune(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute("DELETE FROM thoughts WHERE saved_at <= ?", (now - self._max_age,))
        connection.execute("DELETE FROM usage WHERE day < ?", (_iso(day_of(now - MAX_USAGE_AGE)),))
        size = 0
        sizes = connection.execute("SELECT id, length(thought) FROM thoughts ORDER BY id DESC")
        for entries, (id, length) in enumerate(sizes, 1):
            size += length
            if entries > self._max_entries or size > self._max_bytes:
                sizes.close()
                connection.execute("DELETE FROM thoughts WHERE id <= ?", (id,))
                break
        self._unpruned, self._pruned_at = 0, now

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            if _identity(self.path) == self._opened:
                return self._connection
            self.close()  # somebody has deleted or replaced the file: what is written there is lost
        os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
        # Before SQLite makes it with the process's umask; its log files take over the file's mode.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        connection = sqlite3.connect(self.path, timeout=self._patience, check_same_thread=False)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._opened = connection, _identity(self.path)
        return connection

    def _fault(self, error: sqlite3.DatabaseError) -> Exception:
        """What ``error`` comes to: a file that is corrupt is moved aside."""
        self.close()
        if _code(error) not in _CORRUPT:
            return error
        for number in range(1, MOST_CORRUPT + 1):
            aside = f"{self.path}.corrupt-{number}"
            if not os.path.exists(aside):
                break
        os.replace(self.path, aside)
        for suffix in ("-wal", "-shm"):
            if os.path.exists(self.path + suffix):  # they belong to that file, and would spoil the next
                os.replace(self.path + suffix, aside + suffix)
        return Corrupt(f"{self.path} was corrupt ({error}): it is kept as {aside}, and begun anew")


def _prepare(connection: sqlite3.Connection) -> None:
    """Make ``connection``'s database one of ours, or raise `sqlite3.DatabaseError`."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (tables or version) and application != APPLICATION_ID:
        raise sqlite3.OperationalError("the file is a database of another program")
    if version > VERSION:
        raise sqlite3.OperationalError(f"the file was written by a newer version (schema {version})")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")
    if version < VERSION:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if version < 2:
                # What that kept could not be found again: its keys tell too little.
                connection.execute("DROP TABLE IF EXISTS thoughts")
                connection.execute(_THOUGHTS)
            connection.execute(_USAGE)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _written(place: Place, used: Used) -> tuple[str | int, ...]:
    """A row as `_ADD` takes it."""
    day, client, provider, model = place
    return (
        _iso(day),
        client,
        provider,
        model,
        used.requests,
        used.input,
        used.output,
        used.cache_read,
        used.cache_write,
        used.reasoning,
        used.estimated,
    )


def _iso(day: int) -> str:
    """A day as the file names it: ``2026-11-23``."""
    return date.fromordinal(_EPOCH + day).isoformat()


_EPOCH = date(1970, 1, 1).toordinal()


def _identity(path: str) -> tuple[int, int] | None:
    """Which file ``path`` names, if any."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_whole(place: Iterable[object], thought: object) -> bool:
    """Whether a row is one of ours: SQLite checks its own structure, not what is in it."""
    if not (all(isinstance(part, str) for part in place) and isinstance(thought, bytes)):
        return False
    try:
        unpack(thought)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
