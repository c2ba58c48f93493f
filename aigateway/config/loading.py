"""From TOML and the environment to a `Config`: what each key means, and what is refused.

`records` holds the result with its defaults, `reading` the reading of single values. The
environment and the working directory are passed in; the only files read are the
configuration and those that its ``file:`` values name.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from . import values
from .clients import BUDGETS_FAIL, DIALECTS, read_keys, read_routes
from .providers import read_provider
from .reading import ConfigError, Source, Table
from .records import LOOPBACK_HOSTS, Config, Limits, Retries, Timeouts

FILE_NAME = "aigateway.toml"
ENVIRONMENT = {
    "openai": "OPENAI_API_KEY",
    "glm": "ZAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
}


class NothingConfigured(ConfigError):
    """There is no file and no key in the environment. The message says, in three lines,
    how to go on."""

    def __init__(self) -> None:
        super().__init__(
            (
                "Nothing is configured. To try it without any key:  twistd -n aigateway --demo",
                f"To use your own key, set one of {', '.join(ENVIRONMENT.values())} in the environment.",
                f"For all else write {FILE_NAME}, here or elsewhere with --config FILE "
                "(docs/configuration.md).",
            )
        )


def load(
    path: str | None,
    environ: Mapping[str, str],
    *,
    cwd: str,
    listen: str | None = None,
    reachable: Callable[[str], bool] | None = None,
) -> Config:
    """The configuration in the file ``path``, else in ``aigateway.toml`` in ``cwd``, else
    from the keys in ``environ``. ``listen`` overrides what a file says. ``reachable`` knows better
    than the endpoint's spelling whether other machines may reach it, or raises ``ValueError``.
    Raises `ConfigError`.

    ``file:`` values are taken from the folder of the configuration file.
    """
    name = path or FILE_NAME
    full = os.path.join(cwd, name)
    if path is None and not os.path.exists(full):
        return _from_environment(environ, cwd, listen, reachable)
    try:
        text = _read_text(full)
    except OSError as error:
        raise ConfigError((f"{name}: cannot be read: {error.strerror or error}",)) from None
    except ValueError:
        raise ConfigError((f"{name}: is not UTF-8 text",)) from None
    folder = os.path.dirname(full)
    reader = _reader(folder)
    return parse(text, environ, origin=name, listen=listen, read_file=reader, reachable=reachable)


def parse(
    text: str,
    environ: Mapping[str, str],
    *,
    origin: str,
    listen: str | None = None,
    read_file: Callable[[str], str] | None = None,
    reachable: Callable[[str], bool] | None = None,
) -> Config:
    """The configuration that ``text`` says; ``origin`` stands before every message.

    ``read_file`` gives the text of a file that a ``file:`` value names; without it, paths
    are taken as they stand. Raises `ConfigError` with every mistake at once.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((f"{origin}: this is not TOML: {error}",)) from None
    source = Source(origin, text, environ, read_file or _read_text)
    return _config(document, source, origin, listen, reachable)


def _from_environment(
    environ: Mapping[str, str], cwd: str, listen: str | None, reachable: Callable[[str], bool] | None
) -> Config:
    providers = {
        kind: {"accounts": [{"name": "env", "api_key": f"env:{name}"}]}
        for kind, name in ENVIRONMENT.items()
        if environ.get(name)
    }
    if not providers:
        raise NothingConfigured
    origin = "the environment"
    source = Source(origin, "", environ, _reader(cwd))
    return _config({"providers": providers}, source, origin, listen, reachable)


