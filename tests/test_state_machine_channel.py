"""Any requests behind one another on one connection, well-formed or not, in pieces of any size.

As `tests.test_state_machines`, with one client whose every byte counts: each request has its own
answer, in order, or one refusal that ends the connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import h11
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from .fakes import (
    GATEWAY_PORT,
    Answer,
    Asked,
    Client,
    GatewayTestCase,
    chat,
    config,
    request_bytes,
    whole_reply,
)
from .test_state_machines import FEW, some

DEADLINE = 10.0
"""Seconds after which a head must be there, and a body must have got on."""


class Sent(NamedTuple):
    """A request: its bytes, and the statuses that may answer it. ``ends``: no other is read after it.
    ``model``: what a provider is asked for, and says in its answer; "" where none is asked."""

    data: bytes
    statuses: Sequence[int]
    method: str = "POST"
    ends: bool = False
    model: str = ""


def _chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _post(model: str, size: int) -> Sent:
    path = "/openai/v1/chat/completions"
    value = chat(model=model, stream=False)
    if not size:
        return Sent(request_bytes("POST", path, value), (200,), model=model)
    whole = request_bytes("POST", path, value)
    body = whole.partition(b"\r\n\r\n")[2]
    headers = (("Transfer-Encoding", "chunked"), ("Content-Type", "application/json"))
    return Sent(request_bytes("POST", path, None, headers) + _chunked(body, size), (200,), model=model)


HEAD = "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
PLAIN = (
    Sent(request_bytes("GET", "/health"), (200,), "GET"),
    Sent(request_bytes("HEAD", "/"), (200,), "HEAD"),
    Sent(request_bytes("GET", "/v1/models"), (200,), "GET"),
    Sent(request_bytes("POST", "/v1/messages", b"{"), (400,)),
    Sent(request_bytes("POST", "/v1/messages", b"x", [("Content-Type", "text/plain")]), (415,)),
    Sent(request_bytes("POST", "/openai/v1/chat/completions", chat(model="no-such")), (404,)),
)
"""Requests that leave the connection as it was."""
BAD = tuple(
    Sent(data, statuses, ends=True)
    for data, statuses in (
        (b"NONSENSE\r\n\r\n", (400,)),
        (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", (400, 505)),
        (b"GET /health HTTP/1.1\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", (421,)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Y : 1\r\n\r\n", (400,)),
        (HEAD.encode() + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", (400,)),
        (HEAD.encode() + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", (400,)),
        (HEAD.encode() + b"Content-Length: -1\r\n\r\n", (400,)),
        (HEAD.encode() + b"Content-Length: 1e3\r\n\r\n", (400,)),
        (HEAD.encode() + b"Content-Length: 99999999999\r\n\r\n", (400, 413)),
        (HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", (400,)),
        (HEAD.encode() + b"Transfer-Encoding: gzip\r\n\r\n", (400, 501)),
        (b"GET /no/such/path HTTP/1.1\r\nHost: localhost\r\n\r\n", (404,)),
        (b"DELETE /v1/messages HTTP/1.1\r\nHost: localhost\r\n\r\n", (405,)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 17_000 + b"\r\n\r\n", (431,)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 101 + b"\r\n", (431,)),
    )
)
"""Requests after which nothing more is read."""


class Gateway(GatewayTestCase):
    __test__ = False

    def runTest(self) -> None:
        """Nothing by itself."""


class Pipelines(RuleBasedStateMachine):
    """One connection and all that is sent on it."""

    gateway: Gateway | None = None

    @initialize()
    def begin(self) -> None:
        gateway = Gateway("runTest")
        gateway.setUp()
        gateway.start(config(ping=0.0))
        self.gateway = gateway
        self.client: Client = gateway.network.connect(GATEWAY_PORT)
        self.sent: list[Sent] = []
        self.unsent = b""
        self.answered: list[Asked] = []
        self.late = self.gone = False
        self.number = 0

    @property
    def here(self) -> Gateway:
        assert self.gateway is not None
        return self.gateway

    @property
    def may_go_on(self) -> bool:
        """Whether the last request sent leaves the connection open, and there is room for more."""
        return len(self.sent) < 8 and not (self.sent and self.sent[-1].ends) and not self.gone

    def add(self, sent: Sent) -> None:
        self.sent.append(sent)
        self.unsent += sent.data

    # -------------------------------------------------------------------- the client

    @precondition(lambda self: self.may_go_on)
    @rule(size=st.sampled_from((0, 0, 1, 7, 1000)))
    def ask(self, size: int) -> None:
        self.number += 1
        self.add(_post(f"gpt-{self.number}", size))

    @precondition(lambda self: self.may_go_on)
    @rule(which=st.sampled_from(PLAIN))
    def ask_plainly(self, which: Sent) -> None:
        self.add(which)

    @precondition(lambda self: self.may_go_on and self.sent)
    @rule(which=st.sampled_from(BAD))
    def ask_badly(self, which: Sent) -> None:
        self.add(which)

    @precondition(lambda self: self.unsent)
    @rule(count=st.sampled_from((1, 2, 3, 10, 40, 300, 2_000, 100_000, 100_000)))
    def send(self, count: int) -> None:
        piece, self.unsent = self.unsent[:count], self.unsent[count:]
        self.client.send(piece)

    @precondition(lambda self: self.sent)
    @rule(seconds=st.sampled_from((0.0, 0.0, 0.1, 3.0, DEADLINE, 80.0)))
    def wait(self, seconds: float) -> None:
        self.late = self.late or bool(seconds)  # what has not come by now may be refused
        self.here.advance(seconds)

    @precondition(lambda self: self.number and not self.gone)
    @rule(moment=some)
    def leave(self, moment: int) -> None:
        if moment:
            return  # not yet
        self.gone = True
        self.client.leave()

    # ------------------------------------------------------------------ the provider

    @precondition(lambda self: self.waiting())
    @rule()
    def answer(self) -> None:
        asked = self.waiting()[0]
        self.answered.append(asked)
        asked.respond(whole_reply(str(asked.body["model"])))
        self.here.network.flush()

    def waiting(self) -> list[Asked]:
        return [one for one in self.here.provider.asked if one not in self.answered and not one.left]

    # -------------------------------------------------------------------- what holds

    def answers(self) -> list[Answer]:
        methods = [one.method for one in self.sent]
        while True:
            try:
                return self.client.answers(*methods)
            except h11.RemoteProtocolError:
                if not self.late or "HEAD" not in methods:
                    raise
                # What was too late even with its method has a refusal with a body.
                while methods.pop() != "HEAD":
                    pass

    @invariant()
    def each_has_its_own(self) -> None:
        """Answers come in the order of the requests, each to its own."""
        if self.gateway is None or self.gone:
            return
        answers = self.answers()
        assert len(answers) <= len(self.sent), answers
        for answer, sent in zip(answers, self.sent, strict=False):
            if not answer.status:
                continue
            assert answer.whole, answer
            if self.late and answer.status in (408, 504):
                continue
            assert answer.status in sent.statuses, (answer, sent.data[:200])
            if sent.model:
                assert answer.json()["choices"][0]["message"]["content"] == sent.model

    @invariant()
    def one_request_is_one_upstream(self) -> None:
        """Nothing reaches a provider but what was asked for, once, and in order."""
        if self.gateway is not None:
            asked = [str(one.body["model"]) for one in self.here.provider.asked]
            models = [one.model for one in self.sent if one.model]
            assert asked == models[: len(asked)]

    @invariant()
    def who_is_refused_is_closed(self) -> None:
        """Behind a refusal nothing more is answered."""
        if self.gateway is not None and not self.gone and self.sent and self.sent[-1].ends:
            answers = self.answers()
            if len(answers) == len(self.sent) and answers[-1].status >= 400:
                self.here.advance(5)
                assert self.client.ended, "refused, and not closed"

    # ----------------------------------------------------------------------- the end

    def teardown(self) -> None:
        if self.gateway is None:
            return
        gateway, self.gateway = self.gateway, None
        try:
            if not self.late and not self.gone:
                self.finish(gateway)
            gateway.tearDown()
            ids = [outcome.request_id for outcome in gateway.outcomes]
            assert len(ids) == len(set(ids)), ids
            assert len(ids) <= len(self.sent), ids
            if not self.gone:
                told = [answer.headers.get("x-aigateway-request-id") for answer in self.answers()]
                assert {id for id in told if id} <= set(ids)
            log = "\n".join(gateway.logged)
            assert "Traceback" not in log, log
        finally:
            while gateway._cleanups:
                cleanup, arguments, named = gateway._cleanups.pop()
                cleanup(*arguments, **named)

    def finish(self, gateway: Gateway) -> None:
        """Everything is sent and answered: nobody is left without an answer."""
        self.client.send(self.unsent)
        self.unsent = b""
        answered = list(self.answered)
        for _ in self.sent:
            for asked in gateway.provider.asked:
                if asked not in answered and not asked.left:
                    answered.append(asked)
                    asked.respond(whole_reply(str(asked.body["model"])))
                    gateway.network.flush()
        assert len([one for one in self.answers() if one.status]) == len(self.sent), self.answers()


TestPipelines = Pipelines.TestCase
TestPipelines.settings = FEW
