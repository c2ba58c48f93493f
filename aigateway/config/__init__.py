"""The configuration: TOML and the environment in, frozen records out, or every mistake at once."""

from .loading import NothingConfigured, check_listen, load, parse
from .reading import ConfigError
from .records import Account, ClientKey, Config, Limits, Provider, Retries, Route, Target, Timeouts

__all__ = [
    "Account",
    "ClientKey",
    "Config",
    "ConfigError",
    "Limits",
    "NothingConfigured",
    "Provider",
    "Retries",
    "Route",
    "Target",
    "Timeouts",
    "check_listen",
    "load",
    "parse",
]
