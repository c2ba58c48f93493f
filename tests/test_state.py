"""What outlives the process: written behind, read back, and never in the way of a request."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Sequence
from typing import Any

from aigateway.config import Config
from aigateway.events import ChatRequest, Message, ThinkingBlock, Thought, ToolUseBlock
from aigateway.signatures import SignatureStore, call_key, pack
from aigateway.state import BATCH, LONGEST_REST, MAX_AGE, MAX_QUEUED, WRITE_AFTER, State
from aigateway.statefile import MOST_CORRUPT, PRUNE_AFTER, PRUNE_ROWS, Corrupt, Row, StateFile
from aigateway.tap import compose

from .fakes import DONE, EPOCH, STOP, GatewayTestCase, chunk

DAY = 86400.0


def thought(text: str = "hm", signature: str = "E1") -> Thought:
    return Thought((ThinkingBlock(text, signature),))


def key(id: str) -> str:
    return call_key(ToolUseBlock(id, "look", "{}"))


def row(id: str, at: float = EPOCH, data: bytes | None = None) -> Row:
    return Row("Ann", "claude", key(id), pack(thought()) if data is None else data, at)


class Threads:
    """A pool of threads whose work is done at once, or, when ``held``, by `run`."""

    def __init__(self) -> None:
        self.held = False
        self.running = False
        self._jobs: list[Callable[[], None]] = []

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object], func: Callable[..., Any], *args: Any
    ) -> None:
        def job() -> None:
            try:
                result = func(*args)
            except Exception as error:
                onResult(False, error)
            else:
                onResult(True, result)

        self._jobs.append(job)
        if not self.held:
            self.run()

    def run(self) -> None:
        self.held = False
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job()


class StateTestCase(GatewayTestCase):
    """A gateway in memory, and a state in a file of the test's own."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder() / "of its own" / "state.db"
        self.states: list[State] = []

    def tearDown(self) -> None:
        for state in self.states:
            self.stop(state)
        super().tearDown()

    def begin(self, signatures: SignatureStore | None = None, url: str | None = "") -> State:
        """A state on the file, and what it keeps."""
        self.store = SignatureStore() if signatures is None else signatures
        self.threads = Threads()
        state = State(
            f"sqlite:///{self.path}" if url == "" else url,
            self.store,
            self.network,
            wall=self.wall,
            threads=self.threads,
            patience=0.01,
        )
        self.states.append(state)
        state.startService()
        self.network.flush()
        return state

    def stop(self, state: State) -> None:
        if state.running:
            stopped = state.stopService()
            self.network.flush()
            self.successResultOf(stopped)

    def remember(self, *ids: str, text: str = "hm") -> None:
        self.store.remember("Ann", "claude", {key(id): thought(text) for id in ids})

    def remembers(self, id: str, client: str = "Ann") -> bool:
        call = Message("assistant", (ToolUseBlock(id, "look", "{}"),))
        found = self.store.of(ChatRequest(dialect="claude", model="m", messages=(call,)), client, "claude")
        return bool(found)

    def written(self) -> list[str]:
        """The keys in the file, the oldest first."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as connection:
            found = connection.execute("SELECT key FROM thoughts ORDER BY id").fetchall()
        connection.close()
        return [key for (key,) in found]

    def told(self) -> list[str]:
        """The log lines about the state."""
        return [line for line in self.logged if line.startswith("state: ")]


class WriteBehind(StateTestCase):
    def test_outlives_a_restart(self) -> None:
        """What one process remembered, the next one remembers; for the same client."""
        state = self.begin()
        self.remember("a", "b")
        self.stop(state)
        self.assertFalse(self.threads.running)
        self.begin()
        self.assertTrue(self.remembers("a") and self.remembers("b"))
        self.assertFalse(self.remembers("c"))
        self.assertFalse(self.remembers("a", "Bob"))

    def test_two_clients(self) -> None:
        """The same call of two clients is kept for both."""
        state = self.begin()
        for client in ("Ann", "Bob"):
            self.store.remember(client, "claude", {key("a"): thought(client)})
        self.stop(state)
        self.begin()
        self.assertTrue(self.remembers("a", "Ann") and self.remembers("a", "Bob"))

    def test_a_killed_process(self) -> None:
        """A process that is killed has lost no more than the last second's."""
        self.begin()
        self.remember("a")
        self.assertEqual(self.written(), [])
        self.advance(WRITE_AFTER)
        self.assertEqual(self.written(), [key("a")])

    def test_without_a_file(self) -> None:
        """Nothing is configured, nothing is written: only memory is told of."""
        state = self.begin(url=None)
        self.remember("a")
        self.assertFalse(self.threads.running)
        expected = {"configured": False, "healthy": True, "queued": 0, "dropped": 0, "entries": 1}
        self.assertEqual(state.describe(), expected | {"usage_rows": 0, "bytes": self.store.bytes})
        self.assertEqual(os.listdir(self.path.parent.parent), [])

    def test_nothing_waits_for_it(self) -> None:
        """While the thread is busy, new ones queue and old ones are found; then all is written."""
        state = self.begin()
        self.remember("a")
        self.threads.held = True
        self.advance(WRITE_AFTER)
        self.remember("b")
        self.assertTrue(self.remembers("a") and self.remembers("b"))
        self.assertEqual(state.describe()["queued"], 2)
        self.threads.run()
        self.advance(WRITE_AFTER)
        self.assertEqual(self.written(), [key("a"), key("b")])
        self.assertEqual(state.describe()["queued"], 0)

    def test_read_page_by_page(self) -> None:
        """At the start the newest are read as far as there is room, while requests are served."""
        self.begin(SignatureStore(max_entries=3 * BATCH))
        ids = [str(number) for number in range(2 * BATCH + 10)]
        self.remember(*ids)
        self.stop(self.states[0])
        state = self.begin(SignatureStore(max_entries=2 * BATCH))
        self.assertEqual(state.describe()["entries"], 2 * BATCH)
        self.assertTrue(self.remembers(ids[-1]) and self.remembers(ids[10]))
        self.assertFalse(self.remembers(ids[9]))

    def test_what_is_new_wins(self) -> None:
        """What was remembered before the file had been read is not replaced by what it holds."""
        state = self.begin()
        self.remember("a", text="old")
        self.stop(state)
        self.store = SignatureStore()
        self.remember("a", text="new")
        self.begin(self.store)
        call = Message("assistant", (ToolUseBlock("a", "look", "{}"),))
        found = self.store.of(ChatRequest(dialect="claude", model="m", messages=(call,)), "Ann", "claude")
        self.assertEqual(found, {key("a"): thought("new")})

    def test_stopping_while_the_thread_works(self) -> None:
        """A stop waits for what is under way, and then writes the rest."""
        state = self.begin()
        self.remember("a")
        self.threads.held = True
        self.advance(WRITE_AFTER)
        self.remember("b")
        stopped = state.stopService()
        self.network.flush()
        self.assertNoResult(stopped)
        self.threads.run()
        self.network.flush()
        self.successResultOf(stopped)
        self.assertEqual(self.written(), [key("a"), key("b")])

    def test_never_started(self) -> None:
        """A state that was never started, as when the port cannot be opened, stops at once."""
        state = State(f"sqlite:///{self.path}", SignatureStore(), self.network)
        self.successResultOf(state.stopService())

    def test_composed(self) -> None:
        """The gateway's services keep the state that is configured; it stops before the stats."""
        service = compose(Config(state=f"sqlite:///{self.path}"), self.network)
        names = [part.name for part in service]
        self.assertIn("state", names)
        self.assertEqual(service.state.describe()["configured"], True)


