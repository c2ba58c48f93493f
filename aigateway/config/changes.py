"""Two configurations beside each other: what differs, and what of it needs another process.

A running gateway takes a new configuration over but for `FIXED`, which is bound to sockets and
files that were opened at the start.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .records import Config

FIXED = (
    "gateway.listen",
    "gateway.state",
    "gateway.summary_interval",
    "limits.backlog",
    "limits.offload",
    "limits.pool",
    "limits.pool_idle",
    "limits.upstream_max_head",
    "limits.upstream_max_header_lines",
    "limits.upstream_max_informational",
)
"""Keys, as `changed` names them, that keep their value until the next start."""

_TABLES = ("timeouts", "limits", "retries")
_NO_KEYS = ("demo", "origin", "notes")


def changed(old: Config, new: Config) -> list[str]:
    """The keys whose values differ, by their place in the file: single ones, but providers,
    routes and keys as a whole."""
    found: list[str] = []
    for name in Config.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if name in _NO_KEYS or before == after:
            continue
        if name in _TABLES:
            fields = before.__struct_fields__
            found += [f"{name}.{one}" for one in fields if getattr(before, one) != getattr(after, one)]
        elif name == "providers":
            names = sorted(before.keys() | after.keys())
            found += [f"providers.{one}" for one in names if before.get(one) != after.get(one)]
        else:
            found.append(name if name in ("routes", "keys") else f"gateway.{name}")
    return found


def takeable(old: Config, new: Config) -> Config:
    """``new`` as far as a process that runs ``old`` can take it: with the old values of what is
    `FIXED`."""
    kept: dict[str, dict[str, Any]] = {"gateway": {}, "limits": {}}
    for place in FIXED:
        table, _, name = place.partition(".")
        kept[table][name] = getattr(old if table == "gateway" else old.limits, name)
    limits = msgspec.structs.replace(new.limits, **kept["limits"])
    return msgspec.structs.replace(new, limits=limits, **kept["gateway"])
