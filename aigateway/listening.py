"""Endpoints to listen on, as far as the gateway has a word in it beyond Twisted's."""

from __future__ import annotations

import os
import socket

from twisted.internet.endpoints import serverFromString

from .config.values import is_loopback, is_private


def with_backlog(listen: str, backlog: int) -> str:
    """The endpoint ``listen`` with ``backlog``, unless it names its own: Twisted's 50 makes
    connections wait when many come at once."""
    if not listen.startswith(("tcp:", "tcp6:", "ssl:")) or ":backlog=" in listen:
        return listen
    return f"{listen}:backlog={backlog}"


class Reach:
    """Whether other machines may reach an endpoint. A socket that was handed over is asked where it
    is bound, and that is remembered: Twisted closes the descriptor when it takes it over. Raises
    ``ValueError`` where no such socket was."""

    def __init__(self) -> None:
        self._inherited: dict[str, bool] = {}

    def __call__(self, listen: str) -> bool:
        if not listen.startswith("systemd:"):
            return not is_private(listen)
        if listen not in self._inherited:
            self._inherited[listen] = not _is_bound_privately(listen)
        return self._inherited[listen]


def _is_bound_privately(listen: str) -> bool:
    try:
        endpoint = serverFromString(None, listen)  # it does not listen
        # What systemd: makes, twisted.internet.endpoints.AdoptedStreamServerEndpoint, says which it is.
        with socket.socket(fileno=os.dup(endpoint.fileno)) as copy:
            name = copy.getsockname()
    except (LookupError, ValueError, TypeError, AttributeError, OSError):
        raise ValueError(
            f'"{listen}" names no socket that was handed over: whoever starts this process is to set '
            "LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, as systemd and aigateway.parent do"
        ) from None
    return isinstance(name, (str, bytes)) or is_loopback(name[0])
