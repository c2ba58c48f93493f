"""A process that holds the listening socket, so that the gateway behind it can be replaced:

    python -m aigateway.parent tcp:8088:interface=127.0.0.1 -- \\
        twistd -n aigateway --listen systemd:domain=INET:index=0

It opens the socket once and hands it to the command as systemd would (sd_listen_fds(3)). On SIGUSR2
it starts the command again; only when the new process says that it serves (sd_notify(3)) is the old
one told to stop, which drains. Both accept from the one socket meanwhile, and whoever connects
between them waits in its queue: nobody is refused. A process that ends by itself is started again.

What the command is, is not known here: any that takes a socket and tells when it serves will do.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol, Factory, ProcessProtocol
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

from .config import Limits
from .listening import with_backlog
from .notify import READY, STOPPING, Notify
from .steady import keep_steady

PATIENCE = 60.0
"""Seconds within which a new process has to serve."""
PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a process that ended by itself is started again: doubled each time, until one serves."""

# Becomes the command, with its own id in LISTEN_PID, which only it can know; and in a group of its
# own, since a terminal's Ctrl-C goes to the whole group, and a second signal is not a gentle one.
# Where the parent is killed, the kernel tells it to stop: PR_SET_PDEATHSIG, see prctl(2).
_BECOME = """
import ctypes, os, signal, sys
os.setpgid(0, 0)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.environ["LISTEN_PID"] = str(os.getpid())
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error.strerror}")
"""


class Child(ProcessProtocol):
    """One process that serves the socket. ``told`` is called with it when it serves, ``ended``
    with it and its exit status when it is gone."""

    transport: Any

    def __init__(
        self, number: int, told: Callable[[Child], None], ended: Callable[[Child, int], None]
    ) -> None:
        self.number = number
        self.pid: int | None = None
        self.patience: IDelayedCall | None = None
        self.told_at: Any = None  # the port of its NOTIFY_SOCKET
        self.leaving = False  # it has been told to stop; a second time would cut what it drains
        self._told = told
        self._ended = ended

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def serves(self) -> None:
        self._told(self)

    def signal(self, number: int) -> None:
        try:
            self.transport.signalProcess(number)
        except ProcessExitedAlready:
            return  # `processEnded` is on its way

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self._ended(self, value.exitCode if value.signal is None else 128 + value.signal)


class _Notified(DatagramProtocol):
    """The end of one child's NOTIFY_SOCKET."""

    noisy = False

    def __init__(self, serves: Callable[[], None]) -> None:
        self._serves = serves

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        if READY.encode() in datagram.split(b"\n"):
            self._serves()