class Privacy(StateTestCase):
    def test_only_its_owner_reads_it(self) -> None:
        """The file, its logs and the folder made for it are for their owner alone, whatever the umask."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.begin()
        self.remember("a")
        self.advance(WRITE_AFTER)
        found = list(self.path.parent.iterdir())
        self.assertGreater(len(found), 1)
        for path in (*found, self.path.parent):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    def test_a_file_that_others_could_read(self) -> None:
        """A file that was there is closed to others too."""
        self.path.parent.mkdir()
        self.path.touch(0o644)
        self.begin()
        self.advance(PRUNE_AFTER)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_age(self) -> None:
        """After a week a thought is gone from the disk, and no trace of it is left in the file."""
        state = self.begin()
        self.remember("a", text="a most private thought")
        self.advance(WRITE_AFTER)
        self.stop(state)
        self.assertIn(b"a most private thought", self.path.read_bytes())
        self.network.rightNow += MAX_AGE
        state = self.begin()
        self.assertFalse(self.remembers("a"))
        self.stop(state)
        self.assertEqual(self.written(), [])
        self.assertNotIn(b"a most private thought", self.path.read_bytes())

    def test_an_idle_gateway_forgets(self) -> None:
        """What is too old goes although nothing new comes."""
        self.begin()
        self.remember("a")
        self.advance(WRITE_AFTER)
        self.network.rightNow += MAX_AGE - PRUNE_AFTER / 2
        self.advance(0)
        self.assertEqual(self.written(), [key("a")])
        self.advance(2 * PRUNE_AFTER)
        self.assertEqual(self.written(), [])


class Faults(StateTestCase):
    def lock(self) -> sqlite3.Connection:
        """Another process that keeps the file to itself."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        return other

    def assert_serves(self) -> None:
        """A request is answered as ever."""
        client, asked = self.streaming()
        asked.head()
        asked.finish(chunk("hello"), STOP, DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "hello")

    def test_busy(self) -> None:
        """While another process holds the file, requests are served on and the queue waits; it is
        written when the file is free. The log says so once each way."""
        state = self.begin()
        self.start()
        other = self.lock()
        self.remember("a")
        self.advance(WRITE_AFTER)
        self.remember("b")
        self.assert_serves()
        self.advance(3 * LONGEST_REST)
        self.assertEqual(dict(state.describe())["healthy"], False)
        self.assertEqual(state.describe()["queued"], 2)
        (line,) = self.told()
        self.assertIn("locked", line)
        other.execute("ROLLBACK")
        self.advance(LONGEST_REST)
        self.assertEqual(self.written(), [key("a"), key("b")])
        self.assertEqual((state.describe()["healthy"], state.describe()["queued"]), (True, 0))
        self.assertIn("can be used again", self.told()[-1])
        self.assertEqual(len(self.told()), 2)

    def test_busy_at_the_start(self) -> None:
        """A file that is held at the start is read when it is free, and nothing is lost by then."""
        state = self.begin()
        self.remember("a")
        self.stop(state)
        other = self.lock()
        self.begin()
        self.remember("b")
        other.execute("ROLLBACK")
        self.advance(2.0)
        self.assertTrue(self.remembers("a") and self.remembers("b"))
        self.assertEqual(self.written(), [key("a"), key("b")])

    def test_held_until_the_end(self) -> None:
        """A stop does not wait for a file that stays held; the log says what is lost."""
        state = self.begin()
        self.lock()
        self.remember("a")
        self.stop(state)
        self.assertIn("1 signatures and 0 rows of usage are lost", self.told()[-1])

    def test_no_place_for_it(self) -> None:
        """Where the file cannot be made, requests are served, and it is made once it can be."""
        self.path.parent.write_text("a file, where the folder should be")
        self.begin()
        self.start()
        self.remember("a")
        self.assert_serves()
        self.advance(LONGEST_REST)
        (line,) = self.told()
        self.assertIn(str(self.path), line)
        self.path.parent.unlink()
        self.advance(2 * LONGEST_REST)
        self.assertEqual(self.written(), [key("a")])

    def test_no_room_on_the_disk(self) -> None:
        """A full disk costs nothing but the wait for room."""
        state = self.begin()
        self.advance(WRITE_AFTER)
        assert state._file is not None
        assert state._file._connection is not None
        # As many pages as it has: SQLite says "database or disk is full", as for a disk without room.
        state._file._connection.execute("PRAGMA max_page_count = 1")
        self.remember(*"abcdefgh", text="x" * 4000)
        self.advance(WRITE_AFTER)
        (line,) = self.told()
        self.assertIn("full", line)
        self.assertEqual(state.describe()["queued"], 8)
        self.advance(2.0)  # it is opened again, and there is room
        self.assertEqual(len(self.written()), 8)

    def test_corrupt(self) -> None:
        """A corrupt file is kept aside, and a new one begun; nothing that is queued is lost."""
        self.path.parent.mkdir()
        for number in (1, 2):
            self.path.write_bytes(b"this is no database, however long it is" * 100)
            state = self.begin()
            self.remember("a")
            self.advance(2.0 + WRITE_AFTER)
            self.assertEqual(self.written(), [key("a")])
            self.assertTrue(self.path.with_name(f"state.db.corrupt-{number}").exists())
            self.stop(state)
            corrupt, well = self.told()[-2:]
            self.assertIn("was corrupt", corrupt)
            self.assertIn("can be used again", well)

    def test_corrupt_while_in_use(self) -> None:
        """A file that is spoilt while it is used is replaced in the same way."""
        state = self.begin()
        self.remember(*map(str, range(200)), text="x" * 400)
        self.advance(WRITE_AFTER)
        self.stop(state)
        data = bytearray(self.path.read_bytes())
        data[4096:-4096] = b"\xff" * (len(data) - 8192)
        self.path.write_bytes(data)
        self.begin()
        self.remember("new")
        self.advance(PRUNE_AFTER)
        self.assertEqual(self.written(), [key("new")])
        self.assertIn("was corrupt", self.told()[0])

    def test_gone(self) -> None:
        """A file that is deleted under it, folder and all, is made again."""
        self.begin()
        self.advance(WRITE_AFTER)
        shutil.rmtree(self.path.parent)
        self.remember("a")
        self.advance(WRITE_AFTER)
        self.assertEqual(self.written(), [key("a")])

    def test_of_another_program(self) -> None:
        """A database that is not ours, or of a version to come, is left alone."""
        self.path.parent.mkdir()
        for pragma, words in (("", "another program"), ("PRAGMA user_version = 99", "newer version")):
            with sqlite3.connect(self.path) as theirs:
                if pragma:
                    theirs.executescript("PRAGMA application_id = 0x61696777; " + pragma)
                else:
                    theirs.execute("CREATE TABLE mine (x)")
            theirs.close()
            before = self.path.read_bytes()
            self.stop(self.begin())
            self.assertEqual(self.path.read_bytes(), before)
            self.assertIn(words, self.told()[-1])

    def test_of_an_older_version(self) -> None:
        """A file from before clients were told apart is begun anew, and no trace of it is left."""
        self.path.parent.mkdir()
        with sqlite3.connect(self.path) as older:
            older.executescript(
                "CREATE TABLE thoughts (id INTEGER PRIMARY KEY, family TEXT NOT NULL, key TEXT NOT NULL,"
                " thought BLOB NOT NULL, saved_at REAL NOT NULL, UNIQUE (family, key));"
                "PRAGMA application_id = 0x61696777; PRAGMA user_version = 1"
            )
            older.execute(
                "INSERT INTO thoughts VALUES (1, 'claude', 'call:a', ?, ?)",
                (pack(thought("a most private thought")), EPOCH),
            )
        older.close()
        state = self.begin()
        self.remember("a")
        self.stop(state)
        self.assertEqual(self.written(), [key("a")])
        self.assertEqual(self.told(), [])
        self.assertNotIn(b"a most private thought", self.path.read_bytes())

    def test_the_queue_is_bounded(self) -> None:
        """While nothing can be written, the oldest of the queue make room for the newest."""
        state = self.begin()
        other = self.lock()
        ids = [str(number) for number in range(MAX_QUEUED + 5)]
        self.remember(*ids)
        self.advance(LONGEST_REST)
        self.assertEqual((state.describe()["queued"], state.describe()["dropped"]), (MAX_QUEUED, 5))
        other.execute("ROLLBACK")
        self.advance(LONGEST_REST)
        self.assertEqual(self.written()[0], key("5"))
        self.assertEqual(len(self.written()), MAX_QUEUED)

    def test_a_mistake_of_our_own(self) -> None:
        """An exception that nobody foresaw is logged with its traceback, and the rest goes on."""
        state = self.begin()

        class Broken(StateFile):
            def write(self, rows: Sequence[Row], now: float) -> None:
                raise KeyError("a mistake")

        file = state._file
        assert file is not None
        file.__class__ = Broken
        self.remember("a")
        self.advance(WRITE_AFTER)
        self.assertEqual(state.describe()["queued"], 1)
        self.assertTrue(any("Traceback" in line for line in self.told()), self.told())
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        file.__class__ = StateFile
        self.advance(2.0)
        self.assertEqual(self.written(), [key("a")])


