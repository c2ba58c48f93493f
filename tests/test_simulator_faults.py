"""Every fault that the simulators can be asked for, through a whole gateway, to each kind of client.

One line of `TABLE` for a fault: what its outcome says, streamed and whole, and which limit ends it.
For each the client gets an error of its own dialect (a status before the first byte, one frame after
it) or a whole answer, the grammar holds, and nothing is left open at the provider.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aigateway.check import check
from aigateway.config import Account, Limits, Provider, Timeouts, parse
from aigateway.config.records import Route, Target
from aigateway.outcome import Outcome
from aigateway.routing import Router
from aigateway.secret import Secret
from aigateway.simulator import (
    SimulatedAnthropic,
    SimulatedAntigravity,
    SimulatedGemini,
    SimulatedGLM,
    SimulatedOpenAI,
)
from aigateway.simulator.__main__ import configuration
from aigateway.simulator.answers import Prompt
from aigateway.simulator.faults import EXAMPLES, FAULTS, find
from aigateway.simulator.openai import OpenAIWire
from aigateway.simulator.provider import SimulatedProvider
from aigateway.simulator.wire import Asked, Response
from aigateway.tap import demo_config, with_simulators

from .fakes import EPOCH, Answer, GatewayTestCase, account, chat, config

DOCUMENTED = Path(__file__).parents[1] / "docs" / "faults.md"
SIMULATED: dict[str, type[SimulatedProvider]] = {
    "openai": SimulatedOpenAI,
    "glm": SimulatedGLM,
    "antigravity": SimulatedAntigravity,
    "anthropic": SimulatedAnthropic,
    "gemini": SimulatedGemini,
}
DIALECTS = ("claude", "openai", "responses", "gemini")
OWN = {"claude": "anthropic", "openai": "openai", "responses": "openai", "gemini": "gemini"}
LIMITS = Limits(sse_line=64 * 1024, sse_event=128 * 1024, upstream_body=256 * 1024)
TIMEOUTS = Timeouts(headers=2.0, first_token=3.0, idle=2.5, total=20.0)
PACE = 0.005
"""Seconds between frames, where one that went out must not have come together with the fault."""
LONG = 25.0
"""Seconds until everything is over, one way or another."""
ANSWER = 'This is a simulated answer: no model was asked. You wrote: "hello"'


class Means(NamedTuple):
    """What the outcome says of a streamed answer and of a whole one, with ``|`` where that depends on
    the provider; ``begun``: the stream had begun. The seconds are those of the limit in force."""

    streamed: str
    whole: str
    begun: bool = False
    streamed_seconds: float | None = None
    whole_seconds: float | None = None


def same(result: str) -> Means:
    return Means(result, result)


TABLE: dict[str, Means] = {
    **{name: same("busy") for name in FAULTS if name.startswith("fault-429")},
    "fault-429-retry-2": same("busy"),
    "fault-429-quota": same("busy|exhausted"),
    "fault-401": same("account_unauthorized"),
    "fault-402": same("exhausted"),
    "fault-403": same("account_unauthorized"),
    "fault-404": same("refused"),
    "fault-500": same("failed"),
    "fault-503": same("busy"),
    "fault-529": same("busy"),
    "fault-percent-100-500": same("failed"),
    "fault-percent-0-500": same("ok"),
    "fault-html": same("garbled"),
    "fault-redirect": same("garbled"),
    "fault-error-in-200": same("failed|busy"),
    "fault-error-first": same("failed|busy"),
    "fault-error-in-stream": Means("failed|busy", "failed|busy", begun=True),
    "fault-silent": Means("silent", "silent", False, TIMEOUTS.headers, TIMEOUTS.total),
    "fault-silent-after-headers": Means("silent", "silent", False, TIMEOUTS.first_token, TIMEOUTS.idle),
    "fault-ping-only": Means("silent", "silent", False, TIMEOUTS.first_token, TIMEOUTS.total),
    "fault-stall-mid-stream": Means("silent", "silent", True, TIMEOUTS.idle, TIMEOUTS.idle),
    "fault-silent-after-2": Means("silent", "silent", True, TIMEOUTS.idle, TIMEOUTS.idle),
    "fault-endless-body": Means("silent", "garbled", True, TIMEOUTS.total),
    "fault-slow-20tps": same("ok"),
    "fault-slow-body": same("ok"),
    "fault-cut": Means("truncated", "truncated", begun=True),
    "fault-cut-after-0": same("truncated|unreachable"),
    "fault-cut-mid-utf8": Means("truncated", "truncated", begun=True),
    "fault-cut-mid-line": Means("truncated", "truncated", begun=True),
    "fault-cut-mid-frame": Means("truncated", "truncated", begun=True),
    "fault-clean-end-without-marker": Means("truncated", "garbled", begun=True),
    "fault-short-length": Means("truncated|ok", "truncated", begun=True),
    "fault-bad-chunk": Means("truncated", "truncated", begun=True),
    "fault-late-error": same("ok"),
    "fault-duplicate-start": same("ok"),
    "fault-usage-absurd": same("ok"),
    "fault-usage-negative": same("ok"),
    "fault-usage-null": same("ok"),
    "fault-usage-string": same("ok"),
    "fault-usage-huge": same("ok"),
    "fault-forge": same("ok"),
    "fault-set-cookie": same("ok"),
    "fault-cl-and-te": same("garbled"),
    "fault-endless-line": same("garbled"),
    "fault-huge-event": same("garbled"),
    "fault-refused": same("unreachable"),
    "fault-endless-headers": same("garbled"),
    "fault-1xx-flood": same("garbled"),
    "fault-gzip-bomb": same("garbled"),
}
MORE_SAID = {"fault-forge", "fault-duplicate-start"}
"""Whole answers that say something else than the usual."""
PASSED_ON = {
    ("fault-duplicate-start", "responses"),
    *((name, dialect) for name in FAULTS if "-usage-" in name for dialect in ("claude", "gemini")),
}
"""What a client gets from its own dialect's provider as that said it: the grammar is the provider's."""


class FaultCase(GatewayTestCase):
    """A gateway before simulated providers; the clock is the same for all of them, so that dates that
    a provider tells are of this gateway's time."""

    def setUp(self) -> None:
        super().setUp()
        self.network.rightNow = EPOCH

    def wall(self) -> float:
        return self.network.seconds()

    def serve_simulated(self, *kinds: str, pace: float = 0.0) -> list[SimulatedProvider]:
        """A gateway whose targets for every model are these, one after the other; the first is asked
        for the model that the client names, the others answer honestly."""
        simulated, providers = [], []
        for number, kind in enumerate(kinds):
            port = 9100 + number
            one = SIMULATED[kind](self.network, pace)
            self.serve(one, port)
            simulated.append(one)
            base_url = f"http://127.0.0.1:{port}{one.base_path}"
            providers.append(
                Provider(
                    name=f"p{number}",
                    kind=kind,
                    base_urls=(base_url,),
                    accounts=(antigravity_account() if kind == "antigravity" else account("one"),),
                    timeouts=TIMEOUTS,
                    responses=True if kind == "openai" else None,
                )
            )
        targets = (Target("p0"), *(Target(one.name, "honest-model") for one in providers[1:]))
        route = Route(model="*", targets=targets)
        self.start(config(*providers, routes=(route,), timeouts=TIMEOUTS, limits=LIMITS, ping=0))
        return simulated

    def answered(self, dialect: str, fault: str, *, stream: bool) -> tuple[Answer, Outcome]:
        path, body = request(dialect, fault, stream=stream)
        client = self.ask(body, path=path)
        self.advance(LONG)
        return client.answer(), self.outcome()


