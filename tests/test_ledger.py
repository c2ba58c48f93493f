"""What was used: added up by row, written behind, and never in the way of a request."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any
from unittest import TestCase, skipIf

from aigateway.counters import MAX_MODELS, OTHER
from aigateway.events import Usage
from aigateway.ledger import DAY, KEPT_DAYS, MAX_ROWS, Ledger, Place, Used, day_of
from aigateway.outcome import Attempt
from aigateway.signatures import SignatureStore
from aigateway.state import LONGEST_REST, READ_WAIT, WRITE_AFTER, State
from aigateway.statefile import MAX_USAGE_AGE, PRUNE_AFTER, VERSION, StateFile

from .fakes import DONE, EPOCH, STOP, Client, chat, chunk, config, usage_chunk
from .test_allowance import MIDNIGHT, outcome
from .test_reload import with_key
from .test_state import StateTestCase, Threads
from .test_web import key

TODAY = day_of(EPOCH)
DATE = "2026-05-28"
COUNTS = ("requests", "input", "output", "cache_read", "cache_write", "reasoning", "estimated")


def used(requests: int = 1, input: int = 0, output: int = 0) -> Used:
    made = Used()
    made.requests, made.input, made.output = requests, input, output
    return made


def counts(row: Used) -> tuple[int, ...]:
    return tuple(getattr(row, name) for name in COUNTS)


class Booking(TestCase):
    def setUp(self) -> None:
        self.ledger = Ledger(kept=True)

    def test_rows(self) -> None:
        """Tokens by attempt, where they were used; the request where it was answered."""
        failed = Attempt(
            provider="one", model="m-1", account="a", error="truncated", usage=Usage(7, 5, estimated=True)
        )
        well = Attempt(provider="two", model="m-2", account="a", usage=Usage(10, 20, 3, 4, 6))
        both = outcome(provider="two", target_model="m-2", attempts=(failed, well))
        self.ledger.book(both)
        self.ledger.book(both)
        found = {place[1:]: counts(row) for place, row in self.ledger.take().items()}
        self.assertEqual(
            found,
            {("ann", "one", "m-1"): (0, 14, 10, 0, 0, 0, 2), ("ann", "two", "m-2"): (2, 20, 40, 6, 8, 12, 0)},
        )
        self.assertEqual(self.ledger.spent("ann", TODAY), 2 * (12 + 37))
        self.assertEqual(self.ledger.waiting, 0)

    def test_what_leaves_no_row(self) -> None:
        """Counts of tokens, and what was refused before anybody was asked."""
        self.ledger.book(outcome(None, operation="count_tokens"))
        self.ledger.book(outcome(provider=None, target_model=None))
        self.assertEqual(self.ledger.take(), {})

    def test_without_keys(self) -> None:
        """Without clients' keys the client has no name."""
        self.ledger.book(outcome(Usage(1, 1), client=None))
        self.assertEqual([place[1] for place in self.ledger.take()], [""])

    def test_nobody_writes(self) -> None:
        """Where nothing is kept, only what clients spent is counted."""
        ledger = Ledger()
        ledger.book(outcome(Usage(1, 2)))
        ledger.book(outcome(Usage(1, 2), client=None))
        self.assertEqual((ledger.waiting, ledger.spent("ann", TODAY)), (0, 3))

    def test_models(self) -> None:
        """A thousand models a day have rows of their own; further ones, and names that are too long or
        no text, share one."""
        names = [f"m-{number}" for number in range(MAX_MODELS + 5)]
        for name in ("x" * 301, "\ud800", *names, "m-3"):
            self.ledger.book(outcome(target_model=name))
        rows = self.ledger.take()
        self.assertEqual(len(rows), MAX_MODELS + 1)
        self.assertEqual(rows[(TODAY, "ann", "p", OTHER)].requests, 7)
        self.assertEqual(rows[(TODAY, "ann", "p", "m-3")].requests, 2)
        self.ledger.book(outcome(target_model="tomorrow's", at=MIDNIGHT))
        self.assertEqual([place[3] for place in self.ledger.take()], ["tomorrow's"])

    def test_models_of_an_earlier_process(self) -> None:
        """They count among the thousand."""
        self.ledger.restore(TODAY, {}, [f"m-{number}" for number in range(MAX_MODELS)])
        self.ledger.book(outcome(target_model="new"))
        self.assertEqual([place[3] for place in self.ledger.take()], [OTHER])

    def test_bounded(self) -> None:
        """However long nobody can write, memory holds so many rows; no token is lost by that."""
        ledger = Ledger(kept=True)
        for day in range(15):
            for number in range(MAX_MODELS):
                model = f"m-{number}"
                attempts = (Attempt(provider="q", model=model, account="a", usage=Usage(1)),)
                ledger.book(outcome(attempts=attempts, target_model=model, at=EPOCH + day * DAY))
        self.assertLessEqual(ledger.waiting, MAX_ROWS + 30)
        rows = ledger.take()
        ledger.give_back(rows)
        ledger.give_back(rows)
        self.assertLessEqual(ledger.waiting, MAX_ROWS + 30)
        twice = ledger.take().values()
        self.assertEqual(sum(row.input for row in rows.values()), 15 * MAX_MODELS)
        self.assertEqual(sum(row.input for row in twice), 30 * MAX_MODELS)

    def test_given_back(self) -> None:
        """What could not be written is added to what came since."""
        self.ledger.book(outcome(Usage(1, 2)))
        taken = self.ledger.take()
        self.ledger.book(outcome(Usage(10, 20)))
        self.ledger.give_back(taken)
        (row,) = self.ledger.take().values()
        self.assertEqual((row.requests, row.input, row.output), (2, 11, 22))

    def test_days(self) -> None:
        """Some days are in memory, however the clock jumps."""
        for day in range(100):
            self.ledger.book(outcome(Usage(1), at=EPOCH + day * DAY))
        known = [day for day in range(100) if self.ledger.spent("ann", TODAY + day)]
        self.assertEqual(len(known), KEPT_DAYS)