class Parent:
    """Keeps one process of ``command`` serving the socket ``fileno``. ``done`` fires with an exit
    status when the last one is gone."""

    _log = Logger(namespace="aigateway.parent")

    def __init__(
        self,
        reactor: Any,
        fileno: int,
        command: Sequence[str],
        environ: Mapping[str, str],
        folder: str,
        notify: Callable[[str], None],
    ) -> None:
        """``folder`` is a private one, for sockets; ``notify`` tells our own parent of our state."""
        self._reactor = reactor
        self._fileno = fileno
        self._command = command
        self._environ = environ
        self._folder = folder
        self._notify = notify
        self._children: set[Child] = set()
        self._serving: Child | None = None
        self._coming: Child | None = None
        self._again: IDelayedCall | None = None
        self._started = 0
        self._pause = PAUSE
        self._stopping = False
        self._served = False
        self._status = 0
        self.done: Deferred[int] = Deferred()

    def start(self) -> None:
        """Start a process; when it serves, it takes the place of the one that does now."""
        if self._stopping:
            return
        _cancel(self._again)
        self._again = None
        if self._coming is not None:
            self._log.warn("process {pid} is about to serve already", pid=self._coming.pid)
            return
        self._started += 1
        child = self._coming = Child(self._started, self._serves, self._ended)
        self._children.add(child)
        try:
            self._spawn(child)
        except (OSError, CannotListenError) as error:  # no memory, no descriptors, no folder any more
            self._log.error("no process can be started: {error}", error=error)
            self._ended(child, 1)
            return
        self._log.info("process {pid} starts", pid=child.pid)

    def _spawn(self, child: Child) -> None:
        address = os.path.join(self._folder, str(child.number))
        child.told_at = self._reactor.listenUNIXDatagram(address, _Notified(child.serves), mode=0o600)
        environ = {
            **self._environ,
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "aigateway",
            "NOTIFY_SOCKET": address,
        }
        child.patience = self._reactor.callLater(PATIENCE, self._give_up, child)
        self._reactor.spawnProcess(
            child,
            sys.executable,
            [sys.executable, "-c", _BECOME, *self._command],
            environ,
            childFDs={0: 0, 1: 1, 2: 2, 3: self._fileno},
        )

    def stop(self) -> None:
        """Tell all processes to stop. The second time, a gateway ends at once."""
        again, self._stopping = self._stopping, True
        self._notify(STOPPING)
        _cancel(self._again)
        for child in self._children:
            if again or not child.leaving:
                self._tell_to_stop(child)
        self._finish_if_alone()

    def _tell_to_stop(self, child: Child) -> None:
        child.leaving = True
        child.signal(signal.SIGTERM)

    def forward(self, number: int) -> None:
        """Pass a signal on to the process that serves."""
        if self._serving is not None:
            self._serving.signal(number)

    def _serves(self, child: Child) -> None:
        if child is not self._coming or self._stopping:
            return
        _cancel(child.patience)
        old, self._serving, self._coming = self._serving, child, None
        self._served, self._pause = True, PAUSE
        self._log.info("process {pid} serves", pid=child.pid)
        self._notify(READY)
        if old is not None:
            self._log.info("process {pid} is to stop", pid=old.pid)
            self._tell_to_stop(old)

    def _give_up(self, child: Child) -> None:
        self._log.error("process {pid} does not serve within {limit:g} s", pid=child.pid, limit=PATIENCE)
        child.signal(signal.SIGKILL)

    def _ended(self, child: Child, status: int) -> None:
        _cancel(child.patience)
        if child.told_at is not None:
            child.told_at.stopListening()
        self._children.discard(child)
        if child.pid is not None:
            self._log.info("process {pid} has ended with status {status}", pid=child.pid, status=status)
        if child is self._coming:
            self._coming, self._status = None, status
            if self._serving is not None and not self._stopping:
                self._log.error("the new process did not come to serve: the old one goes on")
        elif child is self._serving:
            self._serving, self._status = None, status
        if self._stopping or not self._served:
            self._finish_if_alone()
        elif self._serving is None and self._coming is None and self._again is None:
            self._again = self._reactor.callLater(self._pause, self.start)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _finish_if_alone(self) -> None:
        if not self._children and not self.done.called:
            self.done.callback(self._status if self._served else self._status or 1)


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


def main(arguments: Sequence[str]) -> int:
    """The parent of the command in ``arguments``, until it is stopped: the exit status."""
    from twisted.internet import reactor

    if "--" not in arguments[1:2] or len(arguments) < 3:
        sys.stderr.write("usage: python -m aigateway.parent ENDPOINT -- COMMAND ...\n")
        return 2
    keep_steady(reactor)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    try:
        port = _open(reactor, arguments[0])
    except (CannotListenError, ValueError, LookupError) as error:
        sys.stderr.write(f"cannot listen on {arguments[0]}: {error}\n")
        return 1
    found: list[int] = []

    def finish(status: int) -> None:
        found.append(status)
        reactor.stop()

    with TemporaryDirectory(prefix="aigateway-") as folder:
        notify = Notify(os.environ)
        parent = Parent(reactor, port.fileno(), arguments[2:], os.environ, folder, notify)
        parent.done.addCallback(finish)
        reactor.callWhenRunning(_install, reactor, parent)
        reactor.callWhenRunning(parent.start)
        reactor.run()
    return found[0] if found else 1


def _open(reactor: Any, endpoint: str) -> Any:
    """The port of ``endpoint``, from which this process does not accept."""
    opened: list[Any] = []
    description = with_backlog(endpoint, Limits().backlog)
    nobody = Factory()
    nobody.noisy = False
    serverFromString(reactor, description).listen(nobody).addBoth(opened.append)
    (port,) = opened  # at once, for all that is a socket
    if isinstance(port, Failure):
        port.raiseException()
    port.stopReading()
    return port


def _install(reactor: Any, parent: Parent) -> None:
    actions: dict[int, tuple[Callable[..., None], *tuple[int, ...]]] = {
        signal.SIGTERM: (parent.stop,),
        signal.SIGINT: (parent.stop,),
        signal.SIGUSR2: (parent.start,),
        signal.SIGUSR1: (parent.forward, signal.SIGUSR1),
        signal.SIGHUP: (parent.forward, signal.SIGHUP),
    }

    def received(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(*actions[number])

    for number in actions:
        signal.signal(number, received)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
