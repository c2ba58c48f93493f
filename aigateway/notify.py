"""Tells whoever started the process how it is: sd_notify(3), as far as a gateway needs it.

systemd (``Type=notify``) asks for it by the variable NOTIFY_SOCKET, and `aigateway.parent` does
likewise. Where nobody asks, nothing is sent.
"""

from __future__ import annotations

import socket
import time
from collections.abc import MutableMapping

from twisted.logger import Logger

READY = "READY=1"
STOPPING = "STOPPING=1"


class Notify:
    """Sends states to the socket that ``environ`` names. The variable is taken out of it: what this
    process starts is not asked."""

    _log = Logger()

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")

    def __call__(self, state: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # an abstract one, see unix(7)
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.setblocking(False)
                end.sendto(state.encode(), address)
        except OSError as error:
            self._log.warn(
                "{state} could not be told at {address}: {error}",
                state=state.partition("\n")[0],
                address=self._address,
                error=error,
            )


def reloading() -> str:
    """The state of a process that begins to read its configuration again; `READY` ends it. The time
    is wanted by ``Type=notify-reload``."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
