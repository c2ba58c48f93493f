"""Who has sent too many wrong keys: addresses, and the keys that were right from there.

Pure: the clock is passed in, and nothing of a key but a digest is kept. What a wrong key is, and what
its sender is told, is `aigateway.admission`'s business.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address

PERIOD = 60.0
"""Seconds over which wrong keys are counted, from the first one on."""
TRUSTED = 3600.0
"""Seconds for which a key that was right from an address is still looked at when others are not."""
REMEMBERED = 10_000
"""Addresses with wrong keys, and pairs of an address and a right key: beyond, the oldest is forgotten."""


class WrongKeys:
    """Counts wrong keys by address; ``limit`` of them within `PERIOD` stop an address, 0 none does."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, how many
        self._right: OrderedDict[tuple[str, bytes], float] = OrderedDict()  # the last time

    def wait(self, address: str, now: float) -> float:
        """For how many seconds no unfamiliar key from ``address`` is looked at; 0: it is."""
        since, count = self._wrong.get(address, (now, 0))
        if not self.limit or count < self.limit:
            return 0.0
        return max(since + PERIOD - now, 0.0)

    def is_familiar(self, address: str, digest: bytes, now: float) -> bool:
        """Whether this key has been right from ``address`` lately."""
        last = self._right.get((address, digest))
        return last is not None and now - last <= TRUSTED

    def wrong(self, address: str, now: float) -> None:
        """A key from ``address`` was looked at, and none of ours; or there was none."""
        if not self.limit:
            return
        since, count = self._wrong.pop(address, (now, 0))
        if now - since >= PERIOD:
            since, count = now, 0
        self._wrong[address] = since, count + 1
        _bound(self._wrong)

    def right(self, address: str, digest: bytes, now: float) -> None:
        """A key from ``address`` was right."""
        if not self.limit:
            return
        self._right[address, digest] = now
        self._right.move_to_end((address, digest))
        _bound(self._right)


def source(host: str) -> str:
    """What counts as one address: of IPv6 its /64, which one customer has to himself. An IPv4
    address that came by a socket of IPv6 is itself: all of them share one /64."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def _bound(table: OrderedDict[str, tuple[float, int]] | OrderedDict[tuple[str, bytes], float]) -> None:
    if len(table) > REMEMBERED:
        table.popitem(last=False)