def antigravity_account() -> Account:
    return Account(name="one", access_token=Secret("ya29.secret"), project="p")


def request(dialect: str, model: str, *, stream: bool) -> tuple[str, Any]:
    """The path and body of a request for ``model``."""
    match dialect:
        case "claude":
            messages = [{"role": "user", "content": "hello"}]
            return "/v1/messages", {
                "model": model,
                "max_tokens": 100,
                "stream": stream,
                "messages": messages,
            }
        case "openai":
            return "/openai/v1/chat/completions", chat("hello", model, stream=stream)
        case "responses":
            return "/v1/responses", {"model": model, "stream": stream, "input": "hello"}
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    contents = [{"role": "user", "parts": [{"text": "hello"}]}]
    return f"/v1beta/models/{model}:{method}", {"contents": contents}


def cases() -> Iterator[tuple[str, str, str]]:
    """Each fault with each dialect, and a provider: each meets each in turn, its own more often."""
    kinds = list(SIMULATED)
    for number, fault in enumerate(TABLE):
        for place, dialect in enumerate(DIALECTS):
            own = (number + place) % 3 == 0
            yield fault, dialect, OWN[dialect] if own else kinds[(number + place) % len(kinds)]


class FaultTable(FaultCase):
    """What a client sees of each fault, whatever it speaks, streamed or whole."""

    def test_streamed(self) -> None:
        """An error before the first byte is a status and a body, after it one frame; never a clean end."""
        for fault, dialect, kind in cases():
            self.each(fault, dialect, kind, stream=True)

    def test_whole(self) -> None:
        """An answer that is not streamed is whole and right, or an error with its status."""
        for fault, dialect, kind in cases():
            self.each(fault, dialect, kind, stream=False)

    def each(self, fault: str, dialect: str, kind: str, *, stream: bool) -> None:
        """One case in a network of its own, which must be empty at its end."""
        with self.subTest(fault, dialect=dialect, kind=kind, stream=stream):
            self.setUp()
            means = TABLE[fault]
            [simulated] = self.serve_simulated(kind, pace=PACE if means.begun else 0.0)
            answer, outcome = self.answered(dialect, fault, stream=stream)
            self.assertIn(outcome.result, (means.streamed if stream else means.whole).split("|"))
            self.assertEqual(len(outcome.attempts), 1)
            self.assertEqual(simulated.open, 0, "the provider still has a response open")
            seconds = means.streamed_seconds if stream else means.whole_seconds
            if seconds is not None:
                self.assertApproximates(outcome.seconds, seconds, 0.1)
            self.check_usage(outcome)
            self.assertNotIn("set-cookie", answer.headers)
            self.assertNotIn(b'\n\ndata: {"forged"', answer.body.replace(b"\r", b""))
            if outcome.result == "ok":
                self.check_answer(fault, dialect, kind, answer, stream=stream)
            elif stream and means.begun:
                self.check_error_frame(dialect, answer)
            else:
                self.check_error(dialect, answer)
            self.assertEqual([line for line in self.logged if "Traceback" in line], [])
            self.tearDown()

    def check_answer(self, fault: str, dialect: str, kind: str, answer: Answer, *, stream: bool) -> None:
        self.assertEqual((answer.status, answer.whole), (200, True))
        own = OWN[dialect] == kind or (dialect == "gemini" and kind == "antigravity")
        if not stream:
            self.assertIn("simulated" if fault not in MORE_SAID else "", answer.body.decode())
        elif not own or (fault, dialect) not in PASSED_ON:
            told = check(dialect, answer.body, lenient=own)
            self.assertIsNone(told.error)
            if fault not in MORE_SAID:
                self.assertEqual(told.text, ANSWER)

    def check_error(self, dialect: str, answer: Answer) -> None:
        self.assertGreaterEqual(answer.status, 400)
        self.assertTrue(answer.whole)
        told = answer.json()
        self.assertTrue(told["error"]["message"])
        if dialect == "claude":
            self.assertEqual(told["type"], "error")
        elif dialect == "gemini":
            self.assertEqual(told["error"]["code"], answer.status)

    def check_error_frame(self, dialect: str, answer: Answer) -> None:
        self.assertEqual((answer.status, answer.whole), (200, False))
        told = check(dialect, answer.body, whole=False, lenient=True)
        self.assertIsNotNone(told.error)
        self.assertIsNone(told.stop)
        frames = [frame.data for frame in answer.frames()]
        errors = [data for data in frames if b'"error":' in data and b'"error":null' not in data]
        self.assertIn(len(errors), (1, 2) if dialect == "responses" else (1,))
        self.assertEqual(frames[-1], errors[-1])
        self.assertNotIn(b"[DONE]", frames)

    def check_usage(self, outcome: Outcome) -> None:
        """What is counted is believable, whatever the provider told."""
        if outcome.usage is None:
            return
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"):
            count = getattr(outcome.usage, name)
            self.assertTrue(isinstance(count, int) and 0 <= count < 10_000, (name, count))


