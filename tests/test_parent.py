"""The process that holds the socket: when it starts, replaces and ends the ones behind it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import TestCase

from twisted.internet.error import CannotListenError, ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from aigateway.notify import READY, STOPPING, Notify, reloading
from aigateway.parent import LONGEST_PAUSE, PATIENCE, PAUSE, Child, Parent

FD = 9


class Process:
    """The transport of one child, which does nothing by itself."""

    def __init__(self, child: Child, pid: int, environ: dict[str, str], fds: dict[int, int]) -> None:
        self.child = child
        self.pid = pid
        self.environ = environ
        self.fds = fds
        self.signals: list[int] = []
        self.gone = False

    def signalProcess(self, number: int) -> None:
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(number)

    def end(self, status: int = 0, by: int | None = None) -> None:
        self.gone = True
        reason = ProcessTerminated(status, by) if status or by else ProcessDone(0)
        self.child.processEnded(Failure(reason))


class Port:
    def __init__(self, address: str, protocol: Any) -> None:
        self.address = address
        self.protocol = protocol
        self.open = True

    def stopListening(self) -> None:
        self.open = False


class Reactor(Clock):
    """One that starts `Process` objects and keeps the sockets in `ports`."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.ports: list[Port] = []
        self.refusals: list[Exception] = []  # what keeps processes from being started

    def listenUNIXDatagram(self, address: str, protocol: Any, mode: int) -> Port:
        assert mode == 0o600
        if self.refusals and isinstance(self.refusals[-1], CannotListenError):
            raise self.refusals.pop()
        self.ports.append(Port(address, protocol))
        return self.ports[-1]

    def spawnProcess(
        self, child: Child, executable: str, args: list[str], env: dict[str, str], childFDs: dict[int, int]
    ) -> None:
        assert args[-2:] == ["serve", "it"]
        if self.refusals:
            raise self.refusals.pop()
        process = Process(child, 100 + len(self.processes), env, childFDs)
        self.processes.append(process)
        transport: Any = process
        child.makeConnection(transport)


class ParentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.told: list[str] = []
        self.parent = Parent(self.reactor, FD, ["serve", "it"], {"LANG": "C"}, "/run/x", self.told.append)

    def tearDown(self) -> None:
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def start(self) -> Process:
        self.parent.start()
        return self.reactor.processes[-1]

    def serve(self, process: Process) -> None:
        """What ``process`` says when it serves."""
        (port,) = (one for one in self.reactor.ports if one.address == process.environ["NOTIFY_SOCKET"])
        port.protocol.datagramReceived(b"STATUS=up\nREADY=1\n", None)

    def serving(self) -> Process:
        process = self.start()
        self.serve(process)
        return process

    def end(self, *processes: Process) -> None:
        self.parent.stop()
        for process in processes:
            process.end()

    def test_what_a_process_is_given(self) -> None:
        """The socket as descriptor 3, its number and name, and where to tell that it serves."""
        process = self.serving()
        self.assertEqual(process.fds, {0: 0, 1: 1, 2: 2, 3: FD})
        self.assertEqual(
            process.environ,
            {
                "LANG": "C",
                "LISTEN_FDS": "1",
                "LISTEN_FDNAMES": "aigateway",
                "NOTIFY_SOCKET": self.reactor.ports[0].address,
            },
        )
        self.assertEqual(self.told, [READY])
        self.end(process)

    def test_the_old_one_goes_when_the_new_one_serves(self) -> None:
        """Not before, whatever else the new one says; and where it told that is closed at its end."""
        old = self.serving()
        new = self.start()
        self.reactor.ports[1].protocol.datagramReceived(b"STATUS=READY=1 soon", None)
        self.assertEqual(old.signals, [])
        self.serve(new)
        self.assertEqual((old.signals, new.signals), ([signal.SIGTERM], []))
        old.end()
        self.assertEqual([port.open for port in self.reactor.ports], [False, True])
        self.assertNoResult(self.parent.done)
        self.end(new)
        self.assertEqual(self.successResultOf(self.parent.done), 0)

    def test_a_second_word_changes_nothing(self) -> None:
        """A process says that it serves after each reload, too."""
        old = self.serving()
        new = self.serving()
        self.serve(new)
        self.serve(old)
        self.assertEqual((old.signals, new.signals), ([signal.SIGTERM], []))
        self.end(old, new)

    def test_a_new_one_that_ends(self) -> None:
        """The old one goes on, and may be replaced by the next."""
        old = self.serving()
        self.start().end(1)
        self.assertEqual(old.signals, [])
        new = self.serving()
        self.assertEqual(old.signals, [signal.SIGTERM])
        self.end(old, new)

    def test_a_new_one_that_does_not_come_to_serve(self) -> None:
        """It is killed in the end."""
        old = self.serving()
        new = self.start()
        self.reactor.advance(PATIENCE)
        self.assertEqual((old.signals, new.signals), ([], [signal.SIGKILL]))
        new.end(by=signal.SIGKILL)
        self.end(old)
        self.assertEqual(self.successResultOf(self.parent.done), 0)

    def test_one_at_a_time(self) -> None:
        """While a process is about to serve, no other is started."""
        new = self.start()
        self.assertIs(self.start(), new)
        self.serve(new)
        self.end(new)

    def test_the_first_one_fails(self) -> None:
        """Then there is nothing to keep, and its status is the parent's."""
        self.start().end(3)
        self.assertEqual(self.successResultOf(self.parent.done), 3)

    def test_the_first_one_leaves(self) -> None:
        """A command that ends well but never serves is a failure all the same."""
        self.start().end(0)
        self.assertEqual(self.successResultOf(self.parent.done), 1)

    def test_one_that_ends_by_itself(self) -> None:
        """It is started again, after longer and longer pauses, as long as none serves."""
        self.serving().end(by=signal.SIGKILL)
        pause = PAUSE
        for _ in range(7):
            before = len(self.reactor.processes)
            self.reactor.advance(pause - 0.01)
            self.assertEqual(len(self.reactor.processes), before)
            self.reactor.advance(0.01)
            self.assertEqual(len(self.reactor.processes), before + 1)
            self.reactor.processes[-1].end(1)
            pause = min(pause * 2, LONGEST_PAUSE)
        self.reactor.advance(LONGEST_PAUSE)
        self.serve(self.reactor.processes[-1])
        self.reactor.processes[-1].end(1)
        self.reactor.advance(PAUSE)
        self.serve(self.reactor.processes[-1])
        self.end(self.reactor.processes[-1])

    def test_started_while_it_waits_to(self) -> None:
        """When one is started that was to be started later, it is not started twice."""
        self.serving().end(1)
        new = self.serving()
        self.reactor.advance(LONGEST_PAUSE)
        self.assertEqual(len(self.reactor.processes), 2)
        self.end(new)

    def test_none_can_be_started(self) -> None:
        """For want of memory, descriptors or the folder: the old one goes on, and when that ends, too, it
        is tried again and again."""
        old = self.serving()
        for refusal in (BlockingIOError(), CannotListenError("", "", OSError())):
            self.reactor.refusals.append(refusal)
            self.parent.start()
            self.assertEqual((self.reactor.refusals, old.signals), ([], []))
        self.reactor.refusals.append(BlockingIOError())
        old.end(1)
        self.reactor.advance(PAUSE)
        self.assertEqual((self.reactor.refusals, len(self.reactor.processes)), ([], 1))
        self.reactor.advance(2 * PAUSE)
        new = self.reactor.processes[1]
        self.serve(new)
        self.parent.forward(signal.SIGHUP)
        self.assertEqual(new.signals, [signal.SIGHUP])
        self.end(new)

    def test_the_old_one_dies_while_the_new_one_starts(self) -> None:
        """The new one is waited for, and no third one started."""
        old = self.serving()
        new = self.start()
        old.end(by=signal.SIGSEGV)
        self.reactor.advance(PAUSE)
        self.assertEqual(len(self.reactor.processes), 2)
        self.serve(new)
        self.end(new)

    def test_stop(self) -> None:
        """Every process is told, but for those that were when others took their place: told twice, they
        would cut what they drain. The parent goes when the last one has; then nothing is
        started any more. The second time they are told again."""
        old = self.serving()
        new = self.serving()
        coming = self.start()
        self.parent.stop()
        once = [signal.SIGTERM]
        self.assertEqual([one.signals for one in (old, new, coming)], [once, once, once])
        self.serve(coming)
        self.assertEqual([one.signals for one in (old, new, coming)], [once, once, once])
        self.parent.stop()
        self.parent.start()
        self.assertEqual([one.signals for one in (old, new, coming)], [once * 2, once * 2, once * 2])
        self.assertEqual(len(self.reactor.processes), 3)
        coming.end(by=signal.SIGTERM)
        old.end()
        self.assertNoResult(self.parent.done)
        new.end(by=signal.SIGTERM)
        self.assertEqual(self.successResultOf(self.parent.done), 128 + signal.SIGTERM)
        self.assertEqual(self.told[-1], STOPPING)

    def test_stop_between_two(self) -> None:
        """While it waits to start one again, it just ends."""
        self.serving().end(1)
        self.parent.stop()
        self.assertEqual(self.successResultOf(self.parent.done), 1)

    def test_signals_go_to_the_one_that_serves(self) -> None:
        """And to no other: one that has just been started would be killed by them."""
        self.parent.forward(signal.SIGHUP)
        old = self.serving()
        new = self.start()
        self.parent.forward(signal.SIGHUP)
        self.assertEqual((old.signals, new.signals), ([signal.SIGHUP], []))
        self.serve(new)
        old.gone = True
        self.parent.forward(signal.SIGUSR1)
        self.assertEqual(new.signals, [signal.SIGUSR1])
        self.end(old, new)


class NotifyTests(TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.address = str(Path(folder.name) / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.settimeout(5)

    def test_it_is_told(self) -> None:
        """Each state is one datagram; the variable is for this process alone."""
        self.socket.bind(self.address)
        environ = {"NOTIFY_SOCKET": self.address, "LANG": "C"}
        notify = Notify(environ)
        self.assertEqual(environ, {"LANG": "C"})
        notify(READY)
        self.assertEqual(self.socket.recv(100), b"READY=1")
        notify(reloading())
        self.assertRegex(self.socket.recv(100), rb"^RELOADING=1\nMONOTONIC_USEC=\d+$")

    def test_an_abstract_address(self) -> None:
        """What begins with @ is in no folder."""
        self.socket.bind("\0" + self.address)
        Notify({"NOTIFY_SOCKET": "@" + self.address})(READY)
        self.assertEqual(self.socket.recv(100), b"READY=1")

    def test_nobody_listens(self) -> None:
        """That keeps nobody from serving; nor does it where nobody has asked."""
        Notify({"NOTIFY_SOCKET": self.address})(READY)
        Notify({})(READY)
