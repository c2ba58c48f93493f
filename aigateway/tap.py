"""``twistd aigateway``: its options, and the only place that puts the parts together."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.application import strports
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage

from . import __version__, descriptors
from .attempts import Attempts
from .channel import LINGER
from .config import Account, Config, ConfigError, Provider, check_listen, load
from .credentials import Credentials
from .executor import Executor
from .listening import Reach, with_backlog
from .notify import READY, STOPPING, Notify, reloading
from .offload import Offload
from .reload import Reload
from .routing import Router
from .secret import Secret
from .signals import Signals
from .signatures import SignatureStore
from .simulator import Simulators
from .state import State
from .stats import StatsService
from .steady import keep_steady
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
    reachable: Reach

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"aigateway {__version__}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:
        self._cwd = os.getcwd()  # a daemon's is another
        self.reachable = Reach()
        try:
            self.config = self.read()
        except ConfigError as error:
            raise SystemExit(str(error)) from None

    def read(self) -> Config:
        """The configuration as it is now, by these options. Raises `ConfigError`."""
        listen: str | None = self["listen"]
        if self["demo"]:
            return demo_config(listen, self.reachable)
        return load(self["config"], os.environ, cwd=self._cwd, listen=listen, reachable=self.reachable)


def makeService(options: Options) -> GatewayService:
    """The whole gateway as one service."""
    from twisted.internet import reactor

    keep_steady(reactor)
    service = compose(options.config, reactor, options.read, options.reachable, Notify(os.environ))
    service.gateway.site.files = descriptors.raise_limit()
    descriptors.log_accepts_seldom(reactor)
    # What is here now stays, so the garbage collector need not go through it while every stream waits.
    gc.collect()
    gc.freeze()
    return service


def compose(
    config: Config,
    reactor: Any,
    read: Callable[[], Config] | None = None,
    reachable: Callable[[str], bool] | None = None,
    notify: Notify | None = None,
) -> GatewayService:
    """The services of ``config`` on ``reactor``, not started yet. With ``config.demo``,
    the simulated providers listen already, and the configuration is completed with them.
    ``read`` gives the configuration again, for `GatewayService.reload`."""
    simulators = None
    if config.demo:
        simulators = Simulators(reactor)
        config = with_simulators(config, simulators.listen())
        read = None  # from nowhere
    return GatewayService(config, reactor, simulators, read, reachable or Reach(), notify or Notify({}))


class CannotListen(SystemExit, Exception):
    """The port cannot be opened. A `SystemExit`, since it ends the process in a line and not
    in a traceback; an `Exception`, since twistd reports and tidies up after only those."""


class GatewayService(MultiService):
    """Stats, state, executor, simulated providers and the port, started in this order.

    Stopping is a sequence, where `MultiService` would stop all at once: ``/health`` says so and
    every answer is the last one on its connection; after ``drain_delay`` the port closes; open
    requests, and those that come on connections that are kept, finish within ``drain``; then the
    state is written, and the stats stop last, when every outcome has been recorded.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        simulators: Simulators | None,
        read: Callable[[], Config] | None,
        reachable: Callable[[str], bool],
        notify: Notify,
    ) -> None:
        super().__init__()
        self._config = config
        self._reactor = reactor
        self._simulators = simulators
        self._notify = notify
        self.stats = StatsService(reactor, summary_interval=config.summary_interval)
        self._upstream = Upstream(reactor, config.limits)
        self._signatures = SignatureStore()
        self.state = State(config.state, self._signatures, reactor)
        self._offload = Offload(reactor, config.limits.offload)
        self._credentials = Credentials(self._upstream, config.timeouts, reactor)
        router = Router(config)
        attempts = self._attempts(config, router, self._credentials)
        self.executor = Executor(attempts, self._upstream, 0.0, reactor)  # who waits is `_stop`
        self.gateway = Gateway(
            config, router, self.executor, self.stats, self.state, reactor, time.time, self._offload
        )
        self._reload: Reload | None = None
        if read is not None:
            self._reload = self.gateway.reload = Reload(config, read, reachable, self.reconfigure, time.time)
        self._signals = Signals(reactor, self.reload)
        endpoint = with_backlog(config.listen, config.limits.backlog)
        self._port = strports.service(endpoint, self.gateway.site, reactor=reactor)
        for part in (self.stats, self.state, self.executor, simulators, self._port):
            if part is not None:
                IService(part).setServiceParent(self)

    def _attempts(
        self, config: Config, router: Router, credentials: Credentials, previous: Attempts | None = None
    ) -> Attempts:
        return Attempts(
            config,
            router,
            self._upstream,
            credentials,
            self._signatures,
            self.stats,
            self._reactor,
            time.time,
            offload=self._offload,
            previous=previous,
        )

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise CannotListen(f"cannot listen on {self._config.listen}: {reason}") from None

    def startService(self) -> None:
        super().startService()
        self._signals.install()
        self._reactor.callWhenRunning(self._notify, READY)
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

    def reload(self) -> None:
        """Read the configuration again. Open exchanges go on with what they began with."""
        if self._reload is None:
            self._log.info("there is no configuration to read again ({origin})", origin=self._config.origin)
            return
        self._notify(reloading())
        self._reload()
        self._notify(READY)

    def reconfigure(self, config: Config) -> None:
        """Put ``config`` in the place of the configuration so far: all that is made of one is made
        first, so that a failure changes nothing, and exchanged in one turn of the reactor."""
        router = Router(config)
        credentials = self._credentials.renewed(config)
        attempts = self._attempts(config, router, credentials, self.executor.attempts)
        self.gateway.reconfigure(config, router, attempts)
        self.executor.attempts = attempts
        self._config, self._credentials = config, credentials

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        config, site = self._config, self.gateway.site
        self._notify(STOPPING)
        self.gateway.drain(min(config.drain_idle, config.drain))
        if config.drain_delay:
            await deferLater(self._reactor, config.drain_delay, lambda: None)
        await _stopped(self._port)
        if site.channels:
            self._log.info(
                "waiting for {open} open requests on {connections} connections",
                open=self.stats.stats.open_requests,
                connections=len(site.channels),
            )
        await site.emptied(config.drain)
        await _stopped(self.executor)
        site.close_idle()
        await site.emptied(LINGER)
        site.cut()
        await site.emptied(LINGER)  # nobody waits for heavy work then: what has not begun is not done
        self._offload.stop()
        if self._simulators is not None:
            await _stopped(self._simulators)
        await _stopped(self.state)
        await _stopped(self.stats)


async def _stopped(service: Any) -> None:
    """Wait for a service to stop, whether it says so at once or by a Deferred."""
    result = service.stopService()
    if isinstance(result, Deferred):
        await result


def demo_config(listen: str | None, reachable: Callable[[str], bool] | None = None) -> Config:
    """The configuration of ``--demo``: files and keys in the environment are ignored."""
    if listen is not None:
        check_listen(listen, reachable)
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