class Failover(FaultCase):
    def test_another_target_answers(self) -> None:
        """A fault before the first byte is never seen where another target can answer, and both
        attempts are in the outcome."""
        for number, (fault, means) in enumerate(TABLE.items()):
            if means.begun or means.streamed in ("ok", "refused"):
                continue
            dialect = DIALECTS[number % len(DIALECTS)]
            kinds = list(SIMULATED)
            first, second = kinds[number % 5], kinds[(number + 2) % 5]
            with self.subTest(fault, dialect=dialect, first=first, second=second):
                self.setUp()
                simulated = self.serve_simulated(first, second)
                answer, outcome = self.answered(dialect, fault, stream=True)
                self.assertEqual((outcome.result, outcome.provider), ("ok", "p1"))
                self.assertEqual([attempt.error is None for attempt in outcome.attempts], [False, True])
                self.assertIn(outcome.attempts[0].error, means.streamed.split("|"))
                own = OWN[dialect] == second or (dialect == "gemini" and second == "antigravity")
                self.assertEqual(check(dialect, answer.body, lenient=own).text, ANSWER)
                self.assertEqual([one.open for one in simulated], [0, 0])
                self.tearDown()


class Names(FaultCase):
    """The names of faults."""

    def test_all_are_here(self) -> None:
        """Each name, and one of each family, has its line in the table of this test."""
        self.assertEqual(set(TABLE), {*FAULTS, *EXAMPLES})

    def test_all_are_documented(self) -> None:
        """docs/faults.md lists them, and no other."""
        rows = re.findall(r"^\| `(fault-[^`]+)`", DOCUMENTED.read_text("utf-8"), re.MULTILINE)
        families = {"fault-NNN", "fault-429-retry-N", "fault-silent-after-N", "fault-cut-after-N"}
        families |= {"fault-slow-Ntps", "fault-percent-P-NAME"}
        self.assertEqual(set(rows), {*FAULTS, *families})

    def test_unknown(self) -> None:
        """What looks like a fault and is none is an unknown model."""
        for name in (
            "fault-",
            "fault-unheard-of",
            "fault-200",
            "fault-600",
            "fault-slow-0tps",
            "fault-percent-101-500",
            "fault-percent-50-unheard-of",
            "fault-percent-50-percent-50-500",
            "fault-429-retry-",
            "gpt-4",
        ):
            self.assertIsNone(find(name), name)

    def test_demonstration(self) -> None:
        """There a fault's name has the provider's before it, or that of a failover."""
        demo = with_simulators(demo_config(None), {name: f"http://127.0.0.1/{name}" for name in SIMULATED})
        router = Router(demo)
        for name in SIMULATED:
            self.assertEqual(router.targets(f"{name}/fault-cut").targets, ((name, f"{name}/fault-cut"),))
        names = [name for name, _ in router.targets("failover/fault-500").targets]
        self.assertEqual(names, ["openai", "anthropic"])
        resource, body = SimulatedOpenAI(self.network, 0), chat("x", "failover/fault-503")
        self.serve(resource, 9100)
        client = self.network.connect(9100)
        client.ask("POST", "/v1/chat/completions", body, headers=[("Authorization", "Bearer k")])
        self.assertEqual(client.answer().status, 503)

    def test_on_their_own(self) -> None:
        """What ``python -m aigateway.simulator`` prints is a configuration of all of them."""
        urls = {name: f"http://127.0.0.1:9100/{name}" for name in SIMULATED}
        found = parse(configuration(urls), {}, origin="here")
        self.assertEqual({one.kind: one.base_urls[0] for one in found.providers.values()}, urls)

    def test_a_share_is_even(self) -> None:
        """Of any hundred requests in a row that share meets the fault, nearly; and of every second
        one too, so that two clients in turn get the same."""
        fault = find("fault-percent-30-500")
        assert fault is not None
        for step in (1, 2, 3, 5):
            met = [fault(OpenAIWire(), asked(serial * step)) is not None for serial in range(1, 1001)]
            for start in range(0, 1000, 100):
                self.assertApproximates(sum(met[start : start + 100]), 30, 4)

    def test_waiting_is_told(self) -> None:
        """However a provider says when to come back, the client is told; what is garbage is a moment,
        what is too long is not for waiting."""
        for fault, told in (
            ("fault-429-retry-7", ("7", None)),
            ("fault-429-date", ("2", None)),
            ("fault-429-ms", ("2", None)),
            ("fault-429-garbage", ("1", None)),
            ("fault-429-huge", (None, "false")),
        ):
            with self.subTest(fault):
                self.setUp()
                self.serve_simulated("anthropic")
                answer, _ = self.answered("openai", fault, stream=True)
                headers = answer.headers
                self.assertEqual((headers.get("retry-after"), headers.get("x-should-retry")), told)
                self.tearDown()

    def test_quotas_are_told(self) -> None:
        """A quota of hours that is used up is told with its time by those that have one."""
        for kind in ("glm", "antigravity", "anthropic"):
            with self.subTest(kind):
                self.setUp()
                self.serve_simulated(kind)
                answer, _ = self.answered("openai", "fault-429-quota", stream=True)
                self.assertEqual(answer.headers.get("x-should-retry"), "false")
                self.assertIn("try again in 5h00m00s", answer.json()["error"]["message"])
                self.tearDown()


