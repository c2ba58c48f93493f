"""The configuration read again while the gateway runs: all of it takes effect, or nothing.

What is made of a configuration, and put in the place of what was made of the last one, is
`aigateway.tap`'s business; what a key means, `aigateway.config`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.logger import Logger

from .config import Config, ConfigError
from .config.changes import changed, takeable

OPEN_LISTENER = (
    "{listen} goes on being listened on until a restart, and may be reached from other machines: "
    "without [[keys]] anybody could use the gateway"
)


class Reload:
    """Reads the configuration again each time that it is called.

    ``read`` gives it, or raises `ConfigError`; ``reachable`` says whether other machines may reach
    what listens on an endpoint; ``apply`` puts a configuration in the place of the one before, at
    once for all that begins from then on. Whatever fails leaves everything as it was.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        reachable: Callable[[str], bool],
        apply: Callable[[Config], None],
        wall: Callable[[], float],
    ) -> None:
        self._config = config
        self._read = read
        self._reachable = reachable
        self._apply = apply
        self._wall = wall
        self._last: dict[str, object] | None = None
        self._count = 0

    def describe(self) -> Mapping[str, object]:
        """For ``GET /stats``: how many there were, and how the last one went."""
        return {"origin": self._config.origin, "reloads": self._count, "last": self._last}

    def __call__(self) -> None:
        self._count += 1
        try:
            read = self._read()
            config = takeable(self._config, read)
            if not config.keys and self._reachable(config.listen):
                raise ConfigError((OPEN_LISTENER.format(listen=config.listen),))
            changes = changed(self._config, config)
            waiting = changed(config, read)
            self._apply(config)
        except ConfigError as error:
            self._failed(error.problems)
            return
        except Exception:  # a bug of ours, and no reason to stop serving
            self._log.failure("the configuration could not be taken over")
            self._failed(("the gateway failed at it; its log says why",))
            return
        self._config = config
        self._last = {"at": self._wall(), "ok": True, "changed": changes, "needs_restart": waiting}
        self._log.info(
            "{origin} has been read again; {changes}",
            origin=config.origin,
            changes="changed: " + ", ".join(changes) if changes else "nothing has changed",
        )
        if waiting:
            self._log.warn("only a restart changes {keys}", keys=", ".join(waiting))
        for note in config.notes:
            self._log.info("{note}", note=note)

    def _failed(self, problems: tuple[str, ...]) -> None:
        self._last = {"at": self._wall(), "ok": False, "problems": list(problems)}
        self._log.error(
            "the configuration is not taken over, the one before goes on: {count} mistakes",
            count=len(problems),
        )
        for problem in problems:
            self._log.error("{problem}", problem=problem)
