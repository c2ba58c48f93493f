"""The state with a real thread and a real reactor: what nothing else can show.

That the file is written by a thread, and that the reactor goes on while that thread waits.
"""

# mypy: disable-error-code="no-untyped-call, import-untyped, untyped-decorator"

from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor as global_reactor
from twisted.internet.task import LoopingCall, deferLater

from aigateway.events import ChatRequest, Message, ThinkingBlock, Thought, ToolUseBlock, Usage
from aigateway.signatures import SignatureStore, call_key
from aigateway.state import State

from .test_allowance import outcome

reactor: Any = global_reactor
THOUGHT = Thought((ThinkingBlock("hm", "E1"),))
CALL = ToolUseBlock("a", "look", "{}")
KEY = call_key(CALL)
CHAT = ChatRequest(dialect="claude", model="m", messages=(Message("assistant", (CALL,)),))


async def until(condition: Any) -> None:
    """Wait, for ten seconds at most, until ``condition`` holds."""
    for _ in range(1000):
        if condition():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it never came to pass")


@pytest_twisted.ensureDeferred
async def test_one_process_after_the_other(tmp_path: Path) -> None:
    """What one state has written when it stops, the next one reads."""
    url = f"sqlite:///{tmp_path}/state.db"
    first = State(url, store := SignatureStore(), reactor)
    first.startService()
    store.remember("Ann", "claude", {KEY: THOUGHT})
    await first.stopService()
    second = State(url, store := SignatureStore(), reactor)
    second.startService()
    try:
        await until(lambda: len(store))
        assert store.of(CHAT, "Ann", "claude") == {KEY: THOUGHT}
    finally:
        await second.stopService()


@pytest_twisted.ensureDeferred
async def test_the_reactor_goes_on(tmp_path: Path) -> None:
    """While the thread waits for another process's lock, the reactor misses no beat."""
    state = State(f"sqlite:///{tmp_path}/state.db", store := SignatureStore(), reactor, patience=0.4)
    state.startService()
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    beats: list[float] = []
    heart = LoopingCall(lambda: beats.append(reactor.seconds()))
    try:
        await until(lambda: state.describe()["healthy"] and (tmp_path / "state.db").stat().st_size)
        other.execute("BEGIN EXCLUSIVE")
        store.remember("Ann", "claude", {KEY: THOUGHT})
        state.book(outcome(Usage(1, 2)))
        heart.start(0.01)
        await until(lambda: not state.describe()["healthy"])
        heart.stop()
    finally:
        other.close()
        await state.stopService()
    assert state.describe()["usage_rows"] == 0  # written when the other one had gone
    assert len(beats) > 10
    assert max(later - earlier for earlier, later in pairwise(beats)) < 0.25