def _config(
    document: Mapping[str, object],
    source: Source,
    origin: str,
    listen: str | None,
    reachable: Callable[[str], bool] | None,
) -> Config:
    root = Table(document, "", source)
    gateway = root.table("gateway")
    settings: dict[str, Any] = gateway.numbers(Config)
    settings["strict"] = gateway.flag("strict", False)
    settings["chat_completions_dialect"] = gateway.choice("chat_completions_dialect", DIALECTS, "claude")
    settings["state"] = gateway.checked("state", values.store_url)
    settings["budgets_fail"] = gateway.choice("budgets_fail", BUDGETS_FAIL, "closed")
    settings["hosts"] = _hosts(gateway)
    # A key table with a mistake in it shows the intent: one complaint is enough.
    keyed = bool(document.get("keys"))
    settings["listen"] = _listen(gateway, source, listen, keyed, reachable)
    gateway.close()

    timeouts = Timeouts(**root.table("timeouts").all_numbers(Timeouts))
    limits = Limits(**root.table("limits").all_numbers(Limits))
    retries = Retries(**root.table("retries").all_numbers(Retries))
    tables = root.table("providers").tables_by_name()
    if not document.get("providers"):
        source.problem("providers", "there are none; expected a table such as [providers.openai]")
    providers = [read_provider(name, table, timeouts) for name, table in tables.items()]
    routes = tuple(read_routes(root.tables("routes"), tables))
    keys = tuple(read_keys(root.tables("keys"), stored=settings["state"] is not None))
    root.close()
    if source.problems:
        raise ConfigError(tuple(source.problems))
    return Config(
        timeouts=timeouts,
        limits=limits,
        retries=retries,
        providers={provider.name: provider for provider in providers},
        routes=routes,
        keys=keys,
        origin=origin,
        notes=tuple(source.notes),
        **settings,
    )


# ------------------------------------------------------------------- [gateway]


def _listen(
    gateway: Table,
    source: Source,
    override: str | None,
    keyed: bool,
    reachable: Callable[[str], bool] | None,
) -> str:
    """The endpoint to listen on, refused where anybody could reach it without a key."""
    configured = gateway.text("listen", Config().listen)
    description = configured if override is None else override
    place = gateway.at("listen") if override is None else "--listen"
    try:
        private = values.is_private(description) or (reachable is not None and not reachable(description))
    except ValueError as error:
        source.problem(place, str(error))
        return description
    if private:
        return description
    if not keyed:
        source.problem(
            place,
            f'"{description}" may be reached from other machines, and no client keys are configured: '
            "add [[keys]], or listen on loopback with interface=127.0.0.1",
        )
    if "hosts" not in gateway:
        source.note(
            gateway.at("hosts"),
            "is not set, so that only requests to localhost are answered; "
            "name the hosts by which clients reach this gateway",
        )
    return description


def check_listen(description: str, reachable: Callable[[str], bool] | None = None) -> None:
    """Raise `ConfigError` unless ``description`` (from the command line) is an endpoint that
    nobody but this machine can reach: the rule where no client keys are configured."""
    try:
        private = values.is_private(description) or (reachable is not None and not reachable(description))
    except ValueError as error:
        raise ConfigError((f"--listen: {error}",)) from None
    if not private:
        raise ConfigError(
            (
                f'--listen: "{description}" may be reached from other machines, and the demonstration has '
                "no client keys: listen on loopback, with interface=127.0.0.1",
            )
        )


def _hosts(gateway: Table) -> tuple[str, ...]:
    if "hosts" not in gateway:
        gateway.words("hosts")
        return LOOPBACK_HOSTS
    names = gateway.words("hosts")
    if not names:
        gateway.problem("hosts", 'there are none; expected such as ["gw.example.com"]')
    found: dict[str, None] = {}
    for index, name in enumerate(names):
        try:
            found[values.host(name)] = None
        except ValueError as error:
            gateway.problem(f"hosts[{index}]", str(error))
    return tuple(found)


# ----------------------------------------------------------------------- files


def _reader(folder: str) -> Callable[[str], str]:
    return lambda path: _read_text(os.path.join(folder, path))


def _read_text(path: str) -> str:
    # "utf-8-sig": some editors begin a file with a byte order mark, which is no TOML.
    with open(path, encoding="utf-8-sig", newline="") as file:
        return file.read()
