"""Whatever clients and providers do, and whenever: hypothesis writes the stories.

Each machine runs the whole gateway in memory. Its rules are what may happen, its invariants what must
hold after each step and when everybody has gone. The suite runs the same few stories each time;
``AIGATEWAY_FUZZ=2000`` runs so many new ones of each.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aigateway.check import Answer as Told
from aigateway.check import check
from aigateway.errors import SlowRequest

from .fakes import EPOCH, Answer, GatewayTestCase, Network, error_body
from .worlds import BUFFER, DIALECTS, KINDS, OWN, Caller, Speech, Wanted, World

STORIES = int(os.environ.get("AIGATEWAY_FUZZ", "0"))
FEW = settings(
    max_examples=STORIES or 60,
    stateful_step_count=40,
    derandomize=not STORIES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)

MOMENTS = (0.001, 0.5, 1.0, 5.0, 10.0, 15.0, 19.9, 20.0, 31.0, 61.0, 301.0)
GARBAGE = (
    b"data: {\n\n",
    b"data: [1]\n\n",
    b"data: \xff\n\n",
    b"<html>502 Bad Gateway</html>",
    b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n',
    b'data: {"error":{"message":"x","code":429}}\n\n',
    b": a comment\n\n",
    b"\n\n",
    b"event: \ndata: {}\n\n",
    b"data: [DONE]\n\n",
)
REFUSALS: tuple[tuple[int, bytes, dict[str, str]], ...] = (
    (400, error_body("no"), {}),
    (401, error_body("who?"), {}),
    (429, error_body("slow down"), {"retry_after": "3"}),
    (429, error_body("slow down"), {"retry_after": "nonsense"}),
    (500, b"", {}),
    (503, b"<html>busy</html>", {}),
    (302, b"", {"location": "http://127.0.0.1:9/"}),
)

some = st.integers(0, 7)
"""Which one, of as many as there are."""


class Streams(RuleBasedStateMachine):
    """Answers on their way, of any provider to any client."""

    world: World | None = None

    @initialize(
        first=st.sampled_from(KINDS),
        second=st.sampled_from(KINDS),
        hedge=st.sampled_from((0.0, 0.0, 1.0)),
        continuation=st.sampled_from((False, False, True)),
    )
    def begin(self, first: str, second: str, hedge: float, continuation: bool) -> None:
        self.world = World((first, second), hedge=hedge, continuation=continuation)
        self.continues = continuation
        self.number = 0
        self.recording = 0
        self.drained: list[object] = []
        self.draining = False
        self.asked_when_begun: dict[str, int] = {}

    # --------------------------------------------------------------- who is there

    @property
    def here(self) -> World:
        assert self.world is not None
        return self.world

    def callers(self) -> list[Caller]:
        return [caller for caller in self.here.callers if not caller.left]

    def speeches(self) -> list[Speech]:
        self.here.hear(self.recording)
        return [speech for speech in self.here.speeches if speech.open]

    def caller(self, which: int) -> Caller:
        callers = self.callers()
        return callers[which % len(callers)]

    def speech(self, which: int) -> Speech:
        open = self.speeches()
        return open[which % len(open)]

    def go_on(self) -> None:
        self.here.network.flush()
        self.here.hear(self.recording)

    # ------------------------------------------------------------------- clients

    def ask_on(self, caller: Caller, dialect: str, stream: bool) -> None:
        self.number += 1
        caller.ask(Wanted(f"m{self.number}", dialect, stream))
        self.go_on()

    @precondition(lambda self: self.number < 8)
    @rule(
        dialect=st.sampled_from(DIALECTS), stream=st.sampled_from((True, True, True, False)), recording=some
    )
    def come(self, dialect: str, stream: bool, recording: int) -> None:
        self.recording = recording
        self.ask_on(self.here.connect(), dialect, stream)

    @precondition(lambda self: self.number < 8 and self.callers())
    @rule(which=some, dialect=st.sampled_from(DIALECTS), stream=st.booleans(), recording=some)
    def ask_again(self, which: int, dialect: str, stream: bool, recording: int) -> None:
        """On the same connection, perhaps before the last answer is there."""
        caller = self.caller(which)
        if not caller.client.ended:
            self.recording = recording
            self.ask_on(caller, dialect, stream)

    @precondition(lambda self: self.callers())
    @rule(which=some, count=st.sampled_from((0, 0, 1, 100, 2000)))
    def read_little(self, which: int, count: int) -> None:
        caller = self.caller(which)
        caller.hindered = True
        caller.client.read(count)
        self.go_on()

    @precondition(lambda self: self.callers())
    @rule(which=some)
    def read_on(self, which: int) -> None:
        self.caller(which).client.read(None)
        self.go_on()

    @precondition(lambda self: self.callers())
    @rule(which=some)
    def leave(self, which: int) -> None:
        caller = self.caller(which)
        caller.left = True
        caller.client.leave()
        self.go_on()

    @precondition(lambda self: self.callers())
    @rule(which=some)
    def half_close(self, which: int) -> None:
        """Who will send no more has left."""
        caller = self.caller(which)
        caller.left = True
        caller.client.transport.loseWriteConnection()
        self.go_on()

    # ----------------------------------------------------------------- providers

    @precondition(lambda self: self.speeches())
    @rule(which=some)
    def begin_to_answer(self, which: int) -> None:
        self.speech(which).head()
        self.go_on()

    @precondition(lambda self: self.speeches())
    @rule(
        which=some, count=st.integers(1, 1500), size=st.sampled_from((1, 7, 300, 10_000)), now=st.booleans()
    )
    def speak(self, which: int, count: int, size: int, now: bool) -> None:
        """``now``: before anything else is said, in a read of its own."""
        self.speech(which).speak(count, size)
        if now:
            self.go_on()

    @precondition(lambda self: self.speeches())
    @rule(
        which=some, count=st.integers(1, 1500), how=st.sampled_from((Speech.finish, Speech.cut, Speech.reset))
    )
    def break_off(self, which: int, count: int, how: Any) -> None:
        """In the middle, when the client has heard the beginning."""
        speech = self.speech(which)
        speech.speak(count, 300)
        self.go_on()
        if speech.open:
            how(speech)
            self.go_on()

    @precondition(lambda self: self.speeches())
    @rule(which=some, count=st.integers(300, 1500))
    def overwhelm(self, which: int, count: int) -> None:
        """Say more than a client reads."""
        speech = self.speech(which)
        for caller in self.callers():
            if any(one is speech for wanted in caller.wanted for one in self.here.to(wanted)):
                caller.hindered = True
                caller.client.read(0)
        speech.speak(count, 300)
        self.go_on()

    @precondition(lambda self: self.speeches())
    @rule(which=some)
    def say_all(self, which: int) -> None:
        speech = self.speech(which)
        speech.speak(len(speech.said.data), 1_000)
        speech.finish()
        self.go_on()

    @precondition(lambda self: self.speeches())
    @rule(which=some, what=st.sampled_from(GARBAGE))
    def talk_nonsense(self, which: int, what: bytes) -> None:
        speech = self.speech(which)
        if speech.streamed:
            speech.spoil(what)
            self.go_on()

    @precondition(lambda self: self.speeches())
    @rule(which=some, how=st.sampled_from(REFUSALS))
    def refuse(self, which: int, how: tuple[int, bytes, dict[str, str]]) -> None:
        speech = self.speech(which)
        if not speech.headed:
            speech.refuse(*how)
            self.go_on()

    @precondition(lambda self: self.speeches())
    @rule(which=some, how=st.sampled_from((Speech.finish, Speech.cut, Speech.reset)))
    def stop_short(self, which: int, how: Any) -> None:
        how(self.speech(which))
        self.go_on()

    # ---------------------------------------------------------------------- time

    @rule(seconds=st.sampled_from(MOMENTS))
    def wait(self, seconds: float) -> None:
        self.here.advance(seconds)
        self.go_on()

    @precondition(lambda self: not self.draining and self.number > 4)
    @rule(moment=some)
    def drain(self, moment: int) -> None:
        if moment:
            return  # not yet
        self.draining = True
        self.here.executor.stopService().addCallback(self.drained.append)
        self.go_on()

    # ---------------------------------------------------------------- what holds

    @invariant()
    def answers_are_sound(self) -> None:
        """What each client has got is the beginning of a sound answer, or a whole one."""
        if self.world is not None:
            self.here.network.flush()
            for caller in self.here.callers:
                if not caller.has_news(self.here.speeches):
                    continue
                answers = caller.answers()
                assert len(answers) <= len(caller.wanted), answers
                for answer, wanted in zip(answers, caller.wanted, strict=False):
                    self.judge(caller, answer, wanted)

    def judge(self, caller: Caller, answer: Answer, wanted: Wanted) -> None:
        if not answer.status:
            return  # of its head, only a part has come
        if answer.status != 200 or not wanted.stream:
            if answer.whole:
                told = answer.json()
                assert bool(told.get("error")) == (answer.status != 200), told
            return
        body = answer.body
        if caller.hindered or caller.left:
            body = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
        told = self.told(wanted, body, whole=answer.whole)
        said = [speech for speech in self.here.to(wanted) if speech.headed]
        if not self.continues and not any(speech.spoiled for speech in said):
            assert any(speech.said.text.startswith(told.text) for speech in said) or not told.text, told.text
        if told.chunks and not self.continues:
            asked = self.asked_when_begun.setdefault(wanted.model, len(self.here.to(wanted)))
            assert len(self.here.to(wanted)) == asked, "asked again when the answer had begun"
        if answer.whole:
            assert told.error is None, "an error, and HTTP's own end behind it"
            assert told.stop is not None, "an end without an end"
            if not self.continues:
                clean = [one for one in said if one.whole and (one.spoiled or one.said.text == told.text)]
                assert clean, f"a clean end, and nobody has said all of that: {told.text!r}"
        elif caller.client.ended and not caller.left and not caller.hindered:
            assert told.error is not None, "cut, and no error told"

    def told(self, wanted: Wanted, body: bytes, *, whole: bool) -> Told:
        lenient = any(wanted.dialect in OWN[kind] for kind in self.here.kinds)
        if wanted.dialect == "gemini" and not body.strip(b"\n"):
            body = b""  # blank lines keep its clients waiting
        elif wanted.dialect == "gemini":
            assert body.endswith(b"\n\n")
            body = body.rstrip(b"\n") + b"\n\n"
        options = {"include_usage": True} if wanted.dialect == "openai" else {}
        return check(wanted.dialect, body, whole=whole, lenient=lenient, **options)

    @invariant()
    def the_slow_set_the_pace(self) -> None:
        """While more than a little waits for a client, its provider waits, too."""
        for caller in self.here.callers if self.world is not None else ():
            end = caller.end
            if end.lost or end.aborted or len(end.dataBuffer) <= BUFFER:
                continue
            answers = caller.answers()
            under_way = [answer for answer in answers if answer.status and not answer.whole]
            wanted = caller.wanted[len(answers) - 1 if under_way else len(answers) : len(answers) + 1]
            for speech in self.here.to(wanted[0]) if wanted else ():
                if speech.streamed and speech.headed and speech.open and not speech.whole:
                    assert not speech.asked.read_from, (
                        "a provider is read from for a client that does not read"
                    )

    @invariant()
    def who_leaves_sets_free(self) -> None:
        """Nobody goes on answering a client that has left, but for what ends by itself in a moment."""
        for caller in self.here.callers if self.world is not None else ():
            if caller.left:
                asked = [speech for wanted in caller.wanted for speech in self.here.to(wanted)]
                held = [speech for speech in asked if speech.open and not speech.whole]
                assert not held, "a client has left, and its provider answers on"

    @invariant()
    def gauges_are_true(self) -> None:
        if self.world is not None:
            stats = self.here.stats.stats
            assert stats.unmatched_ends == 0
            assert 0 <= stats.open_requests <= self.number
            assert stats.totals.attempts_open >= 0

    # --------------------------------------------------------------------- the end

    def teardown(self) -> None:
        if self.world is None:
            return
        world, self.world = self.world, None
        try:
            answered = {
                answer.headers["x-aigateway-request-id"]: wanted
                for caller in world.callers
                for answer, wanted in zip(caller.answers(), caller.wanted, strict=False)
                if answer.status
            }
            world.close()
            assert not self.draining or self.drained, "drained, and nobody was told"
            self.account(world, answered)
            log = "\n".join(world.logged)
            assert "Traceback" not in log, log
            assert "sk-secret" not in log, log
        finally:
            world.close()

    def account(self, world: World, answered: dict[str, Wanted]) -> None:
        """One outcome for each request that was taken up, and an attempt in it for each one made."""
        outcomes = {outcome.request_id: outcome for outcome in world.outcomes}
        assert len(outcomes) == len(world.outcomes) <= self.number
        assert outcomes.keys() >= answered.keys()
        # Who does not read an answer is in time with no further request, sent or not: that one is unread.
        read = {id: outcome for id, outcome in outcomes.items() if outcome.result != SlowRequest.kind}
        by_model = {outcome.model: outcome for outcome in read.values()}
        assert len(by_model) == len(read)
        for id in answered.keys() & read.keys():
            assert outcomes[id].model == answered[id].model, (outcomes[id], answered[id])
        for number in range(1, self.number + 1):
            asked = world.to(Wanted(f"m{number}", "", True))
            outcome = by_model.get(f"m{number}")
            if outcome is None:
                assert not asked, "asked for, and no outcome left"
                continue
            assert len(asked) <= len(outcome.attempts), outcome
            assert outcome.started_at >= EPOCH
            assert outcome.seconds >= 0
            usage = outcome.usage
            if usage is not None:
                assert min(usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) >= 0, usage
            if outcome.result == "ok":
                assert usage is not None
                assert [attempt.error for attempt in outcome.attempts].count(None) == 1, outcome


class Counted(Network):
    """A network on which time is asked for again and again only so often."""

    asked = 0

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:
        self.asked += 1
        assert self.asked < 1_000, f"{callable} again and again"
        return super().callLater(delay, callable, *args, **kw)


class FoundTests(GatewayTestCase):
    """What the machines have found."""

    def setUp(self) -> None:
        super().setUp()
        self.network = Counted()
        self.serve(self.provider)

    def test_a_moment_that_rounding_leaves(self) -> None:
        """The time of a keep-alive has come although, in floating point, 15 s less what has passed
        since leave a moment too short to wait for."""
        self.start()
        self.advance(10.001)
        client, _ = self.streaming()
        self.advance(15)
        self.assertEqual(client.answer().body, b": keep-alive\n\n")


TestStreams = Streams.TestCase
TestStreams.settings = FEW
