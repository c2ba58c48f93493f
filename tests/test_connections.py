"""Clients' connections: how many there may be, when each is closed, and what a client that does not
read or does not finish costs the others."""

from __future__ import annotations

import datetime
import errno
import resource
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509, PKey
from twisted.internet import error, tcp
from twisted.internet.protocol import ClientFactory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigateway import descriptors
from aigateway.config import Limits

from .fakes import (
    DONE,
    PROVIDER_PORT,
    STOP,
    Client,
    GatewayTestCase,
    Scripted,
    answers,
    chat,
    chunk,
    config,
    provider,
    request_bytes,
)

OTHER_PORT = 9002
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class LimitTests(GatewayTestCase):
    def start_with(self, most: int, files: int | None = None) -> None:
        self.start(config(limits=Limits(max_connections=most)))
        self.gateway.site.files = files

    def test_beyond_the_limit(self) -> None:
        """Connections beyond ``max_connections`` are closed at once; those that are there go on."""
        self.start_with(3)
        first = [self.client() for _ in range(3)]
        self.network.flush()
        beyond = [self.client() for _ in range(5)]
        self.network.flush()
        self.assertTrue(all(client.lost for client in beyond))
        for client in first:
            client.send(HEALTH)
            self.assertEqual(client.answer().status, 200)

    def test_a_place_is_taken_again(self) -> None:
        """As soon as one is closed there is a place."""
        self.start_with(1)
        self.client().leave()
        client = self.client()
        client.send(HEALTH)
        self.assertEqual(client.answer().status, 200)

    def test_they_are_counted_and_seldom_logged(self) -> None:
        """Each counts in the statistics; a line in the log stands for all of a minute."""
        self.start_with(1)
        client = self.client()
        for _ in range(100):
            self.client()
            self.advance(0.1)
        self.assertEqual(len([line for line in self.logged if "turned away" in line]), 1)
        client.send(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = client.answer().json()["connections"]
        self.assertEqual(told, {"open": 1, "limit": 1, "turned_away": 100})
        self.advance(60)
        self.client()
        lines = [line for line in self.logged if "turned away" in line]
        self.assertEqual([line.split()[0] for line in lines], ["1", "100"])

    def test_fewer_where_files_are_few(self) -> None:
        """The files that the process may open are a limit, too: two for each client."""
        self.start_with(10_000, descriptors.RESERVE + 4)
        clients = [self.client() for _ in range(3)]
        self.network.flush()
        self.assertEqual([client.lost is None for client in clients], [True, True, False])

    def test_how_many_files_are_enough(self) -> None:
        """`descriptors.connections`: half of what is left after the reserve, at least one."""
        for files, configured, allowed in (
            (None, 0, None),
            (None, 10, 10),
            (1024, 0, 480),
            (1024, 100, 100),
            (1024, 10_000, 480),
            (20_000, 10_000, 9_968),
            (10, 10_000, 1),
        ):
            with self.subTest(files=files, configured=configured):
                self.assertEqual(descriptors.connections(files, configured), allowed)

    def test_the_soft_limit_is_raised(self) -> None:
        """To the hard one, once; a process that may not is left as it is."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        _, hard = before
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        raised = descriptors.raise_limit()
        self.assertEqual(raised, min(hard, descriptors.PLENTY) if hard >= 0 else descriptors.PLENTY)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[0], raised)


class SeldomTests(SynchronousTestCase):
    def test_it_says_how_many_it_held_back(self) -> None:
        """The first event of each minute goes on, with the number of those since the one before."""
        told: list[LogEvent] = []

        @implementer(ILogObserver)
        class Observer:
            def __call__(self, event: LogEvent) -> None:
                told.append(event)

        clock = Clock()
        log = Logger(observer=descriptors.Seldom(clock, Observer()))
        for _ in range(5):
            log.info("no place for {name}", name="x")
            clock.advance(59 / 4)
        clock.advance(0.1)
        self.assertEqual(len(told), 1)
        clock.advance(1)
        log.info("no place for {name}", name="x")
        self.assertEqual([event.get("held_back") for event in told], [None, 4])

    def test_twisted_s_port_uses_it(self) -> None:
        """What a port logs of connections that it could not accept goes this way."""
        before = tcp.Port._logger
        self.addCleanup(setattr, tcp.Port, "_logger", before)
        descriptors.log_accepts_seldom(Clock())
        self.assertIsInstance(tcp.Port._logger.observer, descriptors.Seldom)


class ExhaustedTests(GatewayTestCase):
    """No descriptor is left for a connection to a provider."""

    def setUp(self) -> None:
        super().setUp()
        self.network.ports[PROVIDER_PORT].stopListening()
        self.scripted = Scripted(answers("hello"))
        self.serve(self.scripted)
        self.start(config(provider(), provider("other", port=OTHER_PORT, models=("other",))))

    def refuse(self, host: str, port: int, factory: Any, *_: object, **__: object) -> Any:
        factory.doStart()
        factory.startedConnecting(None)
        reason = error.ConnectBindError(errno.EMFILE, "Too many open files")
        factory.clientConnectionFailed(None, Failure(reason))
        factory.doStop()

    def test_it_is_not_the_provider_s_fault(self) -> None:
        """The client is told to come again, in its dialect; no account is blamed and none asked in
        its place; as soon as there are descriptors, it is served."""
        self.patch(self.network, "connectTCP", self.refuse)
        for stream in (True, False):
            client = self.ask(chat(stream=stream))
            self.advance(1)  # Twisted waits a moment for a host's further addresses
            answer = client.answer()
            self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "1"))
        self.assertEqual(self.scripted.asked, [])
        del self.network.connectTCP
        self.assertEqual(self.ask(chat()).answer().text(), "hello")

    def test_kept_connections_are_let_go(self) -> None:
        """Those that wait for a next request give theirs back at once."""
        self.assertEqual(self.ask(chat()).answer().text(), "hello")
        (far,) = [ends[0] for ends in self.network.joined if ends[1].getHost().port == PROVIDER_PORT]
        self.assertFalse(far.lost)
        self.serve(self.scripted, OTHER_PORT)
        self.patch(self.network, "connectTCP", self.refuse)
        client = self.ask(chat(model="other"))
        self.advance(1)
        self.assertEqual(client.answer().status, 503)
        self.assertTrue(far.lost)


class PipelineTests(GatewayTestCase):
    def test_unread_answers_do_not_pile_up(self) -> None:
        """While a client has yet to read an answer, what it has sent behind it waits: many
        requests in 16 KiB cost no more than one."""
        self.network.ports[PROVIDER_PORT].stopListening()
        scripted = Scripted(answers("x" * 200_000))
        self.serve(scripted)
        self.start()
        client = self.client()
        client.read(0)
        one = request_bytes("POST", "/v1/chat/completions", chat(stream=False))
        client.send(one * 20)
        channel = next(iter(self.gateway.site.channels))
        self.assertEqual(len(scripted.asked), 1)
        self.assertLess(channel.unsent(), 300_000)
        for number in range(2, 5):
            while len(scripted.asked) < number:
                client.read(50_000)
            self.assertEqual(len(scripted.asked), number)
            self.assertLess(channel.unsent(), 300_000)
        client.read(None)
        self.assertEqual((len(scripted.asked), len(client.answers())), (20, 20))

    def test_what_comes_meanwhile_waits_in_the_kernel(self) -> None:
        """Nor is more read from it, before it reads."""
        self.network.ports[PROVIDER_PORT].stopListening()
        self.serve(Scripted(answers("x" * 200_000)))
        self.start()
        client = self.client()
        client.read(0)
        client.send(request_bytes("POST", "/v1/chat/completions", chat(stream=False)))
        for _ in range(10):
            client.send(HEALTH * 100)
        self.assertTrue(client.transport.peer.paused)
        client.read(None)
        self.assertEqual(len(client.answers()), 1_001)


class DeadlineTests(GatewayTestCase):
    """To the eighth of a second."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.http = self.client()

    def closed_after(self, latest: float) -> float:
        """In how many seconds the connection is closed, by eighths: those add up without a rest."""
        for eighth in range(int(latest * 8) + 1):
            if self.http.lost is not None:
                return eighth / 8
            self.advance(0.125)
        raise AssertionError("it is never closed")

    def test_a_drip_does_not_renew_the_head_s_deadline(self) -> None:
        """A byte every 9 s, whatever it is a part of, is 408 at 10 s and closed at 12."""
        for drip in (HEALTH, b"\r\n" + HEALTH, b"POST /v1/messages HTTP/1.1\r\n"):
            with self.subTest(drip):
                self.http = self.client()
                self.http.send(drip[:3])
                self.advance(9)
                self.http.send(drip[3:4])
                self.advance(0.9)
                self.assertEqual((self.http.received, self.http.ended), (b"", False))
                self.advance(0.1)
                self.assertEqual(self.http.answer().status, 408)
                self.http.send(drip[4:5])
                self.assertEqual(self.closed_after(5), 2.0)

    def test_a_kept_connection_that_sends_nothing(self) -> None:
        """It is closed at ``keep_alive``, 75 s, without a word."""
        self.http.send(HEALTH)
        self.assertEqual(self.closed_after(100), 75.0)
        self.assertEqual(len(self.http.answers()), 1)

    def test_a_kept_connection_that_sends_an_empty_line(self) -> None:
        """An empty line is no request: it is not told 408, which it might take for the answer to its
        next one; and it is closed in the end."""
        self.http.send(HEALTH)
        self.http.send(b"\r\n")
        self.assertEqual(self.closed_after(200), 75.0)
        self.assertEqual(len(self.http.answers()), 1)

    def test_empty_lines_for_ever(self) -> None:
        """The second one is 400."""
        self.http.send(b"\r\n")
        self.advance(5)
        self.http.send(b"\r\n")
        self.assertEqual(self.http.answer().status, 400)
        self.assertEqual(self.closed_after(5), 2.0)

    def test_an_empty_line_at_first_renews_nothing(self) -> None:
        """Who sends one and then nothing is closed at 10 s after it connected."""
        self.advance(9)
        self.http.send(b"\r\n")
        self.assertEqual(self.closed_after(20), 1.0)

    def test_a_request_is_not_idle(self) -> None:
        """``keep_alive`` is for connections without a request, also where it is the shortest."""
        self.gateway.site.limits = Limits(keep_alive=2.0)
        self.gateway.site.timeOut = 2.0
        self.http = self.client()
        self.http.send(b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        self.advance(9.9)
        self.assertEqual((self.http.received, self.http.lost), (b"", None))
        self.advance(1.1)
        self.assertEqual(self.http.answer().status, 408)

    def test_a_body_that_stops(self) -> None:
        """It is 408 when its 10 s of grace are over, whenever it stopped."""
        head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
        for sent in (head, head + b"x", head + b"x" * 99):
            with self.subTest(len(sent)):
                self.http = self.client()
                self.http.send(sent)
                self.advance(10)
                self.assertEqual(self.http.received, b"")
                self.advance(1)
                self.assertEqual(self.http.answer().status, 408)

    def test_extensions_of_chunks_are_no_progress(self) -> None:
        """A body that comes as extensions and trailers alone is too slow at any speed."""
        head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.http.send(head)
        seconds = 0
        while not self.http.received and seconds < 30:
            self.http.send((b"1;" + b"x" * 900 + b"\r\n{\r\n") * 10)
            self.advance(1)
            seconds += 1
        self.assertEqual(self.http.answer().status, 408)
        self.assertLess(seconds, 15)

    def test_an_answer_that_is_not_read(self) -> None:
        """A client that half-closed its side after its answer gets ``write_stall`` to read it."""
        self.network.ports[PROVIDER_PORT].stopListening()
        self.serve(Scripted(answers("x" * 500_000)))
        self.http.read(0)
        self.http.send(request_bytes("POST", "/v1/chat/completions", chat(stream=False)))
        self.http.transport.loseWriteConnection()
        self.network.flush()
        self.assertEqual(self.closed_after(150), 75.0 + 60.0)


class HalfCloseTests(GatewayTestCase):
    def test_an_answer_that_was_written(self) -> None:
        """A client that sends its request and closes its half gets an answer that needs no waiting,
        whole: of the gateway's own pages, and its refusals."""
        self.start()
        for path, status in (("/health", 200), ("/stats", 200), ("/nowhere", 404)):
            with self.subTest(path):
                client = self.client()
                client.transport.write(request_bytes("GET", path))
                client.transport.loseWriteConnection()
                self.network.flush()
                self.assertEqual((client.answer().status, client.answer().whole), (status, True))
                self.assertIsNotNone(client.lost)

    def test_an_answer_that_is_under_way(self) -> None:
        """One that is waiting for its answer, or in it, has left: nothing tells it from one that
        was killed."""
        self.start()
        for begun in (False, True):
            with self.subTest(begun=begun):
                client, asked = self.streaming()
                if begun:
                    asked.head()
                    self.tell(asked, chunk("hel"))
                client.transport.loseWriteConnection()
                self.network.flush()
                self.assertTrue(asked.aborted)
                self.assertIsNotNone(client.lost)
                self.assertEqual(self.outcomes[-1].result, "client_left")

    def test_an_answer_that_is_being_read(self) -> None:
        """One whose answer is complete, but not read yet, gets the rest of it."""
        self.start()
        client, asked = self.streaming()
        client.read(100)
        asked.head()
        asked.finish(chunk("x" * 30_000), STOP, DONE)
        self.network.flush()
        client.transport.loseWriteConnection()
        client.read(None)
        self.assertTrue(client.answer().whole)
        self.assertEqual(self.outcome().result, "ok")


def certificate() -> tuple[PKey, X509]:
    """A key and a certificate for ``localhost``, made for one test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begin = datetime.datetime(2020, 1, 1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2120))
        .sign(key, hashes.SHA256())
    )
    return PKey.from_cryptography_key(key), X509.from_cryptography(made)


class TLSTests(GatewayTestCase):
    """An ``ssl:`` endpoint wraps the same site."""

    PORT = 8443

    def setUp(self) -> None:
        super().setUp()
        self.start()
        key, made = certificate()
        options = CertificateOptions(privateKey=key, certificate=made)
        self.network.listenTCP(
            self.PORT, TLSMemoryBIOFactory(options, False, self.gateway.site, self.network)
        )

    def wrapped(self) -> Client:
        """A client that has shaken hands."""
        inner = Client(self.network)
        factory = ClientFactory.forProtocol(lambda: inner)
        outer = TLSMemoryBIOFactory(CertificateOptions(), True, factory, self.network).buildProtocol(None)
        self.network.join(outer, self.network.ports[self.PORT])
        self.network.flush()
        return inner

    def test_it_is_served(self) -> None:
        """Requests are answered over TLS."""
        client = self.wrapped()
        client.send(HEALTH)
        self.assertEqual(client.answer().status, 200)
        client.leave()

    def test_a_handshake_that_never_ends(self) -> None:
        """Who connects and says nothing, or half a greeting, is closed at 10 s."""
        for greeting in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x01"):
            with self.subTest(greeting):
                client = self.network.connect(self.PORT)
                client.send(greeting)
                self.advance(9.9)
                self.assertIsNone(client.lost)
                self.advance(0.1)
                self.assertIsNotNone(client.lost)

    def test_no_tls(self) -> None:
        """Who speaks plain HTTP there is closed at once, and nothing is logged as a fault."""
        client = self.network.connect(self.PORT)
        client.send(HEALTH)
        self.assertIsNotNone(client.lost)
        self.assertFalse([line for line in self.logged if "Traceback" in line])

    def test_a_request_that_never_comes(self) -> None:
        """Who shakes hands and says no more is closed at 10 s."""
        client = self.wrapped()
        self.advance(9.9)
        self.assertIsNone(client.lost)
        self.advance(0.2)
        self.assertIsNotNone(client.lost)

    def test_beyond_the_limit(self) -> None:
        """A connection beyond the limit is closed before any handshake, without a fault."""
        self.gateway.site.limits = Limits(max_connections=1)
        first = self.wrapped()
        beyond = self.network.connect(self.PORT)
        self.network.flush()
        self.assertIsNotNone(beyond.lost)
        first.send(HEALTH)
        self.assertEqual(first.answer().status, 200)
        self.assertFalse([line for line in self.logged if "Traceback" in line])
        first.leave()