def asked(serial: int) -> Asked:
    return Asked(model="m", prompt=Prompt(), stream=True, serial=serial)


class Bounds(FaultCase):
    def test_nothing_grows_in_the_simulator(self) -> None:
        """What has no end is made piece by piece, each of at most 64 KiB."""
        for name in FAULTS:
            fault = find(name)
            assert fault is not None
            for stream in (True, False):
                response = fault(OpenAIWire(), msgspec.structs.replace(asked(1), stream=stream))
                assert isinstance(response, Response)
                for _, piece in zip(range(50), response.pieces, strict=False):
                    self.assertLessEqual(len(piece), 64 * 1024, name)

    def test_no_memory_for_what_is_not_read(self) -> None:
        """A client that does not read stops the endless faults, too."""
        for fault in ("fault-endless-line", "fault-endless-headers", "fault-1xx-flood", "fault-gzip-bomb"):
            with self.subTest(fault):
                self.setUp()
                simulated = SimulatedOpenAI(self.network, 0)
                self.serve(simulated, 9100)
                client = self.network.connect(9100)
                client.transport.allowance = 0
                client.ask(
                    "POST", "/v1/chat/completions", chat("x", fault), headers=[("Authorization", "Bearer k")]
                )
                self.assertLess(len(client.transport.peer.dataBuffer), 512 * 1024)
                self.assertEqual(simulated.open, 1)
                client.leave()
                self.assertEqual((simulated.open, simulated.aborted), (0, 1))
                self.tearDown()