_TIMES = "SELECT requests, count(*) FROM usage GROUP BY requests"


class LedgerTestCase(StateTestCase):
    def rows(self, columns: str = "client, model, requests, input, output") -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(f"SELECT {columns} FROM usage ORDER BY day, client, model").fetchall()  # noqa: S608

    def lock(self) -> sqlite3.Connection:
        """Another process that keeps the file to itself."""
        self.path.parent.mkdir(exist_ok=True)
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        return other


class WriteBehind(LedgerTestCase):
    def test_a_killed_process(self) -> None:
        """A second after a request its row is written, and the next one is added to it: a process that
        is killed has lost no more than that second's."""
        state = self.begin()
        state.book(outcome(Usage(1, 2, 3, 4, 1, estimated=True)))
        self.assertEqual((self.rows(), state.describe()["usage_rows"]), ([], 1))
        self.advance(WRITE_AFTER)
        self.assertEqual(self.rows("*"), [(DATE, "ann", "p", "m", 1, 1, 2, 3, 4, 1, 1)])
        self.assertEqual(state.describe()["usage_rows"], 0)
        state.book(outcome(Usage(1, 2)))
        self.advance(WRITE_AFTER)
        self.assertEqual(self.rows(), [("ann", "m", 2, 2, 4)])

    def test_a_stopped_process(self) -> None:
        """It has lost nothing, and the next one knows what was used today."""
        state = self.begin()
        state.book(outcome(Usage(1, 2, 3, 4)))
        state.book(outcome(Usage(5), client="bob"))
        self.stop(state)
        state = self.begin()
        self.assertIsNone(state.ledger.unknown)
        spent = [state.ledger.spent(client, TODAY) for client in ("ann", "bob", "eve")]
        self.assertEqual(spent, [10, 5, 0])
        self.stop(state)
        self.network.rightNow += DAY
        self.assertEqual(self.begin().ledger.spent("ann", TODAY + 1), 0)

    def test_nothing_waits_for_it(self) -> None:
        """While the thread is busy rows add up, and are written when it is free again."""
        state = self.begin()
        self.threads.held = True
        for _ in range(5):
            state.book(outcome(Usage(1)))
            self.advance(WRITE_AFTER)
        self.assertEqual(state.describe()["usage_rows"], 2)
        self.threads.run()
        self.advance(WRITE_AFTER)
        self.assertEqual(self.rows(), [("ann", "m", 5, 5, 0)])

    def test_without_a_file(self) -> None:
        """Nothing is written, and nothing waits."""
        state = self.begin(url=None)
        state.book(outcome(Usage(1)))
        self.assertEqual(state.describe()["usage_rows"], 0)
        self.assertEqual(state.ledger.spent("ann", TODAY), 1)

    def test_four_hundred_days(self) -> None:
        """What is older is deleted."""
        state = self.begin()
        state.book(outcome(Usage(1)))
        state.book(outcome(Usage(2), at=EPOCH + DAY))
        self.advance(WRITE_AFTER)
        self.network.rightNow += MAX_USAGE_AGE + DAY
        self.advance(PRUNE_AFTER)
        self.assertEqual(self.rows("input"), [(2,)])

    def test_an_older_file(self) -> None:
        """One that has no usage yet keeps what it has, and gets it."""
        state = self.begin()
        self.remember("a")
        self.stop(state)
        with closing(sqlite3.connect(self.path)) as older:
            older.executescript("DROP TABLE usage; PRAGMA user_version = 2")
        state = self.begin()
        self.assertTrue(self.remembers("a"))
        state.book(outcome(Usage(1)))
        self.advance(WRITE_AFTER)
        self.assertEqual(self.rows(), [("ann", "m", 1, 1, 0)])
        with closing(sqlite3.connect(self.path)) as connection:
            self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (VERSION,))

    def test_names_alone(self) -> None:
        """Of keys, accounts and prompts nothing is in the file but the names of key, provider, model."""
        state = self.begin()
        state.book(outcome(Usage(1), model="as the client calls it", error="a message", request_id="req_x"))
        self.stop(state)
        found = b"".join(path.read_bytes() for path in self.path.parent.iterdir())
        self.assertIn(b"ann", found)
        for text in (b"as the client", b"a message", b"req_x"):
            self.assertNotIn(text, found)


