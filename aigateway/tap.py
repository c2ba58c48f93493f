"""``twistd aigateway``: its options, and the only place that puts the parts together."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType
from typing import Any

import msgspec
from twisted.application import strports
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage

from . import __version__
from .attempts import Attempts
from .channel import LINGER
from .config import Account, Config, ConfigError, Provider, check_listen, load
from .credentials import Credentials
from .executor import Executor
from .routing import Router
from .secret import Secret
from .signatures import SignatureStore
from .simulator import Simulators
from .state import State
from .stats import StatsService
from .upstream import Upstream
from .web import Gateway

DEFAULT_LISTEN = Config().listen


class Options(usage.Options):
    """The command line. The configuration is read here, before anything daemonizes."""

    synopsis = "[--config FILE] [--listen ENDPOINT] [--demo]"
    longdesc = "A gateway between AI clients and model providers."
    optFlags = [["demo", None, "Bring simulated providers up inside the process: no key, no network."]]
    optParameters = [
        ["config", "c", None, "The configuration file (default: aigateway.toml, if there is one)."],
        ["listen", "l", None, f"The Twisted endpoint to listen on (default: {DEFAULT_LISTEN})."],
    ]

    config: Config

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"aigateway {__version__}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:
        try:
            if self["demo"]:
                self.config = demo_config(self["listen"])
            else:
                self.config = load(self["config"], os.environ, cwd=os.getcwd(), listen=self["listen"])
        except ConfigError as error:
            raise SystemExit(str(error)) from None


def makeService(options: Options) -> GatewayService:
    """The whole gateway as one service."""
    from twisted.internet import reactor

    return compose(options.config, reactor)


def compose(config: Config, reactor: Any) -> GatewayService:
    """The services of ``config`` on ``reactor``, not started yet. With ``config.demo``,
    the simulated providers listen already, and the configuration is completed with them."""
    simulators = None
    if config.demo:
        simulators = Simulators(reactor)
        config = with_simulators(config, simulators.listen())
    stats = StatsService(reactor, summary_interval=config.summary_interval)
    upstream = Upstream(reactor, config.limits)
    credentials = Credentials(upstream, config.timeouts, reactor)
    router = Router(config)
    signatures = SignatureStore()
    state = State(config.state, signatures, reactor)
    attempts = Attempts(config, router, upstream, credentials, signatures, stats, reactor, time.time)
    executor = Executor(attempts, upstream, config.drain, reactor)
    gateway = Gateway(config, router, executor, stats, state, reactor, time.time)
    return GatewayService(config, reactor, stats, state, executor, gateway, simulators)


class CannotListen(SystemExit, Exception):
    """The port cannot be opened. A `SystemExit`, since it ends the process in a line and not
    in a traceback; an `Exception`, since twistd reports and tidies up after only those."""


class GatewayService(MultiService):
    """Stats, state, executor, simulated providers and the port, started in this order.

    Stopping is a sequence, where `MultiService` would stop all at once: new work is refused
    and ``/health`` says so; after ``drain_delay`` the port closes; open requests finish
    within ``drain``; then the state is written, and the stats stop last, when every outcome has
    been recorded.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        stats: StatsService,
        state: State,
        executor: Executor,
        gateway: Gateway,
        simulators: Simulators | None,
    ) -> None:
        super().__init__()
        self._config = config
        self._reactor = reactor
        self.stats = stats
        self.state = state
        self.executor = executor
        self.gateway = gateway
        self._simulators = simulators
        self._signals = _Signals(reactor)
        self._port = strports.service(_with_backlog(config), gateway.site, reactor=reactor)
        for part in (stats, state, executor, simulators, self._port):
            if part is not None:
                IService(part).setServiceParent(self)

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise CannotListen(f"cannot listen on {self._config.listen}: {reason}") from None

    def startService(self) -> None:
        super().startService()
        self._signals.install()
        config = self._config
        self._log.info(
            "aigateway {version} listens on {listen}; providers: {providers} ({origin})",
            version=__version__,
            listen=config.listen,
            providers=", ".join(config.providers) or "simulated ones",
            origin=config.origin,
        )
        for note in config.notes:
            self._log.info("{note}", note=note)

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        begun = self._reactor.seconds()
        self.executor.refuse_new()
        if self._config.drain_delay:
            await deferLater(self._reactor, self._config.drain_delay, lambda: None)
        await _stopped(self._port)
        self.gateway.site.close_idle()
        await _stopped(self.executor)
        self.gateway.site.close_idle()  # those that were busy before
        left = self._config.drain + self._config.drain_delay - (self._reactor.seconds() - begun)
        await self.gateway.site.emptied(max(left, LINGER))
        if self._simulators is not None:
            await _stopped(self._simulators)
        await _stopped(self.state)
        await _stopped(self.stats)


def _with_backlog(config: Config) -> str:
    """The endpoint with the backlog of the limits, unless it names its own: Twisted's 50 makes
    connections wait when many come at once."""
    listen = config.listen
    if not listen.startswith(("tcp:", "tcp6:", "ssl:")) or ":backlog=" in listen:
        return listen
    return f"{listen}:backlog={config.limits.backlog}"


async def _stopped(service: Any) -> None:
    """Wait for a service to stop, whether it says so at once or by a Deferred."""
    result = service.stopService()
    if isinstance(result, Deferred):
        await result


class _Signals:
    """SIGTERM and SIGINT drain, and then the process exits with status 0: by itself twistd
    would re-raise the signal and so seem killed by it. The second one ends at once."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def install(self) -> None:
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        if getattr(self._reactor, "_installSignalHandlers", False):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_DFL)
        self._reactor.callFromThread(self._reactor.stop)


def demo_config(listen: str | None) -> Config:
    """The configuration of ``--demo``: files and keys in the environment are ignored."""
    if listen is not None:
        check_listen(listen)
    config = Config(demo=True, origin="--demo: simulated providers, no key, no network")
    return config if listen is None else msgspec.structs.replace(config, listen=listen)


def with_simulators(config: Config, base_urls: dict[str, str]) -> Config:
    """``config`` with a provider for each simulated one."""
    models = {
        "openai": ("gpt-4", "gpt-4o-mini"),
        "glm": ("glm-4", "glm-4.7"),
        "antigravity": ("gemini-2.0-flash-exp", "gemini-3-flash"),
        "anthropic": ("claude-sonnet-4-5", "claude-haiku-4-5"),
        "gemini": ("gemini-2.5-flash", "gemini-3-pro"),
    }
    providers = {}
    for name, url in base_urls.items():
        if name == "antigravity":
            account = Account(name="demo", access_token=Secret("demo-access-token"), project="demo")
        else:
            account = Account(name="demo", api_key=Secret("demo-api-key"))
        providers[name] = Provider(
            name=name,
            kind=name,
            base_urls=(url,),
            accounts=(account,),
            timeouts=config.timeouts,
            models=models[name],
            responses=True if name == "openai" else None,
        )
    return msgspec.structs.replace(config, providers=providers)