class Bounds(StateTestCase):
    def file(self, **bounds: Any) -> StateFile:
        made = StateFile(
            str(self.path), **{"max_entries": 100, "max_bytes": 1 << 20, "max_age": DAY, **bounds}, patience=0
        )
        self.addCleanup(made.close)
        return made

    def test_entries(self) -> None:
        """Pruned from time to time, the file holds no more than the newest entries."""
        file = self.file(max_entries=10)
        file.write([], EPOCH)
        for number in range(PRUNE_ROWS):
            file.write([row(str(number))], EPOCH)
        self.assertEqual(self.written(), [key(str(number)) for number in range(990, 1000)])

    def test_bytes(self) -> None:
        """The same goes for bytes."""
        data = pack(thought("x" * 1000))
        file = self.file(max_bytes=3 * len(data))
        file.write([row(id, data=data) for id in "abcde"], EPOCH)
        self.assertEqual(self.written(), [key(id) for id in "cde"])

    def test_the_clock_jumps(self) -> None:
        """A clock that is set back stops nothing."""
        file = self.file(max_entries=1)
        file.write([row("a")], EPOCH)
        file.write([row("b"), row("c")], EPOCH - DAY)
        self.assertEqual(self.written(), [key("c")])

    def test_what_is_not_ours_in_it(self) -> None:
        """A row that somebody else spoilt is passed over."""
        file = self.file()
        file.write([row("a"), row("b", data=b"[[1]]"), row("c", data=b"\xff")], EPOCH)
        file.write([row("d")._replace(client=b"Ann")], EPOCH)  # type: ignore[arg-type]
        self.assertEqual(file.load(None, 10, EPOCH).rows, [("Ann", "claude", key("a"), pack(thought()))])

    def test_few_corrupt_files(self) -> None:
        """A disk that spoils every file does not fill itself with them."""
        file = self.file()
        for _ in range(MOST_CORRUPT + 2):
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_bytes(b"no database" * 500)
            self.assertRaises(Corrupt, file.write, [row("a")], EPOCH)
        self.assertEqual(len(list(self.path.parent.iterdir())), MOST_CORRUPT)