class Transactions(LedgerTestCase):
    def file(self) -> StateFile:
        made = StateFile(str(self.path), max_entries=9, max_bytes=9, max_age=DAY, patience=0)
        self.addCleanup(made.close)
        return made

    def places(self, count: int = 200) -> dict[Place, Used]:
        return {(TODAY, "ann", "p", f"m-{number}"): used(1, 10, 1) for number in range(count)}

    def test_all_or_nothing(self) -> None:
        """A row that cannot be written keeps all of its transaction out."""
        file = self.file()
        file.add(self.places())
        broken = self.places() | {(TODAY, None, "p", "m"): used()}
        self.assertRaises(sqlite3.IntegrityError, file.add, broken)
        self.assertEqual({row[2:] for row in self.rows()}, {(1, 10, 1)})

    def test_a_copy_taken_at_any_time(self) -> None:
        """Wherever a process is cut while it writes, the file holds whole transactions: of every log
        that is a beginning of the one on the disk, all rows have been counted as often."""
        file = self.file()
        for _ in range(4):
            file.add(self.places())
        copies = self.folder()
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", copies / f"whole{suffix}")
        log = (copies / "whole-wal").read_bytes()
        seen = set()
        step = max(len(log) // 60, 1)
        for end in (*range(0, len(log), step), len(log)):
            shutil.copy(copies / "whole", copies / "cut")
            (copies / "cut-wal").write_bytes(log[:end])
            with closing(sqlite3.connect(copies / "cut")) as connection:
                try:
                    requests = connection.execute(_TIMES).fetchall()
                except sqlite3.OperationalError:  # it has not got so far as to make the table
                    requests = []
            self.assertIn(requests, ([], [(1, 200)], [(2, 200)], [(3, 200)], [(4, 200)]))
            seen.add(tuple(requests))
            for path in copies.glob("cut*"):
                path.unlink()
        self.assertGreaterEqual(len(seen), 4)

    def test_what_is_not_ours_in_it(self) -> None:
        """Numbers that somebody else has spoilt count for nothing."""
        file = self.file()
        file.add({(TODAY, "ann", "p", "m"): used(1, 5), (TODAY, "bob", "p", "m"): used(1, -9)})
        file.add({(TODAY, "ann", "p", "n"): used(1, 7)})
        with closing(sqlite3.connect(self.path)) as other:
            other.execute("UPDATE usage SET input = 'x', output = x'00' WHERE model = 'n'")
            other.commit()
        self.assertEqual(file.spent(TODAY).clients, {"ann": 5})


class Faults(LedgerTestCase):
    """The file busy, full, gone or corrupt: nobody waits, nothing is lost."""

    def begin_gateway(self, **limits: int) -> State:
        """A gateway that keeps its state in the file."""
        state = self.begin()
        self.start(config(keys=(key("ann", "k-ann", **limits),)), state=state)
        return state

    def serve_one(self) -> Client:
        client, asked = self.streaming(chat(max_tokens=50), headers=with_key("k-ann"))
        asked.head()
        asked.finish(chunk("hello"), STOP, usage_chunk(30, 12), DONE)
        self.network.flush()
        self.assertEqual(client.answer().text(), "hello")
        return client

    def ask_ann(self) -> Client:
        return self.ask(chat(max_tokens=50), headers=with_key("k-ann"))

    def put_aside(self) -> Callable[[], None]:
        """Nobody can open the file, until it is put back."""
        self.path.rename(self.path.with_name("aside"))
        self.path.mkdir()

        def put_back() -> None:
            self.path.rmdir()
            self.path.with_name("aside").rename(self.path)

        return put_back

    def test_busy_at_the_start(self) -> None:
        """A file that another process writes to can be read all the same."""
        state = self.begin()
        state.book(outcome(Usage(50)))
        self.stop(state)
        self.lock()
        state = self.begin_gateway(tokens_per_day=150)
        self.serve_one()
        self.assertEqual(state.ledger.spent("ann", TODAY), 92)

    def test_busy(self) -> None:
        """What is used while another process holds the file is written, whole, when it is free."""
        state = self.begin_gateway(tokens_per_day=170)
        self.advance(WRITE_AFTER)
        other = self.lock()
        for _ in range(3):
            self.serve_one()
            self.advance(LONGEST_REST)
        described = state.describe()
        self.assertEqual((described["healthy"], described["usage_rows"]), (False, 1))
        self.assertEqual(self.ask_ann().answer().status, 429)  # it is known well enough
        other.execute("ROLLBACK")
        self.advance(LONGEST_REST)
        self.assertEqual(self.rows(), [("ann", "gpt-4", 3, 90, 36)])
        self.assertEqual(state.describe()["usage_rows"], 0)

    def test_full(self) -> None:
        """A full disk keeps rows out, all of them, until there is room."""
        state = self.begin()
        self.advance(WRITE_AFTER)
        assert state._file is not None
        assert state._file._connection is not None
        state._file._connection.execute("PRAGMA max_page_count = 1")
        for number in range(300):
            state.book(outcome(Usage(1), target_model=f"m-{number}"))
        self.advance(WRITE_AFTER)
        self.assertEqual(state.describe()["usage_rows"], 301)
        self.assertIn("full", self.told()[-1])
        self.advance(2.0)
        self.assertEqual(self.rows("sum(requests)"), [(300,)])

    def test_read_only(self) -> None:
        """A file that cannot be written to costs nothing but the wait until it can."""
        state = self.begin_gateway(tokens_per_day=100)
        self.advance(WRITE_AFTER)
        assert state._file is not None
        assert state._file._connection is not None
        state._file._connection.execute("PRAGMA query_only = 1")
        self.serve_one()
        self.advance(WRITE_AFTER)
        self.assertIn("readonly", self.told()[-1])
        self.assertEqual((self.rows(), state.describe()["usage_rows"]), ([], 1))
        self.advance(2.0)
        self.assertEqual(self.rows(), [("ann", "gpt-4", 1, 30, 12)])

    def test_gone(self) -> None:
        """A file that is deleted is made again; the day's budget is known on."""
        state = self.begin_gateway(tokens_per_day=100)
        self.serve_one()
        self.advance(WRITE_AFTER)
        shutil.rmtree(self.path.parent)
        self.serve_one()
        self.advance(WRITE_AFTER)
        self.assertEqual(self.rows(), [("ann", "gpt-4", 1, 30, 12)])
        self.assertEqual(state.ledger.spent("ann", TODAY), 84)
        self.assertEqual(self.ask_ann().answer().status, 429)

    @skipIf(os.geteuid() == 0, "root may write to everything")
    def test_read_only_at_the_start(self) -> None:
        """A file that may only be read is none that can be kept: its budget is unknown."""
        self.begin()
        self.stop(self.states[0])
        self.path.chmod(0o400)
        self.path.parent.chmod(0o500)
        self.begin_gateway(tokens_per_day=100)
        self.assertEqual(self.ask_ann().answer().status, 503)
        self.path.parent.chmod(0o700)

    def test_corrupt_while_in_use(self) -> None:
        """What was to be written then goes into the new file; the day's budget is known on."""
        state = self.begin_gateway(tokens_per_day=1000)
        assert state._file is not None
        self.serve_one()
        state._file.close()
        self.path.write_bytes(b"this is no database, however long it is" * 100)
        self.advance(WRITE_AFTER + 2.0)
        self.assertEqual(self.rows(), [("ann", "gpt-4", 1, 30, 12)])
        self.serve_one()
        self.assertEqual(state.ledger.spent("ann", TODAY), 84)
        self.assertFalse(any("today" in line for line in self.told()), self.told())

    def test_unread(self) -> None:
        """Where the file cannot be read at the start, who has a budget is refused and the log says why;
        when it can be, he is served by what he had used before."""
        state = self.begin()
        state.book(outcome(Usage(50)))
        self.stop(state)
        put_back = self.put_aside()
        state = self.begin_gateway(tokens_per_day=147)
        answer = self.ask_ann().answer()
        self.assertEqual(answer.status, 503)
        self.assertIn("cannot be read", answer.json()["error"]["message"])
        self.assertEqual(self.outcome().result, "budget_unknown")
        (line,) = self.told()
        self.assertIn("tokens_per_day are refused", line)
        put_back()
        self.advance(2.0)
        self.serve_one()
        self.assertEqual(state.ledger.spent("ann", TODAY), 92)
        self.assertEqual(self.ask_ann().answer().status, 429)

    def test_unread_without_a_budget(self) -> None:
        """Others are served on, whatever the file is like."""
        self.path.mkdir(parents=True)
        self.begin_gateway(requests_per_minute=5, concurrency=5)
        self.serve_one()

    def test_fails_open(self) -> None:
        """Where the configuration says so, budgets are counted from 0 until the file can be read; and
        then together with what it holds."""
        state = self.begin()
        state.book(outcome(Usage(50)))
        self.stop(state)
        put_back = self.put_aside()
        state = self.begin()
        keys = (key("ann", "k-ann", tokens_per_day=150),)
        self.start(config(keys=keys, budgets_fail="open"), state=state)
        self.serve_one()
        self.assertEqual(state.ledger.spent("ann", TODAY), 42)
        put_back()
        self.advance(2.0)
        self.assertEqual(state.ledger.spent("ann", TODAY), 92)
        self.assertEqual(self.rows("sum(input + output)"), [(92,)])

    def test_corrupt_at_the_start(self) -> None:
        """A file that was corrupt will never tell: until tomorrow who has a budget is refused."""
        self.path.parent.mkdir()
        self.path.write_bytes(b"this is no database, however long it is" * 100)
        self.begin_gateway(tokens_per_day=150)
        self.advance(5.0)
        answer = self.ask_ann().answer()
        self.assertEqual((answer.status, answer.headers["x-should-retry"]), (503, "false"))
        self.assertIn("was corrupt", answer.json()["error"]["message"])
        self.assertIn("what was used today is not known", self.told()[0])
        self.network.rightNow += DAY
        self.serve_one()

    def test_a_request_waits_for_the_first_reading(self) -> None:
        """One that comes while the file is being read waits for that, but not for long; one that leaves
        does not."""
        self.threads = Threads()
        self.threads.held = True
        state = State(
            f"sqlite:///{self.path}", SignatureStore(), self.network, wall=self.wall, threads=self.threads
        )
        self.states.append(state)
        state.startService()
        self.start(config(keys=(key("ann", "k-ann", tokens_per_day=150),)), state=state)
        overdue, leaving = self.ask_ann(), self.ask_ann()
        leaving.leave()
        self.advance(READ_WAIT - 0.1)
        self.assertEqual(overdue.answers(), [])
        waiting = self.ask_ann()
        self.advance(0.1)
        self.assertEqual(overdue.answer().status, 503)
        self.threads.run()
        self.network.flush()
        self.assertEqual(len(self.provider.asked), 1)
        self.assertEqual(waiting.answers(), [])
        self.assertEqual([one.result for one in self.outcomes], ["client_left", "budget_unknown"])
